//! `carpd new`: creates a new hook.

mod language;
#[cfg(feature = "wasm")]
mod rust;
mod tools;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::cli::{Exit, Failure, output};
use crate::types::{Name, Page};
#[cfg(feature = "wasm")]
pub(in crate::cli) use rust::files as rust_files;

use language::File;

/// Create a new hook.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Hook(HookArgs),
}

/// Create a directory with a working hook, its test, its grants, and API definitions for editors.
///
/// In a language other than Lua the hook is a WebAssembly component, and the directory also has the
/// files to build it. Reports which build tools are missing on this machine.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd new hook failover\n  \
    carpd new hook failover --dir /etc/carpd/hooks/failover\n  \
    carpd new hook failover --lang rust && failover/build && carpd test failover")]
struct HookArgs {
    /// The hook's name: letters, digits and dashes.
    name: Name,

    /// The language.
    #[arg(long, value_name = "LANG", default_value = "lua")]
    lang: Lang,

    /// The directory to create; ./NAME if not given.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

/// The languages in which a new hook can be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Lang {
    Lua,
    #[cfg(feature = "wasm")]
    Rust,
    #[cfg(feature = "wasm")]
    C,
    #[cfg(feature = "wasm")]
    Js,
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let What::Hook(HookArgs { name, lang, dir }) = &args.what;
    let files = match lang {
        Lang::Lua => language::LUA.files(name, &[]),
        #[cfg(feature = "wasm")]
        Lang::Rust => rust::files(name, None)?,
        #[cfg(feature = "wasm")]
        Lang::C => language::C.files(name, &[]),
        #[cfg(feature = "wasm")]
        Lang::Js => language::JS.files(name, &[]),
    };
    make(name, *lang, dir.as_deref(), &files)
}

/// Writes the files of a new hook, unless one of them exists already, and prints what to do next.
pub(in crate::cli) fn make(
    name: &Name,
    lang: Lang,
    directory: Option<&Path>,
    files: &[File],
) -> Result<Exit, Failure> {
    let directory = directory.unwrap_or(Path::new(name.as_str()));
    if let Some(there) = files
        .iter()
        .map(|file| directory.join(&file.path))
        .find(|path| path.exists())
    {
        return Err(Failure::new(
            Exit::Failure,
            format!("{} exists", there.display()),
        ));
    }
    let mut said = Page::default();
    for file in files {
        let path = directory.join(&file.path);
        write(&path, file).map_err(|error| {
            Failure::new(
                Exit::Failure,
                format!("cannot write {}: {error}", path.display()),
            )
        })?;
        writeln!(said, "wrote {}", path.display());
    }
    what_next(name, lang, directory, &mut said);
    output::page(&said)
}

fn write(path: &Path, file: &File) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, &file.content)?;
    if file.runs {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Prints the commands that build and test the hook, and which tools are missing.
fn what_next(name: &Name, lang: Lang, directory: &Path, said: &mut Page) {
    let here = directory.display();
    if let Some(tools) = tools::of(lang) {
        writeln!(said, "Build it: {here}/build");
        for tool in tools.iter().filter(|tool| !tool.is_there()) {
            writeln!(said, "  missing here: {}: {}", tool.what, tool.how);
        }
    }
    writeln!(said, "Test it: carpd test {here}");
    let lines = directory.join(format!("{name}.toml"));
    writeln!(
        said,
        "Use it: copy the lines of {} into the configuration, and add the hook's name to `hooks` in a [[vhost]].",
        lines.display()
    );
}
