mod edges;
mod fed;
mod field;
mod undone;

use super::*;

fn ported(text: &str) -> Ported {
    let mut settings = Settings::new("failover");
    settings.interface = Some("eth0".into());
    settings.address = Some("192.0.2.22".into());
    settings.script = "/etc/ucarp/up.sh".into();
    port(
        &Source {
            name: "up.sh".into(),
            text: text.into(),
            arguments: Vec::new(),
        },
        None,
        &settings,
    )
    .unwrap()
}

/// The lines of the entry point, without its head.
fn body(text: &str) -> Vec<String> {
    let ported = ported(text);
    assert!(ported.todos().is_empty(), "{text}");
    let (_, rest) = ported.lua.split_once("function on_master(").unwrap();
    let lines = rest
        .lines()
        .skip(1)
        .take_while(|line| *line != "end")
        .map(|line| line.trim().to_owned());
    lines
        .filter(|line| !line.starts_with("local dev =") && !line.starts_with("local vip ="))
        .collect()
}

#[test]
fn one_thing_in_many_words_is_one_call() {
    for same in [
        "ip addr add $2/24 dev $1",
        "ip a a $2/24 dev $1",
        "/sbin/ip address add dev \"$1\" \"$2\"/24",
        "/usr/bin/ip -4 addr add local $2/24 dev $1",
        "ip address replace ${2}/24 dev ${1}",
        "ifconfig $1:0 $2 netmask 255.255.255.0 up",
        "ifconfig $1 add $2/24",
    ] {
        assert_eq!(body(same), ["addr.add(vip .. \"/24\")"], "{same}");
    }
    for (same, function) in [
        ("route add default gw 192.0.2.1", "insert_route"),
        ("ip r a default via 192.0.2.1", "add_route"),
        ("ip route replace default via 192.0.2.1", "route.replace"),
        ("/sbin/ip r r via 192.0.2.1 default", "route.replace"),
    ] {
        let call = format!("{function}(\"default\", {{ via = \"192.0.2.1\" }})");
        assert_eq!(body(same), [call], "{same}");
    }
    for same in [
        "service httpd start",
        "/etc/init.d/httpd start",
        "systemctl start httpd",
        "invoke-rc.d httpd start",
        "initctl start httpd",
    ] {
        assert_eq!(body(same), ["service.start(\"httpd\")"], "{same}");
    }
    for same in [
        "sysctl -w net.ipv4.ip_forward=1",
        "sysctl net/ipv4/ip_forward=1",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
    ] {
        assert_eq!(
            body(same),
            ["sysctl.set(\"net.ipv4.ip_forward\", \"1\")"],
            "{same}"
        );
    }
    for same in [
        "pkill -USR2 ucarp",
        "killall -USR2 ucarp",
        "kill -USR2 $(pidof ucarp)",
    ] {
        assert!(body(same)[0].starts_with("carp.resign("), "{same}");
    }
}

#[test]
fn what_the_api_lacks_is_a_command_line_with_holes() {
    let ported = ported("/sbin/drbdadm primary r0\n/usr/bin/x $1 $2 \"$3\" $2/24\n");
    assert!(
        ported.toml.contains(
            "command.drbdadm-primary-r0 = { argv = [\"/sbin/drbdadm\", \"primary\", \"r0\"] }"
        ),
        "{}",
        ported.toml
    );
    assert!(
        ported
            .toml
            .contains("argv = [\"/usr/bin/x\", \"{interface:dev}\", \"{address:ip}\", \"{xparam:text}\", \"{cidr:cidr}\"]"),
        "{}",
        ported.toml
    );
    assert!(ported.lua.contains(
        "command.run(\"x\", { interface = dev, address = vip, xparam = xparam, cidr = vip .. \"/24\" })"
    ));
}

#[test]
fn only_what_is_needed_is_granted() {
    let toml = ported(
        "ip addr add $2/24 dev $1\nip addr add 192.0.2.30/24 dev eth1\nip addr add $9 dev eth1\n",
    )
    .toml;
    assert!(
        toml.contains("addr = [{ cidr = \"192.0.2.30/24\", dev = \"eth1\" }"),
        "{toml}"
    );
    assert!(
        !toml.contains("192.0.2.22"),
        "its own address needs no grant: {toml}"
    );
    let toml = ported("for s in a b; do service $s start; done\n").toml;
    assert!(
        toml.contains("{ unit = \"a\", do = [\"start\"] }")
            && toml.contains("{ unit = \"b\", do = [\"start\"] }"),
        "{toml}"
    );
    assert!(
        ported("hostname $3\n")
            .toml
            .contains("# up.sh line 1: a host name is known only when it runs")
    );
}

#[test]
fn names_do_not_hide_the_api() {
    let lua = ported("state=$(a); end=$(b); route=$(c)\nlogger \"$state $end $route\"\n").lua;
    assert!(
        lua.contains("log.info(state_ .. \" \" .. end_ .. \" \" .. route_)"),
        "{lua}"
    );
}

#[test]
fn nothing_goes_missing_in_silence() {
    for line in [
        "umask 077",
        "set -- $(a)",
        "set -- *",
        "if true; then set -- a; fi",
        "cd $3",
        "x=1 service y start",
        "X=(1 2)",
        "echo a{b,c} > /run/f",
        "echo $[1+1]*",
        "f=$(g 2>/tmp/x)",
        "g 2>/tmp/x",
        "X=$(f) >/tmp/y",
        "echo \"a\\nb\" > /run/f",
        "( exit 0 )",
        "cd $3 && true",
        "ip addr add 10.0.0.1/8",
        "echo $(( $# < 2 ))",
        "case $(a) in *) b;; c) d;; esac",
        ". /nowhere/x",
        "trap x HUP",
        "exec 3>/tmp/f",
        "while shift; do true; done",
        "echo -e 'a\\nb' > /run/f",
        "if [ $# -gt 0 ]; then shift; fi",
        "echo 1 > /sys/class/x",
        "IFS=,",
        "read x",
        "(a=1; b)",
    ] {
        let ported = ported(&format!("{line}\n"));
        assert_eq!(ported.todos().len(), 1, "{line}: {}", ported.lua);
        assert!(
            ported.lua.contains("error(\"not ported: up.sh line 1: "),
            "{line}"
        );
    }
}

#[test]
fn text_of_a_script_cannot_end_a_comment_or_a_string() {
    let lua = ported("# x ]] y\nlogger 'a\"b\\c'\nsed \"]]\n--[[ 'x'\" f\n").lua;
    assert!(lua.contains("log.info(\"a\\\"b\\\\c\")"), "{lua}");
    assert!(
        lua.lines()
            .all(|line| !line.trim_start().starts_with("--[[")),
        "{lua}"
    );
}

fn refused(text: &str) -> String {
    let source = Source {
        name: "up.sh".into(),
        text: text.into(),
        arguments: Vec::new(),
    };
    match port(&source, None, &Settings::new("failover")) {
        Ok(ported) => panic!("{text:?} was ported: {}", ported.lua),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_no_shell_script_is_named_as_what_it_is() {
    for (text, what) in [
        ("", "up.sh: it is empty"),
        (" \n\n", "up.sh: it is empty"),
        ("#!/bin/sh\n# later\n", "up.sh: there is no command in it"),
        ("\u{7f}ELF\0\0", "up.sh: it is a program, not a script"),
        (
            "#!/usr/bin/env python3\nimport os\n",
            "up.sh: line 1: it is a script of Python, not of a shell",
        ),
        (
            "#!/usr/bin/python3.11\n",
            "up.sh: line 1: it is a script of Python, not of a shell",
        ),
        (
            "import os, sys\nos.system('x')\n",
            "up.sh: line 1: it is a script of Python, not of a shell",
        ),
        (
            "#!/usr/bin/perl -w\n",
            "up.sh: line 1: it is a script of Perl, not of a shell",
        ),
        (
            "# x\nuse strict;\n",
            "up.sh: line 2: it is a script of Perl, not of a shell",
        ),
        (
            "#!/usr/bin/fish\n",
            "up.sh: line 1: it is a script of fish, not of a shell",
        ),
        (
            "#!/bin/sh\nip addr add {{ vip }}/24 dev {{ interface }}\n",
            "up.sh: line 2: it is a template (Jinja): port what is made of it",
        ),
        (
            "#!/bin/sh\n{% if x %}\nhostname a\n{% endif %}\n",
            "up.sh: line 2: it is a template (Jinja): port what is made of it",
        ),
        (
            "#!/bin/sh\nhostname <%= @name %>\n",
            "up.sh: line 2: it is a template (ERB): port what is made of it",
        ),
        (
            "#!/bin/sh\nIP=@VIP@\n",
            "up.sh: line 2: it is a template (@NAME@): port what is made of it",
        ),
    ] {
        assert_eq!(refused(text), what, "{text:?}");
    }
}

#[test]
fn what_only_looks_like_a_template_is_ported() {
    for text in [
        "docker inspect -f '{{.State.Running}}' web\n",
        "docker ps --format \"{{json .Names}}\"\n",
        "sed -i \"s/@VIP@/$2/\" /etc/x.conf\n",
        "mail -s \"up\" root@NODE.example.org\n",
        "# {{ not code }}\nhostname a\n",
        "import /tmp/x.png\n",
    ] {
        ported(text);
    }
}

#[test]
fn scripts_of_keepalived_are_known_by_what_they_look_at() {
    for text in [
        "case $3 in MASTER) x ;; esac\n",
        "STATE=$3\n[ \"$STATE\" = \"BACKUP\" ] && x\n",
        "TYPE=$1; NAME=$2; STATE=$3\necho $STATE > /run/state\n",
        "if [[ $3 == 'FAULT' ]]; then x; fi\n",
        "case ${1:-none} in master) a ;; backup) b ;; esac\n",
        "[ \"$1\" = GROUP ] && exit 0\n",
        "# for keepalived\nlogger \"$2 $3\"\n",
        "case \"$1-$2\" in INSTANCE-*) echo \"$3\" > /run/state ;; esac\n",
    ] {
        assert!(
            refused(text).ends_with(
                "it is a notify script of keepalived: its arguments are not those of ucarp"
            ),
            "{text}"
        );
    }
    for text in [
        "case $3 in node1) x ;; node2) y ;; esac\n",
        "STATE=MASTER\n[ \"$STATE\" = MASTER ] && hostname a\n",
        "f() { [ \"$1\" = MASTER ] && x; }\nf MASTER\n",
        "set -- INSTANCE VI_1 MASTER 100\ncase \"$3\" in MASTER) hostname active ;; esac\n",
        "service keepalived stop\n",
        "[ \"$1\" = eth0 ] && hostname a\n",
        "INSTANCE=$3\n[ \"$INSTANCE\" = blue ] && hostname a\n",
    ] {
        ported(text);
    }
}

#[test]
fn every_fact_has_its_kind_and_lines() {
    let ported = ported(
        "hostname \"$NAME\"\necho \"${WHERE:-here}\" > /run/where\nfoo-of-nobody a\nfoo-of-nobody a\neval x\n",
    );
    let facts: Vec<_> = ported
        .facts
        .iter()
        .map(|fact| (fact.kind, fact.lines.as_slice()))
        .collect();
    for expected in [
        (FactKind::Open, [1].as_slice()),
        (FactKind::Different, &[2]),
        (FactKind::Guessed, &[3, 4]),
        (FactKind::Untranslated, &[5]),
    ] {
        assert!(
            facts.contains(&expected),
            "{expected:?}: {:?}",
            ported.facts
        );
    }
    assert!(!ported.is_complete());
    assert_eq!((ported.lines, ported.todos().len()), (5, 1));
}

#[test]
fn what_carpd_holds_by_itself_and_the_script_adds_is_told() {
    let told = |text: &str| {
        let facts = ported(text).facts;
        let own = |fact: &&Fact| fact.text.starts_with("carpd holds this address by itself");
        facts.iter().find(own).map(|fact| (fact.kind, fact.line()))
    };
    for text in [
        "\nip addr add $2/24 dev $1\n",
        "\nip addr add 192.0.2.22/24 dev eth0\n",
    ] {
        assert_eq!(told(text), Some((FactKind::Different, 2)), "{text}");
    }
    for text in [
        "ip addr add $2 dev $1\n",
        "ip addr del $2/24 dev $1\n",
        "ip addr add 192.0.2.30/24 dev eth0\n",
        "arping -U -c 1 -I $1 $2\n",
    ] {
        assert_eq!(told(text), None, "{text}");
    }
}

/// The lines of an entry point of a notify script.
fn notify(text: &str, entry: &str) -> String {
    let mut settings = Settings::new("failover");
    settings.caller = Caller::Keepalived(Box::default());
    settings.explicit = true;
    let source = Source {
        name: "notify.sh".into(),
        text: text.into(),
        arguments: Vec::new(),
    };
    let lua = port(&source, None, &settings).unwrap().lua;
    let (_, rest) = lua.split_once(&format!("function {entry}(")).unwrap();
    let (_, body) = rest.split_once('\n').unwrap();
    let lines = body.lines().take_while(|line| *line != "end");
    lines.map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn only_what_the_state_decides_is_decided_beforehand() {
    // Something is done first: it stays, whatever the state.
    let text = "service a start && [ $3 = MASTER ] && hostname m\n";
    assert!(
        notify(text, "on_backup").contains("service.start"),
        "{text}"
    );
    // A switch of the script's own stays a switch.
    let text = "DEBUG=0\nif [ $DEBUG = 1 ]; then hostname d; fi\n[ $3 = MASTER ] && hostname m\n";
    assert!(notify(text, "on_master").contains("\"d\""), "{text}");
    assert!(!notify(text, "on_backup").contains("\"m\""), "{text}");
    // A variable that is set again is not what it was.
    let text = "S=$3\nif [ -f /run/x ]; then S=MASTER; fi\n[ $S = MASTER ] && hostname m\n";
    assert!(notify(text, "on_backup").contains("\"m\""), "{text}");
    // What a TODO stands before is still there.
    let text = "eval x\ncase $3 in MASTER) hostname m ;; esac\n";
    assert!(notify(text, "on_master").contains("\"m\""), "{text}");
    // Whoever has left early does not come to the end.
    let text = "if [ $3 = BACKUP ]; then hostname b; exit 0; fi\n[ $3 = BACKUP ] && hostname x\nhostname y\n";
    let backup = notify(text, "on_backup");
    assert!(
        !backup.contains("\"x\"") && backup.contains("\"y\""),
        "{backup}"
    );
    // Functions see what was set before they are called, and nothing else.
    let text = "f() { [ \"$S\" = MASTER ] && hostname m; }\nS=$3\nf\n";
    assert!(!notify(text, "on_backup").contains("\"m\""), "{text}");
    let text = "f() { [ \"$S\" = MASTER ] && hostname m; }\nf\nS=$3\n";
    assert!(notify(text, "on_backup").contains("\"m\""), "{text}");
}

#[test]
fn arguments_that_are_set_to_known_words_are_those_words() {
    for (text, expected) in [
        ("set -- a b\nlogger \"$2 $#\"", "log.info(\"b 2\")"),
        (
            "set -- a 'b  c'\nshift\nlogger \"$1$2\"",
            "log.info(\"b  c\")",
        ),
        (
            "set -- \"$2\" x\nlogger \"$1 ${1%.*}\"",
            "log.info(vip .. \" \" .. (string.match(vip, \"^(.*)%.\") or vip))",
        ),
        (
            "set -- httpd\nservice \"$@\" start",
            "service.start(\"httpd\")",
        ),
        ("set -- a\nset -- \"$1\" b\nlogger $*", "log.info(\"a b\")"),
        ("f() { logger \"$1\"; }\nset -- a\nf b", "log.info(a1)"),
    ] {
        let lines = body(&format!("{text}\n"));
        assert!(
            lines.iter().any(|line| line == expected),
            "{text}: {lines:#?}"
        );
    }
    for text in [
        "set -- 'a b'\nlogger x; service $1 start",
        "set -- a\nlogger ${1:-b}",
        "set -- a\nif true; then shift; fi",
        "set -- a\nlogger $(( $1 + 1 ))",
        "set -- $3\nlogger $1",
    ] {
        assert!(!ported(&format!("{text}\n")).todos().is_empty(), "{text}");
    }
}

#[test]
fn what_echo_writes_to_the_log_depends_on_the_shell() {
    for (first, line, expected, guessed) in [
        (
            "#!/bin/bash",
            "echo -e 'a\\tb'",
            "log.info(\"a\\tb\")",
            false,
        ),
        (
            "#!/bin/bash",
            "echo 'a\\tb'",
            "log.info(\"a\\\\tb\")",
            false,
        ),
        (
            "#!/usr/bin/env bash",
            "echo -e 'a\\tb'",
            "log.info(\"a\\tb\")",
            false,
        ),
        (
            "#!/bin/dash",
            "echo -e 'a\\tb'",
            "log.info(\"-e a\\tb\")",
            false,
        ),
        (
            "#!/bin/dash -e",
            "echo 'a\\tb'",
            "log.info(\"a\\tb\")",
            false,
        ),
        (
            "#!/bin/busybox sh",
            "echo -e 'a\\tb'",
            "log.info(\"a\\tb\")",
            false,
        ),
        ("#!/bin/sh", "echo -e 'a\\tb'", "log.info(\"a\\tb\")", true),
        ("#!/bin/sh", "echo 'a\\tb'", "log.info(\"a\\tb\")", true),
        ("#!/bin/sh", "echo -e a", "log.info(\"a\")", true),
        ("# none", "echo -n a", "log.info(\"a\")", false),
    ] {
        let ported = ported(&format!("{first}\n{line}\n"));
        assert!(
            ported.lua.contains(expected),
            "{first} {line}: {}",
            ported.lua
        );
        assert_eq!(
            ported.of(FactKind::Guessed).count(),
            usize::from(guessed),
            "{first} {line}"
        );
    }
}

#[test]
fn what_would_not_load_is_left_out_of_the_grants_and_counted() {
    for line in [
        "hostname 'a b'",
        "ip route add 300.1.1.1/24 via 10.0.0.1",
        "ip addr add 300.1.1.1/24 dev eth1",
        "service ../x start",
        "ip rule add from 10.0.0.0/8 lookup 0 priority 10",
        "/usr/bin/x ''\n/nowhere/../y",
        "curl http://",
    ] {
        let ported = ported(&format!("true\n{line}\n"));
        let table: toml::Table = ported.toml.parse().unwrap();
        let grants = table["hook"]["failover"]["grant"].to_string();
        let grants: toml::Table = format!("x = {grants}").parse().unwrap();
        let text = toml::to_string(&grants["x"]).unwrap();
        assert!(
            crate::config::parse_grants("grants", &text).is_ok(),
            "{line}: {text}"
        );
        let left_out = ported.toml.contains("cannot be granted");
        let open = ported
            .of(FactKind::Open)
            .filter(|fact| fact.text.contains("cannot be granted"));
        let lines: Vec<usize> = open.map(Fact::line).collect();
        assert_eq!(!lines.is_empty(), left_out, "{line}: {}", ported.toml);
        assert!(lines.iter().all(|line| *line > 1), "{line}: {lines:?}");
    }
    assert!(
        ported("hostname 'a b'\n")
            .toml
            .contains("cannot be granted")
    );
}

/// Told, and nothing to do.
#[test]
fn the_summary_names_the_calls_after_whose_failure_the_hook_goes_on() {
    let ported = ported(
        "hostname a\nlogger b\nip route replace default via 192.0.2.1\nif service x start; then :; fi\nfoo x\n",
    );
    let told: Vec<&Fact> = ported
        .of(FactKind::Different)
        .filter(|fact| fact.text.starts_with("where the call fails"))
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].lines, [1, 3, 5]);
    assert!(
        super::tests::ported("set -e\nhostname a\n")
            .of(FactKind::Different)
            .next()
            .is_none()
    );
}

/// Shells that end where a hook would go on, and words that only seem to be the same.
#[test]
fn what_cannot_be_told_exactly_is_told_as_that() {
    let open = "set -e\nall() { for x in a b; do service $x start && logger \"$x\"; done; }\nall\nhostname b\n";
    assert!(
        ported(open)
            .of(FactKind::Guessed)
            .any(|fact| fact.line() == 3)
    );
    for text in [
        "if ip addr show dev $1 | grep -qw 192.168.32; then :; fi\n",
        "if ip addr show dev $1 | grep -qw \"$X\"; then :; fi\n",
        "if cat /run/x | grep -qw y; then :; fi\n",
        "cat /run/x | grep -w y | logger\n",
    ] {
        // That is the program's to say.
        assert!(ported(text).toml.contains("/usr/bin/grep"), "{text}");
    }
    assert!(
        ported("M=$(cat /sys/class/net/$1/mtu)\nlogger \"$M\"\n")
            .toml
            .contains("bin/cat")
    );
    let outside = ported("true\nif [ -f /run/x ]; then A=\"$A b\"; fi\nlogger \"$A\"\n");
    assert_eq!(
        outside
            .of(FactKind::Open)
            .map(Fact::line)
            .collect::<Vec<_>>(),
        [2]
    );
}

/// Debian's own `if-up.d/ucarp` took for ever: each look at a value that is appended to itself took
/// seven others, and each word that may be empty doubled the command.
#[test]
fn words_that_may_be_much_take_no_time() {
    let mut text = "X=\n".to_owned();
    for n in 0..12 {
        text += &format!("if [ -n \"$A{n}\" ]; then X=\"$X -k $A{n}\"; fi\n");
    }
    let all: String = (0..12).map(|n| format!(" -a $A{n}")).collect();
    text += &format!(
        "/usr/bin/tool{all} $X\nif /usr/bin/tool{all}; then :; fi\nfor x in $X; do service $x start; done\n"
    );
    let ported = ported(&text);
    assert!(ported.lua.len() < 1 << 16, "{}", ported.lua.len());
    assert!(!ported.todos().is_empty());
}

#[test]
fn scripts_that_init_runs_are_known_as_such() {
    for text in [
        "case \"$1\" in\n  start) a ;;\n  stop) b ;;\nesac\n",
        "VERB=$1\nif true; then\ncase $VERB in start|up) a ;; stop|down) b ;; esac\nfi\n",
        "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: x\n### END INIT INFO\n$DAEMON\n",
        "#!/bin/sh\n# chkconfig: 345 80 20\n/usr/sbin/x\n",
    ] {
        assert!(refused(text).contains("it is an init script"), "{text}");
    }
    ported("case $3 in start) hostname a ;; stop) hostname b ;; esac\n");
    ported("f() { case $1 in start) hostname a ;; stop) hostname b ;; esac; }\nf start\n");
}

#[test]
fn what_is_no_network_is_left_to_the_program() {
    let lua = ported(
        "case $1 in eth0) N=192.168.32 ;; esac\nip rule del from $N.22 table 100 priority 9\n",
    )
    .lua;
    assert!(lua.contains("from = \"192.168.32.22\""), "{lua}");
    assert!(!lua.contains("from = \".22\""), "{lua}");
}

#[test]
fn what_a_builtin_sets_does_not_come_from_outside() {
    let text = "let count=3\nwhile getopts a: opt; do logger $OPTARG; done\nlogger $count $opt\n";
    let port = ported(text);
    assert!(!port.toml.contains("config"), "{}", port.toml);
    assert!(!port.todos().is_empty());
}

#[test]
fn a_plain_text_is_looked_for_as_it_stands() {
    let found = |text: &str| {
        let body = body(text).join("\n");
        body.split_once("output(").unwrap().1.to_owned()
    };
    let mounted = "M=/var/lib/db\nif mount | grep -q \" $M \"; then hostname x; fi";
    assert!(
        found(mounted).contains("\" /var/lib/db \", false, true"),
        "{}",
        found(mounted)
    );
    let pattern = "if mount | grep -q '/var/lib/d.*-[0-9]'; then hostname x; fi";
    assert!(
        found(pattern).contains("\"/var/lib/d.*%-[0-9]\", false, false"),
        "{}",
        found(pattern)
    );
}

#[test]
fn what_nothing_calls_is_left_out() {
    let text =
        "up() { hostname a; }\ndown() { hostname b; again; }\nagain() { down; again; }\nup\n";
    let lua = ported(text).lua;
    assert!(lua.contains("function up()"), "{lua}");
    assert!(!lua.contains("down") && !lua.contains("again"), "{lua}");
    // What was not translated may call it.
    let lua = ported("up() { hostname a; }\ntrap up EXIT\n").lua;
    assert!(lua.contains("function up()"), "{lua}");
}

#[test]
fn calculations_are_calculations_and_numbers_are_numbers() {
    assert_eq!(
        body("n=1\nn=`expr $n + 1`\nlogger \"$n\""),
        [
            "local n = \"1\"",
            "n = tostring((tonumber(n) or 0) + 1)",
            "log.info(n)"
        ]
    );
    let status = "/usr/bin/tool\nR=$?\nif [ $R -ne 0 ]; then hostname x; fi";
    assert!(
        body(status).contains(&"if R ~= 0 then".to_owned()),
        "{:?}",
        body(status)
    );
}

#[test]
fn an_empty_branch_is_turned_round() {
    let text = "if [ \"$3\" -eq 1 ]; then :; else hostname x; fi";
    assert!(
        body(text).contains(&"if number(xparam) ~= 1 then".to_owned()),
        "{:?}",
        body(text)
    );
}

#[test]
fn the_libraries_of_init_systems_write_messages() {
    let text =
        ". /lib/lsb/init-functions\nlog_daemon_msg \"Becoming master\" ucarp\nlog_end_msg 0\n";
    assert_eq!(
        body(text),
        [
            "-- the library's messages go to carpd's log",
            "log.info(\"Becoming master ucarp\")"
        ]
    );
}

#[test]
fn what_needs_no_default_has_none() {
    let same = [
        "ip addr add $2/24 dev $1",
        "D=${1:?no}; A=${2?none}\nip addr add $A/24 dev $D",
    ];
    for text in same {
        let lua = ported(text).lua;
        assert!(!lua.contains("assert_set"), "{lua}");
        assert!(!body(text).iter().any(|line| line.contains("if ")), "{lua}");
    }
    assert_eq!(
        body("export PATH=$PATH:/opt/bin\nhostname x"),
        ["hostname.set(\"x\")"]
    );
}

#[test]
fn a_gateway_without_its_keyword_is_a_guess() {
    let port = ported("/sbin/route -n add -net 172.16.0.0/12 10.0.0.1");
    assert!(port.lua.contains("{ via = \"10.0.0.1\" }"), "{}", port.lua);
    assert_eq!(port.of(FactKind::Guessed).count(), 1);
}

#[test]
fn functions_may_call_later_ones() {
    let text = "start() { note up; hostname a; }\nnote() { again \"$1\"; }\nagain() { logger \"$1\"; }\nstart\n";
    let lines = body(text);
    assert_eq!(lines.first().map(String::as_str), Some("local note"));
    assert!(lines.contains(&"function note(a1)".to_owned()), "{lines:?}");
    assert!(lines.contains(&"local again".to_owned()), "{lines:?}");
    let in_order = "note() { logger \"$1\"; }\nstart() { note up; }\nstart\n";
    assert!(!body(in_order).contains(&"local note".to_owned()));
}

#[test]
fn netmasks_become_prefix_lengths() {
    for same in [
        "ip addr add $2/255.255.255.0 dev $1",
        "M=255.255.255.0\nip addr add $2/$M dev $1",
    ] {
        let lines = body(same);
        assert!(
            lines.contains(&"addr.add(vip .. \"/24\")".to_owned()),
            "{lines:?}"
        );
    }
    let route = "ip route add 10.50.0.0/255.255.0.0 via 192.0.2.1";
    assert_eq!(
        body(route),
        ["add_route(\"10.50.0.0/16\", { via = \"192.0.2.1\" })"]
    );
}

#[test]
fn a_log_that_is_read_again_is_data() {
    let text = "date >> /var/log/a.log\ntail -n 2 /var/log/a.log > /var/log/a.log.new\nmv /var/log/a.log.new /var/log/a.log\n";
    let lua = ported(text).lua;
    assert!(lua.contains("\"/var/log/a.log.new\""), "{lua}");
    assert!(lua.contains("append"), "{lua}");
    let log = ported("LOG=/var/log/a.log\necho up >> $LOG\nrm -f $LOG.old\n").lua;
    assert!(log.contains("log.info(\"up\")"), "{log}");
}

#[test]
fn what_is_found_by_its_label_is_an_address_or_is_not_translated() {
    let made = "ifconfig eth1:2 10.1.0.77 netmask 255.255.0.0 up\n";
    let flushed = body(&format!("{made}ip addr flush label eth1:2"));
    assert!(
        flushed
            .iter()
            .any(|line| line.contains("addr.delete") && line.contains("10.1.0.77/16")),
        "{flushed:?}"
    );
    for look in [
        "ip addr show label eth1:2 | grep -q 10 && hostname x",
        "ifconfig eth1:2 | grep -q inet && hostname x",
        "ifconfig eth1:2",
        "ip addr flush label eth1:3",
    ] {
        assert!(
            !ported(&format!("{made}{look}\n")).todos().is_empty(),
            "{look}"
        );
    }
}

#[test]
fn keepalived_runs_a_script_that_looks_at_no_state_only_on_master() {
    let of = |text: &str, arguments: &[&str]| {
        let mut settings = Settings::new("failover");
        settings.caller = Caller::Keepalived(Box::default());
        let source = Source {
            name: "master.sh".into(),
            text: text.into(),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        };
        port(&source, None, &settings).unwrap()
    };
    let blind = of("hostname a\nawk '{ print $3 }' /etc/x\n", &[]);
    assert!(!blind.lua.contains("on_backup"), "{}", blind.lua);
    assert_eq!(blind.of(FactKind::Guessed).count(), 1);
    let started = of("case $1 in start) hostname a ;; esac\n", &["start"]);
    assert!(!started.lua.contains("on_backup"), "{}", started.lua);
    // What is known is never left to a default.
    let mut settings = Settings::new("failover");
    settings.caller = Caller::Keepalived(Box::new(settings::Keepalived {
        priority: Some("100".into()),
        ..settings::Keepalived::default()
    }));
    let source = Source {
        name: "notify.sh".into(),
        text: "logger \"$3 ${4:-0}\"\n".into(),
        arguments: Vec::new(),
    };
    let known = port(&source, None, &settings).unwrap();
    assert!(
        known.toml.contains("config = { priority = \"100\" }"),
        "{}",
        known.toml
    );
    let sees = of("[ $3 = MASTER ] && hostname a || hostname b\n", &[]);
    assert!(sees.lua.contains("on_backup"), "{}", sees.lua);
}

/// Whatever is installed where this runs.
#[test]
fn common_programs_are_where_distributions_have_them() {
    for (line, path) in [
        ("ip6tables -A INPUT -j DROP", "/usr/sbin/ip6tables"),
        ("conntrackd -c", "/usr/sbin/conntrackd"),
        ("ipvsadm -C", "/usr/sbin/ipvsadm"),
        ("vtysh -c x", "/usr/bin/vtysh"),
        ("nft flush ruleset", "/usr/sbin/nft"),
        ("psql -l", "/usr/bin/psql"),
    ] {
        let ported = ported(line);
        let asks: Vec<_> = ported.facts.iter().filter(|f| f.kind.asks()).collect();
        assert!(asks.is_empty(), "{asks:?}");
        assert!(
            ported.toml.contains(&format!("\"{path}\"")),
            "{}",
            ported.toml
        );
    }
    let ported = ported("no-such-program x");
    assert!(
        ported
            .of(FactKind::Guessed)
            .any(|f| f.text.contains("no common program"))
    );
}

#[test]
fn a_function_is_given_all_arguments() {
    let text = "main() { ip addr add $2/24 dev $1; }\nmain \"$@\"";
    let lines = body(text);
    assert!(lines.contains(&"main(dev, vip)".to_owned()), "{lines:?}");
    assert!(
        lines.contains(&"addr.add(a2 .. \"/24\", { dev = a1 })".to_owned()),
        "{lines:?}"
    );
    // One that counts them has to know how many there are.
    let counts = ported("main() { [ $# -gt 2 ] && hostname x; }\nmain \"$@\"\n");
    assert!(!counts.todos().is_empty(), "{}", counts.lua);
}

#[test]
fn a_variable_and_a_function_may_have_one_name() {
    let lines = body("note=/run/note\nnote() { echo \"$1\" > $note; }\nnote up");
    let name = |line: &str| {
        let rest = line.strip_prefix("local function ")?;
        rest.split('(').next().map(str::to_owned)
    };
    let function = lines.iter().find_map(|line| name(line)).unwrap();
    assert_ne!(function, "note");
    assert!(lines.contains(&format!("{function}(\"up\")")), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.contains("file.write(note,")),
        "{lines:?}"
    );
}

#[test]
fn a_look_for_the_own_address_is_a_guess() {
    let own = ported("ip addr show dev $1 | grep -q $2 && exit 0\nservice x start\n");
    assert_eq!(own.of(FactKind::Guessed).count(), 1);
    let other = ported("ip addr show dev $1 | grep -q 10.9.9.9 && hostname x\n");
    assert_eq!(other.of(FactKind::Guessed).count(), 0);
}

#[test]
fn what_lua_has_no_place_for_is_not_translated() {
    for text in [
        "break\nhostname x",
        "leave() { break; }\nfor a in 1 2; do leave; done",
        "for a in 1 2; do leave() { continue; }; leave; done",
    ] {
        let port = ported(&format!("{text}\n"));
        assert!(!port.todos().is_empty(), "{text}: {}", port.lua);
    }
    assert!(body("for a in 1 2; do break; done").contains(&"break".to_owned()));
}
