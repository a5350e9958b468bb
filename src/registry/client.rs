//! HTTP with one repository of a registry: tokens, bounded answers, and no unencrypted connections
//! except to this machine.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody, Body, SendBody};

use super::{Reference, RegistryError};
use crate::trust::Digest;
use crate::types::shown;

/// The limit for a whole request.
const PATIENCE: Duration = Duration::from_mins(5);
/// The limit until the registry starts to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How much of a refusal, or of a token, is read, in bytes.
const WORDS_MAX: u64 = 64 << 10;

/// How to connect to a registry.
#[derive(Debug, Clone, Default)]
pub enum Way {
    /// Encrypted, except for a registry on this machine.
    #[default]
    Usual,
    /// Unencrypted.
    Insecure,
    /// Encrypted, wherever it is; these authorities are trusted in addition to those of the system.
    Believing(Vec<CertificateDer<'static>>),
}

/// Talks to one repository.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    /// `https://HOST/v2/REPOSITORY/`
    base: String,
    secure: bool,
    /// `user:password` in base64, from the files that container tools keep.
    login: Option<String>,
    /// The value of the `Authorization` header.
    authorization: Option<String>,
}

/// An answer, whatever its status.
type Answer = Response<Body>;

impl Client {
    /// For what is named here.
    #[must_use]
    pub fn new(reference: &Reference, way: &Way) -> Self {
        let (secure, more) = match way {
            Way::Usual => (!reference.is_loopback(), &[][..]),
            Way::Insecure => (false, &[][..]),
            Way::Believing(authorities) => (true, authorities.as_slice()),
        };
        let scheme = if secure { "https" } else { "http" };
        let mut found = if secure {
            rustls_native_certs::load_native_certs().certs
        } else {
            Vec::new()
        };
        found.extend_from_slice(more);
        let certificates: Vec<_> = found
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&certificates))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            // A registry may redirect us for a blob, but not to an unencrypted connection.
            .https_only(secure)
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .timeout_recv_response(Some(ANSWER))
            .user_agent(concat!("carpd/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .build();
        Self {
            agent: Agent::new_with_config(config),
            base: format!("{scheme}://{}/v2/{}/", reference.host, reference.repository),
            secure,
            login: login(&reference.host),
            authorization: None,
        }
    }

    /// Reads something, at most `limit` bytes.
    pub(super) fn get(
        &mut self,
        path: &str,
        accept: &str,
        limit: u64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<u8>, RegistryError> {
        let url = format!("{}{path}", self.base);
        let mut answer = self.ask(&Method::GET, &url, ("accept", accept), ())?;
        if answer.status() != StatusCode::OK {
            return Err(refused(&url, &mut answer));
        }
        let failed = |why: String| RegistryError::Unreachable {
            url: url.clone(),
            why,
        };
        let mut bytes = Vec::new();
        let mut reader = answer.body_mut().as_reader().take(limit + 1);
        let mut chunk = vec![0; 64 << 10];
        loop {
            let read = reader
                .read(&mut chunk)
                .map_err(|err| failed(err.to_string()))?;
            bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
            if bytes.len() as u64 > limit {
                return Err(failed(format!("it sends more than {limit} bytes")));
            }
            if read == 0 {
                return Ok(bytes);
            }
            progress(bytes.len() as u64, limit);
        }
    }

    /// Uploads a blob, unless it is already there.
    pub(super) fn put_blob(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        let digest = Digest::of(bytes);
        let url = format!("{}blobs/{digest}", self.base);
        if self
            .ask(&Method::HEAD, &url, ("accept", "*/*"), ())?
            .status()
            == StatusCode::OK
        {
            return Ok(());
        }
        let url = format!("{}blobs/uploads/", self.base);
        let mut answer = self.ask(&Method::POST, &url, ("accept", "*/*"), &b""[..])?;
        let location = answer
            .headers()
            .get("location")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let Some(location) = location.filter(|_| answer.status() == StatusCode::ACCEPTED) else {
            return Err(refused(&url, &mut answer));
        };
        let location = self.absolute(&location);
        let url = format!(
            "{location}{}digest={digest}",
            if location.contains('?') { '&' } else { '?' }
        );
        self.created(&url, "application/octet-stream", bytes)
    }

    /// Uploads something else.
    pub(super) fn put(
        &mut self,
        path: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        self.created(&format!("{}{path}", self.base), media_type, bytes)
    }

    fn created(&mut self, url: &str, media_type: &str, bytes: &[u8]) -> Result<(), RegistryError> {
        let mut answer = self.ask(&Method::PUT, url, ("content-type", media_type), bytes)?;
        if answer.status() == StatusCode::CREATED {
            Ok(())
        } else {
            Err(refused(url, &mut answer))
        }
    }

    /// A location may lack scheme and host.
    fn absolute(&self, location: &str) -> String {
        if location.contains("://") {
            return location.to_owned();
        }
        let root = self
            .base
            .find("/v2/")
            .and_then(|at| self.base.get(..at))
            .unwrap_or_default();
        format!("{root}/{}", location.trim_start_matches('/'))
    }

    /// Sends a request, and repeats it with a token if the registry requires one.
    fn ask(
        &mut self,
        method: &Method,
        url: &str,
        header: (&str, &str),
        body: impl AsSendBody + Copy,
    ) -> Result<Answer, RegistryError> {
        let answer = self.ask_once(method, url, header, body)?;
        let challenge = answer
            .headers()
            .get("www-authenticate")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let Some(challenge) = challenge.filter(|_| answer.status() == StatusCode::UNAUTHORIZED)
        else {
            return Ok(answer);
        };
        self.authorization = Some(self.authorize(&challenge)?);
        self.ask_once(method, url, header, body)
    }

    fn ask_once(
        &self,
        method: &Method,
        url: &str,
        header: (&str, &str),
        body: impl AsSendBody,
    ) -> Result<Answer, RegistryError> {
        let failed = |why: &dyn std::fmt::Display| RegistryError::Unreachable {
            url: url.to_owned(),
            why: why.to_string(),
        };
        let mut request = Request::builder()
            .method(method.clone())
            .uri(url)
            .header(header.0, header.1);
        // Only the registry itself gets our credentials: an upload may lead to another host.
        let root = self
            .base
            .find("/v2/")
            .and_then(|at| self.base.get(..=at))
            .unwrap_or_default();
        if let Some(authorization) = self
            .authorization
            .as_ref()
            .filter(|_| url.starts_with(root))
        {
            request = request.header("authorization", authorization);
        }
        let request = request.body(body).map_err(|err| failed(&err))?;
        self.agent.run(request).map_err(|err| failed(&err))
    }

    /// The credentials for a registry that requires them.
    fn authorize(&self, challenge: &str) -> Result<String, RegistryError> {
        let url = self.base.clone();
        let unknown = |why: &str| RegistryError::Unreachable {
            url: url.clone(),
            why: why.to_owned(),
        };
        let (kind, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if kind.eq_ignore_ascii_case("basic") {
            let login = self.login.as_ref().ok_or_else(|| {
                unknown("it requires a login, and ~/.docker/config.json has none for it")
            });
            return login.map(|login| format!("Basic {login}"));
        }
        let parameter = |name: &str| parameter(rest, name);
        let realm = parameter("realm").filter(|_| kind.eq_ignore_ascii_case("bearer"));
        let realm = realm.ok_or_else(|| unknown("it asks for a login in an unknown way"))?;
        if self.secure && !realm.starts_with("https://") {
            return Err(unknown("it wants the login sent unencrypted"));
        }
        let asked = ["service", "scope"]
            .into_iter()
            .filter_map(|name| Some((name, parameter(name)?)));
        let query: Vec<String> = asked
            .map(|(name, value)| format!("{name}={}", escaped(&value)))
            .collect();
        let between = if realm.contains('?') { '&' } else { '?' };
        let url = format!("{realm}{between}{}", query.join("&"));
        self.token(&url)
    }

    fn token(&self, url: &str) -> Result<String, RegistryError> {
        let failed = |why: &dyn std::fmt::Display| RegistryError::Unreachable {
            url: url.to_owned(),
            why: why.to_string(),
        };
        let mut request = Request::builder().method(Method::GET).uri(url);
        if let Some(login) = &self.login {
            request = request.header("authorization", format!("Basic {login}"));
        }
        let request = request.body(SendBody::none()).map_err(|err| failed(&err))?;
        let mut answer = self.agent.run(request).map_err(|err| failed(&err))?;
        if answer.status() != StatusCode::OK {
            return Err(refused(url, &mut answer));
        }
        let words = answer
            .body_mut()
            .with_config()
            .limit(WORDS_MAX)
            .read_to_vec()
            .map_err(|err| failed(&err))?;
        let words: serde_json::Value =
            serde_json::from_slice(&words).map_err(|err| failed(&err))?;
        let token = ["token", "access_token"]
            .iter()
            .find_map(|name| words.get(name)?.as_str());
        token
            .map(|token| format!("Bearer {token}"))
            .ok_or_else(|| failed(&"there is no token in the answer"))
    }
}

/// A refusal, with the registry's own explanation.
fn refused(url: &str, answer: &mut Answer) -> RegistryError {
    let status = answer.status().as_u16();
    let words = answer
        .body_mut()
        .with_config()
        .limit(WORDS_MAX)
        .read_to_vec()
        .unwrap_or_default();
    let words: serde_json::Value = serde_json::from_slice(&words).unwrap_or_default();
    let errors = words
        .get("errors")
        .and_then(|errors| errors.as_array())
        .into_iter()
        .flatten();
    let why: Vec<String> = errors
        .filter_map(|error| error.get("message")?.as_str())
        .map(shown)
        .collect();
    RegistryError::Refused {
        url: url.to_owned(),
        status,
        why: why.join("; "),
    }
}

/// `name="value"` of a challenge.
pub(super) fn parameter(challenge: &str, name: &str) -> Option<String> {
    let mut rest = challenge;
    loop {
        let (key, after) = rest.trim_start_matches([',', ' ']).split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        rest = after;
    }
}

/// Encoded for a query.
fn escaped(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/,".contains(&b);
    value
        .bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// The credentials that `docker login`, `podman login` and similar tools stored for this host.
fn login(host: &str) -> Option<String> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let docker = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(home?.join(".docker")));
    let text = fs::read(docker?.join("config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&text).ok()?;
    config
        .get("auths")?
        .get(host)?
        .get("auth")?
        .as_str()
        .filter(|auth| !auth.is_empty())
        .map(str::to_owned)
}
