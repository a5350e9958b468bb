//! `set -- WORDS`: from there on `$1` and its like are those words. Where they are known before the
//! script runs, they take the place of what stands for them.

use super::super::shell::{Command, Item, Kind, Piece, Pipeline, Redirect, Script, Word};

/// Puts the words of each `set --` of the script in the places where they are read. What cannot be
/// settled stays as it is.
pub(super) fn settle(items: &mut [Item]) {
    let mut at = 0;
    while let Some((set, rest)) = items.get_mut(at..).and_then(<[Item]>::split_first_mut) {
        at += 1;
        let Some(words) = words_of(set) else { continue };
        let mut given = Given { words, known: true };
        let mut trial = rest.to_vec();
        given.items(&mut trial, true);
        if given.known {
            rest.clone_from_slice(&trial);
            if let Some(Kind::Simple { words, .. }) = alone(set) {
                *words = vec![text(":", false)];
            }
        }
    }
}

/// The script with that done.
pub(crate) fn settled(script: &Script) -> Script {
    let mut script = script.clone();
    settle(&mut script.items);
    script
}

fn text(text: &str, quoted: bool) -> Word {
    Word(vec![Piece::Text {
        text: text.to_owned(),
        quoted,
    }])
}

/// The command of an item that is nothing but one command.
fn alone(item: &mut Item) -> Option<&mut Kind> {
    match item.first.commands.as_mut_slice() {
        [command] if item.rest.is_empty() && !item.background && !item.first.negated => {
            command.redirects.is_empty().then_some(&mut command.kind)
        }
        _ => None,
    }
}

/// The words of `set -- WORDS` if each is one, and known.
fn words_of(item: &mut Item) -> Option<Vec<Word>> {
    let Kind::Simple { assigns, words } = alone(item)? else {
        return None;
    };
    let [set, dashes, rest @ ..] = words.as_slice() else {
        return None;
    };
    let is_one = |word: &Word| {
        match word.0.as_slice() {
        [Piece::Param { name, op: None, quoted }] => {
            let number = name.parse::<usize>().ok();
            number.is_some_and(|number| number > 0 && (*quoted || number < 3))
        }
        pieces => pieces.iter().all(|piece| {
            matches!(piece, Piece::Text { text, quoted } if *quoted || !text.contains(['*', '?', '[', '~', '{']))
        }),
    }
    };
    (assigns.is_empty() && set.is("set") && dashes.is("--") && rest.iter().all(is_one))
        .then(|| rest.to_vec())
}

/// The arguments as they are at the reader's place.
struct Given {
    words: Vec<Word>,
    /// False once something is read that cannot be settled.
    known: bool,
}

impl Given {
    /// Goes over a list; only at the top of the script is it known how often a `shift` runs.
    fn items(&mut self, items: &mut [Item], top: bool) {
        for item in items {
            // From there on they are others, which may be made of these.
            if let Some(Kind::Simple { words, .. }) = alone(item).filter(|_| top)
                && is_set(words)
            {
                return self.list(words);
            }
            let plain = top && item.rest.is_empty();
            let rest = item.rest.iter_mut().map(|(_, pipeline)| pipeline);
            for pipeline in std::iter::once(&mut item.first).chain(rest) {
                self.pipeline(pipeline, plain);
            }
        }
    }

    fn pipeline(&mut self, pipeline: &mut Pipeline, top: bool) {
        let top = top && pipeline.commands.len() == 1;
        for Command {
            kind, redirects, ..
        } in &mut pipeline.commands
        {
            for Redirect { target, .. } in redirects {
                self.word(target);
            }
            self.kind(kind, top);
        }
    }

    fn kind(&mut self, kind: &mut Kind, top: bool) {
        match kind {
            Kind::Simple { assigns, words } => {
                let name = words.first().and_then(Word::literal).unwrap_or_default();
                if name == "shift" || is_set(words) {
                    self.shift(words, top && name == "shift");
                    return;
                }
                for (_, word) in assigns.iter_mut() {
                    self.word(word);
                }
                self.list(words);
            }
            Kind::For { words, body, .. } => {
                // Without a list it goes over the arguments.
                let all = || {
                    Word(vec![Piece::Param {
                        name: "@".to_owned(),
                        op: None,
                        quoted: true,
                    }])
                };
                let words = words.get_or_insert_with(|| vec![all()]);
                self.list(words);
                self.items(body, false);
            }
            Kind::Case { word, arms } => {
                self.word(word);
                for (patterns, body) in arms {
                    for word in patterns.iter_mut() {
                        self.word(word);
                    }
                    self.items(body, false);
                }
            }
            Kind::Test(words) => words.iter_mut().for_each(|word| self.word(word)),
            Kind::Arithmetic(text) => self.arithmetic(text),
            // It has arguments of its own.
            Kind::Function { .. } => {}
            Kind::Sourced(sourced) => self.items(&mut sourced.script.items, false),
            Kind::Unread(_) => self.known = false,
            Kind::If { .. } | Kind::While { .. } | Kind::Block { .. } => {
                for list in kind.lists_mut() {
                    self.items(list, false);
                }
            }
        }
    }

    /// `shift` at the top of the script.
    fn shift(&mut self, words: &mut Vec<Word>, here: bool) {
        let count = match words.as_slice() {
            [_] => Some(1),
            [_, count] => count.literal().and_then(|text| text.parse::<usize>().ok()),
            _ => None,
        };
        match count.filter(|count| here && *count <= self.words.len()) {
            Some(count) => {
                self.words.drain(..count);
                *words = vec![text(":", false)];
            }
            None => self.known = false,
        }
    }

    /// The words of a command line: `"$@"` is all of them.
    fn list(&mut self, words: &mut Vec<Word>) {
        let all = |word: &Word| matches!(word.0.as_slice(), [Piece::Param { name, op: None, quoted }] if name == "@" || (name == "*" && !quoted));
        let old = std::mem::take(words);
        for mut word in old {
            if all(&word) {
                let bare = matches!(word.0.as_slice(), [Piece::Param { quoted: false, .. }]);
                if bare && self.words.iter().any(is_split) {
                    self.known = false;
                }
                words.extend(self.words.iter().cloned());
            } else {
                self.word(&mut word);
                words.push(word);
            }
        }
    }

    fn word(&mut self, word: &mut Word) {
        let old = std::mem::take(&mut word.0);
        for piece in old {
            word.0.extend(self.piece(piece));
        }
    }

    fn piece(&mut self, piece: Piece) -> Vec<Piece> {
        match piece {
            Piece::Param { name, op, quoted } => {
                if let Some(number) = name.parse::<usize>().ok().filter(|number| *number > 0) {
                    let given = self.words.get(number - 1).cloned().unwrap_or_default();
                    return self.positional(&given, op, quoted);
                }
                match (name.as_str(), op) {
                    ("#", None) => vec![Piece::Text {
                        text: self.words.len().to_string(),
                        quoted: true,
                    }],
                    ("@" | "*", None) => {
                        let mut pieces = Vec::new();
                        for (index, word) in self.words.iter().enumerate() {
                            if index > 0 {
                                pieces.extend(text(" ", true).0);
                            }
                            pieces.extend(word.0.clone());
                        }
                        pieces
                    }
                    ("#" | "@" | "*", Some(_)) => {
                        self.known = false;
                        Vec::new()
                    }
                    (_, op) => {
                        let op = op.map(|(op, mut word)| {
                            self.word(&mut word);
                            (op, word)
                        });
                        vec![Piece::Param { name, op, quoted }]
                    }
                }
            }
            Piece::Command { mut items, quoted } => {
                self.items(&mut items, false);
                vec![Piece::Command { items, quoted }]
            }
            Piece::Arithmetic(text) => {
                self.arithmetic(&text);
                vec![Piece::Arithmetic(text)]
            }
            piece @ Piece::Text { .. } => vec![piece],
        }
    }

    /// `$1`, with what is done to it.
    fn positional(&mut self, given: &Word, op: Option<(String, Word)>, quoted: bool) -> Vec<Piece> {
        match (given.0.as_slice(), op) {
            ([Piece::Param { name, .. }], op) => vec![Piece::Param {
                name: name.clone(),
                op,
                quoted,
            }],
            (pieces, None) => {
                if !quoted && is_split(given) {
                    self.known = false;
                }
                let text = pieces.iter().filter_map(|piece| match piece {
                    Piece::Text { text, .. } => Some(text.as_str()),
                    _ => None,
                });
                vec![Piece::Text {
                    text: text.collect(),
                    quoted: true,
                }]
            }
            (_, Some(_)) => {
                self.known = false;
                Vec::new()
            }
        }
    }

    fn arithmetic(&mut self, text: &str) {
        let reads = |(at, _): (usize, &str)| {
            let next = text.get(at + 1..).unwrap_or_default();
            next.trim_start_matches('{')
                .starts_with(|c: char| c.is_ascii_digit() || matches!(c, '#' | '@' | '*'))
        };
        self.known &= !text.match_indices('$').any(reads);
    }
}

/// Does this command line set the arguments?
fn is_set(words: &[Word]) -> bool {
    let [set, rest @ ..] = words else {
        return false;
    };
    set.is("set") && !rest.is_empty() && !rest.iter().all(is_option)
}

fn is_option(word: &Word) -> bool {
    word.literal()
        .is_some_and(|text| text.starts_with(['-', '+']) && text != "--" && text != "-")
}

/// Is it no longer one word where it is not quoted?
fn is_split(word: &Word) -> bool {
    match word.literal() {
        Some(text) => text.is_empty() || text.contains([' ', '\t', '\n', '*', '?', '[']),
        None => false,
    }
}
