//! `route add|del` of net-tools.

use std::net::Ipv4Addr;

use super::{Arg, Done, Untranslated, join, options, program};
use crate::port::ir::{Action, Expr, RouteVerb};
use crate::port::lower::Lower;

pub(super) fn translate(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    match read(args)? {
        Some(action) => Ok(Done::Actions(vec![action])),
        None => Ok(Done::Actions(vec![Action::Run(program(
            lower, name, args,
        )?)])),
    }
}

fn read(args: &[Arg]) -> Result<Option<Action>, Untranslated> {
    let (flags, rest) = options(args);
    let Some((verb, rest)) = rest.split_first() else {
        return Err("what it shows goes nowhere".into());
    };
    let verb = match verb.word() {
        "add" => RouteVerb::Add,
        "del" | "delete" => RouteVerb::Delete,
        _ => return Ok(None),
    };
    let (mut target, mut host, mut prefix, mut found) = (None, false, None, Vec::new());
    let six = flags.contains(&"-6") || flags.contains(&"-A");
    let mut rest = rest.iter();
    while let Some(arg) = rest.next() {
        let mut value = || {
            rest.next()
                .map(|arg| arg.value.clone())
                .ok_or(format!("{} needs a value", arg.word()))
        };
        match arg.word() {
            "-net" => {}
            "-host" => host = true,
            "gw" | "gateway" => found.push(("via", value()?)),
            "dev" => found.push(("dev", value()?)),
            "metric" => found.push(("metric", value()?)),
            "netmask" => {
                let Expr::Text(mask) = value()? else {
                    return Err("the netmask is not known here".into());
                };
                let mask: Ipv4Addr = mask.parse().map_err(|_| format!("{mask} is no netmask"))?;
                prefix = Some(u32::from(mask).leading_ones());
            }
            _ if target.is_none() => target = Some(arg),
            // A device without its keyword stands last.
            _ if rest.len() == 0 => found.push(("dev", arg.value.clone())),
            _ => return Ok(None),
        }
    }
    let Some(target) = target.filter(|_| !six) else {
        return Ok(None);
    };
    let dst = match (target.word(), prefix) {
        ("default" | "0.0.0.0", _) => Expr::Text("default".into()),
        (_, Some(prefix)) => join(vec![target.value.clone(), Expr::Text(format!("/{prefix}"))]),
        _ if host => target.value.clone(),
        (word, None) if word.contains('/') => target.value.clone(),
        // Whether `route add 10.0.0.0` means a network is decided by its class.
        (word, None) if !word.is_empty() && !word.ends_with(".0") => target.value.clone(),
        _ => return Ok(None),
    };
    Ok(Some(Action::Route {
        verb,
        dst,
        options: found,
    }))
}
