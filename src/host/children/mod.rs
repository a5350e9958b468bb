//! Processes that act for the engine: the helper, which has more rights, the HTTP worker, which
//! has none but the network, and probers, each as one user.

pub mod descriptors;
pub mod helper;
pub mod http_worker;
pub mod prober;
mod process;
