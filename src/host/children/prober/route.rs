//! Whether the kernel would send a packet to an address, and how. One lookup answers that whatever
//! the size of the table, and the kernel's events say when to look again.

use std::net::IpAddr;
use std::time::Duration;

use super::Finding;
use crate::host::clock;
use crate::host::kernel::netlink::{Netlink, NextHop, RouteChanges};
use crate::types::IfName;

/// Two lookups are at least this far apart: a router that learns a full table has thousands of
/// events.
const PAUSE: Duration = Duration::from_millis(50);

/// A way that must be there.
#[derive(Debug)]
pub(super) struct Way {
    to: IpAddr,
    via: Option<IpAddr>,
    dev: Option<IfName>,
    /// The kernel's events; `None` if it has none to give.
    changes: Option<RouteChanges>,
}

impl Way {
    pub(super) fn new(to: IpAddr, via: Option<IpAddr>, dev: Option<IfName>) -> Self {
        let changes = RouteChanges::open()
            .inspect_err(|error| tracing::warn!(%error, "Changed routes are not noticed at once"));
        Self {
            to,
            via,
            dev,
            changes: changes.ok(),
        }
    }

    pub(super) fn look(&self) -> Finding {
        let to = self.to;
        let hop = match Netlink::open().and_then(|netlink| netlink.next_hop(to)) {
            Ok(hop) => hop,
            Err(error) => return Finding::bad(error.message),
        };
        let Some(NextHop { via, dev }) = hop else {
            return Finding::bad(format!("there is no route to {to}"));
        };
        if self.via.is_some() && self.via != via {
            let way = via.map_or("no gateway".to_owned(), |via| via.to_string());
            return Finding::bad(format!("the route to {to} leads through {way}"));
        }
        if self.dev.is_some() && self.dev != dev {
            let way = dev.map_or("no interface".to_owned(), |dev| dev.to_string());
            return Finding::bad(format!("the route to {to} leads through {way}"));
        }
        Finding::Well
    }

    /// Waits until a route has changed; for ever if the kernel cannot say.
    pub(super) async fn changed(&self) {
        let Some(changes) = &self.changes else {
            return std::future::pending().await;
        };
        if changes.next().await.is_err() {
            return std::future::pending().await;
        }
        clock::sleep(PAUSE).await;
        changes.drain();
    }
}
