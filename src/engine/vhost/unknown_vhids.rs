//! Advertisements of vhids that no virtual host on an interface uses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::engine::report::{ProbableCause, Suspicion, UnknownVhidStatus, millis};
use crate::engine::vhost::reject_log::LogPace;
use crate::types::{IfName, Timestamp};

/// Those heard on one interface, by vhid: 256 at most.
#[derive(Debug, Default)]
pub(in crate::engine) struct UnknownVhids(pub(in crate::engine) BTreeMap<u8, UnknownVhid>);

#[derive(Debug)]
pub(in crate::engine) struct UnknownVhid {
    pub(in crate::engine) log_pace: LogPace,
    pub(in crate::engine) count: u64,
    pub(in crate::engine) from: IpAddr,
    pub(in crate::engine) at: Timestamp,
    pub(in crate::engine) relation: Relation,
}

/// How an advertisement of an unknown vhid relates to the virtual hosts here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Relation {
    None,
    /// It is signed like those of the virtual host with this name.
    SameSignature(String),
    /// The virtual host with this name has its vhid, but another group.
    OtherGroup(String),
}

impl Relation {
    pub(in crate::engine) fn likely_cause(&self) -> String {
        match self {
            Self::None => {
                "another group of hosts, or a peer with a different vhid, password and addresses"
                    .to_owned()
            }
            Self::SameSignature(vhost) => format!(
                "it has the password and addresses of {vhost}, so one of the two vhids is wrong"
            ),
            Self::OtherGroup(vhost) => {
                format!("{vhost} has this vhid, but advertises to another multicast group")
            }
        }
    }
}

impl Relation {
    /// What is probably wrong; nothing if it is simply another group of hosts.
    pub(in crate::engine) fn cause(&self) -> Option<ProbableCause> {
        let cause = match self {
            Self::None => return None,
            Self::SameSignature(_) => Suspicion::OtherOwner,
            Self::OtherGroup(_) => Suspicion::Delivery,
        };
        let text = self.likely_cause();
        Some(ProbableCause { cause, text })
    }
}

impl UnknownVhids {
    /// For operators.
    pub(in crate::engine) fn status(
        &self,
        interface: &IfName,
        now: Timestamp,
    ) -> Vec<UnknownVhidStatus> {
        let status = |(vhid, unknown): (&u8, &UnknownVhid)| UnknownVhidStatus {
            interface: interface.clone(),
            vhid: *vhid,
            count: unknown.count,
            from: unknown.from.to_string(),
            ago_ms: millis(now.since(unknown.at)),
            cause: unknown.relation.likely_cause(),
        };
        self.0.iter().map(status).collect()
    }

    /// How many advertisements, of all unknown vhids together.
    pub(in crate::engine) fn count(&self) -> u64 {
        self.0.values().map(|unknown| unknown.count).sum()
    }

    /// A text about what was heard recently.
    pub(in crate::engine) fn lately(&self, now: Timestamp, oldest: Duration) -> Vec<String> {
        let recent = self
            .0
            .iter()
            .filter(|(_, unknown)| now.since(unknown.at) <= oldest);
        recent
            .map(|(vhid, unknown)| unknown.in_words(*vhid))
            .collect()
    }
}

impl UnknownVhid {
    pub(in crate::engine) fn in_words(&self, vhid: u8) -> String {
        format!(
            "heard vhid {vhid}, which no virtual host here uses, from {}: {}",
            self.from,
            self.relation.likely_cause()
        )
    }
}
