//! The configuration: a TOML file becomes a checked [`Config`], or a [`Report`] of everything that
//! is wrong with it.
//!
//! Reading has three steps. The parser makes a tree in which every key and value knows its place.
//! One pass over the tree (`daemon`, `trust`, `vhost`, `hook`, `grant`) checks each value, records
//! problems, and continues, so that one run shows all problems. Finally `cross` compares different
//! places of the file. All of that is pure; what is outside the file (passwords, scripts) is
//! accessed through [`Surroundings`], of which `Disk` is the real implementation. The list of all
//! keys is [`reference::SECTIONS`]; keys that are not in it are refused, and
//! `docs/configuration.md` is generated from it.
//!
//! A [`Config`] guarantees that every value is in its range, that every hook that is referred to
//! exists, and that no two virtual hosts use the same address, or the same vhid on one interface.

mod address;
mod choice;
mod cross;
mod daemon;
mod diff;
mod form;
mod grant;
mod group;
mod hook;
mod json;
pub mod legacy;
mod listen;
#[cfg(feature = "daemon")]
mod load;
mod model;
mod notify;
mod problem;
mod read;
pub mod reference;
#[cfg(feature = "daemon")]
mod render;
mod secret;
mod settings;
mod share;
mod syntax;
mod target;
mod track;
mod trust;
mod units;
mod vhost;

#[cfg(test)]
mod tests;

pub use address::edge_of;
pub use choice::{
    Choice, FamilyTimers, FileOwners, InMaintenance, Ipv6Checksum, Leases, LinkLocal, LogFormat,
    LogLevel, OnConflict, OnFailure, OnUnhealthy, Peers, Preempt, PreferredLifetime, Reload,
    Sandbox, ServiceBackend, SourceMac, TieBreak,
};
pub use daemon::{run_dir, state_dir};
pub use diff::{differences, needs_restart};
pub use listen::{InvalidListen, Listen};
#[cfg(feature = "daemon")]
pub use load::{Disk, load_trust, only_warns_of_owners};
pub use model::{
    Announce, Asked, AskedHook, AtStop, Config, Daemon, Demote, Destination, Group, Health, Hook,
    Kind, Language, Limits, Loaded, Local, Log, Looked, Place, Poll, Program, Remote, Script,
    StatusRange, Track, Tracked, Vhost,
};
pub use problem::{Excerpt, Problem, Report, Severity};
#[cfg(feature = "daemon")]
pub use render::Look;
pub use secret::{BadSecret, BadToken, Secret, Token};
pub use share::{Share, written_shares};
pub use target::{Mail, Target, Way, Webhook};
pub use units::{parse_duration, parse_size};

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::types::Name;

/// Why something that a configuration refers to cannot be used, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// What is wrong with it.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl From<String> for Unusable {
    fn from(message: String) -> Self {
        Self {
            message,
            hint: None,
        }
    }
}

/// What a configuration refers to and does not contain.
pub trait Surroundings {
    /// The bytes of a password file, named as in the configuration.
    ///
    /// # Errors
    /// It cannot be read, or others than its owner can.
    fn password_file(&self, path: &Path) -> Result<Vec<u8>, Unusable>;

    /// The bytes of a credential that the service manager handed over.
    ///
    /// # Errors
    /// There is none of that name.
    fn credential(&self, name: &str) -> Result<Vec<u8>, Unusable>;

    /// The bytes of a public key's file, named as in the configuration.
    ///
    /// # Errors
    /// It is not a file that can be read.
    fn key_file(&self, path: &Path) -> Result<Vec<u8>, Unusable>;

    /// The full path of a file that is read later (a hook's source, a signature, certificates),
    /// named as in the configuration.
    ///
    /// # Errors
    /// It is not a file that can be read.
    fn hook_file(&self, path: &Path) -> Result<PathBuf, Unusable>;
}

/// Reads a file that holds nothing but a grant table, for `--grants` of the ucarp command line.
///
/// # Errors
/// A [`Report`] with every problem.
pub fn parse_grants(name: &str, text: &str) -> Result<crate::effect::Grants, Report> {
    let (text, mut out) = (syntax::without_bom(text), problem::Findings::default());
    let (document, _) = syntax::read(text, &mut out);
    let table = read::Table::whole(
        document.get_ref(),
        text,
        &reference::grant::SECTION,
        &mut out,
    );
    let grants = grant::read(&table, &mut out);
    let report = Report::new(name, text, out);
    if report.has_errors() {
        Err(report)
    } else {
        Ok(grants)
    }
}

/// Reads the hooks of a configuration and nothing else of it: virtual hosts, passwords and who
/// vouches do not matter.
///
/// # Errors
/// A [`Report`] with every problem.
pub fn parse_hooks(
    name: &str,
    text: &str,
    around: &dyn Surroundings,
) -> Result<BTreeMap<Name, Hook>, Report> {
    let (text, mut out) = (syntax::without_bom(text), problem::Findings::default());
    let (document, _) = syntax::read(text, &mut out);
    let root = read::Table::root(document.get_ref(), text, &mut out);
    let hooks = hook::read_all(&root, None, around, &mut out);
    let report = Report::new(name, text, out);
    if report.has_errors() {
        return Err(report);
    }
    Ok(hooks
        .into_iter()
        .filter_map(|(name, draft)| Some((name, draft.done?)))
        .collect())
}

#[cfg(feature = "daemon")]
/// Reads the `[trust]` of a whole configuration, and nothing else of it.
fn parse_trust(
    name: &str,
    text: &str,
    around: &dyn Surroundings,
) -> Result<crate::trust::Trust, Report> {
    let (text, mut out) = (syntax::without_bom(text), problem::Findings::default());
    let (document, _) = syntax::read(text, &mut out);
    let root = read::Table::root(document.get_ref(), text, &mut problem::Findings::default());
    let trust = trust::read(&root, around, &mut out);
    let report = Report::new(name, text, out);
    if report.has_errors() {
        Err(report)
    } else {
        Ok(trust)
    }
}

impl Config {
    /// Checks a whole configuration. `name` is how messages call the file.
    ///
    /// # Errors
    /// A [`Report`] with every problem, warnings included, in the order of the file.
    pub fn parse(name: &str, text: &str, around: &dyn Surroundings) -> Result<Loaded, Report> {
        let (text, mut out) = (syntax::without_bom(text), problem::Findings::default());
        let (document, good) = syntax::read(text, &mut out);
        // A tree that was patched up after a syntax error would yield problems that are not there.
        let config = if good {
            read_root(document.get_ref(), text, around, &mut out)
        } else {
            None
        };
        let report = Report::new(name, text, out);
        match config {
            Some(config) if !report.has_errors() => Ok(Loaded { config, report }),
            _ => Err(report),
        }
    }
}

/// Reads the top level. `None` only if something was reported.
fn read_root(
    document: &DeTable<'_>,
    text: &str,
    around: &dyn Surroundings,
    out: &mut problem::Findings,
) -> Option<Config> {
    let root = read::Table::root(document, text, out);
    let daemon = daemon::read(&root, around, out);
    let trust = trust::read(&root, around, out);
    let hooks = hook::read_all(&root, Some(&trust), around, out);
    let vhosts = vhost::read_all(&root, around, out);
    let tracks = track::read_all(&root, out);
    let groups = group::read_all(&root, out);
    let notify = notify::read_all(&root, &vhosts, around, out);
    cross::check(&vhosts, &tracks, &hooks, out);
    group::check(&groups, &vhosts, out);
    let mut vhosts = vhosts
        .into_iter()
        .map(|v| v.done)
        .collect::<Option<Vec<_>>>()?;
    for (name, _) in tracks.iter().filter(|(_, track)| track.all_vhosts) {
        let without = vhosts.iter_mut().filter(|v| !v.tracks.contains(name));
        without.for_each(|v| v.tracks.push(name.clone()));
    }
    let tracks = tracks
        .into_iter()
        .map(|(name, track)| Some((name, track.done?)))
        .collect::<Option<_>>()?;
    let hooks = hooks
        .into_iter()
        .map(|(name, hook)| Some((name, hook.done?)))
        .collect::<Option<_>>()?;
    let mut config = Config {
        daemon: daemon?,
        trust,
        vhosts,
        tracks,
        groups: group::finish(groups),
        notify: notify?,
        hooks,
        share: Share::All,
        all_shares: BTreeSet::new(),
    };
    config.all_shares = config.shares();
    hook::size_pools(&mut config);
    Some(config)
}
