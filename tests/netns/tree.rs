//! The processes of one daemon, for those who kill and stop them.

use carpd::lab::{Host, Lab};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::rig::{Daemon, Failed};

/// The processes of a running daemon, by their numbers in its host.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    host: Host,
    /// The main process.
    pub(crate) keeper: i32,
    /// None while the keeper waits before it starts the next.
    pub(crate) engine: Option<i32>,
    pub(crate) helper: Option<i32>,
    pub(crate) reader: Option<i32>,
    /// What answers HTTP.
    pub(crate) endpoint: Option<i32>,
    pub(crate) runners: Vec<i32>,
}

impl Tree {
    /// As it is now; an error if there is no keeper any more.
    pub(crate) fn of(lab: &Lab, host: &str, daemon: &Daemon) -> Result<Self, Failed> {
        let host = lab.host(host);
        let keeper = daemon.process.pid();
        let mut tree = Self {
            host: host.clone(),
            keeper,
            engine: None,
            helper: None,
            reader: None,
            endpoint: None,
            runners: Vec::new(),
        };
        let children = host.read(&format!("/proc/{keeper}/task/{keeper}/children"))?;
        for child in children
            .split_whitespace()
            .filter_map(|pid| pid.parse::<i32>().ok())
        {
            // One that ended since then has no command line.
            let command = host
                .read(&format!("/proc/{child}/cmdline"))
                .unwrap_or_default();
            match command.split('\0').nth(1) {
                Some("__engine") => tree.engine = Some(child),
                Some("__helper") => tree.helper = Some(child),
                Some("__reader") => tree.reader = Some(child),
                Some("__endpoint") => tree.endpoint = Some(child),
                Some("__runner") => tree.runners.push(child),
                _ => {}
            }
        }
        Ok(tree)
    }

    /// The engine, which must be there.
    pub(crate) fn engine(&self) -> Result<i32, Failed> {
        self.engine
            .ok_or_else(|| format!("{} has no engine", self.host.name()).into())
    }

    /// All of them, the keeper first.
    pub(crate) fn all(&self) -> Vec<i32> {
        let children = [self.engine, self.helper, self.reader, self.endpoint]
            .into_iter()
            .flatten();
        [self.keeper]
            .into_iter()
            .chain(children)
            .chain(self.runners.iter().copied())
            .collect()
    }

    /// A signal to one of them.
    pub(crate) fn signal(&self, pid: i32, signal: Signal) -> Outcome {
        Ok(self.host.kill(&[pid], signal)?)
    }

    /// A signal to all of them. When the first of them dies the kernel ends the others, which is as
    /// well.
    pub(crate) fn signal_all(&self, signal: Signal) -> Outcome {
        let done = self.host.kill(&self.all(), signal);
        if signal == Signal::SIGKILL {
            Ok(())
        } else {
            Ok(done?)
        }
    }
}
