//! What polling has seen, one look after another.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::places::Print;

/// What was seen, and what was told of it.
#[derive(Debug, Default)]
pub(super) struct Prints {
    last: Option<Print>,
    told: Print,
}

/// What a look says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// This has changed since the last look: somebody is writing it.
    pub(super) moving: BTreeSet<PathBuf>,
    /// This has changed, and is as it was at the last look.
    pub(super) settled: BTreeSet<PathBuf>,
}

impl Prints {
    pub(super) fn see(&mut self, print: Print) -> Seen {
        let Some(last) = self.last.take() else {
            // The first look is news anyhow.
            self.told.clone_from(&print);
            self.last = Some(print);
            return Seen::default();
        };
        let moving = differences(&last, &print);
        let settled = &differences(&self.told, &print) - &moving;
        for path in &settled {
            match print.get(path) {
                Some(number) => _ = self.told.insert(path.clone(), *number),
                None => _ = self.told.remove(path),
            }
        }
        self.last = Some(print);
        Seen { moving, settled }
    }
}

/// The paths of which only one of them knows, or of which they know different things.
fn differences(a: &Print, b: &Print) -> BTreeSet<PathBuf> {
    let differs =
        |(path, number): &(&PathBuf, &u64), other: &Print| other.get(*path) != Some(*number);
    let of = |one: &Print, other: &Print| -> BTreeSet<PathBuf> {
        one.iter()
            .filter(|entry| differs(entry, other))
            .map(|(path, _)| path.clone())
            .collect()
    };
    &of(a, b) | &of(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much moves and how much has settled, look after look.
    fn looks<const N: usize>(numbers: [[u64; 2]; N]) -> [(usize, usize); N] {
        let mut prints = Prints::default();
        numbers.map(|both| {
            let print = ["a", "b"]
                .map(PathBuf::from)
                .into_iter()
                .zip(both)
                .collect();
            let Seen { moving, settled } = prints.see(print);
            (moving.len(), settled.len())
        })
    }

    #[test]
    fn what_is_still_changing_is_not_told_of() {
        let said = looks([1, 1, 2, 3, 3, 3, 4, 4].map(|number| [number, 0]));
        assert_eq!(
            said,
            [
                (0, 0),
                (0, 0),
                (1, 0),
                (1, 0),
                (0, 1),
                (0, 0),
                (1, 0),
                (0, 1)
            ]
        );
    }

    #[test]
    fn what_changes_all_the_time_holds_up_nothing_else() {
        let said = looks([[1, 0], [2, 0], [3, 1], [4, 1], [5, 1]]);
        assert_eq!(said, [(0, 0), (1, 0), (2, 0), (1, 1), (1, 0)]);
    }

    #[test]
    fn what_comes_or_goes_is_a_change() {
        let mut prints = Prints::default();
        let one = || Print::from([("a".into(), 1)]);
        let steps = [Print::new(), one(), one(), Print::new(), Print::new()];
        let said = steps.map(|print| prints.see(print));
        let none = BTreeSet::new;
        let a = || BTreeSet::from(["a".into()]);
        let expected = [
            (none(), none()),
            (a(), none()),
            (none(), a()),
            (a(), none()),
            (none(), a()),
        ];
        assert_eq!(
            said,
            expected.map(|(moving, settled)| Seen { moving, settled })
        );
    }
}
