//! Comments of a script, put where they stood.

use super::super::ir::{Step, What};
use super::super::shell::Item;
use super::Lower;

impl Lower<'_> {
    /// Comments above this line that have found no place yet.
    pub(super) fn comments_before(&mut self, line: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        while self.comments.front().is_some_and(|(of, _)| *of < line)
            && let Some((of, text)) = self.comments.pop_front()
        {
            if !text.is_empty() {
                let line = if self.file.is_some() { self.line } else { of };
                steps.push(Step {
                    line,
                    what: What::Comment(text),
                });
            }
        }
        steps
    }

    /// Comments at the end of a list: those before the word that closes it.
    pub(super) fn comments_after(&mut self, last: Option<&Item>) -> Vec<Step> {
        let Some(last) = last else {
            return Vec::new();
        };
        let rest = self.source.get(last.span.end..).unwrap_or_default();
        let closes = |line: &str| {
            let word = line.trim_start();
            ["fi", "else", "elif", "done", "esac", ";;", "}", ")"]
                .iter()
                .any(|end| word.starts_with(end))
        };
        let open = rest
            .lines()
            .skip(1)
            .take_while(|line| !closes(line))
            .count();
        let end = last.line + self.text(last).matches('\n').count();
        self.comments_before(end + open + 1)
    }
}
