//! `ifconfig`, `ifup` and `ifdown` of an alias, and the programs that announce an address.

use std::net::Ipv4Addr;

use super::{Arg, Done, Untranslated, join, program};
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
        return Ok(None);
    };
    let target = lower
        .fixed(&first.value)
        .map_or(first.value.clone(), Expr::Text);
    let (dev, label) = split_label(lower, &target)?;
    if label && rest.is_empty() {
        return Err("addresses of carpd have no label to be found by".into());
    }
    let (mut address, mut prefix, mut verb, mut up) = (None, None, None, None);
    let mut rest = rest.iter();
    while let Some(arg) = rest.next() {
        match arg.word() {
            "inet" => {}
            "alias" => {
                lower.guess("ifconfig alias is that of BSD: taken to add an address");
                verb = Some(true);
            }
            "add" => verb = Some(true),
            "-alias" | "del" | "delete" => verb = Some(false),
            "up" => up = Some(true),
            "down" => up = Some(false),
            "netmask" => prefix = Some(prefix_of(rest.next().ok_or("netmask needs a value")?)?),
            "broadcast" => {
                rest.next();
            }
            "hw" if address.is_none() && rest.len() == 2 && !label => {
                let mac = rest.nth(1).ok_or("hw needs a class and an address")?;
                return Ok(Some(vec![Action::LinkMac {
                    dev,
                    mac: mac.value.clone(),
                }]));
            }
            word if word.starts_with('-') => return Ok(None),
            _ if address.is_none() => address = Some(arg),
            _ => return Ok(None),
        }
    }
    match address {
        Some(address) if address.word() == "0.0.0.0" && label => {
            down(lower, &target, dev).map(Some)
        }
        Some(address) if label || verb.is_some() => {
            let add = verb != Some(false) && up != Some(false);
            let cidr = whole(lower, address, prefix, add)?;
            if label {
                lower.differs("the alias's name is left out: addresses of carpd have none");
                if !lower.add_label(&target, &cidr) {
                    return Err("the alias has another address already".into());
                }
            }
            if add {
                lower.differs("the broadcast address that ifconfig sets by itself is left out: addresses of carpd have none");
            }
            let dev = Some(dev);
            Ok(Some(vec![Action::Addr { add, cidr, dev }]))
        }
        // Without an alias it takes the place of the device's own address.
        Some(_) => Ok(None),
        None => match (up, label) {
            (Some(false), true) => down(lower, &target, dev).map(Some),
            (Some(up), false) if prefix.is_none() => Ok(Some(vec![Action::LinkUp { dev, up }])),
            _ => Ok(None),
        },
    }
}

/// An alias is taken down: its address goes.
fn down(lower: &Lower<'_>, label: &Expr, dev: Expr) -> Result<Vec<Action>, Untranslated> {
    let cidr = lower
        .label(label)
        .ok_or("which address this alias has is not known here")?;
    Ok(vec![Action::Addr {
        add: false,
        cidr,
        dev: Some(dev),
    }])
}

/// The address with its prefix length.
fn whole(
    lower: &Lower<'_>,
    address: &Arg,
    prefix: Option<u32>,
    add: bool,
) -> Result<Expr, Untranslated> {
    let value = address.value.clone();
    if let Some(prefix) = prefix {
        return Ok(join(vec![value, Expr::Text(format!("/{prefix}"))]));
    }
    let known = lower.fixed(&value);
    if ends_in_prefix(&value) || known.as_deref().is_some_and(|text| text.contains('/')) || !add {
        return Ok(value);
    }
    match known {
        // As ifconfig does: by the class of the address.
        Some(text) => Ok(Expr::Text(format!("{text}/{}", class(&text)?))),
        None => Err("ifconfig finds the prefix length from the class of an address that is not known here: say netmask".into()),
    }
}

/// An address without its prefix length.
pub(super) fn without_prefix(value: &Expr) -> Expr {
    match value {
        Expr::Text(text) => Expr::Text(text.split('/').next().unwrap_or_default().to_owned()),
        Expr::Join(parts) => match parts.split_last() {
            Some((Expr::Text(prefix), rest)) if prefix.starts_with('/') => join(rest.to_vec()),
            _ => value.clone(),
        },
        other => other.clone(),
    }
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
///
/// # Errors
/// It may be one or the other, or the alias of one of several devices.
pub(super) fn split_label(lower: &Lower<'_>, value: &Expr) -> Result<(Expr, bool), Untranslated> {
    let parts = match value {
        Expr::Join(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    let at = parts
        .iter()
        .position(|part| matches!(part, Expr::Text(text) if text.contains(':')));
    if let Some(at) = at {
        let (before, after) = parts.split_at(at);
        let mut dev = before.to_vec();
        if let Some(Expr::Text(text)) = after.first() {
            dev.push(Expr::Text(
                text.split(':').next().unwrap_or_default().into(),
            ));
        }
        return Ok((join(dev), true));
    }
    let devices = lower.devices(value);
    match devices.as_slice() {
        _ if !devices.iter().any(|(_, label)| *label) => Ok((value.clone(), false)),
        [(dev, true), rest @ ..] if rest.iter().all(|other| other == &(dev.clone(), true)) => {
            Ok((dev.clone(), true))
        }
        _ => Err("whether this is a device or the alias of one is not known here".into()),
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
    let [target] = args else {
        return Err("only one alias at a time can be translated".into());
    };
    let (dev, label) = split_label(lower, &target.value)?;
    if !label {
        return Err("it does all that /etc/network/interfaces says of this device".into());
    }
    let cidr = lower.alias_address(&target.value)?;
    if up {
        lower.differs(
            "the broadcast address that ifup sets is left out: addresses of carpd have none",
        );
    }
    Ok(Done::Actions(vec![Action::Addr {
        add: up,
        cidr,
        dev: Some(dev),
    }]))
}
