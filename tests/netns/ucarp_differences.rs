//! Where carpd under the name ucarp differs from ucarp 1.5.2, on purpose.
//! `docs/coming-from-ucarp.md` has the same table, with the reasons; `it::ucarp` compares the two.
//! Each is shown by at least one case of `it::ucarp` or of `netns ucarp::`.

/// By name, in the order of the documentation.
pub(super) const DIFFERENCES: &[&str] = &[
    "bad-option",
    "option-m",
    "own-options",
    "errors-before-detaching",
    "source-first",
    "loopback",
    "bow-out",
    "end-without-z",
    "usr2-bow-out",
    "exact-timers",
    "advbase-0",
    "scripts-beside",
    "survives-link",
    "prompt-link",
    "no-cable",
    "new-mac",
    "second-start",
    "worse-masters",
    "refusals",
    "odd-packets",
    "hidden-password",
];
