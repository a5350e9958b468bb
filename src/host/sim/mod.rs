//! A host that exists only in memory: for tests of hooks, rehearsals, plans and our own tests.
//!
//! In layers: facts (this file) · `faults`: what goes wrong on purpose · `power`: leases, what
//! the kernel refuses, what outlives a boot · `host`: the [`Host`](super::Host) made of them, and
//! what a kernel or a service manager would say no to.

mod faults;
mod host;
mod power;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

pub use faults::{Happens, Trouble};

use faults::Troubles;
use host::named;
use power::Power;

use super::{HostError, clock};
use crate::effect::{
    ArpMode, CommandOutput, Effect, Endpoint, HttpResponse, Link, Outcome, Reply, Resource, Value,
};
use crate::types::{IfName, Timestamp};

/// A host in memory. What nobody set is absent: services stopped, no address. A device that nobody
/// named is up. Clones are the same host.
#[derive(Debug, Clone, Default)]
pub struct SimHost(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    values: RefCell<BTreeMap<Resource, Value>>,
    /// The addresses that were put up by an effect.
    ours: RefCell<BTreeSet<Resource>>,
    links: RefCell<Vec<Link>>,
    done: RefCell<Vec<Deed>>,
    calls: Cell<u64>,
    failing: RefCell<BTreeMap<u64, HostError>>,
    commands: RefCell<BTreeMap<String, CommandOutput>>,
    troubles: RefCell<Troubles>,
    /// The effects whose last attempt failed by one of them.
    failed_by_fault: RefCell<Vec<Effect>>,
    power: Power,
    /// Only the devices that were named exist, and gateways must be in their networks.
    strict_links: Cell<bool>,
    /// If given, only these services exist.
    units: RefCell<Option<Vec<String>>>,
    missing_units: RefCell<Vec<String>>,
    answers: RefCell<BTreeMap<String, HttpResponse>>,
    listening: RefCell<Vec<Endpoint>>,
    /// Whoever is asked over the network is there, and well.
    others_well: Cell<bool>,
}

/// One effect that was done, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// When it ended.
    pub at: Timestamp,
    /// What.
    pub effect: Effect,
    /// What it set, from what to what.
    pub change: Option<(Resource, Value, Value)>,
    /// What came of it; in words, if it failed.
    pub outcome: Result<Outcome, String>,
    /// In the turn of a transition, by the daemon itself.
    pub at_once: bool,
}

/// For a person: what it changed, from what to what, or else the effect, and why it failed.
impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.outcome, &self.change, &self.effect) {
            (Err(error), ..) => write!(f, "{}: {error}", self.effect),
            (Ok(_), _, Effect::Announce { address, dev, .. }) => {
                write!(f, "announces {} on {dev}", address.ip)
            }
            (Ok(_), Some((resource, before, after)), _) => {
                write!(f, "{resource}: {} -> {}", shown(before), shown(after))
            }
            (Ok(_), None, effect) => effect.fmt(f),
        }
    }
}

/// A short text file by its text.
fn shown(value: &Value) -> String {
    match value
        .content()
        .filter(|content| content.len() <= 40)
        .map(std::str::from_utf8)
    {
        Some(Ok(text)) => format!("{text:?}"),
        _ => value.to_string(),
    }
}

/// `httpd` and `httpd.service` are one.
fn unit_name(unit: &str) -> &str {
    unit.strip_suffix(".service").unwrap_or(unit)
}

impl SimHost {
    /// An empty host.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this already so.
    #[must_use]
    pub fn with(self, resource: Resource, value: Value) -> Self {
        self.set(resource, value);
        self
    }

    /// With this device.
    #[must_use]
    pub fn with_link(self, link: Link) -> Self {
        self.0.links.borrow_mut().push(link);
        self
    }

    /// The `n`-th effect from the first ever, counted from 1, fails with this message.
    #[must_use]
    pub fn failing_nth(self, n: u64, message: &str) -> Self {
        self.0
            .failing
            .borrow_mut()
            .insert(n, HostError::new(message.to_owned()));
        self
    }

    /// The next effect fails with this message.
    pub fn fail_next(&self, message: &str) {
        let error = HostError::new(message.to_owned());
        self.0
            .failing
            .borrow_mut()
            .insert(self.0.calls.get() + 1, error);
    }

    /// What the command of this name leaves behind; success and silence if not given.
    #[must_use]
    pub fn with_command(self, name: &str, output: CommandOutput) -> Self {
        self.0.commands.borrow_mut().insert(name.to_owned(), output);
        self
    }

    /// From now on, only the devices that were named exist, and a route's gateway must be in the
    /// network of an address.
    pub fn name_all_links(&self) {
        self.0.strict_links.set(true);
    }

    /// From now on, only these services exist.
    pub fn name_all_units<'a>(&self, units: impl IntoIterator<Item = &'a str>) {
        *self.0.units.borrow_mut() = Some(
            units
                .into_iter()
                .map(|unit| unit_name(unit).to_owned())
                .collect(),
        );
    }

    /// There is no such service.
    pub fn lacks_unit(&self, unit: &str) {
        self.0
            .missing_units
            .borrow_mut()
            .push(unit_name(unit).to_owned());
    }

    /// Something is to go wrong.
    pub fn trouble(&self, trouble: Trouble) {
        self.0.troubles.borrow_mut().add(trouble);
    }

    /// Nothing is to go wrong any more.
    pub fn heal(&self) {
        self.0.troubles.borrow_mut().clear();
    }

    /// Does whoever asks for this effect die of it? If so, that has happened now.
    #[must_use]
    pub fn kills(&self, effect: &Effect) -> bool {
        self.0
            .troubles
            .borrow_mut()
            .meet(effect, |happens| *happens == Happens::Kills)
            .is_some()
    }

    /// Did the last attempt at this effect fail because something was to go wrong?
    #[must_use]
    pub fn failed_by_fault(&self, effect: &Effect) -> bool {
        self.0.failed_by_fault.borrow().contains(effect)
    }

    /// Everything that has a value, with it.
    #[must_use]
    pub fn values(&self) -> BTreeMap<Resource, Value> {
        self.0.values.borrow().clone()
    }

    /// A device as it is now.
    #[must_use]
    pub fn link(&self, dev: &IfName) -> Option<Link> {
        self.0
            .links
            .borrow()
            .iter()
            .find(|link| link.name == *dev)
            .map(|link| self.as_it_is(link))
    }

    /// What is answered to requests for this URL, query included; 404 if not given.
    #[must_use]
    pub fn with_answer(self, url: &str, answer: HttpResponse) -> Self {
        self.0.answers.borrow_mut().insert(url.to_owned(), answer);
        self
    }

    /// Who takes TCP connections from now on; nobody until then.
    pub fn listen(&self, endpoints: &[Endpoint]) {
        *self.0.listening.borrow_mut() = endpoints.to_vec();
    }

    /// Somebody else changes something.
    pub fn set(&self, resource: Resource, value: Value) {
        let absent = self.absent(&resource);
        let renamed = if let Cow::Owned(renamed) = named(&resource) {
            Some(renamed)
        } else {
            None
        };
        let resource = renamed.unwrap_or(resource);
        self.0.ours.borrow_mut().remove(&resource);
        if value == absent {
            self.0.values.borrow_mut().remove(&resource);
        } else {
            self.0.values.borrow_mut().insert(resource, value);
        }
    }

    /// As [`Self::set`], but by an effect.
    pub fn set_ours(&self, resource: Resource, value: Value) {
        let is_up = matches!(value, Value::Address(_));
        self.set(resource.clone(), value);
        if is_up {
            self.0.ours.borrow_mut().insert(resource);
        }
    }

    /// What it is now; absent if nobody ever set it.
    #[must_use]
    pub fn value(&self, resource: &Resource) -> Value {
        let resource = named(resource);
        self.0
            .values
            .borrow()
            .get(&*resource)
            .cloned()
            .unwrap_or_else(|| self.absent(&resource))
    }

    /// The value of what nobody has set.
    fn absent(&self, resource: &Resource) -> Value {
        let link = |dev: &IfName| {
            self.0
                .links
                .borrow()
                .iter()
                .find(|link| link.name == *dev)
                .cloned()
        };
        match resource {
            Resource::LinkUp { dev } => {
                Value::Up(link(dev).map_or(!self.0.strict_links.get(), |link| link.up))
            }
            Resource::LinkMac { dev } => {
                link(dev).map_or(Value::Absent, |link| Value::Mac(link.mac))
            }
            Resource::Service { .. } => Value::Running(false),
            Resource::Hostname => Value::Text("fake".to_owned()),
            Resource::Sysctl { .. } => Value::Text(String::new()),
            Resource::Address { .. }
            | Resource::Route { .. }
            | Resource::Rule(_)
            | Resource::Macvlan { .. }
            | Resource::File { .. } => Value::Absent,
            Resource::LinkArp { .. } => Value::Arp(ArpMode::default()),
        }
    }

    /// Other hosts are not played: whoever is asked is there, and well.
    pub fn others_are_well(&self) {
        self.0.others_well.set(true);
    }

    /// Every effect that was asked for, in order, also those that failed.
    #[must_use]
    pub fn performed(&self) -> Vec<Effect> {
        self.0
            .done
            .borrow()
            .iter()
            .map(|deed| deed.effect.clone())
            .collect()
    }

    /// The same, each with what came of it.
    #[must_use]
    pub fn trace(&self) -> Vec<Deed> {
        self.0.done.borrow().clone()
    }

    /// What was done since this was asked last; it is forgotten.
    #[must_use]
    pub fn take_deeds(&self) -> Vec<Deed> {
        self.0.done.take()
    }

    /// Does an effect, and notes what came of it.
    fn apply(&self, effect: &Effect, at_once: bool) -> Result<Reply, HostError> {
        let before = effect.assigns().map(|(resource, _)| self.value(&resource));
        let reply = self.apply_silently(effect);
        self.note(effect, before, &reply, at_once);
        reply
    }

    fn note(
        &self,
        effect: &Effect,
        before: Option<Value>,
        result: &Result<Reply, HostError>,
        at_once: bool,
    ) {
        let change = effect.assigns().zip(before);
        self.0.done.borrow_mut().push(Deed {
            at: clock::now(),
            effect: effect.clone(),
            change: change.map(|((resource, after), before)| (resource, before, after)),
            outcome: match result {
                Ok(Reply::Outcome(outcome)) => Ok(*outcome),
                Ok(_) => Ok(Outcome::Changed),
                Err(error) => Err(error.message.clone()),
            },
            at_once,
        });
    }

    /// A macvlan is a device as well.
    fn links_follow(&self, effect: &Effect) {
        let mut links = self.0.links.borrow_mut();
        match effect {
            Effect::MacvlanAdd {
                dev, parent, mac, ..
            } => {
                let index = links.iter().map(|link| link.index).max().unwrap_or(0) + 1;
                let parent = links.iter().find(|link| link.name == *parent).cloned();
                links.retain(|link| link.name != *dev);
                links.extend(parent.map(|parent| Link {
                    name: dev.clone(),
                    altnames: Vec::new(),
                    index,
                    mac: *mac,
                    ..parent
                }));
            }
            Effect::MacvlanDelete { dev } => {
                links.retain(|link| link.name != *dev);
                self.0.values.borrow_mut().retain(
                    |resource, _| !matches!(resource, Resource::Address { dev: on, .. } if on == dev),
                );
            }
            _ => {}
        }
    }

    fn apply_silently(&self, effect: &Effect) -> Result<Reply, HostError> {
        if self.is_off() {
            return Err(power::no_power());
        }
        self.0.calls.set(self.0.calls.get() + 1);
        if let Some(err) = self.0.failing.borrow().get(&self.0.calls.get()) {
            return Err(err.clone());
        }
        self.refuse(effect)?;
        if let Effect::CommandRun { name, .. } = effect {
            let silent = CommandOutput {
                status: 0,
                stdout: Vec::new(),
                stderr: Vec::new(),
            };
            return Ok(Reply::Command(
                self.0
                    .commands
                    .borrow()
                    .get(name)
                    .cloned()
                    .unwrap_or(silent),
            ));
        }
        if let Effect::HttpSend(request) = effect {
            return Ok(Reply::Http(self.answer_to(&request.url.to_string())));
        }
        let Some((resource, value)) = effect.assigns() else {
            return Ok(Reply::Outcome(Outcome::Changed));
        };
        let restarted = matches!(
            effect,
            Effect::Service {
                verb: crate::effect::ServiceVerb::Restart,
                ..
            }
        );
        let outcome = if self.value(&resource) == value && !restarted {
            Outcome::Unchanged
        } else {
            Outcome::Changed
        };
        self.set_ours(resource, value);
        self.links_follow(effect);
        Ok(Reply::Outcome(outcome))
    }
}
