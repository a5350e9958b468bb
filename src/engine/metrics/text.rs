//! The text format of metrics: OpenMetrics 1.0.

use std::fmt::{Display, Write as _};

/// What a family of samples is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows; its samples end in `_total`.
    Counter,
    /// Counts by size.
    Histogram,
}

/// Metrics, written one family after the other.
#[derive(Debug, Default)]
pub(in crate::engine) struct Text {
    out: String,
    family: &'static str,
    suffix: &'static str,
}

/// A sample's labels: name and value.
pub(in crate::engine) type Labels<'a> = [(&'static str, &'a str)];

impl Text {
    /// Starts a family. Its name ends in its unit, if it has one.
    pub(in crate::engine) fn family(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &str,
    ) -> &mut Self {
        let word = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# TYPE {name} {word}"));
        if let Some(unit) = ["seconds", "bytes"]
            .into_iter()
            .find(|unit| name.ends_with(&format!("_{unit}")))
        {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        self.line(format_args!("# HELP {name} {help}"));
        self.family = name;
        self.suffix = if kind == Kind::Counter { "_total" } else { "" };
        self
    }

    /// One sample of the family.
    pub(in crate::engine) fn sample(
        &mut self,
        labels: &Labels<'_>,
        value: impl Display,
    ) -> &mut Self {
        let suffix = self.suffix;
        self.put(suffix, labels, value);
        self
    }

    /// One histogram of the family: counts by upper bound in seconds, each without those before;
    /// the count of all and their sum.
    pub(in crate::engine) fn histogram(
        &mut self,
        labels: &Labels<'_>,
        buckets: impl Iterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        let mut within = 0;
        for (bound, more) in buckets {
            within += more;
            let bound = format!("{bound:?}");
            self.put(
                "_bucket",
                &[labels, &[("le", bound.as_str())]].concat(),
                within,
            );
        }
        self.put("_bucket", &[labels, &[("le", "+Inf")]].concat(), count);
        self.put("_count", labels, count);
        self.put("_sum", labels, sum);
    }

    /// All of it.
    pub(in crate::engine) fn end(mut self) -> String {
        self.out += "# EOF\n";
        self.out
    }

    fn put(&mut self, suffix: &str, labels: &Labels<'_>, value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let family = self.family;
        self.line(format_args!("{family}{suffix}{labels} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        _ = writeln!(self.out, "{line}");
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_type_unit_and_samples() {
        let mut text = Text::default();
        text.family("a_seconds", Kind::Gauge, "How long.")
            .sample(&[], 1.5);
        text.family("b", Kind::Counter, "How often.")
            .sample(&[("x", "1 \"2\" \\ 3\n4")], 7);
        text.family("c", Kind::Histogram, "Times.").histogram(
            &[("h", "f")],
            [(0.1, 2), (1.0, 3)].into_iter(),
            6,
            9.5,
        );
        let expected = [
            "# TYPE a_seconds gauge",
            "# UNIT a_seconds seconds",
            "# HELP a_seconds How long.",
            "a_seconds 1.5",
            "# TYPE b counter",
            "# HELP b How often.",
            r#"b_total{x="1 \"2\" \\ 3\n4"} 7"#,
            "# TYPE c histogram",
            "# HELP c Times.",
            r#"c_bucket{h="f",le="0.1"} 2"#,
            r#"c_bucket{h="f",le="1.0"} 5"#,
            r#"c_bucket{h="f",le="+Inf"} 6"#,
            r#"c_count{h="f"} 6"#,
            r#"c_sum{h="f"} 9.5"#,
            "# EOF\n",
        ];
        assert_eq!(text.end(), expected.join("\n"));
    }
}
