//! What the virtual hosts of this node depend on (`[track.NAME]`): each track once, with its state.

use std::collections::BTreeMap;

use crate::config::{self, Demote, Looked, Tracked};
use crate::engine::report::{TrackState, TrackStatus};
use crate::engine::vhost::asked_hooks::AskedHooks;
use crate::host::children::prober::Finding;
use crate::host::clock;
use crate::types::{Demotion, IfName, Name, shown_within};

/// All tracks of this node.
#[derive(Debug, Default)]
pub(in crate::engine) struct Tracks {
    all: BTreeMap<Name, Track>,
    /// Those that ask hooks: when, and what is asked now.
    pub(in crate::engine) asked: AskedHooks,
}

/// One of them.
#[derive(Debug)]
pub(in crate::engine) struct Track {
    pub(in crate::engine) spec: config::Track,
    pub(in crate::engine) standing: Standing,
    /// Milliseconds since 1970 when that changed.
    since_ms: u64,
    /// How often it went down.
    pub(in crate::engine) falls: u64,
    /// How many attempts in a row contradict it.
    against: u32,
    /// The number of the link that it follows, while there is one.
    pub(in crate::engine) link: Option<u32>,
}

/// Its current state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Standing {
    /// There is no result yet.
    Unknown,
    Up,
    Down {
        /// In a line.
        reason: String,
        /// What a command wrote, in lines.
        output: String,
        /// How often a number as its `demote` counts: the number in a file.
        times: u8,
    },
}

/// What a result changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Change {
    Nothing,
    /// It is down as before, for another reason or by another number.
    Reason,
    /// It goes up or down, or has its first result.
    State,
}

impl Standing {
    /// For this reason.
    pub(in crate::engine) const fn down(reason: String) -> Self {
        Self::Down {
            reason,
            output: String::new(),
            times: 1,
        }
    }

    const fn is_down(&self) -> bool {
        matches!(self, Self::Down { .. })
    }
}

/// What is kept of the words of a prober, in characters.
const REASON_MAX: usize = 300;
/// What is kept of the output of a command, in characters.
const OUTPUT_MAX: usize = 1 << 10;
/// What a file counts as that holds no number: as much as any can cost.
const UNREADABLE: u8 = 240;

/// What a track costs a virtual host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Burden {
    pub(in crate::engine) track: Name,
    pub(in crate::engine) demote: Demote,
    pub(in crate::engine) reason: String,
    /// How often a number as `demote` counts.
    times: u8,
    /// Only while it does not take part yet: there is no result.
    pub(in crate::engine) pending: bool,
}

impl Track {
    fn new(spec: config::Track) -> Self {
        Self {
            spec,
            standing: Standing::Unknown,
            since_ms: clock::wall_ms(),
            falls: 0,
            against: 0,
            link: None,
        }
    }

    /// Takes a result.
    pub(in crate::engine) fn stand(&mut self, standing: Standing) -> Change {
        if self.standing == standing {
            return Change::Nothing;
        }
        let change = if self.standing.is_down() && standing.is_down() {
            Change::Reason
        } else {
            self.since_ms = clock::wall_ms();
            self.falls += u64::from(standing.is_down());
            Change::State
        };
        self.standing = standing;
        change
    }

    /// Is it asked about again and again?
    pub(in crate::engine) const fn is_asked(&self) -> bool {
        self.spec.tracked.poll().is_some()
    }

    /// What this finding says, which is that of a process that may have been taken over.
    fn found(&self, finding: Finding) -> Standing {
        let is_file = matches!(&self.spec.tracked, Tracked::Local(local) if matches!(local.what, Looked::File(_)));
        match finding {
            Finding::Well | Finding::Number(0) => Standing::Up,
            Finding::Number(times) => Standing::Down {
                reason: format!("the file holds {times}"),
                output: String::new(),
                times,
            },
            Finding::Bad { reason, output } => Standing::Down {
                reason: shown_within(reason, REASON_MAX),
                output: output.chars().take(OUTPUT_MAX).collect(),
                times: if is_file { UNREADABLE } else { 1 },
            },
        }
    }

    /// Counts an attempt: what it is then, if that may be something else. The first one counts at
    /// once, unless a master has the track: that one serves already, and a track that is new to it
    /// must fail as often as any other.
    pub(in crate::engine) fn count(&mut self, finding: Finding, serves: bool) -> Option<Standing> {
        let poll = self.spec.tracked.poll()?;
        let found = self.found(finding);
        let needed = match (&self.standing, &found) {
            (Standing::Up, Standing::Up) => {
                self.against = 0;
                return None;
            }
            (Standing::Unknown, Standing::Down { .. }) => u32::from(serves) * poll.fall,
            (Standing::Unknown, _) => 1,
            (Standing::Up, _) => poll.fall,
            (Standing::Down { .. }, Standing::Up) => poll.rise,
            (Standing::Down { .. }, _) => 0,
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        self.against = 0;
        Some(found)
    }

    fn burden(&self, name: &Name) -> Option<Burden> {
        let (reason, times, pending) = match &self.standing {
            Standing::Up => return None,
            Standing::Unknown => ("there is no result yet".to_owned(), 0, true),
            Standing::Down { reason, times, .. } => (reason.clone(), *times, false),
        };
        Some(Burden {
            track: name.clone(),
            demote: self.spec.demote,
            reason,
            times,
            pending,
        })
    }
}

impl Tracks {
    /// Those of a configuration, of which nothing is known yet.
    pub(in crate::engine) fn of(specs: &BTreeMap<Name, config::Track>) -> Self {
        let tracks = specs.iter();
        let tracks = tracks.map(|(name, spec)| (name.clone(), Track::new(spec.clone())));
        let mut tracks = Self {
            all: tracks.collect(),
            asked: AskedHooks::default(),
        };
        tracks.asked.follow(specs);
        tracks
    }

    /// These are the tracks from now on: one that follows the same thing as before keeps its state.
    /// Tells what changes.
    pub(in crate::engine) fn follow(
        &mut self,
        specs: &BTreeMap<Name, config::Track>,
        changes: &mut Vec<String>,
    ) {
        self.asked.follow(specs);
        self.all.retain(|name, _| {
            let stays = specs.contains_key(name);
            if !stays {
                changes.push(format!("track {name}: removed"));
            }
            stays
        });
        for (name, spec) in specs {
            match self.all.get_mut(name) {
                None => {
                    changes.push(format!("track {name}: added"));
                    self.all.insert(name.clone(), Track::new(spec.clone()));
                }
                Some(track) if track.spec != *spec => {
                    changes.push(format!("track {name}: changed"));
                    if track.spec.tracked.is_same_thing(&spec.tracked) {
                        track.spec = spec.clone();
                        track.against = 0;
                    } else {
                        *track = Track::new(spec.clone());
                    }
                }
                Some(_) => {}
            }
        }
    }

    pub(in crate::engine) fn get_mut(&mut self, name: &Name) -> Option<&mut Track> {
        self.all.get_mut(name)
    }

    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (&Name, &Track)> {
        self.all.iter()
    }

    /// Those of a link, with its name.
    pub(in crate::engine) fn links(&mut self) -> impl Iterator<Item = (&Name, IfName, &mut Track)> {
        self.all
            .iter_mut()
            .filter_map(|(name, track)| match track.spec.tracked.clone() {
                Tracked::Link(interface) => Some((name, interface, track)),
                Tracked::Local(_) | Tracked::Remote(_) | Tracked::Hook(_) => None,
            })
    }

    /// What these tracks of a virtual host cost it now.
    pub(in crate::engine) fn burdens(&self, names: &[Name]) -> Vec<Burden> {
        let known = names.iter().filter_map(|name| self.all.get_key_value(name));
        known
            .filter_map(|(name, track)| track.burden(name))
            .collect()
    }

    /// For operators.
    pub(in crate::engine) fn status(&self) -> Vec<TrackStatus> {
        let tracks = self.all.iter();
        tracks.map(|(name, track)| track.status(name)).collect()
    }
}

impl Track {
    fn status(&self, name: &Name) -> TrackStatus {
        let (state, reason, output, times) = match &self.standing {
            Standing::Unknown => (TrackState::Unknown, "", "", 1),
            Standing::Up => (TrackState::Up, "", "", 1),
            Standing::Down {
                reason,
                output,
                times,
            } => (TrackState::Down, reason.as_str(), output.as_str(), *times),
        };
        TrackStatus {
            name: name.clone(),
            tracked: self.spec.tracked.to_string(),
            state,
            demote: match self.spec.demote {
                Demote::By(by) => Some(cost(by, times)),
                Demote::Fault => None,
            },
            reason: reason.to_owned(),
            output: output.to_owned(),
            since_ms: self.since_ms,
            vhosts: Vec::new(),
        }
    }
}

/// What a number as `demote` costs that counts so often.
fn cost(by: u8, times: u8) -> u8 {
    by.saturating_mul(times).min(UNREADABLE)
}

impl Burden {
    /// Does it keep the virtual host from taking part?
    pub(in crate::engine) fn is_fault(&self) -> bool {
        self.demote == Demote::Fault
    }

    /// What it adds to the advskew.
    pub(in crate::engine) fn demotion(&self) -> Demotion {
        match self.demote {
            Demote::By(by) if !self.pending => Demotion::new(cost(by, self.times)),
            Demote::By(_) | Demote::Fault => Demotion::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attempt for each letter, `+` or `-`; what it is after each.
    fn played(track: &mut Track, attempts: &str, serves: bool) -> String {
        let mut after = |attempt: char| {
            let finding = if attempt == '+' {
                Finding::Well
            } else {
                Finding::bad("refused")
            };
            if let Some(standing) = track.count(finding, serves) {
                track.stand(standing);
            }
            match track.standing {
                Standing::Unknown => '?',
                Standing::Up => 'U',
                Standing::Down { .. } => 'D',
            }
        };
        attempts.chars().map(&mut after).collect()
    }

    fn tcp(rise: u32, fall: u32) -> Track {
        let second = std::time::Duration::from_secs(1);
        let poll = config::Poll {
            interval: second,
            timeout: second,
            rise,
            fall,
        };
        Track::new(config::Track {
            tracked: Tracked::Remote(Box::new(config::Remote {
                asked: config::Asked::Tcp("192.0.2.1:80".parse().unwrap()),
                poll,
            })),
            demote: Demote::Fault,
            place: config::Place::default(),
        })
    }

    #[test]
    fn attempts_are_counted() {
        for (rise, fall, serves, attempts, after) in [
            (2, 3, false, "+--+---", "UUUUUUD"),
            (2, 3, false, "-+-++", "DDDDU"),
            (1, 1, false, "+-+-", "UDUD"),
            (2, 3, false, "-", "D"),
            (2, 3, true, "---", "??D"),
            (2, 3, true, "-+---", "?UUUD"),
            (100, 100, false, "+-----", "UUUUUU"),
        ] {
            let mut track = tcp(rise, fall);
            assert_eq!(played(&mut track, attempts, serves), after, "{attempts}");
        }
    }

    #[test]
    fn a_reload_keeps_the_state_of_what_is_still_the_same() {
        let name: Name = "db".parse().unwrap();
        let spec = |track: Track| BTreeMap::from([(name.clone(), track.spec)]);
        let mut tracks = Tracks::of(&spec(tcp(2, 3)));
        assert_eq!(played(tracks.get_mut(&name).unwrap(), "-", false), "D");
        let mut changes = Vec::new();
        tracks.follow(&spec(tcp(2, 3)), &mut changes);
        assert!(changes.is_empty());
        tracks.follow(&spec(tcp(1, 1)), &mut changes);
        assert_eq!(changes, ["track db: changed"]);
        assert!(matches!(
            tracks.get_mut(&name).unwrap().standing,
            Standing::Down { .. }
        ));
        let mut other = tcp(1, 1);
        other.spec.tracked = Tracked::Link("eth1".parse().unwrap());
        tracks.follow(&spec(other), &mut changes);
        assert_eq!(tracks.get_mut(&name).unwrap().standing, Standing::Unknown);
        tracks.follow(&BTreeMap::new(), &mut changes);
        assert_eq!(changes.last().unwrap(), "track db: removed");
    }
}
