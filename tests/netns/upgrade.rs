//! New programs are installed while a daemon runs: it stays of one build until it is restarted.

use std::fs;
use std::path::Path;

use carpd::lab::Lab;
use nix::sys::signal::Signal;

use crate::rig::{CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, lan, sh};
use crate::tree::Tree;
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new(
        "upgrade::a_running_daemon_keeps_to_the_programs_it_was_started_with",
        replaced,
    )]
}

const PROGRAMS: [&str; 3] = ["carpd", "carpd-daemon", "carpd-worker"];

/// What a process of the daemon was made of, as the kernel shows it.
fn program(lab: &Lab, pid: i32) -> Result<String, Failed> {
    Ok(sh(lab, "a", &format!("readlink /proc/{pid}/exe"))?.join(""))
}

/// The daemon's processes once it has an engine and a runner, and neither is this one.
fn complete(lab: &Lab, daemon: &Daemon, dead: i32) -> Result<Tree, Failed> {
    Ok(lab.until("an engine and a runner", SOON, || {
        let tree = Tree::of(lab, "a", daemon).ok();
        Ok(tree.filter(|tree| {
            let engine = tree.engine.is_some_and(|engine| engine != dead);
            engine
                && tree.runners.iter().any(|runner| *runner != dead)
                && !tree.runners.contains(&dead)
        }))
    })?)
}

fn replaced() -> Outcome {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let at = |name: &str| directory.path().join(name);
    let built = Path::new(CARPD).parent().unwrap();
    for name in PROGRAMS {
        fs::hard_link(built.join(name), at(name))?;
    }
    let lab = lan(&["a"])?;
    // Asked for its health, it needs runners again and again.
    let lua = "function on_master() log.info('Serves') end function health() return 0 end";
    let toml = "health = { interval = \"1s\", timeout = \"1s\", fall = 9, on-failure = \"demote\", demotion = 1 }\n";
    let spec = Carpd::new("a").hook(lua, toml);
    spec.write(&lab)?;
    let mut daemon = spec.restart_as(&lab, at("carpd").to_str().unwrap(), "/run/lab/carpd.toml")?;
    daemon.wait_says("Serves", TAKEOVER)?;
    // As a package manager does it: new files take the names of the old ones. These do nothing.
    for name in PROGRAMS {
        fs::copy("/bin/false", at("new"))?;
        fs::rename(at("new"), at(name))?;
    }
    let of_old = |tree: &Tree| -> Outcome {
        let old = |name: &str| format!("{} (deleted)", at(name).display());
        assert_eq!(program(&lab, tree.engine()?)?, old("carpd-daemon"));
        for runner in &tree.runners {
            assert_eq!(program(&lab, *runner)?, old("carpd-worker"));
        }
        Ok(())
    };
    let tree = complete(&lab, &daemon, 0)?;
    of_old(&tree)?;
    let engine = tree.engine()?;
    tree.signal(engine, Signal::SIGKILL)?;
    daemon.wait_says("Serves", TAKEOVER)?;
    let tree = complete(&lab, &daemon, engine)?;
    of_old(&tree)?;
    let runner = tree.runners[0];
    tree.signal(runner, Signal::SIGKILL)?;
    of_old(&complete(&lab, &daemon, runner)?)?;
    daemon.stop()
}
