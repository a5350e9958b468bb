//! The helper process: it runs if something granted needs it, and is restarted when it dies.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{error, info};

use super::shared::Shared;
use crate::backoff::Backoff;
use crate::engine::report::{Fault, HelperStatus};
use crate::host::LinuxHost;
use crate::host::children::helper::{Duty, HelperClient, Terms};
use crate::host::clock;
use crate::keeper::{Client, Role};

/// The delay before a dead helper is restarted.
const RESTARTS: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(30));
/// A helper that ran for this long died for a new reason.
const HEALTHY: Duration = Duration::from_secs(60);

/// Supervises the helper process.
#[derive(Debug)]
pub(in crate::engine) struct HelperSupervisor {
    keeper: Client,
    shared: Rc<Shared<LinuxHost>>,
    duty: Option<Duty>,
    /// Nothing granted needs it any more.
    spare: bool,
    told: Rc<Told>,
    watch: Option<JoinHandle<()>>,
}

/// For status.
#[derive(Debug, Default)]
struct Told {
    deaths: Cell<u64>,
    fault: RefCell<Option<Fault>>,
}

/// Starts a helper process, which goes by the configuration in use, or for a reload
/// ([`Role::NewHelper`]) by the one that this is about.
///
/// # Errors
/// The keeper could not start it, or is gone.
pub(in crate::engine) async fn start(
    keeper: &Client,
    role: Role,
    duty: Duty,
) -> io::Result<HelperClient> {
    let (_, stream) = keeper.spawn(role).await?;
    // It ends when the client is dropped, which closes its socket.
    HelperClient::new(stream, duty)
}

impl HelperSupervisor {
    /// For the helper that the host has, if it has one.
    pub(in crate::engine) fn new(
        keeper: Client,
        shared: Rc<Shared<LinuxHost>>,
        duty: Option<Duty>,
    ) -> Self {
        let mut care = Self {
            keeper,
            shared,
            duty,
            spare: false,
            told: Rc::default(),
            watch: None,
        };
        care.watch();
        care
    }

    /// What the present one can do.
    pub(in crate::engine) const fn duty(&self) -> Option<Duty> {
        self.duty
    }

    /// Replaces the helper. The previous one finishes what it is doing.
    pub(in crate::engine) fn replace(&mut self, client: HelperClient, duty: Duty) {
        self.shared.executor.host().use_helper(client);
        self.duty = Some(duty);
        self.watch();
    }

    /// Adjusts to another configuration: notes whether anything in it needs the helper.
    pub(in crate::engine) fn fit(&mut self, terms: &Terms) {
        self.spare = self.duty.is_some() && terms.duty().is_none();
    }

    /// Whether it can be stopped once it has nothing left to do.
    pub(in crate::engine) const fn is_spare(&self) -> bool {
        self.spare
    }

    /// Stops it, unless it is still needed to restore something.
    pub(in crate::engine) fn end_if_idle(&mut self) {
        let executor = &self.shared.executor;
        let by_script = executor.host().services_need_helper();
        let holds = executor
            .ledger()
            .iter()
            .any(|holding| Duty::to_put_back(holding.resource, by_script).is_some());
        if holds || !executor.is_recovered() {
            return;
        }
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        (self.duty, self.spare) = (None, false);
        // Its socket closes, and it ends.
        executor.host().drop_helper();
        info!("Stopped the helper process: nothing needs it any more");
    }

    /// For status.
    pub(in crate::engine) fn status(&self) -> Option<HelperStatus> {
        self.duty.map(|duty| HelperStatus {
            duty: duty.as_str().to_owned(),
            alive: self.shared.executor.host().has_helper(),
            deaths: self.told.deaths.get(),
            fault: self.told.fault.borrow().clone(),
        })
    }

    fn watch(&mut self) {
        if let Some(before) = self.watch.take() {
            before.abort();
        }
        let Some(duty) = self.duty else { return };
        let (keeper, shared, told) = (
            self.keeper.clone(),
            Rc::clone(&self.shared),
            Rc::clone(&self.told),
        );
        self.watch = Some(tokio::task::spawn_local(async move {
            look_after(&keeper, &shared, &told, duty).await;
        }));
    }
}

async fn look_after(keeper: &Client, shared: &Shared<LinuxHost>, told: &Told, duty: Duty) {
    let mut backoff = RESTARTS;
    while let Some(helper) = shared.executor.host().helper() {
        let began = clock::now();
        let why = helper.ended().await;
        drop(helper);
        if clock::now().since(began) > HEALTHY {
            backoff = RESTARTS;
        }
        told.deaths.set(told.deaths.get() + 1);
        let message = format!("the helper process is gone: {why}");
        let pause = backoff.pause();
        error!(
            why,
            restart_ms = pause.as_millis(),
            "The helper process died; restarting it"
        );
        told.fault.replace(Some(Fault {
            message,
            since_ms: clock::wall_ms(),
        }));
        shared
            .executor
            .host()
            .use_helper(again(keeper, told, duty, (pause, &mut backoff)).await);
        told.fault.replace(None);
        info!("The helper process is running again");
    }
}

/// Retries until one is running.
async fn again(
    keeper: &Client,
    told: &Told,
    duty: Duty,
    (mut pause, backoff): (Duration, &mut Backoff),
) -> HelperClient {
    loop {
        tokio::time::sleep(pause).await;
        match start(keeper, Role::Helper, duty).await {
            Ok(client) => return client,
            Err(err) => {
                pause = backoff.pause();
                error!(%err, restart_ms = pause.as_millis(), "Could not start the helper process");
                if let Some(fault) = told.fault.borrow_mut().as_mut() {
                    fault.message = format!("the helper process cannot be started: {err}");
                }
            }
        }
    }
}
