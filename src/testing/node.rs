//! One host of a test: the daemon on a simulated machine, with what the test wants to know of it.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::hook::Subject;
use super::record::{Record, Witness};
use super::spec::{Spec, World};
use crate::config::{self, Config, Surroundings, Unusable};
use crate::effect::{Resource, Value};
use crate::engine::sim::{Change, Scripted};
use crate::hooks::{EntryPoint, HookError, Returned};
use crate::host::SimHost;
use crate::proto::Cause;
use crate::types::{Name, State, VirtualAddress};

/// The one virtual host of a test's host.
const VHOST: usize = 0;
/// Where the daemon asks for the health on its own, it does so only if the test wants it.
const NEVER: Duration = Duration::from_hours(24 * 366);

/// What an event says besides.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) cause: Cause,
    pub(super) peer: Option<IpAddr>,
    pub(super) missed: u32,
}

impl Told {
    /// For this cause.
    pub(super) const fn by(cause: Cause) -> Self {
        Self {
            cause,
            peer: None,
            missed: 0,
        }
    }
}

/// The host.
#[derive(Debug)]
pub(super) struct Node {
    spec: Spec,
    hook: Name,
    machine: RefCell<Scripted>,
    witness: Rc<Witness>,
    /// Every value before the last mastership.
    baseline: RefCell<BTreeMap<Resource, Value>>,
    /// Nothing has become of it.
    fresh: Cell<bool>,
}

impl Node {
    /// A host as the test describes it, whose virtual host is nothing yet.
    ///
    /// # Errors
    /// What makes no sense in the description.
    pub(super) async fn new(subject: &Rc<Subject>, spec: Spec) -> Result<Rc<Self>, String> {
        let host = spec.host()?;
        let grants = spec
            .own_grants()?
            .unwrap_or_else(|| subject.exam().grants.clone());
        let config_json = spec.config.as_ref().map_or_else(
            || subject.exam().hook.config_json.clone(),
            ToString::to_string,
        );
        let mut written = subject.spec(&config_json, &grants);
        if !spec.health {
            written.health.interval = NEVER;
        }
        let loaded = subject
            .loaded(&written)
            .await
            .map_err(|error| error.to_string())?;
        let hook = subject.exam().hook.name.clone();
        let config = configuration(&spec, &hook, written)?;
        let witness = Rc::new(Witness {
            subject: Rc::clone(subject),
            host: host.clone(),
            own_grants: spec.grants.is_some(),
            record: RefCell::default(),
        });
        let baseline = RefCell::new(host.values());
        let machine = Scripted::start(
            spec.world.hostname.as_deref().unwrap_or("node"),
            config,
            [(hook.clone(), &*loaded)].into(),
            host,
            subject.keeper(),
            Rc::clone(&witness) as _,
        );
        Ok(Rc::new(Self {
            hook,
            machine: RefCell::new(machine.await),
            witness,
            baseline,
            fresh: Cell::new(true),
            spec,
        }))
    }

    pub(super) fn host(&self) -> SimHost {
        self.machine.borrow().host().clone()
    }

    pub(super) fn now(&self) -> Duration {
        self.machine.borrow().now()
    }

    pub(super) const fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(super) fn state(&self) -> State {
        self.machine.borrow().state(VHOST)
    }

    /// How unfit it says that it is.
    pub(super) fn demotion(&self) -> u8 {
        self.machine.borrow().demotion(VHOST)
    }

    /// What the hook keeps under this key: JSON.
    pub(super) fn stored(&self, key: &str) -> Option<Vec<u8>> {
        self.machine.borrow().stored(VHOST, &self.hook, key)
    }

    /// Is anything held?
    pub(super) fn holds_something(&self) -> bool {
        !self.machine.borrow().held().is_empty()
    }

    pub(super) fn record(&self) -> Ref<'_, Record> {
        self.witness.record.borrow()
    }

    pub(super) fn record_mut(&self) -> RefMut<'_, Record> {
        self.witness.record.borrow_mut()
    }

    /// Runs that failed since the last event; they are forgotten.
    pub(super) fn take_errors(&self) -> Vec<(EntryPoint, HookError)> {
        std::mem::take(&mut self.record_mut().errors)
    }

    /// Somebody else changes the host.
    pub(super) fn change(&self, world: &World) -> Result<(), String> {
        let host = self.host();
        let changed = world.change(&host)?;
        let mut record = self.record_mut();
        for resource in changed {
            let value = host.value(&resource);
            record.foreign.insert(resource, value);
        }
        Ok(())
    }

    /// Its virtual host becomes something, and the daemon does what follows. With `wait`, until it
    /// has nothing to do but to try again later; without, until the hook waits for the first time.
    ///
    /// # Errors
    /// It never ends.
    pub(super) async fn become_state(
        &self,
        to: State,
        told: Told,
        wait: bool,
    ) -> Result<(), String> {
        self.begin_event();
        if to == State::Master && !self.holds_something() {
            *self.baseline.borrow_mut() = self.host().values();
            let mut record = self.record_mut();
            record.lasting.clear();
            record.foreign.clear();
        }
        self.fresh.set(false);
        let Told {
            cause,
            peer,
            missed,
        } = told;
        let change = Change {
            vhost: VHOST,
            to,
            cause,
            peer,
            missed,
        };
        self.play(async |machine| machine.change(change, wait).await)
            .await
    }

    /// The daemon stops.
    ///
    /// # Errors
    /// It never ends.
    pub(super) async fn stop(&self) -> Result<(), String> {
        self.begin_event();
        self.play(async |machine| machine.stop().await).await
    }

    /// A worse master is heard.
    ///
    /// # Errors
    /// It never ends.
    pub(super) async fn hear_worse(&self, peer: Option<IpAddr>) -> Result<(), String> {
        self.begin_event();
        self.play(async |machine| machine.hear_worse(VHOST, peer).await)
            .await
    }

    /// Lets time pass: what waits goes on, what is to be tried again is.
    ///
    /// # Errors
    /// It never ends.
    pub(super) async fn advance(&self, time: Duration) -> Result<(), String> {
        self.play(async |machine| machine.advance(time).await).await
    }

    /// Asks the hook how the service is; `None` if it failed.
    ///
    /// # Errors
    /// It never ends.
    pub(super) async fn health(&self) -> Result<Option<(u8, String)>, String> {
        let asked = self
            .play(async |machine| machine.ask_health(VHOST).await)
            .await?;
        Ok(match asked {
            None | Some(Ok(Returned::Done)) => Some((0, String::new())),
            Some(Ok(Returned::Health { demotion, reason })) => Some((demotion, reason)),
            Some(Err(_)) => None,
        })
    }

    fn begin_event(&self) {
        let mut record = self.record_mut();
        record.plan.clear();
        record.denied.clear();
        record.undone.clear();
    }

    /// Nobody else uses the machine meanwhile: a case does one thing after the other.
    #[expect(
        clippy::await_holding_refcell_ref,
        reason = "one thing after the other"
    )]
    async fn play<T>(
        &self,
        with: impl AsyncFnOnce(&mut Scripted) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut machine = self
            .machine
            .try_borrow_mut()
            .map_err(|_| "this host is in use".to_owned())?;
        with(&mut machine).await
    }

    /// The virtual host's own addresses that are on its interface now.
    pub(super) fn own_addresses_up(&self) -> Vec<VirtualAddress> {
        let (host, dev) = (self.host(), &self.spec.interface);
        let up = |a: &&VirtualAddress| host.has(dev, a.ip);
        self.spec.addresses.iter().filter(up).copied().collect()
    }

    /// What of the last mastership is left, in words: claims, and values that nobody wanted to
    /// stay.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let held = self
            .machine
            .borrow()
            .held()
            .into_iter()
            .map(|(resource, value)| format!("{resource} is still held as {value}"));
        held.chain(self.different_from(&self.baseline.borrow()))
            .collect()
    }

    /// Values that are neither as they were, nor as somebody wanted them to stay.
    pub(super) fn different_from(&self, before: &BTreeMap<Resource, Value>) -> Vec<String> {
        let host = self.host();
        let (now, record) = (host.values(), self.record());
        let resources: BTreeSet<_> = before.keys().chain(now.keys()).collect();
        let as_wanted = |resource: &Resource| {
            let lasting = record
                .lasting
                .get(resource)
                .is_some_and(|lasting| host.value(resource) == *lasting);
            now.get(resource) == before.get(resource)
                || lasting
                || record.foreign.contains_key(resource)
        };
        let words =
            |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), ToString::to_string);
        let tell =
            |r: &Resource| format!("{r} is {}, was {}", words(now.get(r)), words(before.get(r)));
        resources
            .into_iter()
            .filter(|resource| !as_wanted(resource))
            .map(tell)
            .collect()
    }

    /// Every effect that the hook has asked for since the plan began, printed.
    pub(super) fn plan(&self) -> Vec<String> {
        self.record()
            .plan
            .iter()
            .map(|asked| asked.to_string().trim_end().to_owned())
            .collect()
    }

    /// What was undone since the last event, printed in the same words.
    pub(super) fn undone(&self) -> Vec<String> {
        self.record()
            .undone
            .iter()
            .map(|effect| effect.trim_end().to_owned())
            .collect()
    }

    /// Everything that was done to the host.
    pub(super) fn trace(&self) -> Vec<String> {
        let line = |deed: crate::host::sim::Deed| {
            let failed = if deed.outcome.is_ok() {
                ""
            } else {
                " (failed)"
            };
            format!("{}{failed}", deed.effect)
        };
        self.host().trace().into_iter().map(line).collect()
    }
}

/// What an operator would have written about such a host.
fn configuration(spec: &Spec, hook: &Name, written: config::Hook) -> Result<Config, String> {
    let addresses: Vec<String> = spec.addresses.iter().map(ToString::to_string).collect();
    let mut vhost = toml::Table::new();
    let mut put = |key: &str, value: toml::Value| _ = vhost.insert(key.to_owned(), value);
    put("name", spec.name.to_string().into());
    put("interface", spec.interface.to_string().into());
    put("vhid", i64::from(spec.vhid.get()).into());
    put("addresses", addresses.into());
    put("password-file", "password".into());
    put("hooks", vec![hook.to_string()].into());
    // So that time passes with little to do.
    put("advbase", 254.into());
    put("advskew", 100.into());
    put("lease", "off".into());
    if let Some(xparam) = &spec.xparam {
        put("xparam", xparam.clone().into());
    }
    let hooks = toml::Table::from_iter([(
        hook.to_string(),
        toml::Table::from_iter([("source".to_owned(), "hook.lua".into())]).into(),
    )]);
    let whole = toml::Table::from_iter([
        ("vhost".to_owned(), vec![toml::Value::from(vhost)].into()),
        ("hook".to_owned(), hooks.into()),
    ]);
    let loaded = Config::parse("test.host", &whole.to_string(), &Nowhere);
    let mut config = loaded.map_err(|report| first_problem(&report))?.config;
    config.hooks.insert(hook.clone(), written);
    Ok(config)
}

fn first_problem(report: &config::Report) -> String {
    let errors = report.problems.iter();
    let mut errors = errors.filter(|problem| problem.severity == config::Severity::Error);
    errors
        .next()
        .map_or_else(|| report.to_string(), |problem| problem.message.clone())
}

/// A test's host has no files.
struct Nowhere;

impl Surroundings for Nowhere {
    fn password_file(&self, _: &Path) -> Result<Vec<u8>, Unusable> {
        Ok(b"test".to_vec())
    }

    fn credential(&self, _: &str) -> Result<Vec<u8>, Unusable> {
        Ok(b"test".to_vec())
    }

    fn key_file(&self, path: &Path) -> Result<Vec<u8>, Unusable> {
        Err(format!("{}: there is no such file", path.display()).into())
    }

    fn hook_file(&self, path: &Path) -> Result<PathBuf, Unusable> {
        Ok(path.to_owned())
    }
}
