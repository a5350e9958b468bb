//! How addresses are announced: `garp_...` of instances, `vrrp_garp_...` of `global_defs`, and
//! `garp_group`.

use std::collections::BTreeMap;

use toml::Value;

use super::lex::Statement;
use crate::import::Work;
use crate::import::target::duration;

/// Keys of `[vhost.announce]`.
pub(super) type Keys = BTreeMap<&'static str, Value>;

/// What is said outside of the instances.
#[derive(Default)]
pub(super) struct Announce {
    pub(super) global: Keys,
    of_interface: BTreeMap<String, Keys>,
}

impl Announce {
    /// `garp_group`: intervals for the virtual hosts on some interfaces.
    pub(super) fn of_interfaces(&mut self, group: &Statement, work: &mut Work<'_>) {
        let (mut keys, mut interfaces) = (Keys::new(), Vec::new());
        for inner in &group.block {
            match inner.name() {
                "interface" => interfaces.push(inner.value().to_owned()),
                "interfaces" => {
                    for name in &inner.block {
                        interfaces.extend(name.words.iter().cloned());
                        work.account
                            .translated(name.id, "`announce` of its virtual hosts");
                    }
                    work.account.different(
                        inner.id,
                        "the interval is each virtual host's own, not one of all interfaces together",
                    );
                    continue;
                }
                _ => {
                    set(&mut keys, inner, work);
                    continue;
                }
            }
            work.account
                .translated(inner.id, "`announce` of its virtual hosts");
        }
        work.account.translated(
            group.id,
            "`announce` of the virtual hosts on its interfaces",
        );
        for interface in interfaces {
            self.of_interface
                .entry(interface)
                .or_default()
                .extend(keys.clone());
        }
    }

    /// The keys of a virtual host with these of its own.
    pub(super) fn keys(&self, interface: &str, own: Keys) -> Option<Value> {
        let mut keys = self.global.clone();
        keys.extend(
            self.of_interface
                .get(interface)
                .cloned()
                .unwrap_or_default(),
        );
        keys.extend(own);
        let table: toml::Table = keys
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        (!table.is_empty()).then_some(Value::Table(table))
    }
}

/// Sets what a statement says, with or without `vrrp_` before it. False if it is none of these.
pub(super) fn set(keys: &mut Keys, statement: &Statement, work: &mut Work<'_>) -> bool {
    let (value, id) = (statement.value(), statement.id);
    let name = statement.name();
    let name = name.strip_prefix("vrrp_").unwrap_or(name);
    let day = 0..=86_400_000;
    let (key, set) = match name {
        "garp_master_delay" => ("delay", duration(value, day).map(Value::from)),
        "garp_master_refresh" => ("refresh", duration(value, day).map(Value::from)),
        "garp_master_repeat" => {
            let count = value
                .parse::<i64>()
                .map_err(|_| format!("{:?} is no number", crate::types::shown(value)));
            ("count", count.map(|n| Value::from(n.clamp(1, 255))))
        }
        "garp_interval" | "gna_interval" if value.parse() == Ok(0.0) => {
            work.account.unneeded(
                id,
                "no pause, which is keepalived's default: carpd's is 200 ms",
            );
            return true;
        }
        "garp_interval" | "gna_interval" => {
            ("interval", duration(value, 10..=60_000).map(Value::from))
        }
        "garp_master_refresh_repeat" => {
            work.account
                .different(id, "a refresh announces as often as `announce.count`");
            return true;
        }
        "garp_extra_if" => {
            work.account.different(
                id,
                "addresses are announced on the interface that has them, and on no other",
            );
            return true;
        }
        "min_garp" => {
            work.account
                .different(id, "`announce` says how often addresses are announced");
            return true;
        }
        _ => return false,
    };
    match set {
        Ok(value) => {
            keys.insert(key, value);
            work.account.translated(id, format!("`announce.{key}`"));
        }
        Err(why) => work.account.untranslated(id, why),
    }
    true
}
