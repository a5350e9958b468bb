//! What stands in `docs/packaging`, where no systemd is needed to see that it is right.
//! `tests/systemd` runs it.

use std::collections::BTreeSet;

/// All values of a key of the unit file.
fn values(unit: &str, key: &str) -> BTreeSet<String> {
    let lines = unit
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines
        .flat_map(|line| line.split_whitespace().map(str::to_owned))
        .collect()
}

#[test]
fn the_unit_stops_before_the_network_does() {
    let unit = include_str!("../../docs/packaging/carpd.service");
    let after = values(unit, "After");
    // What a unit is started after is stopped after it: interfaces, packet filters, the bus over
    // which hooks stop services.
    for earlier in ["network.target", "network-pre.target", "dbus.socket"] {
        assert!(after.contains(earlier), "{earlier} is not in {after:?}");
    }
    // It is not pulled in: without a network there is still something to wait for.
    let wants = values(unit, "Wants");
    assert!(
        !wants.contains("network-online.target")
            && !values(unit, "Requires").contains("network.target"),
        "{wants:?}"
    );
}

/// The groups that the documentation names are those that packages make.
#[test]
fn the_groups_that_may_ask_are_made() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/packaging");
    let file = include_str!("../../docs/packaging/sysusers.conf");
    let made: BTreeSet<&str> = file
        .lines()
        .filter(|line| line.starts_with("g ") || line.starts_with("u "))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    let manual = include_str!("../../docs/operations.md");
    let named = manual.lines().filter_map(|line| {
        let value = line
            .strip_prefix("read-group = \"")
            .or_else(|| line.strip_prefix("order-group = \""));
        value?.split('"').next()
    });
    assert_eq!(named.collect::<BTreeSet<_>>(), made);
    // What makes them understands the files.
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    let run = |words: &[&str], file: &str| {
        let root = format!("--root={}", root.path().display());
        let file = format!("{directory}/{file}");
        let mut command = std::process::Command::new(words[0]);
        let output = command
            .args(&words[1..])
            .args([root, file])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        text + &String::from_utf8_lossy(&output.stdout)
    };
    let said = run(&["systemd-sysusers", "--dry-run"], "sysusers.conf");
    for group in made {
        assert!(
            said.contains(&format!("Creating group '{group}'")),
            "{said}"
        );
    }
    if nix::unistd::geteuid().is_root() {
        run(&["systemd-tmpfiles", "--create"], "tmpfiles.conf");
        for path in ["run/carpd", "var/lib/carpd"] {
            assert!(root.path().join(path).is_dir(), "{path}");
        }
    }
}
