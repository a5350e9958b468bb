//! Draws a timeline: a lane for each virtual host of each node, ticks for what it did, and who held
//! the addresses.

use std::fmt::Write as _;

use super::text::{length, seconds};
use crate::cli::xml::escaped;
use crate::engine::rehearse::{
    Lane, Mark, MarkKind, NodeLine, Shown, StateSpan, Timeline, VhostLine,
};

const WIDTH: f64 = 1180.0;
/// The left and right ends of the time axis.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 1160.0;
/// The row of numbered events.
const EVENTS: f64 = 18.0;
const TOP: f64 = 52.0;
const LANE: f64 = 24.0;
const TICKS: f64 = 22.0;
const GAP: f64 = 18.0;
/// The approximate width of a character.
const CHARACTER: f64 = 6.6;
/// The number of colours that tell nodes apart, besides their names.
const COLOURS: usize = 5;

/// The picture, for a page that contains the styles.
pub(super) fn picture(timeline: &Timeline) -> String {
    let mut picture = Picture {
        out: String::new(),
        y: TOP,
        end: timeline.end_us.max(1),
    };
    for vhost in &timeline.vhosts {
        picture.vhost(vhost, &timeline.nodes);
    }
    for node in &timeline.nodes {
        picture.node(node);
    }
    let bottom = picture.y;
    let mut ground = Picture {
        out: String::new(),
        y: bottom,
        end: picture.end,
    };
    ground.axis();
    ground.events(timeline);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-labelledby=\"picture-title picture-description\">\n\
         <title id=\"picture-title\">Timeline of the rehearsal</title>\n\
         <desc id=\"picture-description\">{description}</desc>\n\
         <defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <rect class=\"hatch-ground\" width=\"6\" height=\"6\"/><path class=\"hatch\" d=\"M0 0V6\" stroke-width=\"2\"/></pattern></defs>\n\
         {ground}{lanes}</svg>\n",
        height = bottom + 8.0,
        description = escaped(description(timeline)),
        ground = ground.out,
        lanes = picture.out,
    )
}

fn description(timeline: &Timeline) -> String {
    let names: Vec<&str> = timeline
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    let mut text = format!("{} over {}.", names.join(", "), seconds(timeline.end_us));
    for vhost in &timeline.vhosts {
        _ = write!(
            text,
            " {}: {} outages.",
            vhost.name,
            vhost.failures().count()
        );
    }
    text + " The table below has the same content."
}

struct Picture {
    out: String,
    y: f64,
    end: u64,
}

impl Picture {
    fn x(&self, us: u64) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a picture has a thousand points, not 2^53"
        )]
        let share = us.min(self.end) as f64 / self.end as f64;
        LEFT + share * (RIGHT - LEFT)
    }

    fn axis(&mut self) {
        let step = step(self.end);
        let mut at = 0;
        while at <= self.end {
            let x = self.x(at);
            _ = writeln!(
                self.out,
                "<path class=\"grid\" d=\"M{x:.1} {:.1}V{:.1}\"/>",
                TOP - 12.0,
                self.y
            );
            let label = if step < 1_000_000 {
                length(at)
            } else {
                clock(at)
            };
            _ = writeln!(
                self.out,
                "<text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                TOP - 16.0
            );
            at += step;
        }
    }

    fn events(&mut self, timeline: &Timeline) {
        let mut last = f64::MIN;
        for (number, event) in (1..).zip(&timeline.events) {
            let x = self.x(event.at_us);
            let text = escaped(format!("{}: {}", seconds(event.at_us), event.text));
            _ = writeln!(
                self.out,
                "<path class=\"event\" d=\"M{x:.1} {:.1}V{:.1}\"/>",
                EVENTS, self.y
            );
            // Of badges that would overlap only the first is drawn; the table lists all of them.
            if x - last < 14.0 {
                continue;
            }
            last = x;
            _ = writeln!(
                self.out,
                "<g><circle class=\"badge\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"9\"><title>{text}</title></circle>\
                 <text class=\"badge-text\" x=\"{x:.1}\" y=\"{ty:.1}\">{number}</text></g>",
                y = EVENTS - 4.0,
                ty = EVENTS,
            );
        }
    }

    fn label(&mut self, text: &str, class: &str, height: f64) {
        let y = self.y + height / 2.0 + 4.0;
        let shown: String = if text.chars().count() > 20 {
            text.chars().take(19).chain(['…']).collect()
        } else {
            text.to_owned()
        };
        _ = writeln!(
            self.out,
            "<text class=\"{class}\" x=\"8\" y=\"{y:.1}\"><title>{}</title>{}</text>",
            escaped(text),
            escaped(&shown)
        );
    }

    /// A box, with a text if there is room for it.
    fn span(&mut self, (from, to): (u64, u64), class: &str, text: &str, title: &str) {
        let (x, y) = (self.x(from), self.y);
        let width = (self.x(to) - x).max(1.0);
        _ = write!(
            self.out,
            "<rect class=\"span {class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{LANE}\" rx=\"3\"><title>{}</title></rect>",
            escaped(title)
        );
        #[expect(clippy::cast_precision_loss, reason = "a name is short")]
        let needed = text.chars().count() as f64 * CHARACTER + 10.0;
        if width > needed {
            let on = if matches!(class, "master" | "n0" | "n1" | "n2" | "n3" | "n4") {
                " on"
            } else {
                ""
            };
            let class = if class == "outage" {
                "out".to_owned()
            } else {
                format!("in{on}")
            };
            _ = write!(
                self.out,
                "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x + width / 2.0,
                y + LANE / 2.0 + 4.0,
                escaped(text)
            );
        }
        self.out.push('\n');
    }

    fn vhost(&mut self, vhost: &VhostLine, nodes: &[NodeLine]) {
        self.label(
            vhost.addresses.first().unwrap_or(&vhost.name),
            "label",
            LANE,
        );
        for served in &vhost.served {
            let number = nodes
                .iter()
                .position(|node| node.name == served.node)
                .unwrap_or_default()
                % COLOURS;
            let span = (served.from_us, served.to_us);
            let title = format!(
                "{} has {}: {} to {}",
                served.node,
                vhost.addresses.join(", "),
                seconds(span.0),
                seconds(span.1)
            );
            self.span(span, &format!("n{number}"), &served.node, &title);
        }
        for outage in &vhost.outages {
            let (class, what) = if outage.initial {
                ("waiting", "not served yet")
            } else {
                ("outage", "outage")
            };
            let span = (outage.from_us, outage.to_us);
            let took = length(span.1 - span.0);
            let title = format!("{what}: {took}, {} to {}", seconds(span.0), seconds(span.1));
            self.span(
                span,
                class,
                if outage.initial { what } else { &took },
                &title,
            );
        }
        for span in &vhost.contested {
            let title = format!("held twice for {}", length(span.to_us - span.from_us));
            self.span((span.from_us, span.to_us), "twice", "", &title);
        }
        self.y += LANE + GAP;
    }

    fn node(&mut self, node: &NodeLine) {
        for lane in &node.lanes {
            let several = node.lanes.len() > 1;
            self.label(
                &if several {
                    format!("{} {}", node.name, lane.vhost)
                } else {
                    node.name.clone()
                },
                "label",
                LANE,
            );
            self.lane(lane);
            self.y += LANE + 3.0;
        }
        self.marks(&node.marks);
        self.y += TICKS + GAP;
    }

    fn lane(&mut self, lane: &Lane) {
        for StateSpan {
            from_us,
            to_us,
            state,
            why,
            ..
        } in &lane.states
        {
            let why =
                if why.is_empty() || matches!(state, Shown::Off | Shown::Stopped | Shown::Frozen) {
                    String::new()
                } else {
                    format!(": {why}")
                };
            let title = format!(
                "{} {} to {}{why}",
                state.as_str(),
                seconds(*from_us),
                seconds(*to_us)
            );
            self.span((*from_us, *to_us), state.as_str(), state.as_str(), &title);
        }
    }

    /// Draws ticks; those that would overlap become one, whose tooltip describes all of them.
    fn marks(&mut self, marks: &[Mark]) {
        let mut groups: Vec<(f64, Vec<&Mark>)> = Vec::new();
        for mark in marks {
            let x = self.x(mark.at_us);
            match groups.last_mut() {
                Some((first, group)) if x - *first < 9.0 => group.push(mark),
                _ => groups.push((x, vec![mark])),
            }
        }
        for (x, group) in groups {
            let kind = group
                .iter()
                .map(|mark| mark.kind)
                .max_by_key(|kind| weight(*kind))
                .unwrap_or(MarkKind::Effect);
            let failed = group.iter().any(|mark| !mark.good);
            let lines: Vec<String> = group
                .iter()
                .map(|mark| format!("{} {}", seconds(mark.at_us), mark.text))
                .collect();
            let y = self.y + TICKS / 2.0;
            let class = if failed { "failed" } else { class(kind) };
            let shape = if failed {
                format!(
                    "<path class=\"{class}\" d=\"M{x:.1} {:.1}l6 11h-12z\"/>",
                    y - 6.0
                )
            } else {
                format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>")
            };
            _ = writeln!(
                self.out,
                "<g class=\"mark\"><title>{}</title>{shape}</g>",
                escaped_lines(&lines)
            );
        }
    }
}

/// The lines of a tooltip.
fn escaped_lines(lines: &[String]) -> String {
    lines.iter().map(escaped).collect::<Vec<_>>().join("&#10;")
}

/// Decides which of several ticks at one place is shown.
const fn weight(kind: MarkKind) -> u8 {
    match kind {
        MarkKind::Announce => 0,
        MarkKind::Hook => 1,
        MarkKind::Address => 2,
        MarkKind::Effect => 3,
    }
}

const fn class(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Address => "address",
        MarkKind::Announce => "announce",
        MarkKind::Effect => "effect",
        MarkKind::Hook => "hook",
    }
}

/// The interval between the lines of the axis: at most a dozen, at round times.
fn step(end: u64) -> u64 {
    const ROUND: [u64; 17] = [
        100_000,
        200_000,
        500_000,
        1_000_000,
        2_000_000,
        5_000_000,
        10_000_000,
        20_000_000,
        30_000_000,
        60_000_000,
        120_000_000,
        300_000_000,
        600_000_000,
        1_800_000_000,
        3_600_000_000,
        7_200_000_000,
        21_600_000_000,
    ];
    ROUND
        .into_iter()
        .find(|step| end / step <= 12)
        .unwrap_or(86_400_000_000)
}

/// A time such as `1:30`; below a minute only the seconds.
fn clock(us: u64) -> String {
    let seconds = us / 1_000_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!(
            "{}:{:02}:{:02}",
            seconds / 3_600,
            seconds % 3_600 / 60,
            seconds % 60
        ),
    }
}
