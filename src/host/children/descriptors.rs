//! Descriptors that go with bytes over a socket between processes.
#![expect(
    unsafe_code,
    reason = "a descriptor that comes with bytes has no owner yet, and nix gives it as a number"
)]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

/// Sends bytes, or the first of them on a stream, and a descriptor with them; tells how many went
/// out.
///
/// # Errors
/// What the system said.
pub fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
    flags: MsgFlags,
) -> io::Result<usize> {
    let descriptors = descriptor.map(|fd| [fd.as_raw_fd()]);
    let control: Vec<_> = descriptors
        .iter()
        .map(|fds| ControlMessage::ScmRights(fds))
        .collect();
    let flags = flags | MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<UnixAddr>(
        socket.as_fd().as_raw_fd(),
        &[IoSlice::new(bytes)],
        &control,
        flags,
        None,
    )?)
}

/// Takes bytes, and the descriptor that came with them. The kernel closes any further one.
///
/// # Errors
/// What the system said.
pub fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    flags: MsgFlags,
) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<UnixAddr>(
        socket.as_fd().as_raw_fd(),
        &mut slices,
        Some(&mut space),
        flags,
    )?;
    let mut descriptors = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            // SAFETY: the kernel has just made these descriptors for this process, and nothing else
            // knows them.
            descriptors.extend(
                numbers
                    .into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    Ok((received.bytes, descriptors.pop()))
}
