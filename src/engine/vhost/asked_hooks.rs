//! Tracks of `kind = "hook"`: when each hook is to be asked, and whether it is being asked.

use std::collections::BTreeMap;

use crate::config::{self, AskedHook, Tracked};
use crate::host::clock;
use crate::types::{Name, Timestamp};

/// By track.
#[derive(Debug, Default)]
pub(in crate::engine) struct AskedHooks {
    asked: BTreeMap<Name, Asked>,
    /// The number of the last question.
    last: u64,
}

#[derive(Debug)]
struct Asked {
    spec: AskedHook,
    due: Timestamp,
    /// The number of the question that has no answer yet.
    open: Option<u64>,
}

/// What is to be asked now.
#[derive(Debug)]
pub(in crate::engine) struct Question {
    pub(in crate::engine) track: Name,
    pub(in crate::engine) spec: AskedHook,
    pub(in crate::engine) number: u64,
}

impl AskedHooks {
    /// These are the tracks from now on. New ones are asked at once.
    pub(in crate::engine) fn follow(&mut self, specs: &BTreeMap<Name, config::Track>) {
        let asks = |name: &Name| match &specs.get(name)?.tracked {
            Tracked::Hook(asked) => Some(&**asked),
            Tracked::Link(_) | Tracked::Local(_) | Tracked::Remote(_) => None,
        };
        self.asked
            .retain(|name, asked| asks(name) == Some(&asked.spec));
        for name in specs.keys() {
            if let Some(spec) = asks(name) {
                self.asked.entry(name.clone()).or_insert_with(|| Asked {
                    spec: spec.clone(),
                    due: clock::now(),
                    open: None,
                });
            }
        }
    }

    /// When the next one is to be asked.
    pub(in crate::engine) fn due(&self) -> Option<Timestamp> {
        let free = self.asked.values().filter(|asked| asked.open.is_none());
        free.map(|asked| asked.due).min()
    }

    /// Those that are to be asked now; never one that has not answered yet.
    pub(in crate::engine) fn begin(&mut self, now: Timestamp) -> Vec<Question> {
        let mut questions = Vec::new();
        for (track, asked) in &mut self.asked {
            if asked.open.is_some() || asked.due > now {
                continue;
            }
            self.last += 1;
            asked.open = Some(self.last);
            // What came too late is not made up for.
            asked.due = (asked.due + asked.spec.poll.interval).max(now);
            questions.push(Question {
                track: track.clone(),
                spec: asked.spec.clone(),
                number: self.last,
            });
        }
        questions
    }

    /// Whether this is the answer that is waited for; then the next question may be asked.
    pub(in crate::engine) fn end(&mut self, track: &Name, number: u64) -> bool {
        let asked = self.asked.get_mut(track);
        asked.is_some_and(|asked| asked.open.take_if(|open| *open == number).is_some())
    }
}
