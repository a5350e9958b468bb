//! Who else says that an address is his: ARP and neighbour advertisements, and the questions that
//! make others answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use socket2::SockFilter;

use crate::types::MacAddr;

/// A frame in which a host says that it has an address: ARP with that as the sender's, or a
/// neighbour advertisement for it (RFC 826; RFC 4861, section 4.4).
#[must_use]
pub fn claim(frame: &[u8]) -> Option<(IpAddr, MacAddr)> {
    let mac = |at: usize| {
        let bytes: &[u8; 6] = frame.get(at..at + 6)?.try_into().ok()?;
        Some(MacAddr(*bytes))
    };
    let ethertype = frame.get(12..14)?;
    if ethertype == [0x08, 0x06] {
        // Ethernet and IPv4, with addresses of these lengths.
        if frame.get(14..20)? != [0, 1, 0x08, 0, 6, 4] {
            return None;
        }
        let sender: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
        return Some((Ipv4Addr::from(sender).into(), mac(22)?));
    }
    let advertises =
        ethertype == [0x86, 0xdd] && frame.get(20) == Some(&58) && frame.get(54) == Some(&136);
    if !advertises {
        return None;
    }
    let target: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
    // The target's hardware address, if it is said.
    let said = frame.get(78..80) == Some(&[2, 1]);
    Some((
        Ipv6Addr::from(target).into(),
        mac(if said { 80 } else { 6 })?,
    ))
}

/// Asks who has an address, without saying that we have it: an ARP probe (RFC 5227, section 1.1),
/// or a neighbour solicitation from no address (RFC 4862, section 5.4.2).
#[must_use]
pub fn probe(ip: IpAddr, own: MacAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => [
            &MacAddr::BROADCAST.0[..],
            &own.0,
            &[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1],
            &own.0,
            &[0; 10],
            &ip.octets(),
        ]
        .concat(),
        IpAddr::V6(ip) => {
            let [.., a, b, c] = ip.octets();
            let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
            group[13..].copy_from_slice(&[a, b, c]);
            let mut body = [0; 24];
            body[0] = 135;
            body[8..].copy_from_slice(&ip.octets());
            let sum = super::announce::checksum(Ipv6Addr::UNSPECIFIED, group.into(), &body);
            body[2..4].copy_from_slice(&sum.to_be_bytes());
            [
                &[0x33, 0x33, 0xff, a, b, c][..],
                &own.0,
                &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255],
                &[0; 16],
                &group,
                &body,
            ]
            .concat()
        }
    }
}

const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Moves what was loaded to the other register, and compares with that.
const TO_X: u16 = 0x07;
const EQUAL_X: u16 = 0x1d;

/// Where a frame with a neighbour advertisement has the address that it is for, and that of the
/// packet's destination.
const TARGET: u32 = 62;
const DESTINATION: u32 = 38;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The part of a socket's filter that passes ARP whose sender has one of these addresses, or
/// announces any other, and nothing else.
pub(super) fn arp_filter(addresses: &[IpAddr]) -> Vec<SockFilter> {
    let mut filter = vec![SockFilter::new(LOAD_WORD, 0, 0, 28)];
    for ip in addresses {
        if let IpAddr::V4(ip) = ip {
            filter.push(SockFilter::new(EQUAL, 0, 1, u32::from(*ip)));
            filter.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
        }
    }
    filter.extend([
        SockFilter::new(EQUAL, 4, 0, 0),
        // Who announces an address asks for his own.
        SockFilter::new(TO_X, 0, 0, 0),
        SockFilter::new(LOAD_WORD, 0, 0, 38),
        SockFilter::new(EQUAL_X, 0, 1, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]);
    filter
}

/// The part that passes neighbour advertisements for one of these addresses, or to all nodes. It
/// begins with the protocol of an IPv6 packet loaded.
pub(super) fn neighbour_filter(addresses: &[IpAddr]) -> Vec<SockFilter> {
    let nothing = || SockFilter::new(RETURN, 0, 0, 0);
    let mut filter = vec![
        SockFilter::new(EQUAL, 1, 0, 58),
        nothing(),
        SockFilter::new(LOAD_BYTE, 0, 0, 54),
        SockFilter::new(EQUAL, 1, 0, 136),
        nothing(),
    ];
    let claimed = addresses.iter().filter_map(|ip| match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some((*ip, TARGET)),
    });
    for (ip, place) in claimed.chain([(ALL_NODES, DESTINATION)]) {
        // Word by word; a difference leads to the next address.
        for (at, word, next) in ip
            .octets()
            .chunks_exact(4)
            .zip([(place, 7), (place + 4, 5), (place + 8, 3), (place + 12, 1)])
            .map(|(bytes, (at, next))| {
                let word = bytes
                    .iter()
                    .fold(0, |word, byte| word << 8 | u32::from(*byte));
                (at, word, next)
            })
        {
            filter.push(SockFilter::new(LOAD_WORD, 0, 0, at));
            filter.push(SockFilter::new(EQUAL, 0, next, word));
        }
        filter.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
    }
    filter.push(nothing());
    filter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::kernel::announce::{gratuitous_arp, neighbour_advertisement};

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    #[test]
    fn who_announces_an_address_claims_it_and_who_asks_does_not() {
        let v4 = Ipv4Addr::new(10, 0, 0, 22);
        assert_eq!(claim(&gratuitous_arp(v4, MAC)), Some((v4.into(), MAC)));
        let v6: Ipv6Addr = "2001:db8::22".parse().unwrap();
        assert_eq!(
            claim(&neighbour_advertisement(v6, MAC, false)),
            Some((v6.into(), MAC))
        );
        assert_eq!(
            claim(&probe(v4.into(), MAC)),
            Some((Ipv4Addr::UNSPECIFIED.into(), MAC))
        );
        assert_eq!(claim(&probe(v6.into(), MAC)), None);
    }

    #[test]
    fn what_is_cut_or_of_another_kind_claims_nothing() {
        let arp = gratuitous_arp(Ipv4Addr::new(10, 0, 0, 22), MAC);
        let v6 = neighbour_advertisement("2001:db8::22".parse().unwrap(), MAC, true);
        for frame in [&arp[..], &v6[..]] {
            for length in 0..frame.len() {
                let short = frame.get(..length).unwrap();
                let found = claim(short);
                assert!(found.is_none() || length >= 32, "{length}: {found:?}");
            }
        }
        let mut other = arp;
        other[18] = 8;
        assert_eq!(claim(&other), None, "hardware addresses of another length");
    }
}
