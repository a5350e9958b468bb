//! Truth, numbers, and numbers with a unit.

use std::fmt::Display;
use std::time::Duration;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::{Form, Written};
use crate::config::problem::Findings;
use crate::config::read::{self, At, Item};
use crate::config::reference::Entry;
use crate::config::units::{parse_duration, parse_size, show_duration, show_size};

/// `true` or `false`.
pub(in crate::config) struct Boolean;

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
pub(in crate::config) struct Integer<T> {
    pub(in crate::config) min: T,
    pub(in crate::config) max: T,
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
pub(in crate::config) struct Period {
    pub(in crate::config) min: Duration,
    pub(in crate::config) max: Duration,
    /// What else bounds it, in words; empty if nothing does.
    pub(in crate::config) also: &'static str,
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
pub(in crate::config) struct Size<T = u64> {
    pub(in crate::config) min: T,
    pub(in crate::config) max: T,
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
