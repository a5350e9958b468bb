//! Who advertises, and what is wrong with them: twelve mistakes and five good set-ups, each with real
//! daemons; and what a split looks like.

use std::process::ExitCode;
use std::time::Duration;

use carpd::lab::clock::Ticker;
use carpd::lab::{Lab, PROGRAM, Process};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::forge::Forger;
use crate::rig::{
    CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Ucarp, dual_lan, lan, sh, wait_ucarp,
};
use crate::{ADDRESS_OF_B, Case, Outcome};

/// The role of the program that captures an advertisement of the master and sends it again.
pub(crate) const REPLAYER: &str = "--replay-advertisement";

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, run| Case {
        limit: Duration::from_mins(1),
        ..Case::new(name, run)
    };
    vec![
        case("advertisers::another_password", password),
        case("advertisers::an_address_is_missing", missing),
        case("advertisers::an_address_of_before_is_still_there", earlier),
        case("advertisers::an_address_that_is_announced", announced),
        case("advertisers::one_family_only", family),
        case("advertisers::ucarp_has_one_address_only", ucarp),
        case("advertisers::another_vhid", other_vhid),
        case("advertisers::the_vhid_of_another", other_owner),
        case("advertisers::vrrp_with_the_same_number", vrrp),
        case("advertisers::unicast_on_one_side", unicast),
        case("advertisers::a_hop_limit_that_was_counted_down", hop_limit),
        case("advertisers::an_advertisement_that_is_sent_again", replay),
        case("advertisers::of_five_good_set_ups_none_is_blamed", good),
        case("advertisers::a_split_is_said_everywhere", split),
    ]
}

/// Output and exit status of a verb.
fn carpd(lab: &Lab, host: &str, words: &str) -> Result<(String, String), Failed> {
    let words = format!("{CARPD} {words} --config /run/lab/carpd.toml; echo $?");
    let mut lines = sh(lab, host, &words)?;
    let status = lines.pop().unwrap_or_default();
    Ok((lines.join("\n"), status))
}

/// The senders that a host has heard.
fn heard(lab: &Lab, host: &str) -> Result<Vec<Value>, Failed> {
    let report: Value = serde_json::from_str(&carpd(lab, host, "peers --json")?.0)?;
    Ok(report["advertisers"]
        .as_array()
        .cloned()
        .unwrap_or_default())
}

/// What a host says is wrong with those that it hears, as words and texts.
fn causes(lab: &Lab, host: &str) -> Result<Vec<(String, String)>, Failed> {
    let heard = heard(lab, host)?;
    let all = heard.iter().filter_map(|peer| peer["causes"].as_array());
    let word = |cause: &Value, key: &str| cause[key].as_str().unwrap_or_default().to_owned();
    Ok(all
        .flatten()
        .map(|cause| (word(cause, "cause"), word(cause, "text")))
        .collect())
}

/// Within five seconds it is known what is wrong, and nothing else is said.
fn is_found(lab: &Lab, host: &str, wanted: &[&str], text: &str) -> Outcome {
    let found = lab.until(&format!("{host} to find {wanted:?}"), SOON, || {
        let causes = causes(lab, host).unwrap_or_default();
        let is_it = causes
            .iter()
            .map(|(cause, _)| cause.as_str())
            .eq(wanted.iter().copied());
        let is_told = causes.iter().any(|(_, told)| told.contains(text));
        Ok((is_it && is_told).then_some(()))
    });
    found.map_err(|error| format!("{error}; there is {:?}", heard(lab, host)).into())
}

fn both(addresses: &[&str]) -> String {
    let all: Vec<String> = addresses
        .iter()
        .map(|last| format!("192.168.32.{last}/24"))
        .collect();
    format!("{all:?}")
}

/// `a` is master, and then `b` with something wrong: what `a` finds.
fn beside(lab: &Lab, a: &Carpd, b: &Carpd, wanted: &[&str], text: &str) -> Outcome {
    let mut a = a.start(lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = b.start(lab)?;
    b.wait_state("master", TAKEOVER)?;
    is_found(lab, "a", wanted, text)?;
    a.stop()?;
    b.stop()
}

fn password() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let b = Carpd::new("b");
    b.write(&lab)?;
    lab.host("b").write("/run/lab/web.pass", 0o600, "other\n")?;
    let mut b = b.restart(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    // Not to be told from an address that is not known here.
    is_found(
        &lab,
        "a",
        &["other-password", "other-addresses"],
        "another password",
    )?;
    a.stop()?;
    b.stop()
}

fn missing() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let node = |host: &str, list: &[&str]| Carpd::new(host).set("addresses", both(list));
    let (a, b) = (node("a", &["22", "23", "24"]), node("b", &["22", "24"]));
    beside(&lab, &a, &b, &["other-addresses"], "lacks 192.168.32.23")
}

fn earlier() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let node = |host: &str, list: &[&str]| {
        let node = Carpd::new(host).set("overlap", "\"0s\"");
        node.set("addresses", both(list))
    };
    let mut a = node("a", &["22", "23"]).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    a.reload(&lab, &node("a", &["22", "24"]))?;
    let mut b = node("b", &["22", "24", "23"]).start(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    is_found(&lab, "a", &["other-addresses"], "includes 192.168.32.23")?;
    b.stop()?;
    let mut b = node("b", &["22", "23"]).start(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    lab.until("a to know its own list of before", 10 * SOON, || {
        let causes = causes(&lab, "a").unwrap_or_default();
        let is_told = causes
            .iter()
            .any(|(_, text)| text.contains("configured here before"));
        Ok(is_told.then_some(()))
    })?;
    a.stop()?;
    b.stop()
}

fn announced() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let node = |host: &str, list: &[&str]| Carpd::new(host).set("addresses", both(list));
    let (a, b) = (node("a", &["22"]), node("b", &["22", "99"]));
    beside(&lab, &a, &b, &["other-addresses"], "includes 192.168.32.99")
}

fn family() -> Outcome {
    let lab = dual_lan(&["a", "b"])?;
    let a = Carpd::new("a").set("addresses", "[\"192.168.32.22/24\", \"2001:db8::22/64\"]");
    beside(
        &lab,
        &a,
        &Carpd::new("b"),
        &["other-addresses"],
        "the IPv4 addresses only",
    )
}

/// ucarp has one address, and no more.
fn ucarp() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let a = Carpd::new("a").set("addresses", both(&["22", "23", "24"]));
    let mut a = a.start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = Ucarp::on_b(0, true).start(&lab)?;
    wait_ucarp(&mut b, "MASTER", TAKEOVER)?;
    is_found(&lab, "a", &["other-addresses"], "has only 192.168.32.22")?;
    b.signal(Signal::SIGKILL)?;
    a.stop()
}

fn other_vhid() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let (a, b) = (Carpd::new("a"), Carpd::new("b").set("vhid", 41));
    beside(
        &lab,
        &a,
        &b,
        &["other-owner"],
        "one of the two vhids is wrong",
    )
}

/// `web` and `db`, each with an address and a vhid.
fn two(web: u8, db: u8) -> String {
    let vhost = |name, vhid, last| {
        format!(
            "[[vhost]]\nname = \"{name}\"\ninterface = \"eth0\"\nvhid = {vhid}\naddresses = [\"192.168.32.{last}/24\"]\npassword-file = \"/run/lab/web.pass\"\n\n"
        )
    };
    vhost("web", web, 22) + &vhost("db", db, 23)
}

fn other_owner() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let a = Carpd::new("a").vhosts(two(40, 41));
    let b = Carpd::new("b").set("addresses", both(&["23"]));
    beside(
        &lab,
        &a,
        &b,
        &["other-owner"],
        "it has the password and addresses of db",
    )
}

/// keepalived as master on `b`, with this virtual router id and version.
fn keepalived(lab: &Lab, id: u8, version: u8) -> Result<Process, Failed> {
    let host = lab.host("b");
    let text = format!(
        "global_defs {{\n  vrrp_version {version}\n}}\nvrrp_instance v {{\n  state MASTER\n  interface eth0\n  \
         virtual_router_id {id}\n  priority 200\n  advert_int 1\n  virtual_ipaddress {{\n    192.168.32.99/24\n  }}\n}}\n"
    );
    host.write("/run/lab/keepalived.conf", 0o644, &text)?;
    let words = "keepalived --dont-fork --vrrp --log-console --use-file=/run/lab/keepalived.conf \
                 --pid=/run/lab/k.pid --vrrp_pid=/run/lab/v.pid";
    Ok(host.spawn(&words.split_whitespace().collect::<Vec<_>>())?)
}

fn vrrp() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    for version in [2, 3] {
        let router = keepalived(&lab, 40, version)?;
        let name = format!("vrrp{version}");
        let is_heard = || {
            let heard = heard(&lab, "a").unwrap_or_default();
            let is_it = |peer: &Value| peer["implementation"] == name.as_str();
            Ok(heard.iter().any(is_it).then_some(()))
        };
        lab.until(&format!("a to hear {name}"), TAKEOVER, is_heard)?;
        let causes = causes(&lab, "a")?;
        assert!(
            causes.iter().all(|(cause, _)| cause == "vrrp") && !causes.is_empty(),
            "{causes:?}"
        );
        router.signal(Signal::SIGTERM)?;
        router.wait(SOON)?;
    }
    // It is no master of ours.
    let (said, status) = carpd(&lab, "a", "status")?;
    assert!(status == "0" && !said.contains("split"), "{said}");
    a.stop()
}

fn unicast() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let b = Carpd::new("b").set("unicast", "[\"192.168.32.32\"]");
    beside(
        &lab,
        &Carpd::new("a"),
        &b,
        &["delivery"],
        "the peer has `unicast`",
    )
}

fn hop_limit() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let chain = "chain e { type filter hook egress device eth0 priority 0; ip protocol 112 ip ttl set 64; };";
    sh(&lab, "b", &format!("nft 'table netdev f {{ {chain} }}'"))?;
    let (a, b) = (Carpd::new("a"), Carpd::new("b").advskew(50));
    let mut a = a.start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = b.start(&lab)?;
    b.wait_state("backup", SOON)?;
    // It hears a, and has to be made to speak.
    a.stop()?;
    b.wait_state("master", SOON)?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_says("Ready", SOON)?;
    is_found(&lab, "a", &["hop-limit"], "routers on the way")?;
    a.stop()?;
    b.stop()
}

/// The role.
pub(crate) fn run() -> ExitCode {
    let replay = || -> std::io::Result<()> {
        let (forger, ticker) = (Forger::open()?, Ticker::new(Duration::from_millis(700))?);
        let captured = forger.hear()?;
        loop {
            ticker.wait()?;
            forger.send(&captured)?;
        }
    };
    match replay() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn replay() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    let replayer = lab.host("client").spawn(&[PROGRAM, REPLAYER])?;
    // Four captured ones take that long.
    lab.until("the first of them", SOON, || {
        let (said, _) = carpd(&lab, "a", "metrics").unwrap_or_default();
        let counted = |line: &&str| line.contains("reason=\"own\"") && !line.ends_with(" 0");
        Ok(said.lines().find(counted).map(drop))
    })?;
    is_found(&lab, "b", &["replay"], "captured")?;
    is_found(&lab, "a", &["replay"], "captured")?;
    replayer.signal(Signal::SIGKILL)?;
    a.stop()?;
    b.wait_state("master", SOON)?;
    b.stop()
}

/// Nobody on these hosts blames anybody, after some intervals.
fn nobody_is_blamed(lab: &Lab, hosts: &[&str], listener: &str) -> Outcome {
    let most = || {
        let heard = heard(lab, listener).unwrap_or_default();
        let counts = heard.iter().filter_map(|peer| peer["count"].as_u64());
        counts.max().unwrap_or_default()
    };
    let before = most();
    lab.until("some more advertisements", TAKEOVER, || {
        Ok((most() >= before + 5).then_some(()))
    })?;
    for host in hosts {
        let (causes, (said, status)) = (causes(lab, host)?, carpd(lab, host, "status")?);
        assert!(causes.is_empty(), "{host}: {:?}", heard(lab, host));
        assert!(status == "0" && !said.contains("split"), "{host}: {said}");
    }
    Ok(())
}

/// `a` is master, and `b` backup.
fn pair(lab: &Lab, a: &Carpd, b: &Carpd) -> Result<[Daemon; 2], Failed> {
    let mut a = a.start(lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = b.clone().advskew(50).start(lab)?;
    b.wait_state("backup", SOON)?;
    Ok([a, b])
}

fn runs(lab: &Lab, host: &str) -> Result<Vec<String>, Failed> {
    let word = |peer: &Value| {
        peer["implementation"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    Ok(heard(lab, host)?.iter().map(word).collect())
}

fn good() -> Outcome {
    let plain = lan(&["a", "b"])?;
    let daemons = pair(&plain, &Carpd::new("a"), &Carpd::new("b"))?;
    nobody_is_blamed(&plain, &["a", "b"], "b")?;
    assert_eq!(runs(&plain, "b")?, ["carpd"]);
    daemons.iter().try_for_each(Daemon::stop)?;

    let mut ucarp = Ucarp::on_b(0, true).start(&plain)?;
    wait_ucarp(&mut ucarp, "MASTER", TAKEOVER)?;
    let mut a = Carpd::new("a").advskew(50).start(&plain)?;
    a.wait_state("backup", SOON)?;
    nobody_is_blamed(&plain, &["a"], "a")?;
    assert_eq!(runs(&plain, "a")?, ["ucarp"]);
    let (said, _) = carpd(&plain, "a", "peers web")?;
    assert!(
        said.contains(ADDRESS_OF_B)
            && said.contains("accepted")
            && said.contains("00:00:5e:00:00:28"),
        "{said}"
    );
    let (_, status) = carpd(&plain, "a", "peers nobody 2>/dev/null")?;
    assert_eq!(status, "1");
    ucarp.signal(Signal::SIGKILL)?;
    a.stop()?;
    drop(plain);

    let dual = dual_lan(&["a", "b"])?;
    let list = "[\"192.168.32.22/24\", \"2001:db8::22/64\"]";
    let node = |host: &str| Carpd::new(host).set("addresses", list);
    let daemons = pair(&dual, &node("a"), &node("b"))?;
    nobody_is_blamed(&dual, &["a", "b"], "b")?;
    assert_eq!(runs(&dual, "b")?, ["carpd", "carpd"]);
    daemons.iter().try_for_each(Daemon::stop)?;
    drop(dual);

    let lab = lan(&["a", "b"])?;
    let peers = "[\"192.168.32.32\", \"192.168.32.33\"]";
    let node = |host: &str| Carpd::new(host).set("unicast", peers);
    let daemons = pair(&lab, &node("a"), &node("b"))?;
    nobody_is_blamed(&lab, &["a", "b"], "b")?;
    daemons.iter().try_for_each(Daemon::stop)?;

    // Another cluster and a VRRP router beside it.
    let router = keepalived(&lab, 51, 3)?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let other = Carpd::new("b")
        .set("vhid", 77)
        .set("addresses", both(&["77"]));
    other.write(&lab)?;
    lab.host("b").write("/run/lab/web.pass", 0o600, "other\n")?;
    let mut b = other.restart(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    nobody_is_blamed(&lab, &["a", "b"], "a")?;
    let standings = heard(&lab, "a")?;
    assert!(
        standings.len() >= 2 && standings.iter().all(|peer| peer["standing"] == "unrelated"),
        "{standings:?}"
    );
    router.signal(Signal::SIGTERM)?;
    a.stop()?;
    b.stop()
}

fn split() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = Carpd::new("a")
        .set("addresses", both(&["22", "23"]))
        .start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = Carpd::new("b").start(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    let told = a.wait_says("Split: another node is master as well", SOON)?;
    assert_eq!(told.text("peer"), ADDRESS_OF_B);
    let cause = "192.168.32.33 is master as well, and is refused here: its list of addresses lacks 192.168.32.23";
    assert_eq!(told.text("text"), cause);
    let (said, status) = carpd(&lab, "a", "status")?;
    assert!(
        status == "7" && said.contains(cause) && said.contains(", split: another node"),
        "{status}: {said}"
    );
    let (said, status) = carpd(&lab, "a", "status --short")?;
    assert!(
        status == "7" && said.contains("split: two masters"),
        "{said}"
    );
    let (said, status) = carpd(&lab, "a", "status --json")?;
    let said: Value = serde_json::from_str(&said)?;
    assert_eq!(status, "7");
    assert_eq!(said["vhosts"][0]["split"]["address"], ADDRESS_OF_B);
    let metric = "carpd_vhost_split{vhost=\"web\"} ";
    let (said, _) = carpd(&lab, "a", "metrics")?;
    assert!(said.contains(&format!("{metric}1\n")), "{said}");
    let (said, _) = carpd(&lab, "a", "why")?;
    assert!(said.contains(&format!("split: {cause}")), "{said}");
    // The other one cannot know which of both it is, but that it is split.
    b.wait_says("Split: another node is master as well", SOON)?;

    b.stop()?;
    a.wait_says("The split has ended", TAKEOVER)?;
    let (said, status) = carpd(&lab, "a", "status")?;
    assert!(status == "0" && !said.contains("split"), "{said}");
    let (said, _) = carpd(&lab, "a", "metrics")?;
    assert!(said.contains(&format!("{metric}0\n")), "{said}");
    a.stop()
}
