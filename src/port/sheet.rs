//! The hook's test: what its straight lines ask for.

use super::ir::{Action, Expr, RouteVerb, Step, What};
use super::{Half, Settings};

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
    for (entry, script, half) in halves {
        let role = entry.trim_start_matches("on_");
        out += &format!("\ntest.case(\"on becoming {role} it does what {script} did\", function()\n");
        let xparam = settings.xparam.as_ref().map(|x| format!(", xparam = {x:?}")).unwrap_or_default();
        out += &format!("  local h = test.host({{ interface = {dev:?}, addresses = {{ {address:?} }}{xparam} }})\n");
        out += &format!("  h:become({role:?})\n");
        match plan(&half.steps, half, &known) {
            Some(lines) => {
                out += &format!("  h:expect_plan([[\n{}]])\n", lines.iter().map(|line| format!("{line}\n")).collect::<String>());
            }
            None => out += "  -- The plan depends on what it finds: write down what you expect, with h:expect_plan.\n",
        }
        out += "end)\n";
    }
    out
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
                format!("addr.{} {} dev {}", if *add { "add" } else { "delete" }, text(cidr)?, dev(d)?)
            }
            Action::Announce { cidr, dev: d, count } => format!("announce {} dev {} count {count}", text(cidr)?, dev(d)?),
            Action::Route { verb, dst, options } => {
                let verb = if *verb == RouteVerb::Delete { "delete" } else { "replace" };
                let mut line = format!("route.{verb} {}", text(dst)?);
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
            Action::Write { path, content, append: false } => {
                format!("file.write {} ({} bytes)", text(path)?, text(content)?.len())
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
