//! Functions that pass on their arguments: `pcall`, and functions of a script such as `try`.

use super::calls::{self, Argument};
use super::lexer::Kind;
use super::parser::Parser;
use super::value::{Callee, Forward, Value};
use crate::hooks::contract::api;

impl Forward {
    /// For a function that exists in every script.
    pub(super) fn of_library(name: &str) -> Option<Self> {
        let from = match name {
            "pcall" => 1,
            "xpcall" => 2,
            _ => return None,
        };
        Some(Self {
            callee: Callee::Argument(0),
            from,
            least: 0,
        })
    }
}

impl Parser<'_> {
    /// How the function whose parameters begin at a token, and which ends here, passes on its
    /// arguments; `None` if it does not, or does anything else with them.
    pub(super) fn forward(&self, begin: usize) -> Option<Forward> {
        let mut params = Vec::new();
        let mut at = begin;
        self.symbol(at, "(").then_some(())?;
        at += 1;
        while !self.symbol(at, ")") {
            params.push(match &self.tokens.get(at)?.kind {
                kind @ (Kind::Name(_) | Kind::Symbol("...")) => kind,
                _ => return None,
            });
            at += 1;
            if self.symbol(at, ",") {
                at += 1;
            } else if !self.symbol(at, ")") {
                return None;
            }
        }
        let body = at + 1..self.at;
        let changes = |at: usize| {
            self.tokens
                .get(at)
                .is_some_and(|token| params.contains(&&token.kind))
                && (self.symbol(at + 1, "=") || self.symbol(at + 1, ","))
                && !self.symbol(at.checked_sub(1).unwrap_or(at), "(")
                && !self.symbol(at.checked_sub(1).unwrap_or(at), ",")
        };
        if params.is_empty() || body.clone().any(changes) {
            return None;
        }
        body.filter(|at| !self.symbol(at.checked_sub(1).unwrap_or(*at), "."))
            .find_map(|at| self.passes_on(at, &params))
    }

    fn symbol(&self, at: usize, symbol: &str) -> bool {
        matches!(self.tokens.get(at).map(|token| &token.kind), Some(Kind::Symbol(s)) if *s == symbol)
    }

    /// Are these the arguments from this one on, up to the closing parenthesis?
    fn gives(&self, mut at: usize, params: &[&Kind]) -> bool {
        for (index, param) in params.iter().enumerate() {
            if index > 0 {
                if !self.symbol(at, ",") {
                    return false;
                }
                at += 1;
            }
            if self
                .tokens
                .get(at)
                .is_none_or(|token| token.kind != **param)
            {
                return false;
            }
            at += 1;
        }
        self.symbol(at, ")")
    }

    /// Does a call begin here that passes on the parameters, from one of them on?
    fn passes_on(&self, at: usize, params: &[&Kind]) -> Option<Forward> {
        let Kind::Name(name) = &self.tokens.get(at)?.kind else {
            return None;
        };
        if name == "pcall" && self.symbol(at + 1, "(") {
            let (callee, next) = self.callee(at + 2, params)?;
            let from = first(&callee);
            let rest = params.get(from..)?;
            let passes = if self.symbol(next, ",") {
                self.gives(next + 1, rest)
            } else {
                rest.is_empty() && self.symbol(next, ")")
            };
            return passes.then(|| Forward::to(callee, params));
        }
        if name == "tolerant" && self.symbol(at + 1, "(") {
            let (callee, next) = self.callee(at + 2, params)?;
            let rest = params.get(first(&callee)..)?;
            let passes =
                self.symbol(next, ")") && self.symbol(next + 1, "(") && self.gives(next + 2, rest);
            return passes.then(|| Forward::to(callee, params));
        }
        if let Some((callee, next)) = self.callee(at, params) {
            let passes =
                self.symbol(next, "(") && self.gives(next + 1, params.get(first(&callee)..)?);
            return passes.then(|| Forward::to(callee, params));
        }
        let other = self.forward_of(name)?;
        let passes = self.symbol(at + 1, "(") && self.gives(at + 2, params);
        passes.then_some(other)
    }

    /// A parameter or an API function, and the token after it.
    fn callee(&self, at: usize, params: &[&Kind]) -> Option<(Callee, usize)> {
        let kind = &self.tokens.get(at)?.kind;
        let Kind::Name(name) = kind else { return None };
        if let Some(index) = params.iter().position(|param| *param == kind) {
            return Some((Callee::Argument(index), at + 1));
        }
        if self.local_value(name).is_some() || !self.symbol(at + 1, ".") {
            return None;
        }
        let Kind::Name(member) = &self.tokens.get(at + 2)?.kind else {
            return None;
        };
        api::find(name, member)?;
        Some((Callee::Api(name.clone(), member.clone()), at + 3))
    }

    /// A function that passes on these arguments is called.
    pub(super) fn forwarded(&mut self, forward: &Forward, given: &[Value<'_>], line: usize) {
        let function = match &forward.callee {
            Callee::Api(group, name) => api::find(group, name),
            Callee::Argument(index) => match given.get(*index) {
                Some(Value::Member(group, name)) => api::find(group, name),
                Some(Value::Global(group)) => api::find(group, group),
                _ => None,
            },
        };
        let Some((_, function)) = function else {
            return;
        };
        let rest = given.get(forward.from..).unwrap_or_default();
        let mut rest: Vec<Argument> = rest.iter().cloned().map(Value::argument).collect();
        if rest.last() != Some(&Argument::Many) {
            // It may have a default for those that are not given.
            rest.resize(rest.len().max(forward.least), Argument::Unknown);
        }
        match &mut self.flow {
            Some(flow) => flow.passed_on(line, function, rest),
            None => {
                for message in calls::wrong(function, &rest) {
                    self.find(line, message);
                }
            }
        }
    }
}

/// The first parameter that is passed on.
const fn first(callee: &Callee) -> usize {
    match callee {
        Callee::Argument(index) => *index + 1,
        Callee::Api(..) => 0,
    }
}

impl Forward {
    fn to(callee: Callee, params: &[&Kind]) -> Self {
        let from = first(&callee);
        let rest = params.get(from..).unwrap_or_default();
        let named = rest.iter().filter(|kind| matches!(kind, Kind::Name(_)));
        Self {
            callee,
            from,
            least: named.count(),
        }
    }
}
