//! The checked configuration. Immutable; every field is in its range.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Report;
use super::choice::{
    FamilyTimers, FileOwners, InMaintenance, Ipv6Checksum, Leases, LinkLocal, LogFormat, LogLevel,
    OnConflict, OnFailure, OnUnhealthy, Peers, Preempt, PreferredLifetime, Reload, Sandbox,
    ServiceBackend, SourceMac, TieBreak,
};
use super::listen::Listen;
use super::secret::Secret;
use super::share::Share;
use super::target::Target;
use crate::effect::outgoing::ParseUrlError;
use crate::effect::{Endpoint, Grants, Reach, Url};
use crate::proto::Damping;
use crate::trust::{Digest, Trust};
use crate::types::{AdvBase, AdvSkew, Family, IfName, MacAddr, Name, Netns, Vhid, VirtualAddress};

/// The whole content of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[daemon]`.
    pub daemon: Daemon,
    /// `[trust]`: whose hooks may run.
    pub trust: Trust,
    /// `[[vhost]]`, in the order of the file; at least one.
    pub vhosts: Vec<Vhost>,
    /// `[track.NAME]`; every track that a virtual host names is here.
    pub tracks: BTreeMap<Name, Track>,
    /// `[group.NAME]`; every member is one of the virtual hosts, and in one group only.
    pub groups: BTreeMap<Name, Group>,
    /// `[notify.NAME]`: who is told what happens.
    pub notify: BTreeMap<Name, Target>,
    /// `[hook.NAME]`; every hook that a virtual host names is here.
    pub hooks: BTreeMap<Name, Hook>,
    /// Which of the file's virtual hosts these are.
    pub share: Share,
    /// The shares of the whole file.
    pub all_shares: BTreeSet<Share>,
}

/// A configuration that can be used, and what is still to be said about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only; may be empty.
    pub report: Report,
}

/// A place in the file, as a range of bytes.
///
/// All places are equal: a configuration in which something only moved is the same configuration.
#[derive(Debug, Clone, Default)]
pub struct Place(pub Range<usize>);

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

/// `[daemon]`: what concerns the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// `node-name`: what hooks are told this node is called; `None` is the host name at start.
    pub node_name: Option<String>,
    /// `shutdown-timeout`: for all of an orderly stop.
    pub shutdown_timeout: Duration,
    /// `sandbox`: what to do with hooks where a mandatory part of the sandbox is missing.
    pub sandbox: Sandbox,
    /// `file-owners`: what to do with files that others could write to.
    pub file_owners: FileOwners,
    /// `log`.
    pub log: Log,
    /// `state-dir`: absolute; for what must survive a reboot.
    pub state_dir: PathBuf,
    /// `run-dir`: absolute; locks, ledger, sockets.
    pub run_dir: PathBuf,
    /// `service-backend`: who starts and stops services.
    pub service_backend: ServiceBackend,
    /// `ca-file`: its full path; certificates that requests of hooks believe beside those of the
    /// system.
    pub ca_file: Option<PathBuf>,
    /// `listen`: where the HTTP endpoint listens, if it is wanted.
    pub listen: Option<Listen>,
    /// `read-group`: its members may ask for status and metrics.
    pub read_group: Option<String>,
    /// `order-group`: its members may give orders as well.
    pub order_group: Option<String>,
    /// `realtime`: keeper and engine have real-time priority.
    pub realtime: bool,
    /// SIGHUP stops the daemon, as it does ucarp; no key sets this.
    pub hangup_stops: bool,
}

/// `[daemon.log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// `level`: this and louder.
    pub level: LogLevel,
    /// `format`.
    pub format: LogFormat,
}

/// `[[vhost]]`: one virtual host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vhost {
    /// `name`: unique in the file.
    pub name: Name,
    /// `interface`: where it advertises and holds its addresses.
    pub interface: IfName,
    /// `netns`: the network namespace in which all of that is, if not the daemon's own.
    pub netns: Option<Netns>,
    /// `vhid`: unique on the interface.
    pub vhid: Vhid,
    /// `addresses`: as written, at least one, none twice.
    pub addresses: Vec<VirtualAddress>,
    /// The password, from `password-file` or `credential`.
    pub key: Secret,
    /// `advbase`: 0..=254 s; 0 only with an `advskew` above 0.
    pub advbase: AdvBase,
    /// `advskew`: 0..=254.
    pub advskew: AdvSkew,
    /// `preempt`: take over from a worse master.
    pub preempt: Preempt,
    /// `dead-ratio`: after this many advertisement intervals without an advertisement the master is
    /// considered dead; at least 1.
    pub dead_ratio: u32,
    /// `neutral`: do not call `on_backup` at start.
    pub neutral: bool,
    /// `tie-break`: who wins between equal masters.
    pub tie_break: TieBreak,
    /// `peers`: whose rules decide (docs/protocol.md, section 6).
    pub peers: Peers,
    /// `family-timers`: claim when every family is silent, or when any is.
    pub family_timers: FamilyTimers,
    /// `link-local`: are link-local addresses part of the hash we send (docs/protocol.md, section
    /// 2)?
    pub link_local: LinkLocal,
    /// `ipv6-checksum`: which sum we send (docs/protocol.md, section 1.2).
    pub ipv6_checksum: Ipv6Checksum,
    /// `send-demote-byte`: say our demotion in OpenBSD's byte too (docs/protocol.md, section 7).
    pub send_demote_byte: bool,
    /// `openbsd-lladdr`: enters the hash if given (docs/protocol.md, section 2).
    pub openbsd_lladdr: Option<MacAddr>,
    /// Cut the advertised advskew at 240; not so under the name ucarp. No key sets this.
    pub clamp_advskew: bool,
    /// Takes no part on an interface that cannot be used for CARP; not so under the name ucarp. No
    /// key sets this.
    pub needs_fit_interface: bool,
    /// `manage-addresses`: the daemon itself puts up and takes down [`Self::addresses`].
    pub manage_addresses: bool,
    /// What an orderly stop does for a master; no key sets this.
    pub at_stop: AtStop,
    /// Whether the addresses expire by themselves unless they are renewed.
    pub lease: Leases,
    /// `preferred-lifetime`: whether its IPv6 addresses are sources of connections.
    pub preferred_lifetime: PreferredLifetime,
    /// `nomcast`, `mcast-group`, `mcast-group6`: where advertisements go.
    pub destination: Destination,
    /// `startup-delay`: before it takes part, up to 1 h.
    pub startup_delay: Duration,
    /// `preempt-delay`: before it preempts, up to 1 h.
    pub preempt_delay: Duration,
    /// `hold-down`: after mastership, only silence makes it master again.
    pub hold_down: Duration,
    /// `damping`: of a link that flaps.
    pub damping: Damping,
    /// `overlap`: how long the previous password and addresses count after a reload, up to 24 h.
    pub overlap: Duration,
    /// `unicast`: the own addresses of the other nodes, to which advertisements are sent instead of
    /// to a group. Empty: multicast.
    pub unicast: Vec<IpAddr>,
    /// `min-ttl`: the least TTL or hop limit of what a unicast peer sends.
    pub min_ttl: u8,
    /// `source-mac`: the hardware address that advertisements come from.
    pub source_mac: SourceMac,
    /// `virtual-mac`: the addresses are on a macvlan with the virtual hardware address of the vhid.
    pub virtual_mac: bool,
    /// `source-address`: IPv4 source of advertisements; `None` is the interface's own.
    pub source_address: Option<Ipv4Addr>,
    /// `source-address6`: IPv6 source of advertisements; `None` is the interface's own.
    pub source_address6: Option<Ipv6Addr>,
    /// `ignore-link-state`: go on when the link is down (ucarp's `-S`).
    pub ignore_link_state: bool,
    /// `in-maintenance`: when it takes over while it is in maintenance.
    pub in_maintenance: InMaintenance,
    /// `on-conflict`: what a master does if another host has its addresses.
    pub on_conflict: OnConflict,
    /// `probe-interval`: between two questions whether one has; zero for none.
    pub probe_interval: Duration,
    /// `announce`: gratuitous ARP and unsolicited neighbour advertisements at takeover.
    pub announce: Announce,
    /// `xparam`: a text for the hooks (ucarp's `-x`).
    pub xparam: Option<String>,
    /// `hooks`: run in this order going up, in reverse going down; each is in [`Config::hooks`].
    pub hooks: Vec<Name>,
    /// `tracks`: what it depends on, and what has `all-vhosts`; each is in [`Config::tracks`].
    pub tracks: Vec<Name>,
    /// `adopt`: what another program left of the addresses is removed at the start.
    pub adopt: bool,
    /// `keep-degraded`: hold the addresses if a hook failed here and no peer takes over.
    pub keep_degraded: bool,
    /// Its header in the file.
    pub place: Place,
}

impl Vhost {
    /// The families it advertises in, IPv4 first: those of its unicast peers, or else of its
    /// addresses.
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        let has = |family| {
            if self.unicast.is_empty() {
                self.addresses.iter().any(|a| a.family() == family)
            } else {
                self.peers_of(family).next().is_some()
            }
        };
        Family::ALL.into_iter().filter(move |family| has(*family))
    }

    /// To whom it sends.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let all_v4 = || self.families().all(|family| family == Family::V4);
        if !self.unicast.is_empty() {
            Reach::Hosts
        } else if self.destination.ethernet_broadcast && all_v4() {
            Reach::Broadcast
        } else {
            Reach::Group
        }
    }

    /// The device that has its addresses while it is master: its interface, or the macvlan on it.
    #[must_use]
    pub fn device(&self) -> IfName {
        if self.virtual_mac {
            self.interface.macvlan(self.vhid)
        } else {
            self.interface.clone()
        }
    }

    /// Its unicast peers of this family.
    pub fn peers_of(&self, family: Family) -> impl Iterator<Item = IpAddr> + '_ {
        let peers = self.unicast.iter().copied();
        peers.filter(move |peer| Family::of(*peer) == family)
    }
}

/// `[group.NAME]`: virtual hosts of which this node is master together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `members`: the names of virtual hosts, in the order that decides; at least two.
    pub members: Vec<Name>,
    /// Its header in the file.
    pub place: Place,
}

impl Config {
    /// The name of the group of this virtual host.
    #[must_use]
    pub fn group_of(&self, vhost: &Name) -> Option<&Name> {
        let mut groups = self.groups.iter();
        let found = groups.find(|(_, group)| group.members.contains(vhost));
        found.map(|(name, _)| name)
    }
}

/// The order of an orderly stop, for a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtStop {
    /// `before_backup`, addresses down, bow-out, `on_backup`.
    #[default]
    AddressesFirst,
    /// `on_backup`, and only when it has ended the bow-out: the hooks hold the addresses, not the
    /// daemon.
    HooksFirst,
    /// The addresses are removed, whoever added them; bow-out; no hook runs.
    AddressesOnly,
}

/// Where advertisements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// `nomcast`: the frame goes to the broadcast address of Ethernet; the IP destination stays the
    /// group.
    pub ethernet_broadcast: bool,
    /// `mcast-group`: a multicast address.
    pub group: Ipv4Addr,
    /// `mcast-group6`: a multicast address.
    pub group6: Ipv6Addr,
}

/// `announce`: how often neighbours are told at takeover. After the second advertisement they are
/// told once more in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce {
    /// `count`: 1..=255 for each address.
    pub count: u8,
    /// `interval`: between two of them, 10 ms to 1 min.
    pub interval: Duration,
    /// `delay`: after this time as many are sent once more; zero for not.
    pub delay: Duration,
    /// `refresh`: as long as it is master, one is sent each time that this is over; zero for never.
    pub refresh: Duration,
}

/// `[track.NAME]`: something that virtual hosts depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// `kind`, with what belongs to it.
    pub tracked: Tracked,
    /// `demote`: what follows while it is down.
    pub demote: Demote,
    /// Its name in the file.
    pub place: Place,
}

/// `kind` of a track: what it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tracked {
    /// `link`: this interface.
    Link(IfName),
    /// Something on this host that a process looks at again and again.
    Local(Box<Local>),
    /// Another host, or a server, that is asked again and again.
    Remote(Box<Remote>),
    /// `hook`: what the `health` of a hook answers.
    Hook(Box<AskedHook>),
}

impl Config {
    /// Whether a hook is called for a virtual host: one of its own, or one that a track of it asks.
    #[must_use]
    pub fn calls(&self, vhost: &Vhost, hook: &Name) -> bool {
        let asks = |name: &Name| self.tracks.get(name)?.tracked.hook();
        vhost.hooks.contains(hook) || vhost.tracks.iter().any(|name| asks(name) == Some(hook))
    }
}

/// A hook whose `health` is asked again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedHook {
    /// Which one; it is in [`Config::hooks`].
    pub hook: Name,
    /// How often.
    pub poll: Poll,
}

/// What is asked over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// What it is.
    pub asked: Asked,
    /// How often.
    pub poll: Poll,
}

/// What is asked, and what is a good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// `tcp`: whether somebody takes connections there.
    Tcp(Endpoint),
    /// `http`: the status of the answer to GET.
    Http {
        /// `url`.
        url: Url,
        /// `status`: those that are good; not empty.
        good: Vec<StatusRange>,
    },
    /// `icmp`: whether this host answers an echo request.
    Icmp(Host),
}

/// A name in small letters, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(pub String);

impl FromStr for Host {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, ParseUrlError> {
        if text.parse::<IpAddr>().is_ok() {
            return Ok(Self(text.to_owned()));
        }
        // A name is one that an endpoint may have.
        let endpoint: Endpoint = format!("{text}:1").parse()?;
        Ok(Self(endpoint.host().to_owned()))
    }
}

/// Some statuses of HTTP: `200`, `200-299`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// The first of them.
    pub first: u16,
    /// The last of them.
    pub last: u16,
}

impl FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| {
            let status = text.parse().ok()?;
            (100..=599).contains(&status).then_some(status)
        };
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!(
                "{text:?} is no status of HTTP (100 to 599), and no range of them as in \"200-299\""
            )),
        }
    }
}

impl std::fmt::Display for StatusRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// What a process of this host looks at, as this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// What it is.
    pub what: Looked,
    /// `user`: by name or number.
    pub user: String,
    /// How often.
    pub poll: Poll,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// `file`: the number in this file.
    File(PathBuf),
    /// `command`: the exit status of a program.
    Command(Program),
    /// `process`: whether a program of this name is running.
    Process(String),
    /// `service`: whether this unit is active.
    Service(String),
    /// `route`: whether and how the kernel would send packets somewhere.
    Route {
        /// `to`.
        to: IpAddr,
        /// `via`: through this gateway.
        via: Option<IpAddr>,
        /// `interface`: through this interface.
        interface: Option<IfName>,
    },
}

/// A program that says by its exit status whether all is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// `argv`: its absolute path, and its arguments; not empty.
    pub argv: Vec<String>,
    /// `environment`: what it has beside the usual.
    pub environment: Vec<(String, String)>,
}

/// How something is asked again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    /// `interval`: from the start of one attempt to that of the next; 50 ms to 1 h.
    pub interval: Duration,
    /// `timeout`: of one attempt.
    pub timeout: Duration,
    /// `rise`: after so many good attempts in a row the track is up again; 1..=100.
    pub rise: u32,
    /// `fall`: after so many failed attempts in a row it is down; 1..=100.
    pub fall: u32,
}

impl Tracked {
    /// Do both follow the same thing, perhaps in different ways?
    #[must_use]
    pub fn is_same_thing(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Remote(one), Self::Remote(other)) => one.asked == other.asked,
            (Self::Local(one), Self::Local(other)) => {
                one.what == other.what && one.user == other.user
            }
            (Self::Hook(one), Self::Hook(other)) => one.hook == other.hook,
            _ => self == other,
        }
    }

    /// How it is asked about, if it is.
    #[must_use]
    pub const fn poll(&self) -> Option<&Poll> {
        match self {
            Self::Link(_) => None,
            Self::Local(local) => Some(&local.poll),
            Self::Remote(remote) => Some(&remote.poll),
            Self::Hook(asked) => Some(&asked.poll),
        }
    }

    /// The hook that it asks, if it does.
    #[must_use]
    pub fn hook(&self) -> Option<&Name> {
        match self {
            Self::Hook(asked) => Some(&asked.hook),
            Self::Link(_) | Self::Local(_) | Self::Remote(_) => None,
        }
    }
}

impl std::fmt::Display for Tracked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Link(interface) => write!(f, "link {interface}"),
            Self::Remote(remote) => match &remote.asked {
                Asked::Tcp(endpoint) => write!(f, "tcp {endpoint}"),
                // A query may hold a secret.
                Asked::Http { url, .. } => write!(f, "http {}", url.without_query()),
                Asked::Icmp(host) => write!(f, "icmp {}", host.0),
            },
            Self::Local(local) => match &local.what {
                Looked::File(path) => write!(f, "file {}", path.display()),
                Looked::Command(program) => write!(f, "command {}", program.argv.join(" ")),
                Looked::Process(name) => write!(f, "process {name}"),
                Looked::Service(unit) => write!(f, "service {unit}"),
                Looked::Route { to, .. } => write!(f, "route to {to}"),
            },
            Self::Hook(asked) => write!(f, "hook {}", asked.hook),
        }
    }
}

/// `demote`: what follows while a track is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demote {
    /// This is added to the advskew, 1..=240.
    By(u8),
    /// The virtual host does not take part.
    Fault,
}

/// What a hook is written in, told by the ending of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Luau: `.lua`, `.luau`.
    Lua,
    /// A WebAssembly component: `.wasm`.
    Wasm,
}

/// `[hook.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// `source`: as written, for messages.
    pub source: String,
    /// The file itself: `source` below the directory of the configuration.
    pub path: PathBuf,
    /// `digest`: the only content of the file that is loaded.
    pub digest: Option<Digest>,
    /// `signature`: where it is, and that it is required; `None` is the usual place.
    pub signature: Option<PathBuf>,
    /// From the file's ending; means nothing for [`Kind::Script`].
    pub language: Language,
    /// `kind`.
    pub kind: Kind,
    /// The ceilings of one run.
    pub limits: Limits,
    /// `before-timeout`: wall time of `before_master` and `before_backup`; at most `timeout`.
    pub before_timeout: Duration,
    /// `on-failure`: what follows when `on_master` fails.
    pub on_failure: OnFailure,
    /// `[hook.NAME.health]`: how its `health` is asked, if it has one.
    pub health: Health,
    /// When a changed file is taken into use.
    pub reload: Reload,
    /// `runners`: processes that hold this hook, 1..=64.
    pub runners: u16,
    /// `[hook.NAME.config]`, as a JSON object; `{}` if there is none.
    pub config_json: String,
    /// `[hook.NAME.grant]`: what it may do.
    pub grants: Grants,
    /// Its `source` in the file.
    pub place: Place,
}

/// `kind`: what a hook is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file that one of the runtimes loads, in a sandbox.
    Module,
    /// Programs, as ucarp runs them: no sandbox, all that the daemon may.
    Script(Box<Script>),
}

/// The programs of `kind = "script"`. They are called with the interface, the address and the
/// xparam if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// `up`: runs on becoming master.
    pub up: Option<PathBuf>,
    /// `down`: runs on becoming backup.
    pub down: Option<PathBuf>,
    /// The interface as the first argument calls it; `None` is its name.
    pub interface: Option<String>,
    /// Where they run; `None` is `/`.
    pub directory: Option<PathBuf>,
    /// Their environment; `None` is a clean one.
    pub environment: Option<Vec<(std::ffi::OsString, std::ffi::OsString)>>,
}

/// `[hook.NAME.health]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `interval`: from the begin of one check to that of the next; 100 ms to 1 h.
    pub interval: Duration,
    /// `timeout`: wall time of one check, at most the interval.
    pub timeout: Duration,
    /// `rise`: after this many good checks in a row the node is healthy again; 1..=100.
    pub rise: u32,
    /// `fall`: after this many bad checks in a row it is unhealthy; 1..=100.
    pub fall: u32,
    /// `demotion`: what a failed check is worth, 1..=240.
    pub demotion: u8,
    /// `on-failure`: what a master does besides.
    pub on_failure: OnUnhealthy,
}

/// A hook's ceilings for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `timeout`: wall time, waiting for the host included; 10 ms to 1 h.
    pub wall: Duration,
    /// `cpu`: time that its own code may use; 1 ms to 10 min.
    pub cpu: Duration,
    /// `memory`: bytes of its heap; 1 MiB to 1 GiB.
    pub memory_bytes: u64,
    /// `requests`: what it may ask of the host; 1..=1000000.
    pub requests: u32,
    /// `log-bytes`: bytes of log text; at most 16 MiB.
    pub log_bytes: u32,
    /// `state-bytes`: bytes of lasting state; at most 16 MiB.
    pub state_bytes: u32,
}
