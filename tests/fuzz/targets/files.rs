//! Files that the daemon finds at its start, in whatever state. Their records have checksums that
//! no fuzzer guesses: the input is a row of records, each with two bytes of length before it, and
//! is framed here as the daemon would; then it is the file itself.

use std::path::Path;

use carpd::effect::{Resource, Value};
use carpd::journal::{self, Found, Journal, Limits, NodeHistory, Reader, Retold, Told};
use carpd::ledger::{Instance, Ledger, Of, Origin, Owner};
use carpd::proto::{Input, Output, Vhost};
use carpd::record::{MAGIC_LEN, Records, frame};
use carpd::types::Timestamp;

use super::settings;

const JOURNAL: [u8; MAGIC_LEN] = *b"carpdJ06";
const HISTORY: [u8; MAGIC_LEN] = *b"carpdE01";
const LEDGER: [u8; MAGIC_LEN] = *b"carpdL01";

/// The input as a file of records.
fn framed(magic: [u8; MAGIC_LEN], mut bytes: &[u8]) -> Vec<u8> {
    let mut file = magic.to_vec();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (record, rest) =
            rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        frame(record, &mut file);
        bytes = rest;
    }
    file
}

/// A file as an input of these targets.
fn unframed(magic: [u8; MAGIC_LEN], file: &[u8]) -> Vec<u8> {
    let records = Records::new(file, magic).expect("a file of this version");
    let lengths =
        records.map(|record| (u16::try_from(record.len()).expect("a short record"), record));
    lengths
        .flat_map(|(length, record)| [&length.to_le_bytes(), record].concat())
        .collect()
}

/// The flight recorder, read, told and replayed.
pub(super) fn journal(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(journal::FILE_NAME);
    for file in [framed(JOURNAL, bytes), [&JOURNAL, bytes].concat()] {
        std::fs::write(&path, file).expect("a file");
        if let Ok(contents) = journal::read(&path) {
            let _ = journal::stories(&journal::events(&contents.entries));
            let replayed = journal::replay(&contents.entries);
            assert!(replayed.inputs + replayed.skipped <= contents.entries.len());
        }
    }
}

/// The history of events next to it: read, told, and gone on with.
pub(super) fn history(bytes: &[u8]) {
    for file in [framed(HISTORY, bytes), [&HISTORY, bytes].concat()] {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join(journal::EVENTS_FILE), &file).expect("a file");
        let path = directory.path().join(journal::FILE_NAME);
        for _ in 0..2 {
            let found = Reader::new(directory.path(), None).read();
            let events = found.unwrap_or_default().into_iter();
            let records: Vec<_> = events
                .filter_map(|found| match found {
                    Found::Event(cursor, record) => {
                        let _ = (
                            Told::new(cursor, &record).record(1, 0),
                            record.event.to_string(),
                        );
                        Some(record)
                    }
                    Found::Missing(_) | Found::Anew => None,
                })
                .collect();
            assert!(records.is_sorted_by(|a, b| a.number < b.number));
            let _ = journal::stories(&records);
            drop(Journal::open(
                &path,
                Limits::default(),
                "0.1.0",
                Timestamp::ZERO,
                1,
            ));
        }
    }
}

pub(super) fn histories() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(journal::FILE_NAME);
    let mut journal = Journal::open(&path, Limits::default(), "0.1.0", Timestamp::ZERO, 1);
    record_a_life(&mut journal);
    drop(journal);
    let file = std::fs::read(directory.path().join(journal::EVENTS_FILE)).unwrap();
    let seed = unframed(HISTORY, &file);
    assert!(seed.len() > 100);
    vec![seed]
}

/// What another node tells of its history, merged with one that is known.
pub(super) fn retold(bytes: &[u8]) {
    let known = Retold::read(RETOLD.as_bytes()).expect("a history");
    let told = Retold::read(bytes).unwrap_or_default();
    let count = |records: &[_]| journal::stories(records).len();
    let wanted = count(&known.records) + count(&told.records);
    let nodes = [known, told].map(|told| NodeHistory {
        name: String::new(),
        records: told.records,
    });
    assert_eq!(journal::merge(&nodes).stories.len(), wanted);
}

const RETOLD: &str = r#"{"time_ms":9,"boot_ns":1,"event":"started","version":"1"}
{"time_ms":9,"boot_ns":2,"vhost":"web","interface":"eth0","vhid":1,"event":"state","from":"backup","to":"master","cause":"master-down","text":"t","seq":1}
{"time_ms":9,"boot_ns":3,"vhost":"web","interface":"eth0","vhid":1,"event":"advertisement","sent":true,"from":"10.0.0.1","counter":256}
{"time_ms":9,"boot_ns":4,"vhost":"web","interface":"eth0","vhid":1,"event":"advertisement","sent":false,"from":"10.0.0.2","counter":512}
{"time_ms":9,"boot_ns":5,"event":"left-out","kind":"remark","count":3,"since_ms":1}
"#;

pub(super) fn retellings() -> Vec<Vec<u8>> {
    vec![
        RETOLD.into(),
        RETOLD.replace("true", "false").replace(":9,", ":1,").into(),
    ]
}

pub(super) fn journals() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(journal::FILE_NAME);
    let mut journal = Journal::open(&path, Limits::default(), "0.1.0", Timestamp::ZERO, 1);
    record_a_life(&mut journal);
    drop(journal);
    assert!(journal::read(&path).unwrap().entries.len() > 20);
    vec![unframed(JOURNAL, &std::fs::read(&path).unwrap())]
}

/// A virtual host that becomes master, and is removed.
fn record_a_life(journal: &mut Journal) {
    let mut machine = Vhost::new(settings(), 7);
    journal.vhost(
        Timestamp::ZERO,
        0,
        &"web".parse().unwrap(),
        &"eth0".parse().unwrap(),
        7,
        &settings(),
    );
    let (mut now, mut input) = (Timestamp::ZERO, Input::LinkUp);
    for _ in 0..12 {
        journal.input(now, 0, &input);
        machine.handle(input, now);
        let wake = loop {
            let output = machine.poll();
            journal.output(0, &output);
            if let Output::Idle(wake) = output {
                break wake;
            }
        };
        (now, input) = (wake.unwrap_or(now), Input::Timer);
    }
    journal.removed(now, 0);
    journal.end_turn(now, 1);
}

const HERE: Origin = Origin { boot: 1, netns: 2 };

fn instance(directory: &Path) -> Instance {
    Instance::open(
        &directory.join("run"),
        &directory.join("lib"),
        "test",
        HERE,
        [],
    )
    .expect("an instance")
}

fn lasting(directory: &Path) -> std::path::PathBuf {
    directory.join("lib/test/ledger")
}

/// The ledger: what a dead daemon held, and how to undo it.
pub(super) fn ledger(bytes: &[u8]) {
    for file in [framed(LEDGER, bytes), [&LEDGER, bytes].concat()] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = lasting(directory.path());
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        std::fs::write(&path, file).expect("a file");
        let (ledger, left) = Ledger::open(&instance(directory.path()));
        for leftover in &left {
            let undo = ledger.undo_of_leftover(leftover);
            let _ = undo.map(|undo| (undo.effect(), undo.is_ours(&Value::Absent)));
        }
        for holding in ledger.iter() {
            let _ = format!("{} = {}", holding.resource, holding.value);
            for owner in &holding.owners {
                let _ = ledger.undo_plan(&owner.vhost, Of::Hooks);
            }
        }
        assert!(
            ledger.health().is_none(),
            "what cannot be read is put aside"
        );
    }
}

pub(super) fn ledgers() -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = Ledger::open(&instance(directory.path()));
    for (vhost, path, content) in [
        ("a", "/etc/motd", "one"),
        ("b", "/etc/motd", "two"),
        ("a", "/run/role", "master"),
    ] {
        let owner = Owner {
            vhost: vhost.parse().unwrap(),
            hook: Some("h".parse().unwrap()),
        };
        let resource = Resource::File {
            path: path.to_owned(),
        };
        let value = Value::File(content.as_bytes().to_vec());
        ledger
            .claim(&owner, &resource, Value::Absent, value)
            .unwrap()
            .sync()
            .unwrap();
        ledger.confirm(&resource);
    }
    drop(ledger);
    let seed = unframed(LEDGER, &std::fs::read(lasting(directory.path())).unwrap());
    assert!(seed.len() > 50);
    vec![seed]
}
