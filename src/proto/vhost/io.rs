//! What goes into a virtual host, and what comes out.

use std::net::IpAddr;
use std::time::Duration;

use super::super::stats::Reject;
use super::super::transition::{Cause, Reason, Transition};
use super::super::wire::{Advertisement, LEN, Received};
use crate::types::{AdvBase, AdvSkew, Demotion, Family, MacAddr, State, Timestamp};

/// Something that happened. Each comes with the time at which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<'a> {
    /// A packet for this vhid.
    Packet(Received<'a>),
    /// The deadline of [`Output::Idle`] came, or may have: it is compared with the time given.
    Timer,
    /// The interface can send and receive. Takes part from now on, as backup.
    LinkUp,
    /// It cannot. Back to state init, without a word.
    LinkDown,
    /// Our source address in this family, as the socket will send it; `None` if there is none.
    OwnAddress {
        /// The family.
        family: Family,
        /// The address.
        address: Option<IpAddr>,
    },
    /// The hardware address of our interface, from which we send while we have no IPv4 address.
    Hardware(MacAddr),
    /// How unfit tracks and hooks say this node is, all in all. Failed sends are counted here, and
    /// come on top.
    Demote(Demotion),
    /// A packet of [`Output::Transmit`] was handed to the kernel, or was not.
    /// This input alone may be fed while draining.
    Sent {
        /// Its family.
        family: Family,
        /// Whether the kernel took it.
        ok: bool,
    },
    /// Yes to [`Output::WantMaster`].
    Approve,
    /// No to it.
    Refuse {
        /// Do not ask again for so long.
        retry_after: Duration,
    },
    /// Leave mastership with a bow-out and stay backup. Raise the demotion first, or preemption may
    /// bring us back after one master-down time.
    Resign {
        /// Why, in the words of whoever asks.
        reason: Reason,
        /// It cannot hold the addresses: for one master-down time a peer's bow-out is no invitation
        /// either, since its sender may have failed as we did.
        unfit: bool,
    },
    /// Take no part, without a word, until the next [`Self::LinkUp`]. See
    /// [`super::Vhost::bow_out_packets`] for the word, once the addresses are gone.
    StandAside(Reason),
    /// Stop in good order. Whatever comes later is ignored.
    Shutdown,
    /// A master advertises now instead of at its next beat: something begins that counts from the
    /// last advertisement, and that was too long ago.
    Advertise,
    /// The driver knows that it slept through something. A master lets go; either way we listen for
    /// one master-down time.
    Late {
        /// How late it woke.
        by: Duration,
    },
    /// An operator says that sending works again: what failed sends did to us ends.
    ForgiveSends,
    /// Whoever plays with what follows from a change of state, as tests of hooks do, wants it so.
    /// Nothing on the wire leads here. The state may stay as it is: then it is begun anew.
    Become {
        /// The state from now on.
        to: State,
        /// Why, as it is told.
        cause: Cause,
        /// By whom, as it is told.
        peer: Option<IpAddr>,
    },
    /// A master asks its backups whether they are there. Those that run carpd answer:
    /// [`Output::Answered`].
    CallRoll,
}

/// Something to do. Drain [`super::Vhost::poll`] to [`Output::Idle`], in this order, after each
/// input.
///
/// On becoming master the advertisements come before the transition, on ceasing to be after it: the
/// driver takes the addresses down when it meets the transition, so that the bow-out goes out when
/// they are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this now, and report with [`Input::Sent`].
    Transmit(Transmit),
    /// The state changed.
    Transition(Transition),
    /// May we preempt? ([`super::super::Gate::Ask`].) We stay backup until [`Input::Approve`] or
    /// [`Input::Refuse`]. Asked once; a [`Output::Transition`] meanwhile withdraws the question.
    WantMaster {
        /// Why we would become master.
        cause: Cause,
        /// Whose advertisement made us ask.
        peer: IpAddr,
    },
    /// A worse master advertised while we are master: tell the neighbours again who holds the
    /// addresses.
    PeerClaim {
        /// That master.
        peer: IpAddr,
    },
    /// The second advertisement after a takeover has gone out: announce the addresses once more.
    AnnounceAgain,
    /// A packet was refused and counted.
    Rejected(Reject, IpAddr),
    /// A backup is there, and this unfit; to [`Input::CallRoll`].
    Answered {
        /// Who.
        peer: IpAddr,
        /// Tracks, hooks and failed sends together.
        demotion: Demotion,
    },
    /// Nothing more to do. Send [`Input::Timer`] at this time, if any. Always last.
    Idle(Option<Timestamp>),
}

/// What kind of advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ordinary one.
    Advertisement,
    /// The one by which a leaving master hands over.
    BowOut,
    /// None at all: a question or an answer between carpd nodes.
    RollCall,
}

/// One packet to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Over IPv4 or IPv6.
    pub family: Family,
    /// What kind.
    pub kind: Kind,
    /// The bytes after the IP header.
    pub payload: [u8; LEN],
}

/// The last valid advertisement that was heard, for status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Who sent it.
    pub from: IpAddr,
    /// When.
    pub at: Timestamp,
    /// Its advbase.
    pub advbase: AdvBase,
    /// Its advskew.
    pub advskew: AdvSkew,
    /// Its byte 4.
    pub demote: u8,
    /// Its counter.
    pub counter: u64,
}

impl Heard {
    /// Did the sender say that it was leaving?
    #[must_use]
    pub fn is_bow_out(&self) -> bool {
        (self.advbase, self.advskew) == Advertisement::BOW_OUT
    }
}
