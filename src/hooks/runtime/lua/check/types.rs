//! Skips Luau's types without examining them: they say nothing about what is called.

use super::lexer::Kind;
use super::parser::{DEPTH_MAX, Parser};

impl Parser<'_> {
    pub(super) fn generics(&mut self) -> Option<()> {
        if !self.is("<") {
            return Some(());
        }
        self.bracketed("<", ">")
    }

    /// Skips a type without examining it.
    pub(super) fn type_(&mut self) -> Option<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        // A union may begin with its operator.
        while self.take("|") || self.take("&") {}
        match self.kind()? {
            Kind::Symbol("{") => self.bracketed("{", "}")?,
            Kind::Symbol("(") => self.bracketed("(", ")")?,
            Kind::Symbol("<") => {
                self.bracketed("<", ">")?;
                self.bracketed("(", ")")?;
            }
            Kind::Symbol("...") => {
                self.at += 1;
                self.type_()?;
            }
            Kind::Keyword("nil" | "true" | "false") | Kind::Text(_) | Kind::SomeText => {
                self.at += 1;
            }
            Kind::Name(_) => {
                self.at += 1;
                while self.take(".") {
                    self.name()?;
                }
                if self.is("<") {
                    self.bracketed("<", ">")?;
                } else if self.is("(")
                    && matches!(self.tokens.get(self.at - 1).map(|t| &t.kind), Some(Kind::Name(n)) if n == "typeof")
                {
                    self.bracketed("(", ")")?;
                }
            }
            _ => return None,
        }
        while self.take("?") {}
        if self.take("...") || self.take("->") || self.take("|") || self.take("&") {
            let ends = matches!(
                self.kind(),
                None | Some(Kind::Symbol(")" | "," | ">" | "="))
            );
            if !ends {
                self.type_()?;
            }
        }
        self.depth -= 1;
        Some(())
    }

    /// Skips everything in brackets, including nested ones.
    fn bracketed(&mut self, open: &str, close: &str) -> Option<()> {
        self.expect(open)?;
        let mut depth = 1;
        while depth > 0 {
            self.kind()?;
            if self.is(open) {
                depth += 1;
            } else if self.is(close) {
                depth -= 1;
            }
            self.at += 1;
        }
        Some(())
    }
}
