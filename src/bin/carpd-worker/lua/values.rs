//! Converts values to Lua and from Lua.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a kind of Lua value that is not named is refused"
)]

use std::collections::BTreeMap;

use mlua::{IntoLua, Lua, Table, Value};

use carpd::effect::{CommandOutput, HttpResponse, Link, Outcome, Reply, Route};
use carpd::hooks::contract::api::{Gives, Raw};
use carpd::hooks::{Answer, HookEvent};

/// How deep a table may be nested, and how many values and bytes of text it may contain, to be
/// passed to the host. A text that appears in a table many times is counted each time, since it is
/// copied.
const DEPTH: usize = 16;
const VALUES: usize = 10_000;
const BYTES: usize = 4 << 20;

/// What may still be passed with this call.
struct Left {
    values: usize,
    bytes: usize,
}

impl Left {
    fn take(&mut self, bytes: usize) -> Result<(), String> {
        let values = self.values.checked_sub(1);
        self.values = values
            .ok_or_else(|| format!("a table with more than {VALUES} values cannot be passed"))?;
        let bytes = self.bytes.checked_sub(bytes);
        self.bytes =
            bytes.ok_or_else(|| format!("more than {BYTES} bytes of text cannot be passed"))?;
        Ok(())
    }
}

/// Reads a value of the script.
pub(super) fn raw(value: &Value) -> Result<Raw, String> {
    read(
        value,
        DEPTH,
        &mut Left {
            values: VALUES,
            bytes: BYTES,
        },
    )
}

/// Reads a value of the script as JSON.
pub(super) fn json(value: &Value) -> Result<serde_json::Value, String> {
    raw(value)?.json()
}

fn read(value: &Value, depth: usize, left: &mut Left) -> Result<Raw, String> {
    left.take(if let Value::String(text) = value {
        text.as_bytes().len()
    } else {
        0
    })?;
    Ok(match value {
        Value::Nil => Raw::Nil,
        Value::Boolean(given) => Raw::Bool(*given),
        #[expect(
            clippy::cast_precision_loss,
            reason = "it was a f64 before: Luau has no other numbers here"
        )]
        Value::Integer(number) => Raw::Number(*number as f64),
        Value::Number(number) => Raw::Number(*number),
        Value::String(text) => Raw::Text(text.as_bytes().to_vec()),
        Value::Table(table) => {
            let depth = depth
                .checked_sub(1)
                .ok_or_else(|| format!("a table nested deeper than {DEPTH} cannot be passed"))?;
            return read_table(table, depth, left);
        }
        Value::Function(_) => Raw::Other("a function"),
        Value::Thread(_) => Raw::Other("a coroutine"),
        Value::Buffer(_) => Raw::Other("a buffer"),
        _ => Raw::Other("a value of another type"),
    })
}

fn read_table(table: &Table, depth: usize, left: &mut Left) -> Result<Raw, String> {
    let (mut list, mut map) = (Vec::new(), Vec::new());
    for pair in table.clone().pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|err| err.to_string())?;
        let value = read(&value, depth, left)?;
        match key {
            Value::String(key) if left.take(key.as_bytes().len()).is_err() => {
                return Err(format!("more than {BYTES} bytes of text cannot be passed"));
            }
            Value::String(key) => map.push((
                key.to_str()
                    .map_err(|_| "a key is not UTF-8".to_owned())?
                    .to_owned(),
                value,
            )),
            Value::Integer(key) if usize::try_from(key).is_ok_and(|k| k == list.len() + 1) => {
                list.push(value);
            }
            _ => return Err("a table must have text as keys, or be a list without gaps".to_owned()),
        }
    }
    match (list.is_empty(), map.is_empty()) {
        (false, false) => Err("a table must have text as keys, or be a list, not both".to_owned()),
        (false, true) => Ok(Raw::List(list)),
        (true, _) => Ok(Raw::Map(map)),
    }
}

/// The value that the script gets for the daemon's answer; an `Err` is raised in it.
pub(super) fn answer(
    lua: &Lua,
    gives: Gives,
    answer: Answer,
) -> mlua::Result<Result<Value, String>> {
    let value = match (gives, answer) {
        (_, Answer::Error(err)) => return Ok(Err(err.to_string())),
        (_, Answer::Done)
        | (Gives::Stored, Answer::State(None))
        | (Gives::Bytes, Answer::Reply(Reply::File(None))) => Value::Nil,
        (Gives::Stored, Answer::State(Some(bytes))) => match serde_json::from_slice(&bytes) {
            Ok(json) => from_json(lua, &json)?,
            Err(err) => return Ok(Err(format!("the stored value cannot be read: {err}"))),
        },
        // In a plan nothing is run.
        (Gives::Command, Answer::Reply(Reply::Outcome(Outcome::Planned))) => command(
            lua,
            &CommandOutput {
                status: 0,
                stdout: Vec::new(),
                stderr: Vec::new(),
            },
        )?,
        (Gives::Response, Answer::Reply(Reply::Outcome(Outcome::Planned))) => {
            http_response(lua, &HttpResponse::planned())?
        }
        (_, Answer::Reply(reply)) => from_reply(lua, reply)?,
        (_, Answer::State(_)) => {
            return Ok(Err("the daemon gave an unexpected answer".to_owned()));
        }
    };
    Ok(Ok(value))
}

fn from_reply(lua: &Lua, reply: Reply) -> mlua::Result<Value> {
    match reply {
        Reply::Outcome(outcome) => outcome.as_str().into_lua(lua),
        Reply::Text(text) => text.into_lua(lua),
        Reply::File(content) => {
            content.map_or(Ok(Value::Nil), |c| lua.create_string(&c).map(Value::String))
        }
        Reply::Unit(state) => state.as_str().into_lua(lua),
        Reply::State(state) => state.as_str().into_lua(lua),
        Reply::Command(output) => command(lua, &output),
        Reply::Http(response) => http_response(lua, &response),
        Reply::Took(took) => (took.as_secs_f64() * 1e3).into_lua(lua),
        Reply::Links(links) => list(lua, links, |lua, l| link(lua, &l)),
        Reply::Routes(routes) => list(lua, routes, |lua, r| route(lua, &r)),
        Reply::Addresses(addresses) => list(lua, addresses, |lua, (dev, cidr)| {
            record(
                lua,
                [
                    ("dev", dev.as_str().into_lua(lua)?),
                    ("cidr", cidr.to_string().into_lua(lua)?),
                ],
            )
        }),
    }
}

fn list<T>(
    lua: &Lua,
    items: Vec<T>,
    each: impl Fn(&Lua, T) -> mlua::Result<Value>,
) -> mlua::Result<Value> {
    let values = items
        .into_iter()
        .map(|item| each(lua, item))
        .collect::<mlua::Result<Vec<_>>>()?;
    lua.create_sequence_from(values).map(Value::Table)
}

fn record<const N: usize>(lua: &Lua, fields: [(&str, Value); N]) -> mlua::Result<Value> {
    lua.create_table_from(fields).map(Value::Table)
}

fn command(lua: &Lua, output: &CommandOutput) -> mlua::Result<Value> {
    let CommandOutput {
        status,
        stdout,
        stderr,
    } = output;
    record(
        lua,
        [
            ("status", status.into_lua(lua)?),
            ("stdout", Value::String(lua.create_string(stdout)?)),
            ("stderr", Value::String(lua.create_string(stderr)?)),
        ],
    )
}

/// A header that occurs more than once becomes one text, separated by commas (RFC 9110, section
/// 5.3).
fn http_response(lua: &Lua, response: &HttpResponse) -> mlua::Result<Value> {
    let HttpResponse {
        status,
        headers,
        body,
    } = response;
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        joined
            .entry(name)
            .and_modify(|all| *all = format!("{all}, {value}"))
            .or_insert_with(|| value.clone());
    }
    record(
        lua,
        [
            ("status", status.into_lua(lua)?),
            ("headers", Value::Table(lua.create_table_from(joined)?)),
            ("body", Value::String(lua.create_string(body)?)),
        ],
    )
}

fn link(lua: &Lua, link: &Link) -> mlua::Result<Value> {
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
    record(
        lua,
        [
            ("name", name.as_str().into_lua(lua)?),
            ("index", index.into_lua(lua)?),
            ("up", up.into_lua(lua)?),
            ("carrier", carrier.into_lua(lua)?),
            ("mac", mac.to_string().into_lua(lua)?),
            ("mtu", mtu.into_lua(lua)?),
        ],
    )
}

fn route(lua: &Lua, route: &Route) -> mlua::Result<Value> {
    let Route {
        dst,
        via,
        dev,
        src,
        metric,
        table,
    } = route;
    record(
        lua,
        [
            ("dst", dst.to_string().into_lua(lua)?),
            ("via", via.map(|ip| ip.to_string()).into_lua(lua)?),
            (
                "dev",
                dev.as_ref()
                    .map(carpd::types::IfName::as_str)
                    .into_lua(lua)?,
            ),
            ("src", src.map(|ip| ip.to_string()).into_lua(lua)?),
            ("metric", metric.into_lua(lua)?),
            ("table", table.into_lua(lua)?),
        ],
    )
}

/// The event that the entry point receives; the prelude makes it strict.
pub(super) fn event(lua: &Lua, event: &HookEvent) -> mlua::Result<(Table, Table)> {
    let addresses =
        lua.create_sequence_from(event.instance.addresses.iter().map(ToString::to_string))?;
    addresses.set_readonly(true);
    let instance = lua.create_table_with_capacity(0, 4)?;
    instance.raw_set("name", event.instance.name.as_str())?;
    instance.raw_set("interface", event.instance.interface.as_str())?;
    instance.raw_set("vhid", event.instance.vhid.get())?;
    instance.raw_set("addresses", addresses)?;
    let table = lua.create_table_with_capacity(0, 13)?;
    table.raw_set("entry", event.entry.as_str())?;
    table.raw_set("instance", &instance)?;
    table.raw_set("state", event.state.as_str())?;
    table.raw_set("previous", event.previous.as_str())?;
    table.raw_set("cause", event.cause.as_str())?;
    table.raw_set("cause_text", event.cause_text.as_str())?;
    table.raw_set("peer", event.peer.map(|ip| ip.to_string()))?;
    table.raw_set("seq", event.seq)?;
    table.raw_set("initial", event.initial)?;
    table.raw_set("missed", event.missed)?;
    table.raw_set("xparam", event.xparam.as_deref())?;
    table.raw_set("node", event.node.as_str())?;
    table.raw_set("time_left_ms", event.time_left_ms)?;
    Ok((table, instance))
}

/// JSON as Lua values, read-only at every level.
pub(super) fn frozen_json(lua: &Lua, json: &serde_json::Value) -> mlua::Result<Value> {
    build(lua, json, true)
}

pub(super) fn from_json(lua: &Lua, json: &serde_json::Value) -> mlua::Result<Value> {
    build(lua, json, false)
}

fn build(lua: &Lua, json: &serde_json::Value, frozen: bool) -> mlua::Result<Value> {
    use serde_json::Value as Json;
    let table = match json {
        Json::Null => return Ok(Value::Nil),
        Json::Bool(given) => return Ok(Value::Boolean(*given)),
        Json::Number(number) => return Ok(Value::Number(number.as_f64().unwrap_or(f64::NAN))),
        Json::String(text) => return text.as_str().into_lua(lua),
        Json::Array(list) => {
            let values = list
                .iter()
                .map(|item| build(lua, item, frozen))
                .collect::<mlua::Result<Vec<_>>>()?;
            lua.create_sequence_from(values)?
        }
        Json::Object(map) => {
            let table = lua.create_table_with_capacity(0, map.len())?;
            for (key, item) in map {
                table.raw_set(key.as_str(), build(lua, item, frozen)?)?;
            }
            table
        }
    };
    table.set_readonly(frozen);
    Ok(Value::Table(table))
}
