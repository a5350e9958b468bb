//! Advertisements on an interface that do not match any virtual host there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::engine::report::StrangerStatus;
use crate::engine::report::millis;
use crate::engine::vhost::reject_log::LogPace;
use crate::types::{IfName, Timestamp};

/// The unmatched advertisements on one interface, by vhid: 256 at most.
#[derive(Debug, Default)]
pub(in crate::engine) struct Unmatched(pub(in crate::engine) BTreeMap<u8, UnmatchedPeer>);

#[derive(Debug)]
pub(in crate::engine) struct UnmatchedPeer {
    pub(in crate::engine) telling: LogPace,
    pub(in crate::engine) count: u64,
    pub(in crate::engine) from: IpAddr,
    pub(in crate::engine) at: Timestamp,
    pub(in crate::engine) kin: Kin,
}

/// How an unmatched advertisement relates to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Kin {
    None,
    /// It is signed like those of the virtual host with this name.
    Signs(String),
    /// The virtual host with this name has its vhid, but another group.
    Group(String),
}

impl Kin {
    pub(in crate::engine) fn likely_cause(&self) -> String {
        match self {
            Self::None => {
                "another group of hosts, or a peer with a different vhid, password and addresses"
                    .to_owned()
            }
            Self::Signs(vhost) => format!(
                "it has the password and addresses of {vhost}, so one of the two vhids is wrong"
            ),
            Self::Group(vhost) => {
                format!("{vhost} has this vhid, but advertises to another multicast group")
            }
        }
    }
}

impl Unmatched {
    /// For operators.
    pub(in crate::engine) fn status(
        &self,
        interface: &IfName,
        now: Timestamp,
    ) -> Vec<StrangerStatus> {
        let status = |(vhid, stranger): (&u8, &UnmatchedPeer)| StrangerStatus {
            interface: interface.clone(),
            vhid: *vhid,
            count: stranger.count,
            from: stranger.from.to_string(),
            ago_ms: millis(now.since(stranger.at)),
            cause: stranger.kin.likely_cause(),
        };
        self.0.iter().map(status).collect()
    }

    /// A text about what was heard recently.
    pub(in crate::engine) fn lately(&self, now: Timestamp, oldest: Duration) -> Vec<String> {
        let recent = self
            .0
            .iter()
            .filter(|(_, stranger)| now.since(stranger.at) <= oldest);
        recent
            .map(|(vhid, stranger)| stranger.in_words(*vhid))
            .collect()
    }
}

impl UnmatchedPeer {
    pub(in crate::engine) fn in_words(&self, vhid: u8) -> String {
        format!(
            "heard vhid {vhid}, which no virtual host here uses, from {}: {}",
            self.from,
            self.kin.likely_cause()
        )
    }
}
