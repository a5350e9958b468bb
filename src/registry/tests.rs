use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::client::parameter;
use super::*;

/// What a simulated registry answers to `METHOD PATH`: a status, headers, a body.
type Said = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// A registry that answers from a table and records the requests.
struct Registry {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start(answers: impl Fn(&str, &str, &str) -> Said + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, own) = (Arc::clone(&asked), address.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut request, mut authorization, mut length) =
                    (String::new(), String::new(), 0);
                stream.read_line(&mut request).unwrap();
                let mut line = String::new();
                while stream.read_line(&mut line).unwrap() > 2 {
                    let (name, value) = line.trim_end().split_once(": ").unwrap();
                    match name.to_ascii_lowercase().as_str() {
                        "authorization" => value.clone_into(&mut authorization),
                        "content-length" => length = value.parse().unwrap(),
                        _ => {}
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                let request = request.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
                log.lock()
                    .unwrap()
                    .push(format!("{request} {authorization}").trim_end().to_owned());
                let (status, headers, body) = answers(&own, &request, &authorization);
                let headers: String = headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}\r\n"))
                    .collect();
                let head = format!(
                    "HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let stream = stream.get_mut();
                // A client that has read enough may be gone.
                let _ = stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&body));
            }
        });
        Self { address, asked }
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("{}/example/failover{rest}", self.address)
            .parse()
            .unwrap()
    }

    fn pull(&self, rest: &str) -> Result<Pulled, RegistryError> {
        let reference = self.reference(rest);
        pull(
            &mut Client::new(&reference, &Way::Usual),
            &reference,
            1000,
            &mut |_, _| {},
        )
    }
}

const COMPONENT: &[u8] = b"\0asm a component";

/// A manifest, and what is wrong with it.
fn manifest(change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let mut manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        config: Descriptor::of(CONFIG, b"{}"),
        layers: vec![Descriptor::of(WASM, COMPONENT)],
        annotations: BTreeMap::from([(SIGNATURE.to_owned(), "c2lnbmVk".to_owned())]),
    };
    change(&mut manifest);
    serde_json::to_vec(&manifest).unwrap()
}

fn registry(manifest: Vec<u8>, component: &'static [u8]) -> Registry {
    Registry::start(move |_, request, _| {
        let body = if request.contains("/manifests/") {
            manifest.clone()
        } else {
            component.to_vec()
        };
        (200, Vec::new(), body)
    })
}

#[test]
fn what_was_asked_for_is_what_comes() {
    let bytes = manifest(|_| {});
    let digest = Digest::of(&bytes);
    let registry = registry(bytes, COMPONENT);
    let expected = Pulled {
        digest,
        component: COMPONENT.to_vec(),
        signature: Some("signed".to_owned()),
    };
    assert_eq!(registry.pull(":1").unwrap(), expected);
    assert_eq!(registry.pull(&format!("@{digest}")).unwrap(), expected);
    let blob = format!("GET /v2/example/failover/blobs/{}", Digest::of(COMPONENT));
    assert_eq!(
        registry.asked.lock().unwrap()[..2],
        ["GET /v2/example/failover/manifests/1".to_owned(), blob]
    );
}

#[test]
fn other_bytes_than_those_of_the_digest_are_refused() {
    let other = Digest::of(b"another");
    let registry_with_another_manifest = registry(manifest(|_| {}), COMPONENT);
    let err = registry_with_another_manifest
        .pull(&format!("@{other}"))
        .unwrap_err();
    assert!(
        matches!(err, RegistryError::Digest { wanted, .. } if wanted == other),
        "{err}"
    );
    let err = registry(manifest(|_| {}), b"\0asm a c0mponent")
        .pull(":1")
        .unwrap_err();
    assert!(
        matches!(err, RegistryError::Digest { wanted, .. } if wanted == Digest::of(COMPONENT)),
        "{err}"
    );
}

#[test]
fn what_is_no_plugin_is_refused_unread() {
    type Change = fn(&mut Manifest);
    let cases: [(&str, Change); 8] = [
        ("it is not an OCI image", |m| m.schema_version = 1),
        ("it is not an OCI image", |m| {
            m.media_type = "application/vnd.docker.distribution.manifest.v2+json".to_owned();
        }),
        ("it does not contain a component", |m| {
            m.config.media_type = "application/vnd.oci.image.config.v1+json".to_owned();
        }),
        ("it has 2 layers, not one", |m| {
            m.layers.push(Descriptor::of(WASM, b""));
        }),
        ("it has 0 layers, not one", |m| m.layers.clear()),
        ("its layer is not a component", |m| {
            m.layers[0].media_type = "application/gzip".to_owned();
        }),
        ("it has 1001 bytes; a plugin has at most 1000", |m| {
            m.layers[0].size = 1001;
        }),
        ("is an unknown kind of digest", |m| {
            m.layers[0].digest = "sha512:00".to_owned();
        }),
    ];
    for (says, change) in cases {
        let registry = registry(manifest(change), COMPONENT);
        let err = registry.pull(":1").unwrap_err().to_string();
        assert!(err.contains(says), "{says}: {err}");
        assert_eq!(
            registry.asked.lock().unwrap().len(),
            1,
            "no blob was asked for"
        );
    }
    assert!(
        registry(b"[]".to_vec(), COMPONENT)
            .pull(":1")
            .unwrap_err()
            .to_string()
            .contains("is invalid")
    );
}

#[test]
fn no_more_is_read_than_was_announced() {
    // A manifest shorter than what is sent, and one that never ends.
    let small = manifest(|m| m.layers[0].size = 3);
    let err = registry(small, COMPONENT)
        .pull(":1")
        .unwrap_err()
        .to_string();
    assert!(err.contains("it sends more than 3 bytes"), "{err}");
    let err = registry(vec![b' '; 1 << 20], COMPONENT)
        .pull(":1")
        .unwrap_err()
        .to_string();
    assert!(err.contains("it sends more than 262144 bytes"), "{err}");
}

#[test]
fn a_token_is_fetched_where_one_is_wanted() {
    let registry = Registry::start(|own, request, authorization| match request {
        _ if request.starts_with("GET /token") => {
            (200, Vec::new(), b"{\"token\": \"secret\"}".to_vec())
        }
        _ if authorization != "Bearer secret" => {
            let challenge = format!(
                "Bearer realm=\"http://{own}/token\",service=\"r\",scope=\"repository:example/failover:pull,push\""
            );
            (401, vec![("www-authenticate", challenge)], Vec::new())
        }
        _ if request.contains("/manifests/") => (200, Vec::new(), manifest(|_| {})),
        _ => (200, Vec::new(), COMPONENT.to_vec()),
    });
    assert_eq!(registry.pull(":1").unwrap().component, COMPONENT);
    let asked = registry.asked.lock().unwrap();
    assert_eq!(
        asked[1],
        "GET /token?service=r&scope=repository:example/failover:pull,push"
    );
    assert_eq!(asked.len(), 4, "the token is used again: {asked:?}");
}

#[test]
fn refusals_are_told_in_the_registrys_words() {
    let words =
        br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown\u001b[2J"}]}"#;
    let registry = Registry::start(|_, _, _| (404, Vec::new(), words.to_vec()));
    let err = registry.pull(":1").unwrap_err().to_string();
    assert!(
        err.ends_with("/manifests/1: the registry answered 404: manifest unknown\\u{1b}[2J"),
        "{err}"
    );
    let registry = Registry::start(|_, _, _| {
        (
            401,
            vec![("www-authenticate", "Basic realm=\"x\"".to_owned())],
            Vec::new(),
        )
    });
    assert!(
        registry
            .pull(":1")
            .unwrap_err()
            .to_string()
            .contains("it requires a login")
    );
    let registry = Registry::start(|_, _, _| {
        (
            401,
            vec![("www-authenticate", "Digest x".to_owned())],
            Vec::new(),
        )
    });
    assert!(
        registry
            .pull(":1")
            .unwrap_err()
            .to_string()
            .contains("in an unknown way")
    );
}

#[test]
fn challenges_are_read() {
    let challenge = r#"realm="https://r/token?a=b,c", service=x,scope="a:b,c""#;
    assert_eq!(
        parameter(challenge, "realm").as_deref(),
        Some("https://r/token?a=b,c")
    );
    assert_eq!(parameter(challenge, "service").as_deref(), Some("x"));
    assert_eq!(parameter(challenge, "Scope").as_deref(), Some("a:b,c"));
    for broken in ["", "realm", "realm=\"x", ",,,", "=\"\""] {
        assert_eq!(parameter(broken, "realm"), None, "{broken}");
    }
}

/// A manifest as `wkg oci push --annotation "carpd.minisig=..."` writes it, except for digests and
/// sizes.
#[test]
fn what_wkg_pushed_is_pulled() {
    let manifest = format!(
        "{{\"annotations\":{{\"carpd.minisig\":\"c2lnbmVk\"}},\
         \"config\":{{\"digest\":\"{}\",\"mediaType\":\"application/vnd.wasm.config.v0+json\",\"size\":2}},\
         \"layers\":[{{\"annotations\":{{\"org.opencontainers.image.title\":\"failover.wasm\"}},\
         \"digest\":\"{}\",\"mediaType\":\"application/wasm\",\"size\":{}}}],\
         \"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"schemaVersion\":2}}",
        Digest::of(b"{}"),
        Digest::of(COMPONENT),
        COMPONENT.len()
    );
    let pulled = registry(manifest.clone().into_bytes(), COMPONENT)
        .pull(":1")
        .unwrap();
    assert_eq!(
        (pulled.component.as_slice(), pulled.signature.as_deref()),
        (COMPONENT, Some("signed"))
    );
    assert_eq!(pulled.digest, Digest::of(manifest.as_bytes()));
}

#[test]
fn a_signature_that_is_none_is_told() {
    let with = |text: &str| {
        let text = text.to_owned();
        let manifest = manifest(|m| drop(m.annotations.insert(SIGNATURE.to_owned(), text)));
        registry(manifest, COMPONENT)
            .pull(":1")
            .unwrap_err()
            .to_string()
    };
    for odd in ["untrusted comment: x", "//79", "\n"] {
        assert!(
            with(odd).contains("is not a minisign file in base64"),
            "{odd}"
        );
    }
    assert!(with(&"A".repeat(40_000)).contains("is larger than 16384 bytes"));
}
