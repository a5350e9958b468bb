//! The loop: one input, the protocol, everything that follows from it, and then the next.
//!
//! One task owns every virtual host. Nothing here waits for a hook, a service or a disk: those run beside it and
//! their results come back as inputs.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, info, trace, warn};

use super::clock;
use super::node::{Degraded, Node};
use super::port::{Port, Sources, floating, kind_word};
use super::queue::{Failure, HookNews, Shared};
use super::start::StartError;
use crate::config::{self, OnFailure};
use crate::effect::{Link, Query, Reply};
use crate::hooks::{EntryPoint, HookError};
use crate::host::alarm::Alarm;
use crate::host::netlink::{HostEvent, Watch};
use crate::host::{Host as _, LinuxHost, suspects};
use crate::proto::{self, Input, Output, Received, Reject, wire};
use crate::types::{Cause, Family, IfName, State, Timestamp, Transition};

/// Frames read from one interface before the timers get their turn again.
const FRAMES_IN_A_ROW: usize = 64;
/// How long another node is preferred after `carp.resign`, at least.
const RESIGN_HOLD: Duration = Duration::from_secs(10);
/// Pause before addresses that could not be taken down are tried again.
const DROP_RETRY: Duration = Duration::from_millis(200);
/// Before a preemption that `before_master` refused is tried again.
const REFUSED_RETRY: Duration = Duration::from_secs(10);
/// Looks at the kernel's links and addresses take no longer.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// What woke the loop.
enum Event {
    Alarm,
    Readable,
    Host(HostEvent),
    News(HookNews),
    Stop(&'static str),
    Stopped,
}

/// Everything that one daemon process does on the wire.
pub(super) struct Engine {
    nodes: Vec<Node<LinuxHost>>,
    ports: Vec<Port>,
    shared: Rc<Shared<LinuxHost>>,
    news: mpsc::UnboundedReceiver<HookNews>,
    watch: Watch,
    alarm: Alarm,
    stopping: Option<Stopping>,
    /// Packets that belong to no virtual host here.
    strangers: proto::Stats,
    follow_ups: VecDeque<(usize, Input<'static>)>,
    shutdown_timeout: Duration,
}

/// The daemon stops.
struct Stopping {
    deadline: Timestamp,
    done: Option<oneshot::Receiver<()>>,
}

impl Engine {
    pub(super) fn new(
        nodes: Vec<Node<LinuxHost>>,
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
    pub(super) async fn run(mut self, mut stop: mpsc::Receiver<&'static str>) -> bool {
        loop {
            if self.set_alarm().is_err() {
                error!("Lost the clock");
                return false;
            }
            let event = tokio::select! {
                biased;
                _ = self.alarm.ring() => Event::Alarm,
                Some(signal) = stop.recv() => Event::Stop(signal),
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
                Event::Stop(signal) => self.stop(signal),
                Event::Stopped => return self.is_clean(),
            }
            if self.stopping.as_ref().is_some_and(|stopping| clock::now() >= stopping.deadline) {
                error!("Gave up stopping in good order");
                return false;
            }
        }
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
        let next = self.nodes.iter().filter_map(Node::next_wake).chain(deadline).min();
        self.alarm.set(next)
    }

    // ---- the wire

    fn receive(&mut self) {
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

    fn frame(&mut self, port: usize, frame: &[u8], now: Timestamp) {
        let received = match wire::parse_frame(frame) {
            Ok(received) => received,
            Err(reject) => return self.strange(reject, None),
        };
        if let Some(node) = self.addressee(port, &received) {
            return self.handle(node, Input::Packet(received), now);
        }
        // VRRP, or too short to say whose it is: that is the reason, and not a vhid that it does not have.
        let unknown = |ad: wire::Advertisement| Reject::Vhid(ad.vhid);
        self.strange(wire::Advertisement::decode(received.payload).map_or_else(|reject| reject, unknown), Some(received.src));
    }

    /// Counts a packet that belongs to no virtual host here.
    fn strange(&mut self, reject: Reject, src: Option<IpAddr>) {
        self.strangers.reject(reject);
        let src = src.map(|src| src.to_string());
        trace!(src, reason = reject.as_str(), "Refused a packet");
    }

    /// Whose packet is it? By vhid and, where another group was configured, by destination.
    fn addressee(&self, port: usize, received: &Received<'_>) -> Option<usize> {
        let vhid = wire::peek_vhid(received.payload)?;
        let members = &self.ports.get(port)?.members;
        members.iter().copied().find(|member| {
            self.nodes.get(*member).is_some_and(|node| {
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
    fn handle(&mut self, index: usize, input: Input<'_>, now: Timestamp) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.machine.handle(input, now);
        }
        self.drain(index, now);
        while let Some((index, input)) = self.follow_ups.pop_front() {
            if let Some(node) = self.nodes.get_mut(index) {
                node.machine.handle(input, now);
            }
            self.drain(index, now);
        }
    }

    fn drain(&mut self, index: usize, now: Timestamp) {
        loop {
            let Some(node) = self.nodes.get_mut(index) else { return };
            match node.machine.poll() {
                Output::Transmit(transmit) => self.transmit(index, &transmit),
                Output::Transition(transition) => self.transition(index, transition, now),
                Output::WantMaster { cause, peer } => self.ask_before(index, &cause, peer),
                Output::PeerClaim { peer } => self.peer_claim(index, peer, now),
                Output::AnnounceAgain => self.announce(index),
                Output::Rejected(reject, src) => {
                    let vhost = &node.spec.name;
                    trace!(%vhost, %src, reason = reject.as_str(), "Refused a packet");
                    if let Some(count) = node.refusals.note(reject, now) {
                        let (vhid, reason) = (node.spec.vhid, reject.as_str());
                        warn!(%vhost, %vhid, %src, reason, problem = %reject, count, "Refuses advertisements");
                    }
                }
                Output::Idle(wake) => {
                    node.wake = wake;
                    return;
                }
            }
        }
    }

    fn transmit(&mut self, index: usize, transmit: &proto::Transmit) {
        let Some(node) = self.nodes.get(index) else { return };
        let Some(port) = self.ports.get_mut(node.port) else { return };
        let sent = port.send(&node.spec, transmit);
        if let Err(error) = &sent {
            let kind = kind_word(transmit.kind);
            warn!(vhost = %node.spec.name, vhid = %node.spec.vhid, kind, %error, "Could not send");
        }
        self.follow_ups.push_back((index, Input::Sent { family: transmit.family, ok: sent.is_ok() }));
    }

    fn transition(&mut self, index: usize, transition: Transition, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let Transition { from, to, cause, peer, seq } = &transition;
        let (from, to) = (*from, *to);
        let peer_text = peer.map(|peer| peer.to_string()).unwrap_or_default();
        info!(
            vhost = %node.spec.name, vhid = %node.spec.vhid, interface = %node.spec.interface,
            %from, %to, cause = cause.as_str(), why = %cause, peer = peer_text, seq, "Changed state"
        );
        let approved = std::mem::take(&mut node.asking);
        node.last = Some(transition);
        match (from, to) {
            (_, State::Master) => {
                if node.queue.defines(EntryPoint::BeforeMaster) && !approved {
                    let event = node.event(EntryPoint::BeforeMaster, false);
                    node.queue.put(event, false);
                } else {
                    self.take_addresses(index, now);
                }
            }
            (State::Master, State::Backup | State::Init) => self.let_go(index, now),
            (State::Init, State::Backup) => self.tell_initial(index),
            (State::Backup | State::Init, State::Init) | (State::Backup, State::Backup) => {}
        }
    }

    fn take_addresses(&mut self, index: usize, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let spec = &node.spec;
        if spec.manage_addresses {
            if let Err(error) = self.shared.executor.hold_addresses(&spec.name, &spec.interface, &spec.addresses) {
                error!(vhost = %spec.name, %error, "Could not put the addresses up");
                let reason = error.to_string();
                node.resigned_until = Some(now + RESIGN_HOLD.max(node.machine.master_down() * 3));
                let demotion = node.demotion();
                self.follow_ups.push_back((index, Input::Demote(demotion)));
                self.follow_ups.push_back((index, Input::Resign(Cause::AddressFailed { reason })));
                return;
            }
            node.holding = true;
            node.drop_again = None;
            node.announcer.takeover(spec.announce, now);
            self.shared.executor.announce(&spec.name, &spec.interface, &spec.addresses);
            let addresses = spec.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            info!(vhost = %spec.name, interface = %spec.interface, addresses, "Holds the addresses");
        }
        let event = node.event(EntryPoint::OnMaster, false);
        node.queue.put(event, false);
    }

    /// Addresses first: they are what must not be held twice.
    fn let_go(&mut self, index: usize, now: Timestamp) {
        self.drop_addresses(index, now);
        let Some(node) = self.nodes.get_mut(index) else { return };
        node.announcer.stop();
        if let Some(degraded) = &mut node.degraded {
            degraded.retry_at = None;
        }
        let event = node.event(EntryPoint::OnBackup, false);
        node.queue.put(event, true);
    }

    fn drop_addresses(&mut self, index: usize, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        node.drop_again = None;
        if !node.spec.manage_addresses {
            return;
        }
        let held = std::mem::take(&mut node.holding);
        if self.shared.executor.drop_addresses(&node.spec.name) > 0 {
            node.drop_again = Some(now + DROP_RETRY);
        } else if held {
            info!(vhost = %node.spec.name, interface = %node.spec.interface, "Let go of the addresses");
        }
    }

    fn tell_initial(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        if std::mem::replace(&mut node.told_initial, true) || node.spec.neutral || !node.queue.defines(EntryPoint::OnBackup) {
            return;
        }
        let event = node.event(EntryPoint::OnBackup, true);
        node.queue.put(event, false);
    }

    /// A worse master is there, and `before_master` has a say in whether we preempt it.
    fn ask_before(&mut self, index: usize, cause: &Cause, peer: IpAddr) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        node.asking = true;
        let mut event = node.event(EntryPoint::BeforeMaster, false);
        event.cause = cause.as_str().to_owned();
        event.cause_text = cause.to_string();
        event.peer = Some(peer);
        node.queue.put(event, false);
    }

    fn peer_claim(&mut self, index: usize, peer: IpAddr, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        if !node.announcer.claimed(now) {
            return;
        }
        warn!(vhost = %node.spec.name, %peer, "Heard a worse master; announces the addresses again");
        if node.queue.defines(EntryPoint::OnPeerClaim) {
            let mut event = node.event(EntryPoint::OnPeerClaim, false);
            event.peer = Some(peer);
            node.queue.put_aside(event);
        }
        self.announce(index);
    }

    fn announce(&self, index: usize) {
        let Some(node) = self.nodes.get(index) else { return };
        if node.holding {
            self.shared.executor.announce(&node.spec.name, &node.spec.interface, &node.spec.addresses);
        }
    }

    // ---- time

    fn timers(&mut self) {
        let now = clock::now();
        let due = |when: Option<Timestamp>| when.is_some_and(|when| when <= now);
        for index in 0..self.nodes.len() {
            if self.nodes.get(index).is_some_and(|node| due(node.wake)) {
                self.handle(index, Input::Timer, now);
            }
        }
        // Advertisements are out; now what may come a little later.
        for index in 0..self.nodes.len() {
            let Some(node) = self.nodes.get_mut(index) else { continue };
            if node.announcer.take_due(now) {
                self.announce(index);
            }
            let Some(node) = self.nodes.get_mut(index) else { continue };
            if due(node.drop_again) {
                self.drop_addresses(index, now);
            }
            let Some(node) = self.nodes.get_mut(index) else { continue };
            if due(node.resigned_until) {
                node.resigned_until = None;
                self.demote(index, now);
            }
            self.retry_degraded(index, now);
            let Some(node) = self.nodes.get_mut(index) else { continue };
            if node.put_back.take_due(now) {
                let port = node.port;
                self.put_back_missing(port);
            }
        }
    }

    fn retry_degraded(&mut self, index: usize, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let Some(degraded) = &mut node.degraded else { return };
        if degraded.retry_at.is_none_or(|at| now < at) {
            return;
        }
        degraded.retry_at = None;
        if node.is_master() {
            let event = node.event(EntryPoint::OnMaster, false);
            node.queue.put(event, true);
        }
    }

    fn demote(&mut self, index: usize, now: Timestamp) {
        let Some(demotion) = self.nodes.get(index).map(Node::demotion) else { return };
        self.handle(index, Input::Demote(demotion), now);
    }

    // ---- hooks

    fn hook_news(&mut self, news: HookNews) {
        let now = clock::now();
        match news {
            HookNews::Finished { vhost, entry, seq, result } => self.hook_finished(vhost, entry, seq, result, now),
            HookNews::Demote { vhost, by, reason } => {
                let Some(node) = self.nodes.get_mut(vhost) else { return };
                info!(vhost = %node.spec.name, by, reason, "Demotion was asked for");
                node.asked_demotion = crate::types::Demotion::new(by);
                self.demote(vhost, now);
            }
            HookNews::Resign { vhost, reason } => {
                let Some(node) = self.nodes.get_mut(vhost) else { return };
                node.resigned_until = Some(now + RESIGN_HOLD.max(node.machine.master_down() * 3));
                self.demote(vhost, now);
                self.handle(vhost, Input::Resign(Cause::Resigned { reason }), now);
            }
        }
    }

    fn hook_finished(&mut self, index: usize, entry: EntryPoint, seq: u64, result: Result<(), Failure>, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let current = node.last.as_ref().map_or(0, |last| last.seq) == seq;
        match (entry, result) {
            (EntryPoint::BeforeBackup, _) if node.leaving => self.leave(index, now),
            _ if !current => {}
            (EntryPoint::BeforeMaster, Ok(())) if node.asking => self.handle(index, Input::Approve, now),
            (EntryPoint::BeforeMaster, Ok(())) if node.is_master() => self.take_addresses_now(index, now),
            (EntryPoint::BeforeMaster, Err(failure)) if node.asking => {
                node.asking = false;
                warn!(vhost = %node.spec.name, hook = %failure.hook, error = %failure.error, "Stays backup");
                self.handle(index, Input::Refuse { retry_after: REFUSED_RETRY }, now);
            }
            (EntryPoint::BeforeMaster, Err(failure)) => self.resign_for(index, &failure, now),
            (EntryPoint::OnMaster, Ok(())) => self.hook_recovered(index, now),
            (EntryPoint::OnMaster, Err(failure)) => match failure.policy {
                OnFailure::Resign => self.resign_for(index, &failure, now),
                OnFailure::Keep | OnFailure::Ignore => {}
            },
            (
                EntryPoint::BeforeMaster
                | EntryPoint::BeforeBackup
                | EntryPoint::OnBackup
                | EntryPoint::OnPeerClaim
                | EntryPoint::Health
                | EntryPoint::OnStop,
                _,
            ) => {}
        }
    }

    fn take_addresses_now(&mut self, index: usize, now: Timestamp) {
        self.take_addresses(index, now);
        // Putting them up may have failed and left a follow-up.
        self.handle(index, Input::Timer, now);
    }

    fn hook_recovered(&mut self, index: usize, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        if let Some(degraded) = node.degraded.take() {
            info!(vhost = %node.spec.name, was = degraded.reason, "Is no longer degraded");
            self.demote(index, now);
        }
    }

    /// Hands over because a hook failed; unless nobody took over the last time, then an address without its service
    /// is better than no address.
    fn resign_for(&mut self, index: usize, failure: &Failure, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        if failure.error == HookError::Superseded || !node.is_master() {
            return;
        }
        let reason = format!("hook {}: {}", failure.hook, failure.error);
        if let Some(degraded) = &mut node.degraded
            && node.spec.keep_degraded
            && node.holding
        {
            let pause = degraded.plan(now);
            warn!(vhost = %node.spec.name, reason, retry_s = pause.as_secs(), "Stays master, degraded: nobody took over");
            degraded.reason = reason;
            return;
        }
        node.degraded.get_or_insert_with(|| Degraded::new(reason.clone()));
        self.demote(index, now);
        self.handle(index, Input::Resign(Cause::HookFailed { reason }), now);
    }

    // ---- the host

    async fn host_event(&mut self, event: HostEvent) {
        match event {
            HostEvent::Link(link) => self.link_changed(link, false).await,
            HostEvent::LinkGone(link) => self.link_changed(link, true).await,
            HostEvent::AddressRemoved { index, address } => {
                self.put_back(index, address.ip);
                self.look_at_sources(index).await;
            }
            HostEvent::AddressAdded { index, .. } => self.look_at_sources(index).await,
            HostEvent::Overrun => {
                warn!("Lost events of the kernel; looks at everything again");
                self.look().await;
            }
        }
    }

    async fn link_changed(&mut self, link: Link, gone: bool) {
        let Some(port) = self.ports.iter().position(|port| port.name == link.name) else { return };
        let index = link.index;
        self.set_link(port, (!gone).then_some(link));
        if !gone {
            self.look_at_sources(index).await;
        }
    }

    fn set_link(&mut self, port: usize, link: Option<Link>) {
        let Some(port) = self.ports.get_mut(port) else { return };
        let before = (port.is_up(), port.is_running());
        port.set_link(link);
        let (up, running) = (port.is_up(), port.is_running());
        if before != (up, running) {
            info!(interface = %port.name, up, running, "The link changed");
        }
        let members = port.members.clone();
        let now = clock::now();
        for member in members {
            let Some(node) = self.nodes.get(member) else { continue };
            let takes_part = if node.spec.ignore_link_state { up } else { running };
            let input = if takes_part { Input::LinkUp } else { Input::LinkDown };
            if self.stopping.is_none() {
                self.handle(member, input, now);
            }
        }
    }

    /// Somebody removed an address: if it is ours and we are master, it comes back.
    fn put_back(&mut self, link: u32, ip: IpAddr) {
        let Some(port) = self.ports.iter().find(|port| port.index() == Some(link)) else { return };
        if !port.is_up() {
            return;
        }
        let (dev, members) = (port.name.clone(), port.members.clone());
        if self.present(&dev, ip) {
            return;
        }
        for member in members {
            let Some(node) = self.nodes.get_mut(member).filter(|node| node.holding) else { continue };
            let Some(address) = node.spec.addresses.iter().copied().find(|a| a.ip == ip) else { continue };
            if !node.put_back.may(clock::now()) {
                continue;
            }
            let suspects = suspects().join(", ");
            match self.shared.executor.add_address(&node.spec.interface, address) {
                Ok(()) => warn!(vhost = %node.spec.name, %address, suspects, "Put back an address that somebody removed"),
                Err(error) => warn!(vhost = %node.spec.name, %address, %error, "Could not put back an address"),
            }
            self.announce(member);
        }
    }

    /// Reads links and addresses anew: at start, after lost events, and while an interface is missing.
    async fn look(&mut self) {
        let links = match self.shared.executor.host().answer(&Query::Links, LOOK_LIMIT).await {
            Ok(Reply::Links(links)) => links,
            Ok(_) => return,
            Err(error) => {
                warn!(%error, "Could not look at the links");
                return;
            }
        };
        for port in 0..self.ports.len() {
            let Some(name) = self.ports.get(port).map(|port| port.name.clone()) else { continue };
            let link = links.iter().find(|link| link.name == name).cloned();
            if link.is_some() {
                self.look_at_addresses(port).await;
            }
            self.set_link(port, link);
            self.put_back_missing(port);
        }
    }

    fn present(&self, dev: &IfName, ip: IpAddr) -> bool {
        self.shared.executor.host().address_present(dev, ip).unwrap_or_else(|error| {
            warn!(interface = %dev, %ip, %error, "Could not look for an address");
            false
        })
    }

    fn put_back_missing(&mut self, port: usize) {
        let Some(port) = self.ports.get(port) else { return };
        let Some(link) = port.index() else { return };
        let held: Vec<IpAddr> = port
            .members
            .iter()
            .filter_map(|member| self.nodes.get(*member))
            .filter(|node| node.holding)
            .flat_map(|node| node.spec.addresses.iter().map(|a| a.ip))
            .collect();
        for ip in held {
            self.put_back(link, ip);
        }
    }

    async fn look_at_sources(&mut self, link: u32) {
        let Some(port) = self.ports.iter().position(|port| port.index() == Some(link)) else { return };
        self.look_at_addresses(port).await;
    }

    async fn look_at_addresses(&mut self, index: usize) {
        let Some(port) = self.ports.get(index) else { return };
        let query = Query::Addresses { dev: Some(port.name.clone()) };
        let Ok(Reply::Addresses(there)) = self.shared.executor.host().answer(&query, LOOK_LIMIT).await else { return };
        let specs: Vec<config::Vhost> = self.nodes.iter().map(|node| node.spec.clone()).collect();
        let sources = Sources::choose(there.iter().map(|(_, address)| address.ip), &floating(&specs));
        let Some(port) = self.ports.get_mut(index) else { return };
        if !port.set_sources(sources) {
            return;
        }
        let now = clock::now();
        for member in port.members.clone() {
            self.tell_sources(member, sources, now);
        }
    }

    fn tell_sources(&mut self, member: usize, sources: Sources, now: Timestamp) {
        let Some(node) = self.nodes.get(member) else { return };
        let configured = [node.spec.source_address.map(IpAddr::V4), node.spec.source_address6.map(IpAddr::V6)];
        for (family, configured) in Family::ALL.into_iter().zip(configured) {
            let address = configured.or(sources.of(family));
            self.handle(member, Input::OwnAddress { family, address }, now);
        }
    }

    /// A predecessor that was killed leaves its addresses up: they go before the first advertisement.
    fn remove_leftovers(&self) {
        for node in &self.nodes {
            if !node.spec.manage_addresses {
                continue;
            }
            for address in &node.spec.addresses {
                if self.present(&node.spec.interface, address.ip) {
                    warn!(vhost = %node.spec.name, %address, "Removes an address that somebody left behind");
                    self.shared.executor.remove_leftover(&node.spec.interface, *address);
                }
            }
        }
    }

    // ---- stopping

    fn stop(&mut self, signal: &'static str) {
        if self.stopping.is_some() {
            return;
        }
        info!(signal, "Stops");
        _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let now = clock::now();
        self.stopping = Some(Stopping { deadline: now + self.shutdown_timeout, done: None });
        for index in 0..self.nodes.len() {
            let Some(node) = self.nodes.get_mut(index) else { continue };
            node.leaving = true;
            if node.is_master() && node.queue.defines(EntryPoint::BeforeBackup) {
                let event = node.event(EntryPoint::BeforeBackup, false);
                node.queue.put(event, false);
            } else {
                self.leave(index, now);
            }
        }
    }

    /// The virtual host's orderly end: addresses down, bow-out, `on_backup`, undoing.
    fn leave(&mut self, index: usize, now: Timestamp) {
        self.handle(index, Input::Shutdown, now);
        if let Some(node) = self.nodes.get_mut(index) {
            node.leaving = false;
            node.wake = None;
        }
        if self.nodes.iter().all(|node| !node.leaving) {
            self.finish();
        }
    }

    /// Everything is let go of; what remains are the hooks.
    fn finish(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        if stopping.done.is_some() {
            return;
        }
        let (sender, receiver) = oneshot::channel();
        stopping.done = Some(receiver);
        let ends: Vec<_> = self
            .nodes
            .iter()
            .map(|node| {
                let stop = node.queue.defines(EntryPoint::OnStop).then(|| node.event(EntryPoint::OnStop, false));
                (Rc::clone(&node.queue), stop)
            })
            .collect();
        tokio::task::spawn_local(async move {
            for (queue, stop) in ends {
                queue.settled().await;
                if let Some(event) = stop {
                    queue.put(event, false);
                    queue.settled().await;
                }
            }
            _ = sender.send(());
        });
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
