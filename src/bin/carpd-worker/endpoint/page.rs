//! The page that people look at: the state of every virtual host, in one table.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use carpd::types::State;
use carpd::types::shown;

use super::view::{Vhost, View};

/// How often a browser asks again, in seconds.
const REFRESH: u32 = 2;

/// How recent a refused advertisement is to be worth a line.
const RECENT: Duration = Duration::from_mins(1);

/// All of what the page needs: nothing else is loaded.
const STYLE: &str = include_str!("page.css");

/// A page in two parts, between which the age of what it shows stands.
pub(super) struct Page {
    before_age: String,
    after_age: String,
}

impl Page {
    /// The whole page, of which the rest is this old.
    pub(super) fn with_age(&self, age: Duration) -> String {
        let mut page = String::with_capacity(self.before_age.len() + self.after_age.len() + 16);
        page.push_str(&self.before_age);
        _ = write!(page, "{:.1} s", age.as_secs_f64());
        page.push_str(&self.after_age);
        page
    }
}

/// Words of whoever, as text of a page.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in shown(&self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The page of a status that was told at this time, in milliseconds since 1970.
pub(super) fn of(view: &View, node: &str, now_ms: u64) -> Page {
    let mut before_age = head(node);
    let problems = problems(view);
    _ = write!(
        before_age,
        "<header><h1>{}</h1><p class=sums>{}</p><p class=age>carpd {}, up {}. Updated {}, ",
        Escaped(node),
        sums(view),
        Escaped(&view.version),
        lasting(now_ms.saturating_sub(view.started_ms)),
        moment(now_ms),
    );
    let mut out = String::from(" ago.</p></header>\n<main>\n");
    if !problems.is_empty() {
        out += "<ul class=problems>\n";
        for problem in problems {
            _ = writeln!(out, "<li>{problem}</li>");
        }
        out += "</ul>\n";
    }
    vhosts(&mut out, view, now_ms);
    groups(&mut out, view);
    tracks(&mut out, view);
    out += "</main>\n</body></html>\n";
    Page {
        before_age,
        after_age: out,
    }
}

/// The page of an engine that does not answer.
pub(super) fn of_silence(node: &str, since: Option<Duration>) -> String {
    let since = since.map_or_else(
        || "It has not answered yet.".to_owned(),
        |since| {
            let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            format!("It last answered {} ago.", lasting(since))
        },
    );
    format!(
        "{}<header class=silent><h1>{}</h1><p class=sums>The engine does not answer</p>\
         <p class=age>{since} Nothing is known of its virtual hosts. <code>carpd status</code> on this node says more.</p>\
         </header>\n</body></html>\n",
        head(node),
        Escaped(node),
    )
}

fn head(node: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>\
         <meta http-equiv=refresh content={REFRESH}>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <title>{} - carpd</title>\n<style>{STYLE}</style></head>\n<body>\n",
        Escaped(node)
    )
}

/// How many virtual hosts are in each state.
fn sums(view: &View) -> String {
    let count = |state| {
        let of_state = view.vhosts.iter().filter(|vhost| vhost.state == state);
        (of_state.count(), state)
    };
    let counts = [State::Master, State::Backup, State::Init].map(count);
    let present = counts.iter().filter(|(count, _)| *count > 0);
    let mut parts: Vec<String> = present
        .map(|(count, state)| format!("<b class={state}>{count} {state}</b>"))
        .collect();
    let split = view.vhosts.iter().filter(|vhost| vhost.split.is_some());
    match split.count() {
        0 => {}
        count => parts.push(format!("<b class=split>{count} split</b>")),
    }
    parts.join(" ")
}

/// What concerns more than one virtual host.
fn problems(view: &View) -> Vec<String> {
    let mut problems = Vec::new();
    let mut say = |what: &str, words: &dyn Display| {
        problems.push(format!("{what}: {}", Escaped(words)));
    };
    if let Some(problem) = &view.ledger_problem {
        say("The ledger cannot be written", problem);
    }
    if let Some(problem) = &view.lasting_problem {
        say("Persistent state cannot be written", problem);
    }
    for problem in &view.reload_problems {
        say("The last reload was refused", problem);
    }
    for hook in &view.hooks {
        if let Some(fault) = &hook.fault {
            let words = format!("{}: {}", hook.name, fault.message);
            say("A hook has an error, its older version runs", &words);
        }
    }
    for unknown in &view.unknown_vhids {
        if Duration::from_millis(unknown.ago_ms) < RECENT {
            let words = format!(
                "{} on {}, from {}",
                unknown.vhid, unknown.interface, unknown.from
            );
            say("Advertisements of a vhid that nothing here uses", &words);
        }
    }
    problems
}

fn vhosts(out: &mut String, view: &View, now_ms: u64) {
    *out += "<table>\n<thead><tr><th>State<th>Virtual host<th>Addresses<th>Interface<th class=number>vhid\
        <th>For<th>Condition</tr></thead>\n<tbody>\n";
    for vhost in &view.vhosts {
        let addresses: Vec<String> = vhost
            .addresses
            .iter()
            .map(|address| Escaped(address).to_string())
            .collect();
        let trouble = if is_troubled(vhost) {
            " class=troubled"
        } else {
            ""
        };
        _ = writeln!(
            out,
            "<tr{trouble}><td><b class={state}>{state}</b><td>{name}<td class=addresses>{addresses}<td>{interface}\
             <td class=number>{vhid}<td title=\"since {since}\">{lasts}<td>{condition}</tr>",
            state = vhost.state,
            name = Escaped(&vhost.name),
            addresses = addresses.join("<br>"),
            interface = Escaped(&vhost.interface),
            vhid = vhost.vhid,
            since = moment(vhost.since_ms),
            lasts = lasting(now_ms.saturating_sub(vhost.since_ms)),
            condition = condition(vhost),
        );
    }
    *out += "</tbody></table>\n";
}

/// Should somebody look at it?
fn is_troubled(vhost: &Vhost) -> bool {
    !vhost.is_ready()
        || vhost.degraded.is_some()
        || vhost.split.is_some()
        || !vhost.conflicts.is_empty()
}

fn condition(vhost: &Vhost) -> String {
    let mut lines = vec![Escaped(&vhost.condition).to_string()];
    if let Some(split) = &vhost.split {
        lines.push(format!(
            "<strong>split for {}: {}</strong>",
            lasting(split.for_ms),
            Escaped(split.who_and_why())
        ));
    }
    let mut add = |line: String| lines.push(format!("<small>{line}</small>"));
    if vhost.why != vhost.condition {
        add(format!("because: {}", Escaped(&vhost.why)));
    }
    if let Some(reason) = &vhost.degraded {
        add(format!("degraded: {}", Escaped(reason)));
    }
    if vhost.demotion > 0 {
        add(format!("advertises a demotion of {}", vhost.demotion));
    }
    for conflict in &vhost.conflicts {
        add(format!("another host has {}", Escaped(conflict.address)));
    }
    for refusal in &vhost.refused {
        if Duration::from_millis(refusal.ago_ms) < RECENT {
            add(format!(
                "refused {} advertisements, the last from {}: {}",
                refusal.count,
                Escaped(&refusal.from),
                Escaped(&refusal.cause)
            ));
        }
    }
    if vhost.state == State::Backup
        && let Some(heard) = &vhost.heard
    {
        add(format!(
            "heard {} {:.1} s before",
            Escaped(&heard.from),
            Duration::from_millis(heard.ago_ms).as_secs_f64()
        ));
    }
    lines.join("<br>")
}

fn groups(out: &mut String, view: &View) {
    if view.groups.is_empty() {
        return;
    }
    *out += "<h2>Groups</h2>\n<table>\n<thead><tr><th>State<th>Group<th>Virtual hosts<th>Flaw</tr></thead>\n<tbody>\n";
    for group in &view.groups {
        let members: Vec<&str> = group.members.iter().map(AsRef::as_ref).collect();
        let flaw = group.flaw.as_deref().unwrap_or_default();
        let trouble = if flaw.is_empty() {
            ""
        } else {
            " class=troubled"
        };
        _ = writeln!(
            out,
            "<tr{trouble}><td><b class={state}>{state}</b><td>{}<td>{}<td>{}</tr>",
            Escaped(&group.name),
            Escaped(members.join(", ")),
            Escaped(flaw),
            state = group.state,
        );
    }
    *out += "</tbody></table>\n";
}

fn tracks(out: &mut String, view: &View) {
    if view.tracks.is_empty() {
        return;
    }
    *out += "<h2>Tracks</h2>\n<table>\n<thead><tr><th>State<th>Track<th>Follows<th>Reason</tr></thead>\n<tbody>\n";
    for track in &view.tracks {
        let (class, trouble) = match track.state.as_str() {
            "up" => ("master", ""),
            "down" => ("init", " class=troubled"),
            _ => ("backup", ""),
        };
        _ = writeln!(
            out,
            "<tr{trouble}><td><b class={class}>{}</b><td>{}<td>{}<td>{}</tr>",
            Escaped(&track.state),
            Escaped(&track.name),
            Escaped(&track.tracked),
            Escaped(&track.reason),
        );
    }
    *out += "</tbody></table>\n";
}

/// A duration in its two largest units.
fn lasting(ms: u64) -> String {
    let s = ms / 1000;
    let (minutes, hours, days) = (s / 60, s / 3600, s / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, _) => format!("{minutes} min {} s", s % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// A point in time, in milliseconds since 1970.
fn moment(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(
            || "at an unknown time".to_owned(),
            |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        )
}

#[cfg(test)]
mod tests {
    use super::super::view::{Cause, Group, Split, tests};
    use super::*;

    fn view(vhosts: Vec<Vhost>) -> View {
        View {
            version: "1.2".to_owned(),
            vhosts,
            ..View::default()
        }
    }

    #[test]
    fn words_of_others_are_text_and_nothing_else() {
        let mut evil = tests::vhost("web", "master", true);
        evil.split = Some(Split {
            address: "192.0.2.9".parse().unwrap(),
            for_ms: 61_000,
            causes: vec![Cause {
                text: "<s>another password".to_owned(),
            }],
        });
        evil.condition = "</td><script>alert(1)</script>&\"'\u{202e}\n".to_owned();
        let mut view = view(vec![evil]);
        view.reload_problems = vec!["<img src=x onerror=alert(2)>".to_owned()];
        view.groups = vec![Group {
            name: "g".parse().unwrap(),
            members: vec!["web".parse().unwrap()],
            state: State::Backup,
            flaw: Some("<i>".to_owned()),
        }];
        let page = of(&view, "<node>", 1_700_000_100_000).with_age(Duration::from_millis(300));
        for sign in [
            "<script",
            "<img",
            "<i>",
            "<s>",
            "<node",
            "\u{202e}",
            "<b>because",
        ] {
            assert!(!page.contains(sign), "{sign}: {page}");
        }
        assert!(page.contains("&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;"));
        assert!(page.contains("Updated 2023-11-14 22:15:00 UTC, 0.3 s ago."));
        assert!(page.contains("title=\"since 2023-11-14 22:13:20 UTC\">1 min 40 s"));
        assert!(of_silence("<node>", None).contains("&lt;node&gt;"));
    }

    #[test]
    fn what_is_wrong_is_marked() {
        let vhosts = vec![
            tests::vhost("a", "master", true),
            tests::vhost("b", "master", false),
            tests::vhost("c", "backup", false),
            tests::vhost("d", "init", false),
        ];
        let page = of(&view(vhosts), "n", 0).with_age(Duration::ZERO);
        assert_eq!(page.matches("<tr class=troubled>").count(), 2, "{page}");
        assert!(page.contains("<b class=master>2 master</b> <b class=backup>1 backup</b>"));
        assert!(page.contains("heard 192.0.2.7 0.3 s before"), "{page}");
    }

    #[test]
    fn two_masters_are_said_with_their_reason() {
        let mut split = tests::vhost("web", "master", true);
        split.split = Some(Split {
            address: "192.0.2.9".parse().unwrap(),
            for_ms: 61_000,
            causes: Vec::new(),
        });
        let page = of(&view(vec![split]), "n", 0).with_age(Duration::ZERO);
        for wanted in [
            "<b class=master>1 master</b> <b class=split>1 split</b>",
            "<tr class=troubled>",
            "<strong>split for 1 min 1 s: 192.0.2.9 is master as well: it does not hear this node",
        ] {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
        let well = view(vec![tests::vhost("web", "master", true)]);
        let page = of(&well, "n", 0).with_age(Duration::ZERO);
        assert!(!page.contains("class=split") && !page.contains("split for"));
    }

    #[test]
    fn durations_have_two_units() {
        for (s, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3_700, "1 h 1 min"),
            (200_000, "2 d 7 h"),
        ] {
            assert_eq!(lasting(s * 1000), text);
        }
    }
}
