//! The words of a line of `keepalived.conf`.

/// The words of a line, and whether each was quoted. Braces that are not quoted are words of their
/// own. `None`: a quote does not end.
pub(super) fn words(line: &str) -> Option<Vec<(String, bool)>> {
    let mut found = Vec::new();
    let mut word: Option<(String, bool)> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' => {
                let (text, quoted) = word.get_or_insert_default();
                *quoted = true;
                loop {
                    match chars.next()? {
                        inner if inner == c => break,
                        '\\' if c == '"' => text.push(chars.next()?),
                        inner => text.push(inner),
                    }
                }
            }
            c if c.is_whitespace() => found.extend(word.take()),
            '{' | '}' if !in_parameter(word.as_ref()) => {
                found.extend(word.take());
                found.push((c.to_string(), false));
            }
            c => word.get_or_insert_default().0.push(c),
        }
    }
    found.extend(word);
    for (text, _) in &mut found {
        if text.contains("${_") {
            *text = text.replace("${_HASH}", "#").replace("${_BANG}", "!");
        }
    }
    Some(found)
}

/// Is this a word with a `${` that has not ended?
fn in_parameter(word: Option<&(String, bool)>) -> bool {
    word.is_some_and(|(text, _)| {
        text.ends_with('$')
            || text
                .rsplit_once("${")
                .is_some_and(|(_, name)| !name.contains('}'))
    })
}

/// The line up to a `#` or `!` that begins a word outside of quotes.
pub(super) fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#' | '!') if before.is_whitespace() || "{}".contains(before) => {
                return line.get(..at).unwrap_or(line).trim_end();
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open && before != '\\' => quote = None,
            _ => {}
        }
        before = c;
    }
    line.trim_end()
}
