//! The report as JUnit XML, as Jenkins, GitLab and others read it.

use std::fmt::Write as _;

use crate::testing::{CaseReport, FileReport};

/// One `testsuite` for each test file and hook.
pub(super) fn report(reports: &[FileReport]) -> String {
    let tests = |report: &FileReport| report.cases.len() + report.faults.len();
    let total: usize = reports.iter().map(tests).sum();
    let failed: usize = reports.iter().map(FileReport::failed).sum();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    _ = writeln!(out, "<testsuites name=\"carpd test\" tests=\"{total}\" failures=\"{failed}\">");
    for report in reports {
        let time: f64 = report.cases.iter().map(|case| case.took.as_secs_f64()).sum();
        _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" time=\"{time:.6}\">",
            escaped(&report.hook),
            tests(report),
            report.failed()
        );
        for fault in &report.faults {
            let message = escaped(&fault.to_string());
            _ = writeln!(
                out,
                "    <testcase name=\"(the test file)\" classname=\"{}\"><failure message=\"{message}\"/></testcase>",
                escaped(&report.path)
            );
        }
        report.cases.iter().for_each(|case| out += &case_xml(report, case));
        out += "  </testsuite>\n";
    }
    out + "</testsuites>\n"
}

fn case_xml(report: &FileReport, case: &CaseReport) -> String {
    let CaseReport { name, failure, output, took } = case;
    let mut out = format!(
        "    <testcase name=\"{}\" classname=\"{}\" time=\"{:.6}\">",
        escaped(name),
        escaped(&report.path),
        took.as_secs_f64()
    );
    if let Some(failure) = failure {
        let first = failure.message.lines().next().unwrap_or_default();
        let diff = failure.mismatch.as_ref().map(|m| format!("\n{}", m.side_by_side())).unwrap_or_default();
        let text = format!("{}:{}: {}{diff}", failure.file, failure.line, failure.message);
        _ = write!(out, "<failure message=\"{}\">{}</failure>", escaped(first), escaped(&text));
    }
    if !output.is_empty() {
        _ = write!(out, "<system-out>{}</system-out>", escaped(&output.join("\n")));
    }
    out + "</testcase>\n"
}

/// Text for XML: what XML 1.0 cannot hold at all becomes a replacement character.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out += "&#10;",
            '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
