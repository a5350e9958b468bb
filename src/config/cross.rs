//! Checks that compare different places of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;

use super::problem::Findings;
use super::read::{At, nearest};
use super::{Kind, address, hook, track, vhost};
use crate::types::{IfName, Name, Netns};

/// Everything between virtual hosts, and between them, the tracks and the hooks.
pub(super) fn check(
    vhosts: &[vhost::Draft],
    tracks: &BTreeMap<Name, track::Draft>,
    hooks: &BTreeMap<Name, hook::Draft>,
    out: &mut Findings,
) {
    names(vhosts, out);
    vhids(vhosts, out);
    addresses(vhosts, out);
    devices(vhosts, out);
    named(
        "track",
        vhosts.iter().map(|vhost| &vhost.tracks),
        tracks,
        |track| (!track.all_vhosts).then(|| track.span.clone()),
        out,
    );
    let of_vhosts = vhosts.iter().map(|vhost| vhost.hooks.as_slice());
    let of_tracks = tracks.values().map(|track| track.hook.as_slice());
    named(
        "hook",
        of_vhosts.chain(of_tracks),
        hooks,
        |hook| Some(hook.span.clone()),
        out,
    );
    asked_hooks(vhosts, tracks, hooks, out);
}

/// Hooks that tracks ask: programs cannot be asked, and nothing is to count twice.
fn asked_hooks(
    vhosts: &[vhost::Draft],
    tracks: &BTreeMap<Name, track::Draft>,
    hooks: &BTreeMap<Name, hook::Draft>,
    out: &mut Findings,
) {
    for (name, track) in tracks {
        let Some(asked) = &track.hook else { continue };
        let hook = hooks.get(&asked.value);
        let kind = hook.and_then(|hook| hook.done.as_ref()).map(|h| &h.kind);
        if matches!(kind, Some(Kind::Script(_))) {
            let text = format!("hook {} is a script, which has no `health`", asked.value);
            out.error(asked.span.clone(), text)
                .hint("use a track of `kind = \"command\"` for a program".to_owned());
        }
        let has_track = |vhost: &&vhost::Draft| {
            track.all_vhosts || vhost.tracks.iter().any(|track| track.value == *name)
        };
        for vhost in vhosts.iter().filter(has_track) {
            let mut own = vhost.hooks.iter();
            if let Some(own) = own.find(|hook| hook.value == asked.value) {
                let text = format!(
                    "the `health` of {} counts twice for this virtual host: by itself, and as track {name}",
                    asked.value
                );
                out.warn(own.span.clone(), text)
                    .hint("give the track a hook of its own".to_owned());
            }
        }
    }
}

fn names(vhosts: &[vhost::Draft], out: &mut Findings) {
    let mut seen: BTreeMap<&Name, &Range<usize>> = BTreeMap::new();
    for name in vhosts.iter().filter_map(|v| v.name.as_ref()) {
        if let Some(first) = seen.insert(&name.value, &name.span) {
            out.error(
                name.span.clone(),
                format!("two virtual hosts are called {:?}", name.value.as_str()),
            )
            .related(first.clone(), "the first one");
        }
    }
}

fn vhids(vhosts: &[vhost::Draft], out: &mut Findings) {
    let mut seen: BTreeMap<(Option<&Netns>, &IfName, u8), &Range<usize>> = BTreeMap::new();
    for vhost in vhosts {
        let (Some(interface), Some(vhid)) = (&vhost.interface, &vhost.vhid) else {
            continue;
        };
        let place = (netns(vhost), &interface.value, vhid.value.get());
        if let Some(first) = seen.insert(place, &vhid.span) {
            out.error(
                vhid.span.clone(),
                format!("vhid {} is used twice on {}", vhid.value, interface.value),
            )
            .related(first.clone(), "first used here");
        }
    }
}

/// The macvlans of virtual hosts have names of their own.
fn devices(vhosts: &[vhost::Draft], out: &mut Findings) {
    let done = || vhosts.iter().filter_map(|vhost| vhost.done.as_ref());
    let mut seen: BTreeMap<IfName, &Name> = BTreeMap::new();
    for vhost in done().filter(|vhost| vhost.virtual_mac) {
        let device = vhost.device();
        let place = || vhost.place.0.clone();
        let of_parent = |other: &&super::Vhost| other.interface == device;
        if let Some(parent) = done().find(of_parent) {
            let text = format!(
                "the macvlan of {} would be called {device}, and {} is on an interface of this name",
                vhost.name, parent.name
            );
            out.error(place(), text);
        }
        // On one interface, that the vhid is there twice is said already.
        let twice = done().filter(|other| other.interface == vhost.interface);
        let twice = twice.filter(|other| other.vhid == vhost.vhid).count() > 1;
        if let Some(first) = seen.insert(device.clone(), &vhost.name).filter(|_| !twice) {
            let text = format!(
                "the macvlans of {first} and {} would both be called {device}",
                vhost.name
            );
            out.error(place(), text)
                .hint("give one of them another vhid".to_owned());
        }
    }
}

/// No address twice, and none that a node itself has as the source of its advertisements.
fn addresses(vhosts: &[vhost::Draft], out: &mut Findings) {
    let mut seen: BTreeMap<(IpAddr, Scope<'_>), &Range<usize>> = BTreeMap::new();
    for vhost in vhosts {
        for address in &vhost.addresses {
            let key = (address.value.ip, scope(address.value.ip, vhost));
            if let Some(first) = seen.insert(key, &address.span) {
                out.error(
                    address.span.clone(),
                    format!("{} is given twice", address.value.ip),
                )
                .related(first.clone(), "first given here");
            }
        }
    }
    for vhost in vhosts {
        edges(vhost, out);
        for source in &vhost.sources {
            if let Some(address) = seen.get(&(source.value, scope(source.value, vhost))) {
                out.error(
                    source.span.clone(),
                    format!(
                        "{} moves with mastership: it cannot be a node's own address",
                        source.value
                    ),
                )
                .related((*address).clone(), "a virtual address");
            }
        }
    }
}

/// No host is at the edge of a network, whose size only another address may tell.
fn edges(vhost: &vhost::Draft, out: &mut Findings) {
    // Of those that are wrong by themselves it has been said.
    let own = vhost
        .addresses
        .iter()
        .filter(|a| address::flaw(a.value).is_none());
    let own = own.map(|a| (a.value.ip, &a.span));
    let sources = vhost
        .sources
        .iter()
        .map(|source| (source.value, &source.span));
    for (ip, span) in own.chain(sources) {
        let mut others = vhost.addresses.iter().filter(|other| other.value.ip != ip);
        let edge = others.find_map(|other| Some((other, address::edge_of(ip, other.value)?)));
        if let Some((other, edge)) = edge {
            out.error(span.clone(), format!("{ip} {edge}"))
                .related(other.span.clone(), "an address of the same network");
        }
    }
}

/// Within this an address is one and the same.
type Scope<'a> = (Option<&'a Netns>, Option<&'a IfName>);

fn netns(vhost: &vhost::Draft) -> Option<&Netns> {
    vhost.netns.as_ref().map(|netns| &netns.value)
}

/// An address is another one in another network namespace, and a link-local one on another
/// interface.
fn scope(ip: IpAddr, vhost: &vhost::Draft) -> Scope<'_> {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let interface = vhost.interface.as_ref().map(|i| &i.value);
    (netns(vhost), interface.filter(|_| link_local))
}

/// Names of one kind of thing: what is named is defined, and once; what is defined is named.
fn named<D>(
    what: &str,
    lists: impl Iterator<Item = impl AsRef<[At<Name>]>>,
    defined: &BTreeMap<Name, D>,
    alone: impl Fn(&D) -> Option<Range<usize>>,
    out: &mut Findings,
) {
    let mut used = BTreeSet::new();
    for list in lists {
        let mut here: BTreeMap<&str, &Range<usize>> = BTreeMap::new();
        for name in list.as_ref() {
            let text = name.value.as_str();
            used.insert(text.to_owned());
            if let Some(first) = here.insert(text, &name.span) {
                out.error(
                    name.span.clone(),
                    format!("{what} {text:?} is listed twice"),
                )
                .related(first.clone(), "first listed here");
            }
            if !defined.contains_key(text) {
                let near = nearest(text, defined.keys().map(Name::as_str));
                // The one that was meant is not one that nobody uses.
                used.extend(near.map(str::to_owned));
                let hint = near.map_or_else(
                    || format!("define it: [{what}.{text}]"),
                    |near| format!("did you mean {near:?}?"),
                );
                out.error(name.span.clone(), format!("there is no {what} {text:?}"))
                    .hint(hint);
            }
        }
    }
    for (name, draft) in defined {
        if let Some(span) = alone(draft).filter(|_| !used.contains(name.as_str())) {
            let text = format!("no virtual host uses {what} {:?}", name.as_str());
            out.warn(span, text);
        }
    }
}
