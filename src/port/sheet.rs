//! The hook's test: what its straight lines ask for.

use std::collections::BTreeMap;

use super::ir::{Action, Cond, Expr, RouteVerb, Step, Visit, What, walk};
use super::{Half, Settings};
use crate::effect::RouteTarget;
use crate::types::VirtualAddress;

/// A test for `carpd test`, to begin with.
pub(super) fn print(halves: &[(&'static str, &str, Half)], settings: &Settings) -> String {
    let dev = settings.interface.as_deref().unwrap_or("eth0");
    let address = settings.address.as_deref().unwrap_or("192.0.2.22");
    let known = Settings {
        interface: Some(dev.to_owned()),
        address: Some(address.to_owned()),
        xparam: settings.xparam.clone(),
        ..settings.clone()
    };
    let mut out = format!("-- Tests {}.lua: run `carpd test`.\n", settings.name);
    let name = halves
        .iter()
        .find_map(|(_, _, half)| some_hostname(half, &known));
    for (entry, script, half) in halves {
        let role = entry.trim_start_matches("on_");
        out +=
            &format!("\ntest.case(\"on becoming {role} it does what {script} did\", function()\n");
        let xparam = settings
            .xparam
            .as_ref()
            .map(|x| format!(", xparam = {x:?}"))
            .unwrap_or_default();
        let world = Looks::of(half, &known).print(name.as_deref());
        let address = with_prefix(half, &known, address);
        let host = format!("interface = {dev:?}, addresses = {{ {address:?} }}{xparam}");
        out += &match world.as_str() {
            "" => format!("  local h = test.host({{ {host} }})\n"),
            world => format!("  local h = test.host({{\n    {host},\n{world}  }})\n"),
        };
        out += &format!("  h:become({role:?})\n");
        match plan(&half.steps, half, &known) {
            Some(lines) => {
                out += &format!(
                    "  h:expect_plan([[\n{}]])\n",
                    lines
                        .iter()
                        .map(|line| format!("{line}\n"))
                        .collect::<String>()
                );
            }
            None => {
                out += "  -- The plan depends on what it finds: write h:expect_plan([[]]) here, and `carpd test --update` fills it in.\n";
            }
        }
        out += "end)\n";
    }
    out
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

    /// Options of `test.host`, one a line.
    fn print(&self, content: Option<&str>) -> String {
        let mut out = String::new();
        if !self.files.is_empty() {
            let content = content.unwrap_or("content");
            let files: Vec<String> = self
                .files
                .iter()
                .map(|path| format!("[{path:?}] = {content:?}"))
                .collect();
            out += &format!("    files = {{ {} }},\n", files.join(", "));
        }
        if !self.addresses.is_empty() {
            let list = |addresses: &Vec<String>| {
                addresses
                    .iter()
                    .map(|a| format!("{a:?}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let links: Vec<String> = self
                .addresses
                .iter()
                .map(|(dev, addresses)| {
                    format!("[{dev:?}] = {{ addresses = {{ {} }} }}", list(addresses))
                })
                .collect();
            out += &format!("    links = {{ {} }},\n", links.join(", "));
        }
        out
    }
}

impl Visit for Looks<'_> {
    fn action(&mut self, _: usize, action: &Action) {
        match action {
            Action::Copy { from, to } => {
                self.reads(from);
                self.written.extend(self.text(to));
            }
            Action::Write { path, .. } | Action::Touch(path) => {
                self.written.extend(self.text(path));
            }
            _ => {}
        }
    }

    fn expr(&mut self, _: usize, expr: &Expr) {
        if let Expr::Call("read", args) = expr {
            for path in args {
                self.reads(path);
            }
        }
    }

    fn cond(&mut self, _: usize, cond: &Cond) {
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
            {
                self.3.get_or_insert(text);
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

/// An address as a plan shows it: with its prefix length.
fn cidr(text: &str) -> String {
    text.parse::<VirtualAddress>()
        .map_or_else(|_| text.to_owned(), |address| address.to_string())
}

/// The effects in order, if the script is one straight line of known ones.
fn plan(steps: &[Step], half: &Half, settings: &Settings) -> Option<Vec<String>> {
    let text = |value: &Expr| half.scope.constant(value, settings);
    let dev = |dev: &Option<Expr>| dev.as_ref().map_or(settings.interface.clone(), text);
    let mut lines = Vec::new();
    for step in steps {
        let action = match &step.what {
            What::Do(action) => action,
            What::Comment(_) | What::Assign(..) => continue,
            _ => return None,
        };
        lines.push(match action {
            Action::Addr { add, cidr, dev: d } => {
                format!(
                    "addr.{} {} dev {}",
                    if *add { "add" } else { "delete" },
                    self::cidr(&text(cidr)?),
                    dev(d)?
                )
            }
            Action::Announce {
                cidr,
                dev: d,
                count,
            } => {
                format!(
                    "announce {} dev {} count {count}",
                    self::cidr(&text(cidr)?),
                    dev(d)?
                )
            }
            Action::Route { verb, dst, options } => {
                let verb = if *verb == RouteVerb::Delete {
                    "delete"
                } else {
                    "replace"
                };
                let dst = text(dst)?;
                let mut line = format!(
                    "route.{verb} {}",
                    dst.parse::<RouteTarget>()
                        .map_or(dst, |dst| dst.to_string())
                );
                for (key, value) in options {
                    line += &format!(" {key} {}", text(value)?);
                }
                line
            }
            Action::LinkUp { dev, up } => format!("link.set_up {} {up}", text(dev)?),
            Action::LinkMac { dev, mac } => format!("link.set_mac {} {}", text(dev)?, text(mac)?),
            Action::Hostname(name) => format!("hostname.set {}", text(name)?),
            Action::Service { verb, unit } => format!("service.{verb} {}", text(unit)?),
            Action::Sysctl { key, value } => format!("sysctl.set {} {}", text(key)?, text(value)?),
            Action::Remove(path) => format!("file.remove {}", text(path)?),
            Action::Write {
                path,
                content,
                append: false,
            } => {
                format!(
                    "file.write {} ({} bytes)",
                    text(path)?,
                    text(content)?.len()
                )
            }
            Action::Log { .. } | Action::Sleep(_) => continue,
            Action::Rule { .. }
            | Action::Write { .. }
            | Action::Touch(_)
            | Action::Copy { .. }
            | Action::Run(_)
            | Action::Resign => {
                return None;
            }
        });
    }
    Some(lines)
}
