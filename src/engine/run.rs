//! The main loop: one input, the protocol, everything that follows from it, and then the next
//! input.
//!
//! One task owns every virtual host. Nothing here waits for a hook, a service or a disk: those run
//! separately, and their results arrive as inputs.

use std::io;
use std::rc::Rc;

use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use super::command::{Command, Part, Then};
use super::environment::Environment;
use super::reload::prepared::{Prepared, Scope};
use super::runs::outcome::HookOutcome;
use super::vhost::interface::Interface;
use crate::config::Kind;
use crate::engine::handlers::protocol::FRAMES_IN_A_ROW;
use crate::engine::report::{EngineStatus, Realtime, Status, VhostStatus};
use crate::engine::signals::Signal;
use crate::engine::start::Doors;
use crate::engine::state::{Engine, Stopping};
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::host::clock;
use crate::host::kernel::netlink::HostEvent;
use crate::host::kernel::readiness::Ready;

/// What woke the loop.
enum Event {
    Alarm,
    Readable,
    Host(HostEvent),
    Outcome(HookOutcome),
    Signal(Signal),
    Prepared(Box<Prepared>),
    Command(Command),
    Stopped,
}

impl Event {
    /// A description for the log, in case it takes too long.
    const fn named(&self) -> &'static str {
        match self {
            Self::Alarm => "the timers",
            Self::Readable => "packets",
            Self::Host(_) => "what the kernel told of links and addresses",
            Self::Outcome(_) => "what a hook reported",
            Self::Signal(_) => "a signal",
            Self::Prepared(_) => "a reload",
            Self::Command(_) => "an operator's order",
            Self::Stopped => "the end",
        }
    }
}

impl Engine {
    /// What others in this process may use.
    pub(super) fn doors(&self) -> Doors {
        Doors {
            commands: self.orders.clone(),
            keeper: self.keeper.clone(),
            node: self.host_name.clone(),
        }
    }

    /// Starts watching the files of the hooks that are in use.
    pub(super) fn watch_files(&mut self) {
        let modules = self
            .config
            .hooks
            .values()
            .filter(|hook| matches!(hook.kind, Kind::Module));
        let files = modules.map(|hook| hook.path.clone()).collect();
        self.ties
            .reader
            .watch(files, self.files.clone(), self.orders.clone());
    }

    /// Removes what a dead predecessor left behind, opens the interfaces, and makes every virtual
    /// host take part.
    pub(super) fn begin(&mut self) {
        self.remove_leftovers();
        self.probe_tracks();
        self.look();
        for interface in self.interfaces.iter() {
            if interface.index().is_none() {
                warn!(interface = %interface.name, "Waiting for an interface that does not exist yet");
            }
        }
    }

    /// Runs until stopped; true if nothing is left behind.
    pub(super) async fn run(mut self, mut signals: mpsc::Receiver<Signal>) -> bool {
        loop {
            self.beat();
            if self.set_alarm().is_err() {
                error!("The clock failed");
                return false;
            }
            let event = tokio::select! {
                biased;
                _ = self.ties.alarm.ring() => Event::Alarm,
                Some(signal) = signals.recv() => Event::Signal(signal),
                _ = self.ties.readiness.wait() => Event::Readable,
                event = self.ties.watch.next() => Event::Host(event.unwrap_or(HostEvent::Overrun)),
                Some(outcome) = self.outcomes.recv() => Event::Outcome(outcome),
                Some(prepared) = self.ready.recv() => Event::Prepared(prepared),
                Some(command) = self.commands.recv() => Event::Command(command),
                () = stopped(&mut self.stopping) => Event::Stopped,
            };
            self.judge_sleep();
            self.judge_leases();
            let stopped = matches!(event, Event::Stopped);
            self.shared.activity.at(event.named());
            match event {
                // Packets in the sockets arrived before the time was up.
                Event::Alarm => {
                    self.receive();
                    self.timers();
                }
                Event::Readable => self.receive(),
                Event::Host(event) => self.host_events(event),
                Event::Outcome(outcome) => self.hook_outcome(outcome),
                Event::Signal(signal) => self.signal(signal),
                Event::Prepared(prepared) => self.commit(*prepared),
                Event::Command(command) => self.command(command),
                Event::Stopped => {}
            }
            self.end_turn();
            self.shared.activity.at("");
            self.spare_helper();
            if stopped {
                return self.is_clean();
            }
            if std::mem::take(&mut self.relook) {
                self.look();
            }
            if self
                .stopping
                .as_ref()
                .is_some_and(|stopping| clock::now() >= stopping.deadline)
            {
                error!("Gave up on a clean stop");
                return false;
            }
        }
    }

    fn set_alarm(&mut self) -> io::Result<()> {
        let next = self.next_wake();
        // Work that was left for this turn does not count as oversleeping.
        self.due = next.map(|next| next.max(clock::now()));
        self.ties.alarm.set(next)
    }

    /// Stops the helper process once nothing needs it any more: no grant, no running hook, nothing
    /// to undo.
    fn spare_helper(&mut self) {
        // A reload that is being prepared counts on what there is.
        if !self.ties.helper.is_spare() || self.reloading || Rc::strong_count(&self.departing) > 1 {
            return;
        }
        if !self.nodes.values().any(|node| node.queue.is_busy()) {
            self.ties.helper.end_if_idle();
        }
    }

    fn status_with(&self, vhosts: Vec<VhostStatus>) -> Box<Status> {
        let paused = self.realtime_again.map(|_| Realtime::Paused);
        let engine = EngineStatus {
            reader_lacks: self.ties.reader.lacks(),
            realtime: paused.or(self.ties.rights.realtime),
            ..self.ties.rights.clone()
        };
        Box::new(Status {
            vhosts,
            engine: Some(engine),
            helper: self.ties.helper.status(),
            ..self.status_of_the_rest()
        })
    }

    fn command(&mut self, command: Command) {
        // The operator may have disconnected meanwhile.
        match command {
            Command::Status(reply) => {
                let vhosts = self.vhost_status(self.nodes.values());
                _ = reply.send(self.status_with(vhosts));
            }
            Command::StatusPart(after, reply) => {
                let (nodes, next) = self.some_nodes(after);
                let some = self.vhost_status(nodes.into_iter());
                let then = match next {
                    Some(next) => Then::More(next),
                    None => Then::End(self.status_with(Vec::new())),
                };
                _ = reply.send(Part { some, then });
            }
            Command::MetricsPart(after, reply) => _ = reply.send(self.metrics_part(after)),
            Command::Metrics(reply) => _ = reply.send(self.metrics()),
            Command::Reload(reply) => self.reload(Scope::Everything, Some(reply)),
            Command::ForceReload(reply) => self.reload(Scope::Anyway, Some(reply)),
            Command::FilesChanged(held) => self.reload_changed(held),
            Command::Tracked(name, number, finding) => {
                if self.ties.probers.are(number) {
                    self.probed(&name, finding, clock::now());
                }
            }
            Command::Tried(tried) => self.tried(tried, clock::now()),
            Command::PeersPart(after, reply) => _ = reply.send(self.peers_part(after)),
            Command::Rollback(name, reply) => _ = reply.send(self.rollback(&name)),
            Command::Apply(name, reply) => self.apply(&name, reply),
            Command::Plan(name, reply) => self.plan_apply(&name, reply),
            Command::Ordered(order) => {
                let mut journal = self.shared.journal.borrow_mut();
                journal.order(clock::now(), order);
            }
            Command::Promote(name, reply) => self.promote(name.as_ref(), reply),
            Command::Demote(order, reply) => self.demote_by_order(order, reply),
            Command::MaintenanceOn(order, reply) => self.begin_maintenance(order, reply),
            Command::MaintenanceOff(name, reply) => self.end_maintenance(name.as_ref(), reply),
            Command::NotifyTest(name, reply) => {
                let answer = |answer| _ = reply.send(answer);
                self.shared.notices.test(name.as_ref(), answer);
            }
            Command::Resign(name, reason, force, reply) => self.resign(&name, reason, force, reply),
        }
    }

    /// Reads the sockets that are readable, and no others.
    pub(super) fn receive(&mut self) {
        for id in &self.unread {
            if let Some(interface) = self.interfaces.get_mut(*id) {
                interface.unread = false;
            }
        }
        self.unread.clear();
        for _ in 0..=self.interfaces.len() / Ready::MAX {
            let ready = match self.ties.readiness.ready() {
                Ok(ready) => ready,
                Err(error) => return error!(%error, "Could not poll for packets"),
            };
            for id in ready.tokens().filter_map(InterfaceId::of_token) {
                if self.receive_on(id) {
                    continue;
                }
                if let Some(interface) = self.interfaces.get_mut(id) {
                    interface.unread = true;
                    self.unread.push(id);
                }
            }
            if !ready.is_full() {
                return;
            }
        }
    }

    /// Reads from one interface; true if nothing is left there.
    fn receive_on(&mut self, interface: InterfaceId) -> bool {
        let mut buffer = [0; 2048];
        for _ in 0..FRAMES_IN_A_ROW {
            let Some(socket) = self.interfaces.get(interface).and_then(Interface::socket) else {
                return true;
            };
            match socket.receive(&mut buffer) {
                Ok(Some(frame)) => self.frame(interface, frame, clock::now()),
                Ok(None) => return true,
                Err(error) => {
                    debug!(?interface, %error, "Could not read from an interface");
                    return true;
                }
            }
        }
        false
    }
}

impl<E: Environment> Engine<E> {
    /// The virtual hosts' numbers.
    pub(super) fn numbers(&self) -> Vec<VhostId> {
        self.nodes.ids().collect()
    }

    fn is_clean(&self) -> bool {
        let clean = self.shared.executor.is_clean();
        if !clean {
            error!("Some effects could not be undone");
        }
        clean
    }

    /// Called before any event is handled: addresses that expired while we slept are not restored,
    /// since a backup may be about to take them.
    pub(super) fn judge_leases(&mut self) {
        let now = clock::now();
        for index in self.nodes.lapsed(now) {
            if let Some(by) = self.nodes.get(index).and_then(|node| node.expired(now)) {
                self.lapse(index, by, now);
            }
        }
    }

    /// Work that is done once per turn, in which many virtual hosts may have advertised.
    pub(super) fn end_turn(&mut self) {
        self.renew();
        self.shared
            .journal
            .borrow_mut()
            .end_turn(clock::now(), clock::wall_ms());
    }
}

async fn stopped(stopping: &mut Option<Stopping>) {
    match stopping
        .as_mut()
        .and_then(|stopping| stopping.done.as_mut())
    {
        Some(done) => _ = done.await,
        None => std::future::pending().await,
    }
}
