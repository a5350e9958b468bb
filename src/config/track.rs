//! Reads `[track.NAME]`.

use std::collections::BTreeMap;
use std::ops::Range;

use super::choice::{Choice as _, TrackKind};
use super::model::{Place, Poll, Track, Tracked};
use super::problem::Findings;
use super::read::{At, Table, parse};
use super::reference::{self, Entry, track as key};
use crate::types::Name;

/// A track as far as it could be read.
#[derive(Debug)]
pub(super) struct Draft {
    /// Its name where it is defined.
    pub(super) span: Range<usize>,
    /// Every virtual host has it.
    pub(super) all_vhosts: bool,
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

fn read(table: &Table<'_>, span: Range<usize>, out: &mut Findings) -> Draft {
    let kind = table.read(&key::KIND, out);
    let demote = table.get(&key::DEMOTE, out);
    let all_vhosts = table.get(&key::ALL_VHOSTS, out);
    let interface = table.read(&key::INTERFACE, out);
    let connect = table.read(&key::CONNECT, out);
    let poll = Poll {
        interval: table.get(&key::INTERVAL, out),
        timeout: table.get(&key::TIMEOUT, out),
        rise: table.get(&key::RISE, out),
        fall: table.get(&key::FALL, out),
    };
    let tracked = kind.and_then(|kind| {
        let of_kind: &[&dyn Entry] = match kind.value {
            TrackKind::Link => &[&key::INTERFACE],
            TrackKind::Tcp => &[&key::CONNECT],
        };
        needs(table, &kind, of_kind, out);
        let of_others: &[&dyn Entry] = match kind.value {
            TrackKind::Link => &[&key::CONNECT],
            TrackKind::Tcp => &[&key::INTERFACE],
        };
        refuses(table, &kind, of_others, out);
        if kind.value == TrackKind::Link {
            warns(table, out);
        }
        match kind.value {
            TrackKind::Link => interface.map(|interface| Tracked::Link(interface.value)),
            TrackKind::Tcp => connect.map(|connect| Tracked::Tcp(connect.value, poll)),
        }
    });
    Draft {
        all_vhosts,
        done: tracked.map(|tracked| Track {
            tracked,
            demote,
            place: Place(span.clone()),
        }),
        span,
    }
}

/// The keys that this kind must have.
fn needs(table: &Table<'_>, kind: &At<TrackKind>, keys: &[&dyn Entry], out: &mut Findings) {
    for key in keys.iter().filter(|key| !table.tried(**key)) {
        let (word, name) = (kind.value.word(), key.name());
        out.error(
            kind.span.clone(),
            format!("`kind = \"{word}\"` needs `{name}`"),
        )
        .hint(format!("add a line such as `{name} = {}`", key.example()));
    }
}

/// Those that only mean something for other kinds.
fn refuses(table: &Table<'_>, kind: &At<TrackKind>, keys: &[&dyn Entry], out: &mut Findings) {
    for key in keys {
        if let Some((name, _)) = table.entries.get_key_value(key.name()) {
            let (word, key) = (kind.value.word(), key.name());
            out.error(
                name.span(),
                format!("`{key}` means nothing for `kind = \"{word}\"`"),
            );
        }
    }
}

/// A link is not asked about.
fn warns(table: &Table<'_>, out: &mut Findings) {
    let polled: [&dyn Entry; 4] = [&key::INTERVAL, &key::TIMEOUT, &key::RISE, &key::FALL];
    for key in polled {
        if let Some((name, _)) = table.entries.get_key_value(key.name()) {
            let text = format!("`{}` means nothing for a link", key.name());
            out.warn(name.span(), text)
                .hint("the kernel reports every change, which counts at once".to_owned());
        }
    }
}
