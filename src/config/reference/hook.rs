//! `[hook.NAME]`.

use super::Kind::{OneOf, Plain};
use super::{Section, defaults, optional};
use crate::config::choice::{Choice, HookKind, OnFailure, OnUnhealthy, Reload};

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
            "digest",
            Plain("\"sha256:\" and 64 hexadecimal digits"),
            "any version of the file is taken",
            "\"sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\"",
            "Pins the file of `source`: no other bytes are loaded. `sha256sum` prints it, and `carpd plugin add` writes it. A Lua hook \
             that is pinned can only require modules that are signed.",
        ),
        optional(
            "signature",
            Plain("path"),
            "the path of `source` with `.minisig` behind it",
            "\"signatures/failover.minisig\"",
            "The file with the signature of `source`. If this is written the signature is required. See `[trust]`.",
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
        defaults(
            "timeout",
            Plain("duration, 10ms to 1h"),
            "\"10s\"",
            "Wall time of one run, waiting for the host included.",
        ),
        defaults(
            "before-timeout",
            Plain("duration, 10ms to 1m, at most timeout"),
            "\"1s\"",
            "Wall time of `before_master` and `before_backup`, which hold up the takeover.",
        ),
        defaults(
            "cpu",
            Plain("duration, 1ms to 10m"),
            "\"1s\"",
            "Time that the hook's own code may use.",
        ),
        defaults(
            "memory",
            Plain("size, 1MiB to 1GiB"),
            "\"16MiB\"",
            "The hook's heap.",
        ),
        defaults(
            "requests",
            Plain("integer, 1 to 1000000"),
            "1000",
            "How often it may ask something of the host.",
        ),
        defaults(
            "log-bytes",
            Plain("size, 0B to 16MiB"),
            "\"64KiB\"",
            "Text it may log in one run; more is dropped and counted. Over all runs together it may log as much in a minute, and at \
             once as much as 16 runs may.",
        ),
        defaults(
            "state-bytes",
            Plain("size, 0B to 16MiB"),
            "\"256KiB\"",
            "Its lasting state, for each virtual host.",
        ),
        defaults(
            "on-failure",
            OneOf(OnFailure::WORDS),
            "\"resign\"",
            "What follows when `on_master` fails or overruns: hand over to a peer, stay master and retry, or only log it.",
        ),
        optional(
            "health",
            Plain("table"),
            "its defaults hold",
            "{ interval = \"1s\", fall = 2 }",
            "See `[hook.NAME.health]`.",
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
            "Processes that hold this hook, and so its runs at one time: whoever comes later waits, and that takes nothing of the run's \
             own time. Beside them there are up to 2 for `before_backup`, `on_backup` and `on_stop`, and 4 for `health`. All hooks \
             together run 64 at a time, 8 more where they let go, and 32 for `health`.",
        ),
        optional(
            "config",
            Plain("table"),
            "an empty table",
            "{ gateway = \"192.168.32.254\" }",
            "Anything; the hook reads it as `config`. Dates become strings.",
        ),
        optional(
            "grant",
            Plain("table"),
            "nothing is granted",
            "{ read = true }",
            "See `[hook.NAME.grant]`.",
        ),
    ],
};

/// `[hook.NAME.health]`.
pub(crate) static HEALTH: Section = Section {
    header: "[hook.NAME.health]",
    text: "How the hook's `health` is asked, if it has one: on each virtual host that names the hook, master or not, beside all \
           other runs; not while the hooks of a transition run. The first answer counts at once.",
    keys: &[
        defaults(
            "interval",
            Plain("duration, 100ms to 1h"),
            "\"2s\"",
            "From the begin of one check to that of the next.",
        ),
        defaults(
            "timeout",
            Plain("duration, 10ms to 1h, at most interval"),
            "\"1s\"",
            "Wall time of one check; longer is a failure.",
        ),
        defaults(
            "rise",
            Plain("integer, 1 to 100"),
            "2",
            "So many good checks in a row and the node is well again. A node that fell again within 10 minutes needs twice as many, \
             then four times, up to 32 times.",
        ),
        defaults(
            "fall",
            Plain("integer, 1 to 100"),
            "3",
            "So many failed checks in a row and the node is unwell.",
        ),
        defaults(
            "demotion",
            Plain("integer, 1 to 240"),
            "240",
            "How unfit a node is then: added to its `advskew`, which ends at 240. Where `health` gives a demotion between 1 and 239, \
             that one counts.",
        ),
        defaults(
            "on-failure",
            OneOf(OnUnhealthy::WORDS),
            "\"resign\"",
            "What a master does besides: hand over to a peer, or wait for one that has `preempt`. If no peer takes over, it is master \
             again.",
        ),
    ],
};
