//! Writing to the terminal.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _, stderr, stdout};

use serde::Serialize;

use super::{Exit, Failure};
use crate::config::{Look, Report, Severity};
use crate::telemetry;
use crate::types::{Page, plain_json, shown};

/// Columns of rendered messages: what fits a terminal of usual width, and does not depend on it.
pub(crate) const WIDTH: usize = 120;

/// Prints text for a person on standard output.
pub(crate) fn page(page: &Page) -> Result<Exit, Failure> {
    artefact(page.as_str().as_bytes())
}

/// Prints one line for a person on standard output.
pub(crate) fn line(words: impl Display) -> Result<Exit, Failure> {
    let mut text = Page::default();
    writeln!(text, "{words}");
    page(&text)
}

/// Prints JSON on one line.
pub(crate) fn json(value: &impl Serialize) -> Result<Exit, Failure> {
    print_json(serde_json::to_string(value))
}

/// Prints JSON over several lines.
pub(crate) fn pretty_json(value: &impl Serialize) -> Result<Exit, Failure> {
    print_json(serde_json::to_string_pretty(value))
}

fn print_json(json: serde_json::Result<String>) -> Result<Exit, Failure> {
    let json = json.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    artefact(format!("{}\n", plain_json(&json)).as_bytes())
}

/// Writes what this program made for other programs to standard output: never words of hooks,
/// plugins, registries, packets or files (`tests/it/words.rs` knows who may). A reader that has
/// seen enough (`| head`) is no failure.
pub(crate) fn artefact(text: &[u8]) -> Result<Exit, Failure> {
    let mut out = stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Failure,
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(Exit::Success),
    }
}

/// Says a line beside the data, on standard error. Nothing is left to do if that cannot be written
/// to.
pub(crate) fn note(line: impl Display) {
    let mut page = Page::default();
    writeln!(page, "{line}");
    notes(&page);
}

/// The same, with several lines.
pub(crate) fn notes(page: &Page) {
    let _ = stderr().lock().write_all(page.as_str().as_bytes());
}

/// Asks whoever sits at the terminal; the answer is theirs to give on the same line.
pub(crate) fn question(words: &'static str) {
    let _ = stderr().lock().write_all(words.as_bytes());
}

/// Shows how far something is, over what was shown last.
pub(crate) fn progress(line: impl Display) {
    let _ = stderr()
        .lock()
        .write_all(format!("\r{} ", shown(line)).as_bytes());
}

/// Ends the line of [`progress`].
pub(crate) fn progress_ended() {
    let _ = stderr().lock().write_all(b"\n");
}

/// Shows what is wrong with a configuration on standard error. Nothing is left to do if that cannot
/// be written to.
pub(crate) fn problems(report: &Report) {
    let look = Look {
        colour: telemetry::colour(&stderr()),
        width: WIDTH,
    };
    let mut text = report.render(look);
    if report.problems.len() > 1 {
        text += "\n";
    }
    let _ = stderr().lock().write_all(text.as_bytes());
}

/// Says on standard error why a command failed.
#[must_use]
pub fn report(failure: &Failure) -> Exit {
    let mut page = Page::default();
    if !failure.message.is_empty() {
        writeln!(page, "error: {}", failure.message);
    }
    for detail in &failure.details {
        writeln!(page, "  {detail}");
    }
    if let Some(hint) = &failure.hint {
        writeln!(page, "hint: {hint}");
    }
    notes(&page);
    failure.exit
}

/// Says what clap has to say. `--help` and `--version` come here too: they are no errors. A reader
/// that went away is none either.
pub(crate) fn usage(error: &clap::Error) -> Exit {
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Success
    }
}

/// As in `carpd.toml cannot be used: 2 errors, 1 warning`. Empty for a single problem, which says
/// it all.
pub(crate) fn counts(report: &Report) -> String {
    let errors = count(report.count(Severity::Error), "error");
    let text = match report.count(Severity::Warning) {
        0 if report.problems.len() == 1 => return String::new(),
        0 => format!("{} cannot be used: {errors}", report.name),
        n => format!(
            "{} cannot be used: {errors}, {}",
            report.name,
            count(n, "warning")
        ),
    };
    if report.omitted == 0 {
        text
    } else {
        format!("{text}, and {} more", report.omitted)
    }
}

/// As in `2 errors`.
pub(crate) fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
