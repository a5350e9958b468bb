//! Sockets for IP packets to single hosts, to which the kernel finds the way.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use super::sys;
use crate::types::Family;

/// Sends whole IP packets of one IP protocol and family out of one interface.
///
/// While it is open, the kernel takes the packets of this protocol that arrive there for wanted, and
/// does not answer them with "protocol unreachable". It reads none itself: that is done by a
/// [`PacketSocket`](super::socket::PacketSocket).
#[derive(Debug)]
pub struct RoutedSocket {
    socket: Socket,
    index: u32,
}

impl RoutedSocket {
    /// For the interface with this index.
    ///
    /// # Errors
    /// What the kernel said: `EPERM` without CAP_NET_RAW, `EAFNOSUPPORT` without the family.
    pub fn open(index: u32, family: Family, protocol: u8) -> io::Result<Self> {
        const RETURN: u16 = 0x06;
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let protocol = Protocol::from(i32::from(protocol));
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        // Nothing is queued.
        socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])?;
        sys::bind_to_interface(&socket, index)?;
        match family {
            Family::V4 => socket.set_header_included_v4(true)?,
            Family::V6 => socket.set_header_included_v6(true)?,
        }
        Ok(Self { socket, index })
    }

    /// Sends a packet, header included. It never waits: a neighbour whose hardware address is not
    /// known yet gets it once it is.
    ///
    /// # Errors
    /// `ENETUNREACH`: no route leads there from this interface (IPv6 only: over IPv4 the kernel then
    /// takes the destination for a neighbour on this interface, and nobody answers its ARP);
    /// `EPERM`: a firewall on this host refuses it; or what else the kernel said.
    pub fn send(&self, to: IpAddr, packet: &[u8]) -> io::Result<()> {
        let to: SockAddr = match to {
            IpAddr::V4(_) => SocketAddr::new(to, 0).into(),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, self.index).into(),
        };
        self.socket.send_to(packet, &to).map(drop)
    }
}
