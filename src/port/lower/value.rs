//! Words as values: parameters, substitutions, arithmetic.

use super::super::commands::{Arg, join};
use super::super::ir::{Action, Expr, LuaPart};
use super::super::shell::{Item, Kind, Piece, Word};
use super::compound::escaped;
use super::{Lower, Lowered, commands};

impl Lower<'_> {
    /// The value of a word that is not split.
    pub(super) fn word(&mut self, word: &Word) -> Lowered<Expr> {
        let parts = word
            .0
            .iter()
            .map(|piece| self.piece(piece))
            .collect::<Lowered<Vec<_>>>()?;
        if matches!(word.0.first(), Some(Piece::Text { text, quoted: false }) if text.starts_with('~'))
        {
            return Err("a home directory".into());
        }
        Ok(join(parts))
    }

    /// A value with its text, if that is fixed.
    pub(super) fn arg(&self, value: Expr) -> Arg {
        let text = self
            .scope
            .constant(&value, self.settings)
            .filter(|_| !matches!(value, Expr::Dev | Expr::Vip | Expr::Xparam));
        // What the operator may change later stays a value.
        let fixed = !depends_on_event(&value);
        Arg {
            text: text.filter(|_| fixed),
            value,
        }
    }

    /// What a word becomes on a command line: none, one or several arguments.
    pub(super) fn arguments(&mut self, word: &Word, expand: bool) -> Lowered<Vec<Arg>> {
        let globs = |piece: &Piece| matches!(piece, Piece::Text { text, quoted: false } if text.contains(['*', '?']) && !text.contains("://"));
        if expand && word.0.iter().any(globs) {
            return Err("a pattern of file names".into());
        }
        if word.0.iter().any(|piece| matches!(piece, Piece::Param { name, .. } if matches!(name.as_str(), "@" | "*"))) {
            return Err("all of the script's arguments".into());
        }
        let value = self.word(word)?;
        let arg = self.arg(value);
        let bare = word.0.iter().all(|piece| match piece {
            Piece::Param { quoted, .. }
            | Piece::Command { quoted, .. }
            | Piece::Text { quoted, .. } => !quoted,
            Piece::Arithmetic(_) => false,
        });
        match &arg.text {
            Some(text) if bare && (text.is_empty() || text.contains(char::is_whitespace)) => {
                Ok(text
                    .split_whitespace()
                    .map(|t| Arg {
                        value: Expr::Text(t.to_owned()),
                        text: Some(t.to_owned()),
                    })
                    .collect())
            }
            _ => Ok(vec![arg]),
        }
    }

    fn piece(&mut self, piece: &Piece) -> Lowered<Expr> {
        match piece {
            Piece::Text { text, .. } => Ok(Expr::Text(text.clone())),
            Piece::Param { name, op: None, .. } => self.parameter(name),
            Piece::Param {
                name,
                op: Some((op, word)),
                ..
            } => self.expansion(name, op, word),
            Piece::Command { items, .. } => self.substitution(items),
            Piece::Arithmetic(text) => self.arithmetic(text),
        }
    }

    fn parameter(&mut self, name: &str) -> Lowered<Expr> {
        if let Ok(number) = name.parse::<usize>() {
            return Ok(self.positional(number));
        }
        Ok(match name {
            "?" if self.remembered => Expr::Status,
            "?" => return Err("the status of a command that was not translated".into()),
            "#" if self.function.is_none() && self.settings.keepalived().is_some() => {
                Expr::Given(vec![self.scope.arguments_after(self.shifted).to_string()])
            }
            "#" if self.function.is_none() && self.shifted == 0 => Expr::Lua(vec![
                LuaPart::Code("(if ".into()),
                LuaPart::Value(Expr::Xparam),
                LuaPart::Code(" ~= \"\" then \"3\" else \"2\")".into()),
            ]),
            "#" | "@" | "*" => return Err("the number of a function's arguments".into()),
            "$" | "!" | "-" => return Err(format!("${name} has no meaning in a hook")),
            "HOSTNAME" if !self.scope.sets(name) => Expr::Call("hostname.get", Vec::new()),
            _ if self.scope.sets(name) => Expr::Var(name.to_owned()),
            _ => Expr::Outside(name.to_owned()),
        })
    }

    fn positional(&self, number: usize) -> Expr {
        if number == 0 {
            return Expr::Text(self.settings.script.clone());
        }
        let number = number + self.shifted;
        match &self.function {
            Some(function) => Expr::Arg(function.clone(), number),
            None => self
                .scope
                .argument(number)
                .cloned()
                .unwrap_or_else(|| Expr::Text(String::new())),
        }
    }

    fn expansion(&mut self, name: &str, op: &str, word: &Word) -> Lowered<Expr> {
        let value = self.parameter(name)?;
        let text = |what: &str| {
            word.literal()
                .ok_or_else(|| format!("{what} that is not fixed"))
        };
        Ok(match op {
            ":-" | ":=" | "-" | "=" => {
                let other = self.word(word)?;
                Expr::Call("default", vec![value, other])
            }
            ":+" | "+" => Expr::Lua(vec![
                LuaPart::Code("(if ".into()),
                LuaPart::Value(value),
                LuaPart::Code(" ~= \"\" then ".into()),
                LuaPart::Value(self.word(word)?),
                LuaPart::Code(" else \"\")".into()),
            ]),
            ":?" | "?" => Expr::Call(
                "assert_set",
                vec![value, Expr::Text(format!("{name} is not set"))],
            ),
            "length" => Expr::Lua(vec![
                LuaPart::Code("tostring(#".into()),
                LuaPart::Value(value),
                LuaPart::Code(")".into()),
            ]),
            "%" | "%%" | "#" | "##" => {
                let pattern = cut(op, &text("a pattern")?)?;
                let found = Expr::Call("string.match", vec![value.clone(), Expr::Text(pattern)]);
                Expr::Or(Box::new(found), Box::new(value))
            }
            "//" | "/" => {
                let text = text("a replacement")?;
                let (from, to) = text.split_once('/').unwrap_or((&text, ""));
                if from.contains(['*', '?', '[']) || from.is_empty() {
                    return Err("a replacement with a pattern".into());
                }
                let from: String = from.chars().map(escaped).collect();
                let mut args = vec![value, Expr::Text(from), Expr::Text(to.replace('%', "%%"))];
                if op == "/" {
                    args.push(Expr::Lua(vec![LuaPart::Code("1".into())]));
                }
                // gsub gives two values; parentheses keep the first.
                Expr::Lua(vec![
                    LuaPart::Code("(".into()),
                    LuaPart::Value(Expr::Call("string.gsub", args)),
                    LuaPart::Code(")".into()),
                ])
            }
            _ => return Err(format!("the expansion ${{{name}{op}...}}")),
        })
    }

    /// `$( ... )`.
    fn substitution(&mut self, items: &[Item]) -> Lowered<Expr> {
        if let Some(program) = super::scope::located(items) {
            return Ok(Expr::Text(program));
        }
        let [item] = items else {
            return Err("the output of several commands".into());
        };
        if !item.rest.is_empty() || item.background {
            return Err("the output of several commands".into());
        }
        let words = |index: usize| match item.first.commands.get(index).map(|command| &command.kind)
        {
            Some(Kind::Simple { assigns, words }) if assigns.is_empty() => Some(words.clone()),
            _ => None,
        };
        match item.first.commands.len() {
            1 => {
                let words = words(0).ok_or("the output of a block")?;
                let (name, args) = self.call(&words)?;
                self.output(&name, &args)
            }
            2 => {
                // $(echo "$LIST" | tr ',' ' ')
                let (Some(echo), Some(tr)) = (words(0), words(1)) else {
                    return Err("a pipe".into());
                };
                let ((echo, value), (tr, sets)) = (self.call(&echo)?, self.call(&tr)?);
                match (echo.as_str(), tr.as_str(), sets.as_slice()) {
                    ("echo", "tr", [from, to])
                        if from.word().chars().count() == 1 && to.word().chars().count() == 1 =>
                    {
                        let from: String = from.word().chars().map(escaped).collect();
                        let args = vec![
                            commands::joined(&value),
                            Expr::Text(from),
                            Expr::Text(to.word().replace('%', "%%")),
                        ];
                        Ok(Expr::Lua(vec![
                            LuaPart::Code("(".into()),
                            LuaPart::Value(Expr::Call("string.gsub", args)),
                            LuaPart::Code(")".into()),
                        ]))
                    }
                    _ => Err("a pipe".into()),
                }
            }
            _ => Err("a pipe".into()),
        }
    }

    fn output(&mut self, name: &str, args: &[Arg]) -> Lowered<Expr> {
        let base = name.rsplit('/').next().unwrap_or(name);
        let word = |index: usize| args.get(index).map(Arg::word).unwrap_or_default();
        let script = self.settings.script.clone();
        let directory = script
            .rsplit_once('/')
            .map_or(".", |(directory, _)| directory)
            .to_owned();
        Ok(match (base, args.len()) {
            ("hostname", 0) | ("uname", 1) if base == "hostname" || word(0) == "-n" => {
                Expr::Call("hostname.get", Vec::new())
            }
            ("hostname", 1) if matches!(word(0), "-s" | "--short") => Expr::Call(
                "string.match",
                vec![
                    Expr::Call("hostname.get", Vec::new()),
                    Expr::Text("^[^.]+".into()),
                ],
            ),
            ("cat", 1) => Expr::Call(
                "read",
                vec![args.first().map(|arg| arg.value.clone()).ok_or("cat")?],
            ),
            ("date", 1) if word(0) == "+%s" => Expr::Lua(vec![LuaPart::Code(
                "string.format(\"%d\", clock.wall())".into(),
            )]),
            ("date", _) => {
                self.differs("the date is left out: carpd's log has its own");
                Expr::Text(String::new())
            }
            ("basename", 1) if word(0) == script => {
                Expr::Text(script.rsplit('/').next().unwrap_or_default().to_owned())
            }
            ("dirname", 1) if word(0) == script => Expr::Text(directory),
            ("echo", _) => commands::echo(args)?,
            _ => match commands::translate(self, name, args)? {
                commands::Done::Actions(mut actions) => match (actions.pop(), actions.is_empty()) {
                    (Some(Action::Run(run)), true) => Expr::Output(run),
                    _ => return Err("the output of a command that has none in a hook".into()),
                },
                _ => return Err("the output of a command that has none in a hook".into()),
            },
        })
    }

    fn arithmetic(&mut self, text: &str) -> Lowered<Expr> {
        let mut parts = vec![LuaPart::Code("string.format(\"%d\", ".into())];
        let mut rest = text.trim();
        while let Some(c) = rest.chars().next() {
            let len = match c {
                c if c.is_ascii_digit() => rest
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(rest.len()),
                c if c.is_ascii_alphabetic() || c == '_' => rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(rest.len()),
                _ => c.len_utf8(),
            };
            let (token, after) = rest.split_at(len);
            rest = after;
            match c {
                '$' => {}
                c if c.is_ascii_alphabetic() || c == '_' => {
                    let value = self.parameter(token)?;
                    parts.push(LuaPart::Code("(tonumber(".into()));
                    parts.push(LuaPart::Value(value));
                    parts.push(LuaPart::Code(") or 0)".into()));
                }
                '/' => parts.push(LuaPart::Code("//".into())),
                c if c.is_ascii_digit() || " +-*%()".contains(c) => {
                    parts.push(LuaPart::Code(token.to_owned()));
                }
                _ => return Err("this arithmetic".into()),
            }
        }
        parts.push(LuaPart::Code(")".into()));
        Ok(Expr::Lua(parts))
    }
}

/// Does it follow from the virtual host, and so differ from one to the next?
fn depends_on_event(value: &Expr) -> bool {
    match value {
        Expr::Dev | Expr::Vip | Expr::Cidr | Expr::Xparam | Expr::Outside(_) => true,
        Expr::Join(parts) | Expr::Call(_, parts) => parts.iter().any(depends_on_event),
        Expr::Or(a, b) => depends_on_event(a) || depends_on_event(b),
        _ => false,
    }
}

/// The Lua pattern that finds what `${x%pattern}` and its like leave.
fn cut(op: &str, pattern: &str) -> Lowered<String> {
    let plain = |text: &str| -> Lowered<String> {
        if text.contains(['*', '?', '[']) {
            Err("a pattern".into())
        } else {
            Ok(text.chars().map(escaped).collect())
        }
    };
    Ok(
        match (op, pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
            ("%", Some(text), _) => format!("^(.*){}", plain(text)?),
            ("%%", Some(text), _) => format!("^(.-){}", plain(text)?),
            ("#", _, Some(text)) => format!("{}(.*)$", plain(text)?),
            ("##", _, Some(text)) => format!("^.*{}(.*)$", plain(text)?),
            ("%" | "%%", None, _) => format!("^(.*){}$", plain(pattern)?),
            ("#" | "##", _, None) => format!("^{}(.*)$", plain(pattern)?),
            _ => return Err("this pattern".into()),
        },
    )
}
