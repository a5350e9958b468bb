//! From the shell's tree to steps: commands and lists. What cannot be translated becomes a step
//! that says so.

mod arguments;
mod builtin;
mod calculate;
mod comments;
mod compound;
mod directory;
mod feed;
mod filled;
mod known;
mod order;
mod pattern;
mod pipe;
mod reading;
mod redirect;
mod regex;
mod scope;
mod source;
mod split;
mod status;
mod trap;
mod value;
mod values;

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

pub(crate) use self::arguments::settled;
pub(crate) use self::builtin::LOCK;
use self::scope::About;
pub(crate) use self::scope::{Scope, Shell};
use super::commands::{self, Arg, Done};
use super::facts::{FactKind, Facts};
use super::ir::{Action, Cond, Expr, Step, What};
use super::settings::Caller;
use super::shell::{Command, Item, Kind, Piece, Pipeline, Script, Word};
use super::{Settings, Source};

/// What both scripts share: the names of command lines, and the priorities of rules.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Command lines and their names.
    commands: Vec<(Vec<String>, String)>,
    /// Rules that are added, with their priorities.
    rules: Vec<(Vec<(&'static str, Expr)>, Expr)>,
    /// Symbolic links that the scripts make.
    links: Vec<Expr>,
    /// Aliases of devices, `eth0:1`, and the addresses that they were given.
    labels: Vec<(Expr, Expr)>,
}

/// The translation of one script.
pub(crate) struct Lower<'a> {
    settings: &'a Settings,
    /// The same without what belongs to one virtual host: its interface, address and xparam never
    /// become text of the hook.
    plain: Settings,
    source: Rc<str>,
    /// Comments that have found no place yet.
    comments: VecDeque<(usize, String)>,
    scope: Scope,
    shared: &'a mut Shared,
    facts: Facts,
    line: usize,
    /// The file in which the reader is that was read with `.`.
    file: Option<String>,
    /// The function whose body is being translated.
    function: Option<String>,
    /// Functions of the script in what cannot be read.
    unread: HashSet<String>,
    /// Functions whose exit status matters.
    asked: HashSet<String>,
    /// How often `shift` was called so far.
    shifted: usize,
    /// After `set -e`.
    errexit: bool,
    /// After `set -o pipefail`.
    pipefail: bool,
    /// Does `set -e` look at the status of the command substitution at hand?
    must: bool,
    /// After `set -u`.
    nounset: bool,
    /// How deep in compound commands: a `shift` there would count differently each time.
    nesting: usize,
    /// How deep in loops.
    loops: usize,
    /// How many words of the command at hand may be empty, or one of several.
    choices: usize,
    /// Does `$?` stand for a command that was remembered, and is its number known?
    remembered: Option<bool>,
    /// How often the item reads a `$?` whose number is not known, and not only whether it is 0.
    inexact: usize,
    /// Is the status of the list at hand the function's?
    tail: bool,
    /// What `${X:=...}` sets before the command at hand; `None` where that cannot be.
    before: Option<Vec<Step>>,
    /// Values of the command at hand that stand without quotes and are not empty.
    bare: Vec<Expr>,
    /// Variables that are not empty here, since the script has looked.
    filled: Vec<String>,
    /// Does the command at hand only say something for the log?
    logging: bool,
    /// Was a date left out of what the list's command says?
    dated: bool,
    /// Does it put its arguments together?
    joins: bool,
    /// Does it matter how many arguments the command has?
    counts: bool,
    /// Variables that an assignment has been translated for.
    set: HashSet<String>,
    /// What programs find in their environment.
    environment: Vec<(String, String)>,
    /// Where programs are looked for besides the usual places.
    path: Vec<String>,
    /// Files that look like logs, and whose content is used.
    data: HashSet<String>,
    /// Where `cd` has gone.
    directory: Option<String>,
    /// What `trap ... EXIT` leaves for the end: the line, and the commands.
    at_exit: Option<(usize, String)>,
}

/// The result of a translation that may not be possible.
type Lowered<T> = Result<T, String>;

impl<'a> Lower<'a> {
    /// Translates a whole script, whose path is `path`, that is called with these arguments.
    pub(crate) fn script(
        script: &Script,
        source: &Source,
        path: &str,
        arguments: &[Expr],
        settings: &'a Settings,
        shared: &'a mut Shared,
    ) -> (Vec<Step>, Scope, Facts) {
        let first = source.text.lines().next().unwrap_or_default();
        let shell = Shell::of(first);
        let flags = first
            .split_whitespace()
            .skip(1)
            .find_map(|word| word.strip_prefix('-'))
            .unwrap_or_default();
        let about = About {
            path,
            shell,
            arguments,
        };
        let mut script = source::inline(script, &about, settings);
        arguments::settle(&mut script.items);
        let plain = Settings {
            caller: Caller::Ucarp { whatever: false },
            interface: None,
            address: None,
            xparam: None,
            ..settings.clone()
        };
        let mut lower = Self {
            settings,
            plain,
            source: source.text.as_str().into(),
            comments: script.comments.iter().cloned().collect(),
            scope: Scope::of(&script, &about),
            shared,
            facts: Facts::of(&source.name),
            line: 1,
            file: None,
            function: None,
            unread: status::unread_functions(&script.items, &source.text),
            asked: status::asked(&script.items),
            shifted: 0,
            errexit: first.starts_with("#!") && flags.contains('e'),
            pipefail: false,
            must: false,
            nounset: first.starts_with("#!") && flags.contains('u'),
            nesting: 0,
            loops: 0,
            choices: 0,
            remembered: None,
            inexact: 0,
            tail: false,
            before: None,
            bare: Vec::new(),
            filled: Vec::new(),
            logging: false,
            dated: false,
            joins: false,
            counts: true,
            set: HashSet::new(),
            environment: Vec::new(),
            path: Vec::new(),
            data: HashSet::new(),
            directory: None,
            at_exit: None,
        };
        lower.find_data(&script.items);
        let mut steps = lower.begin();
        steps.extend(lower.items(&script.items));
        steps.extend(lower.comments_before(usize::MAX));
        let ends = |step: &Step| step.what == What::Return(None);
        if let Some(at) = steps
            .iter()
            .rposition(|step| !matches!(step.what, What::Comment(_)))
            && steps.get(at).is_some_and(ends)
        {
            steps.remove(at);
        }
        steps.extend(lower.at_exit());
        (steps, lower.scope, lower.facts)
    }

    /// Variables whose first value comes from outside.
    fn begin(&self) -> Vec<Step> {
        let names = self.scope.order().at_begin();
        let reads = |line: &str, name: &str| {
            line.contains(&format!("${name}")) || line.contains(&format!("${{{name}"))
        };
        names
            .into_iter()
            .map(|name| Step {
                line: self
                    .source
                    .lines()
                    .position(|line| reads(line, name))
                    .map_or(0, |index| index + 1),
                what: What::Assign(name.clone(), Expr::Outside(name.clone())),
            })
            .collect()
    }

    /// The line that is being translated behaves otherwise in the hook; nothing is to be done.
    pub(crate) fn differs(&mut self, text: impl Into<String>) {
        self.facts.record(FactKind::Different, self.line, text);
    }

    /// Something is to be filled in for the line that is being translated.
    pub(crate) fn open(&mut self, text: impl Into<String>) {
        self.facts.record(FactKind::Open, self.line, text);
    }

    /// The line that is being translated was translated on an assumption.
    pub(crate) fn guess(&mut self, text: impl Into<String>) {
        self.facts.record(FactKind::Guessed, self.line, text);
    }

    /// Of the `$?` that was read last, only whether it is 0 matters.
    pub(crate) const fn asks_success_only(&mut self) {
        self.inexact = self.inexact.saturating_sub(1);
    }

    /// Says so where a number was read that is not known.
    fn tell_inexact(&mut self) {
        if std::mem::take(&mut self.inexact) > 0 {
            self.guess("$? is 1 in the hook, whatever number the command failed with");
        }
    }

    /// The reader comes to this line. In a sourced file it stays where that is read.
    fn at(&mut self, line: usize) {
        if self.file.is_none() {
            self.line = line;
        }
    }

    /// Translates a list.
    fn items(&mut self, items: &[Item]) -> Vec<Step> {
        let tail = std::mem::take(&mut self.tail);
        let (mut steps, mut remembered) = (Vec::new(), None);
        let mut index = 0;
        self.tell_inexact();
        while let Some(item) = items.get(index) {
            index += 1;
            steps.extend(self.comments_before(item.line));
            self.at(item.line);
            self.remembered = remembered.take();
            let next = items.get(index).map(|next| self.text(next));
            let returned = next
                .as_deref()
                .is_some_and(|text| self.returns_status(text));
            let asked = next.is_some_and(|text| {
                let reads = text.contains("$?") || text.contains("${?}");
                // A function that nobody asks gives nothing back.
                reads && (returned || self.function.is_none() || !is_return(&text))
            });
            let outer = self.before.replace(Vec::new());
            let mut result = Err(String::new());
            if asked && let Some((done, exact)) = self.remember(item) {
                (result, remembered) = (Ok(done), Some(exact));
            }
            if result.is_err() {
                self.before = Some(Vec::new());
                // What `return $?` gives back is what the item ends with.
                index += usize::from(returned);
                self.tail = returned || (tail && index == items.len());
                result = if self.tail {
                    self.tail_item(item)
                } else {
                    self.item(item)
                };
                self.tail = false;
            }
            let before = std::mem::replace(&mut self.before, outer).unwrap_or_default();
            match result {
                Ok(mut done) => {
                    self.tell_inexact();
                    if std::mem::take(&mut self.dated) {
                        done.iter_mut().for_each(begin_without_blank);
                    }
                    steps.extend(before.into_iter().chain(done));
                    self.fill_after(item);
                }
                Err(why) => {
                    self.inexact = 0;
                    // Its own comments stand in the text that is left.
                    let end = item.line + self.text(item).matches('\n').count();
                    while self.comments.front().is_some_and(|(of, _)| *of <= end) {
                        self.comments.pop_front();
                    }
                    self.at(item.line);
                    steps.push(self.todo(item, why));
                }
            }
        }
        self.remembered = None;
        steps.extend(self.comments_after(items.last()));
        steps
    }

    /// `return $?` in a function whose status is asked for.
    fn returns_status(&self, text: &str) -> bool {
        let asked = |name| self.asked.contains(name);
        self.function.as_ref().is_some_and(asked) && is_return(text)
    }

    fn text(&self, item: &Item) -> String {
        let text = self.source.get(item.span.clone()).unwrap_or_default();
        text.trim_end().to_owned()
    }

    fn todo(&self, item: &Item, why: String) -> Step {
        let end = if item.background { " &" } else { "" };
        let original = format!("{}{end}", self.text(item));
        self.step(What::Todo { original, why })
    }

    /// The item as a question whose answer is kept for `$?`, and whether that is the number that
    /// the shell has.
    fn remember(&mut self, item: &Item) -> Option<(Vec<Step>, bool)> {
        if item.background || self.errexit {
            return None;
        }
        let cond = self.item_condition(item).ok()?;
        let exact = status::is_exact(&cond);
        Some((vec![self.step(What::Remember(cond))], exact))
    }

    fn step(&self, what: What) -> Step {
        Step {
            line: self.line,
            what,
        }
    }

    fn item(&mut self, item: &Item) -> Lowered<Vec<Step>> {
        if self.text(item).contains('\u{fffd}') {
            return Err("it has bytes that are not UTF-8".into());
        }
        let steps = self.and_or(item)?;
        if item.background {
            if !steps.iter().all(is_quick) {
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
        if let Some(steps) = self.either(item)? {
            return Ok(steps);
        }
        if let Some(steps) = self.moves_first(item)? {
            return Ok(steps);
        }
        let read = |pipeline: &Pipeline| matches!(pipeline.commands.as_slice(), [command] if matches!(command.kind, Kind::Sourced(_)));
        // `. FILE || exit`: it could be read.
        if read(&item.first) && before.is_empty() && !and {
            return self.pipeline(&item.first);
        }
        self.before = None;
        let cond = self.chain(&item.first, before)?;
        if before.is_empty() && !self.errexit && status::of_last(last) {
            return self.after_status(cond, *and, last);
        }
        if !and && is_no_op(last) {
            return Ok(vec![self.step(What::Try(cond))]);
        }
        let mut body = self.pipeline(last)?;
        if let [
            Step {
                what: What::Block(inner),
                ..
            },
        ] = body.as_mut_slice()
        {
            body = std::mem::take(inner);
        }
        let cond = if *and { cond } else { cond.not() };
        match cond {
            Cond::Const(true) => return Ok(body),
            Cond::Const(false) => return Ok(Vec::new()),
            _ => {}
        }
        Ok(vec![self.step(What::If(vec![(cond, body)], Vec::new()))])
    }

    /// `A && X=1 || X=0`: what stands between cannot fail, so that it is one or the other.
    fn either(&mut self, item: &Item) -> Lowered<Option<Vec<Step>>> {
        let Some(((false, last), before)) = item.rest.split_last() else {
            return Ok(None);
        };
        let Some(((true, then), before)) = before.split_last() else {
            return Ok(None);
        };
        let sets = |pipeline: &Pipeline| match pipeline.commands.as_slice() {
            [command] => {
                matches!(&command.kind, Kind::Simple { words, .. } if words.is_empty())
            }
            _ => false,
        };
        if before.iter().any(|(_, one)| sets(one)) || !sets(then) || self.errexit {
            return Ok(None);
        }
        let body = self.pipeline(then)?;
        let sure =
            |step: &Step| matches!(&step.what, What::Assign(_, value) if super::is_pure(value));
        if !body.iter().all(sure) {
            return Ok(None);
        }
        self.before = None;
        let cond = self.chain(&item.first, before)?;
        let otherwise = self.pipeline(last)?;
        Ok(Some(vec![
            self.step(What::If(vec![(cond, body)], otherwise)),
        ]))
    }

    /// `A || rc=$?`: its status is kept, and looked at.
    fn after_status(&mut self, cond: Cond, and: bool, last: &Pipeline) -> Lowered<Vec<Step>> {
        self.remembered = Some(status::is_exact(&cond));
        let body = self.pipeline(last);
        self.remembered = None;
        let when = if and {
            Cond::Status
        } else {
            Cond::Status.not()
        };
        Ok(vec![
            self.step(What::Remember(cond)),
            self.step(What::If(vec![(when, body?)], Vec::new())),
        ])
    }

    fn item_condition(&mut self, item: &Item) -> Lowered<Cond> {
        if self.text(item).contains('\u{fffd}') {
            return Err("it has bytes that are not UTF-8".into());
        }
        self.before = None;
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
        if pipeline.negated {
            // Whatever comes of it, the script goes on.
            let cond = self.pipeline_condition(pipeline)?;
            return Ok(vec![self.step(What::Try(cond))]);
        }
        match pipeline.commands.as_slice() {
            [command] => self.command(command),
            commands => self.piped(commands),
        }
    }

    fn pipeline_condition(&mut self, pipeline: &Pipeline) -> Lowered<Cond> {
        let cond = match pipeline.commands.as_slice() {
            [command] => self.command_condition(command)?,
            commands => self.pipe_condition(commands)?,
        };
        self.remembered = None;
        Ok(if pipeline.negated { cond.not() } else { cond })
    }

    /// Does a command work? For `if`, `&&`, `||`, `!`, `while`.
    fn command_condition(&mut self, command: &Command) -> Lowered<Cond> {
        self.at(command.line);
        match &command.kind {
            Kind::Test(words) if command.redirects.is_empty() => self.extended_test(words),
            Kind::Arithmetic(text) => self.truth(text),
            Kind::Simple { assigns, words } if !words.is_empty() => {
                if let Some(choices) = self.choices(words)? {
                    let mut cond = Cond::Const(false);
                    for (when, words) in choices.into_iter().rev() {
                        let one = Command {
                            kind: Kind::Simple {
                                assigns: assigns.clone(),
                                words,
                            },
                            ..command.clone()
                        };
                        let one = self.choosing(|lower| lower.command_condition(&one))?;
                        cond = match when {
                            None => one,
                            Some(when) => Cond::Or(
                                Box::new(Cond::And(Box::new(when.clone()), Box::new(one))),
                                Box::new(Cond::And(Box::new(when.not()), Box::new(cond))),
                            ),
                        };
                    }
                    return Ok(cond);
                }
                self.simple_condition(command, assigns, words)
            }
            // `( A | B )`.
            Kind::Block { items, .. } if command.redirects.is_empty() => match items.as_slice() {
                [item] if !item.background => self.chain(&item.first, &item.rest),
                _ => Err("only a single command can be a condition".into()),
            },
            _ => Err("only a single command can be a condition".into()),
        }
    }

    fn simple_condition(
        &mut self,
        command: &Command,
        assigns: &[(String, Word)],
        words: &[Word],
    ) -> Lowered<Cond> {
        if assigns.is_empty()
            && let Some(run) = self.with_names(command, words)?
        {
            return Ok(Cond::Did(vec![Action::Run(run)]));
        }
        let (name, args) = self.call(words)?;
        if self.scope.function(&name).is_some() {
            if !self.asked.contains(&name) || !assigns.is_empty() || !self.all_harmless(command) {
                return Err(format!("whether {name} works is not known here"));
            }
            let args = self.function_arguments(&name, args)?;
            return Ok(Cond::Function(name, args));
        }
        match self.with_environment(assigns, |lower| {
            lower.simple(&name, &args, &command.redirects)
        })? {
            Done::Actions(actions) if actions.len() > 1 => {
                Err("several things at once in a condition".into())
            }
            Done::Actions(actions) => Ok(Cond::Did(actions)),
            Done::Asks(cond) => Ok(cond),
            Done::Nothing(_) => Ok(Cond::Const(true)),
        }
    }

    /// What a function is called with: all that it looks at, and at least as many as it names.
    fn function_arguments(&self, name: &str, args: Vec<Arg>) -> Lowered<Vec<Expr>> {
        let function = self.scope.function(name).cloned().unwrap_or_default();
        if let Some(at) = args
            .iter()
            .position(|arg| arg.split && !self.is_one_word(&arg.value))
            && (function.all || at + 1 < args.len().max(function.params))
        {
            return Err("an argument without quotes may be empty, or several".into());
        }
        let mut values: Vec<Expr> = args.into_iter().map(|arg| arg.value).collect();
        if !function.all {
            values.resize(function.params, Expr::Text(String::new()));
        }
        Ok(values)
    }

    /// With `NAME=VALUE` before the command.
    fn with_environment<T>(
        &mut self,
        assigns: &[(String, Word)],
        run: impl FnOnce(&mut Self) -> Lowered<T>,
    ) -> Lowered<T> {
        let before = self.environment.len();
        for (name, value) in assigns {
            let harmless = ["LANG", "LC_ALL", "LANGUAGE", "PATH"].contains(&name.as_str());
            if harmless {
                continue;
            }
            let value = self.word(value)?;
            let text = self.fixed(&value).filter(|_| name != "IFS");
            let text = text.ok_or("a variable for one command only")?;
            self.environment.push((name.clone(), text));
        }
        let result = run(self);
        self.environment.truncate(before);
        result
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
        if let (None, Some(service)) = (&first.text, of_init(&first.value)) {
            // /etc/init.d/$X start
            let service = self.arg(service);
            args.insert(0, service);
            return Ok(("service".into(), args));
        }
        let name = first.text.ok_or("what is run is not known here")?;
        if self.unread.contains(&name) {
            return Err("its function could not be read".into());
        }
        Ok((name, args))
    }

    fn all_harmless(&mut self, command: &Command) -> bool {
        command
            .redirects
            .iter()
            .all(|redirect| self.is_harmless(redirect))
    }

    fn command(&mut self, command: &Command) -> Lowered<Vec<Step>> {
        self.at(command.line);
        if let Kind::Simple { assigns, words } = &command.kind {
            return self.simple_command(command, assigns, words);
        }
        if let Some(steps) = self.read_loop(command, None)? {
            return Ok(steps);
        }
        if let Kind::Unread(why) = &command.kind {
            return Err(why.clone());
        }
        if let Some(done) = self.block_into(command)? {
            return Ok(done);
        }
        // What a compound command writes goes to the log, as what its commands write.
        if !self.all_harmless(command) {
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
        let Some(choices) = self.choices(words)? else {
            return self.one_command(command, assigns, words);
        };
        let (mut arms, mut otherwise) = (Vec::new(), Vec::new());
        for (when, words) in choices {
            // It may have another word that is split.
            let steps = self.choosing(|lower| lower.simple_command(command, assigns, &words))?;
            match when {
                Some(when) => arms.push((when, steps)),
                None => otherwise = steps,
            }
        }
        // The word made no difference.
        if arms.iter().all(|(_, steps)| *steps == otherwise) {
            return Ok(otherwise);
        }
        Ok(vec![self.step(What::If(arms, otherwise))])
    }

    fn one_command(
        &mut self,
        command: &Command,
        assigns: &[(String, Word)],
        words: &[Word],
    ) -> Lowered<Vec<Step>> {
        if self.keeps_arguments(words) {
            return Ok(Vec::new());
        }
        if assigns.is_empty()
            && let Some(run) = self.with_names(command, words)?
        {
            return Ok(vec![self.act(Action::Run(run))]);
        }
        if let (Some(function), [word, _]) = (&self.function, words)
            && word.is("return")
            && !self.asked.contains(function)
            && self.all_harmless(command)
        {
            return Ok(vec![self.step(What::Return(None))]);
        }
        let first = words.first();
        if let Some(kind) = first.and_then(Word::literal).filter(|kind| {
            ["export", "readonly", "local", "declare", "typeset"].contains(&kind.as_str())
                && self.scope.function(kind).is_none()
        }) {
            // What it sets is looked at there, one by one.
            let steps = self.builtin(&kind, &[], words, command)?;
            return Ok(steps.unwrap_or_default());
        }
        if first.is_some_and(|word| word.is("read")) {
            return self.read_once(assigns, words, &command.redirects);
        }
        self.logging = self.is_for_the_log(words, &command.redirects);
        self.joins = first.is_some_and(|word| word.is("echo") || word.is("logger"));
        // An empty third argument is none to a function that does not count them.
        let called = first.and_then(Word::literal);
        let function = called.and_then(|name| self.scope.function(&name));
        self.counts = function.is_none_or(|function| function.all);
        let called = self.call(words);
        (self.logging, self.joins, self.counts) = (false, false, true);
        let (name, args) = called?;
        if self.scope.function(&name).is_some() {
            if !assigns.is_empty() || !self.all_harmless(command) {
                return Err("a function with variables or a file of its own".into());
            }
            let args = self.function_arguments(&name, args)?;
            let open = self.scope.function(&name).is_some_and(|f| f.ends_open);
            if self.errexit && open {
                self.guess(format!("set -e also ends the script where {name} ends with the failed first part of A && B; the hook goes on"));
            }
            return Ok(vec![self.step(What::Call(name, args))]);
        }
        if let Some(steps) = self.builtin(&name, &args, words, command)? {
            return Ok(steps);
        }
        let done = self.with_environment(assigns, |lower| {
            lower.simple(&name, &args, &command.redirects)
        })?;
        Ok(match done {
            Done::Actions(actions) => {
                let runs = |action: &Action| matches!(action, Action::Run(_));
                if !assigns.is_empty() && !actions.iter().all(runs) {
                    let harmless =
                        |(name, _): &(String, Word)| name.starts_with('L') || name == "PATH";
                    if !assigns.iter().all(harmless) {
                        return Err("a variable for one command only".into());
                    }
                }
                actions.into_iter().map(|action| self.act(action)).collect()
            }
            Done::Asks(Cond::Const(true)) | Done::Nothing("") => Vec::new(),
            Done::Asks(Cond::Changed(action)) if !self.errexit => vec![self.act(action)],
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

    /// An action as a step: what fails is gone past, as in the script; after `set -e` it must work.
    fn act(&self, mut action: Action) -> Step {
        if let (Action::Http { strict, .. }, false) = (&mut action, self.errexit) {
            // Nobody looks at the answer.
            *strict = false;
        }
        let what = match action {
            Action::Log { .. } | Action::Sleep(_) | Action::Resign => What::Do(action),
            action if self.errexit => What::Must(Cond::Did(vec![action])),
            Action::Run(run) => What::Try(Cond::Did(vec![Action::Run(run)])),
            action => What::Do(action),
        };
        self.step(what)
    }
}

/// `return $?`.
fn is_return(text: &str) -> bool {
    matches!(
        text.trim_end_matches(';').trim(),
        "return $?" | "return \"$?\""
    )
}

/// Is it soon done, so that it may as well be waited for?
fn is_quick(step: &Step) -> bool {
    match &step.what {
        What::Do(action) => !matches!(action, Action::Run(_)),
        What::Must(Cond::Did(actions)) => actions
            .iter()
            .all(|action| !matches!(action, Action::Run(_))),
        What::Block(steps) => steps.iter().all(is_quick),
        What::Comment(_) => true,
        _ => false,
    }
}

fn name_of(command: &Command) -> Option<String> {
    match &command.kind {
        Kind::Simple { words, .. } => words.first()?.literal(),
        _ => None,
    }
}

fn is_no_op(pipeline: &Pipeline) -> bool {
    matches!(pipeline.commands.as_slice(), [command] if command.redirects.is_empty() && name_of(command).is_some_and(|n| matches!(n.as_str(), "true" | ":" | "/bin/true")))
}

/// The service of an init script whose name is known only when it runs.
fn of_init(name: &Expr) -> Option<Expr> {
    let Expr::Join(parts) = name else {
        return None;
    };
    match parts.as_slice() {
        [Expr::Text(place), service]
            if matches!(place.as_str(), "/etc/init.d/" | "/etc/rc.d/init.d/") =>
        {
            Some(service.clone())
        }
        _ => None,
    }
}

/// What stood between the date and the message.
fn begin_without_blank(step: &mut Step) {
    for body in step.what.bodies_mut() {
        body.iter_mut().for_each(begin_without_blank);
    }
    let What::Do(Action::Log { message, .. }) = &mut step.what else {
        return;
    };
    let first = match message {
        Expr::Join(parts) => parts.first_mut(),
        message => Some(message),
    };
    if let Some(Expr::Text(text)) = first {
        *text = text.trim_start().to_owned();
    }
}
