//! The reference as Markdown.

use std::fmt::Write as _;

use super::{Entry, Presence, SECTIONS, Section};

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
    let keys: String = section.keys.iter().map(|key| key_text(*key)).collect();
    format!("### {title}\n\n{}\n\n{keys}\n", section.text)
}

fn key_text(key: &dyn Entry) -> String {
    let mut line = format!("- **`{}`**: {}", key.name(), key.words());
    let presence = key.presence();
    match &presence {
        Presence::Required => line += "; **required**",
        Presence::Absent(meaning) => line += &format!("; if absent: {meaning}"),
        Presence::Default(value) => line += &format!("; default `{value}`"),
    }
    // Writing to a string cannot fail.
    let _ = write!(line, ".\n  {}", key.text());
    let example = key.example();
    if !example.is_empty() && !matches!(presence, Presence::Default(_)) {
        let _ = write!(line, "\n  Example: `{} = {example}`", key.name());
    }
    line + "\n"
}
