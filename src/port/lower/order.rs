//! In which order a script sets and reads its variables: which of them come from outside, and which
//! may still be empty.

use std::collections::{HashMap, HashSet};

use super::super::shell::{Command, Item, Kind, Piece, Script, Word};
use super::compound::split_assignment;
use super::{calculate, redirect};

/// How many bodies of functions are looked at, each as often as it is called.
const CALLS: usize = 400;

/// What was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Order {
    set: HashSet<String>,
    /// Set by the script, but read before that.
    outside: HashSet<String>,
    /// Read where it is not sure that it has been set.
    empty: HashSet<String>,
}

/// Where the walk is: what is certainly, and what is perhaps set.
#[derive(Clone, Default)]
struct State {
    surely: HashSet<String>,
    perhaps: HashSet<String>,
    /// In a loop or a function: what comes later may have come before.
    again: bool,
}

struct Walk<'a> {
    order: Order,
    functions: HashMap<&'a str, &'a [Item]>,
    calls: usize,
    /// Functions that are being walked.
    inside: Vec<&'a str>,
}

impl Order {
    pub(super) fn of(script: &Script) -> Self {
        let mut walk = Walk {
            order: Self::default(),
            functions: HashMap::new(),
            calls: CALLS,
            inside: Vec::new(),
        };
        walk.items(&script.items, &mut State::default());
        walk.order
    }

    /// Does the script take its first value from outside?
    pub(crate) fn is_from_outside(&self, name: &str) -> bool {
        self.outside.contains(name) && self.set.contains(name)
    }

    /// May it be read where no line has set it?
    pub(crate) fn starts_empty(&self, name: &str) -> bool {
        self.empty.contains(name) && self.set.contains(name)
    }

    /// Does it come from outside, and can it still be that value when some line has set it?
    pub(crate) fn is_set_at_begin(&self, name: &str) -> bool {
        self.is_from_outside(name) && self.empty.contains(name)
    }

    /// Is it set before anything reads it?
    pub(crate) fn is_set_first(&self, name: &str) -> bool {
        self.set.contains(name) && !self.outside.contains(name) && !self.empty.contains(name)
    }

    /// Takes over what is known of another script that is printed into the same function.
    pub(super) fn join(&mut self, other: Self) {
        self.set.extend(other.set);
        self.outside.extend(other.outside);
        self.empty.extend(other.empty);
    }

    /// Those that are set at the begin, in a fixed order.
    pub(super) fn at_begin(&self) -> Vec<&String> {
        let mut names: Vec<&String> = self
            .outside
            .iter()
            .filter(|name| self.is_set_at_begin(name))
            .collect();
        names.sort();
        names
    }
}

impl<'a> Walk<'a> {
    fn items(&mut self, items: &'a [Item], state: &mut State) {
        for item in items {
            self.commands(&item.first.commands, state);
            for (_, pipeline) in &item.rest {
                let mut maybe = state.clone();
                self.commands(&pipeline.commands, &mut maybe);
                state.perhaps.extend(maybe.perhaps);
            }
        }
    }

    fn commands(&mut self, commands: &'a [Command], state: &mut State) {
        for command in commands {
            self.command(command, state);
        }
    }

    /// A part that runs or does not.
    fn branch(&mut self, items: &'a [Item], state: &State) -> State {
        let mut branch = state.clone();
        self.items(items, &mut branch);
        branch
    }

    /// After parts of which exactly one has run.
    fn join(state: &mut State, branches: Vec<State>) {
        let Some(surely) = branches
            .iter()
            .map(|branch| branch.surely.clone())
            .reduce(|a, b| a.intersection(&b).cloned().collect())
        else {
            return;
        };
        state.surely = surely;
        for branch in branches {
            state.perhaps.extend(branch.perhaps);
        }
    }

    fn command(&mut self, command: &'a Command, state: &mut State) {
        redirect::words(&command.redirects).for_each(|word| self.word(word, state));
        match &command.kind {
            Kind::Simple { assigns, words } => self.simple(assigns, words, state),
            Kind::If { arms, otherwise } => {
                let mut branches = Vec::new();
                for (condition, body) in arms {
                    self.items(condition, state);
                    branches.push(self.branch(body, state));
                }
                branches.push(self.branch(otherwise, state));
                let bodies = arms.iter().map(|(_, body)| body.as_slice());
                Self::join(state, ended(bodies.chain([otherwise.as_slice()]), branches));
            }
            Kind::For { name, words, body } => {
                for word in words.iter().flatten() {
                    self.word(word, state);
                }
                let mut inside = State {
                    again: true,
                    ..state.clone()
                };
                inside.surely.insert(name.clone());
                inside.perhaps.insert(name.clone());
                self.order.set.insert(name.clone());
                self.items(body, &mut inside);
                state.perhaps.extend(inside.perhaps);
            }
            Kind::While {
                condition, body, ..
            } => {
                let mut inside = State {
                    again: true,
                    ..state.clone()
                };
                self.items(condition, &mut inside);
                state.surely.extend(inside.surely.iter().cloned());
                self.items(body, &mut inside);
                state.perhaps.extend(inside.perhaps);
            }
            Kind::Case { word, arms } => {
                self.word(word, state);
                let branches = arms
                    .iter()
                    .map(|(patterns, body)| {
                        for word in patterns {
                            self.word(word, state);
                        }
                        self.branch(body, state)
                    })
                    .collect();
                let mut branches = ended(arms.iter().map(|(_, body)| body.as_slice()), branches);
                let all = arms
                    .iter()
                    .any(|(patterns, _)| patterns.iter().any(|word| word.is("*")));
                if !all {
                    branches.push(state.clone());
                }
                Self::join(state, branches);
            }
            Kind::Block { items, subshell } => {
                let mut inside = self.branch(items, state);
                if !subshell {
                    std::mem::swap(state, &mut inside);
                }
            }
            Kind::Function { name, body } => _ = self.functions.insert(name, body),
            Kind::Test(words) => words.iter().for_each(|word| self.word(word, state)),
            Kind::Arithmetic(text) => self.calculation(text, state),
            Kind::Sourced(sourced) => self.items(&sourced.script.items, state),
            Kind::Unread(_) => {}
        }
    }

    fn simple(&mut self, assigns: &'a [(String, Word)], words: &'a [Word], state: &mut State) {
        for (name, word) in assigns {
            self.word(word, state);
            if words.is_empty() {
                self.set(name, state);
            }
        }
        for word in words {
            self.word(word, state);
        }
        let Some(name) = words.first().and_then(Word::literal) else {
            return;
        };
        let rest = words.iter().skip(1);
        match name.as_str() {
            "export" | "readonly" | "declare" | "typeset" => {
                for (name, _) in rest.filter_map(split_assignment) {
                    self.set(&name, state);
                }
            }
            "local" => {
                for word in rest {
                    if let Some((name, _)) = split_assignment(word) {
                        self.set(&name, state);
                    } else if let Some(name) = word.literal() {
                        // Declared, it is empty until it is set.
                        self.set(&name, state);
                        state.surely.remove(&name);
                    }
                }
            }
            "unset" | "read" => {
                for name in rest.filter_map(Word::literal) {
                    self.set(&name, state);
                }
            }
            "let" => {
                for text in rest.filter_map(Word::literal) {
                    self.calculation(&text, state);
                }
            }
            name => self.call(name, state),
        }
    }

    fn call(&mut self, name: &str, state: &mut State) {
        let Some((name, body)) = self.functions.get_key_value(name).map(|(n, b)| (*n, *b)) else {
            return;
        };
        if self.inside.contains(&name) || self.calls == 0 {
            return;
        }
        self.calls -= 1;
        self.inside.push(name);
        let again = std::mem::replace(&mut state.again, true);
        self.items(body, state);
        state.again = again;
        self.inside.pop();
    }

    fn set(&mut self, name: &str, state: &mut State) {
        self.order.set.insert(name.to_owned());
        state.surely.insert(name.to_owned());
        state.perhaps.insert(name.to_owned());
    }

    fn read(&mut self, name: &str, state: &State) {
        if state.surely.contains(name) {
            return;
        }
        if !state.perhaps.contains(name) {
            self.order.outside.insert(name.to_owned());
        }
        if state.again || state.perhaps.contains(name) {
            self.order.empty.insert(name.to_owned());
        }
    }

    fn word(&mut self, word: &'a Word, state: &mut State) {
        for piece in &word.0 {
            match piece {
                Piece::Text { .. } => {}
                Piece::Param { name, op, .. } => {
                    self.read(name, state);
                    if let Some((op, word)) = op {
                        self.word(word, state);
                        if matches!(op.as_str(), ":=" | "=") {
                            self.set(name, state);
                        }
                    }
                }
                // A shell of its own: what it sets is gone afterwards.
                Piece::Command { items, .. } => _ = self.branch(items, state),
                Piece::Arithmetic(text) => self.arithmetic(text, state),
            }
        }
    }

    /// `(( ... ))` and `let`, which may set variables.
    fn calculation(&mut self, text: &str, state: &mut State) {
        match calculate::assignments(text) {
            None => self.arithmetic(text, state),
            Some(all) => {
                for (name, value) in all {
                    self.arithmetic(&value, state);
                    self.set(&name, state);
                }
            }
        }
    }

    fn arithmetic(&mut self, text: &str, state: &State) {
        let names = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for name in names.filter(|name| name.starts_with(|c: char| c.is_alphabetic() || c == '_')) {
            self.read(name, state);
        }
    }
}

/// Without the branches that end the script: nothing follows them.
fn ended<'a>(bodies: impl Iterator<Item = &'a [Item]>, branches: Vec<State>) -> Vec<State> {
    let going = bodies.map(|body| !ends(body));
    let kept: Vec<State> = branches
        .iter()
        .zip(going)
        .filter(|(_, going)| *going)
        .map(|(branch, _)| branch.clone())
        .collect();
    if kept.is_empty() { branches } else { kept }
}

fn ends(body: &[Item]) -> bool {
    let Some([command]) = body.last().map(|item| item.first.commands.as_slice()) else {
        return false;
    };
    matches!(&command.kind, Kind::Simple { words, .. } if words.first().is_some_and(|word| word.is("exit")))
}
