//! A virtual host whose hook failed.

use crate::engine::vhost::escalation::Escalation;
use crate::types::Timestamp;

/// A hook failed here.
#[derive(Debug)]
pub(in crate::engine) struct Degraded {
    pub(in crate::engine) reason: String,
    pub(in crate::engine) retry_at: Option<Timestamp>,
    /// It wants another node to take over: `on-failure = "resign"`.
    pub(in crate::engine) unfit: bool,
    pub(in crate::engine) relief: Escalation,
}

impl Degraded {
    pub(in crate::engine) fn new(reason: String, unfit: bool) -> Self {
        Self {
            reason,
            retry_at: None,
            unfit,
            relief: Escalation::default(),
        }
    }

    /// Whether other nodes are preferred.
    pub(in crate::engine) const fn is_unfit(&self) -> bool {
        self.unfit
    }

    /// Its mastership ends. Returns what remains, if anything.
    pub(in crate::engine) fn leaves(mut self, now: Timestamp) -> Option<Self> {
        self.retry_at = None;
        self.relief.leaves(now);
        self.unfit.then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_failure_that_is_kept_is_forgotten_with_its_mastership() {
        let at = Timestamp::ZERO + Duration::from_secs(1);
        assert!(Degraded::new("no".into(), false).leaves(at).is_none());
        assert!(
            Degraded::new("no".into(), true)
                .leaves(at)
                .unwrap()
                .is_unfit()
        );
    }
}
