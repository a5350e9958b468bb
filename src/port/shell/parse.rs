//! Commands: a recursive descent over the bytes of the script.

use super::{Command, Item, Kind, Pipeline, Redirect, Script, SyntaxError, Word};

/// How deep commands may nest.
const DEPTH: usize = 60;

/// Where a list ends that is not the whole script.
const RESERVED: &[&str] = &[
    "then", "elif", "else", "fi", "do", "done", "esac", "}", ")", ";;",
];

/// A position in a script.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    pub(super) source: &'a str,
    pub(super) at: usize,
    /// Lines before the first of `source`: a backtick's inside is read on its own.
    pub(super) lines_before: usize,
    pub(super) depth: usize,
    comments: Vec<(usize, String)>,
    /// Here-documents whose text begins after this line: the redirection's place in `ready`,
    /// delimiter, tabs stripped, expanded.
    pending: Vec<(usize, String, bool, bool)>,
    /// The texts of here-documents, by number.
    ready: Vec<Word>,
}

/// Reads a script.
///
/// # Errors
/// [`SyntaxError`] with the line.
pub(crate) fn parse(source: &str) -> Result<Script, SyntaxError> {
    let mut parser = Parser::new(source, 0, 0);
    let mut items = parser.list(&[])?;
    if parser.at < source.len() {
        return Err(parser.error("this does not belong here"));
    }
    for item in &mut items {
        fill(item, &parser.ready);
    }
    Ok(Script {
        items,
        comments: parser.comments,
    })
}

impl<'a> Parser<'a> {
    pub(super) const fn new(source: &'a str, lines_before: usize, depth: usize) -> Self {
        Self {
            source,
            at: 0,
            lines_before,
            depth,
            comments: Vec::new(),
            pending: Vec::new(),
            ready: Vec::new(),
        }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    pub(super) fn line(&self) -> usize {
        let before = self.source.get(..self.at).unwrap_or(self.source);
        self.lines_before + before.bytes().filter(|b| *b == b'\n').count() + 1
    }

    pub(super) fn error(&self, what: impl Into<String>) -> SyntaxError {
        SyntaxError {
            line: self.line(),
            what: what.into(),
        }
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let there = self.rest().starts_with(text);
        self.at += if there { text.len() } else { 0 };
        there
    }

    /// Blanks, continued lines and comments; not the end of the line.
    fn blanks(&mut self) {
        loop {
            let rest = self.rest();
            if rest.starts_with("\\\n") {
                self.at += 2;
            } else if rest.starts_with([' ', '\t', '\r']) {
                self.at += 1;
            } else if rest.starts_with('#') {
                self.comment();
            } else {
                return;
            }
        }
    }

    fn comment(&mut self) {
        let (line, rest) = (self.line(), self.rest());
        let text = rest.split('\n').next().unwrap_or_default();
        let before = self.source.get(..self.at).unwrap_or_default();
        let alone = before
            .rsplit('\n')
            .next()
            .is_some_and(|start| start.trim().is_empty());
        if alone && !(line == 1 && text.starts_with("#!")) {
            self.comments
                .push((line, text.trim_start_matches('#').trim().to_owned()));
        }
        self.at += text.len();
    }

    /// Blanks and empty lines. At the end of a line its here-documents follow.
    fn lines(&mut self) -> Result<(), SyntaxError> {
        loop {
            self.blanks();
            if !self.eat("\n") {
                return Ok(());
            }
            self.here_documents()?;
        }
    }

    fn here_documents(&mut self) -> Result<(), SyntaxError> {
        for (number, delimiter, strip, expand) in std::mem::take(&mut self.pending) {
            let mut text = String::new();
            loop {
                if self.at >= self.source.len() {
                    return Err(self.error(format!(
                        "the here-document that {delimiter} ends has no end"
                    )));
                }
                let line = self.rest().split('\n').next().unwrap_or_default();
                self.at = (self.at + line.len() + 1).min(self.source.len());
                let line = if strip {
                    line.trim_start_matches('\t')
                } else {
                    line
                };
                if line == delimiter {
                    break;
                }
                text += line;
                text += "\n";
            }
            let word = if expand {
                Parser::new(&text, self.line(), self.depth + 1).quoted_until(None)?
            } else {
                plain(text)
            };
            if let Some(place) = self.ready.get_mut(number) {
                *place = word;
            }
        }
        Ok(())
    }

    /// The reserved word or operator here, if it is one of `RESERVED`.
    fn at_reserved(&self) -> Option<&'static str> {
        let rest = self.rest();
        RESERVED.iter().copied().find(|word| {
            let after = rest.strip_prefix(word).map(|rest| rest.chars().next());
            match (*word, after) {
                (")" | ";;", Some(_)) => true,
                (_, Some(next)) => next.is_none_or(|c| c.is_whitespace() || ";&|)".contains(c)),
                (_, None) => false,
            }
        })
    }

    /// Is this word here, as a word of its own?
    fn keyword(&mut self, word: &str) -> bool {
        let next = self
            .rest()
            .strip_prefix(word)
            .map(|rest| rest.chars().next());
        let there = next
            .is_some_and(|next| next.is_none_or(|c| c.is_whitespace() || ";&|()<>".contains(c)));
        self.at += if there { word.len() } else { 0 };
        there
    }

    fn expect(&mut self, word: &str) -> Result<(), SyntaxError> {
        self.lines()?;
        if self.eat(word) {
            Ok(())
        } else {
            Err(self.error(format!("{word:?} is missing")))
        }
    }

    /// Commands up to one of these words, which is left standing, or to the end.
    pub(super) fn list(&mut self, until: &[&str]) -> Result<Vec<Item>, SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.error("commands nest too deep"));
        }
        let mut items = Vec::new();
        loop {
            self.lines()?;
            if self.at >= self.source.len() {
                break;
            }
            if let Some(word) = self.at_reserved() {
                if until.contains(&word) {
                    break;
                }
                return Err(self.error(format!("{word:?} does not belong here")));
            }
            items.push(self.item()?);
        }
        self.depth -= 1;
        Ok(items)
    }

    fn item(&mut self) -> Result<Item, SyntaxError> {
        let (line, start) = (self.line(), self.at);
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.blanks();
            let and = if self.eat("&&") {
                true
            } else if self.eat("||") {
                false
            } else {
                break;
            };
            self.lines()?;
            rest.push((and, self.pipeline()?));
        }
        let end = self.at;
        let background = !self.rest().starts_with("&&") && self.eat("&");
        if !background && !self.rest().starts_with(";;") {
            self.eat(";");
        }
        Ok(Item {
            line,
            span: start..end,
            first,
            rest,
            background,
        })
    }

    fn pipeline(&mut self) -> Result<Pipeline, SyntaxError> {
        self.blanks();
        let mut negated = false;
        while self.keyword("!") {
            negated = !negated;
            self.blanks();
        }
        let mut commands = vec![self.command()?];
        loop {
            self.blanks();
            if self.rest().starts_with("||") || !self.eat("|") {
                return Ok(Pipeline { negated, commands });
            }
            self.eat("&");
            self.lines()?;
            commands.push(self.command()?);
        }
    }

    fn command(&mut self) -> Result<Command, SyntaxError> {
        let line = self.line();
        let Some(kind) = self.compound()? else {
            return self.simple(line);
        };
        let mut redirects = Vec::new();
        loop {
            self.blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None => {
                    return Ok(Command {
                        line,
                        kind,
                        redirects,
                    });
                }
            }
        }
    }

    fn compound(&mut self) -> Result<Option<Kind>, SyntaxError> {
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
            let end = self
                .rest()
                .find("))")
                .ok_or_else(|| self.error("(( has no end"))?;
            self.at += end + 2;
            Kind::Arithmetic
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
            Some(Kind::Block { items, .. }) => Ok(Kind::Function { name, body: items }),
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
        let mut arms = Vec::new();
        loop {
            self.lines()?;
            if self.keyword("esac") {
                return Ok(Kind::Case { word, arms });
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
            arms.push((patterns, self.list(&[";;", "esac"])?));
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
            let operator = ["&&", "||", "(", ")", "<", ">"]
                .into_iter()
                .find(|op| self.eat(op));
            match operator {
                Some(operator) => words.push(plain_word(operator)),
                None => words.push(self.word()?.ok_or_else(|| self.error("[[ has no end"))?),
            }
        }
    }

    fn simple(&mut self, line: usize) -> Result<Command, SyntaxError> {
        let (mut assigns, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            if words.is_empty()
                && let Some(assign) = self.assignment()?
            {
                assigns.push(assign);
                continue;
            }
            match self.word()? {
                Some(word) => words.push(word),
                None => break,
            }
        }
        if assigns.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(self.error("a command is missing"));
        }
        Ok(Command {
            line,
            kind: Kind::Simple { assigns, words },
            redirects,
        })
    }

    fn assignment(&mut self) -> Result<Option<(String, Word)>, SyntaxError> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default();
        let after = rest.get(end..).unwrap_or_default();
        if name.is_empty()
            || name.starts_with(|c: char| c.is_ascii_digit())
            || !after.starts_with('=')
        {
            return Ok(None);
        }
        self.at += end + 1;
        if self.rest().starts_with('(') {
            return Err(self.error("arrays cannot be read"));
        }
        Ok(Some((name.to_owned(), self.word()?.unwrap_or_default())))
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, SyntaxError> {
        let start = self.at;
        let digit = self
            .rest()
            .chars()
            .next()
            .and_then(|c| c.to_digit(10))
            .and_then(|d| u8::try_from(d).ok());
        self.at += usize::from(digit.is_some());
        let ops = [
            "&>>", "&>", "<<<", "<<-", "<<", ">>", ">&", "<&", ">|", "<>", "<", ">",
        ];
        let Some(op) = ops
            .into_iter()
            .find(|op| !(digit.is_some() && op.starts_with('&')) && self.eat(op))
        else {
            self.at = start;
            return Ok(None);
        };
        self.blanks();
        let target = self
            .word()?
            .ok_or_else(|| self.error(format!("{op} needs a file")))?;
        if matches!(op, "<<" | "<<-") {
            let delimiter = target
                .literal()
                .ok_or_else(|| self.error("a here-document needs a plain delimiter"))?;
            let expand = target
                .0
                .iter()
                .all(|piece| matches!(piece, super::Piece::Text { quoted: false, .. }));
            self.pending
                .push((self.ready.len(), delimiter, op == "<<-", expand));
            self.ready.push(Word::default());
            // Its text comes after this line: the number stands in for it until then.
            let number = plain_word(&format!("{HERE}{}", self.ready.len() - 1));
            return Ok(Some(Redirect {
                fd: digit,
                op: "<<".into(),
                target: number,
            }));
        }
        Ok(Some(Redirect {
            fd: digit,
            op: op.to_owned(),
            target,
        }))
    }
}

/// Marks the number of a here-document; no script can contain it, since it ends the scanning of a
/// word.
const HERE: &str = "\0here ";

fn plain(text: String) -> Word {
    Word(vec![super::Piece::Text { text, quoted: true }])
}

fn plain_word(text: &str) -> Word {
    Word(vec![super::Piece::Text {
        text: text.to_owned(),
        quoted: false,
    }])
}

/// Puts the texts of here-documents where their numbers stand.
fn fill(item: &mut Item, ready: &[Word]) {
    let pipelines =
        std::iter::once(&mut item.first).chain(item.rest.iter_mut().map(|(_, pipeline)| pipeline));
    for command in pipelines.flat_map(|pipeline| &mut pipeline.commands) {
        for redirect in command.redirects.iter_mut().filter(|r| r.op == "<<") {
            let number = redirect
                .target
                .literal()
                .and_then(|text| text.strip_prefix(HERE)?.parse::<usize>().ok());
            if let Some(text) = number.and_then(|n| ready.get(n)) {
                redirect.target = text.clone();
            }
        }
        let lists: Vec<&mut Vec<Item>> = match &mut command.kind {
            Kind::If { arms, otherwise } => arms
                .iter_mut()
                .flat_map(|(a, b)| [a, b])
                .chain(std::iter::once(otherwise))
                .collect(),
            Kind::For { body, .. } | Kind::Function { body, .. } => vec![body],
            Kind::While {
                condition, body, ..
            } => vec![condition, body],
            Kind::Case { arms, .. } => arms.iter_mut().map(|(_, items)| items).collect(),
            Kind::Block { items, .. } => vec![items],
            Kind::Simple { .. } | Kind::Test(_) | Kind::Arithmetic => Vec::new(),
        };
        lists
            .into_iter()
            .flatten()
            .for_each(|item| fill(item, ready));
    }
}
