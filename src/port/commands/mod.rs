//! The commands that scripts use, one file for each family: from arguments to actions.

mod address;
mod announce;
mod files;
mod http;
mod ip;
mod netmask;
mod program;
mod route;
mod service;
mod system;
mod test;

pub(crate) use http::answer;
pub(crate) use program::{KILL, program};
pub(crate) use system::{Echo, echo, logger, parameter, printf, swapped};
pub(crate) use test::condition;

use super::ir::{Action, Cond, Expr};
use super::lower::{LOCK, Lower};

/// One argument: its value, and its text where there is only one that it can be.
#[derive(Debug, Clone)]
pub(crate) struct Arg {
    /// The value.
    pub(crate) value: Expr,
    /// Its text, if fixed.
    pub(crate) text: Option<String>,
    /// Does it stand without quotes, so that it may be empty or several words?
    pub(crate) split: bool,
}

impl Arg {
    /// One that is always this text.
    pub(crate) fn fixed(text: String) -> Self {
        Self {
            value: Expr::Text(text.clone()),
            text: Some(text),
            split: false,
        }
    }

    /// The text, or nothing that any keyword could be.
    pub(crate) fn word(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }
}

/// What a command comes down to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once")]
pub(crate) enum Done {
    /// These, in order.
    Actions(Vec<Action>),
    /// A question.
    Asks(Cond),
    /// Nothing that a hook needs; why, for the reader. Empty if nobody would miss it.
    Nothing(&'static str),
}

/// Why a command cannot be translated.
pub(crate) type Untranslated = String;

/// Translates one simple command: its name and its arguments.
///
/// # Errors
/// Why it cannot be.
pub(crate) fn translate(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    let base = name.rsplit('/').next().unwrap_or(name);
    let one = |action| Ok(Done::Actions(vec![action]));
    if let Some(script) = name
        .strip_prefix("/etc/init.d/")
        .or_else(|| name.strip_prefix("/etc/rc.d/init.d/"))
    {
        return service::act(lower, name, script, args);
    }
    match base {
        ":" | "true" => Ok(Done::Asks(Cond::Const(true))),
        "false" => Ok(Done::Asks(Cond::Const(false))),
        "[" | "test" => condition(lower, args, false).map(Done::Asks),
        "ip" => ip::translate(lower, name, args),
        "ifconfig" => address::ifconfig(lower, name, args),
        "ifup" | "ifdown" => address::alias(lower, base == "ifup", args),
        "arping" | "send_arp" | "arpsend" | "send_arp.linux" | "ndsend" => {
            announce::translate(lower, name, args)
        }
        "route" => route::translate(lower, name, args),
        "hostname" => system::hostname(lower, name, args),
        "hostnamectl" => system::hostnamectl(lower, name, args),
        "service" | "invoke-rc.d" | "rc-service" => service::service(lower, name, args),
        "systemctl" => service::systemctl(lower, name, args),
        "initctl" | "start" | "stop" | "restart" if base == "initctl" || name == base => {
            service::upstart(base, args)
        }
        "sysctl" => system::sysctl(lower, name, args),
        "logger" => match logger(args)? {
            (level, Some(message)) => one(Action::Log { level, message }),
            (_, None) => Err("the message comes from its input".into()),
        },
        "echo" => one(Action::Log {
            level: "info",
            message: lower.echo(args, false)?.text,
        }),
        "printf" => one(Action::Log {
            level: "info",
            message: printf(args)?,
        }),
        _ if name == base && message(base, args).is_some() => {
            Ok(message(base, args).unwrap_or(Done::Nothing("")))
        }
        "sleep" => system::sleep(args),
        "sync" | "clear" | "wait" if args.is_empty() => Ok(Done::Nothing("")),
        "touch" => files::touch(lower, name, args),
        "rm" | "unlink" => files::remove(lower, name, args),
        "cp" | "mv" | "ln" | "mkdir" | "rmdir" | "chmod" | "chown" | "chgrp" | "install" => {
            files::program(lower, name, args)
        }
        "kill" | "pkill" | "killall" if system::signals_ucarp(args) => one(Action::Resign),
        "kill" => one(Action::Run(system::kill(lower, args)?)),
        "cd" if matches!(args, [to] if lower.is_no_move(to)) => Ok(Done::Nothing("")),
        "flock" if is_of_descriptor(args) => {
            lower.differs(LOCK);
            Ok(Done::Asks(Cond::Const(true)))
        }
        "command" | "type" | "which" | "hash" => system::finds(lower, base, args),
        "sudo" | "nohup" => inner(lower, base, args),
        "curl" | "wget" => http::translate(lower, name, args),
        "shift" | "set" | "export" | "local" | "readonly" | "unset" | "umask" | "exit"
        | "return" | "break" | "continue" | "builtin" | "pwd" | "cd" | "read" | "eval" | "trap"
        | "exec" | "source" | "." | "ulimit" | "wait" | "let" | "getopts" | "declare"
        | "typeset" | "alias" | "select" | "time" | "tee" | "xargs" | "bg" | "fg" | "jobs"
        | "coproc" | "mapfile" | "readarray" | "disown" | "times" | "shopt" | "enable" | "help"
        | "history" | "pushd" | "popd" | "dirs" | "suspend" | "logout" | "caller" | "complete"
        | "bind" | "unalias" | "[[" => Err(format!("there is no counterpart to {base} in a hook")),
        _ => one(Action::Run(program(lower, name, args)?)),
    }
}

/// `flock -n 9`: of a file that the script has open itself.
fn is_of_descriptor(args: &[Arg]) -> bool {
    let number = |arg: &Arg| arg.word().parse::<u32>().is_ok();
    let option = |arg: &Arg| arg.word().starts_with('-') || number(arg);
    args.last().is_some_and(number) && args.iter().all(option)
}

/// A message by a function of an init system's library: LSB's, Red Hat's, OpenRC's.
fn message(name: &str, args: &[Arg]) -> Option<Done> {
    let level = match name {
        "log_daemon_msg"
        | "log_action_msg"
        | "log_action_begin_msg"
        | "log_begin_msg"
        | "log_success_msg"
        | "einfo"
        | "ebegin" => "info",
        "log_warning_msg" | "ewarn" => "warn",
        "log_failure_msg" | "eerror" => "error",
        // The end of the line that another one began.
        "log_progress_msg"
        | "log_end_msg"
        | "log_action_end_msg"
        | "log_action_cont_msg"
        | "eend" => {
            return Some(Done::Nothing(""));
        }
        _ => return None,
    };
    let message = joined(args);
    Some(Done::Actions(vec![Action::Log { level, message }]))
}

/// What `sudo` or `nohup` runs: a hook's work is done with the rights that it needs anyway.
fn inner(lower: &mut Lower<'_>, base: &str, args: &[Arg]) -> Result<Done, Untranslated> {
    let count = args
        .iter()
        .take_while(|arg| base == "sudo" && matches!(arg.word(), "-n" | "-E" | "-H" | "--"))
        .count();
    let rest = args.get(count..).unwrap_or_default();
    match rest.split_first() {
        Some((name, args)) if !name.word().starts_with('-') => match &name.text {
            Some(name) if !name.contains('=') => translate(lower, name, args),
            _ => Err(format!("what {base} runs is not known here")),
        },
        // As another user: that is the work of sudo.
        _ => Ok(Done::Actions(vec![Action::Run(program(
            lower, base, args,
        )?)])),
    }
}

/// Takes the options off the front: all that begins with `-`, as their texts.
pub(crate) fn options(args: &[Arg]) -> (Vec<&str>, &[Arg]) {
    let count = args
        .iter()
        .take_while(|arg| arg.word().starts_with('-') && arg.word().len() > 1)
        .count();
    let (options, rest) = args.split_at(count);
    (options.iter().map(Arg::word).collect(), rest)
}

/// Joins arguments by blanks, as `echo` does.
pub(crate) fn joined(args: &[Arg]) -> Expr {
    let mut parts = Vec::new();
    for (index, arg) in args.iter().enumerate() {
        if index > 0 {
            parts.push(Expr::Text(" ".into()));
        }
        parts.push(arg.value.clone());
    }
    join(parts)
}

/// Puts values together; neighbouring texts become one.
pub(crate) fn join(parts: Vec<Expr>) -> Expr {
    let mut flat: Vec<Expr> = Vec::new();
    let inner = parts.into_iter().flat_map(|part| {
        if let Expr::Join(parts) = part {
            parts
        } else {
            vec![part]
        }
    });
    for part in inner {
        match (flat.last_mut(), part) {
            (Some(Expr::Text(before)), Expr::Text(text)) => *before += &text,
            (_, Expr::Text(text)) if text.is_empty() => {}
            (_, part) => flat.push(part),
        }
    }
    match flat.len() {
        0 => Expr::Text(String::new()),
        1 => flat.remove(0),
        _ => Expr::Join(flat),
    }
}
