//! `ifconfig`, `ifup` and `ifdown` of an alias, and the programs that announce an address.

use std::net::Ipv4Addr;

use super::{Arg, Done, Untranslated, join, options, program};
use crate::port::ir::{Action, Expr};
use crate::port::lower::Lower;

/// `ifconfig IF[:N] ADDRESS [netmask M | /N] [broadcast B] [up]`, `alias`, `-alias`, `add`, `del`,
/// `up`, `down`.
pub(super) fn ifconfig(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    match read_ifconfig(lower, args)? {
        Some(actions) => Ok(Done::Actions(actions)),
        None => Ok(Done::Actions(vec![Action::Run(program(
            lower, name, args,
        )?)])),
    }
}

fn read_ifconfig(lower: &mut Lower<'_>, args: &[Arg]) -> Result<Option<Vec<Action>>, Untranslated> {
    let Some((first, rest)) = args.split_first() else {
        return Err("what it shows goes nowhere".into());
    };
    let (dev, label) = split_label(&first.value);
    let (mut address, mut prefix, mut add, mut up) = (None, None, true, None);
    let mut rest = rest.iter();
    while let Some(arg) = rest.next() {
        match arg.word() {
            "alias" | "add" | "inet" => {}
            "-alias" | "del" | "delete" => add = false,
            "up" => up = Some(true),
            "down" => up = Some(false),
            "netmask" => prefix = Some(prefix_of(rest.next().ok_or("netmask needs a value")?)?),
            "broadcast" => {
                rest.next();
            }
            "hw" => {
                let mac = rest.nth(1).ok_or("hw needs a class and an address")?;
                return Ok(Some(vec![Action::LinkMac {
                    dev,
                    mac: mac.value.clone(),
                }]));
            }
            _ if address.is_none() => address = Some(arg),
            _ => return Ok(None),
        }
    }
    let Some(address) = address else {
        return match (up, label) {
            (Some(false), true) => Ok(Some(vec![Action::Addr {
                add: false,
                cidr: Expr::Vip,
                dev: Some(dev),
            }]))
            .inspect(|_| {
                lower.guess("an alias taken down is taken to be the virtual host's address");
            }),
            (Some(up), false) => Ok(Some(vec![Action::LinkUp { dev, up }])),
            _ => Ok(None),
        };
    };
    if label {
        lower.differs("the alias's name is left out: addresses of carpd have none");
    }
    let cidr = match (prefix, address.value.clone()) {
        (Some(prefix), value) => join(vec![value, Expr::Text(format!("/{prefix}"))]),
        // As ifconfig does: by the class of the address.
        (None, Expr::Text(text)) if !text.contains('/') && add => {
            Expr::Text(format!("{text}/{}", class(&text)?))
        }
        (None, value) if add && address.text.is_none() && !ends_in_prefix(&value) => {
            return Err(
                "ifconfig finds the prefix length from the class of an address that is not known here: say netmask".into()
            );
        }
        (None, value) => value,
    };
    let mut actions = vec![Action::Addr {
        add: add && up != Some(false),
        cidr,
        dev: Some(dev.clone()),
    }];
    // ifconfig sets the device up whenever it gives it an address.
    if add && up != Some(false) && !lower.is_own_device(&dev) {
        actions.push(Action::LinkUp { dev, up: true });
    }
    Ok(Some(actions))
}

fn ends_in_prefix(value: &Expr) -> bool {
    matches!(value, Expr::Join(parts) if matches!(parts.last(), Some(Expr::Text(text)) if text.contains('/')))
}

fn class(text: &str) -> Result<u8, Untranslated> {
    let ip: Ipv4Addr = text
        .parse()
        .map_err(|_| format!("{text} is no IPv4 address"))?;
    Ok(match ip.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    })
}

/// The device of `eth0:1`, and whether there was a label.
fn split_label(value: &Expr) -> (Expr, bool) {
    match value {
        Expr::Text(text) => match text.split_once(':') {
            Some((dev, _)) => (Expr::Text(dev.to_owned()), true),
            None => (value.clone(), false),
        },
        Expr::Join(parts) => match parts.as_slice() {
            [dev, Expr::Text(label), ..] if label.starts_with(':') => (dev.clone(), true),
            _ => (value.clone(), false),
        },
        _ => (value.clone(), false),
    }
}

fn prefix_of(arg: &Arg) -> Result<u32, Untranslated> {
    let mask: Ipv4Addr = arg
        .text
        .as_deref()
        .and_then(|text| text.parse().ok())
        .ok_or("the netmask is not known here")?;
    let bits = u32::from(mask);
    if bits.leading_ones() + bits.trailing_zeros() >= 32 {
        Ok(bits.leading_ones())
    } else {
        Err(format!("{mask} is no netmask"))
    }
}

/// `ifup IF:ucarp`: the virtual host's address, and what its stanza says besides.
pub(super) fn alias(lower: &mut Lower<'_>, up: bool, args: &[Arg]) -> Result<Done, Untranslated> {
    let (_, rest) = options(args);
    let [target] = rest else {
        return Err("only one alias at a time can be translated".into());
    };
    let (dev, label) = split_label(&target.value);
    if !label {
        return Err("it does all that /etc/network/interfaces says of this device".into());
    }
    let cidr = lower.alias_address(&target.value)?;
    Ok(Done::Actions(vec![Action::Addr {
        add: up,
        cidr,
        dev: Some(dev),
    }]))
}

/// `arping -U -c 3 -I eth0 192.168.32.22`, `send_arp ...`.
pub(super) fn announce(base: &str, args: &[Arg]) -> Result<Done, Untranslated> {
    let (mut dev, mut count, mut cidr) = (None, 1, None);
    let mut free = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.word() {
            "-I" | "-i" if base != "send_arp" => dev = rest.next().map(|arg| arg.value.clone()),
            "-c" | "-r" => {
                let given = rest
                    .next()
                    .and_then(|arg| arg.word().parse::<u32>().ok())
                    .ok_or("the count is not known here")?;
                count = u8::try_from(given.clamp(1, 10)).unwrap_or(10);
            }
            "-s" | "-S" if base == "arping" => cidr = rest.next().map(|arg| arg.value.clone()),
            "-w" | "-W" | "-T" | "-t" | "-p" | "-P" if base != "arping" || arg.word() != "-P" => {
                rest.next();
            }
            word if word.starts_with('-') => {}
            _ => free.push(arg),
        }
    }
    if base == "arpsend" || base == "ndsend" || base.starts_with("send_arp") {
        let is_address = |arg: &&&Arg| {
            arg.text
                .as_deref()
                .is_none_or(|text| text.parse::<std::net::IpAddr>().is_ok())
        };
        let address = if base.starts_with("send_arp") {
            free.first()
        } else {
            free.iter().find(is_address)
        };
        let address = address.ok_or("it announces no address")?;
        dev = free
            .iter()
            .find(|arg| arg.value == Expr::Dev)
            .map(|arg| arg.value.clone())
            .or(dev);
        return Ok(Done::Actions(vec![Action::Announce {
            cidr: address.value.clone(),
            dev,
            count,
        }]));
    }
    // Without an address of its own it announces the target; `arping -S vip gateway` announces too.
    let cidr = cidr
        .or_else(|| free.last().map(|arg| arg.value.clone()))
        .ok_or("it announces no address")?;
    Ok(Done::Actions(vec![Action::Announce { cidr, dev, count }]))
}
