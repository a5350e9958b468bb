//! Requests that leave the host for a hook: what is asked, of whom, and what comes back. Pure:
//! nothing is looked up and nothing is sent here.

mod url;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use url::{Endpoint, ParseUrlError, Scheme, Url};

/// The most headers of a request or an answer.
pub const HEADERS_MAX: usize = 64;
/// The most bytes of all headers together.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
/// The most bytes of a body that is sent.
pub const SENT_MAX: usize = 64 << 10;
/// The most bytes of a body that comes back.
pub const BODY_MAX: usize = 256 << 10;

/// The most bytes of a body that comes back where only the status matters.
pub const GLANCE_MAX: usize = 512;

/// What an HTTP request does; also the word of its grant and of its function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpVerb {
    /// Look at something.
    Get,
    /// Tell something, or begin something.
    Post,
    /// Put something in its place.
    Put,
    /// Change a part of something.
    Patch,
    /// Remove something.
    Delete,
}

impl HttpVerb {
    /// The word in configuration and hooks.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    /// The word on the wire.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One HTTP request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// What it does.
    pub verb: HttpVerb,
    /// Where it goes.
    pub url: Url,
    /// Names in small letters and values; see [`HttpRequest::check`].
    pub headers: Vec<(String, String)>,
    /// At most [`SENT_MAX`] bytes.
    pub body: Vec<u8>,
    /// How long all of it may take, in ms, looking up the name included.
    pub timeout_ms: u32,
}

/// Headers that say how a message is framed or where it goes: those are not for a hook to choose.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl HttpRequest {
    /// Are headers and body such as may be sent? Nothing here may end a line or frame another
    /// message.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.body.len() > SENT_MAX {
            return Err(format!(
                "a body of {} bytes is more than {SENT_MAX}",
                self.body.len()
            ));
        }
        if self.headers.len() > HEADERS_MAX {
            return Err(format!("more than {HEADERS_MAX} headers"));
        }
        let bytes: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        if bytes > HEADER_BYTES_MAX {
            return Err(format!(
                "headers of {bytes} bytes are more than {HEADER_BYTES_MAX}"
            ));
        }
        for (name, value) in &self.headers {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(token) {
                return Err(format!("{name:?} is not the name of a header"));
            }
            if OURS.contains(&name.to_ascii_lowercase().as_str()) {
                return Err(format!("the header {name} is not to be set"));
            }
            if !value
                .bytes()
                .all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
            {
                return Err(format!(
                    "the value of the header {name} has a character that a header cannot have"
                ));
            }
        }
        Ok(())
    }
}

/// Without the query, the headers and the body: any of them may hold a secret, and this goes to the
/// log.
impl fmt::Display for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "http.{} {}",
            self.verb.as_str(),
            self.url.without_query()
        )?;
        if self.verb == HttpVerb::Get {
            Ok(())
        } else {
            write!(f, " ({} bytes)", self.body.len())
        }
    }
}

/// What an HTTP server answered, whatever its status: a redirect is not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// 100 to 599.
    pub status: u16,
    /// Names in small letters, in the order of the answer; what is no text is left out.
    pub headers: Vec<(String, String)>,
    /// At most [`BODY_MAX`] bytes; a longer one is an error.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// What a hook sees where nothing is sent: in a plan.
    #[must_use]
    pub const fn planned() -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }
}

/// Something that a process of its own does, out on the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutgoingRequest {
    /// An HTTP request.
    Http(HttpRequest),
    /// The same, of whose answer the status matters: of its body comes back what there is of the
    /// first [`GLANCE_MAX`] bytes, however it ends, and of its headers nothing.
    Tell(HttpRequest),
    /// A TCP connection, closed as soon as it stands.
    Connect {
        /// To whom.
        endpoint: Endpoint,
        /// How long it may take, in ms, looking up the name included.
        timeout_ms: u32,
    },
}

impl OutgoingRequest {
    /// Who is asked.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        match self {
            Self::Http(request) | Self::Tell(request) => request.url.endpoint(),
            Self::Connect { endpoint, .. } => endpoint.clone(),
        }
    }

    /// How long it may take, in ms.
    #[must_use]
    pub const fn timeout_ms(&self) -> u32 {
        match self {
            Self::Http(request) | Self::Tell(request) => request.timeout_ms,
            Self::Connect { timeout_ms, .. } => *timeout_ms,
        }
    }
}

/// One entry of the grant `http`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    /// Where requests may go: see [`Url::covers`].
    pub url: Url,
    /// What may be asked there.
    #[serde(rename = "do")]
    pub verbs: Vec<HttpVerb>,
    /// A POST there changes nothing, so `health` may send it.
    #[serde(default, skip_serializing_if = "super::grant::is_false")]
    pub query: bool,
}

impl HttpGrant {
    /// Is a request with this method marked as one that changes nothing?
    #[must_use]
    pub fn is_query(&self, verb: HttpVerb) -> bool {
        self.query && verb == HttpVerb::Post
    }

    /// Does this allow the request?
    #[must_use]
    pub fn allows(&self, request: &HttpRequest) -> bool {
        self.verbs.contains(&request.verb) && self.url.covers(&request.url)
    }
}
