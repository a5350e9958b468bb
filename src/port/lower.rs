//! From the shell's tree to steps: commands and lists. What cannot be translated becomes a step
//! that says so.

mod compound;
mod redirect;
mod scope;
mod value;

use std::collections::HashMap;

pub(crate) use self::scope::Scope;
use super::commands::{self, Arg, Done};
use super::facts::{FactKind, Facts};
use super::ir::{Action, Cond, Expr, Step, What};
use super::shell::{Command, Item, Kind, Piece, Pipeline, Script, Word};
use super::{Settings, Source};

/// What both scripts share: the names of command lines, and the priorities of rules.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Command lines and their names.
    commands: Vec<(Vec<String>, String)>,
    /// Priorities given to rules that had none, by what the rule says.
    rules: Vec<Vec<(&'static str, Expr)>>,
}

/// The translation of one script.
pub(crate) struct Lower<'a> {
    settings: &'a Settings,
    source: &'a str,
    scope: Scope,
    shared: &'a mut Shared,
    facts: Facts,
    line: usize,
    /// The function whose body is being translated.
    function: Option<String>,
    /// How often `shift` was called so far.
    shifted: usize,
    /// After `set -e`.
    errexit: bool,
    /// How deep in compound commands: a `shift` there would count differently each time.
    nesting: usize,
    /// Does `$?` stand for a command that was remembered?
    remembered: bool,
}

/// The result of a translation that may not be possible.
type Lowered<T> = Result<T, String>;

impl<'a> Lower<'a> {
    /// Translates a whole script that is called with these arguments.
    pub(crate) fn script(
        script: &Script,
        source: &'a Source,
        arguments: &[Expr],
        settings: &'a Settings,
        shared: &'a mut Shared,
    ) -> (Vec<Step>, Scope, Facts) {
        let scope = Scope::of(script, arguments, settings);
        let mut lower = Self {
            settings,
            source: &source.text,
            scope,
            shared,
            facts: Facts::of(&source.name),
            line: 1,
            function: None,
            shifted: 0,
            errexit: false,
            nesting: 0,
            remembered: false,
        };
        let mut steps = lower.items(&script.items);
        if steps
            .last()
            .is_some_and(|step| step.what == What::Return(None))
        {
            steps.pop();
        }
        steps = with_comments(steps, &script.comments);
        (steps, lower.scope, lower.facts)
    }

    /// The line that is being translated behaves otherwise in the hook; nothing is to be done.
    pub(crate) fn differs(&mut self, text: impl Into<String>) {
        self.facts.record(FactKind::Different, self.line, text);
    }

    /// The line that is being translated was translated on an assumption.
    pub(crate) fn guess(&mut self, text: impl Into<String>) {
        self.facts.record(FactKind::Guessed, self.line, text);
    }

    /// The name under which this command line is granted; the same one for the same line.
    pub(crate) fn command_name(&mut self, argv: &[String]) -> String {
        if let Some((_, name)) = self.shared.commands.iter().find(|(line, _)| line == argv) {
            return name.clone();
        }
        let words = argv
            .iter()
            .filter(|word| !word.starts_with(['-', '{']))
            .take(3);
        let words = words.map(|word| word.rsplit('/').next().unwrap_or_default());
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        let base: String = words
            .collect::<Vec<_>>()
            .join("-")
            .chars()
            .map(plain)
            .take(40)
            .collect();
        let base = base.trim_matches('-').to_owned();
        let taken = |name: &str| self.shared.commands.iter().any(|(_, n)| n == name);
        let numbered = |n: usize| {
            if n == 1 {
                base.clone()
            } else {
                format!("{base}-{n}")
            }
        };
        let name = (1..=self.shared.commands.len() + 1)
            .map(numbered)
            .find(|name| !taken(name))
            .unwrap_or_default();
        self.shared.commands.push((argv.to_vec(), name.clone()));
        name
    }

    /// The priority that the kernel would give a rule without one: below the last it gave.
    pub(crate) fn rule_priority(&mut self, rule: &[(&'static str, Expr)]) -> Expr {
        let known = self.shared.rules.iter().position(|r| r == rule);
        let at = known.unwrap_or_else(|| {
            self.shared.rules.push(rule.to_vec());
            self.shared.rules.len() - 1
        });
        self.guess(
            "a rule without a priority: it gets the one that the kernel gives where there are no other rules",
        );
        Expr::Text((32765_usize.saturating_sub(at)).to_string())
    }

    /// The number of a routing table that has a name.
    pub(crate) fn table_named(&self, name: &str) -> Option<u32> {
        self.settings.tables.get(name).copied()
    }

    /// Is this the virtual host's own interface?
    pub(crate) fn is_own_device(&self, dev: &Expr) -> bool {
        *dev == Expr::Dev
            || self
                .scope
                .constant(dev, self.settings)
                .is_some_and(|d| Some(&d) == self.settings.interface.as_ref())
    }

    /// The address that an alias of /etc/network/interfaces stands for.
    pub(crate) fn alias_address(&mut self, target: &Expr) -> Lowered<Expr> {
        let own = matches!(target, Expr::Join(parts) if parts.first() == Some(&Expr::Dev));
        let name = self.scope.constant(target, self.settings);
        let stanza = name.as_ref().and_then(|name| self.settings.stanza(name));
        match stanza {
            Some(stanza) if stanza.commands => {
                Err("its stanza in the interfaces file has commands of its own".into())
            }
            Some(stanza) => Ok(Expr::Text(stanza.cidr)),
            None if own || name.as_deref().is_some_and(|n| n.ends_with(":ucarp")) => {
                self.guess(
                    "the alias is taken to be the virtual host's address; port what else its stanza does by hand",
                );
                Ok(Expr::Cidr)
            }
            None => Err(
                "what the alias does stands in /etc/network/interfaces: see --interfaces".into(),
            ),
        }
    }

    /// Every text that the value may be, if all are known.
    pub(crate) fn values(&self, value: &Expr) -> Option<Vec<String>> {
        let values = self.scope.values(value, self.settings);
        values.complete.then_some(values.known)
    }

    /// Translates a list.
    fn items(&mut self, items: &[Item]) -> Vec<Step> {
        let mut steps = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.line = item.line;
            let asked = items
                .get(index + 1)
                .is_some_and(|next| self.text(next).contains("$?"));
            let result = match self.remember(item).filter(|_| asked) {
                Some(steps) => Ok(steps),
                None => self.item(item),
            };
            steps.extend(result.unwrap_or_else(|why| vec![self.todo(item, why)]));
        }
        steps
    }

    fn text(&self, item: &Item) -> &'a str {
        self.source
            .get(item.span.clone())
            .unwrap_or_default()
            .trim_end()
    }

    fn todo(&self, item: &Item, why: String) -> Step {
        let original = format!(
            "{}{}",
            self.text(item),
            if item.background { " &" } else { "" }
        );
        Step {
            line: item.line,
            what: What::Todo { original, why },
        }
    }

    /// The item as a question whose answer is kept for `$?`.
    fn remember(&mut self, item: &Item) -> Option<Vec<Step>> {
        if item.background {
            return None;
        }
        let cond = self.item_condition(item).ok()?;
        self.remembered = true;
        Some(vec![self.step(What::Remember(cond))])
    }

    fn step(&self, what: What) -> Step {
        Step {
            line: self.line,
            what,
        }
    }

    fn item(&mut self, item: &Item) -> Lowered<Vec<Step>> {
        let steps = self.and_or(item)?;
        if item.background {
            let quick = |step: &Step| matches!(&step.what, What::Do(action) if !matches!(action, Action::Run(_)));
            if !steps.iter().all(quick) {
                return Err("a hook has no background: all that it does ends with it".into());
            }
            self.differs("done in the foreground: a hook has no background");
        }
        Ok(steps)
    }

    fn and_or(&mut self, item: &Item) -> Lowered<Vec<Step>> {
        let Some(((and, last), before)) = item.rest.split_last() else {
            return self.pipeline(&item.first);
        };
        let cond = self.chain(&item.first, before)?;
        if !and && is_no_op(last) {
            return Ok(vec![self.step(What::Try(cond))]);
        }
        let body = self.pipeline(last)?;
        let cond = if *and { cond } else { cond.not() };
        Ok(vec![self.step(What::If(vec![(cond, body)], Vec::new()))])
    }

    fn item_condition(&mut self, item: &Item) -> Lowered<Cond> {
        self.chain(&item.first, &item.rest)
    }

    fn chain(&mut self, first: &Pipeline, rest: &[(bool, Pipeline)]) -> Lowered<Cond> {
        let mut cond = self.pipeline_condition(first)?;
        for (and, pipeline) in rest {
            let next = Box::new(self.pipeline_condition(pipeline)?);
            cond = if *and {
                Cond::And(Box::new(cond), next)
            } else {
                Cond::Or(Box::new(cond), next)
            };
        }
        Ok(cond)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Lowered<Vec<Step>> {
        match pipeline.commands.as_slice() {
            [command] => self.command(command),
            // What it says goes to the log anyway.
            [command, to] if name_of(to).is_some_and(|name| name.ends_with("logger")) => {
                self.command(command)
            }
            _ => Err("a pipe".into()),
        }
    }

    fn pipeline_condition(&mut self, pipeline: &Pipeline) -> Lowered<Cond> {
        let cond = match pipeline.commands.as_slice() {
            [command] => self.command_condition(command)?,
            [show, grep] => self.shows_address(show, grep)?,
            _ => return Err("a pipe".into()),
        };
        Ok(if pipeline.negated { cond.not() } else { cond })
    }

    /// Does a command work? For `if`, `&&`, `||`, `!`, `while`.
    fn command_condition(&mut self, command: &Command) -> Lowered<Cond> {
        self.line = command.line;
        match &command.kind {
            Kind::Test(words) => self.extended_test(words),
            Kind::Simple { assigns, words } if assigns.is_empty() && !words.is_empty() => {
                let (name, args) = self.call(words)?;
                if let Some(function) = self.scope.function(&name) {
                    if !function.returns {
                        return Err(format!(
                            "whether {name} works is decided by its last command: end it with return"
                        ));
                    }
                    return Ok(Cond::Function(
                        name,
                        args.into_iter().map(|arg| arg.value).collect(),
                    ));
                }
                match self.simple(&name, &args, &command.redirects)? {
                    Done::Actions(actions) => Ok(Cond::Did(actions)),
                    Done::Asks(cond) => Ok(cond),
                    Done::Nothing(_) => Ok(Cond::Const(true)),
                }
            }
            _ => Err("only a single command can be a condition".into()),
        }
    }

    /// `ip addr show dev X | grep -q ADDRESS`.
    fn shows_address(&mut self, show: &Command, grep: &Command) -> Lowered<Cond> {
        let words = |command: &Command| match &command.kind {
            Kind::Simple { assigns, words } if assigns.is_empty() => Some(words.clone()),
            _ => None,
        };
        let (Some(show), Some(grep)) = (words(show), words(grep)) else {
            return Err("a pipe".into());
        };
        let (name, args) = self.call(&show)?;
        let (filter, pattern) = self.call(&grep)?;
        let is = |name: &str, base: &str| name.rsplit('/').next() == Some(base);
        let (_, rest) = commands::options(&args);
        let words: Vec<&str> = rest.iter().map(Arg::word).collect();
        let shows = match (words.first(), words.get(1)) {
            (Some(object), verb) if is(&name, "ip") && !object.is_empty() => {
                ("address".starts_with(object) || *object == "addr")
                    && verb.is_none_or(|verb| {
                        "show".starts_with(verb) || "list".starts_with(verb) || *verb == "ls"
                    })
            }
            _ => is(&name, "ifconfig"),
        };
        if !shows || !["grep", "egrep", "fgrep"].iter().any(|g| is(&filter, g)) {
            return Err("a pipe".into());
        }
        let dev = rest
            .iter()
            .skip(if is(&name, "ip") { 2 } else { 0 })
            .find(|arg| arg.word() != "dev" && arg.word() != "to");
        let dev = dev.map(|arg| arg.value.clone());
        let (_, pattern) = commands::options(&pattern);
        let [pattern] = pattern else {
            return Err("a pipe".into());
        };
        let pattern = match &pattern.value {
            // `inet 10.0.0.1/` and the like: the address is what counts.
            Expr::Join(parts) => {
                let kept =
                    parts.iter().filter(|part| !matches!(part, Expr::Text(t) if matches!(t.trim(), "inet" | "/" | "inet6")));
                commands::join(kept.cloned().collect())
            }
            other => other.clone(),
        };
        let address = |text: &String| {
            text.split('/')
                .next()
                .is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok())
        };
        match self.values(&pattern) {
            Some(values) if !values.iter().all(address) => {
                Err("a pipe that looks for something else than an address".into())
            }
            Some(_) => Ok(Cond::HasAddress(dev, pattern)),
            None if matches!(
                pattern,
                Expr::Vip | Expr::Var(_) | Expr::Arg(..) | Expr::Join(_)
            ) =>
            {
                Ok(Cond::HasAddress(dev, pattern))
            }
            None => Err("a pipe".into()),
        }
    }

    /// The command's name and its arguments.
    fn call(&mut self, words: &[Word]) -> Lowered<(String, Vec<Arg>)> {
        let mut args = Vec::new();
        for (index, word) in words.iter().enumerate() {
            args.extend(self.arguments(word, index > 0)?);
        }
        if args.is_empty() {
            return Err("what is run is not known here".into());
        }
        let first = args.remove(0);
        let name = first.text.ok_or("what is run is not known here")?;
        Ok((name, args))
    }

    fn command(&mut self, command: &Command) -> Lowered<Vec<Step>> {
        self.line = command.line;
        if let Kind::Simple { assigns, words } = &command.kind {
            return self.simple_command(command, assigns, words);
        }
        // What a compound command writes goes to the log, as what its commands write.
        if !command
            .redirects
            .iter()
            .all(|redirect| self.is_harmless(redirect))
        {
            return Err("the redirection of a whole block".into());
        }
        self.nesting += 1;
        let steps = self.compound(command);
        self.nesting -= 1;
        steps
    }

    fn simple_command(
        &mut self,
        command: &Command,
        assigns: &[(String, Word)],
        words: &[Word],
    ) -> Lowered<Vec<Step>> {
        if words.is_empty() {
            return self.assignments(command, assigns);
        }
        let environment = ["PATH", "LANG", "LC_ALL", "LANGUAGE", "IFS"];
        if !assigns
            .iter()
            .all(|(name, _)| environment.contains(&name.as_str()) && name != "IFS")
        {
            return Err("a variable for one command only".into());
        }
        if self.keeps_arguments(words) {
            return Ok(Vec::new());
        }
        let (name, args) = self.call(words)?;
        if let Some(function) = self.scope.function(&name).cloned() {
            let args = args
                .into_iter()
                .map(|arg| arg.value)
                .take(function.params)
                .collect();
            return Ok(vec![self.step(What::Call(name, args))]);
        }
        if let Some(steps) = self.builtin(&name, &args, words, command)? {
            return Ok(steps);
        }
        let done = self.simple(&name, &args, &command.redirects)?;
        Ok(match done {
            Done::Actions(actions) => actions.into_iter().map(|action| self.act(action)).collect(),
            Done::Asks(Cond::Const(_)) | Done::Nothing("") => Vec::new(),
            Done::Asks(cond) => vec![self.step(if self.errexit {
                What::Must(cond)
            } else {
                What::Try(cond)
            })],
            Done::Nothing(why) => vec![self.step(What::Comment(why.to_owned()))],
        })
    }

    /// `set -- $@` of a script whose arguments are single words.
    fn keeps_arguments(&self, words: &[Word]) -> bool {
        let all = |word: &Word| matches!(word.0.as_slice(), [Piece::Param { name, op: None, .. }] if name == "@" || name == "*");
        self.function.is_none()
            && self.settings.keepalived().is_some()
            && matches!(words, [set, dashes, rest] if set.is("set") && dashes.is("--") && all(rest))
    }

    /// An action as a step: what the API does must work; a program's status counts after `set -e`
    /// alone.
    fn act(&mut self, action: Action) -> Step {
        let what = match action {
            Action::Run(run) if self.errexit => What::Must(Cond::Did(vec![Action::Run(run)])),
            Action::Run(run) => {
                self.differs(
                    "a program that fails is a warning in the log, and the hook goes on; write assert(run(...)) to let it fail",
                );
                What::Try(Cond::Did(vec![Action::Run(run)]))
            }
            action => What::Do(action),
        };
        self.step(what)
    }
}

fn name_of(command: &Command) -> Option<String> {
    match &command.kind {
        Kind::Simple { words, .. } => words.first()?.literal(),
        _ => None,
    }
}

fn is_no_op(pipeline: &Pipeline) -> bool {
    matches!(pipeline.commands.as_slice(), [command] if name_of(command).is_some_and(|n| matches!(n.as_str(), "true" | ":" | "/bin/true")))
}

/// Comments that have a line of their own, before what follows them.
fn with_comments(steps: Vec<Step>, comments: &[(usize, String)]) -> Vec<Step> {
    let mut comments = comments.iter().peekable();
    let mut all = Vec::new();
    for step in steps {
        while let Some((line, text)) =
            comments.next_if(|(line, _)| step.line > 0 && *line <= step.line)
        {
            if !text.is_empty() {
                all.push(Step {
                    line: *line,
                    what: What::Comment(text.clone()),
                });
            }
        }
        all.push(step);
    }
    all
}

/// Names of functions and what is known of them.
pub(crate) type Functions = HashMap<String, scope::Function>;
