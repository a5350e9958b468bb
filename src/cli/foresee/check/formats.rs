//! Problems for other programs.

use std::ops::Range;
use std::path::Path;

use serde_json::{Value, json};

use super::Checked;
use crate::config::{Problem, Report, Severity};
use crate::types::{Page, shown};

/// Where a problem is.
struct Place<'a> {
    file: &'a str,
    region: Option<Region>,
}

/// Lines and columns from 1; columns count characters.
struct Region {
    line: usize,
    column: usize,
    end_line: usize,
    /// Of the character behind it.
    end_column: usize,
}

impl Region {
    fn new((line, column): (usize, usize), (end_line, end_column): (usize, usize)) -> Self {
        Self {
            line,
            column,
            end_line,
            end_column,
        }
    }
}

/// In the hook, if it is a hook's.
fn place<'a>(report: &'a Report, problem: &'a Problem) -> Place<'a> {
    if let Some(excerpt) = &problem.elsewhere {
        let position = |byte| excerpt.position(byte);
        let span = &excerpt.span;
        return Place {
            file: &excerpt.name,
            region: Some(Region::new(position(span.start), position(span.end))),
        };
    }
    let position = |byte| report.position(byte);
    let region = |span: &Range<usize>| Region::new(position(span.start), position(span.end));
    Place {
        file: &report.name,
        region: problem.span.as_ref().map(region),
    }
}

/// Stable: `file`, `good`, and for each problem `severity`, `message`, and where known `line`,
/// `column`, `hint`; and `maintenance`, for each order `vhost`, `reason`, `since_ms`, `ends_in_ms`,
/// `never`.
pub(super) fn json(checked: &Checked<'_>) -> Value {
    let report = &checked.report;
    let problems = report.problems.iter().map(|problem| {
        let place = problem
            .span
            .as_ref()
            .map(|span| report.position(span.start));
        json!({
            "severity": problem.severity.to_string(),
            "message": problem.message,
            "line": place.map(|p| p.0),
            "column": place.map(|p| p.1),
            "hint": problem.hint,
        })
    });
    let problems: Vec<_> = problems.collect();
    json!({
        "file": report.name,
        "good": checked.is_good(),
        "problems": problems,
        "maintenance": checked.maintenance,
    })
}

/// What is wrong, and what to do about it.
fn sentence(problem: &Problem) -> String {
    match &problem.hint {
        Some(hint) => format!("{}; {hint}", problem.message),
        None => problem.message.clone(),
    }
}

/// A workflow command for each problem, as GitHub documents them.
pub(super) fn github(checked: &[Checked<'_>]) -> Page {
    let mut page = Page::default();
    for Checked { report, .. } in checked {
        for problem in &report.problems {
            let place = place(report, problem);
            let mut about = format!("file={}", in_property(place.file));
            if let Some(Region {
                line,
                column,
                end_line,
                ..
            }) = place.region
            {
                about.push_str(&format!(",line={line},col={column},endLine={end_line}"));
            }
            writeln!(
                page,
                "::{} {}::{}",
                problem.severity,
                shown(about),
                shown(in_message(&sentence(problem)))
            );
        }
    }
    page
}

fn in_message(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn in_property(text: &str) -> String {
    in_message(text).replace(':', "%3A").replace(',', "%2C")
}

/// A log of one run (OASIS, Static Analysis Results Interchange Format 2.1.0).
pub(super) fn sarif(checked: &[Checked<'_>]) -> Value {
    let of_report = |report: &Report| -> Vec<Value> {
        let problems = report.problems.iter();
        problems.map(|problem| result(report, problem)).collect()
    };
    let results: Vec<_> = checked
        .iter()
        .flat_map(|checked| of_report(&checked.report))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "carpd check",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": [],
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(report: &Report, problem: &Problem) -> Value {
    let place = place(report, problem);
    let file = json!({ "uri": uri(place.file) });
    let location = match place.region {
        None => json!({ "artifactLocation": file }),
        Some(region) => json!({
            "artifactLocation": file,
            "region": {
                "startLine": region.line,
                "startColumn": region.column,
                "endLine": region.end_line,
                "endColumn": region.end_column,
            },
        }),
    };
    let level = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "level": level,
        "message": { "text": sentence(problem) },
        "locations": [{ "physicalLocation": location }],
    })
}

/// A path as a reference of RFC 3986.
fn uri(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let path = Path::new(path);
    let relative = path.strip_prefix("./").unwrap_or(path);
    let mut uri = if path.is_absolute() { "file://" } else { "" }.to_owned();
    for byte in relative.as_os_str().as_encoded_bytes() {
        match *byte {
            plain if is_plain(plain) => uri.push(char::from(plain)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_workflow_command_would_take_for_its_own_is_escaped() {
        assert_eq!(in_message("50 %\n::error::x"), "50 %25%0A::error::x");
        assert_eq!(in_property("a,line=1:b"), "a%2Cline=1%3Ab");
    }

    #[test]
    fn paths_become_references() {
        for (path, reference) in [
            ("./hosts/a/carpd.toml", "hosts/a/carpd.toml"),
            ("/etc/carpd/carpd.toml", "file:///etc/carpd/carpd.toml"),
            ("a b%#?.toml", "a%20b%25%23%3F.toml"),
        ] {
            assert_eq!(uri(path), reference);
        }
    }
}
