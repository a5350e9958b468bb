//! `carpd plan`, `carpd grant` and what `carpd check` finds in hooks that never ran.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::cli::{carpd, ethernet};

/// A hook that does a little of everything, on a device that every machine has.
fn hook(directory: &Path) -> String {
    format!(
        "function on_master(event)\n  hostname.set(\"nodevir2\")\n  file.write(\"{0}/role\", \"master\\n\")\n  \
         file.write(\"{0}/kept\", \"x\", {{ keep = true }})\n  \
         if file.read(\"{0}/role\") == \"master\\n\" then log.info(\"Sees what it did\") end\nend\n\
         function on_backup()\n  file.remove(\"{0}/old\")\nend\n",
        directory.display()
    )
}

fn place(grants: bool) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("failover.lua"), hook(path)).unwrap();
    fs::write(path.join("old"), "there").unwrap();
    if grants {
        let verbs = "do = [\"read\", \"write\"]";
        let text = format!(
            "[hook.failover]\nsource = \"anywhere/failover.lua\"\n[hook.failover.grant]\nhostname = [\"nodevir2\"]\n\
             file = [{{ path = \"{0}/role\", {verbs} }}, {{ path = \"{0}/kept\", {verbs} }}, {{ path = \"{0}/old\", do = [\"remove\"] }}]\n",
            path.display()
        );
        fs::write(path.join("failover.toml"), text).unwrap();
    }
    directory
}

/// A configuration of virtual hosts with name, vhid and hooks, around the hook that is there.
fn configure(path: &Path, vhosts: &[(&str, u8, &str)], more: &str) {
    fs::write(path.join("web.pass"), "love\n").unwrap();
    fs::set_permissions(
        path.join("web.pass"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let hook = fs::read_to_string(path.join("failover.toml"))
        .unwrap()
        .replace("anywhere/", "");
    let vhost = |(name, vhid, hooks): &(&str, u8, &str)| {
        format!(
            "[[vhost]]\nname = \"{name}\"\ninterface = \"lo\"\nvhid = {vhid}\naddresses = [\"192.0.2.{vhid}/24\"]\n\
             password-file = \"web.pass\"\nhooks = [{hooks}]\n"
        )
    };
    let vhosts: String = vhosts.iter().map(vhost).collect();
    fs::write(path.join("carpd.toml"), vhosts + more + &hook).unwrap();
}

const LO: [&str; 4] = ["--interface", "lo", "--address", "192.0.2.22/24"];

#[test]
fn a_plan_says_what_would_change_and_changes_nothing() {
    let directory = place(true);
    let path = directory.path();
    let ran = carpd(
        path,
        &[&["plan", "./failover.lua", "--event", "master"], &LO[..]].concat(),
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for expected in [
        "example becomes master on lo (192.0.2.22/24)\n",
        "address 192.0.2.22 on lo           absent -> 192.0.2.22/32",
        &format!(
            "hostname                           {} -> nodevir2",
            name.trim()
        ),
        "granted by hostname = [\"nodevir2\"]",
        &format!("undone at the end of mastership: {}\n", name.trim()),
        "absent -> \"master\\n\"",
        "log: Sees what it did",
        "to change, 0 already in place",
    ] {
        assert!(ran.stdout.contains(expected), "{expected}\n{}", ran.stdout);
    }
    let kept = ran
        .stdout
        .split("/kept")
        .nth(1)
        .unwrap()
        .lines()
        .nth(2)
        .unwrap_or_default();
    assert!(
        !kept.contains("undone"),
        "what is kept is not undone: {}",
        ran.stdout
    );
    assert!(!path.join("role").exists() && !path.join("kept").exists());
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        name
    );

    let json = carpd(
        path,
        &[
            &["plan", "./failover.lua", "--event", "backup", "--json"],
            &LO[..],
        ]
        .concat(),
    );
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let parts = json["plans"][0]["parts"].as_array().unwrap();
    let by: Vec<String> = parts.iter().map(|part| part["by"].to_string()).collect();
    assert_eq!(
        by,
        [
            "\"daemon\"",
            "{\"hook\":{\"entry\":\"on_backup\",\"name\":\"failover\"}}",
            "\"undo\""
        ],
        "{json}"
    );
    let undone: Vec<&str> = parts[2]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["resource"].as_str().unwrap())
        .collect();
    assert_eq!(
        undone,
        [format!("file {}/role", path.display()).as_str(), "hostname"],
        "newest first"
    );
    assert!(path.join("old").exists());
}

#[test]
fn what_is_denied_shows_the_line_and_the_grants_that_are_printed_suffice() {
    let directory = place(false);
    let path = directory.path();
    let plan = || {
        carpd(
            path,
            &[&["plan", "./failover.lua", "--event", "master"], &LO[..]].concat(),
        )
    };
    let denied = plan();
    assert_eq!(denied.code, 1);
    assert!(
        denied
            .stdout
            .contains("add under [hook.failover.grant]: hostname = [\"nodevir2\"]"),
        "{}",
        denied.stdout
    );
    let granted = carpd(path, &[&["grant", "./failover.lua"], &LO[..]].concat());
    assert_eq!((granted.code, granted.stderr.as_str()), (0, ""));
    assert!(
        granted
            .stdout
            .starts_with("[hook.failover.grant]\nhostname = [\"nodevir2\"]\nfile = [\n"),
        "{}",
        granted.stdout
    );
    assert!(
        !path.join("role").exists() && path.join("old").exists(),
        "learning does nothing"
    );
    fs::write(
        path.join("failover.toml"),
        format!(
            "[hook.failover]\nsource = \"failover.lua\"\n{}",
            granted.stdout
        ),
    )
    .unwrap();
    let allowed = plan();
    assert_eq!(allowed.code, 0, "{}", allowed.stdout);
    for line in granted
        .stdout
        .lines()
        .filter(|line| line.starts_with("  {"))
    {
        let less = fs::read_to_string(path.join("failover.toml"))
            .unwrap()
            .replace(&format!("{line}\n"), "");
        let (full, back) = (
            fs::read_to_string(path.join("failover.toml")).unwrap(),
            ["master", "backup"],
        );
        fs::write(path.join("failover.toml"), less).unwrap();
        let codes = back.map(|event| {
            carpd(
                path,
                &[&["plan", "./failover.lua", "--event", event], &LO[..]].concat(),
            )
            .code
        });
        assert!(codes.contains(&1), "nothing in it is too much: {line}");
        fs::write(path.join("failover.toml"), full).unwrap();
    }
}

#[test]
fn a_whole_configuration_is_planned_with_its_addresses() {
    let directory = place(true);
    let path = directory.path();
    configure(path, &[("web", 40, "\"failover\""), ("bare", 41, "")], "");
    let plan = |args: &[&str]| {
        carpd(
            path,
            &[
                &["plan", "--config", "carpd.toml", "--event", "master"],
                args,
            ]
            .concat(),
        )
    };
    let all = plan(&[]);
    assert_eq!((all.code, all.stderr.as_str()), (0, ""), "{}", all.stdout);
    assert!(
        all.stdout.contains("web becomes master") && all.stdout.contains("bare becomes master"),
        "{}",
        all.stdout
    );
    assert!(
        all.stdout.contains("address 192.0.2.41 on lo"),
        "{}",
        all.stdout
    );
    assert!(
        !plan(&["failover"]).stdout.contains("bare"),
        "only where the hook is used"
    );
    assert_eq!(plan(&["nothing"]).code, 2);
    assert_eq!(carpd(path, &["plan", "--event", "sunrise"]).code, 2);
    fs::write(path.join("failover.lua"), "function on_master(").unwrap();
    assert_eq!(plan(&[]).code, 3, "a hook that cannot be loaded");
}

/// Its hooks run as the daemon's queue runs them.
#[test]
fn a_failure_that_the_daemon_ignores_ends_no_plan() {
    let directory = place(true);
    let path = directory.path();
    let hooks = "[hook.a]\nsource = \"a.lua\"\non-failure = \"ignore\"\n\
                 [hook.b]\nsource = \"b.lua\"\n[hook.b.grant]\nhostname = [\"m\"]\n";
    configure(path, &[("web", 40, "\"a\", \"b\"")], hooks);
    fs::write(path.join("a.lua"), "function on_master() error('boom') end").unwrap();
    let sleeps = "function on_master() clock.sleep(3000) hostname.set('m') end";
    fs::write(path.join("b.lua"), sleeps).unwrap();
    let plan = |name: &str| carpd(path, &["plan", "--config", name, "--event", "master"]);
    let ignored = plan("carpd.toml");
    assert_eq!(ignored.code, 1, "{}", ignored.stdout);
    for line in [
        "FAILS: a.lua:1: boom",
        "  hook b: on_master",
        "granted by hostname = [\"m\"]",
    ] {
        assert!(ignored.stdout.contains(line), "{line}\n{}", ignored.stdout);
    }
    let text = fs::read_to_string(path.join("carpd.toml")).unwrap();
    fs::write(
        path.join("keep.toml"),
        text.replace("\"ignore\"", "\"keep\""),
    )
    .unwrap();
    let kept = plan("keep.toml");
    assert!(!kept.stdout.contains("hook b"), "{}", kept.stdout);
}

#[test]
fn a_plan_says_of_each_virtual_host_what_it_cannot_know() {
    let directory = place(true);
    let path = directory.path();
    let script = "[hook.old]\nkind = \"script\"\nup = \"/bin/true\"\n";
    let vhosts = [
        ("web", 40, "\"failover\""),
        ("both", 41, "\"failover\", \"old\""),
        ("script", 42, "\"old\""),
    ];
    configure(path, &vhosts, script);
    let note = "hook old is a program: what it would do is unknown until it runs";
    for event in ["master", "backup"] {
        let plan = |args: &[&str]| {
            carpd(
                path,
                &[&["plan", "--config", "carpd.toml", "--event", event], args].concat(),
            )
        };
        let text = plan(&[]);
        assert_eq!(
            (text.code, text.stderr.as_str()),
            (0, ""),
            "{}",
            text.stdout
        );
        assert_eq!(
            text.stdout.matches(&format!("  note: {note}\n")).count(),
            2,
            "{}",
            text.stdout
        );
        let json: Value = serde_json::from_str(&plan(&["--json"]).stdout).unwrap();
        let plans = json["plans"].as_array().unwrap();
        let noted = plans
            .iter()
            .filter(|plan| plan["notes"].as_array().unwrap().contains(&note.into()));
        assert_eq!(
            noted
                .map(|plan| plan["vhost"].as_str().unwrap())
                .collect::<Vec<_>>(),
            ["both", "script"],
            "{event}"
        );
        // The addresses are the daemon's work, and known.
        assert!(
            plans.iter().all(|plan| plan["parts"][0]["by"] == "daemon"),
            "{json}"
        );
        assert_eq!(
            plan(&["old"]).stdout.matches("note: hook old").count(),
            2,
            "{event}"
        );
    }
}

#[test]
fn check_finds_mistakes_in_code_that_never_ran() {
    let directory = place(true);
    let path = directory.path();
    fs::write(path.join("web.pass"), "love\n").unwrap();
    fs::set_permissions(
        path.join("web.pass"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    fs::write(
        path.join("helper.lua"),
        "function helper() end\nreturn { go = function() hostname.sett(\"x\") end }\n",
    )
    .unwrap();
    fs::write(path.join("unused.lua"), "nonsense.call()\n").unwrap();
    let hook = "local h = require(\"helper\")\nfunction on_master(event)\n  if event.seq < 0 then\n    \
                service.start(\"httpd\", { waitms = 5 })\n    helper() h.go()\n  end\nend\n";
    fs::write(path.join("failover.lua"), hook).unwrap();
    let vhost = "[[vhost]]\nname = \"web\"\ninterface = \"INTERFACE\"\nvhid = 40\naddresses = [\"192.0.2.40/24\"]\n\
                 password-file = \"web.pass\"\nhooks = [\"failover\"]\n[hook.failover]\nsource = \"failover.lua\"\n"
        .replace("INTERFACE", &ethernet());
    fs::write(path.join("carpd.toml"), vhost).unwrap();
    let ran = carpd(path, &["check", "carpd.toml", "--json"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let said: Vec<&str> = json["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["message"].as_str().unwrap())
        .collect();
    assert_eq!(
        said,
        [
            "failover.lua:4: service.start has no option \"waitms\"; did you mean wait_ms?",
            "helper.lua:2: no function hostname.sett; did you mean hostname.set?"
        ]
    );
    fs::write(path.join("failover.lua"), hook.replace("waitms", "wait_ms")).unwrap();
    fs::write(
        path.join("helper.lua"),
        "function helper() end\nreturn { go = function() end }\n",
    )
    .unwrap();
    assert_eq!(carpd(path, &["check", "carpd.toml"]).code, 0);
}

/// A hook that loads and cannot work is an error; what may go wrong is a warning.
#[test]
fn check_foresees_what_grants_and_entry_points_refuse() {
    let directory = place(true);
    let path = directory.path();
    fs::write(path.join("web.pass"), "love\n").unwrap();
    fs::set_permissions(
        path.join("web.pass"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let vhost = "[[vhost]]\nname = \"web\"\ninterface = \"INTERFACE\"\nvhid = 40\naddresses = [\"192.0.2.40/24\"]\n\
                 password-file = \"web.pass\"\nhooks = [\"failover\"]\n[hook.failover]\nsource = \"failover.lua\"\n\
                 config = { gateway = \"192.0.2.1\" }\ngrant = { service = [{ unit = \"httpd\", do = [\"start\"] }] }\n"
        .replace("INTERFACE", &ethernet());
    fs::write(path.join("carpd.toml"), vhost).unwrap();
    let said = |hook: &str| -> (i32, Vec<(String, String)>) {
        fs::write(path.join("failover.lua"), hook).unwrap();
        let ran = carpd(path, &["check", "carpd.toml", "--json"]);
        let json: Value = serde_json::from_str(&ran.stdout).unwrap();
        let text = |problem: &Value, key: &str| problem[key].as_str().unwrap().to_owned();
        (
            ran.code,
            json["problems"]
                .as_array()
                .unwrap()
                .iter()
                .map(|p| (text(p, "severity"), text(p, "message")))
                .collect(),
        )
    };
    for (hook, severity, message) in [
        (
            "function health()\n  service.start(\"httpd\")\nend",
            "error",
            "failover.lua:2: service.start: health is read-only, and this changes something",
        ),
        (
            "function on_master()\n  hostname.set(\"x\")\nend",
            "error",
            "failover.lua:2: not granted: hostname.set x; to grant it, write under [hook.failover.grant]: hostname = [\"x\"]",
        ),
        (
            "function on_master()\n  log.info(\"to \" .. config.gatway)\nend",
            "error",
            "failover.lua:2: config has no gatway; did you mean gateway?",
        ),
        (
            "function on_master(event)\n  if event.initial then service.start(\"db\") end\nend",
            "warning",
            "failover.lua:2: not granted: service.start db; to grant it, write under [hook.failover.grant]: \
             service = [{ unit = \"db\", do = [\"start\"] }]",
        ),
    ] {
        let code = if severity == "error" { 3 } else { 0 };
        assert_eq!(
            said(hook),
            (code, vec![(severity.to_owned(), message.to_owned())]),
            "{hook}"
        );
    }
}

#[test]
fn the_grants_that_are_printed_are_those_of_its_tests_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    // Whether the unit runs decides what it does: here it does not, in the test it does.
    let hook = "function on_master()\n  if service.status(\"db\") == \"active\" then\n    hostname.set(\"primary\")\n    \
                service.restart(\"app\")\n  else\n    hostname.set(\"spare\")\n  end\nend\n";
    let test = "test.case(\"with a database\", function()\n  \
                local h = test.host({ interface = \"eth0\", addresses = { \"192.0.2.22/24\" }, units = { db = \"active\", app = \"active\" } })\n  \
                h:become(\"master\")\nend)\n\
                test.case(\"and what is denied on purpose is not granted\", function()\n  \
                local h = test.host({ grants = { hostname = { \"primary\" } }, units = { db = \"active\" } })\n  \
                pcall(function() h:become(\"master\") end)\nend)\n";
    fs::write(path.join("choose.lua"), hook).unwrap();
    fs::write(path.join("choose_test.lua"), test).unwrap();
    let ran = carpd(path, &[&["grant", "./choose.lua"], &LO[..]].concat());
    assert!(
        ran.stdout.contains("hostname = [\"spare\", \"primary\"]\n"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert!(
        ran.stdout
            .contains("{ unit = \"app\", do = [\"restart\"] }"),
        "{}",
        ran.stdout
    );
}
