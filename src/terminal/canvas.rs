//! Text for a person, some of whose words are coloured.

use std::fmt::Display;
use std::io::{IsTerminal as _, stdout};

use clap::ColorChoice;

use crate::telemetry;
use crate::types::{Page, shown};

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tone {
    /// Nothing.
    Plain,
    /// Headings, and what is there but matters little.
    Quiet,
    /// All is well, and this is where it happens.
    Good,
    /// It works, but not as it should.
    Warning,
    /// It does not work.
    Bad,
}

impl Tone {
    /// The parameters of the terminal's "select graphic rendition".
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Quiet => Some("2"),
            Self::Good => Some("32"),
            Self::Warning => Some("33"),
            Self::Bad => Some("1;31"),
        }
    }
}

/// What standard output can show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// Whether it is a terminal.
    pub(crate) is_terminal: bool,
    /// In columns; `None`: there is no limit.
    pub(crate) width: Option<usize>,
    /// Whether colours are wanted.
    pub(crate) colour: bool,
}

impl Screen {
    /// The present one, with what `--color` says.
    pub(crate) fn of(choice: ColorChoice) -> Self {
        let out = stdout();
        Self {
            is_terminal: out.is_terminal(),
            width: terminal_size::terminal_size_of(&out).map(|(width, _)| width.0.into()),
            colour: match choice {
                ColorChoice::Auto => telemetry::colour(&out),
                ColorChoice::Always => true,
                ColorChoice::Never => false,
            },
        }
    }
}

/// Lines with coloured words. Like a [`Page`], it shows words of others escaped: only its own
/// colours reach the terminal.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    text: String,
    colour: bool,
}

impl Canvas {
    /// An empty one.
    pub(crate) const fn new(colour: bool) -> Self {
        Self {
            text: String::new(),
            colour,
        }
    }

    /// Adds words to the line.
    pub(crate) fn words(&mut self, tone: Tone, words: impl Display) {
        let words = shown(words);
        match tone.code() {
            Some(code) if self.colour => {
                self.text.push_str("\u{1b}[");
                self.text.push_str(code);
                self.text.push('m');
                self.text.push_str(&words);
                self.text.push_str("\u{1b}[0m");
            }
            _ => self.text.push_str(&words),
        }
    }

    /// Ends the line.
    pub(crate) fn end_line(&mut self) {
        self.text.push('\n');
    }

    /// Adds all lines of a page.
    pub(crate) fn page(&mut self, page: &Page) {
        self.text.push_str(page.as_str());
    }

    /// Adds a heading and a line below it.
    pub(crate) fn note(&mut self, heading: &str, words: &str) {
        let mut page = Page::default();
        writeln!(page, "{heading}");
        writeln!(page, "  {words}");
        self.page(&page);
    }

    /// Adds all lines of another one.
    pub(crate) fn append(&mut self, other: &Self) {
        self.text.push_str(&other.text);
    }

    /// All of it, as it goes to the terminal.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_colours_reach_the_terminal() {
        for (colour, expected) in [
            (true, "\u{1b}[1;31m\\u{1b}[2J\\n\u{1b}[0m\n"),
            (false, "\\u{1b}[2J\\n\n"),
        ] {
            let mut canvas = Canvas::new(colour);
            canvas.words(Tone::Bad, "\u{1b}[2J\n");
            canvas.end_line();
            assert_eq!(canvas.as_str(), expected);
        }
    }
}
