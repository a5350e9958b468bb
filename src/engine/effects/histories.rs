//! For every history of effects, failures and a crash at every point: the host ends as it was
//! before.
//!
//! A history is played on a host in memory, with a ledger on disk. The process dies before or after
//! its n-th call of the host, for every n, and with the ledger cut within what it wrote since the
//! call before. Its successor, which may die as well, undoes what is left.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::executor::{Behalf, Executor};
use super::recover::Recovery;
use crate::config;
use crate::effect::{
    Effect, Granted, Grants, Link, Nature, Own, Query, Reply, Resource, ServiceVerb, Value,
};
use crate::host::{FoundAddress, Host, HostError, Lifetimes, Renewal, SimHost};
use crate::ledger::{Instance, InstanceError, Ledger, Leftover, Origin, Owner};
use crate::types::{IfName, MacAddr, Name, PreferredLifetime, VirtualAddress};

const LIMIT: Duration = Duration::from_secs(1);

/// What a virtual host or its hook does.
#[derive(Debug, Clone, Copy)]
enum Op {
    /// Becomes master: its own address.
    Hold { vhost: usize },
    /// An effect of its hook.
    Set {
        vhost: usize,
        what: usize,
        value: usize,
        how: How,
    },
    /// Is no longer master.
    Leave { vhost: usize },
}

#[derive(Debug, Clone, Copy)]
enum How {
    Scoped,
    LastGood,
    /// In an entry point whose effects stay.
    Staying,
}

fn op() -> impl Strategy<Value = Op> {
    let how =
        prop_oneof![4 => Just(How::Scoped), 1 => Just(How::LastGood), 1 => Just(How::Staying)];
    prop_oneof![
        1 => (0..2usize).prop_map(|vhost| Op::Hold { vhost }),
        5 => (0..2usize, 0..5usize, 0..2usize, how).prop_map(|(vhost, what, value, how)| Op::Set { vhost, what, value, how }),
        2 => (0..2usize).prop_map(|vhost| Op::Leave { vhost }),
    ]
}

fn effect(what: usize, value: usize) -> Effect {
    let word = ["one", "two"][value].to_owned();
    match what {
        0 => Effect::HostnameSet { name: word },
        1 => Effect::Service {
            unit: "httpd".into(),
            verb: [ServiceVerb::Start, ServiceVerb::Stop][value],
        },
        2 => Effect::FileWrite {
            path: "/etc/motd".into(),
            content: word.into_bytes(),
        },
        3 => Effect::SysctlSet {
            key: "net.ipv4.ip_forward".into(),
            value: word,
        },
        _ => Effect::AddressAdd {
            address: "10.9.9.9/32".parse().unwrap(),
            dev: dev(),
        },
    }
}

fn is_two(value: &Value) -> bool {
    *value == Value::Text("two".into()) || *value == Value::File(b"two".to_vec())
}

fn dev() -> IfName {
    "eth0".parse().unwrap()
}

fn link() -> Link {
    Link {
        name: dev(),
        altnames: Vec::new(),
        index: 2,
        up: true,
        carrier: true,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        nature: Nature::default(),
    }
}

fn grants() -> Grants {
    toml::from_str(
        r#"
        hostname = ["one", "two"]
        service = [{ unit = "httpd", do = ["start", "stop"] }]
        file = [{ path = "/etc/motd", do = ["write"] }]
        sysctl = [{ key = "net.ipv4.ip_forward" }]
        addr = [{ cidr = "10.9.9.9/32" }]
        "#,
    )
    .unwrap()
}

fn own_address(vhost: usize) -> VirtualAddress {
    format!("10.0.0.{}/24", vhost + 1).parse().unwrap()
}

fn vhost_name(vhost: usize) -> Name {
    ["a", "b"][vhost].parse().unwrap()
}

/// The virtual hosts; the second one has a virtual hardware address.
static SPECS: LazyLock<[config::Vhost; 2]> = LazyLock::new(|| {
    let directory = directory();
    let (password, file) = ("web.pass", directory.path().join("carpd.toml"));
    let password = directory.path().join(password);
    fs::write(&password, "gw22\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let toml = "[[vhost]]\nname = \"a\"\ninterface = \"eth0\"\nvhid = 40\naddresses = [\"10.0.0.1/24\"]\n\
                password-file = \"web.pass\"\n";
    fs::write(&file, toml).unwrap();
    let config = config::Config::load(&file).unwrap().config;
    let plain = &config.vhosts[0];
    [0, 1].map(|vhost| config::Vhost {
        name: vhost_name(vhost),
        addresses: vec![own_address(vhost)],
        virtual_mac: vhost == 1,
        ..plain.clone()
    })
});

fn spec(vhost: usize) -> &'static config::Vhost {
    &SPECS[vhost]
}

/// When the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    Never,
    /// Instead of this call of the host.
    Before(u64),
    /// Right after it.
    After(u64),
}

struct Died;

/// A host whose user dies at a call, and some of whose calls fail.
struct MortalHost<'a> {
    inner: &'a SimHost,
    calls: Cell<u64>,
    crash: Crash,
    failing: &'a [u64],
    /// It never takes the value `two`.
    stubborn: bool,
    ledger: PathBuf,
    /// Length of the ledger at the last answer, and at the last call: a crash in between may cut it
    /// there.
    written: Cell<(u64, u64)>,
}

impl<'a> MortalHost<'a> {
    fn new(inner: &'a SimHost, directory: &Path, crash: Crash, failing: &'a [u64]) -> Self {
        let ledger = instance(directory).run_dir().join("ledger");
        Self {
            inner,
            calls: Cell::new(0),
            crash,
            failing,
            stubborn: false,
            ledger,
            written: Cell::new((0, 0)),
        }
    }

    fn call(&self, granted: &Granted) -> Result<Reply, HostError> {
        let number = self.calls.get() + 1;
        self.calls.set(number);
        self.written.set((self.written.get().0, self.length()));
        if self.crash == Crash::Before(number) {
            resume_unwind(Box::new(Died));
        }
        let refused = self.stubborn
            && granted
                .effect()
                .assigns()
                .is_some_and(|(_, value)| is_two(&value));
        if refused || self.failing.contains(&number) {
            // Refused outright, or failed in a way that says nothing of what was done.
            let errno = number.is_multiple_of(2).then_some(libc::EINVAL);
            return Err(HostError::with("it does not want to", errno));
        }
        let reply = self
            .inner
            .perform(granted, LIMIT)
            .now_or_never()
            .expect("a host in memory answers at once");
        if self.crash == Crash::After(number) {
            resume_unwind(Box::new(Died));
        }
        self.answered();
        reply
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.ledger).map_or(0, |file| file.len())
    }

    /// What is written by now was written before somebody was told something, so it is there.
    fn answered(&self) {
        self.written.set((self.length(), self.length()));
    }
}

impl Host for &MortalHost<'_> {
    fn perform_now(&self, granted: &Granted) -> Result<Reply, HostError> {
        self.call(granted)
    }

    fn lease(&self, address: VirtualAddress, dev: &IfName, _: Lifetimes) -> Result<(), HostError> {
        self.call(&Granted::by_daemon(Effect::AddressAdd {
            address,
            dev: dev.clone(),
        }))
        .map(drop)
    }

    fn renew(&self, renewals: &[Renewal]) -> Vec<(usize, HostError)> {
        self.inner.renew(renewals)
    }

    fn move_last(&self, of: &[Renewal]) -> Vec<(usize, HostError)> {
        self.inner.move_last(of)
    }

    fn is_connected(&self, address: VirtualAddress, dev: &IfName) -> Result<bool, HostError> {
        self.inner.is_connected(address, dev)
    }

    fn addresses_on(&self, dev: &IfName) -> Result<Vec<FoundAddress>, HostError> {
        self.inner.addresses_on(dev)
    }

    fn device_of(&self, ip: IpAddr) -> Result<Option<IfName>, HostError> {
        self.inner.device_of(ip)
    }

    async fn perform(&self, granted: &Granted, _: Duration) -> Result<Reply, HostError> {
        self.call(granted)
    }

    async fn answer(&self, query: &Query, limit: Duration) -> Result<Reply, HostError> {
        self.inner.answer(query, limit).await
    }

    async fn observe(&self, resource: &Resource, limit: Duration) -> Result<Value, HostError> {
        self.inner.observe(resource, limit).await
    }
}

/// The values that each resource may go back to: what it was, or what an effect that stays has
/// given it. Two, if nobody knows whether that effect came through.
type Expected = RefCell<BTreeMap<Resource, Vec<Value>>>;

fn instance(directory: &Path) -> Instance {
    let origin = Origin { boot: 1, netns: 2 };
    let open = || {
        Instance::open(
            &directory.join("run"),
            &directory.join("lib"),
            "test",
            origin,
            [],
        )
    };
    // A process that another test is just starting has our locks for the moment between fork and
    // exec.
    for _ in 0..100_000 {
        match open() {
            Err(InstanceError::Running { .. }) => std::thread::yield_now(),
            opened => return opened.expect("nobody else has it"),
        }
    }
    open().expect("nobody else has it")
}

/// As [`Ledger::open`]; waits for the lock of what outlives a boot, as above.
fn open(instance: &Instance) -> (Ledger, Vec<Leftover>) {
    for _ in 0..100_000 {
        let opened = Ledger::open(instance);
        if opened.0.health().is_none() {
            return opened;
        }
        std::thread::yield_now();
    }
    panic!("the ledger's lock stays taken");
}

fn host() -> SimHost {
    let address = Resource::Address {
        dev: dev(),
        ip: own_address(0).ip,
    };
    SimHost::new()
        .with_link(link())
        .with(Resource::Hostname, Value::Text("node".into()))
        .with(
            Resource::File {
                path: "/etc/motd".into(),
            },
            Value::File(b"before".to_vec()),
        )
        .with(address, Value::Absent)
}

/// In memory where there is such a place: nothing here outlives the test.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

async fn play(ops: &[Op], host: &MortalHost<'_>, ledger: Ledger, expected: &Expected) {
    let executor = Executor::new(host, ledger, Recovery::default());
    let grants = grants();
    for op in ops {
        host.answered();
        match *op {
            Op::Hold { vhost } => drop(executor.hold_addresses(
                spec(vhost),
                &[own_address(vhost)],
                Lifetimes {
                    valid: None,
                    preferred: PreferredLifetime::Zero,
                },
            )),
            Op::Leave { vhost } => leave(&executor, vhost).await,
            Op::Set {
                vhost,
                what,
                value,
                how,
            } => {
                let owner = Owner {
                    vhost: vhost_name(vhost),
                    hook: Some("hook".parse().unwrap()),
                };
                let own = Own {
                    dev: &dev(),
                    addresses: &[],
                };
                let behalf = Behalf {
                    owner: &owner,
                    grants: &grants,
                    own,
                    scoped: !matches!(how, How::Staying),
                    left: LIMIT,
                };
                let effect = effect(what, value);
                let Some((resource, value)) = effect.assigns() else {
                    continue;
                };
                // What can never be is never expected.
                let never = host.stubborn && is_two(&value);
                if never && let Some(values) = expected.borrow_mut().get_mut(&resource) {
                    // It may have taken the place of a value that was noted before: then what was
                    // found comes back.
                    values.push(self::host().value(&resource));
                }
                if matches!(how, How::Scoped) || never {
                    drop(
                        executor
                            .ask(&behalf, effect, matches!(how, How::LastGood))
                            .await,
                    );
                    continue;
                }
                // Before, because the process may die in it.
                let before = || vec![self::host().value(&resource)];
                expected
                    .borrow_mut()
                    .entry(resource.clone())
                    .or_insert_with(before)
                    .push(value.clone());
                let done = executor
                    .ask(&behalf, effect, matches!(how, How::LastGood))
                    .await;
                if done.is_ok() {
                    expected.borrow_mut().insert(resource, vec![value]);
                }
            }
        }
    }
    // The last effect was answered too, so its record is there.
    host.answered();
    for vhost in [1, 0] {
        leave(&executor, vhost).await;
    }
    assert!(
        executor.ledger().is_empty() || !host.failing.is_empty() || host.stubborn,
        "all is undone"
    );
    // What failed is tried again; sooner or later it works.
    for _ in 0..host.failing.len() + 2 * usize::from(host.stubborn) {
        for vhost in 0..2 {
            leave(&executor, vhost).await;
        }
    }
    assert!(executor.ledger().is_empty(), "all is undone in the end");
}

async fn leave(executor: &Executor<&MortalHost<'_>>, vhost: usize) {
    executor.drop_addresses(&vhost_name(vhost));
    executor.undo_device(&vhost_name(vhost)).await;
    executor.undo_hooks(&vhost_name(vhost)).await;
}

/// True if it lived to the end.
fn live(directory: &Path, host: &MortalHost<'_>, life: impl AsyncFnOnce(Ledger, Recovery)) -> bool {
    let run = AssertUnwindSafe(|| {
        let instance = instance(directory);
        let (ledger, left) = open(&instance);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(life(ledger, Recovery::new(left)));
    });
    match catch_unwind(run) {
        Ok(()) => true,
        Err(died) if died.is::<Died>() => {
            assert_ne!(host.crash, Crash::Never);
            false
        }
        Err(panic) => resume_unwind(panic),
    }
}

/// The successor of a dead process: undoes all, and dies itself where it is told to.
fn recover(directory: &Path, host: &SimHost, crash: Crash, failing: &[u64]) -> bool {
    let host = MortalHost::new(host, directory, crash, failing);
    live(directory, &host, async |ledger, recovery| {
        let executor = Executor::new(&host, ledger, recovery);
        executor.recover_addresses();
        for _ in 0..=failing.len() {
            executor.recover_once().await;
        }
        assert!(executor.is_clean(), "nothing is forgotten, nothing is left");
    })
}

fn check(host: &SimHost, expected: &Expected, what: &str) -> Result<(), TestCaseError> {
    let before = self::host();
    for vhost in 0..2 {
        let address = Resource::Address {
            dev: spec(vhost).device(),
            ip: own_address(vhost).ip,
        };
        prop_assert_eq!(host.value(&address), Value::Absent, "{}", what);
    }
    let macvlan = Resource::Macvlan {
        dev: spec(1).device(),
    };
    prop_assert_eq!(host.value(&macvlan), Value::Absent, "{}", what);
    let arp = Resource::LinkArp { dev: dev() };
    prop_assert_eq!(host.value(&arp), before.value(&arp), "{}", what);
    for number in 0..5 {
        let (resource, _) = effect(number, 0).assigns().unwrap();
        let there = host.value(&resource);
        let expected = expected
            .borrow()
            .get(&resource)
            .cloned()
            .unwrap_or_else(|| vec![before.value(&resource)]);
        prop_assert!(
            expected.contains(&there),
            "{}: {} is {}, not one of {:?}",
            what,
            resource,
            there,
            expected
        );
    }
    Ok(())
}

/// The ledger's file as a process leaves it that dies while writing.
fn tear(host: &MortalHost<'_>, cut: u64) {
    let (from, to) = host.written.get();
    match host.crash {
        Crash::Before(_) if to > from => {
            let file = OpenOptions::new().write(true).open(&host.ledger).unwrap();
            file.set_len(to - cut % (to - from)).unwrap();
        }
        Crash::Before(_) | Crash::Never => {}
        Crash::After(_) => {
            let mut file = OpenOptions::new().append(true).open(&host.ledger).unwrap();
            file.write_all(&vec![7; usize::try_from(cut % 40).unwrap()])
                .unwrap();
        }
    }
}

fn crash_everywhere(ops: &[Op], failing: &[u64], cut: u64) -> Result<(), TestCaseError> {
    for number in 1.. {
        let mut lived = 0;
        for crash in [Crash::Before(number), Crash::After(number)] {
            for second in [
                Crash::Never,
                Crash::Before(1 + cut % 3),
                Crash::After(1 + cut % 3),
            ] {
                let (directory, host, expected) = (directory(), host(), Expected::default());
                let mortal = MortalHost::new(&host, directory.path(), crash, failing);
                if live(directory.path(), &mortal, async |ledger, _| {
                    play(ops, &mortal, ledger, &expected).await;
                }) {
                    lived += 1;
                    continue;
                }
                tear(&mortal, cut);
                if !recover(directory.path(), &host, second, &[]) {
                    prop_assert!(recover(directory.path(), &host, Crash::Never, &[]));
                }
                check(&host, &expected, &format!("{crash:?}, {second:?}"))?;
            }
        }
        if lived == 6 {
            return Ok(());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_dies_wherever_the_host_ends_as_before(
        ops in prop::collection::vec(op(), 1..10),
        failing in prop::collection::vec(1u64..12, 0..2),
        cut in 0u64..1000,
    ) {
        crash_everywhere(&ops, &failing, cut)?;
    }

    #[test]
    fn whatever_fails_the_host_ends_as_before(ops in prop::collection::vec(op(), 1..14)) {
        for failing in 0..30 {
            let (directory, host, expected) = (directory(), host(), Expected::default());
            let failing = if failing == 0 { vec![] } else { vec![failing] };
            let mortal = MortalHost::new(&host, directory.path(), Crash::Never, &failing);
            prop_assert!(live(directory.path(), &mortal, async |ledger, _| play(&ops, &mortal, ledger, &expected).await));
            check(&host, &expected, "alive")?;
        }
    }

    #[test]
    fn what_cannot_be_had_keeps_nobody_from_undoing(mut ops in prop::collection::vec(op(), 1..14)) {
        for op in &mut ops {
            // What another master asks for is tried again as long as it is one.
            if let Op::Set { value, how: How::Scoped, .. } = op {
                *value = 0;
            }
        }
        let (directory, host, expected) = (directory(), host(), Expected::default());
        let mortal = MortalHost { stubborn: true, ..MortalHost::new(&host, directory.path(), Crash::Never, &[]) };
        // `play` wants everything undone at the third try.
        prop_assert!(live(directory.path(), &mortal, async |ledger, _| play(&ops, &mortal, ledger, &expected).await));
        check(&host, &expected, "stubborn")?;
    }

    #[test]
    fn an_undo_that_fails_is_tried_until_it_works(ops in prop::collection::vec(op(), 1..10), failing in 1u64..6, dies in 1u64..12) {
        let (directory, host, expected) = (directory(), host(), Expected::default());
        let mortal = MortalHost::new(&host, directory.path(), Crash::Before(dies), &[]);
        live(directory.path(), &mortal, async |ledger, _| play(&ops, &mortal, ledger, &expected).await);
        prop_assert!(recover(directory.path(), &host, Crash::Never, &[failing, failing + 1]));
        check(&host, &expected, "after retries")?;
    }
}
