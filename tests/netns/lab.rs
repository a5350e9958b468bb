//! The lab itself: what the other tests stand on.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use carpd::lab::clock::{Ticker, now};
use carpd::lab::{
    Exit, Fault, HostSpec, Lab, LabSpec, PROGRAM, ProbeSpec, Process, Sighted, Sighting, What,
};
use nix::sys::signal::Signal;

use crate::{Case, Outcome};

/// Far more than any single step takes.
const SOON: Duration = Duration::from_secs(5);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("lab::hosts_have_their_own_names_and_addresses", own_names),
        Case::new("lab::processes_are_started_signalled_and_reaped", processes),
        Case::new("lab::a_process_of_a_host_that_is_switched_off_ends", power),
        Case::new(
            "lab::httpd_is_a_service_that_answers_with_the_host_name",
            httpd,
        ),
        Case::new("lab::ipv6_addresses_answer_at_once", ipv6),
        Case::new(
            "lab::faults_of_a_cable_are_seen_from_outside_and_end",
            faults,
        ),
        Case::new(
            "lab::of_a_lossy_cable_some_frames_arrive_and_of_a_mute_host_none",
            losses,
        ),
        Case::new("lab::a_partition_parts_those_it_names_alone", partition),
        Case::new("lab::a_power_cut_is_silence", power_cut_is_seen),
        Case::new("lab::forged_frames_are_heard_by_the_others", forged),
        Case::new(
            "lab::nothing_is_left_when_the_maker_is_killed",
            killed_maker,
        ),
        Case::new("lab::an_ordinary_user_can_make_a_lab", ordinary_user),
    ]
}

fn pair() -> LabSpec {
    let host = |name: &str, cidr: &str| HostSpec::new(name, &[cidr.parse().unwrap()]);
    LabSpec {
        hosts: vec![
            host("a", "192.168.32.10/24"),
            host("b", "192.168.32.11/24"),
            host("c", "192.168.32.12/24"),
        ],
    }
}

/// Starts the service `httpd` in a host.
fn start_httpd(lab: &Lab, host: &str) -> Outcome {
    let output = lab.host(host).run(&["/etc/init.d/httpd", "start"], SOON)?;
    assert_eq!(output.status, Exit::Code(0), "{output:?}");
    Ok(())
}

fn own_names() -> Outcome {
    let lab = Lab::start(&pair())?;
    let before = nix::unistd::gethostname()?;
    for (name, cidr) in [("a", "192.168.32.10/24"), ("b", "192.168.32.11/24")] {
        let facts = lab.host(name).facts()?;
        assert_eq!(facts.hostname, name);
        assert_eq!(facts.addresses, [cidr.parse()?]);
        assert_eq!(facts.routes, []);
        assert!(facts.carrier);
    }
    assert_ne!(lab.host("a").facts()?.mac, lab.host("b").facts()?.mac);
    let renamed = lab.host("a").run(&["hostname", "other"], SOON)?;
    assert!(renamed.status.success(), "{renamed:?}");
    assert_eq!(lab.host("a").facts()?.hostname, "other");
    assert_eq!(lab.host("b").facts()?.hostname, "b");
    assert_eq!(nix::unistd::gethostname()?, before);
    lab.host("a").write("/run/here/too", 0o600, "only a")?;
    assert_eq!(lab.host("a").read("/run/here/too")?, "only a");
    assert!(lab.host("b").read("/run/here/too").is_err());
    assert!(lab.host("a").read("/run/systemd/system").is_err());
    assert!(lab.host("nobody").facts().is_err());
    Ok(())
}

fn processes() -> Outcome {
    let lab = Lab::start(&pair())?;
    let host = lab.host("a");
    let output = host.run(&["sh", "-c", "echo out; echo err >&2; exit 3"], SOON)?;
    assert_eq!(output.status, Exit::Code(3));
    assert_eq!(
        (output.stdout, output.stderr),
        (vec!["out".to_owned()], vec!["err".to_owned()])
    );

    let mut sleeper = host.spawn(&[
        "sh",
        "-c",
        "trap 'echo caught' USR1; echo there; while :; do sleep 60 & wait; done",
    ])?;
    sleeper.wait_line("its start", SOON, |line| line == "there")?;
    sleeper.signal(Signal::SIGUSR1)?;
    sleeper.wait_line("the signal", SOON, |line| line == "caught")?;
    assert_eq!(sleeper.ended(), None);
    sleeper.signal(Signal::SIGKILL)?;
    assert_eq!(sleeper.wait(SOON)?, Exit::Signal(9));
    assert!(sleeper.signal(Signal::SIGTERM).is_err());
    assert!(host.spawn(&["/no/such/program"]).is_err());
    // The shell's own children were left to process 1 of the host, which still serves.
    assert!(host.run(&["true"], SOON)?.status.success());
    Ok(())
}

fn power() -> Outcome {
    let lab = Lab::start(&pair())?;
    start_httpd(&lab, "a")?;
    let sleeper = lab.host("a").spawn(&["sleep", "60"])?;
    let mark = lab.mark();
    lab.power_off("a")?;
    assert_eq!(sleeper.wait(SOON)?, Exit::PoweredOff);
    lab.wait_event("the end of a", mark, SOON, |event| {
        (event.what == What::PoweredOff && event.host == "a").then_some(())
    })?;
    assert!(lab.host("a").facts().is_err());
    assert!(lab.power_off("a").is_err());
    lab.power_on("a")?;
    assert!(lab.power_on("a").is_err());
    assert_eq!(
        lab.host("a").facts()?.addresses,
        ["192.168.32.10/24".parse()?]
    );
    let status = lab.host("a").run(&["service", "httpd", "status"], SOON)?;
    assert_eq!(
        status.status,
        Exit::Code(3),
        "a host that was switched on runs no service: {status:?}"
    );
    Ok(())
}

fn httpd() -> Outcome {
    let lab = Lab::start(&pair())?;
    let service = |verb: &str| lab.host("a").run(&["service", "httpd", verb], SOON);
    assert_eq!(service("status")?.status, Exit::Code(3));
    for verb in ["start", "start", "status", "restart"] {
        let output = service(verb)?;
        assert!(output.status.success(), "{verb}: {output:?}");
    }
    assert_eq!(get(&lab, "b", "192.168.32.10")?, "a");
    assert!(
        lab.host("a")
            .run(&["hostname", "renamed"], SOON)?
            .status
            .success()
    );
    assert_eq!(get(&lab, "b", "192.168.32.10")?, "renamed");
    assert!(service("stop")?.status.success());
    assert!(service("stop")?.status.success());
    assert_eq!(service("status")?.status, Exit::Code(3));
    Ok(())
}

/// What a host hears from the HTTP server at an address.
fn get(lab: &Lab, host: &str, address: &str) -> Result<String, Box<dyn std::error::Error>> {
    let script = format!(
        "exec 3<>/dev/tcp/{address}/80 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && tail -n 1 <&3"
    );
    let output = lab.host(host).run(&["bash", "-c", &script], SOON)?;
    output
        .stdout
        .first()
        .cloned()
        .ok_or_else(|| format!("{output:?}").into())
}

fn ipv6() -> Outcome {
    let host = |name: &str, cidr: &str| HostSpec::new(name, &[cidr.parse().unwrap()]);
    let lab = Lab::start(&LabSpec {
        hosts: vec![host("a", "2001:db8::10/64"), host("b", "2001:db8::11/64")],
    })?;
    assert_eq!(
        lab.host("a").facts()?.addresses,
        ["2001:db8::10/64".parse()?]
    );
    start_httpd(&lab, "a")?;
    assert_eq!(get(&lab, "b", "2001:db8::10")?, "a");
    Ok(())
}

/// `--hold-lab`: makes a lab and waits to be killed.
pub(crate) fn hold() -> ExitCode {
    let lab = Lab::start(&pair()).unwrap();
    let _sleepers: Vec<Process> = ["a", "b"]
        .iter()
        .map(|host| lab.host(host).spawn(&[PROGRAM, "__lab-httpd"]).unwrap())
        .collect();
    println!("there");
    let _ = std::io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

fn killed_maker() -> Outcome {
    let mut maker = Command::new(std::env::current_exe()?)
        .arg("--hold-lab")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(maker.stdout.take().unwrap()).read_line(&mut line)?;
    assert_eq!(line, "there\n");
    let of_lab = descendants(maker.id());
    assert!(
        of_lab.len() >= 10,
        "switch, three hosts, two servers: {of_lab:?}"
    );
    maker.kill()?;
    // All processes of the lab have its standard error: it ends when the last of them does.
    maker.stderr.take().unwrap().read_to_end(&mut Vec::new())?;
    maker.wait()?;
    // They close it a moment before they are gone.
    let ticker = Ticker::new(Duration::from_millis(1))?;
    let end = now() + SOON;
    while let Some(left) = of_lab.iter().find(|pid| runs(**pid)) {
        assert!(now() < end, "still there: {left}");
        ticker.wait()?;
    }
    Ok(())
}

/// All processes below this one, as seen from outside the lab.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = vec![pid];
    while let Some(pid) = next.pop() {
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let children =
                std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            next.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok()),
            );
        }
        found.push(pid);
    }
    found.retain(|found| *found != pid);
    found
}

/// A zombie has ended: it only waits for the machine's process 1.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Runs some of the other cases as `nobody`; who is an ordinary user already has run them all.
fn ordinary_user() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    std::fs::set_permissions(
        directory.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    let exe = directory.path().join("netns");
    std::fs::copy(std::env::current_exe()?, &exe)?;
    for case in [
        "lab::hosts_have_their_own_names_and_addresses",
        "lab::httpd_is_a_service_that_answers_with_the_host_name",
    ] {
        let output = Command::new(&exe)
            .args(["--case", case])
            .current_dir("/")
            .uid(65534)
            .gid(65534)
            .output()?;
        assert!(
            output.status.success(),
            "{case}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// The virtual address of the cases that move it by hand.
const ADDRESS: &str = "192.168.32.22";

/// A lab with a prober on c that asks for [`ADDRESS`], which a holds.
fn probed() -> Result<(Lab, Process), Box<dyn std::error::Error>> {
    let lab = Lab::start(&pair())?;
    lab.host("a")
        .add_address(format!("{ADDRESS}/32").parse()?)?;
    let spec = ProbeSpec {
        address: ADDRESS.parse()?,
        arp_interval: Duration::from_millis(1),
        http_interval: Duration::ZERO,
    };
    let mut probe = lab.host("c").spawn(&spec.argv(PROGRAM))?;
    wait_sighting(&mut probe, "the first answer", |what| {
        matches!(what, Sighting::Answers { previous: None, .. })
    })?;
    Ok((lab, probe))
}

/// Waits for the next sighting of a kind.
fn wait_sighting(
    probe: &mut Process,
    what: &str,
    wanted: impl Fn(&Sighting) -> bool,
) -> Result<Sighting, Box<dyn std::error::Error>> {
    let line = probe.wait_line(what, SOON, |line| {
        Sighted::parse(line).is_some_and(|sighted| wanted(&sighted.what))
    })?;
    Ok(Sighted::parse(&line.text).unwrap().what)
}

fn answers(what: &Sighting) -> bool {
    matches!(what, Sighting::Answers { .. })
}

/// What every fault of a host's cable looks like from outside, and that it ends.
fn faults() -> Outcome {
    let (lab, mut probe) = probed()?;
    start_httpd(&lab, "b")?;
    for fault in [Fault::Unplugged, Fault::Silent] {
        lab.set_fault("a", fault)?;
        wait_sighting(&mut probe, "silence", |what| *what == Sighting::Silent)?;
        // The host sees that its cable is out, and sees nothing of a silent switch.
        assert_eq!(
            lab.host("a").facts()?.carrier,
            fault == Fault::Silent,
            "{fault:?}"
        );
        lab.clear_fault("a", fault)?;
        wait_sighting(&mut probe, "an answer again", answers)?;
        assert!(lab.host("a").facts()?.carrier);
    }
    lab.set_fault("a", Fault::Deaf)?;
    wait_sighting(&mut probe, "silence", |what| *what == Sighting::Silent)?;
    // It does not hear broadcast requests, but its own are heard and answered: it is a one-way cut.
    let heard = lab
        .host("a")
        .run(&["bash", "-c", "exec 3<>/dev/tcp/192.168.32.11/80"], SOON)?;
    assert!(heard.status.success(), "{heard:?}");
    lab.clear_fault("a", Fault::Deaf)?;
    wait_sighting(&mut probe, "an answer again", answers)?;
    lab.host("a").set_link(false)?;
    wait_sighting(&mut probe, "silence", |what| *what == Sighting::Silent)?;
    Ok(())
}

/// So many frames that their number says how many of a hundred are lost.
const FRAMES: u8 = 200;

/// A CARP advertisement with this vhid: whole enough for the prober.
fn advertisement(vhid: u8) -> Vec<u8> {
    let mut frame = vec![0x01, 0, 0x5e, 0, 0, 0x12, 0, 0, 0x5e, 0, 1, vhid, 8, 0];
    frame.extend([
        0x45, 0x10, 0, 56, 0, 0, 0x40, 0, 255, 112, 0, 0, 10, 1, 2, 3, 224, 0, 0, 18,
    ]);
    frame.extend([0x21, vhid, 7, 7, 0, 1]);
    frame.resize(14 + 56, 0);
    frame
}

fn losses() -> Outcome {
    let (lab, mut probe) = probed()?;
    let heard = |probe: &mut Process, last: u8| -> Result<usize, Box<dyn std::error::Error>> {
        let before = probe.lines().len();
        lab.host("b")
            .send(&(0..FRAMES).map(|_| advertisement(1)).collect::<Vec<_>>())?;
        // Who hears this one has heard all before it that were not lost; it is sent without the
        // fault.
        lab.clear_fault(
            "b",
            if last == 2 {
                Fault::Lossy(30)
            } else {
                Fault::Mute
            },
        )?;
        lab.host("b").send(&[advertisement(last)])?;
        wait_sighting(
            probe,
            "the last one",
            |what| matches!(what, Sighting::Advertisement { vhid, .. } if *vhid == last),
        )?;
        let lines = probe.lines();
        let new = lines[before..]
            .iter()
            .filter_map(|line| Sighted::parse(&line.text));
        Ok(new
            .filter(|seen| matches!(seen.what, Sighting::Advertisement { vhid: 1, .. }))
            .count())
    };
    lab.set_fault("b", Fault::Lossy(30))?;
    let arrived = heard(&mut probe, 2)?;
    // 140 are to be expected; these bounds are more than seven standard deviations away.
    assert!((95..185).contains(&arrived), "{arrived} of {FRAMES}");
    lab.set_fault("b", Fault::Mute)?;
    assert_eq!(heard(&mut probe, 3)?, 0);

    // What reaches a host is lost as well: its answers to requests show it.
    lab.set_fault("a", Fault::Lossy(100))?;
    wait_sighting(&mut probe, "silence", |what| *what == Sighting::Silent)?;
    lab.clear_fault("a", Fault::Lossy(100))?;
    wait_sighting(&mut probe, "an answer again", answers)?;
    lab.set_fault("a", Fault::Mute)?;
    wait_sighting(&mut probe, "silence", |what| *what == Sighting::Silent)?;
    Ok(())
}

fn partition() -> Outcome {
    let (lab, mut probe) = probed()?;
    let from_b = |lab: &Lab| {
        lab.host("b").run(
            &[
                "timeout",
                "0.5",
                "bash",
                "-c",
                "exec 3<>/dev/tcp/192.168.32.10/80",
            ],
            SOON,
        )
    };
    start_httpd(&lab, "a")?;
    assert!(from_b(&lab)?.status.success());
    lab.partition(&["a", "b"])?;
    assert!(
        !from_b(&lab)?.status.success(),
        "b reaches a across the partition"
    );
    // c hears both sides: b takes the address too, as a backup would, and two answer.
    lab.host("b")
        .add_address(format!("{ADDRESS}/32").parse()?)?;
    wait_sighting(&mut probe, "two answers", |what| {
        matches!(what, Sighting::Both { .. })
    })?;
    lab.host("a")
        .delete_address(format!("{ADDRESS}/32").parse()?)?;
    let one = wait_sighting(&mut probe, "one answer", |what| {
        matches!(what, Sighting::One { .. })
    })?;
    assert!(
        matches!(one, Sighting::One { mac, .. } if mac == lab.host("b").facts()?.mac),
        "{one:?}"
    );
    lab.reunite(&["a", "b"])?;
    assert!(from_b(&lab)?.status.success());
    Ok(())
}

fn power_cut_is_seen() -> Outcome {
    let (lab, mut probe) = probed()?;
    lab.power_off("a")?;
    wait_sighting(&mut probe, "silence", |what| *what == Sighting::Silent)?;
    lab.host("b")
        .add_address(format!("{ADDRESS}/32").parse()?)?;
    let b = lab.host("b").facts()?.mac;
    let found = wait_sighting(&mut probe, "b's answer", answers)?;
    let Sighting::Answers {
        mac,
        silent_us,
        unanswered,
        ..
    } = found
    else {
        panic!("{found:?}")
    };
    assert_eq!(mac, b);
    assert!(silent_us >= 25_000 && unanswered > 0, "{found:?}");
    probe.signal(Signal::SIGTERM)?;
    assert_eq!(probe.wait(SOON)?, Exit::Code(0));
    let summary = probe
        .lines()
        .iter()
        .filter_map(|line| Sighted::parse(&line.text))
        .next_back()
        .unwrap()
        .what;
    let Sighting::Summary {
        requests,
        answered,
        by_two,
    } = summary
    else {
        panic!("{summary:?}")
    };
    assert!(
        answered > 0 && requests >= answered + unanswered && by_two == 0,
        "{summary:?}"
    );
    Ok(())
}

fn forged() -> Outcome {
    let (lab, mut probe) = probed()?;
    lab.host("b").send(&[advertisement(40)])?;
    let heard = wait_sighting(&mut probe, "the advertisement", |what| {
        matches!(what, Sighting::Advertisement { .. })
    })?;
    let Sighting::Advertisement {
        from,
        vhid,
        advskew,
        ..
    } = heard
    else {
        panic!("{heard:?}")
    };
    assert_eq!((from, vhid, advskew), ("10.1.2.3".parse()?, 40, 7));
    Ok(())
}
