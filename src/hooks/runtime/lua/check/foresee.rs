//! What will go wrong with a hook in this configuration: with these grants, this `config`, and
//! these virtual hosts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::calls::{self, Argument};
use super::flow::{Call, Script, Sure, Tracker};
use super::parser::Parser;
use super::rights::{self, Home};
use super::{Finding, words};
use crate::effect::Grants;
use crate::hooks::EntryPoint;

/// The context in which a hook is used.
#[derive(Debug, Clone, Copy)]
pub struct Use<'a> {
    /// Its name in the configuration.
    pub hook: &'a str,
    /// The table `[hook.NAME.config]`.
    pub config: &'a Json,
    /// What it is granted.
    pub grants: &'a Grants,
    /// The virtual hosts that use it.
    pub homes: &'a [Home<'a>],
}

/// Something that will go wrong, or may.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foreseen {
    /// The index of the file.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and how to fix it.
    pub message: String,
    /// It goes wrong whenever an entry point runs; otherwise only if this line is reached.
    pub certain: bool,
}

/// What is wrong with a hook and its modules, in their order: the hook's own file first.
#[must_use]
pub fn foresee(files: &[(&str, &[u8])], used: &Use<'_>) -> Vec<Foreseen> {
    let globals = super::globals(files.iter().map(|(_, text)| *text));
    let mut found = BTreeSet::new();
    let mut assigned = BTreeSet::new();
    let mut understood = Vec::new();
    for (at, (_, text)) in files.iter().enumerate() {
        let Some(tokens) = words(text) else { continue };
        let Some((mistakes, changed)) = Parser::mistakes(&tokens, &globals) else {
            continue;
        };
        found.extend(
            mistakes
                .into_iter()
                .map(|finding: Finding| (at, finding.line, finding.message, finding.certain)),
        );
        assigned.extend(changed);
        understood.push((at, tokens));
    }
    let mut tracker = Tracker::new(used.config, &assigned);
    for (at, tokens) in &understood {
        tracker.begin(*at);
        // It was parsed successfully before.
        let Some(back) = Parser::follow(tokens, &globals, tracker) else {
            return named(files, found);
        };
        tracker = back;
    }
    if understood.first().is_some_and(|(at, _)| *at == 0) {
        let judged = judge(&tracker.script, used);
        let judged: Vec<_> = judged
            .into_iter()
            .filter(|((at, line, message), _)| {
                !found.contains(&(*at, *line, message.clone(), true))
            })
            .collect();
        found.extend(
            judged
                .into_iter()
                .map(|((at, line, message), certain)| (at, line, message, certain)),
        );
    }
    named(files, found)
}

fn named(files: &[(&str, &[u8])], found: BTreeSet<(usize, usize, String, bool)>) -> Vec<Foreseen> {
    let name = |at: usize| files.get(at).map_or("", |(file, _)| *file).to_owned();
    found
        .into_iter()
        .map(|(at, line, message, certain)| Foreseen {
            file: name(at),
            line,
            message,
            certain,
        })
        .collect()
}

/// What is wrong, by file, line and text; and whether it is certain to happen.
type Judged = BTreeMap<(usize, usize, String), bool>;

fn judge(script: &Script, used: &Use<'_>) -> Judged {
    let mut judged = Judged::new();
    for entry in EntryPoint::ALL {
        for (body, reached) in script.reached(&script.entry(entry.as_str())) {
            let Some(body) = script.bodies.get(body) else {
                continue;
            };
            let mut tell = |line: usize, message: String, sure: Sure| {
                if sure > Sure::Never {
                    let message = message
                        .replace("[hook.NAME.grant]", &format!("[hook.{}.grant]", used.hook));
                    *judged.entry((body.file, line, message)).or_default() |= sure == Sure::Certain;
                }
            };
            for fault in &body.faults {
                tell(fault.line, fault.message.clone(), fault.sure.min(reached));
            }
            for call in &body.calls {
                for (message, most) in wrong(call, entry, used) {
                    tell(call.line, message, call.sure.min(reached).min(most));
                }
            }
        }
    }
    judged
}

/// What is wrong with a call in an entry point, and how certain that can be at most.
fn wrong(call: &Call, entry: EntryPoint, used: &Use<'_>) -> Vec<(String, Sure)> {
    let name = call.function.full_name();
    let may_change = entry.may_change() || rights::is_harmless(call, used.grants, used.homes);
    if !may_change && call.function.changes() {
        let unless = if call.function.can_be_query() {
            ", unless its grant has `query = true`"
        } else {
            ""
        };
        return vec![(
            format!(
                "{name}: {} is read-only, and this changes something{unless}",
                entry.as_str()
            ),
            Sure::Certain,
        )];
    }
    let mut found: Vec<(String, Sure)> = absent(call).into_iter().collect();
    if found.is_empty() {
        found.extend(
            calls::wrong(call.function, &call.given)
                .into_iter()
                .map(|message| (message, Sure::Certain)),
        );
    }
    if rights::leads_nowhere(call) {
        found.push((
            format!("{name}: a route needs via or dev, or both"),
            Sure::Certain,
        ));
    }
    if found.iter().all(|(_, sure)| *sure < Sure::Certain)
        && let Some((message, everywhere)) = rights::refused(call, used.grants, used.homes)
    {
        found.push((
            message,
            if everywhere {
                Sure::Certain
            } else {
                Sure::Maybe
            },
        ));
    }
    found
}

/// An argument that is nil because the configuration does not contain it.
fn absent(call: &Call) -> Option<(String, Sure)> {
    let name = call.function.full_name();
    let params = call.function.params.iter();
    let positional = params
        .zip(&call.given)
        .find_map(|(param, given)| match given {
            Argument::Absent(why) if param.required => Some((
                format!("{name}: {} is invalid: {why}", param.name),
                Sure::Certain,
            )),
            Argument::Absent(why) => Some((
                format!("{name}: {} is invalid: {why}", param.name),
                Sure::Maybe,
            )),
            _ => None,
        });
    positional.or_else(|| {
        let Some(Argument::Table { pairs, .. }) = call.given.get(call.function.params.len()) else {
            return None;
        };
        pairs.iter().find_map(|(key, given)| {
            let Argument::Absent(why) = given else {
                return None;
            };
            let required = call
                .function
                .options
                .iter()
                .any(|option| option.name == key && option.required);
            Some((
                format!("{name}: option {key} is invalid: {why}"),
                if required { Sure::Certain } else { Sure::Maybe },
            ))
        })
    })
}
