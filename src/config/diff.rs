//! What a reload changes.

use super::Vhost;

/// The keys in which two versions of a virtual host differ, in the words of the configuration.
#[must_use]
pub fn differences(old: &Vhost, new: &Vhost) -> Vec<&'static str> {
    let keys = [
        ("addresses", old.addresses != new.addresses),
        ("password-file", old.key != new.key),
        ("advbase", old.advbase != new.advbase),
        ("advskew", old.advskew != new.advskew),
        ("preempt", old.preempt != new.preempt),
        ("dead-ratio", old.dead_ratio != new.dead_ratio),
        ("neutral", old.neutral != new.neutral),
        ("tie-break", old.tie_break != new.tie_break),
        ("peers", old.peers != new.peers),
        ("family-timers", old.family_timers != new.family_timers),
        ("link-local", old.link_local != new.link_local),
        ("ipv6-checksum", old.ipv6_checksum != new.ipv6_checksum),
        (
            "send-demote-byte",
            old.send_demote_byte != new.send_demote_byte,
        ),
        ("openbsd-lladdr", old.openbsd_lladdr != new.openbsd_lladdr),
        (
            "manage-addresses",
            old.manage_addresses != new.manage_addresses,
        ),
        ("lease", old.lease != new.lease),
        ("source-mac", old.source_mac != new.source_mac),
        (
            "source-address",
            old.source_address != new.source_address || old.source_address6 != new.source_address6,
        ),
        (
            "ignore-link-state",
            old.ignore_link_state != new.ignore_link_state,
        ),
        ("announce", old.announce != new.announce),
        ("xparam", old.xparam != new.xparam),
        ("hooks", old.hooks != new.hooks),
        ("adopt", old.adopt != new.adopt),
        ("keep-degraded", old.keep_degraded != new.keep_degraded),
    ];
    keys.into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(key, _)| key)
        .collect()
}
