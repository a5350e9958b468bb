//! The files of a hook: read once, vetted, and only then used.

use std::collections::BTreeMap;

use tracing::warn;

use crate::config::{self, FileOwners};
use crate::hooks::artifact::vet::{Signatures, Terms, Vouched};
use crate::hooks::{HookSource, Language, LoadError};
use crate::resolve::{Access, Refusal, Sources};
use crate::trust::Trust;
use crate::types::Name;

/// What the operator wants of this hook.
pub(in crate::engine) fn terms<'a>(
    trust: &'a Trust,
    spec: &'a config::Hook,
    sources: &'a Sources,
) -> Terms<'a> {
    Terms {
        trust,
        digest: spec.digest,
        signature: spec.signature.as_deref(),
        sources,
    }
}

/// Which hooks are trusted: who must have signed them, and who may write their files.
#[derive(Debug, Clone)]
pub(in crate::engine) struct TrustPolicy {
    /// Whose keys.
    pub(in crate::engine) trust: Trust,
    /// What others could write to.
    pub(in crate::engine) owners: FileOwners,
    /// By whom they are opened.
    pub(in crate::engine) access: Access,
}

impl TrustPolicy {
    /// As the configuration wants it.
    pub(in crate::engine) fn of(config: &config::Config, access: &Access) -> Self {
        Self {
            trust: config.trust.clone(),
            owners: config.daemon.file_owners,
            access: access.clone(),
        }
    }

    /// A new set of sources, for opening files.
    pub(in crate::engine) fn sources(&self) -> Sources {
        Sources::through(self.access.clone())
    }

    /// Checks who else could have written what was just read.
    ///
    /// # Errors
    /// Someone else could, and the configuration forbids that. The text names the component of the
    /// path and the fix.
    pub(in crate::engine) fn judge(&self, sources: &Sources) -> Result<(), String> {
        let refusals = sources.refusals();
        if self.owners == FileOwners::Warn {
            for refusal in &refusals {
                warn!(%refusal, mend = refusal.mend(), "Others could change this file");
            }
            return Ok(());
        }
        refusals
            .first()
            .map_or(Ok(()), |refusal| Err(told(refusal)))
    }
}

fn told(refusal: &Refusal) -> String {
    let mend = refusal
        .mend()
        .map(|command| format!("; to fix it: {command}"))
        .unwrap_or_default();
    format!("others could change this file: {refusal}{mend}")
}

/// A hook's bytes, and who has signed them.
#[derive(Debug)]
pub(in crate::engine) struct Artifact {
    /// The bytes.
    pub(in crate::engine) source: HookSource,
    /// `None` for a script: nothing of it is loaded, it is read when it is run.
    pub(in crate::engine) vouched: Option<Vouched>,
}

impl Artifact {
    /// Verifies a saved version of a hook with these signatures.
    ///
    /// # Errors
    /// It is not to be trusted.
    pub(in crate::engine) fn kept(
        belief: &TrustPolicy,
        spec: &config::Hook,
        mut source: HookSource,
        signatures: &Signatures,
    ) -> Result<Self, LoadError> {
        let sources = belief.sources();
        let vouched = source.vet_kept(&spec.path, terms(&belief.trust, spec, &sources), signatures);
        let vouched = vouched.map_err(|err| LoadError::Code(err.to_string()))?;
        belief.judge(&sources).map_err(LoadError::Code)?;
        Ok(Self {
            source,
            vouched: Some(vouched),
        })
    }

    /// Reads a hook from disk and verifies it.
    ///
    /// # Errors
    /// It cannot be read, or is not to be trusted. The text names the file.
    pub(in crate::engine) fn read(
        belief: &TrustPolicy,
        name: &Name,
        spec: &config::Hook,
    ) -> Result<Self, LoadError> {
        let failed = |err: &dyn std::fmt::Display| LoadError::Code(err.to_string());
        match &spec.kind {
            config::Kind::Module => {
                let sources = belief.sources();
                let source =
                    HookSource::read(name.clone(), &spec.path, spec.config_json.clone(), &sources);
                let mut source = source.map_err(|err| failed(&err))?;
                let vouched = source
                    .vet(&spec.path, terms(&belief.trust, spec, &sources))
                    .map_err(|err| failed(&err))?;
                belief.judge(&sources).map_err(LoadError::Code)?;
                Ok(Self {
                    source,
                    vouched: Some(vouched),
                })
            }
            config::Kind::Script(_) => {
                let source = HookSource {
                    name: name.clone(),
                    language: Language::Lua,
                    path: spec.path.display().to_string(),
                    main: Vec::new(),
                    modules: BTreeMap::new(),
                    config_json: spec.config_json.clone(),
                    native: None,
                };
                Ok(Self {
                    source,
                    vouched: None,
                })
            }
        }
    }
}
