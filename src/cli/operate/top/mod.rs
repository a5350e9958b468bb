//! `carpd top`.

mod asker;
mod columns;
mod draw;
mod ink;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal as _, stdin};
use std::time::Duration;

use clap::ColorChoice;
use ratatui::crossterm::style::force_color_output;

use super::answers::{Answer, ask_each};
use super::daemon::Daemon;
use crate::cli::{Exit, Failure};
use crate::host::clock;
use crate::process::Patience;
use crate::terminal::Screen as Capabilities;
use crate::types::shown;
use asker::Asker;
use ink::Ink;
use terminal::{Screen, Woken, block_signals};
use view::{Then, View};

/// Watch virtual hosts, their advertisements and hooks.
///
/// It shows the state of each virtual host, problems first; what became of the advertisement of each
/// of the last intervals; demotions and link penalties; and the last transitions and runs of hooks.
/// Press ? for the keys.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  carpd top\n  carpd top web db --interval 5")]
pub(in crate::cli) struct TopArgs {
    /// Show only these virtual hosts.
    #[arg(value_name = "NAME")]
    vhosts: Vec<String>,
    #[command(flatten)]
    daemon: Daemon,
    /// Ask the daemon every so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// When to use colours. With `auto`: unless NO_COLOR is set.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = false
    )]
    color: ColorChoice,
}

pub(in crate::cli) fn top(args: &TopArgs) -> Result<Exit, Failure> {
    let capabilities = Capabilities::of(args.color);
    if !capabilities.is_terminal || !stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "`carpd top` needs a terminal")
            .hint("`carpd status` works without one"));
    }
    // What is wrong from the beginning is said like that of any other command.
    let mut view = View::new(args.vhosts.clone());
    view.take(first(args)?, clock::wall_ms());
    let system =
        |error: io::Error| Failure::new(Exit::Cannot, format!("cannot use the terminal: {error}"));
    // Before there is a second thread, which would get them.
    let signals = block_signals().map_err(|error| system(error.into()))?;
    let asker = Asker::start(args.daemon.clone()).map_err(system)?;
    // NO_COLOR has been considered.
    force_color_output(capabilities.colour);
    let screen = Screen::enter(signals).map_err(system)?;
    let interval = Duration::from_secs(args.interval);
    watch(screen, asker, view, interval, Ink::new(capabilities.colour)).map_err(system)
}

/// The first answers: at least one daemon must answer, and have the virtual hosts that were named.
fn first(args: &TopArgs) -> Result<Vec<Answer>, Failure> {
    let answers = ask_each(&args.daemon);
    let all_failed = answers.iter().all(|answer| answer.status.is_err());
    if all_failed {
        let failure = answers.into_iter().find_map(|answer| answer.status.err());
        return Err(failure.unwrap_or_else(|| Failure::new(Exit::Cannot, "no daemon runs here")));
    }
    let complete = answers.iter().all(|answer| answer.status.is_ok());
    let is_there = |name: &String| {
        let mut statuses = answers.iter().flat_map(|answer| &answer.status);
        statuses.any(|status| {
            status
                .vhosts
                .iter()
                .any(|vhost| vhost.name.as_str() == name)
        })
    };
    match args.vhosts.iter().find(|name| !is_there(name)) {
        Some(name) if complete => Err(Failure::new(
            Exit::Usage,
            format!("there is no virtual host {} here", shown(name)),
        )
        .hint("`carpd status` shows those that there are")),
        Some(_) | None => Ok(answers),
    }
}

/// Until a key or a signal ends it.
fn watch(
    mut screen: Screen,
    mut asker: Asker,
    mut view: View,
    interval: Duration,
    ink: Ink,
) -> io::Result<Exit> {
    let mut next = Patience::of(interval);
    loop {
        let now_ms = clock::wall_ms();
        screen
            .terminal
            .draw(|frame| draw::draw(&mut view, ink, now_ms, frame))?;
        if next.left().is_zero() {
            next = Patience::of(interval);
            if !asker.ask()? {
                view.wait_longer();
            }
        }
        match screen.wait(&asker.answered, next.left())? {
            Woken::Keys(keys) => {
                for key in keys {
                    match view.press(key) {
                        Then::Stay => {}
                        Then::Suspend => screen.suspend()?,
                        Then::Quit => return Ok(Exit::Success),
                    }
                }
            }
            Woken::Answered => {
                if let Some(answers) = asker.answer() {
                    view.take(answers, clock::wall_ms());
                }
            }
            Woken::Ended(signal) => {
                screen.end_by(signal)?;
                // It was blocked from the beginning by who started us.
                return Ok(Exit::Success);
            }
            Woken::HungUp => return Ok(Exit::Success),
            Woken::Resized | Woken::Idle => {}
        }
    }
}
