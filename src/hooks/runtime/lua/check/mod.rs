//! Checks a hook without running it, and finds errors in code that may never have run before an
//! outage: API functions that do not exist, wrong arguments, undefined names.
//!
//! It knows the list of host functions ([`FUNCTIONS`](crate::hooks::contract::api::FUNCTIONS)) and
//! Luau's scopes, but no types: what a variable holds is known only at run time. So what it reports
//! is certain, but incomplete (docs/adr/0024).
//!
//! Given the grants, the configuration and the virtual hosts that a hook is used with, [`foresee`]
//! also follows what its entry points call, and reports what would be refused (docs/adr/0040).

mod calls;
mod expressions;
mod flow;
mod foresee;
mod forward;
mod lexer;
mod parser;
mod required;
mod rights;
mod scope;
mod types;
mod value;

#[cfg(test)]
mod foresee_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use foresee::{Foreseen, Use, foresee};
pub use required::required;
pub use rights::Home;

/// A mistake, at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and perhaps what was meant.
    pub message: String,
    /// It goes wrong if it is reached; otherwise it may be intended.
    pub certain: bool,
}

/// The globals that these scripts set: a hook and its modules share them.
#[must_use]
pub fn globals<'a>(sources: impl Iterator<Item = &'a [u8]>) -> BTreeSet<String> {
    sources
        .filter_map(words)
        .flat_map(|tokens| parser::defined(&tokens))
        .collect()
}

/// What is wrong in a script that compiles, in the order of its lines; `globals` are defined
/// elsewhere. `None` if this parser does not understand it: Luau does, so nothing can be concluded.
#[must_use]
pub fn check(source: &[u8], globals: &BTreeSet<String>) -> Option<Vec<Finding>> {
    let mut findings = parser::read(&words(source)?, globals)?;
    findings.sort_by_key(|finding| finding.line);
    findings.dedup();
    Some(findings)
}

fn words(source: &[u8]) -> Option<Vec<lexer::Token>> {
    lexer::tokens(std::str::from_utf8(super::without_bom(source)).ok()?)
}
