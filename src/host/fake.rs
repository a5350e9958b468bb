//! A host that exists only in memory: for tests, and for plans.

mod clock;
mod trouble;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

pub use clock::VirtualClock;
pub use trouble::{Happens, Trouble};

use trouble::Troubles;

use super::{FoundAddress, Host, HostError, RAISE_TIMEOUT, Renewal};
use crate::effect::{
    CommandOutput, Effect, Endpoint, Granted, HttpResponse, Link, Outcome, Query, Reply, Resource,
    Route, RouteTarget, UnitState, Value,
};
use crate::types::{IfName, VirtualAddress};

/// A host in memory. What nobody set is absent: services stopped, no address. A device that nobody
/// named is up.
#[derive(Debug, Default)]
pub struct FakeHost {
    values: RefCell<BTreeMap<Resource, Value>>,
    /// The addresses that were put up by an effect.
    ours: RefCell<BTreeSet<Resource>>,
    links: RefCell<Vec<Link>>,
    trace: RefCell<Vec<(Effect, bool)>>,
    calls: Cell<u64>,
    failing: RefCell<BTreeMap<u64, HostError>>,
    commands: RefCell<BTreeMap<String, CommandOutput>>,
    troubles: RefCell<Troubles>,
    clock: VirtualClock,
    /// Only the devices that were named exist, and gateways must be in their networks.
    strict_links: Cell<bool>,
    /// If given, only these services exist.
    units: RefCell<Option<Vec<String>>>,
    missing_units: RefCell<Vec<String>>,
    answers: RefCell<BTreeMap<String, HttpResponse>>,
    listening: RefCell<Vec<Endpoint>>,
}

/// `httpd` and `httpd.service` are one.
fn unit_name(unit: &str) -> &str {
    unit.strip_suffix(".service").unwrap_or(unit)
}

impl FakeHost {
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
        self.links.borrow_mut().push(link);
        self
    }

    /// The `n`-th effect from the first ever, counted from 1, fails with this message.
    #[must_use]
    pub fn failing_nth(self, n: u64, message: &str) -> Self {
        self.failing.borrow_mut().insert(
            n,
            HostError {
                message: message.to_owned(),
                errno: None,
            },
        );
        self
    }

    /// The next effect fails with this message.
    pub fn fail_next(&self, message: &str) {
        let error = HostError {
            message: message.to_owned(),
            errno: None,
        };
        self.failing
            .borrow_mut()
            .insert(self.calls.get() + 1, error);
    }

    /// What the command of this name leaves behind; success and silence if not given.
    #[must_use]
    pub fn with_command(self, name: &str, output: CommandOutput) -> Self {
        self.commands.borrow_mut().insert(name.to_owned(), output);
        self
    }

    /// With this clock, for what takes its time.
    #[must_use]
    pub fn with_clock(self, clock: VirtualClock) -> Self {
        Self { clock, ..self }
    }

    /// From now on, only the devices that were named exist, and a route's gateway must be in the
    /// network of an address.
    pub fn name_all_links(&self) {
        self.strict_links.set(true);
    }

    /// From now on, only these services exist.
    pub fn name_all_units<'a>(&self, units: impl IntoIterator<Item = &'a str>) {
        *self.units.borrow_mut() = Some(
            units
                .into_iter()
                .map(|unit| unit_name(unit).to_owned())
                .collect(),
        );
    }

    /// There is no such service.
    pub fn lacks_unit(&self, unit: &str) {
        self.missing_units
            .borrow_mut()
            .push(unit_name(unit).to_owned());
    }

    /// Something is to go wrong.
    pub fn trouble(&self, trouble: Trouble) {
        self.troubles.borrow_mut().add(trouble);
    }

    /// Nothing is to go wrong any more.
    pub fn heal(&self) {
        self.troubles.borrow_mut().clear();
    }

    /// Does whoever asks for this effect die of it? If so, that has happened now.
    pub fn kills(&self, effect: &Effect) -> bool {
        self.troubles
            .borrow_mut()
            .meet(effect, |happens| *happens == Happens::Kills)
            .is_some()
    }

    /// Everything that has a value, with it.
    #[must_use]
    pub fn values(&self) -> BTreeMap<Resource, Value> {
        self.values.borrow().clone()
    }

    /// A device as it is now.
    #[must_use]
    pub fn link(&self, dev: &IfName) -> Option<Link> {
        self.links
            .borrow()
            .iter()
            .find(|link| link.name == *dev)
            .map(|link| self.as_it_is(link))
    }

    /// What is answered to requests for this URL, query included; 404 if not given.
    #[must_use]
    pub fn with_answer(self, url: &str, answer: HttpResponse) -> Self {
        self.answers.borrow_mut().insert(url.to_owned(), answer);
        self
    }

    /// Who takes TCP connections from now on; nobody until then.
    pub fn listen(&self, endpoints: &[Endpoint]) {
        *self.listening.borrow_mut() = endpoints.to_vec();
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
        self.ours.borrow_mut().remove(&resource);
        if value == absent {
            self.values.borrow_mut().remove(&resource);
        } else {
            self.values.borrow_mut().insert(resource, value);
        }
    }

    /// As [`Self::set`], but by an effect.
    pub fn set_ours(&self, resource: Resource, value: Value) {
        let is_up = matches!(value, Value::Address(_));
        self.set(resource.clone(), value);
        if is_up {
            self.ours.borrow_mut().insert(resource);
        }
    }

    /// What it is now; absent if nobody ever set it.
    #[must_use]
    pub fn value(&self, resource: &Resource) -> Value {
        let resource = named(resource);
        self.values
            .borrow()
            .get(&*resource)
            .cloned()
            .unwrap_or_else(|| self.absent(&resource))
    }

    /// The value of what nobody has set.
    fn absent(&self, resource: &Resource) -> Value {
        let link = |dev: &IfName| {
            self.links
                .borrow()
                .iter()
                .find(|link| link.name == *dev)
                .cloned()
        };
        match resource {
            Resource::LinkUp { dev } => {
                Value::Up(link(dev).map_or(!self.strict_links.get(), |link| link.up))
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
            | Resource::File { .. } => Value::Absent,
        }
    }

    /// Every effect that was asked for, in order, also those that failed.
    #[must_use]
    pub fn performed(&self) -> Vec<Effect> {
        self.trace
            .borrow()
            .iter()
            .map(|(effect, _)| effect.clone())
            .collect()
    }

    /// The same, each with whether it was done.
    #[must_use]
    pub fn trace(&self) -> Vec<(Effect, bool)> {
        self.trace.borrow().clone()
    }

    fn apply(&self, granted: &Granted) -> Result<Reply, HostError> {
        let reply = self.apply_silently(granted);
        self.trace
            .borrow_mut()
            .push((granted.effect().clone(), reply.is_ok()));
        reply
    }

    fn apply_silently(&self, granted: &Granted) -> Result<Reply, HostError> {
        let effect = granted.effect();
        self.calls.set(self.calls.get() + 1);
        if let Some(err) = self.failing.borrow().get(&self.calls.get()) {
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
                self.commands.borrow().get(name).cloned().unwrap_or(silent),
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
        Ok(Reply::Outcome(outcome))
    }
}

impl Host for FakeHost {
    fn perform_now(&self, granted: &Granted) -> Result<Reply, HostError> {
        match granted.effect() {
            Effect::HostnameSet { .. }
            | Effect::Service { .. }
            | Effect::SysctlSet { .. }
            | Effect::FileWrite { .. }
            | Effect::FileRestore { .. }
            | Effect::FileRemove { .. }
            | Effect::CommandRun { .. }
            | Effect::HttpSend(_)
            | Effect::Demote { .. }
            | Effect::Resign { .. } => Err(HostError {
                message: format!("{} may take long", granted.effect()),
                errno: Some(libc::EINVAL),
            }),
            Effect::AddressAdd { .. }
            | Effect::AddressDelete { .. }
            | Effect::Announce { .. }
            | Effect::RouteReplace(_)
            | Effect::RouteAdd(_)
            | Effect::RouteRestore(_)
            | Effect::RouteDelete(_)
            | Effect::RuleReplace(_)
            | Effect::RuleDelete(_)
            | Effect::LinkSetUp { .. }
            | Effect::LinkSetMac { .. } => self.apply(granted),
        }
    }

    /// As it is written: a host in memory has no networks that would depend on the prefix.
    fn lease(
        &self,
        address: VirtualAddress,
        dev: &IfName,
        _lifetime: Option<Duration>,
    ) -> Result<(), HostError> {
        self.apply(&Granted::by_daemon(Effect::AddressAdd {
            address,
            dev: dev.clone(),
        }))
        .map(drop)
    }

    /// Nothing here ends by itself.
    fn renew(&self, _renewals: &[Renewal]) -> Vec<(usize, HostError)> {
        Vec::new()
    }

    fn is_connected(&self, _address: VirtualAddress, _dev: &IfName) -> Result<bool, HostError> {
        Ok(true)
    }

    fn device_of(&self, ip: IpAddr) -> Result<Option<IfName>, HostError> {
        let there = self.values.borrow();
        let device = there.iter().find_map(|(resource, value)| match resource {
            Resource::Address { dev, ip: there } if *there == ip && *value != Value::Absent => {
                Some(dev.clone())
            }
            _ => None,
        });
        Ok(device)
    }

    fn addresses_on(&self, dev: &IfName) -> Result<Vec<FoundAddress>, HostError> {
        let (values, ours) = (self.values.borrow(), self.ours.borrow());
        let on_dev = values
            .iter()
            .filter_map(|(resource, value)| match (resource, value) {
                (Resource::Address { dev: on, .. }, Value::Address(address)) if on == dev => {
                    Some(FoundAddress {
                        address: *address,
                        ours: ours.contains(resource),
                        permanent: true,
                    })
                }
                _ => None,
            });
        Ok(on_dev.collect())
    }

    async fn perform(&self, granted: &Granted, limit: Duration) -> Result<Reply, HostError> {
        let effect = granted.effect();
        let happens = self
            .troubles
            .borrow_mut()
            .meet(effect, |happens| *happens != Happens::Kills);
        match happens {
            None | Some(Happens::Kills) => self.apply(granted),
            Some(Happens::Takes(time)) if time < limit => {
                self.clock.sleep(time).await;
                self.apply(granted)
            }
            Some(Happens::Takes(_) | Happens::Hangs) => {
                self.trace.borrow_mut().push((effect.clone(), false));
                self.clock.sleep(limit).await;
                Err(HostError {
                    message: format!("{effect} did not end within {limit:?}{RAISE_TIMEOUT}"),
                    errno: None,
                })
            }
            Some(Happens::Fails(error)) => {
                self.trace.borrow_mut().push((effect.clone(), false));
                Err(error)
            }
        }
    }

    async fn answer(&self, query: &Query, _limit: Duration) -> Result<Reply, HostError> {
        let text = |resource| Reply::Text(self.value(&resource).to_string());
        Ok(match query {
            Query::Hostname => text(Resource::Hostname),
            Query::Sysctl { key } => text(Resource::Sysctl { key: key.clone() }),
            Query::ServiceStatus { unit } if !self.has_unit(unit) => {
                Reply::Unit(UnitState::Unknown)
            }
            Query::ServiceStatus { unit } => {
                let running =
                    self.value(&Resource::Service { unit: unit.clone() }) == Value::Running(true);
                Reply::Unit(if running {
                    UnitState::Active
                } else {
                    UnitState::Inactive
                })
            }
            Query::FileRead { path } => {
                let value = self.value(&Resource::File { path: path.clone() });
                Reply::File(value.content().map(<[u8]>::to_vec))
            }
            Query::Links => Reply::Links(
                self.links
                    .borrow()
                    .iter()
                    .map(|link| self.as_it_is(link))
                    .collect(),
            ),
            Query::Addresses { dev: wanted } => Reply::Addresses(
                self.values
                    .borrow()
                    .iter()
                    .filter_map(|(resource, value)| match (resource, value) {
                        (Resource::Address { dev, .. }, Value::Address(address)) => {
                            Some((dev, *address))
                        }
                        _ => None,
                    })
                    .filter(|(dev, _)| wanted.as_ref().is_none_or(|wanted| wanted == *dev))
                    .map(|(dev, address)| (dev.clone(), address))
                    .collect(),
            ),
            Query::Routes { table } => Reply::Routes(
                self.values
                    .borrow()
                    .values()
                    .filter_map(Value::route)
                    .filter(|route| route.table_id() == table.unwrap_or(254))
                    .cloned()
                    .collect(),
            ),
            Query::HttpGet(request) => Reply::Http(self.answer_to(&request.url.to_string())),
            Query::TcpConnect { endpoint, .. } if self.listening.borrow().contains(endpoint) => {
                Reply::Took(Duration::from_millis(1))
            }
            Query::TcpConnect { endpoint, .. } => {
                return Err(HostError {
                    message: format!("refused: {endpoint}"),
                    errno: Some(libc::ECONNREFUSED),
                });
            }
            Query::CarpState => {
                return Err(HostError {
                    message: "only the engine knows the state".to_owned(),
                    errno: Some(libc::EINVAL),
                });
            }
        })
    }

    async fn observe(&self, resource: &Resource, _limit: Duration) -> Result<Value, HostError> {
        Ok(self.value(resource))
    }
}

/// The resource by the name under which it is kept.
fn named(resource: &Resource) -> Cow<'_, Resource> {
    match resource {
        Resource::Service { unit } if unit != unit_name(unit) => Cow::Owned(Resource::Service {
            unit: unit_name(unit).to_owned(),
        }),
        other => Cow::Borrowed(other),
    }
}

impl FakeHost {
    fn has_unit(&self, unit: &str) -> bool {
        let named = |units: &[String]| units.iter().any(|known| known == unit_name(unit));
        !named(&self.missing_units.borrow())
            && self
                .units
                .borrow()
                .as_ref()
                .is_none_or(|units| named(units))
    }

    fn has_link(&self, dev: &IfName) -> bool {
        !self.strict_links.get() || self.links.borrow().iter().any(|link| link.name == *dev)
    }

    /// What a kernel or a service manager would say no to, in their words.
    fn refuse(&self, effect: &Effect) -> Result<(), HostError> {
        let no = |message: String, errno| Err(HostError { message, errno });
        match effect {
            Effect::AddressAdd { dev, .. }
            | Effect::Announce { dev, .. }
            | Effect::LinkSetUp { dev, .. }
            | Effect::LinkSetMac { dev, .. }
            | Effect::RouteReplace(Route { dev: Some(dev), .. })
            | Effect::RouteAdd(Route { dev: Some(dev), .. })
                if !self.has_link(dev) =>
            {
                no(format!("there is no interface {dev}"), Some(libc::ENODEV))
            }
            Effect::RouteAdd(route) if self.is_taken(route) => no(
                format!("adding the route {route}: File exists"),
                Some(libc::EEXIST),
            ),
            Effect::RouteReplace(route) | Effect::RouteAdd(route)
                if !self.reaches_gateway(route) =>
            {
                no(
                    format!("setting the route {route}: Nexthop has invalid gateway"),
                    Some(libc::ENETUNREACH),
                )
            }
            Effect::Service { unit, verb } if !self.has_unit(unit) => no(
                format!(
                    "{} of {unit}: Unit {}.service not found.",
                    verb.as_str(),
                    unit_name(unit)
                ),
                None,
            ),
            Effect::Demote { .. } | Effect::Resign { .. } => no(
                format!("{effect}: no host knows the protocol"),
                Some(libc::EINVAL),
            ),
            _ => Ok(()),
        }
    }

    /// Is another route in the place of this one?
    fn is_taken(&self, route: &Route) -> bool {
        let there = self.value(&Resource::route(route));
        there != Value::Absent && there != Value::Route(route.clone())
    }

    /// Is the gateway, if there is one, in the network of an address, where that is looked at?
    fn reaches_gateway(&self, route: &Route) -> bool {
        let Some(via) = route.via.filter(|_| self.strict_links.get()) else {
            return true;
        };
        let gateway = VirtualAddress {
            ip: via,
            prefix: crate::types::Family::of(via).host_prefix(),
        };
        self.values
            .borrow()
            .iter()
            .any(|(resource, value)| match (resource, value) {
                (Resource::Address { dev, .. }, Value::Address(address)) => {
                    RouteTarget::network_of(*address).contains(gateway)
                        && route.dev.as_ref().is_none_or(|wanted| wanted == dev)
                }
                _ => false,
            })
    }

    fn answer_to(&self, url: &str) -> HttpResponse {
        let unknown = HttpResponse {
            status: 404,
            headers: Vec::new(),
            body: Vec::new(),
        };
        self.answers.borrow().get(url).cloned().unwrap_or(unknown)
    }

    /// A link with what was set since.
    fn as_it_is(&self, link: &Link) -> Link {
        let dev = link.name.clone();
        let up = self.value(&Resource::LinkUp { dev: dev.clone() }) == Value::Up(true);
        let mac = if let Value::Mac(mac) = self.value(&Resource::LinkMac { dev }) {
            mac
        } else {
            link.mac
        };
        Link {
            up,
            mac,
            carrier: link.carrier && up,
            ..link.clone()
        }
    }
}
