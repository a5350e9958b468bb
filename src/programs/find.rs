//! Where the other programs are: beside the one that runs, or where packages put them.
//!
//! Nothing of the environment has a say: whoever calls a program of root's does not choose what
//! else root executes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Program;

/// Where a program is, seen from the directory of another: how many directories up, and the names
/// from there. All are in one directory in a build tree; packages have `carpd` in `sbin` or `bin`
/// and the others in `libexec/carpd`.
const fn places(program: Program) -> &'static [(usize, &'static str)] {
    match program {
        Program::Carpd => &[(0, ""), (2, "sbin"), (2, "bin")],
        Program::Daemon | Program::Worker => &[(0, ""), (1, "libexec/carpd")],
    }
}

/// A program that is at none of the places where it should be.
#[derive(Debug, thiserror::Error)]
pub struct NotFound {
    program: Program,
    /// Where it was looked for.
    places: Vec<PathBuf>,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<String> = self
            .places
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        write!(
            f,
            "{} is missing: there is no {}; install the carpd, carpd-daemon and carpd-worker of one build \
             together",
            self.program.name(),
            places.join(", no ")
        )
    }
}

impl From<NotFound> for io::Error {
    fn from(error: NotFound) -> Self {
        Self::new(io::ErrorKind::NotFound, error)
    }
}

/// Finds another program, from where the file of the running one is.
///
/// # Errors
/// [`NotFound`], with the places.
pub fn find(program: Program) -> Result<PathBuf, NotFound> {
    // Of a file that was replaced the directory is right all the same.
    let own = std::env::current_exe().unwrap_or_default();
    from(own.parent().unwrap_or(Path::new("")), program)
}

fn from(directory: &Path, program: Program) -> Result<PathBuf, NotFound> {
    let places: Vec<PathBuf> = places(program)
        .iter()
        // The path of a running program has no links in it, so that going up is cutting off.
        .filter_map(|(up, down)| Some(directory.ancestors().nth(*up)?.join(down)))
        .map(|place| place.join(program.name()))
        .collect();
    match places.iter().find(|place| place.is_file()) {
        Some(found) => Ok(found.clone()),
        None => Err(NotFound { program, places }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    #[test]
    fn each_finds_the_others_installed_flat_and_as_packages_have_them() {
        for (places, one, other) in [
            (
                ["bin/carpd", "bin/carpd-daemon", "bin/carpd-worker"],
                "bin",
                "bin",
            ),
            (
                [
                    "usr/sbin/carpd",
                    "usr/libexec/carpd/carpd-daemon",
                    "usr/libexec/carpd/carpd-worker",
                ],
                "usr/sbin",
                "usr/libexec/carpd",
            ),
            (
                [
                    "usr/bin/carpd",
                    "usr/libexec/carpd/carpd-daemon",
                    "usr/libexec/carpd/carpd-worker",
                ],
                "usr/bin",
                "usr/libexec/carpd",
            ),
        ] {
            let root = tree(&places);
            for directory in [one, other] {
                for (program, place) in Program::ALL.into_iter().zip(places) {
                    let found = from(&root.path().join(directory), program).unwrap();
                    assert_eq!(found, root.path().join(place), "from {directory}");
                }
            }
        }
    }

    #[test]
    fn what_is_missing_is_told_with_the_places_and_the_remedy() {
        let root = tree(&[
            "usr/sbin/carpd",
            "usr/sbin/carpd-worker/here-is-a-directory",
        ]);
        let here = root.path().join("usr/sbin");
        let said = from(&here, Program::Worker).unwrap_err().to_string();
        let places = ["usr/sbin/carpd-worker", "usr/libexec/carpd/carpd-worker"];
        assert!(said.starts_with("carpd-worker is missing: "), "{said}");
        for place in places {
            assert!(
                said.contains(root.path().join(place).to_str().unwrap()),
                "{said}"
            );
        }
        assert!(said.ends_with("of one build together"), "{said}");
    }
}
