//! The helper process: several requests at once, cancelling, signals, its end.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use carpd::effect::{CommandOutput, Outcome, ServiceVerb};
use carpd::host::children::helper::{Duty, HelperClient, HelperOp, HelperReply};
use carpd::host::services::manager::ServiceBackend;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::timeout;

use super::namespace::{block_on, init_script, isolated};
use super::role::{helper, helper_on};

const LIMIT: Duration = Duration::from_secs(10);

fn shell(script: &str) -> HelperOp {
    HelperOp::Run {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

/// Lets go of the helper and waits for its end; did it end well? On another thread, or the socket
/// would stay open.
async fn ended(client: HelperClient, mut child: Child) -> bool {
    drop(client);
    let waiting = tokio::task::spawn_blocking(move || child.wait().unwrap().success());
    timeout(LIMIT, waiting)
        .await
        .expect("the helper ends with its socket")
        .unwrap()
}

async fn output(client: &HelperClient, script: &str) -> CommandOutput {
    match client.call(shell(script), LIMIT).await {
        Ok(HelperReply::Command(output)) => output,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_slow_request_does_not_delay_others() {
    block_on(async {
        let (socket, child) = helper();
        let client = HelperClient::new(socket, Duty::Commands).unwrap();
        let slow = client.call(shell("sleep 600"), LIMIT);
        tokio::select! {
            biased;
            slow = slow => panic!("{slow:?}"),
            quick = output(&client, "echo quick") => assert_eq!(quick.stdout, b"quick\n"),
        }
        // The slow call was dropped, so the helper has ended it and can go at once.
        assert!(ended(client, child).await);
    });
}

#[test]
fn a_dropped_call_ends_what_it_started() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let (socket, child) = helper();
        let client = HelperClient::new(socket, Duty::Commands).unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // The shell and its child both hold the pipe open: its end comes when both are gone.
        let script = format!("exec 3>{}; echo started >&3; sleep 600", fifo.display());
        let (started, has_started) = tokio::sync::oneshot::channel();
        let (end, has_ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(File::open(fifo).unwrap());
            let mut text = String::new();
            pipe.read_line(&mut text).unwrap();
            started.send(()).unwrap();
            pipe.read_to_string(&mut text).unwrap();
            end.send(text)
        });
        tokio::select! {
            call = client.call(shell(&script), LIMIT) => panic!("{call:?}"),
            started = has_started => started.unwrap(),
        }
        assert_eq!(
            timeout(LIMIT, has_ended).await.expect("both end").unwrap(),
            "started\n"
        );
        assert!(ended(client, child).await);
    });
}

#[test]
fn the_limit_is_kept_and_the_error_says_what_to_do() {
    block_on(async {
        let (socket, child) = helper();
        let client = HelperClient::new(socket, Duty::Commands).unwrap();
        let err = client
            .call(
                shell("echo starting >&2; sleep 600"),
                Duration::from_millis(100),
            )
            .await
            .unwrap_err();
        assert_eq!(err.errno, Some(libc::ETIMEDOUT));
        assert!(
            err.message.contains("starting")
                && err.message.contains("raise `timeout` under [hook.NAME]"),
            "{err}"
        );
        assert!(ended(client, child).await);
    });
}

#[test]
fn signals_to_the_group_do_not_end_it_and_are_not_inherited() {
    block_on(async {
        let (socket, child) = helper();
        let client = HelperClient::new(socket, Duty::Commands).unwrap();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            kill(pid(&child), signal).unwrap();
        }
        let status = output(
            &client,
            "sed -n 's/^Sig\\(Blk\\|Ign\\):\\t//p' /proc/self/status",
        )
        .await;
        for mask in String::from_utf8_lossy(&status.stdout).lines() {
            let ours = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
                .map(|signal| 1u64 << (signal as i32 - 1));
            let mask = u64::from_str_radix(mask, 16).unwrap();
            assert!(ours.iter().all(|signal| mask & signal == 0), "{mask:x}");
        }
        assert_eq!(status.stdout.len(), 2 * 17, "two masks");
        kill(pid(&child), Signal::SIGTERM).unwrap();
        assert_eq!(
            output(&client, "echo still here").await.stdout,
            b"still here\n"
        );
        assert!(ended(client, child).await);
    });
}

#[test]
fn its_death_is_a_typed_error() {
    block_on(async {
        let (socket, child) = helper();
        let client = HelperClient::new(socket, Duty::Commands).unwrap();
        assert_eq!(output(&client, "true").await.status, 0);
        let err = client
            .call(shell("kill -KILL $PPID; sleep 2"), LIMIT)
            .await
            .unwrap_err();
        assert_eq!(
            (err.errno, client.is_alive()),
            (Some(libc::EPIPE), false),
            "{err}"
        );
        assert_eq!(
            client.call(shell("true"), LIMIT).await.unwrap_err().errno,
            Some(libc::EPIPE)
        );
        assert!(!ended(client, child).await);
    });
}

#[test]
fn for_settings_it_keeps_four_capabilities() {
    isolated(
        "host::helper::for_settings_it_keeps_four_capabilities",
        || {
            block_on(async {
                let (socket, child) = helper();
                let client = HelperClient::new(socket, Duty::Settings).unwrap();
                let set = client
                    .call(
                        HelperOp::SetHostname {
                            name: "nodevir2".into(),
                        },
                        LIMIT,
                    )
                    .await;
                assert_eq!(set, Ok(HelperReply::Outcome(Outcome::Changed)));
                let status =
                    std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
                for line in [
                    "CapEff:\t000000000020000b",
                    "CapBnd:\t000000000020000b",
                    "NoNewPrivs:\t1",
                    "Seccomp:\t2",
                ] {
                    assert!(
                        status.lines().any(|there| there == line),
                        "{line}: {status}"
                    );
                }
                // It starts no program, whoever asks.
                let err = client.call(shell("true"), LIMIT).await.unwrap_err();
                assert!(err.message.contains("not permitted"), "{err}");
                for name in ["", "a b", "x\n"] {
                    let refused = client
                        .call(HelperOp::SetHostname { name: name.into() }, LIMIT)
                        .await;
                    assert_eq!(refused.unwrap_err().errno, Some(libc::EINVAL));
                }
                assert!(ended(client, child).await);
            });
        },
    );
}

/// The configuration that it is handed may have passwords in it.
#[test]
fn what_it_is_handed_is_not_for_the_programs_that_it_starts() {
    block_on(async {
        let flags = nix::sys::memfd::MFdFlags::empty();
        let handed = nix::sys::memfd::memfd_create(c"handed-over", flags).unwrap();
        let (socket, child) = helper();
        let client = HelperClient::new(socket, Duty::Commands).unwrap();
        let of = |pid: &str| format!("ls -l /proc/{pid}/fd");
        let there = output(&client, &of(&child.id().to_string())).await;
        assert!(String::from_utf8_lossy(&there.stdout).contains("handed-over"));
        let there = output(&client, &of("self")).await;
        assert!(!String::from_utf8_lossy(&there.stdout).contains("handed-over"));
        drop(handed);
        assert!(ended(client, child).await);
    });
}

#[test]
fn init_scripts_run_as_service_runs_them() {
    isolated(
        "host::helper::init_scripts_run_as_service_runs_them",
        || {
            let directory = tempfile::tempdir().unwrap();
            let script = "#!/bin/sh\ncase $1 in\nstart) echo \"no such disk\" >&2; exit 1;;\nstop) exit 0;;\n*) exit 3;;\nesac\n";
            init_script(directory.path(), "broken", script);
            block_on(async {
                let (socket, child) = helper();
                let client = HelperClient::new(socket, Duty::Commands).unwrap();
                let act = async |unit: &str, verb| {
                    client
                        .call(
                            HelperOp::Service {
                                backend: ServiceBackend::SysV,
                                unit: unit.into(),
                                verb,
                            },
                            LIMIT,
                        )
                        .await
                };
                let err = act("broken.service", ServiceVerb::Start).await.unwrap_err();
                assert_eq!(
                    err.message,
                    "start of broken failed with status 1 (it said: no such disk)"
                );
                assert_eq!(
                    act("broken", ServiceVerb::Stop).await,
                    Ok(HelperReply::Outcome(Outcome::Unchanged))
                );
                assert!(act("broken", ServiceVerb::Reload).await.is_err());
                for name in ["../../bin/sh", "-x", ".", "a/b", ""] {
                    assert_eq!(
                        act(name, ServiceVerb::Start).await.unwrap_err().errno,
                        Some(libc::EINVAL),
                        "{name:?}"
                    );
                }
                assert!(ended(client, child).await);
            });
        },
    );
}

#[test]
fn a_service_is_acted_on_when_what_was_cancelled_before_has_ended() {
    isolated(
        "host::helper::a_service_is_acted_on_when_what_was_cancelled_before_has_ended",
        || {
            let directory = tempfile::tempdir().unwrap();
            let (running, begun) = (
                directory.path().join("running"),
                directory.path().join("begun"),
            );
            // A start that does not let itself be stopped halfway.
            let script = format!(
                "#!/bin/sh\ncase $1 in\nstart) trap '' TERM; echo >{1}; sleep 0.5; touch {0};;\nstop) rm -f {0};;\n\
             status) test -e {0} || exit 3;;\nesac\n",
                running.display(),
                begun.display()
            );
            init_script(directory.path(), "httpd", &script);
            nix::unistd::mkfifo(&begun, nix::sys::stat::Mode::S_IRWXU).unwrap();
            block_on(async {
                let (socket, child) = helper();
                let client = HelperClient::new(socket, Duty::Commands).unwrap();
                let act = |verb| {
                    client.call(
                        HelperOp::Service {
                            backend: ServiceBackend::SysV,
                            unit: "httpd".into(),
                            verb,
                        },
                        LIMIT,
                    )
                };
                let has_begun =
                    tokio::task::spawn_blocking(move || std::fs::read_to_string(begun).unwrap());
                tokio::select! {
                    start = act(ServiceVerb::Start) => panic!("{start:?}"),
                    begun = has_begun => drop(begun.unwrap()),
                }
                act(ServiceVerb::Stop).await.unwrap();
                assert!(ended(client, child).await);
                assert!(
                    !running.exists(),
                    "it was stopped after its start had ended"
                );
            });
        },
    );
}

#[test]
fn a_file_is_acted_on_when_what_was_cancelled_before_has_ended() {
    block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let (socket, child) = helper();
        let client = HelperClient::new(socket, Duty::Settings).unwrap();
        for n in 0..50 {
            let path = directory.path().join(n.to_string()).display().to_string();
            let write = client.call(
                HelperOp::WriteFile {
                    path: path.clone(),
                    content: vec![b'x'; 1 << 20],
                },
                LIMIT,
            );
            assert!(
                futures_util::FutureExt::now_or_never(write).is_none(),
                "it was sent and given up"
            );
            client
                .call(HelperOp::RemoveFile { path }, LIMIT)
                .await
                .unwrap();
        }
        assert!(ended(client, child).await);
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            0,
            "nothing was written afterwards"
        );
    });
}

/// A bus of its own, as long as this lives.
struct Bus {
    daemon: Child,
    address: String,
}

impl Bus {
    fn start(directory: &Path) -> Self {
        let file = directory.join("bus.conf");
        let text = format!(
            "<busconfig><type>custom</type><listen>unix:path={}/bus</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/></policy>\
             </busconfig>",
            directory.display()
        );
        std::fs::write(&file, text).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .args([
                "--nofork",
                "--nopidfile",
                "--print-address",
                "--config-file",
            ])
            .arg(&file)
            .stdout(Stdio::piped())
            // It would like more descriptors than it may have.
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon(1) runs");
        let mut address = String::new();
        let mut said = BufReader::new(daemon.stdout.take().unwrap());
        said.read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        Self { daemon, address }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Connecting, saying who it is and a call need system calls that nothing else needs.
#[test]
fn a_bus_is_reached_through_its_filter() {
    let directory = tempfile::tempdir().unwrap();
    let bus = Bus::start(directory.path());
    for duty in [Duty::Settings, Duty::Commands] {
        block_on(async {
            let (socket, child) = helper_on(&bus.address);
            let client = HelperClient::new(socket, duty).unwrap();
            let asked = HelperOp::ServiceStatus {
                backend: ServiceBackend::Systemd,
                unit: "httpd".into(),
            };
            let err = client.call(asked, LIMIT).await.unwrap_err();
            // The bus itself says that nobody there is systemd.
            assert!(
                err.message
                    .contains("The name org.freedesktop.systemd1 was not provided"),
                "{duty:?}: {err}"
            );
            assert!(ended(client, child).await, "{duty:?}");
        });
    }
}
