//! What packets are signed with: the settings, and for a while those before a change.

use std::iter;
use std::net::IpAddr;

use super::super::auth::{Authenticator, DIGEST_LEN};
use super::super::settings::Settings;
use super::Vhost;
use crate::types::{Family, Vhid};

/// What a packet is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    /// Key and addresses of the settings.
    Present,
    /// Those of [`Previous`](super::super::settings::Previous).
    Previous,
}

impl Vhost {
    pub(super) fn authenticator(settings: &Settings, vhid: Vhid) -> Authenticator {
        let addresses: Vec<IpAddr> = settings.addresses.iter().map(|a| a.ip).collect();
        Authenticator::new(
            &settings.key,
            vhid,
            &addresses,
            settings.openbsd_lladdr,
            settings.link_local,
        )
    }

    pub(super) fn previous_authenticator(settings: &Settings) -> Option<Authenticator> {
        let previous = settings.previous.clone()?;
        let then = Settings {
            key: previous.key,
            addresses: previous.addresses,
            ..settings.clone()
        };
        Some(Self::authenticator(&then, then.vhid))
    }

    /// What is signed with at present: the settings, and those before them while they count.
    fn signatures(&self) -> impl Iterator<Item = Signature> + use<> {
        let previous = self.settings.previous.as_ref();
        let counts = previous.is_some_and(|previous| self.now < previous.until);
        let previous = counts.then_some(Signature::Previous);
        iter::once(Signature::Present).chain(previous)
    }

    pub(super) const fn signer(&self, signature: Signature) -> &Authenticator {
        match (signature, &self.previous_auth) {
            (Signature::Previous, Some(previous)) => previous,
            (Signature::Previous | Signature::Present, _) => &self.auth,
        }
    }

    /// Which of them gives this digest of a counter.
    pub(super) fn signature_of(
        &self,
        counter: u64,
        digest: &[u8; DIGEST_LEN],
    ) -> Option<Signature> {
        let mut all = self.signatures();
        all.find(|signature| self.signer(*signature).verify(counter, digest))
    }

    /// What each packet is sent in: each family, IPv4 first, and each signature.
    pub(super) fn forms(&self) -> Vec<(Family, Signature)> {
        let families = self.settings.families();
        let with = |family| self.signatures().map(move |signature| (family, signature));
        families.flat_map(with).collect()
    }
}
