//! What became of the last packets to and from the unicast peers of a virtual host.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use crate::engine::report::{PeerStatus, millis};
use crate::types::Timestamp;

/// The peers with which something has happened yet.
#[derive(Debug, Default)]
pub(in crate::engine) struct Peers(BTreeMap<IpAddr, Peer>);

#[derive(Debug, Default)]
struct Peer {
    /// The last packet that it sent and that was accepted.
    heard: Option<Timestamp>,
    /// The last packet to it that the kernel took.
    sent: Option<Timestamp>,
    /// The last one that the kernel refused, and why.
    refused: Option<(Timestamp, String)>,
}

impl Peers {
    /// A packet to this peer was sent, or was not.
    pub(in crate::engine) fn sent(&mut self, to: IpAddr, sent: &io::Result<()>, now: Timestamp) {
        let peer = self.0.entry(to).or_default();
        match sent {
            Ok(()) => peer.sent = Some(now),
            Err(error) => peer.refused = Some((now, error.to_string())),
        }
    }

    /// A packet from this peer was accepted.
    pub(in crate::engine) fn heard(&mut self, from: IpAddr, now: Timestamp) {
        self.0.entry(from).or_default().heard = Some(now);
    }

    /// The configuration has only these now.
    pub(in crate::engine) fn retain(&mut self, configured: &[IpAddr]) {
        self.0.retain(|ip, _| configured.contains(ip));
    }

    /// Of one of them.
    pub(in crate::engine) fn status(&self, address: IpAddr, now: Timestamp) -> PeerStatus {
        let peer = self.0.get(&address);
        let ago = |at: Timestamp| millis(now.since(at));
        let refused = peer.and_then(|peer| peer.refused.as_ref());
        PeerStatus {
            address,
            heard_ago_ms: peer.and_then(|peer| peer.heard).map(ago),
            sent_ago_ms: peer.and_then(|peer| peer.sent).map(ago),
            refused_ago_ms: refused.map(|(at, _)| ago(*at)),
            refused_reason: refused.map(|(_, why)| why.clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_happened_last_with_a_peer_is_known_until_it_is_none() {
        let (a, b) = ("192.0.2.2".parse().unwrap(), "192.0.2.3".parse().unwrap());
        let at = |ms| Timestamp::default() + Duration::from_millis(ms);
        let mut peers = Peers::default();
        peers.sent(a, &Ok(()), at(1000));
        peers.sent(b, &Err(io::Error::from_raw_os_error(libc::EPERM)), at(1000));
        peers.sent(a, &Ok(()), at(2000));
        peers.heard(b, at(2500));
        let now = at(3000);
        let status = peers.status(a, now);
        assert_eq!(
            (status.sent_ago_ms, status.heard_ago_ms),
            (Some(1000), None)
        );
        assert!(!status.is_refused());
        let status = peers.status(b, now);
        assert_eq!((status.sent_ago_ms, status.heard_ago_ms), (None, Some(500)));
        assert_eq!(status.refused_ago_ms, Some(2000));
        assert!(status.refused_reason.contains("not permitted") && status.is_refused());
        peers.sent(b, &Ok(()), at(3000));
        assert!(!peers.status(b, at(3001)).is_refused(), "no longer");
        peers.retain(&[a]);
        assert_eq!(peers.status(b, now).refused_ago_ms, None);
        assert_eq!(peers.status(a, now).sent_ago_ms, Some(1000));
    }
}
