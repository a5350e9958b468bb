//! Interfaces of all kinds: what CARP runs on, what is refused, and what happens when a device goes
//! and comes back.

use std::process::ExitCode;

use carpd::lab::{Exit, Lab, Process};
use nix::sys::signal::Signal;

use crate::rig::{
    ADDRESS, CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Watch, holds, lan, mac, sh,
};
use crate::{ADDRESS_OF_A, ADDRESS_OF_B, Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    let long = |name, run| Case {
        limit: TAKEOVER * 6,
        ..Case::new(name, run)
    };
    vec![
        long("parents::bridges_and_macvlans_fail_over", above_a_card),
        long("parents::a_vxlan_fails_over", vxlan),
        long("parents::over_tun_unicast_fails_over", tun),
        Case::new(
            "parents::what_leads_nowhere_is_refused_with_what_to_do",
            refused,
        ),
        Case::new(
            "parents::a_master_whose_interface_joins_a_bridge_lets_go",
            joins_a_bridge,
        ),
        Case::new(
            "parents::under_an_alternative_name_a_device_may_be_renamed",
            renamed_below,
        ),
        long(
            "parents::a_device_that_is_moved_or_made_anew_is_used_again",
            away_and_back,
        ),
    ]
}

fn status(lab: &Lab, host: &str) -> Result<String, Failed> {
    let words = format!("{CARPD} status --config /run/lab/carpd.toml");
    Ok(sh(lab, host, &words)?.join("\n"))
}

/// Gives `eth0` of a host to another device, which gets its address. Otherwise Linux would answer
/// for addresses of a macvlan on the card below it as well.
fn put_above(lab: &Lab, host: &str, add: &str, address: &str) -> Outcome {
    let script = format!(
        "{add} && ip address flush dev eth0 && ip link set up0 up && ip address add {address}/24 dev up0 && \
         echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_ignore"
    );
    sh(lab, host, &script).map(drop)
}

/// A takeover after the master's sudden death, and back; the client asks who has the address.
fn above_a_card() -> Outcome {
    let kinds = [
        "ip link add up0 type bridge && ip link set eth0 master up0",
        "ip link add up0 link eth0 type macvlan mode bridge",
        "ip link add up0 link eth0 type macvlan mode private",
        "ip link add up0 link eth0 type macvlan mode vepa",
        "ip link add up0 link eth0 type macvlan mode passthru",
    ];
    kinds.into_iter().try_for_each(|kind| {
        above_a_card_of(kind).map_err(|error| format!("{kind}: {error}").into())
    })
}

fn above_a_card_of(kind: &str) -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    for (host, address) in [("a", ADDRESS_OF_A), ("b", ADDRESS_OF_B)] {
        put_above(&lab, host, kind, address)?;
    }
    let mac_of = |host: &str| -> Result<_, Failed> {
        let words = sh(&lab, host, "cat /sys/class/net/up0/address")?;
        Ok(words[0].parse()?)
    };
    let node = |host: &str| Carpd::new(host).set("interface", "\"up0\"");
    let a_spec = node("a");
    a_spec.write(&lab)?;
    is_good(&lab, "a")?;
    let mut a = a_spec.restart(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    watch.wait(&[mac_of("a")?], SOON)?;
    let mut b = node("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    // Nothing more is heard of it: no bow-out.
    sh(&lab, "a", "ip link set eth0 down")?;
    let took = b.wait_state("master", TAKEOVER)?;
    assert_eq!(took.text("cause"), "master-down", "{}", b.text());
    watch.wait(&[mac_of("b")?], SOON)?;
    // A new hardware address is announced like that of a card.
    sh(&lab, "b", "ip link set up0 address 02:00:00:00:99:02")?;
    watch.hear_announced("02:00:00:00:99:02".parse()?, SOON)?;
    watch.wait(&["02:00:00:00:99:02".parse()?], SOON)?;
    a.stop()?;
    b.stop()
}

/// `carpd check` finds nothing.
fn is_good(lab: &Lab, host: &str) -> Outcome {
    let checked = lab
        .host(host)
        .run(&[CARPD, "check", "/run/lab/carpd.toml"], SOON)?;
    assert!(
        checked.status == Exit::Code(0) && checked.stderr.is_empty(),
        "{checked:?}"
    );
    Ok(())
}

/// The hosts of a tunnelled network, in which nothing else is heard.
fn vxlan() -> Outcome {
    let lab = lan(&["a", "b"])?;
    for (host, n) in [("a", 1), ("b", 2), ("client", 3)] {
        let script = format!(
            "ip link add vx7 type vxlan id 7 group 239.1.1.7 dev eth0 dstport 4789 && ip link set vx7 up && \
             ip address add 10.7.0.{n}/24 dev vx7"
        );
        sh(&lab, host, &script)?;
    }
    let node = |host: &str| {
        Carpd::new(host)
            .set("interface", "\"vx7\"")
            .set("addresses", "[\"10.7.0.22/24\"]")
    };
    // The kernel asks for the address, and the client sees who answers.
    let answers = |host: &str| -> Outcome {
        let expected = sh(&lab, host, "cat /sys/class/net/vx7/address")?;
        let found = || {
            let ask = "echo > /dev/udp/10.7.0.22/9; ip neighbour show 10.7.0.22 dev vx7";
            let seen = sh(&lab, "client", ask).unwrap_or_default().join("\n");
            Ok(seen.contains(expected[0].as_str()).then_some(()))
        };
        Ok(lab.until(&format!("{host} to answer"), SOON, found)?)
    };
    let a_spec = node("a");
    a_spec.write(&lab)?;
    is_good(&lab, "a")?;
    let mut a = a_spec.restart(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    answers("a")?;
    let mut b = node("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    lab.until("b to hear a", SOON, || {
        let shown = status(&lab, "b").unwrap_or_default();
        Ok(shown.contains("hears 10.7.0.1").then_some(()))
    })?;
    sh(&lab, "a", "ip link set eth0 down")?;
    b.wait_state("master", TAKEOVER)?;
    answers("b")?;
    a.stop()?;
    b.stop()
}

/// The role that carries packets between a `tun0` and the other host.
pub(crate) const CARRIER: &str = "--carry-tun";

/// Opens `tun0` and carries what passes to the host with this address, and back.
pub(crate) fn carry(peer: &str) -> ExitCode {
    match crate::tun::carry(peer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A carrier that runs, with its device up.
fn tunnel(lab: &Lab, host: &str, peer: &str, own: &str) -> Result<Process, Failed> {
    let program = std::env::current_exe()?;
    let program = program.to_str().ok_or("a path that is no text")?;
    let mut carrier = lab.host(host).spawn(&[program, CARRIER, peer])?;
    carrier.wait_line("ready", SOON, |line| line == "ready")?;
    let (own4, own6) = (format!("10.8.0.{own}/24"), format!("2001:db8:8::{own}/64"));
    sh(
        lab,
        host,
        &format!(
            "ip link set tun0 up && ip address add {own4} dev tun0 && ip address add {own6} dev tun0 nodad"
        ),
    )?;
    Ok(carrier)
}

fn tun() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let _a = tunnel(&lab, "a", ADDRESS_OF_B, "1")?;
    let _b = tunnel(&lab, "b", ADDRESS_OF_A, "2")?;
    let node = |host: &str, peers: &str| {
        Carpd::new(host)
            .set("interface", "\"tun0\"")
            .set("addresses", "[\"10.9.0.22/32\", \"2001:db8:9::22/128\"]")
            .set("unicast", peers)
    };
    let all = "[\"10.8.0.1\", \"10.8.0.2\", \"2001:db8:8::1\", \"2001:db8:8::2\"]";
    let a_spec = node("a", all).preempts();
    a_spec.write(&lab)?;
    is_good(&lab, "a")?;
    let mut a = a_spec.restart(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    a.wait_says("Acquired the addresses", SOON)?;
    let mut b = node("b", all).advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    // In both families.
    lab.until("b to hear a", SOON, || {
        let json = sh(&lab, "b", &format!("{CARPD} status --json"))
            .unwrap_or_default()
            .join("\n");
        let shown: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
        let counters = &shown["vhosts"][0]["counters"];
        Ok((counters["received"].as_u64() >= Some(4)).then_some(()))
    })?;
    a.process.signal(Signal::SIGKILL)?;
    b.wait_state("master", TAKEOVER)?;
    b.wait_says("Acquired the addresses", SOON)?;
    let mut a = a_spec.restart(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    b.wait_state("backup", SOON)?;
    a.stop()?;
    let took = b.wait_state("master", SOON)?;
    assert_eq!(took.text("cause"), "master-leaving");
    assert!(!b.text().contains("Could not"), "{}", b.text());
    b.stop()
}

fn refused() -> Outcome {
    let lab = lan(&["a"])?;
    sh(
        &lab,
        "a",
        "ip link add ifb7 type ifb; ip link set ifb7 up; ip link add br7 type bridge; \
         ip link add v7 type veth peer name p7; ip link set v7 up; ip link set p7 master br7; ip link set p7 up; \
         ip link add quiet7 type veth peer name q7; ip link set quiet7 up multicast off; \
         ip link add hidden7 type veth peer name h7; ip link set hidden7 up arp off",
    )?;
    let _carrier = tunnel(&lab, "a", ADDRESS_OF_B, "1")?;
    let unicast = "[\"192.0.2.1\", \"192.0.2.2\"]";
    for (dev, multicast, unicasting) in [
        ("lo", "leads to no other host", true),
        ("ifb7", "drops what is sent there", true),
        ("p7", "is a port of a bridge", true),
        ("tun0", "carries IP packets, but no Ethernet frames", false),
        ("quiet7", "has multicast switched off", false),
        ("hidden7", "has ARP switched off", false),
    ] {
        let spec = Carpd::new("a").set("interface", format!("\"{dev}\""));
        for (spec, is_refused) in [
            (spec.clone(), true),
            (spec.set("unicast", unicast), unicasting),
        ] {
            spec.write(&lab)?;
            let checked = lab
                .host("a")
                .run(&[CARPD, "check", "/run/lab/carpd.toml"], SOON)?;
            let said = checked.stderr.join("\n");
            if is_refused {
                assert_eq!(checked.status, Exit::Code(3), "{dev}: {said}");
                assert!(said.contains(multicast), "{dev}: {said}");
            } else {
                assert_eq!(checked.status, Exit::Code(0), "{dev}: {said}");
            }
        }
    }
    // A daemon waits for what may change, and says so.
    let mut a = Carpd::new("a").set("interface", "\"quiet7\"").start(&lab)?;
    a.wait_says("Ready", SOON)?;
    let shown = status(&lab, "a")?;
    let mend = "`ip link set dev quiet7 multicast on`, or use `unicast`";
    assert!(
        shown.contains("not taking part: quiet7 has multicast switched off")
            && shown.contains(mend),
        "{shown}"
    );
    sh(
        &lab,
        "a",
        "ip link set q7 up; ip link set quiet7 multicast on",
    )?;
    a.wait_state("master", TAKEOVER)?;
    a.stop()
}

fn joins_a_bridge() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let mut a = Carpd::new("a").preempts().start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    sh(
        &lab,
        "a",
        "ip link add br7 type bridge; ip link set br7 up; ip link set eth0 master br7",
    )?;
    a.wait_state("init", SOON)?;
    let took = b.wait_state("master", SOON)?;
    assert_eq!(took.text("cause"), "master-leaving", "{}", b.text());
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    assert!(!holds(&lab, "a")?);
    let words = "eth0 is a port of a bridge, which takes all frames that arrive";
    let shown = status(&lab, "a")?;
    assert!(
        shown.contains(&format!(
            "not taking part: {words}: give the interface of the bridge"
        )),
        "{shown}"
    );
    let why = why(&lab, "a")?;
    assert!(why.contains(words), "{why}");
    sh(&lab, "a", "ip link set eth0 nomaster")?;
    a.wait_state("master", TAKEOVER)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    a.stop()?;
    b.stop()
}

fn why(lab: &Lab, host: &str) -> Result<String, Failed> {
    Ok(sh(lab, host, &format!("{CARPD} why"))?.join("\n"))
}

fn renamed_below() -> Outcome {
    let lab = lan(&["a"])?;
    sh(&lab, "a", "ip link property add dev eth0 altname uplink")?;
    let mut a = Carpd::new("a").set("interface", "\"uplink\"").start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    let states = a.states();
    // Since Linux 6.2 a device may be up meanwhile; older ones must be down.
    sh(&lab, "a", "ip link set dev eth0 name wan0")?;
    let address = "192.168.32.23";
    let more = Carpd::new("a")
        .set("interface", "\"uplink\"")
        .set("addresses", format!("[\"{ADDRESS}/24\", \"{address}/24\"]"));
    a.reload(&lab, &more)?;
    lab.until("the other address", SOON, || {
        let there = sh(&lab, "a", "ip address show dev wan0")
            .unwrap_or_default()
            .join("\n");
        Ok((there.contains(address) && there.contains(ADDRESS)).then_some(()))
    })?;
    assert_eq!(a.states(), states, "{}", a.text());
    a.stop()?;
    let there = sh(&lab, "a", "ip address show dev wan0")?.join("\n");
    assert!(
        !there.contains(address) && !there.contains(ADDRESS),
        "{there}"
    );
    Ok(())
}

fn away_and_back() -> Outcome {
    let lab = lan(&["a"])?;
    // Its far end is elsewhere, so that it need not be made anew.
    sh(
        &lab,
        "a",
        "ip netns add far; ip link add v7 type veth peer name p7 netns far; ip -n far link set p7 up; \
         ip link set v7 up; ip address add 192.168.33.1/24 dev v7",
    )?;
    let mut a = Carpd::new("a").set("interface", "\"v7\"").start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    gone(
        &lab,
        &mut a,
        "ip netns add away; ip link set v7 netns away",
        "v7: it was moved to another network namespace",
    )?;
    back(
        &lab,
        &mut a,
        "ip -n away link set v7 netns 1; ip link set v7 up",
    )?;
    gone(
        &lab,
        &mut a,
        "ip link set v7 down; ip link set v7 name w7",
        "v7: it is called w7 now",
    )?;
    back(
        &lab,
        &mut a,
        "ip link set w7 down; ip link set w7 name v7; ip link set v7 up",
    )?;
    let index = "cat /sys/class/net/v7/ifindex";
    let first = sh(&lab, "a", index)?;
    gone(&lab, &mut a, "ip link delete v7", "v7: it was removed")?;
    back(
        &lab,
        &mut a,
        "ip link add v7 type veth peer name p7 netns far; ip -n far link set p7 up; ip link set v7 up",
    )?;
    assert_ne!(sh(&lab, "a", index)?, first);
    let why = why(&lab, "a")?;
    for words in [
        "v7 was moved to another network namespace",
        "v7 is called w7 now",
        "v7 was removed",
        "v7 is there, as link ",
    ] {
        assert!(why.contains(words), "{words}: {why}");
    }
    a.stop()
}

/// The device goes: the node lets go, and says what it waits for.
fn gone(lab: &Lab, a: &mut Daemon, how: &str, words: &str) -> Outcome {
    sh(lab, "a", how)?;
    a.wait_state("init", SOON)?;
    let shown = status(lab, "a")?;
    assert!(shown.contains(&format!("waiting for {words}")), "{shown}");
    Ok(())
}

/// It is there again: the node is master on it.
fn back(lab: &Lab, a: &mut Daemon, how: &str) -> Outcome {
    sh(lab, "a", how)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    let there = sh(lab, "a", "ip address show dev v7")?.join("\n");
    assert!(there.contains(ADDRESS), "{there}");
    Ok(())
}
