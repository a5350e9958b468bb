//! What is known about the machine and the virtual host that the scripts are for.

use std::collections::HashMap;
use std::path::PathBuf;

/// What the person who ports may say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hook's name, as in `[hook.NAME]`.
    pub name: String,
    /// The script's path, its `$0`.
    pub script: String,
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
            name: name.to_owned(),
            script: String::new(),
            directory: PathBuf::from("."),
            interface: None,
            address: None,
            xparam: None,
            explicit: false,
            interfaces: None,
            tables: HashMap::new(),
        }
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
