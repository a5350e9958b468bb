//! The children's log: packets on sockets that they have as standard error.
//!
//! There are two sockets and not one for each child, since there may be thousands of children; the
//! kernel says who sent a packet. Children that handle what others wrote share one socket, all
//! others share the second: a full socket loses what is sent to it, whoever filled it.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::Stdio;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, UnixAddr, UnixCredentials, recvmsg, setsockopt,
};
use nix::unistd::Pid;
use tracing::{Level, debug, error, info, warn};

use super::message::Role;
use super::wire;
use crate::telemetry::child::{LogEntry, PACKET_MAX, read};

/// Packets of one socket that are read before the keeper does something else again.
const AT_ONCE: usize = 64;

pub(super) struct ChildLog {
    trusted: Channel,
    others: Channel,
}

/// A pair of sockets; children have one end of it.
struct Channel {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl ChildLog {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            trusted: Channel::open()?,
            others: Channel::open()?,
        })
    }

    /// The descriptors that become readable when a child logs.
    pub(super) fn as_fds(&self) -> [BorrowedFd<'_>; 2] {
        [&self.trusted, &self.others].map(|channel| channel.ours.as_fd())
    }

    /// The standard error of a child with this role.
    pub(super) fn stderr(&self, role: Role) -> io::Result<Stdio> {
        Ok(self.channel(role).theirs.try_clone()?.into())
    }

    const fn channel(&self, role: Role) -> &Channel {
        if role.is_trusted() {
            &self.trusted
        } else {
            &self.others
        }
    }

    /// Writes what has arrived into the daemon's log. `role` gives the role of a child.
    pub(super) fn drain(&self, role: impl Fn(Pid) -> Option<Role>) {
        for channel in [&self.trusted, &self.others] {
            channel.drain(&role);
        }
    }
}

impl Channel {
    fn open() -> io::Result<Self> {
        let (ours, theirs) = wire::pair()?;
        setsockopt(&ours, PassCred, &true)?;
        // A child does not wait for the keeper: what finds no room is lost.
        fcntl(&theirs, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { ours, theirs })
    }

    fn drain(&self, role: impl Fn(Pid) -> Option<Role>) {
        for _ in 0..AT_ONCE {
            let mut buffer = [0; PACKET_MAX];
            match receive(&self.ours, &mut buffer) {
                Ok((length, sender)) => {
                    let role = sender.and_then(&role);
                    for entry in read(buffer.get(..length).unwrap_or_default()) {
                        log(role, &entry);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// Receives a packet and its sender. There is room for the sender's process id alone: the kernel
/// closes descriptors that somebody sends along.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> nix::Result<(usize, Option<Pid>)> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!(UnixCredentials);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    // It does not matter if the control data were cut short: the sender comes first.
    let sender = received.cmsgs().ok().and_then(|mut all| {
        all.find_map(|message| match message {
            ControlMessageOwned::ScmCredentials(sender) => Some(Pid::from_raw(sender.pid())),
            _ => None,
        })
    });
    Ok((received.bytes, sender))
}

/// Logs a child's entry. Processes that handle what others wrote have a callsite of their own, so
/// that a flood of theirs does not suppress what the others log; and they cannot choose the level.
fn log(role: Option<Role>, entry: &LogEntry) {
    let LogEntry {
        level,
        message,
        details,
    } = entry;
    // A tester has children of its own, which the keeper does not know.
    let process = role.map_or(
        "carpd, a child's process or one that has ended",
        Role::shown,
    );
    if !role.is_some_and(Role::is_trusted) {
        warn!(process, details, "{message}");
        return;
    }
    match *level {
        Level::ERROR => error!(process, details, "{message}"),
        Level::WARN => warn!(process, details, "{message}"),
        Level::INFO => info!(process, details, "{message}"),
        _ => debug!(process, details, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::io::Write as _;
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::{Event, Subscriber};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
    use tracing_subscriber::registry::Registry;

    use super::*;

    #[derive(Clone)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0 += &format!("{}={value:?};", field.name());
        }
    }

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut text = Text(format!("{} ", event.metadata().level()));
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }

    /// What is logged for these packets, which this process sends.
    fn logged(packets: &[&[u8]], role: Option<Role>) -> Vec<String> {
        let child_log = ChildLog::open().unwrap();
        let mut stderr = std::fs::File::from(child_log.others.theirs.try_clone().unwrap());
        for packet in packets {
            stderr.write_all(packet).unwrap();
        }
        let lines = Lines(Arc::default());
        let log = Registry::default().with(lines.clone());
        let own = nix::unistd::getpid();
        tracing::subscriber::with_default(log, || {
            child_log.drain(|pid| role.filter(|_| pid == own));
        });
        let lines = lines.0.lock().unwrap();
        lines.clone()
    }

    #[test]
    fn a_childs_lines_carry_the_role_of_the_process_that_the_kernel_names() {
        let packets: [&[u8]; 2] = [b"\x1eEGone\x1fpath=/x", b"\x1eISaid"];
        assert_eq!(
            logged(&packets, Some(Role::Helper)),
            [
                "ERROR message=Gone;process=\"carpd-helper\";details=\"path=/x\";",
                "INFO message=Said;process=\"carpd-helper\";details=\"\";"
            ]
        );
        let runner = Role::Runner { memory_bytes: 1 };
        let lines = logged(&packets, Some(runner));
        assert!(
            lines
                .iter()
                .all(|line| line.starts_with("WARN ") && line.contains("carpd-runner")),
            "{lines:?}"
        );
        assert!(logged(&packets, None)[0].contains("has ended"));
    }

    #[test]
    fn a_child_that_floods_the_log_does_not_block_and_loses_only_its_own_lines() {
        let child_log = ChildLog::open().unwrap();
        let write = |role| {
            let stderr = std::fs::File::from(child_log.channel(role).theirs.try_clone().unwrap());
            move |packet: &[u8]| (&stderr).write_all(packet).is_ok()
        };
        let (flood, other) = (write(Role::Runner { memory_bytes: 1 }), write(Role::Helper));
        let packet = vec![b'x'; PACKET_MAX];
        let sent = (0..10_000).take_while(|_| flood(&packet));
        assert!(sent.count() < 10_000, "a full log does not block");
        assert!(other(b"\x1eESaid"), "there is room for others");
    }
}
