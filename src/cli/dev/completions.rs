//! `carpd completions`: completions for a shell.

use clap_complete::Shell;

use crate::cli::{Exit, Failure, command, output};

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd completions bash > /etc/bash_completion.d/carpd\n  \
    carpd completions zsh > /usr/local/share/zsh/site-functions/_carpd\n  \
    carpd completions fish > /etc/fish/completions/carpd.fish")]
pub(in crate::cli) struct Args {
    /// The shell.
    shell: Shell,
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "carpd", &mut script);
    output::artefact(&script)
}
