//! The stories of several nodes in one order.
//!
//! The clocks of nodes differ, so they say nothing of the order. What does is advertisements: a few
//! are kept by whoever sent them and by whoever heard them, and each has a counter that tells which
//! it is. What was heard was sent before, and on a network hardly any time passes in between: each
//! such pair says how far the clocks since boot of two nodes are apart at that time.

mod link;
mod order;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::journal::{Event, EventRecord, Story, stories};
use crate::types::{Timestamp, Vhid};
use link::{Clock, Link, Sample};
use order::{Step, What, order};

/// The most translations from clock to clock. More reboots in a row than that, each seen only by the
/// one before, are nobody's.
const WAY_MAX: usize = 100;

/// What one node recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeHistory {
    /// What it is called.
    pub name: String,
    /// Its events, in its order.
    pub records: Vec<EventRecord>,
}

/// The stories of several nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// Each with the number of its node, and with the time of day of [`Self::clock`].
    pub stories: Vec<(usize, Story)>,
    /// The node whose clock the times are of.
    pub clock: usize,
    /// By how many milliseconds the clock of each node is ahead of that one; `None` if it has heard
    /// no advertisement that another one knows, and was placed by its clock.
    pub ahead_ms: Vec<Option<i64>>,
}

/// Nanoseconds of a clock.
type Nanos = i128;

/// The time from one boot of a node to the next, in which its clock is never set.
#[derive(Debug, Clone, Copy)]
struct Boot {
    node: usize,
    /// The time of day at the clock's start, as the last record has it, in milliseconds.
    wall_ms: i64,
    /// The time of the last advertisement in it.
    last: Nanos,
}

/// Which advertisement.
type Key = (Vhid, IpAddr, u64);

/// Where an advertisement was sent or heard.
#[derive(Debug, Clone, Copy)]
struct Mark {
    boot: usize,
    sent: bool,
    at: Timestamp,
}

/// All changes of state of these nodes in the order in which they happened.
#[must_use]
pub fn merge(nodes: &[NodeHistory]) -> Merged {
    let (mut boots, mut marks, mut starts) = (Vec::new(), BTreeMap::new(), Vec::new());
    for (number, node) in nodes.iter().enumerate() {
        starts.push(boots.len());
        read_boots(number, &node.records, &mut boots, &mut marks);
    }
    let links = links(&boots, &marks);
    // The one that most can be said of.
    let mut weights = vec![0; boots.len()];
    for ((one, _), link) in &links {
        if let Some(weight) = weights.get_mut(*one) {
            *weight += link.len();
        }
    }
    let first = (0..boots.len())
        .rev()
        .max_by_key(|boot| weights.get(*boot))
        .unwrap_or(0);
    let clocks: BTreeMap<(usize, usize), Clock> = links
        .into_iter()
        .map(|(pair, link)| (pair, link.clock()))
        .collect();
    let ways = ways(first, &clocks);
    let first_ms = boots.get(first).map_or(0, |boot| boot.wall_ms);
    let translate = |boot: usize, at: Nanos| {
        let (mut boot, mut at) = (boot, at);
        while boot != first {
            let Some((to, _)) = ways.get(&boot) else {
                // By the clocks, for want of anything better.
                let wall_ms = boots.get(boot).map_or(0, |boot| boot.wall_ms);
                return at + (Nanos::from(wall_ms) - Nanos::from(first_ms)) * 1_000_000;
            };
            at -= clocks.get(&(*to, boot)).map_or(0, |clock| clock.ahead(at));
            boot = *to;
        }
        at
    };
    let (mut steps, sent) = advertised(nodes.len(), &boots, &marks);
    let mut all: Vec<Option<Story>> = Vec::new();
    for (number, of_node) in steps.iter_mut().enumerate() {
        let start = starts.get(number).copied().unwrap_or_default();
        let node = nodes.get(number);
        let mut last = (0, Timestamp::ZERO);
        for story in node.map(|node| stories(&node.records)).unwrap_or_default() {
            // What happened later on a node is later.
            last = last.max((start + story.boot, story.at));
            of_node.push((last, What::Story(all.len())));
            all.push(Some(story));
        }
        of_node.sort_unstable();
    }
    let steps = steps.into_iter().map(|of_node| {
        let mut last = Nanos::MIN;
        let placed = of_node.into_iter().map(|((boot, at), what)| {
            last = last.max(translate(boot, nanos(at)));
            Step { at: last, what }
        });
        placed.collect()
    });
    let stories = order(steps.collect(), sent)
        .into_iter()
        .filter_map(|(at, number, story)| {
            let mut story = all.get_mut(story)?.take()?;
            let ms = i64::try_from(at / 1_000_000).unwrap_or(i64::MAX);
            story.wall_ms = u64::try_from(first_ms.saturating_add(ms)).unwrap_or_default();
            Some((number, story))
        });
    let stories = stories.collect();
    let ahead_ms = (0..nodes.len()).map(|number| {
        let (index, boot) = boots
            .iter()
            .enumerate()
            .rev()
            .find(|(_, boot)| boot.node == number)?;
        (index == first || ways.contains_key(&index)).then_some(())?;
        // At its clock's last known time: what its day says there, and what the first one's does.
        let at = boot.last;
        let there = Nanos::from(boot.wall_ms) * 1_000_000 + at;
        let here = Nanos::from(first_ms) * 1_000_000 + translate(index, at);
        i64::try_from((there - here) / 1_000_000).ok()
    });
    Merged {
        ahead_ms: ahead_ms.collect(),
        clock: boots.get(first).map_or(0, |boot| boot.node),
        stories,
    }
}

fn nanos(at: Timestamp) -> Nanos {
    Nanos::from(at.as_nanos())
}

/// Adds the boots of a node, and the advertisements that were kept in them.
fn read_boots(
    node: usize,
    records: &[EventRecord],
    boots: &mut Vec<Boot>,
    marks: &mut BTreeMap<Key, Vec<Mark>>,
) {
    let fresh = Boot {
        node,
        wall_ms: 0,
        last: 0,
    };
    let mut of_node: BTreeMap<Key, [Option<Mark>; 2]> = BTreeMap::new();
    let mut twice = Vec::new();
    let mut last = Timestamp::ZERO;
    let (mut number, mut boot) = (boots.len(), fresh);
    for record in records {
        if matches!(record.event, Event::Died { .. }) {
            continue;
        }
        if matches!(record.event, Event::Started { .. }) && record.at < last {
            boots.push(std::mem::replace(&mut boot, fresh));
            number += 1;
        }
        last = record.at;
        let wall_ms = i64::try_from(record.wall_ms).unwrap_or(i64::MAX);
        let since_boot = i64::try_from(record.at.as_nanos() / 1_000_000).unwrap_or(i64::MAX);
        boot.wall_ms = wall_ms.saturating_sub(since_boot);
        if let Event::Advertisement {
            subject,
            from,
            counter,
            sent,
        } = &record.event
        {
            let key = (subject.vhid, *from, *counter);
            boot.last = boot.last.max(nanos(record.at));
            let [heard, sent_here] = of_node.entry(key).or_default();
            let place = if *sent { sent_here } else { heard };
            let mark = Mark {
                boot: number,
                sent: *sent,
                at: record.at,
            };
            if place.replace(mark).is_some() {
                twice.push(key);
            }
        }
    }
    boots.push(boot);
    // One that is there twice does not tell which of them was heard.
    for key in &twice {
        of_node.remove(key);
    }
    for (key, of_it) in of_node {
        marks
            .entry(key)
            .or_default()
            .extend(of_it.into_iter().flatten());
    }
}

/// What the advertisements say of each two boots that have some in common.
fn links(boots: &[Boot], marks: &BTreeMap<Key, Vec<Mark>>) -> BTreeMap<(usize, usize), Link> {
    let node = |mark: &Mark| boots.get(mark.boot).map(|boot| boot.node);
    let mut links: BTreeMap<(usize, usize), Link> = BTreeMap::new();
    for of_one in marks.values() {
        for one in of_one {
            for other in of_one.iter().filter(|other| node(other) != node(one)) {
                let link = links.entry((one.boot, other.boot)).or_default();
                let samples = match (one.sent, other.sent) {
                    (true, false) => &mut link.at_most,
                    (false, true) => &mut link.at_least,
                    (false, false) => &mut link.about,
                    // Nobody sends what another one sent.
                    (true, true) => continue,
                };
                samples.push(Sample {
                    at: nanos(other.at),
                    ahead: nanos(other.at) - nanos(one.at),
                });
            }
        }
    }
    links.retain(|_, link| link.len() > 0);
    links
}

/// What each node did, with the boot and the time by its clock.
type Steps = Vec<((usize, Timestamp), What)>;

/// The advertisements that one node sent and others heard, as steps of each node, and their count.
fn advertised(
    nodes: usize,
    boots: &[Boot],
    marks: &BTreeMap<Key, Vec<Mark>>,
) -> (Vec<Steps>, usize) {
    let mut steps = vec![Steps::new(); nodes];
    let mut count = 0;
    for of_one in marks.values() {
        let is_sent_once = of_one.iter().filter(|mark| mark.sent).count() == 1;
        if !is_sent_once || of_one.len() < 2 {
            continue;
        }
        for mark in of_one {
            let what = if mark.sent {
                What::Sent(count)
            } else {
                What::Heard(count)
            };
            let node = boots.get(mark.boot).map(|boot| boot.node);
            if let Some(steps) = node.and_then(|node| steps.get_mut(node)) {
                steps.push(((mark.boot, mark.at), what));
            }
        }
        count += 1;
    }
    (steps, count)
}

/// From which boot each is reached on the shortest way from the first, and how long that is.
fn ways(first: usize, clocks: &BTreeMap<(usize, usize), Clock>) -> BTreeMap<usize, (usize, usize)> {
    let mut ways = BTreeMap::new();
    let mut reached = VecDeque::from([(first, 0)]);
    while let Some((from, length)) = reached.pop_front() {
        if length >= WAY_MAX {
            break;
        }
        for ((_, other), _) in clocks.range((from, 0)..=(from, usize::MAX)) {
            if *other != first && !ways.contains_key(other) {
                ways.insert(*other, (from, length + 1));
                reached.push_back((*other, length + 1));
            }
        }
    }
    ways
}
