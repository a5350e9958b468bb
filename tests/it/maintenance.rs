//! Maintenance in rehearsals: several nodes in virtual time.

use serde_json::Value;

use super::rehearse::{json, outages, place};

#[test]
fn a_node_in_maintenance_takes_over_when_nobody_else_does() {
    let directory = place(&[("a", 0), ("b", 15), ("c", 40)]);
    let play = |events: &[&str]| {
        let mut args = vec!["a.toml", "b.toml", "c.toml"];
        for event in events {
            args.extend(["-e", event]);
        }
        json(directory.path(), &args)
    };
    let masters = |timeline: &Value| -> Vec<(u64, &str)> {
        let mut masters = Vec::new();
        for (node, name) in ["a", "b", "c"].into_iter().enumerate() {
            let states = &timeline["nodes"][node]["lanes"][0]["states"];
            for state in states.as_array().unwrap() {
                let at = |key: &str| state[key].as_u64().unwrap() / 1_000;
                // Every backup follows a bow-out, and the better one stays.
                if state["state"] == "master" && at("to_us") - at("from_us") > 500 {
                    masters.push((at("from_us") / 1_000, name));
                }
            }
        }
        masters.sort_unstable();
        masters
    };
    let timeline = play(&[
        "10s a maintenance on",
        "20s b stops",
        "30s c dies",
        "50s b returns",
        "60s a maintenance off",
    ]);
    // a hands over to b, which leaves: c follows, not a. Then nobody is left but a, which hands over
    // as soon as somebody is there, and preempts again when it may.
    let [first, second, third, fourth, ref rest @ ..] = masters(&timeline)[..] else {
        panic!("{timeline}")
    };
    assert_eq!((first.1, second, third), ("a", (10, "b"), (20, "c")));
    assert!(
        fourth.1 == "a" && (33..=35).contains(&fourth.0),
        "{fourth:?}"
    );
    let [(back, "b"), (60..=61, "a")] = rest else {
        panic!("{rest:?}")
    };
    assert!((50..=54).contains(back), "{rest:?}");
    let long: Vec<_> = outages(&timeline)
        .into_iter()
        .filter(|(from, to)| to - from > 10)
        .collect();
    assert_eq!(long.len(), 1, "only that of the node that died: {long:?}");
    // Without a peer that is fit it does not begin.
    let timeline = play(&["5s b dies", "5s c dies", "10s a maintenance on"]);
    assert!(masters(&timeline).iter().all(|(_, node)| *node == "a"));
    assert_eq!(outages(&timeline), []);
}
