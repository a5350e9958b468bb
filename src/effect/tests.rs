use std::collections::BTreeMap;

use super::*;

fn own(dev: &IfName) -> Own<'_> {
    Own { dev, addresses: &[] }
}

#[test]
fn default_grants_permit_nothing_that_changes_the_host() {
    let dev: IfName = "eth0".parse().unwrap();
    let denied = Grants::default().permit(Effect::HostnameSet { name: "x".into() }, own(&dev)).unwrap_err();
    assert_eq!(denied.line, "hostname = [\"x\"]");
}

#[test]
fn own_addresses_need_no_grant_but_only_on_the_own_interface() {
    let dev: IfName = "eth0".parse().unwrap();
    let other: IfName = "eth1".parse().unwrap();
    let address: VirtualAddress = "192.168.32.22/24".parse().unwrap();
    let own = Own { dev: &dev, addresses: &[address] };
    let add = |dev: &IfName| Effect::AddressAdd { address, dev: dev.clone() };
    assert!(Grants::default().permit(add(&dev), own).is_ok());
    assert!(Grants::default().permit(add(&other), own).is_err());
}

#[test]
fn command_holes_take_only_their_type() {
    let grant = CommandGrant { argv: vec!["/sbin/drbdadm".into(), "primary".into(), "{resource:word}".into()] };
    let fill = |v: &str| grant.fill(&BTreeMap::from([("resource".to_owned(), v.to_owned())]));
    assert_eq!(fill("r0").unwrap(), ["/sbin/drbdadm", "primary", "r0"]);
    for bad in ["", "--force", "a b", "a;b", "$(x)"] {
        assert!(fill(bad).is_err(), "{bad:?} must not pass");
    }
    assert!(grant.fill(&BTreeMap::new()).is_err());
}

#[test]
fn every_assignment_can_be_set_back() {
    let dev: IfName = "eth0".parse().unwrap();
    let effects = [
        Effect::AddressAdd { address: "10.0.0.1/24".parse().unwrap(), dev: dev.clone() },
        Effect::HostnameSet { name: "a".into() },
        Effect::Service { unit: "httpd".into(), verb: ServiceVerb::Start },
        Effect::LinkSetUp { dev, up: true },
        Effect::FileWrite { path: "/tmp/x".into(), content: vec![1] },
    ];
    for effect in effects {
        let (resource, value) = effect.assigns().unwrap();
        assert_eq!(resource.set_to(&value), Some(effect));
    }
}

#[test]
fn ipv6_default_routes_are_one_resource_however_written() {
    let route = |dst: &str| Route {
        dst: dst.parse().unwrap(),
        via: Some("fe80::1".parse().unwrap()),
        dev: None,
        src: None,
        metric: None,
        table: None,
    };
    assert_eq!(Resource::route(&route("default")), Resource::route(&route("::/0")));
}
