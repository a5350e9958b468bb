//! `[ ... ]`, `test`, and `[[ ... ]]` by their words.

use super::{Arg, Untranslated, program};
use crate::port::ir::{Action, Cond, Expr};
use crate::port::lower::Lower;

/// A condition, with `!`, `-a`, `-o`, `&&`, `||` and parentheses.
///
/// # Errors
/// What of it cannot be translated.
pub(crate) fn condition(
    lower: &mut Lower<'_>,
    args: &[Arg],
    extended: bool,
) -> Result<Cond, Untranslated> {
    if !extended && args.iter().any(|arg| arg.word() == "==") {
        lower.of_bash("[ with ==");
    }
    let args = match args.split_last() {
        Some((last, rest)) if last.word() == "]" => rest,
        _ => args,
    };
    either(lower, args)
}

fn either(lower: &mut Lower<'_>, args: &[Arg]) -> Result<Cond, Untranslated> {
    for (words, and) in [(["-o", "||"], false), (["-a", "&&"], true)] {
        if let Some(at) = outside(args, &words) {
            let (left, right) = args.split_at(at);
            let left = Box::new(either(lower, left)?);
            let right = Box::new(either(lower, right.get(1..).unwrap_or_default())?);
            return Ok(if and {
                Cond::And(left, right)
            } else {
                Cond::Or(left, right)
            });
        }
    }
    single(lower, args)
}

/// Where one of these words stands outside of parentheses, with something before it.
fn outside(args: &[Arg], words: &[&str]) -> Option<usize> {
    let mut depth = 0;
    args.iter().enumerate().position(|(index, arg)| {
        match arg.word() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        depth == 0 && index > 0 && words.contains(&arg.word())
    })
}

fn single(lower: &mut Lower<'_>, args: &[Arg]) -> Result<Cond, Untranslated> {
    match args {
        [] => Ok(Cond::Const(false)),
        [not, rest @ ..] if not.word() == "!" && !rest.is_empty() => Ok(single(lower, rest)?.not()),
        [open, inner @ .., close] if open.word() == "(" && close.word() == ")" => {
            either(lower, inner)
        }
        [a] => Ok(Cond::Empty(a.value.clone()).not()),
        // Without quotes an empty value is gone, and what is left is not: [ -n ] is true.
        [operator, a] if matches!(operator.word(), "-n" | "-z") && loose(lower, a) => {
            lower.differs("without quotes this test is true for an empty value, too, and so it is in the hook");
            let several = Cond::Match(a.value.clone(), "%S%s+%S".into()).not();
            Ok(if operator.word() == "-n" {
                several
            } else {
                Cond::Empty(a.value.clone())
            })
        }
        [operator, a] => unary(lower, operator.word(), a),
        [a, operator, b] => {
            let mut cond = binary(lower, operator.word(), a, b)?;
            // Without quotes an empty value is no operand, and the test fails.
            if operator.word() == "!=" {
                for arg in [b, a] {
                    if loose(lower, arg) {
                        let there = Cond::Empty(arg.value.clone()).not();
                        cond = Cond::And(Box::new(there), Box::new(cond));
                    }
                }
            }
            Ok(cond)
        }
        _ => Err("this test cannot be translated".into()),
    }
}

/// May it be empty, or several words, because it stands without quotes?
fn loose(lower: &Lower<'_>, arg: &Arg) -> bool {
    arg.split && !lower.is_one_word(&arg.value)
}

fn unary(lower: &mut Lower<'_>, operator: &str, arg: &Arg) -> Result<Cond, Untranslated> {
    Ok(match operator {
        "-n" => match &arg.value {
            Expr::Text(text) => Cond::Const(!text.is_empty()),
            value => Cond::Empty(value.clone()).not(),
        },
        "-z" => match &arg.value {
            Expr::Text(text) => Cond::Const(text.is_empty()),
            value => Cond::Empty(value.clone()),
        },
        "-f" if is_small(lower, &arg.value) && !lower.has_moved() => Cond::File(arg.value.clone()),
        // What a hook cannot see for itself is asked of test(1).
        "-f" | "-e" | "-d" | "-x" | "-r" | "-w" | "-s" | "-L" | "-h" | "-S" | "-p" | "-b"
        | "-c" => {
            let begins_here = lower
                .fixed(&arg.value)
                .is_some_and(|path| !path.starts_with('/'));
            if begins_here && !lower.has_moved() {
                return Err(
                    "a path that is not absolute: a hook has no directory of its own".into(),
                );
            }
            let operator = Arg::fixed(operator.to_owned());
            Cond::Did(vec![Action::Run(program(
                lower,
                "/usr/bin/test",
                &[operator, arg.clone()],
            )?)])
        }
        _ => return Err(format!("the test {operator} cannot be translated")),
    })
}

/// Is it a file that a hook may as well read: a flag, a state, a setting?
pub(super) fn is_small(lower: &Lower<'_>, path: &Expr) -> bool {
    let places = [
        "/run/",
        "/var/run/",
        "/var/lock/",
        "/tmp/",
        "/var/tmp/",
        "/var/lib/",
        "/etc/",
    ];
    let fits = |path: &str| {
        places.iter().any(|place| path.starts_with(place)) && !path.starts_with("/etc/init.d/")
    };
    match (lower.examples(path), path) {
        (Some(all), _) => all.iter().all(|path| fits(path)),
        (None, Expr::Join(parts)) => {
            matches!(parts.first(), Some(Expr::Text(text)) if fits(text))
        }
        (None, _) => false,
    }
}

fn binary(
    lower: &mut Lower<'_>,
    operator: &str,
    left: &Arg,
    right: &Arg,
) -> Result<Cond, Untranslated> {
    let (a, b) = (left.value.clone(), right.value.clone());
    let number = |operator| Cond::Number(operator, a.clone(), b.clone());
    let zero = a == Expr::Status && right.word() == "0";
    if a == Expr::Status && !zero && !lower.knows_status() {
        return Err("which status it fails with is not known here".into());
    }
    if zero {
        lower.asks_success_only();
    }
    Ok(match operator {
        "=" | "==" | "-eq" | "-le" if zero => Cond::Status,
        "!=" | "-ne" | "-gt" if zero => Cond::Status.not(),
        // A switch of the script's own (`DEBUG=0`) has a fixed value as well, and stays a switch.
        "=" | "==" => match (a, b) {
            (Expr::Text(a), Expr::Text(b)) => Cond::Const(a == b),
            (a, b) => Cond::Equal(a, b),
        },
        "!=" => match (a, b) {
            (Expr::Text(a), Expr::Text(b)) => Cond::Const(a != b),
            (a, b) => Cond::Equal(a, b).not(),
        },
        "-eq" => number("=="),
        "-ne" => number("~="),
        "-lt" => number("<"),
        "-le" => number("<="),
        "-gt" => number(">"),
        "-ge" => number(">="),
        _ => return Err(format!("the test {operator} cannot be translated")),
    })
}
