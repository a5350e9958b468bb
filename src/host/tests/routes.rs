//! Routes of others: put back as they were, with all that `ip route` shows of them, and never
//! replaced where that was not asked for.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use carpd::effect::{Effect, Granted, Outcome, Query, Reply, Resource, Route, Value};
use carpd::host::{Host, HostError, LinuxHost, Options};
use futures_util::FutureExt as _;

use super::namespace::{block_on, dev, isolated};
use super::veth::veth_pair;

const LIMIT: Duration = Duration::from_secs(10);

fn ip(words: &str) -> String {
    let output = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .expect("ip, of iproute2, runs");
    assert!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
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
    let mut route = Route {
        dst: words.next().unwrap().parse().unwrap(),
        via: None,
        dev: None,
        src: None,
        metric: None,
        table: None,
    };
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
    isolated(
        "host::tests::routes::a_route_is_put_back_with_all_that_it_was",
        || {
            let host = host();
            // How it was, and what a hook makes of it.
            let cases = [
                (
                    "default via 192.168.32.254 dev v0 proto static src 192.168.32.33 metric 100 mtu 1400 advmss 1300",
                    "default via 192.168.32.253 metric 100",
                ),
                (
                    "default via 192.168.32.254 dev v0 proto dhcp",
                    "default via 192.168.32.253",
                ),
                (
                    "10.9.0.0/16 via 10.200.0.1 dev v0 proto bird onlink",
                    "10.9.0.0/16 via 192.168.32.254",
                ),
                (
                    "10.8.0.0/16 dev v0 proto kernel scope link src 192.168.32.33",
                    "10.8.0.0/16 via 192.168.32.254",
                ),
                (
                    "10.7.0.0/16 proto static nexthop via 192.168.32.1 dev v0 weight 2 nexthop via 192.168.32.2 dev v0 weight 1 onlink",
                    "10.7.0.0/16 via 192.168.32.254",
                ),
                (
                    "2001:db8:9::/48 via fe80::1 dev v0 proto ra metric 100 mtu 1400 pref high",
                    "2001:db8:9::/48 via 2001:db8::1 metric 100",
                ),
                (
                    "2001:db8:8::/48 via 2001:db8::2 dev v0 proto ra metric 1024 expires 1000",
                    "2001:db8:8::/48 via 2001:db8::1",
                ),
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
                    assert_eq!(
                        perform(&host, undo.clone()).await,
                        UNCHANGED,
                        "{was}: it is there"
                    );
                    assert_eq!(
                        perform(&host, Effect::RouteReplace(wanted.clone())).await,
                        CHANGED,
                        "{was}"
                    );
                    let ours = host.observe(&resource, LIMIT).await.unwrap();
                    assert!(
                        Value::Route(wanted).looks_like(&ours) && !found.looks_like(&ours),
                        "{was}: {ours:?}"
                    );
                    assert_ne!(shown(dst), before);
                    assert_eq!(perform(&host, undo.clone()).await, CHANGED, "{was}");
                    assert_eq!(shown(dst), before);
                    assert!(found.looks_like(&host.observe(&resource, LIMIT).await.unwrap()));
                    assert_eq!(perform(&host, undo).await, UNCHANGED, "{was}: it is back");
                });
                ip(&format!("{family} route flush exact {dst} table main"));
            }
        },
    );
}

#[test]
fn a_route_by_a_numbered_next_hop_is_put_back_by_its_number() {
    isolated(
        "host::tests::routes::a_route_by_a_numbered_next_hop_is_put_back_by_its_number",
        || {
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
                assert_eq!(
                    perform(&host, resource.set_to(&found).unwrap()).await,
                    CHANGED
                );
            });
            assert_eq!(shown("10.6.0.0/16"), before);
        },
    );
}

#[test]
fn a_route_goes_back_to_a_device_that_was_made_anew() {
    isolated(
        "host::tests::routes::a_route_goes_back_to_a_device_that_was_made_anew",
        || {
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
                assert_eq!(
                    (gone.message.as_str(), gone.errno),
                    ("there is no interface d0", Some(libc::ENODEV))
                );
                ip("link add other type veth peer name another");
                ip("link add d0 type veth peer name d1");
                ip("link set d1 up");
                ip("link set d0 up");
                assert_eq!(perform(&host, undo).await, CHANGED);
            });
            assert_eq!(shown("10.5.0.0/16"), before);
        },
    );
}

#[test]
fn a_route_is_added_only_where_there_is_none() {
    isolated(
        "host::tests::routes::a_route_is_added_only_where_there_is_none",
        || {
            let host = host();
            block_on(async {
                let ours = route("10.4.0.0/16 dev v0");
                let add = Effect::RouteAdd(ours.clone());
                assert_eq!(perform(&host, add.clone()).await, CHANGED);
                assert_eq!(perform(&host, add.clone()).await, UNCHANGED, "it is ours");
                assert_eq!(perform(&host, Effect::RouteDelete(ours)).await, CHANGED);
                // The same words by another hand, and another way.
                for theirs in [
                    "10.4.0.0/16 dev v0 proto static scope link",
                    "10.4.0.0/16 via 192.168.32.254",
                ] {
                    ip(&format!("route add {theirs}"));
                    let before = shown("10.4.0.0/16");
                    let refused = perform(&host, add.clone()).await.unwrap_err();
                    assert_eq!(refused.errno, Some(libc::EEXIST), "{refused}");
                    assert!(
                        refused
                            .message
                            .starts_with("adding the route 10.4.0.0/16 dev v0: "),
                        "{refused}"
                    );
                    assert_eq!(shown("10.4.0.0/16"), before);
                    ip("route delete 10.4.0.0/16");
                }
            });
        },
    );
}

/// Many at once, in the words of `ip route add`.
fn add_all(routes: impl Iterator<Item = String>) {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip, of iproute2, runs");
    let text: String = routes.map(|route| format!("route add {route}\n")).collect();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

/// A lookup would answer with the longest match, by the rules and by the best metric. What is found
/// is the very route.
#[test]
fn the_route_at_its_place_is_found_whatever_else_leads_there() {
    isolated(
        "host::tests::routes::the_route_at_its_place_is_found_whatever_else_leads_there",
        || {
            let host = host();
            ip("rule add to 10.9.0.0/16 lookup 4000 priority 10");
            ip("-6 rule add to 2001:db8:9::/48 lookup 4000 priority 10");
            ip("link set lo up");
            let others = [
                // Narrower, wider, of another metric, in another table, for one kind of service,
                // and what is no way at all.
                "10.9.0.0/17 via 192.168.32.1",
                "10.9.0.0/32 via 192.168.32.1",
                "10.8.0.0/15 via 192.168.32.1",
                "10.9.0.0/16 via 192.168.32.1 metric 5",
                "10.9.0.0/16 via 192.168.32.1 table 4000",
                "blackhole 10.9.0.0/16 metric 6",
                "10.9.0.0/16 via 192.168.32.1 tos 0x10",
                "10.0.0.0/8 nexthop via 192.168.32.1 nexthop via 192.168.32.2",
                "default via 192.168.32.1",
            ];
            let others_v6 = [
                "2001:db8:9::/49 via 2001:db8::1",
                "2001:db8:9::/128 via 2001:db8::1",
                "2001:db8::/47 via 2001:db8::1",
                "2001:db8:9::/48 via 2001:db8::1 metric 5",
                "2001:db8:9::/48 via 2001:db8::1 table 4000",
                "2001:db8:9::/48 from 2001:db8:1::/64 via 2001:db8::1",
                "default via 2001:db8::1",
            ];
            for other in others {
                ip(&format!("route add {other}"));
            }
            for other in others_v6 {
                ip(&format!("-6 route add {other}"));
            }
            let cases = [
                (
                    "-4",
                    "10.9.0.0/16 via 192.168.32.3",
                    "via 192.168.32.3 dev v0",
                    false,
                ),
                (
                    "-4",
                    "10.9.0.0/16 via 192.168.32.3 metric 7",
                    "via 192.168.32.3 dev v0 metric 7",
                    false,
                ),
                (
                    "-4",
                    "10.9.0.0/16 via 192.168.32.3 metric 9",
                    "metric 9 nexthop via 192.168.32.3 nexthop via 192.168.32.4",
                    true,
                ),
                (
                    "-6",
                    "2001:db8:9::/48 via 2001:db8::3",
                    "via 2001:db8::3 dev v0",
                    false,
                ),
                (
                    "-6",
                    "2001:db8:9::/48 via 2001:db8::3 metric 7",
                    "metric 7 nexthop via 2001:db8::3 nexthop via 2001:db8::4",
                    true,
                ),
            ];
            block_on(async {
                for (family, wanted, there, multipath) in cases {
                    let wanted = route(wanted);
                    let resource = Resource::route(&wanted);
                    assert_eq!(
                        host.observe(&resource, LIMIT).await,
                        Ok(Value::Absent),
                        "{wanted}"
                    );
                    let (dst, metric) = (
                        wanted.dst,
                        wanted
                            .metric
                            .map(|m| format!(" metric {m}"))
                            .unwrap_or_default(),
                    );
                    ip(&format!("{family} route add {dst} {there}"));
                    let found = host.observe(&resource, LIMIT).await.unwrap();
                    let Value::FoundRoute(found) = found else {
                        panic!("{wanted}: {found:?}")
                    };
                    assert_eq!(
                        (found.route.dst, found.route.metric, found.multipath),
                        (dst, wanted.metric, multipath),
                        "{wanted}"
                    );
                    let again = perform(&host, Effect::RouteReplace(wanted.clone())).await;
                    assert_eq!(
                        again,
                        if multipath { CHANGED } else { UNCHANGED },
                        "{wanted}"
                    );
                    ip(&format!(
                        "{family} route delete {dst} table main{metric} via {}",
                        wanted.via.unwrap()
                    ));
                    assert_eq!(
                        host.observe(&resource, LIMIT).await,
                        Ok(Value::Absent),
                        "{wanted}"
                    );
                }
            });
        },
    );
}

/// Whoever asks waits; the thread does not, so that what has to be sent meanwhile is sent. What
/// cannot wait does not look.
#[test]
fn a_table_is_read_beside_everything_else() {
    isolated(
        "host::tests::routes::a_table_is_read_beside_everything_else",
        || {
            let host = host();
            let taken = route("10.9.0.0/16 via 192.168.32.1");
            ip("route add 10.9.0.0/16 via 192.168.32.2");
            // The one thread beside the loop is busy, so that nothing that is read there comes in
            // time.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(1)
                .build()
                .unwrap();
            runtime.block_on(async {
                let (free, busy) = std::sync::mpsc::channel::<()>();
                drop(tokio::task::spawn_blocking(move || busy.recv()));
                let resource = Resource::route(&taken);
                assert!(host.observe(&resource, LIMIT).now_or_never().is_none());
                let queries = [
                    Query::Routes { table: None },
                    Query::Links,
                    Query::Addresses { dev: None },
                ];
                for query in &queries {
                    assert!(
                        host.answer(query, LIMIT).now_or_never().is_none(),
                        "{query}"
                    );
                }
                assert!(
                    perform(&host, Effect::RouteReplace(taken.clone()))
                        .now_or_never()
                        .is_none()
                );
                assert!(
                    shown("10.9.0.0/16").contains("192.168.32.2"),
                    "who gives up waiting changes nothing"
                );
                drop(free);
                let now = host
                    .perform_now(&Granted::by_daemon(Effect::RouteAdd(taken.clone())))
                    .unwrap_err();
                assert_eq!(now.errno, Some(libc::EEXIST));
                assert!(
                    host.perform_now(&Granted::by_daemon(Effect::RouteReplace(taken.clone())))
                        .is_ok()
                );
                let again = host.perform_now(&Granted::by_daemon(Effect::RouteAdd(taken)));
                assert_eq!(again, UNCHANGED, "it is ours");
                assert!(shown("10.9.0.0/16").contains("192.168.32.1"));
            });
        },
    );
}

#[test]
fn a_table_that_has_too_much_to_tell_is_not_told() {
    isolated(
        "host::tests::routes::a_table_that_has_too_much_to_tell_is_not_told",
        || {
            let host = host();
            let all = |via| move |n: u32| format!("10.{}.{}.0/24 via {via}", n >> 8, n & 255);
            add_all((0..16_500).map(all("192.168.32.1")));
            block_on(async {
                let error = host
                    .answer(&Query::Routes { table: None }, LIMIT)
                    .await
                    .unwrap_err();
                assert_eq!(error.errno, Some(libc::EMSGSIZE));
                assert!(
                    error.message.ends_with("there are more than 16384"),
                    "{error}"
                );
                let there = route("10.7.9.0/24 via 192.168.32.1");
                let found = host.observe(&Resource::route(&there), LIMIT).await.unwrap();
                assert!(Value::Route(there).looks_like(&found), "{found:?}");
                let late = host
                    .observe(&Resource::route(&route("10.7.9.0/24")), Duration::ZERO)
                    .await
                    .unwrap_err();
                assert_eq!(late.errno, Some(libc::ETIMEDOUT), "{late}");
            });
        },
    );
}

/// All IPv4 addresses of `v0` with what the kernel says of each but the lifetimes, and the default
/// route.
fn shown_of_v0() -> String {
    let output = std::process::Command::new("sh")
        .args(["-c", "ip -4 -o address show dev v0 | sed 's/secondary //; s/valid_lft.*//'; ip route show default"])
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn the_first_address_of_a_network_takes_no_other_along() {
    isolated(
        "host::tests::routes::the_first_address_of_a_network_takes_no_other_along",
        || {
            let host = host();
            ip("address add 192.168.32.34/24 dev v0 label v0:x");
            ip("route add default via 192.168.32.254 dev v0 src 192.168.32.33");
            let promotes = "/proc/sys/net/ipv4/conf/v0/promote_secondaries";
            assert_eq!(
                std::fs::read_to_string(promotes).unwrap(),
                "0\n",
                "the harder case"
            );
            let before = shown_of_v0();
            let first: carpd::types::VirtualAddress = "192.168.32.32/24".parse().unwrap();
            block_on(async {
                let v0 = dev("v0");
                assert_eq!(
                    perform(
                        &host,
                        Effect::AddressDelete {
                            address: first,
                            dev: v0.clone()
                        }
                    )
                    .await,
                    CHANGED
                );
                assert_eq!(
                    perform(
                        &host,
                        Effect::AddressDelete {
                            address: first,
                            dev: v0.clone()
                        }
                    )
                    .await,
                    UNCHANGED
                );
                let found = host.addresses_on(&v0).unwrap();
                assert!(
                    found
                        .iter()
                        .all(|found| !found.ours && found.address != first),
                    "{found:?}"
                );
            });
            let without_first: String = before
                .lines()
                .filter(|line| !line.contains("192.168.32.32/"))
                .map(|line| format!("{line}\n"))
                .collect();
            assert_eq!(shown_of_v0(), without_first);
            assert_eq!(
                std::fs::read_to_string(promotes).unwrap(),
                "0\n",
                "as it was"
            );
        },
    );
}
