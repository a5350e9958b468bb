//! Remembers what has happened lately, for the status.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::metrics::Ended;
use crate::engine::report::{Happened, RECENT_MAX, Recent, RunOutcome, millis};
use crate::host::clock;
use crate::proto::Transition;
use crate::types::{Name, shown_within};

/// What is kept of a text, in characters.
const TEXT_MAX: usize = 300;

/// The last of it, of all virtual hosts together.
#[derive(Debug, Default)]
pub(in crate::engine) struct RecentRecord(VecDeque<Recent>);

impl RecentRecord {
    fn push(&mut self, vhost: &Name, what: Happened) {
        if self.0.len() >= RECENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Recent {
            at_ms: clock::wall_ms(),
            vhost: vhost.clone(),
            what,
        });
    }

    /// A virtual host changed its state.
    pub(in crate::engine) fn transition(&mut self, vhost: &Name, transition: &Transition) {
        let what = Happened::Transition {
            from: transition.from,
            to: transition.to,
            seq: transition.seq,
            why: shown_within(&transition.cause, TEXT_MAX),
            peer: transition.peer.map(|peer| peer.to_string()),
        };
        self.push(vhost, what);
    }

    /// A hook ran. Empty `error`: well.
    pub(in crate::engine) fn ran(
        &mut self,
        vhost: &Name,
        (hook, entry): (&Name, &str),
        ended: Ended,
        took: Duration,
        error: &str,
    ) {
        let what = Happened::HookRun {
            hook: hook.clone(),
            entry: entry.to_owned(),
            took_ms: millis(took),
            outcome: match ended {
                Ended::Done => RunOutcome::Done,
                Ended::Failed => RunOutcome::Failed,
                Ended::Superseded => RunOutcome::Superseded,
            },
            error: shown_within(error, TEXT_MAX),
        };
        self.push(vhost, what);
    }

    /// The oldest first.
    pub(in crate::engine) fn status(&self) -> Vec<Recent> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_in_number_and_length() {
        let mut record = RecentRecord::default();
        let name: Name = "web".parse().unwrap();
        let error = "\u{1b}[2J".repeat(10_000);
        for n in 0..1_000 {
            let took = Duration::from_millis(n);
            record.ran(&name, (&name, "on_master"), Ended::Failed, took, &error);
        }
        let all = record.status();
        assert_eq!(all.len(), RECENT_MAX);
        let Happened::HookRun { took_ms, error, .. } = &all[0].what else {
            panic!("{all:?}");
        };
        assert_eq!(*took_ms, 1_000 - RECENT_MAX as u64);
        assert!(error.len() < 3_000 && !error.contains('\u{1b}'));
    }
}
