//! `[daemon]`.

use std::time::Duration;

use super::{Defaulted, Key, Section, defaulted, optional};
use crate::config::choice::{FileOwners, Sandbox, ServiceBackend};
use crate::config::form::{OneOf, Period, TableOf, Text};

pub(in crate::config) static NODE_NAME: Key<Text> = optional(
    "node-name",
    Text {
        what: "string, 1 to 64 bytes",
    },
    "the host name when the daemon starts",
    "\"node2\"",
    "What hooks are told this node is called. Useful where the host name itself moves with mastership.",
);

pub(in crate::config) static SHUTDOWN_TIMEOUT: Defaulted<Period> = defaulted(
    "shutdown-timeout",
    Period {
        min: Duration::from_secs(1),
        max: Duration::from_hours(1),
        also: "",
    },
    || Duration::from_secs(30),
    "How long an orderly stop may take: hooks, undoing, and the handover to a peer.",
);

pub(in crate::config) static SANDBOX: Defaulted<OneOf<Sandbox>> = defaulted(
    "sandbox",
    OneOf::new(),
    || Sandbox::Required,
    "What happens to hooks where this kernel lacks a mandatory part of the sandbox: with `required` they are refused, \
             with `best-effort` they run in what is left of it.",
);

pub(in crate::config) static FILE_OWNERS: Defaulted<OneOf<FileOwners>> = defaulted(
    "file-owners",
    OneOf::new(),
    || FileOwners::Required,
    "What follows if others than root and the daemon's user could write to the configuration, to a hook, its modules or its test, \
             to a key or a password, or to a directory on the way: with `required` it is refused, with `warn` it is logged.",
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
    "What must outlive a reboot: the lasting state of hooks, and what hooks did to files.",
);

pub(in crate::config) static RUN_DIR: Defaulted<Text> = defaulted(
    "run-dir",
    Text {
        what: "absolute path",
    },
    || "/run/carpd",
    "Locks, the ledger, sockets. A directory that a reboot empties.",
);

pub(in crate::config) static SERVICE_BACKEND: Defaulted<OneOf<ServiceBackend>> = defaulted(
    "service-backend",
    OneOf::new(),
    || ServiceBackend::Auto,
    "Who starts and stops services for hooks. `auto` takes the one that runs this machine. \
             `systemd` never falls back to init scripts.",
);

pub(in crate::config) static CA_FILE: Key<Text> = optional(
    "ca-file",
    Text { what: "path" },
    "the authorities of the system alone",
    "\"/etc/carpd/ca.pem\"",
    "Certificates of authorities, as PEM, that requests of hooks by `https` believe beside those of the system. It is read for \
             each request: a new content needs no reload.",
);

/// `[daemon]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[daemon]",
    text: "What concerns the whole process. All of it may be left out.",
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
    ],
};
