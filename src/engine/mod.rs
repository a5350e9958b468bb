//! Order and time: one task that owns every virtual host.
//!
//! ```text
//! sockets, kernel events, hook results, signals -> run (one input) -> proto -> what follows from it
//! hooks:   run -> queue (one run at a time per virtual host) -> pool (runners) -> execute (gate, ledger, host)
//! ```

mod announcer;
pub mod clock;
mod execute;
mod follow;
mod look;
mod node;
mod pool;
mod port;
mod queue;
mod run;
mod script;
mod signal;
mod start;
mod stop;
mod store;

pub use start::{check_hooks, main};
