//! Packets between engine and keeper: postcard over a SEQPACKET socket, at most one descriptor with
//! each.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, socketpair};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::children::descriptors;

/// The largest packet, in bytes; every message is smaller.
const MAX: usize = 1024;

/// A connected pair that is closed on exec.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?)
}

/// Sends one packet, without waiting: `WouldBlock` if there is no room.
pub(super) fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut buffer = [0; MAX];
    let bytes = postcard::to_slice(message, &mut buffer).map_err(io::Error::other)?;
    descriptors::send(socket, bytes, descriptor, MsgFlags::MSG_DONTWAIT).map(drop)
}

/// Takes one packet, without waiting; `None` if the other end is closed.
pub(super) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut buffer = [0; MAX];
    let (length, descriptor) = descriptors::receive(socket, &mut buffer, MsgFlags::MSG_DONTWAIT)?;
    if length == 0 {
        return Ok(None);
    }
    let message =
        postcard::from_bytes(buffer.get(..length).unwrap_or_default()).map_err(io::Error::other)?;
    Ok(Some((message, descriptor)))
}
