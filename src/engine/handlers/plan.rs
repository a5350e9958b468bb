//! What `hook apply` would do on a running daemon: the hook's active version compared with what is
//! held.

use std::ops::Deref;
use std::rc::Rc;

use tokio::sync::{mpsc, oneshot};
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use crate::config;
use crate::engine::plan::steps::{Steps, noted};
use crate::engine::plan::{By, Event, Part, Plan};
use crate::engine::runs::pool::Pool;
use crate::engine::runs::queue::Queue;
use crate::engine::runs::shared::Shared;
use crate::engine::state::Engine;
use crate::engine::vhost::id::VhostId;
use crate::hooks::{EntryPoint, HookEvent};
use crate::host::{LinuxHost, RecordingHost};
use crate::types::Name;

/// A virtual host that is master, with everything that the hook needs.
struct Job {
    vhost: config::Vhost,
    event: HookEvent,
    hook: Rc<Pool>,
}

impl Engine {
    /// Plans what [`Engine::apply`] would do, without doing it and without blocking.
    pub(in crate::engine) fn plan_apply(
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
                // Planned effects must not appear in the log as if they had been applied.
                plans.push(
                    plan(&shared, job)
                        .with_subscriber(NoSubscriber::default())
                        .await,
                );
            }
            // The operator may have disconnected meanwhile.
            _ = reply.send(Ok(plans));
        });
    }
}

/// The host of a running daemon.
#[derive(Debug)]
struct Lent(Rc<Shared<LinuxHost>>);

impl Deref for Lent {
    type Target = LinuxHost;

    fn deref(&self) -> &LinuxHost {
        self.0.executor.host()
    }
}

async fn plan(daemon: &Rc<Shared<LinuxHost>>, job: Job) -> Plan {
    let Job { vhost, event, hook } = job;
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
            "hook {} is a program: what it would do is unknown until it runs",
            hook.name()
        ));
        return plan;
    }
    let host = RecordingHost::new(Lent(Rc::clone(daemon)));
    // Planned effects are not reported to anyone.
    let (sender, _news) = mpsc::unbounded_channel();
    let shared = Shared::copied(daemon, host, sender);
    shared.executor.recover_rest().await;
    let steps = Steps::new(&shared, vhost.clone(), &[Rc::clone(&hook)]);
    shared.executor.observe(Rc::clone(&steps) as _);
    let queue = Queue::start(
        VhostId::new(0),
        vhost.name,
        vhost.interface,
        vhost.addresses,
        vec![Rc::clone(&hook)],
        Rc::clone(&shared),
    );
    let failed = match queue.apply(hook.name().clone(), event).await {
        Ok(Ok(_)) => false,
        Ok(Err(_)) | Err(_) => true,
    };
    queue.abandon();
    plan.parts.extend(steps.take());
    if failed {
        plan.notes
            .push("the hook fails: what was done before stays in place".to_owned());
        return plan;
    }
    let undone: Vec<_> = shared.executor.host().take().iter().map(noted).collect();
    if !undone.is_empty() {
        plan.parts.push(Part {
            by: By::Undo,
            steps: undone,
            log: Vec::new(),
            failure: None,
        });
    }
    plan
}
