//! Commands for writing hooks.

pub(super) mod api;
pub(super) mod grant;
pub(super) mod import;
pub(super) mod new;
pub(super) mod port;
pub(super) mod test;
