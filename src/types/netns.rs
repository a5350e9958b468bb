//! Network namespaces, as people name them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::InvalidName;

/// Where `ip netns` keeps those that have a name.
const NAMED: &str = "/run/netns";

/// A network namespace: a name below `/run/netns`, or the absolute path of a file that stands for
/// one, such as `/proc/PID/ns/net`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Netns(Box<str>);

impl Netns {
    /// The file that stands for it while it exists.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        // An absolute path replaces what it is joined to.
        Path::new(NAMED).join(&*self.0)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Netns {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let why = if text.is_empty() {
            "it is empty"
        } else if matches!(text, "." | "..") {
            "it is a directory"
        } else if text.len() > 255 {
            "it is longer than 255 bytes"
        } else if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            "it has a blank or a control character"
        } else if !text.starts_with('/') && text.contains('/') {
            "it is neither a name nor an absolute path"
        } else {
            return Ok(Self(text.into()));
        };
        Err(InvalidName {
            what: "a network namespace",
            value: text.to_owned(),
            why,
        })
    }
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_namespace_is_a_name_or_a_path() {
        let path = |text: &str| text.parse::<Netns>().map(|netns| netns.path());
        assert_eq!(path("blue"), Ok("/run/netns/blue".into()));
        assert_eq!(path("/proc/7/ns/net"), Ok("/proc/7/ns/net".into()));
        for wrong in ["", ".", "..", "a/b", "../x", "a b", "a\n", &"x".repeat(256)] {
            assert!(path(wrong).is_err(), "{wrong:?}");
        }
    }
}
