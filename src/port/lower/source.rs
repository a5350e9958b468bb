//! Files that a script reads with `.`: put in their place before it is translated. And the script's
//! own path, by which it finds them.

use std::fs;
use std::path::Path;

use super::super::Settings;
use super::super::shell::{self, Command, Item, Kind, Piece, Script, Sourced, Word};
use super::scope::{About, Scope, Shell};
use super::split;

/// How many files are read for one script, and how large they may be.
const FILES: usize = 30;
const SIZE: u64 = 1 << 18;

/// Puts what can be read of sourced files in their place.
pub(super) fn inline(script: &Script, about: &About<'_>, settings: &Settings) -> Script {
    let (mut script, mut left) = (script.clone(), FILES);
    if about.shell == Shell::Bash {
        expand(&mut script.items);
    }
    // What one of them sets may name the next.
    for _ in 0..4 {
        let scope = Scope::of(&script, about);
        let before = left;
        let mut files = Files {
            scope: &scope,
            settings,
            left,
        };
        files.items(&mut script.items);
        left = files.left;
        if left == before {
            break;
        }
    }
    script
}

/// Expands braces, as bash does before anything else.
fn expand(items: &mut [Item]) {
    let all = |words: &mut Vec<Word>| {
        let new: Result<Vec<Vec<Word>>, String> = words.iter().map(split::expanded).collect();
        // What cannot be expanded is said where it is translated.
        if let Ok(new) = new {
            *words = new.concat();
        }
    };
    for item in items {
        let rest = item.rest.iter_mut().map(|(_, pipeline)| pipeline);
        let pipelines = std::iter::once(&mut item.first).chain(rest);
        for command in pipelines.flat_map(|pipeline| &mut pipeline.commands) {
            match &mut command.kind {
                Kind::Simple { words, .. }
                | Kind::For {
                    words: Some(words), ..
                } => all(words),
                _ => {}
            }
            for list in command.kind.lists_mut() {
                expand(list);
            }
        }
    }
}

/// Libraries of init systems. A hook needs nothing of them but the functions that write messages.
const LIBRARIES: [&str; 5] = [
    "/lib/lsb/init-functions",
    "/etc/init.d/functions",
    "/etc/rc.d/init.d/functions",
    "/etc/init.d/functions.sh",
    "/lib/rc/sh/functions.sh",
];

/// Is this one of them?
pub(super) fn is_library(path: &str) -> bool {
    LIBRARIES.contains(&path)
}

struct Files<'a> {
    scope: &'a Scope,
    settings: &'a Settings,
    left: usize,
}

impl Files<'_> {
    fn items(&mut self, items: &mut [Item]) {
        for item in items {
            let rest = item.rest.iter_mut().map(|(_, pipeline)| pipeline);
            let pipelines = std::iter::once(&mut item.first).chain(rest);
            for command in pipelines.flat_map(|pipeline| &mut pipeline.commands) {
                self.command(command);
            }
        }
    }

    fn command(&mut self, command: &mut Command) {
        if let Kind::Sourced(sourced) = &mut command.kind {
            return self.items(&mut sourced.script.items);
        }
        let Some(path) = sourced(&command.kind) else {
            for list in command.kind.lists_mut() {
                self.items(list);
            }
            return;
        };
        let values = self.scope.texts(path, self.settings);
        let ([path], true) = (values.known.as_slice(), values.complete) else {
            return;
        };
        if is_library(path) {
            return;
        }
        if let Some(found) = self.left.checked_sub(1).and_then(|left| {
            let found = self.read(path)?;
            self.left = left;
            Some(found)
        }) {
            command.kind = Kind::Sourced(Box::new(found));
        }
    }

    fn read(&self, path: &str) -> Option<Sourced> {
        // Beside the script, however it says that.
        let own = self
            .scope
            .path()
            .rsplit_once('/')
            .map(|(directory, _)| directory);
        let beside = own.and_then(|own| path.strip_prefix(own)?.strip_prefix('/'));
        let place = self.settings.directory.join(beside.unwrap_or(path));
        let there = fs::metadata(&place).ok()?;
        if !there.is_file() || there.len() > SIZE {
            return None;
        }
        let text = String::from_utf8_lossy(&fs::read(&place).ok()?).into_owned();
        let mut script = shell::parse(&text).ok()?;
        if self.scope.is_bash() {
            expand(&mut script.items);
        }
        Some(Sourced {
            path: path.to_owned(),
            text,
            script,
        })
    }
}

/// The file of `. FILE`.
fn sourced(kind: &Kind) -> Option<&Word> {
    let Kind::Simple { assigns, words } = kind else {
        return None;
    };
    match words.as_slice() {
        [dot, path] if assigns.is_empty() && (dot.is(".") || dot.is("source")) => Some(path),
        _ => None,
    }
}

/// `${0%/*}` and `${0##*/}`.
pub(super) fn of_path(path: &str, op: &str, word: &Word) -> Option<String> {
    let pattern = word.literal()?;
    match (op, pattern.as_str()) {
        ("%", "/*") => Some(path.rsplit_once('/').map_or(path, |(at, _)| at).to_owned()),
        ("##", "*/") => path.rsplit('/').next().map(str::to_owned),
        _ => None,
    }
}

/// `$(dirname "$0")`, `$(basename $0 .sh)`, `$(readlink -f "$0")`, `$(cd "$(dirname "$0")" && pwd)`.
pub(super) fn part_of_path(items: &[Item], path: &str) -> Option<String> {
    let [item] = items else { return None };
    let words = |index: usize, pipelines: &[&shell::Pipeline]| match pipelines
        .get(index)?
        .commands
        .as_slice()
    {
        [
            Command {
                kind: Kind::Simple { assigns, words },
                ..
            },
        ] if assigns.is_empty() => Some(words.clone()),
        _ => None,
    };
    let pipelines: Vec<&shell::Pipeline> = std::iter::once(&item.first)
        .chain(item.rest.iter().filter(|(and, _)| *and).map(|(_, p)| p))
        .collect();
    let first = words(0, &pipelines)?;
    let text = |word: &Word| whole(word, path);
    let name = first.first()?.literal()?;
    match (name.rsplit('/').next()?, first.get(1..)?, pipelines.len()) {
        ("dirname", [of], 1) => {
            let of = text(of)?;
            Some(Path::new(&of).parent()?.to_str()?.to_owned())
        }
        ("basename", [of], 1) => Some(text(of)?.rsplit('/').next()?.to_owned()),
        ("basename", [of, end], 1) => {
            let (of, end) = (text(of)?, end.literal()?);
            let base = of.rsplit('/').next()?;
            Some(base.strip_suffix(&end).unwrap_or(base).to_owned())
        }
        ("readlink" | "realpath", [option, of], 1) if option.is("-f") => text(of),
        ("realpath", [of], 1) => text(of),
        ("cd", [to], 2) if words(1, &pipelines)?.first()?.is("pwd") => text(to),
        _ => None,
    }
}

/// A word in which nothing but the script's own path varies.
fn whole(word: &Word, path: &str) -> Option<String> {
    let piece = |piece: &Piece| match piece {
        Piece::Text { text, .. } => Some(text.clone()),
        Piece::Param { name, op: None, .. } if name == "0" => Some(path.to_owned()),
        Piece::Command { items, .. } => part_of_path(items, path),
        Piece::Param { .. } | Piece::Arithmetic(_) => None,
    };
    let text: String = word.0.iter().map(piece).collect::<Option<_>>()?;
    let own = word
        .0
        .iter()
        .any(|piece| !matches!(piece, Piece::Text { .. }));
    own.then_some(text)
}
