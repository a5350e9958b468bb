//! Tracks (`[track.NAME]`): results come in here, and what they cost the virtual hosts that name
//! them follows ([ADR 0052](../../../docs/adr/0052-tracks.md)).

pub(in crate::engine) mod hook;
mod probe;

use tracing::{debug, info, warn};

use crate::effect::Link;
use crate::engine::environment::Environment;
use crate::engine::report::TrackStatus;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::node::Node;
use crate::engine::vhost::tracks::{Change, Standing};
use crate::host::children::prober::Finding;
use crate::host::{Host as _, clock};
use crate::journal::{DaemonCause, Note};
use crate::proto::{Input, Reason};
use crate::types::{IfName, Name, State, Timestamp};

impl<E: Environment> Engine<E> {
    /// A track has a result.
    pub(in crate::engine) fn tracked(&mut self, name: &Name, standing: Standing, now: Timestamp) {
        let Some(track) = self.tracks.get_mut(name) else {
            return;
        };
        let was_unknown = track.standing == Standing::Unknown;
        let change = track.stand(standing);
        // A program may fail in other words each time.
        let is_news = change == Change::State || !track.is_asked();
        let reason = match &track.standing {
            _ if change == Change::Nothing => return,
            Standing::Down { reason, .. } if !is_news => {
                debug!(track = %name, reason, "A track is still down");
                reason.clone()
            }
            Standing::Down { reason, .. } => {
                warn!(track = %name, reason, "A track is down");
                reason.clone()
            }
            Standing::Up if was_unknown => {
                info!(track = %name, "A track is up");
                String::new()
            }
            Standing::Up | Standing::Unknown => {
                info!(track = %name, "A track is up again");
                String::new()
            }
        };
        // The first good result is no news.
        if is_news && !(was_unknown && reason.is_empty()) {
            self.shared.notices.track(name, &reason);
        }
        let users: Vec<VhostId> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.spec.tracks.contains(name))
            .map(|(index, _)| index)
            .collect();
        for index in users {
            if is_news {
                let note = Note::Track {
                    track: name.clone(),
                    reason: reason.clone(),
                };
                let mut journal = self.shared.journal.borrow_mut();
                journal.note(now, index.number(), note);
            }
            self.weigh_tracks(index, now);
        }
    }

    /// Somebody looked at what a track follows.
    pub(in crate::engine) fn probed(&mut self, name: &Name, finding: Finding, now: Timestamp) {
        let serves = self
            .nodes
            .values()
            .any(|node| node.is_master() && node.spec.tracks.contains(name));
        let track = self.tracks.get_mut(name);
        let counted = track.and_then(|track| track.count(finding, serves));
        if let Some(standing) = counted {
            self.tracked(name, standing, now);
        }
    }

    /// On a simulated machine nobody asks but hooks: what the kernel does not report is well until a
    /// scenario says otherwise.
    pub(in crate::engine) fn assume_tracks_up(&mut self) {
        let asked: Vec<Name> = self
            .tracks
            .iter()
            .filter(|(_, track)| {
                let hook = track.spec.tracked.hook();
                track.is_asked() && hook.is_none_or(|hook| self.hooks.current(hook).is_none())
            })
            .map(|(name, _)| name.clone())
            .collect();
        let now = clock::now();
        for name in asked {
            self.tracked(&name, Standing::Up, now);
        }
    }

    /// What its tracks cost a virtual host may have changed.
    pub(in crate::engine) fn weigh_tracks(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let (had_fault, was_kept_out) = (node.track_fault().is_some(), node.is_kept_out());
        let burdens = self.tracks.burdens(&node.spec.tracks);
        if node.burdens == burdens {
            return;
        }
        node.burdens = burdens;
        let fault = node
            .track_fault()
            .map(|fault| format!("track {}: {}", fault.track, fault.reason));
        let freed = was_kept_out && !node.is_kept_out();
        self.demote(index, now);
        match fault {
            _ if self.stopping.is_some() => {}
            Some(reason) if !had_fault => {
                self.leave_with_link_up(index, DaemonCause::Track.because(&reason), now);
            }
            _ if freed => self.may_take_part_again(index, now),
            _ => {}
        }
    }

    /// Lets go as if its link were down. The link is up, though, so peers are told once the
    /// addresses are gone; those that hooks hold are gone when `on_backup` has ended.
    pub(in crate::engine) fn leave_with_link_up(
        &mut self,
        index: VhostId,
        reason: Reason,
        now: Timestamp,
    ) {
        let was_master = self.nodes.get(index).is_some_and(Node::is_master);
        self.handle(index, Input::Fault(reason), now);
        let is_gone =
            |node: &Node<E::Host>| node.spec.manage_addresses && node.drop_again.is_none();
        if was_master && self.nodes.get(index).is_some_and(is_gone) {
            self.bow_out(index);
        }
    }

    fn may_take_part_again(&mut self, index: VhostId, now: Timestamp) {
        let waits = self
            .nodes
            .get(index)
            .is_some_and(|node| node.machine.state() == State::Init);
        if waits && self.may_take_part(index) {
            self.handle(index, Input::LinkUp, now);
        }
    }

    /// Looks at the links of all tracks: at start, after lost events, and after a reload.
    pub(in crate::engine) fn look_at_tracked_links(&mut self) {
        let tracks: Vec<(Name, IfName)> = self
            .tracks
            .links()
            .map(|(name, interface, _)| (name.clone(), interface))
            .collect();
        for (name, interface) in tracks {
            match self.shared.executor.host().find_link(&interface) {
                Ok(link) => self.tracked_link(&name, &interface, link.as_ref()),
                Err(error) => {
                    warn!(track = %name, %interface, %error, "Could not query an interface");
                }
            }
        }
        let all: Vec<VhostId> = self.nodes.ids().collect();
        let now = clock::now();
        for index in all {
            self.weigh_tracks(index, now);
        }
    }

    /// The kernel reports a link: tracks may follow it, or have followed it under another name.
    pub(in crate::engine) fn tracked_link_changed(&mut self, link: &Link, gone: bool) {
        let mut concerned: Vec<(Name, IfName, bool)> = Vec::new();
        for (name, interface, track) in self.tracks.links() {
            let is_it = !gone && link.is_called(&interface);
            if is_it || track.link == Some(link.index) {
                concerned.push((name.clone(), interface, is_it));
            }
        }
        for (name, interface, is_it) in concerned {
            self.tracked_link(&name, &interface, is_it.then_some(link));
        }
    }

    fn tracked_link(&mut self, name: &Name, interface: &IfName, link: Option<&Link>) {
        if let Some(track) = self.tracks.get_mut(name) {
            track.link = link.map(|link| link.index);
        }
        let standing = match link {
            Some(link) if link.up && link.carrier => Standing::Up,
            other => Standing::down(match other {
                None => format!("{interface} does not exist"),
                Some(link) if link.up => format!("{interface} has no carrier"),
                Some(_) => format!("{interface} is set down"),
            }),
        };
        self.tracked(name, standing, clock::now());
    }

    /// For operators.
    pub(in crate::engine) fn track_status(&self) -> Vec<TrackStatus> {
        let users = |track: &Name| {
            self.nodes
                .values()
                .filter(|node| node.spec.tracks.contains(track))
                .map(|node| node.spec.name.clone())
                .collect()
        };
        let tracks = self.tracks.status().into_iter();
        tracks
            .map(|track| TrackStatus {
                vhosts: users(&track.name),
                ..track
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::report::TrackState;
    use crate::engine::sim::bench::{Bench, Frames, engine, link, play, step};
    use crate::host::SimHost;
    use crate::host::clock::Virtual;
    use crate::host::kernel::netlink::HostEvent;

    const FAULT: &str =
        "tracks = [\"up\"]\n[track.up]\nkind = \"link\"\ninterface = \"eth1\"\ndemote = \"fault\"";

    fn uplink(carrier: bool) -> Link {
        Link {
            name: "eth1".parse().unwrap(),
            index: 3,
            carrier,
            ..link()
        }
    }

    async fn with_uplink(carrier: bool, wire: &Frames, more: &str) -> Engine<Bench> {
        let host = SimHost::new().with_link(link()).with_link(uplink(carrier));
        engine(host, wire, more).await
    }

    fn until_master(engine: &mut Engine<Bench>, clock: &Virtual) {
        while !engine.first().is_master() {
            step(engine, clock);
        }
    }

    #[test]
    fn a_fault_lets_go_with_a_bow_out_and_its_end_takes_part_again() {
        play(async |clock| {
            let wire = Frames::default();
            let mut engine = with_uplink(true, &wire, FAULT).await;
            until_master(&mut engine, &clock);
            wire.take();
            engine.host_event(HostEvent::Link(uplink(false)));
            let node = engine.first();
            assert_eq!(node.machine.state(), State::Init);
            assert!(!node.holding);
            let cause = node.last.as_ref().unwrap().cause.clone();
            assert!(DaemonCause::Track.is(&cause), "{cause}");
            assert_eq!(cause.to_string(), "track up: eth1 has no carrier");
            assert_eq!(wire.bow_outs(), 1);
            let status = engine.status();
            assert_eq!(
                status.vhosts[0].condition,
                "not taking part: track up: eth1 has no carrier"
            );
            assert_eq!(status.tracks[0].state, TrackState::Down);
            // The own link comes again: that alone changes nothing.
            engine.host_event(HostEvent::Link(link()));
            assert_eq!(engine.first().machine.state(), State::Init);
            engine.host_event(HostEvent::Link(uplink(true)));
            assert_eq!(engine.first().machine.state(), State::Backup);
            until_master(&mut engine, &clock);
        });
    }

    #[test]
    fn nobody_takes_part_before_the_first_result_or_with_a_bad_one() {
        play(async |clock| {
            let wire = Frames::default();
            let mut engine = with_uplink(false, &wire, FAULT).await;
            assert_eq!(engine.first().machine.state(), State::Init);
            engine.host_event(HostEvent::Link(uplink(true)));
            until_master(&mut engine, &clock);
            // A reload brings another track: what has begun goes on until there is a result.
            let mut specs = engine.config.tracks.clone();
            let other: Name = "other".parse().unwrap();
            specs.insert(other.clone(), specs.values().next().unwrap().clone());
            engine.tracks.follow(&specs, &mut Vec::new());
            engine.first_mut().spec.tracks.push(other.clone());
            let now = clock::now();
            engine.weigh_tracks(VhostId::FIRST, now);
            assert!(engine.first().is_master());
            assert!(!engine.may_take_part(VhostId::FIRST), "if it had to begin");
            let reason = "it is so".to_owned();
            engine.tracked(&other, Standing::down(reason), now);
            assert_eq!(engine.first().machine.state(), State::Init);
        });
    }

    #[test]
    fn a_number_is_a_part_of_the_demotion() {
        play(async |clock| {
            let wire = Frames::default();
            let more = FAULT.replace("\"fault\"", "50");
            let mut engine = with_uplink(true, &wire, &more).await;
            until_master(&mut engine, &clock);
            engine.host_event(HostEvent::LinkGone {
                link: uplink(true),
                moved: false,
            });
            let node = engine.first();
            assert!(node.is_master(), "nobody better is there");
            assert_eq!(node.machine.demotion().get(), 50);
            let parts = node.demotions(clock::now());
            assert_eq!(
                parts[0].to_string(),
                "50: track up: eth1 does not exist; ends when the track is up again"
            );
            engine.host_event(HostEvent::Link(uplink(true)));
            assert_eq!(engine.first().machine.demotion().get(), 0);
            assert_eq!(engine.tracks.iter().next().unwrap().1.falls, 1);
        });
    }

    #[test]
    fn a_link_that_is_renamed_is_down_by_its_old_name() {
        play(async |_| {
            let mut engine = with_uplink(true, &Frames::default(), FAULT).await;
            assert_eq!(engine.first().machine.state(), State::Backup);
            let renamed = Link {
                name: "other0".parse().unwrap(),
                ..uplink(true)
            };
            engine.host_event(HostEvent::Link(renamed));
            assert_eq!(engine.first().machine.state(), State::Init);
        });
    }

    #[test]
    fn a_track_that_flaps_is_damped_like_a_link() {
        play(async |clock| {
            let mut engine = with_uplink(true, &Frames::default(), FAULT).await;
            until_master(&mut engine, &clock);
            let mut changes = 0;
            for carrier in [false, true].repeat(50) {
                clock.advance(clock::now() + std::time::Duration::from_millis(50));
                let before = engine.first().machine.state();
                engine.host_event(HostEvent::Link(uplink(carrier)));
                changes += usize::from(engine.first().machine.state() != before);
            }
            assert!(changes <= 3, "{changes} changes of state");
        });
    }
}
