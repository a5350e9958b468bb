//! Noticing that a hook was edited.
//!
//! Directories are watched, not files: editors write a new file and move it over the old one, and a symbolic link
//! that is pointed elsewhere is a change of its directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::command::Command;

/// Quiet time after which a change is complete: an editor's write and rename belong together.
const QUIET: Duration = Duration::from_millis(30);
/// A file that is written to all the time is read all the same after this.
const LONGEST: Duration = Duration::from_millis(300);

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct FileWatch {
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Watches the directories of these files, and of what they are links to; sends [`Command::FilesChanged`] when
    /// something in them has changed and has been quiet for a moment. `None` where the kernel gives no watches: then
    /// `carpd reload` and SIGHUP do it.
    pub(super) fn start(files: &[&Path], commands: mpsc::Sender<Command>) -> Option<Self> {
        let (hint, hints) = mpsc::channel(1);
        let on_event = move |event: notify::Result<notify::Event>| {
            // Reading is no change. A full channel has the hint already.
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                _ = hint.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(on_event)
            .inspect_err(|error| warn!(%error, "Cannot watch hooks for changes; use `carpd reload`"))
            .ok()?;
        for directory in directories(files) {
            match watcher.watch(&directory, RecursiveMode::Recursive) {
                Ok(()) => debug!(directory = %directory.display(), "Watches for changes"),
                Err(error) => {
                    warn!(directory = %directory.display(), %error, "Cannot watch a directory for changes; use `carpd reload`");
                }
            }
        }
        tokio::task::spawn_local(settle(hints, commands));
        Some(Self { _watcher: watcher })
    }
}

/// Waits until it is quiet, then tells.
async fn settle(mut hints: mpsc::Receiver<()>, commands: mpsc::Sender<Command>) {
    while hints.recv().await.is_some() {
        let quiet = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, hints.recv()).await {} };
        _ = tokio::time::timeout(LONGEST, quiet).await;
        if commands.send(Command::FilesChanged).await.is_err() {
            return;
        }
    }
}

/// The directory of each file, and of each link on the way to it.
fn directories(files: &[&Path]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for file in files {
        let mut at = file.to_path_buf();
        // As many links as the kernel would follow.
        for _ in 0..40 {
            let directory = at.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
            let target = std::fs::read_link(&at);
            found.insert(directory.clone());
            match target {
                Ok(target) => at = directory.join(target),
                Err(_) => break,
            }
        }
        if let Some(parent) = file.canonicalize().ok().as_deref().and_then(Path::parent) {
            found.insert(parent.to_owned());
        }
    }
    found
}
