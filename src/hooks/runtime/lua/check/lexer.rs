//! Luau's tokens.

/// One token of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

/// The kind of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name that is not a keyword.
    Name(String),
    Keyword(&'static str),
    /// A string whose value is known.
    Text(String),
    /// A string with escapes or interpolations: only that it is a string is known.
    SomeText,
    /// A number, as written.
    Number(String),
    Symbol(&'static str),
    /// A part of an interpolated string, up to the next hole: an expression follows, and then
    /// [`Kind::HoleEnd`].
    HoleBegin,
    /// The end of a hole, followed by the end of the string or another hole.
    HoleEnd,
}

const KEYWORDS: [&str; 22] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while", "goto",
];

/// Longest first.
const SYMBOLS: [&str; 47] = [
    "//=", "...", "..=", "==", "~=", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "^=", "..", "::",
    "->", "//", "+", "-", "*", "/", "%", "^", "#", "&", "~", "|", "<", ">", "=", "(", ")", "{",
    "}", "[", "]", ";", ":", ",", ".", "?", "@", "!", "$", "\\", "`", "'",
];

/// All tokens of a text; `None` if it contains anything that is not a token of Luau.
pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut lexer = Lexer {
        rest: text,
        line: 1,
        tokens: Vec::new(),
        holes: Vec::new(),
    };
    // As in Luau: a first line that names an interpreter is skipped.
    if lexer.rest.starts_with("#!") {
        lexer.skip(lexer.rest.find('\n').unwrap_or(lexer.rest.len()));
    }
    while lexer.next()? {}
    Some(lexer.tokens)
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
    /// Open braces within each hole of a string.
    holes: Vec<usize>,
}

impl<'a> Lexer<'a> {
    fn skip(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn push(&mut self, kind: Kind, bytes: usize) {
        let line = self.line;
        self.skip(bytes);
        self.tokens.push(Token { line, kind });
    }

    /// Returns false at the end.
    fn next(&mut self) -> Option<bool> {
        let blank = self.rest.len() - self.rest.trim_start().len();
        self.skip(blank);
        let Some(first) = self.rest.chars().next() else {
            return Some(false);
        };
        if let Some(comment) = self.rest.strip_prefix("--") {
            let length = match long_bracket(comment) {
                Some((open, close)) => 2 + open + comment.get(open..)?.find(&close)? + close.len(),
                None => self.rest.find('\n').unwrap_or(self.rest.len()),
            };
            self.skip(length);
            return Some(true);
        }
        match first {
            '"' | '\'' => self.quoted(first)?,
            '`' => {
                self.skip(1);
                self.interpolated()?;
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let length = self
                    .rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(self.rest.len());
                let word = self.rest.get(..length)?;
                let keyword = KEYWORDS.iter().find(|keyword| **keyword == word);
                self.push(
                    keyword.map_or_else(
                        || Kind::Name(word.to_owned()),
                        |keyword| Kind::Keyword(keyword),
                    ),
                    length,
                );
            }
            c if c.is_ascii_digit()
                || (c == '.'
                    && self
                        .rest
                        .get(1..2)
                        .is_some_and(|d| d.starts_with(|d: char| d.is_ascii_digit()))) =>
            {
                self.number();
            }
            _ => self.symbol()?,
        }
        Some(true)
    }

    fn number(&mut self) {
        let mut length = 0;
        let mut previous = ' ';
        for c in self.rest.chars() {
            let hex = self.rest.starts_with("0x") || self.rest.starts_with("0X");
            let exponent = !hex && matches!(previous, 'e' | 'E') && matches!(c, '+' | '-');
            if !(c.is_ascii_alphanumeric() || c == '_' || c == '.' || exponent) {
                break;
            }
            previous = c;
            length += c.len_utf8();
        }
        // `1..2` concatenates two numbers.
        if let Some(dots) = self.rest.get(..length).and_then(|number| number.find("..")) {
            length = dots;
        }
        let digits = self.rest.get(..length).unwrap_or_default().to_owned();
        self.push(Kind::Number(digits), length);
    }

    fn quoted(&mut self, quote: char) -> Option<()> {
        let mut characters = self.rest.char_indices().skip(1);
        let mut escaped = false;
        loop {
            match characters.next()? {
                (_, '\\') => {
                    escaped = true;
                    characters.next()?;
                }
                (at, c) if c == quote => {
                    let value = self.rest.get(1..at)?.to_owned();
                    self.push(
                        if escaped {
                            Kind::SomeText
                        } else {
                            Kind::Text(value)
                        },
                        at + 1,
                    );
                    return Some(());
                }
                _ => {}
            }
        }
    }

    /// From within a string in backquotes to its end or its next hole.
    fn interpolated(&mut self) -> Option<()> {
        let mut characters = self.rest.char_indices();
        loop {
            match characters.next()? {
                (_, '\\') => _ = characters.next()?,
                (at, '`') => {
                    self.push(Kind::SomeText, at + 1);
                    return Some(());
                }
                (at, '{') => {
                    self.push(Kind::HoleBegin, at + 1);
                    self.holes.push(0);
                    return Some(());
                }
                _ => {}
            }
        }
    }

    fn symbol(&mut self) -> Option<()> {
        if let Some((open, close)) = long_bracket(self.rest) {
            let body = self.rest.get(open..)?;
            let length = body.find(&close)?;
            let value = body.get(..length)?.to_owned();
            self.push(Kind::Text(value), open + length + close.len());
            return Some(());
        }
        let symbol = SYMBOLS
            .iter()
            .find(|symbol| self.rest.starts_with(**symbol))?;
        match (*symbol, self.holes.last_mut()) {
            ("{", Some(depth)) => *depth += 1,
            ("}", Some(0)) => {
                self.holes.pop();
                self.push(Kind::HoleEnd, 1);
                return self.interpolated();
            }
            ("}", Some(depth)) => *depth -= 1,
            _ => {}
        }
        self.push(Kind::Symbol(symbol), symbol.len());
        Some(())
    }
}

/// `[[` or `[==[` at the beginning: its length, and the text that closes it.
fn long_bracket(text: &str) -> Option<(usize, String)> {
    let rest = text.strip_prefix('[')?;
    let level = rest.len() - rest.trim_start_matches('=').len();
    rest.get(level..)?
        .starts_with('[')
        .then(|| (level + 2, format!("]{}]", "=".repeat(level))))
}
