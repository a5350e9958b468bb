//! From checked options to a configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::model::{self, AtStop, Health, Kind, Script};
use super::super::secret::Secret;
use super::super::share::Share;
use super::super::{
    Announce, Config, Daemon, Destination, FamilyTimers, FileOwners, Hook, InMaintenance,
    Ipv6Checksum, Language, Leases, Limits, LinkLocal, Log, LogFormat, LogLevel, OnConflict,
    OnFailure, Peers, PreferredLifetime, Reload, Sandbox, ServiceBackend, SourceMac, TieBreak,
    Vhost,
};
use super::{Options, Refusal};
use crate::effect::Grants;
use crate::proto::{Damping, Settings};
use crate::trust::Trust;
use crate::types::{AdvBase, AdvSkew, IfName, Name, Vhid, VirtualAddress};

/// The longest that stopping may take, the down script of `-z` included.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Where and how ucarp was called: scripts get the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The working directory: where relative paths begin, and scripts run.
    pub directory: PathBuf,
    /// The environment, which scripts inherit whole.
    pub environment: Vec<(OsString, OsString)>,
    /// From the file of `--grants`.
    pub grants: Grants,
}

impl Options {
    /// The device behind the interface's name: an alias as `eth0:1` is a label on `eth0`.
    ///
    /// # Errors
    /// [`Refusal::Value`] with ucarp's words about a name that no device can have.
    pub fn device(&self) -> Result<IfName, Refusal> {
        let typed = self.interface.as_deref().unwrap_or_default();
        let device = typed.split_once(':').map_or(typed, |(device, _)| device);
        let refused = |why: &str| Refusal::Value {
            status: 2,
            message: format!("{why}\nUnable to find MAC address of [{typed}]"),
        };
        if typed.len() >= 16 {
            return Err(refused("Interface name too long"));
        }
        IfName::new(device)
            .map_err(|_| refused("Unable to get hardware info about an interface: No such device"))
    }

    /// The configuration that does what these options say.
    ///
    /// # Errors
    /// As [`Self::check`] and [`Self::device`].
    pub fn config(&self, place: &Place) -> Result<Config, Refusal> {
        self.check()?;
        self.check_last()?;
        let interface = self.device()?;
        let (Some(vhid), Some(address)) = (
            self.vhid.and_then(|vhid| Vhid::new(vhid.into()).ok()),
            self.address,
        ) else {
            return Err(Refusal::value("You must supply a valid virtual host id"));
        };
        let key = Secret::from_file(&self.password.0)
            .map_err(|error| Refusal::value(error.to_string()))?;
        let hooks = self.hooks(place);
        let vhost = Vhost {
            name: name(&format!("{interface}-{vhid}")),
            interface,
            vhid,
            addresses: vec![VirtualAddress {
                ip: IpAddr::V4(address),
                prefix: 32,
            }],
            key,
            advbase: AdvBase(self.advbase),
            advskew: AdvSkew(self.advskew),
            preempt: self.preempt.into(),
            dead_ratio: self.dead_ratio,
            neutral: self.neutral,
            tie_break: TieBreak::Ucarp,
            peers: Peers::Bsd,
            family_timers: FamilyTimers::All,
            link_local: LinkLocal::Include,
            ipv6_checksum: Ipv6Checksum::Plain,
            send_demote_byte: false,
            openbsd_lladdr: None,
            clamp_advskew: false,
            needs_fit_interface: false,
            manage_addresses: false,
            lease: Leases::Off,
            preferred_lifetime: PreferredLifetime::Zero,
            at_stop: if self.shutdown {
                AtStop::HooksFirst
            } else {
                AtStop::AddressesOnly
            },
            destination: Destination {
                ethernet_broadcast: self.nomcast,
                group: self.group,
                group6: Settings::IPV6_GROUP,
            },
            startup_delay: Duration::ZERO,
            preempt_delay: Duration::ZERO,
            hold_down: Duration::ZERO,
            damping: Damping::OFF,
            overlap: Duration::ZERO,
            unicast: Vec::new(),
            min_ttl: u8::MAX,
            source_mac: SourceMac::Ucarp,
            virtual_mac: false,
            source_address: self.source,
            source_address6: None,
            ignore_link_state: self.ignore_link_state,
            in_maintenance: InMaintenance::LastResort,
            // ucarp neither asks nor answers.
            on_conflict: OnConflict::Report,
            probe_interval: Duration::ZERO,
            announce: Announce {
                count: 1,
                interval: Duration::from_secs(1),
                ..Announce::default()
            },
            xparam: self.xparam.clone(),
            hooks: hooks.keys().cloned().collect(),
            tracks: Vec::new(),
            adopt: false,
            keep_degraded: true,
            netns: None,
            place: model::Place::default(),
        };
        Ok(Config {
            daemon: self.daemon(),
            trust: Trust::default(),
            vhosts: vec![vhost],
            tracks: BTreeMap::new(),
            groups: BTreeMap::new(),
            notify: BTreeMap::new(),
            hooks,
            share: Share::All,
            all_shares: BTreeSet::from([Share::All]),
        })
    }

    fn daemon(&self) -> Daemon {
        Daemon {
            node_name: None,
            shutdown_timeout: STOP_MAX,
            sandbox: Sandbox::Required,
            // As in ucarp, which does not check who can write its scripts.
            file_owners: FileOwners::Warn,
            realtime: false,
            log: Log {
                level: if self.debug {
                    LogLevel::Debug
                } else {
                    LogLevel::Info
                },
                format: LogFormat::Auto,
            },
            state_dir: PathBuf::from("/var/lib/carpd"),
            run_dir: PathBuf::from("/run/carpd"),
            service_backend: ServiceBackend::Auto,
            ca_file: None,
            listen: None,
            read_group: None,
            order_group: None,
            hangup_stops: true,
        }
    }

    /// At most one Lua hook for each of the two files, and one script for what is a program.
    fn hooks(&self, place: &Place) -> BTreeMap<Name, Hook> {
        let mut hooks = BTreeMap::new();
        let mut programs = [None, None];
        for ((which, file), program) in [("up", &self.up), ("down", &self.down)]
            .into_iter()
            .zip(&mut programs)
        {
            let Some(file) = file else { continue };
            if !is_module(file) {
                // Joined, not resolved: what is executed is what was named, links and all.
                *program = Some(place.directory.join(file));
            } else if which == "up" || self.up.as_ref() != Some(file) {
                let both = self.up == self.down;
                hooks.insert(
                    name(if both { "hook" } else { which }),
                    self.hook(file, Kind::Module, place),
                );
            }
        }
        let [up, down] = programs;
        if let Some(shown) = self
            .up
            .as_ref()
            .filter(|_| up.is_some())
            .or(self.down.as_ref())
            .filter(|_| up.is_some() || down.is_some())
        {
            let script = Script {
                up,
                down,
                interface: self.interface.clone(),
                directory: Some(place.directory.clone()),
                environment: Some(place.environment.clone()),
            };
            hooks.insert(
                name("script"),
                self.hook(shown, Kind::Script(Box::new(script)), place),
            );
        }
        hooks
    }

    fn hook(&self, source: &str, kind: Kind, place: &Place) -> Hook {
        Hook {
            source: source.to_owned(),
            path: place.directory.join(source),
            digest: None,
            signature: None,
            language: Language::Lua,
            kind,
            limits: Limits {
                wall: self.timeout,
                ..Limits::default()
            },
            before_timeout: Duration::from_secs(1),
            on_failure: OnFailure::Ignore,
            runners: 1,
            health: Health::default(),
            reload: Reload::Manual,
            config_json: "{}".to_owned(),
            grants: place.grants.clone(),
            place: model::Place::default(),
        }
    }
}

/// Is it a hook for one of our runtimes, by its ending?
fn is_module(file: &str) -> bool {
    matches!(
        Path::new(file)
            .extension()
            .and_then(|ending| ending.to_str()),
        Some("lua" | "luau")
    )
}

/// What a name cannot hold becomes a dot.
fn name(text: &str) -> Name {
    let fits = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '.'
        }
    };
    let text: String = text.chars().map(fits).take(64).collect();
    let text = if text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        text
    } else {
        format!("x{text}")
    };
    Name::new(text.get(..64).unwrap_or(&text)).expect("every character was made to fit")
}
