//! Routes.

use std::net::IpAddr;

use netlink_packet_core::{Emitable as _, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Parseable as _};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags, RouteProtocol, RouteScope, RouteType,
    RouteVia,
};
use nix::errno::Errno;
use nix::net::if_::if_indextoname;

use super::{Netlink, PROTOCOL, Refusal, address_family};
use crate::effect::{FoundRoute, Outcome, Resource, Route, RouteTarget};
use crate::host::HostError;
use crate::types::{Family, IfName};

/// The metric of an IPv6 route that was added without one.
const METRIC_V6: u32 = 1024;

/// The only flag of a route that is the operator's: the gateway is on the link, whatever the addresses say. The others are
/// what the kernel knows of it, and it refuses some of them.
const ONLINK: u32 = 4;

/// The kernel counts the time that a route has left in hundredths of seconds (`USER_HZ`), whatever its own clock does.
const TICKS_PER_SECOND: u32 = 100;

/// A route, and whether it has more than one next hop: then [`Route`] cannot tell it whole.
struct Found {
    route: Route,
    multipath: bool,
    /// As the kernel told it.
    message: RouteMessage,
}

impl Netlink {
    /// Makes this the route to its destination, in its table and with its metric. One that is there already, as
    /// far as `route` says, is left alone.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    pub fn replace_route(&self, route: &Route) -> Result<Outcome, HostError> {
        let failed = |refusal: Refusal| refusal.while_doing(format_args!("setting the route {route}"));
        let message = RouteNetlinkMessage::NewRoute(addition(route)?);
        match self.change(message.clone(), NLM_F_CREATE | NLM_F_EXCL) {
            Ok(()) => return Ok(Outcome::Changed),
            Err(Refusal { errno: Errno::EEXIST, .. }) => {}
            Err(refusal) => return Err(failed(refusal)),
        }
        if self.found(route).map_err(failed)?.iter().any(|found| !found.multipath && satisfies(&found.route, route)) {
            return Ok(Outcome::Unchanged);
        }
        self.change(message, NLM_F_CREATE | NLM_F_REPLACE).map_err(failed)?;
        Ok(Outcome::Changed)
    }

    /// Makes this the route to its destination, but not in the place of another. One that we made is left as it is.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words; `EEXIST` if somebody else made a route to there.
    pub fn add_route(&self, route: &Route) -> Result<Outcome, HostError> {
        let failed = |refusal: Refusal| refusal.while_doing(format_args!("adding the route {route}"));
        match self.change(RouteNetlinkMessage::NewRoute(addition(route)?), NLM_F_CREATE | NLM_F_EXCL) {
            Ok(()) => Ok(Outcome::Changed),
            Err(refusal @ Refusal { errno: Errno::EEXIST, .. }) => {
                let ours = |found: &Found| found.is_ours() && satisfies(&found.route, route);
                if self.found(route).map_err(failed)?.iter().any(ours) { Ok(Outcome::Unchanged) } else { Err(failed(refusal)) }
            }
            Err(refusal) => Err(failed(refusal)),
        }
    }

    /// Puts a route back as [`Self::route_in_place_of`] found it, in the place of whatever is there now.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    pub fn restore_route(&self, found: &FoundRoute) -> Result<Outcome, HostError> {
        let failed = |refusal: Refusal| refusal.while_doing(format_args!("putting back the route {found}"));
        let there = self.found(&found.route).map_err(failed)?;
        if there.into_iter().any(|there| there.told().is_same(found)) {
            return Ok(Outcome::Unchanged);
        }
        let mut message = RouteMessage::parse(&found.form).map_err(|err| HostError {
            message: format!("putting back the route {found}: what was noted of it cannot be read: {err}"),
            errno: Some(libc::EINVAL),
        })?;
        if let Some(dev) = &found.route.dev {
            // A device that was made anew has another number.
            let index = super::index_of(dev)?;
            for attribute in &mut message.attributes {
                if let RouteAttribute::Oif(old) = attribute {
                    *old = index;
                }
            }
        }
        self.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE).map_err(failed)?;
        Ok(Outcome::Changed)
    }

    /// Removes the route to this destination; what `route` does not say (gateway, device) is free. One that is
    /// absent, or whose device is gone, is [`Outcome::Unchanged`].
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    pub fn delete_route(&self, route: &Route) -> Result<Outcome, HostError> {
        let mut message = match message(route) {
            Err(HostError { errno: Some(libc::ENODEV), .. }) => return Ok(Outcome::Unchanged),
            other => other?,
        };
        message.header.scope = RouteScope::NoWhere;
        match self.change(RouteNetlinkMessage::DelRoute(message), 0) {
            Ok(()) => Ok(Outcome::Changed),
            Err(Refusal { errno: Errno::ESRCH, .. }) => Ok(Outcome::Unchanged),
            Err(refusal) => Err(refusal.while_doing(format_args!("deleting the route {route}"))),
        }
    }

    /// The unicast routes of a table, both families. Those with several next hops are left out.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    pub fn routes(&self, table: u32) -> Result<Vec<Route>, HostError> {
        let mut all = Vec::new();
        for family in Family::ALL {
            let found = self.dump_routes(family, table);
            let found = found.map_err(|refusal| refusal.while_doing("listing the routes"))?;
            all.extend(found.into_iter().filter(|f| !f.multipath).map(|f| f.route));
        }
        Ok(all)
    }

    /// The route that holds the place of `route`: same destination, table and metric.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's words.
    pub fn route_in_place_of(&self, route: &Route) -> Result<Option<FoundRoute>, HostError> {
        let found = self.found(route).map_err(|refusal| refusal.while_doing("listing the routes"))?;
        Ok(found.into_iter().next().map(Found::told))
    }

    fn found(&self, route: &Route) -> Result<Vec<Found>, Refusal> {
        let wanted = place(route);
        let mut found = self.dump_routes(route.family(), route.table_id())?;
        found.retain(|f| place(&f.route) == wanted);
        Ok(found)
    }

    fn dump_routes(&self, family: Family, table: u32) -> Result<Vec<Found>, Refusal> {
        let mut query = RouteMessage::default();
        query.header.address_family = address_family(family);
        query.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        query.header.kind = RouteType::Unicast;
        query.attributes = vec![RouteAttribute::Table(table)];
        let answers = match self.dump(&RouteNetlinkMessage::GetRoute(query)) {
            // No such table: no routes.
            Err(Refusal { errno: Errno::ENOENT, .. }) => return Ok(Vec::new()),
            other => other?,
        };
        let parsed = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(message) => parsed(message, family),
            _ => None,
        });
        Ok(parsed.filter(|f| f.route.table_id() == table).collect())
    }
}

impl Found {
    /// Did we make it?
    fn is_ours(&self) -> bool {
        !self.multipath && self.message.header.protocol == RouteProtocol::Other(PROTOCOL)
    }

    /// For whoever may want to put it back.
    fn told(self) -> FoundRoute {
        let protocol = u8::from(self.message.header.protocol);
        let message = askable(self.message);
        let mut form = vec![0; message.buffer_len()];
        message.emit(&mut form);
        FoundRoute { route: self.route, protocol, multipath: self.multipath, form }
    }
}

/// What the kernel told of a route, as it can be asked for: without what only the kernel knows.
fn askable(mut message: RouteMessage) -> RouteMessage {
    message.header.flags = RouteFlags::from_bits_retain(message.header.flags.bits() & ONLINK);
    let by_object = message.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::NhId(_)));
    let mut expires = None;
    message.attributes.retain_mut(|attribute| match attribute {
        RouteAttribute::CacheInfo(info) => {
            expires = (info.expires > 0).then(|| RouteAttribute::Expires((info.expires / TICKS_PER_SECOND).max(1)));
            false
        }
        RouteAttribute::MultiPath(hops) => {
            for hop in hops {
                hop.flags &= RouteNextHopFlags::Onlink;
            }
            !by_object
        }
        // A next hop that has a number of its own is told in full, and may only be asked for by its number.
        RouteAttribute::Gateway(_)
        | RouteAttribute::Via(_)
        | RouteAttribute::Oif(_)
        | RouteAttribute::Encap(_)
        | RouteAttribute::EncapType(_) => !by_object,
        _ => true,
    });
    message.attributes.extend(expires);
    message
}

/// The place that a route takes; a metric that is the family's default is none.
fn place(route: &Route) -> Resource {
    Resource::route(&Route { metric: plain_metric(route.metric, route.family()), ..route.clone() })
}

const fn plain_metric(metric: Option<u32>, family: Family) -> Option<u32> {
    match (metric, family) {
        (Some(0), Family::V4) | (Some(0 | METRIC_V6), Family::V6) => None,
        (metric, _) => metric,
    }
}

/// Is what is there all that is wanted? A device that is not named follows from the gateway.
pub(in crate::host) fn satisfies(there: &Route, wanted: &Route) -> bool {
    there.via == wanted.via && there.src == wanted.src && (wanted.dev.is_none() || there.dev == wanted.dev)
}

fn addition(route: &Route) -> Result<RouteMessage, HostError> {
    let mut message = message(route)?;
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message.header.kind = RouteType::Unicast;
    message.header.scope =
        if route.via.is_none() && route.family() == Family::V4 { RouteScope::Link } else { RouteScope::Universe };
    Ok(message)
}

fn message(route: &Route) -> Result<RouteMessage, HostError> {
    let family = route.family();
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    message.header.table = u8::try_from(route.table_id()).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table_id()));
    if let RouteTarget::Network { ip, prefix } = route.dst {
        message.header.destination_prefix_length = prefix;
        if prefix > 0 {
            attributes.push(RouteAttribute::Destination(ip.into()));
        }
    }
    match route.via {
        Some(via) if Family::of(via) == family => attributes.push(RouteAttribute::Gateway(via.into())),
        Some(IpAddr::V6(via)) => attributes.push(RouteAttribute::Via(RouteVia::Inet6(via))),
        Some(IpAddr::V4(_)) => {
            return Err(HostError {
                message: format!("the route {route} has an IPv4 gateway for IPv6"),
                errno: Some(libc::EINVAL),
            });
        }
        None => {}
    }
    if let Some(dev) = &route.dev {
        attributes.push(RouteAttribute::Oif(super::index_of(dev)?));
    }
    attributes.extend(route.src.map(|src| RouteAttribute::PrefSource(src.into())));
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    Ok(message)
}

fn parsed(message: RouteMessage, family: Family) -> Option<Found> {
    let header = &message.header;
    if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let mut destination = None;
    let mut route =
        Route { dst: RouteTarget::Default, via: None, dev: None, src: None, metric: None, table: Some(u32::from(header.table)) };
    let mut multipath = false;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(ip) => destination = plain(ip),
            RouteAttribute::Gateway(ip) => route.via = plain(ip),
            RouteAttribute::Via(RouteVia::Inet6(ip)) => route.via = Some(IpAddr::V6(*ip)),
            RouteAttribute::PrefSource(ip) => route.src = plain(ip),
            RouteAttribute::Oif(index) => route.dev = name_of(*index),
            RouteAttribute::Priority(metric) => route.metric = plain_metric(Some(*metric), family),
            RouteAttribute::Table(table) => route.table = Some(*table),
            RouteAttribute::MultiPath(_) => multipath = true,
            _ => {}
        }
    }
    route.table = route.table.filter(|table| *table != u32::from(RouteHeader::RT_TABLE_MAIN));
    route.dst = match (destination, header.destination_prefix_length, route.via) {
        (Some(ip), prefix, _) => RouteTarget::Network { ip, prefix },
        // "default" alone would read as IPv4.
        (None, 0, None) if family == Family::V6 => RouteTarget::Network { ip: super::rule::unspecified(Family::V6), prefix: 0 },
        (None, 0, via) if family == Family::V4 && matches!(via, Some(IpAddr::V6(_))) => {
            RouteTarget::Network { ip: super::rule::unspecified(Family::V4), prefix: 0 }
        }
        (None, 0, _) => RouteTarget::Default,
        (None, _, _) => return None,
    };
    Some(Found { route, multipath, message })
}

const fn plain(ip: &RouteAddress) -> Option<IpAddr> {
    match ip {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

fn name_of(index: u32) -> Option<IfName> {
    if_indextoname(index).ok()?.to_str().ok()?.parse().ok()
}
