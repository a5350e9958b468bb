//! Transitions from one state to another.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::State;

/// Why a virtual host changed state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It was started, or its link came up.
    Startup,
    /// No advertisement for the master-down time.
    MasterDown {
        /// How long no advertisement has been heard.
        silent: Duration,
    },
    /// We preempt a master that is worse than we are.
    Preempt,
    /// The master's advertisement said that it is leaving, or that it would time out anyway.
    MasterLeaving,
    /// The peer says it is less fit than we are (`peers = "openbsd"`).
    PeerDemoted,
    /// A better master advertised.
    BetterMaster,
    /// An equal master advertised and the tie-break decided for it.
    Tie,
    /// The link went down, or the interface disappeared.
    LinkDown,
    /// We woke up later than the master-down time allows, and must listen first.
    Late {
        /// How late.
        by: Duration,
    },
    /// The driver of the state machine asked for it.
    Asked(Reason),
    /// It was stopped cleanly.
    Shutdown,
    /// Something happened to another member of its group.
    Group {
        /// What happened to which.
        why: String,
    },
}

/// Why the driver of a state machine asks for a state change, in the driver's own terms. The
/// machine passes this on without interpreting it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// A fixed word in kebab case, like those of [`Cause::as_str`].
    pub word: Cow<'static, str>,
    /// A sentence for people.
    pub text: String,
}

impl Reason {
    /// A reason with this word and sentence.
    pub fn new(word: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Self {
        Self {
            word: word.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Cause {
    /// One of each, in the protocol's own terms: all but [`Self::Asked`].
    #[must_use]
    pub const fn protocol() -> [Self; 11] {
        [
            Self::Startup,
            Self::MasterDown {
                silent: Duration::ZERO,
            },
            Self::Preempt,
            Self::MasterLeaving,
            Self::PeerDemoted,
            Self::BetterMaster,
            Self::Tie,
            Self::LinkDown,
            Self::Late { by: Duration::ZERO },
            Self::Shutdown,
            Self::Group { why: String::new() },
        ]
    }

    /// A fixed kebab-case word for logs, metrics and hooks; for [`Self::Asked`], the reason's word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Startup => "startup",
            Self::MasterDown { .. } => "master-down",
            Self::Preempt => "preempt",
            Self::MasterLeaving => "master-leaving",
            Self::PeerDemoted => "peer-demoted",
            Self::BetterMaster => "better-master",
            Self::Tie => "tie",
            Self::LinkDown => "link-down",
            Self::Late { .. } => "late",
            Self::Asked(reason) => &reason.word,
            Self::Shutdown => "shutdown",
            Self::Group { .. } => "group",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MasterDown { silent } => {
                write!(f, "no advertisement for {} ms", silent.as_millis())
            }
            Self::Late { by } => write!(f, "woke up {} ms too late", by.as_millis()),
            Self::Asked(reason) => reason.fmt(f),
            Self::Group { why } => f.write_str(why),
            Self::Startup => f.write_str("start"),
            Self::Preempt => f.write_str("preempting a worse master"),
            Self::MasterLeaving => f.write_str("the master is leaving"),
            Self::PeerDemoted => f.write_str("the peer is less fit"),
            Self::BetterMaster => f.write_str("a better master advertised"),
            Self::Tie => f.write_str("an equal master won the tie-break"),
            Self::LinkDown => f.write_str("the link is down"),
            Self::Shutdown => f.write_str("stopping"),
        }
    }
}

/// One state change, as it is reported to the driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// The peer whose advertisement led to it, if one did.
    pub peer: Option<IpAddr>,
    /// Increases by one with each transition of the virtual host; never reused.
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever adds a cause meets this match, and then [`Cause::protocol`].
    fn number(cause: &Cause) -> usize {
        match cause {
            Cause::Startup => 0,
            Cause::MasterDown { .. } => 1,
            Cause::Preempt => 2,
            Cause::MasterLeaving => 3,
            Cause::PeerDemoted => 4,
            Cause::BetterMaster => 5,
            Cause::Tie => 6,
            Cause::LinkDown => 7,
            Cause::Late { .. } => 8,
            Cause::Shutdown => 9,
            Cause::Group { .. } => 10,
            Cause::Asked(_) => usize::MAX,
        }
    }

    #[test]
    fn all_causes_of_the_protocol_are_listed() {
        let numbers = Cause::protocol().iter().map(number).collect::<Vec<_>>();
        assert_eq!(numbers, (0..=10).collect::<Vec<_>>());
    }
}
