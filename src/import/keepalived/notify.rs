//! `notify_master` and its kin: shell scripts become a hook, as by `carpd port --from keepalived`.

use std::path::{Path, PathBuf};

use super::lex::Statement;
use crate::import::account::Id;
use crate::import::target::{File, Table};
use crate::import::{Work, common};
use crate::port::{self, Caller, FactKind, Keepalived, Settings, Source};

/// What `carpd port` has to guess of a script alone.
const GUESSED: &str = "its arguments are taken to be those of notify";

/// What tells scripts whose they are.
pub(super) struct Owner<'a> {
    /// Of the instance or group.
    pub(super) name: &'a str,
    pub(super) group: bool,
    pub(super) priority: Option<u8>,
    pub(super) interface: &'a str,
    pub(super) address: Option<&'a str>,
}

/// The statements that name scripts.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    master: Option<Statement>,
    backup: Option<Statement>,
    fault: Option<Statement>,
    stop: Option<Statement>,
    all: Option<Statement>,
}

impl Scripts {
    /// Takes the statement if it names a script that transitions run.
    pub(super) fn take(&mut self, statement: &Statement) -> bool {
        let place = match statement.name() {
            "notify_master" => &mut self.master,
            "notify_backup" => &mut self.backup,
            "notify_fault" => &mut self.fault,
            "notify_stop" => &mut self.stop,
            "notify" => &mut self.all,
            _ => return false,
        };
        *place = Some(statement.clone());
        true
    }

    /// Says that there is nothing whose transitions would run them.
    pub(super) fn nowhere(&self, work: &mut Work<'_>) {
        for statement in self.each() {
            work.account.untranslated(
                statement.id,
                "the group has no instance that is in the file",
            );
        }
    }

    fn each(&self) -> impl Iterator<Item = &Statement> {
        [
            &self.master,
            &self.backup,
            &self.fault,
            &self.stop,
            &self.all,
        ]
        .into_iter()
        .flatten()
    }
}

/// Adds the hook that does what they do.
pub(super) fn add(scripts: &Scripts, owner: &Owner<'_>, vhost: &mut Table, work: &mut Work<'_>) {
    let ids: Vec<Id> = scripts.each().map(|statement| statement.id).collect();
    let Some(first) = ids.first().copied() else {
        return;
    };
    if let (Some(all), true) = (&scripts.all, ids.len() > 1) {
        work.account.untranslated(
            all.id,
            "it runs besides the script of the state, which one hook cannot be made of: port it by itself (`carpd port --from keepalived`), and add it to `hooks`",
        );
    }
    let by_state = scripts.master.is_some()
        || scripts.backup.is_some()
        || scripts.fault.is_some()
        || scripts.stop.is_some();
    let (up, down) = if by_state {
        (&scripts.master, &scripts.backup)
    } else {
        (&scripts.all, &scripts.all)
    };
    let mut read =
        |statement: &Option<Statement>| statement.as_ref().and_then(|found| source(found, work));
    let (up_source, down_source) = (read(up), read(down));
    let (fault, stop) = (read(&scripts.fault), read(&scripts.stop));
    let missing = [
        (up, &up_source),
        (down, &down_source),
        (&scripts.fault, &fault),
        (&scripts.stop, &stop),
    ]
    .iter()
    .any(|(statement, source)| statement.is_some() && source.is_none());
    // What could not be read is said already; half of a pair would be no translation.
    if missing {
        for statement in scripts.each() {
            work.account.untranslated(
                statement.id,
                "a script beside it could not be read, and they become one hook",
            );
        }
        return;
    }
    let Some((path, up_source)) = up_source else {
        for id in ids {
            work.account.untranslated(id, "nothing runs on becoming master: write on_backup by hand, or `carpd port` it as the second script");
        }
        return;
    };
    let name = work.target.hook_name(owner.name);
    let mut settings = Settings::new(&name);
    settings.script = path.display().to_string();
    settings.directory = work.below_root(path.parent().unwrap_or(Path::new("/")));
    settings.interface = Some(owner.interface.to_owned());
    settings.address = owner
        .address
        .map(|address| address.split('/').next().unwrap_or_default().to_owned());
    settings.caller = Caller::Keepalived(Box::new(Keepalived {
        name: Some(owner.name.to_owned()),
        group: owner.group,
        priority: owner.priority.map(|priority| priority.to_string()),
        fault: fault.map(|(_, source)| source),
        stop: stop.map(|(_, source)| source),
    }));
    let down_source = down_source.map(|(path, source)| {
        settings.down_script = path.display().to_string();
        source
    });
    match port::port(&up_source, down_source.as_ref(), &settings) {
        Err(error) => {
            let why = format!(
                "{}; write the hook by hand",
                crate::types::shown(error.to_string())
            );
            for id in ids {
                work.account.untranslated(id, why.clone());
            }
        }
        Ok(ported) => {
            let file = format!("hooks/{name}.lua");
            for id in ids {
                work.account.translated(id, file.clone());
            }
            // That it is a `notify` is no guess here.
            let known = |text: &str| !by_state && text.starts_with(GUESSED);
            let mut asks = ported
                .facts
                .iter()
                .filter(|fact| fact.kind != FactKind::Different && !known(&fact.text));
            if let Some(fact) = asks.next() {
                let more = match asks.count() {
                    0 => String::new(),
                    n => format!(", and {n} more (`carpd port` lists them)"),
                };
                work.account.open(
                    first,
                    format!(
                        "{file}, in which something is left to do: {}:{}: {}{more}",
                        fact.script,
                        fact.line(),
                        fact.text
                    ),
                );
            }
            work.target.hooks.insert(name.clone(), ported.toml);
            work.target.files.push(File {
                path: file,
                text: ported.lua,
                secret: false,
            });
            vhost.push("hooks", name);
        }
    }
}

/// The script of a statement, with its path. If it cannot be read, that is said.
fn source(statement: &Statement, work: &mut Work<'_>) -> Option<(PathBuf, Source)> {
    let words = common::words(statement.value()).unwrap_or_default();
    let Some((program, arguments)) = words.split_first() else {
        work.account
            .untranslated(statement.id, "it names no script");
        return None;
    };
    let path = Path::new(program);
    if !path.is_absolute() {
        work.account.untranslated(
            statement.id,
            "only a script that is named by its absolute path can be found",
        );
        return None;
    }
    match work.read(path) {
        Ok(text) => {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let source = Source {
                name,
                text,
                arguments: arguments.to_vec(),
            };
            Some((path.to_owned(), source))
        }
        Err(why) => {
            work.account.untranslated(
                statement.id,
                format!("cannot read {}: {why}; where it is, `carpd port --from keepalived` makes a hook of it", crate::types::shown(program)),
            );
            None
        }
    }
}
