//! Tables that hold all of their state in memory, and write all of it at each barrier.
//!
//! ```text
//! restore:  RocksDB ──all entries──► table          RocksDB is not read again
//! barrier:  every entry is frozen (a number and a new generation: microseconds)
//! beside the work:  slices of the slab are encoded; a change to an entry that is not encoded yet encodes it first
//! all tables done:  the sorted files of this barrier replace everything, and are linked
//! ```
//!
//! An entry's stamp is the generation from which on it need not be encoded for older freezes: that in which it was made, changed
//! or encoded last. So the rules of [`super::freeze`] hold as they are, with two differences: a freeze has all entries, not those in a
//! list, and one that was encoded stays to be encoded at the next. A removed key leaves nothing behind, since the next snapshot
//! does not build on the one before.

use super::{AnyTable, StateKey, StateValue, Table, key::slot_of, value::decode_value};
use crate::protocol::Failure;
use std::time::Duration;

/// Entries that are looked at per batch for an ended time to live: twice what a batch may bring, so that they go sooner than others
/// come.
const LOOKS: usize = 1024;
/// Entries that are loaded between two looks at the memory.
const LOAD: usize = 4096;
/// How long a table that waits gives the writer, which wakes it earlier.
const PACE: Duration = Duration::from_millis(5);

impl<K: StateKey, V: StateValue> Table<K, V> {
    /// Reads all entries of the restored files.
    pub(super) fn load_all(&mut self) -> Result<(), Failure> {
        let (store, generation) = (self.store.clone(), self.generation);
        for group in self.owned.clone() {
            store.scan(self.port.state(), group, &[], &mut |key, stored| {
                let value = decode_value::<V>(stored).map_err(|failure| self.misfit(key, failure))?;
                let key: K = self.stored_key(key)?;
                let heap = key.heap_bytes() + value.heap_bytes();
                let number = self.slots.insert(slot_of(&key), group, key, Some(value), heap)?;
                self.slots.slot_mut(number)?.set_dirty(generation);
                if self.slots.len().is_multiple_of(LOAD) {
                    self.refuse_growth()?;
                }
                Ok(true)
            })?;
        }
        self.refuse_growth()
    }

    /// What a table does once per batch when everything is in memory.
    pub(super) fn keep_within_memory(&mut self) -> Result<(), Failure> {
        // What is encoded and not taken yet would grow beside the tables: let the writer get on. It never waits for a table.
        while !self.port.pump()? {
            self.port.wait(PACE)?;
        }
        // What compactions do for files: nothing that a replay could ask for is older than the horizon.
        if let Some(ttl_ms) = self.store.descriptor(self.port.state())?.ttl_ms {
            let horizon = self.store.horizon().get();
            self.sweep(LOOKS, i64::try_from(ttl_ms).unwrap_or(i64::MAX), horizon)?;
        }
        self.refuse_growth()
    }

    fn refuse_growth(&mut self) -> Result<(), Failure> {
        let (used, dirty) = (self.bytes(), self.dirty_bytes());
        self.share.publish(used, dirty);
        let budget = self.share.budget();
        if budget.used() <= budget.limit() {
            return Ok(());
        }
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        Err(Failure::fatal(format!(
            "the state has grown to {} MiB, and state.memory = {}MiB leaves {} MiB to it, all of which is in memory \
             (state.backend = \"memory\"): raise state.memory, or set state.backend = \"rocksdb\", which keeps on disk what does not \
             fit",
            mib(budget.used()),
            mib(self.store.settings().memory),
            mib(budget.limit()),
        )))
    }
}
