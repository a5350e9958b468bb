//! What the BSDs' own descriptions of a virtual host have in common.

use super::account::Id;
use super::target::Table;
use super::{Work, common};

/// A virtual host as FreeBSD knows it.
#[derive(Debug, Default, Clone)]
pub(super) struct Carp {
    pub(super) interface: String,
    pub(super) vhid: u8,
    pub(super) password: String,
    pub(super) advbase: Option<u8>,
    pub(super) advskew: Option<u8>,
    /// Each with its prefix length.
    pub(super) addresses: Vec<String>,
    /// Who else gets its advertisements, instead of the multicast group.
    pub(super) peers: Vec<String>,
    /// The interface that advertisements leave through, where that is said.
    pub(super) device: Option<String>,
    /// What stands in a description of it.
    pub(super) comment: String,
}

impl Carp {
    /// Takes what another description of the same virtual host says besides.
    pub(super) fn merge(&mut self, other: Self) {
        for address in other.addresses {
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        for peer in other.peers {
            if !self.peers.contains(&peer) {
                self.peers.push(peer);
            }
        }
        if self.password.is_empty() {
            self.password = other.password;
        }
        self.advbase = self.advbase.or(other.advbase);
        self.advskew = self.advskew.or(other.advskew);
    }
}

/// Adds it. FreeBSD preempts only if `net.inet.carp.preempt` is set.
pub(super) fn add(work: &mut Work<'_>, id: Id, carp: &Carp, preempt: bool) {
    let name = work
        .target
        .vhost_names
        .give(&format!("{}-{}", carp.interface, carp.vhid));
    let mut vhost = Table::default();
    vhost.set("name", name.as_str());
    vhost.set("interface", carp.interface.as_str());
    vhost.set("vhid", i64::from(carp.vhid));
    vhost.set("addresses", carp.addresses.clone());
    common::password(work, id, &mut vhost, &name, &carp.password);
    if let Some(advbase) = carp.advbase.filter(|advbase| *advbase != 1) {
        vhost.set("advbase", i64::from(advbase.min(254)));
    }
    if let Some(advskew) = carp.advskew.filter(|advskew| *advskew != 0) {
        vhost.set("advskew", i64::from(advskew.min(254)));
    }
    if !carp.peers.is_empty() {
        vhost.set("unicast", carp.peers.clone());
    }
    if preempt {
        vhost.set("preempt", true);
    }
    // Two equal masters of the BSDs both step back.
    vhost.set("tie-break", "yield");
    let comments = if carp.comment.is_empty() {
        Vec::new()
    } else {
        vec![carp.comment.clone()]
    };
    work.target.vhosts.push((comments, vhost));
    work.account.open(
        id,
        format!(
            "the virtual host {name}: interfaces have other names on Linux; replace {} by the one on the same network",
            crate::types::shown(&carp.interface)
        ),
    );
}
