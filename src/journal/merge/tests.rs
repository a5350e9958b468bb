//! Three nodes on a virtual network, with clocks that differ and drift, whose histories are merged and
//! compared with what happened.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::*;
use crate::journal::tests::settings;
use crate::journal::{FILE_NAME, Found, Journal, Limits, Reader};
use crate::proto::sim::Luck;
use crate::proto::{Input, Output, Reason, Vhost, wire};
use crate::types::{Demotion, Family, State};

/// Nanoseconds of the true time.
type True = u64;

const MS: True = 1_000_000;
const SECOND: True = 1_000 * MS;
const NODES: usize = 3;

struct Sim {
    now: True,
    luck: Luck,
    nodes: Vec<Node>,
    /// What is to come, in order.
    queue: BTreeMap<(True, u64), What>,
    count: u64,
    /// When each node changed its state.
    truth: Vec<(True, usize, State)>,
}

struct Node {
    directory: tempfile::TempDir,
    journal: Journal,
    machine: Option<Vhost>,
    /// What its clock since boot shows at the start, and by how many millionths it is fast.
    boot: True,
    drift: i64,
    /// By how much its clock of the day is wrong.
    wrong_ms: i64,
    generation: u64,
    cut: bool,
}

enum What {
    Packet(usize, IpAddr, [u8; wire::LEN]),
    Wake(usize, u64),
    Fault,
    Mend(usize, Mend),
}

#[derive(Clone, Copy)]
enum Mend {
    Start,
    StartAfterDeath(True),
    Link,
    Wire,
    Fit,
}

impl Node {
    fn local(&self, now: True) -> Timestamp {
        let drift = i64::try_from(now).unwrap() / 1_000_000 * self.drift;
        Timestamp::from_nanos(self.boot + now.saturating_add_signed(drift))
    }

    fn wall(&self, now: True) -> u64 {
        (1_700_000_000_000 + now / MS).saturating_add_signed(self.wrong_ms)
    }

    fn open(&self, now: True) -> Journal {
        let path = self.directory.path().join(FILE_NAME);
        Journal::open(
            &path,
            Limits::default(),
            "1",
            self.local(now),
            self.wall(now),
        )
    }
}

fn below(luck: &mut Luck, limit: u64) -> u64 {
    luck.next() % limit
}

fn address(node: usize) -> IpAddr {
    format!("10.0.0.{}", node + 1).parse().unwrap()
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut luck = Luck::new(seed);
        let nodes = (0..NODES).map(|number| {
            let boot = below(&mut luck, 1_000_000) * SECOND;
            Node {
                directory: tempfile::tempdir().unwrap(),
                journal: Journal::disabled(),
                machine: None,
                boot,
                drift: [0, 40, -40][number],
                wrong_ms: [-2_000, 0, 2_000][number],
                generation: 0,
                cut: false,
            }
        });
        let nodes = nodes.collect();
        let mut sim = Self {
            now: 0,
            luck,
            nodes,
            queue: BTreeMap::new(),
            count: 0,
            truth: Vec::new(),
        };
        for node in 0..NODES {
            sim.later(node as u64 * SECOND, What::Mend(node, Mend::Start));
        }
        sim.later(20 * SECOND, What::Fault);
        sim
    }

    fn later(&mut self, after: True, what: What) {
        self.count += 1;
        self.queue.insert((self.now + after, self.count), what);
    }

    fn run(&mut self, until: True) {
        while let Some(((at, _), what)) = self.queue.pop_first() {
            if at > until {
                return;
            }
            self.now = at;
            match what {
                What::Wake(node, generation) => {
                    if self.nodes[node].generation == generation {
                        self.feed(node, Input::Timer);
                    }
                }
                What::Packet(node, src, payload) => {
                    if !self.nodes[node].cut {
                        let packet = wire::Received {
                            src,
                            dst: "224.0.0.18".parse().unwrap(),
                            mac: None,
                            ttl: 255,
                            payload: &payload,
                        };
                        self.feed(node, Input::Packet(packet));
                    }
                }
                What::Fault => self.fault(),
                What::Mend(node, mend) => self.mend(node, mend),
            }
        }
    }

    fn feed(&mut self, number: usize, input: Input<'_>) {
        let now = self.nodes[number].local(self.now);
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let node = &mut self.nodes[number];
            let Some(machine) = &mut node.machine else {
                return;
            };
            node.journal.input(now, 7, &input);
            machine.handle(input, now);
            loop {
                let node = &mut self.nodes[number];
                let output = node.machine.as_mut().unwrap().poll();
                node.journal.output(7, &output);
                match output {
                    Output::Transmit(transmit) => {
                        inputs.push_back(Input::Sent {
                            family: transmit.family,
                            ok: true,
                        });
                        let cut = node.cut;
                        for other in (0..NODES).filter(|other| *other != number && !cut) {
                            let mut delay = 100_000 + below(&mut self.luck, 300_000);
                            if below(&mut self.luck, 100) == 0 {
                                delay += below(&mut self.luck, 30) * MS;
                            }
                            let what = What::Packet(other, address(number), transmit.payload);
                            self.later(delay, what);
                        }
                    }
                    Output::Transition(transition) => {
                        self.truth.push((self.now, number, transition.to));
                    }
                    Output::Idle(deadline) => {
                        node.generation += 1;
                        let generation = node.generation;
                        if let Some(deadline) = deadline {
                            // A part of a millisecond later, so that it has come on a slow clock.
                            let after = u64::try_from(deadline.since(now).as_nanos()).unwrap();
                            let after = after + after / 10_000;
                            self.later(after, What::Wake(number, generation));
                        }
                        break;
                    }
                    _ => {}
                }
            }
        }
        let wall = self.nodes[number].wall(self.now);
        self.nodes[number].journal.end_turn(now, wall);
    }

    fn fault(&mut self) {
        let node = usize::try_from(below(&mut self.luck, NODES as u64)).unwrap();
        let long = (2 + below(&mut self.luck, 15)) * SECOND + below(&mut self.luck, 1_000) * MS;
        match below(&mut self.luck, 6) {
            0 => {
                self.nodes[node].machine = None;
                let died = self.now;
                self.later(long, What::Mend(node, Mend::StartAfterDeath(died)));
            }
            1 => {
                self.feed(node, Input::Shutdown);
                self.nodes[node].machine = None;
                self.later(long, What::Mend(node, Mend::Start));
            }
            2 => {
                self.nodes[node].cut = true;
                self.feed(node, Input::LinkDown);
                self.later(long, What::Mend(node, Mend::Link));
            }
            3 => {
                self.nodes[node].cut = true;
                self.later(long, What::Mend(node, Mend::Wire));
            }
            4 => {
                self.feed(node, Input::Demote(Demotion::new(200)));
                self.later(long, What::Mend(node, Mend::Fit));
            }
            _ => {
                let reason = Reason::new("resigned", "resigned: by hand");
                self.feed(
                    node,
                    Input::Resign {
                        reason,
                        unfit: false,
                    },
                );
            }
        }
        let next = (1 + below(&mut self.luck, 40)) * SECOND;
        self.later(next, What::Fault);
    }

    fn mend(&mut self, number: usize, mend: Mend) {
        match mend {
            Mend::Start | Mend::StartAfterDeath(_) => {
                if self.nodes[number].machine.is_some() {
                    return;
                }
                let seed = below(&mut self.luck, u64::MAX);
                let now = self.now;
                let node = &mut self.nodes[number];
                let mut journal = node.open(now);
                if let Mend::StartAfterDeath(died) = mend {
                    journal.died(node.local(died), "its engine was killed");
                }
                let skew = [0, 60, 120][number];
                let (name, interface) = ("web".parse().unwrap(), "eth0".parse().unwrap());
                journal.vhost(node.local(now), 7, &name, &interface, seed, &settings(skew));
                node.journal = journal;
                node.machine = Some(Vhost::new(settings(skew), seed));
                self.feed(
                    number,
                    Input::OwnAddress {
                        family: Family::V4,
                        address: Some(address(number)),
                    },
                );
                if !self.nodes[number].cut {
                    self.feed(number, Input::LinkUp);
                }
            }
            Mend::Link => {
                self.nodes[number].cut = false;
                self.feed(number, Input::LinkUp);
            }
            Mend::Wire => self.nodes[number].cut = false,
            Mend::Fit => self.feed(number, Input::Demote(Demotion::default())),
        }
    }

    /// What each node would send to whoever asks.
    fn histories(&self) -> Vec<NodeHistory> {
        let node = |(number, node): (usize, &Node)| {
            let found = Reader::new(node.directory.path(), None).read().unwrap();
            let records = found.into_iter().map(|found| match found {
                Found::Event(_, record) => record,
                other => panic!("{other:?}"),
            });
            NodeHistory {
                name: format!("node{number}"),
                records: records.collect(),
            }
        };
        self.nodes.iter().enumerate().map(node).collect()
    }
}

/// Each change with its true time, in the order of the stories.
fn true_times<'a>(
    truth: &[(True, usize, State)],
    stories: impl Iterator<Item = &'a (usize, Story)>,
) -> Vec<(True, usize)> {
    let mut of_node: Vec<VecDeque<(True, State)>> = vec![VecDeque::new(); NODES];
    for (at, node, to) in truth {
        of_node[*node].push_back((*at, *to));
    }
    let seen = stories.filter(|(_, story)| story.transition.cause.as_str() != "died");
    let times: Vec<(True, usize)> = seen
        .map(|(node, story)| {
            let (at, to) = of_node[*node].pop_front().expect("it happened");
            assert_eq!(story.transition.to, to);
            (at, *node)
        })
        .collect();
    assert!(
        of_node.iter().all(VecDeque::is_empty),
        "every change is told"
    );
    times
}

/// How many changes come after one that was more than a millisecond later.
fn wrong(times: &[(True, usize)]) -> usize {
    let mut latest = 0;
    let late = times.iter().filter(|(at, _)| {
        let late = *at + MS < latest;
        latest = latest.max(*at);
        late
    });
    late.count()
}

/// The advertisement with which a node became master, and the one that made another follow, are kept.
fn keeps_what_decides(node: &NodeHistory) {
    let kept = |at: Timestamp, is_sent: bool| {
        node.records.iter().any(|record| {
            matches!(record.event, Event::Advertisement { sent, .. } if sent == is_sent)
                && record.at == at
        })
    };
    for record in &node.records {
        let Event::State(_, transition) = &record.event else {
            continue;
        };
        let decides = match (transition.to, transition.cause.as_str()) {
            (State::Master, _) => kept(record.at, true),
            (_, "better-master" | "master-leaving") => kept(record.at, false),
            _ => true,
        };
        assert!(decides, "{}: {record:?}", node.name);
    }
}

#[test]
fn three_nodes_whose_clocks_are_wrong_are_told_in_the_right_order() {
    let (mut all, mut by_clock) = (0, 0);
    for seed in 1..=5 {
        let mut sim = Sim::new(seed);
        sim.run(2 * 3600 * SECOND);
        let histories = sim.histories();
        histories.iter().for_each(keeps_what_decides);
        let merged = merge(&histories);
        let times = true_times(&sim.truth, merged.stories.iter());
        assert_eq!(wrong(&times), 0, "seed {seed}");
        all += times.len();
        // Their clocks are known now.
        for (number, ahead) in merged.ahead_ms.iter().enumerate() {
            let wrong_ms = |node: usize| sim.nodes[node].wrong_ms;
            let differs = wrong_ms(number) - wrong_ms(merged.clock);
            let found = ahead.expect("it was heard");
            // The time of day is known from each node's last record, some minutes before the other's; in
            // each of them these clocks drift apart by 5 ms.
            assert!(
                (found - differs).abs() <= 50,
                "{number}: {found}, not {differs}"
            );
        }
        // By the clocks alone it would be wrong.
        let mut by_day = merged.stories.clone();
        let own = |node: usize, ms: u64| {
            ms.saturating_add_signed(merged.ahead_ms[node].unwrap_or_default())
        };
        by_day.sort_by_key(|(node, story)| own(*node, story.wall_ms));
        by_clock += wrong(&true_times(&sim.truth, by_day.iter()));
    }
    assert!(
        all > 1_000 && by_clock > 100,
        "{all} changes, {by_clock} wrong by the clocks"
    );
}

#[test]
fn two_backups_are_compared_by_what_both_heard() {
    let mut sim = Sim::new(7);
    sim.run(1800 * SECOND);
    let mut histories = sim.histories();
    // The master's recorder cannot be had.
    histories.remove(0);
    let merged = merge(&histories);
    assert!(merged.ahead_ms.iter().all(Option::is_some));
    let truth: Vec<_> = sim
        .truth
        .iter()
        .filter(|(_, node, _)| *node > 0)
        .copied()
        .collect();
    let stories: Vec<(usize, Story)> = merged
        .stories
        .into_iter()
        .map(|(node, story)| (node + 1, story))
        .collect();
    assert_eq!(wrong(&true_times(&truth, stories.iter())), 0);
}

#[test]
fn a_node_that_nobody_knows_is_placed_by_its_clock() {
    let mut sim = Sim::new(3);
    sim.run(600 * SECOND);
    let mut histories = sim.histories();
    histories[2]
        .records
        .retain(|record| !matches!(record.event, Event::Advertisement { .. }));
    let merged = merge(&histories);
    assert_eq!(merged.ahead_ms[2], None);
    let ahead = merged.ahead_ms[1 - merged.clock].unwrap();
    assert!((ahead.abs() - 2_000).abs() <= 2, "{ahead}");
    assert_eq!(merge(&[]).stories, []);
}
