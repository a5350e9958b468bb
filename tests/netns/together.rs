//! `[group.NAME]`: daemons that are master of virtual hosts on two interfaces together, or not at
//! all.

use std::time::Duration;

use carpd::lab::Lab;
use carpd::types::Timestamp;
use nix::sys::signal::Signal;

use crate::rig::{
    ADDRESS, CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Ucarp, Watch, lan, mac, sh, wait_ucarp,
};
use crate::tree::Tree;
use crate::{Case, Outcome};

/// The promise, and what a busy machine may add.
const HANDED_OVER: Duration = Duration::from_millis(20 + 180);
/// The same for half a group.
const HALF: Duration = Duration::from_millis(50 + 150);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("together::a_lost_link_of_one_member_hands_over_both", link),
        Case::new("together::a_killed_engine_leaves_both_at_once", killed),
        Case::new(
            "together::ucarp_that_preempts_one_member_ends_mastership_of_both",
            ucarp,
        ),
        Case::new(
            "together::equals_whose_addresses_cross_agree_on_one",
            crossing,
        ),
        Case::new(
            "together::a_reload_forms_and_ends_a_group_without_a_change",
            reload,
        ),
    ]
}

/// Both virtual hosts: one on `eth0`, the other on `eth1`.
fn node(host: &str, advskew: u8, grouped: bool) -> Carpd {
    let vhost = |name: &str, interface: &str, vhid: u8, address: &str| {
        format!(
            "[[vhost]]\nname = \"{name}\"\ninterface = \"{interface}\"\nvhid = {vhid}\naddresses = [\"{address}\"]\n\
             password-file = \"/run/lab/web.pass\"\nadvskew = {advskew}\n"
        )
    };
    let both = vhost("wan", "eth0", 40, &format!("{ADDRESS}/24"))
        + &vhost("lan", "eth1", 41, "10.77.0.22/24");
    let group = "[group.router]\nmembers = [\"wan\", \"lan\"]\n";
    Carpd::new(host)
        .vhosts(both)
        .more(if grouped { group } else { "" })
}

/// Hosts with a second interface each; their addresses there end in these numbers.
fn two_networks(ends: [u8; 2]) -> Result<Lab, Failed> {
    let lab = lan(&["a", "b"])?;
    for (host, end) in ["a", "b"].into_iter().zip(ends) {
        let add = format!(
            "ip link add eth1 link eth0 type macvlan mode bridge && ip address add 10.77.0.{end}/24 dev eth1 && \
             ip link set eth1 up"
        );
        sh(&lab, host, &add)?;
    }
    Ok(lab)
}

/// Two nodes with groups, `a` master of both.
fn pair() -> Result<(Lab, Watch, [Daemon; 2]), Failed> {
    let lab = two_networks([1, 2])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let mut a = node("a", 0, true).start(&lab)?;
    acquires_both(&mut a, TAKEOVER)?;
    let mut b = node("b", 50, true).start(&lab)?;
    // It follows a bow-out on a network where it has heard nobody only if it comes there.
    lab.until("b to hear a on both networks", SOON, || {
        let text = status(&lab, "b").unwrap_or_default();
        Ok((text.matches("  heard 1").count() == 2).then_some(()))
    })?;
    for _ in 0..2 {
        b.wait_state("backup", SOON)?;
    }
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    Ok((lab, watch, [a, b]))
}

/// Waits until it has the addresses of both members: when it had the first, and when both.
fn acquires_both(daemon: &mut Daemon, timeout: Duration) -> Result<[Timestamp; 2], Failed> {
    let first = daemon.wait_says("Acquired the addresses", timeout)?.at;
    let both = daemon.wait_says("Acquired the addresses", HALF)?.at;
    Ok([first, both])
}

/// Waits until it has released those of both.
fn releases_both(daemon: &mut Daemon) -> Result<Timestamp, Failed> {
    daemon.wait_says("Released the addresses", SOON)?;
    Ok(daemon.wait_says("Released the addresses", HALF)?.at)
}

/// When a daemon wrote this, by its own clock.
fn when(daemon: &Daemon, says: &str) -> Vec<String> {
    let entries = daemon.entries();
    let said = entries.iter().filter(|entry| entry.says(says));
    said.map(|entry| entry.text("timestamp")).collect()
}

fn status(lab: &Lab, host: &str) -> Result<String, Failed> {
    let words = format!("{CARPD} status --config /run/lab/carpd.toml");
    Ok(sh(lab, host, &words)?.join("\n"))
}

fn link() -> Outcome {
    let (lab, mut watch, [mut a, mut b]) = pair()?;
    let text = status(&lab, "a")?;
    assert!(
        text.contains("group router (wan, lan): master, whole"),
        "{text}"
    );
    sh(&lab, "a", "ip link set eth1 down")?;
    let lost = a.wait_says("Link changed", SOON)?.at;
    releases_both(&mut a)?;
    let [first, both] = acquires_both(&mut b, SOON)?;
    eprintln!(
        "together: link loss to both addresses at the peer {:?}, half a group {:?}",
        both.since(lost),
        both.since(first)
    );
    assert!(both.since(lost) <= HANDED_OVER, "{:?}", both.since(lost));
    // By the daemons' own clocks, which are one: their lines are read by different threads.
    let (released, acquired) = (
        when(&a, "Released the addresses"),
        when(&b, "Acquired the addresses"),
    );
    assert_eq!((released.len(), acquired.len()), (2, 2));
    assert!(
        released.iter().max() < acquired.iter().min(),
        "nobody takes what is still held: {released:?} {acquired:?}"
    );
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    let text = status(&lab, "a")?;
    assert!(
        text.contains("group router (wan, lan): init, not whole: lan: the link is down")
            && text.contains("not taking part: group router is not whole"),
        "{text}"
    );
    let metrics = sh(
        &lab,
        "a",
        &format!("{CARPD} metrics --config /run/lab/carpd.toml"),
    )?;
    assert!(
        metrics
            .join("\n")
            .contains("carpd_group_whole{group=\"router\"} 0")
    );
    sh(&lab, "a", "ip link set eth1 up")?;
    for _ in 0..2 {
        a.wait_state("backup", SOON)?;
    }
    a.stop()?;
    b.stop()
}

fn killed() -> Outcome {
    let (lab, mut watch, [a, mut b]) = pair()?;
    let tree = Tree::of(&lab, "a", &a)?;
    let then = carpd::lab::clock::now();
    tree.signal(tree.engine()?, Signal::SIGKILL)?;
    let [_, both] = acquires_both(&mut b, SOON)?;
    eprintln!(
        "together: engine killed to both addresses at the peer {:?}",
        both.since(then)
    );
    assert!(both.since(then) <= HANDED_OVER, "{:?}", both.since(then));
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    assert_eq!(b.states(), ["backup", "backup", "master", "master"]);
    a.stop()?;
    b.stop()
}

/// ucarp has no groups. It takes one member away, and the other is not kept either.
fn ucarp() -> Outcome {
    let lab = two_networks([1, 2])?;
    let mut a = node("a", 50, true).start(&lab)?;
    acquires_both(&mut a, TAKEOVER)?;
    let mut peer = Ucarp::on_b(0, true).start(&lab)?;
    wait_ucarp(&mut peer, "MASTER", TAKEOVER)?;
    releases_both(&mut a)?;
    // Nobody else is on the second network, and yet it is not taken back.
    let held = || status(&lab, "a").map(|text| text.contains("router (wan, lan): backup, whole"));
    assert!(held()?, "{}", status(&lab, "a")?);
    peer.signal(Signal::SIGKILL)?;
    acquires_both(&mut a, TAKEOVER)?;
    let states = a.states();
    assert_eq!(states.len(), 8, "{states:?}");
    a.stop()
}

/// The same advskew, and each has the lower address on one network.
fn crossing() -> Outcome {
    let lab = two_networks([2, 1])?;
    let nodes = [
        node("a", 0, true).start(&lab)?,
        node("b", 0, true).start(&lab)?,
    ];
    let one = lab.until("one node to be master of both", TAKEOVER, || {
        let texts = [
            status(&lab, "a").unwrap_or_default(),
            status(&lab, "b").unwrap_or_default(),
        ];
        let masters = texts.map(|text| text.contains("(wan, lan): master, whole"));
        Ok((masters[0] != masters[1]).then_some(masters[0]))
    })?;
    let changes = |daemon: &Daemon| daemon.states().len();
    let (master, backup) = if one { (0, 1) } else { (1, 0) };
    assert!(changes(&nodes[master]) <= 4 && changes(&nodes[backup]) <= 6);
    nodes.iter().try_for_each(Daemon::stop)
}

fn reload() -> Outcome {
    let lab = two_networks([1, 2])?;
    let mut a = node("a", 0, false).start(&lab)?;
    let acquired = "Acquired the addresses";
    a.wait_says(acquired, TAKEOVER)?;
    a.wait_says(acquired, TAKEOVER)?;
    let before = a.states();
    a.reload(&lab, &node("a", 0, true))?;
    let text = status(&lab, "a")?;
    assert!(
        text.contains("group router (wan, lan): master, whole"),
        "{text}"
    );
    a.reload(&lab, &node("a", 0, false))?;
    assert!(!status(&lab, "a")?.contains("group router"));
    assert_eq!(a.states(), before);
    a.reload(&lab, &node("a", 0, true))?;
    sh(&lab, "a", "ip link set eth0 down")?;
    releases_both(&mut a)?;
    a.stop()
}
