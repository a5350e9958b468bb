//! Nothing is left behind: the whole process tree is killed as master, and whoever comes next
//! cleans up.

use carpd::lab::Lab;
use carpd::types::Timestamp;
use nix::sys::signal::Signal;

use crate::rig::{CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Watch, holds, lan, sh};
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "leftovers::of_a_killed_tree_are_gone_before_the_next_advertisement",
            next_start,
        ),
        Case::new("leftovers::of_a_killed_tree_are_undone_by_cleanup", cleanup),
        Case::new(
            "leftovers::a_start_right_after_a_kill_waits_for_the_dying",
            restarted,
        ),
        Case::new(
            "leftovers::a_cleanup_right_after_a_kill_waits_for_the_dying",
            cleaned_at_once,
        ),
        Case::new(
            "leftovers::a_full_disk_at_the_end_leaves_no_record_of_what_is_undone",
            full_disk,
        ),
        Case::new(
            "leftovers::a_second_daemon_for_the_same_vhid_refuses_to_start",
            second,
        ),
        Case::new("leftovers::the_journal_of_a_killed_daemon_replays", journal),
    ]
}

const HOOK: &str = "function on_master()
  hostname.set('virtual')
  route.replace('10.77.0.0/16', { via = '192.168.32.50' })
  sysctl.set('net.ipv4.conf.eth0.rp_filter', '2')
end";

const GRANTS: &str = "grant = { hostname = [\"virtual\"], route = [{ dst = \"10.77.0.0/16\", via = \"192.168.32.50\" }], \
                      sysctl = [{ key = \"net.ipv4.conf.eth0.rp_filter\" }] }";

/// What the hook changes, as the host has it.
fn changed(lab: &Lab) -> Result<String, Failed> {
    let script = "hostname; ip route show 10.77.0.0/16; cat /proc/sys/net/ipv4/conf/eth0/rp_filter";
    Ok(sh(lab, "a", script)?.join("\n"))
}

/// A master whose hook has run, with the state of its host before and now.
fn master() -> Result<(Lab, Carpd, Daemon, [String; 2]), Failed> {
    let lab = lan(&["a"])?;
    // No lease: the address is to stay until somebody takes it down.
    let spec = Carpd::new("a").hook(HOOK, GRANTS);
    let before = changed(&lab)?;
    let mut daemon = spec.start(&lab)?;
    let run = daemon.wait_ran("on_master", TAKEOVER)?;
    assert_eq!(run.text("outcome"), "done", "{run:?}");
    let now = changed(&lab)?;
    assert_ne!(before, now);
    assert!(
        now.contains("virtual") && now.contains("10.77.0.0/16 via 192.168.32.50"),
        "{now}"
    );
    assert!(holds(&lab, "a")?);
    Ok((lab, spec, daemon, [before, now]))
}

/// The script that kills keeper, engine, helper and runners; stopped first, so that none can react.
fn kill_script(lab: &Lab) -> Result<String, Failed> {
    let script = "p=$(readlink -f \"$1\"); for dir in /proc/[0-9]*; do case $(readlink $dir/exe) in \
                  $p | $p-daemon | $p-worker) echo ${dir#/proc/} ;; esac; done";
    // All of the programs' processes in this host but ourselves.
    let pids = sh(lab, "a", &script.replace("$1", CARPD))?.join(" ");
    Ok(format!("kill -STOP {pids}; kill -KILL {pids}"))
}

/// SIGKILL for keeper, engine, helper and runners at once; waits until they are gone.
pub(crate) fn kill_tree(lab: &Lab, daemon: &Daemon) -> Outcome {
    let kill = kill_script(lab)?;
    let pids = kill.rsplit("-KILL").next().unwrap_or_default();
    sh(
        lab,
        "a",
        &format!("{kill}; while kill -0 {pids} 2>/dev/null; do :; done"),
    )?;
    daemon.process.wait(SOON)?;
    Ok(())
}

fn next_start() -> Outcome {
    let (lab, spec, daemon, [before, now]) = master()?;
    kill_tree(&lab, &daemon)?;
    assert_eq!(changed(&lab)?, now, "a killed tree undoes nothing");
    let mut watch = Watch::start(&lab, crate::rig::ADDRESS)?;
    let mut next = spec.start(&lab)?;
    let gone: Timestamp = if holds(&lab, "a")? {
        next.wait_says("Removed what a dead process left behind", SOON)?
            .at
    } else {
        carpd::lab::clock::now()
    };
    next.wait("its leftovers to be undone", SOON, |entry| {
        entry.says("Undid an effect") && entry.text("resource") == "hostname"
    })?;
    // All is as before, and it has not run a hook yet: it is not even master.
    assert_eq!(changed(&lab)?, before);
    let heard = watch.hear(crate::ADDRESS_OF_A, 1, TAKEOVER)?;
    assert!(
        heard > gone,
        "the address was gone before the first advertisement"
    );
    next.wait_ran("on_master", TAKEOVER)?;
    assert_eq!(changed(&lab)?, now);
    let why = sh(
        &lab,
        "a",
        &format!("{CARPD} why --config /run/lab/carpd.toml"),
    )?
    .join("\n");
    assert!(
        why.contains("web: master -> init: the daemon ended without a record: it was killed together with its keeper, died #"),
        "{why}"
    );
    next.stop()?;
    assert_eq!(changed(&lab)?, before);
    assert!(!holds(&lab, "a")?);
    Ok(())
}

fn cleanup() -> Outcome {
    let (lab, _, daemon, [before, now]) = master()?;
    let clean = || {
        sh(
            &lab,
            "a",
            &format!("{CARPD} cleanup 2>/run/lab/cleanup.log"),
        )
    };
    assert_eq!(
        clean()?,
        ["nothing was left behind"],
        "a daemon that runs is left alone"
    );
    assert_eq!(changed(&lab)?, now);
    kill_tree(&lab, &daemon)?;
    let said = clean()?.join("\n");
    assert!(
        said.contains(" undone"),
        "{said}: {}",
        sh(&lab, "a", "cat /run/lab/cleanup.log; ls -l /run/carpd/*")?.join("\n")
    );
    assert_eq!(changed(&lab)?, before);
    assert!(!holds(&lab, "a")?);
    assert_eq!(clean()?, ["nothing was left behind"]);
    Ok(())
}

/// Rounds of what depends on how long the kernel takes to end a process.
const ROUNDS: usize = 4;

fn restarted() -> Outcome {
    let (lab, _, mut daemon, [before, now]) = master()?;
    for _ in 0..ROUNDS {
        let run = format!(
            "{}; exec {CARPD} run --config /run/lab/carpd.toml --log-format json",
            kill_script(&lab)?
        );
        let mut next = Daemon {
            process: lab.host("a").spawn(&["bash", "-c", &run])?,
        };
        next.wait_says("Ready", SOON)?;
        daemon.process.wait(SOON)?;
        next.wait_ran("on_master", TAKEOVER)?;
        assert_eq!(changed(&lab)?, now);
        daemon = next;
    }
    // The keeper alone: its engine lets go and ends, and is waited for as well.
    let run = format!(
        "kill -KILL {}; exec {CARPD} run --config /run/lab/carpd.toml --log-format json",
        daemon.process.pid()
    );
    let mut next = Daemon {
        process: lab.host("a").spawn(&["bash", "-c", &run])?,
    };
    next.wait_says("Ready", SOON)?;
    next.wait_ran("on_master", TAKEOVER)?;
    next.stop()?;
    assert_eq!(changed(&lab)?, before);
    Ok(())
}

fn cleaned_at_once() -> Outcome {
    let (lab, spec, mut daemon, [before, now]) = master()?;
    for round in 0..ROUNDS {
        assert_eq!(changed(&lab)?, now);
        let clean = format!(
            "{}; {CARPD} cleanup 2>/run/lab/cleanup.log",
            kill_script(&lab)?
        );
        let said = sh(&lab, "a", &clean)?.join("\n");
        let log = || {
            sh(&lab, "a", "cat /run/lab/cleanup.log; ls -l /run/carpd/*")
                .map(|lines| lines.join("\n"))
        };
        assert!(
            said.contains(" undone"),
            "round {round}: {said}: {}",
            log()?
        );
        assert_eq!(changed(&lab)?, before, "round {round}: {said}: {}", log()?);
        assert!(!holds(&lab, "a")?);
        daemon.process.wait(SOON)?;
        daemon = spec.restart(&lab)?;
        daemon.wait_ran("on_master", TAKEOVER)?;
    }
    // Who lives is named.
    sh(
        &lab,
        "a",
        &format!("{CARPD} cleanup 2>&1 | grep 'Leaving alone what a running daemon holds.*pid='"),
    )?;
    daemon.stop()
}

fn full_disk() -> Outcome {
    let lab = lan(&["a"])?;
    sh(
        &lab,
        "a",
        "mkdir -p /run/carpd && mount -t tmpfs -o size=512k tmpfs /run/carpd",
    )?;
    // So much that what is written at the end does not fit into the pages that the ledger has.
    let lua = "function on_master() for i = 0, 99 do route.replace('10.77.' .. i .. '.0/24', { via = '192.168.32.50' }) end end";
    let routes: Vec<String> = (0..100)
        .map(|i| format!("{{ dst = \"10.77.{i}.0/24\", via = \"192.168.32.50\" }}"))
        .collect();
    let mut daemon = Carpd::new("a")
        .hook(
            lua,
            &format!("grant = {{ route = [{}] }}", routes.join(", ")),
        )
        .start(&lab)?;
    daemon.wait_ran("on_master", TAKEOVER)?;
    let there = || sh(&lab, "a", "ip route show | grep -c '^10.77' || true");
    assert_eq!(there()?, ["100"]);
    sh(&lab, "a", "! cat /dev/zero 2>/dev/null >/run/carpd/fill")?;
    daemon.stop()?;
    assert!(
        daemon
            .entries()
            .iter()
            .any(|entry| entry.says("Stopped") && entry.text("clean") == "true"),
        "{}",
        daemon.text()
    );
    assert!(
        daemon
            .entries()
            .iter()
            .any(|entry| entry.says("Refusing all effects but addresses")),
        "the disk was full: {}",
        daemon.text()
    );
    assert_eq!(there()?, ["0"]);
    assert_eq!(
        sh(&lab, "a", &format!("{CARPD} cleanup 2>&1"))?,
        ["nothing was left behind"],
        "{}",
        daemon.text()
    );
    Ok(())
}

fn second() -> Outcome {
    let (lab, _, daemon, _) = master()?;
    let run = format!(
        "cp /run/lab/carpd.toml /run/lab/other.toml; {CARPD} run --config /run/lab/other.toml 2>&1; echo $?"
    );
    let said = sh(&lab, "a", &run)?.join("\n");
    assert!(
        said.contains("another carpd already has vhid 40 on eth0 (pid "),
        "{said}"
    );
    let said = sh(
        &lab,
        "a",
        &format!("{CARPD} run --config /run/lab/carpd.toml 2>&1; true"),
    )?
    .join("\n");
    assert!(
        said.contains("another carpd is already running as instance"),
        "{said}"
    );
    let status = sh(
        &lab,
        "a",
        &format!("{CARPD} status --config /run/lab/carpd.toml"),
    )?
    .join("\n");
    assert!(
        status.contains("web: master"),
        "the running one can still be spoken to: {status}"
    );
    assert!(holds(&lab, "a")?);
    daemon.process.signal(Signal::SIGTERM)?;
    daemon.process.wait(SOON)?;
    Ok(())
}

fn journal() -> Outcome {
    let (lab, _, daemon, _) = master()?;
    kill_tree(&lab, &daemon)?;
    let why = sh(
        &lab,
        "a",
        &format!("{CARPD} why --config /run/lab/carpd.toml"),
    )?
    .join("\n");
    assert!(
        why.contains("web: backup -> master: no advertisement for"),
        "{why}"
    );
    assert!(
        why.contains("hook h hostname.set virtual: changed")
            && why.contains("hook h on_master: done in"),
        "{why}"
    );
    let replay = sh(&lab, "a", &format!("{CARPD} replay /run/carpd/*/journal"))?.join("\n");
    assert!(replay.contains("led to the same"), "{replay}");
    Ok(())
}
