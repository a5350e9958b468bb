//! `if`, `for`, `while`, `case`, blocks, functions and `[[ ]]`.

use super::parse::{Parser, plain_word};
use super::{Item, Kind, SyntaxError, Word};

impl Parser<'_> {
    pub(super) fn compound(&mut self) -> Result<Option<Kind>, SyntaxError> {
        Ok(Some(if self.keyword("if") {
            self.if_clause()?
        } else if self.keyword("for") {
            self.for_clause()?
        } else if self.keyword("while") {
            self.while_clause(false)?
        } else if self.keyword("until") {
            self.while_clause(true)?
        } else if self.keyword("case") {
            self.case_clause()?
        } else if self.keyword("{") {
            let items = self.list(&["}"])?;
            self.expect("}")?;
            Kind::Block {
                items,
                subshell: false,
            }
        } else if self.eat("((") {
            Kind::Arithmetic(self.calculation()?)
        } else if self.eat("(") {
            let items = self.list(&[")"])?;
            self.expect(")")?;
            Kind::Block {
                items,
                subshell: true,
            }
        } else if self.keyword("[[") {
            Kind::Test(self.extended_test()?)
        } else if self.keyword("function") {
            self.blanks();
            let name = self
                .name()
                .ok_or_else(|| self.error("a function needs a name"))?;
            self.blanks();
            if self.eat("(") {
                self.expect(")")?;
            }
            self.function(name)?
        } else {
            let (start, name) = (self.at, self.name());
            self.blanks();
            match name {
                Some(name) if self.eat("(") => {
                    self.expect(")")?;
                    self.function(name)?
                }
                _ => {
                    self.at = start;
                    return Ok(None);
                }
            }
        }))
    }

    fn function(&mut self, name: String) -> Result<Kind, SyntaxError> {
        self.lines()?;
        match self.compound()? {
            Some(Kind::Block {
                items,
                subshell: false,
            }) => Ok(Kind::Function { name, body: items }),
            Some(Kind::Block { .. }) => Ok(Kind::Unread("a function in a subshell".into())),
            _ => Err(self.error("a function needs a body in braces")),
        }
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let ok = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let end = rest.find(|c| !ok(c)).unwrap_or(rest.len());
        let name = rest
            .get(..end)
            .filter(|n| n.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))?;
        self.at += end;
        Some(name.to_owned())
    }

    fn if_clause(&mut self) -> Result<Kind, SyntaxError> {
        let (mut arms, mut otherwise) = (Vec::new(), Vec::new());
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then")?;
            arms.push((condition, self.list(&["elif", "else", "fi"])?));
            if self.keyword("elif") {
                continue;
            }
            if self.keyword("else") {
                otherwise = self.list(&["fi"])?;
            }
            self.expect("fi")?;
            return Ok(Kind::If { arms, otherwise });
        }
    }

    fn for_clause(&mut self) -> Result<Kind, SyntaxError> {
        self.blanks();
        let (line, start) = (self.line(), self.at);
        if self.eat("((") {
            let text = self.calculation()?;
            let span = start..self.at;
            self.blanks();
            self.eat(";");
            let mut body = self.do_group()?;
            let [first, condition, step] = text.split(';').collect::<Vec<_>>()[..] else {
                return Ok(Kind::Unread("a loop that counts in another way".into()));
            };
            if skips(&body) {
                return Ok(Kind::Unread("a loop that counts, with continue".into()));
            }
            let item = |kind: Kind| Item::alone(line, span.clone(), kind);
            body.push(item(Kind::Arithmetic(step.to_owned())));
            let again = Kind::While {
                until: false,
                condition: vec![item(Kind::Arithmetic(condition.to_owned()))],
                body,
            };
            return Ok(Kind::Block {
                items: vec![item(Kind::Arithmetic(first.to_owned())), item(again)],
                subshell: false,
            });
        }
        let name = self
            .name()
            .ok_or_else(|| self.error("only `for NAME in ...` can be read"))?;
        self.lines()?;
        let mut words = None;
        if self.keyword("in") {
            let mut list = Vec::new();
            loop {
                self.blanks();
                match self.word()? {
                    Some(word) => list.push(word),
                    None => break,
                }
            }
            words = Some(list);
        }
        self.eat(";");
        Ok(Kind::For {
            name,
            words,
            body: self.do_group()?,
        })
    }

    fn while_clause(&mut self, until: bool) -> Result<Kind, SyntaxError> {
        let condition = self.list(&["do"])?;
        Ok(Kind::While {
            until,
            condition,
            body: self.do_group()?,
        })
    }

    fn do_group(&mut self) -> Result<Vec<Item>, SyntaxError> {
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.expect("done")?;
        Ok(body)
    }

    fn case_clause(&mut self) -> Result<Kind, SyntaxError> {
        self.blanks();
        let word = self
            .word()?
            .ok_or_else(|| self.error("case needs a word"))?;
        self.expect("in")?;
        let (mut arms, mut goes_on) = (Vec::new(), false);
        loop {
            self.lines()?;
            if self.keyword("esac") {
                return Ok(if goes_on {
                    Kind::Unread("a case that goes on to the next one".into())
                } else {
                    Kind::Case { word, arms }
                });
            }
            self.eat("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(
                    self.word()?
                        .ok_or_else(|| self.error("a pattern is missing"))?,
                );
                self.blanks();
                if !self.eat("|") {
                    break;
                }
            }
            self.expect(")")?;
            arms.push((patterns, self.list(&[";;", ";&", "esac"])?));
            goes_on |= self.eat(";;&") || self.eat(";&");
            self.eat(";;");
        }
    }

    fn extended_test(&mut self) -> Result<Vec<Word>, SyntaxError> {
        let mut words = Vec::new();
        loop {
            self.lines()?;
            if self.keyword("]]") {
                return Ok(words);
            }
            // What follows =~ is an expression of its own.
            if words.last().is_some_and(|word: &Word| word.is("=~")) {
                words.push(self.pieces(char::is_whitespace)?);
                continue;
            }
            let operator = ["&&", "||", "(", ")", "<", ">"]
                .into_iter()
                .find(|op| self.eat(op));
            match operator {
                Some(operator) => words.push(plain_word(operator)),
                None => words.push(self.word()?.ok_or_else(|| self.error("[[ has no end"))?),
            }
        }
    }
}

/// Is there a `continue` in it?
fn skips(items: &[Item]) -> bool {
    items.iter().any(|item| {
        let rest = item.rest.iter().map(|(_, pipeline)| pipeline);
        let mut commands = std::iter::once(&item.first)
            .chain(rest)
            .flat_map(|pipeline| &pipeline.commands);
        commands.any(|command| match &command.kind {
            Kind::Simple { words, .. } => words.first().is_some_and(|word| word.is("continue")),
            kind => kind.lists().into_iter().any(skips),
        })
    })
}
