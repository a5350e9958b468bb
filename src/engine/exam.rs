//! Having a hook pass the test beside it before it is taken into use (`reload = "tested"`).

use std::pin::Pin;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use super::clock;
use super::material::{Belief, terms};
use super::pool::budget;
use super::start::sandbox_policy;
use crate::config::{self, Config, OnFailure, Reload};
use crate::hooks::exam::{Exam, Verdict};
use crate::hooks::source::{test_beside, test_path};
use crate::hooks::vet::vet_test;
use crate::hooks::{HookSource, LoadError};
use crate::keeper::Client;
use crate::types::Name;

/// Runs a test against a hook. It is given to the engine, which stands below the code that can do
/// it.
pub type Examine = for<'a> fn(&'a Client, Exam) -> Pin<Box<dyn Future<Output = Verdict> + 'a>>;

/// Real time for all cases of a test together.
const LIMIT: Duration = Duration::from_secs(30);

/// The test of a hook, as it was read together with the hook.
#[derive(Debug)]
pub(super) struct Test {
    path: String,
    text: Vec<u8>,
}

/// Has this hook to pass its test?
const fn is_wanted(spec: &config::Hook) -> bool {
    matches!(
        (spec.reload, &spec.kind),
        (Reload::Tested, config::Kind::Module)
    )
}

/// Reads the test beside a hook, if it has to pass one. Without a file there is none to pass.
///
/// # Errors
/// It is there and cannot be read, or is not to be believed: whoever may write it could keep the
/// next version from being taken.
pub(super) fn read(belief: &Belief, spec: &config::Hook) -> Result<Option<Test>, String> {
    if !is_wanted(spec) {
        return Ok(None);
    }
    let sources = belief.sources();
    let found = test_beside(&spec.path, &sources).map_err(|error| error.to_string())?;
    if let Some((path, text)) = &found {
        vet_test(path, text, terms(&belief.trust, spec, &sources))
            .map_err(|error| error.to_string())?;
        belief.judge(&sources)?;
    }
    Ok(found.map(|(path, text)| Test {
        path: path.display().to_string(),
        text,
    }))
}

/// Logs that a hook which is about to be taken into use has no test, if it should have one.
pub(super) fn tell_untested(name: &Name, spec: &config::Hook, test: Option<&Test>) {
    if is_wanted(spec) && test.is_none() {
        let wanted = test_path(&spec.path);
        warn!(hook = %name, wanted = %wanted.display(), "Takes a hook that has no test: it only has to load");
    }
}

/// What was tried: the hook, and the test that it was to pass. A changed test is another try.
pub(super) fn attempt(digest: &str, test: Option<&Test>) -> String {
    let Some(test) = test else {
        return digest.to_owned();
    };
    let sum: String = Sha256::digest(&test.text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{digest}+{sum}")
}

/// Runs the test.
///
/// # Errors
/// [`LoadError::Code`] with the first thing that is wrong, with file and line.
pub(super) async fn pass(
    examine: Examine,
    keeper: &Client,
    config: &Config,
    spec: &config::Hook,
    hook: HookSource,
    test: Test,
) -> Result<(), LoadError> {
    let name = hook.name.clone();
    let exam = Exam {
        hook,
        grants: spec.grants.clone(),
        budget: budget(spec),
        before_timeout: spec.before_timeout,
        resigns: spec.on_failure == OnFailure::Resign,
        path: test.path,
        text: test.text,
        policy: sandbox_policy(config),
        limit: LIMIT,
    };
    let began = clock::now();
    let verdict = examine(keeper, exam).await;
    let took_ms = clock::now().since(began).as_millis();
    let Some(first) = verdict.faults.first() else {
        info!(hook = %name, cases = verdict.cases, took_ms, "A hook passed its test");
        return Ok(());
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
