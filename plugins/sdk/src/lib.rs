//! Write a hook for carpd in Rust.
//!
//! A hook is a library with a function for each entry point that it wants, and [`hook!`] with their
//! names. What a hook may ask stands in the modules of this crate, one for each grant; each
//! function says by itself what it did.
//!
//! ```
//! use carpd_hook::{Event, Result, config, hook, hostname, service};
//!
//! hook!(on_master, on_backup);
//!
//! fn on_master(_: Event) -> Result {
//!     hostname::set("nodevir2", Default::default())?;
//!     service::start("httpd", Default::default())?;
//!     Ok(())
//! }
//!
//! fn on_backup(_: Event) -> Result {
//!     service::stop("httpd", Default::default())?;
//!     Ok(())
//! }
//! # on_master(carpd_hook::fake::event("on_master")).unwrap();
//! # assert_eq!(carpd_hook::fake::asked(), ["hostname.set nodevir2", "service.start httpd"]);
//! ```
//!
//! Build it for `wasm32-unknown-unknown` as a `cdylib`, and let `carpd plugin build` make a
//! component of it. The same code can be tested on any machine: outside of WebAssembly the [`fake`]
//! host answers.

#[allow(missing_docs, unused, clippy::all, clippy::pedantic)]
#[doc(hidden)]
pub mod bindings {
    // What the component is comes from `carpd plugin build`, which looks at what a hook really
    // exports: the world made here has every entry point, and its section would demand them all.
    wit_bindgen::generate!({
        path: "wit",
        world: "hook",
        generate_all,
        runtime_path: "wit_bindgen::rt",
        pub_export_macro: true,
        default_bindings_module: "carpd_hook::bindings",
        additional_derives: [PartialEq],
        disable_custom_section_link_helpers: true,
    });
}
#[cfg(not(target_arch = "wasm32"))]
pub mod fake;
mod panic;

use std::fmt;

pub use bindings::carpd::hooks::types::{
    CommandOutput, DeviceAddress, EntryPoint, Event, HostError, HttpResponse, Instance, LinkInfo,
    Outcome, Report, RouteInfo, UnitState, VhostState,
};
#[doc(hidden)]
pub use panic::report as __report_panics;

/// What an entry point gives back: nothing, or why it failed. `health` gives a [`Report`].
pub type Result<T = ()> = std::result::Result<T, Failure>;

/// Why a hook failed: the text that the log will have. Made of any error by `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// With these words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(err: E) -> Self {
        let mut text = err.to_string();
        let mut source = err.source();
        while let Some(err) = source {
            text = format!("{text}: {err}");
            source = err.source();
        }
        Self(text)
    }
}

/// Why the host did not do, or answer, what was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// No grant allows it; the text says what would.
    Denied(String),
    /// It makes no sense.
    Invalid(String),
    /// The run has used up what it may use of something.
    OverBudget(String),
    /// The host tried and failed.
    Host(HostError),
    /// The virtual host has another state by now: this run is of no use any more.
    Superseded,
}

impl From<bindings::carpd::hooks::types::Error> for Error {
    fn from(err: bindings::carpd::hooks::types::Error) -> Self {
        use bindings::carpd::hooks::types::Error as Theirs;
        match err {
            Theirs::Denied(text) => Self::Denied(text),
            Theirs::Invalid(text) => Self::Invalid(text),
            Theirs::OverBudget(text) => Self::OverBudget(text),
            Theirs::Host(err) => Self::Host(err),
            Theirs::Superseded => Self::Superseded,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(text) | Self::Invalid(text) | Self::OverBudget(text) => f.write_str(text),
            Self::Host(err) => f.write_str(&err.message),
            Self::Superseded => f.write_str("superseded by a newer state"),
        }
    }
}

impl std::error::Error for Error {}

/// Why another host gave no answer: see [`Error::trouble`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Its name cannot be looked up.
    Name,
    /// Nobody takes connections there.
    Refused,
    /// There is no way to it.
    Unreachable,
    /// It took too long.
    Timeout,
    /// No connection that could be trusted.
    Tls,
    /// More came than may.
    TooLarge,
    /// What came is no HTTP.
    Protocol,
    /// The connection ended early.
    Lost,
}

impl Error {
    /// What went wrong on the way to another host, of [`http`] and [`tcp`].
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        let Self::Host(err) = self else { return None };
        let (word, _) = err.message.split_once(':')?;
        Some(match word {
            "name" => Trouble::Name,
            "refused" => Trouble::Refused,
            "unreachable" => Trouble::Unreachable,
            "timeout" => Trouble::Timeout,
            "tls" => Trouble::Tls,
            "too-large" => Trouble::TooLarge,
            "protocol" => Trouble::Protocol,
            "lost" => Trouble::Lost,
            _ => return None,
        })
    }
}

impl HttpResponse {
    /// Is its status 200 to 299?
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Report {
    /// All is well.
    #[must_use]
    pub fn well() -> Self {
        Self {
            demotion: 0,
            reason: String::new(),
        }
    }

    /// As unfit as a node can be.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self {
            demotion: 240,
            reason: reason.into(),
        }
    }
}

/// Exports entry points: functions of these names that take an [`Event`] and give a [`Result`].
#[macro_export]
macro_rules! hook {
    ($($entry:ident),+ $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Hook;
            $($crate::__export!($entry Hook);)+
        };
        // Outside of WebAssembly nobody calls them but tests.
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = { $(let _ = $entry;)+ };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    (health $hook:ident) => {
        $crate::__export!(health $hook, __export_carpd_hooks_health_1_0_0_cabi, $crate::Report);
    };
    (before_master $hook:ident) => { $crate::__export!(before_master $hook, __export_carpd_hooks_before_master_1_0_0_cabi, ()); };
    (on_master $hook:ident) => { $crate::__export!(on_master $hook, __export_carpd_hooks_on_master_1_0_0_cabi, ()); };
    (before_backup $hook:ident) => { $crate::__export!(before_backup $hook, __export_carpd_hooks_before_backup_1_0_0_cabi, ()); };
    (on_backup $hook:ident) => { $crate::__export!(on_backup $hook, __export_carpd_hooks_on_backup_1_0_0_cabi, ()); };
    (on_peer_claim $hook:ident) => { $crate::__export!(on_peer_claim $hook, __export_carpd_hooks_on_peer_claim_1_0_0_cabi, ()); };
    (on_stop $hook:ident) => { $crate::__export!(on_stop $hook, __export_carpd_hooks_on_stop_1_0_0_cabi, ()); };
    ($entry:ident $hook:ident, $cabi:ident, $returns:ty) => {
        impl $crate::bindings::exports::carpd::hooks::$entry::Guest for $hook {
            fn $entry(event: $crate::Event) -> std::result::Result<$returns, String> {
                $crate::__report_panics();
                $entry(event).map_err(|failure: $crate::Failure| failure.to_string())
            }
        }
        $crate::$cabi!($hook with_types_in $crate::bindings::exports::carpd::hooks::$entry);
    };
}

/// What the host answers, with an [`Error`] of ours in it. The one of the bindings says itself in
/// the words of `Debug`.
#[cfg(target_arch = "wasm32")]
trait Answered {
    type Ours;
    fn ours(self) -> Self::Ours;
}

#[cfg(target_arch = "wasm32")]
impl<T> Answered for std::result::Result<T, bindings::carpd::hooks::types::Error> {
    type Ours = std::result::Result<T, Error>;

    fn ours(self) -> Self::Ours {
        self.map_err(Error::from)
    }
}

/// What cannot fail.
#[cfg(target_arch = "wasm32")]
macro_rules! answered {
    ($($ty:ty),*) => {
        $(impl Answered for $ty {
            type Ours = Self;

            fn ours(self) -> Self {
                self
            }
        })*
    };
}

#[cfg(target_arch = "wasm32")]
answered!((), f64, String);

/// `call` in a component; `fake` in a test.
macro_rules! ask {
    ($call:expr, $fake:expr) => {{
        #[cfg(target_arch = "wasm32")]
        {
            Answered::ours($call)
        }
        #[cfg(not(target_arch = "wasm32"))]
        {
            $fake
        }
    }};
}

/// A module for a group of host functions.
macro_rules! group {
    ($(#[$group_doc:meta])* $group:ident [$($options:ident),*] { $($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) -> $gives:ty { $call:expr, $fake:expr })* }) => {
        $(#[$group_doc])*
        pub mod $group {
            #[allow(unused_imports)]
            use crate::*;
            #[cfg(target_arch = "wasm32")]
            #[allow(unused_imports)]
            use crate::bindings::carpd::hooks as host;
            #[allow(unused_imports)]
            pub use crate::bindings::carpd::hooks::$group::{$($options),*};

            $($(#[$doc])*
            pub fn $name($($arg: $ty),*) -> $gives {
                ask!($call, $fake)
            })*
        }
    };
}

type Done = std::result::Result<Outcome, Error>;
type Answer<T> = std::result::Result<T, Error>;

include!("groups.rs");

macro_rules! defaults {
    ($($group:ident::$name:ident { $($field:ident),* })*) => {
        $(impl Default for bindings::carpd::hooks::$group::$name {
            fn default() -> Self {
                Self { $($field: None),* }
            }
        })*
    };
}

defaults! {
    addr::Options { dev, keep }
    announce::Options { dev, count, interval_ms }
    route::Options { via, dev, src, metric, table, keep }
    link::SetUpOptions { up, keep }
    link::SetMacOptions { keep }
    hostname::Options { keep }
    service::Options { wait_ms, keep }
    sysctl::Options { keep }
    file::Options { keep }
    command::Options { wait_ms }
    tcp::Options { timeout_ms }
}

impl Default for http::Options {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            timeout_ms: None,
        }
    }
}
