use std::future::pending;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::*;

/// Much longer than any of these may take, much shorter than what the children would like to take.
const PATIENCE: Duration = Duration::from_secs(15);

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

/// Runs in real time, but never longer than [`PATIENCE`].
fn outcome(script: &str, limit: Duration) -> Result<Finished, SpawnError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let argv = shell(script);
    runtime
        .block_on(async { timeout(PATIENCE, run(&argv, limit, pending())).await })
        .expect("bounded time")
}

fn alive(pid: &str) -> bool {
    // A zombie that nobody reaps yet is no life.
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
    stat.is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

/// SIGKILL was sent; when the kernel has taken it away is the kernel's affair.
fn is_dead_soon(pid: &str) -> bool {
    (0..1_000_000).any(|_| {
        std::thread::yield_now();
        !alive(pid)
    })
}

#[test]
fn output_and_status_come_back() {
    let done = outcome("echo out; echo err >&2; exit 3", PATIENCE).unwrap();
    assert_eq!(
        done.output,
        CommandOutput {
            status: 3,
            stdout: b"out\n".to_vec(),
            stderr: b"err\n".to_vec()
        }
    );
    assert_eq!(done.dropped, 0);
}

#[test]
fn the_environment_is_clean_and_the_directory_is_the_root() {
    let done = outcome(
        "echo $PWD $CARGO_MANIFEST_DIR $HOME; read line || echo eof",
        PATIENCE,
    )
    .unwrap();
    assert_eq!(String::from_utf8_lossy(&done.output.stdout), "/\neof\n");
}

#[test]
fn death_by_signal_is_128_and_the_signal() {
    assert_eq!(outcome("kill -9 $$", PATIENCE).unwrap().output.status, 137);
}

#[test]
fn a_missing_program_is_named() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let argv = ["/no/such/program".to_owned()];
    let err = runtime
        .block_on(run(&argv, PATIENCE, pending()))
        .unwrap_err();
    assert!(err.to_string().contains("/no/such/program"), "{err}");
    assert!(matches!(
        runtime.block_on(run(&[], PATIENCE, pending())),
        Err(SpawnError::Empty)
    ));
}

#[test]
fn one_that_hangs_is_terminated_and_its_last_words_are_told() {
    let err = outcome(
        "echo waiting for the disk; sleep 600",
        Duration::from_millis(100),
    )
    .unwrap_err();
    let SpawnError::Overran { status, output, .. } = &err else {
        panic!("{err}")
    };
    assert_eq!(
        (*status, output.stdout.as_slice()),
        (128 + libc::SIGTERM, b"waiting for the disk\n".as_slice())
    );
    assert!(err.to_string().contains("waiting for the disk"), "{err}");
}

#[test]
fn one_that_ignores_term_is_killed_with_its_children() {
    let err = outcome(
        "trap '' TERM; sleep 600 & echo $!; wait; wait",
        Duration::from_millis(100),
    )
    .unwrap_err();
    let SpawnError::Overran { status, output, .. } = &err else {
        panic!("{err}")
    };
    assert_eq!(*status, 128 + libc::SIGKILL);
    let child = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(is_dead_soon(&child), "{child} must not survive its group");
}

#[test]
fn a_flood_is_read_and_dropped() {
    let done = outcome(
        "head -c 10000000 /dev/zero; head -c 1000000 /dev/zero >&2",
        PATIENCE,
    )
    .unwrap();
    assert_eq!(
        (done.output.stdout.len(), done.output.stderr.len()),
        (OUTPUT_LIMIT, OUTPUT_LIMIT)
    );
    assert_eq!(
        done.dropped,
        11_000_000 - 2 * u64::try_from(OUTPUT_LIMIT).unwrap()
    );
    let err = outcome("yes", Duration::from_millis(100)).unwrap_err();
    assert!(
        matches!(&err, SpawnError::Overran { output, .. } if output.stdout.len() == OUTPUT_LIMIT),
        "{err}"
    );
}

#[test]
fn a_daemon_left_behind_is_not_waited_for_and_lives_on() {
    // It keeps the output open, as careless daemons do.
    let done = outcome("sleep 600 & echo $!", PATIENCE).unwrap();
    let pid = String::from_utf8_lossy(&done.output.stdout)
        .trim()
        .to_owned();
    assert!(alive(&pid), "the daemon must live");
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn cancelling_ends_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let argv = shell("sleep 600");
    let err = runtime
        .block_on(async { timeout(PATIENCE, run(&argv, PATIENCE, std::future::ready(()))).await });
    assert!(
        matches!(err, Ok(Err(SpawnError::Cancelled { .. }))),
        "{err:?}"
    );
}
