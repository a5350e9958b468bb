//! An engine that somebody has taken over, and the helper: it gets what the configuration file
//! grants, and nothing else.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use carpd::effect::{CommandOutput, FoundFile, ServiceVerb};
use carpd::host::HostError;
use carpd::host::children::helper::{CommandLine, Duty, HelperClient, HelperOp, HelperReply};
use carpd::host::services::manager::ServiceBackend;

use super::namespace::{block_on, isolated};
use super::role::helper_with;

const LIMIT: Duration = Duration::from_secs(10);

const CONFIG: &str = r#"
[daemon]
state-dir = "DIR/state"
service-backend = "systemd"

[[vhost]]
name = "web"
interface = "eth0"
vhid = 1
addresses = ["10.0.0.1/24"]
password-file = "is-not-the-helpers-to-read"
hooks = ["h"]

[hook.h]
source = "need-not-be-there.lua"

[hook.h.grant]
hostname = ["granted"]
service = [{ unit = "httpd", do = ["start"] }]
sysctl = [{ key = "kernel.domainname", values = ["granted"] }]
file = [{ path = "DIR/writable", do = ["write"] }, { path = "DIR/removable", do = ["remove"] }]
"#;

const COMMANDS: &str = "command.say = { argv = [\"/bin/echo\", \"{word:word}\", \"end\"] }\n";

fn configure(directory: &Path, more: &str) {
    let text = CONFIG.replace("DIR", directory.to_str().unwrap()) + more;
    fs::write(directory.join("carpd.toml"), text).unwrap();
}

/// Its helper, as the keeper starts it.
fn helper(directory: &Path, duty: Duty) -> (HelperClient, Child) {
    let config = directory.join("carpd.toml");
    let (socket, child) = helper_with(&[config.as_os_str()]);
    (HelperClient::new(socket, duty).unwrap(), child)
}

fn end(mut child: Child) {
    child.kill().and_then(|()| child.wait()).unwrap();
}

/// Runs `body` in namespaces of its own, with a directory that has the configuration; `test` is the
/// caller's full name.
fn beside_a_configuration(test: &str, more: &str, body: impl AsyncFnOnce(&Path)) {
    isolated(test, || {
        let root = tempfile::tempdir().unwrap();
        configure(root.path(), more);
        block_on(body(root.path()));
    });
}

async fn call(client: &HelperClient, op: HelperOp) -> Result<HelperReply, HostError> {
    client.call(op, LIMIT).await
}

async fn refused(client: &HelperClient, op: HelperOp) {
    let shown = format!("{op:?}");
    match call(client, op).await {
        Err(HostError {
            errno: Some(libc::EPERM),
            message,
        }) if message.starts_with("the helper process refuses ") => {}
        other => panic!("{shown}: {other:?}"),
    }
}

fn write(path: &Path, content: &str) -> HelperOp {
    HelperOp::WriteFile {
        path: path.to_str().unwrap().to_owned(),
        content: content.into(),
    }
}

fn remove(path: &Path) -> HelperOp {
    HelperOp::RemoveFile {
        path: path.to_str().unwrap().to_owned(),
    }
}

fn hostname(name: &str) -> HelperOp {
    HelperOp::SetHostname {
        name: name.to_owned(),
    }
}

fn parameter(key: &str, value: &str) -> HelperOp {
    HelperOp::WriteParameter {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn run(argv: &[&str]) -> HelperOp {
    HelperOp::Run {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
    }
}

#[test]
fn what_the_file_does_not_grant_is_refused_whoever_asks() {
    beside_a_configuration(
        "host::hostile::what_the_file_does_not_grant_is_refused_whoever_asks",
        "",
        async |directory| {
            fs::write(directory.join("removable"), "before").unwrap();
            nix::unistd::sethostname("before").unwrap();
            // It asks for the rights of one that runs command lines: it gets those of what is
            // granted.
            let (client, child) = helper(directory, Duty::Commands);
            let other = directory.join("other");
            refused(&client, write(&other, "x")).await;
            refused(&client, remove(&other)).await;
            refused(
                &client,
                HelperOp::ReadFile {
                    path: "/etc/shadow".to_owned(),
                },
            )
            .await;
            refused(
                &client,
                write(&directory.join("removable"), "not what was there"),
            )
            .await;
            refused(&client, remove(&directory.join("writable"))).await;
            refused(&client, hostname("other")).await;
            refused(&client, parameter("kernel.domainname", "other")).await;
            refused(&client, parameter("kernel.core_pattern", "|/bin/sh")).await;
            refused(
                &client,
                HelperOp::ReadParameter {
                    key: "kernel.core_pattern".to_owned(),
                },
            )
            .await;
            refused(&client, run(&["/bin/echo", "x", "end"])).await;
            let unit = "httpd".to_owned();
            refused(
                &client,
                HelperOp::Service {
                    backend: ServiceBackend::SysV,
                    unit: unit.clone(),
                    verb: ServiceVerb::Start,
                },
            )
            .await;
            refused(
                &client,
                HelperOp::ServiceStatus {
                    backend: ServiceBackend::SysV,
                    unit,
                },
            )
            .await;
            let unit = "sshd".to_owned();
            refused(
                &client,
                HelperOp::Service {
                    backend: ServiceBackend::Systemd,
                    unit,
                    verb: ServiceVerb::Stop,
                },
            )
            .await;
            let line = CommandLine {
                argv: vec!["/bin/true".to_owned()],
                ..CommandLine::default()
            };
            refused(
                &client,
                HelperOp::Script {
                    turn: "web".to_owned(),
                    line,
                },
            )
            .await;
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
            assert!(status.contains("CapEff:\t000000000020000b"), "{status}");

            // What is granted is done, or tried: there is no bus here.
            let start = HelperOp::Service {
                backend: ServiceBackend::Systemd,
                unit: "httpd".to_owned(),
                verb: ServiceVerb::Start,
            };
            let no_bus = call(&client, start).await.unwrap_err();
            assert!(
                no_bus
                    .message
                    .starts_with("could not reach systemd over D-Bus: "),
                "{no_bus}"
            );
            call(&client, write(&directory.join("writable"), "x"))
                .await
                .unwrap();
            call(&client, remove(&directory.join("removable")))
                .await
                .unwrap();
            call(&client, hostname("granted")).await.unwrap();
            call(&client, parameter("kernel.domainname", "granted"))
                .await
                .unwrap();
            assert!(!other.exists());
            end(child);
        },
    );
}

#[test]
fn what_was_there_before_may_be_put_back_also_after_a_crash_and_by_cleanup() {
    beside_a_configuration(
        "host::hostile::what_was_there_before_may_be_put_back_also_after_a_crash_and_by_cleanup",
        "",
        async |directory| {
            fs::write(directory.join("removable"), "before").unwrap();
            nix::unistd::sethostname("before").unwrap();
            let (client, child) = helper(directory, Duty::Settings);
            call(&client, write(&directory.join("writable"), "x"))
                .await
                .unwrap();
            let path = directory.join("removable").to_str().unwrap().to_owned();
            let Ok(HelperReply::FoundFile(Some(found))) =
                call(&client, HelperOp::FindFile { path: path.clone() }).await
            else {
                panic!("it is there")
            };
            call(&client, remove(&directory.join("removable")))
                .await
                .unwrap();
            call(&client, hostname("granted")).await.unwrap();
            end(child);

            // The next one has another configuration, that grants nothing of it.
            let config = fs::read_to_string(directory.join("carpd.toml")).unwrap();
            fs::write(
                directory.join("carpd.toml"),
                config.split("[hook.h.grant]").next().unwrap(),
            )
            .unwrap();
            let (client, child) = helper(directory, Duty::Settings);
            refused(&client, hostname("granted")).await;
            refused(
                &client,
                write(&directory.join("removable"), "another content"),
            )
            .await;
            let stronger = FoundFile {
                mode: 0o4755,
                ..found.clone()
            };
            refused(
                &client,
                HelperOp::RestoreFile {
                    path: path.clone(),
                    found: stronger,
                },
            )
            .await;
            call(
                &client,
                HelperOp::RestoreFile {
                    path: path.clone(),
                    found: found.clone(),
                },
            )
            .await
            .unwrap();
            call(&client, hostname("before")).await.unwrap();
            call(&client, remove(&directory.join("writable")))
                .await
                .unwrap();
            end(child);

            // `carpd cleanup` goes by the same records, not by the engine's ledger.
            let (socket, child) = helper_with(&[]);
            let client =
                HelperClient::for_undoing(socket, Duty::Settings, directory.join("state/helper"))
                    .unwrap();
            refused(
                &client,
                write(&directory.join("removable"), "another content"),
            )
            .await;
            refused(&client, run(&["/bin/true"])).await;
            call(&client, HelperOp::RestoreFile { path, found })
                .await
                .unwrap();
            end(child);
            assert_eq!(fs::read(directory.join("removable")).unwrap(), b"before");
            assert!(!directory.join("writable").exists());
            // Who could write there could forge what was there before.
            let records = directory.join("state/helper");
            let mode = |path: &Path| {
                std::os::unix::fs::MetadataExt::mode(&fs::metadata(path).unwrap()) & 0o777
            };
            assert_eq!(mode(&records), 0o700);
            assert!(
                fs::read_dir(&records)
                    .unwrap()
                    .all(|file| mode(&file.unwrap().path()) == 0o600)
            );
        },
    );
}

#[test]
fn a_command_line_is_one_that_the_file_spells_out() {
    beside_a_configuration(
        "host::hostile::a_command_line_is_one_that_the_file_spells_out",
        COMMANDS,
        async |directory| {
            let (client, child) = helper(directory, Duty::Commands);
            for other in [
                &["/bin/echo"][..],
                &["/bin/echo", "x"],
                &["/bin/echo", "-n", "end"],
                &["/bin/sh", "x", "end"],
            ] {
                refused(&client, run(other)).await;
            }
            refused(&client, run(&["/bin/echo", "x", "end", "more"])).await;
            match call(&client, run(&["/bin/echo", "x", "end"])).await {
                Ok(HelperReply::Command(CommandOutput { stdout, .. })) => {
                    assert_eq!(stdout, b"x end\n");
                }
                other => panic!("{other:?}"),
            }
            end(child);
        },
    );
}
