//! The protocol settings of one virtual host, chosen by the operator.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::auth::Key;
use super::stats::Reject;
use super::timer;
use crate::types::{AdvBase, AdvSkew, Family, MacAddr, Timestamp, Vhid, VirtualAddress};

/// Whether a backup may preempt a master that is worse than itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preempt {
    /// Wait until the master falls silent or leaves.
    #[default]
    Off,
    /// Take over at the first advertisement of a worse master.
    On,
}

impl From<bool> for Preempt {
    /// [`Self::On`] for true, as in `preempt = true`.
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

/// Whose rules the group follows (docs/protocol.md, sections 4 and 6). All nodes of a group need
/// the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peers {
    /// FreeBSD, NetBSD, ucarp, carpd: demotion raises the advertised advskew; the master-down time
    /// is dead-ratio × advbase + advskew/256.
    #[default]
    Bsd,
    /// OpenBSD: demotion travels in its own byte and outranks advbase and advskew; the master-down
    /// time is dead-ratio × (advbase + advskew/256).
    #[serde(rename = "openbsd")]
    OpenBsd,
}

/// Which of two masters with equal advbase and advskew stays master (docs/protocol.md, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TieBreak {
    /// The node with the lower source address stays master; IPv4 is compared if the virtual host
    /// has it. With equal source addresses, we yield. Under every rule, a node without an address
    /// yields to one that has one, and of two nodes without an address the one with the lower
    /// hardware address stays.
    #[default]
    Address,
    /// Always yield, as the BSDs do. Two equal masters may both yield and race again.
    Yield,
    /// As ucarp on a little-endian machine: the raw network-order words are compared as integers,
    /// so that the last octet counts most. A master that yields sends one last advertisement.
    Ucarp,
}

/// When a dual-stack backup considers its master dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FamilyTimers {
    /// When every family is silent.
    #[default]
    All,
    /// When any family is silent, as on the BSDs.
    Any,
}

/// Whether link-local addresses are included in the digest that we send. Both forms are accepted
/// (docs/protocol.md, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkLocal {
    /// As FreeBSD and NetBSD.
    #[default]
    Include,
    /// As OpenBSD.
    Exclude,
}

/// The checksum that we send in IPv6 advertisements. Both are accepted (docs/protocol.md, section
/// 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ipv6Checksum {
    /// Over the 36 bytes alone, as FreeBSD and OpenBSD.
    #[default]
    Plain,
    /// With the IPv6 pseudo-header, as NetBSD.
    PseudoHeader,
}

/// Whether the driver must be asked before a worse master is preempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// No.
    #[default]
    Free,
    /// Yes: a `before-master` hook is defined. See [`super::Output::WantMaster`].
    Ask,
}

/// Whether the virtual host becomes master by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claims {
    /// Yes.
    #[default]
    Alone,
    /// No: it is master together with the other members of a group, or not at all. See
    /// [`super::group`].
    Together {
        /// What marks the advertisements of all members on this node: 1 to [`Claims::TAG_MAX`], any
        /// number.
        tag: u8,
    },
}

impl Claims {
    /// The highest tag: a higher number in that byte would be a node that is demoted as far as
    /// possible.
    pub const TAG_MAX: u8 = 239;

    /// As a member of a group, with a tag from this random number.
    #[must_use]
    pub fn together(luck: u64) -> Self {
        let tag = luck % u64::from(Self::TAG_MAX) + 1;
        Self::Together {
            tag: u8::try_from(tag).unwrap_or(Self::TAG_MAX),
        }
    }

    /// Whether it is a member of a group.
    #[must_use]
    pub const fn is_together(self) -> bool {
        matches!(self, Self::Together { .. })
    }
}

/// How advertisements reach the other nodes of the group. All nodes of a group need the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Delivery {
    /// To a multicast group, on this link only. What was sent to this node alone, or routed, is
    /// refused.
    #[default]
    Multicast,
    /// To each of the other nodes separately, as FreeBSD's `peer` and `peer6`. What anybody else
    /// sends, or what was sent to a group, is refused.
    Unicast(Unicast),
}

/// The other nodes of a group without multicast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unicast {
    /// Their own addresses. Advertisements are sent in the families of these. A node's own address
    /// may be among them.
    pub peers: Vec<IpAddr>,
    /// The least TTL or hop limit of a packet that is believed: 255 for peers on the same link, one
    /// less for each router on the way (as RFC 5082 does it).
    pub min_ttl: u8,
}

impl Delivery {
    /// The other nodes, if each is sent to separately.
    #[must_use]
    pub const fn unicast(&self) -> Option<&Unicast> {
        match self {
            Self::Multicast => None,
            Self::Unicast(unicast) => Some(unicast),
        }
    }

    /// Whether a packet with this source, destination and TTL came the way that the group uses.
    ///
    /// # Errors
    /// [`Reject::Ttl`], [`Reject::SentToUs`], [`Reject::SentToGroup`], [`Reject::NotAPeer`].
    pub fn admits(&self, src: IpAddr, dst: IpAddr, ttl: u8) -> Result<(), Reject> {
        let least = self.unicast().map_or(u8::MAX, |unicast| unicast.min_ttl);
        if ttl < least {
            return Err(Reject::Ttl(ttl));
        }
        match self {
            Self::Multicast if !dst.is_multicast() => Err(Reject::SentToUs),
            Self::Unicast(_) if dst.is_multicast() => Err(Reject::SentToGroup),
            Self::Unicast(unicast) if !unicast.peers.contains(&src) => Err(Reject::NotAPeer),
            Self::Multicast | Self::Unicast(_) => Ok(()),
        }
    }
}

/// The key and the addresses before a change, which not all nodes know of yet. Until a time
/// everything is also accepted, and also sent, as it was signed with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// The shared key.
    pub key: Key,
    /// The virtual addresses.
    pub addresses: Vec<VirtualAddress>,
    /// From then on they do not count any more.
    pub until: Timestamp,
}

/// How a link that flaps is damped. Each flap costs 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damping {
    /// The time in which the penalty falls by half; zero: no damping.
    pub half_life: Duration,
    /// From this penalty on the virtual host does not take part.
    pub suppress: u32,
    /// Down to this penalty.
    pub reuse: u32,
}

impl Damping {
    /// A second flap within a half-life is one too many.
    pub const USUAL: Self = Self {
        half_life: Duration::from_secs(5),
        suppress: 1500,
        reuse: 750,
    };
    /// None.
    pub const OFF: Self = Self {
        half_life: Duration::ZERO,
        suppress: 0,
        reuse: 0,
    };
}

/// All settings of one virtual host's state machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The virtual host id on its interface.
    pub vhid: Vhid,
    /// The virtual addresses. The digest covers all of them, so all nodes need the same set. May be
    /// empty.
    pub addresses: Vec<VirtualAddress>,
    /// The shared key.
    pub key: Key,
    /// Advertisement interval, whole seconds.
    pub advbase: AdvBase,
    /// Added to the interval, in 1/256 s; a lower value is preferred.
    pub advskew: AdvSkew,
    /// How many intervals a master may be silent, at least 1 (0 counts as 1).
    pub dead_ratio: u32,
    /// Whether we may preempt a worse master.
    pub preempt: Preempt,
    /// Whose rules the group follows.
    pub peers: Peers,
    /// Who goes on when two masters are equal.
    pub tie_break: TieBreak,
    /// When a dual-stack master is considered dead.
    pub family_timers: FamilyTimers,
    /// Whether link-local addresses are included in the digest that we send.
    pub link_local: LinkLocal,
    /// The checksum that we send over IPv6.
    pub ipv6_checksum: Ipv6Checksum,
    /// Where IPv6 advertisements go: part of the checksum with a pseudo-header.
    pub ipv6_destination: Ipv6Addr,
    /// Cap the advertised advskew at 240, as FreeBSD does. Off in ucarp mode, where it is sent as
    /// configured.
    pub clamp_advskew: bool,
    /// Also send our demotion in OpenBSD's byte 4, for a mixed group. Always done with
    /// [`Peers::OpenBsd`].
    pub send_demote_byte: bool,
    /// The hardware address that is included in the digest, for a group of OpenBSD nodes with a
    /// manually set `lladdr`.
    pub openbsd_lladdr: Option<MacAddr>,
    /// Whether the driver must be asked before a preemption.
    pub gate: Gate,
    /// How advertisements reach the other nodes.
    pub delivery: Delivery,
    /// What is signed with besides `key` and `addresses`.
    pub previous: Option<Previous>,
    /// How long we wait after the link has come up, or at the start, before we take part.
    pub startup_delay: Duration,
    /// How long a master must have been worse than us before we preempt it. One that is demoted as
    /// far as possible, or that leaves, is followed at once.
    pub preempt_delay: Duration,
    /// How long after mastership has ended we become master again only because of silence: we do not
    /// preempt, and follow no bow-out.
    pub hold_down: Duration,
    /// How a link that flaps is damped.
    pub damping: Damping,
    /// Whether it becomes master by itself.
    pub claims: Claims,
}

impl Settings {
    /// The multicast group that carries CARP over IPv6.
    pub const IPV6_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

    /// The defaults: advbase 1, advskew 0, dead-ratio 3, no preemption, and the first variant of
    /// each choice.
    #[must_use]
    pub fn new(vhid: Vhid, addresses: Vec<VirtualAddress>, key: Key) -> Self {
        Self {
            vhid,
            addresses,
            key,
            advbase: AdvBase(1),
            advskew: AdvSkew(0),
            dead_ratio: timer::DEAD_RATIO,
            preempt: Preempt::default(),
            peers: Peers::default(),
            tie_break: TieBreak::default(),
            family_timers: FamilyTimers::default(),
            link_local: LinkLocal::default(),
            ipv6_checksum: Ipv6Checksum::default(),
            ipv6_destination: Self::IPV6_GROUP,
            clamp_advskew: true,
            send_demote_byte: false,
            openbsd_lladdr: None,
            gate: Gate::default(),
            delivery: Delivery::default(),
            previous: None,
            startup_delay: Duration::ZERO,
            preempt_delay: Duration::ZERO,
            hold_down: Duration::ZERO,
            damping: Damping::USUAL,
            claims: Claims::Alone,
        }
    }

    /// These settings after others, some of whose peers may not have them yet: if the key or the
    /// addresses differ, those of the others stay in use for `overlap` from `now`.
    #[must_use]
    pub fn following(self, old: &Self, overlap: Duration, now: Timestamp) -> Self {
        // Prefixes and order are not part of the digest.
        let signed = |settings: &Self| -> BTreeSet<IpAddr> {
            settings
                .addresses
                .iter()
                .map(|address| address.ip)
                .collect()
        };
        let signs_alike = self.key == old.key && signed(&self) == signed(old);
        let previous = if signs_alike {
            old.previous.clone()
        } else {
            Some(Previous {
                key: old.key.clone(),
                addresses: old.addresses.clone(),
                until: now + overlap,
            })
        };
        // Shortened by the configuration, it ends sooner.
        let shortened = previous.map(|previous| Previous {
            until: previous.until.min(now + overlap),
            ..previous
        });
        Self {
            previous: shortened.filter(|previous| now < previous.until),
            ..self
        }
    }

    /// The mark of its group in byte 4 of our advertisements; 0 without a group, or where that byte
    /// is the demotion.
    #[must_use]
    pub fn tag(&self) -> u8 {
        match self.claims {
            Claims::Together { tag } if !self.sends_demotion() => tag,
            Claims::Together { .. } | Claims::Alone => 0,
        }
    }

    /// Whether byte 4 of our advertisements is our demotion.
    #[must_use]
    pub fn sends_demotion(&self) -> bool {
        self.send_demote_byte || self.peers == Peers::OpenBsd
    }

    /// Whether we advertise in this family: with unicast, in each one that has a peer; otherwise in
    /// each one that has an address, and in IPv4 if there is no address at all.
    #[must_use]
    pub fn uses(&self, family: Family) -> bool {
        if let Some(unicast) = self.delivery.unicast() {
            return unicast.peers.iter().any(|peer| Family::of(*peer) == family);
        }
        match family {
            Family::V4 => {
                self.addresses.is_empty() || self.addresses.iter().any(|a| a.family() == Family::V4)
            }
            Family::V6 => self.addresses.iter().any(|a| a.family() == Family::V6),
        }
    }

    /// The families we advertise in, IPv4 first.
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        Family::ALL.into_iter().filter(|f| self.uses(*f))
    }

    /// The family whose source addresses decide a tie.
    #[must_use]
    pub fn tie_family(&self) -> Family {
        if self.uses(Family::V4) {
            Family::V4
        } else {
            Family::V6
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_must_come_the_way_that_the_group_uses() {
        let (us, peer, other) = (
            [10, 0, 0, 1].into(),
            [10, 0, 0, 2].into(),
            [10, 0, 0, 3].into(),
        );
        let group: IpAddr = [224, 0, 0, 18].into();
        let near = Delivery::Unicast(Unicast {
            peers: vec![peer],
            min_ttl: 255,
        });
        let far = Delivery::Unicast(Unicast {
            peers: vec![peer],
            min_ttl: 253,
        });
        for (delivery, src, dst, ttl, verdict) in [
            (&Delivery::Multicast, other, group, 255, Ok(())),
            (
                &Delivery::Multicast,
                other,
                group,
                254,
                Err(Reject::Ttl(254)),
            ),
            (&Delivery::Multicast, peer, us, 255, Err(Reject::SentToUs)),
            (&near, peer, us, 255, Ok(())),
            (&near, peer, us, 254, Err(Reject::Ttl(254))),
            (&near, peer, group, 255, Err(Reject::SentToGroup)),
            (&near, other, us, 255, Err(Reject::NotAPeer)),
            (&far, peer, us, 253, Ok(())),
            (&far, peer, us, 252, Err(Reject::Ttl(252))),
        ] {
            assert_eq!(
                delivery.admits(src, dst, ttl),
                verdict,
                "{delivery:?} {src} {dst} {ttl}"
            );
        }
    }
}
