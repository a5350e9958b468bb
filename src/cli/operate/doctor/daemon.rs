//! What the running daemon has seen.

use super::{Found, Level, Subject};
use crate::config::Vhost;
use crate::engine::report::{Status, VhostStatus};

/// Refused longer ago than this is no trouble of now, in milliseconds.
const RECENT_MS: u64 = 600_000;

pub(super) fn check(subject: &Subject<'_>) -> Vec<Found> {
    let Some(status) = subject.status.as_deref() else {
        return Vec::new();
    };
    let mut found = whole(status);
    for vhost in &subject.config.vhosts {
        match status.vhosts.iter().find(|there| there.name == vhost.name) {
            Some(there) => found.extend(of_vhost(vhost, there)),
            None => found.push(
                Found::new(Level::Warning, "the daemon does not know this virtual host")
                    .about([vhost])
                    .seen("`carpd status` has no such virtual host")
                    .so("what is written is not what runs")
                    .mend("carpd reload"),
            ),
        }
    }
    found
}

fn whole(status: &Status) -> Vec<Found> {
    let mut found = Vec::new();
    let mut trouble = |what: &str, seen: &str, so: &str, mend: &str| {
        found.push(
            Found::new(Level::Warning, what)
                .seen(seen)
                .so(so)
                .mend(mend),
        );
    };
    for problem in &status.reload_problems {
        trouble(
            "the last reload was refused",
            problem,
            "the daemon goes on with what it had",
            "carpd check, then carpd reload",
        );
    }
    if let Some(problem) = &status.ledger_problem {
        trouble(
            "the ledger cannot be written",
            problem,
            "after a crash the daemon may not know what it left behind",
            "see to the file system of `run-dir`",
        );
    }
    if let Some(problem) = &status.lasting_problem {
        trouble(
            "what must survive a reboot cannot be written",
            problem,
            "demotions and versions of hooks are lost at the next start",
            "see to the file system of `state-dir`",
        );
    }
    for hook in &status.hooks {
        if let Some(fault) = &hook.fault {
            trouble(
                &format!("the hook {} has a fault", hook.name),
                &fault.message,
                "its last good version runs, or none",
                &format!(
                    "carpd check; carpd hook list shows the versions of {}",
                    hook.name
                ),
            );
        }
    }
    for unknown in status
        .unknown_vhids
        .iter()
        .filter(|one| one.ago_ms < RECENT_MS)
    {
        trouble(
            &format!(
                "somebody advertises vhid {} on {}, which is none of ours",
                unknown.vhid, unknown.interface
            ),
            &format!("from {}, {} times", unknown.from, unknown.count),
            &unknown.cause,
            "look for the other group, or correct `vhid`",
        );
    }
    found
}

fn of_vhost(vhost: &Vhost, there: &VhostStatus) -> Vec<Found> {
    let mut found = Vec::new();
    for refused in there.refused.iter().filter(|one| one.ago_ms < RECENT_MS) {
        found.push(
            Found::new(
                Level::Error,
                format!("advertisements of {} are refused", refused.from),
            )
            .about([vhost])
            .seen(format!("{}, {} times", refused.reason, refused.count))
            .so("the nodes do not agree who is master: each may hold the address")
            .mend(refused.cause.clone()),
        );
    }
    for conflict in &there.conflicts {
        found.push(
            Found::new(
                Level::Error,
                format!("another host has {}", conflict.address),
            )
            .about([vhost])
            .seen(format!("{} said so {} times", conflict.mac, conflict.count))
            .so("neighbours reach the one or the other")
            .mend("find the host by its hardware address, and take the address from it"),
        );
    }
    for elsewhere in &there.elsewhere {
        found.push(
            Found::new(
                Level::Warning,
                format!("{} is up on another interface", elsewhere.address),
            )
            .about([vhost])
            .seen(format!("on {}", elsewhere.interface))
            .so("this host answers for it, master or not")
            .mend(format!(
                "ip address delete {} dev {}",
                elsewhere.address, elsewhere.interface
            )),
        );
    }
    for address in &there.foreign {
        found.push(
            Found::new(Level::Error, format!("{address} was already up here"))
                .about([vhost])
                .seen("the daemon did not set it")
                .so("the virtual host takes no part")
                .mend(format!(
                    "ip address delete {address} dev {}",
                    vhost.interface
                )),
        );
    }
    for address in &there.refused_addresses {
        found.push(
            Found::new(Level::Error, format!("{} cannot be set", address.address))
                .about([vhost])
                .seen(address.reason.clone())
                .so("this node does not hold the address")
                .mend("what the kernel says is above"),
        );
    }
    if let Some(hook) = &there.degraded {
        found.push(
            Found::new(Level::Warning, "it is master although a hook failed")
                .about([vhost])
                .seen(hook.clone())
                .so("the address is held; what the hook does is missing")
                .mend(format!(
                    "carpd why {}; mend the hook; carpd undemote {}",
                    vhost.name, vhost.name
                )),
        );
    }
    found
}
