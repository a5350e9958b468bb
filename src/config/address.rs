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

fn flaw_v4(ip: Ipv4Addr, prefix: u8) -> Option<&'static str> {
    let host_bits = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    let host = u32::from(ip) & host_bits;
    // A network of two addresses has neither of the two (RFC 3021).
    let is_subnet = prefix < 31;
    match ip.octets() {
        [127, ..] => Some("is a loopback address: it never leaves a host"),
        [0, ..] => Some("is in 0.0.0.0/8, which no host can have"),
        [240..=255, ..] => Some("is in the reserved range 240.0.0.0/4"),
        _ if is_subnet && host == 0 => {
            Some("is the address of the network itself, not of a host in it")
        }
        _ if is_subnet && host == host_bits => Some("is the broadcast address of its network"),
        [169, 254, ..] if prefix != 16 && prefix != 32 => {
            Some("is a link-local address, whose network is 169.254.0.0/16")
        }
        _ => None,
    }
}

fn flaw_v6(ip: Ipv6Addr, prefix: u8) -> Option<&'static str> {
    let host = u128::from(ip) & u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("is the loopback address: it never leaves a host"),
        [0, 0, 0, 0, 0, 0xffff, ..] => {
            Some("is an IPv4-mapped address: write it as the IPv4 address that it is")
        }
        [0, 0, 0, 0, 0, 0, ..] => {
            Some("is an IPv4-compatible address, a form that is obsolete: write the IPv4 address")
        }
        // A network of two addresses has none of the kind (RFC 6164).
        _ if prefix < 127 && host == 0 => {
            Some("is the subnet-router anycast address of its network, not of a host in it")
        }
        _ if ip.is_unicast_link_local() && prefix != 64 && prefix != 128 => {
            Some("is a link-local address, whose network is fe80::/64")
        }
        _ => None,
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
