//! The prober's own process.

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::command::Command;
use super::file::NumberFile;
use super::leftovers;
use super::route::Way;
use super::running::Running;
use super::service::Service;
use super::teller::Teller;
use super::{ALIVE_EVERY, Finding, Job, MESSAGE_MAX, Told, What};
use crate::frame;
use crate::host::children::process::{connect, drop_signals, runtime};
use crate::host::clock;
use crate::host::kernel::memory;
use crate::sandbox::confine_prober;

/// Findings that wait to be sent.
const QUEUE: usize = 64;

/// The prober: becomes this user, looks at these things, and tells the other end of its standard
/// input until that is closed. What it starts is marked by these words, which no other prober that
/// may be running has.
#[must_use]
pub fn main(user: &str, mut jobs: Vec<Job>, mark: &str) -> ExitCode {
    let mut has_commands = false;
    for job in &mut jobs {
        if let What::Command { environment, .. } = &mut job.what {
            environment.push((leftovers::VARIABLE.to_owned(), mark.to_owned()));
            has_commands = true;
        }
    }
    let refused = confine_prober(user).err();
    // What reading the configuration took.
    memory::give_back();
    let served = runtime().and_then(|runtime| {
        let local = tokio::task::LocalSet::new();
        let served = local.block_on(&runtime, async {
            if let Some(why) = refused {
                return refuse(connect()?, jobs, &why).await;
            }
            if has_commands {
                leftovers::end(mark).await;
            }
            serve(connect()?, jobs).await
        });
        // Kills what it has started.
        drop(local);
        // Not waiting for a file system that hangs.
        runtime.shutdown_background();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(user, %error, "A prober process stopped");
            ExitCode::FAILURE
        }
    }
}

/// Nothing is looked at as another user than the one that was asked for.
async fn refuse(mut stream: UnixStream, jobs: Vec<Job>, why: &str) -> io::Result<()> {
    for Job { track, .. } in jobs {
        let finding = Finding::bad(format!("cannot be looked at: {why}"));
        let told = frame::encode(&Told::Found { track, finding }, MESSAGE_MAX)?;
        stream.write_all(&told).await?;
    }
    Err(io::Error::other(why.to_owned()))
}

async fn serve(stream: UnixStream, jobs: Vec<Job>) -> io::Result<()> {
    drop_signals()?;
    let (reader, writer) = stream.into_split();
    let (out, told) = mpsc::channel(QUEUE);
    let share = u32::try_from(jobs.len()).unwrap_or(u32::MAX).max(1);
    for (place, job) in (0..).zip(jobs) {
        // All begin at once; afterwards those of one interval spread over it.
        let offset = job.interval / share * place;
        tokio::task::spawn_local(look(job, offset, out.clone()));
    }
    tokio::task::spawn_local(async move {
        while out.send(Told::Alive).await.is_ok() {
            clock::sleep(ALIVE_EVERY).await;
        }
    });
    tokio::select! {
        written = write(writer, told) => written,
        () = closed(reader) => Ok(()),
    }
}

async fn write(mut writer: OwnedWriteHalf, mut told: mpsc::Receiver<Told>) -> io::Result<()> {
    while let Some(message) = told.recv().await {
        writer
            .write_all(&frame::encode(&message, MESSAGE_MAX)?)
            .await?;
    }
    Ok(())
}

/// The engine says nothing; it only goes away.
async fn closed(mut reader: OwnedReadHalf) {
    while matches!(reader.read(&mut [0; 64]).await, Ok(1..)) {}
}

/// What one job looks at.
enum Looker {
    File(NumberFile),
    Command(Command),
    Process(Running),
    Service(Service),
    Route(Way),
    Refused(String),
}

impl Looker {
    fn new(what: What) -> Self {
        match what {
            What::File(path) => Self::File(NumberFile::new(path)),
            What::Command { argv, environment } => Self::Command(Command::new(&argv, environment)),
            What::Process(name) => Self::Process(Running::new(name)),
            What::Service { unit, backend } => Self::Service(Service::new(unit, backend)),
            What::Route { to, via, dev } => Self::Route(Way::new(to, via, dev)),
            What::Refused(why) => Self::Refused(why),
        }
    }

    async fn look(&mut self, limit: Duration) -> Finding {
        match self {
            Self::File(file) => file.look(limit).await,
            Self::Command(command) => command.look(limit).await,
            Self::Process(program) => program.look(limit).await,
            Self::Service(service) => service.look(limit).await,
            Self::Route(way) => way.look(),
            Self::Refused(why) => Finding::bad(why.clone()),
        }
    }

    /// Waits so long, or until there is a reason to look earlier.
    async fn wait(&self, pause: Duration) {
        let earlier: std::pin::Pin<Box<dyn Future<Output = ()> + '_>> = match self {
            Self::File(file) => Box::pin(file.changed()),
            Self::Process(program) => Box::pin(program.changed()),
            Self::Route(way) => Box::pin(way.changed()),
            Self::Command(_) | Self::Service(_) | Self::Refused(_) => {
                return clock::sleep(pause).await;
            }
        };
        tokio::select! {
            () = earlier => {}
            () = clock::sleep(pause) => {}
        }
    }
}

async fn look(job: Job, offset: Duration, out: mpsc::Sender<Told>) {
    let Job {
        track,
        what,
        interval,
        timeout,
        counts,
    } = job;
    let mut looker = Looker::new(what);
    let mut teller = Teller::new(counts);
    let mut next = clock::now() + offset;
    loop {
        let finding = looker.look(timeout).await;
        let now = clock::now();
        if teller.tells(&finding, now) {
            let track = track.clone();
            if out.send(Told::Found { track, finding }).await.is_err() {
                return;
            }
        }
        // One that took longer than the interval is not made up for.
        next = (next + interval).max(now);
        looker.wait(next.since(clock::now())).await;
    }
}
