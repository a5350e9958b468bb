//! Commands: a recursive descent over the bytes of the script.

use std::collections::BTreeMap;

use super::arrays;
use super::{Command, Item, Kind, Pipeline, Redirect, Script, SyntaxError, Word};

/// How deep commands may nest.
const DEPTH: usize = 60;

/// Where a list ends that is not the whole script.
const RESERVED: &[&str] = &[
    "then", "elif", "else", "fi", "do", "done", "esac", "}", ")", ";;", ";&",
];

/// A position in a script.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    pub(super) source: &'a str,
    pub(super) at: usize,
    /// Lines before the first of `source`: a backtick's inside is read on its own.
    pub(super) lines_before: usize,
    pub(super) depth: usize,
    /// Where its lines end.
    ends: Vec<usize>,
    /// What of the command at hand cannot be read.
    pub(super) unread: Option<String>,
    comments: Vec<(usize, String)>,
    /// Here-documents whose text begins after this line: the redirection's place in `ready`,
    /// delimiter, tabs stripped, expanded.
    pending: Vec<(usize, String, bool, bool)>,
    /// The texts of here-documents, by number.
    ready: Vec<Word>,
    /// Arrays that are the same as their words in one text.
    pub(super) arrays: BTreeMap<String, String>,
}

/// Reads a script. What cannot be read of it is an item of its own.
///
/// # Errors
/// [`SyntaxError`] with the line if there is nothing that can be read.
pub(crate) fn parse(source: &str) -> Result<Script, SyntaxError> {
    let mut parser = Parser::new(source, 0, 0);
    parser.arrays = arrays::plain(source);
    let (mut items, mut first) = (Vec::new(), None);
    loop {
        let begin = parser.at;
        match parser.next_item() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => break,
            Err(error) => {
                items.push(parser.skip(begin, &error));
                first.get_or_insert(error);
            }
        }
    }
    let unread = |item: &Item| {
        let [command] = item.first.commands.as_slice() else {
            return false;
        };
        matches!(command.kind, Kind::Unread(_))
    };
    if let Some(error) = first.filter(|_| items.iter().all(unread)) {
        return Err(error);
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
    pub(super) fn new(source: &'a str, lines_before: usize, depth: usize) -> Self {
        Self {
            source,
            at: 0,
            lines_before,
            depth,
            ends: source.match_indices('\n').map(|(at, _)| at).collect(),
            unread: None,
            comments: Vec::new(),
            pending: Vec::new(),
            ready: Vec::new(),
            arrays: BTreeMap::new(),
        }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    pub(super) fn line(&self) -> usize {
        self.lines_before + self.ends.partition_point(|end| *end < self.at) + 1
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
    pub(super) fn blanks(&mut self) {
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
    pub(super) fn lines(&mut self) -> Result<(), SyntaxError> {
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
            let lines_before = self.line() - 1;
            loop {
                // As shells do: what has no end ends with the file.
                if self.at >= self.source.len() {
                    break;
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
                Parser::new(&text, lines_before, self.depth + 1).quoted_until(None)?
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
                (")" | ";;" | ";&", Some(_)) => true,
                (_, Some(next)) => next.is_none_or(|c| c.is_whitespace() || ";&|)".contains(c)),
                (_, None) => false,
            }
        })
    }

    /// Is this word here, as a word of its own?
    pub(super) fn keyword(&mut self, word: &str) -> bool {
        let next = self
            .rest()
            .strip_prefix(word)
            .map(|rest| rest.chars().next());
        let there = next
            .is_some_and(|next| next.is_none_or(|c| c.is_whitespace() || ";&|()<>".contains(c)));
        self.at += if there { word.len() } else { 0 };
        there
    }

    pub(super) fn expect(&mut self, word: &str) -> Result<(), SyntaxError> {
        self.lines()?;
        if self.eat(word) {
            Ok(())
        } else {
            Err(self.error(format!("{word:?} is missing")))
        }
    }

    /// The next item of the script itself; `None` at its end.
    fn next_item(&mut self) -> Result<Option<Item>, SyntaxError> {
        self.depth = 0;
        self.lines()?;
        if self.at >= self.source.len() {
            return Ok(None);
        }
        if let Some(word) = self.at_reserved() {
            return Err(self.error(format!("{word:?} does not belong here")));
        }
        self.item().map(Some)
    }

    /// What cannot be read, from here to the end of the line where that was seen: shells end
    /// there, and so does the hook.
    fn skip(&mut self, begin: usize, error: &SyntaxError) -> Item {
        let seen = self.at.max(begin + 1);
        let end = self.ends.iter().copied().find(|end| *end >= seen);
        let end = end.unwrap_or(self.source.len());
        self.pending.clear();
        self.unread = None;
        self.at = begin;
        self.blanks();
        while self.eat("\n") {
            self.blanks();
        }
        let begin = self.at.min(end);
        let line = self.line();
        self.comments.retain(|(of, _)| *of < line);
        self.comments.dedup();
        self.at = end;
        let command = Command {
            line,
            kind: Kind::Unread(format!("it cannot be read: {}", error.what)),
            redirects: Vec::new(),
        };
        Item {
            line,
            span: begin..end,
            first: Pipeline {
                negated: false,
                commands: vec![command],
            },
            rest: Vec::new(),
            background: false,
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
        let arm_ends = self.rest().starts_with(";;") || self.rest().starts_with(";&");
        let ended = background || (!arm_ends && self.eat(";"));
        let after = self.rest();
        if !ended && !after.is_empty() && !after.starts_with('\n') && self.at_reserved().is_none() {
            return Err(self.error("this does not belong here"));
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
                Some(word) => {
                    words.push(word);
                    // declare NAME=(...)
                    let before = self.source.get(..self.at).unwrap_or_default();
                    if before.ends_with('=') && self.rest().starts_with('(') {
                        self.array()?;
                    }
                }
                None => break,
            }
        }
        if let Some(why) = self.unread.take() {
            return Ok(Command {
                line,
                kind: Kind::Unread(why),
                redirects,
            });
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
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(None);
        }
        let element = after
            .strip_prefix('[')
            .and_then(|rest| rest.split([' ', '\t', '\n']).next())
            .is_some_and(|word| word.contains("]=") || word.contains("]+="));
        if element {
            let word = self.word()?.unwrap_or_default();
            self.unread = Some("an array".into());
            return Ok(Some((name.to_owned(), word)));
        }
        let append = after.starts_with("+=");
        if !append && !after.starts_with('=') {
            return Ok(None);
        }
        self.at += end + if append { 2 } else { 1 };
        if self.rest().starts_with('(') {
            let begin = self.at - 1;
            self.array()?;
            let text = match self.arrays.get(name) {
                Some(_) if append => {
                    arrays::added(self.source, begin).map(|words| format!(" {words}"))
                }
                known => known.cloned(),
            };
            let Some(text) = text else {
                return Ok(Some((name.to_owned(), Word::default())));
            };
            self.unread = None;
            let mut pieces = vec![super::Piece::Text { text, quoted: true }];
            if append {
                pieces.insert(0, whole(name));
            }
            return Ok(Some((name.to_owned(), Word(pieces))));
        }
        let mut value = self.word()?.unwrap_or_default();
        if append {
            value.0.insert(0, whole(name));
        }
        Ok(Some((name.to_owned(), value)))
    }

    /// `( ... )` of an array: over it, whatever is in it.
    fn array(&mut self) -> Result<(), SyntaxError> {
        let mut depth = 0_usize;
        loop {
            match self.rest().chars().next() {
                None => return Err(self.error("an array has no end")),
                Some('(') => depth += 1,
                Some(')') if depth <= 1 => {
                    self.at += 1;
                    self.unread = Some("an array".into());
                    return Ok(());
                }
                Some(')') => depth -= 1,
                Some('\'' | '"' | '$' | '`' | '\\') => {
                    self.pieces(|c| !"'\"$`\\".contains(c))?;
                    continue;
                }
                Some(c) => {
                    self.at += c.len_utf8();
                    continue;
                }
            }
            self.at += 1;
        }
    }

    /// The inside of `(( ... ))`, whose beginning has been read.
    pub(super) fn calculation(&mut self) -> Result<String, SyntaxError> {
        let (begin, mut depth) = (self.at, 0_usize);
        while let Some(c) = self.rest().chars().next() {
            if depth == 0 && self.rest().starts_with("))") {
                let inside = self
                    .source
                    .get(begin..self.at)
                    .unwrap_or_default()
                    .to_owned();
                self.at += 2;
                return Ok(inside);
            }
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += c.len_utf8();
        }
        Err(self.error("(( has no end"))
    }

    /// The inside of `<( ... )`, whose beginning has been read.
    fn process(&mut self) -> Result<Vec<Item>, SyntaxError> {
        let items = self.list(&[")"])?;
        if self.eat(")") {
            Ok(items)
        } else {
            Err(self.error("<( has no end"))
        }
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, SyntaxError> {
        let start = self.at;
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let digit = self.rest().get(..digits).and_then(|d| d.parse::<u8>().ok());
        self.at += digit.map_or(0, |_| digits);
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
        if matches!(op, "<" | ">") && self.eat("(") {
            self.process()?;
            self.unread = Some("a program in place of a file".into());
            let target = plain_word("/dev/fd");
            let op = op.to_owned();
            return Ok(Some(Redirect {
                fd: digit,
                op,
                target,
            }));
        }
        self.blanks();
        if op == "<" && self.eat("<(") {
            let items = self.process()?;
            let quoted = true;
            return Ok(Some(Redirect {
                fd: digit,
                op: PROCESS.to_owned(),
                target: Word(vec![super::Piece::Command { items, quoted }]),
            }));
        }
        if matches!(op, ">" | ">>" | "&>" | "2>") && self.eat(">(") {
            self.process()?;
            return Ok(Some(Redirect {
                fd: digit,
                op: ">(".to_owned(),
                target: Word::default(),
            }));
        }
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

/// The operator of a redirection from what commands write.
pub(crate) const PROCESS: &str = "<(";

/// Marks the number of a here-document; no script can contain it, since it ends the scanning of a
/// word.
const HERE: &str = "\0here ";

fn plain(text: String) -> Word {
    Word(vec![super::Piece::Text { text, quoted: true }])
}

pub(super) fn plain_word(text: &str) -> Word {
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
        let lists = command.kind.lists_mut();
        lists
            .into_iter()
            .flatten()
            .for_each(|item| fill(item, ready));
    }
}

/// `"$NAME"`, to which more is added.
fn whole(name: &str) -> super::Piece {
    super::Piece::Param {
        name: name.to_owned(),
        op: None,
        quoted: true,
    }
}
