//! Reads `[track.NAME]`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;

use super::choice::{Choice as _, TrackKind};
use super::grant::{is_plain_path, is_unit};
use super::model::{
    Asked, AskedHook, Host, Local, Looked, Place, Poll, Program, Remote, StatusRange, Track,
    Tracked,
};
use super::problem::Findings;
use super::read::{At, Table, parse};
use super::reference::{self, Entry, track as key};
use crate::effect::{Endpoint, Url};
use crate::types::{IfName, Name};

/// A track as far as it could be read.
#[derive(Debug)]
pub(super) struct Draft {
    /// Its name where it is defined.
    pub(super) span: Range<usize>,
    /// Every virtual host has it.
    pub(super) all_vhosts: bool,
    /// The hook that it asks.
    pub(super) hook: Option<At<Name>>,
    /// `None` only if something was reported.
    pub(super) done: Option<Track>,
}

/// All tracks by name, including those that could not be read, since virtual hosts may refer to
/// them.
pub(super) fn read_all(root: &Table<'_>, out: &mut Findings) -> BTreeMap<Name, Draft> {
    let tracks = root.read(&reference::TRACK, out);
    let mut drafts = BTreeMap::new();
    for (name, table) in tracks.map(|tracks| tracks.value).unwrap_or_default() {
        let span = name.span.clone();
        let name = parse(name, out);
        let draft = table.map_or(
            Draft {
                span: span.clone(),
                all_vhosts: true,
                hook: None,
                done: None,
            },
            |table| read(&table, span, out),
        );
        if let Some(name) = name {
            drafts.insert(name.value, draft);
        }
    }
    drafts
}

/// Every key that belongs to some kinds only; `kind` itself decides which.
static OF_KINDS: &[&dyn Entry] = &[
    &key::INTERFACE,
    &key::CONNECT,
    &key::URL,
    &key::STATUS,
    &key::HOST,
    &key::PATH,
    &key::ARGV,
    &key::PROCESS,
    &key::UNIT,
    &key::TO,
    &key::VIA,
    &key::HOOK,
    &key::USER,
    &key::ENVIRONMENT,
];

/// Those of how something is asked.
static OF_POLLS: &[&dyn Entry] = &[&key::INTERVAL, &key::TIMEOUT, &key::RISE, &key::FALL];

/// The keys of a kind.
struct Keys {
    /// Those that it must have.
    needs: &'static [&'static dyn Entry],
    /// Those that it may have in addition to what every kind may have.
    may_have: &'static [&'static dyn Entry],
}

static LINK: Keys = Keys {
    needs: &[&key::INTERFACE],
    may_have: &[],
};
static TCP: Keys = Keys {
    needs: &[&key::CONNECT],
    may_have: OF_POLLS,
};
static HTTP: Keys = Keys {
    needs: &[&key::URL],
    may_have: &[
        &key::STATUS,
        &key::INTERVAL,
        &key::TIMEOUT,
        &key::RISE,
        &key::FALL,
    ],
};
static ICMP: Keys = Keys {
    needs: &[&key::HOST],
    may_have: OF_POLLS,
};
static FILE: Keys = Keys {
    needs: &[&key::PATH],
    may_have: &[&key::USER, &key::INTERVAL, &key::TIMEOUT],
};
static COMMAND: Keys = Keys {
    needs: &[&key::ARGV],
    may_have: &[
        &key::USER,
        &key::ENVIRONMENT,
        &key::INTERVAL,
        &key::TIMEOUT,
        &key::RISE,
        &key::FALL,
    ],
};

static PROCESS: Keys = Keys {
    needs: &[&key::PROCESS],
    may_have: &[&key::USER, &key::INTERVAL, &key::TIMEOUT],
};
static SERVICE: Keys = Keys {
    needs: &[&key::UNIT],
    may_have: &[
        &key::USER,
        &key::INTERVAL,
        &key::TIMEOUT,
        &key::RISE,
        &key::FALL,
    ],
};
static ROUTE: Keys = Keys {
    needs: &[&key::TO],
    may_have: &[&key::VIA, &key::INTERFACE, &key::INTERVAL],
};

static HOOK: Keys = Keys {
    needs: &[&key::HOOK],
    may_have: OF_POLLS,
};

impl Keys {
    fn of(kind: TrackKind) -> &'static Self {
        match kind {
            TrackKind::Link => &LINK,
            TrackKind::Tcp => &TCP,
            TrackKind::Http => &HTTP,
            TrackKind::Icmp => &ICMP,
            TrackKind::File => &FILE,
            TrackKind::Command => &COMMAND,
            TrackKind::Process => &PROCESS,
            TrackKind::Service => &SERVICE,
            TrackKind::Route => &ROUTE,
            TrackKind::Hook => &HOOK,
        }
    }

    fn has(&self, key: &dyn Entry) -> bool {
        let mut all = self.needs.iter().chain(self.may_have);
        all.any(|other| other.name() == key.name())
    }
}

fn read(table: &Table<'_>, span: Range<usize>, out: &mut Findings) -> Draft {
    let kind = table.read(&key::KIND, out);
    let demote = table.get(&key::DEMOTE, out);
    let all_vhosts = table.get(&key::ALL_VHOSTS, out);
    let given = Given::read(table, out);
    let hook = given.hook.clone();
    let tracked = kind.and_then(|kind| {
        belong(table, &kind, out);
        given.tracked(kind.value)
    });
    Draft {
        all_vhosts,
        hook,
        done: tracked.map(|tracked| Track {
            tracked,
            demote,
            place: Place(span.clone()),
        }),
        span,
    }
}

/// What is written, whatever the kind is.
struct Given {
    interface: Option<IfName>,
    connect: Option<Endpoint>,
    url: Option<Url>,
    good: Vec<StatusRange>,
    host: Option<Host>,
    path: Option<PathBuf>,
    program: Option<Program>,
    process: Option<String>,
    unit: Option<String>,
    to: Option<IpAddr>,
    via: Option<IpAddr>,
    hook: Option<At<Name>>,
    user: String,
    poll: Poll,
}

impl Given {
    fn read(table: &Table<'_>, out: &mut Findings) -> Self {
        let argv = table
            .read(&key::ARGV, out)
            .and_then(|argv| argv_of(argv, out));
        let environment = environment(table.get(&key::ENVIRONMENT, out), out);
        Self {
            interface: table.read(&key::INTERFACE, out).map(|given| given.value),
            connect: table.read(&key::CONNECT, out).map(|given| given.value),
            url: table.read(&key::URL, out).map(|given| given.value),
            good: good(table, out),
            host: table.read(&key::HOST, out).map(|given| given.value),
            path: path(table, out),
            program: argv.map(|argv| Program { argv, environment }),
            process: process(table, out),
            unit: unit(table, out),
            to: table.read(&key::TO, out).map(|given| given.value),
            via: table.read(&key::VIA, out).map(|given| given.value),
            hook: table.read(&key::HOOK, out),
            user: user_of(table.read(&key::USER, out), key::USER.default(), out),
            poll: Poll {
                interval: table.get(&key::INTERVAL, out),
                timeout: table.get(&key::TIMEOUT, out),
                rise: table.get(&key::RISE, out),
                fall: table.get(&key::FALL, out),
            },
        }
    }

    fn tracked(self, kind: TrackKind) -> Option<Tracked> {
        let poll = self.poll;
        let local = |what, user, poll| Tracked::Local(Box::new(Local { what, user, poll }));
        // What the kernel reports counts at once.
        let at_once = Poll {
            rise: 1,
            fall: 1,
            ..poll
        };
        let remote = |asked| Tracked::Remote(Box::new(Remote { asked, poll }));
        match kind {
            TrackKind::Link => self.interface.map(Tracked::Link),
            TrackKind::Tcp => self.connect.map(|connect| remote(Asked::Tcp(connect))),
            TrackKind::Http => {
                let good = self.good;
                self.url.map(|url| remote(Asked::Http { url, good }))
            }
            TrackKind::Icmp => self.host.map(|host| remote(Asked::Icmp(host))),
            TrackKind::File => {
                let path = self.path?;
                Some(local(Looked::File(path), self.user, at_once))
            }
            TrackKind::Process => {
                let name = self.process?;
                Some(local(Looked::Process(name), self.user, at_once))
            }
            TrackKind::Service => {
                let unit = self.unit?;
                Some(local(Looked::Service(unit), self.user, poll))
            }
            TrackKind::Route => {
                let route = Looked::Route {
                    to: self.to?,
                    via: self.via,
                    interface: self.interface,
                };
                Some(local(route, self.user, at_once))
            }
            TrackKind::Hook => {
                let hook = self.hook?.value;
                Some(Tracked::Hook(Box::new(AskedHook { hook, poll })))
            }
            TrackKind::Command => {
                let program = self.program?;
                Some(local(Looked::Command(program), self.user, poll))
            }
        }
    }
}

fn good(table: &Table<'_>, out: &mut Findings) -> Vec<StatusRange> {
    let given = table.read(&key::STATUS, out);
    if let Some(none) = given.as_ref().filter(|given| given.value.is_empty()) {
        let text = "`status` is empty: the track would never be up";
        out.error(none.span.clone(), text);
    }
    let all = given.map_or_else(|| key::STATUS.default(), |given| given.value);
    all.into_iter().map(|status| status.value).collect()
}

fn process(table: &Table<'_>, out: &mut Findings) -> Option<String> {
    let name = table.read(&key::PROCESS, out)?;
    if name.value.is_empty() || name.value.contains(['/', '\0']) {
        let text = format!(
            "{:?} is not the name of a program, without its path",
            name.value
        );
        out.error(name.span, text);
        return None;
    }
    Some(name.value.to_owned())
}

fn unit(table: &Table<'_>, out: &mut Findings) -> Option<String> {
    let unit = table.read(&key::UNIT, out)?;
    if !is_unit(unit.value) {
        let text = format!("{:?} is not the name of a service", unit.value);
        out.error(unit.span, text);
        return None;
    }
    Some(unit.value.to_owned())
}

fn path(table: &Table<'_>, out: &mut Findings) -> Option<PathBuf> {
    let path = table.read(&key::PATH, out)?;
    if !is_plain_path(path.value) {
        let text = format!("{:?} is not the absolute path of a file", path.value);
        out.error(path.span, text);
        return None;
    }
    Some(path.value.into())
}

pub(super) fn argv_of(argv: At<Vec<At<String>>>, out: &mut Findings) -> Option<Vec<String>> {
    let Some(program) = argv.value.first() else {
        out.error(argv.span, "`argv` is empty: it needs at least the program");
        return None;
    };
    if !is_plain_path(&program.value) {
        let text = format!("{:?} is not the absolute path of a program", program.value);
        out.error(program.span.clone(), text);
        return None;
    }
    if let Some(bad) = argv.value.iter().find(|word| word.value.contains('\0')) {
        out.error(
            bad.span.clone(),
            "an argument cannot contain a zero character",
        );
        return None;
    }
    Some(argv.value.into_iter().map(|word| word.value).collect())
}

pub(super) fn environment(given: Vec<At<String>>, out: &mut Findings) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for variable in given {
        match variable.value.split_once('=') {
            Some((name, value)) if !name.is_empty() && !variable.value.contains('\0') => {
                if variables.iter().any(|(other, _)| other == name) {
                    out.error(variable.span, format!("`environment` has {name} twice"));
                    continue;
                }
                variables.push((name.to_owned(), value.to_owned()));
            }
            _ => {
                let text = format!("{:?} is not of the form NAME=VALUE", variable.value);
                out.error(variable.span, text);
            }
        }
    }
    variables
}

/// By name or number.
pub(super) fn user_of(user: Option<At<&str>>, usual: &str, out: &mut Findings) -> String {
    let Some(user) = user else {
        return usual.to_owned();
    };
    if user.value.is_empty() || user.value.contains('\0') {
        let text = format!("{:?} is not the name or number of a user", user.value);
        out.error(user.span, text);
    }
    user.value.to_owned()
}

/// Reports the keys that this kind lacks, and those that mean nothing for it.
fn belong(table: &Table<'_>, kind: &At<TrackKind>, out: &mut Findings) {
    let (word, own) = (kind.value.word(), Keys::of(kind.value));
    for key in own.needs.iter().filter(|key| !table.tried(**key)) {
        let name = key.name();
        out.error(
            kind.span.clone(),
            format!("`kind = \"{word}\"` needs `{name}`"),
        )
        .hint(format!("add a line such as `{name} = {}`", key.example()));
    }
    let written = |keys: &'static [&'static dyn Entry]| {
        let others = keys.iter().filter(|key| !own.has(**key));
        others.filter_map(|key| {
            let (name, _) = table.entries.get_key_value(key.name())?;
            Some((key.name(), name.span()))
        })
    };
    for (name, span) in written(OF_KINDS) {
        out.error(
            span,
            format!("`{name}` means nothing for `kind = \"{word}\"`"),
        );
    }
    for (name, span) in written(OF_POLLS) {
        out.warn(
            span,
            format!("`{name}` means nothing for `kind = \"{word}\"`"),
        )
        .hint("every change counts at once".to_owned());
    }
}
