//! The configuration and what it refers to, as `carpd check` sees them.

use std::path::Path;

use super::{Finding, Level};
use crate::cli::foresee::check;
use crate::cli::{Exit, Failure};
use crate::config::{Config, Severity};

pub(super) const NAME: &str = "configuration";

/// The configuration with its problems. Without a configuration there is nothing to look for.
pub(super) fn check(file: &Path) -> Result<(Config, Vec<Finding>), Failure> {
    let (config, report) = check::look(file);
    let Some(config) = config else {
        return Err(
            Failure::new(Exit::Config, format!("{} cannot be used", file.display()))
                .hint("`carpd check` shows why"),
        );
    };
    let findings = report.problems.iter().map(|problem| {
        let line = problem.span.as_ref().map_or(String::new(), |span| {
            format!(":{}", report.position(span.start).0)
        });
        Finding {
            check: NAME,
            level: match problem.severity {
                Severity::Error => Level::Error,
                Severity::Warning => Level::Warning,
            },
            vhosts: Vec::new(),
            what: problem.message.clone(),
            evidence: format!("{}{line}", file.display()),
            consequence: match problem.severity {
                Severity::Error => "`carpd reload` refuses it".to_owned(),
                Severity::Warning => String::new(),
            },
            mend: problem.hint.clone().unwrap_or_default(),
        }
    });
    Ok((config, findings.collect()))
}
