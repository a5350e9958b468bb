//! The table of advertisers, fed with frames.

use std::net::Ipv4Addr;

use super::*;
use crate::types::{AdvBase, AdvSkew};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const DIGEST: Verdict = Verdict::Refused(Reject::Digest);

fn at(ms: u64) -> Timestamp {
    Timestamp::from_micros(ms * 1000)
}

fn heard(payload: &[u8], last: u8, mac: MacAddr, ms: u64) -> Sighting {
    let (from, to) = (Ipv4Addr::new(10, 0, 0, last), Ipv4Addr::new(224, 0, 0, 18));
    let packet = wire::ipv4_packet(from, to, 0x10, 7, payload);
    let frame = wire::ethernet_frame(MacAddr::BROADCAST, mac, Family::V4, &packet);
    Sighting::of(&wire::parse_frame(&frame).unwrap(), &frame, at(ms)).unwrap()
}

fn ad(counter: u8) -> [u8; 36] {
    let advertisement = Advertisement {
        vhid: 7,
        advbase: AdvBase(1),
        advskew: AdvSkew(0),
        demote: 0,
        counter: counter.into(),
        digest: [counter; DIGEST_LEN],
    };
    advertisement.encode()
}

fn status(table: &Advertisers, ms: u64) -> Vec<AdvertiserStatus> {
    let interface = "eth0".parse().unwrap();
    table.status(None, &interface, None, at(ms)).collect()
}

fn causes(table: &Advertisers, ms: u64) -> Vec<Suspicion> {
    let all = status(table, ms).into_iter();
    all.flat_map(|peer| peer.causes.into_iter().map(|cause| cause.cause))
        .collect()
}

#[test]
fn each_sender_is_there_with_its_interval_and_jitter() {
    let mut table = Advertisers::default();
    for (n, ms) in [(1, 0), (2, 1000), (3, 2004), (4, 2010), (5, 9000)] {
        table.note(&heard(&ad(n), 1, MAC, ms), Verdict::Accepted, false);
    }
    table.note(&heard(&ad(9), 2, OTHER, 9500), DIGEST, false);
    let all = status(&table, 10_000);
    let [one, two] = &all[..] else {
        panic!("{all:?}")
    };
    assert_eq!((one.count, one.refused, one.heard_ago_ms), (5, 0, 1000));
    assert_eq!((one.interval_ms, one.jitter_us), (Some(1000), Some(250)));
    assert_eq!(
        (one.standing, one.reason.as_deref()),
        (Standing::Accepted, None)
    );
    assert_eq!((two.count, two.refused, two.jitter_us), (1, 1, None));
    assert_eq!(two.reason.as_deref(), Some("digest"));
    assert_eq!(
        causes(&table, 10_000),
        [Suspicion::OtherPassword, Suspicion::OtherAddresses]
    );
}

#[test]
fn a_flood_of_senders_takes_no_more_room_and_drives_out_no_peer() {
    let mut table = Advertisers::default();
    table.note(&heard(&ad(1), 1, MAC, 0), Verdict::Accepted, false);
    for n in 0..=255 {
        table.note(&heard(&ad(2), n, OTHER, 1000 + u64::from(n)), DIGEST, false);
    }
    let all = status(&table, 2000);
    assert_eq!(all.len(), KNOWN_MAX);
    assert!(all.iter().any(|peer| peer.mac == Some(MAC)));
    assert!(
        all.iter()
            .all(|peer| peer.heard_ago_ms <= 1000 || peer.mac == Some(MAC))
    );
    let evicted = table.evicted(None, &"eth0".parse().unwrap()).unwrap();
    assert_eq!(evicted.count, 257 - 32);
}

#[test]
fn what_a_closer_look_found_counts_until_the_verdict_changes() {
    let mut table = Advertisers::default();
    let sighting = heard(&ad(1), 1, MAC, 0);
    assert!(!table.begin_look(sighting.who, at(0)), "not known");
    table.note(&sighting, DIGEST, false);
    assert!(table.begin_look(sighting.who, at(0)));
    // Then after 2, 4, 8, 16 and 30 seconds.
    let mut looks = (0..=90).filter(|second| table.begin_look(sighting.who, at(second * 1000)));
    assert_eq!(looks.by_ref().collect::<Vec<_>>(), [2, 6, 14, 30, 60, 90]);
    let found = because(Suspicion::OtherOwner, "x");
    table.found(sighting.who, Some(found));
    assert_eq!(causes(&table, 10), [Suspicion::OtherOwner]);
    table.note(&heard(&ad(2), 1, MAC, 1000), Verdict::Accepted, false);
    assert_eq!(causes(&table, 1000), []);
    table.note(&heard(&ad(3), 1, MAC, 2000), DIGEST, false);
    assert_eq!(causes(&table, 2000).len(), 2);
    assert!(table.begin_look(sighting.who, at(91_000)));
}

#[test]
fn who_goes_on_as_master_beside_us_is_a_rival() {
    let rival = |table: &Advertisers, ms| {
        let split = table.rival(at(ms));
        split.map(|split| (split.for_ms, split.causes.len()))
    };
    let mut table = Advertisers::default();
    let mut note = |n: u8, verdict, is_master, ms| {
        table.note(&heard(&ad(n), 1, MAC, ms), verdict, is_master);
        (rival(&table, ms), rival(&table, ms + 3100))
    };
    // Not while we are backup, nor by one packet.
    assert_eq!(note(1, DIGEST, false, 0), (None, None));
    assert_eq!(note(2, DIGEST, true, 1000), (None, None));
    assert_eq!(note(3, DIGEST, true, 2000), (Some((1000, 2)), None));
    // After a pause it begins anew.
    assert_eq!(note(4, DIGEST, true, 9000), (None, None));
    let damaged = Verdict::Refused(Reject::Checksum);
    assert_eq!(note(5, damaged, true, 9500), (None, None));
    // Who is accepted yields, unless it is deaf.
    for n in 0..3 {
        let ms = 20_000 + u64::from(n) * 1000;
        assert_eq!(note(10 + n, Verdict::Accepted, true, ms), (None, None));
    }
    let deaf = note(13, Verdict::Accepted, true, 23_000);
    assert_eq!(deaf, (Some((3000, 0)), None));
    assert_eq!(note(14, Verdict::Accepted, false, 24_000), (None, None));
}

#[test]
fn a_replay_is_known_by_what_was_signed_before() {
    // By another host.
    let mut table = Advertisers::default();
    for n in 1..=4 {
        assert_eq!(causes(&table, 1000), []);
        table.note(
            &heard(&ad(n), 1, MAC, u64::from(n) * 1000),
            Verdict::Accepted,
            false,
        );
        table.note(
            &heard(&ad(n), 2, OTHER, u64::from(n) * 1000 + 1),
            Verdict::Accepted,
            false,
        );
        if n == 3 {
            break;
        }
    }
    let all = status(&table, 3500);
    assert!(all[0].causes.is_empty(), "{all:?}");
    assert_eq!(all[1].causes[0].cause, Suspicion::Replay);
    assert!(causes(&table, 64_000).is_empty(), "it has stopped");

    // In the name of its sender.
    let mut table = Advertisers::default();
    for n in 1..=8 {
        table.note(
            &heard(&ad(n), 1, MAC, u64::from(n) * 1000),
            Verdict::Accepted,
            false,
        );
        table.note(
            &heard(&ad(99), 1, MAC, u64::from(n) * 1000 + 500),
            Verdict::Accepted,
            false,
        );
    }
    assert_eq!(causes(&table, 8600), [Suspicion::Replay]);
}

#[test]
fn who_is_restarted_or_runs_openbsd_replays_nothing() {
    let mut table = Advertisers::default();
    let counters = (100..110).chain(3..20).chain([200, 150]);
    for (n, counter) in (0..).zip(counters) {
        table.note(
            &heard(&ad(counter), 1, MAC, n * 1000),
            Verdict::Accepted,
            false,
        );
    }
    for n in 0..20 {
        table.note(
            &heard(&ad(77), 3, OTHER, n * 1000),
            Verdict::Accepted,
            false,
        );
    }
    assert_eq!(causes(&table, 20_000), []);
    assert_eq!(
        status(&table, 20_000)[1].implementation,
        Implementation::Openbsd
    );
}

#[test]
fn vrrp_is_known_with_its_interval() {
    let mut table = Advertisers::default();
    let version3 = [0x31, 9, 100, 1, 0, 50, 0, 0, 10, 0, 0, 1];
    table.note(&heard(&version3, 4, MAC, 0), Verdict::Unrelated, false);
    let mut version2 = vec![0x21, 7, 100, 1, 0, 2, 0, 0, 10, 0, 0, 1];
    version2.extend([0; 8]);
    let refused = Verdict::Refused(Reject::VrrpV2);
    table.note(&heard(&version2, 5, MAC, 0), refused, false);
    let all = status(&table, 0);
    assert_eq!(
        (all[0].implementation, all[0].interval_ms, all[0].vhid),
        (Implementation::Vrrp3, Some(500), 9)
    );
    assert!(all[0].causes.is_empty());
    assert_eq!(
        (all[1].implementation, all[1].interval_ms),
        (Implementation::Vrrp2, Some(2000))
    );
    assert_eq!(causes(&table, 0), [Suspicion::Vrrp]);
    // Bytes that are nothing are nothing.
    table.note(
        &heard(&[0x20, 7], 6, MAC, 0),
        Verdict::Refused(Reject::Short),
        false,
    );
    assert_eq!(causes(&table, 0), [Suspicion::Vrrp, Suspicion::Damaged]);
}
