//! Host name, kernel parameters, messages, waiting.

use super::super::lower::Shell;
use super::program::KILL;
use super::{Arg, Done, Untranslated, joined, options, program};
use crate::port::ir::{Action, Cond, Expr, LuaPart, Run, Trim};
use crate::port::lower::Lower;

/// `hostname NAME`, `hostname -F FILE`.
pub(super) fn hostname(
    lower: &mut Lower<'_>,
    command: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    let name = match args {
        [option, file] if matches!(option.word(), "-F" | "--file") => Expr::Call(
            "string.match",
            vec![
                Expr::Call("read", vec![file.value.clone()]),
                Expr::Text("%S+".into()),
            ],
        ),
        [name] if !name.word().starts_with('-') => name.value.clone(),
        _ => {
            let run = program(lower, command, args)?;
            return Ok(Done::Actions(vec![Action::Run(run)]));
        }
    };
    Ok(Done::Actions(vec![Action::Hostname(name)]))
}

/// `hostnamectl set-hostname NAME`; only `--transient` leaves /etc/hostname alone, as carpd does.
pub(super) fn hostnamectl(
    lower: &mut Lower<'_>,
    command: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    let transient = |arg: &&Arg| arg.word() == "--transient";
    let rest: Vec<&Arg> = args.iter().filter(|arg| !transient(arg)).collect();
    if let ([verb, name], true) = (rest.as_slice(), rest.len() < args.len())
        && matches!(verb.word(), "set-hostname" | "hostname")
        && !name.word().starts_with('-')
    {
        return Ok(Done::Actions(vec![Action::Hostname(name.value.clone())]));
    }
    Ok(Done::Actions(vec![Action::Run(program(
        lower, command, args,
    )?)]))
}

/// `sysctl -w KEY=VALUE...`.
pub(super) fn sysctl(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    let (flags, rest) = options(args);
    let known = |f: &&str| {
        matches!(
            *f,
            "-w" | "-q" | "-e" | "-qw" | "-wq" | "--write" | "--quiet"
        )
    };
    let split: Option<Vec<(Expr, Expr)>> = rest
        .iter()
        .map(|arg| split_assignment(&arg.value))
        .collect();
    let plain = |key: &Expr| {
        lower.values(key).is_none_or(|all| {
            all.iter()
                .all(|key| key.contains('.') && key.bytes().all(|b| b.is_ascii_graphic()))
        })
    };
    match split {
        Some(all)
            if flags.iter().all(known)
                && !all.is_empty()
                && all.iter().all(|(key, _)| plain(key)) =>
        {
            let one = |(key, value)| Action::Sysctl { key, value };
            Ok(Done::Actions(all.into_iter().map(one).collect()))
        }
        _ => Ok(Done::Actions(vec![Action::Run(program(
            lower, name, args,
        )?)])),
    }
}

/// `command -v PROGRAM` and its like: is it there?
pub(super) fn finds(lower: &mut Lower<'_>, base: &str, args: &[Arg]) -> Result<Done, Untranslated> {
    let (flags, rest) = options(args);
    let asks = match base {
        "command" => matches!(flags.as_slice(), ["-v" | "-V"]),
        "type" => matches!(flags.as_slice(), [] | ["-p" | "-P"]),
        _ => flags.is_empty(),
    };
    if base == "command" && flags.is_empty() {
        let Some((name, args)) = rest.split_first() else {
            return Ok(Done::Nothing(""));
        };
        let name = name
            .text
            .as_deref()
            .ok_or("what is run is not known here")?;
        return super::translate(lower, name, args);
    }
    let ([name], true) = (rest, asks) else {
        return Err(format!("this {base}"));
    };
    let name = name.text.as_deref().ok_or("which program is looked for")?;
    let path = super::program::place(lower, name)?;
    let words = ["-x".to_owned(), path].map(Arg::fixed);
    let run = program(lower, "/usr/bin/test", &words)?;
    Ok(Done::Asks(Cond::Did(vec![Action::Run(run)])))
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
pub(crate) fn parameter(lower: &Lower<'_>, path: &Expr) -> Option<Expr> {
    const PLACE: &str = "/proc/sys/";
    let (first, rest) = match path {
        Expr::Join(parts) => parts.split_first()?,
        path => (path, &[][..]),
    };
    let first = match first {
        Expr::Text(text) => Expr::Text(swapped(text.strip_prefix(PLACE)?)),
        // A loop over such files.
        value if lower.begins(value, PLACE) => named_otherwise(Expr::Trim(Box::new(Trim {
            value: value.clone(),
            op: "#",
            word: PLACE.into(),
            pattern: format!("^{PLACE}(.*)$"),
        }))),
        _ => return None,
    };
    let rest = rest.iter().map(|part| match part {
        Expr::Text(text) => Expr::Text(swapped(text)),
        other
            if lower
                .values(other)
                .is_some_and(|all| all.iter().all(|text| swapped(text) == *text)) =>
        {
            other.clone()
        }
        other => named_otherwise(other.clone()),
    });
    Some(super::join(std::iter::once(first).chain(rest).collect()))
}

/// A part of a path as the name of a parameter has it.
fn named_otherwise(part: Expr) -> Expr {
    let swap = LuaPart::Code("{ [\".\"] = \"/\", [\"/\"] = \".\" }".into());
    Expr::Call(
        "string.gsub",
        vec![part, Expr::Text("[./]".into()), Expr::Lua(vec![swap])],
    )
}

/// A path's slashes are dots in the name of a kernel parameter, and its dots slashes.
pub(crate) fn swapped(text: &str) -> String {
    let swap = |c| match c {
        '/' => '.',
        '.' => '/',
        c => c,
    };
    text.chars().map(swap).collect()
}

/// `logger -t TAG -p FACILITY.LEVEL MESSAGE`: the level, and the message if it has one.
///
/// # Errors
/// An option that changes where the message goes.
pub(crate) fn logger(args: &[Arg]) -> Result<(&'static str, Option<Expr>), Untranslated> {
    let mut level = "info";
    let mut rest = args.iter();
    let mut message = Vec::new();
    while let Some(arg) = rest.next() {
        let word = arg.word();
        if !message.is_empty() || !word.starts_with('-') || word == "-" {
            message.push(arg.clone());
            continue;
        }
        match word {
            "--" => {
                message.extend(rest.by_ref().cloned());
            }
            "-t" | "--tag" | "-it" | "-st" | "-ist" | "-sit" => _ = rest.next(),
            "-i" | "-s" | "-is" | "-si" | "--id" | "--stderr" | "-e" => {}
            "-p" | "--priority" | "-ip" | "-sp" | "-isp" => {
                level = priority(rest.next().map(Arg::word).unwrap_or_default());
            }
            _ if word.starts_with("--priority=") || word.starts_with("-p") => {
                level = priority(word);
            }
            _ if word.starts_with("--tag=")
                || word.starts_with("-t")
                || word.starts_with("--id=") => {}
            _ => return Err(format!("logger {word}")),
        }
    }
    Ok((level, (!message.is_empty()).then(|| joined(&message))))
}

fn priority(given: &str) -> &'static str {
    match given.rsplit(['.', '=']).next().unwrap_or_default() {
        "debug" => "debug",
        "warn" | "warning" => "warn",
        "err" | "error" | "crit" | "alert" | "emerg" | "panic" => "error",
        _ => "info",
    }
}

/// What `echo` writes.
#[derive(Debug)]
pub(crate) struct Echo {
    /// Without the end of line.
    pub(crate) text: Expr,
    /// Does an end of line follow?
    pub(crate) newline: bool,
    /// What it rests on that the script does not say.
    pub(crate) guess: Option<&'static str>,
}

/// What `echo` writes in a script for this shell. `exact`: to the last byte, not for a log.
///
/// # Errors
/// A text that shells write in different ways.
pub(crate) fn echo(args: &[Arg], shell: Shell, exact: bool) -> Result<Echo, Untranslated> {
    let is_flag = |arg: &&Arg| match arg.word() {
        "-n" => true,
        "-e" | "-ne" | "-en" | "-E" => shell != Shell::Dash,
        _ => false,
    };
    let (flags, words) = args.split_at(args.iter().take_while(is_flag).count());
    let newline = !flags.iter().any(|arg| arg.word().contains('n'));
    let escapes = flags.iter().any(|arg| arg.word().contains('e'));
    let mut guess = None;
    if shell == Shell::Some && flags.iter().any(|arg| arg.word() != "-n") {
        if exact {
            return Err("echo with an option that only some shells have".into());
        }
        guess = Some("echo has an option that dash writes and other shells obey: it is obeyed");
    }
    let text = joined(words);
    let parts = match &text {
        Expr::Join(parts) => parts.clone(),
        one => vec![one.clone()],
    };
    let slash = |part: &Expr| matches!(part, Expr::Text(text) if text.contains('\\'));
    let read = escapes || shell != Shell::Bash;
    if !parts.iter().any(slash) || !read {
        return Ok(Echo {
            text,
            newline,
            guess,
        });
    }
    if matches!(shell, Shell::Some | Shell::Other) && !escapes {
        if exact {
            return Err("echo with a backslash, which only some shells read".into());
        }
        guess = Some("echo has a backslash that dash reads and bash does not: it is read");
    }
    if exact && shell == Shell::Some {
        return Err("echo with a backslash, which only some shells read".into());
    }
    let read = |part: Expr| match part {
        Expr::Text(text) => unescaped(&text).map(Expr::Text),
        part => Some(part),
    };
    let parts: Option<Vec<Expr>> = parts.into_iter().map(read).collect();
    let parts = parts.ok_or("this escape of echo")?;
    Ok(Echo {
        text: super::join(parts),
        newline,
        guess,
    })
}

/// The escapes that echo and printf have in common.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('\\') => '\\',
            Some('a') => '\u{7}',
            Some('r') => '\r',
            _ => return None,
        });
    }
    Some(out)
}

/// What `printf` writes; only texts and whole numbers, with their width, and plain escapes are
/// understood.
///
/// # Errors
/// Any other format.
pub(crate) fn printf(args: &[Arg]) -> Result<Expr, Untranslated> {
    let (format, values) = args.split_first().ok_or("printf needs a format")?;
    let format = format
        .text
        .as_deref()
        .ok_or("the format is not known here")?;
    if format.starts_with('-') {
        return Err("printf with an option".into());
    }
    let holes = format.replace("%%", "").matches('%').count();
    if values.len() > holes && holes == 0 {
        return Err("printf with more values than its format has".into());
    }
    let mut values = values.iter();
    let mut parts = Vec::new();
    loop {
        parts.extend(formatted(format, &mut values)?);
        if values.len() == 0 {
            return Ok(super::join(parts));
        }
    }
}

/// `%03d`, `%-10s`: what follows the percent sign, of which this is the first character.
fn field(first: char, rest: &mut std::str::Chars<'_>) -> Result<String, Untranslated> {
    let mut field = format!("%{first}");
    while let Some(last) = field.chars().last() {
        match last {
            's' | 'd' | 'x' | 'X' | 'o' => break,
            '0'..='9' | '-' | '.' if field.len() < 6 => {}
            _ => return Err("this format cannot be translated".into()),
        }
        field.extend(rest.next());
    }
    // Lua counts no further than to 99.
    let widths = field.split(|c: char| !c.is_ascii_digit());
    if widths
        .clone()
        .any(|width| width.trim_start_matches('0').len() > 2)
    {
        return Err("this format cannot be translated".into());
    }
    Ok(field)
}

/// Is it certainly a number?
fn is_decimal(arg: &Arg) -> bool {
    let decimal = |text: &str| text.parse::<i64>().is_ok_and(|n| n.to_string() == text);
    matches!(arg.value, Expr::Sum(_) | Expr::Status) || decimal(arg.word())
}

fn formatted(
    format: &str,
    values: &mut std::slice::Iter<'_, Arg>,
) -> Result<Vec<Expr>, Untranslated> {
    let (mut parts, mut text) = (Vec::new(), String::new());
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => match chars.next() {
                Some('%') => text.push('%'),
                Some('s') => {
                    parts.push(Expr::Text(std::mem::take(&mut text)));
                    parts.extend(values.next().map(|arg| arg.value.clone()));
                }
                Some('d') if values.as_slice().first().is_some_and(is_decimal) => {
                    parts.push(Expr::Text(std::mem::take(&mut text)));
                    parts.extend(values.next().map(|arg| arg.value.clone()));
                }
                Some(first) => {
                    let field = field(first, &mut chars)?;
                    let value = values.next().ok_or("printf without a value")?;
                    let known = field.ends_with('s') || is_decimal(value);
                    let value = if known {
                        value.value.clone()
                    } else {
                        Expr::Call("decimal", vec![value.value.clone()])
                    };
                    parts.push(Expr::Text(std::mem::take(&mut text)));
                    parts.push(Expr::Call("string.format", vec![Expr::Text(field), value]));
                }
                None => return Err("this format cannot be translated".into()),
            },
            '\\' => {
                let next = chars.next().map(|next| format!("\\{next}"));
                let read = next.and_then(|pair| unescaped(&pair));
                text += &read.ok_or("this format cannot be translated")?;
            }
            c => text.push(c),
        }
    }
    parts.push(Expr::Text(text));
    Ok(parts)
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
        None => Expr::Sum(vec![
            LuaPart::Value(Expr::Number(Box::new(arg.value.clone()))),
            LuaPart::Code(" * 1000".into()),
        ]),
    };
    Ok(Done::Actions(vec![Action::Sleep(ms)]))
}

/// `pkill -USR2 ucarp` and the like: hand over.
pub(super) fn signals_ucarp(args: &[Arg]) -> bool {
    let other = |arg: &Arg| {
        arg.word().starts_with('-')
            && !matches!(
                arg.word(),
                "-USR2" | "-SIGUSR2" | "-12" | "-s" | "-x" | "-q"
            )
    };
    if args.iter().any(other) {
        return false;
    }
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

/// `kill [-SIGNAL] PID...`: the program of that name, which takes no jobs of a shell.
pub(super) fn kill(lower: &mut Lower<'_>, args: &[Arg]) -> Result<Run, Untranslated> {
    let plain = |arg: &Arg| match arg.text.as_deref() {
        Some("-l" | "-L" | "-p" | "-q") => false,
        Some(text) => !text.starts_with('%') && !text.is_empty(),
        None => true,
    };
    if !args.iter().all(plain) {
        return Err("this kill".into());
    }
    program(lower, KILL, args)
}
