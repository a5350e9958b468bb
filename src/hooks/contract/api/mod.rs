//! The functions through which a hook reaches the daemon, named once for every language.
//!
//! [`FUNCTIONS`] is the only list: the Lua tables, the suggestions for mistyped names and the
//! reference are made from it. A language host turns its values into [`Raw`], [`Function::request`]
//! checks them and makes the [`Request`].

mod allowed;
mod args;
mod bench;
mod list;
mod suggest;
#[cfg(test)]
mod tests;
pub mod wit;

pub use allowed::{allowed, grant_line, is_allowed};
pub use args::{Args, Kind, Raw};
pub use bench::{
    Arrangement, Call, Expect, HostEvent, Look, ModuleCall, On, TEST_FUNCTIONS, TEST_TYPES,
    TestField, TestFunction, find_test, unknown_test_function,
};
pub use list::FUNCTIONS;
#[cfg(feature = "lua")]
pub(in crate::hooks) use suggest::LUA;
pub use suggest::{
    EVENT_FIELDS, Field, INSTANCE_FIELDS, nearest, unknown_entry_point, unknown_field,
    unknown_function, unknown_global,
};

use crate::effect::Capability;
use crate::hooks::Ask;
use crate::types::IfName;

/// One function of the host.
#[derive(Debug)]
pub struct Function {
    /// The table it stands in.
    pub group: &'static str,
    /// Its name in that table.
    pub name: &'static str,
    /// Its arguments, in order.
    pub params: &'static [Param],
    /// The keys of the table that may follow them.
    pub options: &'static [Param],
    /// What it gives back.
    pub gives: Gives,
    /// The right it needs; `None` if every hook may call it.
    pub capability: Option<Capability>,
    /// One sentence for the reference.
    pub doc: &'static str,
    /// A call as it would stand in a Lua hook.
    pub example: &'static str,
    /// Makes the request from checked arguments.
    make: fn(&mut Args, Context<'_>) -> Result<Request, String>,
}

/// One argument or option.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Its name: the key of an option, the word in messages.
    pub name: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// Must it be given?
    pub required: bool,
    /// What it means, with its unit and default.
    pub doc: &'static str,
}

impl Param {
    /// May any text at all stand there?
    #[must_use]
    pub const fn takes_text(&self) -> bool {
        !matches!(self.kind, Kind::Int(..) | Kind::Bool | Kind::Words)
    }

    /// May any number?
    #[must_use]
    pub const fn takes_number(&self) -> bool {
        matches!(self.kind, Kind::Int(..) | Kind::Any)
    }

    /// May any table?
    #[must_use]
    pub const fn takes_table(&self) -> bool {
        matches!(self.kind, Kind::Words | Kind::Any)
    }
}

/// What a function gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// Nothing.
    Nothing,
    /// `"changed"`, `"unchanged"` or `"planned"`.
    Outcome,
    /// Text.
    Text,
    /// Bytes, or nothing if there is no such file.
    Bytes,
    /// A service's state: `"active"`, `"inactive"`, `"activating"`, `"deactivating"`, `"failed"`,
    /// `"unknown"`.
    UnitState,
    /// `{ status, stdout, stderr }`.
    Command,
    /// A list of `{ name, index, up, carrier, mac, mtu }`.
    Links,
    /// A list of `{ dev, cidr }`.
    Addresses,
    /// A list of `{ dst, via, dev, src, metric, table }`.
    Routes,
    /// `{ status, headers, body }`.
    Response,
    /// How long it took, in ms.
    Elapsed,
    /// `"init"`, `"backup"` or `"master"`.
    State,
    /// Whatever `state.set` was given under this key, or nothing.
    Stored,
    /// Milliseconds since the machine started.
    Millis,
    /// Seconds since 1970, with a fraction.
    Seconds,
}

/// What the caller is about, for defaults.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The virtual host's interface: the default of every `dev`.
    pub interface: &'a IfName,
}

/// What a call comes down to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A question to the daemon.
    Ask(Ask),
    /// The clock since the machine started; answered by the runner.
    Now,
    /// The wall clock; answered by the runner.
    Wall,
}

impl Function {
    /// Checks the arguments and makes the request.
    ///
    /// # Errors
    /// A text that names the argument and what it may be.
    pub fn request(&self, given: Vec<Raw>, context: Context<'_>) -> Result<Request, String> {
        let mut args = Args::read(self, given)?;
        (self.make)(&mut args, context)
    }

    /// Does it change something, here or elsewhere? An entry point that may only look is refused
    /// it.
    #[must_use]
    pub fn changes(&self) -> bool {
        matches!(self.gives, Gives::Outcome | Gives::Command)
            || (self.group == "http" && self.name != "get")
    }

    /// `group.name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.group, self.name)
    }
}

/// Finds a function by its names.
#[must_use]
pub fn find(group: &str, name: &str) -> Option<(usize, &'static Function)> {
    FUNCTIONS
        .iter()
        .enumerate()
        .find(|(_, f)| f.group == group && f.name == name)
}

/// The groups in the order of [`FUNCTIONS`], each once.
pub fn groups() -> impl Iterator<Item = &'static str> {
    FUNCTIONS
        .chunk_by(|a, b| a.group == b.group)
        .filter_map(|functions| functions.first())
        .map(|f| f.group)
}
