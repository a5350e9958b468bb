//! The list itself.

use super::Gives::{
    Addresses, Bytes, Command, Elapsed, Links, Millis, Nothing, Outcome, Response, Routes, Seconds,
    State, Stored, Text, UnitState,
};
use super::{Args, Context, Function, Kind, Param, Request};
use crate::effect::{
    Capability as Cap, Effect, HttpRequest, HttpVerb, Query, Route, Rule, ServiceVerb,
};
use crate::hooks::{Ask, LogLevel};

const U32: Kind = Kind::Int(0, u32::MAX as i64);
const TABLE: Kind = Kind::Int(1, u32::MAX as i64);
/// To the kernel a mark of 0 without a mask is none, and the rule would be for everything.
const MARK: Kind = Kind::Int(1, u32::MAX as i64);

const fn need(name: &'static str, kind: Kind, doc: &'static str) -> Param {
    Param {
        name,
        kind,
        required: true,
        doc,
    }
}

const fn may(name: &'static str, kind: Kind, doc: &'static str) -> Param {
    Param {
        name,
        kind,
        required: false,
        doc,
    }
}

const CIDR: Param = need(
    "cidr",
    Kind::Cidr,
    "The address with its prefix length; without one, a host address.",
);
const DEV: Param = may(
    "dev",
    Kind::Device,
    "The device; the virtual host's interface by default.",
);
const KEEP: Param = may("keep", Kind::Bool, "true: not undone when mastership ends.");
const WAIT: Param = may(
    "wait_ms",
    Kind::Int(0, 86_400_000),
    "How long it may take, in ms; at most what is left of the budget.",
);
const ROUTE: &[Param] = &[
    may("via", Kind::Ip, "The gateway."),
    may(
        "dev",
        Kind::Device,
        "The device; found from the gateway by default.",
    ),
    may("src", Kind::Ip, "The preferred source address."),
    may("metric", U32, "Lower is preferred."),
    may("table", TABLE, "The routing table; main (254) by default."),
    KEEP,
];
const RULE: &[Param] = &[
    may("from", Kind::Target, "Source prefix."),
    may("to", Kind::Target, "Destination prefix."),
    may("iif", Kind::Device, "Incoming device."),
    may("fwmark", MARK, "Firewall mark."),
    need("table", TABLE, "The table to look up."),
    need("priority", U32, "Lower is matched first."),
    KEEP,
];
const UNIT: Param = need(
    "unit",
    Kind::Text,
    "The service; httpd and httpd.service are the same.",
);
const PATH: Param = need("path", Kind::Text, "The absolute path.");
const KEY: Param = need("key", Kind::Text, "The name of the value.");
const MESSAGE: &[Param] = &[
    need("message", Kind::Text, "A sentence without values in it."),
    may("fields", Kind::Words, "The values, by name."),
];

const URL: Param = need(
    "url",
    Kind::Url,
    "The URL; scheme, host and port as in the grant, and a path that the grant covers.",
);
const BODY: Param = need("body", Kind::Bytes, "What to send, at most 64 KiB.");
/// How long a request to another host may take where the hook says nothing, in ms.
const PATIENCE_MS: u32 = 5000;
const PATIENCE: Param = may(
    "timeout_ms",
    Kind::Int(1, 3_600_000),
    "How long the whole request may take, in ms, including the name look-up; 5000 by default, at most what is left of the budget.",
);
const HTTP: &[Param] = &[may("headers", Kind::Words, "Headers by name."), PATIENCE];

macro_rules! functions {
    ($($group:ident.$name:ident($params:expr, $options:expr) -> $gives:expr, $capability:expr, $doc:literal, $example:literal, $make:expr;)*) => {
        &[$(Function {
            group: stringify!($group),
            name: stringify!($name),
            params: $params,
            options: $options,
            gives: $gives,
            capability: $capability,
            doc: $doc,
            example: $example,
            make: $make,
        }),*]
    };
}

/// Every function of the host; those of one group stand together.
pub const FUNCTIONS: &[Function] = functions! {
    addr.add(&[CIDR], &[DEV, KEEP]) -> Outcome, Some(Cap::Addr),
        "Puts an address on a device.", "addr.add(\"192.168.32.22/24\", { dev = \"eth0\" })",
        |a, c| { let address = Args::must(a.address("cidr"))?; let dev = dev(a, c); effect(a, Effect::AddressAdd { address, dev }) };
    addr.delete(&[CIDR], &[DEV, KEEP]) -> Outcome, Some(Cap::Addr),
        "Removes an address from a device.", "addr.delete(\"192.168.32.22/24\")",
        |a, c| { let address = Args::must(a.address("cidr"))?; let dev = dev(a, c); effect(a, Effect::AddressDelete { address, dev }) };

    announce.announce(&[CIDR], &[
            DEV,
            may("count", Kind::Int(1, 10), "How many times; 1 by default."),
            may("interval_ms", Kind::Int(1, 10_000), "The time between two announcements, in ms; 1000 by default."),
        ]) -> Outcome, Some(Cap::Addr),
        "Announces an address to the neighbours, by gratuitous ARP or unsolicited neighbour advertisement.",
        "announce(\"192.168.32.22/24\", { count = 2 })", announce;

    route.replace(&[need("dst", Kind::Target, "The destination.")], ROUTE) -> Outcome, Some(Cap::Route),
        "Makes this the route to its destination.", "route.replace(\"default\", { via = config.gateway })",
        |a, _| { let route = route(a)?; effect(a, Effect::RouteReplace(route)) };
    route.delete(&[need("dst", Kind::Target, "The destination.")], ROUTE) -> Outcome, Some(Cap::Route),
        "Removes a route.", "route.delete(\"10.0.0.0/8\")",
        |a, _| { let route = route(a)?; effect(a, Effect::RouteDelete(route)) };

    rule.replace(&[], RULE) -> Outcome, Some(Cap::Rule),
        "Makes sure that a policy rule exists.", "rule.replace({ from = \"10.1.0.0/16\", table = 100, priority = 1000 })",
        |a, _| { let rule = rule(a)?; effect(a, Effect::RuleReplace(rule)) };
    rule.delete(&[], RULE) -> Outcome, Some(Cap::Rule),
        "Removes a policy rule.", "rule.delete({ from = \"10.1.0.0/16\", table = 100, priority = 1000 })",
        |a, _| { let rule = rule(a)?; effect(a, Effect::RuleDelete(rule)) };

    link.set_up(&[need("dev", Kind::Device, "The device.")], &[may("up", Kind::Bool, "false: down. true by default."), KEEP])
        -> Outcome, Some(Cap::Link),
        "Sets a device administratively up or down.", "link.set_up(\"eth1\", { up = false })",
        |a, _| {
            let (dev, up) = (Args::must(a.device("dev"))?, a.bool("up").unwrap_or(true));
            effect(a, Effect::LinkSetUp { dev, up })
        };
    link.set_mac(&[need("dev", Kind::Device, "The device."), need("mac", Kind::Mac, "The address.")], &[KEEP])
        -> Outcome, Some(Cap::Link),
        "Gives a device a hardware address.", "link.set_mac(\"eth1\", \"00:00:5e:00:01:28\")",
        |a, _| {
            let (dev, mac) = (Args::must(a.device("dev"))?, Args::must(a.mac("mac"))?);
            effect(a, Effect::LinkSetMac { dev, mac })
        };

    hostname.get(&[], &[]) -> Text, Some(Cap::Hostname),
        "The kernel's host name.", "hostname.get()", |_, _| query(Query::Hostname);
    hostname.set(&[need("name", Kind::Text, "The new name.")], &[KEEP]) -> Outcome, Some(Cap::Hostname),
        "Sets the kernel's host name; never writes /etc/hostname.", "hostname.set(\"nodevir2\")",
        |a, _| { let name = Args::must(a.text("name"))?; effect(a, Effect::HostnameSet { name }) };

    service.start(&[UNIT], &[WAIT, KEEP]) -> Outcome, Some(Cap::Service),
        "Starts a service and waits until it runs.", "service.start(\"httpd\", { wait_ms = 5000 })",
        |a, _| service(a, ServiceVerb::Start);
    service.stop(&[UNIT], &[WAIT, KEEP]) -> Outcome, Some(Cap::Service),
        "Stops a service and waits until it is gone.", "service.stop(\"httpd\")",
        |a, _| service(a, ServiceVerb::Stop);
    service.restart(&[UNIT], &[WAIT, KEEP]) -> Outcome, Some(Cap::Service),
        "Stops and starts a service.", "service.restart(\"httpd\")", |a, _| service(a, ServiceVerb::Restart);
    service.reload(&[UNIT], &[WAIT, KEEP]) -> Outcome, Some(Cap::Service),
        "Makes a service read its configuration again.", "service.reload(\"httpd\")", |a, _| service(a, ServiceVerb::Reload);
    service.status(&[UNIT], &[]) -> UnitState, Some(Cap::Service),
        "What a service is doing.", "service.status(\"httpd\") == \"active\"",
        |a, _| query(Query::ServiceStatus { unit: Args::must(a.text("unit"))? });

    sysctl.get(&[need("key", Kind::Text, "The parameter, with dots.")], &[]) -> Text, Some(Cap::Sysctl),
        "The value of a kernel parameter.", "sysctl.get(\"net.ipv4.ip_forward\")",
        |a, _| query(Query::Sysctl { key: Args::must(a.text("key"))? });
    sysctl.set(&[need("key", Kind::Text, "The parameter, with dots."), need("value", Kind::Text, "The value, as text.")], &[KEEP])
        -> Outcome, Some(Cap::Sysctl),
        "Sets a kernel parameter.", "sysctl.set(\"net.ipv4.ip_forward\", \"1\")",
        |a, _| {
            let (key, value) = (Args::must(a.text("key"))?, Args::must(a.text("value"))?);
            effect(a, Effect::SysctlSet { key, value })
        };

    file.read(&[PATH], &[]) -> Bytes, Some(Cap::File),
        "The content of a file; nil if the file does not exist.", "file.read(\"/run/role\")",
        |a, _| query(Query::FileRead { path: Args::must(a.text("path"))? });
    file.write(&[PATH, need("content", Kind::Bytes, "The new content.")], &[KEEP]) -> Outcome, Some(Cap::File),
        "Writes a file, all or nothing.", "file.write(\"/run/role\", \"master\\n\")",
        |a, _| {
            let (path, content) = (Args::must(a.text("path"))?, Args::must(a.bytes("content"))?);
            effect(a, Effect::FileWrite { path, content })
        };
    file.remove(&[PATH], &[KEEP]) -> Outcome, Some(Cap::File),
        "Removes a file.", "file.remove(\"/run/role\")",
        |a, _| { let path = Args::must(a.text("path"))?; effect(a, Effect::FileRemove { path }) };

    command.run(&[
            need("name", Kind::Text, "The command line's name in the grants."),
            may("holes", Kind::Words, "The values for its holes, by name."),
        ], &[WAIT]) -> Command, Some(Cap::Command),
        "Runs a command line that the operator has written out, without a shell.", "command.run(\"promote\", { resource = \"r0\" }).status == 0",
        |a, _| {
            let (name, args) = (Args::must(a.text("name"))?, a.words("holes").unwrap_or_default());
            effect(a, Effect::CommandRun { name, args })
        };

    http.get(&[URL], HTTP) -> Response, Some(Cap::Http),
        "Sends a GET request. Any status is an answer; only a missing answer is an error. Redirects are not followed.",
        "http.get(\"http://127.0.0.1:8080/ready\", { timeout_ms = 500 }).status == 200", |a, _| http(a, HttpVerb::Get);
    http.post(&[URL, BODY], HTTP) -> Response, Some(Cap::Http),
        "Sends a POST request. What it does elsewhere is not undone.",
        "http.post(config.url, \"master\", { headers = { [\"content-type\"] = \"text/plain\" } })", |a, _| http(a, HttpVerb::Post);
    http.put(&[URL, BODY], HTTP) -> Response, Some(Cap::Http),
        "Sends a PUT request. What it does elsewhere is not undone.",
        "http.put(config.url, \"{}\")", |a, _| http(a, HttpVerb::Put);
    http.patch(&[URL, BODY], HTTP) -> Response, Some(Cap::Http),
        "Sends a PATCH request. What it does elsewhere is not undone.",
        "http.patch(config.url, \"{}\")", |a, _| http(a, HttpVerb::Patch);
    http.delete(&[URL], HTTP) -> Response, Some(Cap::Http),
        "Sends a DELETE request. What it does elsewhere is not undone.",
        "http.delete(config.url)", |a, _| http(a, HttpVerb::Delete);

    tcp.connect(&[need("endpoint", Kind::Endpoint, "The endpoint, exactly as in the grant.")], &[PATIENCE]) -> Elapsed, Some(Cap::Tcp),
        "Opens a TCP connection, closes it, and returns how many ms this took. A connection that fails is an error.",
        "tcp.connect(\"127.0.0.1:80\", { timeout_ms = 500 })",
        |a, _| {
            let (endpoint, timeout_ms) = (Args::must(a.endpoint("endpoint"))?, a.int("timeout_ms").unwrap_or(PATIENCE_MS));
            query(Query::TcpConnect { endpoint, timeout_ms })
        };

    facts.links(&[], &[]) -> Links, Some(Cap::Read),
        "All network devices.", "facts.links()[1].name", |_, _| query(Query::Links);
    facts.addresses(&[may("dev", Kind::Device, "Only those of this device.")], &[]) -> Addresses, Some(Cap::Read),
        "The addresses of one device, or of all devices.", "facts.addresses(\"eth0\")",
        |a, _| query(Query::Addresses { dev: a.device("dev") });
    facts.routes(&[may("table", TABLE, "The routing table; main by default.")], &[]) -> Routes, Some(Cap::Read),
        "The routes of a table.", "facts.routes()", |a, _| query(Query::Routes { table: a.int("table") });

    carp.state(&[], &[]) -> State, None,
        "The present state of the hook's own virtual host.", "carp.state() == \"master\"", |_, _| query(Query::CarpState);
    carp.demote(&[need("by", Kind::Int(0, 240), "How unfit this node is; 0 ends the demotion."), may("reason", Kind::Text, "Why.")], &[])
        -> Outcome, Some(Cap::Carp),
        "Raises the demotion of the hook's own virtual host, or ends it with 0.", "carp.demote(40, \"disk nearly full\")",
        |a, _| {
            let by = Args::must(a.int("by"))?;
            let reason = a.text("reason").unwrap_or_default();
            effect(a, Effect::Demote { by, reason })
        };
    carp.resign(&[may("reason", Kind::Text, "Why.")], &[]) -> Outcome, Some(Cap::Carp),
        "Hands over to a peer now.", "carp.resign(\"fencing failed\")",
        |a, _| { let reason = a.text("reason").unwrap_or_default(); effect(a, Effect::Resign { reason }) };

    log.debug(MESSAGE, &[]) -> Nothing, None, "Logs something for the author.", "log.debug(\"Here\")", |a, _| log(a, LogLevel::Debug);
    log.info(MESSAGE, &[]) -> Nothing, None,
        "Logs something for the record.", "log.info(\"Took over\", { after_ms = 12 })", |a, _| log(a, LogLevel::Info);
    log.warn(MESSAGE, &[]) -> Nothing, None,
        "Logs something that someone should look at.", "log.warn(\"The disk is slow\")", |a, _| log(a, LogLevel::Warn);
    log.error(MESSAGE, &[]) -> Nothing, None, "Logs a failure.", "log.error(\"No answer\")", |a, _| log(a, LogLevel::Error);

    clock.now(&[], &[]) -> Millis, None,
        "Milliseconds since the machine started, including suspend; for measuring intervals.", "local started = clock.now()",
        |_, _| Ok(Request::Now);
    clock.wall(&[], &[]) -> Seconds, None,
        "The time of day: seconds since 1970, with a fraction.", "clock.wall()", |_, _| Ok(Request::Wall);
    clock.sleep(&[need("ms", Kind::Int(0, 86_400_000), "How long, in ms.")], &[]) -> Nothing, None,
        "Waits; the time budget keeps running.", "clock.sleep(100)",
        |a, _| Ok(Request::Ask(Ask::Sleep { ms: Args::must(a.int("ms"))? }));

    state.get(&[KEY], &[]) -> Stored, None,
        "The value that an earlier run stored; nil if there is none.", "state.get(\"failures\") or 0",
        |a, _| Ok(Request::Ask(Ask::StateGet { key: Args::must(a.text("key"))? }));
    state.set(&[KEY, need("value", Kind::Any, "Text, a number, a boolean or a table of these.")], &[]) -> Nothing, None,
        "Stores a value for later runs of this hook on this virtual host.", "state.set(\"failures\", 3)",
        |a, _| {
            let (key, value) = (Args::must(a.text("key"))?, Args::must(a.any("value"))?);
            let value = serde_json::to_vec(&value).map_err(|err| err.to_string())?;
            Ok(Request::Ask(Ask::StateSet { key, value: Some(value) }))
        };
    state.delete(&[KEY], &[]) -> Nothing, None,
        "Deletes a stored value.", "state.delete(\"failures\")",
        |a, _| Ok(Request::Ask(Ask::StateSet { key: Args::must(a.text("key"))?, value: None }));
};

/// How every entry of the list makes its request.
type Made = Result<Request, String>;

#[expect(
    clippy::unnecessary_wraps,
    reason = "the last word of functions that can fail"
)]
fn query(query: Query) -> Made {
    Ok(Request::Ask(Ask::Query(query)))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the last word of functions that can fail"
)]
fn effect(args: &mut Args, effect: Effect) -> Made {
    Ok(Request::Ask(Ask::Effect {
        effect,
        keep: args.bool("keep").unwrap_or(false),
        wait_ms: args.int("wait_ms"),
    }))
}

fn dev(args: &mut Args, context: Context<'_>) -> crate::types::IfName {
    args.device("dev")
        .unwrap_or_else(|| context.interface.clone())
}

fn announce(args: &mut Args, context: Context<'_>) -> Made {
    let address = Args::must(args.address("cidr"))?;
    let dev = dev(args, context);
    let (count, interval_ms) = (
        args.int("count").unwrap_or(1),
        args.int("interval_ms").unwrap_or(1000),
    );
    effect(
        args,
        Effect::Announce {
            address,
            dev,
            count,
            interval_ms,
        },
    )
}

fn route(args: &mut Args) -> Result<Route, String> {
    Ok(Route {
        dst: Args::must(args.target("dst"))?,
        via: args.ip("via"),
        dev: args.device("dev"),
        src: args.ip("src"),
        metric: args.int("metric"),
        table: args.int("table"),
    })
}

fn rule(args: &mut Args) -> Result<Rule, String> {
    Ok(Rule {
        from: args.target("from"),
        to: args.target("to"),
        iif: args.device("iif"),
        fwmark: args.int("fwmark"),
        table: Args::must(args.int("table"))?,
        priority: Args::must(args.int("priority"))?,
    })
}

fn service(args: &mut Args, verb: ServiceVerb) -> Made {
    let unit = Args::must(args.text("unit"))?;
    effect(args, Effect::Service { unit, verb })
}

fn http(args: &mut Args, verb: HttpVerb) -> Made {
    let request = HttpRequest {
        verb,
        url: Args::must(args.url("url"))?,
        headers: args
            .words("headers")
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect(),
        body: args.bytes("body").unwrap_or_default(),
        timeout_ms: args.int("timeout_ms").unwrap_or(PATIENCE_MS),
    };
    request.check()?;
    if verb == HttpVerb::Get {
        query(Query::HttpGet(request))
    } else {
        effect(args, Effect::HttpSend(request))
    }
}

fn log(args: &mut Args, level: LogLevel) -> Made {
    let message = Args::must(args.text("message"))?;
    let fields = args
        .words("fields")
        .unwrap_or_default()
        .into_iter()
        .collect();
    Ok(Request::Ask(Ask::Log {
        level,
        message,
        fields,
    }))
}
