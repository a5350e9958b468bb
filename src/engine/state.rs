//! What an engine knows.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::command::Command;
use super::environment::{Environment, Machine};
use super::reload::file_watch::WatchModes;
use super::reload::generations::Generations;
use super::reload::prepared::{Prepared, Wanted};
use super::runs::outcome::HookOutcome;
use super::runs::shared::Shared;
use super::vhost::interface::Interfaces;
use super::vhost::table::Nodes;
use crate::config::Config;
use crate::engine::vhost::bow_outs::BowOuts;
use crate::engine::vhost::group::Groups;
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::engine::vhost::maintenance::Campaign;
use crate::engine::vhost::tracks::Tracks;
use crate::host::clock;
use crate::keeper::Client;
use crate::keeper::failsafe::{Heartbeat, Writer};
use crate::proto::{self, Input};
use crate::types::Timestamp;

/// How many orders may be queued; operators are not faster.
const COMMANDS_MAX: usize = 16;

/// The engine: everything that one daemon process does on the wire.
pub(super) struct Engine<E: Environment = Machine> {
    /// The virtual hosts, by an id that is never reused.
    pub(super) nodes: Nodes<E::Host>,
    pub(super) interfaces: Interfaces<E::Wire>,
    pub(super) shared: Rc<Shared<E::Host>>,
    pub(super) outcomes: mpsc::UnboundedReceiver<HookOutcome>,
    pub(super) stopping: Option<Stopping>,
    /// Packets that do not belong to any virtual host here.
    pub(super) unmatched: proto::Stats,
    /// When a refused advertisement was last looked at closely.
    pub(super) looked_closer: Option<Timestamp>,
    /// One is being looked at.
    pub(super) trying: bool,
    pub(super) trials: Trials,
    pub(super) follow_ups: VecDeque<(VhostId, Input<'static>)>,
    /// A machine's outputs are being carried out: nothing may be fed before it is idle, so what
    /// follows goes to `follow_ups`.
    pub(super) draining: bool,
    /// Interfaces whose sockets were not read completely.
    pub(super) unread: Vec<InterfaceId>,
    pub(super) bow_outs: BowOuts,
    pub(super) groups: Groups,
    /// An operator's order to begin maintenance that is being carried out.
    pub(super) campaign: Option<Campaign>,
    pub(super) shutdown_timeout: Duration,
    /// What virtual hosts depend on.
    pub(super) tracks: Tracks,
    /// The active version of every hook.
    pub(super) hooks: Generations,
    pub(super) keeper: Client,
    pub(super) config: Config,
    /// Where the configuration was read from.
    pub(super) path: PathBuf,
    /// This node's host name when the daemon started.
    pub(super) host_name: String,
    /// What ties it to its machine.
    pub(super) ties: E::Ties,
    /// The id of the next virtual host that is added.
    pub(super) next_id: VhostId,
    pub(super) orders: mpsc::Sender<Command>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) prepared: mpsc::Sender<Box<Prepared>>,
    pub(super) ready: mpsc::Receiver<Box<Prepared>>,
    /// A reload is in progress; requests meanwhile are queued.
    pub(super) reloading: bool,
    pub(super) reload_waits: Option<Wanted>,
    pub(super) reload_problems: Vec<String>,
    /// Links and addresses are to be read again after this turn.
    pub(super) relook: bool,
    /// When they are to be read again.
    pub(super) look_again: Option<Timestamp>,
    /// It gave up real-time priority for a while: until then.
    pub(super) realtime_again: Option<Timestamp>,
    /// How hooks' files are watched.
    pub(super) files: WatchModes,
    /// What the keeper does if the engine dies, if there is a keeper.
    pub(super) failsafe: Option<Writer>,
    /// The last heartbeat that it was sent.
    pub(super) beaten: Option<Heartbeat>,
    /// Virtual hosts whose leases are renewed at the end of this turn, because their advertisements
    /// were sent.
    pub(super) to_renew: Vec<VhostId>,
    /// The time at which the loop wanted to be woken at the latest.
    pub(super) due: Option<Timestamp>,
    pub(super) started_ms: u64,
    /// Each virtual host that is no longer in the configuration, but whose hooks are not done,
    /// holds a clone of this.
    pub(super) departing: Rc<()>,
}

/// Where it is tried out what a refused digest has different.
#[derive(Debug, Clone)]
pub(super) enum Trials {
    /// On the loop: on a simulated machine, where everything takes no time.
    AtOnce,
    /// On another thread, which tells the result here.
    Beside(mpsc::Sender<Command>),
}

/// The daemon stops.
pub(super) struct Stopping {
    pub(super) deadline: Timestamp,
    pub(super) done: Option<oneshot::Receiver<()>>,
}

/// What an engine is made of.
pub(super) struct Parts<E: Environment = Machine> {
    pub(super) nodes: Nodes<E::Host>,
    pub(super) interfaces: Interfaces<E::Wire>,
    pub(super) shared: Rc<Shared<E::Host>>,
    pub(super) hooks: Generations,
    pub(super) outcomes: mpsc::UnboundedReceiver<HookOutcome>,
    pub(super) keeper: Client,
    pub(super) config: Config,
    pub(super) path: PathBuf,
    pub(super) host_name: String,
    pub(super) ties: E::Ties,
    pub(super) failsafe: Option<Writer>,
}

impl<E: Environment> Engine<E> {
    pub(super) fn new(parts: Parts<E>) -> Self {
        let Parts {
            nodes,
            interfaces,
            shared,
            hooks,
            outcomes,
            keeper,
            config,
            path,
            host_name,
            ties,
            failsafe,
        } = parts;
        let (orders, commands) = mpsc::channel(COMMANDS_MAX);
        let (prepared, ready) = mpsc::channel(1);
        let groups = config.groups.clone();
        let mut engine = Self {
            next_id: nodes.next_id(),
            nodes,
            interfaces,
            shared,
            hooks,
            outcomes,
            keeper,
            tracks: Tracks::of(&config.tracks),
            shutdown_timeout: config.daemon.shutdown_timeout,
            config,
            path,
            host_name,
            ties,
            stopping: None,
            unmatched: proto::Stats::default(),
            looked_closer: None,
            trying: false,
            trials: Trials::AtOnce,
            follow_ups: VecDeque::new(),
            draining: false,
            unread: Vec::new(),
            bow_outs: BowOuts::default(),
            groups: Groups::default(),
            campaign: None,
            orders,
            commands,
            prepared,
            ready,
            reloading: false,
            reload_waits: None,
            reload_problems: Vec::new(),
            relook: false,
            look_again: None,
            realtime_again: None,
            files: WatchModes::default(),
            failsafe,
            beaten: None,
            to_renew: Vec::new(),
            due: None,
            started_ms: clock::wall_ms(),
            departing: Rc::new(()),
        };
        engine.form_groups(&groups, clock::now());
        engine.follow_orders(clock::now());
        engine
    }
}
