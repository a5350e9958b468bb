//! Converts between the component model's values and those of the host functions.

use wasmtime::component::{Type, Val};

use carpd::effect::{CommandOutput, HttpResponse, Link, Reply, Route};
use carpd::hooks::contract::api::wit::kebab;
use carpd::hooks::contract::api::{Function, Gives, Kind, Param, Raw};
use carpd::hooks::{Answer, AskError, HookEvent};
use carpd::types::State;

/// The arguments of a call, as the list of functions takes them: options in a map after the rest.
pub(super) fn raw(function: &Function, given: &[Val]) -> Result<Vec<Raw>, String> {
    let mut values = given.iter();
    let mut raw = Vec::with_capacity(given.len());
    for param in function.params {
        raw.push(argument(param, values.next())?);
    }
    match values.next().map(some) {
        None | Some(None) => {}
        Some(Some(Val::Record(fields))) => raw.push(Raw::Map(options(function, fields)?)),
        Some(Some(_)) => return Err("the options are not a record".to_owned()),
    }
    // f(x, none) is f(x).
    while raw.last() == Some(&Raw::Nil) {
        raw.pop();
    }
    Ok(raw)
}

fn options(function: &Function, fields: &[(String, Val)]) -> Result<Vec<(String, Raw)>, String> {
    let mut map = Vec::with_capacity(fields.len());
    for param in function.options {
        let value = fields
            .iter()
            .find(|(name, _)| *name == kebab(param.name))
            .map(|(_, value)| value);
        match argument(param, value)? {
            Raw::Nil => {}
            value => map.push((param.name.to_owned(), value)),
        }
    }
    Ok(map)
}

/// The content of an option; the value itself if it is not one.
fn some(value: &Val) -> Option<&Val> {
    match value {
        Val::Option(inner) => inner.as_deref(),
        other => Some(other),
    }
}

fn argument(param: &Param, value: Option<&Val>) -> Result<Raw, String> {
    let Some(value) = value.and_then(some) else {
        return Ok(Raw::Nil);
    };
    let number = |n: u64| {
        #[expect(
            clippy::cast_precision_loss,
            reason = "what is beyond 2^53 is out of every range all the same"
        )]
        Raw::Number(n as f64)
    };
    Ok(match (param.kind, value) {
        (Kind::Any, Val::String(text)) => from_json(
            serde_json::from_str(text).map_err(|err| format!("{}: not JSON: {err}", param.name))?,
        ),
        (_, Val::String(text)) => Raw::Text(text.clone().into_bytes()),
        (_, Val::Bool(given)) => Raw::Bool(*given),
        (_, Val::U8(n)) => number(u64::from(*n)),
        (_, Val::U32(n)) => number(u64::from(*n)),
        (_, Val::U64(n)) => number(*n),
        (Kind::Bytes, Val::List(list)) => Raw::Text(list.iter().filter_map(byte).collect()),
        (Kind::Words, Val::List(list)) if list.is_empty() => Raw::Nil,
        (Kind::Words, Val::List(list)) => Raw::Map(list.iter().filter_map(pair).collect()),
        _ => {
            return Err(format!(
                "{} does not have its type from the contract",
                param.name
            ));
        }
    })
}

fn byte(value: &Val) -> Option<u8> {
    if let Val::U8(byte) = value {
        Some(*byte)
    } else {
        None
    }
}

fn pair(value: &Val) -> Option<(String, Raw)> {
    match value {
        Val::Tuple(pair) => match pair.as_slice() {
            [Val::String(key), Val::String(value)] => {
                Some((key.clone(), Raw::Text(value.clone().into_bytes())))
            }
            _ => None,
        },
        _ => None,
    }
}

fn from_json(json: serde_json::Value) -> Raw {
    use serde_json::Value as Json;
    match json {
        Json::Null => Raw::Nil,
        Json::Bool(given) => Raw::Bool(given),
        Json::Number(number) => Raw::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Raw::Text(text.into_bytes()),
        Json::Array(list) => Raw::List(list.into_iter().map(from_json).collect()),
        Json::Object(map) => Raw::Map(
            map.into_iter()
                .map(|(key, value)| (key, from_json(value)))
                .collect(),
        ),
    }
}

fn text(text: impl Into<String>) -> Val {
    Val::String(text.into())
}

fn option(value: Option<Val>) -> Val {
    Val::Option(value.map(Box::new))
}

fn ok(value: Option<Val>) -> Val {
    Val::Result(Ok(value.map(Box::new)))
}

fn bytes(bytes: &[u8]) -> Val {
    Val::List(bytes.iter().map(|byte| Val::U8(*byte)).collect())
}

fn record<const N: usize>(fields: [(&str, Val); N]) -> Val {
    Val::Record(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

fn word(word: &str) -> Val {
    Val::Enum(kebab(word))
}

/// An error as the result of a function.
pub(super) fn failed(err: &AskError) -> Val {
    let carried = |value: Val| Some(Box::new(value));
    let (case, value) = match err {
        AskError::Denied(denied) => ("denied", carried(text(denied.to_string()))),
        AskError::Invalid(why) => ("invalid", carried(text(why.as_str()))),
        AskError::Host { message, errno } => {
            let fields = record([
                ("message", text(message.as_str())),
                ("errno", option(errno.map(Val::S32))),
            ]);
            ("host", carried(fields))
        }
        AskError::OverBudget(_) | AskError::TimeUp(_) => {
            ("over-budget", carried(text(err.to_string())))
        }
        AskError::Superseded => ("superseded", None),
    };
    Val::Result(Err(Some(Box::new(Val::Variant(case.to_owned(), value)))))
}

/// The value that the component gets for the daemon's answer.
pub(super) fn answer(gives: Gives, answer: Answer) -> Val {
    let value = match (gives, answer) {
        (_, Answer::Error(err)) => return failed(&err),
        (Gives::Nothing, _) => None,
        (Gives::Stored, Answer::State(kept)) => {
            // Whatever was stored was JSON when it was stored.
            Some(option(
                kept.and_then(|kept| String::from_utf8(kept).ok()).map(text),
            ))
        }
        // In a plan nothing is run.
        (Gives::Command, Answer::Reply(Reply::Outcome(_))) => Some(command(&CommandOutput {
            status: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
        })),
        (Gives::Response, Answer::Reply(Reply::Outcome(_))) => {
            Some(http_response(&HttpResponse::planned()))
        }
        (_, Answer::Reply(reply)) if fits(gives, &reply) => Some(from_reply(&reply)),
        _ => {
            return failed(&AskError::Invalid(
                "the daemon gave an unexpected answer".to_owned(),
            ));
        }
    };
    ok(value)
}

/// Is this the kind of answer that the function's type requires?
const fn fits(gives: Gives, reply: &Reply) -> bool {
    matches!(
        (gives, reply),
        (Gives::Outcome, Reply::Outcome(_))
            | (Gives::Text, Reply::Text(_))
            | (Gives::Bytes, Reply::File(_))
            | (Gives::UnitState, Reply::Unit(_))
            | (Gives::State, Reply::State(_))
            | (Gives::Command, Reply::Command(_))
            | (Gives::Links, Reply::Links(_))
            | (Gives::Routes, Reply::Routes(_))
            | (Gives::Addresses, Reply::Addresses(_))
            | (Gives::Response, Reply::Http(_))
            | (Gives::Elapsed, Reply::Took(_))
    )
}

fn from_reply(reply: &Reply) -> Val {
    match reply {
        Reply::Outcome(outcome) => word(outcome.as_str()),
        Reply::Text(given) => text(given.as_str()),
        Reply::File(content) => option(content.as_deref().map(bytes)),
        Reply::Unit(state) => word(state.as_str()),
        Reply::State(state) => vhost_state(*state),
        Reply::Command(output) => command(output),
        Reply::Http(response) => http_response(response),
        Reply::Took(took) => Val::Float64(took.as_secs_f64() * 1e3),
        Reply::Links(links) => Val::List(links.iter().map(link).collect()),
        Reply::Routes(routes) => Val::List(routes.iter().map(route).collect()),
        Reply::Addresses(addresses) => Val::List(
            addresses
                .iter()
                .map(|(dev, cidr)| {
                    record([
                        ("dev", text(dev.as_str())),
                        ("cidr", text(cidr.to_string())),
                    ])
                })
                .collect(),
        ),
    }
}

fn vhost_state(state: State) -> Val {
    word(state.as_str())
}

fn command(output: &CommandOutput) -> Val {
    let CommandOutput {
        status,
        stdout,
        stderr,
    } = output;
    record([
        ("status", Val::S32(*status)),
        ("stdout", bytes(stdout)),
        ("stderr", bytes(stderr)),
    ])
}

fn http_response(response: &HttpResponse) -> Val {
    let HttpResponse {
        status,
        headers,
        body,
    } = response;
    let pair = |(name, value): &(String, String)| {
        Val::Tuple(vec![text(name.as_str()), text(value.as_str())])
    };
    record([
        ("status", Val::U16(*status)),
        ("headers", Val::List(headers.iter().map(pair).collect())),
        ("body", bytes(body)),
    ])
}

fn link(link: &Link) -> Val {
    let Link {
        name,
        altnames: _,
        index,
        up,
        carrier,
        mac,
        mtu,
        nature: _,
    } = link;
    record([
        ("name", text(name.as_str())),
        ("index", Val::U32(*index)),
        ("up", Val::Bool(*up)),
        ("carrier", Val::Bool(*carrier)),
        ("mac", text(mac.to_string())),
        ("mtu", Val::U32(*mtu)),
    ])
}

fn route(route: &Route) -> Val {
    let Route {
        dst,
        via,
        dev,
        src,
        metric,
        table,
    } = route;
    record([
        ("dst", text(dst.to_string())),
        ("via", option(via.map(|ip| text(ip.to_string())))),
        ("dev", option(dev.as_ref().map(|dev| text(dev.as_str())))),
        ("src", option(src.map(|ip| text(ip.to_string())))),
        ("metric", option(metric.map(Val::U32))),
        ("table", option(table.map(Val::U32))),
    ])
}

/// The arguments of an entry point.
pub(super) fn event(event: &HookEvent) -> Val {
    let instance = &event.instance;
    record([
        ("entry", word(event.entry.as_str())),
        (
            "instance",
            record([
                ("name", text(instance.name.as_str())),
                ("interface", text(instance.interface.as_str())),
                ("vhid", Val::U8(instance.vhid.get())),
                (
                    "addresses",
                    Val::List(
                        instance
                            .addresses
                            .iter()
                            .map(|address| text(address.to_string()))
                            .collect(),
                    ),
                ),
            ]),
        ),
        ("state", vhost_state(event.state)),
        ("previous", vhost_state(event.previous)),
        ("cause", text(event.cause.as_str())),
        ("cause-text", text(event.cause_text.as_str())),
        ("peer", option(event.peer.map(|ip| text(ip.to_string())))),
        ("seq", Val::U64(event.seq)),
        ("initial", Val::Bool(event.initial)),
        ("missed", Val::U32(event.missed)),
        ("xparam", option(event.xparam.as_deref().map(text))),
        ("node", text(event.node.as_str())),
        ("time-left-ms", Val::U64(event.time_left_ms)),
    ])
}

/// A component's type without its names, as [`carpd::hooks::contract::api::wit::Wit::structure`]
/// writes them.
pub(super) fn structure(ty: &Type) -> String {
    let optional = |ty: Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), structure);
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::U8 => "u8".to_owned(),
        Type::U16 => "u16".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::U64 => "u64".to_owned(),
        Type::S32 => "s32".to_owned(),
        Type::Float64 => "f64".to_owned(),
        Type::String => "string".to_owned(),
        Type::List(list) => format!("list<{}>", structure(&list.ty())),
        Type::Option(option) => format!("option<{}>", structure(&option.ty())),
        Type::Tuple(tuple) => format!(
            "tuple<{}>",
            tuple
                .types()
                .map(|ty| structure(&ty))
                .collect::<Vec<_>>()
                .join(",")
        ),
        Type::Enum(words) => format!("enum{{{}}}", words.names().collect::<Vec<_>>().join(",")),
        Type::Record(record) => {
            let fields: Vec<_> = record
                .fields()
                .map(|field| format!("{}:{}", field.name, structure(&field.ty)))
                .collect();
            format!("record{{{}}}", fields.join(","))
        }
        Type::Variant(variant) => {
            let case = |name: &str, ty: Option<Type>| match ty {
                Some(ty) => format!("{name}({})", structure(&ty)),
                None => name.to_owned(),
            };
            let cases: Vec<_> = variant.cases().map(|c| case(c.name, c.ty)).collect();
            format!("variant{{{}}}", cases.join(","))
        }
        Type::Result(result) => format!(
            "result<{},{}>",
            optional(result.ok()),
            optional(result.err())
        ),
        // The contract contains nothing else.
        other => format!("{other:?}")
            .split('(')
            .next()
            .unwrap_or("?")
            .to_lowercase(),
    }
}
