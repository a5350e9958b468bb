//! The digest of an advertisement: HMAC-SHA1, computed as the BSDs do (docs/protocol.md, section
//! 2).

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hmac::digest::common::{Key as Block, KeyInit};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::settings::LinkLocal;
use crate::types::{MacAddr, Vhid};

/// Bytes of a digest.
pub const DIGEST_LEN: usize = 20;

/// The shared key: a password of 1 to 20 bytes, padded with zeros. Wiped when dropped, never
/// printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; Self::LEN]);

/// A password that cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a password has 1 to {} bytes, not {len}", Key::LEN)]
pub struct BadKey {
    /// How many bytes were given.
    pub len: usize,
}

impl Key {
    /// `CARP_KEY_LEN` of the BSDs. Their ifconfig, and ucarp, take only 19 bytes.
    pub const LEN: usize = 20;

    /// From a password, taken as bytes.
    ///
    /// # Errors
    /// [`BadKey`] if it is empty or has more than 20 bytes.
    pub fn new(password: &[u8]) -> Result<Self, BadKey> {
        let mut key = [0; Self::LEN];
        match key.get_mut(..password.len()) {
            Some(start) if !password.is_empty() => start.copy_from_slice(password),
            _ => {
                return Err(BadKey {
                    len: password.len(),
                });
            }
        }
        Ok(Self(key))
    }

    /// From the 20 bytes as a BSD kernel holds them.
    #[must_use]
    pub const fn from_raw(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What is hashed before the counter: version, type, lladdr if there is one, vhid, and every
/// address once, first IPv4 in ascending order, then IPv6.
#[must_use]
pub fn message_prefix(
    vhid: Vhid,
    addresses: &[IpAddr],
    lladdr: Option<MacAddr>,
    link_local: LinkLocal,
) -> Vec<u8> {
    let v4: BTreeSet<Ipv4Addr> = addresses
        .iter()
        .filter_map(|a| {
            if let IpAddr::V4(v4) = a {
                Some(*v4)
            } else {
                None
            }
        })
        .collect();
    let v6: BTreeSet<Ipv6Addr> = addresses
        .iter()
        .filter_map(|a| {
            if let IpAddr::V6(v6) = a {
                Some(without_scope(*v6))
            } else {
                None
            }
        })
        .filter(|a| link_local == LinkLocal::Include || !a.is_unicast_link_local())
        .collect();
    let mut message = vec![super::wire::VERSION, super::wire::TYPE];
    message.extend(lladdr.iter().flat_map(|mac| mac.0));
    message.push(vhid.get());
    message.extend(v4.iter().flat_map(Ipv4Addr::octets));
    message.extend(v6.iter().flat_map(Ipv6Addr::octets));
    message
}

/// BSD kernels store the interface's index in bytes 2 and 3 of a link-local address, and clear them
/// before hashing.
fn without_scope(address: Ipv6Addr) -> Ipv6Addr {
    if !address.is_unicast_link_local() {
        return address;
    }
    let mut octets = address.octets();
    octets[2] = 0;
    octets[3] = 0;
    Ipv6Addr::from(octets)
}

/// Signs and verifies for one virtual host. The key and everything but the counter are hashed once,
/// on creation.
#[derive(Clone)]
pub struct Authenticator {
    included: Hmac<Sha1>,
    /// Present if leaving out link-local addresses makes a difference.
    excluded: Option<Hmac<Sha1>>,
    send: LinkLocal,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("send", &self.send)
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    /// `send` chooses the form that [`Self::sign`] produces; [`Self::verify`] accepts both.
    #[must_use]
    pub fn new(
        key: &Key,
        vhid: Vhid,
        addresses: &[IpAddr],
        lladdr: Option<MacAddr>,
        send: LinkLocal,
    ) -> Self {
        let mut block = Block::<Hmac<Sha1>>::default();
        for (to, from) in block.iter_mut().zip(key.0) {
            *to = from;
        }
        let keyed = Hmac::<Sha1>::new(&block);
        block.zeroize();
        let form = |form| {
            keyed
                .clone()
                .chain_update(message_prefix(vhid, addresses, lladdr, form))
        };
        let differ = addresses
            .iter()
            .any(|a| matches!(a, IpAddr::V6(v6) if v6.is_unicast_link_local()));
        let excluded = differ.then(|| form(LinkLocal::Exclude));
        Self {
            included: form(LinkLocal::Include),
            excluded,
            send,
        }
    }

    /// The digest of an advertisement with this counter.
    #[must_use]
    pub fn sign(&self, counter: u64) -> [u8; DIGEST_LEN] {
        let chosen = match self.send {
            LinkLocal::Include => &self.included,
            LinkLocal::Exclude => self.excluded.as_ref().unwrap_or(&self.included),
        };
        chosen
            .clone()
            .chain_update(counter.to_be_bytes())
            .finalize()
            .into_bytes()
            .into()
    }

    /// Whether this is the digest for the counter, with or without link-local addresses. Takes
    /// constant time.
    #[must_use]
    pub fn verify(&self, counter: u64, digest: &[u8; DIGEST_LEN]) -> bool {
        let matches = |mac: &Hmac<Sha1>| {
            mac.clone()
                .chain_update(counter.to_be_bytes())
                .verify_slice(digest)
                .is_ok()
        };
        matches(&self.included) || self.excluded.as_ref().is_some_and(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vhid() -> Vhid {
        Vhid::new(40).unwrap()
    }

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|a| a.parse().unwrap()).collect()
    }

    #[test]
    fn a_password_has_1_to_20_bytes() {
        assert_eq!(Key::new(b""), Err(BadKey { len: 0 }));
        assert_eq!(Key::new(&[b'x'; 21]), Err(BadKey { len: 21 }));
        assert!(Key::new(&[b'x'; 20]).is_ok());
        assert_eq!(
            Key::new(b"ab").unwrap(),
            Key::from_raw(*b"ab\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
        );
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", Key::new(b"hunter2").unwrap()), "Key(..)");
    }

    #[test]
    fn addresses_are_hashed_sorted_once_and_ipv4_first() {
        let message = |list: &[&str]| message_prefix(vhid(), &ips(list), None, LinkLocal::Include);
        let sorted = message(&["10.0.0.1", "10.0.0.2", "2001:db8::1"]);
        assert_eq!(
            sorted,
            message(&["2001:db8::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"])
        );
        assert_eq!(sorted.len(), 3 + 2 * 4 + 16);
    }

    #[test]
    fn both_link_local_forms_verify_and_one_is_sent() {
        let key = Key::new(b"secret").unwrap();
        let addresses = ips(&["2001:db8::1", "fe80::1"]);
        let form = |send| Authenticator::new(&key, vhid(), &addresses, None, send);
        let (bsd, openbsd) = (form(LinkLocal::Include), form(LinkLocal::Exclude));
        assert_ne!(bsd.sign(7), openbsd.sign(7));
        assert!(bsd.verify(7, &openbsd.sign(7)) && openbsd.verify(7, &bsd.sign(7)));
        assert!(!bsd.verify(8, &bsd.sign(7)));
        let without = Authenticator::new(
            &key,
            vhid(),
            &ips(&["2001:db8::1"]),
            None,
            LinkLocal::Include,
        );
        assert_eq!(without.sign(7), openbsd.sign(7));
    }
}
