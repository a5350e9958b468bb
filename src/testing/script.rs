//! Runs one test file and makes its report.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::{Instant, timeout_at};
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::calls::Case;
use super::hook::Subject;
use super::report::{CaseReport, Failure, FileReport, Update};
use super::{SEED, faults, histories};
use crate::engine::hook_test::{Fault, HookTest};
use crate::hooks::process::test_session::TestSession;
use crate::hooks::{Budget, EntryPoint, HookError, HookSource, Language, LoadError};
use crate::keeper::{ChildId, Client, Role};

/// The limits of a case; its hook's time only counts towards the wall time.
const CASE: Budget = Budget {
    wall: Duration::from_secs(60),
    cpu: Duration::from_secs(2),
    memory_bytes: 64 << 20,
    requests: 10_000,
    log_bytes: 0,
    state_bytes: 0,
};

/// How many runners of a test and of its hook may exist at one time. Hosts whose hook waits in the
/// middle of a run, or has a config of its own, have one each.
const PROCESSES_MAX: usize = 64;

/// What to run and how.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Only cases with this text in their name.
    pub filter: Option<String>,
    /// Count how often each line of the hook runs.
    pub coverage: bool,
    /// Record plans that differ, for [`super::update`].
    pub update: bool,
    /// In addition, sweep faults over every kind of host that the cases make.
    pub faults: bool,
    /// In addition, play this many random histories on each.
    pub histories: u32,
    /// The seed of the random histories.
    pub seed: u64,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            filter: None,
            coverage: false,
            update: false,
            faults: false,
            histories: 0,
            seed: SEED,
        }
    }
}

/// The test file's runner; dropping it ends the process.
struct Script {
    session: TestSession,
    id: ChildId,
    keeper: Client,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.keeper.kill(self.id);
    }
}

impl Script {
    async fn start(keeper: &Client, exam: &HookTest) -> Result<Self, LoadError> {
        let source = HookSource {
            language: Language::Lua,
            path: exam.path.clone(),
            main: exam.text.clone(),
            native: None,
            ..exam.hook.source.clone()
        };
        let failed =
            |error: std::io::Error| LoadError::Runner(format!("cannot start a runner: {error}"));
        let (id, stream) = keeper
            .spawn(Role::Runner {
                memory_bytes: CASE.memory_bytes,
            })
            .await
            .map_err(failed)?;
        match TestSession::load(stream, source, CASE, exam.policy).await {
            Ok(session) => Ok(Self {
                session,
                id,
                keeper: keeper.clone(),
            }),
            Err(error) => {
                keeper.kill(id);
                Err(error)
            }
        }
    }
}

/// Runs a test file; also returns the plans that should be rewritten.
///
/// Otherwise like [`super::examine`].
pub async fn run(keeper: &Client, exam: HookTest, choice: &Choice) -> (FileReport, Vec<Update>) {
    let mut sitting = Sitting {
        report: FileReport {
            path: exam.path.clone(),
            hook: exam.hook.source.path.clone(),
            ..FileReport::default()
        },
        updates: Vec::new(),
        specs: Vec::new(),
        subject: None,
    };
    let (limit, path) = (exam.limit, exam.path.clone());
    let keeper = &keeper.at_most(PROCESSES_MAX);
    // What a test does must not appear in the log: its lines would look like the daemon's own.
    let all = Box::pin(sitting.all(keeper, exam, choice));
    let all = all.with_subscriber(NoSubscriber::default());
    if timeout_at(Instant::now() + limit, all).await.is_err() {
        let message = format!("it took longer than its limit of {limit:?}");
        sitting.report.faults.push(Fault {
            file: path,
            line: None,
            case: None,
            message,
        });
    }
    if let Some(subject) = sitting.subject.take() {
        sitting.report.coverage = subject.coverage();
        sitting.report.called = subject.called();
        sitting.report.refused = subject.refused();
        sitting.report.entry_points = subject
            .entry_points()
            .iter()
            .copied()
            .map(EntryPoint::as_str)
            .collect();
        sitting.report.runners = subject.started();
    }
    (sitting.report, sitting.updates)
}

/// One test file while it runs: what is known so far is kept when the time is up.
struct Sitting {
    report: FileReport,
    updates: Vec<Update>,
    /// Every kind of host that the cases have made.
    specs: Vec<Json>,
    subject: Option<Rc<Subject>>,
}

impl Sitting {
    async fn all(&mut self, keeper: &Client, exam: HookTest, choice: &Choice) {
        let mut script = match Script::start(keeper, &exam).await {
            Ok(script) => script,
            Err(error) => return self.fault(&error),
        };
        let hook = exam.hook.source.path.clone();
        let subject = match Subject::load(keeper, exam.clone(), choice.coverage).await {
            Ok(subject) => Rc::new(subject),
            Err(error) => {
                let (file, line, message) = place(&error.to_string(), &hook);
                return self.report.faults.push(Fault {
                    file,
                    line: Some(line).filter(|line| *line > 0),
                    case: None,
                    message,
                });
            }
        };
        self.subject = Some(Rc::clone(&subject));
        let names = script.session.cases().to_vec();
        for (number, name) in (0..).zip(names) {
            if choice
                .filter
                .as_ref()
                .is_some_and(|text| !name.contains(text.as_str()))
            {
                continue;
            }
            if !script.session.is_alive() {
                script = match Script::start(keeper, &exam).await {
                    Ok(script) => script,
                    Err(error) => return self.fault(&error),
                };
            }
            self.case(&mut script, &subject, number, name, choice).await;
        }
        self.besides(&subject, choice).await;
    }

    /// Of the test file itself.
    fn fault(&mut self, error: &LoadError) {
        let (file, line, message) = place(&error.to_string(), &self.report.path);
        let file = if file_name(&file) == file_name(&self.report.path) {
            self.report.path.clone()
        } else {
            file
        };
        self.report.faults.push(Fault {
            file,
            line: Some(line).filter(|line| *line > 0),
            case: None,
            message,
        });
    }

    async fn case(
        &mut self,
        script: &mut Script,
        subject: &Rc<Subject>,
        number: u32,
        name: String,
        choice: &Choice,
    ) {
        let began = Instant::now();
        let mut case = Case::new(subject, choice.seed, choice.update);
        let result = script.session.run(number, CASE, &mut case).await;
        let own_errors = case.own_errors();
        let raised = result.err().map(|error| raised(&error, &self.report.path));
        let raised = raised.map(|failure| Failure {
            message: failure.message + &own_errors,
            ..failure
        });
        // An error that the case raised comes before anything that its end would find.
        if raised.is_none() {
            case.end();
        }
        let mut failure = case.failure.take().or(raised);
        if let Some(failure) = &mut failure
            && failure.file == file_name(&self.report.path)
        {
            failure.file.clone_from(&self.report.path);
        }
        for options in case.specs.drain(..) {
            if !self.specs.contains(&options) {
                self.specs.push(options);
            }
        }
        self.updates.append(&mut case.updates);
        let output = std::mem::take(&mut case.output);
        self.report.cases.push(CaseReport {
            name,
            failure,
            output,
            took: began.elapsed(),
        });
    }

    /// Faults and histories that were requested on the command line.
    async fn besides(&mut self, subject: &Rc<Subject>, choice: &Choice) {
        for options in std::mem::take(&mut self.specs) {
            if choice.faults {
                let began = Instant::now();
                let found = faults::sweep(subject, &options, faults::Hopeless::Fine).await;
                let found = found.map(|wrong| wrong.map(|wrong| (wrong, Vec::new())));
                self.built_in(format!("faults on {options}"), found, began);
            }
            if choice.histories > 0 {
                let began = Instant::now();
                let found = histories::play(subject, &options, choice.seed, choice.histories).await;
                let found = found.map(|lived| lived.map(|lived| (lived.wrong, lived.history)));
                self.built_in(format!("histories on {options}"), found, began);
            }
        }
    }

    /// `found`: what went wrong, and the history that led to it.
    fn built_in(
        &mut self,
        name: String,
        found: Result<Option<(String, Vec<String>)>, String>,
        began: Instant,
    ) {
        let found = found.unwrap_or_else(|wrong| Some((wrong, Vec::new())));
        let file = self.report.path.clone();
        let failure = found.map(|(message, history)| Failure {
            file,
            line: 0,
            message,
            history,
            mismatch: None,
        });
        self.report.cases.push(CaseReport {
            name,
            failure,
            output: Vec::new(),
            took: began.elapsed(),
        });
    }
}

/// An error that a case raised itself, with its place.
fn raised(error: &HookError, path: &str) -> Failure {
    let (text, backtrace) = match error {
        HookError::Raised { message, backtrace } => (message.clone(), backtrace.as_str()),
        other => (other.to_string(), ""),
    };
    let (file, mut line, message) = place(&text, path);
    if line == 0 {
        // An error without a place, such as one of assert: uses the place of the innermost line of
        // the test.
        let name = file_name(path);
        let first = backtrace
            .lines()
            .find_map(|frame| frame.trim().strip_prefix(name)?.strip_prefix(':'));
        let digits = first.map(|rest| {
            rest.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
        });
        line = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
    }
    Failure {
        file,
        line,
        message,
        history: Vec::new(),
        mismatch: None,
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Splits `file:12: text`; without a place, it is line 0 of `path`.
fn place(text: &str, path: &str) -> (String, u32, String) {
    let parts = text.split_once(':').and_then(|(file, rest)| {
        let (line, message) = rest.split_once(": ")?;
        Some((file, line.parse::<u32>().ok()?, message))
    });
    match parts {
        Some((file, line, message)) if !file.contains(char::is_whitespace) => {
            (file.to_owned(), line, message.to_owned())
        }
        _ => (path.to_owned(), 0, text.to_owned()),
    }
}
