//! The two nodes of the example, and how a daemon is installed on them.

use std::fs;
use std::path::PathBuf;

use super::{ADDRESS, Daemon, LabError, Options};
use crate::lab::control::Lab;
use crate::lab::host::Process;
use crate::types::MacAddr;

/// The configuration and the hook that the project ships; the lab only changes what differs between
/// the nodes.
const CONFIG: &str = include_str!("../../../examples/carpd.toml");
const HOOK: &str = include_str!("../../../examples/hooks/failover.lua");
const MASTER_UP: &str = include_str!("../../../examples/ucarp/master-up.sh");
const MASTER_DOWN: &str = include_str!("../../../examples/ucarp/master-down.sh");
const PASSWORD: &str = "gw22";

/// The hook of both nodes.
#[derive(Debug, Clone)]
pub(super) enum Hook {
    /// A script, written onto the node.
    Script(String),
    /// A component, read from its path: the nodes share this machine's files.
    Component(PathBuf),
}

/// One node.
pub(super) struct Node {
    pub(super) name: &'static str,
    pub(super) daemon: Daemon,
    pub(super) mac: MacAddr,
    /// It preempts the other, and it is the better one.
    preempts: bool,
    program: String,
    hook: Hook,
}

impl Node {
    /// Installs the daemon's files on the node.
    pub(super) fn new(
        lab: &Lab,
        name: &'static str,
        daemon: Daemon,
        options: &Options,
        hook: &Hook,
    ) -> Result<Self, LabError> {
        let mac = lab.host(name).facts()?.mac;
        let (program, hook) = (options.program.clone(), hook.clone());
        let node = Self {
            name,
            daemon,
            mac,
            preempts: name == "node2",
            program,
            hook,
        };
        node.prepare(lab)?;
        Ok(node)
    }

    /// Writes the daemon's files, which do not survive a power cut.
    pub(super) fn prepare(&self, lab: &Lab) -> Result<(), LabError> {
        let host = lab.host(self.name);
        match self.daemon {
            Daemon::Carpd => {
                host.write("/run/lab/web.pass", 0o600, &format!("{PASSWORD}\n"))?;
                if let Hook::Script(text) = &self.hook {
                    host.write("/run/lab/hooks/failover.lua", 0o644, text)?;
                }
                host.write("/run/lab/carpd.toml", 0o644, &self.config())
            }
            Daemon::Ucarp => {
                host.write("/run/lab/master-up.sh", 0o755, MASTER_UP)?;
                host.write("/run/lab/master-down.sh", 0o755, MASTER_DOWN)
            }
        }
    }

    fn config(&self) -> String {
        let mut config = CONFIG
            .replace("/etc/carpd/", "/run/lab/")
            .replace("node2", self.name);
        if let Hook::Component(path) = &self.hook {
            config = config.replace(
                "\"hooks/failover.lua\"",
                &toml::Value::String(path.display().to_string()).to_string(),
            );
            // It is wherever the caller put it, and need not belong to root.
            config = format!("[daemon]\nfile-owners = \"warn\"\n\n{config}");
        }
        if self.preempts {
            return config;
        }
        config
            .replace("advskew = 0", "advskew = 15")
            .replace("preempt = true", "preempt = false")
    }

    /// Starts the daemon.
    pub(super) fn start(&self, lab: &Lab) -> Result<Process, LabError> {
        match self.daemon {
            Daemon::Carpd => {
                let argv = [
                    self.program.as_str(),
                    "run",
                    "--config",
                    "/run/lab/carpd.toml",
                    "--log-format",
                    "json",
                ];
                lab.host(self.name).spawn(&argv)
            }
            Daemon::Ucarp => lab.host(self.name).spawn(&self.ucarp()),
        }
    }

    fn ucarp(&self) -> Vec<String> {
        let (srcip, advskew) = if self.preempts {
            ("192.168.32.32", 0)
        } else {
            ("192.168.32.33", 15)
        };
        let mut argv = ["ucarp", "--interface=eth0", "--vhid=40", "--shutdown"]
            .map(str::to_owned)
            .to_vec();
        argv.extend([
            format!("--pass={PASSWORD}"),
            format!("--srcip={srcip}"),
            format!("--addr={ADDRESS}"),
            format!("--advskew={advskew}"),
            "--upscript=/run/lab/master-up.sh".to_owned(),
            "--downscript=/run/lab/master-down.sh".to_owned(),
            format!("--xparam={}", self.name),
        ]);
        argv.extend(self.preempts.then(|| "--preempt".to_owned()));
        argv
    }
}

/// The hook: the operator's file, or the example.
pub(super) fn hook(options: &Options) -> Result<Hook, LabError> {
    let Some(path) = &options.hook else {
        return Ok(Hook::Script(HOOK.to_owned()));
    };
    let failed = |source| LabError::Io {
        what: format!("could not read the hook {}", path.display()),
        source,
    };
    if path.extension().is_some_and(|ending| ending == "wasm") {
        return fs::canonicalize(path).map(Hook::Component).map_err(failed);
    }
    fs::read_to_string(path).map(Hook::Script).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lab changes the example by replacing text: the text that it replaces must exist.
    #[test]
    fn the_example_becomes_the_configuration_of_node3() {
        let node = Node {
            name: "node3",
            daemon: Daemon::Carpd,
            mac: MacAddr::default(),
            preempts: false,
            program: String::new(),
            hook: Hook::Component("/opt/failover.wasm".into()),
        };
        let config = node.config();
        assert!(
            config.contains("source = \"/opt/failover.wasm\""),
            "{config}"
        );
        for line in [
            "advskew = 15",
            "preempt = false",
            "password-file = \"/run/lab/web.pass\"",
            "\"node3\"",
            "\"nodevir2\"",
        ] {
            assert!(config.contains(line), "{line}: {config}");
        }
        assert!(!config.contains("\"node2\""), "{config}");
    }
}
