//! Firewall rules that drop what failover needs.
//!
//! The rules are played with packets of ours: a chain is walked as the kernel walks it. A condition
//! that this does not know may hold or not; then it only counts if both ways end the same.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Command;

use serde_json::Value;

use super::{Found, Level, Subject};
use crate::config::Vhost;
use crate::effect::Reach;
use crate::types::Family;

/// How deep chains may call each other; the kernel's own limit.
const DEPTH_MAX: usize = 16;

pub(super) fn check(subject: &Subject<'_>) -> Vec<Found> {
    match rules() {
        Ok(rules) => drops(subject, &rules),
        Err(reason) if uses_legacy(subject) => vec![
            Found::new(Level::Note, "the firewall was not looked at")
                .seen(reason)
                .so("rules that drop advertisements or neighbour discovery are not found")
                .mend("apt-get install nftables shows rules of iptables as well, unless they are those of iptables-legacy"),
        ],
        // No tool and no tables: no rules.
        Err(_) => Vec::new(),
    }
}

/// Tables of the older firewall, which nft does not list.
fn uses_legacy(subject: &Subject<'_>) -> bool {
    ["ip_tables_names", "ip6_tables_names"].iter().any(|file| {
        let path = format!("/proc/thread-self/net/{file}");
        subject
            .machine
            .read(&path)
            .is_some_and(|names| !names.trim().is_empty())
    })
}

fn rules() -> Result<Ruleset, String> {
    let output = Command::new("nft")
        .args(["-j", "list", "ruleset"])
        .output()
        .map_err(|error| format!("cannot run nft: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().next().unwrap_or_default().to_owned());
    }
    Ruleset::parse(&output.stdout)
}

/// Chains by family, table and name.
type Key = (String, String, String);

#[derive(Debug, Default)]
struct Ruleset {
    chains: BTreeMap<Key, Chain>,
}

#[derive(Debug, Default)]
struct Chain {
    /// Where the kernel calls it, if it does.
    hook: Option<String>,
    device: Option<String>,
    drops_by_default: bool,
    /// The expressions of its rules.
    rules: Vec<Vec<Value>>,
}

impl Ruleset {
    fn parse(json: &[u8]) -> Result<Self, String> {
        let all: Value = serde_json::from_slice(json)
            .map_err(|error| format!("nft says something else than expected: {error}"))?;
        let mut ruleset = Self::default();
        for object in all
            .get("nftables")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if let Some(chain) = object.get("chain") {
                let entry = ruleset.chains.entry(key(chain, "name")).or_default();
                entry.hook = text(chain, "hook");
                entry.device = text(chain, "dev");
                entry.drops_by_default = text(chain, "policy").as_deref() == Some("drop");
            } else if let Some(rule) = object.get("rule") {
                let expressions = rule.get("expr").and_then(Value::as_array).cloned();
                let entry = ruleset.chains.entry(key(rule, "chain")).or_default();
                entry.rules.push(expressions.unwrap_or_default());
            }
        }
        Ok(ruleset)
    }

    /// What drops this packet for certain, of the chains of these families that are called there.
    fn dropped(&self, families: &[&str], hook: &str, packet: &Packet) -> Option<String> {
        let of_base = |(key, chain): (&Key, &Chain)| {
            let (family, table, name) = key;
            let is_called = families.contains(&family.as_str())
                && chain.hook.as_deref() == Some(hook)
                && chain
                    .device
                    .as_ref()
                    .is_none_or(|device| Some(device) == packet.0.get("meta iifname"));
            if !is_called {
                return None;
            }
            let title = format!("{family} {table} {name}");
            match self.walk(key, packet, 0) {
                Fate::Dropped => Some(format!("a rule of the chain {title}")),
                Fate::Through if chain.drops_by_default => {
                    Some(format!("the policy of the chain {title}"))
                }
                Fate::Through | Fate::Accepted | Fate::Unknown => None,
            }
        };
        self.chains.iter().find_map(of_base)
    }

    fn walk(&self, key: &Key, packet: &Packet, depth: usize) -> Fate {
        let Some(chain) = self.chains.get(key).filter(|_| depth < DEPTH_MAX) else {
            return Fate::Unknown;
        };
        for rule in &chain.rules {
            let (holds, verdict) = play(rule, packet);
            let fate = match (holds, verdict) {
                (Holds::No, _) | (_, Verdict::None) => continue,
                (_, Verdict::Accept) => Fate::Accepted,
                (_, Verdict::Drop) => Fate::Dropped,
                (_, Verdict::Return) => Fate::Through,
                (_, Verdict::Other) => Fate::Unknown,
                (_, Verdict::Call { chain: name, goes }) => {
                    let (family, table, _) = key;
                    let called = (family.clone(), table.clone(), name);
                    match self.walk(&called, packet, depth + 1) {
                        Fate::Through if !goes => continue,
                        fate => fate,
                    }
                }
            };
            match (holds, fate) {
                (Holds::Yes, fate) => return fate,
                // What is dropped in any case is dropped later too; the rest may not come so far.
                (_, Fate::Dropped) => {}
                _ => return Fate::Unknown,
            }
        }
        Fate::Through
    }
}

fn key(object: &Value, name: &str) -> Key {
    let of = |field| text(object, field).unwrap_or_default();
    (of("family"), of("table"), of(name))
}

fn text(object: &Value, field: &str) -> Option<String> {
    object.get(field)?.as_str().map(str::to_owned)
}

/// What becomes of a packet in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Accepted,
    Dropped,
    /// No rule said anything.
    Through,
    Unknown,
}

/// Whether all conditions of a rule hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    Maybe,
}

#[derive(Debug)]
enum Verdict {
    None,
    Accept,
    Drop,
    Return,
    Call { chain: String, goes: bool },
    Other,
}

fn play(rule: &[Value], packet: &Packet) -> (Holds, Verdict) {
    let mut holds = Holds::Yes;
    for expression in rule {
        let Some((name, value)) = expression
            .as_object()
            .and_then(|object| object.iter().next())
        else {
            return (Holds::Maybe, Verdict::Other);
        };
        let call = |goes| Verdict::Call {
            chain: text(value, "target").unwrap_or_default(),
            goes,
        };
        match name.as_str() {
            "match" => match packet.matches(value) {
                Holds::Yes => {}
                Holds::No => return (Holds::No, Verdict::None),
                Holds::Maybe => holds = Holds::Maybe,
            },
            "counter" | "log" | "comment" | "mangle" => {}
            "accept" => return (holds, Verdict::Accept),
            "drop" | "reject" => return (holds, Verdict::Drop),
            "return" => return (holds, Verdict::Return),
            "jump" => return (holds, call(false)),
            "goto" => return (holds, call(true)),
            // A rate, a set that changes, a module of iptables.
            "limit" | "quota" | "ct count" | "xt" | "dynset" => holds = Holds::Maybe,
            _ => return (Holds::Maybe, Verdict::Other),
        }
    }
    (holds, Verdict::None)
}

/// A packet, by what rules ask of it; each has one value, or one of several words for it.
#[derive(Debug, Clone, Default)]
struct Packet(BTreeMap<&'static str, String>);

/// Headers of other packets: a rule about them is none about ours.
const OTHERS: [&str; 10] = [
    "tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmpv6", "esp", "ah", "th",
];

impl Packet {
    fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.insert(key, value.into());
        self
    }

    fn matches(&self, condition: &Value) -> Holds {
        let part = |name| condition.get(name).unwrap_or(&Value::Null);
        let (left, right) = (part("left"), part("right"));
        let Some(name) = name_of(left) else {
            return Holds::Maybe;
        };
        let is_equal = match self.0.get(name.as_str()) {
            Some(value) => match is_among(value, right) {
                Some(is_equal) => is_equal,
                None => return Holds::Maybe,
            },
            // A header that it does not have.
            None if OTHERS
                .iter()
                .any(|other| name.split(' ').next() == Some(other)) =>
            {
                return Holds::No;
            }
            None => return Holds::Maybe,
        };
        match part("op").as_str() {
            Some("==" | "in") if is_equal => Holds::Yes,
            Some("!=") if !is_equal => Holds::Yes,
            Some("==" | "in" | "!=") => Holds::No,
            _ => Holds::Maybe,
        }
    }
}

/// `ip protocol`, `meta l4proto`, `ct state`.
fn name_of(left: &Value) -> Option<String> {
    if let Some(payload) = left.get("payload") {
        let of = |field| payload.get(field).and_then(Value::as_str);
        return Some(format!("{} {}", of("protocol")?, of("field")?));
    }
    for kind in ["meta", "ct"] {
        if let Some(key) = left
            .get(kind)
            .and_then(|it| it.get("key"))
            .and_then(Value::as_str)
        {
            return Some(format!("{kind} {key}"));
        }
    }
    None
}

/// Whether a value is this one, or one of these; `None` if that is not known.
fn is_among(value: &str, right: &Value) -> Option<bool> {
    match right {
        Value::String(word) if word.starts_with('@') => None,
        Value::String(word) => Some(is_word(value, word)),
        Value::Number(number) => Some(is_word(value, &number.to_string())),
        Value::Array(all) => among_all(value, all),
        Value::Object(object) => {
            if let Some(all) = object.get("set").and_then(Value::as_array) {
                return among_all(value, all);
            }
            let prefix = object.get("prefix")?;
            let network: IpAddr = prefix.get("addr")?.as_str()?.parse().ok()?;
            let length = prefix.get("len")?.as_u64()?;
            Some(is_within(value.parse().ok()?, network, length))
        }
        Value::Null | Value::Bool(_) => None,
    }
}

fn among_all(value: &str, all: &[Value]) -> Option<bool> {
    let each: Vec<Option<bool>> = all.iter().map(|one| is_among(value, one)).collect();
    if each.contains(&Some(true)) {
        Some(true)
    } else if each.contains(&None) {
        None
    } else {
        Some(false)
    }
}

/// Protocols have a number and names.
fn is_word(value: &str, word: &str) -> bool {
    let names: &[&str] = match value {
        "112" => &["112", "vrrp", "carp"],
        "58" => &["58", "ipv6-icmp", "icmpv6"],
        _ => return value == word,
    };
    names.contains(&word)
}

fn is_within(ip: IpAddr, network: IpAddr, length: u64) -> bool {
    let shift = |width: u64| u32::try_from(width.saturating_sub(length)).unwrap_or(0);
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let by = shift(32);
            u32::from(ip).checked_shr(by) == u32::from(network).checked_shr(by)
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            let by = shift(128);
            u128::from(ip).checked_shr(by) == u128::from(network).checked_shr(by)
        }
        _ => false,
    }
}

/// A packet of ours, and where it passes.
struct Passage {
    what: &'static str,
    /// The families of tables, and the hook.
    hooks: &'static [(&'static [&'static str], &'static str)],
    packet: Packet,
    consequence: &'static str,
    /// The rule that lets it pass.
    mend: &'static str,
}

/// What passes above and below IP for packet sockets.
const BELOW_IP: &[(&[&str], &str)] = &[
    (&["netdev", "inet"], "ingress"),
    (&["netdev"], "egress"),
    (&["bridge"], "prerouting"),
    (&["bridge"], "input"),
    (&["bridge"], "output"),
];

fn drops(subject: &Subject<'_>, rules: &Ruleset) -> Vec<Found> {
    let mut found = Vec::new();
    for vhost in &subject.config.vhosts {
        for passage in passages(vhost) {
            let by = passage
                .hooks
                .iter()
                .find_map(|(families, hook)| rules.dropped(families, hook, &passage.packet));
            if let Some(by) = by {
                found.push(
                    Found::new(Level::Error, format!("the firewall drops {}", passage.what))
                        .about([vhost])
                        .seen(by)
                        .so(passage.consequence)
                        .mend(format!("accept it there: {}", passage.mend)),
                );
            }
        }
    }
    found
}

fn passages(vhost: &Vhost) -> Vec<Passage> {
    let mut passages = Vec::new();
    let device = vhost.interface.as_str();
    for family in vhost.families() {
        passages.push(Passage {
            what: "advertisements",
            hooks: BELOW_IP,
            packet: advertisement(device, family, group(vhost, family)),
            consequence: "the nodes do not hear each other: both are master",
            mend: "ip protocol 112 accept, ip6 nexthdr 112 accept",
        });
    }
    for peer in &vhost.unicast {
        passages.push(Passage {
            what: "advertisements to peers",
            hooks: &[(&["ip", "ip6", "inet"], "output")],
            packet: advertisement(device, Family::of(*peer), *peer).with("ct state", "new"),
            consequence: "the peers do not hear this node, and take over",
            mend: "meta l4proto 112 accept",
        });
    }
    let has = |family| {
        vhost
            .addresses
            .iter()
            .any(|address| address.family() == family)
    };
    if has(Family::V6) {
        for (what, kind, hook) in [
            ("neighbour solicitations", "nd-neighbor-solicit", IPV6_INPUT),
            (
                "neighbour advertisements",
                "nd-neighbor-advert",
                IPV6_OUTPUT,
            ),
        ] {
            passages.push(Passage {
                what,
                hooks: hook,
                packet: on(device, Family::V6)
                    .with("meta l4proto", "58")
                    .with("ip6 nexthdr", "58")
                    .with("ip6 hoplimit", "255")
                    .with("icmpv6 type", kind)
                    .with("ct state", "untracked"),
                consequence: "nobody learns where the IPv6 virtual addresses are",
                mend: "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
            });
        }
    }
    if has(Family::V4) {
        for operation in ["request", "reply"] {
            passages.push(Passage {
                what: "ARP",
                hooks: &[
                    (&["arp"], "input"),
                    (&["arp"], "output"),
                    (&["netdev", "inet"], "ingress"),
                    (&["netdev"], "egress"),
                    (&["bridge"], "input"),
                    (&["bridge"], "output"),
                ],
                packet: Packet::default()
                    .with("meta iifname", device)
                    .with("meta oifname", device)
                    .with("meta protocol", "arp")
                    .with("ether type", "arp")
                    .with("arp operation", operation),
                consequence: "nobody learns where the virtual addresses are",
                mend: "ether type arp accept",
            });
        }
    }
    passages
}

const IPV6_INPUT: &[(&[&str], &str)] = &[(&["ip6", "inet"], "input"), (&["netdev"], "ingress")];
const IPV6_OUTPUT: &[(&[&str], &str)] = &[(&["ip6", "inet"], "output"), (&["netdev"], "egress")];

fn on(device: &str, family: Family) -> Packet {
    let (protocol, nfproto) = match family {
        Family::V4 => ("ip", "ipv4"),
        Family::V6 => ("ip6", "ipv6"),
    };
    Packet::default()
        .with("meta iifname", device)
        .with("meta oifname", device)
        .with("meta protocol", protocol)
        .with("ether type", protocol)
        .with("meta nfproto", nfproto)
}

/// Where advertisements go that have no peers.
fn group(vhost: &Vhost, family: Family) -> IpAddr {
    let peer = vhost.peers_of(family).next();
    match (vhost.reach(), peer, family) {
        (Reach::Hosts, Some(peer), _) => peer,
        (_, _, Family::V4) => vhost.destination.group.into(),
        (_, _, Family::V6) => vhost.destination.group6.into(),
    }
}

fn advertisement(device: &str, family: Family, to: IpAddr) -> Packet {
    let packet = on(device, family).with("meta l4proto", "112");
    match family {
        Family::V4 => packet
            .with("ip protocol", "112")
            .with("ip daddr", to.to_string())
            .with("ip ttl", "255"),
        Family::V6 => packet
            .with("ip6 nexthdr", "112")
            .with("ip6 daddr", to.to_string())
            .with("ip6 hoplimit", "255"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ruleset(family: &str, chain: Value, rules: &[Value]) -> Ruleset {
        let mut all = vec![chain];
        for expressions in rules {
            all.push(json!({ "rule": { "family": family, "table": "t", "chain": "c", "expr": expressions } }));
        }
        let text = json!({ "nftables": all }).to_string();
        Ruleset::parse(text.as_bytes()).unwrap()
    }

    fn base(family: &str, hook: &str, policy: &str) -> Value {
        json!({ "chain": { "family": family, "table": "t", "name": "c", "hook": hook, "policy": policy } })
    }

    fn is(left: &Value, right: &Value) -> Value {
        json!({ "match": { "op": "==", "left": left, "right": right } })
    }

    fn our_advertisement() -> Packet {
        advertisement("eth0", Family::V4, "224.0.0.18".parse().unwrap())
    }

    #[test]
    fn what_is_dropped_for_certain_is_found() {
        let protocol = json!({ "payload": { "protocol": "ip", "field": "protocol" } });
        let to = json!({ "payload": { "protocol": "ip", "field": "daddr" } });
        let port = json!({ "payload": { "protocol": "tcp", "field": "dport" } });
        let drop = json!({ "drop": null });
        let accept = json!({ "accept": null });
        let multicast = json!({ "prefix": { "addr": "224.0.0.0", "len": 4 } });
        let table = [
            ("nothing said", "accept", vec![], false),
            ("by the policy", "drop", vec![], true),
            (
                "by number",
                "accept",
                vec![json!([is(&protocol, &json!(112)), drop])],
                true,
            ),
            (
                "by name",
                "accept",
                vec![json!([is(&protocol, &json!("vrrp")), drop])],
                true,
            ),
            (
                "in a set",
                "accept",
                vec![json!([is(&protocol, &json!({ "set": ["vrrp", 2] })), drop])],
                true,
            ),
            (
                "another protocol",
                "accept",
                vec![json!([is(&protocol, &json!("tcp")), drop])],
                false,
            ),
            (
                "a port",
                "accept",
                vec![json!([is(&port, &json!(22)), drop])],
                false,
            ),
            (
                "all multicast",
                "accept",
                vec![json!([is(&to, &multicast), drop])],
                true,
            ),
            (
                "accepted before",
                "drop",
                vec![json!([is(&protocol, &json!(112)), accept])],
                false,
            ),
            (
                "perhaps accepted before",
                "drop",
                vec![json!([
                    is(&json!({ "meta": { "key": "mark" } }), &json!(1)),
                    accept
                ])],
                false,
            ),
            (
                "perhaps dropped",
                "accept",
                vec![json!([
                    is(&json!({ "meta": { "key": "mark" } }), &json!(1)),
                    drop
                ])],
                false,
            ),
            (
                "a named set",
                "accept",
                vec![json!([is(&protocol, &json!("@some")), drop])],
                false,
            ),
        ];
        for (name, policy, rules, expected) in table {
            let rules = ruleset("netdev", base("netdev", "ingress", policy), &rules);
            let dropped = rules.dropped(&["netdev"], "ingress", &our_advertisement());
            assert_eq!(dropped.is_some(), expected, "{name}: {dropped:?}");
        }
    }

    #[test]
    fn chains_are_followed() {
        let text = json!({ "nftables": [
            base("ip", "output", "accept"),
            { "chain": { "family": "ip", "table": "t", "name": "more" } },
            { "rule": { "family": "ip", "table": "t", "chain": "c", "expr": [{ "jump": { "target": "more" } }] } },
            { "rule": { "family": "ip", "table": "t", "chain": "more", "expr": [
                is(&json!({ "meta": { "key": "l4proto" } }), &json!(112)), { "counter": {} }, { "reject": null } ] } },
            { "chain": { "family": "ip", "table": "t", "name": "round" } },
        ] });
        let rules = Ruleset::parse(text.to_string().as_bytes()).unwrap();
        assert!(
            rules
                .dropped(&["ip"], "output", &our_advertisement())
                .is_some()
        );
        assert!(
            rules
                .dropped(&["ip"], "input", &our_advertisement())
                .is_none()
        );
        // One that calls itself has an end.
        let round = json!({ "nftables": [
            base("ip", "output", "drop"),
            { "rule": { "family": "ip", "table": "t", "chain": "c", "expr": [{ "jump": { "target": "c" } }] } },
        ] });
        let rules = Ruleset::parse(round.to_string().as_bytes()).unwrap();
        assert!(
            rules
                .dropped(&["ip"], "output", &our_advertisement())
                .is_none()
        );
        assert!(Ruleset::parse(b"no").is_err());
    }
}
