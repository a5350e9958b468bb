use std::path::{Path, PathBuf};

use super::*;
use crate::engine::persist::{Clocks, Persist};
use crate::host::clock;
use crate::ledger::{Instance, Origin};
use crate::types::Timestamp;

fn owner() -> Owner {
    Owner {
        vhost: "v".parse().unwrap(),
        hook: Some("h".parse().unwrap()),
    }
}

/// One life of a daemon: what it finds, what it does, and the end of its writing.
async fn live(root: &Path, life: impl AsyncFnOnce(&mut StateStore, &Persist)) {
    let origin = Origin { boot: 1, netns: 1 };
    let mut instance =
        Instance::open(&root.join("run"), &root.join("lib"), "i", origin, []).unwrap();
    let (persist, mut store) = Persist::open(&mut instance, Clocks::read()).await;
    life(&mut store, &persist).await;
    // Only what nobody waits for any more is dropped here.
    drop((persist, store));
}

fn with_root(test: impl AsyncFnOnce(PathBuf)) {
    let root = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test(root.path().to_owned()));
}

fn file(root: &Path) -> PathBuf {
    root.join("lib/i/state/v@h")
}

async fn set(store: &mut StateStore, key: &str, value: &str) {
    store
        .set(&owner(), key, Some(value.into()), 1_000_000)
        .unwrap()
        .wait()
        .await;
}

#[test]
fn a_value_over_the_quota_changes_nothing() {
    let mut store = StateStore::new();
    store.set(&owner(), "k", Some(vec![1; 9]), 10).unwrap();
    assert!(store.set(&owner(), "k", Some(vec![2; 10]), 10).is_err());
    assert!(store.set(&owner(), "l", Some(vec![]), 10).is_err());
    assert_eq!(store.value(&owner(), "k"), Some(vec![1; 9]));
    store.set(&owner(), "k", None, 10).unwrap();
    assert_eq!(store.value(&owner(), "k"), None);
}

#[test]
fn the_number_of_keys_is_bounded() {
    let mut store = StateStore::new();
    for n in 0..KEYS_MAX {
        store
            .set(&owner(), &n.to_string(), Some(vec![]), 100_000)
            .unwrap();
    }
    assert!(
        store
            .set(&owner(), "one more", Some(vec![]), 100_000)
            .is_err()
    );
}

#[test]
fn values_outlive_the_process_that_set_them() {
    with_root(async |root| {
        live(&root, async |store, _| {
            set(store, "a", "1").await;
            set(store, "b", "2").await;
            set(store, "a", "3").await;
            store.set(&owner(), "b", None, 100).unwrap().wait().await;
        })
        .await;
        live(&root, async |store, persist| {
            assert_eq!(store.value(&owner(), "a"), Some(b"3".to_vec()));
            assert_eq!(store.value(&owner(), "b"), None);
            assert_eq!(persist.problem(), None);
            // Nobody waits for this one.
            drop(store.set(&owner(), "c", Some(b"4".to_vec()), 100).unwrap());
            persist.settled().await;
        })
        .await;
        live(&root, async |store, _| {
            assert_eq!(store.value(&owner(), "c"), Some(b"4".to_vec()));
        })
        .await;
    });
}

#[test]
fn a_file_cut_anywhere_gives_the_values_before_the_cut_and_can_be_written_again() {
    with_root(async |root| {
        live(&root, async |store, _| {
            for n in 0..4 {
                set(store, "n", &n.to_string()).await;
            }
        })
        .await;
        let whole = std::fs::read(file(&root)).unwrap();
        let mut seen = Vec::new();
        for cut in 0..whole.len() {
            std::fs::write(file(&root), &whole[..cut]).unwrap();
            live(&root, async |store, _| {
                seen.push(store.value(&owner(), "n"));
                set(store, "after", "x").await;
            })
            .await;
            live(&root, async |store, _| {
                assert_eq!(
                    store.value(&owner(), "n"),
                    seen.last().cloned().flatten(),
                    "cut at {cut}"
                );
                assert_eq!(
                    store.value(&owner(), "after"),
                    Some(b"x".to_vec()),
                    "cut at {cut}"
                );
            })
            .await;
        }
        seen.dedup();
        let expected: Vec<_> = [None, Some("0"), Some("1"), Some("2")]
            .map(|n| n.map(|n| n.as_bytes().to_vec()))
            .into();
        assert_eq!(seen, expected);
    });
}

#[test]
fn a_damaged_file_is_put_aside_and_another_hooks_values_stay() {
    with_root(async |root| {
        let other = Owner {
            vhost: "v".parse().unwrap(),
            hook: Some("g".parse().unwrap()),
        };
        live(&root, async |store, _| {
            set(store, "a", "1").await;
            store
                .set(&other, "a", Some(b"2".to_vec()), 100)
                .unwrap()
                .wait()
                .await;
        })
        .await;
        std::fs::write(file(&root), "nonsense").unwrap();
        live(&root, async |store, _| {
            assert_eq!(store.value(&owner(), "a"), None);
            assert_eq!(store.value(&other, "a"), Some(b"2".to_vec()));
        })
        .await;
        assert_eq!(
            std::fs::read(file(&root).with_added_extension("unreadable")).unwrap(),
            b"nonsense"
        );
    });
}

#[test]
fn history_does_not_pile_up() {
    with_root(async |root| {
        live(&root, async |store, persist| {
            for n in 0..2000 {
                set(store, "n", &format!("{n:01000}")).await;
            }
            persist.settled().await;
        })
        .await;
        let len = std::fs::metadata(file(&root)).unwrap().len();
        assert!(len < 80_000, "{len}");
        live(&root, async |store, _| {
            assert_eq!(
                store.value(&owner(), "n").unwrap(),
                format!("{:01000}", 1999).as_bytes()
            );
        })
        .await;
    });
}

#[test]
fn what_could_not_be_written_is_held_in_memory_and_written_with_the_next_change() {
    with_root(async |root| {
        live(&root, async |store, persist| {
            set(store, "a", "1").await;
            std::fs::rename(root.join("lib/i/state"), root.join("elsewhere")).unwrap();
            std::fs::write(root.join("lib/i/state"), "").unwrap();
            set(store, "b", "2").await;
            assert_eq!(store.value(&owner(), "b"), Some(b"2".to_vec()));
            persist.settled().await;
            assert!(
                persist
                    .problem()
                    .unwrap()
                    .contains("cannot write a hook's state")
            );
            std::fs::remove_file(root.join("lib/i/state")).unwrap();
            set(store, "c", "3").await;
            persist.settled().await;
            assert_eq!(persist.problem(), None);
        })
        .await;
        live(&root, async |store, _| {
            let values = ["a", "b", "c"].map(|key| store.value(&owner(), key));
            assert_eq!(
                values,
                ["1", "2", "3"].map(|value| Some(value.as_bytes().to_vec()))
            );
        })
        .await;
    });
}

#[test]
fn what_could_not_be_written_is_written_when_the_disk_is_well_again_whatever_else_happens() {
    with_root(async |root| {
        let clock = clock::Virtual::start(Timestamp::ZERO);
        live(&root, async |store, persist| {
            set(store, "a", "1").await;
            persist.settled().await;
            std::fs::rename(root.join("lib/i/state"), root.join("elsewhere")).unwrap();
            std::fs::write(root.join("lib/i/state"), "").unwrap();
            // The second does not know yet that the first has failed.
            let owner = owner();
            let saved = [("b", "2"), ("c", "3")].map(|(key, value)| {
                store
                    .set(&owner, key, Some(value.as_bytes().to_vec()), 1000)
                    .unwrap()
            });
            for saved in saved {
                saved.wait().await;
            }
            persist.settled().await;
            assert!(
                persist
                    .problem()
                    .unwrap()
                    .contains("cannot write a hook's state")
            );
            std::fs::remove_file(root.join("lib/i/state")).unwrap();
            while persist.problem().is_some() {
                clock.advance(clock.next().unwrap());
                while clock.wake_one(|_| 0) {}
                persist.settled().await;
                persist.settled().await;
            }
        })
        .await;
        live(&root, async |store, _| {
            let values = ["a", "b", "c"].map(|key| store.value(&owner(), key));
            assert_eq!(
                values,
                ["1", "2", "3"].map(|value| Some(value.as_bytes().to_vec()))
            );
        })
        .await;
    });
}

#[test]
fn two_daemons_of_one_name_do_not_write_the_same_files() {
    with_root(async |root| {
        live(&root, async |_, first| {
            assert_eq!(first.problem(), None);
            let elsewhere = Origin { boot: 1, netns: 2 };
            let mut instance =
                Instance::open(&root.join("run"), &root.join("lib"), "i", elsewhere, []).unwrap();
            let (second, _) = Persist::open(&mut instance, Clocks::read()).await;
            assert!(
                second
                    .problem()
                    .unwrap()
                    .contains("another carpd of this name")
            );
        })
        .await;
    });
}
