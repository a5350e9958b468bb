//! What is found out about a digest that does not match.

use std::collections::BTreeSet;

use super::super::trial::Difference;
use super::*;
use crate::proto::auth::Authenticator;

const OURS: [&str; 4] = [
    "10.0.0.100/24",
    "10.0.0.101/24",
    "2001:db8::1/64",
    "2001:db8::2/64",
];

/// An advertisement of a peer with this password and these addresses.
fn signed(password: &[u8], theirs: &[&str]) -> Advertisement {
    let theirs: Vec<IpAddr> = theirs.iter().map(|a| a.parse().unwrap()).collect();
    let (key, vhid) = (Key::new(password).unwrap(), Vhid::new(40).unwrap());
    let auth = Authenticator::new(&key, vhid, &theirs, None, LinkLocal::Include);
    Advertisement {
        vhid: 40,
        advbase: AdvBase(1),
        advskew: AdvSkew(0),
        demote: 0,
        counter: 7,
        digest: auth.sign(7),
    }
}

/// What is found out about such a peer.
fn tried(ours: &[&str], password: &[u8], theirs: &[&str]) -> Option<Difference> {
    let (ad, from) = (signed(password, theirs), PEER.parse().unwrap());
    let vhost = Bench::backup(settings(ours)).vhost;
    vhost.trial(ad, from, &BTreeSet::new()).run()
}

#[test]
fn a_list_that_differs_is_told_from_another_password() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let (a, b, c, d) = ("10.0.0.100", "10.0.0.101", "2001:db8::1", "2001:db8::2");
    let same = |theirs: &[&str]| tried(&OURS, b"secret", theirs);
    for (theirs, difference) in [
        (vec![a, b], Difference::OnlyFamily(Family::V4)),
        (vec![d, c], Difference::OnlyFamily(Family::V6)),
        (vec![a, c, d], Difference::Lacks(ip(b))),
        (vec![a, b, c], Difference::Lacks(ip(d))),
        (vec![c], Difference::Only(ip(c))),
        (vec![a, b, c, d, PEER], Difference::AlsoItsOwn(ip(PEER))),
        (vec![], Difference::Empty),
    ] {
        assert_eq!(same(&theirs), Some(difference), "{theirs:?}");
        // With another password, nothing may be said about the addresses.
        assert_eq!(tried(&OURS, b"other", &theirs), None, "{theirs:?}");
    }
    assert_eq!(same(&[a, b, c, d, "10.0.0.200"]), None);
    // What matches is not refused, whatever its order.
    assert_eq!(same(&[d, b, c, a]), None);
    assert_eq!(tried(&OURS, b"other", &[a, b, c, d]), None);
}

#[test]
fn one_address_that_is_left_out_of_one_leaves_an_empty_list() {
    let found = tried(&["10.0.0.100/24"], b"secret", &[]);
    assert_eq!(found, Some(Difference::Empty));
}

#[test]
fn an_address_that_was_announced_or_configured_before_is_found() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let from = ip(PEER);
    let [a, b] = ["10.0.0.100", "10.0.0.101"];
    let (more, other) = ("10.0.0.200", "2001:db8::9");
    let mut vhost = Bench::backup(settings(&["10.0.0.100/24", "10.0.0.101/24"])).vhost;
    let announced = BTreeSet::from([ip(more), ip(other)]);
    let found = |vhost: &Vhost, theirs: &[&str]| {
        vhost
            .trial(signed(b"secret", theirs), from, &announced)
            .run()
    };
    assert_eq!(
        found(&vhost, &[a, b, more]),
        Some(Difference::Also(ip(more)))
    );
    assert_eq!(
        found(&vhost, &[other, a, b]),
        Some(Difference::Also(ip(other)))
    );
    let instead = Difference::Instead(ip(b), ip(more));
    assert_eq!(found(&vhost, &[a, more]), Some(instead));
    assert_eq!(found(&vhost, &["10.0.0.201", a, b]), None);
    vhost.reconfigure(settings(&["10.0.0.110/24"]), Timestamp::ZERO);
    assert_eq!(found(&vhost, &[a, b]), Some(Difference::Earlier));
    assert_eq!(
        found(&vhost, &["10.0.0.110", b]),
        Some(Difference::Also(ip(b)))
    );
    // What was configured long ago is forgotten.
    for last in 111..116 {
        vhost.reconfigure(settings(&[&format!("10.0.0.{last}/24")]), Timestamp::ZERO);
    }
    assert_eq!(found(&vhost, &[a, b]), None);
}
