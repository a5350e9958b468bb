//! Routes.

use std::net::IpAddr;

use netlink_packet_core::{
    Emitable as _, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Parseable as _,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags,
    RouteProtocol, RouteScope, RouteType, RouteVia,
};
use nix::errno::Errno;
use nix::net::if_::if_indextoname;

use super::message::Message;
use super::{HEADER, Netlink, PROTOCOL, RawPart, Reader, Refusal, address_family, at};
use crate::effect::{FoundRoute, Outcome, Resource, Route, RouteTarget, plain_metric};
use crate::host::HostError;
use crate::types::{Family, IfName};

/// Length of the kernel's header of a route.
const ROUTE_HEADER: usize = 12;

/// The only flag of a route that an operator sets: the gateway is on the link, whatever the
/// addresses suggest. The others are the kernel's own, and it refuses some of them.
const ONLINK: u32 = 4;

/// The kernel counts the remaining time of a route in hundredths of a second (`USER_HZ`), whatever
/// its own clock rate.
const TICKS_PER_SECOND: u32 = 100;

/// Requests the route itself as the answer to a lookup, rather than its result.
const FIB_MATCH: u32 = 0x2000;

/// A route, and whether it has more than one next hop: then [`Route`] cannot represent it
/// completely.
struct Found {
    route: Route,
    multipath: bool,
    /// As the kernel sent it.
    message: RouteMessage,
}

impl Netlink {
    /// Makes this the route at its place (destination, table and metric), whatever is there.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn set_route(&self, route: &Route) -> Result<Outcome, HostError> {
        self.change(
            &Message::NewRoute(addition(route)?),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
        .map_err(|refusal| refusal.while_doing(format_args!("setting the route {route}")))?;
        Ok(Outcome::Changed)
    }

    /// Makes this the route at its place if there is none; returns false if there is one.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn try_route(&self, route: &Route) -> Result<bool, HostError> {
        match self.change(
            &Message::NewRoute(addition(route)?),
            NLM_F_CREATE | NLM_F_EXCL,
        ) {
            Ok(()) => Ok(true),
            Err(Refusal {
                errno: Errno::EEXIST,
                ..
            }) => Ok(false),
            Err(refusal) => Err(refusal.while_doing(format_args!("setting the route {route}"))),
        }
    }

    /// Makes this the route to its destination, but does not replace another one. A route that we
    /// added is left as it is, if a lookup finds it: one that is hidden by a narrower route is
    /// treated as another program's.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason; `EEXIST` if another program added a route to there.
    pub fn add_route(&self, route: &Route) -> Result<Outcome, HostError> {
        match self.change(
            &Message::NewRoute(addition(route)?),
            NLM_F_CREATE | NLM_F_EXCL,
        ) {
            Ok(()) => Ok(Outcome::Changed),
            Err(Refusal {
                errno: Errno::EEXIST,
                ..
            }) if self
                .looked_up(route)
                .is_some_and(|there| is_our(&there, route)) =>
            {
                Ok(Outcome::Unchanged)
            }
            Err(refusal) => Err(refusal.while_doing(format_args!("adding the route {route}"))),
        }
    }

    /// Restores a route as it was found, in place of whatever is there now.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn restore_route(&self, found: &FoundRoute) -> Result<Outcome, HostError> {
        let mut message = RouteMessage::parse(&found.form).map_err(|err| {
            HostError::errno(
                format!("restoring the route {found}: its record cannot be read: {err}"),
                libc::EINVAL,
            )
        })?;
        if let Some(dev) = &found.route.dev {
            // A device that was created again has another index.
            let index = super::index_of(dev)?;
            for attribute in &mut message.attributes {
                if let RouteAttribute::Oif(old) = attribute {
                    *old = index;
                }
            }
        }
        self.change(&Message::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
            .map_err(|refusal| refusal.while_doing(format_args!("restoring the route {found}")))?;
        Ok(Outcome::Changed)
    }

    /// Removes the route to this destination; anything that `route` does not specify (gateway,
    /// device) may have any value. If the route is absent, or its device is gone, this is
    /// [`Outcome::Unchanged`].
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn delete_route(&self, route: &Route) -> Result<Outcome, HostError> {
        let mut message = match message(route) {
            Err(HostError {
                errno: Some(libc::ENODEV),
                ..
            }) => return Ok(Outcome::Unchanged),
            other => other?,
        };
        message.header.scope = RouteScope::NoWhere;
        match self.change(&Message::DelRoute(message), 0) {
            Ok(()) => Ok(Outcome::Changed),
            Err(Refusal {
                errno: Errno::ESRCH,
                ..
            }) => Ok(Outcome::Unchanged),
            Err(refusal) => Err(refusal.while_doing(format_args!("deleting the route {route}"))),
        }
    }

    /// The device on which this machine has this address, found by a lookup: one exchange, however
    /// many addresses and devices there are.
    pub fn device_of(&self, ip: IpAddr) -> Option<IfName> {
        let mut found = None;
        // "Unreachable" is not an error: then the address is not here.
        _ = self.exchange(&Message::GetRoute(lookup(ip)), NLM_F_ACK, |part| {
            if let Some(Message::NewRoute(route)) = part.message()
                && route.header.kind == RouteType::Local
            {
                found = route.attributes.iter().find_map(|a| {
                    if let RouteAttribute::Oif(index) = a {
                        Some(*index)
                    } else {
                        None
                    }
                });
            }
            Ok(())
        });
        found.and_then(name_of)
    }

    /// The route at this one's place, found by a lookup of its network: one exchange, whatever the
    /// size of the table. `None` proves nothing: a narrower route, a better metric or a rule may
    /// hide it.
    fn looked_up(&self, route: &Route) -> Option<FoundRoute> {
        let RouteTarget::Network { ip, prefix: 1.. } = route.dst else {
            return None;
        };
        let mut found = None;
        let place = Place::of(route);
        // "Unreachable" is not an error: then the route is not there.
        _ = self.exchange(&Message::GetRoute(lookup(ip)), NLM_F_ACK, |part| {
            found = place.pick(part);
            Ok(())
        });
        found.map(Found::told)
    }
}

/// A query for the route that leads to an address.
pub(super) fn lookup(ip: IpAddr) -> RouteMessage {
    let family = Family::of(ip);
    let mut query = RouteMessage::default();
    query.header.address_family = address_family(family);
    query.header.destination_prefix_length = family.host_prefix();
    query.header.flags = RouteFlags::from_bits_retain(FIB_MATCH);
    query.attributes = vec![RouteAttribute::Destination(ip.into())];
    query
}

impl Reader {
    /// The unicast routes of a table, both families. Those with several next hops are left out.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason; `EMSGSIZE` if there are too many.
    pub fn routes(&self, table: u32) -> Result<Vec<Route>, HostError> {
        let mut all = Vec::new();
        for family in Family::ALL {
            let single = |part: &RawPart<'_>| {
                let found = unicast(part, family)?;
                (!found.multipath && found.route.table_id() == table).then_some(found.route)
            };
            let found = self.dump_routes(family, table, single);
            all.extend(found.map_err(|refusal| refusal.while_doing("listing the routes"))?);
        }
        Ok(all)
    }

    /// The routes at the place of `route`: same destination, table and metric, whatever other
    /// routes lead there. The kernel allows more than one.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn routes_at(&self, route: &Route) -> Result<Vec<FoundRoute>, HostError> {
        let place = Place::of(route);
        let found = self.dump_routes(route.family(), route.table_id(), |part| place.pick(part));
        let found = found.map_err(|refusal| refusal.while_doing("listing the routes"))?;
        Ok(found.into_iter().map(Found::told).collect())
    }

    fn dump_routes<T>(
        &self,
        family: Family,
        table: u32,
        pick: impl Fn(&RawPart<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Refusal> {
        let mut query = RouteMessage::default();
        query.header.address_family = address_family(family);
        query.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        query.header.kind = RouteType::Unicast;
        query.attributes = vec![RouteAttribute::Table(table)];
        match self.pick(&Message::GetRoute(query), pick) {
            // The table does not exist: there are no routes.
            Err(Refusal {
                errno: Errno::ENOENT,
                ..
            }) => Ok(Vec::new()),
            other => other,
        }
    }
}

/// The place of a route: what distinguishes it from all others in the kernel. Most routes of a full
/// table differ from it within a few bytes.
struct Place {
    resource: Resource,
    family: Family,
    prefix: u8,
    /// Empty for a default route.
    destination: Vec<u8>,
}

impl Place {
    fn of(route: &Route) -> Self {
        let (prefix, destination) = match route.dst {
            RouteTarget::Network {
                ip: IpAddr::V4(ip),
                prefix: prefix @ 1..,
            } => (prefix, ip.octets().to_vec()),
            RouteTarget::Network {
                ip: IpAddr::V6(ip),
                prefix: prefix @ 1..,
            } => (prefix, ip.octets().to_vec()),
            RouteTarget::Network { .. } | RouteTarget::Default => (0, Vec::new()),
        };
        Self {
            resource: Resource::route(route),
            family: route.family(),
            prefix,
            destination,
        }
    }

    /// The route in this part of an answer, if it is at this place.
    fn pick(&self, part: &RawPart<'_>) -> Option<Found> {
        let [_, prefix, source_prefix, tos] = at(part.bytes, HEADER)?;
        // Only for some sources or types of service: that is a different place.
        if prefix != self.prefix || source_prefix != 0 || tos != 0 {
            return None;
        }
        if part
            .attribute(ROUTE_HEADER, libc::RTA_DST)
            .unwrap_or_default()
            != self.destination
        {
            return None;
        }
        unicast(part, self.family).filter(|found| Resource::route(&found.route) == self.resource)
    }
}

fn unicast(part: &RawPart<'_>, family: Family) -> Option<Found> {
    match part.message()? {
        Message::NewRoute(message) => parsed(message, family),
        _ => None,
    }
}

impl Found {
    /// Kept so that it can be restored.
    fn told(self) -> FoundRoute {
        let protocol = u8::from(self.message.header.protocol);
        let message = askable(self.message);
        let mut form = vec![0; message.buffer_len()];
        message.emit(&mut form);
        FoundRoute {
            route: self.route,
            protocol,
            multipath: self.multipath,
            form,
        }
    }
}

/// Does the existing route have everything that is wanted?
pub(in crate::host) fn does(there: &FoundRoute, wanted: &Route) -> bool {
    !there.multipath && satisfies(&there.route, wanted)
}

/// Is it the wanted route, and did we add it?
pub(in crate::host) fn is_our(there: &FoundRoute, wanted: &Route) -> bool {
    there.protocol == PROTOCOL && does(there, wanted)
}

/// The route that the kernel sent, in a form that can be requested: without what only the kernel
/// sets.
fn askable(mut message: RouteMessage) -> RouteMessage {
    message.header.flags = RouteFlags::from_bits_retain(message.header.flags.bits() & ONLINK);
    let by_object = message
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, RouteAttribute::NhId(_)));
    let mut expires = None;
    message.attributes.retain_mut(|attribute| match attribute {
        RouteAttribute::CacheInfo(info) => {
            expires = (info.expires > 0)
                .then(|| RouteAttribute::Expires((info.expires / TICKS_PER_SECOND).max(1)));
            false
        }
        RouteAttribute::MultiPath(hops) => {
            for hop in hops {
                hop.flags &= RouteNextHopFlags::Onlink;
            }
            !by_object
        }
        // A next hop that has a number of its own is sent in full, but may only be requested by its
        // number.
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

/// Does the existing route have everything that is wanted? A device that is not named follows from
/// the gateway.
pub(in crate::host) fn satisfies(there: &Route, wanted: &Route) -> bool {
    there.via == wanted.via
        && there.src == wanted.src
        && (wanted.dev.is_none() || there.dev == wanted.dev)
}

fn addition(route: &Route) -> Result<RouteMessage, HostError> {
    let mut message = message(route)?;
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message.header.kind = RouteType::Unicast;
    message.header.scope = if route.via.is_none() && route.family() == Family::V4 {
        RouteScope::Link
    } else {
        RouteScope::Universe
    };
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
        Some(via) if Family::of(via) == family => {
            attributes.push(RouteAttribute::Gateway(via.into()));
        }
        Some(IpAddr::V6(via)) => attributes.push(RouteAttribute::Via(RouteVia::Inet6(via))),
        Some(IpAddr::V4(_)) => {
            return Err(HostError::errno(
                format!("the route {route} has an IPv4 gateway for IPv6"),
                libc::EINVAL,
            ));
        }
        None => {}
    }
    // The kernel ignores attributes whose length is not that of an address of the route's family.
    if route.src.is_some_and(|src| Family::of(src) != family) {
        return Err(HostError::errno(
            format!("the route {route} has a source address of the other family"),
            libc::EINVAL,
        ));
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
    let mut route = Route {
        dst: RouteTarget::Default,
        via: None,
        dev: None,
        src: None,
        metric: None,
        table: Some(u32::from(header.table)),
    };
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
    route.table = route
        .table
        .filter(|table| *table != u32::from(RouteHeader::RT_TABLE_MAIN));
    route.dst = match (destination, header.destination_prefix_length, route.via) {
        (Some(ip), prefix, _) => RouteTarget::Network { ip, prefix },
        // "default" alone would read as IPv4.
        (None, 0, None) if family == Family::V6 => RouteTarget::Network {
            ip: super::rule::unspecified(Family::V6),
            prefix: 0,
        },
        (None, 0, via) if family == Family::V4 && matches!(via, Some(IpAddr::V6(_))) => {
            RouteTarget::Network {
                ip: super::rule::unspecified(Family::V4),
                prefix: 0,
            }
        }
        (None, 0, _) => RouteTarget::Default,
        (None, _, _) => return None,
    };
    Some(Found {
        route,
        multipath,
        message,
    })
}

const fn plain(ip: &RouteAddress) -> Option<IpAddr> {
    match ip {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

pub(super) fn name_of(index: u32) -> Option<IfName> {
    if_indextoname(index).ok()?.to_str().ok()?.parse().ok()
}
