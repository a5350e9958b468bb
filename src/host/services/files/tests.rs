use std::os::unix::fs::{chown, symlink};
use std::time::{Duration, SystemTime};

use super::*;

#[test]
fn parameters_stay_below_proc_sys() {
    assert_eq!(
        parameter("net.ipv4.conf.eth0/100.forwarding").unwrap(),
        Path::new("/proc/sys/net/ipv4/conf/eth0.100/forwarding")
    );
    for bad in [
        "",
        "net",
        "net..ipv4",
        "..",
        "net.//",
        "net./.x",
        "/etc.passwd x",
        "net.ipv4.\n",
    ] {
        let path = parameter(bad);
        assert!(path.is_err(), "{bad:?} became {path:?}");
    }
}

#[test]
fn a_file_is_replaced_whole_and_keeps_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    assert_eq!(write(&path, b"one").unwrap(), Outcome::Changed);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(write(&path, b"one").unwrap(), Outcome::Unchanged);
    assert_eq!(write(&path, b"two").unwrap(), Outcome::Changed);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert_eq!(read(&path).unwrap().unwrap(), b"two");
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "nothing is left behind"
    );
    assert_eq!(remove(&path).unwrap(), Outcome::Changed);
    assert_eq!(remove(&path).unwrap(), Outcome::Unchanged);
    assert_eq!(read(&path).unwrap(), None);
}

#[test]
fn links_and_directories_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (target, link) = (
        directory.path().join("target"),
        directory.path().join("link"),
    );
    fs::write(&target, "kept").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert!(write(&link, b"x").is_err());
    assert!(read(&link).is_err());
    assert!(read(directory.path()).is_err());
    assert_eq!(fs::read(&target).unwrap(), b"kept");
}

#[test]
fn what_was_removed_or_written_over_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    fs::write(&path, "secret").unwrap();
    let root = nix::unistd::geteuid().is_root();
    if root {
        chown(&path, Some(1234), Some(4321)).unwrap();
    }
    let file = File::open(&path).unwrap();
    let has_attributes =
        rustix::fs::fsetxattr(&file, "user.note", b"mine", rustix::fs::XattrFlags::empty()).is_ok();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    file.set_times(
        fs::FileTimes::new()
            .set_modified(long_ago)
            .set_accessed(long_ago),
    )
    .unwrap();
    drop(file);
    let found = find(&path).unwrap().unwrap();
    assert_eq!(
        (found.mode, found.modified),
        (0o600, (1_000_000_000, 123_456_789))
    );
    assert_eq!(
        found
            .attributes
            .iter()
            .any(|(name, value)| name == b"user.note" && value == b"mine"),
        has_attributes
    );
    if root {
        assert_eq!((found.uid, found.gid), (1234, 4321));
    }
    for change in [remove, |path: &Path| write(path, b"other")] {
        assert_eq!(change(&path).unwrap(), Outcome::Changed);
        assert_eq!(restore(&path, &found).unwrap(), Outcome::Changed);
        assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), long_ago);
        assert!(find(&path).unwrap().unwrap().is_same(&found));
        assert_eq!(restore(&path, &found).unwrap(), Outcome::Unchanged);
    }
    // What is written over keeps all but its time.
    write(&path, b"other").unwrap();
    let now = find(&path).unwrap().unwrap();
    assert_eq!(
        (now.mode, now.uid, now.gid, &now.attributes),
        (found.mode, found.uid, found.gid, &found.attributes)
    );
}

#[test]
fn links_in_parent_directories_are_followed_only_if_they_are_roots() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("target")).unwrap();
    fs::write(at("target/x"), "kept").unwrap();
    symlink(at("target"), at("link")).unwrap();
    assert_eq!(read(&at("link/x")).unwrap().unwrap(), b"kept");
    assert_eq!(write(&at("link/new"), b"new").unwrap(), Outcome::Changed);
    assert_eq!(remove(&at("link/new")).unwrap(), Outcome::Changed);
    // The same link in a directory of somebody else's, and somebody else's link in a directory of
    // root's.
    fs::create_dir(at("home")).unwrap();
    symlink(at("target"), at("home/link")).unwrap();
    chown(at("home"), Some(1234), None).unwrap();
    std::os::unix::fs::lchown(at("link"), Some(1234), None).unwrap();
    let found = find(&at("target/x")).unwrap().unwrap();
    for link in ["home/link", "link"] {
        let path = at(link).join("x");
        let refused = [
            read(&path).map(drop),
            find(&path).map(drop),
            write(&path, b"stolen").map(drop),
            remove(&path).map(drop),
            restore(
                &path,
                &FoundFile {
                    content: b"old".to_vec(),
                    ..found.clone()
                },
            )
            .map(drop),
        ];
        for result in refused {
            let err = result.unwrap_err();
            assert_eq!(err.errno, Some(libc::EACCES));
            assert!(
                err.message
                    .contains(&format!("{} is a symbolic link", at(link).display())),
                "{err}"
            );
        }
    }
    assert_eq!(fs::read(at("target/x")).unwrap(), b"kept");
    // A directory of somebody else's without a link is what was granted.
    fs::write(at("home/x"), "theirs").unwrap();
    assert_eq!(write(&at("home/x"), b"granted").unwrap(), Outcome::Changed);
}

/// While another thread exchanges a parent directory for a link and back.
#[test]
fn an_exchanged_parent_never_redirects_a_write() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["home", "home/conf", "secret"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("secret/x"), "kept").unwrap();
    chown(at("home"), Some(1234), None).unwrap();
    chown(at("home/conf"), Some(1234), None).unwrap();
    symlink(at("secret"), at("home/link")).unwrap();
    std::os::unix::fs::lchown(at("home/link"), Some(1234), None).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let [mut written, mut refused] = [0, 0];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (conf, link) = (at("home/conf"), at("home/link"));
            while !stop.load(Ordering::Relaxed) {
                let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                nix::fcntl::renameat2(
                    nix::fcntl::AT_FDCWD,
                    &conf,
                    nix::fcntl::AT_FDCWD,
                    &link,
                    flags,
                )
                .unwrap();
            }
        });
        for number in 0.. {
            match write(&at("home/conf/x"), format!("{number}").as_bytes()) {
                Ok(_) => written += 1,
                Err(_) => refused += 1,
            }
            if (number > 300 && written > 10 && refused > 10) || number > 100_000 {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(
        written > 10 && refused > 10,
        "{written} written, {refused} refused"
    );
    assert_eq!(fs::read(at("secret/x")).unwrap(), b"kept");
    assert_eq!(fs::read_dir(at("secret")).unwrap().count(), 1);
}
