//! Configurations of others.

use std::path::Path;

use carpd::config::{Config, Problem};
use carpd::import::{Files, Format, Node, Source, import};

use super::file;
use super::text::Everything;

/// No file is there.
struct Nothing;

impl Files for Nothing {
    fn read(&self, _: &Path) -> Result<String, String> {
        Err("No such file or directory".to_owned())
    }

    fn list(&self, _: &Path) -> Result<Vec<String>, String> {
        Ok(vec!["a.conf".to_owned()])
    }
}

/// Bytes as each format: refused at a place that is there, or made into a configuration that loads
/// unless the account says what is to be done first.
pub(super) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let lines = text.lines().count();
    let _ = Format::of(&text);
    for format in Format::ALL {
        let source = Source {
            name: "a".to_owned(),
            text: text.clone(),
        };
        let node = Node {
            root: Path::new("/nonexistent"),
            config_id: "node1",
        };
        let imported = match import(format, &[source], node, &Nothing) {
            Ok(imported) => imported,
            Err(error) => {
                let line = error.place.map_or(1, |place| place.line);
                assert!((1..=lines.max(1) + 1).contains(&line), "{}", error.message);
                continue;
            }
        };
        for said in &imported.statements {
            assert!(
                (1..=lines).contains(&said.line),
                "{said:?} of {lines} lines"
            );
            let shown = format!("{}{}", said.text, said.outcome.text());
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
        }
        let config = &imported.config;
        if let Err(report) = Config::parse("carpd.toml", config, &Everything) {
            assert!(!imported.problems.is_empty(), "{report}\n{config}");
            // None of them is about the form of the file.
            let form = |problem: &&Problem| problem.message.contains("TOML");
            assert_eq!(report.problems.iter().find(form), None, "{config}");
        }
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let keepalived = [
        "conditions",
        "dual-stack",
        "garp-group",
        "global-words",
        "mail-by-instance",
        "processes",
        "routes",
        "rules",
        "sync-group-tracks",
        "templates",
        "unicast",
        "virtual-mac",
    ];
    let keepalived = keepalived.map(|name| format!("keepalived/{name}.conf"));
    let others = [
        "epel/vip-001.conf",
        "freebsd/aliases.conf",
        "freebsd/carp0.conf",
        "ifupdown/interfaces",
        "opnsense/peers.xml",
        "opnsense/pfsense.xml",
        "ucarp/start.sh",
    ];
    keepalived
        .iter()
        .map(String::as_str)
        .chain(others)
        .map(|path| file(&format!("tests/it/import/{path}")))
        .collect()
}
