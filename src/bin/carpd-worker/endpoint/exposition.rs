//! The two formats in which metrics are exposed: OpenMetrics 1.0, which the engine writes, and the
//! text format 0.0.4, which older scrapers and `promtool check metrics` read.

use std::time::Duration;

/// The content type of OpenMetrics.
pub(super) const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The content type of the text format.
pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The last line of OpenMetrics.
const END: &str = "# EOF\n";

/// The media type of OpenMetrics.
const OPEN_TYPE: &str = "application/openmetrics-text";

/// OpenMetrics without its end.
pub(super) fn open(mut text: String) -> String {
    text.truncate(text.strip_suffix(END).unwrap_or(&text).len());
    text
}

/// What comes last: how old all before it is.
pub(super) fn tail(age: Duration, is_open: bool) -> String {
    let name = "carpd_snapshot_age_seconds";
    let unit = if is_open {
        format!("# UNIT {name} seconds\n")
    } else {
        String::new()
    };
    let end = if is_open { END } else { "" };
    let age = age.as_secs_f64();
    format!(
        "# TYPE {name} gauge\n{unit}# HELP {name} Age of all other values here.\n{name} {age:.6}\n{end}"
    )
}

/// Whether a client rather takes OpenMetrics, by its `Accept` headers.
pub(super) fn wants_open<'a>(accept: impl Iterator<Item = &'a str>) -> bool {
    let (mut open, mut plain) = (0.0_f32, 0.0_f32);
    for range in accept.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let (mut quality, mut version) = (1.0, None);
        for part in parts {
            match part.split_once('=') {
                Some(("q", q)) => quality = q.parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0),
                Some(("version", text)) => version = Some(text.trim_matches('"')),
                _ => {}
            }
        }
        if kind.eq_ignore_ascii_case(OPEN_TYPE) && version.is_none_or(|v| v == "1.0.0") {
            open = open.max(quality);
        } else if ["text/plain", "text/*", "*/*"].contains(&kind) {
            plain = plain.max(quality);
        }
    }
    open > 0.0 && open >= plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_comes_last() {
        let metrics = "# TYPE bb gauge\n# HELP bb b\nbb 1\n# EOF\n";
        let whole = open(metrics.to_owned()) + &tail(Duration::from_millis(120), true);
        assert!(
            whole.contains("bb 1\n# TYPE carpd_snapshot_age_seconds gauge\n")
                && whole.ends_with("carpd_snapshot_age_seconds 0.120000\n# EOF\n"),
            "{whole}"
        );
        assert!(!tail(Duration::ZERO, false).contains("EOF"));
    }

    #[test]
    fn the_format_is_what_the_client_prefers() {
        for (accept, is_open) in [
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text; version=\"1.0.0\"", true),
            ("application/openmetrics-text;version=0.0.1", false),
            ("text/plain, application/openmetrics-text;q=0.5", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=nonsense", false),
            ("*/*", false),
            ("text/html,*/*;q=0.8", false),
            ("", false),
            (";;,,==", false),
        ] {
            assert_eq!(wants_open(std::iter::once(accept)), is_open, "{accept}");
        }
        assert!(!wants_open(std::iter::empty()));
    }
}
