//! The table, with its targets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::read_to_string;
use std::process::Command;

use crate::Figures;
use crate::daemon::{Kind, SKEW};
use crate::idle::Idle;
use crate::round::{
    ANNOUNCED, ANSWERS, BACK_BOTH, BACK_LOST, HOOK, HOOK_ALONE, PROBE, REPEATED, SILENT, STOPPED,
};

/// The load of the machine, as the kernel says it.
pub(crate) fn load() -> String {
    read_to_string("/proc/loadavg")
        .unwrap_or_default()
        .split(' ')
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Median, least and most.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Some(Self { median, min, max })
    }

    fn text(self) -> String {
        format!(
            "{} ({}–{})",
            number(self.median),
            number(self.min),
            number(self.max)
        )
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value.fract() == 0.0 => format!("{value}"),
        value => format!("{value:.2}"),
    }
}

fn met(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

/// The file's text.
pub(crate) fn markdown(
    figures: &BTreeMap<Kind, Figures>,
    idle: &[Idle],
    load_before: &str,
    alone: bool,
) -> String {
    let mut text = head(figures, load_before, alone);
    text += &failover(figures);
    text += &idle_table(idle);
    text
}

fn head(figures: &BTreeMap<Kind, Figures>, load_before: &str, alone: bool) -> String {
    let cpuinfo = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let versions: Vec<_> = ["ucarp", "keepalived"].map(version).into_iter().collect();
    let rounds = figures
        .get(&Kind::Carpd)
        .and_then(|of| of.get(STOPPED))
        .map_or(0, Vec::len);
    let repeated = figures.iter().map(|(kind, of)| {
        (
            kind.name(),
            of.get(REPEATED).map_or(0.0, |times| times.iter().sum()),
        )
    });
    let repeated: Vec<_> = repeated
        .filter(|(_, times)| *times > 0.0)
        .map(|(name, times)| format!("{name} {times}"))
        .collect();
    let repeated = if repeated.is_empty() {
        "none".to_owned()
    } else {
        repeated.join(", ")
    };
    let beside = if alone {
        "one daemon after the other"
    } else {
        "the three daemons side by side, each in a lab of its own"
    };
    format!(
        "# Benchmarks\n\nThis file is written by `tests/bench-failover`, in one run. Do not edit it: run the command again.\n\n\
         - Machine: {model}, {cores} cores, Linux {}. Load average before {load_before}, after {}.\n\
         - carpd {} (release build), {}.\n\
         - {rounds} rounds with each daemon, {beside}. In a round the better of two nodes is ended by SIGTERM, started again, and switched off, each \
         at another moment of its interval. Rounds that failed and were played again: {repeated}.\n\
         - All nodes are network namespaces on one bridge. advbase 1; advskew 0 and {SKEW}; keepalived: priority 150 and 100. A client \
         asks for the address by ARP each {} ms. Times are the kernel's receive stamps there.\n\
         - The four actions around a takeover are those of `examples/`: address, host name, default route, an init script. carpd runs \
         them as its Lua hook, ucarp as shell scripts, keepalived as notify scripts that leave the address to it.\n\
         - The decision is the first advertisement of the new master or its log line, whichever was first.\n\
         - Targets are judged by the median, lost requests by the worst round.\n",
        kernel.trim(),
        load(),
        env!("CARGO_PKG_VERSION"),
        versions.join(", "),
        PROBE.as_secs_f64() * 1000.0,
    )
}

fn version(package: &str) -> String {
    let asked = Command::new("dpkg-query")
        .args(["-W", "-f", "${Version}", package])
        .output();
    let version = asked
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    format!(
        "{package} {}",
        if version.is_empty() {
            "(version unknown)"
        } else {
            &version
        }
    )
}

fn failover(figures: &BTreeMap<Kind, Figures>) -> String {
    let spread = |kind: Kind, figure: &str| {
        figures
            .get(&kind)
            .and_then(|of| Spread::of(of.get(figure)?))
    };
    let median = |kind, figure| spread(kind, figure).map_or(f64::INFINITY, |spread| spread.median);
    let below = |figure, limit: f64| median(Kind::Carpd, figure) <= limit;
    let silence = 3000.0 + f64::from(SKEW) * 1000.0 / 256.0 + 10.0;
    let lost = spread(Kind::Carpd, BACK_LOST).is_some_and(|spread| spread.max <= 0.0);
    let hook =
        |figure, share: f64| median(Kind::Carpd, figure) <= median(Kind::Ucarp, figure) * share;
    let rows = [
        (ANSWERS, "≤ 0.5", Some(below(ANSWERS, 0.5))),
        (ANNOUNCED, "", None),
        (HOOK, "≤ 1/2 of ucarp's", Some(hook(HOOK, 0.5))),
        (HOOK_ALONE, "≤ 1/5 of ucarp's", Some(hook(HOOK_ALONE, 0.2))),
        (STOPPED, "≤ 10", Some(below(STOPPED, 10.0))),
        (
            SILENT,
            &format!("≤ {silence:.0} (3·advbase + advskew/256 + 10 ms)"),
            Some(below(SILENT, silence)),
        ),
        (BACK_LOST, "0 requests", Some(lost)),
        (BACK_BOTH, "≤ 5", Some(below(BACK_BOTH, 5.0))),
    ];
    let mut text = "\n## Failover\n\nms unless said; median (least–most).\n\n| | target | carpd | | ucarp | keepalived |\n|---|---|---|---|---|---|\n".to_owned();
    for (figure, target, reached) in rows {
        let cell = |kind| spread(kind, figure).map_or_else(String::new, Spread::text);
        let verdict = reached.map_or("", met);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {figure} | {target} | {} | {verdict} | {} | {} |",
            cell(Kind::Carpd),
            cell(Kind::Ucarp),
            cell(Kind::Keepalived)
        );
    }
    text
}

pub(crate) fn idle_table(idle: &[Idle]) -> String {
    let mut text = "\n## Idle\n\nMaster of so many virtual hosts, one advertisement a second each, no hooks. CPU over 10 s, percent of one core; \
                    memory as proportional set size of all processes.\n\n\
                    | | virtual hosts | CPU % | | memory MB | | processes |\n|---|---|---|---|---|---|---|\n"
        .to_owned();
    let peer = |vhids| {
        idle.iter()
            .find(|other| other.kind == Kind::Keepalived && other.vhids == vhids)
    };
    for one in idle {
        let peer = peer(one.vhids).filter(|_| one.kind == Kind::Carpd && one.vhids == 250);
        let verdict = |reached: Option<bool>| {
            reached.map_or(String::new(), |reached| {
                format!("≤ keepalived's: {}", met(reached))
            })
        };
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {} | {:.1} | {} | {} |",
            one.kind.name(),
            one.vhids,
            one.cpu,
            verdict(peer.map(|peer| one.cpu <= peer.cpu)),
            one.pss,
            verdict(peer.map(|peer| one.pss <= peer.pss)),
            one.processes
        );
    }
    text
}

/// The table that `tests/measure` printed.
pub(crate) fn more(measured: &str) -> String {
    let table: String = measured
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| format!("{line}\n"))
        .collect();
    format!(
        "\n## Reload, crash, and the authors' tools\n\n`tests/measure`; median (least–most).\n\n{table}"
    )
}

/// What `cargo bench` printed, and the targets in it.
pub(crate) fn small_parts(micro: &str) -> String {
    let table: String = micro
        .lines()
        .filter(|line| line.contains('│') || line.contains("fastest"))
        .map(|line| format!("{line}\n"))
        .collect();
    // Lua's stand before those of WebAssembly.
    let lua = judged(
        micro
            .lines()
            .find(|line| line.contains("run_with_five_questions")),
        200.0,
    );
    let wasm = judged(
        micro
            .lines()
            .filter(|line| line.contains("run_with_none"))
            .nth(1),
        50.0,
    );
    format!(
        "\n## Parts\n\n`cargo bench`. Medians: a run of a Lua hook with five host calls {lua}; of a WebAssembly hook with none {wasm}.\n\n\
         ```text\n{table}```\n{REASONS}"
    )
}

/// Why not all targets are met, for who reads the table.
const REASONS: &str = "
## What stands in the way

- **The end of the hook.** Most of it is the service's init script, the same for all three daemons; while that takes more than half of
  ucarp's time, half of ucarp's time is out of reach. What is left without it is the first use of everything: a run is rare, and finds
  cold caches.
- **A run of a hook.** Each question of a hook is an exchange between two processes, by the kernel. WebAssembly with no question still
  is told to begin and tells that it has ended.
- **Memory.** Two processes of one program. Its code stays mapped on purpose: a takeover that first had to
  read code from a disk would come late just when the machine is short of memory.
- **Lost requests at a take-back.** The better node advertises, then puts the address up; the other one lets go when it hears that. A request in
  the moment between finds nobody. The other order would have both answer.
";

/// The median in a line of `cargo bench`, and whether it is at most so many µs.
fn judged(line: Option<&str>, target: f64) -> String {
    let median = line
        .and_then(|line| line.split('│').nth(2))
        .map_or("not measured", str::trim);
    let verdict = micros(median).map_or("", |median| met(median <= target));
    format!("{median} (target ≤ {target} µs: {verdict})")
}

fn micros(text: &str) -> Option<f64> {
    let (value, unit) = text.split_once(' ')?;
    let value: f64 = value.parse().ok()?;
    match unit {
        "ns" => Some(value / 1000.0),
        "µs" => Some(value),
        "ms" => Some(value * 1000.0),
        _ => None,
    }
}
