use super::*;
use crate::effect::Effect;

fn context() -> IfName {
    "eth0".parse().unwrap()
}

fn request(group: &str, name: &str, given: Vec<Raw>) -> Result<Request, String> {
    find(group, name).unwrap().1.request(
        given,
        Context {
            interface: &context(),
        },
    )
}

fn text(text: &str) -> Raw {
    Raw::Text(text.into())
}

fn map(pairs: &[(&str, Raw)]) -> Raw {
    Raw::Map(
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.clone()))
            .collect(),
    )
}

#[test]
fn functions_have_unique_names_and_stand_by_group() {
    let names: std::collections::BTreeSet<_> = FUNCTIONS.iter().map(Function::full_name).collect();
    assert_eq!(names.len(), FUNCTIONS.len());
    let groups: Vec<_> = groups().collect();
    assert_eq!(
        groups.len(),
        groups
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    );
    for function in FUNCTIONS {
        assert!(function.doc.ends_with('.'), "{}", function.full_name());
        assert!(
            function.example.contains(function.group),
            "{}",
            function.full_name()
        );
    }
}

#[test]
fn the_device_is_the_virtual_hosts_unless_given() {
    let expected = |dev: &str, keep| {
        let effect = Effect::AddressAdd {
            address: "10.0.0.1/24".parse().unwrap(),
            dev: dev.parse().unwrap(),
        };
        Ok(Request::Ask(Ask::Effect {
            effect,
            keep,
            wait_ms: None,
        }))
    };
    assert_eq!(
        request("addr", "add", vec![text("10.0.0.1/24")]),
        expected("eth0", false)
    );
    let options = map(&[("dev", text("eth1")), ("keep", Raw::Bool(true))]);
    assert_eq!(
        request("addr", "add", vec![text("10.0.0.1/24"), options]),
        expected("eth1", true)
    );
}

#[test]
fn numbers_are_taken_whole_and_in_range_or_not_at_all() {
    for bad in [1.5, -1.0, 1e19, f64::NAN, f64::INFINITY, 4_294_967_296.0] {
        let options = map(&[("metric", Raw::Number(bad))]);
        let err = request("route", "replace", vec![text("default"), options]).unwrap_err();
        assert!(
            err.starts_with("option metric must be a whole number from 0 to 4294967295"),
            "{err}"
        );
    }
}

#[test]
fn wrong_arguments_are_named() {
    let cases = [
        (
            request("addr", "add", vec![]),
            "argument 1 (cidr) is missing: an address such as \"192.168.32.22/24\"",
        ),
        (
            request("addr", "add", vec![Raw::Number(1.0)]),
            "argument 1 (cidr) must be an address such as \"192.168.32.22/24\", not a number",
        ),
        (
            request(
                "addr",
                "add",
                vec![text("10.0.0.1"), map(&[("kep", Raw::Bool(true))])],
            ),
            "has no option \"kep\"; did you mean keep?",
        ),
        (
            request("hostname", "get", vec![text("x")]),
            "takes at most 0 arguments, not 1",
        ),
        (
            request("rule", "replace", vec![map(&[("table", Raw::Number(1.0))])]),
            "option priority is missing: a whole number from 0 to 4294967295",
        ),
        (
            request("hostname", "set", vec![text("x"), text("y")]),
            "argument 2 must be a table of options, not text",
        ),
    ];
    for (got, expected) in cases {
        assert_eq!(got.unwrap_err(), expected);
    }
}

#[test]
fn near_misses_find_the_right_name() {
    assert_eq!(
        unknown_function("addr", "ad"),
        "no function addr.ad; did you mean addr.add?"
    );
    assert_eq!(
        unknown_function("hostname", "sett"),
        "no function hostname.sett; did you mean hostname.set?"
    );
    assert_eq!(unknown_global("adr"), "there is no adr; did you mean addr?");
    assert_eq!(
        unknown_global("io"),
        "hooks have no io; use file.read and file.write"
    );
    assert_eq!(unknown_field("event", "peer"), None);
    assert_eq!(
        unknown_field("event", "cuase").as_deref(),
        Some("no field event.cuase; did you mean event.cause?")
    );
    assert_eq!(unknown_entry_point("on_mastr"), Some("on_master"));
    assert_eq!(unknown_entry_point("on_master"), None);
    assert_eq!(unknown_entry_point("helper"), None);
}

/// Whether a function changes something is read from the list; what it asks for must agree.
#[test]
fn what_changes_something_asks_for_an_effect() {
    let named = |kind: Kind| match kind {
        Kind::Cidr | Kind::Target => text("192.0.2.1/32"),
        Kind::Ip => text("192.0.2.1"),
        Kind::Device => text("eth0"),
        Kind::Mac => text("02:00:00:00:00:01"),
        Kind::Url => text("http://192.0.2.1/"),
        Kind::Endpoint => text("192.0.2.1:80"),
        Kind::Text | Kind::Bytes | Kind::Any => text("x"),
        Kind::Int(least, _) => Raw::Number(f64::from(i32::try_from(least).unwrap())),
        Kind::Bool => Raw::Bool(true),
        Kind::Words => map(&[]),
    };
    for function in FUNCTIONS {
        let mut given: Vec<Raw> = function
            .params
            .iter()
            .map(|param| named(param.kind))
            .collect();
        let options = function.options.iter().filter(|option| option.required);
        given.push(Raw::Map(
            options
                .map(|option| (option.name.to_owned(), named(option.kind)))
                .collect(),
        ));
        if function.options.is_empty() {
            given.pop();
        }
        let request = function
            .request(
                given,
                Context {
                    interface: &context(),
                },
            )
            .unwrap();
        let asks = matches!(request, Request::Ask(Ask::Effect { .. }));
        assert_eq!(function.changes(), asks, "{}", function.full_name());
    }
}
