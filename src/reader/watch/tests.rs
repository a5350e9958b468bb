//! Real files, and the kernel that tells of them.

use std::io::Write as _;
use std::os::unix::fs::symlink;

use notify::EventKind;
use notify::event::RemoveKind;

use super::*;
use crate::reader::Unfinished;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_directory_of_the_same_name_is_another_one() {
    let root = tempfile::tempdir().unwrap();
    let (directory, aside) = (root.path().join("hooks"), root.path().join("aside"));
    fs::create_dir(&directory).unwrap();
    // Nobody listens: what the kernel tells comes when it likes.
    let (hint, _hints) = mpsc::channel(1);
    let hook = directory.join("h.lua");
    let interest = Interest::new(PAUSES);
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
    let interest = Interest::new(PAUSES);
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
        self.change_with(|_| true).await;
    }

    /// A change while this is being written.
    async fn change_with(&mut self, wanted: impl Fn(&Unfinished) -> bool) {
        let changed = async {
            loop {
                if let Told::Changed(unfinished) = self.next().await.expect("it watches")
                    && wanted(&unfinished)
                {
                    return;
                }
            }
        };
        tokio::time::timeout(SOON, changed)
            .await
            .expect("a change in time");
    }
}

/// Watches a file while something happens to it. Whoever writes to it is waited for.
fn watching(file: &Path, by_kernel: bool, story: impl AsyncFnOnce(&mut Seer)) {
    watching_all(&[file.to_owned()], by_kernel, SOON, story);
}

/// As [`watching`], more than one. A writer is waited for so long.
fn watching_all(
    files: &[PathBuf],
    by_kernel: bool,
    writer_most: Duration,
    story: impl AsyncFnOnce(&mut Seer),
) {
    crate::process::limit::begin();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (tell, told) = mpsc::channel(64);
        let quick = Duration::from_millis(20);
        let pauses = Pauses {
            writer: SOON,
            writer_most,
            poll: quick,
            settle: quick,
        };
        let interest = Interest::new(pauses);
        let watch = watch_with(files, tell, pauses, by_kernel, interest);
        let watch = tokio::task::spawn_local(watch);
        let mut seer = Seer {
            told,
            how: Vec::new(),
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
        seer.change_with(|unfinished| unfinished.hooks == [0]).await;
        // Far longer than what it waits for when nobody has it open.
        assert!(
            tokio::time::timeout(
                10 * QUIET,
                seer.change_with(|unfinished| unfinished.hooks.is_empty())
            )
            .await
            .is_err()
        );
        drop(file);
        seer.change_with(|unfinished| *unfinished == Unfinished::default())
            .await;
    });
}

/// As a log that is kept open, or an editor that saves and saves.
#[test]
fn a_writer_that_never_closes_holds_up_its_own_hook_alone_and_not_for_ever() {
    for by_kernel in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let [endless, other, log] =
            ["h.lua", "other.lua", "log.lua"].map(|name| root.path().join(name));
        let [mut hook, mut module] = [&endless, &log].map(|path| fs::File::create(path).unwrap());
        let mut goes_on = || {
            hook.write_all(b"-- more\n").unwrap();
            module.write_all(b"-- more\n").unwrap();
        };
        let held = |unfinished: &Unfinished| {
            let modules = &unfinished.modules;
            unfinished.hooks == [0] && modules.iter().any(|path| path.ends_with("/log.lua"))
        };
        let most = Duration::from_millis(500);
        watching_all(&[endless, other.clone()], by_kernel, most, async |seer| {
            goes_on();
            fs::write(&other, "function on_master() end").unwrap();
            while_it_goes_on(seer.change_with(held), &mut goes_on).await;
            let given_up = seer.change_with(|unfinished| *unfinished == Unfinished::default());
            while_it_goes_on(given_up, &mut goes_on).await;
        });
    }
}

/// Until then the writer is never quiet.
async fn while_it_goes_on(until: impl Future<Output = ()>, goes_on: &mut impl FnMut()) {
    let mut until = std::pin::pin!(until);
    let pause = Duration::from_millis(5);
    while tokio::time::timeout(pause, until.as_mut()).await.is_err() {
        goes_on();
    }
}

#[test]
fn what_cannot_be_watched_is_polled_and_said_to_be() {
    let root = tempfile::tempdir().unwrap();
    let hook = root.path().join("h.lua");
    fs::write(&hook, "one").unwrap();
    watching(&hook, false, async |seer| {
        assert_eq!(
            seer.how.first().unwrap().1.to_string(),
            "polled every 2s: no kernel watches are available"
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
