//! What is said of a run: its figures, and of a violation all that one needs to understand it.

use carpd::lab::clock::now;
use carpd::types::Timestamp;

use super::check::Figures;
use super::plan::Step;
use super::stage::{MARGIN, Stage};

/// Lines of the timeline that are shown.
const LINES: usize = 120;

/// A step of the schedule, in words.
pub(super) fn step(step: &Step) -> String {
    let whom = if step.on_holder {
        "the holder".to_owned()
    } else {
        super::world::name(step.node).to_owned()
    };
    format!(
        "{} (or {}) on {whom}, {}/1000 of an interval later",
        step.act, step.otherwise, step.phase
    )
}

/// The most that was seen of what has a bound.
pub(super) fn figures(figures: &Figures) {
    let Figures {
        settled,
        healed,
        two,
        gap,
        held_up,
    } = figures;
    println!(
        "  longest until all was as it should be: {} ms",
        settled.as_millis()
    );
    println!(
        "  longest after a partition healed: {} ms (allowed: the interval + 100 ms; tolerated: {} ms more)",
        healed.as_millis(),
        MARGIN.as_millis()
    );
    println!(
        "  longest with two answers where hosts heard each other: {} ms",
        two.as_millis()
    );
    println!(
        "  longest gap between two advertisements of a healthy master: {}.{:03} intervals",
        gap / 1000,
        gap % 1000
    );
    println!(
        "  longest that an engine waited for a processor where that was too long: {} ms",
        held_up.as_millis()
    );
}

/// The steps, with their times.
pub(super) struct Trail(Vec<(Timestamp, String)>);

impl Trail {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn note(&mut self, what: &str) {
        self.0.push((now(), format!("-- {what}")));
    }

    /// The timeline of the last steps, and how all nodes are.
    pub(super) fn tell(&self, stage: &mut Stage) -> String {
        stage.eye.look();
        let mut all = self.0.clone();
        all.extend(
            stage
                .eye
                .seen
                .iter()
                .map(|seen| (seen.at(), format!("seen {:?}", seen.what))),
        );
        for member in &mut stage.members {
            member.read_log();
            let lines = member.old_log.iter().chain(&member.log);
            all.extend(
                lines.map(|entry| (entry.at, format!("{}: {}", member.name, entry.in_short()))),
            );
        }
        all.sort_by_key(|(at, _)| *at);
        let skip = all.len().saturating_sub(LINES);
        let began = self.0.first().map_or(Timestamp::ZERO, |(at, _)| *at);
        let mut text = String::new();
        for (at, what) in all.into_iter().skip(skip) {
            text += &format!("{:9.3} {what}\n", at.since(began).as_secs_f64());
        }
        for (node, member) in stage.members.iter().enumerate() {
            let facts = member
                .host
                .facts()
                .map_or_else(|err| err.to_string(), |facts| format!("{facts:?}"));
            let account = member
                .account(&stage.lab)
                .map_or_else(|err| err.to_string(), |account| format!("{account:?}"));
            text += &format!(
                "{} ({}): {facts}\n  {account}\n",
                member.name, stage.world.nodes[node]
            );
        }
        text
    }
}
