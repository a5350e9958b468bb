//! What a virtual host is at run time, and the interface that it is on.

pub(super) mod announcer;
pub(super) mod escalation;
pub(super) mod id;
pub(super) mod interface;
pub(super) mod node;
pub(super) mod reject_log;
pub(super) mod table;
pub(super) mod timer;
