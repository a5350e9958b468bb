//! Redirections: what is written to files, to the kernel, to a log.

use super::super::commands::{self, Arg, Done, join};
use super::super::ir::{Action, Expr};
use super::super::shell::{Redirect, Word};
use super::{Lower, Lowered};

/// Where a command's output goes.
struct Output {
    path: Expr,
    append: bool,
}

impl Lower<'_> {
    /// Does it only say where messages go? Those of a hook go to carpd's log.
    pub(super) fn is_harmless(&mut self, redirect: &Redirect) -> bool {
        let op = redirect.op.as_str();
        if op.starts_with('<') {
            return redirect
                .target
                .literal()
                .is_some_and(|file| file == "/dev/null")
                && op == "<";
        }
        if op == ">&" || redirect.fd == Some(2) {
            return true;
        }
        let path = self.word(&redirect.target).ok();
        path.and_then(|path| self.scope.constant(&path, self.settings))
            .is_some_and(|path| path.starts_with("/dev/") || is_log(&path))
    }

    /// A command with its redirections.
    pub(super) fn simple(
        &mut self,
        name: &str,
        args: &[Arg],
        redirects: &[Redirect],
    ) -> Lowered<Done> {
        let (mut output, mut input) = (None, None);
        for redirect in redirects {
            match redirect.op.as_str() {
                "<<" | "<<<" => input = Some(self.here(redirect)?),
                "<" if redirect
                    .target
                    .literal()
                    .is_some_and(|file| file == "/dev/null") => {}
                "<" => return Err("input from a file".into()),
                ">&" | "<&" => {}
                _ if redirect.fd == Some(2) => {}
                op => {
                    let path = self.word(&redirect.target)?;
                    output = Some(Output {
                        path,
                        append: op.ends_with(">>"),
                    });
                }
            }
        }
        let base = name.rsplit('/').next().unwrap_or(name).to_owned();
        let discarded = output
            .as_ref()
            .is_some_and(|output| output.path == Expr::Text("/dev/null".into()));
        let output = output.filter(|_| !discarded);
        match (base.as_str(), output, input) {
            ("cat", Some(output), Some(content)) if args.is_empty() => self.write(output, content),
            ("cat", None, Some(content)) if args.is_empty() => {
                Ok(Done::Actions(vec![Action::Log {
                    level: "info",
                    message: content,
                }]))
            }
            (_, _, Some(_)) => Err("input from the script".into()),
            ("echo", Some(output), None) => {
                let newline = if args
                    .first()
                    .is_some_and(|arg| matches!(arg.word(), "-n" | "-ne" | "-en"))
                {
                    ""
                } else {
                    "\n"
                };
                self.write(
                    output,
                    join(vec![commands::echo(args)?, Expr::Text(newline.into())]),
                )
            }
            ("printf", Some(output), None) => self.write(output, commands::printf(args)?),
            (
                "cat",
                Some(Output {
                    path: to,
                    append: false,
                }),
                None,
            ) => match args {
                [from] => Ok(Done::Actions(vec![Action::Copy {
                    from: from.value.clone(),
                    to,
                }])),
                _ => Err("several files put together".into()),
            },
            (":" | "true", Some(output), None) => self.write(output, Expr::Text(String::new())),
            ("echo" | "printf", None, None) if discarded => Ok(Done::Nothing("")),
            (_, Some(output), None) => self.captured(name, args, output),
            (_, None, None) => commands::translate(self, name, args),
        }
    }

    /// What a program says into a file.
    fn captured(&mut self, name: &str, args: &[Arg], output: Output) -> Lowered<Done> {
        let to_log = self
            .scope
            .constant(&output.path, self.settings)
            .is_some_and(|path| is_log(&path) || path.starts_with("/dev/"));
        let done = match name.rsplit('/').next() {
            Some("date" | "hostname" | "ip" | "uname")
                if !to_log && args.first().is_none_or(|arg| arg.word().starts_with('-')) =>
            {
                None
            }
            _ => Some(commands::translate(self, name, args)?),
        };
        match done {
            Some(Done::Actions(actions)) => match actions.as_slice() {
                [Action::Run(run)] if !to_log => self.write(
                    output,
                    join(vec![Expr::Output(run.clone()), Expr::Text("\n".into())]),
                ),
                // What they say when they fail goes to the log; when they work, most say nothing.
                _ => {
                    self.differs("what this writes is not kept");
                    Ok(Done::Actions(actions))
                }
            },
            Some(done @ Done::Asks(_)) => Ok(done),
            _ => Err("what it shows goes to a file".into()),
        }
    }

    fn here(&mut self, redirect: &Redirect) -> Lowered<Expr> {
        let text = self.word(&redirect.target)?;
        Ok(if redirect.op == "<<<" {
            join(vec![text, Expr::Text("\n".into())])
        } else {
            text
        })
    }

    fn write(&mut self, output: Output, content: Expr) -> Lowered<Done> {
        let Output { path, append } = output;
        let one = |action| Ok(Done::Actions(vec![action]));
        if let Some(key) = commands::parameter(&path) {
            let value = without_newline(content);
            if key == Expr::Text("kernel.hostname".into()) {
                return one(Action::Hostname(value));
            }
            return one(Action::Sysctl { key, value });
        }
        let known = self.scope.constant(&path, self.settings);
        match known.as_deref() {
            Some(path) if path.starts_with("/sys/") || path.starts_with("/proc/") => {
                Err(format!("a hook cannot write {path}"))
            }
            Some(path) if path.starts_with("/dev/") || (append && is_log(path)) => {
                if append {
                    self.differs(format!("what went to {path} goes to carpd's log"));
                }
                one(Action::Log {
                    level: "info",
                    message: without_newline(content),
                })
            }
            Some(path) if !path.starts_with('/') => Err(format!("{path} is no absolute path")),
            _ => one(Action::Write {
                path,
                content,
                append,
            }),
        }
    }
}

/// A log file by its name.
fn is_log(path: &str) -> bool {
    path.contains("/log/") || path.contains(".log.") || path.strip_suffix(".log").is_some()
}

fn without_newline(content: Expr) -> Expr {
    match content {
        Expr::Text(text) => Expr::Text(text.trim_end_matches('\n').to_owned()),
        Expr::Join(mut parts) => {
            if let Some(Expr::Text(last)) = parts.last_mut() {
                *last = last.trim_end_matches('\n').to_owned();
            }
            join(parts)
        }
        other => other,
    }
}

/// The words that a redirection needs, for the look ahead.
pub(super) fn words(redirects: &[Redirect]) -> impl Iterator<Item = &Word> {
    redirects.iter().map(|redirect| &redirect.target)
}
