//! What there was before granted changes: only that may be put back without a grant. The helper writes it down itself, since the
//! ledger is the engine's.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::effect::{FoundFile, Resource, Value};
use crate::record::{MAGIC_LEN, whole};

const MAGIC: [u8; MAGIC_LEN] = *b"carpdbf1";
/// The largest file: some large files of hooks.
const LIMIT: u64 = 64 << 20;
/// The most files that are looked into: one for each daemon that ever ran here.
const FILES_MAX: usize = 256;
/// Different values of one thing that are kept: the first one ever, and the newest.
const VALUES_MAX: usize = 4;

type Values = BTreeMap<Resource, VecDeque<Value>>;

/// A directory of such files, of which one may be ours.
#[derive(Debug)]
pub(super) struct Records {
    directory: PathBuf,
    own: Option<String>,
    /// Also what could not be written.
    values: Values,
    /// What this helper itself has set: it is not what was there before.
    ours: BTreeMap<Resource, Value>,
}

impl Records {
    pub(super) fn new(directory: PathBuf, own: Option<String>) -> Self {
        let values = own.as_ref().map(|name| read(&directory.join(name))).unwrap_or_default();
        Self { directory, own, values, ours: BTreeMap::new() }
    }

    /// Was this ever there, as far as anybody here remembers? Without a value: is anything remembered of it?
    pub(super) fn has(&self, resource: &Resource, value: Option<&Value>) -> bool {
        let value = value.map(|value| timeless(value.clone()));
        let same = |known: &Value| value.as_ref().is_none_or(|value| value.looks_like(known));
        let known = |values: &Values| values.get(resource).is_some_and(|there| there.iter().any(same));
        // Other daemons died here, or the helper before this one has just written.
        known(&self.values) || files(&self.directory).any(|file| known(&read(&file)))
    }

    /// Is anything remembered of such a thing?
    pub(super) fn any(&self, such: impl Fn(&Resource) -> bool) -> bool {
        self.values.keys().any(&such) || files(&self.directory).any(|file| read(&file).keys().any(&such))
    }

    /// Writes down what is there before `next` takes its place, if it is news.
    pub(super) fn remember(&mut self, resource: &Resource, there: Value, next: Value) {
        let there = timeless(there);
        let Some(name) = &self.own else { return };
        let file = self.directory.join(name);
        let is_ours = self.ours.insert(resource.clone(), next).is_some_and(|ours| ours.looks_like(&there));
        if is_ours || self.values.get(resource).is_some_and(|known| known.contains(&there)) {
            return;
        }
        // A helper that ends may still have written.
        for (resource, values) in read(&file) {
            self.values.entry(resource).or_insert(values);
        }
        let values = self.values.entry(resource.clone()).or_default();
        if !values.contains(&there) {
            values.push_back(there);
        }
        if values.len() > VALUES_MAX {
            // The first is what was there before any daemon.
            values.remove(1);
        }
        if let Err(error) = write(&self.directory, &file, &self.values) {
            warn!(path = %file.display(), error, "Could not write down what was there before: after a crash it cannot be put back");
        }
    }

    /// It goes back to what it was: the next value that is found there is not of our making.
    pub(super) fn put_back(&mut self, resource: &Resource) {
        self.ours.remove(resource);
    }
}

/// A file's times do not matter here: with them every write would be news, and push out what there was first.
fn timeless(value: Value) -> Value {
    match value {
        Value::FoundFile(found) => Value::FoundFile(FoundFile { modified: (0, 0), accessed: (0, 0), ..found }),
        other => other,
    }
}

fn files(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(FILES_MAX);
    entries
        .map(|entry| entry.path())
        .filter(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")))
}

/// What cannot be read, is damaged or could be another user's work counts as nothing.
fn read(file: &Path) -> Values {
    let bytes = whole::read(file, MAGIC, LIMIT).inspect_err(|error| warn!(%error, "Ignores what was written down"));
    bytes.ok().flatten().and_then(|bytes| postcard::from_bytes(&bytes).ok()).unwrap_or_default()
}

fn write(directory: &Path, file: &Path, values: &Values) -> Result<(), String> {
    whole::directory(directory).map_err(|error| error.to_string())?;
    let bytes = postcard::to_stdvec(values).map_err(|error| error.to_string())?;
    whole::write(file, MAGIC, &bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn what_was_first_and_what_came_last_are_kept_and_not_what_was_set() {
        let root = tempfile::tempdir().unwrap();
        let new = || Records::new(root.path().join("helper"), Some("a".to_owned()));
        let (name, mut records) = (Resource::Hostname, new());
        records.remember(&name, text("first"), text("ours 0"));
        // A hook that sets it again and again.
        for n in 0..10 {
            records.remember(&name, text(&format!("ours {n}")), text(&format!("ours {}", n + 1)));
        }
        // And others, who do so in between; this helper and the next.
        for n in 0..5 {
            records.remember(&name, text(&format!("theirs {n}")), text("ours"));
            records = new();
        }
        records.remember(&name, text("theirs 4"), text("ours and theirs"));
        records.put_back(&name);
        records.remember(&name, text("ours and theirs"), text("ours"));
        let kept = ["first", "theirs 3", "theirs 4", "ours and theirs"];
        assert!(kept.into_iter().all(|kept| records.has(&name, Some(&text(kept)))));
        assert!(!["ours 3", "ours", "theirs 0"].into_iter().any(|gone| records.has(&name, Some(&text(gone)))));
        assert!(records.any(|resource| *resource == name) && !records.has(&Resource::File { path: "/x".to_owned() }, None));
    }

    #[test]
    fn what_somebody_else_could_have_written_counts_as_nothing() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("helper");
        let mut records = Records::new(directory.clone(), Some("a".to_owned()));
        records.remember(&Resource::Hostname, text("before"), text("ours"));
        let other = || Records::new(directory.clone(), None);
        assert!(other().has(&Resource::Hostname, Some(&text("before"))), "of another daemon");
        let mode = |mode| fs::set_permissions(directory.join("a"), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        mode(0o622);
        assert!(!other().has(&Resource::Hostname, None));
        mode(0o600);
        fs::write(directory.join("a"), "nonsense").unwrap();
        assert!(!other().has(&Resource::Hostname, None));
    }
}
