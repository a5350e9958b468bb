//! Real files, and the kernel that tells of them.

use std::io::Write as _;
use std::os::unix::fs::symlink;

use notify::EventKind;
use notify::event::RemoveKind;

use super::Seen::{Moving, Same, Settled};
use super::*;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_directory_of_the_same_name_is_another_one() {
    let root = tempfile::tempdir().unwrap();
    let (directory, aside) = (root.path().join("hooks"), root.path().join("aside"));
    fs::create_dir(&directory).unwrap();
    // Nobody listens: what the kernel tells comes when it likes.
    let (hint, _hints) = mpsc::channel(1);
    let hook = directory.join("h.lua");
    let interest = Interest::default();
    let mut watched = Watched::new(std::slice::from_ref(&hook), hint, interest.clone(), true);
    let mut look = || {
        interest.take_gone();
        let Looked { news, missing, .. } = watched.look();
        (news, missing)
    };
    assert_eq!((look(), look()), ((true, false), (false, false)));
    fs::rename(&directory, &aside).unwrap();
    assert_eq!(look(), (false, true), "it is gone");
    fs::create_dir(&directory).unwrap();
    assert_eq!(look(), (true, false), "and back");
    fs::rename(&directory, root.path().join("more")).unwrap();
    fs::create_dir(&directory).unwrap();
    assert_eq!(
        look(),
        (true, false),
        "one for the other, between two looks"
    );
}

/// The watcher hears that a directory was moved away after the one in its place was given to
/// it, and ends that one's watch.
#[test]
fn a_watch_that_the_watcher_ended_late_is_renewed() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("hooks");
    fs::create_dir(&directory).unwrap();
    let (hint, mut hints) = mpsc::channel(1);
    let interest = Interest::default();
    let mut watched = Watched::new(&[directory.join("h.lua")], hint, interest.clone(), true);
    watched.look();
    // What the watcher has done on its own.
    watched
        .watcher
        .as_mut()
        .unwrap()
        .unwatch(&directory)
        .unwrap();
    let removed = EventKind::Remove(RemoveKind::Folder);
    assert!(interest.is_change(&notify::Event::new(removed).add_path(directory.clone())));
    assert!(watched.look().news);
    fs::write(directory.join("h.lua"), "").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let hint = runtime.block_on(async { tokio::time::timeout(SOON, hints.recv()).await });
    assert_eq!(hint, Ok(Some(())), "in time");
}

#[test]
fn however_often_a_directory_is_replaced_it_is_watched() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("hooks");
    fs::create_dir(&directory).unwrap();
    watching(&directory.join("h.lua"), true, async |seer| {
        for turn in 0..20 {
            fs::rename(&directory, root.path().join(format!("old{turn}"))).unwrap();
            fs::create_dir(&directory).unwrap();
            seer.change().await;
            // Until it has been quiet for long: what is there now is watched.
            while tokio::time::timeout(4 * QUIET, seer.next()).await.is_ok() {}
            fs::write(directory.join("h.lua"), "").unwrap();
            seer.change().await;
        }
    });
}

/// What a test sees of the watching.
struct Seer {
    told: mpsc::Receiver<Told>,
    how: Vec<(String, How)>,
    interest: Interest,
}

impl Seer {
    async fn next(&mut self) -> Option<Told> {
        let told = self.told.recv().await;
        if let Some(Told::How { files, .. }) = &told {
            self.how.clone_from(files);
        }
        told
    }

    async fn change(&mut self) {
        let changed = async { while self.next().await.expect("it watches") != Told::Changed {} };
        tokio::time::timeout(SOON, changed)
            .await
            .expect("a change in time");
    }
}

/// Watches a file while something happens to it.
fn watching(file: &Path, by_kernel: bool, story: impl AsyncFnOnce(&mut Seer)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (tell, told) = mpsc::channel(64);
        let quick = Duration::from_millis(20);
        let pauses = Pauses {
            writer: SOON,
            poll: quick,
            settle: quick,
        };
        let interest = Interest::default();
        let watch = watch_with(
            &[file.to_owned()],
            tell,
            pauses,
            by_kernel,
            interest.clone(),
        );
        let watch = tokio::task::spawn_local(watch);
        let mut seer = Seer {
            told,
            how: Vec::new(),
            interest,
        };
        if by_kernel {
            // It watches.
            seer.change().await;
        }
        while seer.how.is_empty() {
            seer.next().await;
        }
        story(&mut seer).await;
        watch.abort();
    });
}

#[test]
fn directories_that_come_later_are_watched_too() {
    let root = tempfile::tempdir().unwrap();
    watching(&root.path().join("h.lua"), true, async |seer| {
        fs::create_dir(root.path().join("lib")).unwrap();
        // The change, and that what is new is watched.
        seer.change().await;
        seer.change().await;
        fs::write(root.path().join("lib/m.lua"), "return 1").unwrap();
        seer.change().await;
    });
}

#[test]
fn a_link_that_is_pointed_elsewhere_is_a_change_wherever_it_is_on_the_way() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for n in ["1", "2"] {
        fs::create_dir_all(root.join("releases").join(n).join("hooks")).unwrap();
        fs::write(root.join("releases").join(n).join("hooks/h.lua"), n).unwrap();
    }
    symlink("releases/1", root.join("current")).unwrap();
    watching(&root.join("current/hooks/h.lua"), true, async |seer| {
        symlink("releases/2", root.join("new")).unwrap();
        fs::rename(root.join("new"), root.join("current")).unwrap();
        seer.change().await;
        // What is there now is watched.
        seer.change().await;
        fs::write(root.join("releases/2/hooks/h.lua"), "three").unwrap();
        seer.change().await;
    });
}

#[test]
fn a_directory_on_the_way_that_takes_the_place_of_another_is_a_change() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for name in ["a/b/hooks", "new/b/hooks"] {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::write(root.join(name).join("h.lua"), name).unwrap();
    }
    watching(&root.join("a/b/hooks/h.lua"), true, async |seer| {
        fs::rename(root.join("a"), root.join("old")).unwrap();
        fs::rename(root.join("new"), root.join("a")).unwrap();
        seer.change().await;
    });
}

/// The same inode by another name, as behind a mount of a single file.
#[test]
fn a_file_that_is_written_to_by_another_name_is_a_change() {
    let root = tempfile::tempdir().unwrap();
    let (here, there) = (root.path().join("here"), root.path().join("there"));
    for directory in [&here, &there] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(there.join("h.lua"), "one").unwrap();
    fs::hard_link(there.join("h.lua"), here.join("h.lua")).unwrap();
    watching(&here.join("h.lua"), true, async |seer| {
        fs::write(there.join("h.lua"), "two").unwrap();
        seer.change().await;
    });
}

#[test]
fn half_a_file_is_not_taken_while_its_writer_has_it_open() {
    let root = tempfile::tempdir().unwrap();
    let hook = root.path().join("h.lua");
    watching(&hook, true, async |seer| {
        let mut file = fs::File::create(&hook).unwrap();
        file.write_all(b"function on_master() end").unwrap();
        while !seer.interest.is_written() {
            tokio::task::yield_now().await;
        }
        // Far longer than what it waits for when nobody has it open.
        assert!(
            tokio::time::timeout(10 * QUIET, seer.told.recv())
                .await
                .is_err()
        );
        drop(file);
        seer.change().await;
        assert!(!seer.interest.is_written());
    });
}

#[test]
fn what_cannot_be_watched_is_polled_and_said_to_be() {
    let root = tempfile::tempdir().unwrap();
    let hook = root.path().join("h.lua");
    fs::write(&hook, "one").unwrap();
    watching(&hook, false, async |seer| {
        assert_eq!(
            seer.how.first().unwrap().1.to_string(),
            "polled every 2s: the kernel gives no watches"
        );
        fs::write(&hook, "another").unwrap();
        seer.change().await;
        fs::write(root.path().join("m.lua"), "return 1").unwrap();
        seer.change().await;
    });
    watching(&hook, true, async |seer| {
        let how = seer.how.first().unwrap().1.to_string();
        assert!(how == "watched" || how.ends_with(" is a mount"), "{how}");
    });
}

#[test]
fn what_is_still_changing_is_not_told_of() {
    let mut prints = Prints::default();
    let said = [1, 1, 2, 3, 3, 3, 4, 4].map(|print| prints.see(print));
    assert_eq!(
        said,
        [Same, Same, Moving, Moving, Settled, Same, Moving, Settled]
    );
}
