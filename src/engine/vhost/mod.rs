//! What a virtual host is at run time, and the interface that it is on.

pub(super) mod announcer;
pub(super) mod asked_hooks;
pub(super) mod bow_outs;
pub(super) mod conflicts;
pub(super) mod degraded;
pub(super) mod escalation;
pub(super) mod group;
pub(super) mod handover;
pub(super) mod health;
pub(super) mod id;
pub(super) mod interface;
pub(super) mod lateness;
pub(super) mod lease;
pub(super) mod maintenance;
pub(super) mod new;
pub(super) mod node;
pub(super) mod peers;
pub(super) mod published;
pub(super) mod refused_addresses;
pub(super) mod reject_log;
pub(super) mod sending;
pub(super) mod table;
pub(super) mod timer;
pub(super) mod tracks;
pub(super) mod unknown_vhids;
