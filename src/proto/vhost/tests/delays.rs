use super::*;

#[test]
fn who_waits_before_it_takes_part_says_nothing_until_then() {
    let mut bench = Bench::new(Settings {
        startup_delay: Duration::from_secs(30),
        ..v4()
    });
    let start = bench.now;
    assert!(bench.feed(Input::LinkUp).is_empty());
    bench.now = start + Duration::from_secs(20);
    bench.feed(Input::LinkUp);
    assert_eq!(
        (bench.vhost.state(), bench.vhost.deadline()),
        (State::Init, Some(start + Duration::from_secs(30))),
        "the same link again changes nothing"
    );
    // Whenever the link comes up.
    bench.feed(Input::LinkDown);
    assert_eq!(bench.vhost.deadline(), None);
    bench.feed(Input::LinkUp);
    assert!(
        bench
            .hear_from(PEER, 1, 200)
            .iter()
            .any(|output| matches!(output, Output::Rejected(Reject::NotRunning, _)))
    );
    bench.until_deadline();
    let began = start + Duration::from_secs(50);
    assert_eq!((bench.vhost.state(), bench.now), (State::Backup, began));
    bench.until_deadline();
    assert_eq!(bench.vhost.state(), State::Master, "it has listened since");
    assert_eq!(bench.now - began, bench.vhost.master_down());
}

#[test]
fn a_worse_master_stays_for_the_preempt_delay_unless_it_leaves_or_is_demoted() {
    let patient = || Settings {
        preempt_delay: Duration::from_secs(10),
        ..preempting()
    };
    let mut bench = Bench::backup(patient());
    let later = |bench: &mut Bench, seconds, skew| {
        bench.now = bench.now + Duration::from_secs(seconds);
        bench.hear_from(PEER, 1, skew);
        bench.vhost.state()
    };
    for _ in 0..10 {
        assert_eq!(later(&mut bench, 1, 200), State::Backup);
    }
    assert_eq!(
        later(&mut bench, 1, 200),
        State::Master,
        "for 10 s it was worse"
    );

    let mut bench = Bench::backup(patient());
    later(&mut bench, 1, 200);
    later(&mut bench, 1, 50);
    for _ in 0..10 {
        assert_eq!(
            later(&mut bench, 1, 200),
            State::Backup,
            "it was better meanwhile"
        );
    }
    assert_eq!(later(&mut bench, 1, 240), State::Master, "demoted");

    let mut bench = Bench::backup(patient());
    later(&mut bench, 1, 200);
    assert_eq!(later(&mut bench, 1, 200), State::Backup);
    bench.hear_from(PEER, 255, 255);
    assert_eq!(bench.vhost.state(), State::Master, "it leaves");
}

#[test]
fn a_startup_delay_that_is_running_can_be_changed() {
    let with = |seconds| Settings {
        startup_delay: Duration::from_secs(seconds),
        ..v4()
    };
    let mut bench = Bench::new(with(60));
    let start = bench.now;
    bench.feed(Input::LinkUp);
    bench.now = start + Duration::from_secs(5);
    bench.vhost.reconfigure(with(20), bench.now);
    assert_eq!(
        bench.vhost.deadline(),
        Some(start + Duration::from_secs(20))
    );
    bench.vhost.reconfigure(with(2), bench.now);
    assert_eq!(
        bench.vhost.deadline(),
        Some(bench.now),
        "it is over already"
    );
    bench.until_deadline();
    assert_eq!(bench.vhost.state(), State::Backup);
    bench.vhost.reconfigure(with(20), bench.now);
    assert_eq!(bench.vhost.state(), State::Backup, "it takes part");
}
