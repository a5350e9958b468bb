//! What grows with the number of virtual hosts, interfaces and routes: the cost of an advertisement,
//! the time until all are master, and how late advertisements are on a host with a full routing table.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use carpd::lab::clock::now;
use carpd::lab::{Host, HostSpec, Lab, LabSpec, PROGRAM, ProbeSpec, Process};
use carpd::types::Timestamp;

use crate::daemon::{CARPD, Kind, words};
use crate::fast::sender;
use crate::idle::{cpu_ns, pause};
use crate::round::{SOON, TAKEOVER};
use crate::{Failed, watching};

/// Virtual hosts on an interface.
const VHOSTS: u8 = 250;
/// The largest vhid, and so the most virtual hosts on an interface.
pub(crate) const VHIDS: u8 = u8::MAX;
const INTERFACES: u8 = 4;
/// advskew with advbase 0, of the better node: 101.6 ms. keepalived's interval is 100 ms.
const SKEW: u8 = 26;
const INTERVAL: Duration = Duration::from_nanos(101_562_500);
/// How long advertisements are counted: 100,000 of them.
const COUNTED: Duration = Duration::from_secs(40);
/// Until repeated announcements are over.
const QUIET: Duration = Duration::from_secs(10);
/// After the start with advbase 1 and advskew 0.
const MASTER_DOWN: Duration = Duration::from_secs(3);
const ROUTES: u32 = 500_000;
/// Until the kernel has so many routes, or none of them.
const ROUTES_TIME: Duration = Duration::from_secs(120);
/// How long each state of the routing table lasts.
const LOOKED: Duration = Duration::from_secs(20);
/// A hook that asks for all routes, each time that it is asked for its health: they are too many.
const ASKS: &str = "function health()\n  pcall(facts.routes)\n  return true\nend\n";

/// All of it, as a part of the document.
pub(crate) fn measure() -> Result<String, Failed> {
    let mut text = "\n## Many virtual hosts, interfaces and routes\n\n".to_owned();
    for part in [costs, settles, routes, watching::measure] {
        let table = part()?;
        eprintln!("{table}");
        text += &table;
    }
    Ok(text)
}

/// All that two nodes spend, divided by the advertisements on the wire.
fn costs() -> Result<String, Failed> {
    let mut text = format!(
        "{VHOSTS} virtual hosts, an advertisement of each every 0.1 s, for {} s. All CPU time of all processes, divided by the \
         advertisements on the wire.\n\n\
         | | advertisements | µs for each that is sent | | µs for each that is received | |\n|---|---|---|---|---|---|\n",
        COUNTED.as_secs()
    );
    for kind in [Kind::Carpd, Kind::Keepalived] {
        eprintln!("{}: the cost of an advertisement", kind.name());
        let Cost {
            count,
            sent,
            received,
        } = cost(kind)?;
        let judged = |us: f64, goal: f64| match kind {
            Kind::Carpd if us <= goal => format!("≤ {goal}: met"),
            Kind::Carpd => format!("≤ {goal}: **missed**"),
            _ => String::new(),
        };
        _ = writeln!(
            text,
            "| {} | {count} | {sent:.1} | {} | {received:.1} | {} |",
            kind.name(),
            judged(sent, 16.0),
            judged(received, 5.0)
        );
    }
    Ok(text)
}

struct Cost {
    /// Advertisements that the backup's interface has received.
    count: u32,
    /// µs for each, of the master.
    sent: f64,
    /// The same of the backup.
    received: f64,
}

fn cost(kind: Kind) -> Result<Cost, Failed> {
    let host = |name: &str, cidr: &str| Ok::<_, Failed>(HostSpec::new(name, &[cidr.parse()?]));
    let lab = Lab::start(&LabSpec {
        hosts: vec![host("a", "10.0.0.1/16")?, host("b", "10.0.0.2/16")?],
    })?;
    let mut daemons = Vec::new();
    for (place, name) in (0..).zip(["a", "b"]) {
        let host = lab.host(name);
        let argv = match kind {
            Kind::Carpd => {
                let more = format!("advbase = 0\nadvskew = {}\nlease = \"off\"\n", SKEW + place);
                run_carpd(&host, &carpd_toml("eth0", 0, VHOSTS, &more))?
            }
            _ => run_keepalived(
                &host,
                &keepalived_conf("eth0", 0, VHOSTS, 100 - place, "0.1"),
            )?,
        };
        daemons.push(host.spawn(&argv)?);
        // The better one first: nothing changes afterwards.
        wait_addresses(&lab.host("a"), &daemons, u32::from(VHOSTS), TAKEOVER)?;
    }
    pause(QUIET)?;
    let look = || {
        Ok::<_, Failed>((
            cpu_ns(&lab.host("a"), kind)?,
            cpu_ns(&lab.host("b"), kind)?,
            received(&lab.host("b"))?,
        ))
    };
    let before = look()?;
    pause(COUNTED)?;
    let after = look()?;
    alive(&daemons)?;
    let count = after.2.saturating_sub(before.2);
    let each = |before: u64, after: u64| {
        Duration::from_nanos(after.saturating_sub(before)).as_secs_f64() * 1e6 / f64::from(count)
    };
    Ok(Cost {
        count,
        sent: each(before.0, after.0),
        received: each(before.1, after.1),
    })
}

/// A node alone, with all virtual hosts that four interfaces can have.
fn settles() -> Result<String, Failed> {
    let all = u32::from(VHIDS) * u32::from(INTERFACES);
    let mut text = format!(
        "\nA node alone, one advertisement a second for each virtual host, {VHIDS} on an interface; no hooks.\n\n\
         | | virtual hosts | all are master after the start | the same after the master-down time of {} s | | CPU %, of each 100 virtual hosts |\n\
         |---|---|---|---|---|---|\n",
        MASTER_DOWN.as_secs()
    );
    for (kind, interfaces) in [
        (Kind::Carpd, 1),
        (Kind::Carpd, INTERFACES),
        (Kind::Keepalived, 1),
        (Kind::Keepalived, INTERFACES),
    ] {
        eprintln!("{}: {interfaces} interfaces settle", kind.name());
        let (took, cpu) = settle(kind, interfaces)?;
        let vhosts = u32::from(VHIDS) * u32::from(interfaces);
        let late = took.as_secs_f64() - MASTER_DOWN.as_secs_f64();
        let judged = match kind {
            Kind::Carpd if vhosts == all && late <= 2.0 => "≤ 2 s: met",
            Kind::Carpd if vhosts == all => "≤ 2 s: **missed**",
            _ => "",
        };
        _ = writeln!(
            text,
            "| {} | {vhosts} | {:.2} s | {late:.2} s | {judged} | {:.2} |",
            kind.name(),
            took.as_secs_f64(),
            cpu * 100.0 / f64::from(vhosts)
        );
    }
    Ok(text)
}

/// How long it takes until all addresses are there, and what it costs then, in percent of a core.
fn settle(kind: Kind, interfaces: u8) -> Result<(Duration, f64), Failed> {
    let lab = Lab::start(&LabSpec {
        hosts: vec![HostSpec::new("a", &["10.0.0.1/16".parse()?])],
    })?;
    let a = lab.host("a");
    let mut text = String::new();
    for n in 0..interfaces {
        if n > 0 {
            let add = format!(
                "ip link add eth{n} type veth peer name far{n} && ip link set far{n} arp off up && \
                 ip link set eth{n} up && ip address add 10.{n}.0.1/16 dev eth{n}"
            );
            shell(&a, &add, SOON)?;
        }
        let interface = format!("eth{n}");
        text += &match kind {
            Kind::Carpd => carpd_toml(&interface, n, VHIDS, ""),
            _ => keepalived_conf(&interface, n, VHIDS, 255, "1"),
        };
    }
    let argv = match kind {
        Kind::Carpd => run_carpd(&a, &text)?,
        _ => run_keepalived(&a, &text)?,
    };
    let began = now();
    let daemons = [a.spawn(&argv)?];
    let vhosts = u32::from(VHIDS) * u32::from(interfaces);
    wait_addresses(&a, &daemons, vhosts, TAKEOVER + SOON)?;
    let took = now().since(began);
    pause(QUIET)?;
    let (from, before) = (now(), cpu_ns(&a, kind)?);
    pause(QUIET)?;
    let spent = Duration::from_nanos(cpu_ns(&a, kind)?.saturating_sub(before));
    let cpu = spent.as_secs_f64() / now().since(from).as_secs_f64() * 100.0;
    alive(&daemons)?;
    Ok((took, cpu))
}

/// The largest delay of an advertisement of a master whose hook asks for all routes each second,
/// while the host gets a full table, has it, and loses it.
fn routes() -> Result<String, Failed> {
    eprintln!("carpd: a full routing table");
    let host = |name: &str, cidr: &str| Ok::<_, Failed>(HostSpec::new(name, &[cidr.parse()?]));
    let lab = Lab::start(&LabSpec {
        hosts: vec![host("a", "10.0.0.1/16")?, host("client", "10.0.0.2/16")?],
    })?;
    let a = lab.host("a");
    a.write("/run/lab/asks.lua", 0o644, ASKS)?;
    let toml = format!(
        "{}hooks = [\"asks\"]\n\n[hook.asks]\nsource = \"/run/lab/asks.lua\"\nhealth = {{ interval = \"1s\", timeout = \"900ms\" }}\n[hook.asks.grant]\nread = true\n",
        carpd_toml(
            "eth0",
            0,
            1,
            &format!("advbase = 0\nadvskew = {SKEW}\nlease = \"off\"\n")
        )
    );
    let spec = ProbeSpec {
        address: "10.0.1.1".parse()?,
        arp_interval: Duration::ZERO,
        http_interval: Duration::ZERO,
    };
    let mut probe = lab.host("client").spawn(&spec.argv(PROGRAM))?;
    probe.wait_line("its start", SOON, |line| line.contains("started"))?;
    let daemons = [a.spawn(&run_carpd(&a, &toml)?)?];
    wait_addresses(&a, &daemons, 1, TAKEOVER)?;
    pause(QUIET)?;
    let mut times = vec![now()];
    pause(LOOKED)?;
    times.push(now());
    // Two octets of a network of their own, eight bits each, and 8 of them again.
    let add = format!(
        "seq 0 {} | awk '{{ printf \"route add 11.%d.%d.%d/32 dev eth0\\n\", $1 / 65536, $1 / 256 % 256, $1 % 256 }}' | ip -batch -",
        ROUTES - 1
    );
    shell(&a, &add, ROUTES_TIME)?;
    times.push(now());
    pause(LOOKED)?;
    times.push(now());
    shell(&a, "ip route flush root 11.0.0.0/8", ROUTES_TIME)?;
    pause(LOOKED)?;
    times.push(now());
    alive(&daemons)?;
    let from: IpAddr = "10.0.0.1".parse()?;
    let sent: Vec<Timestamp> = probe
        .lines()
        .iter()
        .filter_map(|line| sender(&line.text))
        .filter(|(address, _)| *address == from)
        .map(|(_, at)| at)
        .collect();
    let mut text = format!(
        "\nA master that advertises every 101.6 ms, with a hook that asks for all routes each second. Intervals as another host receives them.\n\n\
         | {ROUTES} routes | advertisements | longest delay | |\n|---|---|---|---|\n"
    );
    let names = [
        "before them",
        "while they are added",
        "with them",
        "when they are removed",
    ];
    for (name, span) in names.into_iter().zip(times.windows(2)) {
        let [from, to] = span else { continue };
        let within: Vec<Timestamp> = sent
            .iter()
            .copied()
            .filter(|at| at >= from && at < to)
            .collect();
        let longest = within
            .windows(2)
            .filter_map(|pair| match pair {
                [one, next] => Some(next.since(*one).saturating_sub(INTERVAL)),
                _ => None,
            })
            .max()
            .ok_or_else(|| format!("no advertisements {name}"))?;
        let ms = longest.as_secs_f64() * 1000.0;
        let judged = if ms <= 10.0 { "met" } else { "**missed**" };
        _ = writeln!(
            text,
            "| {name} | {} | {ms:.2} ms | ≤ 10 ms: {judged} |",
            within.len()
        );
    }
    Ok(text)
}

pub(crate) fn run_carpd(host: &Host, toml: &str) -> Result<Vec<String>, Failed> {
    host.write("/run/lab/web.pass", 0o600, "gw22\n")?;
    host.write("/run/lab/carpd.toml", 0o644, toml)?;
    Ok(words(&format!(
        "{CARPD} run --config /run/lab/carpd.toml --log-format json"
    )))
}

fn run_keepalived(host: &Host, conf: &str) -> Result<Vec<String>, Failed> {
    host.write(
        "/run/lab/keepalived.conf",
        0o644,
        &format!("global_defs {{\n vrrp_version 3\n}}\n{conf}"),
    )?;
    Ok(words(
        "keepalived --dont-fork --vrrp --log-console --use-file=/run/lab/keepalived.conf",
    ))
}

/// Virtual hosts with the addresses 10.`net`.1.VHID.
pub(crate) fn carpd_toml(interface: &str, net: u8, vhosts: u8, more: &str) -> String {
    let vhost = |n: u8| {
        format!(
            "[[vhost]]\nname = \"{interface}-{n}\"\ninterface = \"{interface}\"\nvhid = {n}\naddresses = [\"10.{net}.1.{n}/32\"]\n\
             password-file = \"/run/lab/web.pass\"\n{more}"
        )
    };
    (1..=vhosts).map(vhost).collect()
}

fn keepalived_conf(interface: &str, net: u8, vhosts: u8, priority: u8, interval: &str) -> String {
    let instance = |n: u8| {
        format!(
            "vrrp_instance {interface}-{n} {{\n state BACKUP\n interface {interface}\n virtual_router_id {n}\n priority {priority}\n \
             advert_int {interval}\n virtual_ipaddress {{\n 10.{net}.1.{n}/32\n }}\n}}\n"
        )
    };
    (1..=vhosts).map(instance).collect()
}

/// Waits until so many virtual addresses are set. A daemon that has ended is a better reason than the
/// time that is over.
pub(crate) fn wait_addresses(
    host: &Host,
    daemons: &[Process],
    count: u32,
    time: Duration,
) -> Result<(), Failed> {
    let until = format!(
        "until [ \"$(ip -o -4 address | grep -c ' inet 10\\.[0-9]*\\.1\\.')\" = {count} ]; do sleep 0.02; done"
    );
    shell(host, &until, time).or_else(|late| alive(daemons).and(Err(late)))
}

/// Packets that its first interface has received so far.
fn received(host: &Host) -> Result<u32, Failed> {
    let output = host.run(&["sh", "-c", "grep eth0: /proc/net/dev"], SOON)?;
    let line = output.stdout.first().ok_or("no eth0")?;
    let count = line
        .split_whitespace()
        .nth(2)
        .ok_or("no count of packets")?;
    Ok(count.parse()?)
}

pub(crate) fn shell(host: &Host, script: &str, timeout: Duration) -> Result<(), Failed> {
    let output = host.run(&["bash", "-c", script], timeout)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{script}: {output:?}").into())
    }
}

pub(crate) fn alive(daemons: &[Process]) -> Result<(), Failed> {
    let Some((daemon, exit)) = daemons.iter().find_map(|one| Some((one, one.ended()?))) else {
        return Ok(());
    };
    let last: Vec<String> = daemon
        .lines()
        .into_iter()
        .rev()
        .take(5)
        .map(|line| line.text)
        .collect();
    Err(format!("a daemon ended, {}: {last:?}", exit.in_words()).into())
}
