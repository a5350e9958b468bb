//! Virtual hosts whose nodes send to each other instead of to a multicast group.

use std::time::Duration;

use carpd::lab::{Exit, HostSpec, Lab, LabSpec};
use nix::sys::signal::Signal;

use crate::rig::{CARPD, Carpd, Failed, SOON, TAKEOVER, dual_lan, holds, lan, sh};
use crate::tree::Tree;
use crate::{Case, Outcome};

/// For what waits for several master-down times, on a busy machine.
const LONG: Duration = Duration::from_mins(1);

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, play| Case {
        limit: LONG,
        ..Case::new(name, play)
    };
    vec![
        case(
            "unicast::three_nodes_with_the_same_list_hand_over_and_outlive_each_other",
            three,
        ),
        case(
            "unicast::nodes_with_a_router_between_them_need_a_lower_min_ttl",
            router,
        ),
        case(
            "unicast::nodes_with_and_without_it_refuse_each_other_and_say_why",
            mixed,
        ),
        case("unicast::the_state_of_each_peer_shows", peers),
        case(
            "unicast::an_address_that_no_host_has_here_is_refused",
            edges,
        ),
        case("unicast::a_reload_changes_from_multicast_and_back", reload),
    ]
}

fn status(lab: &Lab, host: &str) -> Result<String, Failed> {
    // A split is told by the exit status, too.
    let words = format!("{CARPD} status --config /run/lab/carpd.toml || [ $? = 7 ]");
    Ok(sh(lab, host, &words)?.join("\n"))
}

/// IPv4 and IPv6, on one switch: the list contains the node itself.
fn three() -> Outcome {
    let lab = dual_lan(&["a", "b", "c"])?;
    let nodes = ["192.168.32.32", "192.168.32.33", "192.168.32.34"];
    let nodes6 = ["2001:db8::32", "2001:db8::33", "2001:db8::34"];
    let node = |host: &str, advskew| {
        Carpd::new(host)
            .set("addresses", "[\"192.168.32.22/24\", \"2001:db8::22/64\"]")
            .set("unicast", format!("{:?}", [nodes, nodes6].concat()))
            .advskew(advskew)
    };
    let mut a = node("a", 0).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    // Whichever follows a first, b is master in the end.
    let mut b = node("b", 50).preempts().start(&lab)?;
    let mut c = node("c", 100).start(&lab)?;
    b.wait_state("backup", SOON)?;
    c.wait_state("backup", SOON)?;
    lab.until("b and c to hear a over unicast", SOON, || {
        let heard = |host| status(&lab, host).is_ok_and(|text| text.contains("  heard "));
        Ok((heard("b") && heard("c")).then_some(()))
    })?;
    // The kernels do not refuse what the daemons hear: nothing else reads protocol 112.
    let refused = "awk '/^Icmp: [0-9]/ { print $16 }' /proc/net/snmp";
    let before = sh(&lab, "b", refused)?;
    let handed = sh(
        &lab,
        "a",
        &format!("{CARPD} resign web --config /run/lab/carpd.toml"),
    )?;
    assert!(
        handed.join("\n").contains("handed over to 192.168.32.3"),
        "{handed:?}"
    );
    b.wait_state("master", SOON)?;
    // An engine that dies has its keeper bow out, by the same way.
    let tree = Tree::of(&lab, "b", &b)?;
    tree.signal(tree.engine()?, Signal::SIGKILL)?;
    let one = lab.until("another node to take over", TAKEOVER, || {
        let holds: Vec<&str> = ["a", "c"]
            .into_iter()
            .filter(|h| holds(&lab, h).unwrap_or(false))
            .collect();
        Ok(holds.first().copied())
    })?;
    // The keeper bowed out. The address may be there before the line about it.
    let took = if one == "a" { &a } else { &c };
    lab.until("it to say why", SOON, || {
        let entries = took.entries();
        let last = entries.iter().rfind(|entry| entry.becomes("master"));
        let follows = last.is_some_and(|entry| entry.text("cause") == "master-leaving");
        Ok(follows.then_some(()))
    })?;
    assert_eq!(
        sh(&lab, "b", refused)?,
        before,
        "destination unreachable was sent"
    );
    for daemon in [&a, &b, &c] {
        daemon.stop()?;
    }
    Ok(())
}

fn peers() -> Outcome {
    let lab = dual_lan(&["a", "b"])?;
    let all = "[\"192.168.32.32\", \"192.168.32.33\", \"2001:db8:9::34\"]";
    let node = |host: &str| Carpd::new(host).set("unicast", all);
    let mut a = node("a").start(&lab)?;
    let mut b = node("b").advskew(50).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    b.wait_state("backup", SOON)?;
    let says = |host: &str, words: &[&str]| -> Outcome {
        Ok(lab.until(&format!("{host}: {words:?}"), SOON, || {
            let text = status(&lab, host).unwrap_or_default();
            Ok(words.iter().all(|word| text.contains(word)).then_some(()))
        })?)
    };
    let refused = "    peer 2001:db8:9::34: not heard yet, could not be sent to ";
    says(
        "a",
        &[
            "    peer 192.168.32.33: not heard yet, sent to ",
            refused,
            "Network is unreachable",
        ],
    )?;
    says("b", &["    peer 192.168.32.32: heard "])?;
    assert!(!status(&lab, "a")?.contains("peer 192.168.32.32"), "itself");
    sh(&lab, "a", "ip -6 route add 2001:db8:9::/64 dev eth0")?;
    says(
        "a",
        &[
            "    peer 2001:db8:9::34: not heard yet, sent to ",
            " ms ago, could not be ",
        ],
    )?;
    b.stop()?;
    a.stop()
}

/// What follows from the networks of this machine alone.
fn edges() -> Outcome {
    let lab = lan(&["a"])?;
    let spec = Carpd::new("a").set("addresses", "[\"192.168.32.22/32\"]");
    let check = |spec: &Carpd| -> Result<(Exit, String), Failed> {
        spec.write(&lab)?;
        let checked = lab
            .host("a")
            .run(&[CARPD, "check", "/run/lab/carpd.toml"], SOON)?;
        Ok((checked.status, checked.stderr.join("\n")))
    };
    let words = "192.168.32.255 is the broadcast address of its network: eth0 has the address 192.168.32.32/24";
    let refused = [
        spec.clone().set("unicast", "[\"192.168.32.255\"]"),
        spec.clone().set("addresses", "[\"192.168.32.255/32\"]"),
    ];
    for spec in &refused {
        let (status, said) = check(spec)?;
        assert!(status == Exit::Code(3) && said.contains(words), "{said}");
    }
    let mut a = spec.start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let [peer, _] = &refused;
    peer.write(&lab)?;
    a.process.signal(Signal::SIGHUP)?;
    let entry = a.wait_says("Cannot reload", SOON)?;
    assert!(a.text().contains(words), "{entry:?}");
    a.stop()?;
    // On another interface it may be on purpose.
    sh(&lab, "a", "ip address add 192.168.32.22/32 dev lo")?;
    let (status, said) = check(&spec)?;
    assert!(
        status == Exit::Code(0) && said.contains("192.168.32.22 is up on lo"),
        "{said}"
    );
    Ok(())
}

/// Two networks on one wire, and a router with a leg in each of them.
fn router() -> Outcome {
    let host = |name: &str, addresses: &[&str]| {
        let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        HostSpec::new(name, &addresses)
    };
    let lab = Lab::start(&LabSpec {
        hosts: vec![
            host("a", &["10.1.0.1/24", "2001:db8:1::1/64"]),
            host("b", &["10.2.0.1/24", "2001:db8:2::1/64"]),
            host(
                "r",
                &[
                    "10.1.0.254/24",
                    "10.2.0.254/24",
                    "2001:db8:1::fe/64",
                    "2001:db8:2::fe/64",
                ],
            ),
        ],
    })?;
    sh(
        &lab,
        "r",
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
         net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0",
    )?;
    for (host, gateway) in [("a", "1"), ("b", "2")] {
        sh(
            &lab,
            host,
            &format!(
                "ip route add default via 10.{gateway}.0.254; \
                 ip -6 route add default via 2001:db8:{gateway}::fe"
            ),
        )?;
    }
    let node = |host: &str, advskew, peers: [&str; 2]| {
        Carpd::new(host)
            .set("addresses", "[\"192.0.2.22/32\", \"2001:db8:9::22/128\"]")
            .set("unicast", format!("{peers:?}"))
            .advskew(advskew)
    };
    let (a, b) = (
        node("a", 0, ["10.2.0.1", "2001:db8:2::1"]),
        node("b", 50, ["10.1.0.1", "2001:db8:1::1"]),
    );
    // One that came too far is refused.
    let mut alone = a.start(&lab)?;
    alone.wait_state("master", TAKEOVER)?;
    let mut far = b.start(&lab)?;
    let refused = far.wait_says("Refusing advertisements", TAKEOVER)?;
    assert_eq!(refused.text("reason"), "ttl");
    let text = status(&lab, "b")?;
    assert!(text.contains("unicast` and `min-ttl` allow it"), "{text}");
    alone.stop()?;
    far.stop()?;
    let mut a = a.set("min-ttl", 254).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = b.set("min-ttl", 254).start(&lab)?;
    b.wait_state("backup", SOON)?;
    let heard = |text: &str| {
        let line = text.lines().find(|line| line.contains("  heard "));
        line.is_some_and(|line| line.contains("10.1.0.1") || line.contains("2001:db8:1::1"))
    };
    lab.until("b to hear a through the router", SOON, || {
        Ok(heard(&status(&lab, "b").unwrap_or_default()).then_some(()))
    })?;
    a.stop()?;
    let took = b.wait_state("master", SOON)?;
    assert_eq!(took.text("cause"), "master-leaving");
    let address = "192.0.2.22".parse()?;
    let there = || Ok(lab.host("b").facts()?.holds(address).then_some(()));
    lab.until("b to hold 192.0.2.22", SOON, there)?;
    b.stop()
}

fn mixed() -> Outcome {
    let lab = lan(&["a", "b", "c"])?;
    let mut a = Carpd::new("a")
        .set("unicast", "[\"192.168.32.33\"]")
        .start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let b = Carpd::new("b").start(&lab)?;
    let c = Carpd::new("c")
        .set("unicast", "[\"192.168.32.32\"]")
        .start(&lab)?;
    for (host, cause) in [
        ("a", "(sent_to_group"),
        ("a", "this node has `unicast`, the peer has not"),
        ("a", "(not_a_peer"),
        (
            "a",
            "a peer that is missing in `unicast`, or that sends from another address",
        ),
        ("a", "  unicast to 192.168.32.33"),
        ("b", "(sent_to_us"),
        (
            "b",
            "the peer has `unicast` (FreeBSD: `peer`), this node has not",
        ),
    ] {
        lab.until(&format!("{cause} on {host}"), TAKEOVER, || {
            let said = status(&lab, host).unwrap_or_default();
            Ok(said.contains(cause).then_some(()))
        })?;
    }
    a.wait_says("Refusing advertisements", SOON)?;
    for daemon in [&a, &b, &c] {
        daemon.stop()?;
    }
    Ok(())
}

/// Node after node, the master last: it is the master throughout.
fn reload() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let plain = |host: &str, advskew| Carpd::new(host).advskew(advskew);
    let unicast = |host: &str, advskew| {
        plain(host, advskew).set("unicast", "[\"192.168.32.32\", \"192.168.32.33\"]")
    };
    let mut a = plain("a", 0).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = plain("b", 50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    b.reload(&lab, &unicast("b", 50))?;
    a.reload(&lab, &unicast("a", 0))?;
    lab.until("b to hear a over unicast", SOON, || {
        let text = status(&lab, "b").unwrap_or_default();
        Ok((text.contains("  unicast to ") && text.contains("  heard ")).then_some(()))
    })?;
    a.reload(&lab, &plain("a", 0))?;
    b.reload(&lab, &plain("b", 50))?;
    assert_eq!(a.states(), ["backup", "master"]);
    assert_eq!(b.states(), ["backup"]);
    a.stop()?;
    b.wait_state("master", SOON)?;
    b.stop()
}
