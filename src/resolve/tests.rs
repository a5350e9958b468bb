use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

use super::*;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A directory with `a/b/file`.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("a/b")).unwrap();
    fs::write(root.path().join("a/b/file"), "content").unwrap();
    root
}

fn objections(path: &Path) -> Vec<String> {
    let place = source(path, &Trust::of_process()).unwrap();
    place
        .objections
        .iter()
        .map(|refusal| format!("{refusal}; {}", refusal.mend().unwrap_or_default()))
        .collect()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_path_leads_where_the_kernel_says() {
    let root = tree();
    let at = |name: &str| root.path().join(name);
    symlink("b/../b/./file", at("a/link")).unwrap();
    symlink(at("a"), at("absolute")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("circle", at("circle")).unwrap();
    for path in [
        "a/b/file",
        "a/link",
        "absolute/link",
        "absolute/../a/b/file",
        "a/b/..",
    ] {
        let place = source(&at(path), &Trust::of_process()).unwrap();
        assert_eq!(place.path(), fs::canonicalize(at(path)).unwrap(), "{path}");
        assert_eq!(
            place.metadata().unwrap().unwrap().ino(),
            fs::metadata(at(path)).unwrap().ino(),
            "{path}"
        );
    }
    assert_eq!(
        source(&at("dangling"), &Trust::of_process())
            .unwrap()
            .metadata()
            .unwrap()
            .map(|_| ()),
        None
    );
    assert!(
        source(&at("none/file"), &Trust::of_process())
            .unwrap_err()
            .is_absence()
    );
    assert_eq!(
        source(&at("circle"), &Trust::of_process()).unwrap_err().why,
        Why::TooManyLinks
    );
    assert_eq!(
        source(&at("a/b/file/x"), &Trust::of_process())
            .unwrap_err()
            .errno(),
        libc::ENOTDIR
    );
    assert_eq!(
        source(Path::new("/"), &Trust::of_process()).unwrap().path(),
        Path::new("/")
    );
    assert!(
        source(Path::new("/../.."), &Trust::of_process())
            .unwrap()
            .metadata()
            .unwrap()
            .unwrap()
            .is_dir()
    );
    let deep = "d/".repeat(100);
    fs::create_dir_all(at(&deep)).unwrap();
    assert_eq!(
        source(&at(&deep), &Trust::of_process()).unwrap_err().why,
        Why::TooDeep
    );
}

#[test]
fn no_mode_is_set_behind_a_link_or_of_something_else() {
    let root = tree();
    let at = |name: &str| root.path().join(name);
    chmod(&at("a/b/file"), 0o640);
    let place = own(&at("a/made")).unwrap();
    let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
    // What was to be there has been exchanged.
    symlink(at("a/b/file"), at("a/made")).unwrap();
    for expected in [fs::Metadata::is_file, fs::Metadata::is_dir] {
        place.set_mode(0o606, expected).unwrap_err();
    }
    assert_eq!(mode("a/b/file"), 0o640);
    fs::remove_file(at("a/made")).unwrap();
    fs::hard_link(at("a/b/file"), at("a/made")).unwrap();
    place.set_mode(0o606, fs::Metadata::is_dir).unwrap_err();
    assert_eq!(mode("a/made"), 0o640);
    place.set_mode(0o606, fs::Metadata::is_file).unwrap();
    assert_eq!(mode("a/made"), 0o606);
}

#[test]
fn whoever_could_write_is_named_with_what_mends_it() {
    let root = tree();
    let at = |name: &str| root.path().join(name);
    let file = at("a/b/file");
    assert_eq!(objections(&file), [""; 0]);
    for (path, mode, whom, command) in [
        ("a/b/file", 0o646, "everybody (mode 0646)", "chmod o-w"),
        ("a/b", 0o777, "everybody (mode 0777)", "chmod o-w"),
        ("a", 0o757, "everybody (mode 0757)", "chmod o-w"),
    ] {
        let before = fs::metadata(at(path)).unwrap().permissions();
        chmod(&at(path), mode);
        let path = at(path);
        let path = path.display();
        assert_eq!(
            objections(&file),
            [format!(
                "{path} can be written to by {whom}; {command} {path}"
            )]
        );
        fs::set_permissions(path.to_string(), before).unwrap();
    }
    // A group of our own may write, and in a sticky directory the owner of the file counts.
    chmod(&at("a"), 0o775);
    chmod(&at("a/b"), 0o1777);
    assert_eq!(objections(&file), [""; 0]);
    if is_root() {
        chown(at("a"), None, Some(1234)).unwrap();
        let path = at("a");
        let path = path.display();
        assert_eq!(
            objections(&file),
            [format!(
                "{path} can be written to by its group (mode 0775); chmod g-w {path}"
            )]
        );
        chmod(&at("a"), 0o755);
        for name in ["a", "a/b", "a/b/file"] {
            chown(at(name), Some(1234), None).unwrap();
            let path = at(name);
            let path = path.display();
            assert_eq!(
                objections(&file),
                [format!("{path} belongs to user 1234; chown root {path}")]
            );
            chown(at(name), Some(0), None).unwrap();
        }
        symlink("b/file", at("a/it's")).unwrap();
        lchown(at("a/it's"), Some(1234), None).unwrap();
        let told = objections(&at("a/it's"));
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("is a symbolic link owned by user 1234")
                && told[0].contains("; chown -h root '"),
            "{told:?}"
        );
        assert!(told[0].ends_with(r"/a/it'\''s'"), "{told:?}");
    }
}

#[test]
fn a_list_that_lets_others_write_is_seen() {
    let entry = |tag: u16, permissions: u16, number: u32| {
        let mut bytes = tag.to_le_bytes().to_vec();
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes
    };
    let list = |entries: &[Vec<u8>]| [2u32.to_le_bytes().to_vec(), entries.concat()].concat();
    let trust = Trust::root_and(&[970], &[970]);
    for (number, writes) in [(0, false), (970, false), (1000, true)] {
        for tag in [2, 8] {
            assert_eq!(
                trust.list_has_others(&list(&[entry(1, 7, 0), entry(tag, 6, number)])),
                writes,
                "{tag} {number}"
            );
            assert!(
                !trust.list_has_others(&list(&[entry(tag, 5, number)])),
                "it may not write"
            );
        }
    }
    for cut in 0..12 {
        assert!(!trust.list_has_others(&list(&[entry(2, 6, 1000)])[..cut]));
    }
}

#[test]
fn a_file_that_others_gave_a_second_name_is_not_granted() {
    let root = tree();
    let at = |name: &str| root.path().join(name);
    fs::hard_link(at("a/b/file"), at("a/again")).unwrap();
    granted(&at("a/again"), &Trust::of_process()).unwrap();
    chmod(&at("a"), 0o1777);
    assert_eq!(
        granted(&at("a/again"), &Trust::of_process())
            .unwrap_err()
            .why,
        Why::ForeignName
    );
    granted(&at("a/b/file"), &Trust::of_process()).unwrap();
}

#[test]
fn no_link_leads_to_a_file_of_our_own() {
    let root = tree();
    let at = |name: &str| root.path().join(name);
    symlink("b", at("a/link")).unwrap();
    symlink("file", at("a/b/alias")).unwrap();
    own(&at("a/b/file")).unwrap();
    for path in ["a/link/file", "a/b/alias"] {
        assert_eq!(own(&at(path)).unwrap_err().why, Why::Link, "{path}");
    }
    make_directory(&at("a/b/c/d"), 0o700).unwrap();
    make_directory(&at("a/b/c/d"), 0o700).unwrap();
    assert!(make_directory(&at("a/link/e"), 0o700).is_err() && !at("a/b/e").exists());
    assert!(make_directory(&at("a/b/file"), 0o700).is_err());
    // An operator may name a directory behind a link of root's.
    let named = without_links(&at("a/link/new/deep"), &Trust::of_process()).unwrap();
    assert_eq!(named, fs::canonicalize(at("a/b")).unwrap().join("new/deep"));
    if is_root() {
        lchown(at("a/link"), Some(1234), None).unwrap();
        assert_eq!(
            without_links(&at("a/link/new"), &Trust::of_process())
                .unwrap_err()
                .why,
            Why::LinkOf(1234)
        );
    }
}
