use tokio::sync::oneshot;

use super::*;
use crate::effect::{Resource, Value};
use crate::engine::report::HandedOver;
use crate::engine::sim::bench::{Bench, Frames, PEER, carry, engine, link, peer, play, step};
use crate::host::SimHost;

const NO_LEASE: &str = "lease = \"off\"";

/// An operator orders to hand over.
fn order(engine: &mut Engine<Bench>, force: bool) -> oneshot::Receiver<Result<HandedOver, String>> {
    let (reply, answer) = oneshot::channel();
    engine.resign(&"web".parse().unwrap(), "for a test".into(), force, reply);
    answer
}

#[test]
fn no_successor_is_called_while_an_address_is_still_up() {
    play(async |clock| {
        let wire = Frames::default();
        // Put up, announced, taken down.
        let host = SimHost::new()
            .with_link(link())
            .failing_nth(3, "the kernel did not answer in time");
        let mut engine = engine(host, &wire, NO_LEASE).await;
        while !engine.first().holding {
            step(&mut engine, &clock);
        }
        let _answer = order(&mut engine, true);
        assert!(engine.first().drop_again.is_some());
        assert_eq!(wire.bow_outs(), 0, "the address is still up");
        assert_eq!(
            engine.first().machine.state(),
            State::Backup,
            "it lets go all the same"
        );
        while engine.first().drop_again.is_some() {
            step(&mut engine, &clock);
        }
        assert_eq!(wire.bow_outs(), 1, "and calls its successor when it has");
    });
}

#[test]
fn an_address_that_the_kernel_has_taken_away_keeps_nobody_from_calling_a_successor() {
    play(async |clock| {
        let wire = Frames::default();
        let host = SimHost::new()
            .with_link(link())
            .failing_nth(3, "IPv6 is disabled on this device");
        let mut engine = engine(host, &wire, NO_LEASE).await;
        while !engine.first().holding {
            step(&mut engine, &clock);
        }
        let address = Resource::Address {
            dev: link().name,
            ip: "10.0.0.22".parse().unwrap(),
        };
        engine.shared.executor.host().set(address, Value::Absent);
        let _answer = order(&mut engine, true);
        assert!(engine.first().drop_again.is_none());
        assert_eq!(wire.bow_outs(), 1);
        assert!(engine.shared.executor.is_clean());
    });
}

#[test]
fn an_order_to_hand_over_without_a_peer_is_refused_or_tells_for_how_long_nobody_held() {
    play(async |clock| {
        let wire = Frames::default();
        let mut engine = engine(SimHost::new().with_link(link()), &wire, NO_LEASE).await;
        while !engine.first().holding {
            step(&mut engine, &clock);
        }
        let seq = engine.first().last.as_ref().unwrap().seq;
        let mut answer = order(&mut engine, false);
        let second = order(&mut engine, false).await.unwrap();
        assert_eq!(second, Err("web is already being handed over".to_owned()));
        let began = clock::now();
        let refused = loop {
            step(&mut engine, &clock);
            if let Ok(answer) = answer.try_recv() {
                break answer;
            }
        };
        assert_eq!(refused, Ok(HandedOver::NoPeer { waited_ms: 3_000 }));
        assert_eq!(clock::now().since(began), Duration::from_secs(3));
        assert_eq!(
            (wire.bow_outs(), engine.first().last.as_ref().unwrap().seq),
            (0, seq),
            "nothing was done"
        );

        let mut answer = order(&mut engine, true);
        assert_eq!((engine.first().holding, wire.bow_outs()), (false, 1));
        let forced = loop {
            step(&mut engine, &clock);
            if let Ok(answer) = answer.try_recv() {
                break answer;
            }
        };
        assert_eq!(forced, Ok(HandedOver::Back { nobody_ms: 3_000 }));
        assert!(engine.first().holding);
        assert!(
            order(&mut engine, false).try_recv().is_err(),
            "it is asked for again"
        );
    });
}

#[test]
fn a_backup_that_answers_is_handed_over_to_at_once() {
    play(async |clock| {
        let wire = Frames::default();
        let mut engine = engine(SimHost::new().with_link(link()), &wire, NO_LEASE).await;
        while !engine.first().holding {
            step(&mut engine, &clock);
        }
        let mut backup = peer(&engine, |_| {});
        wire.take();
        let mut answer = order(&mut engine, false);
        carry(&wire, &mut engine, &mut backup);
        assert!(
            !engine.first().holding,
            "the backup answers, and that is enough"
        );
        carry(&wire, &mut engine, &mut backup);
        assert_eq!(backup.state(), State::Master);
        assert_eq!(
            answer.try_recv().unwrap(),
            Ok(HandedOver::To {
                peer: PEER.to_string(),
                after_ms: 0
            })
        );
    });
}

#[test]
fn a_worse_master_that_has_just_been_preempted_is_in_order() {
    play(async |_| {
        let host = SimHost::new().with_link(link());
        let mut engine = engine(host, &Frames::default(), NO_LEASE).await;
        let now = clock::now();
        let node = engine.first_mut();
        let mut took_over = |cause| {
            node.changed = now;
            node.last = Some(Transition {
                from: State::Backup,
                to: State::Master,
                cause,
                peer: None,
                seq: 1,
            });
            let later = now + node.machine.interval();
            (
                has_just_preempted(node, now),
                has_just_preempted(node, later),
            )
        };
        assert_eq!(took_over(Cause::Preempt), (true, false));
        assert_eq!(took_over(Cause::PeerDemoted), (true, false));
        let silent = std::time::Duration::from_secs(3);
        assert_eq!(took_over(Cause::MasterDown { silent }), (false, false));
    });
}
