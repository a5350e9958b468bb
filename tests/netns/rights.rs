//! What each process of a running daemon keeps, as the kernel tells it and as docs/operations.md
//! says.

use std::ops::RangeInclusive;

use carpd::lab::{Host, Lab};
use nix::sys::signal::Signal;

use crate::rig::{CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, lan, sh};
use crate::tree::Tree;
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "rights::each_process_keeps_what_the_documentation_says",
            as_documented,
        ),
        Case::new(
            "rights::what_only_root_may_read_is_loaded_and_reloaded",
            for_root_alone,
        ),
        Case::new("rights::a_reader_that_dies_comes_back", reader_dies),
        Case::new(
            "rights::what_a_child_says_is_in_the_daemons_log",
            children_log,
        ),
        Case::new("rights::what_roots_engine_left_is_taken_over", taken_over),
        Case::new(
            "rights::where_no_user_can_be_had_it_stays_who_it_is_and_says_so",
            stays,
        ),
        Case::new(
            "rights::what_it_may_not_read_it_does_not_take_for_nothing",
            unreadable,
        ),
        Case::new(
            "rights::one_that_cannot_change_its_user_shares_the_locks",
            shares_locks,
        ),
        Case::new(
            "rights::a_state_directory_that_is_read_only_keeps_nobody_from_starting",
            read_only,
        ),
        Case::new("rights::who_may_not_speak_to_it_hears_who_may", refused),
        Case::new("rights::groups_may_read_or_give_orders", groups),
    ]
}

const DOCUMENTED: &str = include_str!("../../docs/operations.md");

/// A cell of the table of processes, in the row of the name that the kernel shows.
fn cell(process: &str, column: usize) -> &'static str {
    let table = DOCUMENTED
        .split("## Rights")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .unwrap();
    let row = table
        .lines()
        .find(|line| line.starts_with(&format!("| `{process}` |")))
        .expect("a row for each process");
    row.split('|').nth(column).unwrap().trim()
}

/// The capabilities that a process keeps.
fn documented(process: &str) -> Vec<&'static str> {
    cell(process, 3)
        .split([' ', ',', ';'])
        .filter(|word| word.starts_with("CAP_"))
        .collect()
}

/// Its user, where root has users to give.
fn documented_user(process: &str) -> RangeInclusive<u32> {
    let user = cell(process, 2);
    let number = |text: &str| {
        if text == "root" {
            0
        } else {
            text.parse().expect("a number")
        }
    };
    match user.split_once(" to ") {
        Some((first, last)) => number(first)..=number(last),
        None => number(user)..=number(user),
    }
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
        let name = host
            .read(&format!("/proc/{pid}/comm"))?
            .trim_end()
            .to_owned();
        // `ps -f` calls it so as well, and says which hook it is for.
        let words = host.read(&format!("/proc/{pid}/cmdline"))?;
        let title = words.split('\0').next().unwrap_or_default();
        let whole = match name.as_str() {
            "carpd-runner" | "carpd-compiler" | "carpd-tester" => format!("{name}: h"),
            _ => name.clone(),
        };
        if title != whole {
            return Err(format!("{name} is called {title:?}, not {whole:?}").into());
        }
        Ok(Self {
            name,
            status: host.read(&format!("/proc/{pid}/status"))?,
        })
    }

    fn field(&self, name: &str) -> &str {
        let line = self
            .status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    }

    /// The names of its capabilities, of one set; an error if there is one that nothing here keeps.
    fn capabilities(&self, set: &str) -> Result<Vec<&'static str>, Failed> {
        let bits = u64::from_str_radix(self.field(set), 16)?;
        let known = CAPABILITIES
            .iter()
            .filter(|(bit, _)| bits & (1 << bit) != 0);
        let (mask, names) = known.fold((0, Vec::new()), |(mask, mut names), (bit, name)| {
            names.push(*name);
            (mask | 1 << bit, names)
        });
        if mask == bits {
            Ok(names)
        } else {
            Err(format!("{} keeps {set} {bits:x}", self.name).into())
        }
    }
}

/// With a hook, and with a grant that needs the helper.
fn with_grant(lab: &Lab) -> Result<Carpd, Failed> {
    let lua = "function on_master() file.write('/run/lab/out/flag', 'x') end\n";
    lab.host("a").run(&["mkdir", "/run/lab/out"], SOON)?;
    let toml = "[hook.h.grant]\nfile = [{ path = \"/run/lab/out/flag\", do = [\"write\"] }]";
    let listen = format!("{toml}\n\n[daemon]\nlisten = \"127.0.0.1:9478\"");
    Ok(Carpd::new("a").hook(lua, &listen))
}

/// Such a daemon as master.
fn master(lab: &Lab) -> Result<Daemon, Failed> {
    let mut daemon = with_grant(lab)?.start(lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    daemon.wait_ran("on_master", SOON)?;
    Ok(daemon)
}

/// Are there users to give? In a namespace of an ordinary user's there is one.
fn has_users(host: &Host) -> Result<bool, Failed> {
    Ok(host
        .read("/proc/self/uid_map")?
        .split_whitespace()
        .next_back()
        == Some("4294967295"))
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
    let endpoint = Kept::of(&host, tree.endpoint.expect("`listen` needs the endpoint"))?;
    let all = [&engine, &helper, &reader, &runner, &endpoint];
    let names = all.map(|process| process.name.as_str());
    assert_eq!(
        names,
        [
            "carpd-engine",
            "carpd-helper",
            "carpd-reader",
            "carpd-runner",
            "carpd-http"
        ]
    );
    for process in all {
        let mut documented = documented(&process.name);
        documented.sort_unstable();
        for set in ["CapEff", "CapPrm"] {
            let mut kept = process.capabilities(set)?;
            kept.sort_unstable();
            assert_eq!(kept, documented, "{} {set}", process.name);
        }
        assert!(
            process.capabilities("CapInh")?.is_empty()
                && process.capabilities("CapAmb")?.is_empty()
        );
        assert_eq!(process.field("NoNewPrivs"), "1", "{}", process.name);
        let user = if has_users(&host)? {
            documented_user(&process.name)
        } else {
            0..=0
        };
        // Real, effective, saved, and that of the file system.
        for field in ["Uid", "Gid"] {
            let numbers = process
                .field(field)
                .split_whitespace()
                .map(str::parse)
                .collect::<Result<Vec<u32>, _>>()?;
            assert!(
                numbers.len() == 4 && numbers.iter().all(|number| user.contains(number)),
                "{}: {numbers:?}",
                process.name
            );
        }
        assert!(
            *user.start() == 0 || process.field("Groups").is_empty(),
            "{}",
            process.name
        );
    }
    for process in [&engine, &helper, &reader, &runner] {
        assert_eq!(process.field("Seccomp"), "2", "{}", process.name);
    }
    let score = |pid: i32| -> Result<i32, Failed> {
        Ok(host
            .read(&format!("/proc/{pid}/oom_score_adj"))?
            .trim()
            .parse()?)
    };
    let runner_goes_first = score(tree.runners[0])? - score(tree.engine()?)?;
    assert_eq!(
        runner_goes_first, 500,
        "what a hook takes of memory must not cost the engine its life"
    );
    let nice = |pid: i32| -> Result<i32, Failed> {
        let stat = host.read(&format!("/proc/{pid}/stat"))?;
        let field = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.split(' ').nth(16));
        Ok(field.ok_or("no niceness")?.parse()?)
    };
    // Only root of the machine itself may put a process before others.
    let may = host.read("/proc/self/uid_map")?.contains("4294967295");
    let first = nice(tree.runners[0])? - nice(tree.engine()?)?;
    assert_eq!(
        first,
        if may { 10 } else { 0 },
        "what a hook takes of the processor must not hold up the protocol"
    );
    assert_eq!(nice(tree.runners[0])?, nice(tree.keeper)?);
    let status = host
        .run(
            &[CARPD, "status", "--json", "--config", "/run/lab/carpd.toml"],
            SOON,
        )?
        .stdout
        .join("\n");
    let own_uid = if has_users(&host)? {
        "\"own-uid\""
    } else {
        "\"own-uid: "
    };
    for measure in [own_uid, "\"landlock\"", "\"seccomp\""] {
        let own = status.split("\"engine\"").nth(1).unwrap_or_default();
        assert!(
            own.contains(measure),
            "{measure} of the engine is not in {status}"
        );
    }
    Ok(())
}

/// Others may write where the helper writes down what it changes: the daemon says so at its start,
/// and the helper when it comes to it.
fn children_log() -> Outcome {
    let lab = lan(&["a"])?;
    sh(
        &lab,
        "a",
        "mkdir -p -m 755 /var/lib/carpd && mkdir -m 777 /var/lib/carpd/helper",
    )?;
    sh(&lab, "a", "chmod 777 /var/lib/carpd/helper")?;
    let mut daemon = with_grant(&lab)?.start(&lab)?;
    let begins = |words: &'static str| {
        move |entry: &crate::rig::Entry| entry.text("message").starts_with(words)
    };
    if has_users(&lab.host("a"))? {
        let judged = begins("Records of previous values cannot be trusted here");
        let said = daemon.wait("the engine's word", SOON, judged)?;
        assert_eq!(said.text("mend"), "chmod go-w /var/lib/carpd/helper");
    }
    let failed = begins("Could not record the previous value");
    let said = daemon.wait("the helper's word", TAKEOVER, failed)?;
    assert_eq!(said.text("process"), "carpd-helper");
    let details = said.text("details");
    assert!(
        details.contains("others can write to it (mode 777)"),
        "{details}"
    );
    // It comes back by the configuration in use, whatever is wrong with the file by now.
    sh(&lab, "a", "echo nonsense >> /run/lab/carpd.toml")?;
    let tree = Tree::of(&lab, "a", &daemon)?;
    tree.signal(tree.helper.expect("a grant needs it"), Signal::SIGKILL)?;
    daemon.wait_says("The helper process is running again", SOON)?;
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
    let spec = Carpd::new("a")
        .hook("", "")
        .set("password-file", "\"web.pass\"");
    let toml = spec.toml().replace("h.lua", "hooks/h.lua");
    host.write("/run/lab/own/carpd.toml", 0o600, &toml)?;
    let carpd = |verb: &str| {
        sh(
            &lab,
            "a",
            &format!("{CARPD} {verb} --config /run/lab/own/carpd.toml 2>&1"),
        )
    };
    let mut daemon = spec.restart_from(&lab, "/run/lab/own/carpd.toml")?;
    daemon.wait_says("one", TAKEOVER)?;
    // Saved, and live.
    save(&lab, "/run/lab/own/hooks/h.lua", "two")?;
    daemon.wait_says("Activated a new version of a hook", SOON)?;
    carpd("hook apply h")?;
    daemon.wait_says("two", SOON)?;
    // Another password, and another hook.
    save(&lab, "/run/lab/own/hooks/g.lua", "three")?;
    host.write("/run/lab/own/other.pass", 0o600, "gw23")?;
    let other = toml
        .replace("hooks/h.lua", "hooks/g.lua")
        .replace("web.pass", "other.pass");
    host.write("/run/lab/own/carpd.toml", 0o600, &other)?;
    carpd("reload")?;
    carpd("hook apply h")?;
    daemon.wait_says("three", SOON)?;
    // What is named now is watched now.
    save(&lab, "/run/lab/own/hooks/g.lua", "four")?;
    daemon.wait_says("Activated a new version of a hook", SOON)?;
    // A password that is not there is told as such; nothing was changed.
    sh(&lab, "a", "rm /run/lab/own/other.pass")?;
    let said = sh(
        &lab,
        "a",
        &format!("{CARPD} reload --config /run/lab/own/carpd.toml 2>&1 || true"),
    )?
    .join("\n");
    assert!(
        said.contains("cannot read /run/lab/own/other.pass: No such file or directory"),
        "{said}"
    );
    daemon.stop()
}

fn reader_dies() -> Outcome {
    let lab = lan(&["a"])?;
    let mut daemon = Carpd::new("a").hook(&says("one"), "").start(&lab)?;
    daemon.wait_says("one", TAKEOVER)?;
    let tree = Tree::of(&lab, "a", &daemon)?;
    tree.signal(
        tree.reader.expect("a hook needs the reader"),
        Signal::SIGKILL,
    )?;
    daemon.wait_says("The reader process is gone; restarting it", SOON)?;
    save(&lab, "/run/lab/h.lua", "two")?;
    daemon.wait_says("Activated a new version of a hook", SOON)?;
    let now = Tree::of(&lab, "a", &daemon)?;
    assert!(now.reader.is_some() && now.reader != tree.reader, "{now:?}");
    assert_eq!(now.engine, tree.engine);
    // The file names another hook by now, which no reload has taken into use.
    let edit = "cp /run/lab/carpd.toml /run/lab/kept; sed -i s/h.lua/g.lua/ /run/lab/carpd.toml";
    sh(&lab, "a", edit)?;
    save(&lab, "/run/lab/g.lua", "other")?;
    tree.signal(now.reader.expect("it was there"), Signal::SIGKILL)?;
    daemon.wait_says("The reader process is gone; restarting it", SOON)?;
    save(&lab, "/run/lab/h.lua", "three")?;
    daemon.wait_says("Activated a new version of a hook", SOON)?;
    let last = Tree::of(&lab, "a", &daemon)?;
    assert!(last.reader.is_some() && last.reader != now.reader);
    sh(&lab, "a", "mv /run/lab/kept /run/lab/carpd.toml")?;
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

/// An older version's engine was root, and so was what it wrote. A killed one left an address and a
/// file behind, too.
fn taken_over() -> Outcome {
    let lab = lan(&["a"])?;
    let host = lab.host("a");
    let lua = "function on_master() file.write('/run/lab/flag', 'x') state.set('n', (state.get('n') or 0) + 1)\n\
               log.info('n is ' .. state.get('n')) end";
    let toml = "[hook.h.grant]\nfile = [{ path = \"/run/lab/flag\", do = [\"write\"] }]";
    let spec = Carpd::new("a").hook(lua, toml);
    let mut daemon = spec.start(&lab)?;
    daemon.wait_says("n is 1", TAKEOVER)?;
    daemon.wait_ran("on_master", SOON)?;
    let owners = "find /run/carpd /var/lib/carpd ! -type s -printf '%u %p\n' | sort";
    let own = |lab: &Lab| -> Result<Vec<String>, Failed> {
        let all = sh(lab, "a", &owners.replace("%u", "%U"))?;
        Ok(all
            .into_iter()
            .filter(|line| line.starts_with("60600 "))
            .collect())
    };
    let before = own(&lab)?;
    Tree::of(&lab, "a", &daemon)?.signal_all(Signal::SIGKILL)?;
    daemon.process.wait(SOON)?;
    // As an older version would have left it; and what does not belong there.
    sh(
        &lab,
        "a",
        "chown -R 0:0 /run/carpd /var/lib/carpd && chmod 700 /var/lib/carpd && chmod 750 /run/carpd",
    )?;
    sh(
        &lab,
        "a",
        "echo x > /run/lab/secret; echo x > /run/carpd/locks/secret; ln /run/carpd/locks/secret /run/lab/named",
    )?;
    sh(
        &lab,
        "a",
        "ln -s /run/lab/secret /run/carpd/locks/link; ln -s /run/lab /run/carpd/locks/dir",
    )?;
    let mut daemon = spec.restart(&lab)?;
    daemon.wait_says("n is 2", TAKEOVER)?;
    daemon.wait_ran("on_master", SOON)?;
    assert!(
        !daemon.text().contains("belongs to user"),
        "{}",
        daemon.text()
    );
    let status = sh(
        &lab,
        "a",
        &format!("{CARPD} status --config /run/lab/carpd.toml"),
    )?
    .join("\n");
    assert!(
        status.contains("web: master") && !status.contains("cannot"),
        "{status}"
    );
    if has_users(&host)? {
        let after = own(&lab)?;
        assert!(
            !before.is_empty() && before.iter().all(|line| after.contains(line)),
            "{before:?} {after:?}"
        );
        let foreign = sh(
            &lab,
            "a",
            "stat -c %u /run/lab/secret /run/lab/named /run/carpd /var/lib/carpd /var/lib/carpd/helper",
        )?;
        assert_eq!(foreign, ["0"; 5]);
        // As anybody else nobody gets in.
        sh(
            &lab,
            "a",
            "test $(stat -c %a:%g /var/lib/carpd) = 750:60600 && test $(stat -c %a:%u /var/lib/carpd/helper) = 700:0",
        )?;
        sh(
            &lab,
            "a",
            "test $(stat -c %a:%u:%g /run/carpd/carpd-*/control.sock) = 660:0:0",
        )?;
    }
    daemon.stop()?;
    // A reboot: what dead ones left is undone although nothing of this boot has their name; and
    // `carpd cleanup` can do it, too.
    let mut daemon = spec.restart(&lab)?;
    daemon.wait_says("n is 3", TAKEOVER)?;
    daemon.wait_ran("on_master", SOON)?;
    Tree::of(&lab, "a", &daemon)?.signal_all(Signal::SIGKILL)?;
    daemon.process.wait(SOON)?;
    let cleaned = sh(&lab, "a", &format!("{CARPD} cleanup 2>&1"))?.join("\n");
    assert!(
        sh(
            &lab,
            "a",
            "test ! -e /run/lab/flag && ! ip addr show eth0 | grep 192.168.32.22"
        )
        .is_ok(),
        "{cleaned}"
    );
    let mut daemon = spec.restart(&lab)?;
    daemon.wait_says("n is 4", TAKEOVER)?;
    daemon.stop()
}

/// A container with two capabilities; a namespace with one user; a state directory where only root
/// gets.
fn stays() -> Outcome {
    let lab = lan(&["a"])?;
    let host = lab.host("a");
    let spec = Carpd::new("a")
        .hook(&says("one"), "")
        .more("[daemon]\nsandbox = \"best-effort\"");
    spec.write(&lab)?;
    let run = format!("{CARPD} run --config /run/lab/carpd.toml --log-format json");
    let lacks = |daemon: &mut Daemon| -> Result<String, Failed> {
        let wanted = |entry: &crate::rig::Entry| entry.text("missing").starts_with("own-uid: ");
        Ok(daemon
            .wait("what it lacks", TAKEOVER, wanted)?
            .text("missing"))
    };
    let start = |words: &str| -> Result<Daemon, Failed> {
        Ok(Daemon {
            process: host.spawn(&["bash", "-c", words])?,
        })
    };
    let mut daemon = start(&format!(
        "exec setpriv --bounding-set=-all,+net_admin,+net_raw {run}"
    ))?;
    let why = lacks(&mut daemon)?;
    assert!(
        why.contains("it takes CAP_SETUID and CAP_SETGID and CAP_CHOWN and CAP_KILL"),
        "{why}"
    );
    daemon.wait_says("one", TAKEOVER)?;
    let status = sh(
        &lab,
        "a",
        &format!("{CARPD} status --config /run/lab/carpd.toml"),
    )?
    .join("\n");
    assert!(
        status.contains("engine lacks own-uid: it takes CAP_SETUID"),
        "{status}"
    );
    assert!(!status.contains("cannot be written"), "{status}");
    daemon.stop()?;
    let inside = format!(
        "ip link add eth0 type veth peer name eth1 && ip link set eth0 up && ip link set eth1 up && exec {run}"
    );
    let mut daemon = start(&format!(
        "exec unshare --user --map-root-user --net bash -c '{inside}'"
    ))?;
    let why = lacks(&mut daemon)?;
    assert!(why.contains("this namespace has no user 60600"), "{why}");
    daemon.wait_says("one", TAKEOVER)?;
    daemon.stop()?;
    if !has_users(&host)? {
        return Ok(());
    }
    // What an engine of its own user left there is root's again.
    let mut daemon = spec.restart(&lab)?;
    daemon.wait_says("one", TAKEOVER)?;
    // Who may not write to its locks sees them all the same, under the same name and under another.
    sh(&lab, "a", "cp /run/lab/carpd.toml /run/lab/other.toml")?;
    for (toml, says) in [
        ("carpd", "another carpd is already running"),
        ("other", "another carpd already has vhid"),
    ] {
        let words = format!(
            "setpriv --bounding-set=-all,+net_admin,+net_raw {CARPD} run --config /run/lab/{toml}.toml 2>&1 || true"
        );
        let said = sh(&lab, "a", &format!("timeout 5 {words}"))?.join("\n");
        assert!(said.contains(says), "{said}");
    }
    sh(&lab, "a", "ip addr show eth0 | grep 192.168.32.22")?;
    assert!(
        !daemon.text().contains("Restored an address"),
        "{}",
        daemon.text()
    );
    daemon.stop()?;
    sh(
        &lab,
        "a",
        "mkdir -m 700 /run/lab/own && mv /var/lib/carpd /run/lab/own/state",
    )?;
    let spec = spec.more("[daemon]\nstate-dir = \"/run/lab/own/state\"");
    let mut daemon = spec.start(&lab)?;
    let why = lacks(&mut daemon)?;
    assert!(
        why.contains("it would be unable to write to /run/lab/own/state/")
            && why.contains("Permission denied"),
        "{why}"
    );
    daemon.wait_says("one", TAKEOVER)?;
    let status = sh(
        &lab,
        "a",
        &format!("{CARPD} status --config /run/lab/carpd.toml"),
    )?
    .join("\n");
    assert!(
        status.contains("engine lacks own-uid") && !status.contains("belongs to user"),
        "{status}"
    );
    daemon.stop()
}

/// What a process has that was given the two capabilities alone.
const TWO: &str = "setpriv --bounding-set=-all,+net_admin,+net_raw";

/// A daemon with a user for its engine was killed, and the next one may not become that user, nor
/// read what it left.
fn unreadable() -> Outcome {
    let lab = lan(&["a"])?;
    if !has_users(&lab.host("a"))? {
        return Ok(());
    }
    let lua = "function on_master() file.write('/run/lab/flag', 'x') end";
    let toml = "[hook.h.grant]\nfile = [{ path = \"/run/lab/flag\", do = [\"write\"] }]";
    let spec = Carpd::new("a")
        .hook(lua, toml)
        .more("[daemon]\nsandbox = \"best-effort\"");
    let mut daemon = spec.start(&lab)?;
    daemon.wait_ran("on_master", TAKEOVER)?;
    Tree::of(&lab, "a", &daemon)?.signal_all(Signal::SIGKILL)?;
    daemon.process.wait(SOON)?;
    let run = |name: &str| {
        let words = format!(
            "timeout 10 {TWO} {CARPD} run --config /run/lab/{name}.toml 2>&1; echo status $?"
        );
        sh(&lab, "a", &words).map(|said| said.join("\n"))
    };
    let said = run("carpd")?;
    for words in [
        "Could not start",
        "/lock cannot be read (Permission denied)",
        "chown -R 0:0 /run/carpd/carpd-",
        "status 4",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    // What another one left is told as well, by a daemon and by who only cleans up.
    let cleaned = sh(
        &lab,
        "a",
        &format!("{TWO} {CARPD} cleanup 2>&1; echo status $?"),
    )?
    .join("\n");
    assert!(
        cleaned.contains("cannot be read (Permission denied)")
            && cleaned.contains("chown -R 0:0 ")
            && cleaned.contains("status 1")
            && !cleaned.contains("Nothing is left of a dead instance"),
        "{cleaned}"
    );
    // A state directory that is hidden as a whole may have as much in it.
    let hidden = "mkdir -m 700 /run/lab/hidden && mkdir /run/lab/hidden/state && chown 65534 /run/lab/hidden && \
                  (sed 's/eth0/eth9/' /run/lab/carpd.toml; echo; echo 'state-dir = \"/run/lab/hidden/state\"') > /run/lab/hidden.toml";
    sh(&lab, "a", hidden)?;
    let said_of_hidden = run("hidden")?;
    for words in [
        "/run/lab/hidden/state/",
        "set another `run-dir` or `state-dir`",
        "status 4",
    ] {
        assert!(
            said_of_hidden.contains(words),
            "{words:?} is not in {said_of_hidden}"
        );
    }
    sh(
        &lab,
        "a",
        "test -e /run/lab/flag && test -e /run/carpd/carpd-*/ledger",
    )?;
    let dead = sh(
        &lab,
        "a",
        &format!("{CARPD} status --config /run/lab/carpd.toml 2>&1 || true"),
    )?;
    assert!(dead.join("\n").contains("it is dead (pid "), "{dead:?}");
    // As it says, and all is undone.
    let mend = said
        .split('`')
        .find(|part| part.starts_with("chown"))
        .ok_or("no command")?;
    sh(&lab, "a", mend)?;
    let host = lab.host("a");
    let command = format!("exec {TWO} {CARPD} run --config /run/lab/carpd.toml --log-format json");
    let mut daemon = Daemon {
        process: host.spawn(&["bash", "-c", &command])?,
    };
    daemon.wait_says("Removed what a dead process left behind", TAKEOVER)?;
    daemon.wait_state("master", TAKEOVER)?;
    daemon.stop()
}

/// Two daemons of one run-dir: one whose engine has a user, and one that stays root.
fn shares_locks() -> Outcome {
    let lab = lan(&["a"])?;
    let host = lab.host("a");
    if !has_users(&host)? {
        return Ok(());
    }
    let spec = Carpd::new("a");
    let mut first = spec.start(&lab)?;
    first.wait_state("master", TAKEOVER)?;
    let other = spec
        .toml()
        .replace("\"web\"", "\"db\"")
        .replace("vhid = 40", "vhid = 41")
        .replace("192.168.32.22", "192.168.32.24");
    host.write("/run/lab/other.toml", 0o600, &other)?;
    let start = |rights: &str| -> Result<Daemon, Failed> {
        let words =
            format!("exec {rights} {CARPD} run --config /run/lab/other.toml --log-format json");
        Ok(Daemon {
            process: host.spawn(&["bash", "-c", &words])?,
        })
    };
    let locks = "stat -c '%n %a:%u:%g' /run/carpd/locks /run/carpd/locks/* | sed 's/[^ ]*[/]//'";
    for rights in [TWO, ""] {
        let mut second = start(rights)?;
        second.wait("the second", TAKEOVER, |entry| {
            entry.text("message").contains("Acquired the addresses")
        })?;
        assert!(
            !second.text().contains("without a lock"),
            "{rights}: {}",
            second.text()
        );
        let there = sh(&lab, "a", locks)?;
        assert!(there.contains(&"locks 775:0:60600".to_owned()), "{there:?}");
        // Nobody else gets it, with whatever rights.
        for others in [TWO, ""] {
            sh(&lab, "a", "cp /run/lab/other.toml /run/lab/third.toml")?;
            let words =
                format!("timeout 5 {others} {CARPD} run --config /run/lab/third.toml 2>&1 || true");
            let said = sh(&lab, "a", &words)?.join("\n");
            assert!(said.contains("another carpd already has vhid 41"), "{said}");
        }
        // The first can still make locks, and leave them.
        first.reload(&lab, &spec.clone().set("vhid", 50))?;
        first.wait_state("master", TAKEOVER)?;
        first.reload(&lab, &spec)?;
        assert!(
            !first.text().contains("without a lock"),
            "{rights}: {}",
            first.text()
        );
        second.stop()?;
    }
    first.stop()
}

/// As after an error of the disk.
fn read_only() -> Outcome {
    let lab = lan(&["a"])?;
    let lua = "function on_master() state.set('n', (state.get('n') or 0) + 1)\n\
               log.info('n is ' .. state.get('n')) end";
    let spec = Carpd::new("a").hook(lua, "");
    let mut daemon = spec.start(&lab)?;
    daemon.wait_says("n is 1", TAKEOVER)?;
    daemon.stop()?;
    let state = "/var/lib/carpd";
    let close = format!("mount --bind {state} {state} && mount -o remount,bind,ro {state}");
    sh(&lab, "a", &close)?;
    let mut daemon = spec.restart(&lab)?;
    daemon.wait_says("n is 2", TAKEOVER)?;
    let status = sh(&lab, "a", &format!("{CARPD} status"))?.join("\n");
    assert!(
        status.contains("cannot write ") && status.contains("Read-only file system"),
        "{status}"
    );
    assert!(
        !has_users(&lab.host("a"))? || !status.contains("engine lacks own-uid"),
        "{status}"
    );
    daemon.stop()
}

/// Where every user of the host can run the program, wherever it was built.
const PROGRAM: &str = "/run/carpd-for-all";

fn refused() -> Outcome {
    let lab = lan(&["a"])?;
    if !has_users(&lab.host("a"))? {
        return Ok(());
    }
    let mut daemon = Carpd::new("a").start(&lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    sh(
        &lab,
        "a",
        &format!("touch {PROGRAM} && mount --bind {CARPD} {PROGRAM}"),
    )?;
    for verb in ["status", "reload", "status --config /run/lab/carpd.toml"] {
        let words = format!(
            "setpriv --reuid 1234 --regid 1234 --clear-groups {PROGRAM} {verb} 2>&1; test $? = 4"
        );
        let said = sh(&lab, "a", &words)?.join("\n");
        assert!(
            said.contains("Permission denied") && said.contains("only root may talk to it"),
            "{verb}: {said}"
        );
    }
    // Where it may not even be seen which there are.
    sh(&lab, "a", "chmod 700 /run/carpd")?;
    for (verb, words) in [
        (
            "status",
            "it cannot be determined whether it is running: /run/carpd/",
        ),
        (
            "status --instance carpd",
            "cannot look for the instance carpd in /run/carpd",
        ),
        ("why", "Permission denied"),
    ] {
        let words_of_other = format!(
            "setpriv --reuid 1234 --regid 1234 --clear-groups {PROGRAM} {verb} 2>&1; test $? = 4"
        );
        let said = sh(&lab, "a", &words_of_other)?.join("\n");
        assert!(said.contains(words), "{verb}: {said}");
    }
    daemon.stop()
}

/// Who is in neither group, in that of readers, and in that of operators.
fn groups() -> Outcome {
    let lab = lan(&["a"])?;
    if !has_users(&lab.host("a"))? {
        return Ok(());
    }
    let node = Carpd::new("a").more("[daemon]\nread-group = \"2000\"\norder-group = \"3000\"\n");
    let mut daemon = node.start(&lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    sh(
        &lab,
        "a",
        &format!("touch {PROGRAM} && mount --bind {CARPD} {PROGRAM}"),
    )?;
    let ask = |groups: &str, verb: &str, status: i32| {
        let words = format!(
            "setpriv --reuid 1234 --regid 1234 {groups} {PROGRAM} {verb} 2>&1; test $? = {status}"
        );
        Ok::<_, Failed>(sh(&lab, "a", &words)?.join("\n"))
    };
    for (groups, verb, status, said) in [
        (
            "--clear-groups",
            "status",
            1,
            "only root and members of the groups 2000 and 3000 may ask this daemon",
        ),
        ("--groups 5,2000", "status", 0, "master"),
        ("--groups 2000", "metrics", 0, "carpd_"),
        (
            "--groups 2000",
            "reload",
            1,
            "only root and members of the group 3000 may give orders to this daemon",
        ),
        ("--groups 3000", "status", 0, "master"),
        ("--groups 3000", "reload", 0, ""),
    ] {
        let answer = ask(groups, verb, status)?;
        assert!(answer.contains(said), "{groups} {verb}: {answer}");
    }
    let refused = daemon.wait_says("Did not carry out an operator's order", SOON)?;
    assert_eq!(
        (refused.text("uid").as_str(), refused.text("order").as_str()),
        ("1234", "reload")
    );
    assert!(refused.text("why").contains("group 3000"), "{refused:?}");
    let done = daemon.wait_says("Carried out an operator's order", SOON)?;
    assert_eq!(
        (done.text("uid").as_str(), done.text("order").as_str()),
        ("1234", "reload")
    );
    // The kernel cuts the name of a process at 15 bytes.
    assert_eq!(done.text("program"), "carpd-for-all");
    daemon.stop()
}
