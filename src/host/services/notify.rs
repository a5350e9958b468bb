//! What the service manager is told of the daemon (sd_notify(3)), without waiting for it.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::socket::{self, MsgFlags};
use sd_notify::NotifyState;

/// Tells the service manager, if one asked for it. Returns whether that is settled: false means that
/// the manager does not read at present and its queue is full, so that the message is lost unless it
/// is repeated. A manager that does not read must not hold up the protocol or the removal of
/// addresses.
#[must_use]
pub fn notify(state: &NotifyState<'_>) -> bool {
    let Some(address) = env::var_os("NOTIFY_SOCKET") else {
        return true;
    };
    let sent = send(&address, state);
    !sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn send(address: &OsStr, state: &NotifyState<'_>) -> io::Result<()> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    socket::send(socket.as_raw_fd(), state.to_string().as_bytes(), flags)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let refused = loop {
            if let Err(error) = send(path.as_os_str(), &NotifyState::Watchdog) {
                break error;
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let mut text = [0; 32];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(text.get(..length), Some(b"WATCHDOG=1".as_slice()));
    }

    #[test]
    fn an_abstract_socket_is_told_too() {
        let name = format!("carpd-test-notify-{}", std::process::id());
        let manager =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), &NotifyState::Ready).unwrap();
        let mut text = [0; 32];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(text.get(..length), Some(b"READY=1".as_slice()));
    }
}
