//! Finds which hooks to test, with which test file and which grants.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Args;
use crate::cli::foresee::owners;
use crate::cli::{Exit, Failure, output};
use crate::config::{self, Report, Surroundings, Unusable};
use crate::effect::Grants;
use crate::engine::hook_test::{self, HookTest, TestHook};
use crate::hooks::artifact::source;
use crate::hooks::process::session::SandboxPolicy;
use crate::hooks::{HookSource, Language};
use crate::resolve::{Sources, Trust};
use crate::types::Name;

/// The limit, in real time, for one test file.
const LIMIT: Duration = Duration::from_mins(10);
/// The configuration to look for if none is given.
const CONFIG_FILE: &str = "carpd.toml";
/// How deep directories are walked.
const DEPTH: usize = 16;

/// A hook and its test.
#[derive(Debug)]
pub(super) struct Pair {
    /// What to run.
    pub(super) exam: HookTest,
    /// The component, to determine what it could call; `None` for Lua.
    pub(super) component: Option<Vec<u8>>,
}

/// Everything that was found to run.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) pairs: Vec<Pair>,
    /// Tests that cannot be run because their hook is missing; they must not go unnoticed.
    pub(super) lost: Vec<Failure>,
}

/// Finds everything to run, in the order of the paths.
pub(super) fn find(args: &Args) -> Result<Found, Failure> {
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    let sources = Sources::new(Trust::root());
    for path in &args.paths {
        for of_test in named(path)? {
            match of_test {
                Ok(pairs) => {
                    for (hook, test) in pairs {
                        if seen.insert((hook.clone(), test.clone())) {
                            found.pairs.push(pair(args, &hook, &test, &sources)?);
                        }
                    }
                }
                Err(lost) => found.lost.push(lost),
            }
        }
    }
    owners::tell(&sources.refusals());
    Ok(found)
}

/// The directories whose files a run depends on, for watching.
pub(super) fn directories(args: &Args) -> BTreeSet<PathBuf> {
    let directory = |path: &PathBuf| {
        if path.is_dir() {
            path.clone()
        } else {
            parent(path)
        }
    };
    let extra = [&args.config, &args.grants].into_iter().flatten();
    args.paths.iter().chain(extra).map(directory).collect()
}

fn parent(path: &Path) -> PathBuf {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// A test with each of its hooks.
type OfTest = Result<Vec<(PathBuf, PathBuf)>, Failure>;

/// Hooks and test for each file that a path names. In a directory, a file that is not a test of a
/// hook is skipped with a note.
fn named(path: &Path) -> Result<Vec<OfTest>, Failure> {
    let no = |why: String| Failure::new(Exit::Failure, why);
    if path.is_dir() {
        let mut tests = Vec::new();
        walk(path, DEPTH, &mut tests)
            .map_err(|error| no(format!("cannot read {}: {error}", path.display())))?;
        let (ours, foreign): (Vec<PathBuf>, Vec<PathBuf>) =
            tests.into_iter().partition(|test| is_ours(test));
        for test in foreign {
            output::note(format_args!(
                "skipping {}: it is not a test of a hook: it has no test.case",
                test.display()
            ));
        }
        return Ok(ours.iter().map(|test| of_test(test)).collect());
    }
    if !path.is_file() {
        return Err(no(format!("there is no {}", path.display())));
    }
    if is_test(path) {
        return Ok(vec![of_test(path)]);
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let test = ["lua", "luau"]
        .map(|e| path.with_file_name(format!("{stem}_test.{e}")))
        .into_iter()
        .find(|test| test.is_file());
    match test {
        Some(test) => Ok(vec![Ok(vec![(path.to_owned(), test)])]),
        None => Err(no(format!(
            "there is no {stem}_test.lua next to {}",
            path.display()
        ))),
    }
}

/// A test file with each hook that it tests. A test that cannot be run must not go unnoticed.
fn of_test(test: &Path) -> OfTest {
    let hooks = hooks_of(test);
    if hooks.is_empty() {
        let failure = Failure::new(
            Exit::Failure,
            format!("there is no hook next to {}", test.display()),
        );
        return Err(failure.hint(
            "NAME_test.lua is the test of NAME.lua or NAME.wasm; a component must be built first",
        ));
    }
    Ok(hooks
        .into_iter()
        .map(|hook| (hook, test.to_owned()))
        .collect())
}

fn is_test(path: &Path) -> bool {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    path.extension().is_some_and(|e| e == "lua" || e == "luau") && stem.ends_with("_test")
}

/// Whether the file is written for `carpd test`; other tools name their tests the same way. A file
/// next to the grants of its hook always is.
fn is_ours(test: &Path) -> bool {
    let stem = test.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.strip_suffix("_test").unwrap_or(&stem);
    let granted = [".toml", ".grants.toml"]
        .iter()
        .any(|ending| test.with_file_name(format!("{name}{ending}")).is_file());
    let text = read(test).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    granted
        || ["test.case", "test.faults", "test.histories"]
            .iter()
            .any(|call| text.contains(call))
}

/// The hooks that a test file tests: one for each language in which it exists.
fn hooks_of(test: &Path) -> Vec<PathBuf> {
    let stem = test
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let stem = stem.strip_suffix("_test").unwrap_or(stem);
    ["lua", "luau", "wasm"]
        .map(|e| test.with_file_name(format!("{stem}.{e}")))
        .into_iter()
        .filter(|hook| hook.is_file())
        .collect()
}

fn walk(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let Some(depth) = depth.checked_sub(1) else {
        return Ok(());
    };
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = if directory == Path::new(".") {
            PathBuf::from(entry.file_name())
        } else {
            entry.path()
        };
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // A link to a directory could form a loop.
        if entry.file_type()?.is_dir() {
            walk(&path, depth, found)?;
        } else if is_test(&path) && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

/// What the operator wrote about a hook, and about the others in the same file.
struct Written {
    name: Name,
    spec: config::Hook,
    others: BTreeMap<Name, config::Hook>,
    /// Of the file: where their `source` begins.
    directory: PathBuf,
}

impl Written {
    /// Only the grants are known; everything else has its default.
    fn granted(name: Name, grants: Grants) -> Self {
        let spec = config::Hook {
            grants,
            ..config::Hook::plain("")
        };
        Self {
            name,
            spec,
            others: BTreeMap::new(),
            directory: PathBuf::new(),
        }
    }
}

fn pair(args: &Args, hook: &Path, test: &Path, sources: &Sources) -> Result<Pair, Failure> {
    let stem = hook
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let unfit = || {
        Failure::new(
            Exit::Failure,
            format!("{} cannot be the file of a hook", hook.display()),
        )
    };
    let plain: Name = stem
        .parse()
        .map_err(|_| unfit().hint("name it NAME.lua, of letters, digits and dashes"))?;
    let Written {
        name,
        spec,
        others,
        directory,
    } = written(args, hook, &plain)?.unwrap_or_else(|| Written::granted(plain, Grants::default()));
    let source = |name: &Name, path: &Path, spec: &config::Hook| {
        HookSource::read(name.clone(), path, spec.config_json.clone(), sources)
    };
    let tested = source(&name, hook, &spec)
        .map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    // Only its owner is checked here.
    _ = sources.open(test);
    let component = (tested.language == Language::Wasm).then(|| tested.main.clone());
    let (path, text) = (test.display().to_string(), read(test)?);
    let beside = |name: &Name, spec: &config::Hook| {
        source(name, &directory.join(&spec.path), spec).map_err(|error| error.to_string())
    };
    let exam = HookTest {
        hook: TestHook::new(tested, &spec),
        others: hook_test::others(&others, &name, &text, beside),
        path,
        text,
        policy: SandboxPolicy::Required,
        limit: LIMIT,
    };
    Ok(Pair { exam, component })
}

/// A Lua hook that lies on no disk, with its test and what the configuration says of it.
pub(super) fn exam(name: &str, lua: &str, toml: &str, text: String) -> Result<HookTest, Failure> {
    let bad = |report: Report| Failure::new(Exit::Config, report.to_string());
    let plain: Name = name
        .parse()
        .map_err(|_| Failure::new(Exit::Failure, format!("{name} cannot be a hook's name")))?;
    let mut hooks = config::parse_hooks("the grants", toml, &Anywhere).map_err(bad)?;
    let spec = hooks
        .remove(&plain)
        .unwrap_or_else(|| config::Hook::plain(""));
    let source = HookSource {
        name: plain,
        language: Language::Lua,
        path: format!("{name}.lua"),
        main: lua.as_bytes().to_vec(),
        modules: BTreeMap::new(),
        config_json: spec.config_json.clone(),
        native: None,
    };
    Ok(HookTest {
        hook: TestHook::new(source, &spec),
        others: BTreeMap::new(),
        path: format!("{name}_test.lua"),
        text: text.into_bytes(),
        policy: SandboxPolicy::Required,
        limit: LIMIT,
    })
}

/// Reads a regular file of at most the size that a hook's file may have.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| {
        Failure::new(
            Exit::Failure,
            format!("cannot read {}: {why}", path.display()),
        )
    };
    let meta = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !meta.is_file() || meta.len() > source::MAX_FILE {
        return Err(failed(format!(
            "it is not a regular file of at most {} bytes",
            source::MAX_FILE
        )));
    }
    fs::read(path).map_err(|error| failed(error.to_string()))
}

/// What the operator configured for the hook, from the first place that has something.
fn written(args: &Args, hook: &Path, plain: &Name) -> Result<Option<Written>, Failure> {
    if let Some(path) = args.config.as_ref().or(args.grants.as_ref()) {
        let found = written_in(path, hook, plain)?;
        let named = format!(
            "{} has no hook whose source is {}",
            path.display(),
            hook.display()
        );
        return if found.is_none() && args.config.is_some() {
            Err(Failure::new(Exit::Config, named))
        } else {
            Ok(found)
        };
    }
    let beside = |ending: &str| hook.with_file_name(format!("{plain}{ending}"));
    let directory = parent(hook);
    let places = [
        beside(".toml"),
        beside(".grants.toml"),
        directory.join(CONFIG_FILE),
        directory.join("..").join(CONFIG_FILE),
    ];
    for path in places.into_iter().filter(|path| path.is_file()) {
        if let Some(found) = written_in(&path, hook, plain)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Surroundings in which everything that a configuration refers to exists: checking that is not
/// this command's task.
struct Anywhere;

impl Surroundings for Anywhere {
    fn password_file(&self, _: &Path) -> Result<Vec<u8>, Unusable> {
        Ok(Vec::new())
    }

    fn credential(&self, _: &str) -> Result<Vec<u8>, Unusable> {
        Ok(Vec::new())
    }

    fn key_file(&self, path: &Path) -> Result<Vec<u8>, Unusable> {
        Err(format!(
            "{}: keys are not used for a hook that is only tested",
            path.display()
        )
        .into())
    }

    fn hook_file(&self, path: &Path) -> Result<PathBuf, Unusable> {
        Ok(path.to_owned())
    }
}

fn written_in(path: &Path, hook: &Path, plain: &Name) -> Result<Option<Written>, Failure> {
    let bad = |report: Report| {
        output::problems(&report);
        Failure::new(Exit::Config, output::counts(&report))
    };
    let text = String::from_utf8(read(path)?);
    let text = text.map_err(|_| {
        Failure::new(
            Exit::Config,
            format!("{} is not valid UTF-8", path.display()),
        )
    })?;
    let name = path.display().to_string();
    let is_whole = path.file_name().is_some_and(|file| file == CONFIG_FILE);
    if !text
        .lines()
        .any(|line| line.trim_start().starts_with("[hook"))
    {
        let grants = if is_whole {
            None
        } else {
            Some(config::parse_grants(&name, &text).map_err(bad)?)
        };
        return Ok(grants.map(|grants| Written::granted(plain.clone(), grants)));
    }
    let mut hooks = config::parse_hooks(&name, &text, &Anywhere).map_err(bad)?;
    let directory = parent(path);
    let real = fs::canonicalize(hook).ok();
    let same = |spec: &config::Hook| {
        real.is_some() && fs::canonicalize(directory.join(&spec.path)).ok() == real
    };
    let by_source = hooks
        .iter()
        .find(|(_, spec)| same(spec))
        .map(|(name, _)| name.clone());
    // Grants next to the hook, or in a separate file, need not say where the hook will be
    // installed.
    let chosen = by_source.or_else(|| (!is_whole).then(|| plain.clone()));
    let chosen = chosen.and_then(|name| hooks.remove_entry(&name));
    Ok(chosen.map(|(name, spec)| Written {
        name,
        spec,
        others: hooks,
        directory,
    }))
}
