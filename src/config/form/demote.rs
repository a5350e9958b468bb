//! How much a track that is down costs.

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::{Form, Integer, Written};
use crate::config::model;
use crate::config::problem::Findings;
use crate::config::read::{self, At, Item};
use crate::config::reference::Entry;

/// The word for [`model::Demote::Fault`].
const FAULT: &str = "fault";

const NUMBER: Integer<u8> = Integer { min: 1, max: 240 };

/// A demotion, or `"fault"`.
pub(in crate::config) struct Demote;

impl Form for Demote {
    type Out<'d> = model::Demote;

    fn read<'d>(
        &self,
        key: &dyn Entry,
        item: &'d Item<'d>,
        out: &mut Findings,
    ) -> Option<At<model::Demote>> {
        match item.get_ref() {
            DeValue::Integer(_) => NUMBER.read(key, item, out).map(|by| At {
                value: model::Demote::By(by.value),
                span: by.span,
            }),
            DeValue::String(word) if word == FAULT => Some(At {
                value: model::Demote::Fault,
                span: item.span(),
            }),
            DeValue::String(word) => {
                let name = key.name();
                out.error(
                    item.span(),
                    format!("`{name}` must be a number from 1 to 240 or \"{FAULT}\", not {word:?}"),
                )
                .hint(
                    word.parse::<u8>()
                        .is_ok()
                        .then(|| format!("write {name} = {word}, without quotes")),
                );
                None
            }
            _ => {
                let must = format!("a number from 1 to 240 or \"{FAULT}\"");
                read::wrong_type(key.name(), &must, item, out);
                None
            }
        }
    }

    fn words(&self) -> String {
        format!("{}, or `\"{FAULT}\"`", NUMBER.words())
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [NUMBER.schema(), { "enum": [FAULT] }] })
    }
}

impl Written for Demote {
    fn toml(&self, value: &model::Demote) -> String {
        match value {
            model::Demote::By(by) => by.to_string(),
            model::Demote::Fault => format!("\"{FAULT}\""),
        }
    }
}
