//! What connections come from while a virtual address is up.

use crate::rig::{ADDRESS, Carpd, Failed, SOON, TAKEOVER, dual_lan, lan, sh};
use crate::{Case, Outcome};
use carpd::lab::Lab;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "sources::the_hosts_own_address_comes_first_however_late_it_is",
            own_first,
        ),
        Case::new("sources::many_addresses_are_moved_a_few_at_a_time", many),
        Case::new(
            "sources::an_ipv6_address_is_a_source_only_if_that_is_wanted",
            preferred,
        ),
    ]
}

/// The source that the kernel chooses for a socket that is connected to this address.
fn source(lab: &Lab, to: &str) -> Result<String, Failed> {
    let script = format!("exec 3<>/dev/udp/{to}/9; ss -Hun dport = 9 | awk '{{print $(NF-1)}}'");
    let shown = sh(lab, "a", &script)?.join(" ");
    let (ip, _port) = shown.rsplit_once(':').unwrap_or_default();
    Ok(ip.trim_matches(['[', ']']).to_owned())
}

/// The IPv4 addresses of `a`, in the kernel's order.
fn order(lab: &Lab) -> Result<Vec<String>, Failed> {
    sh(
        lab,
        "a",
        "ip -4 -o address show dev eth0 | awk '{print $4}'",
    )
}

/// As in many clouds: the own address has no network, the gateway is in none, and the route to it
/// names no source.
fn own_first() -> Outcome {
    let lab = lan(&["a"])?;
    sh(&lab, "a", "ip address flush dev eth0")?;
    let mut a = Carpd::new("a")
        .set(
            "addresses",
            format!("[\"{ADDRESS}/32\", \"192.168.32.23/32\"]"),
        )
        .start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    // A route that names the virtual address, which the kernel would remove with it, and a
    // connection to it.
    sh(
        &lab,
        "a",
        &format!("ip route add 203.0.113.0/24 dev eth0 src {ADDRESS}"),
    )?;
    let states = a.states();
    // Late, and once more: a renewal by a client that removes it first.
    for _ in 0..2 {
        sh(
            &lab,
            "a",
            "ip address add 10.7.7.7/32 dev eth0; ip route replace default via 172.31.1.1 dev eth0 onlink",
        )?;
        a.wait_says(
            "Moved virtual addresses behind the host's own, which connections come from again",
            SOON,
        )?;
        assert_eq!(
            order(&lab)?,
            ["10.7.7.7/32", "192.168.32.22/32", "192.168.32.23/32"]
        );
        assert_eq!(source(&lab, "198.51.100.1")?, "10.7.7.7");
        assert_eq!(
            sh(&lab, "a", "ip route show 203.0.113.0/24")?.len(),
            1,
            "it never was away"
        );
        sh(&lab, "a", "ip address delete 10.7.7.7/32 dev eth0")?;
        assert_eq!(source(&lab, "198.51.100.1")?, ADDRESS, "there is no other");
    }
    assert_eq!(a.states(), states);
    assert!(!a.text().contains("Restored"), "{}", a.text());
    // They are leases as before.
    let lifetimes = sh(
        &lab,
        "a",
        "ip -4 -o address show dev eth0 | grep -c 'valid_lft [12]sec'",
    )?;
    assert_eq!(lifetimes, ["2"]);
    a.stop()
}

fn many() -> Outcome {
    let lab = lan(&["a"])?;
    sh(&lab, "a", "ip address flush dev eth0")?;
    let vhost = |vhid: u8| {
        let addresses: Vec<_> = (1..=70).map(|n| format!("10.0.{vhid}.{n}/32")).collect();
        format!(
            "[[vhost]]\nname = \"v{vhid}\"\ninterface = \"eth0\"\nvhid = {vhid}\n\
             addresses = {addresses:?}\npassword-file = \"/run/lab/web.pass\"\n"
        )
    };
    let vhosts: String = (1..=3).map(vhost).collect();
    let mut a = Carpd::new("a").vhosts(vhosts).start(&lab)?;
    for _ in 0..3 {
        a.wait_says("Acquired the addresses", TAKEOVER)?;
    }
    sh(&lab, "a", "ip address add 10.7.7.7/32 dev eth0")?;
    lab.until("the own address to be first", SOON, || {
        let there = order(&lab).unwrap_or_default();
        let first = there.first().is_some_and(|first| first == "10.7.7.7/32");
        Ok((first && there.len() == 211).then_some(()))
    })?;
    for _ in 0..3 {
        a.wait_says(
            "Moved virtual addresses behind the host's own, which connections come from again",
            SOON,
        )?;
    }
    a.stop()
}

fn preferred() -> Outcome {
    let lab = dual_lan(&["a"])?;
    // It has more bits in common with those of the network than the own one has.
    let (to, own, ours) = ("2001:db8::f023", "2001:db8::32", "2001:db8::f022");
    let spec = Carpd::new("a").set("addresses", format!("[\"{ours}/64\"]"));
    let wanted = spec.clone().set("preferred-lifetime", "\"forever\"");
    let mut a = spec.start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    assert_eq!(source(&lab, to)?, own);
    let states = a.states();
    for (spec, expected) in [(&wanted, ours), (&spec, own), (&wanted, ours)] {
        a.reload(&lab, spec)?;
        assert_eq!(source(&lab, to)?, expected, "{}", spec.toml());
    }
    // A renewal keeps it so.
    a.wait_says("never", std::time::Duration::from_millis(1500))
        .unwrap_err();
    assert_eq!(source(&lab, to)?, ours);
    assert_eq!(a.states(), states);
    a.stop()?;
    let mut a = spec.set("lease", "\"off\"").start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    assert_eq!(source(&lab, to)?, own);
    // The only one of the host is its source all the same.
    sh(
        &lab,
        "a",
        &format!("ip address delete {own}/64 dev eth0; ip -6 route replace 2001:db8::/64 dev eth0"),
    )?;
    assert_eq!(source(&lab, to)?, ours);
    a.stop()
}
