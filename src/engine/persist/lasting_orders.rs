//! Orders of an operator that hold until they end: maintenance and demotion ([ADR
//! 0053](../../../docs/adr/0053-maintenance-lasts.md)).
//!
//! One file has all of them, and is replaced as a whole with each change. While a machine runs,
//! the end of an order is a point in the time since its boot, so that nobody who sets the clock
//! ends or prolongs it. After a boot it is the wall clock's, but never later than the time that was
//! left.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::DiskWriter;
use crate::host::clock;
use crate::record::{MAGIC_LEN, whole};
use crate::types::{Demotion, Name, Timestamp};

/// The kind of file, and its format version.
const MAGIC: [u8; MAGIC_LEN] = *b"carpdM01";
/// Its name in the instance's directory.
pub(super) const FILE_NAME: &str = "orders";
/// The longest file that is read: both kinds for each of a few thousand virtual hosts.
const FILE_MAX: u64 = 4 << 20;

/// What an order is about: one virtual host, or all of the daemon.
pub(in crate::engine) type Scope = Option<Name>;

/// The kinds of orders. There is at most one of each kind for a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::engine) enum OrderKind {
    /// Other nodes are to be master.
    Maintenance,
    /// A demotion of so much.
    Demotion,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct LastingOrder {
    pub(in crate::engine) by: Demotion,
    /// Maintenance: not even as a last resort.
    pub(in crate::engine) never: bool,
    pub(in crate::engine) reason: String,
    /// Milliseconds since 1970 when it was given.
    pub(in crate::engine) since_ms: u64,
    pub(in crate::engine) ends: Option<Ends>,
}

/// When an order ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct Ends {
    /// In the present life of the machine.
    pub(in crate::engine) at: Timestamp,
    boot: u128,
    wall_ms: u64,
    /// What was left when this was written.
    left: Duration,
}

/// Which time it is.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Clocks {
    /// Since the boot.
    pub(in crate::engine) now: Timestamp,
    /// Milliseconds since 1970.
    pub(in crate::engine) wall_ms: u64,
}

impl Clocks {
    /// Both, now.
    pub(in crate::engine) fn read() -> Self {
        Self {
            now: clock::now(),
            wall_ms: clock::wall_ms(),
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::engine) struct LastingOrders {
    orders: BTreeMap<(OrderKind, Scope), LastingOrder>,
    boot: u128,
    file: Option<(PathBuf, DiskWriter)>,
}

impl LastingOrders {
    /// With those of earlier lives. A file that cannot be read counts for nothing, and is logged.
    pub(super) async fn open(
        path: Option<PathBuf>,
        disk: DiskWriter,
        boot: u128,
        clocks: Clocks,
    ) -> Self {
        let Some(path) = path else {
            return Self {
                boot,
                ..Self::default()
            };
        };
        let from = path.clone();
        let read = tokio::task::spawn_blocking(move || read(&from)).await;
        let found = match read {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                warn!(%error, "Cannot tell whether this node was in maintenance: it is not");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        let mut this = Self {
            orders: found.into_iter().collect(),
            boot,
            file: Some((path, disk)),
        };
        if this.resume(clocks) {
            this.write();
        }
        this
    }

    /// Gives the ends of an earlier life of the machine a place in this one; true if there were any.
    fn resume(&mut self, clocks: Clocks) -> bool {
        let boot = self.boot;
        let ends = self
            .orders
            .values_mut()
            .filter_map(|order| order.ends.as_mut());
        let mut any = false;
        for ends in ends.filter(|ends| ends.boot != boot) {
            let by_clock = Duration::from_millis(ends.wall_ms.saturating_sub(clocks.wall_ms));
            let left = by_clock.min(ends.left);
            *ends = Ends::after(left, boot, clocks);
            any = true;
        }
        any
    }

    /// When an order ends that is given now for so long.
    pub(in crate::engine) fn ends_after(&self, length: Duration, clocks: Clocks) -> Ends {
        Ends::after(length, self.boot, clocks)
    }

    /// The order of this kind that was given for exactly this scope.
    pub(in crate::engine) fn get(&self, kind: OrderKind, scope: &Scope) -> Option<&LastingOrder> {
        self.orders.get(&(kind, scope.clone()))
    }

    /// The scopes that have an order of this kind.
    #[cfg(test)]
    fn scopes(&self, kind: OrderKind) -> Vec<Scope> {
        let of_kind = self.orders.keys().filter(|(other, _)| *other == kind);
        of_kind.map(|(_, scope)| scope.clone()).collect()
    }

    /// Replaces the order of this kind and scope, if there is one.
    pub(in crate::engine) fn set(&mut self, kind: OrderKind, scope: Scope, order: LastingOrder) {
        self.orders.insert((kind, scope), order);
        self.write();
    }

    /// Ends those of this kind for which this is true; returns them.
    pub(in crate::engine) fn end(
        &mut self,
        kind: OrderKind,
        is_it: impl Fn(&Scope) -> bool,
    ) -> Vec<(Scope, LastingOrder)> {
        self.take(|of, scope, _| of == kind && is_it(scope))
            .into_iter()
            .map(|(_, scope, order)| (scope, order))
            .collect()
    }

    /// Ends those whose time has come; returns them.
    pub(in crate::engine) fn take_ended(
        &mut self,
        now: Timestamp,
    ) -> Vec<(OrderKind, Scope, LastingOrder)> {
        self.take(|_, _, order| order.ends.is_some_and(|ends| ends.at <= now))
    }

    /// Ends those of virtual hosts that do not exist; returns them.
    pub(in crate::engine) fn retain(
        &mut self,
        exists: impl Fn(&Name) -> bool,
    ) -> Vec<(OrderKind, Scope, LastingOrder)> {
        self.take(|_, scope, _| scope.as_ref().is_some_and(|name| !exists(name)))
    }

    fn take(
        &mut self,
        is_it: impl Fn(OrderKind, &Scope, &LastingOrder) -> bool,
    ) -> Vec<(OrderKind, Scope, LastingOrder)> {
        let ended: Vec<_> = self
            .orders
            .extract_if(.., |(kind, scope), order| is_it(*kind, scope, order))
            .map(|((kind, scope), order)| (kind, scope, order))
            .collect();
        if !ended.is_empty() {
            self.write();
        }
        ended
    }

    /// Virtual hosts have other names: from each to another one, all at once.
    pub(in crate::engine) fn rename(&mut self, names: &BTreeMap<Name, Name>) {
        let renamed = |scope: Scope| scope.map(|name| names.get(&name).cloned().unwrap_or(name));
        self.orders = std::mem::take(&mut self.orders)
            .into_iter()
            .map(|((kind, scope), order)| ((kind, renamed(scope)), order))
            .collect();
        self.write();
    }

    /// When the first of them ends by itself.
    pub(in crate::engine) fn next_end(&self) -> Option<Timestamp> {
        let ends = self.orders.values().filter_map(|order| order.ends);
        ends.map(|ends| ends.at).min()
    }

    fn write(&self) {
        let Some((path, disk)) = &self.file else {
            return;
        };
        let orders: Vec<_> = self.orders.iter().collect();
        let Ok(bytes) = postcard::to_stdvec(&orders) else {
            return;
        };
        let (subject, path) = (path, path.clone());
        disk.later("an operator's orders", subject, move || {
            whole::write(&path, MAGIC, &bytes).map(|()| None)
        });
    }
}

impl Ends {
    fn after(left: Duration, boot: u128, clocks: Clocks) -> Self {
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        Self {
            at: clocks.now + left,
            boot,
            wall_ms: clocks.wall_ms.saturating_add(left_ms),
            left,
        }
    }
}

/// Maintenance of a node, as it was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Maintenance {
    /// Of this virtual host and its group; `None`: of all.
    pub vhost: Option<Name>,
    /// The operator's reason; may be empty.
    pub reason: String,
    /// Milliseconds since 1970 when it was ordered.
    pub since_ms: u64,
    /// It ends by itself in this many milliseconds.
    pub ends_in_ms: Option<u64>,
    /// Not even as a last resort.
    pub never: bool,
}

/// The maintenance that a daemon's file says is in force, or will be when it starts. `directory` is
/// the instance's below `state-dir`.
///
/// # Errors
/// The file cannot be read.
pub fn maintenance_in(directory: &Path, boot: u128) -> io::Result<Vec<Maintenance>> {
    maintenance_at(directory, boot, Clocks::read())
}

fn maintenance_at(directory: &Path, boot: u128, clocks: Clocks) -> io::Result<Vec<Maintenance>> {
    let path = directory.join(FILE_NAME);
    let bytes = whole::look(&path, MAGIC, FILE_MAX);
    let mut orders = LastingOrders {
        orders: decode(&path, bytes)?.into_iter().collect(),
        boot,
        file: None,
    };
    orders.resume(clocks);
    orders.take_ended(clocks.now);
    let found = orders.orders.into_iter();
    let found = found.filter(|((kind, _), _)| *kind == OrderKind::Maintenance);
    let one = |((_, vhost), order): (_, LastingOrder)| Maintenance {
        vhost,
        reason: order.reason,
        since_ms: order.since_ms,
        ends_in_ms: order
            .ends
            .map(|ends| u64::try_from(ends.at.since(clocks.now).as_millis()).unwrap_or(u64::MAX)),
        never: order.never,
    };
    Ok(found.map(one).collect())
}

fn read(path: &Path) -> io::Result<Vec<((OrderKind, Scope), LastingOrder)>> {
    decode(path, whole::read(path, MAGIC, FILE_MAX))
}

type Bytes = Result<Option<Vec<u8>>, whole::Refused>;

fn decode(path: &Path, bytes: Bytes) -> io::Result<Vec<((OrderKind, Scope), LastingOrder)>> {
    let Some(bytes) = bytes.map_err(io::Error::other)? else {
        return Ok(Vec::new());
    };
    let place = path.display();
    postcard::from_bytes(&bytes).map_err(|error| io::Error::other(format!("{place}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const NOON_MS: u64 = 1_700_000_000_000;

    fn on_a_local_set(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }

    fn clocks(up: Duration, wall_ms: u64) -> Clocks {
        Clocks {
            now: Timestamp::ZERO + up,
            wall_ms,
        }
    }

    fn name(name: &str) -> Name {
        name.parse().unwrap()
    }

    fn order(orders: &LastingOrders, length: Option<Duration>, clocks: Clocks) -> LastingOrder {
        LastingOrder {
            by: Demotion::MAX,
            never: false,
            reason: "new kernel".to_owned(),
            since_ms: clocks.wall_ms,
            ends: length.map(|length| orders.ends_after(length, clocks)),
        }
    }

    #[test]
    fn an_order_outlives_the_process_and_an_end_is_where_it_was() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("orders");
        on_a_local_set(async {
            let disk = DiskWriter::start();
            let open = async |boot, clocks| {
                LastingOrders::open(Some(path.clone()), disk.clone(), boot, clocks).await
            };
            let begin = clocks(HOUR, NOON_MS);
            let mut orders = open(1, begin).await;
            let given = order(&orders, Some(HOUR * 2), begin);
            orders.set(OrderKind::Maintenance, None, given.clone());
            orders.set(
                OrderKind::Demotion,
                Some(name("web")),
                order(&orders, None, begin),
            );
            disk.settled().await;
            drop(orders);
            // Killed, and the clock was set meanwhile.
            let again = open(1, clocks(HOUR * 2, 5)).await;
            assert_eq!(again.get(OrderKind::Maintenance, &None), Some(&given));
            assert_eq!(again.next_end(), Some(Timestamp::ZERO + HOUR * 3));
            // A boot an hour later: by the wall clock an hour is left.
            let up = Duration::from_secs(20);
            let hour_ms = 3_600_000;
            let booted = open(2, clocks(up, NOON_MS + hour_ms)).await;
            assert_eq!(booted.next_end(), Some(Timestamp::ZERO + up + HOUR));
            disk.settled().await;
            // One that has forgotten the time: never longer than what was left.
            let lost = open(3, clocks(up, 0)).await;
            assert_eq!(lost.next_end(), Some(Timestamp::ZERO + up + HOUR));
            disk.settled().await;
            // Who only looks sees the same, and leaves the file alone.
            let bytes = std::fs::read(&path).unwrap();
            let seen = maintenance_at(root.path(), 5, clocks(up, 0)).unwrap();
            let hour = Some(hour_ms);
            assert_eq!(
                (seen.len(), &seen[0].vhost, seen[0].ends_in_ms),
                (1, &None, hour)
            );
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
            // After the end.
            let mut late = open(4, clocks(up, NOON_MS + 3 * hour_ms)).await;
            assert_eq!(late.take_ended(Timestamp::ZERO + up).len(), 1);
            assert_eq!(late.next_end(), None);
            disk.settled().await;
            let left = open(4, clocks(up, NOON_MS)).await;
            assert_eq!(left.scopes(OrderKind::Demotion), [Some(name("web"))]);
            assert!(left.scopes(OrderKind::Maintenance).is_empty());
            disk.settled().await;
            // A damaged file is no maintenance, and no reason not to start.
            std::fs::write(&path, "nonsense").unwrap();
            assert!(maintenance_in(root.path(), 4).is_err());
            let damaged = open(4, begin).await;
            assert!(damaged.scopes(OrderKind::Demotion).is_empty());
        });
    }

    #[test]
    fn orders_follow_names_and_end_with_their_virtual_hosts() {
        let mut orders = LastingOrders::default();
        let begin = clocks(HOUR, NOON_MS);
        for scope in [None, Some(name("web")), Some(name("db"))] {
            orders.set(OrderKind::Maintenance, scope, order(&orders, None, begin));
        }
        let swap = BTreeMap::from([(name("web"), name("db")), (name("db"), name("www"))]);
        orders.rename(&swap);
        let there = [None, Some(name("db")), Some(name("www"))];
        assert_eq!(orders.scopes(OrderKind::Maintenance), there);
        let gone = orders.retain(|known| known.as_str() == "www");
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].1, Some(name("db")));
        assert_eq!(orders.end(OrderKind::Maintenance, Option::is_none).len(), 1);
        assert_eq!(orders.scopes(OrderKind::Maintenance), [Some(name("www"))]);
    }
}
