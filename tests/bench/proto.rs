//! What one advertisement costs: `cargo bench --bench proto`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that meets a surprise shall fail"
)]

use std::net::{IpAddr, Ipv4Addr};

use carpd::proto::auth::Authenticator;
use carpd::proto::decide::{Own, Rules, Theirs, decide};
use carpd::proto::wire::{self, Advertisement, Received};
use carpd::proto::{Input, Key, LinkLocal, Output, Peers, Preempt, Settings, TieBreak, Vhost};
use carpd::types::{AdvBase, AdvSkew, Family, State, Timestamp, Vhid};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

fn settings() -> Settings {
    let addresses = vec!["10.0.0.100/24".parse().unwrap()];
    Settings::new(
        Vhid::new(40).unwrap(),
        addresses,
        Key::new(b"secret").unwrap(),
    )
}

fn authenticator() -> Authenticator {
    let settings = settings();
    Authenticator::new(
        &settings.key,
        settings.vhid,
        &[settings.addresses[0].ip],
        None,
        LinkLocal::Include,
    )
}

fn advertisement() -> Advertisement {
    let (counter, digest) = (5, authenticator().sign(5));
    Advertisement {
        vhid: 40,
        advbase: AdvBase(1),
        advskew: AdvSkew(0),
        demote: 0,
        counter,
        digest,
    }
}

const SRC: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

#[divan::bench]
fn encode_and_sign(bencher: Bencher<'_, '_>) {
    let auth = authenticator();
    let ad = advertisement();
    bencher.bench_local(|| {
        let counter = black_box(7);
        Advertisement {
            counter,
            digest: auth.sign(counter),
            ..ad
        }
        .encode()
    });
}

#[divan::bench]
fn verify_digest(bencher: Bencher<'_, '_>) {
    let (auth, ad) = (authenticator(), advertisement());
    bencher.bench_local(|| auth.verify(black_box(ad.counter), black_box(&ad.digest)));
}

#[divan::bench]
fn parse_frame_and_decode(bencher: Bencher<'_, '_>) {
    let packet = wire::ipv4_packet(SRC, GROUP, 0x10, 0, &advertisement().encode());
    let dst = wire::multicast_mac(GROUP.into()).unwrap();
    let frame = wire::ethernet_frame(dst, dst, Family::V4, &packet);
    bencher.bench_local(|| {
        Advertisement::decode(wire::parse_frame(black_box(&frame)).unwrap().payload)
    });
}

#[divan::bench]
fn decide_as_backup(bencher: Bencher<'_, '_>) {
    let source = Some(IpAddr::V4(SRC));
    let own = Own {
        advbase: AdvBase(1),
        advskew: AdvSkew(0),
        demote: 0,
        dead_ratio: 3,
        source,
        tie_family: Family::V4,
        mac: None,
    };
    let theirs = Theirs::new(&advertisement(), SRC.into(), None);
    let rules = Rules {
        preempt: Preempt::On,
        peers: Peers::Bsd,
        tie_break: TieBreak::Address,
    };
    bencher.bench_local(|| {
        decide(
            black_box(State::Backup),
            black_box(&own),
            black_box(&theirs),
            rules,
        )
    });
}

/// A backup hears its master: all checks, the decision, the new deadline.
#[divan::bench]
fn hear_an_advertisement(bencher: Bencher<'_, '_>) {
    let mut vhost = Vhost::new(settings(), 1);
    vhost.handle(Input::LinkUp, Timestamp::ZERO);
    let _ = vhost.poll();
    let payload = advertisement().encode();
    let packet = Received {
        src: SRC.into(),
        dst: GROUP.into(),
        mac: None,
        ttl: 255,
        payload: &payload,
    };
    bencher.bench_local(|| {
        vhost.handle(Input::Packet(black_box(packet)), Timestamp::ZERO);
        assert!(matches!(vhost.poll(), Output::Idle(Some(_))));
    });
}
