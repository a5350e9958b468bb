//! A plan for a person.

use std::fmt::{self, Display, Write as _};

use super::{By, Event, Part, Plan, Step, Totals, Verdict};
use crate::types::Name;

/// Columns of what is changed, so that the changes stand below each other.
const WIDTH: usize = 34;

impl Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        writeln!(f, "{} {} on {} ({})", self.vhost, becomes(self.event), self.interface, addresses.join(", "))?;
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        if self.parts.is_empty() {
            writeln!(f, "  nothing to do")?;
        }
        self.parts.iter().try_for_each(|part| f.write_str(&part_text(part)))
    }
}

impl Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { change, already, act, denied, failed } = *self;
        write!(f, "Plan: {change} to change, {already} already so")?;
        for (count, what) in [(act, "to run"), (denied, "not granted"), (failed, "would fail")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        f.write_str(".")
    }
}

/// All of these plans, and what they come to.
#[must_use]
pub fn text(plans: &[Plan]) -> String {
    let mut out: String = plans.iter().map(|plan| format!("{plan}\n")).collect();
    _ = writeln!(out, "{}", Totals::of(plans));
    out
}

const fn becomes(event: Event) -> &'static str {
    match event {
        Event::BeforeMaster => "is about to become master",
        Event::Master => "becomes master",
        Event::BeforeBackup => "is about to become backup",
        Event::Backup => "becomes backup",
        Event::PeerClaim => "hears a worse master",
        Event::Health => "is asked for its health",
        Event::Stop => "stops",
    }
}

fn part_text(part: &Part) -> String {
    let (heading, hook) = match &part.by {
        By::Daemon => ("carpd itself".to_owned(), None),
        By::Hook { name, entry } => (format!("hook {name}: {}", entry.as_str()), Some(name)),
        By::Undo => ("undone".to_owned(), None),
    };
    let mut out = format!("  {heading}\n");
    for step in &part.steps {
        out += &step_text(step, hook);
    }
    for line in &part.log {
        let fields: Vec<String> = line.fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let fields = if fields.is_empty() { String::new() } else { format!(" ({})", fields.join(", ")) };
        _ = writeln!(out, "    log: {}{fields}", line.message);
    }
    match &part.failure {
        Some(failure) => _ = writeln!(out, "    FAILS: {failure}"),
        None if part.steps.is_empty() && part.log.is_empty() => out += "    nothing to do\n",
        None => {}
    }
    out
}

fn step_text(step: &Step, hook: Option<&Name>) -> String {
    let what = step.resource.as_ref().unwrap_or(&step.effect);
    let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut out = match step.verdict {
        Verdict::Change => format!("    ~ {what:<WIDTH$} {} -> {}\n", or_none(&step.before), or_none(&step.after)),
        Verdict::Already => format!("      {what:<WIDTH$} already so: {}\n", or_none(&step.before)),
        Verdict::Act => format!("    > {what}\n"),
        Verdict::Denied => format!("    ! {what:<WIDTH$} not granted\n"),
        Verdict::Failed => format!("    ! {what:<WIDTH$} would fail: {}\n", or_none(&step.error)),
    };
    match (&step.grant, hook, step.verdict) {
        (Some(line), Some(hook), Verdict::Denied) => _ = writeln!(out, "        add under [hook.{hook}.grant]: {line}"),
        (Some(line), Some(_), _) => _ = writeln!(out, "        granted by {line}"),
        (Some(_), None, _) | (None, ..) => {}
    }
    if let Some(undo) = &step.undo {
        _ = writeln!(out, "        undone at the end of mastership: {undo}");
    }
    out
}
