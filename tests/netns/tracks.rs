//! What virtual hosts depend on beside their own interface.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::rig::{CARPD, Carpd, Failed, SOON, TAKEOVER, holds, lan, sh};
use crate::{Case, Outcome, steady};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("tracks::a_link_that_goes_down_hands_over_at_once", fault),
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("tracks::a_server_that_takes_no_connections_hands_over", tcp)
        },
        Case::new(
            "tracks::a_reload_with_the_same_result_changes_no_state",
            reload,
        ),
    ]
}

const UPLINK: &str =
    "[track.uplink]\nkind = \"link\"\ninterface = \"up0\"\nall-vhosts = true\ndemote = \"fault\"\n";

fn tracked() -> Carpd {
    Carpd::new("a").preempts().more(UPLINK)
}

/// A pair of interfaces: the one that is tracked, and what takes its carrier away.
fn with_uplink(lab: &carpd::lab::Lab) -> Result<(), Failed> {
    sh(
        lab,
        "a",
        "ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up",
    )?;
    Ok(())
}

fn fault() -> Outcome {
    let lab = lan(&["a", "b"])?;
    with_uplink(&lab)?;
    let mut a = tracked().start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    for (break_it, mend, says) in [
        (
            "ip link set up1 down",
            "ip link set up1 up",
            "has no carrier",
        ),
        ("ip link set up0 down", "ip link set up0 up", "is set down"),
        (
            "ip link del up0",
            "ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up",
            "does not exist",
        ),
    ] {
        sh(&lab, "a", break_it)?;
        let left = a.wait_state("init", SOON)?;
        assert_eq!(left.text("cause"), "track");
        let took = b.wait_state("master", SOON)?;
        assert_eq!(took.text("cause"), "master-leaving");
        let took_ms = took.at.since(left.at).as_millis();
        assert!(took_ms < 500, "{took_ms} ms");
        assert!(holds(&lab, "b")? && !holds(&lab, "a")?);
        let on_a = |verb: &str| {
            sh(
                &lab,
                "a",
                &format!("{CARPD} {verb} --config /run/lab/carpd.toml"),
            )
        };
        let status = on_a("status")?.join("\n");
        let wanted = format!("track uplink: up0 {says}");
        assert!(
            status.contains(&format!("not taking part: {wanted}")),
            "{status}"
        );
        assert!(
            status.contains("track uplink (link up0): down since"),
            "{status}"
        );
        let why = on_a("why")?.join("\n");
        assert!(why.contains(says), "{why}");
        let metrics = on_a("metrics")?.join("\n");
        assert!(
            metrics.contains("carpd_track_up{track=\"uplink\"} 0"),
            "{metrics}"
        );
        sh(&lab, "a", mend)?;
        a.wait_state("backup", Duration::from_secs(30))?;
        a.wait_state("master", Duration::from_secs(30))?;
    }
    a.stop()?;
    b.stop()
}

fn reload() -> Outcome {
    let lab = lan(&["a"])?;
    with_uplink(&lab)?;
    let mut a = tracked().start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let before = a.states().len();
    // Another name for the same, one more, and none.
    let renamed = UPLINK.replace("uplink", "wan");
    let more = format!("{UPLINK}{}", renamed.replace("up0", "up1"));
    for tracks in [renamed.as_str(), more.as_str(), ""] {
        a.reload(&lab, &Carpd::new("a").preempts().more(tracks))?;
    }
    assert_eq!(a.states().len(), before);
    // One that is down is obeyed when the reload brings it.
    sh(&lab, "a", "ip link set up1 down")?;
    a.reload(&lab, &tracked())?;
    assert_eq!(a.states().last().map(String::as_str), Some("init"));
    a.stop()
}

const SERVER: &str = "[track.db]\nkind = \"tcp\"\nconnect = \"192.168.32.50:7777\"\ninterval = \"100ms\"\n\
     fall = 2\nall-vhosts = true\n";

fn tcp() -> Outcome {
    let lab = lan(&["a", "b"])?;
    // Nobody listens yet: it does not take part, and says why.
    let mut a = Carpd::new("a").preempts().more(SERVER).start(&lab)?;
    a.wait_says("A track is down", SOON)?;
    assert!(a.states().is_empty(), "{:?}", a.states());
    let status = format!("{CARPD} status --config /run/lab/carpd.toml");
    let said = sh(&lab, "a", &status)?.join("\n");
    assert!(
        said.contains("not taking part: track db: refused: 192.168.32.50:7777"),
        "{said}"
    );
    let server = steady::serve(&lab, "client")?;
    a.wait_state("master", TAKEOVER + SOON)?;
    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    server.signal(Signal::SIGKILL)?;
    let left = a.wait_state("init", SOON)?;
    assert_eq!(left.text("cause"), "track");
    let took = b.wait_state("master", SOON)?;
    assert_eq!(took.text("cause"), "master-leaving");
    let _server = steady::serve(&lab, "client")?;
    a.wait_state("master", TAKEOVER + SOON)?;
    // An edit of how it is asked changes no state.
    let before = a.states().len();
    let slower = SERVER.replace("100ms", "200ms");
    a.reload(&lab, &Carpd::new("a").preempts().more(&slower))?;
    assert_eq!(a.states().len(), before);
    a.stop()?;
    b.stop()
}
