//! What `hook apply` would do on a running daemon: the hook's present version against what is held.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::super::execute::Executor;
use super::super::pool::Pool;
use super::super::queue::Shared;
use super::super::recover::Recovery;
use super::super::run::Engine;
use super::desk::{PlanDesk, noted};
use super::{By, Event, Part, Plan};
use crate::config;
use crate::effect::Own;
use crate::hooks::{EntryPoint, HookEvent};
use crate::host::{LinuxHost, RecordingHost};
use crate::ledger::Owner;
use crate::types::Name;

/// A look at the host takes no longer.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// One virtual host that is master, with all that the hook needs.
struct Job {
    vhost: config::Vhost,
    event: HookEvent,
    hook: Rc<Pool>,
}

impl Engine {
    /// Plans what [`Engine::apply`] would do; nothing of it is done, and nothing waits for it.
    pub(in super::super) fn plan_apply(
        &self,
        name: &Name,
        reply: oneshot::Sender<Result<Vec<Plan>, String>>,
    ) {
        let Some(hook) = self.hooks.current(name) else {
            _ = reply.send(Err(self.no_hook(name, "is not in the configuration")));
            return;
        };
        let masters = self
            .nodes
            .values()
            .filter(|node| node.spec.hooks.contains(name) && node.serves());
        let jobs: Vec<Job> = masters
            .map(|node| Job {
                vhost: node.spec.clone(),
                event: node.event(EntryPoint::OnMaster, false),
                hook: Rc::clone(hook),
            })
            .collect();
        let shared = Rc::clone(&self.shared);
        tokio::task::spawn_local(async move {
            let mut plans = Vec::new();
            for job in jobs {
                // What is only planned must not stand in the log as if it had been done.
                plans.push(
                    plan(&shared, job)
                        .with_subscriber(NoSubscriber::default())
                        .await,
                );
            }
            // Whoever asked may have gone away meanwhile.
            _ = reply.send(Ok(plans));
        });
    }
}

async fn plan(shared: &Shared<LinuxHost>, job: Job) -> Plan {
    let Job { vhost, event, hook } = job;
    let ledger = shared.executor.ledger().copy();
    let executor = Executor::new(
        RecordingHost::new(shared.executor.host()),
        ledger,
        Recovery::default(),
    );
    let store = RefCell::new(shared.store.borrow().copy());
    let mark = executor.mark();
    let mut plan = Plan {
        vhost: vhost.name.clone(),
        interface: vhost.interface.clone(),
        addresses: vhost.addresses.clone(),
        event: Event::Master,
        notes: Vec::new(),
        parts: Vec::new(),
    };
    if matches!(hook.spec().kind, config::Kind::Script(_)) {
        plan.notes.push(format!(
            "hook {} is a program: what it would do is not known before it runs",
            hook.name()
        ));
        return plan;
    }
    if hook.defines(EntryPoint::OnMaster) {
        let owner = Owner {
            vhost: vhost.name.clone(),
            hook: Some(hook.name().clone()),
        };
        let budget = hook.budget(EntryPoint::OnMaster);
        let _place = hook.places().take(false, &Rc::default()).await;
        let ready = hook.ready(budget).await;
        let mut desk = PlanDesk {
            executor: &executor,
            store: &store,
            owner: &owner,
            grants: &mut hook.spec().grants.clone(),
            learns: false,
            own: Own {
                dev: &vhost.interface,
                addresses: &vhost.addresses,
            },
            entry: EntryPoint::OnMaster,
            state: event.state,
            limit: LOOK_LIMIT.min(budget.wall),
            state_bytes: budget.state_bytes,
            steps: Vec::new(),
            log: Vec::new(),
        };
        let result = match ready {
            Ok(ready) => {
                ready
                    .call(event.clone(), budget, &mut desk, std::future::pending())
                    .await
            }
            Err(error) => Err(error),
        };
        let (steps, log) = (desk.steps, desk.log);
        let failure = result.err().map(|error| error.to_string());
        let failed = failure.is_some();
        let by = By::Hook {
            name: hook.name().clone(),
            entry: EntryPoint::OnMaster,
        };
        plan.parts.push(Part {
            by,
            steps,
            log,
            failure,
        });
        if failed {
            plan.notes
                .push("the hook fails: what was done before stays as it is".to_owned());
            return plan;
        }
    }
    executor
        .undo_older(&vhost.name, Some(hook.name()), mark)
        .await;
    let steps: Vec<_> = executor.host().take().iter().map(noted).collect();
    if !steps.is_empty() {
        plan.parts.push(Part {
            by: By::Undo,
            steps,
            log: Vec::new(),
            failure: None,
        });
    }
    plan
}
