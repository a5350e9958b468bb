//! The number in a file. File systems can hang, so a thread reads it, and there is never a second
//! one for the same file.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Finding;
use crate::host::clock;
use crate::host::kernel::sys;
use crate::types::shown_within;

/// A number has no more characters than this with the space around it.
const LENGTH_MAX: u64 = 64;

/// Who writes a file anew empties it first.
const EMPTY_FOR: Duration = Duration::from_millis(100);

/// Two readings are at least this far apart, however often it is written.
const PAUSE: Duration = Duration::from_millis(10);

/// What the kernel is to report of the directory: the file was written, or is another one.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ONLYDIR);

/// A file that is looked at.
#[derive(Debug)]
pub(super) struct NumberFile {
    path: PathBuf,
    /// The kernel's events; `None` if it has none to give.
    events: Option<AsyncFd<OwnedFd>>,
    /// A reading that took too long.
    pending: Option<JoinHandle<Reading>>,
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    Found(Finding),
    /// Nothing: perhaps it is being written.
    Empty,
}

impl NumberFile {
    pub(super) fn new(path: PathBuf) -> Self {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(std::io::Error::from)
            .and_then(sys::watch)
            .inspect_err(|error| tracing::warn!(%error, "Changed files are not noticed at once"))
            .ok();
        Self {
            path,
            events,
            pending: None,
        }
    }

    pub(super) async fn look(&mut self, limit: Duration) -> Finding {
        match self.read(limit).await {
            Reading::Found(finding) => return finding,
            Reading::Empty => clock::sleep(EMPTY_FOR).await,
        }
        match self.read(limit).await {
            Reading::Found(finding) => finding,
            Reading::Empty => Finding::bad("the file is empty"),
        }
    }

    async fn read(&mut self, limit: Duration) -> Reading {
        let (path, events) = (&self.path, &self.events);
        let reading = self.pending.get_or_insert_with(|| {
            let path = path.clone();
            let events = events
                .as_ref()
                .and_then(|own| own.get_ref().try_clone().ok());
            tokio::task::spawn_blocking(move || watch_and_read(&path, events))
        });
        match timeout(limit, reading).await {
            Ok(done) => {
                self.pending = None;
                done.unwrap_or_else(|error| Reading::Found(Finding::bad(error.to_string())))
            }
            Err(_) => Reading::Found(Finding::bad(format!(
                "the file system did not respond for {:.1} s",
                limit.as_secs_f64()
            ))),
        }
    }

    /// Waits until the kernel says that the file changed; for ever if it cannot say.
    pub(super) async fn changed(&self) {
        let Some(events) = &self.events else {
            return std::future::pending().await;
        };
        let name = self.path.file_name().unwrap_or_default();
        loop {
            let Ok(mut ready) = events.readable().await else {
                return std::future::pending().await;
            };
            let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(events.get_ref(), &mut buffer);
            let mut is_it = false;
            // One buffer at a time: others may go on writing into the directory.
            loop {
                let Ok(event) = reader.next() else {
                    ready.clear_ready();
                    break;
                };
                // Without a name: the directory itself, or events were lost.
                let named = event.file_name();
                is_it |= named.is_none_or(|named| named.to_bytes() == name.as_encoded_bytes());
                if reader.is_buffer_empty() {
                    break;
                }
            }
            if is_it {
                return clock::sleep(PAUSE).await;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The directory may be another one than before. What happens after it is watched is reported.
fn watch_and_read(path: &Path, events: Option<OwnedFd>) -> Reading {
    if let (Some(events), Some(directory)) = (events, path.parent()) {
        // Without it there is the interval.
        _ = inotify::add_watch(events, directory, EVENTS);
    }
    read(path)
}

fn read(path: &Path) -> Reading {
    let bad = |error: std::io::Error| Reading::Found(Finding::bad(error.to_string()));
    let file = File::options()
        .read(true)
        // Nobody may be at the other end of a pipe.
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Reading::Found(Finding::Number(0));
        }
        Err(error) => return bad(error),
    };
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Reading::Found(Finding::bad("it is not a file")),
        Err(error) => return bad(error),
    }
    let mut text = Vec::new();
    if let Err(error) = file.take(LENGTH_MAX + 1).read_to_end(&mut text) {
        return bad(error);
    }
    number(&text)
}

fn number(text: &[u8]) -> Reading {
    if text.trim_ascii().is_empty() {
        return Reading::Empty;
    }
    let words = String::from_utf8_lossy(text);
    let words = words.trim();
    let digits = words.strip_prefix('+').unwrap_or(words);
    if text.len() as u64 > LENGTH_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let shown = shown_within(words, 40);
        return Reading::Found(Finding::bad(format!(
            "it holds {shown:?}, not a whole number from 0 on"
        )));
    }
    // What has only digits and cannot be read is large.
    Reading::Found(Finding::Number(digits.parse().unwrap_or(u8::MAX)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_a_file_holds() {
        let found = |text: &str| match number(text.as_bytes()) {
            Reading::Found(Finding::Number(number)) => number.to_string(),
            Reading::Found(Finding::Bad { reason, .. }) => reason,
            other => format!("{other:?}"),
        };
        for (text, wanted) in [
            ("0", "0"),
            ("0\n", "0"),
            (" 30 \n", "30"),
            ("+7", "7"),
            ("255", "255"),
            ("99999999999999999999", "255"),
            ("", "Empty"),
            ("\n", "Empty"),
            ("-1", "it holds \"-1\", not a whole number from 0 on"),
            ("1.5", "it holds \"1.5\", not a whole number from 0 on"),
            ("1 2", "it holds \"1 2\", not a whole number from 0 on"),
        ] {
            assert_eq!(found(text), wanted, "{text:?}");
        }
        assert!(found(&"1".repeat(65)).contains("not a whole number"));
        assert!(
            found("\u{1b}[2J").contains("\\\\u{1b}"),
            "{}",
            found("\u{1b}[2J")
        );
    }

    #[test]
    fn what_is_missing_is_0_and_what_cannot_be_read_is_not() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("number");
        assert_eq!(read(&path), Reading::Found(Finding::Number(0)));
        assert_eq!(
            read(&path.join("below")),
            Reading::Found(Finding::Number(0))
        );
        symlink("number", &path).unwrap();
        assert!(matches!(read(&path), Reading::Found(Finding::Bad { .. })));
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(
            read(&path),
            Reading::Found(Finding::bad("it is not a file"))
        );
        assert_eq!(
            read(place.path()),
            Reading::Found(Finding::bad("it is not a file"))
        );
    }

    #[tokio::test]
    async fn a_change_is_noticed_at_once_however_it_is_made() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("number");
        let mut file = NumberFile::new(path.clone());
        let limit = Duration::from_secs(5);
        assert_eq!(file.look(limit).await, Finding::Number(0));
        let written = || std::fs::write(&path, "3").unwrap();
        let renamed = || {
            let other = place.path().join("other");
            std::fs::write(&other, "4").unwrap();
            std::fs::rename(&other, &path).unwrap();
        };
        let removed = || std::fs::remove_file(&path).unwrap();
        let steps: [(&dyn Fn(), u8); 3] = [(&written, 3), (&renamed, 4), (&removed, 0)];
        for (change, number) in steps {
            change();
            timeout(limit, async {
                while file.look(limit).await != Finding::Number(number) {
                    file.changed().await;
                }
            })
            .await
            .expect("it is noticed");
        }
        // Others in the same directory are not it.
        while timeout(Duration::from_millis(50), file.changed())
            .await
            .is_ok()
        {}
        std::fs::write(place.path().join("another"), "1").unwrap();
        let told = timeout(Duration::from_millis(200), file.changed()).await;
        assert!(told.is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_emptied_before_it_is_written_is_not_believed_to_be_empty() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("number");
        std::fs::write(&path, "").unwrap();
        let mut file = NumberFile::new(path.clone());
        let limit = Duration::from_secs(5);
        let writer = async {
            clock::sleep(EMPTY_FOR / 4).await;
            std::fs::write(&path, "9").unwrap();
        };
        let (found, ()) = tokio::join!(file.look(limit), writer);
        assert_eq!(found, Finding::Number(9));
        std::fs::write(&path, "").unwrap();
        assert_eq!(file.look(limit).await, Finding::bad("the file is empty"));
    }
}
