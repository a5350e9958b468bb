//! Confining a process that handles untrusted input: it gives up everything it can, in an order
//! that works.
//!
//! The order matters: first namespaces and credentials (they need the privileges that are dropped
//! next), then what a change of credentials would reset, then limits, and finally the system call
//! filter.

mod engine;
mod filter;
mod helper;
mod own_filter;
mod prober;
mod reader;
mod resident;

use caps::CapSet;
use landlock::{
    ABI, Access, AccessFs, AccessNet, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, geteuid, getpid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

pub(crate) use engine::{change_user, confine_engine};
use filter::SOCKETS;
pub(crate) use helper::confine_helper;
pub(crate) use prober::confine_prober;
pub(crate) use reader::confine_reader;
pub use resident::forget_code;

/// How well a process is confined.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// Measures in force, by name.
    pub in_force: Vec<String>,
    /// Measures that this kernel or user does not allow, each with the reason.
    pub missing: Vec<String>,
}

/// Names of the measures, as they appear in [`Confinement`].
mod measure {
    pub(super) const FIRST_TO_GO: &str = "first-to-go-without-memory";
    pub(super) const NETWORK: &str = "empty-network-namespace";
    pub(super) const UID: &str = "own-uid";
    pub(super) const CAPABILITIES: &str = "no-capabilities";
    pub(super) const NO_NEW_PRIVS: &str = "no-new-privs";
    pub(super) const DEATH_SIGNAL: &str = "ends-with-parent";
    pub(super) const LANDLOCK: &str = "landlock";
    pub(super) const CPU_LIMIT: &str = "cpu-limit";
    pub(super) const LIMITS: &str = "resource-limits";
    pub(super) const PROCESSES: &str = "no-more-processes";
    pub(super) const SECCOMP: &str = "seccomp";
}

/// A hook is refused if one of these is missing, unless `sandbox = "best-effort"`.
const MANDATORY: [&str; 4] = [
    measure::CAPABILITIES,
    measure::NO_NEW_PRIVS,
    measure::SECCOMP,
    measure::CPU_LIMIT,
];

/// CPU time of a confined process over its whole life, in seconds: the kernel ends it if nothing
/// else does. The engine replaces a runner long before that (see
/// [`crate::hooks::process::session::Session::is_worn`]).
pub(crate) const CPU_SECONDS: u64 = 60;

/// Address space in addition to what is mapped at the start and the hook's own heap, in bytes.
const SPARE_BYTES: u64 = 64 << 20;

/// The same for a runner of WebAssembly: wasmtime also moves a memory that grows, and arguments
/// take more space as values.
#[cfg(feature = "wasm")]
const SPARE_BYTES_WASM: u64 = 128 << 20;

/// What a confined process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Runs Luau.
    Lua,
    /// Runs WebAssembly: may make memory executable, but never writable at the same time.
    #[cfg(feature = "wasm")]
    Wasm,
    /// Compiles WebAssembly.
    #[cfg(feature = "wasm")]
    Compiler,
    /// Talks to one server, at this port; see [`no_more_names`].
    HttpWorker {
        /// 1..=65535.
        port: u16,
    },
    /// Talks to servers at these ports for as long as the daemon runs; its threads are started
    /// while it warms up. Its address space also has room for their stacks.
    NetProber {
        /// Each 1..=65535.
        ports: &'a [u16],
    },
    /// Answers clients on a socket that listens already, for as long as the daemon runs. Its
    /// runtime is built before; it opens nothing itself.
    Endpoint,
}

impl Kind<'_> {
    const fn spare_bytes(self) -> u64 {
        match self {
            Self::Lua => SPARE_BYTES,
            #[cfg(feature = "wasm")]
            Self::Wasm => SPARE_BYTES_WASM,
            #[cfg(feature = "wasm")]
            Self::Compiler => SPARE_BYTES,
            Self::HttpWorker { .. } | Self::NetProber { .. } | Self::Endpoint => SPARE_BYTES,
        }
    }

    /// The ports that it may connect to, if it may use the network.
    fn ports(self) -> Option<Vec<u16>> {
        match self {
            Self::HttpWorker { port } => Some(vec![port]),
            Self::NetProber { ports } => Some(ports.to_vec()),
            Self::Lua | Self::Endpoint => None,
            #[cfg(feature = "wasm")]
            Self::Wasm | Self::Compiler => None,
        }
    }
}

/// The first of the uids that processes get for themselves: a range that systemd leaves unused (its
/// "UIDS-GIDS"). The first is the engine's, because its files must still belong to it after a
/// restart; the others are for runners and similar processes.
pub(crate) const FIRST_UID: u32 = 60_600;
/// How many there are.
pub(crate) const UIDS: u32 = 500;

/// How much more readily than the daemon a confined process is killed when memory is short, in
/// thousandths of the total memory.
const FIRST_TO_GO_BY: i32 = 500;

/// Records which measures worked.
#[derive(Default)]
struct Notes(Confinement);

impl Notes {
    fn note(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.0.in_force.push(name.to_owned()),
            Err(why) => self.0.missing.push(format!("{name}: {why}")),
        }
    }
}

/// Confines the calling process, which must have only one thread. `warm_up` runs after the limits
/// and before the system call filter: for whatever a library does on first use, including starting
/// threads.
pub fn confine(kind: Kind<'_>, memory_bytes: u64, warm_up: impl FnOnce()) -> Confinement {
    let mut notes = Notes::default();
    // With another uid it could no longer set this for itself.
    notes.note(measure::FIRST_TO_GO, first_to_go());
    let ports = kind.ports();
    if ports.is_none() {
        notes.note(measure::NETWORK, empty_network());
    }
    let bounding = caps::clear(None, CapSet::Bounding);
    notes.note(measure::UID, own_uid());
    notes.note(measure::CAPABILITIES, drop_capabilities(bounding.is_ok()));
    notes.note(
        measure::NO_NEW_PRIVS,
        prctl::set_no_new_privs().map_err(|err| err.to_string()),
    );
    // After the last change of credentials, which resets it.
    notes.note(
        measure::DEATH_SIGNAL,
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(|err| err.to_string()),
    );
    notes.note(
        measure::LANDLOCK,
        ports.map_or_else(no_files, |ports| only_names_and(&ports)),
    );
    // No code of others runs in it, and it lasts: what it takes is not to be added up.
    let is_lasting = matches!(kind, Kind::NetProber { .. } | Kind::Endpoint);
    notes.note(
        measure::CPU_LIMIT,
        if is_lasting {
            Ok(())
        } else {
            limit(Resource::RLIMIT_CPU, CPU_SECONDS)
        },
    );
    notes.note(measure::LIMITS, limits(kind, memory_bytes));
    warm_up();
    notes.note(measure::PROCESSES, limit(Resource::RLIMIT_NPROC, 0));
    notes.note(measure::SECCOMP, filter::apply(kind));
    notes.0
}

/// The address space that a tester may use, in bytes.
const TESTER_BYTES: u64 = 1 << 30;
/// The most that one of its runners may set for itself: room for the largest possible hook.
const TESTED_BYTES: u64 = 4 << 30;
/// Its processes and those of its runners, including threads: this limits even a tester that has
/// been taken over.
const TESTER_PROCESSES: u64 = 256;

/// Confines the calling process, a tester, which must have only one thread. It goes on to start
/// processes, so it has no system call filter: they have their own.
pub(crate) fn confine_tester() -> Confinement {
    let mut notes = Notes::default();
    notes.note(measure::FIRST_TO_GO, first_to_go());
    notes.note(measure::NETWORK, empty_network());
    let bounding = caps::clear(None, CapSet::Bounding);
    let own_uid = own_uid();
    let is_alone = own_uid.is_ok();
    notes.note(measure::UID, own_uid);
    notes.note(measure::CAPABILITIES, drop_capabilities(bounding.is_ok()));
    notes.note(
        measure::NO_NEW_PRIVS,
        prctl::set_no_new_privs().map_err(|err| err.to_string()),
    );
    notes.note(
        measure::DEATH_SIGNAL,
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(|err| err.to_string()),
    );
    notes.note(measure::LANDLOCK, no_writing());
    notes.note(measure::CPU_LIMIT, limit(Resource::RLIMIT_CPU, CPU_SECONDS));
    notes.note(measure::LIMITS, tester_limits(is_alone));
    notes.0
}

/// `is_alone`: few or no other processes have its user. The kernel counts processes by user.
fn tester_limits(is_alone: bool) -> Result<(), String> {
    let space = Resource::RLIMIT_AS;
    setrlimit(space, TESTER_BYTES, TESTED_BYTES).map_err(|err| format!("{space:?}: {err}"))?;
    if is_alone {
        limit(Resource::RLIMIT_NPROC, TESTER_PROCESSES)?;
    }
    Ok(())
}

/// No file can be written except `/dev/null`, and in `/proc`, where a runner requests to be killed
/// first.
fn no_writing() -> Result<(), String> {
    let abi = ABI::V6;
    let write = AccessFs::from_write(abi);
    let status = Ruleset::default()
        .handle_access(write)
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|rules| {
            rules.add_rules(path_beneath_rules(
                ["/proc", "/dev/null"],
                AccessFs::WriteFile,
            ))
        })
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|err| err.to_string())?;
    enforced(&status.ruleset)
}

/// For an HTTP worker that knows the address: from here on it cannot open files or load code, and
/// it is killed if it tries.
///
/// # Errors
/// The system's error.
pub fn no_more_names() -> Result<(), String> {
    filter::no_more_names()
}

/// The mandatory measures that are missing.
#[must_use]
pub fn lacking(confinement: &Confinement) -> Vec<String> {
    let in_force = |name: &&str| confinement.in_force.iter().any(|have| have == *name);
    let why = |name: &str| {
        confinement
            .missing
            .iter()
            .find(|text| text.starts_with(name))
            .cloned()
    };
    MANDATORY
        .iter()
        .filter(|name| !in_force(name))
        .map(|name| why(name).unwrap_or_else(|| (*name).to_owned()))
        .collect()
}

/// When the machine or the control group runs out of memory, the kernel kills the process that uses
/// most. That is the engine, although it is the hooks that grow. If a hook is killed, it merely
/// failed; if the engine is killed, the addresses go with it.
fn first_to_go() -> Result<(), String> {
    let place = "/proc/self/oom_score_adj";
    let ours = std::fs::read_to_string(place).map_err(|err| err.to_string())?;
    let ours: i32 = ours
        .trim()
        .parse()
        .map_err(|_| format!("{place} is not a number"))?;
    std::fs::write(place, (ours + FIRST_TO_GO_BY).min(1000).to_string())
        .map_err(|err| err.to_string())
}

fn empty_network() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET)
        // An ordinary user can do so in a user namespace of its own; its privileges there are
        // dropped with the rest.
        .or_else(|_| unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET))
        .map_err(|err| err.to_string())
}

fn own_uid() -> Result<(), String> {
    if !geteuid().is_root() {
        return Err("only root can give another uid".to_owned());
    }
    let id = FIRST_UID + 1 + getpid().as_raw().unsigned_abs() % (UIDS - 1);
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    setgroups(&[]).map_err(|err| format!("setgroups: {err}"))?;
    setresgid(gid, gid, gid).map_err(|err| format!("setresgid: {err}"))?;
    setresuid(uid, uid, uid).map_err(|err| format!("setresuid: {err}"))
}

fn drop_capabilities(bounding_cleared: bool) -> Result<(), String> {
    let sets = [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ];
    for set in sets {
        // Old kernels do not know the ambient set; whether all sets are empty is checked below.
        let _ = caps::clear(None, set);
    }
    for set in sets {
        let left = caps::read(None, set).map_err(|err| err.to_string())?;
        if !left.is_empty() {
            return Err(format!("{set:?} still has {left:?}"));
        }
    }
    // The bounding set only matters to a program that is executed, which this process can never do.
    tracing::trace!(bounding_cleared, "Gave up all capabilities");
    Ok(())
}

fn no_files() -> Result<(), String> {
    let abi = ABI::V6;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|err| err.to_string())?;
    enforced(&status.ruleset)
}

/// Files that the C library reads to resolve a name, and where its code for that may be. Those that
/// do not exist are left out.
const FOR_NAMES: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];

/// The port of DNS, for answers that are too long for a datagram.
const DNS: u16 = 53;

/// What resolving a name needs, and connections to these ports.
fn only_names_and(ports: &[u16]) -> Result<(), String> {
    let abi = ABI::V6;
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(FOR_NAMES, read)))
        .and_then(|rules| {
            let ports = ports.iter().chain([&DNS]);
            rules.add_rules(ports.map(|port| {
                Ok::<_, landlock::RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp))
            }))
        })
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|err| err.to_string())?;
    enforced(&status.ruleset)
}

/// A kernel without Landlock is not an error to the library.
fn enforced(status: &RulesetStatus) -> Result<(), String> {
    match status {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("the kernel does not have it".to_owned()),
    }
}

fn limit(resource: Resource, value: u64) -> Result<(), String> {
    setrlimit(resource, value, value).map_err(|err| format!("{resource:?}: {err}"))
}

fn limits(kind: Kind<'_>, memory_bytes: u64) -> Result<(), String> {
    let space = mapped_bytes()?
        .saturating_add(kind.spare_bytes())
        .saturating_add(memory_bytes.saturating_mul(2));
    limit(Resource::RLIMIT_FSIZE, 0)?;
    limit(Resource::RLIMIT_CORE, 0)?;
    limit(Resource::RLIMIT_MEMLOCK, 0)?;
    // Resolving a name opens files and sockets.
    limit(
        Resource::RLIMIT_NOFILE,
        match kind {
            Kind::HttpWorker { .. } => 64,
            // For each a socket, and the files of looking up its name.
            Kind::NetProber { .. } => 4096,
            // Its clients, and what its runtime needs.
            Kind::Endpoint => 320,
            Kind::Lua => 4,
            #[cfg(feature = "wasm")]
            Kind::Wasm | Kind::Compiler => 4,
        },
    )?;
    limit(Resource::RLIMIT_AS, space)
}

/// The address space in use, in bytes; read before files are out of reach, or assumed to be what
/// the binary usually takes.
fn mapped_bytes() -> Result<u64, String> {
    MAPPED
        .get()
        .copied()
        .ok_or_else(|| "the size of the process is unknown".to_owned())
}

static MAPPED: std::sync::OnceLock<u64> = std::sync::OnceLock::new();

/// Reads how much address space the process has, and where its code is; must be called before
/// [`confine`], which makes `/proc` inaccessible.
pub fn measure_address_space() {
    resident::note();
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok());
    if let (Some(pages), Some(page)) = (pages, page) {
        MAPPED.get_or_init(|| pages.saturating_mul(page));
    }
}
