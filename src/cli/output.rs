//! Writing to the terminal.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _, stderr, stdout};

use serde::Serialize;

use super::{Exit, Failure};
use crate::config::{Look, Report};
use crate::telemetry;
use crate::types::{Page, plain_json, shown};

/// Columns of rendered messages: what fits a terminal of usual width, and does not depend on it.
pub(super) const WIDTH: usize = 120;

/// Prints text for a person on standard output.
pub(super) fn page(page: &Page) -> Result<Exit, Failure> {
    artefact(page.as_str().as_bytes())
}

/// Prints one line for a person on standard output.
pub(super) fn line(words: impl Display) -> Result<Exit, Failure> {
    let mut text = Page::default();
    writeln!(text, "{words}");
    page(&text)
}

/// Prints JSON on one line.
pub(super) fn json(value: &impl Serialize) -> Result<Exit, Failure> {
    print_json(serde_json::to_string(value))
}

/// Prints JSON over several lines.
pub(super) fn pretty_json(value: &impl Serialize) -> Result<Exit, Failure> {
    print_json(serde_json::to_string_pretty(value))
}

fn print_json(json: serde_json::Result<String>) -> Result<Exit, Failure> {
    let json = json.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    artefact(format!("{}\n", plain_json(&json)).as_bytes())
}

/// Writes what this program made for other programs to standard output: never words of hooks,
/// plugins, registries, packets or files (`tests/it/words.rs` knows who may). A reader that has
/// seen enough (`| head`) is no failure.
pub(super) fn artefact(text: &[u8]) -> Result<Exit, Failure> {
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
pub(super) fn note(line: impl Display) {
    let mut page = Page::default();
    writeln!(page, "{line}");
    notes(&page);
}

/// The same, with several lines.
pub(super) fn notes(page: &Page) {
    let _ = stderr().lock().write_all(page.as_str().as_bytes());
}

/// Asks whoever sits at the terminal; the answer is theirs to give on the same line.
pub(super) fn question(words: &'static str) {
    let _ = stderr().lock().write_all(words.as_bytes());
}

/// Shows how far something is, over what was shown last.
pub(super) fn progress(line: impl Display) {
    let _ = stderr()
        .lock()
        .write_all(format!("\r{} ", shown(line)).as_bytes());
}

/// Ends the line of [`progress`].
pub(super) fn progress_ended() {
    let _ = stderr().lock().write_all(b"\n");
}

/// Shows what is wrong with a configuration on standard error. Nothing is left to do if that cannot
/// be written to.
pub(super) fn problems(report: &Report) {
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
pub(super) fn report(failure: &Failure) -> Exit {
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
