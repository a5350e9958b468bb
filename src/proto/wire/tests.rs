use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::types::{Family, MacAddr};

fn any_advertisement() -> impl Strategy<Value = Advertisement> {
    (
        any::<u8>(),
        any::<u8>(),
        any::<u8>(),
        any::<u8>(),
        any::<u64>(),
        any::<[u8; 20]>(),
    )
        .prop_map(
            |(vhid, advbase, advskew, demote, counter, digest)| Advertisement {
                vhid,
                advbase: AdvBase(advbase),
                advskew: AdvSkew(advskew),
                demote,
                counter,
                digest,
            },
        )
}

const V4: (IpAddr, IpAddr) = (
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)),
);

proptest! {
    #[test]
    fn decode_undoes_encode(ad in any_advertisement()) {
        let bytes = ad.encode();
        prop_assert_eq!(Advertisement::decode(&bytes), Ok(ad));
        prop_assert!(is_intact(&bytes, V4.0, V4.1));
        prop_assert_eq!(peek_vhid(&bytes), Some(ad.vhid));
    }

    #[test]
    fn trailing_bytes_are_ignored(ad in any_advertisement(), tail in prop::collection::vec(any::<u8>(), 0..64)) {
        let bytes = [&ad.encode()[..], &tail].concat();
        prop_assert_eq!(Advertisement::decode(&bytes), Ok(ad));
    }

    #[test]
    fn nothing_panics_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Advertisement::decode(&bytes);
        let _ = peek_vhid(&bytes);
        let _ = looks_like_vrrp(&bytes);
        let _ = parse_frame(&bytes);
        let _ = parse_packet(&bytes);
    }

    /// A valid frame with a few bytes changed and cut: gets much further than noise.
    #[test]
    fn nothing_panics_on_mutated_frames(
        ad in any_advertisement(), v6 in any::<bool>(), cut in 0usize..=90,
        edits in prop::collection::vec((0usize..90, any::<u8>()), 0..4),
    ) {
        let mut frame = frame(&ad, v6);
        for (at, byte) in edits {
            if let Some(slot) = frame.get_mut(at) { *slot = byte; }
        }
        frame.truncate(cut);
        if let Ok(received) = parse_frame(&frame) {
            prop_assert!(received.payload.len() <= frame.len());
            let _ = Advertisement::decode(received.payload);
        }
    }

    #[test]
    fn any_single_wrong_bit_is_seen_by_the_checksum(ad in any_advertisement(), at in 0usize..36, bit in 0u8..8) {
        let mut bytes = ad.encode();
        bytes[at] ^= 1 << bit;
        prop_assert!(!is_intact(&bytes, V4.0, V4.1));
    }
}

fn frame(ad: &Advertisement, v6: bool) -> Vec<u8> {
    let src = MacAddr([0, 0, 0x5e, 0, 1, 40]);
    if v6 {
        let (from, to) = ("fe80::a".parse().unwrap(), "ff02::12".parse().unwrap());
        let packet = ipv6_packet(from, to, 0, &ad.encode_with_pseudo_header(from, to));
        ethernet_frame(multicast_mac(to.into()).unwrap(), src, Family::V6, &packet)
    } else {
        let to = Ipv4Addr::new(224, 0, 0, 18);
        let packet = ipv4_packet(Ipv4Addr::new(10, 0, 0, 2), to, 0x10, 7, &ad.encode());
        ethernet_frame(multicast_mac(to.into()).unwrap(), src, Family::V4, &packet)
    }
}

fn advertisement() -> Advertisement {
    Advertisement {
        vhid: 40,
        advbase: AdvBase(1),
        advskew: AdvSkew(0),
        demote: 0,
        counter: 5,
        digest: [7; 20],
    }
}

#[test]
fn frames_of_both_families_are_found_again() {
    for v6 in [false, true] {
        let ad = advertisement();
        let mut bytes = frame(&ad, v6);
        bytes.extend([0; 30]); // Ethernet padding
        let received = parse_frame(&bytes).unwrap();
        assert_eq!((received.payload.len(), received.ttl), (LEN, 255));
        assert_eq!(Advertisement::decode(received.payload), Ok(ad));
        assert!(is_intact(
            received.payload.first_chunk().unwrap(),
            received.src,
            received.dst
        ));
        assert_eq!(received.src.is_ipv6(), v6);
    }
}

#[test]
fn each_broken_frame_has_its_name() {
    let good = frame(&advertisement(), false);
    let broken = |edits: &[(usize, u8)]| {
        let mut bytes = good.clone();
        for (at, byte) in edits {
            bytes[*at] = *byte;
        }
        parse_frame(&bytes).unwrap_err()
    };
    assert_eq!(parse_frame(&good[..10]), Err(Reject::Truncated));
    assert_eq!(parse_frame(&good[..40]), Err(Reject::Truncated));
    assert_eq!(broken(&[(12, 0x81), (13, 0)]), Reject::NotCarp);
    assert_eq!(broken(&[(23, 17)]), Reject::NotCarp);
    assert_eq!(broken(&[(14, 0x41)]), Reject::Truncated);
    assert_eq!(broken(&[(14, 0x4f)]), Reject::Truncated);
    assert_eq!(broken(&[(22, 254)]), Reject::IpChecksum);
    // More-fragments in, the checksum put right by as much.
    assert_eq!(
        broken(&[(20, 0x20), (24, good[24] + 0x20)]),
        Reject::Fragment
    );
}

#[test]
fn multicast_groups_have_their_hardware_addresses() {
    let mac = |ip: &str| multicast_mac(ip.parse().unwrap()).map(|mac| mac.to_string());
    assert_eq!(mac("224.0.0.18").unwrap(), "01:00:5e:00:00:12");
    assert_eq!(mac("239.129.2.3").unwrap(), "01:00:5e:01:02:03");
    assert_eq!(mac("ff02::12").unwrap(), "33:33:00:00:00:12");
    assert_eq!(mac("10.0.0.1"), None);
}

#[test]
fn vrrp_is_told_from_carp() {
    let vrrp = |version: u8, addresses: u8| {
        let mut bytes = vec![version << 4 | 1, 40, 100, addresses, 0, 1, 0, 0];
        bytes.resize(8 + 4 * usize::from(addresses) + 8, 9);
        bytes
    };
    assert_eq!(Advertisement::decode(&vrrp(3, 1)), Err(Reject::Version(3)));
    assert_eq!(Advertisement::decode(&vrrp(2, 1)), Err(Reject::VrrpV2));
    assert!(looks_like_vrrp(&vrrp(2, 7)));
    assert_eq!(Advertisement::decode(&[]), Err(Reject::Short));
    assert!(!looks_like_vrrp(&advertisement().encode()));
    assert_eq!(
        Advertisement::decode(&advertisement().encode()[..35]),
        Err(Reject::Short)
    );
}
