//! The results of test files, case by case.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::effect::{Effect, Query};
use crate::engine::hook_test::{Fault, Verdict};
use crate::types::shown;

/// The result of one test file.
#[derive(Debug, Clone, Default)]
pub struct FileReport {
    /// The test file.
    pub path: String,
    /// The hook's file.
    pub hook: String,
    /// Its cases, in order; those that were not chosen are left out.
    pub cases: Vec<CaseReport>,
    /// Problems that are not caused by any case.
    pub faults: Vec<Fault>,
    /// How often each line of the hook's files ran, by file; empty unless this was requested.
    pub coverage: BTreeMap<String, BTreeMap<u32, u32>>,
    /// Entry points and functions of the host that were called.
    pub called: BTreeSet<String>,
    /// The entry points that the hook defines.
    pub entry_points: Vec<&'static str>,
    /// What the grants given for the test did not allow, except for what a case denies with grants
    /// of its own.
    pub refused: Vec<Refused>,
    /// How many runners of the hook were started.
    pub runners: u32,
}

/// Something that a hook requested and was not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// A change.
    Effect(Effect),
    /// A query.
    Query(Query),
}

/// The result of one case.
#[derive(Debug, Clone)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// What went wrong, if anything.
    pub failure: Option<Failure>,
    /// What it printed.
    pub output: Vec<String>,
    /// How long it took, in real time.
    pub took: Duration,
}

/// What went wrong in a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The test file, or a module of it, where it occurred.
    pub file: String,
    /// The line, counted from 1; 0 if unknown.
    pub line: u32,
    /// What went wrong, in a sentence.
    pub message: String,
    /// The steps that led to it, one per line, if a test generated them.
    pub history: Vec<String>,
    /// The two plans that should be equal.
    pub mismatch: Option<Mismatch>,
}

/// Two lists of lines that should be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The function that compared: `expect_plan`, `expect_undone`.
    pub function: &'static str,
    /// What the test expects.
    pub expected: Vec<String>,
    /// The actual lines.
    pub actual: Vec<String>,
}

/// A plan in a test file that is to be replaced by the actual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The file that contains it.
    pub file: String,
    /// The line of the call.
    pub line: u32,
    /// The new plan.
    pub mismatch: Mismatch,
}

impl FileReport {
    /// The number of cases that failed, and of faults.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.faults.len()
            + self
                .cases
                .iter()
                .filter(|case| case.failure.is_some())
                .count()
    }

    /// A summary.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let failed = |case: &CaseReport| {
            let Failure {
                file,
                line,
                message,
                history,
                mismatch,
            } = case.failure.clone()?;
            let history: String = history
                .iter()
                .map(|step| format!("; {}", step.trim()))
                .collect();
            let list = |lines: &[String]| lines.join(", ");
            let diff = mismatch.map(|m| {
                format!(
                    " (expected: {}; actual: {})",
                    list(&m.expected),
                    list(&m.actual)
                )
            });
            Some(Fault {
                file,
                line: Some(line).filter(|line| *line > 0),
                case: Some(case.name.clone()),
                message: message + &history + &diff.unwrap_or_default(),
            })
        };
        let faults = self
            .faults
            .iter()
            .cloned()
            .chain(self.cases.iter().filter_map(failed))
            .collect();
        Verdict {
            cases: self.cases.len(),
            faults,
        }
    }
}

impl Failure {
    /// The text below the message: the history, and the differences.
    #[must_use]
    pub fn more(&self) -> Vec<String> {
        let differs = self
            .mismatch
            .as_ref()
            .map(Mismatch::side_by_side)
            .unwrap_or_default();
        self.history
            .iter()
            .cloned()
            .chain(differs.lines().map(|line| format!("  {line}")))
            .collect()
    }
}

/// One row of two lists side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Row<'a> {
    Both(&'a str),
    Expected(&'a str),
    Actual(&'a str),
    Differs(&'a str, &'a str),
}

impl Mismatch {
    /// Expected on the left, actual on the right, with differences marked.
    #[must_use]
    pub fn side_by_side(&self) -> String {
        const WIDEST: usize = 60;
        let [expected, actual] =
            [&self.expected, &self.actual].map(|lines| lines.iter().map(shown).collect::<Vec<_>>());
        let left = expected
            .iter()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0)
            .clamp(16, WIDEST);
        let mut out = format!("  {:<left$} | actual\n", "expected");
        for row in rows(&expected, &actual) {
            let (mark, expected, actual) = match row {
                Row::Both(line) => (' ', line, line),
                Row::Expected(line) => ('-', line, ""),
                Row::Actual(line) => ('+', "", line),
                Row::Differs(expected, actual) => ('!', expected, actual),
            };
            out += format!("{mark} {expected:<left$} | {actual}").trim_end();
            out.push('\n');
        }
        out.trim_end().to_owned()
    }
}

/// The rows of a longest common subsequence; lines at the same place that differ share a row.
fn rows<'a>(a: &'a [String], b: &'a [String]) -> Vec<Row<'a>> {
    // Longer plans are compared line by line, because the table below would be too large.
    const LONG: usize = 500;
    if a.len() > LONG || b.len() > LONG {
        return paired(a, b);
    }
    let width = b.len() + 1;
    let mut common = vec![0_u32; (a.len() + 1) * width];
    let at = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, left) in a.iter().enumerate().rev() {
        for (j, right) in b.iter().enumerate().rev() {
            let best = if left == right {
                at(&common, i + 1, j + 1) + 1
            } else {
                at(&common, i + 1, j).max(at(&common, i, j + 1))
            };
            if let Some(place) = common.get_mut(i * width + j) {
                *place = best;
            }
        }
    }
    let (mut rows, mut i, mut j) = (Vec::new(), 0, 0);
    let (mut from_i, mut from_j) = (0, 0);
    while let (Some(left), Some(right)) = (a.get(i), b.get(j)) {
        if left == right {
            rows.extend(paired(
                a.get(from_i..i).unwrap_or_default(),
                b.get(from_j..j).unwrap_or_default(),
            ));
            rows.push(Row::Both(left));
            (i, j) = (i + 1, j + 1);
            (from_i, from_j) = (i, j);
        } else if at(&common, i + 1, j) >= at(&common, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    rows.extend(paired(
        a.get(from_i..).unwrap_or_default(),
        b.get(from_j..).unwrap_or_default(),
    ));
    rows
}

fn paired<'a>(a: &'a [String], b: &'a [String]) -> Vec<Row<'a>> {
    let rows = a.len().max(b.len());
    (0..rows)
        .filter_map(|at| match (a.get(at), b.get(at)) {
            (Some(left), Some(right)) if left == right => Some(Row::Both(left)),
            (Some(left), Some(right)) => Some(Row::Differs(left, right)),
            (Some(left), None) => Some(Row::Expected(left)),
            (None, Some(right)) => Some(Row::Actual(right)),
            (None, None) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(expected: &[&str], actual: &[&str]) -> String {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        Mismatch {
            function: "expect_plan",
            expected: lines(expected),
            actual: lines(actual),
        }
        .side_by_side()
    }

    #[test]
    fn what_differs_is_marked_and_the_rest_stands_side_by_side() {
        assert_eq!(
            diff(
                &[
                    "hostname.set b",
                    "route.replace default",
                    "service.start httpd"
                ],
                &["hostname.set a", "service.start httpd"]
            ),
            "  expected              | actual\n\
             ! hostname.set b        | hostname.set a\n\
             - route.replace default |\n  \
               service.start httpd   | service.start httpd"
        );
        assert_eq!(
            diff(&[], &["x"]),
            "  expected         | actual\n+                  | x"
        );
        let many: Vec<String> = (0..501).map(|n| n.to_string()).collect();
        let long = Mismatch {
            function: "expect_plan",
            expected: many.clone(),
            actual: many,
        };
        assert!(!long.side_by_side().contains('!'));
    }
}
