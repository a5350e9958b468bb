//! The shell's own commands.

use super::super::commands::Arg;
use super::super::ir::{Cond, Expr, Step, What};
use super::super::shell::{Command, Kind, Piece, Redirect, Word};
use super::compound::split_assignment;
use super::{Lower, Lowered, source};

/// What is said of a lock that keeps two runs of a script apart.
pub(crate) const LOCK: &str = "the lock is left out: runs of a hook never overlap";

impl Lower<'_> {
    /// The steps of one of the shell's own commands. `None` if it is not one.
    pub(super) fn builtin(
        &mut self,
        name: &str,
        args: &[Arg],
        words: &[Word],
        command: &Command,
    ) -> Lowered<Option<Vec<Step>>> {
        let own = [
            "set", "export", "local", "readonly", "declare", "typeset", "unset", "umask", "shift",
            "cd", "trap", ".", "source", "break", "continue", "exit", "return",
        ];
        if own.contains(&name) && !self.all_harmless(command) {
            return Err(format!("{name} with a file"));
        }
        let steps = match name {
            "set" => self.options(args)?,
            "export" | "local" | "readonly" | "declare" | "typeset" => {
                self.declared(name, words)?
            }
            "unset" => self.unset(args)?,
            "umask" if matches!(args, [mask] if matches!(mask.word(), "022" | "0022")) => {
                Vec::new()
            }
            "umask" => return Err("a hook has no umask".into()),
            "shift" => self.shift(args)?,
            "cd" => self.change_directory(args)?,
            "trap" => self.trap(args, words)?,
            "exec" => return self.exec(args, words, command).map(Some),
            "." | "source" if matches!(args, [path] if source::is_library(path.word())) => {
                vec![self.step(What::Comment(
                    "the library's messages go to carpd's log".to_owned(),
                ))]
            }
            "." | "source" => {
                return Err(
                    "this file could not be read here: put it beside the script, and port again"
                        .into(),
                );
            }
            "let" => {
                self.of_bash("let");
                let texts: Option<Vec<String>> = words.iter().skip(1).map(Word::literal).collect();
                self.calculations(&texts.ok_or("let with values in it")?.join(","))?
            }
            "break" | "continue" if !args.is_empty() => {
                return Err(format!("{name} over several loops"));
            }
            "break" | "continue" if self.loops == 0 => {
                return Err(format!("{name} outside of a loop of its own"));
            }
            "break" => vec![self.step(What::Break)],
            "continue" => vec![self.step(What::Continue)],
            "exit" => self.exit(args)?,
            "return" => self.give_back(args)?,
            _ => return Ok(None),
        };
        Ok(Some(steps))
    }

    fn options(&mut self, args: &[Arg]) -> Lowered<Vec<Step>> {
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let word = arg.word();
            let on = word.starts_with('-');
            let Some(flags) = word
                .strip_prefix(['-', '+'])
                .filter(|flags| !flags.is_empty() && *flags != "-")
            else {
                return Err("the script's arguments are set to what is known only when it runs, or in a block".into());
            };
            for flag in flags.chars() {
                match flag {
                    'e' => self.errexit = on,
                    'u' => self.nounset = on,
                    'x' | 'v' | 'b' | 'm' | 'h' => {}
                    'o' => match args.next().map(Arg::word) {
                        Some("errexit") => self.errexit = on,
                        Some("nounset") => self.nounset = on,
                        Some("pipefail") => self.pipefail = on,
                        Some("xtrace" | "verbose" | "monitor") => {}
                        _ => return Err("this option of the shell".into()),
                    },
                    _ => return Err(format!("the option {flag} of the shell")),
                }
            }
        }
        Ok(Vec::new())
    }

    fn declared(&mut self, kind: &str, words: &[Word]) -> Lowered<Vec<Step>> {
        if kind == "local" && self.function.is_none() {
            return Err("local outside of a function".into());
        }
        let inside = matches!(kind, "declare" | "typeset") && self.function.is_some();
        if inside {
            return Err(format!("{kind} in a function"));
        }
        let (mut steps, mut exported) = (Vec::new(), kind == "export");
        for word in words.iter().skip(1) {
            let Some((name, value)) = split_assignment(word) else {
                let text = word.literal().unwrap_or_default();
                match text.strip_prefix('-') {
                    None => {}
                    Some("r") => continue,
                    Some("x" | "rx" | "xr") => {
                        exported = true;
                        continue;
                    }
                    Some(flags) => return Err(format!("{kind} -{flags}")),
                }
                if exported && text != "PATH" {
                    let value = self.parameter(&text)?;
                    self.export(&text, &value);
                }
                continue;
            };
            if name == "IFS" {
                return Err("another separator of words".into());
            }
            if name == "PATH" {
                self.search_path(&value);
                continue;
            }
            let value = self.word(&value)?;
            if exported {
                self.export(&name, &value);
            }
            steps.extend(self.assigned(name, value));
        }
        Ok(steps)
    }

    /// Programs find it in their environment, if it is always the same.
    fn export(&mut self, name: &str, value: &Expr) {
        if matches!(name, "LANG" | "LC_ALL" | "LANGUAGE" | "TERM" | "HOME") {
            return;
        }
        match self.fixed(value) {
            Some(text) if self.nesting == 0 && self.function.is_none() => {
                self.environment.retain(|(known, _)| known != name);
                self.environment.push((name.to_owned(), text));
            }
            _ => self.guess(format!(
                "programs do not find ${name} in their environment: no value of a hook gets there"
            )),
        }
    }

    /// `PATH=/opt/x/bin:$PATH`: where programs are looked for.
    pub(super) fn search_path(&mut self, value: &Word) {
        for piece in &value.0 {
            if let Piece::Text { text, .. } = piece {
                let found = text.split(':').filter(|part| part.starts_with('/'));
                let new: Vec<String> = found
                    .map(str::to_owned)
                    .filter(|directory| !self.path.contains(directory))
                    .collect();
                self.path.extend(new);
            }
        }
    }

    fn unset(&mut self, args: &[Arg]) -> Lowered<Vec<Step>> {
        let mut steps = Vec::new();
        for arg in args {
            match arg.word() {
                "-v" => {}
                "" | "-f" | "PATH" | "IFS" => return Err("this unset".into()),
                name => {
                    self.environment.retain(|(known, _)| known != name);
                    steps.extend(self.assigned(name.to_owned(), Expr::Text(String::new())));
                }
            }
        }
        Ok(steps)
    }

    fn shift(&mut self, args: &[Arg]) -> Lowered<Vec<Step>> {
        if self.nesting > 0 {
            return Err("the arguments change in the middle of a block".into());
        }
        let count = match args {
            [] => 1,
            [count] => count.word().parse().map_err(|_| "this shift".to_owned())?,
            _ => return Err("this shift".into()),
        };
        self.shifted += count;
        Ok(Vec::new())
    }

    fn exec(&mut self, args: &[Arg], words: &[Word], command: &Command) -> Lowered<Vec<Step>> {
        if args.is_empty() {
            // exec 9> /var/lock/x: what flock(1) holds.
            let number = |redirect: &Redirect| {
                redirect.fd.is_some_and(|fd| fd > 2)
                    && matches!(redirect.op.as_str(), ">" | ">>" | ">&")
            };
            let locks = self.source.contains("flock");
            if locks && !command.redirects.is_empty() && command.redirects.iter().all(number) {
                self.differs(LOCK);
                return Ok(Vec::new());
            }
            return if self.all_harmless(command) {
                let to_file = |one: &Redirect| {
                    one.op.starts_with(['>', '&'])
                        && !one.target.literal().is_some_and(|target| {
                            matches!(target.as_str(), "1" | "2" | "/dev/null")
                        })
                };
                if command.redirects.iter().any(to_file) {
                    self.differs("what went to a log file from here on goes to carpd's log");
                }
                Ok(Vec::new())
            } else {
                Err("the redirection of all that follows".into())
            };
        }
        if args.first().is_some_and(|arg| arg.word().starts_with('-')) || self.function.is_some() {
            return Err("this exec".into());
        }
        let inner = Command {
            kind: Kind::Simple {
                assigns: Vec::new(),
                words: words.get(1..).unwrap_or_default().to_vec(),
            },
            ..command.clone()
        };
        let mut steps = self.command(&inner)?;
        steps.push(self.step(What::Return(None)));
        Ok(steps)
    }

    fn exit(&mut self, args: &[Arg]) -> Lowered<Vec<Step>> {
        let arg = match args {
            [] => None,
            [arg] => Some(arg),
            _ => return Err("this exit".into()),
        };
        let status = arg.map(|arg| (arg.text.as_deref(), &arg.value));
        match status {
            None | Some((Some("0"), _)) if self.function.is_some() => {
                Err("it ends the script from within a function".into())
            }
            None | Some((Some("0"), _)) => Ok(vec![self.step(What::Return(None))]),
            Some((Some(status), _)) => {
                self.differs("exit with a failure lets the hook fail");
                let why = format!("the script gave up here with exit {status}");
                Ok(vec![self.step(What::Fail(why))])
            }
            Some((None, value)) if self.function.is_none() => {
                self.differs("exit with a failure lets the hook fail");
                let why = "the script gave up here".to_owned();
                let cond = match value {
                    Expr::Status => {
                        self.asks_success_only();
                        Cond::Status.not()
                    }
                    value => Cond::Number("~=", value.clone(), Expr::Text("0".into())),
                };
                let arm = (cond, vec![self.step(What::Fail(why))]);
                Ok(vec![
                    self.step(What::If(vec![arm], Vec::new())),
                    self.step(What::Return(None)),
                ])
            }
            Some((None, _)) => Err("the exit status is not known here".into()),
        }
    }

    fn give_back(&mut self, args: &[Arg]) -> Lowered<Vec<Step>> {
        let Some(function) = &self.function else {
            return if self.file.is_some() {
                Err("it ends the file that is read, and not the script".into())
            } else {
                Ok(vec![self.step(What::Return(None))])
            };
        };
        if !self.asked.contains(function) {
            return Ok(vec![self.step(What::Return(None))]);
        }
        let cond = match args {
            [] => return Err("it returns the status of its last command".into()),
            [arg] => match (&arg.text, &arg.value) {
                (Some(text), _) => match text.parse::<u8>() {
                    Ok(status) => Cond::Const(status == 0),
                    Err(_) => return Err("the status is not known here".into()),
                },
                (None, Expr::Status) => {
                    self.asks_success_only();
                    Cond::Status
                }
                (None, value) => Cond::Number("==", value.clone(), Expr::Text("0".into())),
            },
            _ => return Err("this return".into()),
        };
        Ok(vec![self.step(What::Return(Some(cond)))])
    }
}
