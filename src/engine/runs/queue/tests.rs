use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::LocalSet;

use super::*;
use crate::effect::{Effect, Grants, Own, Resource, Value};
use crate::engine::effects::executor::Behalf;
use crate::engine::runs::outcome::HookOutcome;
use crate::hooks::Instance;
use crate::host::SimHost;
use crate::ledger::Owner;
use crate::types::Vhid;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn dev() -> IfName {
    "eth0".parse().unwrap()
}

/// A virtual host without hooks, whose host is in memory.
fn queue(host: SimHost) -> (Rc<Queue<SimHost>>, UnboundedReceiver<HookOutcome>) {
    let (outcomes, heard) = mpsc::unbounded_channel();
    let shared = Shared::in_memory(host, outcomes);
    tokio::task::spawn_local({
        let shared = Rc::clone(&shared);
        async move { shared.executor.recover_rest().await }
    });
    (
        Queue::start(
            VhostId::FIRST,
            name("web"),
            dev(),
            Vec::new(),
            Vec::new(),
            shared,
        ),
        heard,
    )
}

fn event(entry: EntryPoint, state: State, seq: u64) -> HookEvent {
    HookEvent {
        entry,
        instance: Instance {
            name: name("web"),
            interface: dev(),
            vhid: Vhid::new(40).unwrap(),
            addresses: Vec::new(),
        },
        state,
        previous: State::Backup,
        cause: String::new(),
        cause_text: String::new(),
        peer: None,
        seq,
        initial: false,
        missed: 0,
        xparam: None,
        node: "node2".to_owned(),
        time_left_ms: 0,
    }
}

/// What a hook of the virtual host does while it is master.
async fn sets_host_name(queue: &Queue<SimHost>, to: &str) {
    let owner = Owner {
        vhost: name("web"),
        hook: Some(name("h")),
    };
    let grants = Grants {
        hostname: vec![to.to_owned()],
        ..Grants::default()
    };
    let (dev, left) = (dev(), Duration::from_secs(1));
    let behalf = Behalf {
        owner: &owner,
        grants: &grants,
        own: Own {
            dev: &dev,
            addresses: &[],
        },
        scoped: true,
        left,
    };
    queue
        .shared
        .executor
        .ask(
            &behalf,
            Effect::HostnameSet {
                name: to.to_owned(),
            },
            false,
        )
        .await
        .unwrap();
}

async fn finished(heard: &mut UnboundedReceiver<HookOutcome>) -> (EntryPoint, u64) {
    match heard.recv().await {
        Some(HookOutcome::Finished { entry, seq, .. }) => (entry, seq),
        other => panic!("{other:?}"),
    }
}

fn host_name(queue: &Queue<SimHost>) -> Value {
    queue.shared.executor.host().value(&Resource::Hostname)
}

/// On one thread.
fn play(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, story);
}

#[test]
fn a_master_does_not_wait_for_what_cannot_be_undone() {
    play(async {
        // The first effect sets it; the second and the third are to set it back.
        let host = SimHost::new()
            .failing_nth(2, "no")
            .failing_nth(3, "still no");
        let (queue, mut heard) = queue(host);
        sets_host_name(&queue, "one").await;
        queue.put(event(EntryPoint::OnBackup, State::Backup, 1), true);
        tokio::task::yield_now().await;
        queue.put(event(EntryPoint::OnMaster, State::Master, 2), false);
        let master = async { while finished(&mut heard).await != (EntryPoint::OnMaster, 2) {} };
        tokio::time::timeout(Duration::from_millis(500), master)
            .await
            .expect("before anything is tried again");
        // It is tried again all the same, and does not take what the new mastership set.
        queue.settled().await;
        assert_eq!(host_name(&queue), Value::Text("fake".to_owned()));
        assert!(queue.shared.executor.is_clean());
    });
}

#[test]
fn what_a_new_mastership_set_is_not_undone_with_the_old_ones() {
    play(async {
        let (queue, mut heard) = queue(
            SimHost::new()
                .failing_nth(2, "no")
                .failing_nth(3, "still no"),
        );
        sets_host_name(&queue, "one").await;
        queue.put(event(EntryPoint::OnBackup, State::Backup, 1), true);
        queue.put(event(EntryPoint::OnMaster, State::Master, 2), false);
        while finished(&mut heard).await != (EntryPoint::OnMaster, 2) {}
        sets_host_name(&queue, "two").await;
        queue.settled().await;
        assert_eq!(host_name(&queue), Value::Text("two".to_owned()));
        assert!(!queue.shared.executor.is_clean());
    });
}

#[test]
fn changed_code_is_applied_only_to_the_mastership_it_was_meant_for() {
    play(async {
        let (queue, mut heard) = queue(SimHost::new());
        sets_host_name(&queue, "one").await;
        queue.put(event(EntryPoint::OnBackup, State::Backup, 1), true);
        queue.run_again(event(EntryPoint::OnMaster, State::Master, 2));
        assert_eq!(finished(&mut heard).await, (EntryPoint::OnMaster, 2));
        sets_host_name(&queue, "two").await;
        queue.settled().await;
        assert_eq!(
            host_name(&queue),
            Value::Text("two".to_owned()),
            "what is master's stays"
        );
    });
}
