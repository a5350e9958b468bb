//! Where a change of a hook can come from: what its path consists of, and what lies beside and
//! below it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use crate::hooks::artifact::source::{MAX_DEPTH, tests};
use crate::reader::PollReason;

/// The most directories that are looked for below the hooks. The kernel gives a user some thousands
/// of watches, for all that runs.
pub(super) const DIRECTORIES_MAX: usize = 512;
/// The most files and directories that are looked at to find them.
const ENTRIES_MAX: usize = 20_000;
/// As many links as the kernel would follow.
const LINKS_MAX: usize = 40;

/// A file's path, as the kernel follows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Way {
    /// Each directory on the way, without links, with the name that is looked up in it.
    pub(super) steps: Vec<(PathBuf, OsString)>,
    /// Where it ends: the file, if all of it is there.
    pub(super) end: PathBuf,
}

impl Way {
    /// The way to a file, through every link.
    pub(super) fn to(file: &Path) -> Self {
        let mut way = Self::default();
        let mut at = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let mut todo: VecDeque<OsString> = VecDeque::new();
        push(file, &mut todo);
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            match Path::new(&name).components().next() {
                Some(Component::RootDir) => at = PathBuf::from("/"),
                Some(Component::ParentDir) => _ = at.pop(),
                Some(Component::Normal(_)) => {
                    way.steps.push((at.clone(), name.clone()));
                    let next = at.join(&name);
                    match fs::read_link(&next) {
                        Ok(target) if links < LINKS_MAX => {
                            links += 1;
                            push(&target, &mut todo);
                        }
                        Ok(_) | Err(_) => at = next,
                    }
                }
                Some(Component::CurDir | Component::Prefix(_)) | None => {}
            }
        }
        way.end = at;
        way
    }

    /// The directories in which the hook's modules and its test may lie: those of the file, and of
    /// each link to it.
    pub(super) fn roots(&self, file: &Path) -> BTreeSet<PathBuf> {
        let mut roots = BTreeSet::new();
        roots.extend(self.end.parent().map(Path::to_owned));
        if let Some(name) = file.file_name() {
            // The step at which the file itself is looked up, and those after it, if it is a link.
            let no_directory =
                |(directory, step): &&(PathBuf, OsString)| !directory.join(step).is_dir();
            let own = self
                .steps
                .iter()
                .position(|step| step.1 == name && no_directory(&step));
            let of_file = self
                .steps
                .iter()
                .skip(own.unwrap_or(self.steps.len()))
                .filter(no_directory);
            roots.extend(of_file.map(|(directory, _)| directory.clone()));
        }
        roots
    }

    /// What is this hook's and no other's, wherever it is: its file, or a link to it; its
    /// signature, its test.
    pub(super) fn own(&self, file: &Path) -> BTreeSet<PathBuf> {
        let mut own = BTreeSet::from([self.end.clone()]);
        for root in self.roots(file) {
            for name in [file.file_name(), self.end.file_name()]
                .into_iter()
                .flatten()
            {
                let here = root.join(name);
                let mut signature = here.clone().into_os_string();
                signature.push(".minisig");
                own.extend(tests(&here));
                own.extend([PathBuf::from(signature), here]);
            }
        }
        own
    }
}

/// Puts a path's names in front of others.
fn push(path: &Path, todo: &mut VecDeque<OsString>) {
    for component in path.components().rev() {
        todo.push_front(component.as_os_str().to_owned());
    }
}

/// These directories and those below them, the nearest first, as deep as modules are looked for;
/// and whether that is all.
pub(super) fn below(roots: BTreeSet<PathBuf>) -> (BTreeSet<PathBuf>, bool) {
    let mut found = BTreeSet::new();
    let mut entries = 0;
    let mut next: VecDeque<(PathBuf, usize)> = roots.into_iter().map(|root| (root, 1)).collect();
    while let Some((directory, depth)) = next.pop_front() {
        if found.contains(&directory) {
            continue;
        }
        if found.len() >= DIRECTORIES_MAX {
            return (found, false);
        }
        if depth < MAX_DEPTH {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                entries += 1;
                if entries > ENTRIES_MAX {
                    found.insert(directory);
                    return (found, false);
                }
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                if !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    next.push_back((entry.path(), depth + 1));
                }
            }
        }
        found.insert(directory);
    }
    (found, true)
}

/// May a file of this name be part of a hook?
pub(super) fn is_part(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(|ending| ending.to_str());
    !hidden && matches!(ending, Some("lua" | "luau" | "wasm" | "minisig"))
}

/// What polling sees of each path: a number that changes when it does.
pub(super) type Print = BTreeMap<PathBuf, u64>;

/// All that is on these ways, and the parts of hooks in these directories.
pub(super) fn print<'a>(
    ways: impl Iterator<Item = &'a Way>,
    directories: impl Iterator<Item = &'a PathBuf>,
) -> Print {
    let mut print = Print::new();
    let mut feed = |path: PathBuf, found: io::Result<fs::Metadata>| {
        let seen = found.ok().map(|m| {
            (
                m.dev(),
                m.ino(),
                m.len(),
                m.mtime(),
                m.mtime_nsec(),
                m.ctime(),
                m.ctime_nsec(),
            )
        });
        let mut hasher = DefaultHasher::new();
        seen.hash(&mut hasher);
        print.insert(path, hasher.finish());
    };
    for way in ways {
        for (directory, name) in &way.steps {
            let path = directory.join(name);
            let found = fs::symlink_metadata(&path);
            // What else is in a directory is nobody's business.
            if found.as_ref().is_ok_and(fs::Metadata::is_dir) {
                feed(path, Err(io::ErrorKind::IsADirectory.into()));
            } else {
                feed(path, found);
            }
        }
        feed(way.end.clone(), fs::metadata(&way.end));
    }
    let mut entries = 0;
    for directory in directories {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            entries += 1;
            if entries > ENTRIES_MAX {
                return print;
            }
            let path = entry.path();
            if is_part(&path) {
                let found = fs::metadata(&path);
                feed(path, found);
            }
        }
    }
    print
}

/// What is mounted where, as the kernel lists it.
#[derive(Debug, Default)]
pub(super) struct Mounts(Vec<(PathBuf, String)>);

/// Kinds of file systems that change without this kernel's doing, and so without a word to who
/// watches.
const FOREIGN: [&str; 14] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "virtiofs",
    "ceph",
    "afs",
    "glusterfs",
    "lustre",
    "ocfs2",
    "gfs2",
    "vboxsf",
];

impl Mounts {
    /// Those of this process.
    pub(super) fn here() -> Self {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (before, after) = line.split_once(" - ")?;
            let point = unescape(before.split(' ').nth(4)?);
            Some((PathBuf::from(point), after.split(' ').next()?.to_owned()))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// Why watching does not tell of every change on this way; `None` if it does.
    pub(super) fn objection(&self, way: &Way) -> Option<PollReason> {
        let mounted =
            |path: &Path| path != Path::new("/") && self.0.iter().any(|(point, _)| point == path);
        // The one that is nearest to the file.
        let mut passed = way
            .steps
            .iter()
            .rev()
            .map(|(directory, name)| directory.join(name));
        if let Some(point) = passed.find(|path| mounted(path)) {
            return Some(PollReason::Mount(point.display().to_string()));
        }
        let of_end = self
            .0
            .iter()
            .filter(|(point, _)| way.end.starts_with(point))
            .max_by_key(|(point, _)| point.components().count());
        let (_, kind) = of_end
            .filter(|(_, kind)| FOREIGN.contains(&kind.as_str()) || kind.starts_with("fuse"))?;
        Some(PollReason::ForeignFileSystem(kind.clone()))
    }
}

/// `\040` is a space, and so on.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
        {
            Some(byte) if byte.is_ascii() => {
                plain.push(char::from(byte));
                plain.push_str(part.get(3..).unwrap_or_default());
            }
            Some(_) | None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_huge_tree_is_looked_at_in_part_the_nearest_first() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..10_000 {
            fs::create_dir(root.path().join(n.to_string())).unwrap();
        }
        let (found, complete) = below([root.path().to_owned()].into());
        assert!(
            found.contains(root.path()) && found.len() == DIRECTORIES_MAX && !complete,
            "{}",
            found.len()
        );
        let (found, _) = below(["/".into()].into());
        assert!(
            found.contains(Path::new("/")) && found.len() <= DIRECTORIES_MAX,
            "{}",
            found.len()
        );
    }

    #[test]
    fn what_is_hidden_or_too_deep_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let deep: PathBuf = (0..MAX_DEPTH + 2).map(|n| n.to_string()).collect();
        fs::create_dir_all(root.path().join(deep)).unwrap();
        fs::create_dir_all(root.path().join(".git/objects")).unwrap();
        symlink(root.path(), root.path().join("circle")).unwrap();
        let (found, complete) = below([root.path().to_owned()].into());
        assert!(complete);
        assert_eq!(found.len(), MAX_DEPTH, "{found:?}");
    }

    #[test]
    fn a_way_has_every_name_that_is_looked_up() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("releases/1/hooks")).unwrap();
        fs::write(root.join("releases/1/hooks/h.lua"), "").unwrap();
        symlink("releases/1", root.join("current")).unwrap();
        symlink("../current/hooks/h.lua", root.join("releases/named.lua")).unwrap();
        let names = |way: &Way| -> Vec<String> {
            let steps = way.steps.iter().filter_map(|(directory, name)| {
                let below = directory.strip_prefix(&root).ok()?;
                Some(format!("{}:{}", below.display(), name.display()))
            });
            steps.collect()
        };
        let way = Way::to(&root.join("current/hooks/h.lua"));
        let through = [
            ":current",
            ":releases",
            "releases:1",
            "releases/1:hooks",
            "releases/1/hooks:h.lua",
        ];
        assert_eq!(
            (names(&way), way.end.clone()),
            (
                through.map(str::to_owned).to_vec(),
                root.join("releases/1/hooks/h.lua")
            )
        );
        assert_eq!(
            way.roots(Path::new("h.lua")),
            [root.join("releases/1/hooks")].into()
        );
        let linked = Way::to(&root.join("releases/named.lua"));
        assert_eq!(names(&linked)[..2], [":releases", "releases:named.lua"]);
        assert_eq!(linked.end, way.end);
        assert_eq!(
            linked.roots(Path::new("named.lua")),
            [root.join("releases"), root.join("releases/1/hooks")].into()
        );
        // What is not there yet, and a circle.
        assert_eq!(
            Way::to(&root.join("none/h.lua")).end,
            root.join("none/h.lua")
        );
        symlink("circle", root.join("circle")).unwrap();
        assert!(Way::to(&root.join("circle/h.lua")).steps.len() < 100);
    }

    #[test]
    fn mounts_on_the_way_and_foreign_file_systems_are_known() {
        let mounts = Mounts::parse(
            "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
             30 22 8:1 /x/h.lua /etc/my\\040hooks/h.lua rw - ext4 /dev/sda1 rw\n\
             31 22 0:40 / /srv rw - nfs4 server:/ rw\n\
             32 31 0:41 / /srv/local rw - tmpfs tmpfs rw\nnonsense\n",
        );
        let said = |path: &str| {
            let path = Path::new(path);
            let step =
                |path: &Path| Some((path.parent()?.to_owned(), path.file_name()?.to_owned()));
            let mut steps: Vec<_> = path.ancestors().filter_map(step).collect();
            steps.reverse();
            mounts.objection(&Way {
                steps,
                end: path.to_owned(),
            })
        };
        assert_eq!(said("/etc/carpd/h.lua"), None);
        assert_eq!(
            said("/etc/my hooks/h.lua").unwrap(),
            PollReason::Mount("/etc/my hooks/h.lua".to_owned())
        );
        assert_eq!(
            said("/srv/local/h.lua").unwrap(),
            PollReason::Mount("/srv/local".to_owned())
        );
        let linked = Way {
            steps: Vec::new(),
            end: "/srv/h.lua".into(),
        };
        assert_eq!(
            mounts.objection(&linked).unwrap().to_string(),
            "it is on nfs4, where others can change it"
        );
    }

    #[test]
    fn the_print_changes_with_what_matters() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("h.lua");
        fs::write(&file, "one").unwrap();
        let of = || print([Way::to(&file)].iter(), [root.path().to_owned()].iter());
        let first = of();
        fs::write(root.path().join("notes.txt"), "x").unwrap();
        assert_eq!(of(), first);
        fs::write(root.path().join("m.lua"), "x").unwrap();
        let second = of();
        assert_ne!(second, first);
        fs::write(&file, "another").unwrap();
        assert_ne!(of(), second);
    }
}
