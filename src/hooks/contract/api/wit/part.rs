//! A part of the contract: for toolchains that import the whole of their world, called or not.

use std::fmt::Write as _;

use super::text::{CONFIG, entry_point, group, package, types};
use super::{kebab, snake};
use crate::hooks::EntryPoint;
use crate::hooks::contract::api::{FUNCTIONS, Function, groups, nearest};

/// The function that every hook may call and that is in no list: its answer is known when the hook
/// is loaded.
const CONFIG_GET: &str = "config.get";

/// What one hook needs of the contract.
#[derive(Debug, Clone, Default)]
pub struct Part {
    functions: Vec<&'static Function>,
    config: bool,
    entries: Vec<EntryPoint>,
}

impl Part {
    /// With these functions (`service.start`), whole groups of them (`service`) and entry points
    /// (`on_master`).
    ///
    /// # Errors
    /// A name that means nothing, with what it may have meant; or no entry point among them.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut part = Self::default();
        for name in names {
            part.add(&snake(name.trim()))?;
        }
        if part.entries.is_empty() {
            return Err(format!(
                "a hook needs at least one entry point: {}",
                entry_points().collect::<Vec<_>>().join(", ")
            ));
        }
        Ok(part)
    }

    fn add(&mut self, name: &str) -> Result<(), String> {
        let meant = |function: &&Function| function.group == name || function.full_name() == name;
        let before = (self.functions.len(), self.config, self.entries.len());
        self.functions.extend(FUNCTIONS.iter().filter(meant));
        self.config |= name == CONFIG_GET || name == "config";
        self.entries.extend(
            EntryPoint::ALL
                .iter()
                .filter(|entry| entry.as_str() == name),
        );
        if before != (self.functions.len(), self.config, self.entries.len())
            || name == CONFIG_GET
            || name == "config"
        {
            return Ok(());
        }
        let others = groups()
            .chain(entry_points())
            .chain([CONFIG_GET])
            .map(str::to_owned);
        let known: Vec<String> = FUNCTIONS
            .iter()
            .map(Function::full_name)
            .chain(others)
            .collect();
        let hint = nearest(name, known.iter().map(String::as_str))
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        Err(format!(
            "{name:?} is neither a function nor an entry point{hint}"
        ))
    }

    /// A package of the contract's name and version with one world, `hook`, and nothing in it that
    /// was not asked for.
    #[must_use]
    pub fn wit(&self) -> String {
        let mut out = package();
        types(&mut out);
        let wanted = |function: &Function| {
            self.functions
                .iter()
                .any(|have| (have.group, have.name) == (function.group, function.name))
        };
        let mut world = String::new();
        for name in groups().filter(|name| {
            self.functions
                .iter()
                .any(|function| function.group == *name)
        }) {
            group(&mut out, name, &wanted);
            let _ = writeln!(world, "  import {};", kebab(name));
        }
        if self.config {
            out += CONFIG;
            world += "  import config;\n";
        }
        for entry in EntryPoint::ALL
            .into_iter()
            .filter(|entry| self.entries.contains(entry))
        {
            entry_point(&mut out, entry);
            let _ = writeln!(world, "  export {};", kebab(entry.as_str()));
        }
        out + "\n/// All that this hook can ever do.\nworld hook {\n" + &world + "}\n"
    }
}

fn entry_points() -> impl Iterator<Item = &'static str> {
    EntryPoint::ALL.into_iter().map(EntryPoint::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_nothing_says_what_it_may_mean() {
        let why = |names: &[&str]| Part::of(names.iter().copied()).unwrap_err();
        assert_eq!(
            why(&["service.strat", "on_master"]),
            "\"service.strat\" is neither a function nor an entry point; did you mean service.start?"
        );
        assert_eq!(
            why(&["on_mastr"]),
            "\"on_mastr\" is neither a function nor an entry point; did you mean on_master?"
        );
        assert!(why(&["wasi:cli"]).ends_with("nor an entry point"));
        assert!(
            why(&["service.start", "config"])
                .starts_with("a hook needs at least one entry point: before_master, on_master")
        );
    }

    #[test]
    fn names_may_be_as_in_lua_or_as_in_wit_and_repeated() {
        let wit = |names: &[&str]| Part::of(names.iter().copied()).unwrap().wit();
        let one = wit(&["link.set_up", "log.info", "config.get", "on_master"]);
        assert_eq!(
            wit(&[
                "config",
                "on-master",
                "on_master",
                " log.info",
                "link.set-up",
                "log.info",
                "config"
            ]),
            one
        );
    }
}
