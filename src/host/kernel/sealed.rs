//! Memory files that nobody can change any more.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// What becomes of such a file when this process executes a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExec {
    /// It is closed.
    Closed,
    /// It is inherited.
    Inherited,
}

/// A memory file with these bytes. Whoever has it, under whatever name, can only read it. The kernel
/// shows `name` in `/proc/PID/fd`.
///
/// # Errors
/// What the system says: too little memory, too many descriptors.
pub fn sealed(name: &CStr, bytes: &[u8], on_exec: OnExec) -> io::Result<OwnedFd> {
    let flags = match on_exec {
        OnExec::Closed => MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC,
        OnExec::Inherited => MFdFlags::MFD_ALLOW_SEALING,
    };
    let mut file = File::from(memfd_create(name, flags)?);
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;

    use nix::fcntl::FdFlag;

    use super::*;

    #[test]
    fn a_sealed_file_is_read_and_not_changed() {
        for (on_exec, flags) in [
            (OnExec::Closed, FdFlag::FD_CLOEXEC),
            (OnExec::Inherited, FdFlag::empty()),
        ] {
            let file = sealed(c"carpd-test", b"text", on_exec).unwrap();
            let now = fcntl(&file, FcntlArg::F_GETFD).unwrap();
            assert_eq!(FdFlag::from_bits_retain(now), flags);
            let again = format!("/proc/self/fd/{}", file.as_raw_fd());
            let mut open = File::options();
            let written = open.write(true).open(&again);
            assert!(written.and_then(|mut again| again.write_all(b"x")).is_err());
            assert!(File::from(file.try_clone().unwrap()).set_len(0).is_err());
            let mut text = String::new();
            File::open(&again)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(text, "text");
        }
    }
}
