//! What is shown, and what the keys do to it.

use std::cmp::Reverse;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::answers::Answer;
use super::super::status::table::trouble;
use crate::engine::report::{Recent, Status, VhostStatus};
use crate::terminal::Tone;

/// The longest filter, in characters.
const FILTER_MAX: usize = 64;
/// How far a page moves.
const PAGE: isize = 10;

/// What a daemon last answered.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) heading: Option<String>,
    /// Its last status, if it ever had one.
    pub(super) status: Option<Box<Status>>,
    /// Why it does not answer now.
    pub(super) problem: Option<String>,
    /// When it last answered, in milliseconds since 1970.
    pub(super) at_ms: u64,
}

/// A virtual host in the list.
#[derive(Debug, Clone)]
pub(super) struct Row<'v> {
    pub(super) heading: Option<&'v str>,
    pub(super) vhost: &'v VhostStatus,
    /// The worst that is wrong with it.
    pub(super) trouble: Option<(Tone, &'static str)>,
}

impl Row<'_> {
    /// Its name, and where it is if that is not this network namespace.
    pub(super) fn name(&self) -> String {
        match &self.vhost.netns {
            Some(netns) => format!("{} in {netns}", self.vhost.name),
            None => self.vhost.name.to_string(),
        }
    }

    fn key(&self) -> Key {
        (
            self.heading.map(str::to_owned),
            self.vhost.name.as_str().to_owned(),
        )
    }
}

/// A virtual host, whatever place it has in the list.
type Key = (Option<String>, String);

/// What fills the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// All virtual hosts.
    List,
    /// The selected one.
    Detail,
    /// The keys.
    Help,
}

/// What follows from a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Stay,
    Suspend,
    Quit,
}

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct View {
    /// Only these, if there are any.
    names: Vec<String>,
    pub(super) seen: Vec<Seen>,
    pub(super) page: Page,
    pub(super) filter: String,
    /// Keys go into the filter.
    pub(super) is_typing: bool,
    selected: Option<Key>,
    /// Where that was in the list.
    index: usize,
    /// The first line that is shown, of the list or of what else fills the screen.
    pub(super) first: usize,
    /// An answer has been awaited for a whole interval.
    is_silent: bool,
}

impl View {
    pub(super) const fn new(names: Vec<String>) -> Self {
        Self {
            names,
            seen: Vec::new(),
            page: Page::List,
            filter: String::new(),
            is_typing: false,
            selected: None,
            index: 0,
            first: 0,
            is_silent: false,
        }
    }

    /// Takes what the daemons answered. What one of them said before stays if it says nothing now.
    pub(super) fn take(&mut self, answers: Vec<Answer>, now_ms: u64) {
        self.is_silent = false;
        let mut before = std::mem::take(&mut self.seen);
        for Answer { heading, status } in answers {
            let place = before.iter().position(|seen| seen.heading == heading);
            let old = place.map(|place| before.swap_remove(place));
            self.seen.push(match (status, old) {
                (Ok(status), _) => Seen {
                    heading,
                    status: Some(status),
                    problem: None,
                    at_ms: now_ms,
                },
                (Err(failure), old) => Seen {
                    heading,
                    problem: Some(failure.message),
                    at_ms: old.as_ref().map_or(now_ms, |old| old.at_ms),
                    status: old.and_then(|old| old.status),
                },
            });
        }
    }

    /// An answer is late.
    pub(super) const fn wait_longer(&mut self) {
        self.is_silent = true;
    }

    /// The virtual hosts that are shown: those with problems first.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<Row<'_>> = Vec::new();
        for seen in &self.seen {
            let vhosts = seen.status.iter().flat_map(|status| &status.vhosts);
            rows.extend(vhosts.map(|vhost| Row {
                heading: seen.heading.as_deref(),
                vhost,
                trouble: trouble(vhost),
            }));
        }
        rows.retain(|row| self.wants(row));
        rows.sort_by_key(|row| Reverse(row.trouble.map(|(tone, _)| tone)));
        rows
    }

    fn wants(&self, row: &Row<'_>) -> bool {
        let vhost = row.vhost;
        let is_named = |name: &String| name == vhost.name.as_str();
        if !self.names.is_empty() && !self.names.iter().any(is_named) {
            return false;
        }
        let wanted = self.filter.to_lowercase();
        let has = |words: &str| words.to_lowercase().contains(&wanted);
        has(vhost.name.as_str())
            || has(vhost.state.as_str())
            || has(vhost.interface.as_ref())
            || row.heading.is_some_and(has)
            || vhost.netns.as_deref().is_some_and(has)
            || row.trouble.is_some_and(|(_, words)| has(words))
            || vhost.addresses.iter().any(|a| has(&a.to_string()))
    }

    /// What has happened lately to these, the newest first.
    pub(super) fn recent(&self, is_wanted: impl Fn(&Recent) -> bool) -> Vec<&Recent> {
        let statuses = self.seen.iter().filter_map(|seen| seen.status.as_ref());
        let mut all: Vec<&Recent> = statuses
            .flat_map(|status| &status.recent)
            .filter(|recent| is_wanted(recent))
            .collect();
        all.reverse();
        // Of several daemons.
        all.sort_by_key(|recent| Reverse(recent.at_ms));
        all
    }

    /// Where the selected virtual host is in these rows. If it has gone, its place is kept.
    pub(super) fn select(&mut self, keys: &[Key]) -> usize {
        let found = keys
            .iter()
            .position(|key| Some(key) == self.selected.as_ref());
        self.index = found
            .unwrap_or(self.index)
            .min(keys.len().saturating_sub(1));
        self.selected = keys.get(self.index).cloned();
        self.index
    }

    /// The rows' virtual hosts.
    pub(super) fn keys(rows: &[Row<'_>]) -> Vec<Key> {
        rows.iter().map(Row::key).collect()
    }

    /// The selected one.
    pub(super) fn selection(&self) -> Option<Row<'_>> {
        let rows = self.rows().into_iter();
        let mut rows = rows.filter(|row| Some(&row.key()) == self.selected.as_ref());
        rows.next()
    }

    fn go(&mut self, by: isize) {
        if self.page != Page::List {
            self.first = self.first.saturating_add_signed(by);
            return;
        }
        let keys = Self::keys(&self.rows());
        let index = self.select(&keys).saturating_add_signed(by);
        self.index = index.min(keys.len().saturating_sub(1));
        self.selected = keys.get(self.index).cloned();
    }

    const fn turn_to(&mut self, page: Page) {
        self.page = page;
        self.first = 0;
    }

    /// Does what a key means.
    pub(super) fn press(&mut self, key: KeyEvent) -> Then {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Then::Quit,
                KeyCode::Char('z') => Then::Suspend,
                _ => Then::Stay,
            };
        }
        if self.is_typing {
            self.type_filter(key.code);
            return Then::Stay;
        }
        match (key.code, self.page) {
            (KeyCode::Char('q'), _) => return Then::Quit,
            (KeyCode::Esc | KeyCode::Backspace | KeyCode::Left, Page::Detail | Page::Help)
            | (KeyCode::Char('?') | KeyCode::Enter, Page::Help) => self.turn_to(Page::List),
            (KeyCode::Char('?'), Page::List | Page::Detail) => self.turn_to(Page::Help),
            (KeyCode::Enter | KeyCode::Right, Page::List) => {
                let keys = Self::keys(&self.rows());
                self.select(&keys);
                if self.selected.is_some() {
                    self.turn_to(Page::Detail);
                }
            }
            (KeyCode::Char('/'), Page::List) => self.is_typing = true,
            (KeyCode::Esc, Page::List) => self.filter.clear(),
            (KeyCode::Up | KeyCode::Char('k'), _) => self.go(-1),
            (KeyCode::Down | KeyCode::Char('j'), _) => self.go(1),
            (KeyCode::PageUp, _) => self.go(-PAGE),
            (KeyCode::PageDown | KeyCode::Char(' '), _) => self.go(PAGE),
            (KeyCode::Home | KeyCode::Char('g'), _) => self.go(isize::MIN),
            (KeyCode::End | KeyCode::Char('G'), _) => self.go(isize::MAX),
            _ => {}
        }
        Then::Stay
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) if self.filter.chars().count() < FILTER_MAX => self.filter.push(c),
            _ => {}
        }
    }

    /// Why what is shown is not what is now, one line for each daemon that does not answer.
    pub(super) fn silences(&self, age_of: impl Fn(u64) -> String) -> Vec<String> {
        let of = |seen: &Seen| {
            let problem = seen.problem.as_ref()?;
            let whose = seen.heading.as_ref();
            let whose = whose.map_or_else(String::new, |heading| format!("{heading}: "));
            let last = if seen.status.is_some() {
                format!(", shown as it was {}", age_of(seen.at_ms))
            } else {
                String::new()
            };
            Some(format!("{whose}trying again{last}: {problem}"))
        };
        let mut lines: Vec<String> = self.seen.iter().filter_map(of).collect();
        if self.is_silent {
            let last = self.seen.iter().map(|seen| seen.at_ms).max().unwrap_or(0);
            lines.push(format!(
                "waiting for an answer, shown as it was {}",
                age_of(last)
            ));
        }
        lines
    }
}
