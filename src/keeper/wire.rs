//! Packets between engine and keeper: postcard over a SEQPACKET socket, at most one descriptor with each.
#![expect(unsafe_code, reason = "a descriptor that comes with a packet has no owner yet, and nix gives it as a number")]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest packet, in bytes; every message is far smaller.
const MAX: usize = 512;

/// A connected pair that is closed on exec.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Sends one packet, without waiting: `WouldBlock` if there is no room.
pub(super) fn send<T: Serialize>(socket: impl AsFd, message: &T, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut buffer = [0; MAX];
    let bytes = postcard::to_slice(message, &mut buffer).map_err(io::Error::other)?;
    let descriptors = descriptor.map(|fd| [fd.as_raw_fd()]);
    let control: Vec<_> = descriptors.iter().map(|fds| ControlMessage::ScmRights(fds)).collect();
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<UnixAddr>(socket.as_fd().as_raw_fd(), &[IoSlice::new(bytes)], &control, flags, None)?;
    Ok(())
}

/// Takes one packet, without waiting; `None` if the other end is closed.
pub(super) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut buffer = [0; MAX];
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let received = recvmsg::<UnixAddr>(socket.as_fd().as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let mut descriptors = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            // SAFETY: the kernel has just made these descriptors for this process, and nothing else knows them.
            descriptors.extend(numbers.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let length = received.bytes;
    if length == 0 {
        return Ok(None);
    }
    let message = postcard::from_bytes(buffer.get(..length).unwrap_or_default()).map_err(io::Error::other)?;
    Ok(Some((message, descriptors.pop())))
}
