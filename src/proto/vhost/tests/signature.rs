use super::*;

#[test]
fn after_a_change_of_key_or_addresses_the_previous_ones_count_for_a_while() {
    let old = v4();
    let hour = Duration::from_hours(1);
    let changed = || Settings {
        key: Key::new(b"new").unwrap(),
        ..settings(&["10.0.0.100/24", "10.0.0.101/24"])
    };
    let mut master = Bench::master(old.clone());
    let new = changed().following(&old, hour, master.now);
    let end = master.now + hour;
    assert_eq!(new.previous.as_ref().unwrap().until, end);
    master.vhost.reconfigure(new.clone(), master.now);
    let auth = |of: &Settings| Vhost::authenticator(of, of.vhid);
    let signed = |outputs: &[Output], of: &Settings| {
        let ads = sent(outputs).into_iter();
        ads.filter(|(_, _, ad)| auth(of).verify(ad.counter, &ad.digest))
            .count()
    };
    let outputs = master.until_deadline();
    assert_eq!((signed(&outputs, &new), signed(&outputs, &old)), (1, 1));
    assert_eq!(master.vhost.bow_out_packets(0).len(), 2);
    let calls = master.feed(Input::CallRoll);
    assert_eq!(
        calls.len(),
        2,
        "a backup that has not been reloaded can answer"
    );
    // A peer that has not been reloaded is heard, and one that has.
    master.hear_from(PEER, 1, 200);
    master.peer = auth(&new);
    master.hear_from(PEER, 1, 200);
    assert_eq!(master.vhost.stats().received, 2);
    // Another reload of something else changes nothing about it.
    let again = changed().following(&new, hour, master.now);
    assert_eq!(again, new);
    // Prefixes and order are not signed.
    let alike = Settings {
        addresses: ["10.0.0.101/32", "10.0.0.100/24"]
            .map(|address| address.parse().unwrap())
            .into(),
        ..changed()
    };
    assert_eq!(
        alike.following(&new, hour, master.now).previous,
        new.previous
    );
    // Back to the previous ones, the others count for the same time.
    let back = v4().following(&new, hour, master.now);
    assert_eq!(back.previous.as_ref().unwrap().addresses, new.addresses);
    assert_eq!(
        changed()
            .following(&old, Duration::ZERO, master.now)
            .previous,
        None
    );
    master.now = end;
    let outputs = master.feed(Input::Timer);
    let mut outputs = outputs;
    while master.vhost.state() != State::Master {
        outputs = master.until_deadline();
    }
    assert_eq!((signed(&outputs, &new), signed(&outputs, &old)), (1, 0));
    master.peer = auth(&old);
    let refused = master.hear_from(PEER, 1, 200);
    assert!(refused.contains(&Output::Rejected(Reject::Digest, PEER.parse().unwrap())));
}
