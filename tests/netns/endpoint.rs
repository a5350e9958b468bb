//! The HTTP endpoint of real daemons, asked by curl.

use carpd::lab::{Lab, LabError};
use nix::sys::signal::Signal;

use crate::rig::{Carpd, Daemon, Failed, SOON, TAKEOVER, lan, sh};
use crate::tree::Tree;
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("endpoint::it_tells_who_is_master", tells),
        Case::new("endpoint::it_can_only_be_read", only_read),
        Case::new("endpoint::a_frozen_engine_never_looks_well", frozen),
        Case::new("endpoint::one_that_dies_comes_back", comes_back),
        Case::new("endpoint::nobody_keeps_others_out", crowd),
        Case::new("endpoint::both_formats_are_clean", formats),
        Case::new("endpoint::all_of_many_are_told_once", many),
    ]
}

const TCP: &str = "[daemon]\nlisten = \"127.0.0.1:9478\"\n";

/// The endpoint of a host, asked for a path: the status and the text.
fn get(lab: &Lab, host: &str, path: &str) -> Result<(u16, String), Failed> {
    ask(lab, host, &format!("http://127.0.0.1:9478{path}"))
}

/// What curl is answered with these arguments; 0 if it is not answered.
fn ask(lab: &Lab, host: &str, arguments: &str) -> Result<(u16, String), Failed> {
    let script = format!("curl -s -m 3 -w '\\n%{{http_code}}' {arguments} || true");
    let mut lines = sh(lab, host, &script)?;
    let status = lines.pop().unwrap_or_default().parse().unwrap_or(0);
    Ok((status, lines.join("\n").trim_end().to_owned()))
}

/// Waits until a path is answered with this status.
fn wait_for(lab: &Lab, host: &str, path: &str, status: u16) -> Outcome {
    wait_until(lab, host, path, |(code, _)| *code == status)
}

/// Waits until a path is answered so.
fn wait_until(
    lab: &Lab,
    host: &str,
    path: &str,
    wanted: impl Fn(&(u16, String)) -> bool,
) -> Outcome {
    let answered = || {
        let got = get(lab, host, path).map_err(|error| LabError::Io {
            what: path.to_owned(),
            source: std::io::Error::other(error.to_string()),
        })?;
        Ok(wanted(&got).then_some(()))
    };
    Ok(lab.until(&format!("{host}: the answer to {path}"), TAKEOVER, answered)?)
}

fn master(lab: &Lab) -> Result<Daemon, Failed> {
    let mut daemon = Carpd::new("a").more(TCP).start(lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    wait_for(lab, "a", "/master/web", 200)?;
    Ok(daemon)
}

fn tells() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let a = master(&lab)?;
    let mut b = Carpd::new("b").advskew(100).more(TCP).start(&lab)?;
    b.wait_state("backup", SOON)?;
    wait_for(&lab, "b", "/healthz", 200)?;
    assert_eq!(get(&lab, "a", "/master/web")?, (200, "master".to_owned()));
    assert_eq!(get(&lab, "b", "/master/web")?, (503, "backup".to_owned()));
    assert_eq!(get(&lab, "b", "/readyz")?, (200, "ready".to_owned()));
    assert_eq!(get(&lab, "b", "/master/other")?.0, 404);
    assert_eq!(get(&lab, "b", "/master/")?.0, 404);
    let (status, page) = get(&lab, "a", "/")?;
    assert!(
        status == 200 && page.contains("<b class=master>master</b><td>web<td"),
        "{page}"
    );
    let hears = |(_, json): &(u16, String)| {
        let json: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
        let web = &json["vhosts"][0];
        web["state"] == "backup" && web["heard"]["from"] == "192.168.32.32"
    };
    wait_until(&lab, "b", "/status", hears)?;
    let headers = sh(&lab, "a", "curl -sI http://127.0.0.1:9478/status")?.join("\n");
    let age = headers
        .lines()
        .find_map(|line| line.strip_prefix("carpd-age-seconds: "));
    let age: f64 = age.ok_or("no age")?.trim().parse()?;
    assert!((0.0..=0.5).contains(&age), "{headers}");
    // The link goes, and with it the readiness; the peer takes over.
    sh(&lab, "a", "ip link set eth0 down")?;
    b.wait_state("master", TAKEOVER)?;
    wait_for(&lab, "b", "/master/web", 200)?;
    wait_for(&lab, "a", "/readyz", 503)?;
    assert_eq!(get(&lab, "a", "/master/web")?, (503, "init".to_owned()));
    assert_eq!(get(&lab, "a", "/healthz")?.0, 200);
    b.stop()?;
    a.stop()?;
    // Without a daemon nobody listens.
    assert_eq!(get(&lab, "a", "/healthz")?.0, 0);
    Ok(())
}

fn only_read() -> Outcome {
    let lab = lan(&["a"])?;
    let a = master(&lab)?;
    for method in [
        "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "NONSENSE",
    ] {
        let (status, _) = ask(
            &lab,
            "a",
            &format!("-X {method} -d x=1 http://127.0.0.1:9478/status"),
        )?;
        assert_eq!(status, 405, "{method}");
    }
    for path in ["/../etc/passwd", "/status/", "/%2e%2e/", "//", "/metrics/x"] {
        let (status, _) = ask(
            &lab,
            "a",
            &format!("--path-as-is http://127.0.0.1:9478{path}"),
        )?;
        assert_eq!(status, 404, "{path}");
    }
    // Queries do not matter.
    assert_eq!(get(&lab, "a", "/healthz?x=1")?.0, 200);
    a.stop()
}

fn frozen() -> Outcome {
    let lab = lan(&["a"])?;
    let a = master(&lab)?;
    let tree = Tree::of(&lab, "a", &a)?;
    // The keeper would kill it, and then there is nobody who could look well.
    tree.signal(tree.keeper, Signal::SIGSTOP)?;
    tree.signal(tree.engine()?, Signal::SIGSTOP)?;
    sh(&lab, "a", "sleep 2")?;
    for path in [
        "/healthz",
        "/readyz",
        "/master/web",
        "/metrics",
        "/status",
        "/",
    ] {
        let (status, text) = get(&lab, "a", path)?;
        assert_eq!(status, 503, "{path}: {text}");
        assert!(!text.contains("web"), "{path}: {text}");
    }
    tree.signal(tree.engine()?, Signal::SIGCONT)?;
    tree.signal(tree.keeper, Signal::SIGCONT)?;
    wait_for(&lab, "a", "/healthz", 200)?;
    a.stop()
}

fn comes_back() -> Outcome {
    let lab = lan(&["a"])?;
    let toml = "[daemon]\nlisten = \"unix:/run/lab/http.sock\"\n";
    let mut a = Carpd::new("a").more(toml).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let at = "--unix-socket /run/lab/http.sock http://carpd/healthz";
    assert_eq!(ask(&lab, "a", at)?.0, 200);
    let tree = Tree::of(&lab, "a", &a)?;
    tree.signal(tree.endpoint.ok_or("no endpoint")?, Signal::SIGKILL)?;
    a.wait_says("The process of the HTTP endpoint died; restarting it", SOON)?;
    // Who asks meanwhile waits.
    assert_eq!(ask(&lab, "a", at)?.0, 200);
    // The engine goes, and its endpoint with it; the next has the place of the socket.
    tree.signal(tree.engine()?, Signal::SIGKILL)?;
    a.wait_says("The HTTP endpoint listens", TAKEOVER)?;
    assert_eq!(ask(&lab, "a", at)?.0, 200);
    a.stop()
}

/// Clients that say nothing, say too much, or do not listen.
fn crowd() -> Outcome {
    let lab = lan(&["a"])?;
    let a = master(&lab)?;
    let script = "for n in {1..400}; do exec {fd}<>/dev/tcp/127.0.0.1/9478; \
                  case $((n % 3)) in 0) printf 'GET / HT' >&$fd;; 1) printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&$fd;; esac; done; \
                  curl -s -m 3 -o /dev/null -w '%{http_code}' http://127.0.0.1:9478/healthz";
    assert_eq!(sh(&lab, "a", script)?, ["200"]);
    let (status, _) = ask(
        &lab,
        "a",
        "-H \"X: $(head -c 20000 /dev/zero | tr '\\0' x)\" http://127.0.0.1:9478/",
    )?;
    assert_eq!(status, 431);
    let garbage =
        "head -c 100000 /dev/urandom | curl -s -m 3 telnet://127.0.0.1:9478 >/dev/null || true";
    sh(&lab, "a", garbage)?;
    wait_for(&lab, "a", "/healthz", 200)?;
    let died = |entry: &crate::rig::Entry| entry.text("message").contains("endpoint died");
    assert!(!a.entries().iter().any(died), "{}", a.text());
    a.stop()
}

fn formats() -> Outcome {
    let lab = lan(&["a"])?;
    let a = master(&lab)?;
    let url = "http://127.0.0.1:9478/metrics";
    let lint = sh(
        &lab,
        "a",
        &format!("curl -s {url} | promtool check metrics 2>&1"),
    )?;
    assert!(lint.is_empty(), "{lint:?}");
    let open = "-H 'Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5'";
    let text = sh(&lab, "a", &format!("curl -si {open} {url}"))?.join("\n");
    assert!(
        text.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8")
            && text.contains("# UNIT carpd_snapshot_age_seconds seconds\n")
            && text.ends_with("\n# EOF"),
        "{text}"
    );
    // The query decides.
    let (_, text) = ask(&lab, "a", &format!("{open} '{url}?format=prometheus'"))?;
    assert!(!text.contains("# EOF") && text.contains("_total counter"));
    let (_, text) = ask(&lab, "a", &format!("'{url}?x=1&format=openmetrics'"))?;
    assert!(text.ends_with("# EOF"));
    assert_eq!(ask(&lab, "a", &format!("'{url}?format=xml'"))?.0, 400);
    a.stop()
}

/// More than one turn of the loop tells of.
const MANY: usize = 150;

fn many() -> Outcome {
    let lab = lan(&["a"])?;
    let vhost = |n: usize| {
        format!(
            "[[vhost]]\nname = \"v{n}\"\ninterface = \"eth0\"\nvhid = {n}\n\
             addresses = [\"192.168.32.{}/24\"]\npassword-file = \"/run/lab/web.pass\"\n",
            n + 60
        )
    };
    let all = (1..=MANY).map(vhost).collect();
    let a = Carpd::new("a").vhosts(all).more(TCP).start(&lab)?;
    wait_for(&lab, "a", "/master/v150", 200)?;
    // By a file: it is one line, longer than those that are passed on as one.
    sh(
        &lab,
        "a",
        "curl -s -o /run/lab/status http://127.0.0.1:9478/status",
    )?;
    let json: serde_json::Value = serde_json::from_str(&lab.host("a").read("/run/lab/status")?)?;
    let vhosts = json["vhosts"].as_array().ok_or("no virtual hosts")?;
    let names = vhosts
        .iter()
        .map(|vhost| vhost["name"].as_str().unwrap_or_default().to_owned());
    assert_eq!(
        names.collect::<Vec<_>>(),
        (1..=MANY).map(|n| format!("v{n}")).collect::<Vec<_>>()
    );
    assert!(
        json["held"]
            .as_array()
            .is_some_and(|held| held.len() >= MANY)
    );
    let lint = "curl -s http://127.0.0.1:9478/metrics | tee /run/lab/metrics | promtool check metrics 2>&1";
    let lint = sh(&lab, "a", lint)?;
    assert!(lint.is_empty(), "{lint:?}");
    let held = sh(
        &lab,
        "a",
        "grep -c '^carpd_vhost_holding{vhost=' /run/lab/metrics",
    )?;
    assert_eq!(held, [MANY.to_string()]);
    let families = "grep '^# TYPE' /run/lab/metrics | sort | uniq -d";
    assert!(sh(&lab, "a", families)?.is_empty());
    a.stop()
}
