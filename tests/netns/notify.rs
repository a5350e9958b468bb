//! Notifications by real daemons, to servers and programs that are as bad as can be.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use carpd::lab::{Lab, LabError, PROGRAM, Process};
use serde_json::Value;

use crate::rig::{CARPD, Carpd, Failed, SOON, TAKEOVER, lan, sh};
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    let long = |name, run| Case {
        limit: Duration::from_mins(2),
        ..Case::new(name, run)
    };
    vec![
        long(
            "notify::no_target_however_bad_delays_a_failover",
            bad_targets,
        ),
        long("notify::a_server_that_comes_later_is_told_later", later),
        Case::new("notify::webhook_mail_and_command_are_told", told),
        long("notify::each_kind_of_event_is_told_in_words", kinds),
        Case::new("notify::a_flood_is_held_back_and_counted", flood),
        Case::new("notify::a_reload_changes_the_targets", reload),
    ]
}

/// The argument that makes this program a web server of all manners.
pub(crate) const SERVER: &str = "--manners";

const PORT: u16 = 8082;

/// What no status, log or metric may show.
const SECRET: &str = "gr8-secret-token";

/// A web server that behaves as the path of each request says, and prints what it is told.
pub(crate) fn run_server() -> ExitCode {
    let Ok(listener) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)) else {
        return ExitCode::FAILURE;
    };
    println!("listens");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || answer(stream));
    }
    ExitCode::SUCCESS
}

fn answer(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    let head: Vec<String> = (&mut reader)
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let header = |name: &str| {
        let mut lines = head.iter().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    };
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    _ = reader.read_exact(&mut body);
    let request = head.first().cloned().unwrap_or_default();
    println!(
        "{request} [{}] {}",
        header("authorization"),
        String::from_utf8_lossy(&body)
    );
    let path = request.split(' ').nth(1).unwrap_or_default();
    let manner = path.split(['/', '?']).nth(1).unwrap_or_default();
    let ok = "HTTP/1.1 200 OK\r\n";
    let answer = match manner {
        "ok" => format!("{ok}Content-Length: 4\r\n\r\nfine"),
        "echo" => format!(
            "HTTP/1.1 403 x\r\nConnection: close\r\n\r\nno: {}",
            header("authorization")
        ),
        "short" => format!("{ok}Content-Length: 100\r\n\r\nabc"),
        "long" => format!("{ok}Content-Length: 1\r\n\r\n{}", "x".repeat(100_000)),
        "500" => "HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "redirect" => format!(
            "HTTP/1.1 302 x\r\nLocation: http://192.168.32.50:{PORT}/elsewhere\r\nContent-Length: 0\r\n\r\n"
        ),
        "garbage" => "\u{1b}[2J all is well\r\n\r\n".to_owned(),
        "endless" => format!("{ok}\r\n"),
        "headers" => ok.to_owned(),
        // Closes early.
        "close" => return,
        // Never answers.
        _ => String::new(),
    };
    if stream.write_all(answer.as_bytes()).is_err() {
        return;
    }
    let line = match manner {
        "endless" => "x".repeat(4096),
        "headers" => format!("X: {}\r\n", "x".repeat(4096)),
        "slow" => {
            // Until the client has had enough.
            while matches!(reader.read(&mut [0; 64]), Ok(1..)) {}
            return;
        }
        _ => return,
    };
    while stream.write_all(line.as_bytes()).is_ok() {}
}

fn server(lab: &Lab) -> Result<Process, Failed> {
    let mut server = lab.host("client").spawn(&[PROGRAM, SERVER])?;
    server.wait_line("its start", SOON, |line| line == "listens")?;
    Ok(server)
}

fn webhook(manner: &str) -> String {
    format!(
        "[notify.{manner}]\nkind = \"webhook\"\nurl = \"http://192.168.32.50:{PORT}/{manner}\"\ntimeout = \"1s\"\n"
    )
}

fn on(lab: &Lab, host: &str, verb: &str) -> Result<String, Failed> {
    let script = format!("{CARPD} {verb} --config /run/lab/carpd.toml 2>&1");
    Ok(sh(lab, host, &script)?.join("\n"))
}

/// The same of an order that may fail.
fn tries(lab: &Lab, host: &str, verb: &str) -> Result<String, Failed> {
    let script = format!("{CARPD} {verb} --config /run/lab/carpd.toml 2>&1 || true");
    Ok(sh(lab, host, &script)?.join("\n"))
}

/// Something to tell, of which the answer does not matter.
fn maintain(lab: &Lab) -> Outcome {
    let order = format!("{CARPD} maintenance on web --force --config /run/lab/carpd.toml");
    sh(lab, "a", &format!("timeout 2 {order} || true")).map(drop)
}

/// The status of a target.
fn status(lab: &Lab, host: &str, target: &str) -> Result<Value, Failed> {
    let status: Value = serde_json::from_str(&on(lab, host, "status --json")?)?;
    let targets = status["notify"].as_array().cloned().unwrap_or_default();
    let found = targets.into_iter().find(|one| one["name"] == target);
    Ok(found.unwrap_or_default())
}

/// Waits until the status of a target is as wanted.
fn until(
    lab: &Lab,
    host: &str,
    target: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value, Failed> {
    let looked = || {
        let status = status(lab, host, target).map_err(|error| LabError::Io {
            what: target.to_owned(),
            source: std::io::Error::other(error.to_string()),
        })?;
        Ok(wanted(&status).then_some(status))
    };
    Ok(lab.until(&format!("the status of {target}"), TAKEOVER * 3, looked)?)
}

fn told() -> Outcome {
    let lab = lan(&["a"])?;
    let mut server = server(&lab)?;
    let a = lab.host("a");
    a.write("/run/lab/token", 0o600, &format!("{SECRET}\n"))?;
    let keep = "#!/bin/sh\n{ echo \"$0 $*\"; id -un; env | sort; cat; } > /run/lab/kept/$$.part && mv /run/lab/kept/$$.part /run/lab/kept/${0##*/}\n";
    for program in ["mailer", "pager"] {
        a.write(&format!("/run/lab/{program}"), 0o755, keep)?;
    }
    sh(
        &lab,
        "a",
        "mkdir /run/lab/kept && chmod 777 /run/lab/kept && chmod 755 /run/lab",
    )?;
    let only = "events = [\"transition\"]\nto = [\"master\"]\n";
    let targets = format!(
        "[notify.hook]\nkind = \"webhook\"\nurl = \"http://192.168.32.50:{PORT}/ok/${{secret}}?e=${{event}}\"\n\
         headers = [\"Authorization: Bearer ${{secret}}\"]\nsecret-file = \"/run/lab/token\"\n{only}\n\
         [notify.post]\nkind = \"mail\"\nrecipients = [\"ops@example.net\"]\nsender = \"carp@example.net\"\nsendmail = \"/run/lab/mailer\"\n{only}\n\
         [notify.page]\nkind = \"command\"\nargv = [\"/run/lab/pager\", \"now\"]\nenvironment = [\"TEAM=net\"]\n{only}\n"
    );
    let mut daemon = Carpd::new("a").more(&targets).start(&lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    let request = server.wait_line("the request", SOON, |line| line.starts_with("POST"))?;
    let wanted = format!("POST /ok/{SECRET}?e=transition HTTP/1.1 [Bearer {SECRET}] ");
    let body = request.text.strip_prefix(&wanted);
    let body = body.ok_or_else(|| format!("{:?}", request.text))?;
    let event: Value = serde_json::from_str(body)?;
    for (key, value) in [
        ("event", "transition"),
        ("vhost", "web"),
        ("from", "backup"),
        ("to", "master"),
        ("cause", "master-down"),
        ("severity", "info"),
    ] {
        assert_eq!(event[key], value, "{event}");
    }
    for target in ["hook", "post", "page"] {
        let status = until(&lab, "a", target, |status| status["sent"] == 1)?;
        assert_eq!(status["failed"], 0, "{status}");
    }
    let post = a.read("/run/lab/kept/mailer")?;
    for line in [
        "/run/lab/mailer -i -f carp@example.net ops@example.net\nnobody\n",
        "\nTo: ops@example.net\n",
        "\nSubject: [carpd] ",
        "web: backup -> master: ",
        "\nAuto-Submitted: auto-generated\n",
    ] {
        assert!(post.contains(line), "{line}: {post}");
    }
    let page = a.read("/run/lab/kept/pager")?;
    for line in [
        "/run/lab/pager now\nnobody\n",
        "\nCARPD_EVENT=transition\n",
        "\nCARPD_TARGET=page\n",
        "\nCARPD_TO=master\n",
        "\nTEAM=net\n",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let json = page.lines().last().unwrap_or_default();
    let event: Value = serde_json::from_str(json)?;
    assert_eq!(event["vhost"], "web");
    // A test is told whatever the target wants.
    let said = on(&lab, "a", "notify test")?;
    for line in [
        "hook (webhook 192.168.32.50:8082): ok after ",
        "status 200: fine",
        "page (command /run/lab/pager): ok after ",
        "post (mail ops@example.net): ok after ",
        "exit status 0",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let unknown = tries(&lab, "a", "notify test nobody")?;
    assert!(
        unknown.contains("no target is called nobody; there are: hook, page, post"),
        "{unknown}"
    );
    let shown = on(&lab, "a", "status --long")? + &on(&lab, "a", "metrics")? + &daemon.text();
    for line in [
        "notify hook (webhook 192.168.32.50:8082): 2 sent, 0 failed, 0 held back, 0 waiting",
        "carpd_notifications_total{target=\"hook\",outcome=\"sent\"} 2",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(!shown.contains(SECRET), "{shown}");
    daemon.stop()
}

const TROUBLED: &str =
    "function on_master() error('no such service') end\nfunction health() error('too warm') end\n";
const MENDED: &str = "function on_master() end\nfunction health() return true end\n";
const HEALTH: &str =
    "health = { interval = \"1s\", fall = 1, rise = 1, on-failure = \"demote\", demotion = 10 }\n";

/// The events of a target that appends each to a file, one in a line.
fn kept(lab: &Lab) -> Vec<Value> {
    let text = lab.host("a").read("/run/lab/kept/events");
    let text = text.unwrap_or_default();
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Waits until it has been told such an event.
fn wait_kept(lab: &Lab, kind: &str) -> Outcome {
    let found = lab.until(&format!("{kind} to be told"), TAKEOVER * 2, || {
        let is_told = kept(lab).iter().any(|event| event["event"] == kind);
        Ok(is_told.then_some(()))
    });
    found.map_err(|error| format!("{error}: {:#?}", kept(lab)).into())
}

fn kinds() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let keep = "#!/bin/sh\n{ cat; echo; } >> /run/lab/kept/events\n";
    lab.host("a").write("/run/lab/keep", 0o755, keep)?;
    sh(
        &lab,
        "a",
        "mkdir /run/lab/kept && chmod 777 /run/lab/kept && chmod 755 /run/lab && \
         ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up",
    )?;
    let more = "[notify.all]\nkind = \"command\"\nargv = [\"/run/lab/keep\"]\nrate = 600\n\
        [track.up]\nkind = \"link\"\ninterface = \"up0\"\nall-vhosts = true\ndemote = 10\n";
    let node = Carpd::new("a").more(more);
    let mut a = node.clone().hook(TROUBLED, HEALTH).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    for kind in ["hook-failed", "degraded", "unhealthy"] {
        wait_kept(&lab, kind)?;
    }
    a.reload(&lab, &node.hook(MENDED, HEALTH))?;
    for kind in ["recovered", "healthy"] {
        wait_kept(&lab, kind)?;
    }
    sh(&lab, "a", "ip link set up1 down")?;
    wait_kept(&lab, "track-down")?;
    sh(&lab, "a", "ip link set up1 up")?;
    wait_kept(&lab, "track-up")?;
    // Another one with another password.
    let b = Carpd::new("b").set("password-file", "\"/run/lab/other.pass\"");
    lab.host("b")
        .write("/run/lab/other.pass", 0o600, "other\n")?;
    let mut b = b.start(&lab)?;
    b.wait_state("master", TAKEOVER)?;
    for kind in ["peer-refused", "split", "conflict"] {
        wait_kept(&lab, kind)?;
    }
    b.stop()?;
    maintain(&lab)?;
    wait_kept(&lab, "maintenance-begun")?;
    on(&lab, "a", "maintenance off web")?;
    wait_kept(&lab, "maintenance-ended")?;
    let tree = crate::tree::Tree::of(&lab, "a", &a)?;
    tree.signal(tree.engine()?, nix::sys::signal::Signal::SIGKILL)?;
    wait_kept(&lab, "crashed")?;
    let all = kept(&lab);
    let mac = crate::rig::mac(&lab, "b")?.to_string();
    for (kind, severity, text, key, value) in [
        (
            "transition",
            "info",
            "web: init -> backup: start",
            "cause",
            "startup",
        ),
        (
            "hook-failed",
            "warning",
            "web: hook h failed in on_master: ",
            "hook",
            "h",
        ),
        ("degraded", "warning", "web: degraded: ", "vhost", "web"),
        (
            "recovered",
            "info",
            "web: no longer degraded",
            "vhost",
            "web",
        ),
        (
            "unhealthy",
            "warning",
            "web: unhealthy: hook h: ",
            "hook",
            "h",
        ),
        (
            "healthy",
            "info",
            "web: hook h says that it is healthy again",
            "hook",
            "h",
        ),
        ("track-down", "warning", "track up is down: ", "track", "up"),
        ("track-up", "info", "track up is up again", "track", "up"),
        (
            "peer-refused",
            "warning",
            "web: refused ",
            "cause",
            "digest",
        ),
        (
            "split",
            "warning",
            "web: split: 192.168.32.33 is master as well",
            "peer",
            "192.168.32.33",
        ),
        (
            "conflict",
            "warning",
            "web: another host, ",
            "peer",
            mac.as_str(),
        ),
        ("maintenance-begun", "info", "web: ", "vhost", "web"),
        (
            "maintenance-ended",
            "info",
            "web: no longer in maintenance",
            "vhost",
            "web",
        ),
        (
            "crashed",
            "warning",
            "the daemon's engine died and was started again: ",
            "severity",
            "warning",
        ),
    ] {
        let event = all.iter().find(|event| {
            let told = event["text"].as_str().unwrap_or_default();
            event["event"] == kind && told.starts_with(text)
        });
        let event = event.ok_or_else(|| format!("{kind}: {text}: {all:#?}"))?;
        assert_eq!(
            (&event["severity"], &event[key]),
            (&severity.into(), &value.into()),
            "{event}"
        );
        let said = event["text"].as_str().unwrap_or_default();
        assert!(said.len() > text.len() || !text.ends_with(": "), "{event}");
    }
    let says = |kind: &str, words: &str| {
        let is_it = |event: &&Value| event["event"] == kind && event.to_string().contains(words);
        assert!(
            all.iter().any(|event| is_it(&event)),
            "{kind}: {words}: {all:#?}"
        );
    };
    says("hook-failed", "no such service");
    says("unhealthy", "too warm");
    says("split", "another password");
    says("crashed", "SIGKILL");
    a.stop()
}

fn bad_targets() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let server = server(&lab)?;
    let mut targets: String = [
        "ok", "slow", "short", "long", "endless", "headers", "close", "500", "redirect", "garbage",
    ]
    .map(webhook)
    .concat();
    targets += &format!(
        "[notify.echo]\nkind = \"webhook\"\nurl = \"http://192.168.32.50:{PORT}/echo\"\n\
         headers = [\"Authorization: Bearer ${{secret}}\"]\nsecret-file = \"/run/lab/token\"\n\
         [notify.down]\nkind = \"webhook\"\nurl = \"http://192.168.32.50:9/\"\n\
         [notify.nowhere]\nkind = \"webhook\"\nurl = \"http://192.168.32.99/\"\ntimeout = \"1s\"\n\
         [notify.hangs]\nkind = \"mail\"\nrecipients = [\"ops@example.net\"]\nsendmail = \"/run/lab/hangs\"\ntimeout = \"1s\"\n\
         [notify.dies]\nkind = \"command\"\nargv = [\"/bin/sh\", \"-c\", \"kill -SEGV $$\"]\n\
         [notify.gone]\nkind = \"command\"\nargv = [\"/run/lab/gone\"]\n"
    );
    for host in ["a", "b"] {
        let host = lab.host(host);
        host.write("/run/lab/token", 0o600, SECRET)?;
        let hangs = "#!/bin/sh\ntrap '' TERM HUP INT\nsleep 987 &\nsleep 987\n";
        host.write("/run/lab/hangs", 0o755, hangs)?;
    }
    sh(&lab, "a", "chmod 755 /run/lab")?;
    sh(&lab, "b", "chmod 755 /run/lab")?;
    let mut a = Carpd::new("a").more(&targets).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = Carpd::new("b").more(&targets).start(&lab)?;
    b.wait_state("backup", SOON)?;
    // While all of them fail, mastership goes to and fro.
    for round in 0..6 {
        let (name, from, to) = if round % 2 == 0 {
            ("a", &mut a, &mut b)
        } else {
            ("b", &mut b, &mut a)
        };
        for host in ["a", "b"] {
            on(&lab, host, "promote web")?;
        }
        on(&lab, name, "resign web --force")?;
        let left = from.wait_state("backup", SOON)?;
        let took = to.wait_state("master", SOON)?;
        let took_ms = took.at.since(left.at).as_millis();
        println!("round {round}: {took_ms} ms");
        assert!(took_ms < 300, "{took_ms} ms");
        assert_eq!(took.text("cause"), "master-leaving");
    }
    let said: Value = serde_json::from_str(&tries(&lab, "a", "notify test --json")?)?;
    let outcome = |target: &str| -> Result<String, Failed> {
        let all = said.as_array().ok_or("no list")?;
        let one = all.iter().find(|one| one["target"] == target);
        let one = one.ok_or_else(|| format!("{target}: {said}"))?;
        Ok(one["outcome"].to_string())
    };
    for (target, wanted) in [
        ("ok", "{\"Ok\":\"status 200: fine\"}"),
        // That it was told counts, however the answer goes on.
        ("short", "{\"Ok\":\"status 200: abc\"}"),
        ("long", "{\"Ok\":\"status 200"),
        ("endless", "{\"Ok\":\"status 200: xxx"),
        ("slow", "{\"Err\":\"timeout: "),
        ("headers", "{\"Err\":\"t"),
        ("close", "{\"Err\":\""),
        ("500", "{\"Err\":\"status 500\"}"),
        (
            "redirect",
            "{\"Err\":\"status 302: redirects are not followed\"}",
        ),
        ("garbage", "{\"Err\":\"protocol: "),
        ("echo", "{\"Err\":\"status 403: no: Bearer ***\"}"),
        ("down", "{\"Err\":\"refused: "),
        ("nowhere", "{\"Err\":\""),
        (
            "hangs",
            "{\"Err\":\"did not end within 1.0 s and was killed\"}",
        ),
        ("dies", "{\"Err\":\"killed by SIGSEGV\"}"),
        ("gone", "{\"Err\":\"cannot be started: No such file"),
    ] {
        let outcome = outcome(target)?;
        println!("{target}: {outcome}");
        assert!(outcome.starts_with(wanted), "{target}: {outcome}");
    }
    // What is refused for good is not tried again; the rest is.
    until(&lab, "a", "redirect", |status| {
        status["failed"].as_u64() > Some(1) && status["waiting"] == 0
    })?;
    let slow = until(&lab, "a", "slow", |status| {
        status["waiting"].as_u64() > Some(0)
    })?;
    assert_eq!(slow["sent"], 0, "{slow}");
    assert_eq!(slow["failing"], true, "{slow}");
    let lines = server.lines();
    let elsewhere = lines.iter().find(|line| line.text.contains("/elsewhere"));
    assert!(elsewhere.is_none(), "{elsewhere:?}");
    let shown = on(&lab, "a", "status --long")? + &a.text() + &b.text();
    assert!(!shown.contains(SECRET), "{shown}");
    a.stop()?;
    b.stop()?;
    let none_left = || {
        let script = "pgrep -c 'carpd-notifier|hangs'; pgrep -fc 'sleep 98[7]'; true";
        let left = sh(&lab, "a", script).unwrap_or_default();
        Ok::<_, LabError>((left == ["0", "0"]).then_some(()))
    };
    Ok(lab.until("nothing to be left", SOON, none_left)?)
}

fn later() -> Outcome {
    let lab = lan(&["a"])?;
    let once = webhook("ok").replace("[notify.ok]", "[notify.once]") + "retry-for = \"0s\"\n";
    let targets = webhook("ok") + &once;
    let mut a = Carpd::new("a").more(&targets).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let failing = |status: &Value| status["failing"] == true;
    until(&lab, "a", "ok", failing)?;
    // Once is enough for the other.
    until(&lab, "a", "once", |status| status["failed"] == 2)?;
    let mut server = server(&lab)?;
    let all = |status: &Value| status["sent"] == 2 && status["failing"] == false;
    let told = until(&lab, "a", "ok", all)?;
    assert_eq!(told["failed"], 0, "{told}");
    for state in ["\"to\":\"backup\"", "\"to\":\"master\""] {
        server.wait_line(state, SOON, |line| line.contains(state))?;
    }
    // What was given up is counted in the next message.
    maintain(&lab)?;
    server.wait_line("what was held back", SOON, |line| {
        line.contains("maintenance-begun") && line.contains("\"held_back\":2")
    })?;
    a.stop()
}

fn flood() -> Outcome {
    let lab = lan(&["a"])?;
    let mut server = server(&lab)?;
    sh(
        &lab,
        "a",
        "ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up",
    )?;
    let targets = format!(
        "{}rate = 2\nevents = [\"track-down\", \"track-up\"]\n\
         [track.up]\nkind = \"link\"\ninterface = \"up0\"\nall-vhosts = true\ndemote = 10\n",
        webhook("ok")
    );
    let mut a = Carpd::new("a").more(&targets).start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    for _ in 0..40 {
        sh(&lab, "a", "ip link set up1 down; ip link set up1 up")?;
    }
    let held = until(&lab, "a", "ok", |status| {
        status["held_back"].as_u64() > Some(10)
    })?;
    assert_eq!(held["sent"], 2, "{held}");
    assert_eq!(held["waiting"], 32, "{held}");
    server.wait_line("the first", SOON, |line| line.contains("track-down"))?;
    // A test does not wait.
    let said = on(&lab, "a", "notify test ok")?;
    assert!(said.contains("ok after"), "{said}");
    a.stop()
}

fn reload() -> Outcome {
    let lab = lan(&["a"])?;
    let mut server = server(&lab)?;
    let carpd = Carpd::new("a").more(&webhook("ok"));
    let mut a = carpd.start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    until(&lab, "a", "ok", |status| status["sent"] == 2)?;
    let other = "[notify.other]\nkind = \"command\"\nargv = [\"/bin/true\"]\n";
    let changed = webhook("ok").replace("/ok\"", "/ok/changed\"");
    a.reload(&lab, &carpd.clone().more(&format!("{other}{changed}")))?;
    for change in ["notify ok: changed", "notify other: added"] {
        a.wait(change, SOON, |entry| entry.text("change") == change)?;
    }
    // Its numbers go on.
    assert_eq!(status(&lab, "a", "ok")?["sent"], 2);
    maintain(&lab)?;
    server.wait_line("the new URL", SOON, |line| {
        line.starts_with("POST /ok/changed ") && line.contains("maintenance-begun")
    })?;
    until(&lab, "a", "other", |status| {
        status["sent"].as_u64() > Some(0)
    })?;
    // A secret that cannot be read: nothing changes.
    let broken = changed.replace(
        "/changed\"",
        "/changed\"\nsecret-file = \"/run/lab/missing\"",
    );
    carpd.clone().more(&broken).write(&lab)?;
    let refused = tries(&lab, "a", "reload")?;
    assert!(
        refused.contains("cannot read /run/lab/missing"),
        "{refused}"
    );
    a.reload(&lab, &carpd.clone().more(""))?;
    assert_eq!(status(&lab, "a", "ok")?, Value::Null);
    a.stop()
}
