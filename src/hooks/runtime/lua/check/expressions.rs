//! Luau's expressions: what they call, and their values as far as they can be determined.

use super::calls::{self, Argument};
use super::flow::{self, Sure};
use super::lexer::{Kind, Token};
use super::parser::{DEPTH_MAX, Parser};
use super::value::{Target, Value};
use crate::hooks::contract::api;

/// The longest text that is concatenated from others.
const TEXT_MAX: usize = 4096;

const COMPARISONS: [&str; 6] = ["==", "~=", "<", "<=", ">", ">="];
const ARITHMETIC: [&str; 8] = ["+", "-", "*", "/", "//", "%", "^", ".."];

impl Value<'_> {
    /// Is it truthy? `None` if that is unknown.
    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::Known(Argument::Nil | Argument::Absent(_) | Argument::Bool(false)) => Some(false),
            Self::Known(Argument::Unknown | Argument::Many) | Self::Unknown | Self::Function(_) => {
                None
            }
            Self::Known(_)
            | Self::Config(..)
            | Self::Global(_)
            | Self::Member(..)
            | Self::Namespace
            | Self::Tolerant
            | Self::Require => Some(true),
        }
    }

    pub(super) fn argument(self) -> Argument {
        match self {
            Self::Known(argument) => argument,
            Self::Function(Target::Body(_)) => Argument::Function,
            Self::Unknown
            | Self::Global(_)
            | Self::Member(..)
            | Self::Config(..)
            | Self::Function(_)
            | Self::Namespace
            | Self::Tolerant
            | Self::Require => Argument::Unknown,
        }
    }

    /// Its text when it is inserted into another text.
    fn words(&self) -> Option<String> {
        match self {
            Self::Known(Argument::Text(text)) => Some(text.clone()),
            Self::Known(Argument::Number(number))
                if number.fract() == 0.0 && number.abs() < 1e9 =>
            {
                Some(number.to_string())
            }
            _ => None,
        }
    }
}

/// Are the two equal? `None` if that is unknown.
fn equal(left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
    let (Value::Known(left), Value::Known(right)) = (left, right) else {
        return None;
    };
    let nothing = |argument: &Argument| matches!(argument, Argument::Nil | Argument::Absent(_));
    let plain = |argument: &Argument| {
        nothing(argument)
            || matches!(
                argument,
                Argument::Bool(_) | Argument::Number(_) | Argument::Text(_)
            )
    };
    (plain(left) && plain(right)).then(|| left == right || (nothing(left) && nothing(right)))
}

impl<'a> Parser<'a> {
    pub(super) fn expressions(&mut self) -> Option<Vec<Value<'a>>> {
        let mut all = vec![self.expression()?];
        while self.take(",") {
            all.push(self.expression()?);
        }
        Some(all)
    }

    pub(super) fn expression(&mut self) -> Option<Value<'a>> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let mut value = self.conjunction()?;
        while self.take("or") {
            let truth = value.truth();
            let before = self.sure();
            let otherwise = self.branch(&value, |_| Some(()))?.1;
            self.set_sure(otherwise);
            let right = self.conjunction()?;
            self.set_sure(before);
            value = match truth {
                Some(true) => value,
                Some(false) => right,
                None => Value::Unknown,
            };
        }
        self.depth -= 1;
        Some(value)
    }

    fn conjunction(&mut self) -> Option<Value<'a>> {
        let mut value = self.comparison()?;
        while self.take("and") {
            let (right, _) = self.branch(&value, Self::comparison)?;
            value = match value.truth() {
                Some(true) => right,
                Some(false) => value,
                None => Value::Unknown,
            };
        }
        Some(value)
    }

    fn comparison(&mut self) -> Option<Value<'a>> {
        let mut value = self.sum()?;
        while let Some(operator) = COMPARISONS.into_iter().find(|operator| self.take(operator)) {
            let right = self.sum()?;
            value = match (operator, equal(&value, &right)) {
                ("==", Some(equal)) => Value::Known(Argument::Bool(equal)),
                ("~=", Some(equal)) => Value::Known(Argument::Bool(!equal)),
                _ => Value::Unknown,
            };
        }
        Some(value)
    }

    /// Operators that bind more tightly than a comparison.
    fn sum(&mut self) -> Option<Value<'a>> {
        let line = self.line();
        let mut value = self.operand()?;
        while let Some(operator) = ARITHMETIC.into_iter().find(|operator| self.take(operator)) {
            let right = self.operand()?;
            self.needed(&value, line);
            self.needed(&right, line);
            value = match (operator, value.words(), right.words()) {
                ("..", Some(left), Some(right))
                    if left.len() + right.len() <= TEXT_MAX && self.flow.is_some() =>
                {
                    Value::Known(Argument::Text(left + &right))
                }
                _ => Value::Unknown,
            };
        }
        Some(value)
    }

    /// It must not be nil here.
    fn needed(&mut self, value: &Value<'a>, line: usize) {
        if let (Some(flow), Value::Known(Argument::Absent(why))) = (&mut self.flow, value) {
            flow.fault(line, why.clone());
        }
    }

    /// It may be nil here, but that is hardly intended.
    fn doubted(&mut self, value: &Value<'a>, line: usize) {
        let before = self.sure();
        self.set_sure(before.min(Sure::Maybe));
        self.needed(value, line);
        self.set_sure(before);
    }

    fn operand(&mut self) -> Option<Value<'a>> {
        let operator = ["-", "not", "#"]
            .into_iter()
            .find(|operator| self.take(operator));
        if let Some(operator) = operator {
            let value = self.operand()?;
            return Some(match value.truth() {
                Some(truth) if operator == "not" && self.flow.is_some() => {
                    Value::Known(Argument::Bool(!truth))
                }
                _ => Value::Unknown,
            });
        }
        let mut value = self.simple()?;
        while self.take("::") {
            self.type_()?;
            value = if self.flow.is_some() {
                value
            } else {
                Value::Unknown
            };
        }
        Some(value)
    }

    fn simple(&mut self) -> Option<Value<'a>> {
        let known = |argument| Some(Value::Known(argument));
        match self.kind()?.clone() {
            Kind::Keyword("nil") => self.literal(known(Argument::Nil)),
            Kind::Keyword("true") => self.literal(known(Argument::Bool(true))),
            Kind::Keyword("false") => self.literal(known(Argument::Bool(false))),
            Kind::Number(digits) => {
                let number = digits.parse::<f64>().ok();
                self.literal(Some(
                    number.map_or(Value::Known(Argument::SomeNumber), |n| {
                        Value::Known(Argument::Number(n))
                    }),
                ))
            }
            Kind::Text(text) => self.literal(known(Argument::Text(text))),
            Kind::SomeText => self.literal(known(Argument::SomeText)),
            Kind::HoleBegin => {
                while matches!(self.kind(), Some(Kind::HoleBegin)) {
                    self.at += 1;
                    let line = self.line();
                    let value = self.expression()?;
                    self.doubted(&value, line);
                    matches!(self.kind(), Some(Kind::HoleEnd)).then(|| self.at += 1)?;
                }
                self.at += 1;
                known(Argument::SomeText)
            }
            Kind::Symbol("...") => self.literal(Some(Value::Known(Argument::Many))),
            Kind::Symbol("{") => self.table().map(Value::Known),
            Kind::Keyword("function") => {
                self.at += 1;
                let function = self.function_body(None)?;
                self.mention(&function, self.line());
                Some(function)
            }
            Kind::Keyword("if") => self.chosen(),
            _ => self.suffixed(),
        }
    }

    fn literal(&mut self, value: Option<Value<'a>>) -> Option<Value<'a>> {
        self.at += 1;
        value
    }

    /// `if a then b else c` as a value.
    fn chosen(&mut self) -> Option<Value<'a>> {
        let before = self.sure();
        loop {
            self.at += 1;
            let condition = self.expression()?;
            self.expect("then")?;
            let otherwise = self.branch(&condition, Self::expression)?.1;
            self.set_sure(otherwise);
            if self.is("elseif") {
                continue;
            }
            self.expect("else")?;
            self.expression()?;
            self.set_sure(before);
            return Some(Value::Unknown);
        }
    }

    /// A name or an expression in parentheses, with its fields and calls.
    pub(super) fn suffixed(&mut self) -> Option<Value<'a>> {
        let (line, begin) = (self.line(), self.at);
        let mut forward = None;
        let mut value = if self.take("(") {
            let inner = self.expression()?;
            self.expect(")")?;
            match inner {
                Value::Known(argument) if self.flow.is_some() && argument != Argument::Many => {
                    Value::Known(argument)
                }
                _ => Value::Unknown,
            }
        } else {
            let name = self.name()?;
            forward = self.forward_of(&name);
            self.named(name, line)
        };
        loop {
            let (line, at) = (self.line(), self.at);
            if self.take(".") {
                let name = self.name()?;
                value = self.member(value, name, line);
            } else if self.take("[") {
                let index = self.expression()?;
                self.expect("]")?;
                value = match (value, index) {
                    (
                        value @ (Value::Global(_) | Value::Config(..)),
                        Value::Known(Argument::Text(name)),
                    ) => self.member(value, name, line),
                    _ => Value::Unknown,
                };
            } else if self.take(":") {
                let name = self.name()?;
                if let Value::Global(group) = &value {
                    self.find(line, format!("{group}:{name}: functions of the API are called with a dot: {group}.{name}"));
                }
                let method = self.member_of_script(&value, name);
                self.needed(&value, line);
                self.arguments()?;
                self.use_(&method, Sure::Certain);
                value = Value::Unknown;
            } else if self.is("(")
                || matches!(
                    self.kind(),
                    Some(Kind::Text(_) | Kind::SomeText | Kind::Symbol("{") | Kind::HoleBegin)
                )
            {
                let given = self.arguments()?;
                if at == begin + 3 {
                    self.hidden(begin, line);
                }
                if let Some(forward) = forward.take().filter(|_| at == begin + 1) {
                    self.forwarded(&forward, &given, line);
                }
                let same = wrapped(&value, &given);
                let given = given.into_iter().map(Value::argument).collect();
                value = self.call(&value, given, line);
                value = same.unwrap_or(value);
            } else {
                self.mention(&value, line);
                return Some(value);
            }
        }
    }

    fn call(&mut self, value: &Value<'a>, given: Vec<Argument>, line: usize) -> Value<'a> {
        self.needed(value, line);
        self.use_(value, Sure::Certain);
        let function = match value {
            Value::Member(group, name) => api::find(group, name),
            Value::Global(group) => api::find(group, group),
            Value::Require => return Value::Namespace,
            Value::Unknown
            | Value::Known(_)
            | Value::Config(..)
            | Value::Function(_)
            | Value::Tolerant
            | Value::Namespace => None,
        };
        match (function, &mut self.flow) {
            (Some((_, function)), Some(flow)) => flow.call(line, function, given),
            (Some((_, function)), None) => {
                for message in calls::wrong(function, &given) {
                    self.find(line, message);
                }
            }
            (None, _) => {}
        }
        Value::Unknown
    }

    fn use_(&mut self, value: &Value<'a>, sure: Sure) {
        if let (Some(flow), Value::Function(target)) = (&mut self.flow, value) {
            flow.uses(target.clone(), sure);
        }
    }

    /// A function is referred to and not called: whatever receives it may call it.
    fn mention(&mut self, value: &Value<'a>, line: usize) {
        self.use_(value, Sure::Maybe);
        if let (Some(flow), Value::Member(group, name)) = (&mut self.flow, value)
            && let Some((_, function)) = api::find(group, name)
        {
            flow.hand_on(line, function);
        }
    }

    fn named(&mut self, name: String, line: usize) -> Value<'a> {
        if let Some(value) = self.local_value(&name).cloned() {
            self.reads(&name, line);
            return value;
        }
        if self.globals.contains(&name) {
            return if self.flow.is_some() {
                Value::Function(Target::Global(name))
            } else {
                Value::Unknown
            };
        }
        if api::groups().any(|group| group == name) {
            return Value::Global(name);
        }
        if !calls::is_library(&name) {
            self.find(line, self.nothing_called(&name));
        }
        match (&self.flow, name.as_str()) {
            (Some(flow), "config") => flow.config(),
            (Some(_), "require") => Value::Require,
            (_, "tolerant") => Value::Tolerant,
            (Some(_) | None, _) => Value::Unknown,
        }
    }

    fn member(&mut self, value: Value<'a>, name: String, line: usize) -> Value<'a> {
        match value {
            Value::Global(group) => {
                if api::find(&group, &name).is_none() {
                    self.find(line, api::unknown_function(&group, &name));
                    return Value::Unknown;
                }
                Value::Member(group, name)
            }
            Value::Config(table, path) => flow::key(table, &path, &name),
            value => {
                self.needed(&value, line);
                self.member_of_script(&value, name)
            }
        }
    }

    /// A field of something other than the API or the configuration.
    fn member_of_script(&self, value: &Value<'a>, name: String) -> Value<'a> {
        let of_namespace = match value {
            Value::Namespace => true,
            Value::Unknown | Value::Function(_) => false,
            Value::Known(_)
            | Value::Config(..)
            | Value::Global(_)
            | Value::Member(..)
            | Value::Tolerant
            | Value::Require => return Value::Unknown,
        };
        match self.flow {
            Some(_) => Value::Function(Target::Field { name, of_namespace }),
            None => Value::Unknown,
        }
    }

    fn arguments(&mut self) -> Option<Vec<Value<'a>>> {
        if !self.take("(") {
            return self.simple().map(|value| vec![value]);
        }
        if self.take(")") {
            return Some(Vec::new());
        }
        let begin = self.at;
        let mut all = self.expressions()?;
        // A call as the last argument may give several values, or none.
        let last_is_call = self
            .tokens
            .get(begin..self.at)
            .and_then(<[Token]>::last)
            .is_some_and(|t| t.kind == Kind::Symbol(")"));
        if last_is_call
            && let Some(last) = all
                .last_mut()
                .filter(|last| (*last).clone().argument() == Argument::Unknown)
        {
            *last = Value::Known(Argument::Many);
        }
        self.expect(")")?;
        Some(all)
    }

    fn table(&mut self) -> Option<Argument> {
        self.expect("{")?;
        let (mut pairs, mut complete) = (Vec::new(), true);
        while !self.take("}") {
            let named = matches!(
                self.tokens.get(self.at + 1).map(|token| &token.kind),
                Some(Kind::Symbol("="))
            );
            if self.take("[") {
                self.expression()?;
                self.expect("]")?;
                self.expect("=")?;
                self.expression()?;
                complete = false;
            } else if named && let Some(name) = self.name() {
                self.expect("=")?;
                let value = self.expression()?;
                self.keep(name.clone(), false, &value);
                pairs.push((name, value.argument()));
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
}

/// `tolerant(addr)`: what a function makes of a group of the API is taken to be that group, with the
/// same functions; so is what `tolerant(addr.add)` makes of one function, whose further argument says
/// how.
fn wrapped<'a>(callee: &Value<'a>, given: &[Value<'a>]) -> Option<Value<'a>> {
    match (callee, given) {
        (Value::Function(_) | Value::Unknown, [group @ Value::Global(_)]) => Some(group.clone()),
        (Value::Tolerant, [of @ (Value::Global(_) | Value::Member(..)), ..]) => Some(of.clone()),
        _ => None,
    }
}
