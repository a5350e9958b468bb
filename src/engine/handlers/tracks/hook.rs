//! Tracks of `kind = "hook"`: asking, and what the answers mean.

use std::rc::Rc;

use crate::engine::environment::Environment;
use crate::engine::runs::queue::Purpose;
use crate::engine::state::Engine;
use crate::engine::vhost::asked_hooks::Question;
use crate::hooks::{EntryPoint, HookError, Returned};
use crate::host::children::prober::Finding;
use crate::types::{Name, Timestamp};

impl<E: Environment> Engine<E> {
    /// Asks every hook that is to be asked now.
    pub(in crate::engine) fn ask_hooks(&mut self, now: Timestamp) {
        for question in self.tracks.asked.begin(now) {
            self.ask_hook(question, now);
        }
    }

    fn ask_hook(&mut self, question: Question, now: Timestamp) {
        let Question {
            track,
            spec,
            number,
        } = question;
        let mut nodes = self.nodes.values();
        let user = nodes.find(|node| node.spec.tracks.contains(&track));
        drop(nodes);
        // Without one it makes no difference, and a daemon that stops starts nothing.
        let Some(node) = user.filter(|_| self.stopping.is_none()) else {
            self.tracks.asked.end(&track, number);
            return;
        };
        // A rehearsal may be without hooks.
        let Some(pool) = self.hooks.current(&spec.hook) else {
            self.tracks.asked.end(&track, number);
            return;
        };
        if !pool.defines(EntryPoint::Health) {
            let finding = Finding::bad(format!("hook {} has no health", spec.hook));
            return self.hook_answered(&track, number, finding, now);
        }
        let event = node.event(EntryPoint::Health, false);
        let limit = spec.poll.timeout;
        let purpose = Purpose::Track {
            track,
            number,
            limit,
        };
        node.queue.begin_check(Rc::clone(pool), event, purpose);
    }

    /// A hook has answered.
    pub(in crate::engine) fn hook_answered(
        &mut self,
        track: &Name,
        number: u64,
        finding: Finding,
        now: Timestamp,
    ) {
        if self.tracks.asked.end(track, number) {
            self.probed(track, finding, now);
        }
    }
}

/// What an answer says of a track.
pub(in crate::engine) fn finding(result: Result<Returned, HookError>) -> Finding {
    match result {
        Ok(Returned::Health { demotion: 0, .. }) => Finding::Well,
        Ok(Returned::Health { reason, .. }) if reason.is_empty() => {
            Finding::bad("its health gave no reason")
        }
        Ok(Returned::Health { reason, .. }) => Finding::bad(reason),
        Ok(Returned::Done) => Finding::bad("its health returned nothing"),
        Err(error) => Finding::bad(error.to_string()),
    }
}
