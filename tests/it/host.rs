//! The host module against a real kernel: each test runs in network, UTS and mount namespaces of its own.

mod contract;
mod helper;
mod namespace;
mod network;
