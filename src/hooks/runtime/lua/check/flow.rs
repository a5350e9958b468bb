//! What a script does when its functions are called, as far as its text shows: which API functions
//! each of its functions calls, with which arguments, and whether that is certain to happen.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::calls::Argument;
use super::value::{Target, Value};
use crate::hooks::contract::api::{Function, nearest};

/// How certain it is that something runs when the function that contains it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sure {
    /// With this configuration it does not run.
    Never,
    /// It depends on what is known only at run time.
    Maybe,
    /// It runs, unless something before it fails.
    Certain,
}

/// A call of a function of the API.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) line: usize,
    pub(super) function: &'static Function,
    pub(super) given: Vec<Argument>,
    pub(super) sure: Sure,
}

/// Something else that goes wrong at run time.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) message: String,
    pub(super) sure: Sure,
}

/// One function of the script, or the top level of a file.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) file: usize,
    pub(super) calls: Vec<Call>,
    pub(super) faults: Vec<Fault>,
    uses: Vec<(Target, Sure)>,
}

/// A hook with its modules.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) bodies: Vec<Body>,
    /// Functions by the names that they have as globals, or as fields of the files' tables.
    names: BTreeMap<String, Vec<Named>>,
}

#[derive(Debug)]
struct Named {
    file: usize,
    global: bool,
    target: Target,
}

/// Names may refer to other names, to this depth at most.
const ALIASES_MAX: usize = 8;

impl Script {
    /// The functions that an entry point with this name may be. The hook's own file comes first and
    /// has all of them.
    pub(super) fn entry(&self, name: &str) -> Vec<usize> {
        let held = self
            .names
            .get(name)
            .into_iter()
            .flatten()
            .filter(|named| named.file == 0);
        held.flat_map(|named| self.bodies_of(&named.target, ALIASES_MAX))
            .collect()
    }

    /// What runs, and how certainly, when these functions are called.
    pub(super) fn reached(&self, from: &[usize]) -> BTreeMap<usize, Sure> {
        let sure = if from.len() == 1 {
            Sure::Certain
        } else {
            Sure::Maybe
        };
        let mut reached = BTreeMap::new();
        let mut next: Vec<(usize, Sure)> = from.iter().map(|body| (*body, sure)).collect();
        while let Some((index, sure)) = next.pop() {
            let Some(body) = self.bodies.get(index) else {
                continue;
            };
            if sure == Sure::Never || reached.get(&index).is_some_and(|known| *known >= sure) {
                continue;
            }
            reached.insert(index, sure);
            for (target, used) in &body.uses {
                let found = self.bodies_of(target, ALIASES_MAX);
                let alone = found.len() == 1
                    && !matches!(
                        target,
                        Target::Field {
                            of_namespace: false,
                            ..
                        }
                    );
                let most = if alone { Sure::Certain } else { Sure::Maybe };
                next.extend(
                    found
                        .into_iter()
                        .map(|body| (body, sure.min(*used).min(most))),
                );
            }
        }
        reached
    }

    fn bodies_of(&self, target: &Target, depth: usize) -> BTreeSet<usize> {
        let Some(depth) = depth.checked_sub(1) else {
            return BTreeSet::new();
        };
        let held = |name: &str, globals: bool| {
            let held = self
                .names
                .get(name)
                .into_iter()
                .flatten()
                .filter(|named| named.global == globals);
            held.flat_map(|named| self.bodies_of(&named.target, depth))
                .collect()
        };
        match target {
            Target::Body(body) => BTreeSet::from([*body]),
            Target::Global(name) => held(name, true),
            Target::Field { name, .. } => held(name, false),
        }
    }
}

/// The reader's position.
#[derive(Debug)]
struct Frame {
    body: usize,
    sure: Sure,
    /// After a `return`, at most this certain.
    most: Sure,
}

/// Follows the reader through the files of a hook.
#[derive(Debug)]
pub(super) struct Tracker<'a> {
    config: &'a Json,
    /// Names that some file assigns to after their declaration.
    assigned: &'a BTreeSet<String>,
    pub(super) script: Script,
    file: usize,
    frames: Vec<Frame>,
}

impl<'a> Tracker<'a> {
    pub(super) fn new(config: &'a Json, assigned: &'a BTreeSet<String>) -> Self {
        Self {
            config,
            assigned,
            script: Script::default(),
            file: 0,
            frames: Vec::new(),
        }
    }

    /// The reader starts a file.
    pub(super) fn begin(&mut self, file: usize) {
        self.file = file;
        self.frames.clear();
        let body = self.new_body();
        self.enter(body);
    }

    pub(super) fn config(&self) -> Value<'a> {
        Value::Config(self.config, "config".to_owned())
    }

    /// Does a local with this name always have the value that it was declared with?
    pub(super) fn is_constant(&self, name: &str) -> bool {
        !self.assigned.contains(name)
    }

    pub(super) fn new_body(&mut self) -> usize {
        self.script.bodies.push(Body {
            file: self.file,
            ..Body::default()
        });
        self.script.bodies.len() - 1
    }

    pub(super) fn enter(&mut self, body: usize) {
        self.frames.push(Frame {
            body,
            sure: Sure::Certain,
            most: Sure::Certain,
        });
    }

    pub(super) fn leave(&mut self) {
        self.frames.pop();
    }

    pub(super) fn sure(&self) -> Sure {
        self.frames.last().map_or(Sure::Maybe, |frame| frame.sure)
    }

    /// From here on at most this certain, and at most as certain as a preceding `return` allows.
    pub(super) fn set_sure(&mut self, sure: Sure) {
        if let Some(frame) = self.frames.last_mut() {
            frame.sure = sure.min(frame.most);
        }
    }

    /// The function ends here.
    pub(super) fn returns(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            let rest = match frame.sure {
                Sure::Certain => Sure::Never,
                Sure::Maybe => Sure::Maybe,
                Sure::Never => return,
            };
            frame.most = frame.most.min(rest);
            frame.sure = frame.sure.min(frame.most);
        }
    }

    fn body(&mut self) -> Option<&mut Body> {
        let at = self.frames.last()?.body;
        self.script.bodies.get_mut(at)
    }

    pub(super) fn call(&mut self, line: usize, function: &'static Function, given: Vec<Argument>) {
        let sure = self.sure();
        let sure = if given == [Argument::Many] {
            sure.min(Sure::Maybe)
        } else {
            sure
        };
        if let Some(body) = self.body() {
            body.calls.push(Call {
                line,
                function,
                given,
                sure,
            });
        }
    }

    /// An API function is passed on: whatever receives it may call it.
    pub(super) fn hand_on(&mut self, line: usize, function: &'static Function) {
        self.call(line, function, vec![Argument::Many]);
    }

    /// An API function that may just have been passed on is called with these arguments; whether
    /// its failure matters is up to the caller.
    pub(super) fn passed_on(
        &mut self,
        line: usize,
        function: &'static Function,
        given: Vec<Argument>,
    ) {
        let handed = |call: &mut Call| {
            call.given == [Argument::Many] && std::ptr::eq(call.function, function)
        };
        if let Some(body) = self.body() {
            body.calls.pop_if(handed);
        }
        let before = self.sure();
        self.set_sure(before.min(Sure::Maybe));
        self.call(line, function, given);
        self.set_sure(before);
    }

    /// A function of the script is called, or, with `Sure::Maybe`, only referred to.
    pub(super) fn uses(&mut self, target: Target, sure: Sure) {
        let sure = self.sure().min(sure);
        if let Some(body) = self.body() {
            body.uses.push((target, sure));
        }
    }

    pub(super) fn fault(&mut self, line: usize, message: String) {
        let sure = self.sure();
        if let Some(body) = self.body() {
            body.faults.push(Fault {
                line,
                message,
                sure,
            });
        }
    }

    /// A function is assigned to a name.
    pub(super) fn name(&mut self, name: String, global: bool, target: Target) {
        let file = self.file;
        self.script.names.entry(name).or_default().push(Named {
            file,
            global,
            target,
        });
    }
}

/// A key of the hook's configuration: its value, or that it does not exist.
pub(super) fn key<'a>(table: &'a Json, path: &str, key: &str) -> Value<'a> {
    let Json::Object(pairs) = table else {
        return Value::Unknown;
    };
    match pairs.get(key) {
        Some(Json::Null) => Value::Known(Argument::Nil),
        Some(Json::Bool(given)) => Value::Known(Argument::Bool(*given)),
        Some(Json::Number(number)) => Value::Known(
            number
                .as_f64()
                .map_or(Argument::SomeNumber, Argument::Number),
        ),
        Some(Json::String(text)) => Value::Known(Argument::Text(text.clone())),
        Some(table @ (Json::Array(_) | Json::Object(_))) => {
            Value::Config(table, format!("{path}.{key}"))
        }
        None => {
            let near = nearest(key, pairs.keys().map(String::as_str));
            let hint = near
                .map(|near| format!("; did you mean {near}?"))
                .unwrap_or_default();
            Value::Known(Argument::Absent(format!("{path} has no {key}{hint}")))
        }
    }
}
