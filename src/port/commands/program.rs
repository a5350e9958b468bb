//! Programs that the API has no function for: a command line with holes, to be granted.

use std::path::Path;

use super::{Arg, Untranslated};
use crate::port::ir::{Expr, Run};
use crate::port::lower::Lower;

/// Where programs are looked for, as service(8) has it.
const PATH: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The command line of a program of its own.
///
/// # Errors
/// An argument that cannot stand in a hole, or a name that is no program's.
pub(crate) fn program(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Run, Untranslated> {
    if name.contains('/') && !name.starts_with('/') {
        return Err(format!("{name} has no absolute path"));
    }
    if name.is_empty() || name.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(format!("{name:?} is no program"));
    }
    let mut line = environment(lower);
    line.push(located(lower, name));
    let mut holes: Vec<(String, Expr)> = Vec::new();
    for arg in args {
        match &arg.text {
            Some(text) if !(text.starts_with('{') && text.ends_with('}')) => {
                line.push(text.clone());
            }
            Some(text) => return Err(format!("{text:?} would be taken for a hole")),
            None => {
                let (base, kind) = hole(lower, &arg.value, holes.len())?;
                let fits = |name: &String| {
                    holes
                        .iter()
                        .all(|(known, value)| known != name || *value == arg.value)
                };
                let numbered = (2..=args.len() + 1).map(|n| format!("{base}{n}"));
                let name = std::iter::once(base.clone())
                    .chain(numbered)
                    .find(fits)
                    .unwrap_or_default();
                line.push(format!("{{{name}:{kind}}}"));
                if !holes.iter().any(|(known, _)| *known == name) {
                    holes.push((name, arg.value.clone()));
                }
            }
        }
    }
    let name = lower.command_name(&line);
    Ok(Run {
        name,
        argv: line,
        holes,
        must: lower.is_strict(),
    })
}

/// `env NAME=VALUE` before the program, for what the script exports.
fn environment(lower: &Lower<'_>) -> Vec<String> {
    let given = lower.environment();
    if given.is_empty() {
        return Vec::new();
    }
    std::iter::once("/usr/bin/env".to_owned())
        .chain(given.iter().map(|(name, value)| format!("{name}={value}")))
        .collect()
}

/// Where a program is, or would be.
pub(super) fn place(lower: &mut Lower<'_>, name: &str) -> Result<String, Untranslated> {
    if name.is_empty() || (name.contains('/') && !name.starts_with('/')) {
        return Err(format!("{name:?} is no program"));
    }
    Ok(located(lower, name))
}

fn located(lower: &mut Lower<'_>, name: &str) -> String {
    if name.starts_with('/') {
        return name.to_owned();
    }
    let own = lower.path().iter().map(String::as_str);
    let found = own
        .chain(PATH.iter().copied())
        .map(|directory| format!("{}/{name}", directory.trim_end_matches('/')))
        .find(|path| Path::new(path).exists());
    found.unwrap_or_else(|| {
        lower.guess(format!(
            "{name} is not on this machine: /usr/sbin/{name} is a guess, correct it in the grants"
        ));
        format!("/usr/sbin/{name}")
    })
}

/// A hole's name and type.
fn hole(
    lower: &Lower<'_>,
    value: &Expr,
    number: usize,
) -> Result<(String, &'static str), Untranslated> {
    Ok(match value {
        Expr::Dev => ("interface".into(), "dev"),
        Expr::Vip => ("address".into(), "ip"),
        Expr::Cidr => ("cidr".into(), "cidr"),
        Expr::Xparam => ("xparam".into(), "word"),
        Expr::Var(name) | Expr::Outside(name) => (name.to_lowercase(), kind(lower, value)?),
        Expr::Join(parts) => match parts.as_slice() {
            [Expr::Vip, Expr::Text(prefix)] if prefix.starts_with('/') => ("cidr".into(), "cidr"),
            [Expr::Text(text), ..] if text.starts_with('-') => {
                return Err(
                    "an option with a value in it cannot be granted: a hole must be a whole argument without a leading dash"
                        .into(),
                );
            }
            parts => {
                // A part that no hole takes would only fail when it runs.
                let fits = |part: &Expr| match part {
                    Expr::Text(text) => crate::effect::Hole::Word.takes(&format!("x{text}")),
                    _ => true,
                };
                if !parts.iter().all(fits) {
                    return Err("an argument with blanks or other signs fits no hole".into());
                }
                (format!("arg{}", number + 1), kind(lower, value)?)
            }
        },
        _ => (format!("arg{}", number + 1), kind(lower, value)?),
    })
}

fn kind(lower: &Lower<'_>, value: &Expr) -> Result<&'static str, Untranslated> {
    let Some(values) = lower.values(value) else {
        return Ok("word");
    };
    let fits = |hole: crate::effect::Hole| values.iter().all(|text| hole.takes(text));
    if fits(crate::effect::Hole::Word) {
        Ok("word")
    } else {
        Err("an argument with blanks or other signs fits no hole".into())
    }
}
