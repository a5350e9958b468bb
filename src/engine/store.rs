//! The hooks' lasting `state`: a few small values for each virtual host and hook.

use std::collections::BTreeMap;

use crate::hooks::AskError;
use crate::ledger::Owner;

/// Keys that one hook may have for one virtual host.
const KEYS_MAX: usize = 64;
/// Bytes of one key.
const KEY_BYTES_MAX: usize = 256;
/// Bytes of one value.
const VALUE_BYTES_MAX: usize = 4096;

/// All hooks' values.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    values: BTreeMap<Owner, BTreeMap<String, Vec<u8>>>,
}

impl Store {
    /// Nothing is stored.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The value of a key.
    pub(super) fn value(&self, owner: &Owner, key: &str) -> Option<Vec<u8>> {
        self.values.get(owner)?.get(key).cloned()
    }

    /// Sets a key, or deletes it with `None`.
    ///
    /// # Errors
    /// [`AskError::OverBudget`] if it would be too much; then nothing changes.
    pub(super) fn set(&mut self, owner: &Owner, key: String, value: Option<Vec<u8>>, bytes_max: u32) -> Result<(), AskError> {
        let Some(value) = value else {
            if let Some(own) = self.values.get_mut(owner) {
                own.remove(&key);
            }
            return Ok(());
        };
        let over = |why: String| Err(AskError::OverBudget(why));
        if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return over(format!("state: a key has at most {KEY_BYTES_MAX} bytes, a value {VALUE_BYTES_MAX}"));
        }
        let own = self.values.entry(owner.clone()).or_default();
        if own.len() >= KEYS_MAX && !own.contains_key(&key) {
            return over(format!("state: a hook has at most {KEYS_MAX} keys"));
        }
        let others: usize = own.iter().filter(|(k, _)| **k != key).map(|(k, v)| k.len() + v.len()).sum();
        if others + key.len() + value.len() > bytes_max as usize {
            return over(format!("state: more than the {bytes_max} bytes of state-bytes"));
        }
        own.insert(key, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner { vhost: "v".parse().unwrap(), hook: Some("h".parse().unwrap()) }
    }

    #[test]
    fn a_value_over_the_quota_changes_nothing() {
        let mut store = Store::new();
        store.set(&owner(), "k".into(), Some(vec![1; 9]), 10).unwrap();
        assert!(store.set(&owner(), "k".into(), Some(vec![2; 10]), 10).is_err());
        assert!(store.set(&owner(), "l".into(), Some(vec![]), 10).is_err());
        assert_eq!(store.value(&owner(), "k"), Some(vec![1; 9]));
        store.set(&owner(), "k".into(), None, 10).unwrap();
        assert_eq!(store.value(&owner(), "k"), None);
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let mut store = Store::new();
        for n in 0..KEYS_MAX {
            store.set(&owner(), n.to_string(), Some(vec![]), 100_000).unwrap();
        }
        assert!(store.set(&owner(), "one more".into(), Some(vec![]), 100_000).is_err());
    }
}
