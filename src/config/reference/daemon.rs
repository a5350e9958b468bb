//! `[daemon]`.

use std::time::Duration;

use super::{Defaulted, Key, Section, defaulted, optional};
use crate::config::Listen;
use crate::config::choice::{FileOwners, Sandbox, ServiceBackend};
use crate::config::form::{Boolean, OneOf, Parsed, Period, TableOf, Text};

pub(in crate::config) static NODE_NAME: Key<Text> = optional(
    "node-name",
    Text {
        what: "string, 1 to 64 bytes",
    },
    "the host name when the daemon starts",
    "\"node2\"",
    "The name of this node as hooks see it. Useful if the host name itself moves with mastership.",
);

pub(in crate::config) static SHUTDOWN_TIMEOUT: Defaulted<Period> = defaulted(
    "shutdown-timeout",
    Period {
        min: Duration::from_secs(1),
        max: Duration::from_hours(1),
        also: "",
    },
    || Duration::from_secs(30),
    "How long a clean stop may take: running hooks, undoing their effects, and handing over to a peer.",
);

pub(in crate::config) static SANDBOX: Defaulted<OneOf<Sandbox>> = defaulted(
    "sandbox",
    OneOf::new(),
    || Sandbox::Required,
    "What happens to hooks if the kernel lacks a mandatory part of the sandbox: with `required` they are refused, with `best-effort` they run with the parts that are available.",
);

pub(in crate::config) static FILE_OWNERS: Defaulted<OneOf<FileOwners>> = defaulted(
    "file-owners",
    OneOf::new(),
    || FileOwners::Required,
    "What happens if users other than root and the daemon's own could write to the configuration, to a hook, its modules or its test, to a key or a password, or to a directory in the path of one: with `required` the file is refused, with `warn` a warning is logged.",
);

pub(in crate::config) static LOG: Key<TableOf> = optional(
    "log",
    TableOf(&super::log::SECTION),
    "the defaults of `[daemon.log]`",
    "{ level = \"debug\" }",
    "See `[daemon.log]`.",
);

pub(in crate::config) static STATE_DIR: Defaulted<Text> = defaulted(
    "state-dir",
    Text {
        what: "absolute path",
    },
    || "/var/lib/carpd",
    "What must survive a reboot: the persistent state of hooks, and the record of what hooks did to files.",
);

pub(in crate::config) static RUN_DIR: Defaulted<Text> = defaulted(
    "run-dir",
    Text {
        what: "absolute path",
    },
    || "/run/carpd",
    "Locks, the ledger, and sockets. The directory must be one that a reboot empties.",
);

pub(in crate::config) static SERVICE_BACKEND: Defaulted<OneOf<ServiceBackend>> = defaulted(
    "service-backend",
    OneOf::new(),
    || ServiceBackend::Auto,
    "Which service manager starts and stops services for hooks. `auto` uses the one that runs this machine. `systemd` never falls back to init scripts.",
);

pub(in crate::config) static CA_FILE: Key<Text> = optional(
    "ca-file",
    Text { what: "path" },
    "only the system's authorities",
    "\"/etc/carpd/ca.pem\"",
    "CA certificates (PEM) that are trusted for `https` requests of hooks, in addition to the system's. The file is read for each request, so changing it needs no reload.",
);

pub(in crate::config) static LISTEN: Key<Parsed<Listen>> = optional(
    "listen",
    Parsed::new("address and port, or `unix:` and an absolute path"),
    "no HTTP endpoint",
    "\"127.0.0.1:9478\"",
    "Where the HTTP endpoint answers: metrics for Prometheus, the status as JSON and as a page, and checks for load balancers. It only reads. Whoever can connect can read everything that `carpd status` shows. In a network namespace of a virtual host (`netns`), the name of the namespace is appended to the path of a socket.",
);

pub(in crate::config) static READ_GROUP: Key<Text> = optional(
    "read-group",
    Text {
        what: "name or number of a group",
    },
    "only root",
    "\"carpd-read\"",
    "Members of this group may ask the daemon for its status and metrics (`carpd status`, `carpd metrics`).",
);

pub(in crate::config) static ORDER_GROUP: Key<Text> = optional(
    "order-group",
    Text {
        what: "name or number of a group",
    },
    "only root",
    "\"carpd\"",
    "Members of this group may also give the daemon orders: reload, resign, versions of hooks, and all others. The log says who gave an order and what came of it. Whoever may reload can use what the configuration files allow, so only give it to those who could be root.",
);

pub(in crate::config) static REALTIME: Defaulted<Boolean> = defaulted(
    "realtime",
    Boolean,
    || false,
    "Whether the processes that run the protocol get real-time priority (`SCHED_RR`, with a bound) and keep their memory in RAM, so that other programs do not delay advertisements. For intervals well below a second. Hooks and everything else that carpd starts never have that priority. Needs root, or the rights of `docs/packaging/realtime.conf`.",
);

/// `[daemon]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[daemon]",
    text: "Settings for the whole process. All of them are optional.",
    keys: &[
        &NODE_NAME,
        &SHUTDOWN_TIMEOUT,
        &SANDBOX,
        &FILE_OWNERS,
        &LOG,
        &STATE_DIR,
        &RUN_DIR,
        &SERVICE_BACKEND,
        &CA_FILE,
        &LISTEN,
        &READ_GROUP,
        &ORDER_GROUP,
        &REALTIME,
    ],
};
