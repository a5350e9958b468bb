//! A test file: Luau with the module `test` instead of the host's tables.

use mlua::{Lua, MultiValue, Table, Value};

use super::{
    Code, Glue, HookError, HookSource, Kind, LoadError, PRELUDE, Peer, Run, cut, protected, raised,
    raised_text, values,
};
use carpd::hooks::contract::api::{On, TEST_FUNCTIONS, find_test};
use carpd::hooks::contract::message::TestCall;
use carpd::hooks::{Budget, Returned, TestHost};

const TESTING: &str = include_str!("testing.luau");

/// A test file that compiles, and the names of its cases.
#[derive(Debug)]
pub(crate) struct TestFile {
    code: Code,
    cases: Vec<String>,
}

impl TestFile {
    /// Compiles the file and runs its top level, which names the cases.
    ///
    /// # Errors
    /// [`LoadError::Code`]: it does not compile, its top level failed, or it has no case.
    pub(crate) fn load(source: &HookSource, budget: &Budget) -> Result<Self, LoadError> {
        let code = Code::compile(source, Kind::Test)?;
        let run = Run::new(&code, *budget, Peer::Nobody, None);
        let names = run.enter(|_, glue| {
            let cases = begin(&run, glue)?;
            cases
                .sequence_values::<Table>()
                .map(|case| case?.get("name"))
                .collect::<Result<_, _>>()
                .map_err(|err| raised(&err))
        });
        let cases: Vec<String> = names.map_err(|err| LoadError::Code(err.to_string()))?;
        if cases.is_empty() {
            return Err(LoadError::Code(format!(
                "{}: it has no cases: write test.case(\"name\", function() ... end)",
                code.file
            )));
        }
        drop(run);
        Ok(Self { code, cases })
    }

    /// The names of the cases, in order.
    #[must_use]
    pub(crate) fn cases(&self) -> &[String] {
        &self.cases
    }

    /// Runs one case in a VM of its own.
    ///
    /// # Errors
    /// [`HookError`]: the outcome of the case, as a value.
    pub(crate) fn run(
        &self,
        number: usize,
        host: &mut dyn TestHost,
        budget: &Budget,
    ) -> Result<Returned, HookError> {
        let run = Run::new(
            &self.code,
            *budget,
            Peer::Test(std::cell::RefCell::new(host)),
            None,
        );
        run.enter(|_, glue| {
            let case: Option<Table> = begin(&run, glue)?
                .get(number + 1)
                .map_err(|err| raised(&err))?;
            let case = case.ok_or_else(|| {
                raised_text(format!("{}: there is no case {number}", self.code.file))
            })?;
            let function = case.get("run").map_err(|err| raised(&err))?;
            protected(&glue.call, function, Value::Nil)?;
            Ok(Returned::Done)
        })
    }
}

/// Runs the top level and returns the table of cases.
fn begin(run: &Run<'_>, glue: &Glue) -> Result<Table, HookError> {
    protected(&glue.call, run.main(glue), Value::Nil)?;
    glue.cases
        .clone()
        .ok_or_else(|| raised_text("this is not a test file".to_owned()))
}

/// The prelude, including the module `test`.
pub(super) fn prelude() -> String {
    let id = |name: &str| find_test(On::Test, name).map_or(0, |(id, _)| id);
    let methods = TEST_FUNCTIONS
        .iter()
        .enumerate()
        .filter(|(_, f)| f.on == On::Host);
    let methods: Vec<String> = methods
        .map(|(id, f)| format!("{} = {id}", f.name))
        .collect();
    let mut text = TESTING.replace("$METHODS", &methods.join(", "));
    for name in ["host", "equal", "faults", "histories"] {
        text = text.replace(&format!("${}", name.to_uppercase()), &id(name).to_string());
    }
    let print = format!("{}, \"\", 0", id("print"));
    let text = text.replace("$OUTPUT", &id("print").to_string());
    PRELUDE
        .replace("$GROUPS", &text)
        .replace("$PRINT", &print)
        .replace("$CASES", "cases")
}

/// A call of the module `test`, without its number: file and line of the caller, then the
/// arguments.
pub(super) fn ask(
    lua: &Lua,
    host: &mut dyn TestHost,
    id: Option<usize>,
    args: &MultiValue,
) -> mlua::Result<(bool, Value)> {
    let refused = |text: String| Ok((false, Value::String(lua.create_string(cut(&text))?)));
    let Some((id, function)) = id.and_then(|id| Some((id, TEST_FUNCTIONS.get(id)?))) else {
        return refused("there is no such function".to_owned());
    };
    let file = args
        .front()
        .and_then(Value::as_string)
        .map(|file| cut(&file.to_string_lossy()))
        .unwrap_or_default();
    let line = args.get(1).and_then(Value::as_u32).unwrap_or(0);
    let arguments = args
        .iter()
        .skip(2)
        .map(values::json)
        .collect::<Result<Vec<_>, _>>();
    let arguments = match arguments.map(|arguments| serde_json::to_vec(&arguments)) {
        Ok(Ok(arguments)) => arguments,
        Ok(Err(why)) => return refused(format!("{}: {why}", function.name)),
        Err(why) => return refused(format!("{}: {why}", function.name)),
    };
    let function = u32::try_from(id).unwrap_or(u32::MAX);
    match host.call(TestCall {
        function,
        arguments,
        file,
        line,
    }) {
        Ok(answer) => match serde_json::from_slice(&answer) {
            Ok(json) => Ok((true, values::from_json(lua, &json)?)),
            Err(err) => refused(format!("the answer cannot be read: {err}")),
        },
        Err(text) => refused(text),
    }
}
