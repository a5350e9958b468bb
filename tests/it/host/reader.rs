//! An engine that somebody has taken over, and the reader: it gets what the configuration file
//! names, and nothing else.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;

use carpd::config::Config;
use carpd::hooks::HookSource;
use carpd::hooks::artifact::source::test_beside;
use carpd::reader::{Client, Told, Unfinished, Watching};
use carpd::resolve::{Access, Opener as _, Sources};

use super::namespace::block_on;
use super::role::role_with;

const CONFIG: &str = r#"
[daemon]
file-owners = "warn"

[trust]
keys = ["team.pub"]
require-signature = false

[[vhost]]
name = "web"
interface = "eth0"
vhid = 1
addresses = ["10.0.0.1/24"]
password-file = "secret/web.pass"
hooks = ["h"]

[hook.h]
source = "hooks/h.lua"
"#;

const KEY: &str = include_str!("../trust/team.pub");

/// A configuration with all that it names, and with more beside it.
fn configure() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    // What is named is named without links.
    let directory = root.path().canonicalize().unwrap();
    fs::create_dir_all(directory.join("hooks/lib")).unwrap();
    fs::create_dir_all(directory.join("secret")).unwrap();
    for (file, text) in [
        ("carpd.toml", CONFIG),
        ("team.pub", KEY),
        ("secret/web.pass", "word\n"),
        ("secret/other.pass", "not named\n"),
        (
            "hooks/h.lua",
            "local m = require('lib.m')\nfunction on_master() m.f() end\n",
        ),
        ("hooks/h.lua.minisig", "signature"),
        ("hooks/h_test.lua", "test.case('x', function() end)\n"),
        ("hooks/lib/m.lua", "return { f = function() end }\n"),
        ("hooks/notes.txt", "no part of a hook\n"),
        ("hooks/.hidden.lua", "return 1\n"),
        ("other.lua", "return 'beside the directory'\n"),
    ] {
        fs::write(directory.join(file), text).unwrap();
    }
    for file in ["secret/web.pass", "carpd.toml"] {
        fs::set_permissions(
            directory.join(file),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
    }
    symlink("../other.lua", directory.join("hooks/out.lua")).unwrap();
    symlink("/etc/passwd", directory.join("hooks/lib/passwd.lua")).unwrap();
    (root, directory)
}

/// Its reader, as the keeper starts it.
fn reader(directory: &Path) -> (Arc<Client>, Child) {
    let config = directory.join("carpd.toml");
    let (socket, child) = role_with("__reader", &[config.as_os_str()]);
    (Arc::new(Client::new(socket).unwrap()), child)
}

/// The same, with a copy of the file, as the keeper hands it over.
fn reader_of_copy(directory: &Path, text: &str) -> (Arc<Client>, Child) {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    // It is inherited: not closed on exec.
    let flags = nix::sys::memfd::MFdFlags::empty();
    let mut copy = fs::File::from(nix::sys::memfd::memfd_create(c"copy", flags).unwrap());
    copy.write_all(text.as_bytes()).unwrap();
    let config = directory.join("carpd.toml");
    let number = copy.as_raw_fd().to_string();
    // Its share: all virtual hosts.
    let arguments = [config.as_os_str(), "".as_ref(), number.as_ref()];
    let (socket, child) = role_with("__reader", &arguments);
    (Arc::new(Client::new(socket).unwrap()), child)
}

fn end(mut child: Child) {
    child.kill().and_then(|()| child.wait()).unwrap();
}

fn refused(client: &Client, path: &Path) {
    match client.open(path).file {
        Err(err) if err.to_string().starts_with("the reader process refuses ") => {
            assert_eq!(err.kind(), io::ErrorKind::PermissionDenied);
        }
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn what_the_file_names_is_opened_and_nothing_else_whoever_asks() {
    let (_root, directory) = configure();
    let (client, child) = reader(&directory);
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    assert_eq!(client.confinement().missing, Vec::<String>::new());
    assert!(
        status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"),
        "{status}"
    );
    if nix::unistd::geteuid().is_root() {
        assert!(
            status.contains("CapEff:\t0000000000000004"),
            "CAP_DAC_READ_SEARCH alone: {status}"
        );
    }
    for named in [
        "carpd.toml",
        "team.pub",
        "secret/web.pass",
        "hooks/h.lua",
        "hooks/h.lua.minisig",
        "hooks/h_test.lua",
        "hooks/lib/m.lua",
    ] {
        let mut bytes = Vec::new();
        client
            .open(&directory.join(named))
            .file
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes, fs::read(directory.join(named)).unwrap(), "{named}");
    }
    // Named, or like it, and not there.
    for absent in [
        "hooks/h_test.luau",
        "hooks/lib/m.lua.minisig",
        "hooks/lib/n.lua",
    ] {
        let err = client.open(&directory.join(absent)).file.unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::NotFound, "{absent}");
    }
    for other in [
        "/etc/shadow",
        "/etc/passwd",
        "/",
        "/proc/self/environ",
        "secret/other.pass",
        "secret",
        "hooks",
        "hooks/notes.txt",
        "hooks/.hidden.lua",
        "other.lua",
        "hooks/out.lua",
        "hooks/lib/passwd.lua",
        "hooks/../other.lua",
        "hooks/../hooks/lib/m.lua",
        "hooks/lib/../../secret/other.pass",
        "hooks/a/b/c/d/e/f/g/h/i.lua",
    ] {
        refused(&client, &directory.join(other));
    }
    assert!(client.modules(&directory.join("other.lua")).is_err());
    assert!(client.watch(&[directory.join("other.lua")]).is_err());
    assert!(client.without_links(Path::new("/root")).is_err());
    let count = client
        .open(Path::new("/etc/shadow"))
        .file
        .unwrap_err()
        .to_string();
    assert!(count.ends_with("(20 refused so far)"), "{count}");
    end(child);
    // Whoever asked then gets an error, and waits for nothing.
    assert!(client.open(&directory.join("carpd.toml")).file.is_err());
}

#[test]
fn configuration_and_hooks_are_read_through_it_as_without_it() {
    let (_root, directory) = configure();
    let (client, child) = reader(&directory);
    let path = directory.join("carpd.toml");
    let access = Access::through(client);
    let (own, through) = (
        Config::load(&path).unwrap().config,
        Config::load_through(&path, access.clone()).unwrap().config,
    );
    assert_eq!(own, through);
    let hook = own.hooks.values().next().unwrap();
    let read = |sources: &Sources| {
        let source =
            HookSource::read("h".parse().unwrap(), &hook.path, "{}".into(), sources).unwrap();
        let test = test_beside(&hook.path, sources).unwrap();
        (
            source.main.clone(),
            source.modules.clone(),
            test,
            sources.refusals(),
        )
    };
    assert_eq!(
        read(&Sources::of_daemon()),
        read(&Sources::through(access.clone()))
    );
    // What is wrong is said in the same words.
    fs::remove_file(directory.join("secret/web.pass")).unwrap();
    let lines = |access: Access| Config::load_through(&path, access).unwrap_err().lines();
    assert_eq!(lines(Access::own()), lines(access.clone()));
    fs::remove_file(&path).unwrap();
    assert_eq!(lines(Access::own()), lines(access));
    end(child);
}

#[test]
fn who_could_write_to_what_it_opens_is_told_with_it() {
    let (_root, directory) = configure();
    fs::set_permissions(
        directory.join("hooks"),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let (client, child) = reader(&directory);
    let opened = client.open(&directory.join("hooks/h.lua"));
    assert!(opened.file.is_ok());
    let parts: Vec<_> = opened
        .objections
        .iter()
        .map(|refusal| refusal.component.clone())
        .collect();
    assert!(parts.contains(&directory.join("hooks")), "{parts:?}");
    end(child);
}

#[test]
fn it_tells_of_changes_until_nobody_listens() {
    let (_root, directory) = configure();
    let (client, child) = reader(&directory);
    let hook = directory.join("hooks/h.lua");
    let stream = client.watch(std::slice::from_ref(&hook)).unwrap();
    block_on(async {
        let mut watching = Watching::new(stream).unwrap();
        let how = watching.next().await.unwrap();
        let Some(Told::How {
            files: how,
            complete: true,
        }) = how
        else {
            panic!("{how:?}")
        };
        assert_eq!(
            how.first().map(|(file, _)| Path::new(file)),
            Some(hook.as_path())
        );
        let changed = Some(Told::Changed(Unfinished::default()));
        assert_eq!(watching.next().await.unwrap(), changed, "it watches");
        fs::write(directory.join("hooks/lib/m.lua"), "return {}").unwrap();
        // On a busy machine it may see half of the writing first.
        while watching.next().await.unwrap() != changed {}
        // Another order takes the place of this one.
        let other = client.watch(std::slice::from_ref(&hook)).unwrap();
        while watching.next().await.unwrap().is_some() {}
        drop(other);
    });
    end(child);
}

/// The file was changed, and no reload has taken that into use; or the reader died.
#[test]
fn it_goes_by_the_copy_of_the_file_that_it_was_handed() {
    let (_root, directory) = configure();
    let path = directory.join("carpd.toml");
    let edited = CONFIG
        .replace("hooks/h.lua", "other.lua")
        .replace("web.pass", "other.pass");
    fs::write(&path, edited).unwrap();
    let (client, child) = reader_of_copy(&directory, CONFIG);
    for named in ["secret/web.pass", "hooks/h.lua"] {
        assert!(client.open(&directory.join(named)).file.is_ok(), "{named}");
    }
    assert!(client.watch(&[directory.join("hooks/h.lua")]).is_ok());
    for other in ["secret/other.pass", "other.lua"] {
        refused(&client, &directory.join(other));
    }
    // Each time from its beginning, also when the file is gone.
    for _ in 0..2 {
        let mut text = String::new();
        let mut file = client.open(&path).file.unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, CONFIG);
        _ = fs::remove_file(&path);
    }
    end(child);
}

/// An engine that somebody has taken over goes by no rules.
#[test]
fn what_others_could_write_to_is_opened_only_where_that_is_wanted() {
    let (_root, directory) = configure();
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(directory.join("secret/web.pass"), mode(0o666)).unwrap();
    let required = CONFIG.replace("\"warn\"", "\"required\"");
    for (text, opens) in [(CONFIG, true), (&required, false), ("nonsense", false)] {
        let (client, child) = reader_of_copy(&directory, text);
        // What is no configuration names nothing but itself.
        let named = if text == "nonsense" {
            "carpd.toml"
        } else {
            "secret/web.pass"
        };
        fs::set_permissions(directory.join("carpd.toml"), mode(0o666)).unwrap();
        let opened = client.open(&directory.join(named));
        assert!(!opened.objections.is_empty());
        assert_eq!(opened.file.is_ok(), opens, "{text}");
        if let Err(err) = opened.file {
            assert!(err.to_string().contains("others could change"), "{err}");
        }
        end(child);
    }
}
