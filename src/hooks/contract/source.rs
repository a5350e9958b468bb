//! What a hook is made of, in memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bytes;
use crate::types::Name;

/// A hook's bytes and everything it may read, in memory: what is loaded is what was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookSource {
    /// The hook's name in the configuration.
    pub name: Name,
    /// The language, from the file's ending.
    pub language: Language,
    /// The file as the operator wrote it, for messages.
    pub path: String,
    /// The script or component.
    #[serde(with = "bytes")]
    pub main: Vec<u8>,
    /// Files that `require` may find, by their path below the hook's directory, with `/`.
    pub modules: BTreeMap<String, Vec<u8>>,
    /// The table `[hook.NAME.config]`, as JSON.
    pub config_json: String,
    /// Of a WebAssembly component: what it was compiled to and what it may import. Made before it
    /// is loaded.
    pub native: Option<Native>,
}

/// A component as the compiler process left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Native {
    /// wasmtime's own format, native code in it.
    #[serde(with = "bytes")]
    pub code: Vec<u8>,
    /// The host functions (`group.name`) that the grants allow in some form; see
    /// [`allowed`](super::api::allowed).
    pub allowed: Vec<String>,
}

/// What a hook is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// Luau: `.lua`, `.luau`.
    Lua,
    /// A WebAssembly component: `.wasm`.
    Wasm,
}
