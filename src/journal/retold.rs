//! What another node told of its history, as `carpd events --json --all` prints it there: made events
//! again, to be compared with those of others. It may be cut, of another version, or anything at all.

use std::collections::HashMap;
use std::io::{BufRead, Read as _};

use serde::Deserialize;

use super::{EventRecord, Told};
use crate::types::{IfName, Vhid};

/// The longest line, in bytes: an event's words are bounded.
const LINE_MAX: u64 = 64 << 10;
/// The most events of one node, and the most bytes. A history has at most some 300,000 events, in
/// files of 10 MiB, which become about 60 MiB of this text.
const EVENTS_MAX: usize = 500_000;
const BYTES_MAX: u64 = 256 << 20;

/// The events of another node, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retold {
    /// Those that are understood.
    pub records: Vec<EventRecord>,
    /// How many are not: a newer version of carpd recorded them.
    pub unknown: u64,
    /// The last line is not complete: there may have been more.
    pub cut: bool,
}

/// What every event has, whatever version tells it.
#[derive(Deserialize)]
struct AnyEvent {
    #[serde(rename = "event")]
    _event: String,
    #[serde(rename = "time_ms")]
    _time_ms: u64,
    #[serde(rename = "boot_ns")]
    _boot_ns: u64,
}

impl Retold {
    /// Reads what a node told.
    ///
    /// # Errors
    /// It cannot be read, is not a list of events, or is longer than any history.
    pub fn read(from: impl BufRead) -> Result<Self, String> {
        let mut from = from.take(BYTES_MAX);
        let mut this = Self::default();
        let mut numbers = HashMap::new();
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let length = (&mut from)
                .take(LINE_MAX)
                .read_until(b'\n', &mut line)
                .map_err(|error| error.to_string())?;
            if length == 0 {
                break;
            }
            let is_complete = line.ends_with(b"\n");
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice::<Told>(&line) {
                Ok(told) => match again(told, number, &mut numbers) {
                    Some(record) => this.records.push(record),
                    None => this.unknown += 1,
                },
                Err(_) if serde_json::from_slice::<AnyEvent>(&line).is_ok() => this.unknown += 1,
                Err(_) if line.len() as u64 >= LINE_MAX => {
                    return Err(format!("line {number} is longer than any event"));
                }
                Err(_) if !is_complete && number > 1 => this.cut = true,
                Err(error) => return Err(format!("line {number} is not an event: {error}")),
            }
            if this.records.len() + usize::try_from(this.unknown).unwrap_or(usize::MAX) > EVENTS_MAX
            {
                return Err(format!("there are more than {EVENTS_MAX} events"));
            }
        }
        if from.limit() == 0 {
            return Err(format!("there are more than {} MiB", BYTES_MAX >> 20));
        }
        Ok(this)
    }
}

/// An event again. What is the same virtual host has the same number.
fn again(
    told: Told,
    number: u64,
    numbers: &mut HashMap<(IfName, Vhid), usize>,
) -> Option<EventRecord> {
    let vhost = match (&told.interface, told.vhid) {
        (Some(interface), Some(vhid)) => {
            let next = numbers.len();
            *numbers.entry((interface.clone(), vhid)).or_insert(next)
        }
        _ => 0,
    };
    told.record(number, vhost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Event, stories};

    const STATE: &str = r#"{"time_ms":1,"boot_ns":5,"vhost":"NAME","interface":"IF","vhid":1,"event":"state","from":"backup","to":"master","cause":"master-down","text":"t","seq":1}"#;

    fn state(name: &str, interface: &str) -> String {
        STATE.replace("NAME", name).replace("IF", interface) + "\n"
    }

    fn read(text: &str) -> Result<Retold, String> {
        Retold::read(text.as_bytes())
    }

    #[test]
    fn the_same_vhid_on_two_interfaces_is_two_virtual_hosts() {
        let started = "{\"time_ms\":2,\"boot_ns\":9,\"event\":\"started\",\"version\":\"1\"}\n";
        let remark = r#"{"time_ms":1,"boot_ns":6,"vhost":"lan","interface":"eth1","vhid":1,"event":"remark","text":"of lan"}"#;
        let text = [
            &state("lan", "eth1"),
            &state("wan", "eth0"),
            remark,
            "\n",
            started,
        ]
        .concat();
        let told = stories(&read(&text).unwrap().records);
        // What followed is said of the right one, and both died.
        let short: Vec<_> = told
            .iter()
            .map(|story| {
                (
                    story.vhost.as_str(),
                    story.transition.to.as_str(),
                    story.followed.len(),
                )
            })
            .collect();
        assert_eq!(short[..2], [("lan", "master", 1), ("wan", "master", 0)]);
        assert_eq!(short.len(), 4, "{short:?}");
    }

    #[test]
    fn what_a_newer_version_tells_is_counted() {
        let newer = [
            r#"{"time_ms":1,"boot_ns":5,"event":"sings","key":7}"#,
            r#"{"time_ms":1,"boot_ns":5,"event":"left-out","kind":"songs","count":1,"since_ms":0}"#,
            r#"{"time_ms":1,"boot_ns":5,"vhost":"web","interface":"eth0","vhid":1,"event":"state","from":"backup","to":"dancing","cause":"c","text":"t","seq":1}"#,
        ];
        let text = newer.join("\n") + "\n\n" + &state("web", "eth0");
        let read = read(&text).unwrap();
        assert_eq!((read.unknown, read.records.len(), read.cut), (3, 1, false));
        assert!(matches!(read.records[0].event, Event::State(..)));
    }

    #[test]
    fn what_is_cut_or_no_history_is_said() {
        let two = state("web", "eth0") + &state("web", "eth0");
        let cut = read(&two[..two.len() - 30]).unwrap();
        assert_eq!((cut.records.len(), cut.cut), (1, true));
        // A last line without its end is a line.
        let whole = read(two.trim_end()).unwrap();
        assert_eq!((whole.records.len(), whole.cut), (2, false));
        assert_eq!(read("").unwrap(), Retold::default());
        for (text, wanted) in [
            ("Welcome to gw2!\n", "line 1 is not an event"),
            ("{\"event\":7}\n", "line 1 is not an event"),
            ("{\"event\":", "line 1 is not an event"),
            (
                &(state("web", "eth0") + "\u{1b}[2J\n"),
                "line 2 is not an event",
            ),
            (&"x".repeat(100_000), "line 1 is longer than any event"),
            (&"[".repeat(60_000), "line 1 is not an event"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.starts_with(wanted), "{said}");
        }
        assert!(
            Retold::read(&b"\xff\xfe\n"[..])
                .unwrap_err()
                .contains("line 1")
        );
    }
}
