//! Probers: what they look at, and keeping one running for each user that the configuration names.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{error, warn};

use crate::backoff::Backoff;
use crate::config::{self, Asked, Config, Looked, Tracked};
use crate::engine::runs::helper_rights::services;
use crate::engine::runs::pool::sandbox_policy;
use crate::hooks::process::session::SandboxPolicy;
use crate::host::children::prober::remote::{Ask, Order, RemoteJob};
use crate::host::children::prober::{Finding, Job, ProberClient, What};
use crate::host::clock;
use crate::keeper::{Client, Role};
use crate::resolve::{self, Refusal};
use crate::types::Name;

/// The delay before a dead prober is restarted.
const RESTARTS: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(30));
/// One that ran for this long died for a new reason.
const HEALTHY: Duration = Duration::from_secs(60);
/// How long one gets to end what it has started, after its socket was closed.
const GRACE: Duration = Duration::from_secs(1);

/// What is looked at on this host, by the user that looks. Prober and engine both use this, so that
/// a number is enough to say which part of it is meant.
#[must_use]
pub fn looks(config: &Config) -> BTreeMap<String, Vec<Job>> {
    let mut parts: BTreeMap<String, Vec<Job>> = BTreeMap::new();
    for (name, track) in &config.tracks {
        let Tracked::Local(local) = &track.tracked else {
            continue;
        };
        let poll = local.poll;
        let job = Job {
            track: name.clone(),
            what: match &local.what {
                Looked::File(path) => What::File(path.clone()),
                Looked::Command(program) => What::Command {
                    argv: program.argv.clone(),
                    environment: program.environment.clone(),
                },
                Looked::Process(name) => What::Process(name.clone()),
                Looked::Service(unit) => What::Service {
                    unit: unit.clone(),
                    backend: services(config.daemon.service_backend),
                },
                Looked::Route { to, via, interface } => What::Route {
                    to: *to,
                    via: *via,
                    dev: interface.clone(),
                },
            },
            interval: poll.interval,
            timeout: poll.timeout,
            counts: poll.rise.max(poll.fall),
        };
        parts.entry(local.user.clone()).or_default().push(job);
    }
    parts
}

/// What is asked over the network.
fn asks(config: &Config) -> Vec<RemoteJob> {
    let jobs = config.tracks.iter().filter_map(|(name, track)| {
        let Tracked::Remote(remote) = &track.tracked else {
            return None;
        };
        let poll = remote.poll;
        Some(RemoteJob {
            track: name.clone(),
            ask: match &remote.asked {
                Asked::Tcp(endpoint) => Ask::Connect(endpoint.clone()),
                Asked::Http { url, good } => Ask::Get {
                    url: url.clone(),
                    good: good.iter().map(|good| (good.first, good.last)).collect(),
                },
                Asked::Icmp(host) => Ask::Echo(host.0.clone()),
            },
            interval: poll.interval,
            timeout: poll.timeout,
            counts: poll.rise.max(poll.fall),
        })
    });
    jobs.collect()
}

/// Programs that would run as root although others could change them, by their tracks.
#[must_use]
pub fn unsafe_programs(config: &Config) -> BTreeMap<Name, Refusal> {
    let distrusted = |(name, track): (&Name, &config::Track)| {
        let Tracked::Local(local) = &track.tracked else {
            return None;
        };
        match &local.what {
            Looked::Command(program) if matches!(local.user.as_str(), "root" | "0") => {
                let objection = resolve::distrusted_by_root(program.argv.first()?)?;
                Some((name.clone(), objection))
            }
            Looked::Command(_)
            | Looked::File(_)
            | Looked::Process(_)
            | Looked::Service(_)
            | Looked::Route { .. } => None,
        }
    };
    config.tracks.iter().filter_map(distrusted).collect()
}

/// The probers of the configuration in use.
#[derive(Debug, Default)]
pub(in crate::engine) struct Probers {
    /// Findings of earlier ones do not count.
    number: u64,
    /// Ends them when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    /// All of them and all before, until they have ended.
    running: Option<JoinHandle<()>>,
}

/// Hands a finding of the probers with this number to the loop; false if that is gone.
pub(in crate::engine) type Tell =
    Rc<dyn Fn(Name, u64, Finding) -> Pin<Box<dyn Future<Output = bool>>>>;

/// One of them.
struct Prober {
    keeper: Client,
    role: Role,
    /// For the log.
    user: String,
    tracks: Vec<Name>,
    /// What a net prober asks.
    order: Option<Order>,
    number: u64,
    tell: Tell,
}

impl Probers {
    /// Those of this configuration, which is in use from now on, once the earlier ones have ended:
    /// nothing runs twice at one time.
    pub(in crate::engine) fn replace(&mut self, config: &Config, keeper: &Client, tell: &Tell) {
        self.number += 1;
        let prober = |role, user: String, tracks: Vec<Name>, order| Prober {
            keeper: keeper.clone(),
            role,
            user,
            tracks,
            order,
            number: self.number,
            tell: Rc::clone(tell),
        };
        let parts = (0..).zip(looks(config));
        let mut probers: Vec<Prober> = parts
            .map(|(part, (user, jobs))| {
                let tracks = jobs.into_iter().map(|job| job.track).collect();
                prober(Role::Prober { part }, user, tracks, None)
            })
            .collect();
        let jobs = asks(config);
        if !jobs.is_empty() {
            let tracks = jobs.iter().map(|job| job.track.clone()).collect();
            let confined = sandbox_policy(config) == SandboxPolicy::Required;
            let order = Order { confined, jobs };
            let user = "its own".to_owned();
            probers.push(prober(Role::NetProber, user, tracks, Some(order)));
        }
        self.stop = None;
        let before = self.running.take();
        if probers.is_empty() && before.is_none() {
            return;
        }
        let (stop, stopped) = oneshot::channel();
        self.stop = Some(stop);
        self.running = Some(tokio::task::spawn_local(async move {
            if let Some(before) = before {
                drop(before.await);
            }
            run_all(probers, stopped).await;
        }));
    }

    /// Does a finding with this number count?
    pub(in crate::engine) const fn are(&self, number: u64) -> bool {
        self.number == number
    }
}

async fn run_all(probers: Vec<Prober>, stopped: oneshot::Receiver<()>) {
    let mut all = Vec::new();
    let mut stops = Vec::new();
    for prober in probers {
        let (stop, stopped) = oneshot::channel();
        stops.push(stop);
        all.push(tokio::task::spawn_local(prober.run(stopped)));
    }
    // Nobody sends: it is dropped.
    drop(stopped.await);
    drop::<Vec<oneshot::Sender<()>>>(stops);
    for one in all {
        drop(one.await);
    }
}

impl Prober {
    /// Keeps one running until `stop` ends, and returns when it has ended.
    async fn run(self, mut stop: oneshot::Receiver<()>) {
        let mut backoff = RESTARTS;
        // How often it has died in a row without a finding for each track.
        let mut deaths: BTreeMap<Name, u32> = BTreeMap::new();
        loop {
            let began = clock::now();
            let mut found = BTreeSet::new();
            let Some(why) = self.once(&mut stop, &mut found).await else {
                return;
            };
            let is_new = clock::now().since(began) > HEALTHY;
            if is_new {
                backoff = RESTARTS;
            }
            for track in &self.tracks {
                let deaths = deaths.entry(track.clone()).or_default();
                *deaths = if is_new || found.contains(track) {
                    1
                } else {
                    *deaths + 1
                };
            }
            let pause = backoff.pause();
            error!(
                user = self.user,
                why,
                restart_ms = pause.as_millis(),
                "A prober process died; restarting it"
            );
            let again = deaths.iter().filter(|(_, deaths)| **deaths > 1);
            for (track, _) in again {
                if self.nobody_looks(track, &why).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                _ = &mut stop => return,
                () = clock::sleep(pause) => {}
            }
        }
    }

    /// Runs one until it dies: why. `None` if it is no longer wanted.
    async fn once(
        &self,
        stop: &mut oneshot::Receiver<()>,
        found: &mut BTreeSet<Name>,
    ) -> Option<String> {
        let (id, stream, mut end) = match self.keeper.spawn_watched(self.role).await {
            Ok(started) => started,
            Err(error) => return Some(format!("it cannot be started: {error}")),
        };
        let why = match self.instruct(stream).await {
            Ok(mut client) => loop {
                let told = tokio::select! {
                    _ = &mut *stop => break None,
                    told = client.next() => told,
                };
                match told {
                    Ok((track, finding)) => {
                        found.insert(track.clone());
                        self.tell(track, finding).await.ok()?;
                    }
                    Err(why) => break Some(why),
                }
            },
            Err(error) => Some(error.to_string()),
        };
        // Its socket is closed: it ends what it has started, and itself.
        if let Ok(how) = timeout(GRACE, &mut end).await {
            let how = how.map_or_else(|_| String::new(), |how| format!(": {how}"));
            return why.map(|why| why + &how);
        }
        warn!(
            user = self.user,
            "A prober process does not end; killing it"
        );
        self.keeper.kill(id);
        drop(end.await);
        why
    }

    async fn instruct(&self, stream: UnixStream) -> io::Result<ProberClient> {
        let mut client = ProberClient::new(stream)?;
        if let Some(order) = &self.order {
            client.order(order).await?;
        }
        Ok(client)
    }

    async fn tell(&self, track: Name, finding: Finding) -> Result<(), ()> {
        // Of others nothing is believed.
        if !self.tracks.contains(&track) {
            return Ok(());
        }
        if (self.tell)(track, self.number, finding).await {
            Ok(())
        } else {
            Err(())
        }
    }

    async fn nobody_looks(&self, track: &Name, why: &str) -> Result<(), ()> {
        let finding = Finding::bad(format!("cannot be looked at: the prober process: {why}"));
        self.tell(track.clone(), finding).await
    }
}
