//! Something that happened, as it is told.

use serde::{Deserialize, Serialize};

use crate::types::{IfName, Name, State, Vhid};

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A virtual host changed its state.
    Transition,
    /// A run of a hook failed.
    HookFailed,
    /// A hook failed, and the virtual host is degraded until it succeeds.
    Degraded,
    /// It is no longer degraded.
    Recovered,
    /// The `health` of a hook failed.
    Unhealthy,
    /// It is well again.
    Healthy,
    /// A track went down.
    TrackDown,
    /// A track came up again.
    TrackUp,
    /// Maintenance began.
    MaintenanceBegun,
    /// Maintenance ended.
    MaintenanceEnded,
    /// Advertisements of another node are refused.
    PeerRefused,
    /// Another node is master at the same time.
    Split,
    /// Another host that is no peer has a virtual address.
    Conflict,
    /// The engine before this one was killed or crashed.
    Crashed,
    /// An operator tries out a target.
    Test,
}

impl EventKind {
    /// All that can be chosen: every kind but [`Self::Test`].
    pub const CHOICE: [Self; 14] = [
        Self::Transition,
        Self::HookFailed,
        Self::Degraded,
        Self::Recovered,
        Self::Unhealthy,
        Self::Healthy,
        Self::TrackDown,
        Self::TrackUp,
        Self::MaintenanceBegun,
        Self::MaintenanceEnded,
        Self::PeerRefused,
        Self::Split,
        Self::Conflict,
        Self::Crashed,
    ];

    /// The word in configuration and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transition => "transition",
            Self::HookFailed => "hook-failed",
            Self::Degraded => "degraded",
            Self::Recovered => "recovered",
            Self::Unhealthy => "unhealthy",
            Self::Healthy => "healthy",
            Self::TrackDown => "track-down",
            Self::TrackUp => "track-up",
            Self::MaintenanceBegun => "maintenance-begun",
            Self::MaintenanceEnded => "maintenance-ended",
            Self::PeerRefused => "peer-refused",
            Self::Split => "split",
            Self::Conflict => "conflict",
            Self::Crashed => "crashed",
            Self::Test => "test",
        }
    }

    /// Whether somebody should look at it.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::HookFailed
            | Self::Degraded
            | Self::Unhealthy
            | Self::TrackDown
            | Self::PeerRefused
            | Self::Split
            | Self::Conflict
            | Self::Crashed => Severity::Warning,
            Self::Transition
            | Self::Recovered
            | Self::Healthy
            | Self::TrackUp
            | Self::MaintenanceBegun
            | Self::MaintenanceEnded
            | Self::Test => Severity::Info,
        }
    }
}

/// Whether somebody should look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// No.
    Info,
    /// Yes.
    Warning,
}

impl Severity {
    /// The word in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
        }
    }
}

/// What an event is about; what means nothing for its kind is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subject {
    /// The virtual host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhost: Option<Name>,
    /// Its interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<IfName>,
    /// Its vhid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhid: Option<Vhid>,
    /// Its state before a transition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<State>,
    /// Its state since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<State>,
    /// The cause of a transition, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The other node, or the other host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<Name>,
    /// The track.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<Name>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What kind of thing.
    pub event: EventKind,
    /// Whether somebody should look at it.
    pub severity: Severity,
    /// The same each time that this is sent, and of no other event: a receiver can tell by it that
    /// it got one twice.
    pub id: String,
    /// When, as RFC 3339 has it, in UTC.
    pub time: String,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// The node that tells it.
    pub node: String,
    /// All of it in one line.
    pub text: String,
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// How many events this target was not told since the last one that it was told.
    pub held_back: u64,
}

impl Event {
    /// One with a value everywhere, to try out templates.
    #[must_use]
    pub fn sample() -> Self {
        let name = |text: &str| text.parse().ok();
        Self {
            event: EventKind::Transition,
            severity: Severity::Info,
            id: "0-1".to_owned(),
            time: "2026-01-01T00:00:00Z".to_owned(),
            time_ms: 1_767_225_600_000,
            node: "node".to_owned(),
            text: "a \"quoted\" word and a back\\slash".to_owned(),
            subject: Subject {
                vhost: name("web"),
                interface: "eth0".parse().ok(),
                vhid: Vhid::new(1).ok(),
                from: Some(State::Backup),
                to: Some(State::Master),
                cause: Some("master-down".to_owned()),
                why: Some("why".to_owned()),
                peer: Some("192.0.2.1".to_owned()),
                hook: name("hook"),
                track: name("track"),
            },
            held_back: 0,
        }
    }

    /// As one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        // All of it are strings and numbers.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Its fields by the names that templates, mails and the environment of commands use; empty
    /// where it has none.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, String); 18] {
        fn word<T: ToString>(value: Option<&T>) -> String {
            value.map(T::to_string).unwrap_or_default()
        }
        let Subject {
            vhost,
            interface,
            vhid,
            from,
            to,
            cause,
            why,
            peer,
            hook,
            track,
        } = &self.subject;
        [
            ("event", self.event.as_str().to_owned()),
            ("severity", self.severity.as_str().to_owned()),
            ("id", self.id.clone()),
            ("time", self.time.clone()),
            ("time_ms", self.time_ms.to_string()),
            ("node", self.node.clone()),
            ("text", self.text.clone()),
            ("vhost", word(vhost.as_ref())),
            ("interface", word(interface.as_ref())),
            ("vhid", word(vhid.as_ref())),
            ("from", word(from.as_ref())),
            ("to", word(to.as_ref())),
            ("cause", word(cause.as_ref())),
            ("why", word(why.as_ref())),
            ("peer", word(peer.as_ref())),
            ("hook", word(hook.as_ref())),
            ("track", word(track.as_ref())),
            ("held_back", self.held_back.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_event_does_not_have_is_not_in_its_json() {
        let whole = Event::sample();
        let bare = Event {
            subject: Subject::default(),
            ..whole.clone()
        };
        let json: serde_json::Value = serde_json::from_str(&bare.json()).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "event",
                "held_back",
                "id",
                "node",
                "severity",
                "text",
                "time",
                "time_ms"
            ]
        );
        let json: serde_json::Value = serde_json::from_str(&whole.json()).unwrap();
        for (name, value) in whole.fields() {
            let there = &json[name];
            let text = there
                .as_str()
                .map_or_else(|| there.to_string(), str::to_owned);
            assert_eq!(text, value, "{name}");
            assert!(!value.is_empty(), "{name}");
        }
    }

    #[test]
    fn words_are_the_same_everywhere() {
        for kind in EventKind::CHOICE {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.as_str()));
        }
    }
}
