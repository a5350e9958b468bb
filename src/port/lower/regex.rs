//! Regular expressions as Lua patterns, as far as Lua has the same.

use super::compound::escaped;

/// A regular expression of grep or sed as a Lua pattern; `extended` as by `grep -E`.
pub(super) fn lua(regex: &str, extended: bool) -> Option<String> {
    let mut out = String::new();
    let mut chars = regex.chars().peekable();
    let (mut first, mut repeats) = (true, false);
    while let Some(c) = chars.next() {
        let last = chars.peek().is_none();
        let mut repeatable = true;
        match c {
            '^' if first => {
                out.push('^');
                repeatable = false;
            }
            '$' if last => out.push('$'),
            '^' | '$' => return None,
            '.' => out.push('.'),
            '*' if !repeats => return None,
            '*' => {
                out.push('*');
                repeatable = false;
            }
            '+' | '?' if extended => {
                if !repeats {
                    return None;
                }
                out.push(c);
                repeatable = false;
            }
            '(' | ')' | '|' | '{' | '}' if extended => return None,
            '\\' => match chars.next()? {
                c if c.is_ascii_punctuation() && !"(){}|+?<>".contains(c) => out += &escaped(c),
                c if extended && c.is_ascii_punctuation() => out += &escaped(c),
                's' => out += "%s",
                _ => return None,
            },
            '[' => out += &class(&mut chars)?,
            c => out += &escaped(c),
        }
        first = false;
        repeats = repeatable;
    }
    Some(out)
}

/// The inside of `[...]`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut out = String::from("[");
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut empty = true;
    loop {
        match chars.next()? {
            ']' if !empty => return Some(out + "]"),
            ']' => out += "%]",
            '[' if chars.peek() == Some(&':') => {
                let name: String = chars.by_ref().skip(1).take_while(|c| *c != ':').collect();
                chars.next_if_eq(&']')?;
                out += match name.as_str() {
                    "space" => "%s",
                    "blank" => " \t",
                    "digit" => "%d",
                    "alpha" => "%a",
                    "alnum" => "%w",
                    "upper" => "%u",
                    "lower" => "%l",
                    "punct" => "%p",
                    _ => return None,
                };
            }
            '-' => out.push('-'),
            '\\' => out += "%\\",
            '%' => out += "%%",
            '^' => out += "%^",
            c => out.push(c),
        }
        empty = false;
    }
}
