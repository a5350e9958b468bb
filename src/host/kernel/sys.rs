//! What safe wrappers do not offer: the one file of this module with `unsafe`.
#![expect(
    unsafe_code,
    reason = "sockaddr_ll, packet memberships and tokio's registration have no safe form"
)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{SockAddr, Socket};
use tokio::io::unix::AsyncFd;

use crate::types::MacAddr;

/// A type that owns its descriptor and answers `as_raw_fd` with the same open one for all its life.
///
/// # Safety
/// The implementor must hold that promise.
pub(in crate::host) unsafe trait OwnsDescriptor: AsRawFd {}

// SAFETY: that is what it is for.
unsafe impl OwnsDescriptor for OwnedFd {}
// SAFETY: a newtype of nix's timer, which owns its descriptor and closes it when dropped.
unsafe impl OwnsDescriptor for super::alarm::Raw {}
// SAFETY: a newtype of nix's epoll, which owns its descriptor and closes it when dropped.
unsafe impl OwnsDescriptor for super::readiness::Raw {}
// SAFETY: a netlink-sys socket is a newtype of a descriptor, closed only when dropped.
unsafe impl OwnsDescriptor for netlink_sys::Socket {}

/// Lets the runtime watch a descriptor. Must be called inside a tokio runtime.
pub(in crate::host) fn watch<T: OwnsDescriptor>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: `OwnsDescriptor` promises what `register` asks for.
    Ok(unsafe { AsyncFd::register(inner) }?)
}

/// The address of one interface for packet sockets; `protocol` in host order, 0 for none.
pub(in crate::host) fn link_address(index: u32, protocol: u16) -> io::Result<SockAddr> {
    let too_large = |_| io::Error::from_raw_os_error(libc::ENODEV);
    let index = libc::c_int::try_from(index).map_err(too_large)?;
    let family = libc::c_ushort::try_from(libc::AF_PACKET).map_err(too_large)?;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(too_large)?;
    // SAFETY: the storage is zeroed and larger than a sockaddr_ll; zero is valid in each of its
    // fields.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, len| {
            let link = &mut *storage.cast::<libc::sockaddr_ll>();
            link.sll_family = family;
            link.sll_protocol = protocol.to_be();
            link.sll_ifindex = index;
            *len = length;
            Ok(())
        })?
    };
    Ok(address)
}

/// Asks the interface to pass up frames to this hardware address too.
pub(in crate::host) fn packet_membership(
    socket: &Socket,
    index: u32,
    mac: MacAddr,
) -> io::Result<()> {
    let too_large = |_| io::Error::from_raw_os_error(libc::ENODEV);
    let multicast = mac.0.first().is_some_and(|first| first & 1 == 1);
    let kind = if multicast {
        libc::PACKET_MR_MULTICAST
    } else {
        libc::PACKET_MR_UNICAST
    };
    let mut address = [0; 8];
    address
        .iter_mut()
        .zip(mac.0)
        .for_each(|(to, from)| *to = from);
    let request = libc::packet_mreq {
        mr_ifindex: libc::c_int::try_from(index).map_err(too_large)?,
        mr_type: libc::c_ushort::try_from(kind).map_err(too_large)?,
        mr_alen: 6,
        mr_address: address,
    };
    set_option(
        socket,
        libc::SOL_PACKET,
        libc::PACKET_ADD_MEMBERSHIP,
        &request,
    )
}

/// Keeps frames that this host sends out of the socket (Linux 4.20).
pub(in crate::host) fn ignore_outgoing(socket: &Socket) -> io::Result<()> {
    set_option(
        socket,
        libc::SOL_PACKET,
        libc::PACKET_IGNORE_OUTGOING,
        &libc::c_int::from(true),
    )
}

/// Lets a socket send and receive through the interface with this index only (Linux 5.1).
pub(in crate::host) fn bind_to_interface(socket: &Socket, index: u32) -> io::Result<()> {
    let index =
        libc::c_int::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    set_option(socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, &index)
}

/// Plain C structures that setsockopt(2) may read.
trait OptionValue: Copy {}
impl OptionValue for libc::c_int {}
impl OptionValue for libc::packet_mreq {}

fn set_option<T: OptionValue>(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length =
        libc::socklen_t::try_from(size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the pointer is valid for `length` bytes during the call, and the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
