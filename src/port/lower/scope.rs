//! What the variables and functions of a script are, found before it is translated.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use super::super::ir::Expr;
use super::super::shell::{Command, Item, Kind, Piece, Script, Word};
use super::compound::split_assignment;
use super::order::Order;
use super::{calculate, reading, redirect};

/// How many arguments a function looks at by number.
const PARAMS_MAX: usize = 9;

/// A function of the script.
#[derive(Debug, Clone, Default)]
pub(crate) struct Function {
    /// How many arguments it looks at.
    pub(crate) params: usize,
    /// Does it look at all of them, or at their number?
    pub(crate) all: bool,
    /// May it end with the failure of something that `set -e` goes past?
    pub(crate) ends_open: bool,
    /// Names that it declares as its own.
    pub(crate) locals: Vec<String>,
}

/// A text that a variable may be given.
#[derive(Debug, Clone)]
pub(super) struct Possible {
    pub(super) word: Word,
    pub(super) function: Option<String>,
    pub(super) shifted: usize,
    /// One of the words that it is split into.
    pub(super) split: bool,
}

/// The variables and functions of one script.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(super) assigned: HashMap<String, Vec<Possible>>,
    functions: HashMap<String, Function>,
    /// What each function reads.
    reads: HashMap<String, HashSet<String>>,
    /// What each function calls.
    calls: HashMap<String, HashSet<String>>,
    /// In which order they are set and read.
    pub(super) order: Order,
    /// The script's own path, its `$0`.
    pub(super) script: String,
    /// What it is written for.
    shell: Shell,
    /// What the script is called with.
    arguments: Vec<Expr>,
    /// How many variables may still be looked up for the value at hand.
    pub(super) lookups: Cell<usize>,
}

/// The shell that a script's first line names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Shell {
    /// `sh`, or none: dash, bash or busybox, depending on the system.
    #[default]
    Some,
    /// The one of Debian's `/bin/sh`, by its own name.
    Dash,
    /// bash.
    Bash,
    /// Another that is told by its name.
    Other,
}

impl Shell {
    /// By the script's first line.
    pub(super) fn of(first: &str) -> Self {
        let Some(line) = first.strip_prefix("#!") else {
            return Self::Some;
        };
        let mut words = line.split_whitespace().map(|word| word.rsplit('/').next());
        let named = words.find(|name| {
            !name.is_some_and(|name| matches!(name, "env" | "busybox") || name.starts_with('-'))
        });
        match named.flatten() {
            Some("dash") => Self::Dash,
            Some("bash") => Self::Bash,
            Some("sh") if line.contains("busybox") => Self::Other,
            Some("ash" | "ksh" | "ksh93" | "mksh" | "zsh") => Self::Other,
            _ => Self::Some,
        }
    }
}

/// What is known of a script besides its text.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    /// Its path.
    pub(super) path: &'a str,
    /// What it is written for.
    pub(super) shell: Shell,
    /// What it is called with.
    pub(super) arguments: &'a [Expr],
}

/// Where the collecting is.
#[derive(Clone, Default)]
struct Place {
    function: Option<String>,
    shifted: usize,
}

impl Scope {
    /// Of a script.
    pub(super) fn of(script: &Script, about: &About<'_>) -> Self {
        let mut scope = Self {
            script: about.path.to_owned(),
            shell: about.shell,
            arguments: about.arguments.to_vec(),
            ..Self::default()
        };
        // Twice: only when the functions are known, calls give their arguments.
        for _ in 0..2 {
            scope.assigned.clear();
            scope.collect(&script.items, &mut Place::default());
        }
        scope.order = Order::of(script);
        scope
    }

    fn collect(&mut self, items: &[Item], place: &mut Place) {
        for item in items {
            let pipelines =
                std::iter::once(&item.first).chain(item.rest.iter().map(|(_, pipeline)| pipeline));
            for command in pipelines.flat_map(|pipeline| &pipeline.commands) {
                self.collect_command(command, place);
            }
        }
    }

    fn collect_command(&mut self, command: &Command, place: &mut Place) {
        redirect::words(&command.redirects).for_each(|word| self.look_at(word, place));
        match &command.kind {
            Kind::Simple { assigns, words } => self.collect_simple(assigns, words, place),
            Kind::For { name, words, body } => {
                for word in words.iter().flatten() {
                    self.look_at(word, place);
                    self.assign(name, word, place, true);
                }
                if words.is_none() {
                    self.assign(name, &all_arguments(), place, true);
                    self.look_at(&all_arguments(), place);
                }
                self.collect(body, place);
            }
            Kind::Case { word, arms } => {
                self.look_at(word, place);
                for (_, body) in arms {
                    self.collect(body, place);
                }
            }
            Kind::Function { name, body } => {
                self.functions.entry(name.clone()).or_default().ends_open = ends_open(body);
                self.collect(
                    body,
                    &mut Place {
                        function: Some(name.clone()),
                        shifted: 0,
                    },
                );
            }
            Kind::Test(words) => words.iter().for_each(|word| self.look_at(word, place)),
            Kind::Sourced(sourced) => self.collect(&sourced.script.items, place),
            Kind::If { .. } | Kind::While { .. } | Kind::Block { .. } => {
                let known = reading::known(command);
                for (name, texts) in known.iter().flatten() {
                    for text in texts {
                        self.assign(name, &quoted_word(text), place, false);
                    }
                }
                let lists = command.kind.lists();
                for list in lists.into_iter().skip(usize::from(known.is_some())) {
                    self.collect(list, place);
                }
            }
            Kind::Arithmetic(text) => self.collect_calculations(text, place),
            Kind::Unread(_) => {}
        }
    }

    fn collect_simple(&mut self, assigns: &[(String, Word)], words: &[Word], place: &mut Place) {
        for (name, word) in assigns {
            self.look_at(word, place);
            self.assign(name, word, place, false);
        }
        for word in words {
            self.look_at(word, place);
        }
        let Some(name) = words.first().and_then(Word::literal) else {
            return;
        };
        match name.as_str() {
            "export" | "local" | "readonly" | "declare" | "typeset" => {
                for word in words.iter().skip(1) {
                    let assigned = split_assignment(word);
                    let declared = match &assigned {
                        Some((name, _)) => Some(name.clone()),
                        None => word.literal().filter(|word| !word.starts_with('-')),
                    };
                    let own = name == "local";
                    if let (true, Some(declared), Some(function)) = (own, declared, &place.function)
                        && let Some(function) = self.functions.get_mut(function)
                        && !function.locals.contains(&declared)
                    {
                        function.locals.push(declared);
                    }
                    match assigned {
                        Some((name, value)) => self.assign(&name, &value, place, false),
                        // Where it is read before it is set, it is empty: the order tells.
                        None if own => {
                            if let Some(name) = word.literal() {
                                self.assigned.entry(name).or_default();
                            }
                        }
                        None => {}
                    }
                }
            }
            "unset" => {
                for name in words.iter().skip(1).filter_map(Word::literal) {
                    self.assign(&name, &Word::default(), place, false);
                }
            }
            "let" => {
                for text in words.iter().skip(1).filter_map(Word::literal) {
                    self.collect_calculations(&text, place);
                }
            }
            "read" | "getopts" | "mapfile" | "readarray" => {
                for name in set_by(&name, words) {
                    let unknown = Word(vec![Piece::Arithmetic(String::new())]);
                    self.assign(&name, &unknown, place, false);
                }
            }
            "shift" => {
                place.shifted += words
                    .get(1)
                    .and_then(Word::literal)
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(1);
            }
            name if self.functions.contains_key(name) => {
                if let Some(caller) = &place.function {
                    let calls = self.calls.entry(caller.clone()).or_default();
                    calls.insert(name.to_owned());
                }
                let given = self.given_on(words.get(1..).unwrap_or_default(), place);
                for (index, word) in given.iter().enumerate() {
                    self.assign(&format!("{name}:{}", index + 1), word, place, false);
                }
                // What a call leaves out is empty.
                let params = self.functions.get(name).map_or(0, |f| f.params);
                for index in given.len() + 1..=params {
                    self.assign(&format!("{name}:{index}"), &Word::default(), place, false);
                }
            }
            _ => {}
        }
    }

    /// The arguments of a call, with the script's own in place of `"$@"`.
    fn given_on(&self, words: &[Word], place: &Place) -> Vec<Word> {
        let is_all = |word: &Word| matches!(word.0.as_slice(), [Piece::Param { name, op: None, .. }] if name == "@" || name == "*");
        let mut given = Vec::new();
        for word in words {
            if !is_all(word) {
                given.push(word.clone());
            } else if place.function.is_some() {
                // Those of another call: any number, and anything.
                let unknown = Word(vec![Piece::Arithmetic(String::new())]);
                given.extend(std::iter::repeat_n(unknown, PARAMS_MAX));
            } else {
                let own = place.shifted + 1..=self.arguments.len();
                given.extend(own.map(|number| {
                    Word(vec![Piece::Param {
                        name: (number - place.shifted).to_string(),
                        op: None,
                        quoted: true,
                    }])
                }));
            }
        }
        given
    }

    /// `(( NAME = VALUE ))`.
    fn collect_calculations(&mut self, text: &str, place: &Place) {
        for (name, value) in calculate::assignments(text).into_iter().flatten() {
            self.assign(&name, &Word(vec![Piece::Arithmetic(value)]), place, false);
        }
    }

    fn assign(&mut self, name: &str, word: &Word, place: &Place, split: bool) {
        let possible = Possible {
            word: word.clone(),
            function: place.function.clone(),
            shifted: place.shifted,
            split,
        };
        self.assigned
            .entry(name.to_owned())
            .or_default()
            .push(possible);
    }

    /// Which of its arguments a function looks at, and what `${X:=...}` sets.
    fn look_at(&mut self, word: &Word, place: &Place) {
        for piece in &word.0 {
            match piece {
                Piece::Param { name, op, .. } => {
                    let function = place.function.as_ref();
                    if let Some(function) = function {
                        let reads = self.reads.entry(function.clone()).or_default();
                        reads.insert(name.clone());
                    }
                    if let Some(known) = function.and_then(|f| self.functions.get_mut(f)) {
                        if let Ok(number) = name.parse::<usize>() {
                            known.params = known.params.max(number + place.shifted);
                        }
                        known.all |= matches!(name.as_str(), "@" | "*" | "#");
                    }
                    if let Some((op, word)) = op {
                        self.look_at(word, place);
                        if matches!(op.as_str(), ":=" | "=") {
                            self.assign(name, word, place, false);
                        }
                    }
                }
                Piece::Command { items, .. } => {
                    for command in items.iter().flat_map(|item| &item.first.commands) {
                        redirect::words(&command.redirects)
                            .for_each(|word| self.look_at(word, place));
                        if let Kind::Simple { words, .. } = &command.kind {
                            for word in words {
                                self.look_at(word, place);
                            }
                        }
                    }
                }
                Piece::Arithmetic(text) => {
                    if let Some(function) = &place.function {
                        let names = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                        let reads = self.reads.entry(function.clone()).or_default();
                        reads.extend(names.map(str::to_owned));
                    }
                }
                Piece::Text { .. } => {}
            }
        }
    }

    /// Has the script functions?
    pub(super) fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// A function of the script.
    pub(crate) fn function(&self, name: &str) -> Option<&Function> {
        self.functions.get(name)
    }

    /// Takes over what is known of another script that is printed into the same function.
    pub(crate) fn join(&mut self, other: Self) {
        for (name, values) in other.assigned {
            self.assigned.entry(name).or_default().extend(values);
        }
        for (name, function) in other.functions {
            let known = self.functions.entry(name).or_default();
            known.params = known.params.max(function.params);
            known.all |= function.all;
        }
        self.order.join(other.order);
        for (mine, theirs) in self.arguments.iter_mut().zip(other.arguments) {
            if let (Expr::Given(words), Expr::Given(more)) = (mine, theirs) {
                words.extend(more);
            }
        }
    }

    /// What the script is called with, by number from 1.
    pub(super) fn argument(&self, number: usize) -> Option<&Expr> {
        self.arguments.get(number.checked_sub(1)?)
    }

    /// Is it called with interface, address and xparam?
    pub(super) fn is_of_ucarp(&self) -> bool {
        self.arguments.first() == Some(&Expr::Dev)
    }

    /// How many arguments are left after these.
    pub(super) fn arguments_after(&self, shifted: usize) -> usize {
        self.arguments.len().saturating_sub(shifted)
    }

    /// In which order variables are set and read.
    pub(super) const fn order(&self) -> &Order {
        &self.order
    }

    /// Is it a script for bash?
    pub(super) fn is_bash(&self) -> bool {
        self.shell == Shell::Bash
    }

    /// What it is written for.
    pub(crate) const fn shell(&self) -> Shell {
        self.shell
    }

    /// The script's own path.
    pub(super) fn path(&self) -> &str {
        &self.script
    }

    /// Does the script set this variable?
    pub(super) fn sets(&self, name: &str) -> bool {
        self.assigned.contains_key(name)
    }

    /// Is this variable set by one line, which no call comes to again?
    pub(super) fn is_set_once(&self, name: &str) -> bool {
        let all = self.assigned.get(name).map(Vec::as_slice);
        matches!(all, Some([one]) if one.function.is_none())
    }

    /// A name for `$1`, `$2` or `$3` and nothing else, set once before anything reads it.
    pub(crate) fn alias(&self, name: &str) -> Option<Expr> {
        let [possible] = self.assigned.get(name)?.as_slice() else {
            return None;
        };
        let plain = possible.function.is_none() && !possible.split && self.order.is_set_first(name);
        let [
            Piece::Param {
                name: number,
                op: None,
                ..
            },
        ] = possible.word.0.as_slice()
        else {
            return None;
        };
        let number = number.parse::<usize>().ok().filter(|n| *n > 0 && plain)?;
        self.argument(number + possible.shifted).cloned()
    }

    /// Is every value of this variable a whole number, so that it may be one in Lua?
    pub(crate) fn is_number(&self, name: &str) -> bool {
        let counts = |word: &Word| match word.0.as_slice() {
            [Piece::Arithmetic(_)] => true,
            [Piece::Param { name, op: None, .. }] => name == "?",
            _ => false,
        };
        let number = |possible: &Possible| match possible.word.0.as_slice() {
            [Piece::Arithmetic(text)] => !text.trim().is_empty(),
            [Piece::Param { name, op: None, .. }] => name == "?" && !possible.split,
            [Piece::Text { text, .. }] => {
                text.parse::<i64>().is_ok_and(|n| n.to_string() == *text) && !possible.split
            }
            _ => false,
        };
        self.order.is_set_first(name)
            && self.assigned.get(name).is_some_and(|all| {
                all.iter().all(number) && all.iter().any(|possible| counts(&possible.word))
            })
    }

    /// Does a function declare variables as its own that one which it calls reads or sets? Shells
    /// show them to whatever is called, Lua does not.
    pub(super) fn shares_locals(&self, function: &str) -> bool {
        let Some(own) = self.functions.get(function) else {
            return false;
        };
        let uses = |name: &str, local: &String| {
            let sets = |possible: &Possible| possible.function.as_deref() == Some(name);
            self.reads.get(name).is_some_and(|all| all.contains(local))
                || self
                    .assigned
                    .get(local)
                    .is_some_and(|all| all.iter().any(sets))
        };
        self.called_by(function).iter().any(|name| {
            let other = self.functions.get(name);
            let declares = |local| other.is_some_and(|other| other.locals.contains(local));
            own.locals
                .iter()
                .any(|local| uses(name, local) && !declares(local))
        })
    }

    /// The functions that this one calls in the end, without itself.
    fn called_by(&self, function: &str) -> HashSet<String> {
        let mut found = HashSet::new();
        let mut left = vec![function.to_owned()];
        while let Some(name) = left.pop() {
            for callee in self.calls.get(&name).into_iter().flatten() {
                if callee != function && found.insert(callee.clone()) {
                    left.push(callee.clone());
                }
            }
        }
        found
    }
}

/// Does a list end with `A && B`, of which A may fail, or with `! A`?
fn ends_open(items: &[Item]) -> bool {
    let Some(item) = items.last() else {
        return false;
    };
    if let Some((and, _)) = item.rest.last() {
        return *and;
    }
    match item.first.commands.as_slice() {
        _ if item.first.negated => true,
        [command] => match &command.kind {
            Kind::If { arms, otherwise } => {
                let mut bodies = arms.iter().map(|(_, body)| body);
                bodies.any(|body| ends_open(body)) || ends_open(otherwise)
            }
            Kind::While { body, .. } | Kind::For { body, .. } => ends_open(body),
            Kind::Case { arms, .. } => arms.iter().any(|(_, body)| ends_open(body)),
            Kind::Block { items, .. } => ends_open(items),
            _ => false,
        },
        _ => false,
    }
}

fn quoted_word(text: &str) -> Word {
    Word(vec![Piece::Text {
        text: text.to_owned(),
        quoted: true,
    }])
}

/// `"$@"`.
fn all_arguments() -> Word {
    Word(vec![Piece::Param {
        name: "@".into(),
        op: None,
        quoted: true,
    }])
}

/// The variables that a builtin sets to what is not known here.
fn set_by(builtin: &str, words: &[Word]) -> Vec<String> {
    let mut names: Vec<String> = words.iter().skip(1).filter_map(Word::literal).collect();
    if builtin == "getopts" {
        names = names.into_iter().skip(1).take(1).collect();
        names.extend(["OPTARG".to_owned(), "OPTIND".to_owned()]);
    }
    names
}
