//! The report, for people and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::coverage::Coverage;
use crate::testing::{CaseReport, Failure, FileReport};

/// What stands in a test was written by a stranger: nothing that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

/// For people.
pub(super) fn text(reports: &[FileReport], coverage: Option<&Coverage>) -> String {
    let mut out = String::new();
    for report in reports {
        _ = writeln!(out, "{} ({})", plain(&report.path), plain(&report.hook));
        for fault in &report.faults {
            let line = fault.line.map(|line| format!(":{line}")).unwrap_or_default();
            _ = write!(out, "  FAILED  {}{line}:\n{}", plain(&fault.file), indented(&plain(&fault.message), 10));
        }
        report.cases.iter().for_each(|case| out += &case_text(case));
        out.push('\n');
    }
    if let Some(coverage) = coverage {
        out += &coverage.text();
        out.push('\n');
    }
    let failed: usize = reports.iter().map(FileReport::failed).sum();
    let passed: usize = reports.iter().map(|r| r.cases.iter().filter(|case| case.failure.is_none()).count()).sum();
    _ = writeln!(out, "{passed} passed, {failed} failed");
    out
}

fn case_text(case: &CaseReport) -> String {
    let name = plain(&case.name);
    let mut out = match &case.failure {
        None => format!("  ok      {name}\n"),
        Some(failure) => format!("  FAILED  {name}\n{}", failure_text(failure)),
    };
    for line in &case.output {
        _ = write!(out, "{}", indented(&plain(line), 10));
    }
    out
}

fn failure_text(failure: &Failure) -> String {
    let Failure { file, line, message, mismatch } = failure;
    let place = if *line > 0 { format!("{file}:{line}: ") } else { String::new() };
    let mut out = indented(&plain(&format!("{place}{message}")), 10);
    if let Some(mismatch) = mismatch {
        out += &indented(&plain(&mismatch.side_by_side()), 12);
    }
    out
}

/// Stable: `passed`, `failed`, `files` with `path`, `hook`, `faults` and `cases`, each case with `name`, `passed`, `ms`,
/// `output` and `failure`; with coverage its `percent` and files.
pub(super) fn json(reports: &[FileReport], coverage: Option<&Coverage>) -> String {
    let failed: usize = reports.iter().map(FileReport::failed).sum();
    let passed: usize = reports.iter().map(|r| r.cases.iter().filter(|case| case.failure.is_none()).count()).sum();
    let files: Vec<Value> = reports.iter().map(file_json).collect();
    let mut all = json!({ "passed": passed, "failed": failed, "files": files });
    if let (Some(coverage), Value::Object(map)) = (coverage, &mut all) {
        map.insert("coverage".to_owned(), coverage.json());
    }
    format!("{all}\n")
}

fn file_json(report: &FileReport) -> Value {
    let faults: Vec<Value> =
        report.faults.iter().map(|f| json!({ "file": f.file, "line": f.line, "message": f.message })).collect();
    let cases: Vec<Value> = report.cases.iter().map(case_json).collect();
    json!({ "path": report.path, "hook": report.hook, "faults": faults, "cases": cases, "runners": report.runners })
}

fn case_json(case: &CaseReport) -> Value {
    let CaseReport { name, failure, output, took } = case;
    let failure = failure.as_ref().map(|f| {
        let (expected, actual) = f.mismatch.as_ref().map(|m| (&m.expected, &m.actual)).unzip();
        let line = Some(f.line).filter(|line| *line > 0);
        json!({ "file": f.file, "line": line, "message": f.message, "expected": expected, "actual": actual })
    });
    json!({ "name": name, "passed": failure.is_none(), "ms": took.as_secs_f64() * 1e3, "output": output, "failure": failure })
}
