//! The one test binary.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets a surprise shall fail")]

mod simulation;
mod vectors;
