//! Plain text as roff.

/// Paragraphs of plain text, each ended by a full stop.
pub(super) fn paragraphs(text: &str) -> String {
    let stop = |text: &str| if text.ends_with('.') { "" } else { "." };
    text.split("\n\n")
        .map(|part| format!(".PP\n{}{}\n", escape(&part.replace('\n', " ")), stop(part)))
        .collect()
}

/// Escapes plain text for roff: backslashes, hyphens that would be set as dashes, and lines that
/// would begin a request.
pub(super) fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

/// What the texts of the configuration mark with backquotes is bold.
pub(super) fn marked(text: &str) -> String {
    text.split('`')
        .enumerate()
        .map(|(n, part)| {
            let part = escape(part);
            if n % 2 == 0 {
                part
            } else {
                format!("\\fB{part}\\fR")
            }
        })
        .collect()
}

/// Lines that stay as they are.
pub(super) fn verbatim<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let lines: String = lines.into_iter().map(|line| escape(line) + "\n").collect();
    format!(".PP\n.nf\n.RS\n{lines}.RE\n.fi\n")
}
