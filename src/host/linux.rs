//! This machine: one match from each effect and query to the code that does it.

mod helped;
mod tables;

use std::cell::RefCell;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use super::children::helper::{Duty, HelperClient, HelperOp, HelperReply};
use super::children::http_worker::HttpWorkers;
use super::kernel::announce::Announcer;
use super::kernel::hostname;
use super::kernel::netlink::{AddressOptions, Netlink, Role, index_of};
use super::services::files;
use super::services::manager::ServiceBackend;
use super::services::manager::systemd::Systemd;
use super::{FoundAddress, Host, HostError, Lifetimes, Renewal};
use crate::effect::{
    Effect, Granted, Link, Outcome, OutgoingRequest, Query, Reply, Resource, RouteTarget,
    UnitState, Value,
};
use crate::types::{IfName, VirtualAddress};

/// How long a call waits for a helper that died to be there again.
const HELPER_PATIENCE: Duration = Duration::from_secs(2);

/// What an operator may choose.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Who starts services; found out if not given.
    pub services: Option<ServiceBackend>,
    /// The D-Bus address of systemd's bus, instead of the system bus.
    pub bus_address: Option<String>,
    /// Nobody but who asks waits for this thread, so that it reads tables of any size itself.
    pub patient: bool,
}

/// This machine, in the network namespace of the thread that made it.
///
/// Host name, files, command lines and init scripts need the helper: see [`Self::set_helper`].
/// Requests to other hosts need HTTP workers: see [`Self::set_http_workers`].
#[derive(Debug)]
pub struct LinuxHost {
    netlink: Netlink,
    /// A socket of its own, so that watchers need not hear of what it does.
    leases: Netlink,
    announcer: Announcer,
    services: Services,
    helper: RefCell<Option<Rc<HelperClient>>>,
    helped_again: Notify,
    http_workers: RefCell<Option<HttpWorkers>>,
    readers: Arc<Semaphore>,
    patient: bool,
}

#[derive(Debug)]
enum Services {
    Systemd(Box<Systemd>),
    /// The helper acts on them.
    Helped(ServiceBackend),
    None,
}

impl LinuxHost {
    /// Opens what is needed; changes nothing.
    ///
    /// # Errors
    /// [`HostError`] if the kernel gives no netlink socket.
    pub fn new(options: Options) -> Result<Self, HostError> {
        let backend = options.services.or_else(ServiceBackend::detect);
        let services = match backend {
            Some(ServiceBackend::Systemd) => {
                Services::Systemd(Box::new(Systemd::new(options.bus_address)))
            }
            Some(by_script @ (ServiceBackend::SysV | ServiceBackend::OpenRc)) => {
                Services::Helped(by_script)
            }
            None => Services::None,
        };
        Ok(Self {
            netlink: Netlink::open()?,
            leases: Netlink::open()?,
            announcer: Announcer::default(),
            services,
            helper: RefCell::default(),
            helped_again: Notify::new(),
            http_workers: RefCell::default(),
            readers: Arc::new(Semaphore::new(tables::READ_AT_ONCE)),
            patient: options.patient,
        })
    }

    /// Has the helper speak with systemd, too: whoever speaks with it as root can have it run
    /// anything.
    #[must_use]
    pub fn with_services_by_helper(mut self) -> Self {
        if matches!(self.services, Services::Systemd(_)) {
            self.services = Services::Helped(ServiceBackend::Systemd);
        }
        self
    }

    /// The engine's end of the socket to the helper process. Calls that run on an old one go on.
    ///
    /// # Errors
    /// [`HostError`] if the runtime cannot watch the socket.
    pub fn set_helper(&self, stream: UnixStream, duty: Duty) -> Result<(), HostError> {
        let client = HelperClient::new(stream, duty).map_err(|err| {
            HostError::with(
                format!("taking the helper's socket: {err}"),
                err.raw_os_error(),
            )
        })?;
        self.use_helper(client);
        Ok(())
    }

    /// As [`Self::set_helper`], for one that is connected.
    pub fn use_helper(&self, client: HelperClient) {
        *self.helper.borrow_mut() = Some(Rc::new(client));
        self.helped_again.notify_waiters();
    }

    /// There is no helper from now on: the one there was ends when the calls that run on it have.
    pub fn drop_helper(&self) {
        self.helper.borrow_mut().take();
    }

    /// The helper that is asked now.
    #[must_use]
    pub fn helper(&self) -> Option<Rc<HelperClient>> {
        self.helper.borrow().clone()
    }

    /// Who goes out for a hook's requests to other hosts.
    pub fn set_http_workers(&self, http_workers: HttpWorkers) {
        *self.http_workers.borrow_mut() = Some(http_workers);
    }

    async fn send_out(
        &self,
        request: OutgoingRequest,
        limit: Duration,
    ) -> Result<Reply, HostError> {
        let http_workers = self.http_workers.borrow().clone();
        match http_workers {
            Some(http_workers) => http_workers.send(request, limit).await,
            None => Err(HostError::errno(
                "no HTTP workers are available here",
                libc::ENOSYS,
            )),
        }
    }

    /// Is there a helper, alive as far as is known?
    #[must_use]
    pub fn has_helper(&self) -> bool {
        self.helper
            .borrow()
            .as_ref()
            .is_some_and(|helper| helper.is_alive())
    }

    /// Whether the helper acts on services: where scripts start them, and where it was told so.
    #[must_use]
    pub const fn services_need_helper(&self) -> bool {
        matches!(self.services, Services::Helped(_))
    }

    /// The socket for changes, for what [`Host`] does not cover.
    #[must_use]
    pub const fn netlink(&self) -> &Netlink {
        &self.netlink
    }

    /// The number of the netlink socket that leases addresses: see
    /// [`super::kernel::netlink::Watch::ignore_changes_by`].
    #[must_use]
    pub const fn lease_port(&self) -> u32 {
        self.leases.port()
    }

    /// Announces an address once, now.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words: `ENETDOWN` while the device is down.
    pub fn announce(&self, address: VirtualAddress, dev: &IfName) -> Result<(), HostError> {
        let (link, role) = self.netlink.link_and_role(dev)?;
        self.announce_at(address, &link, role)
    }

    /// As [`Self::announce`]; an address that is on a macvlan on the device is at that one's
    /// hardware address.
    fn announce_where_it_is(&self, address: VirtualAddress, dev: &IfName) -> Result<(), HostError> {
        let (link, role) = self.netlink.link_and_role(dev)?;
        let holder = self.netlink.device_of(address.ip);
        let above = holder.and_then(|holder| self.netlink.link_and_role(&holder).ok());
        let index = link.index;
        let (link, role) = above
            .filter(|(_, above)| above.by == index)
            .unwrap_or((link, role));
        self.announce_at(address, &link, role)
    }

    fn announce_at(
        &self,
        address: VirtualAddress,
        link: &Link,
        role: Role,
    ) -> Result<(), HostError> {
        if !link.has_neighbours() {
            return Ok(());
        }
        self.announcer
            .announce(address.ip, link.mac, role.by, role.router)
            .map_err(|err| {
                let said = err.raw_os_error().map_or_else(
                    || err.to_string(),
                    |n| nix::errno::Errno::from_raw(n).desc().to_owned(),
                );
                HostError::with(
                    format!("announcing {} on {}: {said}", address.ip, link.name),
                    err.raw_os_error(),
                )
            })
    }

    async fn announce_all(
        &self,
        address: VirtualAddress,
        dev: &IfName,
        count: u8,
        interval: Duration,
    ) -> Result<Outcome, HostError> {
        for number in 0..count {
            if number > 0 {
                tokio::time::sleep(interval).await;
            }
            self.announce_where_it_is(address, dev)?;
        }
        Ok(Outcome::Changed)
    }

    /// The effects that are done in a few exchanges with the kernel, whatever it has of routes;
    /// `None` for the others. They do not tell whether a route was there before.
    fn kernel(&self, effect: &Effect) -> Option<Result<Outcome, HostError>> {
        Some(match effect {
            Effect::AddressAdd { address, dev } => {
                self.netlink
                    .add_address(*address, dev, AddressOptions::default())
            }
            Effect::AddressDelete { address, dev } => self.netlink.delete_address(*address, dev),
            Effect::RouteReplace(route) => self.netlink.set_route(route),
            Effect::RouteAdd(route) => self.netlink.add_route(route),
            Effect::RouteRestore(found) => self.netlink.restore_route(found),
            Effect::RouteDelete(route) => self.netlink.delete_route(route),
            Effect::RuleReplace(rule) => self.netlink.replace_rule(rule),
            Effect::RuleDelete(rule) => self.netlink.delete_rule(rule),
            Effect::LinkSetUp { dev, up } => self.netlink.set_link_up(dev, *up),
            Effect::LinkSetMac { dev, mac } => self.netlink.set_link_mac(dev, *mac),
            Effect::MacvlanAdd {
                dev,
                parent,
                mac,
                ipv6,
            } => self.netlink.add_macvlan(dev, parent, *mac, *ipv6),
            Effect::LinkSetArp { dev, arp } => self.netlink.set_arp(dev, *arp),
            Effect::Announce { .. }
            | Effect::MacvlanDelete { .. }
            | Effect::HostnameSet { .. }
            | Effect::Service { .. }
            | Effect::SysctlSet { .. }
            | Effect::FileWrite { .. }
            | Effect::FileRestore { .. }
            | Effect::FileRemove { .. }
            | Effect::CommandRun { .. }
            | Effect::HttpSend(_)
            | Effect::Demote { .. }
            | Effect::Resign { .. } => return None,
        })
    }
}

fn not_for_the_host(effect: &Effect) -> HostError {
    HostError::errno(
        format!("{effect} is not an effect on the host"),
        libc::EINVAL,
    )
}

fn as_hosts(renewals: &[Renewal]) -> Vec<Renewal> {
    let as_host = |renewal: &Renewal| {
        let address = renewal.address;
        Renewal {
            address: VirtualAddress {
                prefix: address.family().host_prefix(),
                ..address
            },
            ..*renewal
        }
    };
    renewals.iter().map(as_host).collect()
}

impl Host for LinuxHost {
    /// Of an announcement this sends the first; the caller sees to the others.
    fn perform_now(&self, granted: &Granted) -> Result<Reply, HostError> {
        let effect = granted.effect();
        if let Effect::Announce { address, dev, .. } = effect {
            return self
                .announce(*address, dev)
                .map(|()| Reply::Outcome(Outcome::Changed));
        }
        let refused = || {
            Err(HostError::errno(
                format!("{effect} may take long"),
                libc::EINVAL,
            ))
        };
        self.kernel(effect)
            .unwrap_or_else(refused)
            .map(Reply::Outcome)
    }

    fn lease(
        &self,
        address: VirtualAddress,
        dev: &IfName,
        lifetimes: Lifetimes,
    ) -> Result<(), HostError> {
        // With its own prefix, a lease that is the subnet's first address would take the others
        // along when it ends.
        let address = VirtualAddress {
            prefix: address.family().host_prefix(),
            ..address
        };
        self.leases
            .add_address(address, dev, AddressOptions::leased(lifetimes))
            .map(drop)
    }

    fn renew(&self, renewals: &[Renewal]) -> Vec<(usize, HostError)> {
        self.leases.renew(&as_hosts(renewals))
    }

    fn move_last(&self, of: &[Renewal]) -> Vec<(usize, HostError)> {
        self.leases.move_last(&as_hosts(of))
    }

    fn is_connected(&self, address: VirtualAddress, dev: &IfName) -> Result<bool, HostError> {
        let there = self.netlink.addresses(index_of(dev)?)?;
        let leads_there = |other: VirtualAddress| {
            other.ip != address.ip && RouteTarget::network_of(other).contains(address)
        };
        Ok(there.iter().any(|present| leads_there(present.address)))
    }

    fn device_of(&self, ip: IpAddr) -> Result<Option<IfName>, HostError> {
        Ok(self.netlink.device_of(ip))
    }

    fn addresses_on(&self, dev: &IfName) -> Result<Vec<FoundAddress>, HostError> {
        let there = match index_of(dev) {
            Ok(index) => self.netlink.addresses(index)?,
            Err(HostError {
                errno: Some(libc::ENODEV),
                ..
            }) => Vec::new(),
            Err(err) => return Err(err),
        };
        Ok(there.iter().map(FoundAddress::from).collect())
    }

    fn address_present(&self, dev: &IfName, ip: IpAddr) -> Result<bool, HostError> {
        match index_of(dev) {
            Ok(index) => Ok(self.netlink.address(ip, index)?.is_some()),
            Err(HostError {
                errno: Some(libc::ENODEV),
                ..
            }) => Ok(false),
            Err(err) => Err(err),
        }
    }

    fn find_link(&self, dev: &IfName) -> Result<Option<Link>, HostError> {
        match self.netlink.link(dev) {
            Ok(link) => Ok(Some(link)),
            Err(HostError {
                errno: Some(libc::ENODEV),
                ..
            }) => Ok(None),
            Err(err) => Err(err),
        }
    }

    async fn perform(&self, granted: &Granted, limit: Duration) -> Result<Reply, HostError> {
        let effect = granted.effect();
        match effect {
            Effect::RouteReplace(route) => {
                return self.replace_route(route, limit).await.map(Reply::Outcome);
            }
            Effect::RouteAdd(route) => {
                return self.add_route(route, limit).await.map(Reply::Outcome);
            }
            Effect::RouteRestore(found) => {
                return self.restore_route(found, limit).await.map(Reply::Outcome);
            }
            _ => {}
        }
        if let Some(result) = self.kernel(effect) {
            return result.map(Reply::Outcome);
        }
        match effect {
            Effect::Announce {
                address,
                dev,
                count,
                interval_ms,
            } => {
                let interval = Duration::from_millis(u64::from(*interval_ms));
                match tokio::time::timeout(
                    limit,
                    self.announce_all(*address, dev, *count, interval),
                )
                .await
                {
                    Ok(result) => result.map(Reply::Outcome),
                    Err(_) => Err(HostError::errno(
                        format!(
                            "{effect} did not finish within {:.1} s",
                            limit.as_secs_f64()
                        ),
                        libc::ETIMEDOUT,
                    )),
                }
            }
            Effect::MacvlanDelete { dev } => self.delete_macvlan(dev).await.map(Reply::Outcome),
            Effect::HostnameSet { name } => {
                self.changed(HelperOp::SetHostname { name: name.clone() }, limit)
                    .await
            }
            Effect::Service { unit, verb } => self.service(unit, *verb, limit).await,
            Effect::SysctlSet { key, value } if files::is_network_parameter(key) => {
                files::write_parameter(key, value).map(Reply::Outcome)
            }
            Effect::SysctlSet { key, value } => {
                self.changed(
                    HelperOp::WriteParameter {
                        key: key.clone(),
                        value: value.clone(),
                    },
                    limit,
                )
                .await
            }
            Effect::FileWrite { path, content } => {
                self.changed(
                    HelperOp::WriteFile {
                        path: path.clone(),
                        content: content.clone(),
                    },
                    limit,
                )
                .await
            }
            Effect::FileRestore { path, found } => {
                self.changed(
                    HelperOp::RestoreFile {
                        path: path.clone(),
                        found: found.clone(),
                    },
                    limit,
                )
                .await
            }
            Effect::FileRemove { path } => {
                self.changed(HelperOp::RemoveFile { path: path.clone() }, limit)
                    .await
            }
            Effect::CommandRun { .. } => {
                let argv = granted
                    .argv()
                    .ok_or_else(|| not_for_the_host(effect))?
                    .to_vec();
                let reply = self.helped(HelperOp::Run { argv }, limit).await?;
                if let HelperReply::Command(output) = reply {
                    Ok(Reply::Command(output))
                } else {
                    Err(helped::unexpected(&reply))
                }
            }
            Effect::HttpSend(request) => {
                self.send_out(OutgoingRequest::Http(request.clone()), limit)
                    .await
            }
            Effect::AddressAdd { .. }
            | Effect::AddressDelete { .. }
            | Effect::RouteReplace(_)
            | Effect::RouteAdd(_)
            | Effect::RouteRestore(_)
            | Effect::RouteDelete(_)
            | Effect::RuleReplace(_)
            | Effect::RuleDelete(_)
            | Effect::LinkSetUp { .. }
            | Effect::LinkSetMac { .. }
            | Effect::MacvlanAdd { .. }
            | Effect::LinkSetArp { .. }
            | Effect::Demote { .. }
            | Effect::Resign { .. } => Err(not_for_the_host(effect)),
        }
    }

    async fn answer(&self, query: &Query, limit: Duration) -> Result<Reply, HostError> {
        Ok(match query {
            Query::Hostname => Reply::Text(hostname::current()?),
            Query::ServiceStatus { unit } => Reply::Unit(self.service_status(unit, limit).await?),
            Query::Sysctl { key } => Reply::Text(self.parameter(key, limit).await?),
            Query::FileRead { path } => Reply::File(self.file(path, limit).await?),
            Query::Links => self.links(limit).await?,
            Query::Addresses { dev: Some(dev) } => Reply::Addresses(
                self.netlink
                    .addresses(index_of(dev)?)?
                    .iter()
                    .map(|found| (dev.clone(), found.address))
                    .collect(),
            ),
            Query::Addresses { dev: None } => self.addresses(limit).await?,
            Query::Routes { table } => self.routes(*table, limit).await?,
            Query::HttpGet(request) => {
                self.send_out(OutgoingRequest::Http(request.clone()), limit)
                    .await?
            }
            Query::TcpConnect {
                endpoint,
                timeout_ms,
            } => {
                let request = OutgoingRequest::Connect {
                    endpoint: endpoint.clone(),
                    timeout_ms: *timeout_ms,
                };
                self.send_out(request, limit).await?
            }
            Query::CarpState => {
                return Err(HostError::errno(
                    "only the engine knows the state",
                    libc::EINVAL,
                ));
            }
        })
    }

    async fn observe(&self, resource: &Resource, limit: Duration) -> Result<Value, HostError> {
        Ok(match resource {
            Resource::Address { dev, ip } => match index_of(dev) {
                Ok(index) => self
                    .netlink
                    .address(*ip, index)?
                    .map_or(Value::Absent, |found| Value::Address(found.address)),
                Err(HostError {
                    errno: Some(libc::ENODEV),
                    ..
                }) => Value::Absent,
                Err(err) => return Err(err),
            },
            Resource::Route { .. } => {
                let Some(Effect::RouteDelete(route)) = resource.set_to(&Value::Absent) else {
                    return Ok(Value::Absent);
                };
                self.route_in_place_of(&route, limit).await?
            }
            Resource::Rule(rule) => self.rule(rule, limit).await?,
            Resource::LinkUp { dev } => Value::Up(self.netlink.link(dev)?.up),
            Resource::LinkMac { dev } => Value::Mac(self.netlink.link(dev)?.mac),
            Resource::Macvlan { dev } => self.netlink.macvlan(dev)?,
            Resource::LinkArp { dev } => Value::Arp(self.netlink.arp(dev)?),
            Resource::Hostname => Value::Text(hostname::current()?),
            Resource::Service { unit } => match self.service_status(unit, limit).await? {
                UnitState::Active | UnitState::Activating => Value::Running(true),
                UnitState::Inactive | UnitState::Deactivating | UnitState::Failed => {
                    Value::Running(false)
                }
                UnitState::Unknown => {
                    let message = format!("it cannot be determined whether {unit} runs");
                    return Err(HostError::new(message));
                }
            },
            Resource::Sysctl { key } => Value::Text(self.parameter(key, limit).await?),
            Resource::File { path } => self
                .found_file(path, limit)
                .await?
                .map_or(Value::Absent, Value::FoundFile),
        })
    }
}
