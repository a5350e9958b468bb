//! Names and strings of Luau.

use std::collections::HashMap;

use super::helpers;
use crate::hooks::contract::api;

const KEYWORDS: &[&str] = &[
    "and", "break", "continue", "do", "else", "elseif", "end", "export", "false", "for",
    "function", "if", "in", "local", "nil", "not", "or", "repeat", "return", "then", "true",
    "type", "until", "while",
];

/// Names of the language and of the generated text.
const TAKEN: &[&str] = &[
    "assert",
    "became",
    "config",
    "debug",
    "dev",
    "error",
    "event",
    "math",
    "next",
    "ok",
    "on_backup",
    "on_master",
    "pairs",
    "pcall",
    "print",
    "require",
    "select",
    "status",
    "string",
    "table",
    "tolerant",
    "tonumber",
    "tostring",
    "value",
    "vip",
    "xparam",
];

/// The names of a script's variables and functions.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, String>);

impl Names {
    /// A variable's name in Luau: the same, unless it would hide something.
    pub(super) fn of(&mut self, name: &str) -> String {
        self.named(name, name.to_owned())
    }

    /// A function's. In the shell a variable may have the same name, in Luau not.
    pub(super) fn function(&mut self, name: &str) -> String {
        self.named(name, format!("{name}()"))
    }

    fn named(&mut self, name: &str, key: String) -> String {
        if let Some(known) = self.0.get(&key) {
            return known.clone();
        }
        let mut new = name.replace('-', "_");
        let argument = |name: &str| {
            name.strip_prefix('a')
                .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        };
        let hides = |name: &str| {
            KEYWORDS.contains(&name)
                || TAKEN.contains(&name)
                || argument(name)
                || helpers::names().any(|n| n == name)
                || api::groups().any(|n| n == name)
        };
        while hides(&new) || self.0.values().any(|taken| *taken == new) {
            new.push('_');
        }
        self.0.insert(key, new.clone());
        new
    }
}

/// A string literal.
pub(in crate::port) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\t' => out += "\\t",
            c if c.is_control() => out += &format!("\\u{{{:x}}}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}

/// A key of a table.
pub(in crate::port) fn key(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain && !KEYWORDS.contains(&name) {
        name.to_owned()
    } else {
        format!("[{}]", quoted(name))
    }
}

/// The function for a verb of a service.
pub(super) fn service(verb: &str) -> &'static str {
    match verb {
        "start" => "service.start",
        "stop" => "service.stop",
        "reload" => "service.reload",
        _ => "service.restart",
    }
}

/// The function for a level.
pub(super) fn log(level: &str) -> &'static str {
    match level {
        "debug" => "log.debug",
        "warn" => "log.warn",
        "error" => "log.error",
        _ => "log.info",
    }
}

/// The function for a method of HTTP.
pub(super) fn http(verb: &str) -> &'static str {
    match verb {
        "post" => "http.post",
        "put" => "http.put",
        "patch" => "http.patch",
        "delete" => "http.delete",
        _ => "http.get",
    }
}
