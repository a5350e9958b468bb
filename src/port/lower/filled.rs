//! Variables that are certainly not empty, since the script has looked: `[ -z "$X" ] && exit`,
//! `if [ -n "$X" ]; then ...`.

use super::super::shell::{Item, Kind, Piece, Pipeline, Word};
use super::Lower;

impl Lower<'_> {
    /// What is known of variables after this item: those that it ends the script for if they are
    /// empty.
    pub(super) fn fill_after(&mut self, item: &Item) {
        if self.nesting > 0 || self.function.is_some() || item.background {
            return;
        }
        let name = match (item.rest.as_slice(), item.first.commands.as_slice()) {
            ([(and, then)], _) if ends(then) => {
                asked(&item.first).filter(|(_, empty)| and == empty)
            }
            ([], [command]) => match &command.kind {
                Kind::If { arms, otherwise } if otherwise.is_empty() => match arms.as_slice() {
                    [(condition, body)] if body.last().is_some_and(|last| ends(&last.first)) => {
                        alone(condition).filter(|(_, empty)| *empty)
                    }
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        self.fill(name);
    }

    /// What is known where this condition holds; gives what was known before.
    pub(super) fn fill_where(&mut self, condition: &[Item]) -> usize {
        let before = self.filled.len();
        self.fill(alone(condition).filter(|(_, empty)| !empty));
        before
    }

    fn fill(&mut self, found: Option<(String, bool)>) {
        // Where it is set again it may be empty.
        if let Some((name, _)) = found
            && name.parse::<usize>().is_err()
            && (!self.scope.sets(&name)
                || (self.scope.is_set_once(&name) && self.set.contains(&name)))
        {
            self.filled.push(name);
        }
    }

    /// Is the value certainly not empty, since the script has looked?
    pub(super) fn is_filled(&self, word: &Word) -> bool {
        self.function.is_none()
            && matches!(word.0.as_slice(), [Piece::Param { name, op: None, .. }] if self.filled.contains(name))
    }
}

/// The one variable that a condition looks at, and whether it is true where that is empty.
fn alone(condition: &[Item]) -> Option<(String, bool)> {
    match condition {
        [item] if item.rest.is_empty() => asked(&item.first),
        _ => None,
    }
}

fn asked(pipeline: &Pipeline) -> Option<(String, bool)> {
    let [command] = pipeline.commands.as_slice() else {
        return None;
    };
    let words: Vec<&Word> = match &command.kind {
        Kind::Test(words) => words.iter().collect(),
        Kind::Simple { assigns, words } if assigns.is_empty() => match words.as_slice() {
            [open, inside @ .., close] if open.is("[") && close.is("]") => inside.iter().collect(),
            [test, inside @ ..] if test.is("test") => inside.iter().collect(),
            _ => return None,
        },
        _ => return None,
    };
    let (empty, value) = match words.as_slice() {
        [sign, value] if sign.is("-z") => (true, value),
        [sign, value] if sign.is("-n") => (false, value),
        [value] => (false, value),
        _ => return None,
    };
    match value.0.as_slice() {
        // Without quotes `[ -n ]` is true.
        [
            Piece::Param {
                name,
                op: None,
                quoted,
            },
        ] if *quoted || empty || words.len() == 1 || matches!(command.kind, Kind::Test(_)) => {
            Some((name.clone(), empty != pipeline.negated))
        }
        _ => None,
    }
}

/// Does it end the script?
fn ends(pipeline: &Pipeline) -> bool {
    let [command] = pipeline.commands.as_slice() else {
        return false;
    };
    match &command.kind {
        Kind::Simple { words, .. } => words
            .first()
            .is_some_and(|word| word.is("exit") || word.is("return")),
        Kind::Block {
            items,
            subshell: false,
        } => items
            .last()
            .is_some_and(|last| last.rest.is_empty() && ends(&last.first)),
        _ => false,
    }
}
