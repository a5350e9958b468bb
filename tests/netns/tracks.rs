//! What virtual hosts depend on beside their own interface.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::Signal;

use carpd::lab::{Lab, LabError, PROGRAM};

use crate::rig::{CARPD, Carpd, Failed, SOON, TAKEOVER, dual_lan, lan, lets_go, sh, takes_hold};
use crate::{Case, Outcome, steady};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("tracks::a_link_that_goes_down_hands_over_at_once", fault),
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("tracks::a_server_that_takes_no_connections_hands_over", tcp)
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("tracks::a_bad_answer_of_a_web_server_hands_over", http)
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("tracks::a_host_that_sends_no_echo_hands_over", icmp)
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("tracks::a_program_that_ends_hands_over_at_once", process)
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("tracks::a_route_that_is_gone_hands_over_at_once", route)
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("tracks::a_service_that_stops_hands_over", service)
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("tracks::a_number_in_a_file_demotes_by_it", file)
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("tracks::a_command_that_fails_hands_over", command)
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new(
                "tracks::a_prober_is_one_user_and_ends_with_what_it_started",
                prober,
            )
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new(
                "tracks::a_prober_that_is_killed_comes_again_and_nothing_runs_twice",
                prober_killed,
            )
        },
        Case {
            limit: Duration::from_mins(1),
            ..Case::new("tracks::what_a_hook_answers_hands_over", hook)
        },
        Case::new(
            "tracks::a_reload_with_the_same_result_changes_no_state",
            reload,
        ),
    ]
}

const UPLINK: &str =
    "[track.uplink]\nkind = \"link\"\ninterface = \"up0\"\nall-vhosts = true\ndemote = \"fault\"\n";

fn tracked() -> Carpd {
    Carpd::new("a").preempts().more(UPLINK)
}

/// A pair of interfaces: the one that is tracked, and what takes its carrier away.
fn with_uplink(lab: &Lab) -> Result<(), Failed> {
    sh(
        lab,
        "a",
        "ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up",
    )?;
    Ok(())
}

fn fault() -> Outcome {
    let lab = lan(&["a", "b"])?;
    with_uplink(&lab)?;
    let mut a = tracked().start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    for (break_it, mend, says) in [
        (
            "ip link set up1 down",
            "ip link set up1 up",
            "has no carrier",
        ),
        ("ip link set up0 down", "ip link set up0 up", "is set down"),
        (
            "ip link del up0",
            "ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up",
            "does not exist",
        ),
    ] {
        sh(&lab, "a", break_it)?;
        let left = a.wait_state("init", SOON)?;
        assert_eq!(left.text("cause"), "track");
        let took = b.wait_state("master", SOON)?;
        assert_eq!(took.text("cause"), "master-leaving");
        let took_ms = took.at.since(left.at).as_millis();
        assert!(took_ms < 500, "{took_ms} ms");
        takes_hold(&lab, "b")?;
        lets_go(&lab, "a")?;
        let on_a = |verb: &str| {
            sh(
                &lab,
                "a",
                &format!("{CARPD} {verb} --config /run/lab/carpd.toml"),
            )
        };
        let status = on_a("status")?.join("\n");
        let wanted = format!("track uplink: up0 {says}");
        assert!(
            status.contains(&format!("not taking part: {wanted}")),
            "{status}"
        );
        assert!(
            status.contains("track uplink (link up0): down since"),
            "{status}"
        );
        let why = on_a("why")?.join("\n");
        assert!(why.contains(says), "{why}");
        let metrics = on_a("metrics")?.join("\n");
        assert!(
            metrics.contains("carpd_track_up{track=\"uplink\"} 0"),
            "{metrics}"
        );
        sh(&lab, "a", mend)?;
        a.wait_state("backup", Duration::from_secs(30))?;
        a.wait_state("master", Duration::from_secs(30))?;
    }
    a.stop()?;
    b.stop()
}

fn reload() -> Outcome {
    let lab = lan(&["a"])?;
    with_uplink(&lab)?;
    let mut a = tracked().start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let before = a.states().len();
    // Another name for the same, one more, and none.
    let renamed = UPLINK.replace("uplink", "wan");
    let more = format!("{UPLINK}{}", renamed.replace("up0", "up1"));
    for tracks in [renamed.as_str(), more.as_str(), ""] {
        a.reload(&lab, &Carpd::new("a").preempts().more(tracks))?;
    }
    assert_eq!(a.states().len(), before);
    // One that is down is obeyed when the reload brings it.
    sh(&lab, "a", "ip link set up1 down")?;
    a.reload(&lab, &tracked())?;
    assert_eq!(a.states().last().map(String::as_str), Some("init"));
    a.stop()
}

const SERVER: &str = "[track.db]\nkind = \"tcp\"\nconnect = \"192.168.32.50:7777\"\ninterval = \"100ms\"\n\
     fall = 2\nall-vhosts = true\n";

fn tcp() -> Outcome {
    let lab = lan(&["a", "b"])?;
    // Nobody listens yet: it does not take part, and says why.
    let mut a = Carpd::new("a").preempts().more(SERVER).start(&lab)?;
    a.wait_says("A track is down", SOON)?;
    assert!(a.states().is_empty(), "{:?}", a.states());
    let status = format!("{CARPD} status --config /run/lab/carpd.toml");
    let said = sh(&lab, "a", &status)?.join("\n");
    assert!(
        said.contains("not taking part: track db: refused: 192.168.32.50:7777"),
        "{said}"
    );
    let server = steady::serve(&lab, "client")?;
    a.wait_state("master", TAKEOVER + SOON)?;
    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    server.signal(Signal::SIGKILL)?;
    let left = a.wait_state("init", SOON)?;
    assert_eq!(left.text("cause"), "track");
    let took = b.wait_state("master", SOON)?;
    assert_eq!(took.text("cause"), "master-leaving");
    let _server = steady::serve(&lab, "client")?;
    a.wait_state("master", TAKEOVER + SOON)?;
    // An edit of how it is asked changes no state.
    let before = a.states().len();
    let slower = SERVER.replace("100ms", "200ms");
    a.reload(&lab, &Carpd::new("a").preempts().more(&slower))?;
    assert_eq!(a.states().len(), before);
    a.stop()?;
    b.stop()
}

/// What the node's own command says.
fn said(lab: &Lab, host: &str, verb: &str) -> Result<String, Failed> {
    let command = format!("{CARPD} {verb} --config /run/lab/carpd.toml");
    Ok(sh(lab, host, &command)?.join("\n"))
}

fn failed(host: &str, error: &Failed) -> LabError {
    LabError::Host {
        host: host.to_owned(),
        message: error.to_string(),
    }
}

/// Waits until it says so.
fn until_said(lab: &Lab, host: &str, verb: &str, wanted: &str) -> Outcome {
    let what = format!("`carpd {verb}` on {host} to say {wanted:?}");
    Ok(lab.until(&what, SOON, || {
        let said = said(lab, host, verb).map_err(|error| failed(host, &error))?;
        Ok(said.contains(wanted).then_some(()))
    })?)
}

fn file() -> Outcome {
    let lab = lan(&["a", "b"])?;
    // An interval that plays no part: the kernel's events do.
    let track = "[track.ops]\nkind = \"file\"\npath = \"/run/lab/ops\"\ninterval = \"1h\"\ndemote = 2\n\
                 all-vhosts = true\n";
    let node = Carpd::new("a").preempts().more(track);
    let mut a = node.start(&lab)?;
    // A file that is missing is no fault.
    a.wait_state("master", TAKEOVER)?;
    let mut b = Carpd::new("b").preempts().advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    // 20 is less than 50; 60 is not.
    sh(&lab, "a", "echo 10 > /run/lab/ops")?;
    until_said(&lab, "a", "status", "demotion 20: the file holds 10")?;
    takes_hold(&lab, "a")?;
    sh(
        &lab,
        "a",
        "echo 30 > /run/lab/new && mv /run/lab/new /run/lab/ops",
    )?;
    b.wait_state("master", TAKEOVER)?;
    a.wait_state("backup", SOON)?;
    until_said(&lab, "a", "status", "demotion 60: the file holds 30")?;
    let metrics = said(&lab, "a", "metrics")?;
    assert!(
        metrics.contains("carpd_track_up{track=\"ops\"} 0"),
        "{metrics}"
    );
    sh(&lab, "a", "rm /run/lab/ops")?;
    a.wait_state("master", TAKEOVER)?;
    // What is no number is as bad as can be.
    sh(&lab, "a", "echo maintenance > /run/lab/ops")?;
    b.wait_state("master", TAKEOVER)?;
    until_said(
        &lab,
        "a",
        "status",
        "demotion 240: it holds \"maintenance\"",
    )?;
    let rest = Carpd::new("a").preempts();
    a.reload(&lab, &rest)?;
    a.wait_state("master", TAKEOVER)?;
    // As a fault it hands over at once.
    sh(&lab, "a", "echo 0 > /run/lab/ops")?;
    a.reload(&lab, &rest.more(&track.replace("demote = 2\n", "")))?;
    until_said(&lab, "a", "status", "track ops (file /run/lab/ops): up")?;
    sh(&lab, "a", "echo 1 > /run/lab/ops")?;
    let left = a.wait_state("init", SOON)?;
    assert_eq!(left.text("cause"), "track");
    let took = b.wait_state("master", SOON)?;
    assert_eq!(took.text("cause"), "master-leaving");
    a.stop()?;
    b.stop()
}

fn command() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let script = "[ ! -e /run/lab/broken ] || { echo first; echo $WHAT $(id -un); exit 3; }";
    let track = format!(
        "[track.app]\nkind = \"command\"\nargv = [\"/bin/sh\", \"-c\", '{script}']\n\
         environment = [\"WHAT=the app fails for\"]\ninterval = \"100ms\"\nfall = 2\nall-vhosts = true\n"
    );
    // It fails at the start: it does not take part.
    sh(&lab, "a", "touch /run/lab/broken")?;
    let mut a = Carpd::new("a").preempts().more(&track).start(&lab)?;
    a.wait_says("A track is down", SOON)?;
    assert!(a.states().is_empty(), "{:?}", a.states());
    sh(&lab, "a", "rm /run/lab/broken")?;
    a.wait_state("master", TAKEOVER + SOON)?;
    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    sh(&lab, "a", "touch /run/lab/broken")?;
    let left = a.wait_state("init", SOON)?;
    assert_eq!(left.text("cause"), "track");
    let took = b.wait_state("master", SOON)?;
    assert_eq!(took.text("cause"), "master-leaving");
    let why = "track app: exit status 3: the app fails for nobody";
    let status = said(&lab, "a", "status")?;
    assert!(
        status.contains(&format!("not taking part: {why}")),
        "{status}"
    );
    assert!(status.contains("it wrote: first"), "{status}");
    let history = said(&lab, "a", "why")?;
    assert!(history.contains("exit status 3"), "{history}");
    sh(&lab, "a", "rm /run/lab/broken")?;
    a.wait_state("master", TAKEOVER + SOON)?;
    // One that hangs is killed, which is a failure like any other.
    let hangs = track
        .replace("exit 3", "exec sleep 99")
        .replace("interval", "timeout = \"200ms\"\ninterval");
    let before = a.states().len();
    a.reload(&lab, &Carpd::new("a").preempts().more(&hangs))?;
    assert_eq!(a.states().len(), before);
    sh(&lab, "a", "touch /run/lab/broken")?;
    a.wait_state("init", SOON)?;
    let status = said(&lab, "a", "status")?;
    assert!(
        status.contains("did not end within 0.2 s and was killed"),
        "{status}"
    );
    a.stop()?;
    b.stop()
}

fn prober() -> Outcome {
    let lab = lan(&["a"])?;
    let track = |name: &str, user: &str, script: &str| {
        format!(
            "[track.{name}]\nkind = \"command\"\nargv = [\"/bin/sh\", \"-c\", '{script}']\nuser = \"{user}\"\n\
             interval = \"200ms\"\nall-vhosts = true\ndemote = 10\n"
        )
    };
    // The groups, the capabilities and the kernel's flag of who runs there.
    let shows = "grep -E \"^(Uid|Gid|CapEff|CapBnd|NoNewPrivs)\" /proc/self/status | tr \"\\n\\t\" \"  \"; exit 1";
    let config = [
        track("n", "nobody", shows),
        track("r", "root", shows),
        track("x", "no-such-user", "true"),
        track("s", "nobody", "exec sleep 98765"),
    ]
    .concat();
    let mut a = Carpd::new("a").more(&config).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    until_said(&lab, "a", "status", "there is no user no-such-user")?;
    until_said(&lab, "a", "status", "track r (command")?;
    let status = said(&lab, "a", "status")?;
    let of = |name: &str| {
        let start = format!("track {name} (command");
        let line = status.lines().find(|line| line.contains(&start));
        line.unwrap_or_default().to_owned()
    };
    let nobody = of("n");
    assert!(nobody.contains("Uid: 65534 65534 65534 65534"), "{nobody}");
    assert!(nobody.contains("CapEff: 0000000000000000"), "{nobody}");
    assert!(nobody.contains("CapBnd: 0000000000000000"), "{nobody}");
    assert!(nobody.contains("NoNewPrivs: 1"), "{nobody}");
    let root = of("r");
    assert!(root.contains("Uid: 0 0 0 0"), "{root}");
    assert!(root.contains("NoNewPrivs: 1"), "{root}");
    let sleeping = || sh(&lab, "a", "pgrep -fx \"sleep 98765\" || true");
    lab.until("the command to run", SOON, || {
        let running = sleeping().map_err(|error| failed("a", &error))?;
        Ok((!running.is_empty()).then_some(()))
    })?;
    a.stop()?;
    assert_eq!(sleeping()?, Vec::<String>::new());
    Ok(())
}

/// The prober is killed: no state changes, what its commands have started does not run beside the
/// next ones, and the tracks go on.
fn prober_killed() -> Outcome {
    let lab = lan(&["a"])?;
    let track = |name: &str, script: &str, more: &str| {
        format!(
            "[track.{name}]\nkind = \"command\"\nargv = [\"/bin/sh\", \"-c\", '{script}']\n\
             interval = \"200ms\"\nall-vhosts = true\n{more}"
        )
    };
    let config = [
        track("app", "[ ! -e /run/lab/broken ]", "fall = 2\n"),
        // The shell waits for it, so it is not the prober's own child.
        track(
            "slow",
            "sleep 98764; true",
            "timeout = \"1m\"\ndemote = 10\n",
        ),
        "[track.up]\nkind = \"process\"\nprocess = \"carpd-engine\"\nuser = \"root\"\n\
         all-vhosts = true\n"
            .to_owned(),
    ]
    .concat();
    let mut a = Carpd::new("a").preempts().more(&config).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let sleeping = || sh(&lab, "a", "pgrep -fx \"sleep 98764\" || true");
    let runs = |other: &[String]| {
        lab.until("the command to run, and once", SOON, || {
            let running = sleeping().map_err(|error| failed("a", &error))?;
            Ok((running.len() == 1 && running != other).then_some(running))
        })
    };
    let mut before = runs(&[])?;
    for _ in 0..2 {
        sh(&lab, "a", "pkill -9 -x carpd-prober")?;
        a.wait_says("A prober process died; restarting it", SOON)?;
        before = runs(&before)?;
    }
    let status = said(&lab, "a", "status")?;
    assert!(status.contains("web: master"), "{status}");
    assert_eq!(a.states().last().map(String::as_str), Some("master"));
    sh(&lab, "a", "touch /run/lab/broken")?;
    a.wait_state("init", SOON)?;
    sh(&lab, "a", "rm /run/lab/broken")?;
    a.wait_state("master", TAKEOVER + SOON)?;
    a.stop()?;
    assert_eq!(sleeping()?, Vec::<String>::new());
    Ok(())
}

/// The argument that makes this program a web server.
pub(crate) const WEB: &str = "--web";

/// Where it finds the status that it answers with.
const STATUS: &str = "/run/lab/status";

/// A web server with one page.
pub(crate) fn run_web() -> ExitCode {
    let Ok(listener) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)) else {
        return ExitCode::FAILURE;
    };
    println!("listens");
    let mut waiting = Vec::new();
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let lines = BufReader::new(&stream).lines();
        let request: Vec<String> = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        if request
            .first()
            .is_none_or(|line| !line.ends_with(" /health HTTP/1.1"))
        {
            continue;
        }
        let status = std::fs::read_to_string(STATUS).unwrap_or_default();
        // The page is large, and slow to come: only its status counts.
        let is_get = request.first().is_some_and(|line| line.starts_with("GET"));
        let answer = format!(
            "HTTP/1.1 {} x\r\nContent-Length: {}\r\n\r\n",
            status.trim(),
            if is_get { 1_000_000_000 } else { 0 }
        );
        _ = stream.write_all(answer.as_bytes());
        waiting.push(stream);
    }
    ExitCode::SUCCESS
}

/// Three times there and back: each time the master lets go, and takes over again.
fn to_and_fro(
    track: &str,
    says: &str,
    (lab, broken, mended): (&Lab, &dyn Fn() -> Outcome, &dyn Fn() -> Outcome),
) -> Outcome {
    let mut a = Carpd::new("a").preempts().more(track).start(lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = Carpd::new("b").advskew(50).start(lab)?;
    b.wait_state("backup", SOON)?;
    for _ in 0..2 {
        broken()?;
        let left = a.wait_state("init", SOON)?;
        assert_eq!(left.text("cause"), "track");
        let took = b.wait_state("master", SOON)?;
        assert_eq!(took.text("cause"), "master-leaving");
        until_said(lab, "a", "status", &format!("not taking part: {says}"))?;
        mended()?;
        a.wait_state("master", TAKEOVER + SOON)?;
        b.wait_state("backup", SOON)?;
    }
    // All of it is one process, however often it looks.
    let probers = sh(lab, "a", "pgrep -cx 'carpd-(net)?prober'")?;
    assert_eq!(probers, ["1"]);
    a.stop()?;
    b.stop()
}

fn http() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let answers = |status: u16| sh(&lab, "client", &format!("echo {status} > {STATUS}")).map(drop);
    answers(204)?;
    let mut server = lab.host("client").spawn(&[PROGRAM, WEB])?;
    server.wait_line("its start", SOON, |line| line == "listens")?;
    let track = "[track.web]\nkind = \"http\"\nurl = \"http://192.168.32.50:8080/health\"\n\
                 interval = \"100ms\"\nfall = 2\nall-vhosts = true\n";
    to_and_fro(
        track,
        "track web: status 503",
        (&lab, &|| answers(503), &|| answers(204)),
    )
}

fn icmp() -> Outcome {
    let lab = dual_lan(&["a", "b"])?;
    let ignored = |value: u8| {
        let set = format!(
            "echo {value} > /proc/sys/net/ipv4/icmp_echo_ignore_all; \
             echo {value} > /proc/sys/net/ipv6/icmp/echo_ignore_all"
        );
        sh(&lab, "client", &set).map(drop)
    };
    for host in ["192.168.32.50", "2001:db8::50"] {
        let track = format!(
            "[track.gw]\nkind = \"icmp\"\nhost = \"{host}\"\ninterval = \"100ms\"\ntimeout = \"200ms\"\n\
             fall = 2\nall-vhosts = true\n"
        );
        let says = format!("track gw: no echo from {host}: no answer after 0.2 s");
        to_and_fro(&track, &says, (&lab, &|| ignored(1), &|| ignored(0)))?;
    }
    Ok(())
}

fn process() -> Outcome {
    let lab = lan(&["a", "b"])?;
    // Longer than the kernel keeps it.
    let program = "/run/lab/a-program-of-theirs";
    sh(&lab, "a", &format!("cp /bin/sleep {program}"))?;
    let start = || lab.host("a").spawn(&[program, "999"]);
    let running = std::cell::RefCell::new(start()?);
    let stop = || Ok(running.borrow().signal(Signal::SIGKILL)?);
    let again = || {
        *running.borrow_mut() = start()?;
        Ok(())
    };
    // Its start is looked for, its end is an event.
    let track = "[track.app]\nkind = \"process\"\nprocess = \"a-program-of-theirs\"\ninterval = \"300ms\"\n\
                 all-vhosts = true\n";
    to_and_fro(
        track,
        "track app: no process is called a-program-of-theirs",
        (&lab, &stop, &again),
    )
}

fn route() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let add = || sh(&lab, "a", "ip route add 198.51.100.0/24 via 192.168.32.50").map(drop);
    let delete = || sh(&lab, "a", "ip route del 198.51.100.0/24").map(drop);
    add()?;
    // An interval that plays no part: the kernel's events do.
    let track = "[track.way]\nkind = \"route\"\nto = \"198.51.100.9\"\nvia = \"192.168.32.50\"\ninterface = \"eth0\"\n\
                 interval = \"1h\"\nall-vhosts = true\n";
    to_and_fro(
        track,
        "track way: there is no route to 198.51.100.9",
        (&lab, &delete, &add),
    )?;
    let change = || {
        let other = "ip route replace 198.51.100.0/24 via 192.168.32.33";
        sh(&lab, "a", other).map(drop)
    };
    let back = || {
        let back = "ip route replace 198.51.100.0/24 via 192.168.32.50";
        sh(&lab, "a", back).map(drop)
    };
    to_and_fro(
        track,
        "track way: the route to 198.51.100.9 leads through 192.168.32.33",
        (&lab, &change, &back),
    )
}

fn service() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let service = |verb: &str| sh(&lab, "a", &format!("service httpd {verb}")).map(drop);
    service("start")?;
    let track = "[track.web]\nkind = \"service\"\nunit = \"httpd\"\nuser = \"root\"\ninterval = \"200ms\"\nfall = 2\nall-vhosts = true\n";
    to_and_fro(
        track,
        "track web: httpd is not running",
        (&lab, &|| service("stop"), &|| service("start")),
    )
}

/// A hook that looks by a program and by a POST, which its grants mark as harmless.
fn hook() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let answers = |status: u16| sh(&lab, "client", &format!("echo {status} > {STATUS}")).map(drop);
    answers(200)?;
    let mut server = lab.host("client").spawn(&[PROGRAM, WEB])?;
    server.wait_line("its start", SOON, |line| line == "listens")?;
    let health = "function health()\n  local ran = command.run('look')\n\
                  if ran.status ~= 0 then return false, 'look ended with ' .. ran.status end\n\
                  local said = http.post('http://192.168.32.50:8080/health', 'well?')\n\
                  return said.status == 200, 'the server says ' .. said.status\nend";
    sh(
        &lab,
        "a",
        &format!("cat > /run/lab/app.lua <<'END'\n{health}\nEND"),
    )?;
    let track = "[track.app]\nkind = \"hook\"\nhook = \"app\"\ninterval = \"100ms\"\nfall = 2\nall-vhosts = true\n\
                 [hook.app]\nsource = \"app.lua\"\n[hook.app.grant]\n\
                 command.look = { argv = [\"/bin/sh\", \"-c\", \"test ! -e /run/lab/broken\"], query = true }\n\
                 http = [{ url = \"http://192.168.32.50:8080/health\", do = [\"post\"], query = true }]\n";
    let mut a = Carpd::new("a").preempts().more(track).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    for (breaks, mends, says) in [
        (
            "touch /run/lab/broken",
            "rm /run/lab/broken",
            "look ended with 1",
        ),
        ("", "", "the server says 503"),
    ] {
        if breaks.is_empty() {
            answers(503)?;
        } else {
            sh(&lab, "a", breaks)?;
        }
        let left = a.wait_state("init", SOON)?;
        assert_eq!(left.text("cause"), "track");
        b.wait_state("master", SOON)?;
        until_said(
            &lab,
            "a",
            "status",
            &format!("not taking part: track app: {says}"),
        )?;
        if mends.is_empty() {
            answers(200)?;
        } else {
            sh(&lab, "a", mends)?;
        }
        a.wait_state("master", TAKEOVER + SOON)?;
        b.wait_state("backup", SOON)?;
    }
    // What is asked again and again does not fill the log.
    assert!(!a.text().contains("Applied an effect"), "{}", a.text());
    // Without the mark neither is done.
    let unmarked = track.replace(", query = true", "");
    let plain = Carpd::new("a").preempts().more(&unmarked);
    plain.write(&lab)?;
    let check = lab
        .host("a")
        .run(&[CARPD, "check", "/run/lab/carpd.toml"], SOON)?;
    let said = [check.stdout.join("\n"), check.stderr.join("\n")].concat();
    assert!(
        said.contains("command.run: health is read-only, and this changes something, unless its grant has `query = true`"),
        "{said}"
    );
    a.stop()?;
    b.stop()
}
