use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use super::read::{Cursor, Found, Reader};
use super::*;
use crate::journal::{Note, OrderRecord, older};
use crate::proto::{Cause, Reason, Transition};
use crate::types::{State, Vhid};

const LIMITS: Limits = Limits {
    file_bytes: 1 << 20,
    events_bytes: 4 << 20,
    states_bytes: 768 << 10,
};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_micros(millis * 1000)
}

fn open(directory: &tempfile::TempDir, limits: Limits, now_ms: u64) -> History {
    History::open(&directory.path().join("journal"), limits, at(now_ms))
}

fn subject(vhost: usize) -> Subject {
    Subject {
        vhost,
        name: format!("web{vhost}").parse().unwrap(),
        interface: "eth0".parse().unwrap(),
        vhid: Vhid::new(40).unwrap(),
    }
}

/// A state change, with a reason of this length.
fn change(vhost: usize, seq: u64, length: usize) -> Event {
    let cause = Cause::Asked(Reason::new("hook-failed", "x".repeat(length)));
    let transition = Transition {
        from: State::Backup,
        to: State::Master,
        cause,
        peer: Some("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()),
        seq,
    };
    Event::State(subject(vhost), transition)
}

fn effect(vhost: usize) -> Event {
    let note = Note::Effect {
        hook: "failover".parse().unwrap(),
        effect: "file.write /etc/motd".to_owned(),
        outcome: "failed: No space left on device".to_owned(),
    };
    Event::Note(subject(vhost), note)
}

fn remark(text: &str) -> Event {
    let text = text.to_owned();
    Event::Note(subject(0), Note::Remark { text })
}

fn order(refused: Option<&str>) -> Event {
    Event::Order(OrderRecord {
        uid: 1000,
        pid: 7,
        program: "carpd".to_owned(),
        order: "Reload".to_owned(),
        vhost: None,
        refused: refused.map(ToOwned::to_owned),
    })
}

/// Records an event in a turn of its own.
fn put(history: &mut History, ms: u64, event: Event) {
    history.record(at(ms), ms, event);
    history.end_turn(at(ms), ms);
}

fn read(directory: &tempfile::TempDir) -> Vec<EventRecord> {
    let found = Reader::new(directory.path(), None).read().unwrap();
    let events = found.into_iter().filter_map(|found| match found {
        Found::Event(_, record) => Some(record),
        Found::Missing(_) | Found::Anew => None,
    });
    events.collect()
}

fn changes(records: &[EventRecord]) -> Vec<u64> {
    let changes = records.iter().filter_map(|record| match &record.event {
        Event::State(_, transition) => Some(transition.seq),
        _ => None,
    });
    changes.collect()
}

#[test]
fn a_flood_of_everything_leaves_the_last_thousand_state_changes_and_a_week() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = open(&directory, LIMITS, 0);
    // An ordinary day, long ago.
    put(&mut history, 1_000, change(1, 1, 40));
    put(&mut history, 2_000, order(None));
    put(&mut history, 3_000, effect(1));
    // Then six days in which everything floods, with the longest texts there are.
    let long = "y".repeat(5_000);
    let (minute, week) = (60_000, 7 * 24 * 60 * 60_000_u64);
    let mut seq = 1;
    for begin in (10_000..week - 24 * 60 * minute).step_by(10 * 60_000) {
        for ms in (begin..begin + 3_000).step_by(100) {
            for _ in 0..5 {
                seq += 1;
                history.record(at(ms), ms, change(0, seq, 5_000));
                history.record(at(ms), ms, effect(0));
                history.record(at(ms), ms, remark(&long));
                history.record(at(ms), ms, order(Some(&long)));
            }
            history.end_turn(at(ms), ms);
        }
    }
    assert_eq!(history.lost(), 0);
    let records = read(&directory);
    let seqs = changes(&records);
    let expected: Vec<u64> = (seq - 999..=seq).collect();
    assert!(seqs.ends_with(&expected), "the last 1,000 are there");
    assert_eq!(seqs[0], 1, "and the one of a week ago");
    let texts: Vec<String> = records
        .iter()
        .map(|record| record.event.to_string())
        .collect();
    assert!(texts[1].ends_with("Reload: carried out"), "{}", texts[1]);
    assert!(texts[2].contains("No space left"), "{}", texts[2]);
    // What is not there was counted.
    let is_effect = |record: &&EventRecord| record.event.kind() == EventKind::Effect;
    let kept = records.iter().filter(is_effect).count() as u64;
    let left_out: u64 = records
        .iter()
        .map(|record| match &record.event {
            Event::LeftOut {
                kind: EventKind::Effect,
                count,
                ..
            } => *count,
            _ => 0,
        })
        .sum();
    assert!(kept > 300, "{kept}");
    let (all, told) = (seq, kept + left_out);
    assert!(told <= all && told > all - all / 20, "{told} of {all}");
    for name in [EVENTS_FILE, STATES_FILE] {
        let limit = if name == EVENTS_FILE {
            LIMITS.events_bytes
        } else {
            LIMITS.states_bytes
        };
        for path in [
            directory.path().join(name),
            older(&directory.path().join(name)),
        ] {
            let length = fs::metadata(&path).map_or(0, |there| there.len());
            assert!(length < limit + 40_000, "{}: {length}", path.display());
        }
    }
}

#[test]
fn ten_a_second_of_a_kind_and_a_virtual_host_are_kept_and_the_rest_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = open(&directory, LIMITS, 0);
    for ms in 0..1_000 {
        put(&mut history, ms, effect(0));
    }
    // Others are not held back by it.
    for vhost in 1..200 {
        put(&mut history, 999, effect(vhost));
    }
    put(&mut history, 999, remark("other"));
    put(&mut history, 1_020, remark("later"));
    let records = read(&directory);
    let of_first = records
        .iter()
        .filter(|record| {
            record
                .event
                .subject()
                .is_some_and(|subject| subject.vhost == 0)
        })
        .filter(|record| record.event.kind() == EventKind::Effect);
    assert_eq!(of_first.count(), 10);
    let texts: Vec<String> = records
        .iter()
        .map(|record| record.event.to_string())
        .collect();
    assert_eq!(texts.len(), 10 + 199 + 2 + 1, "{texts:?}");
    assert_eq!(texts[211], "web0: 990 more effects were left out");
    // The flood is over: the next one is recorded, and nothing more is told.
    put(&mut history, 10_000, effect(0));
    assert!(history.rates.len() <= 2, "{:?}", history.rates);
    put(&mut history, 20_000, effect(0));
    assert_eq!(read(&directory).len(), 214);
}

#[test]
fn a_reader_goes_on_exactly_after_its_cursor_through_rotation_and_restart() {
    let limits = Limits {
        file_bytes: 1 << 20,
        events_bytes: 60_000,
        states_bytes: 9_000,
    };
    let directory = tempfile::tempdir().unwrap();
    let mut history = open(&directory, limits, 0);
    put(&mut history, 0, change(0, 1, 10));
    // One follows all the time; others come with the cursor of the last event that they saw.
    let mut follower = Reader::new(directory.path(), None);
    let mut followed: Vec<Found> = follower.read().unwrap();
    let mut resumed = followed.clone();
    for seq in 2..1_500_u64 {
        let ms = seq * 40;
        put(&mut history, ms, change(0, seq, 10));
        put(&mut history, ms, effect(usize::try_from(seq % 50).unwrap()));
        if seq % 400 == 0 {
            drop(history);
            history = open(&directory, limits, ms);
        }
        if seq % 30 == 0 {
            followed.extend(follower.poll().unwrap());
            let Some(Found::Event(cursor, _)) = resumed.last() else {
                panic!("{:?}", resumed.last());
            };
            let cursor: Cursor = cursor.to_string().parse().unwrap();
            resumed.extend(Reader::new(directory.path(), Some(cursor)).read().unwrap());
        }
    }
    followed.extend(follower.read().unwrap());
    for found in [&followed, &resumed] {
        let numbers: Vec<u64> = found
            .iter()
            .map(|found| match found {
                Found::Event(cursor, record) => {
                    assert_eq!(cursor.number, record.number);
                    record.number
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let expected: Vec<u64> = (1..=*numbers.last().unwrap()).collect();
        assert_eq!(numbers, expected);
        assert!(numbers.len() > 1_600, "{}", numbers.len());
    }
    // One that comes back much later is told what it has missed.
    let Found::Event(cursor, _) = &followed[3] else {
        panic!()
    };
    let late = Reader::new(directory.path(), Some(*cursor)).read().unwrap();
    let gone: u64 = late
        .iter()
        .map(|found| match found {
            Found::Missing(count) => *count,
            _ => 0,
        })
        .sum();
    assert!(gone > 100, "{gone}");
    let seen = late
        .iter()
        .filter(|found| matches!(found, Found::Event(..)))
        .count() as u64;
    assert_eq!(cursor.number + gone + seen, history.next - 1);
}

#[test]
fn another_history_is_told_from_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = open(&directory, LIMITS, 0);
    put(&mut history, 0, change(0, 1, 10));
    let mut follower = Reader::new(directory.path(), None);
    let found = follower.read().unwrap();
    drop(history);
    for entry in fs::read_dir(directory.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(follower.poll().unwrap(), [], "it waits for the next");
    let mut history = open(&directory, LIMITS, 0);
    put(&mut history, 0, change(0, 7, 10));
    let anew = follower.poll().unwrap();
    assert!(
        matches!(anew.as_slice(), [Found::Anew, Found::Event(..)]),
        "{anew:?}"
    );
    let Found::Event(cursor, _) = found[0] else {
        panic!()
    };
    let after = Reader::new(directory.path(), Some(cursor)).read().unwrap();
    assert_eq!(after, anew);
}

#[test]
fn a_history_that_was_cut_anywhere_reads_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = open(&directory, LIMITS, 0);
    for seq in 1..6 {
        put(&mut history, seq, change(0, seq, 10));
        put(&mut history, seq, effect(0));
    }
    drop(history);
    let events = directory.path().join(EVENTS_FILE);
    let whole = fs::read(&events).unwrap();
    for cut in 0..whole.len() {
        fs::write(&events, &whole[..cut]).unwrap();
        let states = changes(&read(&directory));
        assert_eq!(states, [1, 2, 3, 4, 5], "the other file has them");
        let mut history = open(&directory, LIMITS, 10);
        put(&mut history, 10, remark("on"));
        drop(history);
        let records = read(&directory);
        assert_eq!(changes(&records), [1, 2, 3, 4, 5], "cut at {cut}");
        assert_eq!(records.last().unwrap().event, remark("on"));
        assert!(records.is_sorted_by(|a, b| a.number < b.number));
        _ = fs::remove_file(older(&events));
    }
}

#[test]
fn files_of_another_version_are_put_aside_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let events = directory.path().join(EVENTS_FILE);
    fs::write(&events, b"carpdE00 and so on").unwrap();
    let refused = Reader::new(directory.path(), None).read().unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("is not a history of this version"),
        "{refused}"
    );
    let mut history = open(&directory, LIMITS, 0);
    put(&mut history, 0, change(0, 1, 10));
    let mut reader = Reader::new(directory.path(), None);
    assert_eq!(reader.read().unwrap().len(), 1);
    let why = reader.take_left_out().unwrap();
    assert!(why.contains("events.1 is not a history"), "{why}");
}

#[test]
fn a_disk_that_is_full_hurts_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = open(&directory, LIMITS, 0);
    let full = || {
        let file = fs::OpenOptions::new().write(true).open("/dev/full");
        Some(file.unwrap())
    };
    (history.events.file, history.states.file) = (full(), full());
    for ms in 0..100 {
        put(&mut history, ms, change(0, ms, 100));
    }
    assert!(history.lost() >= 100 && !history.is_on());
    let absent: PathBuf = directory.path().join("absent/journal");
    let mut history = History::open(&absent, LIMITS, at(0));
    put(&mut history, 0, change(0, 1, 100));
    assert!(history.lost() > 0);
}

#[test]
fn a_crash_loop_takes_no_more_than_its_share() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = open(&directory, LIMITS, 0);
    put(&mut history, 0, order(None));
    for ms in (1_000..400_000).step_by(1_000) {
        drop(history);
        history = open(&directory, LIMITS, ms);
        put(
            &mut history,
            ms,
            Event::Started {
                version: "1".into(),
            },
        );
        for vhost in 0..100 {
            history.record(at(ms), ms, effect(vhost));
        }
        history.end_turn(at(ms), ms);
    }
    let bytes = fs::metadata(directory.path().join(EVENTS_FILE))
        .unwrap()
        .len();
    let share = LIMITS.events_bytes * 15 / 100 / 2;
    assert!(bytes < share + 200_000, "{bytes}");
    drop(
        fs::OpenOptions::new()
            .append(true)
            .open(directory.path().join(EVENTS_FILE))
            .unwrap()
            .write_all(b"torn"),
    );
    assert!(read(&directory)[0].event.to_string().contains("Reload"));
}
