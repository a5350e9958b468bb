//! Who vouches for a hook: signatures of minisign and ours, pins, and every doubt as `carpd check`
//! tells it; and how a plugin gets into the configuration.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::cli::{Ran, carpd};
use super::hooks::CARPD;

/// Runs a program in a directory with these words on its standard input.
fn run(directory: &Path, program: &str, args: &[&str], input: &str) -> Ran {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|err| panic!("{program}: {err}"));
    // One that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn good(directory: &Path, program: &str, args: &[&str], input: &str) -> String {
    let ran = run(directory, program, args, input);
    assert_eq!(
        ran.code, 0,
        "{program} {args:?}: {}{}",
        ran.stdout, ran.stderr
    );
    ran.stdout
}

fn minisign(directory: &Path, args: &[&str], input: &str) -> String {
    good(directory, "minisign", args, input)
}

/// Both tools make keys, sign and verify, and each takes what the other made.
#[test]
fn minisign_and_carpd_take_each_others_keys_and_signatures() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("h.lua"), HOOK).unwrap();
    minisign(
        at,
        &["-G", "-W", "-p", "theirs.pub", "-s", "theirs.key"],
        "",
    );
    good(at, CARPD, &["plugin", "keygen", "-W", "ours"], "");
    assert_eq!(
        fs::metadata(at.join("ours.key"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    for pair in ["theirs", "ours"] {
        let (public, secret) = (format!("{pair}.pub"), format!("{pair}.key"));
        minisign(
            at,
            &["-S", "-s", &secret, "-m", "h.lua", "-t", "by minisign"],
            "",
        );
        let said = good(at, CARPD, &["plugin", "verify", "h.lua", "-p", &public], "");
        assert!(
            said.starts_with("h.lua: signed by ") && said.ends_with(" (by minisign)\n"),
            "{said}"
        );
        good(
            at,
            CARPD,
            &["plugin", "sign", "h.lua", "-s", &secret, "-t", "by carpd"],
            "",
        );
        let said = minisign(at, &["-V", "-p", &public, "-m", "h.lua"], "");
        assert!(said.contains("by carpd"), "{said}");
        assert!(
            good(at, CARPD, &["plugin", "verify", "h.lua", "-p", &public], "")
                .ends_with(" (by carpd)\n")
        );
    }
    // The number that we print is the one in minisign's comment.
    let comment = fs::read_to_string(at.join("theirs.pub")).unwrap();
    let number = comment.lines().next().unwrap().rsplit(' ').next().unwrap();
    minisign(at, &["-S", "-s", "theirs.key", "-m", "h.lua"], "");
    let said = good(
        at,
        CARPD,
        &["plugin", "verify", "h.lua", "-p", "theirs.pub"],
        "",
    );
    assert!(
        said.contains(&format!("signed by {number:0>16}")),
        "{comment}: {said}"
    );
    let again = run(at, CARPD, &["plugin", "keygen", "ours"], "");
    assert_eq!(
        (again.code, again.stderr.as_str()),
        (1, "error: ours.pub exists\n")
    );
}

#[test]
fn minisign_and_carpd_open_each_others_locked_keys() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("h.lua"), HOOK).unwrap();
    minisign(
        at,
        &["-G", "-p", "theirs.pub", "-s", "theirs.key"],
        "secret words\nsecret words\n",
    );
    good(
        at,
        CARPD,
        &["plugin", "sign", "h.lua", "-s", "theirs.key"],
        "secret words\n",
    );
    minisign(at, &["-V", "-p", "theirs.pub", "-m", "h.lua"], "");
    good(at, CARPD, &["plugin", "keygen", "ours"], "other words\n");
    minisign(
        at,
        &["-S", "-s", "ours.key", "-m", "h.lua"],
        "other words\n",
    );
    good(
        at,
        CARPD,
        &["plugin", "verify", "h.lua", "-p", "ours.pub"],
        "",
    );
    let wrong = run(
        at,
        CARPD,
        &["plugin", "sign", "h.lua", "-s", "ours.key"],
        "secret words\n",
    );
    assert_eq!(wrong.code, 1);
    assert!(
        wrong
            .stderr
            .starts_with("error: ours.key: could not open the key: Wrong password"),
        "{}",
        wrong.stderr
    );
}

/// A key that was damaged makes no signature that looks good.
#[test]
fn a_damaged_key_signs_nothing() {
    let site = Site::new();
    let key = site.read("team.key");
    let (comment, base64) = key.trim_end().split_once('\n').unwrap();
    // In the middle of the secret half.
    let damaged = format!(
        "{}{}{}",
        &base64[..100],
        if &base64[100..101] == "A" { "B" } else { "A" },
        &base64[101..]
    );
    site.write("damaged.key", format!("{comment}\n{damaged}\n"));
    let ran = site.plugin(&["sign", "failover.lua", "-s", "damaged.key", "-x", "new.sig"]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(!site.at().join("new.sig").exists());
}

const HOOK: &str = "function on_master() end\n";

/// A configuration with one signed hook, whose signature is required, and the keys `team` and
/// `other`.
struct Site {
    directory: TempDir,
}

impl Site {
    fn new() -> Self {
        let directory = super::config::directory_with("good.toml");
        let site = Self { directory };
        for key in ["team", "other"] {
            let (public, secret) = (format!("{key}.pub"), format!("{key}.key"));
            minisign(
                site.at(),
                &["-G", "-W", "-f", "-p", &public, "-s", &secret],
                "",
            );
        }
        site.write("failover.lua", HOOK);
        site.sign("failover.lua", "team");
        site.configure("[trust]\nkeys = [\"team.pub\"]\n", "");
        site
    }

    fn at(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.at().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at().join(name)).unwrap()
    }

    fn sign(&self, name: &str, key: &str) {
        minisign(
            self.at(),
            &["-S", "-s", &format!("{key}.key"), "-m", name],
            "",
        );
    }

    fn configure(&self, trust: &str, hook: &str) {
        self.write(
            "carpd.toml",
            format!(
                "{trust}\n[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\naddresses = [\"192.168.32.22/24\"]\n\
                 password-file = \"web.pass\"\nhooks = [\"failover\"]\n\n[hook.failover]\nsource = \"failover.lua\"\n{hook}\n"
            ),
        );
    }

    fn check(&self) -> Ran {
        let mut ran = carpd(self.at(), &["check", "carpd.toml"]);
        let root = fs::canonicalize(self.at()).unwrap();
        ran.stderr = ran.stderr.replace(&format!("{}/", root.display()), "");
        ran
    }

    fn refused(&self, what: &str, says: &[&str]) {
        let ran = self.check();
        assert_eq!(ran.code, 3, "{what}: {}", ran.stderr);
        for says in says {
            assert!(
                ran.stderr.contains(says),
                "{what}: {says:?} is not in\n{}",
                ran.stderr
            );
        }
    }

    fn plugin(&self, args: &[&str]) -> Ran {
        carpd(self.at(), &[&["plugin"], args].concat())
    }
}

#[test]
fn a_signed_hook_is_loaded() {
    let site = Site::new();
    let ran = site.check();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn every_doubt_refuses_the_load_and_says_what_to_do() {
    let site = Site::new();
    let signature = site.read("failover.lua.minisig");
    site.write("failover.lua", "function on_master() evil() end\n");
    site.refused(
        "other bytes",
        &[
            "failover.lua.minisig: the signature does not fit",
            "get both again",
        ],
    );
    site.write("failover.lua", HOOK);
    site.write(
        "failover.lua.minisig",
        signature.replace("file:failover.lua", "file:innocent.lua"),
    );
    site.refused(
        "trusted comment",
        &["failover.lua.minisig: the signature does not fit"],
    );
    site.write("failover.lua.minisig", &signature[..signature.len() / 2]);
    site.refused(
        "half a signature",
        &["failover.lua.minisig: this is not a minisign signature; sign the file again"],
    );
    fs::remove_file(site.at().join("failover.lua.minisig")).unwrap();
    site.refused(
        "no signature",
        &["failover.lua: it is not signed: there is no failover.lua.minisig; sign it (carpd plugin sign"],
    );
    site.sign("failover.lua", "other");
    site.refused(
        "another key",
        &[
            "failover.lua.minisig: it was made with the key ",
            "which is none of [trust] keys (",
        ],
    );
    minisign(
        site.at(),
        &["-S", "-l", "-s", "team.key", "-m", "failover.lua"],
        "",
    );
    site.refused(
        "legacy",
        &[
            "failover.lua.minisig: this is a signature of the legacy kind",
            "without -l",
        ],
    );
    let legacy = site.read("failover.lua.minisig");
    site.write("failover.lua.minisig", legacy.replacen("\nRW", "\nRU", 1));
    site.refused(
        "legacy as the other",
        &["failover.lua.minisig: the signature does not fit"],
    );
    site.write("failover.lua.minisig", &signature);
    assert_eq!(site.check().code, 0);
}

#[test]
fn keys_that_cannot_be_used_refuse_the_whole_configuration() {
    let site = Site::new();
    site.configure("[trust]\nkeys = []\n", "");
    site.refused(
        "no keys",
        &[
            "there is no key to check them with",
            "require-signature = false",
        ],
    );
    site.configure("[trust]\nkeys = [\"none.pub\"]\n", "");
    site.refused("no file", &["cannot read the key none.pub"]);
    site.configure("[trust]\nkeys = [\"team.key\"]\n", "");
    site.refused(
        "a secret key",
        &["\"team.key\" is not a minisign public key"],
    );
    fs::create_dir(site.at().join("dir.pub")).unwrap();
    site.configure("[trust]\nkeys = [\"team.pub\", \"dir.pub\"]\n", "");
    site.refused(
        "a directory",
        &["cannot read the key dir.pub: it is a directory"],
    );
    let key = site.read("team.pub").lines().nth(1).unwrap().to_owned();
    site.configure(&format!("[trust]\nkeys = [\"{key}\"]\n"), "");
    assert_eq!(site.check().code, 0, "a key may stand there itself");
}

#[test]
fn what_is_not_required_must_still_be_good() {
    let site = Site::new();
    site.configure(
        "[trust]\nkeys = [\"team.pub\"]\nrequire-signature = false\n",
        "",
    );
    assert_eq!(site.check().code, 0);
    site.sign("failover.lua", "other");
    site.refused("another key", &["which is none of [trust] keys"]);
    fs::remove_file(site.at().join("failover.lua.minisig")).unwrap();
    assert_eq!(site.check().code, 0);
    site.configure(
        "[trust]\nkeys = [\"team.pub\"]\nrequire-signature = false\n",
        "signature = \"elsewhere.sig\"",
    );
    site.refused("named, and not there", &["cannot read elsewhere.sig"]);
}

#[test]
fn a_pin_holds_against_a_signed_other_version() {
    let site = Site::new();
    let digest = carpd::trust::Digest::of(HOOK.as_bytes());
    site.configure(
        "[trust]\nkeys = [\"team.pub\"]\n",
        &format!("digest = \"{digest}\""),
    );
    assert_eq!(site.check().code, 0);
    site.write(
        "failover.lua",
        "function on_master() log.info('older, and signed') end\n",
    );
    site.sign("failover.lua", "team");
    site.refused(
        "another version",
        &[
            "failover.lua: it is not the pinned file: its digest is sha256:",
            "carpd plugin inspect",
        ],
    );
}

/// A module is part of the hook: without a signature of its own it cannot be required.
#[test]
fn an_unsigned_module_cannot_be_required() {
    let site = Site::new();
    site.write("part.lua", "return 1\n");
    assert_eq!(site.check().code, 0, "as long as nobody requires it");
    site.write(
        "failover.lua",
        "local part = require('part')\nfunction on_master() end\n",
    );
    site.sign("failover.lua", "team");
    site.refused(
        "an unsigned module",
        &["this module may not be used by the hook: part.lua: it is not signed"],
    );
    site.sign("part.lua", "team");
    assert_eq!(site.check().code, 0, "{}", site.check().stderr);
}

#[test]
fn scripts_cannot_be_signed() {
    let site = Site::new();
    let text = site.read("carpd.toml").replace(
        "source = \"failover.lua\"",
        "kind = \"script\"\nup = \"/etc/up.sh\"",
    );
    site.write("carpd.toml", text);
    site.refused(
        "a script",
        &[
            "signatures are required, and a script cannot have one",
            "carpd port",
        ],
    );
}

const FAILOVER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/plugins/failover/failover.wasm"
);

/// The arguments that give the failover plugin what it asks for.
const GRANTS: [&str; 6] = [
    "--grant",
    "hostname = [\"nodevir2\", \"node2\"]",
    "--grant",
    "route = [{ dst = \"default\", via = \"192.168.32.254\" }]",
    "--grant",
    "service = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }]",
];

fn add(site: &Site, args: &[&str]) -> Ran {
    site.plugin(&[&["add", "--config", "carpd.toml"], args].concat())
}

#[test]
fn a_plugin_is_added_pinned_and_granted_and_all_else_stays() {
    let site = Site::new();
    site.configure(
        "# who may\n[trust]\nkeys = [\"team.pub\"] # us\n",
        "# the end",
    );
    let before = site.read("carpd.toml");
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("failover.wasm");
    fs::copy(FAILOVER, &file).unwrap();
    let file = file.to_str().unwrap();
    let with = |more: &[&str]| {
        add(
            &site,
            &[
                &[file, "--name", "mover", "--setting", "service = \"httpd\""],
                more,
            ]
            .concat(),
        )
    };
    let unsigned = with(&[&GRANTS[..], &["--yes"]].concat());
    assert_eq!(unsigned.code, 3, "{}", unsigned.stderr);
    assert!(
        unsigned.stderr.contains("it is not signed"),
        "{}",
        unsigned.stderr
    );
    minisign(site.at(), &["-S", "-s", "team.key", "-m", file], "");
    let ungranted = with(&["--yes"]);
    assert_eq!(ungranted.code, 1, "{}", ungranted.stderr);
    assert!(
        ungranted
            .stderr
            .contains("--grant 'service = [{ unit = \"UNIT\", do = [\"start\"] }]'"),
        "{}",
        ungranted.stderr
    );
    // Standard input is no terminal: nobody can say yes.
    let unasked = with(&GRANTS);
    assert_eq!(unasked.code, 1);
    assert!(
        unasked
            .stderr
            .contains("nothing was changed\nhint: without a terminal, use --yes"),
        "{}",
        unasked.stderr
    );
    assert_eq!(site.read("carpd.toml"), before);
    assert!(
        !site.at().join("hooks").exists()
            || fs::read_dir(site.at().join("hooks"))
                .unwrap()
                .next()
                .is_none()
    );

    let done = with(&[&GRANTS[..], &["--yes", "--json"]].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stderr.contains("Can ever do:\n  config.get\n")
            && done.stderr.contains("\n+[hook.mover]\n"),
        "{}",
        done.stderr
    );
    let said: Value = serde_json::from_str(&done.stdout).unwrap();
    let digest = carpd::trust::Digest::of(&fs::read(FAILOVER).unwrap());
    let source = format!("hooks/mover-{}.wasm", digest.short());
    assert_eq!(
        (said["changed"].as_bool(), said["hook"]["source"].as_str()),
        (Some(true), Some(source.as_str()))
    );
    let after = site.read("carpd.toml");
    let expected = format!(
        "{}\n[hook.mover]\nsource = \"{source}\"\ndigest = \"{digest}\"\n\n[hook.mover.config]\nservice = \"httpd\"\n\n[hook.mover.grant]\n\
         hostname = [\"nodevir2\", \"node2\"]\nroute = [{{ dst = \"default\", via = \"192.168.32.254\" }}]\n\
         service = [{{ unit = \"httpd\", do = [\"start\", \"stop\"] }}]\n",
        before.replace(
            "hooks = [\"failover\"]",
            "hooks = [\"failover\", \"mover\"]"
        )
    );
    assert_eq!(
        after.split_whitespace().collect::<Vec<_>>(),
        expected.split_whitespace().collect::<Vec<_>>(),
        "{after}"
    );
    assert!(after.contains("keys = [\"team.pub\"] # us\n"));
    assert_eq!(site.check().code, 0);
    let again = with(&[&GRANTS[..], &["--yes"]].concat());
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(site.read("carpd.toml"), after);
}

#[test]
fn an_upgrade_shows_what_it_could_do_that_the_old_one_could_not() {
    let site = Site::new();
    let gateway = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/gateway/gateway.wasm");
    site.configure("", "");
    let first = add(
        &site,
        &[&[FAILOVER, "--name", "p", "--yes"], &GRANTS[..]].concat(),
    );
    assert_eq!(first.code, 0, "{}", first.stderr);
    let more = [
        "rule = [{ table = 100 }]",
        "sysctl = [{ key = \"net.ipv4.ip_forward\" }]",
        "command.c = { argv = [\"/bin/true\"] }",
    ];
    let more: Vec<&str> = more.iter().flat_map(|grant| ["--grant", grant]).collect();
    let second = add(
        &site,
        &[&[gateway, "--name", "p", "--yes"], &more[..]].concat(),
    );
    assert_eq!(second.code, 0, "{}", second.stderr);
    for shown in [
        "what changes in what it can do:\n+ ",
        "\n+ sysctl.set  (grant: sysctl = [{ key = \"KEY\" }])\n",
        "\n- hostname.set\n",
        "\n+ entry point before_master\n",
    ] {
        assert!(
            second.stderr.contains(shown),
            "{shown:?} is not in\n{}",
            second.stderr
        );
    }
    let text = site.read("carpd.toml");
    assert_eq!(text.matches("[hook.p]").count(), 1, "{text}");
    assert!(
        text.contains("table = 100") && text.contains("nodevir2"),
        "{text}"
    );
    // Both versions are there: the old one can be gone back to by its name.
    assert_eq!(fs::read_dir(site.at().join("hooks")).unwrap().count(), 2);
    let diff = site.plugin(&["diff", FAILOVER, gateway, "--json"]);
    assert_eq!(diff.code, 1);
    let diff: Value = serde_json::from_str(&diff.stdout).unwrap();
    assert!(
        diff["more"].as_bool().unwrap()
            && diff["new_entry_points"] == serde_json::json!(["before_master"]),
        "{diff}"
    );
    assert_eq!(site.plugin(&["diff", FAILOVER, FAILOVER]).code, 0);
}

#[test]
fn a_configuration_that_would_be_bad_is_not_written() {
    let site = Site::new();
    site.configure("", "");
    let before = site.read("carpd.toml");
    for (args, code, says) in [
        (
            vec![FAILOVER, "--grant", "nonsense = [1]"],
            3,
            "unknown key `nonsense`",
        ),
        (
            vec![FAILOVER, "--grant", "hostname ="],
            2,
            "is not a line of TOML",
        ),
        (
            vec![FAILOVER, "--vhost", "mail"],
            2,
            "there is no virtual host \"mail\"",
        ),
        (vec!["failover.lua"], 1, "not a WebAssembly component"),
        (vec!["none.wasm"], 1, "could not read none.wasm"),
    ] {
        let ran = add(
            &site,
            &[&args[..], &["--yes", "--name", "p"], &GRANTS[..]].concat(),
        );
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
        assert_eq!(site.read("carpd.toml"), before);
        assert!(
            !site.at().join("hooks").exists()
                || fs::read_dir(site.at().join("hooks"))
                    .unwrap()
                    .next()
                    .is_none(),
            "{args:?}"
        );
    }
}

#[test]
fn the_list_says_who_vouches_for_what() {
    let site = Site::new();
    let ran = site.plugin(&["list", "--config", "carpd.toml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("failover: failover.lua, 25 bytes\n  sha256:"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("  not pinned, signed by ") && ran.stdout.contains("no daemon answers"),
        "{}",
        ran.stdout
    );
    site.sign("failover.lua", "other");
    let ran = site.plugin(&["list", "--config", "carpd.toml", "--json"]);
    assert_eq!(ran.code, 1);
    let list: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (list[0]["name"].as_str(), list[0]["loaded"].as_str()),
        (Some("failover"), Some("unknown"))
    );
    assert!(
        list[0]["problem"]
            .as_str()
            .unwrap()
            .contains("none of [trust] keys"),
        "{list}"
    );
}

#[test]
fn inspection_names_functions_reasons_and_the_signer() {
    let site = Site::new();
    fs::copy(FAILOVER, site.at().join("failover.wasm")).unwrap();
    site.sign("failover.wasm", "team");
    let text = site
        .plugin(&["inspect", "failover.wasm", "-p", "team.pub"])
        .stdout;
    for line in [
        "failover 0.1.0: Moves a host name",
        " bytes, sha256:",
        "\nsigned by ",
        "\ncontract 1.0.0; entry points: on_master, on_backup\n",
        "\n  hostname.set  (grant: hostname = [\"NAME\"])\n",
        "\nAsks for hostname: the master has a name of its own\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("Gives no reason"), "{text}");
    let json: Value = serde_json::from_str(
        &site
            .plugin(&["inspect", "failover.wasm", "-p", "other.pub", "--json"])
            .stdout,
    )
    .unwrap();
    assert_eq!(json["signature"]["state"], "bad");
    let imports = json["imports"].as_array().unwrap();
    let hostname = imports
        .iter()
        .find(|import| import["function"] == "hostname.set")
        .unwrap();
    assert_eq!(hostname["reason"], "the master has a name of its own");
    assert_eq!(json["contract"], "1.0.0");
}

#[test]
fn a_new_plugin_is_made_once_and_names_no_place() {
    let directory = tempfile::tempdir().unwrap();
    let new = |args: &[&str]| carpd(directory.path(), &[&["plugin", "new"], args].concat());
    assert_eq!(new(&["role-file"]).code, 0);
    let cargo = fs::read_to_string(directory.path().join("role-file/Cargo.toml")).unwrap();
    assert!(
        cargo.contains("carpd-hook = { path = \"carpd-hook\" }"),
        "{cargo}"
    );
    assert!(
        directory
            .path()
            .join("role-file/carpd-hook/wit/hooks.wit")
            .exists()
    );
    let again = new(&["role-file"]);
    assert_eq!(
        (again.code, again.stderr.as_str()),
        (1, "error: role-file/Cargo.toml exists\n")
    );
    assert_eq!(
        new(&["other", "--sdk", "https://git.example.org/carpd.git"]).code,
        0
    );
    let cargo = fs::read_to_string(directory.path().join("other/Cargo.toml")).unwrap();
    assert!(
        cargo.contains("carpd-hook = { git = \"https://git.example.org/carpd.git\" }"),
        "{cargo}"
    );
    assert!(!directory.path().join("other/carpd-hook").exists());
    assert_eq!(new(&["../x"]).code, 2);
}
