//! Keeps what hooks set as they set it. It is checked periodically, since the kernel does not
//! report much of what it removes (routes disappear silently with addresses and links). What was
//! removed is restored; what someone else changed is left alone and reported. So are services and
//! files, which take longer to check.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use tracing::{info, warn};

use super::executor::Executor;
use super::undo::find;
use crate::effect::{Granted, Resource, Value};
use crate::engine::runs::shared::Shared;
use crate::host::clock;
use crate::host::{Host, holds};
use crate::ledger::Holding;

/// The least time between two checks.
const PAUSE: Duration = Duration::from_secs(1);
/// Checking takes at most this fraction of the time, however many routes the host has.
const SHARE: u32 = 20;
/// The time between two checks that need the helper, a script or a service manager.
const PAUSE_SLOW: Duration = Duration::from_secs(5);
/// The time limit for checking or restoring one resource.
const LIMIT: Duration = Duration::from_secs(5);
/// The time limit for slow checks: a hook that wants to set the resource has to wait meanwhile.
const LIMIT_SLOW: Duration = Duration::from_secs(1);

/// As long as the engine lives.
pub(in crate::engine) async fn reassert<H: Host>(shared: Rc<Shared<H>>) {
    let mut pause = PAUSE;
    let mut slow_due = clock::now() + PAUSE_SLOW;
    loop {
        clock::sleep(pause).await;
        let began = clock::now();
        let slow = slow_due <= began;
        shared.executor.reassert(slow).await;
        let now = clock::now();
        if slow {
            slow_due = now + PAUSE_SLOW;
        }
        pause = PAUSE.max(now.since(began) * SHARE);
    }
}

/// The current state of a resource that a hook set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It is as the hook wants it.
    Well,
    /// It is as it was before, or does not exist.
    TakenAway,
    /// It is something else.
    Changed,
}

fn seen(there: &Value, wanted: &Value, original: &Value) -> Seen {
    let is = |value: &Value| value.looks_like(there) || holds(there, value);
    if is(wanted) {
        Seen::Well
    } else if *there == Value::Absent || is(original) {
        Seen::TakenAway
    } else {
        Seen::Changed
    }
}

/// What to do about a resource that is not as a hook set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HelperSupervisor {
    /// Restore it if it was removed.
    PutBack,
    /// Report it. The state of a device may have been changed for a reason that the hook does not
    /// know.
    Tell,
    /// Report it, and check it less often, since checking needs the helper, a script or a service
    /// manager. Whether a running service works is for `health` to say, and what is in a file for
    /// its readers.
    TellSlowly,
}

const fn care(resource: &Resource) -> HelperSupervisor {
    match resource {
        Resource::Address { .. }
        | Resource::Route { .. }
        | Resource::Rule(_)
        | Resource::Hostname
        | Resource::Sysctl { .. } => HelperSupervisor::PutBack,
        Resource::LinkUp { .. }
        | Resource::LinkMac { .. }
        | Resource::Macvlan { .. }
        | Resource::LinkArp { .. } => HelperSupervisor::Tell,
        Resource::Service { .. } | Resource::File { .. } => HelperSupervisor::TellSlowly,
    }
}

impl<H: Host> Executor<H> {
    /// Checks everything that hooks hold once; with `slow`, also what takes longer.
    pub(in crate::engine) async fn reassert(&self, slow: bool) {
        let of_hooks =
            |holding: &Holding<'_>| holding.owners.iter().any(|owner| owner.hook.is_some());
        let held: BTreeSet<Resource> = self
            .ledger()
            .iter()
            .filter(of_hooks)
            .map(|holding| holding.resource.clone())
            .collect();
        self.troubles()
            .retain(|resource, _| held.contains(resource));
        for resource in held
            .into_iter()
            .filter(|resource| slow || care(resource) != HelperSupervisor::TellSlowly)
        {
            self.look_after(&resource).await;
            // Let the loop do its pending work first.
            tokio::task::yield_now().await;
        }
    }

    async fn look_after(&self, resource: &Resource) {
        // If it is just being set or undone, wait until that is done.
        let _turn = self.resource_locks().lock(resource).await;
        let Some((wanted, original)) = self.ledger().settled_value(resource) else {
            self.troubles().remove(resource);
            return;
        };
        let limit = if care(resource) == HelperSupervisor::TellSlowly {
            LIMIT_SLOW
        } else {
            LIMIT
        };
        // What cannot be checked now is checked the next time.
        let Ok(there) = find(self.host(), resource, limit).await else {
            return;
        };
        let trouble = match seen(&there, &wanted, &original) {
            Seen::Well => None,
            Seen::TakenAway if care(resource) == HelperSupervisor::PutBack => {
                self.put_back(resource, &wanted, &there).await
            }
            Seen::TakenAway | Seen::Changed => {
                Some(format!("found {there}: someone else changed it"))
            }
        };
        let before = match &trouble {
            None => self.troubles().remove(resource),
            Some(words) => self.troubles().insert(resource.clone(), words.clone()),
        };
        match trouble {
            Some(words) if before.as_ref() != Some(&words) => {
                warn!(%resource, wanted = %wanted, "A value set by a hook is no longer in place: {words}");
            }
            None if before.is_some() => info!(%resource, "A value set by a hook is in place again"),
            Some(_) | None => {}
        }
    }

    /// Why it could not be put back, if it could not.
    async fn put_back(&self, resource: &Resource, wanted: &Value, there: &Value) -> Option<String> {
        let effect = resource.set_to(wanted)?;
        match self
            .host()
            .perform(&Granted::by_daemon(effect), LIMIT)
            .await
        {
            Ok(_) => {
                warn!(%resource, wanted = %wanted, found = %there, "Restored what a hook had set and someone removed");
                None
            }
            Err(error) => Some(format!("found {there}, and it cannot be restored: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::{Effect, Grants, Own, Route, RouteGrant, SysctlGrant};
    use crate::engine::effects::executor::Behalf;
    use crate::engine::effects::recover::Recovery;
    use crate::host::SimHost;
    use crate::ledger::{Ledger, Owner};

    fn route(via: &str) -> Route {
        Route {
            dst: "default".parse().unwrap(),
            via: Some(via.parse().unwrap()),
            dev: None,
            src: None,
            metric: None,
            table: None,
        }
    }

    /// A master whose hook has set the default route and a kernel parameter.
    async fn master(host: SimHost) -> Executor<SimHost> {
        let executor = Executor::new(host, Ledger::new(), Recovery::default());
        let owner = Owner {
            vhost: "web".parse().unwrap(),
            hook: Some("h".parse().unwrap()),
        };
        let any = RouteGrant {
            dst: "default".parse().unwrap(),
            via: None,
            dev: None,
            table: None,
        };
        let sysctl = SysctlGrant {
            key: "net.ipv4.ip_forward".into(),
            values: Vec::new(),
        };
        let grants = Grants {
            route: vec![any],
            sysctl: vec![sysctl],
            ..Grants::default()
        };
        let dev = "eth0".parse().unwrap();
        let behalf = Behalf {
            owner: &owner,
            grants: &grants,
            own: Own {
                dev: &dev,
                addresses: &[],
            },
            scoped: true,
            left: LIMIT,
        };
        executor
            .ask(
                &behalf,
                Effect::RouteReplace(route("192.168.32.254")),
                false,
            )
            .await
            .unwrap();
        let forward = Effect::SysctlSet {
            key: "net.ipv4.ip_forward".into(),
            value: "1".into(),
        };
        executor.ask(&behalf, forward, false).await.unwrap();
        executor
    }

    #[tokio::test]
    async fn what_was_taken_away_is_put_back_and_what_was_changed_is_told() {
        let (place, before) = (
            Resource::route(&route("192.168.32.1")),
            Value::Route(route("192.168.32.1")),
        );
        let executor = master(SimHost::new().with(place.clone(), before.clone())).await;
        let (host, ours) = (executor.host(), Value::Route(route("192.168.32.254")));
        for taken_away in [Value::Absent, before] {
            host.set(place.clone(), taken_away);
            executor.reassert(true).await;
            assert_eq!(host.value(&place), ours);
        }
        let forward = Resource::Sysctl {
            key: "net.ipv4.ip_forward".into(),
        };
        host.set(forward.clone(), Value::Text(String::new()));
        executor.reassert(true).await;
        assert_eq!(host.value(&forward), Value::Text("1".into()));
        assert!(executor.troubles().is_empty());

        let theirs = Value::Route(route("192.168.32.9"));
        host.set(place.clone(), theirs.clone());
        executor.reassert(true).await;
        assert_eq!(host.value(&place), theirs, "left alone");
        let told = executor
            .held()
            .into_iter()
            .find(|held| held.resource.starts_with("route"))
            .unwrap();
        assert!(
            told.trouble
                .is_some_and(|words| words.contains("192.168.32.9"))
        );

        // It is undone, or in place again: nothing more to report.
        host.set(place.clone(), ours);
        executor.reassert(true).await;
        assert!(executor.troubles().is_empty());
    }

    /// A hook adds the virtual host's own address, as scripts of ucarp do. Once it was released
    /// another host has it.
    #[tokio::test]
    async fn an_address_that_was_released_stays_away_whatever_hooks_set() {
        let executor = master(SimHost::new()).await;
        let vhost: crate::types::Name = "web".parse().unwrap();
        let dev: crate::types::IfName = "eth0".parse().unwrap();
        let (host_address, with_prefix) = ("192.0.2.22/32", "192.0.2.22/24");
        let place = Resource::Address {
            dev: dev.clone(),
            ip: "192.0.2.22".parse().unwrap(),
        };
        let own = host_address.parse().unwrap();
        executor.claim_address(&vhost, &dev, own);
        executor.host().set(place.clone(), Value::Address(own));
        let owner = Owner {
            vhost: vhost.clone(),
            hook: Some("h".parse().unwrap()),
        };
        let behalf = Behalf {
            owner: &owner,
            grants: &Grants::default(),
            own: Own {
                dev: &dev,
                addresses: &[with_prefix.parse().unwrap()],
            },
            scoped: true,
            left: LIMIT,
        };
        let add = Effect::AddressAdd {
            address: with_prefix.parse().unwrap(),
            dev: dev.clone(),
        };
        executor.ask(&behalf, add, false).await.unwrap();
        assert_eq!(executor.drop_addresses(&vhost), 0);
        executor.reassert(true).await;
        assert_eq!(executor.host().value(&place), Value::Absent);
        // The route of the hook is still held.
        assert!(!executor.held().is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_put_back_is_told_and_tried_again() {
        let executor = master(SimHost::new()).await;
        let place = Resource::route(&route("192.168.32.254"));
        executor.host().set(place.clone(), Value::Absent);
        executor.host().fail_next("Nexthop has invalid gateway");
        executor.reassert(true).await;
        assert!(
            executor
                .troubles()
                .get(&place)
                .is_some_and(|words| words.contains("cannot be restored: Nexthop"))
        );
        executor.reassert(true).await;
        assert!(executor.troubles().is_empty() && executor.host().value(&place) != Value::Absent);
    }

    #[tokio::test]
    async fn what_takes_longer_to_look_at_is_told_and_looked_at_more_seldom() {
        let executor = Executor::new(SimHost::new(), Ledger::new(), Recovery::default());
        let owner = Owner {
            vhost: "web".parse().unwrap(),
            hook: Some("h".parse().unwrap()),
        };
        let grants: Grants = toml::from_str(
            "service = [{ unit = \"httpd\", do = [\"start\"] }]\nfile = [{ path = \"/run/flag\", do = [\"write\"] }]",
        )
        .unwrap();
        let dev = "eth0".parse().unwrap();
        let behalf = Behalf {
            owner: &owner,
            grants: &grants,
            own: Own {
                dev: &dev,
                addresses: &[],
            },
            scoped: true,
            left: LIMIT,
        };
        let start = Effect::Service {
            unit: "httpd".into(),
            verb: crate::effect::ServiceVerb::Start,
        };
        executor.ask(&behalf, start, false).await.unwrap();
        executor
            .ask(
                &behalf,
                Effect::FileWrite {
                    path: "/run/flag".into(),
                    content: b"mine".to_vec(),
                },
                false,
            )
            .await
            .unwrap();
        executor.reassert(true).await;
        assert!(executor.troubles().is_empty(), "{:?}", executor.troubles());
        let (service, file) = (
            Resource::Service {
                unit: "httpd".into(),
            },
            Resource::File {
                path: "/run/flag".into(),
            },
        );
        executor.host().set(service.clone(), Value::Running(false));
        executor
            .host()
            .set(file.clone(), Value::File(b"theirs".to_vec()));
        executor.reassert(false).await;
        assert!(executor.troubles().is_empty(), "not now");
        executor.reassert(true).await;
        assert_eq!(
            executor.troubles().keys().collect::<BTreeSet<_>>(),
            [&service, &file].into()
        );
        executor.reassert(false).await;
        assert_eq!(executor.troubles().len(), 2, "it is still so");
        assert_eq!(
            executor.host().value(&service),
            Value::Running(false),
            "left alone"
        );
        executor.host().set(service, Value::Running(true));
        executor.host().set(file, Value::File(b"mine".to_vec()));
        executor.reassert(true).await;
        assert!(executor.troubles().is_empty());
    }
}
