//! The protocol's numbers, each with its range.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number that lies outside what the protocol allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be between {min} and {max}, not {value}")]
pub struct OutOfRange {
    /// Which number, in the field's own term.
    pub what: &'static str,
    /// Smallest allowed value.
    pub min: i64,
    /// Largest allowed value.
    pub max: i64,
    /// What was given.
    pub value: i64,
}

/// Virtual host id, 1..=255: names a virtual host on one interface (carp(4)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Vhid(std::num::NonZeroU8);

impl Vhid {
    /// Checks the range 1..=255.
    ///
    /// # Errors
    /// [`OutOfRange`] for 0 and anything above 255.
    pub fn new(value: i64) -> Result<Self, OutOfRange> {
        u8::try_from(value)
            .ok()
            .and_then(std::num::NonZeroU8::new)
            .map(Self)
            .ok_or(OutOfRange {
                what: "vhid",
                min: 1,
                max: 255,
                value,
            })
    }

    /// The number as it stands on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl TryFrom<i64> for Vhid {
    type Error = OutOfRange;
    fn try_from(value: i64) -> Result<Self, OutOfRange> {
        Self::new(value)
    }
}

impl From<Vhid> for u8 {
    fn from(vhid: Vhid) -> Self {
        vhid.get()
    }
}

// Read and written as the same type: formats that do not describe themselves need that.
impl From<Vhid> for i64 {
    fn from(vhid: Vhid) -> Self {
        Self::from(vhid.get())
    }
}

impl fmt::Display for Vhid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Advertisement base interval in whole seconds, 0..=255. 255 is sent in a bow-out only; 0 is legal
/// with an advskew above 0 (docs/protocol.md, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AdvBase(pub u8);

/// Advertisement skew in 1/256 s, 0..=255. 255 is sent in a bow-out only (docs/protocol.md, section
/// 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AdvSkew(pub u8);

/// How unfit this node says it is, 0..=240: added to its advskew, the sum cut at 240.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Demotion(u8);

impl Demotion {
    /// Fully fit.
    pub const NONE: Self = Self(0);
    /// As unfit as a node can say it is (FreeBSD's `senderr_demotion_factor` and
    /// `ifdown_demotion_factor`).
    pub const MAX: Self = Self(240);

    /// Cuts at [`Self::MAX`].
    #[must_use]
    pub const fn new(value: u8) -> Self {
        Self(if value > Self::MAX.0 {
            Self::MAX.0
        } else {
            value
        })
    }

    /// 0..=240.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The sum of two reasons to be unfit, cut at [`Self::MAX`].
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self::new(self.0.saturating_add(other.0))
    }
}
