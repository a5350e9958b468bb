//! Routes of others: put back as they were, with all that `ip route` shows of them, and never replaced where that was not
//! asked for.

use std::process::Command;
use std::time::Duration;

use carpd::effect::{Effect, Granted, Outcome, Reply, Resource, Route, Value};
use carpd::host::{Host, HostError, LinuxHost, Options};

use super::namespace::{block_on, dev, isolated, veth_pair};

const LIMIT: Duration = Duration::from_secs(10);

fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split_whitespace()).output().expect("ip, of iproute2, runs");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What `ip route` shows of a destination, with everything; without the seconds that pass.
fn shown(dst: &str) -> String {
    let family = if dst.contains(':') { "-6" } else { "-4" };
    let lines = ip(&format!("{family} -d route show table main exact {dst}"));
    let mut words: Vec<&str> = lines.split_whitespace().collect();
    if let Some(at) = words.iter().position(|word| *word == "expires") {
        assert!(words[at + 1].ends_with("sec"), "{lines}");
        words.remove(at + 1);
    }
    words.join(" ")
}

fn host() -> LinuxHost {
    veth_pair();
    for words in [
        "address add 192.168.32.32/24 dev v0",
        "address add 192.168.32.33/24 dev v0",
        "-6 address add 2001:db8::32/64 dev v0 nodad",
    ] {
        ip(words);
    }
    LinuxHost::new(Options::default()).unwrap()
}

fn route(words: &str) -> Route {
    let mut words = words.split_whitespace();
    let mut route =
        Route { dst: words.next().unwrap().parse().unwrap(), via: None, dev: None, src: None, metric: None, table: None };
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        match key {
            "via" => route.via = Some(value.parse().unwrap()),
            "dev" => route.dev = Some(dev(value)),
            "metric" => route.metric = Some(value.parse().unwrap()),
            other => panic!("{other}"),
        }
    }
    route
}

async fn perform(host: &LinuxHost, effect: Effect) -> Result<Reply, HostError> {
    host.perform(&Granted::by_daemon(effect), LIMIT).await
}

const CHANGED: Result<Reply, HostError> = Ok(Reply::Outcome(Outcome::Changed));
const UNCHANGED: Result<Reply, HostError> = Ok(Reply::Outcome(Outcome::Unchanged));

#[test]
fn a_route_is_put_back_with_all_that_it_was() {
    isolated("host::routes::a_route_is_put_back_with_all_that_it_was", || {
        let host = host();
        // How it was, and what a hook makes of it.
        let cases = [
            (
                "default via 192.168.32.254 dev v0 proto static src 192.168.32.33 metric 100 mtu 1400 advmss 1300",
                "default via 192.168.32.253 metric 100",
            ),
            ("default via 192.168.32.254 dev v0 proto dhcp", "default via 192.168.32.253"),
            ("10.9.0.0/16 via 10.200.0.1 dev v0 proto bird onlink", "10.9.0.0/16 via 192.168.32.254"),
            ("10.8.0.0/16 dev v0 proto kernel scope link src 192.168.32.33", "10.8.0.0/16 via 192.168.32.254"),
            (
                "10.7.0.0/16 proto static nexthop via 192.168.32.1 dev v0 weight 2 nexthop via 192.168.32.2 dev v0 weight 1 onlink",
                "10.7.0.0/16 via 192.168.32.254",
            ),
            (
                "2001:db8:9::/48 via fe80::1 dev v0 proto ra metric 100 mtu 1400 pref high",
                "2001:db8:9::/48 via 2001:db8::1 metric 100",
            ),
            ("2001:db8:8::/48 via 2001:db8::2 dev v0 proto ra metric 1024 expires 1000", "2001:db8:8::/48 via 2001:db8::1"),
            (
                "2001:db8:7::/48 proto static metric 1024 nexthop via 2001:db8::2 dev v0 weight 1 nexthop via 2001:db8::3 dev v0 weight 1",
                "2001:db8:7::/48 via 2001:db8::1",
            ),
        ];
        for (was, wanted) in cases {
            let dst = was.split_whitespace().next().unwrap();
            let family = if was.contains(':') { "-6" } else { "-4" };
            ip(&format!("{family} route add {was}"));
            let before = shown(dst);
            block_on(async {
                let wanted = route(wanted);
                let resource = Resource::route(&wanted);
                let found = host.observe(&resource, LIMIT).await.unwrap();
                assert!(matches!(found, Value::FoundRoute(_)), "{was}: {found:?}");
                let undo = resource.set_to(&found).unwrap();
                assert_eq!(perform(&host, undo.clone()).await, UNCHANGED, "{was}: it is there");
                assert_eq!(perform(&host, Effect::RouteReplace(wanted.clone())).await, CHANGED, "{was}");
                let ours = host.observe(&resource, LIMIT).await.unwrap();
                assert!(Value::Route(wanted).looks_like(&ours) && !found.looks_like(&ours), "{was}: {ours:?}");
                assert_ne!(shown(dst), before);
                assert_eq!(perform(&host, undo.clone()).await, CHANGED, "{was}");
                assert_eq!(shown(dst), before);
                assert!(found.looks_like(&host.observe(&resource, LIMIT).await.unwrap()));
                assert_eq!(perform(&host, undo).await, UNCHANGED, "{was}: it is back");
            });
            ip(&format!("{family} route flush exact {dst} table main"));
        }
    });
}

#[test]
fn a_route_by_a_numbered_next_hop_is_put_back_by_its_number() {
    isolated("host::routes::a_route_by_a_numbered_next_hop_is_put_back_by_its_number", || {
        let host = host();
        ip("nexthop add id 7 via 192.168.32.254 dev v0");
        ip("route add 10.6.0.0/16 nhid 7 proto static");
        let before = shown("10.6.0.0/16");
        assert!(before.contains("nhid 7"), "{before}");
        block_on(async {
            let wanted = route("10.6.0.0/16 via 192.168.32.253");
            let resource = Resource::route(&wanted);
            let found = host.observe(&resource, LIMIT).await.unwrap();
            assert_eq!(perform(&host, Effect::RouteReplace(wanted)).await, CHANGED);
            assert_eq!(perform(&host, resource.set_to(&found).unwrap()).await, CHANGED);
        });
        assert_eq!(shown("10.6.0.0/16"), before);
    });
}

#[test]
fn a_route_goes_back_to_a_device_that_was_made_anew() {
    isolated("host::routes::a_route_goes_back_to_a_device_that_was_made_anew", || {
        let host = host();
        ip("link add d0 type veth peer name d1");
        ip("link set d1 up");
        ip("link set d0 up");
        ip("route add 10.5.0.0/16 dev d0 proto static scope link");
        let before = shown("10.5.0.0/16");
        block_on(async {
            let wanted = route("10.5.0.0/16 via 192.168.32.254");
            let resource = Resource::route(&wanted);
            let found = host.observe(&resource, LIMIT).await.unwrap();
            assert_eq!(perform(&host, Effect::RouteReplace(wanted)).await, CHANGED);
            let undo = resource.set_to(&found).unwrap();
            ip("link delete d0");
            let gone = perform(&host, undo.clone()).await.unwrap_err();
            assert_eq!((gone.message.as_str(), gone.errno), ("there is no interface d0", Some(libc::ENODEV)));
            ip("link add other type veth peer name another");
            ip("link add d0 type veth peer name d1");
            ip("link set d1 up");
            ip("link set d0 up");
            assert_eq!(perform(&host, undo).await, CHANGED);
        });
        assert_eq!(shown("10.5.0.0/16"), before);
    });
}

#[test]
fn a_route_is_added_only_where_there_is_none() {
    isolated("host::routes::a_route_is_added_only_where_there_is_none", || {
        let host = host();
        block_on(async {
            let ours = route("10.4.0.0/16 dev v0");
            let add = Effect::RouteAdd(ours.clone());
            assert_eq!(perform(&host, add.clone()).await, CHANGED);
            assert_eq!(perform(&host, add.clone()).await, UNCHANGED, "it is ours");
            assert_eq!(perform(&host, Effect::RouteDelete(ours)).await, CHANGED);
            // The same words by another hand, and another way.
            for theirs in ["10.4.0.0/16 dev v0 proto static scope link", "10.4.0.0/16 via 192.168.32.254"] {
                ip(&format!("route add {theirs}"));
                let before = shown("10.4.0.0/16");
                let refused = perform(&host, add.clone()).await.unwrap_err();
                assert_eq!(refused.errno, Some(libc::EEXIST), "{refused}");
                assert!(refused.message.starts_with("adding the route 10.4.0.0/16 dev v0: "), "{refused}");
                assert_eq!(shown("10.4.0.0/16"), before);
                ip("route delete 10.4.0.0/16");
            }
        });
    });
}
