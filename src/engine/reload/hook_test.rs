//! Requires a hook to pass the test next to it before it becomes active (`reload = "tested"`).

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tracing::{error, info, warn};

use super::artifact::{Artifact, TrustPolicy, terms};
use crate::config::{self, Config, Health, OnFailure, Reload};
use crate::effect::Grants;
use crate::engine::runs::pool::sandbox_policy;
use crate::engine::runs::pool::{budget, limits};
use crate::frame::{self, FrameError, Inbox};
use crate::hooks::artifact::source::{test_beside, test_path};
use crate::hooks::artifact::vet::vet_test;
use crate::hooks::contract::message::MAX_TO_RUNNER;
use crate::hooks::process::session::SandboxPolicy;
use crate::hooks::{Budget, HookSource, LoadError};
use crate::host::clock;
use crate::keeper::{Client, Role};
use crate::programs::{self, Program};
use crate::types::Name;

/// A hook and the test that it has to pass.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HookTest {
    /// The hook. What it may do holds unless a test says otherwise for one of its hosts in memory.
    pub hook: TestHook,
    /// Those that a test may run beside it, or why that cannot be.
    pub others: BTreeMap<Name, Result<TestHook, String>>,
    /// The path of the test file, for messages.
    pub path: String,
    /// The text of the test file: Luau, see `docs/guide/test-a-hook.md`.
    pub text: Vec<u8>,
    /// What to do without a full sandbox; holds for the hook and for the test.
    pub policy: SandboxPolicy,
    /// Real time for everything together, from the start of the first runner.
    pub limit: Duration,
}

/// A hook in a test: its bytes, and what an operator wrote about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TestHook {
    /// These bytes are run, whatever is on disk by now.
    pub source: HookSource,
    /// What it may do.
    #[serde(with = "as_json")]
    pub grants: Grants,
    /// Its ceilings. Its wall time is spent on a virtual clock.
    pub budget: Budget,
    /// Wall time of `before_master` and `before_backup`.
    pub before_timeout: Duration,
    /// What follows when `on_master` fails.
    pub on_failure: OnFailure,
    /// How its `health` is asked, where a test wants it to be.
    pub health: Health,
    /// How many runs of it there may be at one time; 0 is one for each of its virtual hosts.
    pub runners: u16,
}

/// How a test went.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// How many cases were run to their end.
    pub cases: usize,
    /// What was wrong; empty if the hook passed. At most one for each case, and those that no case
    /// is to blame for: a test file that does not compile or has no case, a runner that could not
    /// be started, the time limit.
    pub faults: Vec<Fault>,
}

impl Verdict {
    /// Did the hook pass?
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.faults.is_empty()
    }
}

/// One thing that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The file in which it shows: mostly the test's.
    pub file: String,
    /// Its line, counted from 1, where one is to blame.
    pub line: Option<u32>,
    /// The case's name; `None` if it is no case's fault.
    pub case: Option<String>,
    /// What was expected and what was found; may have several lines.
    pub message: String,
}

impl TestHook {
    /// With what the operator wrote about it.
    #[must_use]
    pub fn new(source: HookSource, spec: &config::Hook) -> Self {
        Self {
            source,
            grants: spec.grants.clone(),
            budget: budget(spec),
            before_timeout: spec.before_timeout,
            on_failure: spec.on_failure,
            health: spec.health,
            runners: spec.runners,
        }
    }

    /// What the operator wrote.
    #[must_use]
    pub fn spec(&self) -> config::Hook {
        config::Hook {
            limits: limits(self.budget),
            before_timeout: self.before_timeout,
            on_failure: self.on_failure,
            health: self.health,
            runners: self.runners,
            config_json: self.source.config_json.clone(),
            grants: self.grants.clone(),
            ..config::Hook::plain(&self.source.path)
        }
    }
}

/// The hooks that a test may run beside the `tested` one: those of its configuration whose names
/// stand in the `text` of the test. `read` gives the bytes of each.
pub fn others(
    hooks: &BTreeMap<Name, config::Hook>,
    tested: &Name,
    text: &[u8],
    read: impl Fn(&Name, &config::Hook) -> Result<HookSource, String>,
) -> BTreeMap<Name, Result<TestHook, String>> {
    let text = String::from_utf8_lossy(text);
    let named = hooks
        .iter()
        .filter(|(name, _)| *name != tested && text.contains(name.as_str()));
    let hook = |name: &Name, spec: &config::Hook| match spec.kind {
        config::Kind::Module => read(name, spec).map(|source| TestHook::new(source, spec)),
        config::Kind::Script(_) => Err("it is a program, and no test runs those".to_owned()),
    };
    named
        .map(|(name, spec)| (name.clone(), hook(name, spec)))
        .collect()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.case {
            Some(case) => write!(f, ": {case}: {}", self.message),
            None => write!(f, ": {}", self.message),
        }
    }
}

/// Grants are written as the configuration has them, which says less of itself than postcard needs.
mod as_json {
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::effect::Grants;

    pub(super) fn serialize<S: Serializer>(grants: &Grants, to: S) -> Result<S::Ok, S::Error> {
        let json = serde_json::to_string(grants).map_err(S::Error::custom)?;
        json.serialize(to)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Grants, D::Error> {
        let json = String::deserialize(from)?;
        serde_json::from_str(&json).map_err(D::Error::custom)
    }
}

/// The largest frame to and from a tester, in bytes.
const MAX_FRAME: usize = MAX_TO_RUNNER;
/// The time that a tester has to start and to end, in addition to its own limit.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a test in a separate process, so that neither the test nor the hook can affect the engine's
/// thread.
async fn examine(keeper: &Client, exam: &HookTest) -> Result<Answer, LoadError> {
    let failed = |why: &dyn fmt::Display| LoadError::Runner(format!("cannot run its test: {why}"));
    let spawned = keeper.spawn_watched(Role::Tester).await;
    let (id, stream, end) = spawned.map_err(|error| failed(&error))?;
    let answer = tokio::time::timeout(exam.limit + GRACE, converse(stream, exam)).await;
    keeper.kill(id);
    match answer {
        Err(_) => Err(failed(&"it did not end")),
        Ok(Err(FrameError::Closed | FrameError::Truncated)) => {
            let how = end.await.map(|how| how.to_string());
            Err(failed(
                &how.unwrap_or_else(|_| "the keeper is gone".to_owned()),
            ))
        }
        Ok(answer) => answer.map_err(|error| failed(&error)),
    }
}

/// What a tester answers: how the test went, and which measures of its confinement are missing
/// here.
type Answer = (Verdict, Vec<String>);

async fn converse(stream: StdStream, exam: &HookTest) -> Result<Answer, FrameError> {
    stream.set_nonblocking(true)?;
    let mut stream = UnixStream::from_std(stream)?;
    stream.write_all(&frame::encode(exam, MAX_FRAME)?).await?;
    frame::next(&mut stream, &mut Inbox::default(), MAX_FRAME).await
}

/// The other end, in the tester's process: what is to be run, and who is told how it went.
///
/// # Errors
/// [`FrameError`]: whoever started it is gone, or speaks otherwise.
pub fn receive(stream: &StdStream) -> Result<HookTest, FrameError> {
    frame::receive(stream, &mut Inbox::default(), MAX_FRAME)
}

/// Says how it went, and what is `missing` of the tester's confinement.
///
/// # Errors
/// [`FrameError`]: nobody listens any more.
pub fn tell(stream: &StdStream, verdict: &Verdict, missing: &[String]) -> Result<(), FrameError> {
    frame::send(stream, &(verdict, missing), MAX_FRAME)
}

/// The limit, in real time, for all cases of a test together.
const LIMIT: Duration = Duration::from_secs(30);

/// The test of a hook, as it was read together with the hook.
#[derive(Debug)]
pub(in crate::engine) struct Test {
    path: String,
    text: Vec<u8>,
    others: BTreeMap<Name, Result<TestHook, String>>,
}

/// Whether this hook has to pass its test.
const fn is_wanted(spec: &config::Hook) -> bool {
    matches!(
        (spec.reload, &spec.kind),
        (Reload::Tested, config::Kind::Module)
    )
}

/// Reads the test beside one of these hooks, if it has to pass one. Without a file there is none to
/// pass.
///
/// # Errors
/// It exists but cannot be read or trusted: someone who can write it could keep the next version
/// from being accepted.
pub(in crate::engine) fn read(
    belief: &TrustPolicy,
    hooks: &BTreeMap<Name, config::Hook>,
    name: &Name,
) -> Result<Option<Test>, String> {
    let Some(spec) = hooks.get(name).filter(|spec| is_wanted(spec)) else {
        return Ok(None);
    };
    let sources = belief.sources();
    let found = test_beside(&spec.path, &sources).map_err(|error| error.to_string())?;
    if let Some((path, text)) = &found {
        vet_test(path, text, terms(&belief.trust, spec, &sources))
            .map_err(|error| error.to_string())?;
        belief.judge(&sources)?;
    }
    let read = |name: &Name, spec: &config::Hook| match Artifact::read(belief, name, spec) {
        Ok(artifact) => Ok(artifact.source),
        Err(error) => Err(error.to_string()),
    };
    Ok(found.map(|(path, text)| Test {
        path: path.display().to_string(),
        others: others(hooks, name, &text, read),
        text,
    }))
}

/// Logs that a hook that is about to become active has no test, if it should have one.
pub(in crate::engine) fn tell_untested(name: &Name, spec: &config::Hook, test: Option<&Test>) {
    if is_wanted(spec) && test.is_none() {
        let wanted = test_path(&spec.path);
        warn!(hook = %name, wanted = %wanted.display(), "Accepting a hook that has no test: it only has to load");
    }
}

/// Logs at the start that the program that runs tests of hooks is missing, rather than only when a
/// new version has to pass one.
pub(in crate::engine) fn tell_untestable(name: &Name, spec: &config::Hook) {
    if is_wanted(spec)
        && let Err(error) = programs::find(Program::Carpd)
    {
        error!(hook = %name, %error, "New versions of a hook cannot be tested, so none is accepted");
    }
}

/// What was tried: the hook, and the test that it was to pass. A changed test is another try, and so
/// is a changed hook that runs beside it.
pub(in crate::engine) fn attempt(digest: &str, test: Option<&Test>) -> String {
    let Some(test) = test else {
        return digest.to_owned();
    };
    let mut sum = Sha256::new_with_prefix(&test.text);
    let others = test.others.values().flatten();
    others.for_each(|other| sum.update(other.source.digest()));
    let sum: String = sum
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{digest}+{sum}")
}

/// Runs the test, and returns what was missing from the confinement of the process that ran it.
///
/// # Errors
/// [`LoadError::Code`] with the first thing that is wrong, with file and line.
pub(in crate::engine) async fn pass(
    keeper: &Client,
    config: &Config,
    spec: &config::Hook,
    hook: HookSource,
    test: Test,
) -> Result<Vec<String>, LoadError> {
    let name = hook.name.clone();
    let exam = HookTest {
        hook: TestHook::new(hook, spec),
        others: test.others,
        path: test.path,
        text: test.text,
        policy: sandbox_policy(config),
        limit: LIMIT,
    };
    let began = clock::now();
    let (verdict, missing) = examine(&keeper.for_hook(&name), &exam).await?;
    if !missing.is_empty() {
        warn!(hook = %name, missing = missing.join("; "), "Tested the hook in a process that has more rights than it needs");
    }
    let took_ms = clock::now().since(began).as_millis();
    let Some(first) = verdict.faults.first() else {
        info!(hook = %name, cases = verdict.cases, took_ms, "A hook passed its test");
        return Ok(missing);
    };
    let more = verdict.faults.len() - 1;
    let more = if more == 0 {
        String::new()
    } else {
        format!(" (and {more} more)")
    };
    Err(LoadError::Code(format!(
        "it did not pass its test: {first}{more}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_missing_of_a_testers_confinement_comes_with_its_verdict() {
        let (ours, theirs) = StdStream::pair().unwrap();
        let tester = std::thread::spawn(move || {
            receive(&theirs).unwrap();
            tell(
                &theirs,
                &Verdict::default(),
                &["landlock: not here".to_owned()],
            )
            .unwrap();
        });
        let (_, missing) = converse(ours, &exam()).await.unwrap();
        assert_eq!(missing, ["landlock: not here"]);
        tester.join().unwrap();
    }

    #[test]
    fn a_changed_hook_beside_the_tested_one_is_another_try() {
        let hooks: BTreeMap<Name, config::Hook> = ["h", "fence", "mail"]
            .map(|name| (name.parse().unwrap(), config::Hook::plain("x.lua")))
            .into();
        let attempted = |main: &str| {
            let read = |name: &Name, _: &config::Hook| {
                let source = exam().hook.source;
                Ok(HookSource {
                    name: name.clone(),
                    main: main.as_bytes().to_vec(),
                    ..source
                })
            };
            let text = b"test.host({ hooks = { 'fence', 'h' } })".to_vec();
            let others = others(&hooks, &"h".parse().unwrap(), &text, read);
            let names: Vec<&str> = others.keys().map(Name::as_str).collect();
            assert_eq!(names, ["fence"]);
            let path = "h_test.lua".to_owned();
            attempt("digest", Some(&Test { path, text, others }))
        };
        assert_eq!(attempted("one"), attempted("one"));
        assert_ne!(attempted("one"), attempted("two"));
    }

    #[test]
    fn all_of_an_exam_goes_to_the_tester() {
        let exam = exam();
        let bytes = frame::encode(&exam, MAX_FRAME).unwrap();
        let mut inbox = Inbox::default();
        inbox.push(&bytes);
        let there: HookTest = inbox.next(MAX_FRAME).unwrap().unwrap();
        assert_eq!(format!("{there:?}"), format!("{exam:?}"));
    }

    fn exam() -> HookTest {
        let grants = "hostname = [\"a\"]\naddr = [{ cidr = \"10.0.0.0/8\", dev = \"eth0\" }]\n\
                      [command.promote]\nargv = [\"/bin/p\", \"{n:int}\"]\n";
        let source = HookSource {
            name: "h".parse().unwrap(),
            language: crate::hooks::Language::Lua,
            path: "h.lua".into(),
            main: b"x".to_vec(),
            modules: BTreeMap::new(),
            config_json: "{}".into(),
            native: None,
        };
        let hook = TestHook {
            source,
            grants: config::parse_grants("grants", grants).unwrap(),
            budget: Budget::default(),
            before_timeout: Duration::from_secs(1),
            on_failure: OnFailure::Keep,
            health: Health::default(),
            runners: 2,
        };
        let other = ("other".parse().unwrap(), Ok(hook.clone()));
        let none = ("none".parse().unwrap(), Err("why".to_owned()));
        HookTest {
            hook,
            others: [other, none].into(),
            path: "h_test.lua".into(),
            text: b"y".to_vec(),
            policy: SandboxPolicy::Required,
            limit: LIMIT,
        }
    }
}
