//! What the engine gave up it does not get back, and who is a suspect.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Child, Command};

use carpd::host::kernel::privilege::{confine_engine, confine_helper, seal_engine};
use carpd::host::suspects;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, chroot, getpid, getppid, setuid};

use super::namespace::isolated;

fn is_refused<T>(what: &str, result: nix::Result<T>) {
    assert_eq!(result.err(), Some(Errno::EPERM), "{what}");
}

fn is_kept_out<T>(what: &str, result: io::Result<T>) {
    assert_eq!(
        result.err().map(|err| err.kind()),
        Some(io::ErrorKind::PermissionDenied),
        "{what}"
    );
}

#[test]
fn an_engine_that_asks_for_more_is_refused_by_the_kernel() {
    isolated(
        "host::rights::an_engine_that_asks_for_more_is_refused_by_the_kernel",
        || {
            let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::create_dir_all(own.path().join("instance")).unwrap();
            fs::create_dir_all(own.path().join("helper")).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0");
            let namespace = File::open("/proc/self/ns/uts").unwrap();
            confine_engine(false).unwrap();
            let confinement = seal_engine(
                &[own.path().join("instance")],
                &[own.path().to_owned()],
                Ok(()),
            );
            assert_eq!(
                confinement.in_force,
                ["own-uid", "landlock", "seccomp"],
                "{:?}",
                confinement.missing
            );
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.contains("Seccomp:\t2"), "{status}");

            // Programs, processes, and what belongs to others.
            is_refused("execve", nix::unistd::execv(c"/bin/true", &[c"true"]));
            is_kept_out("a child", Command::new("/bin/true").spawn());
            is_refused(
                "mount",
                mount(
                    Some("none"),
                    own.path(),
                    Some("tmpfs"),
                    MsFlags::empty(),
                    None::<&str>,
                ),
            );
            is_refused("unshare", unshare(CloneFlags::CLONE_NEWUSER));
            is_refused("setns", setns(&namespace, CloneFlags::empty()));
            is_refused("chroot", chroot(own.path()));
            is_refused("sethostname", nix::unistd::sethostname("x"));
            is_refused("setuid", setuid(0.into()));
            is_refused(
                "a signal to another process",
                kill(getppid(), Signal::SIGTERM),
            );
            for call in [
                libc::SYS_ptrace,
                libc::SYS_process_vm_readv,
                libc::SYS_process_vm_writev,
                libc::SYS_init_module,
                libc::SYS_finit_module,
                libc::SYS_kexec_load,
                libc::SYS_bpf,
                libc::SYS_perf_event_open,
                libc::SYS_io_uring_setup,
                libc::SYS_userfaultfd,
                libc::SYS_open_by_handle_at,
                libc::SYS_keyctl,
                libc::SYS_execveat,
                libc::SYS_pivot_root,
            ] {
                is_refused(&format!("system call {call}"), raw(call));
            }
            is_refused("memory to execute", map(libc::PROT_READ | libc::PROT_EXEC));
            assert_eq!(map(libc::PROT_READ | libc::PROT_WRITE), Ok(()));
            let bluetooth =
                socket2::Socket::new(libc::AF_BLUETOOTH.into(), socket2::Type::RAW, None);
            is_kept_out("another kind of socket", bluetooth);

            // Files: read and written only below its own directories.
            is_kept_out("a file of root's", fs::read("/etc/passwd"));
            is_kept_out("a directory of somebody else's", fs::read_dir(other.path()));
            is_kept_out("a new file", File::create(other.path().join("x")));
            is_kept_out("a new directory", fs::create_dir(other.path().join("x")));
            is_kept_out("a device", OpenOptions::new().write(true).open("/dev/null"));
            is_kept_out(
                "a parameter that is not the network's",
                OpenOptions::new()
                    .write(true)
                    .open("/proc/sys/kernel/domainname"),
            );
            is_kept_out(
                "what the helper writes down",
                File::create(own.path().join("helper/x")),
            );
            fs::create_dir(own.path().join("another")).unwrap();
            fs::remove_dir(own.path().join("another")).unwrap();
            let own = own.path().join("instance");
            fs::write(own.join("a.new"), "x").unwrap();
            fs::rename(own.join("a.new"), own.join("a")).unwrap();
            is_kept_out(
                "out of them",
                fs::rename(own.join("a"), other.path().join("a")),
            );
            is_kept_out(
                "a stream to the system bus, or to who else serves root",
                UnixStream::connect(own.join("bus")),
            );
            UnixDatagram::unbound().unwrap();
            UnixStream::pair().unwrap();
            fs::read("/proc/self/stat").unwrap();
            let parameter = OpenOptions::new()
                .write(true)
                .open("/proc/sys/net/ipv4/conf/all/log_martians");
            assert!(parameter.is_ok(), "{parameter:?}");

            // Connections are for HTTP workers. Where there is no loopback, there is nothing to
            // refuse.
            if let Ok(address) = listener.and_then(|listener| listener.local_addr()) {
                is_kept_out("a connection", TcpStream::connect(address));
            }
            // What it lives on still works.
            assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
            assert_eq!(
                super::namespace::block_on(async {
                    tokio::task::spawn_blocking(|| 7).await.unwrap()
                }),
                7
            );
            assert!(getpid() > Pid::from_raw(0));
        },
    );
}

/// System calls of which none is made with arguments that would do anything, were it let through.
#[expect(unsafe_code, reason = "most of them have no safe form")]
fn raw(call: libc::c_long) -> nix::Result<()> {
    // SAFETY: all arguments are zero or out of range; no memory of ours is read or written.
    Errno::result(unsafe { libc::syscall(call, 0, 0, 0, 0, 0, 0) }).map(drop)
}

/// Without what else a thread must share the kernel makes none: then it says so itself.
#[expect(unsafe_code, reason = "clone has no safe form")]
fn thread_with_namespace() -> nix::Result<()> {
    let flags = libc::CLONE_THREAD | libc::CLONE_NEWNS;
    // SAFETY: the kernel refuses these flags together, so there is never a second thread.
    Errno::result(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) }).map(drop)
}

#[expect(unsafe_code, reason = "mmap has no safe form here")]
fn map(protection: libc::c_int) -> nix::Result<()> {
    // SAFETY: a fresh private mapping at an address of the kernel's choice touches no memory of
    // ours.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            protection,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if at == libc::MAP_FAILED {
        Err(Errno::last())
    } else {
        Ok(())
    }
}

/// A process that is called like a manager of networks, as the kernel shows it; started by these
/// words.
fn called(name: &str, directory: &Path, words: &[&str]) -> Child {
    let program = directory.join(name);
    fs::copy("/bin/sleep", &program).unwrap();
    let words: Vec<&std::ffi::OsStr> = words
        .iter()
        .map(AsRef::as_ref)
        .chain([program.as_os_str(), "600".as_ref()])
        .collect();
    let child = Command::new(words[0]).args(&words[1..]).spawn().unwrap();
    let comm = format!("/proc/{}/comm", child.id());
    while fs::read_to_string(&comm).unwrap().trim_end() != name {
        std::thread::yield_now();
    }
    child
}

#[test]
fn suspects_are_of_this_network_namespace() {
    isolated(
        "host::rights::suspects_are_of_this_network_namespace",
        || {
            let directory = tempfile::tempdir().unwrap();
            let before = suspects();
            let mut elsewhere = called("wickedd", directory.path(), &["unshare", "--net"]);
            let mut here = called("connmand", directory.path(), &["env"]);
            let now = suspects();
            elsewhere.kill().and_then(|()| elsewhere.wait()).unwrap();
            here.kill().and_then(|()| here.wait()).unwrap();
            assert!(before.is_empty(), "{before:?}");
            assert_eq!(now, ["ConnMan"]);
        },
    );
}

/// One that starts no program.
#[test]
fn a_helper_that_asks_for_more_is_refused_by_the_kernel() {
    isolated(
        "host::rights::a_helper_that_asks_for_more_is_refused_by_the_kernel",
        || {
            let own = tempfile::tempdir().unwrap();
            let namespace = File::open("/proc/self/ns/uts").unwrap();
            let confinement = confine_helper().unwrap();
            assert_eq!(
                confinement.in_force,
                ["seccomp"],
                "{:?}",
                confinement.missing
            );
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.contains("Seccomp:\t2"), "{status}");

            is_refused("execve", nix::unistd::execv(c"/bin/true", &[c"true"]));
            is_kept_out("a child", Command::new("/bin/true").spawn());
            is_refused(
                "mount",
                mount(
                    Some("none"),
                    own.path(),
                    Some("tmpfs"),
                    MsFlags::empty(),
                    None::<&str>,
                ),
            );
            is_refused("unshare", unshare(CloneFlags::CLONE_NEWNS));
            is_refused("setns", setns(&namespace, CloneFlags::empty()));
            is_refused("chroot", chroot(own.path()));
            is_refused("setuid", setuid(0.into()));
            is_refused(
                "a signal to another process",
                kill(getppid(), Signal::SIGTERM),
            );
            for call in [
                libc::SYS_ptrace,
                libc::SYS_process_vm_writev,
                libc::SYS_init_module,
                libc::SYS_finit_module,
                libc::SYS_kexec_load,
                libc::SYS_bpf,
                libc::SYS_perf_event_open,
                libc::SYS_io_uring_setup,
                libc::SYS_userfaultfd,
                libc::SYS_open_by_handle_at,
                libc::SYS_keyctl,
                libc::SYS_execveat,
                libc::SYS_pivot_root,
                libc::SYS_mknodat,
                libc::SYS_fsmount,
                libc::SYS_swapon,
                libc::SYS_reboot,
            ] {
                is_refused(&format!("system call {call}"), raw(call));
            }
            is_refused("memory to execute", map(libc::PROT_READ | libc::PROT_EXEC));
            let raw_socket =
                socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, None);
            is_kept_out("a socket of the network's", raw_socket);
            // A thread is let through, one with a namespace of its own is not.
            std::thread::spawn(|| ()).join().unwrap();
            is_refused("a thread's own namespace", thread_with_namespace());

            // And what it is for.
            nix::unistd::sethostname("other").unwrap();
            let file = own.path().join("file");
            let path = file.as_path();
            carpd::host::services::files::write(path, b"one").unwrap();
            let found = carpd::host::services::files::find(path).unwrap().unwrap();
            carpd::host::services::files::remove(path).unwrap();
            carpd::host::services::files::restore(path, &found).unwrap();
            assert_eq!(fs::read(path).unwrap(), b"one");
            std::os::unix::net::UnixStream::pair().unwrap();
            std::os::unix::net::UnixDatagram::unbound().unwrap();
        },
    );
}
