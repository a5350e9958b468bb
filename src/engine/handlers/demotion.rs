//! What a node's demotion is made of, when each part ends, and how an operator ends it.

use std::fmt;

use crate::engine::environment::Environment;
use crate::engine::report::DemotionStatus;
use crate::engine::report::millis;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::node::{Asked, Node};
use crate::engine::vhost::timer::Timer;
use crate::proto::Input;
use crate::types::{Demotion, Name, Timestamp};

/// How one part of it ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    At(Timestamp),
    When(&'static str),
}

impl<H> Node<H> {
    /// Every part of its demotion. The sum may exceed the maximum that can be advertised.
    pub(in crate::engine) fn demotions(&self, now: Timestamp) -> Vec<DemotionStatus> {
        let mut parts = Vec::new();
        let mut part = |by: Demotion, cause: String, ends: Ends| {
            let (ends, ends_in_ms) = match ends {
                Ends::At(at) => (String::new(), Some(millis(at.since(now)))),
                Ends::When(what) => (what.to_owned(), None),
            };
            parts.push(DemotionStatus {
                by: by.get(),
                cause,
                ends,
                ends_in_ms,
            });
        };
        for (family, fades) in self.machine.send_demotions() {
            let ends = fades.map_or(
                Ends::When("when three packets in a row could be sent"),
                Ends::At,
            );
            part(Demotion::MAX, format!("could not send over {family}"), ends);
        }
        let own = self.machine.own_demotion();
        if self.machine.demotion() > own {
            part(
                self.machine.demotion(),
                "another member of its group".to_owned(),
                Ends::When("when that member is no longer demoted"),
            );
        }
        if let Some((_, order)) = &self.upkeep.maintenance {
            let cause = with_reason("maintenance", &order.reason);
            let ends = Ends::When("with `carpd maintenance off`");
            part(
                order.by,
                cause,
                order.ends.map_or(ends, |ends| Ends::At(ends.at)),
            );
        }
        for (_, order) in &self.upkeep.demotions {
            let cause = with_reason("an operator", &order.reason);
            let ends = Ends::When("with `carpd promote`");
            part(
                order.by,
                cause,
                order.ends.map_or(ends, |ends| Ends::At(ends.at)),
            );
        }
        if let Some(resigned) = &self.resigned {
            part(
                Demotion::MAX,
                format!("resigned: {}", resigned.reason),
                Ends::At(resigned.until),
            );
        }
        if let Some(refused_addresses) = self
            .refused_addresses
            .as_ref()
            .filter(|refused_addresses| refused_addresses.is_unfit())
        {
            let ends = refused_addresses
                .fades_at
                .map_or(Ends::When("when it can hold all its addresses"), Ends::At);
            part(
                Demotion::MAX,
                format!(
                    "cannot hold all its addresses: {}",
                    refused_addresses.reason
                ),
                ends,
            );
        }
        if let Some(degraded) = self
            .degraded
            .as_ref()
            .filter(|degraded| degraded.is_unfit())
        {
            let ends = Ends::When("when the hook succeeds or is replaced");
            part(Demotion::MAX, format!("failed: {}", degraded.reason), ends);
        }
        if self.asked.by > Demotion::NONE {
            part(
                self.asked.by,
                self.asked.reason.clone(),
                Ends::When("when the hook says so"),
            );
        }
        for health in self
            .checks
            .status()
            .into_iter()
            .filter(|health| health.demotion > 0)
        {
            let cause = format!("health of hook {}: {}", health.hook, health.reason);
            part(
                Demotion::new(health.demotion),
                cause,
                Ends::When("when it is healthy again"),
            );
        }
        for burden in &self.burdens {
            let by = burden.demotion();
            if by > Demotion::NONE {
                let cause = format!("track {}: {}", burden.track, burden.reason);
                part(by, cause, Ends::When("when the track is up again"));
            }
        }
        parts
    }
}

fn with_reason(what: &str, reason: &str) -> String {
    if reason.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {reason}")
    }
}

impl fmt::Display for DemotionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; ends ", self.by, self.cause)?;
        match self.ends_in_ms {
            Some(ms) => write!(f, "in {} s", ms.div_ceil(1000)),
            None => f.write_str(&self.ends),
        }
    }
}

/// What an operator is told of a virtual host's demotion after an order to end it.
pub(super) fn what_changed(
    name: &Name,
    before: &[DemotionStatus],
    left: &[DemotionStatus],
) -> Vec<String> {
    let mut lines = Vec::new();
    for part in before.iter().filter(|part| !left.contains(part)) {
        let DemotionStatus { by, cause, .. } = part;
        lines.push(format!("{name}: no longer demoted by {by}: {cause}"));
    }
    lines.extend(
        left.iter()
            .map(|part| format!("{name}: still demoted by {part}")),
    );
    if lines.is_empty() {
        lines.push(format!("{name}: not demoted"));
    }
    lines
}

impl<E: Environment> Engine<E> {
    /// What an operator forgives ends.
    pub(super) fn forgive_node(&mut self, index: VhostId, now: Timestamp) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.resigned = None;
        node.asked = Asked::default();
        let is_master = node.is_master();
        match &mut node.refused_addresses {
            // It retries at once to hold what it cannot hold; only success ends this part.
            Some(refused_addresses) if is_master => {
                refused_addresses.retry_at = refused_addresses.retry_at.map(|_| now);
            }
            refused_addresses => *refused_addresses = None,
        }
        self.handle(index, Input::ForgiveSends, now);
        self.forgive_hooks(index, now);
        self.demote(index, now);
        self.fire(index, Timer::AddressRetry, now);
    }

    /// The virtual host of this name.
    pub(in crate::engine) fn named(&self, name: &Name) -> Result<VhostId, String> {
        if let Some((index, _)) = self.nodes.iter().find(|(_, node)| node.spec.name == *name) {
            return Ok(index);
        }
        let known: Vec<&str> = self
            .nodes
            .values()
            .map(|node| node.spec.name.as_str())
            .collect();
        Err(format!(
            "there is no virtual host {name}; there are: {}",
            known.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sim::bench::{Frames, engine, link, play, step};
    use crate::engine::vhost::node::Gate;
    use crate::engine::vhost::refused_addresses::RefusedAddresses;
    use crate::host::SimHost;
    use crate::host::clock;

    /// Its addresses wait for `before_master`, even if an operator ends the demotion meanwhile.
    #[test]
    fn forgiving_puts_no_address_up_before_its_time() {
        play(async |clock| {
            let host = SimHost::new().with_link(link());
            let mut engine = engine(host, &Frames::default(), "").await;
            while !engine.first().is_master() {
                step(&mut engine, &clock);
            }
            let now = clock::now();
            engine.drop_addresses(VhostId::FIRST, now);
            let node = engine.first_mut();
            node.gate = Gate::Shut;
            node.refused_addresses = Some(RefusedAddresses::new(String::new()));
            engine.forgive_node(VhostId::FIRST, now);
            let node = engine.first_mut();
            assert!(!node.holding, "nothing was to be tried yet");
            node.refused_addresses.as_mut().unwrap().retry_at = Some(now);
            engine.forgive_node(VhostId::FIRST, now);
            assert!(engine.first().holding);
        });
    }
}
