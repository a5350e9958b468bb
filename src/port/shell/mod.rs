//! Reading shell scripts: POSIX sh, and what of bash is usual in them (`[[ ]]`, `function`, `&>`).
//!
//! It understands the language, not the programs: a script is data here and nothing of it is ever
//! run.

mod arrays;
mod ast;
mod compound;
mod parse;
#[cfg(test)]
mod tests;
mod word;

pub(crate) use ast::{Command, Item, Kind, Piece, Pipeline, Redirect, Script, Sourced, Word};
pub(crate) use parse::{PROCESS, parse};

/// What cannot be read as a shell script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}
