//! What the hook needs to be granted, as TOML: exactly what the scripts did, as far as it is known
//! here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::facts::{FactKind, Facts};
use super::ir::{Action, Cond, Expr, RouteVerb, Run, Step, Visit, What, walk};
use super::lower::Scope;
use super::{Half, Settings};
use crate::effect::toml_string;
use crate::types::{is_treacherous, shown_within};

/// The table `[hook.NAME]` with its grants. What is to be filled in there becomes facts of the
/// scripts.
pub(super) fn print(
    halves: &mut [(&'static str, &str, Half)],
    settings: &Settings,
    timeout: Option<Duration>,
) -> String {
    let mut needs = Needs {
        timeout,
        ..Needs::default()
    };
    for (_, script, half) in halves.iter_mut() {
        half.facts.turn_to(script);
        collect(
            &mut needs,
            &half.steps,
            &half.scope,
            &mut half.facts,
            settings,
        );
    }
    let (toml, refused) = needs.toml(settings);
    if let Some((_, _, half)) = halves.first_mut() {
        for (value, what) in refused {
            let (script, line) = needs.places.get(&value).cloned().unwrap_or_default();
            half.facts.turn_to(&script);
            let text =
                format!("{what} cannot be granted as the script has it: the hook fails there");
            half.facts.record(FactKind::Open, line, text);
        }
    }
    toml
}

/// What `[hook.NAME.grant]` would say, if all were known that these settings say.
pub(super) fn table_of(
    halves: &[(&'static str, &str, Half)],
    settings: &Settings,
) -> Option<toml::Table> {
    let mut needs = Needs::default();
    for (_, script, half) in halves {
        let mut facts = Facts::of(script);
        collect(&mut needs, &half.steps, &half.scope, &mut facts, settings);
    }
    let table: toml::Table = needs.toml(settings).0.parse().ok()?;
    let hook = table.get("hook")?.get(settings.name.as_str())?;
    hook.get("grant")?.as_table().cloned()
}

/// Goes over an entry point.
fn collect(
    needs: &mut Needs,
    steps: &[Step],
    scope: &Scope,
    facts: &mut Facts,
    settings: &Settings,
) {
    walk(
        steps,
        &mut Collect {
            needs,
            scope,
            facts,
            settings,
        },
    );
}

#[derive(Default)]
struct Needs {
    /// What the hook may take, if not the usual.
    timeout: Option<Duration>,
    addr: BTreeSet<Entry>,
    route: BTreeSet<Entry>,
    rule: BTreeSet<Entry>,
    link: BTreeMap<String, BTreeSet<&'static str>>,
    hostname: BTreeSet<String>,
    service: BTreeMap<String, BTreeSet<&'static str>>,
    sysctl: BTreeMap<String, BTreeSet<String>>,
    file: BTreeMap<String, BTreeSet<&'static str>>,
    command: BTreeMap<String, Vec<String>>,
    http: BTreeMap<String, BTreeSet<&'static str>>,
    read: bool,
    resign: bool,
    config: BTreeSet<String>,
    /// Of these the scripts had a default.
    optional: BTreeSet<String>,
    /// What cannot be known before it runs.
    unknown: Vec<String>,
    /// The script and the line that first has a value.
    places: BTreeMap<String, (String, usize)>,
}

struct Collect<'a> {
    needs: &'a mut Needs,
    scope: &'a Scope,
    facts: &'a mut Facts,
    settings: &'a Settings,
}

impl Collect<'_> {
    /// The texts that a value may be; a remark if not all are known.
    fn texts(&mut self, line: usize, value: &Expr, what: &str) -> Vec<String> {
        let values = self.scope.values(value, self.settings);
        if !values.complete {
            let examples = self.examples(value).join(", ");
            let (remark, fact) = if examples.is_empty() {
                (
                    format!("{what} is known only when it runs: grant it here"),
                    format!("{what} is known only when it runs: add it to the grants"),
                )
            } else {
                (
                    format!("grant {what} here: {examples}, with config filled in"),
                    format!("{what} depends on config: add {examples} to the grants"),
                )
            };
            let remark = format!("{} line {line}: {remark}", self.facts.script());
            if !self.needs.unknown.contains(&remark) {
                self.needs.unknown.push(remark);
            }
            self.facts.record(FactKind::Open, line, fact);
        }
        for value in &values.known {
            self.place(line, value);
        }
        values.known
    }

    /// How the texts read that are known once the hook's configuration is filled in.
    fn examples(&self, value: &Expr) -> Vec<String> {
        let settings = Settings {
            stand_in: Some(|name| format!("<config.{name}>")),
            ..self.settings.clone()
        };
        let values = self.scope.values(value, &settings);
        let depends = |text: &String| text.contains("<config.");
        let known = values.known.into_iter().filter(|_| values.complete);
        known.filter(depends).collect()
    }

    fn place(&mut self, line: usize, value: &str) {
        let place = (self.facts.script().to_owned(), line);
        self.needs.places.entry(value.to_owned()).or_insert(place);
    }

    fn constant(&self, value: Option<&Expr>) -> Option<String> {
        value.and_then(|value| self.scope.constant(value, self.settings))
    }

    fn address(&mut self, line: usize, cidr: &Expr, dev: Option<&Expr>, added: bool) {
        let own_device = dev.is_none_or(|dev| *dev == Expr::Dev)
            || self
                .constant(dev)
                .is_some_and(|d| Some(d) == self.settings.interface);
        let own_address = matches!(cidr, Expr::Vip | Expr::Cidr)
            || matches!(cidr, Expr::Join(parts) if parts.first() == Some(&Expr::Vip));
        if own_device && own_address {
            if added {
                self.own_address(line, cidr);
            }
            return;
        }
        for text in self.texts(line, cidr, "an address") {
            let ip = text.split('/').next().unwrap_or_default();
            if own_device && Some(ip) == self.settings.address.as_deref() {
                if added {
                    self.own_address(line, &Expr::Text(text));
                }
                continue;
            }
            let dev = if own_device {
                self.settings.interface.clone()
            } else {
                self.constant(dev)
            };
            let entry = table(&[
                ("cidr", Some(string(&text))),
                ("dev", dev.map(|d| string(&d))),
            ]);
            self.needs.addr.insert((text, entry));
        }
    }

    /// The virtual host's own address, which carpd has up already, is added.
    fn own_address(&mut self, line: usize, cidr: &Expr) {
        let host = match cidr {
            Expr::Vip => true,
            Expr::Text(text) => !text.contains('/') || text.ends_with("/32"),
            _ => false,
        };
        if !host {
            let text = "carpd holds this address by itself, as a leased /32; here it is added once more, with this prefix and without a lease: a daemon that froze would keep it. Leave the line out unless something needs the prefix; then `addresses` must name it, or the hook fails there";
            self.facts.record(FactKind::Different, line, text);
        }
    }

    fn route(&mut self, line: usize, dst: &Expr, options: &[(&'static str, Expr)]) {
        let option = |key: &str| {
            options
                .iter()
                .find(|(k, _)| *k == key)
                .map(|(_, value)| value)
        };
        if let Some(value) = option("table") {
            self.texts(line, value, "a routing table");
        }
        let (via, dev) = (self.constant(option("via")), self.constant(option("dev")));
        let tables: Vec<Option<String>> = match option("table") {
            None => vec![None],
            Some(value) => {
                let known = self.scope.values(value, self.settings).known;
                let numbers = known.into_iter().filter(|text| !text.is_empty());
                numbers.map(Some).collect()
            }
        };
        for dst in self.texts(line, dst, "a route") {
            for number in &tables {
                let entry = table(&[
                    ("dst", Some(string(&dst.replace("0.0.0.0/0", "default")))),
                    ("via", via.as_deref().map(string)),
                    ("dev", dev.as_deref().map(string)),
                    ("table", number.clone()),
                ]);
                self.needs.route.insert((dst.clone(), entry));
            }
        }
    }

    fn file(&mut self, line: usize, path: &Expr, verbs: &[&'static str]) {
        for path in self.texts(line, path, "a file") {
            if let Some(odd) = here(&path, verbs) {
                self.facts.record(FactKind::Open, line, odd);
            }
            self.needs.file.entry(path).or_default().extend(verbs);
        }
    }

    /// What a hook does not get all of.
    fn written(&mut self, line: usize, content: &Expr, append: bool) {
        let text = match content {
            _ if append => {
                "a file of more than 1 MiB is left as it is, with a warning in the log: a hook reads what it adds to"
            }
            Expr::Raw(..) => {
                "where the program writes 64 KiB or more, the file stays as it is, with a warning in the log: a hook is given no more"
            }
            Expr::Content(_) => {
                "a file of more than 1 MiB is not copied, with a warning in the log: a hook is given no more"
            }
            _ => return,
        };
        self.facts.record(FactKind::Different, line, text);
    }

    /// A variable that came from outside.
    fn outside(&mut self, line: usize, name: &str) {
        self.needs.config.insert(name.to_owned());
        if self.settings.configured(name).is_some() {
            return;
        }
        let keepalived = self
            .settings
            .keepalived()
            .is_some_and(|keepalived| name == "priority" || name == keepalived.name_key());
        let (kind, text) = if keepalived {
            let text = format!(
                "keepalived's {name} is not known here: fill in config.{name}, or say --{name}"
            );
            (FactKind::Open, text)
        } else if self.needs.optional.contains(name) {
            let text = format!(
                "${name} came from outside: without config.{name} the script's default holds"
            );
            (FactKind::Different, text)
        } else {
            let text = format!("${name} came from outside: fill in config.{name}");
            (FactKind::Open, text)
        };
        self.facts.record(kind, line, text);
    }

    fn command(&mut self, line: usize, run: &Run) {
        self.place(line, &run.name);
        self.needs
            .command
            .insert(run.name.clone(), run.argv.clone());
    }
}

impl Visit for Collect<'_> {
    fn step(&mut self, step: &Step) {
        if let What::Script(name, _) = &step.what {
            self.facts.turn_to(name);
        }
    }

    fn action(&mut self, line: usize, action: &Action) {
        match action {
            Action::Addr { add, cidr, dev } => self.address(line, cidr, dev.as_ref(), *add),
            Action::Announce { cidr, dev, .. } => self.address(line, cidr, dev.as_ref(), false),
            Action::Route { verb, dst, options } => {
                // It is looked for one that is there.
                self.needs.read |= matches!(verb, RouteVerb::Add | RouteVerb::Insert);
                self.route(line, dst, options);
            }
            Action::Rule { options, .. } => {
                let option = |key: &str| {
                    self.constant(
                        options
                            .iter()
                            .find(|(k, _)| *k == key)
                            .map(|(_, value)| value),
                    )
                };
                let priority = option("priority");
                let numbers = options.iter().find(|(key, _)| *key == "table");
                let numbers = numbers.map(|(_, value)| self.texts(line, value, "a routing table"));
                for number in numbers
                    .into_iter()
                    .flatten()
                    .filter(|text| !text.is_empty())
                {
                    let entry = table(&[("table", Some(number)), ("priority", priority.clone())]);
                    self.place(line, &entry);
                    self.needs.rule.insert((entry.clone(), entry));
                }
            }
            Action::LinkUp { dev, .. } => {
                for dev in self.texts(line, dev, "a device") {
                    self.needs.link.entry(dev).or_default().insert("set_up");
                }
            }
            Action::LinkMac { dev, .. } => {
                for dev in self.texts(line, dev, "a device") {
                    self.needs.link.entry(dev).or_default().insert("set_mac");
                }
            }
            Action::Hostname(name) => {
                let names = self.texts(line, name, "a host name");
                self.needs.hostname.extend(names);
            }
            Action::Service { verb, unit } => {
                for unit in self.texts(line, unit, "a service") {
                    self.needs.service.entry(unit).or_default().insert(verb);
                }
            }
            Action::Sysctl { key, value } => {
                let values = self.scope.values(value, self.settings);
                for key in self.texts(line, key, "a kernel parameter") {
                    let entry = self.needs.sysctl.entry(key).or_default();
                    if values.complete {
                        entry.extend(values.known.iter().cloned());
                    }
                }
            }
            Action::Write {
                path,
                append,
                content,
            } => {
                let verbs: &[_] = if *append {
                    &["read", "write"]
                } else {
                    &["write"]
                };
                self.file(line, path, verbs);
                self.written(line, content, *append);
            }
            Action::Remove(path) => self.file(line, path, &["remove"]),
            Action::Touch(path) => self.file(line, path, &["read", "write"]),
            Action::Run(run) => self.command(line, run),
            Action::Resign => self.needs.resign = true,
            Action::Http { verb, url, .. } => {
                for url in self.texts(line, url, "a URL") {
                    self.needs.http.entry(url).or_default().insert(verb);
                }
            }
            Action::Log { .. } | Action::Sleep(_) => {}
        }
        // Undoing a file is the daemon's own; a hook that only writes need not read.
    }

    fn cond(&mut self, line: usize, cond: &Cond) {
        match cond {
            Cond::File(path) => self.file(line, path, &["read"]),
            Cond::HasAddress(..) => self.needs.read = true,
            Cond::Given(name) => {
                self.needs.optional.insert(name.clone());
                self.needs.config.insert(name.clone());
            }
            Cond::Active(unit) => {
                for unit in self.texts(line, unit, "a service") {
                    self.needs.service.entry(unit).or_default();
                }
            }
            _ => {}
        }
    }

    fn expr(&mut self, line: usize, expr: &Expr) {
        match expr {
            Expr::Outside(name) => self.outside(line, name),
            Expr::Call("default", args) => {
                if let Some(Expr::Outside(name)) = args.first() {
                    self.needs.optional.insert(name.clone());
                }
            }
            Expr::Output(run) | Expr::Raw(run, _) => self.command(line, run),
            Expr::Content(path) => self.file(line, path, &["read"]),
            Expr::Call("sysctl.get", args) => {
                for key in args {
                    for key in self.texts(line, key, "a kernel parameter") {
                        self.needs.sysctl.entry(key).or_default();
                    }
                }
            }
            Expr::Call("hostname.get", _) => self.needs.read = true,
            Expr::Call("read", args) => {
                if let Some(path) = args.first() {
                    self.file(line, path, &["read"]);
                }
            }
            _ => {}
        }
    }
}

/// An entry of a list of grants: the value of a script that it is for, and its text.
type Entry = (String, String);

impl Needs {
    /// The table, and what had to be left out of it, since it would not load.
    fn toml(&self, settings: &Settings) -> (String, Vec<Entry>) {
        let name = &settings.name;
        let mut out = format!("[hook.{name}]\nsource = \"hooks/{name}.lua\"\n");
        if let Some(timeout) = self.timeout {
            out += &format!("timeout = \"{}s\"\n", timeout.as_secs());
        }
        out += &self.outside(settings);
        out += &format!(
            "\n# All that the hook may do. Anything else is refused.\n[hook.{name}.grant]\n"
        );
        self.unknown
            .iter()
            .for_each(|text| out += &format!("# {text}\n"));
        let mut refused = Vec::new();
        for (key, entries) in self.tables() {
            // What the scripts name so cannot be granted, and is refused.
            let (entries, other): (Vec<Entry>, Vec<Entry>) = entries
                .into_iter()
                .partition(|(_, entry)| loads(&format!("{key} = [{entry}]")));
            for (value, entry) in other {
                out += &format!("# cannot be granted: {key} = [{entry}]\n");
                refused.push((value, format!("{key} = [{entry}]")));
            }
            out += &match entries.as_slice() {
                [] => String::new(),
                [(_, one)] => format!("{key} = [{one}]\n"),
                many => format!(
                    "{key} = [\n{}]\n",
                    many.iter()
                        .map(|(_, entry)| format!("  {entry},\n"))
                        .collect::<String>()
                ),
            };
        }
        let (names, other): (Vec<&String>, Vec<&String>) = self
            .hostname
            .iter()
            .partition(|name| loads(&format!("hostname = [{}]", string(name))));
        if !names.is_empty() {
            let names = list(names.into_iter().map(|name| string(name)));
            out += &format!("hostname = {names}\n");
        }
        for name in other {
            out += &format!("# cannot be granted: hostname = [{}]\n", string(name));
            refused.push((name.clone(), format!("hostname = [{}]", string(name))));
        }
        if self.read {
            out += "read = true\n";
        }
        if self.resign {
            out += "carp = [\"resign\"]\n";
        }
        for (name, argv) in &self.command {
            let argv = list(argv.iter().map(|word| string(word)));
            let line = format!("command.{name} = {{ argv = {argv} }}");
            if loads(&line) {
                out += &format!("{line}\n");
            } else {
                out += &format!("# cannot be granted: {line}\n");
                refused.push((name.clone(), line));
            }
        }
        (out, refused)
    }

    /// The hook's configuration, with what the scripts took from outside.
    fn outside(&self, settings: &Settings) -> String {
        let mut out = String::new();
        let known = |name: &String| settings.configured(name).unwrap_or_default();
        let entries = |names: &mut dyn Iterator<Item = &String>| {
            names
                .map(|name| format!("{name} = {}", string(&known(name))))
                .collect::<Vec<_>>()
                .join(", ")
        };
        // What is known is never left to a default.
        let optional: BTreeSet<String> = self
            .optional
            .iter()
            .filter(|name| known(name).is_empty())
            .cloned()
            .collect();
        let all: BTreeSet<String> = self.config.union(&self.optional).cloned().collect();
        let needed = entries(&mut all.difference(&optional));
        if !needed.is_empty() {
            let mut missing = all.difference(&optional);
            out += if missing.any(|name| known(name).is_empty()) {
                "# The scripts took these from outside: fill them in.\n"
            } else {
                "# The scripts took these from outside.\n"
            };
            out += &format!("config = {{ {needed} }}\n");
        }
        let optional = entries(&mut optional.iter());
        if !optional.is_empty() {
            out +=
                &format!("# There are defaults for these in the hook: config = {{ {optional} }}\n");
        }
        out
    }

    /// The lists of tables.
    fn tables(&self) -> [(&'static str, Vec<Entry>); 8] {
        let entries = |name: &'static str, of: &BTreeMap<String, BTreeSet<&'static str>>| {
            let entry = |(value, set): (&String, &BTreeSet<&'static str>)| {
                let verbs = list(set.iter().map(|verb| string(verb)));
                let fields = [(name, Some(string(value))), ("do", Some(verbs))];
                (value.clone(), table(&fields))
            };
            of.iter().map(entry).collect()
        };
        let sysctl = |(key, values): (&String, &BTreeSet<String>)| {
            let values =
                (!values.is_empty()).then(|| list(values.iter().map(|value| string(value))));
            let fields = [("key", Some(string(key))), ("values", values)];
            (key.clone(), table(&fields))
        };
        [
            ("http", entries("url", &self.http)),
            ("addr", self.addr.iter().cloned().collect()),
            ("route", self.route.iter().cloned().collect()),
            ("rule", self.rule.iter().cloned().collect()),
            ("link", entries("dev", &self.link)),
            ("service", entries("unit", &self.service)),
            ("sysctl", self.sysctl.iter().map(sysctl).collect()),
            ("file", entries("path", &self.file)),
        ]
    }
}

/// What is odd about a file that is on this machine: a hook reads and writes plain ones.
fn here(path: &str, verbs: &[&str]) -> Option<String> {
    let found = std::fs::symlink_metadata(path).ok()?;
    let kind = found.file_type();
    let reads = verbs.contains(&"read");
    let writes = verbs.contains(&"write") || verbs.contains(&"remove");
    if kind.is_symlink() {
        let leads = std::fs::canonicalize(path).map_or_else(
            |_| "nothing".to_owned(),
            |target| shown_within(target.to_string_lossy(), 100),
        );
        return Some(format!(
            "{path} is a symbolic link on this machine, to {leads}: a hook follows none, so the grant is refused"
        ));
    }
    if writes && !kind.is_file() && !kind.is_dir() {
        return Some(format!(
            "{path} is no plain file on this machine, but a pipe, a socket or a device: a hook cannot write it"
        ));
    }
    (reads && kind.is_file() && found.len() > READ_MAX)
        .then(|| format!("{path} is larger than 1 MiB on this machine: a hook cannot read it"))
}

/// What a hook reads of a file at most, in bytes.
const READ_MAX: u64 = 1 << 20;

/// Is this line one of `[hook.NAME.grant]`?
fn loads(line: &str) -> bool {
    crate::config::parse_grants("grants", line).is_ok()
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn table(fields: &[(&str, Option<String>)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .filter_map(|(key, value)| Some(format!("{key} = {}", value.as_ref()?)))
        .collect();
    format!("{{ {} }}", fields.join(", "))
}

fn string(text: &str) -> String {
    if text.contains(is_treacherous) {
        toml_string(text)
    } else {
        toml::Value::String(text.to_owned()).to_string()
    }
}
