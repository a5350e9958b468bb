//! The files that a pattern of the shell means.

use std::path::{Path, PathBuf};

use super::Files;

/// The most directories that one pattern looks into, and alternatives that its braces are.
const TRIES_MAX: usize = 256;

/// The files of a pattern below a directory, in the order of their names. Of a name without a
/// pattern it is not asked whether it is there.
///
/// # Errors
/// Words: it means too many.
pub fn paths(from: &Path, pattern: &str, files: &dyn Files) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for pattern in alternatives(pattern)? {
        let mut directories = vec![from.to_owned()];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            directories = step(&directories, part, files)?;
        }
        found.append(&mut directories);
    }
    Ok(found)
}

/// What one part of a pattern stands for.
fn step(directories: &[PathBuf], part: &str, files: &dyn Files) -> Result<Vec<PathBuf>, String> {
    if !part.contains(['*', '?', '[']) {
        return Ok(directories.iter().map(|path| path.join(part)).collect());
    }
    let part: Vec<char> = part.chars().collect();
    let mut found = Vec::new();
    for directory in directories.iter().take(TRIES_MAX) {
        // What is no directory has nothing below it.
        let mut names = files.list(directory).unwrap_or_default();
        names.retain(|name| {
            let name: Vec<char> = name.chars().collect();
            // As in a shell, a pattern finds no hidden files.
            (name.first() != Some(&'.') || part.first() == Some(&'.')) && is_like(&name, &part)
        });
        names.sort();
        found.extend(names.iter().map(|name| directory.join(name)));
    }
    if directories.len() > TRIES_MAX {
        return Err(format!("it looks into more than {TRIES_MAX} directories"));
    }
    Ok(found)
}

/// `a{b,c}d` is `abd` and `acd`.
fn alternatives(pattern: &str) -> Result<Vec<String>, String> {
    let (mut done, mut todo) = (Vec::new(), vec![pattern.to_owned()]);
    while let Some(pattern) = todo.pop() {
        let innermost = pattern.find('}').and_then(|end| {
            let start = pattern.get(..end)?.rfind('{')?;
            Some((start, end))
        });
        let parts = innermost.and_then(|(start, end)| {
            Some((
                pattern.get(..start)?,
                pattern.get(start + 1..end)?,
                pattern.get(end + 1..)?,
            ))
        });
        match parts {
            Some((before, inner, after)) => {
                let each = inner.rsplit(',');
                todo.extend(each.map(|word| format!("{before}{word}{after}")));
            }
            None => done.push(pattern),
        }
        if done.len() + todo.len() > TRIES_MAX {
            return Err(format!("it stands for more than {TRIES_MAX} names"));
        }
    }
    Ok(done)
}

/// Does a name fit `*`, `?` and `[...]`? Takes no more than name times pattern steps.
fn is_like(name: &[char], pattern: &[char]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() || in_pattern < pattern.len() {
        if pattern.get(in_pattern) == Some(&'*') {
            star = Some((at, in_pattern));
            in_pattern += 1;
            continue;
        }
        let fits = name
            .get(at)
            .and_then(|c| one(*c, pattern.get(in_pattern..).unwrap_or_default()));
        match (fits, star) {
            (Some(length), _) => {
                at += 1;
                in_pattern += length;
            }
            (None, Some((from, of))) if from < name.len() => {
                star = Some((from + 1, of));
                (at, in_pattern) = (from + 1, of + 1);
            }
            (None, _) => return false,
        }
    }
    true
}

/// How much of the pattern fits this character; `None` if it does not.
fn one(c: char, pattern: &[char]) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => {
            let end = pattern.iter().skip(2).position(|c| *c == ']')? + 2;
            let set = pattern.get(1..end)?;
            let (set, not) = match set.split_first() {
                Some(('!' | '^', set)) if !set.is_empty() => (set, true),
                _ => (set, false),
            };
            let mut is_in = set.contains(&c);
            for range in set.windows(3) {
                if let [from, '-', to] = range {
                    is_in |= (*from..=*to).contains(&c);
                }
            }
            (is_in != not).then_some(end + 1)
        }
        other => (*other == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(&'static [&'static str]);

    impl Files for Tree {
        fn read(&self, _: &Path) -> Result<String, String> {
            Err("not asked".to_owned())
        }

        fn list(&self, path: &Path) -> Result<Vec<String>, String> {
            let below = self.0.iter().filter_map(|file| {
                let rest = Path::new(file).strip_prefix(path).ok()?;
                rest.iter().next()?.to_str().map(str::to_owned)
            });
            let mut names: Vec<String> = below.collect();
            names.dedup();
            Ok(names)
        }
    }

    #[test]
    fn patterns_are_those_of_a_shell() {
        let tree = Tree(&[
            "/etc/k/conf.d/10-a.conf",
            "/etc/k/conf.d/20-b.conf",
            "/etc/k/conf.d/.hidden.conf",
            "/etc/k/conf.d/notes.txt",
            "/etc/k/x/10-a.conf",
        ]);
        for (pattern, expected) in [
            (
                "k/conf.d/*.conf",
                &["k/conf.d/10-a.conf", "k/conf.d/20-b.conf"][..],
            ),
            ("k/*/10-?.conf", &["k/conf.d/10-a.conf", "k/x/10-a.conf"]),
            ("k/conf.d/[!1]*.conf", &["k/conf.d/20-b.conf"]),
            ("k/conf.d/[0-1]*", &["k/conf.d/10-a.conf"]),
            (
                "k/conf.d/{20-b,none}.conf",
                &["k/conf.d/20-b.conf", "k/conf.d/none.conf"],
            ),
            ("k/conf.d/*x*", &["k/conf.d/notes.txt"]),
            ("k/conf.d/*.toml", &[]),
            ("k/conf.d/*[", &[]),
        ] {
            let found = paths(Path::new("/etc"), pattern, &tree).unwrap();
            let expected: Vec<PathBuf> = expected
                .iter()
                .map(|path| Path::new("/etc").join(path))
                .collect();
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn a_bomb_of_braces_is_refused() {
        let bomb = "{a,b}".repeat(40);
        assert!(paths(Path::new("/"), &bomb, &Tree(&[])).is_err());
        let stars = "*".repeat(2000) + "x";
        let name: Vec<char> = "y".repeat(2000).chars().collect();
        assert!(!is_like(&name, &stars.chars().collect::<Vec<_>>()));
    }
}
