//! What each process of a running daemon keeps, as the kernel tells it and as docs/operations.md says.

use carpd::lab::{Host, Lab};
use nix::sys::signal::Signal;

use crate::rig::{CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, lan, sh};
use crate::tree::Tree;
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("rights::each_process_keeps_what_the_documentation_says", as_documented),
        Case::new("rights::what_only_root_may_read_is_loaded_and_reloaded", for_root_alone),
        Case::new("rights::a_reader_that_dies_comes_back", reader_dies),
    ]
}

const DOCUMENTED: &str = include_str!("../../docs/operations.md");

/// A row of the table of processes: the name that the kernel shows, and the capabilities that it keeps.
fn documented(process: &str) -> Vec<&'static str> {
    let table = DOCUMENTED.split("## Rights").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let row = table.lines().find(|line| line.starts_with(&format!("| `{process}` |"))).expect("a row for each process");
    let cell = row.split('|').nth(2).unwrap();
    cell.split([' ', ',', ';']).filter(|word| word.starts_with("CAP_")).collect()
}

/// Those that matter here, by number.
const CAPABILITIES: [(u32, &str); 7] = [
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (2, "CAP_DAC_READ_SEARCH"),
    (3, "CAP_FOWNER"),
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (21, "CAP_SYS_ADMIN"),
];

/// What the kernel says of one process.
struct Kept {
    name: String,
    status: String,
}

impl Kept {
    fn of(host: &Host, pid: i32) -> Result<Self, Failed> {
        let name = host.read(&format!("/proc/{pid}/comm"))?.trim_end().to_owned();
        Ok(Self { name, status: host.read(&format!("/proc/{pid}/status"))? })
    }

    fn field(&self, name: &str) -> &str {
        let line = self.status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    }

    /// The names of its capabilities, of one set; an error if there is one that nothing here keeps.
    fn capabilities(&self, set: &str) -> Result<Vec<&'static str>, Failed> {
        let bits = u64::from_str_radix(self.field(set), 16)?;
        let known = CAPABILITIES.iter().filter(|(bit, _)| bits & (1 << bit) != 0);
        let (mask, names) = known.fold((0, Vec::new()), |(mask, mut names), (bit, name)| {
            names.push(*name);
            (mask | 1 << bit, names)
        });
        if mask == bits { Ok(names) } else { Err(format!("{} keeps {set} {bits:x}", self.name).into()) }
    }
}

/// A daemon with a hook, and with a grant that needs the helper, as master.
fn master(lab: &Lab) -> Result<Daemon, Failed> {
    let lua = "function on_master() file.write('/run/lab/out/flag', 'x') end\n";
    lab.host("a").run(&["mkdir", "/run/lab/out"], SOON)?;
    let toml = "[hook.h.grant]\nfile = [{ path = \"/run/lab/out/flag\", do = [\"write\"] }]";
    let mut daemon = Carpd::new("a").hook(lua, toml).start(lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    daemon.wait_ran("on_master", SOON)?;
    Ok(daemon)
}

fn as_documented() -> Outcome {
    let lab = lan(&["a"])?;
    let daemon = master(&lab)?;
    let (host, tree) = (lab.host("a"), Tree::of(&lab, "a", &daemon)?);
    assert_eq!(Kept::of(&host, tree.keeper)?.name, "carpd");
    let engine = Kept::of(&host, tree.engine()?)?;
    let helper = Kept::of(&host, tree.helper.expect("a grant needs the helper"))?;
    let reader = Kept::of(&host, tree.reader.expect("a hook needs the reader"))?;
    let runner = Kept::of(&host, *tree.runners.first().expect("a runner"))?;
    let all = [&engine, &helper, &reader, &runner];
    let names = all.map(|process| process.name.as_str());
    assert_eq!(names, ["carpd-engine", "carpd-helper", "carpd-reader", "carpd-runner"]);
    for process in all {
        let mut documented = documented(&process.name);
        documented.sort_unstable();
        for set in ["CapEff", "CapPrm"] {
            let mut kept = process.capabilities(set)?;
            kept.sort_unstable();
            assert_eq!(kept, documented, "{} {set}", process.name);
        }
        assert!(process.capabilities("CapInh")?.is_empty() && process.capabilities("CapAmb")?.is_empty());
        assert_eq!(process.field("NoNewPrivs"), "1", "{}", process.name);
    }
    for process in [&engine, &reader, &runner] {
        assert_eq!(process.field("Seccomp"), "2", "{}", process.name);
    }
    let score = |pid: i32| -> Result<i32, Failed> { Ok(host.read(&format!("/proc/{pid}/oom_score_adj"))?.trim().parse()?) };
    let runner_goes_first = score(tree.runners[0])? - score(tree.engine()?)?;
    assert_eq!(runner_goes_first, 500, "what a hook takes of memory must not cost the engine its life");
    let nice = |pid: i32| -> Result<i32, Failed> {
        let stat = host.read(&format!("/proc/{pid}/stat"))?;
        let field = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(16));
        Ok(field.ok_or("no niceness")?.parse()?)
    };
    // Only root of the machine itself may put a process before others.
    let may = host.read("/proc/self/uid_map")?.contains("4294967295");
    let first = nice(tree.runners[0])? - nice(tree.engine()?)?;
    assert_eq!(first, if may { 10 } else { 0 }, "what a hook takes of the processor must not hold up the protocol");
    assert_eq!(nice(tree.runners[0])?, nice(tree.keeper)?);
    let status = host.run(&[CARPD, "status", "--json", "--config", "/run/lab/carpd.toml"], SOON)?.stdout.join("\n");
    for measure in ["\"landlock\"", "\"seccomp\""] {
        let own = status.split("\"engine\"").nth(1).unwrap_or_default();
        assert!(own.contains(measure), "{measure} of the engine is not in {status}");
    }
    Ok(())
}

fn says(word: &str) -> String {
    format!("function on_master() log.info('{word}') end")
}

fn save(lab: &Lab, file: &str, word: &str) -> Outcome {
    Ok(lab.host("a").write(file, 0o600, &says(word))?)
}

/// Configuration, password, hook and module in a directory that root alone may enter.
fn for_root_alone() -> Outcome {
    let lab = lan(&["a"])?;
    let host = lab.host("a");
    sh(&lab, "a", "mkdir -m 700 /run/lab/own /run/lab/own/hooks")?;
    save(&lab, "/run/lab/own/hooks/h.lua", "one")?;
    host.write("/run/lab/own/web.pass", 0o600, "gw22")?;
    let spec = Carpd::new("a").hook("", "").set("password-file", "\"web.pass\"");
    let toml = spec.toml().replace("h.lua", "hooks/h.lua");
    host.write("/run/lab/own/carpd.toml", 0o600, &toml)?;
    let carpd = |verb: &str| sh(&lab, "a", &format!("{CARPD} {verb} --config /run/lab/own/carpd.toml 2>&1"));
    let mut daemon = spec.restart_from(&lab, "/run/lab/own/carpd.toml")?;
    daemon.wait_says("one", TAKEOVER)?;
    // Saved, and live.
    save(&lab, "/run/lab/own/hooks/h.lua", "two")?;
    daemon.wait_says("Took a new version of a hook into use", SOON)?;
    carpd("hook apply h")?;
    daemon.wait_says("two", SOON)?;
    // Another password, and another hook.
    save(&lab, "/run/lab/own/hooks/g.lua", "three")?;
    host.write("/run/lab/own/other.pass", 0o600, "gw23")?;
    let other = toml.replace("hooks/h.lua", "hooks/g.lua").replace("web.pass", "other.pass");
    host.write("/run/lab/own/carpd.toml", 0o600, &other)?;
    carpd("reload")?;
    carpd("hook apply h")?;
    daemon.wait_says("three", SOON)?;
    // What is named now is watched now.
    save(&lab, "/run/lab/own/hooks/g.lua", "four")?;
    daemon.wait_says("Took a new version of a hook into use", SOON)?;
    // A password that is not there is told as such; nothing was changed.
    sh(&lab, "a", "rm /run/lab/own/other.pass")?;
    let said = sh(&lab, "a", &format!("{CARPD} reload --config /run/lab/own/carpd.toml 2>&1 || true"))?.join("\n");
    assert!(said.contains("cannot read /run/lab/own/other.pass: No such file or directory"), "{said}");
    daemon.stop()
}

fn reader_dies() -> Outcome {
    let lab = lan(&["a"])?;
    let mut daemon = Carpd::new("a").hook(&says("one"), "").start(&lab)?;
    daemon.wait_says("one", TAKEOVER)?;
    let tree = Tree::of(&lab, "a", &daemon)?;
    tree.signal(tree.reader.expect("a hook needs the reader"), Signal::SIGKILL)?;
    daemon.wait_says("The reader process is gone; starts it again", SOON)?;
    save(&lab, "/run/lab/h.lua", "two")?;
    daemon.wait_says("Took a new version of a hook into use", SOON)?;
    let now = Tree::of(&lab, "a", &daemon)?;
    assert!(now.reader.is_some() && now.reader != tree.reader, "{now:?}");
    assert_eq!(now.engine, tree.engine);
    daemon.stop()?;
    // A daemon without hooks has none, but a reload reads by one.
    let plain = Carpd::new("a").set("advskew", 7);
    let mut daemon = plain.start(&lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    daemon.reload(&lab, &plain.set("advskew", 8))?;
    let tree = Tree::of(&lab, "a", &daemon)?;
    let ended = || Tree::of(&lab, "a", &daemon).is_ok_and(|tree| tree.reader.is_none());
    lab.until("the reader to end", SOON, || Ok(ended().then_some(())))?;
    assert!(tree.engine.is_some());
    daemon.stop()
}
