//! `carpd status`.

use std::path::PathBuf;

use super::daemon::{Daemon, ask_status, at, failure_of, forbidden, heading, name_of, unexpected};
use super::hook::hook_line;
use super::maintenance::in_words;
use crate::cli::{Exit, Failure, output};
use crate::config::Share;
use crate::control::{self, CallError, Order, Reply};
use crate::engine::report::{
    ConflictStatus, Death, Elsewhere, PeerStatus, Realtime, RefusalStatus, RefusedAddress, Status,
    TrackState, TrackStatus, UnknownVhidStatus, VhostStatus,
};
use crate::types::{Name, Page, shown};

/// Advertisements refused longer ago than this are no longer a current problem, and appear only in
/// the JSON.
const RECENT_MS: u64 = 600_000;

/// Show the state of every virtual host and hook, and the reasons for it.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd status\n  carpd status --json | jq '.vhosts[].state'"
)]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    daemon: Daemon,
    /// Print everything as JSON.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn status(args: &StatusArgs) -> Result<Exit, Failure> {
    let Daemon {
        config, instance, ..
    } = &args.daemon;
    if let Some(all) = args.daemon.in_each() {
        return status_of_shares(all, args.json);
    }
    let here = args.daemon.here(control::socket_path);
    if config.is_none() && instance.is_none() && here.len() > 1 && !args.json {
        return status_of_all(&here);
    }
    let status = ask_status(&args.daemon)?;
    if args.json {
        return output::pretty_json(&status);
    }
    let mut page = Page::default();
    status_text(&status, &mut page);
    output::page(&page)
}

/// Shows one network namespace after the other.
fn status_of_shares(daemons: Vec<(Share, Daemon)>, json: bool) -> Result<Exit, Failure> {
    let mut page = Page::default();
    let mut all: Option<Box<Status>> = None;
    let mut problem = None;
    for (share, daemon) in daemons {
        writeln!(page, "{}", heading(&share));
        match ask_status(&daemon) {
            Ok(status) => {
                status_text(&status, &mut page);
                match &mut all {
                    Some(all) => all.add(*status),
                    None => all = Some(status),
                }
            }
            Err(failure) => {
                if json {
                    let (place, why) = (heading(&share), &failure.message);
                    output::note(format_args!("warning: {place}: {why}"));
                }
                writeln!(page, "  {}", failure.message);
                problem.get_or_insert(failure);
            }
        }
    }
    match (all, problem) {
        (None, Some(failure)) => Err(failure),
        (Some(all), _) if json => output::pretty_json(&all),
        _ => output::page(&page),
    }
}

/// Shows one daemon after the other. It is a failure only if none of them answers.
fn status_of_all(directories: &[PathBuf]) -> Result<Exit, Failure> {
    let mut page = Page::default();
    let mut problem = None;
    let mut answered = false;
    for directory in directories {
        let (path, name) = (control::socket_path(directory), name_of(directory));
        match control::call(&path, Order::Status) {
            Ok(Reply::Status(status)) => {
                answered = true;
                writeln!(page, "instance {name}");
                status_text(&status, &mut page);
            }
            Ok(_) => return Err(unexpected()),
            Err(error) => {
                writeln!(page, "instance {name}");
                writeln!(page, "  {error}");
                let hint = match &error {
                    CallError::Unreachable { path, source } => forbidden(path, source),
                    CallError::Silent(trouble) | CallError::Cut(trouble) => {
                        Some(trouble.hint.clone())
                    }
                    CallError::Garbled(_) | CallError::Refused(_) => None,
                };
                let failure = failure_of(&error);
                problem = Some(match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                });
            }
        }
    }
    match problem {
        Some(failure) if !answered => Err(failure),
        Some(_) | None => output::page(&page),
    }
}

fn status_text(status: &Status, page: &mut Page) {
    status
        .vhosts
        .iter()
        .for_each(|vhost| vhost_text(vhost, page));
    for group in &status.groups {
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
        .for_each(|track| track_text(track, page));
    for hook in &status.hooks {
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
    if let Some(realtime) = status.engine.as_ref().and_then(|engine| engine.realtime) {
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
    for held in &status.held {
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

fn vhost_text(vhost: &VhostStatus, page: &mut Page) {
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
