//! A node in maintenance, as a table of states and of what happens.

use super::*;
use crate::proto::Reluctance;

const ALL: [Reluctance; 3] = [Reluctance::None, Reluctance::LastResort, Reluctance::Never];

/// What becomes of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    /// Master in the same moment.
    AtOnce,
    /// Master after this many milliseconds.
    After(u128),
    /// Nothing within a minute.
    Nothing,
}

/// Feeds what happens, and lets a minute pass at most.
fn follows(bench: &mut Bench, happens: fn(&mut Bench)) -> Becomes {
    let begin = bench.now;
    happens(bench);
    if bench.vhost.state() == State::Master {
        return Becomes::AtOnce;
    }
    while let Some(due) = bench.vhost.deadline() {
        bench.now = due;
        if due - begin > Duration::from_mins(1) {
            return Becomes::Nothing;
        }
        bench.feed(Input::Timer);
        if bench.vhost.state() == State::Master {
            return Becomes::After((bench.now - begin).as_millis());
        }
    }
    Becomes::Nothing
}

#[test]
fn a_backup_in_maintenance_is_the_last_or_none() {
    use Becomes::{After, AtOnce, Nothing};
    let silence: fn(&mut Bench) = |_| {};
    let bow_out: fn(&mut Bench) = |bench| drop(bench.hear_from(PEER, 255, 255));
    // The worse master is never heard again, so that its silence counts in the end.
    let worse: fn(&mut Bench) = |bench| drop(bench.hear_from(PEER, 1, 200));
    let slow: fn(&mut Bench) = |bench| drop(bench.hear_from(PEER, 20, 0));
    let table = [
        (silence, [After(3_390), After(5_328), Nothing]),
        (bow_out, [AtOnce, After(500), Nothing]),
        (worse, [AtOnce, After(5_328), Nothing]),
        (slow, [AtOnce, After(500), Nothing]),
    ];
    for (row, (happens, becomes)) in table.into_iter().enumerate() {
        for (reluctance, expected) in ALL.into_iter().zip(becomes) {
            let mut bench = Bench::backup(preempting());
            bench.feed(Input::Reluctant(reluctance));
            let found = follows(&mut bench, happens);
            assert_eq!(found, expected, "row {row}, {reluctance:?}");
        }
    }
}

#[test]
fn one_that_others_follow_is_not_followed() {
    let mut bench = Bench::backup(preempting());
    bench.feed(Input::Reluctant(Reluctance::LastResort));
    bench.hear_from(PEER, 1, 0);
    bench.hear_from(PEER, 255, 255);
    bench.now = bench.now + Duration::from_millis(100);
    // Even a worse one.
    bench.hear_from("10.0.0.7", 1, 230);
    let quiet = follows(&mut bench, |_| {});
    assert_eq!(quiet, Becomes::After(5_328), "it had to fall silent first");
}

#[test]
fn a_question_that_was_asked_before_is_withdrawn() {
    let gated = Settings {
        gate: Gate::Ask,
        ..preempting()
    };
    let mut bench = Bench::backup(gated);
    let asks = bench.hear_from(PEER, 1, 200);
    assert!(
        asks.iter()
            .any(|it| matches!(it, Output::WantMaster { .. }))
    );
    bench.feed(Input::Reluctant(Reluctance::LastResort));
    bench.feed(Input::Approve);
    assert_eq!(bench.vhost.state(), State::Backup);
    // Afterwards it asks again.
    bench.feed(Input::Reluctant(Reluctance::None));
    let asks = bench.hear_from(PEER, 1, 200);
    assert!(
        asks.iter()
            .any(|it| matches!(it, Output::WantMaster { .. }))
    );
}

#[test]
fn nobody_ceases_to_be_master_by_reluctance_alone() {
    for reluctance in ALL {
        let mut bench = Bench::master(v4());
        bench.feed(Input::Reluctant(reluctance));
        bench.until_deadline();
        assert_eq!(bench.vhost.state(), State::Master, "{reluctance:?}");
    }
}

#[test]
fn it_ends_with_an_ordinary_master_down_time() {
    for reluctance in [Reluctance::LastResort, Reluctance::Never] {
        let mut bench = Bench::backup(v4());
        bench.feed(Input::Reluctant(reluctance));
        bench.now = bench.now + Duration::from_secs(2);
        bench.feed(Input::Reluctant(Reluctance::None));
        let found = follows(&mut bench, |_| {});
        assert_eq!(found, Becomes::After(3_390), "{reluctance:?}");
    }
}
