//! Words as values: parameters, substitutions, arithmetic.

use super::super::commands::{Arg, join};
use super::super::ir::{Cond, Expr, LuaPart, Trim};
use super::super::shell::{Command, Item, Kind, Piece, Pipeline, Redirect, Word};
use super::compound::escaped;
use super::{Lower, Lowered, commands, redirect, source};

impl Lower<'_> {
    /// The value of a word that is not split.
    pub(super) fn word(&mut self, word: &Word) -> Lowered<Expr> {
        let parts = word
            .0
            .iter()
            .map(|piece| self.piece(piece))
            .collect::<Lowered<Vec<_>>>()?;
        if matches!(word.0.first(), Some(Piece::Text { text, quoted: false }) if text.starts_with('~'))
        {
            return Err("a home directory".into());
        }
        Ok(join(parts))
    }

    /// A value with its text, if that is fixed whatever the virtual host.
    pub(super) fn arg(&self, value: Expr) -> Arg {
        let text = self.fixed(&value);
        Arg {
            text,
            value,
            split: false,
        }
    }

    fn piece(&mut self, piece: &Piece) -> Lowered<Expr> {
        match piece {
            Piece::Text { text, .. } if text.contains("$[") => {
                Err("$[...] as arithmetic, or text: shells differ".into())
            }
            Piece::Text { text, .. } => Ok(Expr::Text(text.clone())),
            Piece::Param { name, op: None, .. } => self.parameter(name),
            Piece::Param {
                name,
                op: Some((op, word)),
                ..
            } => self.expansion(name, op, word),
            Piece::Command { items, .. } => self.substitution(items),
            Piece::Arithmetic(text) => self.arithmetic(text),
        }
    }

    pub(super) fn parameter(&mut self, name: &str) -> Lowered<Expr> {
        if let Ok(number) = name.parse::<usize>() {
            return Ok(self.positional(number));
        }
        if let Some(same) = self.scope.alias(name) {
            return Ok(same);
        }
        Ok(match name {
            "?" => match self.remembered {
                Some(exact) => {
                    self.inexact += usize::from(!exact);
                    Expr::Status
                }
                None => return Err("the status of a command that is not known here".into()),
            },
            "#" => self.count()?,
            "@" | "*" => self.all_joined(),
            "$" if self.logging => {
                self.differs("the number of the process is left out");
                Expr::Text(String::new())
            }
            "$" | "!" | "-" | "_" | "PPID" | "RANDOM" | "SECONDS" | "LINENO" | "PWD" | "OLDPWD"
            | "IFS" | "PATH" | "BASH_REMATCH" | "BASH_SOURCE" | "FUNCNAME" | "PIPESTATUS" => {
                return Err(format!("${name} has no meaning in a hook"));
            }
            "REPLY" if !self.set.contains(name) => {
                return Err(format!("${name} has no meaning in a hook"));
            }
            "" => return Err("a text with $ before its quote".into()),
            "EUID" | "UID" if !self.scope.sets(name) => Expr::Text("0".into()),
            "HOSTNAME" if !self.scope.sets(name) => {
                self.of_bash("$HOSTNAME");
                Expr::Call("hostname.get", Vec::new())
            }
            _ if self.scope.sets(name) => {
                let order = self.scope.order();
                let early = order.is_from_outside(name)
                    && !order.is_set_at_begin(name)
                    && !self.set.contains(name);
                if early {
                    Expr::Outside(name.to_owned())
                } else {
                    Expr::Var(name.to_owned())
                }
            }
            _ if self.nounset => assert_set(Expr::Outside(name.to_owned()), name),
            _ => Expr::Outside(name.to_owned()),
        })
    }

    /// `$#`.
    fn count(&self) -> Lowered<Expr> {
        if self.function.is_some() {
            if self.shifted > 0 {
                return Err("the number of what is left of a function's arguments".into());
            }
            let count = "tostring(select(\"#\", ...))".to_owned();
            return Ok(Expr::Lua(vec![LuaPart::Code(count)]));
        }
        if !self.scope.is_of_ucarp() {
            let left = self.scope.arguments_after(self.shifted);
            return Ok(Expr::Given(vec![left.to_string()]));
        }
        let (all, without) = (
            3_usize.saturating_sub(self.shifted),
            2_usize.saturating_sub(self.shifted),
        );
        Ok(Expr::Lua(vec![
            LuaPart::Code("(if ".into()),
            LuaPart::Value(Expr::Xparam),
            LuaPart::Code(format!(" ~= \"\" then \"{all}\" else \"{without}\")")),
        ]))
    }

    /// `"$*"`.
    pub(super) fn all_joined(&self) -> Expr {
        if self.function.is_some() {
            let from = self.shifted + 1;
            let code = if from == 1 {
                "table.concat({ ... }, \" \")".to_owned()
            } else {
                format!("table.concat({{ ... }}, \" \", {from})")
            };
            return Expr::Lua(vec![LuaPart::Code(code)]);
        }
        if !self.scope.is_of_ucarp() {
            let mut parts = Vec::new();
            for number in 1..=self.scope.arguments_after(self.shifted) {
                if number > 1 {
                    parts.push(Expr::Text(" ".into()));
                }
                parts.push(self.positional(number));
            }
            return join(parts);
        }
        let blank = || Expr::Text(" ".into());
        let more = Expr::Lua(vec![
            LuaPart::Code("(if ".into()),
            LuaPart::Value(Expr::Xparam),
            LuaPart::Code(" ~= \"\" then \" \" .. ".into()),
            LuaPart::Value(Expr::Xparam),
            LuaPart::Code(" else \"\")".into()),
        ]);
        match self.shifted {
            0 => join(vec![Expr::Dev, blank(), Expr::Vip, more]),
            1 => join(vec![Expr::Vip, more]),
            2 => Expr::Xparam,
            _ => Expr::Text(String::new()),
        }
    }

    fn positional(&self, number: usize) -> Expr {
        if number == 0 {
            return Expr::Text(self.scope.path().to_owned());
        }
        let number = number + self.shifted;
        match &self.function {
            Some(function) => Expr::Arg(function.clone(), number),
            None => self
                .scope
                .argument(number)
                .cloned()
                .unwrap_or_else(|| Expr::Text(String::new())),
        }
    }

    /// Is it set, and with a colon: not empty?
    pub(super) fn is_set(&mut self, name: &str, op: &str) -> Lowered<Cond> {
        let value = self.parameter(name)?;
        if op.starts_with(':') || name.parse::<usize>().is_ok() {
            return Ok(Cond::Empty(value).not());
        }
        match value {
            Expr::Outside(name) => Ok(Cond::Given(name)),
            Expr::Var(_) if self.scope.order().is_set_first(name) => Ok(Cond::Const(true)),
            Expr::Dev | Expr::Vip => Ok(Cond::Const(true)),
            _ => Err(format!("whether ${name} is empty or not set")),
        }
    }

    fn expansion(&mut self, name: &str, op: &str, word: &Word) -> Lowered<Expr> {
        let text = |what: &str| {
            word.literal()
                .ok_or_else(|| format!("{what} that is not fixed"))
        };
        if name == "0"
            && let Some(part) = source::of_path(self.scope.path(), op, word)
        {
            return Ok(Expr::Text(part));
        }
        Ok(match op {
            ":-" => match self.parameter(name)? {
                value @ (Expr::Dev | Expr::Vip) => value,
                Expr::Given(words) if words.iter().all(|word| !word.is_empty()) => {
                    Expr::Given(words)
                }
                value => Expr::Call("default", vec![value, self.word(word)?]),
            },
            "-" => self.unless_set(name, word)?,
            ":=" | "=" => self.set_default(name, op, word)?,
            ":+" | "+" => {
                let set = self.is_set(name, op)?;
                let value = self.word(word)?;
                choose(set, value)
            }
            ":?" | "?" => match self.parameter(name)? {
                value @ (Expr::Dev | Expr::Vip) => value,
                value => assert_set(value, name),
            },
            "length" => Expr::Lua(vec![
                LuaPart::Code("tostring(#".into()),
                LuaPart::Value(self.parameter(name)?),
                LuaPart::Code(")".into()),
            ]),
            "%" | "%%" | "#" | "##" => {
                let value = self.parameter(name)?;
                let word = text("a pattern")?;
                let pattern = cut(op, &word)?;
                let op = ["%%", "%", "##", "#"]
                    .into_iter()
                    .find(|known| *known == op);
                let op = op.unwrap_or_default();
                Expr::Trim(Box::new(Trim {
                    value,
                    op,
                    word,
                    pattern,
                }))
            }
            "//" | "/" => {
                self.of_bash("${X/Y/Z}");
                let value = self.parameter(name)?;
                let text = text("a replacement")?;
                let (from, to) = text.split_once('/').unwrap_or((&text, ""));
                if from.contains(['*', '?', '[', '\\'])
                    || from.is_empty()
                    || from.starts_with(['#', '%'])
                    || to.contains('&')
                {
                    return Err("a replacement with a pattern".into());
                }
                let from: String = from.chars().map(escaped).collect();
                let mut args = vec![value, Expr::Text(from), Expr::Text(to.replace('%', "%%"))];
                if op == "/" {
                    args.push(Expr::Lua(vec![LuaPart::Code("1".into())]));
                }
                Expr::Call("string.gsub", args)
            }
            "^^" | ",," if word.0.is_empty() => {
                self.of_bash("${X^^}");
                let value = self.parameter(name)?;
                let function = if op == "^^" {
                    "string.upper"
                } else {
                    "string.lower"
                };
                Expr::Call(function, vec![value])
            }
            _ => return Err(format!("the expansion ${{{name}{op}...}}")),
        })
    }

    /// `${X-word}`: an empty value stays.
    fn unless_set(&mut self, name: &str, word: &Word) -> Lowered<Expr> {
        let value = self.parameter(name)?;
        let other = self.word(word)?;
        Ok(match &value {
            Expr::Outside(outside) => Expr::If(
                Box::new(Cond::Given(outside.clone())),
                Box::new(value.clone()),
                Box::new(other),
            ),
            Expr::Var(_) if self.scope.order().is_set_first(name) => value,
            Expr::Dev | Expr::Vip => value,
            Expr::Xparam | Expr::Arg(..) => Expr::Call("default", vec![value, other]),
            Expr::Text(text) if text.is_empty() => other,
            _ => return Err(format!("whether ${name} is empty or not set")),
        })
    }

    /// `${X:=word}`: it is set before the command runs.
    fn set_default(&mut self, name: &str, op: &str, word: &Word) -> Lowered<Expr> {
        if name.parse::<usize>().is_ok() || self.before.is_none() {
            return Err("a variable that is set in the middle of something".into());
        }
        let value = if op == "=" {
            self.unless_set(name, word)?
        } else {
            Expr::Call("default", vec![self.parameter(name)?, self.word(word)?])
        };
        let step = self.assigned(name.to_owned(), value);
        if let Some(before) = &mut self.before {
            before.extend(step);
        }
        Ok(Expr::Var(name.to_owned()))
    }

    /// `$( ... )`.
    fn substitution(&mut self, items: &[Item]) -> Lowered<Expr> {
        if let Some(program) = super::values::located(items) {
            return Ok(Expr::Text(program));
        }
        if let Some(part) = source::part_of_path(items, self.scope.path()) {
            return Ok(Expr::Text(part));
        }
        let [item] = items else {
            return Err("the output of several commands".into());
        };
        if let Some(text) = self.content_or(item)? {
            return Ok(text);
        }
        if let Some(text) = self.one_of_two(item)? {
            return Ok(text);
        }
        // Whether it works is not asked.
        let ignored = matches!(item.rest.as_slice(), [(false, other)] if super::is_no_op(other));
        if !(item.rest.is_empty() || ignored) || item.background || item.first.negated {
            return Err("the output of several commands".into());
        }
        self.piped_text(&item.first.commands)
    }

    /// `cat FILE || echo TEXT`: another text where there is no such file.
    fn content_or(&mut self, item: &Item) -> Lowered<Option<Expr>> {
        let [(false, other)] = item.rest.as_slice() else {
            return Ok(None);
        };
        let ([cat], [echo]) = (item.first.commands.as_slice(), other.commands.as_slice()) else {
            return Ok(None);
        };
        let (Some(read), Some(said)) = (simple(cat), simple(echo)) else {
            return Ok(None);
        };
        let plain = !item.background && !item.first.negated && !other.negated;
        let ([cat_name, path], Some((echo_name, text))) = (read, said.split_first()) else {
            return Ok(None);
        };
        let quiet = self.all_harmless(cat) && self.all_harmless(echo);
        if !(plain && quiet && cat_name.is("cat") && echo_name.is("echo")) {
            return Ok(None);
        }
        let path = self.word(path)?;
        let Expr::Call("read", mut args) = self.file_text(path)? else {
            return Ok(None);
        };
        let (_, said) = self.call(said)?;
        if said.len() != text.len() {
            return Ok(None);
        }
        args.push(self.echo(&said, true)?.text);
        Ok(Some(Expr::Call("read", args)))
    }

    /// `A && echo X || echo Y` and `A && echo X`, where A writes nothing.
    fn one_of_two(&mut self, item: &Item) -> Lowered<Option<Expr>> {
        let (asked, then, other) = match item.rest.split_last() {
            Some(((true, then), asked)) => (asked, then, None),
            Some(((false, other), rest)) => match rest.split_last() {
                Some(((true, then), asked)) => (asked, then, Some(other)),
                _ => return Ok(None),
            },
            None => return Ok(None),
        };
        let silent = is_silent(&item.first) && asked.iter().all(|(_, one)| is_silent(one));
        if !silent || item.background || self.errexit {
            return Ok(None);
        }
        let mut said = |pipeline: &Pipeline| -> Lowered<Option<Expr>> {
            let [command] = pipeline.commands.as_slice() else {
                return Ok(None);
            };
            let Some(words) =
                simple(command).filter(|words| words.first().is_some_and(|w| w.is("echo")))
            else {
                return Ok(None);
            };
            if pipeline.negated || !command.redirects.is_empty() {
                return Ok(None);
            }
            let (_, args) = self.call(words)?;
            self.echo(&args, true).map(|echo| Some(echo.text))
        };
        let Some(value) = said(then)? else {
            return Ok(None);
        };
        let other = match other {
            Some(other) => said(other)?,
            None => Some(Expr::Text(String::new())),
        };
        let Some(other) = other else {
            return Ok(None);
        };
        let cond = self.chain(&item.first, asked)?;
        let (cond, value, other) = (Box::new(cond), Box::new(value), Box::new(other));
        Ok(Some(Expr::If(cond, value, other)))
    }

    /// What a command says.
    pub(super) fn output(&mut self, name: &str, args: &[Arg]) -> Lowered<Expr> {
        let base = name.rsplit('/').next().unwrap_or(name);
        let word = |index: usize| args.get(index).map(Arg::word).unwrap_or_default();
        if self.scope.function(name).is_some() {
            return Err("the output of a function".into());
        }
        let by_label = match base {
            "ip" => args.iter().any(|arg| arg.word() == "label"),
            "ifconfig" => matches!(args, [alias] if alias.word().contains(':')),
            _ => false,
        };
        if by_label {
            return Err("addresses of carpd have no label to be found by".into());
        }
        let first = || {
            args.first()
                .map_or_else(|| Expr::Text(String::new()), |arg| arg.value.clone())
        };
        Ok(match (base, args.len()) {
            ("yes", _) => return Err("the output of a program that does not end".into()),
            ("hostname", 0) => Expr::Call("hostname.get", Vec::new()),
            ("uname", 1) if word(0) == "-n" => Expr::Call("hostname.get", Vec::new()),
            ("hostname", 1) if matches!(word(0), "-s" | "--short") => Expr::Call(
                "string.match",
                vec![
                    Expr::Call("hostname.get", Vec::new()),
                    Expr::Text("^[^.]+".into()),
                ],
            ),
            ("hostname", _) => Expr::Output(commands::program(self, name, args)?),
            ("cat", 1) if !word(0).starts_with('-') => self.file_text(first())?,
            ("date", 1) if word(0) == "+%s" => Expr::Lua(vec![LuaPart::Code(
                "string.format(\"%d\", clock.wall())".into(),
            )]),
            ("date", _) if self.logging => {
                self.differs("the date is left out: carpd's log has its own");
                self.dated = true;
                Expr::Text(String::new())
            }
            ("dirname", 1) if let Some(path) = self.fixed(&first()) => {
                Expr::Text(directory_of(&path).to_owned())
            }
            ("basename", 1) => Expr::Trim(Box::new(Trim {
                value: first(),
                op: "basename",
                word: String::new(),
                pattern: "([^/]+)/*$".into(),
            })),
            ("seq", 1..=3) => self.sequence(name, args)?,
            ("expr", 3) if ["+", "-", "*", "/", "%"].contains(&word(1)) => calculated(args),
            ("echo", _) => self.echo(args, true)?.text,
            ("printf", _) => redirect::without_newline(commands::printf(args)?),
            ("curl" | "wget", _) => commands::answer(self, name, args)?,
            ("sysctl", 2) if word(0) == "-n" => Expr::Call(
                "sysctl.get",
                vec![args.get(1).map(|arg| arg.value.clone()).ok_or("sysctl")?],
            ),
            _ => self.program_output(name, args)?,
        })
    }

    /// What `echo` writes; `exact`: not only for a log.
    pub(crate) fn echo(&mut self, args: &[Arg], exact: bool) -> Lowered<commands::Echo> {
        let echo = commands::echo(args, self.scope.shell(), exact)?;
        if let Some(guess) = echo.guess {
            self.guess(guess);
        }
        Ok(echo)
    }

    /// The content of a file, if a hook may read it as one.
    pub(super) fn file_text(&mut self, path: Expr) -> Lowered<Expr> {
        let path = self.path_from_there(path);
        match self.fixed(&path) {
            Some(text) if !text.starts_with('/') => Err(format!("{text} is no absolute path")),
            // Files of the kernel are read by a program.
            text if text.as_deref().is_some_and(is_of_the_kernel)
                || matches!(&path, Expr::Join(parts) if matches!(parts.first(), Some(Expr::Text(text)) if is_of_the_kernel(text))) =>
            {
                let arg = self.arg(path);
                Ok(Expr::Output(commands::program(self, "cat", &[arg])?))
            }
            _ => Ok(Expr::Call("read", vec![path])),
        }
    }

    /// `seq FROM TO`, where the numbers are known; otherwise the program says them.
    fn sequence(&mut self, name: &str, args: &[Arg]) -> Lowered<Expr> {
        let numbers: Option<Vec<i64>> = args.iter().map(|arg| arg.word().parse().ok()).collect();
        let (from, step, to) = match numbers.as_deref() {
            Some([to]) => (1, 1, *to),
            Some([from, to]) => (*from, 1, *to),
            Some([from, step, to]) => (*from, *step, *to),
            _ => return self.program_output(name, args),
        };
        if step <= 0 || (to - from) / step > 500 {
            return self.program_output(name, args);
        }
        let step = usize::try_from(step).unwrap_or(1);
        let all: Vec<String> = (from..=to).step_by(step).map(|n| n.to_string()).collect();
        Ok(Expr::Text(all.join("\n")))
    }
}

/// Does it only say whether something is so?
fn is_silent(pipeline: &Pipeline) -> bool {
    let Some(command) = pipeline.commands.last() else {
        return false;
    };
    let discards = |redirect: &Redirect| {
        redirect.op.contains('>') && redirect.fd != Some(2) && redirect.target.is("/dev/null")
    };
    if command.redirects.iter().any(discards) {
        return true;
    }
    match &command.kind {
        Kind::Test(_) => true,
        Kind::Simple { words, .. } => {
            let name = words.first().and_then(Word::literal).unwrap_or_default();
            let base = name.rsplit('/').next().unwrap_or_default();
            let quiet = words
                .iter()
                .skip(1)
                .filter_map(Word::literal)
                .any(|option| {
                    option == "--quiet"
                        || option.starts_with('-')
                            && !option.starts_with("--")
                            && option.contains('q')
                });
            matches!(base, "[" | "test" | "true" | "false")
                || (quiet
                    && matches!(
                        base,
                        "grep" | "egrep" | "fgrep" | "systemctl" | "mountpoint"
                    ))
        }
        _ => false,
    }
}

/// As dirname(1).
fn directory_of(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/') {
        Some((directory, _)) => match directory.trim_end_matches('/') {
            "" => "/",
            directory => directory,
        },
        None if path.is_empty() => "/",
        None => ".",
    }
}

/// `expr A + B`.
fn calculated(args: &[Arg]) -> Expr {
    let part = |(place, arg): (usize, &Arg)| match (place, arg.word()) {
        (1, "/") => LuaPart::Code(" // ".into()),
        (1, sign) => LuaPart::Code(format!(" {sign} ")),
        (_, word) if !word.is_empty() && word.chars().all(|c| c.is_ascii_digit()) => {
            let number = word.trim_start_matches('0');
            LuaPart::Code(if number.is_empty() { "0" } else { number }.to_owned())
        }
        _ => LuaPart::Value(Expr::Number(Box::new(arg.value.clone()))),
    };
    Expr::Sum(args.iter().enumerate().map(part).collect())
}

fn is_of_the_kernel(path: &str) -> bool {
    ["/proc/", "/sys/", "/dev/"]
        .iter()
        .any(|at| path.starts_with(at))
}

/// The text, or the hook fails.
fn assert_set(value: Expr, name: &str) -> Expr {
    let message = Expr::Text(format!("{name} is not set"));
    Expr::Call("assert_set", vec![value, message])
}

/// The value if the condition holds, and nothing otherwise.
fn choose(cond: Cond, value: Expr) -> Expr {
    match cond {
        Cond::Const(true) => value,
        Cond::Const(false) => Expr::Text(String::new()),
        cond => Expr::If(
            Box::new(cond),
            Box::new(value),
            Box::new(Expr::Text(String::new())),
        ),
    }
}

/// The Lua pattern that finds what `${x%pattern}` and its like leave.
fn cut(op: &str, pattern: &str) -> Lowered<String> {
    let plain = |text: &str| -> Lowered<String> {
        if text.contains(['*', '?', '[']) {
            Err("a pattern".into())
        } else {
            Ok(text.chars().map(escaped).collect())
        }
    };
    Ok(
        match (op, pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
            ("%", Some(text), _) => format!("^(.*){}", plain(text)?),
            ("%%", Some(text), _) => format!("^(.-){}", plain(text)?),
            ("#", _, Some(text)) => format!("{}(.*)$", plain(text)?),
            ("##", _, Some(text)) => format!("^.*{}(.*)$", plain(text)?),
            ("%" | "%%", None, _) => format!("^(.*){}$", plain(pattern)?),
            ("#" | "##", _, None) => format!("^{}(.*)$", plain(pattern)?),
            _ => return Err("this pattern".into()),
        },
    )
}

/// The words of a simple command without assignments.
fn simple(command: &Command) -> Option<&[Word]> {
    match &command.kind {
        Kind::Simple { assigns, words } if assigns.is_empty() => Some(words),
        _ => None,
    }
}
