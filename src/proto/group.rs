//! Groups: virtual hosts of one node that are master together or not at all (docs/protocol.md,
//! section 15).
//!
//! [`decide`] looks at all members and says what they must do. It keeps nothing: everything it
//! needs is in the members. Whoever drives them asks after each input of a member, feeds the
//! orders, and asks again until there are none.
//!
//! 1. What keeps one from taking part keeps all from it.
//! 2. When one has ceased to be master, the others follow at once.
//! 3. Only when none is master any more, bow-outs are sent.
//! 4. All take part when all can.
//! 5. Between equal masters the members decide in turn, beginning with the first.
//! 6. All become master when each has a reason for it.
//! 7. All advertise what the worst of them must advertise.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::transition::Cause;
use crate::types::{Demotion, Name, State, Timestamp};

/// The time for advertisements to arrive that are sent at once on several networks.
const MARGIN: Duration = Duration::from_millis(20);

/// What makes a member worse than its configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Burden {
    /// Its demotion.
    pub demotion: Demotion,
    /// It has no address of its own.
    pub nameless: bool,
}

impl Burden {
    /// The worst of both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            demotion: self.demotion.max(other.demotion),
            nameless: self.nameless || other.nameless,
        }
    }
}

/// A member would become master if it were alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Why.
    pub cause: Cause,
    /// The peer whose advertisement led to it.
    pub peer: Option<IpAddr>,
    /// The mark of the group whose bow-out was heard, or 0.
    pub left: u8,
    /// The earliest takeover that the pace allows.
    pub not_before: Timestamp,
    /// Whether its gate must agree.
    pub permission: Permission,
}

/// Whether `before_master` allows a preemption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// It is not asked.
    NotNeeded,
    /// It is to be asked when the group is ready.
    Needed,
    /// It was asked.
    Asked,
    /// It agreed.
    Given,
}

/// A member that is master hears an equal one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tie {
    /// Since when it has been heard.
    pub since: Timestamp,
    /// When it was heard last.
    pub at: Timestamp,
    /// The time between two of our advertisements, and of its.
    pub interval: Duration,
    /// Whether the tie-break of this member decides for the other node.
    pub loses: bool,
    /// The other node.
    pub peer: IpAddr,
    /// The mark of its group, or 0.
    pub tag: u8,
    /// Whether that advertisement has been judged.
    pub judged: bool,
}

/// What a group must know of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its state.
    pub state: State,
    /// Whether nothing of its own keeps it from taking part.
    pub fit: bool,
    /// What does. If it is unfit without a fault, it only waits.
    pub fault: Option<Cause>,
    /// Why it would become master.
    pub ready: Option<Ready>,
    /// Why it ceased to be master, if that was its last change of state.
    pub lost: Option<Cause>,
    /// When its bow-out is due.
    pub owes: Option<Timestamp>,
    /// An equal master is heard.
    pub tie: Option<Tie>,
    /// The master that was heard within a master-down time, and the mark of its group.
    pub led_by: Option<(IpAddr, u8)>,
    /// It follows no bow-outs at present.
    pub declines: bool,
    /// When it may become master as far as its pace is concerned.
    pub free: Timestamp,
    /// Its own burden.
    pub own: Burden,
    /// The burden that it was told of.
    pub others: Burden,
}

/// What a member must do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Take part.
    Join,
    /// Do not take part.
    Part {
        /// What is wrong with which member.
        why: String,
    },
    /// Cease to be master.
    StepDown {
        /// What happened to which member.
        why: String,
        /// Another node is master there, and may be here.
        served: bool,
        /// Whether a bow-out is owed.
        bows_out: bool,
    },
    /// Cease to be master in favour of the equal one.
    Yield,
    /// Stay in spite of the advertisement of an equal master.
    Stand,
    /// Send the bow-out.
    BowOut,
    /// Ask `before_master` whether it may preempt.
    Ask,
    /// Become master.
    Claim {
        /// Why.
        cause: Cause,
        /// The peer whose advertisement led to it.
        peer: Option<IpAddr>,
    },
    /// Advertise no less than this.
    Bear(Burden),
}

/// A member with its name.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Its name, for messages.
    pub name: &'a Name,
    /// What it told.
    pub standing: Standing,
}

/// What the members of a group, in its order, must do now; each order with the number of the
/// member. Orders are to be carried out in this order, and then the question is to be asked again
/// until there are none.
#[must_use]
pub fn decide(members: &[Member<'_>], now: Timestamp) -> Vec<(usize, Order)> {
    let rules = [part, step_down, bow_out, join, settle_ties, claim, bear];
    rules
        .into_iter()
        .map(|rule| rule(members, now))
        .find(|orders| !orders.is_empty())
        .unwrap_or_default()
}

/// Why a group is not whole: the first member that has a fault, or waits.
#[must_use]
pub fn flaw(members: &[Member<'_>]) -> Option<String> {
    let broken = members
        .iter()
        .find_map(|member| fault(member).or_else(|| waits(member)));
    broken.filter(|_| members.len() > 1)
}

fn fault(Member { name, standing }: &Member<'_>) -> Option<String> {
    let cause = standing.fault.as_ref().filter(|_| !standing.fit)?;
    Some(format!("{name}: {cause}"))
}

fn waits(Member { name, standing }: &Member<'_>) -> Option<String> {
    (!standing.fit).then(|| format!("{name}: not ready to take part yet"))
}

/// The numbers of those of which this is true.
fn numbers<'a>(
    members: &'a [Member<'a>],
    which: impl Fn(&Standing) -> bool + 'a,
) -> impl Iterator<Item = usize> + 'a {
    let numbered = (0..).zip(members);
    numbered
        .filter(move |(_, member)| which(&member.standing))
        .map(|(number, _)| number)
}

fn some(members: &[Member<'_>], state: State) -> bool {
    numbers(members, |it| it.state == state).next().is_some()
}

fn part(members: &[Member<'_>], _: Timestamp) -> Vec<(usize, Order)> {
    let Some(why) = members.iter().find_map(fault) else {
        return Vec::new();
    };
    numbers(members, |it| it.state != State::Init)
        .map(|number| (number, Order::Part { why: why.clone() }))
        .collect()
}

/// A member that never was master, as after a reload, may still become it. If it hears another
/// master, the group is not master.
fn step_down(members: &[Member<'_>], _: Timestamp) -> Vec<(usize, Order)> {
    let not_master = |member: &&Member<'_>| member.standing.state != State::Master;
    let lost = members.iter().filter(not_master).find_map(|member| {
        let Member { name, standing } = member;
        if let Some(cause) = &standing.lost {
            let served = matches!(cause, Cause::BetterMaster | Cause::Tie);
            let late = matches!(cause, Cause::Late { .. });
            return Some((format!("{name}: {cause}"), served, !late));
        }
        let (peer, _) = standing.led_by.filter(|_| standing.ready.is_none())?;
        Some((format!("{name}: {peer} is master"), true, true))
    });
    let Some((why, served, bows_out)) = lost else {
        return Vec::new();
    };
    let order = |number| {
        let why = why.clone();
        (
            number,
            Order::StepDown {
                why,
                served,
                bows_out,
            },
        )
    };
    numbers(members, |it| it.state == State::Master)
        .map(order)
        .collect()
}

fn bow_out(members: &[Member<'_>], now: Timestamp) -> Vec<(usize, Order)> {
    if some(members, State::Master) {
        return Vec::new();
    }
    numbers(members, |it| it.owes.is_some_and(|due| due <= now))
        .map(|number| (number, Order::BowOut))
        .collect()
}

fn join(members: &[Member<'_>], _: Timestamp) -> Vec<(usize, Order)> {
    if !members.iter().all(|member| member.standing.fit) {
        return Vec::new();
    }
    numbers(members, |it| it.state == State::Init)
        .map(|number| (number, Order::Join))
        .collect()
}

/// The members take turns, each for a little more than two advertisements, beginning with the first
/// as soon as an equal master is heard anywhere. Whose turn it is decides if it hears that master;
/// if it does not, or if the other node goes on because it does not hear us there, the next one's
/// turn comes. Both nodes begin within one advertisement of each other, so the one that loses has
/// yielded before the other's next turn begins.
fn settle_ties(members: &[Member<'_>], now: Timestamp) -> Vec<(usize, Order)> {
    let ties: Vec<(usize, Tie)> = (0..)
        .zip(members)
        .filter(|(_, member)| member.standing.state == State::Master)
        .filter_map(|(number, member)| Some((number, member.standing.tie?)))
        .filter(|(_, tie)| now - tie.at <= tie.interval + MARGIN)
        .collect();
    let Some(since) = ties.iter().map(|(_, tie)| tie.since).min() else {
        return Vec::new();
    };
    let order = |(number, tie): &(usize, Tie)| {
        let turn = (tie.interval * 2 + MARGIN * 2).as_micros().max(1);
        let turns = (tie.at - since).as_micros() / turn;
        let decides = usize::try_from(turns).is_ok_and(|turns| turns % members.len() == *number);
        let order = if decides && tie.loses {
            Order::Yield
        } else {
            Order::Stand
        };
        (*number, order)
    };
    let open = ties.iter().filter(|(_, tie)| !tie.judged);
    open.map(order).take(1).collect()
}

/// Why a member may become master now: its own reason, or that its master left as part of a group.
fn reason(
    standing: &Standing,
    left: Option<u8>,
    now: Timestamp,
) -> Option<(Cause, Option<IpAddr>)> {
    if let Some(ready) = &standing.ready {
        return (ready.not_before <= now).then(|| (ready.cause.clone(), ready.peer));
    }
    let (peer, tag) = standing.led_by?;
    let same = left == Some(tag) && tag != 0 && !standing.declines && standing.free <= now;
    same.then_some((Cause::MasterLeaving, Some(peer)))
}

fn claim(members: &[Member<'_>], now: Timestamp) -> Vec<(usize, Order)> {
    if some(members, State::Init) {
        return Vec::new();
    }
    let ready = || {
        members
            .iter()
            .filter_map(|member| member.standing.ready.as_ref())
    };
    let left = ready().map(|ready| ready.left).find(|left| *left != 0);
    let backups: Vec<usize> = numbers(members, |it| it.state == State::Backup).collect();
    let reasons: Option<Vec<_>> = members
        .iter()
        .filter(|member| member.standing.state == State::Backup)
        .map(|member| reason(&member.standing, left, now))
        .collect();
    let Some(reasons) = reasons else {
        return Vec::new();
    };
    let asks = |permission: Permission| {
        numbers(members, move |it| {
            let ready = it.ready.as_ref().filter(|_| it.state == State::Backup);
            ready.is_some_and(|ready| ready.permission == permission)
        })
    };
    let questions: Vec<_> = asks(Permission::Needed)
        .map(|number| (number, Order::Ask))
        .collect();
    if !questions.is_empty() || asks(Permission::Asked).next().is_some() {
        return questions;
    }
    let claim = |(number, (cause, peer))| (number, Order::Claim { cause, peer });
    backups.into_iter().zip(reasons).map(claim).collect()
}

fn bear(members: &[Member<'_>], _: Timestamp) -> Vec<(usize, Order)> {
    let worst = members.iter().fold(Burden::default(), |worst, member| {
        worst.max(member.standing.own)
    });
    numbers(members, move |it| it.fit && it.others != worst)
        .map(|number| (number, Order::Bear(worst)))
        .collect()
}

#[cfg(test)]
mod tests;
