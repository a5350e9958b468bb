//! Maintenance that is in force here, or will be when the daemon starts.

use std::path::Path;

use crate::config::Config;
use crate::engine::{self, Maintenance};
use crate::ledger::{Origin, instance_name};

/// As the daemon of this configuration has it on the disk. What may not be read is not known, which is
/// no fault of the configuration.
pub(super) fn look(file: &Path, config: &Config) -> Vec<Maintenance> {
    let Ok(Origin { boot, .. }) = Origin::current() else {
        return Vec::new();
    };
    let of = |share: &crate::config::Share| {
        let instance = instance_name(file, &share.to_string());
        let directory = config.daemon.state_dir.join(instance);
        engine::maintenance_in(&directory, boot).unwrap_or_default()
    };
    config.all_shares.iter().flat_map(of).collect()
}

/// In a sentence.
pub(super) fn in_words(maintenance: &Maintenance) -> String {
    let Maintenance {
        vhost,
        reason,
        ends_in_ms,
        never,
        ..
    } = maintenance;
    let mut text = match vhost {
        None => "this node is in maintenance".to_owned(),
        Some(name) => format!("virtual host {name} is in maintenance here"),
    };
    if let Some(ms) = ends_in_ms {
        text.push_str(&format!(" for {} s", ms.div_ceil(1000)));
    }
    if *never {
        text.push_str(", and never takes over");
    }
    if !reason.is_empty() {
        text.push_str(&format!(": {reason}"));
    }
    text.push_str("; `carpd maintenance off` ends it");
    text
}
