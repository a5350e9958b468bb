//! How often each line of a hook has run, over all its runs.

use std::cell::RefCell;
use std::collections::BTreeMap;

use mlua::Function;

use carpd::hooks::contract::message::FileCoverage;

/// Counters of lines with code in them, by file and line.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    hits: RefCell<BTreeMap<String, BTreeMap<u32, u32>>>,
}

impl Coverage {
    /// Adds what was counted in these files by the VM that is about to end.
    pub(super) fn add(&self, files: &[(String, Function)]) {
        let mut all = self.hits.borrow_mut();
        for (file, main) in files {
            let lines = all.entry(file.clone()).or_default();
            main.coverage(|function| {
                for (line, hits) in (0..).zip(&function.hits) {
                    // -1 where there is no code.
                    if let Ok(hits) = u32::try_from(*hits) {
                        let count = lines.entry(line).or_default();
                        *count = count.saturating_add(hits);
                    }
                }
            });
        }
    }

    /// All counts, by file.
    pub(super) fn report(&self) -> Vec<FileCoverage> {
        let lines =
            |lines: &BTreeMap<u32, u32>| lines.iter().map(|(line, hits)| (*line, *hits)).collect();
        self.hits
            .borrow()
            .iter()
            .map(|(file, hits)| FileCoverage {
                file: file.clone(),
                lines: lines(hits),
            })
            .collect()
    }
}
