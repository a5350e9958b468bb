//! What a test file may call, for people and editors.

use std::fmt::Write as _;

use crate::hooks::contract::api::{On, TEST_FUNCTIONS, TEST_TYPES, TestFunction};

fn functions(on: On) -> impl Iterator<Item = &'static TestFunction> {
    TEST_FUNCTIONS
        .iter()
        .filter(move |function| function.on == on)
}

/// Name and type; a type that ends in `?` may be left out.
fn params(function: &TestFunction) -> Vec<String> {
    function
        .params
        .iter()
        .map(|(name, kind)| format!("{name}: {kind}"))
        .collect()
}

fn names(function: &TestFunction) -> String {
    function
        .params
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// For definition files of Luau.
pub(super) fn luau() -> String {
    let mut out = String::from("\n-- Of test files alone.\n");
    for (name, fields) in TEST_TYPES {
        let fields: String = fields
            .iter()
            .map(|f| format!("  -- {}\n  {}: {},\n", f.doc, f.name, f.kind))
            .collect();
        _ = writeln!(out, "export type {name} = {{\n{fields}}}");
    }
    out += "export type TestHost = {\n";
    for function in functions(On::Host) {
        let all: Vec<String> = std::iter::once("self: TestHost".to_owned())
            .chain(params(function))
            .collect();
        _ = writeln!(
            out,
            "  -- {}\n  {}: ({}) -> {},",
            function.doc,
            function.name,
            all.join(", "),
            function.gives
        );
    }
    out += "}\ndeclare test: {\n";
    for function in functions(On::Test) {
        _ = writeln!(
            out,
            "  -- {}\n  {}: ({}) -> {},",
            function.doc,
            function.name,
            params(function).join(", "),
            function.gives
        );
    }
    out + "}\n"
}

/// A type in the words of lua-language-server.
fn cats(kind: &str) -> String {
    let kind = kind.trim_end_matches('?');
    let named = |name: &str| {
        let ours = TEST_TYPES.iter().any(|(known, _)| *known == name)
            || ["TestHost", "Role", "UnitState", "Link"].contains(&name);
        if ours {
            format!("carpd.{name}")
        } else {
            name.to_owned()
        }
    };
    let list = kind
        .strip_prefix("{ ")
        .and_then(|rest| rest.strip_suffix(" }"));
    match list {
        _ if kind == "() -> ()" => "fun()".to_owned(),
        Some(inner) => match inner.strip_prefix("[string]: ") {
            Some(value) => format!(
                "table<string, {}>",
                value.split(" | ").map(named).collect::<Vec<_>>().join("|")
            ),
            None if inner.contains(':') => kind.to_owned(),
            None => format!("{}[]", named(inner)),
        },
        None => kind.split(" | ").map(named).collect::<Vec<_>>().join("|"),
    }
}

/// For lua-language-server.
pub(super) fn luacats() -> String {
    let mut out = String::new();
    for (name, fields) in TEST_TYPES {
        _ = writeln!(out, "\n---@class carpd.{name}");
        for field in *fields {
            let optional = if field.kind.ends_with('?') { "?" } else { "" };
            _ = writeln!(
                out,
                "---@field {}{optional} {} {}",
                field.name,
                cats(field.kind),
                field.doc
            );
        }
    }
    out +=
        "\n---@class carpd.TestHost\nlocal TestHost = {}\n\n---Of test files alone.\ntest = {}\n";
    for function in TEST_FUNCTIONS {
        let of = if function.on == On::Host {
            "TestHost:"
        } else {
            "test."
        };
        _ = writeln!(out, "\n---{}", function.doc);
        for (name, kind) in function.params {
            let optional = if kind.ends_with('?') { "?" } else { "" };
            _ = writeln!(out, "---@param {name}{optional} {}", cats(kind));
        }
        if function.gives != "()" {
            _ = writeln!(out, "---@return {}", cats(function.gives));
        }
        _ = writeln!(
            out,
            "function {of}{}({}) end",
            function.name,
            names(function)
        );
    }
    out
}

/// For the reference.
pub(super) fn markdown() -> String {
    let mut out = String::from(
        "\n## Test files\n\nA test file has `test` in place of the functions above; `h` is what `test.host` gives. How to write one: \
         [test a hook](../guide/test-a-hook.md).\n",
    );
    for function in TEST_FUNCTIONS {
        let of = if function.on == On::Host {
            "h:"
        } else {
            "test."
        };
        _ = write!(
            out,
            "\n### `{of}{}({})`\n\n{}",
            function.name,
            names(function),
            function.doc
        );
        if function.gives != "()" {
            _ = write!(out, " Gives `{}`.", function.gives);
        }
        _ = write!(out, "\n\n```lua\n{}\n```\n", function.example);
    }
    for (name, fields) in TEST_TYPES {
        _ = write!(
            out,
            "\n### {name}\n\n| field | type | meaning |\n| --- | --- | --- |\n"
        );
        for field in *fields {
            let kind = field.kind.replace('|', "\\|");
            _ = writeln!(out, "| `{}` | `{kind}` | {} |", field.name, field.doc);
        }
    }
    out
}
