//! The reference as Markdown.

use std::fmt::Write as _;

use super::{Key, Kind, Presence, SECTIONS, Section};

/// The part of `docs/configuration.md` that lists every key.
#[must_use]
pub fn markdown() -> String {
    SECTIONS
        .iter()
        .map(|section| section_text(section))
        .collect()
}

fn section_text(section: &Section) -> String {
    let title = if section.header.is_empty() {
        "Top level".to_owned()
    } else {
        format!("`{}`", section.header)
    };
    let keys: String = section.keys.iter().map(key_text).collect();
    format!("### {title}\n\n{}\n\n{keys}\n", section.text)
}

fn key_text(key: &Key) -> String {
    let mut line = format!("- **`{}`**: ", key.name);
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|w| format!("`\"{w}\"`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match key.kind {
        Kind::Plain(text) => line += text,
        Kind::OneOf(all) => line += &format!("one of {}", words(all)),
        Kind::SomeOf(all) => line += &format!("list of {}", words(all)),
    }
    match key.presence {
        Presence::Required => line += "; **required**",
        Presence::Absent(meaning) => line += &format!("; if absent: {meaning}"),
        Presence::Default(value) => line += &format!("; default `{value}`"),
    }
    // Writing to a string cannot fail.
    let _ = write!(line, ".\n  {}", key.text);
    if !key.example.is_empty() && !matches!(key.presence, Presence::Default(_)) {
        let _ = write!(line, "\n  Example: `{} = {}`", key.name, key.example);
    }
    line + "\n"
}
