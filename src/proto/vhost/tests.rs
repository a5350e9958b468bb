mod calm;
mod delays;
mod own_address;
mod reluctance;
mod signature;
mod trial;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::super::auth::Key;
use super::super::settings::{
    FamilyTimers, Gate, Ipv6Checksum, LinkLocal, Preempt, Settings, TieBreak,
};
use super::super::stats::Reject;
use super::super::wire::{Advertisement, LEN, Received, is_intact};
use super::*;
use crate::types::{AdvBase, Vhid};

const OWN: &str = "10.0.0.5";
const PEER: &str = "10.0.0.9";

fn settings(addresses: &[&str]) -> Settings {
    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    Settings::new(
        Vhid::new(40).unwrap(),
        addresses,
        Key::new(b"secret").unwrap(),
    )
}

fn v4() -> Settings {
    Settings {
        advskew: AdvSkew(100),
        ..settings(&["10.0.0.100/24"])
    }
}

fn preempting() -> Settings {
    Settings {
        preempt: Preempt::On,
        ..v4()
    }
}

/// A virtual host with a clock and a peer that shares its key.
struct Bench {
    vhost: Vhost,
    peer: Authenticator,
    now: Timestamp,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let ips: Vec<IpAddr> = settings.addresses.iter().map(|a| a.ip).collect();
        let peer = Authenticator::new(&settings.key, settings.vhid, &ips, None, LinkLocal::Include);
        Self {
            vhost: Vhost::new(settings, 7),
            peer,
            now: Timestamp::from_micros(1_000_000),
        }
    }

    fn backup(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.feed(Input::OwnAddress {
            family: Family::V4,
            address: Some(OWN.parse().unwrap()),
        });
        bench.feed(Input::LinkUp);
        assert_eq!(bench.vhost.state(), State::Backup);
        bench
    }

    fn master(settings: Settings) -> Self {
        let mut bench = Self::backup(settings);
        bench.until_deadline();
        assert_eq!(bench.vhost.state(), State::Master);
        bench
    }

    fn feed(&mut self, input: Input<'_>) -> Vec<Output> {
        self.vhost.handle(input, self.now);
        let mut outputs = Vec::new();
        loop {
            let output = self.vhost.poll();
            if matches!(output, Output::Idle(_)) {
                return outputs;
            }
            outputs.push(output);
        }
    }

    fn until_deadline(&mut self) -> Vec<Output> {
        self.now = self.vhost.deadline().unwrap();
        self.feed(Input::Timer)
    }

    fn ad(&self, base: u8, skew: u8, counter: u64) -> Advertisement {
        let digest = self.peer.sign(counter);
        Advertisement {
            vhid: 40,
            advbase: AdvBase(base),
            advskew: AdvSkew(skew),
            demote: 0,
            counter,
            digest,
        }
    }

    fn hear_from(&mut self, src: &str, base: u8, skew: u8) -> Vec<Output> {
        let payload = self.ad(base, skew, 0xabcd).encode();
        self.hear(src, 255, &payload)
    }

    fn hear(&mut self, src: &str, ttl: u8, payload: &[u8]) -> Vec<Output> {
        let src: IpAddr = src.parse().unwrap();
        let dst = if src.is_ipv4() {
            "224.0.0.18"
        } else {
            "ff02::12"
        };
        self.feed(Input::Packet(Received {
            src,
            dst: dst.parse().unwrap(),
            mac: None,
            ttl,
            payload,
        }))
    }
}

fn sent(outputs: &[Output]) -> Vec<(Family, Kind, Advertisement)> {
    let packets = outputs.iter().filter_map(|o| {
        if let Output::Transmit(t) = o {
            Some(t)
        } else {
            None
        }
    });
    packets
        .map(|t| (t.family, t.kind, Advertisement::decode(&t.payload).unwrap()))
        .collect()
}

fn change(outputs: &[Output]) -> (State, Cause) {
    let found = outputs.iter().find_map(|o| {
        if let Output::Transition(t) = o {
            Some(t)
        } else {
            None
        }
    });
    let transition = found.unwrap_or_else(|| panic!("no transition in {outputs:?}"));
    (transition.to, transition.cause.clone())
}

#[test]
fn silence_makes_a_master_who_advertises_first() {
    let mut bench = Bench::backup(v4());
    let started = bench.now;
    let outputs = bench.until_deadline();
    assert_eq!(bench.now - started, Duration::from_micros(3_390_625));
    assert!(
        matches!(outputs[0], Output::Transmit(_)) && matches!(outputs[1], Output::Transition(_))
    );
    assert_eq!(
        change(&outputs),
        (
            State::Master,
            Cause::MasterDown {
                silent: Duration::from_micros(3_390_625)
            }
        )
    );
    let (_, _, ad) = sent(&outputs)[0];
    assert_eq!(
        (ad.vhid, ad.advbase, ad.advskew, ad.demote),
        (40, AdvBase(1), AdvSkew(100), 0)
    );
}

#[test]
fn addresses_are_announced_again_after_the_second_advertisement_only() {
    let mut bench = Bench::master(v4());
    let again =
        |outputs: &[Output]| matches!(outputs, [Output::Transmit(_), Output::AnnounceAgain]);
    assert!(again(&bench.until_deadline()));
    for _ in 0..300 {
        assert_eq!(bench.until_deadline().len(), 1);
    }
}

#[test]
fn the_beat_is_kept_though_wakes_are_late() {
    let mut bench = Bench::master(v4());
    let due = bench.vhost.deadline().unwrap();
    bench.now = due + Duration::from_millis(70);
    bench.feed(Input::Timer);
    assert_eq!(
        bench.vhost.deadline().unwrap() - due,
        bench.vhost.interval()
    );
}

#[test]
fn both_families_are_advertised_with_successive_counters() {
    let mut bench = Bench::backup(settings(&["2001:db8::100/64", "10.0.0.100/24"]));
    let outputs = bench.until_deadline();
    let ads = sent(&outputs);
    assert_eq!(ads.iter().map(|ad| ad.0).collect::<Vec<_>>(), Family::ALL);
    assert_eq!(ads[1].2.counter, ads[0].2.counter + 1);
    assert!(
        ads.iter()
            .all(|ad| bench.peer.verify(ad.2.counter, &ad.2.digest))
    );
}

#[test]
fn the_pseudo_header_can_be_chosen_for_ipv6() {
    let src: Ipv6Addr = "fe80::5".parse().unwrap();
    let mut bench = Bench::new(Settings {
        ipv6_checksum: Ipv6Checksum::PseudoHeader,
        ..settings(&["2001:db8::100"])
    });
    bench.feed(Input::OwnAddress {
        family: Family::V6,
        address: Some(src.into()),
    });
    bench.feed(Input::LinkUp);
    let outputs = bench.until_deadline();
    let Output::Transmit(packet) = outputs[0] else {
        panic!("{outputs:?}")
    };
    let elsewhere: IpAddr = "fe80::6".parse().unwrap();
    assert!(is_intact(
        &packet.payload,
        src.into(),
        Settings::IPV6_GROUP.into()
    ));
    assert!(!is_intact(
        &packet.payload,
        elsewhere,
        Settings::IPV6_GROUP.into()
    ));
}

#[test]
fn a_bow_out_follows_the_transition_on_shutdown_and_resignation() {
    let shutdown = Bench::master(v4()).feed(Input::Shutdown);
    let resigned = Bench::master(v4()).feed(Input::Resign {
        reason: Reason::new("resigned", "operator"),
        unfit: false,
    });
    assert_eq!(change(&shutdown), (State::Init, Cause::Shutdown));
    assert_eq!(change(&resigned).0, State::Backup);
    for outputs in [shutdown, resigned] {
        assert!(matches!(outputs[0], Output::Transition(_)), "{outputs:?}");
        let [(_, Kind::BowOut, ad)] = sent(&outputs)[..] else {
            panic!("{outputs:?}")
        };
        assert!(ad.is_bow_out());
    }
}

#[test]
fn after_shutdown_nothing_comes_any_more() {
    let mut bench = Bench::master(v4());
    bench.feed(Input::Shutdown);
    assert!(bench.feed(Input::LinkUp).is_empty() && bench.feed(Input::Shutdown).is_empty());
    assert_eq!(bench.vhost.poll(), Output::Idle(None));
    let mut backup = Bench::backup(v4());
    assert!(
        sent(&backup.feed(Input::Shutdown)).is_empty(),
        "only a master bows out"
    );
}

#[test]
fn a_bow_out_is_obeyed_at_once_even_where_preemption_must_be_asked_for() {
    let mut bench = Bench::backup(Settings {
        gate: Gate::Ask,
        ..preempting()
    });
    let outputs = bench.hear_from(PEER, 255, 255);
    assert_eq!(change(&outputs), (State::Master, Cause::MasterLeaving));
    assert_eq!(bench.vhost.stats().bow_outs_received, 1);
}

#[test]
fn a_bow_out_of_who_is_not_the_master_is_not_obeyed() {
    const THIRD: &str = "10.0.0.7";
    let mut bench = Bench::backup(preempting());
    // One that resigns says first how unfit it is. Both others take over, and we yield to the
    // better one.
    assert_eq!(change(&bench.hear_from(THIRD, 1, 240)).0, State::Master);
    assert_eq!(change(&bench.hear_from(PEER, 1, 50)).0, State::Backup);
    assert_eq!(
        bench.hear_from(THIRD, 255, 255),
        [],
        "its bow-out comes last"
    );
    assert_eq!(
        change(&bench.hear_from(PEER, 255, 255)),
        (State::Master, Cause::MasterLeaving)
    );

    let mut bench = Bench::backup(v4());
    bench.hear_from(PEER, 1, 50);
    assert_eq!(bench.hear_from(THIRD, 255, 255), []);
    // Who was silent for a master-down time leads nobody; here the timer says so first.
    assert_eq!(change(&bench.until_deadline()).0, State::Master);
}

#[test]
fn a_worse_master_is_not_preempted_while_a_better_one_is_heard() {
    let mut bench = Bench::backup(preempting());
    bench.hear_from(PEER, 1, 50);
    let end = bench.vhost.deadline();
    // It does not hear the better one, or it would not be there. If we claimed, it would yield,
    // hear nobody, and so on.
    assert_eq!(bench.hear_from("10.0.0.7", 1, 200), []);
    assert_eq!(
        bench.vhost.deadline(),
        end,
        "the better one's silence is counted as before"
    );
    assert_eq!(
        change(&bench.until_deadline()),
        (
            State::Master,
            Cause::MasterDown {
                silent: bench.vhost.master_down()
            }
        )
    );

    let mut bench = Bench::backup(preempting());
    bench.hear_from(PEER, 1, 50);
    assert_eq!(
        change(&bench.hear_from(PEER, 1, 200)).0,
        State::Master,
        "the one that it followed has become worse"
    );
}

#[test]
fn link_down_is_silent_and_link_up_listens() {
    let mut bench = Bench::master(v4());
    let outputs = bench.feed(Input::LinkDown);
    assert_eq!(change(&outputs), (State::Init, Cause::LinkDown));
    assert_eq!(outputs.len(), 1);
    assert_eq!(bench.vhost.poll(), Output::Idle(None));
    assert_eq!(
        change(&bench.feed(Input::LinkUp)),
        (State::Backup, Cause::Startup)
    );
    assert!(bench.feed(Input::LinkUp).is_empty());
}

#[test]
fn sequence_numbers_grow_by_one() {
    let mut bench = Bench::new(v4());
    let mut seqs = Vec::new();
    for input in [
        Input::LinkUp,
        Input::LinkDown,
        Input::LinkUp,
        Input::Shutdown,
    ] {
        let outputs = bench.feed(input);
        seqs.extend(outputs.iter().filter_map(|o| {
            if let Output::Transition(t) = o {
                Some(t.seq)
            } else {
                None
            }
        }));
    }
    assert_eq!(seqs, [1, 2, 3, 4]);
}

#[test]
fn every_refusal_is_counted_and_changes_nothing() {
    let mut bench = Bench::backup(v4());
    let good = bench.ad(1, 0, 5).encode();
    let forged = |edit: &dyn Fn(&mut [u8; LEN])| {
        let mut ad = good;
        edit(&mut ad);
        ad.to_vec()
    };
    let mut vrrp = vec![0x21, 40, 100, 1, 0, 1, 0, 0];
    vrrp.resize(20, 1);
    let mut wrong = bench.ad(1, 0, 5);
    wrong.digest[19] ^= 1;
    let other_vhid = Advertisement {
        vhid: 41,
        ..bench.ad(1, 0, 5)
    };
    let cases: [(Reject, &str, u8, Vec<u8>); 9] = [
        (Reject::Ttl(64), PEER, 64, good.to_vec()),
        (Reject::Short, PEER, 255, good[..35].to_vec()),
        (Reject::Short, PEER, 255, vec![]),
        (Reject::Version(3), PEER, 255, forged(&|ad| ad[0] = 0x31)),
        (Reject::VrrpV2, PEER, 255, vrrp),
        (Reject::Vhid(41), PEER, 255, other_vhid.encode().to_vec()),
        (Reject::Checksum, PEER, 255, forged(&|ad| ad[2] = 200)),
        (Reject::Family, "fe80::9", 255, good.to_vec()),
        (Reject::Digest, PEER, 255, wrong.encode().to_vec()),
    ];
    let deadline = bench.vhost.deadline();
    bench.now = bench.now + Duration::from_secs(1);
    for (why, src, ttl, payload) in cases {
        let before = bench.vhost.stats().rejected(why);
        assert_eq!(
            bench.hear(src, ttl, &payload),
            [Output::Rejected(why, src.parse().unwrap())]
        );
        assert_eq!(bench.vhost.stats().rejected(why), before + 1, "{why}");
    }
    assert_eq!(
        (
            bench.vhost.deadline(),
            bench.vhost.heard(),
            bench.vhost.stats().rejected_total()
        ),
        (deadline, None, 9)
    );
    assert!(
        bench.hear(PEER, 255, &good).is_empty(),
        "and the good one is heard"
    );
    assert_ne!(bench.vhost.deadline(), deadline);
}

#[test]
fn state_init_takes_no_packets() {
    let mut bench = Bench::new(v4());
    assert!(matches!(
        bench.hear_from(PEER, 255, 255)[..],
        [Output::Rejected(Reject::NotRunning, _)]
    ));
    assert_eq!(bench.vhost.state(), State::Init);
}

#[test]
fn our_own_advertisement_coming_back_does_not_make_us_yield() {
    let mut bench = Bench::backup(v4());
    let outputs = bench.until_deadline();
    let Output::Transmit(packet) = outputs[0] else {
        panic!("{outputs:?}")
    };
    for _ in 0..5 {
        bench.until_deadline();
    }
    let back = bench.hear(OWN, 255, &packet.payload);
    assert!(
        matches!(back[..], [Output::Rejected(Reject::Own, _)]),
        "{back:?}"
    );
    assert_eq!(bench.vhost.state(), State::Master);
    // The same address with a counter that is not ours is another node.
    assert_eq!(
        change(&bench.hear_from(OWN, 1, 100)),
        (State::Backup, Cause::Tie)
    );
}

#[test]
fn a_worse_master_is_answered_by_an_announcement() {
    let mut bench = Bench::master(v4());
    assert_eq!(
        bench.hear_from(PEER, 1, 101),
        [Output::PeerClaim {
            peer: PEER.parse().unwrap()
        }]
    );
    assert_eq!(
        bench.hear_from(PEER, 1, 100),
        [Output::PeerClaim {
            peer: PEER.parse().unwrap()
        }]
    );
    assert_eq!(
        change(&bench.hear_from("10.0.0.4", 1, 100)),
        (State::Backup, Cause::Tie)
    );
}

#[test]
fn a_received_counter_is_not_sent_back() {
    let mut bench = Bench::master(v4());
    let heard = bench.ad(1, 200, u64::MAX).encode();
    bench.hear(PEER, 255, &heard);
    let outputs = bench.until_deadline();
    assert_eq!(sent(&outputs)[0].2.counter, 1);
}

#[test]
fn in_ucarp_mode_a_master_yields_with_a_last_word() {
    let mut bench = Bench::master(Settings {
        tie_break: TieBreak::Ucarp,
        ..v4()
    });
    let outputs = bench.hear_from(PEER, 1, 0);
    assert_eq!(change(&outputs), (State::Backup, Cause::BetterMaster));
    assert!(matches!(
        sent(&outputs)[..],
        [(Family::V4, Kind::Advertisement, _)]
    ));
    assert!(sent(&Bench::master(v4()).hear_from(PEER, 1, 0)).is_empty());
}

#[test]
fn without_a_gate_a_worse_master_is_preempted_at_once() {
    let mut bench = Bench::backup(preempting());
    assert_eq!(
        change(&bench.hear_from(PEER, 1, 101)),
        (State::Master, Cause::Preempt)
    );
    assert!(Bench::backup(v4()).hear_from(PEER, 1, 101).is_empty());
    assert!(
        Bench::backup(preempting())
            .hear_from(PEER, 1, 100)
            .is_empty()
    );
}

#[test]
fn with_a_gate_it_is_asked_once_and_done_on_approval() {
    let mut bench = Bench::backup(Settings {
        gate: Gate::Ask,
        ..preempting()
    });
    assert!(matches!(
        bench.hear_from(PEER, 1, 200)[..],
        [Output::WantMaster {
            cause: Cause::Preempt,
            ..
        }]
    ));
    for _ in 0..5 {
        bench.now = bench.now + Duration::from_secs(1);
        assert!(
            bench.hear_from(PEER, 1, 200).is_empty(),
            "asked already, and the master keeps us listening"
        );
    }
    let outputs = bench.feed(Input::Approve);
    assert_eq!(change(&outputs), (State::Master, Cause::Preempt));
    assert!(bench.feed(Input::Approve).is_empty());
}

#[test]
fn approval_is_void_if_a_better_master_was_heard_meanwhile() {
    let mut bench = Bench::backup(Settings {
        gate: Gate::Ask,
        ..preempting()
    });
    bench.hear_from(PEER, 1, 200);
    bench.hear_from(PEER, 1, 50);
    assert!(bench.feed(Input::Approve).is_empty());
    assert_eq!(bench.vhost.state(), State::Backup);
    assert!(
        matches!(
            bench.hear_from(PEER, 1, 200)[..],
            [Output::WantMaster { .. }]
        ),
        "a new question"
    );
}

#[test]
fn refusal_is_not_followed_by_the_same_question_before_its_time() {
    let mut bench = Bench::backup(Settings {
        gate: Gate::Ask,
        ..preempting()
    });
    bench.hear_from(PEER, 1, 200);
    assert!(
        bench
            .feed(Input::Refuse {
                retry_after: Duration::from_secs(5)
            })
            .is_empty()
    );
    for _ in 0..4 {
        bench.now = bench.now + Duration::from_secs(1);
        assert!(bench.hear_from(PEER, 1, 200).is_empty());
    }
    bench.now = bench.now + Duration::from_secs(1);
    assert!(matches!(
        bench.hear_from(PEER, 1, 200)[..],
        [Output::WantMaster { .. }]
    ));
}

#[test]
fn the_master_dying_while_we_ask_ends_the_question() {
    let mut bench = Bench::backup(Settings {
        gate: Gate::Ask,
        ..preempting()
    });
    bench.hear_from(PEER, 1, 200);
    assert!(matches!(
        change(&bench.until_deadline()),
        (State::Master, Cause::MasterDown { .. })
    ));
    assert!(bench.feed(Input::Approve).is_empty());
    assert!(
        bench
            .feed(Input::Refuse {
                retry_after: Duration::ZERO
            })
            .is_empty()
    );
}

#[test]
fn after_resigning_the_successor_is_left_alone_for_one_master_down_time() {
    let mut bench = Bench::master(preempting());
    bench.feed(Input::Resign {
        reason: Reason::new("resigned", "operator"),
        unfit: false,
    });
    let resigned = bench.now;
    while bench.now - resigned < bench.vhost.master_down() {
        assert!(bench.hear_from(PEER, 1, 200).is_empty());
        bench.now = bench.now + Duration::from_millis(500);
    }
    assert_eq!(
        change(&bench.hear_from(PEER, 1, 200)),
        (State::Master, Cause::Preempt)
    );
}

#[test]
fn demotion_is_said_at_once_and_counts_into_the_comparison() {
    let mut bench = Bench::master(v4());
    let outputs = bench.feed(Input::Demote(Demotion::new(50)));
    assert_eq!(sent(&outputs)[0].2.advskew, AdvSkew(150));
    assert_eq!(
        sent(&bench.feed(Input::Demote(Demotion::MAX)))[0].2.advskew,
        AdvSkew(240)
    );
    assert!(
        bench.feed(Input::Demote(Demotion::MAX)).is_empty(),
        "no news"
    );
    assert_eq!(bench.vhost.interval(), Duration::from_micros(1_937_500));
    assert_eq!(
        change(&bench.hear_from(PEER, 1, 239)),
        (State::Backup, Cause::BetterMaster)
    );
}

#[test]
fn openbsd_peers_hear_of_demotion_in_its_own_byte() {
    let mut bench = Bench::master(Settings {
        peers: Peers::OpenBsd,
        ..v4()
    });
    let (_, _, ad) = sent(&bench.feed(Input::Demote(Demotion::new(7))))[0];
    assert_eq!((ad.advskew, ad.demote), (AdvSkew(100), 7));
    let mut mixed = Bench::master(Settings {
        send_demote_byte: true,
        ..v4()
    });
    let (_, _, ad) = sent(&mixed.feed(Input::Demote(Demotion::new(7))))[0];
    assert_eq!((ad.advskew, ad.demote), (AdvSkew(107), 7));
}

#[test]
fn an_unclamped_advskew_goes_out_as_configured() {
    let mut settings = Settings {
        advskew: AdvSkew(254),
        ..v4()
    };
    assert_eq!(
        Vhost::new(settings.clone(), 1).effective_advskew(),
        AdvSkew(240)
    );
    settings.clamp_advskew = false;
    let mut vhost = Vhost::new(settings, 1);
    vhost.handle(Input::Demote(Demotion::MAX), Timestamp::ZERO);
    assert_eq!(vhost.effective_advskew(), AdvSkew(254));
}

#[test]
fn three_failed_sends_demote_and_three_good_ones_restore() {
    let mut bench = Bench::master(v4());
    let result = |bench: &mut Bench, ok| {
        bench.feed(Input::Sent {
            family: Family::V4,
            ok,
        })
    };
    assert!(result(&mut bench, false).is_empty() && result(&mut bench, false).is_empty());
    let outputs = result(&mut bench, false);
    assert_eq!(
        sent(&outputs)[0].2.advskew,
        AdvSkew(240),
        "one advertisement at once"
    );
    assert!(result(&mut bench, false).is_empty());
    assert_eq!(bench.vhost.stats().send_failures, 4);
    for _ in 0..3 {
        assert_eq!(bench.vhost.demotion(), Demotion::MAX);
        result(&mut bench, true);
    }
    assert_eq!(bench.vhost.demotion(), Demotion::NONE);
}

#[test]
fn one_dead_family_is_not_hidden_by_the_other() {
    let mut bench = Bench::master(settings(&["10.0.0.100", "2001:db8::100"]));
    for _ in 0..3 {
        bench.feed(Input::Sent {
            family: Family::V4,
            ok: true,
        });
        bench.feed(Input::Sent {
            family: Family::V6,
            ok: false,
        });
    }
    assert_eq!(bench.vhost.send_demotion(), Demotion::MAX);
}

#[test]
fn a_master_that_slept_listens_first() {
    let mut bench = Bench::master(v4());
    bench.now = bench.now + Duration::from_secs(10);
    let outputs = bench.feed(Input::Timer);
    assert!(matches!(
        change(&outputs),
        (State::Backup, Cause::Late { .. })
    ));
    assert_eq!(outputs.len(), 1, "not one packet");
    assert_eq!(
        bench.vhost.deadline(),
        Some(bench.now + bench.vhost.master_down())
    );
    let mut told = Bench::master(v4());
    let by = Duration::from_secs(4);
    assert_eq!(
        change(&told.feed(Input::Late { by })),
        (State::Backup, Cause::Late { by })
    );
}

#[test]
fn a_master_that_slept_lets_go_before_it_answers_a_packet() {
    let mut bench = Bench::master(v4());
    bench.now = bench.now + Duration::from_secs(10);
    let outputs = bench.hear_from(PEER, 1, 200);
    assert!(matches!(
        change(&outputs),
        (State::Backup, Cause::Late { .. })
    ));
    assert_eq!(outputs.len(), 1);
}

#[test]
fn a_backup_that_slept_listens_anew() {
    let mut bench = Bench::backup(v4());
    bench.now = bench.now + Duration::from_secs(10);
    assert!(bench.feed(Input::Timer).is_empty());
    assert_eq!(
        bench.vhost.deadline(),
        Some(bench.now + bench.vhost.master_down())
    );
    assert_eq!(bench.vhost.stats().late, 1);
}

#[test]
fn a_backup_that_wakes_a_little_late_looks_into_its_sockets_first() {
    let late = |millis| {
        let mut bench = Bench::backup(v4());
        bench.now = bench.vhost.deadline().unwrap() + Duration::from_millis(millis);
        let outputs = bench.feed(Input::Timer);
        (bench, outputs)
    };
    assert!(matches!(change(&late(19).1).0, State::Master));
    let (mut bench, outputs) = late(500);
    assert!(outputs.is_empty());
    assert_eq!(bench.vhost.deadline(), Some(bench.now + timer::LATE_GRACE));
    bench.hear_from(PEER, 1, 0);
    assert_eq!(
        bench.vhost.deadline(),
        Some(bench.now + bench.vhost.master_down())
    );
    let (mut bench, _) = late(500);
    assert!(matches!(
        change(&bench.until_deadline()),
        (State::Master, Cause::MasterDown { .. })
    ));
}

#[test]
fn a_dual_stack_backup_claims_when_all_families_are_silent_or_any() {
    let dual = settings(&["10.0.0.100", "2001:db8::100"]);
    for (rule, claims) in [(FamilyTimers::All, false), (FamilyTimers::Any, true)] {
        let mut bench = Bench::backup(Settings {
            family_timers: rule,
            ..dual.clone()
        });
        for _ in 0..5 {
            bench.hear_from(PEER, 1, 0);
            bench.now = bench.now + Duration::from_secs(1);
            bench.feed(Input::Timer);
        }
        assert_eq!(bench.vhost.state() == State::Master, claims, "{rule:?}");
    }
}

#[test]
fn a_ready_bow_out_is_valid_and_takes_no_counter() {
    let mut bench = Bench::master(settings(&["10.0.0.100", "2001:db8::100"]));
    let ready = bench.vhost.bow_out_packets(0);
    assert_eq!(
        ready.iter().map(|t| (t.family, t.kind)).collect::<Vec<_>>(),
        Family::ALL.map(|f| (f, Kind::BowOut))
    );
    let ready: Vec<_> = ready
        .iter()
        .map(|t| Advertisement::decode(&t.payload).unwrap())
        .collect();
    assert!(
        ready
            .iter()
            .all(|ad| ad.is_bow_out() && bench.peer.verify(ad.counter, &ad.digest))
    );
    let next = sent(&bench.until_deadline());
    assert_eq!(next[0].2.counter, ready[0].counter);
    assert!(bench.vhost.bow_out_packets(0)[0].payload != bench.vhost.bow_out_packets(0)[1].payload);
}

#[test]
fn a_master_advertises_when_asked_to_unless_it_slept_too_long() {
    let mut bench = Bench::backup(v4());
    assert_eq!(
        (bench.feed(Input::Advertise).len(), bench.vhost.advertised()),
        (0, None)
    );
    let mut bench = Bench::master(v4());
    let interval = bench.vhost.interval();
    bench.now = bench.now + interval / 2;
    assert_eq!(sent(&bench.feed(Input::Advertise)).len(), 1);
    assert_eq!(
        bench.vhost.advertised(),
        Some(bench.now),
        "backups count from now on"
    );
    assert_eq!(
        bench.vhost.deadline(),
        Some(bench.now + interval),
        "and so does the beat"
    );
    // A peer may have taken over by then: neither this nor a demotion may say otherwise.
    for late in [Input::Advertise, Input::Demote(Demotion::new(9))] {
        let mut bench = Bench::master(v4());
        bench.now = bench.now + Duration::from_secs(3);
        let outputs = bench.feed(late);
        assert_eq!(
            (sent(&outputs).len(), change(&outputs).0),
            (0, State::Backup),
            "{outputs:?}"
        );
    }
}
