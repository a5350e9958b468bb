//! What a person sees at a terminal: `carpd top`, and `carpd status --watch`.

use std::time::Duration;

use carpd::lab::Lab;
use nix::sys::signal::Signal;

use crate::pty::{self, Pty};
use crate::rig::{CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, lan};
use crate::{Case, Outcome};

const CONFIG: &str = "--config /run/lab/carpd.toml";
const USUAL: (u16, u16) = (80, 24);

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new(
        "top::status_is_shown_anew_in_colours_until_ctrl_c",
        watched,
    )];
    if cfg!(feature = "top") {
        cases.extend([
            Case::new("top::shows_a_virtual_host_and_obeys_the_keys", keys),
            Case::new("top::gives_the_terminal_back_when_a_signal_ends_it", ended),
            Case {
                limit: Duration::from_secs(60),
                ..Case::new("top::says_that_the_daemon_is_gone_and_finds_it_again", gone)
            },
        ]);
    }
    cases
}

fn master(lab: &Lab) -> Result<Daemon, Failed> {
    let spec = Carpd::new("a").hook("function on_master() end", "");
    let mut daemon = spec.start(lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    Ok(daemon)
}

fn watched() -> Outcome {
    let lab = lan(&["a"])?;
    let daemon = master(&lab)?;
    for (before, coloured) in [("", true), ("NO_COLOR=1 ", false)] {
        let command = format!("env {before}{CARPD} status --watch 1 {CONFIG}");
        let mut pty = Pty::run(&lab, &command, USUAL)?;
        pty.sees("1 virtual host: 1 master; no problems", SOON)?;
        pty.sees("CHANGED", SOON)?;
        pty.sees(" s ago", SOON)?;
        assert_eq!(pty.screen.colours > 0, coloured, "{:?}", pty.screen);
        // Ctrl-C, as the terminal's line discipline has it.
        pty.press("\u{3}")?;
        pty.ends(&lab, SOON)?;
    }
    daemon.stop()
}

fn keys() -> Outcome {
    let lab = lan(&["a"])?;
    let daemon = master(&lab)?;
    let mut pty = Pty::run(&lab, &format!("{CARPD} top {CONFIG}"), USUAL)?;
    pty.sees("1 virtual host: 1 master; no problems", SOON)?;
    assert!(pty.screen.is_alternate && !pty.screen.is_cursor_shown);
    assert!(pty.screen.colours > 0);
    // One second after the other.
    for marks in ["▲", "▲▲", "▲▲▲"] {
        pty.sees(marks, SOON)?;
    }
    pty.sees("backup -> master", SOON)?;
    pty.sees("hook h: on_master done", SOON)?;
    for (keys, seen) in [
        ("?", "KEYS"),
        ("\u{1b}", "NAME"),
        ("/nobody", "/nobody"),
        ("\r", "no virtual host fits"),
        ("\u{1b}", "web"),
        ("\u{1b}[B\r", "vhid 40 on eth0"),
    ] {
        pty.press(keys)?;
        pty.sees(seen, SOON)?;
    }
    pty.press("\u{1b}")?;
    pty.sees("q quit", SOON)?;
    let is_wide = |pty: &mut Pty| pty.sees("PENALTY", SOON);
    pty.resize((160, 50))?;
    is_wide(&mut pty)?;
    pty.resize((10, 2))?;
    pty.sees("too small:", SOON)?;
    pty.resize(USUAL)?;
    pty.sees("1 virtual host: 1 master; no problems", SOON)?;
    pty.press("q")?;
    assert_eq!(pty.ends(&lab, SOON)?, 0);
    daemon.stop()
}

fn ended() -> Outcome {
    let lab = lan(&["a"])?;
    let daemon = master(&lab)?;
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        let command = format!("env NO_COLOR=1 {CARPD} top --interval 3600 {CONFIG}");
        let mut pty = Pty::run(&lab, &command, USUAL)?;
        pty.sees("1 virtual host", SOON)?;
        assert_eq!(pty.screen.colours, 0);
        pty::signal(&lab, signal)?;
        // As a shell is told.
        assert_eq!(pty.ends(&lab, SOON)?, 128 + signal as i32);
    }
    // Ctrl-Z, and back.
    let mut pty = Pty::run(&lab, &format!("{CARPD} top {CONFIG}"), USUAL)?;
    pty.sees("1 virtual host", SOON)?;
    pty.press("\u{1a}")?;
    pty.until("the ordinary screen", SOON, |screen| {
        !screen.is_alternate && screen.is_cursor_shown
    })?;
    pty::signal(&lab, Signal::SIGCONT)?;
    pty.until("all of it again", SOON, |screen| {
        screen.is_alternate && screen.text().contains("1 virtual host")
    })?;
    pty.press("\u{3}")?;
    assert_eq!(pty.ends(&lab, SOON)?, 0);
    // Without a terminal there is nothing to take.
    let words = crate::rig::sh(&lab, "a", &format!("{CARPD} top {CONFIG} 2>&1; echo $?"))?;
    assert!(words[0].contains("needs a terminal"), "{words:?}");
    assert_eq!(words.last().map(String::as_str), Some("2"));
    daemon.stop()
}

fn gone() -> Outcome {
    let lab = lan(&["a"])?;
    let daemon = master(&lab)?;
    let mut pty = Pty::run(&lab, &format!("{CARPD} top web {CONFIG}"), (120, 24))?;
    pty.sees("1 master; no problems", SOON)?;
    daemon.stop()?;
    pty.sees("trying again", SOON)?;
    // What was known before is still there.
    pty.sees("web ", SOON)?;
    let mut daemon = Carpd::new("a").restart(&lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    pty.until("the daemon again", TAKEOVER, |screen| {
        let text = screen.text();
        !text.contains("trying again") && text.contains("1 master; no problems")
    })?;
    pty.press("q")?;
    assert_eq!(pty.ends(&lab, SOON)?, 0);
    // One that never was is an error like any other.
    let command = format!("{CARPD} top nobody {CONFIG}");
    let mut pty = Pty::run(&lab, &command, USUAL)?;
    assert_eq!(pty.ends(&lab, SOON)?, 2);
    pty.sees("there is no virtual host nobody here", SOON)?;
    daemon.stop()
}
