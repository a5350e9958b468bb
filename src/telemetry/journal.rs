//! Logging to the systemd journal without waiting for it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::{SockRef, Type};
use tracing_journald::{Priority, PriorityMappings};

/// Where `journald` listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Levels in the sense of syslog(3): normal operation is not a notice.
const PRIORITIES: PriorityMappings = PriorityMappings {
    error: Priority::Error,
    warn: Priority::Warning,
    info: Priority::Informational,
    debug: Priority::Debug,
    trace: Priority::Debug,
};

/// Sends each event to the journal with its fields. If `journald` has stopped reading, lines are
/// lost once its queue is full.
///
/// # Errors
/// There is no journal, or it is not reading at the moment.
pub(super) fn layer() -> io::Result<tracing_journald::Layer> {
    // The library sends an initial message of its own, and would wait here.
    let probe = UnixDatagram::unbound()?;
    probe.set_nonblocking(true)?;
    probe.send_to(&[], SOCKET)?;
    let layer = nonblocking(tracing_journald::layer)?;
    Ok(layer
        .with_field_prefix(Some("CARPD".to_owned()))
        .with_syslog_identifier("carpd".to_owned())
        .with_priority_mappings(PRIORITIES))
}

/// Makes writes to a datagram socket that `open` opens non-blocking. The socket's owner does not
/// expose its descriptor, and the mode belongs to the open file description, so it is set through a
/// duplicate. No other thread may open such a socket at the same time.
fn nonblocking<T>(open: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = sockets()?;
    let opened = open()?;
    let Ok(own) = pidfd_open(getpid(), PidfdFlags::empty()) else {
        // An old kernel, or a container's filter: a journal that may block is better than none.
        return Ok(opened);
    };
    for (number, _) in sockets()?.difference(&before) {
        // It may have been closed since.
        let Ok(duplicate) = pidfd_getfd(&own, *number, PidfdGetfdFlags::empty()) else {
            continue;
        };
        if SockRef::from(&duplicate).r#type()? == Type::DGRAM {
            fcntl_setfl(&duplicate, fcntl_getfl(&duplicate)? | OFlags::NONBLOCK)?;
        }
    }
    Ok(opened)
}

/// Number and inode of each open socket. The number alone is not enough: the one used by the
/// listing itself is free again afterwards.
fn sockets() -> io::Result<BTreeSet<(RawFd, PathBuf)>> {
    let mut sockets = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let (Some(number), Ok(target)) = (number, fs::read_link(entry.path()))
            && target.to_string_lossy().starts_with("socket:")
        {
            sockets.insert((number, target));
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_loses_lines_and_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let log = nonblocking(UnixDatagram::unbound).unwrap();
        let mut taken = 0;
        let refused = loop {
            match log.send_to(b"a line", &path) {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(taken > 0);
        journal.recv(&mut [0; 16]).unwrap();
        log.send_to(b"a line", &path).unwrap();
    }
}
