//! Plugins in a registry: with the one that Debian packages, on this machine.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use carpd::trust::Digest;
use serde_json::Value;
use tempfile::TempDir;

use super::cli::{Ran, carpd};

const HOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hooks/c/hook.wasm");
const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");
const FAILOVER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/plugins/failover/failover.wasm"
);

/// A registry with a directory of its own.
struct Registry {
    child: Child,
    address: String,
    directory: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    fn start() -> Self {
        Self::start_with("")
    }

    /// With a certificate for `localhost` of an authority that no system trusts.
    fn start_encrypted() -> Self {
        let tls = format!("  tls:\n    certificate: {TLS}/server.pem\n    key: {TLS}/server.key\n");
        let mut registry = Self::start_with(&tls);
        registry.address = registry.address.replace("127.0.0.1", "localhost");
        registry
    }

    fn start_with(more: &str) -> Self {
        crate::limit::begin();
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n{more}log:\n  level: info\n",
            store.display()
        );
        let path = directory.path().join("registry.yml");
        fs::write(&path, config).unwrap();
        let mut command = Command::new("docker-registry");
        command
            .arg("serve")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .expect("docker-registry is installed: tests/run does it");
        // It says by itself where it listens, and goes on to talk: somebody must listen.
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = lines.find_map(|line| {
            line.unwrap()
                .split_once("listening on ")
                .map(|(_, rest)| rest.to_owned())
        });
        let address = said
            .expect("it listens")
            .split(['"', ' ', ','])
            .next()
            .unwrap()
            .to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address,
            directory,
        }
    }

    fn plugin(&self, args: &[&str]) -> Ran {
        carpd(self.directory.path(), &[&["plugin"], args].concat())
    }

    fn good(&self, args: &[&str]) -> String {
        let ran = self.plugin(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.stdout
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.directory.path().join(name)).unwrap()
    }

    /// The file in which the registry keeps what has this digest.
    fn blob(&self, digest: &str) -> std::path::PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.directory.path().join(format!(
            "store/docker/registry/v2/blobs/sha256/{}/{hex}/data",
            &hex[..2]
        ))
    }
}

#[test]
fn a_signed_plugin_goes_to_a_registry_and_comes_back() {
    let registry = Registry::start();
    let reference = format!("{}/carpd/failover:0.1.0", registry.address);
    fs::copy(FAILOVER, registry.directory.path().join("failover.wasm")).unwrap();
    registry.good(&["keygen", "-W", "team"]);
    registry.good(&["sign", "failover.wasm", "-s", "team.key"]);
    let pushed: Value =
        serde_json::from_str(&registry.good(&["push", "failover.wasm", &reference, "--json"]))
            .unwrap();
    let digest = pushed["manifest"].as_str().unwrap().to_owned();

    let pulled = registry.good(&[
        "pull", &reference, "--output", "new.wasm", "-p", "team.pub", "--json",
    ]);
    let pulled: Value = serde_json::from_str(&pulled).unwrap();
    assert_eq!(
        (
            pulled["manifest"].as_str(),
            pulled["plugin"]["signature"]["state"].as_str()
        ),
        (Some(&*digest), Some("good"))
    );
    assert_eq!(registry.read("new.wasm"), registry.read("failover.wasm"));
    assert_eq!(
        registry.read("new.wasm.minisig"),
        registry.read("failover.wasm.minisig")
    );
    let by_digest = format!("{}/carpd/failover@{digest}", registry.address);
    registry.good(&["pull", &by_digest, "--output", "same.wasm"]);
    assert_eq!(registry.read("same.wasm"), registry.read("failover.wasm"));

    let manifest: Value =
        serde_json::from_slice(&fs::read(registry.blob(&digest)).unwrap()).unwrap();
    // A registry that gives other bytes is found out.
    let layer = registry.blob(manifest["layers"][0]["digest"].as_str().unwrap());
    let mut bytes = fs::read(&layer).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&layer, bytes).unwrap();
    let ran = registry.plugin(&["pull", &reference, "--output", "bad.wasm"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .contains("is not what it should be: its digest is sha256:"),
        "{}",
        ran.stderr
    );
    assert!(!registry.directory.path().join("bad.wasm").exists());
}

/// Byte for byte what `wkg oci push` writes of the same component, but for the time and our
/// annotations of the manifest.
#[test]
fn the_layout_is_that_of_wkg() {
    let registry = Registry::start();
    let reference = format!("{}/carpd/hook:1", registry.address);
    let pushed: Value =
        serde_json::from_str(&registry.good(&["push", HOOK, &reference, "--json"])).unwrap();
    let component = fs::read(HOOK).unwrap();
    let text = |digest: &str| String::from_utf8(fs::read(registry.blob(digest)).unwrap()).unwrap();
    let manifest = text(pushed["manifest"].as_str().unwrap());
    let parsed: Value = serde_json::from_str(&manifest).unwrap();
    let (layer, config) = (
        Digest::of(&component).to_string(),
        text(parsed["config"]["digest"].as_str().unwrap()),
    );
    let created = serde_json::from_str::<Value>(&config).unwrap()["created"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        config.replace(&created, "TIME").replace(&layer, "LAYER"),
        r#"{"created":"TIME","author":null,"architecture":"wasm","os":"wasip2","layerDigests":["LAYER"],"component":{"exports":["carpd:hooks/on-master@1.0.0","carpd:hooks/on-backup@1.0.0"],"imports":["carpd:hooks/log@1.0.0","carpd:hooks/types@1.0.0","carpd:hooks/service@1.0.0"],"target":null}}"#
    );
    assert_eq!(
        manifest
            .replace(&layer, "LAYER")
            .replace(&Digest::of(config.as_bytes()).to_string(), "CONFIG"),
        format!(
            r#"{{"annotations":{{"org.opencontainers.image.description":"Runs a service on the master alone","org.opencontainers.image.licenses":"MIT OR Apache-2.0","org.opencontainers.image.source":"examples/hooks/c of the carpd repository","org.opencontainers.image.title":"service-in-c","org.opencontainers.image.version":"0.1.0"}},"config":{{"digest":"CONFIG","mediaType":"application/vnd.wasm.config.v0+json","size":{}}},"layers":[{{"annotations":{{"org.opencontainers.image.title":"hook.wasm"}},"digest":"LAYER","mediaType":"application/wasm","size":{}}}],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}}"#,
            config.len(),
            component.len()
        )
    );
}

#[test]
fn a_registry_is_believed_by_its_authority_alone() {
    let registry = Registry::start_encrypted();
    let reference = format!("{}/carpd/failover:0.1.0", registry.address);
    let ca = format!("{TLS}/ca.pem");
    registry.good(&["push", FAILOVER, &reference, "--ca-file", &ca]);
    registry.good(&["pull", &reference, "--ca-file", &ca, "--output", "new.wasm"]);
    assert_eq!(registry.read("new.wasm"), fs::read(FAILOVER).unwrap());
    let failing = |args: &[&str], code: i32, why: &str| {
        let ran = registry.plugin(&[&["pull", &reference, "--output", "none.wasm"], args].concat());
        assert!(
            ran.code == code && ran.stderr.contains(why),
            "{args:?}: {}",
            ran.stderr
        );
        assert!(!registry.directory.path().join("none.wasm").exists());
    };
    // Authorities that did not sign its certificate.
    failing(
        &["--ca-file", &format!("{TLS}/server.pem")],
        1,
        "invalid peer certificate",
    );
    failing(
        &["--ca-file", "/nonexistent.pem"],
        1,
        "/nonexistent.pem: No such file",
    );
    failing(&["--ca-file", &ca, "--insecure"], 2, "cannot be used with");
    // On this machine no encryption is expected unless an authority is named.
    failing(&[], 1, "the registry answered 400");
    // A certificate counts for its name alone.
    let other = reference.replace("localhost", "127.0.0.1");
    let ran = registry.plugin(&["pull", &other, "--ca-file", &ca, "--output", "none.wasm"]);
    assert!(
        ran.code == 1 && ran.stderr.contains("invalid peer certificate"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_is_not_there_or_is_in_the_way_is_told() {
    let registry = Registry::start();
    let reference = format!("{}/carpd/failover:0.1.0", registry.address);
    let ran = registry.plugin(&["pull", &reference]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .contains("the registry answered 404: manifest unknown"),
        "{}",
        ran.stderr
    );
    fs::write(registry.directory.path().join("failover.wasm"), "mine").unwrap();
    let ran = registry.plugin(&["pull", &reference]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (
            1,
            "error: failover.wasm exists\nhint: use --force to overwrite it\n"
        )
    );
    let ran = registry.plugin(&["push", "failover.wasm", &reference]);
    assert!(
        ran.stderr.contains("not a WebAssembly component"),
        "{}",
        ran.stderr
    );
    assert_eq!(registry.plugin(&["pull", "failover:1"]).code, 2);
    registry.good(&["push", FAILOVER, &reference]);
    registry.good(&["pull", &reference, "--force"]);
    assert_eq!(registry.read("failover.wasm"), fs::read(FAILOVER).unwrap());
    // Nothing unsigned may keep the signature of something else.
    fs::write(
        registry.directory.path().join("failover.wasm.minisig"),
        "old",
    )
    .unwrap();
    registry.good(&["pull", &reference, "--force"]);
    assert!(
        !registry
            .directory
            .path()
            .join("failover.wasm.minisig")
            .exists()
    );
}

#[test]
fn a_plugin_is_added_from_a_registry() {
    let registry = Registry::start();
    let reference = format!("{}/carpd/failover:0.1.0", registry.address);
    registry.good(&["push", FAILOVER, &reference]);
    let site = super::config::directory_with("good.toml");
    let add = |reference: &str| {
        let grants = [
            "hostname = [\"a\"]",
            "route = [{ dst = \"default\" }]",
            "service = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }]",
        ];
        let grants = grants.iter().flat_map(|grant| ["--grant", grant]);
        let args = [
            "plugin",
            "add",
            "--config",
            "good.toml",
            "--yes",
            "--name",
            "mover",
            reference,
        ];
        carpd(
            site.path(),
            &args.into_iter().chain(grants).collect::<Vec<_>>(),
        )
    };
    let ran = add(&reference);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let text = fs::read_to_string(site.path().join("good.toml")).unwrap();
    assert!(
        text.contains("[hook.mover]\nsource = \"hooks/mover-")
            && text.contains("digest = \"sha256:"),
        "{text}"
    );
    assert_eq!(carpd(site.path(), &["check", "good.toml"]).code, 0);
    assert_eq!(
        add("127.0.0.1:1/carpd/failover:0.1.0").code,
        1,
        "nobody listens there"
    );
}
