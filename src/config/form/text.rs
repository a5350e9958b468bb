//! Strings, and lists of them.

use std::fmt::Display;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::str::FromStr;

use serde_json::{Value as Json, json};

use super::{Form, Written, list};
use crate::config::problem::Findings;
use crate::config::read::{self, At, Item};
use crate::config::reference::Entry;

/// A string; what is right in it is judged by whoever asks for it.
pub(in crate::config) struct Text {
    /// What it is.
    pub(in crate::config) what: &'static str,
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
pub(in crate::config) struct Parsed<T> {
    what: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> Parsed<T> {
    pub(in crate::config) const fn new(what: &'static str) -> Self {
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
pub(in crate::config) struct Address<T> {
    what: &'static str,
    /// What it must be, with its article.
    must: &'static str,
    fits: fn(&T) -> bool,
}

impl<T> Address<T> {
    pub(in crate::config) const fn new(what: &'static str, must: &'static str) -> Self {
        Self {
            what,
            must,
            fits: |_| true,
        }
    }
}

impl<T: Into<IpAddr> + Copy> Address<T> {
    pub(in crate::config) const fn multicast(what: &'static str, must: &'static str) -> Self {
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
pub(in crate::config) struct ListOf<T> {
    what: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> ListOf<T> {
    pub(in crate::config) const fn new(what: &'static str) -> Self {
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
pub(in crate::config) struct Items {
    pub(in crate::config) what: &'static str,
    pub(in crate::config) max: usize,
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
