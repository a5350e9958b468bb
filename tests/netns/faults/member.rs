//! One node: its host, its daemons one after the other, and what they logged.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use carpd::lab::clock::now;
use carpd::lab::{Facts, Host, Lab};
use carpd::types::MacAddr;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::plan::{Families, Plan};
use super::runs;
use super::world::name;
use crate::Outcome;
use crate::rig::{CARPD, Carpd, Daemon, Entry, Failed, SOON, sh};
use crate::tree::Tree;

/// Engine and hooks of one start, on a machine that does other things as well.
pub(super) const START: Duration = Duration::from_secs(8);
/// What the hook sets.
pub(super) const VIRTUAL_NAME: &str = "virtual";
pub(super) const ROUTE: &str = "10.77.0.0/16";

/// The hook of a plan with a component: sets the same route.
const COMPONENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/gateway/gateway.wasm");

/// What a node says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    /// The resources in its ledger, in words.
    pub(super) held: Vec<String>,
    pub(super) master: bool,
    pub(super) demotion: u64,
}

/// A node.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) host: Host,
    pub(super) mac: MacAddr,
    /// The source of its advertisements that are looked at.
    pub(super) ip: IpAddr,
    families: Families,
    /// Between two of its advertisements, undemoted.
    pub(super) interval: Duration,
    spec: Carpd,
    grants: String,
    wasm: bool,
    version: u32,
    pub(super) daemon: Option<Daemon>,
    /// Of the present daemon.
    pub(super) log: Vec<Entry>,
    /// Of those before it, for the report.
    pub(super) old_log: Vec<Entry>,
    /// Its control socket could be made.
    pub(super) speaks: bool,
    /// What it said of itself when all was quiet last.
    pub(super) demotion: u64,
}

/// A hook of some version; `spoiled`: it fails as master.
fn hook(version: u32, spoiled: bool) -> String {
    let fails = if spoiled { "  error('spoiled')\n" } else { "" };
    format!(
        "-- version {version}\nfunction on_master()\n{fails}  hostname.set('{VIRTUAL_NAME}')\n  \
         service.start('httpd')\n  \
         route.replace('{ROUTE}', {{ via = '192.168.32.50' }})\nend\nfunction on_backup() log.debug('down') end\n"
    )
}

impl Member {
    pub(super) fn new(lab: &Lab, plan: &Plan, number: usize) -> Result<Self, Failed> {
        let name = name(number);
        let rank = u8::try_from(number)?;
        let (advbase, advskew, policy) = if plan.fast {
            (0, 40 + 20 * rank, "keep")
        } else {
            (1, 50 * rank, "resign")
        };
        let grants = if plan.wasm {
            "config = { routes = [{ dst = \"10.77.0.0/16\", via = \"192.168.32.50\" }] }\n\
             grant = { route = [{ dst = \"10.77.0.0/16\", via = \"192.168.32.50\" }], rule = [{ table = 77 }], \
             sysctl = [{ key = \"net.ipv4.ip_forward\" }], command.none = { argv = [\"/bin/true\"] } }"
        } else {
            "grant = { hostname = [\"virtual\"], route = [{ dst = \"10.77.0.0/16\", via = \"192.168.32.50\" }], \
             service = [{ unit = \"httpd\", do = [\"start\"] }] }"
        };
        let grants = format!("on-failure = \"{policy}\"\n{grants}");
        // What the ledger needs is far less; the flight recorder fills the rest in its time, which
        // must not matter.
        sh(
            lab,
            name,
            "mkdir -p /run/carpd && mount -t tmpfs -o size=1m tmpfs /run/carpd",
        )?;
        let spec = Carpd::new(name)
            .set("advbase", advbase)
            .advskew(advskew)
            .set("preempt", plan.preempt)
            .hook(&hook(0, false), &grants);
        let prefix = |ip: &&str| {
            if ip.contains(':') {
                format!("{ip}/64")
            } else {
                format!("{ip}/24")
            }
        };
        let addresses: Vec<String> = plan.families.addresses().iter().map(prefix).collect();
        let spec = spec.set("addresses", format!("{addresses:?}"));
        let mac = lab.host(name).facts()?.mac;
        let interval = Duration::from_secs(advbase)
            + Duration::from_micros(u64::from(advskew) * 1_000_000 / 256);
        Ok(Self {
            name,
            host: lab.host(name),
            mac,
            ip: if plan.families == Families::V6 {
                link_local(mac)
            } else {
                format!("192.168.32.{}", 32 + rank).parse()?
            },
            families: plan.families,
            interval,
            spec,
            grants,
            wasm: plan.wasm,
            version: 0,
            daemon: None,
            log: Vec::new(),
            old_log: Vec::new(),
            speaks: true,
            demotion: 0,
        })
    }

    /// Writes the files as they should be.
    fn write(&self, lab: &Lab) -> Outcome {
        if !self.wasm {
            return self.spec.write(lab);
        }
        // The same one, with a custom section that nobody reads: other bytes. A rename there is one
        // event, with the whole file.
        let version = self.version % 128;
        let make = format!(
            "{{ cat {COMPONENT}; printf '\\0\\3\\1n\\{version:o}'; }} > /run/lab/.new && mv /run/lab/.new /run/lab/h.wasm"
        );
        sh(lab, self.name, &make)?;
        self.spec
            .write_with(lab, &self.spec.toml().replace("h.lua", "h.wasm"))
    }

    /// Does the service run that the hook starts?
    pub(super) fn serves(&self, lab: &Lab) -> Result<bool, Failed> {
        Ok(sh(
            lab,
            self.name,
            "service httpd status >/dev/null 2>&1; echo $?",
        )? == ["0"])
    }

    /// Starts a daemon; the entries of the one before are done with.
    pub(super) fn start(&mut self, lab: &Lab, speaks: bool) -> Outcome {
        self.read_log();
        self.judge_runs()?;
        self.old_log.append(&mut self.log);
        self.write(lab)?;
        self.daemon = Some(self.spec.restart(lab)?);
        self.speaks = speaks;
        self.wait_says(&["Ready"], START).map(drop)
    }

    /// Were the present daemon's hooks run as they should?
    pub(super) fn judge_runs(&self) -> Outcome {
        Ok(runs::none_too_many(&self.log).map_err(|why| format!("{}: {why}", self.name))?)
    }

    pub(super) fn daemon(&mut self) -> Result<&mut Daemon, Failed> {
        self.daemon
            .as_mut()
            .ok_or_else(|| "it was never started".into())
    }

    /// Takes in what it logged since.
    pub(super) fn read_log(&mut self) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        while let Ok(line) = daemon.process.wait_line("a line", Duration::ZERO, |_| true) {
            self.log.extend(Entry::parse(line.at, &line.text));
        }
    }

    /// Waits for an entry that comes after all that was read.
    pub(super) fn wait_says(
        &mut self,
        messages: &[&str],
        timeout: Duration,
    ) -> Result<Entry, Failed> {
        let (name, end) = (self.name, now() + timeout);
        loop {
            let left = end.since(now());
            let line = self
                .daemon()?
                .process
                .wait_line(&messages.join(" or "), left, |_| true);
            let line = line.map_err(|err| format!("{name}: {err}"))?;
            let Some(entry) = Entry::parse(line.at, &line.text) else {
                continue;
            };
            self.log.push(entry.clone());
            if messages.iter().any(|message| entry.says(message)) {
                return Ok(entry);
            }
        }
    }

    pub(super) fn tree(&mut self, lab: &Lab) -> Result<Tree, Failed> {
        let name = self.name;
        Tree::of(lab, name, self.daemon()?)
    }

    /// Another version of the hook on disk; the daemon that runs has seen it when this returns.
    pub(super) fn edit(&mut self, lab: &Lab, spoiled: bool) -> Outcome {
        self.version += 1;
        self.spec = self
            .spec
            .clone()
            .hook(&hook(self.version, spoiled), &self.grants);
        self.read_log();
        self.write(lab)?;
        self.wait_says(&["Reloaded"], SOON).map(drop)
    }

    /// Gives a file that does not load, and takes it back when it was refused.
    pub(super) fn break_hook(&mut self, lab: &Lab) -> Outcome {
        self.version += 1;
        let broken = format!("-- version {}\nfunction on_master(\n", self.version);
        self.read_log();
        let path = if self.wasm {
            "/run/lab/h.wasm"
        } else {
            "/run/lab/h.lua"
        };
        self.host.write(path, 0o644, &broken)?;
        let refused = self.wait_says(
            &["Keeping the last good version of a hook", "Reloaded"],
            SOON,
        );
        self.write(lab)?;
        if refused?.says("Reloaded") {
            Err("a hook that does not load was taken".into())
        } else {
            Ok(())
        }
    }

    /// Another configuration, or the same with an error in it.
    pub(super) fn reload(&mut self, lab: &Lab, good: bool) -> Outcome {
        self.read_log();
        if good {
            self.version += 1;
            self.spec = self.spec.clone().set(
                "announce",
                format!("{{ count = {} }}", 1 + self.version % 5),
            );
            self.write(lab)?;
        } else {
            self.host
                .write("/run/lab/carpd.toml", 0o644, "[[vhost]\nname = 7\n")?;
        }
        self.daemon()?.process.signal(Signal::SIGHUP)?;
        let told = self.wait_says(&["Reloaded", "Cannot reload"], SOON);
        self.write(lab)?;
        if told?.says("Reloaded") == good {
            Ok(())
        } else {
            Err(format!("a reload was judged wrongly (good: {good})").into())
        }
    }

    /// What it says of itself, if it can be asked.
    pub(super) fn account(&self, lab: &Lab) -> Result<Account, Failed> {
        let text = sh(
            lab,
            self.name,
            &format!("{CARPD} status --config /run/lab/carpd.toml --json"),
        )?
        .join("\n");
        let status: Value = serde_json::from_str(&text)?;
        let held = status["held"].as_array().into_iter().flatten();
        let vhost = &status["vhosts"][0];
        Ok(Account {
            held: held
                .filter_map(|held| held["resource"].as_str().map(str::to_owned))
                .collect(),
            master: vhost["state"] == "master",
            demotion: vhost["demotion"].as_u64().unwrap_or(0),
        })
    }

    /// All of its addresses go together; `held` is what is in its ledger.
    pub(super) fn addresses(&self, facts: &Facts, held: &[String]) -> Result<(), String> {
        let there = |ip: &str| ip.parse().is_ok_and(|ip| facts.holds(ip));
        let of = self.families.addresses();
        if of.iter().any(|ip| there(ip) != there(of[0])) {
            return Err(format!(
                "{} has some of its addresses and not the others",
                self.name
            ));
        }
        let unknown = of.iter().find(|ip| {
            there(ip)
                && !held
                    .iter()
                    .any(|words| words.starts_with(&format!("address {ip} ")))
        });
        unknown.map_or(Ok(()), |ip| {
            Err(format!(
                "{} has address {ip}, which is not in its ledger",
                self.name
            ))
        })
    }

    /// For how long its engine waited for a processor so far, and which engine that is.
    pub(super) fn held_up(&mut self, lab: &Lab) -> Option<(i32, Duration)> {
        let engine = self.tree(lab).ok()?.engine?;
        let text = self.host.read(&format!("/proc/{engine}/schedstat")).ok()?;
        let nanos = text.split_whitespace().nth(1)?.parse().ok()?;
        Some((engine, Duration::from_nanos(nanos)))
    }
}

/// Does the host hold a virtual address?
pub(super) fn holds(facts: &Facts) -> bool {
    Families::Both
        .addresses()
        .iter()
        .any(|ip| ip.parse().is_ok_and(|ip| facts.holds(ip)))
}

/// The address that the kernel makes of a hardware address, from which IPv6 advertisements come
/// (RFC 4291, appendix A).
fn link_local(mac: MacAddr) -> IpAddr {
    let MacAddr(mac) = mac;
    let mut bytes = [
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        mac[0] ^ 2,
        mac[1],
        mac[2],
        0xff,
        0xfe,
        0,
        0,
        0,
    ];
    bytes[13..].copy_from_slice(&mac[3..]);
    Ipv6Addr::from(bytes).into()
}

/// Is the route there that the hook sets?
pub(super) fn has_route(facts: &Facts) -> bool {
    facts
        .routes
        .iter()
        .any(|route| route.dst.is_some_and(|dst| dst.to_string() == ROUTE))
}
