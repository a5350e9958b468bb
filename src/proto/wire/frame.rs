//! IP packets and Ethernet frames around an advertisement, for packet sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::stats::Reject;
use super::{PROTOCOL, checksum};
use crate::types::{Family, MacAddr};

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// TTL and hop limit of every advertisement: proof that it was not routed.
const TTL: u8 = 255;

/// A received packet: the IP payload with the addresses and TTL of its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// Source; `0.0.0.0` is valid.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// The source hardware address of its frame, if known.
    pub mac: Option<MacAddr>,
    /// TTL, or hop limit.
    pub ttl: u8,
    /// What follows the IP header, up to the length it states.
    pub payload: &'a [u8],
}

/// An IPv4 packet as CARP sends it: 20-byte header, don't-fragment, TTL 255 (docs/protocol.md,
/// section 1.1).
///
/// `payload` may have at most 65,515 bytes; otherwise the length in the header would be wrong.
#[must_use]
pub fn ipv4_packet(src: Ipv4Addr, dst: Ipv4Addr, tos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(payload.len() + 20)
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let id = id.to_be_bytes();
    let mut header = [
        0x45, tos, total[0], total[1], id[0], id[1], 0x40, 0, TTL, PROTOCOL, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0,
    ];
    for (to, from) in header
        .iter_mut()
        .skip(12)
        .zip(src.octets().into_iter().chain(dst.octets()))
    {
        *to = from;
    }
    [header[10], header[11]] = checksum(&header).to_be_bytes();
    [&header, payload].concat()
}

/// An IPv6 packet as CARP sends it: hop limit 255, no extension header (docs/protocol.md, section
/// 1.2).
///
/// `payload` may have at most 65,535 bytes; otherwise the length in the header would be wrong.
#[must_use]
pub fn ipv6_packet(src: Ipv6Addr, dst: Ipv6Addr, traffic_class: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let head = [
        0x60 | traffic_class >> 4,
        traffic_class << 4,
        0,
        0,
        len[0],
        len[1],
        PROTOCOL,
        TTL,
    ];
    [&head, &src.octets()[..], &dst.octets(), payload].concat()
}

/// An Ethernet frame around an IP packet.
#[must_use]
pub fn ethernet_frame(dst: MacAddr, src: MacAddr, family: Family, packet: &[u8]) -> Vec<u8> {
    let ethertype = match family {
        Family::V4 => ETHERTYPE_IPV4,
        Family::V6 => ETHERTYPE_IPV6,
    };
    [&dst.0, &src.0, &ethertype[..], packet].concat()
}

/// The hardware address of a multicast group (RFC 1112, section 6.4; RFC 2464, section 7). `None`
/// if it is not one: unicast destinations are resolved by the neighbour table.
#[must_use]
pub fn multicast_mac(group: IpAddr) -> Option<MacAddr> {
    if !group.is_multicast() {
        return None;
    }
    Some(MacAddr(match group {
        IpAddr::V4(v4) => {
            let [_, b, c, d] = v4.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            [0x33, 0x33, a, b, c, d]
        }
    }))
}

/// Finds the CARP payload in an Ethernet frame. Padding after the IP packet is left out.
///
/// # Errors
/// [`Reject::NotCarp`], [`Reject::Truncated`], [`Reject::Fragment`], [`Reject::IpChecksum`]. A
/// frame with a VLAN tag counts as not CARP: it belongs to the VLAN's own interface.
pub fn parse_frame(frame: &[u8]) -> Result<Received<'_>, Reject> {
    let (header, packet) = frame.split_first_chunk::<14>().ok_or(Reject::Truncated)?;
    let [_, _, _, _, _, _, mac @ .., a, b] = *header;
    let received = match [a, b] {
        ETHERTYPE_IPV4 => parse_ipv4(packet),
        ETHERTYPE_IPV6 => parse_ipv6(packet),
        _ => Err(Reject::NotCarp),
    }?;
    Ok(Received {
        mac: Some(MacAddr(mac)),
        ..received
    })
}

/// As [`parse_frame`], for a packet without its Ethernet header.
///
/// # Errors
/// As [`parse_frame`].
pub fn parse_packet(packet: &[u8]) -> Result<Received<'_>, Reject> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => parse_ipv4(packet),
        Some(6) => parse_ipv6(packet),
        Some(_) => Err(Reject::NotCarp),
        None => Err(Reject::Truncated),
    }
}

fn parse_ipv4(packet: &[u8]) -> Result<Received<'_>, Reject> {
    let fixed = packet.first_chunk::<20>().ok_or(Reject::Truncated)?;
    let &[
        version_ihl,
        _,
        len0,
        len1,
        _,
        _,
        frag0,
        frag1,
        ttl,
        protocol,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ] = fixed;
    if version_ihl >> 4 != 4 || protocol != PROTOCOL {
        return Err(Reject::NotCarp);
    }
    let header_len = usize::from(version_ihl & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([len0, len1]));
    let (Some(header), Some(payload)) = (packet.get(..header_len), packet.get(header_len..total))
    else {
        return Err(Reject::Truncated);
    };
    if header_len < fixed.len() {
        return Err(Reject::Truncated);
    }
    if checksum(header) != 0 {
        return Err(Reject::IpChecksum);
    }
    if u16::from_be_bytes([frag0, frag1]) & 0x3fff != 0 {
        return Err(Reject::Fragment);
    }
    Ok(Received {
        src: [s0, s1, s2, s3].into(),
        dst: [d0, d1, d2, d3].into(),
        mac: None,
        ttl,
        payload,
    })
}

fn parse_ipv6(packet: &[u8]) -> Result<Received<'_>, Reject> {
    let (fixed, rest) = packet.split_first_chunk::<8>().ok_or(Reject::Truncated)?;
    let (src, rest) = rest.split_first_chunk::<16>().ok_or(Reject::Truncated)?;
    let (dst, rest) = rest.split_first_chunk::<16>().ok_or(Reject::Truncated)?;
    let &[version, _, _, _, len0, len1, next_header, ttl] = fixed;
    if version >> 4 != 6 || next_header != PROTOCOL {
        return Err(Reject::NotCarp);
    }
    let len = usize::from(u16::from_be_bytes([len0, len1]));
    let payload = rest.get(..len).ok_or(Reject::Truncated)?;
    Ok(Received {
        src: (*src).into(),
        dst: (*dst).into(),
        mac: None,
        ttl,
        payload,
    })
}
