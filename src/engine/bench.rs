//! For tests: an engine on a machine in memory, in virtual time.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::clock;
use super::generations::Generations;
use super::nodes::Nodes;
use super::port::Wire;
use super::run::{Engine, Parts};
use super::shared::Shared;
use super::start::node_with_seed;
use super::world::World;
use crate::config::Config;
use crate::effect::Link;
use crate::host::SimHost;
use crate::host::socket::{Membership, OpenError};
use crate::keeper::Client;
use crate::proto::wire::{Advertisement, parse_frame};
use crate::proto::{self, Input, Output, Received};
use crate::types::{MacAddr, Timestamp};

/// A machine in memory.
pub(super) struct Bench;

impl World for Bench {
    type Host = SimHost;
    type Wire = Frames;
    type Ties = ();
}

/// What was sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Frames(Rc<RefCell<Vec<Vec<u8>>>>, Rc<Cell<bool>>);

impl Wire for Frames {
    type Socket = Self;

    fn open(&self, _: u32, _: &[MacAddr]) -> Result<Self, OpenError> {
        Ok(self.clone())
    }

    fn join(&self, _: u32, _: &[IpAddr]) -> Option<Membership> {
        None
    }

    fn send(socket: &Self, frame: &[u8]) -> io::Result<()> {
        if socket.1.get() {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        socket.0.borrow_mut().push(frame.to_vec());
        Ok(())
    }
}

impl Frames {
    /// From now on the kernel sends nothing, or sends again.
    pub(super) fn refuse(&self, refuse: bool) {
        self.1.set(refuse);
    }

    /// What was sent since this was asked last.
    pub(super) fn take(&self) -> Vec<Vec<u8>> {
        self.0.take()
    }

    /// How many bow-outs were sent since this was asked last.
    pub(super) fn bow_outs(&self) -> usize {
        let sent = self.0.take();
        // A roll call is none.
        let ads = sent
            .iter()
            .filter_map(|frame| Advertisement::decode(parse_frame(frame).unwrap().payload).ok());
        ads.filter(Advertisement::is_bow_out).count()
    }
}

/// One virtual host, with these lines more.
fn config(more: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let (password, file) = (
        directory.path().join("web.pass"),
        directory.path().join("carpd.toml"),
    );
    std::fs::write(&password, "gw22\n").unwrap();
    std::fs::set_permissions(
        &password,
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let head = "[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\naddresses = [\"10.0.0.22/24\"]\n\
                password-file = \"web.pass\"\n";
    std::fs::write(&file, format!("{head}{more}\n")).unwrap();
    Config::load(&file)
        .unwrap_or_else(|report| panic!("{report}"))
        .config
}

/// An engine with one virtual host, whose link is up.
pub(super) async fn engine(host: SimHost, wire: &Frames, more: &str) -> Engine<Bench> {
    let (sender, news) = mpsc::unbounded_channel();
    let shared = Shared::in_memory(host, sender);
    shared.executor.recover_rest().await;
    let config = config(more);
    let (mut nodes, mut ports) = (Nodes::default(), Vec::new());
    for (index, spec) in config.vhosts.iter().enumerate() {
        nodes.insert(
            index,
            node_with_seed(
                index,
                spec,
                Vec::new(),
                (&mut ports, wire),
                &shared,
                "node2",
                7,
            ),
        );
    }
    let (hooks, keeper, path) = (
        Generations::default(),
        Client::of_nobody(),
        "carpd.toml".into(),
    );
    let parts = Parts {
        nodes,
        ports,
        shared,
        hooks,
        news,
        keeper,
        config,
        path,
        host_name: "node2".into(),
        ties: (),
        will: None,
    };
    let mut engine = Engine::new(parts);
    engine.look();
    engine
}

/// Lets the time pass until the next thing is due, and does it.
pub(super) fn step(engine: &mut Engine<Bench>, clock: &clock::Virtual) {
    let next = engine.next_wake().expect("something is due");
    clock.advance(next.max(clock::now()));
    engine.timers();
    engine.end_turn();
}

/// `eth0`, as `config` wants it.
pub(super) fn link() -> Link {
    let (name, mac) = ("eth0".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 1]));
    Link {
        name,
        altnames: Vec::new(),
        index: 2,
        up: true,
        carrier: true,
        mac,
        mtu: 1500,
        ethernet: true,
    }
}

/// Plays with an engine in virtual time.
pub(super) fn play<F: Future<Output = ()>>(with: impl FnOnce(clock::Virtual) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(
        &runtime,
        with(clock::Virtual::start(
            Timestamp::ZERO + Duration::from_secs(1),
        )),
    );
}

/// Another node with the settings of the engine's virtual host, changed so.
pub(super) fn peer(
    engine: &Engine<Bench>,
    change: impl FnOnce(&mut proto::Settings),
) -> proto::Vhost {
    let mut settings = engine.nodes[&0].spec.settings();
    change(&mut settings);
    let mut peer = proto::Vhost::new(settings, 9);
    peer.handle(Input::LinkUp, clock::now());
    peer
}

/// Carries what was sent to the peer, and what it says to the engine.
pub(super) fn carry(wire: &Frames, engine: &mut Engine<Bench>, peer: &mut proto::Vhost) {
    for frame in wire.take() {
        peer.handle(Input::Packet(parse_frame(&frame).unwrap()), clock::now());
    }
    while let output = peer.poll()
        && !matches!(output, Output::Idle(_))
    {
        let Output::Transmit(packet) = output else {
            continue;
        };
        let (src, dst) = (PEER, IpAddr::from([224, 0, 0, 18]));
        engine.handle(
            0,
            Input::Packet(Received {
                src,
                dst,
                mac: None,
                ttl: 255,
                payload: &packet.payload,
            }),
            clock::now(),
        );
    }
}

/// Where the peer's packets come from.
pub(super) const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));
