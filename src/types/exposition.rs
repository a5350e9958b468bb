//! The formats in which metrics are exposed.

/// The text format of Prometheus, version 0.0.4, of OpenMetrics text: there a counter's family has
/// the name of its samples, and some lines do not exist.
#[must_use]
pub fn prometheus_text(openmetrics: &str) -> String {
    let mut counter = None;
    let mut text = String::with_capacity(openmetrics.len() + openmetrics.len() / 16);
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT" | "EOF"), ..) => {}
            (Some("#"), Some("TYPE"), Some(name), Some("counter")) => {
                counter = Some(name);
                text += &format!("# TYPE {name}_total counter\n");
            }
            (Some("#"), Some("HELP"), Some(name), Some(help)) if counter == Some(name) => {
                text += &format!("# HELP {name}_total {help}\n");
            }
            _ => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_are_named_as_their_samples_in_the_older_form() {
        let text = "# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n# HELP a_seconds One.\na_seconds 1\n\
                    # TYPE b counter\n# HELP b Two words.\nb_total{x=\"y z\"} 2\n\
                    # TYPE bb gauge\n# HELP bb b\nbb 1\n# EOF\n";
        let expected = "# TYPE a_seconds gauge\n# HELP a_seconds One.\na_seconds 1\n\
                        # TYPE b_total counter\n# HELP b_total Two words.\nb_total{x=\"y z\"} 2\n\
                        # TYPE bb gauge\n# HELP bb b\nbb 1\n";
        assert_eq!(super::prometheus_text(text), expected);
    }
}
