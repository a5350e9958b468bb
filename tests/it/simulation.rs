//! Two and three nodes on a virtual LAN: whatever the wire did to them, exactly one is master
//! afterwards.

use std::net::Ipv4Addr;
use std::time::Duration;

use carpd::proto::sim::{Answer, Event, Faults, Lan, NodeId};
use carpd::proto::{Cause, Reason};
use carpd::proto::{FamilyTimers, Gate, Input, Key, Kind, Preempt, Settings, TieBreak};
use carpd::types::{AdvBase, AdvSkew, Demotion, State, Vhid};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings(advskew: u8, preempt: Preempt) -> Settings {
    let addresses = vec!["10.0.0.100/24".parse().unwrap()];
    let mut settings = Settings::new(
        Vhid::new(40).unwrap(),
        addresses,
        Key::new(b"secret").unwrap(),
    );
    settings.advskew = AdvSkew(advskew);
    settings.preempt = preempt;
    settings
}

fn source(last: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(last + 1).unwrap())
}

/// A LAN of nodes with these skews, settled; the first node is the best one.
fn settled(skews: &[u8], preempt: Preempt) -> (Lan, Vec<NodeId>) {
    let mut lan = Lan::new(1);
    let nodes = skews
        .iter()
        .enumerate()
        .map(|(at, skew)| lan.join(settings(*skew, preempt), source(at)))
        .collect();
    lan.run_for(10 * SECOND);
    (lan, nodes)
}

#[derive(Debug, Clone)]
struct NodePlan {
    advbase: u8,
    advskew: u8,
    preempt: bool,
    gate: bool,
}

/// One stroke of bad luck, for the node of this number.
#[derive(Debug, Clone)]
enum Stroke {
    Pause(usize, u64),
    Off(usize),
    On(usize),
    ShutDown(usize),
    Resign(usize),
    Demote(usize, u8),
    Cut(usize, usize),
    Flap(usize),
    Mute(usize, bool),
}

#[derive(Debug, Clone)]
struct Plan {
    seed: u64,
    nodes: Vec<NodePlan>,
    dual_stack: bool,
    family_timers: FamilyTimers,
    tie_break: TieBreak,
    faults: Faults,
    strokes: Vec<(u64, Stroke)>,
}

fn a_node() -> impl Strategy<Value = NodePlan> {
    (
        1u8..=2,
        prop_oneof![0u8..3, any::<u8>()],
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(advbase, advskew, preempt, gate)| NodePlan {
            advbase,
            advskew: advskew.min(254),
            preempt,
            gate,
        })
}

fn a_stroke() -> impl Strategy<Value = Stroke> {
    let node = 0usize..3;
    prop_oneof![
        3 => (node.clone(), 1u64..12_000).prop_map(|(n, ms)| Stroke::Pause(n, ms)),
        1 => node.clone().prop_map(Stroke::Off),
        2 => node.clone().prop_map(Stroke::On),
        1 => node.clone().prop_map(Stroke::ShutDown),
        1 => node.clone().prop_map(Stroke::Resign),
        1 => (node.clone(), any::<u8>()).prop_map(|(n, by)| Stroke::Demote(n, by)),
        2 => (node.clone(), node.clone()).prop_map(|(a, b)| Stroke::Cut(a, b)),
        1 => node.clone().prop_map(Stroke::Flap),
        1 => (node, any::<bool>()).prop_map(|(n, mute)| Stroke::Mute(n, mute)),
    ]
}

fn some_faults() -> impl Strategy<Value = Faults> {
    (
        0u16..500,
        0u32..6,
        0u16..300,
        0u16..200,
        0u64..5,
        0u64..1_500,
    )
        .prop_map(|(loss, run, duplicate, reflect, min, spread)| {
            let delay_min = Duration::from_millis(min);
            Faults {
                loss,
                loss_run_max: run,
                duplicate,
                reflect,
                delay_min,
                delay_max: delay_min + Duration::from_millis(spread),
            }
        })
}

prop_compose! {
    fn a_plan()(
        seed in any::<u64>(),
        nodes in prop::collection::vec(a_node(), 2..=3),
        dual_stack in any::<bool>(),
        any_family in any::<bool>(),
        ucarp in any::<bool>(),
        faults in some_faults(),
        strokes in prop::collection::vec((0u64..4_000, a_stroke()), 0..12),
    ) -> Plan {
        let family_timers = if any_family { FamilyTimers::Any } else { FamilyTimers::All };
        let tie_break = if ucarp { TieBreak::Ucarp } else { TieBreak::Address };
        Plan { seed, nodes, dual_stack, family_timers, tie_break, faults, strokes }
    }
}

fn build(plan: &Plan) -> (Lan, Vec<NodeId>) {
    let mut lan = Lan::new(plan.seed);
    let nodes = plan.nodes.iter().enumerate().map(|(at, node)| {
        let mut settings = settings(
            node.advskew,
            if node.preempt {
                Preempt::On
            } else {
                Preempt::Off
            },
        );
        settings.advbase = AdvBase(node.advbase);
        settings.family_timers = plan.family_timers;
        settings.tie_break = plan.tie_break;
        settings.gate = if node.gate { Gate::Ask } else { Gate::Free };
        if plan.dual_stack {
            settings.addresses.push("2001:db8::100/64".parse().unwrap());
        }
        let id = lan.join(settings, source(at));
        lan.set_answer(
            id,
            Answer {
                approve: true,
                after: Duration::from_millis(200),
            },
        );
        id
    });
    let nodes = nodes.collect();
    (lan, nodes)
}

fn strike(lan: &mut Lan, nodes: &[NodeId], stroke: &Stroke) {
    let node = |n: usize| nodes[n % nodes.len()];
    match *stroke {
        Stroke::Pause(n, ms) => lan.pause(node(n), Duration::from_millis(ms)),
        Stroke::Off(n) => lan.switch_off(node(n)),
        Stroke::On(n) => lan.switch_on(node(n)),
        Stroke::ShutDown(n) => lan.shut_down(node(n)),
        Stroke::Resign(n) => lan.feed(
            node(n),
            Input::Resign {
                reason: Reason::new("resigned", "test"),
                unfit: false,
            },
        ),
        Stroke::Demote(n, by) => lan.feed(node(n), Input::Demote(Demotion::new(by))),
        Stroke::Cut(a, b) => lan.cut(node(a), node(b)),
        Stroke::Flap(n) => {
            lan.feed(node(n), Input::LinkDown);
            lan.run_for(Duration::from_millis(300));
            lan.feed(node(n), Input::LinkUp);
        }
        Stroke::Mute(n, mute) => lan.set_can_send(node(n), !mute),
    }
}

/// Bad luck for half a minute or so, then none; pauses that still last are waited for.
fn suffer(plan: &Plan) -> (Lan, Vec<NodeId>) {
    let (mut lan, nodes) = build(plan);
    lan.faults = plan.faults;
    for (wait_ms, stroke) in &plan.strokes {
        lan.run_for(Duration::from_millis(*wait_ms));
        strike(&mut lan, &nodes, stroke);
    }
    lan.run_for(5 * SECOND);
    lan.heal();
    for node in &nodes {
        lan.switch_on(*node);
    }
    lan.run_for(12 * SECOND);
    (lan, nodes)
}

/// Enough for everything to settle: the longest master-down time is below 7 s.
const SETTLE: Duration = Duration::from_secs(25);

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_one_master_once_the_faults_are_over(plan in a_plan()) {
        let (mut lan, _) = suffer(&plan);
        lan.run_for(SETTLE);
        prop_assert_eq!(lan.masters().len(), 1);
        let (transitions, contested) = (lan.transitions().count(), lan.contested());
        lan.run_for(4 * SETTLE);
        prop_assert_eq!(lan.transitions().count(), transitions, "and it stays so");
        prop_assert_eq!(lan.contested(), contested);
    }

    #[test]
    fn the_preferred_node_is_master_in_the_end_if_all_preempt(mut plan in a_plan()) {
        plan.nodes.iter_mut().for_each(|node| node.preempt = true);
        let (mut lan, nodes) = suffer(&plan);
        lan.run_for(SETTLE);
        let masters = lan.masters();
        prop_assert_eq!(masters.len(), 1);
        let rank = |id: NodeId| {
            let vhost = lan.vhost(id);
            (vhost.settings().advbase, vhost.effective_advskew())
        };
        prop_assert_eq!(rank(masters[0]), nodes.iter().map(|id| rank(*id)).min().unwrap());
    }

    /// The longest run of losses that is shorter than the master-down time, again and again.
    #[test]
    fn losses_below_the_dead_ratio_make_no_second_master(
        master in 0u8..=240, backups in prop::collection::vec(1u8..=254, 1..=2), dead_ratio in 2u32..6, seed in any::<u64>(),
    ) {
        let mut lan = Lan::new(seed);
        let with = |skew: u8| Settings { dead_ratio, ..settings(skew, Preempt::Off) };
        let first = lan.join(with(master), source(0));
        lan.run_for((dead_ratio + 2) * SECOND);
        for (at, skew) in backups.iter().enumerate() {
            lan.join(with(*skew), source(at + 1));
        }
        prop_assert_eq!(lan.masters(), vec![first]);
        let least = backups.iter().min().unwrap();
        let patience = Duration::from_secs(dead_ratio.into()) + SECOND * u32::from(*least) / 256;
        let interval = lan.vhost(first).interval() + Duration::from_micros(300);
        let bearable = (1..=dead_ratio).take_while(|run| interval * (run + 1) < patience).last().unwrap_or(0);
        lan.faults = Faults { loss: 1000, loss_run_max: bearable, ..Faults::default() };
        lan.run_for(200 * SECOND);
        prop_assert_eq!(lan.masters(), vec![first]);
        prop_assert_eq!(lan.contested(), Duration::ZERO);
    }
}

#[test]
fn one_loss_more_than_bearable_does_make_a_second_master() {
    // The property above would hold in a simulation that loses nothing.
    let (mut lan, nodes) = settled(&[0, 100], Preempt::Off);
    lan.faults = Faults {
        loss: 1000,
        loss_run_max: 3,
        ..Faults::default()
    };
    lan.run_for(20 * SECOND);
    assert!(
        lan.transitions()
            .any(|(_, node, t)| node == nodes[1] && t.to == State::Master)
    );
}

#[test]
fn a_bow_out_hands_over_within_one_delivery() {
    for skews in [&[0, 15][..], &[0, 15, 100]] {
        for preempt in [Preempt::On, Preempt::Off] {
            let (mut lan, nodes) = settled(skews, preempt);
            assert_eq!(lan.masters(), [nodes[0]]);
            lan.shut_down(nodes[0]);
            assert!(lan.masters().is_empty());
            lan.run_for(Faults::default().delay_max);
            assert!(lan.masters().contains(&nodes[1]));
            lan.run_for(Faults::default().delay_max);
            assert_eq!(
                lan.masters(),
                [nodes[1]],
                "the third one yields to the second at its first word"
            );
        }
    }
}

#[test]
fn a_dead_master_is_replaced_after_the_master_down_time() {
    let (mut lan, nodes) = settled(&[0, 15], Preempt::On);
    let last = lan
        .records()
        .iter()
        .rev()
        .find(|r| matches!(r.event, Event::Sent(_)))
        .unwrap()
        .at;
    lan.switch_off(nodes[0]);
    lan.run_for(10 * SECOND);
    let (at, node, transition) = lan.transitions().last().unwrap();
    assert_eq!((node, transition.to), (nodes[1], State::Master));
    assert_eq!(
        at - last,
        lan.vhost(nodes[1]).master_down() + Faults::default().delay_max
    );
}

#[test]
fn the_scenario() {
    // node2 preempts with advskew 0, node3 has advskew 15.
    let mut lan = Lan::new(3);
    let node2 = lan.join(settings(0, Preempt::On), source(32));
    let node3 = lan.join(settings(15, Preempt::Off), source(33));
    lan.run_for(5 * SECOND);
    assert_eq!(lan.masters(), [node2]);
    lan.shut_down(node2);
    lan.run_for(Duration::from_millis(1));
    assert_eq!(lan.masters(), [node3]);
    lan.switch_on(node2);
    lan.run_for(2 * SECOND);
    assert_eq!(lan.masters(), [node2]);
    lan.switch_off(node2);
    lan.run_for(4 * SECOND);
    assert_eq!(lan.masters(), [node3]);
    assert_eq!(lan.vhost(node3).stats().takeovers, 2);
    // While node2 preempts, node3 is master until it hears of it.
    assert_eq!(lan.contested(), Faults::default().delay_max);
}

#[test]
fn a_better_node_that_comes_back_is_master_whenever_it_died_and_came() {
    let interval = Duration::from_micros(1_000_000 + 15 * 1_000_000 / 256);
    let ms = Duration::from_millis;
    for off_ms in (0..1100).step_by(75) {
        for away_ms in (10..5000).step_by(135) {
            // A link that has just come up may lose what is sent for a moment, one way or the
            // other.
            for deaf_ms in [0, 3, 200, 1500] {
                for outbound in [true, false] {
                    let mut lan = Lan::new(off_ms + away_ms + deaf_ms);
                    let node2 = lan.join(settings(0, Preempt::On), source(32));
                    let node3 = lan.join(settings(15, Preempt::Off), source(33));
                    lan.run_for(5 * SECOND + ms(off_ms));
                    lan.switch_off(node2);
                    lan.run_for(ms(away_ms));
                    lan.switch_on(node2);
                    let (from, to) = if outbound {
                        (node2, node3)
                    } else {
                        (node3, node2)
                    };
                    lan.cut(from, to);
                    lan.run_for(ms(deaf_ms));
                    lan.heal();
                    // Either it hears node3 at its next word and takes its place, or nobody, and
                    // waits for as long as ever.
                    let longest = if lan.masters().contains(&node3) {
                        interval
                    } else {
                        4 * SECOND
                    };
                    lan.run_for(longest + ms(1));
                    assert_eq!(
                        lan.masters(),
                        [node2],
                        "{off_ms} {away_ms} {deaf_ms} {outbound}"
                    );
                    lan.run_for(10 * SECOND);
                    assert_eq!(
                        lan.masters(),
                        [node2],
                        "and stays: {off_ms} {away_ms} {deaf_ms} {outbound}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_master_that_slept_says_nothing_before_it_has_listened() {
    let (mut lan, nodes) = settled(&[0, 15], Preempt::On);
    lan.pause(nodes[0], 8 * SECOND);
    lan.run_for(7 * SECOND);
    assert!(lan.masters().contains(&nodes[1]));
    let before = lan.records().len();
    lan.run_for(SECOND);
    let first = lan.records()[before..]
        .iter()
        .find(|record| record.node == nodes[0])
        .unwrap();
    assert!(
        matches!(&first.event, Event::Transition(t) if matches!(t.cause, Cause::Late { .. })),
        "{first:?}"
    );
    lan.run_for(5 * SECOND);
    assert_eq!(lan.masters(), [nodes[0]]);
}

#[test]
fn a_backup_that_slept_does_not_take_the_place_of_a_living_master() {
    for millis in [500, 3_100, 4_000, 5_900, 7_000, 60_000] {
        let (mut lan, nodes) = settled(&[0, 15], Preempt::On);
        let before = lan.transitions().count();
        lan.pause(nodes[1], Duration::from_millis(millis));
        lan.run_for(Duration::from_millis(millis) + 10 * SECOND);
        assert_eq!(
            (lan.masters(), lan.transitions().count()),
            (vec![nodes[0]], before),
            "asleep for {millis} ms"
        );
    }
}

#[test]
fn a_healed_partition_has_one_master_within_one_interval() {
    let (mut lan, nodes) = settled(&[0, 15], Preempt::Off);
    lan.cut(nodes[0], nodes[1]);
    lan.cut(nodes[1], nodes[0]);
    lan.run_for(10 * SECOND);
    assert_eq!(lan.masters(), nodes);
    lan.heal();
    lan.run_for(lan.vhost(nodes[0]).interval() + Duration::from_millis(1));
    assert_eq!(lan.masters(), [nodes[0]]);
}

#[test]
fn equal_nodes_settle_by_address() {
    let mut lan = Lan::new(9);
    let low = lan.join(settings(0, Preempt::On), source(1));
    lan.join(settings(0, Preempt::On), source(2));
    lan.run_for(5 * SECOND);
    assert_eq!(lan.masters(), [low]);
}

#[test]
fn who_cannot_send_is_replaced_and_demoted() {
    let (mut lan, nodes) = settled(&[0, 15], Preempt::On);
    lan.set_can_send(nodes[0], false);
    lan.run_for(10 * SECOND);
    assert_eq!(lan.masters(), [nodes[1]]);
    assert_eq!(lan.vhost(nodes[0]).demotion(), Demotion::MAX);
}

#[test]
fn nodes_that_cannot_hold_the_addresses_do_not_call_each_other() {
    for skews in [&[0, 50][..], &[0, 50, 100]] {
        for preempt in [Preempt::On, Preempt::Off] {
            let mut lan = Lan::new(11);
            for (at, skew) in skews.iter().enumerate() {
                let node = lan.join(settings(*skew, preempt), source(at));
                lan.set_can_hold(node, false);
            }
            lan.run_for(60 * SECOND);
            // Whoever hears nobody for a master-down time tries, and calls those who have not tried
            // since.
            let changes = lan.transitions().count();
            assert!(
                changes <= skews.len() * 2 * 20 + skews.len(),
                "{skews:?}: {changes} changes of state in a minute"
            );
        }
    }
}

#[test]
fn a_node_that_can_hold_the_addresses_is_called_at_once_by_those_that_cannot() {
    for bad in [&[0][..], &[0, 1]] {
        let mut lan = Lan::new(12);
        let nodes: Vec<_> = [0, 50, 100]
            .iter()
            .enumerate()
            .map(|(at, skew)| lan.join(settings(*skew, Preempt::Off), source(at)))
            .collect();
        for node in bad {
            lan.set_can_hold(nodes[*node], false);
        }
        lan.run_for(3 * SECOND);
        lan.run_for(Duration::from_millis(1));
        assert_eq!(lan.masters(), [nodes[bad.len()]]);
        let changes = lan.transitions().count();
        lan.run_for(60 * SECOND);
        assert_eq!(
            (lan.masters(), lan.transitions().count()),
            (vec![nodes[bad.len()]], changes),
            "and stays"
        );
    }
}

#[test]
fn whatever_makes_nodes_change_their_state_there_is_a_floor_under_the_pace() {
    let (mut lan, nodes) = settled(&[0, 50], Preempt::Off);
    let before = lan.transitions().count();
    // Somebody at each of them has them hand over as fast as they can.
    for _ in 0..60_000 {
        for node in &nodes {
            lan.feed(
                *node,
                Input::Resign {
                    reason: Reason::new("resigned", "a loop"),
                    unfit: false,
                },
            );
        }
        lan.run_for(Duration::from_millis(1));
    }
    let changes = lan.transitions().count() - before;
    assert!(
        changes <= 2 * 2 * (5 + 30),
        "{changes} changes of state in a minute"
    );

    let before = lan.transitions().count();
    for _ in 0..60_000 {
        lan.feed(nodes[0], Input::LinkDown);
        lan.feed(nodes[0], Input::LinkUp);
        lan.run_for(Duration::from_millis(1));
    }
    let changes = lan.transitions().count() - before;
    assert!(
        changes <= 2 * (5 + 30) + 4,
        "{changes} changes of state in a minute"
    );
    lan.run_for(5 * SECOND);
    assert_eq!(lan.masters().len(), 1);
}

#[test]
fn a_demotion_for_failed_sends_ends_on_a_backup() {
    let (mut lan, nodes) = settled(&[0, 50], Preempt::On);
    lan.set_can_send(nodes[0], false);
    lan.run_for(10 * SECOND);
    assert_eq!(
        (lan.masters(), lan.vhost(nodes[0]).demotion()),
        (vec![nodes[1]], Demotion::MAX)
    );
    lan.set_can_send(nodes[0], true);
    lan.run_for(15 * SECOND);
    assert_eq!(
        (lan.masters(), lan.vhost(nodes[0]).demotion()),
        (vec![nodes[0]], Demotion::NONE)
    );
}

#[test]
fn one_that_still_cannot_send_tries_ever_more_seldom() {
    let (mut lan, nodes) = settled(&[0, 50], Preempt::On);
    lan.set_can_send(nodes[0], false);
    lan.run_for(15 * 60 * SECOND);
    let tries = lan
        .transitions()
        .filter(|(_, node, t)| *node == nodes[0] && t.cause == Cause::Preempt)
        .count();
    assert!((4..=7).contains(&tries), "{tries}");
    assert_eq!(lan.masters(), [nodes[1]]);
    lan.set_can_send(nodes[0], true);
    lan.feed(nodes[0], Input::ForgiveSends);
    lan.run_for(2 * SECOND);
    assert_eq!(lan.masters(), [nodes[0]], "an operator ends it at once");
}

#[test]
fn backups_answer_a_masters_roll_call_and_nobody_else_does() {
    let (mut lan, nodes) = settled(&[0, 50, 100], Preempt::On);
    let answers = |lan: &Lan| {
        lan.records()
            .iter()
            .filter(|record| record.event == Event::Answered)
            .count()
    };
    let changes = lan.transitions().count();
    lan.feed(nodes[0], Input::CallRoll);
    lan.run_for(Duration::from_millis(1));
    assert_eq!(answers(&lan), 2);
    lan.feed(nodes[0], Input::CallRoll);
    lan.run_for(Duration::from_millis(1));
    assert_eq!(answers(&lan), 2, "not as often as somebody likes to ask");
    lan.feed(nodes[1], Input::CallRoll);
    lan.switch_off(nodes[2]);
    lan.run_for(SECOND);
    lan.feed(nodes[0], Input::CallRoll);
    lan.run_for(SECOND);
    assert_eq!(
        (answers(&lan), lan.masters(), lan.transitions().count()),
        (3, vec![nodes[0]], changes),
        "and nothing else happens"
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut lan = Lan::new(seed);
        for at in 0..3 {
            lan.join(settings(10, Preempt::On), source(at));
        }
        lan.faults = Faults {
            loss: 300,
            duplicate: 100,
            delay_max: SECOND,
            ..Faults::default()
        };
        lan.run_for(60 * SECOND);
        lan.records().to_vec()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn only_masters_send_and_the_bow_out_is_the_last_word() {
    let (mut lan, nodes) = settled(&[0, 15], Preempt::On);
    lan.shut_down(nodes[0]);
    let sent = |record: &&carpd::proto::sim::Record| {
        record.node == nodes[0] && matches!(record.event, Event::Sent(_))
    };
    let last = lan.records().iter().rev().find(sent).unwrap();
    assert!(matches!(last.event, Event::Sent(packet) if packet.kind == Kind::BowOut));
    assert!(
        !lan.records()
            .iter()
            .any(|r| r.node == nodes[1] && matches!(r.event, Event::Sent(_)))
    );
}

/// Two equal nodes, both master by a cut that heals; who stays?
fn after_a_cut(settings: &Settings, addresses: [Ipv4Addr; 2]) -> (Lan, [NodeId; 2]) {
    let mut lan = Lan::new(1);
    let ids = addresses.map(|address| lan.join(settings.clone(), address));
    lan.cut(ids[0], ids[1]);
    lan.cut(ids[1], ids[0]);
    lan.run_for(10 * SECOND);
    assert_eq!(lan.masters().len(), 2);
    lan.heal();
    lan.run_for(4 * SECOND);
    (lan, ids)
}

#[test]
fn who_has_no_address_wins_no_tie() {
    let real = Ipv4Addr::new(10, 0, 0, 250);
    for tie_break in [TieBreak::Address, TieBreak::Ucarp, TieBreak::Yield] {
        let settings = Settings {
            tie_break,
            ..settings(0, Preempt::Off)
        };
        let (lan, [_, with_address]) = after_a_cut(&settings, [Ipv4Addr::UNSPECIFIED, real]);
        assert_eq!(lan.masters(), [with_address], "{tie_break:?}");
        // Between two of the kind the hardware address decides, and nobody swings to and fro.
        let (lan, [lower, _]) = after_a_cut(&settings, [Ipv4Addr::UNSPECIFIED; 2]);
        assert_eq!(lan.masters(), [lower], "{tie_break:?}");
        assert_eq!(
            lan.transitions()
                .filter(|(_, node, _)| *node == lower)
                .count(),
            2,
            "{tie_break:?}: backup, master"
        );
    }
}

#[test]
fn an_address_that_comes_late_takes_the_preferred_place_back() {
    let settings = settings(10, Preempt::On);
    let mut lan = Lan::new(1);
    let late = lan.join(settings.clone(), Ipv4Addr::UNSPECIFIED);
    lan.run_for(5 * SECOND);
    assert_eq!(lan.masters(), [late]);
    let other = lan.join(settings, Ipv4Addr::new(10, 0, 0, 9));
    lan.run_for(3 * SECOND);
    assert_eq!(lan.masters(), [other], "as good, and with an address");
    lan.set_address(late, Ipv4Addr::new(10, 0, 0, 3));
    lan.run_for(10 * SECOND);
    assert_eq!(
        lan.masters(),
        [other],
        "equal again: nobody is pushed aside"
    );
}
