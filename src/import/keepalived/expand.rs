//! What comes before the syntax of `keepalived.conf`: continued lines, `include`, `@node`,
//! `$PARAMETER=value`, `~SEQ` and `~LST`.
//!
//! Few bytes of these can mean very many lines, so everything here counts against a bound.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::words::without_comment;
use crate::import::account::Account;
use crate::import::{Files, ImportError, Node, pattern};
use crate::types::shown;

/// What includes files, with more or less strictness about files that are missing.
const INCLUDE: [&str; 6] = [
    "include", "includer", "includem", "includew", "includeb", "includea",
];
/// How many times one thing may stand in another of its kind: files, parameters, sequences.
const DEPTH_MAX: usize = 32;
/// The most lines, those of sequences included.
const LINES_MAX: usize = 100_000;
/// The most bytes, with the values of parameters put in.
const BYTES_MAX: usize = 16 << 20;
/// The most files.
const FILES_MAX: usize = 1000;

/// A line in which nothing is left to expand.
pub(super) struct Line {
    pub(super) file: String,
    pub(super) number: usize,
    pub(super) text: String,
}

pub(super) struct Expander<'a> {
    account: &'a mut Account,
    files: &'a dyn Files,
    node: Node<'a>,
    parameters: BTreeMap<String, String>,
    lines: usize,
    bytes: usize,
    /// The files that are being read, each included by the one before it.
    open: Vec<PathBuf>,
    included: usize,
    out: Vec<Line>,
}

/// Where a line stands.
#[derive(Clone, Copy)]
struct At<'a> {
    file: &'a str,
    number: usize,
    depth: usize,
}

impl At<'_> {
    fn error(&self, message: impl Into<String>) -> ImportError {
        ImportError::at(self.file, self.number, None, message)
    }

    /// In something.
    fn deeper(self) -> Result<Self, ImportError> {
        let depth = self.depth + 1;
        if depth > DEPTH_MAX {
            return Err(self.error(format!(
                "files, parameters or sequences are more than {DEPTH_MAX} deep in one another"
            )));
        }
        Ok(Self { depth, ..self })
    }
}

impl<'a> Expander<'a> {
    pub(super) fn new(account: &'a mut Account, files: &'a dyn Files, node: Node<'a>) -> Self {
        Self {
            account,
            files,
            node,
            parameters: BTreeMap::new(),
            lines: 0,
            bytes: 0,
            open: Vec::new(),
            included: 0,
            out: Vec::new(),
        }
    }

    /// The lines of a file and of those that it includes.
    ///
    /// # Errors
    /// Too much of anything, and a file that includes itself.
    pub(super) fn expand(mut self, file: &str, text: &str) -> Result<Vec<Line>, ImportError> {
        self.file(file, text, 0)?;
        Ok(self.out)
    }

    fn file(&mut self, file: &str, text: &str, depth: usize) -> Result<(), ImportError> {
        self.open.push(PathBuf::from(file));
        let mut lines = (1..).zip(text.lines());
        while let Some((number, line)) = lines.next() {
            let at = At {
                file,
                number,
                depth,
            };
            let is_definition = Self::is_definition(line);
            let mut whole = String::new();
            let mut part = line;
            while let Some(before) = part.trim_end().strip_suffix('\\') {
                whole.push_str(before);
                // A definition keeps its lines, anything else becomes one.
                whole.push(if is_definition { '\n' } else { ' ' });
                self.count(at, part)?;
                part = lines.next().map_or("", |(_, next)| next);
            }
            whole.push_str(part);
            self.line(at, &whole)?;
        }
        self.open.pop();
        Ok(())
    }

    /// Counts a line.
    fn count(&mut self, at: At<'_>, text: &str) -> Result<(), ImportError> {
        self.lines += 1;
        self.bytes += text.len();
        if self.lines > LINES_MAX {
            return Err(at.error(format!(
                "the configuration has more than {LINES_MAX} lines, sequences and included files counted"
            )));
        }
        if self.bytes > BYTES_MAX {
            return Err(at.error(format!(
                "the configuration has more than {BYTES_MAX} bytes, with its parameters put in"
            )));
        }
        Ok(())
    }

    /// `$NAME=value`, perhaps behind a condition.
    fn is_definition(line: &str) -> bool {
        let line = line.trim_start();
        let behind = match line.strip_prefix('@') {
            Some(condition) => condition
                .split_once(char::is_whitespace)
                .map_or("", |(_, b)| b),
            None => line,
        };
        definition(behind).is_some()
    }

    fn line(&mut self, at: At<'_>, text: &str) -> Result<(), ImportError> {
        self.count(at, text)?;
        // Definitions and what is behind conditions may be of several lines.
        let text = text.trim();
        if let Some(condition) = text.strip_prefix('@') {
            return self.conditional(at, text, condition);
        }
        if let Some((name, value)) = definition(text) {
            let first = shown(text.lines().next().unwrap_or_default().trim());
            let id = self.account.enter(at.file, at.number, masked(&first));
            self.account.translated(id, "put in where it is used");
            let value = value.lines().map(without_comment).collect::<Vec<_>>();
            let value = value.join("\n").trim().to_owned();
            self.parameters.insert(name.to_owned(), value);
            return Ok(());
        }
        let text = without_comment(text);
        if text.is_empty() {
            return Ok(());
        }
        if text.starts_with("~SEQ") || text.starts_with("~LST") {
            return self.repeated(at, text);
        }
        if let Some(expanded) = self.put_in(at, text)? {
            let at = at.deeper()?;
            return expanded.lines().try_for_each(|line| self.line(at, line));
        }
        if let Some((name, pattern)) = text.split_once(char::is_whitespace)
            && INCLUDE.contains(&name)
        {
            return self.include(at, pattern.trim().trim_matches(['"', '\'']));
        }
        self.out.push(Line {
            file: at.file.to_owned(),
            number: at.number,
            text: text.to_owned(),
        });
        Ok(())
    }

    /// `@node rest` and `@^node rest`.
    fn conditional(&mut self, at: At<'_>, text: &str, condition: &str) -> Result<(), ImportError> {
        let (condition, rest) = condition
            .split_once(char::is_whitespace)
            .unwrap_or((condition, ""));
        let (name, is_for) = match condition.strip_prefix('^') {
            Some(name) => (name, name != self.node.config_id),
            None => (condition, condition == self.node.config_id),
        };
        if is_for {
            return self.line(at.deeper()?, rest);
        }
        let id = self.account.enter(at.file, at.number, masked(&shown(text)));
        let (name, own) = (shown(name), shown(self.node.config_id));
        let why = if condition.starts_with('^') {
            format!("left out: it is for every node but {name}, which this is (--config-id)")
        } else {
            format!("left out: it is for {name}, and this is {own} (--config-id)")
        };
        self.account.different(id, why);
        Ok(())
    }

    /// The text with the values of parameters put in; `None` if there are none in it.
    fn put_in(&mut self, at: At<'_>, text: &str) -> Result<Option<String>, ImportError> {
        if !text.contains('$') {
            return Ok(None);
        }
        let (mut out, mut rest, mut changed) = (String::new(), text, false);
        while let Some((before, behind)) = rest.split_once('$') {
            out.push_str(before);
            if let Some((value, after)) = self.value(at, behind) {
                out.push_str(&value);
                rest = after;
                changed = true;
            } else {
                out.push('$');
                rest = behind;
            }
            if out.len() > BYTES_MAX {
                self.count(at, &out)?;
            }
        }
        out.push_str(rest);
        Ok(changed.then_some(out))
    }

    /// The value of the parameter that stands behind a `$`, and what stands behind that.
    fn value<'t>(&self, at: At<'_>, behind: &'t str) -> Option<(String, &'t str)> {
        let (name, after) = if let Some(braced) = behind.strip_prefix('{') {
            braced.split_once('}')?
        } else {
            let end = behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (name, after) = behind.split_at(end.unwrap_or(behind.len()));
            // Without braces it ends where a word does.
            if !after.is_empty() && !after.starts_with(char::is_whitespace) {
                return None;
            }
            (name, after)
        };
        let value = match name {
            "_PWD" => Path::new(at.file).parent().map(|path| {
                let path = match path.strip_prefix(self.node.root) {
                    Ok(path) => Path::new("/").join(path),
                    Err(_) => path.to_owned(),
                };
                path.display().to_string()
            }),
            "_INSTANCE" => Some(self.node.config_id.to_owned()),
            name => self.parameters.get(name).cloned(),
        };
        value.map(|value| (value, after))
    }

    /// `~SEQ(NAME, first, step, last) rest` and `~LST(NAME, value, value) rest`.
    fn repeated(&mut self, at: At<'_>, text: &str) -> Result<(), ImportError> {
        let at = at.deeper()?;
        let Some((head, rest)) = text.split_once(')') else {
            self.no_sequence(at, text);
            return Ok(());
        };
        let Some((kind, arguments)) = head.split_once('(') else {
            self.no_sequence(at, text);
            return Ok(());
        };
        let arguments = arguments_of(arguments);
        let rounds = match kind {
            "~SEQ" => sequence(&arguments, false),
            "~SEQx" => sequence(&arguments, true),
            "~LST" => list(&arguments),
            _ => None,
        };
        let Some(rounds) = rounds else {
            self.no_sequence(at, text);
            return Ok(());
        };
        for round in rounds {
            for (name, value) in &round {
                self.parameters.insert(name.clone(), value.clone());
            }
            self.line(at, rest)?;
            for (name, _) in &round {
                self.parameters.remove(name);
            }
        }
        Ok(())
    }

    fn no_sequence(&mut self, at: At<'_>, text: &str) {
        let id = self.account.enter(at.file, at.number, masked(&shown(text)));
        self.account
            .untranslated(id, "it is no sequence that keepalived knows");
    }

    fn include(&mut self, at: At<'_>, named: &str) -> Result<(), ImportError> {
        let text = shown(format!("include {named}"));
        let id = self.account.enter(at.file, at.number, text);
        let from = if named.starts_with('/') {
            self.node.root.to_owned()
        } else {
            Path::new(at.file)
                .parent()
                .unwrap_or(Path::new(""))
                .to_owned()
        };
        let is_pattern = named.contains(['*', '?', '[', '{']);
        let paths = pattern::paths(&from, named.trim_start_matches('/'), self.files);
        let paths = match paths {
            Ok(paths) => paths,
            Err(why) => {
                self.account.untranslated(id, why);
                return Ok(());
            }
        };
        if paths.is_empty() {
            self.account
                .unneeded(id, "no file has such a name, so that keepalived reads none");
        }
        for path in paths {
            self.included += 1;
            if self.included > FILES_MAX {
                return Err(at.error(format!("more than {FILES_MAX} files are included")));
            }
            if self.open.contains(&path) {
                return Err(at.error(format!("{} includes itself", shown(path.display()))));
            }
            match self.files.read(&path) {
                Ok(text) => {
                    self.account.translated(id, "the statements of the file");
                    let depth = at.deeper()?.depth;
                    self.file(&path.display().to_string(), &text, depth)?;
                }
                // A pattern finds what it finds, directories too.
                Err(why) if is_pattern => self
                    .account
                    .untranslated(id, format!("cannot read {}: {why}", shown(path.display()))),
                Err(why) => self.account.untranslated(id, why),
            }
        }
        Ok(())
    }
}

/// Without the password, if it is a line with one.
fn masked(text: &str) -> String {
    match text.split_once("auth_pass") {
        Some((before, _)) => format!("{before}auth_pass ****"),
        None if text.to_ascii_lowercase().contains("pass") => match text.split_once('=') {
            Some((name, _)) => format!("{name}=****"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    }
}

/// `$NAME=value`.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then_some((name, value))
}

/// What is between commas that are in no braces.
fn arguments_of(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = text.split(|c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).collect()
}

/// The parameters of one round.
type Round = Vec<(String, String)>;

fn sequence(arguments: &[&str], hex: bool) -> Option<Box<dyn Iterator<Item = Round>>> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse::<i64>().ok(),
    };
    let (name, first, step, last) = match *arguments {
        [name, last] => {
            let last = number(last)?;
            (name, if last < 0 { -1 } else { 1 }, None, last)
        }
        [name, first, last] => (name, number(first)?, None, number(last)?),
        [name, first, step, last] => (name, number(first)?, Some(number(step)?), number(last)?),
        _ => return None,
    };
    let step = step.unwrap_or(if last < first { -1 } else { 1 });
    let name = name.to_owned();
    if step == 0 {
        return None;
    }
    let within = move |n: &i64| if step > 0 { *n <= last } else { *n >= last };
    let numbers = std::iter::successors(Some(first), move |n| n.checked_add(step));
    Some(Box::new(numbers.take_while(within).map(move |n| {
        let value = if hex { format!("{n:x}") } else { n.to_string() };
        vec![(name.clone(), value)]
    })))
}

fn list(arguments: &[&str]) -> Option<Box<dyn Iterator<Item = Round>>> {
    let several = |text: &str| -> Vec<String> {
        let inner = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        match inner {
            Some(inner) => inner
                .split(',')
                .map(|part| part.trim().to_owned())
                .collect(),
            None => vec![text.to_owned()],
        }
    };
    let (names, values) = arguments.split_first()?;
    let names = several(names);
    let rounds: Vec<Round> = values
        .iter()
        .map(|value| names.iter().cloned().zip(several(value)).collect())
        .collect();
    (!rounds.is_empty()).then(|| Box::new(rounds.into_iter()) as _)
}
