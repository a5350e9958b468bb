//! Plugins.

use std::sync::LazyLock;

use carpd::hooks::artifact::manifest;
use carpd::hooks::process::compiler;

use super::{file, wasm_config};

/// What is compiled here; larger ones take seconds and show no more.
const COMPILED_MAX: usize = 32 << 10;

/// A plugin from a stranger: what `carpd plugin inspect` makes of it, and the compiler.
pub(super) fn run(bytes: &[u8]) {
    static ENGINE: LazyLock<wasmtime::Engine> =
        LazyLock::new(|| wasmtime::Engine::new(&wasm_config::config(true)).unwrap());
    let abilities = manifest::abilities(bytes);
    let interfaces = manifest::interfaces(bytes);
    let _ = manifest::manifest(bytes);
    if let Ok(abilities) = &abilities {
        assert!(
            compiler::check_preamble(bytes).is_ok() && interfaces.is_ok(),
            "{abilities:?}"
        );
        assert!(abilities.imports.is_sorted());
    }
    if compiler::check_preamble(bytes).is_ok() && bytes.len() <= COMPILED_MAX {
        let _ = ENGINE.precompile_component(bytes);
    }
}

/// The example in C, whole and in part: the others are too large for a fuzzer to get through.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let whole = file("examples/hooks/c/hook.wasm");
    assert!(manifest::abilities(&whole).is_ok() && whole.len() <= COMPILED_MAX);
    let world = wit_only_component();
    vec![
        whole[..whole.len() / 2].to_vec(),
        whole[..200].to_vec(),
        world,
        whole,
    ]
}

/// A component with one import of an empty interface and nothing else.
fn wit_only_component() -> Vec<u8> {
    let name = b"carpd:hooks/log@1.0.0";
    let import = [
        &[1, 0, u8::try_from(name.len()).unwrap()],
        name.as_slice(),
        &[5, 0],
    ]
    .concat();
    let head = b"\0asm\x0d\0\x01\0\x07\x03\x01\x42\x00\x0a";
    [
        head.as_slice(),
        &[u8::try_from(import.len()).unwrap()],
        &import,
    ]
    .concat()
}
