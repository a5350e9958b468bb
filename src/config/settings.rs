//! From a checked virtual host to what its protocol machine needs.

use super::Vhost;
use crate::proto::{Delivery, Key, Settings, Unicast};

impl Vhost {
    /// What the protocol machine is made with. The gate before a preemption stays as it is by
    /// default: whether a hook wants to be asked is known only when it is loaded.
    ///
    /// # Panics
    /// Never: a [`super::Secret`] has 1 to 19 bytes, and a key takes 1 to 20.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let key = Key::new(self.key.bytes()).expect("a secret fits into a key");
        Settings {
            advbase: self.advbase,
            advskew: self.advskew,
            dead_ratio: self.dead_ratio,
            clamp_advskew: self.clamp_advskew,
            preempt: self.preempt,
            peers: self.peers,
            tie_break: self.tie_break,
            family_timers: self.family_timers,
            link_local: self.link_local,
            ipv6_checksum: self.ipv6_checksum,
            ipv6_destination: self.destination.group6,
            send_demote_byte: self.send_demote_byte,
            openbsd_lladdr: self.openbsd_lladdr,
            delivery: self.delivery(),
            startup_delay: self.startup_delay,
            preempt_delay: self.preempt_delay,
            hold_down: self.hold_down,
            damping: self.damping,
            ..Settings::new(self.vhid, self.addresses.clone(), key)
        }
    }

    fn delivery(&self) -> Delivery {
        if self.unicast.is_empty() {
            return Delivery::Multicast;
        }
        Delivery::Unicast(Unicast {
            peers: self.unicast.clone(),
            min_ttl: self.min_ttl,
        })
    }
}
