//! The command line of ucarp 1.5.2 becomes a [`Config`](super::Config); nothing past this module
//! knows ucarp's options.
//!
//! The options, their ranges and the words about bad ones are those of ucarp 1.5.2. Options are
//! checked one by one from the left, and the first bad one ends the reading; what must be there is
//! checked after that, in ucarp's order.

mod build;
mod facility;
mod getopt;
mod number;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

pub use build::Place;
pub use facility::Facility;
use getopt::{Found, Spec, Words};
use number::{byte, strtoul, word};

use super::secret::Secret;

/// ucarp's options, and two of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    Interface,
    SrcIp,
    McastIp,
    Vhid,
    Pass,
    PassFile,
    Preempt,
    Neutral,
    Addr,
    Help,
    AdvBase,
    AdvSkew,
    UpScript,
    DownScript,
    DeadRatio,
    Debug,
    Shutdown,
    Daemonize,
    IgnoreIfState,
    NoMcast,
    Facility,
    XParam,
    Grants,
    Timeout,
}

const fn flag(flag: Flag, short: char, long: &'static str) -> Spec {
    Spec {
        flag,
        short: Some(short),
        long,
        takes_value: false,
    }
}

const fn value(flag: Flag, short: char, long: &'static str) -> Spec {
    Spec {
        flag,
        short: Some(short),
        long,
        takes_value: true,
    }
}

/// In ucarp's order: it shows in the complaint about an ambiguous prefix.
const OPTIONS: &[Spec] = &[
    value(Flag::Interface, 'i', "interface"),
    value(Flag::SrcIp, 's', "srcip"),
    value(Flag::McastIp, 'm', "mcastip"),
    value(Flag::Vhid, 'v', "vhid"),
    value(Flag::Pass, 'p', "pass"),
    value(Flag::PassFile, 'o', "passfile"),
    flag(Flag::Preempt, 'P', "preempt"),
    flag(Flag::Neutral, 'n', "neutral"),
    value(Flag::Addr, 'a', "addr"),
    flag(Flag::Help, 'h', "help"),
    value(Flag::AdvBase, 'b', "advbase"),
    value(Flag::AdvSkew, 'k', "advskew"),
    value(Flag::UpScript, 'u', "upscript"),
    value(Flag::DownScript, 'd', "downscript"),
    value(Flag::DeadRatio, 'r', "deadratio"),
    flag(Flag::Debug, 'D', "debug"),
    flag(Flag::Shutdown, 'z', "shutdown"),
    flag(Flag::Daemonize, 'B', "daemonize"),
    flag(Flag::IgnoreIfState, 'S', "ignoreifstate"),
    flag(Flag::NoMcast, 'M', "nomcast"),
    value(Flag::Facility, 'f', "facility"),
    value(Flag::XParam, 'x', "xparam"),
    Spec {
        flag: Flag::Grants,
        short: None,
        long: "grants",
        takes_value: true,
    },
    Spec {
        flag: Flag::Timeout,
        short: None,
        long: "timeout",
        takes_value: true,
    },
];

/// How long a script may run unless `--timeout` says so. ucarp has no limit, and is blocked
/// meanwhile.
const TIMEOUT: Duration = Duration::from_mins(5);
/// The longest time that `--timeout` takes.
const TIMEOUT_MAX: Duration = Duration::from_hours(1);

/// A password as given: bytes, never shown, wiped when dropped.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Password(Vec<u8>);

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A command line that was read. Becomes a configuration by [`Self::check`] and [`Self::config`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// `-i`; `None` if not given or empty: then the first usable interface is meant.
    pub interface: Option<String>,
    /// `-s`.
    pub source: Option<Ipv4Addr>,
    /// `--mcastip`.
    pub group: Ipv4Addr,
    /// `-v`: 1..=255.
    pub vhid: Option<u8>,
    password: Password,
    /// `-P`.
    pub preempt: bool,
    /// `-n`.
    pub neutral: bool,
    /// `-a`.
    pub address: Option<Ipv4Addr>,
    /// `-b`, cut to a byte.
    pub advbase: u8,
    /// `-k`, cut to a byte.
    pub advskew: u8,
    /// `-r`.
    pub dead_ratio: u32,
    /// `-u`, as typed.
    pub up: Option<String>,
    /// `-d`, as typed.
    pub down: Option<String>,
    /// `-x`.
    pub xparam: Option<String>,
    /// `-z`.
    pub shutdown: bool,
    /// `-B`.
    pub daemonize: bool,
    /// `-S`.
    pub ignore_link_state: bool,
    /// `-M`.
    pub nomcast: bool,
    /// `-D`.
    pub debug: bool,
    /// `-f`; `None`: nothing goes to syslog.
    pub facility: Option<Facility>,
    /// An `-f` that names none: said, and otherwise ignored.
    pub unknown_facility: Option<String>,
    /// `--grants`: what Lua hooks may do.
    pub grants: Option<String>,
    /// `--timeout`: for a script.
    pub timeout: Duration,
}

/// Why a command line does not become a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// `-h`, or nothing at all: the summary is wanted.
    Usage,
    /// Not an option of ours; the words are getopt's.
    Option(String),
    /// An option's value makes no sense, or one is missing; ucarp ends with this status.
    Value {
        /// The exit status.
        status: u8,
        /// ucarp's words.
        message: String,
    },
}

impl Refusal {
    /// With ucarp's status for what it finds itself.
    fn value(message: impl Into<String>) -> Self {
        Self::Value {
            status: 1,
            message: message.into(),
        }
    }
}

/// Reads words as ucarp does. `password_file` gives the content of a file, or the words about why
/// not.
///
/// # Errors
/// [`Refusal`]: the first that is wrong, from the left.
pub fn parse(
    words: &[String],
    password_file: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<Options, Refusal> {
    if words.is_empty() {
        return Err(Refusal::Usage);
    }
    let mut options = Options::default();
    for found in Words::new(OPTIONS, words) {
        options.take(&found.map_err(Refusal::Option)?, password_file)?;
    }
    Ok(options)
}

/// The same arguments with every password replaced by stars, for process lists.
#[must_use]
pub fn masked(words: &[String]) -> Vec<String> {
    let mut masked = words.to_vec();
    for found in Words::new(OPTIONS, words)
        .map_while(Result::ok)
        .filter(|found| found.flag == Flag::Pass)
    {
        if let Some(word) = masked.get_mut(found.place.word) {
            word.truncate(found.place.byte);
            word.push_str("****");
        }
    }
    masked
}

fn address(text: &str) -> Result<Option<Ipv4Addr>, Refusal> {
    text.parse()
        .map(Some)
        .map_err(|_| Refusal::value(format!("Invalid address: [{text}]")))
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interface: None,
            source: None,
            group: Ipv4Addr::new(224, 0, 0, 18),
            vhid: None,
            password: Password::default(),
            preempt: false,
            neutral: false,
            address: None,
            advbase: 1,
            advskew: 0,
            dead_ratio: 3,
            up: None,
            down: None,
            xparam: None,
            shutdown: false,
            daemonize: false,
            ignore_link_state: false,
            nomcast: false,
            debug: false,
            facility: Some(Facility::DAEMON),
            unknown_facility: None,
            grants: None,
            timeout: TIMEOUT,
        }
    }
}

impl Options {
    fn take(
        &mut self,
        found: &Found<'_>,
        password_file: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<(), Refusal> {
        let text = found.value;
        match found.flag {
            Flag::Interface => self.interface = some(text),
            Flag::SrcIp => self.source = address(text)?,
            Flag::McastIp => self.group = address(text)?.unwrap_or(self.group),
            Flag::Vhid => self.vhid = Some(vhid(text)?),
            Flag::Pass => self.password = Password(text.as_bytes().to_vec()),
            Flag::PassFile => {
                self.password = first_line(&password_file(text).map_err(Refusal::value)?);
            }
            Flag::Preempt => self.preempt = true,
            Flag::Neutral => self.neutral = true,
            Flag::Addr => self.address = address(text)?,
            Flag::Help => return Err(Refusal::Usage),
            Flag::AdvBase => self.advbase = byte(strtoul(text)),
            Flag::AdvSkew => self.advskew = byte(strtoul(text)),
            Flag::UpScript => self.up = some(text),
            Flag::DownScript => self.down = some(text),
            Flag::DeadRatio => self.dead_ratio = word(strtoul(text)),
            Flag::Debug => self.debug = true,
            Flag::Shutdown => self.shutdown = true,
            Flag::Daemonize => self.daemonize = true,
            Flag::IgnoreIfState => self.ignore_link_state = true,
            Flag::NoMcast => self.nomcast = true,
            Flag::Facility => self.take_facility(text),
            Flag::XParam => self.xparam = Some(text.to_owned()),
            Flag::Grants => self.grants = some(text),
            Flag::Timeout => self.timeout = timeout(text)?,
        }
        Ok(())
    }

    fn take_facility(&mut self, text: &str) {
        if text.eq_ignore_ascii_case("none") {
            self.facility = None;
        } else if let Some(facility) = Facility::named(text) {
            self.facility = Some(facility);
        } else {
            self.unknown_facility = Some(text.to_owned());
        }
    }

    /// What must be there, in ucarp's order. The interface has been found out by now.
    ///
    /// # Errors
    /// [`Refusal::Value`] about the first that is missing.
    pub fn check(&self) -> Result<(), Refusal> {
        let zero =
            |address: Option<Ipv4Addr>| address.is_none_or(|address| address.is_unspecified());
        let missing = [
            (
                self.interface.is_none(),
                "You must supply a network interface",
            ),
            (
                self.vhid.is_none(),
                "You must supply a valid virtual host id",
            ),
            (self.password.0.is_empty(), "You must supply a password"),
            (
                self.advbase == 0 && self.advskew == 0,
                "You must supply an advertisement time base",
            ),
            (
                zero(self.source),
                "You must supply a persistent source address",
            ),
            (zero(self.address), "You must supply a virtual host address"),
        ];
        let first = missing.iter().find(|(missing, _)| *missing);
        first.map_or(Ok(()), |(_, message)| Err(Refusal::value(*message)))
    }

    /// What ucarp checks last, after its warnings about scripts.
    ///
    /// # Errors
    /// [`Refusal::Value`] about the first that is wrong.
    pub fn check_last(&self) -> Result<(), Refusal> {
        if self.dead_ratio == 0 {
            return Err(Refusal::value("Dead ratio can't be zero"));
        }
        if self.password.0.len() > Secret::BYTES_MAX {
            return Err(Refusal::Value {
                status: 2,
                message: "Password too long".to_owned(),
            });
        }
        Ok(())
    }
}

fn vhid(text: &str) -> Result<u8, Refusal> {
    let number = u8::try_from(strtoul(text)).ok().filter(|vhid| *vhid > 0);
    number.ok_or_else(|| Refusal::value("vhid must be between 1 and 255."))
}

/// Seconds, 1 to an hour.
fn timeout(text: &str) -> Result<Duration, Refusal> {
    let given = text.parse().ok().map(Duration::from_secs);
    given
        .filter(|given| (Duration::from_secs(1)..=TIMEOUT_MAX).contains(given))
        .ok_or_else(|| Refusal::Value {
            status: 2,
            message: format!(
                "--timeout must be between 1 and {} seconds",
                TIMEOUT_MAX.as_secs()
            ),
        })
}

/// ucarp reads the first line of a password file, 511 bytes at most, and takes off its newline
/// alone.
fn first_line(content: &[u8]) -> Password {
    let line = content
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    Password(line.get(..line.len().min(511)).unwrap_or_default().to_vec())
}

/// The summary of `-h`.
pub const USAGE: &str = "
ucarp 1.5.2 (carpd)

--interface=<if> (-i <if>): bind interface <if>
--srcip=<ip> (-s <ip>): source (real) IP address of that host
--mcastip=<ip> (-m <ip>): multicast group IP address (default 224.0.0.18)
--vhid=<id> (-v <id>): virtual IP identifier (1-255)
--pass=<pass> (-p <pass>): password
--passfile=<file> (-o <file>): read password from file
--preempt (-P): becomes a master as soon as possible
--neutral (-n): don't run downscript at start if backup
--addr=<ip> (-a <ip>): virtual shared IP address
--help (-h): summary of command-line options
--advbase=<seconds> (-b <seconds>): advertisement frequency
--advskew=<skew> (-k <skew>): advertisement skew (0-255)
--upscript=<file> (-u <file>): run <file> to become a master
--downscript=<file> (-d <file>): run <file> to become a backup
--deadratio=<ratio> (-r <ratio>): ratio to consider a host as dead
--debug (-D): enable debug output
--shutdown (-z): call shutdown script at exit
--daemonize (-B): run in background
--ignoreifstate (-S): ignore interface state (down, no carrier)
--nomcast (-M): use broadcast (instead of multicast) advertisements
--facility=<facility> (-f): set syslog facility (default=daemon)
--xparam=<value> (-x): extra parameter to send to up/down scripts

Of carpd alone:

--grants=<file>: what a Lua hook given as <file> of -u or -d may do
--timeout=<seconds>: end a script that runs longer (default 300)

Sample usage:

ucarp --interface=eth0 --srcip=10.1.1.1 --vhid=1 --passfile=/etc/ucarp.pass \\
      --addr=10.1.1.252 --shutdown \\
      --upscript=/etc/vip-up.sh --downscript=/etc/vip-down.sh

-u and -d may each be a program, a .lua hook, or the same .lua hook twice.
See docs/coming-from-ucarp.md for what differs from ucarp.

";
