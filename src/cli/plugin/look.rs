//! Inspects a component without running it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{failure, read, read_at_most};
use crate::cli::Failure;
use crate::effect::Grants;
use crate::hooks::artifact::manifest::{self, Abilities, Manifest, PluginError};
use crate::hooks::artifact::vet::beside;
use crate::hooks::contract::api::{FUNCTIONS, Function, grant_line, is_allowed};
use crate::trust::{Digest, FILE_MAX, Signer, Trust};
use crate::types::{Page, shown};

/// An inspected component.
#[derive(Debug)]
pub(super) struct Look {
    /// Its file.
    pub(super) path: PathBuf,
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// The digest of its file.
    pub(super) digest: Digest,
    /// What it can ever do.
    pub(super) abilities: Abilities,
    /// What it says about itself.
    pub(super) manifest: Option<Manifest>,
    /// Who signed it.
    pub(super) signature: Signature,
}

/// Who signed a file.
#[derive(Debug)]
pub(super) enum Signature {
    /// There is no signature next to it.
    None,
    /// A known key.
    Good(Signer),
    /// There is one that is not accepted, and why.
    Bad(String),
}

impl Signature {
    fn look(path: &Path, bytes: &[u8], trust: &Trust) -> Result<Self, Failure> {
        let file = beside(path);
        if !file.exists() {
            return Ok(Self::None);
        }
        let text = String::from_utf8_lossy(&read_at_most(&file, FILE_MAX)?).into_owned();
        Ok(match trust.signer(bytes, &text) {
            Ok(signer) => Self::Good(signer),
            Err(why) => Self::Bad(why.to_string()),
        })
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::None => "not signed".to_owned(),
            Self::Good(signer) => format!("signed by {} ({})", signer.key, shown(&signer.comment)),
            Self::Bad(why) => format!("the signature next to it is not accepted: {why}"),
        }
    }

    pub(super) fn json(&self) -> Value {
        match self {
            Self::None => json!({ "state": "none" }),
            Self::Good(signer) => {
                json!({ "state": "good", "key": signer.key.to_string(), "comment": signer.comment })
            }
            Self::Bad(why) => json!({ "state": "bad", "why": why }),
        }
    }
}

/// The host function that an import is, if this carpd has it.
pub(super) fn function(import: &str) -> Option<&'static Function> {
    FUNCTIONS
        .iter()
        .find(|function| function.full_name() == import)
}

/// The line that would grant an import; `None` if it needs no grant.
pub(super) fn grant(import: &str) -> Option<String> {
    function(import)
        .filter(|function| !is_allowed(function, &Grants::default()))
        .map(grant_line)
}

/// Whether this carpd has it.
pub(super) fn is_known(import: &str) -> bool {
    function(import).is_some() || import == "config.get"
}

/// What is printed after an import: the grant that it needs.
pub(super) fn need(import: &str) -> String {
    match grant(import) {
        _ if !is_known(import) => {
            "  (this carpd does not have it: the component would be refused)".to_owned()
        }
        Some(line) => format!("  (grant: {line})"),
        None => String::new(),
    }
}

impl Look {
    pub(super) fn at(path: &Path, trust: &Trust) -> Result<Self, Failure> {
        let bytes = read(path)?;
        let failed = |err: PluginError| failure(format!("{}: {err}", path.display()));
        let abilities = manifest::abilities(&bytes).map_err(failed)?;
        let manifest = manifest::manifest(&bytes).map_err(failed)?;
        let signature = Signature::look(path, &bytes, trust)?;
        Ok(Self {
            path: path.to_owned(),
            digest: Digest::of(&bytes),
            bytes,
            abilities,
            manifest,
            signature,
        })
    }

    /// Groups of functions that need a grant but for which the manifest gives no reason.
    fn unexplained(&self) -> Vec<&'static str> {
        let asked = |key: &str| {
            self.manifest
                .as_ref()
                .is_some_and(|manifest| manifest.asks.contains_key(key))
        };
        let needed = self
            .abilities
            .imports
            .iter()
            .filter(|import| grant(import).is_some())
            .filter_map(|import| function(import));
        let mut keys: Vec<_> = needed
            .filter_map(|function| function.capability)
            .map(crate::effect::Capability::as_str)
            .collect();
        keys.dedup();
        keys.retain(|key| !asked(key));
        keys
    }

    pub(super) fn text(&self) -> Page {
        let mut page = Page::default();
        match &self.manifest {
            Some(Manifest {
                name,
                version,
                description,
                license,
                source,
                ..
            }) => {
                writeln!(page, "{} {}: {description}", shown(name), shown(version));
                writeln!(page, "license: {license}");
                if let Some(source) = source {
                    writeln!(page, "source: {source}");
                }
            }
            None => writeln!(page, "no manifest"),
        }
        writeln!(page, "{} bytes, {}", self.bytes.len(), self.digest);
        writeln!(page, "{}", self.signature.text());
        let contract = self.abilities.contract.as_deref().unwrap_or("unknown");
        writeln!(
            page,
            "contract {contract}; entry points: {}",
            self.abilities.entry_points.join(", ")
        );
        writeln!(page);
        writeln!(page, "Can ever do:");
        for import in &self.abilities.imports {
            writeln!(page, "  {}{}", shown(import), need(import));
        }
        for (grant, reason) in self.manifest.iter().flat_map(|m| &m.asks) {
            writeln!(page);
            writeln!(page, "Asks for {}: {reason}", shown(grant));
        }
        let unexplained = self.unexplained();
        if !unexplained.is_empty() {
            writeln!(page);
            writeln!(page, "Gives no reason for: {}", unexplained.join(", "));
        }
        page
    }

    /// The output of `--json`, which is stable.
    pub(super) fn json(&self) -> Value {
        let import = |name: &String| {
            let key = function(name)
                .and_then(|function| function.capability)
                .map(crate::effect::Capability::as_str);
            let reason = key.and_then(|key| self.manifest.as_ref()?.asks.get(key));
            json!({ "function": name, "known": is_known(name), "grant": grant(name), "reason": reason })
        };
        json!({
            "file": self.path,
            "bytes": self.bytes.len(),
            "digest": self.digest.to_string(),
            "signature": self.signature.json(),
            "contract": self.abilities.contract,
            "imports": self.abilities.imports.iter().map(import).collect::<Vec<_>>(),
            "entry_points": self.abilities.entry_points,
            "manifest": self.manifest,
        })
    }
}
