//! `test.host{...}`: what a test file specifies about a host, and the host in memory that is made
//! from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};

use crate::effect::{
    CommandOutput, Grants, HttpResponse, Link, Nature, Resource, Route, RouteTarget, Value,
};
use crate::host::HostError;
use crate::host::sim::{Happens, SimHost, Trouble};
use crate::types::{IfName, MacAddr, Name, Vhid, VirtualAddress, shown_within};

/// The options of `test.host`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Spec {
    #[serde(flatten)]
    first: VhostSpec,
    #[serde(default)]
    vhosts: Vec<VhostSpec>,
    pub(super) config: Option<Json>,
    pub(super) grants: Option<Json>,
    /// The daemon runs health checks by itself, as in production.
    #[serde(default)]
    pub(super) health: bool,
    #[serde(flatten)]
    pub(super) world: World,
}

/// One of its virtual hosts.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct VhostSpec {
    #[serde(default = "interface", deserialize_with = "parsed")]
    pub(super) interface: IfName,
    #[serde(default = "addresses", deserialize_with = "parsed_list")]
    pub(super) addresses: Vec<VirtualAddress>,
    #[serde(default = "name", deserialize_with = "parsed")]
    pub(super) name: Name,
    #[serde(default = "vhid", deserialize_with = "vhid_of")]
    pub(super) vhid: Vhid,
    pub(super) xparam: Option<String>,
    /// In order; only the one under test if not given.
    #[serde(default, deserialize_with = "names")]
    pub(super) hooks: Option<Vec<Name>>,
}

/// What can be specified for every virtual host.
const OF_VHOST: [&str; 6] = ["interface", "addresses", "name", "vhid", "xparam", "hooks"];

/// The state of the host.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct World {
    pub(super) hostname: Option<String>,
    #[serde(default)]
    pub(super) strict: bool,
    pub(super) links: Option<BTreeMap<String, LinkSpec>>,
    #[serde(default, deserialize_with = "list")]
    pub(super) routes: Vec<String>,
    pub(super) units: Option<BTreeMap<String, UnitSpec>>,
    #[serde(default)]
    pub(super) files: BTreeMap<String, Json>,
    #[serde(default)]
    pub(super) sysctls: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) commands: BTreeMap<String, CommandSpec>,
    #[serde(default)]
    pub(super) http: BTreeMap<String, AnswerSpec>,
    #[serde(default, deserialize_with = "list")]
    pub(super) listening: Vec<String>,
}

/// What another host answers over HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerSpec {
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

const fn ok() -> u16 {
    200
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkSpec {
    up: Option<bool>,
    carrier: Option<bool>,
    mac: Option<String>,
    mtu: Option<u32>,
    #[serde(default, deserialize_with = "list")]
    addresses: Vec<String>,
}

/// A service: a word or a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum UnitSpec {
    Word(String),
    Table(UnitTable),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitTable {
    state: Option<String>,
    start: Option<String>,
    stop: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandSpec {
    #[serde(default)]
    status: i32,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
}

fn interface() -> IfName {
    "eth0".parse().expect("it is a name of an interface")
}

fn addresses() -> Vec<VirtualAddress> {
    vec!["192.0.2.22/24".parse().expect("it is an address")]
}

fn name() -> Name {
    "test".parse().expect("it is a name")
}

fn vhid() -> Vhid {
    Vhid::new(1).expect("1 is in the range")
}

fn parsed<'d, D: Deserializer<'d>, T>(deserializer: D) -> Result<T, D::Error>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}

fn vhid_of<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Vhid, D::Error> {
    Vhid::new(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// A list; in Lua, the empty list and the empty table are the same.
fn list<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match Json::deserialize(deserializer)? {
        Json::Object(map) if map.is_empty() => Ok(Vec::new()),
        other => serde_json::from_value(other).map_err(serde::de::Error::custom),
    }
}

fn parsed_list<'d, D: Deserializer<'d>, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    list(deserializer)?
        .iter()
        .map(|text| text.parse().map_err(serde::de::Error::custom))
        .collect()
}

fn names<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<Vec<Name>>, D::Error> {
    parsed_list(deserializer).map(Some)
}

/// A time as written in a test: `"30s"`, `"500ms"`, or a number of seconds.
pub(super) fn time(json: &Json) -> Result<Duration, String> {
    let longest = Duration::from_hours(24 * 366);
    let time = match json {
        Json::Number(number) => number
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or("a time is not negative")?,
        Json::String(text) => {
            crate::config::parse_duration(text).map_err(|why| format!("{text:?}: {why}"))?
        }
        _ => return Err("a time is text such as \"30s\", or a number of seconds".to_owned()),
    };
    if time > longest {
        Err("longer than a year".to_owned())
    } else {
        Ok(time)
    }
}

/// A route written as for `ip route`.
pub(super) fn route(text: &str) -> Result<Route, String> {
    let wrong = |what: &str| format!("route {text:?}: {what}");
    let mut words = text.split_whitespace();
    let dst: RouteTarget = words
        .next()
        .ok_or_else(|| wrong("it is empty"))?
        .parse()
        .map_err(|e| wrong(&format!("{e}")))?;
    let mut route = Route {
        dst,
        via: None,
        dev: None,
        src: None,
        metric: None,
        table: None,
    };
    while let Some(key) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| wrong(&format!("{key} needs a value")))?;
        let bad = || wrong(&format!("{value:?} cannot stand after {key}"));
        match key {
            "via" => route.via = Some(value.parse().map_err(|_| bad())?),
            "src" => route.src = Some(value.parse().map_err(|_| bad())?),
            "dev" => route.dev = Some(value.parse().map_err(|_| bad())?),
            "metric" => route.metric = Some(value.parse().map_err(|_| bad())?),
            "table" => route.table = Some(value.parse().map_err(|_| bad())?),
            other => {
                return Err(wrong(&format!(
                    "{other:?} is none of via, dev, src, metric, table"
                )));
            }
        }
    }
    Ok(route)
}

impl Spec {
    /// Reads what a test file passed.
    pub(super) fn read(json: &Json) -> Result<Self, String> {
        const KNOWN: [&str; 14] = [
            "vhosts",
            "config",
            "grants",
            "health",
            "hostname",
            "strict",
            "links",
            "routes",
            "units",
            "files",
            "sysctls",
            "commands",
            "http",
            "listening",
        ];
        known(json, &[&OF_VHOST[..], &KNOWN].concat())?;
        let mut json = json.clone();
        if let Some(vhosts) = json.get_mut("vhosts") {
            *vhosts = Json::Array(further(vhosts)?);
        }
        serde_json::from_value(json).map_err(|err| err.to_string())
    }

    /// The virtual hosts, in their order.
    pub(super) fn vhosts(&self) -> impl Iterator<Item = &VhostSpec> {
        std::iter::once(&self.first).chain(&self.vhosts)
    }

    /// The grants that the test gives instead of the operator's.
    pub(super) fn own_grants(&self) -> Result<Option<Grants>, String> {
        let Some(json) = &self.grants else {
            return Ok(None);
        };
        // An empty table in Lua may be meant as an empty list.
        let mut json = json.clone();
        if let Json::Object(map) = &mut json {
            let empty = |value: &Json| matches!(value, Json::Object(inner) if inner.is_empty());
            map.retain(|key, value| key == "command" || !empty(value));
            let entries = map.values_mut().filter_map(Json::as_array_mut).flatten();
            for value in entries
                .filter_map(Json::as_object_mut)
                .flat_map(|entry| entry.values_mut())
            {
                if empty(value) {
                    *value = Json::Array(Vec::new());
                }
            }
        }
        serde_json::from_value(json)
            .map(Some)
            .map_err(|err| format!("grants: {err}"))
    }

    /// The host in memory.
    pub(super) fn host(&self) -> Result<SimHost, String> {
        let mut host = SimHost::new();
        let World {
            links,
            units,
            strict,
            ..
        } = &self.world;
        let named = |dev: &str| links.iter().flatten().any(|(link, _)| link == dev);
        let mut interfaces: BTreeSet<&IfName> =
            self.vhosts().map(|vhost| &vhost.interface).collect();
        interfaces.retain(|dev| !named(dev.as_str()));
        let mut index = 1;
        for dev in interfaces {
            // A virtual host's interface always exists.
            host = host.with_link(link(dev, index));
            index += 1;
        }
        for (index, (dev, spec)) in (index.max(2)..).zip(links.iter().flatten()) {
            host = spec.put(host, &parse(dev)?, index)?;
        }
        for (name, spec) in &self.world.commands {
            let CommandSpec {
                status,
                stdout,
                stderr,
            } = spec.clone();
            let output = CommandOutput {
                status,
                stdout: stdout.into_bytes(),
                stderr: stderr.into_bytes(),
            };
            host = host.with_command(name, output);
        }
        for (url, spec) in &self.world.http {
            let AnswerSpec {
                status,
                headers,
                body,
            } = spec.clone();
            let answer = HttpResponse {
                status,
                headers: headers.into_iter().collect(),
                body: body.into_bytes(),
            };
            host = host.with_answer(url, answer);
        }
        let listening = self
            .world
            .listening
            .iter()
            .map(|text| parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        host.listen(&listening);
        if *strict {
            host.name_all_links();
            host.name_all_units(units.iter().flatten().map(|(unit, _)| unit.as_str()));
        }
        host.set(Resource::Hostname, Value::Text("node".to_owned()));
        self.world.change(&host)?;
        Ok(host)
    }
}

/// The virtual hosts other than the first. Whatever is not specified gets a value that the others
/// do not have.
fn further(given: &Json) -> Result<Vec<Json>, String> {
    let mut all = match given {
        Json::Array(list) => list.clone(),
        // In Lua, the empty list and the empty table are the same.
        Json::Object(map) if map.is_empty() => Vec::new(),
        _ => return Err("vhosts must be a list of tables".to_owned()),
    };
    for (number, vhost) in (2..).zip(&mut all) {
        known(vhost, &OF_VHOST).map_err(|why| format!("vhosts: {why}"))?;
        let Json::Object(vhost) = vhost else { continue };
        if !vhost.contains_key("name") {
            return Err("vhosts: each needs a name".to_owned());
        }
        let address = format!("192.0.2.{}/24", 21 + number);
        for (key, usual) in [("vhid", json!(number)), ("addresses", json!([address]))] {
            vhost.entry(key).or_insert(usual);
        }
    }
    Ok(all)
}

impl World {
    /// Reads the argument of `h:change`.
    pub(super) fn read(json: &Json) -> Result<Self, String> {
        known(json, &["hostname", "routes", "units", "files", "sysctls"])?;
        serde_json::from_value(json.clone()).map_err(|err| err.to_string())
    }

    /// Changes the host accordingly. Returns what was changed.
    pub(super) fn change(&self, host: &SimHost) -> Result<Vec<Resource>, String> {
        let mut changed: Vec<(Resource, Value)> = Vec::new();
        if let Some(name) = &self.hostname {
            changed.push((Resource::Hostname, Value::Text(name.clone())));
        }
        for text in &self.routes {
            let route = route(text)?;
            changed.push((Resource::route(&route), Value::Route(route)));
        }
        for (path, content) in &self.files {
            let value = match content {
                Json::String(text) => Value::File(text.clone().into_bytes()),
                Json::Bool(false) => Value::Absent,
                _ => return Err(format!("files: {path}: text, or false for none")),
            };
            changed.push((Resource::File { path: path.clone() }, value));
        }
        for (key, value) in &self.sysctls {
            changed.push((
                Resource::Sysctl { key: key.clone() },
                Value::Text(value.clone()),
            ));
        }
        for (unit, spec) in self.units.iter().flatten() {
            changed.extend(spec.put(unit, host)?.map(|running| {
                let unit = unit.strip_suffix(".service").unwrap_or(unit).to_owned();
                (Resource::Service { unit }, Value::Running(running))
            }));
        }
        for (resource, value) in &changed {
            host.set(resource.clone(), value.clone());
        }
        Ok(changed.into_iter().map(|(resource, _)| resource).collect())
    }
}

impl LinkSpec {
    fn put(&self, host: SimHost, dev: &IfName, index: u32) -> Result<SimHost, String> {
        let usual = link(dev, index);
        let mac = self
            .mac
            .as_deref()
            .map_or(Ok(usual.mac), parse::<MacAddr>)?;
        let (up, mtu) = (self.up.unwrap_or(true), self.mtu.unwrap_or(usual.mtu));
        let host = host.with_link(Link {
            up,
            carrier: self.carrier.unwrap_or(true),
            mac,
            mtu,
            ..usual
        });
        for text in &self.addresses {
            let address: VirtualAddress = parse(text)?;
            host.set(
                Resource::Address {
                    dev: dev.clone(),
                    ip: address.ip,
                },
                Value::Address(address),
            );
        }
        Ok(host)
    }
}

impl UnitSpec {
    /// Sets up what starting and stopping do; returns whether the unit runs, if it exists.
    fn put(&self, unit: &str, host: &SimHost) -> Result<Option<bool>, String> {
        let word = |text: &str| Some(text.to_owned());
        let table = match self {
            Self::Table(table) => table.clone(),
            Self::Word(state) => match state.as_str() {
                "missing" => {
                    host.lacks_unit(unit);
                    return Ok(None);
                }
                "active" | "inactive" => UnitTable {
                    state: word(state),
                    ..UnitTable::default()
                },
                "fails" | "hangs" => UnitTable {
                    start: word(state),
                    ..UnitTable::default()
                },
                other => {
                    return Err(format!(
                        "units: {unit}: {other:?} is none of active, inactive, fails, hangs, missing"
                    ));
                }
            },
        };
        for (verb, does) in [("start", &table.start), ("stop", &table.stop)] {
            let Some(does) = does else { continue };
            let happens = match does.as_str() {
                "fails" => {
                    Happens::Fails(HostError::new(format!("{unit}.service failed to {verb}")))
                }
                "hangs" => Happens::Hangs,
                other => Happens::Takes(
                    time(&Json::from(other))
                        .map_err(|why| format!("units: {unit}: {verb}: {why}"))?,
                ),
            };
            host.trouble(Trouble {
                effect: format!("service.{verb} {unit}"),
                happens,
                after: 0,
                times: u32::MAX,
            });
        }
        match table.state.as_deref() {
            None | Some("inactive") => Ok(Some(false)),
            Some("active") => Ok(Some(true)),
            Some(other) => Err(format!(
                "units: {unit}: state {other:?} is neither active nor inactive"
            )),
        }
    }
}

fn link(name: &IfName, index: u32) -> Link {
    let mac = MacAddr([2, 0, 0, 0, 0, u8::try_from(index).unwrap_or(u8::MAX)]);
    Link {
        name: name.clone(),
        altnames: Vec::new(),
        index,
        up: true,
        carrier: true,
        mac,
        mtu: 1500,
        nature: Nature::default(),
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|err| format!("{text:?}: {err}"))
}

/// Refuses unknown keys, and suggests the one that was meant.
pub(super) fn known(json: &Json, keys: &[&str]) -> Result<(), String> {
    let Json::Object(map) = json else {
        return if json.as_array().is_some_and(Vec::is_empty) {
            Ok(())
        } else {
            Err("the options must be a table".to_owned())
        };
    };
    let Some(key) = map.keys().find(|key| !keys.contains(&key.as_str())) else {
        return Ok(());
    };
    let hint = crate::hooks::contract::api::nearest(key, keys.iter().copied())
        .map(|near| format!("; did you mean {near}?"));
    let shown = shown_within(key, 64);
    Err(format!(
        "there is no option {shown}{}",
        hint.unwrap_or_else(|| format!("; there are {}", keys.join(", ")))
    ))
}
