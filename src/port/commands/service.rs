//! Starting and stopping services: `service`, init scripts, `systemctl`.

use super::{Arg, Done, Untranslated, options, program};
use crate::port::ir::{Action, Cond, Expr};
use crate::port::lower::Lower;

/// `/etc/init.d/X VERB`.
pub(super) fn act(
    lower: &mut Lower<'_>,
    name: &str,
    script: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.@".contains(c);
    if let [verb] = args
        && script.chars().all(plain)
        && let Some(done) = one(verb.word(), Expr::Text(script.to_owned()))
    {
        return Ok(done);
    }
    Ok(Done::Actions(vec![Action::Run(program(
        lower, name, args,
    )?)]))
}

fn one(verb: &str, unit: Expr) -> Option<Done> {
    let verb = match verb {
        "start" => "start",
        "stop" => "stop",
        "restart" => "restart",
        "reload" => "reload",
        "status" | "is-active" => return Some(Done::Asks(Cond::Active(unit))),
        _ => return None,
    };
    Some(Done::Actions(vec![Action::Service { verb, unit }]))
}

/// `service X VERB`.
pub(super) fn service(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    if let [unit, verb] = args
        && !unit.word().starts_with('-')
        && verb.word() != "is-active"
        && let Some(done) = one(verb.word(), unit.value.clone())
    {
        return Ok(done);
    }
    Ok(Done::Actions(vec![Action::Run(program(
        lower, name, args,
    )?)]))
}

/// `systemctl VERB UNIT...`.
pub(super) fn systemctl(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    let (flags, rest) = options(args);
    let quiet = |word: &str| matches!(word, "--quiet" | "-q" | "--no-pager");
    // It may stand behind the verb as well.
    let rest: Vec<&Arg> = rest.iter().filter(|arg| !quiet(arg.word())).collect();
    if let Some((verb, units)) = rest.split_first()
        && !units.is_empty()
        && units.iter().all(|unit| !unit.word().starts_with('-'))
        && flags.iter().all(|flag| quiet(flag))
    {
        let mut actions = Vec::new();
        for unit in units {
            match one(verb.word(), unit.value.clone()) {
                Some(Done::Actions(mut action)) => actions.append(&mut action),
                Some(asks) if units.len() == 1 => return Ok(asks),
                _ => {
                    return Ok(Done::Actions(vec![Action::Run(program(
                        lower, name, args,
                    )?)]));
                }
            }
        }
        return Ok(Done::Actions(actions));
    }
    Ok(Done::Actions(vec![Action::Run(program(
        lower, name, args,
    )?)]))
}

/// Upstart: `initctl start X`, `start X`.
pub(super) fn upstart(base: &str, args: &[Arg]) -> Result<Done, Untranslated> {
    let (verb, unit) = match (base, args) {
        ("initctl", [verb, unit]) => (verb.word(), unit),
        (verb, [unit]) => (verb, unit),
        _ => return Err("only `initctl VERB NAME` can be translated".into()),
    };
    one(verb, unit.value.clone()).ok_or_else(|| format!("a service cannot be told to {verb:?}"))
}
