//! The contract as a WIT package: what plugin authors generate their bindings from.

use std::fmt::Write as _;

use super::{
    CIDR, ENDPOINT, ENTRY_POINTS, IFNAME, IP, JSON, MAC, OUTCOMES, PACKAGE, STATE, STRING, TARGET,
    U8, UNIT_STATES, URL, VERSION, Wit, command_output, error, event, instance, kebab, link_info,
    option, record, response, returns, route_info,
};
use crate::hooks::EntryPoint;
use crate::hooks::contract::api::{
    EVENT_FIELDS, FUNCTIONS, Field, Function, INSTANCE_FIELDS, groups,
};

/// A sentence that was written for Lua, in WIT's words.
fn in_wit(text: &str) -> String {
    text.replace("nil", "none").replace(
        "\"init\", \"backup\" or \"master\"",
        "init, backup or master",
    )
}

pub(super) fn types(out: &mut String) {
    out.push_str("/// The words of the contract.\ninterface types {\n");
    let plain = |_: &str| None;
    for (doc, alias) in [
        (
            "An address with its prefix length: \"192.168.32.22/24\", \"2001:db8::22/64\".",
            CIDR,
        ),
        (
            "Where a route or rule leads to: \"default\", \"10.0.0.0/8\", an address.",
            TARGET,
        ),
        ("An IPv4 or IPv6 address.", IP),
        (
            "A network device's name: its own, at most 15 bytes, or an alternative one, at most 127.",
            IFNAME,
        ),
        ("A hardware address: \"00:00:5e:00:01:28\".", MAC),
        ("An address of HTTP: \"https://api.example.net/v1/\".", URL),
        (
            "A host and a port: \"192.168.32.10:80\", \"[2001:db8::10]:80\".",
            ENDPOINT,
        ),
        ("A JSON text.", JSON),
    ] {
        let _ = writeln!(out, "  /// {doc}");
        alias.define(out, plain);
    }
    for (doc, wit) in [
        ("The state of a virtual host.", STATE),
        (
            "Which function is called.",
            Wit::Enum("entry-point", ENTRY_POINTS),
        ),
        (
            "What an effect did: the host was not so before; it was; or it was only listed, in a plan.",
            Wit::Enum("outcome", OUTCOMES),
        ),
        (
            "What a service is doing, in systemd's words.",
            Wit::Enum("unit-state", UNIT_STATES),
        ),
        ("A network device; `mtu` in bytes.", link_info()),
        (
            "An address and the device that it is on.",
            record("device-address", [("dev", IFNAME), ("cidr", CIDR)]),
        ),
        (
            "A route; without `table` it is in the main one.",
            route_info(),
        ),
        (
            "What a command left behind: at most 64 KiB of each; a status of 128 + n for signal n.",
            command_output(),
        ),
        (
            "What an HTTP server answered: at most 256 KiB; the names of headers in small letters.",
            response(),
        ),
    ] {
        let _ = writeln!(out, "\n  /// {doc}");
        wit.define(out, plain);
    }
    out.push_str("\n  /// What the system said when it could not; `errno` where there was one.\n");
    record(
        "host-error",
        [("message", STRING), ("errno", option(Wit::Prim("s32")))],
    )
    .define(out, plain);
    out.push_str("\n  /// Why a request did not work.\n");
    error().define(out, |case| {
        let text = match case {
            "denied" => "Not granted; the text has the line of TOML that would grant it.",
            "invalid" => "The arguments make no sense.",
            "host" => "The host tried and failed.",
            "over-budget" => "A budget is used up.",
            _ => "A newer state of the virtual host overtook this run, which ends.",
        };
        Some(text.to_owned())
    });
    let field_doc = |fields: &'static [Field]| {
        move |name: &str| {
            fields
                .iter()
                .find(|f| kebab(f.name) == name)
                .map(|f| in_wit(f.doc))
        }
    };
    out.push_str("\n  /// The virtual host that an event is about.\n");
    instance().define(out, field_doc(INSTANCE_FIELDS));
    out.push_str("\n  /// What an entry point is told.\n");
    event().define(out, field_doc(EVENT_FIELDS));
    out.push_str("\n  /// How well the service is.\n");
    record("report", [("demotion", U8), ("reason", STRING)]).define(out, |name| {
        let text = if name == "demotion" {
            "0 is well; up to 240, as unfit as a node can be."
        } else {
            "Why; may be empty."
        };
        Some(text.to_owned())
    });
    out.push_str("}\n");
}

/// The interface of a group, with those of its functions that are wanted.
pub(super) fn group(out: &mut String, name: &'static str, wanted: &dyn Fn(&Function) -> bool) {
    let functions = || {
        FUNCTIONS
            .iter()
            .filter(move |f| f.group == name && wanted(f))
    };
    let mut uses = Vec::new();
    for function in functions() {
        function
            .params_wit()
            .iter()
            .for_each(|(_, wit)| wit.uses(&mut uses));
        function
            .result_wit()
            .iter()
            .for_each(|wit| wit.uses(&mut uses));
    }
    let grant = functions()
        .find_map(|f| f.capability)
        .map(crate::effect::Capability::as_str);
    let doc = grant.map_or("Always there.".to_owned(), |grant| {
        format!("Needs the grant `{grant}`.")
    });
    let _ = writeln!(out, "\n/// {doc}\ninterface {} {{", kebab(name));
    if !uses.is_empty() {
        let _ = writeln!(out, "  use types.{{{}}};", uses.join(", "));
    }
    let mut defined = Vec::new();
    for function in functions() {
        if let Some(options) = function
            .options_wit()
            .filter(|o| !defined.contains(&o.name()))
        {
            let _ = writeln!(
                out,
                "\n  /// What may be said beside the arguments; what is none takes its default."
            );
            options.define(out, |name| {
                function
                    .options
                    .iter()
                    .find(|o| kebab(o.name) == name)
                    .map(|o| in_wit(o.doc))
            });
            defined.push(options.name());
        }
    }
    for function in functions() {
        let _ = writeln!(out, "\n  /// {}", in_wit(function.doc));
        for param in function.params {
            let _ = writeln!(
                out,
                "  /// - `{}`: {}",
                kebab(param.name),
                in_wit(param.doc)
            );
        }
        let params: Vec<_> = function
            .params_wit()
            .iter()
            .map(|(name, wit)| format!("{name}: {}", wit.name()))
            .collect();
        let result = function
            .result_wit()
            .map(|wit| format!(" -> {}", wit.name()))
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "  {}: func({}){result};",
            kebab(function.name),
            params.join(", ")
        );
    }
    out.push_str("}\n");
}

pub(super) fn entry_point(out: &mut String, entry: EntryPoint) {
    let when = match entry {
        EntryPoint::BeforeMaster => {
            "Elected, addresses not yet up; an error means: do not become master. Effects are undone when mastership ends."
        }
        EntryPoint::OnMaster => {
            "Master, addresses up and announced. Effects are undone when mastership ends, unless `keep`."
        }
        EntryPoint::BeforeBackup => "A stop or an operator's order, addresses still up.",
        EntryPoint::OnBackup => "No longer master, addresses gone; also at start.",
        EntryPoint::OnPeerClaim => "Master, and heard a worse master: a split has healed.",
        EntryPoint::Health => "Is the service well? Only questions, no effects.",
        EntryPoint::OnStop => "The daemon stops; everything is undone.",
    };
    let name = kebab(entry.as_str());
    let uses = if entry == EntryPoint::Health {
        "event, report"
    } else {
        "event"
    };
    let result = returns(entry).name();
    let _ = write!(
        out,
        "\n/// {when}\n/// Called in a fresh instance each time. The text of an error is what the log will say.\n\
         interface {name} {{\n  use types.{{{uses}}};\n  {name}: func(event: event) -> {result};\n}}\n"
    );
}

const WORLDS: &str = "
/// Everything that a hook may import. A toolchain that drops what is not used (Rust, C, Zig, WAT) leaves in the component
/// exactly the functions that it calls.
world imports {
$IMPORTS}

/// Every entry point. A component exports those that it has, at least one.
world hook {
  include imports;
$EXPORTS}

/// For a hook that takes over and lets go.
world failover {
  include imports;
  export on-master;
  export on-backup;
}

/// For a component that only looks whether a service is well.
world health-check {
  include imports;
  export health;
}

/// For toolchains that import the whole of their world (JavaScript, Python): what a plain failover needs.
world hook-basic {
  import config;
  import log;
  import hostname;
  import route;
  import service;
  export on-master;
  export on-backup;
}
";

pub(super) const CONFIG: &str = "
/// The table `[hook.NAME.config]` of the operator's file. Always there.
interface config {
  use types.{json};

  /// The table as JSON.
  get: func() -> json;
}
";

/// What stands before the interfaces.
pub(super) fn package() -> String {
    format!(
        "/// What a WebAssembly hook of carpd may ask and what it is told.\n///\n\
         /// A hook imports nothing else, no `wasi:*`: what a component imports is all that it can ever do. A carpd of 1.N runs\n\
         /// every component made for 1.0 to 1.N. Units stand in names or in words beside them.\n\
         package {PACKAGE}@{VERSION};\n\n"
    )
}

/// The whole contract, as WIT.
#[must_use]
pub fn contract() -> String {
    let mut out = package();
    types(&mut out);
    for name in groups() {
        group(&mut out, name, &|_| true);
    }
    out.push_str(CONFIG);
    for entry in EntryPoint::ALL {
        entry_point(&mut out, entry);
    }
    let imports: String = groups()
        .chain(["config"])
        .map(|name| format!("  import {};\n", kebab(name)))
        .collect();
    let exports: String = EntryPoint::ALL
        .iter()
        .map(|entry| format!("  export {};\n", kebab(entry.as_str())))
        .collect();
    out + &WORLDS
        .replace("$IMPORTS", &imports)
        .replace("$EXPORTS", &exports)
}
