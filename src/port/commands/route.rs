//! `route add|del` of net-tools.

use std::net::Ipv4Addr;

use super::{Arg, Done, Untranslated, join, netmask, options, program};
use crate::port::ir::{Action, Expr, RouteVerb};
use crate::port::lower::Lower;

pub(super) fn translate(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    match read(lower, args)? {
        Some(action) => Ok(Done::Actions(vec![action])),
        None => Ok(Done::Actions(vec![Action::Run(program(
            lower, name, args,
        )?)])),
    }
}

fn read(lower: &mut Lower<'_>, args: &[Arg]) -> Result<Option<Action>, Untranslated> {
    let (flags, rest) = options(args);
    let Some((verb, rest)) = rest.split_first() else {
        return Ok(None);
    };
    let verb = match verb.word() {
        "add" => RouteVerb::Insert,
        "del" | "delete" => RouteVerb::Delete,
        _ => return Ok(None),
    };
    let (mut target, mut host, mut prefix, mut found) = (None, false, None, Vec::new());
    let six = !flags.iter().all(|flag| matches!(*flag, "-n" | "-4"));
    let mut rest = rest.iter();
    while let Some(arg) = rest.next() {
        let mut value = || {
            rest.next()
                .map(|arg| arg.value.clone())
                .ok_or(format!("{} needs a value", arg.word()))
        };
        match arg.word() {
            "-net" => {}
            "reject" | "mss" | "window" | "irtt" | "mod" | "dyn" | "reinstate" | "-v" | "-ee"
            | "-e" => return Ok(None),
            "-host" => host = true,
            "gw" | "gateway" => found.push(("via", value()?)),
            "dev" => {
                let dev = value()?;
                if !device(lower, dev, &mut found)? {
                    return Ok(None);
                }
            }
            "metric" => found.push(("metric", value()?)),
            "netmask" => {
                let Expr::Text(mask) = value()? else {
                    return Err("the netmask is not known here".into());
                };
                if mask.parse::<Ipv4Addr>().is_err() {
                    return Err(format!("{mask} is no netmask"));
                }
                let Some(length) = netmask::length(&mask) else {
                    return Ok(None);
                };
                prefix = Some(length);
            }
            _ if target.is_none() => target = Some(arg),
            // So has BSD a gateway, and no other.
            address if rest.len() == 0 && address.parse::<Ipv4Addr>().is_ok() => {
                lower.guess("a gateway without its keyword is that of BSD's route");
                found.push(("via", arg.value.clone()));
            }
            // A device without its keyword stands last.
            _ if rest.len() == 0 => {
                if !device(lower, arg.value.clone(), &mut found)? {
                    return Ok(None);
                }
            }
            _ => return Ok(None),
        }
    }
    let Some(target) = target.filter(|_| !six) else {
        return Ok(None);
    };
    let dst = match (target.word(), prefix) {
        ("default", _) | ("0.0.0.0", None | Some(0)) => Expr::Text("default".into()),
        (_, Some(prefix)) => join(vec![target.value.clone(), Expr::Text(format!("/{prefix}"))]),
        _ if host => target.value.clone(),
        (word, None) if word.contains('/') => target.value.clone(),
        (word, None) if !host && !word.is_empty() && word.parse::<Ipv4Addr>().is_err() => {
            return Ok(None);
        }
        // Whether `route add 10.0.0.0` means a network is decided by its class.
        (word, None) if !word.is_empty() && !word.ends_with(".0") => target.value.clone(),
        _ => return Ok(None),
    };
    if let Expr::Text(text) = &dst
        && !super::ip::is_target(text)
    {
        return Ok(None);
    }
    Ok(Some(Action::Route {
        verb,
        dst,
        options: found,
    }))
}

/// The device, or of an alias the device and its address as the source: so does the kernel. `false`
/// if the alias's address is not known.
fn device(
    lower: &Lower<'_>,
    dev: Expr,
    found: &mut Vec<(&'static str, Expr)>,
) -> Result<bool, Untranslated> {
    let target = lower.fixed(&dev).map_or(dev, Expr::Text);
    let (dev, label) = super::address::split_label(lower, &target)?;
    if label {
        let Some(address) = lower.label(&target) else {
            return Ok(false);
        };
        found.push(("src", super::address::without_prefix(&address)));
    }
    found.push(("dev", dev));
    Ok(true)
}
