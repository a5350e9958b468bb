//! Host name, kernel parameters, messages, waiting.

use super::{Arg, Done, Untranslated, joined, options, program};
use crate::port::ir::{Action, Expr, LuaPart};
use crate::port::lower::Lower;

/// `hostname NAME`, `hostname -F FILE`.
pub(super) fn hostname(args: &[Arg]) -> Result<Done, Untranslated> {
    let name = match args {
        [option, file] if matches!(option.word(), "-F" | "--file") => Expr::Call(
            "string.match",
            vec![
                Expr::Call("read", vec![file.value.clone()]),
                Expr::Text("%S+".into()),
            ],
        ),
        [option, name] if option.word() == "-b" => name.value.clone(),
        [name] if !name.word().starts_with('-') => name.value.clone(),
        _ => return Err("what it shows goes nowhere".into()),
    };
    Ok(Done::Actions(vec![Action::Hostname(name)]))
}

/// `hostnamectl set-hostname NAME`; only `--transient` leaves /etc/hostname alone, as carpd does.
pub(super) fn hostnamectl(
    lower: &mut Lower<'_>,
    command: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    let words: Vec<&str> = args.iter().map(Arg::word).collect();
    if words.contains(&"--transient")
        && let Some(name) = args.iter().rfind(|arg| !arg.word().starts_with('-'))
        && words
            .iter()
            .any(|word| matches!(*word, "set-hostname" | "hostname"))
    {
        return Ok(Done::Actions(vec![Action::Hostname(name.value.clone())]));
    }
    Ok(Done::Actions(vec![Action::Run(program(
        lower, command, args,
    )?)]))
}

/// `sysctl -w KEY=VALUE...`.
pub(super) fn sysctl(args: &[Arg]) -> Result<Done, Untranslated> {
    let (flags, rest) = options(args);
    if flags.iter().any(|f| {
        !matches!(
            *f,
            "-w" | "-q" | "-e" | "-qw" | "-wq" | "--write" | "--quiet"
        )
    }) || rest.is_empty()
    {
        return Err("only `sysctl KEY=VALUE` can be translated".into());
    }
    let mut actions = Vec::new();
    for arg in rest {
        let split = split_assignment(&arg.value);
        let Some((key, value)) = split else {
            return Err("only `sysctl KEY=VALUE` can be translated".into());
        };
        actions.push(Action::Sysctl { key, value });
    }
    Ok(Done::Actions(actions))
}

/// Splits at the first `=` that stands in fixed text.
fn split_assignment(value: &Expr) -> Option<(Expr, Expr)> {
    let parts = if let Expr::Join(parts) = value {
        parts.clone()
    } else {
        vec![value.clone()]
    };
    let at = parts
        .iter()
        .position(|part| matches!(part, Expr::Text(text) if text.contains('=')))?;
    let (before, rest) = parts.split_at(at);
    let (Expr::Text(middle), after) = rest.split_first()? else {
        return None;
    };
    let (key, value) = middle.split_once('=')?;
    let key = before
        .iter()
        .cloned()
        .chain([Expr::Text(key.to_owned())])
        .collect();
    let value = std::iter::once(Expr::Text(value.to_owned()))
        .chain(after.iter().cloned())
        .collect();
    // Slashes and dots change places when a key is written with slashes.
    let key = match super::join(key) {
        Expr::Text(text) if text.contains('/') && !text.contains('.') => {
            Expr::Text(text.replace('/', "."))
        }
        key => key,
    };
    Some((key, super::join(value)))
}

/// The parameter that a path below /proc/sys stands for: a dot in a name is written as a slash, as
/// by sysctl(8).
pub(crate) fn parameter(path: &Expr) -> Option<Expr> {
    let swap = |text: &str| {
        text.chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect::<String>()
    };
    match path {
        Expr::Text(text) => text
            .strip_prefix("/proc/sys/")
            .map(|key| Expr::Text(swap(key))),
        Expr::Join(parts) => {
            let (Expr::Text(first), rest) = parts.split_first()? else {
                return None;
            };
            let first = Expr::Text(swap(first.strip_prefix("/proc/sys/")?));
            let rest = rest.iter().map(|part| match part {
                Expr::Text(text) => Expr::Text(swap(text)),
                other => Expr::Call(
                    "string.gsub",
                    vec![
                        other.clone(),
                        Expr::Text("%.".into()),
                        Expr::Text("/".into()),
                    ],
                ),
            });
            Some(super::join(std::iter::once(first).chain(rest).collect()))
        }
        _ => None,
    }
}

/// `logger -t TAG -p FACILITY.LEVEL MESSAGE`.
pub(super) fn logger(args: &[Arg]) -> Result<Done, Untranslated> {
    let mut level = "info";
    let mut rest = args.iter();
    let mut message = Vec::new();
    while let Some(arg) = rest.next() {
        match arg.word() {
            "-t" | "--tag" | "-f" | "-n" | "-P" | "-u" => {
                rest.next();
            }
            "-p" | "--priority" => {
                level = match rest
                    .next()
                    .map(Arg::word)
                    .unwrap_or_default()
                    .rsplit('.')
                    .next()
                    .unwrap_or_default()
                {
                    "debug" => "debug",
                    "warn" | "warning" => "warn",
                    "err" | "error" | "crit" | "alert" | "emerg" | "panic" => "error",
                    _ => "info",
                };
            }
            word if word.starts_with('-') && message.is_empty() => {}
            _ => message.push(arg.clone()),
        }
    }
    if message.is_empty() {
        return Err("the message comes from its input".into());
    }
    Ok(Done::Actions(vec![Action::Log {
        level,
        message: joined(&message),
    }]))
}

/// What `echo` writes, without the end of line.
pub(crate) fn echo(args: &[Arg]) -> Result<Expr, Untranslated> {
    let count = args
        .iter()
        .take_while(|arg| matches!(arg.word(), "-n" | "-e" | "-ne" | "-en" | "-E"))
        .count();
    let (flags, words) = args.split_at(count);
    let escapes = flags.iter().any(|arg| arg.word().contains('e'));
    if escapes
        && words
            .iter()
            .any(|arg| arg.text.as_deref().is_none_or(|text| text.contains('\\')))
    {
        return Err("echo -e with escapes".into());
    }
    Ok(joined(words))
}

/// What `printf` writes; only `%s`, `%d`, `\n` and `\t` are understood.
pub(crate) fn printf(args: &[Arg]) -> Result<Expr, Untranslated> {
    let (format, values) = args.split_first().ok_or("printf needs a format")?;
    let format = format
        .text
        .as_deref()
        .ok_or("the format is not known here")?;
    let mut values = values.iter();
    let (mut parts, mut text) = (Vec::new(), String::new());
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match (
            c,
            if "%\\".contains(c) {
                chars.next()
            } else {
                None
            },
        ) {
            ('%', Some('s' | 'd')) => {
                parts.push(Expr::Text(std::mem::take(&mut text)));
                parts.extend(values.next().map(|arg| arg.value.clone()));
            }
            ('%', Some('%')) => text.push('%'),
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some('t')) => text.push('\t'),
            ('\\', Some('\\')) => text.push('\\'),
            ('%' | '\\', _) => return Err("this format cannot be translated".into()),
            (c, _) => text.push(c),
        }
    }
    if values.next().is_some() {
        return Err("printf goes over its format more than once".into());
    }
    parts.push(Expr::Text(text));
    Ok(super::join(parts))
}

/// `sleep SECONDS`, also with a fraction or a unit.
pub(super) fn sleep(args: &[Arg]) -> Result<Done, Untranslated> {
    let [arg] = args else {
        return Err("sleep needs one time".into());
    };
    let ms = match &arg.text {
        Some(text) => {
            let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
            let factor = match unit {
                "" | "s" => 1000.0,
                "m" => 60_000.0,
                _ => return Err(format!("{text} is no time")),
            };
            let ms = number
                .parse::<f64>()
                .map_err(|_| format!("{text} is no time"))?
                * factor;
            Expr::Text(format!("{ms:.0}"))
        }
        None => Expr::Lua(vec![
            LuaPart::Code("(tonumber(".into()),
            LuaPart::Value(arg.value.clone()),
            LuaPart::Code(") or 0) * 1000".into()),
        ]),
    };
    Ok(Done::Actions(vec![Action::Sleep(ms)]))
}

/// `pkill -USR2 ucarp` and the like: hand over.
pub(super) fn signals_ucarp(args: &[Arg]) -> bool {
    let usr2 = args.iter().any(|arg| {
        matches!(
            arg.word(),
            "-USR2" | "-SIGUSR2" | "-12" | "USR2" | "SIGUSR2"
        )
    });
    usr2 && args.iter().any(|arg| {
        arg.word() == "ucarp"
            || matches!(&arg.value, Expr::Output(run) if run.argv.iter().any(|a| a == "ucarp"))
    })
}
