use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::super::command::HandedOver;
use super::super::doing::Doing;
use super::super::execute::Executor;
use super::super::generations::Generations;
use super::super::lasting::Lasting;
use super::super::nodes::Nodes;
use super::super::port::Wire;
use super::super::queue::{Crowd, Shared};
use super::super::recover::Recovery;
use super::super::run::Parts;
use super::super::start::node_with_seed;
use super::super::store::Store;
use super::*;
use crate::config::Config;
use crate::effect::{Link, Resource, Value};
use crate::host::FakeHost;
use crate::host::socket::{Membership, OpenError};
use crate::journal::Journal;
use crate::keeper::Client;
use crate::ledger::Ledger;
use crate::proto::wire::{Advertisement, parse_frame};
use crate::proto::{self, Output, Received};
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
        // A roll call is none.
        let ads = sent.iter().filter_map(|frame| Advertisement::decode(parse_frame(frame).unwrap().payload).ok());
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
        crowd: Crowd::default(),
        doing: Doing::default(),
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

/// `eth0`, as `config` wants it.
fn link() -> Link {
    let (name, mac) = ("eth0".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 1]));
    Link { name, altnames: Vec::new(), index: 2, up: true, carrier: true, mac, mtu: 1500 }
}

/// Plays with an engine in virtual time.
fn play<F: Future<Output = ()>>(with: impl FnOnce(clock::Virtual) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, with(clock::Virtual::start(Timestamp::ZERO + Duration::from_secs(1))));
}

/// An operator orders to hand over.
fn order(engine: &mut Engine<Bench>, force: bool) -> oneshot::Receiver<Result<HandedOver, String>> {
    let (reply, answer) = oneshot::channel();
    engine.resign(&"web".parse().unwrap(), "for a test".into(), force, reply);
    answer
}

#[test]
fn no_successor_is_called_while_an_address_is_still_up() {
    play(async |clock| {
        let wire = Frames::default();
        // Put up, announced, taken down.
        let host = FakeHost::new().with_link(link()).failing_nth(3, "the kernel did not answer in time");
        let mut engine = engine(host, &wire).await;
        while !engine.nodes[&0].holding {
            step(&mut engine, &clock);
        }
        let _answer = order(&mut engine, true);
        assert!(engine.nodes[&0].drop_again.is_some());
        assert_eq!(wire.bow_outs(), 0, "the address is still up");
        assert_eq!(engine.nodes[&0].machine.state(), State::Backup, "it lets go all the same");
        while engine.nodes[&0].drop_again.is_some() {
            step(&mut engine, &clock);
        }
        assert_eq!(wire.bow_outs(), 1, "and calls its successor when it has");
    });
}

#[test]
fn an_address_that_the_kernel_has_taken_away_keeps_nobody_from_calling_a_successor() {
    play(async |clock| {
        let wire = Frames::default();
        let host = FakeHost::new().with_link(link()).failing_nth(3, "IPv6 is disabled on this device");
        let mut engine = engine(host, &wire).await;
        while !engine.nodes[&0].holding {
            step(&mut engine, &clock);
        }
        let address = Resource::Address { dev: link().name, ip: "10.0.0.22".parse().unwrap() };
        engine.shared.executor.host().set(address, Value::Absent);
        let _answer = order(&mut engine, true);
        assert!(engine.nodes[&0].drop_again.is_none());
        assert_eq!(wire.bow_outs(), 1);
        assert!(engine.shared.executor.is_clean());
    });
}

#[test]
fn an_order_to_hand_over_without_a_peer_is_refused_or_tells_for_how_long_nobody_held() {
    play(async |clock| {
        let wire = Frames::default();
        let mut engine = engine(FakeHost::new().with_link(link()), &wire).await;
        while !engine.nodes[&0].holding {
            step(&mut engine, &clock);
        }
        let seq = engine.nodes[&0].last.as_ref().unwrap().seq;
        let mut answer = order(&mut engine, false);
        let second = order(&mut engine, false).await.unwrap();
        assert_eq!(second, Err("web is being handed over already".to_owned()));
        let began = clock::now();
        let refused = loop {
            step(&mut engine, &clock);
            if let Ok(answer) = answer.try_recv() {
                break answer;
            }
        };
        assert_eq!(refused, Ok(HandedOver::NoPeer { waited_ms: 3_000 }));
        assert_eq!(clock::now().since(began), Duration::from_secs(3));
        assert_eq!((wire.bow_outs(), engine.nodes[&0].last.as_ref().unwrap().seq), (0, seq), "nothing was done");

        let mut answer = order(&mut engine, true);
        assert_eq!((engine.nodes[&0].holding, wire.bow_outs()), (false, 1));
        let forced = loop {
            step(&mut engine, &clock);
            if let Ok(answer) = answer.try_recv() {
                break answer;
            }
        };
        assert_eq!(forced, Ok(HandedOver::Back { nobody_ms: 3_000 }));
        assert!(engine.nodes[&0].holding);
        assert!(order(&mut engine, false).try_recv().is_err(), "it is asked for again");
    });
}

#[test]
fn a_backup_that_answers_is_handed_over_to_at_once() {
    play(async |clock| {
        let wire = Frames::default();
        let mut engine = engine(FakeHost::new().with_link(link()), &wire).await;
        while !engine.nodes[&0].holding {
            step(&mut engine, &clock);
        }
        let peer: IpAddr = "10.0.0.9".parse().unwrap();
        let mut backup = proto::Vhost::new(engine.nodes[&0].spec.settings(), 9);
        backup.handle(Input::LinkUp, clock::now());
        wire.0.take();
        let mut answer = order(&mut engine, false);
        let carry = |engine: &mut Engine<Bench>, backup: &mut proto::Vhost| {
            for frame in wire.0.take() {
                backup.handle(Input::Packet(parse_frame(&frame).unwrap()), clock::now());
            }
            while let output = backup.poll()
                && !matches!(output, Output::Idle(_))
            {
                let Output::Transmit(packet) = output else { continue };
                let received =
                    Received { src: peer, dst: "224.0.0.18".parse().unwrap(), mac: None, ttl: 255, payload: &packet.payload };
                engine.handle(0, Input::Packet(received), clock::now());
            }
        };
        carry(&mut engine, &mut backup);
        assert!(!engine.nodes[&0].holding, "the backup answers, and that is enough");
        carry(&mut engine, &mut backup);
        assert_eq!(backup.state(), State::Master);
        assert_eq!(answer.try_recv().unwrap(), Ok(HandedOver::To { peer: peer.to_string(), after_ms: 0 }));
    });
}
