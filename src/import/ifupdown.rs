//! `/etc/network/interfaces` with the `ucarp-` keys of Debian's package.

use std::collections::BTreeMap;

use super::account::Id;
use super::{Source, Work, ucarp};

/// A key of a stanza.
struct Key {
    id: Id,
    name: String,
    value: String,
}

/// `iface NAME FAMILY METHOD` and what follows it.
struct Stanza {
    id: Id,
    name: String,
    keys: Vec<Key>,
}

impl Stanza {
    fn get(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(|key| key.value.as_str())
    }
}

pub(super) fn read(source: &Source, work: &mut Work<'_>) {
    let stanzas = stanzas(source, work);
    let aliases: BTreeMap<&str, &Stanza> = stanzas
        .iter()
        .filter(|stanza| stanza.name.ends_with(":ucarp"))
        .map(|stanza| (stanza.name.as_str(), stanza))
        .collect();
    for stanza in &stanzas {
        if stanza.keys.iter().any(|key| key.name.starts_with("ucarp-")) {
            vhost(stanza, &aliases, work);
        }
    }
    for stanza in &stanzas {
        rest(stanza, work);
    }
}

fn stanzas(source: &Source, work: &mut Work<'_>) -> Vec<Stanza> {
    let mut found: Vec<Stanza> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(source.text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let value = value.trim();
        let text = if name == "ucarp-password" {
            format!("{name} ****")
        } else {
            crate::types::shown(line)
        };
        let id = work.account.enter(&source.name, number, text);
        match name {
            "iface" => {
                let name = value.split_whitespace().next().unwrap_or_default();
                open = true;
                found.push(Stanza {
                    id,
                    name: name.to_owned(),
                    keys: Vec::new(),
                });
            }
            "auto" | "source" | "source-directory" | "mapping" | "rename" | "no-auto-down" => {
                open = false;
                work.account.unneeded(id, "stays where it is");
            }
            _ if name.starts_with("allow-") => {
                open = false;
                work.account.unneeded(id, "stays where it is");
            }
            _ => {
                let stanza = found.last_mut().filter(|_| open);
                match stanza {
                    Some(stanza) => stanza.keys.push(Key {
                        id,
                        name: name.to_owned(),
                        value: value.to_owned(),
                    }),
                    None => work.account.unneeded(id, "stays where it is"),
                }
            }
        }
    }
    found
}

/// As `/etc/network/if-up.d/ucarp` calls ucarp.
fn vhost(stanza: &Stanza, aliases: &BTreeMap<&str, &Stanza>, work: &mut Work<'_>) {
    let options = [
        ("ucarp-vid", "-v"),
        ("ucarp-password", "-p"),
        ("ucarp-vip", "-a"),
        ("ucarp-upscript", "-u"),
        ("ucarp-downscript", "-d"),
        ("ucarp-advskew", "-k"),
        ("ucarp-advbase", "-b"),
        ("ucarp-deadratio", "-r"),
        ("ucarp-xparam", "-x"),
    ];
    let mut words = vec!["-i".to_owned(), stanza.name.clone()];
    if let Some(address) = stanza.value("address") {
        let address = address.split('/').next().unwrap_or_default();
        words.extend(["-s".to_owned(), address.to_owned()]);
    }
    for (key, option) in options {
        // The package's own scripts set up the alias, whose address carpd holds.
        let value = stanza
            .value(key)
            .filter(|value| !value.starts_with("/usr/share/ucarp/vip-"));
        if let Some(value) = value {
            words.extend([option.to_owned(), value.to_owned()]);
        }
    }
    for (key, option) in [("ucarp-master", "-P"), ("ucarp-nomcast", "-M")] {
        let is_off = |value: &str| {
            ["no", "off", "false", "0"]
                .iter()
                .any(|off| value.starts_with(off))
        };
        if stanza.value(key).is_some_and(|value| !is_off(value)) {
            words.push(option.to_owned());
        }
    }
    let id = stanza.get("ucarp-vid").map_or(stanza.id, |key| key.id);
    let before = work.target.vhosts.len();
    ucarp::add(work, id, &words);
    let known = |name: &str| {
        options.iter().any(|(key, _)| *key == name)
            || ["ucarp-master", "ucarp-nomcast"].contains(&name)
    };
    for key in stanza
        .keys
        .iter()
        .filter(|key| key.id != id && known(&key.name))
    {
        work.account.translated(key.id, "a key of the virtual host");
    }
    if work.target.vhosts.len() == before {
        return;
    }
    let alias = format!("{}:ucarp", stanza.name);
    if let Some(alias) = aliases.get(alias.as_str()) {
        take_alias(alias, work);
    }
}

/// The stanza of the alias holds the address with its prefix length.
fn take_alias(alias: &Stanza, work: &mut Work<'_>) {
    let Some((_, vhost)) = work.target.vhosts.last_mut() else {
        return;
    };
    let address = alias.value("address").unwrap_or_default();
    let (ip, prefix) = match address.split_once('/') {
        Some((ip, prefix)) => (ip, prefix.parse().ok()),
        None => (address, alias.value("netmask").and_then(prefix)),
    };
    if ip.parse::<std::net::IpAddr>().is_ok() {
        let prefix: u32 = prefix.unwrap_or(32);
        vhost.set("addresses", vec![format!("{ip}/{prefix}")]);
    }
    work.account.different(
        alias.id,
        "carpd holds its address itself: remove the stanza, or keep it out of `auto`",
    );
    for key in &alias.keys {
        match key.name.as_str() {
            "address" | "netmask" => work
                .account
                .translated(key.id, "`addresses` of the virtual host"),
            "broadcast" | "network" => work.account.unneeded(key.id, "follows from the address"),
            name if ["up", "down", "pre-up", "pre-down", "post-up", "post-down"]
                .contains(&name) =>
            {
                work.account.untranslated(
                    key.id,
                    "a command for the alias: it belongs into a hook (`carpd port`)",
                );
            }
            _ => {}
        }
    }
}

/// Whatever is not ucarp's stays with ifupdown.
fn rest(stanza: &Stanza, work: &mut Work<'_>) {
    let alias = stanza.name.ends_with(":ucarp");
    if !alias {
        work.account.unneeded(
            stanza.id,
            "stays where it is; take the ucarp- keys out of it",
        );
        for key in stanza
            .keys
            .iter()
            .filter(|key| !key.name.starts_with("ucarp-"))
        {
            work.account.unneeded(key.id, "stays where it is");
        }
    }
}

/// The prefix length of a netmask, or a prefix length.
fn prefix(netmask: &str) -> Option<u32> {
    if let Ok(mask) = netmask.parse::<std::net::Ipv4Addr>() {
        let bits = u32::from(mask);
        return (bits.leading_ones() + bits.trailing_zeros() == 32 || bits == 0)
            .then(|| bits.leading_ones());
    }
    netmask.parse().ok().filter(|prefix| *prefix <= 32)
}
