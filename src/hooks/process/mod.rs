//! The processes that hooks are compiled and run in, and the engine's end of the sockets to them.

#[cfg(feature = "wasm")]
pub mod compiler;
pub mod runner;
pub mod session;
pub mod test_session;
