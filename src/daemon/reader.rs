//! The daemon's reader process: determines itself which files the configuration names, then serves.

use std::path::PathBuf;
use std::process::ExitCode;

use super::ucarp;
use crate::programs::role;
use crate::reader::{self, Names};
use crate::terminal::Exit;

/// Runs the reader. The keeper passes the configuration file, or the place of ucarp's command line.
pub(super) fn main() -> ExitCode {
    match (ucarp::configuration(), role::arguments().next()) {
        (Some(Ok((config, path))), _) => reader::main(|| Names::of(&path, &config)),
        (Some(Err(code)), _) => code,
        (None, Some(path)) => {
            let path = PathBuf::from(path);
            let copy = super::helper::copy(&path);
            reader::main(|| Names::read(&path, copy))
        }
        (None, None) => Exit::Usage.into(),
    }
}
