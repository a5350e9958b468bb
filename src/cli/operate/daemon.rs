//! Shared by the commands that talk to a running daemon: which daemon is meant, how to ask it, and
//! what to report when it does not answer.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::cli::{CONFIG, Exit, Failure, output};
use crate::config::{self, Share};
use crate::control::{self, CallError, Order, Reply};
use crate::engine::report::Status;
use crate::ledger::{Origin, instance_name};
use crate::types::{Name, Page};

/// The directory of instances, unless their configuration sets another one.
pub(in crate::cli) const RUN_DIR: &str = "/run/carpd";

/// Which daemon is meant.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct Daemon {
    /// The configuration that the daemon runs with. Not needed if only one daemon runs here
    /// [default: /etc/carpd/carpd.toml].
    #[arg(short, long, value_name = "FILE", global = true)]
    pub(in crate::cli) config: Option<PathBuf>,

    /// The name of the instance, for a daemon without a configuration file: one started as ucarp is
    /// called ucarp-INTERFACE-VHID.
    #[arg(long, value_name = "NAME", global = true, conflicts_with = "config")]
    pub(in crate::cli) instance: Option<String>,

    /// Of a daemon with virtual hosts in several network namespaces: those in this one; `.` for those
    /// without `netns`.
    #[arg(long, value_name = "NAME", global = true, conflicts_with = "instance")]
    pub(in crate::cli) netns: Option<Share>,

    /// The daemon's run directory [default: the one in the configuration].
    #[arg(long, value_name = "DIR", global = true)]
    run_dir: Option<PathBuf>,
}

/// Maps an instance's directory to the path of one of its files.
pub(in crate::cli) type PartOf = fn(&Path) -> PathBuf;

impl Daemon {
    /// The configuration file; the default one if none is named.
    pub(in crate::cli) fn file(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(CONFIG))
    }

    /// The directories that may contain instances: the one on the command line, or else those where a
    /// daemon of the configuration listens now, and the one in the configuration. The daemon may have
    /// been started before that setting was added, so the default comes last.
    pub(in crate::cli) fn run_dirs(&self) -> Vec<PathBuf> {
        if let Some(run_dir) = &self.run_dir {
            return vec![run_dir.clone()];
        }
        let written = std::fs::read_to_string(self.file())
            .ok()
            .and_then(|text| config::run_dir(&text));
        let mut all: Vec<PathBuf> = Vec::new();
        let others = written.into_iter().chain([PathBuf::from(RUN_DIR)]);
        for directory in self.listening().into_iter().chain(others) {
            if !all.contains(&directory) {
                all.push(directory);
            }
        }
        all
    }

    /// The run directories of daemons of this configuration that listen now: the file may have been
    /// edited since they started. The kernel lists the paths of all sockets of this network namespace.
    fn listening(&self) -> Vec<PathBuf> {
        let sockets = std::fs::read_to_string("/proc/self/net/unix").unwrap_or_default();
        let shares = self.written().into_iter().map(|(_, share)| share);
        let names: BTreeSet<String> = shares
            .chain([Share::All])
            .map(|share| instance_name(self.file(), &share.to_string()))
            .collect();
        // Anybody can make a socket of that name somewhere.
        let is_trusted = |directory: &Path| {
            let owner =
                std::fs::symlink_metadata(control::socket_path(directory)).map(|it| it.uid());
            owner.is_ok_and(|owner| owner == 0 || owner == nix::unistd::geteuid().as_raw())
        };
        instances_in(&sockets)
            .filter(|directory| {
                let name = name_of(directory);
                let instance = name.split('@').next().unwrap_or_default();
                names.contains(instance) && is_trusted(directory)
            })
            .filter_map(|directory| Some(directory.parent()?.to_owned()))
            .collect()
    }

    /// The directories of all instances that have this file, sorted.
    pub(in crate::cli) fn instances(&self, part: PartOf) -> Vec<PathBuf> {
        let run_dirs = self.run_dirs();
        let entries = run_dirs
            .iter()
            .flat_map(|run_dir| std::fs::read_dir(run_dir).into_iter().flatten().flatten());
        let mut directories: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|directory| may_be_there(&part(directory)))
            .collect();
        directories.sort();
        directories
    }

    /// A directory that may contain instances but that we may not read.
    pub(in crate::cli) fn closed(&self) -> Option<PathBuf> {
        let is_closed = |directory: &PathBuf| {
            std::fs::read_dir(directory)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
        };
        self.run_dirs().into_iter().find(is_closed)
    }

    /// Like [`Self::instances`], but only those of this network namespace.
    pub(in crate::cli) fn here(&self, part: PartOf) -> Vec<PathBuf> {
        let of_here = |directory: &PathBuf| {
            name_of(directory)
                .split_once('@')
                .is_some_and(|(_, place)| is_here(place))
        };
        self.instances(part).into_iter().filter(of_here).collect()
    }

    /// The path of this file in the instance that is meant: the one with the given name or
    /// configuration, or the only one that has the file, or the default one. If a configuration has
    /// several, the one with this virtual host.
    pub(in crate::cli) fn part(
        &self,
        vhost: Option<&str>,
        part: PartOf,
    ) -> Result<PathBuf, Failure> {
        if self.has_shares() {
            return Ok(part(&self.directory(&self.share(vhost)?, part)?));
        }
        let here = self.here(part);
        let directory = match (&self.instance, &self.config, here.as_slice()) {
            (Some(name), _, _) => here
                .iter()
                .find(|directory| is_named(&name_of(directory), name))
                .ok_or_else(|| self.no_instance(name))?
                .clone(),
            (None, None, [only]) => only.clone(),
            (None, _, _) => self.directory(&Share::All, part)?,
        };
        Ok(part(&directory))
    }

    pub(in crate::cli) fn no_instance(&self, name: &str) -> Failure {
        let message = match self.closed() {
            Some(directory) => {
                format!(
                    "cannot look for the instance {name} in {}",
                    directory.display()
                )
            }
            None => format!("there is no instance named {name} here"),
        };
        Failure::new(Exit::Cannot, message).hint(hint(self))
    }

    /// The share of each virtual host of the configuration, by name.
    fn written(&self) -> Vec<(String, Share)> {
        let text = std::fs::read_to_string(self.file());
        text.map(|text| config::written_shares(&text))
            .unwrap_or_default()
    }

    /// The shares of the configuration, each of which has an instance.
    pub(in crate::cli) fn shares(&self) -> BTreeSet<Share> {
        match &self.netns {
            Some(share) => BTreeSet::from([share.clone()]),
            None => self.written().into_iter().map(|(_, share)| share).collect(),
        }
    }

    /// The daemon that is meant in each of its network namespaces, if it has virtual hosts in others and
    /// none was chosen.
    pub(in crate::cli) fn in_each(&self) -> Option<Vec<(Share, Self)>> {
        if !self.has_shares() || self.netns.is_some() {
            return None;
        }
        let shares = self.shares().into_iter();
        let there = |share: Share| {
            let daemon = Self {
                netns: Some(share.clone()),
                ..self.clone()
            };
            (share, daemon)
        };
        Some(shares.map(there).collect())
    }

    /// All that is meant by whoever only looks, with what to write above each: the daemon that was named
    /// in each of its network namespaces, or all daemons of this one if none is named. Nothing if it
    /// is one.
    pub(in crate::cli) fn each(&self) -> Option<Vec<(String, Self)>> {
        if let Some(shares) = self.in_each() {
            let headed = |(share, daemon)| (heading(&share), daemon);
            return Some(shares.into_iter().map(headed).collect());
        }
        if self.config.is_some() || self.instance.is_some() || self.netns.is_some() {
            return None;
        }
        let here = self.here(control::socket_path);
        let named = |directory: &PathBuf| {
            let name = name_of(directory);
            let daemon = Self {
                instance: Some(name.clone()),
                ..self.clone()
            };
            (format!("instance {name}"), daemon)
        };
        (here.len() > 1).then(|| here.iter().map(named).collect())
    }

    /// The daemons that an order is for: that of this virtual host; without one, each of those into
    /// which the daemon is divided by network namespaces.
    pub(in crate::cli) fn divisions(&self, vhost: Option<&Name>) -> Vec<Self> {
        if vhost.is_some() || self.netns.is_some() || !self.has_shares() {
            return vec![self.clone()];
        }
        let division = |share| Self {
            netns: Some(share),
            ..self.clone()
        };
        self.shares().into_iter().map(division).collect()
    }

    /// Whether the daemon that is meant has virtual hosts in other network namespaces.
    pub(in crate::cli) fn has_shares(&self) -> bool {
        let is_other = |share: &Share| *share != Share::All;
        self.instance.is_none() && self.shares().iter().any(is_other)
    }

    /// The share that is meant: the one that has this virtual host, or the only one.
    fn share(&self, vhost: Option<&str>) -> Result<Share, Failure> {
        let mut written = self.written().into_iter();
        let shares: Vec<Share> = self.shares().into_iter().collect();
        if let [only] = shares.as_slice() {
            return Ok(only.clone());
        }
        if let Some((_, share)) = written.find(|(name, _)| vhost == Some(name)) {
            return Ok(share);
        }
        let names: Vec<String> = shares.iter().map(ToString::to_string).collect();
        let message = "the daemon has virtual hosts in several network namespaces";
        let hint = format!("choose one with --netns: {}", names.join(", "));
        Err(Failure::new(Exit::Usage, message).hint(hint))
    }

    /// The directory of the daemon that runs this share of the configuration: where it has this
    /// file, or would have it.
    pub(in crate::cli) fn directory(
        &self,
        share: &Share,
        part: PartOf,
    ) -> Result<PathBuf, Failure> {
        let candidates = self
            .run_dirs()
            .iter()
            .map(|run_dir| crate::cli::instance_dir(run_dir, self.file(), share))
            .collect::<Result<Vec<_>, _>>()?;
        let found = candidates
            .iter()
            .find(|directory| part(directory).exists())
            .or(candidates.first());
        Ok(found.cloned().unwrap_or_else(|| PathBuf::from(RUN_DIR)))
    }
}

/// The directories of instances whose control sockets are in the kernel's list of sockets.
fn instances_in(sockets: &str) -> impl Iterator<Item = PathBuf> {
    // The path is the last column, and may contain blanks.
    let paths = sockets
        .lines()
        .filter_map(|line| line.find('/').and_then(|at| line.get(at..)));
    paths.filter_map(|path| {
        let directory = Path::new(path).parent()?;
        (control::socket_path(directory) == Path::new(path)).then(|| directory.to_owned())
    })
}

/// What stands above what belongs to one network namespace.
pub(in crate::cli) fn heading(share: &Share) -> String {
    share.netns().map_or_else(
        || "the daemon's own network namespace".to_owned(),
        |netns| format!("network namespace {netns}"),
    )
}

/// Whether the path exists, or may exist where we cannot look.
pub(in crate::cli) fn may_be_there(path: &Path) -> bool {
    path.try_exists()
        .unwrap_or_else(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// Whether this is our network namespace, as it appears in the names of directories. True if that
/// cannot be determined.
pub(in crate::cli) fn is_here(place: &str) -> bool {
    Origin::current().map_or(true, |origin| place == origin.netns.to_string())
}

/// The last component of a directory's path.
pub(in crate::cli) fn name_of(directory: &Path) -> String {
    directory
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Directories are called NAME-HASH@NAMESPACE; NAME, NAME-HASH and the whole all name the instance.
pub(in crate::cli) fn is_named(directory: &str, name: &str) -> bool {
    let instance = directory.split('@').next().unwrap_or_default();
    let plain = instance
        .rsplit_once('-')
        .map_or(instance, |(plain, _)| plain);
    [directory, instance, plain].contains(&name)
}

pub(in crate::cli) fn ask(daemon: &Daemon, order: Order) -> Result<Reply, Failure> {
    let vhost = order.vhost().map(Name::as_str);
    let path = daemon.part(vhost, control::socket_path)?;
    control::call(&path, order).map_err(|error| {
        let failure = failure_of(&error);
        match error {
            CallError::Unreachable { path, source } => {
                failure.hint(forbidden(&path, &source).unwrap_or_else(|| hint(daemon)))
            }
            CallError::Silent(trouble) | CallError::Cut(trouble) => failure.hint(trouble.hint),
            CallError::Garbled(_) | CallError::Refused(_) => failure,
        }
    })
}

/// Says who may talk to a daemon whose socket refuses us.
pub(in crate::cli) fn forbidden(socket: &Path, error: &std::io::Error) -> Option<String> {
    if error.kind() != std::io::ErrorKind::PermissionDenied {
        return None;
    }
    let owner = std::fs::metadata(socket).map(|there| there.uid());
    Some(match owner {
        Ok(0) => "only root may talk to it: run this as root (sudo)".to_owned(),
        Ok(user) => format!(
            "only root and the user it runs as ({user}) may talk to it: run this as one of them"
        ),
        Err(_) => {
            "only root and the daemon's own user may talk to it: run this as one of them".to_owned()
        }
    })
}

/// The daemon's own text, which may have several lines. The daemon has made sure that it contains
/// nothing written by a hook.
pub(in crate::cli) fn failure_of(error: &CallError) -> Failure {
    let text = error.to_string();
    let mut lines = text.lines();
    let first = Failure::new(exit_of(error), lines.next().unwrap_or_default());
    lines.fold(first, Failure::detail)
}

pub(in crate::cli) const fn exit_of(error: &CallError) -> Exit {
    match error {
        CallError::Unreachable { .. } | CallError::Silent(_) | CallError::Cut(_) => Exit::Cannot,
        CallError::Garbled(_) | CallError::Refused(_) => Exit::Failure,
    }
}

/// A hint that lists the instances that do listen, if the one that was meant does not.
pub(in crate::cli) fn hint(daemon: &Daemon) -> String {
    let others: Vec<String> = daemon
        .instances(control::socket_path)
        .iter()
        .map(|directory| name_of(directory))
        .collect();
    let Some(first) = others.first() else {
        if let Some(closed) = daemon.closed() {
            return format!(
                "no permission to read {}: run this as root (sudo) or as the daemon's user",
                closed.display()
            );
        }
        return "is it running? `carpd run` starts it; only root may talk to it".to_owned();
    };
    let name = instance_name(daemon.file(), "");
    let is_elsewhere = |other: &String| {
        other
            .split_once('@')
            .is_some_and(|(instance, place)| instance == name && !is_here(place))
    };
    if others.iter().any(is_elsewhere) {
        return "it runs in another network namespace: run this there (ip netns exec, nsenter -n)"
            .to_owned();
    }
    format!(
        "these instances have a socket: {}; choose one, for example with --instance {first}",
        others.join(", ")
    )
}

pub(in crate::cli) fn say(daemon: &Daemon, order: Order) -> Result<Exit, Failure> {
    match ask(daemon, order)? {
        Reply::Message(message) => {
            let mut page = Page::default();
            message.lines().for_each(|line| writeln!(page, "{line}"));
            output::page(&page)
        }
        Reply::Status(_)
        | Reply::Peers(_)
        | Reply::Metrics(_)
        | Reply::Reload(_)
        | Reply::Plan(_)
        | Reply::HandedOver(_)
        | Reply::Maintained(_)
        | Reply::TargetTests(_) => Err(unexpected()),
    }
}

pub(in crate::cli) fn unexpected() -> Failure {
    Failure::new(
        Exit::Failure,
        "the daemon's answer does not match the question",
    )
}

/// The first digits of a digest, which are enough for a person.
pub(in crate::cli) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// A point in time, formatted for a person in local time.
pub(in crate::cli) fn at(ms: u64) -> String {
    formatted(ms, "%F %T")
}

/// The same, to the millisecond.
pub(in crate::cli) fn time_of_day(ms: u64) -> String {
    formatted(ms, "%F %T%.3f")
}

fn formatted(ms: u64, form: &str) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map(|time| {
        time.to_zoned_datetime(jiff::tz::TimeZone::system())
            .strftime(form)
            .to_string()
    })
    .unwrap_or_default()
}

pub(in crate::cli) fn ask_status(daemon: &Daemon) -> Result<Box<Status>, Failure> {
    match ask(daemon, Order::Status)? {
        Reply::Status(status) => Ok(status),
        Reply::Peers(_)
        | Reply::Metrics(_)
        | Reply::Reload(_)
        | Reply::Plan(_)
        | Reply::HandedOver(_)
        | Reply::Maintained(_)
        | Reply::TargetTests(_)
        | Reply::Message(_) => Err(unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::unix::fs::chown;
    use std::path::PathBuf;

    #[test]
    fn the_kernels_list_of_sockets_is_read() {
        let list = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/a b/carpd-1@7/control.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01    45 @/tmp/.X11-unix/X0\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 12346\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 12347 /run/carpd-2@7/http.sock\n";
        let found: Vec<PathBuf> = super::instances_in(list).collect();
        assert_eq!(found, [PathBuf::from("/run/a b/carpd-1@7")]);
    }

    #[test]
    pub(super) fn who_is_refused_hears_who_may() {
        let socket = tempfile::NamedTempFile::new().unwrap();
        let refused = io::Error::from_raw_os_error(libc::EACCES);
        let hint = |error: &io::Error| super::forbidden(socket.path(), error);
        let own = nix::unistd::geteuid();
        if own.is_root() {
            assert!(hint(&refused).unwrap().starts_with("only root may"));
            chown(socket.path(), Some(60_600), None).unwrap();
            assert!(hint(&refused).unwrap().contains("it runs as (60600)"));
        } else {
            assert!(hint(&refused).unwrap().contains(&format!("user {own}")));
        }
        assert_eq!(hint(&io::ErrorKind::ConnectionRefused.into()), None);
    }
}
