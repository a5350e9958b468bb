//! `while read`: a loop over the lines of a text.

use super::super::ir::{Expr, List, LuaPart, Step, What};
use super::super::shell::{Command, Item, Kind, PROCESS, Piece, Pipeline, Redirect, Word};
use super::compound::has_own_state;
use super::{Lower, Lowered};

const BACKSLASH: &str = "a backslash in what it reads stands for itself, as with read -r";

/// What stands between `while` and `do`.
pub(super) struct Read {
    /// The variables that it sets.
    pub(super) names: Vec<String>,
    /// With `-r`: a backslash stands for itself.
    raw: bool,
    /// With an empty IFS: the blanks around a line stay.
    blanks: bool,
    /// Does the loop also run for what follows the last line?
    rest: bool,
}

/// A text, and whether what follows its last end of line is a line.
type Text = (Expr, bool);

impl Lower<'_> {
    /// The loop of `while read`, over what is redirected to it or comes out of the pipe before it.
    /// `None` if it is another command.
    pub(super) fn read_loop(
        &mut self,
        command: &Command,
        before: Option<&[Command]>,
    ) -> Lowered<Option<Vec<Step>>> {
        let Kind::While {
            until: false,
            condition,
            body,
        } = &command.kind
        else {
            return Ok(None);
        };
        let Some(read) = read_of(condition) else {
            return Ok(None);
        };
        let mut text = None;
        for redirect in &command.redirects {
            match (redirect.op.as_str(), redirect.fd) {
                ("<", None | Some(0)) => text = Some((self.content(&redirect.target)?, false)),
                ("<<" | "<<<", None | Some(0)) => text = Some((self.here(redirect)?, false)),
                (PROCESS, None | Some(0)) => text = Some(self.text_of(&redirect.target)?),
                _ if self.is_harmless(redirect) => {}
                _ => return Err("the redirection of a whole block".into()),
            }
        }
        if let Some(before) = before {
            if has_own_state(body) {
                return Err("what a loop behind a pipe sets is gone after it".into());
            }
            text = Some(self.text_from(before)?);
        }
        let (text, rest) =
            text.ok_or("it reads what the script is given: a hook is given nothing")?;
        let list = self.lines_of(&read, text, rest)?;
        if self.used_after(&read, body) {
            return Err("what is read there is used after the loop".into());
        }
        if body.iter().any(|item| self.text(item).contains("ssh ")) {
            self.guess("a program in the loop that reads its input would have taken lines away: here it has none");
        }
        let (line, what) = (self.line, self.over(&read, list, body));
        Ok(Some(vec![Step { line, what }]))
    }

    /// `read X < FILE`, `read X <<< TEXT`: the first line.
    pub(super) fn read_once(
        &mut self,
        assigns: &[(String, Word)],
        words: &[Word],
        redirects: &[Redirect],
    ) -> Lowered<Vec<Step>> {
        let read = read_by(assigns, words).ok_or("this read")?;
        if self.errexit {
            return Err("whether read works is not known here".into());
        }
        let [redirect] = redirects else {
            return Err("it reads what the script is given: a hook is given nothing".into());
        };
        let text = match (redirect.op.as_str(), redirect.fd) {
            ("<", None | Some(0)) => {
                if read.names.iter().any(|name| self.set.contains(name)) {
                    return Err("where there is no such file, it keeps its value".into());
                }
                let path = self.word(&redirect.target)?;
                self.file_text(path)?
            }
            ("<<" | "<<<", None | Some(0)) => self.here(redirect)?,
            _ => return Err("this redirection".into()),
        };
        let first = if let Some(text) = self.fixed(&text) {
            let lines = fixed_lines(&read, &text)?;
            Expr::Text(lines.into_iter().next().unwrap_or_default())
        } else {
            if !read.raw {
                self.differs(BACKSLASH);
            }
            let of = |text, pattern: &str| {
                Expr::Call("string.match", vec![text, Expr::Text(pattern.to_owned())])
            };
            let line = of(text, "^[^\n]*");
            if read.blanks {
                line
            } else {
                of(line, "^[ \t]*(.-)[ \t]*$")
            }
        };
        self.set.extend(read.names.iter().cloned());
        let name = match read.names.as_slice() {
            [name] => name.clone(),
            _ if self.scope.sets("line") => "read_line".to_owned(),
            _ => "line".to_owned(),
        };
        let mut steps = vec![self.step(What::Assign(name.clone(), first))];
        if read.names.len() > 1 {
            steps.extend(self.fields(&read.names, &name));
        }
        Ok(steps)
    }

    /// Gives the fields of a line to the variables.
    fn fields(&self, names: &[String], line: &str) -> Vec<Step> {
        let field = |(index, name): (usize, &String)| {
            let mut args = vec![
                Expr::Var(line.to_owned()),
                Expr::Lua(vec![LuaPart::Code((index + 1).to_string())]),
            ];
            if index + 1 == names.len() {
                args.push(Expr::Lua(vec![LuaPart::Code("true".to_owned())]));
            }
            self.step(What::Assign(name.clone(), Expr::Call("field", args)))
        };
        names.iter().enumerate().map(field).collect()
    }

    fn over(&mut self, read: &Read, list: List, body: &[Item]) -> What {
        self.loops += 1;
        self.nesting += 1;
        self.set.extend(read.names.iter().cloned());
        let what = match read.names.as_slice() {
            [name] => What::For(name.clone(), list, self.items(body)),
            names => {
                let whole = if self.scope.sets("line") {
                    "read_line"
                } else {
                    "line"
                };
                let mut steps = self.fields(names, whole);
                steps.extend(self.items(body));
                What::For(whole.to_owned(), list, steps)
            }
        };
        self.loops -= 1;
        self.nesting -= 1;
        what
    }

    fn lines_of(&mut self, read: &Read, text: Expr, rest: bool) -> Lowered<List> {
        if let Some(lines) = self.fixed(&text).map(|text| fixed_lines(read, &text)) {
            return Ok(List::Fixed(lines?.into_iter().map(Expr::Text).collect()));
        }
        if !read.raw {
            self.differs(BACKSLASH);
        }
        Ok(List::Lines {
            text,
            rest: rest || read.rest,
            blanks: read.blanks,
        })
    }

    /// What commands write.
    fn text_from(&mut self, commands: &[Command]) -> Lowered<Text> {
        Ok(match self.piped_text(commands)? {
            Expr::Output(run) if !run.must => (Expr::Raw(run, false), false),
            Expr::Call("read", mut path) if path.len() == 1 => {
                (Expr::Content(Box::new(path.remove(0))), false)
            }
            text => (text, true),
        })
    }

    /// `<( ... )`.
    fn text_of(&mut self, target: &Word) -> Lowered<Text> {
        self.of_bash("<( )");
        match target.0.as_slice() {
            [Piece::Command { items, .. }] => match items.as_slice() {
                [item] if item.rest.is_empty() && !item.background => {
                    self.text_from(&item.first.commands)
                }
                _ => Err("the output of several commands".into()),
            },
            _ => Err("this redirection".into()),
        }
    }

    /// Is one of the variables looked at after the loop, before something else sets it?
    fn used_after(&self, read: &Read, body: &[Item]) -> bool {
        let end = body.last().map_or(0, |item| item.span.end);
        let after = self.source.get(end..).unwrap_or_default();
        read.names.iter().any(|name| {
            let first = |found: &dyn Fn(&str) -> bool| after.lines().position(found);
            let used = first(&|line| mentions(line, name));
            let set = first(&|line| {
                let mut words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                let reads = line.contains("read ") || line.contains(&format!("for {name} "));
                reads && words.any(|word| word == name)
            });
            match (used, set) {
                (Some(used), Some(set)) => used < set,
                (used, _) => used.is_some(),
            }
        })
    }
}

fn mentions(line: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    [format!("${name}"), format!("${{{name}")]
        .iter()
        .any(|start| line.split(start.as_str()).skip(1).any(ends))
}

/// What the lines of a text are for `read`, where the text is known.
pub(super) fn fixed_lines(read: &Read, text: &str) -> Lowered<Vec<String>> {
    if !read.raw && text.contains('\\') {
        return Err("a backslash that read takes away".into());
    }
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let text = text.strip_suffix('\n').unwrap_or(text);
    let line = |line: &str| {
        let kept = if read.blanks {
            line
        } else {
            line.trim_matches([' ', '\t'])
        };
        kept.to_owned()
    };
    Ok(text.split('\n').map(line).collect())
}

/// The condition `[IFS=] read [-r] NAMES [|| [ -n "$NAME" ]]`.
pub(super) fn read_of(condition: &[Item]) -> Option<Read> {
    let [item] = condition else { return None };
    let (assigns, words) = alone(&item.first)?;
    let mut read = read_by(assigns, words).filter(|_| !item.background)?;
    let rest = match item.rest.as_slice() {
        [] => false,
        [(false, test)] => {
            let asked = match test.commands.as_slice() {
                [
                    Command {
                        kind: Kind::Test(asked),
                        ..
                    },
                ] => asked.as_slice(),
                _ => match alone(test)?.1 {
                    [open, asked @ .., _] if open.is("[") => asked,
                    _ => return None,
                },
            };
            let [not_empty, value] = asked else {
                return None;
            };
            let own = matches!(value.0.as_slice(), [Piece::Param { name, op: None, .. }] if read.names.contains(name));
            if !not_empty.is("-n") || !own {
                return None;
            }
            true
        }
        _ => return None,
    };
    read.rest = rest;
    Some(read)
}

/// `[IFS=] read [-r] NAMES`.
fn read_by(assigns: &[(String, Word)], words: &[Word]) -> Option<Read> {
    if !words.first()?.is("read") {
        return None;
    }
    let blanks = match assigns {
        [] => false,
        [(name, value)] if name == "IFS" && value.0.is_empty() => true,
        _ => return None,
    };
    let mut names: Vec<String> = words
        .iter()
        .skip(1)
        .map(Word::literal)
        .collect::<Option<_>>()?;
    let raw = names.first().is_some_and(|word| word == "-r");
    if raw {
        names.remove(0);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named = !names.is_empty() && names.iter().all(|word| word.chars().all(plain));
    (named && !(blanks && names.len() > 1)).then_some(Read {
        names,
        raw,
        blanks,
        rest: false,
    })
}

type Simple<'a> = (&'a [(String, Word)], &'a [Word]);

fn alone(pipeline: &Pipeline) -> Option<Simple<'_>> {
    match pipeline.commands.as_slice() {
        [
            Command {
                kind: Kind::Simple { assigns, words },
                redirects,
                ..
            },
        ] if redirects.is_empty() && !pipeline.negated => Some((assigns, words)),
        _ => None,
    }
}

/// What each variable of `read` may be, where the text that it reads is known.
pub(super) fn known(command: &Command) -> Option<Vec<(String, Vec<String>)>> {
    let Kind::While {
        until: false,
        condition,
        ..
    } = &command.kind
    else {
        return None;
    };
    let read = read_of(condition)?;
    let here = command.redirects.iter().find(|r| r.op.starts_with("<<"))?;
    let lines = fixed_lines(&read, &here.target.literal()?).ok()?;
    let of = |(index, name): (usize, &String)| {
        let last = index + 1 == read.names.len();
        let all = lines.iter().map(|line| field(line, index, last));
        (name.clone(), all.collect())
    };
    Some(read.names.iter().enumerate().map(of).collect())
}

/// A field of a line, as `read` has it; the last one is the rest.
fn field(line: &str, index: usize, last: bool) -> String {
    let mut rest = line.trim_matches([' ', '\t']);
    for _ in 0..index {
        rest = rest
            .split_once([' ', '\t'])
            .map_or("", |(_, rest)| rest.trim_start_matches([' ', '\t']));
    }
    let one = rest.split([' ', '\t']).next().unwrap_or_default();
    (if last { rest } else { one }).to_owned()
}
