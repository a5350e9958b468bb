//! Words of hooks, plugins, tests and files, as a person gets to see them: nothing that they say
//! looks like a word of ours, and no terminal obeys them.

use std::fs;
use std::path::Path;

use carpd::hooks::artifact::manifest;
use carpd::types::is_treacherous;

use super::cli::{Ran, carpd};
use super::wasm::FIXTURE;

/// In Luau: a line that is no line of ours, and all that a terminal or a reader could be fooled
/// with.
const EVIL: &str = r#"local E = "evil\n    ~ FORGED hostname\n  ok      FORGED\r\27[2J\u{9b}31m\u{202e}\u{2066}\u{200b}\u{2028}\u{e0041}\7""#;
/// The same in TOML.
const EVIL_TOML: &str = r#""evil\nFORGED 1.0\r\u001b[2J\u009b31m\u202e\u2066\u200b\u2028""#;

/// Shows what was said, and nothing of it in its own way. Newlines are ours.
fn is_harmless(what: &str, text: &str) {
    for line in text.split('\n') {
        assert!(!line.contains(is_treacherous), "{what}: {line:?}\n{text}");
        let words = line.trim_start_matches([' ', '~', '+', '-', '!', '|', '"', '#']);
        assert!(
            !words.starts_with("FORGED") && !words.starts_with("ok      FORGED"),
            "{what}: a line is forged:\n{text}"
        );
    }
}

/// All of it is harmless, and the words are there: nothing was hidden.
fn shows(what: &str, ran: &Ran) {
    is_harmless(what, &ran.stdout);
    is_harmless(what, &ran.stderr);
    assert!(
        ran.stdout.contains("FORGED") || ran.stderr.contains("FORGED"),
        "{what}: {}{}",
        ran.stdout,
        ran.stderr
    );
}

fn place(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

const LO: [&str; 4] = ["--interface", "lo", "--address", "192.0.2.22/24"];
const GRANTS: &str = "[hook.evil]\nsource = \"evil.lua\"\n[hook.evil.grant]\ncarp = [\"demote\", \"resign\"]\nread = true\n";

/// A hook that says it in whatever it can say.
fn hook() -> String {
    format!(
        "{EVIL}
function on_master()
  log.warn(E, {{ [E] = E }})
  print(E)
  carp.demote(1, E)
  for _, ask in {{
    function() hostname.set(E) end, function() service.start(E) end, function() sysctl.set(E, E) end,
    function() file.write(E, E) end, function() file.read(E) end, function() command.run(E, {{ [E] = E }}) end,
    function() http.post(E, E) end, function() addr.add(E) end, function() route.replace({{ dst = E }}) end,
    function() link.set_up(E, true) end, function() log.info(config[E]) end, function() require(E) end,
  }} do
    local ok, why = pcall(ask)
    log.info(why)
  end
  error(E)
end
function health() return 5, E end
function on_backup() error({{ text = E }}) end
"
    )
}

#[test]
fn no_hook_forges_a_plan_by_which_it_is_vetted() {
    let directory = place(&[("evil.lua", &hook()), ("evil.toml", GRANTS)]);
    for event in ["master", "backup", "health"] {
        let plan = |more: &[&str]| {
            carpd(
                directory.path(),
                &[&["plan", "./evil.lua", "--event", event], &LO[..], more].concat(),
            )
        };
        if event != "health" {
            shows("plan", &plan(&[]));
        }
        let json = plan(&["--json"]);
        is_harmless("plan --json", &json.stdout);
        let said: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        let raw = said.to_string();
        assert!(
            event != "master" || raw.contains('\u{202e}'),
            "JSON says the same: {raw}"
        );
    }
    let ran = carpd(
        directory.path(),
        &[&["grant", "./evil.lua"], &LO[..]].concat(),
    );
    is_harmless("grant", &ran.stdout);
    is_harmless("grant", &ran.stderr);
}

#[test]
fn no_test_forges_its_report() {
    let test = format!(
        "{EVIL}
test.case(E, function() print(E) test.equal(E, 'x') end)
test.case('plan', function()
  local h = test.host({{ hostname = 'n' }})
  h:expect_plan(E)
end)
test.case('raised', function() error(E) end)
test.case('hook', function() local h = test.host({{ hostname = 'n' }}) h:become('master') end)
test.histories(E, {{ hostname = 'n' }}, 2)
test.faults(E, {{ hostname = 'n' }})
"
    );
    let directory = place(&[
        ("evil.lua", &hook()),
        ("evil_test.lua", &test),
        ("evil.toml", GRANTS),
    ]);
    let xml = directory.path().join("report.xml");
    let ran = carpd(
        directory.path(),
        &["test", "--junit", xml.to_str().unwrap(), "--coverage"],
    );
    shows("test", &ran);
    is_harmless("JUnit", &fs::read_to_string(xml).unwrap());
    is_harmless(
        "test --json",
        &carpd(directory.path(), &["test", "--json"]).stdout,
    );
    // What goes wrong before any case.
    fs::write(
        directory.path().join("evil_test.lua"),
        format!("{EVIL}\nerror(E)"),
    )
    .unwrap();
    shows(
        "a test file that fails",
        &carpd(directory.path(), &["test"]),
    );
    fs::write(
        directory.path().join("evil.lua"),
        format!("{EVIL}\nerror(E)"),
    )
    .unwrap();
    shows("a hook that fails", &carpd(directory.path(), &["test"]));
    shows(
        "plan of it",
        &carpd(
            directory.path(),
            &[&["plan", "./evil.lua", "--event", "master"], &LO[..]].concat(),
        ),
    );
}

#[test]
fn no_hook_forges_a_rehearsal() {
    let config = |advskew: u8| {
        format!(
            "[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\naddresses = [\"192.168.32.22/24\"]\n\
             password-file = \"web.pass\"\nadvskew = {advskew}\nhooks = [\"evil\"]\n\n{}",
            // One that hands over whenever it fails would never come to an end.
            GRANTS.replace("[hook.evil]\n", "[hook.evil]\non-failure = \"ignore\"\n")
        )
    };
    let directory = place(&[
        ("evil.lua", &hook()),
        ("web.pass", "love\n"),
        ("a.toml", &config(0)),
        ("b.toml", &config(100)),
    ]);
    fs::set_permissions(
        directory.path().join("web.pass"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let page = directory.path().join("page.html");
    let run = |more: &[&str]| {
        let event = [
            "rehearse",
            "a.toml",
            "b.toml",
            "--event",
            "8s a dies",
            "--end",
            "20s",
        ];
        carpd(directory.path(), &[&event[..], more].concat())
    };
    shows("rehearse", &run(&["--html", page.to_str().unwrap()]));
    is_harmless("the page", &fs::read_to_string(page).unwrap());
    is_harmless("rehearse --json", &run(&["--json"]).stdout);
    // The words of `check` are those of a hook, too.
    fs::write(
        directory.path().join("evil.lua"),
        format!("{EVIL}\nerror(E)"),
    )
    .unwrap();
    shows("check", &carpd(directory.path(), &["check", "a.toml"]));
    is_harmless(
        "check --json",
        &carpd(directory.path(), &["check", "--json", "a.toml"]).stdout,
    );
}

fn plugin(directory: &Path, name: &str) {
    let text = format!(
        "name = {EVIL_TOML}\nversion = {EVIL_TOML}\ndescription = {EVIL_TOML}\nlicense = {EVIL_TOML}\nsource = {EVIL_TOML}\n\
         [asks]\n{EVIL_TOML} = {EVIL_TOML}\n"
    );
    fs::write(
        directory.join(name),
        manifest::build(&FIXTURE, Some(&text)).unwrap(),
    )
    .unwrap();
}

#[test]
fn no_plugin_forges_what_is_told_of_it() {
    let directory = place(&[]);
    let path = directory.path();
    plugin(path, "evil.wasm");
    fs::write(path.join("plain.wasm"), &*FIXTURE).unwrap();
    let run = |args: &[&str]| carpd(path, args);
    shows("inspect", &run(&["plugin", "inspect", "evil.wasm"]));
    is_harmless(
        "inspect --json",
        &run(&["plugin", "inspect", "--json", "evil.wasm"]).stdout,
    );
    for args in [["plain.wasm", "evil.wasm"], ["evil.wasm", "plain.wasm"]] {
        is_harmless(
            "diff",
            &run(&[&["plugin", "diff"], &args[..]].concat()).stdout,
        );
    }
    // A comment of a signature is one line, of anything.
    assert_eq!(run(&["plugin", "keygen", "team", "--no-password"]).code, 0);
    let comment = "FORGED \u{1b}[2J\u{9b}31m\u{202e}evil";
    let signed = run(&[
        "plugin",
        "sign",
        "evil.wasm",
        "--secret-key",
        "team.key",
        "--comment",
        comment,
    ]);
    assert_eq!(signed.code, 0, "{}", signed.stderr);
    shows(
        "verify",
        &run(&["plugin", "verify", "evil.wasm", "--key", "team.pub"]),
    );
    shows(
        "inspect of what is signed",
        &run(&["plugin", "inspect", "evil.wasm", "--key", "team.pub"]),
    );
    let key = fs::read_to_string(path.join("team.pub"))
        .unwrap()
        .lines()
        .nth(1)
        .unwrap()
        .to_owned();
    let config = format!(
        "[[vhost]]\nname = \"web\"\ninterface = \"lo\"\nvhid = 40\naddresses = [\"192.0.2.22/24\"]\npassword-file = \"none\"\n\
         hooks = [\"evil\"]\n[hook.evil]\nsource = \"evil.wasm\"\n[trust]\nkeys = [\"{key}\"]\n"
    );
    fs::write(path.join("carpd.toml"), config).unwrap();
    fs::write(path.join("none"), "love\n").unwrap();
    fs::set_permissions(
        path.join("none"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    shows("list", &run(&["plugin", "list", "--config", "carpd.toml"]));
    let add = run(&[
        "plugin",
        "add",
        "evil.wasm",
        "--name",
        "evil",
        "--config",
        "carpd.toml",
    ]);
    shows("add", &add);
}

/// Names of files are words of whoever made the files.
#[test]
fn no_file_forges_an_error() {
    let name = "evil\nFORGED \u{1b}[2J\u{202e}.lua";
    let directory = place(&[
        (name, "x"),
        (
            "evil.toml",
            "[[vhost]]\n\"FORGED \u{202e}\u{2066}\" = 1\nname = \"\u{9b}2J\u{200b}\"\n",
        ),
    ]);
    let path = format!("./{name}");
    for args in [
        vec!["plan", &path, "--event", "master"],
        vec!["test", &path],
        vec!["check", &path],
        vec!["check", "evil.toml"],
        vec!["plugin", "inspect", &path],
        vec!["why", "--file", &path],
        vec!["port", &path],
        vec!["rehearse", &path],
        vec!["cleanup", "--config", &path],
        vec!["status", "--instance", name],
    ] {
        let ran = carpd(directory.path(), &args);
        shows(&format!("{args:?}"), &ran);
    }
}

/// Everything that verbs print goes through `cli/output.rs`; what goes there as it is was made by
/// this program for programs.
#[test]
fn only_what_is_made_for_programs_is_printed_as_it_is() {
    // Generated texts, counters whose labels are names, TOML that is made, a translation; and three
    // sentences with a number.
    const MAY: [&str; 12] = [
        "dev/completions.rs",
        "dev/config_reference.rs",
        "dev/man.rs",
        "operate/metrics.rs",
        "output.rs",
        "plugin/key.rs",
        "plugin/wit.rs",
        "ucarp/mod.rs",
        "write/api.rs",
        "write/grant.rs",
        "write/import.rs",
        "write/port/mod.rs",
    ];
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli");
    let mut todo = vec![below.clone()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let name = path
                .strip_prefix(&below)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let is = |names: &[&str]| names.contains(&name.as_str());
            assert!(
                !text.contains("output::artefact(") || is(&MAY),
                "{name} prints what is no Page and no JSON"
            );
            let direct = ["stdout()", "stderr()"]
                .iter()
                .any(|stream| text.contains(&format!("{stream}.lock()")));
            assert!(
                !direct || is(&["output.rs", "dev/lab.rs"]),
                "{name} writes past output.rs"
            );
        }
    }
}
