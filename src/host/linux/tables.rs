//! What only a look at a whole table of the kernel's tells, and other things that take it long. A full routing table takes a good part
//! of a second, so that look is for another thread, and only who asked waits for it.
//!
//! Only the look: what is changed is changed here, in one exchange, after it. A caller that gives
//! up meanwhile leaves nothing behind that would change something later.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::LinuxHost;
use crate::effect::{FoundRoute, Outcome, Reply, Route, Value};
use crate::host::HostError;
use crate::host::kernel::netlink::{Netlink, Reader, does, is_our};
use crate::types::IfName;

/// Tables that are read at one time; whoever comes later waits, within its own time.
pub(super) const READ_AT_ONCE: usize = 2;

/// What is read when none is named.
const MAIN: u32 = 254;

impl LinuxHost {
    async fn read<T: Send + 'static>(
        &self,
        limit: Duration,
        read: impl FnOnce(&Reader) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        // Here, since the other thread may be in another network namespace.
        let reader = Reader::open(limit)?;
        if self.patient {
            return read(&reader);
        }
        let late = |_| {
            HostError::errno(
                "other reads of the kernel's tables have not finished in time",
                libc::ETIMEDOUT,
            )
        };
        let place = timeout(limit, Arc::clone(&self.readers).acquire_owned())
            .await
            .map_err(late)?;
        let thread = tokio::task::spawn_blocking(move || {
            let done = read(&reader);
            // Not before: who gives up waiting does not end it.
            drop(place);
            done
        });
        thread
            .await
            .map_err(|err| HostError::new(err.to_string()))?
    }

    async fn routes_at(
        &self,
        route: &Route,
        limit: Duration,
    ) -> Result<Vec<FoundRoute>, HostError> {
        let route = route.clone();
        self.read(limit, move |reader| reader.routes_at(&route))
            .await
    }

    /// One that is there already, as far as `route` says, is left alone.
    pub(super) async fn replace_route(
        &self,
        route: &Route,
        limit: Duration,
    ) -> Result<Outcome, HostError> {
        if self.netlink.try_route(route)? {
            return Ok(Outcome::Changed);
        }
        if self
            .routes_at(route, limit)
            .await?
            .iter()
            .any(|there| does(there, route))
        {
            return Ok(Outcome::Unchanged);
        }
        self.netlink.set_route(route)
    }

    /// Not in the place of another's.
    pub(super) async fn add_route(
        &self,
        route: &Route,
        limit: Duration,
    ) -> Result<Outcome, HostError> {
        match self.netlink.add_route(route) {
            Err(error) if error.is(libc::EEXIST) => {
                let there = self.routes_at(route, limit).await?;
                if there.iter().any(|there| is_our(there, route)) {
                    Ok(Outcome::Unchanged)
                } else {
                    Err(error)
                }
            }
            done => done,
        }
    }

    /// Puts a route back as it was.
    pub(super) async fn restore_route(
        &self,
        found: &FoundRoute,
        limit: Duration,
    ) -> Result<Outcome, HostError> {
        if self
            .routes_at(&found.route, limit)
            .await?
            .iter()
            .any(|there| there.is_same(found))
        {
            return Ok(Outcome::Unchanged);
        }
        self.netlink.restore_route(found)
    }

    /// What is at the place of a route.
    pub(super) async fn route_in_place_of(
        &self,
        route: &Route,
        limit: Duration,
    ) -> Result<Value, HostError> {
        Ok(self
            .routes_at(route, limit)
            .await?
            .into_iter()
            .next()
            .map_or(Value::Absent, Value::FoundRoute))
    }

    pub(super) async fn rule(
        &self,
        rule: &crate::effect::Rule,
        limit: Duration,
    ) -> Result<Value, HostError> {
        let rule = rule.clone();
        Ok(
            if self
                .read(limit, move |reader| reader.has_rule(&rule))
                .await?
            {
                Value::Rule
            } else {
                Value::Absent
            },
        )
    }

    pub(super) async fn routes(
        &self,
        table: Option<u32>,
        limit: Duration,
    ) -> Result<Reply, HostError> {
        Ok(Reply::Routes(
            self.read(limit, move |reader| reader.routes(table.unwrap_or(MAIN)))
                .await?,
        ))
    }

    /// The kernel waits for its other processors before a device is gone, so another thread does.
    pub(super) async fn delete_macvlan(&self, dev: &IfName) -> Result<Outcome, HostError> {
        if self.patient {
            return self.netlink.delete_macvlan(dev);
        }
        // Here, since the other thread may be in another network namespace.
        let (netlink, dev) = (Netlink::open()?, dev.clone());
        let thread = tokio::task::spawn_blocking(move || netlink.delete_macvlan(&dev));
        thread
            .await
            .map_err(|err| HostError::new(err.to_string()))?
    }

    pub(super) async fn links(&self, limit: Duration) -> Result<Reply, HostError> {
        Ok(Reply::Links(self.read(limit, Reader::links).await?))
    }

    /// Of all devices.
    pub(super) async fn addresses(&self, limit: Duration) -> Result<Reply, HostError> {
        let named = |reader: &Reader| {
            let links = reader.links()?;
            let name = |index| {
                links
                    .iter()
                    .find(|link| link.index == index)
                    .map(|link| link.name.clone())
            };
            Ok(reader
                .addresses()?
                .into_iter()
                .filter_map(|found| Some((name(found.index)?, found.address)))
                .collect())
        };
        Ok(Reply::Addresses(self.read(limit, named).await?))
    }
}
