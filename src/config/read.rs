//! Takes values out of the tree. Whatever is missing, unknown, of the wrong type or out of range is
//! noted, and reading goes on.

use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::form::Form;
use super::problem::{Findings, Note};
use super::reference::{self, Defaulted, Entry, Key, Presence, Section};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// One value of the tree.
pub(super) type Item<'d> = Spanned<DeValue<'d>>;

/// A table of the file, read by the section that says which keys it may have.
#[derive(Debug, Clone)]
pub(super) struct Table<'d> {
    pub(super) entries: &'d DeTable<'d>,
    /// Its header, or all of it if it is written in braces.
    pub(super) span: Range<usize>,
    section: &'static Section,
}

impl<'d> Table<'d> {
    /// The top level of a file.
    pub(super) fn root(table: &'d DeTable<'d>, text: &str, out: &mut Findings) -> Self {
        Self::whole(table, text, &reference::ROOT, out)
    }

    /// The top level of a file that holds the keys of one section.
    pub(super) fn whole(
        table: &'d DeTable<'d>,
        text: &str,
        section: &'static Section,
        out: &mut Findings,
    ) -> Self {
        let end = text.len().min(text.find('\n').unwrap_or(text.len()));
        let this = Self {
            entries: table,
            span: 0..end,
            section,
        };
        this.refuse_unknown_keys(out);
        this
    }

    /// A value that must be a table with the keys of `section`.
    pub(super) fn open(
        item: &'d Item<'d>,
        section: &'static Section,
        out: &mut Findings,
    ) -> Option<Self> {
        let DeValue::Table(table) = item.get_ref() else {
            out.error(
                item.span(),
                format!("this must be a table, not {}", kind(item.get_ref())),
            )
            .hint(format!("write {}", section.header));
            return None;
        };
        let this = Self {
            entries: table,
            span: item.span(),
            section,
        };
        this.refuse_unknown_keys(out);
        Some(this)
    }

    fn refuse_unknown_keys(&self, out: &mut Findings) {
        for key in self.entries.keys() {
            let name = key.get_ref().as_ref();
            if !self.section.keys.iter().any(|k| k.name() == name) {
                let place = self.section.header;
                let message = if place.is_empty() {
                    format!("unknown key `{name}` at the top level")
                } else {
                    format!("unknown key `{name}` in {place}")
                };
                out.error(key.span(), message).hint(self.guess(name));
            }
        }
    }

    /// What may have been meant by an unknown key: one that is nearly so called, or one of another
    /// section.
    fn guess(&self, name: &str) -> String {
        let here = self.section.keys.iter().map(|k| k.name());
        if let Some(near) = nearest(name, here.clone()) {
            return format!("did you mean `{near}`?");
        }
        let elsewhere = reference::SECTIONS
            .iter()
            .find(|s| s.keys.iter().any(|k| k.name() == name));
        if let Some(section) = elsewhere.filter(|s| !s.header.is_empty()) {
            return format!("`{name}` belongs under {}", section.header);
        }
        format!("known keys here: {}", here.collect::<Vec<_>>().join(", "))
    }

    /// The value of a key, if it is written and right. Says so if it is missing and must not be.
    pub(super) fn read<F: Form>(
        &self,
        key: &'static Key<F>,
        out: &mut Findings,
    ) -> Option<At<F::Out<'d>>> {
        let entry = self.section.key(key.name);
        debug_assert!(
            entry.is_some(),
            "{} stands in the reference of {}",
            key.name,
            self.section.header
        );
        let entry = entry.unwrap_or(key);
        let Some(item) = self.entries.get(key.name) else {
            if entry.presence() == Presence::Required && !self.mistyped(key.name) {
                let line = format!("{} = {}", key.name, entry.example());
                out.error(self.span.clone(), format!("`{}` is missing", key.name))
                    .hint(format!("add a line such as `{line}`"));
            }
            return None;
        };
        key.form.read(entry, item, out)
    }

    /// The same, or its default.
    #[expect(
        clippy::useless_conversion,
        reason = "to the same type with another lifetime"
    )]
    pub(super) fn get<F: Form>(&self, key: &'static Defaulted<F>, out: &mut Findings) -> F::Out<'d>
    where
        F::Out<'static>: Into<F::Out<'d>>,
    {
        self.read(key, out)
            .map_or_else(|| key.default().into(), |given| given.value)
    }

    /// Whether this key is there, perhaps misspelled. If it could not be read, that has been reported.
    pub(super) fn tried(&self, key: &dyn Entry) -> bool {
        self.entries.contains_key(key.name()) || self.mistyped(key.name())
    }

    /// Is there an unknown key that was most likely meant to be this one? It was reported and says
    /// so.
    fn mistyped(&self, name: &str) -> bool {
        let known = || self.section.keys.iter().map(|k| k.name());
        let unknown = self
            .entries
            .keys()
            .map(|k| k.get_ref().as_ref())
            .filter(|k| !known().any(|name| name == *k));
        unknown
            .filter_map(|key| nearest(key, known()))
            .any(|near| near == name)
    }
}

/// A value that must be a string.
pub(super) fn string<'d>(
    item: &'d Item<'d>,
    name: &str,
    out: &mut Findings,
) -> Option<At<&'d str>> {
    if let DeValue::String(text) = item.get_ref() {
        return Some(At {
            value: text.as_ref(),
            span: item.span(),
        });
    }
    wrong_type(name, "a string", item, out);
    None
}

/// Says that a value is not what it must be.
pub(super) fn wrong_type<'o>(
    name: &str,
    must: &str,
    item: &Item<'_>,
    out: &'o mut Findings,
) -> Note<'o> {
    let is = kind(item.get_ref());
    out.error(item.span(), format!("`{name}` must be {must}, not {is}"))
}

/// A string that is read by its type's own rules.
pub(super) fn parse<T>(text: At<&str>, out: &mut Findings) -> Option<At<T>>
where
    T: FromStr,
    T::Err: Display,
{
    match text.value.parse() {
        Ok(value) => Some(At {
            value,
            span: text.span,
        }),
        Err(why) => {
            out.error(text.span, T::Err::to_string(&why));
            None
        }
    }
}

/// The entry of `known` that was most likely meant by `given`.
pub(super) fn nearest<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    let given = plain(given);
    let distance = |name: &str| strsim::damerau_levenshtein(&given, &plain(name));
    // A third of the letters may be wrong: enough for typing errors, too little for another word.
    known
        .map(|name| (distance(name), name))
        .filter(|(d, name)| d * 3 <= name.len().max(3))
        .min()
        .map(|(_, name)| name)
}

/// What a value is, with its article.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
