//! The stories of several nodes in one order.
//!
//! The clocks of nodes differ, so they say nothing of the order. What does is advertisements: a few
//! are kept by whoever sent them and by whoever heard them, and each has a counter that tells which
//! it is. What was heard was sent before, and on a network hardly any time passes in between: each
//! such pair says how far the clocks since boot of two nodes are apart at that time.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::journal::{Event, EventRecord, Story, stories};
use crate::types::{Timestamp, Vhid};

/// The most by which the clocks since boot of two nodes drift apart, as a part of the time: twice what
/// the kernel lets a time service change.
const DRIFT: i128 = 1_000;
/// How many of the nearest samples are compared where each may be late.
const NEAREST: usize = 5;

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
#[derive(Debug, Default)]
struct Boot {
    node: usize,
    number: usize,
    sent: BTreeMap<Key, Nanos>,
    heard: BTreeMap<Key, Nanos>,
    /// The time of day at the clock's start, as the last record has it, in milliseconds.
    wall_ms: i64,
}

/// Which advertisement.
type Key = (Vhid, IpAddr, u64);

/// What an advertisement says of two clocks: at this time of the second, it is so far ahead of the
/// first.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Nanos,
    ahead: Nanos,
}

/// How the clock of one boot is translated into that of another.
#[derive(Debug, Default)]
struct Link {
    /// The second heard it later than the first sent it: ahead by this or less.
    at_most: Vec<Sample>,
    /// The first heard it later than the second sent it: ahead by this or more.
    at_least: Vec<Sample>,
    /// Both heard it at about the same time.
    about: Vec<Sample>,
}

/// All changes of state of these nodes in the order in which they happened.
#[must_use]
pub fn merge(nodes: &[NodeHistory]) -> Merged {
    let boots: Vec<Boot> = nodes
        .iter()
        .enumerate()
        .flat_map(|(number, node)| boots(number, &node.records))
        .collect();
    let count = boots.len();
    let mut all: BTreeMap<(usize, usize), Link> = BTreeMap::new();
    for (one, ours) in boots.iter().enumerate() {
        for (other, theirs) in boots.iter().enumerate().filter(|(other, _)| *other != one) {
            let link = Link::between(ours, theirs);
            if link.len() > 0 {
                all.insert((one, other), link);
            }
        }
    }
    // The one that most can be said of.
    let weight = |boot: usize| {
        let of_it = all.iter().filter(|((one, _), _)| *one == boot);
        of_it.map(|(_, link)| link.len()).sum::<usize>()
    };
    let first = (0..count)
        .rev()
        .max_by_key(|boot| weight(*boot))
        .unwrap_or(0);
    // From each to the next on the shortest way there.
    let mut ways: BTreeMap<usize, usize> = BTreeMap::new();
    let mut reached = vec![first];
    let mut next = 0;
    while let Some(from) = reached.get(next).copied() {
        next += 1;
        for other in 0..count {
            if !reached.contains(&other) && all.contains_key(&(from, other)) {
                ways.insert(other, from);
                reached.push(other);
            }
        }
    }
    let first_ms = boots.get(first).map_or(0, |boot| boot.wall_ms);
    let translate = |boot: usize, at: Nanos| {
        let (mut boot, mut at) = (boot, at);
        while boot != first {
            let Some(to) = ways.get(&boot) else {
                // By the clocks, for want of anything better.
                let wall_ms = boots.get(boot).map_or(0, |boot| boot.wall_ms);
                return at + Nanos::from(wall_ms - first_ms) * 1_000_000;
            };
            at -= all.get(&(*to, boot)).map_or(0, |link| link.ahead(at));
            boot = *to;
        }
        at
    };
    let mut placed: Vec<(Nanos, usize, Story)> = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let mut last = Nanos::MIN;
        for mut story in stories(&node.records) {
            let boot = boots
                .iter()
                .position(|boot| boot.node == number && boot.number == story.boot);
            // What happened later on a node is later.
            last = last.max(translate(boot.unwrap_or(first), nanos(story.at)));
            let ms = i64::try_from(last / 1_000_000).unwrap_or(i64::MAX);
            story.wall_ms = u64::try_from(first_ms.saturating_add(ms)).unwrap_or_default();
            placed.push((last, number, story));
        }
    }
    placed.sort_by_key(|(at, number, _)| (*at, *number));
    let ahead_ms = (0..nodes.len()).map(|number| {
        let (index, boot) = boots
            .iter()
            .enumerate()
            .rev()
            .find(|(_, boot)| boot.node == number)?;
        (index == first || ways.contains_key(&index)).then_some(())?;
        // At its clock's last known time: what its day says there, and what the first one's does.
        let at = boot.last();
        let there = Nanos::from(boot.wall_ms) * 1_000_000 + at;
        let here = Nanos::from(first_ms) * 1_000_000 + translate(index, at);
        i64::try_from((there - here) / 1_000_000).ok()
    });
    Merged {
        ahead_ms: ahead_ms.collect(),
        clock: boots.get(first).map_or(0, |boot| boot.node),
        stories: placed
            .into_iter()
            .map(|(_, number, story)| (number, story))
            .collect(),
    }
}

fn nanos(at: Timestamp) -> Nanos {
    Nanos::from(at.as_nanos())
}

/// The boots of a node, each with the advertisements that were kept in it.
fn boots(node: usize, records: &[EventRecord]) -> Vec<Boot> {
    let mut boots = vec![Boot {
        node,
        ..Boot::default()
    }];
    let mut twice = Vec::new();
    let mut last = Timestamp::ZERO;
    for record in records {
        if matches!(record.event, Event::Died { .. }) {
            continue;
        }
        if matches!(record.event, Event::Started { .. }) && record.at < last {
            let number = boots.len();
            boots.push(Boot {
                node,
                number,
                ..Boot::default()
            });
        }
        last = record.at;
        let Some(boot) = boots.last_mut() else {
            continue;
        };
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
            let kept = if *sent {
                &mut boot.sent
            } else {
                &mut boot.heard
            };
            if kept.insert(key, nanos(record.at)).is_some() {
                twice.push(key);
            }
        }
    }
    // One that is there twice does not tell which of them was heard.
    for boot in &mut boots {
        for key in &twice {
            boot.sent.remove(key);
            boot.heard.remove(key);
        }
    }
    boots
}

impl Boot {
    /// The time of the last advertisement in it.
    fn last(&self) -> Nanos {
        self.sent
            .values()
            .chain(self.heard.values())
            .max()
            .copied()
            .unwrap_or(0)
    }
}

impl Link {
    fn between(one: &Boot, other: &Boot) -> Self {
        let pairs = |ours: &BTreeMap<Key, Nanos>, theirs: &BTreeMap<Key, Nanos>| {
            let pairs = ours.iter().filter_map(|(key, at)| {
                let there = *theirs.get(key)?;
                Some(Sample {
                    at: there,
                    ahead: there - at,
                })
            });
            pairs.collect()
        };
        Self {
            at_most: pairs(&one.sent, &other.heard),
            at_least: pairs(&one.heard, &other.sent),
            about: pairs(&one.heard, &other.heard),
        }
    }

    const fn len(&self) -> usize {
        self.at_most.len() + self.at_least.len() + self.about.len()
    }

    /// How far the second clock is ahead at this time of it.
    fn ahead(&self, at: Nanos) -> Nanos {
        let away = |sample: &&Sample| (sample.at - at).abs();
        // What is far away may have drifted since, and what is near may have been delayed.
        let most = self
            .at_most
            .iter()
            .min_by_key(|sample| sample.ahead + away(sample) * DRIFT / 1_000_000);
        let least = self
            .at_least
            .iter()
            .max_by_key(|sample| sample.ahead - away(sample) * DRIFT / 1_000_000);
        if let Some(sample) = most.into_iter().chain(least).min_by_key(away) {
            return sample.ahead;
        }
        let mut about: Vec<&Sample> = self.about.iter().collect();
        about.sort_by_key(away);
        let mut near: Vec<Nanos> = about
            .iter()
            .take(NEAREST)
            .map(|sample| sample.ahead)
            .collect();
        near.sort_unstable();
        near.get(near.len() / 2).copied().unwrap_or(0)
    }
}
