//! The switch: process 1 of the lab. It starts and ends hosts, holds the bridge, and forwards
//! messages.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::clock::{self, Ticker};
use super::message::{
    self, Answer, Command, Event, Fault, HostCommand, HostSpec, Message, Request, What,
};
use super::netlink::Netlink;
use super::reap::Reaper;
use super::role::{self, Step, StepError};
use crate::types::MacAddr;

const BRIDGE: &str = "br0";
/// A port that does not forward frames after this time never will.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// How often a port is checked.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Serves the program that made the lab until that ends.
pub(super) fn run(socket: UnixStream) -> Result<(), StepError> {
    private_mounts()?;
    plain_switch();
    let mut netlink = Netlink::open().step("open a netlink socket")?;
    netlink.add_bridge(BRIDGE).step("make the bridge")?;
    let mut requests = BufReader::new(socket.try_clone().step("take the control socket")?);
    let mut switch = Switch {
        netlink,
        maker: Arc::new(Mutex::new(socket)),
        reaper: Reaper::start(|_, _| {}),
        hosts: BTreeMap::new(),
        ports: 0,
    };
    switch
        .tell(&Message::Ready)
        .step("say that the switch is there")?;
    while let Some(request) =
        message::receive::<Request<Command>>(&mut requests).step("read a command")?
    {
        let id = request.id;
        let answer = match request.command {
            Command::Host { host, command } => match switch.pass(&host, &Request { id, command }) {
                Ok(()) => continue,
                Err(err) => Err(err),
            },
            Command::PowerOn { spec } => switch.power_on(&spec).map_err(|err| err.to_string()),
            Command::PowerOff { host } => switch.power_off(&host),
            Command::Fault { host, fault, on } => switch
                .port(&host)
                .and_then(|port| {
                    switch
                        .netlink
                        .set_fault(&port, BRIDGE, fault, on)
                        .map_err(|err| err.to_string())
                })
                .map(|()| Answer::Done),
        };
        switch
            .tell(&Message::Answer { id, answer })
            .step("answer")?;
    }
    Ok(())
}

/// A switch sends nothing of its own, and forwards invalid IP packets too. If the kernel does not
/// have such a setting, nothing needs to be set.
fn plain_switch() {
    let set =
        |name: &str, value: &str| drop(std::fs::write(format!("/proc/sys/net/{name}"), value));
    set("ipv6/conf/all/disable_ipv6", "1");
    set("ipv6/conf/default/disable_ipv6", "1");
    // With br_netfilter, a bridge drops packets with a wrong header checksum, and passes others to
    // the firewall.
    set("bridge/bridge-nf-call-iptables", "0");
    set("bridge/bridge-nf-call-ip6tables", "0");
    set("bridge/bridge-nf-call-arptables", "0");
}

/// Separates this process's mounts from the machine's, and mounts a `/proc` with its own processes.
pub(super) fn private_mounts() -> Result<(), StepError> {
    const NONE: Option<&str> = None;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .step("make the mounts private")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, NONE).step("mount /proc")
}

struct Switch {
    netlink: Netlink,
    maker: Arc<Mutex<UnixStream>>,
    reaper: Reaper,
    hosts: BTreeMap<String, Host>,
    /// How many ports have ever been named: a host that is switched on again keeps its port name
    /// and hardware address.
    ports: u8,
}

/// A host that was switched on at least once.
struct Host {
    port: String,
    mac: MacAddr,
    running: Option<Running>,
}

struct Running {
    socket: UnixStream,
    outer: Pid,
    inner: Pid,
    copier: JoinHandle<()>,
}

impl Switch {
    fn tell(&self, message: &Message) -> io::Result<()> {
        message::send_shared(&self.maker, message)
    }

    fn port(&self, host: &str) -> Result<String, String> {
        self.hosts
            .get(host)
            .map(|host| host.port.clone())
            .ok_or_else(|| format!("there is no host {host}"))
    }

    fn pass(&self, host: &str, request: &Request<HostCommand>) -> Result<(), String> {
        let running = self.hosts.get(host).and_then(|host| host.running.as_ref());
        let off = || format!("{host} is switched off");
        message::send(&running.ok_or_else(off)?.socket, request).map_err(|_| off())
    }

    fn power_on(&mut self, spec: &HostSpec) -> Result<Answer, StepError> {
        let name = spec.name.as_str();
        if !self.hosts.contains_key(name) {
            self.ports += 1;
            let mac = MacAddr([2, 0, 0, 0, 0, self.ports]);
            self.hosts.insert(
                name.to_owned(),
                Host {
                    port: format!("port{}", self.ports),
                    mac,
                    running: None,
                },
            );
        }
        let host = self
            .hosts
            .get_mut(name)
            .expect("it was put there if it was missing");
        if host.running.is_some() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists))
                .step("switch on a host that is on");
        }
        let running = start(spec, host, &mut self.netlink, &self.reaper, &self.maker)?;
        host.running = Some(running);
        Ok(Answer::Done)
    }

    /// First its frames are stopped, then everything in the host is killed, then its cable is
    /// removed.
    fn power_off(&mut self, name: &str) -> Result<Answer, String> {
        let host = self
            .hosts
            .get_mut(name)
            .ok_or_else(|| format!("there is no host {name}"))?;
        let running = host
            .running
            .take()
            .ok_or_else(|| format!("{name} is switched off already"))?;
        let silenced = self
            .netlink
            .set_fault(&host.port, BRIDGE, Fault::Silent, true);
        // The inner process dies with the outer one; both are signalled, so that nothing depends on
        // that.
        let _ = kill(running.outer, Signal::SIGKILL);
        let _ = kill(running.inner, Signal::SIGKILL);
        self.reaper.wait(running.outer);
        self.reaper.wait(running.inner);
        // The kernel may have removed it together with the host's namespace.
        let gone = |err: &io::Error| err.raw_os_error() == Some(Errno::ENODEV as i32);
        let removed = self
            .netlink
            .delete_link(&host.port)
            .or_else(|err| if gone(&err) { Ok(()) } else { Err(err) });
        drop(running.socket);
        let _ = running.copier.join();
        silenced
            .and(removed)
            .map(|()| Answer::Done)
            .map_err(|err| err.to_string())
    }
}

/// Starts a host's processes, connects its cable and waits until it is configured.
fn start(
    spec: &HostSpec,
    host: &Host,
    netlink: &mut Netlink,
    reaper: &Reaper,
    maker: &Arc<Mutex<UnixStream>>,
) -> Result<Running, StepError> {
    let (socket, theirs) = UnixStream::pair().step("make a control socket")?;
    let mut child = role::start_host(theirs, &spec.name, &spec.hostname).step("start a host")?;
    reaper.spawned();
    let outer = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let mut from_host = BufReader::new(socket.try_clone().step("take a control socket")?);
    expect_ready(&mut from_host)?;
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("it was asked for"));
    stdout
        .read_line(&mut line)
        .step("learn a host's process number")?;
    let inner = Pid::from_raw(
        line.trim()
            .parse()
            .map_err(io::Error::other)
            .step("learn a host's process number")?,
    );
    reaper.expect(outer);
    reaper.expect(inner);

    netlink
        .add_cable(&host.port, BRIDGE, host.mac, child.id())
        .step("make a cable")?;
    let command = HostCommand::Configure {
        addresses: spec.addresses.clone(),
        gateway: spec.gateway,
    };
    message::send(&socket, &Request { id: 0, command }).step("configure a host")?;
    expect_answer(&mut from_host)?;
    opens(&host.port, netlink)?;

    let name = spec.name.clone();
    let maker = Arc::clone(maker);
    let event = |what| {
        Message::Event(Event {
            at: clock::now(),
            host: name.clone(),
            what,
        })
    };
    message::send_shared(&maker, &event(What::PoweredOn)).step("tell of a host")?;
    let copier = std::thread::spawn(move || copy(&name, from_host, &maker));
    Ok(Running {
        socket,
        outer,
        inner,
        copier,
    })
}

/// Waits until a port forwards frames. The kernel opens it some time after it has checked the
/// carrier: until then the host neither hears nor is heard.
fn opens(port: &str, netlink: &mut Netlink) -> Result<(), StepError> {
    let ticker = Ticker::new(LOOK_AGAIN)
        .map_err(io::Error::from)
        .step("start a timer")?;
    let end = clock::now() + OPEN_MAX;
    while !netlink
        .forwards(port)
        .step("look at a port of the switch")?
    {
        if clock::now() > end {
            return Err(io::Error::from(io::ErrorKind::TimedOut))
                .step("wait for a port of the switch to pass frames on");
        }
        ticker
            .wait()
            .map_err(io::Error::from)
            .step("wait for a timer")?;
    }
    Ok(())
}

fn expect_ready(reader: &mut impl BufRead) -> Result<(), StepError> {
    match message::receive(reader).step("wait for a host")? {
        Some(Message::Ready) => Ok(()),
        other => failed(other),
    }
}

fn expect_answer(reader: &mut impl BufRead) -> Result<(), StepError> {
    match message::receive(reader).step("wait for a host's configuration")? {
        Some(Message::Answer { answer: Ok(_), .. }) => Ok(()),
        Some(Message::Answer {
            answer: Err(err), ..
        }) => Err(io::Error::other(err)).step("configure a host"),
        other => failed(other),
    }
}

fn failed(message: Option<Message>) -> Result<(), StepError> {
    match message {
        Some(Message::Failed { step, errno }) => {
            Err(io::Error::from_raw_os_error(errno)).step(&step)
        }
        Some(_) => Err(io::Error::from(io::ErrorKind::InvalidData)).step("wait for a host"),
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)).step("wait for a host"),
    }
}

/// Copies the messages of a host, line by line, until it ends.
fn copy(name: &str, mut reader: BufReader<UnixStream>, maker: &Mutex<UnixStream>) {
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        if line.ends_with(b"\n") {
            let mut maker = maker.lock().unwrap_or_else(PoisonError::into_inner);
            if maker.write_all(&line).is_err() {
                return;
            }
        }
        line.clear();
    }
    let event = Event {
        at: clock::now(),
        host: name.to_owned(),
        what: What::PoweredOff,
    };
    let _ = message::send_shared(maker, &Message::Event(event));
}
