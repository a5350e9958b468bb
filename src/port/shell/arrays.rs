//! Arrays of bash that are the same as a text of their words: `VIPS=(10.0.0.1 10.0.0.2)`, of which
//! nothing but `${VIPS[@]}` and `${#VIPS[@]}` is used, and to which `VIPS+=(10.0.0.3)` adds.

use std::collections::BTreeMap;

/// The arrays of a script by their names, each as a text with a blank between its words.
pub(super) fn plain(source: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, Option<String>> = BTreeMap::new();
    let first = source.lines().next().unwrap_or_default();
    if !(first.starts_with("#!") && first.contains("bash")) {
        return BTreeMap::new();
    }
    for (at, _) in source.match_indices("=(") {
        let before = source.get(..at).unwrap_or_default();
        let name = last_name(before);
        let begins = before
            .strip_suffix(name)
            .is_some_and(|before| before.is_empty() || before.ends_with(['\n', ';', ' ', '\t']));
        if let Some(name) = before.strip_suffix('+').map(last_name) {
            // What is added must be plain, too.
            if added(source, at).is_none() {
                found.insert(name.to_owned(), None);
            }
            continue;
        }
        if name.is_empty() || !begins {
            continue;
        }
        let inside = source.get(at + 2..).and_then(|rest| rest.split_once(')'));
        let text = inside.and_then(|(inside, _)| words(inside));
        // The second time it is another array.
        found
            .entry(name.to_owned())
            .and_modify(|known| *known = None)
            .or_insert(text);
    }
    found
        .into_iter()
        .filter_map(|(name, text)| text.map(|text| (name, text)))
        .filter(|(name, _)| only_whole(source, name))
        .collect()
}

fn last_name(before: &str) -> &str {
    before
        .rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .next()
        .unwrap_or_default()
}

/// The words of `NAME+=(WORDS)`, whose equals sign is at this place.
pub(super) fn added(source: &str, at: usize) -> Option<String> {
    let (inside, _) = source.get(at + 2..)?.split_once(')')?;
    words(inside)
}

/// The words, if each is one whatever splits it.
fn words(inside: &str) -> Option<String> {
    let mut all = Vec::new();
    for word in inside.split_whitespace() {
        let quoted = |quote: char| word.strip_prefix(quote)?.strip_suffix(quote);
        let word = quoted('"').or_else(|| quoted('\'')).unwrap_or(word);
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.:/@%+,-".contains(c);
        if word.is_empty() || !word.chars().all(plain) {
            return None;
        }
        all.push(word);
    }
    Some(all.join(" "))
}

/// Is it never looked at but as a whole?
fn only_whole(source: &str, name: &str) -> bool {
    source.match_indices(name).all(|(at, _)| {
        let before = source.get(..at).unwrap_or_default();
        let after = source.get(at + name.len()..).unwrap_or_default();
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if before.ends_with(inner) || after.starts_with(inner) {
            // Of another name.
            return true;
        }
        if before.ends_with("${") || before.ends_with("${#") && after.starts_with('[') {
            return after.starts_with("[@]}") || after.starts_with("[*]}");
        }
        let adds = after.starts_with("+=(");
        let reads = before.ends_with(['$', '#', '!', '"']) || after.starts_with(['[', '+']);
        adds || !reads
    })
}
