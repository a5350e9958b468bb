//! Luau's grammar, as far as it determines which names are in scope and what is called.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::calls::Argument;
use super::flow::{Sure, Tracker};
use super::lexer::{Kind, Token};
use super::value::{Forward, Local, Origin, Target, Value};

/// How deep expressions and blocks may be nested: far deeper than people write, and a small part of
/// a thread's stack.
pub(super) const DEPTH_MAX: usize = 100;

/// The operators of assignments.
const ASSIGNS: [&str; 9] = ["=", "+=", "-=", "*=", "/=", "//=", "%=", "^=", "..="];

/// Parses a script. `None` if it is not understood.
pub(super) fn read(tokens: &[Token], elsewhere: &BTreeSet<String>) -> Option<Vec<Finding>> {
    Parser::mistakes(tokens, elsewhere).map(|(findings, _)| findings)
}

/// Every global that the script assigns.
pub(super) fn defined(tokens: &[Token]) -> BTreeSet<String> {
    let mut parser = Parser::knowing(tokens, BTreeSet::new(), None);
    match parser.block() {
        Some(()) if parser.at == tokens.len() => parser.defined,
        _ => perhaps_defined(tokens),
    }
}

/// The same for a script that is not understood: too many rather than too few.
fn perhaps_defined(tokens: &[Token]) -> BTreeSet<String> {
    let name = |token: Option<&Token>| match token {
        Some(Token {
            kind: Kind::Name(name),
            ..
        }) => Some(name.clone()),
        _ => None,
    };
    let symbol = |token: Option<&Token>, symbol: &str| matches!(token, Some(Token { kind: Kind::Symbol(s), .. }) if *s == symbol);
    let mut found = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let is_field = symbol(before, ".") || symbol(before, ":");
        // `function f`, and `f = ...`; also in a list: `f, g = ...`.
        let sets = matches!(
            before.map(|token| &token.kind),
            Some(Kind::Keyword("function"))
        ) || symbol(tokens.get(at + 1), "=")
            || symbol(tokens.get(at + 1), ",");
        found.extend(name(Some(token)).filter(|_| sets && !is_field));
    }
    found
}

pub(super) struct Parser<'a> {
    pub(super) tokens: &'a [Token],
    pub(super) at: usize,
    pub(super) scopes: Vec<BTreeMap<String, Local<'a>>>,
    /// How many functions enclose the reader's position.
    pub(super) functions: usize,
    /// Locals whose scope has ended, and the lines that declared them.
    pub(super) ended: BTreeMap<String, usize>,
    /// Global functions that pass on their arguments.
    pub(super) forwards: BTreeMap<String, Forward>,
    /// Globals that the script assigns.
    defined: BTreeSet<String>,
    pub(super) globals: BTreeSet<String>,
    pub(super) findings: Vec<Finding>,
    pub(super) depth: usize,
    /// Names that are assigned another value after their declaration.
    pub(super) assigned: BTreeSet<String>,
    /// For a reader that follows what runs; it reports no other mistakes.
    pub(super) flow: Option<Tracker<'a>>,
}

impl<'a> Parser<'a> {
    fn new(tokens: &'a [Token], elsewhere: &BTreeSet<String>, flow: Option<Tracker<'a>>) -> Self {
        let mut globals = defined(tokens);
        globals.extend(elsewhere.iter().cloned());
        Self::knowing(tokens, globals, flow)
    }

    /// With all globals that exist.
    fn knowing(tokens: &'a [Token], globals: BTreeSet<String>, flow: Option<Tracker<'a>>) -> Self {
        Self {
            tokens,
            at: 0,
            scopes: vec![BTreeMap::new()],
            functions: 0,
            ended: BTreeMap::new(),
            forwards: BTreeMap::new(),
            defined: BTreeSet::new(),
            globals,
            findings: Vec::new(),
            depth: 0,
            assigned: BTreeSet::new(),
            flow,
        }
    }

    /// The mistakes in a script, and the names that it assigns to. `None` if it is not understood.
    pub(super) fn mistakes(
        tokens: &'a [Token],
        elsewhere: &BTreeSet<String>,
    ) -> Option<(Vec<Finding>, BTreeSet<String>)> {
        let mut parser = Self::new(tokens, elsewhere, None);
        parser.block()?;
        (parser.at == tokens.len()).then_some((parser.findings, parser.assigned))
    }

    /// Follows what runs in a script. `None` if it is not understood.
    pub(super) fn follow(
        tokens: &'a [Token],
        elsewhere: &BTreeSet<String>,
        tracker: Tracker<'a>,
    ) -> Option<Tracker<'a>> {
        let mut parser = Self::new(tokens, elsewhere, Some(tracker));
        parser.block()?;
        parser.flow
    }

    pub(super) fn kind(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    pub(super) fn line(&self) -> usize {
        self.tokens
            .get(self.at)
            .or(self.tokens.last())
            .map_or(1, |token| token.line)
    }

    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self.kind(), Some(Kind::Keyword(w) | Kind::Symbol(w)) if *w == word)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.kind(), Some(Kind::Name(name)) if name == word)
    }

    pub(super) fn take(&mut self, word: &str) -> bool {
        let there = self.is(word);
        self.at += usize::from(there);
        there
    }

    pub(super) fn expect(&mut self, word: &str) -> Option<()> {
        self.take(word).then_some(())
    }

    pub(super) fn name(&mut self) -> Option<String> {
        let Some(Kind::Name(name)) = self.kind() else {
            return None;
        };
        let name = name.clone();
        self.at += 1;
        Some(name)
    }

    pub(super) fn find(&mut self, line: usize, message: String) {
        self.report(line, message, true);
    }

    /// It may be intended, but that is unlikely.
    pub(super) fn doubt(&mut self, line: usize, message: String) {
        self.report(line, message, false);
    }

    fn report(&mut self, line: usize, message: String, certain: bool) {
        if self.flow.is_none() {
            self.findings.push(Finding {
                line,
                message,
                certain,
            });
        }
    }

    /// In a scope of its own, if not nested too deep.
    fn within<T>(&mut self, inner: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        self.scopes.push(BTreeMap::new());
        let result = inner(self);
        self.end_scope();
        self.depth -= 1;
        result
    }

    fn block(&mut self) -> Option<()> {
        while let Some(kind) = self.kind() {
            if matches!(kind, Kind::Keyword("end" | "else" | "elseif" | "until")) {
                break;
            }
            self.statement()?;
        }
        Some(())
    }

    fn statement(&mut self) -> Option<()> {
        match self.kind()? {
            Kind::Symbol(";") | Kind::Keyword("break") => self.at += 1,
            Kind::Symbol("@") => {
                self.at += 1;
                self.name()?;
            }
            Kind::Keyword("local") => self.local()?,
            Kind::Keyword("function") => {
                self.at += 1;
                self.function_statement()?;
            }
            Kind::Keyword("if") => self.conditional()?,
            Kind::Keyword("while") => {
                self.at += 1;
                self.expression()?;
                self.expect("do")?;
                self.perhaps(|parser| parser.within(Self::block))?;
                self.expect("end")?;
            }
            Kind::Keyword("do") => {
                self.at += 1;
                self.within(Self::block)?;
                self.expect("end")?;
            }
            Kind::Keyword("for") => self.repetition()?,
            Kind::Keyword("repeat") => {
                self.at += 1;
                let body = |parser: &mut Self| {
                    parser.block()?;
                    parser.expect("until")?;
                    parser.expression()
                };
                self.perhaps(|parser| parser.within(body))?;
            }
            Kind::Keyword("return") => {
                self.at += 1;
                if !matches!(
                    self.kind(),
                    None | Some(
                        Kind::Keyword("end" | "else" | "elseif" | "until") | Kind::Symbol(";")
                    )
                ) {
                    self.expressions()?;
                }
                self.flow.iter_mut().for_each(Tracker::returns);
            }
            Kind::Name(name) if self.begins_type(name) => self.type_statement()?,
            Kind::Name(name) if name == "continue" && self.continues() => self.at += 1,
            _ => self.assignment_or_call()?,
        }
        Some(())
    }

    /// `type X =`, `export type X =`: words that can also be names.
    fn begins_type(&self, name: &str) -> bool {
        let named = |at: usize| {
            matches!(
                self.tokens.get(at).map(|token| &token.kind),
                Some(Kind::Name(_))
            )
        };
        match name {
            "type" => {
                named(self.at + 1)
                    || matches!(
                        self.tokens.get(self.at + 1).map(|t| &t.kind),
                        Some(Kind::Keyword("function"))
                    )
            }
            "export" => {
                matches!(self.tokens.get(self.at + 1).map(|t| &t.kind), Some(Kind::Name(word)) if word == "type")
            }
            _ => false,
        }
    }

    fn continues(&self) -> bool {
        !matches!(
            self.tokens.get(self.at + 1).map(|token| &token.kind),
            Some(
                Kind::Symbol("=" | "(" | "." | ":" | "[" | "," | "{" | "+=" | "-=")
                    | Kind::Text(_)
                    | Kind::SomeText
            )
        )
    }

    fn type_statement(&mut self) -> Option<()> {
        if self.is_word("export") {
            self.at += 1;
        }
        self.at += 1;
        if self.take("function") {
            self.name()?;
            return self.function_body(None).map(drop);
        }
        self.name()?;
        self.generics()?;
        self.expect("=")?;
        self.type_()
    }

    fn local(&mut self) -> Option<()> {
        self.at += 1;
        if self.take("function") {
            let line = self.line();
            let name = self.name()?;
            let body = self.flow.as_mut().map(Tracker::new_body);
            // It may call itself.
            let value = body.map_or(Value::Unknown, |body| Value::Function(Target::Body(body)));
            self.declare(name.clone(), value, line, Origin::Local);
            let begin = self.at;
            self.function_body(body)?;
            let forward = self.forward(begin);
            if let Some(local) = self
                .scopes
                .last_mut()
                .and_then(|scope| scope.get_mut(&name))
            {
                local.forward = forward;
            }
            return Some(());
        }
        let mut names = Vec::new();
        loop {
            let line = self.line();
            names.push((self.name()?, line));
            if self.take(":") {
                self.type_()?;
            }
            if !self.take(",") {
                break;
            }
        }
        let mut values = if self.take("=") {
            self.expressions()?
        } else {
            Vec::new()
        }
        .into_iter();
        for (name, line) in names {
            let value = values.next().unwrap_or(Value::Unknown);
            self.declare(name, value, line, Origin::Local);
        }
        Some(())
    }

    fn conditional(&mut self) -> Option<()> {
        let before = self.sure();
        loop {
            self.at += 1;
            let condition = self.expression()?;
            self.expect("then")?;
            let otherwise = self
                .branch(&condition, |parser| parser.within(Self::block))?
                .1;
            self.set_sure(otherwise);
            if self.is("elseif") {
                continue;
            }
            if self.take("else") {
                self.within(Self::block)?;
            }
            self.set_sure(before);
            return self.expect("end");
        }
    }

    fn repetition(&mut self) -> Option<()> {
        self.at += 1;
        let line = self.line();
        let mut names = Vec::new();
        loop {
            names.push(self.name()?);
            if self.take(":") {
                self.type_()?;
            }
            if !self.take(",") {
                break;
            }
        }
        if !self.take("=") {
            self.expect("in")?;
        }
        self.expressions()?;
        self.expect("do")?;
        let body = |parser: &mut Self| {
            for name in names {
                parser.declare(name, Value::Unknown, line, Origin::Loop);
            }
            parser.block()
        };
        self.perhaps(|parser| parser.within(body))?;
        self.expect("end")
    }

    fn assignment_or_call(&mut self) -> Option<()> {
        let mut targets = vec![self.target()?];
        while self.take(",") {
            targets.push(self.target()?);
        }
        if ASSIGNS.iter().any(|symbol| self.take(symbol)) {
            let mut values = self.expressions()?.into_iter();
            for target in targets {
                let value = values.next().unwrap_or(Value::Unknown);
                self.assign(target, &value);
            }
        }
        Some(())
    }

    /// The target of an assignment or a call: its last name, and whether it has no other. Assigning
    /// to a global defines it, so it need not exist here.
    fn target(&mut self) -> Option<(Option<String>, bool)> {
        let begin = self.at;
        if self.is_only_set() {
            // An assignment does not read it.
            self.at += 1;
        } else {
            self.suffixed()?;
        }
        let last = self
            .at
            .checked_sub(1)
            .and_then(|last| self.tokens.get(last));
        let name = last.and_then(|token| {
            if let Kind::Name(name) = &token.kind {
                Some(name.clone())
            } else {
                None
            }
        });
        Some((name, self.at == begin + 1))
    }

    /// Is this name the whole target of an assignment?
    fn is_only_set(&self) -> bool {
        let next = self.tokens.get(self.at + 1).map(|token| &token.kind);
        matches!(self.kind(), Some(Kind::Name(_)))
            && matches!(next, Some(Kind::Symbol(symbol)) if *symbol == "," || ASSIGNS.contains(symbol))
    }

    fn assign(&mut self, (name, plain): (Option<String>, bool), value: &Value<'a>) {
        let Some(name) = name else { return };
        if plain {
            self.set(&name);
        }
        self.keep(name, plain, value);
    }

    /// A variable is assigned another value.
    fn set(&mut self, name: &str) {
        match self.local_mut(name) {
            Some(local) => local.after_loop = None,
            None => _ = self.defined.insert(name.to_owned()),
        }
        self.assigned.insert(name.to_owned());
    }

    /// A value is assigned to a name, as a global or in a table.
    pub(super) fn keep(&mut self, name: String, plain: bool, value: &Value<'a>) {
        let is_local = plain && self.local_value(&name).is_some();
        if let (Some(flow), Value::Function(target), false) = (&mut self.flow, value, is_local) {
            flow.name(name, plain, target.clone());
        }
    }

    fn function_statement(&mut self) -> Option<()> {
        let mut name = self.name()?;
        let mut plain = true;
        while self.take(".") || self.take(":") {
            name = self.name()?;
            plain = false;
        }
        if plain && self.local_value(&name).is_some() {
            self.set(&name);
        } else if plain {
            self.defined.insert(name.clone());
        }
        let begin = self.at;
        let function = self.function_body(None)?;
        if plain
            && self.local_value(&name).is_none()
            && let Some(forward) = self.forward(begin)
        {
            self.forwards.insert(name.clone(), forward);
        }
        self.keep(name, plain, &function);
        Some(())
    }

    /// How certain it is that the reader's position is reached.
    pub(super) fn sure(&self) -> Sure {
        self.flow.as_ref().map_or(Sure::Maybe, Tracker::sure)
    }

    pub(super) fn set_sure(&mut self, sure: Sure) {
        self.flow.iter_mut().for_each(|flow| flow.set_sure(sure));
    }

    /// Code that runs rarely, often or not at all.
    fn perhaps<T>(&mut self, inner: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.sure();
        self.set_sure(before.min(Sure::Maybe));
        let result = inner(self)?;
        self.set_sure(before);
        Some(result)
    }

    /// Code that runs if a condition holds; returns how certain it then is that the code next to it
    /// runs.
    pub(super) fn branch<T>(
        &mut self,
        condition: &Value<'a>,
        inner: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<(T, Sure)> {
        let before = self.sure();
        let (then, otherwise) = match condition.truth() {
            Some(true) => (before, Sure::Never),
            Some(false) => (Sure::Never, before),
            None => (before.min(Sure::Maybe), before.min(Sure::Maybe)),
        };
        self.set_sure(then);
        let result = inner(self)?;
        self.set_sure(before);
        Some((result, otherwise))
    }

    /// The parameters and the block of a function.
    pub(super) fn function_body(&mut self, body: Option<usize>) -> Option<Value<'a>> {
        self.generics()?;
        self.expect("(")?;
        let mut names = vec!["self".to_owned()];
        while !self.take(")") {
            if !self.take("...") {
                names.push(self.name()?);
            }
            if self.take(":") {
                self.type_()?;
            }
            if !self.take(",") && !self.is(")") {
                return None;
            }
        }
        if self.take(":") {
            self.type_()?;
        }
        let body = self.flow.as_mut().map(|flow| {
            let body = body.unwrap_or_else(|| flow.new_body());
            flow.enter(body);
            body
        });
        let line = self.line();
        self.functions += 1;
        self.within(|parser| {
            for name in names {
                parser.declare(name, Value::Unknown, line, Origin::Parameter);
            }
            parser.block()
        })?;
        self.functions -= 1;
        self.flow.iter_mut().for_each(Tracker::leave);
        self.expect("end")?;
        Some(body.map_or(Value::Known(Argument::Function), |body| {
            Value::Function(Target::Body(body))
        }))
    }
}
