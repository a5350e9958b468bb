//! Addresses: virtual ones with their prefix, and hardware ones.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Vhid;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first: the order in which the protocol hashes and sends.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The prefix length of a host address: 32 or 128.
    #[must_use]
    pub const fn host_prefix(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Whether connections come from an IPv6 address where a program chooses no source: the kernel
/// prefers every address whose preferred lifetime (RFC 4862) is not over, and calls the others
/// deprecated. IPv4 knows nothing of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreferredLifetime {
    /// Over from the start: the address is a source only where the host has no other.
    Zero,
    /// As long as the address is there.
    Forever,
}

/// An address with its prefix length, as in `192.168.32.22/24` or `2001:db8::22/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VirtualAddress {
    /// The address itself, host bits included.
    pub ip: IpAddr,
    /// 0..=32 for IPv4, 0..=128 for IPv6.
    pub prefix: u8,
}

/// A text that is not an address with an optional prefix length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddressError {
    /// The part before the slash is no address.
    #[error("{0:?} is not an IPv4 or IPv6 address")]
    Address(String),
    /// The part after the slash is no prefix length of that family.
    #[error("{given:?} is not a prefix length: 0 to {max}")]
    Prefix {
        /// What stood after the slash.
        given: String,
        /// 32 or 128.
        max: u8,
    },
    /// Unspecified, multicast or broadcast: no host can hold it.
    #[error("{0} cannot be held by a host")]
    Unusable(IpAddr),
}

impl VirtualAddress {
    /// The most that one virtual host may have: each is a part of what is signed, held and let go
    /// in one step.
    pub const MAX_OF_A_VHOST: usize = 255;

    /// Checks the prefix length and that a host can hold the address.
    ///
    /// # Errors
    /// See [`ParseAddressError`].
    pub fn new(ip: IpAddr, prefix: u8) -> Result<Self, ParseAddressError> {
        let max = Family::of(ip).host_prefix();
        if prefix > max {
            return Err(ParseAddressError::Prefix {
                given: prefix.to_string(),
                max,
            });
        }
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        if ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err(ParseAddressError::Unusable(ip));
        }
        Ok(Self { ip, prefix })
    }

    /// IPv4 or IPv6.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.ip)
    }
}

impl FromStr for VirtualAddress {
    type Err = ParseAddressError;

    /// Without a slash the prefix is that of a host: /32 or /128.
    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let (ip, prefix) = text
            .split_once('/')
            .map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let ip: IpAddr = ip
            .parse()
            .map_err(|_| ParseAddressError::Address(ip.to_owned()))?;
        let max = Family::of(ip).host_prefix();
        let prefix = match prefix {
            None => max,
            Some(given) if given.bytes().all(|b| b.is_ascii_digit()) => {
                given.parse().map_err(|_| ParseAddressError::Prefix {
                    given: given.to_owned(),
                    max,
                })?
            }
            Some(given) => {
                return Err(ParseAddressError::Prefix {
                    given: given.to_owned(),
                    max,
                });
            }
        };
        Self::new(ip, prefix)
    }
}

impl TryFrom<String> for VirtualAddress {
    type Error = ParseAddressError;
    fn try_from(text: String) -> Result<Self, ParseAddressError> {
        text.parse()
    }
}

impl From<VirtualAddress> for String {
    fn from(address: VirtualAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

/// A 48-bit hardware address.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All hosts.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The virtual hardware address of a vhid, `00:00:5e:00:01:VHID` (docs/protocol.md, section
    /// 1.3).
    #[must_use]
    pub const fn of_vhid(vhid: Vhid) -> Self {
        Self([0, 0, 0x5e, 0, 1, vhid.get()])
    }
}

impl FromStr for MacAddr {
    type Err = ParseAddressError;
    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let bad = || ParseAddressError::Address(text.to_owned());
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let part = parts
                .next()
                .filter(|p| (1..=2).contains(&p.len()))
                .ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() {
            Err(bad())
        } else {
            Ok(Self(mac))
        }
    }
}

impl TryFrom<String> for MacAddr {
    type Error = ParseAddressError;
    fn try_from(text: String) -> Result<Self, ParseAddressError> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}
