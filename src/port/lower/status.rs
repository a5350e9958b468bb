//! Of which functions the exit status matters.

use std::collections::HashSet;

use super::super::ir::{Action, Cond};
use super::super::shell::{Command, Item, Kind, Piece, Pipeline, Word};

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
        word.0
            .iter()
            .any(|piece| matches!(piece, Piece::Param { name, .. } if name == "?"))
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

/// The functions that lines which cannot be read seem to define: no programs of these names are
/// meant.
pub(super) fn unread_functions(items: &[Item], source: &str) -> HashSet<String> {
    let unread = |item: &&Item| {
        let commands = &item.first.commands;
        matches!(commands.as_slice(), [command] if matches!(command.kind, Kind::Unread(_)))
    };
    let texts = items.iter().filter(unread);
    let lines = texts.flat_map(|item| source.get(item.span.clone()).unwrap_or_default().lines());
    let name = |line: &str| {
        let line = line.trim();
        let name = match line.strip_prefix("function ") {
            Some(rest) => rest.split(['(', '{', ' ']).next(),
            None => line.split_once("()").map(|(name, _)| name.trim_end()),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        name.filter(|name| !name.is_empty() && name.chars().all(plain))
            .map(str::to_owned)
    };
    lines.filter_map(name).collect()
}

/// Is the number that is remembered the one that the shell has?
pub(super) fn is_exact(cond: &Cond) -> bool {
    match cond {
        Cond::Did(actions) => matches!(actions.as_slice(), [Action::Run(_)]),
        // ip(8) ends with 2, and with other numbers.
        Cond::Changed(_) | Cond::Function(..) | Cond::And(..) | Cond::Or(..) => false,
        _ => true,
    }
}

/// `NAME=$?`, `exit $?` and their like.
pub(super) fn of_last(pipeline: &Pipeline) -> bool {
    let status = |word: &Word| {
        let piece = |piece: &Piece| matches!(piece, Piece::Param { name, .. } if name == "?");
        word.0.iter().any(piece)
    };
    match pipeline.commands.as_slice() {
        [command] => match &command.kind {
            Kind::Simple { assigns, words } => {
                words.iter().any(status) || assigns.iter().any(|(_, value)| status(value))
            }
            _ => false,
        },
        _ => false,
    }
}
