//! The keeper with a real engine process below it. This binary plays all roles, as `carpd` does:
//! without arguments it runs the tests, which start it anew as a keeper.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test program")]

use std::io::{BufRead, BufReader, Read as _, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use carpd::hooks::contract::message::RUNNER_ROLE;
use carpd::host::children::helper::{Duty, HelperClient, HelperOp};
use carpd::keeper::{self, Client, Exits, HowEnded, Role};
use carpd::programs::{Opened, Programs};
use carpd::reader;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|a| a.to_str()) {
        Some("keep") => {
            // Not even a test that hangs leaves it behind, starting engines for ever.
            set_pdeathsig(Signal::SIGKILL).unwrap();
            let settings = keeper::ChildSettings {
                arguments: &[],
                // A test that has one names it.
                config_file: arguments
                    .get(1)
                    .map(Path::new)
                    .filter(|what| what.is_absolute()),
                on_reload: None,
                inherited: None,
                ca_file: |_, _| None,
            };
            let this = || Opened::this().unwrap();
            let programs = Programs {
                daemon: this(),
                worker: this(),
                carpd: None,
            };
            let arguments = arguments.get(1..).unwrap_or_default();
            keeper::run(&programs, arguments, &settings)
        }
        Some(keeper::ENGINE_ROLE) => engine(
            arguments
                .get(2)
                .and_then(|a| a.to_str())
                .unwrap_or_default(),
        ),
        Some(RUNNER_ROLE) => {
            // There until its socket closes.
            _ = std::io::stdin().read(&mut [0]);
            ExitCode::SUCCESS
        }
        Some("__helper") => carpd::host::children::helper::main(None),
        Some(reader::ROLE) => {
            // There until its socket closes.
            _ = std::io::stdin().read(&mut [0]);
            ExitCode::SUCCESS
        }
        _ => {
            // A test that hangs ends by SIGALRM.
            nix::unistd::alarm::set(60);
            the_engines_status_is_passed_on();
            a_signal_to_the_group_reaches_the_engine_once_it_is_ready_and_no_runner();
            an_engine_that_was_killed_leaves_nothing_and_is_started_again();
            a_stop_while_there_is_no_engine_still_undoes_what_the_dead_one_left();
            descriptors_of_the_parent_are_not_inherited();
            helpers_end_with_their_configuration_whatever_the_engine_holds();
            println!("6 tests of the keeper passed");
            ExitCode::SUCCESS
        }
    }
}

/// The engine's part: starts three runners, says their process ids, then does what it is told.
fn engine(what: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        if let Ok(status) = what.parse::<u8>() {
            return ExitCode::from(status);
        }
        let (client, mut exits) = Client::from_stdin().unwrap();
        if what.starts_with('/') {
            return hold_helpers(Path::new(what), &client, &mut exits).await;
        }
        let mut sockets = Vec::new();
        for _ in 0..3 {
            sockets.push(
                client
                    .spawn(Role::Runner {
                        memory_bytes: 1 << 20,
                    })
                    .await
                    .unwrap(),
            );
        }
        let parent = nix::unistd::getppid();
        let pids =
            std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        let mut terminated = signal(SignalKind::terminate()).unwrap();
        println!("{} {pids}", std::process::id());
        std::io::stdout().flush().unwrap();
        // A signal that came before this line has waited.
        keeper::unblock_signals().unwrap();
        tokio::select! {
            _ = terminated.recv() => ExitCode::from(5),
            ended = exits.next() => { println!("{ended:?}"); ExitCode::from(6) }
        }
    })
}

/// An engine that somebody has taken over: lets go of nothing that it was given.
async fn hold_helpers(file: &Path, client: &Client, exits: &mut Exits) -> ExitCode {
    // It reads the same copy as its helpers.
    let number = std::env::args().nth(4).unwrap();
    let copy = format!("/proc/self/fd/{number}");
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "one");
    let start = async |role| {
        let (id, socket) = client.spawn(role).await.unwrap();
        (id, HelperClient::new(socket, Duty::Commands).unwrap())
    };
    let asked = || HelperOp::Run {
        argv: vec!["true".to_owned()],
    };
    let limit = Duration::from_secs(10);
    let (old, first) = start(Role::Helper).await;
    first.call(asked(), limit).await.unwrap();
    std::fs::write(file, "two").unwrap();
    let (reader, _socket) = client.spawn(Role::NewReader).await.unwrap();
    let (_, second) = start(Role::NewHelper).await;
    client.reloaded(true);
    let (ended, how) = exits.next().await.unwrap();
    assert_eq!((ended, how), (old, HowEnded::Status(0)));
    assert!(first.call(asked(), limit).await.is_err());
    // The next reload comes to nothing.
    std::fs::write(file, "three").unwrap();
    let (new_reader, _other_socket) = client.spawn(Role::NewReader).await.unwrap();
    let (new, third) = start(Role::NewHelper).await;
    third.call(asked(), limit).await.unwrap();
    client.reloaded(false);
    let mut gone = [exits.next().await.unwrap().0, exits.next().await.unwrap().0];
    gone.sort();
    assert_eq!(gone, [new_reader, new]);
    second.call(asked(), limit).await.unwrap();
    // One that is started now goes by what is in use, though the file is another.
    let (_, fourth) = start(Role::Helper).await;
    fourth.call(asked(), limit).await.unwrap();
    std::fs::write(file, "four").unwrap();
    // Without its socket it would end by itself, and be counted below.
    let _last = client.spawn(Role::NewReader).await.unwrap();
    client.reloaded(true);
    let mut all = Vec::new();
    while all.len() < 3 {
        all.push(exits.next().await.unwrap().0);
    }
    assert!(all.contains(&reader), "{all:?}");
    ExitCode::SUCCESS
}

/// A keeper in a process group of its own.
fn keep(what: &str) -> Child {
    use std::os::unix::process::CommandExt;
    Command::new("/proc/self/exe")
        .args(["keep", what])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// What the keeper's engines print.
type Said = BufReader<ChildStdout>;

fn listen(keeper: &mut Child) -> Said {
    BufReader::new(keeper.stdout.take().unwrap())
}

/// The engine's and its runners' process ids, as the engine says them.
fn told(said: &mut Said) -> (Pid, Vec<Pid>) {
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let mut pids = line
        .split_whitespace()
        .map(|pid| Pid::from_raw(pid.parse().unwrap()));
    let engine = pids.next().unwrap();
    (engine, pids.filter(|pid| *pid != engine).collect())
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

fn is_gone(pid: Pid) -> bool {
    kill(pid, None) == Err(nix::errno::Errno::ESRCH)
}

fn the_engines_status_is_passed_on() {
    assert_eq!(keep("7").wait().unwrap().code(), Some(7));
}

fn a_signal_to_the_group_reaches_the_engine_once_it_is_ready_and_no_runner() {
    let mut keeper = keep("wait");
    let mut said = listen(&mut keeper);
    let (_, runners) = told(&mut said);
    assert_eq!(runners.len(), 3);
    nix::sys::signal::killpg(pid(&keeper), Signal::SIGTERM).unwrap();
    let status = keeper.wait().unwrap();
    // 6 would be: a runner ended first.
    assert_eq!(status.code(), Some(5), "{:?}", status.signal());
    assert!(
        runners.iter().all(|runner| is_gone(*runner)),
        "they end with the engine"
    );
}

fn an_engine_that_was_killed_leaves_nothing_and_is_started_again() {
    let mut keeper = keep("wait");
    let mut said = listen(&mut keeper);
    let (engine, runners) = told(&mut said);
    kill(engine, Signal::SIGKILL).unwrap();
    let (next, its_runners) = told(&mut said);
    assert!(next != engine && its_runners.len() == 3);
    assert!(
        runners.iter().all(|runner| is_gone(*runner)),
        "gone before the next engine starts"
    );
    kill(pid(&keeper), Signal::SIGTERM).unwrap();
    assert_eq!(
        keeper.wait().unwrap().code(),
        Some(5),
        "the orderly end of the second engine"
    );
    assert!(its_runners.iter().all(|runner| is_gone(*runner)));
}

fn a_stop_while_there_is_no_engine_still_undoes_what_the_dead_one_left() {
    let mut keeper = keep("wait");
    let mut said = listen(&mut keeper);
    let (engine, _) = told(&mut said);
    kill(engine, Signal::SIGKILL).unwrap();
    kill(pid(&keeper), Signal::SIGTERM).unwrap();
    assert_eq!(
        keeper.wait().unwrap().code(),
        Some(5),
        "the orderly end of another engine"
    );
    let (next, its_runners) = told(&mut said);
    assert!(next != engine && its_runners.iter().all(|runner| is_gone(*runner)));
}

fn descriptors_of_the_parent_are_not_inherited() {
    // A descriptor that is not closed on exec, as a careless shell leaves one.
    let exe = std::env::current_exe().unwrap();
    let script = format!("exec 9<'{0}'; exec '{0}' keep wait", exe.display());
    let mut keeper = Command::new("/bin/sh")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (engine, runners) = told(&mut listen(&mut keeper));
    let inherited = |process: &Pid| {
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        descriptors
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .any(|file| file == exe)
    };
    let (kept, leaked) = (
        inherited(&pid(&keeper)),
        runners.iter().chain([&engine]).any(inherited),
    );
    kill(pid(&keeper), Signal::SIGTERM).unwrap();
    assert_eq!(keeper.wait().unwrap().code(), Some(5));
    assert!(kept, "the keeper itself has it, or this test shows nothing");
    assert!(!leaked);
}

fn helpers_end_with_their_configuration_whatever_the_engine_holds() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("carpd.toml");
    std::fs::write(&file, "one").unwrap();
    let status = keep(file.to_str().unwrap()).wait().unwrap();
    assert_eq!(status.code(), Some(0));
}
