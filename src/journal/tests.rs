use std::fs;
use std::path::PathBuf;

use super::*;
use crate::proto::{Cause, Key, Vhost, wire};
use crate::types::MacAddr;
use crate::types::{AdvBase, AdvSkew, Demotion, Family, Page, State, Vhid};

pub(super) fn settings(advskew: u8) -> Settings {
    let mut settings = Settings::new(
        Vhid::new(40).unwrap(),
        vec!["10.0.0.9/24".parse().unwrap()],
        Key::new(b"a secret password").unwrap(),
    );
    settings.advskew = AdvSkew(advskew);
    settings.preempt = crate::proto::Preempt::On;
    settings
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_micros(millis * 1000)
}

/// Feeds a machine as the engine does, and records it.
fn feed(
    journal: &mut Journal,
    machine: &mut Vhost,
    now: Timestamp,
    input: Input<'_>,
) -> Option<Timestamp> {
    let mut inputs = vec![input];
    let mut wake = None;
    while let Some(input) = inputs.pop() {
        journal.input(now, 7, &input);
        machine.handle(input, now);
        loop {
            let output = machine.poll();
            journal.output(7, &output);
            match output {
                Output::Transmit(transmit) => inputs.push(Input::Sent {
                    family: transmit.family,
                    ok: true,
                }),
                Output::Idle(deadline) => {
                    wake = deadline;
                    break;
                }
                _ => {}
            }
        }
    }
    journal.end_turn(now, 1_000_000 + millis(now));
    wake
}

/// A packet with something else in it. The digest covers neither advbase nor advskew.
fn forge(
    payload: &[u8],
    change: impl Fn(wire::Advertisement) -> wire::Advertisement,
) -> [u8; wire::LEN] {
    change(wire::Advertisement::decode(payload).unwrap()).encode()
}

/// Becomes master, hears a better and a forged one, is demoted and stops.
fn life(journal: &mut Journal, seed: u64, until_ms: u64) {
    let mut machine = Vhost::new(settings(100), seed);
    journal.vhost(
        at(1),
        7,
        &"web".parse().unwrap(),
        &"eth0".parse().unwrap(),
        seed,
        &settings(100),
    );
    let source = Some("10.0.0.1".parse().unwrap());
    feed(
        journal,
        &mut machine,
        at(1),
        Input::OwnAddress {
            family: Family::V4,
            address: source,
        },
    );
    let mut wake = feed(journal, &mut machine, at(1), Input::LinkUp);
    while let Some(next) = wake.filter(|next| *next < at(until_ms)) {
        wake = feed(journal, &mut machine, next, Input::Timer);
    }
    assert_eq!(machine.state(), State::Master);
    let peer = Vhost::new(settings(0), seed + 1);
    let good = forge(&peer.bow_out_packets(0)[0].payload, |ad| {
        wire::Advertisement {
            advbase: AdvBase(1),
            advskew: AdvSkew(0),
            ..ad
        }
    });
    let mut packet = |payload: &[u8], mac| {
        let received = wire::Received {
            src: "10.0.0.2".parse().unwrap(),
            dst: "224.0.0.18".parse().unwrap(),
            mac,
            ttl: 255,
            payload,
        };
        feed(journal, &mut machine, at(until_ms), Input::Packet(received))
    };
    let forged = forge(&good, |ad| wire::Advertisement {
        digest: [1; 20],
        ..ad
    });
    packet(&forged, None);
    packet(&good, Some(MacAddr([2, 0, 0, 0, 0, 2])));
    feed(
        journal,
        &mut machine,
        at(until_ms + 10),
        Input::Demote(Demotion::MAX),
    );
    journal.reconfigured(at(until_ms + 20), 7, &settings(10));
    machine.reconfigure(settings(10), at(until_ms + 20));
    loop {
        let output = machine.poll();
        journal.output(7, &output);
        if matches!(output, Output::Idle(_)) {
            break;
        }
    }
    feed(journal, &mut machine, at(until_ms + 30), Input::Shutdown);
    assert_eq!(machine.stats().received, 1);
}

fn journal(directory: &tempfile::TempDir, file_bytes: u64) -> (PathBuf, Journal) {
    let path = directory.path().join(FILE_NAME);
    let journal = Journal::open(
        &path,
        Limits {
            file_bytes,
            ..Limits::default()
        },
        "test",
        at(0),
        1_000_000,
    );
    (path, journal)
}

#[test]
fn a_life_replays_without_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut recorder) = journal(&directory, 1 << 20);
    life(&mut recorder, 42, 60_000);
    drop(recorder);
    let (_, mut recorder) = journal(&directory, 1 << 20);
    life(&mut recorder, 43, 20_000);
    assert_eq!(recorder.lost(), 0);
    let contents = read(&path).unwrap();
    let replayed = replay(&contents.entries);
    assert_eq!(replayed.difference, None);
    assert!(
        replayed.inputs > 100 && replayed.skipped == 0,
        "{replayed:?}"
    );
    let bytes = fs::read(&path).unwrap();
    assert!(
        !bytes.windows(8).any(|window| window == b"a secret"),
        "the key is not in it"
    );
}

#[test]
fn the_first_difference_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut recorder) = journal(&directory, 1 << 20);
    life(&mut recorder, 42, 30_000);
    let entries = read(&path).unwrap().entries;
    let mut changed = 0;
    for index in 0..entries.len() {
        let mut entries = entries.clone();
        let expected = match &mut entries[index] {
            Entry::Output {
                output: OutputRecord::Transmit { counter, .. },
                ..
            } => {
                *counter += 1;
                "Transmit"
            }
            Entry::Output {
                output: OutputRecord::Transition(transition),
                ..
            } => {
                transition.cause = Cause::Tie;
                "Transition"
            }
            _ => continue,
        };
        changed += 1;
        let difference = replay(&entries).difference.expect(expected);
        assert!(
            difference.record <= index + 1 && index + 1 - difference.record < 4,
            "{difference:?}"
        );
    }
    assert!(changed > 20);
}

#[test]
fn a_journal_that_was_cut_anywhere_reads_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut recorder) = journal(&directory, 1 << 20);
    life(&mut recorder, 42, 8_000);
    drop(recorder);
    let whole = fs::read(&path).unwrap();
    let entries = read(&path).unwrap().entries;
    for cut in (MAGIC_LEN..whole.len()).step_by(7) {
        fs::write(&path, &whole[..cut]).unwrap();
        let contents = read(&path).unwrap();
        assert!(entries.starts_with(&contents.entries));
        assert_eq!(replay(&contents.entries).difference, None, "cut at {cut}");
        let (_, mut recorder) = journal(&directory, 1 << 20);
        recorder.note(
            at(5),
            7,
            Note::Effect {
                hook: "h".parse().unwrap(),
                effect: "e".into(),
                outcome: "changed".into(),
            },
        );
        let after = read(&path).unwrap();
        assert!(!after.torn);
        assert_eq!(
            after.entries.len(),
            contents.entries.len() + 2,
            "a start and a note"
        );
    }
}

/// A daemon of another version may have written it, or a disk lost a part.
#[test]
fn what_cannot_be_read_of_the_file_before_is_left_out_and_said() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut recorder) = journal(&directory, 1 << 20);
    life(&mut recorder, 42, 8_000);
    drop(recorder);
    let alone = read(&path).unwrap();
    assert_eq!(alone.left_out, None);
    fs::write(older(&path), "of another version").unwrap();
    let contents = read(&path).unwrap();
    assert_eq!(contents.entries, alone.entries);
    let why = contents.left_out.expect("it is said");
    assert!(
        why.contains("journal.1 is not a journal of this version"),
        "{why}"
    );
}

#[test]
fn two_files_of_bounded_size() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut recorder) = journal(&directory, 20_000);
    life(&mut recorder, 42, 3_000_000);
    for file in [path.clone(), older(&path)] {
        let length = fs::metadata(&file).unwrap().len();
        assert!(
            length < 20_000 + 1_000,
            "{} has {length} bytes",
            file.display()
        );
    }
    assert!(fs::read_dir(directory.path()).unwrap().count() <= 6);
    let entries = read(&path).unwrap().entries;
    let replayed = replay(&entries);
    assert!(
        replayed.difference.is_none() && replayed.skipped > 100,
        "its beginning is gone, and that is said"
    );
    let told = stories(&events(&entries));
    assert_eq!(
        told.last().unwrap().vhost.as_str(),
        "web",
        "names are known all the same"
    );
    assert_eq!(told.last().unwrap().wall_ms, 1_000_000 + 3_000_030);
}

#[test]
fn a_journal_that_cannot_be_written_hurts_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let mut recorder = Journal::open(
        &directory.path().join("absent/journal"),
        Limits::default(),
        "test",
        at(0),
        0,
    );
    life(&mut recorder, 42, 10_000);
    assert!(recorder.lost() > 0);
    let (path, mut recorder) = journal(&directory, 1 << 20);
    recorder.file.file = Some(
        fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap(),
    );
    life(&mut recorder, 42, 10_000);
    assert!(recorder.lost() > 0 && recorder.file.file.is_none());
    assert_eq!(read(&path).unwrap().entries.len(), 1, "the start");
}

#[test]
fn stories_tell_cause_hooks_and_times() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut recorder) = journal(&directory, 1 << 20);
    let mut machine = Vhost::new(settings(0), 1);
    recorder.vhost(
        at(0),
        7,
        &"web".parse().unwrap(),
        &"eth0".parse().unwrap(),
        1,
        &settings(0),
    );
    let wake = feed(&mut recorder, &mut machine, at(0), Input::LinkUp).unwrap();
    feed(&mut recorder, &mut machine, wake, Input::Timer);
    let hook: Name = "failover".parse().unwrap();
    let effect = Note::Effect {
        hook: hook.clone(),
        effect: "hostname.set nodevir".into(),
        outcome: "changed".into(),
    };
    recorder.note(wake + Duration::from_micros(3400), 7, effect);
    let took = Duration::from_micros(25_300);
    let run = Note::HookRun {
        hook,
        entry: "on_master".into(),
        seq: 2,
        took,
        error: String::new(),
    };
    recorder.note(wake + took, 7, run);
    feed(
        &mut recorder,
        &mut machine,
        wake + Duration::from_millis(500),
        Input::Shutdown,
    );
    let mut told = Page::default();
    for story in stories(&events(&read(&path).unwrap().entries)) {
        story.tell("", &mut told);
    }
    let told = told.as_str();
    insta::assert_snapshot!(told, @r"
    web: init -> backup: start, startup #1
    web: backup -> master: no advertisement for 3000 ms, master-down #2
        +   3.4 ms  hook failover hostname.set nodevir: changed
        +  25.3 ms  hook failover on_master: done in 25.3 ms
    web: master -> init: stopping, shutdown #3
        +   0.0 ms  sent a bow-out over IPv4
    ");
}

/// Becomes master, and ends there.
fn killed_as_master(recorder: &mut Journal, start: u64) -> Timestamp {
    let mut machine = Vhost::new(settings(0), 1);
    recorder.vhost(
        at(start),
        7,
        &"web".parse().unwrap(),
        &"eth0".parse().unwrap(),
        1,
        &settings(0),
    );
    let wake = feed(recorder, &mut machine, at(start), Input::LinkUp).unwrap();
    feed(recorder, &mut machine, wake, Input::Timer);
    wake
}

#[test]
fn a_life_that_was_killed_is_told_as_what_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let open = |now: u64| {
        Journal::open(
            &path,
            Limits {
                file_bytes: 1 << 20,
                ..Limits::default()
            },
            "1",
            at(now),
            1_000_000 + now,
        )
    };
    // Its keeper saw the first one die; nobody saw the second, and the third ended in good order.
    killed_as_master(&mut open(0), 0);
    let mut second = open(9_000);
    second.died(at(8_900), "its engine was killed by SIGKILL");
    killed_as_master(&mut second, 9_000);
    drop(second);
    let mut third = open(20_000);
    let mut machine = Vhost::new(settings(0), 1);
    third.vhost(
        at(20_000),
        7,
        &"web".parse().unwrap(),
        &"eth0".parse().unwrap(),
        1,
        &settings(0),
    );
    feed(&mut third, &mut machine, at(20_000), Input::LinkUp);
    feed(&mut third, &mut machine, at(20_001), Input::Shutdown);
    drop(third);
    let mut fourth = open(30_000);
    killed_as_master(&mut fourth, 30_000);
    // Another name is no new life.
    fourth.renamed(at(34_000), 7, &"www".parse().unwrap());
    let told: Vec<_> = stories(&events(&read(&path).unwrap().entries));
    let mut page = Page::default();
    for story in &told {
        story.tell(&format!("{} ", story.wall_ms), &mut page);
    }
    insta::assert_snapshot!(page.as_str(), @r"
    1000000 web: init -> backup: start, startup #1
    1003000 web: backup -> master: no advertisement for 3000 ms, master-down #2
    1008900 web: master -> init: its engine was killed by SIGKILL, died #2
    1009000 web: init -> backup: start, startup #1
        +   0.0 ms  restarted: its engine was killed by SIGKILL
    1012000 web: backup -> master: no advertisement for 3000 ms, master-down #2
    1012000 web: master -> init: the daemon ended without a record: it was killed together with its keeper, died #2
    1020000 web: init -> backup: start, startup #1
        +   0.0 ms  restarted: the daemon ended without a record: it was killed together with its keeper
    1020001 web: backup -> init: stopping, shutdown #2
    1030000 web: init -> backup: start, startup #1
    1033000 web: backup -> master: no advertisement for 3000 ms, master-down #2
    ");
    assert_eq!(replay(&read(&path).unwrap().entries).difference, None);
}
