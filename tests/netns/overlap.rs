//! Another password, or other addresses, on one node after the other.

use std::time::Duration;

use carpd::lab::Lab;

use crate::rig::{CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, lan, sh};
use crate::{Case, Outcome};

/// Each of three nodes is reloaded six times, with a master-down time after each.
const LONG: Duration = Duration::from_mins(3);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            limit: LONG,
            ..Case::new(
                "overlap::three_nodes_get_another_password_and_addresses_in_any_order",
                any_order,
            )
        },
        Case {
            limit: LONG,
            ..Case::new(
                "overlap::without_it_a_node_that_has_not_been_reloaded_is_left_alone",
                none,
            )
        },
    ]
}

/// A node as it is to be from now on.
fn reload(lab: &Lab, daemon: &mut Daemon, node: &Carpd, host: &str, password: &str) -> Outcome {
    node.write(lab)?;
    lab.host(host)
        .write("/run/lab/web.pass", 0o600, &format!("{password}\n"))?;
    sh(
        lab,
        host,
        &format!("{CARPD} reload --config /run/lab/carpd.toml"),
    )?;
    daemon.wait_says("Reloaded", SOON).map(drop)
}

fn received(lab: &Lab, host: &str) -> Result<u64, Failed> {
    let words = format!("{CARPD} status --json --config /run/lab/carpd.toml");
    let status: serde_json::Value = serde_json::from_str(&sh(lab, host, &words)?.join("\n"))?;
    let counters = &status["vhosts"][0]["counters"];
    Ok(counters["received"].as_u64().unwrap_or_default())
}

/// Each backup hears four advertisements more: one that had to take over would have.
fn all_is_quiet(lab: &Lab) -> Outcome {
    for host in ["b", "c"] {
        let before = received(lab, host)?;
        lab.until(&format!("{host} to hear the master"), TAKEOVER, || {
            Ok((received(lab, host).unwrap_or_default() >= before + 4).then_some(()))
        })?;
    }
    Ok(())
}

fn any_order() -> Outcome {
    let lab = lan(&["a", "b", "c"])?;
    let hosts = ["a", "b", "c"];
    let node = |host: &str, addresses: &str| {
        let advskew = match host {
            "a" => 0,
            "b" => 50,
            _ => 100,
        };
        Carpd::new(host)
            .advskew(advskew)
            .preempts()
            .set("addresses", addresses)
    };
    let one = "[\"192.168.32.22/24\"]";
    let two = "[\"192.168.32.22/24\", \"192.168.32.23/24\"]";
    let mut daemons = Vec::new();
    for host in hosts {
        let mut daemon = node(host, one).start(&lab)?;
        daemon.wait_state(if host == "a" { "master" } else { "backup" }, TAKEOVER)?;
        daemons.push(daemon);
    }
    let rounds = [
        ([1, 0, 2], one, "other"),
        ([0, 2, 1], two, "other"),
        // Both at the same time.
        ([2, 1, 0], one, "third"),
    ];
    for (order, addresses, password) in rounds {
        for number in order {
            let host = hosts[number];
            let changed = node(host, addresses);
            reload(&lab, &mut daemons[number], &changed, host, password)?;
            all_is_quiet(&lab)?;
        }
    }
    assert_eq!(daemons[0].states(), ["backup", "master"]);
    for daemon in &daemons[1..] {
        assert_eq!(daemon.states(), ["backup"]);
    }
    let said = sh(
        &lab,
        "b",
        &format!("{CARPD} status --config /run/lab/carpd.toml"),
    )?
    .join("\n");
    assert!(
        said.contains("from before the last reload count for 3"),
        "{said}"
    );
    for host in hosts {
        let replay = sh(&lab, host, &format!("{CARPD} replay /run/carpd/*/journal"))?.join("\n");
        assert!(replay.contains("led to the same"), "{host}: {replay}");
    }
    // A master that leaves is followed by whoever there is.
    daemons[0].stop()?;
    daemons[1].wait_state("master", SOON)?;
    daemons[1..].iter().try_for_each(Daemon::stop)
}

fn none() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let node = |host: &str, advskew| Carpd::new(host).advskew(advskew).set("overlap", "\"0s\"");
    let mut a = node("a", 0).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = node("b", 50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    reload(&lab, &mut b, &node("b", 50), "b", "other")?;
    b.wait_state("master", TAKEOVER)?;
    a.stop()?;
    b.stop()
}
