//! The reader process: it runs as long as hooks' files are watched, and is restarted when it dies.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::{error, info, warn};

use crate::backoff::Backoff;
use crate::engine::command::{Command, Held};
use crate::host::clock;
use crate::keeper::{self, Role};
use crate::reader::{Client, How, PollReason, Told, Unfinished, Watching};
use crate::resolve::{Access, Listing, Modules, Opened, Opener, Unlisted};

/// The delay before a dead reader is restarted.
const RESTARTS: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(30));
/// A reader that ran for this long died for a new reason.
const HEALTHY: Duration = Duration::from_secs(60);

/// Logged if there is too much to watch.
const PART: &str = "Watching only some of what is below the hooks' directories; use `carpd reload`, or give each hook its own directory";

/// Starts a reader process, which goes by the configuration in use, or for a reload
/// ([`Role::NewReader`]) by the file as it is now.
///
/// # Errors
/// The keeper could not start it, or it ended at once.
pub(in crate::engine) async fn start(
    keeper: &keeper::Client,
    role: Role,
) -> io::Result<Arc<Client>> {
    let (_, stream) = keeper.spawn(role).await?;
    // It ends when the client is dropped, which closes its socket.
    let client = tokio::task::spawn_blocking(move || Client::new(stream))
        .await
        .map_err(io::Error::other)??;
    for missing in &client.confinement().missing {
        warn!(missing, "The reader process has more rights than it needs");
    }
    Ok(Arc::new(client))
}

/// How the hooks' files are watched, in words.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct WatchModes(Rc<RefCell<BTreeMap<PathBuf, String>>>);

impl WatchModes {
    /// How changes of this file are noticed.
    pub(in crate::engine) fn of(&self, file: &Path) -> Option<String> {
        let file = std::path::absolute(file).ok()?;
        self.0.borrow().get(&file).cloned()
    }
}

/// Supervises the reader process.
#[derive(Debug)]
pub(in crate::engine) struct Reader {
    keeper: keeper::Client,
    link: Link,
    watch: Option<AbortHandle>,
}

/// To the present one; `None` if there is nothing to watch.
type Link = Rc<RefCell<Option<Arc<Client>>>>;

impl Reader {
    /// With this one, if there is one.
    pub(in crate::engine) fn new(keeper: keeper::Client, client: Option<Arc<Client>>) -> Self {
        Self {
            keeper,
            link: Rc::new(RefCell::new(client)),
            watch: None,
        }
    }

    /// Who opens files for the engine.
    pub(in crate::engine) fn access(&self) -> Access {
        match self.link.borrow().as_ref() {
            None if self.watch.is_some() => Access::through(Arc::new(Gone)),
            client => access(client),
        }
    }

    /// Replaces the client.
    pub(in crate::engine) fn replace(&self, client: Arc<Client>) {
        self.link.replace(Some(client));
    }

    /// What it could not give up.
    pub(in crate::engine) fn lacks(&self) -> Vec<String> {
        self.link
            .borrow()
            .as_ref()
            .map(|client| client.confinement().missing.clone())
            .unwrap_or_default()
    }

    /// Has these files watched and no others; `orders` get [`Command::FilesChanged`]. Without files
    /// there is no reader.
    pub(in crate::engine) fn watch(
        &mut self,
        files: Vec<PathBuf>,
        manners: WatchModes,
        orders: mpsc::Sender<Command>,
    ) {
        if let Some(before) = self.watch.take() {
            before.abort();
        }
        if files.is_empty() {
            self.link.replace(None);
            return;
        }
        let follow = Follow {
            keeper: self.keeper.clone(),
            link: Rc::clone(&self.link),
            files,
            manners,
            orders,
        };
        self.watch = Some(tokio::task::spawn_local(follow.run()).abort_handle());
    }
}

/// Who opens files, with this reader or without one.
pub(in crate::engine) fn access(client: Option<&Arc<Client>>) -> Access {
    client.map_or_else(Access::own, |client| {
        Access::through(Arc::clone(client) as _)
    })
}

/// Replaces a reader that is being restarted. With the engine's own privileges, files would seem to
/// be forbidden; this reports what is actually wrong. It is temporary: the next reader reports that
/// files may have changed, so they are read again.
#[derive(Debug)]
struct Gone;

impl Gone {
    fn error() -> io::Error {
        io::Error::new(
            io::ErrorKind::BrokenPipe,
            "the reader process is gone, and is being restarted",
        )
    }
}

impl Opener for Gone {
    fn open(&self, _: &Path) -> Opened {
        Opened {
            file: Err(Self::error()),
            objections: Vec::new(),
        }
    }

    fn without_links(&self, _: &Path) -> io::Result<PathBuf> {
        Err(Self::error())
    }

    fn modules(&self, hook: &Path) -> Result<Modules, Unlisted> {
        Err(Unlisted {
            path: hook.to_owned(),
            why: Listing::Io(Self::error()),
        })
    }
}

/// The task that listens to the reader.
struct Follow {
    keeper: keeper::Client,
    link: Link,
    files: Vec<PathBuf>,
    manners: WatchModes,
    orders: mpsc::Sender<Command>,
}

impl Follow {
    async fn run(self) {
        let mut backoff = RESTARTS;
        let mut told = BTreeSet::new();
        loop {
            let began = clock::now();
            let client = self.link.borrow().clone();
            let why = match client {
                Some(client) => self.listen(client, &mut told).await,
                None => start(&self.keeper, Role::Reader)
                    .await
                    .map(|client| _ = self.link.replace(Some(client))),
            };
            let Err(err) = why else {
                // It was just started; or nobody takes orders any more.
                if self.orders.is_closed() {
                    return;
                }
                continue;
            };
            if clock::now().since(began) > HEALTHY {
                backoff = RESTARTS;
            }
            let pause = backoff.pause();
            error!(%err, restart_ms = pause.as_millis(), "The reader process is gone; restarting it");
            let gone = |file: &PathBuf| {
                (
                    file.clone(),
                    format!("not watched: the reader process is gone: {err}"),
                )
            };
            self.manners
                .0
                .replace(self.files.iter().map(gone).collect());
            self.link.replace(None);
            tokio::time::sleep(pause).await;
        }
    }

    /// Until it watches no more.
    async fn listen(&self, client: Arc<Client>, told: &mut BTreeSet<String>) -> io::Result<()> {
        let files = self.files.clone();
        let stream = tokio::task::spawn_blocking(move || client.watch(&files))
            .await
            .map_err(io::Error::other)??;
        let mut watching = Watching::new(stream)?;
        loop {
            match watching.next().await? {
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(Told::Changed(unfinished)) => {
                    let changed = Command::FilesChanged(self.held(unfinished));
                    if self.orders.send(changed).await.is_err() {
                        return Ok(());
                    }
                }
                Some(Told::How {
                    files: all,
                    complete,
                }) => {
                    if !complete && told.insert(PART.to_owned()) {
                        warn!("{PART}");
                    }
                    for (file, how) in &all {
                        tell(file, how, told);
                    }
                    self.manners.0.replace(
                        all.into_iter()
                            .map(|(file, how)| (file.into(), how.to_string()))
                            .collect(),
                    );
                }
            }
        }
    }

    fn held(&self, unfinished: Unfinished) -> Held {
        let file = |number| self.files.get(usize::try_from(number).ok()?).cloned();
        Held {
            hooks: unfinished.hooks.into_iter().filter_map(file).collect(),
            modules: unfinished.modules.into_iter().map(PathBuf::from).collect(),
        }
    }
}

/// Once for each reason.
fn tell(file: &str, how: &How, told: &mut BTreeSet<String>) {
    match how {
        How::Watched | How::InPart => {}
        How::Polled {
            reason, every_s, ..
        } => {
            if !told.insert(reason.to_string()) {
                return;
            }
            if matches!(reason, PollReason::Mount(_)) {
                info!(file, %reason, every_s, "Polling a hook for changes");
            } else {
                warn!(
                    file,
                    %reason, every_s, "Cannot watch a hook for changes; polling it"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_lost_the_reader_is_told_so_and_tries_with_no_rights_of_his_own() {
        let local = tokio::task::LocalSet::new();
        let test = async {
            let (orders, _inbox) = mpsc::channel(1);
            let mut reader = Reader::new(keeper::Client::of_nobody(), None);
            assert!(reader.access().opener().is_none(), "nothing is to be read");
            let file = PathBuf::from("/etc/passwd");
            let manners = WatchModes(Rc::default());
            reader.watch(vec![file.clone()], manners.clone(), orders.clone());
            let access = reader.access();
            let opener = access.opener().expect("somebody who answers");
            let said = [
                opener.open(&file).file.unwrap_err(),
                opener.without_links(&file).unwrap_err(),
            ];
            for err in said {
                assert!(err.to_string().contains("is gone"), "{err}");
            }
            assert!(opener.modules(&file).is_err());
            reader.watch(Vec::new(), manners, orders);
            assert!(reader.access().opener().is_none());
        };
        local.run_until(test).await;
    }
}
