//! Words: quoting, parameters, substitutions.

use super::parse::Parser;
use super::{Piece, SyntaxError, Word};

/// Characters that end a word that is not quoted.
const ENDS: &str = " \t\r\n;&|()<>";

impl Parser<'_> {
    /// The word here; `None` if there is none.
    pub(super) fn word(&mut self) -> Result<Option<Word>, SyntaxError> {
        let start = self.at;
        let word = self.pieces(|c| ENDS.contains(c))?;
        Ok((self.at > start).then_some(word))
    }

    /// Pieces up to a character that ends them, which is left standing.
    pub(super) fn pieces(&mut self, ends: impl Fn(char) -> bool) -> Result<Word, SyntaxError> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        while let Some(c) = self.rest().chars().next() {
            let special = "'\"$`\\".contains(c);
            if !special {
                if ends(c) {
                    break;
                }
                self.at += c.len_utf8();
                text.push(c);
                continue;
            }
            if c == '\\' {
                self.at += 1;
                let escaped = self.rest().chars().next();
                self.at += escaped.map_or(0, char::len_utf8);
                if let Some(escaped) = escaped.filter(|c| *c != '\n') {
                    push_text(&mut pieces, &mut text, false);
                    pieces.push(Piece::Text {
                        text: escaped.to_string(),
                        quoted: true,
                    });
                }
                continue;
            }
            push_text(&mut pieces, &mut text, false);
            match c {
                '\'' => {
                    self.at += 1;
                    let end = self
                        .rest()
                        .find('\'')
                        .ok_or_else(|| self.error("a quote ' has no end"))?;
                    let inner = self.rest().get(..end).unwrap_or_default().to_owned();
                    self.at += end + 1;
                    pieces.push(Piece::Text {
                        text: inner,
                        quoted: true,
                    });
                }
                '"' => {
                    self.at += 1;
                    pieces.extend(self.quoted_until(Some('"'))?.0);
                }
                '`' => pieces.push(self.backticks(false)?),
                _ => pieces.push(self.dollar(false)?),
            }
        }
        push_text(&mut pieces, &mut text, false);
        Ok(Word(pieces))
    }

    /// What stands in double quotes, or in a here-document (then up to the end).
    pub(super) fn quoted_until(&mut self, end: Option<char>) -> Result<Word, SyntaxError> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        loop {
            let Some(c) = self.rest().chars().next() else {
                if end.is_some() {
                    return Err(self.error("a quote \" has no end"));
                }
                break;
            };
            match c {
                c if Some(c) == end => {
                    self.at += 1;
                    break;
                }
                '\\' => {
                    let escaped = self.rest().chars().nth(1);
                    // A quote means nothing in a here-document.
                    let is_escape = escaped
                        .is_some_and(|c| "$`\\\n".contains(c) || (c == '"' && end.is_some()));
                    self.at += 1;
                    match escaped.filter(|_| is_escape) {
                        Some(escaped) => {
                            self.at += escaped.len_utf8();
                            text.extend(Some(escaped).filter(|c| *c != '\n'));
                        }
                        None => text.push('\\'),
                    }
                }
                '$' | '`' => {
                    push_text(&mut pieces, &mut text, true);
                    pieces.push(if c == '$' {
                        self.dollar(true)?
                    } else {
                        self.backticks(true)?
                    });
                }
                c => {
                    self.at += c.len_utf8();
                    text.push(c);
                }
            }
        }
        if pieces.is_empty() || !text.is_empty() {
            pieces.push(Piece::Text { text, quoted: true });
        }
        Ok(Word(pieces))
    }

    fn dollar(&mut self, quoted: bool) -> Result<Piece, SyntaxError> {
        self.at += 1;
        if self.eat("((") {
            return Ok(Piece::Arithmetic(self.calculation()?));
        }
        if self.eat("(") {
            let items = self.list(&[")"])?;
            if !self.eat(")") {
                return Err(self.error("$( has no end"));
            }
            return Ok(Piece::Command { items, quoted });
        }
        if self.eat("{") {
            return self.braces(quoted);
        }
        let rest = self.rest();
        let len = match rest.chars().next() {
            Some(c) if c.is_ascii_alphabetic() || c == '_' => rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(rest.len()),
            Some(c) if c.is_ascii_digit() || "?#@*$!-".contains(c) => 1,
            // $'...' and $"..." mean something in some shells only.
            Some('\'' | '"') if !quoted => 0,
            _ => {
                return Ok(Piece::Text {
                    text: "$".into(),
                    quoted: true,
                });
            }
        };
        let name = rest.get(..len).unwrap_or_default().to_owned();
        self.at += len;
        Ok(Piece::Param {
            name,
            op: None,
            quoted,
        })
    }

    fn braces(&mut self, quoted: bool) -> Result<Piece, SyntaxError> {
        let begins = self.line();
        let endless = || SyntaxError {
            line: begins,
            what: "${ has no end".to_owned(),
        };
        let rest = self.rest();
        if rest.starts_with('#') && !rest.starts_with("#}") {
            self.at += 1;
            if let Some(count) = self.count_of_array() {
                return Ok(Piece::Text {
                    text: count.to_string(),
                    quoted: true,
                });
            }
            let array = self
                .rest()
                .split('}')
                .next()
                .is_some_and(|inside| inside.contains('['));
            let Piece::Param { name, op: None, .. } = self.braces(quoted)? else {
                return Err(self.error("this expansion cannot be read"));
            };
            if array {
                return Err(self.error("this expansion cannot be read"));
            }
            return Ok(Piece::Param {
                name,
                op: Some(("length".into(), Word::default())),
                quoted,
            });
        }
        let first = rest.chars().next().ok_or_else(endless)?;
        let len = if first.is_ascii_alphabetic() || first == '_' {
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(rest.len())
        } else if first.is_ascii_digit() {
            rest.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let name = rest.get(..len).unwrap_or_default().to_owned();
        self.at += len;
        if self.eat("}") {
            return Ok(Piece::Param {
                name,
                op: None,
                quoted,
            });
        }
        let all = self.arrays.contains_key(&name) && (self.eat("[@]}") || self.eat("[*]}"));
        if all {
            return Ok(Piece::Param {
                name,
                op: None,
                quoted: false,
            });
        }
        let ops = [
            ":-", ":=", ":+", ":?", "%%", "##", "//", "^^", ",,", "-", "=", "+", "?", "%", "#",
            "/", ":", "^", ",", "[",
        ];
        let op = ops.into_iter().find(|op| self.eat(op)).unwrap_or("unread");
        let begin = self.at;
        let word = self.pieces(|c| c == '}')?;
        let inside = self.source.get(begin..self.at).unwrap_or_default();
        // A quote in double quotes stands for itself, and this reader took it away.
        let op = if quoted && inside.contains('\'') {
            "unread"
        } else {
            op
        };
        if !self.eat("}") {
            return Err(endless());
        }
        Ok(Piece::Param {
            name,
            op: Some((op.to_owned(), word)),
            quoted,
        })
    }

    /// `${#NAME[@]}` of an array that nothing is added to.
    fn count_of_array(&mut self) -> Option<usize> {
        let (name, rest) = self.rest().split_once('[')?;
        let end = ["@]}", "*]}"]
            .into_iter()
            .find(|end| rest.starts_with(end))?;
        let words = self.arrays.get(name)?;
        let adds = self.source.contains(&format!("{name}+=("));
        let count = (!adds).then(|| words.split_whitespace().count())?;
        self.at += name.len() + 1 + end.len();
        Some(count)
    }

    fn backticks(&mut self, quoted: bool) -> Result<Piece, SyntaxError> {
        self.at += 1;
        let mut inner = String::new();
        let line = self.line();
        loop {
            let mut chars = self.rest().chars();
            match chars.next() {
                None => return Err(self.error("a backtick has no end")),
                Some('`') => break,
                Some('\\') => {
                    let next = chars.next().unwrap_or('\\');
                    self.at += 1 + next.len_utf8();
                    if !"$`\\".contains(next) {
                        inner.push('\\');
                    }
                    inner.push(next);
                }
                Some(c) => {
                    self.at += c.len_utf8();
                    inner.push(c);
                }
            }
        }
        self.at += 1;
        let mut parser = Parser::new(&inner, line - 1, self.depth + 1);
        let items = parser.list(&[])?;
        Ok(Piece::Command { items, quoted })
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &mut String, quoted: bool) {
    if !text.is_empty() {
        pieces.push(Piece::Text {
            text: std::mem::take(text),
            quoted,
        });
    }
}
