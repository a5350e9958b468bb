//! Pipes: text that goes through filters, questions put to it, and messages for the log.

use super::super::commands::{self, Arg, Done};
use super::super::ir::{Action, Cond, Expr, LuaPart, Step, Visit, What, walk};
use super::super::shell::{Command, Kind, Redirect, Word};
use super::redirect::without_newline;
use super::{Lower, Lowered, name_of, regex};

/// The script puts the address up and down by itself, and may look whether that is still to be done.
pub(super) const OWN_ADDRESS: &str = "whether the virtual host's own address is up: carpd puts it up before on_master and takes it down before on_backup, \
                           the script found it the other way round";

/// What grep looks for.
struct Pattern {
    value: Expr,
    plain: bool,
    invert: bool,
    /// Only whole words.
    word: bool,
}

impl Lower<'_> {
    /// A pipe whose end nobody asks about.
    pub(super) fn piped(&mut self, commands: &[Command]) -> Lowered<Vec<Step>> {
        let Some((last, before)) = commands.split_last() else {
            return Err("a pipe".into());
        };
        if let Some(steps) = self.read_loop(last, Some(before))? {
            return Ok(steps);
        }
        let name = name_of(last).unwrap_or_default();
        match name.rsplit('/').next().unwrap_or_default() {
            "logger" => self.logged(last, before),
            "grep" | "egrep" | "fgrep" => {
                if !self.errexit {
                    let cond = self.pipe_condition(commands)?;
                    return Ok(vec![self.step(What::Try(cond))]);
                }
                self.must = self.pipefail;
                let cond = self.pipe_condition(commands);
                self.must = false;
                Ok(vec![self.step(What::Must(cond?))])
            }
            "" => Err("a pipe into a block".into()),
            "tee" => self.tee(last, before),
            _ if last.redirects.iter().any(keeps) => self.piped_write_text(last, before),
            _ => {
                let fed = self.fed_by(last, before)?;
                Ok(vec![self.act(fed)])
            }
        }
    }

    /// `... | tee -a FILE`: into the file and, as all that a hook says, to the log.
    fn tee(&mut self, tee: &Command, before: &[Command]) -> Lowered<Vec<Step>> {
        let words = simple(tee).ok_or("a pipe")?;
        let (_, args) = self.call(&words)?;
        let (append, file) = match args.as_slice() {
            [file] if !file.word().starts_with('-') => (false, file),
            [flag, file] if matches!(flag.word(), "-a" | "--append") => (true, file),
            _ => return Err("this tee".into()),
        };
        let quiet = tee.redirects.iter().any(|one| {
            let target = one.target.literal();
            target.is_some_and(|target| target == "/dev/null")
        });
        if !self.all_harmless(tee) {
            return Err("this tee".into());
        }
        let to_log = self.is_log_of(&file.value);
        self.logging = to_log;
        let text = self.piped_text(before);
        self.logging = false;
        let text = text?;
        let mut steps = Vec::new();
        if !quiet || to_log {
            let message = text.clone();
            let level = "info";
            steps.push(self.step(What::Do(Action::Log { level, message })));
        }
        if to_log {
            self.differs("what goes to the log file goes to carpd's log");
        } else {
            // A program is not run twice.
            if !is_said(&text) {
                return Err("the output of a program in two places".into());
            }
            steps.extend(self.written(file.value.clone(), append, text)?);
        }
        Ok(steps)
    }

    /// `... | head -1 > FILE`.
    fn piped_write_text(&mut self, last: &Command, before: &[Command]) -> Lowered<Vec<Step>> {
        let [redirect] = last.redirects.as_slice() else {
            return Err("a pipe into a file".into());
        };
        if !matches!(redirect.op.as_str(), ">" | ">>" | ">|") || redirect.fd.unwrap_or(1) != 1 {
            return Err("a pipe into a file".into());
        }
        let mut all = before.to_vec();
        let mut end = last.clone();
        end.redirects.clear();
        all.push(end);
        let path = self.word(&redirect.target)?;
        let text = self.piped_text(&all)?;
        self.written(path, redirect.op == ">>", text)
    }

    /// The lines of a text into a file.
    fn written(&mut self, path: Expr, append: bool, text: Expr) -> Lowered<Vec<Step>> {
        let content = Expr::Call("ended", vec![text]);
        match self.write_text(path, append, content)? {
            Done::Actions(actions) => {
                Ok(actions.into_iter().map(|action| self.act(action)).collect())
            }
            Done::Asks(_) | Done::Nothing(_) => Err("a pipe into a file".into()),
        }
    }

    fn logged(&mut self, logger: &Command, before: &[Command]) -> Lowered<Vec<Step>> {
        let words = simple(logger).ok_or("a pipe")?;
        let (_, args) = self.call(&words)?;
        let (level, None) = commands::logger(&args)? else {
            return Err("logger with a message does not read a pipe".into());
        };
        self.logging = true;
        let text = self.piped_text(before);
        self.logging = false;
        match (text, before) {
            (Ok(message), _) => {
                let action = Action::Log { level, message };
                Ok(vec![self.step(What::Do(action))])
            }
            // What it says when it fails goes to the log anyway.
            (Err(_), [command]) if matches!(command.kind, Kind::Simple { .. }) => {
                self.command(command)
            }
            (Err(why), _) => Err(why),
        }
    }

    /// A pipe as a question: its last command is grep.
    pub(super) fn pipe_condition(&mut self, commands: &[Command]) -> Lowered<Cond> {
        if let [show, grep] = commands
            && let Some(cond) = self.shows_address(show, grep)?
        {
            return Ok(cond);
        }
        let Some((last, before)) = commands.split_last() else {
            return Err("a pipe".into());
        };
        let words = simple(last).ok_or("a pipe into a block")?;
        if !self.all_harmless(last) {
            return Err("a pipe into a file".into());
        }
        let Some((pattern, _)) = self.plain_grep(&words) else {
            return Ok(Cond::Did(vec![self.fed_by(last, before)?]));
        };
        let text = self.piped_text(before)?;
        Ok(Cond::Call(
            "has_line",
            vec![
                text,
                pattern.value,
                flag(pattern.invert),
                flag(pattern.plain),
            ],
        ))
    }

    /// A grep that a function of the hook stands for.
    fn plain_grep(&mut self, words: &[Word]) -> Option<(Pattern, bool)> {
        let found = self.grep(words).ok().flatten();
        found.filter(|(pattern, _)| !pattern.word)
    }

    /// What comes out of these commands, without the end of the last line.
    pub(super) fn piped_text(&mut self, commands: &[Command]) -> Lowered<Expr> {
        let Some((first, filters)) = commands.split_first() else {
            return Err("a pipe".into());
        };
        // Without pipefail only the last one's status counts.
        let must = self.must;
        self.must &= filters.is_empty() || self.pipefail;
        let text = self.first_text(first);
        self.must = must;
        self.through(text?, filters)
    }

    /// What the first command of a pipe gives the others.
    fn first_text(&mut self, first: &Command) -> Lowered<Expr> {
        if let Kind::Block { .. } = &first.kind {
            let text = self.bytes_of(std::slice::from_ref(first))?;
            return Ok(without_newline(text));
        }
        let words = simple(first).ok_or("the output of a block")?;
        let read = self.input(first)?;
        if words.is_empty() {
            return read.ok_or_else(|| "the output of nothing".into());
        }
        if let (None, Some((words, path))) = (&read, file_of(&words)) {
            let path = self.word(path)?;
            let text = self.file_text(path)?;
            if let Some(done) = self.own_filter(&text, words) {
                return Ok(done);
            }
        }
        let (name, args) = self.call(&words)?;
        match (read, name.as_str(), args.as_slice()) {
            (None, _, args) => self.output(&name, args),
            (Some(text), "cat", []) => Ok(text),
            (Some(text), _, _) => self
                .filter(text, &words)
                .map_err(|_| "input from a file".to_owned()),
        }
    }

    fn through(&mut self, text: Expr, filters: &[Command]) -> Lowered<Expr> {
        let must = self.must;
        let done = filters
            .iter()
            .enumerate()
            .try_fold(text, |text, (index, command)| {
                let words = simple(command).ok_or("a pipe into a block")?;
                if !self.all_harmless(command) {
                    return Err("a pipe into a file".to_owned());
                }
                self.must = must && (self.pipefail || index + 1 == filters.len());
                self.filter(text, &words)
            });
        self.must = must;
        done
    }

    /// The file that it reads, if any; other redirections must not matter.
    fn input(&mut self, command: &Command) -> Lowered<Option<Expr>> {
        let mut read = None;
        for redirect in &command.redirects {
            if redirect.op.starts_with("<<") && redirect.fd.unwrap_or(0) == 0 {
                read = Some(without_newline(self.here(redirect)?));
            } else if redirect.op == "<" && redirect.fd.unwrap_or(0) == 0 {
                let path = self.word(&redirect.target)?;
                if path != Expr::Text("/dev/null".into()) {
                    read = Some(Expr::Call("read", vec![path]));
                }
            } else if !self.is_harmless(redirect) {
                return Err("a redirection within a pipe".into());
            }
        }
        Ok(read)
    }

    fn filter(&mut self, text: Expr, words: &[Word]) -> Lowered<Expr> {
        match self.own_filter(&text, words) {
            Some(done) => Ok(done),
            None => self.filtered(text, words),
        }
    }

    /// A filter that a function of the hook stands for.
    fn own_filter(&mut self, text: &Expr, words: &[Word]) -> Option<Expr> {
        let text = text.clone();
        let name = words.first().and_then(Word::literal).unwrap_or_default();
        let base = name.rsplit('/').next().unwrap_or_default().to_owned();
        if let Some((pattern, first)) = self.plain_grep(words) {
            let found = grep(text, pattern);
            return Some(if first { head(found, "head", 1) } else { found });
        }
        let literal: Option<Vec<String>> = words.iter().skip(1).map(Word::literal).collect();
        let args = literal?;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match base.as_str() {
            "tr" => tr(text, &args),
            "cut" => cut(text, &args),
            "awk" | "gawk" | "mawk" => awk(text, &args),
            "head" | "tail" => {
                // `+2` counts from the other end.
                if let ("tail", ["-n", from] | [from]) = (base.as_str(), args.as_slice())
                    && let Some(from) = from.strip_prefix("-n").unwrap_or(from).strip_prefix('+')
                    && let Ok(from) = from.parse()
                {
                    return Some(head(text, "lines_from", from));
                }
                let number = |n: &str| n.parse().ok().filter(|_| !n.starts_with('+'));
                let count = match args.as_slice() {
                    ["-n", n] => number(n),
                    [n] => n
                        .strip_prefix("-n")
                        .or_else(|| n.strip_prefix('-'))
                        .and_then(number),
                    [] => Some(10_u32),
                    _ => None,
                };
                let base = if base == "head" { "head" } else { "tail" };
                count.map(|count| head(text, base, count))
            }
            "sed" => match args.as_slice() {
                ["-n", line] if line.strip_suffix('p').is_some_and(is_count) => {
                    let line = line.trim_end_matches('p').parse().unwrap_or(1);
                    Some(Expr::Call(
                        "head",
                        vec![head(text, "lines_from", line), code("1")],
                    ))
                }
                _ => sed(text, &args),
            },
            "wc" if args == ["-l"] => Some(Expr::Call("count_lines", vec![text])),
            "sort" => match args.as_slice() {
                [] => Some(Expr::Call("sorted", vec![text])),
                ["-u"] => Some(Expr::Call("sorted", vec![text, code("true")])),
                _ => None,
            },
            "cat" if args.is_empty() => Some(text),
            "xargs" if args.is_empty() => Some(Expr::Call("squeeze", vec![text])),
            _ => None,
        }
    }

    /// The pattern of a grep, and whether only the first line is wanted; `None` if it is another
    /// command.
    fn grep(&mut self, words: &[Word]) -> Lowered<Option<(Pattern, bool)>> {
        let name = words.first().and_then(Word::literal).unwrap_or_default();
        let base = name.rsplit('/').next().unwrap_or_default();
        if !["grep", "egrep", "fgrep"].contains(&base) {
            return Ok(None);
        }
        let (mut extended, mut plain) = (base == "egrep", base == "fgrep");
        let (mut invert, mut first, mut whole) = (false, false, false);
        let mut rest = words.iter().skip(1);
        let mut pattern = None;
        while let Some(word) = rest.next() {
            match word.literal().as_deref() {
                Some("-q" | "-s" | "-qs" | "-sq" | "--quiet" | "--silent" | "-a")
                    if pattern.is_none() => {}
                Some("-v" | "--invert-match" | "-qv" | "-vq") if pattern.is_none() => invert = true,
                Some("-E" | "-qE" | "-Eq" | "--extended-regexp") if pattern.is_none() => {
                    extended = true;
                }
                Some("-F" | "-qF" | "-Fq" | "--fixed-strings") if pattern.is_none() => plain = true,
                Some("-m1") if pattern.is_none() => first = true,
                Some("-w" | "-qw" | "-wq" | "-Fqw" | "-qwF" | "-qFw") if pattern.is_none() => {
                    whole = true;
                }
                Some("-e" | "--") if pattern.is_none() => {
                    pattern = Some(rest.next().ok_or("grep without a pattern")?);
                }
                Some(option) if option.starts_with('-') => {
                    return Err(format!("grep {option}"));
                }
                _ if pattern.is_none() => pattern = Some(word),
                _ => return Err("grep in files".into()),
            }
        }
        let value = self.word(pattern.ok_or("grep without a pattern")?)?;
        let fixed = self.fixed(&value);
        let value = match fixed {
            Some(text) if plain => Expr::Text(text),
            Some(text) => {
                let lua = regex::lua(&text, extended).ok_or("this regular expression")?;
                plain = text
                    .chars()
                    .all(|c| c.is_alphanumeric() || " /:_=,".contains(c));
                Expr::Text(if plain { text } else { lua })
            }
            None => {
                let harmless = |part: &Expr| match part {
                    Expr::Text(text) => {
                        !text.contains(['*', '[', '^', '$', '\\', '+', '?', '(', '|'])
                    }
                    _ => true,
                };
                let parts = match &value {
                    Expr::Join(parts) => parts.as_slice(),
                    one => std::slice::from_ref(one),
                };
                if !parts.iter().all(harmless) {
                    return Err("a regular expression with a value in it".into());
                }
                plain = true;
                value
            }
        };
        let pattern = Pattern {
            value,
            plain,
            invert,
            word: whole,
        };
        Ok(Some((pattern, first)))
    }

    /// `ip addr show dev X | grep -q ADDRESS`.
    fn shows_address(&mut self, show: &Command, grep: &Command) -> Lowered<Option<Cond>> {
        let (Some(show_words), Some(grep_words)) = (simple(show), simple(grep)) else {
            return Ok(None);
        };
        let name = name_of(show).unwrap_or_default();
        if name.rsplit('/').next() != Some("ip")
            || !self.all_harmless(show)
            || !self.all_harmless(grep)
        {
            return Ok(None);
        }
        let (_, args) = self.call(&show_words)?;
        let (_, rest) = commands::options(&args);
        let words: Vec<&str> = rest.iter().map(Arg::word).collect();
        let object = words.first().is_some_and(|object| {
            !object.is_empty() && ("address".starts_with(object) || *object == "addr")
        });
        let verb = words.get(1).is_none_or(|verb| {
            "show".starts_with(verb) || "list".starts_with(verb) || *verb == "ls"
        });
        let dev = match rest.get(2..).unwrap_or_default() {
            [] => None,
            [dev] => Some(dev.value.clone()),
            [keyword, dev] if keyword.word() == "dev" => Some(dev.value.clone()),
            _ => return Ok(None),
        };
        if !object || !verb {
            return Ok(None);
        }
        let Some((pattern, _)) = self.grep(&grep_words).ok().flatten() else {
            return Ok(None);
        };
        // `inet 10.0.0.1/` and the like: the address is what counts.
        let parts = match pattern.value {
            Expr::Join(parts) => parts,
            one => vec![one],
        };
        let parts: Vec<Expr> = parts
            .into_iter()
            .map(|part| match part {
                Expr::Text(text) => Expr::Text(
                    text.replace("%.", ".")
                        .replace("inet6 ", " ")
                        .replace("inet ", " "),
                ),
                part => part,
            })
            .collect();
        let value = commands::join(parts);
        let address = |text: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_hexdigit() || " .:/".contains(c))
        };
        let fits = match &value {
            Expr::Text(text) => address(text) && text.contains(['.', ':']),
            Expr::Join(parts) => parts.iter().all(|part| match part {
                Expr::Text(text) => address(text),
                _ => true,
            }),
            Expr::Vip | Expr::Var(_) | Expr::Arg(..) => true,
            _ => false,
        };
        if !fits {
            return Ok(None);
        }
        let value = match &value {
            _ if !pattern.word => value,
            // A part of an address may be whole words of a line, too.
            _ if !self.is_address(&value) => return Ok(None),
            _ => commands::join(vec![Expr::Text(" ".into()), value, Expr::Text("/".into())]),
        };
        if self.may_be_own_address(&value) {
            self.guess(OWN_ADDRESS);
        }
        let cond = Cond::HasAddress(dev, value);
        Ok(Some(if pattern.invert {
            return Ok(None);
        } else {
            cond
        }))
    }

    /// Is it a whole address, whatever the virtual host?
    fn is_address(&self, value: &Expr) -> bool {
        *value == Expr::Vip
            || self.values(value).is_some_and(|all| {
                all.iter()
                    .all(|text| text.parse::<std::net::IpAddr>().is_ok())
            })
    }

    /// A program's output as one value, if it is a program.
    pub(super) fn program_output(&mut self, name: &str, args: &[Arg]) -> Lowered<Expr> {
        match commands::translate(self, name, args)? {
            Done::Actions(mut actions) => match (actions.pop(), actions.is_empty()) {
                (Some(Action::Run(run)), true) => Ok(Expr::Output(run)),
                _ => Err("the output of a command that has none in a hook".into()),
            },
            _ => Err("the output of a command that has none in a hook".into()),
        }
    }
}

/// The file that a filter reads, and the filter without it.
fn file_of(words: &[Word]) -> Option<(&[Word], &Word)> {
    let (file, words) = words.split_last()?;
    let name = words.first()?.literal()?;
    let filters = [
        "awk", "gawk", "mawk", "cut", "head", "tail", "sed", "grep", "egrep", "fgrep",
    ];
    let base = name.rsplit('/').next()?;
    let begins = match file.0.first()? {
        super::super::shell::Piece::Text { text, .. } => {
            text.starts_with('/') && !text.ends_with('/')
        }
        _ => false,
    };
    // A program of awk or sed may begin with a slash, too.
    (filters.contains(&base) && words.len() > 1 && begins).then_some((words, file))
}

/// Does what a command writes go to a file?
fn keeps(redirect: &Redirect) -> bool {
    let null = redirect
        .target
        .literal()
        .is_some_and(|target| target == "/dev/null");
    redirect.op.starts_with('>') && redirect.op != ">&" && redirect.fd.unwrap_or(1) == 1 && !null
}

/// Is it a text that no program writes?
fn is_said(text: &Expr) -> bool {
    struct Runs(bool);
    impl Visit for Runs {
        fn expr(&mut self, _: usize, expr: &Expr) {
            self.0 |= matches!(expr, Expr::Output(_) | Expr::Raw(..) | Expr::Answer(..));
        }
    }
    let mut runs = Runs(false);
    let what = What::Assign(String::new(), text.clone());
    walk(&[Step { line: 0, what }], &mut runs);
    !runs.0
}

/// A line's number.
fn is_count(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|number| number > 0)
}

/// The words of a simple command without assignments.
pub(super) fn simple(command: &Command) -> Option<Vec<Word>> {
    match &command.kind {
        Kind::Simple { assigns, words } if assigns.is_empty() => Some(words.clone()),
        _ => None,
    }
}

fn flag(given: bool) -> Expr {
    code(if given { "true" } else { "false" })
}

fn code(text: &str) -> Expr {
    Expr::Lua(vec![LuaPart::Code(text.to_owned())])
}

fn grep(text: Expr, pattern: Pattern) -> Expr {
    let args = vec![
        text,
        pattern.value,
        flag(pattern.invert),
        flag(pattern.plain),
    ];
    Expr::Call("grep", args)
}

fn head(text: Expr, which: &'static str, count: u32) -> Expr {
    Expr::Call(which, vec![text, code(&count.to_string())])
}

fn gsub(text: Expr, from: &str, to: &str) -> Expr {
    Expr::Call(
        "string.gsub",
        vec![
            text,
            Expr::Text(from.into()),
            Expr::Text(to.replace('%', "%%")),
        ],
    )
}

fn tr(text: Expr, args: &[&str]) -> Option<Expr> {
    let one = |set: &str| match set {
        "\\n" => Some('\n'),
        "\\t" => Some('\t'),
        "\\r" => Some('\r'),
        set => {
            let mut chars = set.chars();
            chars
                .next()
                .filter(|c| chars.next().is_none() && *c != '\\')
        }
    };
    let pattern = |set: &str| one(set).map(super::compound::escaped);
    match args {
        ["-d", set] => {
            let pattern = match *set {
                "[:space:]" => "%s".to_owned(),
                "[:digit:]" | "0-9" => "%d".to_owned(),
                set => pattern(set)?,
            };
            Some(gsub(text, &pattern, ""))
        }
        ["a-z" | "[:lower:]" | "[a-z]", "A-Z" | "[:upper:]" | "[A-Z]"] => {
            Some(Expr::Call("string.upper", vec![text]))
        }
        ["A-Z" | "[:upper:]" | "[A-Z]", "a-z" | "[:lower:]" | "[a-z]"] => {
            Some(Expr::Call("string.lower", vec![text]))
        }
        [from, to] => Some(gsub(text, &pattern(from)?, &one(to)?.to_string())),
        _ => None,
    }
}

fn cut(text: Expr, args: &[&str]) -> Option<Expr> {
    let (mut separator, mut field) = ("\t", None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if *arg == "-d" {
            separator = args.next()?;
        } else if *arg == "-f" {
            field = Some(*args.next()?);
        } else if let Some(given) = arg.strip_prefix("-d") {
            separator = given;
        } else {
            field = Some(arg.strip_prefix("-f")?);
        }
    }
    let field: u32 = field?.parse().ok().filter(|n| *n > 0)?;
    (separator.chars().count() == 1).then(|| {
        let args = vec![text, Expr::Text(separator.into()), code(&field.to_string())];
        Expr::Call("cut", args)
    })
}

/// `awk [-F X] '[/PATTERN/ | NR==N] {print $N}'`.
fn awk(text: Expr, args: &[&str]) -> Option<Expr> {
    let (separator, program) = match args {
        [program] => (None, *program),
        ["-F", separator, program] => (Some(*separator), *program),
        [option, program] => (Some(option.strip_prefix("-F")?), *program),
        _ => return None,
    };
    if separator.is_some_and(|s| s.chars().count() != 1 || s == " ") {
        return None;
    }
    let (when, print) = program.trim().split_once('{')?;
    let print = print.trim().strip_suffix('}')?.trim().trim_end_matches(';');
    let field = print.strip_prefix("print")?.trim().strip_prefix('$')?;
    let field = match field {
        "NF" => "-1".to_owned(),
        field => field.parse::<u32>().ok()?.to_string(),
    };
    let when = when.trim();
    let text = if when.is_empty() {
        text
    } else if let Some(regex) = when.strip_prefix('/').and_then(|w| w.strip_suffix('/')) {
        let value = Expr::Text(regex::lua(regex, true)?);
        grep(
            text,
            Pattern {
                value,
                plain: false,
                invert: false,
                word: false,
            },
        )
    } else {
        let line = when.strip_prefix("NR")?.trim().strip_prefix("==")?.trim();
        if line != "1" {
            return None;
        }
        head(text, "head", 1)
    };
    let mut args = vec![text, code(&field)];
    args.extend(separator.map(|s| Expr::Text(s.into())));
    (field != "0").then_some(Expr::Call("column", args))
}

/// `sed [-E] [-e] 's/X/Y/[g]'`.
fn sed(text: Expr, args: &[&str]) -> Option<Expr> {
    let (extended, script) = match args {
        [script] | ["-e", script] => (false, *script),
        ["-E" | "-r", script] => (true, *script),
        _ => return None,
    };
    let rest = script.trim().strip_prefix('s')?;
    let sign = rest.chars().next().filter(char::is_ascii_punctuation)?;
    let parts: Vec<&str> = rest.get(1..)?.split(sign).collect();
    let [from, to, flags] = parts.as_slice() else {
        return None;
    };
    if to.contains(['&', '\\', '\n']) || from.ends_with('\\') || !matches!(*flags, "" | "g") {
        return None;
    }
    let from = regex::lua(from, extended)?;
    let mut args = vec![text, Expr::Text(from), Expr::Text(to.replace('%', "%%"))];
    if flags.is_empty() {
        args.push(code("1"));
    }
    Some(Expr::Call("sed", args))
}
