//! The files of the hooks' `state`: one for each virtual host and hook, to which records are
//! appended.
//!
//! As with the ledger, `write(2)` is enough to survive the process; the file is synced a moment
//! later. A file that is mostly history is rewritten. What cannot be written stays in memory, and
//! is written with the next change.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::DiskWriter;
use super::state_store::{KEY_BYTES_MAX, KEYS_MAX, VALUE_BYTES_MAX};
use crate::ledger::Owner;
use crate::record::{self, MAGIC_LEN, Records, whole};

/// The kind of file, and its format version.
const MAGIC: [u8; MAGIC_LEN] = *b"carpdS01";
/// A file smaller than this is not worth rewriting.
const COMPACT_MIN: u64 = 64 * 1024;
/// A file is rewritten when it is this many times as long as its current content.
const COMPACT_RATIO: u64 = 4;
/// The longest file that is read: everything that a hook may store, and its history.
const FILE_MAX: u64 = 4 << 20;
/// More files than this are not ours.
const FILES_MAX: usize = 4096;

/// One hook's values for one virtual host.
pub(in crate::engine) type Values = BTreeMap<String, Vec<u8>>;

/// One change; `None` deletes.
#[derive(Debug, Serialize, Deserialize)]
struct Change {
    key: String,
    value: Option<Vec<u8>>,
}

/// All files.
#[derive(Debug)]
pub(in crate::engine) struct StateFiles {
    directory: PathBuf,
    disk: DiskWriter,
    files: BTreeMap<Owner, StateFile>,
    found: BTreeMap<Owner, Values>,
}

#[derive(Debug, Default)]
struct StateFile {
    /// Its length, including pending writes.
    len: u64,
    /// Some of it could not be written, or it ends in a partial record: it must be rewritten.
    behind: Arc<AtomicBool>,
}

/// Resolves when a change can no longer be lost if the process dies, or could not be written.
#[derive(Debug)]
pub(in crate::engine) struct Saved(Option<oneshot::Receiver<()>>);

impl Saved {
    /// There is nothing to wait for.
    pub(in crate::engine) const fn already() -> Self {
        Self(None)
    }

    /// Waits for it.
    pub(in crate::engine) async fn wait(self) {
        if let Some(done) = self.0 {
            // A job that was refused or failed drops its end.
            _ = done.await;
        }
    }
}

impl StateFiles {
    /// Reads the existing files. Those that cannot be read are moved aside, not overwritten.
    pub(super) async fn open(directory: PathBuf, disk: DiskWriter) -> Self {
        let from = directory.clone();
        let read = tokio::task::spawn_blocking(move || read_all(&from))
            .await
            .unwrap_or_default();
        let mut this = Self {
            directory,
            disk,
            files: BTreeMap::new(),
            found: BTreeMap::new(),
        };
        for (owner, Found { values, len, torn }) in read {
            let behind = Arc::new(AtomicBool::new(torn));
            this.files.insert(owner.clone(), StateFile { len, behind });
            this.found.insert(owner, values);
        }
        this
    }

    /// What was found at the start; once.
    pub(in crate::engine) fn take_found(&mut self) -> BTreeMap<Owner, Values> {
        std::mem::take(&mut self.found)
    }

    /// Writes a change in the background; `values` are all current values.
    pub(in crate::engine) fn write(
        &mut self,
        owner: &Owner,
        key: &str,
        value: Option<&[u8]>,
        values: &Values,
    ) -> Saved {
        let file = self.files.entry(owner.clone()).or_default();
        let path = path(&self.directory, owner);
        let (told, saved) = oneshot::channel();
        let live: u64 = values
            .iter()
            .map(|(key, value)| len_of(key.len() + value.len()))
            .sum();
        let history = file.len > COMPACT_MIN && file.len / COMPACT_RATIO > live;
        let whole = file.len == 0 || history || file.behind.load(Ordering::Relaxed);
        let bytes = if whole {
            snapshot(owner, values)
        } else {
            change(key, value)
        };
        let Ok(bytes) = bytes else {
            return Saved::already();
        };
        file.len = if whole { 0 } else { file.len } + len_of(bytes.len());
        let (owner, values, behind) = (owner.clone(), values.clone(), Arc::clone(&file.behind));
        let (directory, subject, mut told) = (self.directory.clone(), path.clone(), Some(told));
        let ordered = self.disk.later("a hook's state", &subject, move || {
            // Also one that was to be appended, if what stands before it, or a part of itself,
            // could not be written.
            let whole = whole || behind.load(Ordering::Relaxed);
            let done = if whole {
                let all = snapshot(&owner, &values).map_err(io::Error::other);
                let made = whole::directory(&directory).map_err(io::Error::other);
                made.and(all).and_then(|all| whole::replace(&path, &all))
            } else {
                append(&path, &bytes)
            };
            behind.store(done.is_err(), Ordering::Relaxed);
            if let Some(told) = told.take() {
                _ = told.send(());
            }
            done.map(|()| (!whole).then(|| path.clone()))
        });
        Saved(ordered.then_some(saved))
    }
}

fn len_of(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Neither name can have an `@` in it.
fn path(directory: &Path, owner: &Owner) -> PathBuf {
    directory.join(format!(
        "{}@{}",
        owner.vhost,
        owner.hook.as_ref().map_or("", |hook| hook.as_str())
    ))
}

fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let place = crate::resolve::own(path)?;
    if place.metadata()?.is_none() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut file = place.create(OFlag::O_WRONLY | OFlag::O_APPEND, 0o600)?;
    file.write_all(bytes)
}

fn change(key: &str, value: Option<&[u8]>) -> Result<Vec<u8>, postcard::Error> {
    let mut bytes = Vec::new();
    let change = Change {
        key: key.to_owned(),
        value: value.map(<[u8]>::to_vec),
    };
    record::frame(&postcard::to_stdvec(&change)?, &mut bytes);
    Ok(bytes)
}

fn snapshot(owner: &Owner, values: &Values) -> Result<Vec<u8>, postcard::Error> {
    let mut bytes = MAGIC.to_vec();
    record::frame(&postcard::to_stdvec(owner)?, &mut bytes);
    for (key, value) in values {
        bytes.extend(change(key, Some(value))?);
    }
    Ok(bytes)
}

/// What one file says.
#[derive(Debug, Default)]
struct Found {
    values: Values,
    len: u64,
    torn: bool,
}

fn read_all(directory: &Path) -> Vec<(Owner, Found)> {
    if matches!(directory.try_exists(), Ok(false)) {
        return Vec::new();
    }
    if let Err(error) = whole::directory(directory) {
        warn!(%error, "Starting without the hooks' state");
        return Vec::new();
    }
    let entries = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .take(FILES_MAX);
    let mut all = Vec::new();
    for path in entries.map(|entry| entry.path()) {
        let Some(owner) = path.file_name().and_then(|name| owner(name.to_str()?)) else {
            continue;
        };
        match read_one(&path, &owner) {
            Ok(found) => all.push((owner, found)),
            Err(why) => {
                let kept = fs::rename(&path, path.with_added_extension("unreadable")).is_ok();
                error!(path = %path.display(), kept, why, "Cannot read a hook's state: starting with an empty one");
            }
        }
    }
    all
}

/// Whose file this is; `None` for any that we did not name.
fn owner(file_name: &str) -> Option<Owner> {
    let (vhost, hook) = file_name.split_once('@')?;
    (!hook.ends_with(".unreadable")).then_some(())?;
    Some(Owner {
        vhost: vhost.parse().ok()?,
        hook: Some(hook.parse().ok()?),
    })
}

fn read_one(path: &Path, owner: &Owner) -> Result<Found, String> {
    let bytes = whole::read_own(path, FILE_MAX)
        .map_err(|error| error.why)?
        .unwrap_or_default();
    let mut records = Records::new(&bytes, MAGIC).ok_or("of another kind or version")?;
    let head = records
        .next()
        .and_then(|head| postcard::from_bytes::<Owner>(head).ok());
    if head.as_ref() != Some(owner) {
        return Err("its first record is incomplete, or belongs to another hook".to_owned());
    }
    let mut values = Values::new();
    for record in &mut records {
        let Change { key, value } =
            postcard::from_bytes(record).map_err(|error| error.to_string())?;
        let too_long = key.len() > KEY_BYTES_MAX
            || value
                .as_ref()
                .is_some_and(|value| value.len() > VALUE_BYTES_MAX);
        match value {
            Some(value) => drop(values.insert(key, value)),
            None => drop(values.remove(&key)),
        }
        if too_long || values.len() > KEYS_MAX {
            return Err("more than a hook may have".to_owned());
        }
    }
    let torn = records.torn();
    if torn {
        warn!(path = %path.display(), "A hook's state ends in a partial record: its writer died while writing");
    }
    Ok(Found {
        values,
        len: len_of(records.position()),
        torn,
    })
}
