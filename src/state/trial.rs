//! Stored values are tried before a job begins: what a manifest does not say, because an older version wrote it or a type could not be
//! found out, shows itself in the values.

use super::{KeyGroups, StateId, Store, ValueShape, inspect};
use crate::protocol::Failure;

/// Entries that are read of each state.
const ENTRIES: usize = 32;

impl Store {
    /// Reads a few entries of each state as this program would: the first one of each key group, until that are [`ENTRIES`].
    ///
    /// # Errors
    /// Refused: one cannot be read; with the names of operator and state, its key, and what all that were read look like.
    pub fn try_values(&self, groups: KeyGroups) -> Result<(), Failure> {
        for (number, state) in self.states().enumerate().filter(|(_, state)| state.reads().is_some()) {
            let (mut learned, mut misfit, mut seen) = (ValueShape::default(), None, 0);
            for group in 0..groups.count() {
                self.scan(StateId(number), group, &[], &mut |key, value| {
                    seen += 1;
                    if let Ok(json) = inspect::value_to_json(value) {
                        learned.learn(&json);
                    }
                    if let Err(failure) = state.try_value(value) {
                        misfit.get_or_insert_with(|| state.misfit(key, failure));
                    }
                    Ok(false)
                })?;
                if seen >= ENTRIES {
                    break;
                }
            }
            if let Some(mut failure) = misfit {
                failure.message.push_str(&format!(
                    "; values of this state look like {learned}: run the program that wrote it, or give the state a new name"
                ));
                return Err(failure);
            }
        }
        Ok(())
    }
}
