//! `$(( ... ))` and `(( ... ))`.

use super::super::ir::{Cond, Expr, LuaPart, Step};
use super::{Lower, Lowered};

impl Lower<'_> {
    /// A calculation as a number.
    pub(super) fn arithmetic(&mut self, text: &str) -> Lowered<Expr> {
        let mut parts = Vec::new();
        let mut rest = text.trim();
        let mut before = ' ';
        if rest.is_empty() {
            return Err("this arithmetic".into());
        }
        while let Some(c) = rest.chars().next() {
            let digits = |text: &str| {
                text.find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(text.len())
            };
            let name = |text: &str| {
                text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(text.len())
            };
            let sign = "+-*/%".contains(c);
            // `++`, `--` and `**` are others.
            if sign && "+-*/%".contains(before) {
                return Err("this arithmetic".into());
            }
            let len = match c {
                '$' => {
                    let inner = rest.get(1..).unwrap_or_default();
                    let (open, inner) = match inner.strip_prefix('{') {
                        Some(inner) => (2, inner),
                        None => (1, inner),
                    };
                    let len = if open == 1 && inner.starts_with('#') {
                        1
                    } else if inner.starts_with(|c: char| c.is_ascii_digit()) {
                        if open == 1 { 1 } else { digits(inner) }
                    } else {
                        name(inner)
                    };
                    let token = inner.get(..len).unwrap_or_default();
                    let closed = inner.get(len..).unwrap_or_default().starts_with('}');
                    if token.is_empty() || (open == 2 && !closed) {
                        return Err("this arithmetic".into());
                    }
                    parts.push(LuaPart::Value(Expr::Number(Box::new(
                        self.parameter(token)?,
                    ))));
                    if open == 2 { 3 + len } else { 1 + len }
                }
                c if c.is_ascii_digit() => {
                    let len = digits(rest);
                    let token = rest.get(..len).unwrap_or_default();
                    let hex = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X"));
                    if let Some(hex) = hex {
                        let end = hex
                            .find(|c: char| !c.is_ascii_alphanumeric())
                            .unwrap_or(hex.len());
                        let value = hex
                            .get(..end)
                            .and_then(|hex| i64::from_str_radix(hex, 16).ok());
                        let value = value.ok_or("a number of base sixteen")?;
                        parts.push(LuaPart::Code(value.to_string()));
                        before = c;
                        rest = hex.get(end..).unwrap_or_default();
                        continue;
                    }
                    let next = rest.get(len..).and_then(|rest| rest.chars().next());
                    if next.is_some_and(|c| c == '#' || c.is_ascii_alphanumeric()) {
                        return Err("a number of another base".into());
                    }
                    if len > 1 && token.starts_with('0') {
                        return Err("a number of base eight".into());
                    }
                    parts.push(LuaPart::Code(token.to_owned()));
                    len
                }
                c if c.is_ascii_alphabetic() || c == '_' => {
                    let len = name(rest);
                    let token = rest.get(..len).unwrap_or_default().to_owned();
                    parts.push(LuaPart::Value(Expr::Number(Box::new(
                        self.parameter(&token)?,
                    ))));
                    len
                }
                '/' => {
                    parts.push(LuaPart::Code("//".into()));
                    1
                }
                ' ' | '\t' | '+' | '-' | '*' | '%' | '(' | ')' => {
                    parts.push(LuaPart::Code(c.to_string()));
                    1
                }
                _ => return Err("this arithmetic".into()),
            };
            before = c;
            rest = rest.get(len..).unwrap_or_default();
        }
        Ok(Expr::Sum(parts))
    }

    /// `(( NAME = VALUE, ... ))` and `let`.
    pub(super) fn calculations(&mut self, text: &str) -> Lowered<Vec<Step>> {
        let all = assignments(text).ok_or("arithmetic as a command")?;
        if self.errexit {
            return Err("arithmetic whose result set -e looks at".into());
        }
        let mut steps = Vec::new();
        for (name, value) in all {
            let value = self.arithmetic(&value)?;
            steps.extend(self.assigned(name, value));
        }
        Ok(steps)
    }

    /// `(( ... ))` as a condition: one comparison, or a number that is not zero.
    pub(super) fn truth(&mut self, text: &str) -> Lowered<Cond> {
        self.of_bash("((...))");
        let operators = [
            ("==", "=="),
            ("!=", "~="),
            ("<=", "<="),
            (">=", ">="),
            ("<", "<"),
            (">", ">"),
        ];
        for (shell, lua) in operators {
            if let Some((left, right)) = text.split_once(shell) {
                let (left, right) = (self.arithmetic(left)?, self.arithmetic(right)?);
                return Ok(Cond::Number(lua, left, right));
            }
        }
        let value = self.arithmetic(text)?;
        Ok(Cond::Number("~=", value, Expr::Text("0".into())))
    }
}

/// The variables that `(( ... ))` sets, each with the calculation of its value; `None` if it is
/// something else.
pub(super) fn assignments(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',').map(assignment).collect()
}

fn assignment(text: &str) -> Option<(String, String)> {
    let text = text.trim();
    let steps = [("++", "+"), ("--", "-")];
    for (twice, sign) in steps {
        let name = text
            .strip_suffix(twice)
            .or_else(|| text.strip_prefix(twice));
        if let Some(name) = name.map(str::trim).filter(|name| is_name(name)) {
            return Some((name.to_owned(), format!("{name} {sign} 1")));
        }
    }
    let (left, value) = text.split_once('=')?;
    if value.contains('=') {
        return None;
    }
    let (name, sign) = match left.trim_end().strip_suffix(['+', '-', '*', '/', '%']) {
        Some(name) => (name.trim(), left.trim_end().chars().last()),
        None => (left.trim(), None),
    };
    let value = match sign {
        Some(sign)
            if value.contains(|c: char| !(c.is_ascii_alphanumeric() || " _".contains(c))) =>
        {
            format!("{name} {sign} ({})", value.trim())
        }
        Some(sign) => format!("{name} {sign} {}", value.trim()),
        None => value.trim().to_owned(),
    };
    is_name(name).then(|| (name.to_owned(), value))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
