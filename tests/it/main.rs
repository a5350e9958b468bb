//! The one test binary.

mod host;
