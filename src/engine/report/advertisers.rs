//! What is reported of the nodes that advertise.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::types::{IfName, MacAddr, Name};

/// Every advertiser that was heard.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PeersReport {
    /// Those of virtual hosts first.
    pub advertisers: Vec<AdvertiserStatus>,
    /// Where advertisers were forgotten because there were too many.
    pub evicted: Vec<EvictedStatus>,
}

impl PeersReport {
    /// Leaves only what concerns this virtual host.
    pub fn narrow(&mut self, name: &Name) {
        let is_it = |vhost: &Option<Name>| vhost.as_ref() == Some(name);
        self.advertisers.retain(|peer| is_it(&peer.vhost));
        self.evicted.retain(|evicted| is_it(&evicted.vhost));
    }

    /// Adds what another part, or the engine of another network namespace of the same daemon,
    /// reports.
    pub fn add(&mut self, other: Self) {
        self.advertisers.extend(other.advertisers);
        self.evicted.extend(other.evicted);
    }
}

/// How many advertisers were forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvictedStatus {
    /// Whose advertisements they sent; `None`: those of no virtual host here.
    pub vhost: Option<Name>,
    /// Where.
    pub interface: IfName,
    /// How many, since the daemon began.
    pub count: u64,
}

/// A node that advertises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvertiserStatus {
    /// The virtual host whose advertisements it sends; `None`: that of no virtual host here.
    pub vhost: Option<Name>,
    /// Where it was heard.
    pub interface: IfName,
    /// The network namespace that the interface is in, if not the daemon's own.
    #[serde(default)]
    pub netns: Option<String>,
    /// The vhid in its packets, or the virtual router id.
    pub vhid: u8,
    /// Where its packets come from.
    pub address: IpAddr,
    /// The source hardware address of its frames.
    pub mac: Option<MacAddr>,
    /// What it runs, as far as its frames tell.
    pub implementation: Implementation,
    /// The interval that it promised last.
    pub interval_ms: Option<u64>,
    /// How much its intervals vary, smoothed.
    pub jitter_us: Option<u64>,
    /// Its last advbase.
    pub advbase: Option<u8>,
    /// Its last advskew.
    pub advskew: Option<u8>,
    /// How many of its packets were heard.
    pub count: u64,
    /// How many of them were refused.
    pub refused: u64,
    /// When the first was heard, in milliseconds before now.
    pub first_ago_ms: u64,
    /// When the last was heard.
    pub heard_ago_ms: u64,
    /// What became of the last one.
    pub standing: Standing,
    /// Why it was refused: the name of its counter.
    #[serde(default)]
    pub reason: Option<String>,
    /// What is probably wrong. If there are several, they cannot be told apart.
    #[serde(default)]
    pub causes: Vec<ProbableCause>,
}

/// Another node that is master of the same virtual host as this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitStatus {
    /// Where its advertisements come from.
    pub address: IpAddr,
    /// From which hardware address.
    pub mac: Option<MacAddr>,
    /// For how long.
    pub for_ms: u64,
    /// Why its advertisements are refused, as in [`AdvertiserStatus::causes`]. Empty if they are
    /// not: then it does not hear this node, or refuses what it hears.
    pub causes: Vec<ProbableCause>,
}

impl fmt::Display for SplitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        if self.causes.is_empty() {
            return write!(
                f,
                "{address} is master as well: it does not hear this node, or refuses what it hears"
            );
        }
        let causes: Vec<&str> = self
            .causes
            .iter()
            .map(|cause| cause.text.as_str())
            .collect();
        let causes = causes.join(", or ");
        write!(
            f,
            "{address} is master as well, and is refused here: {causes}"
        )
    }
}

/// What became of an advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is a peer's.
    Accepted,
    /// It claims to be a peer's, but is not valid.
    Refused,
    /// It is none of our business: another group of nodes, with another vhid.
    Unrelated,
    /// The virtual host does not take part at present, so nothing was done with it.
    Unchecked,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unrelated => "unrelated",
            Self::Unchecked => "unchecked",
        })
    }
}

/// What is probably wrong with an advertiser, or here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbableCause {
    /// As a fixed word.
    pub cause: Suspicion,
    /// As a text.
    pub text: String,
}

/// What may be wrong with an advertiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suspicion {
    /// It has another password.
    OtherPassword,
    /// It has another list of addresses.
    OtherAddresses,
    /// Its vhid belongs to another virtual host: it uses that of one, and signs as another.
    OtherOwner,
    /// It speaks VRRP, with our vhid as its virtual router id.
    Vrrp,
    /// Somebody sends captured packets again, or the network has a loop.
    Replay,
    /// There are routers on the way.
    HopLimit,
    /// One side uses unicast or another multicast group, or does not have the other among its peers.
    Delivery,
    /// Its packets are damaged.
    Damaged,
}

/// What a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Implementation {
    /// This program.
    Carpd,
    /// ucarp.
    Ucarp,
    /// OpenBSD.
    Openbsd,
    /// FreeBSD 13 or later.
    Freebsd,
    /// NetBSD.
    Netbsd,
    /// NetBSD, or FreeBSD before 13.
    FreebsdOrNetbsd,
    /// VRRP 2: keepalived, or a router.
    Vrrp2,
    /// VRRP 3.
    Vrrp3,
    /// Its frames have not told it yet.
    Unknown,
}

impl fmt::Display for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Carpd => "carpd",
            Self::Ucarp => "ucarp",
            Self::Openbsd => "OpenBSD",
            Self::Freebsd => "FreeBSD",
            Self::Netbsd => "NetBSD",
            Self::FreebsdOrNetbsd => "FreeBSD/NetBSD",
            Self::Vrrp2 => "VRRPv2",
            Self::Vrrp3 => "VRRPv3",
            Self::Unknown => "unknown",
        })
    }
}
