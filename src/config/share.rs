//! Which virtual hosts of a configuration one engine runs: those of one network namespace.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use super::Config;
use super::reference::{self, vhost as key};
use crate::types::{Name, Netns};

/// The virtual hosts of one engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Share {
    /// All: the configuration has no `netns`.
    #[default]
    All,
    /// Those without `netns`, while others have one.
    Here,
    /// Those with this `netns`.
    Netns(Netns),
}

impl Share {
    /// Of a virtual host in a file in which some have a `netns`.
    fn of(netns: Option<&Netns>) -> Self {
        netns.map_or(Self::Here, |netns| Self::Netns(netns.clone()))
    }

    /// The namespace that it is in, if not that of the daemon.
    #[must_use]
    pub const fn netns(&self) -> Option<&Netns> {
        match self {
            Self::All | Self::Here => None,
            Self::Netns(netns) => Some(netns),
        }
    }

    /// The file that stands for its network namespace.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.netns()
            .map_or_else(|| PathBuf::from("/proc/thread-self/ns/net"), Netns::path)
    }
}

/// As it is passed on to a process: empty, `.`, or the namespace.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Here => f.write_str("."),
            Self::Netns(netns) => netns.fmt(f),
        }
    }
}

impl FromStr for Share {
    type Err = <Netns as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Ok(Self::All),
            "." => Ok(Self::Here),
            netns => netns.parse().map(Self::Netns),
        }
    }
}

impl Config {
    /// The shares into which its virtual hosts fall; one of all if none has a `netns`.
    #[must_use]
    pub fn shares(&self) -> BTreeSet<Share> {
        shares(self.vhosts.iter().map(|vhost| vhost.netns.as_ref()))
    }

    /// Only the virtual hosts of this share, with what belongs to them.
    #[must_use]
    pub fn only(mut self, share: &Share) -> Self {
        self.share = share.clone();
        if *share == Share::All {
            return self;
        }
        self.vhosts
            .retain(|vhost| Share::of(vhost.netns.as_ref()) == *share);
        let vhosts = &self.vhosts;
        self.tracks
            .retain(|name, _| vhosts.iter().any(|vhost| vhost.tracks.contains(name)));
        let tracks = &self.tracks;
        self.hooks.retain(|name, _| {
            vhosts.iter().any(|vhost| vhost.hooks.contains(name))
                || tracks
                    .values()
                    .any(|track| track.tracked.hook() == Some(name))
        });
        self.groups.retain(|_, group| {
            let is_here = |member: &Name| vhosts.iter().any(|vhost| vhost.name == *member);
            group.members.iter().all(is_here)
        });
        self
    }

    /// What an engine with this configuration takes from a new one at a reload. Engines for other
    /// shares are the business of who started this one.
    ///
    /// # Errors
    /// One line: it has no part in the new one.
    pub fn renewed(&self, new: Self) -> Result<Self, String> {
        if new.share == Share::All {
            let shares = new.shares();
            let is_whole = |share: &Share| *share == Share::All;
            if shares.iter().any(is_whole) != is_whole(&self.share) {
                return Err(
                    "the first `netns` of a configuration, and the removal of the last one, need a restart of carpd"
                        .to_owned(),
                );
            }
            if !shares.contains(&self.share) {
                return Err("no virtual host is in this network namespace any more".to_owned());
            }
        }
        Ok(new.only(&self.share))
    }
}

fn shares<'a>(netns: impl Iterator<Item = Option<&'a Netns>> + Clone) -> BTreeSet<Share> {
    if netns.clone().all(|netns| netns.is_none()) {
        return BTreeSet::from([Share::All]);
    }
    netns.map(Share::of).collect()
}

/// The share of each virtual host, by name, of a configuration that may be wrong in everything else.
#[must_use]
pub fn written_shares(text: &str) -> Vec<(String, Share)> {
    let (document, _) = DeTable::parse_recoverable(text.strip_prefix('\u{feff}').unwrap_or(text));
    let Some(DeValue::Array(vhosts)) = document
        .get_ref()
        .get(reference::VHOST.name)
        .map(toml::Spanned::get_ref)
    else {
        return Vec::new();
    };
    let word = |vhost: &DeTable<'_>, key: &str| match vhost.get(key)?.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    };
    let written = vhosts.iter().filter_map(|vhost| match vhost.get_ref() {
        DeValue::Table(vhost) => Some((
            word(vhost, key::NAME.name).unwrap_or_default(),
            word(vhost, key::NETNS.name).and_then(|netns| netns.parse::<Netns>().ok()),
        )),
        _ => None,
    });
    let written: Vec<_> = written.collect();
    if written.iter().all(|(_, netns)| netns.is_none()) {
        return written
            .into_iter()
            .map(|(name, _)| (name, Share::All))
            .collect();
    }
    let shares = written.into_iter();
    shares
        .map(|(name, netns)| (name, Share::of(netns.as_ref())))
        .collect()
}
