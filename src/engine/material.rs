//! What a hook is made of: read once, vetted, and only then used.

use std::collections::BTreeMap;

use crate::config;
use crate::hooks::vet::{Signatures, Terms, Vouched};
use crate::hooks::{HookSource, Language, LoadError};
use crate::trust::Trust;
use crate::types::Name;

/// What the operator wants of this hook.
pub(super) fn terms<'a>(trust: &'a Trust, spec: &'a config::Hook) -> Terms<'a> {
    Terms { trust, digest: spec.digest, signature: spec.signature.as_deref() }
}

/// A hook's bytes, and who vouches for them.
#[derive(Debug)]
pub(super) struct Material {
    /// The bytes.
    pub(super) source: HookSource,
    /// `None` for a script: nothing of it is loaded, it is read when it is run.
    pub(super) vouched: Option<Vouched>,
}

impl Material {
    /// Looks who vouches for a version of a hook that was kept with these signatures.
    ///
    /// # Errors
    /// It is not to be trusted.
    pub(super) fn kept(
        trust: &Trust,
        spec: &config::Hook,
        mut source: HookSource,
        signatures: &Signatures,
    ) -> Result<Self, LoadError> {
        let vouched = source.vet_kept(&spec.path, terms(trust, spec), signatures);
        let vouched = vouched.map_err(|err| LoadError::Code(err.to_string()))?;
        Ok(Self { source, vouched: Some(vouched) })
    }

    /// Reads a hook from disk and looks who vouches for it.
    ///
    /// # Errors
    /// It cannot be read, or is not to be trusted. The text names the file.
    pub(super) fn read(trust: &Trust, name: &Name, spec: &config::Hook) -> Result<Self, LoadError> {
        let failed = |err: &dyn std::fmt::Display| LoadError::Code(err.to_string());
        match &spec.kind {
            config::Kind::Module => {
                let source = HookSource::read(name.clone(), &spec.path, spec.config_json.clone());
                let mut source = source.map_err(|err| failed(&err))?;
                let vouched = source.vet(&spec.path, terms(trust, spec)).map_err(|err| failed(&err))?;
                Ok(Self { source, vouched: Some(vouched) })
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
                Ok(Self { source, vouched: None })
            }
        }
    }
}
