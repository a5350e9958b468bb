//! The exchange itself, with servers that answer correctly, late, too much or nonsense.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::talk::{Trust, ask, connect};
use super::*;
use carpd::effect::outgoing::BODY_MAX;
use carpd::effect::{HttpRequest, HttpResponse, HttpVerb};
use carpd::host::children::http_worker::Brought;

const CA: &[u8] = include_bytes!("../../../../tests/fixtures/tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../../tests/fixtures/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../../../tests/fixtures/tls/server.key");
const LIMIT: Duration = Duration::from_secs(5);

/// What the server sees of a request: until its headers end, and its body if it has one.
fn heard(stream: &mut impl Read) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        text.push(char::from(byte[0]));
    }
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    text + &String::from_utf8(body).unwrap()
}

/// A server for one connection. Returns what it received.
fn server(
    serve: impl FnOnce(TcpStream) -> String + Send + 'static,
) -> (SocketAddr, thread::JoinHandle<String>) {
    crate::limit::begin();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (
        address,
        thread::spawn(move || serve(listener.accept().unwrap().0)),
    )
}

fn saying(answer: impl Into<Vec<u8>>) -> (SocketAddr, thread::JoinHandle<String>) {
    let answer = answer.into();
    server(move |mut stream| {
        let heard = heard(&mut stream);
        // The client may have read enough before everything is sent.
        let _ = stream.write_all(&answer);
        heard
    })
}

fn request(verb: HttpVerb, url: &str) -> HttpRequest {
    HttpRequest {
        verb,
        url: url.parse().unwrap(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: 5000,
    }
}

fn get(address: SocketAddr, limit: Duration) -> Report {
    ask(
        &request(HttpVerb::Get, &format!("http://{address}/x?y")),
        &[address],
        &Trust::nobody(),
        limit,
    )
}

fn trouble(report: Report, word: &str) {
    let err = report.unwrap_err();
    assert!(err.message.starts_with(&format!("{word}: ")), "{err:?}");
}

#[test]
fn a_request_goes_out_as_it_is_and_its_answer_comes_back() {
    let (address, serving) =
        saying("HTTP/1.1 201 Created\r\nX-Id: 7\r\nX-ID: 8\r\nContent-Length: 5\r\n\r\nhello");
    let mut post = request(HttpVerb::Post, &format!("http://{address}/v1/?a=b"));
    post.headers = vec![("authorization".into(), "Bearer x".into())];
    post.body = b"{}".to_vec();
    let Ok(Brought::Answer(answer)) = ask(&post, &[address], &Trust::nobody(), LIMIT) else {
        panic!("no answer")
    };
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (201, b"hello".as_slice())
    );
    assert_eq!(
        answer.headers[..2],
        [("x-id".into(), "7".into()), ("x-id".into(), "8".into())]
    );
    let heard = serving.join().unwrap();
    assert!(
        heard.starts_with("POST /v1/?a=b HTTP/1.1\r\n") && heard.ends_with("\r\n\r\n{}"),
        "{heard}"
    );
    for header in [
        format!("host: {address}"),
        "authorization: Bearer x".into(),
        "content-length: 2".into(),
    ] {
        assert!(
            heard.to_lowercase().contains(&header.to_lowercase()),
            "{header}: {heard}"
        );
    }
}

#[test]
fn every_verb_arrives() {
    for verb in [
        HttpVerb::Get,
        HttpVerb::Post,
        HttpVerb::Put,
        HttpVerb::Patch,
        HttpVerb::Delete,
    ] {
        let (address, serving) = saying("HTTP/1.1 204 No Content\r\n\r\n");
        let report = ask(
            &request(verb, &format!("http://{address}/")),
            &[address],
            &Trust::nobody(),
            LIMIT,
        );
        assert!(
            matches!(
                report,
                Ok(Brought::Answer(HttpResponse { status: 204, .. }))
            ),
            "{report:?}"
        );
        assert!(
            serving
                .join()
                .unwrap()
                .starts_with(&format!("{} / HTTP/1.1", verb.method()))
        );
    }
}

#[test]
fn statuses_are_answers_and_redirects_are_not_followed() {
    for status in [301, 302, 307, 404, 500, 503] {
        let (address, serving) = saying(format!(
            "HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 0\r\n\r\n"
        ));
        let Ok(Brought::Answer(answer)) = get(address, LIMIT) else {
            panic!("{status} is an answer")
        };
        assert_eq!(answer.status, status);
        assert!(
            answer
                .headers
                .contains(&("location".into(), "http://127.0.0.1:1/elsewhere".into()))
        );
        serving.join().unwrap();
    }
}

#[test]
fn too_much_is_cut_off() {
    let body = vec![b'x'; BODY_MAX + 1];
    let (address, serving) = saying(
        [
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".as_slice(),
            &body,
        ]
        .concat(),
    );
    trouble(get(address, LIMIT), "too-large");
    serving.join().unwrap();
    let (address, serving) = saying(format!(
        "HTTP/1.1 200 OK\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    ));
    trouble(get(address, LIMIT), "too-large");
    serving.join().unwrap();
    let (address, serving) = saying(format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "a: b\r\n".repeat(1000)
    ));
    assert!(get(address, LIMIT).is_err());
    serving.join().unwrap();
}

#[test]
fn nonsense_and_silence_are_told_apart() {
    for nonsense in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 9999 X\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ] {
        let (address, serving) = saying(nonsense);
        let err = get(address, LIMIT).unwrap_err();
        assert!(
            err.message.starts_with("protocol: ") || err.message.starts_with("lost: "),
            "{nonsense:?}: {err:?}"
        );
        serving.join().unwrap();
    }
    // It announces more than it sends.
    let (address, serving) = saying("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
    assert!(get(address, LIMIT).is_err());
    serving.join().unwrap();
    // A byte now and then does not help: the limit is for the whole exchange.
    let (address, dripping) = server(|mut stream| {
        let heard = heard(&mut stream);
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            .unwrap();
        // Until the other end has closed the connection.
        while stream.write_all(b"x").is_ok() && !matches!(stream.read(&mut [0]), Ok(0)) {}
        heard
    });
    trouble(get(address, Duration::from_millis(200)), "timeout");
    dripping.join().unwrap();
}

#[test]
fn where_nobody_listens_is_refused() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    trouble(get(address, LIMIT), "refused");
    trouble(
        connect(&address.to_string().parse().unwrap(), &[address], LIMIT),
        "refused",
    );
    // The second address is tried after the first.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = address.to_string().parse().unwrap();
    assert!(matches!(
        connect(&endpoint, &[address, listener.local_addr().unwrap()], LIMIT),
        Ok(Brought::Connected(_))
    ));
}

/// A server with a certificate for `localhost`.
fn tls_server() -> (SocketAddr, thread::JoinHandle<String>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = Arc::new(
        config
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap(),
    );
    server(move |stream| {
        let mut tls =
            rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), stream);
        if tls.conn.complete_io(&mut tls.sock).is_err() {
            return "no handshake".to_owned();
        }
        let heard = heard(&mut tls);
        let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        tls.conn.send_close_notify();
        let _ = tls.flush();
        heard
    })
}

fn get_tls(name: &str, trust: &Trust) -> (Report, String) {
    let (address, serving) = tls_server();
    let report = ask(
        &request(
            HttpVerb::Get,
            &format!("https://{name}:{}/", address.port()),
        ),
        &[address],
        trust,
        LIMIT,
    );
    (report, serving.join().unwrap())
}

#[test]
fn a_certificate_is_believed_for_its_name_and_by_its_authority_alone() {
    let (report, heard) = get_tls("localhost", &Trust::in_pem(CA));
    assert!(
        matches!(&report, Ok(Brought::Answer(answer)) if answer.body == b"ok"),
        "{report:?}"
    );
    assert!(heard.starts_with("GET / "), "{heard}");
    for (name, trust) in [
        ("localhost", Trust::nobody()),
        ("other.example", Trust::in_pem(CA)),
        ("localhost", Trust::in_pem(CERTIFICATE)),
        ("127.0.0.1", Trust::in_pem(CA)),
    ] {
        let (report, heard) = get_tls(name, &trust);
        trouble(report, "tls");
        assert_eq!(heard, "no handshake", "{name}");
    }
}

#[test]
fn a_server_that_does_not_speak_tls_is_told() {
    let (address, serving) = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        String::new()
    });
    let report = ask(
        &request(HttpVerb::Get, &format!("https://{address}/")),
        &[address],
        &Trust::in_pem(CA),
        LIMIT,
    );
    trouble(report, "tls");
    serving.join().unwrap();
}
