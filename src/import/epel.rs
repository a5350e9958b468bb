//! `/etc/ucarp/vip-*.conf`, which the ucarp package of EPEL starts one ucarp each from.

use super::account::Id;
use super::{Source, Work, common, ucarp};

/// The files of a package that each virtual host begins with.
const COMMON: &str = "vip-common.conf";

/// An assignment of a file, with its statement.
struct Setting {
    id: Id,
    name: String,
    value: String,
}

pub(super) fn read(sources: &[Source], work: &mut Work<'_>) {
    let is_common = |source: &&Source| source.name.ends_with(COMMON);
    let shared: Vec<Setting> = sources
        .iter()
        .filter(is_common)
        .flat_map(|source| settings(source, work))
        .collect();
    for source in sources.iter().filter(|source| !is_common(source)) {
        let own = settings(source, work);
        vhost(&shared, &own, work);
    }
}

fn settings(source: &Source, work: &mut Work<'_>) -> Vec<Setting> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(source.text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let setting = common::assignment(line);
        let text = match setting {
            Some((name @ "PASSWORD", _)) => format!("{name}=****"),
            _ => crate::types::shown(line),
        };
        let id = work.account.enter(&source.name, number, text);
        if let Some((name, value)) = setting {
            found.push(Setting {
                id,
                name: name.to_owned(),
                value: value.to_owned(),
            });
        }
    }
    found
}

/// The later of two assignments counts.
fn vhost(shared: &[Setting], own: &[Setting], work: &mut Work<'_>) {
    let all = || shared.iter().chain(own);
    let get = |name: &str| {
        all()
            .rfind(|setting| setting.name == name)
            .map(|found| found.value.as_str())
    };
    let Some(first) = own.first() else {
        return;
    };
    let mut words = Vec::new();
    let options = [
        ("BIND_INTERFACE", "--interface"),
        ("PASSWORD", "--pass"),
        ("SOURCE_ADDRESS", "--srcip"),
        ("ID", "--vhid"),
        ("VIP_ADDRESS", "--addr"),
        ("UPSCRIPT", "--upscript"),
        ("DOWNSCRIPT", "--downscript"),
    ];
    for (name, option) in options {
        if let Some(value) = get(name) {
            // The package's own scripts add and remove the address, which carpd does.
            let own_script = value.starts_with("/usr/libexec/ucarp/vip-");
            if !own_script {
                words.push(format!("{option}={value}"));
            }
        }
    }
    words.extend(common::words(get("OPTIONS").unwrap_or_default()).unwrap_or_default());
    ucarp::add(work, first.id, &words);
    for setting in all() {
        let known = options.iter().any(|(name, _)| *name == setting.name);
        match setting.name.as_str() {
            "OPTIONS" => work
                .account
                .translated(setting.id, "keys of the virtual host"),
            _ if known && setting.id != first.id => {
                work.account
                    .translated(setting.id, "a key of the virtual host");
            }
            _ => {}
        }
    }
}
