//! What the endpoint reads from the engine's status, which is JSON; it passes on the rest unread.

use carpd::types::{IfName, Name, State, VirtualAddress};
use serde::Deserialize;

/// The status, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct View {
    pub(super) version: String,
    pub(super) started_ms: u64,
    pub(super) vhosts: Vec<Vhost>,
    pub(super) groups: Vec<Group>,
    pub(super) tracks: Vec<Track>,
    pub(super) hooks: Vec<Hook>,
    pub(super) reload_problems: Vec<String>,
    pub(super) ledger_problem: Option<String>,
    pub(super) lasting_problem: Option<String>,
    pub(super) unknown_vhids: Vec<UnknownVhid>,
}

/// One virtual host.
#[derive(Debug, Deserialize)]
pub(super) struct Vhost {
    pub(super) name: Name,
    pub(super) interface: IfName,
    pub(super) vhid: u8,
    pub(super) addresses: Vec<VirtualAddress>,
    pub(super) state: State,
    pub(super) since_ms: u64,
    pub(super) condition: String,
    pub(super) why: String,
    pub(super) holding: bool,
    pub(super) demotion: u8,
    pub(super) degraded: Option<String>,
    #[serde(default)]
    pub(super) split: Option<Split>,
    #[serde(default)]
    pub(super) conflicts: Vec<Conflict>,
    #[serde(default)]
    pub(super) refused: Vec<Refusal>,
    pub(super) heard: Option<Heard>,
}

/// Another host that has one of its addresses.
#[derive(Debug, Deserialize)]
pub(super) struct Conflict {
    pub(super) address: std::net::IpAddr,
}

/// Another node that is master as well.
#[derive(Debug, Deserialize)]
pub(super) struct Split {
    pub(super) address: std::net::IpAddr,
    pub(super) for_ms: u64,
    #[serde(default)]
    pub(super) causes: Vec<Cause>,
}

/// Why its advertisements are refused.
#[derive(Debug, Deserialize)]
pub(super) struct Cause {
    pub(super) text: String,
}

/// Advertisements that were refused.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) count: u64,
    pub(super) from: String,
    pub(super) ago_ms: u64,
    pub(super) cause: String,
}

/// The last advertisement that was accepted.
#[derive(Debug, Deserialize)]
pub(super) struct Heard {
    pub(super) from: String,
    pub(super) ago_ms: u64,
}

/// A group of virtual hosts.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    pub(super) name: Name,
    pub(super) members: Vec<Name>,
    pub(super) state: State,
    pub(super) flaw: Option<String>,
}

/// Something that virtual hosts depend on.
#[derive(Debug, Deserialize)]
pub(super) struct Track {
    pub(super) name: Name,
    pub(super) tracked: String,
    pub(super) state: String,
    pub(super) reason: String,
}

/// A hook.
#[derive(Debug, Deserialize)]
pub(super) struct Hook {
    pub(super) name: Name,
    pub(super) fault: Option<Fault>,
}

/// A version of a hook that was refused.
#[derive(Debug, Deserialize)]
pub(super) struct Fault {
    pub(super) message: String,
}

/// Advertisements that belong to no virtual host here.
#[derive(Debug, Deserialize)]
pub(super) struct UnknownVhid {
    pub(super) interface: IfName,
    pub(super) vhid: u8,
    pub(super) from: String,
    pub(super) ago_ms: u64,
}

impl Split {
    /// Who, and what is known of the reason: as `carpd status` says it.
    pub(super) fn who_and_why(&self) -> String {
        let address = self.address;
        let causes: Vec<&str> = self
            .causes
            .iter()
            .map(|cause| cause.text.as_str())
            .collect();
        if causes.is_empty() {
            return format!(
                "{address} is master as well: it does not hear this node, or refuses what it hears"
            );
        }
        let causes = causes.join(", or ");
        format!("{address} is master as well, and is refused here: {causes}")
    }
}

impl Vhost {
    /// It serves, or could.
    pub(super) const fn is_ready(&self) -> bool {
        match self.state {
            State::Master => self.holding,
            State::Backup => true,
            State::Init => false,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn vhost(name: &str, state: &str, holding: bool) -> Vhost {
        serde_json::from_value(serde_json::json!({
            "name": name,
            "interface": "eth0",
            "vhid": 1,
            "addresses": ["192.0.2.1/24"],
            "state": state,
            "since_ms": 1_700_000_000_000_u64,
            "condition": "it is so",
            "why": "<b>because</b>",
            "holding": holding,
            "demotion": 0,
            "degraded": null,
            "heard": { "from": "192.0.2.7", "ago_ms": 300, "advbase": 1, "advskew": 0 },
        }))
        .unwrap()
    }
}
