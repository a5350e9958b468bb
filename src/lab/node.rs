//! Process 1 of a host: sets the host up, then spawns, signals, reaps and reports.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gethostname, sethostname};

use super::clock;
use super::message::{
    self, Answer, Event, Exit, Facts, HostCommand, Message, Request, Stream, What,
};
use super::netlink::Netlink;
use super::probe;
use super::reap::Reaper;
use super::role::{Step, StepError};
use super::switch::private_mounts;
use crate::programs::{self, Program};
use crate::types::VirtualAddress;

/// The path at which each host finds this very program.
pub const PROGRAM: &str = "/run/lab/carpd";
/// The path at which a host finds its name in the lab.
pub(super) const NAME_FILE: &str = "/run/lab/name";
/// The init script of the small HTTP server.
const HTTPD_SCRIPT: &str = include_str!("httpd.sh");
/// The longest part of a line that is sent at once.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Serves the switch until the host ends.
pub(super) fn run(socket: UnixStream, name: &str, hostname: &str) -> Result<(), StepError> {
    sethostname(hostname).step("set the host name")?;
    mounts()?;
    fs::write(NAME_FILE, name).step("write the host's name")?;
    sysctls();
    let netlink = Netlink::open().step("open a netlink socket")?;
    let mut requests = BufReader::new(socket.try_clone().step("take the control socket")?);
    let outbox = Outbox {
        inner: Arc::new(Mutex::new(Inner {
            name: name.to_owned(),
            socket,
            running: HashMap::new(),
        })),
    };
    let reports = outbox.clone();
    let reaper = Reaper::start(move |pid, exit| reports.exited(pid, exit));
    let mut node = Node {
        netlink,
        outbox,
        reaper,
    };
    node.outbox
        .lock()
        .send(&Message::Ready)
        .step("say that the host is there")?;
    while let Some(request) =
        message::receive::<Request<HostCommand>>(&mut requests).step("read a command")?
    {
        node.serve(request.id, request.command).step("answer")?;
    }
    Ok(())
}

/// Mounts the host's own `/proc`, `/sys`, `/run`, `/var/lib` and `/etc/init.d`; everything else is
/// the machine's.
fn mounts() -> Result<(), StepError> {
    const NONE: Option<&str> = None;
    private_mounts()?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    // Only tools read it: if the machine forbids it, nothing that the lab needs is lost.
    let _ = mount(
        Some("sysfs"),
        "/sys",
        Some("sysfs"),
        flags | MsFlags::MS_NOEXEC,
        NONE,
    );
    mount(
        Some("tmpfs"),
        "/run",
        Some("tmpfs"),
        flags,
        Some("mode=755"),
    )
    .step("mount /run")?;
    fs::create_dir("/run/lab").step("make /run/lab")?;
    show_programs().step("show the programs in /run/lab")?;
    own_var_lib();
    if !Path::new("/etc/init.d").is_dir() {
        own_etc().step("make a place for /etc/init.d (mkdir /etc/init.d is another way)")?;
    }
    mount(
        Some("tmpfs"),
        "/etc/init.d",
        Some("tmpfs"),
        flags,
        Some("mode=755"),
    )
    .step("mount /etc/init.d")?;
    let script = Path::new("/etc/init.d/httpd");
    fs::write(script, HTTPD_SCRIPT).step("write /etc/init.d/httpd")?;
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).step("write /etc/init.d/httpd")
}

/// Binds this program to [`PROGRAM`], and next to it the others that it needs to be carpd. A
/// program that is only the lab, such as a test, has none.
fn show_programs() -> io::Result<()> {
    // By its path: /proc/self/exe refers to the mount namespace in which this process was executed,
    // which is not this one.
    let shown = std::env::current_exe().and_then(|exe| show(&exe, PROGRAM));
    // Its file was replaced after it was started.
    shown.or_else(|_| fs::copy("/proc/self/exe", PROGRAM).map(drop))?;
    for program in [Program::Daemon, Program::Worker] {
        if let Ok(found) = programs::find(program) {
            show(&found, &format!("/run/lab/{}", program.name()))?;
        }
    }
    Ok(())
}

fn show(program: &Path, at: &str) -> io::Result<()> {
    fs::write(at, "")?;
    let none = None::<&str>;
    Ok(mount(Some(program), at, none, MsFlags::MS_BIND, none)?)
}

/// Mounts a writable `/etc` over the machine's, if the machine has no `/etc/init.d`.
fn own_etc() -> io::Result<()> {
    lay_over("/etc", "etc")?;
    fs::create_dir_all("/etc/init.d")
}

/// What a host's daemon stores there is its own. If the machine forbids overlays, it gets an empty
/// directory.
fn own_var_lib() {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let laid = lay_over("/var/lib", "var-lib");
    let empty = || {
        mount(
            Some("tmpfs"),
            "/var/lib",
            Some("tmpfs"),
            flags,
            Some("mode=755"),
        )
    };
    // Without either, it shares the machine's directory, where only one host's daemon gets the
    // lock.
    let _ = laid.or_else(|_| empty().map_err(io::Error::from));
}

/// Mounts a writable directory over one of the machine's.
fn lay_over(directory: &str, name: &str) -> io::Result<()> {
    // Not below /run/lab, which may contain a hook's directory.
    let (upper, work) = (
        format!("/run/lab-over/{name}"),
        format!("/run/lab-over/{name}-work"),
    );
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let layers = format!("lowerdir={directory},upperdir={upper},workdir={work}");
    Ok(mount(
        Some("overlay"),
        directory,
        Some("overlay"),
        MsFlags::empty(),
        Some(layers.as_str()),
    )?)
}

/// IPv6 addresses must be usable at once. A kernel without IPv6 has no such files.
fn sysctls() {
    for place in ["all", "default"] {
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{place}/accept_dad"), "0");
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{place}/accept_ra"), "0");
    }
}

/// The socket to the switch, and the processes that are reported on it, under one lock: the end of
/// a process is never reported before its start.
#[derive(Clone)]
struct Outbox {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    /// The host's name in the lab.
    name: String,
    socket: UnixStream,
    running: HashMap<Pid, u64>,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exited(&self, pid: Pid, status: Exit) {
        let mut inner = self.lock();
        if let Some(process) = inner.running.remove(&pid) {
            inner.event(What::Exited { process, status });
        }
    }
}

impl Inner {
    fn send(&self, message: &Message) -> io::Result<()> {
        message::send(&self.socket, message)
    }

    fn event(&self, what: What) {
        // Without a switch this process ends soon.
        let _ = self.send(&Message::Event(Event {
            at: clock::now(),
            host: self.name.clone(),
            what,
        }));
    }
}

struct Node {
    netlink: Netlink,
    outbox: Outbox,
    reaper: Reaper,
}

impl Node {
    fn serve(&mut self, id: u64, command: HostCommand) -> io::Result<()> {
        let done = match command {
            HostCommand::Spawn { process, argv, env } => {
                return self.spawn(id, process, &argv, &env);
            }
            HostCommand::Configure { addresses, gateway } => self.configure(&addresses, gateway),
            HostCommand::Signal { process, signal } => self.signal(process, signal),
            HostCommand::Kill { pids, signal } => kill_all(&pids, signal),
            HostCommand::Write {
                path,
                mode,
                content,
            } => write(&path, mode, &content),
            HostCommand::Read { path } => fs::read_to_string(path).map(Answer::Text),
            HostCommand::Link { up } => self.netlink.set_up("eth0", up).map(|()| Answer::Done),
            HostCommand::Address {
                address,
                present: true,
            } => self
                .netlink
                .add_address("eth0", address)
                .map(|()| Answer::Done),
            HostCommand::Address {
                address,
                present: false,
            } => self
                .netlink
                .delete_address("eth0", address)
                .map(|()| Answer::Done),
            HostCommand::Send { frames } => {
                probe::send_frames("eth0", &frames).map(|()| Answer::Done)
            }
            HostCommand::Facts => self.facts(),
        };
        let answer = done.map_err(|err| err.to_string());
        self.outbox.lock().send(&Message::Answer { id, answer })
    }

    fn configure(
        &mut self,
        addresses: &[VirtualAddress],
        gateway: Option<IpAddr>,
    ) -> io::Result<Answer> {
        self.netlink.set_up("lo", true)?;
        self.netlink.set_up("eth0", true)?;
        for address in addresses {
            self.netlink.add_address("eth0", *address)?;
        }
        if let Some(gateway) = gateway {
            self.netlink.add_default_route(gateway)?;
        }
        Ok(Answer::Done)
    }

    fn facts(&mut self) -> io::Result<Answer> {
        let hostname = gethostname()?.to_string_lossy().into_owned();
        let (carrier, mac) = self.netlink.link("eth0")?;
        let (addresses, routes) = (self.netlink.addresses("eth0")?, self.netlink.routes()?);
        Ok(Answer::Facts(Facts {
            hostname,
            addresses,
            routes,
            carrier,
            mac,
        }))
    }

    fn spawn(
        &self,
        id: u64,
        process: u64,
        argv: &[String],
        env: &BTreeMap<String, String>,
    ) -> io::Result<()> {
        let mut inner = self.outbox.lock();
        let spawned = command(argv, env).and_then(|mut command| command.spawn());
        let answer = match &spawned {
            Ok(child) => {
                let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
                inner.running.insert(Pid::from_raw(pid), process);
                self.reaper.spawned();
                Ok(Answer::Spawned { pid })
            }
            Err(err) => Err(format!(
                "{}: {err}",
                argv.first().map_or("", String::as_str)
            )),
        };
        inner.send(&Message::Answer { id, answer })?;
        drop(inner);
        if let Ok(child) = spawned {
            self.follow(process, Stream::Stdout, child.stdout);
            self.follow(process, Stream::Stderr, child.stderr);
        }
        Ok(())
    }

    /// Forwards what a process writes, with a time stamp from when it is read.
    fn follow(&self, process: u64, stream: Stream, pipe: Option<impl Read + Send + 'static>) {
        let Some(pipe) = pipe else { return };
        let outbox = self.outbox.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while (&mut reader)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                let text = String::from_utf8_lossy(&line)
                    .trim_end_matches(['\n', '\r'])
                    .to_owned();
                outbox.lock().event(What::Line {
                    process,
                    stream,
                    text,
                });
                line.clear();
            }
            outbox.lock().event(What::Closed { process, stream });
        });
    }

    fn signal(&self, process: u64, signal: i32) -> io::Result<Answer> {
        // Under the lock that the end of a process needs: the number cannot have passed to another
        // process.
        let inner = self.outbox.lock();
        let pid = inner
            .running
            .iter()
            .find(|(_, of)| **of == process)
            .map(|(pid, _)| *pid);
        let pid = pid.ok_or_else(|| io::Error::other("the process has ended"))?;
        kill(pid, Signal::try_from(signal)?)?;
        Ok(Answer::Done)
    }
}

fn command(argv: &[String], env: &BTreeMap<String, String>) -> io::Result<Command> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .envs(env);
    command
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

/// All are signalled before any failure is reported.
fn kill_all(pids: &[i32], signal: i32) -> io::Result<Answer> {
    let signal = Signal::try_from(signal)?;
    let done: Vec<nix::Result<()>> = pids
        .iter()
        .map(|pid| kill(Pid::from_raw(*pid), signal))
        .collect();
    done.into_iter().collect::<nix::Result<()>>()?;
    Ok(Answer::Done)
}

fn write(path: &str, mode: u32, content: &str) -> io::Result<Answer> {
    if let Some(parent) = Path::new(path).parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(Answer::Done)
}
