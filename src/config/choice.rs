//! Keys whose value is one of a few words.

/// A value that is written as one of a few words.
pub trait Choice: Copy + Eq + 'static {
    /// All words with what they mean, in the order of the documentation.
    const ALL: &'static [(&'static str, Self)];
    /// All words, in the same order.
    const WORDS: &'static [&'static str];

    /// The word for this value.
    #[must_use]
    fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, value)| *value == self)
            .map_or("", |(word, _)| word)
    }

    /// The value for a word.
    #[must_use]
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(w, _)| *w == word)
            .map(|(_, value)| *value)
    }
}

macro_rules! words {
    ($($type:ident { $($variant:ident = $word:literal),+ $(,)? })+) => {$(
        impl Choice for $type {
            const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
            const WORDS: &'static [&'static str] = &[$($word),+];
        }
    )+};
}

words! {
    Peers { Bsd = "bsd", OpenBsd = "openbsd" }
    TieBreak { Address = "address", Yield = "yield", Ucarp = "ucarp" }
    FamilyTimers { All = "all", Any = "any" }
    LinkLocal { Include = "include", Exclude = "exclude" }
    Ipv6Checksum { Plain = "plain", PseudoHeader = "pseudo-header" }
    SourceMac { Virtual = "virtual", Interface = "interface", Ucarp = "ucarp" }
    OnFailure { Resign = "resign", Keep = "keep", Ignore = "ignore" }
    InMaintenance { LastResort = "last-resort", Never = "never" }
    OnConflict { Report = "report", Defend = "defend", Resign = "resign" }
    OnUnhealthy { Resign = "resign", Demote = "demote" }
    TrackKind { Link = "link", Tcp = "tcp", Http = "http", Icmp = "icmp", File = "file", Command = "command", Process = "process", Service = "service", Route = "route", Hook = "hook" }
    HookKind { Module = "module", Script = "script" }
    NotifyKind { Webhook = "webhook", Mail = "mail", Command = "command" }
    PreferredLifetime { Zero = "0s", Forever = "forever" }
    Leases { Kernel = "kernel", Off = "off" }
    Reload { Checked = "checked", Tested = "tested", Manual = "manual" }
    FileOwners { Required = "required", Warn = "warn" }
    Sandbox { Required = "required", BestEffort = "best-effort" }
    ServiceBackend { Auto = "auto", Systemd = "systemd", Sysv = "sysv", OpenRc = "openrc" }
    LogLevel { Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace" }
    LogFormat { Auto = "auto", Human = "human", Json = "json", Journald = "journald" }
}

words! {
    EventKind {
        Transition = "transition", HookFailed = "hook-failed", Degraded = "degraded", Recovered = "recovered",
        Unhealthy = "unhealthy", Healthy = "healthy", TrackDown = "track-down", TrackUp = "track-up",
        MaintenanceBegun = "maintenance-begun", MaintenanceEnded = "maintenance-ended",
        PeerRefused = "peer-refused", Split = "split", Conflict = "conflict", Crashed = "crashed",
    }
    State { Init = "init", Backup = "backup", Master = "master" }
}

words! {
    ServiceVerb { Start = "start", Stop = "stop", Restart = "restart", Reload = "reload" }
    LinkVerb { SetUp = "set_up", SetMac = "set_mac" }
    FileVerb { Read = "read", Write = "write", Remove = "remove" }
    CarpVerb { Demote = "demote", Resign = "resign" }
    HttpVerb { Get = "get", Post = "post", Put = "put", Patch = "patch", Delete = "delete" }
}

pub use crate::proto::{FamilyTimers, Ipv6Checksum, LinkLocal, Peers, Preempt, TieBreak};

pub use crate::types::PreferredLifetime;

use crate::effect::{CarpVerb, FileVerb, HttpVerb, LinkVerb, ServiceVerb};
use crate::notification::EventKind;
use crate::types::State;
use serde::{Deserialize, Serialize};

/// The hardware address that advertisements come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceMac {
    /// `00:00:5e:00:01:VHID`.
    Virtual,
    /// The interface's own, for switches that refuse others.
    Interface,
    /// `00:00:5e:00:00:VHID`, as ucarp has it.
    Ucarp,
}

/// What a track follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrackKind {
    /// An interface.
    Link,
    /// A server.
    Tcp,
    /// What a web server answers.
    Http,
    /// A host.
    Icmp,
    /// The number in a file.
    File,
    /// What a program says.
    Command,
    /// A program that runs.
    Process,
    /// A service.
    Service,
    /// A way that packets take.
    Route,
    /// What a hook says.
    Hook,
}

/// How a notification is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotifyKind {
    /// By a request to a web server.
    Webhook,
    /// By mail.
    Mail,
    /// By a program.
    Command,
}

/// What a hook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HookKind {
    /// A file for one of the runtimes.
    Module,
    /// Programs, called as ucarp calls them.
    Script,
}

/// What follows when `on_master` fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// Hand over to a peer.
    Resign,
    /// Stay master and try again.
    Keep,
    /// Log it.
    Ignore,
}

/// When a node in maintenance takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InMaintenance {
    /// When no other node does.
    LastResort,
    /// Not at all.
    Never,
}

/// What a master does when another host claims its addresses, besides saying so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// Nothing.
    Report,
    /// Announce them again.
    Defend,
    /// Hand over to a peer.
    Resign,
}

/// What follows on a master whose `health` fails, besides the demotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnUnhealthy {
    /// Hand over to a peer.
    Resign,
    /// Nothing: a peer that preempts takes over.
    Demote,
}

/// Whether addresses have a lifetime in the kernel that only a living daemon renews.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leases {
    /// They do, where the timers leave room for it.
    Kernel,
    /// They stay until they are taken down.
    Off,
}

/// What follows if others than root and the daemon's user could write to what the daemon reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileOwners {
    /// It is refused.
    Required,
    /// It is logged.
    Warn,
}

/// When a hook whose file changed is taken into use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// As soon as it loads and defines an entry point.
    Checked,
    /// As soon as it also passes the test beside it, if there is one.
    Tested,
    /// When an operator says so: `carpd reload`, SIGHUP.
    Manual,
}

/// What to do with hooks where a mandatory part of the sandbox is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// Refuse them.
    Required,
    /// Run them in what is left of it.
    BestEffort,
}

/// Who starts and stops services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceBackend {
    /// Whichever runs this machine.
    Auto,
    /// systemd, over D-Bus.
    Systemd,
    /// `/etc/init.d/NAME`.
    Sysv,
    /// OpenRC.
    OpenRc,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what someone should look at.
    Warn,
    /// And what happened: transitions, hooks, effects.
    Info,
    /// And why.
    Debug,
    /// And every packet.
    Trace,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `journald` where standard error is the journal, else `human`.
    Auto,
    /// Lines for people.
    Human,
    /// One JSON object a line.
    Json,
    /// Fields for the journal.
    Journald,
}
