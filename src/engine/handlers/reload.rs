//! Reloads configuration and hooks while everything keeps running.
//!
//! What takes time (reading files, starting runners, loading hooks) happens in a separate task and
//! changes nothing. Its result arrives as one event, and is put to use in one turn of the loop,
//! which cannot fail.

mod hooks;
mod vhosts;

use std::rc::Rc;

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::config::{self, Config};
use crate::engine::command::{Held, ReloadReport};
use crate::engine::reload::moves::Moves;
use crate::engine::reload::prepare::Job;
use crate::engine::reload::prepared::{Prepared, Scope, Wanted};
use crate::engine::runs::helper_rights::terms;
use crate::engine::state::Engine;
use crate::host::clock;
use crate::keeper::PREPARING_EVERY;
use crate::types::{Name, Timestamp, shown};

/// Prepares a reload, and tells the keeper regularly that it is still in progress: loading and
/// testing hooks may take long.
async fn with_signs_of_life(job: Job) -> Prepared {
    let (keeper, is_whole) = (job.keeper.clone(), job.scope.is_whole());
    let mut prepared = std::pin::pin!(job.run());
    loop {
        tokio::select! {
            prepared = &mut prepared => return prepared,
            () = clock::sleep(PREPARING_EVERY), if is_whole => keeper.preparing(),
        }
    }
}

impl Engine {
    /// Starts a reload, or notes that another one is wanted after the current one.
    pub(in crate::engine) fn reload(
        &mut self,
        scope: Scope,
        reply: Option<oneshot::Sender<ReloadReport>>,
    ) {
        self.want(Wanted {
            scope,
            held: Held::default(),
            replies: reply.into_iter().collect(),
        });
    }

    /// Starts reloading what has changed on disk, except what is still being written.
    pub(in crate::engine) fn reload_changed(&mut self, held: Held) {
        self.want(Wanted {
            scope: Scope::ChangedHooks,
            held,
            replies: Vec::new(),
        });
    }

    fn want(&mut self, wanted: Wanted) {
        if let Some(waiting) = &mut self.reload_waits {
            waiting.join(wanted);
        } else if self.reloading || self.stopping.is_some() {
            self.reload_waits = Some(wanted);
        } else {
            self.prepare(wanted);
        }
    }

    fn prepare(&mut self, wanted: Wanted) {
        let Wanted {
            scope,
            held,
            replies,
        } = wanted;
        self.reloading = true;
        let names = || self.config.hooks.keys();
        let job = Job {
            scope,
            held,
            path: self.path.clone(),
            config: self.config.clone(),
            current: names()
                .filter_map(|name| Some((name.clone(), Rc::clone(self.hooks.current(name)?))))
                .collect(),
            refused: names()
                .filter_map(|name| Some((name.clone(), self.hooks.refused(name)?)))
                .collect(),
            keeper: self.keeper.clone(),
            helper: self.ties.helper.duty(),
            access: self.ties.reader.access(),
            replies,
        };
        let done = self.prepared.clone();
        tokio::task::spawn_local(async move {
            // The engine ends before its tasks do.
            let prepared = with_signs_of_life(job).await;
            _ = done.send(Box::new(prepared)).await;
        });
    }

    /// Puts what was prepared to use.
    pub(in crate::engine) fn commit(&mut self, prepared: Prepared) {
        let now = clock::now();
        self.reloading = false;
        let Prepared {
            scope,
            config,
            pools,
            faults,
            problems,
            missing,
            doubts,
            unchanged,
            helper,
            reader,
            replies,
        } = prepared;
        for (name, (message, digest)) in &faults {
            self.hooks.refuse(name, message.clone(), digest.clone());
        }
        for name in unchanged {
            self.hooks.clear_fault(&name);
        }
        let mut report = ReloadReport {
            problems,
            ..ReloadReport::default()
        };
        report.problems.extend(
            faults
                .iter()
                .map(|(name, (message, _))| format!("hook {name}: {message}")),
        );
        let stays = config::needs_restart(&self.config.daemon, &config.daemon);
        report.problems.extend(
            stays.into_iter().map(|key| {
                format!("[daemon] {key} cannot change while carpd is running: restart it")
            }),
        );
        let moves = self.moves(&config);
        if scope.is_whole() {
            report.problems.extend(self.cannot_rename(&moves));
        }
        if report.problems.is_empty() && scope.is_whole() {
            report.problems.extend(self.foreign_to(&config));
        }
        if scope == Scope::Everything {
            report
                .problems
                .extend(self.would_let_go(&config, &moves, &missing));
        }
        if report.problems.is_empty() {
            report.problems.extend(self.lock_added(&config));
        }
        if report.problems.is_empty() {
            report.done = true;
            report.warnings.extend(
                doubts
                    .iter()
                    .map(|(name, doubt)| format!("hook {name}: {doubt}")),
            );
            if let Some((client, duty)) = helper {
                if self.ties.helper.duty() != Some(duty) {
                    report
                        .changes
                        .push(format!("helper process: started, for {}", duty.as_str()));
                }
                self.ties.helper.replace(client, duty);
            }
            if let Some(reader) = reader {
                self.ties.reader.replace(reader);
            }
            self.swap_hooks(pools, &mut report.changes, now);
            if scope.is_whole() {
                self.rename(&moves, &mut report.changes);
                self.swap_config(*config, &moves, &mut report.changes, now);
                report.changes.extend(
                    missing
                        .iter()
                        .map(|dev| format!("interface {dev} does not exist yet: waiting for it")),
                );
            }
        }
        if scope.is_whole() {
            self.keeper.reloaded(report.done);
        }
        if !report.problems.is_empty() || scope.is_whole() || !report.changes.is_empty() {
            self.shared.executor.count().reloaded(report.done);
        }
        Self::tell(&report, scope);
        self.reload_problems.clone_from(&report.problems);
        for reply in replies {
            _ = reply.send(report.clone());
        }
        if let Some(wanted) = self.reload_waits.take() {
            self.prepare(wanted);
        }
    }

    fn tell(report: &ReloadReport, scope: Scope) {
        if let [first, others @ ..] = report.problems.as_slice() {
            let others = others
                .iter()
                .map(|problem| format!("; {problem}"))
                .collect::<String>();
            error!(problems = report.problems.len(), problem = %shown(format_args!("{first}{others}")), "Cannot reload");
        }
        if report.done && (scope.is_whole() || !report.changes.is_empty()) {
            info!(changes = report.changes.len(), "Reloaded");
            for change in &report.changes {
                info!(change, "Changed by the reload");
            }
            for problem in &report.warnings {
                warn!(problem, "The reload may cause problems");
            }
        }
    }

    fn swap_config(
        &mut self,
        config: Config,
        moves: &Moves,
        changes: &mut Vec<String>,
        now: Timestamp,
    ) {
        // Who leaves a group takes nobody along.
        self.form_groups(&config.groups, now);
        for index in self
            .numbers()
            .into_iter()
            .filter(|index| !moves.keeps(*index))
        {
            self.remove(index, changes, now);
        }
        self.tracks.follow(&config.tracks, changes);
        self.shared.notices.follow(&config.notify, changes);
        for (place, spec) in config.vhosts.iter().enumerate() {
            match moves.of(place) {
                Some(index) => self.change(index, spec, changes, now),
                None => self.add(spec, changes),
            }
        }
        self.hooks.retain(|name| config.hooks.contains_key(name));
        if self.config.trust != config.trust {
            changes.push("trust: changed; there is no earlier version to go back to".to_owned());
            self.hooks.forget_before();
        }
        self.shared
            .persist
            .kept
            .retain(config.hooks.keys().cloned());
        let vhost = |name: &Name| config.vhosts.iter().any(|vhost| vhost.name == *name);
        self.shared
            .executor
            .count()
            .retain(vhost, |name| config.hooks.contains_key(name));
        self.shutdown_timeout = config.daemon.shutdown_timeout;
        if self.config.groups != config.groups {
            changes.push("groups: changed".to_owned());
        }
        self.form_groups(&config.groups, now);
        self.end_orders_of_removed(changes);
        self.follow_orders(now);
        self.follow_up(now);
        self.campaign_goes_on(now);
        self.follow_up(now);
        self.config = config;
        self.ties.helper.fit(&terms(&self.config, &self.path));
        self.probe_tracks();
        self.look_at_tracked_links();
        self.rewire(now);
        self.watch_files();
    }
}
