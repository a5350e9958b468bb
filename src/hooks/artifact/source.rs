//! Reading a hook from disk: once, into memory, so that what is checked is what runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::hooks::{HookSource, Language};
use crate::resolve::{Listing, Modules, Refusal, Sources, Unlisted};
use crate::types::Name;

/// The most modules of one hook.
pub const MAX_MODULES: usize = 256;
/// The largest single file, in bytes.
pub const MAX_FILE: u64 = 1 << 20;
/// All files of a hook together, in bytes.
pub const MAX_TOTAL: u64 = 8 << 20;
/// The longest path of a module below the hook's directory, in bytes.
const MAX_KEY: usize = 200;
/// How deep directories may nest; what lies deeper is left out.
pub const MAX_DEPTH: usize = 8;
/// The most files and directories that are searched for modules.
const MAX_ENTRIES: usize = 20_000;

/// Why a hook could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The system would not let us.
    #[error("could not read {}: {err}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        err: io::Error,
    },
    /// The ending names no language.
    #[error("{}: a hook is a .lua, .luau or .wasm file", .0.display())]
    Language(PathBuf),
    /// Not a regular file.
    #[error("{}: not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// A file or all of them are too large, or there are too many.
    #[error("{}: {what}", path.display())]
    TooMuch {
        /// Which file or directory.
        path: PathBuf,
        /// Which limit.
        what: String,
    },
}

impl From<Unlisted> for SourceError {
    fn from(Unlisted { path, why }: Unlisted) -> Self {
        match why {
            Listing::Io(err) => Self::Io { path, err },
            Listing::TooMuch(what) => Self::TooMuch { path, what },
        }
    }
}

impl HookSource {
    /// Reads the hook's file and, for Lua, the `.lua` and `.luau` files below its directory;
    /// `_test.lua` and `_test.luau` files, hidden ones, and symbolic links that lead out of the
    /// directory are left out.
    ///
    /// Who else could write to what the hook is made of is in `sources`.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn read(
        name: Name,
        path: &Path,
        config_json: String,
        sources: &Sources,
    ) -> Result<Self, SourceError> {
        let language = match path.extension().and_then(|e| e.to_str()) {
            Some("lua" | "luau") => Language::Lua,
            Some("wasm") => Language::Wasm,
            _ => return Err(SourceError::Language(path.to_owned())),
        };
        let mut total = 0;
        let limit = if language == Language::Wasm {
            MAX_TOTAL
        } else {
            MAX_FILE
        };
        let main = read_file(path, limit, &mut total, sources)?;
        let path_text = path.display().to_string();
        let mut source = Self {
            name,
            language,
            path: path_text,
            main,
            modules: BTreeMap::new(),
            config_json,
            native: None,
        };
        if language == Language::Lua {
            let Modules { root, keys } = match sources.access().opener() {
                Some(opener) => opener.modules(path)?,
                None => modules(path)?,
            };
            let mut foreign = Vec::new();
            for key in keys {
                let sources = sources.anew();
                let bytes = read_file(&root.join(&key), MAX_FILE, &mut total, &sources)?;
                foreign.push((key.clone(), sources.refusals()));
                source.modules.insert(key, bytes);
            }
            source.note_of_modules(foreign, sources);
        }
        Ok(source)
    }

    /// Records who else could write to the files of the modules with these keys. Other files next
    /// to the hook may belong to anyone.
    pub(in crate::hooks) fn note_of_modules(
        &self,
        mut foreign: Vec<(String, Vec<Refusal>)>,
        sources: &Sources,
    ) {
        foreign.retain(|(_, refusals)| !refusals.is_empty());
        if foreign.is_empty() {
            return;
        }
        let required = self.required();
        let counts = |key: &String| required.as_ref().is_none_or(|some| some.contains(key));
        sources.note(
            foreign
                .into_iter()
                .filter(|(key, _)| counts(key))
                .flat_map(|(_, refusals)| refusals),
        );
    }
}

impl HookSource {
    /// SHA-256 of everything that the hook is made of: its file, the modules that it can require,
    /// its configuration. What else lies beside it does not count.
    #[must_use]
    pub fn digest(&self) -> String {
        let required = self.required();
        let mut hash = Sha256::new();
        let mut feed = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        feed(&self.main);
        feed(self.config_json.as_bytes());
        for (path, content) in self
            .modules
            .iter()
            .filter(|(path, _)| required.as_ref().is_none_or(|some| some.contains(*path)))
        {
            feed(path.as_bytes());
            feed(content);
        }
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl HookSource {
    /// Whether the hook can require a module in one of these files.
    #[must_use]
    pub(crate) fn can_require(&self, files: &BTreeSet<PathBuf>) -> bool {
        let found = |key: &&String| files.iter().any(|file| file.ends_with(key));
        let mut found = self.modules.keys().filter(found).peekable();
        if found.peek().is_none() {
            return false;
        }
        let required = self.required();
        found.any(|key| required.as_ref().is_none_or(|some| some.contains(key)))
    }
}

impl HookSource {
    /// The modules that the hook can require; `None` if that may be any.
    #[cfg(feature = "lua")]
    fn required(&self) -> Option<BTreeSet<String>> {
        (self.language == Language::Lua)
            .then(|| crate::hooks::runtime::lua::check::required(&self.main, &self.modules))
            .flatten()
    }

    #[cfg(not(feature = "lua"))]
    const fn required(&self) -> Option<BTreeSet<String>> {
        None
    }
}

/// Where the test of a hook is: `failover_test.lua` beside `failover.lua`, and beside
/// `failover.wasm`.
#[must_use]
pub fn test_path(hook: &Path) -> PathBuf {
    let [luau, lua] = tests(hook);
    if luau.exists() { luau } else { lua }
}

/// The test beside a hook; `None` if it has none.
///
/// # Errors
/// [`SourceError`]: it is there, and cannot be read or is too large.
pub fn test_beside(
    hook: &Path,
    sources: &Sources,
) -> Result<Option<(PathBuf, Vec<u8>)>, SourceError> {
    for path in tests(hook) {
        match read_file(&path, MAX_FILE, &mut 0, sources) {
            Ok(text) => return Ok(Some((path, text))),
            Err(SourceError::Io { err, .. }) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
    }
    Ok(None)
}

/// All the names that the test of a hook may have; the first one that is there is taken.
#[must_use]
pub fn tests(hook: &Path) -> [PathBuf; 2] {
    let stem = hook.file_stem().unwrap_or_default().to_string_lossy();
    ["luau", "lua"].map(|ending| hook.with_file_name(format!("{stem}_test.{ending}")))
}

fn failed(path: &Path, err: io::Error) -> SourceError {
    SourceError::Io {
        path: path.to_owned(),
        err,
    }
}

/// Reads a regular file, at most `limit` bytes of it.
pub(in crate::hooks) fn read_file(
    path: &Path,
    limit: u64,
    total: &mut u64,
    sources: &Sources,
) -> Result<Vec<u8>, SourceError> {
    let file = sources.open(path).map_err(|err| match err.kind() {
        io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => {
            SourceError::NotAFile(path.to_owned())
        }
        _ => failed(path, err),
    })?;
    let mut bytes = Vec::new();
    let read = file
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|err| failed(path, err))? as u64;
    *total += read;
    let too_much = |what: String| SourceError::TooMuch {
        path: path.to_owned(),
        what,
    };
    if read > limit {
        return Err(too_much(format!("larger than {limit} bytes")));
    }
    if *total > MAX_TOTAL {
        return Err(too_much(format!(
            "the hook's files together are larger than {MAX_TOTAL} bytes"
        )));
    }
    Ok(bytes)
}

/// The modules of the hook in this file: Lua below its directory that is no test, not hidden, and
/// not elsewhere behind a link.
///
/// # Errors
/// The system's, or that there is too much.
pub fn modules(hook: &Path) -> Result<Modules, Unlisted> {
    let main = fs::canonicalize(hook).map_err(|err| unlisted(hook, err))?;
    let directory = directory(hook);
    let root = fs::canonicalize(directory).map_err(|err| unlisted(directory, err))?;
    let mut walk = Walk {
        root: &root,
        main: &main,
        keys: Vec::new(),
        entries: 0,
    };
    walk.directory(&root, "", MAX_DEPTH)?;
    let keys = walk.keys;
    Ok(Modules { root, keys })
}

/// The directory that a hook's file is named in.
#[must_use]
pub fn directory(hook: &Path) -> &Path {
    hook.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// May this be the path of a module below a hook's directory?
#[must_use]
pub fn is_key(path: &Path) -> bool {
    let parts: Option<Vec<&str>> = path
        .components()
        .map(|part| part.as_os_str().to_str())
        .collect();
    let Some(parts) = parts else { return false };
    let plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    plain
        && parts.len() <= MAX_DEPTH
        && path.as_os_str().len() <= MAX_KEY
        && !parts.iter().any(|part| part.starts_with('.'))
        && parts.last().is_some_and(|name| is_module(name))
}

fn unlisted(path: &Path, err: io::Error) -> Unlisted {
    Unlisted {
        path: path.to_owned(),
        why: Listing::Io(err),
    }
}

/// A walk through a hook's directory.
struct Walk<'a> {
    root: &'a Path,
    main: &'a Path,
    keys: Vec<String>,
    entries: usize,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Path, prefix: &str, depth: usize) -> Result<(), Unlisted> {
        let Some(depth) = depth.checked_sub(1) else {
            return Ok(());
        };
        let entries = fs::read_dir(directory).map_err(|err| unlisted(directory, err))?;
        for entry in entries {
            let entry = entry.map_err(|err| unlisted(directory, err))?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                let what = format!(
                    "more than {MAX_ENTRIES} files and directories next to and below the hook; give it its own directory"
                );
                return Err(Unlisted {
                    path: self.root.to_owned(),
                    why: Listing::TooMuch(what),
                });
            }
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str().filter(|n| !n.starts_with('.')) else {
                continue;
            };
            let key = if prefix.is_empty() {
                file_name.to_owned()
            } else {
                format!("{prefix}/{file_name}")
            };
            // What a link points to, as long as it stays below the root; a dangling one is nothing.
            let Ok(real) = fs::canonicalize(entry.path()) else {
                continue;
            };
            if !real.starts_with(self.root) || real == self.main {
                continue;
            }
            if real.is_dir() {
                // A link to a directory could form a loop.
                if !entry.path().is_symlink() {
                    self.directory(&real, &key, depth)?;
                }
            } else if is_module(file_name) && real.is_file() {
                self.module(&entry.path(), key)?;
            }
        }
        Ok(())
    }

    fn module(&mut self, path: &Path, key: String) -> Result<(), Unlisted> {
        let too_much = |what: String| Unlisted {
            path: path.to_owned(),
            why: Listing::TooMuch(what),
        };
        if self.keys.len() >= MAX_MODULES {
            return Err(too_much(format!(
                "more than {MAX_MODULES} modules next to the hook; give it its own directory"
            )));
        }
        if key.len() > MAX_KEY {
            return Err(too_much(format!(
                "its path below the hook's directory is longer than {MAX_KEY} bytes"
            )));
        }
        self.keys.push(key);
        Ok(())
    }
}

fn is_module(file_name: &str) -> bool {
    let stem = file_name
        .strip_suffix(".lua")
        .or_else(|| file_name.strip_suffix(".luau"));
    stem.is_some_and(|stem| !stem.ends_with("_test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Result<HookSource, SourceError> {
        HookSource::read(
            "h".parse().unwrap(),
            path,
            "{}".into(),
            &Sources::of_daemon(),
        )
    }

    #[test]
    fn modules_are_found_below_the_directory_and_nowhere_else() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("secret.lua"), "return 1").unwrap();
        let root = outer.path().join("hook");
        fs::create_dir_all(root.join("lib/deep")).unwrap();
        for file in [
            "main.lua",
            "a.lua",
            "a_test.lua",
            "lib/b.luau",
            "lib/deep/c.lua",
            ".hidden.lua",
            "notes.txt",
        ] {
            fs::write(root.join(file), "return 1").unwrap();
        }
        std::os::unix::fs::symlink("../secret.lua", root.join("out.lua")).unwrap();
        std::os::unix::fs::symlink("a.lua", root.join("alias.lua")).unwrap();
        std::os::unix::fs::symlink("..", root.join("circle")).unwrap();
        let source = read(&root.join("main.lua")).unwrap();
        assert_eq!(
            source.modules.keys().collect::<Vec<_>>(),
            ["a.lua", "alias.lua", "lib/b.luau", "lib/deep/c.lua"]
        );
    }

    #[test]
    fn the_test_beside_a_hook_is_found_whatever_the_hook_is_written_in() {
        let root = tempfile::tempdir().unwrap();
        let hook = root.path().join("failover.wasm");
        assert!(test_beside(&hook, &Sources::of_daemon()).unwrap().is_none());
        fs::write(root.path().join("failover_test.lua"), "one").unwrap();
        let (path, text) = test_beside(&hook, &Sources::of_daemon()).unwrap().unwrap();
        assert_eq!(
            (path, text.as_slice()),
            (root.path().join("failover_test.lua"), b"one".as_slice())
        );
        fs::create_dir(root.path().join("failover_test.luau")).unwrap();
        assert!(matches!(
            test_beside(&hook, &Sources::of_daemon()),
            Err(SourceError::NotAFile(_))
        ));
    }

    #[test]
    fn limits_and_odd_files_are_typed_errors() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        assert!(matches!(
            read(&path("hook.py")),
            Err(SourceError::Language(_))
        ));
        assert!(matches!(
            read(&path("none.lua")),
            Err(SourceError::Io { .. })
        ));
        nix::unistd::mkfifo(&path("fifo.lua"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(
            read(&path("fifo.lua")),
            Err(SourceError::NotAFile(_))
        ));
        fs::write(path("big.lua"), vec![b' '; 1 + (1 << 20)]).unwrap();
        assert!(matches!(
            read(&path("big.lua")),
            Err(SourceError::TooMuch { .. })
        ));
        fs::remove_file(path("big.lua")).unwrap();
        for i in 0..=MAX_MODULES {
            fs::write(path(&format!("m{i}.lua")), "").unwrap();
        }
        let err = read(&path("m0.lua")).map(|source| source.modules.len());
        assert_eq!(err.unwrap(), MAX_MODULES);
        fs::write(path("one-more.lua"), "").unwrap();
        assert!(matches!(
            read(&path("m0.lua")),
            Err(SourceError::TooMuch { .. })
        ));
    }
}
