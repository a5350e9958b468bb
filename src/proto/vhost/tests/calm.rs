//! What flaps, or is replayed, changes little.

use super::*;

fn changes(outputs: &[Output]) -> usize {
    let change = |output: &&Output| matches!(output, Output::Transition(_));
    outputs.iter().filter(change).count()
}

fn is_refused(outputs: &[Output]) -> bool {
    let refused = |output: &Output| matches!(output, Output::Rejected(Reject::Contradicted, _));
    outputs.iter().any(refused)
}

impl Bench {
    /// Lets time pass, with all deadlines on the way.
    fn pass(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        let mut outputs = Vec::new();
        while let Some(due) = self.vhost.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            outputs.extend(self.feed(Input::Timer));
        }
        self.now = end;
        outputs
    }
}

#[test]
fn a_link_that_flaps_ten_times_a_second_changes_the_state_three_times_at_most() {
    let mut bench = Bench::master(v4());
    let mut outputs = Vec::new();
    for _ in 0..600 {
        outputs.extend(bench.feed(Input::LinkDown));
        outputs.extend(bench.pass(Duration::from_millis(50)));
        outputs.extend(bench.feed(Input::LinkUp));
        outputs.extend(bench.pass(Duration::from_millis(50)));
    }
    assert!(changes(&outputs) <= 3, "{}", changes(&outputs));
    assert!(bench.vhost.is_damped(bench.now));
    assert!(bench.vhost.link_penalty(bench.now) > 10_000);
    // Twenty seconds after the last flap it takes part again, and then listens.
    bench.pass(Duration::from_secs(21));
    assert_eq!(bench.vhost.state(), State::Backup);
    bench.pass(Duration::from_secs(4));
    assert_eq!(bench.vhost.state(), State::Master);
}

#[test]
fn one_flap_delays_nothing() {
    let mut bench = Bench::master(v4());
    bench.feed(Input::LinkDown);
    bench.feed(Input::LinkUp);
    assert_eq!(bench.vhost.state(), State::Backup);
}

#[test]
fn a_captured_bow_out_is_followed_once_and_its_sender_found_out() {
    let mut bench = Bench::backup(v4());
    bench.hear_from(PEER, 1, 0);
    let mut outputs = bench.hear_from(PEER, 255, 255);
    assert_eq!(
        bench.vhost.state(),
        State::Master,
        "the first one is followed at once"
    );
    let mut refused = 0;
    for tick in 1..300_u32 {
        outputs.extend(bench.pass(Duration::from_millis(200)));
        if tick.is_multiple_of(5) {
            // The master was there all the time.
            outputs.extend(bench.hear_from(PEER, 1, 0));
        }
        let heard = bench.hear_from(PEER, 255, 255);
        refused += usize::from(is_refused(&heard));
        outputs.extend(heard);
    }
    assert!(changes(&outputs) <= 3, "{}", changes(&outputs));
    assert!(refused > 250, "{refused}");
    assert_eq!(bench.vhost.state(), State::Backup);
    // A master that falls silent is still followed.
    bench.pass(Duration::from_secs(4));
    assert_eq!(bench.vhost.state(), State::Master);
}

#[test]
fn a_master_that_leaves_for_good_is_followed_at_once_every_time() {
    let mut bench = Bench::backup(v4());
    for _ in 0..20 {
        bench.hear_from(PEER, 1, 0);
        bench.pass(Duration::from_secs(1));
        bench.hear_from(PEER, 255, 255);
        assert_eq!(bench.vhost.state(), State::Master);
        // It was started again, hears us, and preempts.
        let outputs = bench.until_deadline();
        assert_eq!(sent(&outputs).len(), 1);
        bench.pass(Duration::from_millis(1));
        bench.hear_from(PEER, 1, 0);
        assert_eq!(bench.vhost.state(), State::Backup);
    }
}

#[test]
fn who_takes_over_from_us_after_its_bow_out_is_believed() {
    let mut bench = Bench::backup(v4());
    bench.hear_from(PEER, 1, 0);
    bench.hear_from(PEER, 255, 255);
    assert_eq!(bench.vhost.state(), State::Master);
    let reason = Reason::new("hook-failed", "a test");
    bench.feed(Input::Resign {
        reason,
        unfit: false,
    });
    // It followed ours.
    bench.hear_from(PEER, 1, 0);
    bench.pass(Duration::from_secs(1));
    assert!(!is_refused(&bench.hear_from(PEER, 255, 255)));
    assert_eq!(bench.vhost.state(), State::Master);
}

#[test]
fn hold_down_leaves_only_silence() {
    let settings = Settings {
        preempt: Preempt::On,
        hold_down: Duration::from_secs(30),
        ..v4()
    };
    let mut bench = Bench::master(settings);
    bench.hear_from(PEER, 1, 0);
    assert_eq!(bench.vhost.state(), State::Backup);
    bench.pass(Duration::from_secs(1));
    // A worse one, and one that leaves.
    bench.hear_from(PEER, 1, 200);
    assert_eq!(bench.vhost.state(), State::Backup);
    bench.hear_from(PEER, 255, 255);
    assert_eq!(bench.vhost.state(), State::Backup);
    bench.pass(Duration::from_secs(4));
    assert_eq!(bench.vhost.state(), State::Master, "silence");
    bench.hear_from(PEER, 1, 0);
    for _ in 0..31 {
        bench.pass(Duration::from_secs(1));
        bench.hear_from(PEER, 1, 200);
    }
    assert_eq!(bench.vhost.state(), State::Master, "the time is over");
}
