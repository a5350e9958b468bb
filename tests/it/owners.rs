//! Who else could write to what the daemon believes, or redirect what it writes, and what is said of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::Path;
use std::process::Command;

use crate::hooks::CARPD;

/// Somebody else.
const OTHER: u32 = 1234;

/// Files of others can only be made by root.
fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A configuration with one hook.
fn configuration(directory: &Path, daemon: &str, grant: &str) {
    fs::write(directory.join("password"), "secret\n").unwrap();
    fs::set_permissions(directory.join("password"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(directory.join("h.lua"), "function on_master() end\n").unwrap();
    let text = format!(
        "[daemon]\n{daemon}\n[[vhost]]\nname = \"web\"\ninterface = \"lo\"\nvhid = 40\naddresses = [\"192.0.2.22/24\"]\n\
         password-file = \"password\"\nhooks = [\"h\"]\n[hook.h]\nsource = \"h.lua\"\n[hook.h.grant]\n{grant}\n"
    );
    fs::write(directory.join("carpd.toml"), text).unwrap();
}

/// Whether it ended well, and all that it said.
fn carpd(arguments: &[&str], directory: &Path) -> (bool, String) {
    let ran = Command::new(CARPD).args(arguments).current_dir(directory).output().unwrap();
    (ran.status.success(), String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr))
}

#[test]
fn check_names_the_link_that_redirects_a_granted_file() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("real")).unwrap();
    symlink("real", at("link")).unwrap();
    let grant = format!("file = [{{ path = \"{}/x\", do = [\"write\"] }}]", at("link").display());
    configuration(directory.path(), "", &grant);
    let (good, said) = carpd(&["check", "carpd.toml"], directory.path());
    assert!(good, "{said}");
    lchown(at("link"), Some(OTHER), None).unwrap();
    let (good, said) = carpd(&["check", "--json", "carpd.toml"], directory.path());
    assert!(!good, "{said}");
    let link = at("link");
    let link = link.display();
    assert!(said.contains(&format!("{link} is a symbolic link of user {OTHER}")), "{said}");
    assert!(said.contains(&format!("chown -h root {link}")), "{said}");
}
