//! The daemons: how each is configured, started, and what it says.

use std::time::Duration;

use carpd::lab::{Lab, Process};
use carpd::types::Timestamp;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::Failed;
use crate::round::{SOON, TAKEOVER};

/// The daemon under test, as every host sees it: a release build.
pub(crate) const CARPD: &str = env!("CARGO_BIN_EXE_carpd");
pub(crate) const ADDRESS: &str = "192.168.32.22";
/// advskew of the worse node.
pub(crate) const SKEW: u8 = 15;

const CONFIG: &str = include_str!("../../../examples/carpd.toml");
const HOOK: &str = include_str!("../../../examples/hooks/failover.lua");
const MASTER_UP: &str = include_str!("../../../examples/ucarp/master-up.sh");
const MASTER_DOWN: &str = include_str!("../../../examples/ucarp/master-down.sh");
/// Where scripts say how far they are: a built-in of the shell costs nothing.
const PROGRESS: &str = "/run/lab/progress";

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Carpd,
    Ucarp,
    Keepalived,
}

/// A node of the pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) host: &'static str,
    pub(crate) address: &'static str,
    /// The better one, which takes the address back.
    pub(crate) better: bool,
}

pub(crate) const A: Node = Node {
    host: "a",
    address: "192.168.32.32",
    better: true,
};
pub(crate) const B: Node = Node {
    host: "b",
    address: "192.168.32.33",
    better: false,
};

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Carpd, Self::Ucarp, Self::Keepalived];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Carpd => "carpd",
            Self::Ucarp => "ucarp",
            Self::Keepalived => "keepalived",
        }
    }

    /// Is this line of its log the change to a state?
    pub(crate) fn is_change(self, line: &str, master: bool) -> bool {
        line.contains(match (self, master) {
            (Self::Carpd, true) => "\"to\":\"master\"",
            (Self::Carpd, false) => "\"to\":\"backup\"",
            (Self::Ucarp, true) => "Switching to state: MASTER",
            (Self::Ucarp, false) => "Switching to state: BACKUP",
            (Self::Keepalived, true) => "Entering MASTER STATE",
            (Self::Keepalived, false) => "Entering BACKUP STATE",
        })
    }

    /// Writes the files and starts it on a node.
    pub(crate) fn start(self, lab: &Lab, node: Node) -> Result<Running, Failed> {
        let host = lab.host(node.host);
        let progress = format!(
            "[ -p {PROGRESS} ] || mkfifo {PROGRESS}; exec 3<>{PROGRESS}; echo listens; exec cat <&3"
        );
        let mut progress = host.spawn(&["bash", "-c", &progress])?;
        progress.wait_line("its start", SOON, |line| line == "listens")?;
        let argv = match self {
            Self::Carpd => {
                host.write("/run/lab/web.pass", 0o600, "gw22\n")?;
                host.write("/run/lab/hooks/failover.lua", 0o644, HOOK)?;
                host.write("/run/lab/carpd.toml", 0o644, &carpd_toml(node))?;
                words(&format!(
                    "{CARPD} run --config /run/lab/carpd.toml --log-format json"
                ))
            }
            Self::Ucarp => {
                host.write("/run/lab/up", 0o755, &telling(MASTER_UP))?;
                host.write("/run/lab/down", 0o755, MASTER_DOWN)?;
                let Node {
                    host,
                    address,
                    better,
                } = node;
                let role = if better {
                    "--advskew=0 --preempt".to_owned()
                } else {
                    format!("--advskew={SKEW}")
                };
                words(&format!(
                    "ucarp --interface=eth0 --vhid=40 --pass=gw22 --addr={ADDRESS} --srcip={address} --shutdown --xparam={host} \
                     --upscript=/run/lab/up --downscript=/run/lab/down {role}"
                ))
            }
            Self::Keepalived => {
                let without_address = |script: &str| {
                    let kept = script
                        .lines()
                        .filter(|line| !line.starts_with("ip address"))
                        .map(|line| line.replace("\"$3\"", node.host));
                    kept.map(|line| line + "\n").collect::<String>()
                };
                host.write("/run/lab/up", 0o755, &telling(&without_address(MASTER_UP)))?;
                host.write("/run/lab/down", 0o755, &without_address(MASTER_DOWN))?;
                host.write("/run/lab/keepalived.conf", 0o644, &keepalived_conf(node))?;
                words(
                    "keepalived --dont-fork --vrrp --log-console --log-detail --use-file=/run/lab/keepalived.conf",
                )
            }
        };
        Ok(Running {
            kind: self,
            process: host.spawn(&argv)?,
            progress,
        })
    }
}

pub(crate) fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// The script with words about its progress in it.
fn telling(script: &str) -> String {
    let start = "service httpd start";
    script.replace(
        start,
        &format!("echo service >{PROGRESS}\n{start}\necho end >{PROGRESS}"),
    )
}

fn carpd_toml(node: Node) -> String {
    let config = CONFIG
        .replace("/etc/carpd/", "/run/lab/")
        .replace("node2", node.host);
    if node.better {
        config
    } else {
        config
            .replace("advskew = 0", &format!("advskew = {SKEW}"))
            .replace("preempt = true", "preempt = false")
    }
}

fn keepalived_conf(node: Node) -> String {
    let priority = if node.better { 150 } else { 100 };
    format!(
        "global_defs {{\n script_user root\n}}\nvrrp_instance web {{\n state BACKUP\n interface eth0\n virtual_router_id 40\n \
         priority {priority}\n advert_int 1\n virtual_ipaddress {{\n {ADDRESS}/24\n }}\n notify_master /run/lab/up\n \
         notify_backup /run/lab/down\n}}\n"
    )
}

/// A daemon that runs, and its scripts' words.
pub(crate) struct Running {
    kind: Kind,
    pub(crate) process: Process,
    progress: Process,
}

impl Running {
    /// Waits for its end, and stops listening to its scripts: those of the next one shall be heard
    /// by nobody else.
    pub(crate) fn wait_end(&self) -> Result<(), Failed> {
        self.process.wait(TAKEOVER)?;
        self.progress.signal(Signal::SIGKILL)?;
        self.progress.wait(SOON)?;
        Ok(())
    }

    /// Waits until it says that it is backup.
    pub(crate) fn wait_backup(&mut self) -> Result<(), Failed> {
        let kind = self.kind;
        self.process
            .wait_line("the state backup", TAKEOVER, |line| {
                kind.is_change(line, false)
            })?;
        Ok(())
    }

    /// When it said, after `from`, that it is master.
    pub(crate) fn said_master(&self, from: Timestamp) -> Option<Timestamp> {
        let said = self
            .process
            .lines()
            .into_iter()
            .find(|line| line.at >= from && self.kind.is_change(&line.text, true));
        said.map(|line| line.at)
    }

    /// Waits for the end of the hook or script that follows mastership, and says when its service
    /// was begun and when it ended.
    pub(crate) fn wait_hook(&mut self, from: Timestamp) -> Result<Hook, Failed> {
        match self.kind {
            Kind::Carpd => {
                let of = |line: &str, message: &str, key: &str, value: &str| {
                    let entry: Value = serde_json::from_str(line).unwrap_or_default();
                    entry["message"] == message
                        && entry[key]
                            .as_str()
                            .is_some_and(|text| text.starts_with(value))
                };
                let ran = |line: &str| of(line, "Ran a hook", "entry", "on_master");
                let end = self.process.wait_line("the hook's end", TAKEOVER, ran)?;
                if !end.text.contains("\"done\"") {
                    return Err(format!("the hook failed: {}", end.text).into());
                }
                let effects: Vec<_> = self
                    .process
                    .lines()
                    .into_iter()
                    .filter(|line| line.at >= from && line.at <= end.at)
                    .collect();
                let route = effects
                    .iter()
                    .rfind(|line| of(&line.text, "Applied an effect", "effect", "route"));
                let service = effects
                    .iter()
                    .rfind(|line| of(&line.text, "Applied an effect", "effect", "service"));
                let (route, service) = route
                    .zip(service)
                    .ok_or("the hook's effects are not in the log")?;
                Ok(Hook {
                    end: end.at,
                    service: service.at.since(route.at),
                })
            }
            Kind::Ucarp | Kind::Keepalived => {
                let service = self
                    .progress
                    .wait_line("the service's start", TAKEOVER, |line| line == "service")?;
                let end = self
                    .progress
                    .wait_line("the script's end", TAKEOVER, |line| line == "end")?;
                Ok(Hook {
                    end: end.at,
                    service: end.at.since(service.at),
                })
            }
        }
    }
}

/// A hook's run, or a script's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    pub(crate) end: Timestamp,
    /// What the service's init script took.
    pub(crate) service: Duration,
}
