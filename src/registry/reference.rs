//! Names of artifacts in a registry: `ghcr.io/example/failover:0.2.0`.

use std::fmt;
use std::str::FromStr;

use crate::trust::Digest;

/// Where a plugin is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host, with its port if it has one.
    pub host: String,
    /// The repository in it.
    pub repository: String,
    /// Which version.
    pub version: Version,
}

/// Which version of an artifact in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// Whatever the tag refers to at present.
    Tag(String),
    /// Exactly this one.
    Digest(Digest),
}

/// A text that is not the name of an artifact in a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a reference to a registry: it should be HOST/NAME:TAG or HOST/NAME@sha256:..."
)]
pub struct BadReference(String);

impl Reference {
    /// Is the host this machine?
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let name = match self.host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        };
        name == "localhost"
            || name
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }

    /// The last part of the repository's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if matches!(self.version, Version::Tag(_)) {
            ':'
        } else {
            '@'
        };
        write!(
            f,
            "{}/{}{between}{}",
            self.host, self.repository, self.version
        )
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    /// The host must be written out. Without a version, the tag is `latest`; a tag before a digest
    /// has no effect.
    fn from_str(text: &str) -> Result<Self, BadReference> {
        let bad = || BadReference(text.to_owned());
        let (host, rest) = text.split_once('/').ok_or_else(bad)?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| bad())?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        let is_tag = |tag: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            (1..=128).contains(&tag.len()) && tag.bytes().all(fits) && !tag.starts_with(['.', '-'])
        };
        if !is_host(host) || !is_repository(repository) || !tag.is_none_or(is_tag) {
            return Err(bad());
        }
        let version = digest.map_or_else(
            || Version::Tag(tag.unwrap_or("latest").to_owned()),
            Version::Digest,
        );
        Ok(Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            version,
        })
    }
}

/// A name with a dot, a port, or `localhost`: no default registry is assumed.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let name_fits = if let Some(ip) = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        ip.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        let label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
        };
        name.split('.').all(label) && (name.contains('.') || port.is_some() || name == "localhost")
    };
    name_fits && port.is_none_or(|port| port.parse::<u16>().is_ok()) && host.len() <= 255
}

fn is_repository(name: &str) -> bool {
    let part = |part: &str| {
        let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        ends(part.bytes().next())
            && ends(part.bytes().last())
            && part.bytes().all(fits)
            && !part.contains("..")
    };
    name.len() <= 255 && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written() {
        let hex = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        for (text, shown) in [
            (
                "ghcr.io/example/failover:0.2.0",
                "ghcr.io/example/failover:0.2.0",
            ),
            ("localhost:5000/failover", "localhost:5000/failover:latest"),
            ("[::1]:5000/a/b/c_d.e", "[::1]:5000/a/b/c_d.e:latest"),
            (
                &format!("r.example.org/x@sha256:{hex}"),
                &format!("r.example.org/x@sha256:{hex}"),
            ),
            (
                &format!("r.example.org/x:1@sha256:{hex}"),
                &format!("r.example.org/x@sha256:{hex}"),
            ),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_could_mean_something_else_is_refused() {
        for text in [
            "",
            "failover.wasm",
            "hooks/failover.wasm",
            "example/failover:1",
            "ghcr.io/",
            "ghcr.io/UP:1",
            "ghcr.io/a:",
            "ghcr.io/a@sha1:00",
            "ghcr.io/a/../b",
            "ghcr.io/a b",
            "ghcr.io/a?x=1",
            "ghcr.io:x/a",
            "-x.io/a",
            "http://ghcr.io/a",
            "ghcr.io/a:.x",
            "u@ghcr.io/a",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_this_machine_alone() {
        for (text, is) in [
            ("localhost/a", true),
            ("localhost:5000/a", true),
            ("127.0.0.1:5000/a", true),
            ("[::1]:5000/a", true),
            ("127.0.0.1.example.org/a", false),
            ("localhost.example.org/a", false),
            ("10.0.0.1:5000/a", false),
        ] {
            assert_eq!(
                text.parse::<Reference>().unwrap().is_loopback(),
                is,
                "{text}"
            );
        }
    }
}
