//! A closer look at an advertisement whose digest is refused.

use crate::engine::report::{ProbableCause, Suspicion};
use crate::proto::Trial;
use crate::types::Name;

/// What is tried. It takes up to some milliseconds.
#[derive(Debug)]
pub(in crate::engine) struct Inquiry {
    /// With the virtual host that has the vhid.
    pub(in crate::engine) trial: Trial,
    /// With others on the interface, by name.
    pub(in crate::engine) others: Vec<(Name, Trial)>,
}

impl Inquiry {
    /// What is certainly wrong; `None` if that cannot be told.
    pub(in crate::engine) fn run(&self) -> Option<ProbableCause> {
        if let Some(difference) = self.trial.run() {
            return Some(ProbableCause {
                cause: Suspicion::OtherAddresses,
                text: difference.to_string(),
            });
        }
        let mut others = self.others.iter();
        let (owner, _) = others.find(|(_, trial)| trial.differs_by_vhid())?;
        Some(ProbableCause {
            cause: Suspicion::OtherOwner,
            text: format!(
                "it has the password and addresses of {owner}, so it uses the wrong vhid, or {owner} does"
            ),
        })
    }
}
