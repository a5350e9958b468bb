//! A call of a host function, as far as it is known before the script runs.

use crate::hooks::contract::api::{Function, LUA, Param, Raw, nearest};

/// An argument, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Argument {
    /// A variable, or a computed value.
    Unknown,
    /// One value, several, or none: a call, or `...`.
    Many,
    Nil,
    /// Nil, because the hook's configuration does not contain it; this is the message.
    Absent(String),
    Bool(bool),
    Number(f64),
    SomeNumber,
    Text(String),
    SomeText,
    Function,
    /// A table with these keys; `complete`: it has no others.
    Table {
        pairs: Vec<(String, Argument)>,
        complete: bool,
    },
}

/// Names that exist in every script, in addition to those suggested for a mistyped one.
const SELDOM: [&str; 3] = ["_G", "_VERSION", "debug"];

/// Is there such a global in every script?
pub(super) fn is_library(name: &str) -> bool {
    LUA.contains(&name) || SELDOM.contains(&name)
}

/// What is certainly wrong with a call.
pub(super) fn wrong(function: &Function, given: &[Argument]) -> Vec<String> {
    let name = function.full_name();
    let open = given.last() == Some(&Argument::Many);
    let known = given.len() - usize::from(open);
    let positional = function.params.len();
    let most = positional + usize::from(!function.options.is_empty());
    let mut found = Vec::new();
    if known > most {
        found.push(format!(
            "{name} takes at most {most} argument{}, not {known}",
            if most == 1 { "" } else { "s" }
        ));
        return found;
    }
    for (index, param) in function.params.iter().enumerate() {
        let label = format!("{name}: argument {} ({})", index + 1, param.name);
        match given.get(index) {
            Some(Argument::Many) => return found,
            Some(argument) => {
                found.extend(misfit(param, argument).map(|why| format!("{label} {why}")));
            }
            None if param.required => {
                found.push(format!("{label} is missing: {}", param.kind.expects()));
            }
            None => {}
        }
    }
    match given.get(positional) {
        Some(Argument::Table { pairs, complete }) => {
            found.extend(options(function, pairs, *complete));
        }
        Some(Argument::Unknown | Argument::Many | Argument::Nil | Argument::Absent(_)) => {}
        None if open => {}
        None => found.extend(options(function, &[], true)),
        Some(_) => found.push(format!(
            "{name}: argument {} must be a table of options",
            positional + 1
        )),
    }
    found
}

fn options(function: &Function, pairs: &[(String, Argument)], complete: bool) -> Vec<String> {
    let name = function.full_name();
    let mut found = Vec::new();
    for (key, argument) in pairs {
        if let Some(option) = function.options.iter().find(|option| option.name == key) {
            found.extend(misfit(option, argument).map(|why| format!("{name}: option {key} {why}")));
            continue;
        }
        let hint = nearest(key, function.options.iter().map(|option| option.name));
        let hint = hint
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        found.push(format!("{name} has no option {key:?}{hint}"));
    }
    let missing = |option: &&Param| {
        option.required && complete && !pairs.iter().any(|(key, _)| key == option.name)
    };
    found.extend(function.options.iter().filter(missing).map(|option| {
        format!(
            "{name}: option {} is missing: {}",
            option.name,
            option.kind.expects()
        )
    }));
    found
}

/// Why a value cannot be this parameter; `None` if it can, or if that is unknown.
fn misfit(param: &Param, argument: &Argument) -> Option<String> {
    let raw = match argument {
        Argument::Nil | Argument::Absent(_) if param.required => {
            return Some(format!("is missing: {}", param.kind.expects()));
        }
        Argument::Unknown | Argument::Many | Argument::Nil | Argument::Absent(_) => return None,
        // A number in a notation that is not parsed here: any other number will do.
        Argument::SomeNumber => {
            return (!param.takes_number())
                .then(|| format!("must be {}, not a number", param.kind.expects()));
        }
        Argument::SomeText => {
            return (!param.takes_text())
                .then(|| format!("must be {}, not text", param.kind.expects()));
        }
        Argument::Bool(given) => Raw::Bool(*given),
        Argument::Number(number) => Raw::Number(*number),
        Argument::Text(text) => Raw::Text(text.clone().into_bytes()),
        Argument::Function => Raw::Other("a function"),
        Argument::Table { .. } => {
            return (!param.takes_table())
                .then(|| format!("must be {}, not a table", param.kind.expects()));
        }
    };
    param.kind.refuses(raw)
}
