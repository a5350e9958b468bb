use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;

use super::super::Event;
use super::*;
use crate::proto::auth::Key;
use crate::proto::settings::Preempt;
use crate::proto::vhost::Kind;
use crate::proto::{Cause, Reason};
use crate::types::{AdvSkew, Demotion, Timestamp, Vhid};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// A machine: a member of the group on each network.
type Machine = Vec<NodeId>;

fn settings(network: u8, advskew: u8, preempt: Preempt) -> Settings {
    let vhid = Vhid::new(i64::from(network) + 1).unwrap();
    let address = format!("10.{network}.0.100/24").parse().unwrap();
    Settings {
        advskew: AdvSkew(advskew),
        preempt,
        ..Settings::new(vhid, vec![address], Key::new(b"secret").unwrap())
    }
}

/// Machines on several networks.
struct World {
    lan: Lan,
    machines: Vec<Machine>,
    /// Machines that lost their power, and when: that is no transition.
    powerless: Vec<(Timestamp, usize)>,
}

impl World {
    fn new() -> Self {
        Self {
            lan: Lan::new(1),
            machines: Vec::new(),
            powerless: Vec::new(),
        }
    }

    /// A machine with a group; its addresses end in these numbers, one for each network.
    fn add(&mut self, advskew: u8, preempt: Preempt, lasts: &[u8]) {
        let machine = self.add_ungrouped(&vec![advskew; lasts.len()], preempt, lasts);
        self.lan.group(&machine);
    }

    fn add_ungrouped(&mut self, skews: &[u8], preempt: Preempt, lasts: &[u8]) -> Machine {
        let networks = (0..).zip(skews.iter().zip(lasts));
        let machine: Machine = networks
            .map(|(network, (skew, last))| {
                let source = Ipv4Addr::new(10, network, 0, *last);
                self.lan
                    .join_on(network, settings(network, *skew, preempt), source)
            })
            .collect();
        self.machines.push(machine.clone());
        machine
    }

    /// Two machines with these skews, settled.
    fn pair(first: u8, second: u8, preempt: Preempt) -> Self {
        let mut world = Self::new();
        world.add(first, preempt, &[1, 1]);
        world.add(second, preempt, &[2, 2]);
        world.run(10 * SECOND);
        assert_eq!(world.states(), "MM BB");
        world
    }

    fn run(&mut self, length: Duration) {
        self.lan.run_for(length);
    }

    /// A letter for each member of each machine.
    fn states(&self) -> String {
        let of = |id: &NodeId| match self.lan.vhost(*id).state() {
            State::Init => 'I',
            State::Backup => 'B',
            State::Master => 'M',
        };
        let machines = self.machines.iter();
        machines
            .map(|machine| machine.iter().map(of).collect::<String>())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn id(&self, machine: usize, member: usize) -> NodeId {
        self.machines[machine][member]
    }

    fn feed(&mut self, machine: usize, member: usize, input: Input<'_>) {
        self.lan.feed(self.id(machine, member), input);
    }

    /// Nothing gets from one machine to the other on this network.
    fn cut(&mut self, from: usize, to: usize, network: usize) {
        self.lan.cut(self.id(from, network), self.id(to, network));
    }

    fn cut_both(&mut self, network: usize) {
        for from in 0..self.machines.len() {
            for to in 0..self.machines.len() {
                self.cut(from, to, network);
            }
        }
    }

    /// What a machine's members changed to since then.
    fn changes(&self, machine: usize, since: Timestamp) -> usize {
        let members = &self.machines[machine];
        let changes = self.lan.transitions();
        changes
            .filter(|(at, id, change)| *at > since && *id == members[0] && change.from != change.to)
            .count()
    }

    /// When each member of each machine became master or ceased to be, in order.
    fn mastery(&self) -> Vec<(Timestamp, usize, usize, bool)> {
        let place = |id: NodeId| {
            let mut machines = self.machines.iter().enumerate();
            machines.find_map(|(machine, members)| {
                let member = members.iter().position(|member| *member == id)?;
                Some((machine, member))
            })
        };
        let changes = self.lan.transitions().filter_map(|(at, id, change)| {
            let (machine, member) = place(id)?;
            Some((at, machine, member, change.to == State::Master))
        });
        let powerless = self.powerless.iter().flat_map(|(at, machine)| {
            let members = 0..self.machines[*machine].len();
            members.map(|member| (*at, *machine, member, false))
        });
        let mut all: Vec<_> = changes.chain(powerless).collect();
        all.sort_by_key(|(at, ..)| *at);
        all
    }

    /// For how long machines were master of some of their members only, and networks had two
    /// masters, since then.
    fn halves_and_doubles(&self, since: Timestamp) -> (Duration, Duration) {
        let mut master: Vec<Vec<bool>> = self
            .machines
            .iter()
            .map(|machine| vec![false; machine.len()])
            .collect();
        let (mut half, mut double) = (Duration::ZERO, Duration::ZERO);
        let mut last = Timestamp::ZERO;
        for (at, machine, member, is_master) in self.mastery() {
            let is_half = master
                .iter()
                .any(|machine| machine.contains(&true) && machine.contains(&false));
            let networks = 0..master[0].len();
            let is_double = networks
                .into_iter()
                .any(|network| master.iter().filter(|machine| machine[network]).count() > 1);
            if at > since {
                half += if is_half {
                    at - last.max(since)
                } else {
                    Duration::ZERO
                };
                double += if is_double {
                    at - last.max(since)
                } else {
                    Duration::ZERO
                };
            }
            last = at;
            master[machine][member] = is_master;
        }
        (half, double)
    }

    /// How long after `since` the machine was master of all its members.
    fn took(&self, machine: usize, since: Timestamp) -> Duration {
        let members = &self.machines[machine];
        let last = self.lan.transitions().rfind(|(at, id, change)| {
            *at >= since && members.contains(id) && change.to == State::Master
        });
        last.expect("it became master").0 - since
    }
}

fn resign() -> Input<'static> {
    Input::Resign {
        reason: Reason::new("resigned", "a test"),
        unfit: false,
    }
}

#[test]
fn nodes_that_boot_together_agree_on_one() {
    let mut world = World::new();
    world.add(0, Preempt::Off, &[1, 9, 1]);
    world.add(0, Preempt::Off, &[2, 2, 2]);
    world.add(0, Preempt::Off, &[3, 3, 3]);
    world.run(10 * SECOND);
    assert_eq!(world.states(), "MMM BBB BBB");
    assert!(
        world.lan.contested() < 2 * MILLI,
        "{:?}",
        world.lan.contested()
    );
}

#[test]
fn a_lost_link_hands_over_all_members_at_once() {
    for preempt in [Preempt::Off, Preempt::On] {
        let mut world = World::pair(0, 100, preempt);
        let then = world.lan.now();
        world.feed(0, 0, Input::LinkDown);
        assert_eq!(world.states(), "II BB");
        let cause = world.lan.transitions().last().unwrap().2.cause.to_string();
        assert_eq!(cause, "m0: the link is down");
        world.run(5 * MILLI);
        assert_eq!(world.states(), "II MM");
        assert!(world.took(1, then) < MILLI, "{:?}", world.took(1, then));
        assert_eq!(
            world.halves_and_doubles(then),
            (Duration::ZERO, Duration::ZERO)
        );
        // Back again: it listens on all networks, and preempts on all at once.
        world.feed(0, 0, Input::LinkUp);
        assert_eq!(world.states(), "BB MM");
        let then = world.lan.now();
        world.run(10 * SECOND);
        let (states, changes) = match preempt {
            Preempt::Off => ("BB MM", 0),
            Preempt::On => ("MM BB", 1),
        };
        assert_eq!(
            (world.states().as_str(), world.changes(0, then)),
            (states, changes)
        );
        assert!(world.halves_and_doubles(then).0 < MILLI);
    }
}

#[test]
fn a_group_waits_until_all_its_members_can_take_part() {
    let mut world = World::pair(0, 100, Preempt::On);
    world.feed(1, 1, Input::LinkDown);
    world.run(SECOND);
    assert_eq!(world.states(), "MM II");
    world.lan.switch_off(world.id(0, 0));
    world.lan.switch_off(world.id(0, 1));
    world.run(10 * SECOND);
    assert!(
        world.states().ends_with("II"),
        "a part of a group takes nothing"
    );
    world.feed(1, 1, Input::LinkUp);
    world.run(4 * SECOND);
    assert!(world.states().ends_with("MM"));
}

#[test]
fn resigning_one_member_is_resigning_all() {
    let mut world = World::pair(0, 100, Preempt::Off);
    let then = world.lan.now();
    world.feed(0, 1, resign());
    assert_eq!(world.states(), "BB BB");
    world.run(5 * MILLI);
    assert_eq!(world.states(), "BB MM");
    let sent = world.lan.records().iter().filter(|record| {
        let Event::Sent(packet) = &record.event else {
            return false;
        };
        record.at >= then && packet.kind == Kind::BowOut
    });
    assert_eq!(sent.count(), 2, "one for each member, and none twice");
}

#[test]
fn a_cut_of_one_network_changes_nothing_while_the_other_carries() {
    for preempt in [Preempt::Off, Preempt::On] {
        let mut world = World::pair(0, 100, preempt);
        let then = world.lan.now();
        world.cut_both(0);
        world.run(60 * SECOND);
        assert_eq!(
            (world.states().as_str(), world.changes(0, then)),
            ("MM BB", 0)
        );
        // The master dies: now all networks are silent.
        world.lan.switch_off(world.id(0, 0));
        world.lan.switch_off(world.id(0, 1));
        world.run(4 * SECOND);
        assert!(world.states().ends_with("MM"));
        // Cut as it is, it comes back and preempts on the network that is left, or does not.
        world.lan.switch_on(world.id(0, 0));
        world.lan.switch_on(world.id(0, 1));
        world.run(10 * SECOND);
        let states = if preempt == Preempt::On {
            "MM BB"
        } else {
            "BB MM"
        };
        assert_eq!(world.states(), states);
    }
}

#[test]
fn a_network_that_carries_one_way_only_changes_nothing_either() {
    for (from, to) in [(0, 1), (1, 0)] {
        for preempt in [Preempt::Off, Preempt::On] {
            let mut world = World::pair(0, 100, preempt);
            let then = world.lan.now();
            world.cut(from, to, 0);
            world.run(60 * SECOND);
            assert_eq!(
                (world.states().as_str(), world.changes(0, then)),
                ("MM BB", 0)
            );
            world.feed(0, 1, resign());
            world.run(20 * MILLI);
            assert_eq!(world.states(), "BB MM");
        }
    }
}

#[test]
fn a_member_that_is_down_everywhere_leaves_all_without_a_master() {
    let mut world = World::pair(0, 100, Preempt::On);
    world.feed(0, 0, Input::LinkDown);
    world.feed(1, 0, Input::LinkDown);
    world.run(10 * SECOND);
    assert_eq!(world.states(), "II II");
    world.feed(1, 0, Input::LinkUp);
    world.run(4 * SECOND);
    assert_eq!(world.states(), "II MM");
}

#[test]
fn one_member_down_here_and_another_there_leaves_all_without_a_master() {
    let mut world = World::pair(0, 100, Preempt::On);
    world.feed(0, 0, Input::LinkDown);
    world.feed(1, 1, Input::LinkDown);
    world.run(10 * SECOND);
    assert_eq!(world.states(), "II II");
}

#[test]
fn demotion_of_one_is_that_of_all() {
    let mut world = World::pair(0, 100, Preempt::On);
    let then = world.lan.now();
    world.feed(0, 1, Input::Demote(Demotion::new(150)));
    for member in 0..2 {
        let vhost = world.lan.vhost(world.id(0, member));
        assert_eq!(vhost.effective_advskew(), AdvSkew(150));
    }
    world.run(5 * MILLI);
    assert_eq!(world.states(), "BB MM");
    assert!(world.halves_and_doubles(then).0 < MILLI);
    world.feed(0, 1, Input::Demote(Demotion::NONE));
    world.run(2 * SECOND);
    assert_eq!(world.states(), "MM BB");
}

#[test]
fn a_node_that_stops_bows_out_when_all_have_let_go() {
    let mut world = World::pair(0, 100, Preempt::Off);
    let then = world.lan.now();
    world.feed(0, 0, Input::Shutdown);
    assert_eq!(world.states(), "II BB");
    world.feed(0, 1, Input::Shutdown);
    world.run(5 * MILLI);
    assert_eq!(world.states(), "II MM");
    assert_eq!(
        world.halves_and_doubles(then),
        (Duration::ZERO, Duration::ZERO)
    );
}

#[test]
fn a_master_that_slept_gives_up_all_and_invites_nobody() {
    let mut world = World::pair(0, 100, Preempt::Off);
    for member in 0..2 {
        world.lan.pause(world.id(0, member), 5 * SECOND);
    }
    world.run(6 * SECOND);
    assert_eq!(world.states(), "BB MM");
    world.run(20 * SECOND);
    assert_eq!(world.states(), "BB MM");
}

/// A peer without groups that is better on one network and worse on the other.
#[test]
fn crossing_a_peer_without_groups_settles_after_at_most_three_changes() {
    for preempt in [Preempt::Off, Preempt::On] {
        for grouped_first in [false, true] {
            let mut world = World::new();
            if grouped_first {
                world.add(50, preempt, &[1, 1]);
                world.run(10 * SECOND);
            }
            world.add_ungrouped(&[0, 100], preempt, &[2, 2]);
            if !grouped_first {
                world.run(10 * SECOND);
                world.add(50, preempt, &[1, 1]);
                world.machines.swap(0, 1);
            }
            let then = world.lan.now();
            world.run(60 * SECOND);
            let settled = world.states();
            let held = if grouped_first && preempt == Preempt::Off {
                "MM BB"
            } else {
                "BB MM"
            };
            assert_eq!(settled, held);
            for machine in 0..2 {
                assert!(world.changes(machine, then) <= 3);
            }
            world.run(600 * SECOND);
            assert_eq!(world.states(), settled);
        }
    }
}

#[test]
fn a_peer_without_groups_that_takes_one_member_gets_the_others_soon() {
    let mut world = World::new();
    world.add(50, Preempt::On, &[1, 1]);
    world.run(10 * SECOND);
    world.add_ungrouped(&[0, 50], Preempt::On, &[2, 2]);
    let then = world.lan.now();
    while world.states() != "BB MM" {
        world.run(MILLI);
        assert!(world.lan.now() - then < 10 * SECOND, "{}", world.states());
    }
    let lost = world
        .lan
        .transitions()
        .find(|(at, id, change)| {
            *at > then && *id == world.id(0, 0) && change.cause == Cause::BetterMaster
        })
        .expect("it yielded")
        .0;
    assert!(
        world.took(1, lost) <= 25 * MILLI,
        "{:?}",
        world.took(1, lost)
    );
}

/// Which of two nodes wins on each network, and what is cut.
fn tie(orders: &[bool], cuts: &[(bool, bool)], late: Duration) -> World {
    let mut world = World::new();
    let lasts = |mine: bool| -> Vec<u8> {
        orders
            .iter()
            .map(|first| if *first == mine { 1 } else { 2 })
            .collect()
    };
    world.add(0, Preempt::Off, &lasts(true));
    world.add(0, Preempt::Off, &lasts(false));
    // Both become master while they do not hear each other.
    for network in 0..orders.len() {
        world.cut_both(network);
    }
    world.run(10 * SECOND);
    assert!(
        world.states().chars().all(|c| c != 'B'),
        "{}",
        world.states()
    );
    world.run(late);
    world.lan.heal();
    for (network, (there, back)) in cuts.iter().enumerate() {
        if *there {
            world.cut(0, 1, network);
        }
        if *back {
            world.cut(1, 0, network);
        }
    }
    world
}

#[test]
fn crossing_ties_are_settled_by_the_first_member() {
    for orders in [[true, false], [false, true]] {
        let mut world = tie(&orders, &[(false, false); 2], Duration::ZERO);
        let then = world.lan.now();
        world.run(SECOND + 50 * MILLI);
        let states = if orders[0] { "MM BB" } else { "BB MM" };
        assert_eq!(world.states(), states);
        assert!(world.halves_and_doubles(then).0 < MILLI);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Two equal nodes that both are master, with crossing orders and cuts: exactly one yields, as
    /// long as there is a network on which both hear each other.
    #[test]
    fn exactly_one_of_two_equal_nodes_yields(
        networks in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 2..=3),
        late in 0u64..1000,
        sound in 0usize..3,
    ) {
        let orders: Vec<bool> = networks.iter().map(|(first, ..)| *first).collect();
        let mut cuts: Vec<_> = networks.iter().map(|(_, there, back)| (*there, *back)).collect();
        let sound = sound % cuts.len();
        cuts[sound] = (false, false);
        let mut world = tie(&orders, &cuts, Duration::from_millis(late));
        let then = world.lan.now();
        world.run(12 * SECOND);
        let masters = world.states().matches('M').count();
        prop_assert_eq!(masters, orders.len(), "{} {:?} {:?}", world.states(), orders, cuts);
        let changes = world.changes(0, then) + world.changes(1, then);
        prop_assert_eq!(changes, 1);
        prop_assert!(world.halves_and_doubles(then).0 < MILLI);
    }
}

/// One stroke of bad luck, for the machine of this number.
#[derive(Debug, Clone)]
enum Stroke {
    Link(usize, usize, bool),
    Off(usize),
    On(usize),
    ShutDown(usize),
    Resign(usize, usize),
    Demote(usize, usize, u8),
    Cut(usize, usize, usize),
    Heal,
    Pause(usize, u64),
    Mute(usize, usize, bool),
}

fn a_stroke() -> impl Strategy<Value = Stroke> {
    let (machine, member) = (0usize..3, 0usize..2);
    let both = (machine.clone(), member.clone());
    prop_oneof![
        4 => (both.clone(), any::<bool>()).prop_map(|((a, m), up)| Stroke::Link(a, m, up)),
        1 => machine.clone().prop_map(Stroke::Off),
        2 => machine.clone().prop_map(Stroke::On),
        1 => machine.clone().prop_map(Stroke::ShutDown),
        2 => both.clone().prop_map(|(a, m)| Stroke::Resign(a, m)),
        2 => (both.clone(), any::<u8>()).prop_map(|((a, m), by)| Stroke::Demote(a, m, by)),
        2 => (both.clone(), 0usize..3).prop_map(|((a, m), b)| Stroke::Cut(a, b, m)),
        1 => Just(Stroke::Heal),
        1 => (machine, 1u64..8000).prop_map(|(a, ms)| Stroke::Pause(a, ms)),
        1 => (both, any::<bool>()).prop_map(|((a, m), mute)| Stroke::Mute(a, m, mute)),
    ]
}

impl World {
    fn strike(&mut self, stroke: &Stroke) {
        let count = self.machines.len();
        let all = |world: &Self, machine: &usize| world.machines[machine % count].clone();
        let stands_still = |machine: &usize| self.lan.nodes[self.id(machine % count, 0).0].paused;
        match stroke {
            Stroke::Link(machine, ..)
            | Stroke::ShutDown(machine)
            | Stroke::Resign(machine, _)
            | Stroke::Demote(machine, ..)
                if stands_still(machine) => {}
            Stroke::Link(machine, member, up) => {
                let input = if *up { Input::LinkUp } else { Input::LinkDown };
                self.feed(machine % count, *member, input);
            }
            Stroke::Off(machine) => {
                self.powerless.push((self.lan.now(), machine % count));
                for id in all(self, machine) {
                    self.lan.switch_off(id);
                }
            }
            Stroke::On(machine) => {
                for id in all(self, machine) {
                    self.lan.switch_on(id);
                }
            }
            Stroke::ShutDown(machine) => {
                let members = all(self, machine);
                for id in &members {
                    self.lan.feed(*id, Input::Shutdown);
                }
                for id in members {
                    self.lan.switch_off(id);
                }
            }
            Stroke::Resign(machine, member) => self.feed(machine % count, *member, resign()),
            Stroke::Demote(machine, member, by) => {
                let demotion = Demotion::new(*by);
                self.feed(machine % count, *member, Input::Demote(demotion));
            }
            Stroke::Cut(from, to, network) => self.cut(from % count, to % count, *network),
            Stroke::Heal => self.lan.heal(),
            Stroke::Pause(machine, ms) => {
                for id in all(self, machine) {
                    self.lan.pause(id, Duration::from_millis(*ms));
                }
            }
            Stroke::Mute(machine, member, mute) => {
                let id = self.id(machine % count, *member);
                self.lan.set_can_send(id, !mute);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever happens, no machine is master of a part of its group, and in the end one machine is
    /// master of all.
    #[test]
    fn no_machine_is_ever_master_of_a_part(
        skews in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 2..=3),
        preempt in any::<bool>(),
        strokes in prop::collection::vec((1u64..6000, a_stroke()), 1..30),
    ) {
        let mut world = World::new();
        for (number, skew) in (1..).zip(&skews) {
            // The orders of the addresses cross.
            world.add((*skew).min(240), preempt.into(), &[number, 9 - number]);
        }
        world.run(10 * SECOND);
        let calm = |stroke: &Stroke| {
            !matches!(stroke, Stroke::Cut(..) | Stroke::Pause(..) | Stroke::Mute(..))
        };
        let all_hear = strokes.iter().all(|(_, stroke)| calm(stroke));
        for (ms, stroke) in &strokes {
            world.run(Duration::from_millis(*ms));
            world.strike(stroke);
            for machine in world.states().split(' ') {
                prop_assert!(!machine.contains('M') || machine == "MM", "{}", machine);
            }
        }
        let (half, double) = world.halves_and_doubles(Timestamp::ZERO);
        prop_assert!(half < MILLI, "{half:?}");
        if all_hear {
            prop_assert!(double < 50 * MILLI, "{double:?}");
        }
        world.lan.heal();
        for machine in 0..world.machines.len() {
            for member in 0..2 {
                world.lan.switch_on(world.id(machine, member));
                world.feed(machine, member, Input::LinkUp);
                world.feed(machine, member, Input::Demote(Demotion::NONE));
                world.feed(machine, member, Input::ForgiveSends);
            }
        }
        world.run(60 * SECOND);
        let states = world.states();
        prop_assert_eq!(states.matches("MM").count(), 1, "{}", &states);
        prop_assert_eq!(states.matches('M').count(), 2, "{}", &states);
        prop_assert!(!states.contains('I'), "{}", &states);
    }
}
