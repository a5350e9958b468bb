//! The words of carpd: small checked types with their units, and no behaviour.
//!
//! Everything else may use this module; it uses nothing of the crate.

mod address;
mod exposition;
mod name;
mod netns;
mod numbers;
mod shown;
mod state;
mod time;

pub use address::{Family, MacAddr, ParseAddressError, PreferredLifetime, VirtualAddress};
pub use exposition::prometheus_text;
pub use name::{IfName, InvalidName, Name};
pub use netns::Netns;
pub use numbers::{AdvBase, AdvSkew, Demotion, OutOfRange, Vhid};
pub use shown::{Page, is_treacherous, plain_json, shown, shown_within};
pub use state::State;
pub use time::Timestamp;
