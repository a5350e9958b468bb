//! Reads `[[vhost]]`.

mod unicast;

use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use toml::de::DeValue;

use super::choice::{Peers, Preempt, PreferredLifetime, TieBreak};
use super::model::{Announce, AtStop, Destination, Place, Vhost};
use super::problem::Findings;
use super::read::{At, Item, Table};
use super::reference::vhost as key;
use super::secret::{BadSecret, Secret};
use super::{Surroundings, reference};
use crate::proto::Damping;
use crate::types::{AdvBase, AdvSkew, Family, IfName, Name, Netns, Vhid, VirtualAddress};

/// A virtual host as far as it could be read: what is compared with others keeps its place.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) span: Range<usize>,
    pub(super) name: Option<At<Name>>,
    pub(super) interface: Option<At<IfName>>,
    pub(super) netns: Option<At<Netns>>,
    pub(super) vhid: Option<At<Vhid>>,
    pub(super) addresses: Vec<At<VirtualAddress>>,
    pub(super) sources: Vec<At<IpAddr>>,
    pub(super) hooks: Vec<At<Name>>,
    pub(super) tracks: Vec<At<Name>>,
    /// `None` only if something was reported.
    pub(super) done: Option<Vhost>,
}

/// All virtual hosts, in the order of the file.
pub(super) fn read_all(
    root: &Table<'_>,
    around: &dyn Surroundings,
    out: &mut Findings,
) -> Vec<Draft> {
    let written = root.entries.get(reference::VHOST.name);
    let none = |item: &Item<'_>| matches!(item.get_ref(), DeValue::Array(list) if list.is_empty());
    if written.is_none_or(none) {
        out.error(None, "no virtual host is defined")
            .hint("start one with a line [[vhost]]".to_owned());
        return Vec::new();
    }
    let tables = root.read(&reference::VHOST, out);
    let tables = tables.map(|tables| tables.value).unwrap_or_default();
    tables
        .iter()
        .map(|table| read(table, around, out))
        .collect()
}

fn read(table: &Table<'_>, around: &dyn Surroundings, out: &mut Findings) -> Draft {
    let mut draft = Draft {
        span: table.span.clone(),
        name: table.read(&key::NAME, out),
        interface: table.read(&key::INTERFACE, out),
        netns: table.read(&key::NETNS, out),
        vhid: table.read(&key::VHID, out).and_then(|v| {
            Some(At {
                value: Vhid::new(v.value.into()).ok()?,
                span: v.span,
            })
        }),
        addresses: addresses(table, out),
        sources: Vec::new(),
        hooks: table
            .read(&key::HOOKS, out)
            .map(|l| l.value)
            .unwrap_or_default(),
        tracks: table
            .read(&key::TRACKS, out)
            .map(|l| l.value)
            .unwrap_or_default(),
        done: None,
    };
    draft.done = finish(table, &mut draft, around, out);
    draft
}

/// Reads everything that is not compared with other virtual hosts.
fn finish(
    table: &Table<'_>,
    draft: &mut Draft,
    around: &dyn Surroundings,
    out: &mut Findings,
) -> Option<Vhost> {
    let key = secret(table, around, out);
    let (advbase, advskew) = interval(table, out);
    let (dead_ratio, peers) = dead_ratio(table, out);
    let tie_break = tie_break(table, draft, out);
    let source4 = table.read(&key::SOURCE_ADDRESS, out);
    let source_address = source(source4, key::SOURCE_ADDRESS.name, draft, out);
    let source6 = table.read(&key::SOURCE_ADDRESS6, out);
    let source_address6 = source(source6, key::SOURCE_ADDRESS6.name, draft, out);
    let min_ttl = table.get(&key::MIN_TTL, out);
    let ipv6_checksum = table.get(&key::IPV6_CHECKSUM, out);
    let unicast = unicast::peers(table, draft, ipv6_checksum, min_ttl, out);
    let preempt = table.get(&key::PREEMPT, out);
    let manage_addresses = table.get(&key::MANAGE_ADDRESSES, out);
    Some(Vhost {
        addresses: draft.addresses.iter().map(|a| a.value).collect(),
        advbase,
        advskew,
        preempt: if preempt { Preempt::On } else { Preempt::Off },
        dead_ratio,
        neutral: table.get(&key::NEUTRAL, out),
        tie_break,
        peers,
        family_timers: table.get(&key::FAMILY_TIMERS, out),
        link_local: table.get(&key::LINK_LOCAL, out),
        ipv6_checksum,
        send_demote_byte: table.get(&key::SEND_DEMOTE_BYTE, out),
        openbsd_lladdr: table.read(&key::OPENBSD_LLADDR, out).map(|mac| mac.value),
        clamp_advskew: true,
        needs_fit_interface: true,
        at_stop: AtStop::default(),
        lease: table.get(&key::LEASE, out),
        preferred_lifetime: preferred_lifetime(table, draft, out),
        manage_addresses,
        startup_delay: table.get(&key::STARTUP_DELAY, out),
        preempt_delay: preempt_delay(table, preempt, out),
        hold_down: table.get(&key::HOLD_DOWN, out),
        damping: damping(table, out),
        overlap: table.get(&key::OVERLAP, out),
        destination: destination(table, out),
        min_ttl,
        unicast,
        source_mac: table.get(&key::SOURCE_MAC, out),
        virtual_mac: virtual_mac(table, manage_addresses, out),
        source_address,
        source_address6,
        ignore_link_state: table.get(&key::IGNORE_LINK_STATE, out),
        announce: announce(table, out),
        in_maintenance: table.get(&key::IN_MAINTENANCE, out),
        on_conflict: table.get(&key::ON_CONFLICT, out),
        probe_interval: table.get(&key::PROBE_INTERVAL, out),
        xparam: table.read(&key::XPARAM, out).map(|x| x.value.to_owned()),
        hooks: draft.hooks.iter().map(|h| h.value.clone()).collect(),
        tracks: draft.tracks.iter().map(|t| t.value.clone()).collect(),
        adopt: table.get(&key::ADOPT, out),
        keep_degraded: table.get(&key::KEEP_DEGRADED, out),
        place: Place(draft.span.clone()),
        // Last, so that a `?` keeps nothing above from being checked.
        name: draft.name.clone()?.value,
        interface: draft.interface.clone()?.value,
        netns: draft.netns.as_ref().map(|netns| netns.value.clone()),
        vhid: draft.vhid.clone()?.value,
        key: key?,
    })
}

fn addresses(table: &Table<'_>, out: &mut Findings) -> Vec<At<VirtualAddress>> {
    let Some(items) = table.read(&key::ADDRESSES, out) else {
        return Vec::new();
    };
    if items.value.is_empty() {
        out.error(
            items.span,
            "`addresses` is empty: a virtual host needs at least one",
        );
    } else if items.value.len() > key::ADDRESSES.form.max {
        let (count, most) = (items.value.len(), key::ADDRESSES.form.max);
        out.error(
            items.span,
            format!("`addresses` has {count} entries: a virtual host has at most {most}"),
        )
        .hint("spread them over several virtual hosts, each with its own vhid".to_owned());
        return Vec::new();
    }
    let read = |item, out: &mut Findings| {
        super::read::parse(super::read::string(item, key::ADDRESSES.name, out)?, out)
    };
    let addresses: Vec<At<VirtualAddress>> = items
        .value
        .into_iter()
        .filter_map(|item| read(item, out))
        .collect();
    for At { value, span } in &addresses {
        if let Some(flaw) = super::address::flaw(*value) {
            out.error(span.clone(), format!("{value} {flaw}"));
        }
    }
    addresses
}

/// Whether a credential of systemd may have this name.
pub(super) fn is_credential(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.')
}

/// The password, from exactly one of its two sources.
fn secret(table: &Table<'_>, around: &dyn Surroundings, out: &mut Findings) -> Option<Secret> {
    let file = table.read(&key::PASSWORD_FILE, out);
    let credential = table.read(&key::CREDENTIAL, out);
    let (bytes, span) = match (file, credential) {
        (Some(file), None) => (around.password_file(Path::new(file.value)), file.span),
        (None, Some(name)) if !is_credential(name.value) => {
            out.error(
                name.span,
                format!("{:?} is not the name of a credential", name.value),
            );
            return None;
        }
        (None, Some(name)) => (around.credential(name.value), name.span),
        (Some(file), Some(credential)) => {
            out.error(
                credential.span,
                "a virtual host has one password: `password-file` or `credential`, not both",
            )
            .related(file.span, "the other one");
            return None;
        }
        // A value of the wrong type was reported already, and so was a mistyped key.
        (None, None) if table.tried(&key::PASSWORD_FILE) || table.tried(&key::CREDENTIAL) => {
            return None;
        }
        (None, None) => {
            out.error(table.span.clone(), "`password-file` is missing").hint(
                "add a line such as `password-file = \"/etc/carpd/web.pass\"`, or `credential = \"NAME\"` under systemd"
                    .to_owned(),
            );
            return None;
        }
    };
    let bytes = match bytes {
        Ok(bytes) => zeroize::Zeroizing::new(bytes),
        Err(why) => {
            out.error(span, why.message).hint(why.hint);
            return None;
        }
    };
    match Secret::from_file(&bytes) {
        Ok(secret) => {
            if secret.ends_in_carriage_return() {
                out.warn(
                    span,
                    "the password ends in a carriage return, which counts as part of it",
                );
            } else if secret.begins_with_bom() {
                out.warn(
                    span,
                    "the password begins with a byte order mark, which counts as part of it",
                );
            }
            Some(secret)
        }
        Err(why) => {
            let long = matches!(why, BadSecret::TooLong(_));
            out.error(span, why.to_string()).hint(long.then(|| {
                "BSD nodes truncate longer ones to 19 bytes: use those 19 bytes on every node"
                    .to_owned()
            }));
            None
        }
    }
}

fn preferred_lifetime(table: &Table<'_>, draft: &Draft, out: &mut Findings) -> PreferredLifetime {
    let lifetime = table.read(&key::PREFERRED_LIFETIME, out);
    let has_ipv6 = draft.addresses.iter().any(|a| a.value.ip.is_ipv6());
    if let Some(lifetime) = lifetime
        .as_ref()
        .filter(|_| !has_ipv6 && !draft.addresses.is_empty())
    {
        out.warn(
            lifetime.span.clone(),
            "`preferred-lifetime` has no effect on IPv4 addresses",
        );
    }
    lifetime.map_or_else(
        || key::PREFERRED_LIFETIME.default(),
        |lifetime| lifetime.value,
    )
}

fn preempt_delay(table: &Table<'_>, preempt: bool, out: &mut Findings) -> Duration {
    let delay = table.read(&key::PREEMPT_DELAY, out);
    if let Some(delay) = delay.as_ref().filter(|_| !preempt) {
        out.warn(
            delay.span.clone(),
            "`preempt-delay` has no effect without `preempt = true`",
        );
    }
    delay.map_or_else(|| key::PREEMPT_DELAY.default(), |delay| delay.value)
}

fn damping(table: &Table<'_>, out: &mut Findings) -> Damping {
    let Some(At { value: table, span }) = table.read(&key::DAMPING, out) else {
        return Damping::USUAL;
    };
    let damping = Damping {
        half_life: table.get(&reference::damping::HALF_LIFE, out),
        suppress: table.get(&reference::damping::SUPPRESS, out),
        reuse: table.get(&reference::damping::REUSE, out),
    };
    let Damping {
        suppress, reuse, ..
    } = damping;
    if reuse >= suppress {
        let message = format!("`reuse` ({reuse}) must be below `suppress` ({suppress})");
        out.error(span, message);
    }
    damping
}

fn interval(table: &Table<'_>, out: &mut Findings) -> (AdvBase, AdvSkew) {
    let base = table.read(&key::ADVBASE, out);
    let skew = table.read(&key::ADVSKEW, out);
    if let Some(skew) = skew.as_ref().filter(|s| s.value > 240) {
        out.warn(
            skew.span.clone(),
            format!("`advskew` {} is sent as 240", skew.value),
        );
    }
    // A skew that could not be read is not a skew of 0.
    let skew_is_zero = skew
        .as_ref()
        .map_or(!table.entries.contains_key(key::ADVSKEW.name), |s| {
            s.value == 0
        });
    if let Some(base) = base.as_ref().filter(|b| b.value == 0 && skew_is_zero) {
        out.error(
            base.span.clone(),
            "`advbase` 0 needs an `advskew` above 0: the interval would be zero",
        );
    }
    let base = base.map_or_else(|| key::ADVBASE.default(), |base| base.value);
    let skew = skew.map_or_else(|| key::ADVSKEW.default(), |skew| skew.value);
    (AdvBase(base), AdvSkew(skew))
}

fn dead_ratio(table: &Table<'_>, out: &mut Findings) -> (u32, Peers) {
    let ratio = table.read(&key::DEAD_RATIO, out);
    let peers = table.get(&key::PEERS, out);
    match &ratio {
        Some(ratio) if peers == Peers::OpenBsd && ratio.value != 3 => {
            out.warn(
                ratio.span.clone(),
                "OpenBSD nodes use a `dead-ratio` of 3, whatever this one does",
            );
        }
        Some(ratio) if ratio.value == 1 => {
            out.warn(
                ratio.span.clone(),
                "with `dead-ratio` 1 a single late advertisement causes a second master",
            );
        }
        _ => {}
    }
    let ratio = ratio.map_or_else(|| key::DEAD_RATIO.default(), |ratio| ratio.value);
    (ratio, peers)
}

fn tie_break(table: &Table<'_>, draft: &Draft, out: &mut Findings) -> TieBreak {
    let tie_break = table.read(&key::TIE_BREAK, out);
    let one_ipv4 = matches!(draft.addresses.as_slice(), [one] if one.value.ip.is_ipv4());
    if let Some(choice) = tie_break
        .as_ref()
        .filter(|t| t.value == TieBreak::Ucarp && !one_ipv4 && !draft.addresses.is_empty())
    {
        out.warn(
            choice.span.clone(),
            "ucarp knows exactly one IPv4 address: it will refuse the advertisements of this virtual host",
        );
    }
    tie_break.map_or_else(|| key::TIE_BREAK.default(), |choice| choice.value)
}

fn source<T>(given: Option<At<T>>, name: &str, draft: &mut Draft, out: &mut Findings) -> Option<T>
where
    T: Into<IpAddr> + Copy,
{
    let At { value, span } = given?;
    let ip: IpAddr = value.into();
    let host = VirtualAddress::new(ip, Family::of(ip).host_prefix());
    if host.map_or(true, |host| super::address::flaw(host).is_some()) {
        out.error(
            span,
            format!("`{name}` must be an address of this node, not {ip}"),
        );
        return None;
    }
    draft.sources.push(At { value: ip, span });
    Some(value)
}

fn destination(table: &Table<'_>, out: &mut Findings) -> Destination {
    Destination {
        ethernet_broadcast: table.get(&key::NOMCAST, out),
        group: table.get(&key::MCAST_GROUP, out),
        group6: table.get(&key::MCAST_GROUP6, out),
    }
}

fn virtual_mac(table: &Table<'_>, manage_addresses: bool, out: &mut Findings) -> bool {
    let Some(At { value, span }) = table.read(&key::VIRTUAL_MAC, out) else {
        return key::VIRTUAL_MAC.default();
    };
    if value && !manage_addresses {
        let message = "`virtual-mac` needs `manage-addresses`: the daemon creates the device and adds the addresses to it";
        out.error(span, message);
    }
    value
}

impl Default for Announce {
    fn default() -> Self {
        Self {
            count: reference::announce::COUNT.default(),
            interval: reference::announce::INTERVAL.default(),
            delay: reference::announce::DELAY.default(),
            refresh: reference::announce::REFRESH.default(),
        }
    }
}

fn announce(table: &Table<'_>, out: &mut Findings) -> Announce {
    let table = table.read(&key::ANNOUNCE, out);
    table.map_or_else(Announce::default, |At { value: table, .. }| Announce {
        count: table.get(&reference::announce::COUNT, out),
        interval: table.get(&reference::announce::INTERVAL, out),
        delay: table.get(&reference::announce::DELAY, out),
        refresh: table.get(&reference::announce::REFRESH, out),
    })
}
