//! What the cases on daemons share: hosts on one switch, a daemon on some of them, and a view from
//! outside.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use carpd::lab::{
    Exit, HostSpec, Lab, LabError, LabSpec, PROGRAM, ProbeSpec, Process, Sighted, Sighting,
};
use carpd::types::{MacAddr, Timestamp};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::Outcome;

/// Any failure of a case.
pub(crate) type Failed = Box<dyn Error>;

/// The daemon under test, as every host sees it.
pub(crate) const CARPD: &str = env!("CARGO_BIN_EXE_carpd");
/// The virtual address of most cases.
pub(crate) const ADDRESS: &str = "192.168.32.22";
/// What follows at once, on a machine that does other things as well.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// A takeover by silence, with all that goes before it.
pub(crate) const TAKEOVER: Duration = Duration::from_secs(10);

/// Hosts `a`, `b`, `c` (192.168.32.32 and on, as many as wanted) and `client`.
pub(crate) fn lan(nodes: &[&str]) -> Result<Lab, Failed> {
    let node = |(n, name): (usize, &&str)| {
        HostSpec::new(
            name,
            &[format!("192.168.32.{}/24", 32 + n).parse().unwrap()],
        )
    };
    let mut hosts: Vec<HostSpec> = nodes.iter().enumerate().map(node).collect();
    hosts.push(HostSpec::new("client", &["192.168.32.50/24".parse()?]));
    Ok(Lab::start(&LabSpec { hosts })?)
}

/// As [`lan`], with 2001:db8::32 and on as well.
pub(crate) fn dual_lan(nodes: &[&str]) -> Result<Lab, Failed> {
    let host = |name: &str, n: usize| {
        let addresses = [
            format!("192.168.32.{n}/24").parse().unwrap(),
            format!("2001:db8::{n}/64").parse().unwrap(),
        ];
        HostSpec::new(name, &addresses)
    };
    let mut hosts: Vec<HostSpec> = nodes
        .iter()
        .enumerate()
        .map(|(n, name)| host(name, 32 + n))
        .collect();
    hosts.push(host("client", 50));
    Ok(Lab::start(&LabSpec { hosts })?)
}

/// The hardware address of a host's `eth0`.
pub(crate) fn mac(lab: &Lab, host: &str) -> Result<MacAddr, LabError> {
    Ok(lab.host(host).facts()?.mac)
}

/// Does the host hold the virtual address?
pub(crate) fn holds(lab: &Lab, host: &str) -> Result<bool, Failed> {
    Ok(lab.host(host).facts()?.holds(ADDRESS.parse()?))
}

/// Waits until the host has let go of the virtual address: a change of state is logged before the
/// kernel has done what follows from it, and some daemons never say when it has.
pub(crate) fn lets_go(lab: &Lab, host: &str) -> Outcome {
    let address = ADDRESS.parse()?;
    let gone = || Ok((!lab.host(host).facts()?.holds(address)).then_some(()));
    Ok(lab.until(&format!("{host} to let go of {ADDRESS}"), SOON, gone)?)
}

/// Waits until the host has the virtual address: a change of state is logged before the kernel has
/// done what follows from it.
pub(crate) fn takes_hold(lab: &Lab, host: &str) -> Outcome {
    let address = ADDRESS.parse()?;
    let there = || Ok(lab.host(host).facts()?.holds(address).then_some(()));
    Ok(lab.until(&format!("{host} to hold {ADDRESS}"), SOON, there)?)
}

/// Runs a shell's command line in a host and wants it to work.
pub(crate) fn sh(lab: &Lab, host: &str, script: &str) -> Result<Vec<String>, Failed> {
    let output = lab.host(host).run(&["bash", "-c", script], SOON)?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{host}: {script}: {output:?}").into())
    }
}

/// A carpd with one virtual host, as most cases want it: vhid 40 on `eth0`, [`ADDRESS`], password
/// `gw22`.
#[derive(Debug, Clone)]
pub(crate) struct Carpd {
    host: String,
    keys: BTreeMap<String, String>,
    vhosts: Option<String>,
    hook: Option<(String, String)>,
    more: String,
    filter: String,
}

impl Carpd {
    pub(crate) fn new(host: &str) -> Self {
        let keys = [
            ("name", "\"web\"".to_owned()),
            ("interface", "\"eth0\"".to_owned()),
            ("vhid", "40".to_owned()),
            ("addresses", format!("[\"{ADDRESS}/24\"]")),
            ("password-file", "\"/run/lab/web.pass\"".to_owned()),
        ];
        Self {
            host: host.to_owned(),
            keys: keys
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
            vhosts: None,
            hook: None,
            more: String::new(),
            filter: "info".to_owned(),
        }
    }

    /// A key of `[[vhost]]`, with its value as TOML has it.
    pub(crate) fn set(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.keys.insert(key.to_owned(), value.to_string());
        self
    }

    /// The better node, which takes the address back.
    pub(crate) fn preempts(self) -> Self {
        self.set("preempt", true)
    }

    pub(crate) fn advskew(self, advskew: u8) -> Self {
        self.set("advskew", advskew)
    }

    /// The hook `h`: its text, and lines of `[hook.h]` (and of tables below it).
    pub(crate) fn hook(mut self, lua: &str, toml: &str) -> Self {
        self.hook = Some((lua.to_owned(), toml.to_owned()));
        self.set("hooks", "[\"h\"]")
    }

    /// Tables after all others.
    pub(crate) fn more(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.more);
        self
    }

    /// All `[[vhost]]` tables, in place of the one.
    pub(crate) fn vhosts(mut self, toml: String) -> Self {
        self.vhosts = Some(toml);
        self
    }

    /// What is logged, as `CARPD_LOG` has it.
    pub(crate) fn log(mut self, filter: &str) -> Self {
        filter.clone_into(&mut self.filter);
        self
    }

    /// Its configuration file.
    pub(crate) fn toml(&self) -> String {
        let keys = || {
            self.keys
                .iter()
                .map(|(key, value)| format!("{key} = {value}\n"))
                .collect::<String>()
        };
        let mut toml = self
            .vhosts
            .clone()
            .unwrap_or_else(|| format!("[[vhost]]\n{}", keys()));
        if let Some((_, hook)) = &self.hook {
            toml += &format!("\n[hook.h]\nsource = \"h.lua\"\n{hook}\n");
        }
        toml + "\n" + &self.more
    }

    /// Writes the files.
    pub(crate) fn write(&self, lab: &Lab) -> Outcome {
        self.write_with(lab, &self.toml())
    }

    /// As [`Self::write`], with another configuration file.
    pub(crate) fn write_with(&self, lab: &Lab, toml: &str) -> Outcome {
        let host = lab.host(&self.host);
        host.write("/run/lab/web.pass", 0o600, "gw22\n")?;
        host.write("/run/lab/carpd.toml", 0o644, toml)?;
        if let Some((lua, _)) = &self.hook {
            host.write("/run/lab/h.lua", 0o644, lua)?;
        }
        Ok(())
    }

    /// Writes the files and starts the daemon.
    pub(crate) fn start(&self, lab: &Lab) -> Result<Daemon, Failed> {
        self.write(lab)?;
        self.restart(lab)
    }

    /// Starts the daemon with the files that are there.
    pub(crate) fn restart(&self, lab: &Lab) -> Result<Daemon, Failed> {
        self.restart_from(lab, "/run/lab/carpd.toml")
    }

    /// As [`Self::restart`], with this configuration file.
    pub(crate) fn restart_from(&self, lab: &Lab, config: &str) -> Result<Daemon, Failed> {
        self.restart_as(lab, CARPD, config)
    }

    /// As [`Self::restart_from`], of this program.
    pub(crate) fn restart_as(
        &self,
        lab: &Lab,
        program: &str,
        config: &str,
    ) -> Result<Daemon, Failed> {
        let host = lab.host(&self.host);
        let env = BTreeMap::from([("CARPD_LOG".to_owned(), self.filter.clone())]);
        let argv = [program, "run", "--config", config, "--log-format", "json"];
        Ok(Daemon {
            process: host.spawn_with(&argv, &env)?,
        })
    }
}

/// A carpd that runs.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) process: Process,
}

/// One entry of its log.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    fields: Value,
}

impl Entry {
    pub(crate) fn parse(at: Timestamp, line: &str) -> Option<Self> {
        Some(Self {
            at,
            fields: serde_json::from_str(line).ok()?,
        })
    }

    /// A field as text; empty if it is not there.
    pub(crate) fn text(&self, key: &str) -> String {
        self.fields.get(key).map_or_else(String::new, |value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        })
    }

    /// In one line, for a person: the sentence and what it says, without what all entries have.
    pub(crate) fn in_short(&self) -> String {
        let skip = [
            "timestamp",
            "level",
            "target",
            "message",
            "vhid",
            "interface",
        ];
        let fields = self
            .fields
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| !skip.contains(&key.as_str()));
        let fields: String = fields
            .map(|(key, value)| format!(" {key}={value}"))
            .collect();
        format!("{}{fields}", self.text("message"))
    }

    /// Is it this sentence?
    pub(crate) fn says(&self, message: &str) -> bool {
        self.fields.get("message").and_then(Value::as_str) == Some(message)
    }

    /// Is it a change to this state?
    pub(crate) fn becomes(&self, state: &str) -> bool {
        self.says("Changed state") && self.text("to") == state
    }

    /// Is it the end of a run of this entry point?
    pub(crate) fn ran(&self, entry: &str) -> bool {
        self.says("Ran a hook") && self.text("entry") == entry
    }
}

impl Daemon {
    /// Waits for the next entry that is wanted; those before it are passed over.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Entry, Failed> {
        let parse = |line: &str| Entry::parse(Timestamp::ZERO, line);
        let found = self.process.wait_line(what, timeout, |line| {
            parse(line).is_some_and(|entry| wanted(&entry))
        });
        match found {
            Ok(line) => Ok(Entry::parse(line.at, &line.text).unwrap()),
            Err(err) => Err(format!("{err}; its log:\n{}", self.text()).into()),
        }
    }

    pub(crate) fn wait_says(&mut self, message: &str, timeout: Duration) -> Result<Entry, Failed> {
        self.wait(message, timeout, |entry| entry.says(message))
    }

    pub(crate) fn wait_state(&mut self, state: &str, timeout: Duration) -> Result<Entry, Failed> {
        self.wait(&format!("the state {state}"), timeout, |entry| {
            entry.becomes(state)
        })
    }

    pub(crate) fn wait_ran(&mut self, entry: &str, timeout: Duration) -> Result<Entry, Failed> {
        self.wait(&format!("the end of {entry}"), timeout, |found| {
            found.ran(entry)
        })
    }

    /// All that it logged so far.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.process
            .lines()
            .iter()
            .filter_map(|line| Entry::parse(line.at, &line.text))
            .collect()
    }

    /// Gives the daemon these files in place of its own, and waits until it has taken them into
    /// use.
    pub(crate) fn reload(&mut self, lab: &Lab, changed: &Carpd) -> Outcome {
        changed.write(lab)?;
        self.process.signal(Signal::SIGHUP)?;
        self.wait_says("Reloaded", SOON).map(drop)
    }

    /// The states it went through, in order.
    pub(crate) fn states(&self) -> Vec<String> {
        self.entries()
            .iter()
            .filter(|entry| entry.says("Changed state"))
            .map(|entry| entry.text("to"))
            .collect()
    }

    /// All that it wrote, for a person.
    pub(crate) fn text(&self) -> String {
        self.process
            .lines()
            .iter()
            .map(|line| format!("{}\n", line.text))
            .collect()
    }

    /// Ends it with SIGTERM; it must end well.
    pub(crate) fn stop(&self) -> Result<(), Failed> {
        self.process.signal(Signal::SIGTERM)?;
        let exit = self.process.wait(Duration::from_secs(15))?;
        if exit == Exit::Code(0) {
            Ok(())
        } else {
            Err(format!("ended with {exit:?}:\n{}", self.text()).into())
        }
    }
}

/// Debian's ucarp, with scripts that move the address.
#[derive(Debug, Clone)]
pub(crate) struct Ucarp {
    pub(crate) host: &'static str,
    pub(crate) source: &'static str,
    pub(crate) password: &'static str,
    pub(crate) advskew: u8,
    pub(crate) preempt: bool,
}

impl Ucarp {
    /// On host `b` of [`lan`].
    pub(crate) const fn on_b(advskew: u8, preempt: bool) -> Self {
        Self {
            host: "b",
            source: "192.168.32.33",
            password: "gw22",
            advskew,
            preempt,
        }
    }

    pub(crate) fn start(&self, lab: &Lab) -> Result<Process, Failed> {
        let host = lab.host(self.host);
        for (script, verb) in [("up", "add"), ("down", "del")] {
            let text = format!("#!/bin/sh\nexec ip address {verb} \"$2/24\" dev \"$1\"\n");
            host.write(&format!("/run/lab/{script}"), 0o755, &text)?;
        }
        let mut argv = [
            "ucarp",
            "--interface=eth0",
            "--vhid=40",
            "--upscript=/run/lab/up",
            "--downscript=/run/lab/down",
        ]
        .map(str::to_owned)
        .to_vec();
        argv.extend([
            format!("--addr={ADDRESS}"),
            format!("--srcip={}", self.source),
            format!("--pass={}", self.password),
            format!("--advskew={}", self.advskew),
        ]);
        argv.extend(self.preempt.then(|| "--preempt".to_owned()));
        Ok(host.spawn(&argv)?)
    }
}

/// Waits for ucarp's word on its state.
pub(crate) fn wait_ucarp(
    process: &mut Process,
    state: &str,
    timeout: Duration,
) -> Result<Timestamp, Failed> {
    let wanted = format!("Switching to state: {state}");
    Ok(process
        .wait_line(&wanted.clone(), timeout, |line| line.contains(&wanted))?
        .at)
}

/// What the client sees of a virtual address.
#[derive(Debug)]
pub(crate) struct Watch {
    process: Process,
    answerers: BTreeSet<MacAddr>,
}

impl Watch {
    /// Asks for the address each 2 ms.
    pub(crate) fn start(lab: &Lab, address: &str) -> Result<Self, Failed> {
        Self::each(Duration::from_millis(2), lab, address)
    }

    /// Asks for the address so often.
    pub(crate) fn each(arp_interval: Duration, lab: &Lab, address: &str) -> Result<Self, Failed> {
        Self::probe(
            lab,
            &ProbeSpec {
                address: address.parse()?,
                arp_interval,
                http_interval: Duration::ZERO,
            },
        )
    }

    /// Fetches a page from the address as well, each 50 ms, and waits for the first.
    pub(crate) fn with_traffic(lab: &Lab, address: &str) -> Result<Self, Failed> {
        let (arp_interval, http_interval) = (Duration::from_millis(20), Duration::from_millis(50));
        let mut watch = Self::probe(
            lab,
            &ProbeSpec {
                address: address.parse()?,
                arp_interval,
                http_interval,
            },
        )?;
        watch.follow("an answer to HTTP", SOON, |what, _| {
            matches!(what, Sighting::Http { .. })
        })?;
        Ok(watch)
    }

    fn probe(lab: &Lab, spec: &ProbeSpec) -> Result<Self, Failed> {
        let mut process = lab.host("client").spawn(&spec.argv(PROGRAM))?;
        process.wait_line("its start", SOON, |line| {
            matches!(
                Sighted::parse(line),
                Some(Sighted {
                    what: Sighting::Started,
                    ..
                })
            )
        })?;
        Ok(Self {
            process,
            answerers: BTreeSet::new(),
        })
    }

    /// Waits until these answer, and nobody else.
    pub(crate) fn wait(
        &mut self,
        macs: &[MacAddr],
        timeout: Duration,
    ) -> Result<Timestamp, Failed> {
        let wanted: BTreeSet<MacAddr> = macs.iter().copied().collect();
        if self.answerers == wanted {
            return Ok(carpd::lab::clock::now());
        }
        let what = format!("{macs:?} to answer");
        self.follow(&what, timeout, |_, answerers| *answerers == wanted)
    }

    /// Waits for `count` more advertisements from an address.
    pub(crate) fn hear(
        &mut self,
        from: &str,
        count: usize,
        timeout: Duration,
    ) -> Result<Timestamp, Failed> {
        let from: IpAddr = from.parse()?;
        let mut left = count;
        self.follow(
            &format!("{count} advertisements from {from}"),
            timeout,
            |what, _| {
                left -= usize::from(
                    matches!(what, Sighting::Advertisement { from: of, .. } if *of == from),
                );
                left == 0
            },
        )
    }

    /// Waits for an advertisement with this advskew.
    pub(crate) fn hear_advskew(
        &mut self,
        wanted: u8,
        timeout: Duration,
    ) -> Result<Timestamp, Failed> {
        let what = format!("an advertisement with advskew {wanted}");
        self.follow(
            &what,
            timeout,
            |what, _| matches!(what, Sighting::Advertisement { advskew, .. } if *advskew == wanted),
        )
    }

    /// Waits for the address to be announced as being at `mac`.
    pub(crate) fn hear_announced(
        &mut self,
        mac: MacAddr,
        timeout: Duration,
    ) -> Result<Timestamp, Failed> {
        let what = format!("an announcement of {mac}");
        self.follow(
            &what,
            timeout,
            |what, _| matches!(what, Sighting::Announcement { mac: of, .. } if *of == mac),
        )
    }

    /// Takes in what comes, until `done`.
    fn follow(
        &mut self,
        what: &str,
        timeout: Duration,
        mut done: impl FnMut(&Sighting, &BTreeSet<MacAddr>) -> bool,
    ) -> Result<Timestamp, Failed> {
        let answerers = &mut self.answerers;
        let line = self.process.wait_line(what, timeout, |line| {
            let Some(Sighted { what, .. }) = Sighted::parse(line) else {
                return false;
            };
            match &what {
                Sighting::Answers { mac, .. } | Sighting::One { mac, .. } => {
                    *answerers = BTreeSet::from([*mac]);
                }
                Sighting::Both { macs } => *answerers = macs.iter().copied().collect(),
                Sighting::Silent => answerers.clear(),
                _ => {}
            }
            done(&what, answerers)
        });
        match line {
            Ok(line) => Ok(Sighted::parse(&line.text).unwrap().at()),
            Err(err) => Err(format!("{err}; it saw last:\n{}", self.last_words()).into()),
        }
    }

    fn last_words(&self) -> String {
        let lines = self.process.lines();
        lines
            .iter()
            .rev()
            .take(12)
            .rev()
            .map(|line| format!("{}\n", line.text))
            .collect()
    }

    /// When advertisements from an address were heard.
    pub(crate) fn advertisements(&self, from: &str) -> Result<Vec<Timestamp>, Failed> {
        let from: IpAddr = from.parse()?;
        let of = |what: &Sighting| matches!(what, Sighting::Advertisement { from: of, .. } if *of == from);
        Ok(self
            .sightings()
            .into_iter()
            .filter(|sighted| of(&sighted.what))
            .map(|sighted| sighted.at())
            .collect())
    }

    /// All that was seen so far.
    pub(crate) fn sightings(&self) -> Vec<Sighted> {
        self.process
            .lines()
            .iter()
            .filter_map(|line| Sighted::parse(&line.text))
            .collect()
    }
}
