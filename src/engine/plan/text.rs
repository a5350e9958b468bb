//! A plan for a person.

use std::fmt::{self, Display};

use super::{By, Event, Part, Plan, Step, Totals, Verdict};
use crate::types::{Name, Page, shown};

/// The width of the column with what is changed, so that the changes are aligned.
const WIDTH: usize = 34;

impl Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            change,
            already,
            act,
            denied,
            failed,
        } = *self;
        write!(f, "Plan: {change} to change, {already} already in place")?;
        for (count, what) in [
            (act, "to run"),
            (denied, "not granted"),
            (failed, "would fail"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        f.write_str(".")
    }
}

/// All of these plans, and a summary.
#[must_use]
pub fn text(plans: &[Plan]) -> Page {
    let mut page = Page::default();
    for plan in plans {
        plan_text(plan, &mut page);
        writeln!(page);
    }
    writeln!(page, "{}", Totals::of(plans));
    page
}

fn plan_text(plan: &Plan, page: &mut Page) {
    let addresses: Vec<String> = plan.addresses.iter().map(ToString::to_string).collect();
    writeln!(
        page,
        "{} {} on {} ({})",
        plan.vhost,
        becomes(plan.event),
        plan.interface,
        addresses.join(", ")
    );
    for note in &plan.notes {
        writeln!(page, "  note: {note}");
    }
    if plan.parts.is_empty() {
        writeln!(page, "  nothing to do");
    }
    plan.parts.iter().for_each(|part| part_text(part, page));
}

const fn becomes(event: Event) -> &'static str {
    match event {
        Event::BeforeMaster => "is about to become master",
        Event::Master => "becomes master",
        Event::BeforeBackup => "is about to become backup",
        Event::Backup => "becomes backup",
        Event::PeerClaim => "hears a worse master",
        Event::Health => "has its health checked",
        Event::Stop => "stops",
    }
}

fn part_text(part: &Part, page: &mut Page) {
    let hook = match &part.by {
        By::Daemon => {
            writeln!(page, "  carpd itself");
            None
        }
        By::Hook { name, entry } => {
            writeln!(page, "  hook {name}: {}", entry.as_str());
            Some(name)
        }
        By::Undo => {
            writeln!(page, "  undone");
            None
        }
    };
    part.steps
        .iter()
        .for_each(|step| step_text(step, hook, page));
    for line in &part.log {
        let fields: Vec<String> = line
            .fields
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let fields = if fields.is_empty() {
            String::new()
        } else {
            format!(" ({})", fields.join(", "))
        };
        writeln!(page, "    log: {}{fields}", line.message);
    }
    match &part.failure {
        Some(failure) => writeln!(page, "    FAILS: {failure}"),
        None if part.steps.is_empty() && part.log.is_empty() => writeln!(page, "    nothing to do"),
        None => {}
    }
}

fn step_text(step: &Step, hook: Option<&Name>, page: &mut Page) {
    // Cut one by one: no long value hides what comes of it behind the end of the line.
    let words = |text: &Option<String>| text.as_ref().map(shown).unwrap_or_default();
    let what = shown(step.resource.as_ref().unwrap_or(&step.effect));
    match step.verdict {
        Verdict::Change => writeln!(
            page,
            "    ~ {what:<WIDTH$} {} -> {}",
            words(&step.before),
            words(&step.after)
        ),
        Verdict::Already => writeln!(
            page,
            "      {what:<WIDTH$} already in place: {}",
            words(&step.before)
        ),
        Verdict::Act => writeln!(page, "    > {what}"),
        Verdict::Denied => writeln!(page, "    ! {what:<WIDTH$} not granted"),
        Verdict::Failed => writeln!(
            page,
            "    ! {what:<WIDTH$} would fail: {}",
            words(&step.error)
        ),
    }
    match (&step.grant, hook, step.verdict) {
        (Some(line), Some(hook), Verdict::Denied) => {
            writeln!(page, "        add under [hook.{hook}.grant]: {line}");
        }
        (Some(line), Some(_), _) => writeln!(page, "        granted by {line}"),
        (Some(_), None, _) | (None, ..) => {}
    }
    if let Some(undo) = &step.undo {
        writeln!(page, "        undone at the end of mastership: {undo}");
    }
}
