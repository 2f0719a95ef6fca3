//! Removing expired entries from memory, a few at a time.

use super::{StateKey, StateValue, Table, expired};
use crate::protocol::Failure;

impl<K: StateKey, V: StateValue> Table<K, V> {
    /// Looks at the next `looks` entries in memory, and removes those whose time to live ended by `watermark`; all in ms of event
    /// time. What is only in RocksDB is left to its compactions.
    ///
    /// A replay must find the same entries. So `watermark` is one at which readers take these entries for absent anyway, now and in
    /// every replay: the task's own, where they are judged by that, or the [`super::Horizon`].
    pub fn sweep(&mut self, looks: usize, ttl_ms: i64, watermark: i64) -> Result<(), Failure> {
        let numbers = self.slots.numbers();
        for _ in 0..looks.min(numbers as usize) {
            self.broom = if self.broom + 1 < numbers { self.broom + 1 } else { 0 };
            if !self.slots.is_live(self.broom) {
                continue;
            }
            let written_at = self.slots.slot(self.broom)?.value.as_ref().and_then(StateValue::written_at);
            if written_at.is_some_and(|at| expired(at, ttl_ms, watermark)) {
                self.remove_at(self.broom)?;
            }
        }
        Ok(())
    }
}
