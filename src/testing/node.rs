//! One host of a test: the daemon on a simulated machine, with what the test records about each of
//! its virtual hosts.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::hook::Subject;
use super::record::{Failed, Record, Witness};
use super::spec::{Spec, VhostSpec, World};
use crate::config::{self, Config, Surroundings, Unusable};
use crate::effect::{Resource, Value};
use crate::engine::sim::{Change, LoadedHook, Scripted};
use crate::hooks::Returned;
use crate::host::SimHost;
use crate::proto::Cause;
use crate::types::{Demotion, Name, State, VirtualAddress};

/// The daemon runs health checks by itself only if the test wants it.
const NEVER: Duration = Duration::from_hours(24 * 366);

/// The details of an event.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) cause: Cause,
    pub(super) peer: Option<IpAddr>,
    pub(super) missed: u32,
}

impl Told {
    /// The usual details: no master is heard any more, or a better one is.
    pub(super) const fn usual(to: State) -> Self {
        let cause = match to {
            State::Master => Cause::MasterDown {
                silent: Duration::from_secs(3),
            },
            State::Backup | State::Init => Cause::BetterMaster,
        };
        Self {
            cause,
            peer: None,
            missed: 0,
        }
    }
}

/// What the virtual hosts of one host share.
#[derive(Debug)]
struct Shared {
    machine: RefCell<Scripted>,
    witness: Rc<Witness>,
    /// Every value when the host last held nothing.
    baseline: RefCell<BTreeMap<Resource, Value>>,
}

/// One virtual host of a host.
#[derive(Debug)]
pub(super) struct Node {
    shared: Rc<Shared>,
    vhost: VhostSpec,
    number: usize,
    record: Rc<RefCell<Record>>,
}

impl Node {
    /// The virtual hosts of a host as the test describes it; they are in the initial state.
    ///
    /// # Errors
    /// What is invalid in the description.
    pub(super) async fn all(subject: &Rc<Subject>, spec: &Spec) -> Result<Vec<Rc<Self>>, String> {
        let host = spec.host()?;
        let (config, loaded) = configuration(subject, spec).await?;
        let record = |vhost: &VhostSpec| (vhost.name.clone(), Rc::default());
        let witness = Rc::new(Witness {
            subject: Rc::clone(subject),
            host: host.clone(),
            own_grants: spec.grants.is_some(),
            records: spec.vhosts().map(record).collect(),
            staying: RefCell::default(),
        });
        let baseline = RefCell::new(host.values());
        let hooks = loaded.iter().map(|(name, hook)| (name.clone(), &**hook));
        let machine = Scripted::start(
            spec.world.hostname.as_deref().unwrap_or("node"),
            config,
            hooks.collect(),
            host,
            subject.keeper(),
            Rc::clone(&witness) as _,
        );
        let shared = Rc::new(Shared {
            machine: RefCell::new(machine.await),
            witness,
            baseline,
        });
        let vhosts = spec.vhosts().zip(&shared.witness.records).enumerate();
        let node = |(number, (vhost, (_, record))): (usize, (&VhostSpec, &(Name, Rc<_>)))| Self {
            shared: Rc::clone(&shared),
            vhost: vhost.clone(),
            number,
            record: Rc::clone(record),
        };
        Ok(vhosts.map(node).map(Rc::new).collect())
    }

    /// Is it a virtual host of the same host?
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }

    pub(super) fn host(&self) -> SimHost {
        self.shared.machine.borrow().host().clone()
    }

    pub(super) fn now(&self) -> Duration {
        self.shared.machine.borrow().now()
    }

    pub(super) const fn vhost(&self) -> &VhostSpec {
        &self.vhost
    }

    pub(super) fn state(&self) -> State {
        self.shared.machine.borrow().state(self.number)
    }

    /// The demotion that it advertises.
    pub(super) fn demotion(&self) -> u8 {
        self.shared.machine.borrow().demotion(self.number)
    }

    /// The value that the hook stored under this key: JSON.
    pub(super) fn stored(&self, key: &str) -> Option<Vec<u8>> {
        let hook = self.shared.witness.subject.name();
        self.shared.machine.borrow().stored(self.number, hook, key)
    }

    /// Is anything held on the host?
    pub(super) fn holds_something(&self) -> bool {
        !self.shared.machine.borrow().held().is_empty()
    }

    pub(super) fn record(&self) -> Ref<'_, Record> {
        self.record.borrow()
    }

    pub(super) fn record_mut(&self) -> RefMut<'_, Record> {
        self.record.borrow_mut()
    }

    /// Runs that failed since the last event; they are cleared.
    pub(super) fn take_errors(&self) -> Vec<Failed> {
        std::mem::take(&mut self.record_mut().errors)
    }

    /// Another program changes the host.
    pub(super) fn change(&self, world: &World) -> Result<(), String> {
        let host = self.host();
        let changed = world.change(&host)?;
        let mut staying = self.shared.witness.staying.borrow_mut();
        for resource in changed {
            let value = host.value(&resource);
            staying.foreign.insert(resource, value);
        }
        Ok(())
    }

    /// Another program renames the host.
    pub(super) fn rename(&self, name: &str) {
        let value = Value::Text(name.to_owned());
        self.host().set(Resource::Hostname, value.clone());
        let mut staying = self.shared.witness.staying.borrow_mut();
        staying.foreign.insert(Resource::Hostname, value);
    }

    /// It changes state, and the daemon does what follows. With `wait`, until the daemon has
    /// nothing left but later retries; without it, until the hook first waits.
    ///
    /// # Errors
    /// It never ends.
    pub(super) async fn become_state(
        &self,
        to: State,
        told: Told,
        wait: bool,
    ) -> Result<(), String> {
        self.record_mut().begin();
        if to == State::Master && !self.holds_something() {
            *self.shared.baseline.borrow_mut() = self.host().values();
            self.shared.witness.staying.take();
        }
        let Told {
            cause,
            peer,
            missed,
        } = told;
        let change = Change {
            vhost: self.number,
            to,
            cause,
            peer,
            missed,
        };
        self.play(async |machine| machine.change(change, wait).await)
            .await
    }

    /// It becomes master or backup in the usual way.
    ///
    /// # Errors
    /// It never ends.
    pub(super) async fn change_to(&self, to: State, wait: bool) -> Result<(), String> {
        self.become_state(to, Told::usual(to), wait).await
    }

    /// The daemon stops.
    ///
    /// # Errors
    /// It never ends.
    pub(super) async fn stop(&self) -> Result<(), String> {
        for (_, record) in &self.shared.witness.records {
            record.borrow_mut().begin();
        }
        self.play(async |machine| machine.stop().await).await
    }

    /// A worse master is heard.
    ///
    /// # Errors
    /// It never ends.
    pub(super) async fn hear_worse(&self, peer: Option<IpAddr>) -> Result<(), String> {
        self.record_mut().begin();
        self.play(async |machine| machine.hear_worse(self.number, peer).await)
            .await
    }

    /// Lets time pass: what waits continues, and retries that are due happen.
    ///
    /// # Errors
    /// It never ends.
    pub(super) async fn advance(&self, time: Duration) -> Result<(), String> {
        self.play(async |machine| machine.advance(time).await).await
    }

    /// Runs its hooks' health checks: returns the demotion that they cause together, and the
    /// reason.
    ///
    /// # Errors
    /// It never ends.
    pub(super) async fn health(&self) -> Result<(u8, String), String> {
        let answers = self
            .play(async |machine| machine.ask_health(self.number).await)
            .await?;
        let (mut unfit, mut reasons) = (Demotion::NONE, Vec::new());
        for answer in answers {
            match answer {
                Ok(Returned::Done) => {}
                Ok(Returned::Health { demotion, reason }) => {
                    unfit = unfit.plus(Demotion::new(demotion));
                    reasons.push(reason);
                }
                Err(_) => unfit = Demotion::MAX,
            }
        }
        reasons.retain(|reason| !reason.is_empty());
        Ok((unfit.get(), reasons.join("; ")))
    }

    /// Nothing else uses the machine meanwhile: a case does one thing at a time.
    #[expect(
        clippy::await_holding_refcell_ref,
        reason = "one thing after the other"
    )]
    async fn play<T>(
        &self,
        with: impl AsyncFnOnce(&mut Scripted) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut machine = self
            .shared
            .machine
            .try_borrow_mut()
            .map_err(|_| "this host is in use".to_owned())?;
        with(&mut machine).await
    }

    /// Those of its own addresses that are on its interface now.
    pub(super) fn own_addresses_up(&self) -> Vec<VirtualAddress> {
        let (host, dev) = (self.host(), &self.vhost.interface);
        let up = |a: &&VirtualAddress| host.has(dev, a.ip);
        self.vhost.addresses.iter().filter(up).copied().collect()
    }

    /// No backup has an address.
    ///
    /// # Errors
    /// It has one.
    pub(super) fn has_let_go(&self) -> Result<(), String> {
        match self.own_addresses_up().first() {
            Some(address) if self.state() != State::Master => {
                Err(format!("{address} is up, and this is no master"))
            }
            _ => Ok(()),
        }
    }

    /// What is left of its last mastership, as text: claims, and values that were not meant to stay
    /// and that no other virtual host holds.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let held = self.shared.machine.borrow().held();
        let (own, others): (Vec<_>, Vec<_>) = held
            .into_iter()
            .partition(|(_, _, vhosts)| vhosts.contains(&self.vhost.name));
        let left = own
            .iter()
            .map(|(resource, value, _)| format!("{resource} is still held as {value}"));
        let others: BTreeSet<Resource> =
            others.into_iter().map(|(resource, ..)| resource).collect();
        left.chain(self.different_from(&self.shared.baseline.borrow(), &others))
            .collect()
    }

    /// Values that are neither as before nor meant to stay, except for these.
    fn different_from(
        &self,
        before: &BTreeMap<Resource, Value>,
        but_for: &BTreeSet<Resource>,
    ) -> Vec<String> {
        let host = self.host();
        let (now, staying) = (host.values(), self.shared.witness.staying.borrow());
        let resources: BTreeSet<_> = before.keys().chain(now.keys()).collect();
        let as_wanted = |resource: &Resource| {
            let lasting = staying
                .lasting
                .get(resource)
                .is_some_and(|lasting| host.value(resource) == *lasting);
            now.get(resource) == before.get(resource)
                || lasting
                || staying.foreign.contains_key(resource)
                || but_for.contains(resource)
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

    /// Every effect that its hooks have requested since the plan began, as text.
    pub(super) fn plan(&self) -> Vec<String> {
        self.record()
            .plan
            .iter()
            .map(|asked| asked.to_string().trim_end().to_owned())
            .collect()
    }

    /// What was undone since the last event, in the same form.
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

/// The configuration that an operator would have written for such a host, and the hooks that run
/// there.
async fn configuration(
    subject: &Subject,
    spec: &Spec,
) -> Result<(Config, BTreeMap<Name, Rc<LoadedHook>>), String> {
    let hooks_of = |vhost: &VhostSpec| {
        let given = vhost.hooks.clone();
        given.unwrap_or_else(|| vec![subject.name().clone()])
    };
    let names: BTreeSet<Name> = spec.vhosts().flat_map(hooks_of).collect();
    let vhost = |vhost: &VhostSpec| vhost_table(vhost, &hooks_of(vhost));
    let source = |name: &Name| {
        let source = ("source".to_owned(), format!("{name}.lua").into());
        (name.to_string(), toml::Table::from_iter([source]).into())
    };
    let whole = toml::Table::from_iter([
        (
            "vhost".to_owned(),
            spec.vhosts().map(vhost).collect::<Vec<_>>().into(),
        ),
        (
            "hook".to_owned(),
            names.iter().map(source).collect::<toml::Table>().into(),
        ),
    ]);
    let parsed = Config::parse("test.host", &whole.to_string(), &Nowhere);
    let mut config = parsed.map_err(|report| first_problem(&report))?.config;
    let own_grants = spec.own_grants()?;
    let mut loaded = BTreeMap::new();
    for name in names {
        let hook = subject.hook(&name).await?;
        let mut written = hook.spec();
        if name == *subject.name() {
            let own_config = spec.config.as_ref().map(ToString::to_string);
            written.config_json = own_config.unwrap_or(written.config_json);
            written.grants = own_grants.clone().unwrap_or(written.grants);
        }
        if !spec.health {
            written.health.interval = NEVER;
        }
        let runners = config.hooks.get(&name).map_or(1, |hook| hook.runners);
        written.runners = NonZero::new(written.runners).map_or(runners, NonZero::get);
        let ready = subject.loaded(&hook, &written).await;
        loaded.insert(name.clone(), ready.map_err(|error| error.to_string())?);
        config.hooks.insert(name, written);
    }
    Ok((config, loaded))
}

fn vhost_table(spec: &VhostSpec, hooks: &[Name]) -> toml::Value {
    fn texts<T: ToString>(list: &[T]) -> toml::Value {
        let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
        texts.into()
    }
    let mut vhost = toml::Table::new();
    let mut put = |key: &str, value: toml::Value| _ = vhost.insert(key.to_owned(), value);
    put("name", spec.name.to_string().into());
    put("interface", spec.interface.to_string().into());
    put("vhid", i64::from(spec.vhid.get()).into());
    put("addresses", texts(&spec.addresses));
    put("password-file", "password".into());
    put("hooks", texts(hooks));
    // So that time passes with little work.
    put("advbase", 254.into());
    put("advskew", 100.into());
    put("lease", "off".into());
    if let Some(xparam) = &spec.xparam {
        put("xparam", xparam.clone().into());
    }
    vhost.into()
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
