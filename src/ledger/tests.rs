use std::fs::{self, File, OpenOptions};
use std::io::Write as _;

use super::*;
use crate::types::{IfName, Vhid};

fn owner(vhost: &str) -> Owner {
    Owner {
        vhost: vhost.parse().unwrap(),
        hook: Some("h".parse().unwrap()),
    }
}

fn text(s: &str) -> Value {
    Value::Text(s.into())
}

fn claim(ledger: &mut Ledger, vhost: &str, before: &Value, value: Value) {
    drop(
        ledger
            .claim(&owner(vhost), &Resource::Hostname, before.clone(), value)
            .unwrap(),
    );
}

/// Undoes a virtual host's claims against a host name that is just a variable.
fn leave(ledger: &mut Ledger, vhost: &str, name: &mut Value) {
    for undo in ledger.undo_plan(&vhost.parse().unwrap(), Of::Hooks) {
        if let Some(back_to) = undo.back_to.clone() {
            assert!(undo.is_ours(name), "{name} is not one of {:?}", undo.ours);
            *name = back_to;
        }
        ledger.settle(&undo.owner, &undo.resource);
    }
}

#[test]
fn two_owners_leave_in_any_order_and_the_original_is_back() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut ledger = Ledger::new();
        let mut name = text("node");
        for vhost in ["a", "b"] {
            claim(&mut ledger, vhost, &name, text("virtual"));
            name = text("virtual");
        }
        leave(&mut ledger, order[0], &mut name);
        assert_eq!(name, text("virtual"), "one still holds it");
        leave(&mut ledger, order[1], &mut name);
        assert_eq!(name, text("node"));
        assert!(ledger.is_empty());
    }
}

#[test]
fn the_newest_claim_shows_and_the_one_below_comes_back() {
    let mut ledger = Ledger::new();
    let mut name = text("node");
    for vhost in ["a", "b"] {
        claim(&mut ledger, vhost, &name, text(vhost));
        name = text(vhost);
    }
    leave(&mut ledger, "b", &mut name);
    assert_eq!(name, text("a"));
    leave(&mut ledger, "a", &mut name);
    assert_eq!(name, text("node"));
}

#[test]
fn what_a_failed_effect_left_is_still_ours() {
    let mut ledger = Ledger::new();
    let mut name = text("a");
    claim(&mut ledger, "a", &text("node"), text("a"));
    ledger.confirm(&Resource::Hostname);
    // Its effect fails: the host keeps the value of the claim below.
    claim(&mut ledger, "b", &name, text("b"));
    leave(&mut ledger, "a", &mut name);
    leave(&mut ledger, "b", &mut name);
    assert_eq!(name, text("node"));
}

#[test]
fn an_effect_that_stays_becomes_the_value_to_go_back_to() {
    let mut ledger = Ledger::new();
    let mut name = text("virtual");
    assert_eq!(
        ledger.retarget(&owner("b").vhost, &Resource::Hostname, &text("standby")),
        Verdict::Perform,
        "nobody holds it"
    );
    claim(&mut ledger, "a", &text("node"), text("virtual"));
    assert_eq!(
        ledger.retarget(&owner("a").vhost, &Resource::Hostname, &text("other")),
        Verdict::Perform
    );
    assert_eq!(
        ledger.retarget(&owner("b").vhost, &Resource::Hostname, &text("standby")),
        Verdict::Deferred
    );
    leave(&mut ledger, "a", &mut name);
    assert_eq!(name, text("standby"));
}

#[test]
fn what_was_found_is_not_forgotten_for_a_value_that_cannot_be_had() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = Ledger::open(&instance(&directory, HERE));
    let back_to = |ledger: &Ledger| {
        let undo = ledger.undo_of(&owner("a"), &Resource::Hostname).unwrap();
        (undo.back_to, undo.found)
    };
    claim(&mut ledger, "a", &text("node"), text("virtual"));
    assert_eq!(back_to(&ledger), (Some(text("node")), None));
    assert_eq!(
        ledger.retarget(&owner("a").vhost, &Resource::Hostname, &text("never")),
        Verdict::Perform
    );
    assert_eq!(back_to(&ledger), (Some(text("never")), Some(text("node"))));
    ledger.withdraw(&Resource::Hostname, text("node"));
    assert_eq!(back_to(&ledger), (Some(text("node")), None));
    // Noted for later, it may turn out to be impossible only then, or after a crash.
    assert_eq!(
        ledger.retarget(&owner("b").vhost, &Resource::Hostname, &text("never")),
        Verdict::Deferred
    );
    let before = back_to(&ledger);
    assert_eq!(before, (Some(text("never")), Some(text("node"))));
    // Another effect that fails does not take the place of what is noted.
    let noted = ledger.goes_back_to(&Resource::Hostname).cloned().unwrap();
    assert_eq!(
        ledger.retarget(&owner("a").vhost, &Resource::Hostname, &text("other")),
        Verdict::Perform
    );
    ledger.withdraw(&Resource::Hostname, noted);
    assert_eq!(back_to(&ledger), before);
    for _ in 0..2 {
        drop(ledger);
        (ledger, _) = Ledger::open(&instance(&directory, HERE));
        assert_eq!(back_to(&ledger), before);
    }
}

#[test]
fn virtual_hosts_that_change_their_names_go_on_holding() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = Ledger::open(&instance(&directory, HERE));
    let name = |name: &str| -> crate::types::Name { name.parse().unwrap() };
    claim(&mut ledger, "a", &text("node"), text("one"));
    claim(&mut ledger, "b", &text("one"), text("two"));
    claim(&mut ledger, "c", &text("two"), text("three"));
    ledger.rename(&[(name("a"), name("b")), (name("b"), name("a"))].into());
    let owners = |ledger: &Ledger| -> Vec<String> {
        ledger
            .iter()
            .flat_map(|held| held.owners.into_iter().map(|owner| owner.vhost.to_string()))
            .collect()
    };
    assert_eq!(owners(&ledger), ["b", "a", "c"]);
    assert!(ledger.knows(&name("c")) && !ledger.knows(&name("d")));
    drop(ledger);
    let (mut ledger, left) = Ledger::open(&instance(&directory, HERE));
    assert_eq!(
        (owners(&ledger), left.len()),
        (vec!["b".to_owned(), "a".to_owned(), "c".to_owned()], 3)
    );
    let mut host_name = text("three");
    for vhost in ["c", "b", "a"] {
        leave(&mut ledger, vhost, &mut host_name);
    }
    assert_eq!(host_name, text("node"));
}

#[test]
fn the_plan_undoes_newest_first() {
    let mut ledger = Ledger::new();
    let unit = |unit: &str| Resource::Service { unit: unit.into() };
    for name in ["z", "a", "m"] {
        drop(
            ledger
                .claim(
                    &owner("v"),
                    &unit(name),
                    Value::Running(false),
                    Value::Running(true),
                )
                .unwrap(),
        );
    }
    let order: Vec<_> = ledger
        .undo_plan(&"v".parse().unwrap(), Of::Hooks)
        .into_iter()
        .map(|u| u.resource)
        .collect();
    assert_eq!(order, [unit("m"), unit("a"), unit("z")]);
}

const HERE: Origin = Origin { boot: 1, netns: 2 };

/// An instance below a directory, as one process after the other has it.
fn instance(directory: &tempfile::TempDir, origin: Origin) -> Instance {
    Instance::open(
        &directory.path().join("run"),
        &directory.path().join("lib"),
        "test",
        origin,
        [],
    )
    .unwrap()
}

fn file() -> Resource {
    Resource::File {
        path: "/etc/motd".into(),
    }
}

fn held(ledger: &Ledger) -> Vec<(Resource, Value, Value)> {
    ledger
        .iter()
        .map(|held| {
            (
                held.resource.clone(),
                held.value.clone(),
                held.original.clone(),
            )
        })
        .collect()
}

/// What undoing all will make of it, as long as nobody else has touched it.
#[test]
fn what_was_before_is_known_while_it_is_as_we_set_it() {
    let mut ledger = Ledger::new();
    let name = |name: &str| Value::Text(name.to_owned());
    assert_eq!(ledger.before(&Resource::Hostname, &name("node2")), None);
    for (vhost, set, found) in [("v", "vir1", "node2"), ("w", "vir2", "vir1")] {
        drop(
            ledger
                .claim(&owner(vhost), &Resource::Hostname, name(found), name(set))
                .unwrap(),
        );
    }
    assert_eq!(
        ledger.before(&Resource::Hostname, &name("vir2")),
        Some(&name("node2"))
    );
    assert_eq!(
        ledger.before(&Resource::Hostname, &name("renamed")),
        None,
        "somebody else's"
    );
}

#[test]
fn the_next_process_finds_what_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, left) = Ledger::open(&instance(&directory, HERE));
    assert!(left.is_empty());
    claim(&mut ledger, "a", &text("node"), text("virtual"));
    claim(&mut ledger, "b", &Value::Absent, text("virtual"));
    let written = ledger
        .claim(
            &owner("a"),
            &file(),
            Value::Absent,
            Value::File(b"hello".to_vec()),
        )
        .unwrap();
    assert!(written.needs_sync(), "files survive the machine's death");
    written.sync().unwrap();
    ledger.settle(&owner("a"), &Resource::Hostname);
    let before = held(&ledger);
    drop(ledger);
    let (ledger, left) = Ledger::open(&instance(&directory, HERE));
    assert_eq!(held(&ledger), before);
    let left: Vec<_> = left
        .iter()
        .map(|left| (left.owner.vhost.as_str(), left.resource.clone()))
        .collect();
    assert_eq!(
        left,
        [("a", file()), ("b", Resource::Hostname)],
        "newest first"
    );
}

#[test]
fn another_boot_or_network_voids_all_but_files() {
    for other in [Origin { boot: 9, ..HERE }, Origin { netns: 9, ..HERE }] {
        let directory = tempfile::tempdir().unwrap();
        let (mut ledger, _) = Ledger::open(&instance(&directory, HERE));
        claim(&mut ledger, "a", &text("node"), text("virtual"));
        drop(
            ledger
                .claim(&owner("a"), &file(), Value::Absent, Value::File(Vec::new()))
                .unwrap(),
        );
        drop(ledger);
        // As after a reboot that leaves `run-dir` alone.
        let run = directory.path().join("run");
        fs::rename(
            run.join("test@2"),
            run.join(format!("test@{}", other.netns)),
        )
        .unwrap();
        let (_, left) = Ledger::open(&instance(&directory, other));
        assert_eq!(
            left.iter()
                .map(|left| left.resource.clone())
                .collect::<Vec<_>>(),
            [file()]
        );
    }
}

#[test]
fn a_ledger_that_cannot_be_written_takes_only_own_addresses_and_heals() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = Ledger::open(&instance(&directory, HERE));
    claim(&mut ledger, "a", &text("node"), text("virtual"));
    let files = ledger.files.as_mut().unwrap();
    files.fail_writes(OpenOptions::new().write(true).open("/dev/full").unwrap());
    // The file cannot be written anew either: its name is taken by a directory.
    let new = directory.path().join("run/test@2/ledger.new");
    fs::create_dir(&new).unwrap();
    let error = ledger
        .claim(&owner("b"), &Resource::Hostname, Value::Absent, text("b"))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("only a virtual host's own addresses"),
        "{error}"
    );
    assert_eq!(ledger.health(), Some(&error));
    assert!(
        ledger
            .owners(&owner("b").vhost, &Resource::Hostname)
            .is_empty(),
        "nothing is noted"
    );
    let address = Resource::Address {
        dev: "eth0".parse().unwrap(),
        ip: "10.0.0.9".parse().unwrap(),
    };
    let own = Owner {
        hook: None,
        ..owner("a")
    };
    ledger.claim_own(
        &own,
        &address,
        Value::Address("10.0.0.9/24".parse().unwrap()),
    );
    ledger.settle(&owner("a"), &Resource::Hostname);
    fs::remove_dir(&new).unwrap();
    claim(&mut ledger, "c", &text("node"), text("c"));
    assert_eq!(ledger.health(), None);
    let before = held(&ledger);
    drop(ledger);
    assert_eq!(
        held(&Ledger::open(&instance(&directory, HERE)).0),
        before,
        "what was not written before is now"
    );
}

#[test]
fn a_ledger_that_could_not_be_written_is_mended_without_a_new_claim() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = Ledger::open(&instance(&directory, HERE));
    let run = directory.path().join("run/test@2");
    assert!(ledger.failing().is_empty());
    ledger
        .files
        .as_mut()
        .unwrap()
        .fail_writes(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let new = run.join("ledger.new");
    fs::create_dir(&new).unwrap();
    let address = Resource::Address {
        dev: "eth0".parse().unwrap(),
        ip: "10.0.0.9".parse().unwrap(),
    };
    let own = Owner {
        hook: None,
        ..owner("a")
    };
    ledger.claim_own(
        &own,
        &address,
        Value::Address("10.0.0.9/24".parse().unwrap()),
    );
    assert!(ledger.failing() == std::slice::from_ref(&run));
    assert!(super::probe(&run).is_ok(), "the disk is not to blame here");
    ledger.mend();
    assert!(ledger.failing() == std::slice::from_ref(&run), "not yet");
    fs::remove_dir(&new).unwrap();
    ledger.mend();
    assert!(ledger.health().is_none() && ledger.failing().is_empty());
    let before = held(&ledger);
    drop(ledger);
    assert_eq!(held(&Ledger::open(&instance(&directory, HERE)).0), before);
    // Where nothing can be made, that is told.
    fs::write(directory.path().join("file"), "").unwrap();
    assert!(super::probe(&directory.path().join("file/below")).is_err());
    assert!(!run.join("ledger.probe").exists());
}

#[test]
fn a_ledger_that_cannot_be_written_at_the_end_goes_if_nothing_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = Ledger::open(&instance(&directory, HERE));
    claim(&mut ledger, "a", &text("node"), text("virtual"));
    drop(
        ledger
            .claim(&owner("a"), &file(), Value::Absent, Value::File(Vec::new()))
            .unwrap(),
    );
    assert!(ledger.void_files().is_empty());
    // The disk fills up: what is undone cannot be written down any more.
    ledger
        .files
        .as_mut()
        .unwrap()
        .fail_writes(OpenOptions::new().write(true).open("/dev/full").unwrap());
    fs::create_dir(directory.path().join("run/test@2/ledger.new")).unwrap();
    ledger.settle(&owner("a"), &Resource::Hostname);
    let run = directory.path().join("run/test@2/ledger");
    assert_eq!(
        ledger.void_files(),
        std::slice::from_ref(&run),
        "the other one can be written, and says what is held"
    );
    fs::remove_file(&run).unwrap();
    drop(ledger);
    let (_, left) = Ledger::open(&instance(&directory, HERE));
    assert_eq!(
        left.iter()
            .map(|left| left.resource.clone())
            .collect::<Vec<_>>(),
        [file()]
    );
}

#[test]
fn what_another_instance_of_the_name_wrote_is_not_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let lasting = |path: &str| Resource::File { path: path.into() };
    let write = |ledger: &mut Ledger, path: &str| {
        ledger
            .claim(
                &owner("a"),
                &lasting(path),
                Value::Absent,
                Value::File(Vec::new()),
            )
            .map(drop)
    };
    // Two network namespaces have one directory for what outlives a boot.
    let (mut first, _) = Ledger::open(&instance(&directory, HERE));
    write(&mut first, "/etc/one").unwrap();
    let (mut second, left) = Ledger::open(&instance(&directory, Origin { netns: 3, ..HERE }));
    assert!(left.is_empty(), "it is the first one's");
    let error = write(&mut second, "/etc/two").unwrap_err();
    assert!(error.to_string().contains("another instance"), "{error}");
    assert_eq!(
        second.health(),
        Some(&error),
        "said before anybody asks for an effect"
    );
    drop(first);
    write(&mut second, "/etc/two").unwrap();
    assert_eq!(second.health(), None);
    drop(second);
    let (ledger, _) = Ledger::open(&instance(&directory, HERE));
    let there: Vec<_> = ledger.iter().map(|held| held.resource.clone()).collect();
    assert_eq!(there, [lasting("/etc/one"), lasting("/etc/two")]);
}

#[test]
fn what_another_instance_of_the_name_left_unreadable_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let lasting = Resource::File {
        path: "/etc/one".into(),
    };
    let write = |ledger: &mut Ledger| {
        let (before, value) = (Value::Absent, Value::File(Vec::new()));
        ledger.claim(&owner("a"), &lasting, before, value).map(drop)
    };
    let path = directory.path().join("lib/test/ledger");
    let (mut first, _) = Ledger::open(&instance(&directory, HERE));
    write(&mut first).unwrap();
    let (mut second, _) = Ledger::open(&instance(&directory, Origin { netns: 3, ..HERE }));
    drop(first);
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let error = write(&mut second).unwrap_err();
    assert!(path.is_symlink(), "what cannot be read stays: {error}");
    assert!(write(&mut second).is_err() && path.is_symlink(), "also now");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "something else").unwrap();
    write(&mut second).unwrap();
    assert_eq!(
        fs::read(path.with_extension("unreadable")).unwrap(),
        b"something else"
    );
}

#[test]
fn the_file_is_bounded_by_what_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = Ledger::open(&instance(&directory, HERE));
    for _ in 0..20_000 {
        claim(&mut ledger, "a", &text("node"), text("virtual"));
        ledger.settle(&owner("a"), &Resource::Hostname);
    }
    claim(&mut ledger, "b", &text("node"), text("virtual"));
    let path = directory.path().join("run/test@2/ledger");
    assert!(fs::metadata(&path).unwrap().len() < 70_000);
    let before = held(&ledger);
    drop(ledger);
    assert_eq!(held(&Ledger::open(&instance(&directory, HERE)).0), before);
}

#[test]
fn a_ledger_of_another_kind_is_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let instance = instance(&directory, HERE);
    File::create(instance.run_dir().join("ledger"))
        .unwrap()
        .write_all(b"something else")
        .unwrap();
    let (ledger, left) = Ledger::open(&instance);
    assert!(left.is_empty() && ledger.health().is_none());
    assert_eq!(
        fs::read(instance.run_dir().join("ledger.unreadable")).unwrap(),
        b"something else"
    );
}

#[test]
fn ledgers_that_were_put_aside_before_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let instance = instance(&directory, HERE);
    let at = |name: &str| instance.run_dir().join(name);
    for content in 1..=10 {
        fs::write(at("ledger"), content.to_string()).unwrap();
        drop(Ledger::open(&instance));
    }
    let names = [
        "ledger.unreadable".to_owned(),
        "ledger.unreadable.2".to_owned(),
        "ledger.unreadable.7".to_owned(),
        "ledger.unreadable.8".to_owned(),
    ];
    let kept = names.map(|name| fs::read_to_string(at(&name)).unwrap());
    assert_eq!(kept, ["1", "2", "7", "10"], "the first ones, and the last");
    assert!(!at("ledger.unreadable.9").exists());
}

fn post<'a>(interface: &'a IfName, own_name: Option<&IfName>, vhid: Vhid) -> Post<'a> {
    Post {
        interface,
        own_name: own_name.cloned(),
        vhid,
    }
}

/// Runs in a thread that may do no more than the owner of files: the capabilities are a thread's.
fn without_rights_to_files<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            for right in [
                caps::Capability::CAP_DAC_OVERRIDE,
                caps::Capability::CAP_DAC_READ_SEARCH,
            ] {
                caps::drop(None, caps::CapSet::Effective, right).unwrap();
            }
            test()
        };
        scope.spawn(run).join().unwrap()
    })
}

#[test]
fn what_may_not_be_read_is_not_nothing() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (mut ledger, _) = Ledger::open(&instance(&directory, HERE));
    claim(&mut ledger, "a", &text("node"), text("virtual"));
    drop(
        ledger
            .claim(&owner("a"), &file(), Value::Absent, Value::File(Vec::new()))
            .unwrap(),
    );
    drop(ledger);
    let close = |name: &str, mode| {
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    // The file, as another user's; and the directory that it is in.
    for (name, open, path) in [
        ("run/test@2/ledger", 0o600, "run/test@2/ledger"),
        ("lib/test/ledger", 0o600, "lib/test/ledger"),
        ("lib/test", 0o700, "lib/test/ledger"),
        ("lib", 0o755, "lib/test/ledger"),
    ] {
        close(name, 0);
        without_rights_to_files(|| {
            let (mut ledger, _) = Ledger::open(&instance(&directory, HERE));
            let unread = ledger.unread().first().cloned().unwrap();
            assert_eq!((&unread.path, unread.stays), (&at(path), true), "{name}");
            assert_eq!(unread.message, "Permission denied");
            let command = match name {
                "lib" => format!("`chmod a+rx {}`", at("lib").display()),
                _ => format!("`chown -R 7:8 {}`", at(path).parent().unwrap().display()),
            };
            let mend = unread.mend((7, 8));
            assert!(mend.starts_with(&command), "{mend}");
            // Nothing takes its place.
            ledger.mend();
        });
        close(name, open);
        let (ledger, left) = Ledger::open(&instance(&directory, HERE));
        assert_eq!((ledger.unread(), left.len()), (&[][..], 2), "{name}");
    }
    // Where all of an instance is closed nobody knows whether it lives.
    close("run/test@2", 0);
    without_rights_to_files(|| {
        let error = Instance::open(&at("run"), &at("lib"), "test", HERE, []).unwrap_err();
        assert!(
            matches!(&error, InstanceError::Closed { path, .. } if *path == at("run/test@2/lock")),
            "{error}"
        );
    });
    close("run/test@2", 0o755);
}

/// As what a daemon of another user left: it could not be seen from the list of ledgers.
#[test]
fn an_instance_that_may_not_be_looked_into_is_named() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let (run, lib) = (directory.path().join("run"), directory.path().join("lib"));
    for name in ["lib/dead-0123abcd", "lib/other"] {
        let path = directory.path().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("ledger"), "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    without_rights_to_files(|| {
        let (dead, _) = Instance::dead(&run, &lib, HERE);
        let names: Vec<_> = dead.iter().map(Instance::name).collect();
        assert_eq!(names, ["dead-0123abcd"]);
        let (ledger, left) = Ledger::open(&dead[0]);
        assert!(left.is_empty() && ledger.unread().len() == 1);
    });
}

/// A lock of another user's is one all the same, and where it can be it gets a new file.
#[test]
fn a_lock_that_may_only_be_read_is_taken() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    drop(instance(&directory, HERE));
    let lock = at("run/test@2/lock");
    let mode = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::write(&lock, "1 1").unwrap();
    for (directory_mode, holder) in [(0o555, 1), (0o755, std::process::id())] {
        mode(&lock, 0o444);
        mode(&at("run/test@2"), directory_mode);
        without_rights_to_files(|| {
            let first = instance(&directory, HERE);
            assert_eq!(Holder::of(&at("run/test@2")).unwrap().pid, holder);
            Instance::open(&at("run"), &at("lib"), "test", HERE, []).unwrap_err();
            drop(first);
            drop(instance(&directory, HERE));
        });
    }
}

/// As another user sees it: he cannot keep a daemon from starting, and sees that one runs.
#[test]
fn who_has_a_lock_is_seen_by_those_who_may_not_open_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let (run, lib) = (directory.path().join("run"), directory.path().join("lib"));
    let first = instance(&directory, HERE);
    let there = run.join("test@2");
    // The test's own user may open files of mode 0600, and not those of mode 0.
    fs::set_permissions(there.join("lock"), fs::Permissions::from_mode(0o000)).unwrap();
    let open = || Instance::open(&run, &lib, "test", HERE, []).map(drop);
    without_rights_to_files(|| {
        assert_eq!(Holder::is_there(&there).unwrap(), Some(true));
        assert_eq!(Holder::of(&there).unwrap().pid, std::process::id());
        let by = Occupant {
            pid: Some(std::process::id()),
            ending: false,
        };
        let name = "test".to_owned();
        assert_eq!(open(), Err(InstanceError::Running { name, by }));
    });
    drop(first);
    assert!(!there.join("lock").exists(), "it was stopped in good order");
    let killed = File::create(there.join("lock")).unwrap();
    killed
        .set_permissions(fs::Permissions::from_mode(0o000))
        .unwrap();
    // Nobody has it, which is no proof: what holds it may be where we do not see it.
    without_rights_to_files(|| {
        Holder::is_there(&there).unwrap_err();
        assert!(matches!(open(), Err(InstanceError::Closed { .. })));
    });
}

#[test]
fn two_names_of_an_interface_are_one_interface() {
    let directory = tempfile::tempdir().unwrap();
    let (run, lib) = (directory.path().join("run"), directory.path().join("lib"));
    let [eth0, enp3s0, enx0] = ["eth0", "enp3s0", "enx0"].map(|name| name.parse().unwrap());
    let vhid = Vhid::new(40).unwrap();
    let (by_own, by_other, by_third) = (
        post(&eth0, None, vhid),
        post(&enp3s0, Some(&eth0), vhid),
        post(&enx0, Some(&eth0), vhid),
    );
    let open = |name: &str, post: &Post<'_>| Instance::open(&run, &lib, name, HERE, [post.clone()]);
    for (one, other) in [
        (&by_own, &by_other),
        (&by_other, &by_own),
        (&by_other, &by_third),
    ] {
        let first = open("first", one).unwrap();
        let error = open("second", other).unwrap_err();
        assert!(
            error.to_string().contains(&format!(
                "another carpd already has vhid 40 on {} (pid",
                other.interface
            )),
            "{error}"
        );
        assert!(Instance::check_vhost(&run, HERE, other).is_err());
        drop(first);
    }
    // One process that changes the name it uses keeps the lock that both need.
    let mut first = open("first", &by_own).unwrap();
    first.lock_vhost(&run, &by_other).unwrap();
    first.release_vhost(&eth0, vhid);
    open("second", &by_own).unwrap_err();
    first.release_vhost(&enp3s0, vhid);
    open("second", &by_own).unwrap();
}

#[test]
fn two_instances_share_no_virtual_host_and_no_name() {
    let directory = tempfile::tempdir().unwrap();
    let (run, lib) = (directory.path().join("run"), directory.path().join("lib"));
    let (eth0, vhid) = ("eth0".parse().unwrap(), Vhid::new(40).unwrap());
    let open =
        |name: &str, origin| Instance::open(&run, &lib, name, origin, [post(&eth0, None, vhid)]);
    let first = open("first", HERE).unwrap();
    let by = Occupant {
        pid: Some(std::process::id()),
        ending: false,
    };
    assert_eq!(
        open("first", HERE).unwrap_err(),
        InstanceError::Running {
            name: "first".into(),
            by
        }
    );
    let error = open("second", HERE).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "another carpd already has vhid 40 on eth0 (pid {})",
            std::process::id()
        )
    );
    open("second", Origin { netns: 3, ..HERE })
        .expect("another network namespace is another network");
    drop(first);
    open("second", HERE).unwrap();
}

#[test]
fn only_dead_instances_of_this_network_are_anybodys() {
    let directory = tempfile::tempdir().unwrap();
    let (run, lib) = (directory.path().join("run"), directory.path().join("lib"));
    let open = |name: &str, origin| Instance::open(&run, &lib, name, origin, []).unwrap();
    let elsewhere = Origin { netns: 3, ..HERE };
    for (name, origin) in [("dead", HERE), ("elsewhere", elsewhere)] {
        let (mut ledger, _) = Ledger::open(&open(name, origin));
        claim(&mut ledger, "a", &text("node"), text(name));
    }
    let alive = open("alive", HERE);
    drop(Ledger::open(&alive));
    let (mut dead, living) = Instance::dead(&run, &lib, HERE);
    assert_eq!(
        dead.iter().map(Instance::name).collect::<Vec<_>>(),
        ["dead"]
    );
    let by = Occupant {
        pid: Some(std::process::id()),
        ending: false,
    };
    assert_eq!(
        living,
        [InstanceError::Running {
            name: "alive".into(),
            by
        }]
    );
    let (again, living) = Instance::dead(&run, &lib, HERE);
    assert!(
        again.is_empty() && living.len() == 2,
        "it is locked by whoever cleans up: {living:?}"
    );
    dead.remove(0).forget();
    assert!(!Instance::directory(&run, "dead", HERE).exists());
}

#[test]
fn a_lock_is_a_file_of_its_own_that_others_see_and_cannot_open() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (eth0, vhid) = ("eth0".parse().unwrap(), Vhid::new(40).unwrap());
    let open = |name: &str, vhid| {
        let vhosts = [post(&eth0, None, vhid)];
        Instance::open(&at("run"), &at("lib"), name, HERE, vhosts).unwrap()
    };
    let first = open("first", vhid);
    let locks = at("run/locks");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let lock = fs::read_dir(&locks)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!((mode(&locks), mode(&lock)), (0o755, 0o600));
    // As with another umask, and as an earlier version left it, which somebody has opened.
    drop(first);
    fs::write(&lock, "1 1").unwrap();
    let opened = File::open(&lock).unwrap();
    fs::set_permissions(&locks, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
    let first = open("first", vhid);
    assert_eq!((mode(&locks), mode(&lock)), (0o755, 0o600));
    drop(first);
    opened.lock().unwrap();
    let _first = open("first", vhid);
    // Nothing is written into a file of somebody else's that was given the name.
    let run = Instance::directory(&at("run"), "linked", HERE);
    fs::create_dir_all(&run).unwrap();
    fs::write(at("theirs"), "theirs").unwrap();
    fs::hard_link(at("theirs"), run.join("lock")).unwrap();
    drop(open("linked", Vhid::new(41).unwrap()));
    assert_eq!(fs::read_to_string(at("theirs")).unwrap(), "theirs");
    // Nobody waits for a pipe to be written to.
    fs::remove_file(run.join("lock")).unwrap();
    nix::unistd::mkfifo(&run.join("lock"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(Holder::of(&run), None);
}

#[test]
fn a_look_at_a_virtual_host_leaves_no_lock() {
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("run");
    let (eth0, vhid) = ("eth0".parse().unwrap(), Vhid::new(40).unwrap());
    Instance::check_vhost(&run, HERE, &post(&eth0, None, vhid)).unwrap();
    let locks = fs::read_dir(run.join("locks")).unwrap();
    assert_eq!(locks.count(), 0, "a lock of root's would refuse others");
}

#[test]
fn a_file_system_with_modes_of_its_own_has_locks_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let looks = std::cell::Cell::new(0);
    let always_exposed = |_: &fs::Metadata| {
        looks.set(looks.get() + 1);
        assert!(looks.get() < 10, "it is replaced for ever");
        true
    };
    let lock = lock::try_lock_unless(&path, always_exposed).unwrap();
    assert!(lock.is_ok(), "nobody else has it");
    assert_eq!(looks.get(), 2);
    assert!(
        lock::try_lock_unless(&path, always_exposed)
            .unwrap()
            .is_err()
    );
}

#[test]
fn what_is_said_to_be_done_opens_the_first_directory_that_is_closed() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("above/state");
    fs::create_dir_all(state.join("web-00000000")).unwrap();
    let unread = Unread {
        path: state.join("web-00000000/ledger"),
        message: "Permission denied".to_owned(),
        stays: true,
    };
    let close = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let mend = || without_rights_to_files(|| unread.mend((7, 8)));
    let shown = state.display();
    assert!(
        mend().starts_with(&format!("`chown -R 7:8 {shown}/web-00000000`")),
        "{}",
        mend()
    );
    close(&state, 0o600);
    assert!(
        mend().starts_with(&format!("`chmod a+rx {shown}`,")),
        "{}",
        mend()
    );
    close(&directory.path().join("above"), 0o600);
    let said = mend();
    assert!(
        said.starts_with("set another `run-dir` or `state-dir`")
            && said.ends_with("above")
            && !said.contains("chmod"),
        "{said}"
    );
    close(&directory.path().join("above"), 0o700);
    close(&state, 0o700);
}
