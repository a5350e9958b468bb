//! What a language must be able to do: it compiles a hook and runs its entry points, in the
//! runner's process. Both are in `carpd-worker`.

#[cfg(feature = "lua")]
pub mod lua;

use super::contract::message;
use super::{
    Answer, Ask, Budget, EntryPoint, HookError, HookEvent, HookSource, LoadError, Returned,
};

/// A language host: compiles a hook and checks its entry points; performs nothing.
pub trait HookRuntime {
    /// Loads one hook.
    ///
    /// # Errors
    /// [`LoadError`], with the place in the hook's file.
    fn load(&self, source: &HookSource, budget: &Budget) -> Result<Box<dyn Hook>, LoadError>;
}

/// One loaded hook. Each call has fresh globals.
pub trait Hook {
    /// Which entry points it defines.
    fn entry_points(&self) -> &[EntryPoint];

    /// The modules that it read while loading, as keys of [`HookSource::modules`].
    fn modules(&self) -> &[String];

    /// The host's functions that it imports, as in `addr.add`; none in a language where that cannot
    /// be seen.
    fn imports(&self) -> &[String] {
        &[]
    }

    /// Nobody waits for it now: the time to make what the next run needs, and to tidy up after the
    /// last.
    fn prepare(&mut self) {}

    /// Runs one entry point; every request goes through `host`.
    ///
    /// # Errors
    /// [`HookError`]: whatever the hook did, as a value.
    fn call(
        &mut self,
        event: &HookEvent,
        host: &mut dyn HookHost,
        budget: &Budget,
    ) -> Result<Returned, HookError>;

    /// Which lines have run since it was loaded; nothing unless they are counted.
    fn coverage(&self) -> Vec<message::FileCoverage> {
        Vec::new()
    }
}

/// The test file's end of its conversation.
pub trait TestHost {
    /// Calls a function of the module `test` and waits for what it gives: JSON, or the text of an
    /// error.
    ///
    /// # Errors
    /// The text that is raised in the test file.
    fn call(&mut self, call: message::TestCall) -> Result<Vec<u8>, String>;
}

/// The hook's end of the conversation: asks and waits for the answer.
pub trait HookHost {
    /// Asks one thing.
    fn ask(&mut self, ask: Ask) -> Answer;
}
