//! Scenarios of rehearsals: a small language, one event per line.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::parse_duration;

/// Events of one scenario.
const EVENTS_MAX: usize = 10_000;
/// How often a link flaps at most in one event.
const FLAPS_MAX: u32 = 1_000;
/// The longest rehearsal.
const LENGTH_MAX: Duration = Duration::from_secs(7 * 86_400);
/// What is played after the last event, if no end is given.
const AFTER: Duration = Duration::from_secs(30);

/// What happens, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// In the order of time.
    pub events: Vec<(Duration, Event)>,
    /// When it is over.
    pub end: Duration,
    /// What luck is drawn from.
    pub seed: u64,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// To one node.
    Node(String, NodeEvent),
    /// From now on this percentage of packets is lost in every direction.
    Loss(u8),
    /// Nodes in different groups no longer hear each other. Nodes that are in no group form one
    /// together.
    Partition(Vec<Vec<String>>),
    /// All partitions and losses end.
    Heal,
}

/// Something that happens to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEvent {
    /// It loses its power: no bow-out, nothing undone.
    Dies,
    /// Its daemon stops cleanly.
    Stops,
    /// It comes (back) up, as after a boot.
    Returns,
    /// The whole node is frozen.
    Freezes(Duration),
    /// It hands over.
    Resigns,
    /// It is put into maintenance, if a fit peer is there, or maintenance ends.
    Maintenance(bool),
    /// From now on this percentage of packets to it is lost, on an interface or on all.
    Loses(Option<String>, u8),
    /// The carrier of an interface, or of all.
    Link(Option<String>, LinkEvent),
    /// Its kernel drops this address, and refuses it.
    Refuses(IpAddr),
    /// Its kernel accepts it again.
    Accepts(IpAddr),
    /// A hook, from now on.
    Hook(String, Trouble),
    /// A hook is replaced by the version in this file, and its daemon reloads it. A relative path
    /// is below the directory of the node's configuration.
    HookEdited(String, PathBuf),
    /// A track.
    Track(String, TrackEvent),
    /// A service.
    Service(String, ServiceEvent),
}

/// What happens to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEvent {
    /// The carrier is lost.
    Down,
    /// It is back.
    Up,
    /// Down for 300 ms and up again, this many times, one second apart.
    Flaps(u32),
}

/// What happens in every run of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It fails at once.
    Fails,
    /// It uses up its time.
    Hangs,
    /// It does what it does.
    Works,
}

/// What happens to a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackEvent {
    /// What it follows is not well.
    Down,
    /// It is well again.
    Up,
}

/// What happens to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceEvent {
    /// It is not running any longer.
    Dies,
    /// It runs, and will after each boot.
    Runs,
    /// From now on it cannot be started.
    Fails,
    /// From now on starting it never ends.
    Hangs,
    /// From now on starting it takes this long.
    Takes(Duration),
    /// From now on it starts.
    Works,
}

/// What a line may be, for messages.
pub const GRAMMAR: &str = "TIME EVENT, where EVENT is one of
  NODE dies | stops | returns | freezes for TIME | resigns
  NODE maintenance on | off
  NODE [INTERFACE] loses N%
  NODE [INTERFACE] link down | up | flaps [N times]
  NODE refuses | accepts ADDRESS
  NODE hook NAME fails | hangs | works | becomes FILE
  NODE track NAME down | up
  NODE service NAME runs | dies | fails | hangs | works | takes TIME
  loss N%
  partition NODE... / NODE... [/ ...]
  heal
and TIME is a number with ms, s, m or h, or several of these: 90s, 1m30s";

/// A line that is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ScenarioError {
    /// `line 3`, or the text itself.
    pub place: String,
    /// What is wrong with it.
    pub message: String,
}

impl Scenario {
    /// From single events, and optionally an end, which otherwise is a while after the last event.
    ///
    /// # Errors
    /// [`ScenarioError`]: the first that cannot be understood.
    pub fn from_lines<'a>(
        lines: impl IntoIterator<Item = &'a str>,
        end: Option<Duration>,
        seed: u64,
    ) -> Result<Self, ScenarioError> {
        let mut scenario = Self {
            events: Vec::new(),
            end: Duration::ZERO,
            seed,
        };
        for line in lines {
            let wrong = |message| ScenarioError {
                place: format!("{line:?}"),
                message,
            };
            scenario.events.push(event(line).map_err(wrong)?);
        }
        scenario.finished(end)
    }

    /// From a file: one event per line, `end TIME`, `seed NUMBER`; `#` begins a comment. The other
    /// arguments take precedence.
    ///
    /// # Errors
    /// [`ScenarioError`]: the first line that cannot be understood.
    pub fn parse(
        text: &str,
        end: Option<Duration>,
        seed: Option<u64>,
    ) -> Result<Self, ScenarioError> {
        let mut scenario = Self {
            events: Vec::new(),
            end: Duration::ZERO,
            seed: 1,
        };
        let mut file_end = None;
        for (number, line) in (1..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).lines()) {
            let wrong = |message| ScenarioError {
                place: format!("line {number}"),
                message,
            };
            let line = line.split('#').next().unwrap_or_default().trim();
            match line.split_once(' ') {
                _ if line.is_empty() => {}
                Some(("end", at)) => file_end = Some(time(at.trim()).map_err(wrong)?),
                Some(("seed", seed)) => {
                    scenario.seed = seed
                        .trim()
                        .parse()
                        .map_err(|_| wrong(format!("{seed:?} is not a number")))?;
                }
                _ => scenario.events.push(event(line).map_err(wrong)?),
            }
            if scenario.events.len() > EVENTS_MAX {
                return Err(wrong(format!("more than {EVENTS_MAX} events")));
            }
        }
        scenario.seed = seed.unwrap_or(scenario.seed);
        scenario.finished(end.or(file_end))
    }

    fn finished(mut self, end: Option<Duration>) -> Result<Self, ScenarioError> {
        self.events.sort_by_key(|(at, _)| *at);
        let last = self.events.last().map_or(Duration::ZERO, |(at, _)| *at);
        self.end = end.unwrap_or(last + AFTER);
        if self.end > LENGTH_MAX {
            let message = format!(
                "a rehearsal lasts at most {} days",
                LENGTH_MAX.as_secs() / 86_400
            );
            return Err(ScenarioError {
                place: "the end".to_owned(),
                message,
            });
        }
        if last > self.end {
            let message = format!("an event at {} s comes after the end", last.as_secs_f64());
            return Err(ScenarioError {
                place: "the end".to_owned(),
                message,
            });
        }
        Ok(self)
    }
}

/// `90s`, `1m30s`.
///
/// # Errors
/// What is wrong with it.
pub fn time(text: &str) -> Result<Duration, String> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = rest.get(digits..).unwrap_or_default();
        let length = digits
            + unit
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(unit.len());
        let Some((part, after)) = rest.split_at_checked(length) else {
            return Err(format!("{text:?} is not a time"));
        };
        total = total
            .checked_add(parse_duration(part)?)
            .ok_or_else(|| format!("{text:?} is too long"))?;
        rest = after;
    }
    if text.is_empty() {
        Err("a time is missing".to_owned())
    } else {
        Ok(total)
    }
}

/// One event: `10s node2 dies`.
fn event(line: &str) -> Result<(Duration, Event), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some((at, words)) = words.split_first() else {
        return Err("the line is empty".to_owned());
    };
    let at = time(at)
        .map_err(|why| format!("{why}; an event begins with its time, as in \"10s node2 dies\""))?;
    let event = match words {
        ["loss", share] => Event::Loss(percent(share)?),
        ["partition", groups @ ..] => Event::Partition(partition(groups)?),
        ["heal"] => Event::Heal,
        [node, rest @ ..] => Event::Node((*node).to_owned(), node_event(rest)?),
        [] => return Err("it does not say what happens then".to_owned()),
    };
    Ok((at, event))
}

fn node_event(words: &[&str]) -> Result<NodeEvent, String> {
    Ok(match words {
        ["dies"] => NodeEvent::Dies,
        ["stops"] => NodeEvent::Stops,
        ["returns" | "starts"] => NodeEvent::Returns,
        ["resigns"] => NodeEvent::Resigns,
        ["maintenance", "on"] => NodeEvent::Maintenance(true),
        ["maintenance", "off"] => NodeEvent::Maintenance(false),
        ["refuses", address] => NodeEvent::Refuses(ip(address)?),
        ["accepts", address] => NodeEvent::Accepts(ip(address)?),
        ["freezes", "for", length] => NodeEvent::Freezes(time(length)?),
        ["loses", share] => NodeEvent::Loses(None, percent(share)?),
        [interface, "loses", share] => {
            NodeEvent::Loses(Some((*interface).to_owned()), percent(share)?)
        }
        ["link", rest @ ..] => NodeEvent::Link(None, link(rest)?),
        ["hook", name, trouble] => NodeEvent::Hook((*name).to_owned(), self::trouble(trouble)?),
        ["hook", name, "becomes", file] => {
            NodeEvent::HookEdited((*name).to_owned(), PathBuf::from(file))
        }
        ["track", name, word] => NodeEvent::Track((*name).to_owned(), track(word)?),
        ["service", name, rest @ ..] => NodeEvent::Service((*name).to_owned(), service(rest)?),
        [interface, "link", rest @ ..] => {
            NodeEvent::Link(Some((*interface).to_owned()), link(rest)?)
        }
        _ => {
            return Err(format!(
                "{:?} is not something that happens to a node",
                words.join(" ")
            ));
        }
    })
}

fn ip(word: &str) -> Result<IpAddr, String> {
    word.parse()
        .map_err(|_| format!("{word:?} is not an address; write it without a prefix length"))
}

fn link(words: &[&str]) -> Result<LinkEvent, String> {
    match words {
        ["down"] => Ok(LinkEvent::Down),
        ["up"] => Ok(LinkEvent::Up),
        ["flaps"] => Ok(LinkEvent::Flaps(1)),
        ["flaps", count, "times"] => {
            let count = count
                .parse()
                .ok()
                .filter(|count| (1..=FLAPS_MAX).contains(count));
            count
                .map(LinkEvent::Flaps)
                .ok_or_else(|| format!("a link flaps 1 to {FLAPS_MAX} times"))
        }
        _ => Err(format!(
            "{:?} is not something that happens to a link: down, up, flaps, flaps 3 times",
            words.join(" ")
        )),
    }
}

fn trouble(word: &str) -> Result<Trouble, String> {
    match word {
        "fails" => Ok(Trouble::Fails),
        "hangs" => Ok(Trouble::Hangs),
        "works" => Ok(Trouble::Works),
        _ => Err(format!(
            "{word:?} is not something that a hook does: fails, hangs, works, becomes FILE"
        )),
    }
}

fn track(word: &str) -> Result<TrackEvent, String> {
    match word {
        "down" => Ok(TrackEvent::Down),
        "up" => Ok(TrackEvent::Up),
        _ => Err(format!(
            "{word:?} is not something that happens to a track: down, up"
        )),
    }
}

fn service(words: &[&str]) -> Result<ServiceEvent, String> {
    match words {
        ["dies"] => Ok(ServiceEvent::Dies),
        ["runs"] => Ok(ServiceEvent::Runs),
        ["fails"] => Ok(ServiceEvent::Fails),
        ["hangs"] => Ok(ServiceEvent::Hangs),
        ["works"] => Ok(ServiceEvent::Works),
        ["takes", length] => Ok(ServiceEvent::Takes(time(length)?)),
        _ => Err(format!(
            "{:?} is not something that a service does: runs, dies, fails, hangs, works, takes 3s",
            words.join(" ")
        )),
    }
}

fn percent(word: &str) -> Result<u8, String> {
    let number = word
        .strip_suffix('%')
        .and_then(|number| number.parse().ok())
        .filter(|number| *number <= 100);
    number.ok_or_else(|| format!("{word:?} is not a percentage: 0% to 100%"))
}

fn partition(words: &[&str]) -> Result<Vec<Vec<String>>, String> {
    let groups: Vec<Vec<String>> = words
        .split(|word| *word == "/")
        .map(|group| group.iter().map(|node| (*node).to_owned()).collect())
        .collect();
    if groups.iter().any(Vec::is_empty) {
        return Err(
            "a partition names nodes, and \"/\" between its groups: partition node2 / node3 node4"
                .to_owned(),
        );
    }
    Ok(groups)
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node, event) => write!(f, "{node} {event}"),
            Self::Loss(share) => write!(f, "loss {share}%"),
            Self::Partition(groups) => {
                let groups: Vec<String> = groups.iter().map(|group| group.join(" ")).collect();
                write!(f, "partition {}", groups.join(" / "))
            }
            Self::Heal => f.write_str("heal"),
        }
    }
}

impl fmt::Display for NodeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dies => f.write_str("dies"),
            Self::Stops => f.write_str("stops"),
            Self::Returns => f.write_str("returns"),
            Self::Freezes(length) => write!(f, "freezes for {length:?}"),
            Self::Resigns => f.write_str("resigns"),
            Self::Maintenance(true) => f.write_str("maintenance on"),
            Self::Maintenance(false) => f.write_str("maintenance off"),
            Self::Refuses(address) => write!(f, "refuses {address}"),
            Self::Accepts(address) => write!(f, "accepts {address}"),
            Self::Loses(None, share) => write!(f, "loses {share}%"),
            Self::Loses(Some(interface), share) => write!(f, "{interface} loses {share}%"),
            Self::Link(interface, event) => {
                if let Some(interface) = interface {
                    write!(f, "{interface} ")?;
                }
                match event {
                    LinkEvent::Down => f.write_str("link down"),
                    LinkEvent::Up => f.write_str("link up"),
                    LinkEvent::Flaps(1) => f.write_str("link flaps"),
                    LinkEvent::Flaps(count) => write!(f, "link flaps {count} times"),
                }
            }
            Self::Hook(name, trouble) => {
                let word = match trouble {
                    Trouble::Fails => "fails",
                    Trouble::Hangs => "hangs",
                    Trouble::Works => "works",
                };
                write!(f, "hook {name} {word}")
            }
            Self::HookEdited(name, file) => write!(f, "hook {name} becomes {}", file.display()),
            Self::Track(name, TrackEvent::Down) => write!(f, "track {name} down"),
            Self::Track(name, TrackEvent::Up) => write!(f, "track {name} up"),
            Self::Service(name, event) => match event {
                ServiceEvent::Dies => write!(f, "service {name} dies"),
                ServiceEvent::Runs => write!(f, "service {name} runs"),
                ServiceEvent::Fails => write!(f, "service {name} fails"),
                ServiceEvent::Hangs => write!(f, "service {name} hangs"),
                ServiceEvent::Works => write!(f, "service {name} works"),
                ServiceEvent::Takes(length) => write!(f, "service {name} takes {length:?}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood_and_printed_as_it_was_written() {
        let lines = [
            "node2 dies",
            "node2 stops",
            "node2 returns",
            "node2 freezes for 5s",
            "node2 resigns",
            "node2 refuses 2001:db8::22",
            "node2 accepts 192.168.32.22",
            "node2 maintenance on",
            "node2 maintenance off",
            "node2 loses 30%",
            "node3 link flaps",
            "node3 link flaps 3 times",
            "node3 eth0 link down",
            "node3 link up",
            "node2 hook failover hangs",
            "node2 hook failover becomes new/failover.lua",
            "node2 track uplink down",
            "node2 track uplink up",
            "node2 service httpd takes 3s",
            "node2 service httpd dies",
            "node2 service httpd runs",
            "loss 20%",
            "partition node2 / node3 node4",
            "heal",
        ];
        for line in lines {
            let (at, event) =
                event(&format!("1m30s {line}")).unwrap_or_else(|why| panic!("{line}: {why}"));
            assert_eq!(
                (at, event.to_string()),
                (Duration::from_secs(90), line.to_owned())
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, said) in [
            ("node2 dies", "begins with its time"),
            ("10s", "does not say what happens"),
            (
                "10s node2 explodes",
                "\"explodes\" is not something that happens to a node",
            ),
            ("10s node2 link flops", "down, up, flaps"),
            ("10s node2 hook failover sings", "fails, hangs, works"),
            ("10s node2 refuses 10.0.0.1/24", "without a prefix length"),
            ("10s loss 120%", "0% to 100%"),
            ("10s partition node2 /", "\"/\" between its groups"),
            ("10 node2 dies", "needs a unit"),
            ("99999999999999999999s node2 dies", "99999999999999999999"),
        ] {
            let why = event(line).expect_err(line);
            assert!(why.contains(said), "{line}: {why}");
        }
        let text = "# a comment\nend 20s\n\n30s node2 dies\n";
        assert!(
            Scenario::parse(text, None, None)
                .unwrap_err()
                .to_string()
                .contains("comes after the end")
        );
        let error = Scenario::parse("end 1m\n10s node2 burns\n", None, None).unwrap_err();
        assert!(error.to_string().starts_with("line 2: "), "{error}");
    }

    #[test]
    fn a_file_has_its_end_and_its_seed_and_the_command_line_wins() {
        let text = "seed 7\nend 2m   # later\n50s heal\n10s loss 5%\n";
        let scenario = Scenario::parse(text, None, None).unwrap();
        assert_eq!(
            (scenario.seed, scenario.end, scenario.events[0].0),
            (7, Duration::from_secs(120), Duration::from_secs(10))
        );
        let scenario = Scenario::parse(text, Some(Duration::from_secs(60)), Some(9)).unwrap();
        assert_eq!((scenario.seed, scenario.end), (9, Duration::from_secs(60)));
        let scenario = Scenario::from_lines(["10s node2 dies"], None, 1).unwrap();
        assert_eq!(scenario.end, Duration::from_secs(40));
    }
}
