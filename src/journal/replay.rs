//! Replays a journal: the same inputs must give the same outputs.
//!
//! A journal contains no key, so the replay uses its own: packets with a correct digest are signed
//! again with it, and digests are not compared. Everything else must be the same, to the nanosecond
//! and to the counter.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Entry, InputRecord, OutputRecord, SettingsRecord};
use crate::proto::auth::Authenticator;
use crate::proto::wire::{Advertisement, LEN, RollCall};
use crate::proto::{Birth, Key, Output, Vhost};
use crate::types::{Name, Timestamp};

/// Any will do.
const KEY: [u8; Key::LEN] = *b"replay replay replay";

/// How a replay went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Inputs that were fed.
    pub inputs: usize,
    /// Outputs that were compared.
    pub outputs: usize,
    /// Inputs of virtual hosts whose beginning is no longer in the journal.
    pub skipped: usize,
    /// The first difference; nothing is fed after it.
    pub difference: Option<Box<Difference>>,
}

/// Where a replay went another way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The virtual host.
    pub vhost: Name,
    /// Number of the record of the input, from 1.
    pub record: usize,
    /// When.
    pub at: Timestamp,
    /// What it was fed; `None`: new settings.
    pub input: Option<InputRecord>,
    /// What it answered then.
    pub recorded: Vec<OutputRecord>,
    /// What it answers now.
    pub replayed: Vec<OutputRecord>,
}

struct Player {
    name: Name,
    machine: Vhost,
    auth: Authenticator,
    turn: Option<Turn>,
}

/// An input, or new settings, with what followed, as far as it was read.
struct Turn {
    record: usize,
    at: Timestamp,
    input: Option<InputRecord>,
    recorded: Vec<OutputRecord>,
}

/// Feeds what is recorded to new protocol machines, up to the first difference.
#[must_use]
pub fn replay(entries: &[Entry]) -> Replayed {
    let mut players: BTreeMap<usize, Player> = BTreeMap::new();
    let mut replayed = Replayed::default();
    // In a file whose beginning is missing the initial states are unknown.
    let mut known = false;
    for (number, entry) in (1..).zip(entries) {
        match entry {
            Entry::Start { .. } => {
                finish(&mut players, &mut replayed);
                players.clear();
                known = true;
            }
            Entry::Vhost {
                vhost,
                name,
                seed,
                seq,
                settings,
                ..
            } if known && !players.contains_key(vhost) => {
                players.insert(
                    *vhost,
                    Player::new(
                        name,
                        Birth {
                            seed: *seed,
                            seq: *seq,
                        },
                        settings,
                    ),
                );
            }
            Entry::Continued { .. }
            | Entry::Vhost { .. }
            | Entry::Note { .. }
            | Entry::Died { .. } => {}
            Entry::Reconfigured {
                at,
                vhost,
                settings,
            } => {
                if let Some(player) = players.get_mut(vhost) {
                    player.finish_turn(&mut replayed, false);
                    player.reconfigure(settings, *at);
                    player.turn = Some(Turn {
                        record: number,
                        at: *at,
                        input: None,
                        recorded: Vec::new(),
                    });
                }
            }
            Entry::Removed { vhost, .. } => drop(players.remove(vhost)),
            Entry::Input { at, vhost, input } => match players.get_mut(vhost) {
                Some(player) => {
                    player.finish_turn(&mut replayed, false);
                    player.turn = Some(Turn {
                        record: number,
                        at: *at,
                        input: Some(input.clone()),
                        recorded: Vec::new(),
                    });
                }
                None => replayed.skipped += 1,
            },
            Entry::Output { vhost, output } => {
                let turn = players
                    .get_mut(vhost)
                    .and_then(|player| player.turn.as_mut());
                // A machine that was drained already may be asked once more.
                if let Some(turn) =
                    turn.filter(|turn| !matches!(turn.recorded.last(), Some(OutputRecord::Idle(_))))
                {
                    turn.recorded.push(output.clone());
                }
            }
        }
        if replayed.difference.is_some() {
            return replayed;
        }
    }
    finish(&mut players, &mut replayed);
    replayed
}

/// Ends the last turns of a life: the process may have been killed in the middle of them.
fn finish(players: &mut BTreeMap<usize, Player>, replayed: &mut Replayed) {
    for player in players.values_mut() {
        if replayed.difference.is_none() {
            player.finish_turn(replayed, true);
        }
    }
}

impl Player {
    fn new(name: &Name, birth: Birth, settings: &SettingsRecord) -> Self {
        let auth = authenticator(settings);
        Self {
            name: name.clone(),
            machine: Vhost::new(settings.with_key(Key::from_raw(KEY)), birth),
            auth,
            turn: None,
        }
    }

    fn reconfigure(&mut self, settings: &SettingsRecord, at: Timestamp) {
        self.auth = authenticator(settings);
        self.machine
            .reconfigure(settings.with_key(Key::from_raw(KEY)), at);
    }

    fn finish_turn(&mut self, replayed: &mut Replayed, last: bool) {
        let Some(turn) = self.turn.take() else { return };
        let Turn {
            record,
            at,
            input,
            recorded,
        } = turn;
        if let Some(input) = &input {
            let payload = self.payload(input, &recorded);
            self.machine.handle(input.as_input(&payload), at);
        }
        let mut outputs = Vec::new();
        loop {
            let output = self.machine.poll();
            outputs.push(OutputRecord::from(&output));
            if matches!(output, Output::Idle(_)) {
                break;
            }
        }
        replayed.inputs += 1;
        replayed.outputs += recorded.len();
        let same = if last {
            outputs.starts_with(&recorded)
        } else {
            outputs == recorded
        };
        if !same {
            let vhost = self.name.clone();
            replayed.difference = Some(Box::new(Difference {
                vhost,
                record,
                at,
                input,
                recorded,
                replayed: outputs,
            }));
        }
    }

    /// A packet's payload, signed with our key unless it was refused for its digest then.
    fn payload(&self, input: &InputRecord, recorded: &[OutputRecord]) -> Vec<u8> {
        let (InputRecord::Packet { payload, .. } | InputRecord::Framed { payload, .. }) = input
        else {
            return Vec::new();
        };
        let refused = recorded
            .iter()
            .any(|output| matches!(output, OutputRecord::Rejected { .. }));
        if refused {
            return payload.clone();
        }
        let mut signed = match (Advertisement::decode(payload), RollCall::decode(payload)) {
            (Ok(ad), _) => Advertisement {
                digest: self.auth.sign(ad.counter),
                ..ad
            }
            .encode()
            .to_vec(),
            (Err(_), Some(said)) => RollCall {
                digest: self.auth.sign(said.counter),
                ..said
            }
            .encode()
            .to_vec(),
            (Err(_), None) => return payload.clone(),
        };
        signed.extend(payload.iter().skip(LEN));
        signed
    }
}

fn authenticator(settings: &SettingsRecord) -> Authenticator {
    let addresses: Vec<IpAddr> = settings
        .addresses
        .iter()
        .map(|address| address.ip)
        .collect();
    Authenticator::new(
        &Key::from_raw(KEY),
        settings.vhid,
        &addresses,
        settings.openbsd_lladdr,
        settings.link_local,
    )
}
