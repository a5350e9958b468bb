//! `carpd grant`: finds out which grants a hook needs, by running it.

use std::time::Duration;

use crate::cli::foresee::plan::{Subject, failure, runtime};
use crate::cli::{Exit, Failure, output};
use crate::config::{self, Config};
use crate::effect::{Grants, Own};
use crate::engine::hook_test::{self, HookTest, TestHook};
use crate::engine::plan::{Event, PlanError, Planner, Wanted};
use crate::hooks::HookSource;
use crate::hooks::artifact::source::test_beside;
use crate::hooks::process::session::SandboxPolicy;
use crate::keeper::Client;
use crate::resolve::Sources;
use crate::testing::{self, Choice, Refused};
use crate::types::Name;

/// A hook that is refused something often stops there. It is run again with that allowed, at most
/// this many times.
const ROUNDS_MAX: usize = 100;
/// The limit, in real time, for one run of its tests.
const LIMIT: Duration = Duration::from_secs(60);

/// Print the smallest grants with which a hook succeeds here and passes its tests.
///
/// The hook is planned for every event and allowed everything it asks for. Then its test
/// (NAME_test.lua next to it) is run, and whatever was refused is allowed as well. The result is
/// printed as TOML. Of a command only the name is known: fill in its program and arguments. What
/// the hook would do only under other circumstances is missing: review the output.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd grant ./failover.lua --interface eth0 --address 192.168.32.22/24\n  \
    carpd grant failover --config ./carpd.toml")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    subject: Subject,
}

/// What has been found.
struct Found {
    grants: Grants,
    /// Failures that occurred although everything was allowed.
    failures: Vec<String>,
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let (config, hook) = args.subject.load()?;
    let hook = hook.ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "no hook given: name its file, or its name in the configuration",
        )
    })?;
    let runtime = runtime()?;
    let Found { grants, failures } = tokio::task::LocalSet::new().block_on(&runtime, async {
        let planned = planned(&config, &hook)
            .await
            .map_err(|error| failure(&error, &config))?;
        Box::pin(tested(&config, &hook, planned)).await
    })?;
    let mut out = format!("[hook.{hook}.grant]\n{}", grants.to_toml());
    if grants == Grants::default() {
        out += "# No grants needed.\n";
    }
    output::artefact(out.as_bytes())?;
    let unknown = grants
        .command
        .iter()
        .filter(|(name, grant)| grant.argv.first() == Some(&format!("/path/to/{name}")));
    for (name, _) in unknown {
        output::note(format_args!(
            "note: command.{name}: fill in its program and arguments"
        ));
    }
    for failure in &failures {
        output::note(format_args!(
            "note: {failure}; what it does after that is not included"
        ));
    }
    Ok(if failures.is_empty() {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// Plans every event with the hook allowed to do everything.
async fn planned(config: &Config, hook: &Name) -> Result<Found, PlanError> {
    let wanted = |event| Wanted {
        hook: Some(hook.clone()),
        event,
        learns: true,
    };
    let mut planner = Planner::start(config, &wanted(Event::Master), None).await?;
    let mut failures = Vec::new();
    // The plan for becoming master includes `before_master`.
    for event in Event::ALL
        .into_iter()
        .filter(|event| *event != Event::BeforeMaster)
    {
        for part in planner
            .plan(&wanted(event))
            .await
            .into_iter()
            .flat_map(|plan| plan.parts)
        {
            failures.extend(part.failure.filter(|failure| !failures.contains(failure)));
        }
    }
    let grants = planner
        .learned(hook)
        .map(|learned| learned.grants)
        .unwrap_or_default();
    Ok(Found { grants, failures })
}

/// Runs the hook's test until nothing is refused.
async fn tested(config: &Config, hook: &Name, mut found: Found) -> Result<Found, Failure> {
    let Some(mut exam) = exam(config, hook)? else {
        return Ok(found);
    };
    let cannot = |error: std::io::Error| {
        Failure::new(Exit::Cannot, format!("cannot start the keeper: {error}"))
    };
    let (keeper, _exits) = Client::start(None).map_err(cannot)?;
    for _ in 0..ROUNDS_MAX {
        exam.hook.grants.clone_from(&found.grants);
        let (report, _) = testing::run(&keeper, exam.clone(), &Choice::default()).await;
        for refused in &report.refused {
            match refused {
                // What belongs to the virtual host itself is never refused.
                Refused::Effect(effect) => config.vhosts.iter().take(1).for_each(|vhost| {
                    found.grants.widen(
                        effect,
                        Own {
                            dev: &vhost.interface,
                            addresses: &[],
                        },
                    );
                }),
                Refused::Query(query) => found.grants.widen_query(query),
            }
        }
        if found.grants == exam.hook.grants {
            found
                .failures
                .extend(report.verdict().faults.iter().map(ToString::to_string));
            return Ok(found);
        }
    }
    found.failures.push(format!(
        "its test still asks for more after {ROUNDS_MAX} runs"
    ));
    Ok(found)
}

/// The hook and the test next to it, if there is one.
fn exam(config: &Config, name: &Name) -> Result<Option<HookTest>, Failure> {
    let failed = |error: crate::hooks::artifact::source::SourceError| {
        Failure::new(Exit::Failure, error.to_string())
    };
    let Some(spec) = config.hooks.get(name) else {
        return Ok(None);
    };
    let sources = Sources::of_daemon();
    let Some((path, text)) = test_beside(&spec.path, &sources).map_err(failed)? else {
        return Ok(None);
    };
    let read = |name: &Name, spec: &config::Hook| {
        HookSource::read(name.clone(), &spec.path, spec.config_json.clone(), &sources)
    };
    let mut hook = TestHook::new(read(name, spec).map_err(failed)?, spec);
    hook.grants = Grants::default();
    let other =
        |name: &Name, spec: &config::Hook| read(name, spec).map_err(|error| error.to_string());
    Ok(Some(HookTest {
        hook,
        others: hook_test::others(&config.hooks, name, &text, other),
        path: path.display().to_string(),
        text,
        policy: SandboxPolicy::Required,
        limit: LIMIT,
    }))
}
