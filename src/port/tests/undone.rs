//! What the daemon undoes at the end of a mastership, and what it keeps.

use crate::port::{FactKind, Settings, Source, port};

#[test]
fn what_down_leaves_alone_on_one_of_its_ways_is_kept() {
    let kept = |down: &str| {
        let source = |name: &str, text: &str| Source {
            name: name.into(),
            text: text.into(),
            arguments: Vec::new(),
        };
        let up = source("up.sh", "service httpd start\n");
        let mut settings = Settings::new("failover");
        settings.explicit = true;
        let ported = port(&up, Some(&source("down.sh", down)), &settings).unwrap();
        ported
            .lua
            .contains("service.start(\"httpd\", { keep = true })")
    };
    for down in [
        "hostname a\n",
        "if [ -f /run/x ]; then service httpd stop; fi\n",
        "[ -f /run/x ] && exit 0\nservice httpd stop\n",
        "if [ -f /run/x ]; then service httpd stop; else service httpd reload; fi\n",
        "f() { [ -f /run/x ] && return 0; service httpd stop; return 0; }\nf\n",
    ] {
        assert!(kept(down), "{down}");
    }
    for down in [
        "service httpd stop\n",
        "service httpd stop || true\n",
        "if [ -f /run/x ]; then service httpd stop; else service httpd restart; fi\n",
        "f() { service httpd stop; }\nf\nexit 0\n",
        "service httpd stop\n[ -f /run/x ] && exit 0\nhostname a\n",
        "for i in 1 2; do service httpd stop; done\n",
    ] {
        assert!(!kept(down), "{down}");
    }
}

/// What the daemon undoes at the end of a mastership where the script would have failed to.
#[test]
fn what_is_put_back_although_down_fails_is_told() {
    let both = |up: &str, down: &str| {
        let source = |name: &str, text: &str| Source {
            name: name.into(),
            text: text.into(),
            arguments: Vec::new(),
        };
        let mut settings = Settings::new("failover");
        settings.interface = Some("eth0".into());
        let down = source("down.sh", down);
        port(&source("up.sh", up), Some(&down), &settings).unwrap()
    };
    let told = |up: &str, down: &str, part: &str| {
        let ported = both(up, down);
        let fact = ported
            .of(FactKind::Different)
            .find(|fact| fact.script == "down.sh" && fact.text.contains(part));
        fact.map(|fact| fact.lines.clone())
    };
    for (up, down) in [
        ("route del default\n", "\nroute add default gw 192.0.2.1\n"),
        (
            "ip route replace default via 192.0.2.1\n",
            "\nip route replace default via 192.0.2.2\n",
        ),
        ("hostname a\n", "\nhostname b || logger no\n"),
        (
            "echo 1 > /proc/sys/net/ipv4/ip_forward\n",
            "\nsysctl -w net.ipv4.ip_forward=0\n",
        ),
        ("echo a > /run/x\n", "\necho b > /run/x\n"),
        ("service httpd restart\n", "\nservice httpd stop\n"),
    ] {
        let lines = told(up, down, "puts back");
        assert_eq!(lines, Some(vec![2]), "{up}{down}");
    }
    for (up, down) in [
        ("service httpd start\n", "service httpd stop\n"),
        ("service a start\nhostname a\n", "service a stop\n"),
        (
            "ip route add 10.0.0.0/8 via 192.0.2.1\nservice a start\n",
            "ip route del 10.0.0.0/8\nservice a stop\n",
        ),
        ("hostname a\n", "[ -f /run/x ] && hostname b\n"),
        (
            "ip route replace default via 192.0.2.1\nservice a start\n",
            "ip route del default\nservice a stop\n",
        ),
        (
            "ip addr add $2/24 dev $1\nservice a start\n",
            "ip addr del $2/24 dev $1\nservice a stop\n",
        ),
    ] {
        assert_eq!(told(up, down, "puts back"), None, "{up}{down}");
    }
    // By another prefix length it is not the same one for a shell, ...
    let up = "ip addr add 10.0.0.1/24 dev eth1\n";
    for down in [
        "ip addr del 10.0.0.1/32 dev eth1\n",
        "ip addr del 10.0.0.1/25 dev eth1\n",
    ] {
        assert_eq!(
            told(up, down, "whatever its prefix"),
            Some(vec![1]),
            "{down}"
        );
        assert!(!both(up, down).mirrored, "{down}");
    }
    assert_eq!(
        told(up, "ip addr del 10.0.0.1/24 dev eth1\n", "whatever"),
        None
    );
    // ... nor on another device, nor by another gateway: it stays.
    for (up, down) in [
        (up, "ip addr del 10.0.0.1/24 dev eth2\n"),
        (
            "ip route add default via 192.0.2.1\n",
            "ip route del default via 192.0.2.2\n",
        ),
    ] {
        assert!(both(up, down).lua.contains("keep = true"), "{down}");
    }
}
