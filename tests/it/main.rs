//! The one test binary.

mod attacks;
mod cli;
mod config;
mod hooks;
mod simulation;
mod tidy;
mod vectors;
