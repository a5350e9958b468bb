//! Processes that act for the engine: the helper, which has more rights, the HTTP worker, which
//! has none but the network, probers, each as one user, the HTTP endpoint, which has none, and
//! notifiers, each for one message.

pub mod descriptors;
pub mod endpoint;
pub mod helper;
pub mod http_worker;
pub mod notifier;
pub mod prober;
mod process;
