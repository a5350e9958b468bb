//! Redirections: what is written to files, to the kernel, to a log.

use std::collections::HashSet;

use super::super::commands::{self, Arg, Done, join};
use super::super::ir::{Action, Expr};
use super::super::shell::{Item, Kind, Piece, Redirect, Word};
use super::feed::Input;
use super::{Lower, Lowered};

/// Where a command's output goes.
struct Output {
    path: Expr,
    append: bool,
}

/// Commands that a file's name is given to, and that do not use what is in it.
const BY_NAME: [&str; 12] = [
    "tee", "rm", "touch", "chmod", "chown", "chgrp", "test", "[", "echo", "printf", "logger",
    "mkdir",
];

impl Lower<'_> {
    /// Finds the files that look like logs and are read, moved or copied again: what is written
    /// there has to be there.
    pub(super) fn find_data(&mut self, items: &[Item]) {
        let mut found = HashSet::new();
        self.data_in(items, &mut found);
        self.data = found;
    }

    fn data_in(&self, items: &[Item], found: &mut HashSet<String>) {
        let rest = items.iter().flat_map(|item| &item.rest);
        let pipelines = items
            .iter()
            .map(|item| &item.first)
            .chain(rest.map(|(_, p)| p));
        for command in pipelines.flat_map(|pipeline| &pipeline.commands) {
            for list in command.kind.lists() {
                self.data_in(list, found);
            }
            let read = command.redirects.iter().filter(|it| it.op == "<");
            let mut words: Vec<&Word> = read.map(|it| &it.target).collect();
            if let Kind::Simple {
                words: all,
                assigns,
            } = &command.kind
            {
                let name = all.first().and_then(Word::literal).unwrap_or_default();
                let base = name.rsplit('/').next().unwrap_or_default();
                if !BY_NAME.contains(&base) {
                    words.extend(all.iter().skip(1));
                }
                let inside = all.iter().chain(assigns.iter().map(|(_, word)| word));
                for piece in inside.flat_map(|word| &word.0) {
                    if let Piece::Command { items, .. } = piece {
                        self.data_in(items, found);
                    }
                }
            }
            for word in words {
                let values = self.scope.texts(word, self.settings);
                found.extend(values.known.into_iter().filter(|path| is_log(path)));
            }
        }
    }

    /// Is it a log file, as which `echo` and `tee` know it?
    pub(super) fn is_log_of(&self, path: &Expr) -> bool {
        self.fixed(path)
            .is_some_and(|path| self.is_log(&path) || is_screen(&path))
    }

    /// Writes a text to a file.
    pub(super) fn write_text(&mut self, path: Expr, append: bool, text: Expr) -> Lowered<Done> {
        self.write(Output { path, append }, text)
    }

    /// Is it a file that nobody but a reader of logs reads?
    fn is_log(&self, path: &str) -> bool {
        is_log(path) && !self.data.contains(path)
    }

    /// Does it only say where messages go? Those of a hook go to carpd's log.
    pub(super) fn is_harmless(&mut self, redirect: &Redirect) -> bool {
        let target = redirect.target.literal();
        match (redirect.op.as_str(), redirect.fd) {
            ("<", None | Some(0)) => target.is_some_and(|file| file == "/dev/null"),
            (">&" | "<&", None | Some(0..=2)) if target.as_deref().is_some_and(is_descriptor) => {
                true
            }
            (">&" | ">" | ">>" | ">|" | "&>" | "&>>", None | Some(1 | 2)) => {
                let path = self.word(&redirect.target).ok();
                path.and_then(|path| self.fixed(&path))
                    .is_some_and(|path| is_screen(&path) || self.is_log(&path))
            }
            _ => false,
        }
    }

    /// Does all that this command says go to the log, so that dates may be left out?
    pub(super) fn is_for_the_log(&mut self, words: &[Word], redirects: &[Redirect]) -> bool {
        let name = words.first().and_then(Word::literal).unwrap_or_default();
        matches!(
            name.as_str(),
            "echo" | "printf" | "logger" | "/usr/bin/logger"
        ) && redirects.iter().all(|redirect| self.is_harmless(redirect))
    }

    /// A command with its redirections.
    pub(super) fn simple(
        &mut self,
        name: &str,
        args: &[Arg],
        redirects: &[Redirect],
    ) -> Lowered<Done> {
        let (mut output, mut input, mut both) = (None, None, false);
        for redirect in redirects {
            let target = redirect.target.literal();
            match (redirect.op.as_str(), redirect.fd) {
                ("<<" | "<<<", None | Some(0)) => input = Some(Input::Text(self.here(redirect)?)),
                (">&" | "<&", None | Some(0..=2))
                    if target.as_deref().is_some_and(is_descriptor) =>
                {
                    both |= redirect.fd == Some(2);
                }
                ("<", None | Some(0)) if target.as_deref() == Some("/dev/null") => {}
                ("<", None | Some(0)) if name == "cat" && args.is_empty() => {
                    input = Some(Input::Text(self.content(&redirect.target)?));
                }
                ("<", None | Some(0)) => {
                    let path = self.word(&redirect.target)?;
                    input = Some(Input::File(self.path_from_there(path)));
                }
                (">" | ">>" | ">|", Some(2)) => {
                    if !self.is_harmless(redirect) {
                        return Err("messages that go to a file".into());
                    }
                }
                (">" | ">>" | ">|" | "&>" | "&>>" | ">&", None | Some(1)) => {
                    if redirect.op.contains('&') {
                        self.of_bash(&redirect.op);
                        both = true;
                    }
                    if output.is_some() {
                        return Err("two files for one command".into());
                    }
                    let path = self.word(&redirect.target)?;
                    let append = redirect.op.ends_with(">>");
                    output = Some(Output { path, append });
                }
                _ => return Err("this redirection".into()),
            }
        }
        let to = output.as_ref().and_then(|output| self.fixed(&output.path));
        let discarded = to.as_deref() == Some("/dev/null");
        let output = output.filter(|_| !discarded);
        let base = name.rsplit('/').next().unwrap_or(name);
        match (base, output, input) {
            ("cat", Some(output), Some(Input::Text(content))) if args.is_empty() => {
                self.write(output, content)
            }
            ("cat", None, Some(Input::Text(content))) if args.is_empty() => {
                Ok(Done::Actions(vec![Action::Log {
                    level: "info",
                    message: without_newline(content),
                }]))
            }
            ("logger", None, Some(input)) => match commands::logger(args)? {
                (level, None) => {
                    let message = match input {
                        Input::Text(text) => without_newline(text),
                        Input::File(path) => Expr::Call("read", vec![path]),
                    };
                    Ok(Done::Actions(vec![Action::Log { level, message }]))
                }
                _ => Err("logger with a message does not read".into()),
            },
            (_, None, Some(input)) => {
                let fed = self.fed(name, args, input)?;
                Ok(Done::Actions(vec![Action::Run(fed)]))
            }
            (_, Some(output), Some(input)) => {
                let fed = self.fed(name, args, input)?;
                self.write(output, Expr::Raw(fed, both))
            }
            ("echo", Some(output), None) => self.echo_into(output, args),
            ("printf", Some(output), None) => self.write(output, commands::printf(args)?),
            ("cat", Some(output), None) if !matches!(args, [one] if one.word().starts_with('-')) => {
                match args {
                    [from] => {
                        let content = self.content_of(from.value.clone())?;
                        self.write(output, content)
                    }
                    _ => Err("several files put together".into()),
                }
            }
            (":" | "true", Some(output), None) => self.write(output, Expr::Text(String::new())),
            ("echo" | "printf", None, None) if discarded => Ok(Done::Nothing("")),
            (_, Some(output), None) => self.captured(name, args, output, both),
            (_, None, None) => commands::translate(self, name, args),
        }
    }

    fn echo_into(&mut self, output: Output, args: &[Arg]) -> Lowered<Done> {
        let exact = !self.is_to_log(&output);
        let text = self.echoed(args, exact)?;
        self.write(output, text)
    }

    /// What `echo` writes, to the last byte if it is not for a log.
    pub(super) fn echoed(&mut self, args: &[Arg], exact: bool) -> Lowered<Expr> {
        let commands::Echo { text, newline, .. } = self.echo(args, exact)?;
        let loose = args
            .iter()
            .any(|arg| arg.split && !self.is_one_word(&arg.value));
        let text = if loose && exact {
            // Unquoted, its blanks become one each.
            let tight = args.iter().all(|arg| {
                arg.split
                    || arg
                        .text
                        .as_deref()
                        .is_some_and(|text| !text.contains("  ") && text.trim() == text)
                    || self.is_one_word(&arg.value)
            });
            if !tight {
                return Err("blanks that are kept beside others that are not".into());
            }
            Expr::Call("squeeze", vec![text])
        } else {
            text
        };
        let end = Expr::Text(if newline { "\n".into() } else { String::new() });
        Ok(join(vec![text, end]))
    }

    fn is_to_log(&self, output: &Output) -> bool {
        self.fixed(&output.path)
            .is_some_and(|path| is_screen(&path) || (output.append && self.is_log(&path)))
    }

    /// What a program says into a file.
    fn captured(&mut self, name: &str, args: &[Arg], output: Output, both: bool) -> Lowered<Done> {
        let to_log = self
            .fixed(&output.path)
            .is_some_and(|path| self.is_log(&path) || is_screen(&path));
        if to_log {
            self.differs("what this writes is not kept");
            return commands::translate(self, name, args);
        }
        let base = name.rsplit('/').next().unwrap_or_default();
        if matches!(
            base,
            "hostname" | "uname" | "date" | "seq" | "basename" | "dirname"
        ) {
            let said = self.output(name, args)?;
            if let Expr::Output(run) = said {
                return self.write(output, Expr::Raw(run, both));
            }
            return self.write(output, join(vec![said, Expr::Text("\n".into())]));
        }
        match commands::translate(self, name, args)? {
            Done::Actions(actions) => {
                if let [Action::Run(run)] = actions.as_slice() {
                    return self.write(output, Expr::Raw(run.clone(), both));
                }
                // When it works, it says nothing.
                self.differs("what this says when it fails is not kept");
                let Done::Actions(mut all) = self.write(output, Expr::Text(String::new()))? else {
                    return Err("what it shows goes to a file".into());
                };
                all.extend(actions);
                Ok(Done::Actions(all))
            }
            Done::Asks(_) | Done::Nothing(_) => Err("what it shows goes to a file".into()),
        }
    }

    pub(super) fn here(&mut self, redirect: &Redirect) -> Lowered<Expr> {
        let text = self.word(&redirect.target)?;
        Ok(if redirect.op == "<<<" {
            join(vec![text, Expr::Text("\n".into())])
        } else {
            text
        })
    }

    /// All that is in a file; nothing if there is none.
    pub(super) fn content(&mut self, word: &Word) -> Lowered<Expr> {
        let path = self.word(word)?;
        self.content_of(path)
    }

    fn content_of(&mut self, path: Expr) -> Lowered<Expr> {
        let path = self.path_from_there(path);
        match self.fixed(&path) {
            Some(text) if !text.starts_with('/') => Err(format!("{text} is no absolute path")),
            Some(text)
                if ["/proc/", "/sys/", "/dev/"]
                    .iter()
                    .any(|at| text.starts_with(at)) =>
            {
                let arg = self.arg(path);
                Ok(Expr::Raw(commands::program(self, "cat", &[arg])?, false))
            }
            _ => Ok(Expr::Content(Box::new(path))),
        }
    }

    fn write(&mut self, output: Output, content: Expr) -> Lowered<Done> {
        let Output { path, append } = output;
        let path = self.path_from_there(path);
        let one = |action| Ok(Done::Actions(vec![action]));
        if let Some(key) = commands::parameter(self, &path) {
            let value = without_newline(content);
            if key == Expr::Text("kernel.hostname".into()) {
                return one(Action::Hostname(value));
            }
            return one(Action::Sysctl { key, value });
        }
        match self.fixed(&path).as_deref() {
            Some(path) if is_screen(path) || (append && self.is_log(path)) => {
                if append {
                    self.differs(format!("what went to {path} goes to carpd's log"));
                }
                one(Action::Log {
                    level: "info",
                    message: without_newline(content),
                })
            }
            _ if let Some(path) = self.in_no_file_system(&path) => {
                Err(format!("a hook cannot write {path}"))
            }
            Some(path) if !path.starts_with('/') => Err(format!("{path} is no absolute path")),
            Some(path) if path.split('/').any(|part| part == "..") => {
                Err(format!("{path} has .. in it"))
            }
            None if !self.is_absolute(&path) => {
                Err("which file it writes is known only when it runs".into())
            }
            _ => one(Action::Write {
                path,
                content,
                append,
            }),
        }
    }

    /// What the path may be where the files are the kernel's: it takes what is written to them as it
    /// comes, and knows no other names.
    fn in_no_file_system(&self, path: &Expr) -> Option<String> {
        let begin = match path {
            Expr::Join(parts) => parts.first().unwrap_or(path),
            path => path,
        };
        let all = self.examples(path).or_else(|| self.examples(begin))?;
        let of_kernel = |path: &String| {
            let mut places = ["/sys/", "/proc/", "/dev/"].iter();
            places.any(|at| path.starts_with(at))
        };
        all.into_iter().find(of_kernel)
    }

    /// Does the path certainly begin with a slash?
    fn is_absolute(&self, path: &Expr) -> bool {
        let first = match path {
            Expr::Join(parts) => parts.first(),
            path => Some(path),
        };
        first.is_some_and(|first| match first {
            Expr::Text(text) => text.starts_with('/'),
            first => self.begins(first, "/"),
        })
    }
}

/// `1`, `2` or `-`.
fn is_descriptor(text: &str) -> bool {
    matches!(text, "0" | "1" | "2" | "-")
}

/// A device on which messages appear, or nothing.
fn is_screen(path: &str) -> bool {
    matches!(
        path,
        "/dev/null" | "/dev/console" | "/dev/stdout" | "/dev/stderr" | "/dev/kmsg"
    ) || path.starts_with("/dev/tty")
        || path.starts_with("/dev/pts/")
        || ["/dev/fd/", "/proc/1/fd/", "/proc/self/fd/"]
            .iter()
            .any(|at| matches!(path.strip_prefix(at), Some("1" | "2")))
}

/// A log file by its name.
fn is_log(path: &str) -> bool {
    path.contains("/log/") || path.contains(".log.") || path.strip_suffix(".log").is_some()
}

pub(super) fn without_newline(content: Expr) -> Expr {
    match content {
        Expr::Text(text) => Expr::Text(text.trim_end_matches('\n').to_owned()),
        Expr::Join(mut parts) => {
            if let Some(Expr::Text(last)) = parts.last_mut() {
                *last = last.trim_end_matches('\n').to_owned();
            }
            join(parts)
        }
        // What came out of a pipe.
        Expr::Call("ended", mut text) if text.len() == 1 => text.remove(0),
        other => other,
    }
}

/// The words that a redirection needs, for the look ahead.
pub(super) fn words(redirects: &[Redirect]) -> impl Iterator<Item = &Word> {
    redirects.iter().map(|redirect| &redirect.target)
}
