//! Reads `[track.NAME]`.

use std::collections::BTreeMap;
use std::ops::Range;

use super::choice::TrackKind;
use super::model::{Place, Track, Tracked};
use super::problem::Findings;
use super::read::{Table, parse};
use super::reference::{self, track as key};
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
    let tracked = kind.and_then(|kind| match kind.value {
        TrackKind::Link => {
            let interface = table.read(&key::INTERFACE, out);
            if interface.is_none() && !table.tried(&key::INTERFACE) {
                out.error(kind.span, "a `link` needs an `interface`")
                    .hint("add a line such as `interface = \"eth1\"`".to_owned());
            }
            interface.map(|interface| Tracked::Link(interface.value))
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
