//! Several carpd: elections, links that fail, what others do to the addresses, and how a daemon
//! begins and ends.

use std::time::Duration;

use carpd::lab::clock::now;
use carpd::lab::{Fault, Lab, Sighting};

use crate::leftovers::kill_tree;
use crate::rig::{
    ADDRESS, CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Watch, dual_lan, holds, lan, lets_go,
    mac, sh,
};
use crate::{ADDRESS_OF_A, Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("group::of_three_the_best_that_lives_is_master", three),
        Case::new("group::three_equals_agree_on_one", three_equals),
        Case::new(
            "group::a_master_whose_cable_is_out_lets_go_and_comes_back",
            unplugged,
        ),
        Case::new(
            "group::a_master_whose_link_is_set_down_lets_go_and_comes_back",
            set_down,
        ),
        Case::new(
            "group::after_a_silent_cut_one_of_two_masters_yields",
            silent_cut,
        ),
        Case::new(
            "group::an_address_that_somebody_removes_is_put_back",
            put_back,
        ),
        Case::new(
            "group::a_master_whose_interface_is_renamed_lets_go_and_comes_back",
            renamed,
        ),
        Case::new("group::every_virtual_host_ends_in_good_order", orderly_end),
        Case::new(
            "group::a_leftover_address_is_gone_before_anything_is_advertised",
            leftover,
        ),
        Case::new(
            "group::an_interface_that_appears_later_is_used",
            late_interface,
        ),
        Case::new("group::ipv6_alone_fails_over", || six(&["2001:db8::22/64"])),
        Case::new("group::ipv4_and_ipv6_fail_over_together", || {
            six(&["192.168.32.22/24", "2001:db8::22/64"])
        }),
        Case::new(
            "group::an_ipv6_address_answers_before_duplicate_detection_would_end",
            no_dad,
        ),
    ]
}

/// Two nodes, the better one master.
fn pair(better: &Carpd) -> Result<(Lab, Watch, [Daemon; 2]), Failed> {
    let lab = lan(&["a", "b"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let (mut a, mut b) = (
        better.start(&lab)?,
        Carpd::new("b").advskew(50).start(&lab)?,
    );
    a.wait_state("master", TAKEOVER)?;
    b.wait_state("backup", SOON)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    Ok((lab, watch, [a, b]))
}

fn three() -> Outcome {
    let lab = lan(&["a", "b", "c"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let node = |host: &str, advskew| Carpd::new(host).advskew(advskew).preempts();
    let [mut a, mut b, mut c] = [
        node("a", 0).start(&lab)?,
        node("b", 50).start(&lab)?,
        node("c", 100).start(&lab)?,
    ];
    a.wait_state("master", TAKEOVER)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    lab.power_off("a")?;
    b.wait_state("master", TAKEOVER)?;
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    b.stop()?;
    assert_eq!(
        c.wait_state("master", SOON)?.text("cause"),
        "master-leaving"
    );
    watch.wait(&[mac(&lab, "c")?], SOON)?;
    let mut b = node("b", 50).start(&lab)?;
    assert_eq!(b.wait_state("master", SOON)?.text("cause"), "preempt");
    c.wait_state("backup", SOON)?;
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    lab.power_on("a")?;
    let mut a = node("a", 0).start(&lab)?;
    assert_eq!(a.wait_state("master", SOON)?.text("cause"), "preempt");
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    b.wait_state("backup", SOON)?;
    watch.hear(ADDRESS_OF_A, 3, SOON)?;
    assert_eq!(c.states(), ["backup", "master", "backup"]);
    Ok(())
}

fn three_equals() -> Outcome {
    let hosts = ["a", "b", "c"];
    let lab = lan(&hosts)?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let daemons = hosts
        .map(|host| Carpd::new(host).preempts().start(&lab))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    // All three wake at the same moment: two may claim at once, and then the lower address wins.
    watch.hear_advskew(0, TAKEOVER)?;
    for _ in 0..3 {
        watch.hear_advskew(0, SOON)?;
    }
    let mut last: Vec<_> = daemons
        .iter()
        .filter_map(|daemon| daemon.states().pop())
        .collect();
    let master = last
        .iter()
        .position(|state| state == "master")
        .ok_or("none is master")?;
    watch.wait(&[mac(&lab, hosts[master])?], SOON)?;
    last.sort();
    assert_eq!(last, ["backup", "backup", "master"]);
    daemons.iter().try_for_each(Daemon::stop)
}

fn unplugged() -> Outcome {
    let (lab, watch, daemons) = pair(&Carpd::new("a").preempts())?;
    link_fails(
        (lab, watch, daemons),
        |lab| Ok(lab.set_fault("a", Fault::Unplugged)?),
        |lab| Ok(lab.clear_fault("a", Fault::Unplugged)?),
    )
}

fn set_down() -> Outcome {
    let (lab, watch, daemons) = pair(&Carpd::new("a").preempts())?;
    link_fails(
        (lab, watch, daemons),
        |lab| Ok(lab.host("a").set_link(false)?),
        |lab| Ok(lab.host("a").set_link(true)?),
    )
}

fn link_fails(
    (lab, mut watch, [mut a, mut b]): (Lab, Watch, [Daemon; 2]),
    fail: fn(&Lab) -> Outcome,
    heal: fn(&Lab) -> Outcome,
) -> Outcome {
    fail(&lab)?;
    assert_eq!(a.wait_state("init", SOON)?.text("cause"), "link-down");
    a.wait_says("Released the addresses", SOON)?;
    assert!(!holds(&lab, "a")?);
    b.wait_state("master", TAKEOVER)?;
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    heal(&lab)?;
    a.wait_state("backup", SOON)?;
    assert_eq!(a.wait_state("master", TAKEOVER)?.text("cause"), "preempt");
    b.wait_state("backup", SOON)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    a.stop()?;
    assert_eq!(
        b.wait_state("master", SOON)?.text("cause"),
        "master-leaving"
    );
    b.stop()
}

fn silent_cut() -> Outcome {
    let (lab, mut watch, [a, mut b]) = pair(&Carpd::new("a"))?;
    lab.set_fault("a", Fault::Silent)?;
    b.wait_state("master", TAKEOVER)?;
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    // Nothing tells a that nobody hears it.
    assert!(holds(&lab, "a")? && holds(&lab, "b")?);
    let healed = now();
    lab.clear_fault("a", Fault::Silent)?;
    let yielded = b.wait_state("backup", SOON)?;
    assert_eq!(
        (
            yielded.text("cause").as_str(),
            yielded.text("peer").as_str()
        ),
        ("better-master", ADDRESS_OF_A)
    );
    // One interval, and some room for a busy machine.
    assert!(
        yielded.at.since(healed) < Duration::from_millis(1300),
        "{:?}",
        yielded.at.since(healed)
    );
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    lets_go(&lab, "b")?;
    assert!(holds(&lab, "a")?);
    assert_eq!(a.states(), ["backup", "master"]);
    a.stop()?;
    b.wait_state("master", SOON)?;
    b.stop()
}

fn put_back() -> Outcome {
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    a.wait_says("Acquired the addresses", SOON)?;
    // With the prefix length that it has on the interface.
    let held = lab
        .host("a")
        .facts()?
        .addresses
        .into_iter()
        .find(|held| held.ip.to_string() == ADDRESS)
        .unwrap();
    let mut best = Duration::MAX;
    let mut said = 0;
    // A renewal in the very moment puts it back as well, and then nothing is said.
    for _ in 0..20 {
        let removed = now();
        lab.host("a").delete_address(held)?;
        let address = ADDRESS.parse()?;
        let back = || Ok(lab.host("a").facts()?.holds(address).then_some(()));
        lab.until("the address to be put back", SOON, back)?;
        if let Ok(entry) = a.wait_says(
            "Restored an address that someone removed",
            Duration::from_millis(500),
        ) {
            // The program that did it has ended, or is about to: no name is said as if it were
            // known.
            let by = entry.text("by");
            assert!(
                by.starts_with("unknown: netlink socket ") || by.starts_with("netlink socket "),
                "{entry:?}"
            );
            best = best.min(entry.at.since(removed));
            said += 1;
        }
        if said == 5 {
            break;
        }
    }
    assert_eq!(said, 5);
    // Each comes back; how soon, is measured where the machine was not busy with something else.
    assert!(best < Duration::from_millis(100), "{best:?}");
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    assert_eq!(a.states(), ["backup", "master"]);
    a.stop()?;
    assert!(!holds(&lab, "a")?);
    Ok(())
}

fn leftover() -> Outcome {
    let lab = lan(&["a"])?;
    let mac = mac(&lab, "a")?;
    let spec = Carpd::new("a").set("lease", "\"off\"");
    let mut killed = spec.start(&lab)?;
    killed.wait_says("Acquired the addresses", TAKEOVER)?;
    kill_tree(&lab, &killed)?;
    // The mark alone tells it from one of the machine's own.
    sh(&lab, "a", "rm -r /run/carpd")?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    watch.wait(&[mac], SOON)?;
    let mut a = spec.start(&lab)?;
    let removed = a.wait_says(
        "Removing an address that an earlier daemon left behind",
        SOON,
    )?;
    watch.wait(&[], SOON)?;
    assert!(watch.advertisements(ADDRESS_OF_A)?.is_empty());
    assert!(!holds(&lab, "a")?);
    assert_eq!(removed.text("level"), "WARN");
    a.wait_state("master", TAKEOVER)?;
    watch.wait(&[mac], SOON)?;
    a.stop()
}

fn late_interface() -> Outcome {
    let lab = lan(&["a"])?;
    let mut a = Carpd::new("a").set("interface", "\"eth1\"").start(&lab)?;
    assert_eq!(
        a.wait_says("Waiting for an interface that does not exist yet", SOON)?
            .text("interface"),
        "eth1"
    );
    a.wait_says("Ready", SOON)?;
    let status = sh(&lab, "a", &format!("{CARPD} status"))?.join("\n");
    assert!(
        status.contains("waiting for an interface that does not exist yet"),
        "{status}"
    );
    sh(
        &lab,
        "a",
        "ip link add eth1 type veth peer name far && ip address add 192.168.33.1/24 dev eth1 && ip link set far up && ip link set eth1 up",
    )?;
    a.wait_state("backup", SOON)?;
    a.wait_state("master", TAKEOVER)?;
    a.wait_says("Acquired the addresses", SOON)?;
    assert!(
        sh(&lab, "a", "ip address show dev eth1")?
            .iter()
            .any(|line| line.contains(ADDRESS))
    );
    // And away again.
    sh(&lab, "a", "ip link delete eth1")?;
    assert_eq!(a.wait_state("init", SOON)?.text("cause"), "link-down");
    sh(
        &lab,
        "a",
        "ip link add eth1 type veth peer name far && ip address add 192.168.33.1/24 dev eth1 && ip link set far up && ip link set eth1 up",
    )?;
    a.wait_state("master", TAKEOVER)?;
    a.wait_says("Acquired the addresses", SOON)?;
    assert!(
        sh(&lab, "a", "ip address show dev eth1")?
            .iter()
            .any(|line| line.contains(ADDRESS))
    );
    a.stop()?;
    assert!(
        !sh(&lab, "a", "ip address show dev eth1")?
            .iter()
            .any(|line| line.contains(ADDRESS))
    );
    Ok(())
}

/// Hosts with addresses of both families.
/// A failover and the way back with these addresses, all of them asked for.
fn six(addresses: &[&str]) -> Outcome {
    let lab = dual_lan(&["a", "b"])?;
    let mut watches = Vec::new();
    for address in addresses {
        watches.push(Watch::start(&lab, address.split('/').next().unwrap())?);
    }
    let node = |host| Carpd::new(host).set("addresses", format!("{addresses:?}"));
    let mut a = node("a").preempts().start(&lab)?;
    let mut b = node("b").advskew(50).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut all_at = |host: &str| -> Outcome {
        let mac = mac(&lab, host)?;
        watches
            .iter_mut()
            .try_for_each(|watch| watch.wait(&[mac], SOON).map(drop))
    };
    all_at("a")?;
    lab.power_off("a")?;
    b.wait_state("master", TAKEOVER)?;
    all_at("b")?;
    lab.power_on("a")?;
    let mut a = node("a").preempts().start(&lab)?;
    a.wait_state("master", SOON)?;
    all_at("a")?;
    b.wait_state("backup", SOON)?;
    a.stop()?;
    assert_eq!(
        b.wait_state("master", SOON)?.text("cause"),
        "master-leaving"
    );
    all_at("b")?;
    b.stop()
}

fn no_dad() -> Outcome {
    let lab = dual_lan(&["a", "b"])?;
    sh(
        &lab,
        "a",
        "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_dad",
    )?;
    // What the kernel does with an address that it is not told about: it is tentative for a second
    // or more.
    let shown = sh(
        &lab,
        "a",
        "ip address add 2001:db8::99/64 dev eth0 && ip address show dev eth0 to 2001:db8::99",
    )?;
    assert!(
        shown.iter().any(|line| line.contains("tentative")),
        "{shown:?}"
    );
    let mut watch = Watch::start(&lab, "2001:db8::22")?;
    let mut a = Carpd::new("a")
        .set("addresses", "[\"2001:db8::22/64\"]")
        .start(&lab)?;
    let held = a.wait_says("Acquired the addresses", TAKEOVER)?;
    // The announcement goes to all nodes, and overrides what they knew.
    watch.hear_announced(mac(&lab, "a")?, SOON)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    let answered = watch
        .sightings()
        .into_iter()
        .find(|sighted| matches!(sighted.what, Sighting::Answers { .. }))
        .unwrap()
        .at();
    assert!(
        answered.since(held.at) < Duration::from_millis(500),
        "{:?}",
        answered.since(held.at)
    );
    a.stop()
}

fn renamed() -> Outcome {
    // Without a lease nothing else would take the address off.
    let (lab, mut watch, [mut a, mut b]) =
        pair(&Carpd::new("a").preempts().set("lease", "\"off\""))?;
    sh(
        &lab,
        "a",
        "ip link set eth0 down; ip link set eth0 name lan0; ip link set lan0 up",
    )?;
    a.wait_says("The interface was renamed", SOON)?;
    b.wait_state("master", TAKEOVER)?;
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    assert!(!sh(&lab, "a", "ip address")?.join("\n").contains(ADDRESS));
    sh(
        &lab,
        "a",
        "ip link set lan0 down; ip link set lan0 name eth0; ip link set eth0 up",
    )?;
    a.wait_state("master", TAKEOVER)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    a.stop()?;
    b.stop()
}

fn orderly_end() -> Outcome {
    let lab = lan(&["a"])?;
    let vhost = |vhid: u8, hooks: &str| {
        format!(
            "[[vhost]]\nname = \"v{vhid}\"\ninterface = \"eth0\"\nvhid = {vhid}\naddresses = [\"192.168.32.{}/32\"]\n\
             password-file = \"/run/lab/web.pass\"\nneutral = true\n{hooks}\n",
            vhid + 100
        )
    };
    // The first has nothing to do before it leaves; that must not end the daemon before the second
    // has left.
    let lua = "function on_master() hostname.set('up') end
function before_backup() clock.sleep(300) end
function on_backup() clock.sleep(300) end
function on_stop() log.info('Stopped last') end";
    let vhosts = vhost(1, "") + &vhost(2, "hooks = [\"h\"]");
    let mut a = Carpd::new("a")
        .hook(lua, "grant = { hostname = [\"up\"] }")
        .vhosts(vhosts)
        .start(&lab)?;
    a.wait_ran("on_master", TAKEOVER)?;
    a.stop()?;
    let ran: Vec<String> = a
        .entries()
        .iter()
        .filter(|entry| entry.says("Ran a hook"))
        .map(|entry| entry.text("entry"))
        .collect();
    assert_eq!(
        ran,
        ["on_master", "before_backup", "on_backup", "on_stop"],
        "{}",
        a.text()
    );
    assert_ne!(lab.host("a").facts()?.hostname, "up");
    Ok(())
}
