//! carpd beside its peers on one wire: how long a failover takes, and what an idle daemon costs. `tests/bench-failover`.
//!
//! One lab, two nodes, a client that asks for the virtual address by ARP five times a millisecond and hears all that is
//! multicast. All times are kernel receive stamps at the client, or stamps of a daemon's line when it is read.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a benchmark prints, and stops at the first error"
)]

mod daemon;
mod idle;
mod report;
mod round;

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

use daemon::Kind;

/// Whatever went wrong.
type Failed = Box<dyn Error>;
/// What was measured, by [`round`]'s names of figures.
type Figures = BTreeMap<&'static str, Vec<f64>>;

/// The command line.
struct Options {
    /// Rounds with each daemon.
    count: usize,
    /// The file to write; else standard output.
    write: Option<String>,
    /// What `cargo bench` said about encode, verify, decide and a hook call.
    micro: Option<String>,
}

fn main() -> ExitCode {
    // Before any thread exists: this program is also every process of its labs.
    if let Some(code) = carpd::lab::run_role() {
        return code;
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
    let mut options = Options { count: 10, write: None, micro: None };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--count" => options.count = value()?.parse().map_err(|_| "--count needs a number")?,
            "--write" => options.write = Some(value()?),
            "--micro" => options.micro = Some(std::fs::read_to_string(value()?)?),
            // cargo's own.
            "--bench" => {}
            _ => return Err(format!("unknown argument {arg}: --count N, --write FILE, --micro FILE").into()),
        }
    }
    if options.count == 0 { Err("--count needs at least 1".into()) } else { Ok(options) }
}

fn run(options: &Options) -> Result<(), Failed> {
    let before = report::load();
    let mut figures = BTreeMap::new();
    for kind in Kind::ALL {
        let mut all = Figures::new();
        for n in 0..options.count {
            eprintln!("{}: round {} of {}", kind.name(), n + 1, options.count);
            for (figure, value) in round::play(kind, n, options.count)? {
                all.entry(figure).or_default().push(value);
            }
        }
        figures.insert(kind, all);
    }
    let mut idle = Vec::new();
    for (kind, vhids) in [(Kind::Carpd, 1), (Kind::Carpd, 50), (Kind::Carpd, 250), (Kind::Keepalived, 1), (Kind::Keepalived, 250)]
    {
        eprintln!("{}: idle with {vhids}", kind.name());
        idle.push(idle::measure(kind, vhids)?);
    }
    let text = report::markdown(&figures, &idle, options.micro.as_deref(), &before);
    match &options.write {
        Some(file) => std::fs::write(file, text)?,
        None => println!("{text}"),
    }
    Ok(())
}
