//! Which addresses no virtual host can have, whatever the machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::types::VirtualAddress;

/// Why no interface would serve this address to its neighbours; `None` if one can.
pub(super) fn flaw(address: VirtualAddress) -> Option<&'static str> {
    match address.ip {
        // Of these nothing else is worth saying.
        _ if address.prefix == 0 => {
            Some("has prefix length 0: every address would be on this interface")
        }
        IpAddr::V4(ip) => flaw_v4(ip, address.prefix),
        IpAddr::V6(ip) => flaw_v6(ip, address.prefix),
    }
}

/// Why no host in this network can have the address, though it is in it.
#[must_use]
pub fn edge_of(ip: IpAddr, network: VirtualAddress) -> Option<&'static str> {
    let prefix = network.prefix;
    match (ip, network.ip) {
        (IpAddr::V4(ip), IpAddr::V4(other)) => {
            let host_bits = host_bits_v4(prefix);
            let same_network = u32::from(ip) & !host_bits == u32::from(other) & !host_bits;
            edge_v4(ip, prefix).filter(|_| same_network)
        }
        (IpAddr::V6(ip), IpAddr::V6(other)) => {
            let host_bits = host_bits_v6(prefix);
            let same_network = u128::from(ip) & !host_bits == u128::from(other) & !host_bits;
            edge_v6(ip, prefix).filter(|_| same_network)
        }
        _ => None,
    }
}

fn host_bits_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

fn host_bits_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

fn edge_v4(ip: Ipv4Addr, prefix: u8) -> Option<&'static str> {
    let host_bits = host_bits_v4(prefix);
    match u32::from(ip) & host_bits {
        // A network of two addresses has neither of the two (RFC 3021).
        _ if prefix >= 31 => None,
        0 => Some("is the address of the network itself, not of a host in it"),
        host if host == host_bits => Some("is the broadcast address of its network"),
        _ => None,
    }
}

fn edge_v6(ip: Ipv6Addr, prefix: u8) -> Option<&'static str> {
    // A network of two addresses has none of the kind (RFC 6164).
    let is_edge = prefix < 127 && u128::from(ip) & host_bits_v6(prefix) == 0;
    is_edge.then_some("is the subnet-router anycast address of its network, not of a host in it")
}

fn flaw_v4(ip: Ipv4Addr, prefix: u8) -> Option<&'static str> {
    match ip.octets() {
        [127, ..] => Some("is a loopback address: it never leaves a host"),
        [0, ..] => Some("is in 0.0.0.0/8, which no host can have"),
        [240..=255, ..] => Some("is in the reserved range 240.0.0.0/4"),
        [169, 254, ..] if edge_v4(ip, prefix).is_none() && prefix != 16 && prefix != 32 => {
            Some("is a link-local address, whose network is 169.254.0.0/16")
        }
        _ => edge_v4(ip, prefix),
    }
}

fn flaw_v6(ip: Ipv6Addr, prefix: u8) -> Option<&'static str> {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("is the loopback address: it never leaves a host"),
        [0, 0, 0, 0, 0, 0xffff, ..] => {
            Some("is an IPv4-mapped address: write it as the IPv4 address that it is")
        }
        [0, 0, 0, 0, 0, 0, ..] => {
            Some("is an IPv4-compatible address, a form that is obsolete: write the IPv4 address")
        }
        _ => edge_v6(ip, prefix).or_else(|| {
            let is_odd = ip.is_unicast_link_local() && prefix != 64 && prefix != 128;
            is_odd.then_some("is a link-local address, whose network is fe80::/64")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fine(text: &str) -> bool {
        flaw(text.parse().unwrap()).is_none()
    }

    #[test]
    fn what_no_host_can_serve_is_refused() {
        let refused = [
            "192.168.32.0/24",
            "192.168.32.255/24",
            "10.255.255.255/8",
            "192.168.32.4/30",
            "192.168.32.7/30",
            "127.0.0.1/8",
            "127.1.2.3/32",
            "0.0.0.1/8",
            "0.1.2.3/32",
            "240.0.0.1/4",
            "255.255.255.254/32",
            "192.168.32.22/0",
            "169.254.3.4/24",
            "::1/128",
            "::1/64",
            "::ffff:192.168.32.22/128",
            "::ffff:192.168.32.22/96",
            "::192.168.32.22/128",
            "::2/128",
            "2001:db8::/64",
            "2001:db8::/126",
            "2001:db8::22/0",
            "fe80::22/10",
            "fe80::22/48",
        ];
        for text in refused {
            assert!(!is_fine(text), "{text}");
        }
    }

    #[test]
    fn the_edges_of_a_network_are_no_hosts() {
        let is_edge = |ip: &str, network: &str| {
            edge_of(ip.parse().unwrap(), network.parse().unwrap()).is_some()
        };
        for (ip, network, edge) in [
            ("10.0.0.0", "10.0.0.22/24", true),
            ("10.0.0.255", "10.0.0.22/24", true),
            ("10.0.1.255", "10.0.0.22/24", false),
            ("10.0.0.255", "10.0.1.22/23", false),
            ("10.0.1.255", "10.0.0.22/23", true),
            ("10.0.0.1", "10.0.0.0/31", false),
            ("10.0.0.1", "10.0.0.1/32", false),
            ("255.255.255.255", "10.0.0.1/0", true),
            ("2001:db8::", "2001:db8::22/64", true),
            ("2001:db8:1::", "2001:db8::22/64", false),
            ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::22/64", false),
            ("2001:db8::", "2001:db8::1/127", false),
            ("10.0.0.0", "2001:db8::1/64", false),
        ] {
            assert_eq!(is_edge(ip, network), edge, "{ip} in {network}");
        }
    }

    #[test]
    fn the_addresses_beside_them_are_not() {
        let fine = [
            "192.168.32.1/24",
            "192.168.32.254/24",
            "192.168.33.0/23",
            "192.168.32.255/23",
            "192.168.32.0/31",
            "192.168.32.1/31",
            "192.168.32.0/32",
            "192.168.32.255/32",
            "126.255.255.254/8",
            "128.0.0.1/8",
            "1.0.0.1/8",
            "169.254.3.4/16",
            "169.254.3.4/32",
            "2001:db8::1/64",
            "2001:db8::/127",
            "2001:db8::/128",
            "fe80::22/64",
            "fe80::22/128",
            "64:ff9b::102:304/96",
        ];
        for text in fine {
            assert!(is_fine(text), "{text}");
        }
    }
}
