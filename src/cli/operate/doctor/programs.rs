//! Other programs of this host: services that start by themselves, and other daemons that share
//! addresses.

use super::{Found, Level, Subject};
use crate::effect::ServiceVerb;
use crate::types::Name;

/// Services that follow mastership, and are started at boot all the same.
pub(super) fn boot_services(subject: &Subject<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (name, hook) in &subject.config.hooks {
        for grant in &hook.grants.service {
            let follows = [ServiceVerb::Start, ServiceVerb::Stop]
                .iter()
                .all(|verb| grant.verbs.contains(verb));
            if let Some(place) = follows
                .then(|| starts_at_boot(subject, &grant.unit))
                .flatten()
            {
                found.push(boots(subject, name, &grant.unit, &place));
            }
        }
    }
    found
}

fn boots(subject: &Subject<'_>, hook: &Name, unit: &str, place: &str) -> Found {
    let vhosts = subject
        .config
        .vhosts
        .iter()
        .filter(|vhost| vhost.hooks.contains(hook));
    let mend = if place.starts_with("/etc/rc") {
        format!("update-rc.d {unit} disable")
    } else if place.starts_with("/etc/runlevels") {
        format!("rc-update del {unit}")
    } else {
        format!("systemctl disable {unit}")
    };
    Found::new(
        Level::Warning,
        format!("{unit} starts at boot, master or not"),
    )
    .about(vhosts)
    .seen(format!("{place}; the hook {hook} starts and stops it"))
    .so("after a reboot it runs on a backup until the hook stops it")
    .mend(mend)
}

/// The file by which a service manager starts it.
fn starts_at_boot(subject: &Subject<'_>, unit: &str) -> Option<String> {
    let machine = subject.machine;
    let file = if unit.contains('.') {
        unit.to_owned()
    } else {
        format!("{unit}.service")
    };
    let base = "/etc/systemd/system";
    let wants = machine
        .names(base)
        .into_iter()
        .filter(|name| name.contains(".wants") || name.contains(".requires"))
        .map(|target| format!("{base}/{target}/{file}"));
    let plain = unit.strip_suffix(".service").unwrap_or(unit);
    let levels = (2..=5).flat_map(|level| {
        let directory = format!("/etc/rc{level}.d");
        let is_it = move |name: &String| {
            name.strip_prefix('S')
                .is_some_and(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()) == plain)
        };
        let names = machine.names(&directory).into_iter().filter(is_it);
        names
            .map(|name| format!("{directory}/{name}"))
            .collect::<Vec<_>>()
    });
    let openrc = machine
        .names("/etc/runlevels")
        .into_iter()
        .map(|level| format!("/etc/runlevels/{level}/{plain}"));
    // With systemd, the links of init scripts count only where there is no unit.
    let has_systemd = machine.exists("/run/systemd/system");
    wants
        .chain(levels.filter(|_| !has_systemd))
        .chain(openrc)
        .find(|path| machine.exists(path))
}

/// Other daemons of this kind, by the kernel's name of the process.
const DAEMONS: [&str; 5] = ["ucarp", "keepalived", "vrrpd", "uvrrpd", "corosync"];

pub(super) fn other_daemons(subject: &Subject<'_>) -> Vec<Found> {
    let machine = subject.machine;
    let here = std::fs::read_link("/proc/thread-self/ns/net").ok();
    let mut found = Vec::new();
    for pid in machine.names("/proc") {
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let Some(name) = machine.word(&format!("/proc/{pid}/comm")) else {
            continue;
        };
        let is_here = here == std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        if !DAEMONS.contains(&name.as_str()) || !is_here {
            continue;
        }
        let line = machine
            .read(&format!("/proc/{pid}/cmdline"))
            .unwrap_or_default();
        let words: Vec<&str> = line.split('\0').collect();
        found.extend(other_daemon(subject, &name, &pid, &words));
    }
    found
}

fn other_daemon(subject: &Subject<'_>, name: &str, pid: &str, words: &[&str]) -> Option<Found> {
    let shares = |vhost: &&crate::config::Vhost| {
        let vhid = vhost.vhid.get().to_string();
        let is_vhid = ucarp_option(words, "-v", "--vhid") == Some(vhid.as_str());
        let is_interface =
            ucarp_option(words, "-i", "--interface") == Some(vhost.interface.as_str());
        let address = ucarp_option(words, "-a", "--addr").and_then(|text| text.parse().ok());
        let is_address = vhost.addresses.iter().any(|one| Some(one.ip) == address);
        name == "ucarp" && (is_vhid && is_interface || is_address)
    };
    let hit: Vec<_> = subject.config.vhosts.iter().filter(shares).collect();
    if hit.is_empty() {
        // What it has in common with us, if anything, is in its files: another check reads them.
        return None;
    }
    Some(
        Found::new(Level::Error, format!("{name} runs here for the same virtual host"))
            .about(hit)
            .seen(format!("process {pid}: {}", words.join(" ").trim()))
            .so("two daemons of one host advertise and hold the same address")
            .mend(format!("stop it and keep it from starting: systemctl disable --now {name}, or remove its lines from /etc/network/interfaces")),
    )
}

/// The value of an option, in each of the forms that getopt takes.
fn ucarp_option<'a>(words: &[&'a str], short: &str, long: &str) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(index, word)| {
        let next = || words.get(index + 1).copied();
        match word.strip_prefix(long) {
            Some("") => return next(),
            Some(rest) => return rest.strip_prefix('='),
            None => {}
        }
        match word.strip_prefix(short)? {
            "" => next(),
            rest if !word.starts_with("--") => Some(rest),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_every_form() {
        for line in ["-v 40", "-v40", "--vhid 40", "--vhid=40"] {
            let words: Vec<&str> = ["ucarp"].into_iter().chain(line.split(' ')).collect();
            assert_eq!(ucarp_option(&words, "-v", "--vhid"), Some("40"), "{line}");
        }
        assert_eq!(ucarp_option(&["ucarp", "-v"], "-v", "--vhid"), None);
        assert_eq!(ucarp_option(&["ucarp", "--verbose"], "-v", "--vhid"), None);
    }
}
