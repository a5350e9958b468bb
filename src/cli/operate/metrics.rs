//! `carpd metrics`.

use super::daemon::{Daemon, ask, unexpected};
use crate::cli::{Exit, Failure, output};
use crate::control::{Order, Reply};

/// Print the daemon's counters and gauges.
///
/// The output is OpenMetrics text. For the textfile collector of node_exporter, use the older
/// Prometheus format; write it to a new file and move that over the old one, so that it is never
/// read half-written.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd metrics | grep '^carpd_vhost_state'\n  \
    carpd metrics --format prometheus > /var/lib/node_exporter/.carpd && mv /var/lib/node_exporter/.carpd \
    /var/lib/node_exporter/carpd.prom")]
pub(in crate::cli) struct MetricsArgs {
    #[command(flatten)]
    daemon: Daemon,
    /// The output format.
    #[arg(long, value_name = "FORM", default_value = "openmetrics")]
    format: MetricsForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum MetricsForm {
    /// OpenMetrics 1.0.
    Openmetrics,
    /// Prometheus text format, version 0.0.4.
    Prometheus,
}

pub(in crate::cli) fn metrics(args: &MetricsArgs) -> Result<Exit, Failure> {
    let Reply::Metrics(text) = ask(&args.daemon, Order::Metrics)? else {
        return Err(unexpected());
    };
    let text = if args.format == MetricsForm::Prometheus {
        as_prometheus(&text)
    } else {
        text
    };
    output::artefact(text.as_bytes())
}

/// In that format a counter's family has the name of its samples, and some lines do not exist.
fn as_prometheus(openmetrics: &str) -> String {
    let mut counter = None;
    let mut text = String::new();
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
                    # TYPE b counter\n# HELP b Two words.\nb_total{x=\"y z\"} 2\n# EOF\n";
        let expected = "# TYPE a_seconds gauge\n# HELP a_seconds One.\na_seconds 1\n\
                        # TYPE b_total counter\n# HELP b_total Two words.\nb_total{x=\"y z\"} 2\n";
        assert_eq!(super::as_prometheus(text), expected);
    }
}
