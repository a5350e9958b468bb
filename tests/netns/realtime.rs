//! `realtime = true`: who has the priority, who does not, and what happens where it is not allowed.

use std::collections::BTreeMap;

use carpd::lab::{Exit, Lab};

use crate::rig::{CARPD, Carpd, Failed, SOON, TAKEOVER, lan, sh};
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "realtime::keeper_and_engine_have_it_and_nobody_else",
            who_has_it,
        ),
        Case::new(
            "realtime::a_loop_that_computes_for_too_long_goes_on_without_it",
            overrun,
        ),
        Case::new(
            "realtime::without_the_right_it_says_what_is_missing",
            not_allowed,
        ),
    ]
}

const REALTIME: &str = "[daemon]\nrealtime = true\n";
/// `SCHED_RR` with `SCHED_RESET_ON_FORK` shows as 2, ordinary scheduling as 0 (sched(7)).
const ROUND_ROBIN: &str = "2";
const ORDINARY: &str = "0";

/// The kernel's names of carpd's processes, and of each the policies of its threads: the first is
/// its main thread's.
fn policies(lab: &Lab) -> Result<BTreeMap<String, Vec<String>>, Failed> {
    // The 41st field; the name before it may contain blanks, and ends with the last parenthesis.
    let script = "for p in /proc/[0-9]*; do c=$(cat $p/comm 2>/dev/null); case $c in carpd*) \
                  echo $c $(for t in $p/task/*; do sed 's/.*) //' $t/stat | cut -d' ' -f39; done);; esac; done";
    let lines = sh(lab, "a", script)?;
    let words = |line: &String| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.collect()))
    };
    Ok(lines.iter().filter_map(words).collect())
}

/// Whether root of this machine runs the tests: in a user namespace nobody may have it.
fn may_have_it(lab: &Lab) -> bool {
    let lock = "prlimit --memlock=unlimited true || setpriv --dump | grep 'bounding set.*ipc_lock'";
    sh(lab, "a", &format!("chrt --rr 1 true && {{ {lock}; }}")).is_ok()
}

fn hooked() -> Carpd {
    Carpd::new("a")
        .hook("function on_master() end", "")
        .more(REALTIME)
}

fn who_has_it() -> Outcome {
    let lab = lan(&["a"])?;
    if !may_have_it(&lab) {
        return refused(&lab, &[]);
    }
    let mut daemon = hooked().start(&lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    let found = policies(&lab)?;
    for name in ["carpd", "carpd-engine"] {
        let threads = found.get(name).ok_or(format!("{name} of {found:?}"))?;
        let (first, others) = threads.split_first().ok_or("no thread")?;
        assert_eq!(first, ROUND_ROBIN, "{name} of {found:?}");
        assert!(
            others.iter().all(|policy| policy == ORDINARY),
            "{name} of {found:?}"
        );
    }
    for (name, threads) in &found {
        assert!(
            name == "carpd" || name == "carpd-engine" || threads.iter().all(|it| it == ORDINARY),
            "{name} of {found:?}"
        );
    }
    assert!(found.contains_key("carpd-runner"), "{found:?}");
    let locked = sh(
        &lab,
        "a",
        "for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in carpd|carpd-engine) \
         awk '/^VmLck/ { print ($2 > 0) }' $p/status; esac; done",
    )?;
    assert_eq!(locked, ["1", "1"]);
    Ok(())
}

fn overrun() -> Outcome {
    let lab = lan(&["a"])?;
    if !may_have_it(&lab) {
        return refused(&lab, &[]);
    }
    let mut daemon = hooked().start(&lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    let status = "/run/lab/carpd.toml";
    let shown = |what: &str| {
        let line = format!("{CARPD} status --config {status} | grep real-time");
        let lines = sh(&lab, "a", &line)?;
        assert!(lines.iter().any(|line| line.contains(what)), "{lines:?}");
        Ok::<_, Failed>(())
    };
    shown("on")?;
    // What the kernel sends it.
    sh(
        &lab,
        "a",
        "for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" != carpd-engine ] || kill -XCPU ${p#/proc/}; done",
    )?;
    daemon.process.wait_line("giving it up", SOON, |line| {
        line.contains("ordinary priority")
    })?;
    shown("paused")?;
    let found = policies(&lab)?;
    assert_eq!(found["carpd-engine"][0], ORDINARY, "{found:?}");
    daemon
        .process
        .wait_line("taking it again", 4 * SOON, |line| {
            line.contains("Real-time priority again")
        })?;
    // The keeper does that.
    let again = || {
        let found = policies(&lab).unwrap_or_default();
        let first = found
            .get("carpd-engine")
            .and_then(|threads| threads.first());
        Ok(first.is_some_and(|it| it == ROUND_ROBIN).then_some(()))
    };
    lab.until("its priority", SOON, again)?;
    shown("on")
}

fn not_allowed() -> Outcome {
    refused(
        &lan(&["a"])?,
        &[
            "setpriv",
            "--bounding-set",
            "-sys_nice,-sys_resource,-ipc_lock",
            "--",
        ],
    )
}

/// It does not start, and names what it lacks.
fn refused(lab: &Lab, without: &[&str]) -> Outcome {
    hooked().write(lab)?;
    let run = [CARPD, "run", "--config", "/run/lab/carpd.toml"];
    let argv = [&["prlimit", "--rtprio=0", "--memlock=65536"], without, &run].concat();
    let output = lab.host("a").run(&argv, TAKEOVER)?;
    assert_eq!(output.status, Exit::Code(4), "{output:?}");
    let said = output.stderr.join("\n") + &output.stdout.join("\n");
    assert!(said.contains("docs/packaging/realtime.conf"), "{said}");
    Ok(())
}
