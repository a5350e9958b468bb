//! Tests on a real wire: virtual hosts in namespaces, real daemons, a real kernel.
//!
//! Each case runs in a process of its own, a few at a time, with a time limit: its lab ends with
//! that process, whatever happens. Arguments as those of the usual harness: filters, `--exact`,
//! `--list`, `--nocapture`, `--test-threads N`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and a harness prints"
)]

mod advertisers;
mod calm;
mod conflict;
mod crash;
mod doctor;
mod endpoint;
mod events;
mod faults;
mod flood;
mod forge;
mod group;
mod health;
mod hooks;
mod import;
mod lab;
mod lease;
mod leftovers;
mod maintenance;
mod measure;
mod monitoring;
mod namespaces;
mod notify;
mod odd;
mod orders;
mod overlap;
mod own;
mod parents;
mod peers;
mod pty;
mod realtime;
mod reload;
mod rig;
mod rights;
mod scenario;
mod several;
mod shared;
mod soak;
mod sources;
mod split;
mod steady;
mod together;
mod told;
mod top;
mod tracks;
mod tree;
mod trust;
mod tun;
mod ucarp;
mod ucarp_own;
mod ucarp_stage;
mod unicast;
mod upgrade;
mod virtual_mac;
mod why;
mod words;

use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use carpd::process::Patience;

/// Node `a` of [`rig::lan`], which is the better one where it matters.
pub const ADDRESS_OF_A: &str = "192.168.32.32";
/// Node `b`.
pub const ADDRESS_OF_B: &str = "192.168.32.33";

/// What a case may fail with.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What a case that was ended has written is read so long.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Cases that run at the same time, unless told otherwise: they mostly wait for timers, each in a
/// lab of its own.
const AT_ONCE: usize = 3;

/// One test.
pub struct Case {
    /// As in `area::what_is_true`.
    pub name: &'static str,
    /// It fails if it takes longer.
    pub limit: Duration,
    /// It fails with an error or a panic.
    pub run: fn() -> Outcome,
}

impl Case {
    /// A case that may take 30 s: far more than it needs, on a machine that does other things as
    /// well.
    pub const fn new(name: &'static str, run: fn() -> Outcome) -> Self {
        Self {
            name,
            limit: Duration::from_secs(30),
            run,
        }
    }
}

fn main() -> ExitCode {
    // Before any thread exists: this program is also every process of its labs.
    if let Some(code) = carpd::lab::run_role() {
        return code;
    }
    // The long ones first: the short ones fill the gaps.
    let areas = [
        scenario::cases(),
        faults::cases(),
        hooks::cases(),
        tracks::cases(),
        trust::cases(),
        health::cases(),
        import::cases(),
        conflict::cases(),
        crash::cases(),
        doctor::cases(),
        lease::cases(),
        several::cases(),
        shared::cases(),
        orders::cases(),
        own::cases(),
        parents::cases(),
        namespaces::cases(),
        notify::cases(),
        peers::cases(),
        sources::cases(),
        split::cases(),
        advertisers::cases(),
        together::cases(),
        unicast::cases(),
        virtual_mac::cases(),
        maintenance::cases(),
        calm::cases(),
        overlap::cases(),
        reload::cases(),
        told::cases(),
        top::cases(),
        endpoint::cases(),
        monitoring::cases(),
        group::cases(),
        forge::cases(),
        flood::cases(),
        odd::cases(),
        lab::cases(),
        events::cases(),
        leftovers::cases(),
        realtime::cases(),
        rights::cases(),
        upgrade::cases(),
        why::cases(),
        words::cases(),
        ucarp::cases(),
    ];
    let cases: Vec<Case> = areas.into_iter().flatten().collect();
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("--case") => run_one(&cases, args.get(1).map_or("", String::as_str)),
        Some("--soak") => done(soak::soak(number(&args, 600))),
        Some("--measure") => done(measure::measure(
            usize::try_from(number(&args, 10)).unwrap_or(1),
        )),
        Some(maintenance::COMMAND) => done(maintenance::main(number(&args, 100))),
        Some("--hold-lab") => lab::hold(),
        Some(faults::COMMAND) => faults::main(args.get(1..).unwrap_or_default()),
        Some(advertisers::REPLAYER) => advertisers::run(),
        Some(forge::ROLE) => forge::run(),
        Some(flood::ROLE) => flood::run(args.get(1..).unwrap_or_default()),
        Some(notify::SERVER) => notify::run_server(),
        Some(parents::CARRIER) => parents::carry(args.get(1).map_or("", String::as_str)),
        Some(steady::SERVER) => steady::run_server(),
        Some(steady::CLIENT) => steady::run_client(),
        Some(tracks::WEB) => tracks::run_web(),
        Some(virtual_mac::SERVER) => virtual_mac::run_server(),
        Some(virtual_mac::CLIENT) => virtual_mac::run_client(),
        Some("--sniff") => ucarp_stage::sniff(),
        _ => run_all(&cases, &Options::parse(&args)),
    }
}

/// The second argument, if it is there.
fn number(args: &[String], otherwise: u64) -> u64 {
    args.get(1)
        .map_or(otherwise, |text| text.parse().expect("a number"))
}

fn done(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("Error: {err}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line asks for.
#[derive(Default)]
struct Options {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    nocapture: bool,
    threads: Option<usize>,
}

impl Options {
    fn parse(args: &[String]) -> Self {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--exact" => options.exact = true,
                "--list" => options.list = true,
                "--nocapture" | "--no-capture" => options.nocapture = true,
                "--test-threads" => options.threads = args.next().and_then(|n| n.parse().ok()),
                "--skip" => options.skip.extend(args.next().cloned()),
                "--format" | "--color" | "-Z" => drop(args.next()),
                flag if flag.starts_with('-') => {}
                filter => options.filters.push(filter.to_owned()),
            }
        }
        options
    }

    fn wants(&self, name: &str) -> bool {
        let fits = |filter: &String| {
            if self.exact {
                name == filter
            } else {
                name.contains(filter.as_str())
            }
        };
        (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skip.iter().any(fits)
    }
}

/// The child: one case, in the main thread, with which its lab ends.
fn run_one(cases: &[Case], name: &str) -> ExitCode {
    let Some(case) = cases.iter().find(|case| case.name == name) else {
        eprintln!("there is no case {name:?}");
        return ExitCode::FAILURE;
    };
    done((case.run)())
}

fn run_all(cases: &[Case], options: &Options) -> ExitCode {
    let wanted: Vec<&Case> = cases
        .iter()
        .filter(|case| options.wants(case.name))
        .collect();
    if options.list {
        for case in wanted {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", wanted.len());
    let waiting = Mutex::new(wanted.iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.threads.unwrap_or(AT_ONCE).max(1) {
            scope.spawn(|| {
                loop {
                    let Some(case) = waiting.lock().unwrap().next() else {
                        return;
                    };
                    let (passed, output) = run_child(case, options.nocapture);
                    let mut failed = failed.lock().unwrap();
                    println!(
                        "test {} ... {}",
                        case.name,
                        if passed { "ok" } else { "FAILED" }
                    );
                    if !passed {
                        failed.push((case.name, output));
                    }
                }
            });
        }
    });
    report(
        &failed.into_inner().unwrap(),
        wanted.len(),
        cases.len() - wanted.len(),
    )
}

fn report(failed: &[(&str, String)], run: usize, filtered: usize) -> ExitCode {
    if !failed.is_empty() {
        println!("\nfailures:\n");
        for (name, output) in failed {
            println!("---- {name} ----\n{output}\n");
        }
        println!("failures:");
        for (name, _) in failed {
            println!("    {name}");
        }
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {} passed; {} failed; 0 ignored; 0 measured; {filtered} filtered out\n",
        run - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one case in a process of its own; says whether it passed, and what it wrote.
fn run_child(case: &Case, nocapture: bool) -> (bool, String) {
    let exe = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(exe);
    command.args(["--case", case.name]).stdin(Stdio::null());
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    if !nocapture {
        command
            .stdout(writer.try_clone().expect("a pipe"))
            .stderr(writer.try_clone().expect("a pipe"));
    }
    drop(writer);
    // This thread starts the child and outlives it: a lab ends with the thread that started it.
    let mut child = command.spawn().expect("this program can be executed");
    // The pipe's ends in the command would keep it open.
    drop(command);
    let (read, output) = channel();
    // Not waited for: a process that leaves the case's lab would keep its output open for ever.
    std::thread::spawn(move || {
        let mut output = Vec::new();
        let _ = reader.read_to_end(&mut output);
        let _ = read.send(String::from_utf8_lossy(&output).into_owned());
    });
    let patience = Patience::of(case.limit);
    patience.wait_for_end_of(child.id());
    // All of the case's processes are to be gone, or to have closed their output.
    let first = output.recv_timeout(patience.left());
    let in_time = first.is_ok();
    if !in_time {
        let _ = child.kill();
    }
    let status = child.wait().expect("the child can be waited for");
    let text = first.or_else(|_| output.recv_timeout(LAST_WORDS));
    let mut text = text.unwrap_or_else(|_| "its output is still open\n".to_owned());
    if !in_time {
        text.push_str(&format!(
            "ended after {} s: its time limit",
            case.limit.as_secs()
        ));
    }
    (in_time && status.success(), text)
}
