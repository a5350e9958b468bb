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
    "`module`: the file in `source`, run in a sandbox. `script`: the programs in `up` and `down`, run outside any sandbox and called as ucarp calls them, with interface, address and `xparam` as arguments, and with the event in `CARPD_` variables.",
);

pub(in crate::config) static SOURCE: Key<Text> = optional(
    "source",
    Text {
        what: "path ending in .lua, .luau or .wasm",
    },
    "must be given with kind `module`",
    "\"hooks/failover.lua\"",
    "The script (Luau) or the WebAssembly component. A relative path is relative to the directory of this file.",
);

pub(in crate::config) static DIGEST: Key<Parsed<Digest>> = optional(
    "digest",
    Parsed::new("\"sha256:\" and 64 hexadecimal digits"),
    "any version of the file is accepted",
    "\"sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\"",
    "Pins the file in `source`: nothing else is loaded. `sha256sum` prints the digest, and `carpd plugin add` writes it. A pinned Lua hook can only require modules that are signed.",
);

pub(in crate::config) static SIGNATURE: Key<Text> = optional(
    "signature",
    Text { what: "path" },
    "the path of `source` with `.minisig` appended",
    "\"signatures/failover.minisig\"",
    "The file with the signature of `source`. If this key is set, the signature is required. See `[trust]`.",
);

pub(in crate::config) static UP: Key<Text> = optional(
    "up",
    Text {
        what: "absolute path",
    },
    "nothing runs",
    "\"/etc/vip-up.sh\"",
    "With kind `script`: the program to run on becoming master.",
);

pub(in crate::config) static DOWN: Key<Text> = optional(
    "down",
    Text {
        what: "absolute path",
    },
    "nothing runs",
    "\"/etc/vip-down.sh\"",
    "With kind `script`: the program to run on becoming backup, and at start.",
);

pub(in crate::config) static TIMEOUT: Defaulted<Period> = defaulted(
    "timeout",
    Period {
        min: Duration::from_millis(10),
        max: Duration::from_hours(1),
        also: "",
    },
    || Duration::from_secs(10),
    "The time limit for one run, including waiting for the host.",
);

pub(in crate::config) static BEFORE_TIMEOUT: Defaulted<Period> = defaulted(
    "before-timeout",
    Period {
        min: Duration::from_millis(10),
        max: Duration::from_mins(1),
        also: "at most timeout",
    },
    || Duration::from_secs(1),
    "The time limit for `before_master` and `before_backup`, which delay the takeover.",
);

pub(in crate::config) static CPU: Defaulted<Period> = defaulted(
    "cpu",
    Period {
        min: Duration::from_millis(1),
        max: Duration::from_mins(10),
        also: "",
    },
    || Duration::from_secs(1),
    "The CPU time that the hook's own code may use.",
);

pub(in crate::config) static MEMORY: Defaulted<Size<u64>> = defaulted(
    "memory",
    Size {
        min: 1 << 20,
        max: 1 << 30,
    },
    || 16 << 20,
    "The maximum size of the hook's heap.",
);

pub(in crate::config) static REQUESTS: Defaulted<Integer<u32>> = defaulted(
    "requests",
    Integer {
        min: 1,
        max: 1_000_000,
    },
    || 1000,
    "How many calls to the host it may make.",
);

pub(in crate::config) static LOG_BYTES: Defaulted<Size<u32>> = defaulted(
    "log-bytes",
    Size {
        min: 0,
        max: 16 << 20,
    },
    || 64 << 10,
    "How much text it may log in one run; more is dropped and counted. All runs together may log this much per minute, with bursts of up to 16 times as much.",
);

pub(in crate::config) static STATE_BYTES: Defaulted<Size<u32>> = defaulted(
    "state-bytes",
    Size {
        min: 0,
        max: 16 << 20,
    },
    || 256 << 10,
    "The maximum size of its persistent state, for each virtual host.",
);

pub(in crate::config) static ON_FAILURE: Defaulted<OneOf<OnFailure>> = defaulted(
    "on-failure",
    OneOf::new(),
    || OnFailure::Resign,
    "What happens if `on_master` fails or times out: hand over to a peer, stay master and retry, or only log it.",
);

pub(in crate::config) static HEALTH: Key<TableOf> = optional(
    "health",
    TableOf(&super::health::SECTION),
    "the defaults apply",
    "{ interval = \"1s\", fall = 2 }",
    "See `[hook.NAME.health]`.",
);

pub(in crate::config) static RELOAD: Defaulted<OneOf<Reload>> = defaulted(
    "reload",
    OneOf::new(),
    || Reload::Checked,
    "When a changed file becomes active: as soon as it loads without an error; as soon as it also passes the test next to it (`failover_test.lua` for `failover.lua`), if there is one; or only on `carpd reload` or SIGHUP. Until then, and if there is an error, the previous version stays active.",
);

pub(in crate::config) static RUNNERS: Key<Integer<u16>> = optional(
    "runners",
    Integer { min: 1, max: 64 },
    "one for each virtual host that uses the hook, at most 8",
    "2",
    "The number of processes that hold this hook, and so of its simultaneous runs. Further runs wait, which does not count against their time limit. In addition there are up to 2 processes for `before_backup`, `on_backup` and `on_stop`, and 4 for `health`. All hooks together have at most 64 runs at a time, plus 8 for giving up mastership and 32 for `health`.",
);

pub(in crate::config) static CONFIG: Key<Anything> = optional(
    "config",
    Anything,
    "an empty table",
    "{ gateway = \"192.168.32.254\" }",
    "Arbitrary settings, which the hook reads as `config`. Dates become strings.",
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
    text: "A script or component that runs on transitions. `hooks` of a virtual host refers to it by NAME. The limits apply to each run.",
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
