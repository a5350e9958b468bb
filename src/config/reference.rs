//! Every key of the configuration: its form, its default and its meaning, in one place.
//!
//! A key is read through its entry here; unknown keys are refused by this list, and the defaults,
//! `docs/configuration.md` and the JSON Schema are made from it.

mod markdown;
mod schema;

pub(super) mod announce;
pub(super) mod daemon;
pub(super) mod damping;
pub(super) mod grant;
pub(super) mod group;
pub(super) mod health;
pub(super) mod hook;
pub(super) mod log;
pub(super) mod notify;
pub(super) mod track;
pub(super) mod trust;
pub(super) mod vhost;

use std::ops::Deref;

use serde_json::Value as Json;

pub use markdown::markdown;
pub use schema::schema;

use super::form::{Form, Named, TableOf, TablesOf, Written};

/// A table of the file.
pub struct Section {
    /// How it is written; empty for the top level.
    pub header: &'static str,
    /// What it is for.
    pub text: &'static str,
    /// Its keys, in the order of the documentation.
    pub keys: &'static [&'static dyn Entry],
}

impl std::fmt::Debug for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Section").field(&self.header).finish()
    }
}

impl Section {
    /// Its entry for the key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&'static dyn Entry> {
        self.keys.iter().find(|key| key.name() == name).copied()
    }
}

/// What is to be said of a key, whatever its value is.
pub trait Entry: Sync {
    /// As it is written.
    fn name(&self) -> &'static str;
    /// What its value is, in words, with its range.
    fn words(&self) -> String;
    /// What holds where it is not written.
    fn presence(&self) -> Presence;
    /// A value, as TOML; empty if it is a table that is written by its header.
    fn example(&self) -> String;
    /// What it is for.
    fn text(&self) -> &'static str;
    /// What its value is, as JSON Schema.
    fn schema(&self) -> Json;
}

/// What holds where a key is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It must be written.
    Required,
    /// Nothing, which has a meaning of its own.
    Absent(&'static str),
    /// This TOML value.
    Default(String),
}

/// A key without a default.
pub(super) struct Key<F> {
    pub(super) name: &'static str,
    pub(super) form: F,
    /// What it means that the key is not there; `None` if it must be.
    absent: Option<&'static str>,
    example: &'static str,
    text: &'static str,
}

impl<F: Form> Entry for Key<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn words(&self) -> String {
        self.form.words()
    }

    fn presence(&self) -> Presence {
        self.absent.map_or(Presence::Required, Presence::Absent)
    }

    fn example(&self) -> String {
        self.example.to_owned()
    }

    fn text(&self) -> &'static str {
        self.text
    }

    fn schema(&self) -> Json {
        self.form.schema()
    }
}

/// A key with a default.
pub(super) struct Defaulted<F: Form> {
    key: Key<F>,
    default: fn() -> F::Out<'static>,
}

impl<F: Form> Defaulted<F> {
    /// What holds where the key is not written.
    pub(super) fn default(&self) -> F::Out<'static> {
        (self.default)()
    }
}

/// To read it as any other key, and see whether it was written.
impl<F: Form> Deref for Defaulted<F> {
    type Target = Key<F>;

    fn deref(&self) -> &Key<F> {
        &self.key
    }
}

impl<F: Written> Entry for Defaulted<F> {
    fn name(&self) -> &'static str {
        self.key.name
    }

    fn words(&self) -> String {
        self.key.words()
    }

    fn presence(&self) -> Presence {
        Presence::Default(self.example())
    }

    fn example(&self) -> String {
        self.form.toml(&self.default())
    }

    fn text(&self) -> &'static str {
        self.key.text
    }

    fn schema(&self) -> Json {
        self.key.schema()
    }
}

/// All tables, in the order of the documentation.
pub static SECTIONS: &[&Section] = &[
    &ROOT,
    &daemon::SECTION,
    &log::SECTION,
    &trust::SECTION,
    &vhost::SECTION,
    &announce::SECTION,
    &damping::SECTION,
    &track::SECTION,
    &group::SECTION,
    &notify::SECTION,
    &hook::SECTION,
    &health::SECTION,
    &grant::SECTION,
    &grant::addr::SECTION,
    &grant::route::SECTION,
    &grant::rule::SECTION,
    &grant::link::SECTION,
    &grant::service::SECTION,
    &grant::sysctl::SECTION,
    &grant::file::SECTION,
    &grant::http::SECTION,
    &grant::command::SECTION,
];

pub(super) static DAEMON: Key<TableOf> = optional(
    "daemon",
    TableOf(&daemon::SECTION),
    "the defaults apply",
    "",
    "`[daemon]`: settings for the whole process.",
);

pub(super) static TRUST: Key<TableOf> = optional(
    "trust",
    TableOf(&trust::SECTION),
    "hooks need no signature",
    "",
    "`[trust]`: whose hooks may run.",
);

pub(super) static VHOST: Key<TablesOf> = required(
    "vhost",
    TablesOf(&vhost::SECTION),
    "",
    "`[[vhost]]`, once for each virtual host; at least one.",
);

pub(super) static TRACK: Key<Named> = optional(
    "track",
    Named {
        each: &track::SECTION,
        written: "[track.NAME]",
    },
    "nothing is tracked",
    "",
    "`[track.NAME]`, once for each track.",
);

pub(super) static HOOK: Key<Named> = optional(
    "hook",
    Named {
        each: &hook::SECTION,
        written: "[hook.NAME]",
    },
    "no hooks",
    "",
    "`[hook.NAME]`, once for each hook.",
);

pub(super) static GROUP: Key<Named> = optional(
    "group",
    Named {
        each: &group::SECTION,
        written: "[group.NAME]",
    },
    "each virtual host is master by itself",
    "",
    "`[group.NAME]`, once for each group of virtual hosts.",
);

pub(super) static NOTIFY: Key<Named> = optional(
    "notify",
    Named {
        each: &notify::SECTION,
        written: "[notify.NAME]",
    },
    "nobody is told",
    "",
    "`[notify.NAME]`, once for each target of notifications.",
);

/// The top level.
pub static ROOT: Section = Section {
    header: "",
    text: "The top level contains only tables.",
    keys: &[&DAEMON, &TRUST, &VHOST, &TRACK, &GROUP, &NOTIFY, &HOOK],
};

const fn required<F>(
    name: &'static str,
    form: F,
    example: &'static str,
    text: &'static str,
) -> Key<F> {
    Key {
        name,
        form,
        absent: None,
        example,
        text,
    }
}

const fn optional<F>(
    name: &'static str,
    form: F,
    absent: &'static str,
    example: &'static str,
    text: &'static str,
) -> Key<F> {
    Key {
        name,
        form,
        absent: Some(absent),
        example,
        text,
    }
}

const fn defaulted<F: Form>(
    name: &'static str,
    form: F,
    default: fn() -> F::Out<'static>,
    text: &'static str,
) -> Defaulted<F> {
    Defaulted {
        key: optional(name, form, "", "", text),
        default,
    }
}
