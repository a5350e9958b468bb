//! The last good version of every hook, as bytes, so that a broken file on disk does not leave the
//! node without its hook when the daemon starts.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::DiskWriter;
use crate::hooks::HookSource;
use crate::hooks::artifact::source::MAX_TOTAL;
use crate::hooks::artifact::vet::Signatures;
use crate::record::{MAGIC_LEN, whole};
use crate::types::Name;

/// The kind of file, and its format version.
const MAGIC: [u8; MAGIC_LEN] = *b"carpdH02";
/// The longest: all that a hook may read, its configuration, and the signatures of all of it.
const FILE_MAX: u64 = MAX_TOTAL + (8 << 20);
/// More files than this are not ours.
const FILES_MAX: usize = 4096;

/// Where accepted hooks are kept.
#[derive(Debug)]
pub(in crate::engine) struct LastGood {
    directory: Option<PathBuf>,
    disk: DiskWriter,
}

/// One of them.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::engine) struct LastGoodHook {
    /// Milliseconds since 1970 when it became active.
    pub(in crate::engine) accepted_ms: u64,
    /// SHA-256 of the source.
    pub(in crate::engine) digest: String,
    /// All that it was loaded from.
    pub(in crate::engine) source: HookSource,
    /// What vouched for it.
    pub(in crate::engine) signatures: Signatures,
}

impl LastGood {
    pub(super) const fn new(directory: Option<PathBuf>, disk: DiskWriter) -> Self {
        Self { directory, disk }
    }

    /// Saves an accepted hook in place of the previous version. Does not wait for the disk.
    pub(in crate::engine) fn keep(
        &self,
        source: &Arc<HookSource>,
        signatures: Signatures,
        accepted_ms: u64,
    ) {
        let Some(directory) = self.directory.clone() else {
            return;
        };
        let source = Arc::clone(source);
        let path = directory.join(source.name.as_str());
        self.disk.later("an accepted hook", &path.clone(), move || {
            let digest = source.digest();
            let same = read(&directory, &source.name)
                .ok()
                .flatten()
                .filter(|there| there.digest == digest);
            if same
                .as_ref()
                .is_some_and(|there| there.signatures == signatures)
            {
                return Ok(None);
            }
            // Signed again, it is still the same version.
            let accepted_ms = same.map_or(accepted_ms, |there| there.accepted_ms);
            whole::directory(&directory).map_err(std::io::Error::other)?;
            let kept = LastGoodHook {
                accepted_ms,
                digest,
                source: (*source).clone(),
                signatures: signatures.clone(),
            };
            let bytes = postcard::to_stdvec(&kept).map_err(std::io::Error::other)?;
            whole::write(&path, MAGIC, &bytes)?;
            Ok(None)
        });
    }

    /// The last good version of a hook. A file that cannot be trusted is reported, and treated as
    /// missing.
    pub(in crate::engine) async fn last_good(&self, name: &Name) -> Option<LastGoodHook> {
        let (directory, hook) = (self.directory.clone()?, name.clone());
        let read = tokio::task::spawn_blocking(move || read(&directory, &hook)).await;
        match read {
            Ok(Ok(kept)) => kept,
            Ok(Err(problem)) => {
                warn!(hook = %name, problem, "Cannot use the last good version of a hook");
                None
            }
            Err(_) => None,
        }
    }

    /// Removes hooks that are no longer in the configuration.
    pub(in crate::engine) fn retain(&self, names: impl Iterator<Item = Name>) {
        let Some(directory) = self.directory.clone() else {
            return;
        };
        let names: Vec<Name> = names.collect();
        self.disk.later("the last good hooks", &directory.clone(), move || {
            let there = match std::fs::read_dir(&directory) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                there => there?,
            };
            for entry in there.take(FILES_MAX).flatten() {
                let file_name = entry.file_name();
                let hook = file_name.to_str().and_then(|name| Name::new(name).ok());
                if hook.is_some_and(|hook| !names.contains(&hook)) {
                    std::fs::remove_file(entry.path())?;
                    info!(path = %entry.path().display(), "Removed the last good version of a hook that is no longer in the configuration");
                }
            }
            Ok(None)
        });
    }
}

/// Reads a file, and checks that its content matches its name.
fn read(directory: &std::path::Path, name: &Name) -> Result<Option<LastGoodHook>, String> {
    let unseen = |error: std::io::Error| format!("{}: {error}", directory.display());
    if !directory.try_exists().map_err(unseen)? {
        return Ok(None);
    }
    whole::directory(directory).map_err(|error| error.to_string())?;
    let path = directory.join(name.as_str());
    let Some(bytes) = whole::read(&path, MAGIC, FILE_MAX).map_err(|error| error.to_string())?
    else {
        return Ok(None);
    };
    let kept: LastGoodHook =
        postcard::from_bytes(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    if kept.source.name != *name
        || kept.source.native.is_some()
        || kept.source.digest() != kept.digest
    {
        return Err(format!(
            "{}: its content does not match its name",
            path.display()
        ));
    }
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::hooks::Language;
    use crate::host::clock;
    use crate::types::Timestamp;

    fn source(name: &str, main: &[u8]) -> Arc<HookSource> {
        Arc::new(HookSource {
            name: name.parse().unwrap(),
            language: Language::Lua,
            path: "/etc/carpd/h.lua".into(),
            main: main.to_vec(),
            modules: BTreeMap::from([("lib/a.lua".into(), b"return 1".to_vec())]),
            config_json: "{\"a\":1}".into(),
            native: None,
        })
    }

    fn with_kept(test: impl AsyncFnOnce(LastGood, PathBuf)) {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("hooks");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            test(
                LastGood::new(Some(directory.clone()), DiskWriter::start()),
                directory,
            )
            .await;
        });
    }

    #[test]
    fn the_last_accepted_version_is_kept_with_all_that_it_read() {
        with_kept(async |kept, directory| {
            let name: Name = "h".parse().unwrap();
            assert!(kept.last_good(&name).await.is_none());
            for (at, main) in [(10, b"one".as_slice()), (20, b"two"), (30, b"two")] {
                kept.keep(&source("h", main), Signatures::default(), at);
                kept.disk.settled().await;
            }
            let last = kept.last_good(&name).await.unwrap();
            assert_eq!(last.source, *source("h", b"two"));
            assert_eq!(
                last.accepted_ms, 20,
                "taking the same version again changes nothing"
            );
            let mode = |path: &std::path::Path| {
                std::fs::metadata(path).unwrap().permissions().mode() & 0o777
            };
            assert_eq!(
                (mode(&directory), mode(&directory.join("h"))),
                (0o700, 0o600)
            );
        });
    }

    #[test]
    fn a_damaged_or_foreign_file_is_as_none() {
        with_kept(async |kept, directory| {
            let (name, other): (Name, Name) = ("h".parse().unwrap(), "other".parse().unwrap());
            kept.keep(&source("h", b"one"), Signatures::default(), 1);
            kept.disk.settled().await;
            std::fs::copy(directory.join("h"), directory.join("other")).unwrap();
            assert!(kept.last_good(&other).await.is_none(), "another hook's");
            let mut bytes = std::fs::read(directory.join("h")).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(directory.join("h"), &bytes).unwrap();
            assert!(kept.last_good(&name).await.is_none());
            // A good one takes its place all the same.
            kept.keep(&source("h", b"one"), Signatures::default(), 2);
            kept.disk.settled().await;
            assert_eq!(kept.last_good(&name).await.unwrap().accepted_ms, 2);
            std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
            assert!(
                kept.last_good(&name).await.is_none(),
                "anybody could have put it there"
            );
        });
    }

    #[test]
    fn hooks_that_are_gone_are_forgotten() {
        with_kept(async |kept, _| {
            for name in ["a", "b"] {
                kept.keep(&source(name, b"one"), Signatures::default(), 1);
            }
            kept.retain(["b".parse().unwrap()].into_iter());
            kept.disk.settled().await;
            assert!(kept.last_good(&"a".parse().unwrap()).await.is_none());
            assert!(kept.last_good(&"b".parse().unwrap()).await.is_some());
        });
    }

    #[test]
    fn a_full_disk_is_told_and_nothing_else() {
        with_kept(async |kept, directory| {
            // Nothing can be made below a file.
            std::fs::write(&directory, "").unwrap();
            kept.keep(&source("h", b"one"), Signatures::default(), 1);
            kept.disk.settled().await;
            assert!(
                kept.disk
                    .problem()
                    .unwrap()
                    .starts_with("cannot write an accepted hook: ")
            );
            std::fs::remove_file(&directory).unwrap();
            kept.keep(&source("h", b"one"), Signatures::default(), 1);
            kept.disk.settled().await;
            assert_eq!((kept.disk.problem(), kept.disk.failures()), (None, 1));
        });
    }

    #[test]
    fn what_could_not_be_written_is_tried_again_ever_more_seldom() {
        with_kept(async |kept, directory| {
            let clock = clock::Virtual::start(Timestamp::ZERO);
            let name: Name = "h".parse().unwrap();
            std::fs::write(&directory, "").unwrap();
            kept.keep(&source("h", b"one"), Signatures::default(), 1);
            kept.keep(&source("h", b"two"), Signatures::default(), 2);
            kept.disk.settled().await;
            assert_eq!(kept.disk.failures(), 2);
            let mut pauses = Vec::new();
            for failures in 3..=9 {
                let next = clock.next().unwrap();
                pauses.push(next.since(clock::now()).as_secs());
                clock.advance(next);
                assert!(clock.wake_one(|_| 0));
                while kept.disk.failures() < failures {
                    kept.disk.settled().await;
                }
                // It counts the next pause from here.
                kept.disk.settled().await;
            }
            assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60], "only the newest");
            std::fs::remove_file(&directory).unwrap();
            clock.advance(clock.next().unwrap());
            assert!(clock.wake_one(|_| 0));
            while kept.disk.problem().is_some() {
                kept.disk.settled().await;
            }
            assert_eq!(
                kept.last_good(&name).await.unwrap().source,
                *self::source("h", b"two")
            );
            assert_eq!(
                (clock.next(), kept.disk.failures()),
                (None, 9),
                "nothing is left to do"
            );
        });
    }
}
