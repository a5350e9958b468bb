//! The API for people and editors, printed from the one list of functions.

mod bench;

use std::fmt::Write as _;

use crate::hooks::EntryPoint;
use crate::hooks::contract::api::{
    EVENT_FIELDS, FUNCTIONS, Field, Function, Gives, INSTANCE_FIELDS, Kind, Param, groups,
};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A definition file for Luau.
    Luau,
    /// Annotations for lua-language-server.
    LuaCats,
    /// The reference.
    Markdown,
}

/// The whole API.
#[must_use]
pub fn print(form: Form) -> String {
    match form {
        Form::Luau => luau(),
        Form::LuaCats => luacats(),
        Form::Markdown => markdown(),
    }
}

fn of_group(group: &str) -> impl Iterator<Item = &'static Function> {
    FUNCTIONS
        .iter()
        .filter(move |function| function.group == group)
}

/// A group that is called by its own name: `announce(...)`.
fn is_callable(group: &str) -> bool {
    let mut functions = of_group(group);
    functions
        .next()
        .is_some_and(|function| function.name == group)
        && functions.next().is_none()
}

const fn luau_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Cidr
        | Kind::Target
        | Kind::Ip
        | Kind::Device
        | Kind::Mac
        | Kind::Url
        | Kind::Endpoint
        | Kind::Text
        | Kind::Bytes => "string",
        Kind::Int(..) => "number",
        Kind::Bool => "boolean",
        Kind::Words => "{ [string]: string | number | boolean }",
        Kind::Any => "any",
    }
}

const fn luau_gives(gives: Gives) -> &'static str {
    match gives {
        Gives::Nothing => "()",
        Gives::Outcome => "Outcome",
        Gives::Text => "string",
        Gives::Bytes => "string?",
        Gives::UnitState => "UnitState",
        Gives::Command => "CommandResult",
        Gives::Links => "{ Link }",
        Gives::Addresses => "{ Address }",
        Gives::Routes => "{ Route }",
        Gives::State => "Role",
        Gives::Stored => "any",
        Gives::Response => "HttpResponse",
        Gives::Millis | Gives::Seconds | Gives::Elapsed => "number",
    }
}

/// Type, Luau, LuaCATS.
const TYPES: &[(&str, &[(&str, &str)])] = &[
    (
        "CommandResult",
        &[
            ("status", "number"),
            ("stdout", "string"),
            ("stderr", "string"),
        ],
    ),
    (
        "HttpResponse",
        &[
            ("status", "number"),
            ("headers", "{ [string]: string }"),
            ("body", "string"),
        ],
    ),
    (
        "Link",
        &[
            ("name", "string"),
            ("index", "number"),
            ("up", "boolean"),
            ("carrier", "boolean"),
            ("mac", "string"),
            ("mtu", "number"),
        ],
    ),
    ("Address", &[("dev", "string"), ("cidr", "string")]),
    (
        "Route",
        &[
            ("dst", "string"),
            ("via", "string?"),
            ("dev", "string?"),
            ("src", "string?"),
            ("metric", "number?"),
            ("table", "number?"),
        ],
    ),
];

const WORDS: &[(&str, &[&str])] = &[
    ("Role", &["init", "backup", "master"]),
    ("Outcome", &["changed", "unchanged", "planned"]),
    (
        "UnitState",
        &[
            "active",
            "inactive",
            "activating",
            "deactivating",
            "failed",
            "unknown",
        ],
    ),
];

fn event_type(name: &str) -> &'static str {
    match name {
        "instance" => "Instance",
        "state" | "previous" => "Role",
        "peer" | "xparam" => "string?",
        "seq" | "missed" | "time_left_ms" | "vhid" => "number",
        "initial" => "boolean",
        "addresses" => "{ string }",
        _ => "string",
    }
}

fn header(comment: &str) -> String {
    format!(
        "{comment} The hook API of carpd {}. Made by `carpd api`; do not edit.\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn luau() -> String {
    let mut out = header("--");
    for (name, words) in WORDS {
        let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        _ = writeln!(out, "export type {name} = {}", words.join(" | "));
    }
    for (name, fields) in TYPES {
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, kind)| format!("{name}: {kind}"))
            .collect();
        _ = writeln!(out, "export type {name} = {{ {} }}", fields.join(", "));
    }
    let record = |fields: &[Field]| -> String {
        fields
            .iter()
            .map(|field| {
                format!(
                    "  -- {}\n  {}: {},\n",
                    field.doc,
                    field.name,
                    event_type(field.name)
                )
            })
            .collect()
    };
    _ = writeln!(
        out,
        "export type Instance = {{\n{}}}",
        record(INSTANCE_FIELDS)
    );
    _ = writeln!(out, "export type Event = {{\n{}}}", record(EVENT_FIELDS));
    for group in groups() {
        out += "\n";
        if is_callable(group) {
            let function = of_group(group).next();
            out += &function
                .map(|f| format!("-- {}\ndeclare {group}: {}\n", f.doc, luau_function(f)))
                .unwrap_or_default();
            continue;
        }
        _ = writeln!(out, "declare {group}: {{");
        for function in of_group(group) {
            _ = writeln!(
                out,
                "  -- {}\n  {}: {},",
                function.doc,
                function.name,
                luau_function(function)
            );
        }
        out += "}\n";
    }
    out + "\n-- The table [hook.NAME.config].\ndeclare config: { [string]: any }\n"
        + &format!("\n-- {TOLERANT}\ndeclare function tolerant<T>(of: T, how: \"quiet\"?): T\n")
        + &bench::luau()
}

fn luau_function(function: &Function) -> String {
    let field = |param: &Param| {
        format!(
            "{}: {}{}",
            param.name,
            luau_type(param.kind),
            if param.required { "" } else { "?" }
        )
    };
    let mut params: Vec<String> = function.params.iter().map(field).collect();
    if !function.options.is_empty() {
        let options: Vec<String> = function.options.iter().map(field).collect();
        let optional = if function.options.iter().any(|option| option.required) {
            ""
        } else {
            "?"
        };
        params.push(format!("options: {{ {} }}{optional}", options.join(", ")));
    }
    format!("({}) -> {}", params.join(", "), luau_gives(function.gives))
}

fn cats_type(text: &str) -> String {
    match text {
        "{ [string]: string | number | boolean }" => {
            "table<string, string|number|boolean>".to_owned()
        }
        "Outcome" | "UnitState" | "Role" | "CommandResult" | "HttpResponse" | "Instance"
        | "Event" => format!("carpd.{text}"),
        "{ [string]: string }" => "table<string, string>".to_owned(),
        "{ string }" => "string[]".to_owned(),
        "{ Link }" | "{ Address }" | "{ Route }" => {
            format!("carpd.{}[]", text.trim_matches(['{', '}', ' ']))
        }
        other => other.to_owned(),
    }
}

fn luacats() -> String {
    let mut out = format!("---@meta\n{}", header("--"));
    for (name, words) in WORDS {
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        _ = writeln!(out, "---@alias carpd.{name} {}", words.join("|"));
    }
    for (name, fields) in TYPES {
        _ = writeln!(out, "\n---@class carpd.{name}");
        fields
            .iter()
            .for_each(|(name, kind)| out += &format!("---@field {name} {}\n", cats_type(kind)));
    }
    for (name, fields) in [("Instance", INSTANCE_FIELDS), ("Event", EVENT_FIELDS)] {
        _ = writeln!(out, "\n---@class carpd.{name}");
        for field in fields {
            _ = writeln!(
                out,
                "---@field {} {} {}",
                field.name,
                cats_type(event_type(field.name)),
                field.doc
            );
        }
    }
    for group in groups() {
        if !is_callable(group) {
            _ = writeln!(out, "\n{group} = {{}}");
        }
        for function in of_group(group) {
            out += &cats_function(function);
        }
    }
    out + "\n---The table [hook.NAME.config].\n---@type table<string, any>\nconfig = {}\n"
        + &format!(
            "\n---{TOLERANT}\n---@generic T\n---@param of T\n---@param how? 'quiet'\n---@return T\nfunction tolerant(of, how) end\n"
        )
        + &bench::luacats()
}

fn cats_function(function: &Function) -> String {
    let mut out = format!("\n---{}\n", function.doc);
    let mut names: Vec<&str> = function.params.iter().map(|param| param.name).collect();
    for param in function.params {
        let optional = if param.required { "" } else { "?" };
        _ = writeln!(
            out,
            "---@param {}{optional} {} {}",
            param.name,
            cats_type(luau_type(param.kind)),
            param.doc
        );
    }
    if !function.options.is_empty() {
        let field = |param: &Param| {
            format!(
                "{}{}: {}",
                param.name,
                if param.required { "" } else { "?" },
                cats_type(luau_type(param.kind))
            )
        };
        let fields: Vec<String> = function.options.iter().map(field).collect();
        let optional = if function.options.iter().any(|option| option.required) {
            ""
        } else {
            "?"
        };
        _ = writeln!(
            out,
            "---@param options{optional} {{ {} }}",
            fields.join(", ")
        );
        names.push("options");
    }
    if function.gives != Gives::Nothing {
        _ = writeln!(out, "---@return {}", cats_type(luau_gives(function.gives)));
    }
    let name = if is_callable(function.group) {
        function.group.to_owned()
    } else {
        function.full_name()
    };
    _ = writeln!(out, "function {name}({}) end", names.join(", "));
    out
}

/// What `tolerant` is, in short.
const TOLERANT: &str = "Makes a function of the host, or a group, go past failures as a shell does: with a warning, and false; of a command, with status 127.";

fn markdown() -> String {
    let mut out = String::from(
        "<!-- Made by `carpd api --markdown`; a test compares. Do not edit. -->\n# The hook API\n\n\
         A hook defines the entry points that it wants and reaches the host by these functions alone. Each needs the right that\n\
         stands beside it, written under `[hook.NAME.grant]` ([every key](../configuration.md)). A call that works gives back what\n\
         is said; one that does not raises an error with file, line and cause, and a refused one names the line that would grant it.\n\
         `\"unchanged\"` says that the host was so already.\n\n## Entry points\n\n| function | undone by itself | called |\n| --- | --- | --- |\n",
    );
    for entry in EntryPoint::ALL {
        let scoped = if entry.scoped() { "yes" } else { "no" };
        _ = writeln!(
            out,
            "| `{}(event)` | {scoped} | {} |",
            entry.as_str(),
            when(entry)
        );
    }
    for (title, intro, fields) in [
        (
            "The event",
            "What every entry point is given. It cannot be changed.",
            EVENT_FIELDS,
        ),
        ("The virtual host", "`event.instance`.", INSTANCE_FIELDS),
    ] {
        _ = write!(
            out,
            "\n## {title}\n\n{intro}\n\n| field | type | what it is |\n| --- | --- | --- |\n"
        );
        for field in fields {
            _ = writeln!(
                out,
                "| `{}` | `{}` | {} |",
                field.name,
                event_type(field.name),
                field.doc
            );
        }
    }
    for group in groups() {
        _ = write!(out, "\n## {group}\n");
        of_group(group).for_each(|function| out += &markdown_function(function));
    }
    out += "\n## config\n\nThe table `[hook.NAME.config]` of the configuration. It cannot be changed.\n\n\
            ## Lua\n\nHooks are Luau. There are `string`, `table`, `math`, `utf8`, `bit32`, `buffer`, `coroutine`, and `require` for files\n\
            below the hook's directory; there is no `io`, `os` or `load`. Every run has fresh globals: what must last goes to `state`.\n\n\
            `tolerant(of)` is a function of the host, or a group of them, that goes past failures as a shell does: after\n\
            `local service = tolerant(service)`, a `service.start` that fails leaves a warning in the log and gives `false`. A command\n\
            line that cannot be run has the status 127 then, and one that ends with another status than 0 is logged too, unless its\n\
            status is only an answer: `tolerant(command.run, \"quiet\")`. What is not granted still raises an error.\n";
    out + &bench::markdown()
}

const fn when(entry: EntryPoint) -> &'static str {
    match entry {
        EntryPoint::BeforeMaster => {
            "Elected, addresses not yet up. If it fails, this node does not become master."
        }
        EntryPoint::OnMaster => {
            "Master, addresses up and announced. What follows from a failure says `on-failure`."
        }
        EntryPoint::BeforeBackup => "Stop or operator's order, addresses still up.",
        EntryPoint::OnBackup => {
            "No longer master, addresses gone; also at start unless `neutral`. Retried if it fails."
        }
        EntryPoint::OnPeerClaim => "Master, and heard a worse master: a split has healed.",
        EntryPoint::Health => {
            "Now and then, and for tracks; may only look. Gives true, false, or a demotion from 0 to 240 and a reason."
        }
        EntryPoint::OnStop => "The daemon stops, after everything is undone.",
    }
}

fn markdown_function(function: &Function) -> String {
    let callable = is_callable(function.group);
    let name = if callable {
        function.group.to_owned()
    } else {
        function.full_name()
    };
    let mut names: Vec<&str> = function.params.iter().map(|param| param.name).collect();
    if !function.options.is_empty() {
        names.push("options");
    }
    let needs = function
        .capability
        .map_or_else(|| "nothing".to_owned(), |cap| format!("`{}`", cap.as_str()));
    let mut out = format!(
        "\n### `{name}({})`\n\n{} Needs {needs}.",
        names.join(", "),
        function.doc
    );
    if function.gives != Gives::Nothing {
        _ = write!(out, " Gives `{}`.", luau_gives(function.gives));
    }
    _ = write!(out, "\n\n```lua\n{}\n```\n", function.example);
    let rows = function
        .params
        .iter()
        .map(|param| (param, ""))
        .chain(function.options.iter().map(|param| (param, "option ")));
    let rows: String = rows
        .map(|(param, what)| {
            let must = if param.required {
                ""
            } else {
                " (may be left out)"
            };
            format!(
                "| {what}`{}` | {} | {}{must} |\n",
                param.name,
                param.kind.expects().replace('|', "\\|"),
                param.doc
            )
        })
        .collect();
    if !rows.is_empty() {
        _ = write!(
            out,
            "\n| argument | must be | meaning |\n| --- | --- | --- |\n{rows}"
        );
    }
    out
}
