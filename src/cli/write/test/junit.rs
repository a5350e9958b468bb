//! The report in JUnit XML format, which Jenkins, GitLab and others read.

use std::fmt::Write as _;

use crate::cli::xml::escaped;
use crate::testing::{CaseReport, FileReport};

/// One `testsuite` for each test file and hook.
pub(super) fn report(reports: &[FileReport]) -> String {
    let tests = |report: &FileReport| report.cases.len() + report.faults.len();
    let total: usize = reports.iter().map(tests).sum();
    let failed: usize = reports.iter().map(FileReport::failed).sum();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    _ = writeln!(
        out,
        "<testsuites name=\"carpd test\" tests=\"{total}\" failures=\"{failed}\">"
    );
    for report in reports {
        let time: f64 = report
            .cases
            .iter()
            .map(|case| case.took.as_secs_f64())
            .sum();
        _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" time=\"{time:.6}\">",
            escaped(&report.hook),
            tests(report),
            report.failed()
        );
        for fault in &report.faults {
            let message = escaped(fault);
            _ = writeln!(
                out,
                "    <testcase name=\"(the test file)\" classname=\"{}\"><failure message=\"{message}\"/></testcase>",
                escaped(&report.path)
            );
        }
        report
            .cases
            .iter()
            .for_each(|case| out += &case_xml(report, case));
        out += "  </testsuite>\n";
    }
    out + "</testsuites>\n"
}

fn case_xml(report: &FileReport, case: &CaseReport) -> String {
    let CaseReport {
        name,
        failure,
        output,
        took,
    } = case;
    let mut out = format!(
        "    <testcase name=\"{}\" classname=\"{}\" time=\"{:.6}\">",
        escaped(name),
        escaped(&report.path),
        took.as_secs_f64()
    );
    if let Some(failure) = failure {
        let place = format!("{}:{}: {}", failure.file, failure.line, failure.message);
        let lines = std::iter::once(place).chain(failure.more());
        let text: Vec<String> = lines.map(escaped).collect();
        _ = write!(
            out,
            "<failure message=\"{}\">{}</failure>",
            escaped(&failure.message),
            text.join("&#10;")
        );
    }
    if !output.is_empty() {
        _ = write!(
            out,
            "<system-out>{}</system-out>",
            output.iter().map(escaped).collect::<Vec<_>>().join("&#10;")
        );
    }
    out + "</testcase>\n"
}
