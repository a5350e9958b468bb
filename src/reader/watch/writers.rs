//! Who is in the middle of writing a file, and for how long that is waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Pauses;
use crate::process::Patience;
use crate::reader::Unfinished;

/// So many modules are told one by one. Where more are written at once, all hooks wait for them.
const MODULES_MAX: usize = 32;

/// Files that somebody has written to and not closed.
#[derive(Debug)]
pub(super) struct Writers {
    pauses: Pauses,
    files: BTreeMap<PathBuf, Writer>,
}

/// How long the writer of a file is waited for yet.
#[derive(Debug)]
struct Writer {
    /// If it writes nothing more.
    quiet: Patience,
    /// Whatever it does: one that always has more to say is not waited for for ever.
    at_most: Patience,
}

impl Writer {
    fn left(&self) -> Duration {
        self.quiet.left().min(self.at_most.left())
    }
}

impl Writers {
    pub(super) const fn new(pauses: Pauses) -> Self {
        Self {
            pauses,
            files: BTreeMap::new(),
        }
    }

    /// Somebody has written to this; is that news?
    pub(super) fn wrote(&mut self, file: &Path) -> bool {
        let quiet = Patience::of(self.pauses.writer);
        if let Some(writer) = self.files.get_mut(file) {
            writer.quiet = quiet;
            return false;
        }
        let at_most = Patience::of(self.pauses.writer_most);
        self.files
            .insert(file.to_owned(), Writer { quiet, at_most });
        true
    }

    /// It is complete, or gone; was it awaited?
    pub(super) fn closed(&mut self, file: &Path) -> bool {
        self.files.remove(file).is_some()
    }

    /// How long until one is waited for no longer.
    pub(super) fn patience(&self) -> Duration {
        let left = self.files.values().map(Writer::left);
        left.min().unwrap_or(Duration::MAX)
    }

    /// Waits no longer for those that have had their time.
    pub(super) fn give_up(&mut self) {
        self.files.retain(|_, writer| !writer.left().is_zero());
    }

    /// What is being written, where this is each hook's own.
    pub(super) fn unfinished(&self, own: &[BTreeSet<PathBuf>]) -> Unfinished {
        let modules: Vec<String> = self
            .files
            .keys()
            .filter(|file| is_module(file))
            .map(|file| file.to_string_lossy().into_owned())
            .collect();
        let too_many = modules.len() > MODULES_MAX;
        let held =
            |own: &BTreeSet<PathBuf>| too_many || self.files.keys().any(|file| own.contains(file));
        Unfinished {
            hooks: (0..)
                .zip(own)
                .filter(|(_, own)| held(own))
                .map(|(number, _)| number)
                .collect(),
            modules: if too_many { Vec::new() } else { modules },
        }
    }
}

fn is_module(file: &Path) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("lua" | "luau"))
}
