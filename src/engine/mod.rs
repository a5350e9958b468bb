//! Order and time: one task that owns every virtual host.
//!
//! ```text
//! sockets, kernel events, hook results, signals -> run (one input) -> proto -> what follows from it
//! hooks:   run -> queue (one run at a time per virtual host) -> pool (runners) -> execute (gate, ledger, host)
//! ```

mod announcer;
#[cfg(test)]
mod bench;
mod bow_outs;
mod cleanup;
pub mod command;
mod couriers;
mod degraded;
mod demotion;
mod desk;
mod doing;
mod elsewhere;
pub mod exam;
mod execute;
mod follow;
mod foresight;
mod generations;
mod handover;
mod health;
mod helper;
#[cfg(test)]
mod histories;
mod lasting;
mod lease;
mod load;
mod look;
mod material;
mod mend;
mod metrics;
mod moves;
mod news;
mod node;
mod nodes;
pub mod observer;
pub mod oneshot;
mod own;
mod places;
pub mod plan;
mod pool;
mod port;
mod queue;
mod quota;
mod reader;
mod recover;
mod refusals;
pub mod rehearse;
mod relief;
mod reload;
mod rights;
mod run;
mod script;
mod shared;
mod signal;
pub mod sim;
mod slept;
mod start;
mod status;
mod stop;
mod store;
mod strangers;
mod terms;
mod turns;
mod undo;
mod unheld;
mod upkeep;
mod voice;
mod ways;
mod will;
mod world;

use crate::host::clock;

pub use cleanup::{Cleanup, Unknown, cleanup};
pub use foresight::{HookProblem, check_hooks};
pub use moves::shared_here;
pub use own::check as check_own_addresses;
pub use pool::budget;
pub use recover::Recovery;
pub use start::{main, post};
pub use terms::terms;
pub use undo::Undone;
