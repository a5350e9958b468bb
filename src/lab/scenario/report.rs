//! The result of the play.

use serde::Serialize;

/// One line of the output for programs: `{"entry": ...}`, `{"phase": ...}`, and finally `{"good":
/// true}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Told<'a> {
    Entry(&'a Entry),
    Phase(&'a Phase),
    Good(bool),
}

impl Told<'_> {
    /// As one line of JSON.
    pub(super) fn line(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers can be written") + "\n"
    }
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// µs since the beginning.
    pub at_us: u64,
    /// A host's name, or `lab`.
    pub host: String,
    /// What happened there.
    pub text: String,
}

/// One act: what was done to the nodes, and which node served after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Phase {
    /// What was done.
    pub title: String,
    /// The node that became master; `None` if none should, or none did.
    pub master: Option<String>,
    /// µs from the action to the new master's first ARP answer.
    pub takeover_us: Option<u64>,
    /// µs during which no node answered ARP.
    pub silent_us: Option<u64>,
    /// ARP requests, one every 2 ms, that no node answered.
    pub unanswered: Option<u64>,
    /// µs during which two nodes answered ARP.
    pub both_us: u64,
    /// µs from the action to the new master's first HTTP answer.
    pub served_us: Option<u64>,
    /// What went wrong.
    pub problems: Vec<String>,
}

/// The whole play.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Nothing went wrong.
    pub good: bool,
    /// The acts, in order.
    pub phases: Vec<Phase>,
    /// What happened, in order.
    pub timeline: Vec<Entry>,
}

impl Report {
    /// A table of the acts and a verdict, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = String::from("\n");
        let row = |cells: [&str; 6]| {
            let [title, master, answers, silent, both, serves] = cells;
            format!("{title:33} {master:6} {answers:>11} {silent:>11} {both:>11} {serves:>11}\n")
        };
        text += &row([
            "",
            "master",
            "answers ARP",
            "none does",
            "two do",
            "serves HTTP",
        ]);
        let ms = |us: Option<u64>| us.map_or(String::from("-"), milliseconds);
        for phase in &self.phases {
            let master = phase.master.as_deref().unwrap_or("-");
            let both = ms(phase.takeover_us.map(|_| phase.both_us));
            text += &row([
                &phase.title,
                master,
                &ms(phase.takeover_us),
                &ms(phase.silent_us),
                &both,
                &ms(phase.served_us),
            ]);
        }
        for phase in &self.phases {
            text.extend(
                phase
                    .problems
                    .iter()
                    .map(|problem| format!("bad: {}: {problem}\n", phase.title)),
            );
        }
        text + if self.good {
            "\nVerdict: good\n"
        } else {
            "\nVerdict: bad\n"
        }
    }
}

/// µs as ms with one decimal place.
pub(super) fn milliseconds(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}
