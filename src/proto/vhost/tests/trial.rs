//! What is found out about a digest that does not match.

use super::super::trial::Difference;
use super::*;
use crate::proto::auth::Authenticator;

const OURS: [&str; 4] = [
    "10.0.0.100/24",
    "10.0.0.101/24",
    "2001:db8::1/64",
    "2001:db8::2/64",
];

/// What is found out about a peer with this password and these addresses.
fn tried(ours: &[&str], password: &[u8], theirs: &[&str]) -> Option<Difference> {
    let mut bench = Bench::backup(settings(ours));
    let theirs: Vec<IpAddr> = theirs.iter().map(|a| a.parse().unwrap()).collect();
    bench.peer = Authenticator::new(
        &Key::new(password).unwrap(),
        Vhid::new(40).unwrap(),
        &theirs,
        None,
        LinkLocal::Include,
    );
    bench.hear_from(PEER, 1, 0);
    let refused = *bench.vhost.refused()?;
    bench.vhost.difference(&refused, PEER.parse().unwrap())
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
