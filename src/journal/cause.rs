//! Why the daemon itself asks for a change of state.

use crate::proto::{Cause, Reason};

/// What the daemon, not the protocol, finds reason enough for a change of state. Each with the
/// sentence that says what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonCause {
    /// A hook failed and its `on-failure` is `resign`.
    HookFailed,
    /// A hook called `carp.resign`, or an operator asked for it.
    Resigned,
    /// An operator put the virtual host into maintenance.
    Maintenance,
    /// The virtual host's addresses could not be put up.
    AddressFailed,
    /// A hook's `health` failed and its `on-failure` is `resign`.
    Unhealthy,
    /// A track is down, and its `demote` is `fault`.
    Track,
    /// Its interface cannot be used for CARP any more.
    Interface,
    /// Advertisements could not be sent for so long that the lease of the addresses ran out.
    SendFailed,
    /// The daemon died. That transition was not observed; it is reported afterwards.
    Died,
}

impl DaemonCause {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::HookFailed,
        Self::Resigned,
        Self::Maintenance,
        Self::AddressFailed,
        Self::Unhealthy,
        Self::Track,
        Self::Interface,
        Self::SendFailed,
        Self::Died,
    ];

    /// The word for logs, metrics and hooks, beside those of [`Cause::as_str`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HookFailed => "hook-failed",
            Self::Resigned => "resigned",
            Self::Maintenance => "maintenance",
            Self::AddressFailed => "address-failed",
            Self::Unhealthy => "unhealthy",
            Self::Track => "track",
            Self::Interface => "interface",
            Self::SendFailed => "send-failed",
            Self::Died => "died",
        }
    }

    /// The reason to give to the protocol's machine: `what` happened, in a few words.
    #[must_use]
    pub fn because(self, what: &str) -> Reason {
        let word = self.as_str();
        let text = match self {
            // The text is complete in itself.
            Self::Died | Self::Track | Self::Interface => what.to_owned(),
            _ => format!("{word}: {what}"),
        };
        Reason::new(word, text)
    }

    /// Whether this is the cause.
    #[must_use]
    pub fn is(self, cause: &Cause) -> bool {
        matches!(cause, Cause::Asked(reason) if reason.word == self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_the_daemon_is_one_of_the_protocol() {
        let protocol = Cause::protocol();
        for own in DaemonCause::ALL {
            assert!(
                protocol.iter().all(|cause| cause.as_str() != own.as_str()),
                "{own:?}"
            );
            let asked = Cause::Asked(own.because("eth0 is gone"));
            assert!(own.is(&asked) && asked.to_string().ends_with("eth0 is gone"));
            assert_eq!(asked.as_str(), own.as_str());
            assert!(
                DaemonCause::ALL
                    .iter()
                    .all(|other| other.is(&asked) == (*other == own))
            );
        }
    }
}
