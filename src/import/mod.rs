//! Configurations of other failover daemons become carpd's.
//!
//! ```text
//! ucarp (a command line) | ifupdown | epel (vip-*.conf) | rc_conf (FreeBSD) | opnsense (config.xml) | keepalived
//!   -> target (tables, hooks, files) -> TOML
//!   -> account (what became of each statement)
//! ```
//! A reader enters every statement into the account before it looks at what it means, so that none
//! is dropped in silence: what nobody says anything about is not translated.

mod account;
mod bsd;
mod check;
mod common;
mod epel;
mod ifupdown;
mod keepalived;
mod opnsense;
mod pattern;
mod rc_conf;
mod target;
#[cfg(test)]
mod tests;
mod ucarp;

use std::path::{Path, PathBuf};

pub use account::{Outcome, Statement};
pub use pattern::paths as matching;
pub use target::File;

use account::Account;
use target::Target;

/// The most lines of all files, and virtual hosts in them.
const LINES_MAX: usize = 100_000;
const VHOSTS_MAX: usize = 4096;

/// What is imported from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Command lines of ucarp, one in a line.
    Ucarp,
    /// `/etc/network/interfaces` with Debian's `ucarp-` keys.
    Ifupdown,
    /// `/etc/ucarp/vip-*.conf`, as EPEL's package has them.
    Epel,
    /// FreeBSD's `rc.conf`.
    RcConf,
    /// `config.xml` of OPNsense or pfSense.
    Opnsense,
    /// `keepalived.conf`.
    Keepalived,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Ucarp,
        Self::Ifupdown,
        Self::Epel,
        Self::RcConf,
        Self::Opnsense,
        Self::Keepalived,
    ];

    /// Its name on the command line and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ucarp => "ucarp",
            Self::Ifupdown => "ifupdown",
            Self::Epel => "epel",
            Self::RcConf => "rc.conf",
            Self::Opnsense => "opnsense",
            Self::Keepalived => "keepalived",
        }
    }

    /// Where it is on a node; `None` for what is no file.
    #[must_use]
    pub const fn usual(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Ucarp => None,
            Self::Ifupdown => Some(&["/etc/network/interfaces"]),
            Self::Epel => Some(&["/etc/ucarp/vip-common.conf", "/etc/ucarp/vip-*.conf"]),
            Self::RcConf => Some(&["/etc/rc.conf", "/etc/sysctl.conf"]),
            Self::Opnsense => Some(&["/conf/config.xml"]),
            Self::Keepalived => Some(&["/etc/keepalived/keepalived.conf"]),
        }
    }

    /// Which it is, by what is in it; `None` if it looks like none of them.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let lines = || text.lines().map(str::trim_start);
        let begins = |words: &[&str]| lines().any(|line| words.iter().any(|w| line.starts_with(w)));
        if text.contains("<virtualip") || text.contains("<opnsense>") || text.contains("<pfsense>")
        {
            Some(Self::Opnsense)
        } else if begins(&[
            "vrrp_instance",
            "vrrp_script",
            "vrrp_sync_group",
            "global_defs",
        ]) {
            Some(Self::Keepalived)
        } else if begins(&["iface ", "iface\t"]) {
            Some(Self::Ifupdown)
        } else if begins(&["VIP_ADDRESS=", "BIND_INTERFACE="]) {
            Some(Self::Epel)
        } else if begins(&["ifconfig_", "cloned_interfaces=", "net.inet.carp."]) {
            Some(Self::RcConf)
        } else if lines().any(ucarp::is_command_line) {
            Some(Self::Ucarp)
        } else {
            None
        }
    }
}

/// A file to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path, as it was named.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// The files that a configuration names: scripts, and further parts of it.
pub trait Files {
    /// What is in a file.
    ///
    /// # Errors
    /// Words about why it cannot be read.
    fn read(&self, path: &Path) -> Result<String, String>;

    /// The names in a directory.
    ///
    /// # Errors
    /// Words about why it cannot be read.
    fn list(&self, path: &Path) -> Result<Vec<String>, String>;
}

/// The node that the configuration is of.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// What is its `/` here.
    pub root: &'a Path,
    /// What `@NAME` in `keepalived.conf` is compared with: its name, or what `keepalived -i` says.
    pub config_id: &'a str,
}

/// Why nothing was imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ImportError {
    /// What is wrong.
    pub message: String,
    /// Where, if it is at a place.
    pub place: Option<Place>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its path.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// The character there, from 1; `None`: all of the line.
    pub column: Option<usize>,
}

impl ImportError {
    fn at(file: &str, line: usize, column: Option<usize>, message: impl Into<String>) -> Self {
        let file = file.to_owned();
        Self {
            message: message.into(),
            place: Some(Place { file, line, column }),
        }
    }
}

/// What is made of them.
#[derive(Debug)]
pub struct Imported {
    /// The text of `carpd.toml`.
    pub config: String,
    /// Hooks and passwords, beside it.
    pub files: Vec<File>,
    /// What became of each statement, in the order of the files.
    pub statements: Vec<Statement>,
    /// What is to be known about the whole.
    pub remarks: Vec<String>,
    /// What `carpd check` would refuse: what is left to fill in, or what the other daemon takes and
    /// carpd does not.
    pub problems: Vec<String>,
}

impl Imported {
    /// Is there nothing left to do?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.problems.is_empty() && !self.statements.iter().any(|said| said.outcome.asks())
    }
}

/// Makes a configuration of these files, which are of one format. `files` gets those that they name.
///
/// # Errors
/// What makes a file no file of that format, or that no virtual host is in it.
pub fn import(
    format: Format,
    sources: &[Source],
    node: Node<'_>,
    files: &dyn Files,
) -> Result<Imported, ImportError> {
    let mut work = Work {
        node,
        account: Account::default(),
        target: Target::default(),
        remarks: Vec::new(),
        files,
    };
    let lines: usize = sources
        .iter()
        .map(|source| source.text.lines().count())
        .sum();
    if lines > LINES_MAX && format != Format::Opnsense {
        return Err(ImportError {
            message: format!("there are more than {LINES_MAX} lines"),
            place: None,
        });
    }
    match format {
        Format::Ucarp => sources
            .iter()
            .for_each(|source| ucarp::read(source, &mut work)),
        Format::Ifupdown => sources
            .iter()
            .for_each(|source| ifupdown::read(source, &mut work)),
        Format::Epel => epel::read(sources, &mut work),
        Format::RcConf => rc_conf::read(sources, &mut work),
        Format::Opnsense => sources
            .iter()
            .try_for_each(|source| opnsense::read(source, &mut work))?,
        Format::Keepalived => keepalived::read(sources, &mut work)?,
    }
    let names: Vec<_> = sources
        .iter()
        .map(|source| crate::types::shown(&source.name))
        .collect();
    let names = names.join(", ");
    if work.target.vhosts.is_empty() {
        return Err(nothing_in(&names, format, work));
    }
    if work.target.vhosts.len() > VHOSTS_MAX {
        return Err(ImportError {
            message: format!("there are more than {VHOSTS_MAX} virtual hosts in {names}"),
            place: None,
        });
    }
    let statements = work.account.finish();
    let head = [
        format!("Made from {names} by carpd {}.", env!("CARGO_PKG_VERSION")),
        "`carpd check` checks it; docs/configuration.md describes every key.".to_owned(),
    ];
    let config = work.target.write(&head);
    Ok(Imported {
        problems: check::problems(&config),
        config,
        files: work.target.files,
        statements,
        remarks: work.remarks,
    })
}

/// No virtual host came of it: the first statement that should have been one says why.
fn nothing_in(names: &str, format: Format, work: Work<'_>) -> ImportError {
    let message = format!("there is no virtual host of {} in {names}", format.as_str());
    let statements = work.account.finish();
    let refused = statements
        .iter()
        .find(|said| matches!(said.outcome, Outcome::Untranslated(_)));
    match refused {
        None => ImportError {
            message,
            place: None,
        },
        Some(said) => ImportError::at(
            &said.file,
            said.line,
            None,
            format!("{message}: {}: {}", said.text, said.outcome.text()),
        ),
    }
}

/// What is read so far.
struct Work<'a> {
    account: Account,
    target: Target,
    remarks: Vec<String>,
    node: Node<'a>,
    files: &'a dyn Files,
}

impl Work<'_> {
    /// Where a path of the node is here.
    fn below_root(&self, path: &Path) -> PathBuf {
        self.node.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// What is in a file of the node.
    fn read(&self, path: &Path) -> Result<String, String> {
        self.files.read(&self.below_root(path))
    }

    /// Says something about the whole, once.
    fn remark(&mut self, text: &str) {
        if !self.remarks.iter().any(|said| said == text) {
            self.remarks.push(text.to_owned());
        }
    }
}
