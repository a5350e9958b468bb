//! Plugins in a registry: with the one that Debian packages, on this machine.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::cli::{Ran, carpd};

const FAILOVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/failover/failover.wasm");

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
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\nlog:\n  level: info\n",
            store.display()
        );
        let path = directory.path().join("registry.yml");
        fs::write(&path, config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("docker-registry is installed: tests/run does it");
        // It says by itself where it listens, and goes on to talk: somebody must listen.
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = lines.find_map(|line| line.unwrap().split_once("listening on ").map(|(_, rest)| rest.to_owned()));
        let address = said.expect("it listens").split(['"', ' ', ',']).next().unwrap().to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, directory }
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
        self.directory.path().join(format!("store/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }
}

#[test]
fn a_signed_plugin_goes_to_a_registry_and_comes_back() {
    let registry = Registry::start();
    let reference = format!("{}/carpd/failover:0.1.0", registry.address);
    fs::copy(FAILOVER, registry.directory.path().join("failover.wasm")).unwrap();
    registry.good(&["keygen", "-W", "team"]);
    registry.good(&["sign", "failover.wasm", "-s", "team.key"]);
    let pushed: Value = serde_json::from_str(&registry.good(&["push", "failover.wasm", &reference, "--json"])).unwrap();
    let digest = pushed["manifest"].as_str().unwrap().to_owned();

    let pulled = registry.good(&["pull", &reference, "--output", "new.wasm", "-p", "team.pub", "--json"]);
    let pulled: Value = serde_json::from_str(&pulled).unwrap();
    assert_eq!((pulled["manifest"].as_str(), pulled["plugin"]["signature"]["state"].as_str()), (Some(&*digest), Some("good")));
    assert_eq!(registry.read("new.wasm"), registry.read("failover.wasm"));
    assert_eq!(registry.read("new.wasm.minisig"), registry.read("failover.wasm.minisig"));
    let by_digest = format!("{}/carpd/failover@{digest}", registry.address);
    registry.good(&["pull", &by_digest, "--output", "same.wasm"]);
    assert_eq!(registry.read("same.wasm"), registry.read("failover.wasm"));

    // What wkg wants to see.
    let manifest: Value = serde_json::from_slice(&fs::read(registry.blob(&digest)).unwrap()).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    assert_eq!(manifest["annotations"]["org.opencontainers.image.version"], "0.1.0");
    let config: Value =
        serde_json::from_slice(&fs::read(registry.blob(manifest["config"]["digest"].as_str().unwrap())).unwrap()).unwrap();
    assert_eq!((config["os"].as_str(), config["architecture"].as_str()), (Some("wasip2"), Some("wasm")));
    assert_eq!(config["layerDigests"][0], manifest["layers"][0]["digest"]);
    let imports = config["component"]["imports"].as_array().unwrap();
    assert!(imports.iter().any(|import| import == "carpd:hooks/hostname@1.0.0"), "{config}");

    // A registry that gives other bytes is found out.
    let layer = registry.blob(manifest["layers"][0]["digest"].as_str().unwrap());
    let mut bytes = fs::read(&layer).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&layer, bytes).unwrap();
    let ran = registry.plugin(&["pull", &reference, "--output", "bad.wasm"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("is not what it should be: its digest is sha256:"), "{}", ran.stderr);
    assert!(!registry.directory.path().join("bad.wasm").exists());
}

#[test]
fn what_is_not_there_or_is_in_the_way_is_told() {
    let registry = Registry::start();
    let reference = format!("{}/carpd/failover:0.1.0", registry.address);
    let ran = registry.plugin(&["pull", &reference]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("the registry answered 404: manifest unknown"), "{}", ran.stderr);
    fs::write(registry.directory.path().join("failover.wasm"), "mine").unwrap();
    let ran = registry.plugin(&["pull", &reference]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "error: failover.wasm exists\nhint: replace it: --force\n"));
    let ran = registry.plugin(&["push", "failover.wasm", &reference]);
    assert!(ran.stderr.contains("no WebAssembly component"), "{}", ran.stderr);
    assert_eq!(registry.plugin(&["pull", "failover:1"]).code, 2);
    registry.good(&["push", FAILOVER, &reference]);
    registry.good(&["pull", &reference, "--force"]);
    assert_eq!(registry.read("failover.wasm"), fs::read(FAILOVER).unwrap());
    // Nothing unsigned may keep the signature of something else.
    fs::write(registry.directory.path().join("failover.wasm.minisig"), "old").unwrap();
    registry.good(&["pull", &reference, "--force"]);
    assert!(!registry.directory.path().join("failover.wasm.minisig").exists());
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
        let args = ["plugin", "add", "--config", "good.toml", "--yes", "--name", "mover", reference];
        carpd(site.path(), &args.into_iter().chain(grants).collect::<Vec<_>>())
    };
    let ran = add(&reference);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let text = fs::read_to_string(site.path().join("good.toml")).unwrap();
    assert!(text.contains("[hook.mover]\nsource = \"hooks/mover-") && text.contains("digest = \"sha256:"), "{text}");
    assert_eq!(carpd(site.path(), &["check", "good.toml"]).code, 0);
    assert_eq!(add("127.0.0.1:1/carpd/failover:0.1.0").code, 1, "nobody listens there");
}
