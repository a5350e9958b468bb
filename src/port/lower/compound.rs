//! Compound commands, `[[ ]]` and assignments.

use std::collections::VecDeque;

use super::super::commands::{Done, condition};
use super::super::ir::{Cond, Expr, List, Step, What};
use super::super::shell::{Command, Item, Kind, Piece, Sourced, Word};
use super::{Lower, Lowered, regex};

impl Lower<'_> {
    pub(super) fn compound(&mut self, command: &Command) -> Lowered<Vec<Step>> {
        let tail = std::mem::take(&mut self.tail);
        let line = self.line;
        let what = match &command.kind {
            Kind::If { arms, otherwise } => return self.if_clause(arms, otherwise, tail),
            Kind::Case { word, arms } => return self.case_clause(word, arms, tail),
            Kind::For { name, words, body } => self.for_clause(name, words.as_deref(), body)?,
            Kind::While {
                until,
                condition,
                body,
            } => self.while_clause(*until, condition, body)?,
            Kind::Block { items, subshell } => {
                if *subshell && has_own_state(items) {
                    return Err("a subshell with a state of its own".into());
                }
                self.tail = tail;
                let steps = self.items(items);
                if !subshell {
                    return Ok(steps);
                }
                What::Block(steps)
            }
            Kind::Function { name, body } => self.function(name, body)?,
            Kind::Test(words) => {
                let cond = self.extended_test(words)?;
                if self.errexit {
                    What::Must(cond)
                } else {
                    What::Try(cond)
                }
            }
            Kind::Sourced(sourced) => return Ok(self.sourced(sourced)),
            Kind::Unread(why) => return Err(why.clone()),
            Kind::Arithmetic(text) => {
                self.of_bash("((...))");
                return self.calculations(text);
            }
            Kind::Simple { .. } => return Err("a command".into()),
        };
        Ok(vec![Step { line, what }])
    }

    /// The last item of a function whose status is asked for: it ends with `return`.
    pub(super) fn tail_item(&mut self, item: &Item) -> Lowered<Vec<Step>> {
        let alone = item.rest.is_empty() && !item.background && !item.first.negated;
        if let ([command], true) = (item.first.commands.as_slice(), alone) {
            let first = match &command.kind {
                Kind::Simple { words, .. } => words.first().and_then(Word::literal),
                Kind::If { .. }
                | Kind::Case { .. }
                | Kind::Block {
                    subshell: false, ..
                } => {
                    return self.item(item);
                }
                _ => return Err("its status is the function's".into()),
            };
            self.tail = false;
            match first.as_deref() {
                Some("return" | "exit") => return self.item(item),
                Some("echo" | "logger" | "printf") if command.redirects.is_empty() => {
                    let mut steps = self.item(item)?;
                    steps.push(self.step(What::Return(Some(Cond::Const(true)))));
                    return Ok(steps);
                }
                _ => {}
            }
        }
        self.tail = false;
        let cond = self.item_condition(item)?;
        Ok(vec![self.step(What::Return(Some(cond)))])
    }

    fn list_condition(&mut self, items: &[Item]) -> Lowered<Cond> {
        match items {
            [item] if !item.background => self.item_condition(item),
            _ => Err("a condition of several commands".into()),
        }
    }

    fn list(&mut self, items: &[Item], tail: bool) -> Vec<Step> {
        self.tail = tail;
        self.items(items)
    }

    fn if_clause(
        &mut self,
        arms: &[(Vec<Item>, Vec<Item>)],
        otherwise: &[Item],
        tail: bool,
    ) -> Lowered<Vec<Step>> {
        let mut done = Vec::new();
        for (condition, body) in arms {
            let cond = self.list_condition(condition)?;
            let known = self.fill_where(condition);
            done.push((cond, self.list(body, tail)));
            self.filled.truncate(known);
        }
        let otherwise = self.list(otherwise, tail);
        Ok(self.chosen(done, otherwise, tail))
    }

    /// `if`, without what never comes true; what always does needs none.
    fn chosen(&self, arms: Vec<(Cond, Vec<Step>)>, otherwise: Vec<Step>, tail: bool) -> Vec<Step> {
        let (mut kept, mut otherwise) = (Vec::new(), otherwise);
        for (cond, body) in arms {
            match cond {
                Cond::Const(false) => {}
                Cond::Const(true) => {
                    otherwise = body;
                    break;
                }
                cond => kept.push((cond, body)),
            }
        }
        if tail && otherwise.is_empty() {
            otherwise.push(self.step(What::Return(Some(Cond::Const(true)))));
        }
        if kept.is_empty() {
            return otherwise;
        }
        vec![self.step(What::If(kept, otherwise))]
    }

    fn while_clause(&mut self, until: bool, condition: &[Item], body: &[Item]) -> Lowered<What> {
        self.loops += 1;
        let cond = self.list_condition(condition);
        let result = cond.map(|cond| {
            let cond = if until { cond.not() } else { cond };
            What::While(cond, self.items(body))
        });
        self.loops -= 1;
        result
    }

    fn for_clause(&mut self, name: &str, words: Option<&[Word]>, body: &[Item]) -> Lowered<What> {
        let all = words.is_none_or(|words| {
            matches!(words, [word] if matches!(word.0.as_slice(), [Piece::Param { name, op: None, .. }] if name == "@" || name == "*"))
        });
        let list = if all && self.function.is_some() {
            if self.shifted > 0 {
                return Err("what is left of a function's arguments".into());
            }
            List::Arguments
        } else if let Some(names) = self.names(words.unwrap_or_default()) {
            names
        } else {
            self.values_of(words.unwrap_or_default(), all)?
        };
        self.loops += 1;
        self.set.insert(name.to_owned());
        let body = self.items(body);
        self.loops -= 1;
        Ok(What::For(name.to_owned(), list, body))
    }

    fn values_of(&mut self, words: &[Word], all: bool) -> Lowered<List> {
        let mut args = Vec::new();
        if all {
            let everything = Word(vec![Piece::Param {
                name: "@".into(),
                op: None,
                quoted: true,
            }]);
            args = self.arguments(&everything, true)?;
        }
        for word in words.iter().filter(|_| !all) {
            args.extend(self.arguments(word, true)?);
        }
        let split = args
            .iter()
            .any(|arg| arg.split && !self.is_one_word(&arg.value));
        if !split {
            let values = args
                .into_iter()
                .map(|arg| arg.text.map_or(arg.value, Expr::Text));
            return Ok(List::Fixed(values.collect()));
        }
        if !args
            .iter()
            .all(|arg| arg.split || self.is_one_word(&arg.value))
        {
            return Err("words with and without quotes in one list".into());
        }
        Ok(List::Words(args.into_iter().map(|arg| arg.value).collect()))
    }

    fn case_clause(
        &mut self,
        word: &Word,
        arms: &[(Vec<Word>, Vec<Item>)],
        tail: bool,
    ) -> Lowered<Vec<Step>> {
        let mut value = self.word(word)?;
        let mut steps = Vec::new();
        // A program runs once, however many patterns there are.
        if matches!(value, Expr::Output(_) | Expr::Call(..)) {
            let name = "found".to_owned();
            steps.push(self.step(What::Assign(name.clone(), value)));
            value = Expr::Var(name);
        }
        let (mut done, mut otherwise) = (Vec::new(), Vec::new());
        let remembered = self.remembered;
        for (index, (patterns, body)) in arms.iter().enumerate() {
            // Every pattern is compared with what was before the first of them.
            self.remembered = remembered;
            if patterns.iter().any(|pattern| pattern.is("*")) {
                if index + 1 < arms.len() {
                    return Err("a case in which * does not stand last".into());
                }
                otherwise = self.list(body, tail);
                break;
            }
            let mut cond: Option<Cond> = None;
            for pattern in patterns {
                let one = self.pattern(&value, pattern)?;
                cond = Some(match cond {
                    None | Some(Cond::Const(false)) => one,
                    Some(before @ Cond::Const(true)) => before,
                    Some(before) if one == Cond::Const(false) => before,
                    Some(before) => Cond::Or(Box::new(before), Box::new(one)),
                });
            }
            let body = self.list(body, tail);
            done.push((cond.unwrap_or(Cond::Const(false)), body));
        }
        steps.extend(self.chosen(done, otherwise, tail));
        Ok(steps)
    }

    fn pattern(&mut self, value: &Expr, pattern: &Word) -> Lowered<Cond> {
        if let Some(lua) = glob(pattern) {
            return Ok(Cond::Match(value.clone(), lua));
        }
        let wanted = self.word(pattern)?;
        match (value, &wanted) {
            (Expr::Text(a), Expr::Text(b)) => Ok(Cond::Const(a == b)),
            (Expr::Status, Expr::Text(b)) if b == "0" => {
                self.asks_success_only();
                Ok(Cond::Status)
            }
            (Expr::Status, _) if self.remembered != Some(true) => {
                Err("which status it fails with is not known here".into())
            }
            _ => Ok(Cond::Equal(value.clone(), wanted)),
        }
    }

    fn function(&mut self, name: &str, body: &[Item]) -> Lowered<What> {
        let function = self.scope.function(name).cloned().unwrap_or_default();
        if self.scope.shares_locals(name) {
            return Err("another function reads its local variables".into());
        }
        if self.function.is_some() {
            return Err("a function in a function".into());
        }
        let asked = self.asked.contains(name);
        let errexit = self.errexit;
        if asked && errexit {
            self.guess("where a function is a condition, set -e means nothing in it: nor does it in the hook");
            self.errexit = false;
        }
        let outer = (
            self.function.replace(name.to_owned()),
            std::mem::take(&mut self.shifted),
            std::mem::take(&mut self.nesting),
            std::mem::take(&mut self.loops),
        );
        self.tail = asked;
        let mut steps = self.items(body);
        (self.function, self.shifted, self.nesting, self.loops) = outer;
        self.errexit = errexit;
        if steps
            .last()
            .is_some_and(|step| step.what == What::Return(None))
        {
            steps.pop();
        }
        if !function.locals.is_empty() {
            steps.insert(0, self.step(What::Local(function.locals)));
        }
        Ok(What::Function(name.to_owned(), function.params, steps))
    }

    /// What stands in a file that is read with `.`.
    fn sourced(&mut self, sourced: &Sourced) -> Vec<Step> {
        let path = &sourced.path;
        self.differs(format!(
            "{path} was read when this was ported: it is as it was then"
        ));
        let outer = (
            self.file.clone(),
            std::mem::replace(&mut self.source, sourced.text.as_str().into()),
            std::mem::replace(
                &mut self.comments,
                sourced
                    .script
                    .comments
                    .iter()
                    .cloned()
                    .collect::<VecDeque<_>>(),
            ),
        );
        let line = self.line;
        self.file = Some(path.clone());
        let mut steps = vec![self.step(What::Comment(format!("from {path}")))];
        steps.extend(self.items(&sourced.script.items));
        (self.file, self.source, self.comments) = outer;
        self.line = line;
        steps
    }

    /// `[[ ... ]]`: as `[`, but nothing is split, and the right side of `==` is a pattern.
    pub(super) fn extended_test(&mut self, words: &[Word]) -> Lowered<Cond> {
        self.of_bash("[[ ]]");
        self.any_of(words)
    }

    fn any_of(&mut self, words: &[Word]) -> Lowered<Cond> {
        for (operator, and) in [("||", false), ("&&", true)] {
            let mut depth = 0_usize;
            let at = words.iter().position(|word| {
                if word.is("(") {
                    depth += 1;
                } else if word.is(")") {
                    depth = depth.saturating_sub(1);
                }
                depth == 0 && word.is(operator)
            });
            if let Some(at) = at {
                let (left, right) = words.split_at(at);
                let left = Box::new(self.any_of(left)?);
                let right = Box::new(self.any_of(right.get(1..).unwrap_or_default())?);
                return Ok(if and {
                    Cond::And(left, right)
                } else {
                    Cond::Or(left, right)
                });
            }
        }
        match words {
            [not, rest @ ..] if not.is("!") && !rest.is_empty() => Ok(self.any_of(rest)?.not()),
            [open, inner @ .., close] if open.is("(") && close.is(")") => self.any_of(inner),
            [left, operator, right] if operator.is("=~") => {
                let value = self.word(left)?;
                let pattern = right.literal().and_then(|_| {
                    let quoted = right.0.iter().any(|piece| matches!(piece, Piece::Text { quoted: true, text } if text.len() > 1));
                    if quoted { None } else { regex::lua(&unescaped(right), true) }
                });
                let pattern = pattern.ok_or("this regular expression")?;
                Ok(Cond::Match(value, pattern))
            }
            [left, operator, right]
                if ["==", "=", "!="].iter().any(|op| operator.is(op)) && glob(right).is_some() =>
            {
                let cond = Cond::Match(self.word(left)?, glob(right).unwrap_or_default());
                Ok(if operator.is("!=") { cond.not() } else { cond })
            }
            words => {
                let mut args = Vec::new();
                for word in words {
                    let value = self.word(word)?;
                    args.push(self.arg(value));
                }
                condition(self, &args, true)
            }
        }
    }

    pub(super) fn assignments(
        &mut self,
        command: &Command,
        assigns: &[(String, Word)],
    ) -> Lowered<Vec<Step>> {
        if assigns.is_empty() {
            let Done::Actions(actions) = self.simple(":", &[], &command.redirects)? else {
                return Ok(Vec::new());
            };
            return Ok(actions.into_iter().map(|action| self.act(action)).collect());
        }
        if !self.all_harmless(command) {
            return Err("a variable that is set with a file".into());
        }
        let mut steps = Vec::new();
        for (name, word) in assigns {
            if name == "IFS" {
                return Err("another separator of words".into());
            }
            if name == "PATH" {
                self.search_path(word);
                continue;
            }
            let asked = self.errexit && matches!(word.0.as_slice(), [Piece::Command { .. }]);
            self.must = asked;
            let value = self.word(word);
            self.must = false;
            let value = value?;
            // A grep at the end that finds nothing has failed.
            let found = asked && matches!(value, Expr::Call("grep", _));
            steps.extend(self.assigned(name.clone(), value));
            if found {
                let empty = Cond::Empty(Expr::Var(name.clone()));
                steps.push(self.step(What::Must(empty.not())));
            }
        }
        Ok(steps)
    }

    /// A variable is given a value.
    pub(super) fn assigned(&mut self, name: String, value: Expr) -> Option<Step> {
        self.set.insert(name.clone());
        if let Some(at) = self
            .environment
            .iter()
            .position(|(known, _)| *known == name)
        {
            match self.fixed(&value) {
                Some(text) => {
                    if let Some(known) = self.environment.get_mut(at) {
                        known.1 = text;
                    }
                }
                None => _ = self.environment.remove(at),
            }
        }
        let noise = value == Expr::Var(name.clone()) || self.scope.alias(&name).is_some();
        (!noise).then(|| self.step(What::Assign(name, value)))
    }
}

/// The text of a regular expression, with the backslashes that the reader took for quotes.
fn unescaped(word: &Word) -> String {
    let last = word.0.len().saturating_sub(1);
    let text = |(index, piece): (usize, &Piece)| match piece {
        // The end of the text, and no quoted sign.
        Piece::Text { text, .. } if text == "$" && index == last => text.clone(),
        Piece::Text { text, quoted: true } => format!("\\{text}"),
        Piece::Text { text, .. } => text.clone(),
        _ => String::new(),
    };
    word.0.iter().enumerate().map(text).collect()
}

/// Does it set, leave or change something that ends with a subshell?
pub(super) fn has_own_state(items: &[Item]) -> bool {
    let commands = items.iter().flat_map(|item| {
        std::iter::once(&item.first)
            .chain(item.rest.iter().map(|(_, pipeline)| pipeline))
            .flat_map(|pipeline| &pipeline.commands)
    });
    let own = [
        "exit", "return", "export", "local", "set", "shift", "cd", "unset", "read", ".", "source",
        "trap", "exec", "declare", "typeset", "readonly", "umask", "eval",
    ];
    commands.into_iter().any(|command| match &command.kind {
        Kind::Simple { assigns, words } => {
            let name = words.first().and_then(Word::literal);
            (words.is_empty() && !assigns.is_empty())
                || name.is_some_and(|name| own.contains(&name.as_str()))
        }
        Kind::For { .. } | Kind::Sourced(_) | Kind::Unread(_) | Kind::Function { .. } => true,
        kind => kind.lists().into_iter().any(has_own_state),
    })
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
    let mut pieces = Vec::new();
    if !value.is_empty() || rest.is_empty() {
        pieces.push(Piece::Text {
            text: value.to_owned(),
            quoted: false,
        });
    }
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
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '*' if !quoted => (special, lua) = (true, lua + ".*"),
                '?' if !quoted => (special, lua) = (true, lua + "."),
                '[' if !quoted => {
                    special = true;
                    lua.push('[');
                    if chars.next_if(|c| "!^".contains(*c)).is_some() {
                        lua.push('^');
                    }
                }
                ']' | '-' if !quoted => lua.push(c),
                c => lua += &escaped(c),
            }
        }
    }
    // Outside of brackets a dash would repeat what stands before it.
    let open = lua.contains('[');
    let lua = if open {
        lua
    } else {
        lua.replace('-', "%-").replace("%%-", "%-")
    };
    special.then(|| lua + "$")
}

/// A character as it stands in a Lua pattern.
pub(super) fn escaped(c: char) -> String {
    if "^$()%.[]*+-?".contains(c) {
        format!("%{c}")
    } else {
        c.to_string()
    }
}
