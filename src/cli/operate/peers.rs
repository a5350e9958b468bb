//! `carpd peers`.

use clap::ColorChoice;

use super::daemon::{Daemon, ask, unexpected};
use crate::cli::{Exit, Failure, output};
use crate::control::{Order, Reply};
use crate::engine::report::{AdvertiserStatus, EvictedStatus, PeersReport, Standing};
use crate::terminal::{Canvas, Cell, Screen, Table, Tone, cut};
use crate::types::{Name, Page};

/// A name may have 64 characters; the table shows this many.
const NAME_MAX: usize = 32;
/// The headings. The last column is as wide as its words.
const HEADINGS: [&str; 11] = [
    "NAME",
    "ADDRESS",
    "STANDING",
    "VHID",
    "INTERFACE",
    "MAC",
    "RUNS",
    "INTERVAL",
    "JITTER",
    "HEARD",
    "PROBABLE CAUSE",
];
/// The columns that a narrow terminal does without, in this order.
const SPARED: [usize; 7] = [5, 8, 7, 4, 3, 6, 9];

/// Show who advertises, also those whose advertisements are refused, and the probable cause.
///
/// One line for each sender on each interface and vhid. Only masters advertise, so a backup appears
/// from when it was master, or not at all. What a node runs is a guess from its frames. `unrelated`
/// are other groups of nodes, with vhids that no virtual host here uses.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd peers\n  carpd peers web\n  carpd peers --json | jq '.advertisers[] | select(.standing == \"refused\")'"
)]
pub(in crate::cli) struct PeersArgs {
    /// Show those of this virtual host, and no others.
    #[arg(value_name = "NAME")]
    vhost: Option<Name>,
    #[command(flatten)]
    daemon: Daemon,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
    /// When to use colours. With `auto`: on a terminal, unless NO_COLOR is set.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = false
    )]
    color: ColorChoice,
}

pub(in crate::cli) fn peers(args: &PeersArgs) -> Result<Exit, Failure> {
    let report = look(args)?;
    if args.json {
        return output::pretty_json(&report);
    }
    let screen = Screen::of(args.color);
    let mut canvas = Canvas::new(screen.colour);
    draw(&report, screen.width, &mut canvas);
    output::canvas(&canvas)
}

/// Asks each daemon that is meant.
fn look(args: &PeersArgs) -> Result<PeersReport, Failure> {
    let vhost = args.vhost.as_ref();
    // Which network namespace has it is in the configuration; which daemon has it only they know.
    let is_placed = vhost.is_some() && args.daemon.has_shares();
    match args.daemon.each().filter(|_| !is_placed) {
        Some(all) => of_all(all, args),
        None => of_one(&args.daemon, args),
    }
}

fn of_one(daemon: &Daemon, args: &PeersArgs) -> Result<PeersReport, Failure> {
    let Reply::Peers(report) = ask(daemon, Order::Peers(args.vhost.clone()))? else {
        return Err(unexpected());
    };
    Ok(report)
}

/// It is a failure only if none of them answers.
fn of_all(daemons: Vec<(String, Daemon)>, args: &PeersArgs) -> Result<PeersReport, Failure> {
    let mut all: Option<PeersReport> = None;
    let mut problem = None;
    for (place, daemon) in daemons {
        match of_one(&daemon, args) {
            Ok(report) => all.get_or_insert_default().add(report),
            Err(failure) => {
                // That the others do not have this virtual host is no news.
                if args.vhost.is_none() || failure.exit == Exit::Cannot {
                    output::note(format_args!("warning: {place}: {}", failure.message));
                }
                problem.get_or_insert(failure);
            }
        }
    }
    match (all, problem) {
        (None, Some(failure)) => Err(failure),
        (all, _) => Ok(all.unwrap_or_default()),
    }
}

/// The refused ones first, then those of virtual hosts.
fn draw(report: &PeersReport, width: Option<usize>, canvas: &mut Canvas) {
    let mut sorted: Vec<&AdvertiserStatus> = report.advertisers.iter().collect();
    sorted.sort_by_key(|peer| {
        let is_well = peer.causes.is_empty();
        let name = peer.vhost.as_ref();
        let (is_strange, name) = (name.is_none(), name.map(Name::as_str));
        (is_well, is_strange, name, peer.vhid, peer.address)
    });
    if sorted.is_empty() {
        canvas.words(Tone::Plain, "no advertisements of other nodes were heard");
        canvas.end_line();
    } else {
        let mut table = Table::new(HEADINGS, &SPARED);
        for peer in &sorted {
            table.row(row(peer));
        }
        table.draw(width, canvas);
    }
    let mut page = Page::default();
    for peer in &sorted {
        about(peer, &mut page);
    }
    for evicted in &report.evicted {
        let EvictedStatus {
            vhost,
            interface,
            count,
        } = evicted;
        let whose = vhost.as_ref();
        let whose = whose.map_or_else(|| format!("on {interface}"), |name| format!("of {name}"));
        writeln!(
            page,
            "{count} more senders {whose} were forgotten: there were too many"
        );
    }
    if !page.as_str().is_empty() {
        canvas.end_line();
        canvas.page(&page);
    }
}

fn row(peer: &AdvertiserStatus) -> [Cell; 11] {
    let or_none = |text: Option<String>| text.map_or_else(Cell::none, Cell::plain);
    let tone = match (peer.standing, peer.causes.is_empty()) {
        (_, false) => Tone::Bad,
        (Standing::Accepted, true) => Tone::Good,
        (Standing::Unrelated, true) => Tone::Quiet,
        (Standing::Refused | Standing::Unchecked, true) => Tone::Plain,
    };
    let name = peer.vhost.as_ref().map(|name| cut(name.as_str(), NAME_MAX));
    let interface = match &peer.netns {
        Some(netns) => format!("{} in {netns}", peer.interface),
        None => peer.interface.to_string(),
    };
    let causes: Vec<&str> = peer.causes.iter().map(|c| c.text.as_str()).collect();
    [
        or_none(name),
        Cell::plain(peer.address),
        Cell::new(tone, peer.standing),
        Cell::plain(peer.vhid),
        Cell::plain(interface),
        or_none(peer.mac.map(|mac| mac.to_string())),
        Cell::plain(peer.implementation),
        or_none(peer.interval_ms.map(in_seconds)),
        or_none(peer.jitter_us.map(|us| format!("{} ms", tenths(us)))),
        Cell::plain(ago(peer.heard_ago_ms)),
        if causes.is_empty() {
            Cell::none()
        } else {
            Cell::new(tone, causes.join(", or "))
        },
    ]
}

/// What is wrong with it, in full.
fn about(peer: &AdvertiserStatus, page: &mut Page) {
    if peer.causes.is_empty() {
        return;
    }
    let whose = peer.vhost.as_ref().map_or_else(
        || format!("vhid {} on {}", peer.vhid, peer.interface),
        ToString::to_string,
    );
    let reason = peer.reason.iter();
    let reason: String = reason.map(|reason| format!(" ({reason})")).collect();
    let (address, standing, refused) = (peer.address, peer.standing, peer.refused);
    writeln!(
        page,
        "{whose}: {address} is {standing}{reason}, {refused} of {} packets refused:",
        peer.count
    );
    for cause in &peer.causes {
        writeln!(page, "  {}", cause.text);
    }
    if peer.causes.len() > 1 {
        writeln!(page, "  (its packets do not tell which of these it is)");
    }
}

fn in_seconds(ms: u64) -> String {
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} s")
}

/// Thousandths as a number with one digit after the point.
fn tenths(thousandths: u64) -> String {
    let tenths = (thousandths + 50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn ago(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{} s ago", tenths(ms)),
        10_000..120_000 => format!("{} s ago", ms / 1000),
        120_000..7_200_000 => format!("{} min ago", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h ago", ms / 3_600_000),
        _ => format!("{} d ago", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drawn(report: &PeersReport) -> String {
        let mut canvas = Canvas::new(false);
        draw(report, None, &mut canvas);
        canvas.as_str().to_owned()
    }

    #[test]
    fn the_refused_come_first_and_their_causes_are_told() {
        let peer = |vhost: Option<&str>, address: &str, standing: &str| {
            json!({
                "vhost": vhost, "interface": "eth0", "vhid": 7, "address": address,
                "mac": "00:00:5e:00:01:07", "implementation": "openbsd", "interval_ms": 1390,
                "jitter_us": 1249, "advbase": 1, "advskew": 100, "count": 12, "refused": 0,
                "first_ago_ms": 300_000, "heard_ago_ms": 449, "standing": standing,
            })
        };
        let mut refused = peer(Some("web"), "10.0.0.9", "refused");
        refused["refused"] = 12.into();
        refused["reason"] = "digest".into();
        refused["causes"] = json!([
            { "cause": "other-password", "text": "it has another password" },
            { "cause": "other-addresses", "text": "it has \u{1b}[2J" },
        ]);
        let report = json!({
            "advertisers": [peer(None, "10.0.0.3", "unrelated"), peer(Some("db"), "10.0.0.2", "accepted"), refused],
            "evicted": [{ "vhost": "web", "interface": "eth0", "count": 3 }],
        });
        let text = drawn(&serde_json::from_value(report).unwrap());
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].starts_with("web   10.0.0.9  refused    7"),
            "{text}"
        );
        assert!(
            lines[1].contains("OpenBSD  1.39 s    1.2 ms  0.4 s ago  it has another password, or")
        );
        assert!(
            lines[2].starts_with("db ") && lines[3].starts_with("-  "),
            "{text}"
        );
        assert!(
            text.contains("\n\nweb: 10.0.0.9 is refused (digest), 12 of 12 packets refused:\n")
        );
        assert!(text.contains("  it has \\u{1b}[2J\n"), "{text}");
        assert!(text.ends_with("3 more senders of web were forgotten: there were too many\n"));
        assert_eq!(
            drawn(&PeersReport::default()),
            "no advertisements of other nodes were heard\n"
        );
    }

    #[test]
    fn times_are_short() {
        let words = [0, 9_949, 61_000, 7_199_999, 90_000_000, 400_000_000].map(ago);
        assert_eq!(
            words,
            [
                "0.0 s ago",
                "9.9 s ago",
                "61 s ago",
                "119 min ago",
                "25 h ago",
                "4 d ago"
            ]
        );
        assert_eq!(
            [1000, 1390, 60_000].map(in_seconds),
            ["1 s", "1.39 s", "60 s"]
        );
    }
}
