//! What the ledger and the journal cost: `cargo bench --bench records`. On a tmpfs, as `/run` is
//! one.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that meets a surprise shall fail"
)]

use std::time::Duration;

use carpd::effect::{Resource, Value};
use carpd::journal::{Journal, Limits};
use carpd::ledger::{Instance, Ledger, Origin, Owner};
use carpd::proto::{Input, Key, Output, Settings};
use carpd::types::{Timestamp, Vhid};
use divan::Bencher;
use tempfile::TempDir;

fn main() {
    divan::main();
}

fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// One address up and down again: two records, and now and then a file that is written anew.
#[divan::bench]
fn claim_and_settle(bencher: Bencher) {
    let directory = directory();
    let origin = Origin { boot: 1, netns: 2 };
    let (run, lib) = (directory.path().join("run"), directory.path().join("lib"));
    let (mut ledger, _) = Ledger::open(&Instance::open(&run, &lib, "bench", origin, []).unwrap());
    let owner = Owner {
        vhost: "web".parse().unwrap(),
        hook: None,
    };
    let resource = Resource::Address {
        dev: "eth0".parse().unwrap(),
        ip: "10.0.0.9".parse().unwrap(),
    };
    let value = Value::Address("10.0.0.9/24".parse().unwrap());
    bencher.bench_local(|| {
        ledger.claim_own(&owner, &resource, value.clone());
        ledger.settle(&owner, &resource);
    });
    assert!(ledger.health().is_none());
}

/// One turn of the engine: what it was fed, what it answered, one write.
#[divan::bench]
fn one_turn(bencher: Bencher) {
    let directory = directory();
    let mut now = Timestamp::from_micros(1);
    let mut journal = Journal::open(
        &directory.path().join("journal"),
        Limits::default(),
        "bench",
        now,
        0,
    );
    let settings = Settings::new(
        Vhid::new(40).unwrap(),
        Vec::new(),
        Key::new(b"secret").unwrap(),
    );
    journal.vhost(
        now,
        0,
        &"web".parse().unwrap(),
        &"eth0".parse().unwrap(),
        1,
        &settings,
    );
    bencher.bench_local(|| {
        now = now + Duration::from_millis(1);
        journal.input(now, 0, &Input::Timer);
        journal.output(0, &Output::Idle(Some(now)));
        journal.end_turn(now, 0);
    });
    assert_eq!(journal.lost(), 0);
}
