//! Which modules a hook can require, as far as its text shows.

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::{Kind, Token};
use super::words;

/// The modules, among these, that a script can require, directly or indirectly; `None` if that is
/// unknown: it requires something by a computed name, or uses `require` itself as a value.
#[must_use]
pub fn required(main: &[u8], modules: &BTreeMap<String, Vec<u8>>) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut next = vec![("", main)];
    while let Some((from, text)) = next.pop() {
        for wanted in names(&words(text)?)? {
            // A module that does not exist is an error at run time, whatever else exists.
            let Some(key) = crate::hooks::runtime::lua::find_module(&wanted, from, |key| {
                modules.contains_key(key)
            }) else {
                continue;
            };
            let Some((key, text)) = modules.get_key_value(&key) else {
                continue;
            };
            if found.insert(key.clone()) {
                next.push((key.as_str(), text.as_slice()));
            }
        }
    }
    Some(found)
}

/// The names that a script requires; `None` if it also requires unknown ones.
fn names(tokens: &[Token]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut kinds = tokens.iter().map(|token| &token.kind).peekable();
    while let Some(kind) = kinds.next() {
        match kind {
            Kind::Name(name) if name == "require" => {
                let parenthesis = kinds.next_if(|kind| **kind == Kind::Symbol("(")).is_some();
                let Some(Kind::Text(wanted)) = kinds.next() else {
                    return None;
                };
                if parenthesis && kinds.next() != Some(&Kind::Symbol(")")) {
                    return None;
                }
                names.push(wanted.clone());
            }
            // Ways to get `require` without naming it.
            Kind::Name(name) if matches!(name.as_str(), "_G" | "getfenv" | "getgenv") => {
                return None;
            }
            Kind::Name(_)
            | Kind::Keyword(_)
            | Kind::Text(_)
            | Kind::SomeText
            | Kind::Number(_)
            | Kind::Symbol(_)
            | Kind::HoleBegin
            | Kind::HoleEnd => {}
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(main: &str) -> Option<Vec<String>> {
        let modules = [
            ("a.lua", "return require('lib/b')"),
            ("lib/b.luau", "return require './c', require('nowhere')"),
            ("lib/c/init.lua", "return require('a')"),
            ("other.lua", "return require('another')"),
            ("another.lua", "return 1"),
            ("dynamic.lua", "local name = 'a' return require(name)"),
            ("broken.lua", "return 'no end"),
        ];
        let modules = modules
            .into_iter()
            .map(|(key, text)| (key.to_owned(), text.as_bytes().to_vec()))
            .collect();
        required(main.as_bytes(), &modules).map(|found| found.into_iter().collect())
    }

    #[test]
    fn what_is_required_by_its_name_is_found_with_what_that_requires() {
        assert_eq!(of("function on_master() end").unwrap(), [""; 0]);
        assert_eq!(
            of("local o = require(\"other\")").unwrap(),
            ["another.lua", "other.lua"]
        );
        assert_eq!(
            of("function on_master() require [[a]] end").unwrap(),
            ["a.lua", "lib/b.luau", "lib/c/init.lua"]
        );
        assert_eq!(
            of("-- require('other')\nlog.info('require')").unwrap(),
            [""; 0]
        );
        assert_eq!(
            of("require('../other') require('nowhere')").unwrap(),
            [""; 0]
        );
    }

    #[test]
    fn what_cannot_be_told_is_everything() {
        for main in [
            "require(name)",
            "require('a' .. x)",
            "require(`{x}`)",
            "local r = require r('a')",
            "local x = { require }",
            "_G['req' .. 'uire']('a')",
            "require('dynamic')",
            "require('broken')",
            "require('\\x61')",
            "return 'no end",
            "require",
        ] {
            assert_eq!(of(main), None, "{main}");
        }
    }
}
