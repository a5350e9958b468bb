//! Who else could write to what the daemon believes, or redirect what it writes, and what is said
//! of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;

use crate::cli::ethernet;
use crate::hooks::CARPD;

/// Somebody else.
const OTHER: u32 = 1234;

/// An empty directory, for root: nobody else can make files of others.
fn ground() -> Option<tempfile::TempDir> {
    nix::unistd::geteuid()
        .is_root()
        .then(|| tempfile::tempdir().unwrap())
}

/// A configuration with one hook.
fn configuration(directory: &Path, daemon: &str, grant: &str) {
    fs::write(directory.join("password"), "secret\n").unwrap();
    fs::set_permissions(
        directory.join("password"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    fs::write(directory.join("h.lua"), "function on_master() end\n").unwrap();
    let interface = ethernet();
    let text = format!(
        "[daemon]\n{daemon}\n[[vhost]]\nname = \"web\"\ninterface = \"{interface}\"\nvhid = 40\naddresses = [\"192.0.2.22/24\"]\n\
         password-file = \"password\"\nhooks = [\"h\"]\n[hook.h]\nsource = \"h.lua\"\n[hook.h.grant]\n{grant}\n"
    );
    fs::write(directory.join("carpd.toml"), text).unwrap();
}

/// Whether it ended well, and all that it said.
fn carpd(arguments: &[&str], directory: &Path) -> (bool, String) {
    crate::limit::begin();
    let ran = Command::new(CARPD)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    (
        ran.status.success(),
        String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr),
    )
}

#[test]
fn check_names_the_link_that_redirects_a_granted_file() {
    let Some(directory) = ground() else { return };
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("real")).unwrap();
    symlink("real", at("link")).unwrap();
    let grant = format!(
        "file = [{{ path = \"{}/x\", do = [\"write\"] }}]",
        at("link").display()
    );
    configuration(directory.path(), "", &grant);
    let (good, said) = carpd(&["check", "carpd.toml"], directory.path());
    assert!(good, "{said}");
    lchown(at("link"), Some(OTHER), None).unwrap();
    let (good, said) = carpd(&["check", "--json", "carpd.toml"], directory.path());
    assert!(!good, "{said}");
    let link = at("link");
    let link = link.display();
    assert!(
        said.contains(&format!("{link} is a symbolic link owned by user {OTHER}")),
        "{said}"
    );
    assert!(said.contains(&format!("chown -h root {link}")), "{said}");
}

/// Each file and directory that others could write to: refused, or only warned of, with the part
/// and the command.
#[test]
fn what_others_could_write_to_is_refused_by_who_runs_it() {
    let Some(directory) = ground() else { return };
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("etc/lib")).unwrap();
    configuration(&at("etc"), "", "");
    fs::write(at("etc/lib/module.lua"), "return {}\n").unwrap();
    fs::write(
        at("etc/h.lua"),
        "local m = require('lib/module')\nfunction on_master() end\n",
    )
    .unwrap();
    fs::write(at("etc/unused.lua"), "return {}\n").unwrap();
    chown(at("etc/unused.lua"), Some(OTHER), None).unwrap();
    let check = || carpd(&["check", "etc/carpd.toml"], directory.path());
    let (good, said) = check();
    assert!(good && !said.contains("warning"), "{said}");
    for name in [
        "etc/carpd.toml",
        "etc/h.lua",
        "etc/lib/module.lua",
        "etc/lib",
        "etc",
        "etc/password",
    ] {
        chown(at(name), Some(OTHER), None).unwrap();
        let path = at(name);
        let (refusal, mend) = (
            format!("{} belongs to user {OTHER}", path.display()),
            format!("chown root {}", path.display()),
        );
        for verb in [
            &["check", "etc/carpd.toml"][..],
            &["run", "--config", "etc/carpd.toml"],
        ] {
            // Modules are read by the engine, which is not started here.
            if verb[0] == "run" && name.starts_with("etc/lib") {
                continue;
            }
            let (good, said) = carpd(verb, directory.path());
            assert!(
                !good && said.contains(&refusal) && said.contains(&mend),
                "{verb:?} {name}: {said}"
            );
        }
        chown(at(name), Some(0), None).unwrap();
        // The group is root's, so it may.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o776)).unwrap();
        let (good, said) = check();
        let mend = if name == "etc/password" {
            "chmod go=".to_owned()
        } else {
            format!("chmod o-w {}", path.display())
        };
        assert!(!good && said.contains(&mend), "{name}: {said}");
        fs::set_permissions(
            &path,
            fs::Permissions::from_mode(if path.is_dir() { 0o755 } else { 0o600 }),
        )
        .unwrap();
    }
    // A sticky directory of root's is as /tmp is.
    fs::set_permissions(at("etc"), fs::Permissions::from_mode(0o1777)).unwrap();
    let (good, said) = check();
    assert!(good, "{said}");
    // On the way behind a link, too: current -> releases/1.
    fs::create_dir(at("releases")).unwrap();
    fs::rename(at("etc"), at("releases/1")).unwrap();
    symlink("releases/1", at("current")).unwrap();
    let behind = |verb: &str| carpd(&[verb, "current/carpd.toml"], directory.path());
    assert!(behind("check").0);
    lchown(at("current"), Some(OTHER), None).unwrap();
    let (good, said) = behind("check");
    assert!(
        !good && said.contains(&format!("chown -h root {}", at("current").display())),
        "{said}"
    );
}

/// Where the daemon writes: who could exchange that directory, or one above it, could exchange the
/// ledger.
#[test]
fn directories_of_the_daemon_that_others_could_exchange_are_refused() {
    let Some(directory) = ground() else { return };
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("var/lib")).unwrap();
    let daemon = format!(
        "run-dir = \"{}\"\nstate-dir = \"{}\"",
        at("run").display(),
        at("var/lib/carpd").display()
    );
    configuration(directory.path(), &daemon, "");
    // What is not there yet is made by the daemon itself.
    let check = || carpd(&["check", "carpd.toml"], directory.path());
    assert!(check().0);
    fs::create_dir(at("run")).unwrap();
    for name in ["run", "var/lib", "var"] {
        chown(at(name), Some(OTHER), None).unwrap();
        for verb in [
            &["check", "carpd.toml"][..],
            &["run", "--config", "carpd.toml"],
        ] {
            let (good, said) = carpd(verb, directory.path());
            assert!(
                !good && said.contains(&format!("chown root {}", at(name).display())),
                "{verb:?} {name}: {said}"
            );
        }
        chown(at(name), Some(0), None).unwrap();
    }
    symlink(at("run"), at("link")).unwrap();
    configuration(
        directory.path(),
        &format!("run-dir = \"{}\"", at("link").display()),
        "",
    );
    assert!(check().0);
    lchown(at("link"), Some(OTHER), None).unwrap();
    let (good, said) = check();
    assert!(
        !good && said.contains(&format!("chown -h root {}", at("link").display())),
        "{said}"
    );
}

/// Whoever can write to a signature can keep the next version from being taken.
#[test]
fn a_signature_that_others_could_write_to_is_refused() {
    let Some(directory) = ground() else { return };
    let at = |name: &str| directory.path().join(name);
    configuration(directory.path(), "", "");
    fs::write(at("module.lua"), "return {}\n").unwrap();
    fs::write(at("unused.lua"), "return {}\n").unwrap();
    fs::write(
        at("h.lua"),
        "local m = require('module')\nfunction on_master() end\n",
    )
    .unwrap();
    fs::write(at("h_test.lua"), "test.case('nothing', function() end)\n").unwrap();
    let text = fs::read_to_string(at("carpd.toml")).unwrap();
    let text = text.replace(
        "source = \"h.lua\"",
        "source = \"h.lua\"\nreload = \"tested\"",
    );
    fs::write(
        at("carpd.toml"),
        format!("{text}[trust]\nkeys = [\"team.pub\"]\nrequire-signature = true\n"),
    )
    .unwrap();
    assert!(
        carpd(
            &["plugin", "keygen", "team", "--no-password"],
            directory.path()
        )
        .0
    );
    for name in ["h.lua", "module.lua", "unused.lua", "h_test.lua"] {
        let (good, said) = carpd(
            &["plugin", "sign", name, "--secret-key", "team.key"],
            directory.path(),
        );
        assert!(good, "{said}");
    }
    let check = || carpd(&["check", "carpd.toml"], directory.path());
    let (good, said) = check();
    assert!(good, "{said}");
    for name in ["h.lua", "module.lua", "h_test.lua", "unused.lua"] {
        let signature = at(&format!("{name}.minisig"));
        chown(&signature, Some(OTHER), None).unwrap();
        let (good, said) = check();
        let refused = said.contains(&format!("chown root {}", signature.display()));
        assert_eq!(
            (good, refused),
            if name == "unused.lua" {
                (true, false)
            } else {
                (false, true)
            },
            "{name}: {said}"
        );
        chown(&signature, Some(0), None).unwrap();
    }
}

#[test]
fn a_configuration_may_ask_only_to_be_warned() {
    let Some(directory) = ground() else { return };
    configuration(directory.path(), "file-owners = \"warn\"", "");
    chown(directory.path().join("h.lua"), Some(OTHER), None).unwrap();
    let loaded = carpd::config::Config::load(&directory.path().join("carpd.toml")).unwrap();
    let warnings: Vec<&str> = loaded
        .report
        .problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains(&format!("h.lua belongs to user {OTHER}"))),
        "{warnings:?}"
    );
    let (good, said) = carpd(&["check", "carpd.toml"], directory.path());
    assert!(good, "{said}");
}

#[test]
fn who_only_looks_may_look_at_anything_and_is_told() {
    let Some(directory) = ground() else { return };
    configuration(directory.path(), "", "");
    fs::write(
        directory.path().join("h_test.lua"),
        "test.case('nothing', function() end)\n",
    )
    .unwrap();
    chown(directory.path().join("h.lua"), Some(OTHER), None).unwrap();
    for verb in [
        &["test", "h.lua"][..],
        &["plan", "--event", "master", "--config", "carpd.toml"],
        &["plan", "--event", "master", "h.lua"],
    ] {
        let (good, said) = carpd(verb, directory.path());
        assert!(good, "{verb:?}: {said}");
        assert!(
            said.contains("a daemon run by root would refuse this")
                && said.contains("h.lua belongs to user"),
            "{verb:?}: {said}"
        );
    }
    // Called by sudo, what belongs to the caller is the caller's own.
    let ran = Command::new(CARPD)
        .args(["check", "carpd.toml"])
        .env("SUDO_UID", OTHER.to_string())
        .current_dir(directory.path())
        .output();
    let ran = ran.unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success() && said.contains("a daemon run by root would refuse this"),
        "{said}"
    );
}
