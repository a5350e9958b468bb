//! The frames that the prober sends and recognises.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Sighting;
use crate::types::MacAddr;

/// The first bytes of the hardware addresses from which requests are sent; the rest is the
/// request's number. These addresses belong to no host, so that no kernel learns from the answers:
/// what the client learns, it learns from announcements, as other hosts do.
const PROBE_MAC: [u8; 5] = [0x02, 0xca, 0, 0, 0];

/// Asks by ARP who has `target`, as RFC 5227 probes do: without a sender's address, so that no host
/// learns from it.
#[must_use]
pub(super) fn arp_request(number: u8, target: Ipv4Addr) -> Vec<u8> {
    let mac = [&PROBE_MAC[..], &[number]].concat();
    // ARP's ethertype; then Ethernet, IPv4, their lengths, request.
    let kind = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    [
        &MacAddr::BROADCAST.0[..],
        &mac,
        &kind,
        &mac,
        &[0; 4],
        &[0; 6],
        &target.octets(),
    ]
    .concat()
}

/// The address that solicitations come from. It belongs to no host; its hardware address is that of
/// the newest request.
const PROBE_IP: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xca, 1);

/// Asks by neighbour discovery who has `target` (RFC 4861, section 4.3): the answer goes to the
/// request's own hardware address, as with ARP.
#[must_use]
pub(super) fn neighbour_solicitation(number: u8, target: Ipv6Addr) -> Vec<u8> {
    let mac = [&PROBE_MAC[..], &[number]].concat();
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(a),
        u16::from_be_bytes([b, c]),
    );
    // Type 135, a checksum to come, reserved; the target; the source's hardware address.
    let head = [
        &[135, 0, 0, 0, 0, 0, 0, 0][..],
        &target.octets(),
        &[1, 1],
        &mac,
    ]
    .concat();
    let pseudo = [
        &PROBE_IP.octets()[..],
        &group.octets(),
        &[0, 0, 0, 32, 0, 0, 0, 58],
        &head,
    ]
    .concat();
    let mut message = head;
    message.splice(2..4, checksum(&pseudo).to_be_bytes());
    let ethernet = [&[0x33, 0x33, 0xff, a, b, c][..], &mac, &[0x86, 0xdd]].concat();
    let header = [0x60, 0, 0, 0, 0, 32, 58, 255];
    [
        &ethernet[..],
        &header,
        &PROBE_IP.octets(),
        &group.octets(),
        &message,
    ]
    .concat()
}

/// The internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

/// The meaning of a received frame for the prober.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// An answer to request `number`.
    Reply {
        number: u8,
        ip: IpAddr,
        mac: MacAddr,
    },
    /// Something to be reported.
    Seen(Sighting),
}

/// Decodes a frame; `None` if it is irrelevant or malformed.
#[must_use]
pub(super) fn decode(frame: &[u8]) -> Option<Frame> {
    let source = mac(frame, 6)?;
    let rest = frame.get(14..)?;
    match frame.get(12..14)? {
        [0x08, 0x06] => arp(rest),
        [0x08, 0x00] => ipv4(rest, source),
        [0x86, 0xdd] => ipv6(rest, mac(frame, 0)?, source),
        _ => None,
    }
}

fn arp(packet: &[u8]) -> Option<Frame> {
    if packet.get(..6)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let operation = *packet.get(7)?;
    let (sender, target) = (mac(packet, 8)?, mac(packet, 18)?);
    let (sender_ip, target_ip) = (v4(packet, 14)?, v4(packet, 24)?);
    let [target_start @ .., number] = target.0;
    if operation == 2 && target_start == PROBE_MAC {
        return Some(Frame::Reply {
            number,
            ip: sender_ip.into(),
            mac: sender,
        });
    }
    let gratuitous = sender_ip == target_ip;
    gratuitous.then_some(Frame::Seen(Sighting::Announcement {
        ip: sender_ip.into(),
        mac: sender,
    }))
}

fn ipv4(packet: &[u8], source: MacAddr) -> Option<Frame> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    if *packet.get(9)? != 112 {
        return None;
    }
    advertisement(v4(packet, 12)?.into(), source, packet.get(header..)?)
}

fn ipv6(packet: &[u8], destination: MacAddr, source: MacAddr) -> Option<Frame> {
    let from = v6(packet, 8)?;
    let payload = packet.get(40..)?;
    match *packet.get(6)? {
        112 => advertisement(from.into(), source, payload),
        58 if *payload.first()? == 136 && v6(packet, 24)? == PROBE_IP => {
            let [start @ .., number] = destination.0;
            let ip = v6(payload, 8)?.into();
            (start == PROBE_MAC).then_some(Frame::Reply {
                number,
                ip,
                mac: source,
            })
        }
        // A neighbour advertisement to all nodes, with the override flag.
        58 if *payload.first()? == 136
            && v6(packet, 24)?.is_multicast()
            && payload.get(4)? & 0x20 != 0 =>
        {
            let option = payload.get(24..26) == Some(&[2, 1]);
            let mac = if option { mac(payload, 26)? } else { source };
            Some(Frame::Seen(Sighting::Announcement {
                ip: v6(payload, 8)?.into(),
                mac,
            }))
        }
        _ => None,
    }
}

fn advertisement(from: IpAddr, mac: MacAddr, packet: &[u8]) -> Option<Frame> {
    let [kind, vhid, advskew, _, demote, advbase, ..] = *packet else {
        return None;
    };
    let carp = kind == 0x21;
    carp.then_some(Frame::Seen(Sighting::Advertisement {
        from,
        mac,
        vhid,
        advbase,
        advskew,
        demote,
    }))
}

fn mac(bytes: &[u8], at: usize) -> Option<MacAddr> {
    array(bytes, at).map(MacAddr)
}

fn v4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    array::<4>(bytes, at).map(Ipv4Addr::from)
}

fn v6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    array::<16>(bytes, at).map(Ipv6Addr::from)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_request_names_it() {
        let request = arp_request(7, Ipv4Addr::new(192, 168, 32, 22));
        assert_eq!(decode(&request), None);
        let mut reply = request.clone();
        reply[21] = 2;
        reply[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        reply[28..32].copy_from_slice(&[192, 168, 32, 22]);
        reply[32..38].copy_from_slice(&request[22..28]);
        reply[38..42].copy_from_slice(&[0; 4]);
        let expected = Frame::Reply {
            number: 7,
            ip: Ipv4Addr::new(192, 168, 32, 22).into(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
        };
        assert_eq!(decode(&reply), Some(expected));
    }

    #[test]
    fn the_answer_to_a_solicitation_names_it() {
        let target: Ipv6Addr = "2001:db8::22".parse().unwrap();
        let request = neighbour_solicitation(7, target);
        assert_eq!(request.len(), 14 + 40 + 32);
        assert_eq!(
            &request[38..54],
            "ff02::1:ff00:22".parse::<Ipv6Addr>().unwrap().octets()
        );
        // A packet that includes its checksum has the sum zero.
        let pseudo = [
            &request[22..54],
            &[0, 0, 0, 32, 0, 0, 0, 58],
            &request[54..],
        ]
        .concat();
        assert_eq!(checksum(&pseudo), 0);
        assert_eq!(decode(&request), None);

        let advertisement = [
            &[136, 0, 0, 0, 0x60, 0, 0, 0][..],
            &target.octets(),
            &[2, 1, 2, 0, 0, 0, 0, 1],
        ]
        .concat();
        let header = [
            &[0x60, 0, 0, 0, 0, 32, 58, 255][..],
            &target.octets(),
            &PROBE_IP.octets(),
        ]
        .concat();
        let ethernet = [&request[6..12], &[2, 0, 0, 0, 0, 1][..], &[0x86, 0xdd]].concat();
        let reply = [ethernet, header, advertisement].concat();
        let expected = Frame::Reply {
            number: 7,
            ip: target.into(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
        };
        assert_eq!(decode(&reply), Some(expected));
    }

    #[test]
    fn advertisements_and_announcements_are_seen() {
        let mut frame = vec![0; 14 + 20 + 36];
        frame[6..12].copy_from_slice(&[0, 0, 0x5e, 0, 1, 40]);
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[23] = 112;
        frame[26..30].copy_from_slice(&[192, 168, 32, 32]);
        frame[34..40].copy_from_slice(&[0x21, 40, 15, 7, 0, 1]);
        let Some(Frame::Seen(Sighting::Advertisement {
            from,
            vhid,
            advskew,
            advbase,
            demote,
            mac,
        })) = decode(&frame)
        else {
            panic!("not an advertisement");
        };
        assert_eq!(
            (from.to_string().as_str(), vhid, advskew, advbase, demote),
            ("192.168.32.32", 40, 15, 1, 0)
        );
        assert_eq!(mac.to_string(), "00:00:5e:00:01:28");

        let mut frame = arp_request(0, Ipv4Addr::new(10, 0, 0, 1));
        frame[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 3]);
        frame[28..32].copy_from_slice(&[10, 0, 0, 1]);
        let expected = Sighting::Announcement {
            ip: "10.0.0.1".parse().unwrap(),
            mac: MacAddr([2, 0, 0, 0, 0, 3]),
        };
        assert_eq!(decode(&frame), Some(Frame::Seen(expected)));
    }

    #[test]
    fn no_cut_frame_panics() {
        let mut frame = arp_request(1, Ipv4Addr::LOCALHOST);
        frame.resize(120, 0);
        for kind in [[8, 0], [8, 6], [0x86, 0xdd]] {
            frame[12..14].copy_from_slice(&kind);
            for protocol in [58, 112] {
                frame[20] = protocol;
                frame[23] = protocol;
                for length in 0..frame.len() {
                    let _ = decode(&frame[..length]);
                }
            }
        }
    }
}
