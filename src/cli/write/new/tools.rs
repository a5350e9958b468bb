//! The tools needed to build a hook, and whether they are installed.

use super::Lang;

/// One tool.
pub(super) struct Tool {
    /// What it is called.
    pub(super) what: &'static str,
    /// How to get it.
    pub(super) how: &'static str,
    there: fn() -> bool,
}

impl Tool {
    /// Whether it is installed on this machine.
    pub(super) fn is_there(&self) -> bool {
        (self.there)()
    }
}

/// The tools that build a hook in this language; `None` if it needs no build.
pub(super) fn of(lang: Lang) -> Option<&'static [Tool]> {
    match lang {
        Lang::Lua => None,
        #[cfg(feature = "wasm")]
        Lang::Rust => Some(components::RUST),
        #[cfg(feature = "wasm")]
        Lang::C => Some(components::C),
        #[cfg(feature = "wasm")]
        Lang::Js => Some(components::JS),
    }
}

#[cfg(feature = "wasm")]
mod components {
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::Tool;

    /// The oldest major version of Node.js that runs the tools for hooks in JavaScript.
    const NODE: u32 = 20;

    pub(super) const RUST: &[Tool] = &[
        Tool {
            what: "cargo",
            how: "see https://rustup.rs",
            there: || says("cargo", &["--version"]).is_some(),
        },
        Tool {
            what: "Rust's target wasm32-unknown-unknown",
            how: "rustup target add wasm32-unknown-unknown",
            there: || {
                let args = [
                    "--print",
                    "target-libdir",
                    "--target",
                    "wasm32-unknown-unknown",
                ];
                says("rustc", &args).is_some_and(|directory| Path::new(&directory).is_dir())
            },
        },
    ];

    pub(super) const C: &[Tool] = &[
        Tool {
            what: "clang-19, or the clang named by the variable CC",
            how: "apt-get install clang-19",
            there: || clang(&["--version"]).is_some(),
        },
        Tool {
            what: "clang's linker for WebAssembly",
            how: "apt-get install lld-19",
            there: || {
                ["wasm-ld-19", "wasm-ld"]
                    .into_iter()
                    .any(|linker| says(linker, &["--version"]).is_some())
            },
        },
        Tool {
            what: "clang's runtime for WebAssembly",
            how: "apt-get install libclang-rt-19-dev-wasm32",
            there: || has(&["-rtlib=compiler-rt", "-print-libgcc-file-name"]),
        },
        Tool {
            what: "wasi-libc",
            how: "apt-get install wasi-libc",
            there: || has(&["-print-file-name=libc.a"]),
        },
    ];

    pub(super) const JS: &[Tool] = &[
        Tool {
            what: "Node.js 20 or newer",
            how: "see https://nodejs.org",
            there: || {
                let version = says("node", &["--version"]).unwrap_or_default();
                let major = version
                    .trim_start_matches('v')
                    .split('.')
                    .next()
                    .and_then(|major| major.parse::<u32>().ok());
                major.is_some_and(|major| major >= NODE)
            },
        },
        Tool {
            what: "npm",
            how: "it comes with Node.js, or apt-get install npm",
            there: || says("npm", &["--version"]).is_some(),
        },
    ];

    fn clang(args: &[&str]) -> Option<String> {
        let named = std::env::var("CC").ok();
        says(named.as_deref().unwrap_or("clang-19"), args)
    }

    /// Whether the file that clang prints for these arguments exists, for WebAssembly.
    fn has(args: &[&str]) -> bool {
        let args = [&["--target=wasm32-wasi"], args].concat();
        clang(&args)
            .is_some_and(|file| Path::new(&file).is_absolute() && Path::new(&file).is_file())
    }

    /// The first line that a program prints; `None` if the program is missing or fails.
    fn says(program: &str, args: &[&str]) -> Option<String> {
        let ran = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8(ran.stdout)
            .ok()
            .filter(|_| ran.status.success())?;
        text.lines().next().map(str::to_owned)
    }
}
