//! Shows errors of hooks at their place in the hook's file.

use std::fs;
use std::path::{Component, Path};

use super::output;
use crate::config::{Excerpt, Hook, Look, Problem, Report};
use crate::hooks::LoadError;
use crate::hooks::artifact::source::MAX_FILE;

/// The line that an error of a hook refers to: `failover.lua:3: text`, or a module's path below the
/// hook's directory in place of the hook's own name. Other text may come before it.
pub(super) fn of(hook: &Path, message: &str) -> Option<Excerpt> {
    message.split(": ").find_map(|words| of_place(hook, words))
}

fn of_place(hook: &Path, words: &str) -> Option<Excerpt> {
    let (file, line) = words.rsplit_once(':')?;
    // The hook controls the text of its errors, so they must not make us show other files.
    let is_below = Path::new(file)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !is_below
        || ![".lua", ".luau"]
            .iter()
            .any(|ending| file.ends_with(ending))
    {
        return None;
    }
    let path = hook.with_file_name(file);
    let meta = fs::metadata(&path)
        .ok()
        .filter(|meta| meta.is_file() && meta.len() <= MAX_FILE)?;
    let text = if meta.len() > 0 {
        fs::read_to_string(&path).ok()?
    } else {
        return None;
    };
    let text = text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text);
    Excerpt::line(&path.display().to_string(), text, line.parse().ok()?)
}

/// A report of one error of a hook; `None` if it does not refer to a line of it.
fn report(hook: &Path, message: &str) -> Option<Report> {
    let problem = Problem {
        elsewhere: Some(of(hook, message)?),
        ..Problem::error(None, message)
    };
    Some(Report::about(problem))
}

/// Shows on standard error where a hook failed to load. False if the error does not refer to a
/// line.
pub(super) fn show(hook: Option<&Hook>, error: &LoadError) -> bool {
    let LoadError::Code(message) = error else {
        return false;
    };
    let report = hook.and_then(|hook| report(&hook.path, message));
    report.inspect(output::problems).is_some()
}

/// Only the excerpt, for a page that already contains the message.
pub(super) fn lines(hook: &Path, message: &str) -> Vec<String> {
    let text = report(hook, message).map(|report| {
        report.render(Look {
            colour: false,
            width: output::WIDTH,
        })
    });
    // The output begins with the message again, broken into lines if it is long.
    let excerpt = text
        .iter()
        .flat_map(|text| text.lines())
        .skip_while(|line| !line.trim_start().starts_with("--> "));
    excerpt.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_hooks_own_files_alone() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("hooks/lib")).unwrap();
        fs::write(at("hooks/h.lua"), "one\n  two\n").unwrap();
        fs::write(at("hooks/lib/m.luau"), "three\n").unwrap();
        fs::write(at("secret.lua"), "secret\n").unwrap();
        let of = |message: &str| {
            of(&at("hooks/h.lua"), message).map(|found| found.text[found.span].to_owned())
        };
        assert_eq!(of("h.lua:2: bad: x").as_deref(), Some("two"));
        assert_eq!(
            of("on_master failed: lib/m.luau:1: h.lua:1: x").as_deref(),
            Some("three")
        );
        let secret = format!("{}:1: x", at("secret.lua").display());
        for message in [
            "h.lua:3: x",
            "h.lua: x",
            "../secret.lua:1: x",
            &secret,
            "h.wasm:1: x",
            "bad",
        ] {
            assert_eq!(of(message), None, "{message}");
        }
    }
}
