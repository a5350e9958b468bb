//! Tables for a person: aligned columns, as many of them as fit the terminal.

use std::fmt::Display;

use unicode_width::UnicodeWidthStr as _;

use super::canvas::{Canvas, Tone};
use crate::types::shown;

/// What stands between two columns, in columns of the terminal.
const GAP: usize = 2;
/// The last column is cut to what is left of the line, but never to less than this.
const LAST_MIN: usize = 12;

/// One cell.
#[derive(Debug)]
pub(crate) struct Cell {
    tone: Tone,
    text: String,
}

impl Cell {
    /// With words that may be those of others.
    pub(crate) fn new(tone: Tone, text: impl Display) -> Self {
        let text = shown(text);
        Self { tone, text }
    }

    /// In the terminal's own colour.
    pub(crate) fn plain(text: impl Display) -> Self {
        Self::new(Tone::Plain, text)
    }

    /// For what is not there.
    pub(crate) fn none() -> Self {
        Self::new(Tone::Quiet, "-")
    }
}

/// A table whose last column is as wide as its words.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    /// The columns that a narrow terminal does without, in this order.
    spared: &'static [usize],
    rows: Vec<[Cell; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// One that has only its headings.
    pub(crate) fn new(headings: [&str; COLUMNS], spared: &'static [usize]) -> Self {
        let rows = vec![headings.map(|heading| Cell::new(Tone::Quiet, heading))];
        Self { spared, rows }
    }

    /// Adds a row at the end.
    pub(crate) fn row(&mut self, row: [Cell; COLUMNS]) {
        self.rows.push(row);
    }

    /// Draws it, not wider than this many columns of the terminal.
    pub(crate) fn draw(&self, width: Option<usize>, canvas: &mut Canvas) {
        let mut columns: Vec<usize> = (0..COLUMNS).collect();
        let widths: Vec<usize> = columns
            .iter()
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(*column));
                cells.map(|cell| cell.text.width()).max().unwrap_or(0)
            })
            .collect();
        let width_of = |column: usize| widths.get(column).copied().unwrap_or(0);
        let last = COLUMNS - 1;
        let before = |columns: &[usize]| -> usize {
            let columns = columns.iter().filter(|column| **column != last);
            columns.map(|column| width_of(*column) + GAP).sum()
        };
        let limit = width.unwrap_or(usize::MAX);
        for spared in self.spared {
            if before(&columns) + width_of(last).min(LAST_MIN) <= limit {
                break;
            }
            columns.retain(|column| column != spared);
        }
        let room = limit.saturating_sub(before(&columns)).max(LAST_MIN);
        for row in &self.rows {
            for column in &columns {
                let Some(cell) = row.get(*column) else {
                    continue;
                };
                if *column == last {
                    canvas.words(cell.tone, cut(&cell.text, room));
                } else {
                    canvas.words(cell.tone, &cell.text);
                    let fill = width_of(*column) + GAP - cell.text.width();
                    canvas.words(Tone::Plain, " ".repeat(fill));
                }
            }
            canvas.end_line();
        }
    }
}

/// As much of the words as fits.
pub(crate) fn cut(words: &str, room: usize) -> String {
    if words.width() <= room {
        return words.to_owned();
    }
    let mut text = String::new();
    for c in words.chars() {
        text.push(c);
        if text.width() + 3 > room {
            text.pop();
            break;
        }
    }
    text + "..."
}
