//! The forms of values: how they are read, and how they are described to people and editors.

mod demote;
mod number;
mod table;
mod text;
mod word;

pub(super) use demote::Demote;
pub(super) use number::{Boolean, Integer, Period, Size};
pub(super) use table::{Anything, Named, TableOf, TablesOf};
pub(super) use text::{Address, Items, ListOf, Parsed, Text};
pub(super) use word::{OneOf, SomeOf};

use serde_json::Value as Json;
use toml::de::DeValue;

use super::problem::Findings;
use super::read::{self, At, Item};
use super::reference::Entry;

/// The form of a value. A key has one, and reading, reference and schema follow from it.
pub(super) trait Form: Sync + 'static {
    /// What is read.
    type Out<'d>;

    /// Reads the value of `key`. `None` if something was reported.
    fn read<'d>(
        &self,
        key: &dyn Entry,
        item: &'d Item<'d>,
        out: &mut Findings,
    ) -> Option<At<Self::Out<'d>>>;

    /// What it is, with its range, for the reference.
    fn words(&self) -> String;

    /// The same as JSON Schema.
    fn schema(&self) -> Json;
}

/// A form whose values can be written down again: those of defaults.
pub(super) trait Written: Form {
    /// The value as TOML.
    fn toml(&self, value: &Self::Out<'static>) -> String;
}

/// A value that must be a list.
fn list<'d>(
    key: &dyn Entry,
    item: &'d Item<'d>,
    out: &mut Findings,
) -> Option<At<Vec<&'d Item<'d>>>> {
    if let DeValue::Array(items) = item.get_ref() {
        return Some(At {
            value: items.iter().collect(),
            span: item.span(),
        });
    }
    read::wrong_type(key.name(), "a list", item, out).hint(
        matches!(item.get_ref(), DeValue::String(_))
            .then(|| "put it in brackets: [\"…\"]".to_owned()),
    );
    None
}
