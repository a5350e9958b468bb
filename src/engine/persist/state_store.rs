//! The hooks' lasting `state`: a few small values for each virtual host and hook.

use std::collections::BTreeMap;

use super::{Saved, StateFiles, Values};
use crate::hooks::AskError;
use crate::ledger::Owner;

/// Keys that one hook may have for one virtual host.
pub(in crate::engine) const KEYS_MAX: usize = 64;
/// Bytes of one key.
pub(in crate::engine) const KEY_BYTES_MAX: usize = 256;
/// Bytes of one value.
pub(in crate::engine) const VALUE_BYTES_MAX: usize = 4096;

/// All hooks' values.
#[derive(Debug, Default)]
pub(in crate::engine) struct StateStore {
    values: BTreeMap<Owner, Values>,
    files: Option<StateFiles>,
}

impl StateStore {
    /// Nothing is stored, and nothing will outlive it.
    pub(in crate::engine) fn new() -> Self {
        Self::default()
    }

    /// With what earlier lives stored.
    pub(in crate::engine) fn persist(mut files: StateFiles) -> Self {
        Self {
            values: files.take_found(),
            files: Some(files),
        }
    }

    /// The same values, of which nothing will outlive it: for asking what would follow.
    pub(in crate::engine) fn copy(&self) -> Self {
        Self {
            values: self.values.clone(),
            files: None,
        }
    }

    /// The value of a key.
    pub(in crate::engine) fn value(&self, owner: &Owner, key: &str) -> Option<Vec<u8>> {
        self.values.get(owner)?.get(key).cloned()
    }

    /// Sets a key, or deletes it with `None`. It holds at once; that it also outlives the process
    /// is told by what is given back.
    ///
    /// # Errors
    /// [`AskError::OverBudget`] if it would be too much; then nothing changes.
    pub(in crate::engine) fn set(
        &mut self,
        owner: &Owner,
        key: &str,
        value: Option<Vec<u8>>,
        bytes_max: u32,
    ) -> Result<Saved, AskError> {
        let own = self.values.entry(owner.clone()).or_default();
        if own.get(key) == value.as_ref() {
            return Ok(Saved::already());
        }
        match value {
            None => drop(own.remove(key)),
            Some(value) => {
                fits(own, key, &value, bytes_max).map_err(AskError::OverBudget)?;
                own.insert(key.to_owned(), value);
            }
        }
        let written =
            |files: &mut StateFiles| files.write(owner, key, own.get(key).map(Vec::as_slice), own);
        Ok(self.files.as_mut().map_or_else(Saved::already, written))
    }
}

/// May this be added?
fn fits(own: &Values, key: &str, value: &[u8], bytes_max: u32) -> Result<(), String> {
    if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
        return Err(format!(
            "state: a key has at most {KEY_BYTES_MAX} bytes, a value {VALUE_BYTES_MAX}"
        ));
    }
    if own.len() >= KEYS_MAX && !own.contains_key(key) {
        return Err(format!("state: a hook has at most {KEYS_MAX} keys"));
    }
    let others: usize = own
        .iter()
        .filter(|(k, _)| *k != key)
        .map(|(k, v)| k.len() + v.len())
        .sum();
    if others + key.len() + value.len() > bytes_max as usize {
        return Err(format!(
            "state: more than the {bytes_max} bytes of state-bytes"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
