//! The page of one verb, carpd-VERB.1.

use clap_mangen::Man;

use super::roff::{escape, verbatim};
use super::{Page, verb_text};
use crate::cli::Exit;

pub(super) fn page(verb: &clap::Command) -> std::io::Result<Page> {
    let name = format!("carpd-{}", verb.get_name());
    let after = verb
        .get_after_long_help()
        .or(verb.get_after_help())
        .map(ToString::to_string);
    let mut command = verb
        .clone()
        .display_name(name.clone())
        .bin_name(format!("carpd {}", verb.get_name()))
        .disable_help_subcommand(true)
        .after_help("")
        .after_long_help("");
    command.build();
    let man = Man::new(command)
        .source(concat!("carpd ", env!("CARGO_PKG_VERSION")))
        .section("1")
        .manual("User commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let below: String = verb
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .map(|below| verb_text(&format!("carpd {}", verb.get_name()), below))
        .collect();
    let below = if below.is_empty() {
        below
    } else {
        format!(".SH COMMANDS\n{below}")
    };
    let tail = below + &after.map(|text| sections(&text)).unwrap_or_default() + &end();
    page.extend(tail.into_bytes());
    Ok((format!("{name}.1"), page))
}

/// What `--help` shows below the options: titles that end in a colon, and lines below each.
fn sections(text: &str) -> String {
    text.split("\n\n")
        .map(|part| match part.split_once(":\n") {
            Some((title, lines)) if !title.contains(['\n', ' ']) => {
                let lines = lines
                    .lines()
                    .map(|line| line.strip_prefix("  ").unwrap_or(line));
                format!(".SH {}\n{}", escape(&title.to_uppercase()), verbatim(lines))
            }
            _ => verbatim(part.lines()),
        })
        .collect()
}

fn end() -> String {
    let codes: String = Exit::ALL
        .iter()
        .map(|exit| format!(".TP\n\\fB{}\\fR\n{}\n", exit.code(), escape(exit.meaning())))
        .collect();
    format!(".SH \"EXIT STATUS\"\n{codes}.SH \"SEE ALSO\"\ncarpd(1), carpd.toml(5)\n")
}
