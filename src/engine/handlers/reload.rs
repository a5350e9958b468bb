//! Reading configuration and hooks again while everything runs.
//!
//! What takes time (reading files, starting runners, loading hooks) happens in a task beside the
//! loop and changes nothing. Its result comes back as one event, and taking it into use is one turn
//! of the loop that cannot fail.

use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::config::{self, Config};
use crate::engine::command::{Held, ReloadReport};
use crate::engine::effects::foreign_addresses::When;
use crate::engine::effects::recover::own_ids;
use crate::engine::effects::undo::Undone;
use crate::engine::reload::load::signatures;
use crate::engine::reload::moves::Moves;
use crate::engine::reload::prepare::Job;
use crate::engine::reload::prepared::{Prepared, Scope, Wanted};
use crate::engine::runs::helper_rights::terms;
use crate::engine::runs::pool::Pool;
use crate::engine::runs::queue::Applied;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::interface::Ethernet;
use crate::engine::vhost::new::{new_node, post};
use crate::hooks::EntryPoint;
use crate::host::clock;
use crate::keeper::PREPARING_EVERY;
use crate::proto::{self, Gate, Input};
use crate::types::{Name, Timestamp, shown};

/// Prepares a reload, and lets the keeper know that it goes on: loading and testing hooks takes as long
/// as it takes.
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
    /// Begins a reload, or notes that another one is wanted after the one that runs.
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

    /// Begins to take what has changed on disk, but for what is still being written.
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

    /// Takes what was prepared into use.
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
            stays
                .into_iter()
                .map(|key| format!("[daemon] {key} cannot change while carpd runs: restart it")),
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
                        .map(|dev| format!("interface {dev} does not exist yet: waits for it")),
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
                warn!(problem, "What was reloaded may go wrong");
            }
        }
    }

    /// Swaps all new versions in together: runs that have begun end in the old one.
    fn swap_hooks(
        &mut self,
        pools: BTreeMap<Name, Rc<Pool>>,
        changes: &mut Vec<String>,
        now: Timestamp,
    ) {
        for (name, pool) in &pools {
            changes.push(format!(
                "hook {name}: new version {}",
                crate::engine::reload::generations::short(pool.digest())
            ));
            self.hooks.take(Rc::clone(pool));
            self.keep(name);
            let warm = Rc::clone(pool);
            tokio::task::spawn_local(async move { warm.warm_all().await });
        }
        if !pools.is_empty() {
            self.rewire(now);
            let swapped: Vec<Name> = pools.into_keys().collect();
            drop(self.forgive(&swapped, now));
        }
    }

    /// The version that serves is the one to start with, should its file have a fault then.
    fn keep(&self, name: &Name) {
        if let Some(pool) = self.hooks.current(name)
            && let Some(original) = pool.original()
        {
            self.shared
                .persist
                .kept
                .keep(original, signatures(pool), clock::wall_ms());
        }
    }

    /// Gives every queue the pools that serve now.
    pub(in crate::engine) fn rewire(&mut self, now: Timestamp) {
        for (index, node) in self.nodes.iter_mut() {
            let pools: Vec<_> = node
                .spec
                .hooks
                .iter()
                .filter_map(|name| self.hooks.current(name).cloned())
                .collect();
            node.checks.follow(&pools, now);
            node.queue.set_hooks(pools);
            let gate = if node.queue.defines(EntryPoint::BeforeMaster) {
                Gate::Ask
            } else {
                Gate::Free
            };
            if node.machine.settings().gate != gate {
                let settings = proto::Settings {
                    gate,
                    ..node.machine.settings().clone()
                };
                self.shared
                    .journal
                    .borrow_mut()
                    .reconfigured(now, index.number(), &settings);
                node.machine.reconfigure(settings, now);
            }
        }
        for index in self.numbers() {
            // A reason to be unfit may have gone with its hook.
            if self
                .nodes
                .get(index)
                .is_some_and(|node| node.machine.demotion() != node.demotion())
            {
                self.demote(index, now);
            }
            self.flush(index, now);
        }
    }

    fn swap_config(
        &mut self,
        config: Config,
        moves: &Moves,
        changes: &mut Vec<String>,
        now: Timestamp,
    ) {
        for index in self
            .numbers()
            .into_iter()
            .filter(|index| !moves.keeps(*index))
        {
            self.remove(index, changes, now);
        }
        for (place, spec) in config.vhosts.iter().enumerate() {
            match moves.of(place) {
                Some(index) => self.change(index, spec, changes, now),
                None => self.add(spec, changes),
            }
        }
        self.hooks.retain(|name| config.hooks.contains_key(name));
        if self.config.trust != config.trust {
            changes.push("trust: changed; there is no version before to go back to".to_owned());
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
        self.config = config;
        self.ties.helper.fit(&terms(&self.config, &self.path));
        self.rewire(now);
        self.watch_files();
    }

    /// Lets a virtual host go that the configuration no longer has: addresses down, bow-out, hooks,
    /// undoing.
    fn remove(&mut self, index: VhostId, changes: &mut Vec<String>, now: Timestamp) {
        self.handle(index, Input::Shutdown, now);
        for port in self.interfaces.iter_mut() {
            port.members.retain(|member| *member != index);
        }
        if let Some(node) = self.nodes.remove(index) {
            changes.push(format!("vhost {}: removed", node.spec.name));
            self.shared
                .journal
                .borrow_mut()
                .removed(clock::now(), index.number());
            self.ties
                .instance
                .release_vhost(&node.spec.interface, node.spec.vhid);
            let queue = node.queue;
            // What its hooks still have to do, they do by themselves.
            let departing = Rc::clone(&self.departing);
            tokio::task::spawn_local(async move {
                queue.settled().await;
                drop(departing);
            });
        }
    }

    /// Takes the locks of all virtual hosts that are new; if somebody has one of them, none, and
    /// who it is.
    fn lock_added(&mut self, config: &Config) -> Vec<String> {
        let run_dir = &self.config.daemon.run_dir;
        let ours = |spec: &config::Vhost| {
            self.nodes
                .values()
                .any(|node| node.spec.interface == spec.interface && node.spec.vhid == spec.vhid)
        };
        let added: Vec<_> = config.vhosts.iter().filter(|spec| !ours(spec)).collect();
        let instance = &mut self.ties.instance;
        let lock = |spec: &&config::Vhost| instance.lock_vhost(run_dir, &post(spec)).err();
        let problems: Vec<_> = added
            .iter()
            .filter_map(lock)
            .map(|error| error.with_mend(own_ids()))
            .collect();
        if !problems.is_empty() {
            for spec in added {
                self.ties.instance.release_vhost(&spec.interface, spec.vhid);
            }
        }
        problems
    }

    /// Adds a virtual host, whose lock is ours already unless one of the same number was just
    /// removed.
    fn add(&mut self, spec: &config::Vhost, changes: &mut Vec<String>) {
        if let Err(error) = self
            .ties
            .instance
            .lock_vhost(&self.config.daemon.run_dir, &post(spec))
        {
            return changes.push(format!(
                "vhost {}: not added: {}",
                spec.name,
                error.with_mend(own_ids())
            ));
        }
        let index = self.next_id;
        self.next_id = index.next();
        let pools = spec
            .hooks
            .iter()
            .filter_map(|name| self.hooks.current(name).cloned())
            .collect();
        let wire = Ethernet(Rc::clone(&self.ties.readiness));
        let node = match new_node(
            index,
            spec,
            pools,
            (&mut self.interfaces, &wire),
            &self.shared,
            &self.host_name,
        ) {
            Ok(node) => node,
            Err(error) => {
                return changes.push(format!(
                    "vhost {}: not added: cannot read /dev/urandom: {error}",
                    spec.name
                ));
            }
        };
        let port = node.interface;
        self.nodes.insert(index, node);
        changes.push(format!("vhost {}: added", spec.name));
        self.remove_leftovers_of(index);
        self.relook = true;
        let link = self
            .interfaces
            .get(port)
            .and_then(|port| port.link().cloned());
        if let Some(link) = link {
            self.set_link(port, Some(link));
        }
    }

    /// Changes a virtual host with the least disturbance: its state stays, and what is not named
    /// does not change.
    fn change(
        &mut self,
        index: VhostId,
        spec: &config::Vhost,
        changes: &mut Vec<String>,
        now: Timestamp,
    ) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if node.spec == *spec {
            return;
        }
        changes.push(format!(
            "vhost {}: {}",
            spec.name,
            config::differences(&node.spec, spec).join(", ")
        ));
        let old = std::mem::replace(&mut node.spec, spec.clone());
        node.published.outdate();
        let settings = proto::Settings {
            gate: node.machine.settings().gate,
            ..spec.settings()
        };
        let protocol_changed = settings != *node.machine.settings();
        node.queue.set_addresses(spec.addresses.clone());
        if let Some(port) = self.interfaces.get_mut(node.interface) {
            port.listen_to(spec);
        }
        if protocol_changed {
            self.shared
                .journal
                .borrow_mut()
                .reconfigured(now, index.number(), &settings);
            node.machine.reconfigure(settings, now);
        }
        if node.holding && old.addresses != spec.addresses {
            self.move_addresses(index, &old, now);
        }
        self.fit_lease(index, &old, now);
        if old.addresses != spec.addresses || old.adopt != spec.adopt {
            let there = self.addresses_on(&spec.interface).unwrap_or_default();
            self.sort_out(index, &there, When::Later);
            self.look_elsewhere(index);
        }
        // Addresses that could not be put up have left a follow-up.
        self.flush(index, now);
    }

    /// Goes back to the version of a hook before the one that serves.
    pub(in crate::engine) fn rollback(&mut self, name: &Name) -> Result<String, String> {
        let before = self
            .hooks
            .roll_back(name)
            .ok_or_else(|| self.no_hook(name, "has no version before this one"))?;
        let digest = crate::engine::reload::generations::short(before.digest()).to_owned();
        self.keep(name);
        self.rewire(clock::now());
        Ok(format!(
            "hook {name}: back to version {digest}; the file on disk is not changed, and the next change of it is taken into use"
        ))
    }

    /// Runs `on_master` of the hook's current version where its virtual hosts are master; what the
    /// run no longer asks for is undone when it has ended well. Mastership is untouched, whatever
    /// the hook does. Where a virtual host is degraded for the hook and not master, that ends.
    pub(in crate::engine) fn apply(
        &mut self,
        name: &Name,
        reply: oneshot::Sender<Result<String, String>>,
    ) {
        if self.hooks.current(name).is_none() {
            _ = reply.send(Err(self.no_hook(name, "is not in the configuration")));
            return;
        }
        let mut runs = Vec::new();
        for node in self.nodes.values() {
            if node.spec.hooks.contains(name) && node.serves() {
                runs.push((
                    node.spec.name.clone(),
                    node.queue
                        .apply(name.clone(), node.event(EntryPoint::OnMaster, false)),
                ));
            }
        }
        let forgiven = if runs.is_empty() {
            self.forgive(std::slice::from_ref(name), clock::now())
        } else {
            Vec::new()
        };
        let name = name.clone();
        tokio::task::spawn_local(async move {
            // Whoever asked may have gone away meanwhile.
            _ = reply.send(applied(&name, runs, &forgiven).await);
        });
    }

    pub(in crate::engine) fn no_hook(&self, name: &Name, why: &str) -> String {
        let known: Vec<&str> = self.config.hooks.keys().map(Name::as_str).collect();
        format!("hook {name} {why}; hooks: {}", known.join(", "))
    }
}

/// Waits for the runs that `apply` asked for, and tells how they went.
async fn applied(
    name: &Name,
    runs: Vec<(Name, oneshot::Receiver<Applied>)>,
    forgiven: &[Name],
) -> Result<String, String> {
    if runs.is_empty() {
        let mut said = format!(
            "hook {name}: no virtual host of it is master here; this version runs at the next transition"
        );
        for vhost in forgiven {
            said += &format!("\n{vhost}: no longer degraded");
        }
        return Ok(said);
    }
    let mut said = Vec::new();
    let mut failed = false;
    for (vhost, run) in runs {
        let line = match run.await {
            Ok(Ok(Undone {
                settled, failed: 0, ..
            })) => {
                format!("{vhost}: on_master ran, {settled} undone that it no longer asks for")
            }
            Ok(Ok(Undone {
                settled,
                failed: left,
                ..
            })) => {
                failed = true;
                format!(
                    "{vhost}: on_master ran, {settled} undone that it no longer asks for, {left} could not be: see the log"
                )
            }
            Ok(Err(error)) => {
                failed = true;
                format!("{vhost}: on_master failed, nothing was undone, still master: {error}")
            }
            Err(_) => {
                failed = true;
                format!("{vhost}: overtaken by a newer state")
            }
        };
        said.push(format!("hook {name}: {line}"));
    }
    if failed {
        Err(said.join("\n"))
    } else {
        Ok(said.join("\n"))
    }
}
