//! Finds problems of a hook before it runs: in `carpd check`, at a reload, and when a plugin is
//! added.

use std::io;
use std::sync::Arc;

use super::artifact::TrustPolicy;
use super::hook_test;
use super::load;
use crate::config::{self, Config};
use crate::effect::Grants;
use crate::engine::runs::pool::Pool;
use crate::hooks::contract::api::{FUNCTIONS, Function};
use crate::hooks::{EntryPoint, HookSource, Language};
use crate::keeper::Client;
use crate::resolve::Access;
use crate::types::{IfName, Name, VirtualAddress};

/// Something that is, or may be, wrong with a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookProblem {
    /// Which hook; `None` if it is about none in particular.
    pub hook: Option<Name>,
    /// `file:line: text` where a place is known.
    pub message: String,
    /// Whether it certainly fails; otherwise it may fail.
    pub certain: bool,
}

/// Loads every hook as the daemon would, each in a confined runner that is then ended, and checks
/// its code for what would go wrong when it runs.
///
/// # Errors
/// No runner can be started here.
pub fn check_hooks(config: &Config) -> io::Result<Vec<HookProblem>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (keeper, _exits) = Client::start(None)?;
        let mut problems = Vec::new();
        for (name, spec) in &config.hooks {
            let wrong = |message: String| HookProblem {
                hook: Some(name.clone()),
                message,
                certain: true,
            };
            match load::hook(config, name, spec, &keeper).await {
                Err(error) => problems.push(wrong(error.to_string())),
                Ok(pool) => problems.extend(
                    HookCheck::of(config, &pool)
                        .map(HookCheck::look)
                        .unwrap_or_default(),
                ),
            }
            let belief = TrustPolicy::of(config, &Access::own());
            let test = hook_test::read(&belief, &config.hooks, name);
            problems.extend(test.err().map(wrong));
        }
        Ok(problems)
    })
}

/// Everything needed to check a loaded hook. Owned, so that this can be done on another thread.
#[derive(Debug)]
pub(in crate::engine) struct HookCheck {
    source: Arc<HookSource>,
    /// The modules that it loads.
    modules: Vec<String>,
    /// The host's functions that a component imports.
    imports: Vec<String>,
    entry_points: Vec<EntryPoint>,
    grants: Grants,
    /// The virtual hosts for which it is called.
    homes: Vec<(Name, IfName, Vec<VirtualAddress>)>,
    /// The tracks that ask for its health.
    asked_by: Vec<Name>,
}

impl HookCheck {
    /// For a hook in a configuration. `None` for a script, which cannot be checked.
    pub(in crate::engine) fn of(config: &Config, pool: &Pool) -> Option<Self> {
        let home = |vhost: &config::Vhost| {
            (
                vhost.name.clone(),
                vhost.interface.clone(),
                vhost.addresses.clone(),
            )
        };
        let homes = config
            .vhosts
            .iter()
            .filter(|vhost| config.calls(vhost, pool.name()))
            .map(home)
            .collect();
        let asks = config
            .tracks
            .iter()
            .filter(|(_, track)| track.tracked.hook() == Some(pool.name()));
        Some(Self {
            source: Arc::clone(pool.original()?),
            modules: pool.modules().to_vec(),
            imports: pool.imports().to_vec(),
            entry_points: pool.entry_points().to_vec(),
            grants: pool.spec().grants.clone(),
            homes,
            asked_by: asks.map(|(track, _)| track.clone()).collect(),
        })
    }

    /// The problems found, the certain ones first.
    pub(in crate::engine) fn look(self) -> Vec<HookProblem> {
        let mut found = match self.source.language {
            Language::Lua => self.lua(),
            Language::Wasm => self.component(),
        };
        if !self.entry_points.contains(&EntryPoint::Health) {
            let unanswered = |track: &Name| {
                let text = format!("track {track} asks for its health, and it has none");
                self.problem(text, true)
            };
            found.extend(self.asked_by.iter().map(unanswered));
        }
        found.sort_by_key(|problem| !problem.certain);
        found
    }

    /// As [`Self::look`], on another thread: it takes as long as the hook is large.
    pub(in crate::engine) async fn look_aside(self) -> Vec<HookProblem> {
        tokio::task::spawn_blocking(move || self.look())
            .await
            .unwrap_or_default()
    }

    fn problem(&self, message: String, certain: bool) -> HookProblem {
        HookProblem {
            hook: Some(self.source.name.clone()),
            message,
            certain,
        }
    }

    #[cfg(feature = "lua")]
    fn lua(&self) -> Vec<HookProblem> {
        use crate::hooks::runtime::lua::check::{Foreseen, Home, Use, foresee, required};
        let source = &self.source;
        let main = source.path.rsplit('/').next().unwrap_or(&source.path);
        // Also those that only an entry point requires.
        let mut keys = required(&source.main, &source.modules).unwrap_or_default();
        keys.extend(self.modules.iter().cloned());
        let modules = keys
            .iter()
            .filter_map(|key| Some((key.as_str(), source.modules.get(key)?.as_slice())));
        let files: Vec<(&str, &[u8])> = std::iter::once((main, source.main.as_slice()))
            .chain(modules)
            .collect();
        let config = serde_json::from_str(&source.config_json).unwrap_or_default();
        let homes = self.homes.iter().map(|(name, interface, addresses)| Home {
            name,
            interface,
            addresses,
        });
        let homes: Vec<Home<'_>> = homes.collect();
        let used = Use {
            hook: source.name.as_str(),
            config: &config,
            grants: &self.grants,
            homes: &homes,
        };
        let said =
            |Foreseen {
                 file,
                 line,
                 message,
                 certain,
             }| self.problem(format!("{file}:{line}: {message}"), certain);
        foresee(&files, &used).into_iter().map(said).collect()
    }

    #[cfg(not(feature = "lua"))]
    fn lua(&self) -> Vec<HookProblem> {
        Vec::new()
    }

    /// A component's imports are compared with its grants when it is loaded; which function calls
    /// what is not visible. But if all its entry points are read-only, it cannot use anything that
    /// changes something.
    fn component(&self) -> Vec<HookProblem> {
        if self.entry_points.iter().any(|entry| entry.may_change()) {
            return Vec::new();
        }
        let mut vain: Vec<String> = FUNCTIONS
            .iter()
            .filter(|function| function.changes())
            .filter(|function| !function.may_be_query(&self.grants))
            .map(Function::full_name)
            .filter(|name| self.imports.contains(name))
            .collect();
        if vain.is_empty() {
            return Vec::new();
        }
        vain.sort();
        let file = self
            .source
            .path
            .rsplit('/')
            .next()
            .unwrap_or(&self.source.path);
        let message = format!(
            "{file}: it imports {}, but its only entry point is health, which may change nothing",
            vain.join(", ")
        );
        vec![self.problem(message, false)]
    }
}
