//! `virtual_routes` and `virtual_rules`: they become a hook, which carpd undoes by itself.

use std::collections::HashMap;

use super::lex::Statement;
use crate::import::Work;

/// The calls of `on_master`, and what they need to be granted.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) lua: Vec<String>,
    /// `addr`, `route`, `rule`: each a list of inline tables.
    pub(super) grants: Vec<(&'static str, String)>,
}

/// The numbers of the tables that every system has.
fn table_of(name: &str, tables: &HashMap<String, u32>) -> Option<u32> {
    match name {
        "main" => Some(254),
        "default" => Some(253),
        "local" => Some(255),
        _ => name.parse().ok().or_else(|| tables.get(name).copied()),
    }
}

/// The options of a call, as Lua and as a grant.
#[derive(Default)]
struct Options {
    lua: Vec<String>,
    grant: Vec<String>,
}

impl Options {
    fn text(&mut self, key: &str, value: &str, granted: bool) {
        let value = toml::Value::from(value).to_string();
        self.raw(key, &value, granted);
    }

    fn raw(&mut self, key: &str, value: &str, granted: bool) {
        self.lua.push(format!("{key} = {value}"));
        if granted {
            self.grant.push(format!("{key} = {value}"));
        }
    }
}

pub(super) fn routes(
    statement: &Statement,
    tables: &HashMap<String, u32>,
    calls: &mut Calls,
    work: &mut Work<'_>,
) {
    work.account
        .translated(statement.id, "`route.replace` in the hook");
    for inner in &statement.block {
        match route(inner, tables) {
            Ok((lua, grant, differs)) => {
                calls.lua.push(lua);
                calls.grants.push(("route", grant));
                match differs {
                    None => work
                        .account
                        .translated(inner.id, "`route.replace` in the hook"),
                    Some(how) => work.account.different(inner.id, how),
                }
            }
            Err(why) => work.account.untranslated(inner.id, why),
        }
    }
}

fn route(
    inner: &Statement,
    tables: &HashMap<String, u32>,
) -> Result<(String, String, Option<String>), String> {
    let (mut options, mut dst, mut differs) = (Options::default(), None, None);
    let mut words = inner.words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` has no value"));
        match word {
            "to" | "unicast" | "no_track" => {}
            "src" => {
                let src = value()?;
                let good = src.parse::<std::net::IpAddr>();
                good.map_err(|_| format!("{} is no address", crate::types::shown(src)))?;
                options.text("src", src, false);
            }
            "via" | "gw" => {
                let gateway = value()?;
                let gateway = if gateway == "inet6" || gateway == "inet" {
                    value()?
                } else {
                    gateway
                };
                options.text("via", gateway, true);
            }
            "dev" | "oif" => options.text("dev", value()?, true),
            "metric" | "priority" | "preference" => {
                let text = value()?;
                let metric: u32 = text.parse().map_err(|_| format!("{text} is no metric"))?;
                options.raw("metric", &metric.to_string(), false);
            }
            "table" => {
                let name = value()?;
                let table = table_of(name, tables).ok_or_else(|| {
                    format!("the table {name} has no number here: write that into the hook")
                })?;
                options.raw("table", &table.to_string(), true);
            }
            "scope" | "proto" | "protocol" => {
                value()?;
                differs = Some(format!(
                    "`route.replace` in the hook; its {word} is what the kernel makes of it"
                ));
            }
            "track_group" => {
                value()?;
            }
            "blackhole" | "unreachable" | "prohibit" | "throw" | "local" | "broadcast"
            | "multicast" | "nexthop" | "onlink" => {
                return Err(format!(
                    "hooks have no `{word}` routes: a command can set it (`command.run`)"
                ));
            }
            _ if dst.is_none()
                && (word == "default"
                    || word.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':')) =>
            {
                dst = Some(word);
            }
            other => {
                return Err(format!(
                    "`{}` has no counterpart",
                    crate::types::shown(other)
                ));
            }
        }
    }
    let dst = match dst.ok_or("it has no destination")? {
        "0.0.0.0/0" | "default" | "::/0" => "default",
        dst => dst,
    };
    let name = toml::Value::from(dst).to_string();
    let mut grant = vec![format!("dst = {name}")];
    grant.append(&mut options.grant);
    let lua = if options.lua.is_empty() {
        format!("route.replace({name})")
    } else {
        format!("route.replace({name}, {{ {} }})", options.lua.join(", "))
    };
    let grant = format!("{{ {} }}", grant.join(", "));
    is_grant("route", &grant)?;
    Ok((lua, grant, differs))
}

pub(super) fn rules(
    statement: &Statement,
    tables: &HashMap<String, u32>,
    calls: &mut Calls,
    work: &mut Work<'_>,
) {
    work.account
        .translated(statement.id, "`rule.replace` in the hook");
    for inner in &statement.block {
        match rule(inner, tables) {
            Ok((lua, grant)) => {
                calls.lua.push(lua);
                calls.grants.push(("rule", grant));
                work.account
                    .translated(inner.id, "`rule.replace` in the hook");
            }
            Err(why) => work.account.untranslated(inner.id, why),
        }
    }
}

fn rule(inner: &Statement, tables: &HashMap<String, u32>) -> Result<(String, String), String> {
    let mut options = Options::default();
    let (mut table, mut priority) = (false, false);
    let mut words = inner.words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` has no value"));
        match word {
            "from" | "to" => {
                let net = value()?;
                if net.parse::<crate::types::VirtualAddress>().is_err()
                    && net != "all"
                    && !net.ends_with("/0")
                {
                    return Err(format!("{} is no network", crate::types::shown(net)));
                }
                if net != "all" {
                    options.text(word, net, false);
                }
            }
            "iif" | "dev" => options.text("iif", value()?, false),
            "fwmark" => {
                let text = value()?;
                let mark = match text.strip_prefix("0x") {
                    Some(digits) => u32::from_str_radix(digits, 16).ok(),
                    None => text.parse().ok(),
                };
                let mark = mark.ok_or_else(|| format!("{text} is no mark without a mask"))?;
                options.raw("fwmark", &mark.to_string(), false);
            }
            "table" | "lookup" => {
                let name = value()?;
                let number = table_of(name, tables).ok_or_else(|| {
                    format!("the table {name} has no number here: write that into the hook")
                })?;
                options.raw("table", &number.to_string(), true);
                table = true;
            }
            "pref" => {
                return Err(
                    "keepalived knows no `pref`, and leaves the rule out: it is `preference`"
                        .to_owned(),
                );
            }
            "priority" | "preference" | "order" => {
                let text = value()?;
                let number: u32 = text.parse().map_err(|_| format!("{text} is no priority"))?;
                options.raw("priority", &number.to_string(), true);
                priority = true;
            }
            "no_track" => {}
            other => {
                return Err(format!(
                    "hooks have no `{}` of rules: a command can set it (`command.run`)",
                    crate::types::shown(other)
                ));
            }
        }
    }
    if !table {
        return Err("it looks up no table".to_owned());
    }
    if !priority {
        return Err("it has no preference, so that keepalived chooses one, 16384 or less: choose one, and write it into the hook".to_owned());
    }
    Ok((
        format!("rule.replace({{ {} }})", options.lua.join(", ")),
        format!("{{ {} }}", options.grant.join(", ")),
    ))
}

/// Is it a grant that the configuration takes?
pub(super) fn is_grant(kind: &str, grant: &str) -> Result<(), String> {
    let text = format!("{kind} = [{grant}]\n");
    match crate::config::parse_grants("carpd.toml", &text) {
        Ok(_) => Ok(()),
        Err(report) => {
            let first = report.problems.first();
            Err(first.map_or_else(String::new, |problem| problem.message.clone()))
        }
    }
}

/// The hook of an instance, and its tables.
pub(super) fn hook(name: &str, instance: &str, calls: &Calls) -> (String, String) {
    let body: String = calls.lua.iter().map(|line| format!("  {line}\n")).collect();
    let lua = format!(
        "-- {name}: made from the routes, rules and further addresses of {} in keepalived.conf.\n\
         -- What it does is undone when mastership ends.\n\nfunction on_master()\n{body}end\n",
        crate::types::shown(instance)
    );
    let mut toml = format!("[hook.{name}]\nsource = \"hooks/{name}.lua\"\n\n[hook.{name}.grant]\n");
    for kind in ["addr", "route", "rule"] {
        let mut grants: Vec<&str> = Vec::new();
        for (of, grant) in &calls.grants {
            if *of == kind && !grants.contains(&grant.as_str()) {
                grants.push(grant);
            }
        }
        if !grants.is_empty() {
            toml.push_str(&format!("{kind} = [{}]\n", grants.join(", ")));
        }
    }
    (lua, toml)
}
