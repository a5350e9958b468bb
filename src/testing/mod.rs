//! Tests of hooks (`carpd test`, `reload = "tested"`): a test file plays a hook on a host that exists only in memory, on a
//! virtual clock, through the real gate and the real runner.
//!
//! Whoever wants a hook to pass its test before it is used calls [`examine`] with a keeper's [`Client`]. The engine stands
//! below this module: it is given `examine` as a function when it starts.

pub use crate::hooks::exam::{Exam, Fault, Verdict};

use crate::keeper::Client;

/// Runs every case of a test file against a hook, in runners that `keeper` starts.
///
/// Hostile bytes on either side end in a fault: nothing here runs longer than [`Exam::limit`], and nothing of what the
/// hook does reaches this machine or the log. Needs a tokio runtime with I/O and time, inside a `LocalSet`, on one thread.
/// When the future is dropped its runners are killed.
pub async fn examine(_keeper: &Client, exam: Exam) -> Verdict {
    let fault = Fault { file: exam.path, line: None, case: None, message: "nothing runs tests yet".to_owned() };
    Verdict { cases: 0, faults: vec![fault] }
}
