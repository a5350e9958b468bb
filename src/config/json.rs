//! A hook's `config` table as JSON.

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::problem::Findings;

/// One object; what JSON cannot say is reported at its place.
pub(super) fn object(table: &DeTable<'_>, out: &mut Findings) -> Value {
    let entries = table.iter().map(|(key, item)| {
        (
            key.get_ref().to_string(),
            value(item.get_ref(), &item.span(), out),
        )
    });
    Value::Object(entries.collect::<Map<_, _>>())
}

fn value(item: &DeValue<'_>, span: &std::ops::Range<usize>, out: &mut Findings) -> Value {
    match item {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(yes) => Value::Bool(*yes),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Number(number.into()),
            Err(_) => no_number(span, &format!("{number} does not fit into 64 bits"), out),
        },
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => Value::Number(number),
            None => no_number(
                span,
                &format!("{number} is not a finite number, which a hook's config may not contain"),
                out,
            ),
        },
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|i| value(i.get_ref(), &i.span(), out))
                .collect(),
        ),
        DeValue::Table(table) => object(table, out),
    }
}

fn no_number(span: &std::ops::Range<usize>, why: &str, out: &mut Findings) -> Value {
    out.error(span.clone(), why);
    Value::Null
}
