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
/// Different values of one thing that are kept, the newest last.
const VALUES_MAX: usize = 4;

type Values = BTreeMap<Resource, VecDeque<Value>>;

/// A directory of such files, of which one may be ours.
#[derive(Debug)]
pub(super) struct Records {
    directory: PathBuf,
    own: Option<String>,
    /// Also what could not be written.
    values: Values,
}

impl Records {
    pub(super) fn new(directory: PathBuf, own: Option<String>) -> Self {
        let values = own.as_ref().map(|name| read(&directory.join(name))).unwrap_or_default();
        Self { directory, own, values }
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

    /// Writes down what is there now, if it is news.
    pub(super) fn remember(&mut self, resource: &Resource, there: Value) {
        let there = timeless(there);
        let Some(name) = &self.own else { return };
        let file = self.directory.join(name);
        if self.values.get(resource).is_some_and(|known| known.contains(&there)) {
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
            values.pop_front();
        }
        if let Err(error) = write(&self.directory, &file, &self.values) {
            warn!(path = %file.display(), error, "Could not write down what was there before: after a crash it cannot be put back");
        }
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
