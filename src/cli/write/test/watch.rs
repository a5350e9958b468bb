//! `--watch`: runs the tests again whenever a file changes.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher as _};

use super::{Args, find, once};
use crate::cli::{Exit, Failure, output};

/// A change is complete after this time without another one: an editor's write and rename belong
/// together.
const QUIET: Duration = Duration::from_millis(50);

/// Runs until interrupted.
pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let (hint, hints) = channel();
    let on_event = move |event: notify::Result<notify::Event>| {
        // Reading is not a change. The receiver is gone only at the end.
        if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
            _ = hint.send(());
        }
    };
    let cannot =
        |error: notify::Error| Failure::new(Exit::Cannot, format!("cannot watch files: {error}"));
    let mut watcher = notify::recommended_watcher(on_event).map_err(cannot)?;
    for directory in find::directories(args) {
        watcher
            .watch(&directory, RecursiveMode::Recursive)
            .map_err(cannot)?;
    }
    loop {
        if let Err(failure) = once(args) {
            _ = output::report(&failure);
        }
        output::note("Waiting for changes; press Ctrl-C to stop.");
        if hints.recv().is_err() {
            return Err(Failure::new(Exit::Failure, "the watch ended"));
        }
        while !matches!(
            hints.recv_timeout(QUIET),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)
        ) {}
    }
}
