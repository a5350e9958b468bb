//! What several formats need.

use super::Work;
use super::account::Id;
use super::target::{File, Table};

/// The most bytes that a password may have: what the protocol's key has room for.
const PASSWORD_MAX: usize = 19;

/// Gives a virtual host its password, in a file of its own beside the configuration.
pub(super) fn password(work: &mut Work<'_>, id: Id, vhost: &mut Table, name: &str, text: &str) {
    let path = format!("{name}.pass");
    vhost.set("password-file", path.as_str());
    if text.is_empty() {
        work.account
            .open(id, format!("there is no password: write one into {path}"));
        return;
    }
    if text.len() > PASSWORD_MAX {
        work.account.open(
            id,
            format!("the password is longer than {PASSWORD_MAX} bytes: write another into {path}, on all nodes"),
        );
        return;
    }
    work.account.translated(id, format!("the file {path}"));
    work.target.files.push(File {
        path,
        text: format!("{text}\n"),
        secret: true,
    });
}

/// A hook of kind `script`.
pub(super) fn scripts(
    work: &mut Work<'_>,
    vhost: &mut Table,
    name: &str,
    up: Option<&str>,
    down: Option<&str>,
) {
    let name = work.target.hook_name(&format!("{name}-scripts"));
    let mut text = format!("[hook.{name}]\nkind = \"script\"\n");
    for (way, path) in [("up", up), ("down", down)] {
        if let Some(path) = path {
            text.push_str(&format!("{way} = {}\n", toml::Value::from(path)));
        }
    }
    // As ucarp: a script that fails has no consequences; 300 s is what `carpd ucarp` gives it.
    text.push_str("timeout = \"300s\"\non-failure = \"ignore\"\n");
    work.target.hooks.insert(name.clone(), text);
    vhost.push("hooks", name);
    let ported: Vec<&str> = [up, down].into_iter().flatten().collect();
    work.remark(&format!(
        "what runs as before, outside any sandbox: {}; `carpd port {}` makes a sandboxed hook of it",
        ported.join(" and "),
        ported.join(" ")
    ));
}

/// What a node keeps of ucarp while another one of its group still runs that.
pub(super) fn as_ucarp(vhost: &mut Table) {
    vhost.set("tie-break", "ucarp");
    vhost.set("source-mac", "ucarp");
}

/// `text` without quotes around it, as a shell reads a plain assignment.
pub(super) fn unquoted(text: &str) -> &str {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote)
            && let Some(end) = inner.find(quote)
        {
            return inner.get(..end).unwrap_or_default();
        }
    }
    text.split(" #").next().unwrap_or_default().trim_end()
}

/// An assignment of a shell: its name and its value, as far as that is plain.
pub(super) fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=')?;
    let is_name = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    is_name.then(|| (name, unquoted(value)))
}

/// The words of a line as a shell splits them, quotes and backslashes removed; `None` where a
/// quote does not end.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return None;
    }
    words.extend(word);
    Some(words)
}
