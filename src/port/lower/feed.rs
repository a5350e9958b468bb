//! Input for programs: `echo X | mail`, `nft -f - <<EOF`, `mysql < FILE`. A hook gives a program none;
//! the command line that is granted does, by a shell that is told nothing else.

use super::super::commands::{self, Done, join};
use super::super::ir::{Action, Expr, Run, Step};
use super::super::shell::{Command, Kind, Word};
use super::pipe::{OWN_ADDRESS, simple};
use super::redirect::without_newline;
use super::{Lower, Lowered};
use crate::effect::Hole;

/// Gives its first argument to the program that the others are.
const TEXT: &str = "printf %s \"$0\" | \"$@\"";

/// The same, with the end of a line.
const LINE: &str = "printf '%s\\n' \"$0\" | \"$@\"";

/// Gives it what is in the file that the first argument names.
const FILE: &str = "exec \"$@\" <\"$0\"";

/// What they read is a program of their own: it has to be known.
const OBEYS: [&str; 12] = [
    "sh", "bash", "dash", "ash", "ksh", "zsh", "ssh", "python", "python3", "perl", "ruby", "php",
];

/// Programs that only make another text of what they read.
const FILTERS: [&str; 21] = [
    "awk", "gawk", "mawk", "bc", "column", "cut", "egrep", "fgrep", "fold", "grep", "head", "jq",
    "nl", "paste", "rev", "sed", "sort", "tac", "tail", "tr", "uniq",
];

/// What a program reads.
pub(super) enum Input {
    /// This text.
    Text(Expr),
    /// What is in this file.
    File(Expr),
}

impl Lower<'_> {
    /// The last program of a pipe, with what the commands before it write.
    pub(super) fn fed_by(&mut self, last: &Command, before: &[Command]) -> Lowered<Action> {
        let words = simple(last).ok_or("a pipe into a block")?;
        if !self.all_harmless(last) {
            return Err("a pipe into a file".into());
        }
        let input = self.written_by(before)?;
        let (name, args) = self.call(&words)?;
        self.fed(&name, &args, input).map(Action::Run)
    }

    /// What a filter makes of a text that no function of the hook makes of it.
    pub(super) fn filtered(&mut self, text: Expr, words: &[Word]) -> Lowered<Expr> {
        let (name, args) = self.call(words)?;
        let base = name.rsplit('/').next().unwrap_or_default();
        if !FILTERS.contains(&base) {
            return Err(format!("this pipe into {base}"));
        }
        let input = match &text {
            Expr::Call("read", path)
                if let [path] = path.as_slice()
                    && self.fixed(path).is_some() =>
            {
                Input::File(path.clone())
            }
            _ => Input::Text(self.with_end(text)),
        };
        self.fed(&name, &args, input).map(Expr::Output)
    }

    /// A program and what it reads.
    pub(super) fn fed(&mut self, name: &str, args: &[commands::Arg], input: Input) -> Lowered<Run> {
        if self.scope.function(name).is_some() {
            return Err(format!("what {name} of the script itself reads"));
        }
        let base = name.rsplit('/').next().unwrap_or_default();
        let own = |value: &Expr| match value {
            Expr::Join(parts) => parts.iter().any(|part| self.may_be_own_address(part)),
            value => self.may_be_own_address(value),
        };
        if FILTERS.contains(&base) && args.iter().any(|arg| own(&arg.value)) {
            self.guess(OWN_ADDRESS);
        }
        let known = self.shared.commands.len();
        let mut run = match commands::translate(self, name, args)? {
            Done::Actions(mut actions) => match (actions.pop(), actions.is_empty()) {
                (Some(Action::Run(run)), true) => run,
                _ => return Err("input for what is no program in a hook".into()),
            },
            _ => return Err("input for what is no program in a hook".into()),
        };
        self.shared.commands.truncate(known);
        let (how, value) = match input {
            Input::File(path) => (FILE, path),
            Input::Text(text) => match without_end(&text) {
                Some(line) => (LINE, line),
                None => (TEXT, text),
            },
        };
        let hole_like = |text: &str| text.starts_with('{') && text.ends_with('}');
        let word = match self.fixed(&value) {
            Some(text) if text.contains('\0') => {
                return Err("a byte that no program is given".into());
            }
            Some(text) if !hole_like(&text) && text.len() <= 4096 => text,
            fixed => {
                let obeys = |word: &String| {
                    word.starts_with('/')
                        && OBEYS.iter().any(|name| word.ends_with(&format!("/{name}")))
                };
                if fixed.is_none() && (how == FILE || run.argv.iter().any(obeys)) {
                    return Err(format!("what {base} reads is known only when it runs"));
                }
                if fixed.is_some_and(|text| !Hole::Text.takes(&text)) {
                    return Err("this text fits no hole".into());
                }
                let hole = free_name(&run);
                let value = if self.is_short(&value) {
                    value
                } else {
                    self.differs(format!("{base} can be given 4096 bytes to read: where there is more, the hook fails"));
                    Expr::Call("given", vec![value])
                };
                run.holes.push((hole.clone(), value));
                format!("{{{hole}:text}}")
            }
        };
        let shape = run.argv.clone();
        let begin = ["/bin/sh", "-c", how].map(str::to_owned);
        run.argv = begin
            .into_iter()
            .chain([word])
            .chain(shape.clone())
            .collect();
        run.name = self.command_name(&run.argv, &shape);
        Ok(run)
    }

    /// Is it no longer than a hole takes, and certainly no option?
    fn is_short(&self, value: &Expr) -> bool {
        let parts = match value {
            Expr::Join(parts) => parts.as_slice(),
            value => std::slice::from_ref(value),
        };
        let begins = parts.first().is_some_and(|first| match first {
            Expr::Text(text) => !text.starts_with('-'),
            Expr::Dev | Expr::Vip | Expr::Cidr | Expr::Given(_) => true,
            first => *first == Expr::Call("hostname.get", Vec::new()),
        });
        // A word is a name, a number or an address.
        let word = 256;
        let length = |part: &Expr| match part {
            Expr::Text(text) => Hole::Text.takes(&format!("x{text}")).then_some(text.len()),
            Expr::Given(_) => Some(word),
            part => self.is_one_word(part).then_some(word),
        };
        let lengths: Option<Vec<usize>> = parts.iter().map(length).collect();
        begins && lengths.is_some_and(|all| all.iter().sum::<usize>() <= 4096)
    }

    /// What these commands write, to the last byte.
    fn written_by(&mut self, commands: &[Command]) -> Lowered<Input> {
        if let [cat] = commands
            && let Some(words) = simple(cat)
            && words.len() == 2
            && words.first().is_some_and(|name| name.is("cat"))
            && cat.redirects.is_empty()
            && let (_, args) = self.call(&words)?
            && let [file] = args.as_slice()
        {
            let path = self.path_from_there(file.value.clone());
            let plain = |path: &String| path.starts_with('/') && !path.starts_with("/dev/");
            if self.fixed(&path).as_ref().is_some_and(plain) {
                return Ok(Input::File(path));
            }
        }
        self.bytes_of(commands).map(Input::Text)
    }

    /// The same as a text.
    pub(super) fn bytes_of(&mut self, commands: &[Command]) -> Lowered<Expr> {
        if let [one] = commands
            && let Some(text) = self.said_by(one)?
        {
            return Ok(text);
        }
        Ok(match self.piped_text(commands)? {
            Expr::Output(run) if !run.must => Expr::Raw(run, false),
            Expr::Call("read", mut path) if path.len() == 1 => {
                Expr::Content(Box::new(path.remove(0)))
            }
            text => self.with_end(text),
        })
    }

    /// The lines of a text, with the end of the last of them.
    fn with_end(&self, text: Expr) -> Expr {
        if self.is_one_word(&text) {
            join(vec![text, Expr::Text("\n".into())])
        } else {
            Expr::Call("ended", vec![text])
        }
    }

    /// `{ A; B; } > FILE`: what they write, put together.
    pub(super) fn block_into(&mut self, command: &Command) -> Lowered<Option<Vec<Step>>> {
        let ([redirect], Kind::Block { .. }) = (command.redirects.as_slice(), &command.kind) else {
            return Ok(None);
        };
        let appends = redirect.op == ">>";
        let to_file = matches!(redirect.op.as_str(), ">" | ">>" | ">|")
            && matches!(redirect.fd, None | Some(1))
            && !self.is_harmless(redirect);
        if !to_file {
            return Ok(None);
        }
        let block = Command {
            redirects: Vec::new(),
            ..command.clone()
        };
        let Some(text) = self.said_by(&block)? else {
            return Ok(None);
        };
        let path = self.word(&redirect.target)?;
        let Done::Actions(actions) = self.write_text(path, appends, text)? else {
            return Ok(None);
        };
        let steps = actions.into_iter().map(|action| self.act(action));
        Ok(Some(steps.collect()))
    }

    /// What `echo`, `printf`, a here-document or a block of these writes; `None` if it is another
    /// command.
    fn said_by(&mut self, command: &Command) -> Lowered<Option<Expr>> {
        if let Kind::Block { items, .. } = &command.kind {
            if !self.all_harmless(command) {
                return Err("the redirection of a whole block".into());
            }
            let mut parts = Vec::new();
            for item in items {
                if !item.rest.is_empty() || item.background || item.first.negated {
                    return Err("the output of a block".into());
                }
                parts.push(self.bytes_of(&item.first.commands)?);
            }
            return Ok(Some(join(parts)));
        }
        let Some(words) = simple(command) else {
            return Ok(None);
        };
        let name = words.first().and_then(Word::literal).unwrap_or_default();
        let here = command.redirects.iter().find(|r| r.op.starts_with("<<"));
        match (name.as_str(), here) {
            ("cat", Some(here)) if words.len() == 1 && command.redirects.len() == 1 => {
                self.here(here).map(Some)
            }
            ("echo" | "printf", None) if self.all_harmless(command) => {
                let joins = std::mem::replace(&mut self.joins, name == "echo");
                let called = self.call(&words);
                self.joins = joins;
                let (_, args) = called?;
                if name == "printf" {
                    return commands::printf(&args).map(Some);
                }
                self.echoed(&args, true).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// A name for the hole that takes what the program reads.
fn free_name(run: &Run) -> String {
    let taken = |name: &String| run.holes.iter().any(|(known, _)| known == name);
    let numbered = (2..).map(|number| format!("input{number}"));
    std::iter::once("input".to_owned())
        .chain(numbered)
        .find(|name| !taken(name))
        .unwrap_or_default()
}

/// The text without the one end of line with which it certainly ends.
fn without_end(text: &Expr) -> Option<Expr> {
    let last = match text {
        Expr::Join(parts) => parts.last(),
        text => Some(text),
    };
    let ends = matches!(last, Some(Expr::Text(text)) if text.ends_with('\n') && !text.ends_with("\n\n") && text != "\n")
        || matches!((last, text), (Some(Expr::Text(end)), Expr::Join(parts)) if end == "\n" && !ends_with_line(parts));
    ends.then(|| without_newline(text.clone()))
}

/// Does what stands before the last part end with an end of line?
fn ends_with_line(parts: &[Expr]) -> bool {
    let before = parts.len().checked_sub(2).and_then(|at| parts.get(at));
    matches!(before, Some(Expr::Text(text)) if text.ends_with('\n'))
}
