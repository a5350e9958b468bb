//! Plays the example: two nodes, one address, a master that ends, a backup that takes over, and a
//! master that comes back.
//!
//! `carpd lab` shows it to a person, and the tests on a real network check carpd with it.

mod node;
mod report;
mod story;
mod view;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use self::node::Node;
pub use self::report::{Entry, Phase, Report};
use self::story::Story;
use super::clock;
use super::control::{Lab, LabError, LabSpec};
use super::host::Process;
use super::message::HostSpec;
use super::node::PROGRAM;
use super::probe::ProbeSpec;
use crate::types::{Timestamp, VirtualAddress};

/// The virtual address of the example.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 32, 22));
/// The gateway of its default route.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 32, 254));
/// The host name of the master.
const NAME_MASTER: &str = "nodevir2";
/// The longest that a takeover may take: ucarp needs 4 s, and machines may be busy.
const TAKEOVER_MAX: Duration = Duration::from_secs(15);
/// The longest that a node may take to be restored.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// The longest that a daemon may take to end: carpd's `shutdown-timeout`, and some time more.
const STOP_MAX: Duration = Duration::from_secs(40);

/// The daemon of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// This program, with a hook in Lua.
    Carpd,
    /// Debian's ucarp, with two shell scripts.
    Ucarp,
}

/// How the example is played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What runs on node2, which preempts.
    pub node2: Daemon,
    /// What runs on node3.
    pub node3: Daemon,
    /// A hook to use instead of `examples/hooks/failover.lua`.
    pub hook: Option<PathBuf>,
    /// The carpd program to run, by its path in the hosts.
    pub program: String,
    /// Write one JSON object per line: `{"entry": ...}` for each event, `{"phase": ...}` for each
    /// act at the end, and finally `{"good": true}` or `{"good": false}`.
    pub json: bool,
    /// Leave the lab, with its daemons, running until Ctrl-C.
    pub keep: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node2: Daemon::Carpd,
            node3: Daemon::Carpd,
            hook: None,
            program: PROGRAM.to_owned(),
            json: false,
            keep: false,
        }
    }
}

/// Plays the example and reports what happens to `out` at the same time.
///
/// # Errors
/// [`LabError`] if it could not be played. A bad result is not an error: see [`Report::good`].
pub fn run(options: &Options, out: &mut dyn Write) -> Result<Report, LabError> {
    let hook = node::hook(options)?;
    let lab = Lab::start(&spec())?;
    let mut story = Story::new(&lab, out, options.json);
    let nodes = [
        Node::new(&lab, "node2", options.node2, options, &hook)?,
        Node::new(&lab, "node3", options.node3, options, &hook)?,
    ];
    story.know(&nodes);
    let played = play(&lab, &nodes, &mut story, options.keep);
    story.drain()?;
    if let Err(Stop::Failed(err)) = played {
        return Err(err);
    }
    let report = story.finish()?;
    if options.keep {
        keep(&lab, out).map_err(|source| LabError::Io {
            what: "could not write".to_owned(),
            source,
        })?;
    }
    Ok(report)
}

fn spec() -> LabSpec {
    let host = |name: &str, ip: [u8; 4]| {
        let address = VirtualAddress::new(IpAddr::from(ip), 24).expect("24 is a prefix length");
        HostSpec::new(name, &[address])
    };
    let gateway = host("gateway", [192, 168, 32, 254]);
    let (node2, node3) = (
        host("node2", [192, 168, 32, 32]),
        host("node3", [192, 168, 32, 33]),
    );
    LabSpec {
        hosts: vec![gateway, node2, node3, host("client", [192, 168, 32, 50])],
    }
}

/// Why the play stops early.
enum Stop {
    /// The cause is among the problems; continuing would only produce further ones.
    Bad,
    /// The lab does not work.
    Failed(LabError),
}

impl From<LabError> for Stop {
    fn from(err: LabError) -> Self {
        Self::Failed(err)
    }
}

/// The five acts, and the end unless the lab is kept.
fn play(lab: &Lab, pair: &[Node; 2], story: &mut Story<'_>, keep: bool) -> Result<(), Stop> {
    let [node2, node3] = pair;
    let probe = ProbeSpec {
        address: ADDRESS,
        arp_interval: Duration::from_millis(2),
        http_interval: Duration::from_millis(50),
    };
    story.say("lab", "gateway, node2, node3 and client are on one switch");
    let client = lab.host("client").spawn(&probe.argv(PROGRAM))?;
    story.begin("Both nodes start");
    let began = clock::now();
    let on_node2 = story.start(node2)?;
    let on_node3 = story.start(node3)?;
    story.takes_over(node2, began)?;
    story.is_master(node2)?;
    story.is_backup(node3)?;

    story.begin("node2's daemon is ended (SIGTERM)");
    let began = clock::now();
    on_node2.signal(Signal::SIGTERM)?;
    story.takes_over(node3, began)?;
    ends(story, node2, &on_node2)?;
    story.is_master(node3)?;
    story.is_backup(node2)?;

    story.begin("node2's daemon is started again");
    let began = clock::now();
    story.start(node2)?;
    returns(story, pair, began)?;

    story.begin("node2 is switched off");
    let began = clock::now();
    lab.power_off("node2")?;
    story.takes_over(node3, began)?;
    story.is_master(node3)?;

    story.begin("node2 is switched on again");
    lab.power_on("node2")?;
    node2.prepare(lab)?;
    let began = clock::now();
    let on_node2 = story.start(node2)?;
    returns(story, pair, began)?;

    if keep {
        return Ok(());
    }
    story.begin("Both daemons are ended");
    for (node, process) in [(node3, &on_node3), (node2, &on_node2)] {
        process.signal(Signal::SIGTERM)?;
        ends(story, node, process)?;
        story.is_backup(node)?;
    }
    client.signal(Signal::SIGTERM)?;
    client.wait(SETTLE_MAX)?;
    Ok(())
}

/// node2 is master again, and node3 is restored.
fn returns(
    story: &mut Story<'_>,
    [node2, node3]: &[Node; 2],
    began: Timestamp,
) -> Result<(), Stop> {
    story.takes_over(node2, began)?;
    story.is_master(node2)?;
    story.is_backup(node3)?;
    Ok(())
}

/// The daemon ends by itself, with success.
fn ends(story: &mut Story<'_>, node: &Node, process: &Process) -> Result<(), Stop> {
    match process.wait(STOP_MAX) {
        Ok(exit) if exit.success() => Ok(()),
        Ok(exit) => {
            story.problem(format!("the daemon of {} ended with {exit:?}", node.name));
            Ok(())
        }
        Err(err) => {
            story.problem(err.to_string());
            Err(Stop::Bad)
        }
    }
}

/// Explains how to enter the hosts, and waits for an interrupt.
fn keep(lab: &Lab, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "\nThe lab stays until Ctrl-C. Its hosts, from another terminal:"
    )?;
    let user = if nix::unistd::geteuid().is_root() {
        ""
    } else {
        " --user --preserve-credentials"
    };
    for (host, pid) in lab.pids() {
        writeln!(
            out,
            "  {host:8} nsenter --target {pid}{user} --net --uts --mount --pid"
        )?;
    }
    out.flush()?;
    loop {
        nix::unistd::pause();
    }
}
