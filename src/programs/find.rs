//! Finds the other programs: next to the running one, or where packages install them.
//!
//! The environment is ignored: a caller of a program that root runs must not be able to choose what
//! else root executes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Program;
use crate::resolve::{self, Refusal, Trust};

/// Where packages install a program, relative to the directory of another: how many directories up,
/// and the names from there; and what that directory's own name must be. Packages have `carpd` in
/// `sbin` or `bin` and the others in `libexec/carpd`.
const fn places(program: Program) -> (&'static [&'static str], &'static [(usize, &'static str)]) {
    match program {
        Program::Carpd => (&["carpd"], &[(2, "sbin"), (2, "bin")]),
        Program::Daemon | Program::Worker => (&["sbin", "bin"], &[(1, "libexec/carpd")]),
    }
}

/// A program was found in none of the expected places, or only in one where others could have put
/// it.
#[derive(Debug, thiserror::Error)]
pub struct NotFound {
    program: Program,
    /// Where it was searched for.
    places: Vec<PathBuf>,
    /// What is wrong with the one that was found.
    refusal: Option<Refusal>,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.program.name();
        if let Some(refusal) = &self.refusal {
            write!(f, "{name} cannot be trusted: {refusal}")?;
            return match refusal.mend() {
                Some(mend) => write!(f, "; to fix it: {mend}"),
                None => Ok(()),
            };
        }
        let places: Vec<String> = self
            .places
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        write!(
            f,
            "{name} is missing: there is no {}; install carpd, carpd-daemon and carpd-worker of one build \
             together",
            places.join(", no ")
        )
    }
}

impl From<NotFound> for io::Error {
    fn from(error: NotFound) -> Self {
        Self::new(io::ErrorKind::NotFound, error)
    }
}

/// Finds another program, starting from the file of the running one.
///
/// # Errors
/// [`NotFound`], with the places.
pub fn find(program: Program) -> Result<PathBuf, NotFound> {
    // If the file was replaced, the directory is still right.
    let own = std::env::current_exe().unwrap_or_default();
    from(own.parent().unwrap_or(Path::new("")), program)
}

fn from(directory: &Path, program: Program) -> Result<PathBuf, NotFound> {
    let beside = directory.join(program.name());
    if beside.is_file() {
        return Ok(beside);
    }
    let (below, places) = places(program);
    // Anywhere else these directories have nothing to do with carpd.
    let is_packaged = below.iter().any(|name| directory.ends_with(name));
    let packaged: Vec<PathBuf> = places
        .iter()
        .filter(|_| is_packaged)
        // The path of a running program contains no links, so that going up means cutting off
        // components.
        .filter_map(|(up, down)| Some(directory.ancestors().nth(*up)?.join(down)))
        .map(|place| place.join(program.name()))
        .collect();
    let found = packaged.iter().find(|place| place.is_file()).cloned();
    let refusal = found.as_deref().and_then(|found| distrust(found).err());
    match found {
        Some(found) if refusal.is_none() => Ok(found),
        Some(_) | None => Err(NotFound {
            program,
            places: std::iter::once(beside).chain(packaged).collect(),
            refusal,
        }),
    }
}

/// A file outside the running program's directory may belong to someone else: only root and the
/// user of this process may have been able to put it there.
fn distrust(file: &Path) -> Result<(), Refusal> {
    let objections = resolve::source(file, &Trust::of_process())?.objections;
    objections.into_iter().next().map_or(Ok(()), Err)
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

    #[test]
    fn from_elsewhere_nothing_is_taken_that_lies_above() {
        let root = tree(&["home/carpd", "libexec/carpd/carpd-worker", "sbin/carpd"]);
        let home = root.path().join("home");
        let said = from(&home, Program::Worker).unwrap_err().to_string();
        assert!(
            said.contains("is missing") && !said.contains("libexec"),
            "{said}"
        );
        from(&root.path().join("home/build"), Program::Carpd).unwrap_err();
    }

    #[test]
    fn what_others_can_write_to_is_refused_with_the_place_and_the_command() {
        use std::os::unix::fs::PermissionsExt as _;

        let root = tree(&["usr/bin/carpd", "usr/libexec/carpd/carpd-worker"]);
        let bin = root.path().join("usr/bin");
        from(&bin, Program::Worker).unwrap();
        for open in ["usr/libexec/carpd", "usr/libexec/carpd/carpd-worker"] {
            let open = root.path().join(open);
            fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
            let said = from(&bin, Program::Worker).unwrap_err().to_string();
            let command = format!("{}", open.display());
            assert!(
                said.contains("can be written to by everybody")
                    && said.contains("; to fix it: chmod ")
                    && said.ends_with(&command),
                "{said}"
            );
            fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        }
        from(&bin, Program::Worker).unwrap();
    }
}
