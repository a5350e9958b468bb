//! A host that exists only in memory: for tests, and for plans.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use super::{Host, HostError};
use crate::effect::{
    CommandOutput, Effect, Endpoint, Granted, HttpResponse, Link, Outcome, Query, Reply, Resource, UnitState, Value,
};
use crate::types::{IfName, VirtualAddress};

/// A host in memory. What nobody set is absent: services stopped, links down, no address.
#[derive(Debug, Default)]
pub struct FakeHost {
    values: RefCell<BTreeMap<Resource, Value>>,
    links: RefCell<Vec<Link>>,
    performed: RefCell<Vec<Effect>>,
    calls: Cell<u64>,
    failing: RefCell<BTreeMap<u64, HostError>>,
    commands: RefCell<BTreeMap<String, CommandOutput>>,
    answers: RefCell<BTreeMap<String, HttpResponse>>,
    listening: RefCell<Vec<Endpoint>>,
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
        self.set(Resource::LinkUp { dev: link.name.clone() }, Value::Up(link.up));
        self.set(Resource::LinkMac { dev: link.name.clone() }, Value::Mac(link.mac));
        self.links.borrow_mut().push(link);
        self
    }

    /// The `n`-th effect from the first ever, counted from 1, fails with this message.
    #[must_use]
    pub fn failing_nth(self, n: u64, message: &str) -> Self {
        self.failing.borrow_mut().insert(n, HostError { message: message.to_owned(), errno: None });
        self
    }

    /// What the command of this name leaves behind; success and silence if not given.
    #[must_use]
    pub fn with_command(self, name: &str, output: CommandOutput) -> Self {
        self.commands.borrow_mut().insert(name.to_owned(), output);
        self
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
        self.values.borrow_mut().insert(resource, value);
    }

    /// What it is now; absent if nobody ever set it.
    #[must_use]
    pub fn value(&self, resource: &Resource) -> Value {
        let absent = match resource {
            Resource::LinkUp { .. } => Value::Up(false),
            Resource::Service { .. } => Value::Running(false),
            Resource::Hostname => Value::Text("fake".to_owned()),
            Resource::Sysctl { .. } => Value::Text(String::new()),
            Resource::Address { .. }
            | Resource::Route { .. }
            | Resource::Rule(_)
            | Resource::LinkMac { .. }
            | Resource::File { .. } => Value::Absent,
        };
        self.values.borrow().get(resource).cloned().unwrap_or(absent)
    }

    /// Every effect that was asked for, in order, also those that failed.
    #[must_use]
    pub fn performed(&self) -> Vec<Effect> {
        self.performed.borrow().clone()
    }

    fn apply(&self, granted: &Granted) -> Result<Reply, HostError> {
        let effect = granted.effect();
        self.performed.borrow_mut().push(effect.clone());
        self.calls.set(self.calls.get() + 1);
        if let Some(err) = self.failing.borrow().get(&self.calls.get()) {
            return Err(err.clone());
        }
        if let Effect::CommandRun { name, .. } = effect {
            let silent = CommandOutput { status: 0, stdout: Vec::new(), stderr: Vec::new() };
            return Ok(Reply::Command(self.commands.borrow().get(name).cloned().unwrap_or(silent)));
        }
        if let Effect::HttpSend(request) = effect {
            return Ok(Reply::Http(self.answer_to(&request.url.to_string())));
        }
        let Some((resource, value)) = effect.assigns() else { return Ok(Reply::Outcome(Outcome::Changed)) };
        let restarted = matches!(effect, Effect::Service { verb: crate::effect::ServiceVerb::Restart, .. });
        let outcome = if self.value(&resource) == value && !restarted { Outcome::Unchanged } else { Outcome::Changed };
        self.set(resource, value);
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
            | Effect::FileRemove { .. }
            | Effect::CommandRun { .. }
            | Effect::HttpSend(_)
            | Effect::Demote { .. }
            | Effect::Resign { .. } => {
                Err(HostError { message: format!("{} may take long", granted.effect()), errno: Some(libc::EINVAL) })
            }
            Effect::AddressAdd { .. }
            | Effect::AddressDelete { .. }
            | Effect::Announce { .. }
            | Effect::RouteReplace(_)
            | Effect::RouteDelete(_)
            | Effect::RuleReplace(_)
            | Effect::RuleDelete(_)
            | Effect::LinkSetUp { .. }
            | Effect::LinkSetMac { .. } => self.apply(granted),
        }
    }

    fn lease(&self, address: VirtualAddress, dev: &IfName, _lifetime: Option<Duration>) -> Result<(), HostError> {
        let address = VirtualAddress { prefix: address.family().host_prefix(), ..address };
        self.apply(&Granted::by_daemon(Effect::AddressAdd { address, dev: dev.clone() })).map(drop)
    }

    fn is_connected(&self, _address: VirtualAddress, _dev: &IfName) -> Result<bool, HostError> {
        Ok(true)
    }

    async fn perform(&self, granted: &Granted, _limit: Duration) -> Result<Reply, HostError> {
        self.apply(granted)
    }

    async fn answer(&self, query: &Query, _limit: Duration) -> Result<Reply, HostError> {
        let text = |resource| Reply::Text(self.value(&resource).to_string());
        let values = self.values.borrow().clone();
        Ok(match query {
            Query::Hostname => text(Resource::Hostname),
            Query::Sysctl { key } => text(Resource::Sysctl { key: key.clone() }),
            Query::ServiceStatus { unit } => {
                let running = self.value(&Resource::Service { unit: unit.clone() }) == Value::Running(true);
                Reply::Unit(if running { UnitState::Active } else { UnitState::Inactive })
            }
            Query::FileRead { path } => {
                let value = self.value(&Resource::File { path: path.clone() });
                Reply::File(if let Value::File(content) = value { Some(content) } else { None })
            }
            Query::Links => Reply::Links(self.links.borrow().iter().map(|link| self.as_it_is(link)).collect()),
            Query::Addresses { dev: wanted } => Reply::Addresses(
                values
                    .into_iter()
                    .filter_map(|(resource, value)| match (resource, value) {
                        (Resource::Address { dev, .. }, Value::Address(address)) => Some((dev, address)),
                        _ => None,
                    })
                    .filter(|(dev, _)| wanted.as_ref().is_none_or(|wanted| wanted == dev))
                    .collect(),
            ),
            Query::Routes { table } => Reply::Routes(
                values
                    .into_values()
                    .filter_map(|value| if let Value::Route(route) = value { Some(route) } else { None })
                    .filter(|route| route.table_id() == table.unwrap_or(254))
                    .collect(),
            ),
            Query::HttpGet(request) => Reply::Http(self.answer_to(&request.url.to_string())),
            Query::TcpConnect { endpoint, .. } if self.listening.borrow().contains(endpoint) => {
                Reply::Took(Duration::from_millis(1))
            }
            Query::TcpConnect { endpoint, .. } => {
                return Err(HostError { message: format!("refused: {endpoint}"), errno: Some(libc::ECONNREFUSED) });
            }
            Query::CarpState => {
                return Err(HostError { message: "only the engine knows the state".to_owned(), errno: Some(libc::EINVAL) });
            }
        })
    }

    async fn observe(&self, resource: &Resource, _limit: Duration) -> Result<Value, HostError> {
        Ok(self.value(resource))
    }
}

impl FakeHost {
    fn answer_to(&self, url: &str) -> HttpResponse {
        let unknown = HttpResponse { status: 404, headers: Vec::new(), body: Vec::new() };
        self.answers.borrow().get(url).cloned().unwrap_or(unknown)
    }

    /// A link with what was set since.
    fn as_it_is(&self, link: &Link) -> Link {
        let dev = link.name.clone();
        let up = self.value(&Resource::LinkUp { dev: dev.clone() }) == Value::Up(true);
        let mac = if let Value::Mac(mac) = self.value(&Resource::LinkMac { dev }) { mac } else { link.mac };
        Link { up, mac, carrier: link.carrier && up, ..link.clone() }
    }
}
