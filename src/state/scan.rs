//! Scans over all keys that begin with a prefix, in memory and in the store.
//!
//! The index is by hash, so a scan goes over all entries in memory once, sorts those that match, and merges them with what the
//! store holds for each key group that the task owns. It is for work that takes a good part of a table, like firing a window;
//! an operator that must know often *whether* there is something to do keeps that apart (its open windows).

use super::{StateKey, StateValue, Table, absence::Absence, key::slot_of, value::decode_value};
use crate::protocol::Failure;

/// An entry in memory that matches, by key group and encoded key.
struct Match {
    group: u16,
    key: Vec<u8>,
    number: u32,
}

/// What a scan does with the entries that it visits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Keep,
    Remove,
}

impl<K: StateKey, V: StateValue> Table<K, V> {
    /// Visits the entries whose encoded key begins with `prefix` (all, when it is empty), by key group, then by key.
    pub fn scan_prefix(&mut self, prefix: &[u8], f: &mut dyn FnMut(&K, &V) -> Result<(), Failure>) -> Result<(), Failure> {
        self.visit(prefix, After::Keep, f)
    }

    /// The same, and removes each entry after `f` has seen it. When `f` fails, it is not removed, nor are those after it.
    pub fn drain_prefix(&mut self, prefix: &[u8], f: &mut dyn FnMut(&K, &V) -> Result<(), Failure>) -> Result<(), Failure> {
        self.visit(prefix, After::Remove, f)
    }

    fn visit(&mut self, prefix: &[u8], after: After, f: &mut dyn FnMut(&K, &V) -> Result<(), Failure>) -> Result<(), Failure> {
        let matches = self.matches(prefix);
        if matches!(self.absence, Absence::Complete) {
            return matches.iter().try_for_each(|found| self.visit_one(found, after, f));
        }
        let mut matches = matches.into_iter().peekable();
        for group in self.owned.clone() {
            // What is only in the store and must be removed: the iterator has to end before the table can be changed.
            let mut only_stored: Vec<K> = Vec::new();
            let mut in_memory: Vec<Match> = Vec::new();
            while let Some(found) = matches.next_if(|found| found.group == group) {
                in_memory.push(found);
            }
            let mut memory = in_memory.iter().peekable();
            let store = self.store.clone();
            store.scan(self.port.state(), group, prefix, &mut |key, stored| {
                while let Some(found) = memory.next_if(|found| found.key.as_slice() < key) {
                    self.visit_one(found, after, f)?;
                }
                if let Some(found) = memory.next_if(|found| found.key.as_slice() == key) {
                    self.visit_one(found, after, f)?;
                    return Ok(true);
                }
                let value = decode_value::<V>(stored).map_err(|failure| self.misfit(key, failure))?;
                let (key, rest) = K::decode(key).map_err(|failure| self.about(failure))?;
                if !rest.is_empty() {
                    return Err(self.about(Failure::refused(format!(
                        "a stored key is followed by {} bytes that do not belong to it",
                        rest.len()
                    ))));
                }
                f(&key, &value)?;
                if after == After::Remove {
                    only_stored.push(key);
                }
                Ok(true)
            })?;
            memory.try_for_each(|found| self.visit_one(found, after, f))?;
            for key in only_stored {
                self.create_in(group, slot_of(&key), key, None, true)?;
            }
        }
        Ok(())
    }

    fn visit_one(
        &mut self,
        found: &Match,
        after: After,
        f: &mut dyn FnMut(&K, &V) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let slot = self.slots.slot(found.number)?;
        let Some(value) = &slot.value else { return Ok(()) }; // removed
        f(&slot.key, value)?;
        match after {
            After::Keep => Ok(()),
            After::Remove => self.remove_at(found.number),
        }
    }

    /// The entries in memory that match, removed keys included (they hide what the store still has), in the store's order.
    fn matches(&self, prefix: &[u8]) -> Vec<Match> {
        let mut matches = Vec::new();
        let mut key = Vec::new();
        for (number, slot) in self.slots.iter() {
            key.clear();
            slot.key.encode(&mut key);
            if key.starts_with(prefix) {
                matches.push(Match { group: slot.group(), key: key.clone(), number });
            }
        }
        matches.sort_unstable_by(|a, b| (a.group, &a.key).cmp(&(b.group, &b.key)));
        matches
    }
}
