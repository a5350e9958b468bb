//! The text format of metrics: OpenMetrics 1.0.

use std::borrow::Cow;
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
pub struct Text(Vec<Family>);

/// One family.
#[derive(Debug)]
struct Family {
    name: &'static str,
    /// What its samples' names end in.
    suffix: &'static str,
    /// What comes before its samples.
    head: String,
    samples: String,
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
        let mut head = format!("# TYPE {name} {word}\n");
        if let Some(unit) = ["seconds", "bytes"]
            .into_iter()
            .find(|unit| name.ends_with(&format!("_{unit}")))
        {
            head += &format!("# UNIT {name} {unit}\n");
        }
        head += &format!("# HELP {name} {help}\n");
        self.0.push(Family {
            name,
            suffix: if kind == Kind::Counter { "_total" } else { "" },
            head,
            samples: String::new(),
        });
        self
    }

    /// One sample of the family.
    pub(in crate::engine) fn sample(
        &mut self,
        labels: &Labels<'_>,
        value: impl Display,
    ) -> &mut Self {
        let suffix = self.0.last().map_or("", |family| family.suffix);
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

    /// Adds the samples of another part to the same families, and the families that are only there.
    pub fn append(&mut self, other: Self) {
        for more in other.0 {
            match self.0.iter_mut().find(|family| family.name == more.name) {
                Some(family) => family.samples += &more.samples,
                None => self.0.push(more),
            }
        }
    }

    /// All of it, as text.
    #[must_use]
    pub fn end(self) -> String {
        let parts = self
            .0
            .iter()
            .flat_map(|family| [&family.head, &family.samples]);
        let mut text: String = parts.map(String::as_str).collect();
        text += "# EOF\n";
        text
    }

    fn put(&mut self, suffix: &str, labels: &Labels<'_>, value: impl Display) {
        let Some(Family { name, samples, .. }) = self.0.last_mut() else {
            return;
        };
        // Writing to a String does not fail.
        _ = write!(samples, "{name}{suffix}");
        for (place, (label, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            _ = write!(samples, "{before}{label}=\"{}\"", escaped(value));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        _ = writeln!(samples, "{after} {value}");
    }
}

fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(value);
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    Cow::Owned(escaped.replace('\n', "\\n"))
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

    #[test]
    fn parts_are_put_together_by_family() {
        let part = |x: &str, rest: bool| {
            let mut text = Text::default();
            text.family("a", Kind::Gauge, "A.").sample(&[("x", x)], 1);
            text.family("b", Kind::Counter, "B.").sample(&[("x", x)], 2);
            if rest {
                text.family("c", Kind::Gauge, "C.").sample(&[], 3);
            }
            text
        };
        let mut whole = part("1", false);
        whole.append(part("2", true));
        let expected = [
            "# TYPE a gauge",
            "# HELP a A.",
            r#"a{x="1"} 1"#,
            r#"a{x="2"} 1"#,
            "# TYPE b counter",
            "# HELP b B.",
            r#"b_total{x="1"} 2"#,
            r#"b_total{x="2"} 2"#,
            "# TYPE c gauge",
            "# HELP c C.",
            "c 3",
            "# EOF\n",
        ];
        assert_eq!(whole.end(), expected.join("\n"));
    }
}
