//! Detects that a hook was edited.
//!
//! Directories are watched rather than files: editors write a new file and move it over the old
//! one. Watched is everything that a hook's path consists of, so that a link that is pointed
//! elsewhere, or a directory that takes another's place, is a change wherever it stands on the way.
//! What cannot be watched is polled. What somebody is still writing is told with every change, so
//! that it holds up nobody else. Looking at all this takes as long as the disk takes, so another
//! thread does it; and there may be any number of directories, so there is a limit.

mod events;
mod places;
mod prints;
mod writers;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use self::events::Interest;
use self::places::{Mounts, Print, Way, below, print};
use self::prints::{Prints, Seen};
use super::wire::{How, MAX, PollReason, Told};
use crate::frame;

/// A change is complete after this time without another one: an editor's write and rename belong
/// together.
const QUIET: Duration = Duration::from_millis(30);
/// Where something changes all the time it is looked at all the same after this.
const LONGEST: Duration = Duration::from_millis(300);

/// How long things are waited for.
#[derive(Debug, Clone, Copy)]
struct Pauses {
    /// A file that somebody has open for writing is complete after so long without a change.
    writer: Duration,
    /// And is taken as it is after so long, whatever its writer does.
    writer_most: Duration,
    /// How often what cannot be watched, or is missing, is looked at.
    poll: Duration,
    /// What was found changed is looked at again so soon: what has changed again meanwhile is still
    /// being written.
    settle: Duration,
}

const PAUSES: Pauses = Pauses {
    writer: Duration::from_secs(2),
    writer_most: Duration::from_secs(10),
    poll: Duration::from_secs(2),
    settle: Duration::from_secs(1),
};

/// How each file is watched.
type Manners = BTreeMap<PathBuf, How>;

/// Starts a thread that watches; what is to be watched goes there, and replaces what was watched
/// before.
pub(super) fn start() -> io::Result<mpsc::UnboundedSender<(Vec<PathBuf>, StdStream)>> {
    // Looking takes one; another may still be at what is no longer wanted.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()?;
    let (orders, mut inbox) = mpsc::unbounded_channel();
    let work = async move {
        let mut before: Option<tokio::task::AbortHandle> = None;
        while let Some((files, to)) = inbox.recv().await {
            if let Some(before) = before.take() {
                before.abort();
            }
            before = Some(tokio::task::spawn_local(serve(files, to)).abort_handle());
        }
    };
    std::thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || tokio::task::LocalSet::new().block_on(&runtime, work))?;
    Ok(orders)
}

/// Tells of changes until the other end closes the socket.
async fn serve(files: Vec<PathBuf>, to: StdStream) {
    let Ok(mut stream) = to
        .set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(to))
    else {
        return;
    };
    let (tell, mut told) = mpsc::channel(8);
    let follow = tokio::task::spawn_local(watch(&files, tell));
    let (mut closed, mut writer) = stream.split();
    let write = async {
        while let Some(news) = told.recv().await {
            let Ok(bytes) = frame::encode(&news, MAX) else {
                return;
            };
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        // Nothing ever comes from there.
        _ = closed.read_u8() => {}
        () = write => {}
    }
    follow.abort();
}

/// Watches these files, all that their paths consist of, and what lies beside and below them; tells
/// when something of it has changed and nobody writes any more, and once when it has begun to
/// watch.
fn watch(files: &[PathBuf], tell: mpsc::Sender<Told>) -> impl Future<Output = ()> + use<> {
    watch_with(files, tell, PAUSES, true, Interest::new(PAUSES))
}

fn watch_with(
    files: &[PathBuf],
    tell: mpsc::Sender<Told>,
    pauses: Pauses,
    by_kernel: bool,
    interest: Interest,
) -> impl Future<Output = ()> + use<> {
    let (hint, hints) = mpsc::channel(1);
    let watched = Watched::new(files, hint, interest.clone(), by_kernel);
    Follow {
        tell,
        interest,
        pauses,
        how: Manners::new(),
    }
    .run(watched, hints)
}

/// The task that waits for changes.
struct Follow {
    tell: mpsc::Sender<Told>,
    interest: Interest,
    pauses: Pauses,
    /// What was told of how files are watched.
    how: Manners,
}

impl Follow {
    /// Watches, waits until it is quiet, tells, and watches what is new.
    async fn run(mut self, mut watched: Watched, mut hints: mpsc::Receiver<()>) {
        let mut prints = Prints::default();
        loop {
            let looking = tokio::task::spawn_blocking(move || {
                let found = watched.look();
                (watched, found)
            });
            let Ok((back, found)) = looking.await else {
                return;
            };
            watched = back;
            if self.tell_how(found.how, found.complete).await.is_err() {
                return;
            }
            let polled = found.print.map(|print| prints.see(print));
            if let Some(Seen { moving, settled }) = &polled {
                self.interest.polled(moving, settled);
            }
            // What was written before it was watched has told nobody.
            let settled = polled.as_ref().is_some_and(|seen| !seen.settled.is_empty());
            if (found.news || settled) && self.tell_changed().await.is_err() {
                return;
            }
            // Nobody tells of a directory that comes back.
            let patience = match polled {
                Some(seen) if seen.moving.is_empty() => self.pauses.poll,
                Some(_) => self.pauses.settle,
                None if found.missing => self.pauses.poll,
                None => Duration::MAX,
            };
            let patience = patience.min(self.interest.patience());
            match tokio::time::timeout(patience, hints.recv()).await {
                Err(_) if !self.interest.patience().is_zero() => continue,
                Err(_) => {}
                Ok(None) => return,
                Ok(Some(())) => quiet(&mut hints).await,
            }
            if self.tell_changed().await.is_err() {
                return;
            }
        }
    }

    async fn tell_changed(&self) -> Result<(), mpsc::error::SendError<Told>> {
        self.tell
            .send(Told::Changed(self.interest.unfinished()))
            .await
    }

    async fn tell_how(
        &mut self,
        how: Manners,
        complete: bool,
    ) -> Result<(), mpsc::error::SendError<Told>> {
        if how == self.how {
            return Ok(());
        }
        self.how = how;
        let all = self
            .how
            .iter()
            .map(|(file, how)| (file.to_string_lossy().into_owned(), how.clone()));
        self.tell
            .send(Told::How {
                files: all.collect(),
                complete,
            })
            .await
    }
}

/// Waits until what belongs together has happened.
async fn quiet(hints: &mut mpsc::Receiver<()>) {
    let quiet =
        async { while let Ok(Some(())) = tokio::time::timeout(QUIET, hints.recv()).await {} };
    _ = tokio::time::timeout(LONGEST, quiet).await;
}

/// What is watched now.
struct Watched {
    files: Vec<PathBuf>,
    hint: mpsc::Sender<()>,
    interest: Interest,
    /// For a test: as where no kernel watches are available.
    by_kernel: bool,
    watcher: Option<RecommendedWatcher>,
    /// Directories, and the files themselves, with device and inode.
    watches: BTreeMap<PathBuf, (u64, u64)>,
    /// What is wrong with the places that cannot be watched.
    troubled: BTreeMap<PathBuf, String>,
}

impl Watched {
    fn new(files: &[PathBuf], hint: mpsc::Sender<()>, interest: Interest, by_kernel: bool) -> Self {
        Self {
            files: files.to_vec(),
            hint,
            interest,
            by_kernel,
            watcher: None,
            watches: BTreeMap::new(),
            troubled: BTreeMap::new(),
        }
    }

    /// Watches what there is and is not watched yet.
    fn look(&mut self) -> Looked {
        let no_watcher = self.open();
        let ways: Vec<(PathBuf, Way)> = self
            .files
            .iter()
            .map(|file| (file.clone(), Way::to(file)))
            .collect();
        let roots: BTreeSet<PathBuf> = ways
            .iter()
            .flat_map(|(file, way)| way.roots(file))
            .collect();
        let (directories, complete) = below(roots);
        let mut names: BTreeMap<PathBuf, BTreeSet<OsString>> = BTreeMap::new();
        for (directory, name) in ways.iter().flat_map(|(_, way)| &way.steps) {
            names
                .entry(directory.clone())
                .or_default()
                .insert(name.clone());
        }
        let mut places = directories.clone();
        places.extend(names.keys().cloned());
        // The files themselves, too: what is mounted from elsewhere, or has another name, may be
        // written to there.
        places.extend(ways.iter().map(|(_, way)| way.end.clone()));
        let own = ways.iter().map(|(file, way)| way.own(file)).collect();
        self.interest.set(directories.clone(), names, own);
        let mut found = Looked {
            complete,
            ..self.watch_all(places, &directories)
        };
        let mounts = Mounts::here();
        let mut polled = Vec::new();
        for (file, way) in &ways {
            let reason = no_watcher
                .clone()
                .or_else(|| self.trouble_of(file, way))
                .map(PollReason::Unwatchable)
                .or_else(|| mounts.objection(way));
            let how = match reason {
                // So many directories take too long to be looked at again and again.
                None if !complete => How::InPart,
                None => How::Watched,
                Some(reason) => {
                    polled.push(way);
                    How::Polled {
                        watched: no_watcher.is_none(),
                        reason,
                        every_s: PAUSES.poll.as_secs(),
                    }
                }
            };
            found.how.insert(file.clone(), how);
        }
        // Of a huge tree only what is beside the hooks.
        let directories = if complete {
            directories
        } else {
            ways.iter()
                .flat_map(|(file, way)| way.roots(file))
                .collect()
        };
        found.print = (!polled.is_empty()).then(|| print(polled.into_iter(), directories.iter()));
        found
    }

    /// Asks the kernel for watches; why there are none.
    fn open(&mut self) -> Option<String> {
        if self.watcher.is_some() {
            return None;
        }
        if !self.by_kernel {
            return Some("no kernel watches are available".to_owned());
        }
        let (hint, interest) = (self.hint.clone(), self.interest.clone());
        let on_event = move |event: notify::Result<notify::Event>| {
            // A full channel has the hint already.
            if event.is_ok_and(|event| interest.is_change(&event)) {
                _ = hint.try_send(());
            }
        };
        match notify::recommended_watcher(on_event) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                None
            }
            Err(error) => Some(format!("no kernel watches are available: {error}")),
        }
    }

    fn watch_all(&mut self, places: BTreeSet<PathBuf>, directories: &BTreeSet<PathBuf>) -> Looked {
        let mut found = Looked::default();
        let mut known = std::mem::take(&mut self.watches);
        let gone = self.interest.take_gone();
        self.troubled.clear();
        for place in places {
            // One of the same name may be another: its watch went with the one before.
            let identity = fs::metadata(&place)
                .map(|there| (there.dev(), there.ino()))
                .ok();
            match (known.remove(&place), identity) {
                (Some(before), Some(now)) if before == now && !gone.contains(&place) => {
                    _ = self.watches.insert(place, now);
                }
                (before, Some(now)) => {
                    if let Some(watcher) = self.watcher.as_mut().filter(|_| before.is_some()) {
                        _ = watcher.unwatch(&place);
                    }
                    found.news |= self.watch(place, now);
                }
                (_, None) => found.missing |= directories.contains(&place),
            }
        }
        for place in known.into_keys() {
            if let Some(watcher) = &mut self.watcher {
                _ = watcher.unwatch(&place);
            }
        }
        found
    }

    fn watch(&mut self, place: PathBuf, identity: (u64, u64)) -> bool {
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        match watcher.watch(&place, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watches.insert(place, identity);
                true
            }
            Err(error) => {
                let why = format!("cannot watch {}: {error}", place.display());
                self.troubled.insert(place, why);
                false
            }
        }
    }

    /// What is wrong with a place on the way to a file, or below its directories.
    fn trouble_of(&self, file: &Path, way: &Way) -> Option<String> {
        let roots = way.roots(file);
        let concerns = |place: &PathBuf| {
            way.steps.iter().any(|(directory, _)| directory == place)
                || *place == way.end
                || roots.iter().any(|root| place.starts_with(root))
        };
        self.troubled
            .iter()
            .find(|(place, _)| concerns(place))
            .map(|(_, why)| why.clone())
    }
}

/// What a look found.
#[derive(Debug, Default)]
struct Looked {
    /// There is something that was not watched before.
    news: bool,
    /// There should be a directory that does not exist.
    missing: bool,
    /// Of what is polled, if anything is.
    print: Option<Print>,
    how: Manners,
    /// All that lies beside and below the files was looked at.
    complete: bool,
}

#[cfg(test)]
mod tests;
