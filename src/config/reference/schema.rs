//! The reference as JSON Schema, for editors that complete and check a configuration.

use serde_json::{Map, Value as Json, json};

use super::{Entry, Presence, ROOT, Section};

/// The schema of a whole configuration (JSON Schema 2020-12). What compares several keys it cannot
/// say: `carpd check` does.
#[must_use]
pub fn schema() -> Json {
    let mut schema = ROOT.schema();
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "carpd.toml",
    });
    if let (Json::Object(schema), Json::Object(head)) = (&mut schema, head) {
        schema.extend(head);
    }
    schema
}

impl Section {
    /// A table with these keys.
    pub(in crate::config) fn schema(&self) -> Json {
        let properties: Map<String, Json> = self
            .keys
            .iter()
            .map(|key| (key.name().to_owned(), property(*key)))
            .collect();
        let required = |key: &&&dyn Entry| key.presence() == Presence::Required;
        let required: Vec<&str> = self
            .keys
            .iter()
            .filter(required)
            .map(|k| k.name())
            .collect();
        json!({
            "type": "object",
            "description": self.text,
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

fn property(key: &dyn Entry) -> Json {
    let mut schema = key.schema();
    if let Json::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), key.text().into());
        if let Presence::Default(text) = key.presence() {
            schema.extend(as_json(&text).map(|value| ("default".to_owned(), value)));
        }
    }
    schema
}

/// A TOML value as JSON.
fn as_json(toml: &str) -> Option<Json> {
    let table: toml::Table = format!("value = {toml}").parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}
