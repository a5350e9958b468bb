//! Ids of virtual hosts and of interfaces: two types, so that they cannot be confused.

/// The number of a virtual host. None is used twice in the life of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engine) struct VhostId(usize);

impl VhostId {
    /// The first of the configuration.
    #[cfg(test)]
    pub(in crate::engine) const FIRST: Self = Self(0);

    /// The virtual host with this number; at the start that is its place in the configuration.
    pub(in crate::engine) const fn new(number: usize) -> Self {
        Self(number)
    }

    /// As the flight recorder has it.
    pub(in crate::engine) const fn number(self) -> usize {
        self.0
    }

    /// The one that is added after this.
    pub(in crate::engine) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The place of an interface in [`Interfaces`](super::interface::Interfaces).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct InterfaceId(pub(super) usize);

impl InterfaceId {
    /// As the kernel gives it back with a socket that has something to read.
    pub(in crate::engine) const fn token(self) -> u64 {
        self.0 as u64
    }

    /// The one with this token.
    pub(in crate::engine) fn of_token(token: u64) -> Option<Self> {
        usize::try_from(token).ok().map(Self)
    }
}

#[cfg(test)]
impl InterfaceId {
    /// The first that was named.
    pub(in crate::engine) const FIRST: Self = Self(0);
}
