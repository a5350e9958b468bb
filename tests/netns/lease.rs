//! Addresses with a lifetime: renewed while the loop lives, undisturbed by renewals, and nothing
//! gets them a longer life.

use std::time::Duration;

use carpd::lab::{HostSpec, Lab, LabSpec, Sighting};
use carpd::types::VirtualAddress;
use nix::sys::signal::Signal;

use crate::rig::{
    ADDRESS, CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Watch, lan, lets_go, mac, sh,
};
use crate::tree::Tree;
use crate::{ADDRESS_OF_A, Case, Outcome, steady};

/// Gone by itself: the longest lease of these cases, the kernel's lateness, and room for a busy
/// machine.
const GONE: Duration = Duration::from_secs(8);

pub(crate) fn cases() -> Vec<Case> {
    let long = |name, run| Case {
        limit: Duration::from_secs(60),
        ..Case::new(name, run)
    };
    vec![
        long(
            "lease::renewals_and_reloads_do_not_disturb_a_connection",
            traffic,
        ),
        Case::new(
            "lease::both_lifetimes_are_renewed_in_both_families",
            lifetimes,
        ),
        Case::new(
            "lease::an_expired_address_takes_no_other_along",
            others_stay,
        ),
        Case::new(
            "lease::the_way_to_a_network_of_its_own_goes_with_it",
            connected_route,
        ),
        Case::new(
            "lease::the_way_that_others_made_to_its_network_stays",
            foreign_route,
        ),
        Case::new(
            "lease::an_address_that_is_put_back_has_a_lifetime",
            put_back,
        ),
        long(
            "lease::follows_the_timers_and_can_be_switched_off_and_on",
            reloads,
        ),
        Case::new("lease::one_that_a_hook_adds_with_a_prefix_has_none", beside),
        Case::new(
            "lease::a_link_that_is_down_does_not_stop_the_clock",
            link_down,
        ),
    ]
}

/// Host `a` alone, as master.
fn master(spec: &Carpd) -> Result<(Lab, Watch, Daemon), Failed> {
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let mut a = spec.start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    Ok((lab, watch, a))
}

/// The prefix length, and the two lifetimes (valid, preferred) in seconds of an address as the
/// kernel has them; `None` is for ever.
type Shown = (u8, [Option<u64>; 2]);

/// All entries for an IP on a host.
fn shown(lab: &Lab, host: &str, ip: &str) -> Result<Vec<Shown>, Failed> {
    let lines = sh(lab, host, "ip address show dev eth0")?;
    let mut found = Vec::new();
    for pair in lines.windows(2) {
        let mut words = pair[0]
            .split_whitespace()
            .skip_while(|word| !word.starts_with("inet"));
        let Some(cidr) = words
            .nth(1)
            .and_then(|word| word.parse::<VirtualAddress>().ok())
        else {
            continue;
        };
        if cidr.ip != ip.parse::<std::net::IpAddr>()? {
            continue;
        }
        let lifetime = |name: &str| {
            let word = pair[1]
                .split_whitespace()
                .skip_while(|word| *word != name)
                .nth(1)
                .unwrap_or_default();
            word.strip_suffix("sec")
                .and_then(|seconds| seconds.parse().ok())
        };
        found.push((
            cidr.prefix,
            [lifetime("valid_lft"), lifetime("preferred_lft")],
        ));
    }
    Ok(found)
}

/// The address is there once, as a host address, with at most so many seconds to live in both ways
/// of counting.
fn leased(lab: &Lab, ip: &str, most: u64) -> Outcome {
    let found = shown(lab, "a", ip)?;
    let host_prefix = if ip.contains(':') { 128 } else { 32 };
    let [(prefix, [Some(valid), Some(preferred)])] = found[..] else {
        return Err(format!("{ip}: {found:?}").into());
    };
    // Over IPv6 it is "deprecated": it answers, but is no source while there is another.
    let expected = if ip.contains(':') { 0 } else { valid };
    assert!(
        prefix == host_prefix && valid <= most && preferred == expected,
        "{ip}: {found:?}"
    );
    Ok(())
}

/// Kills everything and waits until nobody answers for the address.
fn dies(lab: &Lab, watch: &mut Watch, a: &Daemon) -> Outcome {
    let tree = Tree::of(lab, "a", a)?;
    tree.signal_all(Signal::SIGSTOP)?;
    tree.signal_all(Signal::SIGKILL)?;
    watch.wait(&[], GONE)?;
    // Of two addresses the kernel takes one a moment later.
    lets_go(lab, "a")
}

fn traffic() -> Outcome {
    let spec = Carpd::new("a");
    let (lab, mut watch, mut a) = master(&spec)?;
    let _server = steady::serve(&lab, "a")?;
    // 8 s by its clock.
    let mut client = steady::begin(&lab, 4000)?;
    let began = watch.advertisements(ADDRESS_OF_A)?.len();
    watch.hear(ADDRESS_OF_A, 2, SOON)?;
    // With other timers and other announcements the address stays, and so does its lease.
    a.reload(
        &lab,
        &spec
            .clone()
            .advskew(10)
            .set("announce", "{ count = 3, interval = \"50ms\" }"),
    )?;
    leased(&lab, ADDRESS, 2)?;
    watch.hear(ADDRESS_OF_A, 3, SOON)?;
    leased(&lab, ADDRESS, 2)?;
    let saw = steady::end(&mut client, TAKEOVER)?;
    let renewals = u64::try_from(watch.advertisements(ADDRESS_OF_A)?.len() - began)?;
    println!("{saw:?} in {renewals} renewals");
    assert!(renewals >= 5 && saw.echoed > 100, "{saw:?}");
    // One that was disturbed by renewals would send again at each; a busy machine may do so once in
    // a while.
    assert!(
        saw.retransmitted < renewals / 2,
        "{saw:?} in {renewals} renewals"
    );
    let breaks = watch
        .sightings()
        .into_iter()
        .filter(|seen| matches!(seen.what, Sighting::Silent))
        .count();
    assert_eq!(
        (breaks, a.states()),
        (0, vec!["backup".to_owned(), "master".to_owned()])
    );
    a.stop()
}

fn lifetimes() -> Outcome {
    let host = |name: &str, n: u8| {
        HostSpec::new(
            name,
            &[
                format!("192.168.32.{n}/24").parse().unwrap(),
                format!("2001:db8::{n}/64").parse().unwrap(),
            ],
        )
    };
    let lab = Lab::start(&LabSpec {
        hosts: vec![host("a", 32), host("client", 50)],
    })?;
    let mut watch = Watch::start(&lab, "2001:db8::22")?;
    let mut a = Carpd::new("a")
        .set("addresses", "[\"192.168.32.22/24\", \"2001:db8::22/64\"]")
        .start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    for _ in 0..4 {
        watch.hear(ADDRESS_OF_A, 1, SOON)?;
        for ip in [ADDRESS, "2001:db8::22"] {
            leased(&lab, ip, 2)?;
        }
    }
    dies(&lab, &mut watch, &a)?;
    assert_eq!(shown(&lab, "a", "2001:db8::22")?, []);
    Ok(())
}

fn others_stay() -> Outcome {
    // Its network has other addresses on this interface, and one is older: in the kernel's eyes the
    // leased one is none of them.
    let (lab, mut watch, a) = master(&Carpd::new("a"))?;
    lab.host("a").add_address("192.168.32.200/24".parse()?)?;
    assert_eq!(
        sh(
            &lab,
            "a",
            "cat /proc/sys/net/ipv4/conf/eth0/promote_secondaries"
        )?,
        ["0"],
        "the harder case"
    );
    let before = lab.host("a").facts()?.addresses;
    dies(&lab, &mut watch, &a)?;
    let after = lab.host("a").facts()?.addresses;
    assert_eq!(before.len(), after.len() + 1);
    assert!(
        after.iter().all(|address| before.contains(address)),
        "{before:?}, {after:?}"
    );
    assert_eq!(
        sh(&lab, "a", "ip route show dev eth0")?.len(),
        1,
        "the connected route stays"
    );

    // And where it is the first address of its network.
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, "10.99.0.22")?;
    let mut a = Carpd::new("a")
        .set("addresses", "[\"10.99.0.22/24\"]")
        .start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    lab.host("a").add_address("10.99.0.200/24".parse()?)?;
    dies(&lab, &mut watch, &a)?;
    assert!(
        lab.host("a").facts()?.holds("10.99.0.200".parse()?),
        "{:?}",
        lab.host("a").facts()?
    );
    Ok(())
}

fn connected_route() -> Outcome {
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, "10.99.0.22")?;
    let before = sh(&lab, "a", "ip route")?;
    let mut a = Carpd::new("a")
        .set("addresses", "[\"10.99.0.22/24\"]")
        .start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    let during = sh(&lab, "a", "ip route")?;
    // The host has another address: what it sends there does not hang on the virtual one.
    assert!(
        during
            .iter()
            .any(|line| line.contains("10.99.0.0/24 dev eth0") && !line.contains("src")),
        "{during:?}"
    );
    // The kernel takes the address away; the way, without a source that would go with it, stays
    // behind all others for whoever comes next.
    dies(&lab, &mut watch, &a)?;
    sh(&lab, "a", &format!("{CARPD} cleanup"))?;
    assert_eq!(sh(&lab, "a", "ip route")?, before);
    Ok(())
}

fn foreign_route() -> Outcome {
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, "10.99.0.22")?;
    sh(
        &lab,
        "a",
        "ip route add 10.99.0.0/24 via 192.168.32.50 proto static mtu 1400",
    )?;
    let before = sh(&lab, "a", "ip route")?;
    let mut a = Carpd::new("a")
        .set("addresses", "[\"10.99.0.22/24\"]")
        .start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    // Ours comes after it.
    let during = sh(&lab, "a", "ip route")?;
    assert!(
        before.iter().all(|line| during.contains(line)),
        "{before:?}, {during:?}"
    );
    assert!(sh(&lab, "a", "ip route get 10.99.0.50")?[0].contains("via 192.168.32.50"));
    a.stop()?;
    assert_eq!(sh(&lab, "a", "ip route")?, before);

    // Two of one network: what one of them made, the other may take over, and the last takes it
    // along.
    sh(&lab, "a", "ip route delete 10.99.0.0/24")?;
    let before = sh(&lab, "a", "ip route")?;
    let vhost = |name: &str, vhid: u8, ip: &str| {
        format!(
            "[[vhost]]\nname = \"{name}\"\ninterface = \"eth0\"\nvhid = {vhid}\naddresses = [\"{ip}/24\"]\npassword-file = \"/run/lab/web.pass\"\n"
        )
    };
    let both = vhost("one", 40, "10.99.0.22") + &vhost("two", 41, "10.99.0.23");
    let mut a = Carpd::new("a").vhosts(both).start(&lab)?;
    for _ in 0..2 {
        a.wait_says("Acquired the addresses", TAKEOVER)?;
    }
    assert_eq!(sh(&lab, "a", "ip route show 10.99.0.0/24")?.len(), 1);
    a.stop()?;
    assert_eq!(sh(&lab, "a", "ip route")?, before);
    Ok(())
}

fn put_back() -> Outcome {
    let (lab, mut watch, mut a) = master(&Carpd::new("a"))?;
    let mut said = 0;
    // A renewal in the very moment puts it back as well, and then nothing is said.
    for _ in 0..20 {
        lab.host("a")
            .delete_address(format!("{ADDRESS}/32").parse()?)?;
        let address = ADDRESS.parse()?;
        lab.until("the address to be put back", SOON, || {
            Ok(lab.host("a").facts()?.holds(address).then_some(()))
        })?;
        said += u32::from(
            a.wait_says(
                "Restored an address that someone removed",
                Duration::from_millis(500),
            )
            .is_ok(),
        );
        leased(&lab, ADDRESS, 2)?;
        if said == 3 {
            break;
        }
    }
    assert_eq!(said, 3);
    watch.hear(ADDRESS_OF_A, 3, SOON)?;
    leased(&lab, ADDRESS, 2)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    dies(&lab, &mut watch, &a)
}

fn reloads() -> Outcome {
    let spec = Carpd::new("a");
    let (lab, mut watch, mut a) = master(&spec)?;
    leased(&lab, ADDRESS, 2)?;
    a.reload(&lab, &spec.clone().set("advbase", 2))?;
    watch.hear(ADDRESS_OF_A, 1, SOON)?;
    leased(&lab, ADDRESS, 5)?;
    let [(_, [Some(valid), _])] = shown(&lab, "a", ADDRESS)?[..] else {
        panic!("no lease")
    };
    assert!(valid > 2, "{valid} s left");

    // Without a lease it is there for ever.
    a.reload(&lab, &spec.clone().set("lease", "\"off\""))?;
    assert_eq!(shown(&lab, "a", ADDRESS)?, [(32, [None, None])]);
    watch.hear(ADDRESS_OF_A, 4, SOON)?;
    assert_eq!(shown(&lab, "a", ADDRESS)?, [(32, [None, None])]);

    a.reload(&lab, &spec)?;
    leased(&lab, ADDRESS, 2)?;
    watch.hear(ADDRESS_OF_A, 3, SOON)?;
    leased(&lab, ADDRESS, 2)?;
    let breaks = watch
        .sightings()
        .into_iter()
        .filter(|seen| matches!(seen.what, Sighting::Silent))
        .count();
    assert_eq!(
        (breaks, a.states()),
        (0, vec!["backup".to_owned(), "master".to_owned()]),
        "{}",
        a.text()
    );
    dies(&lab, &mut watch, &a)
}

fn link_down() -> Outcome {
    let (lab, _watch, a) = master(&Carpd::new("a"))?;
    let tree = Tree::of(&lab, "a", &a)?;
    tree.signal_all(Signal::SIGSTOP)?;
    lab.set_fault("a", carpd::lab::Fault::Unplugged)?;
    let address = ADDRESS.parse()?;
    let gone = || Ok((!lab.host("a").facts()?.holds(address)).then_some(()));
    lab.until("the address to go without a carrier", GONE, gone)?;
    tree.signal_all(Signal::SIGKILL)
}

/// What `carpd port` says of a script that adds the virtual host's own address with a prefix
/// length: it is there twice, and only the one that carpd holds goes by itself.
fn beside() -> Outcome {
    let hook = format!("function on_master() addr.add('{ADDRESS}/24') end");
    let (lab, mut watch, mut a) = master(&Carpd::new("a").hook(&hook, ""))?;
    let run = a.wait_ran("on_master", SOON)?;
    assert_eq!(run.text("outcome"), "done", "{run:?}");
    watch.hear(ADDRESS_OF_A, 3, SOON)?;
    let mut found = shown(&lab, "a", ADDRESS)?;
    found.sort_unstable();
    assert!(
        matches!(found[..], [(24, [None, None]), (32, [Some(_), Some(_)])]),
        "{found:?}"
    );
    let tree = Tree::of(&lab, "a", &a)?;
    tree.signal_all(Signal::SIGSTOP)?;
    let alone = || {
        let found = shown(&lab, "a", ADDRESS).unwrap_or_default();
        Ok((found == [(24, [None, None])]).then_some(()))
    };
    lab.until("the leased one to go", GONE, alone)?;
    tree.signal_all(Signal::SIGCONT)?;
    a.stop()?;
    lets_go(&lab, "a")
}
