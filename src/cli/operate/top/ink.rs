//! Words and marks as they look on the screen. Words of others are escaped here, and nowhere else.

use std::fmt::Display;

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

use crate::engine::report::Beat;
use crate::terminal::Tone;
use crate::types::shown;

/// What each mark of a strip means, for a person who asks.
pub(super) const LEGEND: [(Beat, &str); 4] = [
    (Beat::Heard, "heard"),
    (Beat::Sent, "sent by this node"),
    (Beat::HeardLate, "late"),
    (Beat::Missing, "missing"),
];

/// With or without colours. What is said by a colour is said by a mark or a word as well.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ink {
    colour: bool,
}

impl Ink {
    pub(super) const fn new(colour: bool) -> Self {
        Self { colour }
    }

    fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        let colour = |colour| if self.colour { style.fg(colour) } else { style };
        match tone {
            Tone::Plain => style,
            Tone::Quiet => style.add_modifier(Modifier::DIM),
            Tone::Good => colour(Color::Green),
            Tone::Warning => colour(Color::Yellow),
            Tone::Bad => colour(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    /// Words, escaped.
    pub(super) fn words(self, tone: Tone, words: impl Display) -> Span<'static> {
        Span::styled(shown(words), self.style(tone))
    }

    /// A line of words.
    pub(super) fn line(self, tone: Tone, words: impl Display) -> Line<'static> {
        Line::from(self.words(tone, words))
    }

    /// One interval of a strip.
    pub(super) fn beat(self, beat: Beat) -> Span<'static> {
        let (tone, mark) = match beat {
            Beat::Heard => (Tone::Good, "■"),
            Beat::Sent => (Tone::Good, "▲"),
            Beat::HeardLate | Beat::SentLate => (Tone::Warning, "~"),
            Beat::Missing | Beat::NotSent => (Tone::Bad, "x"),
        };
        Span::styled(mark, self.style(tone))
    }

    /// The newest intervals, as many as there is room for. The newest is at the right end.
    pub(super) fn strip(self, beats: &[Beat], room: usize) -> Vec<Span<'static>> {
        let fill = room.saturating_sub(beats.len());
        let older = beats.len().saturating_sub(room);
        let newest = beats.iter().skip(older);
        let fill = Span::raw(" ".repeat(fill));
        std::iter::once(fill)
            .chain(newest.map(|beat| self.beat(*beat)))
            .collect()
    }
}

/// As much of the words as fits, and spaces up to there.
pub(super) fn fitted(words: &str, room: usize) -> String {
    let mut text = String::new();
    if words.width() <= room {
        words.clone_into(&mut text);
    } else {
        let room = room.saturating_sub(1);
        for c in words.chars() {
            text.push(c);
            if text.width() > room {
                text.pop();
                break;
            }
        }
        text.push('…');
    }
    let fill = room.saturating_sub(text.width());
    text + &" ".repeat(fill)
}
