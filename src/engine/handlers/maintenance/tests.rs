use super::*;
use crate::engine::command::BeginDemotion;
use crate::engine::sim::bench::{Bench, Frames, PEER, carry, engine, link, peer, play, step};
use crate::host::SimHost;
use crate::host::clock::Virtual;

const NO_LEASE: &str = "lease = \"off\"";

fn web() -> Name {
    "web".parse().unwrap()
}

fn order() -> BeginMaintenance {
    BeginMaintenance {
        vhost: Some(web()),
        for_ms: None,
        reason: "a new disk".to_owned(),
        never: false,
        force: false,
    }
}

type Answer = oneshot::Receiver<Result<Maintained, String>>;

fn begin(engine: &mut Engine<Bench>, order: BeginMaintenance) -> Answer {
    let (reply, answer) = oneshot::channel();
    engine.begin_maintenance(order, reply);
    answer
}

fn end(engine: &mut Engine<Bench>, vhost: Option<&Name>) -> Result<String, String> {
    let (reply, mut answer) = oneshot::channel();
    engine.end_maintenance(vhost, reply);
    answer.try_recv().expect("an answer at once")
}

fn until_master(engine: &mut Engine<Bench>, clock: &Virtual) {
    while !engine.first().holding {
        step(engine, clock);
    }
}

/// Until the answer is there.
fn wait(engine: &mut Engine<Bench>, clock: &Virtual, mut answer: Answer) -> Maintained {
    loop {
        if let Ok(answer) = answer.try_recv() {
            return answer.unwrap();
        }
        step(engine, clock);
    }
}

fn begun(maintained: &Maintained) -> (String, bool) {
    let Maintained::Begun { lines, failed } = maintained else {
        panic!("{maintained:?}");
    };
    (lines.join("\n"), *failed)
}

#[test]
fn a_master_with_a_peer_hands_over_at_once_and_stays_away() {
    play(async |clock| {
        let wire = Frames::default();
        let mut engine = engine(SimHost::new().with_link(link()), &wire, NO_LEASE).await;
        until_master(&mut engine, &clock);
        let mut backup = peer(&engine, |_| {});
        wire.take();
        let answer = begin(&mut engine, order());
        assert!(engine.first().holding, "first it asks who is there");
        carry(&wire, &mut engine, &mut backup);
        let node = engine.first();
        assert!(!node.holding);
        let cause = &node.last.as_ref().unwrap().cause;
        assert_eq!(cause.to_string(), "maintenance: a new disk");
        assert_eq!(node.machine.demotion(), Demotion::MAX);
        carry(&wire, &mut engine, &mut backup);
        assert_eq!(backup.state(), State::Master);
        let (said, failed) = begun(&wait(&mut engine, &clock, answer));
        let expected = format!(
            "web: handed over to {PEER} after 0 ms\nweb: in maintenance: a new disk; backup here"
        );
        assert_eq!((said, failed), (expected, false));
        let status = engine.status();
        let maintenance = status.vhosts[0].maintenance.as_ref().unwrap();
        assert_eq!((maintenance.ends_in_ms, maintenance.never), (None, false));
        let parts = engine.first().demotions(clock::now());
        assert_eq!(
            parts[0].to_string(),
            "240: maintenance: a new disk; ends with `carpd maintenance off`"
        );
        let said = end(&mut engine, Some(&web())).unwrap();
        assert_eq!(said, "web: no longer in maintenance");
        assert_eq!(engine.first().machine.demotion(), Demotion::NONE);
        let said = end(&mut engine, Some(&web())).unwrap();
        assert_eq!(said, "web is not in maintenance");
    });
}

#[test]
fn without_a_fit_peer_nothing_is_done_unless_it_is_forced() {
    play(async |clock| {
        let wire = Frames::default();
        let mut engine = engine(SimHost::new().with_link(link()), &wire, NO_LEASE).await;
        until_master(&mut engine, &clock);
        let seq = engine.first().last.as_ref().unwrap().seq;
        let answer = begin(&mut engine, order());
        let second = begin(&mut engine, order()).try_recv().unwrap();
        let busy = "another order to begin maintenance is being carried out";
        assert_eq!(second, Err(busy.to_owned()));
        let refused = wait(&mut engine, &clock, answer);
        let vhosts = vec![web()];
        assert_eq!(
            refused,
            Maintained::NoPeer {
                vhosts,
                waited_ms: 3_000
            }
        );
        let node = engine.first();
        assert_eq!(node.last.as_ref().unwrap().seq, seq, "nothing was done");
        assert!(node.upkeep.maintenance.is_none() && node.holding);

        // A peer that is in maintenance as well is none.
        let mut backup = peer(&engine, |_| {});
        backup.handle(Input::Demote(Demotion::MAX), clock::now());
        let answer = begin(&mut engine, order());
        carry(&wire, &mut engine, &mut backup);
        let refused = wait(&mut engine, &clock, answer);
        assert!(matches!(refused, Maintained::NoPeer { .. }), "{refused:?}");

        let force = true;
        let answer = begin(&mut engine, BeginMaintenance { force, ..order() });
        assert!(!engine.first().holding);
        let (said, failed) = begun(&wait(&mut engine, &clock, answer));
        assert!(
            !failed && said.contains("this node holds them again"),
            "{said}"
        );
        assert!(engine.first().holding, "as a last resort");

        // Somebody takes part again: it is handed over, though nobody orders it.
        let mut backup = peer(&engine, |_| {});
        wire.take();
        let mut turns = 0;
        while backup.state() != State::Master {
            step(&mut engine, &clock);
            carry(&wire, &mut engine, &mut backup);
            turns += 1;
            assert!(turns < 100, "it is not relieved");
        }
        assert!(!engine.first().holding);
    });
}

#[test]
fn never_is_not_even_a_last_resort() {
    play(async |clock| {
        let wire = Frames::default();
        let mut engine = engine(SimHost::new().with_link(link()), &wire, NO_LEASE).await;
        until_master(&mut engine, &clock);
        let (force, never) = (true, true);
        let order = BeginMaintenance {
            never,
            force,
            ..order()
        };
        let (said, _) = begun(&wait_for_end(&mut engine, &clock, order));
        assert!(said.contains("no peer was heard to take over"), "{said}");
        for _ in 0..50 {
            step(&mut engine, &clock);
        }
        assert!(!engine.first().is_master());
        end(&mut engine, None).unwrap();
        until_master(&mut engine, &clock);
    });
}

fn wait_for_end(
    engine: &mut Engine<Bench>,
    clock: &Virtual,
    order: BeginMaintenance,
) -> Maintained {
    let answer = begin(engine, order);
    wait(engine, clock, answer)
}

#[test]
fn it_ends_by_itself_and_so_does_a_demotion() {
    play(async |clock| {
        let wire = Frames::default();
        let mut engine = engine(SimHost::new().with_link(link()), &wire, NO_LEASE).await;
        let for_ms = Some(60_000);
        let answer = begin(&mut engine, BeginMaintenance { for_ms, ..order() });
        let (said, _) = begun(&wait(&mut engine, &clock, answer));
        assert_eq!(
            said,
            "web: in maintenance for 60 s: a new disk; backup here"
        );
        let ends = clock::now() + Duration::from_mins(1);
        let (reply, mut answer) = oneshot::channel();
        let demotion = BeginDemotion {
            vhost: None,
            by: 50,
            for_ms: Some(90_000),
            reason: String::new(),
        };
        engine.demote_by_order(demotion, reply);
        let said = answer.try_recv().unwrap().unwrap();
        assert!(
            said.contains("web: 50: an operator; ends in 90 s"),
            "{said}"
        );
        while engine.first().upkeep.maintenance.is_some() {
            step(&mut engine, &clock);
        }
        assert_eq!(clock::now(), ends);
        assert_eq!(engine.first().machine.demotion(), Demotion::new(50));
        while engine.first().machine.demotion() > Demotion::NONE {
            step(&mut engine, &clock);
        }
        assert_eq!(clock::now(), ends + Duration::from_secs(30));
    });
}

#[test]
fn a_demotion_by_an_operator_ends_with_promote_and_maintenance_does_not() {
    play(async |clock| {
        let wire = Frames::default();
        let mut engine = engine(SimHost::new().with_link(link()), &wire, NO_LEASE).await;
        let answer = begin(&mut engine, order());
        begun(&wait(&mut engine, &clock, answer));
        let demote = |engine: &mut Engine<Bench>, by| {
            let (reply, mut answer) = oneshot::channel();
            let order = BeginDemotion {
                vhost: Some(web()),
                by,
                for_ms: None,
                reason: "old".to_owned(),
            };
            engine.demote_by_order(order, reply);
            answer.try_recv().unwrap()
        };
        assert!(demote(&mut engine, 0).is_err() && demote(&mut engine, 241).is_err());
        demote(&mut engine, 10).unwrap();
        demote(&mut engine, 20).unwrap();
        let promote = |engine: &mut Engine<Bench>| {
            let (reply, mut answer) = oneshot::channel();
            engine.promote(Some(&web()), reply);
            answer.try_recv().unwrap().unwrap()
        };
        assert_eq!(
            promote(&mut engine),
            "web: no longer demoted by 20: an operator: old\n\
             web: still demoted by 240: maintenance: a new disk; ends with `carpd maintenance off`"
        );
        end(&mut engine, None).unwrap();
        assert_eq!(promote(&mut engine), "web: not demoted");
    });
}

#[test]
fn maintenance_of_all_is_not_ended_for_one() {
    play(async |clock| {
        let wire = Frames::default();
        let mut engine = engine(SimHost::new().with_link(link()), &wire, NO_LEASE).await;
        let answer = begin(
            &mut engine,
            BeginMaintenance {
                vhost: None,
                ..order()
            },
        );
        begun(&wait(&mut engine, &clock, answer));
        let refused = end(&mut engine, Some(&web())).unwrap_err();
        assert!(
            refused.contains("`carpd maintenance off --all`"),
            "{refused}"
        );
        assert!(engine.first().upkeep.maintenance.is_some());
        let unknown = BeginMaintenance {
            vhost: Some("db".parse().unwrap()),
            ..order()
        };
        let refused = begin(&mut engine, unknown).try_recv().unwrap().unwrap_err();
        assert_eq!(refused, "there is no virtual host db; there are: web");
        end(&mut engine, None).unwrap();
        assert!(engine.first().upkeep.maintenance.is_none());
    });
}

/// As after a restart: the orders are there before the link is.
#[test]
fn orders_that_were_there_before_count_from_the_beginning() {
    play(async |clock| {
        let wire = Frames::default();
        let mut engine = engine(SimHost::new().with_link(link()), &wire, NO_LEASE).await;
        let clocks = Clocks::read();
        let order = LastingOrder {
            by: Demotion::MAX,
            never: false,
            reason: String::new(),
            since_ms: clocks.wall_ms,
            ends: None,
        };
        let mut orders = engine.shared.persist.orders.borrow_mut();
        orders.set(OrderKind::Maintenance, None, order);
        drop(orders);
        engine.follow_orders(clock::now());
        engine.follow_up(clock::now());
        let begin = clock::now();
        until_master(&mut engine, &clock);
        let after = clock::now().since(begin);
        assert_eq!(after.as_millis(), 4_937, "later than any other would");
        assert_eq!(engine.first().machine.demotion(), Demotion::MAX);
    });
}

#[test]
fn a_reason_that_could_fill_the_disk_is_refused() {
    play(async |clock| {
        let wire = Frames::default();
        let mut engine = engine(SimHost::new().with_link(link()), &wire, NO_LEASE).await;
        until_master(&mut engine, &clock);
        let long = BeginMaintenance {
            reason: "x".repeat(2_000),
            force: true,
            ..order()
        };
        let refused = begin(&mut engine, long).try_recv().unwrap().unwrap_err();
        assert!(refused.contains("2000 bytes"), "{refused}");
        assert!(engine.first().holding);
        let (reply, mut answer) = oneshot::channel();
        let demotion = BeginDemotion {
            vhost: None,
            by: 10,
            for_ms: None,
            reason: "x".repeat(2_000),
        };
        engine.demote_by_order(demotion, reply);
        answer.try_recv().unwrap().unwrap_err();
    });
}
