//! `carpd import`: what becomes of the configurations of others, statement by statement, and that
//! what is made of them loads.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cli::{Ran, carpd_with};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/import");

fn import(arguments: &[&str]) -> Ran {
    let node = ["import", "--config-id", "node1"];
    let arguments: Vec<&str> = node.iter().chain(arguments).copied().collect();
    carpd_with(Path::new(CORPUS), &arguments, &[])
}

/// The outcome of each statement, a line each.
fn account(files: &[&str]) -> (Value, String) {
    let file = files[0];
    let ran = import(&[files, &["--json"]].concat());
    assert!(matches!(ran.code, 0 | 6), "{file}: {}", ran.stderr);
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said["complete"].as_bool().unwrap(), ran.code == 0, "{file}");
    let mut text = String::new();
    for statement in said["statements"].as_array().unwrap() {
        text += &format!(
            "{:>3} {}: {}: {}\n",
            statement["line"],
            statement["text"].as_str().unwrap(),
            statement["outcome"].as_str().unwrap(),
            statement["detail"].as_str().unwrap()
        );
    }
    (said, text)
}

fn keepalived() -> Vec<String> {
    let entries = fs::read_dir(Path::new(CORPUS).join("keepalived")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| {
            format!(
                "keepalived/{}",
                entry.unwrap().file_name().to_str().unwrap()
            )
        })
        .collect();
    names.push("keepalived.d/main.conf".to_owned());
    names.sort();
    names
}

/// The files of other formats, each with those that belong to it.
const OTHERS: [(&str, &[&str]); 9] = [
    ("ucarp", &["ucarp/start.sh"]),
    ("ifupdown", &["ifupdown/interfaces"]),
    ("epel", &["epel/vip-001.conf"]),
    ("freebsd", &["freebsd/rc.conf"]),
    ("freebsd-carp0", &["freebsd/carp0.conf"]),
    (
        "freebsd-aliases",
        &["freebsd/aliases.conf", "freebsd/sysctl.conf"],
    ),
    ("opnsense", &["opnsense/config.xml"]),
    ("pfsense", &["opnsense/pfsense.xml"]),
    ("opnsense-peers", &["opnsense/peers.xml"]),
];

#[test]
fn every_statement_of_keepalived_is_accounted_for() {
    let all = keepalived();
    assert!(all.len() >= 50, "{}", all.len());
    let mut text = String::new();
    for file in &all {
        let (said, statements) = account(&[file]);
        text += &format!("== {file}\n{statements}");
        // All words of the file, but for its comments, stand in one statement or another.
        let count = said["statements"].as_array().unwrap().len();
        let config = fs::read_to_string(Path::new(CORPUS).join(file)).unwrap();
        let lines = config.lines().filter(|line| {
            let line = line.trim();
            let goes_on = line.ends_with('\\') && !line.starts_with('$');
            !(line.is_empty() || line.starts_with(['!', '#', '{', '}']) || goes_on)
        });
        assert!(count >= lines.count(), "{file}:\n{statements}");
        // Only what is made up is unknown.
        let unknown = statements.contains("it is not known to carpd import");
        assert_eq!(
            unknown,
            file.contains("unknown-words"),
            "{file}:\n{statements}"
        );
    }
    insta::assert_snapshot!("keepalived", text);
}

/// Writes what is made of it, fills in what is left to fill in, and checks it.
fn made(files: &[&str], into: &Path) -> Ran {
    let ran = import(&[files, &["-o", into.to_str().unwrap()]].concat());
    assert!(matches!(ran.code, 0 | 6), "{}: {}", files[0], ran.stderr);
    let config = fs::read_to_string(into.join("carpd.toml")).unwrap();
    let here = into.join("kept.pass");
    let kept = config.replace("\"/etc/ucarp.pass\"", "\"kept.pass\"");
    if kept != config {
        fs::write(into.join("carpd.toml"), &kept).unwrap();
        fs::write(&here, "kept\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&here, mode).unwrap();
    }
    for line in config.lines() {
        if let Some(name) = line.strip_prefix("password-file = \"")
            && !name.starts_with('/')
        {
            let path = into.join(name.trim_end_matches('"'));
            if !path.exists() {
                fs::write(&path, "filled-in\n").unwrap();
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                fs::set_permissions(&path, mode).unwrap();
            }
        }
    }
    carpd_with(into, &["check", "carpd.toml"], &[])
}

#[test]
fn what_is_made_loads() {
    // What they lack is said, and must be filled in first.
    let lacking = ["no-interface", "sync-group-unequal"];
    for file in keepalived() {
        let directory = tempfile::tempdir().unwrap();
        let checked = made(&[&file], directory.path());
        let lacks = lacking.iter().any(|name| file.contains(name));
        let text = fs::read_to_string(directory.path().join("carpd.toml")).unwrap();
        assert_eq!(
            checked.code == 0,
            !lacks,
            "{file}: {}{}\n{text}",
            checked.stdout,
            checked.stderr
        );
    }
}

#[test]
fn other_formats_load_as_well() {
    for (name, files) in OTHERS {
        let directory = tempfile::tempdir().unwrap();
        let checked = made(files, directory.path());
        let text = fs::read_to_string(directory.path().join("carpd.toml")).unwrap();
        assert_eq!(checked.code, 0, "{name}: {}\n{text}", checked.stderr);
        let (said, statements) = account(files);
        assert!(!statements.contains("it is not known to carpd import") || name == "epel");
        let remarks = said["remarks"].as_array().unwrap();
        let remarks: String = remarks
            .iter()
            .map(|remark| format!("{}\n", remark.as_str().unwrap()))
            .collect();
        insta::assert_snapshot!(name, format!("{statements}\n{remarks}\n{text}"));
    }
    // What is found out may be said as well.
    let found = import(&["epel/vip-001.conf", "--json"]);
    let told = import(&["--from", "epel", "epel/vip-001.conf", "--json"]);
    assert_eq!(told.stdout, found.stdout);
}

/// What a person sees.
#[test]
fn the_account_is_readable() {
    let ran = import(&[
        "keepalived/conditions.conf",
        "keepalived/mail-by-instance.conf",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    insta::assert_snapshot!("account", format!("{}\n{}", ran.stdout, ran.stderr));
    let ran = import(&["keepalived/odd-routes.conf", "--all"]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    insta::assert_snapshot!("account_of_all", ran.stderr);
}

/// No password is printed, and what is written is for nobody else.
#[test]
fn passwords_are_in_files_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("new");
    let ran = import(&["keepalived/basic.conf", "-o", into.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!(ran.stdout + &ran.stderr).contains("s3cret"));
    let path: PathBuf = into.join("VI_1.pass");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_to_string(path).unwrap(), "s3cret\n");
    let all = keepalived();
    let others = OTHERS.iter().map(|(_, files)| files[0]);
    for file in all.iter().map(String::as_str).chain(others) {
        let ran = import(&[file, "--json"]);
        for password in ["s3cret", "quoted pw", "hunter2"] {
            assert!(!ran.stdout.contains(password), "{file}: {}", ran.stdout);
        }
    }
    // Nothing is overwritten, and then nothing is written.
    let again = import(&["keepalived/basic.conf", "-o", into.to_str().unwrap()]);
    assert_eq!(again.code, 1, "{}", again.stderr);
    assert!(again.stderr.contains("exists"), "{}", again.stderr);
}

/// A notify script that can be read becomes a hook, as by `carpd port`.
#[test]
fn scripts_that_can_be_read_become_hooks() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("etc/keepalived")).unwrap();
    fs::write(
        root.join("etc/keepalived/notify.sh"),
        "#!/bin/sh\ncase $3 in\nMASTER) systemctl start nginx ;;\n*) systemctl stop nginx ;;\nesac\n",
    )
    .unwrap();
    let config = fs::read_to_string(Path::new(CORPUS).join("keepalived/basic.conf")).unwrap();
    let config = config.trim_end().trim_end_matches('}').to_owned()
        + "    notify /etc/keepalived/notify.sh\n}\n";
    let path = directory.path().join("keepalived.conf");
    fs::write(&path, config).unwrap();
    let into = directory.path().join("new");
    let ran = import(&[
        path.to_str().unwrap(),
        "--root",
        root.to_str().unwrap(),
        "-o",
        into.to_str().unwrap(),
    ]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let hook = fs::read_to_string(into.join("hooks/VI_1.lua")).unwrap();
    assert!(hook.contains("service.start(\"nginx\")"), "{hook}");
    let checked = carpd_with(&into, &["check", "carpd.toml"], &[]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keepalived.conf");
    let mut all = String::new();
    for text in [
        "vrrp_instance X {\n  interface eth0\n",
        "vrrp_instance X {\n}\n}\n",
        "vrrp_script x {\n  script \"abc\n}\n",
        "global_defs {\n}\n",
        "hello\n",
        "<opnsense>\n  <virtualip></opnsense>",
        "ifconfig_em0_alias0=\"inet vhid 1 pass hunter2 alias 192.0.2.300/32\"\n",
        "include keepalived.conf\nvrrp_instance X {\n}\n",
    ] {
        fs::write(&path, text).unwrap();
        let ran = import(&[path.to_str().unwrap()]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{text}");
        let place = directory.path().to_str().unwrap();
        all += &format!("{text}\n{}\n", ran.stderr.replace(place, "DIR"));
    }
    insta::assert_snapshot!("refusals", all);
    // Neither a device nor a huge file is read, and bytes that are no text are no reason to fail.
    for odd in ["/dev/zero", "/", "/none"] {
        assert_eq!(import(&[odd]).code, 1, "{odd}");
    }
    fs::write(&path, vec![b'a'; 5 << 20]).unwrap();
    let ran = import(&[path.to_str().unwrap()]);
    assert!(ran.stderr.contains("larger than"), "{}", ran.stderr);
    let text = "vrrp_instance X {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.1\n }\n}\n";
    fs::write(&path, [text.as_bytes(), b"\0\xff\xfe {\n}\n"].concat()).unwrap();
    let ran = import(&[path.to_str().unwrap()]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert!(!ran.stderr.contains('\0'), "{}", ran.stderr);
}

/// Without files, those that are where the format usually has them.
#[test]
fn files_are_found_where_they_usually_are() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let from = |format: &str| import(&["--from", format, "--root", root.to_str().unwrap()]);
    let ran = from("keepalived");
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .contains("there is no /etc/keepalived/keepalived.conf below"),
        "{}",
        ran.stderr
    );
    let corpus = Path::new(CORPUS);
    for (from, to) in [
        ("keepalived/basic.conf", "etc/keepalived/keepalived.conf"),
        ("ifupdown/interfaces", "etc/network/interfaces"),
        ("epel/vip-001.conf", "etc/ucarp/vip-001.conf"),
        ("epel/vip-001.conf", "etc/ucarp/vip-002.conf"),
        ("freebsd/rc.conf", "etc/rc.conf"),
        ("opnsense/config.xml", "conf/config.xml"),
    ] {
        fs::create_dir_all(root.join(to).parent().unwrap()).unwrap();
        fs::copy(corpus.join(from), root.join(to)).unwrap();
    }
    for (format, vhosts) in [
        ("keepalived", 1),
        ("ifupdown", 2),
        ("epel", 2),
        ("rc.conf", 2),
        ("opnsense", 2),
    ] {
        let ran = from(format);
        assert!(matches!(ran.code, 0 | 6), "{format}: {}", ran.stderr);
        assert_eq!(ran.stdout.matches("[[vhost]]").count(), vhosts, "{format}");
    }
    assert_eq!(import(&[]).code, 2);
}
