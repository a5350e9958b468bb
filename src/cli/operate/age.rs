//! How long ago something was, for a person at a terminal.

/// A time as a person says it: in the largest unit that it has at least one of, rounded down.
pub(super) fn age(ms: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let seconds = ms / 1000;
    let unit = UNITS.into_iter().find(|(length, _)| seconds >= *length);
    let (length, name) = unit.unwrap_or((1, "s"));
    format!("{} {name}", seconds / length)
}

/// `3 min ago`.
pub(super) fn ago(ms: u64) -> String {
    format!("{} ago", age(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_unit_says_it() {
        for (seconds, expected) in [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (3_599, "59 min ago"),
            (3_600, "1 h ago"),
            (86_399, "23 h ago"),
            (86_400, "1 d ago"),
            (400 * 86_400, "400 d ago"),
        ] {
            assert_eq!(ago(seconds * 1000 + 999), expected);
        }
    }
}
