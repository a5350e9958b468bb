//! A terminal for what is run in a host: what is written to it becomes a screen.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use carpd::lab::{Lab, Process};
use carpd::process::Patience;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::ttyname;

use crate::Outcome;
use crate::rig::{Failed, sh};

/// Between two looks at the screen.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What runs on the terminal: the program, with its number in a file, and then its exit status.
const SCRIPT: &str = "/run/lab/on-terminal";

/// A program on a pseudo terminal, and what a person would see there.
pub(crate) struct Pty {
    ours: File,
    theirs: OwnedFd,
    /// As it was before.
    before: Termios,
    process: Process,
    pub(crate) screen: Screen,
}

const fn winsize((columns, lines): (u16, u16)) -> Winsize {
    Winsize {
        ws_row: lines,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Pty {
    /// Runs a shell's command line in host a, as the session leader of a terminal of its own.
    pub(crate) fn run(lab: &Lab, command: &str, size: (u16, u16)) -> Result<Self, Failed> {
        let pty = openpty(Some(&winsize(size)), None)?;
        fcntl(&pty.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let before = tcgetattr(&pty.slave)?;
        let path = ttyname(&pty.slave)?;
        let path = path.display();
        // The signals of the terminal's keys are for the program, and not for its shell.
        let script = format!(
            "trap : INT QUIT\nbash -c 'echo $$ >{SCRIPT}.pid; exec {command}'\necho $? >{SCRIPT}.status\n"
        );
        lab.host("a").write(SCRIPT, 0o755, &script)?;
        let line = format!(
            "export TERM=xterm-256color; exec setsid --wait --ctty bash {SCRIPT} <{path} >{path} 2>&1"
        );
        let process = lab.host("a").spawn(&["bash", "-c", &line])?;
        Ok(Self {
            ours: pty.master.into(),
            theirs: pty.slave,
            before,
            process,
            screen: Screen::new(size),
        })
    }

    fn read(&mut self) -> Outcome {
        let mut bytes = [0; 16 << 10];
        loop {
            match self.ours.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => self.screen.take(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until the screen is as wanted.
    pub(crate) fn until(
        &mut self,
        what: &str,
        timeout: Duration,
        is_so: impl Fn(&Screen) -> bool,
    ) -> Outcome {
        let patience = Patience::of(timeout);
        loop {
            self.read()?;
            if is_so(&self.screen) {
                return Ok(());
            }
            if patience.left().is_zero() {
                let screen = self.screen.text();
                return Err(format!("not seen: {what}; the screen:\n{screen}").into());
            }
            patience.pause(LOOK_AGAIN);
        }
    }

    /// Waits until these words are to be seen.
    pub(crate) fn sees(&mut self, words: &str, timeout: Duration) -> Outcome {
        self.until(words, timeout, |screen| screen.text().contains(words))
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) -> Outcome {
        Ok(self.ours.write_all(keys.as_bytes())?)
    }

    /// Gives the terminal another size, of which the kernel tells the program.
    pub(crate) fn resize(&mut self, size: (u16, u16)) -> Outcome {
        self.read()?;
        self.screen = Screen {
            size: (usize::from(size.0), usize::from(size.1)),
            ..self.screen.clone()
        };
        self.screen.clear();
        let (ws_col, ws_row) = size;
        let winsize = rustix::termios::Winsize {
            ws_row,
            ws_col,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(rustix::termios::tcsetwinsize(&self.ours, winsize)?)
    }

    /// Waits for the end of the program; its exit status as a shell has it. The terminal must be as it
    /// was before.
    pub(crate) fn ends(&mut self, lab: &Lab, timeout: Duration) -> Result<i32, Failed> {
        self.process.wait(timeout)?;
        self.read()?;
        assert!(!self.screen.is_alternate, "the alternate screen is left");
        assert!(self.screen.is_cursor_shown, "the cursor is there again");
        assert_eq!(
            tcgetattr(self.theirs.as_fd())?,
            self.before,
            "its modes are as they were"
        );
        let status = lab.host("a").read(&format!("{SCRIPT}.status"))?;
        Ok(status.trim().parse()?)
    }
}

/// Sends the program on the terminal a signal.
pub(crate) fn signal(lab: &Lab, signal: Signal) -> Outcome {
    let kill = format!("kill -{} $(cat {SCRIPT}.pid)", signal as i32);
    sh(lab, "a", &kill).map(drop)
}

/// What a terminal shows: as much of one as is used here.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    /// Columns and lines.
    size: (usize, usize),
    lines: Vec<Vec<char>>,
    at: (usize, usize),
    pub(crate) is_alternate: bool,
    pub(crate) is_cursor_shown: bool,
    /// How often a colour was chosen.
    pub(crate) colours: usize,
    /// The beginning of what is not complete yet.
    rest: Vec<u8>,
}

impl Screen {
    fn new((columns, lines): (u16, u16)) -> Self {
        let mut screen = Self {
            size: (columns.into(), lines.into()),
            lines: Vec::new(),
            at: (0, 0),
            is_alternate: false,
            is_cursor_shown: true,
            colours: 0,
            rest: Vec::new(),
        };
        screen.clear();
        screen
    }

    fn clear(&mut self) {
        self.lines = vec![vec![' '; self.size.0]; self.size.1];
    }

    /// Its words.
    pub(crate) fn text(&self) -> String {
        let line = |cells: &Vec<char>| {
            let line: String = cells.iter().collect();
            line.trim_end().to_owned() + "\n"
        };
        self.lines.iter().map(line).collect()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.rest);
        let whole = match std::str::from_utf8(&bytes) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let mut text = std::str::from_utf8(&bytes[..whole]).unwrap();
        while let Some(c) = text.chars().next() {
            let Some(after) = text.strip_prefix("\u{1b}[") else {
                if c == '\u{1b}' && text.len() == 1 {
                    break;
                }
                text = &text[c.len_utf8()..];
                self.put(c);
                continue;
            };
            let Some(end) = after.find(|c: char| ('@'..='~').contains(&c)) else {
                break;
            };
            self.obey(&after[..end], after.as_bytes()[end]);
            text = &after[end + 1..];
        }
        let left = text.len() + bytes.len() - whole;
        self.rest = bytes[bytes.len() - left..].to_vec();
    }

    fn put(&mut self, c: char) {
        match c {
            '\r' => self.at.0 = 0,
            '\n' => self.at.1 += 1,
            c if c.is_control() => {}
            c => {
                let line = self.lines.get_mut(self.at.1);
                if let Some(cell) = line.and_then(|line| line.get_mut(self.at.0)) {
                    *cell = c;
                }
                self.at.0 += 1;
            }
        }
    }

    fn obey(&mut self, parameters: &str, command: u8) {
        let mut numbers = parameters.split(';').map(|n| n.parse::<usize>().ok());
        let mut next = || numbers.next().flatten().unwrap_or(1).saturating_sub(1);
        match (command, parameters) {
            (b'H', _) => {
                let line = next();
                self.at = (next(), line);
            }
            (b'J', "2") => self.clear(),
            (b'J', _) => {
                let rest = self.lines.iter_mut().skip(self.at.1);
                rest.for_each(|line| line.fill(' '));
            }
            (b'K', _) => {
                let line = self.lines.get_mut(self.at.1);
                if let Some(rest) = line.and_then(|line| line.get_mut(self.at.0..)) {
                    rest.fill(' ');
                }
            }
            (b'h' | b'l', "?1049") => {
                self.is_alternate = command == b'h';
                self.clear();
            }
            (b'h' | b'l', "?25") => self.is_cursor_shown = command == b'h',
            (b'm', _) => {
                let colours = parameters.split(';');
                self.colours += colours
                    .filter(|code| code.starts_with('3') && code.len() == 2 && *code != "39")
                    .count();
            }
            _ => {}
        }
    }
}
