//! Reads `[[vhost]]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use super::choice::{
    FamilyTimers, Ipv6Checksum, Leases, LinkLocal, Peers, Preempt, SourceMac, TieBreak,
};
use super::model::{Announce, AtStop, Destination, Place, Vhost};
use super::problem::Findings;
use super::read::{At, Table};
use super::secret::{BadSecret, Secret};
use super::{Surroundings, reference};
use crate::types::{AdvBase, AdvSkew, Family, IfName, MacAddr, Name, Vhid, VirtualAddress};

/// A virtual host as far as it could be read: what is compared with others keeps its place.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) span: Range<usize>,
    pub(super) name: Option<At<Name>>,
    pub(super) interface: Option<At<IfName>>,
    pub(super) vhid: Option<At<Vhid>>,
    pub(super) addresses: Vec<At<VirtualAddress>>,
    pub(super) sources: Vec<At<IpAddr>>,
    pub(super) hooks: Vec<At<Name>>,
    /// `None` only if something was reported.
    pub(super) done: Option<Vhost>,
}

/// All virtual hosts, in the order of the file.
pub(super) fn read_all(
    root: &Table<'_>,
    around: &dyn Surroundings,
    out: &mut Findings,
) -> Vec<Draft> {
    let tables = root.tables("vhost", &reference::VHOST, out);
    if tables.is_empty() && !root.entries.contains_key("vhost") {
        out.error(None, "no virtual host is defined")
            .hint("begin one with a line [[vhost]]".to_owned());
    }
    tables
        .iter()
        .map(|table| read(table, around, out))
        .collect()
}

fn read(table: &Table<'_>, around: &dyn Surroundings, out: &mut Findings) -> Draft {
    let mut draft = Draft {
        span: table.span.clone(),
        name: table.parsed("name", out),
        interface: table.parsed("interface", out),
        vhid: table.integer("vhid", 1..=255_u8, out).and_then(|v| {
            Some(At {
                value: Vhid::new(v.value.into()).ok()?,
                span: v.span,
            })
        }),
        addresses: addresses(table, out),
        sources: Vec::new(),
        hooks: table
            .parsed_list("hooks", out)
            .map(|l| l.value)
            .unwrap_or_default(),
        done: None,
    };
    draft.done = finish(table, &mut draft, around, out);
    draft
}

/// Reads all that is not compared with other virtual hosts.
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
    let source_address = source::<Ipv4Addr>(table, "source-address", draft, out);
    let source_address6 = source::<Ipv6Addr>(table, "source-address6", draft, out);
    let preempt = Table::or(table.boolean("preempt", out), false);
    Some(Vhost {
        addresses: draft.addresses.iter().map(|a| a.value).collect(),
        advbase,
        advskew,
        preempt: if preempt { Preempt::On } else { Preempt::Off },
        dead_ratio,
        neutral: Table::or(table.boolean("neutral", out), false),
        tie_break,
        peers,
        family_timers: Table::or(table.choice("family-timers", out), FamilyTimers::All),
        link_local: Table::or(table.choice("link-local", out), LinkLocal::Include),
        ipv6_checksum: Table::or(table.choice("ipv6-checksum", out), Ipv6Checksum::Plain),
        send_demote_byte: Table::or(table.boolean("send-demote-byte", out), false),
        openbsd_lladdr: lladdr(table, out),
        clamp_advskew: true,
        needs_ethernet: true,
        at_stop: AtStop::default(),
        lease: Table::or(table.choice("lease", out), Leases::Kernel),
        manage_addresses: Table::or(table.boolean("manage-addresses", out), true),
        destination: destination(table, out),
        source_mac: Table::or(table.choice("source-mac", out), SourceMac::Virtual),
        source_address,
        source_address6,
        ignore_link_state: Table::or(table.boolean("ignore-link-state", out), false),
        announce: announce(table, out),
        xparam: table.string("xparam", out).map(|x| x.value.to_owned()),
        hooks: draft.hooks.iter().map(|h| h.value.clone()).collect(),
        adopt: Table::or(table.boolean("adopt", out), false),
        keep_degraded: Table::or(table.boolean("keep-degraded", out), true),
        place: Place(draft.span.clone()),
        // Last, so that a `?` keeps nothing above from being checked.
        name: draft.name.clone()?.value,
        interface: draft.interface.clone()?.value,
        vhid: draft.vhid.clone()?.value,
        key: key?,
    })
}

fn addresses(table: &Table<'_>, out: &mut Findings) -> Vec<At<VirtualAddress>> {
    let Some(items) = table.list("addresses", out) else {
        return Vec::new();
    };
    if items.value.is_empty() {
        out.error(
            items.span,
            "`addresses` is empty: a virtual host needs at least one",
        );
    } else if items.value.len() > VirtualAddress::MAX_OF_A_VHOST {
        let (count, most) = (items.value.len(), VirtualAddress::MAX_OF_A_VHOST);
        out.error(
            items.span,
            format!("`addresses` has {count} entries: a virtual host has at most {most}"),
        )
        .hint("spread them over several virtual hosts, each with a vhid of its own".to_owned());
        return Vec::new();
    }
    let read = |item, out: &mut Findings| {
        super::read::parse(super::read::string(item, "addresses", out)?, out)
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

/// The password, from exactly one of its two sources.
fn secret(table: &Table<'_>, around: &dyn Surroundings, out: &mut Findings) -> Option<Secret> {
    let file = table.string("password-file", out);
    let credential = table.string("credential", out);
    let (bytes, span) = match (file, credential) {
        (Some(file), None) => (around.password_file(Path::new(file.value)), file.span),
        (None, Some(name))
            if name.value.is_empty()
                || name.value.contains(['/', '\0'])
                || name.value.starts_with('.') =>
        {
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
        (None, None)
            if ["password-file", "credential"]
                .iter()
                .any(|key| table.tried(key)) =>
        {
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
                "BSD nodes cut longer ones to 19 bytes: write those 19 bytes on every node"
                    .to_owned()
            }));
            None
        }
    }
}

fn interval(table: &Table<'_>, out: &mut Findings) -> (AdvBase, AdvSkew) {
    let base = table.integer("advbase", 0..=254_u8, out);
    let skew = table.integer("advskew", 0..=254_u8, out);
    if let Some(skew) = skew.as_ref().filter(|s| s.value > 240) {
        out.warn(
            skew.span.clone(),
            format!("`advskew` {} is sent as 240", skew.value),
        );
    }
    // A skew that could not be read is not a skew of 0.
    let skew_is_zero = skew
        .as_ref()
        .map_or(!table.entries.contains_key("advskew"), |s| s.value == 0);
    if let Some(base) = base.as_ref().filter(|b| b.value == 0 && skew_is_zero) {
        out.error(
            base.span.clone(),
            "`advbase` 0 needs an `advskew` above 0: the interval would be nothing",
        );
    }
    (AdvBase(Table::or(base, 1)), AdvSkew(Table::or(skew, 0)))
}

fn dead_ratio(table: &Table<'_>, out: &mut Findings) -> (u32, Peers) {
    let ratio = table.integer("dead-ratio", 1..=255_u32, out);
    let peers = Table::or(table.choice("peers", out), Peers::Bsd);
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
                "with `dead-ratio` 1 a single late advertisement makes a second master",
            );
        }
        _ => {}
    }
    (Table::or(ratio, 3), peers)
}

fn tie_break(table: &Table<'_>, draft: &Draft, out: &mut Findings) -> TieBreak {
    let tie_break = table.choice("tie-break", out);
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
    Table::or(tie_break, TieBreak::Address)
}

fn source<T>(
    table: &Table<'_>,
    key: &'static str,
    draft: &mut Draft,
    out: &mut Findings,
) -> Option<T>
where
    T: std::str::FromStr + Into<IpAddr> + Copy,
{
    let text = table.string(key, out)?;
    let Ok(address) = text.value.parse::<T>() else {
        let family = if key.ends_with('6') { "IPv6" } else { "IPv4" };
        out.error(
            text.span,
            format!(
                "`{key}` must be an {family} address without a prefix length, not {:?}",
                text.value
            ),
        );
        return None;
    };
    let ip: IpAddr = address.into();
    let host = VirtualAddress::new(ip, Family::of(ip).host_prefix());
    if host.map_or(true, |host| super::address::flaw(host).is_some()) {
        out.error(
            text.span,
            format!("`{key}` must be an address of this node, not {ip}"),
        );
        return None;
    }
    draft.sources.push(At {
        value: ip,
        span: text.span,
    });
    Some(address)
}

fn lladdr(table: &Table<'_>, out: &mut Findings) -> Option<MacAddr> {
    let text = table.string("openbsd-lladdr", out)?;
    let mac = text.value.parse().ok();
    if mac.is_none() {
        let message = format!(
            "`openbsd-lladdr` must be a hardware address, as in 02:00:00:00:00:01, not {:?}",
            text.value
        );
        out.error(text.span, message);
    }
    mac
}

fn destination(table: &Table<'_>, out: &mut Findings) -> Destination {
    Destination {
        ethernet_broadcast: Table::or(table.boolean("nomcast", out), false),
        group: group(table, "mcast-group", out).unwrap_or(Ipv4Addr::new(224, 0, 0, 18)),
        group6: group(table, "mcast-group6", out)
            .unwrap_or(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12)),
    }
}

fn group<T>(table: &Table<'_>, key: &'static str, out: &mut Findings) -> Option<T>
where
    T: std::str::FromStr + Into<IpAddr> + Copy,
{
    let text = table.string(key, out)?;
    let address = text
        .value
        .parse::<T>()
        .ok()
        .filter(|a| Into::<IpAddr>::into(*a).is_multicast());
    if address.is_none() {
        let family = if key.ends_with('6') { "IPv6" } else { "IPv4" };
        out.error(
            text.span,
            format!(
                "`{key}` must be an {family} multicast address, not {:?}",
                text.value
            ),
        );
    }
    address
}

fn announce(table: &Table<'_>, out: &mut Findings) -> Announce {
    let default = Announce {
        count: 1,
        interval: Duration::from_millis(200),
    };
    let table = table
        .item("announce", out)
        .and_then(|item| Table::open(item, &reference::ANNOUNCE, out));
    table.map_or(default, |table| Announce {
        count: Table::or(table.integer("count", 1..=255_u8, out), default.count),
        interval: Table::or(
            table.duration(
                "interval",
                Duration::from_millis(10)..=Duration::from_mins(1),
                out,
            ),
            default.interval,
        ),
    })
}
