//! Escapes text for XML and HTML.

use std::fmt::Display;

use crate::types::shown;

/// Untrusted text, made [visible](shown), with markup characters escaped.
pub(super) fn escaped(words: impl Display) -> String {
    let mut out = String::new();
    for c in shown(words).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_are_neither_markup_nor_lines_nor_what_xml_cannot_hold() {
        let text = super::escaped("<b a='1' b=\"2\">&\u{1b}\u{202e}\n\u{ffff}");
        assert_eq!(
            text,
            "&lt;b a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;\\u{1b}\\u{202e}\\n\\u{ffff}"
        );
    }
}
