//! What a pool is made from: the code, compiled if need be, and what it may use.

use std::rc::Rc;

use super::Pool;
use crate::config::{self, Config, Sandbox};
use crate::effect::Grants;
use crate::engine::reload::artifact::Artifact;
use crate::hooks::process::session::SandboxPolicy;
use crate::hooks::{Budget, HookSource, LoadError};
use crate::keeper::{Client, Role};
use crate::types::Name;

/// What holds this hook.
pub(in crate::engine) fn role(source: &HookSource, memory_bytes: u64) -> Role {
    match &source.native {
        None => Role::Runner { memory_bytes },
        // The code is in memory as received, and once more where it runs.
        Some(native) => Role::WasmRunner {
            memory_bytes: memory_bytes.saturating_add(2 * native.code.len() as u64),
        },
    }
}

/// The same, as the configuration has it.
pub(in crate::engine) const fn limits(budget: Budget) -> config::Limits {
    let Budget {
        wall,
        cpu,
        memory_bytes,
        requests,
        log_bytes,
        state_bytes,
    } = budget;
    config::Limits {
        wall,
        cpu,
        memory_bytes,
        requests,
        log_bytes,
        state_bytes,
    }
}

/// The ceilings of a run, from the configuration.
#[must_use]
pub fn budget(spec: &config::Hook) -> Budget {
    let config::Limits {
        wall,
        cpu,
        memory_bytes,
        requests,
        log_bytes,
        state_bytes,
    } = spec.limits;
    Budget {
        wall,
        cpu,
        memory_bytes,
        requests,
        log_bytes,
        state_bytes,
    }
}

/// Loads one version of a hook in a runner of its own.
pub(in crate::engine) async fn load_pool(
    config: &Config,
    name: &Name,
    spec: &config::Hook,
    material: Artifact,
    keeper: &Client,
) -> Result<Rc<Pool>, LoadError> {
    Pool::start(
        name.clone(),
        spec.clone(),
        material,
        sandbox_policy(config),
        keeper.clone(),
    )
    .await
}

/// What to do where the sandbox is incomplete.
pub(in crate::engine) const fn sandbox_policy(config: &Config) -> SandboxPolicy {
    match config.daemon.sandbox {
        Sandbox::Required => SandboxPolicy::Required,
        Sandbox::BestEffort => SandboxPolicy::BestEffort,
    }
}

/// Has a WebAssembly hook compiled, by a process of its own.
#[cfg(feature = "wasm")]
pub(in crate::engine) async fn compiled(
    keeper: &Client,
    mut source: HookSource,
    grants: &Grants,
    policy: SandboxPolicy,
) -> Result<HookSource, LoadError> {
    use crate::hooks::contract::api;
    use crate::hooks::process::compiler;
    use crate::hooks::{Language, Native};
    if source.language == Language::Wasm && source.native.is_none() {
        let file = source.path.rsplit('/').next().unwrap_or_default();
        let spawned = keeper.spawn_watched(Role::Compiler).await;
        let (id, stream, end) = spawned
            .map_err(|error| LoadError::Runner(format!("cannot start a compiler: {error}")))?;
        let ended = async {
            end.await
                .map_or_else(|_| "the keeper is gone".to_owned(), |how| how.to_string())
        };
        let code =
            compiler::compile_by(stream, &source.main, policy, compiler::PATIENCE, ended).await;
        keeper.kill(id);
        let code = code.map_err(|error| match error {
            LoadError::Code(why) => LoadError::Code(format!("{file}: {why}")),
            LoadError::Compiler(how) => LoadError::Compiler(format!("{file}: {how}")),
            other => other,
        })?;
        source.native = Some(Native {
            code,
            allowed: api::allowed(grants),
        });
        // Runners need the code alone.
        source.main = Vec::new();
    }
    Ok(source)
}

#[cfg(not(feature = "wasm"))]
pub(in crate::engine) async fn compiled(
    _: &Client,
    source: HookSource,
    _: &Grants,
    _: SandboxPolicy,
) -> Result<HookSource, LoadError> {
    Ok(source)
}
