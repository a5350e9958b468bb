//! A virtual host from its configuration.

use std::io::{self, Read as _};
use std::rc::Rc;

use crate::config::{self};
use crate::engine::runs::pool::Pool;
use crate::engine::runs::queue::Queue;
use crate::engine::runs::shared::Shared;
use crate::engine::vhost::advertisers::Advertisers;
use crate::engine::vhost::announcer::Announcer;
use crate::engine::vhost::conflicts::Conflicts;
use crate::engine::vhost::health::Checks;
use crate::engine::vhost::id::VhostId;
use crate::engine::vhost::interface::{Interfaces, Wire};
use crate::engine::vhost::lateness::Arrivals;
use crate::engine::vhost::maintenance::{Relief, Upkeep};
use crate::engine::vhost::node::{self, Node, PutBack};
use crate::engine::vhost::peers::Peers;
use crate::engine::vhost::published::Published;
use crate::engine::vhost::reject_log::{LogPace, RejectLog};
use crate::engine::vhost::sending::Sending;
use crate::engine::vhost::strip::StripRecord;
use crate::hooks::EntryPoint;
use crate::host::Host;
use crate::host::clock;
use crate::host::kernel::netlink::{self};
use crate::ledger::Post;
use crate::proto::{self, Gate};

/// A virtual host, as other processes may know it, too.
#[must_use]
pub fn post(vhost: &config::Vhost) -> Post<'_> {
    let called = netlink::own_name_of(&vhost.interface);
    Post {
        interface: &vhost.interface,
        own_name: called.filter(|name| *name != vhost.interface),
        vhid: vhost.vhid,
    }
}

/// One virtual host on its interface. Its queue begins at once, its protocol when the link is known.
pub(in crate::engine) fn new_node<H: Host + 'static, W: Wire>(
    index: VhostId,
    spec: &config::Vhost,
    hooks: Vec<Rc<Pool>>,
    (interfaces, wire): (&mut Interfaces<W>, &W),
    shared: &Rc<Shared<H>>,
    host_name: &str,
) -> io::Result<Node<H>> {
    Ok(node_with_seed(
        index,
        spec,
        hooks,
        (interfaces, wire),
        shared,
        host_name,
        random()?,
    ))
}

/// As [`new_node`]; counters start from `seed`.
pub(in crate::engine) fn node_with_seed<H: Host + 'static, W: Wire>(
    index: VhostId,
    spec: &config::Vhost,
    hooks: Vec<Rc<Pool>>,
    (interfaces, wire): (&mut Interfaces<W>, &W),
    shared: &Rc<Shared<H>>,
    host_name: &str,
    seed: u64,
) -> Node<H> {
    let interface = interfaces.named(&spec.interface, wire);
    if let Some(interface) = interfaces.get_mut(interface) {
        interface.add_member(index, spec);
    }
    let mut checks = Checks::default();
    checks.follow(&hooks, clock::now());
    let queue = Queue::start(
        index,
        spec.name.clone(),
        spec.interface.clone(),
        spec.addresses.clone(),
        hooks,
        Rc::clone(shared),
    );
    let gate = if queue.defines(EntryPoint::BeforeMaster) {
        Gate::Ask
    } else {
        Gate::Free
    };
    let settings = proto::Settings {
        gate,
        ..spec.settings()
    };
    let birth = proto::Birth {
        seed,
        seq: shared.persist.numbers.borrow().highest(),
    };
    shared.journal.borrow_mut().vhost(
        clock::now(),
        index.number(),
        &spec.name,
        &spec.interface,
        birth,
        &settings,
    );
    Node {
        machine: proto::Vhost::new(settings, birth),
        spec: spec.clone(),
        interface,
        queue,
        announcer: Announcer::default(),
        holding: false,
        macvlan: None,
        device_again: None,
        foreign: Vec::new(),
        elsewhere: Vec::new(),
        leased: None,
        wake: None,
        drop_again: None,
        degraded: None,
        refused_addresses: None,
        asked: node::Asked::default(),
        checks,
        burdens: Vec::new(),
        resigned: None,
        upkeep: Upkeep::default(),
        relief: Relief::default(),
        handover: None,
        aside_until: None,
        leave_by: None,
        last: None,
        changed: clock::now(),
        since_ms: clock::wall_ms(),
        told_initial: false,
        gate: node::Gate::default(),
        leaving: false,
        put_back: PutBack::default(),
        refusals: RejectLog::default(),
        refusal: None,
        advertisers: Advertisers::default(),
        told_split: false,
        conflicts: Conflicts::default(),
        peers: Peers::default(),
        arrivals: Arrivals::default(),
        strip: StripRecord::default(),
        sending: Sending::default(),
        unsent: LogPace::default(),
        published: Published::default(),
        host_name: host_name.to_owned(),
    }
}

pub(in crate::engine) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
