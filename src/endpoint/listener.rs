//! The socket of the endpoint.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Listen;
use crate::control::{self, Listening};
use crate::process::Patience;

/// Clients that wait to be accepted.
const BACKLOG: i32 = 128;
/// The process of a predecessor that was killed may still listen for a moment.
const DYING: Duration = Duration::from_secs(1);
/// How often that is checked.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Everybody on this host may read it, as over TCP on the loopback interface. Who may not is kept
/// out by the permissions of its directory.
const MODE: u32 = 0o666;

/// A socket that listens, before there is anybody to answer.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    place: Listen,
    /// Removes the file of a unix socket, if the engine may.
    _file: Option<Listening>,
}

impl Listener {
    /// Where it listens.
    #[must_use]
    pub const fn place(&self) -> &Listen {
        &self.place
    }

    pub(super) const fn is_unix(&self) -> bool {
        matches!(self.place, Listen::Unix(_))
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Listens there. Clients wait until [`super::serve`].
///
/// # Errors
/// The socket cannot be made; `AddrInUse` if another process listens there.
pub fn bind(place: Listen) -> io::Result<Listener> {
    let (socket, file) = match &place {
        Listen::Tcp(address) => (tcp(*address)?, None),
        Listen::Unix(path) => {
            let (listener, file) = control::bind_for(path, MODE)?.into_parts();
            (listener.into(), Some(file))
        }
    };
    Ok(Listener {
        socket,
        place,
        _file: file,
    })
}

fn tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // An address that is not up yet will be.
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    let patience = Patience::of(DYING);
    let listen = || {
        socket
            .bind(&address.into())
            .and_then(|()| socket.listen(BACKLOG))
    };
    loop {
        match listen() {
            Ok(()) => return Ok(socket.into()),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && !patience.left().is_zero() =>
            {
                patience.pause(LOOK_AGAIN);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn one_that_was_killed_a_moment_ago_keeps_nobody_from_listening() {
        let dying = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Listen::Tcp(dying.local_addr().unwrap());
        let error = bind(place.clone()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let dies = std::thread::spawn(move || {
            Patience::of(DYING).pause(LOOK_AGAIN);
            drop(dying);
        });
        bind(place).unwrap();
        dies.join().unwrap();
    }

    #[test]
    fn an_address_that_is_not_up_is_no_obstacle() {
        bind("192.0.2.1:9478".parse().unwrap()).unwrap();
        bind("[2001:db8::1]:9478".parse().unwrap()).unwrap();
    }
}
