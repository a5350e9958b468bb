//! What is to happen, from a seed alone: the same seed is the same schedule.

use std::fmt;

use carpd::lab::Fault;

/// A small generator (splitmix64): the schedule shall not change with the version of a crate.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    /// True so often of a hundred times.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// One thing that happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// SIGKILL for the engine; its keeper starts another.
    KillEngine,
    /// SIGKILL for the keeper; its engine hands over and ends.
    KillKeeper,
    /// SIGKILL for all processes at one moment.
    KillTree,
    /// SIGKILL for a runner.
    KillRunner,
    /// SIGKILL for the helper, which sets the host name and starts services.
    KillHelper,
    /// SIGSTOP for all processes, until it is healed.
    Freeze,
    /// SIGSTOP for all, and SIGCONT before anybody can have noticed.
    Blink,
    /// A fault of the cable, until it is healed.
    Cut(Fault),
    /// The file system with the ledger is full, until it is healed.
    FillDisk,
    /// It is read-only from the next start on, until it is healed.
    LockDisk,
    /// Somebody removes the virtual address.
    DropAddress,
    /// Somebody removes the route that the hook set.
    DropRoute,
    /// Another good version of the hook.
    EditHook,
    /// A version of the hook that does not load.
    BreakHook,
    /// A version that loads and fails as master, until it is healed.
    SpoilHook,
    /// A changed configuration.
    Reload,
    /// A configuration that makes no sense.
    BadReload,
    /// An operator hands over.
    Resign,
    /// `carpd cleanup` where nothing runs.
    Cleanup,
    /// The end of a fault that lasts.
    Heal,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let debug = format!("{self:?}");
        for (n, c) in debug.chars().enumerate() {
            match c {
                'A'..='Z' if n > 0 && debug.as_bytes()[n - 1].is_ascii_lowercase() => {
                    write!(f, "-{}", c.to_ascii_lowercase())?;
                }
                '(' => f.write_str(" ")?,
                ')' => {}
                c => write!(f, "{}", c.to_ascii_lowercase())?,
            }
        }
        Ok(())
    }
}

/// One step: what, and where. Where that cannot be done, the next node in the row is taken, and
/// then the other thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) act: Act,
    pub(super) otherwise: Act,
    /// On whoever holds the address; else on node number `node`.
    pub(super) on_holder: bool,
    pub(super) node: usize,
    /// How far into an interval it happens, in thousandths.
    pub(super) phase: u32,
}

/// What the virtual host's addresses are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Families {
    V4,
    V6,
    Both,
}

impl Families {
    /// The addresses, the one that is asked for first.
    pub(super) const fn addresses(self) -> &'static [&'static str] {
        match self {
            Self::V4 => &["192.168.32.22"],
            Self::V6 => &["2001:db8::22"],
            Self::Both => &["192.168.32.22", "2001:db8::22"],
        }
    }
}

/// One lab's worth of steps.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Of this part, from which everything follows.
    pub(super) seed: u64,
    pub(super) nodes: usize,
    /// advbase 0: a takeover in less than a second, and no leases.
    pub(super) fast: bool,
    pub(super) preempt: bool,
    pub(super) families: Families,
    /// The hook is a component in place of a script.
    pub(super) wasm: bool,
    pub(super) steps: Vec<Step>,
}

/// With the kinds that happen in both, and how often each is drawn.
const ALWAYS: [(Act, usize); 22] = [
    (Act::KillEngine, 10),
    (Act::KillKeeper, 4),
    (Act::KillTree, 6),
    (Act::KillRunner, 4),
    (Act::KillHelper, 4),
    (Act::Freeze, 7),
    (Act::Cut(Fault::Unplugged), 4),
    (Act::Cut(Fault::Silent), 5),
    (Act::Cut(Fault::Isolated), 5),
    (Act::Cut(Fault::Deaf), 4),
    (Act::Cut(Fault::Mute), 4),
    (Act::Cut(Fault::Lossy(10)), 3),
    (Act::Cut(Fault::Lossy(30)), 3),
    (Act::Cut(Fault::Lossy(60)), 3),
    (Act::DropAddress, 5),
    (Act::DropRoute, 3),
    (Act::EditHook, 4),
    (Act::BreakHook, 4),
    (Act::Reload, 5),
    (Act::BadReload, 3),
    (Act::Cleanup, 2),
    (Act::Heal, 30),
];

/// What lowers a node's fitness, or takes a while: with the one-second timers. With advbase 0 two
/// unfit nodes have no time to hear of each other, which is CARP's own limit.
const SLOW: [(Act, usize); 5] = [
    (Act::Blink, 4),
    (Act::FillDisk, 4),
    (Act::LockDisk, 2),
    (Act::SpoilHook, 4),
    (Act::Resign, 4),
];

impl Plan {
    /// From a seed.
    pub(super) fn new(seed: u64, length: usize) -> Self {
        let mut random = Random::new(seed);
        let (nodes, fast, preempt) = (2 + random.below(2), random.chance(50), random.chance(60));
        let kinds: Vec<(Act, usize)> = ALWAYS
            .into_iter()
            .chain(SLOW.into_iter().filter(|_| !fast))
            .collect();
        let total = kinds.iter().map(|(_, weight)| weight).sum();
        let draw = |random: &mut Random| {
            let mut drawn = random.below(total);
            let kind = kinds.iter().find(|(_, weight)| {
                let hit = drawn < *weight;
                drawn = drawn.saturating_sub(*weight);
                hit
            });
            kind.map_or(Act::Heal, |(act, _)| *act)
        };
        let steps: Vec<Step> = (0..length)
            .map(|_| {
                let act = draw(&mut random);
                let mut otherwise = draw(&mut random);
                while otherwise == Act::Heal {
                    otherwise = draw(&mut random);
                }
                let phase = u32::try_from(random.below(1000)).unwrap_or(0);
                Step {
                    act,
                    otherwise,
                    on_holder: random.chance(60),
                    node: random.below(nodes),
                    phase,
                }
            })
            .collect();
        // From luck of its own, so that it does not depend on the number of steps.
        let families = match Random::new(!seed).below(4) {
            0 => Families::V6,
            1 => Families::Both,
            _ => Families::V4,
        };
        let wasm = Random::new(seed.rotate_left(32)).chance(30);
        Self {
            seed,
            nodes,
            fast,
            preempt,
            families,
            wasm,
            steps,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timers = if self.fast { "advbase 0" } else { "advbase 1" };
        let preempt = if self.preempt {
            "preempting"
        } else {
            "not preempting"
        };
        let families = match self.families {
            Families::V4 => "IPv4",
            Families::V6 => "IPv6",
            Families::Both => "IPv4 and IPv6",
        };
        let language = if self.wasm { "WebAssembly" } else { "Lua" };
        write!(
            f,
            "seed {:#x}: {} nodes, {timers}, {preempt}, {families}, {language}",
            self.seed, self.nodes
        )
    }
}
