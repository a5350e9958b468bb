//! `carpd metrics`.

use super::daemon::{Daemon, ask, unexpected};
use crate::cli::{Exit, Failure, output};
use crate::control::{Order, Reply};
use crate::types::prometheus_text;

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
        prometheus_text(&text)
    } else {
        text
    };
    output::artefact(text.as_bytes())
}
