//! The simulated host as one to act on, with what a kernel or a service manager would refuse.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use super::faults::Happens;
use super::{SimHost, power, unit_name};
use crate::effect::{
    Effect, Granted, HttpResponse, Link, Query, Reply, Resource, Route, RouteTarget, UnitState,
    Value,
};
use crate::host::{FoundAddress, Host, HostError, Lifetimes, RAISE_TIMEOUT, Renewal, clock};
use crate::types::{Family, IfName, VirtualAddress};

impl Host for SimHost {
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
            | Effect::Resign { .. } => Err(HostError::errno(
                format!("{} may take long", granted.effect()),
                libc::EINVAL,
            )),
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
            | Effect::LinkSetMac { .. }
            | Effect::MacvlanAdd { .. }
            | Effect::MacvlanDelete { .. }
            | Effect::LinkSetArp { .. } => {
                self.end_lease(granted.effect());
                self.apply(granted.effect(), true)
            }
        }
    }

    fn lease(
        &self,
        address: VirtualAddress,
        dev: &IfName,
        lifetimes: Lifetimes,
    ) -> Result<(), HostError> {
        let (address, dev) = (
            VirtualAddress {
                prefix: address.family().host_prefix(),
                ..address
            },
            dev.clone(),
        );
        let ip = address.ip;
        let effect = Effect::AddressAdd {
            address,
            dev: dev.clone(),
        };
        self.apply(&effect, true)?;
        self.set_lease(dev, ip, lifetimes.valid.map(|valid| clock::now() + valid));
        Ok(())
    }

    fn renew(&self, renewals: &[Renewal]) -> Vec<(usize, HostError)> {
        if self.is_off() {
            return (0..renewals.len())
                .map(|index| (index, power::no_power()))
                .collect();
        }
        for renewal in renewals {
            self.renew_lease(renewal, clock::now());
        }
        Vec::new()
    }

    /// They always are.
    fn move_last(&self, _of: &[Renewal]) -> Vec<(usize, HostError)> {
        Vec::new()
    }

    fn is_connected(&self, _address: VirtualAddress, _dev: &IfName) -> Result<bool, HostError> {
        Ok(true)
    }

    fn device_of(&self, ip: IpAddr) -> Result<Option<IfName>, HostError> {
        if self.is_off() {
            return Ok(None);
        }
        let there = self.0.values.borrow();
        let device = there.iter().find_map(|(resource, value)| match resource {
            Resource::Address { dev, ip: there } if *there == ip && *value != Value::Absent => {
                Some(dev.clone())
            }
            _ => None,
        });
        Ok(device)
    }

    fn addresses_on(&self, dev: &IfName) -> Result<Vec<FoundAddress>, HostError> {
        if self.is_off() {
            return Ok(Vec::new());
        }
        let (values, ours) = (self.0.values.borrow(), self.0.ours.borrow());
        let on_dev = values
            .iter()
            .filter_map(|(resource, value)| match (resource, value) {
                (Resource::Address { dev: on, ip }, Value::Address(address)) if on == dev => {
                    Some(FoundAddress {
                        address: *address,
                        ours: ours.contains(resource),
                    })
                }
                _ => None,
            });
        let mut on_dev: Vec<_> = on_dev.collect();
        on_dev.sort_by_key(|found| found.ours);
        Ok(on_dev)
    }

    async fn perform(&self, granted: &Granted, limit: Duration) -> Result<Reply, HostError> {
        clock::turn().await;
        let effect = granted.effect();
        self.0
            .failed_by_fault
            .borrow_mut()
            .retain(|failed| failed != effect);
        let happens = self
            .0
            .troubles
            .borrow_mut()
            .meet(effect, |happens| *happens != Happens::Kills);
        let error = match happens {
            None | Some(Happens::Kills) => return self.apply(effect, false),
            Some(Happens::Takes(time)) if time < limit => {
                clock::sleep(time).await;
                return self.apply(effect, false);
            }
            Some(Happens::Takes(_) | Happens::Hangs) => {
                clock::sleep(limit).await;
                HostError::errno(
                    format!("{effect} did not finish within {limit:?}{RAISE_TIMEOUT}"),
                    libc::ETIMEDOUT,
                )
            }
            Some(Happens::Fails(error)) => error,
        };
        self.0.failed_by_fault.borrow_mut().push(effect.clone());
        let before = effect.assigns().map(|(resource, _)| self.value(&resource));
        let failed = Err(error);
        self.note(effect, before, &failed, false);
        failed
    }

    async fn answer(&self, query: &Query, _limit: Duration) -> Result<Reply, HostError> {
        clock::turn().await;
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
                self.0
                    .links
                    .borrow()
                    .iter()
                    .map(|link| self.as_it_is(link))
                    .collect(),
            ),
            Query::Addresses { dev: wanted } => Reply::Addresses(
                self.0
                    .values
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
                self.0
                    .values
                    .borrow()
                    .values()
                    .filter_map(Value::route)
                    .filter(|route| route.table_id() == table.unwrap_or(254))
                    .cloned()
                    .collect(),
            ),
            Query::HttpGet(request) => Reply::Http(self.answer_to(&request.url.to_string())),
            Query::TcpConnect { .. } if self.0.others_well.get() => {
                Reply::Took(Duration::from_millis(1))
            }
            Query::TcpConnect { endpoint, .. } if self.0.listening.borrow().contains(endpoint) => {
                Reply::Took(Duration::from_millis(1))
            }
            Query::TcpConnect { endpoint, .. } => {
                return Err(HostError::errno(
                    format!("refused: {endpoint}"),
                    libc::ECONNREFUSED,
                ));
            }
            Query::CarpState => {
                return Err(HostError::errno(
                    "only the engine knows the state",
                    libc::EINVAL,
                ));
            }
        })
    }

    async fn observe(&self, resource: &Resource, _limit: Duration) -> Result<Value, HostError> {
        clock::turn().await;
        Ok(self.value(resource))
    }
}

/// The resource by the name under which it is kept.
pub(super) fn named(resource: &Resource) -> Cow<'_, Resource> {
    match resource {
        Resource::Service { unit } if unit != unit_name(unit) => Cow::Owned(Resource::Service {
            unit: unit_name(unit).to_owned(),
        }),
        other => Cow::Borrowed(other),
    }
}

impl SimHost {
    pub(super) fn has_unit(&self, unit: &str) -> bool {
        let named = |units: &[String]| units.iter().any(|known| known == unit_name(unit));
        !named(&self.0.missing_units.borrow())
            && self
                .0
                .units
                .borrow()
                .as_ref()
                .is_none_or(|units| named(units))
    }

    fn has_link(&self, dev: &IfName) -> bool {
        !self.0.strict_links.get() || self.0.links.borrow().iter().any(|link| link.name == *dev)
    }

    /// What a kernel or a service manager would say no to, in their words.
    pub(super) fn refuse(&self, effect: &Effect) -> Result<(), HostError> {
        let no = |message: String, errno| Err(HostError::with(message, errno));
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
            Effect::AddressAdd { address, dev } if self.refuses(address.ip) => no(
                format!("adding {address} to {dev}: Permission denied"),
                Some(libc::EACCES),
            ),
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
        let Some(via) = route.via.filter(|_| self.0.strict_links.get()) else {
            return true;
        };
        let gateway = VirtualAddress {
            ip: via,
            prefix: Family::of(via).host_prefix(),
        };
        self.0
            .values
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

    pub(super) fn answer_to(&self, url: &str) -> HttpResponse {
        let unknown = HttpResponse {
            status: if self.0.others_well.get() { 200 } else { 404 },
            headers: Vec::new(),
            body: Vec::new(),
        };
        self.0.answers.borrow().get(url).cloned().unwrap_or(unknown)
    }

    /// A link with what was set since.
    pub(super) fn as_it_is(&self, link: &Link) -> Link {
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
