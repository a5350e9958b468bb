//! Coverage: which lines of the hooks ran, and which functions were called.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::find::Pair;
use crate::testing::FileReport;
use crate::types::{Page, shown};

/// The coverage of all hooks together.
#[derive(Debug)]
pub(super) struct Coverage {
    /// How often each line with code ran, by file.
    files: BTreeMap<String, BTreeMap<u32, u32>>,
    components: Vec<Component>,
}

/// A component, of which only calls are visible.
#[derive(Debug)]
struct Component {
    path: String,
    called: Vec<String>,
    uncalled: Vec<String>,
}

impl Coverage {
    /// Sums up the reports.
    pub(super) fn of(pairs: &[Pair], reports: &[FileReport]) -> Self {
        let mut files: BTreeMap<String, BTreeMap<u32, u32>> = BTreeMap::new();
        let mut components = Vec::new();
        for (pair, report) in pairs.iter().zip(reports) {
            if let Some(component) = &pair.component {
                components.push(Component::of(component, report));
            }
            for (file, lines) in &report.coverage {
                let path = path_of(&report.hook, file);
                let known = files.entry(path).or_default();
                for (line, hits) in lines {
                    let count = known.entry(*line).or_default();
                    *count = count.saturating_add(*hits);
                }
            }
        }
        Self { files, components }
    }

    /// The share of lines that ran, 0 to 100; for components, of entry points and imports that were
    /// called.
    pub(super) fn percent(&self) -> f64 {
        let lines = self.files.values().flat_map(BTreeMap::values);
        let calls = self.components.iter().flat_map(|c| {
            std::iter::repeat_n(&1, c.called.len()).chain(std::iter::repeat_n(&0, c.uncalled.len()))
        });
        percent(lines.chain(calls))
    }

    /// What [`Self::percent`] is a share of, in words.
    pub(super) fn measure(&self) -> &'static str {
        match (self.files.is_empty(), self.components.is_empty()) {
            (_, true) => "lines ran",
            (true, false) => "functions were called",
            (false, false) => "lines and functions ran",
        }
    }

    /// For people: the share of each file, and what did not run.
    pub(super) fn text(&self, page: &mut Page) {
        writeln!(page, "coverage");
        for (path, lines) in &self.files {
            let missed: Vec<u32> = lines
                .iter()
                .filter(|(_, hits)| **hits == 0)
                .map(|(line, _)| *line)
                .collect();
            let missing = if missed.is_empty() {
                String::new()
            } else {
                format!("  not run: {}", ranges(&missed, lines))
            };
            let ran = lines.len() - missed.len();
            writeln!(
                page,
                "  {:5.1} %  {path}: {ran} of {} lines{missing}",
                percent(lines.values()),
                lines.len()
            );
        }
        for Component {
            path,
            called,
            uncalled,
        } in &self.components
        {
            let all = called.len() + uncalled.len();
            let missing = if uncalled.is_empty() {
                String::new()
            } else {
                format!("  not called: {}", uncalled.join(", "))
            };
            let share = percent(
                std::iter::repeat_n(&1, called.len())
                    .chain(std::iter::repeat_n(&0, uncalled.len())),
            );
            writeln!(
                page,
                "  {share:5.1} %  {path}: {} of {all} functions called{missing}",
                called.len()
            );
        }
        writeln!(page, "  {:5.1} %  in all", self.percent());
    }

    /// Stable: `percent`, `files` with `path`, `lines`, `ran`, `missed`; `components` with `path`,
    /// `called`, `uncalled`.
    pub(super) fn json(&self) -> Value {
        let file = |(path, lines): (&String, &BTreeMap<u32, u32>)| {
            let missed: Vec<u32> = lines
                .iter()
                .filter(|(_, hits)| **hits == 0)
                .map(|(line, _)| *line)
                .collect();
            json!({ "path": path, "lines": lines.len(), "ran": lines.len() - missed.len(), "missed": missed })
        };
        let component =
            |c: &Component| json!({ "path": c.path, "called": c.called, "uncalled": c.uncalled });
        json!({
            "percent": self.percent(),
            "files": self.files.iter().map(file).collect::<Vec<_>>(),
            "components": self.components.iter().map(component).collect::<Vec<_>>(),
        })
    }

    /// In the format of lcov's tracefiles: geninfo(1).
    pub(super) fn lcov(&self) -> String {
        let mut out = String::new();
        for (path, lines) in &self.files {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
            _ = writeln!(out, "TN:carpd\nSF:{}", shown(absolute.display()));
            for (line, hits) in lines {
                _ = writeln!(out, "DA:{line},{hits}");
            }
            let ran = lines.values().filter(|hits| **hits > 0).count();
            _ = writeln!(out, "LF:{}\nLH:{ran}\nend_of_record", lines.len());
        }
        out
    }
}

impl Component {
    #[cfg(feature = "wasm")]
    fn of(bytes: &[u8], report: &FileReport) -> Self {
        // It was loaded, so it is a component whose imports can be read.
        let imports = crate::hooks::artifact::manifest::abilities(bytes)
            .map(|abilities| abilities.imports)
            .unwrap_or_default();
        let seen = |name: &String| {
            !matches!(
                name.split('.').next(),
                Some("config" | "log" | "clock" | "state")
            )
        };
        let could = report
            .entry_points
            .iter()
            .map(|entry| (*entry).to_owned())
            .chain(imports.into_iter().filter(seen));
        let could: BTreeSet<String> = could.collect();
        // `announce` is a group with one function, which has the same name.
        let was = |name: &String| {
            report.called.contains(name)
                || name
                    .split_once('.')
                    .is_some_and(|(g, f)| g == f && report.called.contains(g))
        };
        let (called, uncalled) = could.into_iter().partition(was);
        Self {
            path: report.hook.clone(),
            called,
            uncalled,
        }
    }

    #[cfg(not(feature = "wasm"))]
    fn of(_: &[u8], report: &FileReport) -> Self {
        let none: BTreeSet<String> = BTreeSet::new();
        Self {
            path: report.hook.clone(),
            called: none.into_iter().collect(),
            uncalled: Vec::new(),
        }
    }
}

/// A file of a hook: the hook itself, or a module below its directory.
fn path_of(hook: &str, file: &str) -> String {
    let hook_file = Path::new(hook).file_name().unwrap_or_default();
    if hook_file == file {
        hook.to_owned()
    } else {
        Path::new(hook).with_file_name(file).display().to_string()
    }
}

#[expect(clippy::cast_precision_loss, reason = "lines of source code")]
fn percent<'a>(hits: impl Iterator<Item = &'a u32>) -> f64 {
    let (mut ran, mut all) = (0_usize, 0_usize);
    for hit in hits {
        all += 1;
        ran += usize::from(*hit > 0);
    }
    if all == 0 {
        100.0
    } else {
        ran as f64 * 100.0 / all as f64
    }
}

/// Ranges such as `3, 7-9`; lines without code do not interrupt a range.
fn ranges(missed: &[u32], lines: &BTreeMap<u32, u32>) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for line in missed {
        match parts.last_mut() {
            Some((_, last)) if lines.range(*last + 1..*line).next().is_none() => *last = *line,
            _ => parts.push((*line, *line)),
        }
    }
    let part = |(from, to): &(u32, u32)| {
        if from == to {
            from.to_string()
        } else {
            format!("{from}-{to}")
        }
    };
    parts.iter().map(part).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_did_not_run_are_put_together_over_lines_without_code() {
        let lines: BTreeMap<u32, u32> = [(1, 1), (3, 0), (5, 0), (6, 2), (7, 0)].into();
        assert_eq!(ranges(&[3, 5, 7], &lines), "3-5, 7");
        assert!((percent(lines.values()) - 40.0).abs() < 1e-9);
        assert!((percent([].iter()) - 100.0).abs() < 1e-9);
    }
}
