//! `[daemon]` and what is below it.

use super::Kind::{OneOf, Plain};
use super::{Section, defaults, optional};
use crate::config::choice::{Choice, FileOwners, LogFormat, LogLevel, Sandbox, ServiceBackend};

/// `[daemon]`.
pub(crate) static DAEMON: Section = Section {
    header: "[daemon]",
    text: "What concerns the whole process. All of it may be left out.",
    keys: &[
        optional(
            "node-name",
            Plain("string, 1 to 64 bytes"),
            "the host name when the daemon starts",
            "\"node2\"",
            "What hooks are told this node is called. Useful where the host name itself moves with mastership.",
        ),
        defaults(
            "shutdown-timeout",
            Plain("duration, 1s to 1h"),
            "\"30s\"",
            "How long an orderly stop may take: hooks, undoing, and the handover to a peer.",
        ),
        defaults(
            "sandbox",
            OneOf(Sandbox::WORDS),
            "\"required\"",
            "What happens to hooks where this kernel lacks a mandatory part of the sandbox: with `required` they are refused, \
             with `best-effort` they run in what is left of it.",
        ),
        defaults(
            "file-owners",
            OneOf(FileOwners::WORDS),
            "\"required\"",
            "What follows if others than root and the daemon's user could write to the configuration, to a hook, its modules or its test, \
             to a key or a password, or to a directory on the way: with `required` it is refused, with `warn` it is logged.",
        ),
        optional(
            "log",
            Plain("table"),
            "the defaults of `[daemon.log]`",
            "{ level = \"debug\" }",
            "See `[daemon.log]`.",
        ),
        defaults(
            "state-dir",
            Plain("absolute path"),
            "\"/var/lib/carpd\"",
            "What must outlive a reboot: the lasting state of hooks, and what hooks did to files.",
        ),
        defaults(
            "run-dir",
            Plain("absolute path"),
            "\"/run/carpd\"",
            "Locks, the ledger, sockets. A directory that a reboot empties.",
        ),
        defaults(
            "service-backend",
            OneOf(ServiceBackend::WORDS),
            "\"auto\"",
            "Who starts and stops services for hooks. `auto` takes the one that runs this machine. \
             `systemd` never falls back to init scripts.",
        ),
        optional(
            "ca-file",
            Plain("path"),
            "the authorities of the system alone",
            "\"/etc/carpd/ca.pem\"",
            "Certificates of authorities, as PEM, that requests of hooks by `https` believe beside those of the system. It is read for \
             each request: a new content needs no reload.",
        ),
    ],
};

/// `[daemon.log]`.
pub(crate) static LOG: Section = Section {
    header: "[daemon.log]",
    text: "The daemon's own log, on standard error. `--log-level` and `--log-format` win over it.",
    keys: &[
        defaults(
            "level",
            OneOf(LogLevel::WORDS),
            "\"info\"",
            "This and everything more serious is logged.",
        ),
        defaults(
            "format",
            OneOf(LogFormat::WORDS),
            "\"auto\"",
            "`auto` speaks to the journal with fields where standard error is the journal, and writes lines for people elsewhere.",
        ),
    ],
};
