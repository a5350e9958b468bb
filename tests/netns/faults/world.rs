//! What has been done to the nodes, and what they may do then.

use std::fmt;

use carpd::lab::Fault;

/// What became of a node's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Runs,
    Frozen,
    /// All were killed.
    Dead,
}

/// What became of the file system with its ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    Good,
    Full,
    ReadOnly,
}

/// A node and what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) life: Life,
    pub(super) link: Option<Fault>,
    pub(super) disk: Disk,
    /// Its hook fails as master.
    pub(super) spoiled: bool,
}

impl Node {
    pub(super) const WELL: Self = Self {
        life: Life::Runs,
        link: None,
        disk: Disk::Good,
        spoiled: false,
    };

    /// Does it speak CARP?
    pub(super) fn takes_part(self) -> bool {
        self.life == Life::Runs && self.link != Some(Fault::Unplugged)
    }

    /// Do requests of others reach it, and its answers them?
    pub(super) fn reachable(self) -> bool {
        matches!(self.link, None | Some(Fault::Isolated))
    }

    /// Is some fault of it still there?
    pub(super) fn ill(self) -> bool {
        self != Self::WELL
    }

    /// May its hook fail?
    pub(super) fn hook_may_fail(self) -> bool {
        self.spoiled || self.disk != Disk::Good
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.life)?;
        if let Some(fault) = self.link {
            write!(f, ", {fault:?}")?;
        }
        if self.disk != Disk::Good {
            write!(f, ", disk {:?}", self.disk)?;
        }
        if self.spoiled {
            f.write_str(", hook fails")?;
        }
        Ok(())
    }
}

/// How one node hears another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hears {
    Yes,
    /// Some of what it says.
    Some,
    No,
}

/// All nodes.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    /// Addresses go by themselves.
    pub(super) leased: bool,
}

impl World {
    /// Does `listener` hear what `speaker` advertises?
    pub(super) fn hears(&self, listener: usize, speaker: usize) -> Hears {
        let (to, from) = (self.nodes[listener].link, self.nodes[speaker].link);
        let nothing_in = matches!(to, Some(Fault::Unplugged | Fault::Silent | Fault::Deaf));
        let nothing_out = matches!(from, Some(Fault::Unplugged | Fault::Silent | Fault::Mute));
        let apart = to == Some(Fault::Isolated) && from == Some(Fault::Isolated);
        if nothing_in || nothing_out || apart {
            Hears::No
        } else if [to, from]
            .iter()
            .any(|link| matches!(link, Some(Fault::Lossy(_))))
        {
            Hears::Some
        } else {
            Hears::Yes
        }
    }

    /// Do both always hear each other?
    pub(super) fn one_group(&self, a: usize, b: usize) -> bool {
        self.hears(a, b) == Hears::Yes && self.hears(b, a) == Hears::Yes
    }

    /// Is there a reason why two may answer at one time, for longer than a handover takes?
    pub(super) fn may_be_two(&self) -> bool {
        let kept = |node: &Node| node.life != Life::Runs && !self.leased;
        let numbers = 0..self.nodes.len();
        let apart = |a: usize| {
            numbers
                .clone()
                .any(|b| a != b && self.hears(a, b) != Hears::Yes)
        };
        numbers.clone().any(apart) || self.nodes.iter().any(kept)
    }

    /// May these be the ones that hold the address, once all have had the time to notice what was
    /// done to them? What is wrong if not.
    pub(super) fn judge(&self, holds: &[bool]) -> Result<(), String> {
        let numbers = || 0..self.nodes.len();
        for a in numbers() {
            let node = self.nodes[a];
            if holds[a] && !node.takes_part() && (node.life == Life::Runs || self.leased) {
                return Err(format!(
                    "{} holds the address and takes no part ({node})",
                    name(a)
                ));
            }
            for b in numbers().filter(|b| *b > a && holds[a] && holds[*b]) {
                if self.nodes[a].takes_part() && self.nodes[b].takes_part() && self.one_group(a, b)
                {
                    return Err(format!(
                        "{} and {} hold the address, and hear each other",
                        name(a),
                        name(b)
                    ));
                }
            }
            let served =
                |b: usize| holds[b] && self.nodes[b].takes_part() && self.hears(a, b) != Hears::No;
            if node.takes_part() && !holds[a] && !numbers().any(|b| b != a && served(b)) {
                return Err(format!(
                    "{} does not hold the address, and hears nobody who does",
                    name(a)
                ));
            }
        }
        Ok(())
    }
}

/// The lab's name for a node.
pub(super) const fn name(node: usize) -> &'static str {
    match node {
        0 => "a",
        1 => "b",
        _ => "c",
    }
}

/// The rules themselves.
#[expect(clippy::unnecessary_wraps, reason = "it is a case")]
pub(super) fn rules() -> crate::Outcome {
    let world = |links: &[Option<Fault>], leased| World {
        nodes: links
            .iter()
            .map(|link| Node {
                link: *link,
                ..Node::WELL
            })
            .collect(),
        leased,
    };
    let whole = world(&[None, None], true);
    assert!(whole.judge(&[true, false]).is_ok() && whole.judge(&[false, true]).is_ok());
    assert!(whole.judge(&[true, true]).is_err() && whole.judge(&[false, false]).is_err());
    assert!(!whole.may_be_two());

    let apart = world(&[Some(Fault::Isolated), Some(Fault::Isolated), None], true);
    assert!(apart.judge(&[true, true, false]).is_ok());
    assert!(
        apart.judge(&[true, false, false]).is_err(),
        "b hears nobody"
    );
    assert!(apart.judge(&[false, false, true]).is_ok(), "c hears both");
    assert!(
        apart.judge(&[true, false, true]).is_err(),
        "a and c hear each other"
    );
    assert!(apart.may_be_two());

    let one_way = world(&[Some(Fault::Mute), None], true);
    assert!(one_way.judge(&[true, true]).is_ok() && one_way.judge(&[false, true]).is_ok());
    assert!(one_way.judge(&[true, false]).is_err(), "b hears nobody");

    let mut frozen = whole.clone();
    frozen.nodes[0].life = Life::Frozen;
    assert!(frozen.judge(&[true, true]).is_err(), "its lease is over");
    assert!(frozen.judge(&[false, true]).is_ok() && frozen.judge(&[false, false]).is_err());
    frozen.leased = false;
    assert!(frozen.judge(&[true, true]).is_ok() && frozen.may_be_two());
    assert!(
        frozen.judge(&[true, false]).is_err(),
        "b hears nobody, whatever a frozen host answers"
    );

    let unplugged = world(&[Some(Fault::Unplugged), None], false);
    assert!(unplugged.judge(&[true, true]).is_err() && unplugged.judge(&[false, true]).is_ok());
    assert!(
        world(&[Some(Fault::Lossy(10)), None], true)
            .judge(&[true, true])
            .is_ok(),
        "they do not always hear each other"
    );
    Ok(())
}
