//! The files of a host that checks read, below a root of its own in tests.

use std::fs;
use std::path::PathBuf;

/// The most that is read of a file, in bytes: those of an administrator are far smaller.
const FILE_MAX: u64 = 4 << 20;
/// The most files that are looked at below a directory.
const FILES_MAX: usize = 2_000;

/// A host's files.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The host that this runs on.
    pub(super) fn here() -> Self {
        Self { root: "/".into() }
    }

    /// A host whose files are below a directory.
    #[cfg(test)]
    pub(super) fn below(root: &std::path::Path) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file; `None` if it cannot be read, or is too large to be one of these.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let path = self.path(path);
        let is_sane =
            fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= FILE_MAX);
        let bytes = if is_sane {
            fs::read(path).ok()?
        } else {
            return None;
        };
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The first word of a file.
    pub(super) fn word(&self, path: &str) -> Option<String> {
        let text = self.read(path)?;
        text.split_whitespace().next().map(str::to_owned)
    }

    /// A number in a file, as those of `/proc/sys`.
    pub(super) fn number(&self, path: &str) -> Option<i64> {
        self.word(path)?.parse().ok()
    }

    /// A setting of the kernel, for a device: the larger of that of all and its own.
    pub(super) fn of_device(&self, family: &str, device: &str, key: &str) -> Option<i64> {
        let value = |of: &str| self.number(&format!("/proc/sys/net/{family}/conf/{of}/{key}"));
        match (value("all"), value(device)) {
            (Some(all), Some(own)) => Some(all.max(own)),
            (all, own) => own.or(all),
        }
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        // A link that leads nowhere, as from one root into another, is there as well.
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    /// The names in a directory, sorted.
    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<String> = entries
            .take(FILES_MAX)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The paths of what is in a directory and ends like this.
    pub(super) fn files(&self, directory: &str, ending: &str) -> Vec<String> {
        self.names(directory)
            .into_iter()
            .filter(|name| name.ends_with(ending))
            .map(|name| format!("{directory}/{name}"))
            .collect()
    }
}
