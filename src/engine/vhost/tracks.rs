//! What the virtual hosts of this node depend on (`[track.NAME]`): each track once, with its state.

use std::collections::BTreeMap;

use crate::config::{self, Demote, Tracked};
use crate::engine::report::{TrackState, TrackStatus};
use crate::host::clock;
use crate::types::{Demotion, IfName, Name};

/// All tracks of this node.
#[derive(Debug, Default)]
pub(in crate::engine) struct Tracks(BTreeMap<Name, Track>);

/// One of them.
#[derive(Debug)]
pub(in crate::engine) struct Track {
    pub(in crate::engine) spec: config::Track,
    pub(in crate::engine) standing: Standing,
    /// Milliseconds since 1970 when that changed.
    since_ms: u64,
    /// How often it went down.
    pub(in crate::engine) falls: u64,
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
        reason: String,
    },
}

/// What a track costs a virtual host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Burden {
    pub(in crate::engine) track: Name,
    pub(in crate::engine) demote: Demote,
    pub(in crate::engine) reason: String,
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
            link: None,
        }
    }

    /// Takes a result; true if it changes anything.
    pub(in crate::engine) fn stand(&mut self, standing: Standing) -> bool {
        if self.standing == standing {
            return false;
        }
        let is_down = |standing: &Standing| matches!(standing, Standing::Down { .. });
        if is_down(&self.standing) != is_down(&standing) || self.standing == Standing::Unknown {
            self.since_ms = clock::wall_ms();
        }
        self.falls += u64::from(is_down(&standing) && !is_down(&self.standing));
        self.standing = standing;
        true
    }

    fn burden(&self, name: &Name) -> Option<Burden> {
        let (reason, pending) = match &self.standing {
            Standing::Up => return None,
            Standing::Unknown => ("there is no result yet".to_owned(), true),
            Standing::Down { reason } => (reason.clone(), false),
        };
        Some(Burden {
            track: name.clone(),
            demote: self.spec.demote,
            reason,
            pending,
        })
    }
}

impl Tracks {
    /// Those of a configuration, of which nothing is known yet.
    pub(in crate::engine) fn of(specs: &BTreeMap<Name, config::Track>) -> Self {
        let tracks = specs.iter();
        Self(
            tracks
                .map(|(name, spec)| (name.clone(), Track::new(spec.clone())))
                .collect(),
        )
    }

    /// These are the tracks from now on: one that follows the same thing as before keeps its state.
    /// Tells what changes.
    pub(in crate::engine) fn follow(
        &mut self,
        specs: &BTreeMap<Name, config::Track>,
        changes: &mut Vec<String>,
    ) {
        self.0.retain(|name, _| {
            let stays = specs.contains_key(name);
            if !stays {
                changes.push(format!("track {name}: removed"));
            }
            stays
        });
        for (name, spec) in specs {
            match self.0.get_mut(name) {
                None => {
                    changes.push(format!("track {name}: added"));
                    self.0.insert(name.clone(), Track::new(spec.clone()));
                }
                Some(track) if track.spec != *spec => {
                    changes.push(format!("track {name}: changed"));
                    if track.spec.tracked == spec.tracked {
                        track.spec = spec.clone();
                    } else {
                        *track = Track::new(spec.clone());
                    }
                }
                Some(_) => {}
            }
        }
    }

    pub(in crate::engine) fn get_mut(&mut self, name: &Name) -> Option<&mut Track> {
        self.0.get_mut(name)
    }

    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (&Name, &Track)> {
        self.0.iter()
    }

    /// Those of a link, with its name.
    pub(in crate::engine) fn links(&mut self) -> impl Iterator<Item = (&Name, IfName, &mut Track)> {
        self.0.iter_mut().map(|(name, track)| {
            let Tracked::Link(interface) = track.spec.tracked.clone();
            (name, interface, track)
        })
    }

    /// What these tracks of a virtual host cost it now.
    pub(in crate::engine) fn burdens(&self, names: &[Name]) -> Vec<Burden> {
        let known = names.iter().filter_map(|name| self.0.get_key_value(name));
        known
            .filter_map(|(name, track)| track.burden(name))
            .collect()
    }

    /// For operators.
    pub(in crate::engine) fn status(&self) -> Vec<TrackStatus> {
        let tracks = self.0.iter();
        tracks.map(|(name, track)| track.status(name)).collect()
    }
}

impl Track {
    fn status(&self, name: &Name) -> TrackStatus {
        let (state, reason) = match &self.standing {
            Standing::Unknown => (TrackState::Unknown, String::new()),
            Standing::Up => (TrackState::Up, String::new()),
            Standing::Down { reason } => (TrackState::Down, reason.clone()),
        };
        TrackStatus {
            name: name.clone(),
            tracked: self.spec.tracked.to_string(),
            state,
            demote: match self.spec.demote {
                Demote::By(by) => Some(by),
                Demote::Fault => None,
            },
            reason,
            since_ms: self.since_ms,
            vhosts: Vec::new(),
        }
    }
}

impl Burden {
    /// Does it keep the virtual host from taking part?
    pub(in crate::engine) fn is_fault(&self) -> bool {
        self.demote == Demote::Fault
    }

    /// What it adds to the advskew.
    pub(in crate::engine) fn demotion(&self) -> Demotion {
        match self.demote {
            Demote::By(by) if !self.pending => Demotion::new(by),
            Demote::By(_) | Demote::Fault => Demotion::NONE,
        }
    }
}
