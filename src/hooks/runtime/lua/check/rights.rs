//! API calls that the grants, or the entry point, refuse whenever they run.

use super::calls::Argument;
use super::flow::Call;
use crate::effect::{Denied, Effect, Grants, Own, Query};
use crate::hooks::Ask;
use crate::hooks::contract::api::{
    Context, Function, Kind, Param, Raw, Request, grant_line, is_allowed,
};
use crate::types::{IfName, Name, VirtualAddress};

/// A virtual host that a hook serves.
#[derive(Debug, Clone, Copy)]
pub struct Home<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Its interface.
    pub interface: &'a IfName,
    /// Its addresses.
    pub addresses: &'a [VirtualAddress],
}

/// Options that no grant depends on.
const BESIDE: [&str; 9] = [
    "keep",
    "wait_ms",
    "timeout_ms",
    "count",
    "interval_ms",
    "up",
    "headers",
    "reason",
    "fields",
];

/// Why a call is refused; and true if it is for every virtual host, false if for some.
pub(super) fn refused(call: &Call, grants: &Grants, homes: &[Home<'_>]) -> Option<(String, bool)> {
    let Call {
        function, given, ..
    } = call;
    let raw = arguments(function, given);
    if !is_allowed(function, grants) {
        // With the actual values, if they are known.
        let exact = raw
            .and_then(|raw| denial(function, &raw, grants, homes.first()?))
            .map(|denied| denied.to_string());
        let any = || {
            format!(
                "not granted: {}; to grant it, write under [hook.NAME.grant]: {}",
                function.full_name(),
                grant_line(function)
            )
        };
        return Some((exact.unwrap_or_else(any), true));
    }
    let raw = raw?;
    let refusals: Vec<_> = homes
        .iter()
        .filter_map(|home| Some((home, denial(function, &raw, grants, home)?)))
        .collect();
    let (home, denied) = refusals.first()?;
    if refusals.len() == homes.len() {
        return Some((denied.to_string(), true));
    }
    Some((format!("for virtual host {}: {denied}", home.name), false))
}

/// Whether the grants mark a call as one that changes nothing, or may do so: what it is about may be
/// unknown.
pub(super) fn is_harmless(call: &Call, grants: &Grants, homes: &[Home<'_>]) -> bool {
    let function = call.function;
    if !function.may_be_query(grants) {
        return false;
    }
    let (Some(raw), Some(home)) = (arguments(function, &call.given), homes.first()) else {
        return true;
    };
    let context = Context {
        interface: home.interface,
    };
    match function.request(raw, context) {
        Ok(Request::Ask(Ask::Effect { effect, .. })) => grants.is_query(&effect),
        // What is wrong with it is said elsewhere.
        _ => true,
    }
}

/// A route with neither a gateway nor a device; the kernel refuses it whatever is granted.
pub(super) fn leads_nowhere(call: &Call) -> bool {
    let Call {
        function, given, ..
    } = call;
    if (function.group, function.name) != ("route", "replace") {
        return false;
    }
    match given.get(1) {
        // The values of a call or of `...` are unknown here.
        None => given.last() != Some(&Argument::Many),
        Some(Argument::Table {
            pairs,
            complete: true,
        }) => {
            let empty =
                |argument: &Argument| matches!(argument, Argument::Nil | Argument::Absent(_));
            pairs
                .iter()
                .all(|(key, argument)| !matches!(key.as_str(), "via" | "dev") || empty(argument))
        }
        Some(_) => false,
    }
}

fn denial(
    function: &Function,
    raw: &[Raw],
    grants: &Grants,
    home: &Home<'_>,
) -> Option<Box<Denied>> {
    let own = Own {
        dev: home.interface,
        addresses: home.addresses,
    };
    match function
        .request(
            raw.to_vec(),
            Context {
                interface: home.interface,
            },
        )
        .ok()?
    {
        // The value of a parameter, and the values for the placeholders of a command, may be
        // unknown: then the name decides.
        Request::Ask(Ask::Effect {
            effect: Effect::SysctlSet { key, value },
            ..
        }) if value == UNKNOWN => grants.permit_query(&Query::Sysctl { key }).err(),
        Request::Ask(Ask::Effect {
            effect: Effect::CommandRun { name, args },
            ..
        }) if args.contains_key(UNKNOWN) && grants.command.contains_key(&name) => None,
        Request::Ask(Ask::Effect { effect, .. }) => grants.permit(effect, own).err(),
        Request::Ask(Ask::Query(query)) => grants.permit_query(&query).err(),
        Request::Ask(
            Ask::Log { .. } | Ask::Sleep { .. } | Ask::StateGet { .. } | Ask::StateSet { .. },
        )
        | Request::Now
        | Request::Wall => None,
    }
}

/// Stands for a value that is unknown and that no grant depends on.
const UNKNOWN: &str = "\u{0}";

/// The arguments as a script would pass them; `None` if one that matters is unknown.
fn arguments(function: &Function, given: &[Argument]) -> Option<Vec<Raw>> {
    if given.last() == Some(&Argument::Many) || given.len() > function.params.len() + 1 {
        return None;
    }
    let positional = function
        .params
        .iter()
        .enumerate()
        .map(|(at, param)| match given.get(at) {
            None => Some(Raw::Nil),
            Some(argument) => raw(argument).or_else(|| stand_in(param)),
        });
    let mut all: Vec<Raw> = positional.collect::<Option<_>>()?;
    all.extend(match given.get(function.params.len()) {
        None | Some(Argument::Nil | Argument::Absent(_)) => None,
        Some(Argument::Table {
            pairs,
            complete: true,
        }) => {
            let known = pairs.iter().filter_map(|(key, argument)| {
                let beside = BESIDE.contains(&key.as_str());
                (!beside).then(|| raw(argument).map(|raw| (key.clone(), raw)))
            });
            Some(Raw::Map(known.collect::<Option<_>>()?))
        }
        // Unknown options matter if a grant depends on one.
        Some(_)
            if function
                .options
                .iter()
                .all(|option| BESIDE.contains(&option.name)) =>
        {
            None
        }
        Some(_) => return None,
    });
    Some(all)
}

/// A placeholder for an argument that is unknown, if no grant depends on it.
fn stand_in(param: &Param) -> Option<Raw> {
    let unknown = || Raw::Text(UNKNOWN.as_bytes().to_vec());
    match (param.name, param.kind) {
        ("content" | "body" | "value" | "message" | "reason", _) => Some(unknown()),
        ("holes", _) => Some(Raw::Map(vec![(UNKNOWN.to_owned(), unknown())])),
        ("fields", _) => Some(Raw::Nil),
        (_, Kind::Int(least, _)) => i32::try_from(least)
            .ok()
            .map(|least| Raw::Number(f64::from(least))),
        (_, Kind::Mac) => Some(Raw::Text(b"02:00:00:00:00:01".to_vec())),
        _ => None,
    }
}

fn raw(argument: &Argument) -> Option<Raw> {
    Some(match argument {
        Argument::Nil | Argument::Absent(_) => Raw::Nil,
        Argument::Bool(given) => Raw::Bool(*given),
        Argument::Number(number) => Raw::Number(*number),
        Argument::Text(text) => Raw::Text(text.clone().into_bytes()),
        Argument::Table {
            pairs,
            complete: true,
        } => {
            let pairs = pairs
                .iter()
                .map(|(key, argument)| Some((key.clone(), raw(argument)?)));
            Raw::Map(pairs.collect::<Option<_>>()?)
        }
        Argument::Unknown
        | Argument::Many
        | Argument::SomeNumber
        | Argument::SomeText
        | Argument::Function
        | Argument::Table { .. } => return None,
    })
}
