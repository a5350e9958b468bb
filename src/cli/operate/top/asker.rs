//! Asks the daemons in a thread of its own: one that does not answer must not keep the keys waiting.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::super::answers::{Answer, ask_each};
use super::super::daemon::Daemon;

/// The other end of the thread.
pub(super) struct Asker {
    orders: Sender<()>,
    answers: Receiver<Vec<Answer>>,
    /// Readable when there are answers.
    pub(super) answered: Arc<EventFd>,
    /// Whether an answer is awaited.
    is_waiting: bool,
    thread: JoinHandle<()>,
}

impl Asker {
    /// Starts it.
    pub(super) fn start(daemon: Daemon) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let answered = Arc::new(EventFd::from_value_and_flags(0, flags)?);
        let (orders, asked) = mpsc::channel();
        let (sender, answers) = mpsc::channel();
        let bell = Arc::clone(&answered);
        let ask = move || {
            while asked.recv().is_ok() && sender.send(ask_each(&daemon)).is_ok() {
                _ = bell.write(1);
            }
        };
        let thread = thread::Builder::new().name("asker".to_owned()).spawn(ask)?;
        Ok(Self {
            orders,
            answers,
            answered,
            is_waiting: false,
            thread,
        })
    }

    /// Asks, unless an answer is still awaited. Returns false if that is so.
    pub(super) fn ask(&mut self) -> io::Result<bool> {
        if self.thread.is_finished() {
            return Err(io::Error::other("the thread that asks has ended"));
        }
        let may = !self.is_waiting;
        if may {
            self.is_waiting = self.orders.send(()).is_ok();
        }
        Ok(may)
    }

    /// What has been answered.
    pub(super) fn answer(&mut self) -> Option<Vec<Answer>> {
        let answer = self.answers.try_recv().ok()?;
        self.is_waiting = false;
        Some(answer)
    }
}
