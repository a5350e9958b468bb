//! Leaves out functions that nothing calls: a script for both directions has those of the other one
//! too. What calls a function that could not be translated is not translated either.

use std::collections::BTreeSet;

use super::fold::lines_of;
use super::ir::{Cond, Step, Visit, What, walk};

/// Removes them from the steps of an entry point, and gives the lines that went with them.
pub(super) fn remove(steps: &mut Vec<Step>) -> BTreeSet<usize> {
    let reached = reached(&called(steps));
    let mut gone = BTreeSet::new();
    retain(steps, &mut |step| {
        let What::Function(name, _, body) = &step.what else {
            return true;
        };
        let stays = reached.contains(name);
        if !stays {
            gone.insert(step.line);
            gone.extend(lines_of(body));
        }
        stays
    });
    gone
}

/// Makes a TODO of each step that calls a function which could not be translated.
pub(super) fn mark_missing(steps: &mut [Step]) {
    let mut defined = Defined(BTreeSet::new());
    walk(steps, &mut defined);
    mark(steps, &defined.0);
}

/// The functions of the script.
struct Defined(BTreeSet<String>);

impl Visit for Defined {
    fn step(&mut self, step: &Step) {
        if let What::Function(name, ..) = &step.what {
            self.0.insert(name.clone());
        }
    }
}

fn mark(steps: &mut [Step], defined: &BTreeSet<String>) {
    for step in steps {
        for body in step.what.bodies_mut() {
            mark(body, defined);
        }
        let own = own_call(step);
        if let Some(name) = own.into_iter().find(|name| !defined.contains(name)) {
            let why = format!("{name} was not translated");
            step.what = What::Todo {
                original: name,
                why,
            };
        }
    }
}

/// The functions that a step calls itself, not those of the steps in it.
pub(super) fn own_call(step: &Step) -> Vec<String> {
    struct Called(Vec<String>);
    impl Visit for Called {
        fn cond(&mut self, _: usize, cond: &Cond) {
            if let Cond::Function(name, _) = cond {
                self.0.push(name.clone());
            }
        }
        fn step(&mut self, step: &Step) {
            if let What::Call(name, _) = &step.what {
                self.0.push(name.clone());
            }
        }
    }
    let what = match &step.what {
        What::If(arms, _) => {
            let arms = arms.iter().map(|(cond, _)| (cond.clone(), Vec::new()));
            What::If(arms.collect(), Vec::new())
        }
        What::While(cond, _) => What::While(cond.clone(), Vec::new()),
        What::For(..) | What::Block(_) | What::Script(..) | What::Function(..) => {
            return Vec::new();
        }
        what => what.clone(),
    };
    let line = step.line;
    let mut called = Called(Vec::new());
    walk(&[Step { line, what }], &mut called);
    called.0
}

/// The functions that are called in the end.
fn reached(called: &BTreeSet<(String, String)>) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([String::new()]);
    loop {
        let before = reached.len();
        for (caller, callee) in called {
            if reached.contains(caller) {
                reached.insert(callee.clone());
            }
        }
        if reached.len() == before {
            return reached;
        }
    }
}

fn retain(steps: &mut Vec<Step>, keep: &mut impl FnMut(&Step) -> bool) {
    steps.retain(&mut *keep);
    for step in steps {
        if let What::Script(_, body) | What::Block(body) = &mut step.what {
            retain(body, keep);
        }
    }
}

/// The functions that these steps call by themselves.
pub(super) fn calls(steps: &[Step]) -> BTreeSet<String> {
    called(steps)
        .into_iter()
        .filter(|(caller, _)| caller.is_empty())
        .map(|(_, callee)| callee)
        .collect()
}

/// The functions that are defined there, in whatever is within them.
pub(super) fn defined(steps: &[Step]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    walk(steps, &mut Names(&mut names));
    names
}

/// Who calls whom; the steps outside of all functions have the empty name. What was not translated
/// counts for every name in it, since somebody will write it by hand.
fn called(steps: &[Step]) -> BTreeSet<(String, String)> {
    let mut calls = Calls {
        names: BTreeSet::new(),
        called: BTreeSet::new(),
        caller: String::new(),
    };
    walk(steps, &mut Names(&mut calls.names));
    calls.list(steps);
    calls.called
}

struct Names<'a>(&'a mut BTreeSet<String>);

impl Visit for Names<'_> {
    fn step(&mut self, step: &Step) {
        if let What::Function(name, ..) = &step.what {
            self.0.insert(name.clone());
        }
    }
}

struct Calls {
    /// All functions of the script.
    names: BTreeSet<String>,
    called: BTreeSet<(String, String)>,
    caller: String,
}

impl Calls {
    fn list(&mut self, steps: &[Step]) {
        let mut others = Vec::new();
        for step in steps {
            match &step.what {
                What::Function(name, _, body) => {
                    let outside = std::mem::replace(&mut self.caller, name.clone());
                    self.list(body);
                    self.caller = outside;
                }
                What::Script(_, body) | What::Block(body) => self.list(body),
                _ => others.push(step.clone()),
            }
        }
        walk(&others, self);
    }

    fn call(&mut self, name: &str) {
        self.called.insert((self.caller.clone(), name.to_owned()));
    }
}

impl Visit for Calls {
    fn step(&mut self, step: &Step) {
        match &step.what {
            What::Call(name, _) => self.call(name),
            What::Todo { original, .. } => {
                let is_part = |c: char| !(c.is_alphanumeric() || "_-.".contains(c));
                let words: BTreeSet<&str> = original.split(is_part).collect();
                for name in self.names.clone() {
                    if words.contains(name.as_str()) {
                        self.call(&name);
                    }
                }
            }
            _ => {}
        }
    }

    fn cond(&mut self, _: usize, cond: &Cond) {
        if let Cond::Function(name, _) = cond {
            self.call(name);
        }
    }
}
