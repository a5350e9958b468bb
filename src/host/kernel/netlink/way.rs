//! Which way the kernel would send a packet, and when that may have changed.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType, RouteVia,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use tokio::io::unix::AsyncFd;

use super::message::Message;
use super::route::{lookup, name_of};
use super::{Netlink, Refusal, receive};
use crate::host::HostError;
use crate::host::kernel::sys;
use crate::types::IfName;

/// Events that are read at one time: a full table brings them faster than anybody reads.
const AT_ONCE: usize = 1024;

/// What is read of an event: nothing of it matters but that it came, and the kernel drops the rest.
const EVENT: usize = 64;

/// Where a packet goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// The gateway, if there is one.
    pub via: Option<IpAddr>,
    /// The interface.
    pub dev: Option<IfName>,
}

impl Netlink {
    /// Where the kernel would send a packet to this address; `None` if nowhere. One exchange,
    /// whatever the size of the table.
    ///
    /// # Errors
    /// [`HostError`] with the kernel's reason.
    pub fn next_hop(&self, to: IpAddr) -> Result<Option<NextHop>, HostError> {
        let mut found = None;
        let mut query = lookup(to);
        // The result, not the route: one that has several next hops leads through one of them.
        query.header.flags = RouteFlags::empty();
        let asked = self.exchange(&Message::GetRoute(query), NLM_F_ACK, |part| {
            if let Some(Message::NewRoute(route)) = part.message() {
                found = hop_of(&route);
            }
            Ok(())
        });
        match asked {
            Ok(()) => Ok(found),
            Err(Refusal {
                // Blackhole, unreachable, prohibit, and no route at all.
                errno: Errno::EINVAL | Errno::EHOSTUNREACH | Errno::EACCES | Errno::ENETUNREACH,
                ..
            }) => Ok(None),
            Err(refusal) => Err(refusal.while_doing(format_args!("looking up the route to {to}"))),
        }
    }
}

fn hop_of(route: &RouteMessage) -> Option<NextHop> {
    if !matches!(route.header.kind, RouteType::Unicast | RouteType::Local) {
        return None;
    }
    let mut hop = NextHop {
        via: None,
        dev: None,
    };
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => hop.dev = name_of(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => hop.via = Some((*ip).into()),
            RouteAttribute::Gateway(RouteAddress::Inet6(ip))
            | RouteAttribute::Via(RouteVia::Inet6(ip)) => hop.via = Some((*ip).into()),
            _ => {}
        }
    }
    Some(hop)
}

/// The kernel's word that routes, or what decides about them, have changed.
#[derive(Debug)]
pub(in crate::host) struct RouteChanges(AsyncFd<Socket>);

impl RouteChanges {
    /// Subscribes, in the network namespace of the calling thread. Must be called inside a tokio
    /// runtime.
    pub(in crate::host) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_IPV4_ROUTE,
            libc::RTNLGRP_IPV6_ROUTE,
            libc::RTNLGRP_IPV4_RULE,
            libc::RTNLGRP_IPV6_RULE,
        ] {
            socket.add_membership(group)?;
        }
        Ok(Self(sys::watch(socket)?))
    }

    /// Waits for the next change.
    pub(in crate::host) async fn next(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        if self.drain() {
            ready.clear_ready();
        }
        Ok(())
    }

    /// Takes what is there; false if that may not be all.
    pub(in crate::host) fn drain(&self) -> bool {
        let mut event = [0; EVENT];
        for _ in 0..AT_ONCE {
            match receive(self.0.get_ref(), &mut event, libc::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                // Lost or cut ones are events as well.
                Ok(_) | Err(_) => {}
            }
        }
        false
    }
}
