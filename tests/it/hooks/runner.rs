//! The runner as a process: signals, the sandbox, many of them.

use super::*;

fn signal(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

/// The runner of this keeper: a child of a child of this process.
fn runner_pid() -> i32 {
    let me = std::process::id().to_string();
    let own = std::fs::read_link("/proc/thread-self").unwrap();
    let task = own.file_name().unwrap().to_str().unwrap();
    let children = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let keepers = children(format!("/proc/{me}/task/{task}/children"));
    let keeper = keepers
        .split_whitespace()
        .last()
        .expect("this thread started a keeper");
    children(format!("/proc/{keeper}/task/{keeper}/children"))
        .trim()
        .parse()
        .expect("the keeper has one runner")
}

#[test]
fn a_runner_ignores_signals_to_its_group_and_its_death_is_seen() {
    use nix::sys::signal::Signal;
    block_on(async {
        let mut bench = bench("function on_master() hostname.get() end").await;
        let pid = runner_pid();
        for harmless in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            signal(pid, harmless);
        }
        assert_eq!(
            bench
                .call(EntryPoint::OnMaster, &mut Script::new(yes))
                .await,
            Ok(Returned::Done)
        );
        let mut desk = Script::new(|_: &Ask| {
            signal(pid, Signal::SIGKILL);
            Answer::Reply(Reply::Text("node2".into()))
        });
        let result = bench.call(EntryPoint::OnMaster, &mut desk).await;
        assert!(
            matches!(result, Err(HookError::RunnerDied(_))),
            "{result:?}"
        );
        assert!(!bench.session.is_alive());
        assert_eq!(
            bench.exits.next().await,
            Some((bench.id, HowEnded::Signal("SIGKILL".into())))
        );
    });
}

/// As the kernel ends it for a system call that the filter forbids.
#[test]
fn a_runner_that_the_filter_killed_is_told_from_others() {
    block_on(async {
        let mut bench = bench("function on_master() hostname.get() end").await;
        let pid = runner_pid();
        let mut desk = Script::new(|_: &Ask| {
            signal(pid, nix::sys::signal::Signal::SIGSYS);
            Answer::Reply(Reply::Text("node2".into()))
        });
        let result = bench.call(EntryPoint::OnMaster, &mut desk).await;
        assert!(
            matches!(result, Err(HookError::RunnerDied(_))),
            "{result:?}"
        );
        let (id, how) = bench.exits.next().await.unwrap();
        assert_eq!((id, &how), (bench.id, &HowEnded::Signal("SIGSYS".into())));
        assert_eq!(
            how.to_string(),
            "killed by SIGSYS: a system call that the sandbox forbids"
        );
    });
}

/// The real uid of a line of `/proc/PID/status`, if it is one of the runners' own; else 0.
fn uid(field: &str) -> u32 {
    let uid = field.split_whitespace().next().unwrap().parse().unwrap();
    if (60_600..61_100).contains(&uid) {
        uid
    } else {
        0
    }
}

#[test]
fn the_sandbox_is_in_force_and_says_what_is_missing() {
    block_on(async {
        let bench = bench("function on_stop() end").await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", runner_pid())).unwrap();
        let field = |name: &str| {
            status
                .lines()
                .find_map(|l| l.strip_prefix(name))
                .unwrap()
                .trim()
                .to_owned()
        };
        assert_eq!(field("Seccomp:"), "2");
        assert_eq!(field("NoNewPrivs:"), "1");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        let confinement = bench.session.confinement();
        assert_eq!(
            confinement.in_force.len() + confinement.missing.len(),
            11,
            "{confinement:?}"
        );
        let in_force = |name: &str| confinement.in_force.iter().any(|measure| measure == name);
        assert_eq!(
            in_force("own-uid"),
            uid(&field("Uid:")) != 0,
            "{confinement:?}"
        );
        // Only the real root has uids to give; a user namespace may have a single one.
        if std::fs::read_to_string("/proc/self/uid_map")
            .unwrap()
            .contains("4294967295")
            && nix::unistd::geteuid().is_root()
        {
            assert!(
                in_force("own-uid") && in_force("empty-network-namespace"),
                "{confinement:?}"
            );
        }
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", runner_pid())).unwrap();
        let cpu = limits
            .lines()
            .find(|l| l.starts_with("Max cpu time"))
            .unwrap();
        assert!(cpu.contains("60"), "{cpu}");
    });
}

#[test]
fn fifty_runners_come_and_go_without_a_trace() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    block_on(async {
        let (keeper, mut exits) = Client::start(Some(Path::new(DAEMON))).unwrap();
        let before = descriptors();
        let role = Role::Runner {
            memory_bytes: 16 << 20,
        };
        let spawned = futures_util::future::join_all((0..50).map(|_| keeper.spawn(role))).await;
        let mut open: BTreeMap<_, _> = spawned.into_iter().map(Result::unwrap).collect();
        assert_eq!(open.len(), 50);
        for id in open.keys() {
            keeper.kill(*id);
        }
        while !open.is_empty() {
            let (id, how) = exits.next().await.expect("the keeper lives");
            assert_eq!(how, HowEnded::Signal("SIGKILL".into()));
            assert!(open.remove(&id).is_some());
        }
        // Other tests run beside this one: a leak would be 50 and more.
        assert!(descriptors() < before + 50);
        assert!(keeper.spawn(role).await.is_ok(), "and it still works");
    });
}

#[test]
fn a_runner_with_foreign_descriptors_or_no_socket_refuses_to_be_one() {
    let status = std::process::Command::new(WORKER)
        .args(carpd::programs::role::words("__runner"))
        .stdin(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}
