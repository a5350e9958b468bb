//! One target of libFuzzer, named by `CARPD_FUZZ`. With `CARPD_FUZZ_SEEDS` it writes the target's
//! seeds into that directory instead.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

#[path = "../targets/mod.rs"]
mod targets;

use targets::Target;

fn target() -> &'static Target {
    let name = std::env::var("CARPD_FUZZ").unwrap_or_default();
    let found = targets::ALL.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| {
        panic!(
            "CARPD_FUZZ is none of {}",
            targets::ALL
                .iter()
                .map(|target| target.name)
                .collect::<Vec<_>>()
                .join(", ")
        )
    })
}

libfuzzer_sys::fuzz_target!(
    init: {
        if let Some(directory) = std::env::var_os("CARPD_FUZZ_SEEDS") {
            for (number, seed) in (target().seeds)().into_iter().enumerate() {
                std::fs::write(Path::new(&directory).join(format!("seed-{number:03}")), seed).unwrap();
            }
            std::process::exit(0);
        }
    },
    |bytes: &[u8]| {
        static TARGET: OnceLock<&Target> = OnceLock::new();
        (TARGET.get_or_init(target).run)(bytes);
    }
);
