//! What is no shell script of the caller's: other languages, templates, empty files, scripts of
//! init, and notify scripts of keepalived where ucarp's were expected.

use super::shell::{Command, Item, Kind, Piece, Script, Word};

/// keepalived's words for states.
const STATES: [&str; 4] = ["MASTER", "BACKUP", "FAULT", "STOP"];

/// Interpreters of shell scripts that are read here.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "busybox"];

/// What a file is, if it is no shell script, and the line that shows it.
pub(super) fn other(text: &str) -> Option<(usize, String)> {
    if text.trim().is_empty() {
        return Some((0, "it is empty".to_owned()));
    }
    if text.contains('\0') {
        return Some((0, "it is a program, not a script".to_owned()));
    }
    language(text).or_else(|| template(text))
}

fn language(text: &str) -> Option<(usize, String)> {
    let first = text.lines().next().unwrap_or_default();
    let Some(interpreter) = first.strip_prefix("#!") else {
        return by_content(text);
    };
    let mut words = interpreter
        .split_whitespace()
        .map(|word| word.rsplit('/').next().unwrap_or(word));
    let mut name = words.next()?;
    if name == "env" {
        name = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    }
    if SHELLS.contains(&name) {
        return None;
    }
    Some((
        1,
        format!("it is a script of {}, not of a shell", named(name)),
    ))
}

/// `python3.11` is Python.
fn named(interpreter: &str) -> String {
    let plain = interpreter.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    match plain {
        "python" | "pypy" => "Python".to_owned(),
        "perl" => "Perl".to_owned(),
        "ruby" => "Ruby".to_owned(),
        "php" => "PHP".to_owned(),
        "node" | "nodejs" => "JavaScript".to_owned(),
        _ => interpreter.to_owned(),
    }
}

/// Without a first line that says it.
fn by_content(text: &str) -> Option<(usize, String)> {
    let python = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["import", module, ..] => module
                .chars()
                .all(|c| c.is_alphanumeric() || "._,".contains(c)),
            ["from", _, "import", ..] => true,
            ["def", .., last] => last.ends_with(':'),
            _ => false,
        }
    };
    let perl = |line: &str| {
        let line = line.trim_end();
        line.ends_with(';')
            && ["use strict", "use warnings", "my $", "my @", "my %"]
                .iter()
                .any(|begin| line.starts_with(begin))
    };
    for (number, line) in (1..).zip(text.lines()) {
        if python(line) {
            return Some((
                number,
                "it is a script of Python, not of a shell".to_owned(),
            ));
        }
        if perl(line) {
            return Some((number, "it is a script of Perl, not of a shell".to_owned()));
        }
        if line.starts_with("<?php") {
            return Some((number, "it is a script of PHP, not of a shell".to_owned()));
        }
    }
    None
}

/// Jinja, ERB, `@VAR@`. A script that fills in a template itself has those signs in its `sed`.
fn template(text: &str) -> Option<(usize, String)> {
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.trim_start();
        let fills = ["sed ", "awk ", "perl ", "envsubst", "s/@", "s|@", "s#@"];
        if code.starts_with('#') && !code.starts_with("#}")
            || fills.iter().any(|program| line.contains(program))
        {
            continue;
        }
        let of = if is_jinja(line) {
            "Jinja"
        } else if line.contains("<%") && line.contains("%>") {
            "ERB"
        } else if has_placeholder(line) {
            "@NAME@"
        } else {
            continue;
        };
        return Some((
            number,
            format!("it is a template ({of}): port what is made of it"),
        ));
    }
    None
}

/// `{{ name }}` and `{% ... %}`; the formats of docker and its like begin with a dot.
fn is_jinja(line: &str) -> bool {
    let inside = |open: &str, close: &str| {
        let (_, rest) = line.split_once(open)?;
        Some(rest.split_once(close)?.0.trim_matches(['-', '+', ' ']))
    };
    let name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && !text.contains('.')
            || text
                .split_once('.')
                .is_some_and(|(first, _)| !first.is_empty() && !first.contains(' '))
    };
    inside("{%", "%}").is_some()
        || inside("{{", "}}").is_some_and(|text| name(text) && !line.contains("--format"))
}

/// `@NAME@`.
fn has_placeholder(line: &str) -> bool {
    let parts: Vec<&str> = line.split('@').collect();
    let inner = parts
        .get(1..parts.len().saturating_sub(1))
        .unwrap_or_default();
    inner.iter().any(|part| {
        part.len() > 1
            && part.starts_with(|c: char| c.is_ascii_uppercase())
            && part
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    })
}

/// The line that shows that a script is one that init runs: it takes `start` and `stop`.
pub(super) fn init(script: &Script, text: &str) -> Option<usize> {
    let header = |line: &str| {
        let line = line.trim_start_matches(['#', ' ', '\t']);
        line.starts_with("BEGIN INIT INFO") || line.starts_with("chkconfig:")
    };
    let found = (1..)
        .zip(text.lines())
        .find(|(_, line)| line.starts_with('#') && header(line));
    let mut look = Look::default();
    look.assignments(&script.items);
    let verbs = (!look.arguments_set)
        .then(|| look.start_and_stop(&script.items))
        .flatten();
    found.map(|(line, _)| line).or(verbs)
}

/// The line that shows that a script is one of keepalived's: it takes a state for an argument.
pub(super) fn keepalived(script: &Script, text: &str) -> Option<usize> {
    let mut look = Look::default();
    look.assignments(&script.items);
    if look.arguments_set {
        return None;
    }
    look.items(&script.items);
    let lower = text.to_ascii_lowercase();
    if lower.contains("keepalived") || lower.contains("vrrp") {
        look.found = look.found.or(look.later);
    }
    look.found.or_else(|| compared_with_instance(text))
}

/// The line that compares something with `INSTANCE`, the type of most of keepalived's notifications,
/// in a script that uses the third argument.
fn compared_with_instance(text: &str) -> Option<usize> {
    let is_word = |line: &str| {
        let (before, after) = line.split_once("INSTANCE")?;
        let begins = before.is_empty() || before.ends_with([' ', '\t', '"', '\'', '(', '|', '=']);
        let ends = after.starts_with(['-', ':', '|', ')', '"', '\'', ' ', '*']);
        (begins && ends && !line.trim_start().starts_with('#')).then_some(())
    };
    // Those that a script gives itself are not the caller's.
    let own = text.contains("set -- ");
    let third = !own && (text.contains("$3") || text.contains("${3"));
    let mut lines = (1..).zip(text.lines());
    let (line, _) = lines.find(|(_, line)| third && is_word(line).is_some())?;
    Some(line)
}

#[derive(Default)]
struct Look {
    /// Variables that are an argument and nothing else, with its number.
    variables: Vec<(String, String)>,
    /// The script sets its arguments itself.
    arguments_set: bool,
    found: Option<usize>,
    /// The first use of the third or a later argument.
    later: Option<usize>,
}

impl Look {
    fn assignments(&mut self, items: &[Item]) {
        for command in commands(items) {
            if let Kind::Simple { assigns, words } = &command.kind {
                for (name, word) in assigns {
                    if let Some(number) = only_parameter(word).filter(|n| is_number(n)) {
                        let upper = name.to_ascii_uppercase();
                        if number == "3" && (upper.contains("STATE") || upper == "ENDSTATE") {
                            self.found.get_or_insert(command.line);
                        }
                        self.variables.push((name.clone(), number.to_owned()));
                    }
                }
                let all = |word: &Word| only_parameter(word).is_some_and(|n| n == "@" || n == "*");
                if words.first().is_some_and(|word| word.is("set"))
                    && words.get(1).is_some_and(|word| word.is("--"))
                    && !words.get(2).is_none_or(all)
                {
                    self.arguments_set = true;
                }
            }
            // Within a function the numbers are its own arguments.
            if !matches!(command.kind, Kind::Function { .. }) {
                for list in command.kind.lists() {
                    self.assignments(list);
                }
            }
        }
    }

    fn items(&mut self, items: &[Item]) {
        for command in commands(items) {
            match &command.kind {
                Kind::Simple { words, .. } | Kind::Test(words) => self.test(command.line, words),
                Kind::Case { word, arms } => {
                    let patterns: Vec<String> = arms
                        .iter()
                        .flat_map(|(patterns, _)| patterns)
                        .filter_map(Word::literal)
                        .collect();
                    if let Some(number) = self.argument(word) {
                        self.compared(command.line, &number, &patterns);
                    }
                }
                _ => {}
            }
            if !matches!(command.kind, Kind::Function { .. }) {
                for list in command.kind.lists() {
                    self.items(list);
                }
            }
        }
    }

    /// The line of a `case` for the first argument that has `start` and `stop`.
    fn start_and_stop(&self, items: &[Item]) -> Option<usize> {
        commands(items).find_map(|command| match &command.kind {
            Kind::Case { word, arms } if self.argument(word).is_some_and(|n| n == "1") => {
                let has = |wanted| {
                    let mut patterns = arms.iter().flat_map(|(patterns, _)| patterns);
                    patterns.any(|pattern| pattern.literal().is_some_and(|text| text == wanted))
                };
                (has("start") && has("stop")).then_some(command.line)
            }
            Kind::Function { .. } => None,
            kind => kind
                .lists()
                .iter()
                .find_map(|list| self.start_and_stop(list)),
        })
    }

    fn test(&mut self, line: usize, words: &[Word]) {
        let uses = |word: &Word| {
            word.0.iter().any(|piece| matches!(piece, Piece::Param { name, .. } if matches!(name.as_str(), "3" | "4")))
        };
        if words.iter().any(uses) {
            self.later.get_or_insert(line);
        }
        for three in words.windows(3) {
            let [a, operator, b] = three else { continue };
            if !["=", "==", "!="].iter().any(|op| operator.is(op)) {
                continue;
            }
            for (value, text) in [(a, b), (b, a)] {
                if let (Some(number), Some(text)) = (self.argument(value), text.literal()) {
                    self.compared(line, &number, &[text]);
                }
            }
        }
    }

    /// The number of the argument that the word is.
    fn argument(&self, word: &Word) -> Option<String> {
        let name = only_parameter(word)?;
        if is_number(name) {
            return Some(name.to_owned());
        }
        let known = self.variables.iter().find(|(n, _)| n == name)?;
        Some(known.1.clone())
    }

    /// An argument is compared with these.
    fn compared(&mut self, line: usize, number: &str, texts: &[String]) {
        let is = |wanted: &str| texts.iter().any(|text| text == wanted);
        let state = match number {
            // An interface, an address and whatever --xparam says are seldom such words.
            "1" => {
                is("INSTANCE")
                    || is("GROUP")
                    || STATES
                        .iter()
                        .any(|state| is(state) || is(&state.to_ascii_lowercase()))
            }
            "2" => STATES.iter().any(|state| is(state)),
            _ => {
                STATES.iter().any(|state| is(state))
                    || (is("master") && (is("backup") || is("fault")))
            }
        };
        if state {
            self.found.get_or_insert(line);
        }
    }
}

/// Does the script look at this argument of its own, or at all of them?
pub(super) fn looks_at(script: &Script, argument: usize) -> bool {
    Looking(argument.to_string()).items(&script.items)
}

/// At the argument of this number.
struct Looking(String);

impl Looking {
    fn items(&self, items: &[Item]) -> bool {
        commands(items).any(|command| {
            let redirected = command.redirects.iter().any(|it| self.word(&it.target));
            redirected || self.kind(&command.kind)
        })
    }

    fn kind(&self, kind: &Kind) -> bool {
        let all = |words: &[Word]| words.iter().any(|word| self.word(word));
        let own = match kind {
            Kind::Simple { assigns, words } => {
                let shifts = words.first().is_some_and(|word| word.is("shift"));
                shifts || all(words) || assigns.iter().any(|(_, word)| self.word(word))
            }
            // Without `in` it goes over all of them.
            Kind::For { words, .. } => words.as_deref().is_none_or(all),
            Kind::Case { word, arms } => {
                self.word(word) || arms.iter().any(|(patterns, _)| all(patterns))
            }
            Kind::Test(words) => all(words),
            Kind::Arithmetic(text) | Kind::Unread(text) => text.contains(&format!("${}", self.0)),
            Kind::Sourced(sourced) => self.items(&sourced.script.items),
            Kind::If { .. } | Kind::While { .. } | Kind::Block { .. } => false,
            // Its arguments are its own.
            Kind::Function { .. } => return false,
        };
        own || kind.lists().iter().any(|list| self.items(list))
    }

    fn word(&self, word: &Word) -> bool {
        word.0.iter().any(|piece| match piece {
            Piece::Text { .. } => false,
            Piece::Param { name, op, .. } => {
                let at = *name == self.0 || matches!(name.as_str(), "@" | "*" | "#");
                at || op.as_ref().is_some_and(|(_, word)| self.word(word))
            }
            Piece::Command { items, .. } => self.items(items),
            Piece::Arithmetic(text) => text.contains(&format!("${}", self.0)),
        })
    }
}

fn commands(items: &[Item]) -> impl Iterator<Item = &Command> {
    items
        .iter()
        .flat_map(|item| std::iter::once(&item.first).chain(item.rest.iter().map(|(_, p)| p)))
        .flat_map(|pipeline| &pipeline.commands)
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit())
}

/// The parameter that the word is, whatever stands for it where it is empty.
fn only_parameter(word: &Word) -> Option<&str> {
    match word.0.as_slice() {
        [Piece::Param { name, op, .. }] => match op {
            None => Some(name),
            Some((op, _)) if matches!(op.as_str(), ":-" | "-" | ",," | "^^" | "," | "^") => {
                Some(name)
            }
            Some(_) => None,
        },
        _ => None,
    }
}
