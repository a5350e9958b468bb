//! Writing the timeline down while it happens.

use super::{
    Happening, Lane, Mark, MarkKind, NodeLine, Outage, Served, Shown, Span, StateSpan, Timeline,
    VhostLine,
};
use crate::effect::{Effect, Outcome};
use crate::host::sim::Deed;
use crate::types::Timestamp;

/// The most marks of one node; further ones are only counted.
const MARKS_MAX: usize = 20_000;

/// The timeline so far.
#[derive(Debug)]
pub(super) struct Record {
    timeline: Timeline,
    start: Timestamp,
    dropped: usize,
    seq: u64,
    /// Who serves each virtual host, as noted last.
    holders: Vec<Option<Vec<usize>>>,
}

impl Record {
    pub(super) fn new(seed: u64, start: Timestamp) -> Self {
        let timeline = Timeline {
            seed,
            end_us: 0,
            events: vec![],
            nodes: vec![],
            vhosts: vec![],
            notes: vec![],
        };
        Self {
            timeline,
            start,
            dropped: 0,
            seq: 0,
            holders: Vec::new(),
        }
    }

    const fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    fn us(&self, at: Timestamp) -> u64 {
        u64::try_from(at.since(self.start).as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn add_node(&mut self, name: &str, vhosts: impl Iterator<Item = String>) {
        let lanes = vhosts
            .map(|vhost| Lane {
                vhost,
                states: Vec::new(),
            })
            .collect();
        self.timeline.nodes.push(NodeLine {
            name: name.to_owned(),
            lanes,
            marks: Vec::new(),
        });
    }

    pub(super) fn add_vhost(&mut self, name: &str, addresses: Vec<String>) {
        let line = VhostLine {
            name: name.to_owned(),
            addresses,
            served: vec![],
            outages: vec![],
            contested: vec![],
        };
        self.timeline.vhosts.push(line);
        self.holders.push(None);
    }

    pub(super) fn note(&mut self, text: String) {
        if !self.timeline.notes.contains(&text) {
            self.timeline.notes.push(text);
        }
    }

    pub(super) fn happened(&mut self, at: Timestamp, text: String) {
        let (at_us, seq) = (self.us(at), self.next_seq());
        self.timeline.events.push(Happening { seq, at_us, text });
    }

    /// Sets what a lane shows; does nothing if it is the same.
    pub(super) fn state(
        &mut self,
        at: Timestamp,
        node: usize,
        lane: usize,
        state: Shown,
        why: impl FnOnce() -> String,
    ) {
        let (at, seq) = (self.us(at), self.next_seq());
        let lane = self
            .timeline
            .nodes
            .get_mut(node)
            .and_then(|node| node.lanes.get_mut(lane));
        let Some(states) = lane.map(|lane| &mut lane.states) else {
            return;
        };
        match states.last_mut() {
            Some(last) if last.state == state => return,
            Some(last) => last.to_us = at,
            None => {}
        }
        states.push(StateSpan {
            seq,
            from_us: at,
            to_us: at,
            state,
            why: why(),
        });
    }

    pub(super) fn mark(
        &mut self,
        at: Timestamp,
        node: usize,
        kind: MarkKind,
        text: String,
        good: bool,
        effect: Option<String>,
    ) {
        let (at_us, seq) = (self.us(at), self.next_seq());
        let Some(node) = self.timeline.nodes.get_mut(node) else {
            return;
        };
        if node.marks.len() >= MARKS_MAX {
            self.dropped += 1;
        } else {
            node.marks.push(Mark {
                seq,
                at_us,
                kind,
                text,
                good,
                effect,
            });
        }
    }

    /// Records what a host did, except for what changed nothing.
    pub(super) fn deed(&mut self, node: usize, deed: &Deed) {
        let kind = match (&deed.effect, deed.at_once) {
            (Effect::Announce { .. }, _) => MarkKind::Announce,
            (_, true) => MarkKind::Address,
            (_, false) => MarkKind::Effect,
        };
        if deed.outcome != Ok(Outcome::Unchanged) {
            let good = deed.outcome.is_ok();
            let effect = Some(deed.effect.to_string());
            self.mark(deed.at, node, kind, deed.to_string(), good, effect);
        }
    }

    /// These nodes hold a virtual host's addresses and can be reached; nothing if they did already.
    pub(super) fn served(&mut self, at: Timestamp, vhost: usize, holders: Vec<usize>) {
        let at = self.us(at);
        let Some(known) = self
            .holders
            .get_mut(vhost)
            .filter(|known| known.as_ref() != Some(&holders))
        else {
            return;
        };
        let names: Vec<String> = self
            .timeline
            .nodes
            .iter()
            .map(|node| node.name.clone())
            .collect();
        let Some(line) = self.timeline.vhosts.get_mut(vhost) else {
            return;
        };
        // Current spans end here, and start again here if they continue: adjacent spans are joined.
        for holder in holders.iter().filter_map(|holder| names.get(*holder)) {
            match line
                .served
                .iter_mut()
                .rev()
                .find(|served| served.node == *holder)
            {
                Some(last) if last.to_us == u64::MAX => {}
                _ => line.served.push(Served {
                    node: holder.clone(),
                    from_us: at,
                    to_us: u64::MAX,
                }),
            }
        }
        for open in line
            .served
            .iter_mut()
            .filter(|served| served.to_us == u64::MAX)
        {
            if !holders
                .iter()
                .filter_map(|holder| names.get(*holder))
                .any(|name| *name == open.node)
            {
                open.to_us = at;
            }
        }
        let initial = line.served.is_empty();
        match (
            holders.len(),
            line.outages
                .last_mut()
                .filter(|outage| outage.to_us == u64::MAX),
        ) {
            (0, None) => line.outages.push(Outage {
                from_us: at,
                to_us: u64::MAX,
                initial,
            }),
            (1.., Some(outage)) => outage.to_us = at,
            _ => {}
        }
        match (
            holders.len(),
            line.contested
                .last_mut()
                .filter(|span| span.to_us == u64::MAX),
        ) {
            (2.., None) => line.contested.push(Span {
                from_us: at,
                to_us: u64::MAX,
            }),
            (0 | 1, Some(span)) => span.to_us = at,
            _ => {}
        }
        *known = Some(holders);
    }

    /// It is over.
    pub(super) fn finish(mut self, end: Timestamp) -> Timeline {
        let end_us = self.us(end);
        if self.dropped > 0 {
            self.timeline
                .notes
                .push(format!("{} more effects are not shown", self.dropped));
        }
        for lane in self
            .timeline
            .nodes
            .iter_mut()
            .flat_map(|node| &mut node.lanes)
        {
            if let Some(last) = lane.states.last_mut() {
                last.to_us = end_us;
            }
        }
        for line in &mut self.timeline.vhosts {
            line.served
                .iter_mut()
                .for_each(|span| span.to_us = span.to_us.min(end_us));
            line.outages
                .iter_mut()
                .for_each(|span| span.to_us = span.to_us.min(end_us));
            line.contested
                .iter_mut()
                .for_each(|span| span.to_us = span.to_us.min(end_us));
            // A handover without a gap is not an outage.
            line.served.retain(|span| span.to_us > span.from_us);
            line.outages.retain(|span| span.to_us > span.from_us);
            line.contested.retain(|span| span.to_us > span.from_us);
        }
        Timeline {
            end_us,
            ..self.timeline
        }
    }
}
