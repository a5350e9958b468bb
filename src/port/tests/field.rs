//! What scripts that are in use showed.

use super::{body, ported};
use crate::port::{Caller, FactKind, Keepalived, Ported, Settings, Source, port};

fn says(ported: &Ported, part: &str) -> bool {
    let mut all = ported.facts.iter();
    all.any(|fact| fact.text.contains(part))
}

fn both(up: &str, down: &str, xparam: Option<&str>) -> Ported {
    let source = |name: &str, text: &str| Source {
        name: name.into(),
        text: text.into(),
        arguments: Vec::new(),
    };
    let mut settings = Settings::new("failover");
    settings.interface = Some("eth0".into());
    settings.address = Some("192.0.2.22".into());
    settings.xparam = xparam.map(str::to_owned);
    settings.explicit = true;
    port(
        &source("up.sh", up),
        Some(&source("down.sh", down)),
        &settings,
    )
    .unwrap()
}

#[test]
fn the_number_of_a_failure_matters_only_where_it_is_used() {
    let add = "ip addr add 192.0.2.9/24 dev $1";
    let guessed = |script: &str| {
        let ported = ported(script);
        assert!(ported.todos().is_empty(), "{script}: {}", ported.lua);
        says(&ported, "whatever number")
    };
    for ask in [
        "if [ $? -eq 0 ]; then logger up; else logger bad; fi",
        "if [ \"$?\" != 0 ]; then logger bad; exit 1; fi",
        "case $? in 0) logger up ;; *) logger bad ;; esac",
        "exit $?",
    ] {
        assert!(!guessed(&format!("{add}\n{ask}\n")), "{ask}");
    }
    for ask in [
        "logger \"it ended with $?\"",
        "if [ $? -eq 0 ]; then logger up; fi\nip addr add 192.0.2.8/24 dev $1\nlogger $?",
    ] {
        assert!(guessed(&format!("{add}\n{ask}\n")), "{ask}");
    }
}

#[test]
fn a_function_of_a_branch_is_there_after_it() {
    let says = |name: &str| format!("say() {{ logger {name}; }}");
    let lines = body(&format!(
        "if [ -f /run/x ]; then {}; else {}; fi\nsay\n",
        says("a"),
        says("b")
    ));
    assert_eq!(lines.first().map(String::as_str), Some("local say"));
    let of = |wanted: &str| lines.iter().filter(|line| *line == wanted).count();
    assert_eq!((of("function say()"), of("local function say()")), (2, 0));
    let lines = body(&format!(
        "if [ -f /run/x ]; then {}; say; else {}; say; fi\n",
        says("a"),
        says("b")
    ));
    let of = |wanted: &str| lines.iter().filter(|line| *line == wanted).count();
    assert_eq!((of("function say()"), of("local function say()")), (0, 2));
}

#[test]
fn what_down_only_adds_where_it_is_not_is_kept() {
    let route = "ip route add 198.51.100.0/24 via 192.0.2.1";
    for (up, down, call) in [
        ("touch /run/x", "touch /run/x", "touch(\"/run/x\""),
        (route, route, "add_route(\"198.51.100.0/24\""),
    ] {
        let lua = both(up, &format!("logger down\n{down}\n"), None).lua;
        let line = lua.lines().find(|line| line.trim().starts_with(call));
        assert!(
            line.is_some_and(|line| line.contains("keep = true")),
            "{lua}"
        );
    }
    for (up, down) in [
        ("rm -f /run/x", "touch /run/x"),
        ("ip route del default", "ip route add default via 192.0.2.1"),
        ("touch /run/x", "echo a > /run/x"),
    ] {
        let lua = both(up, &format!("logger down\n{down}\n"), None).lua;
        assert!(!lua.contains("keep = true }"), "{lua}");
    }
}

#[test]
fn all_arguments_are_granted_by_what_they_are() {
    let down = "DEV=$1\nshift\nfor i in $@; do ip addr del $i/32 dev $DEV; done\n";
    let known = both("logger up\n", down, Some("192.0.2.33"));
    assert!(
        known.toml.contains("cidr = \"192.0.2.33/32\""),
        "{}",
        known.toml
    );
    let unknown = both("logger up\n", down, None);
    assert!(!unknown.toml.contains('@'), "{}", unknown.toml);
}

#[test]
fn what_ifup_sets_besides_is_told() {
    let ported = ported("ifup $1:ucarp\n");
    let mut told = ported.of(FactKind::Different);
    assert!(
        told.any(|fact| fact.text.contains("broadcast")),
        "{:?}",
        ported.facts
    );
}

#[test]
fn what_all_states_have_alike_is_said_once() {
    let source = |state: &str| Source {
        name: "notify.sh".into(),
        text: "FILE=/run/state\n# Says it.\nsay() {\n  local text=$1\n  logger \"$text\"\n}\n\
            case $1 in\n  master) say up; echo 1 > $FILE ;;\n  backup) say down; rm -f $FILE ;;\n  \
            fault) say broken ;;\nesac\n"
            .into(),
        arguments: vec![state.to_owned()],
    };
    let mut settings = Settings::new("failover");
    settings.caller = Caller::Keepalived(Box::new(Keepalived {
        fault: Some(source("fault")),
        ..Keepalived::default()
    }));
    let ported = port(&source("master"), Some(&source("backup")), &settings).unwrap();
    assert!(ported.todos().is_empty(), "{}", ported.lua);
    let (_, lua) = ported.lua.split_once("function on_backup(").unwrap();
    let count = |text: &str| lua.matches(text).count();
    for once in [
        "  -- Says it.\n  local function say(text)\n    log.info(text)\n  end\n",
        "/run/state",
        "say(\"down\")",
        "say(\"broken\")",
    ] {
        assert_eq!(count(once), 1, "{once}: {lua}");
    }
    assert_eq!(count("text"), 2, "{lua}");
}

#[test]
fn a_local_variable_begins_with_its_value() {
    let lines =
        body("f() {\n  local a=$1 b\n  local c=$b\n  b=2\n  logger \"$a$b$c\"\n}\nf x\nf y\n");
    // What is read before it is set is declared before that.
    let wanted = [
        "local function f(a)",
        "local b = \"\"",
        "local c = b",
        "b = \"2\"",
    ];
    assert_eq!(lines[..4], wanted, "{lines:?}");
}
