//! What 200 commands a second cost as tracks, beside a bare loop that spawns and reaps the same
//! commands.

use std::fmt::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use carpd::lab::clock::{Ticker, now};
use carpd::lab::{HostSpec, Lab, LabSpec, PROGRAM};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::Failed;
use crate::daemon::{CARPD, words};
use crate::idle::pause;
use crate::round::{SOON, TAKEOVER};

/// The argument that makes this program the bare loop; the seconds follow.
pub(crate) const LOOP: &str = "--bare-loop";

/// Commands in each second.
const RATE: u32 = 200;
/// The command.
const TRUE: &str = "/bin/true";
/// Each of both is measured so often, in turn.
const ROUNDS: u32 = 3;
/// Until the daemon is master and has had its first results.
const QUIET: Duration = Duration::from_secs(5);

/// Percents of one core.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// The bare loop, with what it spawned.
    bare: f64,
    /// The daemon without the commands of its tracks, which is to be taken off.
    idle: f64,
    /// All of the daemon, with what it spawned.
    daemon: f64,
    /// Its engine.
    engine: f64,
}

/// Both in turn, each time for so long.
pub(crate) fn measure(time: Duration) -> Result<String, Failed> {
    let mut costs = Vec::new();
    for round in 0..ROUNDS {
        eprintln!("tracks: round {} of {ROUNDS}", round + 1);
        let idle = daemon(time, 0)?;
        let full = daemon(time, RATE)?;
        costs.push(Cost {
            bare: bare(time)?,
            idle: idle.0,
            daemon: full.0,
            engine: full.1,
        });
    }
    Ok(table(&costs, time))
}

fn table(costs: &[Cost], time: Duration) -> String {
    let mut text = format!(
        "\n## Commands as tracks\n\n{RATE} runs of `{TRUE}` a second, each as a track of its own with an interval of 1 s; and a bare loop that \
         spawns and reaps as many, in the same run. {} s each, percent of one core, with all that is spawned.\n\n\
         | round | bare loop | daemon without tracks | daemon with them | more than both | engine of it |\n|---|---|---|---|---|---|\n",
        time.as_secs()
    );
    let more = |cost: &Cost| cost.daemon - cost.idle - cost.bare;
    for (round, cost) in (1..).zip(costs) {
        let Cost {
            bare,
            idle,
            daemon,
            engine,
        } = cost;
        _ = writeln!(
            text,
            "| {round} | {bare:.2} | {idle:.2} | {daemon:.2} | {:+.2} | {engine:.2} |",
            more(cost)
        );
    }
    let median = |figure: &dyn Fn(&Cost) -> f64| {
        let mut all: Vec<f64> = costs.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    let verdict = |reached: bool| if reached { "met" } else { "missed" };
    let (more, engine) = (median(&more), median(&|cost: &Cost| cost.engine));
    _ = writeln!(
        text,
        "\nMedian: {more:+.2} % more than the bare loop (goal: at most 3 %): {}; the engine's share {engine:.2} % (goal: at most 1 %): {}.",
        verdict(more <= 3.0),
        verdict(engine <= 1.0)
    );
    text
}

/// A daemon with so many tracks that run a command each second: what all of it costs, and what its
/// engine does.
fn daemon(time: Duration, tracks: u32) -> Result<(f64, f64), Failed> {
    let lab = Lab::start(&LabSpec {
        hosts: vec![HostSpec::new("a", &["10.0.0.1/16".parse()?])],
    })?;
    let a = lab.host("a");
    a.write("/run/lab/web.pass", 0o600, "gw22\n")?;
    let mut toml =
        "[[vhost]]\nname = \"v\"\ninterface = \"eth0\"\nvhid = 1\naddresses = [\"10.0.1.1/32\"]\n\
                    password-file = \"/run/lab/web.pass\"\n"
            .to_owned();
    for n in 0..tracks {
        _ = write!(
            toml,
            "[track.t{n}]\nkind = \"command\"\nargv = [\"{TRUE}\"]\ninterval = \"1s\"\nall-vhosts = true\n"
        );
    }
    a.write("/run/lab/carpd.toml", 0o644, &toml)?;
    let run = format!("{CARPD} run --config /run/lab/carpd.toml --log-format json");
    let mut process = a.spawn(&words(&run))?;
    process.wait_line("the master", TAKEOVER + SOON, |line| {
        line.contains("\"state\":\"master\"") || line.contains("\"to\":\"master\"")
    })?;
    pause(QUIET)?;
    let (from, before) = (now(), spent(&lab)?);
    pause(time)?;
    let after = spent(&lab)?;
    let past = now().since(from).as_secs_f64();
    if let Some(exit) = process.ended() {
        return Err(format!("carpd ended: {exit:?}").into());
    }
    let percent = |ms: f64| ms / 1000.0 / past * 100.0;
    Ok((percent(after.0 - before.0), percent(after.1 - before.1)))
}

/// The time that all processes of the daemon and what they have waited for have taken so far, and
/// that of the engine, in ms.
fn spent(lab: &Lab) -> Result<(f64, f64), Failed> {
    // Its own time to the nanosecond; that of its children in ticks, of which there are many.
    let script = "for p in /proc/[0-9]*; do case $(readlink $p/exe) in */carpd-daemon|*/carpd-worker) \
                  echo $(cat $p/comm) $(cut -d' ' -f1 $p/schedstat) $(sed 's/.*) //' $p/stat | cut -d' ' -f14,15);; esac; done";
    let output = lab.host("a").run(&["bash", "-c", script], SOON)?;
    let tick_ms = 1000.0
        / nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?
            .and_then(|ticks| i32::try_from(ticks).ok())
            .map_or(100.0, f64::from);
    let (mut all, mut engine) = (0.0, 0.0);
    for line in &output.stdout {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, own, user, system] = words.as_slice() else {
            return Err(format!("not the time of a process: {line:?}").into());
        };
        let own = own.parse::<f64>()? / 1e6;
        let children = (user.parse::<f64>()? + system.parse::<f64>()?) * tick_ms;
        // The keeper's children are counted by themselves while they run.
        all += own
            + if *name == "carpd-prober" {
                children
            } else {
                0.0
            };
        if *name == "carpd-engine" {
            engine += own;
        }
    }
    if all == 0.0 {
        return Err(format!("no process of carpd: {output:?}").into());
    }
    Ok((all, engine))
}

/// The bare loop, in a lab of its own.
fn bare(time: Duration) -> Result<f64, Failed> {
    let lab = Lab::start(&LabSpec {
        hosts: vec![HostSpec::new("a", &[])],
    })?;
    let seconds = time.as_secs().to_string();
    let mut process = lab.host("a").spawn(&[PROGRAM, LOOP, &seconds])?;
    let line = process.wait_line("its account", time + SOON * 2, |line| {
        line.starts_with("percent ")
    })?;
    let number = line.text.strip_prefix("percent ").unwrap_or_default();
    Ok(number.parse()?)
}

/// Its role.
pub(crate) fn run_loop(seconds: u32) -> ExitCode {
    match spawn_and_reap(seconds) {
        Ok(percent) => {
            println!("percent {percent}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn spawn_and_reap(seconds: u32) -> Result<f64, Failed> {
    let ticker = Ticker::new(Duration::from_secs(1) / RATE)?;
    let from = now();
    for _ in 0..seconds * RATE {
        ticker.wait()?;
        let status = Command::new(TRUE)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !status.success() {
            return Err(format!("{TRUE}: {status}").into());
        }
    }
    let past = now().since(from).as_secs_f64();
    let micros = |usage: Usage| {
        let time = usage.user_time() + usage.system_time();
        i32::try_from(time.num_microseconds()).map(f64::from)
    };
    let all =
        micros(getrusage(UsageWho::RUSAGE_SELF)?)? + micros(getrusage(UsageWho::RUSAGE_CHILDREN)?)?;
    Ok(all / 1e6 / past * 100.0)
}
