//! Addresses of servers, read so strictly that there is one way to read them: what a grant is
//! compared with is what will be asked.
//!
//! A subset of RFC 3986: no user, no fragment, no dots that lead upwards (written out or as `%2e`),
//! no separators behind a percent sign. Whatever two readers could understand in two ways is
//! refused instead of repaired.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest URL, in bytes.
const URL_MAX: usize = 2048;
/// The longest name of a host (RFC 1035).
const HOST_MAX: usize = 253;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS, with a certificate that the system trusts.
    Https,
}

impl Scheme {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Why a text is no URL, or no endpoint, for us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} {why}")]
pub struct ParseUrlError {
    given: String,
    why: &'static str,
}

/// A host and a port: `192.168.32.10:80`, `[2001:db8::10]:80`, `db.example.net:5432`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    /// A name in small letters, an IPv4 address, or an IPv6 address without brackets.
    host: String,
    port: u16,
}

impl Endpoint {
    /// A name in small letters, or an address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// 1..=65535.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.bracketed(), self.port)
    }
}

impl FromStr for Endpoint {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, ParseUrlError> {
        read_endpoint(text, None).map_err(|why| ParseUrlError {
            given: shown(text),
            why,
        })
    }
}

impl TryFrom<String> for Endpoint {
    type Error = ParseUrlError;
    fn try_from(text: String) -> Result<Self, ParseUrlError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

/// An `http` or `https` URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url {
    scheme: Scheme,
    endpoint: Endpoint,
    /// Begins with a slash.
    path: String,
    query: Option<String>,
}

impl Url {
    /// In the clear or not.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Who is asked.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// The URL without its query, which may contain a secret.
    #[must_use]
    pub fn without_query(&self) -> String {
        let port = if self.endpoint.port == self.scheme.port() {
            String::new()
        } else {
            format!(":{}", self.endpoint.port)
        };
        format!(
            "{}://{}{port}{}",
            self.scheme.as_str(),
            self.endpoint.bracketed(),
            self.path
        )
    }

    /// Does a grant for this URL allow a request for `other`? The same scheme, host and port; the
    /// same path or one below it (`/v1` and `/v1/` cover `/v1/x`, neither covers `/v10`). A grant
    /// with a query allows that query alone; one without allows any.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let below = other.path.strip_prefix(&self.path);
        let path = below.is_some_and(|rest| {
            rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/')
        });
        let query = self.query.is_none() || (self.query == other.query && self.path == other.path);
        self.scheme == other.scheme && self.endpoint == other.endpoint && path && query
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_query())?;
        self.query
            .as_ref()
            .map_or(Ok(()), |query| write!(f, "?{query}"))
    }
}

impl FromStr for Url {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, ParseUrlError> {
        read_url(text).map_err(|why| ParseUrlError {
            given: shown(text),
            why,
        })
    }
}

impl TryFrom<String> for Url {
    type Error = ParseUrlError;
    fn try_from(text: String) -> Result<Self, ParseUrlError> {
        text.parse()
    }
}

impl From<Url> for String {
    fn from(url: Url) -> Self {
        url.to_string()
    }
}

/// As much of it as belongs into a message; nothing behind a question mark.
fn shown(text: &str) -> String {
    let text = text.split('?').next().unwrap_or_default();
    text.chars().take(100).collect()
}

fn read_url(text: &str) -> Result<Url, &'static str> {
    if text.len() > URL_MAX {
        return Err("is longer than 2048 bytes");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("has a blank or a character that must be written as %XX");
    }
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("is not a URL: it must begin with http:// or https://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err("must begin with http:// or https://"),
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.contains('@') {
        return Err("names a user: credentials belong in a header");
    }
    let endpoint = read_endpoint(authority, Some(scheme.port()))?;
    if rest.contains('#') {
        return Err("has a fragment, which is never sent");
    }
    let (path, query) = rest
        .split_once('?')
        .map_or((rest, None), |(path, query)| (path, Some(query)));
    let path = if path.is_empty() { "/" } else { path };
    let path = plain(path, b"/:@", |b| matches!(b, b'.' | b'/' | b'\\' | b'%'))?;
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("has . or .. in its path");
    }
    let query = query
        .map(|query| plain(query, b"/:@?", |_| false))
        .transpose()?;
    Ok(Url {
        scheme,
        endpoint,
        path,
        query,
    })
}

/// The text with its escapes in one form. It may have the characters in `more` beside the usual
/// ones, and none of `hidden` behind a percent sign.
fn plain(text: &str, more: &[u8], hidden: impl Fn(u8) -> bool) -> Result<String, &'static str> {
    let mut bytes = text.bytes();
    let mut out = String::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next(), bytes.next()].map(|b| b.map(|b| b.to_ascii_uppercase()));
            let [Some(high), Some(low)] = digits else {
                return Err("has % without two hexadecimal digits");
            };
            let digit = |b: u8| {
                char::from(b)
                    .to_digit(16)
                    .and_then(|d| u8::try_from(d).ok())
            };
            let (Some(h), Some(l)) = (digit(high), digit(low)) else {
                return Err("has % without two hexadecimal digits");
            };
            let byte = h * 16 + l;
            if hidden(byte) || byte.is_ascii_control() {
                return Err("hides a dot, a slash, a percent sign or a control character with %");
            }
            out.extend(['%', char::from(high), char::from(low)]);
        } else if byte.is_ascii_alphanumeric()
            || b"-._~!$&'()*+,;=".contains(&byte)
            || more.contains(&byte)
        {
            out.push(char::from(byte));
        } else {
            return Err("has a character that must be written as %XX");
        }
    }
    Ok(out)
}

fn read_endpoint(text: &str, default_port: Option<u16>) -> Result<Endpoint, &'static str> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("has [ without ]")?;
        let host: Ipv6Addr = host
            .parse()
            .map_err(|_| "has no IPv6 address in its brackets")?;
        let port = if port.is_empty() {
            None
        } else {
            Some(
                port.strip_prefix(':')
                    .ok_or("has no port after its address")?,
            )
        };
        (host.to_string(), port)
    } else {
        let (host, port) = text
            .split_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port)));
        (read_host(host)?, port)
    };
    let number = |port: &str| {
        port.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| port.parse::<u16>().ok())
            .flatten()
    };
    let port = match port {
        Some(port) => number(port)
            .filter(|port| *port > 0)
            .ok_or("has no port from 1 to 65535 after its colon")?,
        None => default_port.ok_or("needs a port, as in 192.168.32.10:80")?,
    };
    Ok(Endpoint { host, port })
}

fn read_host(host: &str) -> Result<String, &'static str> {
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(address.to_string());
    }
    let host = host.to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.len() > HOST_MAX || !host.split('.').all(label) {
        return Err("does not name a host: letters, digits, '-' and dots, or an address");
    }
    // The C library reads 2130706433, 127.1 and 0x7f.1 as addresses.
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last
        .strip_prefix("0x")
        .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    if hex || last.bytes().all(|b| b.is_ascii_digit()) {
        return Err("has a number for a host: write the address with four parts");
    }
    Ok(host)
}
