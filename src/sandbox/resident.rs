//! Releases what only the start of a process needed: mapped code of the binary and its libraries
//! that is unlikely to run again.
//!
//! Starting, confining and loading touch much more of a large binary than serving does, and every
//! page counts towards the process as long as it is mapped. A page that was unmapped is mapped
//! again when it is next touched, usually from memory.
#![expect(unsafe_code, reason = "madvise has no safe form")]

use std::sync::OnceLock;

/// Address and length of what can be released.
type Range = (usize, usize);

static CODE: OnceLock<Vec<Range>> = OnceLock::new();

/// Records where the code is; must be called before `/proc` is out of reach.
pub(super) fn note() {
    CODE.get_or_init(|| {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        maps.lines().filter_map(code).collect()
    });
}

/// Parses a line like `55d0c000-55d1f000 r-xp 00786000 fe:00 1001 /usr/sbin/carpd`, if nothing in
/// it can ever have been written: code, or the head of a file. Other read-only parts may hold
/// addresses that the loader put there.
fn code(line: &str) -> Option<Range> {
    let mut words = line.split_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let (rights, offset, file) = (words.next()?, words.next()?, words.nth(2)?);
    let never_written =
        rights == "r-xp" || (rights == "r--p" && offset.trim_start_matches('0').is_empty());
    if !never_written || !file.starts_with('/') {
        return None;
    }
    let (from, to) = (
        usize::from_str_radix(from, 16).ok()?,
        usize::from_str_radix(to, 16).ok()?,
    );
    Some((from, to.checked_sub(from)?))
}

/// Releases it. Whatever is needed is mapped again when it is touched.
pub fn forget_code() {
    for (from, length) in CODE.get().into_iter().flatten() {
        // SAFETY: these are private mappings of files that were never writable in this process and
        // are not unmapped while it lives (nothing here closes a library). Dropping their pages
        // loses nothing: the kernel reads the same bytes again. That it may refuse (locked pages)
        // does not matter.
        unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(*from),
                *length,
                libc::MADV_DONTNEED,
            )
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_is_let_go() {
        let good = "1000-3000 r-xp 00786000 fe:00 1001                   /usr/sbin/carpd";
        assert_eq!(code(good), Some((0x1000, 0x2000)));
        assert_eq!(
            code("1000-3000 r--p 00000000 fe:00 1001 /usr/lib/x.so"),
            Some((0x1000, 0x2000))
        );
        for other in [
            "",
            "1000-3000 r--p 00786000 fe:00 1001 /usr/sbin/carpd",
            "1000-3000 rw-p 00000000 fe:00 1001 /usr/sbin/carpd",
            "1000-3000 r-xs 00000000 fe:00 1001 /usr/sbin/carpd",
            "1000-3000 r-xp 00000000 00:00 0 [vdso]",
            "1000-3000 r-xp 00000000 00:00 0",
            "3000-1000 r-xp 00000000 fe:00 1001 /usr/sbin/carpd",
        ] {
            assert_eq!(code(other), None, "{other}");
        }
    }

    #[test]
    fn code_that_was_let_go_still_runs() {
        note();
        assert!(CODE.get().is_some_and(|ranges| !ranges.is_empty()));
        forget_code();
        assert_eq!("still here".len(), 10);
    }
}
