//! Processes that act for the engine: the helper, which has more rights, the HTTP worker, which
//! has none but the network, probers, each as one user, and the HTTP endpoint, which has none.

pub mod descriptors;
pub mod endpoint;
pub mod helper;
pub mod http_worker;
pub mod prober;
mod process;
