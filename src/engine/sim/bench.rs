//! For tests: an engine on a machine in memory, in virtual time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::config::Config;
use crate::effect::{Link, Nature};
use crate::engine::environment::Environment;
use crate::engine::reload::generations::Generations;
use crate::engine::runs::shared::Shared;
use crate::engine::sim::wire::framed;
use crate::engine::state::{Engine, Parts};
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::engine::vhost::interface::{Interfaces, Wire};
use crate::engine::vhost::new::node_with_seed;
use crate::engine::vhost::node::Node;
use crate::engine::vhost::table::Nodes;
use crate::host::SimHost;
use crate::host::clock;
use crate::host::kernel::socket::{Membership, OpenError, Outgoing};
use crate::keeper::Client;
use crate::proto::wire::{Advertisement, parse_frame};
use crate::proto::{self, Input, Output, Received};
use crate::types::{Family, MacAddr, Timestamp};

/// A machine in memory.
pub(in crate::engine) struct Bench;

impl Environment for Bench {
    type Host = SimHost;
    type Wire = Frames;
    type Ties = ();
}

/// What was sent.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Frames(Rc<RefCell<Vec<Vec<u8>>>>, Rc<Cell<bool>>);

impl Wire for Frames {
    type Socket = Self;

    fn open(
        &self,
        _: InterfaceId,
        _: &Link,
        _: &[MacAddr],
        _: &BTreeSet<Family>,
    ) -> Result<Self, OpenError> {
        Ok(self.clone())
    }

    fn join(&self, _: u32, _: &[IpAddr]) -> Option<Membership> {
        None
    }

    /// Other hosts are not played.
    fn watch(_: &Self, _: &[IpAddr]) -> io::Result<()> {
        Ok(())
    }

    fn probe(_: &Self, _: IpAddr, _: MacAddr) -> io::Result<()> {
        Ok(())
    }

    fn send(socket: &Self, outgoing: &Outgoing) -> io::Result<()> {
        if socket.1.get() {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        socket.0.borrow_mut().push(framed(outgoing));
        Ok(())
    }
}

impl Frames {
    /// From now on the kernel sends nothing, or sends again.
    pub(in crate::engine) fn refuse(&self, refuse: bool) {
        self.1.set(refuse);
    }

    /// What was sent since this was asked last.
    pub(in crate::engine) fn take(&self) -> Vec<Vec<u8>> {
        self.0.take()
    }

    /// How many bow-outs were sent since this was asked last.
    pub(in crate::engine) fn bow_outs(&self) -> usize {
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

impl Engine<Bench> {
    /// Its first virtual host, which most tests are about.
    pub(in crate::engine) fn first(&self) -> &Node<SimHost> {
        self.nodes.get(VhostId::FIRST).unwrap()
    }

    /// The same, to change it.
    pub(in crate::engine) fn first_mut(&mut self) -> &mut Node<SimHost> {
        self.nodes.get_mut(VhostId::FIRST).unwrap()
    }
}

/// An engine with one virtual host, whose link is up.
pub(in crate::engine) async fn engine(host: SimHost, wire: &Frames, more: &str) -> Engine<Bench> {
    let (sender, outcomes) = mpsc::unbounded_channel();
    let shared = Shared::in_memory(host, sender);
    shared.executor.recover_rest().await;
    let config = config(more);
    let (mut nodes, mut interfaces) = (Nodes::default(), Interfaces::default());
    for (index, spec) in config.vhosts.iter().enumerate() {
        let index = VhostId::new(index);
        nodes.insert(
            index,
            node_with_seed(
                index,
                spec,
                Vec::new(),
                (&mut interfaces, wire),
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
        interfaces,
        shared,
        hooks,
        outcomes,
        keeper,
        config,
        path,
        host_name: "node2".into(),
        ties: (),
        failsafe: None,
    };
    let mut engine = Engine::new(parts);
    engine.look();
    engine
}

/// Lets the time pass until the next thing is due, and does it.
pub(in crate::engine) fn step(engine: &mut Engine<Bench>, clock: &clock::Virtual) {
    let next = engine.next_wake().expect("something is due");
    clock.advance(next.max(clock::now()));
    engine.timers();
    engine.end_turn();
}

/// `eth0`, as `config` wants it.
pub(in crate::engine) fn link() -> Link {
    let (name, mac) = ("eth0".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 1]));
    Link {
        name,
        altnames: Vec::new(),
        index: 2,
        up: true,
        carrier: true,
        mac,
        mtu: 1500,
        nature: Nature::default(),
    }
}

/// Plays with an engine in virtual time.
pub(in crate::engine) fn play<F: Future<Output = ()>>(with: impl FnOnce(clock::Virtual) -> F) {
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
pub(in crate::engine) fn peer(
    engine: &Engine<Bench>,
    change: impl FnOnce(&mut proto::Settings),
) -> proto::Vhost {
    let mut settings = engine.first().spec.settings();
    change(&mut settings);
    let mut peer = proto::Vhost::new(settings, 9);
    peer.handle(Input::LinkUp, clock::now());
    peer
}

/// Carries what was sent to the peer, and what it says to the engine.
pub(in crate::engine) fn carry(wire: &Frames, engine: &mut Engine<Bench>, peer: &mut proto::Vhost) {
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
            VhostId::FIRST,
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
pub(in crate::engine) const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));
