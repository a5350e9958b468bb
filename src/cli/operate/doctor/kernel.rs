//! What this process may do here, and what the kernel has.

use super::{Found, Level, Subject};
use crate::host::clock;
use crate::host::kernel::privilege::Privileges;
use crate::types::Family;

/// Fewer watches than this are soon used up by other programs.
const WATCHES_MIN: i64 = 1_024;
/// The same of instances, for all programs of a user together.
const INSTANCES_MIN: i64 = 16;
/// The clock of a host whose battery is empty is at 1970; of this program's time it is not before
/// this, in seconds since 1970.
const THIS_PROGRAM: u64 = 1_767_225_600;

pub(super) fn rights(_: &Subject<'_>) -> Vec<Found> {
    let missing = Privileges::current()
        .map(|privileges| privileges.missing())
        .unwrap_or_default();
    if missing.is_empty() {
        return Vec::new();
    }
    vec![
        Found::new(Level::Error, "whoever runs this may not run the daemon")
            .seen(format!("without {}", missing.join(", ")))
            .so("it could neither advertise nor set addresses")
            .mend("run the daemon, and this, as root; a container needs --cap-add NET_ADMIN --cap-add NET_RAW"),
    ]
}

/// Parts of the sandbox that this kernel does not have. The daemon says so as well.
pub(super) fn features(subject: &Subject<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let machine = subject.machine;
    if !subject.config.hooks.is_empty()
        && let Some(modules) = machine.read("/sys/kernel/security/lsm")
        && !modules.trim().split(',').any(|module| module == "landlock")
    {
        found.push(
            Found::new(Level::Note, "the kernel does not have Landlock switched on")
                .seen(format!("/sys/kernel/security/lsm: {}", modules.trim()))
                .so("hooks are confined by their user, namespaces and seccomp alone")
                .mend("boot with `lsm=landlock,...`"),
        );
    }
    let has_v6 = subject
        .config
        .vhosts
        .iter()
        .any(|vhost| vhost.families().any(|family| family == Family::V6));
    if has_v6 && !machine.exists("/proc/net/if_inet6") {
        found.push(
            Found::new(Level::Error, "the kernel has no IPv6")
                .seen("there is no /proc/net/if_inet6")
                .so("IPv6 virtual addresses cannot be set")
                .mend("boot without `ipv6.disable=1`"),
        );
    }
    found
}

pub(super) fn clock(_: &Subject<'_>) -> Vec<Found> {
    clock_at(clock::wall_ms() / 1_000)
}

fn clock_at(now: u64) -> Vec<Found> {
    if now >= THIS_PROGRAM {
        return Vec::new();
    }
    vec![
        Found::new(Level::Warning, "the clock is years behind")
            .seen(format!("{now} s since 1970"))
            .so("times in the log and in `carpd why` are wrong, and certificates of servers are not valid yet")
            .mend("timedatectl set-ntp true"),
    ]
}

/// Hot reload watches the directories of hooks; without inotify it looks every two seconds.
pub(super) fn watches(subject: &Subject<'_>) -> Vec<Found> {
    if subject.config.hooks.is_empty() {
        return Vec::new();
    }
    let few = |key: &str, least: i64| {
        let value = subject
            .machine
            .number(&format!("/proc/sys/fs/inotify/{key}"))?;
        (value < least).then(|| {
            Found::new(Level::Warning, "few files can be watched")
                .seen(format!("fs.inotify.{key} = {value}"))
                .so("once other programs have used them up, a saved hook is live after two seconds instead of at once")
                .mend(format!(
                    "echo fs.inotify.{key}={} > /etc/sysctl.d/60-inotify.conf && sysctl --system",
                    least * 8
                ))
        })
    };
    [
        few("max_user_watches", WATCHES_MIN),
        few("max_user_instances", INSTANCES_MIN),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_without_a_battery_is_found() {
        assert_eq!(clock_at(86_400).len(), 1);
        assert!(clock_at(1_800_000_000).is_empty());
    }
}
