//! What is said of addresses, peers and sources.

use super::*;

#[test]
fn the_nodes_own_address_is_no_virtual_one() {
    let text = format!("{MINIMAL}source-address = \"192.168.32.22\"\n");
    assert_eq!(
        messages(&text),
        ["7:18 192.168.32.22 moves with mastership: it cannot be a node's own address"]
    );
}

#[test]
fn unicast_lists_the_addresses_of_other_nodes_and_nothing_else() {
    let of = |text: &str| messages(&format!("{MINIMAL}{text}\n"));
    assert!(of("unicast = [\"192.168.32.33\"]\nmin-ttl = 254").is_empty());
    assert_eq!(
        of("unicast = []"),
        ["7:11 `unicast` has 0 entries: it takes 1 to 32 peers"]
    );
    for wrong in [
        "224.0.0.18",
        "127.0.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "a",
        "10.0.0.1/24",
    ] {
        assert_eq!(
            of(&format!("unicast = [\"{wrong}\"]")),
            [format!(
                "7:12 `unicast` must list the addresses of nodes, without prefix length, not \"{wrong}\""
            )]
        );
    }
    assert_eq!(
        of("unicast = [\"10.0.0.1\", \"10.0.0.1\"]"),
        ["7:24 10.0.0.1 is given twice"]
    );
    assert_eq!(
        of("unicast = [\"192.168.32.22\"]"),
        ["7:12 192.168.32.22 moves with mastership: it cannot be a node's own address"]
    );
    assert_eq!(of("min-ttl = 254"), ["7:11 `min-ttl` needs `unicast`"]);
    assert_eq!(
        of("unicast = [\"10.0.0.1\", \"fe80::1\", \"2001:db8::1\"]"),
        ["7:35 IPv6 peers must all be link-local addresses, or none of them"]
    );
    assert_eq!(
        of("unicast = [\"2001:db8::1\"]"),
        [
            "7:11 there are IPv4 addresses, but no IPv4 peer: carpd nodes do without, but FreeBSD and OpenBSD nodes would take over"
        ]
    );
    assert_eq!(
        of("unicast = [\"10.0.0.1\"]\nnomcast = true\nsource-mac = \"interface\""),
        [
            "8:11 `nomcast` has no effect together with `unicast`",
            "9:14 `source-mac` has no effect together with `unicast`"
        ]
    );
}

#[test]
fn a_peer_or_source_at_the_edge_of_a_network_is_refused() {
    let of = |line: &str| messages(&format!("{MINIMAL}{line}\n"));
    assert_eq!(
        of("unicast = [\"192.168.32.255\", \"192.168.33.255\"]"),
        ["7:12 192.168.32.255 is the broadcast address of its network"]
    );
    assert_eq!(
        of("source-address = \"192.168.32.0\""),
        ["7:18 192.168.32.0 is the address of the network itself, not of a host in it"]
    );
    let another = MINIMAL.replace("22/24\"", "22/24\", \"192.168.32.255/32\"");
    assert_eq!(
        messages(&another),
        ["5:34 192.168.32.255 is the broadcast address of its network"]
    );
}

#[test]
fn a_preferred_lifetime_is_for_ipv6() {
    let with = |text: &str| format!("{text}preferred-lifetime = \"forever\"\n");
    assert_eq!(
        messages(&with(MINIMAL)),
        ["7:22 `preferred-lifetime` has no effect on IPv4 addresses"]
    );
    let ipv6 = MINIMAL.replace("192.168.32.22/24", "2001:db8::22/64");
    assert_eq!(messages(&with(&ipv6)), Vec::<String>::new());
    assert_eq!(
        good(&with(&ipv6)).vhosts[0].preferred_lifetime,
        PreferredLifetime::Forever
    );
    let default = good(&ipv6).vhosts[0].preferred_lifetime;
    assert_eq!(default, PreferredLifetime::Zero);
}
