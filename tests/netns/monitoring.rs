//! A real Prometheus scrapes two nodes through a failover, in both formats, with the alert rules
//! that are shipped. Their unit tests, and what the dashboard asks.

use std::collections::BTreeSet;
use std::io;
use std::process::Command;
use std::time::Duration;

use carpd::lab::{Lab, LabError, Process};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::rig::{Carpd, Failed, TAKEOVER, lan, sh};
use crate::{ADDRESS_OF_A, ADDRESS_OF_B, Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            limit: Duration::from_mins(2),
            ..Case::new("monitoring::prometheus_sees_a_failover", failover)
        },
        Case {
            // promtool waits for the disk.
            limit: Duration::from_mins(2),
            ..Case::new("monitoring::the_alert_rules_pass_their_tests", rules)
        },
    ]
}

const RULES: &str = include_str!("../../docs/monitoring/carpd.rules.yml");
const DASHBOARD: &str = include_str!("../../docs/monitoring/carpd.dashboard.json");

/// Two jobs scrape the same nodes: one as Prometheus likes it best, one in the older format.
const PROMETHEUS: &str = "\
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [/run/lab/rules.yml]
scrape_configs:
  - job_name: carpd
    static_configs: [{ targets: ['192.168.32.32:9478', '192.168.32.33:9478'] }]
  - job_name: carpd-text
    params: { format: [prometheus] }
    static_configs: [{ targets: ['192.168.32.32:9478', '192.168.32.33:9478'] }]
";

/// The result of a query, one line a series.
fn query(lab: &Lab, expression: &str) -> Result<Vec<String>, Failed> {
    let script = format!("promtool query instant http://127.0.0.1:9090 '{expression}'");
    let mut lines = sh(lab, "client", &script)?;
    // Nothing is an empty line.
    lines.retain(|line| !line.is_empty());
    Ok(lines)
}

/// Waits until a query has a result, which is how PromQL says yes.
fn holds(lab: &Lab, expression: &str) -> Outcome {
    let asked = || {
        let result = query(lab, expression).unwrap_or_default();
        Ok::<_, LabError>((!result.is_empty()).then_some(()))
    };
    Ok(lab.until(expression, TAKEOVER * 2, asked)?)
}

fn start(lab: &Lab) -> Result<Process, Failed> {
    let client = lab.host("client");
    client.write("/run/lab/prometheus.yml", 0o644, PROMETHEUS)?;
    client.write("/run/lab/rules.yml", 0o644, RULES)?;
    Ok(client.spawn(&[
        "prometheus",
        "--config.file=/run/lab/prometheus.yml",
        "--storage.tsdb.path=/run/lab/prometheus",
        "--web.listen-address=127.0.0.1:9090",
        "--log.level=warn",
    ])?)
}

fn failover() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let node = |host: &str, address: &str, advskew| {
        Carpd::new(host)
            .advskew(advskew)
            .more(&format!("[daemon]\nlisten = \"{address}:9478\"\n"))
            .start(&lab)
    };
    let mut a = node("a", ADDRESS_OF_A, 0)?;
    a.wait_state("master", TAKEOVER)?;
    let b = node("b", ADDRESS_OF_B, 100)?;
    let prometheus = start(&lab)?;
    let (at_a, at_b) = (
        format!("instance=\"{ADDRESS_OF_A}:9478\""),
        format!("instance=\"{ADDRESS_OF_B}:9478\""),
    );
    for job in ["carpd", "carpd-text"] {
        holds(
            &lab,
            &format!("carpd_vhost_holding{{job=\"{job}\", {at_a}}} == 1"),
        )?;
        holds(
            &lab,
            &format!("carpd_vhost_state{{job=\"{job}\", {at_b}, state=\"backup\"}} == 1"),
        )?;
        // What is heard is timed, and on time.
        holds(
            &lab,
            &format!(
                "carpd_advertisement_receive_lateness_seconds_bucket{{job=\"{job}\", {at_b}, le=\"0.25\"}} > 1"
            ),
        )?;
        holds(
            &lab,
            &format!(
                "carpd_advertisement_send_lateness_seconds_count{{job=\"{job}\", {at_a}}} > 1"
            ),
        )?;
        holds(
            &lab,
            &format!("carpd_snapshot_age_seconds{{job=\"{job}\", {at_a}}} < 1"),
        )?;
    }
    // Both formats say the same.
    let names = |job: &str| -> Result<BTreeSet<String>, Failed> {
        let all = query(
            &lab,
            &format!("count by (__name__) ({{job=\"{job}\", __name__=~\"carpd_.*\"}})"),
        )?;
        let name = |line: &String| line.split(" =>").next().unwrap_or_default().to_owned();
        Ok(all.iter().map(name).collect())
    };
    let open = names("carpd")?;
    assert_eq!(open, names("carpd-text")?);
    assert!(open.len() > 20, "{open:?}");
    dashboard(&lab)?;
    // The engine of the master hangs, and its keeper with it: the addresses expire, and the peer
    // takes over.
    let tree = crate::tree::Tree::of(&lab, "a", &a)?;
    tree.signal(tree.keeper, Signal::SIGSTOP)?;
    tree.signal(tree.engine()?, Signal::SIGSTOP)?;
    for job in ["carpd", "carpd-text"] {
        holds(
            &lab,
            &format!("carpd_vhost_holding{{job=\"{job}\", {at_b}}} == 1"),
        )?;
        holds(&lab, &format!("up{{job=\"{job}\", {at_a}}} == 0"))?;
        // Nothing is left of what it said of itself.
        holds(
            &lab,
            &format!("absent(carpd_vhost_holding{{job=\"{job}\", {at_a}}})"),
        )?;
    }
    holds(&lab, &format!("ALERTS{{alertname=\"CarpdDown\", {at_a}}}"))?;
    holds(&lab, "ALERTS{alertname=\"CarpdNoBackup\", vhost=\"web\"}")?;
    let firing = query(&lab, "ALERTS{alertstate=\"firing\"}")?;
    assert!(firing.is_empty(), "{firing:?}");
    prometheus.signal(Signal::SIGKILL)?;
    tree.signal(tree.engine()?, Signal::SIGCONT)?;
    tree.signal(tree.keeper, Signal::SIGCONT)?;
    b.stop()?;
    a.stop()
}

/// Prometheus understands what the dashboard asks.
fn dashboard(lab: &Lab) -> Outcome {
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let panels = dashboard["panels"].as_array().ok_or("no panels")?;
    // What there is nothing of on two healthy nodes without hooks, tracks and notifications.
    let nothing = ["refused", "send_failures", "hook", "track", "notifications"];
    for target in panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
    {
        let expression = target["expr"].as_str().ok_or("no expression")?;
        let expression = ["job", "instance", "vhost"]
            .iter()
            .fold(expression.to_owned(), |text, name| {
                text.replace(&format!("${name}\""), ".*\"")
            })
            .replace("$__rate_interval", "10s");
        assert!(!expression.contains('$'), "{expression}");
        if nothing.iter().any(|word| expression.contains(word)) {
            query(lab, &expression)?;
        } else {
            // A rate needs two samples.
            holds(lab, &expression)?;
        }
    }
    Ok(())
}

fn rules() -> Outcome {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring");
    let output = Command::new("promtool")
        .args(["test", "rules", "carpd.rules.test.yml"])
        .current_dir(directory)
        .output()?;
    if output.status.success() {
        Ok(())
    } else {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Err(io::Error::other(text).into())
    }
}
