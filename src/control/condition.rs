//! Why a daemon does not answer: what its processes look like from outside, whether or not it ever
//! speaks again.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use crate::host::clock;
use crate::keeper::failsafe::{self, Heartbeat, Reader};
use crate::ledger::Holder;
use crate::process::Process;

/// An engine whose loop has not come round for this long is not just busy, since it comes round at
/// least twice a second.
const SILENT: Duration = Duration::from_secs(1);

/// What is wrong with a daemon, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The end of a sentence that begins "the daemon does not answer: ".
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Trouble {
    /// It listens, and nothing can be seen of what keeps it.
    pub(super) fn unexplained() -> Self {
        Self {
            message: "it looks fine from here, but others are waiting for it too, or its answer did not arrive"
                .to_owned(),
            hint: "see its log, or run this as root with all privileges, which shows whether it hangs"
                .to_owned(),
        }
    }
}

/// The processes of one daemon.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    engine: Option<u32>,
    keeper: Option<u32>,
    lock: Lock,
}

/// What the lock of its directory says, which ends with its engine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lock {
    /// Nothing: there is none, or its engine was found without it.
    Unknown,
    /// Somebody has it.
    Held,
    /// It is not locked: the process that has this pid by now is another one.
    Free,
    /// It cannot be accessed.
    Closed(String),
}

impl Lock {
    fn of(instance_dir: &Path) -> Self {
        match Holder::is_there(instance_dir) {
            Ok(Some(true)) => Self::Held,
            Ok(Some(false)) => Self::Free,
            Ok(None) => Self::Unknown,
            Err(error) => Self::Closed(format!("{}: {error}", instance_dir.display())),
        }
    }
}

impl Daemon {
    /// The one whose engine listens at the other end, or whose directory this is.
    pub(super) fn of(listener: Option<u32>, instance_dir: &Path) -> Self {
        // A process in another namespace cannot be inspected, and its pids mean nothing here.
        let holder = Holder::of(instance_dir);
        let engine = listener.or_else(|| holder.map(|holder| holder.pid));
        let parent = listener
            .and_then(Process::look)
            .map(|engine| engine.parent)
            .filter(|parent| *parent != 0);
        Self {
            engine,
            keeper: parent.or_else(|| holder.and_then(|holder| holder.parent)),
            lock: if listener.is_some() {
                Lock::Unknown
            } else {
                Lock::of(instance_dir)
            },
        }
    }

    /// What keeps it from answering; `None` if it looks well.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        if let Lock::Closed(why) = &self.lock {
            return Some(Trouble {
                message: format!("it cannot be determined whether it is running: {why}"),
                hint: "run this as root, or as the user of the daemon".to_owned(),
            });
        }
        let engine = self.engine?;
        let keeper = self
            .keeper
            .and_then(Process::look)
            .filter(|process| !process.ending);
        let seen = Process::look(engine).filter(|_| self.lock != Lock::Free);
        if seen.is_none() && self.lock == Lock::Held {
            return Some(Trouble {
                message: format!("it runs where it is not visible from here (pid {engine} there)"),
                hint: "run this in its process namespace, or as root".to_owned(),
            });
        }
        let Some(process) = seen.filter(|process| !process.ending) else {
            return Some(dead(engine, keeper.as_ref()));
        };
        let Process { pid, state, .. } = process;
        if process.is_stopped() {
            let message = format!("its engine is stopped (pid {pid}, state {state})");
            return Some(Trouble {
                message,
                hint: stopped_hint(pid, keeper.as_ref()),
            });
        }
        if process.is_frozen() {
            let message = format!("its control group is frozen (engine: pid {pid}, state {state})");
            return Some(Trouble {
                message,
                hint: "thaw it: `systemctl thaw UNIT`, or `unpause` of the container".to_owned(),
            });
        }
        let beat = heartbeat(pid).map(|beat| (beat, clock::now().since(beat.at)));
        let Some((Heartbeat { limit, .. }, silent)) = beat.filter(|(_, silent)| *silent >= SILENT)
        else {
            return keeper
                .filter(Process::is_stopped)
                .map(|keeper| waits_for(&keeper));
        };
        let message = format!(
            "its engine hangs (pid {pid}, state {state}): silent for {:.1} s",
            silent.as_secs_f64()
        );
        let hint = match keeper {
            Some(keeper) if !keeper.is_stopped() => {
                format!(
                    "its keeper (pid {}) kills it after {:.1} s and starts a new one",
                    keeper.pid,
                    limit.as_secs_f64()
                )
            }
            Some(keeper) => format!(
                "its keeper is stopped, too: `kill -CONT {}` lets it continue",
                keeper.pid
            ),
            None => format!(
                "its keeper, which would kill it, is gone: run `kill -KILL {pid}`, then start it again"
            ),
        };
        Some(Trouble { message, hint })
    }
}

/// The engine is well, and waits for a process that its keeper does not start: for a reload it
/// needs some.
fn waits_for(keeper: &Process) -> Trouble {
    let Process { pid, state, .. } = keeper;
    Trouble {
        message: format!(
            "its keeper is stopped (pid {pid}, state {state}), which starts its processes"
        ),
        hint: format!("`kill -CONT {pid}` lets it continue; it may then still do what was asked"),
    }
}

fn dead(engine: u32, keeper: Option<&Process>) -> Trouble {
    match keeper {
        Some(keeper) if keeper.is_stopped() => Trouble {
            message: format!(
                "its engine is dead (pid {engine}), and its keeper is stopped (pid {}, state {})",
                keeper.pid, keeper.state
            ),
            hint: format!("`kill -CONT {}` lets it start a new engine", keeper.pid),
        },
        Some(keeper) => Trouble {
            message: format!("its engine is dead (pid {engine}); its keeper (pid {}) starts a new one", keeper.pid),
            hint: "ask again in a moment; its log and `carpd why` say what happened".to_owned(),
        },
        None => Trouble {
            message: format!("it is dead (pid {engine})"),
            hint: "`carpd run` starts it again and undoes what it left behind; `carpd cleanup` only does the latter".to_owned(),
        },
    }
}

fn stopped_hint(engine: u32, keeper: Option<&Process>) -> String {
    match keeper {
        Some(keeper) if !keeper.is_stopped() => {
            format!(
                "its keeper (pid {}) will kill it in a few seconds and start a new one, unless it continues before that",
                keeper.pid
            )
        }
        Some(keeper) => format!(
            "its keeper is stopped, too: `kill -CONT {} {engine}` lets them continue",
            keeper.pid
        ),
        None => format!("`kill -CONT {engine}` lets it continue"),
    }
}

/// The engine's last sign of life, from the memory file that it has open for its keeper. `None` if
/// we may not look.
fn heartbeat(engine: u32) -> Option<Heartbeat> {
    let memory_file = |link: &Path| {
        link.as_os_str()
            .to_string_lossy()
            .starts_with(&format!("/memfd:{}", failsafe::FILE_NAME))
    };
    let descriptors = fs::read_dir(format!("/proc/{engine}/fd"))
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let path = descriptors
        .into_iter()
        .find(|path| fs::read_link(path).is_ok_and(|link| memory_file(&link)))?;
    Reader::new(File::open(path).ok()?.into()).heartbeat()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, waitpid};
    use nix::unistd::Pid;

    use super::*;
    use crate::types::Timestamp;

    fn child() -> (Child, u32) {
        crate::process::limit::begin();
        let child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        (child, pid)
    }

    fn signal(pid: u32, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap());
        kill(pid, signal).unwrap();
        if signal == Signal::SIGSTOP {
            waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        } else {
            waitpid(pid, Some(WaitPidFlag::WCONTINUED)).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_seen_from_outside() {
        let ((mut engine, e), (mut keeper, k)) = (child(), child());
        let daemon = Daemon {
            engine: Some(e),
            keeper: Some(k),
            lock: Lock::Unknown,
        };
        assert_eq!(daemon.trouble(), None);
        signal(k, Signal::SIGSTOP);
        let trouble = daemon.trouble().unwrap();
        assert!(
            trouble
                .message
                .starts_with(&format!("its keeper is stopped (pid {k}, state T)"))
                && trouble.hint.starts_with(&format!("`kill -CONT {k}`")),
            "{trouble:?}"
        );
        signal(k, Signal::SIGCONT);
        assert_eq!(daemon.trouble(), None);
        signal(e, Signal::SIGSTOP);
        let trouble = daemon.trouble().unwrap();
        assert_eq!(
            trouble.message,
            format!("its engine is stopped (pid {e}, state T)")
        );
        assert!(
            trouble
                .hint
                .starts_with(&format!("its keeper (pid {k}) will kill it")),
            "{trouble:?}"
        );
        signal(k, Signal::SIGSTOP);
        assert!(
            daemon
                .trouble()
                .unwrap()
                .hint
                .contains(&format!("`kill -CONT {k} {e}`"))
        );
        engine.kill().unwrap();
        assert!(
            daemon
                .trouble()
                .unwrap()
                .message
                .contains(&format!("dead (pid {e}), and its keeper is stopped"))
        );
        signal(k, Signal::SIGCONT);
        engine.wait().unwrap();
        assert!(
            daemon
                .trouble()
                .unwrap()
                .message
                .ends_with("starts a new one")
        );
        keeper.kill().unwrap();
        assert_eq!(
            daemon.trouble().unwrap().message,
            format!("it is dead (pid {e})")
        );
        keeper.wait().unwrap();
        let unknown = Daemon {
            engine: None,
            keeper: None,
            lock: Lock::Unknown,
        };
        assert_eq!(unknown.trouble(), None, "who cannot be seen is not judged");
    }

    #[test]
    fn only_a_lock_that_is_free_makes_a_number_a_dead_daemons() {
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join("lock");
        let look = || Daemon::of(None, directory.path()).trouble();
        assert_eq!(look(), None, "there is none");
        // No process has this number here.
        std::fs::write(&lock, "4194305 4194306\n").unwrap();
        assert_eq!(look().unwrap().message, "it is dead (pid 4194305)");
        let file = File::open(&lock).unwrap();
        file.try_lock().unwrap();
        assert_eq!(
            look().unwrap().message,
            "it runs where it is not visible from here (pid 4194305 there)"
        );
        drop(file);
        // Somebody else has the number by now.
        let (mut other, pid) = child();
        std::fs::write(&lock, format!("{pid} 4194306\n")).unwrap();
        assert_eq!(look().unwrap().message, format!("it is dead (pid {pid})"));
        other.kill().unwrap();
        other.wait().unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        std::fs::set_permissions(directory.path(), closed).unwrap();
        std::thread::scope(|scope| {
            // Capabilities are a thread's.
            let look_without_rights = || {
                for right in [
                    caps::Capability::CAP_DAC_OVERRIDE,
                    caps::Capability::CAP_DAC_READ_SEARCH,
                ] {
                    caps::drop(None, caps::CapSet::Effective, right).unwrap();
                }
                look().unwrap().message
            };
            let message = scope.spawn(look_without_rights).join().unwrap();
            assert!(
                message.starts_with("it cannot be determined whether it is running: "),
                "{message}"
            );
        });
    }

    #[test]
    fn an_engine_whose_loop_does_not_come_round_hangs() {
        // What has the memory file open is the engine.
        let (mut writer, theirs) = failsafe::Writer::create().unwrap();
        let mut engine = Command::new("tail")
            .args(["-f", "/dev/null"])
            .stdin(theirs)
            .spawn()
            .unwrap();
        let daemon = Daemon {
            engine: Some(engine.id()),
            keeper: None,
            lock: Lock::Unknown,
        };
        assert_eq!(daemon.trouble(), None, "before the first beat");
        writer
            .beat(Heartbeat {
                at: clock::now(),
                limit: Duration::from_secs(10),
            })
            .unwrap();
        assert_eq!(daemon.trouble(), None);
        writer
            .beat(Heartbeat {
                at: Timestamp::ZERO,
                limit: Duration::from_secs(10),
            })
            .unwrap();
        let trouble = daemon.trouble().unwrap();
        assert!(
            trouble.message.starts_with("its engine hangs (pid "),
            "{trouble:?}"
        );
        engine.kill().unwrap();
        engine.wait().unwrap();
    }
}
