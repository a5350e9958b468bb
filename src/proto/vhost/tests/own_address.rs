use super::*;

#[test]
fn without_addresses_ipv4_is_advertised() {
    let mut bench = Bench::backup(settings(&[]));
    let outputs = bench.until_deadline();
    assert!(matches!(
        sent(&outputs)[..],
        [(Family::V4, Kind::Advertisement, _)]
    ));
}

#[test]
fn without_an_address_it_advertises_one_worse_and_gets_it_back_at_once() {
    let skew = |outputs: &[Output]| {
        sent(outputs)
            .iter()
            .map(|(_, _, ad)| ad.advskew.0)
            .collect::<Vec<_>>()
    };
    let own = |address: Option<&str>| Input::OwnAddress {
        family: Family::V4,
        address: address.map(|ip| ip.parse().unwrap()),
    };
    for (settings, worse, plain) in [
        (v4(), 101, 100),
        (
            Settings {
                peers: Peers::OpenBsd,
                ..v4()
            },
            101,
            100,
        ),
        (
            Settings {
                advskew: AdvSkew(240),
                ..v4()
            },
            240,
            240,
        ),
    ] {
        let mut bench = Bench::master(settings);
        let lost = skew(&bench.feed(own(None)));
        let there = skew(&bench.feed(own(Some(OWN))));
        if worse == plain {
            assert_eq!(
                (lost, there),
                (vec![], vec![]),
                "there is nothing worse than 240"
            );
        } else {
            assert_eq!((lost, there), (vec![worse], vec![plain]));
        }
        assert_eq!(
            skew(&bench.feed(own(Some("0.0.0.0")))),
            if worse == plain { vec![] } else { vec![worse] }
        );
        assert_eq!(skew(&bench.until_deadline()), [worse]);
    }
    // The other family decides nothing.
    let mut bench = Bench::master(v4());
    assert_eq!(
        skew(&bench.feed(Input::OwnAddress {
            family: Family::V6,
            address: None
        })),
        Vec::<u8>::new()
    );
}

#[test]
fn its_own_packets_are_known_without_an_address() {
    let mut bench = Bench::master(v4());
    let mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
    bench.feed(Input::Hardware(MacAddr([2, 0, 0, 0, 0, 1])));
    let outputs = bench.feed(Input::OwnAddress {
        family: Family::V4,
        address: None,
    });
    let [Output::Transmit(sent), ..] = outputs[..] else {
        panic!("{outputs:?}")
    };
    let (src, dst) = ([0, 0, 0, 0].into(), [224, 0, 0, 18].into());
    let back = Received {
        src,
        dst,
        mac,
        ttl: 255,
        payload: &sent.payload,
    };
    assert!(matches!(
        bench.feed(Input::Packet(back))[..],
        [Output::Rejected(Reject::Own, _)]
    ));
}
