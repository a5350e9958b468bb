//! `carpd api`: the functions that hooks may call in this version.

use crate::cli::{Exit, Failure, output};
use crate::port::api::{Form, print};

/// Print the functions that hooks may call.
///
/// The output matches this version exactly: definitions for an editor, or a reference to read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd api --lua > carpd.d.luau\n  \
    carpd api --luacats > carpd.lua\n  \
    carpd api --wit > hooks.wit\n  \
    carpd api --markdown | less")]
pub(in crate::cli) struct Args {
    /// Type definitions for Luau: luau-lsp, luau-analyze. The default.
    #[arg(long, group = "form")]
    lua: bool,

    /// Annotations for lua-language-server, for editors that support plain Lua.
    #[arg(long, group = "form")]
    luacats: bool,

    /// The interface for WebAssembly components, as from `carpd plugin wit`.
    #[cfg(feature = "wasm")]
    #[arg(long, group = "form")]
    wit: bool,

    /// The reference, as in docs/hooks/api.md.
    #[arg(long, group = "form")]
    markdown: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    #[cfg(feature = "wasm")]
    if args.wit {
        return output::artefact(crate::hooks::contract::api::wit::contract().as_bytes());
    }
    let form = match (args.luacats, args.markdown) {
        (true, _) => Form::LuaCats,
        (_, true) => Form::Markdown,
        _ => Form::Luau,
    };
    output::artefact(print(form).as_bytes())
}
