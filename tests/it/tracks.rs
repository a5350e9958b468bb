//! Tracks in rehearsals.

use std::fs;

use super::cli::carpd;
use super::rehearse::{json, outages, place};

#[test]
fn a_track_that_is_down_hands_over_and_comes_back() {
    let directory = place(&[("node2", 0), ("node3", 15)]);
    let file = directory.path().join("node2.toml");
    let track = "\n[track.uplink]\nkind = \"link\"\ninterface = \"eth1\"\nall-vhosts = true\n";
    let text = fs::read_to_string(&file).unwrap() + track;
    fs::write(&file, text).unwrap();
    let run = |events: &[&str]| {
        let mut args = vec!["node2.toml", "node3.toml", "--end", "60s"];
        args.extend(events.iter().flat_map(|event| ["--event", event]));
        json(directory.path(), &args)
    };
    for events in [
        ["10s node2 track uplink down", "40s node2 track uplink up"],
        ["10s node2 eth1 link down", "40s node2 eth1 link up"],
    ] {
        let timeline = run(&events);
        let states = timeline["nodes"][0]["lanes"][0]["states"]
            .as_array()
            .unwrap();
        let shown: Vec<&str> = states
            .iter()
            .map(|state| state["state"].as_str().unwrap())
            .collect();
        assert!(
            shown.ends_with(&["master", "init", "backup", "master"]),
            "{shown:?}"
        );
        assert!(
            outages(&timeline).iter().all(|(from, to)| to - from < 100),
            "{:?}",
            outages(&timeline)
        );
    }
    let ran = carpd(
        directory.path(),
        &[
            "rehearse",
            "node2.toml",
            "--event",
            "1s node2 track other down",
        ],
    );
    assert!(
        ran.stderr.contains("node2 has no track other"),
        "{}",
        ran.stderr
    );
}

/// The `health` of a hook that no virtual host has among its own.
#[test]
fn a_track_that_a_hook_answers_is_asked_in_virtual_time() {
    let directory = place(&[("node2", 0), ("node3", 15)]);
    let health =
        "function health() return service.status('app') == 'active', 'app is not active' end\n";
    fs::write(directory.path().join("app.lua"), health).unwrap();
    let file = directory.path().join("node2.toml");
    let track = "\n[track.app]\nkind = \"hook\"\nhook = \"app\"\nall-vhosts = true\ninterval = \"1s\"\n\
                 [hook.app]\nsource = \"app.lua\"\n[hook.app.grant]\nservice = [{ unit = \"app\", do = [\"start\"] }]\n";
    let text = fs::read_to_string(&file).unwrap() + track;
    fs::write(&file, text).unwrap();
    let run = |events: &[&str]| {
        let mut args = vec!["node2.toml", "node3.toml", "--end", "60s"];
        args.extend(events.iter().flat_map(|event| ["--event", event]));
        json(directory.path(), &args)
    };
    let states = |timeline: &serde_json::Value| {
        let states = timeline["nodes"][0]["lanes"][0]["states"]
            .as_array()
            .unwrap();
        let shown = states
            .iter()
            .map(|state| state["state"].as_str().unwrap().to_owned());
        shown.collect::<Vec<_>>()
    };
    // It does not take part before the first good answer.
    let timeline = run(&["20s node2 service app runs"]);
    assert_eq!(
        states(&timeline),
        ["init", "backup", "master"],
        "{timeline}"
    );
    let began = timeline["nodes"][0]["lanes"][0]["states"][1]["at"].to_string();
    let timeline = run(&[
        "1s node2 service app runs",
        "20s node2 hook app fails",
        "40s node2 hook app works",
    ]);
    let all = states(&timeline);
    assert!(
        all.ends_with(&["master", "init", "backup", "master"].map(str::to_owned)),
        "{all:?} {began}"
    );
    let refused = carpd(
        directory.path(),
        &[
            "rehearse",
            "node2.toml",
            "--event",
            "1s node2 track app down",
        ],
    );
    assert!(
        refused
            .stderr
            .contains("track app is what hook app answers: write `node2 hook app fails`"),
        "{}",
        refused.stderr
    );
}
