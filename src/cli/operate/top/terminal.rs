//! The terminal while it is ours: it is put back however the program ends.

use std::io::{self, Stdout, Write as _, stdout};
use std::os::fd::AsFd as _;
use std::panic;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// Those that end us, and so would leave the terminal as it is.
const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// What woke us.
#[derive(Debug)]
pub(super) enum Woken {
    /// The terminal has another size.
    Resized,
    /// A signal says that we are to end.
    Ended(Signal),
    /// The terminal is gone.
    HungUp,
    /// Keys were pressed.
    Keys(Vec<KeyEvent>),
    /// A daemon has answered.
    Answered,
    /// Nothing, for the whole time.
    Idle,
}

/// The signals that a [`Screen`] waits for, in this thread and those that it starts from now on.
pub(super) fn block_signals() -> nix::Result<SignalFd> {
    let mut signals: SigSet = ENDING.into_iter().collect();
    signals.add(Signal::SIGTSTP);
    signals.add(Signal::SIGWINCH);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Takes the terminal. What it showed before is kept apart.
fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, Hide)
}

/// Gives it back as it was. As far as possible: it may be gone.
fn leave() {
    _ = execute!(stdout(), LeaveAlternateScreen, Show);
    _ = disable_raw_mode();
    _ = stdout().flush();
}

/// The terminal, taken for as long as this lives.
pub(super) struct Screen {
    signals: SignalFd,
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes it.
    pub(super) fn enter(signals: SignalFd) -> io::Result<Self> {
        // A message about a panic is to be read on the ordinary screen.
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            leave();
            report(what);
        }));
        enter().inspect_err(|_| leave())?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout())).inspect_err(|_| leave())?;
        Ok(Self { signals, terminal })
    }

    /// Waits until there is something to do.
    pub(super) fn wait(&mut self, answered: &EventFd, length: Duration) -> io::Result<Woken> {
        // Keys that were read together with others.
        let pressed = keys()?;
        if !pressed.is_empty() {
            return Ok(Woken::Keys(pressed));
        }
        let input = io::stdin();
        let of = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut all = [
            of(self.signals.as_fd()),
            of(input.as_fd()),
            of(answered.as_fd()),
        ];
        // A part of a millisecond more, so that what was waited for has come.
        let length = length.saturating_add(Duration::from_millis(1));
        let length = PollTimeout::try_from(length).unwrap_or(PollTimeout::MAX);
        match poll(&mut all, length) {
            Ok(_) => {}
            // Somebody stopped us for a while.
            Err(Errno::EINTR) => return Ok(Woken::Resized),
            Err(error) => return Err(error.into()),
        }
        let [signal, input, answer] = all.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if signal.contains(PollFlags::POLLIN)
            && let Some(info) = self.signals.read_signal()?
        {
            let signal = i32::try_from(info.ssi_signo).unwrap_or_default();
            return Ok(match Signal::try_from(signal) {
                Ok(Signal::SIGTSTP) => {
                    self.suspend()?;
                    Woken::Resized
                }
                Ok(signal) if ENDING.contains(&signal) => Woken::Ended(signal),
                Ok(_) | Err(_) => Woken::Resized,
            });
        }
        if input.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            return Ok(Woken::HungUp);
        }
        if input.contains(PollFlags::POLLIN) {
            return keys().map(Woken::Keys);
        }
        if answer.contains(PollFlags::POLLIN) {
            _ = answered.read();
            return Ok(Woken::Answered);
        }
        Ok(Woken::Idle)
    }

    /// Stops until the shell says otherwise, with the terminal as it was before.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        kill(Pid::this(), Signal::SIGSTOP)?;
        enter()?;
        // A new one knows that nothing is on the screen. `Terminal::clear` would ask the terminal where
        // its cursor is, and wait for an answer among the keys.
        self.terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        Ok(())
    }

    /// Ends as the signal wants, after the terminal is as it was before.
    pub(super) fn end_by(self, signal: Signal) -> io::Result<()> {
        drop(self);
        raise(signal)?;
        let signals: SigSet = [signal].into_iter().collect();
        signals.thread_unblock()?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// The keys that have been pressed.
fn keys() -> io::Result<Vec<KeyEvent>> {
    let mut keys = Vec::new();
    while event::poll(Duration::ZERO)? {
        if let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
        {
            keys.push(key);
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{ErrorKind, Read as _};
    use std::process::Command;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use nix::pty::openpty;
    use nix::sys::termios::tcgetattr;

    use super::*;

    /// What the other test runs, on a terminal.
    const PANICS: &str = "cli::operate::top::terminal::tests::panics";
    /// The variable that tells it so.
    const PANIC: &str = "CARPD_TEST_PANIC";

    #[test]
    fn a_panic_gives_the_terminal_back_before_its_message() {
        crate::process::limit::begin();
        let pty = openpty(None, None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let end = || pty.slave.try_clone().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", PANICS, "--nocapture"])
            .env(PANIC, "1")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        assert!(!child.wait().unwrap().success());
        fcntl(&pty.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut written = Vec::new();
        let mut ours = File::from(pty.master);
        let read = ours.read_to_end(&mut written);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
        let written = String::from_utf8_lossy(&written);
        let place = |words: &str| {
            written
                .find(words)
                .unwrap_or_else(|| panic!("{words}: {written:?}"))
        };
        let places = ["?1049h", "?25l", "?1049l", "?25h", "on purpose"].map(place);
        assert!(places.is_sorted(), "{written:?}");
        assert_eq!(tcgetattr(&pty.slave).unwrap(), before);
    }

    /// Does nothing, unless the other test runs it.
    #[test]
    fn panics() {
        if std::env::var_os(PANIC).is_some() {
            let _screen = Screen::enter(block_signals().unwrap()).unwrap();
            panic!("on purpose");
        }
    }
}
