//! Writes a hook into the text of a configuration, preserving comments, order and everything else.

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};

use crate::trust::Digest;
use crate::types::Name;

/// What the configuration is to contain afterwards.
#[derive(Debug)]
pub(super) struct Edit<'a> {
    /// The hook.
    pub(super) name: &'a Name,
    /// Its `source`.
    pub(super) source: &'a str,
    /// Its `digest`.
    pub(super) digest: Digest,
    /// Lines for `[hook.NAME.grant]`.
    pub(super) grants: &'a [String],
    /// Lines for `[hook.NAME.config]`.
    pub(super) settings: &'a [String],
    /// Virtual hosts that use it.
    pub(super) vhosts: &'a [String],
}

impl Edit<'_> {
    /// The new text.
    ///
    /// # Errors
    /// Says, for the operator, what cannot be read or edited.
    pub(super) fn apply(&self, text: &str) -> Result<String, String> {
        let mut document: DocumentMut = text
            .parse()
            .map_err(|err: toml_edit::TomlError| err.to_string())?;
        let is_new = document
            .get("hook")
            .and_then(|hooks| hooks.get(self.name.as_str()))
            .is_none();
        let hook = self.hook(document.as_table_mut())?;
        set(hook, "source", self.source.into());
        set(hook, "digest", self.digest.to_string().into());
        // A signature in another place belongs to another file.
        hook.remove("signature");
        for (key, lines) in [("config", self.settings), ("grant", self.grants)] {
            for line in lines {
                let given: DocumentMut = line.parse().map_err(|err: toml_edit::TomlError| {
                    format!("{line:?} is not a line of TOML: {}", err.message())
                })?;
                let inline = hook.get(key).is_some_and(Item::is_value);
                let empty = if inline {
                    value(InlineTable::new())
                } else {
                    Item::Table(Table::new())
                };
                let table = hook.entry(key).or_insert(empty);
                let table = table
                    .as_table_like_mut()
                    .ok_or_else(|| format!("`{key}` of the hook is not a table"))?;
                for (name, item) in given.iter() {
                    merge(table, name, item)?;
                }
            }
        }
        for vhost in self.vhosts {
            self.use_in(document.as_table_mut(), vhost)?;
        }
        self.keep_end(&mut document, is_new);
        Ok(document.to_string())
    }

    /// Comments after the last table stay where they are, rather than moving after the new one.
    fn keep_end(&self, document: &mut DocumentMut, is_new: bool) {
        let end = document.trailing().as_str().unwrap_or_default().to_owned();
        let own = format!("[hook.{}", self.name);
        let text = document.to_string();
        let last = text
            .lines()
            .rfind(|line| line.starts_with('['))
            .unwrap_or_default();
        if is_new && !end.trim().is_empty() && last.starts_with(&own) {
            document.set_trailing("");
            let table = document
                .get_mut("hook")
                .and_then(|hooks| hooks.get_mut(self.name.as_str()))
                .and_then(Item::as_table_mut);
            if let Some(table) = table {
                table.decor_mut().set_prefix(format!("{end}\n"));
            }
        }
    }

    /// `[hook.NAME]`, made if it is not there.
    fn hook<'d>(&self, root: &'d mut Table) -> Result<&'d mut dyn TableLike, String> {
        let hooks = root.entry("hook").or_insert_with(|| {
            let mut hooks = Table::new();
            hooks.set_implicit(true);
            Item::Table(hooks)
        });
        let hooks = hooks.as_table_like_mut().ok_or("`hook` is not a table")?;
        let hook = hooks.entry(self.name.as_str()).or_insert_with(|| {
            let mut hook = Table::new();
            hook.decor_mut().set_prefix("\n");
            Item::Table(hook)
        });
        hook.as_table_like_mut()
            .ok_or_else(|| format!("`hook.{}` is not a table", self.name))
    }

    /// Appends the hook to the list of a virtual host.
    fn use_in(&self, root: &mut Table, vhost: &str) -> Result<(), String> {
        let vhosts = root
            .get_mut("vhost")
            .and_then(Item::as_array_of_tables_mut)
            .ok_or("`vhost` is not written as [[vhost]]")?;
        let named = |table: &&mut Table| table.get("name").and_then(Item::as_str) == Some(vhost);
        let table = vhosts
            .iter_mut()
            .find(named)
            .ok_or_else(|| format!("there is no virtual host {vhost:?}"))?;
        let hooks = table.entry("hooks").or_insert_with(|| value(Array::new()));
        let hooks = hooks
            .as_array_mut()
            .ok_or_else(|| format!("`hooks` of {vhost:?} is not a list"))?;
        if !hooks
            .iter()
            .any(|hook| hook.as_str() == Some(self.name.as_str()))
        {
            append(hooks, self.name.as_str().into());
        }
        Ok(())
    }
}

/// Sets a value, preserving blanks and comments around it.
fn set(table: &mut dyn TableLike, key: &str, new: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        None => drop(table.insert(key, value(new))),
    }
}

/// Adds the given entries to existing lists and tables, each of them once.
fn merge(into: &mut dyn TableLike, key: &str, given: &Item) -> Result<(), String> {
    let Some(there) = into.get_mut(key) else {
        into.insert(key, given.clone());
        return Ok(());
    };
    if let (Some(list), Some(more)) = (there.as_array_mut(), given.as_array()) {
        for new in more {
            if !list.iter().any(|old| same(old, new)) {
                append(list, new.clone());
            }
        }
        return Ok(());
    }
    if let (Some(tables), Some(more)) = (there.as_array_of_tables_mut(), given.as_array()) {
        for new in more {
            let table = new
                .as_inline_table()
                .ok_or_else(|| format!("an entry of `{key}` is not a table"))?
                .clone()
                .into_table();
            if !tables
                .iter()
                .any(|old| same(&old.clone().into_inline_table().into(), new))
            {
                tables.push(table);
            }
        }
        return Ok(());
    }
    if let (Some(table), Some(more)) = (there.as_table_like_mut(), given.as_table_like()) {
        return more
            .iter()
            .try_for_each(|(name, item)| merge(table, name, item));
    }
    match given.as_value() {
        Some(new) if there.is_value() => set(into, key, new.clone()),
        _ => return Err(format!("`{key}` exists with another value")),
    }
    Ok(())
}

/// Whether both mean the same, however they are written.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.value() == b.value(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::InlineTable(a), Value::InlineTable(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => bare(a) == bare(b),
    }
}

/// The value without blanks and comments around it.
fn bare(value: &Value) -> String {
    let mut value = value.clone();
    value.decor_mut().clear();
    value.to_string()
}

/// Appends in the list's own style.
fn append(list: &mut Array, mut new: Value) {
    let style = list.iter().last().map(|last| last.decor().clone());
    let prefix = style
        .as_ref()
        .and_then(|decor| decor.prefix())
        .and_then(|prefix| prefix.as_str())
        .unwrap_or_default();
    let prefix = if prefix.contains('\n') {
        format!("\n{}", prefix.rsplit('\n').next().unwrap_or_default())
    } else {
        " ".to_owned()
    };
    new.decor_mut()
        .set_prefix(if list.is_empty() { "" } else { &prefix });
    new.decor_mut().set_suffix("");
    list.push_formatted(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "\
# ours
[[vhost]]
name = \"web\"
hooks = [\"a\"]  # in this order

[[vhost]]
name = \"mail\"

[hook.a]
source = \"a.lua\" # the old one

[hook.a.grant]
hostname = [
  \"one\",  # first
  \"two\",
]

# the end
[daemon]
node-name = \"x\"
";

    fn edit(
        text: &str,
        name: &str,
        grants: &[&str],
        settings: &[&str],
        vhosts: &[&str],
    ) -> Result<String, String> {
        let own = |lines: &[&str]| {
            lines
                .iter()
                .map(|line| (*line).to_owned())
                .collect::<Vec<_>>()
        };
        let (grants, settings, vhosts) = (own(grants), own(settings), own(vhosts));
        let name = name.parse().unwrap();
        let digest = Digest::of(b"");
        Edit {
            name: &name,
            source: "hooks/b.wasm",
            digest,
            grants: &grants,
            settings: &settings,
            vhosts: &vhosts,
        }
        .apply(text)
    }

    #[test]
    fn a_new_hook_is_added_and_nothing_else_moves() {
        let grants = [
            "hostname = [\"x\"]",
            "service = [{ unit = \"httpd\", do = [\"start\"] }]",
        ];
        let after = edit(
            BEFORE,
            "b",
            &grants,
            &["gateway = \"192.168.32.254\""],
            &["web", "mail"],
        )
        .unwrap();
        let digest = Digest::of(b"");
        let expected = BEFORE
            .replace("[\"a\"]  # in", "[\"a\", \"b\"]  # in")
            .replace("name = \"mail\"\n", "name = \"mail\"\nhooks = [\"b\"]\n")
            .replace(
                "\n# the end",
                &format!(
                    "\n[hook.b]\nsource = \"hooks/b.wasm\"\ndigest = \"{digest}\"\n\n[hook.b.config]\ngateway = \"192.168.32.254\"\n\n\
                     [hook.b.grant]\nhostname = [\"x\"]\nservice = [{{ unit = \"httpd\", do = [\"start\"] }}]\n\n# the end"
                ),
            );
        assert_eq!(after, expected);
    }

    #[test]
    fn an_upgrade_changes_the_digest_and_adds_grants_once() {
        let once = edit(
            BEFORE,
            "a",
            &["hostname = [\"two\", \"three\"]", "read = true"],
            &[],
            &["web"],
        )
        .unwrap();
        assert!(
            once.contains("source = \"hooks/b.wasm\" # the old one\ndigest = \"sha256:"),
            "{once}"
        );
        assert!(
            once.contains("  \"one\",  # first\n  \"two\",\n  \"three\",\n]\nread = true\n"),
            "{once}"
        );
        assert!(once.contains("hooks = [\"a\"]  # in this order"), "{once}");
        let again = ["hostname = ['two', \"three\"]", "read = true"];
        assert_eq!(
            edit(&once, "a", &again, &[], &["web"]).unwrap(),
            once,
            "however it is written"
        );
    }

    #[test]
    fn tables_of_every_form_are_taken() {
        let inline = "[hook]\na = { source = \"a.wasm\", grant = { hostname = [\"x\"] }, signature = \"s\" }\n";
        let after = edit(inline, "a", &["hostname = [\"y\"]"], &["k = 1"], &[]).unwrap();
        assert!(
            after.contains("grant = { hostname = [\"x\", \"y\"] }") && !after.contains("signature"),
            "{after}"
        );
        let tables = "[hook.a]\nsource = \"a\"\n[[hook.a.grant.route]]\ndst = \"default\"\n";
        let after = edit(
            tables,
            "a",
            &["route = [{ dst = \"default\" }, { dst = \"10.0.0.0/8\" }]"],
            &[],
            &[],
        )
        .unwrap();
        assert_eq!(
            after.matches("[[hook.a.grant.route]]").count(),
            2,
            "{after}"
        );
        let command = edit(
            BEFORE,
            "a",
            &[
                "command.c = { argv = [\"/c\"] }",
                "command.d = { argv = [\"/d\"] }",
            ],
            &[],
            &[],
        )
        .unwrap();
        assert!(
            toml_edit::DocumentMut::from_str(&command).is_ok(),
            "{command}"
        );
        assert!(
            command.contains("\"/c\"") && command.contains("\"/d\""),
            "{command}"
        );
    }

    #[test]
    fn what_cannot_be_edited_is_refused() {
        for (text, grant, vhost, says) in [
            ("hook = 1", "", "", "`hook` is not a table"),
            ("[hook]\na = 1", "", "", "`hook.a` is not a table"),
            ("x = [", "", "", "TOML parse error"),
            (BEFORE, "hostname = [", "", "is not a line of TOML"),
            (BEFORE, "hostname = 1\n", "", ""),
            (BEFORE, "", "none", "there is no virtual host \"none\""),
            (
                "vhost = [{ name = \"w\" }]",
                "",
                "w",
                "`vhost` is not written as [[vhost]]",
            ),
        ] {
            let grants: Vec<&str> = Some(grant)
                .filter(|grant| !grant.is_empty())
                .into_iter()
                .collect();
            let vhosts: Vec<&str> = Some(vhost)
                .filter(|vhost| !vhost.is_empty())
                .into_iter()
                .collect();
            match edit(text, "a", &grants, &[], &vhosts) {
                Err(why) => assert!(
                    !says.is_empty() && why.contains(says),
                    "{text} {grant}: {why}"
                ),
                Ok(after) => assert!(says.is_empty(), "{after}"),
            }
        }
    }

    use std::str::FromStr as _;
}
