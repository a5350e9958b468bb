//! What became of the advertisements of the last intervals.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many intervals a strip has at most.
pub const STRIP_MAX: usize = 60;

/// What became of the advertisement of one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Beat {
    /// It was heard when it was due.
    Heard,
    /// It was heard, but late.
    HeardLate,
    /// It was not heard.
    Missing,
    /// This node sent it when it was due.
    Sent,
    /// This node sent it, but late.
    SentLate,
    /// This node should have sent it, and could not.
    NotSent,
}

impl Beat {
    const ALL: [Self; 6] = [
        Self::Heard,
        Self::HeardLate,
        Self::Missing,
        Self::Sent,
        Self::SentLate,
        Self::NotSent,
    ];

    /// Its letter in the JSON.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Heard => 'h',
            Self::HeardLate => 'l',
            Self::Missing => 'm',
            Self::Sent => 's',
            Self::SentLate => 't',
            Self::NotSent => 'n',
        }
    }

    fn of(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|beat| beat.letter() == letter)
    }
}

/// One [`Beat`] for each of the last intervals, the oldest first. In JSON a text with one letter
/// each: there may be hundreds of virtual hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strip(Vec<Beat>);

impl Strip {
    /// The last [`STRIP_MAX`] of these.
    #[must_use]
    pub fn of(beats: impl DoubleEndedIterator<Item = Beat>) -> Self {
        let mut last: Vec<Beat> = beats.rev().take(STRIP_MAX).collect();
        last.reverse();
        Self(last)
    }

    /// All of them.
    #[must_use]
    pub fn beats(&self) -> &[Beat] {
        &self.0
    }
}

impl fmt::Display for Strip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters: String = self.0.iter().map(|beat| beat.letter()).collect();
        f.write_str(&letters)
    }
}

impl Serialize for Strip {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Strip {
    /// A newer daemon may have letters that this program does not know: those are left out.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let letters = String::deserialize(deserializer)?;
        Ok(Self::of(letters.chars().filter_map(Beat::of)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_after_the_way_through_json() {
        let strip = Strip::of(Beat::ALL.into_iter());
        let json = serde_json::to_string(&strip).unwrap();
        assert_eq!(json, "\"hlmstn\"");
        assert_eq!(serde_json::from_str::<Strip>(&json).unwrap(), strip);
    }

    #[test]
    fn it_is_bounded_and_leaves_out_what_it_does_not_know() {
        let long = format!("\"m?{}\"", "h".repeat(10_000));
        let strip: Strip = serde_json::from_str(&long).unwrap();
        assert_eq!(strip.to_string(), "h".repeat(STRIP_MAX));
    }
}
