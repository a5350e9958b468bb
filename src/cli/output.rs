//! Writing to the terminal.

use std::io::{ErrorKind, Write as _, stderr, stdout};

use super::{Exit, Failure};
use crate::config::{Look, Report};
use crate::telemetry;

/// Columns of rendered messages: what fits a terminal of usual width, and does not depend on it.
const WIDTH: usize = 120;

/// Writes data to standard output. A reader that has seen enough (`| head`) is no failure.
pub(super) fn data(text: &[u8]) -> Result<Exit, Failure> {
    let mut out = stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failure, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(Exit::Success),
    }
}

/// Says something beside the data, on standard error. Nothing is left to do if that cannot be written to.
pub(super) fn note(text: &str) {
    let _ = stderr().lock().write_all(text.as_bytes());
}

/// Shows what is wrong with a configuration on standard error. Nothing is left to do if that cannot be written to.
pub(super) fn problems(report: &Report) {
    let look = Look { colour: telemetry::colour(&stderr()), width: WIDTH };
    let mut text = report.render(look);
    if report.problems.len() > 1 {
        text += "\n";
    }
    let _ = stderr().lock().write_all(text.as_bytes());
}

/// Says on standard error why a command failed.
pub(super) fn report(failure: &Failure) -> Exit {
    let mut text = String::new();
    if !failure.message.is_empty() {
        text += &format!("error: {}\n", failure.message);
    }
    if let Some(hint) = &failure.hint {
        text += &format!("hint: {hint}\n");
    }
    let _ = stderr().lock().write_all(text.as_bytes());
    failure.exit
}
