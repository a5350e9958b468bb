//! Releases memory that was needed only during the start.
//!
//! Parsing a command line and a configuration touches many pages of the program that are never used
//! again, and fragments the heap. This may be called only during the start: later, released pages
//! would have to be read again at the moment of a takeover.
#![expect(
    unsafe_code,
    reason = "the kernel's and the allocator's advice have no safe form"
)]

use std::collections::BTreeSet;
use std::io;

use tracing::debug;

/// A mapping of the program or of a library, of which nothing would be lost: read-only, and every
/// page as it is in its file. It stays where it is as long as the process lives: nothing here closes
/// a library.
#[derive(Debug, PartialEq, Eq)]
struct Clean {
    start: usize,
    length: usize,
}

/// Gives back what the start used: the pages of the program and its libraries, which are read again
/// where they are still needed, and free memory of the heap. Where that cannot be done, nothing
/// happens.
pub fn give_back() {
    match own_mappings() {
        Ok(clean) => clean.iter().for_each(forget),
        Err(err) => debug!(%err, "Cannot read the process's own memory map"),
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: no argument but a number; it only touches what the allocator holds as free.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn own_mappings() -> io::Result<Vec<Clean>> {
    Ok(clean_mappings(&std::fs::read_to_string(
        "/proc/self/smaps",
    )?))
}

/// Reads `/proc/PID/smaps`.
fn clean_mappings(smaps: &str) -> Vec<Clean> {
    let loaded: BTreeSet<&str> = smaps
        .lines()
        .filter_map(file)
        .filter_map(|(permissions, path)| permissions.starts_with("r-x").then_some(path))
        .collect();
    let mut clean = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(range) = range(line) {
            let is_fit = |(permissions, path): (&str, &str)| {
                permissions.starts_with("r-") && permissions.ends_with('p') && loaded.contains(path)
            };
            current = file(line).is_some_and(is_fit).then_some(range);
        } else if line.starts_with("Anonymous:")
            && line.split_whitespace().nth(1) == Some("0")
            && let Some(mapping) = current.take()
        {
            clean.push(mapping);
        }
    }
    clean
}

/// Of the first line of a mapping.
fn range(line: &str) -> Option<Clean> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    let (start, end) = (
        usize::from_str_radix(start, 16).ok()?,
        usize::from_str_radix(end, 16).ok()?,
    );
    Some(Clean {
        start,
        length: end.saturating_sub(start),
    })
}

/// Permissions and path of a mapping of a file, in its first line.
fn file(line: &str) -> Option<(&str, &str)> {
    range(line)?;
    let mut words = line.split_whitespace().skip(1);
    let permissions = words.next()?;
    let path = words.nth(3).filter(|path| path.starts_with('/'))?;
    Some((permissions, path))
}

fn forget(mapping: &Clean) {
    let start = std::ptr::without_provenance_mut(mapping.start);
    // SAFETY: the range is a part of the program or of a library that cannot be written to and has
    // no page of its own: at the next access the kernel reads the same bytes from the file again,
    // whichever thread it is that needs them. It is still that mapping, since none of these ends.
    let result = unsafe { libc::madvise(start, mapping.length, libc::MADV_DONTNEED) };
    if result != 0 {
        debug!(err = %io::Error::last_os_error(), "Cannot release part of the program's memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0aa000000-55d0aa532000 r--p 00000000 fe:00 11 /usr/sbin/carpd
Size:               5320 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
55d0aa533000-55d0ab9f0000 r-xp 00532000 fe:00 11 /usr/sbin/carpd
Anonymous:             0 kB
55d0ab9f1000-55d0aba76000 r--p 019ef000 fe:00 11 /usr/sbin/carpd
Anonymous:           532 kB
55d0aba76000-55d0aba79000 rw-p 01a73000 fe:00 11 /usr/sbin/carpd
Anonymous:             0 kB
55d0abb00000-55d0abc00000 rw-p 00000000 00:00 0 [heap]
Anonymous:           400 kB
7f0000000000-7f0000001000 r--s 00000000 fe:00 12 /run/shared
Anonymous:             0 kB
7f0000001000-7f0000002000 r--p 00000000 fe:00 13 /usr/lib/locale/C.utf8/LC_CTYPE
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
";

    #[test]
    fn what_was_relocated_can_be_written_or_is_no_program_is_kept() {
        let first = Clean {
            start: 0x55d0_aa00_0000,
            length: 0x53_2000,
        };
        let code = Clean {
            start: 0x55d0_aa53_3000,
            length: 0x14b_d000,
        };
        assert_eq!(clean_mappings(SMAPS), [first, code]);
    }
}
