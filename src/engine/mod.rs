//! Order and time: one task that owns every virtual host.
//!
//! ```text
//! sockets, kernel events, hook results, signals -> run (one input) -> proto -> what follows from it
//! hooks:   run -> queue (one run at a time per virtual host) -> pool (runners) -> execute (gate, ledger, host)
//! ```

mod announcer;
pub mod clock;
pub mod command;
mod execute;
mod follow;
mod generations;
mod lease;
mod look;
mod node;
pub mod oneshot;
mod pool;
mod port;
mod queue;
mod reload;
mod run;
mod start;
mod status;
mod stop;
mod store;
mod watch;
mod will;

pub use start::{check_hooks, main};
