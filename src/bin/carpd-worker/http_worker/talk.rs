//! The exchange with a server whose address is known. Blocking, on one thread.

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use ureq::http::{Request, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use carpd::effect::outgoing::{BODY_MAX, GLANCE_MAX, HEADER_BYTES_MAX, HEADERS_MAX};
use carpd::effect::{Endpoint, HttpRequest, HttpResponse, HttpVerb, Url};
use carpd::host::HostError;
use carpd::host::children::http_worker::{Brought, Report, Trouble};

/// Which certificates are trusted.
#[derive(Debug)]
pub(crate) struct Trust(Vec<Certificate<'static>>);

impl Trust {
    /// Those of the system: the package `ca-certificates`.
    pub(crate) fn of_the_system() -> Self {
        let found = rustls_native_certs::load_native_certs().certs;
        Self(
            found
                .iter()
                .map(|certificate| Certificate::from_der(certificate).to_owned())
                .collect(),
        )
    }

    /// These in addition.
    pub(crate) fn and(mut self, certificates: &[CertificateDer<'_>]) -> Self {
        self.0.extend(
            certificates
                .iter()
                .map(|certificate| Certificate::from_der(certificate).to_owned()),
        );
        self
    }

    /// None: for unencrypted connections.
    pub(crate) const fn nobody() -> Self {
        Self(Vec::new())
    }

    #[cfg(test)]
    pub(crate) fn in_pem(pem: &[u8]) -> Self {
        Self(vec![Certificate::from_pem(pem).unwrap()])
    }
}

/// Names were resolved earlier, when that was still allowed.
#[derive(Debug)]
struct Known(Vec<SocketAddr>);

impl Resolver for Known {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let mut known = self.empty();
        self.0.iter().for_each(|address| known.push(*address));
        Ok(known)
    }
}

/// Sends one request and reads one answer, whatever its status.
pub(crate) fn ask(
    request: &HttpRequest,
    addresses: &[SocketAddr],
    trust: &Trust,
    limit: Duration,
) -> Report {
    let endpoint = request.url.endpoint();
    answer(&agent(addresses, trust, limit), request)
        .map(Brought::Answer)
        .map_err(|err| told(&endpoint, &err, trust))
}

/// Sends one request, and takes the status of its answer and a glance at its body.
pub(crate) fn tell(
    request: &HttpRequest,
    addresses: &[SocketAddr],
    trust: &Trust,
    limit: Duration,
) -> Report {
    let sent = sent(&agent(addresses, trust, limit), request);
    let mut response = sent.map_err(|err| told(&request.url.endpoint(), &err, trust))?;
    let mut body = Vec::new();
    let glance = response.body_mut().as_reader().take(GLANCE_MAX as u64);
    // What was read until then stays.
    _ = { glance }.read_to_end(&mut body);
    Ok(Brought::Answer(HttpResponse {
        status: response.status().as_u16(),
        headers: Vec::new(),
        body,
    }))
}

/// Gets a page, and reads no more than the status of the answer.
///
/// # Errors
/// As [`ask`].
pub(crate) fn status(
    url: &Url,
    addresses: &[SocketAddr],
    trust: &Trust,
    limit: Duration,
) -> Result<u16, HostError> {
    let agent = agent(addresses, trust, limit);
    let answer = agent.get(url.to_string()).call();
    let answer = answer.map_err(|err| told(&url.endpoint(), &err, trust))?;
    Ok(answer.status().as_u16())
}

fn agent(addresses: &[SocketAddr], trust: &Trust, limit: Duration) -> Agent {
    Agent::with_parts(
        config(trust, limit),
        DefaultConnector::default(),
        Known(addresses.to_vec()),
    )
}

fn config(trust: &Trust, limit: Duration) -> ureq::config::Config {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&trust.0))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(limit))
        // The hook was granted one place: if it is redirected from there, the hook has to ask
        // again.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .max_response_header_size(HEADER_BYTES_MAX)
        .max_idle_connections(0)
        .user_agent(concat!("carpd/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .build()
}

fn sent(agent: &Agent, request: &HttpRequest) -> Result<ureq::http::Response<ureq::Body>, Error> {
    let mut builder = Request::builder()
        .method(request.verb.method())
        .uri(request.url.to_string());
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    match request.verb {
        HttpVerb::Get | HttpVerb::Delete => agent.run(builder.body(())?),
        // An empty body is still a body.
        HttpVerb::Post | HttpVerb::Put | HttpVerb::Patch => {
            agent.run(builder.body(request.body.as_slice())?)
        }
    }
}

fn answer(agent: &Agent, request: &HttpRequest) -> Result<HttpResponse, Error> {
    let mut response = sent(agent, request)?;
    let status = response.status().as_u16();
    let headers = response.headers().iter().take(HEADERS_MAX);
    let headers = headers
        .filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect();
    let body = response
        .body_mut()
        .with_config()
        .limit(BODY_MAX as u64)
        .read_to_vec()?;
    Ok(HttpResponse {
        status,
        headers,
        body,
    })
}

/// What went wrong, by its kind.
fn told(endpoint: &Endpoint, err: &Error, trust: &Trust) -> HostError {
    let trouble = match err {
        Error::Timeout(_) => Trouble::Timeout,
        Error::HostNotFound => Trouble::Name,
        Error::BodyExceedsLimit(_) | Error::LargeResponseHeader(..) => Trouble::TooLarge,
        Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) | Error::TlsRequired => Trouble::Tls,
        Error::ConnectionFailed => Trouble::Unreachable,
        Error::Io(io) => of_io(io),
        _ => Trouble::Protocol,
    };
    let hint = if trouble == Trouble::Tls && trust.0.is_empty() {
        "; the system trusts no certificates at all"
    } else {
        ""
    };
    trouble.error(endpoint, &format!("{err}{hint}"))
}

fn of_io(err: &std::io::Error) -> Trouble {
    // A TLS error arrives as an error of its transport.
    if err
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
    {
        return Trouble::Tls;
    }
    match err.kind() {
        // Landlock denies every port but the one that was granted.
        ErrorKind::ConnectionRefused | ErrorKind::PermissionDenied => Trouble::Refused,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Trouble::Timeout,
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::AddrNotAvailable => Trouble::Unreachable,
        _ => Trouble::Lost,
    }
}

/// Opens a connection and closes it.
pub(crate) fn connect(endpoint: &Endpoint, addresses: &[SocketAddr], limit: Duration) -> Report {
    let began = now();
    let mut last = Trouble::Name.error(endpoint, "it has no address");
    for (tried, address) in addresses.iter().enumerate() {
        // The remaining time is shared by the remaining addresses.
        let left = limit.saturating_sub(now().saturating_sub(began));
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1).max(1);
        if share.is_zero() {
            return Err(Trouble::Timeout.error(endpoint, "could not connect in time"));
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(_) => return Ok(Brought::Connected(now().saturating_sub(began))),
            Err(err) => last = of_io(&err).error(endpoint, &err.to_string()),
        }
    }
    Err(last)
}

/// Time since the machine started.
fn now() -> Duration {
    carpd::host::clock::now().since(carpd::types::Timestamp::ZERO)
}
