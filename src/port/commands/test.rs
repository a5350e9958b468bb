//! `[ ... ]`, `test`, and `[[ ... ]]` by their words.

use super::{Arg, Untranslated, program};
use crate::port::ir::{Action, Cond, Expr};
use crate::port::lower::Lower;

/// A condition, with `!`, `-a`, `-o`, `&&`, `||` and parentheses.
///
/// # Errors
/// What of it cannot be translated.
pub(crate) fn condition(lower: &mut Lower<'_>, args: &[Arg]) -> Result<Cond, Untranslated> {
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
        [operator, a] => unary(lower, operator.word(), a),
        [a, operator, b] => binary(operator.word(), a, b),
        _ => Err("this test cannot be translated".into()),
    }
}

fn unary(lower: &mut Lower<'_>, operator: &str, arg: &Arg) -> Result<Cond, Untranslated> {
    Ok(match operator {
        "-n" => Cond::Empty(arg.value.clone()).not(),
        "-z" => Cond::Empty(arg.value.clone()),
        "-f" => Cond::File(arg.value.clone()),
        // What a hook cannot see for itself is asked of test(1).
        "-e" | "-d" | "-x" | "-r" | "-w" | "-s" | "-L" | "-h" | "-S" | "-p" | "-b" | "-c" => {
            let operator = Arg {
                value: Expr::Text(operator.to_owned()),
                text: Some(operator.to_owned()),
            };
            Cond::Did(vec![Action::Run(program(
                lower,
                "/usr/bin/test",
                &[operator, arg.clone()],
            )?)])
        }
        _ => return Err(format!("the test {operator} cannot be translated")),
    })
}

fn binary(operator: &str, left: &Arg, right: &Arg) -> Result<Cond, Untranslated> {
    let (a, b) = (left.value.clone(), right.value.clone());
    let number = |operator| Cond::Number(operator, a.clone(), b.clone());
    Ok(match operator {
        "=" | "==" => Cond::Equal(a, b),
        "!=" => Cond::Equal(a, b).not(),
        "-eq" if a == Expr::Status && right.word() == "0" => Cond::Status,
        "-ne" | "-gt" if a == Expr::Status && right.word() == "0" => Cond::Status.not(),
        "-eq" => number("=="),
        "-ne" => number("~="),
        "-lt" => number("<"),
        "-le" => number("<="),
        "-gt" => number(">"),
        "-ge" => number(">="),
        _ => return Err(format!("the test {operator} cannot be translated")),
    })
}
