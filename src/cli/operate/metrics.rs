//! `carpd metrics`.

use super::daemon::{Daemon, ask, heading, unexpected};
use crate::cli::{Exit, Failure, output};
use crate::config::Share;
use crate::control::{Order, Reply};
use crate::types::{Netns, prometheus_text};

/// Print the daemon's counters and gauges.
///
/// Samples of other network namespaces than the daemon's own have a label `netns`. The output is
/// OpenMetrics text. For the textfile collector of node_exporter, use the older
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
    let text = match args.daemon.in_each() {
        Some(all) => of_all(all)?,
        None => of_one(&args.daemon)?,
    };
    let text = if args.format == MetricsForm::Prometheus {
        prometheus_text(&text)
    } else {
        text
    };
    output::artefact(text.as_bytes())
}

fn of_one(daemon: &Daemon) -> Result<String, Failure> {
    let Reply::Metrics(text) = ask(daemon, Order::Metrics)? else {
        return Err(unexpected());
    };
    Ok(text)
}

/// Those of all network namespaces. It is a failure only if none of them answers.
fn of_all(daemons: Vec<(Share, Daemon)>) -> Result<String, Failure> {
    let mut all = Families::default();
    let mut problem = None;
    let mut answered = false;
    for (share, daemon) in daemons {
        match of_one(&daemon) {
            Ok(text) => {
                answered = true;
                all.add(&text, share.netns());
            }
            Err(failure) => {
                let (place, why) = (heading(&share), &failure.message);
                output::note(format_args!("warning: {place}: {why}"));
                problem.get_or_insert(failure);
            }
        }
    }
    match problem {
        Some(failure) if !answered => Err(failure),
        Some(_) | None => Ok(all.text()),
    }
}

/// Texts in which each family of samples stands once, with those of all texts.
#[derive(Debug, Default)]
struct Families {
    /// The lines about a family and its samples, in the order of the first text.
    all: Vec<Family>,
}

#[derive(Debug, Default)]
struct Family {
    name: String,
    about: Vec<String>,
    samples: Vec<String>,
}

impl Families {
    /// Samples of another network namespace than the daemon's own get a label with its name.
    fn add(&mut self, text: &str, netns: Option<&Netns>) {
        let mut at = None;
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("#"), Some("EOF"), _) => {}
                (Some("#"), Some("TYPE"), Some(name)) => {
                    let known = self.all.iter().position(|family| family.name == name);
                    at = known.or_else(|| {
                        self.all.push(Family {
                            name: name.to_owned(),
                            ..Family::default()
                        });
                        self.all.len().checked_sub(1)
                    });
                    self.about(at, line);
                }
                (Some("#"), ..) => self.about(at, line),
                _ => {
                    if let Some(family) = at.and_then(|at| self.all.get_mut(at)) {
                        family.samples.push(labelled(line, netns));
                    }
                }
            }
        }
    }

    fn about(&mut self, family: Option<usize>, line: &str) {
        let family = family.and_then(|at| self.all.get_mut(at));
        if let Some(family) =
            family.filter(|family| !family.about.iter().any(|known| known == line))
        {
            family.about.push(line.to_owned());
        }
    }

    fn text(self) -> String {
        let mut text = String::new();
        for family in self.all {
            for line in family.about.iter().chain(&family.samples) {
                text += line;
                text.push('\n');
            }
        }
        text + "# EOF\n"
    }
}

fn labelled(sample: &str, netns: Option<&Netns>) -> String {
    let Some(netns) = netns else {
        return sample.to_owned();
    };
    let value = netns.as_str().replace('\\', "\\\\").replace('"', "\\\"");
    let label = format!("netns=\"{value}\"");
    match sample.split_once(['{', ' ']) {
        Some((name, rest)) if sample.as_bytes().get(name.len()) == Some(&b'{') => {
            let comma = if rest.starts_with('}') { "" } else { "," };
            format!("{name}{{{label}{comma}{rest}")
        }
        Some((name, rest)) => format!("{name}{{{label}}} {rest}"),
        None => sample.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_several_namespaces_stand_in_one_family() {
        let text = |n: u8| {
            format!(
                "# TYPE a gauge\n# HELP a One.\na {n}\n# TYPE b counter\n# HELP b Two.\n\
                 b_total{{x=\"y\"}} {n}\nb_total{{}} {n}\n# EOF\n"
            )
        };
        let mut all = Families::default();
        all.add(&text(1), None);
        all.add(&text(2), Some(&"blue".parse().unwrap()));
        all.add(
            "# TYPE c gauge\nc 3\n# EOF\n",
            Some(&"/a\"b".parse().unwrap()),
        );
        let wanted = "# TYPE a gauge\n# HELP a One.\na 1\na{netns=\"blue\"} 2\n\
                      # TYPE b counter\n# HELP b Two.\nb_total{x=\"y\"} 1\nb_total{} 1\n\
                      b_total{netns=\"blue\",x=\"y\"} 2\nb_total{netns=\"blue\"} 2\n\
                      # TYPE c gauge\nc{netns=\"/a\\\"b\"} 3\n# EOF\n";
        assert_eq!(all.text(), wanted);
    }
}
