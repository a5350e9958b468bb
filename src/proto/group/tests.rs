use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(10_000_000);
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));

/// A member that takes part and knows of nothing.
fn member(state: State) -> Standing {
    Standing {
        state,
        fit: true,
        fault: None,
        ready: None,
        lost: None,
        owes: None,
        tie: None,
        led_by: None,
        declines: false,
        free: NOW,
        own: Burden::default(),
        others: Burden::default(),
    }
}

fn unfit(cause: Cause) -> Standing {
    Standing {
        fit: false,
        fault: Some(cause),
        ..member(State::Init)
    }
}

fn ready(cause: Cause, left: u8) -> Standing {
    Standing {
        ready: Some(Ready {
            cause,
            peer: Some(PEER),
            left,
            not_before: NOW,
            permission: Permission::NotNeeded,
        }),
        ..member(State::Backup)
    }
}

fn silent() -> Standing {
    let silent = Duration::from_secs(3);
    ready(Cause::MasterDown { silent }, 0)
}

fn led(tag: u8) -> Standing {
    Standing {
        led_by: Some((PEER, tag)),
        ..member(State::Backup)
    }
}

/// An equal master is heard since so long ago.
fn tied(loses: bool, ago_ms: u64) -> Standing {
    let since = NOW
        .since(Timestamp::ZERO)
        .saturating_sub(Duration::from_millis(ago_ms));
    Standing {
        tie: Some(Tie {
            since: Timestamp::ZERO + since,
            at: NOW,
            interval: Duration::from_secs(1),
            loses,
            peer: PEER,
            tag: 7,
            judged: false,
        }),
        ..member(State::Master)
    }
}

/// What is decided, in short.
fn orders(standings: &[Standing]) -> String {
    let names: Vec<Name> = (0..standings.len())
        .map(|number| format!("m{number}").parse().unwrap())
        .collect();
    let members: Vec<_> = names
        .iter()
        .zip(standings)
        .map(|(name, standing)| Member {
            name,
            standing: standing.clone(),
        })
        .collect();
    let short = |(number, order): &(usize, Order)| {
        let what = match order {
            Order::Join => "join".to_owned(),
            Order::Part { why } => format!("part ({why})"),
            Order::StepDown {
                served, bows_out, ..
            } => format!(
                "down{}{}",
                if *served { ", served" } else { "" },
                if *bows_out { "" } else { ", silently" }
            ),
            Order::Yield => "yield".to_owned(),
            Order::Stand => "stand".to_owned(),
            Order::BowOut => "bow out".to_owned(),
            Order::Ask => "ask".to_owned(),
            Order::Claim { cause, .. } => format!("claim ({})", cause.as_str()),
            Order::Bear(burden) => format!("bear {}", burden.demotion.get()),
        };
        format!("{number} {what}")
    };
    let all: Vec<_> = decide(&members, NOW).iter().map(short).collect();
    all.join("; ")
}

#[test]
fn what_keeps_one_from_taking_part_keeps_all() {
    let (master, backup) = (member(State::Master), member(State::Backup));
    let down = unfit(Cause::LinkDown);
    assert_eq!(
        orders(&[master.clone(), down.clone(), master]),
        "0 part (m1: the link is down); 2 part (m1: the link is down)"
    );
    assert_eq!(orders(&[down, backup]), "1 part (m0: the link is down)");
    let waits = Standing {
        fit: false,
        ..member(State::Init)
    };
    let init = member(State::Init);
    assert_eq!(orders(&[init.clone(), waits.clone()]), "");
    assert_eq!(orders(&[init.clone(), init]), "0 join; 1 join");
    // One that a reload has added is waited for by a master.
    assert_eq!(orders(&[member(State::Master), waits]), "");
}

#[test]
fn what_one_loses_all_lose_before_anybody_bows_out() {
    let lost = |cause| Standing {
        lost: Some(cause),
        owes: Some(NOW),
        ..member(State::Backup)
    };
    let master = || member(State::Master);
    let late = Cause::Late { by: Duration::ZERO };
    assert_eq!(
        orders(&[lost(Cause::Shutdown), master(), master()]),
        "1 down; 2 down"
    );
    assert_eq!(
        orders(&[master(), lost(Cause::BetterMaster)]),
        "0 down, served"
    );
    assert_eq!(orders(&[master(), lost(late)]), "0 down, silently");
    assert_eq!(
        orders(&[lost(Cause::Shutdown), lost(Cause::Shutdown)]),
        "0 bow out; 1 bow out"
    );
    let later = Standing {
        owes: Some(NOW + Duration::from_millis(1)),
        ..member(State::Backup)
    };
    assert_eq!(orders(&[later, member(State::Backup)]), "");
}

#[test]
fn all_claim_or_none() {
    let preempt = || ready(Cause::Preempt, 0);
    assert_eq!(orders(&[silent(), member(State::Backup)]), "");
    assert_eq!(orders(&[silent(), led(0)]), "");
    assert_eq!(
        orders(&[silent(), preempt()]),
        "0 claim (master-down); 1 claim (preempt)"
    );
    let slow = Standing {
        ready: silent().ready.map(|ready| Ready {
            not_before: NOW + Duration::from_secs(1),
            ..ready
        }),
        ..silent()
    };
    assert_eq!(orders(&[slow, preempt()]), "");
    assert_eq!(orders(&[silent(), member(State::Init)]), "1 join");
}

#[test]
fn a_group_that_leaves_is_followed_where_it_was_master() {
    let left = |tag| ready(Cause::MasterLeaving, tag);
    assert_eq!(
        orders(&[led(7), left(7)]),
        "0 claim (master-leaving); 1 claim (master-leaving)"
    );
    assert_eq!(
        orders(&[led(8), left(7)]),
        "",
        "somebody else is master there"
    );
    assert_eq!(orders(&[led(0), left(0)]), "", "no group left");
    assert_eq!(
        orders(&[member(State::Backup), left(7)]),
        "",
        "who is it there?"
    );
    let declines = Standing {
        declines: true,
        ..led(7)
    };
    assert_eq!(orders(&[declines, left(7)]), "");
}

#[test]
fn every_gate_must_agree() {
    let gated = |permission| Standing {
        ready: ready(Cause::Preempt, 0).ready.map(|ready| Ready {
            permission,
            ..ready
        }),
        ..member(State::Backup)
    };
    let (needed, asked, given) = (
        gated(Permission::Needed),
        gated(Permission::Asked),
        gated(Permission::Given),
    );
    assert_eq!(orders(&[needed.clone(), led(0)]), "", "not ready");
    assert_eq!(orders(&[needed.clone(), silent(), needed]), "0 ask; 2 ask");
    assert_eq!(orders(&[asked, given.clone()]), "");
    assert_eq!(
        orders(&[given, silent()]),
        "0 claim (preempt); 1 claim (master-down)"
    );
}

#[test]
fn members_decide_ties_in_turn() {
    let master = || member(State::Master);
    for (turn, at) in [
        (0, 0),
        (0, 2000),
        (1, 2050),
        (1, 4050),
        (2, 4100),
        (0, 6150),
        (1, 8170),
    ] {
        for member in 0..3 {
            let mut all = [master(), master(), master()];
            all[member] = tied(true, at);
            let verdict = if member == turn { "yield" } else { "stand" };
            assert_eq!(orders(&all), format!("{member} {verdict}"), "{at}");
            all[member] = tied(false, at);
            assert_eq!(orders(&all), format!("{member} stand"));
        }
    }
    // It was heard elsewhere first.
    assert_eq!(orders(&[tied(false, 2050), tied(true, 0)]), "0 stand");
    let mut judged = tied(false, 2050);
    judged.tie = judged.tie.map(|tie| Tie {
        judged: true,
        ..tie
    });
    assert_eq!(orders(&[judged, tied(true, 0)]), "1 yield");
}

#[test]
fn a_member_that_was_added_claims_what_nobody_has() {
    let master = || member(State::Master);
    assert_eq!(orders(&[master(), member(State::Backup)]), "");
    assert_eq!(orders(&[master(), silent()]), "1 claim (master-down)");
    assert_eq!(orders(&[master(), led(0)]), "0 down, served");
}

#[test]
fn all_bear_the_burden_of_the_worst() {
    let burdened = |by| Standing {
        own: Burden {
            demotion: Demotion::new(by),
            nameless: false,
        },
        ..member(State::Master)
    };
    assert_eq!(orders(&[burdened(5), burdened(9)]), "0 bear 9; 1 bear 9");
    let mut bears = burdened(0);
    bears.others.demotion = Demotion::new(9);
    assert_eq!(orders(&[bears, burdened(0)]), "0 bear 0");
}
