//! A hook's files: read once, vouched for, described.

#[cfg(feature = "wasm")]
pub mod manifest;
pub mod source;
pub mod vet;
