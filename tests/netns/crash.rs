//! Processes of a master that are killed or stopped: nobody else is hurt, and no two hold the
//! address.

use std::time::Duration;

use carpd::lab::clock::{Ticker, now};
use carpd::lab::{Lab, Sighting};
use carpd::types::Timestamp;
use nix::sys::signal::Signal;

use crate::rig::{
    ADDRESS, CARPD, Carpd, Daemon, Entry, Failed, SOON, TAKEOVER, Watch, holds, lan, lets_go, mac,
    sh,
};
use crate::tree::Tree;
use crate::{ADDRESS_OF_A, ADDRESS_OF_B, Case, Outcome};

/// Rounds of what has to be quick: how quick it is, is measured where the machine was not busy with
/// something else.
const ROUNDS: usize = 3;
/// From the death of an engine to its peer's answer.
const HANDOVER: Duration = Duration::from_millis(50);
/// The lease of the default timers.
const LEASE: Duration = Duration::from_secs(2);
/// The kernel takes expired addresses away so late (docs/operations.md, "Leases").
const EXPIRY_LATE: Duration = Duration::from_millis(700);
/// What a busy machine adds to that: up to 1.7 s in all were measured at a load of 300.
const BUSY: Duration = Duration::from_secs(1);

pub(crate) fn cases() -> Vec<Case> {
    let long = |name, run| Case {
        limit: Duration::from_secs(60),
        ..Case::new(name, run)
    };
    vec![
        long("crash::a_hook_is_told_the_nodes_own_name", own_name),
        long(
            "crash::when_the_engine_is_killed_the_peer_answers_within_50_ms",
            engine,
        ),
        Case::new("crash::an_engine_that_lost_its_keeper_hands_over", keeper),
        Case::new(
            "crash::of_a_killed_tree_the_address_goes_by_itself_before_the_peer_takes_it",
            tree,
        ),
        long(
            "crash::a_frozen_tree_loses_the_address_and_does_not_claim_it_afterwards",
            frozen,
        ),
        long(
            "crash::orders_to_a_stopped_daemon_say_at_once_what_is_wrong",
            orders,
        ),
        long(
            "crash::a_freeze_shorter_than_the_lease_changes_nothing",
            short_freeze,
        ),
        Case::new(
            "crash::a_thawed_backup_does_not_believe_an_old_bow_out",
            old_news,
        ),
        Case::new(
            "crash::a_lease_that_ran_out_in_a_freeze_is_not_brought_back",
            thawed_early,
        ),
    ]
}

/// Node a, the better one, as master, and node b behind it; from here on the watch has seen a's
/// answer.
fn pair(a: &Carpd) -> Result<(Lab, Watch, [Daemon; 2]), Failed> {
    let lab = lan(&["a", "b"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let (mut a, mut b) = (a.start(&lab)?, Carpd::new("b").advskew(50).start(&lab)?);
    a.wait_state("master", TAKEOVER)?;
    b.wait_state("backup", SOON)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    watch.hear(ADDRESS_OF_A, 2, SOON)?;
    Ok((lab, watch, [a, b]))
}

/// Nobody ever saw two answer since then.
pub(crate) fn never_two(watch: &Watch, since: Timestamp) {
    let two = |what: &Sighting| matches!(what, Sighting::Both { .. });
    let seen: Vec<_> = watch
        .sightings()
        .into_iter()
        .filter(|seen| seen.at() >= since && two(&seen.what))
        .collect();
    assert!(seen.is_empty(), "two answered: {seen:?}");
}

fn engine() -> Outcome {
    let (lab, mut watch, [mut a, mut b]) = pair(&Carpd::new("a").preempts())?;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let tree = Tree::of(&lab, "a", &a)?;
        let killed = now();
        tree.signal(tree.engine()?, Signal::SIGKILL)?;
        // Its keeper takes the address down, says that it leaves, and the peer takes over.
        watch.hear_advskew(255, SOON)?;
        let answered = watch.wait(&[mac(&lab, "b")?], SOON)?;
        assert_eq!(
            b.wait_state("master", SOON)?.text("cause"),
            "master-leaving"
        );
        let gone = a.wait_says("Removed an address of the dead engine", SOON)?;
        let left = a.wait_says("Bowed out in place of the dead engine", SOON)?;
        assert!(gone.at <= left.at, "the address goes first");
        assert!(
            answered.since(killed) < BUSY,
            "{:?}",
            answered.since(killed)
        );
        took.push(answered.since(killed));
        never_two(&watch, killed);
        // It comes back by itself, and takes the address back: it is the better one.
        a.wait_state("backup", TAKEOVER)?;
        a.wait_state("master", TAKEOVER)?;
        watch.wait(&[mac(&lab, "a")?], SOON)?;
        b.wait_state("backup", SOON)?;
        watch.hear(ADDRESS_OF_A, 1, SOON)?;
    }
    let why = sh(&lab, "a", &format!("{CARPD} why --last 100"))?.join("\n");
    let died = why
        .matches("web: master -> init: its engine was killed by SIGKILL, died #")
        .count();
    assert_eq!(died, ROUNDS, "{why}");
    assert_eq!(
        why.matches("restarted: its engine was killed by SIGKILL")
            .count(),
        ROUNDS,
        "{why}"
    );
    let status = sh(&lab, "a", &format!("{CARPD} status"))?.join("\n");
    assert!(
        status.contains("\nrestarted: its engine was killed by SIGKILL"),
        "{status}"
    );
    println!("from kill -9 of the engine to the peer's answer: {took:?}");
    assert!(took.iter().min() < Some(&HANDOVER), "{took:?}");
    a.stop()?;
    b.stop()
}

/// What a hook of the dead daemon had set is not the node's name.
fn own_name() -> Outcome {
    let lab = lan(&["a"])?;
    let own = sh(&lab, "a", "hostname")?.join("");
    let lua = "function on_master(event) hostname.set('virtual') end\nfunction on_backup(event) log.info('I am ' .. event.node) end";
    let spec = Carpd::new("a").hook(lua, "grant = { hostname = [\"virtual\"] }");
    let mut daemon = spec.start(&lab)?;
    for round in 0..2 {
        daemon.wait_says(&format!("I am {own}"), SOON)?;
        daemon.wait_ran("on_master", TAKEOVER)?;
        assert_eq!(sh(&lab, "a", "hostname")?, ["virtual"]);
        let planned = lab.host("a").run(
            &[
                CARPD,
                "plan",
                "--event",
                "backup",
                "--json",
                "--config",
                "/run/lab/carpd.toml",
            ],
            SOON,
        )?;
        assert!(
            planned.stdout.join("\n").contains(&format!("I am {own}")),
            "{planned:?}"
        );
        let tree = Tree::of(&lab, "a", &daemon)?;
        if round == 0 {
            // The whole of it, and the next one finds what is left.
            tree.signal_all(Signal::SIGSTOP)?;
            tree.signal_all(Signal::SIGKILL)?;
            daemon.process.wait(SOON)?;
            daemon = spec.restart(&lab)?;
        } else {
            tree.signal(tree.engine()?, Signal::SIGKILL)?;
        }
    }
    daemon.wait_says(&format!("I am {own}"), TAKEOVER)?;
    daemon.stop()
}

fn keeper() -> Outcome {
    let (lab, mut watch, [a, mut b]) = pair(&Carpd::new("a"))?;
    let killed = now();
    Tree::of(&lab, "a", &a)?.signal(a.process.pid(), Signal::SIGKILL)?;
    assert_eq!(
        b.wait_state("master", SOON)?.text("cause"),
        "master-leaving"
    );
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    lets_go(&lab, "a")?;
    never_two(&watch, killed);
    b.stop()
}

/// Waits until the kernel has taken the address of node a away, whose processes stand still since
/// then, and nobody answers. `None` if a busy machine made the kernel so late that the peer may
/// have answered before.
fn expires(lab: &Lab, watch: &mut Watch, since: Timestamp) -> Result<Option<Timestamp>, Failed> {
    lets_go(lab, "a")?;
    if now().since(since) > LEASE + EXPIRY_LATE {
        return Ok(None);
    }
    watch.wait(&[], SOON).map(Some)
}

/// Plays it again where the machine was too busy for it.
fn again(once: fn() -> Result<bool, Failed>) -> Outcome {
    for _ in 0..ROUNDS {
        if once()? {
            return Ok(());
        }
    }
    Err(format!("the machine is too busy: {ROUNDS} times the kernel was late").into())
}

fn tree() -> Outcome {
    again(tree_once)
}

fn tree_once() -> Result<bool, Failed> {
    let (lab, mut watch, [a, mut b]) = pair(&Carpd::new("a"))?;
    let tree = Tree::of(&lab, "a", &a)?;
    // Stopped first, so that none of them can react to the death of another.
    tree.signal_all(Signal::SIGSTOP)?;
    let killed = now();
    tree.signal_all(Signal::SIGKILL)?;
    assert!(holds(&lab, "a")?, "nobody is left to take it down");
    let Some(silent) = expires(&lab, &mut watch, killed)? else {
        return Ok(false);
    };
    println!(
        "from kill -9 of the tree to silence: {:?}",
        silent.since(killed)
    );
    assert!(!holds(&lab, "a")?);
    watch.wait(&[mac(&lab, "b")?], TAKEOVER)?;
    assert_eq!(b.wait_state("master", SOON)?.text("cause"), "master-down");
    never_two(&watch, killed);
    // The expired address took nothing along.
    assert!(lab.host("a").facts()?.holds(ADDRESS_OF_A.parse()?));
    b.stop().map(|()| true)
}

fn frozen() -> Outcome {
    again(frozen_once)
}

fn frozen_once() -> Result<bool, Failed> {
    let (lab, mut watch, [mut a, mut b]) = pair(&Carpd::new("a"))?;
    let tree = Tree::of(&lab, "a", &a)?;
    let frozen = now();
    tree.signal_all(Signal::SIGSTOP)?;
    if expires(&lab, &mut watch, frozen)?.is_none() {
        return Ok(false);
    }
    watch.wait(&[mac(&lab, "b")?], TAKEOVER)?;
    b.wait_state("master", SOON)?;
    watch.hear(ADDRESS_OF_B, 2, SOON)?;
    let before = watch.advertisements(ADDRESS_OF_A)?.len();
    tree.signal_all(Signal::SIGCONT)?;
    assert_eq!(a.wait_state("backup", SOON)?.text("cause"), "late");
    // Longer than a master-down time.
    watch.hear(ADDRESS_OF_B, 5, TAKEOVER)?;
    assert_eq!(
        watch.advertisements(ADDRESS_OF_A)?.len(),
        before,
        "it claims what the peer holds"
    );
    assert!(!holds(&lab, "a")? && holds(&lab, "b")?);
    never_two(&watch, frozen);
    assert_eq!(b.states(), ["backup", "master"]);
    a.stop()?;
    b.stop().map(|()| true)
}

/// Waits until so long after a moment.
pub(crate) fn pass(since: Timestamp, time: Duration) -> Outcome {
    let ticker = Ticker::new(Duration::from_millis(5))?;
    while now() < since + time {
        ticker.wait()?;
    }
    Ok(())
}

/// A freeze that a busy machine made longer than the lease is none of those that are meant: then it
/// is tried again.
fn short_freeze() -> Outcome {
    for _ in 0..ROUNDS {
        if frozen_shortly()? {
            return Ok(());
        }
    }
    Err(
        format!("the machine is too busy: of {ROUNDS} freezes none ended before the lease did")
            .into(),
    )
}

/// False if the freeze was too long after all.
fn frozen_shortly() -> Result<bool, Failed> {
    let (lab, mut watch, [a, b]) = pair(&Carpd::new("a"))?;
    for _ in 0..2 {
        let tree = Tree::of(&lab, "a", &a)?;
        let heard = watch.hear(ADDRESS_OF_A, 1, SOON)?;
        tree.signal_all(Signal::SIGSTOP)?;
        pass(heard, Duration::from_millis(1600))?;
        tree.signal_all(Signal::SIGCONT)?;
        // What thaws must still come to its processor before the lease ends.
        let thawed = now();
        let next = watch.hear(ADDRESS_OF_A, 1, TAKEOVER);
        if next.as_ref().map_or(thawed, |at| *at).since(heard) > LEASE {
            return Ok(false);
        }
        // Its signal came in time, but its turn on the processor did not, and it says so.
        let is_late = |entry: &Entry| entry.becomes("backup") && entry.text("cause") == "late";
        if next.is_err() && a.entries().iter().any(is_late) {
            return Ok(false);
        }
        next?;
        watch.hear(ADDRESS_OF_A, 2, SOON)?;
    }
    // Neither of them noticed, and neither did those who asked.
    assert_eq!(
        (a.states(), b.states()),
        (
            vec!["backup".to_owned(), "master".to_owned()],
            vec!["backup".to_owned()]
        )
    );
    assert!(holds(&lab, "a")?);
    let answers = watch
        .sightings()
        .into_iter()
        .filter(|seen| matches!(seen.what, Sighting::Answers { .. }))
        .count();
    assert_eq!(answers, 1, "it answered without a break");
    a.stop()?;
    b.stop()?;
    Ok(true)
}

fn orders() -> Outcome {
    let lab = lan(&["a"])?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let tree = Tree::of(&lab, "a", &a)?;
    let (keeper, engine) = (tree.keeper, tree.engine()?);
    let ask = |verb: &str| -> Result<String, Failed> {
        let asked = now();
        let said = sh(
            &lab,
            "a",
            &format!("timeout 10 {CARPD} {verb} 2>&1; echo status=$?"),
        )?
        .join("\n");
        let took = now().since(asked);
        assert!(
            took < Duration::from_secs(1) + BUSY,
            "{verb} took {took:?}: {said}"
        );
        Ok(said)
    };
    tree.signal_all(Signal::SIGSTOP)?;
    for verb in [
        "status",
        "status --json",
        "reload",
        "metrics",
        "hook list",
        "hook show x",
        "hook rollback x",
        "resign web",
    ] {
        let said = ask(verb)?;
        let wrong =
            format!("the daemon does not answer: its engine is stopped (pid {engine}, state T)");
        assert!(
            said.contains(&wrong) && said.contains("status=4"),
            "{verb}: {said}"
        );
        assert!(
            said.contains(&format!(
                "`kill -CONT {keeper} {engine}` lets them continue"
            )),
            "{verb}: {said}"
        );
    }
    tree.signal_all(Signal::SIGCONT)?;
    // It does not resign now: who asked was told that nothing came of it.
    let status = |wanted: &str| {
        let says = || {
            let said = lab
                .host("a")
                .run(&[CARPD, "status"], SOON)?
                .stdout
                .join("\n");
            Ok(said.contains(wanted).then_some(()))
        };
        lab.until(wanted, TAKEOVER, says)
    };
    status("web: ")?;
    assert!(
        !a.entries()
            .iter()
            .any(|entry| entry.says("Received an operator's order")),
        "{}",
        a.text()
    );
    // The engine dies while the keeper sleeps.
    tree.signal(keeper, Signal::SIGSTOP)?;
    tree.signal(engine, Signal::SIGKILL)?;
    let said = ask("status")?;
    assert!(
        said.contains(&format!(
            "its engine is dead (pid {engine}), and its keeper is stopped (pid {keeper}"
        )),
        "{said}"
    );
    tree.signal(keeper, Signal::SIGCONT)?;
    status("web: master")?;
    // One that hangs is killed by its keeper, and that is what is told of it.
    let tree = Tree::of(&lab, "a", &a)?;
    tree.signal(tree.engine()?, Signal::SIGSTOP)?;
    a.wait_says("The engine hangs; killing it", TAKEOVER)?;
    status("web: ")?;
    let why = sh(&lab, "a", &format!("{CARPD} why"))?.join("\n");
    assert!(
        why.contains("web: master -> init: its engine hung for ")
            && why.contains(" s, and its keeper killed it, died #"),
        "{why}"
    );
    a.stop()
}

fn old_news() -> Outcome {
    let lab = lan(&["a", "b", "c"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let node = |host: &str, advskew| Carpd::new(host).advskew(advskew).start(&lab);
    let [mut a, mut b, mut c] = [node("a", 0)?, node("b", 50)?, node("c", 100)?];
    a.wait_state("master", TAKEOVER)?;
    c.wait_state("backup", SOON)?;
    watch.hear(ADDRESS_OF_A, 2, SOON)?;
    let tree = Tree::of(&lab, "c", &c)?;
    tree.signal_all(Signal::SIGSTOP)?;
    a.stop()?;
    b.wait_state("master", SOON)?;
    watch.hear(ADDRESS_OF_B, 3, SOON)?;
    let thawed = now();
    tree.signal_all(Signal::SIGCONT)?;
    c.wait_says(
        "Woke up late; dropped the packets that arrived meanwhile as too old",
        SOON,
    )?;
    watch.hear(ADDRESS_OF_B, 4, TAKEOVER)?;
    // In its socket there was a's word that it leaves, and b's that it is there.
    assert_eq!(c.states(), ["backup"]);
    assert!(
        watch.advertisements("192.168.32.34")?.is_empty(),
        "c claimed what b holds"
    );
    never_two(&watch, thawed);
    b.stop()?;
    // And what it hears now, it believes.
    assert_eq!(
        c.wait_state("master", SOON)?.text("cause"),
        "master-leaving"
    );
    c.stop()
}

fn thawed_early() -> Outcome {
    again(thawed_early_once)
}

fn thawed_early_once() -> Result<bool, Failed> {
    let (lab, mut watch, [mut a, mut b]) = pair(&Carpd::new("a"))?;
    let tree = Tree::of(&lab, "a", &a)?;
    let frozen = now();
    tree.signal_all(Signal::SIGSTOP)?;
    if expires(&lab, &mut watch, frozen)?.is_none() {
        return Ok(false);
    }
    // The lease is over, and the peer has not taken over yet.
    tree.signal_all(Signal::SIGCONT)?;
    let judged = a.wait_state("backup", SOON)?;
    assert_eq!(judged.text("cause"), "late");
    assert!(
        !holds(&lab, "a")?,
        "a renewal after the end would bring it back"
    );
    assert_eq!(
        b.wait_state("master", TAKEOVER)?.text("cause"),
        "master-down"
    );
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    never_two(&watch, frozen);
    a.stop()?;
    b.stop().map(|()| true)
}
