//! Reads `[hook.NAME]`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::choice::{HookKind, OnFailure, Reload};
use super::model::{Config, Health, Hook, Kind, Language, Limits, Place, Script};
use super::problem::Findings;
use super::read::{At, Table, parse};
use super::{Surroundings, Unusable, grant, json, reference};
use crate::trust::Trust;
use crate::types::Name;

/// The largest pool that nobody asked for.
const POOL_MAX: usize = 8;

/// A hook as far as it could be read.
#[derive(Debug)]
pub(super) struct Draft {
    /// Its name where it is defined.
    pub(super) span: Range<usize>,
    /// `None` only if something was reported.
    pub(super) done: Option<Hook>,
}

/// All hooks by name; those that could not be read as well, since virtual hosts may name them.
/// Without `trust` nobody is asked who could vouch for them.
pub(super) fn read_all(
    root: &Table<'_>,
    trust: Option<&Trust>,
    around: &dyn Surroundings,
    out: &mut Findings,
) -> BTreeMap<Name, Draft> {
    let Some(item) = root.item("hook", out) else {
        return BTreeMap::new();
    };
    let DeValue::Table(hooks) = item.get_ref() else {
        out.error(item.span(), "`hook` must hold a table for each hook")
            .hint("write [hook.NAME]".to_owned());
        return BTreeMap::new();
    };
    let mut drafts = BTreeMap::new();
    for (key, item) in hooks {
        let name = parse(
            At {
                value: key.get_ref().as_ref(),
                span: key.span(),
            },
            out,
        );
        let done = Table::open(item, &reference::HOOK, out)
            .and_then(|table| read(&table, trust, around, out));
        if let Some(name) = name {
            drafts.insert(
                name.value,
                Draft {
                    span: key.span(),
                    done,
                },
            );
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
    let on_failure = Table::or(table.choice("on-failure", out), OnFailure::Resign);
    let reload = Table::or(table.choice("reload", out), Reload::Checked);
    let health = table
        .item("health", out)
        .and_then(|item| Table::open(item, &reference::HEALTH, out));
    let health = health
        .map(|table| health_of(&table, out))
        .unwrap_or_default();
    let runners = Table::or(table.integer("runners", 1..=64_u16, out), 0);
    let config_json = config_json(table, out);
    let grants = table
        .item("grant", out)
        .and_then(|item| Table::open(item, &reference::GRANT, out));
    let grants = grants
        .map(|table| grant::read(&table, out))
        .unwrap_or_default();
    let digest = table.parsed("digest", out);
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
    let signature = table.string("signature", out)?;
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
            "a script can be neither pinned nor signed: it is read anew whenever it runs",
        )
        .hint("write a hook that does what the script does: carpd port".to_owned());
    }
    if trust.is_some_and(|trust| trust.require_signature) {
        out.error(source.clone(), "signatures are required, and a script cannot have one: it is read anew whenever it runs")
            .hint("write a hook that does what the script does: carpd port".to_owned());
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
    if Table::or(table.choice("kind", out), HookKind::Module) == HookKind::Script {
        return script(table, out);
    }
    for name in ["up", "down"] {
        if let Some(program) = table.string(name, out) {
            out.error(program.span, format!("`{name}` needs `kind = \"script\"`"));
        }
    }
    let Some(source) = table.string("source", out) else {
        if !table.tried("source") {
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
    let programs = ["up", "down"].map(|name| table.string(name, out));
    if let Some(source) = table.string("source", out) {
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
                    "{source:?} does not tell its language: it must end in .lua, .luau or .wasm"
                ),
            );
            None
        }
    }
}

fn limits(table: &Table<'_>, out: &mut Findings) -> Limits {
    const HOUR: Duration = Duration::from_hours(1);
    let bytes = |size| u32::try_from(size).unwrap_or(u32::MAX);
    let cpu = table.duration(
        "cpu",
        Duration::from_millis(1)..=Duration::from_mins(10),
        out,
    );
    Limits {
        wall: Table::or(
            table.duration("timeout", Duration::from_millis(10)..=HOUR, out),
            Duration::from_secs(10),
        ),
        cpu: Table::or(cpu, Duration::from_secs(1)),
        memory_bytes: Table::or(table.size("memory", 1 << 20..=1 << 30, out), 16 << 20),
        requests: Table::or(table.integer("requests", 1..=1_000_000_u32, out), 1000),
        log_bytes: bytes(Table::or(
            table.size("log-bytes", 0..=16 << 20, out),
            64 << 10,
        )),
        state_bytes: bytes(Table::or(
            table.size("state-bytes", 0..=16 << 20, out),
            256 << 10,
        )),
    }
}

/// Unlike the other limits its default gives way: a hook with a short timeout need not name this
/// one.
fn before_timeout(table: &Table<'_>, wall: Duration, out: &mut Findings) -> Duration {
    let before = table.duration(
        "before-timeout",
        Duration::from_millis(10)..=Duration::from_mins(1),
        out,
    );
    if let Some(before) = before.as_ref().filter(|b| b.value > wall) {
        out.error(
            before.span.clone(),
            "`before-timeout` must not be longer than `timeout`",
        );
    }
    Table::or(before, Duration::from_secs(1).min(wall))
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
    let default = Health::default();
    let interval = Table::or(
        table.duration(
            "interval",
            Duration::from_millis(100)..=Duration::from_hours(1),
            out,
        ),
        default.interval,
    );
    let timeout = table.duration(
        "timeout",
        Duration::from_millis(10)..=Duration::from_hours(1),
        out,
    );
    if let Some(timeout) = timeout.as_ref().filter(|timeout| timeout.value > interval) {
        out.error(
            timeout.span.clone(),
            "`timeout` must not be longer than `interval`",
        );
    }
    Health {
        interval,
        timeout: Table::or(timeout, default.timeout.min(interval)),
        rise: Table::or(table.integer("rise", 1..=100_u32, out), default.rise),
        fall: Table::or(table.integer("fall", 1..=100_u32, out), default.fall),
        demotion: Table::or(table.integer("demotion", 1..=240_u8, out), default.demotion),
        on_failure: Table::or(table.choice("on-failure", out), default.on_failure),
    }
}

fn config_json(table: &Table<'_>, out: &mut Findings) -> String {
    let Some(item) = table.item("config", out) else {
        return "{}".to_owned();
    };
    let DeValue::Table(config) = item.get_ref() else {
        out.error(item.span(), "`config` must be a table");
        return String::new();
    };
    json::object(config, out).to_string()
}
