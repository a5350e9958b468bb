//! Changes of links and addresses, whatever causes them.

use std::collections::VecDeque;
use std::io;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use socket2::SockFilter;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::message::{DeviceMessage, IFLA_NEW_NETNSID, Message};
use super::{BUFFER, Parts, Refusal, address, link, receive};
use crate::effect::Link;
use crate::host::HostError;
use crate::host::kernel::sys;
use crate::types::VirtualAddress;

/// Room for some thousands of events.
const RECEIVE_BUFFER: libc::c_int = 1024 * 1024;

/// Something changed in this host's network, whatever caused it: compare it with what should be
/// there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEvent {
    /// A device appeared, or changed in some way.
    Link(Link),
    /// A device is gone, with all its addresses.
    LinkGone {
        /// As it was.
        link: Link,
        /// It is in another network namespace now.
        moved: bool,
    },
    /// An address appeared, or something about it changed.
    AddressAdded {
        /// Of the device.
        index: u32,
        /// With its prefix.
        address: VirtualAddress,
    },
    /// An address is gone: deleted, expired, or removed with its device.
    AddressRemoved {
        /// Of the device.
        index: u32,
        /// With its prefix.
        address: VirtualAddress,
        /// The number of the netlink socket that removed it, which the kernel reports for IPv4
        /// only; 0 if the kernel removed it itself.
        port: u32,
    },
    /// Events were lost: only a fresh list shows the current state.
    Overrun,
}

/// The stream of [`HostEvent`]s of one network namespace.
///
/// Routes are not watched: on a router with a full table their events would drown the others.
#[derive(Debug)]
pub struct Watch {
    fd: AsyncFd<Socket>,
    pending: VecDeque<HostEvent>,
    buffer: Box<[u8]>,
}

impl Watch {
    /// Subscribes, in the network namespace of the calling thread. Must be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`HostError`] if the kernel provides no such socket.
    pub fn open() -> Result<Self, HostError> {
        Self::subscribe()
            .map_err(|err| Refusal::from(err).while_doing("watching links and addresses"))
    }

    fn subscribe() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        let _ = socket.set_rx_buf_sz(RECEIVE_BUFFER);
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV6_IFADDR,
        ] {
            socket.add_membership(group)?;
        }
        Ok(Self {
            fd: sys::watch(socket)?,
            pending: VecDeque::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
        })
    }

    /// Skips what the netlink socket with this number does to addresses: the kernel drops these
    /// events before they wake anyone. It reports the origin for IPv4 only.
    ///
    /// # Errors
    /// The kernel refuses the filter.
    pub fn ignore_changes_by(&self, port: u32) -> Result<(), HostError> {
        let attached =
            socket2::SockRef::from(self.fd.get_ref()).attach_filter(&not_changes_by(port));
        attached.map_err(|err| Refusal::from(err).while_doing("filtering the events of addresses"))
    }

    /// The next event. Cancellation is safe: nothing is lost.
    ///
    /// # Errors
    /// The runtime shuts down, or the socket can no longer be used.
    pub async fn next(&mut self) -> io::Result<HostEvent> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            self.fd.readable().await?.retain_ready();
            self.receive()?;
        }
    }

    /// The next event that is already there.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn try_next(&mut self) -> io::Result<Option<HostEvent>> {
        if self.pending.is_empty() {
            self.receive()?;
        }
        Ok(self.pending.pop_front())
    }

    /// Reads one datagram, so `pending` is limited to what fits into one.
    fn receive(&mut self) -> io::Result<()> {
        let buffer = &mut self.buffer;
        match self
            .fd
            .try_io(Interest::READABLE, |socket| receive(socket, buffer, 0))
        {
            Ok(length) => {
                let parts = Parts::of(self.buffer.get(..length).unwrap_or_default());
                self.pending.extend(
                    parts
                        .filter(|part| !part.is_end())
                        .filter_map(|part| event(&part.message()?, part.port)),
                );
                Ok(())
            }
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(err) if matches!(err.raw_os_error(), Some(libc::ENOBUFS | libc::EMSGSIZE)) => {
                self.pending.push_back(HostEvent::Overrun);
                Ok(())
            }
            Err(err) => Err(err),
        }
    }
}

fn event(message: &Message, port: u32) -> Option<HostEvent> {
    match message {
        Message::NewLink(message) => own(message).map(HostEvent::Link),
        Message::DelLink(message) => own(message).map(|link| HostEvent::LinkGone {
            link,
            moved: message.values(IFLA_NEW_NETNSID).next().is_some(),
        }),
        Message::NewAddress(message) => {
            address::present(message).map(|a| HostEvent::AddressAdded {
                index: a.index,
                address: a.address,
            })
        }
        Message::DelAddress(message) => {
            address::present(message).map(|a| HostEvent::AddressRemoved {
                index: a.index,
                address: a.address,
                port,
            })
        }
        _ => None,
    }
}

/// Everything except what this socket did to addresses.
fn not_changes_by(port: u32) -> [SockFilter; 7] {
    const LOAD_WORD: u16 = 0x20;
    const LOAD_HALF: u16 = 0x28;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // The filter reads in network order what is stored in this machine's.
    let (added, removed) = (libc::RTM_NEWADDR.to_be(), libc::RTM_DELADDR.to_be());
    [
        SockFilter::new(LOAD_HALF, 0, 0, 4),
        SockFilter::new(EQUAL, 1, 0, added.into()),
        SockFilter::new(EQUAL, 0, 2, removed.into()),
        SockFilter::new(LOAD_WORD, 0, 0, 12),
        SockFilter::new(EQUAL, 1, 0, port.to_be()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// A bridge uses the same messages to report that a port left it: the device itself still exists.
fn own(message: &DeviceMessage) -> Option<Link> {
    if i32::from(message.family) == libc::AF_BRIDGE {
        None
    } else {
        link::link_of(message)
    }
}
