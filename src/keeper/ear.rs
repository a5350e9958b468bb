//! What the children log: packets on a socket that all of them have as standard error.
//!
//! Not one for each, since there may be thousands. The kernel says who sent a packet. Those that
//! handle what others wrote share one, and those that do not another: a socket that is full loses
//! what is sent to it, whoever filled it.

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
use crate::telemetry::child::{PACKET_MAX, Said, read};

/// Packets that are taken at one time: then it is the turn of others again.
const AT_ONCE: usize = 64;

pub(super) struct Ear {
    trusted: Line,
    others: Line,
}

/// A socket of which children have one end.
struct Line {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Ear {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            trusted: Line::open()?,
            others: Line::open()?,
        })
    }

    /// What wakes the keeper.
    pub(super) fn as_fds(&self) -> [BorrowedFd<'_>; 2] {
        [&self.trusted, &self.others].map(|line| line.ours.as_fd())
    }

    /// The standard error of a child with this role.
    pub(super) fn stderr(&self, role: Role) -> io::Result<Stdio> {
        Ok(self.of(role).theirs.try_clone()?.into())
    }

    const fn of(&self, role: Role) -> &Line {
        if role.is_trusted() {
            &self.trusted
        } else {
            &self.others
        }
    }

    /// Writes what has come into the log. `role` knows the children.
    pub(super) fn listen(&self, role: impl Fn(Pid) -> Option<Role>) {
        for line in [&self.trusted, &self.others] {
            line.listen(&role);
        }
    }
}

impl Line {
    fn open() -> io::Result<Self> {
        let (ours, theirs) = wire::pair()?;
        setsockopt(&ours, PassCred, &true)?;
        // A child waits for nobody who reads its log: what finds no room is lost.
        fcntl(&theirs, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { ours, theirs })
    }

    fn listen(&self, role: impl Fn(Pid) -> Option<Role>) {
        for _ in 0..AT_ONCE {
            let mut buffer = [0; PACKET_MAX];
            match receive(&self.ours, &mut buffer) {
                Ok((length, sender)) => {
                    let role = sender.and_then(&role);
                    for said in read(buffer.get(..length).unwrap_or_default()) {
                        tell(role, &said);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// Room for the sender's number alone: the kernel closes descriptors that somebody sends along.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> nix::Result<(usize, Option<Pid>)> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!(UnixCredentials);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    // That the control data were cut short does not matter: the sender comes first.
    let sender = received.cmsgs().ok().and_then(|mut all| {
        all.find_map(|message| match message {
            ControlMessageOwned::ScmCredentials(sender) => Some(Pid::from_raw(sender.pid())),
            _ => None,
        })
    });
    Ok((received.bytes, sender))
}

/// Processes that handle what others wrote have a place of their own in the log: a flood of one of
/// them hides nothing that the others say. They cannot choose how loud they are.
fn tell(role: Option<Role>, said: &Said) {
    let Said {
        level,
        message,
        details,
    } = said;
    // A tester has children of its own.
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

    /// What is logged of these packets of our own.
    fn heard(packets: &[&[u8]], role: Option<Role>) -> Vec<String> {
        let ear = Ear::open().unwrap();
        let mut stderr = std::fs::File::from(ear.others.theirs.try_clone().unwrap());
        for packet in packets {
            stderr.write_all(packet).unwrap();
        }
        let lines = Lines(Arc::default());
        let log = Registry::default().with(lines.clone());
        let own = nix::unistd::getpid();
        tracing::subscriber::with_default(log, || {
            ear.listen(|pid| role.filter(|_| pid == own));
        });
        let lines = lines.0.lock().unwrap();
        lines.clone()
    }

    #[test]
    fn what_a_child_logs_is_logged_with_its_name_as_the_kernel_knows_it() {
        let packets: [&[u8]; 2] = [b"\x1eEGone\x1fpath=/x", b"\x1eISaid"];
        assert_eq!(
            heard(&packets, Some(Role::Helper)),
            [
                "ERROR message=Gone;process=\"carpd-helper\";details=\"path=/x\";",
                "INFO message=Said;process=\"carpd-helper\";details=\"\";"
            ]
        );
        let runner = Role::Runner { memory_bytes: 1 };
        let lines = heard(&packets, Some(runner));
        assert!(
            lines
                .iter()
                .all(|line| line.starts_with("WARN ") && line.contains("carpd-runner")),
            "{lines:?}"
        );
        assert!(heard(&packets, None)[0].contains("has ended"));
    }

    #[test]
    fn a_child_that_floods_the_log_waits_for_nobody_and_loses_its_own_lines() {
        let ear = Ear::open().unwrap();
        let write = |role| {
            let line = std::fs::File::from(ear.of(role).theirs.try_clone().unwrap());
            move |packet: &[u8]| (&line).write_all(packet).is_ok()
        };
        let (flood, word) = (write(Role::Runner { memory_bytes: 1 }), write(Role::Helper));
        let packet = vec![b'x'; PACKET_MAX];
        let sent = (0..10_000).take_while(|_| flood(&packet));
        assert!(sent.count() < 10_000, "a full log does not block");
        assert!(word(b"\x1eESaid"), "there is room for others");
    }
}
