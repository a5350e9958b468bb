//! Virtual hosts on one machine, connected by a switch: for `carpd lab` and for the tests on a real
//! network.
//!
//! A host has its own network, host name, processes, `/run` and `/etc/init.d`, all in namespaces
//! that this program creates itself, as root or as an ordinary user. What runs in a host is real:
//! real daemons, real sockets, a real kernel.

pub mod clock;
mod control;
mod filter;
mod host;
mod httpd;
mod message;
mod netlink;
mod node;
mod probe;
mod reap;
mod role;
pub mod scenario;
mod switch;

pub use control::{Lab, LabError, LabSpec};
pub use host::{Host, Line, Output, Process};
pub use message::{
    Answer, Command, Event, Exit, FactRoute, Facts, Fault, HostCommand, HostSpec, Stream, What,
};
pub use node::PROGRAM;
pub use probe::{ProbeSpec, Sighted, Sighting};
pub use role::{HTTPD, PROBE, run_role};
