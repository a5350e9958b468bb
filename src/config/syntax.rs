//! From text to a tree, or what is wrong with its form.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, Error};

use super::problem::Findings;

/// A text file without the mark that some editors put before it.
pub(super) fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Reads a document and notes what is no TOML. The tree is patched up after an error: look into it
/// only for what does not depend on the rest.
pub(super) fn read<'t>(text: &'t str, out: &mut Findings) -> (Spanned<DeTable<'t>>, bool) {
    let (document, errors) = DeTable::parse_recoverable(text);
    match unclosed(text, &errors) {
        None => errors.iter().for_each(|error| note(error, out)),
        Some(bracket) => {
            // What follows was read as if it stood within the brackets, and says nothing of itself.
            let before =
                |error: &&Error| error.span().is_some_and(|span| span.start < bracket.start);
            errors
                .iter()
                .filter(before)
                .for_each(|error| note(error, out));
            let what = text.get(bracket.clone()).unwrap_or_default();
            let closing = if what == "[" { "]" } else { "}" };
            out.error(
                bracket,
                format!("this is not TOML: nothing closes this `{what}`"),
            )
            .hint(format!("`{closing}` is missing"));
        }
    }
    (document, errors.is_empty())
}

fn note(error: &Error, out: &mut Findings) {
    out.error(
        error.span(),
        format!("this is not TOML: {}", error.message()),
    );
}

/// The bracket of a list or a table in braces that is never closed, if that is what is wrong.
fn unclosed(text: &str, errors: &[Error]) -> Option<Range<usize>> {
    let is_it = |error: &Error| {
        let message = error.message();
        message.starts_with("unclosed inline table")
            || (message.starts_with("unclosed array") && !message.contains("array table"))
    };
    errors.iter().find(|error| is_it(error))?;
    let mut places: Vec<usize> = errors
        .iter()
        .filter_map(|error| Some(error.span()?.start))
        .collect();
    places.sort_unstable();
    // The first error within brackets; what is wrong before them is another matter.
    let open = places
        .into_iter()
        .find_map(|place| open_brackets(text.get(..place)?).pop())?;
    Some(open..open + 1)
}

/// Where the brackets stand that are open at the end of a text.
fn open_brackets(text: &str) -> Vec<usize> {
    let mut open = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let at = text.len() - rest.len();
        let length = match c {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => string(rest),
            c => {
                match c {
                    '[' | '{' => open.push(at),
                    ']' | '}' => drop(open.pop()),
                    _ => {}
                }
                c.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    open
}

/// The length of the string that a text begins with; one that does not end goes to the end of its
/// line, or of all.
fn string(text: &str) -> usize {
    let quote = text.get(..1).unwrap_or_default();
    let triple = quote.repeat(3);
    let (delimiter, end) = match text.strip_prefix(&triple) {
        Some(_) => (triple.as_str(), text.len()),
        None => (quote, text.find('\n').unwrap_or(text.len())),
    };
    let mut at = delimiter.len();
    while let Some(rest) = text.get(at..end).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(delimiter) {
            return at + delimiter.len();
        }
        let escaped = quote == "\"" && rest.starts_with('\\');
        at += rest
            .chars()
            .take(if escaped { 2 } else { 1 })
            .map(char::len_utf8)
            .sum::<usize>();
    }
    end
}

#[cfg(test)]
mod tests {
    use super::super::Report;
    use super::*;

    /// Each problem as `line:column message`.
    fn problems(text: &str) -> Vec<String> {
        let mut out = Findings::default();
        let _ = read(text, &mut out);
        let report = Report::new("x", text, out);
        let place = |span: &Range<usize>| report.position(span.start);
        report
            .problems
            .iter()
            .map(|p| format!("{:?} {}", p.span.as_ref().map(place).unwrap(), p.message))
            .collect()
    }

    #[test]
    fn a_missing_bracket_is_one_error_at_the_one_that_stands_open() {
        for (text, place) in [
            (
                "[[v]]\na = [\"192.0.2.1/24\"\nb = \"p\"\nc = 3\n\n[hook.x]\nsource = \"a.lua\"\n",
                "(2, 5)",
            ),
            (
                "g = { addr = [{ cidr = \"10.0.0.0/8\" ]\nread = true }\nx = 1\n[hook.i]\ny = \"z\"\n",
                "(1, 15)",
            ),
            (
                "g = { read = true\nx = 1\n[hook.i]\nsource = \"y\"\n",
                "(1, 5)",
            ),
            (
                "a = \"]\" # ]\nb = ['''\n]''', \"\\\"]\"\nc = 1\n",
                "(2, 5)",
            ),
            ("a = [", "(1, 5)"),
        ] {
            let found = problems(text);
            assert!(
                found.len() == 1
                    && found[0].starts_with(place)
                    && found[0].contains("nothing closes"),
                "{text}: {found:?}"
            );
        }
        assert_eq!(problems("a = \"x\"]\nb = 4\n").len(), 1);
        assert_eq!(problems("[[v\nname = \"web\"\n").len(), 1);
        // Two errors that have nothing to do with each other are two.
        assert_eq!(problems("a = x\nb = \"y\nc = 1\n").len(), 2);
        let before = problems("a = x\nb = [1\nc = 2\n");
        assert!(
            before.len() == 2
                && before[0].contains("must be quoted")
                && before[1].contains("nothing closes"),
            "{before:?}"
        );
    }

    #[test]
    fn any_text_is_read_without_a_panic() {
        for text in [
            "\"",
            "'''",
            "\"\\",
            "#",
            "[\"\\\u{e4}",
            "{'\u{1f600}",
            "a = [\"\u{e4}\n",
        ] {
            let _ = problems(text);
            let _ = open_brackets(text);
        }
    }
}
