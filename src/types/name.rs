//! Names that people give: of interfaces, virtual hosts, hooks.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Vhid;

/// A name that the kernel or carpd would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {what}: {why}")]
pub struct InvalidName {
    /// What it was to name, with its article.
    pub what: &'static str,
    /// What was given.
    pub value: String,
    /// The rule it breaks.
    pub why: &'static str,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks the rules of the type.
            ///
            /// # Errors
            /// [`InvalidName`] with the rule that is broken.
            pub fn new(value: &str) -> Result<Self, InvalidName> {
                match $check(value) {
                    Ok(()) => Ok(Self(value.into())),
                    Err(why) => Err(InvalidName { what: $what, value: value.to_owned(), why }),
                }
            }

            /// The name itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(s: &str) -> Result<Self, InvalidName> {
                Self::new(s)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(s: String) -> Result<Self, InvalidName> {
                Self::new(&s)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// A network interface's name as the kernel takes it: its own of 1 to 15 bytes, or an
    /// alternative one of up to 127; no `/`, no blanks (`dev_valid_name` and `ALTIFNAMSIZ` in
    /// Linux).
    IfName, "an interface name", check_interface
}

name_type! {
    /// The name of a virtual host or a hook: 1 to 64 of letters, digits, `-`, `_` and `.`,
    /// beginning with a letter or digit. It becomes part of file names.
    Name, "a name", check_name
}

/// Bytes of the longest name that an interface itself can have.
const OWN_NAME_MAX: usize = 15;
/// Bytes of the longest alternative name.
const ALTERNATIVE_NAME_MAX: usize = 127;

impl IfName {
    /// Is it too long for an interface's own name? Then it can only be an alternative one.
    #[must_use]
    pub const fn is_alternative(&self) -> bool {
        self.0.len() > OWN_NAME_MAX
    }

    /// The name of the macvlan for a virtual hardware address on this interface, as `eth0.c40`: the
    /// same each time, and different for each interface and vhid. Of a long name it has the
    /// beginning and a digest.
    #[must_use]
    pub fn macvlan(&self, vhid: Vhid) -> Self {
        let suffix = format!(".c{vhid}");
        let room = OWN_NAME_MAX - suffix.len();
        if self.0.len() <= room {
            return Self(format!("{}{suffix}", self.0).into());
        }
        let digest = format!("{:04x}", digest(&self.0));
        let beginning = self.0.floor_char_boundary(room - digest.len());
        Self(format!("{}{digest}{suffix}", &self.0[..beginning]).into())
    }
}

/// Tells apart the few interfaces of one machine (FNV-1a, folded).
fn digest(text: &str) -> u16 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let [a, b, c, d] = hash.to_be_bytes();
    u16::from_be_bytes([a ^ c, b ^ d])
}

fn check_interface(value: &str) -> Result<(), &'static str> {
    match value {
        "" => Err("it is empty"),
        "." | ".." => Err("it is a directory"),
        _ if value.len() > ALTERNATIVE_NAME_MAX => Err("it is longer than 127 bytes"),
        _ if value
            .bytes()
            .any(|b| b == b'/' || b.is_ascii_whitespace() || b.is_ascii_control()) =>
        {
            Err("it has a slash, a blank or a control character")
        }
        _ => Ok(()),
    }
}

fn check_name(value: &str) -> Result<(), &'static str> {
    if value.is_empty() || value.len() > 64 {
        return Err("it must have 1 to 64 characters");
    }
    if !value.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("it must begin with a letter or a digit");
    }
    if value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        Ok(())
    } else {
        Err("only letters, digits, '-', '_' and '.' are allowed in it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_macvlan_fits_and_tells_interfaces_apart() {
        let name = |parent: &str, vhid: u8| {
            let parent: IfName = parent.parse().unwrap();
            parent.macvlan(Vhid::new(vhid.into()).unwrap()).to_string()
        };
        assert_eq!(name("eth0", 40), "eth0.c40");
        assert_eq!(name("enp0s31f6", 255), "enp0s31f6.c255");
        let long = [
            "enp175s0f0np0",
            "enp175s0f0np1",
            "wan-uplink-of-the-second-provider",
        ];
        let names: std::collections::BTreeSet<_> =
            long.iter().map(|parent| name(parent, 200)).collect();
        assert_eq!(names.len(), long.len());
        for name in names {
            assert!(
                name.len() <= OWN_NAME_MAX && name.contains(".c200"),
                "{name}"
            );
            assert!(IfName::new(&name).is_ok());
        }
        assert!(name("ääääääää", 1).len() <= OWN_NAME_MAX);
    }
}
