//! `carpd test`: runs the tests of hooks.

mod coverage;
mod find;
mod junit;
mod show;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{ScopedJoinHandle, available_parallelism, scope};

use crate::cli::{Exit, Failure, output};
use crate::engine::hook_test::{Fault, HookTest};
use crate::keeper::Client;
use crate::testing::{self, Choice, FileReport, Update};
use coverage::Coverage;
use find::{Found, Pair};

/// Run the tests of hooks, on simulated hosts and in virtual time.
///
/// Finds NAME_test.lua next to NAME.lua or NAME.wasm, and searches directories recursively. Hook
/// and test run in the sandbox, each in its own process, and do not affect this machine. The hook's
/// grants are read from the configuration that names it: NAME.toml or NAME.grants.toml next to it,
/// or carpd.toml in the same or the parent directory.
///
/// The exit status is 0 if every case passed, 1 if a case failed or there was none, and 3 if the
/// grants cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd test\n  \
    carpd test failover.lua --filter master\n  \
    carpd test hooks --faults --fuzz 100 --seed 7\n  \
    carpd test hooks --coverage --fail-under 90 --junit report.xml")]
pub(in crate::cli) struct Args {
    /// Hooks, test files, or directories that contain them.
    #[arg(value_name = "PATH", default_value = ".")]
    paths: Vec<PathBuf>,

    /// Take the config and grants of the hooks from this configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Take the grants of the hooks from this file, which has [hook.NAME.grant] tables or just the
    /// keys of one.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    grants: Option<PathBuf>,

    /// Run only cases whose name contains this text.
    #[arg(short, long, value_name = "TEXT")]
    filter: Option<String>,

    /// Update the plans in the test files where they differ from what happened.
    #[arg(long, conflicts_with = "watch")]
    update: bool,

    /// In addition, make every effect fail, hang, and lose its runner once, on every kind of host
    /// that the cases set up.
    #[arg(long)]
    faults: bool,

    /// In addition, run N random histories on every kind of host that the cases set up.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    fuzz: u32,

    /// The seed for random histories; the same seed gives the same histories.
    #[arg(long, value_name = "N", default_value_t = testing::SEED)]
    seed: u64,

    /// Report which lines of the hooks ran, and which functions were called.
    #[arg(long)]
    coverage: bool,

    /// Fail if less than this percentage of the lines ran, or of a component's functions was
    /// called. Implies --coverage.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    fail_under: Option<u8>,

    /// Write the line coverage to a file in lcov format. Implies --coverage.
    #[arg(long, value_name = "FILE")]
    lcov: Option<PathBuf>,

    /// Write a report in JUnit XML format.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,

    /// Run again whenever a file changes, until interrupted.
    #[arg(short, long, conflicts_with = "json")]
    watch: bool,
}

impl Args {
    fn counts(&self) -> bool {
        self.coverage || self.fail_under.is_some() || self.lcov.is_some()
    }

    fn choice(&self) -> Choice {
        Choice {
            filter: self.filter.clone(),
            coverage: self.counts(),
            update: self.update,
            faults: self.faults,
            histories: self.fuzz,
            seed: self.seed,
        }
    }
}

/// Plays a test that lies on no disk: of a Lua hook with what the configuration says of it.
pub(in crate::cli) fn play(
    name: &str,
    lua: &str,
    toml: &str,
    text: String,
) -> Result<FileReport, Failure> {
    let exam = find::exam(name, lua, toml, text)?;
    let pair = Pair {
        exam,
        component: None,
    };
    let reports = run_all(&[pair], &Choice::default())?;
    let report = reports.into_iter().next().map(|(report, _)| report);
    Ok(report.unwrap_or_default())
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    if args.watch {
        return watch::run(args);
    }
    once(args)
}

/// Finds, runs and reports everything once.
fn once(args: &Args) -> Result<Exit, Failure> {
    let Found { pairs, lost } = find::find(args)?;
    if pairs.is_empty() {
        if let Some(first) = lost.into_iter().next() {
            return Err(first);
        }
        let failure = Failure::new(Exit::Failure, "no tests found");
        return Err(failure.hint("the test of failover.lua is failover_test.lua next to it; `carpd new hook NAME` creates both"));
    }
    let mut reports = run_all(&pairs, &args.choice())?;
    if args.update {
        write_updates(&pairs, &mut reports)?;
    }
    let reports: Vec<FileReport> = reports.into_iter().map(|(report, _)| report).collect();
    let coverage = args.counts().then(|| Coverage::of(&pairs, &reports));
    if let (Some(path), Some(coverage)) = (&args.lcov, &coverage) {
        write(path, &coverage.lcov())?;
    }
    if let Some(path) = &args.junit {
        write(path, &junit::report(&reports))?;
    }
    if args.json {
        output::json(&show::json(&reports, coverage.as_ref()))?;
    } else {
        output::page(&show::text(&reports, coverage.as_ref()))?;
    }
    if let Some(first) = lost.into_iter().next() {
        return Err(first);
    }
    if reports.iter().any(|report| report.failed() > 0) {
        return Ok(Exit::Failure);
    }
    if args.filter.is_some() && reports.iter().all(|report| report.cases.is_empty()) {
        return Err(Failure::new(
            Exit::Failure,
            "no case has this text in its name",
        ));
    }
    match (args.fail_under, &coverage) {
        (Some(least), Some(coverage)) if coverage.percent() < f64::from(least) => {
            let message = format!(
                "{:.1} % of the {}, less than {least} %",
                coverage.percent(),
                coverage.measure()
            );
            Err(Failure::new(Exit::Failure, message))
        }
        _ => Ok(Exit::Success),
    }
}

type Reports = Vec<(FileReport, Vec<Update>)>;

fn run_all(pairs: &[Pair], choice: &Choice) -> Result<Reports, Failure> {
    let cannot = |what: &str, error: std::io::Error| {
        Failure::new(Exit::Cannot, format!("cannot {what}: {error}"))
    };
    // Each thread has its own clock, so it runs one test at a time.
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| cannot("start the runtime", error))?;
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (keeper, _exits) =
                Client::start(None).map_err(|error| cannot("start the keeper", error))?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(pair) = pairs.get(number) else {
                    return Ok(());
                };
                let report = testing::run(&keeper, pair.exam.clone(), choice).await;
                let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
                reports.insert(number, report);
            }
        })
    };
    let threads = available_parallelism().map_or(1, NonZero::get);
    let ended: Vec<_> = scope(|scope| {
        let workers: Vec<_> = (0..threads.min(pairs.len()))
            .map(|_| scope.spawn(work))
            .collect();
        workers.into_iter().map(ScopedJoinHandle::join).collect()
    });
    for end in ended {
        end.unwrap_or_else(|panic| resume_unwind(panic))?;
    }
    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(reports.into_values().collect())
}

/// Writes the updated plans into the test files; a plan that cannot be written becomes a failure.
fn write_updates(pairs: &[Pair], reports: &mut Reports) -> Result<(), Failure> {
    for (pair, (report, updates)) in pairs.iter().zip(reports) {
        let HookTest { path, text, .. } = &pair.exam;
        let name = Path::new(path)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let (own, others): (Vec<Update>, Vec<Update>) = std::mem::take(updates)
            .into_iter()
            .partition(|u| u.file == *name);
        let fault = |file: &str, line: u32, message: String| Fault {
            file: file.to_owned(),
            line: Some(line),
            case: None,
            message,
        };
        let elsewhere = |update: Update| {
            fault(
                &update.file,
                update.line,
                "the plan is in a module, which is not rewritten".to_owned(),
            )
        };
        report.faults.extend(others.into_iter().map(elsewhere));
        if own.is_empty() {
            continue;
        }
        match testing::update(&String::from_utf8_lossy(text), &own) {
            Ok(updated) => {
                write(Path::new(path), &updated)?;
                output::note(format_args!(
                    "wrote {path}: {} plan{}",
                    own.len(),
                    if own.len() == 1 { "" } else { "s" }
                ));
            }
            Err((line, why)) => report.faults.push(fault(path, line, why)),
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!("cannot write {}: {error}", path.display()),
        )
    })
}
