//! No child inherits what the keeper itself inherited.
#![expect(
    unsafe_code,
    reason = "close_range has no safe wrapper in the crates used here"
)]

use std::io;

/// Marks every descriptor above standard error as closed on exec, whoever opened it.
///
/// # Errors
/// What the system said.
pub fn close_on_exec() -> io::Result<()> {
    // SAFETY: changes a flag of descriptors; closes none and touches no memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
