//! Programs that announce an address to the neighbours.

use std::net::IpAddr;

use super::{Arg, Done, Untranslated, program};
use crate::port::ir::{Action, Expr};
use crate::port::lower::Lower;

/// `arping -U -c 3 -I eth0 192.168.32.22`, `send_arp ...`.
pub(super) fn translate(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    let base = name.rsplit('/').next().unwrap_or(name);
    let action = match base {
        "arping" => arping(lower, args)?,
        "ndsend" => match args {
            [address, dev] => Some(announce(address, Some(dev), 1)),
            _ => None,
        },
        "arpsend" => arpsend(args)?,
        _ => send_arp(args)?,
    };
    Ok(Done::Actions(vec![match action {
        Some(action) => action,
        None => Action::Run(program(lower, name, args)?),
    }]))
}

fn announce(address: &Arg, dev: Option<&Arg>, count: u8) -> Action {
    Action::Announce {
        cidr: address.value.clone(),
        dev: dev.map(|dev| dev.value.clone()),
        count,
    }
}

fn count(lower: &mut Lower<'_>, given: Option<&Arg>) -> Result<u8, Untranslated> {
    let given: u32 = given
        .and_then(|arg| arg.word().parse().ok())
        .ok_or("the count is not known here")?;
    if given > 10 {
        lower.differs("it announces ten times, which is the most that a hook may");
    }
    Ok(u8::try_from(given.clamp(1, 10)).unwrap_or(10))
}

/// That of iputils, and that of Habets; `None` if it asks instead of telling.
fn arping(lower: &mut Lower<'_>, args: &[Arg]) -> Result<Option<Action>, Untranslated> {
    let (mut dev, mut times, mut source, mut tells) = (None, None, None, false);
    let mut free = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.word() {
            "-I" | "-i" => dev = Some(rest.next().ok_or("-I needs a device")?),
            "-c" => times = Some(count(lower, rest.next())?),
            // As many seconds, as many times.
            "-w" if times.is_none() => times = Some(count(lower, rest.next())?),
            "-w" | "-W" => _ = rest.next(),
            "-s" | "-S" => source = Some(rest.next().ok_or("-s needs an address")?),
            "-D" | "-d" | "-0" | "-p" | "-T" | "-t" => return Ok(None),
            word if word.starts_with('-') => {
                for flag in word.chars().skip(1) {
                    match flag {
                        'U' | 'A' | 'P' => tells = true,
                        'q' | 'b' | 'f' => {}
                        _ => return Ok(None),
                    }
                }
            }
            _ => free.push(arg),
        }
    }
    let [target] = free.as_slice() else {
        return Ok(None);
    };
    let address = match (tells, source) {
        (true, None) => *target,
        // `arping -s VIP GATEWAY`: whoever hears the question learns where the address is.
        (_, Some(source)) => source,
        (false, None) => return Ok(None),
    };
    let dev = dev.ok_or("arping without a device")?;
    Ok(Some(announce(address, Some(dev), times.unwrap_or(1))))
}

/// `arpsend -U -i ADDRESS [-c N] DEVICE`.
fn arpsend(args: &[Arg]) -> Result<Option<Action>, Untranslated> {
    let (mut address, mut tells, mut free) = (None, false, Vec::new());
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.word() {
            "-U" => tells = true,
            "-i" | "-e" => address = Some(rest.next().ok_or("-i needs an address")?),
            "-c" | "-w" => _ = rest.next(),
            word if word.starts_with('-') => return Ok(None),
            _ => free.push(arg),
        }
    }
    match (address, free.as_slice(), tells) {
        (Some(address), [dev], true) => Ok(Some(announce(address, Some(dev), 1))),
        _ => Ok(None),
    }
}

/// `send_arp ADDRESS MAC BROADCAST MAC [DEVICE]`, and heartbeat's `send_arp [-r N] DEVICE ADDRESS
/// ...`.
fn send_arp(args: &[Arg]) -> Result<Option<Action>, Untranslated> {
    let (mut times, mut free) = (1, Vec::new());
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.word() {
            "-r" => {
                let given = rest.next().and_then(|arg| arg.word().parse::<u8>().ok());
                times = given.ok_or("the count is not known here")?.clamp(1, 10);
            }
            "-i" | "-p" => _ = rest.next(),
            word if word.starts_with('-') => return Ok(None),
            _ => free.push(arg),
        }
    }
    let is_address = |arg: &Arg| {
        arg.value == Expr::Vip
            || arg
                .text
                .as_deref()
                .is_some_and(|text| text.parse::<IpAddr>().is_ok())
    };
    let is_device = |arg: &Arg| {
        arg.value == Expr::Dev
            || arg.text.as_deref().is_some_and(|text| {
                text.parse::<crate::types::IfName>().is_ok() && !text.contains('.')
            })
    };
    match free.as_slice() {
        [address, _, _, _, dev] if is_address(address) && is_device(dev) => {
            Ok(Some(announce(address, Some(dev), times)))
        }
        [dev, address, ..] if is_device(dev) && !is_address(dev) => {
            Ok(Some(announce(address, Some(dev), times)))
        }
        _ => Err("which device it announces on is not known here".into()),
    }
}
