//! Counters for every reason to refuse a packet, and for what was sent and heard.

use std::fmt;

macro_rules! rejects {
    ($($(#[$doc:meta])* $variant:ident $(($detail:ident))? => $field:ident, $text:literal;)*) => {
        /// Why a packet was refused. Each reason has a counter in [`Stats`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum Reject {
            $($(#[$doc])* #[error($text)] $variant $((rejects!(@type $detail)))?,)*
        }

        impl Reject {
            /// The fixed name of its counter, for logs and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant $((rejects!(@skip $detail)))? => stringify!($field),)* }
            }
        }

        /// How often each refusal occurred.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        struct Rejected { $($field: u64,)* }

        impl Rejected {
            fn counter(&mut self, why: Reject) -> &mut u64 {
                match why { $(Reject::$variant $((rejects!(@skip $detail)))? => &mut self.$field,)* }
            }

            fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }
        }
    };
    (@type $detail:ident) => { u8 };
    (@skip $detail:ident) => { _ };
}

rejects! {
    /// Not an IPv4 or IPv6 packet of protocol 112.
    NotCarp => not_carp, "not a CARP packet";
    /// Shorter than its own headers say.
    Truncated => truncated, "shorter than its headers say";
    /// A fragment: nobody sends 36 bytes in pieces.
    Fragment => fragment, "a fragment";
    /// The IPv4 header's own checksum is wrong.
    IpChecksum => ip_checksum, "wrong IPv4 header checksum";
    /// Came from too far away: TTL or hop limit is below 255, or below the `min_ttl` of a unicast
    /// group.
    Ttl(found) => ttl, "TTL or hop limit {0} is too low";
    /// Fewer than 36 bytes.
    Short => short, "fewer than 36 bytes";
    /// Not version 2: VRRPv3 shares our protocol number. Expected, so never worth a log line.
    Version(found) => version, "version {0} instead of 2";
    /// VRRPv2: the same first byte as CARP, other contents.
    VrrpV2 => vrrp_v2, "a VRRPv2 packet";
    /// The checksum of the advertisement is wrong, with and without pseudo-header.
    Checksum => checksum, "wrong checksum";
    /// No virtual host here has this vhid.
    Vhid(found) => vhid, "unknown vhid {0}";
    /// The virtual host has no address of this family.
    Family => family, "a family that the virtual host does not use";
    /// Sent to this node alone, but the group uses multicast.
    SentToUs => sent_to_us, "sent to this node alone, but the group uses multicast";
    /// Sent to a multicast group, but the group uses unicast.
    SentToGroup => sent_to_group, "sent to a multicast group, but this virtual host uses unicast";
    /// Unicast from an address that is not among the peers.
    NotAPeer => not_a_peer, "the sender is not among the unicast peers";
    /// The virtual host does not take part at present: it is in state init.
    NotRunning => not_running, "the virtual host is in state init";
    /// Our own advertisement came back.
    Own => own, "our own advertisement";
    /// The digest is wrong: another password, or other addresses, or a forger.
    Digest => digest, "wrong digest: check password and addresses";
    /// A bow-out of a node that went on advertising after an earlier one.
    Contradicted => contradicted, "a bow-out of a node that went on advertising after one";
}

impl Reject {
    /// The most probable cause.
    #[must_use]
    pub const fn likely_cause(self) -> &'static str {
        match self {
            Self::Digest => "another password, or another list of addresses",
            Self::Ttl(_) => {
                "there are routers on the way: advertisements must not leave the link, unless `unicast` and `min-ttl` allow it"
            }
            Self::Checksum => {
                "damaged on the way, or NetBSD over IPv6 (ipv6-checksum = \"pseudo-header\")"
            }
            Self::Family => "the peer has an address of a family that is not configured here",
            Self::SentToUs => "the peer has `unicast` (FreeBSD: `peer`), this node has not",
            Self::SentToGroup => "this node has `unicast`, the peer has not",
            Self::NotAPeer => {
                "a peer that is missing in `unicast`, or that sends from another address"
            }
            Self::Vhid(_) => "another vhid",
            Self::Short | Self::Truncated | Self::Fragment | Self::IpChecksum => {
                "damaged on the way, or a forger"
            }
            Self::Version(_) | Self::VrrpV2 => "VRRP on the same link",
            Self::NotCarp => "another protocol",
            Self::NotRunning => "this node is not taking part at present",
            Self::Own => "a loop in the network",
            Self::Contradicted => "somebody sends a bow-out again that was captured",
        }
    }

    /// Whether this is normal on a shared wire: counted, but not worth a log line.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        matches!(
            self,
            Self::Version(_) | Self::NotCarp | Self::NotRunning | Self::Own
        )
    }
}

/// What one virtual host has sent, heard and refused. Counters never decrease.
///
/// The engine has one more, for packets that do not belong to any virtual host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Advertisements handed out for sending, bow-outs not counted; one for each family.
    pub sent: u64,
    /// Bow-outs handed out for sending.
    pub bow_outs_sent: u64,
    /// Packets that could not be sent.
    pub send_failures: u64,
    /// Valid advertisements heard, bow-outs included.
    pub received: u64,
    /// Bow-outs among them.
    pub bow_outs_received: u64,
    /// Worse masters heard while master.
    pub peer_claims: u64,
    /// How often we became master.
    pub takeovers: u64,
    /// How often we woke up too late to trust what we knew.
    pub late: u64,
    rejected: Rejected,
}

impl Stats {
    /// Counts a refusal.
    pub fn reject(&mut self, why: Reject) {
        let counter = self.rejected.counter(why);
        *counter = counter.saturating_add(1);
    }

    /// How often this kind of refusal occurred, whatever its detail.
    #[must_use]
    pub fn rejected(&self, why: Reject) -> u64 {
        let mut copy = self.rejected;
        *copy.counter(why)
    }

    /// Every refusal counter with its fixed name.
    pub fn rejects(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        self.rejected.all()
    }

    /// All refusals together.
    #[must_use]
    pub fn rejected_total(&self) -> u64 {
        self.rejects().fold(0, |sum, (_, n)| sum.saturating_add(n))
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {}, received {}, refused {}",
            self.sent,
            self.received,
            self.rejected_total()
        )?;
        for (name, count) in self.rejects().filter(|(_, count)| *count > 0) {
            write!(f, ", {name} {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_counter() {
        let mut stats = Stats::default();
        stats.reject(Reject::Ttl(64));
        stats.reject(Reject::Ttl(1));
        stats.reject(Reject::Digest);
        assert_eq!(stats.rejected(Reject::Ttl(0)), 2);
        assert_eq!(stats.rejected(Reject::Digest), 1);
        assert_eq!(stats.rejected_total(), 3);
        assert_eq!(
            stats.to_string(),
            "sent 0, received 0, refused 3, ttl 2, digest 1"
        );
        assert_eq!(Reject::Ttl(64).as_str(), "ttl");
    }
}
