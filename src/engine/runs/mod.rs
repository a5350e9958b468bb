//! Hook runs: the queue of a virtual host, the runners, a run's requests and its outcome.

pub(super) mod helper;
pub(super) mod helper_rights;
pub(super) mod http_worker;
pub(super) mod log_quota;
pub mod observer;
pub(super) mod outcome;
pub(super) mod pool;
pub(super) mod prober;
pub(super) mod queue;
pub(super) mod recent;
pub(super) mod requests;
pub(super) mod run_limits;
pub(super) mod script;
pub(super) mod shared;
