//! Preparing a reload: reading files, starting processes, loading hooks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::warn;

use super::artifact::{Artifact, TrustPolicy};
use super::file_watch;
use super::hook_check::{HookCheck, HookProblem};
use super::hook_test::{self, Test};
use super::load::accept;
use super::prepared::{Prepared, Scope};
use crate::config::{self, Config, Reload};
use crate::engine::command::{Held, ReloadReport};
use crate::engine::reload::moves::{missing_interfaces, shared_here, unfit_interfaces};
use crate::engine::rights::descriptors_needed;
use crate::engine::runs::helper;
use crate::engine::runs::helper_rights::terms;
use crate::engine::runs::pool::Pool;
use crate::host::children::helper::Duty;
use crate::host::kernel::process;
use crate::keeper::{Client, Role};
use crate::resolve::Access;
use crate::types::Name;

/// What the preparing task takes with it.
pub(in crate::engine) struct Job {
    pub(in crate::engine) scope: Scope,
    pub(in crate::engine) held: Held,
    pub(in crate::engine) path: PathBuf,
    pub(in crate::engine) config: Config,
    pub(in crate::engine) current: BTreeMap<Name, Rc<Pool>>,
    pub(in crate::engine) refused: BTreeMap<Name, String>,
    pub(in crate::engine) keeper: Client,
    /// What the helper process can do.
    pub(in crate::engine) helper: Option<Duty>,
    /// Who opens files.
    pub(in crate::engine) access: Access,
    pub(in crate::engine) replies: Vec<oneshot::Sender<ReloadReport>>,
}

impl Job {
    /// Reads, loads and looks; changes nothing.
    pub(in crate::engine) async fn run(self) -> Prepared {
        let Self {
            scope,
            held,
            path,
            config,
            current,
            refused,
            keeper,
            helper: present,
            access,
            replies,
        } = self;
        let before = terms(&config, &path);
        let (config, reader, problems) = match scope {
            Scope::ChangedHooks => (config, None, Vec::new()),
            Scope::Everything | Scope::Anyway => read_anew(path.clone(), config, &keeper).await,
        };
        let access = if scope.is_whole() {
            file_watch::access(reader.as_ref())
        } else {
            access
        };
        let mut found = Prepared {
            scope,
            missing: if scope.is_whole() {
                missing_interfaces(&config)
            } else {
                BTreeSet::new()
            },
            config: Box::new(config),
            pools: BTreeMap::new(),
            faults: BTreeMap::new(),
            problems,
            doubts: Vec::new(),
            unchanged: Vec::new(),
            helper: None,
            reader,
            replies,
        };
        if !found.problems.is_empty() {
            return found;
        }
        found.problems.extend(
            unfit_interfaces(&found.config)
                .into_iter()
                .filter(|_| scope.is_whole()),
        );
        if scope.is_whole() {
            let shared = shared_here(&found.config).into_iter();
            found.problems.extend(shared.map(|(_, problem)| problem));
        }
        let descriptors = process::check_descriptors(descriptors_needed(&found.config));
        found
            .problems
            .extend(descriptors.err().map(|error| error.to_string()));
        let now = terms(&found.config, &path);
        // Each uses its copy of the file, and the keeper ends those whose copy is no longer in use.
        // A helper that no grant needs may still have something to restore.
        let role = if scope.is_whole() {
            Role::NewHelper
        } else {
            Role::Helper
        };
        let is_news = scope.is_whole() || now != before || present < now.duty();
        if let Some(wanted) = now.duty().max(present).filter(|_| is_news) {
            match helper::start(&keeper, role, wanted).await {
                Ok(client) => found.helper = Some((client, wanted)),
                Err(error) => found.problems.push(format!(
                    "cannot start the helper process for new grants: {error}"
                )),
            }
        }
        let hooks = Arc::new(found.config.hooks.clone());
        for (name, spec) in hooks.iter() {
            if scope == Scope::ChangedHooks && spec.reload == Reload::Manual {
                continue;
            }
            // The watcher reports again when it is complete.
            if held.hooks.contains(&spec.path) {
                continue;
            }
            let (material, digest, test) =
                match read_material(&found.config, &access, name.clone(), &hooks).await {
                    Ok((material, ..)) if material.source.can_require(&held.modules) => continue,
                    Ok(read) => read,
                    // A signature may be for more of it.
                    Err(_) if !held.modules.is_empty() => continue,
                    Err(message) => {
                        // Said once, too: the message is what was refused.
                        if scope.is_whole() || refused.get(name) != Some(&message) {
                            found
                                .faults
                                .insert(name.clone(), (message.clone(), message));
                        }
                        continue;
                    }
                };
            if current
                .get(name)
                .is_some_and(|pool| pool.digest() == digest && pool.spec() == spec)
            {
                found.unchanged.push(name.clone());
                continue;
            }
            // Reported only once, even if an editor saves twice, or another hook changes.
            let attempt = hook_test::attempt(&digest, test.as_ref());
            if scope == Scope::ChangedHooks && refused.get(name) == Some(&attempt) {
                continue;
            }
            hook_test::tell_untested(name, spec, test.as_ref());
            match accept(&found.config, name, spec, material, test, &keeper).await {
                Ok(pool) => match foreseen(&found.config, &pool).await {
                    Ok(doubts) => {
                        found
                            .doubts
                            .extend(doubts.into_iter().map(|doubt| (name.clone(), doubt)));
                        found.pools.insert(name.clone(), pool);
                    }
                    Err(error) => _ = found.faults.insert(name.clone(), (error, attempt)),
                },
                Err(error) => {
                    _ = found
                        .faults
                        .insert(name.clone(), (error.to_string(), attempt));
                }
            }
        }
        found
    }
}

/// The possible problems of a new version; a certain one is an error.
async fn foreseen(config: &Config, pool: &Pool) -> Result<Vec<String>, String> {
    let Some(foresight) = HookCheck::of(config, pool) else {
        return Ok(Vec::new());
    };
    let found = foresight.look_aside().await;
    let certain = found.iter().filter(|problem| problem.certain).count();
    match found.first() {
        Some(HookProblem {
            message,
            certain: true,
            ..
        }) if certain > 1 => Err(format!("{message} (and {} more)", certain - 1)),
        Some(HookProblem {
            message,
            certain: true,
            ..
        }) => Err(message.clone()),
        Some(_) | None => Ok(found.into_iter().map(|problem| problem.message).collect()),
    }
}

/// The configuration as it is now, and who opens what it names; or the old one.
async fn read_anew(
    path: PathBuf,
    old: Config,
    keeper: &Client,
) -> (Config, Option<Arc<crate::reader::Client>>, Vec<String>) {
    match file_watch::start(keeper, Role::NewReader).await {
        Ok(reader) => {
            let (config, problems) =
                read_config(path, old, file_watch::access(Some(&reader))).await;
            (config, Some(reader), problems)
        }
        Err(error) => (
            old,
            None,
            vec![format!("cannot start the reader process: {error}")],
        ),
    }
}

/// Reads the disk on another thread: it may be slow, and the protocol never waits.
async fn read_config(path: PathBuf, old: Config, access: Access) -> (Config, Vec<String>) {
    let read = tokio::task::spawn_blocking(move || Config::load_through(&path, access)).await;
    match read {
        Ok(Ok(loaded)) => {
            for problem in &loaded.report.problems {
                warn!(problem = problem.message, "The configuration has a problem");
            }
            match old.renewed(loaded.config) {
                Ok(config) => (config, Vec::new()),
                Err(problem) => (old, vec![problem]),
            }
        }
        Ok(Err(report)) => (old, report.lines()),
        Err(error) => (old, vec![error.to_string()]),
    }
}

async fn read_material(
    config: &Config,
    access: &Access,
    name: Name,
    hooks: &Arc<BTreeMap<Name, config::Hook>>,
) -> Result<(Artifact, String, Option<Test>), String> {
    let (belief, hooks) = (TrustPolicy::of(config, access), Arc::clone(hooks));
    let both = move || {
        let spec = hooks.get(&name).ok_or("it is not configured")?;
        let material = Artifact::read(&belief, &name, spec).map_err(|error| error.to_string())?;
        let digest = material.source.digest();
        Ok((material, digest, hook_test::read(&belief, &hooks, &name)?))
    };
    tokio::task::spawn_blocking(both)
        .await
        .map_err(|error| error.to_string())?
}
