//! Reads `[hook.NAME]`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::choice::HookKind;
use super::model::{Config, Health, Hook, Kind, Language, Limits, Place, Script};
use super::problem::Findings;
use super::read::{At, Table, parse};
use super::reference::{health, hook as key};
use super::{Surroundings, Unusable, grant, json, reference};
use crate::trust::Trust;
use crate::types::Name;

/// The largest default size of a pool.
const POOL_MAX: usize = 8;

/// A hook as far as it could be read.
#[derive(Debug)]
pub(super) struct Draft {
    /// Its name where it is defined.
    pub(super) span: Range<usize>,
    /// `None` only if something was reported.
    pub(super) done: Option<Hook>,
}

/// All hooks by name, including those that could not be read, since virtual hosts may refer to
/// them. Without `trust`, signatures are not considered.
pub(super) fn read_all(
    root: &Table<'_>,
    trust: Option<&Trust>,
    around: &dyn Surroundings,
    out: &mut Findings,
) -> BTreeMap<Name, Draft> {
    let hooks = root.read(&reference::HOOK, out);
    let mut drafts = BTreeMap::new();
    for (name, table) in hooks.map(|hooks| hooks.value).unwrap_or_default() {
        let span = name.span.clone();
        let name = parse(name, out);
        let done = table.and_then(|table| read(&table, trust, around, out));
        if let Some(name) = name {
            drafts.insert(name.value, Draft { span, done });
        }
    }
    drafts
}

/// Gives every hook that did not ask for a number of runners one for each of its virtual hosts.
pub(super) fn size_pools(config: &mut Config) {
    for (name, hook) in config
        .hooks
        .iter_mut()
        .filter(|(_, hook)| hook.runners == 0)
    {
        let users = config
            .vhosts
            .iter()
            .filter(|v| v.hooks.contains(name))
            .count();
        hook.runners = u16::try_from(users.clamp(1, POOL_MAX)).unwrap_or(1);
    }
}

fn read(
    table: &Table<'_>,
    trust: Option<&Trust>,
    around: &dyn Surroundings,
    out: &mut Findings,
) -> Option<Hook> {
    let limits = limits(table, out);
    let before_timeout = before_timeout(table, limits.wall, out);
    let on_failure = table.get(&key::ON_FAILURE, out);
    let reload = table.get(&key::RELOAD, out);
    let health = table
        .read(&key::HEALTH, out)
        .map(|table| health_of(&table.value, out))
        .unwrap_or_default();
    let runners = table.read(&key::RUNNERS, out).map_or(0, |n| n.value);
    let config_json = config_json(table, out);
    let grants = table
        .read(&key::GRANT, out)
        .map(|table| grant::read(&table.value, out))
        .unwrap_or_default();
    let digest = table.read(&key::DIGEST, out);
    let signature = signature(table, trust, around, out);
    let Code {
        source,
        path,
        language,
        kind,
    } = code(table, around, out)?;
    if kind != Kind::Module {
        refuse_vouching(
            trust,
            &source.span,
            [
                digest.as_ref().map(|d| &d.span),
                signature.as_ref().map(|s| &s.span),
            ],
            out,
        );
    }
    Some(Hook {
        source: source.value.to_owned(),
        path,
        digest: digest.map(|digest| digest.value),
        signature: signature.map(|signature| signature.value),
        language,
        kind,
        limits,
        before_timeout,
        on_failure,
        health,
        reload,
        runners,
        config_json,
        grants,
        place: Place(source.span),
    })
}

/// Where the signature is, if not in the usual place.
fn signature(
    table: &Table<'_>,
    trust: Option<&Trust>,
    around: &dyn Surroundings,
    out: &mut Findings,
) -> Option<At<PathBuf>> {
    let signature = table.read(&key::SIGNATURE, out)?;
    if trust.is_some_and(|trust| trust.keys.is_empty()) {
        out.error(
            signature.span.clone(),
            "there is no key to check this signature with",
        )
        .hint("write [trust] with `keys = [\"team.pub\"]`".to_owned());
    }
    let path = around.hook_file(Path::new(signature.value)).map_err(|why| {
        out.error(signature.span.clone(), why.message)
            .hint(why.hint);
    });
    Some(At {
        value: path.ok()?,
        span: signature.span,
    })
}

/// A program is read when it is run, by the kernel: what would be checked need not be what runs.
fn refuse_vouching(
    trust: Option<&Trust>,
    source: &Range<usize>,
    vouching: [Option<&Range<usize>>; 2],
    out: &mut Findings,
) {
    for place in vouching.into_iter().flatten() {
        out.error(
            place.clone(),
            "a script can be neither pinned nor signed: it is read again each time it runs",
        )
        .hint("turn the script into a hook: carpd port".to_owned());
    }
    if trust.is_some_and(|trust| trust.require_signature) {
        out.error(source.clone(), "signatures are required, and a script cannot have one: it is read again each time it runs")
            .hint("turn the script into a hook: carpd port".to_owned());
    }
}

/// What runs, and where it stands.
struct Code<'d> {
    source: At<&'d str>,
    path: PathBuf,
    language: Language,
    kind: Kind,
}

fn code<'d>(table: &Table<'d>, around: &dyn Surroundings, out: &mut Findings) -> Option<Code<'d>> {
    if table.get(&key::KIND, out) == HookKind::Script {
        return script(table, out);
    }
    for program in [&key::UP, &key::DOWN] {
        if let Some(At { span, .. }) = table.read(program, out) {
            out.error(
                span,
                format!("`{}` needs `kind = \"script\"`", program.name),
            );
        }
    }
    let Some(source) = table.read(&key::SOURCE, out) else {
        if !table.tried(&key::SOURCE) {
            out.error(table.span.clone(), "`source` is missing")
                .hint("add a line such as `source = \"hooks/failover.lua\"`".to_owned());
        }
        return None;
    };
    let language = language(source.value, &source.span, out);
    let path = around.hook_file(Path::new(source.value)).map_err(|why| {
        out.error(source.span.clone(), why.message).hint(why.hint);
    });
    Some(Code {
        path: path.ok()?,
        language: language?,
        kind: Kind::Module,
        source,
    })
}

fn script<'d>(table: &Table<'d>, out: &mut Findings) -> Option<Code<'d>> {
    let programs = [&key::UP, &key::DOWN].map(|program| table.read(program, out));
    if let Some(source) = table.read(&key::SOURCE, out) {
        out.error(
            source.span,
            "a script has no `source`: its programs are `up` and `down`",
        );
    }
    for program in programs
        .iter()
        .flatten()
        .filter(|program| !program.value.starts_with('/'))
    {
        out.error(
            program.span.clone(),
            format!("{:?} is not an absolute path", program.value),
        );
    }
    let [up, down] = programs;
    let Some(source) = up.clone().or_else(|| down.clone()) else {
        out.error(table.span.clone(), "a script needs `up`, `down` or both");
        return None;
    };
    let path = |program: Option<At<&str>>| program.map(|program| PathBuf::from(program.value));
    let script = Script {
        up: path(up),
        down: path(down),
        ..Script::default()
    };
    Some(Code {
        path: PathBuf::from(source.value),
        language: Language::Lua,
        kind: Kind::Script(Box::new(script)),
        source,
    })
}

fn language(source: &str, span: &Range<usize>, out: &mut Findings) -> Option<Language> {
    match Path::new(source).extension().and_then(|e| e.to_str()) {
        Some("lua" | "luau") => Some(Language::Lua),
        Some("wasm") => Some(Language::Wasm),
        _ => {
            out.error(
                span.clone(),
                format!(
                    "{source:?} does not show its language: it must end in .lua, .luau or .wasm"
                ),
            );
            None
        }
    }
}

fn limits(table: &Table<'_>, out: &mut Findings) -> Limits {
    Limits {
        wall: table.get(&key::TIMEOUT, out),
        cpu: table.get(&key::CPU, out),
        memory_bytes: table.get(&key::MEMORY, out),
        requests: table.get(&key::REQUESTS, out),
        log_bytes: table.get(&key::LOG_BYTES, out),
        state_bytes: table.get(&key::STATE_BYTES, out),
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: key::TIMEOUT.default(),
            cpu: key::CPU.default(),
            memory_bytes: key::MEMORY.default(),
            requests: key::REQUESTS.default(),
            log_bytes: key::LOG_BYTES.default(),
            state_bytes: key::STATE_BYTES.default(),
        }
    }
}

/// Unlike the other limits its default gives way: a hook with a short timeout need not name this
/// one.
fn before_timeout(table: &Table<'_>, wall: Duration, out: &mut Findings) -> Duration {
    let before = table.read(&key::BEFORE_TIMEOUT, out);
    if let Some(before) = before.as_ref().filter(|b| b.value > wall) {
        out.error(
            before.span.clone(),
            "`before-timeout` must not be longer than `timeout`",
        );
    }
    let usual = || key::BEFORE_TIMEOUT.default().min(wall);
    before.map_or_else(usual, |before| before.value)
}

impl Hook {
    /// As if nothing had been written about it but its source.
    ///
    /// # Panics
    /// Never: nothing that is not written can be wrong.
    #[must_use]
    pub fn plain(source: &str) -> Self {
        let text = "[hook.plain]\nsource = \"plain.lua\"\n";
        let hooks = super::parse_hooks("plain", text, &Anywhere);
        let plain = hooks.ok().and_then(|hooks| hooks.into_values().next());
        let plain = plain.expect("a source is enough");
        let language = language(source, &(0..0), &mut Findings::default());
        Self {
            source: source.to_owned(),
            path: source.into(),
            language: language.unwrap_or(plain.language),
            ..plain
        }
    }

    /// The same hook with its code in another file; a relative path is below the directory of the
    /// configuration file.
    #[must_use]
    pub fn from_file(&self, config: &Path, file: &Path) -> Self {
        let source = file.display().to_string();
        let language = language(&source, &(0..0), &mut Findings::default());
        Self {
            path: config.parent().unwrap_or(Path::new("")).join(file),
            language: language.unwrap_or(self.language),
            source,
            ..self.clone()
        }
    }
}

/// Whatever is referred to is there.
struct Anywhere;

impl Surroundings for Anywhere {
    fn password_file(&self, _: &Path) -> Result<Vec<u8>, Unusable> {
        Ok(Vec::new())
    }

    fn credential(&self, _: &str) -> Result<Vec<u8>, Unusable> {
        Ok(Vec::new())
    }

    fn key_file(&self, _: &Path) -> Result<Vec<u8>, Unusable> {
        Ok(Vec::new())
    }

    fn hook_file(&self, path: &Path) -> Result<PathBuf, Unusable> {
        Ok(path.to_owned())
    }
}

fn health_of(table: &Table<'_>, out: &mut Findings) -> Health {
    let interval = table.get(&health::INTERVAL, out);
    let timeout = table.read(&health::TIMEOUT, out);
    if let Some(timeout) = timeout.as_ref().filter(|timeout| timeout.value > interval) {
        out.error(
            timeout.span.clone(),
            "`timeout` must not be longer than `interval`",
        );
    }
    let usual = || health::TIMEOUT.default().min(interval);
    Health {
        interval,
        timeout: timeout.map_or_else(usual, |timeout| timeout.value),
        rise: table.get(&health::RISE, out),
        fall: table.get(&health::FALL, out),
        demotion: table.get(&health::DEMOTION, out),
        on_failure: table.get(&health::ON_FAILURE, out),
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            interval: health::INTERVAL.default(),
            timeout: health::TIMEOUT.default(),
            rise: health::RISE.default(),
            fall: health::FALL.default(),
            demotion: health::DEMOTION.default(),
            on_failure: health::ON_FAILURE.default(),
        }
    }
}

fn config_json(table: &Table<'_>, out: &mut Findings) -> String {
    let written = table.entries.contains_key(key::CONFIG.name);
    match table.read(&key::CONFIG, out) {
        Some(config) => json::object(config.value, out).to_string(),
        None if written => String::new(),
        None => "{}".to_owned(),
    }
}
