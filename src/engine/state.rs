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
use crate::engine::vhost::id::{InterfaceId, VhostId};
use crate::host::clock;
use crate::keeper::Client;
use crate::keeper::failsafe::{Heartbeat, Writer};
use crate::proto::{self, Input};
use crate::types::Timestamp;

/// Orders that may wait; an operator's terminal is not faster.
const COMMANDS_MAX: usize = 16;

/// Everything that one daemon process does on the wire.
pub(super) struct Engine<E: Environment = Machine> {
    /// By a number that is never used twice.
    pub(super) nodes: Nodes<E::Host>,
    pub(super) interfaces: Interfaces<E::Wire>,
    pub(super) shared: Rc<Shared<E::Host>>,
    pub(super) outcomes: mpsc::UnboundedReceiver<HookOutcome>,
    pub(super) stopping: Option<Stopping>,
    /// Packets that belong to no virtual host here.
    pub(super) unmatched: proto::Stats,
    pub(super) follow_ups: VecDeque<(VhostId, Input<'static>)>,
    /// What a machine has to say is being done: nothing may be fed before it is idle, so what
    /// follows goes to `follow_ups`.
    pub(super) draining: bool,
    /// Interfaces in whose sockets something was left unread.
    pub(super) unread: Vec<InterfaceId>,
    pub(super) bow_outs: BowOuts,
    pub(super) shutdown_timeout: Duration,
    /// The version of every hook that serves.
    pub(super) hooks: Generations,
    pub(super) keeper: Client,
    pub(super) config: Config,
    /// Where the configuration was read from.
    pub(super) path: PathBuf,
    /// This node's host name when the daemon started.
    pub(super) host_name: String,
    /// What ties it to the machine that it runs on.
    pub(super) ties: E::Ties,
    /// Number of the next virtual host that is added.
    pub(super) next_id: VhostId,
    pub(super) orders: mpsc::Sender<Command>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) prepared: mpsc::Sender<Box<Prepared>>,
    pub(super) ready: mpsc::Receiver<Box<Prepared>>,
    /// One reload at a time; what is asked meanwhile waits here.
    pub(super) reloading: bool,
    pub(super) reload_waits: Option<Wanted>,
    pub(super) reload_problems: Vec<String>,
    /// Links and addresses are to be read anew after this turn.
    pub(super) relook: bool,
    /// They are to be read anew then.
    pub(super) look_again: Option<Timestamp>,
    /// How hooks' files are watched.
    pub(super) files: WatchModes,
    /// What the keeper does if we die, where there is one that would.
    pub(super) failsafe: Option<Writer>,
    /// The last sign of life that it was given.
    pub(super) beaten: Option<Heartbeat>,
    /// Whose leases are renewed at the end of this turn: their advertisements went out.
    pub(super) to_renew: Vec<VhostId>,
    /// When the loop wanted to be woken at the latest.
    pub(super) due: Option<Timestamp>,
    pub(super) started_ms: u64,
    /// Virtual hosts that the configuration no longer has, and whose hooks are not done, have one
    /// of these each.
    pub(super) departing: Rc<()>,
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
        Self {
            next_id: nodes.next_id(),
            nodes,
            interfaces,
            shared,
            hooks,
            outcomes,
            keeper,
            shutdown_timeout: config.daemon.shutdown_timeout,
            config,
            path,
            host_name,
            ties,
            stopping: None,
            unmatched: proto::Stats::default(),
            follow_ups: VecDeque::new(),
            draining: false,
            unread: Vec::new(),
            bow_outs: BowOuts::default(),
            orders,
            commands,
            prepared,
            ready,
            reloading: false,
            reload_waits: None,
            reload_problems: Vec::new(),
            relook: false,
            look_again: None,
            files: WatchModes::default(),
            failsafe,
            beaten: None,
            to_renew: Vec::new(),
            due: None,
            started_ms: clock::wall_ms(),
            departing: Rc::new(()),
        }
    }
}
