//! What is known of the values and names of a script.

use serde_json::Value as Json;

use super::calls::Argument;

/// How a function of the script is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// This very function.
    Body(usize),
    /// Whatever the script assigns to this global name.
    Global(String),
    /// Whatever has this name as a field: of a table that is known to be a mere namespace, or of an
    /// unknown value.
    Field { name: String, of_namespace: bool },
}

/// The value of an expression, if it is known. Only a reader that follows what runs distinguishes
/// the variants below `Known`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Unknown,
    /// A global's name.
    Global(String),
    /// A function of the API, or a name that would be one.
    Member(String, String),
    Known(Argument),
    /// A table of the hook's configuration, and the script's name for it.
    Config(&'a Json, String),
    /// A function of the script.
    Function(Target),
    /// A table of functions: a module, or one that the script creates.
    Namespace,
    /// `require` itself.
    Require,
    /// `tolerant` itself.
    Tolerant,
}

/// What a function calls with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Callee {
    /// Its argument at this index, from 0.
    Argument(usize),
    /// A function of the API.
    Api(String, String),
}

/// How a function passes on its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forward {
    pub(super) callee: Callee,
    /// The index of the first argument that is passed on, from 0.
    pub(super) from: usize,
    /// How many it passes on at least; `nil` for those that are not given.
    pub(super) least: usize,
}

/// The origin of a local.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Local,
    Loop,
    Parameter,
}

/// A local variable.
#[derive(Debug)]
pub(super) struct Local<'a> {
    pub(super) value: Value<'a>,
    pub(super) line: usize,
    pub(super) origin: Origin,
    /// How many functions enclose it.
    pub(super) functions: usize,
    /// It was declared as a string, a number or a boolean.
    pub(super) is_plain: bool,
    pub(super) is_read: bool,
    /// The line of another local of the function that is hidden by this one.
    pub(super) hides: Option<usize>,
    /// A loop whose variable has this name has ended since this one was assigned.
    pub(super) after_loop: Option<usize>,
    /// What it does with its arguments, if it is a function that passes them on.
    pub(super) forward: Option<Forward>,
}
