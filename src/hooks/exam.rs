//! A hook's test and how it went: what whoever loads a hook may want to know before it takes the
//! hook into use.

use std::fmt;
use std::time::Duration;

use super::session::SandboxPolicy;
use super::{Budget, HookSource};
use crate::effect::Grants;

/// A hook and the test that it is to pass.
#[derive(Debug, Clone)]
pub struct Exam {
    /// The hook: these bytes are tested, whatever is on disk by now.
    pub hook: HookSource,
    /// What the hook may do, unless a test says otherwise for one of its hosts in memory.
    pub grants: Grants,
    /// The hook's ceilings. Its wall time is spent on a virtual clock.
    pub budget: Budget,
    /// Wall time of `before_master` and `before_backup`.
    pub before_timeout: Duration,
    /// Does a failed `on_master` hand over (`on-failure = "resign"`)?
    pub resigns: bool,
    /// The path of the test file, for messages.
    pub path: String,
    /// The text of the test file: Luau, see `docs/guide/test-a-hook.md`.
    pub text: Vec<u8>,
    /// What to do without a full sandbox; holds for the hook and for the test.
    pub policy: SandboxPolicy,
    /// Real time for everything together, from the start of the first runner.
    pub limit: Duration,
}

/// How a test went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// How many cases were run to their end.
    pub cases: usize,
    /// What was wrong; empty if the hook passed. At most one for each case, and those that no case
    /// is to blame for: a test file that does not compile or has no case, a runner that could not
    /// be started, the time limit.
    pub faults: Vec<Fault>,
}

impl Verdict {
    /// Did the hook pass?
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.faults.is_empty()
    }
}

/// One thing that was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file in which it shows: mostly the test's.
    pub file: String,
    /// Its line, counted from 1, where one is to blame.
    pub line: Option<u32>,
    /// The case's name; `None` if it is no case's fault.
    pub case: Option<String>,
    /// What was expected and what was found; may have several lines.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.case {
            Some(case) => write!(f, ": {case}: {}", self.message),
            None => write!(f, ": {}", self.message),
        }
    }
}
