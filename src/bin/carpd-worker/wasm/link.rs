//! Linking: what a component imports is compared with the contract and the grants, and only what
//! both allow is linked.

use std::time::Duration;

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Engine, StoreContextMut};

use super::{Run, values};
use crate::limits::{self, Stop};
use carpd::hooks::contract::api::wit::{PACKAGE, VERSION, Wit, event, kebab, returns, snake};
use carpd::hooks::contract::api::{
    Context, FUNCTIONS, Function, Request, find, grant_line, nearest,
};
use carpd::hooks::{Ask, AskError, EntryPoint, HookSource};

/// The most imports that an error lists individually.
const MAX_NAMED: usize = 8;

/// `carpd:hooks/addr@1.0.0` as `addr` and `1.0.0`, if it is of this contract's major version.
pub(super) fn contract_name(name: &str) -> Option<(&str, &str)> {
    let (interface, version) = name
        .strip_prefix(PACKAGE)?
        .strip_prefix('/')?
        .split_once('@')?;
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    (major(version) == major(VERSION)).then_some((interface, version))
}

/// Is this the WIT name of an entry of the list?
pub(super) fn is_called(listed: &str, wit: &str) -> bool {
    kebab(listed) == wit
}

/// The host functions that a component imports, as in `addr.add`.
pub(super) fn imports(engine: &Engine, component: &Component) -> Vec<String> {
    let mut found = Vec::new();
    for (name, import) in component.component_type().imports(engine) {
        if let (Some((interface, _)), ComponentItem::ComponentInstance(instance)) =
            (contract_name(name), import.ty)
        {
            let functions = instance
                .exports(engine)
                .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
            found.extend(
                functions.map(|(function, _)| format!("{}.{}", snake(interface), snake(function))),
            );
        }
    }
    found
}

/// A linker with what the component imports.
///
/// # Errors
/// Every import that does not exist, is not granted or has another type, each with a remedy.
pub(super) fn link(
    engine: &Engine,
    component: &Component,
    source: &HookSource,
    allowed: &[String],
) -> Result<Linker<Run>, String> {
    let file = source.path.rsplit('/').next().unwrap_or(&source.path);
    let mut linker = Linker::new(engine);
    let mut problems = Vec::new();
    for (name, import) in component.component_type().imports(engine) {
        let Some((interface, version)) = contract_name(name) else {
            problems.push(format!(
                "it imports {name}, but a hook can only import {PACKAGE} {VERSION}"
            ));
            continue;
        };
        let ComponentItem::ComponentInstance(instance) = import.ty else {
            problems.push(format!("it imports {name}, but not as an interface"));
            continue;
        };
        let mut into = linker
            .instance(name)
            .map_err(|err| format!("{file}: {err:#}"))?;
        for (function, item) in instance.exports(engine) {
            let ComponentItem::ComponentFunc(ty) = &item.ty else {
                continue;
            };
            let found = match (interface, function) {
                ("config", "get") => config(&mut into, source),
                _ => bind(interface, function, version, ty, allowed).and_then(|id| {
                    into.func_new(function, call(id))
                        .map_err(|err| format!("{err:#}"))
                }),
            };
            problems.extend(found.err());
        }
    }
    if problems.is_empty() {
        return Ok(linker);
    }
    let more = problems.len().saturating_sub(MAX_NAMED);
    problems.truncate(MAX_NAMED);
    let more = if more > 0 {
        format!("; and {more} more")
    } else {
        String::new()
    };
    Err(format!("{file}: {}{more}", problems.join("; ")))
}

/// Finds the function that an import refers to, and checks its type and the grants.
fn bind(
    interface: &str,
    function: &str,
    version: &str,
    ty: &ComponentFunc,
    allowed: &[String],
) -> Result<usize, String> {
    let Some((id, listed)) = find(&snake(interface), &snake(function)) else {
        let names = FUNCTIONS
            .iter()
            .filter(|f| is_called(f.group, interface))
            .map(|f| f.name);
        let hint = nearest(&snake(function), names)
            .map(|name| format!("; did it mean {}?", kebab(name)))
            .unwrap_or_default();
        return Err(format!(
            "it imports {interface} {function} of {PACKAGE} {version}, which this carpd does not have: it offers version {VERSION}{hint}"
        ));
    };
    let wanted = signature(&listed.params_wit(), listed.result_wit().as_ref());
    let given = given_signature(ty);
    if wanted != given {
        return Err(format!(
            "it imports {interface} {function} as {given}, but {PACKAGE} {VERSION} has {wanted}"
        ));
    }
    if !allowed.contains(&listed.full_name()) {
        return Err(format!(
            "it imports {interface} {function} ({PACKAGE} {version}), which is not granted; to grant it, write under [hook.NAME.grant]: {}",
            grant_line(listed)
        ));
    }
    Ok(id)
}

/// Checks that the function has the type of the entry point.
pub(super) fn check_entry_point(entry: EntryPoint, item: &ComponentItem) -> Result<(), String> {
    let ComponentItem::ComponentFunc(ty) = item else {
        return Err("it is not a function".to_owned());
    };
    let wanted = signature(&[("event".to_owned(), event())], Some(&returns(entry)));
    let given = given_signature(ty);
    if wanted == given {
        Ok(())
    } else {
        Err(format!(
            "it is {given}, but {PACKAGE} {VERSION} has {wanted}"
        ))
    }
}

fn signature(params: &[(String, Wit)], result: Option<&Wit>) -> String {
    let params: Vec<_> = params
        .iter()
        .map(|(name, wit)| format!("{name}:{}", wit.structure()))
        .collect();
    format!(
        "func({}) -> {}",
        params.join(", "),
        result.map_or_else(|| "_".to_owned(), Wit::structure)
    )
}

fn given_signature(ty: &ComponentFunc) -> String {
    let params: Vec<_> = ty
        .params()
        .map(|(name, ty)| format!("{name}:{}", values::structure(&ty)))
        .collect();
    let result = ty
        .results()
        .next()
        .map_or_else(|| "_".to_owned(), |ty| values::structure(&ty));
    format!("func({}) -> {result}", params.join(", "))
}

fn config(
    into: &mut wasmtime::component::LinkerInstance<'_, Run>,
    source: &HookSource,
) -> Result<(), String> {
    let json = source.config_json.clone();
    let linked = into.func_new("get", move |_, ty, params, results| {
        match (params, results) {
            ([], [result])
                if ty
                    .results()
                    .next()
                    .is_some_and(|ty| values::structure(&ty) == "string") =>
            {
                *result = Val::String(json.clone());
                Ok(())
            }
            _ => Err(wasmtime::Error::msg(
                "config get does not have its type from the contract",
            )),
        }
    });
    linked.map_err(|err| format!("{err:#}"))
}

/// The host's side of one function.
fn call(
    id: usize,
) -> impl Fn(StoreContextMut<'_, Run>, ComponentFunc, &[Val], &mut [Val]) -> wasmtime::Result<()>
+ Send
+ Sync {
    move |mut store, _, params, results| {
        let function = FUNCTIONS
            .get(id)
            .ok_or_else(|| wasmtime::Error::msg("there is no such host function"))?;
        let value = serve(store.data_mut(), function, params)?;
        if let (Some(result), Some(value)) = (results.first_mut(), value) {
            *result = value;
        }
        Ok(())
    }
}

fn serve(run: &mut Run, function: &Function, params: &[Val]) -> wasmtime::Result<Option<Val>> {
    if run.host.is_none() {
        return Err(wasmtime::Error::msg("nothing may be called before the run"));
    }
    let refused = |run: &Run, err: AskError| match run.watch.check() {
        // A run that is over receives no further answers.
        Some(_) => Err(wasmtime::Error::msg("the run is over")),
        None => Ok(function.fails().then(|| values::failed(&err))),
    };
    let request = match (&run.interface, values::raw(function, params)) {
        (Some(interface), Ok(raw)) => function.request(raw, Context { interface }),
        (None, Ok(_)) => Err("not while the hook is loaded".to_owned()),
        (_, Err(why)) => Err(why),
    };
    let ask = match request {
        Ok(Request::Now) => {
            let now = limits::since_boot() + run.skipped;
            return Ok(Some(Val::Float64(
                Duration::from_micros(u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
                    .as_secs_f64()
                    * 1e3,
            )));
        }
        Ok(Request::Wall) => {
            return Ok(Some(Val::Float64(
                (limits::wall_clock() + run.skipped).as_secs_f64(),
            )));
        }
        Ok(Request::Ask(ask)) => ask,
        Err(why) => {
            return refused(
                run,
                AskError::Invalid(format!("{}: {why}", function.full_name())),
            );
        }
    };
    let slept = if let Ask::Sleep { ms } = &ask {
        Some((*ms, limits::since_boot()))
    } else {
        None
    };
    let Some(answer) = run.host.as_ref().and_then(|host| host.ask(ask)) else {
        return Err(wasmtime::Error::msg("the run is over"));
    };
    if let Some((ms, began)) = slept {
        // A test's daemon answers at once; the hook's clocks must still show that the time has
        // passed.
        run.skipped +=
            Duration::from_millis(ms).saturating_sub(limits::since_boot().saturating_sub(began));
    }
    match answer {
        carpd::hooks::Answer::Error(err) => {
            if err == AskError::Superseded {
                run.watch.stop(Stop::Superseded);
            }
            refused(run, err)
        }
        answer => Ok(function
            .fails()
            .then(|| values::answer(function.gives, answer))),
    }
}
