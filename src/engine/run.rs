//! The loop: one input, the protocol, everything that follows from it, and then the next.
//!
//! One task owns every virtual host. Nothing here waits for a hook, a service or a disk: those run
//! beside it and their results come back as inputs.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, trace, warn};

use super::command::{Command, EngineStatus, Status};
use super::environment::{Environment, Machine};
use super::handlers::bow_outs::BowOuts;
use super::handlers::signal::Signal;
use super::reload::file_watch::WatchModes;
use super::reload::generations::Generations;
use super::reload::prepared::{Prepared, Scope, Wanted};
use super::runs::outcome::HookOutcome;
use super::runs::shared::Shared;
use super::vhost::interface::{Interface, Interfaces, kind_word};
use super::vhost::reject_log;
use super::vhost::table::Nodes;
use crate::config::{Config, Kind};
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::host::clock;
use crate::host::kernel::netlink::HostEvent;
use crate::host::kernel::readiness::Ready;
use crate::journal::Note;
use crate::keeper::Client;
use crate::keeper::failsafe::{Heartbeat, Writer};
use crate::proto::{self, Input, Output, Received, Reject, wire};
use crate::types::Timestamp;

/// Orders that may wait; an operator's terminal is not faster.
const COMMANDS_MAX: usize = 16;
/// Frames read from one interface before the timers get their turn again.
pub(super) const FRAMES_IN_A_ROW: usize = 64;

/// Takeovers in one turn: to put addresses up takes time, in which others may be heard.
pub(super) const TAKEOVERS_IN_A_ROW: usize = 16;
/// A takeover waits no longer than twice this for what is in the socket to be read: under a flood
/// that has no end.
const UNREAD_MAX: Duration = Duration::from_millis(50);

/// What woke the loop.
enum Event {
    Alarm,
    Readable,
    Host(HostEvent),
    News(HookOutcome),
    Signal(Signal),
    Prepared(Box<Prepared>),
    Command(Command),
    Stopped,
}

impl Event {
    /// For the log, should it take too long.
    const fn named(&self) -> &'static str {
        match self {
            Self::Alarm => "the timers",
            Self::Readable => "packets",
            Self::Host(_) => "what the kernel told of links and addresses",
            Self::News(_) => "what a hook reported",
            Self::Signal(_) => "a signal",
            Self::Prepared(_) => "a reload",
            Self::Command(_) => "an operator's order",
            Self::Stopped => "the end",
        }
    }
}

/// Everything that one daemon process does on the wire.
pub(super) struct Engine<E: Environment = Machine> {
    /// By a number that is never used twice.
    pub(super) nodes: Nodes<E::Host>,
    pub(super) interfaces: Interfaces<E::Wire>,
    pub(super) shared: Rc<Shared<E::Host>>,
    pub(super) news: mpsc::UnboundedReceiver<HookOutcome>,
    pub(super) stopping: Option<Stopping>,
    /// Packets that belong to no virtual host here.
    pub(super) strangers: proto::Stats,
    pub(super) follow_ups: VecDeque<(VhostId, Input<'static>)>,
    /// What a machine has to say is being done: nothing may be fed before it is idle, so what
    /// follows goes to `follow_ups`.
    pub(super) draining: bool,
    /// Interfaces in whose sockets something was left unread.
    unread: Vec<InterfaceId>,
    pub(super) bow_outs: BowOuts,
    pub(super) shutdown_timeout: Duration,
    /// The version of every hook that serves.
    pub(super) hooks: Generations,
    pub(super) keeper: Client,
    pub(super) config: Config,
    /// Where the configuration was read from.
    pub(super) path: PathBuf,
    /// This node's host name when the daemon started.
    pub(super) host_name: String,
    /// What ties it to the machine that it runs on.
    pub(super) ties: E::Ties,
    /// Number of the next virtual host that is added.
    pub(super) next_id: VhostId,
    orders: mpsc::Sender<Command>,
    commands: mpsc::Receiver<Command>,
    pub(super) prepared: mpsc::Sender<Box<Prepared>>,
    ready: mpsc::Receiver<Box<Prepared>>,
    /// One reload at a time; what is asked meanwhile waits here.
    pub(super) reloading: bool,
    pub(super) reload_waits: Option<Wanted>,
    pub(super) reload_problems: Vec<String>,
    /// Links and addresses are to be read anew after this turn.
    pub(super) relook: bool,
    /// They are to be read anew then.
    pub(super) look_again: Option<Timestamp>,
    /// How hooks' files are watched.
    pub(super) files: WatchModes,
    /// What the keeper does if we die, where there is one that would.
    pub(super) will: Option<Writer>,
    /// The last sign of life that it was given.
    pub(super) beaten: Option<Heartbeat>,
    /// Whose leases are renewed at the end of this turn: their advertisements went out.
    pub(super) to_renew: Vec<VhostId>,
    /// When the loop wanted to be woken at the latest.
    pub(super) due: Option<Timestamp>,
    pub(super) started_ms: u64,
    /// Virtual hosts that the configuration no longer has, and whose hooks are not done, have one
    /// of these each.
    pub(super) departing: Rc<()>,
}

/// The daemon stops.
pub(super) struct Stopping {
    pub(super) deadline: Timestamp,
    pub(super) done: Option<oneshot::Receiver<()>>,
}

/// What an engine is made of.
pub(super) struct Parts<E: Environment = Machine> {
    pub(super) nodes: Nodes<E::Host>,
    pub(super) interfaces: Interfaces<E::Wire>,
    pub(super) shared: Rc<Shared<E::Host>>,
    pub(super) hooks: Generations,
    pub(super) news: mpsc::UnboundedReceiver<HookOutcome>,
    pub(super) keeper: Client,
    pub(super) config: Config,
    pub(super) path: PathBuf,
    pub(super) host_name: String,
    pub(super) ties: E::Ties,
    pub(super) will: Option<Writer>,
}

impl<E: Environment> Engine<E> {
    pub(super) fn new(parts: Parts<E>) -> Self {
        let Parts {
            nodes,
            interfaces,
            shared,
            hooks,
            news,
            keeper,
            config,
            path,
            host_name,
            ties,
            will,
        } = parts;
        let (orders, commands) = mpsc::channel(COMMANDS_MAX);
        let (prepared, ready) = mpsc::channel(1);
        Self {
            next_id: nodes.next_id(),
            nodes,
            interfaces,
            shared,
            hooks,
            news,
            keeper,
            shutdown_timeout: config.daemon.shutdown_timeout,
            config,
            path,
            host_name,
            ties,
            stopping: None,
            strangers: proto::Stats::default(),
            follow_ups: VecDeque::new(),
            draining: false,
            unread: Vec::new(),
            bow_outs: BowOuts::default(),
            orders,
            commands,
            prepared,
            ready,
            reloading: false,
            reload_waits: None,
            reload_problems: Vec::new(),
            relook: false,
            look_again: None,
            files: WatchModes::default(),
            will,
            beaten: None,
            to_renew: Vec::new(),
            due: None,
            started_ms: clock::wall_ms(),
            departing: Rc::new(()),
        }
    }
}

impl Engine {
    /// Where orders go.
    pub(super) fn commands(&self) -> mpsc::Sender<Command> {
        self.orders.clone()
    }

    /// Has the files of the hooks that are in use watched.
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

    /// Removes what a dead predecessor left, opens the interfaces and lets every virtual host take
    /// part.
    pub(super) fn begin(&mut self) {
        self.remove_leftovers();
        self.look();
        for port in self.interfaces.iter() {
            if port.index().is_none() {
                warn!(interface = %port.name, "Waits for an interface that does not exist yet");
            }
        }
    }

    /// Runs until stopped in good order; true if nothing is left behind.
    pub(super) async fn run(mut self, mut signals: mpsc::Receiver<Signal>) -> bool {
        loop {
            self.beat();
            if self.set_alarm().is_err() {
                error!("Lost the clock");
                return false;
            }
            let event = tokio::select! {
                biased;
                _ = self.ties.alarm.ring() => Event::Alarm,
                Some(signal) = signals.recv() => Event::Signal(signal),
                _ = self.ties.readiness.wait() => Event::Readable,
                event = self.ties.watch.next() => Event::Host(event.unwrap_or(HostEvent::Overrun)),
                Some(news) = self.news.recv() => Event::News(news),
                Some(prepared) = self.ready.recv() => Event::Prepared(prepared),
                Some(command) = self.commands.recv() => Event::Command(command),
                () = stopped(&mut self.stopping) => Event::Stopped,
            };
            self.judge_sleep();
            self.judge_leases();
            let stopped = matches!(event, Event::Stopped);
            self.shared.activity.at(event.named());
            match event {
                // What waits in the sockets was there before the time was up.
                Event::Alarm => {
                    self.receive();
                    self.timers();
                }
                Event::Readable => self.receive(),
                Event::Host(event) => self.host_events(event),
                Event::News(news) => self.hook_outcome(news),
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
                error!("Gave up stopping in good order");
                return false;
            }
        }
    }

    fn set_alarm(&mut self) -> io::Result<()> {
        let next = self.next_wake();
        // What was left for this turn is no sleep.
        self.due = next.map(|next| next.max(clock::now()));
        self.ties.alarm.set(next)
    }

    /// Ends the helper process once nothing needs it any more: no grant, no hook that still runs,
    /// nothing to be undone.
    fn spare_helper(&mut self) {
        // A reload that is being prepared counts on what there is.
        if !self.ties.helper.is_spare() || self.reloading || Rc::strong_count(&self.departing) > 1 {
            return;
        }
        if !self.nodes.values().any(|node| node.queue.is_busy()) {
            self.ties.helper.end_if_idle();
        }
    }

    fn command(&mut self, command: Command) {
        // Whoever asked may have gone away meanwhile.
        match command {
            Command::Status(reply) => {
                let helper = self.ties.helper.status();
                let engine = Some(EngineStatus {
                    reader_lacks: self.ties.reader.lacks(),
                    ..self.ties.rights.clone()
                });
                _ = reply.send(Box::new(Status {
                    engine,
                    helper,
                    ..self.status()
                }));
            }
            Command::Metrics(reply) => _ = reply.send(self.metrics()),
            Command::Reload(reply) => self.reload(Scope::Everything, Some(reply)),
            Command::ForceReload(reply) => self.reload(Scope::Anyway, Some(reply)),
            Command::FilesChanged(held) => self.reload_changed(held),
            Command::Rollback(name, reply) => _ = reply.send(self.rollback(&name)),
            Command::Apply(name, reply) => self.apply(&name, reply),
            Command::Plan(name, reply) => self.plan_apply(&name, reply),
            Command::Undemote(name, reply) => _ = reply.send(self.undemote(&name)),
            Command::Resign(name, reason, force, reply) => self.resign(&name, reason, force, reply),
        }
    }

    /// Reads what waits in the sockets that have something to read, and looks at no other.
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
                Err(error) => return error!(%error, "Could not look for packets"),
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

    /// Was that all that waited there?
    fn receive_on(&mut self, port: InterfaceId) -> bool {
        let mut buffer = [0; 2048];
        for _ in 0..FRAMES_IN_A_ROW {
            let Some(socket) = self.interfaces.get(port).and_then(Interface::socket) else {
                return true;
            };
            match socket.receive(&mut buffer) {
                Ok(Some(frame)) => self.frame(port, frame, clock::now()),
                Ok(None) => return true,
                Err(error) => {
                    debug!(?port, %error, "Could not read from an interface");
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

    /// Before any event: addresses that went by themselves while we slept are not restored, since a
    /// backup may be about to take them.
    pub(super) fn judge_leases(&mut self) {
        let now = clock::now();
        for index in self.nodes.lapsed(now) {
            if let Some(by) = self.nodes.get(index).and_then(|node| node.expired(now)) {
                self.lapse(index, by, now);
            }
        }
    }

    // ---- the wire

    pub(super) fn frame(&mut self, port: InterfaceId, frame: &[u8], now: Timestamp) {
        let received = match wire::parse_frame(frame) {
            Ok(received) => received,
            Err(reject) => return self.strange(reject, None),
        };
        if let Some(node) = self.addressee(port, &received) {
            return self.hear(node, received, frame, now);
        }
        match wire::Advertisement::decode(received.payload) {
            Ok(ad) => {
                self.stranger(port, &ad, &received, now);
                self.strange(Reject::Vhid(ad.vhid), Some(received.src));
            }
            // VRRP, or too short to say whose it is: that is the reason, and not a vhid that it
            // does not have.
            Err(reject) => self.strange(reject, Some(received.src)),
        }
    }

    /// Counts a packet that belongs to no virtual host here.
    fn strange(&mut self, reject: Reject, src: Option<IpAddr>) {
        self.strangers.reject(reject);
        let src = src.map(|src| src.to_string());
        trace!(src, reason = reject.as_str(), "Refused a packet");
    }

    /// Whose packet is it? By vhid and, where another group was configured, by destination.
    pub(super) fn addressee(&self, port: InterfaceId, received: &Received<'_>) -> Option<VhostId> {
        let vhid = wire::peek_vhid(received.payload)?;
        let members = &self.interfaces.get(port)?.members;
        members.iter().copied().find(|member| {
            self.nodes.get(*member).is_some_and(|node| {
                let group = match received.dst {
                    IpAddr::V4(_) => IpAddr::V4(node.spec.destination.group),
                    IpAddr::V6(_) => IpAddr::V6(node.spec.destination.group6),
                };
                node.spec.vhid.get() == vhid
                    && (received.dst == group || !received.dst.is_multicast())
            })
        })
    }

    // ---- the protocol

    /// Feeds one input and does all that follows from it.
    pub(super) fn handle(&mut self, index: VhostId, input: Input<'_>, now: Timestamp) {
        self.feed(index, input, now);
        self.follow_up(now);
    }

    /// Does what was put off until now: what the machine still has to say, and what has followed
    /// from something that is no input.
    pub(super) fn flush(&mut self, index: VhostId, now: Timestamp) {
        self.drain(index, now);
        self.follow_up(now);
    }

    fn follow_up(&mut self, now: Timestamp) {
        while let Some((index, input)) = self.follow_ups.pop_front() {
            self.feed(index, input, now);
        }
    }

    fn feed(&mut self, index: VhostId, input: Input<'_>, now: Timestamp) {
        debug_assert!(!self.draining, "fed {input:?} before the machine was idle");
        if let Some(node) = self.nodes.get_mut(index) {
            self.shared
                .journal
                .borrow_mut()
                .input(now, index.number(), &input);
            if !matches!(input, Input::Packet(_) | Input::Timer | Input::Sent { .. }) {
                node.published.outdate();
            }
            node.machine.handle(input, now);
        }
        self.drain(index, now);
    }

    fn drain(&mut self, index: VhostId, now: Timestamp) {
        debug_assert!(!self.draining, "drained while draining");
        self.draining = true;
        self.do_all_it_says(index, now);
        self.draining = false;
    }

    fn do_all_it_says(&mut self, index: VhostId, now: Timestamp) {
        let (mut changed, mut spoke) = (false, false);
        loop {
            let Some(node) = self.nodes.get_mut(index) else {
                return;
            };
            let output = node.machine.poll();
            self.shared
                .journal
                .borrow_mut()
                .output(index.number(), &output);
            changed |= matches!(output, Output::Transition(_));
            spoke |= matches!(output, Output::Transmit(_));
            match output {
                Output::Transmit(transmit) => self.transmit(index, &transmit),
                Output::Transition(transition) => self.transition(index, transition, now),
                Output::WantMaster { cause, peer } => self.ask_before(index, &cause, peer),
                Output::PeerClaim { peer } => self.peer_claim(index, peer, now),
                Output::AnnounceAgain => node.announcer.again(now),
                Output::Answered { demotion, .. } => self.answered(index, demotion, now),
                Output::Rejected(reject, src) => {
                    let vhost = &node.spec.name;
                    trace!(%vhost, %src, reason = reject.as_str(), "Refused a packet");
                    if let Some(count) = node.refusals.note(reject, src, now) {
                        let (vhid, reason) = (node.spec.vhid, reject.as_str());
                        warn!(%vhost, %vhid, %src, reason, problem = %reject, count, "Refuses advertisements");
                        let text = reject_log::in_words(reject, count, src);
                        self.shared.journal.borrow_mut().note(
                            now,
                            index.number(),
                            Note::Remark { text },
                        );
                    }
                }
                Output::Idle(wake) => {
                    node.wake = wake;
                    let outdated = node.published.is_outdated();
                    if node.handover.is_some() {
                        self.follow_handover(index, now);
                    }
                    let took = spoke && self.heard_at_last(index, now);
                    if changed || took {
                        self.publish(index);
                    } else if spoke || outdated {
                        self.publish_again(index);
                    }
                    return;
                }
            }
        }
    }

    pub(super) fn transmit(&mut self, index: VhostId, transmit: &proto::Transmit) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let Some(port) = self.interfaces.get_mut(node.interface) else {
            return;
        };
        if transmit.kind == proto::Kind::BowOut && node.drop_again.is_some() {
            // A successor would come at once.
            return warn!(vhost = %node.spec.name, "Does not bow out while an address is still up");
        }
        let sent = port.send(&node.spec, transmit);
        if let Err(error) = &sent
            && let Some(count) = node.unsent.note(clock::now())
        {
            let kind = kind_word(transmit.kind);
            warn!(vhost = %node.spec.name, vhid = %node.spec.vhid, kind, %error, count, "Could not send");
        }
        if transmit.kind == proto::Kind::Advertisement {
            node.sending.note(node.machine.advertised(), &sent);
            if sent.is_ok() && self.to_renew.last() != Some(&index) {
                self.to_renew.push(index);
            }
        }
        self.follow_ups.push_back((
            index,
            Input::Sent {
                family: transmit.family,
                ok: sent.is_ok(),
            },
        ));
    }

    /// What belongs to a turn as a whole: many virtual hosts advertise in one.
    pub(super) fn end_turn(&mut self) {
        self.renew();
        self.shared.journal.borrow_mut().end_turn(clock::now());
    }

    /// Is there something in its socket that nobody has read? It may be a master's advertisement:
    /// whoever wanted to take over since then reads it first.
    pub(super) fn has_unread(&self, index: VhostId, since: Timestamp, now: Timestamp) -> bool {
        let port = self
            .nodes
            .get(index)
            .and_then(|node| self.interfaces.get(node.interface));
        port.is_some_and(|port| port.unread) && now.since(since) < UNREAD_MAX
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
