//! The engine's reactions to events: `impl Engine`, one file for each kind of event.

pub(super) mod bow_outs;
pub(super) mod demotion;
pub(super) mod failsafe;
pub(super) mod foreign_addresses;
pub(super) mod handover;
pub(super) mod health;
pub(super) mod hook_failure;
pub(super) mod hook_orders;
pub(super) mod lease;
pub(super) mod links;
pub(super) mod metrics;
pub(super) mod moves;
pub(super) mod network_routes;
pub(super) mod other_interfaces;
pub(super) mod oversleep;
pub(super) mod plan;
pub(super) mod protocol;
pub(super) mod refused_addresses;
pub(super) mod reload;
pub(super) mod sending;
pub(super) mod signal;
pub(super) mod status;
pub(super) mod stop;
pub(super) mod timers;
pub(super) mod transition;
pub(super) mod unknown_vhids;
