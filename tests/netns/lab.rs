//! The lab itself: what the other tests stand on.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use carpd::lab::{Exit, Fault, HostSpec, Lab, LabSpec, PROGRAM, Process, What};
use nix::sys::signal::Signal;

use crate::{Case, Outcome};

/// Far more than any single step takes.
const SOON: Duration = Duration::from_secs(5);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("lab::hosts_have_their_own_names_and_addresses", own_names),
        Case::new("lab::processes_are_started_signalled_and_reaped", processes),
        Case::new("lab::a_process_of_a_host_that_is_switched_off_ends", power),
        Case::new("lab::httpd_is_a_service_that_answers_with_the_host_name", httpd),
        Case::new("lab::ipv6_addresses_answer_at_once", ipv6),
        Case::new("lab::nothing_is_left_when_the_maker_is_killed", killed_maker),
        Case::new("lab::an_ordinary_user_can_make_a_lab", ordinary_user),
    ]
}

fn pair() -> LabSpec {
    let host = |name: &str, cidr: &str| HostSpec::new(name, &[cidr.parse().unwrap()]);
    LabSpec { hosts: vec![host("a", "192.168.32.10/24"), host("b", "192.168.32.11/24"), host("c", "192.168.32.12/24")] }
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
    assert_eq!((output.stdout, output.stderr), (vec!["out".to_owned()], vec!["err".to_owned()]));

    let mut sleeper = host.spawn(&["sh", "-c", "trap 'echo caught' USR1; echo there; while :; do sleep 60 & wait; done"])?;
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
    lab.wait_event("the end of a", mark, SOON, |event| (event.what == What::PoweredOff && event.host == "a").then_some(()))?;
    assert!(lab.host("a").facts().is_err());
    assert!(lab.power_off("a").is_err());
    lab.power_on("a")?;
    assert!(lab.power_on("a").is_err());
    assert_eq!(lab.host("a").facts()?.addresses, ["192.168.32.10/24".parse()?]);
    let status = lab.host("a").run(&["service", "httpd", "status"], SOON)?;
    assert_eq!(status.status, Exit::Code(3), "a host that was switched on runs no service: {status:?}");
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
    assert!(lab.host("a").run(&["hostname", "renamed"], SOON)?.status.success());
    assert_eq!(get(&lab, "b", "192.168.32.10")?, "renamed");
    assert!(service("stop")?.status.success());
    assert!(service("stop")?.status.success());
    assert_eq!(service("status")?.status, Exit::Code(3));
    Ok(())
}

/// What a host hears from the HTTP server at an address.
fn get(lab: &Lab, host: &str, address: &str) -> Result<String, Box<dyn std::error::Error>> {
    let script = format!("exec 3<>/dev/tcp/{address}/80 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && tail -n 1 <&3");
    let output = lab.host(host).run(&["bash", "-c", &script], SOON)?;
    output.stdout.first().cloned().ok_or_else(|| format!("{output:?}").into())
}

fn ipv6() -> Outcome {
    let host = |name: &str, cidr: &str| HostSpec::new(name, &[cidr.parse().unwrap()]);
    let lab = Lab::start(&LabSpec { hosts: vec![host("a", "2001:db8::10/64"), host("b", "2001:db8::11/64")] })?;
    assert_eq!(lab.host("a").facts()?.addresses, ["2001:db8::10/64".parse()?]);
    start_httpd(&lab, "a")?;
    assert_eq!(get(&lab, "b", "2001:db8::10")?, "a");
    Ok(())
}

/// `--hold-lab`: makes a lab and waits to be killed.
pub(crate) fn hold() -> ExitCode {
    let lab = Lab::start(&pair()).unwrap();
    let _sleepers: Vec<Process> =
        ["a", "b"].iter().map(|host| lab.host(host).spawn(&[PROGRAM, "__lab-httpd"]).unwrap()).collect();
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
    assert!(of_lab.len() >= 10, "switch, three hosts, two servers: {of_lab:?}");
    maker.kill()?;
    // All processes of the lab have its standard error: it ends when the last of them does.
    maker.stderr.take().unwrap().read_to_end(&mut Vec::new())?;
    maker.wait()?;
    let left: Vec<_> = of_lab.into_iter().filter(|pid| runs(*pid)).collect();
    assert!(left.is_empty(), "still there: {left:?}");
    Ok(())
}

/// All processes below this one, as seen from outside the lab.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = vec![pid];
    while let Some(pid) = next.pop() {
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            next.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        found.push(pid);
    }
    found.retain(|found| *found != pid);
    found
}

/// A zombie has ended: it only waits for the machine's process 1.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Runs some of the other cases as `nobody`; who is an ordinary user already has run them all.
fn ordinary_user() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let exe = directory.path().join("netns");
    std::fs::copy(std::env::current_exe()?, &exe)?;
    for case in ["lab::hosts_have_their_own_names_and_addresses", "lab::httpd_is_a_service_that_answers_with_the_host_name"] {
        let output = Command::new(&exe).args(["--case", case]).current_dir("/").uid(65534).gid(65534).output()?;
        assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[expect(dead_code, reason = "used by the cases of the switch's faults, once the prober can see them")]
fn faults() -> [Fault; 4] {
    [Fault::Unplugged, Fault::Silent, Fault::Isolated, Fault::Deaf]
}
