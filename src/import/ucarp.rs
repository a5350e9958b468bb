//! Command lines of ucarp.

use crate::config::legacy::{self, Options};
use crate::types::shown;

use super::account::Id;
use super::target::Table;
use super::{Source, Work, common};

/// Does ucarp's name begin it, with or without a path?
pub(super) fn is_command_line(line: &str) -> bool {
    command(line).is_some()
}

/// The options behind the program's name. What starts it (`exec`, `sudo`, `nohup`) is passed over.
fn command(line: &str) -> Option<&str> {
    let mut rest = line.trim();
    loop {
        let (first, behind) = rest.split_once([' ', '\t'])?;
        match first {
            "exec" | "sudo" | "nohup" => rest = behind.trim_start(),
            _ if first.rsplit('/').next() == Some("ucarp") => {
                let behind = behind.trim_start();
                return behind.starts_with('-').then_some(behind);
            }
            _ => return None,
        }
    }
}

/// One virtual host for each line that starts ucarp. Other lines are no statements: a script that
/// starts it is full of them.
pub(super) fn read(source: &Source, work: &mut Work<'_>) {
    for (number, line) in logical_lines(&source.text) {
        let Some(rest) = command(&line) else {
            continue;
        };
        let words = common::words(rest.trim_end_matches(['&', ' '])).unwrap_or_default();
        let text = format!("ucarp {}", legacy::masked(&words).join(" "));
        let id = work.account.enter(&source.name, number, shown(&text));
        if words
            .iter()
            .any(|word| word.contains('$') || word.contains('`'))
        {
            work.account.untranslated(
                id,
                "values come from variables of the script: give the whole command line, as `ps -ww -o args -C ucarp` shows it",
            );
            continue;
        }
        add(work, id, &words);
    }
}

/// Lines, with those that a backslash continues joined.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (number, line) in (1..).zip(text.lines()) {
        let (part, more) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match lines.last_mut() {
            Some((_, last)) if continues => last.push_str(part),
            _ => lines.push((number, part.to_owned())),
        }
        continues = more;
    }
    lines
}

/// Adds the virtual host of these options.
pub(super) fn add(work: &mut Work<'_>, id: Id, words: &[String]) {
    let mut file = None;
    let mut password_file = |path: &str| {
        file = Some(path.to_owned());
        // What is in it does not matter here; it stays where it is.
        Ok(b"kept".to_vec())
    };
    let options = match legacy::parse(words, &mut password_file) {
        Ok(options) => options,
        Err(refusal) => {
            let why = match refusal {
                legacy::Refusal::Usage => "it asks for help".to_owned(),
                legacy::Refusal::Option(why) | legacy::Refusal::Value { message: why, .. } => why,
            };
            work.account
                .untranslated(id, format!("ucarp refuses it: {}", shown(&why)));
            return;
        }
    };
    let (Some(vhid), Some(address)) = (options.vhid, options.address) else {
        work.account
            .untranslated(id, "ucarp refuses it: it needs -v and -a");
        return;
    };
    let device = options.device().ok().map(|device| device.to_string());
    let name = work
        .target
        .vhost_names
        .give(&format!("{}-{vhid}", device.as_deref().unwrap_or("vhost")));
    let mut vhost = Table::default();
    vhost.set("name", name.as_str());
    vhost.set("interface", device.as_deref().unwrap_or("eth0"));
    vhost.set("vhid", i64::from(vhid));
    vhost.set("addresses", vec![format!("{address}/32")]);
    if let Some(path) = file {
        vhost.set("password-file", path.as_str());
        work.account
            .translated(id, format!("the virtual host {name}"));
    } else {
        let plain = given_password(words);
        common::password(work, id, &mut vhost, &name, &plain);
        work.account
            .translated(id, format!("the virtual host {name}"));
    }
    if device.is_none() {
        work.account.open(id, "without -i ucarp takes the first interface that is up: write its name into `interface`");
    }
    timing(&options, &mut vhost);
    common::as_ucarp(&mut vhost);
    let scripts = [&options.up, &options.down].map(|script| script.as_deref());
    for script in scripts.into_iter().flatten() {
        if !script.starts_with('/') {
            work.account.untranslated(
                id,
                format!(
                    "{} is no absolute path: write `up` and `down` of the hook yourself",
                    shown(script)
                ),
            );
        }
    }
    if let [up, down] = scripts.map(|script| script.filter(|path| path.starts_with('/')))
        && (up.is_some() || down.is_some())
    {
        common::scripts(work, &mut vhost, &name, up, down);
    }
    work.target.vhosts.push((Vec::new(), vhost));
    work.remark("carpd adds and removes the virtual address itself; a script that does so as well does no harm");
}

fn timing(options: &Options, vhost: &mut Table) {
    if options.advbase != 1 {
        vhost.set("advbase", i64::from(options.advbase.min(254)));
    }
    if options.advskew != 0 {
        vhost.set("advskew", i64::from(options.advskew.min(254)));
    }
    if options.dead_ratio != 3 {
        vhost.set("dead-ratio", i64::from(options.dead_ratio.clamp(1, 255)));
    }
    for (key, on) in [
        ("preempt", options.preempt),
        ("neutral", options.neutral),
        ("nomcast", options.nomcast),
        ("ignore-link-state", options.ignore_link_state),
    ] {
        if on {
            vhost.set(key, true);
        }
    }
    if options.group != std::net::Ipv4Addr::new(224, 0, 0, 18) {
        vhost.set("mcast-group", options.group.to_string());
    }
    if let Some(source) = options.source {
        vhost.set("source-address", source.to_string());
    }
    if let Some(xparam) = &options.xparam {
        vhost.set("xparam", xparam.as_str());
    }
}

/// The value of the last `-p` or `--pass`.
fn given_password(words: &[String]) -> String {
    let masked = legacy::masked(words);
    let changed = words
        .iter()
        .zip(&masked)
        .rev()
        .find(|(word, masked)| word != masked);
    let Some((word, masked)) = changed else {
        return String::new();
    };
    let before = masked.strip_suffix("****").unwrap_or_default();
    word.strip_prefix(before).unwrap_or_default().to_owned()
}
