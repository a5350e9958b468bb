//! One suite for every host: what an effect promises, whoever performs it.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use carpd::effect::{
    ArpMode, CommandGrant, Effect, Granted, Grants, Link, Nature, Outcome, Own, Query, Reply,
    Resource, Route, RouteTarget, Rule, ServiceVerb, UnitState, Value,
};
use carpd::host::children::helper::Duty;
use carpd::host::services::manager::ServiceBackend;
use carpd::host::{Host, HostError, LinuxHost, Options, RecordingHost, SimHost, holds};
use carpd::types::VirtualAddress;

use super::helper;
use super::namespace::{block_on, dev, init_script, isolated};
use super::veth::veth_pair;

const LIMIT: Duration = Duration::from_secs(10);

async fn perform(host: &impl Host, effect: Effect) -> Result<Reply, HostError> {
    host.perform(&Granted::by_daemon(effect), LIMIT).await
}

/// Setting it changes it, once; what was there before can be put back, once.
async fn is_an_assignment(host: &impl Host, effect: Effect) {
    let (resource, value) = effect.assigns().unwrap();
    let before = host.observe(&resource, LIMIT).await.unwrap();
    assert_ne!(before, value, "{resource}: nothing to test");
    let undo = resource.set_to(&before).unwrap();
    for (effect, value) in [(effect, value), (undo, before)] {
        // Whoever only records says that it is planned.
        let done = perform(host, effect.clone()).await;
        assert!(
            matches!(
                done,
                Ok(Reply::Outcome(Outcome::Changed | Outcome::Planned))
            ),
            "{effect}: {done:?}"
        );
        let there = host.observe(&resource, LIMIT).await.unwrap();
        assert!(holds(&there, &value), "after {effect}: {there:?}");
        assert_eq!(
            perform(host, effect.clone()).await,
            Ok(Reply::Outcome(Outcome::Unchanged)),
            "{effect} again"
        );
    }
}

fn route(dst: &str, via: Option<&str>, table: Option<u32>) -> Route {
    let via = via.map(|ip| ip.parse().unwrap());
    Route {
        dst: dst.parse().unwrap(),
        via,
        dev: Some(dev("v0")),
        src: None,
        metric: None,
        table,
    }
}

async fn every_assignment(host: &impl Host, file: &Path) {
    let address = |text: &str| -> VirtualAddress { text.parse().unwrap() };
    let add = |text: &str| Effect::AddressAdd {
        address: address(text),
        dev: dev("v0"),
    };
    for text in [
        "192.168.32.22/24",
        "192.168.32.22/32",
        "2001:db8::22/64",
        "2001:db8::22/128",
    ] {
        is_an_assignment(host, add(text)).await;
    }
    // The node's own addresses, from here on; then another prefix, and back to this one.
    perform(host, add("192.168.32.32/24")).await.unwrap();
    perform(host, add("2001:db8::32/64")).await.unwrap();
    is_an_assignment(host, add("192.168.32.32/32")).await;
    is_an_assignment(host, add("2001:db8::32/128")).await;

    is_an_assignment(
        host,
        Effect::RouteReplace(route("default", Some("192.168.32.254"), None)),
    )
    .await;
    perform(
        host,
        Effect::RouteReplace(route("default", Some("192.168.32.253"), None)),
    )
    .await
    .unwrap();
    is_an_assignment(
        host,
        Effect::RouteReplace(route("default", Some("192.168.32.254"), None)),
    )
    .await;
    is_an_assignment(
        host,
        Effect::RouteReplace(route("10.9.0.0/16", None, Some(4000))),
    )
    .await;
    is_an_assignment(
        host,
        Effect::RouteReplace(Route {
            metric: Some(7),
            ..route("::/0", Some("2001:db8::1"), None)
        }),
    )
    .await;
    is_an_assignment(
        host,
        Effect::RouteReplace(route("2001:db8:9::/48", Some("2001:db8::1"), None)),
    )
    .await;
    let rule = |from: &str| Rule {
        from: Some(from.parse().unwrap()),
        to: None,
        iif: Some(dev("v0")),
        fwmark: Some(9),
        table: 4000,
        priority: 1000,
    };
    is_an_assignment(host, Effect::RuleReplace(rule("192.168.32.22"))).await;
    is_an_assignment(host, Effect::RuleReplace(rule("2001:db8::/32"))).await;

    is_an_assignment(
        host,
        Effect::LinkSetArp {
            dev: dev("v0"),
            arp: ArpMode {
                ignore: 1,
                announce: 2,
            },
        },
    )
    .await;
    is_an_assignment(
        host,
        Effect::LinkSetMac {
            dev: dev("v1"),
            mac: "02:00:00:00:00:77".parse().unwrap(),
        },
    )
    .await;
    is_an_assignment(
        host,
        Effect::LinkSetUp {
            dev: dev("v1"),
            up: false,
        },
    )
    .await;
    is_an_assignment(
        host,
        Effect::HostnameSet {
            name: "nodevir2".into(),
        },
    )
    .await;
    is_an_assignment(
        host,
        Effect::SysctlSet {
            key: "net.ipv4.ip_forward".into(),
            value: "1".into(),
        },
    )
    .await;
    is_an_assignment(
        host,
        Effect::Service {
            unit: "httpd".into(),
            verb: ServiceVerb::Start,
        },
    )
    .await;
    let path = file.to_str().unwrap().to_owned();
    is_an_assignment(
        host,
        Effect::FileWrite {
            path: path.clone(),
            content: b"master\n".to_vec(),
        },
    )
    .await;
    fs::write(file, "mine").unwrap();
}

/// Of each address that is up it can be told whether carpd put it there.
async fn whose_addresses(host: &impl Host) {
    let (v0, address) = (dev("v0"), "192.168.32.77/24".parse().unwrap());
    let found = || {
        let there = host.addresses_on(&v0).unwrap();
        there.into_iter().find(|found| found.address == address)
    };
    assert_eq!(found(), None);
    perform(
        host,
        Effect::AddressAdd {
            address,
            dev: v0.clone(),
        },
    )
    .await
    .unwrap();
    assert!(found().is_some_and(|found| found.ours), "{:?}", found());
    perform(
        host,
        Effect::AddressDelete {
            address,
            dev: v0.clone(),
        },
    )
    .await
    .unwrap();
    assert_eq!(found(), None);
    assert_eq!(
        host.addresses_on(&dev("nowhere")),
        Ok(Vec::new()),
        "it has gone with its device"
    );
}

async fn every_query(host: &impl Host) {
    let Ok(Reply::Links(links)) = host.answer(&Query::Links, LIMIT).await else {
        panic!("links")
    };
    assert!(
        links
            .iter()
            .any(|link| link.name == dev("v0") && link.up && link.carrier),
        "{links:?}"
    );
    let Ok(Reply::Addresses(found)) = host
        .answer(
            &Query::Addresses {
                dev: Some(dev("v0")),
            },
            LIMIT,
        )
        .await
    else {
        panic!("addresses")
    };
    assert!(
        found.contains(&(dev("v0"), "192.168.32.32/24".parse().unwrap())),
        "{found:?}"
    );
    let Ok(Reply::Routes(routes)) = host.answer(&Query::Routes { table: None }, LIMIT).await else {
        panic!("routes")
    };
    assert!(
        routes.contains(&route("default", Some("192.168.32.253"), None)),
        "{routes:?}"
    );
    let status = host
        .answer(
            &Query::ServiceStatus {
                unit: "httpd.service".into(),
            },
            LIMIT,
        )
        .await;
    assert_eq!(status, Ok(Reply::Unit(UnitState::Inactive)));
    assert!(
        host.answer(&Query::CarpState, LIMIT).await.is_err(),
        "no host knows the protocol"
    );
}

/// A host in memory with the two devices that the contract is about.
fn two_links() -> SimHost {
    let link = |name: &str, index| Link {
        name: dev(name),
        altnames: Vec::new(),
        index,
        up: true,
        carrier: true,
        mac: "02:00:00:00:00:01".parse().unwrap(),
        mtu: 1500,
        nature: Nature::default(),
    };
    SimHost::new()
        .with_link(link("v0", 2))
        .with_link(link("v1", 3))
}

#[test]
fn the_fake_host_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let host = two_links();
    host.name_all_links();
    host.lacks_unit("nginx");
    block_on(async {
        every_assignment(&host, &directory.path().join("x")).await;
        whose_addresses(&host).await;
        every_query(&host).await;
        every_refusal(&host).await;
    });
    assert!(host.performed().len() > 50);
    let failing = SimHost::new().failing_nth(2, "the disk is on fire");
    block_on(async {
        assert!(
            perform(&failing, Effect::HostnameSet { name: "a".into() })
                .await
                .is_ok()
        );
        let err = perform(&failing, Effect::HostnameSet { name: "b".into() })
            .await
            .unwrap_err();
        assert_eq!(err.message, "the disk is on fire");
        assert_eq!(
            failing.value(&Resource::Hostname),
            Value::Text("a".into()),
            "a failed effect changes nothing"
        );
    });
}

#[test]
fn the_recording_host_keeps_the_contract_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let facts = two_links();
    let host = RecordingHost::new(&facts);
    block_on(async {
        every_assignment(&host, &directory.path().join("x")).await;
        whose_addresses(&host).await;
        every_query(&host).await;
    });
    assert_eq!(facts.performed(), []);
    // Somebody else's route of the same place is in the way, as for the kernel.
    facts.set(
        Resource::route(&route("10.7.0.0/16", Some("192.168.32.1"), None)),
        Value::Route(route("10.7.0.0/16", Some("192.168.32.1"), None)),
    );
    let in_the_way = Effect::RouteAdd(route("10.7.0.0/16", None, None));
    let refused = host.perform_now(&Granted::by_daemon(in_the_way));
    assert_eq!(
        refused.map_err(|error| error.errno),
        Err(Some(libc::EEXIST))
    );
    let recorded = host.take();
    assert!(recorded.len() > 50 && host.take().is_empty());
    let change = recorded
        .iter()
        .find_map(|r| {
            r.change
                .as_ref()
                .filter(|c| c.resource == Resource::Hostname)
        })
        .unwrap();
    assert_eq!(
        (
            change.before.to_string().as_str(),
            change.after.to_string().as_str()
        ),
        ("fake", "nodevir2")
    );
}

#[test]
fn linux_keeps_the_contract() {
    isolated("host::tests::contract::linux_keeps_the_contract", || {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("running");
        let script = format!(
            "#!/bin/sh\ncase $1 in start) touch {0};; stop) rm {0};; status) test -e {0} || exit 3;; *) exit 2;; esac\n",
            state.display()
        );
        init_script(directory.path(), "httpd", &script);
        veth_pair();
        let (socket, mut child) = helper();
        block_on(async {
            let host = LinuxHost::new(Options {
                services: Some(ServiceBackend::SysV),
                ..Options::default()
            })
            .unwrap();
            host.set_helper(socket, Duty::Commands).unwrap();
            let file = directory.path().join("x");
            every_assignment(&host, &file).await;
            whose_addresses(&host).await;
            every_query(&host).await;
            every_refusal(&host).await;
            commands(&host).await;
            let read = host
                .answer(
                    &Query::FileRead {
                        path: file.to_str().unwrap().into(),
                    },
                    LIMIT,
                )
                .await;
            assert_eq!(read, Ok(Reply::File(Some(b"mine".to_vec()))));
        });
        assert!(
            child.wait().unwrap().success(),
            "the helper ends in good order with its socket"
        );
    });
}

#[test]
fn a_recording_host_over_linux_keeps_the_contract_and_changes_nothing() {
    isolated(
        "host::tests::contract::a_recording_host_over_linux_keeps_the_contract_and_changes_nothing",
        || {
            let directory = tempfile::tempdir().unwrap();
            let touched = directory.path().join("touched");
            let script = format!(
                "#!/bin/sh\n[ $1 = status ] && exit 3\ntouch {}\n",
                touched.display()
            );
            init_script(directory.path(), "httpd", &script);
            veth_pair();
            let (socket, mut child) = helper();
            block_on(async {
                let linux = LinuxHost::new(Options {
                    services: Some(ServiceBackend::SysV),
                    ..Options::default()
                })
                .unwrap();
                linux.set_helper(socket, Duty::Commands).unwrap();
                let before = facts(&linux).await;
                let host = RecordingHost::new(&linux);
                let file = directory.path().join("x");
                every_assignment(&host, &file).await;
                whose_addresses(&host).await;
                every_query(&host).await;
                let err = perform(
                    &host,
                    Effect::AddressAdd {
                        address: "10.0.0.1/24".parse().unwrap(),
                        dev: dev("nowhere"),
                    },
                )
                .await;
                assert_eq!(
                    err.unwrap_err().errno,
                    Some(libc::ENODEV),
                    "what can be known beforehand fails in a plan too"
                );
                assert_eq!(facts(&linux).await, before);
                assert!(!touched.exists(), "no service was touched");
            });
            assert!(child.wait().unwrap().success());
        },
    );
}

/// What the contract changes on a real host.
async fn facts(host: &LinuxHost) -> Vec<Reply> {
    let mut all = Vec::new();
    for query in [
        Query::Hostname,
        Query::Links,
        Query::Addresses { dev: None },
        Query::Routes { table: None },
        Query::Routes { table: Some(4000) },
        Query::Sysctl {
            key: "net.ipv4.ip_forward".into(),
        },
    ] {
        all.push(match host.answer(&query, LIMIT).await.unwrap() {
            // The kernel gives a device its link-local address and the route to it in its own time,
            // and says when it runs.
            Reply::Addresses(there) => {
                Reply::Addresses(there.into_iter().filter(|(_, address)| !is_link_local(address.ip)).collect())
            }
            Reply::Routes(there) => {
                let own = |route: &Route| matches!(route.dst, RouteTarget::Network { ip, .. } if is_link_local(ip));
                Reply::Routes(there.into_iter().filter(|route| !own(route)).collect())
            }
            Reply::Links(links) => Reply::Links(links.into_iter().map(|link| Link { carrier: true, ..link }).collect()),
            reply => reply,
        });
    }
    all
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Errors say what was wanted and what the kernel said.
async fn every_refusal(host: &impl Host) {
    let address = "10.0.0.1/24".parse().unwrap();
    let err = perform(
        host,
        Effect::AddressAdd {
            address,
            dev: dev("nowhere"),
        },
    )
    .await
    .unwrap_err();
    assert_eq!(
        (err.message.as_str(), err.errno),
        ("there is no interface nowhere", Some(libc::ENODEV))
    );
    let gone = perform(
        host,
        Effect::AddressDelete {
            address,
            dev: dev("nowhere"),
        },
    )
    .await;
    assert_eq!(
        gone,
        Ok(Reply::Outcome(Outcome::Unchanged)),
        "with its interface the address is gone as well"
    );
    let err = perform(
        host,
        Effect::RouteReplace(route("10.7.0.0/16", Some("172.16.0.1"), None)),
    )
    .await
    .unwrap_err();
    assert!(
        err.message
            .starts_with("setting the route 10.7.0.0/16 via 172.16.0.1 dev v0: "),
        "{err}"
    );
    assert!(
        err.message.contains("Nexthop has invalid gateway"),
        "the extended words: {err}"
    );
    assert_eq!(err.errno, Some(libc::ENETUNREACH));
    let err = perform(
        host,
        Effect::Service {
            unit: "nginx".into(),
            verb: ServiceVerb::Start,
        },
    )
    .await
    .unwrap_err();
    assert!(err.message.contains("nginx"), "{err}");
    let up = Effect::LinkSetUp {
        dev: dev("nowhere"),
        up: true,
    };
    assert_eq!(
        perform(host, up).await.unwrap_err().errno,
        Some(libc::ENODEV)
    );
    let err = perform(
        host,
        Effect::Demote {
            by: 1,
            reason: String::new(),
        },
    )
    .await
    .unwrap_err();
    assert_eq!(err.errno, Some(libc::EINVAL));
    assert!(
        host.perform_now(&Granted::by_daemon(Effect::HostnameSet {
            name: "x".into()
        }))
        .is_err(),
        "not at once"
    );
}

async fn commands(host: &LinuxHost) {
    let argv = ["/bin/echo", "-n", "{who:word}"]
        .map(str::to_owned)
        .to_vec();
    let grants = Grants {
        command: [("greet".to_owned(), CommandGrant { argv, query: false })].into(),
        ..Grants::default()
    };
    let effect = Effect::CommandRun {
        name: "greet".into(),
        args: [("who".to_owned(), "world".to_owned())].into(),
    };
    let v0 = dev("v0");
    let granted = grants
        .permit(
            effect,
            Own {
                dev: &v0,
                addresses: &[],
            },
        )
        .unwrap();
    let Ok(Reply::Command(output)) = host.perform(&granted, LIMIT).await else {
        panic!("command")
    };
    assert_eq!(
        (output.status, output.stdout.as_slice()),
        (0, b"world".as_slice())
    );
}
