//! The files that a configuration names, which are all that the reader opens.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, Disk, FileOwners, Kind, Surroundings, Unusable, only_warns_of_owners};
use crate::hooks::artifact::source;
use crate::hooks::artifact::vet::beside;
use crate::resolve::{Refusal, Snapshot, Sources};

/// In place of every password, which is not the reader's to know.
const NO_PASSWORD: &[u8] = b"-";

/// The files that a configuration names, itself among them.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The configuration's file.
    config: PathBuf,
    /// Wherever they lead.
    files: BTreeSet<PathBuf>,
    /// Of these hooks' modules, too.
    hooks: BTreeSet<PathBuf>,
    /// What the configuration's file held when the keeper copied it.
    copy: Option<Arc<Snapshot>>,
    /// Whether files that others could write to are only reported, and opened anyway.
    lenient: bool,
}

/// Why a file may be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Right {
    /// It is named.
    Named,
    /// It may be a part of a hook, as long as it lies below this directory, links followed.
    Below(PathBuf),
}

impl Names {
    /// In this file, or in a copy of it. What is wrong with it is told to whoever opens it; it
    /// names what it names.
    #[must_use]
    pub fn read(config: &Path, copy: Option<Arc<Snapshot>>) -> Self {
        let sources = Sources::of_daemon().with_snapshot(copy.clone());
        let noted = Noted {
            disk: Disk::beside(config, sources.clone()),
            files: RefCell::default(),
        };
        let lenient = Config::read_in(config, &sources, &noted).map_or_else(
            |_| only_warns_of_owners(config, &sources),
            |read| is_lenient(&read.config),
        );
        Self {
            copy,
            lenient,
            ..Self::new(config, noted.files.into_inner())
        }
    }

    /// In a configuration that no file holds.
    #[must_use]
    pub fn of(path: &Path, config: &Config) -> Self {
        let hooks = config
            .hooks
            .values()
            .filter(|hook| matches!(hook.kind, Kind::Module));
        let files = hooks.flat_map(|hook| hook.signature.iter().chain([&hook.path]));
        Self {
            lenient: is_lenient(config),
            ..Self::new(path, files.cloned().collect())
        }
    }

    fn new(config: &Path, mut files: BTreeSet<PathBuf>) -> Self {
        let ending = |path: &&PathBuf| {
            path.extension()
                .and_then(|ending| ending.to_str())
                .map(str::to_owned)
        };
        let is_hook =
            |path: &&PathBuf| matches!(ending(path).as_deref(), Some("lua" | "luau" | "wasm"));
        let hooks: BTreeSet<PathBuf> = files.iter().filter(is_hook).cloned().collect();
        for hook in &hooks {
            let tests = source::tests(hook);
            files.extend(tests.iter().chain([hook]).map(|file| beside(file)));
            files.extend(tests);
        }
        files.insert(config.to_owned());
        Self {
            config: config.to_owned(),
            files,
            hooks,
            copy: None,
            lenient: false,
        }
    }

    /// The copy of a file, if there is one.
    pub(super) fn copy(&self, path: &Path) -> Option<io::Result<File>> {
        self.copy.as_ref()?.open(path)
    }

    /// Why this is not to be opened, of what is on the way to it.
    pub(super) fn refusal<'a>(&self, objections: &'a [Refusal]) -> Option<&'a Refusal> {
        objections.first().filter(|_| !self.lenient)
    }

    /// May this be opened?
    pub(super) fn right(&self, path: &Path) -> Option<Right> {
        if self.files.contains(path) {
            return Some(Right::Named);
        }
        self.hooks
            .iter()
            .find_map(|hook| below(source::directory(hook), path))
    }

    /// Is it a hook that is named?
    pub(super) fn has_hook(&self, path: &Path) -> bool {
        self.hooks.contains(path)
    }

    /// Is it the directory of the configuration?
    pub(super) fn is_home(&self, directory: &Path) -> bool {
        self.config.parent() == Some(directory)
    }
}

fn is_lenient(config: &Config) -> bool {
    config.daemon.file_owners == FileOwners::Warn
}

/// As a module below a hook's directory, or the signature of one.
fn below(directory: &Path, path: &Path) -> Option<Right> {
    let root = fs::canonicalize(directory).ok()?;
    let key = path
        .strip_prefix(&root)
        .or_else(|_| path.strip_prefix(directory))
        .ok()?;
    let signed = key
        .to_str()
        .and_then(|key| key.strip_suffix(crate::trust::SUFFIX))
        .map(Path::new);
    source::is_key(signed.unwrap_or(key)).then_some(Right::Below(root))
}

/// Notes what is asked for.
struct Noted {
    disk: Disk,
    files: RefCell<BTreeSet<PathBuf>>,
}

impl Noted {
    fn note(&self, path: &Path) -> PathBuf {
        let path = self.disk.directory.join(path);
        self.files.borrow_mut().insert(path.clone());
        path
    }
}

impl Surroundings for Noted {
    fn password_file(&self, path: &Path) -> Result<Vec<u8>, Unusable> {
        self.note(path);
        Ok(NO_PASSWORD.to_vec())
    }

    fn credential(&self, name: &str) -> Result<Vec<u8>, Unusable> {
        if let Some(directory) = &self.disk.credentials {
            self.note(&directory.join(name));
        }
        Ok(NO_PASSWORD.to_vec())
    }

    fn key_file(&self, path: &Path) -> Result<Vec<u8>, Unusable> {
        self.note(path);
        self.disk.key_file(path)
    }

    fn hook_file(&self, path: &Path) -> Result<PathBuf, Unusable> {
        Ok(self.note(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_elsewhere_does_not_make_the_rules_stricter() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("carpd.toml");
        let warns = "[daemon]\nfile-owners = \"warn\"\n";
        let mistaken = format!("{warns}[[vhost]]\nno-such-key = 1\n");
        let (no_toml, strict) = (format!("{warns}["), "[[vhost]]\nno-such-key = 1\n");
        for (text, lenient) in [(&*mistaken, true), (&*no_toml, false), (strict, false)] {
            fs::write(&config, text).unwrap();
            assert!(Config::load(&config).is_err(), "{text}");
            assert_eq!(Names::read(&config, None).lenient, lenient, "{text}");
        }
    }
}
