//! A host that changes nothing: it answers with another host's facts, overlaid with what it was
//! asked to do.
//!
//! What would have changed is noted, in order. So a plan and a first rehearsal on a real machine
//! see that machine as it would be by then.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::{FoundAddress, Host, HostError, Lifetimes, Renewal, holds};
use crate::effect::{
    CommandOutput, Effect, Granted, HttpResponse, Link, Outcome, Query, Reply, Resource, Route,
    RouteTarget, ServiceVerb, UnitState, Value,
};
use crate::types::{IfName, State, VirtualAddress};

/// A look at the facts for an effect that is not given a limit of its own.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// One effect that was asked for and not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// What was asked.
    pub effect: Effect,
    /// What it would have changed; `None` for effects that leave nothing behind.
    pub change: Option<Change>,
    /// [`Outcome::Planned`], or [`Outcome::Unchanged`] if it is so already.
    pub outcome: Outcome,
}

/// From one value to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of what.
    pub resource: Resource,
    /// The value found.
    pub before: Value,
    /// The value wanted.
    pub after: Value,
}

/// A host that records. See the module.
#[derive(Debug)]
pub struct RecordingHost<H> {
    facts: H,
    values: RefCell<BTreeMap<Resource, Value>>,
    recorded: RefCell<Vec<Recorded>>,
    lenient: bool,
}

impl<H: Host> RecordingHost<H> {
    /// Nothing recorded yet, over these facts.
    #[must_use]
    pub const fn new(facts: H) -> Self {
        Self {
            facts,
            values: RefCell::new(BTreeMap::new()),
            recorded: RefCell::new(Vec::new()),
            lenient: false,
        }
    }

    /// What the facts do not tell (a device or a service that is not here) is taken to be there,
    /// and off.
    #[must_use]
    pub fn lenient(self) -> Self {
        Self {
            lenient: true,
            ..self
        }
    }

    fn excused<T>(
        &self,
        result: Result<T, HostError>,
        off: impl FnOnce() -> T,
    ) -> Result<T, HostError> {
        result.or_else(|error| if self.lenient { Ok(off()) } else { Err(error) })
    }

    /// All that was asked for since this was called last, in order.
    pub fn take(&self) -> Vec<Recorded> {
        self.recorded.take()
    }

    /// The host that the facts are from.
    pub const fn facts(&self) -> &H {
        &self.facts
    }

    fn overlaid(&self, resource: &Resource) -> Option<Value> {
        self.values.borrow().get(&key(resource)).cloned()
    }

    async fn record(&self, granted: &Granted, limit: Duration) -> Result<Reply, HostError> {
        let effect = granted.effect().clone();
        self.refuse_missing_device(&effect, limit).await?;
        let Some((resource, after)) = effect.assigns() else {
            let reply = match &effect {
                Effect::CommandRun { .. } => Reply::Command(CommandOutput {
                    status: 0,
                    stdout: vec![],
                    stderr: vec![],
                }),
                Effect::HttpSend(_) => Reply::Http(HttpResponse::planned()),
                _ => Reply::Outcome(Outcome::Planned),
            };
            self.recorded.borrow_mut().push(Recorded {
                effect,
                change: None,
                outcome: Outcome::Planned,
            });
            return Ok(reply);
        };
        let before = self.observe(&resource, limit).await?;
        if let Effect::RouteAdd(route) = &effect
            && before != Value::Absent
            && !holds(&before, &after)
        {
            // As the kernel says it: what is there stays.
            return Err(HostError::errno(
                format!("adding the route {route}: File exists"),
                libc::EEXIST,
            ));
        }
        let restarts = matches!(
            effect,
            Effect::Service {
                verb: ServiceVerb::Restart,
                ..
            }
        );
        let outcome = if holds(&before, &after) && !restarts {
            Outcome::Unchanged
        } else {
            Outcome::Planned
        };
        if outcome == Outcome::Planned {
            self.values
                .borrow_mut()
                .insert(key(&resource), after.clone());
        }
        let change = Some(Change {
            resource,
            before,
            after,
        });
        self.recorded.borrow_mut().push(Recorded {
            effect,
            change,
            outcome,
        });
        Ok(Reply::Outcome(outcome))
    }

    /// An address needs its device, and so does an announcement: that much can be known beforehand.
    async fn refuse_missing_device(
        &self,
        effect: &Effect,
        limit: Duration,
    ) -> Result<(), HostError> {
        match effect {
            // One that was to be made.
            Effect::AddressAdd { dev, .. } | Effect::Announce { dev, .. }
                if matches!(
                    self.overlaid(&Resource::Macvlan { dev: dev.clone() }),
                    Some(Value::Macvlan(_))
                ) =>
            {
                Ok(())
            }
            Effect::AddressAdd { dev, .. } | Effect::Announce { dev, .. } => {
                let there = self
                    .facts
                    .observe(&Resource::LinkUp { dev: dev.clone() }, limit)
                    .await;
                self.excused(there.map(drop), || ())
            }
            _ => Ok(()),
        }
    }

    fn addresses(
        &self,
        mut there: Vec<(IfName, VirtualAddress)>,
        wanted: Option<&IfName>,
    ) -> Vec<(IfName, VirtualAddress)> {
        for (resource, value) in self.values.borrow().iter() {
            let Resource::Address { dev, ip } = resource else {
                continue;
            };
            there.retain(|(name, address)| name != dev || address.ip != *ip);
            if let Value::Address(address) = value
                && wanted.is_none_or(|wanted| wanted == dev)
            {
                there.push((dev.clone(), *address));
            }
        }
        there
    }

    fn routes(&self, mut there: Vec<Route>, wanted: u32) -> Vec<Route> {
        for (resource, value) in self.values.borrow().iter() {
            let Resource::Route { table, .. } = resource else {
                continue;
            };
            there.retain(|route| Resource::route(route) != *resource);
            if let Some(route) = value.route()
                && *table == wanted
            {
                there.push(route.clone());
            }
        }
        there
    }

    fn link(&self, link: Link) -> Link {
        let dev = || link.name.clone();
        let up = if let Some(Value::Up(up)) = self.overlaid(&Resource::LinkUp { dev: dev() }) {
            up
        } else {
            link.up
        };
        let mac = if let Some(Value::Mac(mac)) = self.overlaid(&Resource::LinkMac { dev: dev() }) {
            mac
        } else {
            link.mac
        };
        Link {
            up,
            mac,
            carrier: link.carrier && up,
            ..link
        }
    }
}

/// `httpd` and `httpd.service` are one service.
fn key(resource: &Resource) -> Resource {
    match resource {
        Resource::Service { unit } => Resource::Service {
            unit: unit.strip_suffix(".service").unwrap_or(unit).to_owned(),
        },
        other => other.clone(),
    }
}

/// The value of a resource that is off, or not there.
fn off(resource: &Resource) -> Value {
    match resource {
        Resource::LinkUp { .. } => Value::Up(false),
        Resource::Service { .. } => Value::Running(false),
        Resource::Hostname | Resource::Sysctl { .. } => Value::Text(String::new()),
        Resource::Address { .. }
        | Resource::Route { .. }
        | Resource::Rule(_)
        | Resource::LinkMac { .. }
        | Resource::Macvlan { .. }
        | Resource::LinkArp { .. }
        | Resource::File { .. } => Value::Absent,
    }
}

/// The answer of a host that has nothing of what is asked.
fn nothing(query: &Query) -> Reply {
    match query {
        Query::Hostname | Query::Sysctl { .. } => Reply::Text(String::new()),
        Query::ServiceStatus { .. } => Reply::Unit(UnitState::Inactive),
        Query::FileRead { .. } => Reply::File(None),
        Query::Links => Reply::Links(Vec::new()),
        Query::Addresses { .. } => Reply::Addresses(Vec::new()),
        Query::Routes { .. } => Reply::Routes(Vec::new()),
        Query::HttpGet(_) => Reply::Http(HttpResponse::planned()),
        Query::TcpConnect { .. } => Reply::Took(Duration::ZERO),
        Query::CarpState => Reply::State(State::Init),
    }
}

/// What an overlaid value means as the answer to a query; `None` if the value is of another kind.
fn told(query: &Query, value: &Value) -> Option<Reply> {
    Some(match (query, value) {
        (Query::Hostname | Query::Sysctl { .. }, Value::Text(text)) => Reply::Text(text.clone()),
        (Query::ServiceStatus { .. }, Value::Running(true)) => Reply::Unit(UnitState::Active),
        (Query::ServiceStatus { .. }, Value::Running(false)) => Reply::Unit(UnitState::Inactive),
        (Query::FileRead { .. }, Value::Absent) => Reply::File(None),
        (Query::FileRead { .. }, value) => Reply::File(Some(value.content()?.to_vec())),
        _ => return None,
    })
}

/// The resource that a query is about, if it is about one.
fn asked(query: &Query) -> Option<Resource> {
    Some(match query {
        Query::Hostname => Resource::Hostname,
        Query::Sysctl { key } => Resource::Sysctl { key: key.clone() },
        Query::ServiceStatus { unit } => Resource::Service { unit: unit.clone() },
        Query::FileRead { path } => Resource::File { path: path.clone() },
        Query::Links
        | Query::Addresses { .. }
        | Query::Routes { .. }
        | Query::HttpGet(_)
        | Query::TcpConnect { .. }
        | Query::CarpState => return None,
    })
}

impl<H: Host> Host for RecordingHost<H> {
    fn perform_now(&self, granted: &Granted) -> Result<Reply, HostError> {
        let may_wait =
            || HostError::errno(format!("{} may take long", granted.effect()), libc::EINVAL);
        match granted.effect() {
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
            | Effect::MacvlanAdd { .. }
            | Effect::MacvlanDelete { .. }
            | Effect::LinkSetArp { .. }
            // A look at the kernel does not wait.
            | Effect::LinkSetMac { .. } => self.record(granted, LOOK_LIMIT).now_or_never().unwrap_or_else(|| Err(may_wait())),
            Effect::HostnameSet { .. }
            | Effect::Service { .. }
            | Effect::SysctlSet { .. }
            | Effect::FileWrite { .. }
            | Effect::FileRestore { .. }
            | Effect::FileRemove { .. }
            | Effect::CommandRun { .. }
            | Effect::HttpSend(_)
            | Effect::Demote { .. }
            | Effect::Resign { .. } => Err(may_wait()),
        }
    }

    fn lease(&self, address: VirtualAddress, dev: &IfName, _: Lifetimes) -> Result<(), HostError> {
        let address = VirtualAddress {
            prefix: address.family().host_prefix(),
            ..address
        };
        self.perform_now(&Granted::by_daemon(Effect::AddressAdd {
            address,
            dev: dev.clone(),
        }))
        .map(drop)
    }

    /// Nothing here ends by itself.
    fn renew(&self, _renewals: &[Renewal]) -> Vec<(usize, HostError)> {
        Vec::new()
    }

    /// Nor does it matter here what comes first.
    fn move_last(&self, _of: &[Renewal]) -> Vec<(usize, HostError)> {
        Vec::new()
    }

    fn is_connected(&self, address: VirtualAddress, dev: &IfName) -> Result<bool, HostError> {
        let leads_there = |other: &VirtualAddress| {
            other.ip != address.ip && RouteTarget::network_of(*other).contains(address)
        };
        let recorded = self.addresses(Vec::new(), Some(dev));
        Ok(recorded.iter().any(|(_, other)| leads_there(other))
            || self.excused(self.facts.is_connected(address, dev), || true)?)
    }

    fn device_of(&self, ip: IpAddr) -> Result<Option<IfName>, HostError> {
        let recorded = self
            .addresses(Vec::new(), None)
            .into_iter()
            .find(|(_, there)| there.ip == ip);
        recorded.map_or_else(
            || self.excused(self.facts.device_of(ip), || None),
            |(dev, _)| Ok(Some(dev)),
        )
    }

    fn addresses_on(&self, dev: &IfName) -> Result<Vec<FoundAddress>, HostError> {
        let mut there = self.excused(self.facts.addresses_on(dev), Vec::new)?;
        for (resource, value) in self.values.borrow().iter() {
            let Resource::Address { dev: on, ip } = resource else {
                continue;
            };
            if on != dev {
                continue;
            }
            there.retain(|found| found.address.ip != *ip);
            if let Value::Address(address) = value {
                there.push(FoundAddress {
                    address: *address,
                    ours: true,
                });
            }
        }
        Ok(there)
    }

    fn address_present(&self, dev: &IfName, ip: IpAddr) -> Result<bool, HostError> {
        match self.overlaid(&Resource::Address {
            dev: dev.clone(),
            ip,
        }) {
            Some(value) => Ok(value != Value::Absent),
            None => self.facts.address_present(dev, ip),
        }
    }

    async fn perform(&self, granted: &Granted, limit: Duration) -> Result<Reply, HostError> {
        if let Effect::Demote { .. } | Effect::Resign { .. } = granted.effect() {
            let message = format!("{} is not an effect on the host", granted.effect());
            return Err(HostError::errno(message, libc::EINVAL));
        }
        self.record(granted, limit).await
    }

    async fn answer(&self, query: &Query, limit: Duration) -> Result<Reply, HostError> {
        // Other hosts are no part of what is recorded: nobody is asked, and everybody is well.
        match query {
            Query::HttpGet(_) => return Ok(Reply::Http(HttpResponse::planned())),
            Query::TcpConnect { .. } => return Ok(Reply::Took(Duration::ZERO)),
            _ => {}
        }
        let overlaid = asked(query)
            .and_then(|resource| self.overlaid(&resource))
            .and_then(|value| told(query, &value));
        if let Some(reply) = overlaid {
            return Ok(reply);
        }
        let answer = self.excused(self.facts.answer(query, limit).await, || nothing(query))?;
        Ok(match (answer, query) {
            (Reply::Links(links), _) => {
                Reply::Links(links.into_iter().map(|link| self.link(link)).collect())
            }
            (Reply::Addresses(there), Query::Addresses { dev }) => {
                Reply::Addresses(self.addresses(there, dev.as_ref()))
            }
            (Reply::Routes(there), Query::Routes { table }) => {
                Reply::Routes(self.routes(there, table.unwrap_or(254)))
            }
            (reply, _) => reply,
        })
    }

    async fn observe(&self, resource: &Resource, limit: Duration) -> Result<Value, HostError> {
        match self.overlaid(resource) {
            Some(value) => Ok(value),
            None => self.excused(self.facts.observe(resource, limit).await, || off(resource)),
        }
    }
}
