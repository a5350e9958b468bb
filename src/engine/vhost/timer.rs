//! The deadlines of a virtual host, by name: for each of them the compiler requires code that says
//! when it is due and what is done then ([ADR
//! 0046](../../../docs/adr/0046-rooms-and-deadlines.md)).

use super::node::Node;
use crate::engine::vhost::handover::Handover;
use crate::types::Timestamp;

/// An enumeration with the list of all its values.
macro_rules! with_all {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $value:ident,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::engine) enum $name { $($(#[$doc])* $value,)+ }

        impl $name {
            /// All of them, in the order in which they are done.
            pub(in crate::engine) const ALL: &[Self] = &[$(Self::$value,)+];
        }
    };
}
pub(in crate::engine) use with_all;

with_all! {
    /// A deadline of a virtual host.
    Timer {
        /// The protocol's own: an advertisement, a takeover. Done before all others, and for all
        /// virtual hosts.
        Protocol,
        /// The addresses are announced once more.
        Announce,
        /// Addresses that could not be taken down are tried again.
        DropAddresses,
        /// It was told to hand over; from now on no other node is preferred.
        Resigned,
        /// A hook that failed runs again.
        HookRetry,
        /// Addresses were refused while it was master; from now on no other node is preferred.
        AddressFade,
        /// Addresses that the kernel refused are tried again.
        AddressRetry,
        /// An operator's order to hand over goes on, or is given up.
        Handover,
        /// A master in maintenance asks whether another node is there.
        Relief,
        /// Addresses that somebody removed are looked at again.
        PutBack,
        /// A macvlan that was being removed is looked at again.
        Device,
        /// A hook's `health` is asked.
        Health,
        /// Other hosts are asked whether they have its addresses.
        Probe,
        /// SIGUSR2: it takes part again.
        StandAside,
        /// While the daemon stops: a hook is not waited for any longer.
        Leave,
    }
}

impl<H> Node<H> {
    /// When this is due, if it is waited for.
    pub(in crate::engine) fn deadline(&self, timer: Timer) -> Option<Timestamp> {
        match timer {
            Timer::Protocol => self.wake,
            Timer::Announce => self.announcer.due(),
            Timer::DropAddresses => self.drop_again,
            Timer::Resigned => self.resigned.as_ref().map(|resigned| resigned.until),
            Timer::HookRetry => self.degraded.as_ref()?.retry_at,
            Timer::AddressFade => self.refused_addresses.as_ref()?.fades_at,
            Timer::AddressRetry => self.refused_addresses.as_ref()?.retry_at,
            Timer::Handover => self.handover.as_ref().map(Handover::due),
            Timer::Relief => self.relief.due,
            Timer::PutBack => self.put_back.due(),
            Timer::Device => self.device_again,
            Timer::Health => self.checks.due(),
            Timer::Probe => self.conflicts.probe,
            Timer::StandAside => self.aside_until,
            Timer::Leave => self.leave_by,
        }
    }

    /// Has its time come?
    pub(in crate::engine) fn is_due(&self, timer: Timer, now: Timestamp) -> bool {
        self.deadline(timer).is_some_and(|deadline| deadline <= now)
    }

    /// The earliest time at which this node wants to be looked at.
    pub(in crate::engine) fn next_wake(&self) -> Option<Timestamp> {
        Timer::ALL
            .iter()
            .filter_map(|timer| self.deadline(*timer))
            .min()
    }
}
