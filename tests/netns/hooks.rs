//! Hooks that do what they should not, on a real wire: the protocol goes on, and the right node
//! serves.

use std::time::Duration;

use carpd::lab::{Lab, Process};
use carpd::types::Timestamp;
use nix::sys::signal::Signal;

use crate::rig::{ADDRESS, Carpd, Daemon, Failed, SOON, TAKEOVER, Watch, holds, lan, mac, sh};
use crate::{ADDRESS_OF_A, ADDRESS_OF_B, Case, Outcome};

/// A minute: for cases that wait for two takeovers and long hooks.
const LONG: Duration = Duration::from_mins(1);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("hooks::one_that_fails_lets_the_peer_take_over", fails),
        Case {
            limit: LONG,
            ..Case::new(
                "hooks::one_that_fails_without_a_peer_is_retried_while_degraded",
                degraded,
            )
        },
        Case::new("hooks::one_that_never_ends_is_ended", hangs),
        Case::new("hooks::one_that_logs_too_much_is_cut_short", floods),
        Case::new(
            "hooks::one_that_floods_the_log_without_end_is_ended",
            floods_without_end,
        ),
        Case::new("hooks::one_whose_runner_is_killed_has_failed", killed),
        Case::new("hooks::a_killed_idle_runner_is_replaced", killed_idle),
        Case::new(
            "hooks::one_that_is_denied_names_the_line_that_grants",
            denied,
        ),
        Case::new("hooks::one_that_takes_long_delays_no_advertisement", slow),
        Case {
            limit: LONG,
            ..Case::new(
                "hooks::one_on_fifty_virtual_hosts_is_no_storm_of_processes",
                fifty,
            )
        },
        #[cfg(feature = "wasm")]
        Case {
            limit: LONG,
            ..Case::new(
                "hooks::components_that_attack_a_live_master_leave_it_as_it_is",
                attacks,
            )
        },
        Case {
            limit: LONG,
            ..Case::new(
                "hooks::one_speaks_tls_with_a_server_of_the_operators_own_authority",
                tls,
            )
        },
        Case::new(
            "hooks::a_signal_to_the_whole_group_still_runs_the_down_hook",
            group_signal,
        ),
    ]
}

/// Node a with a hook, and node b that would take over, with or without being asked.
fn pair(a: &Carpd) -> Result<(Lab, Watch, [Daemon; 2]), Failed> {
    let lab = lan(&["a", "b"])?;
    let watch = Watch::start(&lab, ADDRESS)?;
    let mut a = a.start(&lab)?;
    // On a busy machine the one with the hook is slower to start: b must not be the first to wait
    // long enough.
    a.wait_says("Ready", SOON)?;
    let b = Carpd::new("b").advskew(50).start(&lab)?;
    Ok((lab, watch, [a, b]))
}

/// The run of `on_master` on node a fails, and b is master from then on.
fn b_takes_over(a: &Carpd, error: &str, timeout: Duration) -> Result<(Lab, [Daemon; 2]), Failed> {
    let (lab, mut watch, [mut on_a, mut on_b]) = pair(a)?;
    let master = on_a.wait_state("master", TAKEOVER)?;
    let run = on_a.wait_ran("on_master", timeout)?;
    assert_eq!(run.text("outcome"), "failed", "{run:?}");
    assert!(run.text("error").contains(error), "{run:?}");
    assert_eq!(
        on_a.wait_state("backup", SOON)?.text("cause"),
        "hook-failed"
    );
    let relieved = on_b.wait_state("master", SOON)?;
    assert_eq!(relieved.text("cause"), "master-leaving");
    assert!(
        relieved.at.since(master.at) < timeout + Duration::from_secs(1),
        "{:?}",
        relieved.at.since(master.at)
    );
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    // It preempts and is the better one, but for its failed hook.
    watch.hear(ADDRESS_OF_B, 3, SOON)?;
    assert_eq!(on_b.states().last().unwrap(), "master");
    assert!(!holds(&lab, "a")?);
    Ok((lab, [on_a, on_b]))
}

fn fails() -> Outcome {
    let a = Carpd::new("a")
        .preempts()
        .hook("function on_master() error('no database') end", "");
    let (_lab, daemons) = b_takes_over(&a, "no database", SOON)?;
    daemons.iter().try_for_each(Daemon::stop)
}

fn degraded() -> Outcome {
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let lua = "function on_master()
  local n = (state.get('tries') or 0) + 1
  state.set('tries', n)
  if n < 4 then error('try ' .. n) end
end";
    let mut a = Carpd::new("a").hook(lua, "").start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    assert_eq!(a.wait_state("backup", SOON)?.text("cause"), "hook-failed");
    watch.wait(&[], SOON)?;
    // Nobody relieves it: it is master again, and keeps the address although the hook fails again.
    a.wait_state("master", TAKEOVER)?;
    let stays = a.wait_says("Staying master, degraded: no peer took over", SOON)?;
    assert!(stays.text("reason").contains("try 2"), "{stays:?}");
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    watch.hear_advskew(240, SOON)?;
    assert!(
        a.wait_says("Staying master, degraded: no peer took over", TAKEOVER)?
            .text("reason")
            .contains("try 3")
    );
    a.wait_says("No longer degraded", TAKEOVER)?;
    watch.hear_advskew(0, SOON)?;
    assert!(holds(&lab, "a")?);
    assert_eq!(a.states(), ["backup", "master", "backup", "master"]);
    a.stop()
}

fn hangs() -> Outcome {
    for (lua, toml) in [
        (
            "function on_master() while true do end end",
            "timeout = \"400ms\"\nbefore-timeout = \"400ms\"",
        ),
        (
            "function on_master() clock.sleep(60000) end",
            "timeout = \"400ms\"\nbefore-timeout = \"400ms\"",
        ),
    ] {
        let (_lab, daemons) = b_takes_over(
            &Carpd::new("a").preempts().hook(lua, toml),
            "longer than its budget",
            SOON,
        )?;
        daemons.iter().try_for_each(Daemon::stop)?;
    }
    Ok(())
}

fn floods() -> Outcome {
    let lab = lan(&["a"])?;
    // Of words that differ: of the same ones the log lets a few through.
    let lua = "function on_master() for n = 1, 5000 do
      local word = string.char(97 + n % 26, 97 + n // 26 % 26, 97 + n // 676)
      log.info(word .. string.rep('x', 997)) end end";
    let mut a = Carpd::new("a")
        .hook(lua, "log-bytes = \"64KiB\"")
        .start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let dropped = a.wait_says("Dropped log lines of a hook beyond its quota", TAKEOVER)?;
    assert!(dropped.text("fields").contains("493"), "{dropped:?}");
    assert_eq!(a.wait_ran("on_master", SOON)?.text("outcome"), "done");
    let bytes: usize = a.process.lines().iter().map(|line| line.text.len()).sum();
    assert!(
        (64 << 10..128 << 10).contains(&bytes),
        "{bytes} bytes of log"
    );
    a.stop()
}

fn floods_without_end() -> Outcome {
    let lua = "function on_master() while true do log.info('again') end end";
    let (_lab, daemons) = b_takes_over(
        &Carpd::new("a").preempts().hook(lua, "cpu = \"10s\""),
        "it floods the log",
        TAKEOVER,
    )?;
    daemons.iter().try_for_each(Daemon::stop)
}

/// Kills a host's runners, as the kernel does when memory runs out, and says how many there were.
fn kill_runners(lab: &Lab, host: &str) -> Result<usize, Failed> {
    let script = "for p in /proc/[0-9]*; do
  tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^carpd-runner: h __runner ' && kill -9 ${p#/proc/} && echo killed
done; true";
    Ok(sh(lab, host, script)?.len())
}

fn killed() -> Outcome {
    let lua = "function on_master() log.info('Sleeps') clock.sleep(8000) end";
    let (lab, mut watch, [mut a, mut b]) = pair(&Carpd::new("a").preempts().hook(lua, ""))?;
    a.wait_says("Sleeps", TAKEOVER)?;
    assert!(kill_runners(&lab, "a")? >= 1);
    // At once, and not when it would have woken.
    let run = a.wait_ran("on_master", Duration::from_secs(2))?;
    assert!(run.text("error").contains("the runner ended"), "{run:?}");
    assert_eq!(
        b.wait_state("master", SOON)?.text("cause"),
        "master-leaving"
    );
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    a.stop()?;
    b.stop()
}

fn killed_idle() -> Outcome {
    let lab = lan(&["a"])?;
    let mut a = Carpd::new("a")
        .hook("function on_master() log.info('Runs') end", "")
        .start(&lab)?;
    a.wait_says("Ready", SOON)?;
    assert!(kill_runners(&lab, "a")? >= 1);
    let run = a.wait_ran("on_master", TAKEOVER)?;
    assert_eq!(run.text("outcome"), "done", "{run:?}");
    assert!(
        a.entries()
            .iter()
            .any(|entry| entry.says("A runner died while idle"))
    );
    assert!(a.entries().iter().any(|entry| entry.says("Runs")));
    a.stop()
}

fn denied() -> Outcome {
    let lua = "\nfunction on_master() service.start('httpd') end";
    let (_lab, daemons) = b_takes_over(
        &Carpd::new("a")
            .preempts()
            .hook(lua, "grant = { hostname = [\"x\"] }"),
        "h.lua:2",
        SOON,
    )?;
    let [a, _] = &daemons;
    let run = a
        .entries()
        .into_iter()
        .find(|entry| entry.ran("on_master"))
        .unwrap();
    let line = "under [hook.h.grant]: service = [{ unit = \"httpd.service\", do = [\"start\"] }]";
    let other = "under [hook.h.grant]: service = [{ unit = \"httpd\", do = [\"start\"] }]";
    assert!(
        run.text("error").contains(line) || run.text("error").contains(other),
        "{run:?}"
    );
    daemons.iter().try_for_each(Daemon::stop)
}

/// The longest time between two advertisements that were heard.
pub(crate) fn longest_gap(heard: &[Timestamp]) -> Duration {
    heard
        .windows(2)
        .map(|pair| pair[1].since(pair[0]))
        .max()
        .unwrap()
}

fn slow() -> Outcome {
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    // Waiting for the host, and working: both must be off the protocol's way.
    let lua = "function on_master()
  clock.sleep(2500)
  local x = 0
  for n = 1, 20000000 do x = x + n % 7 end
  clock.sleep(2500)
end";
    let mut a = Carpd::new("a")
        .hook(lua, "timeout = \"20s\"\ncpu = \"10s\"")
        .start(&lab)?;
    let master = a.wait_state("master", TAKEOVER)?;
    let run = a.wait_ran("on_master", Duration::from_secs(15))?;
    assert_eq!(run.text("outcome"), "done", "{run:?}");
    assert!(run.at.since(master.at) > Duration::from_secs(5));
    watch.hear(ADDRESS_OF_A, 1, SOON)?;
    let heard = watch.advertisements(ADDRESS_OF_A)?;
    assert!(heard.len() >= 6, "{heard:?}");
    assert!(
        longest_gap(&heard) < Duration::from_millis(1500),
        "{:?}",
        longest_gap(&heard)
    );
    a.stop()
}

fn fifty() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let vhosts = |advskew: u8, hooks: &str| {
        let vhost = |n: u8| {
            format!(
                "[[vhost]]\nname = \"v{n}\"\ninterface = \"eth0\"\nvhid = {n}\naddresses = [\"192.168.32.{}/32\"]\n\
                 password-file = \"/run/lab/web.pass\"\nadvskew = {advskew}\n{hooks}\n",
                n + 100
            )
        };
        (1..=50).map(vhost).collect::<String>()
    };
    let lua = "function on_master() clock.sleep(300) end";
    let mut a = Carpd::new("a").vhosts(vhosts(0, "")).start(&lab)?;
    let mut b = Carpd::new("b")
        .hook(lua, "timeout = \"1s\"")
        .vhosts(vhosts(50, "hooks = [\"h\"]"))
        .start(&lab)?;
    for _ in 0..50 {
        a.wait_state("master", TAKEOVER)?;
    }
    assert_eq!(b.states(), ["backup"; 50]);
    lab.power_off("a")?;
    b.wait_state("master", TAKEOVER)?;
    let mut most = 0;
    for _ in 0..50 {
        let run = b.wait_ran("on_master", Duration::from_secs(30))?;
        assert_eq!(
            run.text("outcome"),
            "done",
            "waiting for a runner takes nothing of its second: {run:?}"
        );
        let count =
            "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -o '__[r]unner' | wc -l";
        most = most.max(
            sh(&lab, "b", count)?
                .first()
                .and_then(|n| n.trim().parse::<usize>().ok())
                .unwrap_or_default(),
        );
    }
    // Eight, and what is just being started or ends.
    assert!((1..=10).contains(&most), "{most} runners at a time");
    assert_eq!(lab.host("b").facts()?.addresses.len(), 51);
    b.stop()?;
    assert_eq!(lab.host("b").facts()?.addresses.len(), 1);
    Ok(())
}

fn group_signal() -> Outcome {
    let lua = "function on_backup() hostname.set('down') end\nfunction on_master() hostname.set('up') end";
    let (lab, mut watch, [mut a, mut b]) = pair(
        &Carpd::new("a")
            .preempts()
            .set("neutral", true)
            .hook(lua, "grant = { hostname = [\"up\", \"down\"] }"),
    )?;
    a.wait_ran("on_master", TAKEOVER)?;
    assert_eq!(lab.host("a").facts()?.hostname, "up");
    signal_group(&lab, &a.process, Signal::SIGTERM)?;
    a.process.wait(SOON)?;
    assert_eq!(
        b.wait_state("master", SOON)?.text("cause"),
        "master-leaving"
    );
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    assert!(
        a.entries()
            .iter()
            .any(|entry| entry.ran("on_backup") && entry.text("outcome") == "done"),
        "{}",
        a.text()
    );
    assert_eq!(lab.host("a").facts()?.hostname, "down");
    assert!(!holds(&lab, "a")?);
    b.stop()
}

/// `[daemon] ca-file` from the file of the configuration to the handshake, through an HTTP worker
/// that is confined.
fn tls() -> Outcome {
    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");
    let lab = lan(&["a"])?;
    let [certificate, key] = ["pem", "key"].map(|ending| format!("{FIXTURES}/server.{ending}"));
    let server = [
        "openssl",
        "s_server",
        "-accept",
        "8443",
        "-cert",
        &certificate,
        "-key",
        &key,
        "-www",
        "-quiet",
    ];
    let _server = lab.host("a").spawn(&server)?;
    // 8443, where somebody listens.
    lab.until("the server to listen", SOON, || {
        Ok(
            sh(&lab, "a", "grep -q ':20FB ' /proc/net/tcp /proc/net/tcp6")
                .ok()
                .map(drop),
        )
    })?;
    let lua =
        "function on_master() log.info('Heard ' .. http.get('https://localhost:8443/').status) end";
    let grant = "grant = { http = [{ url = \"https://localhost:8443/\", do = [\"get\"] }] }\non-failure = \"ignore\"";
    let a = Carpd::new("a").hook(lua, grant);
    let mut stranger = a.start(&lab)?;
    let refused = stranger.wait_ran("on_master", TAKEOVER)?;
    assert!(
        refused.text("error").contains("UnknownIssuer"),
        "{refused:?}"
    );
    stranger.stop()?;
    let mut known = a
        .more(&format!(
            "[daemon]\nfile-owners = \"warn\"\nca-file = \"{FIXTURES}/ca.pem\"\n"
        ))
        .start(&lab)?;
    known.wait_says("Heard 200", TAKEOVER)?;
    known.stop()
}

/// As Ctrl-C does, and systemd.
fn signal_group(lab: &Lab, process: &Process, signal: Signal) -> Outcome {
    sh(
        lab,
        "a",
        &format!(
            "kill -{} -- -{}",
            signal.as_str().trim_start_matches("SIG"),
            process.pid()
        ),
    )
    .map(drop)
}

/// Everything that the misbehaving component can do, on a master that advertises and serves
/// meanwhile.
#[cfg(feature = "wasm")]
fn attacks() -> Outcome {
    const ATTACKS: [&str; 8] = [
        "loop",
        "memory",
        "recursion",
        "log",
        "strings",
        "requests",
        "forged list",
        "panic",
    ];
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/hooks-1.0.0.wasm"
    );
    let grant = "route = [{ dst = \"default\" }]\nrule = [{ table = 100 }]\nlink = [{ dev = \"eth1\" }]\nhostname = [\"x\"]\n\
        service = [{ unit = \"x\", do = [\"start\", \"stop\", \"restart\", \"reload\"] }]\n\
        sysctl = [{ key = \"net.ipv4.ip_forward\" }]\nfile = [{ path = \"/run/x\", do = [\"read\", \"write\", \"remove\"] }]\n\
        command.promote = { argv = [\"/bin/true\", \"{resource:word}\"] }\ntcp = [\"127.0.0.1:80\"]\nread = true\n\
        http = [{ url = \"http://127.0.0.1/\", do = [\"get\", \"post\", \"put\", \"patch\", \"delete\"] }]\ncarp = [\"demote\", \"resign\"]\n";
    let name = |attack: &str| attack.replace(' ', "-");
    let hooks: String = ATTACKS
        .iter()
        .map(|attack| {
            let head = format!(
                "[hook.{}]\nsource = \"{source}\"\nconfig = {{ do = \"{attack}\" }}\n",
                name(attack)
            );
            let limits = "on-failure = \"ignore\"\ncpu = \"500ms\"\ntimeout = \"3s\"\n";
            format!("{head}{limits}[hook.{}.grant]\n{grant}\n", name(attack))
        })
        .collect();
    let list: Vec<String> = ATTACKS
        .iter()
        .map(|attack| format!("{:?}", name(attack)))
        .collect();
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let mut a = Carpd::new("a")
        .set("hooks", format!("[{}]", list.join(", ")))
        .more(&format!("[daemon]\nfile-owners = \"warn\"\n{hooks}"))
        .start(&lab)?;
    a.wait_says("Ready", LONG)?;
    let before = engine_memory(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    for attack in ATTACKS {
        let run = a.wait("the end of an attack", LONG, |entry| {
            entry.ran("on_master") && entry.text("hook") == name(attack)
        })?;
        assert_eq!(run.text("outcome"), "failed", "{run:?}");
    }
    for attack in ATTACKS {
        // Once more, on the same master: its plan runs the hook, and ends in a refusal.
        let apply = format!(
            "! {} hook apply --config /run/lab/carpd.toml {}",
            crate::rig::CARPD,
            name(attack)
        );
        sh(&lab, "a", &apply)?;
    }
    watch.hear(ADDRESS_OF_A, 2, SOON)?;
    let gap = longest_gap(&watch.advertisements(ADDRESS_OF_A)?);
    let grown = engine_memory(&lab)?.saturating_sub(before);
    println!(
        "attacks on a live master: longest gap {} ms, engine grown by {grown} KiB",
        gap.as_millis()
    );
    assert!(gap < Duration::from_millis(1500), "{gap:?}");
    assert!(grown < 8 << 10, "{grown} KiB");
    assert!(
        holds(&lab, "a")? && a.states() == ["backup", "master"],
        "{:?}",
        a.states()
    );
    a.stop()
}

/// What the engine on host a has in memory that is its own, in KiB.
#[cfg(feature = "wasm")]
fn engine_memory(lab: &Lab) -> Result<u64, Failed> {
    let script = "for p in /proc/[0-9]*; do
  tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^carpd-engine __engine ' && grep RssAnon $p/status
done; true";
    let lines = sh(lab, "a", script)?;
    let number = lines
        .first()
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    Ok(number.ok_or("the engine's memory")?)
}
