//! The inputs and outputs of a virtual host.

use std::net::IpAddr;
use std::time::Duration;

use super::super::group::Order;
use super::super::stats::Reject;
use super::super::transition::{Cause, Reason, Transition};
use super::super::wire::{Advertisement, LEN, Received};
use super::reluctance::Reluctance;
use crate::types::{AdvBase, AdvSkew, Demotion, Family, MacAddr, State, Timestamp};

/// Something that happened. Each input is fed together with the time at which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<'a> {
    /// A packet for this vhid.
    Packet(Received<'a>),
    /// The deadline of [`Output::Idle`] has come, or may have: it is compared with the given time.
    Timer,
    /// The interface can send and receive. The virtual host takes part from now on, as backup.
    LinkUp,
    /// The interface cannot send or receive. The virtual host returns to state init without sending
    /// anything.
    LinkDown,
    /// Our source address in this family, as the socket will send it; `None` if there is none.
    OwnAddress {
        /// The family.
        family: Family,
        /// The address.
        address: Option<IpAddr>,
    },
    /// The hardware address of our interface, which identifies us while we have no IPv4 address.
    Hardware(MacAddr),
    /// The total demotion from tracks and hooks. Demotion for failed sends is determined by the
    /// machine itself, and added.
    Demote(Demotion),
    /// The kernel accepted or refused a packet of [`Output::Transmit`]. This is the only input that
    /// may be fed while draining.
    Sent {
        /// Its family.
        family: Family,
        /// Whether the kernel accepted it.
        ok: bool,
    },
    /// Answers [`Output::WantMaster`] with yes.
    Approve,
    /// Answers [`Output::WantMaster`] with no.
    Refuse {
        /// Do not ask again for this long.
        retry_after: Duration,
    },
    /// How willingly it becomes master from now on.
    Reluctant(Reluctance),
    /// Give up mastership with a bow-out and stay backup. Raise the demotion first, or preemption
    /// may bring us back after one master-down time.
    Resign {
        /// The driver's reason.
        reason: Reason,
        /// The node cannot hold the addresses: for one master-down time a peer's bow-out is not
        /// followed either, since its sender may have failed as we did.
        unfit: bool,
    },
    /// Stop taking part, without sending anything, until the next [`Self::LinkUp`]. See
    /// [`super::Vhost::bow_out_packets`] for bow-outs to send once the addresses are gone.
    StandAside(Reason),
    /// The same for something that may come and go like a link: it is damped as
    /// [`Self::LinkDown`] is.
    Fault(Reason),
    /// Stop cleanly. Later inputs are ignored.
    Shutdown,
    /// A master is to advertise now rather than at its next interval, because something is about to
    /// start that is measured from the last advertisement, and that was too long ago.
    Advertise,
    /// The driver knows that it overslept. A master gives up mastership; in either state we listen
    /// for one master-down time.
    Late {
        /// How late it woke up.
        by: Duration,
    },
    /// An operator says that sending works again: demotion for failed sends ends.
    ForgiveSends,
    /// Forces a state, for simulating the consequences of a state change, as tests of hooks do.
    /// Nothing on the wire leads here. If the state stays the same, it is entered again.
    Become {
        /// The state from now on.
        to: State,
        /// The cause to report.
        cause: Cause,
        /// The peer to report.
        peer: Option<IpAddr>,
    },
    /// A master asks which backups are there. Those that run carpd answer: [`Output::Answered`].
    CallRoll,
    /// What its group decided ([`super::super::group::decide`]).
    Group(Order),
}

/// Something to do. Drain [`super::Vhost::poll`] until [`Output::Idle`], in this order, after each
/// input.
///
/// On becoming master, the advertisements come before the transition; on ceasing to be master,
/// after it. The driver removes the addresses when it gets the transition, so that the bow-out is
/// sent when they are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this now, and report with [`Input::Sent`].
    Transmit(Transmit),
    /// The state changed.
    Transition(Transition),
    /// Asks whether we may preempt ([`super::super::Gate::Ask`]). We stay backup until
    /// [`Input::Approve`] or [`Input::Refuse`]. Asked once; an [`Output::Transition`] meanwhile
    /// withdraws the question.
    WantMaster {
        /// Why we would become master.
        cause: Cause,
        /// The peer whose advertisement made us ask.
        peer: IpAddr,
    },
    /// A worse master advertised while we are master: announce the addresses to the neighbours
    /// again.
    PeerClaim {
        /// That master.
        peer: IpAddr,
    },
    /// The second advertisement after a takeover has gone out: announce the addresses once more.
    AnnounceAgain,
    /// A packet was refused and counted.
    Rejected(Reject, IpAddr),
    /// A backup answered [`Input::CallRoll`], and reported its demotion.
    Answered {
        /// Who.
        peer: IpAddr,
        /// The total of tracks, hooks and failed sends.
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
    /// The advertisement by which a leaving master hands over.
    BowOut,
    /// Not an advertisement at all: a question or answer between carpd nodes.
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
    /// Whether the sender said that it is leaving.
    #[must_use]
    pub fn is_bow_out(&self) -> bool {
        (self.advbase, self.advskew) == Advertisement::BOW_OUT
    }
}
