//! Writes to the terminal.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _, stderr, stdout};

use serde::Serialize;

use super::{Canvas, Exit, Failure};
use crate::config::{Look, Report, Severity};
use crate::telemetry;
use crate::types::{Page, plain_json, shown};

/// The width of rendered messages, in columns. It fits usual terminals, and does not depend on the
/// actual one.
pub(crate) const WIDTH: usize = 120;

/// Prints text for a person on standard output.
pub(crate) fn page(page: &Page) -> Result<Exit, Failure> {
    artefact(page.as_str().as_bytes())
}

/// Prints text for a person, some of it coloured.
pub(crate) fn canvas(canvas: &Canvas) -> Result<Exit, Failure> {
    artefact(canvas.as_str().as_bytes())
}

/// Shows it in place of what is on the terminal, in one go, so that it does not flicker.
pub(crate) fn redraw(canvas: &Canvas) -> Result<Exit, Failure> {
    let mut text = "\u{1b}[H".to_owned();
    for line in canvas.as_str().lines() {
        text += line;
        // To the end of the line: what was there before may have been longer.
        text += "\u{1b}[K\n";
    }
    text += "\u{1b}[J";
    artefact(text.as_bytes())
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

/// Writes output that this program made for other programs to standard output: never text from
/// hooks, plugins, registries, packets or files (`tests/it/words.rs` lists which files may use it).
/// A reader that stops reading (`| head`) is not a failure.
pub(crate) fn artefact(text: &[u8]) -> Result<Exit, Failure> {
    put(text).map(|_| Exit::Success)
}

/// Prints a page that is one of many. Returns whether somebody still reads.
pub(crate) fn next_page(page: &Page) -> Result<bool, Failure> {
    put(page.as_str().as_bytes())
}

/// Prints JSON on one line, as one of many. Returns whether somebody still reads.
pub(crate) fn next_json(value: &impl Serialize) -> Result<bool, Failure> {
    let json = serde_json::to_string(value)
        .map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    put(format!("{}\n", plain_json(&json)).as_bytes())
}

fn put(text: &[u8]) -> Result<bool, Failure> {
    let mut out = stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(
            Exit::Failure,
            format!("cannot write to standard output: {error}"),
        )),
    }
}

/// Prints a line on standard error, apart from the data. A failure to write it is ignored.
pub(crate) fn note(line: impl Display) {
    let mut page = Page::default();
    writeln!(page, "{line}");
    notes(&page);
}

/// The same, with several lines.
pub(crate) fn notes(page: &Page) {
    let _ = stderr().lock().write_all(page.as_str().as_bytes());
}

/// Asks the user at the terminal, who answers on the same line.
pub(crate) fn question(words: &'static str) {
    let _ = stderr().lock().write_all(words.as_bytes());
}

/// Shows progress, overwriting what was shown last.
pub(crate) fn progress(line: impl Display) {
    let _ = stderr()
        .lock()
        .write_all(format!("\r{} ", shown(line)).as_bytes());
}

/// Ends the line of [`progress`].
pub(crate) fn progress_ended() {
    let _ = stderr().lock().write_all(b"\n");
}

/// Shows the problems of a configuration on standard error. A failure to write is ignored.
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

/// Reports on standard error why a command failed.
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

/// Prints clap's message. `--help` and `--version` arrive here too, and are not errors. Neither is
/// a reader that has gone away.
pub(crate) fn usage(error: &clap::Error) -> Exit {
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Success
    }
}

/// A summary such as `carpd.toml cannot be used: 2 errors, 1 warning`. Empty for a single problem,
/// which needs no summary.
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

/// A count such as `2 errors`.
pub(crate) fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
