//! The 36 bytes of an advertisement, and the frames around them. Bytes in, bytes out.

mod checksum;
mod frame;
mod roll_call;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv6Addr};

pub use checksum::{checksum, is_intact};
pub use frame::{
    Received, ethernet_frame, ipv4_packet, ipv6_packet, multicast_mac, parse_frame, parse_packet,
};
pub use roll_call::{RollCall, Word};

use super::auth::DIGEST_LEN;
use super::stats::Reject;
use crate::types::{AdvBase, AdvSkew};

/// IP protocol number, shared with VRRP.
pub const PROTOCOL: u8 = 112;
/// Bytes of an advertisement.
pub const LEN: usize = 36;
/// CARP's version; VRRPv3 has 3.
pub const VERSION: u8 = 2;
/// The only type there is.
pub const TYPE: u8 = 1;
/// Counter and digest in 32-bit words. Sent, but never checked by any implementation.
const AUTHLEN: u8 = 7;

/// The decoded 36 bytes (docs/protocol.md, section 1).
///
/// The digest covers only vhid and counter: anyone who has seen a packet can send it again with a
/// different advbase, advskew or demotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertisement {
    /// The virtual host id, unchecked.
    pub vhid: u8,
    /// Interval, whole seconds.
    pub advbase: AdvBase,
    /// Interval, 1/256 s.
    pub advskew: AdvSkew,
    /// OpenBSD's demotion; all others send 0 and ignore it.
    pub demote: u8,
    /// OpenBSD: a constant cookie. All others: increases by one.
    pub counter: u64,
    /// HMAC-SHA1.
    pub digest: [u8; DIGEST_LEN],
}

impl Advertisement {
    /// The advbase and advskew of a bow-out (docs/protocol.md, section 6).
    pub const BOW_OUT: (AdvBase, AdvSkew) = (AdvBase(255), AdvSkew(255));

    /// Decodes the first 36 bytes; the rest is ignored. The caller must check checksum and digest.
    ///
    /// # Errors
    /// [`Reject::Short`], [`Reject::Version`], or [`Reject::VrrpV2`] if it is too short for CARP
    /// and just right for VRRP.
    pub fn decode(payload: &[u8]) -> Result<Self, Reject> {
        let version = payload.first().ok_or(Reject::Short)? >> 4;
        if version != VERSION {
            return Err(Reject::Version(version));
        }
        let Some(bytes) = payload.first_chunk::<LEN>() else {
            return Err(vrrp_or(Reject::Short, payload));
        };
        let &[
            _,
            vhid,
            advskew,
            _,
            demote,
            advbase,
            _,
            _,
            c0,
            c1,
            c2,
            c3,
            c4,
            c5,
            c6,
            c7,
            ref digest @ ..,
        ] = bytes;
        Ok(Self {
            vhid,
            advbase: AdvBase(advbase),
            advskew: AdvSkew(advskew),
            demote,
            counter: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
            digest: *digest,
        })
    }

    /// Encodes it with the checksum over the 36 bytes only.
    #[must_use]
    pub fn encode(&self) -> [u8; LEN] {
        let mut bytes = self.without_checksum();
        let sum = checksum(&bytes);
        [bytes[6], bytes[7]] = sum.to_be_bytes();
        bytes
    }

    /// Encodes it with NetBSD's checksum for IPv6, which includes the pseudo-header.
    #[must_use]
    pub fn encode_with_pseudo_header(&self, src: Ipv6Addr, dst: Ipv6Addr) -> [u8; LEN] {
        let mut bytes = self.without_checksum();
        let sum = checksum::with_pseudo_header(&bytes, src, dst);
        [bytes[6], bytes[7]] = sum.to_be_bytes();
        bytes
    }

    fn without_checksum(&self) -> [u8; LEN] {
        let head = [
            VERSION << 4 | TYPE,
            self.vhid,
            self.advskew.0,
            AUTHLEN,
            self.demote,
            self.advbase.0,
            0,
            0,
        ];
        let mut bytes = [0; LEN];
        for (to, from) in bytes.iter_mut().zip(
            head.into_iter()
                .chain(self.counter.to_be_bytes())
                .chain(self.digest),
        ) {
            *to = from;
        }
        bytes
    }

    /// Whether the sender says that it is leaving.
    #[must_use]
    pub fn is_bow_out(&self) -> bool {
        (self.advbase, self.advskew) == Self::BOW_OUT
    }
}

/// The vhid of what may be an advertisement, to find its virtual host before anything is checked.
#[must_use]
pub fn peek_vhid(payload: &[u8]) -> Option<u8> {
    match payload {
        [first, vhid, ..] if [VERSION, roll_call::VERSION].contains(&(first >> 4)) => Some(*vhid),
        _ => None,
    }
}

/// VRRPv2 begins like CARP. Its fourth byte is the number of addresses, from which its length
/// follows: 8 bytes, 4 for each address, 8 for authentication (RFC 3768, section 5.1).
#[must_use]
pub fn looks_like_vrrp(payload: &[u8]) -> bool {
    let &[first, _, _, count, authtype, ..] = payload else {
        return false;
    };
    first == VERSION << 4 | TYPE
        && count > 0
        && authtype <= 2
        && payload.len() == 8 + 4 * usize::from(count) + 8
}

/// The given reason to refuse a packet, unless it is a VRRPv2 packet.
pub(super) fn vrrp_or(why: Reject, payload: &[u8]) -> Reject {
    if looks_like_vrrp(payload) {
        Reject::VrrpV2
    } else {
        why
    }
}

/// The address, unless it is unspecified: `0.0.0.0` or `::`.
pub(super) fn known(ip: IpAddr) -> Option<IpAddr> {
    (!ip.is_unspecified()).then_some(ip)
}
