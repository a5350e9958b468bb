//! What it costs to look at a node with as many virtual hosts as an interface can have: `carpd
//! status`, `carpd top`, and the HTTP endpoint.

use std::fmt::Write as _;
use std::time::Duration;

use carpd::lab::clock::now;
use carpd::lab::{Host, HostSpec, Lab, LabSpec, Process};

use crate::Failed;
use crate::daemon::{CARPD, Kind};
use crate::idle::{cpu_ns, pause};
use crate::many::{VHIDS, alive, carpd_toml, run_carpd, shell, wait_addresses};
use crate::round::{SOON, TAKEOVER};

const LISTEN: &str = "[daemon]\nlisten = \"127.0.0.1:9478\"\n";
const CONFIG: &str = "--config /run/lab/carpd.toml";
/// How often each is asked.
const TIMES: usize = 50;
/// Where the last answer is.
const ANSWER: &str = "/run/lab/answer";
/// How long CPU time is counted.
const WINDOW: Duration = Duration::from_secs(20);
/// Until repeated announcements are over.
const QUIET: Duration = Duration::from_secs(10);
/// What an answer may take.
const ANSWER_MS: f64 = 10.0;
/// What `carpd top` may take, in percent of a core.
const TOP_PERCENT: f64 = 1.0;

/// All of it, as a part of the document.
pub(crate) fn measure() -> Result<String, Failed> {
    eprintln!("carpd: status and top");
    let lab = Lab::start(&LabSpec {
        hosts: vec![HostSpec::new("a", &["10.0.0.1/16".parse()?])],
    })?;
    let a = lab.host("a");
    let toml = LISTEN.to_owned() + &carpd_toml("eth0", 0, VHIDS, "");
    let daemons = [a.spawn(&run_carpd(&a, &toml)?)?];
    wait_addresses(&a, &daemons, u32::from(VHIDS), TAKEOVER)?;
    pause(QUIET)?;
    let mut text = format!(
        "\n{VHIDS} virtual hosts, one advertisement a second each. From the start of a command to its end, and from connecting to the \
         end of the answer, {TIMES} times.\n\n| | median | longest | |\n|---|---|---|---|\n"
    );
    let ask = |path: &str| {
        format!(
            "exec 3<>/dev/tcp/127.0.0.1/9478; printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3 >{ANSWER}; exec 3>&-"
        )
    };
    // A fast answer that is none, or not all of it, counts for nothing.
    let each = |pattern: &str| format!("[ $(grep -o '{pattern}' {ANSWER} | wc -l) = {VHIDS} ]");
    let well = |pattern: &str| {
        format!(
            "head -1 {ANSWER} | grep -q '^HTTP/1.[01] 200 ' && {}",
            each(pattern)
        )
    };
    for (name, command, check) in [
        (
            "`carpd status`",
            format!("{CARPD} status {CONFIG} >{ANSWER}"),
            each(": master since "),
        ),
        (
            "`carpd status --json`",
            format!("{CARPD} status --json {CONFIG} >{ANSWER}"),
            each("\"holding\": true"),
        ),
        ("`/status`", ask("/status"), well("\"holding\": *true")),
        (
            "`/metrics`",
            ask("/metrics"),
            well("^carpd_vhost_holding{[^}]*} 1$"),
        ),
    ] {
        let took = times(&a, &command, &check)?;
        let [.., longest] = took.as_slice() else {
            return Err(format!("{name} was not measured").into());
        };
        let median = took[took.len() / 2];
        let judged = judged(median <= ANSWER_MS);
        _ = writeln!(
            text,
            "| {name} | {median:.1} ms | {longest:.1} ms | ≤ {ANSWER_MS} ms: {judged} |"
        );
    }
    let alone = daemon_percent(&a)?;
    let top = Top::start(&a)?;
    pause(QUIET)?;
    let (before, from) = (top.cpu_ns(&a)?, now());
    let watched = daemon_percent(&a)?;
    let spent = Duration::from_nanos(top.cpu_ns(&a)?.saturating_sub(before));
    let percent = spent.as_secs_f64() / now().since(from).as_secs_f64() * 100.0;
    let judged = judged(percent <= TOP_PERCENT);
    _ = writeln!(
        text,
        "\n`carpd top`, which asks once a second, on a terminal of 120 columns and 40 lines: {percent:.2} % of a core \
         (≤ {TOP_PERCENT} %: {judged}). The daemon takes {watched:.2} % meanwhile, and {alone:.2} % without it."
    );
    top.end(&a)?;
    alive(&daemons)?;
    Ok(text)
}

const fn judged(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

/// How long a shell's command takes, in ms, sorted. After each, the check must succeed.
fn times(host: &Host, command: &str, check: &str) -> Result<Vec<f64>, Failed> {
    let script = format!(
        "set -e; for n in {{1..{TIMES}}}; do b=$EPOCHREALTIME; {command}; e=$EPOCHREALTIME; \
         {{ {check}; }} || {{ head -c 300 {ANSWER} >&2; exit 1; }}; echo $((${{e/./}} - ${{b/./}})); done"
    );
    let output = host.run(&["bash", "-c", &script], SOON * 4)?;
    if !output.status.success() {
        return Err(format!("{command}: {output:?}").into());
    }
    let us = output.stdout.iter().map(|line| line.parse::<f64>());
    let mut ms = us
        .map(|us| Ok(us? / 1000.0))
        .collect::<Result<Vec<f64>, std::num::ParseFloatError>>()?;
    ms.sort_by(f64::total_cmp);
    Ok(ms)
}

/// What the daemon takes, in percent of a core.
fn daemon_percent(host: &Host) -> Result<f64, Failed> {
    let (before, from) = (cpu_ns(host, Kind::Carpd)?, now());
    pause(WINDOW)?;
    let spent = Duration::from_nanos(cpu_ns(host, Kind::Carpd)?.saturating_sub(before));
    Ok(spent.as_secs_f64() / now().since(from).as_secs_f64() * 100.0)
}

/// A running `carpd top`.
struct Top(Process);

impl Top {
    fn start(host: &Host) -> Result<Self, Failed> {
        let inner = format!(
            "stty columns 120 rows 40; echo $$ >/run/lab/top.pid; exec {CARPD} top {CONFIG}"
        );
        let argv = ["script", "--quiet", "--command", &inner, "/dev/null"];
        let top = Self(host.spawn(&argv)?);
        shell(
            host,
            "until [ -s /run/lab/top.pid ]; do sleep 0.02; done",
            SOON,
        )?;
        Ok(top)
    }

    /// CPU time of all its threads so far.
    fn cpu_ns(&self, host: &Host) -> Result<u64, Failed> {
        let script = "cat /proc/$(cat /run/lab/top.pid)/task/*/schedstat";
        let output = host.run(&["bash", "-c", script], SOON)?;
        let times = output.stdout.iter().map(|line| line.split(' ').next());
        let times: Vec<&str> = times.flatten().collect();
        if times.len() < 2 {
            return Err(format!("it does not run: {:?}", self.0.lines()).into());
        }
        times.into_iter().map(|time| Ok(time.parse::<u64>()?)).sum()
    }

    fn end(self, host: &Host) -> Result<(), Failed> {
        shell(host, "kill $(cat /run/lab/top.pid)", SOON)?;
        self.0.wait(SOON)?;
        Ok(())
    }
}
