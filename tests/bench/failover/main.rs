//! carpd beside its peers on one wire: how long a failover takes, and what an idle daemon costs.
//! `tests/bench-failover`.
//!
//! One lab, two nodes, a client that asks for the virtual address by ARP five times a millisecond
//! and hears all that is multicast. All times are kernel receive stamps at the client, or stamps of
//! a daemon's line when it is read.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a benchmark prints, and stops at the first error"
)]

mod daemon;
mod fast;
mod idle;
mod many;
mod report;
mod round;
mod tracks;
mod watching;

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use daemon::Kind;
use round::Measured;

/// Whatever went wrong.
type Failed = Box<dyn Error>;
/// What was measured, by [`round`]'s names of figures.
type Figures = BTreeMap<&'static str, Vec<f64>>;

/// The command line.
struct Options {
    /// Rounds with each daemon.
    count: usize,
    /// Only what an idle daemon costs.
    idle: bool,
    /// Only the fastest timers under load, for so long.
    fast: Option<Duration>,
    /// Only what commands cost as tracks, each time for so long.
    tracks: Option<Duration>,
    /// Only what grows with virtual hosts, interfaces and routes.
    many: bool,
    /// Only what it costs to look at a node.
    watching: bool,
    /// One daemon after the other.
    alone: bool,
    /// The file to write; else standard output.
    write: Option<String>,
    /// What `cargo bench` said about encode, verify, decide and a hook call.
    micro: Option<String>,
    /// The table of `tests/measure`.
    more: Option<String>,
}

fn main() -> ExitCode {
    // Before any thread exists: this program is also every process of its labs.
    if let Some(code) = carpd::lab::run_role() {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, seconds] = args.as_slice()
        && role == tracks::LOOP
    {
        return tracks::run_loop(seconds.parse().unwrap_or(1));
    }
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("Error: {err}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, Failed> {
    let mut options = Options {
        count: 10,
        idle: false,
        fast: None,
        tracks: None,
        many: false,
        watching: false,
        alone: false,
        write: None,
        micro: None,
        more: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--count" => options.count = value()?.parse().map_err(|_| "--count needs a number")?,
            "--idle" => options.idle = true,
            "--fast" => {
                let seconds = value()?
                    .parse()
                    .map_err(|_| "--fast needs a number of seconds")?;
                options.fast = Some(Duration::from_secs(seconds));
            }
            "--tracks" => {
                let seconds = value()?
                    .parse()
                    .map_err(|_| "--tracks needs a number of seconds")?;
                options.tracks = Some(Duration::from_secs(seconds));
            }
            "--many" => options.many = true,
            "--watching" => options.watching = true,
            "--alone" => options.alone = true,
            "--write" => options.write = Some(value()?),
            "--micro" => options.micro = Some(std::fs::read_to_string(value()?)?),
            "--more" => options.more = Some(std::fs::read_to_string(value()?)?),
            // cargo's own.
            "--bench" => {}
            _ => {
                return Err(format!(
                    "unknown argument {arg}: --count N, --idle, --fast SECONDS, --tracks SECONDS, --many, --watching, --alone, --write FILE, --micro FILE, --more FILE"
                )
                .into());
            }
        }
    }
    if options.count == 0 {
        Err("--count needs at least 1".into())
    } else {
        Ok(options)
    }
}

/// How long each measurement of tracks takes in a whole run.
const TRACKS: Duration = Duration::from_secs(20);

/// How long the fastest timers run in a whole run.
const FAST: Duration = Duration::from_secs(60);

/// How often a round is played before the run is given up: on a busy machine a daemon may miss what
/// a round waits for.
const TRIES: usize = 3;

/// The same round with each daemon: side by side, each in a lab of its own, since they mostly wait;
/// or one after the other.
fn play_round(n: usize, options: &Options) -> Result<Vec<(Kind, Measured)>, Failed> {
    let play = |kind: Kind| {
        let mut said = String::new();
        for again in 0..TRIES {
            match round::play(kind, n, options.count) {
                Ok(mut measured) => {
                    measured.push((
                        round::REPEATED,
                        f64::from(u32::try_from(again).unwrap_or(u32::MAX)),
                    ));
                    return Ok((kind, measured));
                }
                Err(error) => said = format!("{}, round {}: {error}", kind.name(), n + 1),
            }
            eprintln!("{said}");
        }
        Err(said)
    };
    let played: Result<Vec<_>, String> = if options.alone {
        Kind::ALL.into_iter().map(play).collect()
    } else {
        std::thread::scope(|scope| {
            // A lab ends with the thread that made it.
            let threads: Vec<_> = Kind::ALL
                .into_iter()
                .map(|kind| scope.spawn(move || play(kind)))
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err("a round panicked".to_owned()))
                })
                .collect()
        })
    };
    Ok(played?)
}

fn run(options: &Options) -> Result<(), Failed> {
    if let Some(time) = options.fast {
        println!("{}", fast::table(&fast::measure(time)?, time));
        return Ok(());
    }
    if let Some(time) = options.tracks {
        println!("{}", tracks::measure(time)?);
        return Ok(());
    }
    if options.watching {
        println!("{}", watching::measure()?);
        return Ok(());
    }
    if options.many {
        println!("{}", many::measure()?);
        return Ok(());
    }
    let before = report::load();
    let mut figures: BTreeMap<Kind, Figures> = BTreeMap::new();
    for n in 0..if options.idle { 0 } else { options.count } {
        eprintln!("round {} of {}", n + 1, options.count);
        for (kind, measured) in play_round(n, options)? {
            for (figure, value) in measured {
                figures
                    .entry(kind)
                    .or_default()
                    .entry(figure)
                    .or_default()
                    .push(value);
            }
        }
    }
    let mut idle = Vec::new();
    for (kind, vhids) in [
        (Kind::Carpd, 1),
        (Kind::Carpd, 50),
        (Kind::Carpd, 250),
        (Kind::Keepalived, 1),
        (Kind::Keepalived, 250),
    ] {
        eprintln!("{}: idle with {vhids}", kind.name());
        idle.push(idle::measure(kind, vhids)?);
    }
    let text = if options.idle {
        report::idle_table(&idle)
    } else {
        let (tracks, many) = (tracks::measure(TRACKS)?, many::measure()?);
        let fast = fast::table(&fast::measure(FAST)?, FAST);
        let mut text = report::markdown(&figures, &idle, &before, options.alone);
        text += &fast;
        text += &many;
        text += &tracks;
        text += &options
            .more
            .as_deref()
            .map_or_else(String::new, report::more);
        text + &options
            .micro
            .as_deref()
            .map_or_else(String::new, report::small_parts)
    };
    match &options.write {
        Some(file) => std::fs::write(file, text)?,
        None => println!("{text}"),
    }
    Ok(())
}
