//! Which functions of the API go past failures in a ported hook, as the commands of a script do: as a
//! rule all of a group, so that the calls read as they do in any hook.

use std::collections::BTreeSet;

use crate::port::Half;
use crate::port::ir::{Action, Cond, Expr, RouteVerb, Step, Visit, What, walk};

/// The groups and helpers that must keep failing: after `set -e`, and where what they give is used.
pub(super) fn strict(halves: &[(&'static str, &str, Half)]) -> BTreeSet<&'static str> {
    let mut strict = Strict(BTreeSet::new());
    for (_, _, half) in halves {
        walk(&half.steps, &mut strict);
    }
    strict.0
}

struct Strict(BTreeSet<&'static str>);

impl Visit for Strict {
    fn step(&mut self, step: &Step) {
        if let What::Must(Cond::Did(actions)) = &step.what {
            self.0.extend(actions.iter().filter_map(owner));
        }
    }

    fn action(&mut self, _: usize, action: &Action) {
        if let Action::Http { strict: true, .. } = action {
            self.0.insert("http");
        }
    }

    fn expr(&mut self, _: usize, expr: &Expr) {
        match expr {
            // The answer is looked at.
            Expr::Answer(..) => _ = self.0.insert("http"),
            Expr::Call("hostname.get", _) => _ = self.0.insert("hostname"),
            Expr::Call("sysctl.get", _) => _ = self.0.insert("sysctl"),
            _ => {}
        }
    }
}

/// The group, or the helper, whose function does it.
fn owner(action: &Action) -> Option<&'static str> {
    Some(match action {
        Action::Addr { .. } => "addr",
        Action::Announce { .. } => "announce",
        Action::Route { verb, .. } => match verb {
            RouteVerb::Add => "add_route",
            RouteVerb::Insert => "insert_route",
            RouteVerb::Replace | RouteVerb::Delete => "route",
        },
        Action::Rule { .. } => "rule",
        Action::LinkUp { .. } | Action::LinkMac { .. } => "link",
        Action::Hostname(_) => "hostname",
        Action::Service { .. } => "service",
        Action::Sysctl { .. } => "sysctl",
        Action::Write { append: true, .. } => "append",
        Action::Write {
            content: Expr::Content(_),
            ..
        } => "copy",
        Action::Write {
            content: Expr::Raw(_, false),
            ..
        } => "save",
        Action::Write { .. } | Action::Remove(_) => "file",
        Action::Touch(_) => "touch",
        Action::Http { .. } => "http",
        Action::Run(_) | Action::Log { .. } | Action::Sleep(_) | Action::Resign => return None,
    })
}

/// The lines that make them so.
pub(super) fn text(tolerant: &BTreeSet<String>) -> String {
    if tolerant.is_empty() {
        return String::new();
    }
    let line = |name: &String| format!("local {name} = tolerant({name})\n");
    let lines: String = tolerant.iter().map(line).collect();
    format!("\n{lines}")
}
