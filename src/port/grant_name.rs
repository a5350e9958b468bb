//! Names for granted command lines, which stand in the hook, in plans and in the log: what a person
//! would call them, and nothing that is secret.

use std::collections::BTreeSet;

use super::commands::KILL;

/// How many words make a name.
const WORDS: usize = 3;

/// How long it may be.
const LENGTH: usize = 40;

/// Options whose value nobody else is to see.
const SECRET: [&str; 9] = [
    "-a",
    "-p",
    "-u",
    "--auth",
    "--user",
    "--pass",
    "--passwd",
    "--password",
    "--token",
];

/// A name for a command line that none of the others has.
pub(super) fn of(argv: &[String], taken: impl Fn(&str) -> bool) -> String {
    let words = telling(argv);
    let base = joined(words.iter().take(WORDS).copied());
    if !taken(&base) {
        return base;
    }
    // What tells it from the others may stand further back, or be an option.
    let shown: BTreeSet<&str> = words.iter().take(WORDS).copied().collect();
    let more = words.iter().skip(WORDS).copied().chain(options(argv));
    let more = more.filter(|word| !shown.contains(word));
    let longer = more.map(|word| joined([base.as_str(), word].into_iter()));
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    longer
        .chain(numbered)
        .find(|name| !taken(name))
        .unwrap_or_default()
}

/// The words that say what it does, the program's first.
fn telling(argv: &[String]) -> Vec<&str> {
    // Of kill(1), the signal is what counts.
    let signals = argv.first().is_some_and(|program| program == KILL);
    let mut words: Vec<&str> = Vec::new();
    let mut before = "";
    for word in argv {
        let option = word.starts_with('-') && !signals;
        let value = SECRET.contains(&before);
        let assigns = word.split_once('=').is_some_and(|(name, _)| is_name(name));
        if !(option || value || assigns || word.starts_with('{') || is_login(word)) {
            let part = last_part(word.trim_start_matches('-'));
            // conntrackd -C /etc/conntrackd/conntrackd.conf
            let own = words
                .first()
                .is_some_and(|program| part.starts_with(program));
            if !own {
                words.push(part);
            }
        }
        before = word;
    }
    // env NAME=VALUE PROGRAM
    if words.first() == Some(&"env") && words.len() > 1 {
        words.remove(0);
    }
    words.retain(|word| word.bytes().any(|b| b.is_ascii_alphanumeric()));
    words
}

/// Options that tell one line from another. A value that is attached to one is left out.
fn options(argv: &[String]) -> impl Iterator<Item = &str> {
    let short = |option: &&str| {
        option.starts_with("--")
            || option.len() <= 3
            || option
                .bytes()
                .skip(1)
                .all(|b| b.is_ascii_alphabetic() && b.is_ascii_lowercase())
    };
    // The last one mostly says what is done.
    argv.iter()
        .rev()
        .map(String::as_str)
        .filter(|word| word.starts_with('-') && word.len() > 1)
        .filter(|word| !SECRET.iter().any(|secret| word.starts_with(secret)))
        .filter(short)
        .map(|word| word.split_once('=').map_or(word, |(option, _)| option))
        .map(|word| word.trim_start_matches('-'))
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let all = words.collect::<Vec<_>>().join("-");
    let mut name = String::new();
    for c in all.chars().map(plain).take(LENGTH) {
        if c != '-' || !name.ends_with('-') {
            name.push(c);
        }
    }
    name.trim_matches('-').to_owned()
}

fn last_part(word: &str) -> &str {
    word.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(word)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// `user:password@host`.
fn is_login(word: &str) -> bool {
    word.split_once('@')
        .is_some_and(|(login, _)| login.contains(':'))
}
