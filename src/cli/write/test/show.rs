//! The report, for people and as JSON.

use std::path::Path;

use serde_json::{Value, json};

use super::coverage::Coverage;
use crate::cli::excerpt;
use crate::testing::{CaseReport, Failure, FileReport};
use crate::types::Page;

/// For people.
pub(super) fn text(reports: &[FileReport], coverage: Option<&Coverage>) -> Page {
    let mut page = Page::default();
    for report in reports {
        writeln!(page, "{} ({})", report.path, report.hook);
        for fault in &report.faults {
            let line = fault
                .line
                .map(|line| format!(":{line}"))
                .unwrap_or_default();
            writeln!(page, "  FAILED  {}{line}:", fault.file);
            writeln!(page, "          {}", fault.message);
            place_text(
                &report.path,
                &format!("{}{line}: {}", fault.file, fault.message),
                &mut page,
            );
        }
        report
            .cases
            .iter()
            .for_each(|case| case_text(&report.path, case, &mut page));
        writeln!(page);
    }
    if let Some(coverage) = coverage {
        coverage.text(&mut page);
        writeln!(page);
    }
    let failed: usize = reports.iter().map(FileReport::failed).sum();
    let passed: usize = reports
        .iter()
        .map(|r| r.cases.iter().filter(|case| case.failure.is_none()).count())
        .sum();
    writeln!(page, "{passed} passed, {failed} failed");
    page
}

/// Shows the line that an error of the hook or its test refers to.
fn place_text(test: &str, error: &str, page: &mut Page) {
    for line in excerpt::lines(Path::new(test), error) {
        writeln!(page, "          {line}");
    }
}

fn case_text(test: &str, case: &CaseReport, page: &mut Page) {
    writeln!(
        page,
        "  {}{}",
        if case.failure.is_none() {
            "ok      "
        } else {
            "FAILED  "
        },
        case.name
    );
    if let Some(failure) = &case.failure {
        let Failure {
            file,
            line,
            message,
            ..
        } = failure;
        let place = if *line > 0 {
            format!("{file}:{line}: ")
        } else {
            String::new()
        };
        writeln!(page, "          {place}{message}");
        place_text(test, message, page);
        failure
            .more()
            .iter()
            .for_each(|line| writeln!(page, "          {line}"));
    }
    case.output
        .iter()
        .for_each(|line| writeln!(page, "          {line}"));
}

/// Stable: `passed`, `failed`, `files` with `path`, `hook`, `faults` and `cases`, each case with
/// `name`, `passed`, `ms`, `output` and `failure`; with coverage its `percent` and files.
pub(super) fn json(reports: &[FileReport], coverage: Option<&Coverage>) -> Value {
    let failed: usize = reports.iter().map(FileReport::failed).sum();
    let passed: usize = reports
        .iter()
        .map(|r| r.cases.iter().filter(|case| case.failure.is_none()).count())
        .sum();
    let files: Vec<Value> = reports.iter().map(file_json).collect();
    let mut all = json!({ "passed": passed, "failed": failed, "files": files });
    if let (Some(coverage), Value::Object(map)) = (coverage, &mut all) {
        map.insert("coverage".to_owned(), coverage.json());
    }
    all
}

fn file_json(report: &FileReport) -> Value {
    let faults: Vec<Value> = report
        .faults
        .iter()
        .map(|f| json!({ "file": f.file, "line": f.line, "message": f.message }))
        .collect();
    let cases: Vec<Value> = report.cases.iter().map(case_json).collect();
    json!({ "path": report.path, "hook": report.hook, "faults": faults, "cases": cases, "runners": report.runners })
}

fn case_json(case: &CaseReport) -> Value {
    let CaseReport {
        name,
        failure,
        output,
        took,
    } = case;
    let failure = failure.as_ref().map(|f| {
        let (expected, actual) = f.mismatch.as_ref().map(|m| (&m.expected, &m.actual)).unzip();
        let line = Some(f.line).filter(|line| *line > 0);
        let message = std::iter::once(&f.message).chain(&f.history).map(String::as_str).collect::<Vec<_>>().join("\n");
        json!({ "file": f.file, "line": line, "message": message, "expected": expected, "actual": actual })
    });
    json!({ "name": name, "passed": failure.is_none(), "ms": took.as_secs_f64() * 1e3, "output": output, "failure": failure })
}
