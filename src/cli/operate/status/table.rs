//! The table of virtual hosts: one line for each, those with problems first.

use std::cmp::Reverse;

use super::super::age::ago;
use super::RECENT_MS;
use crate::engine::report::{PeerStatus, VhostStatus};
use crate::host::clock;
use crate::terminal::{Canvas, Cell, Table, Tone, cut};
use crate::types::State;

/// A name may have 64 characters; the table shows this many.
const NAME_MAX: usize = 32;
/// The headings. The last column is as wide as its words.
const HEADINGS: [&str; 10] = [
    "NAME",
    "STATE",
    "CHANGED",
    "ADDRESSES",
    "VHID",
    "INTERFACE",
    "MASTER",
    "DEMOTION",
    "HOOKS",
    "PROBLEM",
];
/// The columns that a narrow terminal does without, in this order. `carpd status NAME` has them all.
const SPARED: [usize; 7] = [3, 4, 2, 8, 5, 7, 6];

/// The worst that is wrong with a virtual host, in a few words; what is below the table says more.
pub(in crate::cli::operate) fn trouble(vhost: &VhostStatus) -> Option<(Tone, &'static str)> {
    let is_refused = vhost
        .refused
        .iter()
        .any(|refused| refused.ago_ms < RECENT_MS);
    let is_unhealthy = vhost.health.iter().any(|health| health.well == Some(false));
    let no_master = vhost.state == State::Backup && vhost.heard.is_none();
    let candidates = [
        (Tone::Bad, "not taking part", vhost.state == State::Init),
        (
            Tone::Bad,
            "master without its addresses",
            vhost.state == State::Master && !vhost.holding,
        ),
        (Tone::Bad, "split: two masters", vhost.split.is_some()),
        (
            Tone::Bad,
            "another host has its address",
            !vhost.conflicts.is_empty(),
        ),
        (
            Tone::Bad,
            "addresses up, not set by carpd",
            !vhost.foreign.is_empty(),
        ),
        (Tone::Bad, "a hook failed", vhost.degraded.is_some()),
        (Tone::Bad, "refuses advertisements", is_refused),
        (
            Tone::Bad,
            "addresses refused by the kernel",
            !vhost.refused_addresses.is_empty(),
        ),
        (Tone::Warning, "unhealthy", is_unhealthy),
        (
            Tone::Warning,
            "addresses on another interface",
            !vhost.elsewhere.is_empty(),
        ),
        (
            Tone::Warning,
            "cannot send to a peer",
            vhost.peers.iter().any(PeerStatus::is_refused),
        ),
        (Tone::Warning, "in maintenance", vhost.maintenance.is_some()),
        (Tone::Warning, "demoted", vhost.demotion > 0),
        (Tone::Warning, "its link flaps", vhost.link_penalty > 0),
        (Tone::Warning, "hears no master", no_master),
    ];
    candidates
        .into_iter()
        .find(|(_, _, is_so)| *is_so)
        .map(|(tone, words, _)| (tone, words))
}

fn row(vhost: &VhostStatus, now_ms: u64) -> [Cell; 10] {
    let plain = |text: &dyn std::fmt::Display| Cell::plain(text);
    let none = Cell::none;
    let state = match (vhost.state, vhost.holding) {
        (State::Init, _) | (State::Master, false) => Tone::Bad,
        (State::Master, true) => Tone::Good,
        (State::Backup, _) => Tone::Plain,
    };
    let master = match (vhost.state, &vhost.heard) {
        (State::Master, _) => plain(&"this node"),
        (State::Backup, Some(heard)) => plain(&heard.from),
        (State::Backup, None) | (State::Init, _) => none(),
    };
    let demotion = match vhost.demotion {
        0 => none(),
        by => Cell::new(Tone::Warning, by),
    };
    let is_unhealthy = vhost.health.iter().any(|health| health.well == Some(false));
    let hooks = match &vhost.degraded {
        _ if vhost.hooks.is_empty() => none(),
        Some(_) => Cell::new(Tone::Bad, "failed"),
        None if is_unhealthy => Cell::new(Tone::Warning, "unhealthy"),
        None => plain(&"ok"),
    };
    let problem = trouble(vhost).map_or_else(none, |(tone, words)| Cell::new(tone, words));
    let interface = match &vhost.netns {
        Some(netns) => format!("{} in {netns}", vhost.interface),
        None => vhost.interface.to_string(),
    };
    [
        plain(&cut(vhost.name.as_str(), NAME_MAX)),
        Cell::new(state, vhost.state),
        plain(&ago(now_ms.saturating_sub(vhost.since_ms))),
        plain(&vhost.addresses.len()),
        plain(&vhost.vhid),
        plain(&interface),
        master,
        demotion,
        hooks,
        problem,
    ]
}

/// Draws the table, below a line with the totals.
pub(super) fn draw(vhosts: &[VhostStatus], width: Option<usize>, canvas: &mut Canvas) {
    let mut sorted: Vec<&VhostStatus> = vhosts.iter().collect();
    sorted.sort_by_key(|vhost| Reverse(trouble(vhost).map(|(tone, _)| tone)));
    summary(vhosts, canvas);
    let mut table = Table::new(HEADINGS, &SPARED);
    let now_ms = clock::wall_ms();
    for vhost in sorted {
        table.row(row(vhost, now_ms));
    }
    table.draw(width, canvas);
}

/// How many there are in each state, and how many have a problem.
fn summary(vhosts: &[VhostStatus], canvas: &mut Canvas) {
    let (states, tone, problems) = totals(&vhosts.iter().collect::<Vec<_>>());
    canvas.words(Tone::Plain, format_args!("{states}; "));
    canvas.words(tone, problems);
    canvas.end_line();
}

/// The same in words: the states, and the problems with what they mean.
pub(in crate::cli::operate) fn totals(vhosts: &[&VhostStatus]) -> (String, Tone, String) {
    let of = |state: State| vhosts.iter().filter(|vhost| vhost.state == state).count();
    let troubles: Vec<Tone> = vhosts
        .iter()
        .filter_map(|vhost| trouble(vhost).map(|(tone, _)| tone))
        .collect();
    let hosts = crate::cli::output::count(vhosts.len(), "virtual host");
    let states = [State::Master, State::Backup, State::Init]
        .into_iter()
        .filter(|state| of(*state) > 0)
        .map(|state| format!("{} {state}", of(state)))
        .collect::<Vec<_>>()
        .join(", ");
    let states = format!("{hosts}: {states}");
    match troubles.iter().max() {
        None => (states, Tone::Good, "no problems".to_owned()),
        Some(worst) => (states, *worst, format!("{} with a problem", troubles.len())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    fn vhost(name: &str, state: &str) -> VhostStatus {
        serde_json::from_value(json!({
            "name": name, "interface": "eth0", "vhid": 7,
            "addresses": ["2001:db8:1234:5678:9abc:def0:1234:5678/128"], "state": state,
            "since_ms": 0, "cause": "x", "why": "x", "peer": null, "seq": 1,
            "holding": state == "master", "demotion": 0, "degraded": null,
            "heard": { "from": "fe80::1234:5678:9abc:def0", "ago_ms": 5, "advbase": 1, "advskew": 0 },
            "lease": "", "hooks": [], "counters": {},
        }))
        .unwrap()
    }

    fn drawn(vhosts: &[VhostStatus], width: Option<usize>) -> Vec<String> {
        let mut canvas = Canvas::new(false);
        draw(vhosts, width, &mut canvas);
        canvas.as_str().lines().map(str::to_owned).collect()
    }

    #[test]
    fn problems_come_first() {
        let mut demoted = vhost("demoted", "backup");
        demoted.demotion = 20;
        let lines = drawn(
            &[
                vhost("well", "master"),
                demoted,
                vhost("apart", "init"),
                vhost("backup", "backup"),
            ],
            None,
        );
        assert_eq!(
            lines[0],
            "4 virtual hosts: 1 master, 2 backup, 1 init; 2 with a problem"
        );
        let names: Vec<&str> = lines[2..]
            .iter()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(names, ["apart", "demoted", "well", "backup"]);
        assert!(lines[2].ends_with("not taking part"), "{}", lines[2]);
        assert!(lines[3].contains("fe80::1234:5678:9abc:def0  20"));
        assert!(lines[4].contains("this node"));
    }

    #[test]
    fn columns_are_aligned_and_fit_the_terminal() {
        let long = "a-name-that-has-all-sixty-four-characters-that-a-name-can-have-x";
        let vhosts = [vhost(long, "init"), vhost("web", "backup")];
        for width in [80, 100, 120, 200] {
            let lines = drawn(&vhosts, Some(width));
            let state = lines[1].find("STATE").unwrap();
            assert!(lines[2][state..].starts_with("init"));
            assert!(lines[3][state..].starts_with("backup"));
            for line in &lines {
                assert!(line.width() <= width, "{width}: {line}");
            }
            assert!(lines[1].contains("PROBLEM"));
        }
        assert!(drawn(&vhosts, Some(200))[1].contains("ADDRESSES"));
        assert!(!drawn(&vhosts, Some(80))[1].contains("ADDRESSES"));
    }
}
