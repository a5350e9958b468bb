//! What an idle master of many virtual hosts costs.

use std::collections::BTreeSet;
use std::time::Duration;

use carpd::lab::clock::{Ticker, now};
use carpd::lab::{Host, HostSpec, Lab, LabSpec, PROGRAM, ProbeSpec, Sighted, Sighting};

use crate::Failed;
use crate::daemon::{CARPD, Kind, words};
use crate::round::{SOON, TAKEOVER};

/// After the last takeover: repeated announcements are part of that, not of being idle.
const QUIET: Duration = Duration::from_secs(8);
/// How long CPU time is counted.
const WINDOW: Duration = Duration::from_secs(10);

/// What was measured.
pub(crate) struct Idle {
    pub(crate) kind: Kind,
    pub(crate) vhids: u8,
    /// Percent of one core.
    pub(crate) cpu: f64,
    /// Proportional set size of all its processes, in MB.
    pub(crate) pss: f64,
    pub(crate) processes: usize,
}

/// Runs a daemon as master of so many virtual hosts, one address each, without hooks.
pub(crate) fn measure(kind: Kind, vhids: u8) -> Result<Idle, Failed> {
    let host = |name: &str, cidr: &str| Ok::<_, Failed>(HostSpec::new(name, &[cidr.parse()?]));
    let lab = Lab::start(&LabSpec {
        hosts: vec![host("a", "10.0.0.1/16")?, host("client", "10.0.0.2/16")?],
    })?;
    let a = lab.host("a");
    let argv = match kind {
        Kind::Carpd => {
            a.write("/run/lab/web.pass", 0o600, "gw22\n")?;
            a.write("/run/lab/carpd.toml", 0o644, &carpd_toml(vhids))?;
            words(&format!(
                "{CARPD} run --config /run/lab/carpd.toml --log-format json"
            ))
        }
        Kind::Keepalived => {
            a.write("/run/lab/keepalived.conf", 0o644, &keepalived_conf(vhids))?;
            words("keepalived --dont-fork --vrrp --log-console --use-file=/run/lab/keepalived.conf")
        }
        Kind::Ucarp => return Err("ucarp has one virtual host a process".into()),
    };
    let spec = ProbeSpec {
        address: "10.0.1.1".parse()?,
        arp_interval: Duration::ZERO,
        http_interval: Duration::ZERO,
    };
    let mut probe = lab.host("client").spawn(&spec.argv(PROGRAM))?;
    probe.wait_line("its start", SOON, |line| line.contains("started"))?;
    let daemon = a.spawn(&argv)?;
    let mut heard = BTreeSet::new();
    probe.wait_line("all to be master", TAKEOVER, |line| {
        if let Some(Sighted {
            what: Sighting::Advertisement { vhid, .. },
            ..
        }) = Sighted::parse(line)
        {
            heard.insert(vhid);
        }
        heard.len() == usize::from(vhids)
    })?;
    pause(QUIET)?;
    let from = now();
    let before = cpu_ns(&lab.host("a"), kind)?;
    pause(WINDOW)?;
    let spent = cpu_ns(&lab.host("a"), kind)?.saturating_sub(before);
    let cpu = Duration::from_nanos(spent).as_secs_f64() / now().since(from).as_secs_f64() * 100.0;
    if let Some(exit) = daemon.ended() {
        return Err(format!("{} ended: {exit:?}", kind.name()).into());
    }
    let (pss, processes) = pss_kb(&lab.host("a"), kind)?;
    Ok(Idle {
        kind,
        vhids,
        cpu,
        pss: f64::from(pss) / 1000.0,
        processes,
    })
}

pub(crate) fn pause(time: Duration) -> Result<(), Failed> {
    let ticker = Ticker::new(time)?;
    // The first tick comes at once.
    ticker.wait()?;
    Ok(ticker.wait()?)
}

/// Lines that a shell prints for each process of the daemon: `cat`s one of its files in /proc.
fn of_processes(host: &Host, kind: Kind, file: &str) -> Result<Vec<String>, Failed> {
    let program = match kind {
        Kind::Carpd => "*/carpd-daemon|*/carpd-worker".to_owned(),
        other => format!("*/{}", other.name()),
    };
    // The lab's own processes have another program.
    let script = format!(
        "for p in /proc/[0-9]*; do case $(readlink $p/exe) in {program}) cat $p/{file};; esac; done"
    );
    let output = host.run(&["bash", "-c", &script], SOON)?;
    if output.stdout.is_empty() {
        Err(format!("no process of {}: {output:?}", kind.name()).into())
    } else {
        Ok(output.stdout)
    }
}

/// CPU time of all threads of the daemon on this host so far.
pub(crate) fn cpu_ns(host: &Host, kind: Kind) -> Result<u64, Failed> {
    let lines = of_processes(host, kind, "task/*/schedstat")?;
    lines
        .iter()
        .map(|line| Ok(line.split(' ').next().unwrap_or_default().parse::<u64>()?))
        .sum()
}

fn pss_kb(host: &Host, kind: Kind) -> Result<(u32, usize), Failed> {
    let lines = of_processes(host, kind, "smaps_rollup")?;
    let sizes = lines.iter().filter_map(|line| line.strip_prefix("Pss:"));
    let sizes = sizes
        .map(|size| size.trim().trim_end_matches(" kB").parse::<u32>())
        .collect::<Result<Vec<_>, _>>()?;
    Ok((sizes.iter().sum(), sizes.len()))
}

fn carpd_toml(vhids: u8) -> String {
    let vhost = |n: u8| {
        format!(
            "[[vhost]]\nname = \"v{n}\"\ninterface = \"eth0\"\nvhid = {n}\naddresses = [\"10.0.1.{n}/32\"]\n\
             password-file = \"/run/lab/web.pass\"\n\n"
        )
    };
    (1..=vhids).map(vhost).collect()
}

fn keepalived_conf(vhids: u8) -> String {
    let instance = |n: u8| {
        format!(
            "vrrp_instance v{n} {{\n state BACKUP\n interface eth0\n virtual_router_id {n}\n priority 100\n advert_int 1\n \
             virtual_ipaddress {{\n 10.0.1.{n}/32\n }}\n}}\n"
        )
    };
    (1..=vhids).map(instance).collect()
}
