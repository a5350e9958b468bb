//! `carpd new`: a hook to begin with.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Exit, Failure, output};
use crate::port::new;
use crate::types::Name;

/// Begin something new.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Hook(HookArgs),
}

/// Make a directory with a hook that works, its test, its grants, and what an editor needs to know the API.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd new hook failover\n  \
    carpd new hook failover --dir /etc/carpd/hooks/failover")]
struct HookArgs {
    /// The hook's name: letters, digits and dashes.
    name: Name,

    /// The language.
    #[arg(long, value_name = "LANG", default_value = "lua")]
    lang: Lang,

    /// Where to make it; ./NAME if not given.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Lang {
    Lua,
    Rust,
    C,
    Js,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let What::Hook(args) = &args.what;
    if args.lang != Lang::Lua {
        let failure = Failure::new(Exit::Cannot, "this version of carpd has templates for hooks in Lua alone");
        return Err(failure.hint("write it in Lua: carpd new hook NAME"));
    }
    let directory = args.dir.clone().unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    let files = new::hook(&args.name);
    if let Some((there, _)) = files.iter().find(|(file, _)| directory.join(file).exists()) {
        return Err(Failure::new(Exit::Failure, format!("{} exists", directory.join(there).display())));
    }
    let mut written = String::new();
    for (file, text) in files {
        let path = directory.join(file);
        make(&path, &text)?;
        written += &format!("wrote {}\n", path.display());
    }
    written += &format!(
        "Put the lines of {}.toml into the configuration, and the hook's name into `hooks` of a [[vhost]].\n",
        directory.join(args.name.as_str()).display()
    );
    output::data(written.as_bytes())
}

fn make(path: &Path, text: &str) -> Result<(), Failure> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    made.map_err(|error| Failure::new(Exit::Failure, format!("cannot write {}: {error}", path.display())))
}
