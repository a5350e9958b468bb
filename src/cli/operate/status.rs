//! `carpd status`.

mod notify;
pub(super) mod table;

use std::time::Duration;

use clap::ColorChoice;

use super::answers::{Answer, ask_each};
use super::daemon::{Daemon, ask_status, at, unexpected};
use super::hook::hook_line;
use super::maintenance::in_words;
use crate::cli::{Exit, Failure, output};
use crate::engine::report::{
    ConflictStatus, Death, Elsewhere, HookStatus, PeerStatus, Realtime, RefusalStatus,
    RefusedAddress, Status, TrackState, TrackStatus, UnknownVhidStatus, VhostStatus,
};
use crate::process::Patience;
use crate::terminal::{Canvas, Screen, Tone};
use crate::types::{Name, Page, shown};

/// Advertisements refused longer ago than this are no longer a current problem, and appear only in
/// the JSON.
const RECENT_MS: u64 = 600_000;

/// Show the state of every virtual host and hook, and the reasons for it.
///
/// On a terminal: a table with one line for each virtual host, problems first, and below it what
/// there is to say about those. Otherwise, and with --long, everything about each.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd status\n  carpd status web\n  carpd status --watch 5\n  carpd status --json | jq '.vhosts[].state'"
)]
pub(in crate::cli) struct StatusArgs {
    /// Show everything about this virtual host, and no others.
    #[arg(value_name = "NAME", conflicts_with_all = ["json", "short"])]
    vhost: Option<String>,
    #[command(flatten)]
    daemon: Daemon,
    /// Print everything as JSON.
    #[arg(long, conflicts_with_all = ["long", "short", "watch"])]
    json: bool,
    /// Show everything about each virtual host.
    #[arg(long, conflicts_with = "short")]
    long: bool,
    /// Show the table and the problems, also where the output is not a terminal.
    #[arg(long)]
    short: bool,
    /// Show it again and again, every so many seconds [default: 2].
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
    /// When to use colours. With `auto`: on a terminal, unless NO_COLOR is set.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = false
    )]
    color: ColorChoice,
}

impl StatusArgs {
    /// Adds what is to be seen of one daemon. Returns false if the virtual host that was named is
    /// not there.
    fn show(&self, mut status: Status, screen: Screen, view: &mut View) -> bool {
        if let Some(name) = &self.vhost
            && !narrow(&mut status, name)
        {
            return false;
        }
        let mut vhosts = status.vhosts.iter();
        view.is_split |= vhosts.any(|vhost| vhost.split.is_some());
        let canvas = &mut view.canvas;
        let is_short = !self.long && (self.short || screen.is_terminal);
        let mut page = Page::default();
        if is_short {
            table::draw(&status.vhosts, screen.width, canvas);
        }
        for vhost in &status.vhosts {
            if !is_short || self.vhost.is_some() || table::trouble(vhost).is_some() {
                vhost_text(vhost, &mut page);
            }
        }
        let whole = !is_short || self.vhost.is_some();
        rest_text(&status, whole, &mut page);
        if is_short && !page.as_str().is_empty() {
            canvas.end_line();
        }
        canvas.page(&page);
        true
    }

    fn unknown(&self) -> Failure {
        let name = shown(self.vhost.as_deref().unwrap_or_default());
        Failure::new(Exit::Usage, format!("there is no virtual host {name} here"))
            .hint("`carpd status` shows those that there are")
    }
}

/// Leaves only what concerns this virtual host. Returns false if it is not there.
fn narrow(status: &mut Status, name: &str) -> bool {
    let is_it = |other: &Name| other.as_str() == name;
    status.vhosts.retain(|vhost| is_it(&vhost.name));
    let Some(vhost) = status.vhosts.first() else {
        return false;
    };
    status.hooks.retain(|hook| vhost.hooks.contains(&hook.name));
    status.tracks.retain(|track| track.vhosts.iter().any(is_it));
    status
        .groups
        .retain(|group| group.members.iter().any(is_it));
    let interface = &vhost.interface;
    status
        .unknown_vhids
        .retain(|unknown| unknown.interface == *interface);
    true
}

pub(in crate::cli) fn status(args: &StatusArgs) -> Result<Exit, Failure> {
    let screen = Screen::of(args.color);
    let Some(seconds) = args.watch else {
        return once(args, screen);
    };
    if !screen.is_terminal {
        return Err(Failure::new(Exit::Usage, "--watch needs a terminal")
            .hint("`carpd status --json` is for programs"));
    }
    let length = Duration::from_secs(seconds);
    loop {
        // The terminal may have another size by now.
        let screen = Screen::of(args.color);
        let canvas = look(args, screen).map(|view| view.canvas);
        let canvas = canvas.unwrap_or_else(|failure| {
            // It may come back, which is what one waits for.
            let mut canvas = Canvas::new(screen.colour);
            canvas.words(Tone::Bad, &failure.message);
            canvas.end_line();
            canvas
        });
        output::redraw(&canvas)?;
        Patience::of(length).pause(length);
    }
}

/// What is shown, and what a script wants to know of it.
struct View {
    canvas: Canvas,
    /// Another node is master of a virtual host as well as this one.
    is_split: bool,
}

impl View {
    fn new(screen: Screen) -> Self {
        Self {
            canvas: Canvas::new(screen.colour),
            is_split: false,
        }
    }

    fn append(&mut self, other: &Self) {
        self.canvas.append(&other.canvas);
        self.is_split |= other.is_split;
    }
}

fn once(args: &StatusArgs, screen: Screen) -> Result<Exit, Failure> {
    if args.json {
        return json(args);
    }
    let view = look(args, screen)?;
    output::canvas(&view.canvas)?;
    Ok(exit(view.is_split))
}

const fn exit(is_split: bool) -> Exit {
    if is_split { Exit::Split } else { Exit::Success }
}

fn json(args: &StatusArgs) -> Result<Exit, Failure> {
    let status = match args.daemon.each() {
        Some(all) => status_of_all(all)?,
        None => ask_status(&args.daemon)?,
    };
    output::pretty_json(&status)?;
    Ok(exit(
        status.vhosts.iter().any(|vhost| vhost.split.is_some()),
    ))
}

/// What there is to be seen now: one daemon after the other. It is a failure only if none of them
/// answers.
fn look(args: &StatusArgs, screen: Screen) -> Result<View, Failure> {
    let mut view = View::new(screen);
    let (mut problem, mut answered, mut found) = (None, false, false);
    for Answer { heading, status } in ask_each(&args.daemon) {
        match status {
            Ok(status) => {
                answered = true;
                if let Some(part) = part(args, screen, heading.as_deref(), *status) {
                    found = true;
                    view.append(&part);
                }
            }
            Err(failure) => {
                if let Some(heading) = heading {
                    view.canvas.note(&heading, &failure.message);
                }
                problem.get_or_insert(failure);
            }
        }
    }
    match problem {
        Some(failure) if !answered => Err(failure),
        None if !found && args.vhost.is_some() => Err(args.unknown()),
        Some(_) | None => Ok(view),
    }
}

/// What several daemons report, or one in all its network namespaces, as one status.
fn status_of_all(daemons: Vec<(String, Daemon)>) -> Result<Box<Status>, Failure> {
    let mut all: Option<Box<Status>> = None;
    let mut problem = None;
    for (place, daemon) in daemons {
        match (ask_status(&daemon), &mut all) {
            (Ok(status), Some(all)) => all.add(*status),
            (Ok(status), None) => all = Some(status),
            (Err(failure), _) => {
                output::note(format_args!("warning: {place}: {}", failure.message));
                problem.get_or_insert(failure);
            }
        }
    }
    match (all, problem) {
        (Some(all), _) => Ok(all),
        (None, Some(failure)) => Err(failure),
        (None, None) => Err(unexpected()),
    }
}

/// What one daemon reports; below a heading, if it is one of several. Nothing if it does not have
/// the virtual host that was named.
fn part(args: &StatusArgs, screen: Screen, heading: Option<&str>, status: Status) -> Option<View> {
    let mut view = View::new(screen);
    if let Some(heading) = heading {
        view.canvas.words(Tone::Plain, heading);
        view.canvas.end_line();
    }
    args.show(status, screen, &mut view).then_some(view)
}

/// What does not belong to one virtual host: all of it, or only what is not as it should be.
pub(super) fn rest_text(status: &Status, whole: bool, page: &mut Page) {
    for group in status
        .groups
        .iter()
        .filter(|group| whole || group.flaw.is_some())
    {
        let members: Vec<&str> = group.members.iter().map(Name::as_str).collect();
        let whole = group
            .flaw
            .as_ref()
            .map_or_else(|| "whole".to_owned(), |flaw| format!("not whole: {flaw}"));
        writeln!(
            page,
            "group {} ({}): {}, {whole}",
            group.name,
            members.join(", "),
            group.state
        );
    }
    for unknown in status
        .unknown_vhids
        .iter()
        .filter(|unknown| unknown.ago_ms < RECENT_MS)
    {
        let UnknownVhidStatus {
            interface,
            vhid,
            count,
            from,
            ago_ms,
            cause,
        } = unknown;
        writeln!(
            page,
            "heard vhid {vhid} on {interface}, which no virtual host here uses, from {from} ({count} so far, the last {ago_ms} ms ago): {cause}"
        );
    }
    status
        .tracks
        .iter()
        .filter(|track| whole || track.state == TrackState::Down)
        .for_each(|track| track_text(track, page));
    let told = status.notify.iter();
    notify::text(told.filter(|target| whole || target.failing), page);
    let is_as_written =
        |hook: &HookStatus| hook.fault.is_none() && !hook.kept && hook.rolled_back_from.is_none();
    for hook in status
        .hooks
        .iter()
        .filter(|hook| whole || !is_as_written(hook))
    {
        writeln!(page, "hook {}", hook_line(hook));
    }
    if let Some(Death { at_ms, how }) = status
        .engine
        .as_ref()
        .and_then(|engine| engine.before.as_ref())
    {
        writeln!(page, "restarted: {how} (at {})", at(*at_ms));
    }
    for missing in status
        .engine
        .iter()
        .flat_map(|engine| &engine.confinement.missing)
    {
        writeln!(page, "engine lacks {missing}");
    }
    for missing in status.engine.iter().flat_map(|engine| &engine.reader_lacks) {
        writeln!(page, "reader lacks {missing}");
    }
    if let Some(realtime) = status
        .engine
        .as_ref()
        .and_then(|engine| engine.realtime)
        .filter(|realtime| whole || *realtime == Realtime::Paused)
    {
        let text = match realtime {
            Realtime::On => "on",
            Realtime::Paused => "paused: the loop had too much to do",
        };
        writeln!(page, "real-time priority: {text}");
    }
    if let Some(fault) = status
        .helper
        .as_ref()
        .and_then(|helper| helper.fault.as_ref())
    {
        writeln!(page, "{} (since {})", fault.message, at(fault.since_ms));
    }
    for problem in status.ledger_problem.iter().chain(&status.lasting_problem) {
        writeln!(page, "{problem}");
    }
    for held in status
        .held
        .iter()
        .filter(|held| whole || held.trouble.is_some())
    {
        let owners = held.owners.join(", ");
        match &held.trouble {
            None => writeln!(
                page,
                "holds {} = {} for {owners}",
                held.resource, held.value
            ),
            Some(trouble) => writeln!(
                page,
                "does not hold {} = {} for {owners}: {trouble}",
                held.resource, held.value
            ),
        }
    }
    for problem in &status.reload_problems {
        writeln!(page, "last reload failed: {problem}");
    }
}

fn track_text(track: &TrackStatus, page: &mut Page) {
    let TrackStatus {
        name,
        tracked,
        state,
        demote,
        reason,
        output,
        since_ms,
        ..
    } = track;
    let since = at(*since_ms);
    match state {
        TrackState::Unknown => writeln!(page, "track {name} ({tracked}): no result yet"),
        TrackState::Up => writeln!(page, "track {name} ({tracked}): up since {since}"),
        TrackState::Down => {
            let cost = demote.map_or("fault".to_owned(), |by| format!("demotion {by}"));
            writeln!(
                page,
                "track {name} ({tracked}): down since {since}, {cost}: {reason}"
            );
            for line in output.lines() {
                writeln!(page, "  it wrote: {line}");
            }
        }
    }
}

fn about_peer(peer: &PeerStatus) -> String {
    let heard = peer.heard_ago_ms.map_or_else(
        || "not heard yet".to_owned(),
        |ago_ms| format!("heard {ago_ms} ms ago"),
    );
    let refused = peer.refused_ago_ms.filter(|ago_ms| *ago_ms < RECENT_MS);
    let why = || shown(&peer.refused_reason);
    let sent = match (peer.sent_ago_ms, refused) {
        (_, Some(ago_ms)) if peer.is_refused() => {
            format!(", could not be sent to {ago_ms} ms ago: {}", why())
        }
        (Some(sent_ms), Some(ago_ms)) => format!(
            ", sent to {sent_ms} ms ago, could not be {ago_ms} ms ago: {}",
            why()
        ),
        (Some(sent_ms), None) => format!(", sent to {sent_ms} ms ago"),
        (None, _) => String::new(),
    };
    format!("peer {}: {heard}{sent}", peer.address)
}

/// Everything about one virtual host.
pub(super) fn vhost_text(vhost: &VhostStatus, page: &mut Page) {
    let VhostStatus {
        name,
        interface,
        vhid,
        state,
        why,
        ..
    } = vhost;
    let addresses: Vec<String> = vhost.addresses.iter().map(ToString::to_string).collect();
    let since = at(vhost.since_ms);
    let peer = vhost
        .peer
        .as_ref()
        .map(|peer| format!(" ({peer})"))
        .unwrap_or_default();
    writeln!(page, "{name}: {state} since {since}, {}", vhost.condition);
    if *why != vhost.condition {
        writeln!(page, "  because: {why}{peer}");
    }
    let up = match (vhost.holding, vhost.foreign.is_empty()) {
        (true, _) => ", up here",
        (false, true) => ", not here",
        (false, false) => ", up here but not set by carpd",
    };
    let lease = if vhost.lease.is_empty() {
        String::new()
    } else {
        format!(", {}", vhost.lease)
    };
    let netns = vhost.netns.iter();
    let netns: String = netns.map(|netns| format!(" in {netns}")).collect();
    writeln!(
        page,
        "  vhid {vhid} on {interface}{netns}, {}{up}{lease}",
        addresses.join(" ")
    );
    if !vhost.unicast.is_empty() {
        let peers: Vec<String> = vhost.unicast.iter().map(ToString::to_string).collect();
        writeln!(page, "  unicast to {}", peers.join(" "));
    }
    for peer in &vhost.peers {
        writeln!(page, "    {}", about_peer(peer));
    }
    if let Some(split) = &vhost.split {
        let seconds = split.for_ms.div_ceil(1000);
        writeln!(page, "  split for {seconds} s: {split}");
    }
    for conflict in &vhost.conflicts {
        let ConflictStatus {
            address,
            mac,
            count,
            ago_ms,
        } = conflict;
        let ago = ago_ms.div_ceil(1000);
        writeln!(
            page,
            "  another host, {mac}, has {address} (said so {count} times, last {ago} s ago)"
        );
    }
    if vhost.link_penalty > 0 {
        writeln!(page, "  link penalty {}", vhost.link_penalty);
    }
    if let Some(left) = vhost.overlap_ends_in_ms {
        writeln!(
            page,
            "  the password or the addresses from before the last reload count for {} s more",
            left.div_ceil(1000)
        );
    }
    for Elsewhere { address, interface } in &vhost.elsewhere {
        writeln!(
            page,
            "  {address} is up on {interface}, but not set by carpd: this host answers for it, master or not"
        );
    }
    for refused in &vhost.refused_addresses {
        let RefusedAddress {
            address,
            reason,
            retry_in_ms,
        } = refused;
        writeln!(
            page,
            "  but not {address}: {reason}; next try in {} s",
            retry_in_ms.div_ceil(1000)
        );
    }
    if let Some(maintenance) = &vhost.maintenance {
        writeln!(page, "  {}", in_words(maintenance));
    }
    if vhost.demotion > 0 {
        writeln!(page, "  demoted by {}", vhost.demotion);
    }
    for part in &vhost.demotions {
        writeln!(page, "    {part}");
    }
    if let Some(reason) = &vhost.degraded {
        writeln!(page, "  degraded: {reason}");
    }
    for health in &vhost.health {
        let since = at(health.since_ms);
        match health.well {
            None => writeln!(page, "  {}: health not checked yet", health.hook),
            Some(true) => writeln!(page, "  {}: healthy since {since}", health.hook),
            Some(false) => {
                writeln!(
                    page,
                    "  {}: unhealthy since {since}, demotion {}: {}",
                    health.hook, health.demotion, health.reason
                );
            }
        }
    }
    for refused in vhost
        .refused
        .iter()
        .filter(|refused| refused.ago_ms < RECENT_MS)
    {
        let RefusalStatus {
            reason,
            count,
            from,
            ago_ms,
            cause,
        } = refused;
        writeln!(
            page,
            "  refuses advertisements of {from} ({reason}, {count} so far, the last {ago_ms} ms ago): {cause}"
        );
    }
    if let Some(heard) = &vhost.heard {
        writeln!(
            page,
            "  heard {} {} ms ago (advbase {}, advskew {})",
            heard.from, heard.ago_ms, heard.advbase, heard.advskew
        );
    }
}
