//! Luau's grammar, as far as it decides which names are in scope and what is called.

use std::collections::BTreeSet;

use super::Finding;
use super::calls::{self, Argument};
use super::lexer::{Kind, Token};
use crate::hooks::api;

/// How deep expressions and blocks may nest: far more than people write, and little of a thread's stack.
pub(super) const DEPTH_MAX: usize = 100;

/// Reads a script. `None` if it is not understood.
pub(super) fn read(tokens: &[Token], elsewhere: &BTreeSet<String>) -> Option<Vec<Finding>> {
    let mut globals = defined(tokens);
    globals.extend(elsewhere.iter().cloned());
    let mut parser = Parser { tokens, at: 0, scopes: vec![BTreeSet::new()], globals, findings: Vec::new(), depth: 0 };
    parser.block()?;
    (parser.at == tokens.len()).then_some(parser.findings)
}

/// Every global that the script sets somewhere.
pub(super) fn defined(tokens: &[Token]) -> BTreeSet<String> {
    let name = |token: Option<&Token>| match token {
        Some(Token { kind: Kind::Name(name), .. }) => Some(name.clone()),
        _ => None,
    };
    let symbol = |token: Option<&Token>, symbol: &str| matches!(token, Some(Token { kind: Kind::Symbol(s), .. }) if *s == symbol);
    let mut found = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let is_field = symbol(before, ".") || symbol(before, ":");
        // `function f`, and `f = ...`; also in a list: `f, g = ...`.
        let sets = matches!(before.map(|token| &token.kind), Some(Kind::Keyword("function")))
            || symbol(tokens.get(at + 1), "=")
            || symbol(tokens.get(at + 1), ",");
        found.extend(name(Some(token)).filter(|_| sets && !is_field));
    }
    found
}

/// What an expression is, if that is known.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Unknown,
    /// A global's name.
    Global(String),
    /// A function of the API, or what would be one.
    Member(String, String),
    Known(Argument),
}

pub(super) struct Parser<'a> {
    pub(super) tokens: &'a [Token],
    pub(super) at: usize,
    scopes: Vec<BTreeSet<String>>,
    globals: BTreeSet<String>,
    findings: Vec<Finding>,
    pub(super) depth: usize,
}

impl Parser<'_> {
    pub(super) fn kind(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |token| token.line)
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
        let Some(Kind::Name(name)) = self.kind() else { return None };
        let name = name.clone();
        self.at += 1;
        Some(name)
    }

    fn find(&mut self, line: usize, message: String) {
        self.findings.push(Finding { line, message });
    }

    fn declare(&mut self, name: String) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name);
        }
    }

    fn is_local(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.contains(name))
    }

    /// Within its own scope, and not too deep.
    fn within<T>(&mut self, inner: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        self.scopes.push(BTreeSet::new());
        let result = inner(self);
        self.scopes.pop();
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
                self.name()?;
                while self.take(".") || self.take(":") {
                    self.name()?;
                }
                self.function_body()?;
            }
            Kind::Keyword("if") => self.conditional()?,
            Kind::Keyword("while") => {
                self.at += 1;
                self.expression()?;
                self.expect("do")?;
                self.within(Self::block)?;
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
                self.within(|parser| {
                    parser.block()?;
                    parser.expect("until")?;
                    parser.expression()
                })?;
            }
            Kind::Keyword("return") => {
                self.at += 1;
                if !matches!(self.kind(), None | Some(Kind::Keyword("end" | "else" | "elseif" | "until") | Kind::Symbol(";"))) {
                    self.expressions()?;
                }
            }
            Kind::Name(name) if self.begins_type(name) => self.type_statement()?,
            Kind::Name(name) if name == "continue" && self.continues() => self.at += 1,
            _ => self.assignment_or_call()?,
        }
        Some(())
    }

    /// `type X =`, `export type X =`: words that may also be names.
    fn begins_type(&self, name: &str) -> bool {
        let named = |at: usize| matches!(self.tokens.get(at).map(|token| &token.kind), Some(Kind::Name(_)));
        match name {
            "type" => {
                named(self.at + 1) || matches!(self.tokens.get(self.at + 1).map(|t| &t.kind), Some(Kind::Keyword("function")))
            }
            "export" => matches!(self.tokens.get(self.at + 1).map(|t| &t.kind), Some(Kind::Name(word)) if word == "type"),
            _ => false,
        }
    }

    fn continues(&self) -> bool {
        !matches!(
            self.tokens.get(self.at + 1).map(|token| &token.kind),
            Some(Kind::Symbol("=" | "(" | "." | ":" | "[" | "," | "{" | "+=" | "-=") | Kind::Text(_) | Kind::SomeText)
        )
    }

    fn type_statement(&mut self) -> Option<()> {
        if self.is_word("export") {
            self.at += 1;
        }
        self.at += 1;
        if self.take("function") {
            self.name()?;
            return self.function_body();
        }
        self.name()?;
        self.generics()?;
        self.expect("=")?;
        self.type_()
    }

    fn local(&mut self) -> Option<()> {
        self.at += 1;
        if self.take("function") {
            let name = self.name()?;
            self.declare(name);
            return self.function_body();
        }
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
        if self.take("=") {
            self.expressions()?;
        }
        for name in names {
            self.declare(name);
        }
        Some(())
    }

    fn conditional(&mut self) -> Option<()> {
        loop {
            self.at += 1;
            self.expression()?;
            self.expect("then")?;
            self.within(Self::block)?;
            if self.is("elseif") {
                continue;
            }
            if self.take("else") {
                self.within(Self::block)?;
            }
            return self.expect("end");
        }
    }

    fn repetition(&mut self) -> Option<()> {
        self.at += 1;
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
        self.within(|parser| {
            for name in names {
                parser.declare(name);
            }
            parser.block()
        })?;
        self.expect("end")
    }

    fn assignment_or_call(&mut self) -> Option<()> {
        self.target()?;
        while self.take(",") {
            self.target()?;
        }
        let assigns = ["=", "+=", "-=", "*=", "/=", "//=", "%=", "^=", "..="];
        if assigns.iter().any(|symbol| self.take(symbol)) {
            self.expressions()?;
        }
        Some(())
    }

    /// What may be assigned to or called. Setting a global defines it, so here it is not asked for.
    fn target(&mut self) -> Option<()> {
        self.suffixed().map(drop)
    }

    fn expressions(&mut self) -> Option<Vec<Value>> {
        let mut all = vec![self.expression()?];
        while self.take(",") {
            all.push(self.expression()?);
        }
        Some(all)
    }

    fn expression(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let mut value = self.operand()?;
        let binary = ["+", "-", "*", "/", "//", "%", "^", "..", "==", "~=", "<", "<=", ">", ">=", "and", "or"];
        while binary.iter().any(|operator| self.take(operator)) {
            self.operand()?;
            value = Value::Unknown;
        }
        self.depth -= 1;
        Some(value)
    }

    fn operand(&mut self) -> Option<Value> {
        let mut changed = false;
        while ["-", "not", "#"].iter().any(|operator| self.take(operator)) {
            changed = true;
        }
        let value = self.simple()?;
        let mut value = if changed { Value::Unknown } else { value };
        while self.take("::") {
            self.type_()?;
            value = Value::Unknown;
        }
        Some(value)
    }

    fn simple(&mut self) -> Option<Value> {
        let known = |argument| Some(Value::Known(argument));
        match self.kind()?.clone() {
            Kind::Keyword("nil") => self.literal(known(Argument::Nil)),
            Kind::Keyword("true") => self.literal(known(Argument::Bool(true))),
            Kind::Keyword("false") => self.literal(known(Argument::Bool(false))),
            Kind::Number(digits) => {
                let number = digits.parse::<f64>().ok();
                self.literal(Some(number.map_or(Value::Known(Argument::SomeNumber), |n| Value::Known(Argument::Number(n)))))
            }
            Kind::Text(text) => self.literal(known(Argument::Text(text))),
            Kind::SomeText => self.literal(known(Argument::SomeText)),
            Kind::HoleBegin => {
                while matches!(self.kind(), Some(Kind::HoleBegin)) {
                    self.at += 1;
                    self.expression()?;
                    matches!(self.kind(), Some(Kind::HoleEnd)).then(|| self.at += 1)?;
                }
                self.at += 1;
                known(Argument::SomeText)
            }
            Kind::Symbol("...") => self.literal(Some(Value::Known(Argument::Many))),
            Kind::Symbol("{") => self.table().map(Value::Known),
            Kind::Keyword("function") => {
                self.at += 1;
                self.function_body()?;
                known(Argument::Function)
            }
            Kind::Keyword("if") => self.chosen(),
            _ => self.suffixed(),
        }
    }

    fn literal(&mut self, value: Option<Value>) -> Option<Value> {
        self.at += 1;
        value
    }

    /// `if a then b else c` as a value.
    fn chosen(&mut self) -> Option<Value> {
        loop {
            self.at += 1;
            self.expression()?;
            self.expect("then")?;
            self.expression()?;
            if self.is("elseif") {
                continue;
            }
            self.expect("else")?;
            self.expression()?;
            return Some(Value::Unknown);
        }
    }

    /// A name or something in brackets, with its fields and calls.
    fn suffixed(&mut self) -> Option<Value> {
        let line = self.line();
        let mut value = if self.take("(") {
            self.expression()?;
            self.expect(")")?;
            Value::Unknown
        } else {
            let name = self.name()?;
            self.named(name, line)
        };
        loop {
            let line = self.line();
            if self.take(".") {
                let name = self.name()?;
                value = self.member(value, name, line);
            } else if self.take("[") {
                let index = self.expression()?;
                self.expect("]")?;
                value = match (value, index) {
                    (value @ Value::Global(_), Value::Known(Argument::Text(name))) => self.member(value, name, line),
                    _ => Value::Unknown,
                };
            } else if self.take(":") {
                let name = self.name()?;
                if let Value::Global(group) = &value {
                    self.find(line, format!("{group}:{name}: functions of the API are called with a dot: {group}.{name}"));
                }
                self.arguments()?;
                value = Value::Unknown;
            } else if self.is("(")
                || matches!(self.kind(), Some(Kind::Text(_) | Kind::SomeText | Kind::Symbol("{") | Kind::HoleBegin))
            {
                let given = self.arguments()?;
                let (group, name) = match value {
                    Value::Member(group, name) => (group, name),
                    Value::Global(group) => (group.clone(), group),
                    Value::Unknown | Value::Known(_) => (String::new(), String::new()),
                };
                if let Some((_, function)) = api::find(&group, &name) {
                    let wrong = calls::wrong(function, &given);
                    for message in wrong {
                        self.find(line, message);
                    }
                }
                value = Value::Unknown;
            } else {
                return Some(value);
            }
        }
    }

    fn named(&mut self, name: String, line: usize) -> Value {
        if self.is_local(&name) || self.globals.contains(&name) {
            return Value::Unknown;
        }
        if api::groups().any(|group| group == name) {
            return Value::Global(name);
        }
        if !calls::is_library(&name) {
            self.find(line, api::unknown_global(&name));
        }
        Value::Unknown
    }

    fn member(&mut self, value: Value, name: String, line: usize) -> Value {
        let Value::Global(group) = value else { return Value::Unknown };
        if api::find(&group, &name).is_none() {
            self.find(line, api::unknown_function(&group, &name));
            return Value::Unknown;
        }
        Value::Member(group, name)
    }

    fn arguments(&mut self) -> Option<Vec<Argument>> {
        let known = |value| match value {
            Value::Known(argument) => argument,
            Value::Unknown | Value::Global(_) | Value::Member(..) => Argument::Unknown,
        };
        if !self.take("(") {
            return self.simple().map(|value| vec![known(value)]);
        }
        if self.take(")") {
            return Some(Vec::new());
        }
        let begin = self.at;
        let mut all: Vec<Argument> = self.expressions()?.into_iter().map(known).collect();
        // A call as the last argument may give several values, or none.
        let last_is_call = self.tokens.get(begin..self.at).and_then(<[Token]>::last).is_some_and(|t| t.kind == Kind::Symbol(")"));
        if last_is_call && let Some(last) = all.last_mut().filter(|last| **last == Argument::Unknown) {
            *last = Argument::Many;
        }
        self.expect(")")?;
        Some(all)
    }

    fn table(&mut self) -> Option<Argument> {
        self.expect("{")?;
        let (mut pairs, mut complete) = (Vec::new(), true);
        while !self.take("}") {
            let named = matches!(self.tokens.get(self.at + 1).map(|token| &token.kind), Some(Kind::Symbol("=")));
            if self.take("[") {
                self.expression()?;
                self.expect("]")?;
                self.expect("=")?;
                self.expression()?;
                complete = false;
            } else if named && let Some(name) = self.name() {
                self.expect("=")?;
                let value = match self.expression()? {
                    Value::Known(argument) => argument,
                    Value::Unknown | Value::Global(_) | Value::Member(..) => Argument::Unknown,
                };
                pairs.push((name, value));
            } else {
                self.expression()?;
                complete = false;
            }
            if !(self.take(",") || self.take(";") || self.is("}")) {
                return None;
            }
        }
        Some(Argument::Table { pairs, complete })
    }

    fn function_body(&mut self) -> Option<()> {
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
        self.within(|parser| {
            for name in names {
                parser.declare(name);
            }
            parser.block()
        })?;
        self.expect("end")
    }
}
