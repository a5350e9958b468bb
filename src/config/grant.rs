//! Reads `[hook.NAME.grant]` into the values that the gate compares with.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::problem::Findings;
use super::read::{At, Table};
use super::reference;
use crate::effect::{
    AddrGrant, CommandGrant, Endpoint, FileGrant, Grants, Hole, HttpGrant, LinkGrant, RouteGrant,
    RouteTarget, RuleGrant, ServiceGrant, SysctlGrant, Url,
};
use crate::types::Name;

/// What could not be read is reported and left out: a refused grant grants nothing.
pub(super) fn read(table: &Table<'_>, out: &mut Findings) -> Grants {
    Grants {
        addr: each(&table.tables("addr", &reference::ADDR, out), addr, out),
        route: each(&table.tables("route", &reference::ROUTE, out), route, out),
        rule: each(&table.tables("rule", &reference::RULE, out), rule, out),
        link: each(&table.tables("link", &reference::LINK, out), link, out),
        hostname: hostnames(table, out),
        service: each(
            &table.tables("service", &reference::SERVICE, out),
            service,
            out,
        ),
        sysctl: each(
            &table.tables("sysctl", &reference::SYSCTL, out),
            sysctl,
            out,
        ),
        file: each(&table.tables("file", &reference::FILE, out), file, out),
        command: commands(table, out),
        http: each(&table.tables("http", &reference::HTTP, out), http, out),
        tcp: endpoints(table, out),
        read: Table::or(table.boolean("read", out), false),
        carp: table.choices("carp", out),
    }
}

fn each<T>(
    tables: &[Table<'_>],
    read: fn(&Table<'_>, &mut Findings) -> Option<T>,
    out: &mut Findings,
) -> Vec<T> {
    tables.iter().filter_map(|table| read(table, out)).collect()
}

// In each of these all keys are read before the first `?`, so that all of them are checked.

fn addr(table: &Table<'_>, out: &mut Findings) -> Option<AddrGrant> {
    let (cidr, dev) = (table.parsed("cidr", out), table.parsed("dev", out));
    Some(AddrGrant {
        cidr: cidr?.value,
        dev: dev.map(|d| d.value),
    })
}

fn route(table: &Table<'_>, out: &mut Findings) -> Option<RouteGrant> {
    let (dst, via, dev) = (
        network(table, "dst", out),
        via(table, out),
        table.parsed("dev", out),
    );
    let number = table.integer("table", 1..=u32::MAX, out);
    Some(RouteGrant {
        dst: dst?.value,
        via,
        dev: dev.map(|d| d.value),
        table: number.map(|t| t.value),
    })
}

/// A network. Its host bits count for nothing, and whoever writes some may have meant one host.
fn network(table: &Table<'_>, name: &'static str, out: &mut Findings) -> Option<At<RouteTarget>> {
    let text = table.string(name, out)?;
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
                "`{name} = {:?}` means the whole of {}",
                text.value, read.value
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

fn via(table: &Table<'_>, out: &mut Findings) -> Option<std::net::IpAddr> {
    let text = table.string("via", out)?;
    let parsed = text.value.parse().ok();
    if parsed.is_none() {
        out.error(
            text.span,
            format!(
                "`via` must be an IPv4 or IPv6 address, not {:?}",
                text.value
            ),
        );
    }
    parsed
}

fn rule(table: &Table<'_>, out: &mut Findings) -> Option<RuleGrant> {
    let (number, priority) = (
        table.integer("table", 1..=u32::MAX, out),
        table.integer("priority", 0..=u32::MAX, out),
    );
    Some(RuleGrant {
        table: number?.value,
        priority: priority.map(|p| p.value),
    })
}

fn link(table: &Table<'_>, out: &mut Findings) -> Option<LinkGrant> {
    let (dev, verbs) = (table.parsed("dev", out), table.choices("do", out));
    Some(LinkGrant {
        dev: dev?.value,
        verbs,
    })
}

fn service(table: &Table<'_>, out: &mut Findings) -> Option<ServiceGrant> {
    let (unit, verbs) = (table.string("unit", out), table.choices("do", out));
    let unit = unit?;
    refuse_unless(is_unit(unit.value), &unit, "the name of a service", out);
    Some(ServiceGrant {
        unit: unit.value.to_owned(),
        verbs,
    })
}

fn sysctl(table: &Table<'_>, out: &mut Findings) -> Option<SysctlGrant> {
    let (key, values) = (
        table.string("key", out),
        table.parsed_list::<String>("values", out),
    );
    let key = key?;
    refuse_unless(
        is_sysctl(key.value),
        &key,
        "a kernel parameter, as in net.ipv4.ip_forward",
        out,
    );
    let values = values
        .map(|l| l.value.into_iter().map(|v| v.value).collect())
        .unwrap_or_default();
    Some(SysctlGrant {
        key: key.value.to_owned(),
        values,
    })
}

fn file(table: &Table<'_>, out: &mut Findings) -> Option<FileGrant> {
    let (path, verbs) = (table.string("path", out), table.choices("do", out));
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
    let (url, verbs) = (table.parsed::<Url>("url", out), table.choices("do", out));
    Some(HttpGrant {
        url: url?.value,
        verbs,
    })
}

fn endpoints(table: &Table<'_>, out: &mut Findings) -> Vec<Endpoint> {
    let list = table
        .parsed_list::<Endpoint>("tcp", out)
        .map(|l| l.value)
        .unwrap_or_default();
    list.into_iter().map(|endpoint| endpoint.value).collect()
}

fn hostnames(table: &Table<'_>, out: &mut Findings) -> Vec<String> {
    let names = table
        .parsed_list::<String>("hostname", out)
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
    let Some(item) = table.item("command", out) else {
        return BTreeMap::new();
    };
    let DeValue::Table(commands) = item.get_ref() else {
        out.error(item.span(), "`command` must hold a table for each command")
            .hint("write command.NAME = { argv = [...] }".to_owned());
        return BTreeMap::new();
    };
    let mut grants = BTreeMap::new();
    for (key, item) in commands {
        let _ = super::read::parse::<Name>(
            At {
                value: key.get_ref().as_ref(),
                span: key.span(),
            },
            out,
        );
        let grant = Table::open(item, &reference::COMMAND, out).and_then(|table| argv(&table, out));
        grants.extend(grant.map(|argv| (key.get_ref().to_string(), CommandGrant { argv })));
    }
    grants
}

fn argv(table: &Table<'_>, out: &mut Findings) -> Option<Vec<String>> {
    let line = table.parsed_list::<String>("argv", out)?;
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
                        "{:?} is passed as it is: a hole must be a whole argument",
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

fn is_unit(unit: &str) -> bool {
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

fn is_plain_path(path: &str) -> bool {
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
