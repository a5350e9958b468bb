//! `carpd man`: the manual pages. Those of the program and its verbs are generated from the same
//! text as `--help`, that of the configuration from the list of its keys.

mod config;
mod roff;
mod verb;

use std::fs;
use std::path::PathBuf;

use clap_mangen::Man;

use crate::cli::{CONFIG, Exit, Failure, command, output};
use roff::{escape, paragraphs};

/// Print the manual page carpd.1 in roff.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Write all pages into this directory instead: carpd.1, one for each verb, and carpd.toml.5.
    #[arg(long, value_name = "DIRECTORY")]
    all: Option<PathBuf>,
}

/// The file of a page, and what is in it.
type Page = (String, Vec<u8>);

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let failed = |what: String| {
        move |error: std::io::Error| Failure::new(Exit::Failure, format!("{what}: {error}"))
    };
    let unmade = || failed("cannot make the manual page".to_owned());
    let Some(directory) = &args.all else {
        return output::artefact(&overview().map_err(unmade())?);
    };
    for (name, page) in pages().map_err(unmade())? {
        let path = directory.join(name);
        fs::write(&path, page).map_err(failed(format!("cannot write {}", path.display())))?;
    }
    Ok(Exit::Success)
}

fn pages() -> std::io::Result<Vec<Page>> {
    let mut pages = vec![
        ("carpd.1".to_owned(), overview()?),
        ("carpd.toml.5".to_owned(), config::page().into_bytes()),
    ];
    let root = command();
    for verb in root.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        pages.push(verb::page(verb)?);
    }
    Ok(pages)
}

fn overview() -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let root = command().after_long_help("");
    let man = Man::new(root.clone()).section("1").manual("User commands");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    page.extend(b".SH COMMANDS\n");
    for verb in root.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        page.extend(verb_text("carpd", verb).into_bytes());
    }
    page.extend(rest().into_bytes());
    Ok(page)
}

/// One command and its subcommands: what it does, and its options. Examples go under EXAMPLES.
fn verb_text(above: &str, verb: &clap::Command) -> String {
    let name = format!("{above} {}", verb.get_name());
    let about = verb
        .get_long_about()
        .or(verb.get_about())
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut text = format!(".SS {}\n{}", escape(&name), paragraphs(&about));
    for argument in verb.get_arguments().filter(|a| !a.is_hide_set()) {
        let help = argument
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let value = argument
            .get_value_names()
            .and_then(|names| names.first())
            .filter(|_| argument.get_action().takes_values());
        let long = argument
            .get_long()
            .map(|long| format!("\\fB\\-\\-{}\\fR", escape(long)));
        let short = argument
            .get_short()
            .map(|short| format!("\\fB\\-{short}\\fR"));
        let mut names: Vec<_> = short.into_iter().chain(long).collect();
        let value = value.map(|v| format!("\\fI{}\\fR", escape(v)));
        if names.is_empty() {
            names.extend(value);
        } else if let (Some(last), Some(value)) = (names.last_mut(), value) {
            *last += &format!(" {value}");
        }
        let defaults: Vec<_> = argument
            .get_default_values()
            .iter()
            .map(|v| v.to_string_lossy())
            .collect();
        let default = if defaults.is_empty() {
            String::new()
        } else {
            format!(" Default: {}.", defaults.join(" "))
        };
        let choices: Vec<_> = argument
            .get_possible_values()
            .iter()
            .map(|v| v.get_name().to_owned())
            .collect();
        let takes = argument.get_action().takes_values() && !choices.is_empty();
        let choices = if takes {
            format!(" One of {}.", choices.join(", "))
        } else {
            String::new()
        };
        let stop = if help.ends_with('.') { "" } else { "." };
        text += &format!(
            ".TP\n{}\n{}\n",
            names.join(", "),
            escape(&format!("{help}{stop}{choices}{default}"))
        );
    }
    text + &verb
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .map(|below| verb_text(&name, below))
        .collect::<String>()
}

fn entries(list: &[(&str, &str)]) -> String {
    list.iter()
        .map(|(name, text)| format!(".TP\n\\fB{}\\fR\n{}\n", escape(name), escape(text)))
        .collect()
}

fn examples(list: &[(&str, &str)]) -> String {
    list.iter()
        .map(|(what, line)| {
            format!(
                ".PP\n{}\n.PP\n.nf\n.RS\n{}\n.RE\n.fi\n",
                escape(what),
                escape(line)
            )
        })
        .collect()
}

fn rest() -> String {
    let codes: String = Exit::ALL
        .iter()
        .map(|e| format!(".TP\n\\fB{}\\fR\n{}\n", e.code(), escape(e.meaning())))
        .collect();
    let codes = codes + ".TP\n\\fB70\\fR\nfrom carpd run: the engine died while stopping\n";
    format!(
        ".SH SIGNALS\n{}.SH \"EXIT STATUS\"\n{codes}.SH ENVIRONMENT\n{}.SH FILES\n{}.SH EXAMPLES\n{}.SH \"SEE ALSO\"\n\
         carpd.toml(5), ip(8), journalctl(1), systemd.exec(5)\n",
        entries(SIGNALS),
        entries(ENVIRONMENT),
        entries(&[(CONFIG, CONFIG_TEXT)]) + &entries(FILES),
        examples(EXAMPLES),
    )
}

const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGTERM, SIGINT, SIGQUIT",
        "Stop in good order. A master takes its addresses down, tells its peers that it is leaving, runs its hooks and undoes what they \
         did, all within shutdown-timeout (30 s unless configured).",
    ),
    (
        "SIGHUP",
        "Reload the configuration and all hooks, as carpd reload does; the result is in the log.",
    ),
    (
        "SIGUSR1",
        "Write the state of every virtual host to the log.",
    ),
    (
        "SIGUSR2",
        "A master hands over and does not take part for 3 s.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "CARPD_LOG",
        "What is logged: a level, or directives such as info,carpd::proto=trace. --log-level overrides it.",
    ),
    ("NO_COLOR", "If set and not empty, output is not coloured."),
    (
        "CREDENTIALS_DIRECTORY",
        "Set by systemd: the directory from which passwords configured as a credential are read.",
    ),
    (
        "JOURNAL_STREAM",
        "Set by systemd: if standard error is the journal, log messages go there with their fields (CARPD_VHID and so on).",
    ),
];

const CONFIG_TEXT: &str = "The configuration, in TOML. Paths in it are relative to its directory. Every key is described in carpd.toml(5).";

const FILES: &[(&str, &str)] = &[
    (
        "/run/carpd/",
        "Locks, and the ledger that records what this host holds and how to undo it.",
    ),
    (
        "/var/lib/carpd/",
        "What must survive a reboot, such as the persistent state of hooks.",
    ),
];

const EXAMPLES: &[(&str, &str)] = &[
    (
        "Check the configuration; every problem is shown with its line:",
        "carpd check /etc/carpd/carpd.toml",
    ),
    (
        "Restart only if the configuration is valid:",
        "carpd check && systemctl restart carpd",
    ),
    (
        "Run in the foreground and watch every packet:",
        "carpd run --config ./carpd.toml --log-level trace",
    ),
    (
        "See what happened to one virtual host:",
        "journalctl -t carpd CARPD_VHID=40",
    ),
    (
        "Watch a failover on virtual hosts, without touching this one:",
        "carpd lab",
    ),
];
