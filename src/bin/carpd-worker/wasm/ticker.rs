//! Advances the epoch while a component runs, and rests while none does.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::Engine;

/// The time between two checks of the clocks.
const TICK: Duration = Duration::from_millis(1);

/// The thread needs little stack, and the runner's address space is small.
const STACK: usize = 128 << 10;

#[derive(Debug, Default)]
struct State {
    /// The thread has started.
    alive: bool,
    /// A component runs.
    running: bool,
    /// The thread is checking the clock: from the beginning of a run to the first tick after its
    /// end.
    ticking: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A thread that advances the epoch.
#[derive(Debug, Clone)]
pub(super) struct Ticker(Arc<Shared>);

/// While this is alive, the epoch advances.
#[derive(Debug)]
pub(super) struct Ticking<'a>(&'a Ticker);

impl Ticker {
    /// Starts the thread and waits until it only waits: from then on the system call filter may be
    /// installed.
    pub(super) fn start(engine: Engine) -> std::io::Result<Self> {
        let ticker = Self(Arc::default());
        let own = ticker.clone();
        std::thread::Builder::new()
            .name("epoch".to_owned())
            .stack_size(STACK)
            .spawn(move || own.serve(&engine))?;
        let mut state = ticker.state();
        while !state.alive {
            state = ticker
                .0
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        Ok(ticker)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, engine: &Engine) -> ! {
        let mut state = self.state();
        state.alive = true;
        self.0.changed.notify_all();
        loop {
            if !state.ticking {
                state = self
                    .0
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state = self
                .0
                .changed
                .wait_timeout(state, TICK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            if state.running {
                engine.increment_epoch();
            } else {
                state.ticking = false;
            }
        }
    }

    /// Advances the epoch until the returned value is dropped.
    pub(super) fn run(&self) -> Ticking<'_> {
        let mut state = self.state();
        state.running = true;
        if !std::mem::replace(&mut state.ticking, true) {
            drop(state);
            self.0.changed.notify_one();
        }
        Ticking(self)
    }
}

impl Drop for Ticking<'_> {
    /// The thread notices at its next tick: waking it now would delay the answer of the run.
    fn drop(&mut self) {
        self.0.state().running = false;
    }
}
