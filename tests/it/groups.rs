//! Groups: virtual hosts of which a node is master together or not at all, on whole nodes in virtual
//! time. The table of docs/operations.md has a row for each test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use super::cli::carpd;

/// A node: its advskew, and further lines for both virtual hosts.
type Node<'a> = (&'a str, u8, &'a str);

fn place(nodes: &[Node<'_>], grouped: bool) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("pass"), "love\n").unwrap();
    fs::set_permissions(at.join("pass"), fs::Permissions::from_mode(0o600)).unwrap();
    for (name, advskew, more) in nodes {
        fs::write(
            at.join(format!("{name}.toml")),
            config(*advskew, more, grouped),
        )
        .unwrap();
    }
    directory
}

fn config(advskew: u8, more: &str, grouped: bool) -> String {
    let vhost = |name: &str, interface: &str, vhid: u8, address: &str| {
        format!(
            "[[vhost]]\nname = \"{name}\"\ninterface = \"{interface}\"\nvhid = {vhid}\naddresses = [\"{address}\"]\n\
             password-file = \"pass\"\nadvskew = {advskew}\n{more}\n"
        )
    };
    let group = if grouped {
        "[group.router]\nmembers = [\"wan\", \"lan\"]\n"
    } else {
        ""
    };
    vhost("wan", "eth0", 1, "192.0.2.100/24") + &vhost("lan", "eth1", 2, "10.0.0.100/24") + group
}

fn rehearse(directory: &Path, args: &[&str]) -> Value {
    let ran = carpd(directory, &[&["rehearse", "--json"], args].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Two nodes with groups, r1 the better one, and these events.
fn pair(preempt: bool, events: &[&str]) -> Value {
    let more = format!("preempt = {preempt}");
    let nodes = [("r1", 0, more.as_str()), ("r2", 100, more.as_str())];
    let directory = place(&nodes, true);
    let mut args = vec!["r1.toml", "r2.toml"];
    args.extend(events.iter().flat_map(|event| ["-e", event]));
    rehearse(directory.path(), &args)
}

fn us(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// From when to when, in µs, of each of these.
fn spans(list: &Value) -> Vec<(u64, u64)> {
    let list = list.as_array().unwrap().iter();
    list.map(|span| (us(&span["from_us"]), us(&span["to_us"])))
        .collect()
}

/// When a node is master of this virtual host.
fn mastery(timeline: &Value, node: usize, lane: usize) -> Vec<(u64, u64)> {
    let states = timeline["nodes"][node]["lanes"][lane]["states"]
        .as_array()
        .unwrap();
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for state in states.iter().filter(|state| state["state"] == "master") {
        spans.push((us(&state["from_us"]), us(&state["to_us"])));
    }
    spans
}

/// The longest time for which a node was master of one of the two only, in µs.
fn longest_half(timeline: &Value) -> u64 {
    let nodes = timeline["nodes"].as_array().unwrap().len();
    let is_master =
        |spans: &[(u64, u64)], at: u64| spans.iter().any(|(from, to)| (*from..*to).contains(&at));
    let mut longest = 0;
    for node in 0..nodes {
        let lanes = [0, 1].map(|lane| mastery(timeline, node, lane));
        let mut times: Vec<u64> = lanes
            .iter()
            .flatten()
            .flat_map(|(from, to)| [*from, *to])
            .collect();
        times.sort_unstable();
        for pair in times.windows(2) {
            let [one, other] = [&lanes[0], &lanes[1]].map(|spans| is_master(spans, pair[0]));
            if one != other {
                longest = longest.max(pair[1] - pair[0]);
            }
        }
    }
    longest
}

/// The longest time for which two nodes had an address, in µs.
fn longest_contest(timeline: &Value) -> u64 {
    let vhosts = timeline["vhosts"].as_array().unwrap().iter();
    let contests = vhosts.flat_map(|vhost| spans(&vhost["contested"]));
    contests.map(|(from, to)| to - from).max().unwrap_or(0)
}

/// Who serves each virtual host at the end; `-` for nobody.
fn last(timeline: &Value) -> String {
    let end = us(&timeline["end_us"]);
    let vhosts = timeline["vhosts"].as_array().unwrap().iter();
    let holder = |vhost: &Value| {
        let served = vhost["served"].as_array().unwrap();
        let last = served.iter().find(|served| us(&served["to_us"]) == end);
        last.map_or("-", |served| served["node"].as_str().unwrap())
            .to_owned()
    };
    vhosts.map(holder).collect::<Vec<_>>().join(" ")
}

/// How long nobody served, for each virtual host, in ms; not before the first master.
fn outages(timeline: &Value) -> Vec<Vec<u64>> {
    let vhosts = timeline["vhosts"].as_array().unwrap().iter();
    let of = |vhost: &Value| -> Vec<u64> {
        let all = vhost["outages"].as_array().unwrap().iter();
        all.filter(|outage| outage["initial"] == false)
            .map(|outage| (us(&outage["to_us"]) - us(&outage["from_us"])) / 1000)
            .collect()
    };
    vhosts.map(of).collect()
}

/// No half a group, and no two holders.
fn whole(timeline: &Value) {
    assert_eq!(longest_half(timeline), 0);
    assert!(
        longest_contest(timeline) < 1000,
        "{}",
        longest_contest(timeline)
    );
}

#[test]
fn a_lost_link_of_one_member_hands_over_both_within_20_ms() {
    for preempt in [false, true] {
        for link in ["eth0", "eth1"] {
            let down = format!("10s r1 {link} link down");
            let up = format!("20s r1 {link} link up");
            let timeline = pair(preempt, &[&down, &up]);
            whole(&timeline);
            assert_eq!(last(&timeline), if preempt { "r1 r1" } else { "r2 r2" });
            let outages = outages(&timeline);
            assert!(outages.iter().flatten().all(|ms| *ms < 20), "{outages:?}");
        }
    }
}

#[test]
fn a_switch_that_fails_for_all_leaves_nobody_master_of_the_other_network() {
    let events = [
        "10s r1 eth0 link down",
        "10s r2 eth0 link down",
        "30s r2 eth0 link up",
    ];
    let timeline = pair(true, &events);
    whole(&timeline);
    assert_eq!(last(&timeline), "r2 r2");
    let timeline = pair(true, &events[..2]);
    assert_eq!(last(&timeline), "- -");
    // One member here and the other there.
    let timeline = pair(true, &["10s r1 eth0 link down", "12s r2 eth1 link down"]);
    whole(&timeline);
    assert_eq!(last(&timeline), "- -");
}

#[test]
fn a_network_that_is_cut_changes_nothing_while_the_other_is_not() {
    for preempt in [false, true] {
        let both = ["10s r1 eth0 loses 100%", "10s r2 eth0 loses 100%"];
        for events in [&both[..], &both[..1], &both[1..]] {
            let timeline = pair(preempt, events);
            whole(&timeline);
            assert_eq!(last(&timeline), "r1 r1", "{events:?}");
            assert_eq!(outages(&timeline), [[0; 0], [0; 0]]);
            // A hand-over works across the network that is left.
            let more = [events, &["15s r1 resigns"]].concat();
            let timeline = pair(preempt, &more);
            whole(&timeline);
            assert!(outages(&timeline).iter().flatten().all(|ms| *ms < 20));
            // So does the end of a node without a word.
            let more = [events, &["15s r1 maintenance on"]].concat();
            let timeline = pair(preempt, &more);
            whole(&timeline);
            assert!(outages(&timeline).iter().flatten().all(|ms| *ms < 20));
            let more = [events, &["15s r1 dies"]].concat();
            let timeline = pair(preempt, &more);
            whole(&timeline);
            assert_eq!(last(&timeline), "r2 r2", "{more:?}");
        }
    }
}

#[test]
fn all_networks_cut_is_two_masters_and_healed_is_one() {
    let timeline = pair(false, &["10s partition r1 / r2", "30s heal"]);
    assert_eq!(longest_half(&timeline), 0);
    assert_eq!(last(&timeline), "r1 r1");
}

#[test]
fn a_node_that_stops_dies_or_freezes_leaves_both() {
    let limits = [
        ("stops", 20),
        ("dies", 3500),
        ("freezes for 20s", 3500),
        ("resigns", 20),
    ];
    for (end, limit) in limits {
        let event = format!("10s r1 {end}");
        let timeline = pair(false, &[&event]);
        whole(&timeline);
        assert_eq!(last(&timeline), "r2 r2", "{end}");
        let outages = outages(&timeline);
        assert!(
            outages.iter().all(|of| of.len() == 1 && of[0] <= limit),
            "{end}: {outages:?}"
        );
    }
}

#[test]
fn an_address_that_is_refused_hands_over_both() {
    let timeline = pair(false, &["10s r1 refuses 10.0.0.100"]);
    whole(&timeline);
    assert_eq!(last(&timeline), "r2 r2");
    let outages = outages(&timeline);
    assert!(outages.iter().flatten().all(|ms| *ms < 20), "{outages:?}");
}

#[test]
fn equal_nodes_agree_on_one() {
    let nodes = [("r1", 50, ""), ("r2", 50, ""), ("r3", 50, "")];
    let directory = place(&nodes, true);
    let args = [
        "r1.toml",
        "r2.toml",
        "r3.toml",
        "-e",
        "10s r2 eth0 link flaps",
    ];
    let timeline = rehearse(directory.path(), &args);
    whole(&timeline);
    let holder = last(&timeline);
    assert!(
        ["r1 r1", "r2 r2", "r3 r3"].contains(&holder.as_str()),
        "{holder}"
    );
}

/// One that has no groups, and is better on one network and worse on the other.
#[test]
fn a_peer_without_groups_that_crosses_settles_in_at_most_three_changes() {
    for preempt in [false, true] {
        let more = format!("preempt = {preempt}");
        let directory = place(&[("r1", 50, more.as_str())], true);
        let plain = config(0, &more, false).replacen("advskew = 0", "advskew = 100", 1);
        fs::write(directory.path().join("old.toml"), plain).unwrap();
        for order in [
            ["0s old dies", "15s old returns"],
            ["0s r1 dies", "15s r1 returns"],
        ] {
            let args = [
                "r1.toml", "old.toml", "-e", order[0], "-e", order[1], "--end", "120s",
            ];
            let timeline = rehearse(directory.path(), &args);
            assert_eq!(longest_half(&timeline_of(&timeline, 0)), 0);
            for node in 0..2 {
                for lane in 0..2 {
                    let lane = &timeline["nodes"][node]["lanes"][lane]["states"];
                    let late = lane.as_array().unwrap().iter();
                    let changes = late.filter(|state| us(&state["from_us"]) > 19_000_000);
                    assert!(changes.count() <= 3, "{lane}");
                }
            }
            let holder = last(&timeline);
            assert!(["r1 r1", "old old"].contains(&holder.as_str()), "{holder}");
        }
    }
}

/// The timeline with one of its nodes only.
fn timeline_of(timeline: &Value, node: usize) -> Value {
    let mut one = timeline.clone();
    one["nodes"] = Value::Array(vec![timeline["nodes"][node].clone()]);
    one
}

/// A few random numbers.
struct Luck(u64);

impl Luck {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}

/// Faults of this many, one every few seconds; each ends before the next begins or lasts beyond it.
fn faults(luck: &mut Luck, nodes: u64, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    let mut at_ms = 10_000;
    for _ in 0..count {
        let (node, eth) = (luck.below(nodes) + 1, luck.below(2));
        let length = 100 + luck.below(9_000);
        let end = at_ms + length;
        let mut event = |at: u64, what: String| events.push(format!("{at}ms {what}"));
        match luck.below(8) {
            0..=2 => {
                event(at_ms, format!("r{node} eth{eth} link down"));
                event(end, format!("r{node} eth{eth} link up"));
            }
            3 => {
                event(at_ms, format!("r{node} dies"));
                event(end, format!("r{node} returns"));
            }
            4 => {
                event(at_ms, format!("r{node} stops"));
                event(end, format!("r{node} returns"));
            }
            5 if length.is_multiple_of(2) => event(at_ms, format!("r{node} resigns")),
            5 => {
                event(at_ms, format!("r{node} maintenance on"));
                event(end, format!("r{node} maintenance off"));
            }
            6 => event(at_ms, format!("r{node} eth{eth} link flaps 3 times")),
            _ => event(at_ms, format!("r{node} freezes for {length}ms")),
        }
        at_ms += 500 + luck.below(8_000);
    }
    events
}

#[test]
fn after_300_random_faults_no_node_was_master_of_a_part() {
    let (mut luck, mut played) = (Luck(0x9e37_79b9_7f4a_7c15), 0);
    let mut longest = (0, 0);
    for round in 0..50 {
        let preempt = format!("preempt = {}", luck.below(2) == 0);
        let all: [Node<'_>; 3] = [
            ("r1", 0, &preempt),
            ("r2", 40, &preempt),
            ("r3", 80, &preempt),
        ];
        let count = 2 + luck.below(2);
        let directory = place(&all, true);
        let events = faults(&mut luck, count, 6);
        played += 6;
        let mut args = vec!["r1.toml", "r2.toml"];
        args.extend((count == 3).then_some("r3.toml"));
        args.extend(events.iter().flat_map(|event| ["-e", event.as_str()]));
        args.extend(["--end", "150s"]);
        let timeline = rehearse(directory.path(), &args);
        let (half, contest) = (longest_half(&timeline), longest_contest(&timeline));
        assert!(half <= 50_000, "round {round}: {half} µs, {events:?}");
        assert!(contest < 1000, "round {round}: {contest} µs, {events:?}");
        let holder = last(&timeline);
        let whole = ["r1 r1", "r2 r2", "r3 r3"].contains(&holder.as_str());
        assert!(whole, "round {round}: {holder}, {events:?}");
        longest = (longest.0.max(half), longest.1.max(contest));
    }
    let (half, contest) = longest;
    println!("{played} faults: half a group {half} µs at most, two holders {contest} µs at most");
}

#[test]
fn a_fault_of_a_track_of_one_member_is_that_of_all() {
    let nodes = [("r1", 0, "preempt = true"), ("r2", 100, "preempt = true")];
    let directory = place(&nodes, true);
    for node in ["r1", "r2"] {
        let path = directory.path().join(format!("{node}.toml"));
        let text = fs::read_to_string(&path).unwrap();
        let named = text.replace("name = \"wan\"", "name = \"wan\"\ntracks = [\"uplink\"]");
        let track = "\n[track.uplink]\nkind = \"link\"\ninterface = \"eth2\"\n";
        fs::write(&path, named + track).unwrap();
    }
    let mut args = vec!["r1.toml", "r2.toml", "-e", "10s r1 track uplink down"];
    let timeline = rehearse(directory.path(), &args);
    whole(&timeline);
    assert_eq!(last(&timeline), "r2 r2");
    let outages = outages(&timeline);
    assert!(outages.iter().flatten().all(|ms| *ms < 20), "{outages:?}");
    args.extend(["-e", "20s r1 track uplink up"]);
    let timeline = rehearse(directory.path(), &args);
    whole(&timeline);
    assert_eq!(last(&timeline), "r1 r1");
}
