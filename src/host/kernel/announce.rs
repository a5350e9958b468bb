//! Telling the neighbours where an address lives now.
//!
//! Hardware addresses here are the interface's own: Linux answers ARP and neighbour solicitations
//! with them, and an announcement that said otherwise would be contradicted by the next answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::socket::{Outgoing, Senders};
use crate::types::MacAddr;

/// Flags of a neighbour advertisement.
const ROUTER: u8 = 0x80;
const OVERRIDE: u8 = 0x20;

/// A gratuitous ARP frame: a broadcast *request* whose sender and target address are both `ip`, and
/// whose sender and target hardware address are both `mac` (the form that ucarp sends; the BSDs
/// leave the target's zero).
#[must_use]
pub fn gratuitous_arp(ip: Ipv4Addr, mac: MacAddr) -> [u8; 42] {
    let mut frame = [0; 42];
    // Ethernet; type ARP; hardware Ethernet, protocol IPv4, address lengths 6 and 4, operation 1.
    let fixed = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1];
    join(
        &mut frame,
        &[
            &MacAddr::BROADCAST.0,
            &mac.0,
            &fixed,
            &mac.0,
            &ip.octets(),
            &mac.0,
            &ip.octets(),
        ],
    );
    frame
}

/// An unsolicited neighbour advertisement to all nodes: override set, with the target's link-layer
/// address (RFC 4861, sections 4.4 and 7.2.6). From a `router` it must say so: hosts that hear
/// otherwise of their default router give it up.
#[must_use]
pub fn neighbour_advertisement(ip: Ipv6Addr, mac: MacAddr, router: bool) -> [u8; 86] {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut body = [0; 32];
    let flags = if router { ROUTER | OVERRIDE } else { OVERRIDE };
    // Type 136, code 0, checksum still 0, flags. Then option 2, 8 bytes long.
    join(
        &mut body,
        &[
            &[136, 0, 0, 0, flags, 0, 0, 0],
            &ip.octets(),
            &[2, 1],
            &mac.0,
        ],
    );
    let checksum = checksum(ip, all_nodes, &body);
    if let Some(field) = body.get_mut(2..4) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
    let mut frame = [0; 86];
    // IPv6, 32 bytes of ICMPv6, hop limit 255.
    let fixed = [0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255];
    join(
        &mut frame,
        &[
            &[0x33, 0x33, 0, 0, 0, 1],
            &mac.0,
            &fixed,
            &ip.octets(),
            &all_nodes.octets(),
            &body,
        ],
    );
    frame
}

fn join(frame: &mut [u8], parts: &[&[u8]]) {
    frame
        .iter_mut()
        .zip(parts.iter().copied().flatten())
        .for_each(|(to, from)| *to = *from);
}

/// The Internet checksum over the IPv6 pseudo-header and an ICMPv6 message of even length.
pub(super) fn checksum(source: Ipv6Addr, destination: Ipv6Addr, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).unwrap_or(0);
    let words = |bytes: &[u8]| {
        bytes
            .chunks_exact(2)
            .map(|w| w.iter().fold(0, |acc, b| acc << 8 | u32::from(*b)))
            .sum::<u32>()
    };
    let mut sum =
        words(&source.octets()) + words(&destination.octets()) + length + 58 + words(body);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Sends announcements.
#[derive(Debug, Default)]
pub struct Announcer(Senders);

impl Announcer {
    /// Announces once that `ip` lives at `mac`, on the interface with this index; over IPv6 also
    /// whether that is a `router`. It never waits.
    ///
    /// # Errors
    /// As [`super::socket::PacketSocket::send`].
    pub fn announce(&self, ip: IpAddr, mac: MacAddr, index: u32, router: bool) -> io::Result<()> {
        let frame = match ip {
            IpAddr::V4(ip) => gratuitous_arp(ip, mac).to_vec(),
            IpAddr::V6(ip) => neighbour_advertisement(ip, mac, router).to_vec(),
        };
        self.0.send(index, &Outgoing::Frame(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gratuitous_arp_is_what_ucarp_sends() {
        let frame = gratuitous_arp(
            "10.99.0.100".parse().unwrap(),
            "02:00:00:00:00:0a".parse().unwrap(),
        );
        let hex: String = frame.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "ffffffffffff02000000000a0806000108000604000102000000000a0a63006402000000000a0a630064"
        );
    }

    #[test]
    fn neighbour_advertisement_checks_out() {
        let ip: Ipv6Addr = "2001:db8::22".parse().unwrap();
        let mac = "02:00:00:00:00:0a".parse().unwrap();
        let frame = neighbour_advertisement(ip, mac, false);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(frame[21], 255, "hop limit");
        assert_eq!((frame[54], frame[58]), (136, 0x20), "type and override");
        assert_eq!(frame[62..78], ip.octets(), "target");
        assert_eq!(frame[78..], [2, 1, 2, 0, 0, 0, 0, 0x0a]);
        let of_router = neighbour_advertisement(ip, mac, true);
        assert_eq!(of_router[58], 0xa0, "router and override");
        for frame in [frame, of_router] {
            let sum: u16 = checksum(ip, "ff02::1".parse().unwrap(), &frame[54..]);
            assert_eq!(sum, 0, "the sum over a message with its checksum is zero");
        }
    }
}
