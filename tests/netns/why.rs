//! `carpd why` over several nodes: real daemons, whose recorders are compared.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carpd::lab::{Lab, Process};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::rig::{CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, lan, sh};
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            limit: Duration::from_mins(3),
            ..Case::new(
                "why::three_nodes_whose_clocks_are_wrong_are_told_in_the_right_order",
                three_nodes,
            )
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("why::nodes_are_asked_by_ssh", by_ssh)
        },
    ]
}

const NODES: [&str; 3] = ["a", "b", "c"];
/// Each node's clock of the day is wrong by so many milliseconds, and it was booted so many seconds
/// before the first.
const WRONG: [(i64, u64); 3] = [(0, 0), (2_000, 500_000), (-2_000, 90_000)];
/// How far apart two changes may be whose order nobody can tell.
const TOGETHER_NS: u64 = 1_000_000;

/// Two better nodes that preempt, and a third.
fn start(lab: &Lab) -> Result<Vec<Daemon>, Failed> {
    let start =
        |(node, advskew): (&str, u8)| Carpd::new(node).advskew(advskew).preempts().start(lab);
    let mut daemons = Vec::new();
    for node in NODES.into_iter().zip([0, 50, 100]) {
        daemons.push(start(node)?);
    }
    daemons[0].wait_state("master", TAKEOVER)?;
    Ok(daemons)
}

/// What a node recorded.
fn events(lab: &Lab, host: &str) -> Result<Vec<Value>, Failed> {
    let lines = sh(
        lab,
        host,
        &format!("{CARPD} events --json --all --config /run/lab/carpd.toml"),
    )?;
    Ok(lines
        .iter()
        .map(|line| serde_json::from_str(line))
        .collect::<Result<_, _>>()?)
}

/// One change of state: when by the one clock that all hosts of a lab really have, on which node, and
/// its number there.
type Change = (u64, usize, u64);

fn changes(node: usize, events: &[Value]) -> Vec<Change> {
    let states = events.iter().filter(|event| event["event"] == "state");
    let number = |event: &Value, key: &str| event[key].as_u64().expect("a number");
    states
        .map(|event| (number(event, "boot_ns"), node, number(event, "seq")))
        .collect()
}

/// The same with the clocks of another machine, as a file has it.
fn on_another_clock(events: &[Value], (wrong_ms, booted_s): (i64, u64)) -> String {
    let mut text = String::new();
    for event in events {
        let mut event = event.clone();
        let time = event["time_ms"].as_i64().expect("a time") + wrong_ms;
        let since_boot = event["boot_ns"].as_u64().expect("a time") + booted_s * 1_000_000_000;
        event["time_ms"] = time.into();
        event["boot_ns"] = since_boot.into();
        writeln!(text, "{event}").expect("a text");
    }
    text
}

/// The changes of state that `carpd why` told, in its order: node and number. The ends that nobody
/// recorded are its own.
fn told(lines: &[String]) -> Vec<(usize, u64)> {
    let told = lines.iter().filter(|line| !line.starts_with(' '));
    told.filter_map(|line| {
        let (before, after) = line.split_once(" web: ")?;
        let name = before.rsplit_once(' ')?.1;
        let node = NODES.iter().position(|node| *node == name)?;
        let (_, number) = after.rsplit_once('#')?;
        (!after.contains(" died #")).then(|| Some((node, number.parse().ok()?)))?
    })
    .collect()
}

/// How many changes come after one that was later.
fn wrong(times: impl Iterator<Item = u64>) -> usize {
    let mut latest = 0;
    let late = times.filter(|at| {
        let late = at + TOGETHER_NS < latest;
        latest = latest.max(*at);
        late
    });
    late.count()
}

fn three_nodes() -> Outcome {
    let lab = lan(&NODES)?;
    let mut daemons = start(&lab)?;
    let config = "--config /run/lab/carpd.toml";
    for _ in 0..3 {
        // By a bow-out, and back.
        sh(&lab, "a", &format!("{CARPD} resign web {config}"))?;
        daemons[1].wait_state("master", TAKEOVER)?;
        daemons[0].wait_state("master", TAKEOVER * 3)?;
        daemons[1].wait_state("backup", TAKEOVER)?;
        // By silence, and back.
        lab.host("a").set_link(false)?;
        daemons[1].wait_state("master", TAKEOVER)?;
        lab.host("a").set_link(true)?;
        daemons[0].wait_state("master", TAKEOVER)?;
        daemons[1].wait_state("backup", TAKEOVER)?;
    }
    // Two leave one after the other, and the third is left.
    for (leaves, follows) in [(0, 1), (1, 2)] {
        daemons[leaves].stop()?;
        daemons[follows].wait_state("master", TAKEOVER)?;
    }
    let directory = tempfile::tempdir()?;
    let (mut truth, mut by_day) = (Vec::new(), Vec::new());
    for (number, node) in NODES.into_iter().enumerate() {
        let recorded = events(&lab, node)?;
        let of_node = changes(number, &recorded);
        let day = |at: u64| at.saturating_add_signed(WRONG[number].0 * 1_000_000);
        by_day.extend(of_node.iter().map(|(at, ..)| (day(*at), *at)));
        truth.extend(of_node);
        let text = on_another_clock(&recorded, WRONG[number]);
        std::fs::write(directory.path().join(node), text)?;
    }
    let place = directory.path().display();
    let lines = sh(
        &lab,
        "client",
        &format!("{CARPD} why --last 1000 --from {place}/a {place}/b {place}/c"),
    )?;
    let told = told(&lines);
    assert!(told.len() >= 20, "{lines:#?}");
    assert_eq!(told.len(), truth.len(), "{lines:#?}");
    let times: Vec<u64> = told
        .iter()
        .map(|(node, seq)| {
            let of_it = truth
                .iter()
                .find(|(_, of, number)| (of, number) == (node, seq));
            of_it.map_or(0, |(at, ..)| *at)
        })
        .collect();
    assert_eq!(wrong(times.into_iter()), 0, "{truth:#?}\n{lines:#?}");
    // By their clocks it would be wrong.
    by_day.sort_unstable();
    assert!(wrong(by_day.iter().map(|(_, at)| *at)) > 0, "{by_day:?}");
    // How wrong they are is said, in the time of one of them.
    let clock = NODES
        .iter()
        .position(|node| lines[0] == format!("times are those of {node}"))
        .ok_or("whose times?")?;
    for (number, node) in NODES
        .iter()
        .enumerate()
        .filter(|(number, _)| *number != clock)
    {
        let ahead = lines.iter().find_map(|line| {
            let words = line.strip_prefix(&format!("the clock of {node} is "))?;
            let (ms, direction) = words.split_once(" ms ")?;
            let ms: i64 = ms.parse().ok()?;
            Some(if direction == "ahead" { ms } else { -ms })
        });
        let wanted = WRONG[number].0 - WRONG[clock].0;
        let found = ahead.ok_or("its clock is not told of")?;
        assert!(
            (found - wanted).abs() <= 20,
            "{node}: {found}, not {wanted}"
        );
    }
    daemons[2].stop()
}

/// Where `tests/run` has put the server, if it is not installed.
fn sshd() -> Result<PathBuf, Failed> {
    let target = Path::new(CARPD)
        .ancestors()
        .nth(2)
        .unwrap_or(Path::new("/"));
    let places = [
        PathBuf::from("/usr/sbin/sshd"),
        target.join("openssh/usr/sbin/sshd"),
    ];
    let missing = "there is no sshd: tests/run fetches one";
    Ok(places
        .into_iter()
        .find(|place| place.exists())
        .ok_or(missing)?)
}

/// Starts a real server on a host, for a user who may log in with the key in `directory`. Where hosts
/// have only one user, whom the kernel maps to root's number, it runs in a user namespace below as an
/// ordinary one, so that it does not try to become others.
fn serve(lab: &Lab, host: &str, directory: &Path) -> Result<Process, Failed> {
    let carpd = Path::new(CARPD).parent().ok_or("where is carpd?")?;
    let at = directory.display();
    let config = format!(
        "HostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nStrictModes no\nUsePAM no\nPidFile none\n\
         PasswordAuthentication no\nSetEnv PATH={}:/usr/bin:/bin\n",
        carpd.display()
    );
    let map = lab.host(host).read("/proc/self/uid_map")?;
    let has_users = map.split_whitespace().nth(2) != Some("1");
    let (number, before) = if has_users {
        (0, "")
    } else {
        (1000, "unshare --user --map-user=1000 --map-group=1000")
    };
    let users = format!(
        "operator:x:{number}:{number}::/:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
    );
    lab.host(host).write("/run/lab/sshd.conf", 0o644, &config)?;
    lab.host(host).write("/run/lab/passwd", 0o644, &users)?;
    let script = format!(
        "mkdir -p /run/sshd && mount --bind /run/lab/passwd /etc/passwd && \
         sysctl -qw net.ipv4.ip_unprivileged_port_start=22 && exec {before} {} -D -e -f /run/lab/sshd.conf",
        sshd()?.display()
    );
    let mut process = lab
        .host(host)
        .spawn(&["unshare", "--mount", "sh", "-c", &script])?;
    process.wait_line("sshd", SOON, |line| line.contains("Server listening"))?;
    Ok(process)
}

fn by_ssh() -> Outcome {
    let lab = lan(&NODES)?;
    let daemons = start(&lab)?;
    let heard = |host: &str| {
        let all = events(&lab, host)?;
        let is_heard = |event: &Value| event["event"] == "advertisement" && event["sent"] == false;
        Ok(all.iter().any(is_heard).then_some(()))
    };
    for host in ["b", "c"] {
        lab.until("what the master sends to be heard", SOON, || {
            heard(host).map_err(|error: Failed| panic!("{error}"))
        })?;
    }
    let directory = tempfile::tempdir()?;
    let at = directory.path().display();
    for key in ["host", "user"] {
        sh(
            &lab,
            "a",
            &format!("ssh-keygen -q -t ed25519 -N '' -f {at}/{key}"),
        )?;
    }
    let mut servers = Vec::new();
    for host in ["b", "c"] {
        servers.push(serve(&lab, host, directory.path())?);
    }
    let ssh = format!(
        "ssh -F none -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
         -o LogLevel=ERROR -l operator -i {at}/user"
    );
    let why = |nodes: &str, more: &str| {
        let config = "--config /run/lab/carpd.toml";
        format!("{CARPD} why {config} --ssh '{ssh}' --node {nodes} {more} 2>&1; echo $?")
    };
    let mut lines = sh(&lab, "a", &why(". 192.168.32.33 192.168.32.34", ""))?;
    assert_eq!(lines.pop().as_deref(), Some("0"), "{lines:#?}");
    let text = lines.join("\n");
    for wanted in [
        "here web: backup -> master: no advertisement for",
        "192.168.32.33 web: init -> backup: ",
        "192.168.32.34 web: init -> backup: ",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains("in common"), "{text}");
    // A host that is not there, and one without a server.
    for (host, said) in [
        ("192.168.32.99", "No route to host"),
        ("192.168.32.50", "Connection refused"),
    ] {
        let mut lines = sh(&lab, "a", &why(&format!(". {host}"), "--timeout 4s"))?;
        assert_eq!(lines.pop().as_deref(), Some("4"), "{lines:#?}");
        let text = lines.join("\n");
        let wanted = format!("the recorder of {host} cannot be had");
        let is_silent = text.contains(&format!("{host} has said nothing for 4s"));
        assert!(
            is_silent || text.contains(&wanted) && text.contains(said),
            "{text}"
        );
    }
    // One that takes the connection, and says nothing.
    let server = &servers[0];
    server.signal(Signal::SIGSTOP)?;
    let mut lines = sh(&lab, "a", &why(". 192.168.32.33", "--timeout 2s"))?;
    assert_eq!(lines.pop().as_deref(), Some("4"), "{lines:#?}");
    let text = lines.join("\n");
    assert!(
        text.contains("192.168.32.33 has said nothing for 2s"),
        "{text}"
    );
    server.signal(Signal::SIGCONT)?;
    daemons.iter().try_for_each(Daemon::stop)
}
