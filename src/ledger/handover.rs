//! Changes the owner of the daemon's files to the user as which the engine runs.
//!
//! The engine starts as root and gives that up. Before that it creates its directories, and changes
//! the owner of what they contain: files written by an engine of an older version that ran as root,
//! and files of dead instances, whose effects are to be undone. Anything that is not a plain file
//! or directory, has another hard link, or belongs to someone else is left as it is; links are not
//! followed.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown, fchownat};
use tracing::warn;

use super::disk::{FILE_NAME, words_of};
use super::instance::{self, LASTING_LOCK, LOCK_FILE, LOCKS, Origin, instance_of, own_directory};
use super::lock::{self, LOOK_AGAIN};
use crate::process::Patience;
use crate::resolve;

/// How deep the daemon's own directories go.
const DEPTH_MAX: usize = 4;
/// More files than the daemon ever has in one directory.
const ENTRIES_MAX: usize = 100_000;
/// Of a directory's mode: others may list it and go through.
const OTHERS_LOOK: u32 = 0o005;
/// Of the directory of locks: its group makes files there, and others look.
const SHARED_MODE: u32 = 0o775;
/// Of a directory's mode: others may make names in it.
const OTHERS_WRITE: u32 = 0o022;

/// Who writes from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heir {
    /// The user, and the group of the same number.
    pub id: u32,
    /// Whose files are given away beside root's: the numbers that daemons' processes have.
    pub own: (u32, u32),
}

impl Heir {
    /// Is it root's, or of a process of a daemon's?
    fn may_look(self, there: &Metadata) -> bool {
        there.uid() == 0 || (self.own.0..self.own.1).contains(&there.uid())
    }

    fn has(self, there: &Metadata) -> bool {
        there.uid() == self.id && (self.id == 0 || there.gid() == self.id)
    }
}

/// Something that could not be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it could not take over {}: {message}", path.display())]
pub struct Ungiven {
    /// A file or a directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

fn at(path: &Path) -> impl Fn(io::Error) -> Ungiven {
    move |err| Ungiven {
        path: path.to_owned(),
        message: words_of(&err),
    }
}

/// What is to be given away: an instance, and what dead ones left.
#[derive(Debug, Clone, Copy)]
pub struct Estate<'a> {
    /// Where all instances of this boot are.
    pub run_dir: &'a Path,
    /// Where what outlives a boot is.
    pub state_dir: &'a Path,
    /// The instance's name.
    pub name: &'a str,
    /// Where it runs.
    pub origin: Origin,
    /// A directory below `state_dir` that stays root's.
    pub kept: &'a Path,
}

impl Estate<'_> {
    /// The directories that the instance cannot do without.
    #[must_use]
    pub fn needed(&self) -> [PathBuf; 3] {
        let run = own_directory(self.run_dir);
        [
            run.join(LOCKS),
            self.instance(self.name),
            own_directory(self.state_dir).join(self.name),
        ]
    }

    fn instance(&self, name: &str) -> PathBuf {
        instance::Instance::directory(self.run_dir, name, self.origin)
    }

    /// Makes the directories and gives them away, with what is in them. What a living instance has
    /// stays as it is.
    ///
    /// # Errors
    /// [`Ungiven`]: the first that could not be given.
    pub fn give(&self, to: Heir) -> Result<(), Ungiven> {
        let (run, state) = (own_directory(self.run_dir), own_directory(self.state_dir));
        let [locks, own_run, own_state] = self.needed();
        for (directory, mode) in [
            (run.as_path(), 0o755),
            (&state, 0o700),
            (&locks, 0o755),
            (&own_run, 0o755),
            (&own_state, 0o700),
            (self.kept, 0o700),
        ] {
            resolve::make_directory(directory, mode).map_err(at(directory))?;
        }
        let kept = open_directory(self.kept).and_then(|kept| kept.metadata());
        if let Some((why, mend)) = objection(&kept.map_err(at(self.kept))?) {
            let path = self.kept.display();
            // The helper would refuse it when it is needed, perhaps after a crash, which is too
            // late to learn of it.
            warn!(%path, why, mend = %format_args!("{mend} {path}"), "Records of previous values cannot be trusted here: after a crash they could not be used to restore anything");
        }
        for directory in [&run, &state] {
            open_directory(directory)
                .and_then(|open| let_in(&open, to))
                .map_err(at(directory))?;
        }
        share(&locks, to)?;
        let give_own = |directory: &Path, lock| {
            give_unless_alive(directory, lock, Patience::of(lock::DYING), to)?;
            open_directory(directory)
                .and_then(|open| open_to_owner(&open))
                .map_err(at(directory))
        };
        // Who takes back what was given takes what he can get.
        let of_run = give_own(&own_run, LOCK_FILE);
        let of_state = give_own(&own_state, LASTING_LOCK);
        of_run.and(of_state)?;
        self.give_others(&run, LOCK_FILE, to)?;
        self.give_others(&state, LASTING_LOCK, to)
    }

    /// What other instances left. Their dead are undone in a directory of this boot, which it takes
    /// root to make.
    fn give_others(&self, directory: &Path, lock: &str, to: Heir) -> Result<(), Ungiven> {
        let nobody = Patience::of(Duration::ZERO);
        let there = fs::read_dir(directory).map_err(at(directory))?;
        for entry in there.take(ENTRIES_MAX).flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let Some(instance) = name.to_str().and_then(instance_of) else {
                continue;
            };
            if self.needed().contains(&path) || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let dead = || {
                if lock == LASTING_LOCK && path.join(FILE_NAME).exists() {
                    let run = self.instance(instance);
                    resolve::make_directory(&run, 0o755).map_err(at(&run))?;
                    give_unless_alive(&run, LOCK_FILE, nobody, to)?;
                }
                give_unless_alive(&path, lock, nobody, to)
            };
            // This instance does not need it.
            if let Err(error) = dead() {
                warn!(%error, "Could not take over what a dead instance left behind");
            }
        }
        Ok(())
    }
}

/// Who else than root could put something in this directory of root's, and the command that mends
/// it.
fn objection(there: &Metadata) -> Option<(String, &'static str)> {
    if there.uid() != 0 {
        Some((format!("it belongs to user {}", there.uid()), "chown root"))
    } else if there.mode() & OTHERS_WRITE != 0 {
        let mode = there.mode() & 0o7777;
        Some((
            format!("others can write to it (mode {mode:04o})"),
            "chmod go-w",
        ))
    } else {
        None
    }
}

fn open_directory(path: &Path) -> io::Result<File> {
    let place = resolve::own(path)?;
    open_below(place.directory(), place.name())
}

fn open_below(directory: &File, name: &OsStr) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(directory, name, flags, Mode::empty()).map(File::from)?)
}

/// Lets the heir list a directory of root's and go through it, and no more: by its group, where
/// others may not. Of one that another group has nothing is taken away.
fn let_in(directory: &File, to: Heir) -> io::Result<()> {
    let there = directory.metadata()?;
    let is_open = there.mode() & OTHERS_LOOK == OTHERS_LOOK;
    if is_open || to.id == 0 || there.uid() != 0 || (there.gid() != 0 && there.gid() != to.id) {
        return Ok(());
    }
    // What is so already can stay on a file system that is read-only.
    let mode = there.mode() & 0o7707 | 0o050;
    if there.gid() == to.id && there.mode() & 0o7777 == mode {
        return Ok(());
    }
    fchown(directory, None, Some(Gid::from_raw(to.id)))?;
    Ok(fchmod(directory, Mode::from_bits_truncate(mode))?)
}

/// An engine that closes its own directory must not keep the next one from working in it.
fn open_to_owner(directory: &File) -> io::Result<()> {
    let mode = directory.metadata()?.mode() & 0o7777;
    if mode & 0o700 == 0o700 {
        Ok(())
    } else {
        Ok(fchmod(directory, Mode::from_bits_truncate(mode | 0o700))?)
    }
}

/// An instance's directory, unless a living one has it. One that was killed is waited for.
fn give_unless_alive(path: &Path, lock: &str, patience: Patience, to: Heir) -> Result<(), Ungiven> {
    let directory = open_directory(path).map_err(at(path))?;
    let lock = path.join(lock);
    // Of one that is the heir's already nothing is taken away.
    if !to.has(&directory.metadata().map_err(at(path))?) {
        while is_locked(&lock).map_err(at(&lock))? {
            if patience.left().is_zero() {
                return Ok(());
            }
            patience.pause(LOOK_AGAIN);
        }
    }
    give_tree(&directory, path, to, DEPTH_MAX)
}

/// The locks of virtual hosts are of all instances, also of those that cannot change their user and
/// stay root: the directory is root's, and the engine's group may make files in it.
fn share(locks: &Path, to: Heir) -> Result<(), Ungiven> {
    let directory = open_directory(locks).map_err(at(locks))?;
    let there = directory.metadata().map_err(at(locks))?;
    if !to.may_look(&there) {
        return Ok(());
    }
    let group = to.own.0;
    if (there.uid(), there.gid()) != (0, group) {
        fchown(
            &directory,
            Some(Uid::from_raw(0)),
            Some(Gid::from_raw(group)),
        )
        .map_err(|errno| at(locks)(errno.into()))?;
    }
    let mode = there.mode() & 0o7777 | SHARED_MODE;
    if mode != there.mode() & 0o7777 {
        fchmod(&directory, Mode::from_bits_truncate(mode))
            .map_err(|errno| at(locks)(errno.into()))?;
    }
    give_content(&directory, locks, to, 0)
}

fn is_locked(path: &Path) -> io::Result<bool> {
    resolve::own(path)?
        .open()?
        .map_or(Ok(false), |file| lock::is_locked(&file))
}

/// A directory with its files, and those below it, so deep.
fn give_tree(directory: &File, path: &Path, to: Heir, depth: usize) -> Result<(), Ungiven> {
    let there = directory.metadata().map_err(at(path))?;
    if !to.may_look(&there) {
        return Ok(());
    }
    give(directory, &there, to).map_err(at(path))?;
    give_content(directory, path, to, depth)
}

fn give_content(directory: &File, path: &Path, to: Heir, depth: usize) -> Result<(), Ungiven> {
    let listed = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    for entry in listed.map_err(at(path))?.take(ENTRIES_MAX) {
        let name = entry.map_err(at(path))?.file_name();
        let path = path.join(&name);
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // It may be gone by now.
        let Ok(file) = openat(directory, name.as_os_str(), flags, Mode::empty()).map(File::from)
        else {
            continue;
        };
        let found = file.metadata().map_err(at(&path))?;
        if let (true, Some(depth)) = (found.is_dir(), depth.checked_sub(1)) {
            let below = open_below(directory, &name).map_err(at(&path))?;
            give_tree(&below, &path, to, depth)?;
        } else if found.is_file() && found.nlink() == 1 && to.may_look(&found) {
            give(&file, &found, to).map_err(at(&path))?;
        }
    }
    Ok(())
}

fn give(file: &File, there: &Metadata, to: Heir) -> io::Result<()> {
    if to.has(there) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(to.id), Gid::from_raw(to.id));
    Ok(fchownat(
        file,
        "",
        Some(uid),
        Some(gid),
        AtFlags::AT_EMPTY_PATH,
    )?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    #[test]
    fn only_what_is_named_like_an_instance_is_one() {
        assert_eq!(instance_of("carpd-2fbbd5c3"), Some("carpd-2fbbd5c3"));
        assert_eq!(
            instance_of("my-web-2fbbd5c3@4026531840"),
            Some("my-web-2fbbd5c3")
        );
        for other in [
            "",
            "systemd",
            "helper",
            "locks",
            "carpd-2fbbd5c",
            "carpd-2fbbd5cg",
            "carpd-2fbbd5c3@",
            "carpd-2fbbd5c3@x",
            "2fbbd5c3",
        ] {
            assert_eq!(instance_of(other), None, "{other}");
        }
    }

    /// It takes root to give anything away.
    #[test]
    fn what_is_not_the_daemons_stays_as_it_is() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().canonicalize().unwrap().join(name);
        let origin = Origin { boot: 1, netns: 7 };
        for directory in [
            "run/systemd",
            "run/web-00000000@7",
            "run/dead-11111111@7",
            "state/dead-11111111/state",
        ] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        let files = [
            "run/systemd/unit",
            "run/web-00000000@7/journal",
            "run/dead-11111111@7/ledger",
            "state/dead-11111111/state/x",
        ];
        let foreign = [
            "outside",
            "state/dead-11111111/linked",
            "state/dead-11111111/theirs",
        ];
        for file in files.iter().chain(&foreign) {
            fs::write(at(file), "x").unwrap();
        }
        symlink(at("outside"), at("run/web-00000000@7/link")).unwrap();
        fs::hard_link(at("state/dead-11111111/linked"), at("other")).unwrap();
        chown(at("state/dead-11111111/theirs"), Some(1234), None).unwrap();
        fs::set_permissions(at("state"), fs::Permissions::from_mode(0o700)).unwrap();
        let (run_dir, state_dir, kept) = (at("run"), at("state"), at("state/helper"));
        let estate = Estate {
            run_dir: &run_dir,
            state_dir: &state_dir,
            name: "web-00000000",
            origin,
            kept: &kept,
        };
        let owner = |name: &str| fs::symlink_metadata(at(name)).unwrap().uid();
        let heir = Heir {
            id: 60_600,
            own: (60_600, 61_100),
        };
        estate.give(heir).unwrap();
        for given in [
            "run/web-00000000@7",
            "run/web-00000000@7/journal",
            "run/dead-11111111@7/ledger",
            "state/web-00000000",
            "state/dead-11111111/state/x",
        ] {
            assert_eq!(owner(given), 60_600, "{given}");
        }
        let kept = [
            "run",
            "run/locks",
            "state",
            "state/helper",
            "run/systemd",
            "run/systemd/unit",
            "run/web-00000000@7/link",
            "outside",
            "other",
        ];
        for other in kept {
            assert_eq!(owner(other), 0, "{other}");
        }
        assert_eq!(owner("state/dead-11111111/theirs"), 1234);
        let look = |name: &str| {
            fs::metadata(at(name))
                .map(|there| (there.mode() & 0o777, there.gid()))
                .unwrap()
        };
        assert_eq!((look("run"), look("state")), ((0o755, 0), (0o750, 60_600)));
        // Instances of root's make locks there, too.
        assert_eq!(look("run/locks"), (0o775, 60_600));
        // What root's group may do is not for the heir's, and what another group may stays as it
        // is.
        for (group, mode, expected) in [(0, 0o770, (0o750, 60_600)), (4, 0o770, (0o770, 4))] {
            chown(at("state"), Some(0), Some(group)).unwrap();
            fs::set_permissions(at("state"), fs::Permissions::from_mode(mode)).unwrap();
            estate.give(heir).unwrap();
            assert_eq!(look("state"), expected);
        }
        // An instance that lives, of a version whose engine is root, goes on.
        let living = [at("run/old-33333333@7"), at("state/old-33333333")];
        for (directory, lock) in living.iter().zip([LOCK_FILE, LASTING_LOCK]) {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join(FILE_NAME), "x").unwrap();
            fs::write(directory.join(lock), "x").unwrap();
        }
        let locks = [LOCK_FILE, LASTING_LOCK]
            .into_iter()
            .zip(&living)
            .map(|(lock, directory)| File::open(directory.join(lock)).unwrap());
        let locks: Vec<File> = locks.inspect(|lock| lock.try_lock().unwrap()).collect();
        estate.give(heir).unwrap();
        assert_eq!(owner("run/old-33333333@7/ledger"), 0);
        drop(locks);
        estate.give(heir).unwrap();
        assert_eq!(
            (
                owner("run/old-33333333@7/ledger"),
                owner("state/old-33333333/ledger")
            ),
            (60_600, 60_600)
        );
        // And back to root.
        estate.give(Heir { id: 0, ..heir }).unwrap();
        assert_eq!(
            (
                owner("state/dead-11111111/state/x"),
                owner("state/dead-11111111/theirs")
            ),
            (0, 1234)
        );
        assert_eq!(look("run/locks"), (0o775, 60_600), "for those that are not");
        // What is in the way is named, and keeps nothing else from being given.
        fs::remove_file(at("run/web-00000000@7/lock")).ok();
        nix::unistd::mkfifo(
            &at("run/web-00000000@7/lock"),
            nix::sys::stat::Mode::S_IRWXU,
        )
        .unwrap();
        assert_eq!(
            estate.give(heir).unwrap_err().to_string(),
            format!(
                "it could not take over {}: it is not a regular file",
                at("run/web-00000000@7/lock").display()
            )
        );
        assert_eq!(owner("state/web-00000000"), 60_600);
    }
}
