//! Reads `unicast` and what depends on it.

use std::net::IpAddr;

use super::{Draft, key};
use crate::config::choice::Ipv6Checksum;
use crate::config::problem::Findings;
use crate::config::read::{At, Item, Table, string};
use crate::config::reference::Entry;
use crate::types::{Family, VirtualAddress};

/// The peers. Empty: the virtual host uses multicast.
pub(super) fn peers(
    table: &Table<'_>,
    draft: &mut Draft,
    checksum: Ipv6Checksum,
    min_ttl: u8,
    out: &mut Findings,
) -> Vec<IpAddr> {
    let Some(items) = table.read(&key::UNICAST, out) else {
        if min_ttl < u8::MAX
            && let Some(item) = table.entries.get(key::MIN_TTL.name)
        {
            out.error(item.span(), "`min-ttl` needs `unicast`")
                .hint("advertisements to a multicast group are never routed".to_owned());
        }
        return Vec::new();
    };
    let (count, most) = (items.value.len(), key::UNICAST.form.max);
    if !(1..=most).contains(&count) {
        out.error(
            items.span,
            format!("`unicast` has {count} entries: it takes 1 to {most} peers"),
        );
        return Vec::new();
    }
    let mut peers: Vec<At<IpAddr>> = Vec::new();
    for item in items.value {
        let Some(peer) = peer(item, out) else {
            continue;
        };
        match peers.iter().find(|other| other.value == peer.value) {
            Some(first) => {
                let text = format!("{} is given twice", peer.value);
                out.error(peer.span, text)
                    .related(first.span.clone(), "first given here");
            }
            None => peers.push(peer),
        }
    }
    // They are compared with all virtual addresses of the file.
    draft.sources.extend(peers.iter().cloned());
    one_scope(&peers, out);
    families(&peers, draft, &items.span, out);
    without_effect(table, out);
    if checksum == Ipv6Checksum::PseudoHeader && peers.iter().any(|peer| peer.value.is_ipv6()) {
        out.error(
            items.span,
            "`ipv6-checksum = \"pseudo-header\"` is for NetBSD, which has no unicast",
        );
    }
    peers.into_iter().map(|peer| peer.value).collect()
}

fn peer(item: &Item<'_>, out: &mut Findings) -> Option<At<IpAddr>> {
    let At { value, span } = string(item, key::UNICAST.name, out)?;
    let address = value.parse().ok();
    let fits = |ip: &IpAddr| {
        let host = VirtualAddress::new(*ip, Family::of(*ip).host_prefix());
        host.is_ok_and(|host| crate::config::address::flaw(host).is_none())
    };
    let Some(value) = address.filter(fits) else {
        out.error(
            span,
            format!(
                "`unicast` must list the addresses of nodes, without prefix length, not {value:?}"
            ),
        );
        return None;
    };
    Some(At { value, span })
}

/// A virtual host sends from one address of each family, which reaches either link-local or other
/// addresses.
fn one_scope(peers: &[At<IpAddr>], out: &mut Findings) {
    let is_link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let six = || peers.iter().filter(|peer| peer.value.is_ipv6());
    let Some(first) = six().next() else { return };
    if let Some(other) = six().find(|p| is_link_local(p.value) != is_link_local(first.value)) {
        out.error(
            other.span.clone(),
            "IPv6 peers must all be link-local addresses, or none of them",
        )
        .related(first.span.clone(), "the first one");
    }
}

fn families(
    peers: &[At<IpAddr>],
    draft: &Draft,
    span: &std::ops::Range<usize>,
    out: &mut Findings,
) {
    for family in Family::ALL {
        let has_address = draft.addresses.iter().any(|a| a.value.family() == family);
        let has_peer = peers.iter().any(|peer| Family::of(peer.value) == family);
        if has_address && !has_peer && !peers.is_empty() {
            out.warn(
                span.clone(),
                format!("there are {family} addresses, but no {family} peer: carpd nodes do without, but FreeBSD and OpenBSD nodes would take over"),
            );
        }
    }
}

fn without_effect(table: &Table<'_>, out: &mut Findings) {
    let keys: [&dyn Entry; 4] = [
        &key::NOMCAST,
        &key::MCAST_GROUP,
        &key::MCAST_GROUP6,
        &key::SOURCE_MAC,
    ];
    for name in keys.map(Entry::name) {
        if let Some(item) = table.entries.get(name) {
            out.warn(
                item.span(),
                format!("`{name}` has no effect together with `unicast`"),
            );
        }
    }
}
