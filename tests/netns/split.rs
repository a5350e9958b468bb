//! Nodes that disagree, or that nobody follows: what the operator is told.

use std::time::Duration;

use carpd::lab::Lab;

use crate::rig::{CARPD, Carpd, Failed, SOON, TAKEOVER, holds, lan, sh};
use crate::{ADDRESS_OF_B, Case, Outcome};

/// For what waits for several master-down times, on a busy machine.
const LONG: Duration = Duration::from_mins(1);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            limit: LONG,
            ..Case::new(
                "split::a_refused_address_is_no_storm_and_the_good_one_is_held",
                storm,
            )
        },
        Case::new(
            "split::another_password_is_named_by_status_and_why",
            password,
        ),
        Case::new(
            "split::a_mistyped_vhid_is_recognised_by_its_signature",
            vhid,
        ),
        Case::new(
            "split::resign_refuses_without_a_peer_and_tells_what_came_of_it_with_one",
            resign,
        ),
        Case {
            limit: LONG,
            ..Case::new(
                "split::a_demotion_for_failed_sends_has_an_end_and_an_operator_can_end_it",
                sends,
            )
        },
    ]
}

/// Output and exit status of a verb.
fn carpd(lab: &Lab, host: &str, words: &str) -> Result<(String, String), Failed> {
    let mut lines = sh(
        lab,
        host,
        &format!("{CARPD} {words} --config /run/lab/carpd.toml 2>&1; echo $?"),
    )?;
    let status = lines.pop().unwrap_or_default();
    Ok((lines.join("\n"), status))
}

fn storm() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let both = "[\"192.168.32.22/24\", \"2001:db8::22/64\"]";
    let mut daemons = Vec::new();
    for (host, advskew) in [("a", 0), ("b", 50)] {
        sh(&lab, host, "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1")?;
        daemons.push(
            Carpd::new(host)
                .advskew(advskew)
                .set("addresses", both)
                .start(&lab)?,
        );
    }
    let told = daemons[0].wait_says(
        "Cannot hold all its addresses; staying master with the others",
        TAKEOVER * 2,
    )?;
    assert!(told.text("refused").contains("2001:db8::22/64"), "{told:?}");
    assert!(holds(&lab, "a")? && !holds(&lab, "b")?);
    for daemon in &daemons {
        assert!(daemon.states().len() <= 5, "{:?}", daemon.states());
    }
    let (said, _) = carpd(&lab, "a", "status")?;
    assert!(
        said.contains("but not 2001:db8::22/64")
            && said.contains("240: cannot hold all its addresses"),
        "{said}"
    );
    // An interface that has IPv6 again gets an address of its own, and that is a sign.
    sh(&lab, "a", "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0")?;
    daemons[0].wait_says("Holds all its addresses again", TAKEOVER * 2)?;
    assert!(lab.host("a").facts()?.holds("2001:db8::22".parse()?));
    daemons.iter().try_for_each(crate::rig::Daemon::stop)
}

fn password() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let b = Carpd::new("b").advskew(50);
    b.write(&lab)?;
    lab.host("b").write("/run/lab/web.pass", 0o600, "other\n")?;
    let mut b = b.restart(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let told = a.wait_says("Becoming master although another node advertises", SOON)?;
    let cause = "another password, or another list of addresses";
    assert!(told.text("text").contains(cause), "{told:?}");
    for daemon in [&mut a, &mut b] {
        daemon.wait_says("Split: another node is master as well", SOON)?;
    }
    for (host, verb, code) in [
        ("a", "status", "7"),
        ("a", "why", "0"),
        ("b", "status", "7"),
        ("b", "why", "0"),
    ] {
        let (said, status) = carpd(&lab, host, verb)?;
        assert!(
            status == code && said.contains(cause),
            "{host} {verb}: {said}"
        );
    }
    a.stop()?;
    b.stop()
}

fn vhid() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut b = Carpd::new("b").set("vhid", 41).start(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let recognised = "it has the password and addresses of web, so one of the two vhids is wrong";
    for verb in ["status", "why"] {
        let (said, _) = carpd(&lab, "a", verb)?;
        assert!(
            said.contains("vhid 41") && said.contains(recognised),
            "{verb}: {said}"
        );
    }
    a.stop()?;
    b.stop()
}

fn resign() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let (said, status) = carpd(&lab, "a", "resign web")?;
    assert!(
        status == "5" && said.contains("no fit peer answered"),
        "{status}: {said}"
    );
    assert!(
        holds(&lab, "a")? && a.states() == ["backup", "master"],
        "nothing was done"
    );
    let (said, status) = carpd(&lab, "a", "resign web --force")?;
    assert!(
        status == "0" && said.contains("no peer took over; no node held the addresses for 3"),
        "{status}: {said}"
    );
    assert!(holds(&lab, "a")?);

    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_says("Ready", SOON)?;
    let (said, status) = carpd(&lab, "a", "resign web")?;
    assert!(
        status == "0" && said.contains(&format!("web: handed over to {ADDRESS_OF_B} after ")),
        "{status}: {said}"
    );
    // Its address goes up once its word is out.
    b.wait_says("Acquired the addresses", SOON)?;
    assert!(holds(&lab, "b")?);
    a.stop()?;
    b.stop()
}

fn sends() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = Carpd::new("a").preempts().start(&lab)?;
    let mut b = Carpd::new("b").advskew(50).preempts().start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let chain =
        "chain e { type filter hook egress device eth0 priority 0; ip protocol 112 drop; };";
    sh(&lab, "a", &format!("nft 'table netdev f {{ {chain} }}'"))?;
    b.wait_state("master", TAKEOVER)?;
    // Its lease may have ended before the third failure: then it preempts once more, and yields
    // when it is demoted.
    a.wait("it to yield", TAKEOVER, |entry| {
        entry.becomes("backup") && entry.text("cause") == "better-master"
    })?;
    let (said, _) = carpd(&lab, "a", "status")?;
    assert!(
        said.contains("    240: could not send over IPv4; ends in "),
        "{said}"
    );
    sh(&lab, "a", "nft delete table netdev f")?;
    let (said, status) = carpd(&lab, "a", "undemote web")?;
    assert_eq!(
        (said.as_str(), status.as_str()),
        (
            "web: no longer demoted by 240: could not send over IPv4",
            "0"
        )
    );
    a.wait_state("master", SOON)?;
    let (said, _) = carpd(&lab, "a", "undemote web")?;
    assert_eq!(said, "web: not demoted");
    a.stop()?;
    b.stop()
}
