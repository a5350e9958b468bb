//! The guides: every command in them works, and the API that they show is this version's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::cli::carpd;
use super::hooks::CARPD;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// The blocks of a page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let open = format!("```{language}\n");
    page.split(&open)
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap().to_owned())
        .collect()
}

/// A directory to follow a guide in: a virtual host with this hook, and its password.
fn place(hook: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("web.pass", "love\n");
    fs::set_permissions(
        directory.path().join("web.pass"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    write(
        "carpd.toml",
        &format!(
            "[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\naddresses = [\"192.168.32.22/24\"]\n\
             password-file = \"web.pass\"\nxparam = \"node2\"\nhooks = [\"{hook}\"]\n\n"
        ),
    );
    write(
        "mixed.sh",
        "#!/bin/sh\nip addr add $2/24 dev $1\ncat /etc/motd.d/* | mail root\n",
    );
    for script in [
        "ucarp/master-up.sh",
        "ucarp/master-down.sh",
        "port/notify.sh",
        "port/gateway.sh",
        "port/mail.sh",
    ] {
        let from = root().join("examples").join(script);
        let to = directory.path().join(from.file_name().unwrap());
        fs::copy(from, to).unwrap();
    }
    directory
}

/// Runs a command of a guide as a reader would: in a shell, with carpd in the path.
fn follow(directory: &Path, line: &str) -> String {
    crate::limit::begin();
    let bin = Path::new(CARPD).parent().unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-ec", line])
        .current_dir(directory)
        .stdin(Stdio::null());
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{line}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Follows a page to its end. A block that begins with `#!` is a script that the page shows.
fn follow_all(page: &str, directory: &Path) -> Vec<(String, String)> {
    let lines = blocks(page, "sh")
        .into_iter()
        .filter(|block| !block.starts_with("#!"));
    lines
        .map(|line| (line.clone(), follow(directory, &line)))
        .collect()
}

#[test]
fn the_guide_to_porting_can_be_followed() {
    let page = page("guide/port-your-scripts.md");
    let directory = place("failover\", \"balancer\", \"gateway");
    let done = follow_all(&page, directory.path());
    let said = |begin: &str| {
        &done
            .iter()
            .find(|(line, _)| line.starts_with(begin))
            .unwrap()
            .1
    };
    let scripts = blocks(&page, "sh");
    let mut scripts = scripts.iter().filter(|block| block.starts_with("#!"));
    for command in ["cat master-up.sh", "cat notify.sh"] {
        assert_eq!(said(command).trim_end(), scripts.next().unwrap());
    }
    let failover = said("carpd port master-up.sh");
    assert!(failover.contains("Everything was translated."));
    assert!(failover.contains("  master-up.sh:3: carpd holds this address by itself"));
    assert!(said("carpd port notify.sh").contains("it is not one of ucarp"));
    assert!(said("carpd port --from keepalived notify.sh").contains("Everything was translated."));
    let gateway = said("carpd port gateway.sh");
    let left = &blocks(&page, "text")[0];
    assert!(gateway.contains(left.as_str()), "{gateway}");
    assert!(gateway.contains("status 6: something is left to do"));
    assert!(said("carpd port mail.sh").contains("mail.sh:3: cat /var/spool/vip/*.txt | mail"));
    assert!(said("grep").contains("error(\"not ported: mail.sh line 3: cat"));
    assert!(said("carpd test").contains(", 0 failed"));
    assert!(said("carpd check").contains("good: 1 virtual host, 3 hooks"));
    let hook = fs::read_to_string(directory.path().join("failover.lua")).unwrap();
    assert!(hook.contains(&blocks(&page, "lua")[0]), "{hook}");
    let vhost = &blocks(&page, "toml")[0];
    assert!(
        fs::read_to_string(directory.path().join("carpd.toml"))
            .unwrap()
            .starts_with(vhost)
    );
}

#[test]
fn the_guide_to_writing_can_be_followed() {
    let page = page("guide/write-a-hook.md");
    let directory = place("announcer");
    let done = follow_all(&page, directory.path());
    assert!(
        done.iter()
            .any(|(line, said)| line.starts_with("carpd check")
                && said.contains("good: 1 virtual host, 1 hook"))
    );
    let hook = fs::read_to_string(directory.path().join("announcer/announcer.lua")).unwrap();
    assert!(hook.contains(&blocks(&page, "lua")[0]), "{hook}");
    for row in page.lines().filter_map(|line| line.strip_prefix("| `")) {
        let file = row.split('`').next().unwrap();
        assert!(
            directory.path().join("announcer").join(file).exists(),
            "{file}"
        );
    }
    let again = carpd(directory.path(), &["new", "hook", "announcer"]);
    assert_eq!(
        (again.code, again.stderr.as_str()),
        (1, "error: announcer/announcer.lua exists\n")
    );
}

#[cfg(feature = "wasm")]
#[test]
fn the_guide_to_plugins_can_be_followed() {
    let page = page("hooks/plugins.md");
    let directory = place("");
    let config = format!("{}\n", blocks(&page, "toml")[0]);
    fs::write(directory.path().join("carpd.toml"), config).unwrap();
    fs::copy(
        root().join("plugins/failover/failover.wasm"),
        directory.path().join("failover.wasm"),
    )
    .unwrap();
    let done = follow_all(&page, directory.path());
    let said = |begin: &str| {
        &done
            .iter()
            .find(|(line, _)| line.starts_with(begin))
            .unwrap_or_else(|| panic!("{begin}"))
            .1
    };
    // The page shows the beginning; numbers change with each build.
    let plain = |text: &str| {
        text.lines()
            .filter(|line| !line.contains("sha256:"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let shown = blocks(&page, "text")[0].clone();
    assert!(
        plain(said("carpd plugin inspect")).starts_with(&plain(&shown)),
        "{}",
        said("carpd plugin inspect")
    );
    assert!(said("carpd plugin verify").starts_with("failover.wasm: signed by "));
    assert!(said("carpd plugin add").contains(
        "hook failover: added failover.wasm to carpd.toml; run `carpd reload` to use it"
    ));
    let list = said("carpd plugin list");
    assert!(
        list.contains("contract 1.0.0") && list.contains("  pinned, signed by "),
        "{list}"
    );
    assert_eq!(said("carpd plugin diff"), "");
    let check = carpd(directory.path(), &["check", "carpd.toml"]);
    assert_eq!(
        check.stdout, "carpd.toml: good: 1 virtual host, 1 hook\n",
        "{}",
        check.stderr
    );
}

#[test]
fn the_guide_to_testing_can_be_followed() {
    let page = page("guide/test-a-hook.md");
    let directory = place("failover");
    let path = |name: &str| directory.path().join(name);
    let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
    let hook = |route: &str| {
        format!(
            "function on_master()\n  hostname.set(\"nodevir2\")\n{route}  service.start(\"httpd\")\nend\n"
        )
    };
    let whole = hook("  route.replace(\"default\", { via = \"192.0.2.254\" })\n");
    let grants = "hostname = [\"nodevir2\"]\nroute = [{ dst = \"default\" }]\nservice = [{ unit = \"httpd\", do = [\"start\"] }]\n";
    let cases = blocks(&page, "lua");
    let fence = "function on_master(event)\n  rule.replace({ from = \"192.0.2.22\", table = 100, priority = 1000 })\nend\n";
    fs::create_dir(path("broken")).unwrap();
    for (name, text) in [
        ("failover.lua", &whole),
        ("fence.lua", &fence.to_owned()),
        ("failover_test.lua", &cases.join("\n")),
        ("failover.toml", &blocks(&page, "toml")[0]),
        ("broken/failover.lua", &hook("")),
        ("broken/failover_test.lua", &cases[0]),
        ("broken/failover.grants.toml", &grants.to_owned()),
    ] {
        write(name, text);
    }
    let done = follow_all(&page, directory.path());
    let shown = blocks(&page, "text");
    for (command, text) in [
        ("carpd test announcer", &shown[0]),
        ("carpd test broken ||", &shown[1]),
    ] {
        let said = &done
            .iter()
            .find(|(line, _)| line.starts_with(command))
            .unwrap()
            .1;
        assert_eq!(said.trim_end(), text, "{command}");
    }
    assert!(
        !fs::read_to_string(path("broken/failover_test.lua"))
            .unwrap()
            .contains("route.replace"),
        "it was updated"
    );
    assert!(path("lcov.info").exists() && path("report.xml").exists());
    for exit in carpd::cli::Exit::ALL {
        assert!(
            page.contains(&format!("| {} | ", exit.code())),
            "{}",
            exit.code()
        );
    }
}

#[test]
fn the_guide_to_planning_and_rehearsing_can_be_followed() {
    let page = page("guide/plan-and-rehearse.md");
    let directory = place("failover");
    let done = follow_all(&page, directory.path());
    let said = |begin: &str| {
        &done
            .iter()
            .find(|(line, _)| line.starts_with(begin))
            .unwrap_or_else(|| panic!("{begin}"))
            .1
    };
    assert!(said("carpd plan ./failover.lua").contains("example becomes master on eth0"));
    assert!(said("carpd plan --config").contains("web becomes master on eth0"));
    assert!(
        said("carpd rehearse node2.toml node3.toml --event \"10s node2 dies\"")
            .contains("1 outage of ")
    );
    assert!(said("carpd rehearse node2.toml node3.toml --scenario").contains("* node2 returns"));
    assert!(
        fs::read_to_string(directory.path().join("rehearsal.html"))
            .unwrap()
            .contains("as the rehearsal demands")
    );
    // Every event of the table is one that the command takes, with a track for one of them.
    let node2 = directory.path().join("node2.toml");
    let tracked = fs::read_to_string(&node2).unwrap()
        + "\n[track.uplink]\nkind = \"link\"\ninterface = \"eth1\"\nall-vhosts = true\n";
    fs::write(&node2, tracked).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').nth(1).unwrap());
    for text in rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        let text = match text.split(' ').next().unwrap() {
            "link" => format!("node2 {text}"),
            "hangs" | "works" => format!("node2 hook failover {text}"),
            "up" => format!("node2 track uplink {text}"),
            "takes" => format!("node2 service httpd {text}"),
            _ => text.to_owned(),
        };
        let event = format!("1s {}", text.replace(" node4", ""));
        let ran = carpd(
            directory.path(),
            &[
                "rehearse",
                "--no-hooks",
                "--end",
                "2s",
                "node2.toml",
                "node3.toml",
                "-e",
                &event,
            ],
        );
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{event}");
    }
}

#[test]
fn the_reference_is_what_this_version_prints() {
    let printed = carpd(Path::new("/"), &["api", "--markdown"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    assert_eq!(
        page("hooks/api.md"),
        printed.stdout,
        "docs/hooks/api.md: write what `carpd api --markdown` prints"
    );
}

#[cfg(feature = "wasm")]
#[test]
fn the_contract_with_components_is_printed_with_the_api() {
    let [api, plugin] =
        [&["api", "--wit"], &["plugin", "wit"]].map(|args| carpd(Path::new("/"), args));
    assert_eq!((api.code, api.stdout), (0, plugin.stdout));
    assert_eq!(carpd(Path::new("/"), &["api", "--wit", "--lua"]).code, 2);
}

#[test]
fn every_function_is_in_every_form() {
    use carpd::port::api::{Form, print};
    for function in carpd::hooks::contract::api::FUNCTIONS {
        let (cats, markdown) = (print(Form::LuaCats), print(Form::Markdown));
        let name = if function.group == function.name {
            function.name.to_owned()
        } else {
            function.full_name()
        };
        assert!(cats.contains(&format!("\nfunction {name}(")), "{name}");
        assert!(
            markdown.contains(&format!("\n### `{name}(")) && markdown.contains(function.example),
            "{name}"
        );
        assert!(
            print(Form::Luau).contains(&format!("-- {}", function.doc)),
            "{name}"
        );
    }
    for function in carpd::hooks::contract::api::TEST_FUNCTIONS {
        use carpd::hooks::contract::api::On;
        let (colon, dot) = if function.on == On::Host {
            ("TestHost:", "h:")
        } else {
            ("test.", "test.")
        };
        assert!(
            print(Form::LuaCats).contains(&format!("\nfunction {colon}{}(", function.name)),
            "{}",
            function.name
        );
        let markdown = print(Form::Markdown);
        assert!(
            markdown.contains(&format!("\n### `{dot}{}(", function.name))
                && markdown.contains(function.example)
        );
        assert!(
            print(Form::Luau).contains(&format!("-- {}", function.doc)),
            "{}",
            function.name
        );
    }
}

#[test]
fn porting_replaces_no_files_and_names_what_it_cannot_read() {
    let directory = place("failover");
    let port = |args: &[&str]| carpd(directory.path(), &[&["port"], args].concat());
    assert_eq!(port(&["master-up.sh", "-o", "failover.lua"]).code, 0);
    let again = port(&["master-up.sh", "-o", "failover.lua"]);
    assert_eq!(again.code, 1);
    assert!(
        again
            .stderr
            .starts_with("error: failover.lua exists\nhint: "),
        "{}",
        again.stderr
    );
    assert_eq!(
        port(&["master-up.sh", "-o", "failover.lua", "--force"]).code,
        0
    );
    assert_eq!(port(&["master-up.sh", "-o", "failover.txt"]).code, 2);
    fs::write(
        directory.path().join("bad.sh"),
        "#!/bin/sh\nif true; then\necho 'x\n",
    )
    .unwrap();
    let bad = port(&["bad.sh"]);
    assert_eq!(
        (bad.code, bad.stderr.as_str()),
        (1, "error: bad.sh: line 3: a quote ' has no end\n")
    );
    let json: serde_json::Value =
        serde_json::from_str(&port(&["mixed.sh", "--json"]).stdout).unwrap();
    assert_eq!(json["todos"][0]["line"], 3);
    assert_eq!(json["todos"][0]["lines"], serde_json::json!([3]));
    assert_eq!(
        (&json["complete"], &json["lines"], &json["translated"]),
        (&false.into(), &2.into(), &1.into())
    );
    assert_eq!(json["differences"][0]["script"], "mixed.sh");
    assert!(json["test"].as_str().unwrap().contains("h:expect_error("));
    assert!(json["guesses"].is_array() && json["open"].is_array());
    let about_keepalived = port(&["master-up.sh", "--priority", "100"]);
    assert_eq!(
        (about_keepalived.code, about_keepalived.stderr.as_str()),
        (
            2,
            "error: --priority is about keepalived\nhint: say --from keepalived\n"
        )
    );
}

/// The hook is played before it is written: what fails there is no translation.
#[test]
fn a_port_that_fails_in_memory_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(
        at.join("up.sh"),
        "#!/bin/sh\nuntil [ -f /run/ready ]; do sleep 2; done\nservice x start\n",
    )
    .unwrap();
    let ran = carpd(at, &["port", "up.sh", "--interface", "eth0", "-o", "h.lua"]);
    assert_eq!(ran.code, 6, "{}", ran.stdout);
    assert!(
        ran.stdout
            .contains("the hook fails where the script may not: ran longer than its budget of 10s"),
        "{}",
        ran.stdout
    );
}
