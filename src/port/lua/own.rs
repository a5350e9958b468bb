//! What a function of a script has as its own: its parameters, and variables that are declared where
//! they are first set.

use std::collections::BTreeSet;

use super::used::{self, Used};
use crate::port::ir::{Expr, Step, Visit, What, walk};

/// Takes `local level=$1` and its like away from the begin of a function: these are names of its
/// parameters. Gives their numbers and names.
pub(super) fn parameters(
    body: &mut Vec<Step>,
    is_number: impl Fn(&str) -> bool,
) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let Some(locals) = locals(body) else {
        return found;
    };
    for step in body.iter() {
        match &step.what {
            What::Local(_) | What::Comment(_) => {}
            What::Assign(name, Expr::Arg(_, number))
                if locals.contains(name)
                    && !is_number(name)
                    && !found.iter().any(|(n, own)| n == number || own == name) =>
            {
                found.push((*number, name.clone()));
            }
            _ => break,
        }
    }
    found.retain(|(number, _)| times_read(body, *number) == 1);
    let named = |name: &String| found.iter().any(|(_, own)| own == name);
    let mut left = found.len();
    body.retain(|step| {
        let gone =
            left > 0 && matches!(&step.what, What::Assign(name, Expr::Arg(..)) if named(name));
        left -= usize::from(gone);
        !gone
    });
    declare(body, |name| !named(name));
    found
}

/// Takes those variables of a function that are first set at its top level, before anything reads
/// them, out of what is declared at its begin.
pub(super) fn take_fresh(body: &mut Vec<Step>) -> BTreeSet<String> {
    let mut fresh: BTreeSet<String> = locals(body).unwrap_or_default().into_iter().collect();
    fresh.retain(|name| {
        let sets = |step: &Step| matches!(&step.what, What::Assign(own, _) if own == name);
        let Some(at) = body.iter().position(sets) else {
            return false;
        };
        let (before, rest) = body.split_at(at);
        let mut earlier = Used::default();
        walk(before, &mut earlier);
        walk(rest.get(..1).unwrap_or_default(), &mut earlier);
        !used::sets(before, name) && !earlier.names.contains(name)
    });
    declare(body, |name| !fresh.contains(name));
    fresh
}

fn locals(body: &[Step]) -> Option<Vec<String>> {
    body.iter().find_map(|step| match &step.what {
        What::Local(names) => Some(names.clone()),
        _ => None,
    })
}

/// Leaves only these among the variables that are declared at the begin.
fn declare(body: &mut Vec<Step>, keep: impl Fn(&String) -> bool) {
    for step in body.iter_mut() {
        if let What::Local(names) = &mut step.what {
            names.retain(&keep);
        }
    }
    body.retain(|step| !matches!(&step.what, What::Local(names) if names.is_empty()));
}

/// How often an argument is looked at.
fn times_read(body: &[Step], number: usize) -> usize {
    struct Reads(usize, usize);
    impl Visit for Reads {
        fn expr(&mut self, _: usize, expr: &Expr) {
            self.1 += usize::from(matches!(expr, Expr::Arg(_, n) if *n == self.0));
        }
    }
    let mut reads = Reads(number, 0);
    walk(body, &mut reads);
    reads.1
}
