//! The texts that a value may be, as far as the script tells.

use super::scope::{Possible, Scope};
use super::source;
use crate::port::Settings;
use crate::port::commands;
use crate::port::ir::Expr;
use crate::port::shell::{Item, Kind, Piece, Word};

/// How many texts a value may be before it counts as unknown.
const VALUES: usize = 64;

/// How far variables may depend on each other.
const DEPTH: usize = 12;

/// How many variables are looked up for one value, each as often as it is read.
const LOOKUPS: usize = 200;

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

    fn or_unknown(text: Option<impl Into<String>>) -> Self {
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

impl Scope {
    /// Is the value exactly one word however it is split: neither empty nor with blanks, and no
    /// pattern of file names?
    pub(crate) fn is_one_word(&self, value: &Expr, settings: &Settings) -> bool {
        match value {
            Expr::Text(text) => is_word(text),
            Expr::Xparam => settings.xparam.as_deref().is_some_and(is_word),
            Expr::Var(name) => {
                (self.is_number(name) || self.is_one_word_set(name, settings))
                    && !self.order.starts_empty(name)
                    && !self.order.is_from_outside(name)
            }
            Expr::Arg(function, number) => {
                self.is_one_word_set(&format!("{function}:{number}"), settings)
            }
            Expr::Join(parts) => {
                let solid = |part: &Expr| matches!(part, Expr::Text(_) | Expr::Dev | Expr::Vip);
                parts.iter().any(solid)
                    && parts.iter().all(|part| match part {
                        Expr::Text(text) => is_word(text),
                        // Blanks in it are refused wherever it is used.
                        Expr::Outside(_) => true,
                        part => self.is_one_word(part, settings),
                    })
            }
            Expr::Call("default", parts) => parts
                .last()
                .is_some_and(|other| self.is_one_word(other, settings)),
            Expr::Output(run) => says_one_word(&run.argv),
            Expr::Dev
            | Expr::Vip
            | Expr::Cidr
            | Expr::Status
            | Expr::Call("hostname.get", _)
            | Expr::Number(_)
            | Expr::Sum(_) => true,
            _ => {
                let values = self.values(value, settings);
                values.complete && values.known.iter().all(|text| is_word(text))
            }
        }
    }

    fn is_one_word_set(&self, name: &str, settings: &Settings) -> bool {
        let Some(all) = self.assigned.get(name) else {
            return false;
        };
        all.iter().all(|possible| {
            let values = self.word_values(
                &possible.word,
                possible.function.as_deref(),
                possible.shifted,
                settings,
                0,
            );
            let known = values.complete && values.known.iter().all(|text| is_word(text));
            // A default is never needed there.
            let own = matches!(possible.word.0.as_slice(), [Piece::Param { name, op, .. }]
                if possible.function.is_none() && op.as_ref().is_none_or(|(op, _)| matches!(op.as_str(), ":?" | "?" | ":-" | "-")) && name.parse::<usize>().is_ok_and(|n| matches!(self.argument(n + possible.shifted), Some(Expr::Dev | Expr::Vip))));
            // Blanks in what comes from elsewhere are refused wherever it is used.
            let default = matches!(possible.word.0.as_slice(), [Piece::Param { op: Some((op, word)), .. }]
                if op == ":-" && word.literal().is_some_and(|word| is_word(&word)));
            possible.split || known || own || default
        })
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
            Expr::Dev => Values::or_unknown(settings.interface.as_deref()),
            Expr::Vip => Values::or_unknown(settings.address.as_deref()),
            Expr::Xparam => Values::or_unknown(settings.xparam.as_deref()),
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
            Expr::Trim(trim) => {
                let values = self.values(&trim.value, settings);
                each(&values, |text| changed(trim.op, text, &trim.word)).unwrap_or_default()
            }
            Expr::Call("string.gsub", args) if is_key(args) => {
                let values = args.first().map(|value| self.values(value, settings));
                let swapped = |text: &str| Some(commands::swapped(text));
                values
                    .and_then(|values| each(&values, swapped))
                    .unwrap_or_default()
            }
            Expr::Call("default", parts) => {
                let values = parts.iter().map(|part| self.values(part, settings));
                let mut values = values.reduce(Values::union).unwrap_or_default();
                values.known.retain(|text| !text.is_empty());
                values
            }
            Expr::Cidr
            | Expr::Status
            | Expr::Call(..)
            | Expr::Number(_)
            | Expr::Sum(_)
            | Expr::If(..)
            | Expr::Content(_)
            | Expr::Raw(..)
            | Expr::Lua(_)
            | Expr::Output(_)
            | Expr::Answer(..) => Values::unknown(),
        }
    }

    fn variable(&self, name: &str, settings: &Settings, depth: usize) -> Values {
        if depth == 0 {
            self.lookups.set(LOOKUPS);
        }
        let Some(left) = self.lookups.get().checked_sub(1) else {
            return Values::unknown();
        };
        self.lookups.set(left);
        if depth >= DEPTH {
            return Values::unknown();
        }
        let Some(possible) = self.assigned.get(name) else {
            let plain = !name.contains(':');
            return Values::or_unknown(settings.configured(name).filter(|_| plain));
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
        let values = if possible.is_empty() {
            Values::one("")
        } else {
            let all = possible.iter().map(one);
            all.reduce(Values::union).unwrap_or_default()
        };
        if self.order.is_from_outside(name) {
            Values {
                complete: false,
                ..values
            }
        } else if self.order.starts_empty(name) {
            values.union(Values::one(""))
        } else {
            values
        }
    }

    /// The texts that a word outside of functions may be.
    pub(super) fn texts(&self, word: &Word, settings: &Settings) -> Values {
        self.word_values(word, None, 0, settings, 0)
    }

    fn word_values(
        &self,
        word: &Word,
        function: Option<&str>,
        shifted: usize,
        settings: &Settings,
        depth: usize,
    ) -> Values {
        if depth == 0 {
            self.lookups.set(LOOKUPS);
        }
        let piece_values = |piece: &Piece| match piece {
            Piece::Text { text, .. } => Values::one(text),
            Piece::Param { name, op, .. } => {
                let values = self.parameter(name, function, shifted, settings, depth);
                match op {
                    None => values,
                    Some((op, _)) if matches!(op.as_str(), ":?" | "?") => values,
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
                    Some((op, word)) if name == "0" && matches!(op.as_str(), "%" | "##") => {
                        source::of_path(&self.script, op, word)
                            .map_or_else(Values::unknown, Values::one)
                    }
                    Some((op, word)) => word
                        .literal()
                        .and_then(|word| each(&values, |text| changed(op, text, &word)))
                        .unwrap_or_else(Values::unknown),
                }
            }
            Piece::Command { items, .. } => located(items)
                .or_else(|| source::part_of_path(items, &self.script))
                .map_or_else(Values::unknown, Values::one),
            Piece::Arithmetic(_) => Values::unknown(),
        };
        if depth > DEPTH {
            return Values::unknown();
        }
        word.0.iter().fold(Values::one(""), |all, piece| {
            all.product(&piece_values(piece))
        })
    }

    /// `$*` outside of functions, from the one that is first after `shift`.
    fn all_arguments(&self, shifted: usize, settings: &Settings) -> Values {
        let all = 1..=self.arguments_after(shifted);
        let own = all.filter_map(|number| self.argument(number + shifted));
        let texts: Option<Vec<String>> = own.map(|value| self.constant(value, settings)).collect();
        texts.map_or_else(Values::unknown, |texts| Values::one(texts.join(" ")))
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
            (Ok(0), _) => Values::one(&self.script),
            (Ok(number), Some(function)) => self.variable(
                &format!("{function}:{}", number + shifted),
                settings,
                depth + 1,
            ),
            (Ok(number), None) => self
                .argument(number + shifted)
                .map_or_else(|| Values::one(""), |value| self.values(value, settings)),
            (Err(_), None) if matches!(name, "@" | "*") => self.all_arguments(shifted, settings),
            (Err(_), _) if matches!(name, "@" | "*") => Values::unknown(),
            (Err(_), _) => self.variable(name, settings, depth + 1),
        }
    }
}

/// What becomes of each text; `None` if that is not known for one of them.
fn each(values: &Values, change: impl Fn(&str) -> Option<String>) -> Option<Values> {
    let known: Option<Vec<String>> = values.known.iter().map(|text| change(text)).collect();
    let unknown = Values {
        known: Vec::new(),
        complete: values.complete,
    };
    let all = known?.into_iter().map(Values::one);
    Some(all.fold(unknown, Values::union))
}

/// `${X%word}` and its like, of a text.
fn changed(op: &str, text: &str, word: &str) -> Option<String> {
    let plain = |word: &str| !word.contains(['*', '?', '[', '\\']);
    let kept = match (op, word.strip_suffix('*'), word.strip_prefix('*')) {
        ("basename", ..) => {
            return text
                .trim_end_matches('/')
                .rsplit('/')
                .next()
                .map(str::to_owned);
        }
        ("^^", ..) if word.is_empty() => return Some(text.to_uppercase()),
        (",,", ..) if word.is_empty() => return Some(text.to_lowercase()),
        ("%", Some(end), _) if plain(end) => text.rfind(end).and_then(|at| text.get(..at)),
        ("%%", Some(end), _) if plain(end) => text.find(end).and_then(|at| text.get(..at)),
        ("#", _, Some(begin)) if plain(begin) => text.split_once(begin).map(|(_, rest)| rest),
        ("##", _, Some(begin)) if plain(begin) => text.rsplit_once(begin).map(|(_, rest)| rest),
        ("%" | "%%", ..) if plain(word) => text.strip_suffix(word),
        ("#" | "##", ..) if plain(word) => text.strip_prefix(word),
        _ => return None,
    };
    Some(kept.unwrap_or(text).to_owned())
}

/// A part of a kernel parameter's name, made of a path's.
fn is_key(args: &[Expr]) -> bool {
    matches!(args.get(1), Some(Expr::Text(pattern)) if pattern == "[./]")
}

/// Programs that always write exactly one word.
fn says_one_word(argv: &[String]) -> bool {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["/usr/bin/date", format] => format.starts_with('+') && is_word(format),
        ["/usr/bin/id", "-u" | "-g" | "-un" | "-gn"]
        | ["/usr/bin/uname", "-s" | "-n" | "-r" | "-m"]
        | ["/usr/bin/nproc"] => true,
        ["/usr/bin/hostname", option] => matches!(*option, "-f" | "-s"),
        _ => false,
    }
}

/// Neither empty nor split, and no pattern.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "*?[".contains(c))
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
