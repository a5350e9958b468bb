//! `ip`, in all its abbreviations and orders. What the API has no function for runs as a granted
//! command line.

use super::{Arg, Done, Untranslated, netmask, program};
use crate::effect::RouteTarget;
use crate::port::ir::{Action, Cond, Expr, RouteVerb};
use crate::port::lower::Lower;
use crate::types::{IfName, VirtualAddress};

/// Objects and verbs as ip(8) abbreviates them: any beginning, the first in this order that has it.
const OBJECTS: &[&str] = &[
    "address",
    "addrlabel",
    "route",
    "rule",
    "neighbor",
    "neighbour",
    "link",
];

pub(super) fn translate(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    let (options, rest) = super::options(args);
    let plain = options.iter().all(|o| matches!(*o, "-4" | "-6"));
    let six = options.contains(&"-6");
    let (object, rest) = rest.split_first().ok_or("ip without an object")?;
    let object = if object.word() == "addr" {
        Some("address")
    } else {
        abbreviated(object.word(), OBJECTS)
    };
    let counted = netmask::as_lengths(lower, rest);
    let done = match object.filter(|_| plain) {
        Some("address") => address(lower, &counted)?,
        Some("route") => route(lower, &counted, six),
        Some("rule") => rule(lower, &counted, six),
        Some("link") => link(lower, rest),
        _ => None,
    };
    match done {
        // What is there already, or is not there, is a failure for ip.
        Some(mut actions) if actions.len() == 1 => match actions.remove(0) {
            action if tells_change(lower, &action) => Ok(Done::Asks(Cond::Changed(action))),
            action => Ok(Done::Actions(vec![action])),
        },
        Some(actions) => Ok(Done::Actions(actions)),
        None => Ok(Done::Actions(vec![Action::Run(program(
            lower, name, args,
        )?)])),
    }
}

/// Does it fail if there is nothing to change? The virtual host's own address is carpd's work.
fn tells_change(lower: &Lower<'_>, action: &Action) -> bool {
    match action {
        Action::Addr { cidr, dev, .. } => {
            let own = dev.as_ref().is_none_or(|dev| lower.is_own_device(dev));
            !(own && lower.may_be_own_address(cidr))
        }
        Action::Route { verb, .. } => *verb == RouteVerb::Delete,
        Action::Rule { .. } => true,
        _ => false,
    }
}

/// Is this a destination as it stands, without bits that the kernel would not take?
pub(super) fn is_target(text: &str) -> bool {
    text.parse::<RouteTarget>().is_ok_and(|target| {
        let printed = target.to_string();
        let host = |text: &str| {
            text.trim_end_matches("/32")
                .trim_end_matches("/128")
                .to_owned()
        };
        text == "default" || text == "0.0.0.0/0" || text == "::/0" || host(&printed) == host(text)
    })
}

fn abbreviated<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    words
        .iter()
        .copied()
        .find(|full| !word.is_empty() && full.starts_with(word))
}

/// Keyword and value pairs; `None` if there is a keyword that is not in the list.
struct Pairs<'a> {
    found: Vec<(&'static str, &'a Arg)>,
    free: Vec<&'a Arg>,
}

impl<'a> Pairs<'a> {
    fn read(args: &'a [Arg], keywords: &[&'static str]) -> Option<Self> {
        let mut pairs = Self {
            found: Vec::new(),
            free: Vec::new(),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let keyword = keywords.iter().find(|k| **k == arg.word());
            match keyword {
                Some(keyword) => pairs.found.push((keyword, args.next()?)),
                None => pairs.free.push(arg),
            }
        }
        Some(pairs)
    }

    fn value(&self, keyword: &str) -> Option<Expr> {
        self.arg(keyword).map(|arg| arg.value.clone())
    }

    fn arg(&self, keyword: &str) -> Option<&'a Arg> {
        self.found
            .iter()
            .find(|(k, _)| *k == keyword)
            .map(|(_, arg)| *arg)
    }
}

const ADDRESS_WORDS: &[&str] = &[
    "dev",
    "label",
    "brd",
    "broadcast",
    "scope",
    "local",
    "valid_lft",
    "preferred_lft",
    "metric",
];

/// `ip addr flush label NAME`: what the scripts gave that name. Addresses of carpd have none, so no
/// program would find them by it.
fn by_label(lower: &mut Lower<'_>, args: &[Arg]) -> Result<Option<Vec<Action>>, Untranslated> {
    let at = args.iter().position(|arg| arg.word() == "label");
    let Some(label) = at.and_then(|at| args.get(at + 1)) else {
        return Ok(None);
    };
    let flushes = args.first().is_some_and(|verb| {
        abbreviated(verb.word(), &["show", "list", "lst", "flush"]) == Some("flush")
    });
    let target = lower
        .fixed(&label.value)
        .map_or_else(|| label.value.clone(), Expr::Text);
    let known = lower.label(&target).filter(|_| flushes);
    let cidr = known.ok_or("addresses of carpd have no label to be found by")?;
    let (dev, _) = super::address::split_label(lower, &target)?;
    Ok(Some(vec![Action::Addr {
        add: false,
        cidr,
        dev: Some(dev),
    }]))
}

fn address(lower: &mut Lower<'_>, args: &[Arg]) -> Result<Option<Vec<Action>>, Untranslated> {
    let Some((verb, rest)) = args.split_first() else {
        return Ok(None);
    };
    let add = match abbreviated(
        verb.word(),
        &[
            "add", "change", "replace", "delete", "show", "list", "lst", "flush",
        ],
    ) {
        Some("add" | "replace") => true,
        Some("delete") => false,
        _ => return by_label(lower, args),
    };
    let Some(pairs) = Pairs::read(rest, ADDRESS_WORDS) else {
        return Ok(None);
    };
    let mut free = pairs.free.iter().filter(|arg| arg.word() != "nodad");
    let cidr = pairs
        .value("local")
        .or_else(|| free.next().map(|arg| arg.value.clone()));
    let (Some(cidr), None) = (cidr, free.next()) else {
        return Ok(None);
    };
    let Some(dev) = pairs.value("dev") else {
        return Err("ip needs the device of an address".into());
    };
    if let Some(all) = lower.values(&cidr)
        && !all
            .iter()
            .all(|text| text.parse::<VirtualAddress>().is_ok())
    {
        return Ok(None);
    }
    let own = lower.is_own_device(&dev) && lower.may_be_own_address(&cidr);
    if !(add || own || has_prefix(lower, &cidr)) {
        // Whatever its prefix length is.
        return Ok(None);
    }
    if pairs.arg("valid_lft").is_some()
        || pairs.arg("preferred_lft").is_some()
        || pairs.arg("metric").is_some()
    {
        return Ok(None);
    }
    if add && let Some(label) = pairs.value("label") {
        let label = lower.fixed(&label).map_or(label, Expr::Text);
        lower.add_label(&label, &cidr);
    }
    if add {
        for word in ["label", "brd", "broadcast", "scope"] {
            if let Some(arg) = pairs.arg(word) {
                lower.differs(format!(
                    "{word} {} is left out: addresses of carpd have none",
                    arg.text.as_deref().unwrap_or("there")
                ));
            }
        }
    }
    Ok(Some(vec![Action::Addr {
        add,
        cidr,
        dev: Some(dev),
    }]))
}

/// Does the address say its prefix length?
fn has_prefix(lower: &Lower<'_>, cidr: &Expr) -> bool {
    if let Expr::Join(parts) = cidr {
        return parts
            .iter()
            .skip(1)
            .any(|part| matches!(part, Expr::Text(text) if text.contains('/')));
    }
    lower
        .values(cidr)
        .is_some_and(|all| all.iter().all(|text| text.contains('/')))
}

const ROUTE_WORDS: &[&str] = &[
    "via",
    "dev",
    "src",
    "metric",
    "table",
    "proto",
    "protocol",
    "scope",
    "type",
    "priority",
    "preference",
];

fn route(lower: &mut Lower<'_>, args: &[Arg], six: bool) -> Option<Vec<Action>> {
    let (verb, rest) = args.split_first()?;
    let verb = match abbreviated(
        verb.word(),
        &[
            "add", "append", "change", "chg", "delete", "replace", "show", "list", "flush", "get",
        ],
    ) {
        Some("add") => RouteVerb::Add,
        Some("replace") => RouteVerb::Replace,
        Some("delete") => RouteVerb::Delete,
        _ => return None,
    };
    let pairs = Pairs::read(rest, ROUTE_WORDS)?;
    if pairs
        .found
        .iter()
        .any(|(key, _)| pairs.found.iter().filter(|(k, _)| k == key).count() > 1)
    {
        return None;
    }
    let mut free = pairs.free.iter().filter(|arg| arg.word() != "to");
    let (Some(dst), None) = (free.next(), free.next()) else {
        return None;
    };
    let unusual = |keyword: &str, usual: &[&str]| {
        pairs
            .arg(keyword)
            .is_some_and(|arg| !usual.contains(&arg.word()))
    };
    if unusual("scope", &["global", "link"])
        || unusual("type", &["unicast"])
        || unusual("proto", &["boot", "static"])
        || unusual("protocol", &[])
    {
        return None;
    }
    if let Some(all) = lower.values(&dst.value)
        && !all.iter().all(|text| is_target(text))
    {
        return None;
    }
    // `scope link` is what the kernel gives a route without a gateway anyway.
    let mut options = Vec::new();
    for (keyword, name) in [
        ("via", "via"),
        ("dev", "dev"),
        ("src", "src"),
        ("metric", "metric"),
        ("priority", "metric"),
        ("preference", "metric"),
    ] {
        options.extend(pairs.value(keyword).map(|value| (name, value)));
    }
    if let Some(table) = pairs.arg("table") {
        match table_number(lower, table) {
            Some(254) => {}
            Some(number) => options.push(("table", Expr::Text(number.to_string()))),
            None if table.text.is_none() => options.push(("table", table.value.clone())),
            None => return None,
        }
    }
    if six && dst.word() == "default" && pairs.arg("via").is_none() {
        return Some(vec![Action::Route {
            verb,
            dst: Expr::Text("::/0".into()),
            options,
        }]);
    }
    Some(vec![Action::Route {
        verb,
        dst: dst.value.clone(),
        options,
    }])
}

/// Names of tables stand in files of iproute2.
fn table_number(lower: &Lower<'_>, table: &Arg) -> Option<u32> {
    match table.word() {
        "main" => Some(254),
        "local" => Some(255),
        "default" => Some(253),
        word => word.parse().ok().or_else(|| lower.table_named(word)),
    }
}

fn rule(lower: &mut Lower<'_>, args: &[Arg], six: bool) -> Option<Vec<Action>> {
    let (verb, rest) = args.split_first()?;
    let add = match abbreviated(verb.word(), &["add", "delete", "show", "list", "flush"]) {
        Some("add") => true,
        Some("delete") => false,
        _ => return None,
    };
    let words = [
        "from",
        "to",
        "iif",
        "dev",
        "fwmark",
        "table",
        "lookup",
        "priority",
        "preference",
        "pref",
        "prio",
        "order",
    ];
    let pairs = Pairs::read(rest, &words)?;
    let table = pairs.arg("table").or_else(|| pairs.arg("lookup"));
    let (Some(table), true) = (table, pairs.free.is_empty()) else {
        return None;
    };
    let mut options = Vec::new();
    for (keyword, name) in [
        ("from", "from"),
        ("to", "to"),
        ("iif", "iif"),
        ("dev", "iif"),
        ("fwmark", "fwmark"),
    ] {
        let arg = pairs
            .arg(keyword)
            .filter(|arg| !matches!(arg.word(), "all" | "any"));
        // What no network is, is what the program fails at.
        let network = matches!(name, "from" | "to");
        if network
            && matches!(arg.map(|arg| &arg.value), Some(Expr::Text(text)) if !is_target(text))
        {
            return None;
        }
        options.extend(arg.map(|arg| (name, arg.value.clone())));
    }
    // Without an address it is one for IPv4.
    if six && !options.iter().any(|(key, _)| matches!(*key, "from" | "to")) {
        return None;
    }
    if pairs
        .arg("fwmark")
        .is_some_and(|mark| mark.word().contains('/'))
    {
        return None;
    }
    match table_number(lower, table) {
        Some(number) => options.push(("table", Expr::Text(number.to_string()))),
        None => return None,
    }
    let priority = ["priority", "preference", "pref", "prio", "order"]
        .iter()
        .find_map(|word| pairs.value(word));
    let priority = match (add, priority) {
        (true, given) => lower.add_rule(&options, given),
        (false, Some(given)) => given,
        (false, None) => lower.known_rule(&options)?,
    };
    options.push(("priority", priority));
    Some(vec![Action::Rule { add, options }])
}

/// Words of `ip link set` that stand before a value.
const LINK_WORDS: &[&str] = &[
    "group",
    "mtu",
    "txqueuelen",
    "name",
    "alias",
    "arp",
    "dynamic",
    "multicast",
    "allmulticast",
    "promisc",
    "netns",
    "master",
    "nomaster",
    "vf",
    "type",
    "broadcast",
    "state",
    "carrier",
];

fn link(lower: &Lower<'_>, args: &[Arg]) -> Option<Vec<Action>> {
    let (verb, rest) = args.split_first()?;
    abbreviated(verb.word(), &["set"])?;
    let mut rest = rest.iter();
    let (mut dev, mut changes) = (None, Vec::new());
    while let Some(arg) = rest.next() {
        match arg.word() {
            "dev" if dev.is_none() => dev = Some(rest.next()?),
            "up" => changes.push(Ok(true)),
            "down" => changes.push(Ok(false)),
            "address" | "addr" => changes.push(Err(rest.next()?)),
            _ if dev.is_none() => dev = Some(arg),
            _ => return None,
        }
    }
    let dev = dev?.value.clone();
    // A keyword that this does not know has taken the device's place.
    let name =
        |text: &String| text.parse::<IfName>().is_ok() && !LINK_WORDS.contains(&text.as_str());
    if lower.values(&dev).is_some_and(|all| !all.iter().all(name)) {
        return None;
    }
    let action = |change: Result<bool, &Arg>| match change {
        Ok(up) => Action::LinkUp {
            dev: dev.clone(),
            up,
        },
        Err(mac) => Action::LinkMac {
            dev: dev.clone(),
            mac: mac.value.clone(),
        },
    };
    (!changes.is_empty()).then(|| changes.into_iter().map(action).collect())
}
