//! Maintenance: what is served meanwhile, and what it outlives.

use std::time::Duration;

use carpd::lab::clock::now;
use carpd::lab::{Lab, Sighting};
use carpd::types::Timestamp;
use nix::sys::signal::Signal;

use crate::crash::{never_two, pass};
use crate::rig::{ADDRESS, CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Watch, lan, mac, sh};
use crate::tree::Tree;
use crate::{ADDRESS_OF_A, ADDRESS_OF_B, Case, Outcome};

/// Begins and ends maintenance so many times in turn (`tests/maintenance`).
pub(crate) const COMMAND: &str = "--maintenance";
/// How long nobody may answer in one cycle.
const UNSERVED: Duration = Duration::from_millis(10);
/// What a machine that runs other tests as well may add.
const BUSY: Duration = Duration::from_millis(90);
/// As a last resort, with advbase 1: longer than silence and another interval at advskew 240.
const LAST: Duration = Duration::from_secs(15);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("maintenance::a_few_cycles_are_noticed_by_nobody", few)
        },
        Case {
            limit: Duration::from_mins(2),
            ..Case::new(
                "maintenance::it_outlives_kill_restart_and_reboot_and_is_the_last_resort",
                lasts,
            )
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new(
                "maintenance::nobody_is_left_alone_unless_it_is_forced",
                alone,
            )
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("maintenance::a_group_is_drained_as_one", drained)
        },
        Case {
            limit: Duration::from_mins(2),
            ..Case::new("maintenance::a_node_that_never_takes_over_then", never)
        },
    ]
}

/// Output and exit status of a verb.
fn carpd(lab: &Lab, host: &str, words: &str) -> Result<(String, String), Failed> {
    let script = format!("{CARPD} {words} --config /run/lab/carpd.toml 2>&1; echo $?");
    // Who forces it waits for three master-down times.
    let mut lines = lab
        .host(host)
        .run(&["bash", "-c", &script], TAKEOVER * 2)?
        .stdout;
    let status = lines.pop().unwrap_or_default();
    Ok((lines.join("\n"), status))
}

/// The same, and it must work.
fn well(lab: &Lab, host: &str, words: &str) -> Result<String, Failed> {
    let (said, status) = carpd(lab, host, words)?;
    if status == "0" {
        Ok(said)
    } else {
        Err(format!("{host}: carpd {words}: {status}: {said}").into())
    }
}

/// How long nobody answered, each time that another host began to.
fn gaps(watch: &Watch, since: Timestamp) -> Vec<Duration> {
    let sightings = watch.sightings().into_iter();
    let gap = |what: Sighting| match what {
        Sighting::Answers {
            previous: Some(_),
            silent_us,
            ..
        } => Some(Duration::from_micros(silent_us)),
        _ => None,
    };
    sightings
        .filter(|sighted| sighted.at() >= since)
        .filter_map(|sighted| gap(sighted.what))
        .collect()
}

/// Nodes `a`, the master, and `b`.
fn pair(lab: &Lab) -> Result<[Daemon; 2], Failed> {
    let mut a = Carpd::new("a").start(lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = Carpd::new("b").advskew(50).start(lab)?;
    b.wait_state("backup", TAKEOVER)?;
    Ok([a, b])
}

/// Each node goes into maintenance while it is master, and comes back. Returns how long nobody
/// answered each time.
fn cycles(count: usize) -> Result<Vec<Duration>, Failed> {
    let lab = lan(&["a", "b"])?;
    let daemons = pair(&lab)?;
    let macs = [mac(&lab, "a")?, mac(&lab, "b")?];
    let mut watch = Watch::each(Duration::from_millis(1), &lab, ADDRESS)?;
    watch.wait(&macs[..1], SOON)?;
    let begin = now();
    for cycle in 0..count {
        let (from, to) = (cycle % 2, (cycle + 1) % 2);
        let host = ["a", "b"][from];
        let said = well(&lab, host, "maintenance on web --for 1h")?;
        assert!(said.contains("web: handed over to"), "{said}");
        watch.wait(&macs[to..=to], SOON)?;
        well(&lab, host, "maintenance off web")?;
        // Two: then nobody doubts it, and more than the pace of takeovers asks for.
        watch.hear([ADDRESS_OF_A, ADDRESS_OF_B][to], 2, SOON)?;
    }
    never_two(&watch, begin);
    let found = gaps(&watch, begin);
    if found.len() != count {
        return Err(format!("{count} cycles and {} changes: {found:?}", found.len()).into());
    }
    daemons.iter().try_for_each(Daemon::stop)?;
    Ok(found)
}

/// The command.
pub(crate) fn main(count: u64) -> Outcome {
    let mut found = cycles(usize::try_from(count)?)?;
    found.sort();
    let longest = found.last().copied().unwrap_or_default();
    let median = found.get(found.len() / 2).copied().unwrap_or_default();
    let missed = found.iter().filter(|gap| **gap > UNSERVED).count();
    println!(
        "{count} cycles of maintenance, asked each ms: nobody answered for {median:?} (median), {longest:?} (longest); \
         {missed} longer than {UNSERVED:?}"
    );
    if missed == 0 {
        Ok(())
    } else {
        Err(format!("{missed} times unserved for longer than {UNSERVED:?}").into())
    }
}

fn few() -> Outcome {
    let found = cycles(5)?;
    println!("unserved in each cycle: {found:?}");
    assert!(found.iter().all(|gap| *gap <= UNSERVED + BUSY), "{found:?}");
    Ok(())
}

fn lasts() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let [a, b] = pair(&lab)?;
    let said = well(&lab, "a", "maintenance on --for 1h --reason 'new kernel'")?;
    assert!(said.contains("web: handed over to 192.168.32.33"), "{said}");
    // Whatever is on the disk when the order is answered.
    Tree::of(&lab, "a", &a)?.signal_all(Signal::SIGKILL)?;
    let is_maintained = |what: &str| -> Outcome {
        let status = well(&lab, "a", "status")?;
        assert!(
            status.contains("in maintenance since") && status.contains("new kernel"),
            "{what}: {status}"
        );
        assert!(
            status.contains("240: maintenance: new kernel; ends in 3"),
            "{what}: {status}"
        );
        let json = well(&lab, "a", "status --json")?;
        assert!(json.contains("\"reason\": \"new kernel\""), "{json}");
        let metrics = well(&lab, "a", "metrics")?;
        assert!(
            metrics.contains("carpd_vhost_maintenance{vhost=\"web\"} 1"),
            "{metrics}"
        );
        Ok(())
    };
    let mut a = Carpd::new("a").restart(&lab)?;
    a.wait_state("backup", TAKEOVER)?;
    is_maintained("after a kill")?;
    a.stop()?;
    // Another boot, as far as the daemon can tell.
    sh(
        &lab,
        "a",
        "echo 11111111-2222-3333-4444-555555555555 > /run/lab/boot && mount --bind /run/lab/boot /proc/sys/kernel/random/boot_id",
    )?;
    let mut a = Carpd::new("a").restart(&lab)?;
    a.wait_state("backup", TAKEOVER)?;
    is_maintained("after a boot")?;
    // The other one leaves, and nobody else is there.
    b.stop()?;
    a.wait_state("master", LAST)?;
    let status = well(&lab, "a", "maintenance status")?;
    assert!(status.contains("new kernel, master"), "{status}");
    let mut watch = Watch::start(&lab, ADDRESS)?;
    watch.hear_advskew(240, SOON)?;
    // When somebody is there, it hands over by itself.
    let mut b = Carpd::new("b").advskew(50).restart(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    let told = a.wait_state("backup", SOON)?;
    assert_eq!(told.text("cause"), "maintenance", "{told:?}");
    let why = well(&lab, "a", "why")?;
    assert!(why.contains("maintenance: another node is there"), "{why}");
    let said = well(&lab, "a", "maintenance off")?;
    assert_eq!(said, "web: no longer in maintenance");
    a.stop()?;
    let mut a = Carpd::new("a").restart(&lab)?;
    a.wait_state("backup", TAKEOVER)?;
    let said = well(&lab, "a", "maintenance status")?;
    assert!(said.contains("web: not in maintenance"), "{said}");
    a.stop()?;
    b.stop()
}

fn alone() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    for verb in ["maintenance on", "maintenance on web", "drain --wait"] {
        let (said, status) = carpd(&lab, "a", verb)?;
        assert!(
            status == "5" && said.contains("web: no fit peer answered"),
            "{verb}: {status}: {said}"
        );
    }
    let (said, _) = carpd(&lab, "a", "maintenance status")?;
    assert!(said.contains("web: not in maintenance"), "{said}");
    let (said, status) = carpd(&lab, "a", "maintenance on --force --never")?;
    assert!(
        status == "0" && said.contains("no peer was heard to take over"),
        "{status}: {said}"
    );
    // One in maintenance is no fit peer.
    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    for verb in ["maintenance on", "resign web"] {
        let (said, status) = carpd(&lab, "b", verb)?;
        assert!(status == "5", "{verb}: {status}: {said}");
    }
    well(&lab, "a", "maintenance off")?;
    well(&lab, "b", "demote 100 web --reason slow")?;
    let status = well(&lab, "b", "status")?;
    assert!(
        status.contains("100: an operator: slow; ends with `carpd promote`"),
        "{status}"
    );
    // The old name.
    let said = well(&lab, "b", "undemote web")?;
    assert!(said.contains("no longer demoted by 100"), "{said}");
    let said = well(&lab, "b", "promote")?;
    assert_eq!(said, "web: not demoted");
    a.stop()?;
    b.stop()
}

/// It is configured so, and a reload ends it. `carpd check` and the prompt tell of the maintenance.
fn never() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let spec = Carpd::new("a").set("in-maintenance", "\"never\"");
    let mut a = spec.start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    let prompt = |host: &str| -> Result<String, Failed> {
        let script = format!(
            "PATH={}:$PATH; . {}/docs/packaging/carpd-prompt.sh; carpd_prompt --config /run/lab/carpd.toml",
            CARPD.trim_end_matches("/carpd"),
            env!("CARGO_MANIFEST_DIR")
        );
        Ok(lab
            .host(host)
            .run(&["sh", "-c", &script], SOON)?
            .stdout
            .concat())
    };
    assert_eq!(prompt("a")?, "[carpd: 1 master] ");
    assert!(!well(&lab, "a", "check")?.contains("maintenance"));
    well(&lab, "a", "maintenance on --reason disk")?;
    b.wait_state("master", SOON)?;
    assert_eq!(prompt("a")?, "[carpd: maintenance: 1 backup] ");
    let said = well(&lab, "a", "check")?;
    let note = "note: this node is in maintenance: disk; `carpd maintenance off` ends it";
    assert!(said.contains(note), "{said}");
    let said = well(&lab, "a", "maintenance status")?;
    assert!(said.contains(", never takes over: disk, backup"), "{said}");
    // Nobody else is left, and it stays where it is; also after a restart.
    b.stop()?;
    pass(now(), TAKEOVER)?;
    assert_eq!(prompt("a")?, "[carpd: maintenance: 1 backup] ");
    a.stop()?;
    assert!(well(&lab, "a", "check")?.contains(note));
    assert_eq!(prompt("a")?, "", "nothing runs");
    let mut a = spec.restart(&lab)?;
    a.wait_state("backup", SOON)?;
    pass(now(), TAKEOVER)?;
    assert_eq!(prompt("a")?, "[carpd: maintenance: 1 backup] ");
    // As a last resort it takes over.
    Carpd::new("a").write(&lab)?;
    well(&lab, "a", "reload")?;
    a.wait_state("master", LAST)?;
    a.stop()
}

/// Two virtual hosts of one group, of which one is named.
fn drained() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let vhosts = |advskew: u8| {
        let vhost = |name: &str, vhid: u8| {
            format!(
                "[[vhost]]\nname = \"{name}\"\ninterface = \"eth0\"\nvhid = {vhid}\nadvskew = {advskew}\n\
                 addresses = [\"192.168.32.{vhid}/24\"]\npassword-file = \"web.pass\"\n"
            )
        };
        format!(
            "{}{}[group.both]\nmembers = [\"web\", \"db\"]\n",
            vhost("web", 22),
            vhost("db", 23)
        )
    };
    let mut a = Carpd::new("a").vhosts(vhosts(0)).start(&lab)?;
    a.wait_says("Master of all members of the group", TAKEOVER)?;
    let mut b = Carpd::new("b").vhosts(vhosts(50)).start(&lab)?;
    b.wait_state("backup", TAKEOVER)?;
    let said = well(&lab, "a", "maintenance on db")?;
    b.wait_says("Master of all members of the group", SOON)?;
    assert!(
        said.contains("web: handed over to") && said.contains("db: handed over to"),
        "{said}"
    );
    assert!(
        said.contains("web: in maintenance with db; backup here"),
        "{said}"
    );
    let said = well(&lab, "a", "maintenance off web")?;
    assert!(
        said.contains("web: no longer") && said.contains("db: no longer"),
        "{said}"
    );
    let said = well(&lab, "b", "drain --wait --reason reboot")?;
    assert!(said.ends_with("nothing is served here any more"), "{said}");
    a.wait_says("Master of all members of the group", SOON)?;
    a.stop()?;
    b.stop()
}
