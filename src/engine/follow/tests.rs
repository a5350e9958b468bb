use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::super::execute::Executor;
use super::super::generations::Generations;
use super::super::lasting::Lasting;
use super::super::nodes::Nodes;
use super::super::port::Wire;
use super::super::queue::Shared;
use super::super::recover::Recovery;
use super::super::run::Parts;
use super::super::start::node_with_seed;
use super::super::store::Store;
use super::*;
use crate::config::Config;
use crate::effect::Link;
use crate::host::FakeHost;
use crate::host::socket::{Membership, OpenError};
use crate::journal::Journal;
use crate::keeper::Client;
use crate::ledger::Ledger;
use crate::proto::wire::{Advertisement, parse_frame};
use crate::types::MacAddr;

/// A machine in memory.
struct Bench;

impl World for Bench {
    type Host = FakeHost;
    type Wire = Frames;
    type Ties = ();
}

/// What was sent.
#[derive(Debug, Clone, Default)]
struct Frames(Rc<RefCell<Vec<Vec<u8>>>>);

impl Wire for Frames {
    type Socket = Self;

    fn open(&self, _: u32, _: &[MacAddr]) -> Result<Self, OpenError> {
        Ok(self.clone())
    }

    fn join(&self, _: u32, _: &[IpAddr]) -> Option<Membership> {
        None
    }

    fn send(socket: &Self, frame: &[u8]) -> io::Result<()> {
        socket.0.borrow_mut().push(frame.to_vec());
        Ok(())
    }
}

impl Frames {
    /// How many bow-outs were sent since this was asked last.
    fn bow_outs(&self) -> usize {
        let sent = self.0.take();
        let ads = sent.iter().map(|frame| Advertisement::decode(parse_frame(frame).unwrap().payload).unwrap());
        ads.filter(Advertisement::is_bow_out).count()
    }
}

fn config() -> Config {
    let directory = tempfile::tempdir().unwrap();
    let (password, file) = (directory.path().join("web.pass"), directory.path().join("carpd.toml"));
    std::fs::write(&password, "gw22\n").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let text = "[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\naddresses = [\"10.0.0.22/24\"]\n\
                password-file = \"web.pass\"\nlease = \"off\"\n";
    std::fs::write(&file, text).unwrap();
    Config::load(&file).unwrap_or_else(|report| panic!("{report}")).config
}

/// An engine with one virtual host, whose link is up.
async fn engine(host: FakeHost, wire: &Frames) -> Engine<Bench> {
    let (sender, news) = mpsc::unbounded_channel();
    let shared = Rc::new(Shared {
        executor: Executor::new(host, Ledger::new(), Recovery::default()),
        store: RefCell::new(Store::new()),
        lasting: Lasting::none(),
        journal: RefCell::new(Journal::disabled()),
        news: sender,
    });
    shared.executor.recover_rest().await;
    let config = config();
    let (mut nodes, mut ports) = (Nodes::default(), Vec::new());
    for (index, spec) in config.vhosts.iter().enumerate() {
        nodes.insert(index, node_with_seed(index, spec, Vec::new(), (&mut ports, wire), &shared, "node2", 7));
    }
    let (hooks, keeper, path) = (Generations::default(), Client::of_nobody(), "carpd.toml".into());
    let parts =
        Parts { nodes, ports, shared, hooks, news, keeper, config, path, host_name: "node2".into(), ties: (), will: None };
    let mut engine = Engine::new(parts);
    engine.look();
    engine
}

/// Lets the time pass until the next thing is due, and does it.
fn step(engine: &mut Engine<Bench>, clock: &clock::Virtual) {
    let next = engine.next_wake().expect("something is due");
    clock.advance(next.max(clock::now()));
    engine.timers();
    engine.end_turn();
}

#[test]
fn no_successor_is_called_while_an_address_is_still_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let clock = clock::Virtual::start(Timestamp::ZERO + Duration::from_secs(1));
        let link = Link {
            name: "eth0".parse().unwrap(),
            index: 2,
            up: true,
            carrier: true,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
        };
        let wire = Frames::default();
        // Put up, announced, taken down.
        let host = FakeHost::new().with_link(link).failing_nth(3, "the kernel did not answer in time");
        let mut engine = engine(host, &wire).await;
        while !engine.nodes[&0].holding {
            step(&mut engine, &clock);
        }
        let name: Name = "web".parse().unwrap();
        engine.resign(&name, "for a test".into()).unwrap();
        assert!(engine.nodes[&0].drop_again.is_some());
        assert_eq!(wire.bow_outs(), 0, "the address is still up");
        assert_eq!(engine.nodes[&0].machine.state(), State::Backup, "it lets go all the same");
        while engine.nodes[&0].drop_again.is_some() {
            step(&mut engine, &clock);
        }
        assert_eq!(wire.bow_outs(), 1, "and calls its successor when it has");
    });
}
