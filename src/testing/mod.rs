//! Tests of hooks (`carpd test`, `reload = "tested"`): a test file plays a hook on a host that
//! exists only in memory, on a virtual clock, through the real gate and the real runner.
//!
//! ```text
//! test file (Luau, in a runner) -> calls (hosts, events, expectations) -> node (what a test may ask of a host)
//!   -> engine::sim (the daemon itself, on a simulated machine) -> record (what the hook asked for)
//! ```
//! The engine has a hook pass its test in a separate process: [`process`].

mod calls;
mod faults;
mod histories;
mod hook;
mod node;
mod process;
mod record;
mod report;
mod script;
mod spec;
mod update;

pub use crate::engine::hook_test::{Fault, HookTest, TestHook, Verdict};
pub use process::process;
pub use report::{CaseReport, Failure, FileReport, Mismatch, Refused, Update};
pub use script::{Choice, run};
pub use update::update;

use crate::keeper::Client;

/// The seed of random histories if none is given.
pub const SEED: u64 = 1;

/// Runs every case of a test file against a hook, in runners that `keeper` starts.
///
/// Hostile input on either side results in a fault: nothing here runs longer than
/// [`HookTest::limit`], and nothing that the hook does reaches this machine or the log. Needs a
/// tokio runtime with I/O and time, inside a `LocalSet`, on one thread. When the future is dropped,
/// its runners are killed.
pub async fn examine(keeper: &Client, exam: HookTest) -> Verdict {
    run(keeper, exam, &Choice::default()).await.0.verdict()
}
