//! A hook's ceilings for one run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A hook's ceilings for one run. Always finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Wall time, waiting for the host included.
    pub wall: Duration,
    /// Time that the hook's own code may use.
    pub cpu: Duration,
    /// Bytes of the guest's heap.
    pub memory_bytes: u64,
    /// Questions to the host, log lines not counted.
    pub requests: u32,
    /// Bytes of log text; more is dropped and counted.
    pub log_bytes: u32,
    /// Bytes of the hook's lasting `state`.
    pub state_bytes: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(10),
            cpu: Duration::from_secs(1),
            memory_bytes: 16 << 20,
            requests: 1000,
            log_bytes: 64 << 10,
            state_bytes: 256 << 10,
        }
    }
}
