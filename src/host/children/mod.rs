//! Processes that act for the engine: the helper, which has more rights, and the HTTP worker, which
//! has none but the network.

pub mod descriptors;
pub mod helper;
pub mod http_worker;
