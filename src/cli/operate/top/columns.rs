//! The columns of the list, and which of them there is room for.

use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

use super::super::age::ago;
use super::ink::{Ink, fitted};
use super::view::Row;
use crate::engine::report::STRIP_MAX;
use crate::terminal::Tone;
use crate::types::{State, shown};

/// Between two columns.
const GAP: usize = 2;
/// A name may have 64 characters; the list shows this many.
const NAME_MAX: usize = 24;
const PROBLEM_MIN: usize = 12;

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    State,
    Changed,
    Demotion,
    Penalty,
    Hooks,
    Strip,
    Problem,
}

/// As they stand beside each other.
const ALL: [Column; 8] = [
    Column::Name,
    Column::State,
    Column::Changed,
    Column::Demotion,
    Column::Penalty,
    Column::Hooks,
    Column::Strip,
    Column::Problem,
];
/// Those that a narrow terminal does without, in this order.
const SPARED: [Column; 6] = [
    Column::Penalty,
    Column::Hooks,
    Column::Changed,
    Column::Demotion,
    Column::Problem,
    Column::Strip,
];

impl Column {
    const fn heading(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::State => "STATE",
            Self::Changed => "CHANGED",
            Self::Demotion => "DEMOTION",
            Self::Penalty => "PENALTY",
            Self::Hooks => "HOOKS",
            Self::Strip => "ADVERTISEMENTS",
            Self::Problem => "PROBLEM",
        }
    }

    /// What it says of a virtual host; nothing for the strip.
    fn words(self, row: &Row<'_>, now_ms: u64) -> (Tone, String) {
        let vhost = row.vhost;
        let none = || (Tone::Quiet, "-".to_owned());
        match self {
            Self::Name => (Tone::Plain, row.name()),
            Self::State => {
                let tone = match (vhost.state, vhost.holding) {
                    (State::Init, _) | (State::Master, false) => Tone::Bad,
                    (State::Master, true) => Tone::Good,
                    (State::Backup, _) => Tone::Plain,
                };
                (tone, vhost.state.to_string())
            }
            Self::Changed => (Tone::Plain, ago(now_ms.saturating_sub(vhost.since_ms))),
            Self::Demotion if vhost.demotion > 0 => (Tone::Warning, vhost.demotion.to_string()),
            Self::Penalty if vhost.link_penalty > 0 => {
                (Tone::Warning, vhost.link_penalty.to_string())
            }
            Self::Demotion | Self::Penalty => none(),
            Self::Hooks if vhost.hooks.is_empty() => none(),
            Self::Hooks => {
                let is_unhealthy = vhost.health.iter().any(|health| health.well == Some(false));
                match &vhost.degraded {
                    _ if vhost.hooks_busy => (Tone::Plain, "running".to_owned()),
                    Some(_) => (Tone::Bad, "failed".to_owned()),
                    None if is_unhealthy => (Tone::Warning, "unhealthy".to_owned()),
                    None => (Tone::Plain, "ok".to_owned()),
                }
            }
            Self::Strip => (Tone::Plain, String::new()),
            Self::Problem => row
                .trouble
                .map_or_else(none, |(tone, words)| (tone, words.to_owned())),
        }
    }
}

/// The columns that fit, with their widths.
#[derive(Debug)]
pub(super) struct Columns(Vec<(Column, usize)>);

impl Columns {
    /// For these rows, on a screen of this width.
    pub(super) fn of(rows: &[Row<'_>], width: usize, now_ms: u64) -> Self {
        let natural = |column: Column| {
            let words = rows
                .iter()
                .map(|row| shown(column.words(row, now_ms).1).width());
            let widest = words.max().unwrap_or(0).max(column.heading().width());
            match column {
                Column::Name => widest.min(NAME_MAX),
                _ => widest,
            }
        };
        let mut fitting: Vec<(Column, usize)> = ALL
            .iter()
            .map(|column| (*column, natural(*column)))
            .collect();
        let least = |fitting: &[(Column, usize)]| -> usize {
            let widths = fitting.iter().map(|(column, width)| match column {
                Column::Problem => PROBLEM_MIN.min(*width),
                _ => *width,
            });
            widths.map(|width| width + GAP).sum::<usize>() - GAP
        };
        for spared in SPARED {
            if least(&fitting) <= width {
                break;
            }
            fitting.retain(|(column, _)| *column != spared);
        }
        // What is left goes to the words of the problem, and then to the strip.
        let mut left = width.saturating_sub(least(&fitting));
        for (column, has) in fitting.iter_mut().rev() {
            let wants = match column {
                Column::Problem => *has,
                Column::Strip => STRIP_MAX,
                _ => continue,
            };
            if *column == Column::Problem {
                *has = PROBLEM_MIN.min(*has);
            }
            let more = wants.saturating_sub(*has).min(left);
            *has += more;
            left -= more;
        }
        Self(fitting)
    }

    /// The headings.
    pub(super) fn headings(&self, ink: Ink) -> Line<'static> {
        let cells = self.0.iter().map(|(column, width)| {
            let heading = fitted(column.heading(), *width) + &" ".repeat(GAP);
            ink.words(Tone::Quiet, heading)
        });
        cells.collect()
    }

    /// One row.
    pub(super) fn row(&self, row: &Row<'_>, now_ms: u64, ink: Ink) -> Line<'static> {
        let mut cells: Vec<Span<'static>> = Vec::new();
        for (column, width) in &self.0 {
            if *column == Column::Strip {
                cells.extend(ink.strip(row.vhost.strip.beats(), *width));
            } else {
                let (tone, words) = column.words(row, now_ms);
                cells.push(ink.words(tone, fitted(&shown(words), *width)));
            }
            cells.push(Span::raw(" ".repeat(GAP)));
        }
        cells.into()
    }
}
