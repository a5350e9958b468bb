//! What reads bytes that others wrote: each target takes any bytes and must neither panic nor break
//! its promises.
//!
//! Run by the ordinary tests with seeded changes of the seeds (`tests/it/fuzz.rs`), and by
//! `tests/fuzz/run` as long as you like.

#[cfg(feature = "wasm")]
mod component;
mod files;
mod import;
mod text;
/// As the compiler process has it.
#[cfg(feature = "wasm")]
#[path = "../../../src/bin/carpd-worker/wasm/config.rs"]
pub(crate) mod wasm_config;

use std::path::Path;

use carpd::frame::Inbox;
use carpd::hooks::contract::message::{FromRunner, MAX_FROM_RUNNER, MAX_TO_RUNNER, ToRunner};
use carpd::proto::wire::{self, Advertisement, Received};
use carpd::proto::{Input, Key, Output, Settings, Vhost};
use carpd::types::{AdvBase, AdvSkew, Family, Timestamp, Vhid};

/// One reader.
pub(crate) struct Target {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Reads these bytes.
    pub(crate) run: fn(&[u8]),
    /// Good inputs to begin with, and some bad ones.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// How many changed inputs the ordinary tests try.
    pub(crate) rounds: usize,
}

/// All of them.
pub(crate) const ALL: &[Target] = &[
    Target {
        name: "packet",
        run: packet,
        seeds: packets,
        rounds: 20_000,
    },
    Target {
        name: "runner",
        run: runner,
        seeds: frames,
        rounds: 10_000,
    },
    #[cfg(feature = "wasm")]
    Target {
        name: "component",
        run: component::run,
        seeds: component::seeds,
        rounds: 60,
    },
    Target {
        name: "config",
        run: text::config,
        seeds: text::configs,
        rounds: 400,
    },
    Target {
        name: "control",
        run: text::control,
        seeds: text::requests,
        rounds: 10_000,
    },
    Target {
        name: "shell",
        run: text::shell,
        seeds: text::scripts,
        rounds: 1000,
    },
    Target {
        name: "lua",
        run: text::lua,
        seeds: text::hooks,
        rounds: 1000,
    },
    Target {
        name: "import",
        run: import::run,
        seeds: import::seeds,
        rounds: 600,
    },
    Target {
        name: "signature",
        run: text::signature,
        seeds: text::signatures,
        rounds: 2000,
    },
    Target {
        name: "journal",
        run: files::journal,
        seeds: files::journals,
        rounds: 400,
    },
    Target {
        name: "history",
        run: files::history,
        seeds: files::histories,
        rounds: 400,
    },
    Target {
        name: "retold",
        run: files::retold,
        seeds: files::retellings,
        rounds: 400,
    },
    Target {
        name: "ledger",
        run: files::ledger,
        seeds: files::ledgers,
        rounds: 400,
    },
];

/// A file of the repository.
fn file(path: &str) -> Vec<u8> {
    // From wherever this is compiled: the crate's own directory, or tests/fuzz.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|at| at.join("plugins/wit").exists());
    let path = root.expect("the repository").join(path);
    std::fs::read(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

fn settings() -> Settings {
    Settings::new(
        Vhid::new(40).unwrap(),
        vec!["10.0.0.9/24".parse().unwrap()],
        Key::new(b"secret").unwrap(),
    )
}

/// Polls until nothing is left to do.
fn settle(machine: &mut Vhost) {
    let ended = (0..1000).any(|_| matches!(machine.poll(), Output::Idle(_)));
    assert!(ended, "it is never done");
}

/// What came off the wire: frame, packet, payload, and all of it into a machine that listens.
fn packet(bytes: &[u8]) {
    let source = [10, 0, 0, 7].into();
    let bare = Received {
        src: source,
        dst: [224, 0, 0, 18].into(),
        mac: None,
        ttl: 255,
        payload: bytes,
    };
    let mut machine = Vhost::new(settings(), 1);
    machine.handle(Input::LinkUp, Timestamp::ZERO);
    settle(&mut machine);
    for received in [
        wire::parse_frame(bytes),
        wire::parse_packet(bytes),
        Ok(bare),
    ]
    .into_iter()
    .flatten()
    {
        let peeked = wire::peek_vhid(received.payload);
        if let Ok(read) = Advertisement::decode(received.payload) {
            assert_eq!(peeked, Some(read.vhid));
            assert_eq!(
                Advertisement::decode(&read.encode()),
                Ok(read),
                "what is written is what was read"
            );
        }
        machine.handle(Input::Packet(received), Timestamp::from_micros(1));
        settle(&mut machine);
    }
}

fn packets() -> Vec<Vec<u8>> {
    let machine = Vhost::new(settings(), 7);
    let good: Vec<Vec<u8>> = machine
        .bow_out_packets(0)
        .iter()
        .map(|packet| packet.payload.to_vec())
        .collect();
    let other = Advertisement {
        vhid: 40,
        advbase: AdvBase(1),
        advskew: AdvSkew(3),
        demote: 9,
        counter: 7,
        digest: [1; 20],
    };
    let mut seeds = good;
    seeds.push(other.encode().to_vec());
    for payload in seeds.clone() {
        let (v4, v6) = ([10, 0, 0, 7].into(), "fe80::7".parse().unwrap());
        let packet = wire::ipv4_packet(v4, [224, 0, 0, 18].into(), 0x10, 3, &payload);
        let packet6 = wire::ipv6_packet(v6, "ff02::12".parse().unwrap(), 0, &payload);
        for (family, packet) in [(Family::V4, packet), (Family::V6, packet6)] {
            let mac = wire::multicast_mac("224.0.0.18".parse().unwrap()).unwrap();
            seeds.push(wire::ethernet_frame(mac, mac, family, &packet));
            seeds.push(packet);
        }
    }
    seeds
}

/// What a subverted runner says to the engine; and the other way, since both read frames the same
/// way.
fn runner(bytes: &[u8]) {
    let mut inbox = Inbox::default();
    inbox.push(bytes);
    while let Ok(Some(message)) = inbox.next::<FromRunner>(MAX_FROM_RUNNER) {
        let again = carpd::frame::encode(&message, MAX_FROM_RUNNER)
            .expect("it came in a frame of that size");
        assert!(carpd::frame::decode::<FromRunner>(&again[4..]).is_ok());
    }
    let mut inbox = Inbox::default();
    inbox.push(bytes);
    while let Ok(Some(_)) = inbox.next::<ToRunner>(MAX_TO_RUNNER) {}
}

fn frames() -> Vec<Vec<u8>> {
    use carpd::hooks::{Ask, Budget, HookError, LogLevel, Returned};
    let said = [
        FromRunner::Ask(Ask::StateSet {
            key: "k".into(),
            value: Some(vec![7; 20]),
        }),
        FromRunner::Ask(Ask::Log {
            level: LogLevel::Warn,
            message: "m".into(),
            fields: vec![("a".into(), "b".into())],
        }),
        FromRunner::Finished(Ok(Returned::Health {
            demotion: 7,
            reason: "r".into(),
        })),
        FromRunner::Finished(Err(HookError::Raised {
            message: "m".into(),
            backtrace: "b".into(),
        })),
    ];
    let told = ToRunner::Case {
        number: 3,
        budget: Budget::default(),
    };
    let encode = |message| carpd::frame::encode(message, MAX_FROM_RUNNER).unwrap();
    let mut seeds: Vec<Vec<u8>> = said.iter().map(encode).collect();
    seeds.push(seeds.concat());
    seeds.push(carpd::frame::encode(&told, MAX_TO_RUNNER).unwrap());
    seeds
}
