//! How long what matters takes (`tests/measure`): not part of the suite, since it takes minutes.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use carpd::lab::Lab;
use carpd::lab::clock::now;
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::rig::{ADDRESS, CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Watch, lan, mac, sh};
use crate::soak::{GRANT, hook, save, took_new};
use crate::tree::Tree;

/// Ten lines as scripts have them.
const PORTED: &str = "ip addr add $2/24 dev $1\nhostname nodevir2\nif [ -f /etc/default/web ]; then\n  . /etc/default/web\nfi\n\
                      route add default gw 192.168.32.254\nservice httpd start\nlogger -t carp \"master on $1\"\nsysctl -w net.ipv4.ip_forward=1\n\
                      arping -c 3 -U -I $1 $2\n";
const FAILOVER: &[u8] = include_bytes!("../../plugins/failover/failover.wasm");
/// Longest lease with an advbase of 1.
const LEASE_MS: f64 = 2000.0;

/// What was measured, in one unit, and how much it may be.
pub(crate) struct Row {
    what: &'static str,
    unit: &'static str,
    target: f64,
    values: Vec<f64>,
}

impl Row {
    pub(crate) fn times(what: &'static str, target_ms: f64, times: &[Duration]) -> Self {
        Self {
            what,
            unit: "ms",
            target: target_ms,
            values: times
                .iter()
                .map(|time| time.as_secs_f64() * 1000.0)
                .collect(),
        }
    }

    /// A row of a table: the median is judged.
    pub(crate) fn print(mut self) {
        self.values.sort_by(f64::total_cmp);
        let at = |index: usize| self.values.get(index).copied().unwrap_or(f64::NAN);
        let (median, last) = (
            at(self.values.len() / 2),
            at(self.values.len().saturating_sub(1)),
        );
        let verdict = if median <= self.target {
            "met"
        } else {
            "**missed**"
        };
        let Self {
            what,
            unit,
            target,
            values,
        } = &self;
        println!(
            "| {what} | ≤ {target} {unit} | {median:.1} ({:.1}–{last:.1}, {} times) | {verdict} |",
            at(0),
            values.len()
        );
    }
}

/// Prints the times that are promised, each measured so many times, as the rows of a table.
pub(crate) fn measure(rounds: usize) -> Outcome {
    println!("| | target | measured | |\n|---|---|---|---|");
    Row::times(
        "file saved to new code live, Lua",
        100.0,
        &saved_lua(rounds * 4)?,
    )
    .print();
    Row::times(
        "file saved to new code live, WebAssembly",
        300.0,
        &saved_wasm(rounds * 4)?,
    )
    .print();
    Row::times(
        "`kill -9` of the engine to the address gone",
        50.0,
        &killed(rounds)?,
    )
    .print();
    Row::times(
        "`kill -9` of every process to the address gone: the lease and 0.7 s",
        LEASE_MS + 700.0,
        &expired(rounds)?,
    )
    .print();
    let handed: Result<Vec<_>, _> = (0..rounds).map(|_| handed_over()).collect();
    Row::times(
        "end of a failing hook to the other node master",
        50.0,
        &handed?,
    )
    .print();
    memory()?;
    tools(rounds)
}

fn saved_lua(rounds: usize) -> Result<Vec<Duration>, Failed> {
    let lab = lan(&["a"])?;
    let mut daemon = Carpd::new("a").hook(&hook(0), GRANT).start(&lab)?;
    daemon.wait_says("Ready", SOON)?;
    (1..=rounds)
        .map(|round| save(&lab, &mut daemon, &hook(round as u64)))
        .collect()
}

fn saved_wasm(rounds: usize) -> Result<Vec<Duration>, Failed> {
    let here = tempfile::tempdir()?;
    let (lab, mut daemon) = with_component(here.path())?;
    let mut took = Vec::new();
    for round in 1..=rounds {
        put(&lab, here.path(), u8::try_from(round)?)?;
        let saved = now();
        sh(&lab, "a", "mv /run/lab/w/.new /run/lab/w/h.wasm")?;
        took.push(took_new(&mut daemon)?.since(saved));
    }
    Ok(took)
}

/// Host `a` with plugins/failover as its hook.
fn with_component(here: &Path) -> Result<(Lab, Daemon), Failed> {
    let lab = lan(&["a"])?;
    let config = "config = { gateway = \"192.168.32.50\", name_master = \"m\", name_backup = \"b\", service = \"httpd\" }\n\
                  grant = { hostname = [\"m\", \"b\"], route = [{ dst = \"default\", via = \"192.168.32.50\" }], \
                  service = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }] }";
    put(&lab, here, 0)?;
    sh(&lab, "a", "mv /run/lab/w/.new /run/lab/w/h.wasm")?;
    let carpd = Carpd::new("a").set("neutral", true).hook("", config);
    carpd.write_with(&lab, &carpd.toml().replace("h.lua", "w/h.wasm"))?;
    let mut daemon = carpd.restart(&lab)?;
    daemon.wait_says("Ready", SOON)?;
    Ok((lab, daemon))
}

/// Lays the component down beside its place: a rename there is one event, with the whole file.
fn put(lab: &Lab, here: &Path, round: u8) -> Outcome {
    // The same one, with a custom section that nobody reads: other bytes.
    let path = here.join(format!("{round}.wasm"));
    std::fs::write(&path, [FAILOVER, &[0, 3, 1, b'n', round]].concat())?;
    sh(
        lab,
        "a",
        &format!(
            "mkdir -p /run/lab/w && cp {} /run/lab/w/.new",
            path.display()
        ),
    )
    .map(drop)
}

fn killed(rounds: usize) -> Result<Vec<Duration>, Failed> {
    let mut took = Vec::new();
    for _ in 0..rounds {
        // Anew each time: one that died a few times waits ever longer before it starts again.
        let lab = lan(&["a"])?;
        let mut daemon = Carpd::new("a").start(&lab)?;
        daemon.wait_says("Acquired the addresses", TAKEOVER)?;
        // Both times are of one clock, in the host itself.
        let script =
            "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^carpd-engine __engine' && e=${p#/proc/}; done
exec 3< <(exec stdbuf -oL ip -ts monitor address)
m=$!
read -t 0.3 -u 3 x
t=$EPOCHREALTIME; kill -9 $e
while read -t 5 -u 3 x; do case $x in *Deleted*192.168.32.22*) break;; esac; done
stamp=${x#*T}; echo \"$t ${stamp%%]*} $x\"; kill $m";
        let said = sh(&lab, "a", script)?.join(" ");
        took.push(between(&said).ok_or_else(|| format!("no address was deleted: {said}"))?);
    }
    Ok(took)
}

/// `1795382400.123456 21:20:00.234567 ...`: from the first, seconds since 1970, to the second, a
/// time of that day.
fn between(said: &str) -> Option<Duration> {
    let mut words = said.split_whitespace();
    let from: f64 = words.next()?.parse().ok()?;
    let seconds = words
        .next()?
        .split(':')
        .rev()
        .zip([1.0, 60.0])
        .map(|(part, unit)| part.parse::<f64>().ok().map(|n| n * unit));
    let to = seconds.sum::<Option<f64>>()?;
    // Time zones are off by whole quarters of an hour.
    Duration::try_from_secs_f64((to - from).rem_euclid(900.0)).ok()
}

fn handed_over() -> Result<Duration, Failed> {
    let lab = lan(&["a", "b"])?;
    let lua = "function on_master() error('no database') end";
    let mut a = Carpd::new("a").hook(lua, "").start(&lab)?;
    a.wait_says("Ready", SOON)?;
    let mut b = Carpd::new("b").advskew(100).start(&lab)?;
    let failed = a.wait_ran("on_master", TAKEOVER)?;
    Ok(b.wait_state("master", TAKEOVER)?.at.since(failed.at))
}

/// Nobody is left to take the address down.
fn expired(rounds: usize) -> Result<Vec<Duration>, Failed> {
    let mut took = Vec::new();
    for _ in 0..rounds {
        let lab = lan(&["a"])?;
        let mut watch = Watch::start(&lab, ADDRESS)?;
        let mut daemon = Carpd::new("a").start(&lab)?;
        daemon.wait_says("Acquired the addresses", TAKEOVER)?;
        watch.wait(&[mac(&lab, "a")?], SOON)?;
        let tree = Tree::of(&lab, "a", &daemon)?;
        // Stopped first, so that none of them can react to the death of another.
        tree.signal_all(Signal::SIGSTOP)?;
        let killed = now();
        tree.signal_all(Signal::SIGKILL)?;
        took.push(watch.wait(&[], SOON)?.since(killed));
    }
    Ok(took)
}

/// What an idle runner with a loaded hook costs, as its proportional set size.
fn memory() -> Outcome {
    let lab = lan(&["a"])?;
    let mut daemon = Carpd::new("a")
        .set("neutral", true)
        .hook(&hook(0), GRANT)
        .start(&lab)?;
    daemon.wait_says("Ready", SOON)?;
    runners("memory of an idle runner, Lua", &lab, &daemon)?;
    let here = tempfile::tempdir()?;
    let (lab, daemon) = with_component(here.path())?;
    runners("memory of an idle runner, WebAssembly", &lab, &daemon)
}

fn runners(what: &'static str, lab: &Lab, daemon: &Daemon) -> Outcome {
    let mut values = Vec::new();
    for runner in Tree::of(lab, "a", daemon)?.runners {
        let rollup = lab
            .host("a")
            .read(&format!("/proc/{runner}/smaps_rollup"))?;
        let line = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .ok_or("no Pss in smaps_rollup")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        values.push(kilobytes / 1024.0);
    }
    Row {
        what,
        unit: "MB",
        target: 6.0,
        values,
    }
    .print();
    Ok(())
}

/// What authors wait for: processes of this host, no lab.
fn tools(rounds: usize) -> Outcome {
    let here = tempfile::tempdir()?;
    let file = |name: &str, text: &str| std::fs::write(here.path().join(name), text);
    let case = |n| {
        format!(
            "test.case(\"{n}\", function()\n  local h = test.host({{ interface = \"lo\", hostname = \"b\" }})\n  h:become(\"master\")\n  \
             test.equal(h:hostname(), \"m\")\n  h:become(\"backup\")\n  test.equal(h:hostname(), \"b\")\nend)\n"
        )
    };
    file(
        "h.lua",
        "function on_master() hostname.set('m') end\nfunction on_backup() hostname.set('b') end\n",
    )?;
    file("h_test.lua", &(0..100).map(case).collect::<String>())?;
    file("up.sh", &PORTED.repeat(10))?;
    file("web.pass", "gw22\n")?;
    std::fs::set_permissions(here.path().join("web.pass"), Permissions::from_mode(0o600))?;
    for (node, advskew) in [("carpd", 0), ("b", 50), ("c", 100)] {
        let toml = format!(
            "[[vhost]]\nname = \"web\"\ninterface = \"lo\"\nvhid = 40\naddresses = [\"192.168.32.22/24\"]\n\
             password-file = \"web.pass\"\nadvskew = {advskew}\npreempt = true\nhooks = [\"h\"]\n\
             [hook.h]\nsource = \"h.lua\"\ngrant = {{ hostname = [\"m\", \"b\"] }}\n"
        );
        file(&format!("{node}.toml"), &toml)?;
    }
    let run = |what, target: f64, args: &[&str]| -> Outcome {
        let times: Result<Vec<_>, Failed> = (0..rounds).map(|_| timed(here.path(), args)).collect();
        Row::times(what, target, &times?).print();
        Ok(())
    };
    run("`carpd test` of 100 cases", 1000.0, &["test", "h_test.lua"])?;
    run(
        "`carpd plan` of what becoming master would do",
        50.0,
        &["plan", "--config", "carpd.toml", "--event", "master"],
    )?;
    run(
        "`carpd port` of a script of 100 lines",
        50.0,
        &["port", "up.sh"],
    )?;
    let day = "rehearse carpd.toml b.toml c.toml --event 12h_carpd_dies --event 13h_carpd_returns --end 24h";
    let day: Vec<String> = day.split(' ').map(|word| word.replace('_', " ")).collect();
    run(
        "`carpd rehearse` of a day of three nodes",
        2000.0,
        &day.iter().map(String::as_str).collect::<Vec<_>>(),
    )
}

/// How long one command takes, which must do its work.
#[expect(
    clippy::disallowed_methods,
    reason = "a measurement, not the protocol's clock"
)]
fn timed(dir: &Path, args: &[&str]) -> Result<Duration, Failed> {
    let began = Instant::now();
    let output = Command::new(CARPD)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()?;
    let took = began.elapsed();
    // 6: `carpd port` has left something to do, as it does with these lines.
    if matches!(output.status.code(), Some(0 | 6)) {
        Ok(took)
    } else {
        Err(format!("{args:?}: {output:?}").into())
    }
}
