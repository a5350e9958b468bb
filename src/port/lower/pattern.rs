//! Patterns of file names: a hook cannot look into a directory, so a shell that is granted for this
//! one pattern does.

use super::super::commands;
use super::super::ir::{Expr, List, Run};
use super::super::shell::{Command, Piece, Word};
use super::{Lower, Lowered};

/// Writes the names that match its arguments, one a line; the pattern itself where there is none.
const NAMES: &str = "IFS=; printf '%s\\n' $@";

/// Runs the program that it is called by with them.
const RUN: &str = "IFS=; exec \"$0\" $@";

/// Programs that take any number of names of files.
const PROGRAMS: [&str; 17] = [
    "chattr", "chgrp", "chmod", "chown", "cp", "gunzip", "gzip", "ln", "ls", "mv", "rm", "rmdir",
    "rsync", "scp", "setfacl", "tar", "truncate",
];

const SIGNS: [char; 4] = ['*', '?', '[', '\\'];

impl Lower<'_> {
    /// A program with patterns of file names among its arguments; `None` if there are none.
    pub(super) fn with_names(&mut self, command: &Command, words: &[Word]) -> Lowered<Option<Run>> {
        let name = words.first().and_then(Word::literal).unwrap_or_default();
        let base = name.rsplit('/').next().unwrap_or_default();
        if !PROGRAMS.contains(&base)
            || self.scope.function(&name).is_some()
            || !self.all_harmless(command)
        {
            return Ok(None);
        }
        let (mut args, mut patterns) = (Vec::new(), false);
        for word in words.iter().skip(1) {
            if let Some(pattern) = self.file_pattern(word) {
                args.push(commands::Arg::fixed(pattern));
                patterns = true;
                continue;
            }
            let Ok(others) = self.arguments(word, true) else {
                return Ok(None);
            };
            // It would be a pattern, too, or be gone.
            let odd = |arg: &commands::Arg| {
                let text = arg.text.as_deref();
                text.is_some_and(|text| text.is_empty() || text.contains(SIGNS))
            };
            if others.iter().any(odd) {
                return Ok(None);
            }
            args.extend(others);
        }
        if !patterns {
            return Ok(None);
        }
        let known = self.shared.commands.len();
        let run = commands::program(self, &name, &args)?;
        if run.argv.iter().any(|word| word.ends_with(":text}")) {
            return Err("a pattern of file names beside a value that may be one".into());
        }
        Ok(Some(self.by_shell(run, RUN, known)))
    }

    /// The names that a loop goes over, if patterns stand for them.
    pub(super) fn names(&mut self, words: &[Word]) -> Option<List> {
        let mut args = vec!["names".to_owned()];
        let mut patterns = false;
        for word in words {
            let pattern = self.file_pattern(word);
            patterns |= pattern.is_some();
            let plain = || {
                word.literal()
                    .filter(|text| !text.is_empty() && !text.contains(SIGNS))
            };
            args.push(pattern.or_else(plain)?);
        }
        if !patterns {
            return None;
        }
        let known = self.shared.commands.len();
        let run = Run {
            name: String::new(),
            argv: self.there().into_iter().chain(args).collect(),
            holes: Vec::new(),
            must: false,
        };
        let run = self.by_shell(run, NAMES, known);
        Some(List::Lines {
            text: Expr::Raw(run, false),
            rest: false,
            blanks: true,
        })
    }

    /// The same by a shell, which puts the names in the place of the patterns.
    fn by_shell(&mut self, mut run: Run, how: &str, known: usize) -> Run {
        self.shared.commands.truncate(known);
        let there = self.there();
        let shape = run.argv.split_off(there.len());
        let begin = ["/bin/sh", "-c", how].map(str::to_owned);
        run.argv = there
            .into_iter()
            .chain(begin)
            .chain(shape.clone())
            .collect();
        run.name = self.command_name(&run.argv, &shape);
        run
    }

    /// The text of a word with signs of a pattern in it, if it is always the same, and is one word.
    fn file_pattern(&mut self, word: &Word) -> Option<String> {
        let (mut text, mut signs) = (String::new(), false);
        for piece in &word.0 {
            let (part, quoted) = match piece {
                Piece::Text { text, quoted } => (text.clone(), *quoted),
                Piece::Param { quoted, .. } => {
                    let value = self.word(&Word(vec![piece.clone()])).ok()?;
                    (self.fixed(&value)?, *quoted)
                }
                Piece::Command { .. } | Piece::Arithmetic(_) => return None,
            };
            let has_signs = part.contains(SIGNS);
            if part.contains('\\') || (quoted && has_signs) {
                return None;
            }
            let braces = !quoted && part.contains(['{', '~']);
            if braces || (!quoted && part.contains(char::is_whitespace)) {
                return None;
            }
            signs |= has_signs;
            text += &part;
        }
        let absolute = text.starts_with('/') || (self.has_moved() && !text.starts_with('-'));
        (signs && absolute && !text.contains("://")).then_some(text)
    }
}
