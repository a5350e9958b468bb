//! Takes values out of the tree. Whatever is missing, unknown, of the wrong type or out of range is
//! noted, and reading goes on.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::choice::Choice;
use super::problem::Findings;
use super::reference::{self, Presence, Section};
use super::units::{parse_duration, parse_size, show_duration, show_size};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<T> At<T> {
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At {
            value: f(self.value),
            span: self.span,
        }
    }
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
            if !self.section.keys.iter().any(|k| k.name == name) {
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
        let here = self.section.keys.iter().map(|k| k.name);
        if let Some(near) = nearest(name, here.clone()) {
            return format!("did you mean `{near}`?");
        }
        let elsewhere = reference::SECTIONS
            .iter()
            .find(|s| s.keys.iter().any(|k| k.name == name));
        if let Some(section) = elsewhere.filter(|s| !s.header.is_empty()) {
            return format!("`{name}` belongs under {}", section.header);
        }
        format!("known keys here: {}", here.collect::<Vec<_>>().join(", "))
    }

    /// The value of a key, if it is there. Says so if it is not and must be.
    pub(super) fn item(&self, name: &'static str, out: &mut Findings) -> Option<&'d Item<'d>> {
        debug_assert!(
            self.section.keys.iter().any(|k| k.name == name),
            "{name} stands in the reference"
        );
        let item = self.entries.get(name);
        let required = self
            .section
            .keys
            .iter()
            .any(|k| k.name == name && matches!(k.presence, Presence::Required));
        if item.is_none() && required && !self.mistyped(name) {
            let example = self
                .section
                .keys
                .iter()
                .find(|k| k.name == name)
                .map(|k| k.example);
            out.error(self.span.clone(), format!("`{name}` is missing"))
                .hint(example.map(|e| format!("add a line such as `{name} = {e}`")));
        }
        item
    }

    /// Did somebody mean to write this key, however wrongly? Then it was reported.
    pub(super) fn tried(&self, name: &str) -> bool {
        self.entries.contains_key(name) || self.mistyped(name)
    }

    /// Is there an unknown key that was most likely meant to be this one? It was reported and says
    /// so.
    fn mistyped(&self, name: &str) -> bool {
        let known = || self.section.keys.iter().map(|k| k.name);
        let unknown = self
            .entries
            .keys()
            .map(|k| k.get_ref().as_ref())
            .filter(|k| !known().any(|name| name == *k));
        unknown
            .filter_map(|key| nearest(key, known()))
            .any(|near| near == name)
    }

    /// A value that stands there, or the default.
    pub(super) fn or<T>(value: Option<At<T>>, default: T) -> T {
        value.map_or(default, |v| v.value)
    }

    pub(super) fn string(&self, name: &'static str, out: &mut Findings) -> Option<At<&'d str>> {
        string(self.item(name, out)?, name, out)
    }

    /// A string that is read by its type's own rules.
    pub(super) fn parsed<T>(&self, name: &'static str, out: &mut Findings) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        parse(self.string(name, out)?, out)
    }

    /// A list of strings that are read by their type's own rules. `None` if the key is not there.
    pub(super) fn parsed_list<T>(
        &self,
        name: &'static str,
        out: &mut Findings,
    ) -> Option<At<Vec<At<T>>>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let items = self.list(name, out)?;
        let parsed = items
            .value
            .iter()
            .filter_map(|item| parse(string(item, name, out)?, out))
            .collect();
        Some(At {
            value: parsed,
            span: items.span,
        })
    }

    /// A list of anything.
    pub(super) fn list(
        &self,
        name: &'static str,
        out: &mut Findings,
    ) -> Option<At<Vec<&'d Item<'d>>>> {
        let item = self.item(name, out)?;
        if let DeValue::Array(items) = item.get_ref() {
            return Some(At {
                value: items.iter().collect(),
                span: item.span(),
            });
        }
        out.error(
            item.span(),
            format!("`{name}` must be a list, not {}", kind(item.get_ref())),
        )
        .hint(
            matches!(item.get_ref(), DeValue::String(_))
                .then(|| "put it in brackets: [\"…\"]".to_owned()),
        );
        None
    }

    /// A list of tables, each with the keys of `section`.
    pub(super) fn tables(
        &self,
        name: &'static str,
        section: &'static Section,
        out: &mut Findings,
    ) -> Vec<Table<'d>> {
        let Some(item) = self.item(name, out) else {
            return Vec::new();
        };
        if let (DeValue::Table(_), true) = (item.get_ref(), section.header.starts_with("[[")) {
            out.error(
                item.span(),
                format!(
                    "`{name}` must be written with double brackets: {}",
                    section.header
                ),
            );
            return Vec::new();
        }
        let items = self.list(name, out).map(|l| l.value).unwrap_or_default();
        items
            .into_iter()
            .filter_map(|item| Table::open(item, section, out))
            .collect()
    }

    pub(super) fn boolean(&self, name: &'static str, out: &mut Findings) -> Option<At<bool>> {
        let item = self.item(name, out)?;
        if let DeValue::Boolean(value) = item.get_ref() {
            return Some(At {
                value: *value,
                span: item.span(),
            });
        }
        let word = if let DeValue::String(text) = item.get_ref() {
            text.as_ref()
        } else {
            ""
        };
        let hint = match word {
            "true" | "yes" | "on" => Some("write true, without quotes".to_owned()),
            "false" | "no" | "off" => Some("write false, without quotes".to_owned()),
            _ => None,
        };
        out.error(
            item.span(),
            format!(
                "`{name}` must be true or false, not {}",
                kind(item.get_ref())
            ),
        )
        .hint(hint);
        None
    }

    /// An integer within a range.
    pub(super) fn integer<T>(
        &self,
        name: &'static str,
        range: RangeInclusive<T>,
        out: &mut Findings,
    ) -> Option<At<T>>
    where
        T: TryFrom<i64> + Into<i64> + Copy + Display,
    {
        let item = self.item(name, out)?;
        let DeValue::Integer(number) = item.get_ref() else {
            out.error(
                item.span(),
                format!("`{name}` must be an integer, not {}", kind(item.get_ref())),
            );
            return None;
        };
        let (min, max) = (*range.start(), *range.end());
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let value = value
            .filter(|v| (min.into()..=max.into()).contains(v))
            .and_then(|v| T::try_from(v).ok());
        if value.is_none() {
            out.error(
                item.span(),
                format!("`{name}` must be between {min} and {max}, not {number}"),
            );
        }
        Some(At {
            value: value?,
            span: item.span(),
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Choice>(
        &self,
        name: &'static str,
        out: &mut Findings,
    ) -> Option<At<T>> {
        choose(self.string(name, out)?, name, out)
    }

    /// A list of some of a few words.
    pub(super) fn choices<T: Choice>(&self, name: &'static str, out: &mut Findings) -> Vec<T> {
        let items = self.list(name, out).map(|l| l.value).unwrap_or_default();
        items
            .into_iter()
            .filter_map(|i| Some(choose(string(i, name, out)?, name, out)?.value))
            .collect()
    }

    pub(super) fn duration(
        &self,
        name: &'static str,
        range: RangeInclusive<Duration>,
        out: &mut Findings,
    ) -> Option<At<Duration>> {
        self.measured(name, range, parse_duration, |d| show_duration(*d), out)
    }

    pub(super) fn size(
        &self,
        name: &'static str,
        range: RangeInclusive<u64>,
        out: &mut Findings,
    ) -> Option<At<u64>> {
        self.measured(name, range, parse_size, |bytes| show_size(*bytes), out)
    }

    fn measured<T: PartialOrd>(
        &self,
        name: &'static str,
        range: RangeInclusive<T>,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
        out: &mut Findings,
    ) -> Option<At<T>> {
        let item = self.item(name, out)?;
        if let DeValue::Integer(number) = item.get_ref() {
            let example = self
                .section
                .keys
                .iter()
                .find(|k| k.name == name)
                .map(|k| format!("as in {name} = {}", k.example));
            out.error(
                item.span(),
                format!("`{name}` needs a unit, in quotes, not {number}"),
            )
            .hint(example);
            return None;
        }
        let text = string(item, name, out)?;
        let value = match parse(text.value) {
            Ok(value) => value,
            Err(why) => {
                out.error(text.span, format!("`{name}`: {why}"));
                return None;
            }
        };
        if !range.contains(&value) {
            let (min, max) = (show(range.start()), show(range.end()));
            out.error(
                text.span,
                format!(
                    "`{name}` must be between {min} and {max}, not {:?}",
                    text.value
                ),
            );
            return None;
        }
        Some(At {
            value,
            span: text.span,
        })
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
    out.error(
        item.span(),
        format!("`{name}` must be a string, not {}", kind(item.get_ref())),
    );
    None
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

fn choose<T: Choice>(text: At<&str>, name: &str, out: &mut Findings) -> Option<At<T>> {
    let value = T::from_word(text.value);
    if value.is_none() {
        let words = T::WORDS
            .iter()
            .map(|w| format!("\"{w}\""))
            .collect::<Vec<_>>()
            .join(", ");
        let near = nearest(text.value, T::WORDS.iter().copied());
        out.error(
            text.span.clone(),
            format!("`{name}` must be one of {words}, not {:?}", text.value),
        )
        .hint(near.map(|n| format!("did you mean \"{n}\"?")));
    }
    Some(At {
        value: value?,
        span: text.span,
    })
}

/// The one of `known` that somebody who wrote `given` most likely meant.
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
