//! Shows a timeline on a terminal.

use crate::engine::rehearse::{MarkKind, Timeline, VhostLine};
use crate::types::Page;

/// The whole timeline.
pub(super) fn text(timeline: &Timeline) -> Page {
    let mut lines: Vec<(u64, u64, String)> = Vec::new();
    for event in &timeline.events {
        lines.push((event.seq, event.at_us, format!("* {}", event.text)));
    }
    for node in &timeline.nodes {
        for lane in &node.lanes {
            for state in &lane.states {
                let why = if state.why.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", state.why)
                };
                lines.push((
                    state.seq,
                    state.from_us,
                    format!(
                        "{} {}: {}{why}",
                        node.name,
                        lane.vhost,
                        state.state.as_str()
                    ),
                ));
            }
        }
        for mark in node
            .marks
            .iter()
            .filter(|mark| mark.kind != MarkKind::Announce)
        {
            let sign = if mark.good { ' ' } else { '!' };
            lines.push((
                mark.seq,
                mark.at_us,
                format!("{} {sign} {}", node.name, mark.text),
            ));
        }
    }
    lines.sort_unstable_by_key(|(seq, ..)| *seq);
    let mut page = Page::default();
    for (_, at, line) in &lines {
        writeln!(page, "{:>12}  {line}", seconds(*at));
    }
    writeln!(page);
    for vhost in &timeline.vhosts {
        vhost_text(vhost, timeline.end_us, &mut page);
    }
    for note in &timeline.notes {
        writeln!(page, "note: {note}");
    }
    page
}

fn vhost_text(vhost: &VhostLine, end_us: u64, page: &mut Page) {
    let count = vhost.failures().count();
    let total: u64 = vhost
        .failures()
        .map(|outage| outage.to_us - outage.from_us)
        .sum();
    let outages = match count {
        0 => format!("no outage in {}", seconds(end_us)),
        1 => format!("1 outage of {}", length(total)),
        n => format!("{n} outages, {} in all", length(total)),
    };
    writeln!(
        page,
        "{} ({}): {outages}",
        vhost.name,
        vhost.addresses.join(", ")
    );
    for outage in &vhost.outages {
        let what = if outage.initial {
            "not served yet"
        } else {
            "outage"
        };
        let length = length(outage.to_us - outage.from_us);
        let open = if outage.to_us == end_us {
            ", still going on"
        } else {
            ""
        };
        writeln!(
            page,
            "  {what} {} to {}: {length}{open}",
            seconds(outage.from_us),
            seconds(outage.to_us)
        );
    }
    for span in &vhost.contested {
        let length = length(span.to_us - span.from_us);
        writeln!(
            page,
            "  held twice {} to {}: {length}",
            seconds(span.from_us),
            seconds(span.to_us)
        );
    }
}

/// `61.250 s`.
pub(super) fn seconds(us: u64) -> String {
    format!("{}.{:03} s", us / 1_000_000, us % 1_000_000 / 1_000)
}

/// A duration: `3.058 s`, `300 ms`, `0.12 ms`.
pub(super) fn length(us: u64) -> String {
    match us {
        0..10_000 => format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => seconds(us),
    }
}
