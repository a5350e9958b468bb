//! The command line as a shell sees it: output, standard error, exit code.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// How one run of the binary ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the binary in a directory with a clean environment.
pub(crate) fn carpd(directory: &Path, args: &[&str]) -> Ran {
    carpd_with(directory, args, &[])
}

pub(crate) fn carpd_with(directory: &Path, args: &[&str], variables: &[(&str, &str)]) -> Ran {
    crate::limit::begin();
    let mut command = Command::new(env!("CARGO_BIN_EXE_carpd"));
    command
        .args(args)
        .current_dir(directory)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    // By sudo, what lies in the clone is the caller's own.
    command.envs(std::env::vars_os().filter(|(name, _)| name == "SUDO_UID" || name == "SUDO_GID"));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let stderr = without_owners(&text(output.stderr));
    Ran {
        code: output.status.code().unwrap(),
        stdout: text(output.stdout),
        stderr,
    }
}

/// What was said, whoever runs the tests: of files that are not root's it is told that a daemon of
/// root's would refuse them (`owners.rs` has the tests of that).
pub(crate) fn without_owners(said: &str) -> String {
    let told = |line: &&str| line.starts_with("warning: a daemon run by root would refuse this: ");
    said.split_inclusive('\n')
        .filter(|line| !told(line))
        .collect()
}

/// An interface of this machine that CARP can be spoken on.
pub(crate) fn ethernet() -> String {
    let all = std::fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap());
    let is_ethernet = |entry: &std::fs::DirEntry| {
        std::fs::read_to_string(entry.path().join("type")).is_ok_and(|kind| kind == "1\n")
    };
    let first = all
        .filter(is_ethernet)
        .map(|entry| entry.file_name().into_string().unwrap())
        .min();
    first.expect("this machine has an Ethernet interface")
}

fn here(args: &[&str]) -> Ran {
    carpd(Path::new("/"), args)
}

#[test]
fn help_is_as_reviewed() {
    for (name, args) in [
        ("help", vec!["--help"]),
        ("help_run", vec!["run", "--help"]),
        ("help_maintenance", vec!["maintenance", "--help"]),
        ("help_maintenance_on", vec!["maintenance", "on", "--help"]),
        ("help_drain", vec!["drain", "--help"]),
        ("help_demote", vec!["demote", "--help"]),
        ("help_promote", vec!["promote", "--help"]),
        ("help_peers", vec!["peers", "--help"]),
        ("help_check", vec!["check", "--help"]),
        ("help_lab", vec!["lab", "--help"]),
        ("help_port", vec!["port", "--help"]),
        ("help_test", vec!["test", "--help"]),
        ("help_new_hook", vec!["new", "hook", "--help"]),
        ("help_plan", vec!["plan", "--help"]),
        ("help_grant", vec!["grant", "--help"]),
        ("help_rehearse", vec!["rehearse", "--help"]),
        ("help_api", vec!["api", "--help"]),
        ("help_completions", vec!["completions", "--help"]),
    ] {
        let ran = here(&args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
        insta::assert_snapshot!(name, ran.stdout);
    }
}

#[test]
fn help_and_the_manual_page_name_every_exit_code() {
    let (help, man) = (here(&["--help"]).stdout, here(&["man"]).stdout);
    for code in carpd::cli::Exit::ALL {
        let line = format!("  {}  {}\n", code.code(), code.meaning());
        assert!(help.contains(&line), "--help lacks {line}");
        assert!(
            man.contains(&format!("\\fB{}\\fR\n{}\n", code.code(), code.meaning())),
            "the manual page lacks {line}"
        );
    }
}

#[test]
fn the_manual_page_has_what_an_operator_looks_for() {
    let ran = here(&["man"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains(".TH carpd 1"), "{}", ran.stdout);
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "COMMANDS",
        "SIGNALS",
        "\"EXIT STATUS\"",
        "ENVIRONMENT",
        "FILES",
        "EXAMPLES",
    ] {
        assert!(
            ran.stdout.contains(&format!(".SH {section}\n")),
            "{section}"
        );
    }
    for verb in [
        "run",
        "check",
        "lab",
        "completions",
        "hook rollback",
        "plugin verify",
        "new hook",
    ] {
        assert!(
            ran.stdout.contains(&format!(".SS carpd {verb}\n")),
            "{verb}"
        );
    }
    for said in ["/etc/carpd/carpd.toml", "SIGHUP", "SIGUSR2"] {
        assert!(ran.stdout.contains(said), "{said}");
    }
}

#[test]
fn every_verb_and_the_configuration_have_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let ran = here(&["man", "--all", path]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "", "")
    );
    let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(page("carpd.1"), here(&["man"]).stdout);
    // What --help lists, each with its own page, which says what its --help says.
    let help = here(&["--help"]).stdout;
    let verbs = help.split_once("Commands:\n").unwrap().1;
    let verbs: Vec<_> = verbs
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(
        verbs.contains(&"check") && verbs.contains(&"ucarp"),
        "{verbs:?}"
    );
    for verb in verbs {
        let page = page(&format!("carpd-{verb}.1"));
        assert!(page.contains(&format!("carpd\\-{verb}")), "{verb}: {page}");
        assert!(page.contains(".SH SYNOPSIS\n"), "{verb}: {page}");
    }
    let check = page("carpd-check.1");
    for said in ["\\-\\-json", ".SH EXAMPLES\n", "carpd check ./carpd.toml"] {
        assert!(check.contains(said), "{said}: {check}");
    }
    assert!(page("carpd-hook.1").contains(".SS carpd hook rollback\n"));
    // Every key of the reference.
    let config = page("carpd.toml.5").replace("\\-", "-");
    let reference = here(&["config-reference"]).stdout;
    let keys = reference.lines().filter_map(|line| {
        let rest = line.strip_prefix("- **`")?;
        rest.split_once("`**").map(|(key, _)| key)
    });
    for key in keys {
        assert!(config.contains(&format!(".TP\n\\fB{key}\\fR\n")), "{key}");
    }
    let refused = here(&["man", "--all", "/nonexistent"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("cannot write /nonexistent/carpd.1"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_senseless_command_line_ends_with_2_and_says_why() {
    for (args, says) in [
        (vec![], "Usage: carpd <COMMAND>"),
        (vec!["chek"], "'check'"),
        (vec!["run", "--confg", "x"], "'--config'"),
        (
            vec!["run", "--log-level", "loud"],
            "[possible values: error, warn, info, debug, trace]",
        ),
        (
            vec!["lab", "--peer", "vrrpd"],
            "[possible values: carpd, ucarp]",
        ),
        (
            vec!["__no-such-role"],
            "there is no internal role \"__no-such-role\"\nhint: ",
        ),
    ] {
        let ran = here(&args);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}");
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn version_goes_to_standard_output() {
    let ran = here(&["--version"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, concat!("carpd ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = here(&["completions", shell]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        assert!(
            ran.stdout.contains("check")
                && ran.stdout.contains("--log-format") | ran.stdout.contains("log-format"),
            "{shell}"
        );
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    for args in [
        ["completions", "bash"].as_slice(),
        &["--help"],
        &["man"],
        &["config-reference"],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_carpd"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), stderr.as_str()),
            (Some(0), ""),
            "{args:?}"
        );
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_carpd"))
        .args(["completions", "bash"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .starts_with("error: cannot write to standard output: No space left")
    );
}

#[test]
fn nothing_is_coloured_that_is_no_terminal() {
    let ran = here(&["check", "/nonexistent/carpd.toml"]);
    assert_eq!(ran.code, 3);
    assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
}

#[test]
fn run_refuses_a_log_filter_that_makes_no_sense() {
    let directory = super::config::directory_with("good.toml");
    let ran = carpd_with(
        directory.path(),
        &["run", "--config", "good.toml"],
        &[("CARPD_LOG", "info,[[")],
    );
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(
        ran.stderr
            .starts_with("error: CARPD_LOG is not a log filter"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_is_not_there_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let said = |code: i32, args: &[&str], parts: &[&str]| {
        let ran = carpd(directory.path(), args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        for part in parts {
            assert!(
                ran.stderr.contains(part),
                "{args:?}: {part} is not in\n{}",
                ran.stderr
            );
        }
    };
    write(
        "carpd.toml",
        "[[vhost]]\nname = \"web\"\ninterface = \"lo\"\nvhid = 40\naddresses = [\"10.0.0.1/24\"]\npassword-file = \"web.pass\"\n",
    );
    said(
        3,
        &["check", "carpd.toml"],
        &[
            "web.pass: No such file",
            "--> carpd.toml:6:17",
            "hint: write it, the same on every node",
        ],
    );
    said(
        4,
        &["why", "--run-dir", "run"],
        &[
            "/journal: No such file",
            "hint: name the daemon with --config or --instance",
        ],
    );
    said(
        4,
        &["why", "--file", "none"],
        &["cannot read none: No such file"],
    );
    said(
        4,
        &["events", "--dir", "none"],
        &[
            "cannot read the events in none: No such file",
            "hint: name the daemon with --config or --instance",
        ],
    );
    said(
        2,
        &["events", "--after", "42"],
        &["a cursor looks like 1f0c5e6a7b8d9e10-42"],
    );
    said(
        2,
        &["events", "--since", "yesterday"],
        &["is neither a length, as in 2h, nor a time"],
    );
    said(4, &["replay", "none"], &["cannot read none: No such file"]);
    said(
        3,
        &["plan", "./none.lua", "--event", "master"],
        &["error: cannot read ./none.lua: No such file"],
    );
    write("h.lua", "function on_master() end");
    said(
        0,
        &["plan", "./h.lua", "--event", "master"],
        &["note: there is no ./h.toml: the hook has no grants"],
    );
}

/// Whoever cleans up may have removed the rest already.
#[test]
fn cleanup_needs_only_the_directories_of_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let toml = format!(
        "[daemon]\nrun-dir = \"{}\"\nstate-dir = \"{}\"\nunknown = 1\n[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\n\
         password-file = \"gone\"\n",
        at("run"),
        at("state")
    );
    for (more, wrong) in [("", "unknown"), ("[hook.x\n", "unclosed")] {
        std::fs::write(directory.path().join("carpd.toml"), format!("{toml}{more}")).unwrap();
        let ran = carpd(directory.path(), &["cleanup", "--config", "carpd.toml"]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (0, "nothing was left behind\n"),
            "{}",
            ran.stderr
        );
        let alone = format!(
            "using only its run-dir {} and its state-dir {}",
            at("run"),
            at("state")
        );
        assert!(
            ran.stderr.contains(&alone) && ran.stderr.contains(wrong),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(
        carpd(directory.path(), &["cleanup", "--config", "none.toml"]).code,
        3
    );
}

#[test]
fn too_few_file_descriptors_are_refused_before_anything_begins() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("web.pass"), "gw22\n").unwrap();
    std::fs::set_permissions(
        directory.path().join("web.pass"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let toml = format!(
        "[daemon]\nrun-dir = \"{0}/run\"\nstate-dir = \"{0}/lib\"\n[[vhost]]\nname = \"web\"\ninterface = \"carpd-none\"\nvhid = 40\n\
         addresses = [\"192.0.2.1/24\"]\npassword-file = \"web.pass\"\n",
        directory.path().display()
    );
    std::fs::write(directory.path().join("carpd.toml"), toml).unwrap();
    // Soft and hard.
    let script = format!(
        "ulimit -n 24; exec {} run --config carpd.toml",
        env!("CARGO_BIN_EXE_carpd")
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("carpd needs up to 132 file descriptors for this configuration and may open 24: raise LimitNOFILE="),
        "{said}"
    );
    assert!(
        !said.contains("Ready") && !directory.path().join("run").exists(),
        "{said}"
    );
}
