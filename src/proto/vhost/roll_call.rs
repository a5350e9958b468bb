//! The roll call: backups are silent, so a master that is about to hand over asks who is there
//! (docs/protocol.md, section 14).

use std::time::Duration;

use super::super::auth::DIGEST_LEN;
use super::super::stats::Reject;
use super::super::wire::{LEN, Received, RollCall, Word, is_intact};
use super::io::{Kind, Output, Transmit};
use super::{Phase, Signature, Vhost};
use crate::types::{Family, Timestamp};

/// A backup answers no more often than this, whoever asks.
const ANSWER_EVERY: Duration = Duration::from_millis(200);

impl Vhost {
    /// Asks which backups are there.
    pub(super) fn call_roll(&mut self) {
        if !matches!(self.phase, Phase::Master(_)) {
            return;
        }
        let counter = self.counter.take();
        self.called = Some(counter);
        for form in self.forms() {
            let packet = self.word(form, Word::Call, counter);
            self.outbox.push_back(Output::Transmit(packet));
        }
    }

    pub(super) fn hear_word(&mut self, said: &RollCall, packet: &Received<'_>, now: Timestamp) {
        let signature = match self.check_word(said, packet) {
            Ok(signature) => signature,
            Err(why) => {
                self.stats.reject(why);
                self.outbox.push_back(Output::Rejected(why, packet.src));
                return;
            }
        };
        match (said.word, &self.phase) {
            (Word::Call, Phase::Backup(_)) if now >= self.answers_again => {
                self.answers_again = now + ANSWER_EVERY;
                // The caller may not know of another signature yet.
                let form = (Family::of(packet.src), signature);
                let answer = self.word(form, Word::Answer, said.counter);
                self.outbox.push_back(Output::Transmit(answer));
            }
            (Word::Answer, Phase::Master(_)) if self.called == Some(said.counter) => {
                self.outbox.push_back(Output::Answered {
                    peer: packet.src,
                    demotion: said.demotion,
                });
            }
            (Word::Call | Word::Answer, _) => {}
        }
    }

    fn check_word(&self, said: &RollCall, packet: &Received<'_>) -> Result<Signature, Reject> {
        let delivery = &self.settings.delivery;
        delivery.admits(packet.src, packet.dst, packet.ttl)?;
        if said.vhid != self.settings.vhid.get() {
            return Err(Reject::Vhid(said.vhid));
        }
        if !packet
            .payload
            .first_chunk::<LEN>()
            .is_some_and(|bytes| is_intact(bytes, packet.src, packet.dst))
        {
            return Err(Reject::Checksum);
        }
        if !self.settings.uses(Family::of(packet.src)) {
            return Err(Reject::Family);
        }
        if matches!(self.phase, Phase::Init) {
            return Err(Reject::NotRunning);
        }
        self.signature_of(said.counter, &said.digest)
            .ok_or(Reject::Digest)
    }

    fn word(&self, (family, signature): (Family, Signature), word: Word, counter: u64) -> Transmit {
        let digest: [u8; DIGEST_LEN] = self.signer(signature).sign(counter);
        let said = RollCall {
            word,
            vhid: self.settings.vhid.get(),
            demotion: self.demotion(),
            counter,
            digest,
        };
        Transmit {
            family,
            kind: Kind::RollCall,
            payload: said.encode(),
        }
    }
}
