//! Every key of the configuration, with its type, its default and its meaning.
//!
//! The one list: unknown keys are refused by it, and `docs/configuration.md` is made from it.

mod daemon;
mod grant;
mod hook;
mod markdown;
mod trust;
mod vhost;

pub use markdown::markdown;

/// A table of the file.
#[derive(Debug)]
pub struct Section {
    /// How it is written; empty for the top level.
    pub header: &'static str,
    /// What it is for.
    pub text: &'static str,
    /// Its keys, in the order of the documentation.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What holds where it is not written.
    pub presence: Presence,
    /// A value, as TOML.
    pub example: &'static str,
    /// What it is for.
    pub text: &'static str,
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// In words, with its range.
    Plain(&'static str),
    /// One of a few words.
    OneOf(&'static [&'static str]),
    /// A list of some of a few words.
    SomeOf(&'static [&'static str]),
}

/// What holds where a key is not written.
#[derive(Debug, Clone, Copy)]
pub enum Presence {
    /// It must be written.
    Required,
    /// Nothing, which has a meaning of its own.
    Absent(&'static str),
    /// This TOML value.
    Default(&'static str),
}

/// All tables, in the order of the documentation.
pub static SECTIONS: &[&Section] = &[
    &ROOT,
    &daemon::DAEMON,
    &daemon::LOG,
    &trust::TRUST,
    &vhost::VHOST,
    &vhost::ANNOUNCE,
    &hook::HOOK,
    &hook::HEALTH,
    &grant::GRANT,
    &grant::ADDR,
    &grant::ROUTE,
    &grant::RULE,
    &grant::LINK,
    &grant::SERVICE,
    &grant::SYSCTL,
    &grant::FILE,
    &grant::HTTP,
    &grant::COMMAND,
];

pub(super) use daemon::{DAEMON, LOG};
pub(super) use grant::{ADDR, COMMAND, FILE, GRANT, HTTP, LINK, ROUTE, RULE, SERVICE, SYSCTL};
pub(super) use hook::{HEALTH, HOOK};
pub(super) use trust::TRUST;
pub(super) use vhost::{ANNOUNCE, VHOST};

/// The top level.
pub static ROOT: Section = Section {
    header: "",
    text: "The top level has tables only.",
    keys: &[
        table(
            "daemon",
            "its defaults hold",
            "`[daemon]`: the whole process.",
        ),
        table(
            "trust",
            "hooks need no signature",
            "`[trust]`: whose hooks may run.",
        ),
        table(
            "vhost",
            "an error",
            "`[[vhost]]`, once for each virtual host; at least one.",
        ),
        table("hook", "no hooks", "`[hook.NAME]`, once for each hook."),
    ],
};

const fn table(name: &'static str, absent: &'static str, text: &'static str) -> Key {
    Key {
        name,
        kind: Kind::Plain("table"),
        presence: Presence::Absent(absent),
        example: "",
        text,
    }
}

const fn required(
    name: &'static str,
    kind: Kind,
    example: &'static str,
    text: &'static str,
) -> Key {
    Key {
        name,
        kind,
        presence: Presence::Required,
        example,
        text,
    }
}

const fn optional(
    name: &'static str,
    kind: Kind,
    absent: &'static str,
    example: &'static str,
    text: &'static str,
) -> Key {
    Key {
        name,
        kind,
        presence: Presence::Absent(absent),
        example,
        text,
    }
}

const fn defaults(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    text: &'static str,
) -> Key {
    Key {
        name,
        kind,
        presence: Presence::Default(default),
        example: default,
        text,
    }
}
