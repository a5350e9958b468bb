//! Three nodes with many virtual hosts, and the master of all of them dies: `tests/faults --crowd
//! NUMBER`.
//!
//! Whatever happens to so many at one moment, each address is held by exactly one node afterwards,
//! and never by two.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use carpd::lab::clock::now;
use carpd::lab::{HostSpec, Lab, LabSpec};
use carpd::types::Timestamp;
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::rig::{Carpd, Daemon, Failed, sh};
use crate::tree::Tree;

/// Of a lease, its expiry and a takeover: 3.2 s. What many of them and a busy machine add.
const SETTLED: Duration = Duration::from_secs(3);
const SETTLED_EACH: Duration = Duration::from_millis(20);
/// It stays as it is for more than an interval.
const QUIET: Duration = Duration::from_millis(2500);
/// Virtual hosts of one interface: vhids are a byte. Those beyond have interfaces on the same
/// cable, and other multicast groups.
const GROUP: usize = 250;
/// The hosts' own addresses have such a third byte, one for each interface.
const OWN: usize = 250;
/// How many addresses each node holds.
type Held = BTreeMap<&'static str, usize>;

/// Two that take over at one moment, from a master that leaves, have both until one hears the
/// other.
const TWICE_MAX: Duration = Duration::from_millis(100 + 150);
/// Nodes, by their names and their rank.
const NODES: [(&str, u8); 3] = [("a", 0), ("b", 50), ("c", 100)];

fn address(number: usize) -> Ipv4Addr {
    let (high, low) = (number / GROUP, number % GROUP + 1);
    Ipv4Addr::new(
        10,
        9,
        u8::try_from(high).unwrap(),
        u8::try_from(low).unwrap(),
    )
}

fn vhosts(count: usize, advskew: u8) -> String {
    let vhost = |number: usize| {
        let (group, vhid) = (number / GROUP, number % GROUP + 1);
        let (interface, destination) = if group == 0 {
            ("eth0".to_owned(), 18)
        } else {
            (format!("m{group}"), 80 + group)
        };
        format!(
            "[[vhost]]\nname = \"v{number}\"\ninterface = \"{interface}\"\nvhid = {vhid}\naddresses = [\"{}/16\"]\n\
             password-file = \"/run/lab/web.pass\"\nadvskew = {advskew}\nmcast-group = \"224.0.0.{destination}\"\n",
            address(number)
        )
    };
    (0..count).map(vhost).collect()
}

/// A lab in which each node has a daemon, or had one.
struct Crowd {
    lab: Lab,
    count: usize,
    daemons: BTreeMap<&'static str, Daemon>,
    /// What two hold now, and since when.
    twice: BTreeMap<Ipv4Addr, Timestamp>,
    /// For how long two held one, at most, and which.
    longest: (Duration, String),
}

impl Crowd {
    fn new(count: usize) -> Result<Self, Failed> {
        let host = |(name, rank): &(&'static str, u8)| {
            HostSpec::new(
                name,
                &[format!("10.9.{OWN}.{}/16", 32 + rank).parse().unwrap()],
            )
        };
        let lab = Lab::start(&LabSpec {
            hosts: NODES.iter().map(host).collect(),
        })?;
        for (name, rank) in NODES {
            for group in 1..count.div_ceil(GROUP) {
                let own = format!("10.9.{}.{}/16", OWN + group, 32 + rank);
                let more = format!(
                    "ip link add link eth0 name m{group} type macvlan mode bridge; ip link set m{group} up"
                );
                sh(
                    &lab,
                    name,
                    &format!("set -e; {more}; ip address add {own} dev m{group}"),
                )?;
            }
        }
        Ok(Self {
            lab,
            count,
            daemons: BTreeMap::new(),
            twice: BTreeMap::new(),
            longest: (Duration::ZERO, String::new()),
        })
    }

    fn start(&mut self, (name, advskew): (&'static str, u8)) -> Outcome {
        let mut daemon = Carpd::new(name)
            .vhosts(vhosts(self.count, advskew))
            .log("warn,carpd=info")
            .start(&self.lab)?;
        daemon.wait_says("Ready", self.patience())?;
        self.daemons.insert(name, daemon);
        Ok(())
    }

    fn patience(&self) -> Duration {
        SETTLED
            + Duration::from_millis(3200)
            + SETTLED_EACH * u32::try_from(self.count).unwrap_or(u32::MAX)
    }

    /// How many addresses each node holds. One node is looked at after the other, the one that lets
    /// go last: what is seen there after it was seen here is there twice, if the first is still
    /// there then.
    fn look(&mut self, last: &str) -> Result<Held, Failed> {
        let mut names: Vec<&'static str> = NODES.iter().map(|(name, _)| *name).collect();
        names.sort_by_key(|name| *name == last);
        let mut held = BTreeMap::new();
        let mut holders = BTreeMap::<Ipv4Addr, Vec<&str>>::new();
        for name in names {
            let shown = sh(&self.lab, name, "ip -4 -o address")?;
            let addresses = shown.iter().filter_map(|line| {
                line.split_whitespace()
                    .nth(3)?
                    .split('/')
                    .next()?
                    .parse::<Ipv4Addr>()
                    .ok()
            });
            let is_virtual = |ip: &Ipv4Addr| matches!(ip.octets(), [10, 9, group, _] if usize::from(group) < OWN);
            let ours: Vec<Ipv4Addr> = addresses.filter(is_virtual).collect();
            held.insert(name, ours.len());
            for ip in ours {
                holders.entry(ip).or_default().push(name);
            }
        }
        let before = std::mem::take(&mut self.twice);
        for (ip, names) in holders.into_iter().filter(|(_, names)| names.len() > 1) {
            let since = *self
                .twice
                .entry(ip)
                .or_insert_with(|| before.get(&ip).copied().unwrap_or_else(now));
            if now().since(since) >= self.longest.0 {
                self.longest = (now().since(since), format!("{ip} by {names:?}"));
            }
        }
        Ok(held)
    }

    /// Waits until each address is held by one node, and stays with it; how long after `since` it
    /// was first.
    fn settles(&mut self, what: &str, last: &str, since: Timestamp) -> Outcome {
        let mut first: Option<(Timestamp, Held)> = None;
        loop {
            let held = self.look(last)?;
            let at = first
                .take()
                .filter(|(_, before)| *before == held)
                .map_or_else(now, |(at, _)| at);
            let settled = held.values().sum::<usize>() == self.count && self.twice.is_empty();
            if settled && now().since(at) > QUIET {
                let ms = at.since(since).as_millis();
                println!(
                    "{} virtual hosts, {what}: each is held by one {ms} ms later: {held:?}",
                    self.count
                );
                return Ok(());
            }
            first = settled.then_some((at, held.clone()));
            if !settled && now().since(since) > self.patience() {
                return Err(format!("{what}: not each address is held by one: {held:?}").into());
            }
        }
    }
}

/// The master of all is killed, comes back, the next one stops in good order.
pub(super) fn play(count: usize) -> Outcome {
    let mut crowd = Crowd::new(count)?;
    crowd.start(NODES[0])?;
    crowd.settles("one node alone", "a", now())?;
    crowd.start(NODES[1])?;
    crowd.start(NODES[2])?;

    let tree = Tree::of(&crowd.lab, "a", &crowd.daemons["a"])?;
    let killed = now();
    tree.signal_all(Signal::SIGSTOP)?;
    tree.signal_all(Signal::SIGKILL)?;
    crowd.settles("all processes of the master killed", "a", killed)?;

    crowd.start(NODES[0])?;
    let stopped = now();
    crowd.daemons["b"].stop()?;
    crowd.settles("the master stopped", "b", stopped)?;

    let tree = Tree::of(&crowd.lab, "c", &crowd.daemons["c"])?;
    let killed = now();
    tree.signal(tree.engine()?, Signal::SIGKILL)?;
    crowd.settles("an engine killed", "c", killed)?;
    let (longest, which) = &crowd.longest;
    println!(
        "{count} virtual hosts: two held one for {} ms at most ({which})",
        longest.as_millis()
    );
    assert!(*longest <= TWICE_MAX, "two held {which} for {longest:?}");
    Ok(())
}
