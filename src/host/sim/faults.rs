//! What goes wrong on a host in memory, and when.

use std::time::Duration;

use super::unit_name;
use crate::effect::Effect;
use crate::host::HostError;

/// What happens to an effect instead of its being done at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happens {
    /// It fails.
    Fails(HostError),
    /// It does not end by itself.
    Hangs,
    /// It takes so long.
    Takes(Duration),
    /// Whoever asks for it dies of it: a host itself knows nothing of processes.
    Kills,
}

/// A trouble that waits for its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The effect as it prints, or its first words: `service.start httpd`, `service.start`.
    pub effect: String,
    /// What happens.
    pub happens: Happens,
    /// How many such effects go well before.
    pub after: u32,
    /// How many meet it then.
    pub times: u32,
}

impl Trouble {
    /// Is it about this effect?
    #[must_use]
    pub fn is_about(&self, effect: &str) -> bool {
        let rest = effect.strip_prefix(unit_name(&self.effect));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }
}

/// The troubles of one host.
#[derive(Debug, Clone, Default)]
pub(super) struct Troubles(Vec<Trouble>);

impl Troubles {
    pub(super) fn add(&mut self, trouble: Trouble) {
        self.0.push(trouble);
    }

    /// Those of this effect are over.
    pub(super) fn end(&mut self, effect: &str) {
        self.0.retain(|trouble| trouble.effect != effect);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What happens to this effect, if anything: the newest trouble that is about it, and one less
    /// of that is left.
    pub(super) fn meet(
        &mut self,
        effect: &Effect,
        of: impl Fn(&Happens) -> bool,
    ) -> Option<Happens> {
        let text = effect.to_string();
        let text = unit_name(&text);
        for trouble in self
            .0
            .iter_mut()
            .rev()
            .filter(|trouble| of(&trouble.happens) && trouble.is_about(text))
        {
            if trouble.after > 0 {
                trouble.after -= 1;
            } else if trouble.times > 0 {
                trouble.times -= 1;
                return Some(trouble.happens.clone());
            }
        }
        None
    }
}
