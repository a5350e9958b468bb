//! Repeated lines: a few of each kind are logged, then one that says how many more there were.
//!
//! A persistent fault shows up again and again: in a loop, for a thousand virtual hosts, or as long
//! as an attacker likes. So may what is normal, as when a link flaps. The log must neither fill the
//! disk with it nor bury everything else. This applies to every line of the daemon, wherever it is
//! logged, but to those of the levels debug and trace, which nobody has who did not ask for all of them.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, error, info, warn};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};

/// So many lines in a period, and then one that says how many more there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    lines: u64,
    within: Duration,
}

/// Lines of one sort: logged in the same place in the code, of the same virtual host, hook, track or
/// process. With the summary they are ten a second.
const OF_A_SORT: Limit = Limit {
    lines: 9,
    within: Duration::from_secs(1),
};
/// Warnings and errors with the same words. Numbers may differ.
const WITH_THE_SAME_WORDS: Limit = Limit {
    lines: 5,
    within: Duration::from_secs(10),
};
/// Warnings and errors of one place in the code, whatever their words.
const BAD_OF_A_PLACE: Limit = Limit {
    lines: 200,
    within: Duration::from_secs(10),
};
/// Other lines of one place in the code: a thousand virtual hosts may fail over twice.
const OF_A_PLACE: Limit = Limit {
    lines: 5_000,
    within: Duration::from_secs(10),
};
/// Kinds that are distinguished; in a flood of further kinds, lines are only counted by their
/// place.
const KINDS_MAX: usize = 4096;
/// Bytes of a line that are repeated in its summary.
const LINE_MAX: usize = 300;
/// Where the summaries themselves are logged.
const TARGET: &str = "carpd::repeats";

/// Lets through a few lines of each kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Repeats(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    windows: HashMap<(Identifier, Kind), Window>,
    words: RandomState,
    /// Windows that are over and have not been summarised yet.
    over: Vec<Held>,
    /// A thread will log the summaries.
    teller: bool,
}

/// Which lines of a place are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    All,
    /// Those of a sort, by its hash.
    Sort(u64),
    /// Those with these words, likewise.
    Words(u64),
}

/// The lines of one kind, or of one place, since the first one.
#[derive(Debug)]
struct Window {
    limit: Limit,
    began: Instant,
    lines: u64,
    held: Option<Held>,
}

/// What was not logged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    /// The last of these lines.
    line: String,
    level: Level,
    times: u64,
    within: Duration,
}

impl Counts {
    /// Should this line be logged?
    fn note(&mut self, line: &Line, level: Level, site: &Identifier, now: Instant) -> bool {
        let sort = (Kind::Sort(self.words.hash_one(&line.sort)), OF_A_SORT);
        let words = Kind::Words(self.words.hash_one(&line.words));
        let is_bad = level <= Level::WARN;
        let place = if is_bad { BAD_OF_A_PLACE } else { OF_A_PLACE };
        let limits = [
            Some((Kind::All, place)),
            Some(sort),
            // Last: a flood of words makes no windows once its sort is held back.
            is_bad.then_some((words, WITH_THE_SAME_WORDS)),
        ];
        if self.windows.len() >= KINDS_MAX {
            self.end(now, false);
        }
        for (kind, limit) in limits.into_iter().flatten() {
            let Some(window) = self.window((site.clone(), kind), limit, now) else {
                continue;
            };
            if window.lines >= limit.lines {
                window.hold(line, level);
                return false;
            }
        }
        for (kind, limit) in limits.into_iter().flatten() {
            if let Some(window) = self.window((site.clone(), kind), limit, now) {
                window.lines += 1;
            }
        }
        true
    }

    /// The window of a kind or place; a new one if the last is over. None for a further kind when
    /// there are too many.
    fn window(
        &mut self,
        key: (Identifier, Kind),
        limit: Limit,
        now: Instant,
    ) -> Option<&mut Window> {
        let is_known = self.windows.contains_key(&key);
        if !is_known && key.1 != Kind::All && self.windows.len() >= KINDS_MAX {
            return None;
        }
        let window = self.windows.entry(key).or_insert_with(|| Window {
            limit,
            began: now,
            lines: 0,
            held: None,
        });
        if window.is_over(now) {
            self.over.extend(window.held.take());
            (window.began, window.lines) = (now, 0);
        }
        Some(window)
    }

    /// Ends the windows that are over, or all.
    fn end(&mut self, now: Instant, all: bool) {
        let over = &mut self.over;
        self.windows.retain(|_, window| {
            let ends = all || window.is_over(now);
            if ends {
                over.extend(window.held.take());
            }
            !ends
        });
    }

    /// When the next window ends that has held lines back.
    fn due(&self) -> Option<Instant> {
        let holding = self.windows.values().filter(|window| window.held.is_some());
        holding
            .map(|window| window.began + window.limit.within)
            .min()
    }
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= self.limit.within
    }

    fn hold(&mut self, line: &Line, level: Level) {
        let times = self.held.as_ref().map_or(0, |held| held.times) + 1;
        self.held = Some(Held {
            line: line.words.clone(),
            level,
            times,
            within: self.limit.within,
        });
    }
}

impl Held {
    fn tell(&self) {
        let Self {
            line,
            level,
            times,
            within,
        } = self;
        let seconds = within.as_secs();
        match *level {
            Level::ERROR => {
                error!(target: TARGET, times, seconds, "Logged {times} more times in {seconds} s: {line}");
            }
            Level::WARN => {
                warn!(target: TARGET, times, seconds, "Logged {times} more times in {seconds} s: {line}");
            }
            _ => {
                info!(target: TARGET, times, seconds, "Logged {times} more times in {seconds} s: {line}");
            }
        }
    }
}

/// The words of an event, without its numbers.
#[derive(Debug, Default)]
struct Line {
    words: String,
    /// Its sentence without digits, and what it is about.
    sort: String,
}

/// The fields that say what a line is about. Their values come from the configuration, or from what a
/// hook may ask for.
const ABOUT: [&str; 7] = [
    "vhost", "hook", "track", "process", "entry", "effect", "resource",
];

impl Line {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        match field.name() {
            "message" => {
                let text = value.to_string();
                self.sort
                    .extend(text.chars().filter(|c| !c.is_ascii_digit()));
                self.words += &text;
            }
            name => {
                if ABOUT.contains(&name) {
                    _ = write!(self.sort, " {name}={value}");
                }
                if self.words.len() < LINE_MAX {
                    _ = write!(self.words, " {name}={value}");
                }
            }
        }
        for text in [&mut self.words, &mut self.sort] {
            if let Some((end, _)) = text.char_indices().find(|(at, _)| *at >= LINE_MAX) {
                text.truncate(end);
            }
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, _: &Field, _: u64) {}
    fn record_i64(&mut self, _: &Field, _: i64) {}
    fn record_u128(&mut self, _: &Field, _: u128) {}
    fn record_f64(&mut self, _: &Field, _: f64) {}
}

impl<S> Filter<S> for Repeats {
    // No interest is cached: a filter that says "always" once and then holds a line back would
    // affect the next line.
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == TARGET {
            return true;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let mut counts = self.counts();
        let logged = counts.note(&line, *metadata.level(), &metadata.callsite(), now());
        if !logged && !counts.teller {
            counts.teller = self.clone().start_teller();
        }
        logged
    }
}

impl Repeats {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread that logs each summary once its window is over, and ends when none is left.
    /// Returns whether there is one.
    fn start_teller(self) -> bool {
        thread::Builder::new()
            .name("repeats".to_owned())
            .spawn(move || while self.tell_next() {})
            .is_ok()
    }

    /// Waits for the next window to end, and logs its summary. Returns false if none is left: then
    /// the thread ends.
    fn tell_next(&self) -> bool {
        let due = {
            let mut counts = self.counts();
            counts.teller = counts.due().is_some() || !counts.over.is_empty();
            if !counts.teller {
                return false;
            }
            counts.due()
        };
        if let Some(due) = due {
            // Nothing unparks it; if it wakes up early, it checks again.
            thread::park_timeout(due.saturating_duration_since(now()));
        }
        self.tell(false);
        true
    }

    /// Logs the summaries of windows that are over, or of all. The counts must not be locked meanwhile,
    /// because this itself logs.
    fn tell(&self, all: bool) {
        let over = {
            let mut counts = self.counts();
            counts.end(now(), all);
            std::mem::take(&mut counts.over)
        };
        over.iter().for_each(Held::tell);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the log's own time: nothing is decided by it"
)]
fn now() -> Instant {
    Instant::now()
}

static OF_THIS_PROCESS: OnceLock<Repeats> = OnceLock::new();

/// The one that this process uses.
pub(super) fn of_this_process() -> Repeats {
    OF_THIS_PROCESS.get_or_init(Repeats::default).clone()
}

/// Logs all summaries at once, because this process is about to end.
pub fn tell_repeats() {
    if let Some(repeats) = OF_THIS_PROCESS.get() {
        repeats.tell(true);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use tracing::Callsite;
    use tracing::subscriber::Interest;
    use tracing_subscriber::layer::{Layer, SubscriberExt as _};

    use super::*;

    /// A place in the code.
    struct Place;

    impl Callsite for Place {
        fn set_interest(&self, _: Interest) {}
        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("nobody asks")
        }
    }

    /// Places must differ in their addresses.
    static PLACES: [(Place, u8); 2] = [(Place, 1), (Place, 2)];

    fn place(number: usize) -> Identifier {
        Identifier(&PLACES[number].0)
    }

    /// A line of one virtual host.
    fn line(vhost: &str, words: &str) -> Line {
        Line {
            words: format!("{words} vhost={vhost}"),
            sort: vhost.to_owned(),
        }
    }

    /// Counts warnings at one moment, and returns how many were let through.
    fn note(counts: &mut Counts, place_: usize, words: &str, now: Instant, times: usize) -> usize {
        (0..times)
            .filter(|_| counts.note(&line(words, words), Level::WARN, &place(place_), now))
            .count()
    }

    #[test]
    fn a_few_of_each_kind_are_let_through_in_each_window() {
        let mut counts = Counts::default();
        let start = now();
        let window = WITH_THE_SAME_WORDS.within;
        assert_eq!(note(&mut counts, 0, "a", start, 100), 5);
        assert_eq!(note(&mut counts, 0, "b", start, 3), 3, "other words");
        assert_eq!(note(&mut counts, 1, "a", start, 3), 3, "another place");
        assert_eq!(counts.due(), Some(start + window));
        assert_eq!(
            note(&mut counts, 0, "a", start + window, 7),
            5,
            "a new window"
        );
        let held = |times| Held {
            line: "a vhost=a".to_owned(),
            level: Level::WARN,
            times,
            within: window,
        };
        assert_eq!(std::mem::take(&mut counts.over), [held(95)]);
        counts.end(start + window * 2, false);
        assert_eq!(counts.over, [held(2)]);
        assert!(counts.due().is_none() && counts.windows.is_empty());
    }

    #[test]
    fn ten_lines_a_second_of_a_sort_are_logged_whatever_their_level_and_words() {
        for level in [Level::INFO, Level::WARN, Level::ERROR] {
            let mut counts = Counts::default();
            let start = now();
            let mut most = 0;
            // Ten seconds in which one virtual host flaps, with other words each time.
            for second in 0..10 {
                let mut logged = 0;
                for n in 0..500_u32 {
                    let at = start + Duration::from_secs(second) + Duration::from_millis(2) * n;
                    let flaps = line("web", &format!("{second} {n}"));
                    logged += u64::from(counts.note(&flaps, level, &place(0), at));
                }
                counts.end(start + Duration::from_secs(second + 1), false);
                let told = std::mem::take(&mut counts.over);
                assert_eq!(told.len(), 1, "{told:?}");
                assert_eq!(told[0].times, 500 - logged);
                most = most.max(logged + 1);
            }
            assert_eq!(most, 10, "{level}");
        }
    }

    #[test]
    fn a_thousand_virtual_hosts_may_fail_over_at_once() {
        let mut counts = Counts::default();
        let start = now();
        let logged = (0..1_000)
            .filter(|n| {
                let change = line(&format!("web{n}"), "Changed state");
                counts.note(&change, Level::INFO, &place(0), start)
            })
            .count();
        assert_eq!(logged, 1_000);
    }

    #[test]
    fn a_flood_of_different_lines_is_bounded_in_the_log_and_in_memory() {
        for (level, limit) in [(Level::WARN, BAD_OF_A_PLACE), (Level::INFO, OF_A_PLACE)] {
            let mut counts = Counts::default();
            let start = now();
            let logged = (0..100_000)
                .filter(|n| {
                    let line = line(&format!("peer {n}"), "x");
                    counts.note(&line, level, &place(0), start)
                })
                .count();
            assert_eq!(logged as u64, limit.lines);
            assert!(counts.windows.len() <= KINDS_MAX + 1);
            assert_eq!(note(&mut counts, 1, "another place", start, 1), 1);
            counts.end(start + limit.within, false);
            assert_eq!(
                counts.over.iter().map(|held| held.times).sum::<u64>(),
                100_000 - limit.lines
            );
        }
    }

    /// Passes on what is logged.
    struct Log(Sender<(Level, String)>);

    impl<S: tracing::Subscriber> Layer<S> for Log {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = Line::default();
            event.record(&mut line);
            self.0
                .send((*event.metadata().level(), line.words))
                .unwrap();
        }
    }

    #[test]
    fn what_is_held_back_is_told_with_its_count() {
        let (sender, log) = channel();
        let repeats = Repeats::default();
        // No other thread should log it here.
        repeats.counts().teller = true;
        let subscriber =
            tracing_subscriber::registry().with(Log(sender).with_filter(repeats.clone()));
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..20 {
                // Numbers may differ, as in a pause that grows.
                warn!(n, error = "Too many open files", "Could not accept");
                info!(hook = "h", n, "Ran a hook");
                tracing::debug!("Asked for");
            }
            repeats.tell(true);
        });
        let lines: Vec<_> = log.try_iter().collect();
        let count = |level, line: &str| {
            lines
                .iter()
                .filter(|logged| **logged == (level, line.to_owned()))
                .count()
        };
        assert_eq!(
            count(Level::WARN, "Could not accept error=Too many open files"),
            5
        );
        assert_eq!(count(Level::INFO, "Ran a hook hook=h"), 9);
        assert_eq!(
            count(
                Level::INFO,
                "Logged 11 more times in 1 s: Ran a hook hook=h"
            ),
            1
        );
        assert_eq!(
            count(Level::DEBUG, "Asked for"),
            20,
            "who asks for everything gets everything"
        );
        assert_eq!(
            count(
                Level::WARN,
                "Logged 15 more times in 10 s: Could not accept error=Too many open files"
            ),
            1
        );
    }

    #[test]
    fn the_teller_ends_when_nothing_is_held_back() {
        let repeats = Repeats::default();
        let long_ago = now().checked_sub(WITH_THE_SAME_WORDS.within).unwrap();
        note(&mut repeats.counts(), 0, "a", long_ago, 6);
        repeats.counts().teller = true;
        assert!(repeats.tell_next() && repeats.counts().teller);
        assert!(!repeats.tell_next() && !repeats.counts().teller);
    }
}
