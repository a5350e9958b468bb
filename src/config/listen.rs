//! Where the HTTP endpoint listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What a path begins with.
const UNIX: &str = "unix:";

/// The longest path of a socket, in bytes: what the kernel has room for, without a final zero.
const PATH_MAX: usize = 107;

/// Where the HTTP endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// On an address and a port.
    Tcp(SocketAddr),
    /// On a socket in the file system; an absolute path.
    Unix(PathBuf),
}

/// What is no place to listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`listen` must be an address with a port (\"127.0.0.1:9478\", \"[::1]:9478\") or a socket (\"unix:/run/carpd/http.sock\"), not {0:?}: {1}"
)]
pub struct InvalidListen(String, &'static str);

impl Listen {
    /// Where an engine for this network namespace listens. A path is the same file in all of them,
    /// so each has its own; an address is not.
    #[must_use]
    pub fn in_netns(&self, netns: Option<&Path>) -> Self {
        match (self, netns.and_then(Path::file_name)) {
            (Self::Unix(path), Some(name)) => {
                let mut path = path.clone().into_os_string();
                path.push(".");
                path.push(name);
                Self::Unix(path.into())
            }
            _ => self.clone(),
        }
    }
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        let refused = |why| Err(InvalidListen(text.to_owned(), why));
        if let Some(path) = text.strip_prefix(UNIX) {
            return if !path.starts_with('/') {
                refused("its path is not absolute")
            } else if path.ends_with('/') {
                refused("its path is a directory")
            } else if path.len() > PATH_MAX {
                refused("its path is longer than 107 bytes")
            } else if path.contains(char::is_control) {
                refused("its path has a control character")
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 => refused("nobody would know the port"),
            Ok(address) if address.ip().is_multicast() => refused("nobody listens on a group"),
            Ok(address) => Ok(Self::Tcp(address)),
            Err(_) if text.parse::<std::net::IpAddr>().is_ok() => refused("the port is missing"),
            Err(_) if text.starts_with('/') => refused("a path begins with `unix:`"),
            Err(_) => refused("names are not looked up"),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_addresses_with_ports_and_absolute_paths() {
        for good in [
            "127.0.0.1:9478",
            "[::1]:9478",
            "0.0.0.0:80",
            "unix:/run/carpd/http.sock",
        ] {
            assert_eq!(good.parse::<Listen>().unwrap().to_string(), good);
        }
        for (bad, why) in [
            ("127.0.0.1", "the port is missing"),
            ("::1", "the port is missing"),
            ("127.0.0.1:0", "nobody would know the port"),
            ("224.0.0.18:9478", "nobody listens on a group"),
            ("localhost:9478", "names are not looked up"),
            ("/run/carpd/http.sock", "a path begins with `unix:`"),
            ("unix:http.sock", "its path is not absolute"),
            ("unix:/run/", "its path is a directory"),
            ("unix:/run/a\nb", "its path has a control character"),
            ("", "names are not looked up"),
        ] {
            let InvalidListen(_, said) = bad.parse::<Listen>().unwrap_err();
            assert_eq!(said, why, "{bad}");
        }
        let long = format!("unix:/{}", "x".repeat(PATH_MAX));
        assert!(long.parse::<Listen>().is_err());
    }

    #[test]
    fn each_namespace_has_a_socket_of_its_own() {
        let listen: Listen = "unix:/run/http.sock".parse().unwrap();
        assert_eq!(listen.in_netns(None), listen);
        let blue = listen.in_netns(Some(Path::new("/run/netns/blue")));
        assert_eq!(blue.to_string(), "unix:/run/http.sock.blue");
        let tcp: Listen = "127.0.0.1:9478".parse().unwrap();
        assert_eq!(tcp.in_netns(Some(Path::new("/run/netns/blue"))), tcp);
    }
}
