//! `[hook.NAME]`.

use super::Kind::{OneOf, Plain};
use super::{Section, defaults, optional};
use crate::config::choice::{Choice, HookKind, OnFailure, Reload};

/// `[hook.NAME]`.
pub(crate) static HOOK: Section = Section {
    header: "[hook.NAME]",
    text: "A script or component that runs on transitions. NAME is what `hooks` of a virtual host refers to. \
           The limits hold for one run.",
    keys: &[
        defaults(
            "kind",
            OneOf(HookKind::WORDS),
            "\"module\"",
            "`module`: the file of `source`, in a sandbox. `script`: the programs of `up` and `down`, outside of any sandbox, \
             called as ucarp calls them, with interface, address and `xparam`, and with the event in `CARPD_` variables.",
        ),
        optional(
            "source",
            Plain("path ending in .lua, .luau or .wasm"),
            "must be given with kind `module`",
            "\"hooks/failover.lua\"",
            "The script (Luau) or the WebAssembly component. A relative path starts at the directory of this file.",
        ),
        optional(
            "up",
            Plain("absolute path"),
            "nothing runs",
            "\"/etc/vip-up.sh\"",
            "With kind `script`: runs on becoming master.",
        ),
        optional(
            "down",
            Plain("absolute path"),
            "nothing runs",
            "\"/etc/vip-down.sh\"",
            "With kind `script`: runs on becoming backup, and at start.",
        ),
        defaults("timeout", Plain("duration, 10ms to 1h"), "\"10s\"", "Wall time of one run, waiting for the host included."),
        defaults(
            "before-timeout",
            Plain("duration, 10ms to 1m, at most timeout"),
            "\"1s\"",
            "Wall time of `before_master` and `before_backup`, which hold up the takeover.",
        ),
        defaults("cpu", Plain("duration, 1ms to 10m"), "\"1s\"", "Time that the hook's own code may use."),
        defaults("memory", Plain("size, 1MiB to 1GiB"), "\"16MiB\"", "The hook's heap."),
        defaults("requests", Plain("integer, 1 to 1000000"), "1000", "How often it may ask something of the host."),
        defaults("log-bytes", Plain("size, 0B to 16MiB"), "\"64KiB\"", "Text it may log; more is dropped and counted."),
        defaults("state-bytes", Plain("size, 0B to 16MiB"), "\"256KiB\"", "Its lasting state, for each virtual host."),
        defaults(
            "on-failure",
            OneOf(OnFailure::WORDS),
            "\"resign\"",
            "What follows when `on_master` fails or overruns: hand over to a peer, stay master and retry, or only log it.",
        ),
        defaults(
            "reload",
            OneOf(Reload::WORDS),
            "\"checked\"",
            "When a changed file is taken into use: as soon as it loads without a fault; as soon as it also passes the test \
             beside it (`failover_test.lua` for `failover.lua`), if there is one; or when `carpd reload` or SIGHUP says so. \
             Until then, and whenever it has a fault, the version before serves on.",
        ),
        optional(
            "runners",
            Plain("integer, 1 to 64"),
            "one for each virtual host that names the hook, at most 8",
            "2",
            "Processes that hold this hook. Each runs one call at a time.",
        ),
        optional(
            "config",
            Plain("table"),
            "an empty table",
            "{ gateway = \"192.168.32.254\" }",
            "Anything; the hook reads it as `config`. Dates become strings.",
        ),
        optional("grant", Plain("table"), "nothing is granted", "{ read = true }", "See `[hook.NAME.grant]`."),
    ],
};
