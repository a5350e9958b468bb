//! What is reported to operators: the status of an engine, its virtual hosts and its hooks.

mod advertisers;
mod recent;
mod strip;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use advertisers::{
    AdvertiserStatus, EvictedStatus, Implementation, PeersReport, ProbableCause, SplitStatus,
    Standing, Suspicion,
};
pub use recent::{Happened, RECENT_MAX, Recent, RunOutcome};
pub use strip::{Beat, STRIP_MAX, Strip};

use crate::hooks::EntryPoint;
use crate::hooks::contract::message::Confinement;
use crate::types::{IfName, MacAddr, Name, State, Vhid, VirtualAddress};

/// The outcome of an order to hand over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandedOver {
    /// A peer has taken over.
    To {
        /// Who.
        peer: String,
        /// How long after the addresses were released it was heard.
        after_ms: u64,
    },
    /// No peer has taken over, and this node holds the addresses again.
    Back {
        /// How long no node held them.
        nobody_ms: u64,
    },
    /// No fit peer was heard, and nothing was done.
    NoPeer {
        /// How long we waited for one.
        waited_ms: u64,
    },
}

/// The outcome of an order to begin maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Maintained {
    /// It has begun.
    Begun {
        /// What has happened, one line for each virtual host.
        lines: Vec<String>,
        /// An address was without a master, or may still be.
        failed: bool,
    },
    /// For these virtual hosts no fit peer was heard, and nothing was done to any.
    NoPeer {
        /// Which.
        vhosts: Vec<Name>,
        /// How long we waited for one.
        waited_ms: u64,
    },
}

/// Maintenance of a virtual host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceStatus {
    /// The reason that was given; may be empty.
    pub reason: String,
    /// Milliseconds since 1970 when it began.
    pub since_ms: u64,
    /// It ends by itself in this many milliseconds; `None`: when it is ended.
    pub ends_in_ms: Option<u64>,
    /// It does not take over even if no other node lives.
    pub never: bool,
    /// The virtual host that it was ordered for: this one, or a member of its group. `None`: all.
    pub scope: Option<Name>,
}

/// Everything an operator may want to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// carpd's version.
    pub version: String,
    /// Milliseconds since 1970 when the engine started.
    pub started_ms: u64,
    /// Every virtual host.
    pub vhosts: Vec<VhostStatus>,
    /// Every group.
    #[serde(default)]
    pub groups: Vec<GroupStatus>,
    /// Every hook.
    pub hooks: Vec<HookStatus>,
    /// Every track.
    #[serde(default)]
    pub tracks: Vec<TrackStatus>,
    /// Every target of notifications.
    #[serde(default)]
    pub notify: Vec<NotifyStatus>,
    /// What is held on this host, and by whom.
    pub held: Vec<HeldStatus>,
    /// What the engine itself has given up; `None` in a rehearsal.
    #[serde(default)]
    pub engine: Option<EngineStatus>,
    /// The helper process, if something granted needs one.
    #[serde(default)]
    pub helper: Option<HelperStatus>,
    /// Why the ledger cannot be written, if it cannot: then only virtual addresses are accepted.
    #[serde(default)]
    pub ledger_problem: Option<String>,
    /// Why persistent state cannot be written: hooks' state, accepted hooks.
    #[serde(default)]
    pub lasting_problem: Option<String>,
    /// Packets that do not belong to any virtual host here, by reason.
    pub unmatched_packets: BTreeMap<String, u64>,
    /// Advertisements of vhids that no virtual host here uses.
    #[serde(default)]
    pub unknown_vhids: Vec<UnknownVhidStatus>,
    /// Why the last reload did nothing; empty if it worked.
    pub reload_problems: Vec<String>,
    /// The last transitions and runs of hooks, the oldest first, at most [`RECENT_MAX`].
    #[serde(default)]
    pub recent: Vec<Recent>,
}

impl Status {
    /// Adds what the engine of another network namespace of the same daemon reports.
    pub fn add(&mut self, other: Self) {
        self.vhosts.extend(other.vhosts);
        self.groups.extend(other.groups);
        self.held.extend(other.held);
        self.tracks.extend(other.tracks);
        for target in other.notify {
            match self.notify.iter_mut().find(|own| own.name == target.name) {
                Some(own) => own.add(target),
                None => self.notify.push(target),
            }
        }
        self.unknown_vhids.extend(other.unknown_vhids);
        for hook in other.hooks {
            match self.hooks.iter_mut().find(|known| known.name == hook.name) {
                // What somebody has to do something about is not to be missed.
                Some(known) if known.fault.is_none() && hook.fault.is_some() => *known = hook,
                Some(_) => {}
                None => self.hooks.push(hook),
            }
        }
        for (reason, count) in other.unmatched_packets {
            *self.unmatched_packets.entry(reason).or_default() += count;
        }
        let or = |one: &mut Option<String>, other: Option<String>| *one = one.take().or(other);
        or(&mut self.ledger_problem, other.ledger_problem);
        or(&mut self.lasting_problem, other.lasting_problem);
        self.reload_problems.extend(other.reload_problems);
        self.recent.extend(other.recent);
        self.recent.sort_by_key(|recent| recent.at_ms);
        let older = self.recent.len().saturating_sub(RECENT_MAX);
        self.recent.drain(..older);
    }
}

/// One target of notifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyStatus {
    /// Its name.
    pub name: Name,
    /// How it is told, and where that leads; nothing of it is secret.
    pub to: String,
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that were given up.
    pub failed: u64,
    /// Events that it was not told because too many waited.
    pub held_back: u64,
    /// Events that wait to be told.
    pub waiting: usize,
    /// The last attempt failed.
    pub failing: bool,
    /// Milliseconds since 1970 when the last message was sent.
    pub last_sent_ms: Option<u64>,
    /// Why the last attempt that failed did so.
    pub last_error: Option<String>,
    /// Milliseconds since 1970 when that was.
    pub last_error_ms: Option<u64>,
}

impl NotifyStatus {
    /// Adds the numbers of the engine of another network namespace, which has the same target.
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.failed += other.failed;
        self.held_back += other.held_back;
        self.waiting += other.waiting;
        self.failing |= other.failing;
        self.last_sent_ms = self.last_sent_ms.max(other.last_sent_ms);
        if other.last_error_ms > self.last_error_ms {
            (self.last_error, self.last_error_ms) = (other.last_error, other.last_error_ms);
        }
    }
}

/// What came of a test of a target of notifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetTest {
    /// Its name.
    pub target: Name,
    /// How it is told, and where that leads.
    pub to: String,
    /// How long that took.
    pub took_ms: u64,
    /// What came back, or why it failed.
    pub outcome: Result<String, String>,
}

/// One group of virtual hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: Name,
    /// Its virtual hosts, in its order.
    pub members: Vec<Name>,
    /// Their state.
    pub state: State,
    /// Why it is not whole: the member that cannot take part, and why.
    pub flaw: Option<String>,
}

/// One virtual host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VhostStatus {
    /// Its name.
    pub name: Name,
    /// Its interface.
    pub interface: IfName,
    /// The network namespace that the interface is in, if not the daemon's own.
    #[serde(default)]
    pub netns: Option<String>,
    /// Its vhid.
    pub vhid: Vhid,
    /// Its addresses.
    pub addresses: Vec<VirtualAddress>,
    /// The nodes that it advertises to, if not to a multicast group.
    #[serde(default)]
    pub unicast: Vec<IpAddr>,
    /// The state of each of them but the node itself.
    #[serde(default)]
    pub peers: Vec<PeerStatus>,
    /// The password or the addresses from before a reload still count for this many milliseconds.
    #[serde(default)]
    pub overlap_ends_in_ms: Option<u64>,
    /// Other hosts that have its addresses.
    #[serde(default)]
    pub conflicts: Vec<ConflictStatus>,
    /// Another node is master as well.
    #[serde(default)]
    pub split: Option<SplitStatus>,
    /// The penalty for a link that flaps (`[vhost.damping]`).
    #[serde(default)]
    pub link_penalty: u32,
    /// Its state.
    pub state: State,
    /// Milliseconds since 1970 when it changed last.
    pub since_ms: u64,
    /// Its current condition, as a text.
    #[serde(default)]
    pub condition: String,
    /// Why it changed, as a fixed word; `why` has the text.
    pub cause: String,
    /// See `cause`.
    pub why: String,
    /// The peer whose advertisement led to it.
    pub peer: Option<String>,
    /// The transition's number.
    pub seq: u64,
    /// Are the addresses up?
    pub holding: bool,
    /// Those of them that are up but were not set by carpd: then it does not take part.
    #[serde(default)]
    pub foreign: Vec<VirtualAddress>,
    /// Those of them that are up on other interfaces: this host answers for them, master or not.
    #[serde(default)]
    pub elsewhere: Vec<Elsewhere>,
    /// The demotion that it advertises, 0..=240.
    pub demotion: u8,
    /// The parts of the demotion.
    #[serde(default)]
    pub demotions: Vec<DemotionStatus>,
    /// Other nodes are to be master, as an operator ordered.
    #[serde(default)]
    pub maintenance: Option<MaintenanceStatus>,
    /// Hooks run, or wait to run.
    #[serde(default)]
    pub hooks_busy: bool,
    /// Addresses that the kernel refuses to this master, which holds the others.
    #[serde(default)]
    pub refused_addresses: Vec<RefusedAddress>,
    /// The error, if a hook failed.
    pub degraded: Option<String>,
    /// The result of `health`, for each hook that has it.
    #[serde(default)]
    pub health: Vec<HealthStatus>,
    /// The last advertisement heard.
    pub heard: Option<HeardStatus>,
    /// What became of the advertisements of the last intervals, at most [`STRIP_MAX`]: those of the
    /// master that it hears, or its own while it is master. One letter each, the oldest first: `h`
    /// heard, `l` heard late, `m` missing, `s` sent, `t` sent late, `n` not sent.
    #[serde(default)]
    pub strip: Strip,
    /// Advertisements for it that were refused, by reason.
    #[serde(default)]
    pub refused: Vec<RefusalStatus>,
    /// The lifetime of its addresses in the kernel, in seconds; why there is none otherwise.
    pub lease: String,
    /// Its hooks.
    pub hooks: Vec<Name>,
    /// Counters of what was sent, heard and refused.
    pub counters: BTreeMap<String, u64>,
}

/// A unicast peer of a virtual host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its address.
    pub address: IpAddr,
    /// When its last advertisement was accepted, in milliseconds before now. Backups send none.
    pub heard_ago_ms: Option<u64>,
    /// When the kernel took the last packet to it. Whether that arrived is not known.
    pub sent_ago_ms: Option<u64>,
    /// When the kernel refused the last one that it refused.
    pub refused_ago_ms: Option<u64>,
    /// Why.
    pub refused_reason: String,
}

impl PeerStatus {
    /// Whether the last packet to it was refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused_ago_ms
            .is_some_and(|refused| self.sent_ago_ms.is_none_or(|sent| refused < sent))
    }
}

/// One part of a virtual host's demotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemotionStatus {
    /// Its value, 0..=240.
    pub by: u8,
    /// What led to it.
    pub cause: String,
    /// What ends it, if not time alone.
    pub ends: String,
    /// It ends by itself in this many milliseconds.
    pub ends_in_ms: Option<u64>,
}

/// A virtual address that is up on another interface than its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The address.
    pub address: IpAddr,
    /// Where it is.
    pub interface: IfName,
}

/// An address that the kernel refuses to a master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedAddress {
    /// Which.
    pub address: VirtualAddress,
    /// The kernel's message.
    pub reason: String,
    /// It is retried in this many milliseconds.
    pub retry_in_ms: u64,
}

/// The result of a hook's `health`, for one virtual host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthStatus {
    /// The hook.
    pub hook: Name,
    /// Whether the node is healthy. `None` until the first check.
    pub well: Option<bool>,
    /// The demotion for this reason, 0..=240.
    pub demotion: u8,
    /// The hook's message, or why there is none.
    pub reason: String,
    /// Milliseconds since 1970 when that changed.
    pub since_ms: u64,
}

/// Something that virtual hosts depend on (`[track.NAME]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackStatus {
    /// Its name.
    pub name: Name,
    /// What it follows, as a text.
    pub tracked: String,
    /// Its state.
    pub state: TrackState,
    /// What is added to the advskew while it is down; `None`: virtual hosts do not take part.
    pub demote: Option<u8>,
    /// Why it is down.
    pub reason: String,
    /// The end of what a command wrote that failed, in lines, if that is more than one.
    #[serde(default)]
    pub output: String,
    /// Milliseconds since 1970 when its state changed.
    pub since_ms: u64,
    /// The virtual hosts that have it.
    pub vhosts: Vec<Name>,
}

/// The state of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrackState {
    /// There is no result yet.
    Unknown,
    /// All is well.
    Up,
    /// It costs what `demote` says.
    Down,
}

/// The last advertisement that a virtual host heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardStatus {
    /// Who sent it.
    pub from: String,
    /// How long ago, in ms.
    pub ago_ms: u64,
    /// Its advbase.
    pub advbase: u8,
    /// Its advskew.
    pub advskew: u8,
}

/// Advertisements that were refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalStatus {
    /// The name of its counter.
    pub reason: String,
    /// How many, since the daemon began.
    pub count: u64,
    /// Who sent the last one.
    pub from: String,
    /// How long ago that was, in ms.
    pub ago_ms: u64,
    /// The most probable cause.
    pub cause: String,
}

/// Advertisements of a vhid that no virtual host here uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownVhidStatus {
    /// Where they were heard.
    pub interface: IfName,
    /// Whose they are.
    pub vhid: u8,
    /// How many, since the daemon began.
    pub count: u64,
    /// Who sent the last one.
    pub from: String,
    /// How long ago that was, in ms.
    pub ago_ms: u64,
    /// The most probable cause.
    pub cause: String,
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// Its name.
    pub name: Name,
    /// Its file.
    pub source: String,
    /// Counts the versions since the engine began.
    pub generation: u64,
    /// SHA-256 of everything it was loaded from.
    pub digest: String,
    /// Who signed it, as a text; `None` for a script.
    #[serde(default)]
    pub vouched: Option<String>,
    /// Milliseconds since 1970 when this version became active.
    pub since_ms: u64,
    /// It comes from the saved copy of the last good version: the file had an error when the daemon
    /// started.
    #[serde(default)]
    pub kept: bool,
    /// How changes to its file are noticed, as a text; `None` for a script, which is read each time
    /// it runs.
    #[serde(default)]
    pub watched: Option<String>,
    /// The version before it, to which `hook rollback` goes back.
    #[serde(default)]
    pub before: Option<VersionStatus>,
    /// An operator went back to it, from the version of this generation.
    #[serde(default)]
    pub rolled_back_from: Option<u64>,
    /// The functions that it defines.
    pub entry_points: Vec<EntryPoint>,
    /// How its runners are confined.
    pub confinement: Confinement,
    /// Idle runners.
    pub idle_runners: usize,
    /// The error in the file on disk, if an older version stays active because of it.
    pub fault: Option<Fault>,
}

/// An earlier version of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionStatus {
    /// See [`HookStatus::generation`].
    pub generation: u64,
    /// See [`HookStatus::digest`].
    pub digest: String,
    /// Milliseconds since 1970 when it became active.
    pub since_ms: u64,
}

/// A version of a hook that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// File, line and what is wrong.
    pub message: String,
    /// Milliseconds since 1970.
    pub since_ms: u64,
}

/// The engine process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// The user that it runs as.
    pub uid: u32,
    /// How it is confined, and what is missing here.
    pub confinement: Confinement,
    /// What is missing in the reader process's confinement, if there is one.
    #[serde(default)]
    pub reader_lacks: Vec<String>,
    /// With `realtime = true`: whether it has real-time priority now.
    #[serde(default)]
    pub realtime: Option<Realtime>,
    /// How the previous engine died, if the keeper had to restart it.
    #[serde(default)]
    pub before: Option<Death>,
}

/// Another host that has a virtual host's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictStatus {
    /// The address.
    pub address: IpAddr,
    /// The hardware address of the host.
    pub mac: MacAddr,
    /// How often it said so.
    pub count: u64,
    /// Milliseconds since it last did.
    pub ago_ms: u64,
}

/// An engine's real-time priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Realtime {
    /// It has it.
    On,
    /// It computed for too long without waiting, and has ordinary priority for a while.
    Paused,
}

/// The death of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// A description, such as "its engine was killed by SIGKILL".
    pub how: String,
}

/// The helper process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelperStatus {
    /// Its purpose: `settings`, or `commands` as well.
    pub duty: String,
    /// Whether it is running.
    pub alive: bool,
    /// How often it died.
    pub deaths: u64,
    /// Its current problem.
    pub fault: Option<Fault>,
}

/// One thing that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldStatus {
    /// The problem, if it is not (or no longer) in place.
    #[serde(default)]
    pub trouble: Option<String>,
    /// What.
    pub resource: String,
    /// The value that we gave it.
    pub value: String,
    /// The holders, newest last.
    pub owners: Vec<String>,
}

/// For operators.
pub(in crate::engine) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
