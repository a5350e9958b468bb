//! What engine and runner say to each other: bounded, never trusted. Both ends are of one build
//! ([`crate::programs::role`]).

use serde::{Deserialize, Serialize};

pub use crate::sandbox::Confinement;

use crate::hooks::{
    Answer, Ask, Budget, EntryPoint, HookError, HookEvent, HookSource, LoadError, Returned,
};

/// The argument that makes the worker a runner.
pub const RUNNER_ROLE: &str = "__runner";

/// The argument after the memory that makes it a runner of WebAssembly.
pub const RUNNER_WASM: &str = "wasm";

/// The argument that makes the worker a compiler of WebAssembly.
pub const COMPILER_ROLE: &str = "__compiler";

/// The argument that makes carpd run the test of a hook.
pub const TESTER_ROLE: &str = "__tester";

/// The largest frame to a runner, in bytes: a hook with all its modules, or with the code that it
/// was compiled to.
pub const MAX_TO_RUNNER: usize = 32 << 20;

/// The largest frame from a runner, in bytes.
pub const MAX_FROM_RUNNER: usize = 4 << 20;

/// From the engine to a runner.
#[expect(missing_docs, reason = "the fields' names and types say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToRunner {
    /// First: what to load. Boxed: much larger than the rest.
    Load {
        source: Box<HookSource>,
        budget: Budget,
        coverage: bool,
    },
    /// Run one entry point.
    Call {
        event: Box<HookEvent>,
        budget: Budget,
    },
    /// To the last [`FromRunner::Ask`].
    Answer(Answer),
    /// Which lines have run since the hook was loaded?
    Coverage,
    /// First, instead of `Load`: a test file.
    LoadTest {
        source: Box<HookSource>,
        budget: Budget,
    },
    /// Run the case of this number, counted from 0.
    Case { number: u32, budget: Budget },
    /// To the last [`FromRunner::Test`]: JSON, or the text of an error.
    TestAnswer(Result<Vec<u8>, String>),
}

/// From a runner to the engine.
#[expect(missing_docs, reason = "the fields' names and types say it all")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromRunner {
    /// Confined and waiting; which measures are in force and which are missing.
    Ready { confinement: Confinement },
    /// To [`ToRunner::Load`].
    Loaded(Result<Loaded, LoadError>),
    /// The running hook asks.
    Ask(Ask),
    /// To [`ToRunner::Call`] and [`ToRunner::Case`].
    Finished(Result<Returned, HookError>),
    /// To [`ToRunner::Coverage`].
    Coverage(Vec<FileCoverage>),
    /// To [`ToRunner::LoadTest`]: the names of the cases, in order.
    Cases(Result<Vec<String>, LoadError>),
    /// The running case calls a function of the module `test`.
    Test(TestCall),
}

/// What a loaded hook is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// The entry points it defines.
    pub entry_points: Vec<EntryPoint>,
    /// The modules it read while loading, as keys of [`HookSource::modules`].
    pub modules: Vec<String>,
    /// The host's functions that it imports, as in `addr.add`; none in a language where that cannot
    /// be seen.
    pub imports: Vec<String>,
}

/// Which lines of one file have run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCoverage {
    /// The hook's file name, or the key of a module.
    pub file: String,
    /// Each line with code in it, counted from 1, in order, and how often it ran.
    pub lines: Vec<(u32, u32)>,
}

/// A call of a test file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCall {
    /// An index of [`crate::hooks::contract::api::TEST_FUNCTIONS`].
    pub function: u32,
    /// The arguments: a JSON array.
    pub arguments: Vec<u8>,
    /// The file that calls: the test's name, or a module's key.
    pub file: String,
    /// Its line, counted from 1; 0 if unknown.
    pub line: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{Inbox, decode, encode, receive};

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<FromRunner>(&bytes);
            let _ = decode::<ToRunner>(&bytes);
            let mut inbox = Inbox::default();
            inbox.push(&bytes);
            while let Ok(Some(_)) = inbox.next::<FromRunner>(MAX_FROM_RUNNER) {}
        }

        #[test]
        fn a_flipped_bit_never_panics(at in 0usize..100, bit in 0u8..8) {
            let mut bytes = encode(&ToRunner::Answer(Answer::State(Some(vec![7; 90]))), MAX_TO_RUNNER).unwrap();
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 1 << bit;
            let _ = receive::<ToRunner>(bytes.as_slice(), &mut Inbox::default(), MAX_TO_RUNNER);
        }
    }
}
