//! Loads the hooks when the daemon starts: from their files, or from the last good version.

use std::rc::Rc;

use tracing::{info, warn};

use super::artifact::{Artifact, TrustPolicy};
use super::generations::Generations;
use super::hook_check::HookCheck;
use super::hook_test::{self, Test};
use crate::config::{self, Config, Reload};
use crate::engine::error::StartError;
use crate::engine::persist::{LastGood, LastGoodHook};
use crate::engine::runs::pool::Pool;
use crate::engine::runs::pool::load_pool;
use crate::hooks::LoadError;
use crate::hooks::artifact::vet::Signatures;
use crate::keeper::Client;
use crate::resolve::Access;
use crate::types::Name;

/// A hook that cannot be used.
struct Refused {
    error: LoadError,
    /// The digest of what was refused; empty if it could not even be read.
    digest: String,
}

impl Refused {
    /// Whether another version could work.
    const fn is_its_own_fault(&self) -> bool {
        match self.error {
            LoadError::Code(_) | LoadError::NoEntryPoint { .. } | LoadError::Compiler(_) => true,
            LoadError::Sandbox(_) | LoadError::Runner(_) => false,
        }
    }
}

/// Loads every hook of the configuration in its own runner. A hook whose file has an error uses the
/// last good version; without such a version the start fails.
pub(in crate::engine) async fn hooks(
    config: &Config,
    keeper: &Client,
    access: &Access,
    kept: &LastGood,
) -> Result<Generations, StartError> {
    let mut hooks = Generations::default();
    let belief = TrustPolicy::of(config, access);
    for (name, spec) in &config.hooks {
        match read_and_load(config, &belief, (name, spec), keeper, Some(kept)).await {
            Ok(pool) => {
                loaded(spec, &pool);
                // It may have been active for long, and refusing it now would leave the node
                // without it.
                for problem in HookCheck::of(config, &pool)
                    .map(HookCheck::look)
                    .unwrap_or_default()
                {
                    warn!(hook = %name, problem = problem.message, "A hook has a problem");
                }
                hooks.take(Rc::clone(&pool));
                if let Some(original) = pool.original() {
                    kept.keep(original, signatures(&pool), crate::host::clock::wall_ms());
                }
            }
            Err(refused) => {
                let failed = |error| StartError::Hook {
                    name: name.clone(),
                    source: error,
                };
                let last = if refused.is_its_own_fault() {
                    kept.last_good(name).await
                } else {
                    None
                };
                let Some(LastGoodHook {
                    accepted_ms,
                    source,
                    signatures,
                    ..
                }) = last
                else {
                    return Err(failed(refused.error));
                };
                // The operator's terms may have changed since it was accepted.
                let material = Artifact::kept(&belief, spec, source, &signatures);
                let material = material.map_err(|_| failed(refused.error.clone()))?;
                let pool = load_pool(config, name, spec, material, keeper).await;
                // Report the error in the file, since that is what the operator can fix.
                let pool = pool.map_err(|_| failed(refused.error.clone()))?;
                loaded(spec, &pool);
                hooks.take_kept(pool, accepted_ms, refused.error.to_string(), refused.digest);
            }
        }
    }
    kept.retain(config.hooks.keys().cloned());
    Ok(hooks)
}

/// The signatures that vouch for what was loaded.
pub(in crate::engine) fn signatures(pool: &Pool) -> Signatures {
    pool.vouched()
        .map(|vouched| vouched.signatures.clone())
        .unwrap_or_default()
}

fn loaded(spec: &config::Hook, pool: &Pool) {
    let confined_by = pool.confinement().in_force.join(" ");
    let vouched = pool.vouched().map(ToString::to_string);
    info!(hook = %pool.name(), source = spec.source, vouched, confined_by, "Loaded a hook");
}

/// Loads a hook as it is on disk, without its test.
pub(in crate::engine) async fn hook(
    config: &Config,
    name: &Name,
    spec: &config::Hook,
    keeper: &Client,
) -> Result<Rc<Pool>, LoadError> {
    let belief = TrustPolicy::of(config, &Access::own());
    read_and_load(config, &belief, (name, spec), keeper, None)
        .await
        .map_err(|refused| refused.error)
}

/// With `kept` it also has to pass its test, unless it is the version that passed before.
async fn read_and_load(
    config: &Config,
    belief: &TrustPolicy,
    (name, spec): (&Name, &config::Hook),
    keeper: &Client,
    kept: Option<&LastGood>,
) -> Result<Rc<Pool>, Refused> {
    let unread = |error: String| Refused {
        error: LoadError::Code(error),
        digest: String::new(),
    };
    let material = Artifact::read(belief, name, spec).map_err(|error| unread(error.to_string()))?;
    let digest = material.source.digest();
    let mut test = None;
    if kept.is_some() {
        hook_test::tell_untestable(name, spec);
    }
    if let Some(kept) = kept
        && spec.reload == Reload::Tested
        && kept
            .last_good(name)
            .await
            .is_none_or(|last| last.digest != digest)
    {
        test = hook_test::read(belief, &config.hooks, name).map_err(unread)?;
        hook_test::tell_untested(name, spec, test.as_ref());
    }
    let attempt = hook_test::attempt(&digest, test.as_ref());
    accept(config, name, spec, material, test, keeper)
        .await
        .map_err(|error| Refused {
            error,
            digest: attempt,
        })
}

/// Loads one version of a hook and has it pass its test, if it has one to pass.
pub(in crate::engine) async fn accept(
    config: &Config,
    name: &Name,
    spec: &config::Hook,
    material: Artifact,
    test: Option<Test>,
    keeper: &Client,
) -> Result<Rc<Pool>, LoadError> {
    let pool = load_pool(config, name, spec, material, keeper).await?;
    if let Some(test) = test
        && let Some(original) = pool.original()
    {
        let missing = hook_test::pass(keeper, config, spec, (**original).clone(), test).await?;
        pool.was_tested_without(missing);
    }
    Ok(pool)
}
