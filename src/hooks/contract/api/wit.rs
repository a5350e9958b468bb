//! The WebAssembly contract, made from the list of host functions: one list for every language.
//!
//! [`contract`] is the text of `plugins/wit/hooks.wit`. [`Wit::structure`] is a type without its names, which is what
//! a component is compared with when it is loaded. [`Part`] is as much of the contract as one hook needs.

mod part;
mod text;

use std::fmt::Write as _;

use super::{FUNCTIONS, Function, Gives, Kind, Param};
use crate::hooks::EntryPoint;

pub use part::Part;
pub use text::contract;

/// The contract's version. A host of 1.N runs every component made for 1.0 to 1.N.
pub const VERSION: &str = "1.0.0";

/// The package's name, without the version.
pub const PACKAGE: &str = "carpd:hooks";

/// A type of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wit {
    /// A type that WIT has by itself.
    Prim(&'static str),
    /// Another name for one.
    Alias(&'static str, &'static str),
    /// `list<T>`.
    List(Box<Wit>),
    /// `option<T>`.
    Option(Box<Wit>),
    /// `tuple<A, B>`.
    Pair(Box<Wit>, Box<Wit>),
    /// Named fields.
    Record(String, Vec<(String, Wit)>),
    /// One of several words.
    Enum(&'static str, &'static [&'static str]),
    /// One of several cases, each with what it carries.
    Variant(&'static str, Vec<(&'static str, Option<Wit>)>),
    /// `result<T, E>`.
    Result(Option<Box<Wit>>, Box<Wit>),
}

/// The words of `vhost-state`.
pub const STATES: &[&str] = &["init", "backup", "master"];
const ENTRY_POINTS: &[&str] = &[
    "before-master",
    "on-master",
    "before-backup",
    "on-backup",
    "on-peer-claim",
    "health",
    "on-stop",
];
const OUTCOMES: &[&str] = &["changed", "unchanged", "planned"];
const UNIT_STATES: &[&str] = &[
    "active",
    "inactive",
    "activating",
    "deactivating",
    "failed",
    "unknown",
];

const STRING: Wit = Wit::Prim("string");
const BOOL: Wit = Wit::Prim("bool");
const U8: Wit = Wit::Prim("u8");
const U16: Wit = Wit::Prim("u16");
const U32: Wit = Wit::Prim("u32");
const U64: Wit = Wit::Prim("u64");
const CIDR: Wit = Wit::Alias("cidr", "string");
const TARGET: Wit = Wit::Alias("target", "string");
const IP: Wit = Wit::Alias("ip", "string");
const IFNAME: Wit = Wit::Alias("ifname", "string");
const URL: Wit = Wit::Alias("url", "string");
const ENDPOINT: Wit = Wit::Alias("endpoint", "string");
const MAC: Wit = Wit::Alias("mac", "string");
const JSON: Wit = Wit::Alias("json", "string");
const STATE: Wit = Wit::Enum("vhost-state", STATES);

fn list(of: Wit) -> Wit {
    Wit::List(Box::new(of))
}

fn option(of: Wit) -> Wit {
    Wit::Option(Box::new(of))
}

fn record<const N: usize>(name: &str, fields: [(&str, Wit); N]) -> Wit {
    Wit::Record(
        name.to_owned(),
        fields
            .into_iter()
            .map(|(name, wit)| (name.to_owned(), wit))
            .collect(),
    )
}

fn words() -> Wit {
    list(Wit::Pair(Box::new(STRING), Box::new(STRING)))
}

/// A name as WIT writes it.
#[must_use]
pub fn kebab(name: &str) -> String {
    name.replace('_', "-")
}

/// A name as the list of functions writes it.
#[must_use]
pub fn snake(name: &str) -> String {
    name.replace('-', "_")
}

/// The error of every host function.
fn error() -> Wit {
    let host = record(
        "host-error",
        [("message", STRING), ("errno", option(Wit::Prim("s32")))],
    );
    Wit::Variant(
        "error",
        vec![
            ("denied", Some(STRING)),
            ("invalid", Some(STRING)),
            ("host", Some(host)),
            ("over-budget", Some(STRING)),
            ("superseded", None),
        ],
    )
}

fn instance() -> Wit {
    record(
        "instance",
        [
            ("name", STRING),
            ("interface", IFNAME),
            ("vhid", U8),
            ("addresses", list(CIDR)),
        ],
    )
}

/// What an entry point is given.
#[must_use]
pub fn event() -> Wit {
    record(
        "event",
        [
            ("entry", Wit::Enum("entry-point", ENTRY_POINTS)),
            ("instance", instance()),
            ("state", STATE),
            ("previous", STATE),
            ("cause", STRING),
            ("cause-text", STRING),
            ("peer", option(IP)),
            ("seq", U64),
            ("initial", BOOL),
            ("missed", U32),
            ("xparam", option(STRING)),
            ("node", STRING),
            ("time-left-ms", U64),
        ],
    )
}

/// What an entry point gives back.
#[must_use]
pub fn returns(entry: EntryPoint) -> Wit {
    let report = || Box::new(record("report", [("demotion", U8), ("reason", STRING)]));
    Wit::Result((entry == EntryPoint::Health).then(report), Box::new(STRING))
}

fn link_info() -> Wit {
    record(
        "link-info",
        [
            ("name", IFNAME),
            ("index", U32),
            ("up", BOOL),
            ("carrier", BOOL),
            ("mac", MAC),
            ("mtu", U32),
        ],
    )
}

fn route_info() -> Wit {
    record(
        "route-info",
        [
            ("dst", TARGET),
            ("via", option(IP)),
            ("dev", option(IFNAME)),
            ("src", option(IP)),
            ("metric", option(U32)),
            ("table", option(U32)),
        ],
    )
}

fn command_output() -> Wit {
    record(
        "command-output",
        [
            ("status", Wit::Prim("s32")),
            ("stdout", list(U8)),
            ("stderr", list(U8)),
        ],
    )
}

fn response() -> Wit {
    record(
        "http-response",
        [("status", U16), ("headers", words()), ("body", list(U8))],
    )
}

impl Kind {
    /// The type of such an argument.
    #[must_use]
    pub fn wit(self) -> Wit {
        match self {
            Self::Cidr => CIDR,
            Self::Target => TARGET,
            Self::Ip => IP,
            Self::Device => IFNAME,
            Self::Mac => MAC,
            Self::Url => URL,
            Self::Endpoint => ENDPOINT,
            Self::Text => STRING,
            Self::Bytes => list(U8),
            Self::Int(_, max) if max <= i64::from(u8::MAX) => U8,
            Self::Int(_, max) if max <= i64::from(u32::MAX) => U32,
            Self::Int(..) => U64,
            Self::Bool => BOOL,
            Self::Words => words(),
            Self::Any => JSON,
        }
    }
}

impl Param {
    /// Its type: an empty list says "not given" as well as an option does.
    fn wit(&self) -> Wit {
        let wit = self.kind.wit();
        if self.required || self.kind == Kind::Words {
            wit
        } else {
            option(wit)
        }
    }
}

impl Gives {
    /// The type of the result; `None` for nothing. Whether it can fail is [`Function::fails`].
    fn wit(self) -> Option<Wit> {
        Some(match self {
            Self::Nothing => return None,
            Self::Outcome => Wit::Enum("outcome", OUTCOMES),
            Self::Text => STRING,
            Self::Bytes => option(list(U8)),
            Self::UnitState => Wit::Enum("unit-state", UNIT_STATES),
            Self::Command => command_output(),
            Self::Links => list(link_info()),
            Self::Addresses => list(record("device-address", [("dev", IFNAME), ("cidr", CIDR)])),
            Self::Routes => list(route_info()),
            Self::State => STATE,
            Self::Stored => option(JSON),
            Self::Response => response(),
            Self::Millis | Self::Seconds | Self::Elapsed => Wit::Prim("f64"),
        })
    }
}

impl Function {
    /// Can it fail? A log line and a look at the clock cannot.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.group != "log" && !matches!(self.gives, Gives::Millis | Gives::Seconds)
    }

    /// The record of its options, which the last argument is; `None` if it has none.
    #[must_use]
    pub fn options_wit(&self) -> Option<Wit> {
        if self.options.is_empty() {
            return None;
        }
        let names = |f: &Self| f.options.iter().map(|o| o.name).collect::<Vec<_>>();
        let shared = FUNCTIONS
            .iter()
            .filter(|f| f.group == self.group && !f.options.is_empty())
            .all(|f| names(f) == names(self));
        let name = if shared {
            "options".to_owned()
        } else {
            format!("{}-options", kebab(self.name))
        };
        Some(Wit::Record(
            name,
            self.options
                .iter()
                .map(|o| (kebab(o.name), o.wit()))
                .collect(),
        ))
    }

    /// Names and types of its arguments.
    #[must_use]
    pub fn params_wit(&self) -> Vec<(String, Wit)> {
        let mut params: Vec<_> = self
            .params
            .iter()
            .map(|p| (kebab(p.name), p.wit()))
            .collect();
        if let Some(options) = self.options_wit() {
            let needed = self.options.iter().any(|o| o.required);
            params.push((
                "options".to_owned(),
                if needed { options } else { option(options) },
            ));
        }
        params
    }

    /// Its result.
    #[must_use]
    pub fn result_wit(&self) -> Option<Wit> {
        match self.gives.wit() {
            wit if self.fails() => Some(Wit::Result(wit.map(Box::new), Box::new(error()))),
            wit => wit,
        }
    }
}

impl Wit {
    /// As it stands where it is used.
    fn name(&self) -> String {
        match self {
            Self::Prim(name)
            | Self::Alias(name, _)
            | Self::Enum(name, _)
            | Self::Variant(name, _) => (*name).to_owned(),
            Self::Record(name, _) => name.clone(),
            Self::List(of) => format!("list<{}>", of.name()),
            Self::Option(of) => format!("option<{}>", of.name()),
            Self::Pair(a, b) => format!("tuple<{}, {}>", a.name(), b.name()),
            Self::Result(ok, err) => format!(
                "result<{}, {}>",
                ok.as_ref().map_or("_".to_owned(), |ok| ok.name()),
                err.name()
            ),
        }
    }

    /// The type with every name of the contract replaced by what it stands for.
    #[must_use]
    pub fn structure(&self) -> String {
        let cases = |words: &[&str]| words.join(",");
        match self {
            Self::Prim(name) | Self::Alias(_, name) => (*name).to_owned(),
            Self::List(of) => format!("list<{}>", of.structure()),
            Self::Option(of) => format!("option<{}>", of.structure()),
            Self::Pair(a, b) => format!("tuple<{},{}>", a.structure(), b.structure()),
            Self::Enum(_, words) => format!("enum{{{}}}", cases(words)),
            Self::Record(_, fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, wit)| format!("{name}:{}", wit.structure()))
                    .collect();
                format!("record{{{}}}", fields.join(","))
            }
            Self::Variant(_, all) => {
                let all: Vec<_> = all
                    .iter()
                    .map(|(name, wit)| {
                        wit.as_ref().map_or((*name).to_owned(), |wit| {
                            format!("{name}({})", wit.structure())
                        })
                    })
                    .collect();
                format!("variant{{{}}}", all.join(","))
            }
            Self::Result(ok, err) => {
                format!(
                    "result<{},{}>",
                    ok.as_ref().map_or("_".to_owned(), |ok| ok.structure()),
                    err.structure()
                )
            }
        }
    }

    /// The names of `types` that this needs to be spelled.
    fn uses(&self, into: &mut Vec<String>) {
        match self {
            Self::Prim(_) => {}
            Self::Record(_, fields) if self.is_local() => {
                for (_, wit) in fields {
                    wit.uses(into);
                }
            }
            Self::Alias(..) | Self::Enum(..) | Self::Variant(..) | Self::Record(..) => {
                let name = self.name();
                if !into.contains(&name) {
                    into.push(name);
                }
            }
            Self::List(of) | Self::Option(of) => of.uses(into),
            Self::Pair(a, b) => [a, b].into_iter().for_each(|wit| wit.uses(into)),
            Self::Result(ok, err) => ok.iter().chain([err]).for_each(|wit| wit.uses(into)),
        }
    }

    /// A record of options stands beside the function, everything else in `types`.
    fn is_local(&self) -> bool {
        matches!(self, Self::Record(name, _) if name.ends_with("options"))
    }

    /// Writes the definition; `doc` explains a field or case.
    fn define(&self, out: &mut String, doc: impl Fn(&str) -> Option<String>) {
        let explain = |out: &mut String, name: &str| {
            if let Some(text) = doc(name) {
                let _ = writeln!(out, "    /// {text}");
            }
        };
        let opened = match self {
            Self::Alias(name, of) => {
                return writeln!(out, "  type {name} = {of};").unwrap_or_default();
            }
            Self::Record(name, _) => format!("record {name}"),
            Self::Enum(name, _) => format!("enum {name}"),
            Self::Variant(name, _) => format!("variant {name}"),
            Self::Prim(_) | Self::List(_) | Self::Option(_) | Self::Pair(..) | Self::Result(..) => {
                return;
            }
        };
        let _ = writeln!(out, "  {opened} {{");
        match self {
            Self::Record(_, fields) => {
                for (name, wit) in fields {
                    explain(out, name);
                    // Keywords of WIT.
                    let escape = if matches!(name.as_str(), "from" | "interface") {
                        "%"
                    } else {
                        ""
                    };
                    let _ = writeln!(out, "    {escape}{name}: {},", wit.name());
                }
            }
            Self::Enum(_, words) => {
                for word in *words {
                    explain(out, word);
                    let _ = writeln!(out, "    {word},");
                }
            }
            Self::Variant(_, cases) => {
                for (name, wit) in cases {
                    explain(out, name);
                    let carried = wit
                        .as_ref()
                        .map(|wit| format!("({})", wit.name()))
                        .unwrap_or_default();
                    let _ = writeln!(out, "    {name}{carried},");
                }
            }
            _ => {}
        }
        out.push_str("  }\n");
    }
}
