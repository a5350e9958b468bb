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
    let (mut line, mut holes) = (vec![located(lower, name)], Vec::new());
    for arg in args {
        match &arg.text {
            Some(text) if !(text.starts_with('{') && text.ends_with('}')) => {
                line.push(text.clone());
            }
            Some(text) => return Err(format!("{text:?} would be taken for a hole")),
            None => {
                let (name, kind) = hole(lower, &arg.value, holes.len())?;
                line.push(format!("{{{name}:{kind}}}"));
                if !holes.iter().any(|(n, _)| *n == name) {
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
    })
}

fn located(lower: &mut Lower<'_>, name: &str) -> String {
    if name.starts_with('/') {
        return name.to_owned();
    }
    let found = PATH
        .iter()
        .map(|directory| format!("{directory}/{name}"))
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
            _ => (format!("arg{}", number + 1), kind(lower, value)?),
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
