//! What the value of a key is: how it is read, how people and editors are told.

use std::fmt::Display;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::choice::Choice;
use super::problem::Findings;
use super::read::{self, At, Item, Table};
use super::reference::{Entry, Section};
use super::units::{parse_duration, parse_size, show_duration, show_size};

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

/// `true` or `false`.
pub(super) struct Boolean;

impl Form for Boolean {
    type Out<'d> = bool;

    fn read<'d>(
        &self,
        key: &dyn Entry,
        item: &'d Item<'d>,
        out: &mut Findings,
    ) -> Option<At<bool>> {
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
        read::wrong_type(key.name(), "true or false", item, out).hint(hint);
        None
    }

    fn words(&self) -> String {
        "boolean".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }
}

impl Written for Boolean {
    fn toml(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// An integer within a range.
pub(super) struct Integer<T> {
    pub(super) min: T,
    pub(super) max: T,
}

impl<T> Form for Integer<T>
where
    T: TryFrom<i64> + Into<i64> + Copy + Display + Sync + 'static,
{
    type Out<'d> = T;

    fn read<'d>(&self, key: &dyn Entry, item: &'d Item<'d>, out: &mut Findings) -> Option<At<T>> {
        let DeValue::Integer(number) = item.get_ref() else {
            read::wrong_type(key.name(), "an integer", item, out);
            return None;
        };
        let (min, max) = (self.min, self.max);
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let value = value
            .filter(|v| (min.into()..=max.into()).contains(v))
            .and_then(|v| T::try_from(v).ok());
        if value.is_none() {
            let name = key.name();
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

    fn words(&self) -> String {
        format!("integer, {} to {}", self.min, self.max)
    }

    fn schema(&self) -> Json {
        let (min, max): (i64, i64) = (self.min.into(), self.max.into());
        json!({ "type": "integer", "minimum": min, "maximum": max })
    }
}

impl<T> Written for Integer<T>
where
    T: TryFrom<i64> + Into<i64> + Copy + Display + Sync + 'static,
{
    fn toml(&self, value: &T) -> String {
        value.to_string()
    }
}

/// A time with its unit, in quotes.
pub(super) struct Period {
    pub(super) min: Duration,
    pub(super) max: Duration,
    /// What else bounds it, in words; empty if nothing does.
    pub(super) also: &'static str,
}

impl Form for Period {
    type Out<'d> = Duration;

    fn read<'d>(
        &self,
        key: &dyn Entry,
        item: &'d Item<'d>,
        out: &mut Findings,
    ) -> Option<At<Duration>> {
        let given = measured(key, item, parse_duration, out)?;
        let range = (&self.min, &self.max);
        in_range(key, given, range, |time| show_duration(*time), out)
    }

    fn words(&self) -> String {
        let (min, max) = (show_duration(self.min), show_duration(self.max));
        let also = if self.also.is_empty() { "" } else { ", " };
        format!("duration, {min} to {max}{also}{}", self.also)
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+ *(ms|s|m|h)$" })
    }
}

impl Written for Period {
    fn toml(&self, value: &Duration) -> String {
        format!("\"{}\"", show_duration(*value))
    }
}

/// A number of bytes with its unit, in quotes.
pub(super) struct Size<T = u64> {
    pub(super) min: T,
    pub(super) max: T,
}

impl<T> Form for Size<T>
where
    T: TryFrom<u64> + Into<u64> + Copy + Sync + 'static,
{
    type Out<'d> = T;

    fn read<'d>(&self, key: &dyn Entry, item: &'d Item<'d>, out: &mut Findings) -> Option<At<T>> {
        let given = measured(key, item, parse_size, out)?;
        let (min, max): (u64, u64) = (self.min.into(), self.max.into());
        let bytes = in_range(key, given, (&min, &max), |bytes| show_size(*bytes), out)?;
        Some(At {
            value: T::try_from(bytes.value).ok()?,
            span: bytes.span,
        })
    }

    fn words(&self) -> String {
        let (min, max) = (show_size(self.min.into()), show_size(self.max.into()));
        format!("size, {min} to {max}")
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB)$" })
    }
}

impl<T> Written for Size<T>
where
    T: TryFrom<u64> + Into<u64> + Copy + Sync + 'static,
{
    fn toml(&self, value: &T) -> String {
        format!("\"{}\"", show_size((*value).into()))
    }
}

/// A value and how it was written.
type Given<'d, T> = (T, At<&'d str>);

fn measured<'d, T>(
    key: &dyn Entry,
    item: &'d Item<'d>,
    parse: impl Fn(&str) -> Result<T, String>,
    out: &mut Findings,
) -> Option<Given<'d, T>> {
    let name = key.name();
    if let DeValue::Integer(number) = item.get_ref() {
        out.error(
            item.span(),
            format!("`{name}` needs a unit, in quotes, not {number}"),
        )
        .hint(Some(format!("as in {name} = {}", key.example())));
        return None;
    }
    let text = read::string(item, name, out)?;
    match parse(text.value) {
        Ok(value) => Some((value, text)),
        Err(why) => {
            out.error(text.span, format!("`{name}`: {why}"));
            None
        }
    }
}

fn in_range<T: PartialOrd>(
    key: &dyn Entry,
    (value, text): Given<'_, T>,
    (min, max): (&T, &T),
    show: impl Fn(&T) -> String,
    out: &mut Findings,
) -> Option<At<T>> {
    if !(min..=max).contains(&&value) {
        out.error(
            text.span,
            format!(
                "`{}` must be between {} and {}, not {:?}",
                key.name(),
                show(min),
                show(max),
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

/// One of a few words.
pub(super) struct OneOf<C>(PhantomData<fn() -> C>);

impl<C> OneOf<C> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C: Choice> Form for OneOf<C> {
    type Out<'d> = C;

    fn read<'d>(&self, key: &dyn Entry, item: &'d Item<'d>, out: &mut Findings) -> Option<At<C>> {
        choose(read::string(item, key.name(), out)?, key.name(), out)
    }

    fn words(&self) -> String {
        format!("one of {}", quoted::<C>())
    }

    fn schema(&self) -> Json {
        json!({ "enum": C::WORDS })
    }
}

impl<C: Choice> Written for OneOf<C> {
    fn toml(&self, value: &C) -> String {
        format!("\"{}\"", value.word())
    }
}

/// A list of some of a few words.
pub(super) struct SomeOf<C>(PhantomData<fn() -> C>);

impl<C> SomeOf<C> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<C: Choice> Form for SomeOf<C> {
    type Out<'d> = Vec<C>;

    fn read<'d>(
        &self,
        key: &dyn Entry,
        item: &'d Item<'d>,
        out: &mut Findings,
    ) -> Option<At<Vec<C>>> {
        let items = list(key, item, out)?;
        let words = items.value.into_iter();
        let chosen = words.filter_map(|item| {
            Some(choose(read::string(item, key.name(), out)?, key.name(), out)?.value)
        });
        Some(At {
            value: chosen.collect(),
            span: items.span,
        })
    }

    fn words(&self) -> String {
        format!("list of {}", quoted::<C>())
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": { "enum": C::WORDS } })
    }
}

impl<C: Choice> Written for SomeOf<C> {
    fn toml(&self, value: &Vec<C>) -> String {
        let words: Vec<String> = value.iter().map(|c| format!("\"{}\"", c.word())).collect();
        format!("[{}]", words.join(", "))
    }
}

fn quoted<C: Choice>() -> String {
    let words: Vec<String> = C::WORDS.iter().map(|w| format!("`\"{w}\"`")).collect();
    words.join(", ")
}

fn choose<C: Choice>(text: At<&str>, name: &str, out: &mut Findings) -> Option<At<C>> {
    let value = C::from_word(text.value);
    if value.is_none() {
        let words: Vec<String> = C::WORDS.iter().map(|w| format!("\"{w}\"")).collect();
        let near = read::nearest(text.value, C::WORDS.iter().copied());
        out.error(
            text.span.clone(),
            format!(
                "`{name}` must be one of {}, not {:?}",
                words.join(", "),
                text.value
            ),
        )
        .hint(near.map(|n| format!("did you mean \"{n}\"?")));
    }
    Some(At {
        value: value?,
        span: text.span,
    })
}

/// A string; what is right in it is judged by whoever asks for it.
pub(super) struct Text {
    /// What it is.
    pub(super) what: &'static str,
}

impl Form for Text {
    type Out<'d> = &'d str;

    fn read<'d>(
        &self,
        key: &dyn Entry,
        item: &'d Item<'d>,
        out: &mut Findings,
    ) -> Option<At<&'d str>> {
        read::string(item, key.name(), out)
    }

    fn words(&self) -> String {
        self.what.to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Written for Text {
    fn toml(&self, value: &&'static str) -> String {
        format!("{value:?}")
    }
}

/// A string that is read by its type's own rules, which say themselves what is wrong with it.
pub(super) struct Parsed<T> {
    what: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> Parsed<T> {
    pub(super) const fn new(what: &'static str) -> Self {
        Self {
            what,
            of: PhantomData,
        }
    }
}

impl<T> Form for Parsed<T>
where
    T: FromStr<Err: Display> + 'static,
{
    type Out<'d> = T;

    fn read<'d>(&self, key: &dyn Entry, item: &'d Item<'d>, out: &mut Findings) -> Option<At<T>> {
        read::parse(read::string(item, key.name(), out)?, out)
    }

    fn words(&self) -> String {
        self.what.to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

/// The same, of a type whose own words would not help.
pub(super) struct Address<T> {
    what: &'static str,
    /// What it must be, with its article.
    must: &'static str,
    fits: fn(&T) -> bool,
}

impl<T> Address<T> {
    pub(super) const fn new(what: &'static str, must: &'static str) -> Self {
        Self {
            what,
            must,
            fits: |_| true,
        }
    }
}

impl<T: Into<IpAddr> + Copy> Address<T> {
    pub(super) const fn multicast(what: &'static str, must: &'static str) -> Self {
        Self {
            what,
            must,
            fits: |address| Into::<IpAddr>::into(*address).is_multicast(),
        }
    }
}

impl<T: FromStr + 'static> Form for Address<T> {
    type Out<'d> = T;

    fn read<'d>(&self, key: &dyn Entry, item: &'d Item<'d>, out: &mut Findings) -> Option<At<T>> {
        let text = read::string(item, key.name(), out)?;
        let value = text.value.parse::<T>().ok().filter(self.fits);
        if value.is_none() {
            let (name, must) = (key.name(), self.must);
            out.error(
                text.span.clone(),
                format!("`{name}` must be {must}, not {:?}", text.value),
            );
        }
        Some(At {
            value: value?,
            span: text.span,
        })
    }

    fn words(&self) -> String {
        self.what.to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl<T: FromStr + Display + 'static> Written for Address<T> {
    fn toml(&self, value: &T) -> String {
        format!("\"{value}\"")
    }
}

/// A list of strings that are read by their type's own rules.
pub(super) struct ListOf<T> {
    what: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> ListOf<T> {
    pub(super) const fn new(what: &'static str) -> Self {
        Self {
            what,
            of: PhantomData,
        }
    }
}

impl<T> Form for ListOf<T>
where
    T: FromStr<Err: Display> + 'static,
{
    type Out<'d> = Vec<At<T>>;

    fn read<'d>(
        &self,
        key: &dyn Entry,
        item: &'d Item<'d>,
        out: &mut Findings,
    ) -> Option<At<Vec<At<T>>>> {
        let items = list(key, item, out)?;
        let parsed = items
            .value
            .iter()
            .filter_map(|item| read::parse(read::string(item, key.name(), out)?, out))
            .collect();
        Some(At {
            value: parsed,
            span: items.span,
        })
    }

    fn words(&self) -> String {
        format!("list of {}", self.what)
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": { "type": "string" } })
    }
}

impl<T> Written for ListOf<T>
where
    T: FromStr<Err: Display> + Display + 'static,
{
    fn toml(&self, value: &Vec<At<T>>) -> String {
        let items: Vec<String> = value.iter().map(|at| format!("\"{}\"", at.value)).collect();
        format!("[{}]", items.join(", "))
    }
}

/// A list of strings whose length is judged before what stands in it.
pub(super) struct Items {
    pub(super) what: &'static str,
    pub(super) max: usize,
}

impl Form for Items {
    type Out<'d> = Vec<&'d Item<'d>>;

    fn read<'d>(
        &self,
        key: &dyn Entry,
        item: &'d Item<'d>,
        out: &mut Findings,
    ) -> Option<At<Vec<&'d Item<'d>>>> {
        list(key, item, out)
    }

    fn words(&self) -> String {
        format!("list of 1 to {} {}", self.max, self.what)
    }

    fn schema(&self) -> Json {
        json!({
            "type": "array",
            "items": { "type": "string" },
            "minItems": 1,
            "maxItems": self.max,
        })
    }
}

/// A table with keys of its own.
pub(super) struct TableOf(pub(super) &'static Section);

impl Form for TableOf {
    type Out<'d> = Table<'d>;

    fn read<'d>(
        &self,
        _: &dyn Entry,
        item: &'d Item<'d>,
        out: &mut Findings,
    ) -> Option<At<Table<'d>>> {
        Some(At {
            value: Table::open(item, self.0, out)?,
            span: item.span(),
        })
    }

    fn words(&self) -> String {
        "table".to_owned()
    }

    fn schema(&self) -> Json {
        self.0.schema()
    }
}

/// A list of tables, each with the same keys.
pub(super) struct TablesOf(pub(super) &'static Section);

impl Form for TablesOf {
    type Out<'d> = Vec<Table<'d>>;

    fn read<'d>(
        &self,
        key: &dyn Entry,
        item: &'d Item<'d>,
        out: &mut Findings,
    ) -> Option<At<Vec<Table<'d>>>> {
        let (name, header) = (key.name(), self.0.header);
        if matches!(item.get_ref(), DeValue::Table(_)) && header.starts_with("[[") {
            out.error(
                item.span(),
                format!("`{name}` must be written with double brackets: {header}"),
            );
            return None;
        }
        let items = list(key, item, out)?;
        let tables = items.value.into_iter();
        Some(At {
            value: tables
                .filter_map(|item| Table::open(item, self.0, out))
                .collect(),
            span: items.span,
        })
    }

    fn words(&self) -> String {
        "list of tables".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": self.0.schema() })
    }
}

impl Written for TablesOf {
    fn toml(&self, value: &Vec<Table<'static>>) -> String {
        debug_assert!(value.is_empty(), "only a list of nothing is a default");
        "[]".to_owned()
    }
}

/// A table whose keys are names, and whose values tables with the same keys.
pub(super) struct Named {
    pub(super) each: &'static Section,
    /// How one is written.
    pub(super) written: &'static str,
}

/// A table by its name. The table is `None` if something in it was reported.
pub(super) type NamedTable<'d> = (At<&'d str>, Option<Table<'d>>);

impl Form for Named {
    type Out<'d> = Vec<NamedTable<'d>>;

    fn read<'d>(
        &self,
        key: &dyn Entry,
        item: &'d Item<'d>,
        out: &mut Findings,
    ) -> Option<At<Vec<NamedTable<'d>>>> {
        let (name, written) = (key.name(), self.written);
        let DeValue::Table(tables) = item.get_ref() else {
            let text = format!("`{name}` must hold a table for each {name}");
            out.error(item.span(), text)
                .hint(format!("write {written}"));
            return None;
        };
        let each = tables.iter().map(|(name, item)| {
            let name = At {
                value: name.get_ref().as_ref(),
                span: name.span(),
            };
            (name, Table::open(item, self.each, out))
        });
        Some(At {
            value: each.collect(),
            span: item.span(),
        })
    }

    fn words(&self) -> String {
        "table of tables".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "object", "additionalProperties": self.each.schema() })
    }
}

impl Written for Named {
    fn toml(&self, value: &Vec<NamedTable<'static>>) -> String {
        debug_assert!(value.is_empty(), "only a table of nothing is a default");
        "{}".to_owned()
    }
}

/// A table with any keys.
pub(super) struct Anything;

impl Form for Anything {
    type Out<'d> = &'d toml::de::DeTable<'d>;

    fn read<'d>(
        &self,
        key: &dyn Entry,
        item: &'d Item<'d>,
        out: &mut Findings,
    ) -> Option<At<Self::Out<'d>>> {
        let DeValue::Table(table) = item.get_ref() else {
            out.error(item.span(), format!("`{}` must be a table", key.name()));
            return None;
        };
        Some(At {
            value: table,
            span: item.span(),
        })
    }

    fn words(&self) -> String {
        "table".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "object" })
    }
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
