//! Compound commands, `[[ ]]`, and the shell's own commands.

use super::super::commands::{Arg, Done, condition};
use super::super::ir::{Cond, Expr, List, Step, What};
use super::super::shell::{Command, Item, Kind, Piece, Word};
use super::{Lower, Lowered};

impl Lower<'_> {
    pub(super) fn compound(&mut self, command: &Command) -> Lowered<Vec<Step>> {
        let line = command.line;
        let what = match &command.kind {
            Kind::If { arms, otherwise } => self.if_clause(arms, otherwise)?,
            Kind::For { name, words, body } => self.for_clause(name, words.as_deref(), body)?,
            Kind::While {
                until,
                condition,
                body,
            } => {
                let cond = self.list_condition(condition)?;
                let cond = if *until { cond.not() } else { cond };
                What::While(cond, self.items(body))
            }
            Kind::Case { word, arms } => self.case_clause(word, arms)?,
            Kind::Block { items, subshell } => {
                if *subshell && items.iter().any(has_assignment) {
                    return Err("a subshell with variables of its own".into());
                }
                What::Block(self.items(items))
            }
            Kind::Function { name, body } => self.function(name, body),
            Kind::Test(words) => What::Try(self.extended_test(words)?),
            Kind::Arithmetic | Kind::Simple { .. } => return Err("arithmetic as a command".into()),
        };
        Ok(vec![Step { line, what }])
    }

    fn list_condition(&mut self, items: &[Item]) -> Lowered<Cond> {
        match items {
            [item] if !item.background => self.item_condition(item),
            _ => Err("a condition of several commands".into()),
        }
    }

    fn if_clause(&mut self, arms: &[(Vec<Item>, Vec<Item>)], otherwise: &[Item]) -> Lowered<What> {
        let mut done = Vec::new();
        for (condition, body) in arms {
            let cond = self.list_condition(condition)?;
            done.push((cond, self.items(body)));
        }
        Ok(What::If(done, self.items(otherwise)))
    }

    fn for_clause(&mut self, name: &str, words: Option<&[Word]>, body: &[Item]) -> Lowered<What> {
        let Some(words) = words else {
            return Err("a loop over the script's arguments".into());
        };
        let (mut values, mut split) = (Vec::new(), false);
        for word in words {
            split |= word.0.iter().any(|piece| match piece {
                Piece::Param { quoted, .. } | Piece::Command { quoted, .. } => !quoted,
                Piece::Text { .. } | Piece::Arithmetic(_) => false,
            });
            values.extend(
                self.arguments(word, true)?
                    .into_iter()
                    .map(|arg| arg.text.map_or(arg.value, Expr::Text)),
            );
        }
        let fixed = values.iter().all(|value| matches!(value, Expr::Text(_)));
        let list = if split && !fixed {
            List::Words(values)
        } else {
            List::Fixed(values)
        };
        Ok(What::For(name.to_owned(), list, self.items(body)))
    }

    fn case_clause(&mut self, word: &Word, arms: &[(Vec<Word>, Vec<Item>)]) -> Lowered<What> {
        let value = self.word(word)?;
        let (mut done, mut otherwise) = (Vec::new(), Vec::new());
        for (index, (patterns, body)) in arms.iter().enumerate() {
            let body = self.items(body);
            if patterns.iter().any(|pattern| pattern.is("*")) {
                if index + 1 < arms.len() {
                    return Err("a case in which * does not stand last".into());
                }
                otherwise = body;
                break;
            }
            let mut cond: Option<Cond> = None;
            for pattern in patterns {
                let one = self.pattern(&value, pattern)?;
                cond = Some(match cond {
                    Some(before) => Cond::Or(Box::new(before), Box::new(one)),
                    None => one,
                });
            }
            done.push((cond.unwrap_or(Cond::Const(false)), body));
        }
        if done.is_empty() {
            return Ok(What::Block(otherwise));
        }
        Ok(What::If(done, otherwise))
    }

    fn pattern(&mut self, value: &Expr, pattern: &Word) -> Lowered<Cond> {
        match glob(pattern) {
            Some(lua) => Ok(Cond::Match(value.clone(), lua)),
            None => Ok(Cond::Equal(value.clone(), self.word(pattern)?)),
        }
    }

    fn function(&mut self, name: &str, body: &[Item]) -> What {
        let outer = (
            self.function.replace(name.to_owned()),
            std::mem::take(&mut self.shifted),
            std::mem::take(&mut self.nesting),
        );
        let body = self.items(body);
        (self.function, self.shifted, self.nesting) = outer;
        let params = self
            .scope
            .function(name)
            .map_or(0, |function| function.params);
        What::Function(name.to_owned(), params, body)
    }

    /// `[[ ... ]]`: as `[`, but the right side of `==` is a pattern.
    pub(super) fn extended_test(&mut self, words: &[Word]) -> Lowered<Cond> {
        if words.iter().any(|word| word.is("=~")) {
            return Err("a regular expression".into());
        }
        for (index, word) in words.iter().enumerate() {
            if ["==", "=", "!="].iter().any(|op| word.is(op))
                && let (Some(left), Some(right)) = (
                    index.checked_sub(1).and_then(|i| words.get(i)),
                    words.get(index + 1),
                )
                && let Some(lua) = glob(right)
            {
                if words.len() != 3 {
                    return Err("a pattern among several conditions".into());
                }
                let cond = Cond::Match(self.word(left)?, lua);
                return Ok(if word.is("!=") { cond.not() } else { cond });
            }
        }
        let mut args = Vec::new();
        for word in words {
            let value = self.word(word)?;
            args.push(self.arg(value));
        }
        condition(self, &args)
    }

    pub(super) fn assignments(
        &mut self,
        command: &Command,
        assigns: &[(String, Word)],
    ) -> Lowered<Vec<Step>> {
        if !command.redirects.is_empty() {
            let done = self.simple(":", &[], &command.redirects)?;
            let Done::Actions(actions) = done else {
                return Ok(Vec::new());
            };
            return Ok(actions.into_iter().map(|action| self.act(action)).collect());
        }
        let mut steps = Vec::new();
        for (name, word) in assigns {
            if name == "IFS" {
                return Err("another separator of words".into());
            }
            if name != "PATH" {
                let value = self.word(word)?;
                steps.push(self.step(What::Assign(name.clone(), value)));
            }
        }
        Ok(steps)
    }

    /// The shell's own commands. `None` if it is not one.
    pub(super) fn builtin(
        &mut self,
        name: &str,
        args: &[Arg],
        words: &[Word],
        command: &Command,
    ) -> Lowered<Option<Vec<Step>>> {
        let one = |lower: &Self, what| Ok(Some(vec![lower.step(what)]));
        match name {
            "set" => {
                for arg in args {
                    match arg
                        .word()
                        .strip_prefix(['-', '+'])
                        .filter(|flags| !flags.is_empty() && *flags != "-")
                    {
                        Some(flags) if flags.contains('e') => {
                            self.errexit = arg.word().starts_with('-');
                        }
                        Some(_) => {}
                        None if arg.word() == "pipefail" => {}
                        None => return Err("it sets the script's arguments".into()),
                    }
                }
                Ok(Some(Vec::new()))
            }
            "export" | "local" | "readonly" => {
                let mut steps = Vec::new();
                for word in words.iter().skip(1) {
                    let Some((name, value)) = split_assignment(word) else {
                        continue;
                    };
                    if name != "PATH" {
                        let value = self.word(&value)?;
                        steps.push(self.step(What::Assign(name, value)));
                    }
                }
                Ok(Some(steps))
            }
            "unset" | "umask" => Err(format!("there is no counterpart to {name} in a hook")),
            "shift" if self.nesting > 0 => {
                Err("the arguments change in the middle of a block".into())
            }
            "shift" => {
                self.shifted += args
                    .first()
                    .map_or(1, |arg| arg.word().parse().unwrap_or(1));
                Ok(Some(Vec::new()))
            }
            "exec" if args.is_empty() => {
                let harmless = command
                    .redirects
                    .iter()
                    .all(|redirect| self.is_harmless(redirect));
                if harmless {
                    Ok(Some(Vec::new()))
                } else {
                    Err("the redirection of all that follows".into())
                }
            }
            "exec" => {
                let rest = words.get(1..).unwrap_or_default();
                let inner = Command {
                    kind: Kind::Simple {
                        assigns: Vec::new(),
                        words: rest.to_vec(),
                    },
                    ..command.clone()
                };
                let mut steps = self.command(&inner)?;
                steps.push(self.step(What::Return(None)));
                Ok(Some(steps))
            }
            "." | "source" => self.sourced(words.get(1)).map(Some),
            "break" => one(self, What::Break),
            "continue" => one(self, What::Continue),
            "exit" => match args.first().map(Arg::word) {
                None | Some("0") if self.function.is_some() => {
                    Err("it ends the script from within a function".into())
                }
                None | Some("0") => one(self, What::Return(None)),
                Some("") if self.remembered && self.function.is_none() => {
                    let why = "the script gave up here".to_owned();
                    let cond = (Cond::Status.not(), vec![self.step(What::Fail(why))]);
                    Ok(Some(vec![
                        self.step(What::If(vec![cond], Vec::new())),
                        self.step(What::Return(None)),
                    ]))
                }
                Some("") => Err("the exit status is not known here".into()),
                Some(status) => one(
                    self,
                    What::Fail(format!("the script gave up here with exit {status}")),
                ),
            },
            "return" if self.function.is_none() => one(self, What::Return(None)),
            "return" => match args.first().map(Arg::word) {
                None => Err("it returns the status of its last command".into()),
                Some("") if self.remembered => one(self, What::Return(Some(Cond::Status))),
                Some(status) => match status.parse::<u8>() {
                    Ok(status) => one(self, What::Return(Some(Cond::Const(status == 0)))),
                    Err(_) => Err("the status is not known here".into()),
                },
            },
            _ => Ok(None),
        }
    }

    /// `. FILE`: the variables that it sets now; or, if it cannot be read, the hook's
    /// configuration.
    fn sourced(&mut self, word: Option<&Word>) -> Lowered<Vec<Step>> {
        let path = word
            .and_then(|word| self.word(word).ok())
            .and_then(|value| self.scope.constant(&value, self.settings));
        let Some(path) = path else {
            return Err("which file it reads is not known here".into());
        };
        let Some(script) = self.scope.sourced(&path).cloned() else {
            self.guess(format!(
                "{path} could not be read here: its variables are the hook's configuration"
            ));
            return Ok(vec![self.step(What::Comment(format!(
                "what {path} said stands in [hook.NAME.config]"
            )))]);
        };
        let mut steps = vec![self.step(What::Comment(format!("from {path}")))];
        for (name, value) in script {
            let value = self.word(&value)?;
            steps.push(self.step(What::Assign(name, value)));
        }
        self.differs(format!("the variables of {path} are those of today"));
        Ok(steps)
    }
}

fn has_assignment(item: &Item) -> bool {
    let pipelines =
        std::iter::once(&item.first).chain(item.rest.iter().map(|(_, pipeline)| pipeline));
    pipelines
        .flat_map(|p| &p.commands)
        .any(|c| matches!(&c.kind, Kind::Simple { assigns, words } if words.is_empty() && !assigns.is_empty()))
}

/// `NAME=VALUE` as a word.
pub(super) fn split_assignment(word: &Word) -> Option<(String, Word)> {
    let (first, rest) = word.0.split_first()?;
    let Piece::Text {
        text,
        quoted: false,
    } = first
    else {
        return None;
    };
    let (name, value) = text.split_once('=')?;
    let mut pieces = vec![Piece::Text {
        text: value.to_owned(),
        quoted: false,
    }];
    pieces.extend(rest.iter().cloned());
    Some((name.to_owned(), Word(pieces)))
}

/// A shell pattern as a Lua pattern; `None` if there is nothing special in it.
fn glob(word: &Word) -> Option<String> {
    let (mut lua, mut special) = ("^".to_owned(), false);
    for piece in &word.0 {
        let Piece::Text { text, quoted } = piece else {
            return None;
        };
        for c in text.chars() {
            match c {
                '*' if !quoted => (special, lua) = (true, lua + ".*"),
                '?' if !quoted => (special, lua) = (true, lua + "."),
                '[' | ']' if !quoted => (special, lua) = (true, lua + &c.to_string()),
                c => lua += &escaped(c),
            }
        }
    }
    special.then(|| lua + "$")
}

/// A character as it stands in a Lua pattern.
pub(super) fn escaped(c: char) -> String {
    if c.is_ascii_punctuation() {
        format!("%{c}")
    } else {
        c.to_string()
    }
}
