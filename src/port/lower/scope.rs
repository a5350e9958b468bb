//! What the variables and functions of a script are, found before it is translated.

use std::collections::HashMap;
use std::fs;

use super::super::Settings;
use super::super::ir::Expr;
use super::super::shell::{self, Command, Item, Kind, Piece, Script, Word};
use super::compound::split_assignment;
use super::redirect;

/// How many texts a value may be before it counts as unknown.
const VALUES: usize = 64;

/// How far variables may depend on each other.
const DEPTH: usize = 12;

/// A function of the script.
#[derive(Debug, Clone, Default)]
pub(crate) struct Function {
    /// How many arguments it looks at.
    pub(crate) params: usize,
    /// Does it end with `return`?
    pub(crate) returns: bool,
}

/// A text that a variable may be given.
#[derive(Debug, Clone)]
struct Possible {
    word: Word,
    function: Option<String>,
    shifted: usize,
    split: bool,
}

/// The texts that a value may be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    /// Those that are known.
    pub(crate) known: Vec<String>,
    /// Are these all?
    pub(crate) complete: bool,
}

impl Values {
    fn unknown() -> Self {
        Self::default()
    }

    fn one(text: impl Into<String>) -> Self {
        Self {
            known: vec![text.into()],
            complete: true,
        }
    }

    fn or_unknown(text: Option<&String>) -> Self {
        text.map_or_else(Self::unknown, Self::one)
    }

    fn union(mut self, other: Self) -> Self {
        self.complete &= other.complete;
        for text in other.known {
            if !self.known.contains(&text) {
                self.known.push(text);
            }
        }
        if self.known.len() > VALUES {
            self.complete = false;
            self.known.truncate(VALUES);
        }
        self
    }

    fn product(self, other: &Self) -> Self {
        let pairs = self
            .known
            .iter()
            .flat_map(|a| other.known.iter().map(move |b| format!("{a}{b}")));
        let known: Vec<String> = pairs.take(VALUES + 1).collect();
        let complete = self.complete && other.complete && known.len() <= VALUES;
        Self { known, complete }
    }
}

/// The variables and functions of one script.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    assigned: HashMap<String, Vec<Possible>>,
    functions: super::Functions,
    sourced: HashMap<String, Vec<(String, Word)>>,
    /// What the script is called with.
    arguments: Vec<Expr>,
}

/// Where the collecting is.
#[derive(Clone, Default)]
struct Place {
    function: Option<String>,
    shifted: usize,
}

impl Scope {
    /// Of a script.
    pub(super) fn of(script: &Script, arguments: &[Expr], settings: &Settings) -> Self {
        let mut scope = Self {
            arguments: arguments.to_vec(),
            ..Self::default()
        };
        scope.collect(&script.items, &mut Place::default(), settings);
        let calls = std::mem::take(&mut scope.assigned);
        // Again, now that the functions are known: calls give their arguments.
        scope.sourced.clear();
        drop(calls);
        scope.collect(&script.items, &mut Place::default(), settings);
        scope
    }

    fn collect(&mut self, items: &[Item], place: &mut Place, settings: &Settings) {
        for item in items {
            let pipelines =
                std::iter::once(&item.first).chain(item.rest.iter().map(|(_, pipeline)| pipeline));
            for command in pipelines.flat_map(|pipeline| &pipeline.commands) {
                self.collect_command(command, place, settings);
            }
        }
    }

    fn collect_command(&mut self, command: &Command, place: &mut Place, settings: &Settings) {
        redirect::words(&command.redirects).for_each(|word| self.look_at(word, place));
        match &command.kind {
            Kind::Simple { assigns, words } => self.collect_simple(assigns, words, place, settings),
            Kind::If { arms, otherwise } => {
                for (condition, body) in arms {
                    self.collect(condition, place, settings);
                    self.collect(body, place, settings);
                }
                self.collect(otherwise, place, settings);
            }
            Kind::For { name, words, body } => {
                for word in words.iter().flatten() {
                    self.look_at(word, place);
                    self.assign(name, word, place, true);
                }
                self.collect(body, place, settings);
            }
            Kind::While {
                condition, body, ..
            } => {
                self.collect(condition, place, settings);
                self.collect(body, place, settings);
            }
            Kind::Case { word, arms } => {
                self.look_at(word, place);
                for (_, body) in arms {
                    self.collect(body, place, settings);
                }
            }
            Kind::Block { items, .. } => self.collect(items, place, settings),
            Kind::Function { name, body } => {
                self.functions.entry(name.clone()).or_default().returns = ends_with_return(body);
                self.collect(
                    body,
                    &mut Place {
                        function: Some(name.clone()),
                        shifted: 0,
                    },
                    settings,
                );
            }
            Kind::Test(words) => words.iter().for_each(|word| self.look_at(word, place)),
            Kind::Arithmetic => {}
        }
    }

    fn collect_simple(
        &mut self,
        assigns: &[(String, Word)],
        words: &[Word],
        place: &mut Place,
        settings: &Settings,
    ) {
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
            "export" | "local" | "readonly" => {
                for (name, word) in words.iter().skip(1).filter_map(split_assignment) {
                    self.assign(&name, &word, place, false);
                }
            }
            "shift" => {
                place.shifted += words
                    .get(1)
                    .and_then(Word::literal)
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(1);
            }
            "." | "source" => self.source(words.get(1), place, settings),
            name if self.functions.contains_key(name) => {
                for (index, word) in words.iter().skip(1).enumerate() {
                    self.assign(&format!("{name}:{}", index + 1), word, place, false);
                }
            }
            _ => {}
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

    /// Which of its arguments a function looks at.
    fn look_at(&mut self, word: &Word, place: &Place) {
        let Some(function) = &place.function else {
            return;
        };
        for piece in &word.0 {
            match piece {
                Piece::Param { name, op, .. } => {
                    if let Ok(number) = name.parse::<usize>()
                        && let Some(known) = self.functions.get_mut(function)
                    {
                        known.params = known.params.max(number + place.shifted);
                    }
                    if let Some((_, word)) = op {
                        self.look_at(word, place);
                    }
                }
                Piece::Command { items, .. } => {
                    for command in items.iter().flat_map(|item| &item.first.commands) {
                        if let Kind::Simple { words, .. } = &command.kind {
                            for word in words {
                                self.look_at(word, place);
                            }
                        }
                    }
                }
                Piece::Text { .. } | Piece::Arithmetic(_) => {}
            }
        }
    }

    /// Takes over the variables of a file that is read with `.`, if there is nothing else in it.
    fn source(&mut self, word: Option<&Word>, place: &Place, settings: &Settings) {
        let values = word.map(|word| {
            self.word_values(word, place.function.as_deref(), place.shifted, settings, 0)
        });
        let Some(Values {
            known,
            complete: true,
        }) = values
        else {
            return;
        };
        let [path] = known.as_slice() else { return };
        let Ok(text) = fs::read_to_string(settings.directory.join(path)) else {
            return;
        };
        let Ok(script) = shell::parse(&text) else {
            return;
        };
        let mut found = Vec::new();
        for item in &script.items {
            let [
                Command {
                    kind: Kind::Simple { assigns, words },
                    ..
                },
            ] = item.first.commands.as_slice()
            else {
                return;
            };
            let exported = words.first().is_some_and(|word| word.is("export"));
            if !item.rest.is_empty() || !(words.is_empty() || exported) {
                return;
            }
            found.extend(assigns.iter().cloned());
            found.extend(words.iter().skip(1).filter_map(split_assignment));
        }
        for (name, word) in &found {
            self.assign(name, word, &Place::default(), false);
        }
        self.sourced.insert(path.clone(), found);
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
            known.returns |= function.returns;
        }
        self.sourced.extend(other.sourced);
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

    /// How many arguments are left after these.
    pub(super) fn arguments_after(&self, shifted: usize) -> usize {
        self.arguments.len().saturating_sub(shifted)
    }

    /// Does the script have functions?
    pub(crate) fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// The variables of a file that was read.
    pub(super) fn sourced(&self, path: &str) -> Option<&Vec<(String, Word)>> {
        self.sourced.get(path)
    }

    /// Does the script set this variable?
    pub(super) fn sets(&self, name: &str) -> bool {
        self.assigned.contains_key(name)
    }

    /// How often it does.
    pub(crate) fn times_set(&self, name: &str) -> usize {
        self.assigned.get(name).map_or(0, Vec::len)
    }

    /// The one text that the value can be.
    pub(crate) fn constant(&self, value: &Expr, settings: &Settings) -> Option<String> {
        let values = self.values(value, settings);
        match values.known.as_slice() {
            [text] if values.complete => Some(text.clone()),
            _ => None,
        }
    }

    /// The texts that the value may be.
    pub(crate) fn values(&self, value: &Expr, settings: &Settings) -> Values {
        match value {
            Expr::Text(text) => Values::one(text),
            Expr::Dev => Values::or_unknown(settings.interface.as_ref()),
            Expr::Vip => Values::or_unknown(settings.address.as_ref()),
            Expr::Xparam => Values::or_unknown(settings.xparam.as_ref()),
            Expr::Given(words) => Values {
                known: words.clone(),
                complete: true,
            },
            Expr::Outside(name) => Values::or_unknown(settings.configured(name)),
            Expr::Var(name) => self.variable(name, settings, 0),
            Expr::Arg(function, number) => {
                self.variable(&format!("{function}:{number}"), settings, 0)
            }
            Expr::Join(parts) => parts.iter().fold(Values::one(""), |all, part| {
                all.product(&self.values(part, settings))
            }),
            Expr::Or(a, b) => self.values(a, settings).union(self.values(b, settings)),
            Expr::Call("default", parts) => {
                let values = parts.iter().map(|part| self.values(part, settings));
                let mut values = values.reduce(Values::union).unwrap_or_default();
                values.known.retain(|text| !text.is_empty());
                values
            }
            Expr::Cidr | Expr::Status | Expr::Call(..) | Expr::Lua(_) | Expr::Output(_) => {
                Values::unknown()
            }
        }
    }

    fn variable(&self, name: &str, settings: &Settings, depth: usize) -> Values {
        let Some(possible) = self.assigned.get(name).filter(|_| depth < DEPTH) else {
            return Values::unknown();
        };
        let one = |p: &Possible| {
            let values = self.word_values(
                &p.word,
                p.function.as_deref(),
                p.shifted,
                settings,
                depth + 1,
            );
            if !p.split {
                return values;
            }
            let known = values
                .known
                .iter()
                .flat_map(|text| text.split_whitespace())
                .map(str::to_owned)
                .collect();
            Values {
                known,
                complete: values.complete,
            }
        };
        possible
            .iter()
            .map(one)
            .reduce(Values::union)
            .unwrap_or_default()
    }

    fn word_values(
        &self,
        word: &Word,
        function: Option<&str>,
        shifted: usize,
        settings: &Settings,
        depth: usize,
    ) -> Values {
        let piece_values = |piece: &Piece| match piece {
            Piece::Text { text, .. } => Values::one(text),
            Piece::Param { name, op, .. } => {
                let values = self.parameter(name, function, shifted, settings, depth);
                match op {
                    None => values,
                    Some((op, word)) if matches!(op.as_str(), ":-" | ":=" | "-" | "=") => {
                        let other = self.word_values(word, function, shifted, settings, depth + 1);
                        if self.sets(name) || name.parse::<usize>().is_ok() {
                            let mut all = values.union(other);
                            all.known.retain(|text| !text.is_empty());
                            all
                        } else {
                            Values {
                                complete: false,
                                ..other
                            }
                        }
                    }
                    Some(_) => Values::unknown(),
                }
            }
            Piece::Command { items, .. } => {
                located(items).map_or_else(Values::unknown, Values::one)
            }
            Piece::Arithmetic(_) => Values::unknown(),
        };
        if depth > DEPTH {
            return Values::unknown();
        }
        word.0.iter().fold(Values::one(""), |all, piece| {
            all.product(&piece_values(piece))
        })
    }

    fn parameter(
        &self,
        name: &str,
        function: Option<&str>,
        shifted: usize,
        settings: &Settings,
        depth: usize,
    ) -> Values {
        match (name.parse::<usize>(), function) {
            (Ok(0), _) => Values::one(&settings.script),
            (Ok(number), Some(function)) => self.variable(
                &format!("{function}:{}", number + shifted),
                settings,
                depth + 1,
            ),
            (Ok(number), None) => self
                .argument(number + shifted)
                .map_or_else(Values::unknown, |value| self.values(value, settings)),
            (Err(_), _) => self.variable(name, settings, depth + 1),
        }
    }
}

/// `$(which ip)`, `$(command -v ip)`: the program by its name.
pub(super) fn located(items: &[Item]) -> Option<String> {
    let [item] = items else { return None };
    let ([command], true) = (item.first.commands.as_slice(), item.rest.is_empty()) else {
        return None;
    };
    let Kind::Simple { words, .. } = &command.kind else {
        return None;
    };
    let words: Vec<String> = words.iter().map(Word::literal).collect::<Option<_>>()?;
    match words
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["which" | "/usr/bin/which", program]
        | ["command", "-v", program]
        | ["type", "-p", program] => Some((*program).to_owned()),
        _ => None,
    }
}

fn ends_with_return(body: &[Item]) -> bool {
    body.last().is_some_and(|item| {
        item.rest.is_empty()
            && matches!(item.first.commands.as_slice(), [Command { kind: Kind::Simple { words, .. }, .. }]
                if words.first().is_some_and(|word| word.is("return")) && words.len() > 1)
    })
}
