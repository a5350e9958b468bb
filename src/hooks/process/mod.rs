//! The engine's end of the sockets to the processes that hooks are compiled and run in.

#[cfg(feature = "wasm")]
pub mod compiler;
pub mod session;
pub mod test_session;
