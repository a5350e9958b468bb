//! Lets everything that is to happen at one time happen: hooks run in their own processes, in real
//! time, while the virtual clock stands still.

use std::time::Duration;

use tokio::task::Id;

use crate::host::clock::{self, Virtual};
use crate::types::Timestamp;

/// Hooks in runners need real time, and the processor. Nobody has said that it came to rest for so
/// long: then somebody looks all the same.
const BREATH: Duration = Duration::from_millis(5);
/// Beside the longest run that a hook may have: real time in one instant after which hooks are
/// given up.
pub(in super::super) const PATIENCE: Duration = Duration::from_secs(10);
/// Looks in a row that find nothing to do before it counts as quiet.
const QUIET_LOOKS: u32 = 3;
/// Turns at one instant after which nothing more can come of it.
const TURNS_MAX: u32 = 100_000;

/// What is played.
pub(in super::super) trait Settling {
    /// Has a hook something to do before the clock moves?
    fn is_working(&self) -> bool;
    /// Is a daemon being stopped?
    fn is_stopping(&self) -> bool;
    /// Hands what hooks have reported to their engines. True if there was something.
    fn tell(&mut self) -> bool;
    /// Writes down what has changed, and carries on what was sent.
    fn notice(&mut self);
}

/// A hook works, and no end of it is to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Endless;

/// How many turns there were at one instant.
#[derive(Debug, Default)]
pub(in super::super) struct Turns(u32);

impl Turns {
    /// Another one, now or later.
    ///
    /// # Errors
    /// [`Endless`]: there were too many.
    pub(in super::super) fn count(
        &mut self,
        now: Timestamp,
        next: Timestamp,
    ) -> Result<(), Endless> {
        self.0 = if next == now { self.0 + 1 } else { 0 };
        if self.0 > TURNS_MAX {
            return Err(Endless);
        }
        Ok(())
    }
}

/// Wakes the first that is due, by the order of these tasks.
pub(in super::super) async fn wake(clock: &Virtual, tasks: impl IntoIterator<Item = Id>) {
    if clock.next().is_none_or(|next| clock::now() < next) {
        return;
    }
    let tasks: Vec<Id> = tasks.into_iter().collect();
    let rank = |task| {
        let place = tasks.iter().position(|known| Some(*known) == task);
        place.unwrap_or(usize::MAX)
    };
    if clock.wake_one(rank) {
        // Let the wake-up take effect before checking whether it has work to do.
        tokio::task::yield_now().await;
    }
}

/// Lets hooks work, and what follows from how they ended, until nothing is left to do at this
/// instant.
///
/// # Errors
/// [`Endless`]: they work on for longer than `patience`, in real time.
pub(in super::super) async fn settle(
    play: &mut impl Settling,
    patience: Duration,
) -> Result<(), Endless> {
    play.notice();
    let (mut quiet, mut looked, mut breaths) = (0, false, 0_u32);
    while quiet < QUIET_LOOKS {
        // While a hook is running nothing is reported or recorded, so that nothing depends on which
        // process was quicker.
        let working = play.is_working();
        let told = !working && play.tell();
        if !working {
            if told || looked {
                play.notice();
            }
            if !told && !play.is_stopping() {
                return Ok(());
            }
        }
        looked = true;
        quiet = if told || working { 0 } else { quiet + 1 };
        if !working {
            tokio::task::yield_now().await;
        } else if !clock::rested(BREATH).await {
            breaths += 1;
            if BREATH * breaths > patience {
                return Err(Endless);
            }
        }
    }
    Ok(())
}
