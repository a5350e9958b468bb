//! The locals of a script: what is known of each, and names that refer to another one than it
//! seems.

use super::calls::Argument;
use super::lexer::Kind;
use super::parser::Parser;
use super::value::{Forward, Local, Origin, Value};
use crate::hooks::contract::api;

impl<'a> Parser<'a> {
    pub(super) fn declare(&mut self, name: String, value: Value<'a>, line: usize, origin: Origin) {
        let is_plain = matches!(
            value,
            Value::Known(
                Argument::Bool(_)
                    | Argument::Number(_)
                    | Argument::SomeNumber
                    | Argument::Text(_)
                    | Argument::SomeText
            )
        );
        let value = match value {
            // A group of the API under its own name, with other manners.
            Value::Global(group) if group == name => Value::Global(group),
            _ if self
                .flow
                .as_ref()
                .is_none_or(|flow| !flow.is_constant(&name)) =>
            {
                Value::Unknown
            }
            Value::Known(Argument::Table { .. }) => Value::Namespace,
            Value::Known(Argument::Many) => Value::Unknown,
            value => value,
        };
        let functions = self.functions;
        let around = self.scopes.split_last().map_or(&[][..], |(_, rest)| rest);
        let hides = around
            .iter()
            .rev()
            .find_map(|scope| scope.get(&name))
            .filter(|local| local.functions == functions && !name.starts_with('_'))
            .map(|local| local.line);
        let local = Local {
            value,
            line,
            origin,
            functions,
            is_plain,
            is_read: false,
            hides,
            after_loop: None,
            forward: None,
        };
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, local);
        }
    }

    /// The innermost scope ends.
    pub(super) fn end_scope(&mut self) {
        for (name, local) in self.scopes.pop().unwrap_or_default() {
            if let (Some(hidden), Origin::Local, false) = (local.hides, local.origin, local.is_read)
            {
                self.doubt(
                    local.line,
                    format!("nothing reads this {name}, and it hides that of line {hidden}: leave out \"local\" to set that one"),
                );
            }
            if local.origin == Origin::Loop
                && local.hides.is_some()
                && let Some(outer) = self.local_mut(&name)
            {
                outer.after_loop = Some(local.line);
            }
            self.ended.insert(name, local.line);
        }
    }

    fn find_local(&self, name: &str) -> Option<&Local<'a>> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
    }

    pub(super) fn local_mut(&mut self, name: &str) -> Option<&mut Local<'a>> {
        self.scopes
            .iter_mut()
            .rev()
            .find_map(|scope| scope.get_mut(name))
    }

    /// The value of a local with this name; `None` if there is none.
    pub(super) fn local_value(&self, name: &str) -> Option<&Value<'a>> {
        self.find_local(name).map(|local| &local.value)
    }

    /// What a function with this name does with its arguments, if it passes them on.
    pub(super) fn forward_of(&self, name: &str) -> Option<Forward> {
        match self.find_local(name) {
            Some(local) => local.forward.clone(),
            None => self
                .forwards
                .get(name)
                .cloned()
                .or_else(|| Forward::of_library(name).filter(|_| !self.globals.contains(name))),
        }
    }

    /// A local with this name is read.
    pub(super) fn reads(&mut self, name: &str, line: usize) {
        let Some(local) = self.local_mut(name) else {
            return;
        };
        local.is_read = true;
        let declared = local.line;
        if let Some(of_loop) = local.after_loop.take() {
            self.doubt(
                line,
                format!("this is the {name} of line {declared}: that of the loop of line {of_loop} ended with the loop"),
            );
        }
    }

    /// The message for a name that is undefined here.
    pub(super) fn nothing_called(&self, name: &str) -> String {
        match self.ended.get(name) {
            Some(line) => {
                format!("there is no {name} here: that of line {line} ends with its block")
            }
            None => api::unknown_global(name),
        }
    }

    /// A call that began at a token and looks like an API function: a local may have the name of
    /// the group.
    pub(super) fn hidden(&mut self, begin: usize, line: usize) {
        let name = |at: usize| match self.tokens.get(at).map(|token| &token.kind) {
            Some(Kind::Name(name)) => Some(name.as_str()),
            _ => None,
        };
        let (Some(group), Some(member)) = (name(begin), name(begin + 2)) else {
            return;
        };
        if api::find(group, member).is_none() {
            return;
        }
        let Some(local) = self.find_local(group) else {
            return;
        };
        let itself = (begin + 3..self.at).any(|at| {
            let before = self.tokens.get(at - 1).map(|token| &token.kind);
            name(at) == Some(group) && before != Some(&Kind::Symbol("."))
        });
        let certain = local.is_plain && !self.assigned.contains(group);
        if !(certain || local.is_plain || local.origin == Origin::Loop || itself) {
            return;
        }
        let message = format!(
            "{group}.{member}: {group} is the variable of line {} here, and not the API's: give that another name",
            local.line
        );
        if certain {
            self.find(line, message);
        } else {
            self.doubt(line, message);
        }
    }
}
