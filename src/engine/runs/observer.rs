//! Observes hooks while they run: tests of hooks and plans show what a hook asks for and the
//! outcome.

use std::fmt::Debug;

use crate::effect::Effect;
use crate::hooks::{Answer, Ask, AskError, EntryPoint, HookError, HookEvent};
use crate::types::Name;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Number of the virtual host.
    pub vhost: usize,
    /// The hook.
    pub hook: &'a Name,
    /// Which of its functions runs.
    pub entry: EntryPoint,
}

/// What happens to the run that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It gets its answer.
    Lives,
    /// Its runner is killed under it.
    Dies,
}

/// Receives what happens, in order. It influences nothing except through the result of
/// [`Self::asks`].
pub trait Observer: Debug {
    /// A run begins, and is told this.
    fn begins(&self, _asker: Asker<'_>, _event: &HookEvent) {}
    /// It asks.
    fn asks(&self, _asker: Asker<'_>, _ask: &Ask) -> Fate {
        Fate::Lives
    }
    /// What it asked last was answered.
    fn answered(&self, _asker: Asker<'_>, _ask: &Ask, _answer: Result<&Answer, &AskError>) {}
    /// The run has ended, however.
    fn ended(&self, _asker: Asker<'_>, _result: Result<(), &HookError>) {}
    /// What a hook of this virtual host did was undone by this effect.
    fn undone(&self, _vhost: &Name, _effect: &Effect) {}
}
