//! HTTP workers as processes: they go out, bring back, are confined, and end when nobody waits for
//! them any more.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use carpd::effect::{HttpRequest, HttpVerb, OutgoingRequest, Reply};
use carpd::engine::oneshot::{Job, OneShot};
use carpd::hooks::process::session::SandboxPolicy;
use carpd::hooks::{Budget, EntryPoint, HookSource, Language};
use carpd::host::children::http_worker::{HttpWorker, HttpWorkers};
use carpd::host::services::manager::ServiceBackend;
use carpd::host::{HostError, Options};
use carpd::keeper::{Client, Exits, HowEnded, Role};
use carpd::programs::role::words;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::hooks::{DAEMON, WORKER, block_on, event};

const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/ca.pem");
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn http_workers() -> (HttpWorkers, Exits) {
    let (keeper, exits) = Client::start(Some(Path::new(DAEMON))).unwrap();
    let spawn = move || {
        let keeper = keeper.clone();
        let worker = async move {
            let (id, stream) = keeper.spawn(Role::HttpWorker).await?;
            Ok(HttpWorker::new(stream, move || keeper.kill(id)))
        };
        Box::pin(worker) as Pin<Box<dyn Future<Output = std::io::Result<HttpWorker>>>>
    };
    (HttpWorkers::new(Rc::new(spawn), true), exits)
}

pub(crate) fn get(url: &str) -> OutgoingRequest {
    let url = url.parse().unwrap();
    OutgoingRequest::Http(HttpRequest {
        verb: HttpVerb::Get,
        url,
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: 5000,
    })
}

pub(crate) fn connect(endpoint: &str) -> OutgoingRequest {
    OutgoingRequest::Connect {
        endpoint: endpoint.parse().unwrap(),
        timeout_ms: 5000,
    }
}

/// Answers one request after another.
fn web_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            answer(&mut stream);
        }
    });
    port
}

/// Reads to the end of a request's head, or of what there is.
pub(crate) fn hear(stream: &mut impl Read) {
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() {
            break;
        }
        heard.extend(byte);
    }
}

/// Hears one request and says that it is ready.
fn answer(stream: &mut (impl Read + Write)) {
    hear(stream);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready");
    let _ = stream.flush();
}

/// Confined is part of the order: an HTTP worker that cannot be refuses to go.
#[test]
fn a_confined_http_worker_brings_an_answer_and_ends() {
    let port = web_server();
    block_on(async {
        let (http_workers, mut exits) = http_workers();
        for host in ["127.0.0.1", "localhost"] {
            let reply = http_workers
                .send(get(&format!("http://{host}:{port}/")), LIMIT)
                .await;
            assert!(
                matches!(&reply, Ok(Reply::Http(answer)) if answer.body == b"ready"),
                "{host}: {reply:?}"
            );
            let (_, how) = exits.next().await.expect("it ended");
            // Done by itself, or dismissed a moment before.
            assert!(
                matches!(&how, HowEnded::Status(0)) || how == HowEnded::Signal("SIGKILL".into()),
                "{how}"
            );
        }
        let reply = http_workers
            .send(connect(&format!("127.0.0.1:{port}")), LIMIT)
            .await;
        assert!(
            matches!(reply, Ok(Reply::Took(took)) if took < LIMIT),
            "{reply:?}"
        );
    });
}

/// A server with a certificate for `localhost` of an authority that no system trusts.
fn tls_server() -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain =
        vec![CertificateDer::from_pem_slice(include_bytes!("../fixtures/tls/server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../fixtures/tls/server.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = Arc::new(
        config
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut tls = rustls::StreamOwned::new(
                rustls::ServerConnection::new(Arc::clone(&config)).unwrap(),
                stream,
            );
            // Who does not believe it hangs up.
            if tls.conn.complete_io(&mut tls.sock).is_ok() {
                answer(&mut tls);
            }
        }
    });
    port
}

fn word(result: Result<Reply, HostError>) -> String {
    result
        .unwrap_err()
        .message
        .split(':')
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn what_goes_wrong_has_a_word() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    block_on(async {
        let (http_workers, _exits) = http_workers();
        assert_eq!(
            word(http_workers.send(connect(&free.to_string()), LIMIT).await),
            "refused"
        );
        assert_eq!(
            word(
                http_workers
                    .send(get(&format!("http://{free}/")), LIMIT)
                    .await
            ),
            "refused"
        );
        // The system does not know who signed its certificate: found out within the sandbox.
        let err = http_workers
            .send(get(&format!("https://localhost:{}/", tls_server())), LIMIT)
            .await
            .unwrap_err();
        assert!(
            err.message.starts_with("tls: ") && err.message.contains("UnknownIssuer"),
            "{err:?}"
        );
        // RFC 2606: nobody has this name. The machine may have no name server at all.
        let reply = http_workers
            .send(connect("no-such-host.invalid:80"), Duration::from_secs(1))
            .await;
        assert!(["name", "timeout"].contains(&word(reply).as_str()));
    });
}

#[test]
fn a_confined_http_worker_believes_the_operators_own_authority() {
    let url = format!("https://localhost:{}/", tls_server());
    block_on(async {
        let (http_workers, _exits) = http_workers();
        let believing = |path: &str| http_workers.clone().with_ca_file(Some(path.into()));
        let reply = believing(CA).send(get(&url), LIMIT).await;
        assert!(
            matches!(&reply, Ok(Reply::Http(answer)) if answer.body == b"ready"),
            "{reply:?}"
        );
        // Another name than that of its certificate.
        let other = url.replace("localhost", "127.0.0.1");
        assert_eq!(word(believing(CA).send(get(&other), LIMIT).await), "tls");
        for useless in [
            "/nonexistent/ca.pem",
            "/dev/null",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ] {
            let err = believing(useless).send(get(&url), LIMIT).await.unwrap_err();
            assert!(
                err.message.starts_with("tls: ")
                    && err.message.contains(&format!("ca-file: {useless}: ")),
                "{err:?}"
            );
        }
    });
}

/// As the keeper of a daemon starts them: an engine that somebody has taken over cannot have them
/// read what root may read.
#[test]
fn a_daemons_http_worker_reads_no_file_that_the_engine_names() {
    let url = format!("https://localhost:{}/", tls_server());
    let of_daemon = |named: Option<&'static str>| {
        let spawn = move || {
            let worker = async move {
                let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
                let mut http_worker = std::process::Command::new(WORKER)
                    .args(words("__http-worker"))
                    .arg("daemon")
                    .args(named)
                    .stdin(std::os::fd::OwnedFd::from(theirs))
                    .spawn()?;
                Ok(HttpWorker::new(ours, move || _ = http_worker.wait()))
            };
            Box::pin(worker) as Pin<Box<dyn Future<Output = std::io::Result<HttpWorker>>>>
        };
        HttpWorkers::new(Rc::new(spawn), true)
    };
    block_on(async {
        for secret in ["/etc/shadow", "/proc/1/environ", CA] {
            let asked = of_daemon(None).with_ca_file(Some(secret.into()));
            let err = asked.send(get(&url), LIMIT).await.unwrap_err();
            assert!(
                err.message.contains("UnknownIssuer") && !err.message.contains("ca-file"),
                "{err:?}"
            );
        }
        let asked = of_daemon(Some(CA)).with_ca_file(Some("/etc/shadow".into()));
        let reply = asked.send(get(&url), LIMIT).await;
        assert!(matches!(&reply, Ok(Reply::Http(_))), "{reply:?}");
    });
}

/// From the hook's call to the handshake and back.
#[test]
fn a_hook_asks_over_tls() {
    let url = format!("https://localhost:{}/", tls_server());
    let lua = format!("function on_master() log.info(http.get('{url}').body) end");
    let job = Job {
        source: HookSource {
            name: "h".parse().unwrap(),
            language: Language::Lua,
            path: "h.lua".into(),
            main: lua.into_bytes(),
            modules: BTreeMap::new(),
            config_json: "{}".into(),
            native: None,
        },
        grants: toml::from_str(&format!("http = [{{ url = \"{url}\", do = [\"get\"] }}]")).unwrap(),
        budget: Budget::default(),
        vhost: "web".parse().unwrap(),
        dev: "eth0".parse().unwrap(),
        addresses: Vec::new(),
        policy: SandboxPolicy::Required,
        host: Options {
            services: Some(ServiceBackend::SysV),
            ..Options::default()
        },
        ca_file: Some(CA.into()),
    };
    block_on(async {
        let mut hook = OneShot::start(job, Some(Path::new(DAEMON))).await.unwrap();
        assert_eq!(hook.call(event(EntryPoint::OnMaster)).await, Ok(()));
        assert_eq!(
            hook.log()
                .iter()
                .map(|line| line.message.as_str())
                .collect::<Vec<_>>(),
            ["ready"]
        );
    });
}

/// A server that takes the connection and says nothing.
#[test]
fn an_http_worker_ends_when_its_time_is_up_or_nobody_waits() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    block_on(async {
        let (http_workers, mut exits) = http_workers();
        let began = tokio::time::Instant::now();
        assert_eq!(
            word(
                http_workers
                    .send(get(&url), Duration::from_millis(300))
                    .await
            ),
            "timeout"
        );
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        assert!(exits.next().await.is_some());
        // Superseded: the future is dropped while the HTTP worker waits for the server.
        let waiting = http_workers.send(get(&url), LIMIT);
        let connected = tokio::task::spawn_blocking(move || {
            silent
                .accept()
                .map(drop)
                .and_then(|()| silent.accept().map(|(s, _)| s))
        });
        tokio::select! {
            reply = waiting => panic!("{reply:?}"),
            stream = connected => drop(stream.unwrap().unwrap()),
        }
        let (_, how) = exits.next().await.expect("it ended");
        assert!(
            how == HowEnded::Signal("SIGKILL".into()) || matches!(how, HowEnded::Status(_)),
            "{how}"
        );
    });
}

#[test]
fn an_http_worker_is_not_one_without_a_socket() {
    let status = std::process::Command::new(WORKER)
        .args(words("__http-worker"))
        .stdin(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}
