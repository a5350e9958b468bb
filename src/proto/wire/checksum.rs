//! The Internet checksum (RFC 1071), plain and with the IPv6 pseudo-header.

use std::net::{IpAddr, Ipv6Addr};

use super::{LEN, PROTOCOL};

/// Sum of the 16-bit words; an odd last byte is the high byte of a word.
fn sum(bytes: &[u8]) -> u64 {
    let (words, last) = bytes.as_chunks::<2>();
    let words: u64 = words
        .iter()
        .map(|word| u64::from(u16::from_be_bytes(*word)))
        .sum();
    words + last.first().map_or(0, |byte| u64::from(*byte) << 8)
}

fn finish(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits above")
}

/// The checksum of bytes whose checksum field is zero; 0 if the field is filled in correctly.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    finish(sum(bytes))
}

/// As [`checksum`], with source, destination, length and protocol in front (RFC 8200, section 8.1).
pub(super) fn with_pseudo_header(bytes: &[u8; LEN], src: Ipv6Addr, dst: Ipv6Addr) -> u16 {
    finish(sum(bytes) + sum(&src.octets()) + sum(&dst.octets()) + LEN as u64 + u64::from(PROTOCOL))
}

/// Whether the checksum of an advertisement is correct. Over IPv6 either form is accepted
/// (docs/protocol.md, section 1.2).
#[must_use]
pub fn is_intact(bytes: &[u8; LEN], src: IpAddr, dst: IpAddr) -> bool {
    if checksum(bytes) == 0 {
        return true;
    }
    match (src, dst) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => with_pseudo_header(bytes, src, dst) == 0,
        _ => false,
    }
}
