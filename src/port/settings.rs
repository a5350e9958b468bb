//! What is known about the machine and the virtual host that the scripts are for.

use std::collections::HashMap;
use std::path::PathBuf;

use super::Source;

/// Who runs the scripts, and so what they are called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// ucarp: interface, address, and what `--xparam` says. Scripts that are another's are refused,
    /// unless `whatever`.
    Ucarp {
        /// Even if they look like another's.
        whatever: bool,
    },
    /// keepalived: type, name, state, priority, after what `keepalived.conf` says in the script's
    /// own line.
    Keepalived(Box<Keepalived>),
}

/// What is known of the configuration of keepalived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keepalived {
    /// The name of the `vrrp_instance` or `vrrp_sync_group`.
    pub name: Option<String>,
    /// Is it a group?
    pub group: bool,
    /// The priority, as in the configuration.
    pub priority: Option<String>,
    /// What runs as `notify_fault`; the second script does otherwise.
    pub fault: Option<Source>,
    /// What runs as `notify_stop`; the second script does otherwise.
    pub stop: Option<Source>,
}

impl Keepalived {
    /// The script's first argument.
    pub(crate) const fn kind(&self) -> &'static str {
        if self.group { "GROUP" } else { "INSTANCE" }
    }

    /// The key of the hook's configuration that has the name.
    pub(crate) const fn name_key(&self) -> &'static str {
        if self.group { "group" } else { "instance" }
    }
}

/// What the person who ports may say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who runs the scripts.
    pub caller: Caller,
    /// The hook's name, as in `[hook.NAME]`.
    pub name: String,
    /// The path of the script for masters, its `$0`.
    pub script: String,
    /// The path of the script for backups; beside the other one if empty.
    pub down_script: String,
    /// Where files that it reads with `.` are looked for.
    pub directory: PathBuf,
    /// The virtual host's interface: the script's `$1`.
    pub interface: Option<String>,
    /// Its address: the script's `$2`.
    pub address: Option<String>,
    /// ucarp's `--xparam`: the script's `$3`.
    pub xparam: Option<String>,
    /// Emit `on_backup` even where undoing `on_master` does the same.
    pub explicit: bool,
    /// The text of /etc/network/interfaces, for `ifup` of an alias.
    pub interfaces: Option<String>,
    /// Names of routing tables.
    pub tables: HashMap<String, u32>,
    /// What stands for an entry of the hook's configuration that is not known.
    pub(crate) stand_in: Option<fn(&str) -> String>,
}

/// What an alias of /etc/network/interfaces does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stanza {
    /// Its address with the prefix length.
    pub(crate) cidr: String,
    /// Does it run commands besides?
    pub(crate) commands: bool,
}

impl Settings {
    /// For a hook of this name; nothing else is known.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            caller: Caller::Ucarp { whatever: false },
            name: name.to_owned(),
            script: String::new(),
            down_script: String::new(),
            directory: PathBuf::from("."),
            interface: None,
            address: None,
            xparam: None,
            explicit: false,
            interfaces: None,
            tables: HashMap::new(),
            stand_in: None,
        }
    }

    /// What is known of the configuration of keepalived, if that runs the scripts.
    pub(crate) fn keepalived(&self) -> Option<&Keepalived> {
        match &self.caller {
            Caller::Keepalived(keepalived) => Some(keepalived),
            Caller::Ucarp { .. } => None,
        }
    }

    /// What an entry of the hook's configuration will be, if that is known.
    pub(crate) fn configured(&self, key: &str) -> Option<String> {
        let known = self.keepalived().and_then(|keepalived| match key {
            "priority" => keepalived.priority.clone(),
            key if key == keepalived.name_key() => keepalived.name.clone(),
            _ => None,
        });
        known.or_else(|| self.stand_in.map(|stand_in| stand_in(key)))
    }

    /// The names of routing tables, from the text of `rt_tables`.
    #[must_use]
    pub fn tables_of(text: &str) -> HashMap<String, u32> {
        let line = |line: &str| {
            let mut words = line.split('#').next()?.split_whitespace();
            let number = words.next()?.parse().ok()?;
            Some((words.next()?.to_owned(), number))
        };
        text.lines().filter_map(line).collect()
    }

    /// The path of the script for backups, whose file name this is.
    pub(crate) fn path_of_down(&self, name: &str) -> String {
        match self.script.rsplit_once('/') {
            _ if !self.down_script.is_empty() => self.down_script.clone(),
            Some((directory, _)) => format!("{directory}/{name}"),
            None => name.to_owned(),
        }
    }

    /// The stanza of an alias.
    pub(crate) fn stanza(&self, name: &str) -> Option<Stanza> {
        let (mut here, mut address, mut prefix, mut commands) = (false, None, None, false);
        for line in self.interfaces.as_deref()?.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("iface"), Some(iface)) => here = iface == name,
                (Some("auto" | "mapping" | "source"), _) => here = false,
                (Some("address"), Some(value)) if here => address = Some(value.to_owned()),
                (Some("netmask"), Some(value)) if here => {
                    prefix = match value.parse::<std::net::Ipv4Addr>() {
                        Ok(mask) => Some(u32::from(mask).leading_ones()),
                        Err(_) => value.parse().ok(),
                    };
                }
                (Some(word), _) if here => {
                    commands |= matches!(
                        word,
                        "up" | "down" | "pre-up" | "post-up" | "pre-down" | "post-down" | "gateway"
                    );
                }
                _ => {}
            }
        }
        let address = address?;
        let cidr = if address.contains('/') {
            address
        } else {
            format!("{address}/{}", prefix.unwrap_or(32))
        };
        Some(Stanza { cidr, commands })
    }
}
