//! Repeated lines: a few of each kind are logged, then one that says how many more there were.
//!
//! A persistent fault shows up again and again: in a loop, for a thousand virtual hosts, or as long
//! as an attacker likes. The log must neither fill the disk with it nor bury everything else. This
//! applies to every warning and error of the daemon, wherever it is logged. Nothing else is held
//! back: normal operation does not flood the log.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, error, warn};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};

/// The period over which lines are counted together.
const WINDOW: Duration = Duration::from_secs(10);
/// Lines of one kind in a period: logged in the same place in the code, with the same words.
/// Numbers may differ.
const OF_A_KIND: u64 = 5;
/// Lines of one place in the code in a period, whatever their words.
const OF_A_PLACE: u64 = 200;
/// Kinds that are distinguished; in a flood of further kinds, lines are only counted by their
/// place.
const KINDS_MAX: usize = 1024;
/// Bytes of a line that are repeated in its summary.
const LINE_MAX: usize = 300;
/// Where the summaries themselves are logged.
const TARGET: &str = "carpd::repeats";

/// Lets through a few lines of each kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Repeats(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    windows: HashMap<(Identifier, Option<u64>), Window>,
    words: RandomState,
    /// Windows that are over and have not been summarised yet.
    over: Vec<Held>,
    /// A thread will log the summaries.
    teller: bool,
}

/// The lines of one kind, or of one place, since the first one.
#[derive(Debug)]
struct Window {
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
}

impl Counts {
    /// Should this line be logged?
    fn note(&mut self, line: &Line, level: Level, site: &Identifier, now: Instant) -> bool {
        let words = self.words.hash_one(&line.0);
        if self.windows.len() >= KINDS_MAX {
            self.end(now, WINDOW);
        }
        let place = self.window((site.clone(), None), now);
        if place.lines >= OF_A_PLACE {
            place.hold(line, level);
            return false;
        }
        let kind = (site.clone(), Some(words));
        if self.windows.contains_key(&kind) || self.windows.len() < KINDS_MAX {
            let kind = self.window(kind, now);
            if kind.lines >= OF_A_KIND {
                kind.hold(line, level);
                return false;
            }
            kind.lines += 1;
        }
        self.window((site.clone(), None), now).lines += 1;
        true
    }

    /// The window of a kind or place; a new one if the last is over.
    fn window(&mut self, key: (Identifier, Option<u64>), now: Instant) -> &mut Window {
        let window = self.windows.entry(key).or_insert_with(|| Window {
            began: now,
            lines: 0,
            held: None,
        });
        if now.saturating_duration_since(window.began) >= WINDOW {
            self.over.extend(window.held.take());
            (window.began, window.lines) = (now, 0);
        }
        window
    }

    /// Ends the windows that are at least this old.
    fn end(&mut self, now: Instant, age: Duration) {
        let over = &mut self.over;
        self.windows.retain(|_, window| {
            let lives = now.saturating_duration_since(window.began) < age;
            if !lives {
                over.extend(window.held.take());
            }
            lives
        });
    }

    /// When the next window ends that has held lines back.
    fn due(&self) -> Option<Instant> {
        let holding = self.windows.values().filter(|window| window.held.is_some());
        holding.map(|window| window.began + WINDOW).min()
    }
}

impl Window {
    fn hold(&mut self, line: &Line, level: Level) {
        let times = self.held.as_ref().map_or(0, |held| held.times) + 1;
        self.held = Some(Held {
            line: line.0.clone(),
            level,
            times,
        });
    }
}

impl Held {
    fn tell(&self) {
        let Self { line, level, times } = self;
        let seconds = WINDOW.as_secs();
        if *level == Level::ERROR {
            error!(target: TARGET, times, seconds, "Logged {times} more times in {seconds} s: {line}");
        } else {
            warn!(target: TARGET, times, seconds, "Logged {times} more times in {seconds} s: {line}");
        }
    }
}

/// The words of an event, without its numbers.
#[derive(Debug, Default)]
struct Line(String);

impl Line {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.0.len() >= LINE_MAX {
            return;
        }
        // Writing to a string cannot fail.
        _ = match field.name() {
            "message" => write!(self.0, "{value}"),
            name => write!(self.0, " {name}={value}"),
        };
        if let Some((end, _)) = self.0.char_indices().find(|(at, _)| *at >= LINE_MAX) {
            self.0.truncate(end);
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
        if *metadata.level() > Level::WARN || metadata.target() == TARGET {
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
        self.tell(WINDOW);
        true
    }

    /// Logs summaries for windows of at least this age. The counts must not be locked meanwhile,
    /// because this itself logs.
    fn tell(&self, age: Duration) {
        let over = {
            let mut counts = self.counts();
            counts.end(now(), age);
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
        repeats.tell(Duration::ZERO);
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

    /// Counts lines at one moment, and returns which were let through.
    fn note(counts: &mut Counts, place_: usize, words: &str, now: Instant, times: usize) -> usize {
        (0..times)
            .filter(|_| counts.note(&Line(words.to_owned()), Level::WARN, &place(place_), now))
            .count()
    }

    #[test]
    fn a_few_of_each_kind_are_let_through_in_each_window() {
        let mut counts = Counts::default();
        let start = now();
        assert_eq!(note(&mut counts, 0, "a", start, 100), 5);
        assert_eq!(note(&mut counts, 0, "b", start, 3), 3, "other words");
        assert_eq!(note(&mut counts, 1, "a", start, 3), 3, "another place");
        assert_eq!(counts.due(), Some(start + WINDOW));
        assert_eq!(
            note(&mut counts, 0, "a", start + WINDOW, 7),
            5,
            "a new window"
        );
        let held = |times| Held {
            line: "a".to_owned(),
            level: Level::WARN,
            times,
        };
        assert_eq!(std::mem::take(&mut counts.over), [held(95)]);
        counts.end(start + WINDOW * 2, WINDOW);
        assert_eq!(counts.over, [held(2)]);
        assert!(counts.due().is_none() && counts.windows.is_empty());
    }

    #[test]
    fn a_flood_of_different_lines_is_bounded_in_the_log_and_in_memory() {
        let mut counts = Counts::default();
        let start = now();
        let logged: usize = (0..100_000)
            .map(|n| note(&mut counts, 0, &format!("peer {n}"), start, 1))
            .sum();
        assert_eq!(u64::try_from(logged).unwrap(), OF_A_PLACE);
        assert!(counts.windows.len() <= KINDS_MAX);
        assert_eq!(note(&mut counts, 1, "another place", start, 1), 1);
        counts.end(start + WINDOW, WINDOW);
        assert_eq!(
            counts.over.iter().map(|held| held.times).sum::<u64>(),
            100_000 - OF_A_PLACE
        );
    }

    /// Passes on what is logged.
    struct Log(Sender<(Level, String)>);

    impl<S: tracing::Subscriber> Layer<S> for Log {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = Line::default();
            event.record(&mut line);
            self.0.send((*event.metadata().level(), line.0)).unwrap();
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
                tracing::info!("Ran a hook");
            }
            repeats.tell(Duration::ZERO);
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
        assert_eq!(
            count(Level::INFO, "Ran a hook"),
            20,
            "what is in order is never held back"
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
        let long_ago = now().checked_sub(WINDOW).unwrap();
        note(&mut repeats.counts(), 0, "a", long_ago, 6);
        repeats.counts().teller = true;
        assert!(repeats.tell_next() && repeats.counts().teller);
        assert!(!repeats.tell_next() && !repeats.counts().teller);
    }
}
