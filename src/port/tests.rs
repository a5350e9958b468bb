use super::*;

fn ported(text: &str) -> Ported {
    let mut settings = Settings::new("failover");
    settings.interface = Some("eth0".into());
    settings.address = Some("192.0.2.22".into());
    port(
        &Source {
            name: "up.sh".into(),
            text: text.into(),
        },
        None,
        &settings,
    )
    .unwrap()
}

/// The lines of the entry point, without its head.
fn body(text: &str) -> Vec<String> {
    let ported = ported(text);
    assert_eq!(ported.todos, [], "{text}");
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
    for same in [
        "route add default gw 192.0.2.1",
        "ip r a default via 192.0.2.1",
        "ip route replace default via 192.0.2.1",
    ] {
        assert_eq!(
            body(same),
            ["route.replace(\"default\", { via = \"192.0.2.1\" })"],
            "{same}"
        );
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
    let ported = ported("/sbin/drbdadm primary r0\n/usr/bin/x $1 $2 $3 $2/24\n");
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
            .contains("argv = [\"/usr/bin/x\", \"{interface:dev}\", \"{address:ip}\", \"{xparam:word}\", \"{cidr:cidr}\"]"),
        "{}",
        ported.toml
    );
    assert!(ported.lua.contains(
        "run(\"x\", { interface = dev, address = vip, xparam = xparam, cidr = vip .. \"/24\" })"
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
    let lua = ported("state=$1; end=$2; route=x\nlogger \"$state $end $route\"\n").lua;
    assert!(
        lua.contains("log.info(state_ .. \" \" .. end_ .. \" \" .. route_)"),
        "{lua}"
    );
}

#[test]
fn nothing_goes_missing_in_silence() {
    for line in [
        "unset X",
        "umask 077",
        "set -- a b",
        "cd /tmp",
        "x=1 service y start",
        "exec 3>/tmp/f",
        "rm -rf /tmp/x",
        "for x; do true; done",
        "while shift; do true; done",
        "a=$(ls | wc -l)",
        "service x frobnicate y",
        "echo -e 'a\\nb'",
        "if [ $# -gt 0 ]; then shift; fi",
        "echo 1 > /sys/class/x",
        "ip addr show",
        "IFS=,",
        "read x",
        "(a=1; b)",
        "date > /run/f",
    ] {
        let ported = ported(&format!("{line}\n"));
        assert_eq!(ported.todos.len(), 1, "{line}: {}", ported.lua);
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
