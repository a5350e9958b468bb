//! The hooks' `health`: checked on a timer, counted, and turned into a demotion.
//!
//! A check runs in parallel to everything else, and only its result arrives here. Nothing is
//! checked or counted while the hooks of a transition run, since services are starting and stopping
//! then.

use std::rc::Rc;

use tracing::{info, warn};

use crate::config::OnUnhealthy;
use crate::engine::environment::Environment;
use crate::engine::runs::queue::Purpose;
use crate::engine::state::Engine;
use crate::engine::vhost::health::{AGAIN, Change, Verdict};
use crate::engine::vhost::id::VhostId;
use crate::hooks::{EntryPoint, HookError, Returned};
use crate::journal::DaemonCause;
use crate::journal::Note;
use crate::proto::Input;
use crate::types::{Name, State, Timestamp};

impl<E: Environment> Engine<E> {
    /// Starts the checks of a virtual host that are due.
    pub(in crate::engine) fn begin_checks(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let quiet =
            !node.queue.is_busy() && node.machine.state() != State::Init && self.stopping.is_none();
        let event = node.event(EntryPoint::Health, false);
        for (name, check) in &mut node.checks.0 {
            if check.running.is_some() || check.due > now {
                continue;
            }
            let Some(pool) = self.hooks.current(name).filter(|_| quiet) else {
                check.due = now + AGAIN;
                continue;
            };
            let ticket = check.begin(&pool.spec().health, now);
            node.queue
                .begin_check(Rc::clone(pool), event.clone(), Purpose::Vhost { ticket });
        }
    }

    /// Checks the health of every hook of a virtual host now, if any checks are to run now.
    pub(in crate::engine) fn check_now(&mut self, index: VhostId, now: Timestamp) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.checks
                .0
                .values_mut()
                .for_each(|check| check.hurry(now));
        }
        self.begin_checks(index, now);
    }

    /// A check has ended.
    pub(in crate::engine) fn checked(
        &mut self,
        index: VhostId,
        hook: &Name,
        (ticket, seq): (u64, u64),
        result: Result<Returned, HookError>,
        now: Timestamp,
    ) {
        let (Some(node), Some(pool)) = (self.nodes.get_mut(index), self.hooks.current(hook)) else {
            return;
        };
        let Some(check) = node
            .checks
            .0
            .get_mut(hook)
            .filter(|check| check.running == Some(ticket))
        else {
            return;
        };
        check.running = None;
        if node.queue.is_busy() || node.last.as_ref().map_or(0, |last| last.seq) != seq {
            // It checked services that were just being started or stopped.
            check.due = check.due.min(now + AGAIN);
            return;
        }
        let health = pool.spec().health;
        let verdict = Verdict::of(result, &health);
        let reason = verdict.reason.clone();
        let serves = node.machine.state() == State::Master;
        let Some(change) = check.count(verdict, &health, serves, now) else {
            return;
        };
        let demotion = check.demotion();
        let vhost = &node.spec.name;
        match change {
            Change::Fell | Change::Shifted => {
                warn!(%vhost, %hook, demotion, reason, "Became unhealthy");
            }
            Change::Rose => info!(%vhost, %hook, "Became healthy again"),
        }
        if change != Change::Shifted {
            self.shared.notices.health(&node.spec, hook, &reason);
        }
        let is_master = node.is_master();
        let note = Note::Health {
            hook: hook.clone(),
            demotion,
            reason: reason.clone(),
        };
        self.shared
            .journal
            .borrow_mut()
            .note(now, index.number(), note);
        self.demote(index, now);
        if change == Change::Fell && is_master && health.on_failure == OnUnhealthy::Resign {
            let reason = format!("hook {hook}: {reason}");
            self.handle(
                index,
                Input::Resign {
                    reason: DaemonCause::Unhealthy.because(&reason),
                    unfit: false,
                },
                now,
            );
        }
    }
}
