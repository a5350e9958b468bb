//! The three things that the compiler cannot check for us, each behind a safe interface.
#![expect(
    unsafe_code,
    reason = "native code is taken on trust, and a store cannot hold a borrowed host"
)]

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use wasmtime::Engine;
use wasmtime::component::Component;

use carpd::hooks::{Answer, Ask, HookHost};

/// Loads the output of [`crate::compiler`].
pub(super) fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes come from the compiler process of this same binary, by way of the engine,
    // over sockets that no other process has; they were never on disk. wasmtime refuses those of
    // another version or configuration. If the compiler was subverted by what it compiled, its code
    // runs in this process, which is confined for that reason.
    unsafe { Component::deserialize(engine, code) }
}

/// May this process have executable memory? If not (systemd's MemoryDenyWriteExecute), cranelift's
/// code is useless. The answer is the same in all children of one keeper.
pub(super) fn can_execute() -> bool {
    const LENGTH: usize = 4096;
    // SAFETY: a new mapping that is not used anywhere else, made executable and unmapped again;
    // nothing is executed.
    unsafe {
        let (access, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        let page = libc::mmap(std::ptr::null_mut(), LENGTH, access, flags, -1, 0);
        if page == libc::MAP_FAILED {
            return false;
        }
        let allowed = libc::mprotect(page, LENGTH, libc::PROT_READ | libc::PROT_EXEC) == 0;
        libc::munmap(page, LENGTH);
        allowed
    }
}

/// A borrowed host, in a form that a store can hold. Once [`lend`] has returned, it is empty.
#[derive(Clone)]
pub(super) struct Lent(Rc<Cell<Option<NonNull<dyn HookHost + 'static>>>>);

impl Lent {
    /// Asks the host. `None` if it has been taken back, or is already being asked.
    pub(super) fn ask(&self, ask: Ask) -> Option<Answer> {
        let mut host = self.0.take()?;
        // SAFETY: `lend` is still running, or the cell would be empty, so the borrow that it was
        // given is alive. Taking the pointer out of the cell makes this its only use.
        let answer = unsafe { host.as_mut() }.ask(ask);
        self.0.set(Some(host));
        Some(answer)
    }
}

/// Takes the host back, even if the code it was lent to panics.
struct TakeBack(Lent);

impl Drop for TakeBack {
    fn drop(&mut self) {
        self.0.0.set(None);
    }
}

/// Lends the host to `run`, and takes it back.
pub(super) fn lend<R>(host: &mut dyn HookHost, run: impl FnOnce(Lent) -> R) -> R {
    let pointer: NonNull<dyn HookHost + '_> = NonNull::from(host);
    // SAFETY: only the lifetime changes. `TakeBack` empties the cell before this function returns
    // or unwinds, and with it before the borrow ends; every copy of the `Lent` shares that cell.
    let pointer = unsafe {
        std::mem::transmute::<NonNull<dyn HookHost + '_>, NonNull<dyn HookHost + 'static>>(pointer)
    };
    let lent = Lent(Rc::new(Cell::new(Some(pointer))));
    let _back = TakeBack(lent.clone());
    run(lent)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(u32);

    impl HookHost for Count {
        fn ask(&mut self, _: Ask) -> Answer {
            self.0 += 1;
            Answer::Done
        }
    }

    #[test]
    fn a_lent_host_is_nobody_afterwards() {
        let mut host = Count(0);
        let kept = lend(&mut host, |lent| {
            assert_eq!(lent.ask(Ask::Sleep { ms: 0 }), Some(Answer::Done));
            assert_eq!(lent.clone().ask(Ask::Sleep { ms: 0 }), Some(Answer::Done));
            lent
        });
        assert_eq!(kept.ask(Ask::Sleep { ms: 0 }), None);
        assert_eq!(host.0, 2);
    }

    #[test]
    fn executable_memory_is_asked_for_and_given_back() {
        assert!(can_execute(), "nothing denies it to a test");
    }
}
