//! Words without quotes: split, empty ones gone, braces expanded. Where that depends on a value, the
//! command stands once for each case.

use super::super::commands::Arg;
use super::super::ir::{Cond, Expr};
use super::super::shell::{Piece, Word};
use super::{Lower, Lowered};

/// How many cases one command may become.
const CASES: usize = 4;

/// How many options a loop may go over.
const OPTIONS: usize = 8;

/// How many words of one command may be empty, or one of several: it stands once for each case.
const CHOICES: usize = 4;

/// A case, and the words that the command then has; the last one has no condition.
type Choice = (Option<Cond>, Vec<Word>);

/// Commands for which an empty word, or several, come to the same.
const JOINED: &[&str] = &[
    "echo", "printf", "logger", "[", "test", "exit", "return", "shift", "set",
];

impl Lower<'_> {
    /// What a word becomes on a command line: none, one or several arguments.
    pub(super) fn arguments(&mut self, word: &Word, expand: bool) -> Lowered<Vec<Arg>> {
        let mut args = Vec::new();
        for word in self.braces(word)? {
            args.extend(self.argument(&word, expand)?);
        }
        Ok(args)
    }

    fn argument(&mut self, word: &Word, expand: bool) -> Lowered<Vec<Arg>> {
        let globs = |piece: &Piece| matches!(piece, Piece::Text { text, quoted: false } if text.contains(['*', '?', '[']) && !text.contains("://") && text != "[");
        if expand && word.0.iter().any(globs) {
            return Err("a pattern of file names".into());
        }
        let all = |piece: &Piece| matches!(piece, Piece::Param { name, op: None, .. } if matches!(name.as_str(), "@" | "*"));
        // "from $*": within quotes it is one text.
        let joined = |piece: &Piece| {
            !all(piece)
                || matches!(piece, Piece::Param { name, quoted: true, .. } if name == "*" || self.joins)
        };
        let is_text = word.0.len() > 1 && word.0.iter().all(joined);
        if word.0.iter().any(all) && !is_text {
            return match word.0.as_slice() {
                [Piece::Param { name, quoted, .. }] if self.joins || (name == "*" && *quoted) => {
                    Ok(vec![self.arg(self.all_joined())])
                }
                [_] if self.function.is_none() => {
                    let args = self.script_arguments();
                    let third = args.last().is_some_and(|arg| arg.value == Expr::Xparam);
                    if third && self.counts && self.settings.xparam.is_none() {
                        return Err(
                            "all of the arguments: whether there is a third one is not known, see --xparam"
                                .into(),
                        );
                    }
                    Ok(args)
                }
                _ => Err("all of the arguments".into()),
            };
        }
        let value = self.word(word)?;
        let mut arg = self.arg(value);
        let bare = |piece: &Piece| match piece {
            Piece::Param { quoted, .. } | Piece::Command { quoted, .. } => !quoted,
            Piece::Text { .. } | Piece::Arithmetic(_) => false,
        };
        if !word.0.iter().any(bare) {
            return Ok(vec![arg]);
        }
        let quoted = word.0.iter().any(|piece| match piece {
            Piece::Text { quoted, .. }
            | Piece::Param { quoted, .. }
            | Piece::Command { quoted, .. } => *quoted,
            Piece::Arithmetic(_) => false,
        });
        match &arg.text {
            Some(text) if text.contains(['*', '?', '[']) && expand && !text.contains("://") => {
                Err("a pattern of file names".into())
            }
            Some(text) if text.is_empty() || text.contains(char::is_whitespace) => {
                if quoted {
                    return Err("a word that is quoted in part, and split".into());
                }
                let words = text.split_whitespace().map(|t| Arg::fixed(t.to_owned()));
                Ok(words.collect())
            }
            Some(_) => Ok(vec![arg]),
            None => {
                arg.split = true;
                Ok(vec![arg])
            }
        }
    }

    /// `"$@"` outside of functions, as far as it is not shifted away.
    fn script_arguments(&self) -> Vec<Arg> {
        let count = self.scope.arguments_after(self.shifted);
        let all = (1..=count).filter_map(|number| self.scope.argument(number + self.shifted));
        let mut args: Vec<Arg> = all.map(|value| self.arg(value.clone())).collect();
        // Without --xparam there is no third one.
        if let Some(last) = args.last_mut() {
            last.split |= last.value == Expr::Xparam;
        }
        args
    }

    /// The cases of a command in which a word without quotes may be empty or several; `None` if it
    /// is always the same.
    pub(super) fn choices(&mut self, words: &[Word]) -> Lowered<Option<Vec<Choice>>> {
        let name = words.first().and_then(Word::literal).unwrap_or_default();
        let base = name.rsplit('/').next().unwrap_or_default();
        if JOINED.contains(&base) || is_assigning(base) {
            return Ok(None);
        }
        if self.choices == 0 {
            self.bare.clear();
        }
        for (index, word) in words.iter().enumerate() {
            let Some(cases) = self.cases(word, index == 0)? else {
                continue;
            };
            let with = |new: Vec<Word>| {
                let (before, after) = words.split_at(index);
                let after = after.get(1..).unwrap_or_default();
                [before, &new, after].concat()
            };
            let choices = cases.into_iter().map(|(when, new)| (when, with(new)));
            return Ok(Some(choices.collect()));
        }
        Ok(None)
    }

    /// One of the cases of a command, which may have others in it.
    pub(super) fn choosing<T>(&mut self, one: impl FnOnce(&mut Self) -> Lowered<T>) -> Lowered<T> {
        if self.choices == CHOICES {
            return Err("too many words without quotes that may be empty".into());
        }
        self.choices += 1;
        let result = one(self);
        self.choices -= 1;
        result
    }

    fn cases(&mut self, word: &Word, first: bool) -> Lowered<Option<Vec<Choice>>> {
        if let [
            Piece::Param {
                name,
                op: Some((op, then)),
                quoted: false,
            },
        ] = word.0.as_slice()
            && matches!(op.as_str(), "+" | ":+")
        {
            // ${X:+-p $X}: these words, or none.
            let set = self.is_set(name, op)?;
            return Ok(Some(vec![(Some(set), blanks(then)), (None, Vec::new())]));
        }
        // What it sets is set once.
        let sets = |piece: &Piece| matches!(piece, Piece::Param { op: Some((op, _)), .. } if op == ":=" || op == "=");
        if word.0.iter().any(sets) {
            return Ok(None);
        }
        if let Some(cases) = self.options_of_loop(word, first) {
            return Ok(Some(cases));
        }
        let split = |piece: &Piece| match piece {
            Piece::Param { quoted, name, .. } => !quoted && !matches!(name.as_str(), "@" | "*"),
            Piece::Command { quoted, .. } => !quoted,
            Piece::Text { .. } | Piece::Arithmetic(_) => false,
        };
        let plain = word
            .0
            .iter()
            .all(|piece| !matches!(piece, Piece::Command { .. }));
        if !word.0.iter().any(split) || !plain {
            return Ok(None);
        }
        let value = self.word(word)?;
        if self.is_one_word(&value) || self.fixed(&value).is_some() {
            return Ok(None);
        }
        let text = |text: &str| {
            let word = |word: &str| {
                Word(vec![Piece::Text {
                    text: word.to_owned(),
                    quoted: true,
                }])
            };
            text.split_whitespace().map(word).collect::<Vec<_>>()
        };
        if let Some(values) = self.values(&value) {
            if values.iter().any(|text| text.contains(['*', '?', '['])) {
                return Err("a pattern of file names".into());
            }
            if values.len() > CASES {
                return Err("a word without quotes that may be too many things".into());
            }
            let last = values.len().saturating_sub(1);
            let case = |(index, value_text): (usize, &String)| {
                let when = Cond::Equal(value.clone(), Expr::Text(value_text.clone()));
                ((index < last).then_some(when), text(value_text))
            };
            return Ok(Some(values.iter().enumerate().map(case).collect()));
        }
        // Empty, it is gone; several words are refused by whatever takes it.
        let ([Piece::Param { .. }], false) = (word.0.as_slice(), first) else {
            return Ok(None);
        };
        let mut whole = word.clone();
        for piece in &mut whole.0 {
            if let Piece::Param { quoted, .. } = piece {
                *quoted = true;
            }
        }
        self.bare.push(value.clone());
        if self.is_filled(word) {
            return Ok(Some(vec![(None, vec![whole])]));
        }
        let there = Cond::Empty(value).not();
        Ok(Some(vec![(Some(there), vec![whole]), (None, Vec::new())]))
    }

    /// `"$option"` of a loop over `-c -f -R`: a hole takes no option, and so each has its own command
    /// line.
    fn options_of_loop(&mut self, word: &Word, first: bool) -> Option<Vec<Choice>> {
        let [Piece::Param { op: None, .. }] = word.0.as_slice() else {
            return None;
        };
        let value = self.word(word).ok()?;
        let values = self.values(&value)?;
        let plain = |text: &String| !text.is_empty() && !text.contains(char::is_whitespace);
        let options = values.iter().any(|text| text.starts_with('-'));
        if first || !options || values.len() > OPTIONS || !values.iter().all(plain) {
            return None;
        }
        let last = values.len().saturating_sub(1);
        let case = |(index, text): (usize, &String)| {
            let when = Cond::Equal(value.clone(), Expr::Text(text.clone()));
            let word = Word(vec![Piece::Text {
                text: text.clone(),
                quoted: true,
            }]);
            ((index < last).then_some(when), vec![word])
        };
        Some(values.iter().enumerate().map(case).collect())
    }

    /// Braces that are left: those of scripts that are not for bash, and those with values in them.
    fn braces(&self, word: &Word) -> Lowered<Vec<Word>> {
        match expanded(word) {
            Ok(words) if words.len() == 1 => Ok(words),
            Ok(_) if !self.scope.is_bash() => Err("braces that only bash expands".into()),
            other => other,
        }
    }
}

/// Commands that set variables or read files of commands.
fn is_assigning(base: &str) -> bool {
    matches!(
        base,
        "export" | "local" | "readonly" | "declare" | "typeset" | "." | "source" | "cd" | "unset"
    )
}

/// `a{b,c}` and `{1..3}` as the words that bash makes of them.
pub(super) fn expanded(word: &Word) -> Lowered<Vec<Word>> {
    let open = word.0.iter().enumerate().find_map(|(index, piece)| {
        let Piece::Text {
            text,
            quoted: false,
        } = piece
        else {
            return None;
        };
        let at = text.find('{')?;
        let end = text.get(at..)?.find('}').map(|end| at + end)?;
        let inside = text.get(at + 1..end)?;
        (inside.contains(',') || inside.contains("..")).then_some((index, at, end))
    });
    let open_only = |piece: &Piece| matches!(piece, Piece::Text { text, quoted: false } if text.contains('{') && text.contains(',') && !text.contains('}'));
    if open.is_none() && word.0.len() > 1 && word.0.iter().any(open_only) {
        return Err("braces with a value in them".into());
    }
    let Some((index, at, end)) = open else {
        return Ok(vec![word.clone()]);
    };
    let Some(Piece::Text { text, .. }) = word.0.get(index) else {
        return Ok(vec![word.clone()]);
    };
    let (before, inside) = (
        text.get(..at).unwrap_or_default(),
        text.get(at + 1..end).unwrap_or_default(),
    );
    if inside.contains('{') {
        return Err("braces in braces".into());
    }
    let after = text.get(end + 1..).unwrap_or_default();
    let parts = match inside.split_once("..") {
        Some((from, to)) => range(from, to).ok_or("these braces")?,
        None => inside.split(',').map(str::to_owned).collect(),
    };
    let mut words = Vec::new();
    for part in parts {
        let mut new = word.clone();
        if let Some(piece) = new.0.get_mut(index) {
            *piece = Piece::Text {
                text: format!("{before}{part}{after}"),
                quoted: false,
            };
        }
        words.extend(expanded(&new)?);
        if words.len() > 256 {
            return Err("braces that become too many words".into());
        }
    }
    Ok(words)
}

/// `1..3`, `3..1`, `a..c`.
fn range(from: &str, to: &str) -> Option<Vec<String>> {
    let plain = |n: &str| n.parse::<i32>().ok().filter(|v| v.to_string() == n);
    if let (Some(from), Some(to)) = (plain(from), plain(to)) {
        if from.abs_diff(to) > 200 {
            return None;
        }
        let mut numbers: Vec<String> = (from.min(to)..=from.max(to))
            .map(|n| n.to_string())
            .collect();
        if from > to {
            numbers.reverse();
        }
        return Some(numbers);
    }
    let letter = |text: &str| match text.as_bytes() {
        [letter] if letter.is_ascii_lowercase() => Some(*letter),
        _ => None,
    };
    let (from, to) = (letter(from)?, letter(to)?);
    Some((from..=to).map(|b| char::from(b).to_string()).collect())
}

/// The words that stand in an expansion without quotes.
fn blanks(word: &Word) -> Vec<Word> {
    let mut words = vec![Word::default()];
    for piece in &word.0 {
        let Piece::Text {
            text,
            quoted: false,
        } = piece
        else {
            if let Some(last) = words.last_mut() {
                last.0.push(piece.clone());
            }
            continue;
        };
        for (index, part) in text.split(char::is_whitespace).enumerate() {
            if index > 0 {
                words.push(Word::default());
            }
            if let (Some(last), false) = (words.last_mut(), part.is_empty()) {
                last.0.push(Piece::Text {
                    text: part.to_owned(),
                    quoted: false,
                });
            }
        }
    }
    words.retain(|word| !word.0.is_empty());
    words
}
