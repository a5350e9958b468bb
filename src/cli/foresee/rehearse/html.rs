//! A timeline as a page: one self-contained file, for light and dark themes, with the picture and a
//! table of everything that happened.

use std::fmt::Write as _;

use super::svg::picture;
use super::text::{length, seconds};
use crate::cli::xml::escaped;
use crate::engine::rehearse::{MarkKind, Timeline, VhostLine};

const STYLE: &str = include_str!("page.css");

/// The most rows of the table; nobody would read more.
const ROWS_MAX: usize = 5_000;

/// The legend of the picture: the class of each sign, and its name.
const LEGEND: [(&str, &str); 10] = [
    ("master", "master"),
    ("backup", "backup"),
    ("init", "init: the link is down"),
    ("frozen", "frozen"),
    ("off", "off"),
    ("outage", "outage"),
    ("address", "address added or removed"),
    ("effect", "effect of a hook"),
    ("hook", "hook ended"),
    ("failed", "something failed"),
];

/// The page.
pub(super) fn page(timeline: &Timeline) -> String {
    let names: Vec<&str> = timeline
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    let cards: String = timeline
        .vhosts
        .iter()
        .map(|vhost| card(vhost, timeline.end_us))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Rehearsal: {title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Rehearsal of {title}</h1>\n\
         <p class=\"sub\">{length} of virtual time, {events}, seed {seed}</p>\n\
         <section class=\"cards\" aria-label=\"Summary\">\n{cards}</section>\n\
         <section class=\"picture\" aria-label=\"Timeline\">\n{picture}{legend}</section>\n{script}\
         <h2 id=\"all\">Everything that happened</h2>\n{table}{notes}\
         <footer>Made by carpd {version}. Times are virtual; what hooks did was done to virtual machines alone.</footer>\n\
         </main>\n</body>\n</html>\n",
        title = escaped(names.join(", ")),
        length = seconds(timeline.end_us),
        events = count(timeline.events.len(), "event"),
        seed = timeline.seed,
        picture = picture(timeline),
        legend = legend(),
        script = script(timeline),
        table = table(timeline),
        notes = notes(timeline),
        version = env!("CARGO_PKG_VERSION"),
    )
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn card(vhost: &VhostLine, end_us: u64) -> String {
    let lengths = || vhost.failures().map(|outage| outage.to_us - outage.from_us);
    let (total, longest) = (lengths().sum::<u64>(), lengths().max().unwrap_or(0));
    let first = vhost
        .outages
        .iter()
        .find(|outage| outage.initial)
        .map_or(0, |outage| outage.to_us);
    let watched = end_us.saturating_sub(first).max(1);
    // In hundredths of a percent, rounded down: 100 % means that it was never away.
    let share = u128::from(watched - total.min(watched)) * 10_000 / u128::from(watched);
    let share = if total > 0 { share.min(9_999) } else { share };
    let class = if longest >= 1_000_000 {
        "figure bad"
    } else {
        "figure"
    };
    let said = match vhost.failures().count() {
        0 => "no outage".to_owned(),
        n => format!("{}, longest {}", count(n, "outage"), length(longest)),
    };
    let twice = match vhost
        .contested
        .iter()
        .map(|span| span.to_us - span.from_us)
        .sum::<u64>()
    {
        0 => String::new(),
        us => format!("<p>held twice for {} in all</p>", length(us)),
    };
    format!(
        "<article class=\"card\"><h3>{} <span class=\"soft\">{}</span></h3><p class=\"{class}\">{}.{:02} %</p><p>served; {said}</p>{twice}</article>\n",
        escaped(&vhost.name),
        escaped(vhost.addresses.join(", ")),
        share / 100,
        share % 100,
    )
}

fn legend() -> String {
    let mut out = "<ul class=\"legend\">\n".to_owned();
    for (class, name) in LEGEND {
        let sign = match class {
            "failed" => "<path class=\"failed\" d=\"M7 2l6 11h-12z\"/>".to_owned(),
            "address" | "effect" | "hook" => {
                format!("<circle class=\"{class}\" cx=\"7\" cy=\"7\" r=\"4.5\"/>")
            }
            _ => format!(
                "<rect class=\"{class}\" x=\"1\" y=\"2\" width=\"12\" height=\"10\" rx=\"2\"/>"
            ),
        };
        _ = writeln!(
            out,
            "<li><svg viewBox=\"0 0 14 14\" aria-hidden=\"true\">{sign}</svg>{name}</li>"
        );
    }
    out + "</ul>\n"
}

/// The events, with the numbers of their badges.
fn script(timeline: &Timeline) -> String {
    if timeline.events.is_empty() {
        return String::new();
    }
    let mut out = "<h2>The scenario</h2>\n<table><thead><tr><th class=\"time\">at</th><th class=\"node\">#</th><th>event</th></tr></thead><tbody>\n".to_owned();
    for (number, event) in (1..).zip(timeline.events.iter().take(ROWS_MAX)) {
        _ = writeln!(
            out,
            "<tr><td class=\"time\">{}</td><td class=\"node\">{number}</td><td>{}</td></tr>",
            seconds(event.at_us),
            escaped(&event.text)
        );
    }
    out + "</tbody></table>\n"
}

fn table(timeline: &Timeline) -> String {
    let mut rows: Vec<(u64, String)> = Vec::new();
    let row = |at: u64, class: &str, node: &str, html: &str| {
        format!(
            "<tr class=\"{class}\"><td class=\"time\">{}</td><td class=\"node\">{}</td><td>{html}</td></tr>\n",
            seconds(at),
            escaped(node)
        )
    };
    for event in &timeline.events {
        rows.push((
            event.seq,
            row(event.at_us, "event", "scenario", &escaped(&event.text)),
        ));
    }
    for node in &timeline.nodes {
        for lane in &node.lanes {
            for state in &lane.states {
                let why = if state.why.is_empty() {
                    String::new()
                } else {
                    format!(": {}", escaped(&state.why))
                };
                let html = format!(
                    "{} is <b>{}</b>{why}",
                    escaped(&lane.vhost),
                    state.state.as_str()
                );
                rows.push((state.seq, row(state.from_us, "state", &node.name, &html)));
            }
        }
        for mark in node
            .marks
            .iter()
            .filter(|mark| mark.kind != MarkKind::Announce)
        {
            let class = if mark.good { "mark" } else { "failed" };
            rows.push((
                mark.seq,
                row(mark.at_us, class, &node.name, &escaped(&mark.text)),
            ));
        }
    }
    rows.sort_unstable_by_key(|(seq, _)| *seq);
    let more = rows.len().saturating_sub(ROWS_MAX);
    let mut out =
        "<table>\n<thead><tr><th class=\"time\">at</th><th class=\"node\">node</th><th>what</th></tr></thead>\n<tbody>\n"
            .to_owned();
    out.extend(rows.into_iter().take(ROWS_MAX).map(|(_, row)| row));
    out += "</tbody>\n</table>\n";
    if more > 0 {
        _ = writeln!(out, "<p>{more} more are left out; --json has them.</p>");
    }
    out
}

fn notes(timeline: &Timeline) -> String {
    if timeline.notes.is_empty() {
        return String::new();
    }
    let notes: String = timeline
        .notes
        .iter()
        .map(|note| format!("<li>{}</li>\n", escaped(note)))
        .collect();
    format!("<h2>Notes</h2>\n<ul class=\"notes\">\n{notes}</ul>\n")
}
