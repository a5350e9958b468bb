//! Errors of hooks, shown in the hook's file.

use std::fs;
use std::path::Path;

use crate::config::{Excerpt, Problem, Report};
use crate::hooks::source::MAX_FILE;

/// The line that an error of a hook is about: `failover.lua:3: text`, or a module's path below the hook's directory in
/// place of the hook's own name.
pub(super) fn of(hook: &Path, message: &str) -> Option<Excerpt> {
    let (file, rest) = message.split_once(':')?;
    let line = rest.split_once(':')?.0.parse().ok()?;
    let path = hook.with_file_name(file);
    let meta = fs::metadata(&path).ok().filter(|meta| meta.is_file() && meta.len() <= MAX_FILE)?;
    let text = if meta.len() > 0 { fs::read_to_string(&path).ok()? } else { return None };
    Excerpt::line(&path.display().to_string(), text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text), line)
}

/// A report of one error of a hook; `None` if it is about no line of it.
pub(super) fn report(hook: &Path, message: &str) -> Option<Report> {
    let problem = Problem { elsewhere: Some(of(hook, message)?), ..Problem::error(None, message) };
    Some(Report::about(problem))
}
