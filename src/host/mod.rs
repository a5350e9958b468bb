//! The only code that touches the kernel or other services. Knows effects, never the protocol.
//!
//! | room | what is in it |
//! |---|---|
//! | `linux` | this machine: one match from each effect and query to the code that does it |
//! | `clock` | the time that everything goes by |
//! | `kernel` | netlink, sockets, announcements, alarms, host name, privileges |
//! | `services` | service managers, files and kernel parameters, child processes that always end |
//! | `children` | processes that act for the engine: the helper and the HTTP worker |
//! | `recording`, `sim` | hosts that change nothing: a layer over a real one, and one in memory |

pub mod children;
pub mod clock;
pub mod kernel;
mod linux;
pub mod recording;
pub mod services;
pub mod sim;
#[cfg(test)]
pub(crate) mod tests;

pub use kernel::culprit::{Culprit, culprit, suspects};
pub use linux::{LinuxHost, Options};
pub use recording::RecordingHost;
pub use sim::SimHost;

use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};

use crate::effect::{Granted, Link, Query, Reply, Resource, Value};
use crate::types::{IfName, PreferredLifetime, VirtualAddress};

/// What to do about a limit that was too short.
const RAISE_TIMEOUT: &str = "; if it needs longer, raise `timeout` under [hook.NAME]";

/// A look at one device or address takes no longer.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// Why the host could not do or tell something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct HostError {
    /// What failed and why, in the words of the kernel or the service manager.
    pub message: String,
    /// The system's error number, if there was one.
    pub errno: Option<i32>,
}

impl HostError {
    /// There was no error number.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self::with(message, None)
    }

    /// This is the error number.
    #[must_use]
    pub fn errno(message: impl Into<String>, errno: i32) -> Self {
        Self::with(message, Some(errno))
    }

    /// This is the error number, if there was one.
    #[must_use]
    pub fn with(message: impl Into<String>, errno: Option<i32>) -> Self {
        Self {
            message: message.into(),
            errno,
        }
    }

    /// Is this the error number?
    #[must_use]
    pub fn is(&self, errno: i32) -> bool {
        self.errno == Some(errno)
    }
}

/// Is what is there all that was wanted? A route says less than the kernel tells of it: its device
/// follows from its gateway, its metric may be the default. Blanks in a kernel parameter do not
/// matter.
#[must_use]
pub fn holds(there: &Value, wanted: &Value) -> bool {
    if let (Some(there), Some(wanted)) = (there.route(), wanted.route()) {
        return Resource::route(there) == Resource::route(wanted)
            && kernel::netlink::satisfies(there, wanted);
    }
    match (there, wanted) {
        (Value::FoundFile(_), wanted) => wanted.looks_like(there),
        (Value::Text(there), Value::Text(wanted)) => {
            there.split_whitespace().eq(wanted.split_whitespace())
        }
        (there, wanted) => there == wanted,
    }
}

/// For how long an address stays, and whether it is a source of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// The kernel takes it away by itself after this time, in whole seconds; never, if not given.
    pub valid: Option<Duration>,
    /// Without effect on IPv4.
    pub preferred: PreferredLifetime,
}

/// An address that is up as a lease, and for how long it shall stay now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// The address; leased addresses have the prefix of a single host.
    pub address: VirtualAddress,
    /// Number of the device that it is on.
    pub link: u32,
    /// From now on.
    pub lifetimes: Lifetimes,
}

/// An address that is on a device, with what tells whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundAddress {
    /// With its prefix there.
    pub address: VirtualAddress,
    /// It has the mark of what carpd puts there.
    pub ours: bool,
}

impl From<&kernel::netlink::PresentAddress> for FoundAddress {
    fn from(found: &kernel::netlink::PresentAddress) -> Self {
        Self {
            address: found.address,
            ours: found.ours,
        }
    }
}

/// A host to act on: this machine, a simulated one, or one that only records.
///
/// One thread uses it, so no method is `Send`; what may take long is async.
#[expect(
    async_fn_in_trait,
    reason = "used on one thread, never as a trait object"
)]
pub trait Host {
    /// Does an effect that only needs the kernel (addresses, announcements, routes, rules, links):
    /// in microseconds, without waiting. Other effects are refused. It need not tell whether it was
    /// so before.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    fn perform_now(&self, granted: &Granted) -> Result<Reply, HostError>;

    /// Puts an address up as a host address that the kernel takes away by itself when its lifetime
    /// is over, unless it is renewed. In microseconds, without waiting.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    fn lease(
        &self,
        address: VirtualAddress,
        dev: &IfName,
        lifetimes: Lifetimes,
    ) -> Result<(), HostError>;

    /// Renews leases that have not ended: a renewal after the end would bring the address back.
    /// Gives what was refused, with its place in the list. In microseconds, without waiting.
    fn renew(&self, renewals: &[Renewal]) -> Vec<(usize, HostError)>;

    /// Moves leased IPv4 addresses behind all others in the kernel's order, without taking them away
    /// meanwhile. Gives what was refused, with its place in the list. In microseconds, without
    /// waiting.
    fn move_last(&self, of: &[Renewal]) -> Vec<(usize, HostError)>;

    /// Does another address of the device, not this one, already lead to this one's network?
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    fn is_connected(&self, address: VirtualAddress, dev: &IfName) -> Result<bool, HostError>;

    /// The addresses of a device, in the kernel's order; none if it is gone. Without waiting.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    fn addresses_on(&self, dev: &IfName) -> Result<Vec<FoundAddress>, HostError>;

    /// The device on which this machine has this address; `None` if it has no such address. Without
    /// waiting, however many it has.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    fn device_of(&self, ip: IpAddr) -> Result<Option<IfName>, HostError>;

    /// Is this address on this device, with whatever prefix? Not if the device is gone. Without
    /// waiting.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    fn address_present(&self, dev: &IfName, ip: IpAddr) -> Result<bool, HostError> {
        let resource = Resource::Address {
            dev: dev.clone(),
            ip,
        };
        // A look at an address is one exchange with the kernel, or none.
        let there = self.observe(&resource, LOOK_LIMIT).now_or_never();
        there
            .unwrap_or(Ok(Value::Absent))
            .map(|value| value != Value::Absent)
    }

    /// The device of this name, if there is one. Without waiting, however many there are.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    fn find_link(&self, dev: &IfName) -> Result<Option<Link>, HostError> {
        match self
            .answer(&Query::Links, LOOK_LIMIT)
            .now_or_never()
            .transpose()?
        {
            Some(Reply::Links(links)) => Ok(links.into_iter().find(|link| link.is_called(dev))),
            Some(_) | None => Ok(None),
        }
    }

    /// Does any effect but those on the virtual host itself, within `limit`.
    ///
    /// # Errors
    /// [`HostError`]; one that took too long names what it was waiting for.
    async fn perform(&self, granted: &Granted, limit: Duration) -> Result<Reply, HostError>;

    /// Answers a query about the host within `limit`.
    ///
    /// # Errors
    /// [`HostError`].
    async fn answer(&self, query: &Query, limit: Duration) -> Result<Reply, HostError>;

    /// The value that a resource has now: what an undo would go back to.
    ///
    /// # Errors
    /// [`HostError`].
    async fn observe(&self, resource: &Resource, limit: Duration) -> Result<Value, HostError>;
}

/// A host that somebody else owns, or that several share.
impl<P: Deref<Target: Host>> Host for P {
    fn perform_now(&self, granted: &Granted) -> Result<Reply, HostError> {
        (**self).perform_now(granted)
    }

    fn lease(
        &self,
        address: VirtualAddress,
        dev: &IfName,
        lifetimes: Lifetimes,
    ) -> Result<(), HostError> {
        (**self).lease(address, dev, lifetimes)
    }

    fn renew(&self, renewals: &[Renewal]) -> Vec<(usize, HostError)> {
        (**self).renew(renewals)
    }

    fn move_last(&self, of: &[Renewal]) -> Vec<(usize, HostError)> {
        (**self).move_last(of)
    }

    fn is_connected(&self, address: VirtualAddress, dev: &IfName) -> Result<bool, HostError> {
        (**self).is_connected(address, dev)
    }

    fn addresses_on(&self, dev: &IfName) -> Result<Vec<FoundAddress>, HostError> {
        (**self).addresses_on(dev)
    }

    fn device_of(&self, ip: IpAddr) -> Result<Option<IfName>, HostError> {
        (**self).device_of(ip)
    }

    fn address_present(&self, dev: &IfName, ip: IpAddr) -> Result<bool, HostError> {
        (**self).address_present(dev, ip)
    }

    fn find_link(&self, dev: &IfName) -> Result<Option<Link>, HostError> {
        (**self).find_link(dev)
    }

    async fn perform(&self, granted: &Granted, limit: Duration) -> Result<Reply, HostError> {
        (**self).perform(granted, limit).await
    }

    async fn answer(&self, query: &Query, limit: Duration) -> Result<Reply, HostError> {
        (**self).answer(query, limit).await
    }

    async fn observe(&self, resource: &Resource, limit: Duration) -> Result<Value, HostError> {
        (**self).observe(resource, limit).await
    }
}
