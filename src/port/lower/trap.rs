//! `trap COMMANDS EXIT`: what a script leaves for its end.

use super::super::commands::Arg;
use super::super::ir::Step;
use super::super::shell::{Kind, Piece, Word, parse};
use super::{Lower, Lowered};

/// What is done for these is done for the end of a hook, too: no signal reaches it.
const SIGNALS: [&str; 12] = [
    "EXIT", "0", "INT", "TERM", "HUP", "QUIT", "1", "2", "3", "15", "SIGINT", "SIGTERM",
];

impl Lower<'_> {
    /// `trap 'rm -f "$TMP"' EXIT`, where the script has but one end.
    pub(super) fn trap(&mut self, args: &[Arg], words: &[Word]) -> Lowered<Vec<Step>> {
        const WHY: &str = "a hook is not told of signals, nor of its end";
        let Some((commands, signals)) = args.split_first() else {
            return Err(WHY.into());
        };
        if commands.text.as_deref() == Some("") || !signals.is_empty() && commands.word() == "-" {
            return Ok(Vec::new());
        }
        let known = |arg: &Arg| SIGNALS.contains(&arg.word());
        let at_end = signals.iter().any(|arg| matches!(arg.word(), "EXIT" | "0"));
        // In double quotes it would be what the variables are now.
        let text = words.get(1).and_then(Word::literal);
        let (Some(text), true, true) = (text, at_end, signals.iter().all(known)) else {
            return Err(WHY.into());
        };
        let inside = self.nesting > 0 || self.function.is_some() || self.file.is_some();
        if self.errexit || inside || self.at_exit.is_some() {
            return Err(WHY.into());
        }
        let script = parse(&text).map_err(|_| WHY.to_owned())?;
        if !script.items.iter().all(|item| {
            item.rest.is_empty()
                && item
                    .first
                    .commands
                    .iter()
                    .all(|one| self.is_plain(&one.kind))
        }) {
            return Err(WHY.into());
        }
        if self.has_more_ends() {
            return Err("what is to be done at the end, of which the script has several".into());
        }
        self.at_exit = Some((self.line, text));
        Ok(Vec::new())
    }

    /// A command that sets nothing, and reads what the script sets.
    fn is_plain(&self, kind: &Kind) -> bool {
        let known = |piece: &Piece| match piece {
            Piece::Text { .. } => true,
            Piece::Param { name, op: None, .. } => self.scope.sets(name),
            _ => false,
        };
        matches!(kind, Kind::Simple { assigns, words }
            if assigns.is_empty()
                && words.iter().flat_map(|word| &word.0).all(known)
                && words.first().and_then(Word::literal).is_some_and(|name| name != "exit"))
    }

    /// Does the script end anywhere after this line but at its end?
    fn has_more_ends(&self) -> bool {
        let words = |line: &str| -> Vec<String> {
            let plain = |c: char| c.is_alphanumeric() || "_-".contains(c);
            line.split(|c| !plain(c)).map(str::to_owned).collect()
        };
        let ends = |word: &String| {
            ["exit", "exec", "return", "trap", "set", "die"].contains(&word.as_str())
        };
        let mut before = self.source.lines().take(self.line);
        // Which of them a function is in is not looked for.
        let in_function = self.scope.has_functions()
            && before.any(|line| {
                words(line)
                    .iter()
                    .any(|word| word == "exit" || word == "exec")
            });
        let rest: Vec<&str> = self.source.lines().skip(self.line).collect();
        let mut rest = rest.as_slice();
        while let Some((last, before)) = rest.split_last()
            && matches!(last.trim(), "" | "exit" | "exit 0")
        {
            rest = before;
        }
        in_function || rest.iter().any(|line| words(line).iter().any(ends))
    }

    /// What is done at the end.
    pub(super) fn at_exit(&mut self) -> Vec<Step> {
        let Some((line, text)) = self.at_exit.take() else {
            return Vec::new();
        };
        let Ok(script) = parse(&text) else {
            return Vec::new();
        };
        let outer = (
            std::mem::replace(&mut self.source, text.as_str().into()),
            self.line,
            self.file.replace("trap".to_owned()),
        );
        self.line = line;
        let steps = self.items(&script.items);
        (self.source, self.line, self.file) = outer;
        steps
    }
}
