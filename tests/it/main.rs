//! The one test binary.

mod cli;
mod config;
mod simulation;
mod tidy;
mod vectors;
