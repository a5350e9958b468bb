//! The world that a rehearsed engine lives in: a host in memory, and a wire that is a list.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::super::clock;
use super::super::port::Wire;
use super::super::world::World;
use super::scenario::ServiceEvent;
use crate::effect::{
    Effect, Granted, HttpResponse, Link, Outcome, Query, Reply, Resource, ServiceVerb, Value,
};
use crate::host::socket::{Membership, OpenError};
use crate::host::{FakeHost, FoundAddress, Host, HostError, Renewal};
use crate::types::{IfName, MacAddr, Timestamp, VirtualAddress};

/// A virtual machine on a virtual LAN.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage;

impl World for Stage {
    type Host = StageHost;
    type Wire = StageWire;
    type Ties = ();
}

/// One effect that was done, or not.
#[derive(Debug, Clone)]
pub(super) struct Deed {
    pub(super) at: Timestamp,
    pub(super) effect: Effect,
    /// From what to what.
    pub(super) change: Option<(Resource, Value, Value)>,
    pub(super) outcome: Result<Outcome, String>,
    /// By the daemon itself, in the turn of a transition.
    pub(super) by_daemon: bool,
}

/// What outlives a boot of a service.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unit {
    /// The machine starts it at boot.
    starts_at_boot: bool,
    /// What starting it does, if it does not work.
    trouble: Option<ServiceEvent>,
}

/// The host of one virtual node. Clones are the same host.
#[derive(Debug, Clone)]
pub(super) struct StageHost(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    fake: FakeHost,
    leases: RefCell<BTreeMap<(IfName, IpAddr), Timestamp>>,
    units: RefCell<BTreeMap<String, Unit>>,
    deeds: RefCell<Vec<Deed>>,
    /// Addresses that the kernel does not take.
    refused: RefCell<BTreeSet<IpAddr>>,
    off: Cell<bool>,
}

/// `httpd` and `httpd.service` are one.
fn plain(unit: &str) -> &str {
    unit.strip_suffix(".service").unwrap_or(unit)
}

/// Other hosts are not played: whoever is asked is there, and well.
fn well() -> Reply {
    Reply::Http(HttpResponse {
        status: 200,
        headers: Vec::new(),
        body: Vec::new(),
    })
}

fn no_power() -> HostError {
    HostError {
        message: "the machine is off".to_owned(),
        errno: Some(libc::EIO),
    }
}

impl StageHost {
    /// A machine that was just booted.
    pub(super) fn booted(
        name: &str,
        links: &[Link],
        own: &[(IfName, VirtualAddress)],
        units: BTreeMap<String, Unit>,
    ) -> Self {
        let mut fake = FakeHost::new().with(Resource::Hostname, Value::Text(name.to_owned()));
        for link in links {
            fake = fake.with_link(link.clone());
        }
        for (dev, address) in own {
            fake.set(
                Resource::Address {
                    dev: dev.clone(),
                    ip: address.ip,
                },
                Value::Address(*address),
            );
        }
        for (unit, _) in units.iter().filter(|(_, unit)| unit.starts_at_boot) {
            fake.set(
                Resource::Service { unit: unit.clone() },
                Value::Running(true),
            );
        }
        let (leases, units) = (RefCell::default(), RefCell::new(units));
        let (deeds, refused) = (RefCell::default(), RefCell::default());
        Self(Rc::new(Inner {
            fake,
            leases,
            units,
            deeds,
            refused,
            off: Cell::new(false),
        }))
    }

    /// Without power it does nothing any more.
    pub(super) fn switch_off(&self) {
        self.0.off.set(true);
        self.0.leases.borrow_mut().clear();
    }

    /// What was done since this was asked last.
    pub(super) fn take_deeds(&self) -> Vec<Deed> {
        self.0.deeds.take()
    }

    /// What outlives a boot.
    pub(super) fn units(&self) -> BTreeMap<String, Unit> {
        self.0.units.borrow().clone()
    }

    /// From now on the kernel does not take this address; the devices that had it.
    pub(super) fn refuse(&self, ip: IpAddr) -> Vec<IfName> {
        self.0.refused.borrow_mut().insert(ip);
        self.0
            .leases
            .borrow_mut()
            .retain(|(_, leased), _| *leased != ip);
        let had = |(resource, _)| {
            if let Resource::Address { dev, ip: there } = resource
                && there == ip
            {
                Some(dev)
            } else {
                None
            }
        };
        let devices: Vec<IfName> = self.0.fake.values().into_iter().filter_map(had).collect();
        for dev in &devices {
            self.0.fake.set(
                Resource::Address {
                    dev: dev.clone(),
                    ip,
                },
                Value::Absent,
            );
        }
        devices
    }

    /// From now on it does.
    pub(super) fn accept(&self, ip: IpAddr) {
        self.0.refused.borrow_mut().remove(&ip);
    }

    /// What the kernel does not take.
    pub(super) fn refused(&self) -> BTreeSet<IpAddr> {
        self.0.refused.borrow().clone()
    }

    fn judge(&self, address: VirtualAddress, dev: &IfName) -> Result<(), HostError> {
        if !self.0.refused.borrow().contains(&address.ip) {
            return Ok(());
        }
        Err(HostError {
            message: format!("adding {address} to {dev}: Permission denied"),
            errno: Some(libc::EACCES),
        })
    }

    /// Something happens to a service.
    pub(super) fn service(&self, unit: &str, event: ServiceEvent) {
        let runs = |runs| {
            self.0.fake.set(
                Resource::Service {
                    unit: unit.to_owned(),
                },
                Value::Running(runs),
            );
        };
        let mut units = self.0.units.borrow_mut();
        let known = units.entry(plain(unit).to_owned()).or_default();
        match event {
            ServiceEvent::Dies => runs(false),
            ServiceEvent::Runs => {
                known.starts_at_boot = true;
                runs(true);
            }
            ServiceEvent::Works => known.trouble = None,
            ServiceEvent::Fails | ServiceEvent::Hangs | ServiceEvent::Takes(_) => {
                known.trouble = Some(event);
            }
        }
    }

    /// When the next lease ends.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.0.leases.borrow().values().min().copied()
    }

    /// The kernel takes away what nobody renewed.
    pub(super) fn expire(&self, now: Timestamp) -> Vec<(IfName, IpAddr)> {
        let mut leases = self.0.leases.borrow_mut();
        let gone: Vec<_> = leases
            .iter()
            .filter(|(_, end)| **end <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for (dev, ip) in &gone {
            leases.remove(&(dev.clone(), *ip));
            self.0.fake.set(
                Resource::Address {
                    dev: dev.clone(),
                    ip: *ip,
                },
                Value::Absent,
            );
        }
        gone
    }

    /// Is the address up?
    pub(super) fn has(&self, dev: &IfName, ip: IpAddr) -> bool {
        !self.0.off.get()
            && self.0.fake.value(&Resource::Address {
                dev: dev.clone(),
                ip,
            }) != Value::Absent
    }

    fn note(
        &self,
        effect: &Effect,
        before: Option<Value>,
        outcome: Result<Outcome, String>,
        by_daemon: bool,
    ) {
        let change = effect
            .assigns()
            .zip(before)
            .map(|((resource, after), before)| (resource, before, after));
        self.0.deeds.borrow_mut().push(Deed {
            at: clock::now(),
            effect: effect.clone(),
            change,
            outcome,
            by_daemon,
        });
    }

    fn done(
        &self,
        effect: &Effect,
        before: Option<Value>,
        result: &Result<Reply, HostError>,
        by_daemon: bool,
    ) {
        let outcome = match result {
            Ok(Reply::Outcome(outcome)) => Ok(*outcome),
            Ok(_) => Ok(Outcome::Changed),
            Err(error) => Err(error.message.clone()),
        };
        self.note(effect, before, outcome, by_daemon);
    }

    /// How the start of a service goes wrong, or how long it takes.
    async fn start(&self, unit: &str, limit: Duration) -> Result<(), HostError> {
        let failed = |message: String, errno| Err(HostError { message, errno });
        let late = || {
            failed(
                format!("{unit} had not started after {:.1} s", limit.as_secs_f64()),
                Some(libc::ETIMEDOUT),
            )
        };
        let trouble = self
            .0
            .units
            .borrow()
            .get(plain(unit))
            .and_then(|unit| unit.trouble);
        match trouble {
            Some(ServiceEvent::Fails) => {
                failed(format!("{unit} is failed: made so by the rehearsal"), None)
            }
            Some(ServiceEvent::Takes(length)) if length <= limit => {
                clock::sleep(length).await;
                Ok(())
            }
            Some(ServiceEvent::Hangs | ServiceEvent::Takes(_)) => {
                clock::sleep(limit).await;
                late()
            }
            Some(ServiceEvent::Dies | ServiceEvent::Runs | ServiceEvent::Works) | None => Ok(()),
        }
    }
}

impl Host for StageHost {
    fn perform_now(&self, granted: &Granted) -> Result<Reply, HostError> {
        if self.0.off.get() {
            return Err(no_power());
        }
        let effect = granted.effect();
        if let Effect::AddressAdd { address, dev } = effect {
            self.judge(*address, dev)?;
        }
        let before = effect
            .assigns()
            .map(|(resource, _)| self.0.fake.value(&resource));
        if let Effect::AddressDelete { address, dev } = effect {
            self.0
                .leases
                .borrow_mut()
                .remove(&(dev.clone(), address.ip));
        }
        let result = self.0.fake.perform_now(granted);
        self.done(effect, before, &result, true);
        result
    }

    fn lease(
        &self,
        address: VirtualAddress,
        dev: &IfName,
        lifetime: Option<Duration>,
    ) -> Result<(), HostError> {
        if self.0.off.get() {
            return Err(no_power());
        }
        self.judge(address, dev)?;
        let resource = Resource::Address {
            dev: dev.clone(),
            ip: address.ip,
        };
        let before = self.0.fake.value(&resource);
        let mut leases = self.0.leases.borrow_mut();
        match lifetime {
            Some(lifetime) => _ = leases.insert((dev.clone(), address.ip), clock::now() + lifetime),
            None => _ = leases.remove(&(dev.clone(), address.ip)),
        }
        if before == Value::Absent {
            let host = VirtualAddress {
                prefix: address.family().host_prefix(),
                ..address
            };
            self.0.fake.set_ours(resource, Value::Address(host));
            self.note(
                &Effect::AddressAdd {
                    address: host,
                    dev: dev.clone(),
                },
                Some(before),
                Ok(Outcome::Changed),
                true,
            );
        }
        Ok(())
    }

    /// An address stands on one interface of a node here, so its number is not asked for.
    fn renew(&self, renewals: &[Renewal]) -> Vec<(usize, HostError)> {
        if self.0.off.get() {
            return (0..renewals.len())
                .map(|index| (index, no_power()))
                .collect();
        }
        let now = clock::now();
        let mut leases = self.0.leases.borrow_mut();
        for renewal in renewals {
            match renewal.lifetime {
                Some(lifetime) => {
                    let ends = leases
                        .iter_mut()
                        .filter(|((_, ip), _)| *ip == renewal.address.ip);
                    ends.for_each(|(_, end)| *end = now + lifetime);
                }
                None => leases.retain(|(_, ip), _| *ip != renewal.address.ip),
            }
        }
        Vec::new()
    }

    fn is_connected(&self, address: VirtualAddress, dev: &IfName) -> Result<bool, HostError> {
        self.0.fake.is_connected(address, dev)
    }

    fn device_of(&self, ip: IpAddr) -> Result<Option<IfName>, HostError> {
        if self.0.off.get() {
            Ok(None)
        } else {
            self.0.fake.device_of(ip)
        }
    }

    fn addresses_on(&self, dev: &IfName) -> Result<Vec<FoundAddress>, HostError> {
        if self.0.off.get() {
            return Ok(Vec::new());
        }
        let leases = self.0.leases.borrow();
        let mut there = self.0.fake.addresses_on(dev)?;
        for found in &mut there {
            found.permanent = !leases.contains_key(&(dev.clone(), found.address.ip));
        }
        Ok(there)
    }

    fn address_present(&self, dev: &IfName, ip: IpAddr) -> Result<bool, HostError> {
        Ok(self.has(dev, ip))
    }

    async fn perform(&self, granted: &Granted, limit: Duration) -> Result<Reply, HostError> {
        clock::turn().await;
        let effect = granted.effect();
        let before = effect
            .assigns()
            .map(|(resource, _)| self.0.fake.value(&resource));
        let started = match effect {
            Effect::Service {
                unit,
                verb: ServiceVerb::Start | ServiceVerb::Restart,
            } => self.start(unit, limit).await,
            _ => Ok(()),
        };
        if self.0.off.get() {
            return Err(no_power());
        }
        let result = match (started, effect) {
            (Err(error), _) => Err(error),
            (Ok(()), Effect::HttpSend(_)) => Ok(well()),
            (Ok(()), _) => self.0.fake.perform(granted, limit).await,
        };
        self.done(effect, before, &result, false);
        result
    }

    async fn answer(&self, query: &Query, limit: Duration) -> Result<Reply, HostError> {
        clock::turn().await;
        match query {
            Query::HttpGet(_) => Ok(well()),
            Query::TcpConnect { .. } => Ok(Reply::Took(Duration::from_millis(1))),
            _ => self.0.fake.answer(query, limit).await,
        }
    }

    async fn observe(&self, resource: &Resource, limit: Duration) -> Result<Value, HostError> {
        clock::turn().await;
        self.0.fake.observe(resource, limit).await
    }
}

/// A frame on its way.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// The sender's interface, by its index.
    pub(super) link: u32,
    pub(super) bytes: Vec<u8>,
}

/// What one node sent and nobody has carried on yet. Clones are the same wire.
#[derive(Debug, Clone, Default)]
pub(super) struct StageWire(Rc<RefCell<Vec<Frame>>>);

impl StageWire {
    /// The frames, in order.
    pub(super) fn take(&self) -> Vec<Frame> {
        self.0.take()
    }
}

/// One interface's end of it.
#[derive(Debug)]
pub(super) struct StageSocket {
    link: u32,
    wire: StageWire,
}

impl Wire for StageWire {
    type Socket = StageSocket;

    fn open(&self, link: u32, _: &[MacAddr]) -> Result<StageSocket, OpenError> {
        Ok(StageSocket {
            link,
            wire: self.clone(),
        })
    }

    fn join(&self, _: u32, _: &[IpAddr]) -> Option<Membership> {
        None
    }

    fn send(socket: &StageSocket, frame: &[u8]) -> io::Result<()> {
        socket.wire.0.borrow_mut().push(Frame {
            link: socket.link,
            bytes: frame.to_vec(),
        });
        Ok(())
    }
}
