//! The one test binary.

mod attacks;
mod hooks;
