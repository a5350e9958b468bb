//! Texts: of an operator, of whoever speaks to the control socket, of who ships a hook.

use std::path::{Path, PathBuf};

use carpd::config::{self, Config, Surroundings, Unusable};
use carpd::control::Request;
use carpd::hooks::runtime::lua::check;
use carpd::port::{Caller, Settings, Source, port};
use carpd::trust::{Key, Trust};

use super::file;

/// Surroundings in which there is whatever is asked for.
pub(super) struct Everything;

impl Surroundings for Everything {
    fn password_file(&self, _: &Path) -> Result<Vec<u8>, Unusable> {
        Ok(b"gw22\n".to_vec())
    }

    fn credential(&self, _: &str) -> Result<Vec<u8>, Unusable> {
        Ok(b"gw22".to_vec())
    }

    fn key_file(&self, _: &Path) -> Result<Vec<u8>, Unusable> {
        Ok(format!("untrusted comment: for tests\n{KEY}\n").into_bytes())
    }

    fn hook_file(&self, path: &Path) -> Result<PathBuf, Unusable> {
        Ok(Path::new("/etc/carpd").join(path))
    }
}

/// A whole configuration, or a report of what is wrong with it, each problem at a place that is
/// there.
pub(super) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let report = match Config::parse("carpd.toml", text, &Everything) {
        Ok(loaded) => loaded.report,
        Err(report) => {
            assert!(report.has_errors(), "it was refused without a reason");
            report
        }
    };
    for problem in &report.problems {
        if let Some(span) = &problem.span {
            assert!(
                text.get(span.clone()).is_some(),
                "{span:?} of {} bytes: {}",
                text.len(),
                problem.message
            );
        }
    }
    let _ = report.to_string();
    let _ = config::parse_grants("grants.toml", text);
}

pub(super) fn configs() -> Vec<Vec<u8>> {
    let all = [
        "good-all-keys",
        "good",
        "grants",
        "passwords",
        "ranges",
        "syntax",
        "twice",
        "types",
        "typos",
        "warnings",
    ];
    let mut seeds: Vec<Vec<u8>> = all
        .iter()
        .map(|name| file(&format!("tests/it/configs/{name}.toml")))
        .collect();
    seeds.push(file("examples/carpd.toml"));
    seeds
}

/// One line to the control socket.
pub(super) fn control(bytes: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
        let written = serde_json::to_vec(&request).expect("a request can be written");
        assert_eq!(
            serde_json::from_slice::<Request>(&written).ok(),
            Some(request),
            "what is written is what was read"
        );
    }
}

pub(super) fn requests() -> Vec<Vec<u8>> {
    let orders = [
        "\"status\"",
        "\"metrics\"",
        "\"reload\"",
        "{\"hook-rollback\":\"h\"}",
        "{\"hook-apply\":\"h\"}",
        "{\"hook-plan\":\"h\"}",
        "{\"resign\":{\"vhost\":\"web\",\"reason\":\"tea\"}}",
    ];
    let seeds: Vec<_> = orders
        .iter()
        .map(|order| format!("{{\"version\":1,\"order\":{order}}}\n").into_bytes())
        .collect();
    assert!(
        seeds
            .iter()
            .all(|seed| serde_json::from_slice::<Request>(seed).is_ok())
    );
    seeds
}

/// A script that is to be translated.
pub(super) fn shell(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let source = Source {
        name: "up.sh".to_owned(),
        text: text.to_owned(),
        arguments: Vec::new(),
    };
    let mut ucarp = Settings::new("failover");
    ucarp.caller = Caller::Ucarp { whatever: true };
    "/etc/ucarp/up.sh".clone_into(&mut ucarp.script);
    // Nothing is read from here.
    ucarp.directory = PathBuf::from("/nonexistent");
    ucarp.interface = Some("eth0".to_owned());
    ucarp.address = Some("192.168.32.22".to_owned());
    let mut keepalived = ucarp.clone();
    keepalived.caller = Caller::Keepalived(Box::default());
    for settings in [ucarp, keepalived] {
        match port(&source, None, &settings) {
            Ok(ported) => assert!(!ported.lua.is_empty()),
            Err(err) => assert!(
                (0..=text.lines().count().max(1) + 1).contains(&err.reason.line()),
                "{err:?}"
            ),
        }
    }
}

pub(super) fn scripts() -> Vec<Vec<u8>> {
    let same = [
        "01-scenario",
        "07-variables",
        "08-defaults",
        "30-if-test",
        "31-case",
        "32-functions",
        "37-while",
        "45-nested",
    ];
    let mut seeds: Vec<Vec<u8>> = same
        .iter()
        .map(|case| file(&format!("tests/it/port/same/{case}/up.sh")))
        .collect();
    seeds.extend(
        ["01-case-on-state", "06-word-in-the-line", "10-functions"]
            .iter()
            .map(|case| keepalived(case)),
    );
    seeds.extend(
        ["pipe", "arrays", "background", "glob"]
            .iter()
            .map(|case| file(&format!("tests/it/port/todo/{case}.sh"))),
    );
    seeds
}

fn keepalived(case: &str) -> Vec<u8> {
    let name = if case.contains("line") {
        "state"
    } else {
        "notify"
    };
    file(&format!("tests/it/port/keepalived/{case}/{name}.sh"))
}

/// A hook, read without running it: `carpd check` and `carpd test` do so with whatever lies there.
pub(super) fn lua(bytes: &[u8]) {
    let globals = check::globals(std::iter::once(bytes));
    let lines = bytes.split(|byte| *byte == b'\n').count();
    for finding in check::check(bytes, &globals).unwrap_or_default() {
        assert!(
            (1..=lines).contains(&finding.line),
            "{finding:?} of {lines} lines"
        );
    }
}

pub(super) fn hooks() -> Vec<Vec<u8>> {
    let all = [
        "failover",
        "failover_test",
        "floating-ip",
        "floating-ip_test",
        "health",
        "health_test",
    ];
    let mut seeds: Vec<Vec<u8>> = all
        .iter()
        .map(|name| file(&format!("examples/hooks/{name}.lua")))
        .collect();
    seeds
        .push(b"local function f(a: number?, ...): string\n  return `{a}` .. 0x1F\nend\nfor i = 1, #x do x[i] += 1 end".to_vec());
    seeds
}

const KEY: &str = "RWSOgZYzw51jkpdmAVU4Dq+dCrIgIjBelH1cc7xhNLi37YLZye+Xy7EC";

/// Of "hello\n", by minisign 0.11.
const SIGNATURE: &str = "\
untrusted comment: signature from minisign secret key
RUSOgZYzw51jkqCQZcdJP5g1WBT7KISTdWH32nwnNlnn3S4639OLpkWVbJLXZbo6y22beAvtcic9yzxDq28gHYokONZWN8GHsA4=
trusted comment: trusted words
JPrmdh8A3jsqU3oganaYUJ8sxPETlRNVTqQtkfCqJ1m4m9xfeW13yiybh9z3ITjl8vIJc6SfVJMgJGuTvJJLBw==
";

/// A signature's file: what is taken says what was signed, and vouches for no other bytes.
pub(super) fn signature(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let trust = Trust {
        keys: vec![KEY.parse().expect("a key")],
        require_signature: true,
    };
    if let Ok(signer) = trust.signer(b"hello\n", text) {
        assert_eq!(signer.comment, "trusted words");
        assert!(trust.signer(b"hello", text).is_err());
    }
    let _ = Key::from_file(text);
    let _ = text.trim().parse::<Key>();
}

pub(super) fn signatures() -> Vec<Vec<u8>> {
    let key = format!("untrusted comment: minisign public key\n{KEY}\n");
    vec![
        SIGNATURE.as_bytes().to_vec(),
        SIGNATURE.replace('\n', "\r\n").into_bytes(),
        key.into_bytes(),
        KEY.as_bytes().to_vec(),
    ]
}
