//! The daemon's core: one task that owns every virtual host.
//!
//! ```text
//! sockets, kernel events, hook results, signals -> run (one input) -> proto -> handlers (what follows from it)
//! hooks:   handlers -> runs (one run at a time per virtual host, runners) -> effects (gate, ledger, host)
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | `state`, `run`, `environment`, `activity` | the engine's state; the loop; its environment: this machine or a simulated one; what its thread is doing |
//! | `start`, `rights`, `error` | from a configuration to a running engine, what it gives up for that, and why it could not |
//! | `command`, `report`, `signals` | what an operator may ask of a running engine, the answers, the signals |
//! | `handlers` | `impl Engine`, one file for each kind of event: a transition, a link that goes down, a signal, an order |
//! | `vhost` | a virtual host at run time, and its interface |
//! | `runs` | hook runs: the queue of a virtual host, the runners, a run's requests and its outcome |
//! | `effects` | the only path to the host: gate, ledger, host; undoing, recovery, keeping what was set |
//! | `reload` | hooks read, vetted, tested and loaded, at the start and while everything runs; their versions |
//! | `persist` | what survives the process, written outside the loop |
//! | `metrics` | counters, and their text format |
//! | `notices` | who is told what happens: queues, messages, sending them beside the loop |
//! | `plan` | what hooks and daemon would do, listed without doing it |
//! | `offline` | running one hook manually, and cleaning up, without a daemon |
//! | `sim`, `rehearse` | engines on simulated machines in virtual time: one of them, and several on a LAN with faults |

mod activity;
pub mod command;
mod effects;
mod environment;
mod error;
mod handlers;
mod metrics;
mod notices;
mod offline;
mod persist;
pub mod plan;
pub mod rehearse;
mod reload;
pub mod report;
mod rights;
mod run;
mod runs;
mod signals;
pub mod sim;
mod start;
mod state;
mod vhost;

pub use effects::foreign_addresses::check as check_own_addresses;
pub use effects::recover::Recovery;
pub use effects::undo::Undone;
pub use effects::unfit_addresses::{check as check_networks, check_elsewhere};
pub use metrics::Text as Metrics;
pub use notices::{errand, unsafe_notifiers};
pub use offline::cleanup::{Cleanup, Unknown, cleanup};
pub use offline::oneshot;
pub use persist::{Maintenance, maintenance_in};
pub use reload::hook_check::{HookProblem, check_hooks};
pub use reload::hook_test;
pub use reload::moves::shared_here;
pub use runs::helper_rights::terms;
pub use runs::observer;
pub use runs::pool::budget;
pub use runs::prober::{looks, unsafe_programs};
pub use start::{Doors, main};
pub use vhost::new::post;
