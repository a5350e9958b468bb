//! The hook's test: what it does on hosts that have what its scripts look at.
//!
//! What that is comes from the hook itself, played once on each of these hosts ([`Sheet::probe`]);
//! [`Sheet::test`] holds it. Nothing here runs anything.

use std::collections::{BTreeMap, BTreeSet};

use super::grants::table_of;
use super::ir::{Action, Cond, Expr, Visit, walk};
use super::lua::{key, quoted};
use super::{Half, Settings};
use crate::types::VirtualAddress;

/// How many cases hold what one entry point does.
const CASES: usize = 4;

/// How many lines of its log a case looks for.
const LOG: usize = 8;

/// What a test of the hook is made of.
#[derive(Debug, Clone)]
pub struct Sheet {
    name: String,
    roles: Vec<Role>,
    /// What is granted on its hosts, if not only what was written.
    grants: String,
    /// Is all of `on_master` undone by the daemon?
    mirrored: bool,
}

/// An entry point.
#[derive(Debug, Clone)]
struct Role {
    /// `master` or `backup`.
    word: &'static str,
    /// The script's file name.
    script: String,
    worlds: Vec<World>,
}

/// A host on which an entry point shows what it does.
#[derive(Debug, Clone)]
struct World {
    /// Of the event; the usual one if not given.
    cause: Option<&'static str>,
    /// What is special about it, after a comma.
    special: String,
    /// The argument of `test.host`.
    options: String,
}

/// What a hook did on one of the hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    plan: Vec<String>,
    log: Vec<String>,
    now: String,
    error: Option<String>,
    undone: bool,
    /// Did it fail before it came to what the case is about?
    early: bool,
}

impl Seen {
    /// From what a case of the probe printed, and why it failed, if it did.
    #[must_use]
    pub fn read(output: &[String], failure: Option<&str>) -> Self {
        let mut seen = Self::default();
        for line in output.iter().flat_map(|text| text.lines()) {
            match line.split_once(' ') {
                Some(("plan", effect)) => seen.plan.push(effect.to_owned()),
                Some(("log", text)) if !seen.log.iter().any(|l| l == text) => {
                    seen.log.push(text.to_owned());
                }
                Some(("now", time)) => time.clone_into(&mut seen.now),
                _ => seen.undone |= line == "undone",
            }
        }
        let raised = failure.and_then(|text| text.split_once("no expect_error said so: "));
        seen.early = failure.is_some_and(|text| text.contains("on_master failed"));
        seen.error =
            raised.map(|(_, error)| without_place(error.lines().next().unwrap_or_default()));
        seen
    }

    /// Why the hook failed there, if neither a TODO nor the script itself says that it does. A
    /// script would have gone on, or its author would have seen it fail.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        let own = |error: &str| {
            error.contains("not ported: ")
                || error.contains("the script gave up here")
                || error.ends_with(": failed")
                || error.ends_with(" is not set")
        };
        self.error.as_deref().filter(|error| !own(error))
    }

    /// Is there anything that an empty hook would not do?
    fn is_something(&self) -> bool {
        !self.plan.is_empty()
            || !self.log.is_empty()
            || self.error.is_some()
            || !matches!(self.now.as_str(), "" | "0")
    }
}

/// An error without the line of the hook, which changes when somebody edits it.
fn without_place(error: &str) -> String {
    let place = error.split_once(": ").filter(|(place, _)| {
        place
            .rsplit_once(':')
            .is_some_and(|(_, line)| line.bytes().all(|b| b.is_ascii_digit()))
    });
    place.map_or(error, |(_, rest)| rest).to_owned()
}

/// What the test of this hook is made of.
pub(super) fn of(
    halves: &[(&'static str, &str, Half)],
    settings: &Settings,
    mirrored: bool,
) -> Sheet {
    let dev = settings.interface.as_deref().unwrap_or("eth0");
    let address = settings.address.as_deref().unwrap_or("192.0.2.22");
    let known = Settings {
        interface: Some(dev.to_owned()),
        address: Some(address.to_owned()),
        xparam: settings.xparam.clone(),
        stand_in: Some(stand_in),
        ..settings.clone()
    };
    let grants = more_grants(halves, settings, &known);
    let name = halves
        .iter()
        .find_map(|(_, _, half)| some_hostname(half, &known));
    let role = |(entry, script, half): &(&'static str, &str, Half)| {
        let mut looks = Looks::of(half, &known);
        let address = with_prefix(half, &known, address);
        let mut host = format!(
            "interface = {}, addresses = {{ {} }}",
            quoted(dev),
            quoted(&address)
        );
        if let Some(xparam) = &settings.xparam {
            host += &format!(", xparam = {}", quoted(xparam));
        }
        looks.common = vec![looks.config_line(&known)];
        if !grants.is_empty() {
            looks.common.push("grants = grants".to_owned());
        }
        Role {
            word: if *entry == "on_master" {
                "master"
            } else {
                "backup"
            },
            script: (*script).to_owned(),
            worlds: looks.worlds(&host, name.as_deref()),
        }
    };
    Sheet {
        name: settings.name.clone(),
        roles: halves.iter().map(role).collect(),
        grants,
        mirrored,
    }
}

impl Sheet {
    /// A test file whose cases print what the hook does on each host, for [`Seen::read`].
    #[must_use]
    pub fn probe(&self) -> String {
        let mut out = self.grants.clone();
        for (number, (role, world)) in self.all().enumerate() {
            out += &format!("test.case(\"{number}\", function()\n");
            out += &begin(role, world);
            out += "  for _, effect in h:plan() do\n    test.print(\"plan \" .. effect)\n  end\n  \
                      for _, line in h:log() do\n    test.print(\"log \" .. line.level .. \" \" .. line.message)\n  end\n  \
                      test.print(\"now \" .. h:now())\n";
            if self.mirrored {
                out += "  h:become(\"backup\")\n  h:expect_undone()\n  test.print(\"undone\")\n";
            }
            out += "end)\n";
        }
        out
    }

    /// The test file that holds what was seen on each host of the probe, in its order.
    #[must_use]
    pub fn test(&self, seen: &[Seen]) -> String {
        let mut out = format!("-- Tests {}.lua: run `carpd test`.\n", self.name);
        if seen
            .iter()
            .flat_map(|seen| &seen.plan)
            .any(|line| line.ends_with("(denied)"))
        {
            out +=
                "-- What is (denied) has no grant yet: add it, then run `carpd test --update`.\n";
        }
        if !self.grants.is_empty() {
            out += "\n-- Those of the configuration, with what is to be filled in.\n";
            out += self.grants.trim_end();
            out += "\n";
        }
        let mut held: Vec<(&str, &Seen)> = Vec::new();
        for ((role, world), seen) in self.all().zip(seen) {
            let of_role = held.iter().filter(|(word, _)| *word == role.word).count();
            let known = held.contains(&(role.word, seen));
            let begun = world.cause.is_none() || !seen.early;
            if seen.is_something() && begun && !known && of_role < CASES {
                held.push((role.word, seen));
                out += &case(role, world, seen);
            }
        }
        if held.is_empty() {
            out += &self.nothing();
        }
        out
    }

    fn all(&self) -> impl Iterator<Item = (&Role, &World)> {
        self.roles
            .iter()
            .flat_map(|role| role.worlds.iter().map(move |world| (role, world)))
    }

    /// For a hook that does nothing on any host.
    fn nothing(&self) -> String {
        let Some((role, world)) = self.all().next() else {
            return String::new();
        };
        let begin = begin(role, world);
        format!(
            "\n-- The scripts did nothing that could be seen.\ntest.case(\"it changes nothing\", function()\n{begin}  h:expect_plan([[]])\nend)\n"
        )
    }
}

/// A case that holds what was seen.
fn case(role: &Role, world: &World, seen: &Seen) -> String {
    let title = format!(
        "on becoming {} it does what {} did{}",
        role.word, role.script, world.special
    );
    let mut out = format!("\ntest.case({}, function()\n", quoted(&title));
    out += &begin(role, world);
    if !seen.plan.is_empty() || seen.log.is_empty() && seen.error.is_none() {
        let effect = |line: &String| format!("    {line}\n");
        let plan: String = seen.plan.iter().map(effect).collect();
        let level = if plan.contains("]]") { "=" } else { "" };
        out += &format!("  h:expect_plan([{level}[\n{plan}  ]{level}])\n");
    }
    for line in seen.log.iter().take(LOG) {
        out += &format!("  h:expect_log({})\n", quoted(line));
    }
    if let Some(error) = &seen.error {
        out += &format!("  h:expect_error({})\n", quoted(error));
    }
    if seen.plan.is_empty() && seen.log.is_empty() && seen.error.is_none() {
        out += &format!("  test.equal(h:now(), {})\n", seen.now);
    }
    if seen.undone {
        out += "\n  h:become(\"backup\")\n  h:expect_undone()\n";
    }
    out + "end)\n"
}

/// The host, and what becomes of it.
fn begin(role: &Role, world: &World) -> String {
    // A cause is that of the end of a mastership.
    let (before, cause) = match world.cause {
        Some(cause) => (
            "  h:become(\"master\")\n",
            format!(", {{ cause = {} }}", quoted(cause)),
        ),
        None => ("", String::new()),
    };
    format!(
        "  local h = test.host({})\n{before}  h:become({}{cause})\n",
        world.options,
        quoted(role.word)
    )
}

/// What a script looks at, for the host of its test to have.
#[derive(Default)]
struct Looks<'a> {
    half: Option<(&'a Half, &'a Settings)>,
    /// Files that it reads before it writes them.
    files: Vec<String>,
    written: Vec<String>,
    /// Addresses of other devices, by device.
    addresses: BTreeMap<String, Vec<String>>,
    /// Granted command lines.
    programs: BTreeSet<String>,
    /// Services that it asks about.
    services: BTreeSet<String>,
    /// Entries of its configuration that it cannot do without.
    config: BTreeSet<String>,
    /// Those that the script has a default for.
    optional: BTreeSet<String>,
    /// Options that all of its hosts have.
    common: Vec<String>,
    /// Does it tell a fault from a stop?
    states: bool,
}

impl<'a> Looks<'a> {
    fn of(half: &'a Half, settings: &'a Settings) -> Self {
        let mut looks = Self {
            half: Some((half, settings)),
            ..Self::default()
        };
        walk(&half.steps, &mut looks);
        looks
    }

    fn text(&self, value: &Expr) -> Option<String> {
        let (half, settings) = self.half?;
        half.scope.constant(value, settings)
    }

    fn reads(&mut self, path: &Expr) {
        if let Some(path) = self
            .text(path)
            .filter(|path| !self.files.contains(path) && !self.written.contains(path))
        {
            self.files.push(path);
        }
    }

    /// The hosts that show what it does, each with what is special about it. `host` is what they
    /// have in common, `content` what files say.
    fn worlds(&self, host: &str, content: Option<&str>) -> Vec<World> {
        let (files, links) = (self.files_line(content), self.links_line());
        let world = |cause, special: &str, lines: &[&String]| World {
            cause,
            special: special.to_owned(),
            options: {
                let common: Vec<&String> = self.common.iter().collect();
                options(host, &[&common, lines].concat())
            },
        };
        let mut worlds = vec![world(None, "", &[&files, &links])];
        if self.states {
            worlds.push(world(
                Some("link-down"),
                ", after a fault",
                &[&files, &links],
            ));
            worlds.push(world(Some("shutdown"), ", at the end", &[&files, &links]));
        }
        if !files.is_empty() || !links.is_empty() {
            worlds.push(world(
                None,
                ", where nothing that it looks for is there",
                &[],
            ));
        }
        if !self.services.is_empty() {
            let units = line("units", self.services.iter(), "\"active\"");
            worlds.push(world(
                None,
                ", where services run",
                &[&files, &links, &units],
            ));
        }
        if !self.programs.is_empty() {
            let commands = line("commands", self.programs.iter(), "{ status = 1 }");
            worlds.push(world(
                None,
                ", where programs fail",
                &[&files, &links, &commands],
            ));
        }
        worlds
    }

    fn files_line(&self, content: Option<&str>) -> String {
        let content = quoted(&format!("{}\n", content.unwrap_or("content")));
        line("files", self.files.iter(), &content)
    }

    fn links_line(&self) -> String {
        let list = |addresses: &Vec<String>| {
            let addresses: Vec<String> = addresses.iter().map(|a| quoted(a)).collect();
            addresses.join(", ")
        };
        let links: Vec<String> = self
            .addresses
            .iter()
            .map(|(dev, addresses)| {
                format!("{} = {{ addresses = {{ {} }} }}", key(dev), list(addresses))
            })
            .collect();
        match links.as_slice() {
            [] => String::new(),
            links => format!("links = {{ {} }}", links.join(", ")),
        }
    }

    /// What the operator fills in: what is known, else something that may stand for much.
    fn config_line(&self, settings: &Settings) -> String {
        let entries: Vec<String> = self
            .config
            .difference(&self.optional)
            .map(|name| {
                let value = settings.configured(name).unwrap_or_default();
                format!("{} = {}", key(name), quoted(&value))
            })
            .collect();
        match entries.as_slice() {
            [] => String::new(),
            entries => format!("config = {{ {} }}", entries.join(", ")),
        }
    }
}

/// What stands in a test for what the operator fills in: something that may stand for much.
fn stand_in(name: &str) -> String {
    let lower = name.to_lowercase();
    let text = match name {
        _ if lower.contains("prefix") || lower.contains("bits") => "24",
        _ if lower.contains("iface") || lower.ends_with("dev") => "eth1",
        "instance" => "VI_1",
        "group" => "VG_1",
        "priority" => "100",
        _ => "192.0.2.1",
    };
    text.to_owned()
}

/// A variable with the grants, where those that are written lack what is filled in.
fn more_grants(
    halves: &[(&'static str, &str, Half)],
    settings: &Settings,
    known: &Settings,
) -> String {
    match (table_of(halves, settings), table_of(halves, known)) {
        (written, Some(whole)) if written.as_ref() != Some(&whole) => {
            let entries = whole
                .iter()
                .map(|(name, value)| format!("  {} = {},\n", key(name), lua_of(value)));
            format!("local grants = {{\n{}}}\n\n", entries.collect::<String>())
        }
        _ => String::new(),
    }
}

/// A value of the configuration as Lua.
fn lua_of(value: &toml::Value) -> String {
    let braces = |entries: Vec<String>| match entries.as_slice() {
        [] => "{}".to_owned(),
        entries => format!("{{ {} }}", entries.join(", ")),
    };
    match value {
        toml::Value::String(text) => quoted(text),
        toml::Value::Array(values) => braces(values.iter().map(lua_of).collect()),
        toml::Value::Table(table) => {
            let entry = |(name, value): (&String, &toml::Value)| {
                format!("{} = {}", key(name), lua_of(value))
            };
            braces(table.iter().map(entry).collect())
        }
        other => other.to_string(),
    }
}

/// An option of `test.host` whose entries all have the same value.
fn line<'a>(option: &str, names: impl Iterator<Item = &'a String>, value: &str) -> String {
    let entries: Vec<String> = names
        .map(|name| format!("{} = {value}", key(name)))
        .collect();
    match entries.as_slice() {
        [] => String::new(),
        entries => format!("{option} = {{ {} }}", entries.join(", ")),
    }
}

/// The options of `test.host`.
fn options(host: &str, lines: &[&String]) -> String {
    let lines: String = lines
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| format!("    {line},\n"))
        .collect();
    match lines.as_str() {
        "" => format!("{{ {host} }}"),
        lines => format!("{{\n    {host},\n{lines}  }}"),
    }
}

impl Visit for Looks<'_> {
    fn action(&mut self, _: usize, action: &Action) {
        match action {
            Action::Write { path, .. } | Action::Touch(path) => {
                self.written.extend(self.text(path));
            }
            Action::Run(run) => _ = self.programs.insert(run.name.clone()),
            _ => {}
        }
    }

    fn expr(&mut self, _: usize, expr: &Expr) {
        match expr {
            Expr::Call("read", args) => args.iter().for_each(|path| self.reads(path)),
            Expr::Call("default", args) => {
                if let Some(Expr::Outside(name)) = args.first() {
                    self.optional.insert(name.clone());
                }
            }
            Expr::Outside(name) => _ = self.config.insert(name.clone()),
            Expr::Output(run) | Expr::Raw(run, _) => _ = self.programs.insert(run.name.clone()),
            Expr::Given(words) => self.states |= words.len() > 1,
            Expr::Content(path) => self.reads(path),
            _ => {}
        }
    }

    fn cond(&mut self, _: usize, cond: &Cond) {
        match cond {
            Cond::File(path) => self.reads(path),
            Cond::Active(unit) => self.services.extend(self.text(unit)),
            _ => {}
        }
        let Cond::HasAddress(Some(dev), address) = cond else {
            return;
        };
        let own = self
            .half
            .and_then(|(_, settings)| settings.interface.clone());
        if let (Some(dev), Some(address)) = (
            self.text(dev).filter(|dev| Some(dev) != own.as_ref()),
            self.text(address),
        ) {
            let known = self.addresses.entry(dev).or_default();
            if !known.contains(&address) {
                known.push(address);
            }
        }
    }
}

/// The virtual host's address as the script puts it up: with its prefix length, if it says one.
fn with_prefix(half: &Half, settings: &Settings, address: &str) -> String {
    struct Added<'a>(&'a Half, &'a Settings, &'a str, Option<String>);
    impl Visit for Added<'_> {
        fn action(&mut self, _: usize, action: &Action) {
            if let Action::Addr { cidr, .. } = action
                && let Some(text) = self.0.scope.constant(cidr, self.1)
                && text.split('/').next() == Some(self.2)
                && text.parse::<VirtualAddress>().is_ok()
            {
                // The widest of them lets the others pass.
                let length = |text: &str| {
                    text.split_once('/')
                        .map_or("", |(_, length)| length)
                        .parse::<u8>()
                        .ok()
                };
                if self
                    .3
                    .as_deref()
                    .is_none_or(|known| length(&text) < length(known))
                {
                    self.3 = Some(text);
                }
            }
        }
    }
    let mut added = Added(half, settings, address, None);
    walk(&half.steps, &mut added);
    // A hook may ask for its own address with the prefix length of the configuration or a longer
    // one: where the script does not say it here, that of a common network stands for it.
    let common = if address.contains(':') { 64 } else { 24 };
    added.3.unwrap_or_else(|| {
        if address.contains('/') {
            address.to_owned()
        } else {
            format!("{address}/{common}")
        }
    })
}

/// A host name that the script sets and that will be granted: what a file may say that it reads one
/// from.
fn some_hostname(half: &Half, settings: &Settings) -> Option<String> {
    struct Names<'a>(&'a Half, &'a Settings, Option<String>);
    impl Visit for Names<'_> {
        fn action(&mut self, _: usize, action: &Action) {
            if let Action::Hostname(name) = action
                && let Some(name) = self.0.scope.constant(name, self.1)
            {
                self.2.get_or_insert(name);
            }
        }
    }
    let mut names = Names(half, settings, None);
    walk(&half.steps, &mut names);
    names.2
}
