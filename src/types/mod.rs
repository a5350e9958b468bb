//! The words of carpd: small checked types with their units, and no behaviour.
//!
//! Everything else may use this module; it uses nothing of the crate.

mod address;
mod name;
mod numbers;
mod shown;
mod time;
mod transition;

pub use address::{Family, MacAddr, ParseAddressError, VirtualAddress};
pub use name::{IfName, InvalidName, Name};
pub use numbers::{AdvBase, AdvSkew, Demotion, OutOfRange, Vhid};
pub use shown::{Page, is_treacherous, plain_json, shown, shown_within};
pub use time::Timestamp;
pub use transition::{Cause, State, Transition};
