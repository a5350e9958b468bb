//! Which of many sockets have something to read: one descriptor to wait for, and a look that costs
//! as much as there is to be read, however many sockets there are.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::unix::AsyncFd;

use super::sys;

/// The descriptor of an epoll, for the runtime.
#[derive(Debug)]
pub(in crate::host) struct Raw(Epoll);

impl AsRawFd for Raw {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

/// A set of sockets. One that is closed leaves it by itself.
#[derive(Debug)]
pub struct Readiness(AsyncFd<Raw>);

/// Those that had something to read.
#[derive(Debug)]
pub struct Ready {
    events: [EpollEvent; Self::MAX],
    length: usize,
}

impl Ready {
    /// How many one look tells of.
    pub const MAX: usize = 64;

    /// Their tokens.
    pub fn tokens(&self) -> impl Iterator<Item = u64> {
        self.events.iter().take(self.length).map(EpollEvent::data)
    }

    /// There may be others: the next look tells of those first.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.length == Self::MAX
    }
}

impl Readiness {
    /// Of no sockets yet. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self(sys::watch(Raw(epoll))?))
    }

    /// Looks at this socket as well; it is told of by this token.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn add(&self, socket: &impl AsFd, token: u64) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, token);
        Ok(self.0.get_ref().0.add(socket.as_fd(), event)?)
    }

    /// Waits until one of them has something to read.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn wait(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            if self.look(&mut [EpollEvent::empty()])? > 0 {
                guard.retain_ready();
                return Ok(());
            }
            guard.clear_ready();
        }
    }

    /// Those that have something to read now.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn ready(&self) -> io::Result<Ready> {
        let mut events = [EpollEvent::empty(); Ready::MAX];
        let length = self.look(&mut events)?;
        Ok(Ready { events, length })
    }

    fn look(&self, room: &mut [EpollEvent]) -> io::Result<usize> {
        Ok(self.0.get_ref().0.wait(room, EpollTimeout::ZERO)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn only_those_with_something_to_read_are_told_of_however_many_there_are() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let readiness = Readiness::new().unwrap();
            let mut pairs: Vec<_> = (0..200).map(|_| UnixStream::pair().unwrap()).collect();
            for (token, (_, end)) in pairs.iter().enumerate() {
                readiness.add(end, token as u64).unwrap();
            }
            let told = || {
                let mut tokens: Vec<_> = readiness.ready().unwrap().tokens().collect();
                tokens.sort_unstable();
                tokens
            };
            let quiet = async || {
                let waited = timeout(Duration::from_millis(20), readiness.wait()).await;
                waited.is_err()
            };
            assert!(told().is_empty() && quiet().await);
            for token in [150, 3] {
                pairs[token].0.write_all(b"x").unwrap();
            }
            readiness.wait().await.unwrap();
            assert_eq!(told(), [3, 150]);
            // Not all of it was read: it is told of again, and wakes again.
            pairs[150].1.read_exact(&mut [0]).unwrap();
            readiness.wait().await.unwrap();
            assert_eq!(told(), [3]);
            pairs[3].1.read_exact(&mut [0]).unwrap();
            assert!(told().is_empty() && quiet().await);
            // What comes while nobody waits wakes who waits next.
            pairs[7].0.write_all(b"x").unwrap();
            readiness.wait().await.unwrap();
            assert_eq!(told(), [7]);
            // A socket that is closed is told of no more.
            pairs.swap_remove(7);
            assert!(told().is_empty() && quiet().await);
        });
    }

    #[test]
    fn more_than_one_look_tells_of_come_in_turn() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let readiness = Readiness::new().unwrap();
            let mut pairs: Vec<_> = (0..100).map(|_| UnixStream::pair().unwrap()).collect();
            for (token, (other, end)) in pairs.iter_mut().enumerate() {
                readiness.add(end, token as u64).unwrap();
                other.write_all(b"x").unwrap();
            }
            let (first, second) = (readiness.ready().unwrap(), readiness.ready().unwrap());
            assert!(first.is_full());
            let mut told: Vec<_> = first.tokens().chain(second.tokens()).collect();
            told.sort_unstable();
            told.dedup();
            assert_eq!(told.len(), 100);
        });
    }
}
