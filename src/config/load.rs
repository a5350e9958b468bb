//! The files that a configuration is and refers to. Reads; never writes.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::choice::{Choice as _, FileOwners};
use super::{Config, Loaded, Problem, Report, Severity, Surroundings, Unusable};
use crate::resolve::{self, Access, Refusal, Snapshot, Sources};
use crate::trust::{FILE_MAX, Trust};

/// Larger configurations are refused unread.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// What is read of a password file: enough to say that a password is too long.
const SECRET_BYTES_MAX: u64 = 4096;

/// The real surroundings: paths are relative to the directory of the configuration.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The directory of the configuration.
    pub directory: PathBuf,
    /// `$CREDENTIALS_DIRECTORY`, which systemd sets for `LoadCredential=`.
    pub credentials: Option<PathBuf>,
    /// Opens everything, and notes who else could write to it.
    pub sources: Sources,
}

impl Disk {
    /// For the configuration in this file, with the credentials of this process.
    #[must_use]
    pub fn beside(config: &Path, sources: Sources) -> Self {
        let parent = config
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let directory = sources
            .without_links(parent)
            .unwrap_or_else(|_| parent.to_owned());
        Self {
            directory,
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            sources,
        }
    }
}

impl Config {
    /// Reads and checks a configuration and everything it refers to, for the daemon: what others
    /// could write to is refused, or only warned of, as the configuration wants it (`file-owners`).
    ///
    /// # Errors
    /// A [`Report`] with every problem.
    pub fn load(path: &Path) -> Result<Loaded, Report> {
        Self::load_through(path, Access::own())
    }

    /// As [`Self::load`], opened by whom `access` says.
    ///
    /// # Errors
    /// A [`Report`] with every problem.
    pub fn load_through(path: &Path, access: Access) -> Result<Loaded, Report> {
        let sources = Sources::through(access);
        Self::read_in(path, &sources, &Disk::beside(path, sources.clone()))
            .and_then(|loaded| refuse(loaded, &sources))
    }

    /// As [`Self::load`], from a copy of the file, if there is one.
    ///
    /// # Errors
    /// A [`Report`] with every problem.
    pub fn load_copy(path: &Path, copy: Option<Arc<Snapshot>>) -> Result<Loaded, Report> {
        let sources = Sources::of_daemon().with_snapshot(copy);
        Self::read_in(path, &sources, &Disk::beside(path, sources.clone()))
            .and_then(|loaded| refuse(loaded, &sources))
    }

    /// Like [`Self::load`], but only to determine the grants: passwords are not read (the keys are
    /// not the real ones), and hooks need not exist.
    ///
    /// # Errors
    /// A [`Report`] with every problem.
    pub fn load_without_secrets(path: &Path) -> Result<Loaded, Report> {
        Self::load_copy_without_secrets(path, None)
    }

    /// As [`Self::load_without_secrets`], from a copy of the file, if there is one.
    ///
    /// # Errors
    /// A [`Report`] with every problem.
    pub fn load_copy_without_secrets(
        path: &Path,
        copy: Option<Arc<Snapshot>>,
    ) -> Result<Loaded, Report> {
        let sources = Sources::of_daemon().with_snapshot(copy);
        let around = WithoutSecrets(Disk::beside(path, sources.clone()));
        Self::read_in(path, &sources, &around).and_then(|loaded| refuse(loaded, &sources))
    }

    /// Like [`Self::load`], but only for inspection: `sources` has what others could write to.
    ///
    /// # Errors
    /// A [`Report`] with every problem.
    pub fn look(path: &Path, sources: &Sources) -> Result<Loaded, Report> {
        Self::read_in(path, sources, &Disk::beside(path, sources.clone()))
    }

    /// As [`Self::look`], for a file of whatever machine: passwords are not read, and hooks need not
    /// exist. Whoever could write to the files is not looked at.
    ///
    /// # Errors
    /// A [`Report`] with every problem.
    pub fn look_at_files(path: &Path) -> Result<Loaded, Report> {
        let sources = Sources::new(resolve::Trust::root());
        let around = WithoutSecrets(Disk::beside(path, sources.clone()));
        Self::read_in(path, &sources, &around)
    }

    /// As [`Self::look`], with what the file refers to from `around`.
    ///
    /// # Errors
    /// A [`Report`] with every problem.
    pub fn read_in(
        path: &Path,
        sources: &Sources,
        around: &dyn Surroundings,
    ) -> Result<Loaded, Report> {
        let name = path.display().to_string();
        let bytes = read_config(path, sources).map_err(|unread| {
            let hint = unread.hint(|| {
                "write it, or name another file; docs/configuration.md has an example".to_owned()
            });
            Report::unreadable(&name, unread.why, hint)
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = error
                .as_bytes()
                .iter()
                .take(error.utf8_error().valid_up_to())
                .filter(|b| **b == b'\n')
                .count()
                + 1;
            Report::unreadable(&name, format!("line {line} is not valid UTF-8"), None)
        })?;
        let loaded = Self::parse(&name, &text, around)?;
        for directory in [
            &loaded.config.daemon.run_dir,
            &loaded.config.daemon.state_dir,
        ] {
            sources.look_at_directory(directory);
        }
        Ok(loaded)
    }
}

/// Whether this file has `file-owners = "warn"`, whatever else is wrong with it, so that an error
/// elsewhere is what is reported.
#[must_use]
pub fn only_warns_of_owners(path: &Path, sources: &Sources) -> bool {
    let bytes = read_config(path, sources).unwrap_or_default();
    let table = str::from_utf8(&bytes).map(toml::from_str::<toml::Table>);
    let Ok(Ok(table)) = table else { return false };
    let said = table.get("daemon").and_then(|all| all.get("file-owners"));
    said.and_then(toml::Value::as_str)
        .and_then(FileOwners::from_word)
        == Some(FileOwners::Warn)
}

/// What the daemon does about files that others could write to: as the configuration wants it.
fn refuse(mut loaded: Loaded, sources: &Sources) -> Result<Loaded, Report> {
    let severity = match loaded.config.daemon.file_owners {
        FileOwners::Required => Severity::Error,
        FileOwners::Warn => Severity::Warning,
    };
    let problem = |refusal: &Refusal| Problem {
        severity,
        hint: refusal.mend(),
        ..Problem::error(
            None,
            format!("others could change what carpd reads: {refusal}"),
        )
    };
    loaded
        .report
        .problems
        .extend(sources.refusals().iter().map(problem));
    if loaded.report.has_errors() {
        Err(loaded.report)
    } else {
        Ok(loaded)
    }
}

/// Whose hooks a configuration trusts; its other tables are not read.
///
/// # Errors
/// A [`Report`] with every problem of that table.
pub fn load_trust(path: &Path) -> Result<Trust, Report> {
    let name = path.display().to_string();
    let sources = Sources::of_daemon();
    let bytes = read_config(path, &sources)
        .map_err(|unread| Report::unreadable(&name, unread.why, None))?;
    super::parse_trust(
        &name,
        &String::from_utf8_lossy(&bytes),
        &Disk::beside(path, sources),
    )
}

/// A file that could not be read.
struct Unread {
    why: String,
    /// There is no such file.
    absent: bool,
}

impl Unread {
    /// What to do where there is no such file.
    fn hint(&self, words: impl FnOnce() -> String) -> Option<String> {
        self.absent.then(words)
    }
}

fn read_config(path: &Path, sources: &Sources) -> Result<Vec<u8>, Unread> {
    let failed = |err: io::Error| Unread {
        why: format!("cannot read the configuration: {err}"),
        absent: err.kind() == io::ErrorKind::NotFound,
    };
    let mut bytes = Vec::new();
    sources
        .open(path)
        .and_then(|file| file.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(Unread {
            why: format!(
                "the configuration is larger than {} KiB",
                CONFIG_BYTES_MAX >> 10
            ),
            absent: false,
        });
    }
    Ok(bytes)
}

/// Opens a regular file. Looks before it opens: opening a pipe or a device may block or do
/// something.
fn open(path: &Path, sources: &Sources) -> Result<File, String> {
    sources.open(path).map_err(|err| err.to_string())
}

fn read_secret(file: File) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(64);
    file.take(SECRET_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    Ok(bytes)
}

impl Surroundings for Disk {
    fn password_file(&self, path: &Path) -> Result<Vec<u8>, Unusable> {
        let path = self.directory.join(path);
        let file = self.sources.open(&path).map_err(|why| Unusable {
            message: format!("cannot read {}: {why}", path.display()),
            hint: (why.kind() == io::ErrorKind::NotFound).then(|| {
                format!(
                    "write it, the same on every node: (umask 077; echo PASSWORD > {})",
                    path.display()
                )
            }),
        })?;
        // Asked of the open file: what is checked is what is read.
        let metadata = file
            .metadata()
            .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            let message = format!(
                "{} is accessible to users other than its owner (mode {mode:04o})",
                path.display()
            );
            return Err(Unusable {
                message,
                hint: Some(format!("remove their access: chmod go= {}", path.display())),
            });
        }
        Ok(read_secret(file).map_err(|why| format!("cannot read {}: {why}", path.display()))?)
    }

    fn credential(&self, name: &str) -> Result<Vec<u8>, Unusable> {
        let Some(directory) = &self.credentials else {
            let message =
                format!("there is no credential {name:?}: CREDENTIALS_DIRECTORY is not set");
            let hint = format!(
                "credentials come from systemd: LoadCredential={name}:/path/of/the/password"
            );
            return Err(Unusable {
                message,
                hint: Some(hint),
            });
        };
        let path = directory.join(name);
        Ok(open(&path, &self.sources)
            .and_then(read_secret)
            .map_err(|why| format!("cannot read the credential {}: {why}", path.display()))?)
    }

    fn key_file(&self, path: &Path) -> Result<Vec<u8>, Unusable> {
        let path = self.directory.join(path);
        let read = |file: File| {
            let mut bytes = Vec::new();
            file.take(FILE_MAX)
                .read_to_end(&mut bytes)
                .map_err(|e| e.to_string())?;
            Ok(bytes)
        };
        Ok(open(&path, &self.sources)
            .and_then(read)
            .map_err(|why| format!("cannot read the key {}: {why}", path.display()))?)
    }

    fn hook_file(&self, path: &Path) -> Result<PathBuf, Unusable> {
        let path = self.directory.join(path);
        open(&path, &self.sources)
            .map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        Ok(path)
    }
}

/// The real surroundings, but for what only the engine needs.
struct WithoutSecrets(Disk);

/// In place of every password.
const NO_PASSWORD: &[u8] = b"-";

impl Surroundings for WithoutSecrets {
    fn password_file(&self, _: &Path) -> Result<Vec<u8>, Unusable> {
        Ok(NO_PASSWORD.to_vec())
    }

    fn credential(&self, _: &str) -> Result<Vec<u8>, Unusable> {
        Ok(NO_PASSWORD.to_vec())
    }

    fn key_file(&self, path: &Path) -> Result<Vec<u8>, Unusable> {
        self.0.key_file(path)
    }

    fn hook_file(&self, path: &Path) -> Result<PathBuf, Unusable> {
        Ok(self.0.directory.join(path))
    }
}
