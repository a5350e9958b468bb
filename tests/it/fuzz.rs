//! Changed bytes for everything that reads what others wrote: the targets of `tests/fuzz`, on
//! stable Rust, some seconds of them and the same each time. `tests/fuzz/run TARGET` looks for
//! longer, guided by coverage.

#[path = "../fuzz/targets/mod.rs"]
pub(crate) mod targets;

use targets::Target;

/// A small generator of numbers that is the same on every machine.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// 0 to `below`, without it.
    pub(crate) fn next(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below.max(1)
    }

    /// A stretch of something that is so long.
    fn stretch(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.next(length + 1);
        from..(from + self.next(32)).min(length)
    }
}

/// Numbers at which readers go wrong.
const ODD: [u8; 8] = [0, 1, 0x7f, 0x80, 0xfe, 0xff, b'"', b'\n'];

/// A seed with one to four changes.
fn changed(numbers: &mut Numbers, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[numbers.next(seeds.len())].clone();
    for _ in 0..=numbers.next(4) {
        let at = numbers.next(bytes.len());
        let here = numbers.stretch(bytes.len());
        match numbers.next(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.next(8),
            1 if !bytes.is_empty() => bytes[at] = ODD[numbers.next(ODD.len())],
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(here)),
            4 => {
                let copy = bytes[here].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let other = &seeds[numbers.next(seeds.len())];
                bytes.splice(at..at, other[numbers.stretch(other.len())].to_vec());
            }
            _ => {
                let other = &seeds[numbers.next(seeds.len())];
                bytes.truncate(at);
                bytes.extend(&other[numbers.next(other.len() + 1)..]);
            }
        }
    }
    bytes
}

fn play(name: &str) {
    let Target {
        run, seeds, rounds, ..
    } = targets::ALL
        .iter()
        .find(|target| target.name == name)
        .unwrap();
    let seeds = seeds();
    seeds
        .iter()
        .map(Vec::as_slice)
        .chain([b"".as_slice()])
        .for_each(run);
    let mut numbers = Numbers(1);
    for round in 0..*rounds {
        let bytes = changed(&mut numbers, &seeds);
        let result = std::panic::catch_unwind(|| run(&bytes));
        assert!(
            result.is_ok(),
            "{name}: round {round} with {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            play(stringify!($name));
        })*

        #[test]
        fn every_target_is_played() {
            let played = [$(stringify!($name)),*];
            assert_eq!(targets::ALL.iter().map(|target| target.name).collect::<Vec<_>>(), played);
        }
    };
}

targets! { packet runner component config control shell lua import signature journal history retold ledger }
