//! Words of others, as a person gets to see them.
//!
//! What hooks, plugins, registries, packets and files say is shown to people who decide by it. It
//! must not look like words of ours: [`shown`] keeps it on one line, takes from it what a terminal
//! would obey and what nobody would see, and cuts it.

use std::fmt::{self, Write as _};

/// What is shown of words that have no limit of their own, in characters.
const WORDS_MAX: usize = 2_000;
/// The longest line of a [`Page`], in characters.
const LINE_MAX: usize = 8_000;

/// Words of others on one line, escaped and bounded.
#[must_use]
pub fn shown(words: impl fmt::Display) -> String {
    shown_within(words, WORDS_MAX)
}

/// The same, with a limit in characters.
#[must_use]
pub fn shown_within(words: impl fmt::Display, max: usize) -> String {
    let mut plain = Plain {
        text: String::new(),
        room: max,
        cut: 0,
    };
    // A display that fails leaves what it has written.
    _ = write!(plain, "{words}");
    if plain.cut > 0 {
        _ = write!(plain.text, "... ({} more characters)", plain.cut);
    }
    plain.text
}

/// Is this a character that a terminal obeys, that changes the order of what stands around it, or
/// that nobody sees?
#[must_use]
pub fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{fffe}'..='\u{ffff}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Writes what is harmless as it is and the rest escaped, while there is room.
struct Plain {
    text: String,
    room: usize,
    /// How many characters did not fit.
    cut: usize,
}

impl fmt::Write for Plain {
    fn write_str(&mut self, words: &str) -> fmt::Result {
        for c in words.chars() {
            if self.room == 0 {
                self.cut += 1;
                continue;
            }
            self.room -= 1;
            if is_treacherous(c) {
                self.text.extend(c.escape_default());
            } else {
                self.text.push(c);
            }
        }
        Ok(())
    }
}

/// Text for a person, line by line. What one `writeln!` writes is one line, whatever the words in
/// it: nobody whose words are shown can begin a line that looks like one of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page(String);

impl Page {
    /// Adds a line; `writeln!` and `write!` come here, and both end the line.
    pub fn write_fmt(&mut self, line: fmt::Arguments<'_>) {
        let text = line.to_string();
        self.0.push_str(&shown_within(
            text.strip_suffix('\n').unwrap_or(&text),
            LINE_MAX,
        ));
        self.0.push('\n');
    }

    /// Adds all lines of another page.
    pub fn append(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// JSON with the same characters escaped, as JSON does it: it says the same, and a terminal obeys
/// none of it.
///
/// In well-formed JSON they stand nowhere but in strings. Line feeds between its parts stay.
#[must_use]
pub fn plain_json(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_treacherous(c) {
            c.encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| _ = write!(plain, "\\u{unit:04x}"));
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str =
        "ok\n  ~ forged\r\u{1b}[2J\u{9b}31m\u{202e}txt\u{2066}\u{200b}\u{2028}\t\u{e0041}end";

    fn is_harmless(text: &str) -> bool {
        !text.chars().any(is_treacherous)
    }

    #[test]
    fn words_of_others_are_one_harmless_line() {
        let text = shown(EVIL);
        assert_eq!(
            text,
            "ok\\n  ~ forged\\r\\u{1b}[2J\\u{9b}31m\\u{202e}txt\\u{2066}\\u{200b}\\u{2028}\\t\\u{e0041}end"
        );
        assert!(is_harmless(&text));
        assert_eq!(
            shown("Größe → 10 µs, \\n stays"),
            "Größe → 10 µs, \\n stays"
        );
    }

    #[test]
    fn they_are_bounded_and_say_so() {
        assert_eq!(shown_within("abcdef", 4), "abcd... (2 more characters)");
        assert!(shown("x".repeat(1 << 20)).len() < 3_000);
    }

    #[test]
    fn each_writeln_to_a_page_is_one_line() {
        let mut page = Page::default();
        writeln!(page, "{:<12}| {EVIL}", "evil");
        writeln!(page);
        write!(page, "end");
        assert_eq!(page.as_str().lines().count(), 3, "{page}");
        assert!(page.as_str().lines().all(is_harmless));
        assert!(page.as_str().starts_with("evil        | ok\\n"));
    }

    #[test]
    fn json_says_the_same_without_what_a_terminal_obeys() {
        let json = serde_json::to_string_pretty(&serde_json::json!({ "a": EVIL })).unwrap();
        let plain = plain_json(&json);
        assert!(plain.lines().all(is_harmless), "{plain}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&plain).unwrap()["a"],
            EVIL
        );
    }
}
