//! Draws what is shown.

use std::iter;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::super::age::{age, ago};
use super::super::status::table::totals;
use super::super::status::{rest_text, vhost_text};
use super::columns::Columns;
use super::ink::{Ink, LEGEND, fitted};
use super::view::{Page, Row, View};
use crate::engine::report::{Happened, Recent, RunOutcome, STRIP_MAX, VhostStatus};
use crate::terminal::Tone;
use crate::types::{self, State};

/// Less than this shows nothing that would help.
const WIDTH_MIN: u16 = 20;
const HEIGHT_MIN: u16 = 4;
/// How many lines say that daemons do not answer.
const SILENCES_MAX: usize = 4;
/// How many other problems are shown above the list.
const OTHERS_MAX: usize = 3;
/// How much of a name stands beside what has happened.
const NAME_MAX: usize = 16;
/// The keys, and what they do.
const KEYS: [(&str, &str); 9] = [
    ("Up, Down, k, j", "select a virtual host, or scroll"),
    ("PgUp, PgDn, Home, End", "the same, further"),
    ("Enter", "everything about the selected virtual host"),
    ("Esc", "back; in the list: show all again"),
    ("/", "show only what contains these words: names, states,"),
    ("", "interfaces, addresses, problems"),
    ("?", "this page"),
    ("Ctrl-Z", "stop; `fg` continues"),
    ("q, Ctrl-C", "quit"),
];

/// Draws all of it.
pub(super) fn draw(view: &mut View, ink: Ink, now_ms: u64, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let words = "too small: carpd top";
        put(frame, area, &[ink.line(Tone::Warning, words)]);
        return;
    }
    let mut top = vec![title(view, usize::from(area.width), now_ms, ink)];
    let silences = view.silences(|at_ms| ago(now_ms.saturating_sub(at_ms)));
    let silences = silences
        .iter()
        .flat_map(|line| wrapped(Tone::Bad, line, area.width.into(), ink));
    top.extend(silences.take(SILENCES_MAX));
    let (above, rest) = split(area, top.len());
    put(frame, above, &top);
    let (middle, below) = split(rest, usize::from(rest.height.saturating_sub(1)));
    put(frame, below, &[footer(view, ink)]);
    match view.page {
        Page::List => list(view, ink, now_ms, frame, middle),
        Page::Detail => {
            let lines = detail(view, usize::from(area.width), now_ms, ink);
            scrolled(view, &lines, frame, middle);
        }
        Page::Help => scrolled(view, &help(ink), frame, middle),
    }
}

/// The upper lines, as many, and the others.
fn split(area: Rect, lines: usize) -> (Rect, Rect) {
    let height = u16::try_from(lines).unwrap_or(u16::MAX).min(area.height);
    let above = Rect { height, ..area };
    let below = Rect {
        y: area.y + height,
        height: area.height - height,
        ..area
    };
    (above, below)
}

/// As many lines as there is room for.
fn put(frame: &mut Frame<'_>, area: Rect, lines: &[Line<'static>]) {
    for (line, row) in lines.iter().zip(area.rows()) {
        frame.render_widget(line, row);
    }
}

/// The same from the line that was scrolled to, but never beyond the last page.
fn scrolled(view: &mut View, lines: &[Line<'static>], frame: &mut Frame<'_>, area: Rect) {
    let last = lines.len().saturating_sub(area.height.into());
    view.first = view.first.min(last);
    put(frame, area, lines.get(view.first..).unwrap_or_default());
}

fn title(view: &View, width: usize, now_ms: u64, ink: Ink) -> Line<'static> {
    let rows = view.rows();
    let vhosts: Vec<&VhostStatus> = rows.iter().map(|row| row.vhost).collect();
    let (states, tone, problems) = totals(&vhosts);
    let name = Span::styled("carpd top  ", Style::new().add_modifier(Modifier::BOLD));
    let mut cells = vec![
        name,
        ink.words(Tone::Plain, format_args!("{states}; ")),
        ink.words(tone, problems),
    ];
    if cells.iter().map(Span::width).sum::<usize>() > width {
        // What is wrong matters more than the rest.
        let count = states.split(':').next().unwrap_or_default();
        cells.splice(0..2, [ink.words(Tone::Plain, format_args!("{count}; "))]);
    }
    if let [seen] = view.seen.as_slice()
        && let Some(status) = &seen.status
    {
        let runs = age(now_ms.saturating_sub(status.started_ms));
        let words = format!("carpd {}, started {runs} ago", status.version);
        let used: usize = cells.iter().map(Span::width).sum();
        let right = ink.words(Tone::Quiet, words);
        if used + 2 + right.width() <= width {
            cells.push(Span::raw(" ".repeat(width - used - right.width())));
            cells.push(right);
        }
    }
    cells.into()
}

fn footer(view: &View, ink: Ink) -> Line<'static> {
    if view.is_typing {
        return vec![
            ink.words(Tone::Plain, format_args!("/{}", view.filter)),
            Span::styled(" ", Style::new().add_modifier(Modifier::REVERSED)),
        ]
        .into();
    }
    let keys = match view.page {
        Page::List if !view.filter.is_empty() => {
            let words = format!("filter: {}  Esc clears it  ? help", view.filter);
            return ink.line(Tone::Warning, words);
        }
        Page::List => "q quit  ? help  Enter detail  / filter",
        Page::Detail => "q quit  ? help  Esc back  Up, Down scroll",
        Page::Help => "q quit  Esc back",
    };
    ink.line(Tone::Quiet, keys)
}

fn list(view: &mut View, ink: Ink, now_ms: u64, frame: &mut Frame<'_>, area: Rect) {
    let keys = View::keys(&view.rows());
    let selected = view.select(&keys);
    let mut others = others(view, ink);
    others.truncate(usize::from(area.height) / 3);
    let recent = recent_lines(&view.recent(|_| true), true, now_ms, ink);
    // The list has what it needs, but what has happened has a third.
    let room = usize::from(area.height).saturating_sub(1 + others.len());
    let below = match room.saturating_sub(keys.len().max(1)).max(room / 3) {
        0..3 => 0,
        below => below.min(recent.len() + 1),
    };
    let shown = room - below;
    view.first = view
        .first
        .min(selected)
        .max((selected + 1).saturating_sub(shown));
    view.first = view.first.min(keys.len().saturating_sub(shown));

    let rows = view.rows();
    let columns = Columns::of(&rows, area.width.into(), now_ms);
    let mut lines = others;
    lines.push(columns.headings(ink));
    let visible = rows.iter().enumerate().skip(view.first).take(shown);
    lines.extend(visible.map(|(index, row)| {
        let line = columns.row(row, now_ms, ink);
        if index == selected {
            line.patch_style(Style::new().add_modifier(Modifier::REVERSED))
        } else {
            line
        }
    }));
    if rows.is_empty() {
        lines.push(ink.line(Tone::Warning, "no virtual host fits"));
    }
    let (above, lower) = split(area, usize::from(area.height) - below);
    put(frame, above, &lines);
    let heading = ink.line(Tone::Quiet, "LAST TRANSITIONS AND HOOK RUNS");
    let lower_lines: Vec<Line<'static>> = iter::once(heading).chain(recent).collect();
    put(frame, lower, &lower_lines);
}

/// Problems that are not those of one virtual host.
fn others(view: &View, ink: Ink) -> Vec<Line<'static>> {
    let mut page = types::Page::default();
    for status in view.seen.iter().filter_map(|seen| seen.status.as_ref()) {
        rest_text(status, false, &mut page);
    }
    let lines: Vec<&str> = page.as_str().lines().collect();
    let more = lines.len().saturating_sub(OTHERS_MAX);
    let mut shown: Vec<Line<'static>> = lines
        .into_iter()
        .take(OTHERS_MAX)
        .map(|line| ink.line(Tone::Warning, line))
        .collect();
    if more > 0 {
        let words = format!("{more} more problems: see `carpd status`");
        shown.push(ink.line(Tone::Warning, words));
    }
    shown
}

/// What has happened, one line each.
fn recent_lines(recent: &[&Recent], named: bool, now_ms: u64, ink: Ink) -> Vec<Line<'static>> {
    let names = recent.iter().map(|recent| recent.vhost.as_str().len());
    let width = names.max().unwrap_or(0).min(NAME_MAX);
    let line = |recent: &&Recent| -> Line<'static> {
        let when = ago(now_ms.saturating_sub(recent.at_ms));
        let (tone, words) = in_words(&recent.what);
        let mut cells = vec![ink.words(Tone::Quiet, format_args!("{when:>11}  "))];
        if named {
            let name = fitted(recent.vhost.as_str(), width);
            cells.push(ink.words(Tone::Plain, name + "  "));
        }
        cells.push(ink.words(tone, words));
        cells.into()
    };
    recent.iter().map(line).collect()
}

fn in_words(what: &Happened) -> (Tone, String) {
    match what {
        Happened::Transition {
            from,
            to,
            why,
            peer,
            ..
        } => {
            let tone = match to {
                State::Master => Tone::Good,
                State::Backup => Tone::Plain,
                State::Init => Tone::Bad,
            };
            let peer = peer.as_ref();
            let peer = peer.map_or_else(String::new, |peer| format!(" ({peer})"));
            (tone, format!("{from} -> {to}: {why}{peer}"))
        }
        Happened::HookRun {
            hook,
            entry,
            took_ms,
            outcome,
            error,
        } => match outcome {
            RunOutcome::Done => (
                Tone::Plain,
                format!("hook {hook}: {entry} done in {took_ms} ms"),
            ),
            RunOutcome::Superseded => (
                Tone::Plain,
                format!("hook {hook}: {entry} superseded after {took_ms} ms"),
            ),
            RunOutcome::Failed => (
                Tone::Bad,
                format!("hook {hook}: {entry} failed after {took_ms} ms: {error}"),
            ),
        },
    }
}

/// Everything about the selected virtual host.
fn detail(view: &View, width: usize, now_ms: u64, ink: Ink) -> Vec<Line<'static>> {
    let Some(Row {
        heading,
        vhost,
        trouble,
    }) = view.selection()
    else {
        return vec![ink.line(Tone::Warning, "this virtual host is no longer there")];
    };
    let mut lines = Vec::new();
    if let Some(heading) = heading {
        lines.push(ink.line(Tone::Quiet, heading));
    }
    if let Some((tone, words)) = trouble {
        lines.push(ink.line(tone, format_args!("PROBLEM: {words}")));
    }
    let mut page = types::Page::default();
    vhost_text(vhost, &mut page);
    for line in page.as_str().lines() {
        lines.extend(wrapped(Tone::Plain, line, width, ink));
    }
    lines.push(Line::default());
    lines.push(ink.line(
        Tone::Quiet,
        "ADVERTISEMENTS, one mark for each interval, the last at the right",
    ));
    let room = width.saturating_sub(2).min(STRIP_MAX);
    let strip = ink.strip(vhost.strip.beats(), room);
    lines.push(iter::once(Span::raw("  ")).chain(strip).collect());
    lines.push(legend(ink));
    lines.push(Line::default());
    lines.push(ink.line(Tone::Quiet, "LAST TRANSITIONS AND HOOK RUNS"));
    let recent = view.recent(|recent| recent.vhost == vhost.name);
    if recent.is_empty() {
        lines.push(ink.line(Tone::Quiet, "  none of late"));
    }
    lines.extend(recent_lines(&recent, false, now_ms, ink));
    lines
}

/// A line in as many as it needs, the further ones indented like the first.
fn wrapped(tone: Tone, words: &str, width: usize, ink: Ink) -> Vec<Line<'static>> {
    let indent = words.len() - words.trim_start().len();
    let room = width.saturating_sub(indent + 2).max(10);
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let line = |(index, line): (usize, String)| {
        let indent = if index == 0 { indent } else { indent + 2 };
        ink.line(tone, " ".repeat(indent) + &line)
    };
    lines.into_iter().enumerate().map(line).collect()
}

fn legend(ink: Ink) -> Line<'static> {
    let mut cells = vec![Span::raw("  ")];
    for (beat, meaning) in LEGEND {
        cells.push(ink.beat(beat));
        cells.push(ink.words(Tone::Quiet, format_args!(" {meaning}  ")));
    }
    cells.into()
}

fn help(ink: Ink) -> Vec<Line<'static>> {
    let key = |(key, meaning): (&str, &str)| -> Line<'static> {
        vec![
            ink.words(Tone::Good, format_args!("  {key:<23}")),
            ink.words(Tone::Plain, meaning),
        ]
        .into()
    };
    let mut lines = vec![ink.line(Tone::Quiet, "KEYS")];
    lines.extend(KEYS.into_iter().map(key));
    lines.push(Line::default());
    lines.push(ink.line(
        Tone::Quiet,
        "ADVERTISEMENTS, one mark for each interval, the last at the right",
    ));
    lines.push(legend(ink));
    lines.push(Line::default());
    lines.push(ink.line(Tone::Quiet, "OTHER COLUMNS"));
    for (column, meaning) in [
        ("DEMOTION", "added to the advskew, 0 to 240"),
        ("PENALTY", "for a link that flaps"),
        ("HOOKS", "running, ok, unhealthy or failed"),
    ] {
        lines.push(key((column, meaning)));
    }
    lines
}
