//! Of which functions the exit status matters.

use std::collections::HashSet;

use super::super::shell::{Command, Item, Kind, Pipeline, Word};

/// The names of commands that stand where somebody asks whether they work.
pub(super) fn asked(items: &[Item]) -> HashSet<String> {
    let mut asked = HashSet::new();
    loop {
        let before = asked.len();
        list(items, &mut asked, false);
        if asked.len() == before {
            return asked;
        }
    }
}

/// `last`: the status of the list is asked for.
fn list(items: &[Item], asked: &mut HashSet<String>, last: bool) {
    for (index, item) in items.iter().enumerate() {
        let next = items.get(index + 1).is_some_and(reads_status);
        let whole = next || (last && index + 1 == items.len());
        pipeline(&item.first, asked, whole || !item.rest.is_empty());
        for (index, (_, one)) in item.rest.iter().enumerate() {
            pipeline(one, asked, whole || index + 1 < item.rest.len());
        }
    }
}

fn pipeline(pipeline: &Pipeline, asked: &mut HashSet<String>, whole: bool) {
    let alone = pipeline.commands.len() == 1;
    for one in &pipeline.commands {
        command(one, asked, alone && (whole || pipeline.negated));
    }
}

fn command(command: &Command, asked: &mut HashSet<String>, whole: bool) {
    match &command.kind {
        Kind::Simple { words, .. } => {
            if whole && let Some(name) = words.first().and_then(Word::literal) {
                asked.insert(name);
            }
        }
        Kind::If { arms, otherwise } => {
            for (condition, body) in arms {
                list(condition, asked, true);
                list(body, asked, whole);
            }
            list(otherwise, asked, whole);
        }
        Kind::While {
            condition, body, ..
        } => {
            list(condition, asked, true);
            list(body, asked, false);
        }
        Kind::Case { arms, .. } => arms.iter().for_each(|(_, body)| list(body, asked, whole)),
        Kind::Block { items, .. } => list(items, asked, whole),
        Kind::Function { name, body } => {
            let whole = asked.contains(name);
            list(body, asked, whole);
        }
        Kind::For { body, .. } => list(body, asked, false),
        Kind::Sourced(sourced) => list(&sourced.script.items, asked, false),
        Kind::Test(_) | Kind::Arithmetic(_) | Kind::Unread(_) => {}
    }
}

/// Does the item look at `$?` before anything of it runs?
fn reads_status(item: &Item) -> bool {
    let word = |word: &Word| {
        word.0.iter().any(
            |piece| matches!(piece, super::super::shell::Piece::Param { name, .. } if name == "?"),
        )
    };
    let simple = |command: &Command| match &command.kind {
        Kind::Simple { assigns, words } => {
            words.iter().any(word) || assigns.iter().any(|(_, value)| word(value))
        }
        Kind::Test(words) => words.iter().any(word),
        Kind::Case { word: value, .. } => word(value),
        Kind::If { .. } | Kind::Arithmetic(_) => true,
        _ => false,
    };
    item.first.commands.first().is_some_and(simple)
}
