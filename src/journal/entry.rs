//! The entries of a journal, in their own format, so that files remain readable when the protocol's
//! types change.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::proto::group::Order;
use crate::proto::{
    Cause, Claims, Damping, Delivery, FamilyTimers, Gate, Input, Ipv6Checksum, Key, Kind,
    LinkLocal, Output, Peers, Preempt, Previous, Reason, Received, Reject, Reluctance, Settings,
    TieBreak, Transition, wire,
};
use crate::types::{
    AdvBase, AdvSkew, Demotion, Family, IfName, MacAddr, Name, State, Timestamp, Vhid,
    VirtualAddress,
};

/// The most that is kept of a packet; what an advertisement has beyond its 36 bytes is ignored
/// anyway.
const PAYLOAD_MAX: usize = 128;

/// One record. All times are of one clock, `CLOCK_BOOTTIME`.
#[expect(missing_docs, reason = "the fields' names and types say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// An engine began. What was before is another life.
    Start {
        at: Timestamp,
        wall_ms: u64,
        version: String,
    },
    /// The file was full and this is the next; the life goes on.
    Continued { at: Timestamp, wall_ms: u64 },
    /// A virtual host was born. In a continued file it was born before, and its state is not known.
    Vhost {
        at: Timestamp,
        vhost: usize,
        name: Name,
        interface: IfName,
        seed: u64,
        seq: u64,
        settings: Box<SettingsRecord>,
    },
    /// Its settings changed while it lived.
    Reconfigured {
        at: Timestamp,
        vhost: usize,
        settings: Box<SettingsRecord>,
    },
    /// It is no longer there.
    Removed { at: Timestamp, vhost: usize },
    /// It was fed.
    Input {
        at: Timestamp,
        vhost: usize,
        input: InputRecord,
    },
    /// It answered.
    Output { vhost: usize, output: OutputRecord },
    /// What followed from that.
    Note {
        at: Timestamp,
        vhost: usize,
        note: Note,
    },
    /// The previous run ended abnormally, and the keeper saw how.
    Died { at: Timestamp, how: String },
}

/// What happened outside the protocol.
#[expect(missing_docs, reason = "the fields' names and types say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// A hook ran. Empty `error`: well.
    HookRun {
        hook: Name,
        entry: String,
        seq: u64,
        took: Duration,
        error: String,
    },
    /// A hook asked for an effect.
    Effect {
        hook: Name,
        effect: String,
        outcome: String,
    },
    /// What a hook's `health` says of this node has changed; 0 is well.
    Health {
        hook: Name,
        demotion: u8,
        reason: String,
    },
    /// Another remark for `carpd why`.
    Remark { text: String },
    /// A track that it has is up (empty `reason`) or down.
    Track { track: Name, reason: String },
}

/// [`Input`], owned.
#[expect(missing_docs, reason = "the fields are those of Input")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputRecord {
    /// Of a packet whose frame is not known.
    Packet {
        src: IpAddr,
        dst: IpAddr,
        ttl: u8,
        payload: Vec<u8>,
    },
    Timer,
    LinkUp,
    LinkDown,
    OwnAddress {
        family: Family,
        address: Option<IpAddr>,
    },
    Demote(Demotion),
    Sent {
        family: Family,
        ok: bool,
    },
    Approve,
    Refuse {
        retry_after: Duration,
    },
    Resign {
        reason: Reason,
        unfit: bool,
    },
    StandAside(Reason),
    Shutdown,
    Late {
        by: Duration,
    },
    Advertise,
    ForgiveSends,
    CallRoll,
    Hardware(MacAddr),
    /// A packet, with the hardware address that its frame came from.
    Framed {
        src: IpAddr,
        dst: IpAddr,
        mac: MacAddr,
        ttl: u8,
        payload: Vec<u8>,
    },
    Become {
        to: State,
        cause: Cause,
        peer: Option<IpAddr>,
    },
    Fault(Reason),
    Group(Order),
    Reluctant(Reluctance),
}

impl From<&Input<'_>> for InputRecord {
    fn from(input: &Input<'_>) -> Self {
        match input {
            Input::Packet(packet) => {
                let payload = packet
                    .payload
                    .get(..PAYLOAD_MAX)
                    .unwrap_or(packet.payload)
                    .to_vec();
                let (src, dst, ttl) = (packet.src, packet.dst, packet.ttl);
                match packet.mac {
                    None => Self::Packet {
                        src,
                        dst,
                        ttl,
                        payload,
                    },
                    Some(mac) => Self::Framed {
                        src,
                        dst,
                        mac,
                        ttl,
                        payload,
                    },
                }
            }
            Input::Timer => Self::Timer,
            Input::LinkUp => Self::LinkUp,
            Input::LinkDown => Self::LinkDown,
            Input::OwnAddress { family, address } => Self::OwnAddress {
                family: *family,
                address: *address,
            },
            Input::Demote(demotion) => Self::Demote(*demotion),
            Input::Sent { family, ok } => Self::Sent {
                family: *family,
                ok: *ok,
            },
            Input::Approve => Self::Approve,
            Input::Refuse { retry_after } => Self::Refuse {
                retry_after: *retry_after,
            },
            Input::Resign { reason, unfit } => Self::Resign {
                reason: reason.clone(),
                unfit: *unfit,
            },
            Input::StandAside(reason) => Self::StandAside(reason.clone()),
            Input::Fault(reason) => Self::Fault(reason.clone()),
            Input::Shutdown => Self::Shutdown,
            Input::Late { by } => Self::Late { by: *by },
            Input::Advertise => Self::Advertise,
            Input::ForgiveSends => Self::ForgiveSends,
            Input::CallRoll => Self::CallRoll,
            Input::Become { to, cause, peer } => Self::Become {
                to: *to,
                cause: cause.clone(),
                peer: *peer,
            },
            Input::Hardware(mac) => Self::Hardware(*mac),
            Input::Group(order) => Self::Group(order.clone()),
            Input::Reluctant(reluctance) => Self::Reluctant(*reluctance),
        }
    }
}

impl InputRecord {
    /// The input again; of a packet with this payload.
    pub(super) fn as_input<'a>(&self, payload: &'a [u8]) -> Input<'a> {
        match self.clone() {
            Self::Packet { src, dst, ttl, .. } => Input::Packet(Received {
                src,
                dst,
                mac: None,
                ttl,
                payload,
            }),
            Self::Framed {
                src, dst, mac, ttl, ..
            } => Input::Packet(Received {
                src,
                dst,
                mac: Some(mac),
                ttl,
                payload,
            }),
            Self::Timer => Input::Timer,
            Self::LinkUp => Input::LinkUp,
            Self::LinkDown => Input::LinkDown,
            Self::OwnAddress { family, address } => Input::OwnAddress { family, address },
            Self::Demote(demotion) => Input::Demote(demotion),
            Self::Sent { family, ok } => Input::Sent { family, ok },
            Self::Approve => Input::Approve,
            Self::Refuse { retry_after } => Input::Refuse { retry_after },
            Self::Resign { reason, unfit } => Input::Resign { reason, unfit },
            Self::StandAside(reason) => Input::StandAside(reason),
            Self::Fault(reason) => Input::Fault(reason),
            Self::Shutdown => Input::Shutdown,
            Self::Late { by } => Input::Late { by },
            Self::Advertise => Input::Advertise,
            Self::ForgiveSends => Input::ForgiveSends,
            Self::CallRoll => Input::CallRoll,
            Self::Become { to, cause, peer } => Input::Become { to, cause, peer },
            Self::Hardware(mac) => Input::Hardware(mac),
            Self::Group(order) => Input::Group(order),
            Self::Reluctant(reluctance) => Input::Reluctant(reluctance),
        }
    }
}

/// [`Output`], without what depends on the key.
#[expect(
    missing_docs,
    reason = "the fields are those of Output and of an advertisement"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputRecord {
    Transmit {
        family: Family,
        bow_out: bool,
        advbase: AdvBase,
        advskew: AdvSkew,
        demote: u8,
        counter: u64,
    },
    Transition(Transition),
    WantMaster {
        cause: Cause,
        peer: IpAddr,
    },
    PeerClaim {
        peer: IpAddr,
    },
    AnnounceAgain,
    /// `digest`: it was the digest that was wrong.
    Rejected {
        why: String,
        src: IpAddr,
        digest: bool,
    },
    Idle(Option<Timestamp>),
    Answered {
        peer: IpAddr,
        demotion: Demotion,
    },
}

impl From<&Output> for OutputRecord {
    fn from(output: &Output) -> Self {
        match output {
            Output::Transmit(transmit) => {
                let ad = wire::Advertisement::decode(&transmit.payload).ok();
                Self::Transmit {
                    family: transmit.family,
                    bow_out: transmit.kind == Kind::BowOut,
                    advbase: ad.map_or(AdvBase(0), |ad| ad.advbase),
                    advskew: ad.map_or(AdvSkew(0), |ad| ad.advskew),
                    demote: ad.map_or(0, |ad| ad.demote),
                    counter: ad.map_or(0, |ad| ad.counter),
                }
            }
            Output::Transition(transition) => Self::Transition(transition.clone()),
            Output::WantMaster { cause, peer } => Self::WantMaster {
                cause: cause.clone(),
                peer: *peer,
            },
            Output::PeerClaim { peer } => Self::PeerClaim { peer: *peer },
            Output::AnnounceAgain => Self::AnnounceAgain,
            Output::Answered { peer, demotion } => Self::Answered {
                peer: *peer,
                demotion: *demotion,
            },
            Output::Rejected(why, src) => Self::Rejected {
                why: why.as_str().to_owned(),
                src: *src,
                digest: *why == Reject::Digest,
            },
            Output::Idle(deadline) => Self::Idle(*deadline),
        }
    }
}

/// [`Settings`] without the key: a journal must not reveal a password.
#[expect(missing_docs, reason = "the fields are those of Settings")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsRecord {
    pub vhid: Vhid,
    pub addresses: Vec<VirtualAddress>,
    pub advbase: AdvBase,
    pub advskew: AdvSkew,
    pub dead_ratio: u32,
    pub preempt: Preempt,
    pub peers: Peers,
    pub tie_break: TieBreak,
    pub family_timers: FamilyTimers,
    pub link_local: LinkLocal,
    pub ipv6_checksum: Ipv6Checksum,
    pub ipv6_destination: Ipv6Addr,
    pub clamp_advskew: bool,
    pub send_demote_byte: bool,
    pub openbsd_lladdr: Option<MacAddr>,
    pub gate: Gate,
    pub delivery: Delivery,
    pub previous: Option<PreviousRecord>,
    pub startup_delay: Duration,
    pub preempt_delay: Duration,
    pub hold_down: Duration,
    pub damping: Damping,
    pub claims: Claims,
}

/// [`Previous`] without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousRecord {
    /// The virtual addresses.
    pub addresses: Vec<VirtualAddress>,
    /// From then on they do not count any more.
    pub until: Timestamp,
}

macro_rules! same_fields {
    ($($field:ident),*) => {
        impl From<&Settings> for SettingsRecord {
            fn from(settings: &Settings) -> Self {
                // No `..`: a new setting must not compile until it stands here.
                let Settings { key: _, previous, $($field),* } = settings.clone();
                let previous = previous.map(|previous| PreviousRecord {
                    addresses: previous.addresses,
                    until: previous.until,
                });
                Self { previous, $($field),* }
            }
        }

        impl SettingsRecord {
            /// The settings again, with this key.
            pub(super) fn with_key(&self, key: Key) -> Settings {
                let Self { previous, $($field),* } = self.clone();
                let previous = previous.map(|previous| Previous {
                    key: key.clone(),
                    addresses: previous.addresses,
                    until: previous.until,
                });
                Settings { key, previous, $($field),* }
            }
        }
    };
}

same_fields!(
    vhid,
    addresses,
    advbase,
    advskew,
    dead_ratio,
    preempt,
    peers,
    tie_break,
    family_timers,
    link_local,
    ipv6_checksum,
    ipv6_destination,
    clamp_advskew,
    send_demote_byte,
    openbsd_lladdr,
    gate,
    delivery,
    startup_delay,
    preempt_delay,
    hold_down,
    damping,
    claims
);
