use std::collections::BTreeMap;

use super::*;

fn own(dev: &IfName) -> Own<'_> {
    Own {
        dev,
        addresses: &[],
    }
}

#[test]
fn default_grants_permit_nothing_that_changes_the_host() {
    let dev: IfName = "eth0".parse().unwrap();
    let denied = Grants::default()
        .permit(Effect::HostnameSet { name: "x".into() }, own(&dev))
        .unwrap_err();
    assert_eq!(denied.line, "hostname = [\"x\"]");
}

#[test]
fn own_addresses_need_no_grant_but_only_on_the_own_interface() {
    let dev: IfName = "eth0".parse().unwrap();
    let other: IfName = "eth1".parse().unwrap();
    let address: VirtualAddress = "192.168.32.22/24".parse().unwrap();
    let own = Own {
        dev: &dev,
        addresses: &[address],
    };
    let add = |dev: &IfName| Effect::AddressAdd {
        address,
        dev: dev.clone(),
    };
    assert!(Grants::default().permit(add(&dev), own).is_ok());
    assert!(Grants::default().permit(add(&other), own).is_err());
}

#[test]
fn command_holes_take_only_their_type() {
    let grant = CommandGrant {
        argv: vec![
            "/sbin/drbdadm".into(),
            "primary".into(),
            "{resource:word}".into(),
        ],
        query: false,
    };
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
        Effect::AddressAdd {
            address: "10.0.0.1/24".parse().unwrap(),
            dev: dev.clone(),
        },
        Effect::HostnameSet { name: "a".into() },
        Effect::Service {
            unit: "httpd".into(),
            verb: ServiceVerb::Start,
        },
        Effect::LinkSetUp { dev, up: true },
        Effect::FileWrite {
            path: "/tmp/x".into(),
            content: vec![1],
        },
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
    assert_eq!(
        Resource::route(&route("default")),
        Resource::route(&route("::/0"))
    );
}

fn granted(toml: &str) -> impl Fn(Effect) -> bool {
    let grants: Grants = toml::from_str(toml).unwrap();
    let dev: IfName = "eth0".parse().unwrap();
    move |effect| grants.permit(effect, own(&dev)).is_ok()
}

#[test]
fn a_prefix_does_not_widen_what_was_granted() {
    let (dev, own_address): (IfName, VirtualAddress) =
        ("eth0".parse().unwrap(), "192.168.32.22/24".parse().unwrap());
    let add = |cidr: &str| Effect::AddressAdd {
        address: cidr.parse().unwrap(),
        dev: "eth0".parse().unwrap(),
    };
    let own = Own {
        dev: &dev,
        addresses: &[own_address],
    };
    // With half of the Internet's prefix an own address would lead half of the Internet to its
    // device.
    for (cidr, may) in [
        ("192.168.32.22/24", true),
        ("192.168.32.22/32", true),
        ("192.168.32.22/1", false),
        ("192.168.32.23/32", false),
    ] {
        assert_eq!(
            Grants::default().permit(add(cidr), own).is_ok(),
            may,
            "{cidr}"
        );
    }
    let one = granted("addr = [{ cidr = \"10.9.9.9\" }]");
    assert!(one(add("10.9.9.9")) && !one(add("10.9.9.9/31")));
    let wider = granted("addr = [{ cidr = \"10.9.9.9/24\" }]");
    assert!(wider(add("10.9.9.9/24")) && !wider(add("10.9.9.9/23")) && !wider(add("10.9.9.8/24")));
    let network = granted("addr = [{ cidr = \"10.9.9.0/24\" }]");
    assert!(
        network(add("10.9.9.8/24")) && network(add("10.9.9.9/32")) && !network(add("10.9.9.9/23"))
    );
    let delete = Effect::AddressDelete {
        address: "10.9.9.9/8".parse().unwrap(),
        dev,
    };
    assert!(one(delete), "it goes whatever its prefix");
}

#[test]
fn what_a_refusal_says_to_grant_grants_it() {
    let dev: IfName = "eth0".parse().unwrap();
    let route = |via: Option<&str>, dev: Option<&str>| {
        let (dst, via, dev) = (
            "default".parse().unwrap(),
            via.map(|v| v.parse().unwrap()),
            dev.map(|d| d.parse().unwrap()),
        );
        Effect::RouteReplace(Route {
            dst,
            via,
            dev,
            src: None,
            metric: None,
            table: None,
        })
    };
    let effects = [
        Effect::AddressAdd {
            address: "10.9.9.9/24".parse().unwrap(),
            dev: dev.clone(),
        },
        Effect::AddressAdd {
            address: "10.9.9.0/31".parse().unwrap(),
            dev: dev.clone(),
        },
        Effect::AddressAdd {
            address: "2001:db8::1/64".parse().unwrap(),
            dev: dev.clone(),
        },
        Effect::Announce {
            address: "10.9.9.9/24".parse().unwrap(),
            dev: dev.clone(),
            count: 1,
            interval_ms: 0,
        },
        route(Some("10.0.0.1"), None),
        route(None, Some("eth1")),
        Effect::Service {
            unit: "httpd@a.service".into(),
            verb: ServiceVerb::Start,
        },
        Effect::FileWrite {
            path: "/etc/a \"b\"".into(),
            content: Vec::new(),
        },
        Effect::SysctlSet {
            key: "net.ipv4.ip_forward".into(),
            value: "1".into(),
        },
    ];
    for effect in effects {
        let denied = Grants::default()
            .permit(effect.clone(), own(&dev))
            .unwrap_err();
        assert!(granted(&denied.line)(effect), "{}", denied.line);
    }
}

#[test]
fn a_gateway_that_was_granted_cannot_be_left_out() {
    let route = |via: Option<&str>, dev: Option<&str>| {
        let (dst, via, dev) = (
            "default".parse().unwrap(),
            via.map(|v| v.parse().unwrap()),
            dev.map(|d| d.parse().unwrap()),
        );
        Route {
            dst,
            via,
            dev,
            src: None,
            metric: None,
            table: None,
        }
    };
    let may = granted("route = [{ dst = \"default\", via = \"10.0.0.1\", dev = \"eth0\" }]");
    assert!(
        may(Effect::RouteReplace(route(Some("10.0.0.1"), None))),
        "the device follows from the gateway"
    );
    assert!(may(Effect::RouteReplace(route(
        Some("10.0.0.1"),
        Some("eth0")
    ))));
    for (via, dev) in [
        (None, None),
        (None, Some("eth0")),
        (Some("10.0.0.2"), None),
        (Some("10.0.0.1"), Some("eth1")),
    ] {
        assert!(
            !may(Effect::RouteReplace(route(via, dev))),
            "{via:?} {dev:?}"
        );
    }
    assert!(
        may(Effect::RouteDelete(route(None, None))),
        "it is only named"
    );
    let by_device = granted("route = [{ dst = \"default\", dev = \"eth0\" }]");
    assert!(
        !by_device(Effect::RouteReplace(route(Some("10.0.0.1"), None))),
        "it might lead elsewhere"
    );
}

#[test]
fn a_service_is_one_resource_however_it_is_called() {
    let resource = |unit: &str| {
        Effect::Service {
            unit: unit.into(),
            verb: ServiceVerb::Start,
        }
        .assigns()
        .unwrap()
        .0
    };
    assert_eq!(resource("httpd"), resource("httpd.service"));
    assert_ne!(resource("httpd"), resource("httpd.socket"));
}

#[test]
fn no_hole_yields_an_option_unless_the_grant_says_so() {
    let takes = |hole: &str, text: &str| {
        Hole::parse(&format!("{{x:{hole}}}"))
            .unwrap()
            .unwrap()
            .1
            .takes(text)
    };
    for text in ["0", "5", "9223372036854775807"] {
        assert!(takes("int", text), "{text}");
    }
    for text in [
        "-1",
        "-9",
        "+5",
        "-0",
        "007",
        "",
        "0x10",
        " 1",
        "1 ",
        "1.0",
        "9223372036854775808",
    ] {
        assert!(!takes("int", text), "{text}");
    }
    assert!(takes("int:-20..19", "-20") && takes("int:-20..19", "19"));
    assert!(
        !takes("int:-20..19", "-21") && !takes("int:-20..19", "20") && !takes("int:-20..19", "-0")
    );
    assert!(
        takes("int:1..65535", "443")
            && !takes("int:1..65535", "0")
            && !takes("int:1..65535", "65536")
    );
    for hole in [
        "{x:int:}",
        "{x:int:5}",
        "{x:int:9..1}",
        "{x:int:a..b}",
        "{x:int:+1..2}",
        "{x:int:1..}",
        "{x:word:1..2}",
    ] {
        assert!(Hole::parse(hole).is_err(), "{hole}");
    }
    for text in ["", "two words", "a\nb", "ä", "it's -x"] {
        assert!(takes("text", text) && !takes("word", text), "{text:?}");
    }
    for text in ["a\0b", "\u{1b}[m", &"x".repeat(4097)] {
        assert!(!takes("text", text), "{text:?}");
    }
    for hole in ["word", "text", "int", "int:0..100", "ip", "cidr", "dev"] {
        for text in [
            "-",
            "-1",
            "-a",
            "--help",
            "-1.2.3.4",
            "-1.2.3.4/8",
            "-::1",
            "-eth0",
        ] {
            assert!(!takes(hole, text), "{hole}: {text}");
        }
    }
}

#[test]
fn a_query_is_what_its_grant_marks_as_one() {
    let grants: Grants = toml::from_str(
        "command.look = { argv = [\"/bin/look\"], query = true }\n\
         command.act = { argv = [\"/bin/act\"] }\n\
         http = [{ url = \"http://192.0.2.7/q\", do = [\"post\", \"delete\"], query = true }, \
                 { url = \"http://192.0.2.7/\", do = [\"post\"] }]",
    )
    .unwrap();
    let run = |name: &str| Effect::CommandRun {
        name: name.to_owned(),
        args: BTreeMap::new(),
    };
    let send = |verb, path: &str| {
        Effect::HttpSend(HttpRequest {
            verb,
            url: format!("http://192.0.2.7{path}").parse().unwrap(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: 1000,
        })
    };
    for (effect, is_query) in [
        (run("look"), true),
        (run("act"), false),
        (run("none"), false),
        (send(HttpVerb::Post, "/q/x"), true),
        (send(HttpVerb::Post, "/other"), false),
        (send(HttpVerb::Delete, "/q/x"), false),
        (
            Effect::Resign {
                reason: String::new(),
            },
            false,
        ),
    ] {
        assert_eq!(grants.is_query(&effect), is_query, "{effect}");
    }
    // What it does not say is not written, so that older programs read it.
    let written = toml::to_string(&grants.command["act"]).unwrap();
    assert!(!written.contains("query"), "{written}");
}

#[test]
fn an_effect_is_one_line_whatever_its_values_are() {
    let args = BTreeMap::from([("input".to_owned(), "a\nhostname.set b".to_owned())]);
    let name = "mail".to_owned();
    let line = Effect::CommandRun { name, args }.to_string();
    assert!(line.starts_with("command.run mail input=a"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}
