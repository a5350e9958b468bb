//! Records of previous values before granted changes: only those may be restored without a grant.
//! The helper keeps them itself, since the engine controls the ledger.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tracing::{debug, warn};

use crate::effect::{FoundFile, Resource, Value};
use crate::record::{MAGIC_LEN, whole};

const MAGIC: [u8; MAGIC_LEN] = *b"carpdbf1";
/// The largest file: some large files of hooks.
const LIMIT: u64 = 64 << 20;
/// The most files that are read, the newest ones: there is one for each daemon that ran here.
const FILES_MAX: usize = 256;
/// A file without a ledger is kept for this long after it was last written.
const KEPT: Duration = Duration::from_hours(30 * 24);
/// A ledger, in an instance's directory.
const LEDGER: &str = "ledger";
/// How many values are kept of one resource: the first one ever, and the newest.
const VALUES_MAX: usize = 4;

type Values = BTreeMap<Resource, VecDeque<Value>>;

/// A directory of such files, of which one may be ours.
#[derive(Debug)]
pub(super) struct Records {
    directory: PathBuf,
    own: Option<String>,
    /// Also what could not be written.
    values: Values,
    /// Values that this helper itself has set, which are not previous values.
    ours: BTreeMap<Resource, Value>,
}

impl Records {
    /// Those of one daemon, if it has a name, and what others have written down there.
    pub(super) fn new(directory: PathBuf, own: Option<String>) -> Self {
        let values = own
            .as_ref()
            .map(|name| read(&directory.join(name)))
            .unwrap_or_default();
        Self {
            directory,
            own,
            values,
            ours: BTreeMap::new(),
        }
    }

    /// Whether this value is recorded. Without a value: whether anything is recorded for the
    /// resource.
    pub(super) fn has(&self, resource: &Resource, value: Option<&Value>) -> bool {
        let value = value.map(|value| timeless(value.clone()));
        let same = |known: &Value| value.as_ref().is_none_or(|value| value.looks_like(known));
        let known = |values: &Values| {
            values
                .get(resource)
                .is_some_and(|there| there.iter().any(same))
        };
        // Other daemons died here, or the previous helper has just written.
        known(&self.values) || files(&self.directory).any(|file| known(&read(&file)))
    }

    /// Whether anything is recorded for such a resource.
    pub(super) fn any(&self, such: impl Fn(&Resource) -> bool) -> bool {
        self.values.keys().any(&such)
            || files(&self.directory).any(|file| read(&file).keys().any(&such))
    }

    /// Records the current value before `next` replaces it, if it is not recorded yet.
    pub(super) fn remember(&mut self, resource: &Resource, there: Value, next: Value) {
        let there = timeless(there);
        let Some(name) = &self.own else { return };
        let file = self.directory.join(name);
        let is_ours = self
            .ours
            .insert(resource.clone(), next)
            .is_some_and(|ours| ours.looks_like(&there));
        let is_known = self
            .values
            .get(resource)
            .is_some_and(|known| known.contains(&there));
        // Another helper may have taken the file for a dead daemon's.
        if is_ours || (is_known && file.exists()) {
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
            // The first one is the value before any daemon changed it.
            values.remove(1);
        }
        if let Err(error) = write(&self.directory, &file, &self.values) {
            warn!(path = %file.display(), error, "Could not record the previous value: after a crash it cannot be restored");
        }
    }

    /// Removes what is no longer needed: old files of daemons that have no ledger in these
    /// directories, and the oldest files if there are more than are read. Only what a ledger lists
    /// is ever restored; a running daemon writes its file again before it changes anything.
    pub(super) fn prune(&self, ledgers: &[&Path], now: SystemTime) {
        let referred = |file: &Path| {
            file.file_name()
                .is_some_and(|name| ledgers.iter().any(|all| has_ledger(all, name)))
        };
        let is_own = |file: &Path| {
            self.own
                .as_ref()
                .is_some_and(|own| file.file_name().is_some_and(|name| name == own.as_str()))
        };
        for (place, (written, file)) in by_age(&self.directory).into_iter().enumerate() {
            let is_old = now.duration_since(written).is_ok_and(|age| age > KEPT);
            if (is_old || place >= FILES_MAX) && !is_own(&file) && !referred(&file) {
                match fs::remove_file(&file) {
                    Ok(()) => {
                        debug!(path = %file.display(), "Removed the records of an old daemon");
                    }
                    Err(error) => {
                        warn!(path = %file.display(), %error, "Could not remove the records of an old daemon");
                    }
                }
            }
        }
    }

    /// The resource is restored: the next value found there is not ours.
    pub(super) fn put_back(&mut self, resource: &Resource) {
        self.ours.remove(resource);
    }
}

/// Ignores a file's times: with them every write would be a new value, and would displace older
/// ones.
fn timeless(value: Value) -> Value {
    match value {
        Value::FoundFile(found) => Value::FoundFile(FoundFile {
            modified: (0, 0),
            accessed: (0, 0),
            ..found
        }),
        other => other,
    }
}

/// Whether there is a ledger of the instance with this name, in any network namespace. True if that
/// cannot be determined.
fn has_ledger(directory: &Path, name: &OsStr) -> bool {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries.flatten(),
        Err(error) => return error.kind() != io::ErrorKind::NotFound,
    };
    let is_of = |entry: &fs::DirEntry| {
        let there = entry.file_name();
        let there = there.as_encoded_bytes();
        there
            .strip_prefix(name.as_encoded_bytes())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"@"))
    };
    let may_have = |entry: fs::DirEntry| {
        let there = fs::symlink_metadata(entry.path().join(LEDGER));
        there.map_or_else(|error| error.raw_os_error() == Some(libc::EACCES), |_| true)
    };
    entries.filter(is_of).any(may_have)
}

fn files(directory: &Path) -> impl Iterator<Item = PathBuf> {
    by_age(directory)
        .into_iter()
        .map(|(_, file)| file)
        .take(FILES_MAX)
}

/// The newest first.
fn by_age(directory: &Path) -> Vec<(SystemTime, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let named = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let mut found: Vec<_> = named
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort_by(|one, other| other.cmp(one));
    found
}

/// A file that cannot be read, is damaged or could have been written by another user counts as
/// empty.
fn read(file: &Path) -> Values {
    let bytes = whole::read(file, MAGIC, LIMIT)
        .inspect_err(|error| warn!(%error, "Ignoring a file with records of previous values: after a crash they cannot be restored"));
    bytes
        .ok()
        .flatten()
        .and_then(|bytes| postcard::from_bytes(&bytes).ok())
        .unwrap_or_default()
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
            records.remember(
                &name,
                text(&format!("ours {n}")),
                text(&format!("ours {}", n + 1)),
            );
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
        assert!(
            kept.into_iter()
                .all(|kept| records.has(&name, Some(&text(kept))))
        );
        assert!(
            !["ours 3", "ours", "theirs 0"]
                .into_iter()
                .any(|gone| records.has(&name, Some(&text(gone))))
        );
        assert!(
            records.any(|resource| *resource == name)
                && !records.has(
                    &Resource::File {
                        path: "/x".to_owned()
                    },
                    None
                )
        );
    }

    #[test]
    fn what_nobody_will_ask_for_goes() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let (directory, run, state) = (at("helper"), at("run"), at("state"));
        let records = |name: &str| Records::new(directory.clone(), Some(name.to_owned()));
        let mut first = records("own");
        let [own, one] = ["own", "one"].map(str::to_owned);
        for name in ["own", "held-1", "held-2", "gone", "gone-2"] {
            records(name).remember(&Resource::Hostname, text(name), text("ours"));
        }
        first.remember(&Resource::Hostname, text("own"), text("ours"));
        for ledger in [
            run.join("held-1@4711"),
            state.join("held-2"),
            run.join("gone"),
        ] {
            fs::create_dir_all(&ledger).unwrap();
            if !ledger.ends_with("gone") {
                fs::write(ledger.join("ledger"), "").unwrap();
            }
        }
        let written = fs::metadata(directory.join("gone"))
            .unwrap()
            .modified()
            .unwrap();
        let left = |after: Duration| {
            first.prune(&[&run, &state], written + after);
            let mut names: Vec<_> = fs::read_dir(&directory)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(
            left(KEPT).len(),
            5,
            "what a daemon wrote that may come back"
        );
        assert_eq!(
            left(KEPT + Duration::from_mins(1)),
            ["held-1", "held-2", "own"]
        );
        // What another one took for old is written again.
        let mut lives = records(&own);
        fs::remove_file(directory.join("own")).unwrap();
        lives.remember(&Resource::Hostname, text("own"), text("ours"));
        assert!(directory.join("own").exists());
        // More than are looked into: the oldest go.
        for n in 0..FILES_MAX + 5 {
            let file = fs::File::create(directory.join(format!("{one}-{n:03}"))).unwrap();
            file.set_modified(written + Duration::from_secs(60 + n as u64))
                .unwrap();
        }
        let names = left(Duration::from_mins(10));
        assert_eq!(
            names.len(),
            FILES_MAX + 3,
            "and those that are referred to are kept: {names:?}"
        );
        assert!(!names.contains(&"one-000".to_owned()) && names.contains(&"one-260".to_owned()));
    }

    #[test]
    fn what_somebody_else_could_have_written_counts_as_nothing() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("helper");
        let mut records = Records::new(directory.clone(), Some("a".to_owned()));
        records.remember(&Resource::Hostname, text("before"), text("ours"));
        let other = || Records::new(directory.clone(), None);
        assert!(
            other().has(&Resource::Hostname, Some(&text("before"))),
            "of another daemon"
        );
        let mode = |mode| {
            fs::set_permissions(
                directory.join("a"),
                std::os::unix::fs::PermissionsExt::from_mode(mode),
            )
            .unwrap();
        };
        mode(0o622);
        assert!(!other().has(&Resource::Hostname, None));
        mode(0o600);
        fs::write(directory.join("a"), "nonsense").unwrap();
        assert!(!other().has(&Resource::Hostname, None));
    }
}
