//! What `carpd check` will say of the result, but for the files that it names.

use std::path::{Path, PathBuf};

use crate::config::{Config, Severity, Surroundings, Unusable};

/// Whatever is asked for is there.
struct Everything;

impl Surroundings for Everything {
    fn password_file(&self, _: &Path) -> Result<Vec<u8>, Unusable> {
        Ok(b"there\n".to_vec())
    }

    fn credential(&self, _: &str) -> Result<Vec<u8>, Unusable> {
        Ok(b"there".to_vec())
    }

    fn key_file(&self, _: &Path) -> Result<Vec<u8>, Unusable> {
        Ok(Vec::new())
    }

    fn hook_file(&self, path: &Path) -> Result<PathBuf, Unusable> {
        Ok(Path::new("/etc/carpd").join(path))
    }
}

/// The errors in a configuration, a sentence each.
pub(super) fn problems(config: &str) -> Vec<String> {
    let Err(report) = Config::parse("carpd.toml", config, &Everything) else {
        return Vec::new();
    };
    let errors = report
        .problems
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error);
    errors.map(|problem| problem.message).collect()
}
