//! The syntax of `keepalived.conf`: lines of words, some with a block in braces.

use super::expand::{Expander, Line};
use super::words::words;
use crate::import::account::{Account, Id};
use crate::import::{Files, ImportError, Node};
use crate::types::shown;

/// How deep blocks may be in one another.
const DEPTH_MAX: usize = 16;
/// The most bytes of a statement that are shown.
const SHOWN_MAX: usize = 200;

/// A statement: its words, and the block behind it.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) id: Id,
    pub(super) words: Vec<String>,
    pub(super) block: Vec<Statement>,
}

impl Statement {
    /// The first word.
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The word behind it; empty if there is none.
    pub(super) fn value(&self) -> &str {
        self.words.get(1).map_or("", String::as_str)
    }

    /// All words behind the first.
    pub(super) fn rest(&self) -> String {
        self.words.get(1..).unwrap_or_default().join(" ")
    }

    /// The last statement in the block with this name, as keepalived takes it.
    pub(super) fn part(&self, name: &str) -> Option<&Self> {
        self.block.iter().rfind(|part| part.name() == name)
    }
}

/// The statements of a file and of those that it includes.
///
/// # Errors
/// A quote or a block that does not end, and too much of anything.
pub(super) fn statements(
    account: &mut Account,
    files: &dyn Files,
    node: Node<'_>,
    (name, text): (&str, &str),
) -> Result<Vec<Statement>, ImportError> {
    let lines = Expander::new(account, files, node).expand(name, text)?;
    let mut reader = Reader {
        account,
        tokens: tokens(&lines)?.into_iter().peekable(),
    };
    let mut found = Vec::new();
    while reader.tokens.peek().is_some() {
        found.extend(reader.statement(0)?);
    }
    Ok(found)
}

struct Reader<'a> {
    account: &'a mut Account,
    tokens: std::iter::Peekable<std::vec::IntoIter<Token<'a>>>,
}

/// Where a token stands.
#[derive(Clone, Copy)]
struct At<'a>(&'a str, usize);

impl At<'_> {
    fn error(self, message: impl Into<String>) -> ImportError {
        ImportError::at(self.0, self.1, None, message)
    }
}

enum Token<'a> {
    Word(String, At<'a>),
    Open(At<'a>),
    Close(At<'a>),
    /// Of a line.
    End,
}

impl<'a> Reader<'a> {
    fn statement(&mut self, depth: usize) -> Result<Option<Statement>, ImportError> {
        let mut of_it = Vec::new();
        let mut place: Option<At<'a>> = None;
        while let Some(token) = self.tokens.peek() {
            match token {
                Token::End if of_it.is_empty() => {
                    self.tokens.next();
                }
                // A brace may stand alone on the next line.
                Token::End => {
                    self.tokens.next();
                    if !matches!(self.tokens.peek(), Some(Token::Open(..))) {
                        break;
                    }
                }
                Token::Word(word, at) => {
                    place.get_or_insert(*at);
                    of_it.push(word.clone());
                    self.tokens.next();
                }
                Token::Open(at) => {
                    let place = place.unwrap_or(*at);
                    self.tokens.next();
                    return self.block(of_it, place, depth).map(Some);
                }
                Token::Close(at) => {
                    if of_it.is_empty() && depth == 0 {
                        return Err(at.error("this brace closes no block"));
                    }
                    break;
                }
            }
        }
        Ok(place.map(|at| self.enter(of_it, at)))
    }

    fn block(
        &mut self,
        of_it: Vec<String>,
        at: At<'a>,
        depth: usize,
    ) -> Result<Statement, ImportError> {
        if depth >= DEPTH_MAX {
            return Err(at.error(format!("blocks are more than {DEPTH_MAX} deep")));
        }
        let mut statement = self.enter(of_it, at);
        loop {
            match self.tokens.peek() {
                None => {
                    return Err(at.error(format!(
                        "the block of `{}` does not end",
                        shown(statement.name())
                    )));
                }
                Some(Token::Close(..)) => {
                    self.tokens.next();
                    return Ok(statement);
                }
                Some(Token::End) => {
                    self.tokens.next();
                }
                Some(_) => statement.block.extend(self.statement(depth + 1)?),
            }
        }
    }

    fn enter(&mut self, words: Vec<String>, At(file, number): At<'_>) -> Statement {
        let secret = words.first().is_some_and(|name| name == "auth_pass");
        let text = if secret {
            "auth_pass ****".to_owned()
        } else {
            words.join(" ")
        };
        let mut text = shown(&text);
        if text.len() > SHOWN_MAX {
            text.truncate(text.floor_char_boundary(SHOWN_MAX));
            text.push('…');
        }
        let id = self.account.enter(file, number, text);
        Statement {
            id,
            words,
            block: Vec::new(),
        }
    }
}

fn tokens(lines: &[Line]) -> Result<Vec<Token<'_>>, ImportError> {
    let mut tokens = Vec::new();
    for line in lines {
        let at = At(&line.file, line.number);
        let all = words(&line.text).ok_or_else(|| at.error("a quote does not end"))?;
        for (word, quoted) in all {
            tokens.push(match word.as_str() {
                "{" if !quoted => Token::Open(at),
                "}" if !quoted => Token::Close(at),
                _ => Token::Word(word, at),
            });
        }
        tokens.push(Token::End);
    }
    Ok(tokens)
}
