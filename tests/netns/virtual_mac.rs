//! Addresses under a virtual hardware address: what other hosts see of it, and what is left of it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use carpd::lab::clock::{Ticker, now};
use carpd::lab::{Lab, PROGRAM, Process, Sighting};
use carpd::types::MacAddr;
use nix::sys::signal::Signal;

use crate::rig::{
    ADDRESS, CARPD, Carpd, Daemon, Entry, Failed, SOON, TAKEOVER, Watch, dual_lan, lan, mac, sh,
};
use crate::tree::Tree;
use crate::{ADDRESS_OF_A, Case, Outcome};

const LONG: Duration = Duration::from_mins(1);
/// The hardware address of vhid 40.
const VIRTUAL: &str = "00:00:5e:00:01:28";
/// The macvlan of vhid 40 on `eth0`.
const DEVICE: &str = "eth0.c40";
/// Longer than a backup with the default timers waits for a silent master.
const MASTER_DOWN: Duration = Duration::from_millis(3300);
const ADDRESS_V6: &str = "2001:db8::22";
/// The roles, as first arguments.
pub(crate) const SERVER: &str = "--answer";
pub(crate) const CLIENT: &str = "--probe-each-ms";
const PORT: u16 = 7778;
/// How long a datagram is sent each millisecond: longer than a hand-over takes, with the order for
/// it.
const PROBING: Duration = Duration::from_millis(2500);
/// How late an answer may be.
const LATE: Duration = Duration::from_millis(300);

pub(crate) fn cases() -> Vec<Case> {
    let slow = |name, run| Case {
        limit: LONG,
        ..Case::new(name, run)
    };
    vec![
        slow(
            "virtual_mac::a_third_host_keeps_its_neighbour_entry_and_loses_nothing",
            handed_over,
        ),
        slow(
            "virtual_mac::the_parent_neither_answers_nor_asks_for_the_addresses",
            parent_is_silent,
        ),
        slow(
            "virtual_mac::a_backup_with_an_idle_device_of_that_address_goes_on_hearing",
            idle_device,
        ),
        slow(
            "virtual_mac::nothing_is_left_of_it_after_kill_9_and_a_cleanup",
            cleanup,
        ),
        slow(
            "virtual_mac::an_engine_that_is_killed_leaves_nothing",
            engine_killed,
        ),
        slow(
            "virtual_mac::a_foreign_interface_of_that_name_is_refused_and_left_alone",
            foreign,
        ),
        slow(
            "virtual_mac::what_someone_removes_or_sets_down_is_put_back",
            put_back,
        ),
        slow(
            "virtual_mac::a_device_that_cannot_be_made_as_it_must_be_is_not_used",
            half_made,
        ),
        slow("virtual_mac::a_reload_moves_the_addresses", reload),
        slow("virtual_mac::one_vhid_on_two_interfaces", two_parents),
        slow("virtual_mac::hooks_announce_with_it_as_well", hook),
        slow("virtual_mac::a_stranger_is_told_from_a_master", stranger),
        slow("virtual_mac::over_ipv6", over_ipv6),
        slow("virtual_mac::addresses_are_announced_again", refresh),
    ]
}

fn node(host: &str) -> Carpd {
    Carpd::new(host).set("virtual-mac", true)
}

fn virtual_mac() -> MacAddr {
    VIRTUAL.parse().unwrap()
}

/// `a`, which is better and preempts, as master, and `b` behind it.
fn pair() -> Result<(Lab, [Daemon; 2]), Failed> {
    let lab = lan(&["a", "b"])?;
    let mut a = node("a").preempts().start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    let mut b = node("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    hears(&lab, "b", ADDRESS_OF_A)?;
    Ok((lab, [a, b]))
}

fn hears(lab: &Lab, host: &str, whom: &str) -> Outcome {
    let heard = || {
        Ok(status(lab, host)?
            .contains(&format!("hears {whom}"))
            .then_some(()))
    };
    Ok(lab.until(&format!("{host} to hear {whom}"), SOON, heard)?)
}

fn status(lab: &Lab, host: &str) -> Result<String, carpd::lab::LabError> {
    let words = format!("{CARPD} status --config /run/lab/carpd.toml");
    let output = lab.host(host).run(&["bash", "-c", &words], SOON)?;
    Ok(output.stdout.join("\n"))
}

/// The device and how its parent takes part in ARP, as the host has them.
fn traces(lab: &Lab, host: &str) -> Result<String, Failed> {
    let script = format!(
        "ip -o link show type macvlan | sed 's/^[0-9]*: //; s/@.*//'; cd /proc/sys/net/ipv4/conf/eth0; \
         echo $(cat arp_ignore arp_announce); ip -o address show to {ADDRESS}"
    );
    Ok(sh(lab, host, &script)?.join("\n"))
}

const NO_TRACES: &str = "0 0";

fn leaves_nothing(lab: &Lab, host: &str) -> Outcome {
    let gone = || Ok((traces(lab, host).unwrap_or_default() == NO_TRACES).then_some(()));
    Ok(lab.until(&format!("nothing to be left on {host}"), SOON, gone)?)
}

/// What the client has as the neighbour's hardware address.
fn neighbour(lab: &Lab, address: &str) -> Result<String, Failed> {
    let script = format!("ip neigh show {address} dev eth0 | grep -o 'lladdr [^ ]*'");
    Ok(sh(lab, "client", &script)?.join(" "))
}

/// The client reaches this address: the host that has it refuses a connection.
fn reach(lab: &Lab, address: &str) -> Outcome {
    let script = format!("(echo > /dev/tcp/{address}/9) 2>&1 | grep -q refused");
    let reached = || Ok(sh(lab, "client", &script).ok().map(drop));
    Ok(lab.until(&format!("{address} to be reached"), SOON, reached)?)
}

/// Has a host answer datagrams to the address, whether it has it now or not.
fn answer(lab: &Lab, host: &str) -> Result<Process, Failed> {
    sh(lab, host, "echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind")?;
    let mut server = lab.host(host).spawn(&[PROGRAM, SERVER])?;
    server.wait_line("its start", SOON, |line| line == "listens")?;
    Ok(server)
}

/// Has the client send a datagram to the address each millisecond; how many were not answered, and of
/// how many.
fn probed(lab: &Lab, meanwhile: impl FnOnce() -> Outcome) -> Result<(u64, u64), Failed> {
    let mut client = lab.host("client").spawn(&[PROGRAM, CLIENT])?;
    client.wait_line("the first answer", SOON, |line| line == "answered")?;
    meanwhile()?;
    let line = client
        .wait_line("its figures", SOON, |line| line.starts_with("lost "))
        .map_err(|err| format!("{err}: {:?}", client.lines()))?;
    let mut numbers = line.text.split(' ').filter_map(|word| word.parse().ok());
    let mut next = || numbers.next().ok_or("no figures");
    Ok((next()?, next()?))
}

/// The role that answers.
pub(crate) fn run_server() -> ExitCode {
    let serve = || -> std::io::Result<()> {
        let socket = UdpSocket::bind((ADDRESS, PORT))?;
        println!("listens");
        let mut datagram = [0; 8];
        loop {
            let (length, from) = socket.recv_from(&mut datagram)?;
            let _ = socket.send_to(&datagram[..length], from);
        }
    };
    serve().expect("a server");
    ExitCode::SUCCESS
}

/// The role that asks.
pub(crate) fn run_client() -> ExitCode {
    probe().expect("a client");
    ExitCode::SUCCESS
}

fn probe() -> std::io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((ADDRESS, PORT))?;
    socket.set_nonblocking(true)?;
    let ticker = Ticker::new(Duration::from_millis(1))?;
    let mut answered = BTreeSet::new();
    let read = |answered: &mut BTreeSet<u64>| {
        let mut datagram = [0; 8];
        while socket.recv(&mut datagram).is_ok() {
            answered.insert(u64::from_be_bytes(datagram));
        }
    };
    let (began, mut number) = (now(), 0_u64);
    // By the clock: a busy machine misses some ticks.
    while now() < began + PROBING {
        ticker.wait()?;
        number += 1;
        // The host may say that nobody takes it.
        let _ = socket.send(&number.to_be_bytes());
        let before = answered.len();
        read(&mut answered);
        if before == 0 && !answered.is_empty() {
            println!("answered");
        }
    }
    while now() < began + PROBING + LATE {
        ticker.wait()?;
        read(&mut answered);
    }
    // Those before the first answer say nothing: its server may not have been there.
    let first = answered.first().copied().unwrap_or(0);
    let all = number + 1 - first;
    println!(
        "lost {} of {all}",
        all - u64::try_from(answered.len()).unwrap_or(0)
    );
    Ok(())
}

fn resign(lab: &Lab, host: &str) -> Outcome {
    sh(
        lab,
        host,
        &format!("{CARPD} resign web --force --config /run/lab/carpd.toml"),
    )
    .map(drop)
}

/// What a hand-over cost.
#[derive(Debug)]
struct HandOver {
    /// Datagrams that were not answered, of those that were sent each millisecond.
    lost: u64,
    #[expect(dead_code, reason = "for whoever reads the figures")]
    probes: u64,
    /// For how long nobody had the addresses.
    unheld: Duration,
}

impl HandOver {
    /// More than were sent while nobody had the addresses: the one before and the one after may be
    /// on their way.
    fn loses_more(&self) -> bool {
        u128::from(self.lost) > self.unheld.as_millis() + 2
    }
}

/// Both ways of holding the addresses, for comparison.
fn handed_over() -> Outcome {
    let plain = hand_overs(false)?;
    let virtual_mac = hand_overs(true)?;
    println!("with a virtual hardware address: {virtual_mac:?}; without: {plain:?}");
    // How long that is depends on how busy the machine is; that nothing else is lost does not.
    assert!(
        !virtual_mac.iter().any(HandOver::loses_more),
        "{virtual_mac:?}"
    );
    Ok(())
}

const MINUTE_US: u64 = 60_000_000;

/// When the daemon wrote this, in µs of its minute.
fn written_at(entry: &Entry) -> u64 {
    let stamp = entry.text("timestamp");
    let seconds = stamp.rsplit_once(':').unwrap_or_default().1;
    let (seconds, fraction) = seconds.split_once('.').unwrap_or_default();
    let number = |text: &str| text.parse().unwrap_or(0_u64);
    number(seconds) * 1_000_000 + number(fraction.trim_end_matches('Z'))
}

/// When the daemon last wrote such an entry, in µs of its minute.
fn last_written(daemon: &Daemon, such: impl Fn(&Entry) -> bool) -> Result<u64, Failed> {
    let entries = daemon.entries();
    let last = entries.iter().rfind(|entry| such(entry));
    Ok(written_at(last.ok_or("no such entry")?))
}

/// For how long nobody had the addresses: from before one gives them up until the other has them.
fn unheld_us(from: &Daemon, to: &Daemon) -> Result<u64, Failed> {
    let given_up = last_written(from, |entry| entry.becomes("backup"))?;
    let acquired = last_written(to, |entry| entry.says("Acquired the addresses"))?;
    Ok((acquired + MINUTE_US - given_up) % MINUTE_US)
}

/// How long each takeover took from the decision to the addresses, in µs, by the daemon's own clock.
fn took(daemon: &Daemon) -> Vec<u64> {
    let (mut decided, mut all) = (0, Vec::new());
    for entry in daemon.entries() {
        if entry.becomes("master") {
            decided = written_at(&entry);
        } else if entry.says("Acquired the addresses") {
            all.push((written_at(&entry) + MINUTE_US - decided) % MINUTE_US);
        }
    }
    all
}

fn hand_overs(virtual_mac: bool) -> Result<Vec<HandOver>, Failed> {
    let lab = lan(&["a", "b"])?;
    let node = |host: &str| Carpd::new(host).set("virtual-mac", virtual_mac);
    let _servers = [answer(&lab, "a")?, answer(&lab, "b")?];
    let mut a = node("a").start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    let mut b = node("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    hears(&lab, "b", ADDRESS_OF_A)?;
    let entry = format!("lladdr {VIRTUAL}");
    let mut hand_overs = Vec::new();
    for round in 0..6 {
        let (host, from, to) = if round % 2 == 0 {
            ("a", &mut a, &mut b)
        } else {
            ("b", &mut b, &mut a)
        };
        let (lost, probes) = probed(&lab, || {
            resign(&lab, host)?;
            to.wait_says("Acquired the addresses", SOON)?;
            from.wait_says("Released the addresses", SOON)?;
            Ok(())
        })?;
        hand_overs.push(HandOver {
            lost,
            probes,
            unheld: Duration::from_micros(unheld_us(from, to)?),
        });
        if virtual_mac {
            assert_eq!(neighbour(&lab, ADDRESS)?, entry);
            leaves_nothing(&lab, host)?;
        }
    }
    println!(
        "µs from the decision to the addresses, virtual-mac = {virtual_mac}: {:?} {:?}",
        took(&a),
        took(&b)
    );
    a.stop()?;
    b.stop()?;
    leaves_nothing(&lab, "a")?;
    leaves_nothing(&lab, "b")?;
    Ok(hand_overs)
}

fn parent_is_silent() -> Outcome {
    let (lab, [a, b]) = pair()?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    watch.wait(&[virtual_mac()], SOON)?;
    assert!(
        traces(&lab, "a")?.starts_with(&format!("{DEVICE}\n1 2\n")),
        "{}",
        traces(&lab, "a")?
    );
    assert_eq!(traces(&lab, "b")?, NO_TRACES);
    // With its neighbours forgotten, the master asks for the client, and not from the address.
    for _ in 0..5 {
        sh(&lab, "a", "ip neigh flush dev eth0")?;
        reach(&lab, ADDRESS)?;
        assert_eq!(neighbour(&lab, ADDRESS)?, format!("lladdr {VIRTUAL}"));
    }
    // Its own address is still its own.
    reach(&lab, ADDRESS_OF_A)?;
    assert_eq!(
        neighbour(&lab, ADDRESS_OF_A)?,
        format!("lladdr {}", mac(&lab, "a")?)
    );
    watch.hear(ADDRESS_OF_A, 2, SOON)?;
    let others: Vec<_> = watch
        .sightings()
        .into_iter()
        .filter(|seen| match &seen.what {
            Sighting::Answers { mac, .. }
            | Sighting::One { mac, .. }
            | Sighting::Announcement { mac, .. } => *mac != virtual_mac(),
            Sighting::Both { .. } => true,
            _ => false,
        })
        .collect();
    assert!(others.is_empty(), "{others:?}");
    a.stop()?;
    b.stop()
}

fn idle_device() -> Outcome {
    let (lab, [a, mut b]) = pair()?;
    for mode in ["private", "bridge"] {
        let add = format!(
            "ip link add idle0 link eth0 address {VIRTUAL} type macvlan mode {mode} && ip link set idle0 up"
        );
        sh(&lab, "b", &add)?;
        let claimed = b.wait_state("master", MASTER_DOWN);
        assert!(
            claimed.is_err(),
            "with an idle device in mode {mode} it is deaf: {}",
            b.text()
        );
        hears(&lab, "b", ADDRESS_OF_A)?;
        sh(&lab, "b", "ip link del idle0")?;
    }
    a.stop()?;
    b.wait_says("Acquired the addresses", SOON)?;
    b.stop()
}

fn cleanup() -> Outcome {
    let (lab, [a, b]) = pair()?;
    let tree = Tree::of(&lab, "a", &a)?;
    tree.signal_all(Signal::SIGSTOP)?;
    tree.signal_all(Signal::SIGKILL)?;
    a.process.wait(SOON)?;
    assert!(traces(&lab, "a")?.starts_with(&format!("{DEVICE}\n1 2")));
    let said = sh(
        &lab,
        "a",
        &format!("{CARPD} cleanup --config /run/lab/carpd.toml"),
    )?;
    assert_eq!(traces(&lab, "a")?, NO_TRACES, "{said:?}");
    // Without a cleanup, the next one does it.
    let mut a = node("a").preempts().restart(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    let tree = Tree::of(&lab, "a", &a)?;
    tree.signal_all(Signal::SIGSTOP)?;
    tree.signal_all(Signal::SIGKILL)?;
    a.process.wait(SOON)?;
    let mut a = node("a").advskew(100).start(&lab)?;
    a.wait_state("backup", SOON)?;
    leaves_nothing(&lab, "a")?;
    a.stop()?;
    b.stop()
}

fn engine_killed() -> Outcome {
    let (lab, [mut a, mut b]) = pair()?;
    let tree = Tree::of(&lab, "a", &a)?;
    tree.signal(tree.engine()?, Signal::SIGKILL)?;
    b.wait_says("Acquired the addresses", SOON)?;
    leaves_nothing(&lab, "a")?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    b.wait_says("Released the addresses", SOON)?;
    // An engine that has lost its keeper takes everything with it.
    Tree::of(&lab, "a", &a)?.signal(a.process.pid(), Signal::SIGKILL)?;
    b.wait_says("Acquired the addresses", SOON)?;
    leaves_nothing(&lab, "a")?;
    b.stop()
}

fn foreign() -> Outcome {
    let lab = lan(&["a", "b"])?;
    sh(
        &lab,
        "a",
        &format!("ip link add {DEVICE} type veth peer name other"),
    )?;
    let there = "ip -o link show type veth";
    let before = sh(&lab, "a", there)?;
    let spec = node("a");
    spec.write(&lab)?;
    let check = lab
        .host("a")
        .run(&[CARPD, "check", "--config", "/run/lab/carpd.toml"], SOON)?;
    let said = format!("{check:?}");
    assert!(
        said.contains(&format!("there is an interface {DEVICE} already")),
        "{said}"
    );
    let mut a = spec.start(&lab)?;
    let mut b = node("b").advskew(50).start(&lab)?;
    a.wait_says("Could not add the addresses", TAKEOVER)?;
    b.wait_says("Acquired the addresses", TAKEOVER)?;
    a.stop()?;
    assert_eq!(sh(&lab, "a", there)?, before);
    assert!(
        traces(&lab, "a")?.starts_with("0 0"),
        "{}",
        traces(&lab, "a")?
    );
    b.stop()
}

fn put_back() -> Outcome {
    let (lab, [mut a, b]) = pair()?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    watch.wait(&[virtual_mac()], SOON)?;
    for taken in [
        format!("ip link del {DEVICE}"),
        format!("ip link set {DEVICE} down"),
    ] {
        sh(&lab, "a", &taken)?;
        a.wait_says("Restored a macvlan that someone removed or set down", SOON)?;
        reach(&lab, ADDRESS)?;
    }
    sh(
        &lab,
        "a",
        &format!("ip address del {ADDRESS}/32 dev {DEVICE}"),
    )?;
    a.wait_says("Restored an address that someone removed", SOON)?;
    reach(&lab, ADDRESS)?;
    assert_eq!(
        (a.states(), b.states()),
        (
            vec!["backup".into(), "master".into()],
            vec!["backup".into()]
        )
    );
    a.stop()?;
    leaves_nothing(&lab, "a")?;
    b.stop()
}

fn reload() -> Outcome {
    let lab = lan(&["a"])?;
    let mut a = Carpd::new("a").start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    for _ in 0..2 {
        watch.wait(&[mac(&lab, "a")?], SOON)?;
        a.reload(&lab, &node("a"))?;
        watch.wait(&[virtual_mac()], SOON)?;
        assert!(traces(&lab, "a")?.starts_with(&format!("{DEVICE}\n1 2\n")));
        a.reload(&lab, &Carpd::new("a"))?;
        watch.wait(&[mac(&lab, "a")?], SOON)?;
        let moved = || {
            Ok(traces(&lab, "a")
                .unwrap_or_default()
                .starts_with("0 0\n")
                .then_some(()))
        };
        lab.until("the macvlan to be gone", SOON, moved)?;
    }
    assert_eq!(a.states(), ["backup", "master"]);
    // Back again at once: the device of before may still be going.
    a.reload(&lab, &node("a"))?;
    a.reload(&lab, &Carpd::new("a"))?;
    a.reload(&lab, &node("a"))?;
    watch.wait(&[virtual_mac()], TAKEOVER)?;
    a.stop()?;
    leaves_nothing(&lab, "a")
}

fn two_parents() -> Outcome {
    let lab = lan(&["a"])?;
    sh(
        &lab,
        "a",
        "ip link add wan-of-provider type veth peer name beyond && ip link set wan-of-provider up && ip link set beyond up",
    )?;
    let vhost = |name: &str, interface: &str, address: &str| {
        format!(
            "[[vhost]]\nname = \"{name}\"\ninterface = \"{interface}\"\nvhid = 40\naddresses = [\"{address}\"]\n\
             password-file = \"/run/lab/web.pass\"\nvirtual-mac = true\n"
        )
    };
    let both = vhost("lan", "eth0", &format!("{ADDRESS}/24"))
        + &vhost("wan", "wan-of-provider", "10.77.0.22/24");
    let mut a = Carpd::new("a").vhosts(both).start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    let devices = sh(&lab, "a", "ip -o link show type macvlan")?;
    assert_eq!(devices.len(), 2, "{devices:?}");
    assert!(
        devices.iter().all(|device| device.contains(VIRTUAL)),
        "{devices:?}"
    );
    a.stop()?;
    leaves_nothing(&lab, "a")
}

fn over_ipv6() -> Outcome {
    let lab = dual_lan(&["a", "b"])?;
    let six = |host: &str| node(host).set("addresses", format!("[\"{ADDRESS_V6}/64\"]"));
    let mut a = six("a").preempts().start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    let mut b = six("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    reach(&lab, ADDRESS_V6)?;
    let entry = format!("lladdr {VIRTUAL}");
    assert_eq!(neighbour(&lab, ADDRESS_V6)?, entry);
    let there = sh(&lab, "a", &format!("ip -6 -o address show dev {DEVICE}"))?;
    assert_eq!(there.len(), 1, "no address but the virtual one: {there:?}");
    a.stop()?;
    b.wait_says("Acquired the addresses", SOON)?;
    reach(&lab, ADDRESS_V6)?;
    assert_eq!(neighbour(&lab, ADDRESS_V6)?, entry);
    leaves_nothing(&lab, "a")?;
    b.stop()
}

fn hook() -> Outcome {
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let lua = format!(
        "function on_master() announce('{ADDRESS}/24', {{ count = 2, interval_ms = 50 }}) end"
    );
    let mut a = node("a").hook(&lua, "").start(&lab)?;
    let ran = a.wait_ran("on_master", TAKEOVER)?;
    assert_eq!(ran.text("outcome"), "done", "{ran:?}");
    watch.hear(ADDRESS_OF_A, 2, SOON)?;
    let announced: Vec<MacAddr> = watch
        .sightings()
        .into_iter()
        .filter_map(|seen| match seen.what {
            Sighting::Announcement { mac, .. } => Some(mac),
            _ => None,
        })
        .collect();
    assert!(announced.len() >= 3, "{announced:?}");
    assert!(
        announced.iter().all(|mac| *mac == virtual_mac()),
        "{announced:?}"
    );
    a.stop()
}

fn stranger() -> Outcome {
    let lab = lan(&["a", "b", "c"])?;
    let quick = |host: &str| node(host).set("probe-interval", "\"2s\"");
    let mut a = quick("a").start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    let mut b = quick("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    let told =
        |daemon: &mut Daemon, timeout| daemon.wait_says("Another host has this address", timeout);
    // The master's answers are nobody's offence, whoever asks.
    assert!(told(&mut b, SOON * 2).is_err(), "{}", b.text());
    assert!(told(&mut a, Duration::ZERO).is_err(), "{}", a.text());
    lab.host("c")
        .add_address(format!("{ADDRESS}/24").parse()?)?;
    let strange = mac(&lab, "c")?.to_string();
    for daemon in [&mut a, &mut b] {
        assert_eq!(told(daemon, SOON * 3)?.text("mac"), strange);
    }
    a.stop()?;
    b.stop()
}

fn refresh() -> Outcome {
    let lab = lan(&["a"])?;
    let announce = "{ delay = \"2s\", refresh = \"300ms\" }";
    let mut a = node("a").set("announce", announce).start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    for _ in 0..10 {
        watch.hear_announced(virtual_mac(), SOON)?;
    }
    a.stop()
}

/// Without IPv6 addresses the device must have no IPv6, which cannot be set while `/proc/sys` is
/// read-only. Nothing half-made is left, and none is used later.
fn half_made() -> Outcome {
    let lab = lan(&["a"])?;
    let mounted = |how: &str| {
        let script = format!("mount -o remount,bind,{how} /proc/sys");
        sh(&lab, "a", &script).map(drop)
    };
    sh(&lab, "a", "mount --bind /proc/sys /proc/sys")?;
    mounted("ro")?;
    let mut a = node("a").start(&lab)?;
    // What it does in vain is no reason to try again: the pauses grow.
    let stays = "Cannot hold all its addresses; staying master with the others";
    let mut at = Vec::new();
    for _ in 0..3 {
        a.wait_says(stays, TAKEOVER + SOON)?;
        at.push(now());
    }
    let [first, second, third] = at.as_slice() else {
        return Err("three".into());
    };
    assert!(
        third.since(*second) * 2 > second.since(*first) * 3,
        "{at:?}: {}",
        a.text()
    );
    let devices = || sh(&lab, "a", "ip -o link show type macvlan");
    assert_eq!(devices()?, Vec::<String>::new(), "{}", a.text());
    mounted("rw")?;
    lab.until("the address", LONG / 2, || {
        let there = traces(&lab, "a").map_err(|error| carpd::lab::LabError::Host {
            host: "a".to_owned(),
            message: error.to_string(),
        })?;
        Ok(there.contains(&format!("{ADDRESS}/32")).then_some(()))
    })
    .map_err(|error| format!("{error}: {}", a.text()))?;
    let without = format!("cat /proc/sys/net/ipv6/conf/{DEVICE}/disable_ipv6");
    assert_eq!(sh(&lab, "a", &without)?, ["1"]);
    a.stop()
}
