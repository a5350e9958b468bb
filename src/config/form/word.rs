//! One or some of a few words.

use std::marker::PhantomData;

use serde_json::{Value as Json, json};

use super::{Form, Written, list};
use crate::config::choice::Choice;
use crate::config::problem::Findings;
use crate::config::read::{self, At, Item};
use crate::config::reference::Entry;

/// One of a few words.
pub(in crate::config) struct OneOf<C>(PhantomData<fn() -> C>);

impl<C> OneOf<C> {
    pub(in crate::config) const fn new() -> Self {
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
pub(in crate::config) struct SomeOf<C>(PhantomData<fn() -> C>);

impl<C> SomeOf<C> {
    pub(in crate::config) const fn new() -> Self {
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
