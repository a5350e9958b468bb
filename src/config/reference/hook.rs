//! `[hook.NAME]`.

use std::time::Duration;

use super::{Defaulted, Key, Section, defaulted, optional};
use crate::config::choice::{HookKind, OnFailure, Reload};
use crate::config::form::{Anything, Integer, OneOf, Parsed, Period, Size, TableOf, Text};
use crate::trust::Digest;

pub(in crate::config) static KIND: Defaulted<OneOf<HookKind>> = defaulted(
    "kind",
    OneOf::new(),
    || HookKind::Module,
    "`module`: the file of `source`, in a sandbox. `script`: the programs of `up` and `down`, outside of any sandbox, \
             called as ucarp calls them, with interface, address and `xparam`, and with the event in `CARPD_` variables.",
);

pub(in crate::config) static SOURCE: Key<Text> = optional(
    "source",
    Text {
        what: "path ending in .lua, .luau or .wasm",
    },
    "must be given with kind `module`",
    "\"hooks/failover.lua\"",
    "The script (Luau) or the WebAssembly component. A relative path starts at the directory of this file.",
);

pub(in crate::config) static DIGEST: Key<Parsed<Digest>> = optional(
    "digest",
    Parsed::new("\"sha256:\" and 64 hexadecimal digits"),
    "any version of the file is taken",
    "\"sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\"",
    "Pins the file of `source`: no other bytes are loaded. `sha256sum` prints it, and `carpd plugin add` writes it. A Lua hook \
             that is pinned can only require modules that are signed.",
);

pub(in crate::config) static SIGNATURE: Key<Text> = optional(
    "signature",
    Text { what: "path" },
    "the path of `source` with `.minisig` behind it",
    "\"signatures/failover.minisig\"",
    "The file with the signature of `source`. If this is written the signature is required. See `[trust]`.",
);

pub(in crate::config) static UP: Key<Text> = optional(
    "up",
    Text {
        what: "absolute path",
    },
    "nothing runs",
    "\"/etc/vip-up.sh\"",
    "With kind `script`: runs on becoming master.",
);

pub(in crate::config) static DOWN: Key<Text> = optional(
    "down",
    Text {
        what: "absolute path",
    },
    "nothing runs",
    "\"/etc/vip-down.sh\"",
    "With kind `script`: runs on becoming backup, and at start.",
);

pub(in crate::config) static TIMEOUT: Defaulted<Period> = defaulted(
    "timeout",
    Period {
        min: Duration::from_millis(10),
        max: Duration::from_hours(1),
        also: "",
    },
    || Duration::from_secs(10),
    "Wall time of one run, waiting for the host included.",
);

pub(in crate::config) static BEFORE_TIMEOUT: Defaulted<Period> = defaulted(
    "before-timeout",
    Period {
        min: Duration::from_millis(10),
        max: Duration::from_mins(1),
        also: "at most timeout",
    },
    || Duration::from_secs(1),
    "Wall time of `before_master` and `before_backup`, which hold up the takeover.",
);

pub(in crate::config) static CPU: Defaulted<Period> = defaulted(
    "cpu",
    Period {
        min: Duration::from_millis(1),
        max: Duration::from_mins(10),
        also: "",
    },
    || Duration::from_secs(1),
    "Time that the hook's own code may use.",
);

pub(in crate::config) static MEMORY: Defaulted<Size<u64>> = defaulted(
    "memory",
    Size {
        min: 1 << 20,
        max: 1 << 30,
    },
    || 16 << 20,
    "The hook's heap.",
);

pub(in crate::config) static REQUESTS: Defaulted<Integer<u32>> = defaulted(
    "requests",
    Integer {
        min: 1,
        max: 1_000_000,
    },
    || 1000,
    "How often it may ask something of the host.",
);

pub(in crate::config) static LOG_BYTES: Defaulted<Size<u32>> = defaulted(
    "log-bytes",
    Size {
        min: 0,
        max: 16 << 20,
    },
    || 64 << 10,
    "Text it may log in one run; more is dropped and counted. Over all runs together it may log as much in a minute, and at \
             once as much as 16 runs may.",
);

pub(in crate::config) static STATE_BYTES: Defaulted<Size<u32>> = defaulted(
    "state-bytes",
    Size {
        min: 0,
        max: 16 << 20,
    },
    || 256 << 10,
    "Its lasting state, for each virtual host.",
);

pub(in crate::config) static ON_FAILURE: Defaulted<OneOf<OnFailure>> = defaulted(
    "on-failure",
    OneOf::new(),
    || OnFailure::Resign,
    "What follows when `on_master` fails or overruns: hand over to a peer, stay master and retry, or only log it.",
);

pub(in crate::config) static HEALTH: Key<TableOf> = optional(
    "health",
    TableOf(&super::health::SECTION),
    "its defaults hold",
    "{ interval = \"1s\", fall = 2 }",
    "See `[hook.NAME.health]`.",
);

pub(in crate::config) static RELOAD: Defaulted<OneOf<Reload>> = defaulted(
    "reload",
    OneOf::new(),
    || Reload::Checked,
    "When a changed file is taken into use: as soon as it loads without a fault; as soon as it also passes the test \
             beside it (`failover_test.lua` for `failover.lua`), if there is one; or when `carpd reload` or SIGHUP says so. \
             Until then, and whenever it has a fault, the version before serves on.",
);

pub(in crate::config) static RUNNERS: Key<Integer<u16>> = optional(
    "runners",
    Integer { min: 1, max: 64 },
    "one for each virtual host that names the hook, at most 8",
    "2",
    "Processes that hold this hook, and so its runs at one time: whoever comes later waits, and that takes nothing of the run's \
             own time. Beside them there are up to 2 for `before_backup`, `on_backup` and `on_stop`, and 4 for `health`. All hooks \
             together run 64 at a time, 8 more where they let go, and 32 for `health`.",
);

pub(in crate::config) static CONFIG: Key<Anything> = optional(
    "config",
    Anything,
    "an empty table",
    "{ gateway = \"192.168.32.254\" }",
    "Anything; the hook reads it as `config`. Dates become strings.",
);

pub(in crate::config) static GRANT: Key<TableOf> = optional(
    "grant",
    TableOf(&super::grant::SECTION),
    "nothing is granted",
    "{ read = true }",
    "See `[hook.NAME.grant]`.",
);

/// `[hook.NAME]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[hook.NAME]",
    text: "A script or component that runs on transitions. NAME is what `hooks` of a virtual host refers to. \
           The limits hold for one run.",
    keys: &[
        &KIND,
        &SOURCE,
        &DIGEST,
        &SIGNATURE,
        &UP,
        &DOWN,
        &TIMEOUT,
        &BEFORE_TIMEOUT,
        &CPU,
        &MEMORY,
        &REQUESTS,
        &LOG_BYTES,
        &STATE_BYTES,
        &ON_FAILURE,
        &HEALTH,
        &RELOAD,
        &RUNNERS,
        &CONFIG,
        &GRANT,
    ],
};
