//! Reads `[hook.NAME.grant]` into the values that the gate compares with.

use std::collections::BTreeMap;

use super::choice::Choice;
use super::form::{TablesOf, Text};
use super::problem::Findings;
use super::read::{At, Table};
use super::reference::{Entry as _, Key, grant as key};
use crate::effect::{
    AddrGrant, CommandGrant, FileGrant, Grants, Hole, HttpGrant, HttpVerb, LinkGrant, RouteGrant,
    RouteTarget, RuleGrant, ServiceGrant, SysctlGrant,
};
use crate::types::Name;

/// What could not be read is reported and left out: a refused grant grants nothing.
pub(super) fn read(table: &Table<'_>, out: &mut Findings) -> Grants {
    Grants {
        addr: each(table, &key::ADDR, addr, out),
        route: each(table, &key::ROUTE, route, out),
        rule: each(table, &key::RULE, rule, out),
        link: each(table, &key::LINK, link, out),
        hostname: hostnames(table, out),
        service: each(table, &key::SERVICE, service, out),
        sysctl: each(table, &key::SYSCTL, sysctl, out),
        file: each(table, &key::FILE, file, out),
        command: commands(table, out),
        http: each(table, &key::HTTP, http, out),
        tcp: plain(table.read(&key::TCP, out)),
        read: table.get(&key::READ, out),
        carp: table.get(&key::CARP, out),
    }
}

fn each<T>(
    table: &Table<'_>,
    key: &'static Key<TablesOf>,
    read: fn(&Table<'_>, &mut Findings) -> Option<T>,
    out: &mut Findings,
) -> Vec<T> {
    let tables = table.read(key, out);
    let tables = tables.map(|tables| tables.value).unwrap_or_default();
    tables.iter().filter_map(|table| read(table, out)).collect()
}

/// A list without its places.
fn plain<T>(list: Option<At<Vec<At<T>>>>) -> Vec<T> {
    let items = list.map(|list| list.value).unwrap_or_default();
    items.into_iter().map(|item| item.value).collect()
}

/// What may be done; nothing if it could not be read, which was reported, or need not be written.
fn verbs<C: Choice>(given: Option<At<Vec<C>>>) -> Vec<C> {
    given.map(|verbs| verbs.value).unwrap_or_default()
}

// In each of these all keys are read before the first `?`, so that all of them are checked.

fn addr(table: &Table<'_>, out: &mut Findings) -> Option<AddrGrant> {
    let (cidr, dev) = (
        table.read(&key::addr::CIDR, out),
        table.read(&key::addr::DEV, out),
    );
    Some(AddrGrant {
        cidr: cidr?.value,
        dev: dev.map(|d| d.value),
    })
}

fn route(table: &Table<'_>, out: &mut Findings) -> Option<RouteGrant> {
    let (dst, via, dev) = (
        network(table, &key::route::DST, out),
        table.read(&key::route::VIA, out),
        table.read(&key::route::DEV, out),
    );
    let number = table.read(&key::route::TABLE, out);
    Some(RouteGrant {
        dst: dst?.value,
        via: via.map(|v| v.value),
        dev: dev.map(|d| d.value),
        table: number.map(|t| t.value),
    })
}

/// A network. Its host bits are ignored, and someone who writes some may have meant a single host.
fn network(
    table: &Table<'_>,
    key: &'static Key<Text>,
    out: &mut Findings,
) -> Option<At<RouteTarget>> {
    let text = table.read(key, out)?;
    let given = text
        .value
        .split('/')
        .next()
        .and_then(|ip| ip.parse::<std::net::IpAddr>().ok());
    let read = super::read::parse::<RouteTarget>(text.clone(), out)?;
    if let RouteTarget::Network { ip, .. } = read.value
        && given.is_some_and(|given| given != ip)
    {
        out.warn(
            text.span,
            format!(
                "`{} = {:?}` means the whole of {}",
                key.name, text.value, read.value
            ),
        )
        .hint(given.map(|given| {
            format!(
                "write {:?}, or {given} for this one host",
                read.value.to_string()
            )
        }));
    }
    Some(read)
}

fn rule(table: &Table<'_>, out: &mut Findings) -> Option<RuleGrant> {
    let (number, priority) = (
        table.read(&key::rule::TABLE, out),
        table.read(&key::rule::PRIORITY, out),
    );
    Some(RuleGrant {
        table: number?.value,
        priority: priority.map(|p| p.value),
    })
}

fn link(table: &Table<'_>, out: &mut Findings) -> Option<LinkGrant> {
    let (dev, verbs) = (
        table.read(&key::link::DEV, out),
        verbs(table.read(&key::link::DO, out)),
    );
    Some(LinkGrant {
        dev: dev?.value,
        verbs,
    })
}

fn service(table: &Table<'_>, out: &mut Findings) -> Option<ServiceGrant> {
    let (unit, verbs) = (
        table.read(&key::service::UNIT, out),
        verbs(table.read(&key::service::DO, out)),
    );
    let unit = unit?;
    refuse_unless(is_unit(unit.value), &unit, "the name of a service", out);
    Some(ServiceGrant {
        unit: unit.value.to_owned(),
        verbs,
    })
}

fn sysctl(table: &Table<'_>, out: &mut Findings) -> Option<SysctlGrant> {
    let (name, values) = (
        table.read(&key::sysctl::KEY, out),
        plain(table.read(&key::sysctl::VALUES, out)),
    );
    let name = name?;
    refuse_unless(
        is_sysctl(name.value),
        &name,
        "a kernel parameter, as in net.ipv4.ip_forward",
        out,
    );
    Some(SysctlGrant {
        key: name.value.to_owned(),
        values,
    })
}

fn file(table: &Table<'_>, out: &mut Findings) -> Option<FileGrant> {
    let (path, verbs) = (
        table.read(&key::file::PATH, out),
        verbs(table.read(&key::file::DO, out)),
    );
    let path = path?;
    refuse_unless(
        is_plain_path(path.value),
        &path,
        "an absolute path without \"..\", \".\" or doubled slashes",
        out,
    );
    Some(FileGrant {
        path: path.value.to_owned(),
        verbs,
    })
}

fn http(table: &Table<'_>, out: &mut Findings) -> Option<HttpGrant> {
    let (url, verbs) = (
        table.read(&key::http::URL, out),
        verbs(table.read(&key::http::DO, out)),
    );
    let query = table.get(&key::http::QUERY, out);
    let place = table.entries.get_key_value(key::http::QUERY.name());
    if let Some((key, _)) = place.filter(|_| query && !verbs.contains(&HttpVerb::Post)) {
        let text = "`query` means nothing without `post` in `do`";
        out.warn(key.span(), text).hint(
            "`health` may send a GET in any case, and no other method than these two".to_owned(),
        );
    }
    Some(HttpGrant {
        url: url?.value,
        verbs,
        query,
    })
}

fn hostnames(table: &Table<'_>, out: &mut Findings) -> Vec<String> {
    let names = table
        .read(&key::HOSTNAME, out)
        .map(|l| l.value)
        .unwrap_or_default();
    for name in &names {
        let text = At {
            value: name.value.as_str(),
            span: name.span.clone(),
        };
        refuse_unless(
            is_hostname(&name.value),
            &text,
            "a host name: 1 to 64 letters, digits, '-' and '.'",
            out,
        );
    }
    names.into_iter().map(|n| n.value).collect()
}

fn commands(table: &Table<'_>, out: &mut Findings) -> BTreeMap<String, CommandGrant> {
    let commands = table.read(&key::COMMAND, out);
    let mut grants = BTreeMap::new();
    for (name, table) in commands.map(|c| c.value).unwrap_or_default() {
        let called = name.value.to_owned();
        let _ = super::read::parse::<Name>(name, out);
        let grant = table.and_then(|table| {
            let query = table.get(&key::command::QUERY, out);
            let argv = argv(&table, out)?;
            Some(CommandGrant { argv, query })
        });
        grants.extend(grant.map(|grant| (called, grant)));
    }
    grants
}

fn argv(table: &Table<'_>, out: &mut Findings) -> Option<Vec<String>> {
    let line = table.read(&key::command::ARGV, out)?;
    match line.value.first() {
        None => {
            out.error(line.span, "`argv` is empty: it needs at least the program");
        }
        Some(program) => {
            let text = At {
                value: program.value.as_str(),
                span: program.span.clone(),
            };
            refuse_unless(
                is_plain_path(&program.value),
                &text,
                "the absolute path of a program",
                out,
            );
        }
    }
    for argument in line.value.iter().skip(1) {
        match Hole::parse(&argument.value) {
            Err(why) => {
                out.error(argument.span.clone(), why);
            }
            Ok(None)
                if argument.value.contains('{')
                    && argument.value.contains(':')
                    && argument.value.contains('}') =>
            {
                out.warn(
                    argument.span.clone(),
                    format!(
                        "{:?} is passed unchanged: a hole must be a whole argument",
                        argument.value
                    ),
                );
            }
            Ok(_) => {}
        }
    }
    Some(line.value.into_iter().map(|a| a.value).collect())
}

fn refuse_unless(right: bool, text: &At<&str>, what: &str, out: &mut Findings) {
    if !right {
        out.error(text.span.clone(), format!("{:?} is not {what}", text.value));
    }
}

pub(super) fn is_unit(unit: &str) -> bool {
    let chars = |b: u8| b.is_ascii_alphanumeric() || b":-_.@\\".contains(&b);
    (1..=255).contains(&unit.len()) && !unit.starts_with(['-', '.']) && unit.bytes().all(chars)
}

/// Slashes stand for the dots in a device's name, as sysctl(8) has it.
fn is_sysctl(key: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-/:@".contains(&b))
    };
    key.len() <= 255
        && key.contains('.')
        && !key.starts_with('/')
        && key.split('.').all(part)
        && !key.contains("//")
}

pub(super) fn is_plain_path(path: &str) -> bool {
    let parts = path.strip_prefix('/').map(|rest| rest.split('/'));
    !path.contains('\0')
        && parts.is_some_and(|mut parts| parts.all(|part| !matches!(part, "" | "." | "..")))
}

fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (1..=64).contains(&name.len()) && name.split('.').all(label)
}
