//! Follows the events of the lab, reports them, and judges.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use super::node::Node;
use super::report::{Entry, Phase, Report, Told, milliseconds};
use super::view::{Answerer, View};
use super::{ADDRESS, Daemon, GATEWAY, NAME_MASTER, SETTLE_MAX, Stop, TAKEOVER_MAX};
use crate::lab::clock;
use crate::lab::control::{Lab, LabError};
use crate::lab::host::Process;
use crate::lab::message::{Event, What};
use crate::lab::probe::Sighted;
use crate::types::{MacAddr, Timestamp};

/// How many of a daemon's last lines are shown with a problem.
const LAST_LINES: usize = 20;

/// The report on one lab, while it runs.
pub(super) struct Story<'a> {
    lab: &'a Lab,
    out: &'a mut dyn Write,
    json: bool,
    began: Timestamp,
    /// Events before this one have been reported.
    next: usize,
    view: View,
    names: BTreeMap<MacAddr, &'static str>,
    /// Daemons that have not ended: their processes, and where they run.
    running: BTreeMap<u64, &'static str>,
    /// Processes that are or were daemons: lines of other processes are not reported.
    tellers: BTreeMap<u64, Daemon>,
    report: Report,
}

impl<'a> Story<'a> {
    /// As text for people, or as JSON for programs.
    pub(super) fn new(lab: &'a Lab, out: &'a mut dyn Write, json: bool) -> Self {
        Self {
            lab,
            out,
            json,
            began: clock::now(),
            next: lab.mark(),
            view: View::new(),
            names: BTreeMap::new(),
            running: BTreeMap::new(),
            tellers: BTreeMap::new(),
            report: Report::default(),
        }
    }

    /// Finds out which hardware address belongs to which host.
    pub(super) fn know(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.names.insert(node.mac, node.name);
        }
    }

    /// Starts a node's daemon.
    pub(super) fn start(&mut self, node: &Node) -> Result<Process, LabError> {
        let process = node.start(self.lab)?;
        self.running.insert(process.id(), node.name);
        self.tellers.insert(process.id(), node.daemon);
        Ok(process)
    }

    /// Starts a new act.
    pub(super) fn begin(&mut self, title: &str) {
        let _ = self.drain();
        self.view.begin();
        self.report.phases.push(Phase {
            title: title.to_owned(),
            ..Phase::default()
        });
        self.write(|| "\n".to_owned(), None);
        self.say("lab", title);
    }

    /// Adds a line to the timeline, with the present time.
    pub(super) fn say(&mut self, host: &str, text: &str) {
        self.tell(clock::now(), host, text);
    }

    /// Records a problem.
    pub(super) fn problem(&mut self, text: String) {
        self.say("lab", &format!("bad: {text}"));
        if let Some(phase) = self.report.phases.last_mut() {
            phase.problems.push(text);
        }
    }

    fn tell(&mut self, at: Timestamp, host: &str, text: &str) {
        let at_us = u64::try_from(at.since(self.began).as_micros()).unwrap_or(u64::MAX);
        let entry = Entry {
            at_us,
            host: host.to_owned(),
            text: text.to_owned(),
        };
        self.write(
            || format!("{:>12}  {host:8} {text}\n", milliseconds(at_us)),
            Some(&Told::Entry(&entry)),
        );
        self.report.timeline.push(entry);
    }

    /// Writes the text for people, or the JSON for programs.
    fn write(&mut self, person: impl FnOnce() -> String, machine: Option<&Told<'_>>) {
        let text = if self.json {
            machine.map_or_else(String::new, Told::line)
        } else {
            person()
        };
        // A reader that went away must not stop the play: its verdict is the exit status.
        let _ = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
    }

    /// Waits until only `node` answers ARP and serves HTTP; records how long that took since
    /// `began`.
    pub(super) fn takes_over(&mut self, node: &Node, began: Timestamp) -> Result<(), Stop> {
        let served = (NAME_MASTER.to_owned(), node.name.to_owned());
        let what = format!("{} to answer as {NAME_MASTER} at {ADDRESS}", node.name);
        let mac = node.mac;
        let runs = |story: &Self| story.running.values().any(|name| *name == node.name);
        let done = self.follow(&what, TAKEOVER_MAX, |story| {
            let done = story.view.answerer == Answerer::One(mac)
                && story.view.http.as_ref() == Some(&served);
            done || !runs(story)
        });
        let done = match done {
            Ok(()) if runs(self) => Ok(()),
            Ok(()) => Err(format!("the daemon of {} ended", node.name)),
            Err(LabError::Timeout { what, after }) => {
                Err(LabError::Timeout { what, after }.to_string())
            }
            Err(err) => return Err(err.into()),
        };
        let since = |at: Timestamp| u64::try_from(at.since(began).as_micros()).unwrap_or(u64::MAX);
        let first = self
            .view
            .first_answers
            .iter()
            .find(|(answered, _)| *answered == mac)
            .map(|(_, at)| since(*at));
        let first_served = self
            .view
            .first_served
            .iter()
            .find(|(host, _)| *host == node.name)
            .map(|(_, at)| since(*at));
        if let Some(phase) = self.report.phases.last_mut() {
            phase.master = done.is_ok().then(|| node.name.to_owned());
            phase.takeover_us = first;
            phase.served_us = first_served;
            phase.silent_us = first.map(|_| self.view.silent_us);
            phase.unanswered = first.map(|_| self.view.unanswered);
            phase.both_us = self.view.both_us;
        }
        match (done, first) {
            (Ok(()), Some(first)) => self.say(
                "lab",
                &format!("{} took over after {}", node.name, milliseconds(first)),
            ),
            (Ok(()), None) => {}
            (Err(problem), _) => {
                let circumstances = self.circumstances(node);
                self.problem(format!("{problem}; {circumstances}"));
                return Err(Stop::Bad);
            }
        }
        Ok(())
    }

    /// What a client sees now, and what the daemons wrote last: somebody who reads about a problem
    /// has nothing else left of the lab.
    fn circumstances(&self, node: &Node) -> String {
        let name = |mac: MacAddr| {
            self.names
                .get(&mac)
                .map_or_else(|| mac.to_string(), |name| (*name).to_owned())
        };
        let answers = match self.view.answerer {
            Answerer::Nobody => "nobody".to_owned(),
            Answerer::One(mac) => name(mac),
            Answerer::Both => "both".to_owned(),
        };
        let http = self.view.http.as_ref();
        let http = http.map_or_else(
            || "nothing".to_owned(),
            |(text, host)| format!("{text:?} by {host}"),
        );
        let mut text = format!("ARP is answered by {answers}, HTTP says {http}");
        let others = self.names.values().filter(|other| **other != node.name);
        for host in std::iter::once(&node.name).chain(others) {
            text += &format!("\n  the last lines of {host}:");
            for line in self.last_lines(host) {
                text += "\n    ";
                text += &line;
            }
        }
        text
    }

    /// The last lines of the daemons of a host, as they wrote them.
    fn last_lines(&self, host: &str) -> Vec<String> {
        let of_host = |event: Event| match event.what {
            What::Line { process, text, .. }
                if event.host == host && self.tellers.contains_key(&process) =>
            {
                Some(text)
            }
            What::PoweredOff | What::PoweredOn if event.host == host => {
                Some(format!("({:?})", event.what))
            }
            What::Exited { process, status }
                if event.host == host && self.tellers.contains_key(&process) =>
            {
                Some(format!("(the daemon ended: {})", status.in_words()))
            }
            What::Line { .. }
            | What::PoweredOff
            | What::PoweredOn
            | What::Exited { .. }
            | What::Closed { .. } => None,
        };
        let mut lines: Vec<String> = self.lab.events().into_iter().filter_map(of_host).collect();
        lines.split_off(lines.len().saturating_sub(LAST_LINES))
    }

    /// Checks a master from inside: name, address, default route.
    pub(super) fn is_master(&mut self, node: &Node) -> Result<(), LabError> {
        self.settles(node, NAME_MASTER, true)
    }

    /// Checks a backup from inside: its own name, no address, no service, and the default route.
    pub(super) fn is_backup(&mut self, node: &Node) -> Result<(), LabError> {
        self.settles(node, node.name, false)
    }

    fn settles(&mut self, node: &Node, hostname: &str, master: bool) -> Result<(), LabError> {
        let host = self.lab.host(node.name);
        let mut wrong = Vec::new();
        let settled = self.lab.until("", SETTLE_MAX, || {
            let facts = host.facts()?;
            let status = host
                .run(&["service", "httpd", "status"], SETTLE_MAX)?
                .status;
            wrong.clear();
            if facts.hostname != hostname {
                wrong.push(format!("is called {}, not {hostname}", facts.hostname));
            }
            if facts.holds(ADDRESS) != master {
                wrong.push(format!(
                    "{} {ADDRESS}",
                    if master {
                        "does not hold"
                    } else {
                        "still holds"
                    }
                ));
            }
            if facts.gateway() != Some(GATEWAY) {
                wrong.push(format!("has no default route by {GATEWAY}"));
            }
            if status.success() != master {
                wrong.push(format!(
                    "its httpd {}",
                    if master { "does not run" } else { "still runs" }
                ));
            }
            Ok(wrong.is_empty().then_some(()))
        });
        self.drain()?;
        match settled {
            Ok(()) if master => self.say(
                node.name,
                "is master, from inside: name, address, default route, httpd",
            ),
            Ok(()) => self.say(
                node.name,
                "is itself, from inside: own name, no address, httpd stopped",
            ),
            Err(LabError::Timeout { .. }) => {
                self.problem(format!("{} {}", node.name, wrong.join(", ")));
            }
            Err(err) => return Err(err),
        }
        Ok(())
    }

    /// Reports events as they arrive, until `done`.
    fn follow(
        &mut self,
        what: &str,
        timeout: Duration,
        done: impl Fn(&Self) -> bool,
    ) -> Result<(), LabError> {
        let end = clock::now() + timeout;
        while !done(self) {
            let left = end.since(clock::now());
            let waited = self
                .lab
                .wait_event(what, self.next, left, |event| Some(event.clone()));
            // Of several waits only the last one failed: report how long all of them took.
            let (next, event) = waited.map_err(|err| {
                if let LabError::Timeout { what, .. } = err {
                    LabError::Timeout {
                        what,
                        after: timeout,
                    }
                } else {
                    err
                }
            })?;
            self.next = next;
            self.take(&event);
        }
        Ok(())
    }

    /// Reports the events that have arrived.
    pub(super) fn drain(&mut self) -> Result<(), LabError> {
        loop {
            match self
                .lab
                .wait_event("", self.next, Duration::ZERO, |event| Some(event.clone()))
            {
                Ok((next, event)) => {
                    self.next = next;
                    self.take(&event);
                }
                Err(LabError::Timeout { .. }) => return Ok(()),
                Err(err) => return Err(err),
            }
        }
    }

    fn take(&mut self, event: &Event) {
        match &event.what {
            What::Line { text, .. } if event.host == "client" => {
                // A line that is not a sighting is the reason why it reports nothing more.
                let Some(sighted) = Sighted::parse(text) else {
                    return self.tell(event.at, "client", text);
                };
                let names = &self.names;
                let name = |mac: MacAddr| {
                    names
                        .get(&mac)
                        .map_or_else(|| mac.to_string(), |name| (*name).to_owned())
                };
                if let Some(text) = self.view.take(&sighted, name) {
                    self.tell(sighted.at(), "client", &text);
                }
            }
            What::Line { process, text, .. } => {
                let told = match self.tellers.get(process) {
                    Some(Daemon::Carpd) => carpd_line(text),
                    Some(Daemon::Ucarp) => ucarp_line(text),
                    None => None,
                };
                if let Some(told) = told {
                    self.tell(event.at, &event.host, &told);
                }
            }
            What::PoweredOff => self.tell(event.at, &event.host, "is off"),
            What::PoweredOn => self.tell(event.at, &event.host, "is on"),
            What::Exited { process, status } => {
                if self.running.remove(process).is_some() {
                    self.tell(
                        event.at,
                        &event.host,
                        &format!("the daemon ended: {}", status.in_words()),
                    );
                } else if event.host == "client" && !status.success() {
                    self.tell(
                        event.at,
                        &event.host,
                        &format!("the prober ended: {}", status.in_words()),
                    );
                }
            }
            What::Closed { .. } => {}
        }
    }

    /// The verdict.
    pub(super) fn finish(mut self) -> Result<Report, LabError> {
        self.drain()?;
        self.report.good = self
            .report
            .phases
            .iter()
            .all(|phase| phase.problems.is_empty());
        let mut report = std::mem::take(&mut self.report);
        // Events of different hosts arrive in roughly the order in which they happened.
        report.timeline.sort_by_key(|entry| entry.at_us);
        for phase in &report.phases {
            self.write(String::new, Some(&Told::Phase(phase)));
        }
        self.write(|| report.summary(), Some(&Told::Good(report.good)));
        Ok(report)
    }
}

/// What to report of a line of carpd's log, in JSON.
fn carpd_line(line: &str) -> Option<String> {
    let Ok(value) = serde_json::from_str::<Value>(line) else {
        return Some(line.to_owned());
    };
    let field = |key: &str| {
        let found = value
            .get("fields")
            .and_then(|fields| fields.get(key))
            .or_else(|| value.get(key))?;
        Some(
            found
                .as_str()
                .map_or_else(|| found.to_string(), str::to_owned),
        )
    };
    let text = |key: &str| field(key).unwrap_or_default();
    let message = field("message")?;
    match message.as_str() {
        "Changed state" => {
            let peer = field("peer").filter(|peer| !peer.is_empty() && peer != "null");
            let peer = peer.map_or_else(String::new, |peer| format!(" ({peer})"));
            Some(format!(
                "{} -> {}: {}{peer}",
                text("from"),
                text("to"),
                text("cause")
            ))
        }
        "Ran a hook" => {
            let took = text("duration_us")
                .parse()
                .map_or_else(|_| String::new(), |us| format!(" in {}", milliseconds(us)));
            Some(format!(
                "hook {} {}: {}{took}",
                text("hook"),
                text("entry"),
                text("outcome")
            ))
        }
        "Applied an effect" => Some(format!("{}: {}", text("effect"), text("outcome"))),
        "Ready" => Some("carpd is ready".to_owned()),
        _ => match text("level").as_str() {
            level @ ("WARN" | "ERROR") => {
                let error = field("err")
                    .or_else(|| field("error"))
                    .map_or_else(String::new, |err| format!(": {err}"));
                Some(format!("{}: {message}{error}", level.to_lowercase()))
            }
            _ => None,
        },
    }
}

/// What to report of a line of ucarp's log.
fn ucarp_line(line: &str) -> Option<String> {
    let state = line
        .split_once("Switching to state: ")
        .map(|(_, state)| format!("-> {}", state.to_lowercase()));
    state.or_else(|| {
        (line.starts_with("[WARNING]") || line.starts_with("[ERROR]")).then(|| line.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_daemons_are_told() {
        let line = r#"{"level":"INFO","fields":{"message":"Changed state","from":"backup","to":"master","cause":"timeout","seq":2}}"#;
        assert_eq!(carpd_line(line).unwrap(), "backup -> master: timeout");
        let line = r#"{"level":"INFO","message":"Ran a hook","hook":"failover","entry":"on_master","outcome":"done","duration_us":12345}"#;
        assert_eq!(
            carpd_line(line).unwrap(),
            "hook failover on_master: done in 12.3 ms"
        );
        assert_eq!(carpd_line(r#"{"level":"DEBUG","message":"x"}"#), None);
        assert_eq!(carpd_line("thread panicked").unwrap(), "thread panicked");
        assert_eq!(
            ucarp_line("[WARNING] Switching to state: MASTER").unwrap(),
            "-> master"
        );
        assert_eq!(
            ucarp_line("[INFO] Local advertised ethernet address is [..]"),
            None
        );
    }
}
