//! The page of the configuration, carpd.toml.5, made from the list of its keys.

use super::roff::{escape, marked, verbatim};
use crate::cli::CONFIG;
use crate::config::reference::{Entry, Presence, SECTIONS, Section};

pub(super) fn page() -> String {
    let tables: String = SECTIONS.iter().map(|section| table(section)).collect();
    format!(
        ".TH carpd.toml 5 \"\" \"carpd {}\" \"File formats\"\n\
         .SH NAME\ncarpd.toml \\- the configuration of carpd\n\
         .SH SYNOPSIS\n{}\n\
         .SH DESCRIPTION\n\
         A file in TOML. It names the virtual hosts of this machine, the hooks that run when they become\nmaster or backup, and \
         what these hooks may do. A key that is not listed here is refused.\nPaths in it are relative to its directory.\n\
         .PP\ncarpd\\-check(1) reports everything that is wrong with it. carpd\\-reload(1) takes it into use.\n\
         {tables}.SH EXAMPLE\n{}.SH \"SEE ALSO\"\ncarpd(1), carpd\\-check(1), carpd\\-reload(1)\n",
        env!("CARGO_PKG_VERSION"),
        escape(CONFIG),
        verbatim(EXAMPLE.lines()),
    )
}

fn table(section: &Section) -> String {
    let title = if section.header.is_empty() {
        "TOP LEVEL"
    } else {
        section.header
    };
    let keys: String = section.keys.iter().map(|entry| key(*entry)).collect();
    format!(
        ".SH \"{}\"\n{}\n{keys}",
        escape(title),
        marked(section.text)
    )
}

fn key(key: &dyn Entry) -> String {
    let presence = match key.presence() {
        Presence::Required => "required".to_owned(),
        Presence::Absent(meaning) => format!("if absent: {meaning}"),
        Presence::Default(value) => format!("default `{value}`"),
    };
    let example = key.example();
    let example = if example.is_empty() || matches!(key.presence(), Presence::Default(_)) {
        String::new()
    } else {
        format!(
            ".br\nExample: \\fB{}\\fR\n",
            escape(&format!("{} = {example}", key.name()))
        )
    };
    format!(
        ".TP\n\\fB{}\\fR\n{}; {}.\n.br\n{}\n{example}",
        escape(key.name()),
        marked(&key.words()),
        marked(&presence),
        marked(key.text()),
    )
}

const EXAMPLE: &str = include_str!("../../../../examples/carpd.toml");
