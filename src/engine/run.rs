//! The loop: one input, the protocol, everything that follows from it, and then the next.
//!
//! One task owns every virtual host. Nothing here waits for a hook, a service or a disk: those run beside it and
//! their results come back as inputs.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, trace, warn};

use super::clock;
use super::node::Node;
use super::port::{Port, kind_word};
use super::queue::{HookNews, Shared};
use super::signal::Signal;
use super::start::StartError;
use crate::host::LinuxHost;
use crate::host::alarm::Alarm;
use crate::host::netlink::{HostEvent, Watch};
use crate::proto::{self, Input, Output, Received, Reject, wire};
use crate::types::Timestamp;

/// Frames read from one interface before the timers get their turn again.
const FRAMES_IN_A_ROW: usize = 64;

/// What woke the loop.
enum Event {
    Alarm,
    Readable,
    Host(HostEvent),
    News(HookNews),
    Signal(Signal),
    Stopped,
}

/// Everything that one daemon process does on the wire.
pub(super) struct Engine {
    /// By a number that is never used twice.
    pub(super) nodes: BTreeMap<usize, Node<LinuxHost>>,
    pub(super) ports: Vec<Port>,
    pub(super) shared: Rc<Shared<LinuxHost>>,
    news: mpsc::UnboundedReceiver<HookNews>,
    pub(super) watch: Watch,
    pub(super) alarm: Alarm,
    pub(super) stopping: Option<Stopping>,
    /// Packets that belong to no virtual host here.
    pub(super) strangers: proto::Stats,
    pub(super) follow_ups: VecDeque<(usize, Input<'static>)>,
    pub(super) shutdown_timeout: Duration,
}

/// The daemon stops.
pub(super) struct Stopping {
    pub(super) deadline: Timestamp,
    pub(super) done: Option<oneshot::Receiver<()>>,
}

impl Engine {
    pub(super) fn new(
        nodes: BTreeMap<usize, Node<LinuxHost>>,
        ports: Vec<Port>,
        shared: Rc<Shared<LinuxHost>>,
        news: mpsc::UnboundedReceiver<HookNews>,
        shutdown_timeout: Duration,
    ) -> Result<Self, StartError> {
        Ok(Self {
            nodes,
            ports,
            shared,
            news,
            watch: Watch::open()?,
            alarm: Alarm::new().map_err(|source| StartError::System { what: "make a timer", source })?,
            stopping: None,
            strangers: proto::Stats::default(),
            follow_ups: VecDeque::new(),
            shutdown_timeout,
        })
    }

    /// Removes what a dead predecessor left, opens the interfaces and lets every virtual host take part.
    pub(super) async fn begin(&mut self) {
        self.remove_leftovers();
        self.look().await;
        for port in &self.ports {
            if port.index().is_none() {
                warn!(interface = %port.name, "Waits for an interface that does not exist yet");
            }
        }
    }

    /// Runs until stopped in good order; true if nothing is left behind.
    pub(super) async fn run(mut self, mut signals: mpsc::Receiver<Signal>) -> bool {
        loop {
            if self.set_alarm().is_err() {
                error!("Lost the clock");
                return false;
            }
            let event = tokio::select! {
                biased;
                _ = self.alarm.ring() => Event::Alarm,
                Some(signal) = signals.recv() => Event::Signal(signal),
                () = any_readable(&self.ports) => Event::Readable,
                event = self.watch.next() => Event::Host(event.unwrap_or(HostEvent::Overrun)),
                Some(news) = self.news.recv() => Event::News(news),
                () = stopped(&mut self.stopping) => Event::Stopped,
            };
            match event {
                // What waits in the sockets was there before the time was up.
                Event::Alarm => {
                    self.receive();
                    self.timers();
                }
                Event::Readable => self.receive(),
                Event::Host(event) => self.host_event(event).await,
                Event::News(news) => self.hook_news(news),
                Event::Signal(signal) => self.signal(signal),
                Event::Stopped => return self.is_clean(),
            }
            if self.stopping.as_ref().is_some_and(|stopping| clock::now() >= stopping.deadline) {
                error!("Gave up stopping in good order");
                return false;
            }
        }
    }

    /// The virtual hosts' numbers.
    pub(super) fn numbers(&self) -> Vec<usize> {
        self.nodes.keys().copied().collect()
    }

    fn is_clean(&self) -> bool {
        let clean = self.shared.executor.is_clean();
        if !clean {
            error!("Some effects could not be undone");
        }
        clean
    }

    fn set_alarm(&mut self) -> io::Result<()> {
        let deadline = self.stopping.as_ref().map(|stopping| stopping.deadline);
        let next = self.nodes.values().filter_map(Node::next_wake).chain(deadline).min();
        self.alarm.set(next)
    }
    // ---- the wire

    pub(super) fn receive(&mut self) {
        let mut buffer = [0; 2048];
        for port in 0..self.ports.len() {
            for _ in 0..FRAMES_IN_A_ROW {
                let Some(socket) = self.ports.get(port).and_then(Port::socket) else { break };
                match socket.receive(&mut buffer) {
                    Ok(Some(frame)) => self.frame(port, frame, clock::now()),
                    Ok(None) => break,
                    Err(error) => {
                        debug!(port, %error, "Could not read from an interface");
                        break;
                    }
                }
            }
        }
    }

    pub(super) fn frame(&mut self, port: usize, frame: &[u8], now: Timestamp) {
        let received = match wire::parse_frame(frame) {
            Ok(received) => received,
            Err(reject) => return self.strangers.reject(reject),
        };
        if let Some(node) = self.addressee(port, &received) {
            return self.handle(node, Input::Packet(received), now);
        }
        let vhid = wire::peek_vhid(received.payload).unwrap_or_default();
        self.strangers.reject(Reject::Vhid(vhid));
        trace!(src = %received.src, vhid, "Heard a packet for no virtual host here");
    }

    /// Whose packet is it? By vhid and, where another group was configured, by destination.
    pub(super) fn addressee(&self, port: usize, received: &Received<'_>) -> Option<usize> {
        let vhid = wire::peek_vhid(received.payload)?;
        let members = &self.ports.get(port)?.members;
        members.iter().copied().find(|member| {
            self.nodes.get(member).is_some_and(|node| {
                let group = match received.dst {
                    IpAddr::V4(_) => IpAddr::V4(node.spec.destination.group),
                    IpAddr::V6(_) => IpAddr::V6(node.spec.destination.group6),
                };
                node.spec.vhid.get() == vhid && (received.dst == group || !received.dst.is_multicast())
            })
        })
    }

    // ---- the protocol

    /// Feeds one input and does all that follows from it.
    pub(super) fn handle(&mut self, index: usize, input: Input<'_>, now: Timestamp) {
        if let Some(node) = self.nodes.get_mut(&index) {
            node.machine.handle(input, now);
        }
        self.drain(index, now);
        while let Some((index, input)) = self.follow_ups.pop_front() {
            if let Some(node) = self.nodes.get_mut(&index) {
                node.machine.handle(input, now);
            }
            self.drain(index, now);
        }
    }

    pub(super) fn drain(&mut self, index: usize, now: Timestamp) {
        loop {
            let Some(node) = self.nodes.get_mut(&index) else { return };
            match node.machine.poll() {
                Output::Transmit(transmit) => self.transmit(index, &transmit),
                Output::Transition(transition) => self.transition(index, transition, now),
                Output::WantMaster { cause, peer } => self.ask_before(index, &cause, peer),
                Output::PeerClaim { peer } => self.peer_claim(index, peer, now),
                Output::AnnounceAgain => self.announce(index),
                Output::Rejected(reject, src) => {
                    trace!(vhost = %node.spec.name, %src, reason = reject.as_str(), "Refused a packet");
                }
                Output::Idle(wake) => {
                    node.wake = wake;
                    return;
                }
            }
        }
    }

    pub(super) fn transmit(&mut self, index: usize, transmit: &proto::Transmit) {
        let Some(node) = self.nodes.get(&index) else { return };
        let Some(port) = self.ports.get_mut(node.port) else { return };
        let sent = port.send(&node.spec, transmit);
        if let Err(error) = &sent {
            let kind = kind_word(transmit.kind);
            warn!(vhost = %node.spec.name, vhid = %node.spec.vhid, kind, %error, "Could not send");
        }
        self.follow_ups.push_back((index, Input::Sent { family: transmit.family, ok: sent.is_ok() }));
    }

    // ---- time

    pub(super) fn timers(&mut self) {
        let now = clock::now();
        let due = |when: Option<Timestamp>| when.is_some_and(|when| when <= now);
        for index in self.numbers() {
            if self.nodes.get(&index).is_some_and(|node| due(node.wake)) {
                self.handle(index, Input::Timer, now);
            }
        }
        // Advertisements are out; now what may come a little later.
        for index in self.numbers() {
            let Some(node) = self.nodes.get_mut(&index) else { continue };
            if node.announcer.take_due(now) {
                self.announce(index);
            }
            let Some(node) = self.nodes.get_mut(&index) else { continue };
            if due(node.drop_again) {
                self.drop_addresses(index, now);
            }
            let Some(node) = self.nodes.get_mut(&index) else { continue };
            if due(node.resigned_until) {
                node.resigned_until = None;
                self.demote(index, now);
            }
            self.retry_degraded(index, now);
            let Some(node) = self.nodes.get_mut(&index) else { continue };
            if node.put_back.take_due(now) {
                let port = node.port;
                self.put_back_missing(port);
            }
            self.stand_in_again(index, now);
            self.leave_at_last(index, now);
        }
    }
}

/// Waits until some interface has something to read.
async fn any_readable(ports: &[Port]) {
    let sockets: Vec<_> = ports.iter().filter_map(Port::socket).collect();
    if sockets.is_empty() {
        return std::future::pending().await;
    }
    let waiting = sockets.iter().map(|socket| Box::pin(socket.readable()));
    _ = futures_util::future::select_all(waiting).await;
}

async fn stopped(stopping: &mut Option<Stopping>) {
    match stopping.as_mut().and_then(|stopping| stopping.done.as_mut()) {
        Some(done) => _ = done.await,
        None => std::future::pending().await,
    }
}
