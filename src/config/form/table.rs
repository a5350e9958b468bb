//! Tables, and tables of tables.

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::{Form, Written, list};
use crate::config::problem::Findings;
use crate::config::read::{At, Item, Table};
use crate::config::reference::{Entry, Section};

/// A table with keys of its own.
pub(in crate::config) struct TableOf(pub(in crate::config) &'static Section);

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
pub(in crate::config) struct TablesOf(pub(in crate::config) &'static Section);

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
pub(in crate::config) struct Named {
    pub(in crate::config) each: &'static Section,
    /// How one is written.
    pub(in crate::config) written: &'static str,
}

/// A table by its name. The table is `None` if something in it was reported.
pub(in crate::config) type NamedTable<'d> = (At<&'d str>, Option<Table<'d>>);

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
pub(in crate::config) struct Anything;

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
