//! What operators order of one hook: roll back, apply.

use tokio::sync::oneshot;

use crate::engine::effects::undo::Undone;
use crate::engine::reload::generations::short;
use crate::engine::runs::queue::Applied;
use crate::engine::state::Engine;
use crate::hooks::EntryPoint;
use crate::host::clock;
use crate::types::Name;

impl Engine {
    /// Goes back to the version of a hook before the active one.
    pub(in crate::engine) fn rollback(&mut self, name: &Name) -> Result<String, String> {
        let before = self
            .hooks
            .roll_back(name)
            .ok_or_else(|| self.no_hook(name, "has no version before this one"))?;
        let digest = short(before.digest()).to_owned();
        self.keep(name);
        self.rewire(clock::now());
        Ok(format!(
            "hook {name}: back to version {digest}; the file on disk is unchanged, and its next change becomes active"
        ))
    }

    /// Runs `on_master` of the hook's active version where its virtual hosts are master; if the run
    /// succeeds, what it no longer asks for is undone. Mastership is not affected, whatever the
    /// hook does. A virtual host that is degraded because of the hook, and is not master, stops
    /// being degraded.
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
            // The operator may have disconnected meanwhile.
            _ = reply.send(applied(&name, runs, &forgiven).await);
        });
    }

    pub(in crate::engine) fn no_hook(&self, name: &Name, why: &str) -> String {
        let known: Vec<&str> = self.config.hooks.keys().map(Name::as_str).collect();
        format!("hook {name} {why}; hooks: {}", known.join(", "))
    }
}

/// Waits for the runs that `apply` started, and reports the results.
async fn applied(
    name: &Name,
    runs: Vec<(Name, oneshot::Receiver<Applied>)>,
    forgiven: &[Name],
) -> Result<String, String> {
    if runs.is_empty() {
        let mut said = format!(
            "hook {name}: none of its virtual hosts is master here; this version runs at the next transition"
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
                format!("{vhost}: superseded by a newer state")
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
